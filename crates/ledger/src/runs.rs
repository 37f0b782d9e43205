//! Reading runs.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use sealfleet_domain::audit::Event;
use sealfleet_domain::run::{Run, RunState};
use sealfleet_domain::{ProfileRef, ProjectScope, RunId, Timestamp, WorkflowName};

use crate::entries;
use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::pages::Page;
use crate::rows::number;
use crate::store::{Query, Range, Table};

/// Rows of moved entries that are read for one run.
const MOVED_ROWS: u32 = 8;
/// The largest time that an id can have.
const MOST_MILLIS: i64 = 0xffff_ffff_ffff;
/// Runs of each partition that a page is filtered from.
const LOOKED_THROUGH: usize = 100;

/// Which runs of a project to list. The default is all of them.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Runs in one of these states. Empty: in any.
    pub states: Vec<RunState>,
    pub workflow: Option<WorkflowName>,
    /// A profile that was resolved for them when they were enqueued.
    pub profile: Option<ProfileRef>,
    /// The key and the value of a label.
    pub label: Option<(String, String)>,
    /// Those of this time and later, by their ids.
    pub from: Option<Timestamp>,
    /// Those before this time, by their ids.
    pub to: Option<Timestamp>,
}

impl RunFilter {
    /// Whether it drops runs of its range.
    const fn is_sieved(&self) -> bool {
        !self.states.is_empty()
            || self.workflow.is_some()
            || self.profile.is_some()
            || self.label.is_some()
    }

    /// The sort keys of its time.
    fn range(&self) -> Range {
        if self.from.is_none() && self.to.is_none() {
            return Range::All;
        }
        let edge = |at: Option<Timestamp>, otherwise| {
            RunId::earliest(at.unwrap_or(Timestamp::from_millis(otherwise))).to_string()
        };
        Range::Between(edge(self.from, 0), edge(self.to, MOST_MILLIS))
    }

    fn matches(&self, run: &Run) -> bool {
        let has_profile = |profile: &ProfileRef| {
            let mut used = run.identity.iter().flat_map(|identity| &identity.profiles);
            used.any(|used| used.profile == *profile)
        };
        let (workflow, label) = (self.workflow.as_ref(), self.label.as_ref());
        workflow.is_none_or(|workflow| run.workflow == *workflow)
            && label.is_none_or(|(key, value)| run.labels.has(key, value))
            && self.profile.as_ref().is_none_or(has_profile)
    }
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

    /// A page of a project's runs before the run `before`, newest first.
    ///
    /// A filter looks through a bounded number of runs. So its page can be short, or empty, while
    /// there are more.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn runs(
        &self,
        scope: &ProjectScope,
        filter: &RunFilter,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<Run>, Error> {
        let slices = try_join_all(
            (0..keys::SHARDS).map(|shard| self.runs_of_shard(scope, shard, filter, before, limit)),
        )
        .await?;
        // An unread run of one partition may be newer than runs that others returned.
        let horizon = slices.iter().filter_map(|slice| slice.more_after.clone());
        let horizon = horizon.max();
        let mut found: Vec<Run> = slices.into_iter().flat_map(|slice| slice.items).collect();
        found.retain(|run| {
            let is_seen = |horizon: &String| run.run_id.to_string() >= *horizon;
            horizon.as_ref().is_none_or(is_seen)
        });
        found.sort_by_key(|run| std::cmp::Reverse(run.run_id));
        let more_after = if found.len() > limit {
            found.truncate(limit);
            found.last().map(|run| run.run_id.to_string())
        } else {
            horizon
        };
        Ok(Page {
            items: found,
            more_after,
        })
    }

    /// The newest runs of one partition that the filter lets through. `more_after` is the last run
    /// that was looked at, if there may be more.
    async fn runs_of_shard(
        &self,
        scope: &ProjectScope,
        shard: u8,
        filter: &RunFilter,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<Run>, Error> {
        let is_sieved = filter.is_sieved();
        let states = filter.states.iter();
        let states = states.map(|state| AttributeValue::S(state.name().to_owned()));
        let query = Query {
            table: Table::Ledger,
            pk: keys::runs(scope, shard),
            range: filter.range(),
            backwards: true,
            limit: if is_sieved {
                limit.max(LOOKED_THROUGH)
            } else {
                limit.saturating_add(1)
            },
            consistent: true,
            only: (!filter.states.is_empty()).then_some(("state", states.collect())),
        };
        let mut items = Vec::new();
        let mut more_after = before.map(str::to_owned);
        loop {
            let rows = self.store.query(&query, more_after.as_deref()).await?;
            more_after = rows.more_after;
            for row in rows.items {
                let run = self.read_run(scope, &row).await?.run;
                if filter.matches(&run) {
                    items.push(run);
                }
            }
            if more_after.is_none() || is_sieved || items.len() > limit {
                return Ok(Page { items, more_after });
            }
        }
    }
}
