//! Enqueue: names the run in the idempotency row, then writes the run with its audit entry.
//!
//! If two requests with the same key race, one writes the idempotency row, and the other stores the
//! run that it names, or finds it.

use sealfleet_domain::run::{Change, Run};
use sealfleet_domain::{EventId, ProjectScope, RunId};

use crate::approvals;
use crate::entries::{self, Known};
use crate::error::Error;
use crate::identities::Hashes;
use crate::keys;
use crate::ledger::{Ledger, expiry};
use crate::once::Idempotency;
use crate::rows::unwritten;
use crate::run_rows::{PLAN_BYTES, new_row, plan_of};
use crate::store::{Condition, Consistency, Table, Write};

/// The attribute of an idempotency row that names a run.
const MADE: &str = "run";

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
        let made = self.made_before(&key, idempotency, MADE, consistency);
        let Some(run_id) = made.await? else {
            return Ok(Before::Nothing);
        };
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
            let key = keys::idempotency(scope, &idempotency.key);
            let (item, only_if) = idempotency.row(key, (MADE, run_id.to_string()), self.now());
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
