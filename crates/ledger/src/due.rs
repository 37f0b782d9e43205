//! The due index: every live row carries a time in one sparse, sharded index, and `sweep` visits
//! only rows that are due.
//!
//! The index is eventually consistent and may name a run whose due time has moved. So a visitor
//! reads the run itself and decides by its current state.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_domain::{
    ApprovalId, ContainmentId, FanOutId, Owner, ProjectScope, RunId, Timestamp,
};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::outbox::WaitingEntry;
use crate::store::{DueRow, Key};

/// Rows of one read of all that is live, and shards that are read at once.
const PAGE: usize = 1000;
const SHARDS_AT_ONCE: usize = 8;

/// A row that needs a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    Run(DueRun),
    /// An unfinished fan-out.
    FanOut(Owner, FanOutId),
    /// A containment that has not ended.
    Containment(ProjectScope, ContainmentId),
    Entry(WaitingEntry),
    /// An approval whose time is over.
    Approval(ProjectScope, ApprovalId),
}

/// A run that needs a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRun {
    /// Its project, taken from the key of its own row.
    pub scope: ProjectScope,
    pub run_id: RunId,
}

impl Due {
    /// Whose row it is: a project, or `~system`.
    #[must_use]
    pub fn owner(&self) -> &str {
        match self {
            Self::Run(due) => due.scope.project().as_str(),
            Self::FanOut(owner, _) => owner.trail(),
            Self::Entry(entry) => &entry.trail,
            Self::Approval(scope, _) | Self::Containment(scope, _) => scope.project().as_str(),
        }
    }
}

/// A page of one shard of the index: earliest first, each with the time at which it was due.
#[derive(Clone, Debug)]
pub struct DuePage {
    pub items: Vec<(Timestamp, Due)>,
    /// The value of `after` for the next page, if there may be one.
    pub more_after: Option<DueRow>,
}

/// The names of the index's shards.
#[must_use]
pub fn due_shards() -> Vec<String> {
    (0..keys::DUE_SHARDS)
        .map(|shard| format!("{shard:x}"))
        .collect()
}

impl Ledger {
    /// The rows of one shard that are due by `until` and come after `after`: at most `limit`.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn due(
        &self,
        shard: &str,
        until: Timestamp,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DuePage, Error> {
        let page = self.store.due(shard, until.millis(), after, limit).await?;
        let due = |row: DueRow| Some((Timestamp::from_millis(row.at), due_of(row.key)?));
        Ok(DuePage {
            items: page.rows.into_iter().filter_map(due).collect(),
            more_after: page.more_after,
        })
    }

    /// What `pick` takes of all rows of the index, due or not: of each shard whole pages until
    /// there are `most`. Tells whether there was nothing more. Misses what was written in the last
    /// second.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub(crate) async fn live<T>(
        &self,
        most: usize,
        pick: impl Fn(Timestamp, Due) -> Option<T>,
    ) -> Result<(Vec<T>, bool), Error> {
        let ever = Timestamp::from_millis(i64::MAX);
        let shards = due_shards();
        let of_shard = async |shard: &String| {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = self.due(shard, ever, after.as_ref(), PAGE).await?;
                let picked = page.items.into_iter();
                found.extend(picked.filter_map(|(at, due)| pick(at, due)));
                after = page.more_after;
                if after.is_none() || found.len() >= most {
                    return Ok::<_, Error>((found, after.is_none()));
                }
            }
        };
        let read = stream::iter(shards.iter().map(of_shard)).buffer_unordered(SHARDS_AT_ONCE);
        read.try_fold(
            (Vec::new(), true),
            async |(mut all, complete), (found, is_all)| {
                all.extend(found);
                Ok((all, complete && is_all))
            },
        )
        .await
    }
}

/// Finds out from a key what kind of row is due.
fn due_of(key: Key) -> Option<Due> {
    if let Some(owner) = keys::owner_of_fan_out(&key.pk) {
        return Some(Due::FanOut(owner, key.sk.parse().ok()?));
    }
    if let Some(scope) = keys::scope_of_containments(&key.pk) {
        return Some(Due::Containment(scope, key.sk.parse().ok()?));
    }
    if let Some(trail) = keys::trail_of_outbox(&key.pk) {
        return Some(Due::Entry(WaitingEntry {
            trail: trail.to_owned(),
            event_id: key.sk.parse().ok()?,
        }));
    }
    if let Some(scope) = keys::scope_of_approvals(&key.pk) {
        return Some(Due::Approval(scope, key.sk.parse().ok()?));
    }
    Some(Due::Run(DueRun {
        scope: keys::scope_of_run(&key.pk)?,
        run_id: key.sk.parse().ok()?,
    }))
}
