//! From the rows of runs to the trail.
//!
//! A run's entries are decided and stored in its own row (`entries`). The `trail` function reads
//! the ledger's stream and copies what each write added. An entry keeps its id, so copying it twice
//! changes nothing. The trail of one run is read from the run itself, without this delay.

use futures_util::future::try_join_all;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::{ProjectScope, RunId};

use crate::entries;
use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::unwritten;
use crate::run_rows::Added;
use crate::store::{Table, WriteError};

impl Ledger {
    /// Copies entries that a write added to a run's row to the audit table. Returns how many were
    /// not there.
    ///
    /// # Errors
    /// When the tables do not answer, or an entry's identity is not stored.
    pub async fn copy_to_trail(&self, added: Added) -> Result<usize, Error> {
        let identities = self.load_identities(added.scope(), added.names()).await?;
        let mut copied = 0;
        for entry in added.entries(&identities)? {
            let put = self.entry_write(&entry).map_err(unwritten)?;
            match self.store.write(vec![put]).await {
                Ok(()) => copied += 1,
                Err(WriteError::Condition(_)) => {}
                Err(error) => return Err(unwritten(error)),
            }
        }
        Ok(copied)
    }

    /// All entries in a run's row, and those that were moved out of it. Empty when there is no such
    /// run.
    pub(crate) async fn entries_of_run(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
    ) -> Result<Vec<AuditEntry>, Error> {
        let key = keys::run(scope, run_id);
        let row = self.store.get(Table::Ledger, &key).await;
        let Some(row) = row.map_err(Error::Unavailable)? else {
            return Ok(Vec::new());
        };
        let moved = row.get("moved").and_then(|moved| moved.as_n().ok());
        let moved = moved.and_then(|moved| moved.parse().ok()).unwrap_or(0);
        let mut rows = Vec::new();
        for number in 0..moved {
            let key = keys::moved_entries(scope, run_id, number);
            let row = self.store.get(Table::Ledger, &key).await;
            rows.extend(row.map_err(Error::Unavailable)?);
        }
        rows.push(row);
        let stored = rows.iter().flat_map(entries::list).map(entries::read);
        let stored = stored.collect::<Result<Vec<_>, _>>()?;
        let each = stored.into_iter().map(async |entry| {
            let identities = self.load_identities(scope, entry.names()).await?;
            entry.expand(scope, run_id, &identities)
        });
        try_join_all(each).await
    }
}
