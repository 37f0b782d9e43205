//! What is due: everything live carries a time in one sparse, sharded index, and only that is ever visited.
//!
//! The index is eventually consistent and may name a run whose due time has moved: whoever visits reads the run itself
//! and decides by what it finds.

use sealfleet_domain::{ProjectScope, RunId, Timestamp};

use crate::{Error, Ledger, keys};

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
    (0..keys::DUE_SHARDS).map(|shard| format!("{shard:x}")).collect()
}

impl Ledger {
    /// Runs of one shard that are due by `until`, earliest first, `limit` at most.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn due(&self, shard: &str, until: Timestamp, limit: usize) -> Result<Vec<DueRun>, Error> {
        let keys = self.store.due(shard, until.millis(), limit).await.map_err(Error::Unavailable)?;
        Ok(keys
            .into_iter()
            .filter_map(|key| Some(DueRun { scope: keys::scope_of_run(&key.pk)?, run_id: key.sk.parse().ok()? }))
            .collect())
    }
}
