//! Enqueue: names the run in the idempotency row, then writes the run with its audit entry.
//!
//! The idempotency row is written only if it is absent or expired. (Time to live deletes rows late,
//! so the condition compares the time.) If two requests with the same key race, one writes the row,
//! and the other stores the run that it names, or finds it.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::limits;
use sealfleet_domain::run::{Change, Run};
use sealfleet_domain::{EventId, ProjectScope, RunId};

use crate::approvals;
use crate::entries::{self, Known};
use crate::error::Error;
use crate::identities::Hashes;
use crate::keys;
use crate::ledger::{Ledger, expiry};
use crate::rows::{n, number, row, text, unwritten};
use crate::run_rows::{PLAN_BYTES, new_row, plan_of};
use crate::store::{Condition, Consistency, Item, Table, Write};

/// An idempotency key and a hash of the request that it stands for.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pub key: String,
    /// SHA-256 of the request, in hex.
    pub request: String,
}

/// What an idempotency key stands for.
#[derive(Clone, Debug)]
pub enum Before {
    Nothing,
    /// An attempt that has named the run and not stored it.
    Begun(RunId),
    Stored(Box<Run>),
}

/// The result of an enqueue.
#[derive(Clone, Debug)]
pub enum Enqueued {
    New(Box<Run>),
    /// The same request was stored earlier as this run.
    Before(Box<Run>),
}

impl Ledger {
    /// What the same request has come to with this key. May miss a request of the last second:
    /// [`Ledger::enqueue`] finds that one.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`], or the tables do not answer.
    pub async fn enqueued_before(
        &self,
        scope: &ProjectScope,
        idempotency: &Idempotency,
    ) -> Result<Before, Error> {
        self.before(scope, idempotency, Consistency::Eventual).await
    }

    async fn before(
        &self,
        scope: &ProjectScope,
        idempotency: &Idempotency,
        consistency: Consistency,
    ) -> Result<Before, Error> {
        let key = keys::idempotency(scope, &idempotency.key);
        let Some(item) = self.row_as(&key, consistency).await? else {
            return Ok(Before::Nothing);
        };
        let expires_at = number(&item, "expires_at");
        if expires_at.is_none_or(|at| at < self.now().epoch_seconds()) {
            return Ok(Before::Nothing);
        }
        if text(&item, "request") != Some(&idempotency.request) {
            return Err(Error::IdempotencyMismatch);
        }
        let run_id: RunId = text(&item, "run")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::Unreadable("an idempotency row without a run".to_owned()))?;
        match self.stored_run(scope, run_id).await {
            Ok(stored) => Ok(Before::Stored(Box::new(stored.run))),
            Err(Error::NotFound) => Ok(Before::Begun(run_id)),
            Err(error) => Err(error),
        }
    }

    /// Stores a new run with its audit entry.
    ///
    /// The idempotency row is written first, and names the run. So whoever repeats the request, or
    /// makes it at the same time, stores the same run or finds it.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`], [`Error::TooLarge`], or the tables do not answer. In each
    /// case no run was stored, or repeating the request finds it.
    pub async fn enqueue(
        &self,
        scope: &ProjectScope,
        mut run: Run,
        change: &Change,
        idempotency: Option<&Idempotency>,
        actor: &str,
    ) -> Result<Enqueued, Error> {
        let mut change = change.clone();
        let mut hashes = Hashes::default();
        if let Some(identity) = &run.identity {
            hashes.run = Some(self.keep_identity(scope, identity).await?);
        }
        let plan = plan_of(&run, hashes.run.clone()).map_err(unwritten)?;
        if plan.as_ref().len() > PLAN_BYTES {
            return Err(Error::TooLarge(PLAN_BYTES));
        }
        if let Some(idempotency) = idempotency {
            match self.name_run(scope, idempotency, run.run_id).await? {
                Before::Nothing => {}
                Before::Begun(run_id) => (run, change) = run.renamed(run_id, change),
                Before::Stored(before) => return Ok(Enqueued::Before(before)),
            }
        }
        let now = self.now();
        let known = Known {
            before: None,
            after: (&run, &hashes),
        };
        let event_id = EventId::new(self.ids.as_ref(), now);
        let by = (actor, self.containment);
        let entry = entries::element(event_id, by, change.events, &known);
        let item = entry.and_then(|entry| new_row(scope, &run, plan, entry, change.first_look));
        let mut writes = vec![Write::Put {
            table: Table::Ledger,
            item: item.map_err(unwritten)?,
            only_if: Condition::Absent,
        }];
        let kept_until = expiry(now, self.run_days);
        writes.extend(approvals::of_steps(scope, None, &run, kept_until).map_err(unwritten)?);
        if self.write_if(writes).await? {
            return Ok(Enqueued::New(Box::new(run)));
        }
        // Another attempt at the same request, or our own, whose answer was lost.
        let stored = self.stored_run(scope, run.run_id).await?;
        Ok(Enqueued::Before(Box::new(stored.run)))
    }

    /// Lets an idempotency key stand for a run, unless it stands for one already.
    async fn name_run(
        &self,
        scope: &ProjectScope,
        idempotency: &Idempotency,
        run_id: RunId,
    ) -> Result<Before, Error> {
        for attempt in 0..5 {
            let now = self.now().epoch_seconds();
            let expires_at = now.saturating_add(limits::IDEMPOTENCY_SECONDS);
            let item = idempotency_item(scope, idempotency, run_id, expires_at);
            let only_if = Condition::AbsentOrBelow("expires_at", now);
            if self.put_if(item, only_if).await? {
                return Ok(Before::Nothing);
            }
            match self.before(scope, idempotency, Consistency::Strong).await? {
                Before::Nothing => self.back_off(attempt).await,
                before => return Ok(before),
            }
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
    let attributes = [
        ("request", AttributeValue::S(idempotency.request.clone())),
        ("run", AttributeValue::S(run_id.to_string())),
        ("expires_at", n(expires_at)),
    ];
    row(keys::idempotency(scope, &idempotency.key), attributes)
}
