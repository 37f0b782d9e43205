//! Enqueue: writes the idempotency row, the run and its audit entry in one transaction.
//!
//! The idempotency row is written only if it is absent or expired. (Time to live deletes rows late,
//! so the condition compares the time.) If two requests with the same key race, one writes the row,
//! and the other reads what the winner wrote.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::limits;
use sealfleet_domain::run::{Change, Run};
use sealfleet_domain::{ProjectScope, RunId};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::unwritten;
use crate::store::{Condition, Item, Table, Write, WriteError};
use crate::transition::run_item;

/// An idempotency key and a hash of the request that it stands for.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pub key: String,
    /// SHA-256 of the request, in hex.
    pub request: String,
}

/// The result of an enqueue.
#[derive(Clone, Debug)]
pub enum Enqueued {
    New,
    /// The same request was stored earlier as this run.
    Before(Box<Run>),
}

impl Ledger {
    /// The run that the same request created earlier with this key, if there is one.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`], or the tables do not answer.
    pub async fn enqueued_before(
        &self,
        scope: &ProjectScope,
        idempotency: &Idempotency,
    ) -> Result<Option<Run>, Error> {
        let key = keys::idempotency(scope, &idempotency.key);
        let Some(item) = self
            .store
            .get(Table::Ledger, &key)
            .await
            .map_err(Error::Unavailable)?
        else {
            return Ok(None);
        };
        let expires_at = item
            .get("expires_at")
            .and_then(|value| value.as_n().ok())
            .and_then(|n| n.parse::<i64>().ok());
        if expires_at.is_none_or(|at| at < self.now().epoch_seconds()) {
            return Ok(None);
        }
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        if text("request") != Some(&idempotency.request) {
            return Err(Error::IdempotencyMismatch);
        }
        let run_id: RunId = text("run")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::Unreadable("an idempotency row without a run".to_owned()))?;
        Ok(Some(self.stored_run(scope, run_id).await?.run))
    }

    /// Stores a new run, its audit entry and its idempotency row.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`], or the tables do not answer. In both cases nothing was
    /// written.
    pub async fn enqueue(
        &self,
        scope: &ProjectScope,
        run: &Run,
        change: &Change,
        idempotency: Option<&Idempotency>,
        actor: &str,
    ) -> Result<Enqueued, Error> {
        for attempt in 0..5 {
            let now = self.now();
            let mut writes = vec![
                Write::Put {
                    table: Table::Ledger,
                    item: run_item(scope, run, 1, run.due_at()).map_err(unwritten)?,
                    only_if: Condition::Absent,
                },
                self.audit_write(
                    scope.project().as_str(),
                    actor,
                    Some(run.run_id),
                    change.events.clone(),
                    now,
                )
                .map_err(unwritten)?,
            ];
            if let Some(idempotency) = idempotency {
                let expires_at = now
                    .epoch_seconds()
                    .saturating_add(limits::IDEMPOTENCY_SECONDS);
                writes.push(Write::Put {
                    table: Table::Ledger,
                    item: idempotency_item(scope, idempotency, run.run_id, expires_at),
                    only_if: Condition::AbsentOrBelow("expires_at", now.epoch_seconds()),
                });
            }
            match self.store.write(writes).await {
                Ok(()) => return Ok(Enqueued::New),
                Err(WriteError::Condition(failed)) if failed.contains(&2) => {
                    if let Some(idempotency) = idempotency
                        && let Some(before) = self.enqueued_before(scope, idempotency).await?
                    {
                        return Ok(Enqueued::Before(Box::new(before)));
                    }
                }
                // Our own first attempt, whose answer was lost.
                Err(WriteError::Condition(_)) => return Ok(Enqueued::New),
                Err(WriteError::Busy) => {}
                Err(WriteError::Unavailable(detail)) => return Err(Error::Unavailable(detail)),
            }
            self.back_off(attempt).await;
        }
        Err(Error::Contended)
    }
}

fn idempotency_item(
    scope: &ProjectScope,
    idempotency: &Idempotency,
    run_id: RunId,
    expires_at: i64,
) -> Item {
    let key = keys::idempotency(scope, &idempotency.key);
    [
        ("pk", AttributeValue::S(key.pk)),
        ("sk", AttributeValue::S(key.sk)),
        ("request", AttributeValue::S(idempotency.request.clone())),
        ("run", AttributeValue::S(run_id.to_string())),
        ("expires_at", AttributeValue::N(expires_at.to_string())),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
