//! Pages of the rows of one kind in one partition.

use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::ledger::Ledger;
use crate::rows::from_item;
use crate::store::{Query, Range, Table};

/// A page of rows.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The value of `after` for the next page, if there may be one.
    pub more_after: Option<String>,
}

impl Ledger {
    /// A page, oldest first.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        pk: String,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<T>, Error> {
        self.page_of(pk, Range::All, false, after, limit).await
    }

    /// A page, newest first.
    pub(crate) async fn newest<T: DeserializeOwned>(
        &self,
        pk: String,
        range: Range,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<T>, Error> {
        self.page_of(pk, range, true, before, limit).await
    }

    async fn page_of<T: DeserializeOwned>(
        &self,
        pk: String,
        range: Range,
        backwards: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<T>, Error> {
        let query = Query {
            table: Table::Ledger,
            pk,
            range,
            backwards,
            limit,
            consistent: true,
            only: None,
        };
        let rows = self.store.query(&query, after).await?;
        let items = rows.items.into_iter().map(from_item);
        Ok(Page {
            items: items.collect::<Result<_, _>>()?,
            more_after: rows.more_after,
        })
    }
}
