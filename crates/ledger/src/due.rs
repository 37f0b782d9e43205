//! What is due: everything live carries a time in one sparse, sharded index, and only that is ever
//! visited.
//!
//! The index is eventually consistent and may name a run whose due time has moved: whoever visits
//! reads the run itself and decides by what it finds.

use sealfleet_domain::{FanOutId, Owner, ProjectScope, RunId, Timestamp};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::outbox::WaitingEntry;
use crate::store::Key;

/// Something that somebody must look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// A run.
    Run(DueRun),
    /// A fan-out that is not finished.
    FanOut(Owner, FanOutId),
    /// An audit entry that waits in the outbox.
    Entry(WaitingEntry),
}

/// A run that somebody must look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRun {
    /// Its project, from its own row's key.
    pub scope: ProjectScope,
    /// Which run.
    pub run_id: RunId,
}

/// The names of the index's shards.
#[must_use]
pub fn due_shards() -> Vec<String> {
    (0..keys::DUE_SHARDS)
        .map(|shard| format!("{shard:x}"))
        .collect()
}

impl Ledger {
    /// What of one shard is due by `until`, earliest first, `limit` at most.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn due(
        &self,
        shard: &str,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, Error> {
        let keys = self
            .store
            .due(shard, until.millis(), limit)
            .await
            .map_err(Error::Unavailable)?;
        Ok(keys.into_iter().filter_map(due_of).collect())
    }
}

/// What a row of the index is.
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
