//! The format of stored rows.
//!
//! Each row that is put carries the number of its format, so that a later release can tell rows
//! that it must read differently. A row of a later format is not read: this release would miss what
//! it does not know. Rows that only count (`rates`) are made by an addition and carry none.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Error;
use crate::rows::{n, number};
use crate::store::{Consistency, DueRow, DueRows, Item, Key, Query, ReadError, Rows, Store, Table};
use crate::store::{Write, WriteError};

/// The attribute with the number.
pub(crate) const ATTRIBUTE: &str = "f";
/// The format of this release.
pub(crate) const FORMAT: i64 = 1;

/// Checks that this release knows the format of a row.
///
/// # Errors
/// When it does not.
pub(crate) fn check(item: &Item) -> Result<(), Error> {
    unknown(item).map_or(Ok(()), |detail| Err(Error::Unreadable(detail)))
}

/// What is wrong with a row whose format is not known.
fn unknown(item: &Item) -> Option<String> {
    if !item.contains_key(ATTRIBUTE) || number(item, ATTRIBUTE) == Some(FORMAT) {
        return None;
    }
    Some(format!(
        "a row of another format than {FORMAT}: deploy the release that wrote it, or a later one"
    ))
}

/// A store whose rows carry their format.
pub(crate) struct Formatted(pub Arc<dyn Store>);

#[async_trait]
impl Store for Formatted {
    async fn get(
        &self,
        table: Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, ReadError> {
        let row = self.0.get(table, key, consistency).await?;
        match row.as_ref().and_then(unknown) {
            Some(detail) => Err(ReadError::Refused(detail)),
            None => Ok(row),
        }
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError> {
        let rows = self.0.query(query, after).await?;
        match rows.items.iter().find_map(unknown) {
            Some(detail) => Err(ReadError::Refused(detail)),
            None => Ok(rows),
        }
    }

    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, ReadError> {
        self.0.due(shard, until, after, limit).await
    }

    async fn write(&self, mut writes: Vec<Write>) -> Result<(), WriteError> {
        for write in &mut writes {
            if let Write::Put { item, .. } = write {
                item.insert(ATTRIBUTE.to_owned(), n(FORMAT));
            }
        }
        self.0.write(writes).await
    }
}
