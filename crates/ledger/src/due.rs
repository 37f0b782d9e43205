//! The due index: every live row carries a time in one sparse, sharded index, and `sweep` visits
//! only rows that are due.
//!
//! The index is eventually consistent and may name a run whose due time has moved. So a visitor
//! reads the run itself and decides by its current state.

use sealfleet_domain::{FanOutId, Owner, ProjectScope, RunId, Timestamp};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::outbox::WaitingEntry;
use crate::store::{DueRow, Key};

/// A row that needs a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    Run(DueRun),
    /// An unfinished fan-out.
    FanOut(Owner, FanOutId),
    Entry(WaitingEntry),
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
}

/// Finds out from a key what kind of row is due.
fn due_of(key: Key) -> Option<Due> {
    if let Some(owner) = keys::owner_of_fan_out(&key.pk) {
        return Some(Due::FanOut(owner, key.sk.parse().ok()?));
    }
    if let Some(trail) = keys::trail_of_outbox(&key.pk) {
        return Some(Due::Entry(WaitingEntry {
            trail: trail.to_owned(),
            event_id: key.sk.parse().ok()?,
        }));
    }
    Some(Due::Run(DueRun {
        scope: keys::scope_of_run(&key.pk)?,
        run_id: key.sk.parse().ok()?,
    }))
}
