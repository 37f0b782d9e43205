//! Refusals of workers on record, in a bounded number of entries.
//!
//! A worker may repeat a call that is refused as fast as its rate allows. Each refusal is counted,
//! in the same write as its entry if it has one: the first of a minute has one, and so have the
//! second, the fourth, the eighth and so on. An entry says how many there were so far, so the last
//! one of a minute tells at least half of them.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::{ProjectScope, RunId, WorkerId};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Table, Write, WriteError};

/// Attempts at a row that other instances keep changing.
const ATTEMPTS: u32 = 8;
/// Seconds after which time to live may delete the count of a minute.
const FORGOTTEN_SECONDS: i64 = 3600;

/// The refusals of one worker in one minute.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Row {
    /// Since the Unix epoch.
    minute: i64,
    count: u32,
    expires_at: i64,
}

impl Ledger {
    /// Counts a refused call of a worker, and records the event of this count if it is due.
    ///
    /// # Errors
    /// When the tables do not answer, or other calls of the worker keep being refused.
    pub async fn refused(
        &self,
        scope: &ProjectScope,
        worker_id: WorkerId,
        actor: &str,
        run_id: RunId,
        event: impl Fn(u32) -> Event,
    ) -> Result<(), Error> {
        let key = keys::worker_refusals(scope, worker_id);
        for attempt in 0..ATTEMPTS {
            let now = self.now();
            let minute = now.epoch_seconds().div_euclid(60);
            let stored: Option<Row> = self.row(&key).await?.map(from_item).transpose()?;
            let (minute, before) = match stored {
                Some(row) if row.minute >= minute => (row.minute, row.count),
                _ => (minute, 0),
            };
            let count = before.saturating_add(1);
            let row = Row {
                minute,
                count,
                expires_at: now.epoch_seconds().saturating_add(FORGOTTEN_SECONDS),
            };
            let number = |number: i64| AttributeValue::N(number.to_string());
            let only_if = stored.map_or(Condition::Absent, |row| {
                Condition::Is(vec![
                    ("minute", number(row.minute)),
                    ("count", number(row.count.into())),
                ])
            });
            let mut writes = vec![Write::Put {
                table: Table::Ledger,
                item: to_item(&row, key.clone()).map_err(unwritten)?,
                only_if,
            }];
            if count.is_power_of_two() {
                let project = scope.project().as_str();
                writes.push(
                    self.audit_write(project, actor, Some(run_id), vec![event(count)], now)
                        .map_err(unwritten)?,
                );
            }
            match self.store.write(writes).await {
                Ok(()) => return Ok(()),
                Err(WriteError::Condition(_) | WriteError::Busy) => self.back_off(attempt).await,
                Err(error) => return Err(unwritten(error)),
            }
        }
        Err(Error::Contended)
    }
}
