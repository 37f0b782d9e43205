//! From the rows of runs to the trail.
//!
//! A run's entries are decided and stored in its own row (`entries`). The `trail` function reads
//! the ledger's stream and copies what each write added, several entries in a row (`audit`). An
//! entry keeps its id, so readers show it once, however often it was copied. The trail of one run
//! is read from the run itself, without this delay.

use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::{ProjectScope, RunId};

use crate::entries::{self, StoredEntry};
use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::number;
use crate::run_rows::Added;

impl Ledger {
    /// The entries that a write added to a run's row, with the identities that they name.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when an identity is not stored, or the tables do not answer.
    pub async fn whole_entries(&self, added: Added) -> Result<Vec<AuditEntry>, Error> {
        let identities = self.load_identities(added.scope(), added.names()).await?;
        added.entries(&identities)
    }

    /// All entries in a run's row, and those that were moved out of it. Empty when there is no such
    /// run.
    pub(crate) async fn entries_of_run(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
    ) -> Result<Vec<AuditEntry>, Error> {
        let key = keys::run(scope, run_id);
        let Some(row) = self.row(&key).await? else {
            return Ok(Vec::new());
        };
        let moved = number(&row, "moved").and_then(|moved| u32::try_from(moved).ok());
        let mut rows = Vec::new();
        for number in 0..moved.unwrap_or(0) {
            let key = keys::moved_entries(scope, run_id, number);
            rows.extend(self.row(&key).await?);
        }
        rows.push(row);
        let stored = rows.iter().flat_map(entries::list).map(entries::read);
        let stored = stored.collect::<Result<Vec<_>, _>>()?;
        let names = stored.iter().flat_map(StoredEntry::names).collect();
        let identities = self.load_identities(scope, names).await?;
        let each = stored.into_iter();
        each.map(|entry| entry.expand(scope, run_id, &identities))
            .collect()
    }
}
