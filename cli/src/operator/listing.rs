//! How much of a list to read.

use clap::Args;
use sealfleet_client::types::Page;
use sealfleet_client::{Error, PageQuery};

/// Items of a page at most, as the API has them.
const PAGE: usize = 100;

#[derive(Args, Clone, Debug)]
pub struct Listing {
    /// Show at most this many [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Go on where a list ended: the `next_cursor` of `--output json`
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Listing {
    /// The list's items up to the limit, page by page:
    /// `listing.read(async |page| client.list_workers(page).await)`.
    pub(super) async fn read<T>(
        self,
        list: impl AsyncFn(&PageQuery) -> Result<Page<T>, Error>,
    ) -> Result<Page<T>, Error> {
        let most = self.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        read(most, self.cursor, list).await
    }

    /// The same, for a list that shows `default` items where no limit is given.
    pub(super) fn or(mut self, default: u32) -> Self {
        self.limit.get_or_insert(default);
        self
    }
}

/// The first `most` items of a list.
pub(super) async fn first<T>(
    most: usize,
    list: impl AsyncFn(&PageQuery) -> Result<Page<T>, Error>,
) -> Result<Page<T>, Error> {
    read(most, None, list).await
}

async fn read<T>(
    most: usize,
    cursor: Option<String>,
    list: impl AsyncFn(&PageQuery) -> Result<Page<T>, Error>,
) -> Result<Page<T>, Error> {
    let mut items = Vec::new();
    let mut page = PageQuery {
        cursor,
        limit: None,
    };
    loop {
        page.limit = u32::try_from((most - items.len()).min(PAGE)).ok();
        let found = list(&page).await?;
        items.extend(found.items);
        page.cursor = found.next_cursor;
        if page.cursor.is_none() || items.len() >= most {
            return Ok(Page {
                items,
                next_cursor: page.cursor,
            });
        }
    }
}
