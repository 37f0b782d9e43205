//! Reading runs.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::run::{Run, RunState};
use sealfleet_domain::{ProjectScope, RunId, Timestamp};

use crate::entries;
use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::number;
use crate::store::{Query, Range, Table};

/// Rows of moved entries that are read for one run.
const MOVED_ROWS: u32 = 8;
/// Runs that a page is filtered from.
const LOOKED_THROUGH: usize = 100;

/// A page of rows.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The value of `after` for the next page, if there may be one.
    pub more_after: Option<String>,
}

impl Ledger {
    /// Reads one run.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn run(&self, scope: &ProjectScope, run_id: RunId) -> Result<Run, Error> {
        Ok(self.stored_run(scope, run_id).await?.run)
    }

    /// Reads one run, and the events of its newest entries in their order, but for those that list
    /// what a sandbox sees.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn run_with_events(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
    ) -> Result<(Run, Vec<(Timestamp, Event)>), Error> {
        let row = self.row(&keys::run(scope, run_id)).await?;
        let row = row.ok_or(Error::NotFound)?;
        let run = self.read_run(scope, &row).await?.run;
        let moved = number(&row, "moved").and_then(|moved| u32::try_from(moved).ok());
        let moved = moved.unwrap_or_default();
        let mut rows = Vec::new();
        for number in moved.saturating_sub(MOVED_ROWS)..moved {
            rows.extend(
                self.row(&keys::moved_entries(scope, run_id, number))
                    .await?,
            );
        }
        rows.push(row);
        let mut events = Vec::new();
        for element in rows.iter().flat_map(entries::list) {
            events.extend(entries::read(element)?.plain());
        }
        Ok((run, events))
    }

    /// The runs with a label among the next [`LOOKED_THROUGH`] before the run `before`, newest
    /// first. So a page is bounded, and can be empty while there are more.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn labelled_runs(
        &self,
        scope: &ProjectScope,
        state: Option<RunState>,
        (key, value): (&str, &str),
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<Run>, Error> {
        let mut page = self
            .runs(scope, state, before, limit.max(LOOKED_THROUGH))
            .await?;
        page.items.retain(|run| run.labels.has(key, value));
        if page.items.len() > limit {
            page.items.truncate(limit);
            page.more_after = page.items.last().map(|run| run.run_id.to_string());
        }
        Ok(page)
    }

    /// A project's runs before the run `before`, newest first.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn runs(
        &self,
        scope: &ProjectScope,
        state: Option<RunState>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<Run>, Error> {
        let mut found: Vec<Run> = Vec::new();
        for shard in 0..keys::SHARDS {
            let query = Query {
                table: Table::Ledger,
                pk: keys::runs(scope, shard),
                range: Range::All,
                backwards: true,
                limit: limit.saturating_add(1),
                consistent: true,
                only: state.map(|state| ("state", AttributeValue::S(state.name().to_owned()))),
            };
            let mut of_shard = 0;
            let mut after = before.map(str::to_owned);
            loop {
                let rows = self.store.query(&query, after.as_deref()).await?;
                of_shard += rows.items.len();
                for item in rows.items {
                    found.push(self.read_run(scope, &item).await?.run);
                }
                after = rows.more_after;
                if after.is_none() || of_shard > limit {
                    break;
                }
            }
        }
        found.sort_by_key(|run| std::cmp::Reverse(run.run_id));
        let more = found.len() > limit;
        found.truncate(limit);
        let more_after = if more {
            found.last().map(|run| run.run_id.to_string())
        } else {
            None
        };
        Ok(Page {
            items: found,
            more_after,
        })
    }
}
