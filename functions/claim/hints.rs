//! What becomes of a hint whose worker cannot run the step.
//!
//! A queue gives each message to any worker of the pool. A worker that lacks a label, the model or
//! the mode drops the hint, and the control plane sees to it that one that has them learns of the
//! step:
//!
//! - If one of those has a free slot, the hint is **passed on**: some copies of it are sent, which
//!   the idle workers of the pool receive. Whoever cannot use a copy either has it passed on again,
//!   for a few seconds. A worker that was refused makes a pause, so copies soon reach the others.
//! - If all of those are busy, word is **left with their leases**. The report of the end of a step
//!   brings it back, and the worker claims the waiting step at once.
//!
//! Nothing is sent when no worker of the pool can run the step. `sweep` sends a new hint every
//! minute in any case.

use futures_util::future::join_all;
use sealfleet_api::types::{ClaimStep, QueueMessage};
use sealfleet_domain::fleet::Worker;
use sealfleet_domain::run::{StepSpec, StepState};
use sealfleet_domain::{ProjectScope, Timestamp};
use sealfleet_ledger::Error;

use super::Ports;
use crate::shared::auth::WorkerCaller;
use crate::shared::effects;

/// Seconds for which a hint is passed on.
const PASSED_ON_SECONDS: i64 = 5;
/// Copies of a hint that are on their way at once.
const COPIES: usize = 4;
/// Workers that could run a step and that are looked at.
const LOOKED_AT: usize = 8;
/// Leases of a worker that word is left with.
const LEASES: usize = 4;

/// Sees to it that another worker learns of a step that the caller cannot run.
pub async fn pass_on(ports: &Ports, caller: &WorkerCaller, asked: &ClaimStep) -> Result<(), Error> {
    let now = ports.ledger.now();
    let latest = now.plus_seconds(PASSED_ON_SECONDS);
    if let Some(until) = asked.passed_on_until {
        if now < until {
            send(ports, caller, asked, until.min(latest), 1).await;
        }
        return Ok(());
    }
    let run = ports.ledger.run(&caller.scope, asked.run_id).await?;
    let step = run.step(&asked.step_id)?;
    let waits = matches!(step.state, StepState::Queued { .. });
    if waits && is_one_free(ports, caller, asked, &step.spec).await? {
        send(ports, caller, asked, latest, COPIES).await;
    }
    Ok(())
}

async fn send(
    ports: &Ports,
    caller: &WorkerCaller,
    asked: &ClaimStep,
    until: Timestamp,
    copies: usize,
) {
    let hint = QueueMessage {
        run_id: asked.run_id,
        step_id: asked.step_id.clone(),
        passed_on_until: Some(until),
    };
    let (queues, pool) = (ports.queues.as_ref(), &caller.worker.pool);
    let each = (0..copies).map(|_| effects::send(queues, &caller.scope, pool, &hint));
    join_all(each).await;
}

/// Whether a worker that can run the step may have a free slot. Leaves word with the busy ones that
/// were looked at before it.
async fn is_one_free(
    ports: &Ports,
    caller: &WorkerCaller,
    asked: &ClaimStep,
    spec: &StepSpec,
) -> Result<bool, Error> {
    let scope = &caller.scope;
    let mut able = ports.ledger.workers_that_can_run(scope, spec).await?;
    if !able.is_empty() {
        // Not always the same ones.
        let first = ports.ledger.chance() as usize % able.len();
        able.rotate_left(first);
    }
    for worker in able.iter().take(LOOKED_AT) {
        if !is_told_later(ports, scope, asked, worker).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Leaves word with the leases of a worker. `false`: it has, or has just got, a free slot.
async fn is_told_later(
    ports: &Ports,
    scope: &ProjectScope,
    asked: &ClaimStep,
    worker: &Worker,
) -> Result<bool, Error> {
    let leases = ports.ledger.leases_of(scope, worker.worker_id).await?;
    if leases.len() < worker.max_concurrent as usize {
        return Ok(false);
    }
    for lease in leases.iter().take(LEASES) {
        let step = (asked.run_id, &asked.step_id);
        let left = ports
            .ledger
            .leave_hint(scope, worker.worker_id, lease, step)
            .await?;
        if !left {
            return Ok(false);
        }
    }
    Ok(true)
}
