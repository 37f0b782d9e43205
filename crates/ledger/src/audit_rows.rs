//! Reads raw rows of the audit table, to export them again.

use sealfleet_domain::Timestamp;

use crate::audit::{first_key, last_id};
use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::store::{Item, Query, Range, Table};

/// Partitions over which a day of a trail is spread.
pub const AUDIT_SHARDS: u8 = keys::SHARDS;

impl Ledger {
    /// Up to `limit` rows of one shard of a trail's day, in order: those that may hold entries of
    /// the given period, after the given sort key. They may hold earlier and later ones, too.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn audit_rows(
        &self,
        trail: &str,
        day: &str,
        shard: u8,
        (from, to): (Timestamp, Timestamp),
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Item>, Error> {
        let query = Query {
            table: Table::Audit,
            pk: keys::audit_day(trail, day, shard),
            range: Range::Between(first_key(from), last_id(to)),
            backwards: false,
            limit,
            consistent: true,
            only: None,
        };
        let mut rows = Vec::new();
        let mut after = after.map(str::to_owned);
        loop {
            let page = self.store.query(&query, after.as_deref()).await?;
            rows.extend(page.items);
            after = page.more_after;
            if after.is_none() || rows.len() >= limit {
                rows.truncate(limit);
                return Ok(rows);
            }
        }
    }
}
