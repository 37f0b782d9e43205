//! Leases: one row for each claim that has not ended, in a numbered slot of its holder.
//!
//! The row is put in the transaction that leases the step and deleted in the one that ends the hold, so it exists
//! exactly while the hold is live. A slot that is taken refuses a second lease: `max_concurrent` holds under any race,
//! without a counter that all claims of a worker would fight over. Heartbeats move `until` on this row alone, so
//! they never disturb the run's own transitions, and find their row gone when the claim has been lost.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::Worker;
use sealfleet_domain::run::{Executor, Fence, Lease, LeaseKey, Pace, Run};
use sealfleet_domain::{ProjectScope, RunId, StepId, Timestamp, WorkerId};
use serde::{Deserialize, Serialize};

use crate::store::{Condition, Key, Query, Range, Table, Write, WriteError};
use crate::transition::{Once, from_item, to_item};
use crate::{Error, Ledger, keys};

/// A claim that was granted.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The run as it is stored now.
    pub run: Run,
    /// The claim's fence.
    pub fence: Fence,
}

/// A stored lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    step: String,
    /// The claim's fence.
    pub fence: Fence,
    /// Until when, in milliseconds since the epoch.
    until: i64,
}

/// A lease as its holder's list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// The holder's slot.
    pub slot: u32,
    /// Until when.
    pub until: Timestamp,
}

impl LeaseRow {
    /// Until when.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.until)
    }
}

impl Ledger {
    /// Claims a step for `worker`.
    ///
    /// Tries a random slot first, which is nearly always free, and looks for a free one only when it is not. So a
    /// claim costs the same whatever the backlog and however many workers there are.
    ///
    /// # Errors
    /// [`Error::NotFound`], what the step machine refuses, [`Error::AtCapacity`], or that the tables do not answer.
    pub async fn claim(
        &self,
        scope: &ProjectScope,
        worker: &Worker,
        run_id: RunId,
        step_id: &StepId,
        executor: Executor,
        pace: Pace,
    ) -> Result<Claimed, Error> {
        let slots = worker.max_concurrent.max(1);
        let chance = self.ids.secret().iter().take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        let mut slot = chance % slots;
        let actor = format!("worker:{}", worker.worker_id);
        for attempt in 0..5 {
            let result = self
                .transition_once(scope, run_id, &actor, |run, now| {
                    run.claim(step_id, worker, slot, executor, pace, now)
                })
                .await?;
            match result {
                Once::Done(done) => {
                    let fence = done
                        .change
                        .take
                        .map(|lease| lease.fence)
                        .ok_or_else(|| Error::Unreadable("a claim without a lease".to_owned()))?;
                    return Ok(Claimed { run: done.run, fence });
                }
                Once::SlotTaken => {
                    let held = self.leases_of(scope, worker.worker_id).await?;
                    slot = (0..slots)
                        .map(|offset| chance.wrapping_add(offset) % slots)
                        .find(|slot| held.iter().all(|lease| lease.slot != *slot))
                        .ok_or(Error::AtCapacity(slots))?;
                }
                Once::Overtaken => self.back_off(attempt).await,
            }
        }
        Err(Error::Contended)
    }

    /// The leases that a worker holds.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn leases_of(&self, scope: &ProjectScope, holder: WorkerId) -> Result<Vec<HeldLease>, Error> {
        let query = Query {
            table: Table::Ledger,
            pk: keys::leases(scope, holder),
            range: Range::Prefix(keys::leases_of(holder)),
            backwards: false,
            limit: 1000,
            consistent: true,
            only: None,
        };
        let mut held = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let rows = self.store.query(&query, after.as_deref()).await.map_err(Error::Unavailable)?;
            for item in rows.items {
                let slot = item
                    .get("sk")
                    .and_then(|sk| sk.as_s().ok())
                    .and_then(|sk| sk.rsplit('#').next())
                    .and_then(|slot| slot.parse().ok())
                    .ok_or_else(|| Error::Unreadable("a lease without a slot".to_owned()))?;
                let row: LeaseRow = from_item(item)?;
                let (run_id, step_id) = row
                    .step
                    .split_once('/')
                    .and_then(|(run, step)| Some((run.parse().ok()?, step.parse().ok()?)))
                    .ok_or_else(|| Error::Unreadable("a lease without a step".to_owned()))?;
                held.push(HeldLease { run_id, step_id, fence: row.fence, slot, until: row.until() });
            }
            after = rows.more_after;
            if after.is_none() {
                return Ok(held);
            }
        }
    }

    /// The stored lease of a hold, if there is one under its fence.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn lease(
        &self,
        scope: &ProjectScope,
        holder: WorkerId,
        slot: u32,
        fence: Fence,
    ) -> Result<Option<LeaseRow>, Error> {
        let key = keys::lease(scope, holder, slot);
        let item = self.store.get(Table::Ledger, &key).await.map_err(Error::Unavailable)?;
        let row: Option<LeaseRow> = item.map(from_item).transpose()?;
        Ok(row.filter(|row| row.fence == fence))
    }

    /// Moves a lease's end to `until`. `false`: the claim is no longer held, and nothing changed.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn heartbeat(
        &self,
        scope: &ProjectScope,
        holder: WorkerId,
        lease: &HeldLease,
        until: Timestamp,
    ) -> Result<bool, Error> {
        let row = LeaseRow {
            step: keys::lease_step(lease.run_id, &lease.step_id),
            fence: lease.fence,
            until: until.millis(),
        };
        let only_if = Condition::Is(vec![
            ("step", AttributeValue::S(row.step.clone())),
            ("fence", AttributeValue::N(row.fence.to_string())),
        ]);
        let item = to_item(&row, keys::lease(scope, holder, lease.slot)).map_err(crate::transition::unwritten)?;
        match self.store.write(vec![Write::Put { table: Table::Ledger, item, only_if }]).await {
            Ok(()) => Ok(true),
            Err(WriteError::Condition(_)) => Ok(false),
            Err(WriteError::Busy) => Err(Error::Contended),
            Err(WriteError::Unavailable(detail)) => Err(Error::Unavailable(detail)),
        }
    }

    /// Notes a claim that was refused.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn refused_claim(
        &self,
        scope: &ProjectScope,
        actor: &str,
        run_id: RunId,
        step_id: &StepId,
        code: &str,
    ) -> Result<(), Error> {
        let event = Event::ClaimRefused { step_id: step_id.clone(), code: code.to_owned() };
        self.record(scope, actor, Some(run_id), vec![event]).await
    }
}

pub(crate) fn take_lease(scope: &ProjectScope, lease: &Lease) -> Write {
    let step = keys::lease_step(lease.run_id, &lease.step_id);
    let key = keys::lease(scope, lease.holder, lease.slot);
    let item = lease_item(key, &step, lease.fence, lease.until);
    // A worker that claims again what it holds replaces its own lease.
    Write::Put { table: Table::Ledger, item, only_if: Condition::AbsentOr("step", AttributeValue::S(step)) }
}

pub(crate) fn release_lease(scope: &ProjectScope, lease: &LeaseKey) -> Write {
    Write::Delete {
        key: keys::lease(scope, lease.holder, lease.slot),
        only_if: Condition::Is(vec![
            ("step", AttributeValue::S(keys::lease_step(lease.run_id, &lease.step_id))),
            ("fence", AttributeValue::N(lease.fence.to_string())),
        ]),
    }
}

fn lease_item(key: Key, step: &str, fence: Fence, until: Timestamp) -> crate::store::Item {
    [
        ("pk", AttributeValue::S(key.pk)),
        ("sk", AttributeValue::S(key.sk)),
        ("step", AttributeValue::S(step.to_owned())),
        ("fence", AttributeValue::N(fence.to_string())),
        ("until", AttributeValue::N(until.millis().to_string())),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
