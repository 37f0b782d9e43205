//! Reading runs.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::run::{Run, RunState};
use sealfleet_domain::{ProjectScope, RunId};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::store::{Query, Range, Table};

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
