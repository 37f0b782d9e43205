//! What follows a committed change: tells pools of ready steps, and stops sandboxes.
//!
//! `sweep` repeats both until they have happened, so a failure here is logged and loses nothing.

use sealfleet_api::types::QueueMessage;
use sealfleet_aws::queues::Queues;
use sealfleet_domain::run::{Handle, StepState};
use sealfleet_domain::{PoolName, ProjectScope, RunId, StepId};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Ledger, Transitioned};

/// Tells the pools of the steps that a change made ready.
pub async fn tell(
    queues: &dyn Queues,
    scope: &ProjectScope,
    run_id: RunId,
    ready: &[(StepId, PoolName)],
) {
    for (step_id, pool) in ready {
        let hint = QueueMessage {
            run_id,
            step_id: step_id.clone(),
            passed_on_until: None,
        };
        send(queues, scope, pool, &hint).await;
    }
}

/// Sends a hint to a pool's queue.
pub async fn send(queues: &dyn Queues, scope: &ProjectScope, pool: &PoolName, hint: &QueueMessage) {
    let Ok(body) = serde_json::to_string(hint) else {
        return;
    };
    if let Err(error) = queues.send(scope, pool, body).await {
        let QueueMessage {
            run_id, step_id, ..
        } = hint;
        tracing::warn!(%error, %run_id, %step_id, "the queue message was not sent; it will be sent again");
    }
}

/// Stops the sandboxes that a transition ended, and notes those that are gone.
pub async fn stop(
    hosts: &Hosts,
    ledger: &Ledger,
    scope: &ProjectScope,
    Transitioned { run, change, .. }: &Transitioned,
    actor: &str,
) {
    for (step_id, handle) in &change.stop {
        if !stop_sandbox(hosts, run.run_id, step_id, handle).await {
            continue;
        }
        if run
            .step(step_id)
            .is_ok_and(|step| matches!(step.state, StepState::Aborted { .. }))
        {
            note_stopped(ledger, scope, run.run_id, step_id, actor).await;
        }
    }
}

/// Stops the sandbox of an aborted step, and notes that it is gone. `false`: its host could not be
/// told.
pub async fn stop_aborted(
    hosts: &Hosts,
    ledger: &Ledger,
    scope: &ProjectScope,
    (run_id, step_id): (RunId, &StepId),
    handle: &Handle,
    actor: &str,
) -> bool {
    let stopped = stop_sandbox(hosts, run_id, step_id, handle).await;
    if stopped {
        note_stopped(ledger, scope, run_id, step_id, actor).await;
    }
    stopped
}

async fn stop_sandbox(hosts: &Hosts, run_id: RunId, step_id: &StepId, handle: &Handle) -> bool {
    let stopped = hosts.stop(handle, "ended by Sealfleet").await;
    if let Err(error) = &stopped {
        tracing::warn!(%error, %run_id, %step_id, "the sandbox was not stopped; it will be tried again");
    }
    stopped.is_ok()
}

async fn note_stopped(
    ledger: &Ledger,
    scope: &ProjectScope,
    run_id: RunId,
    step_id: &StepId,
    actor: &str,
) {
    if let Err(error) = ledger
        .transition(scope, run_id, actor, |run, _| run.stopped(step_id))
        .await
    {
        tracing::warn!(%error, %run_id, %step_id, "that the sandbox was stopped was not noted yet");
    }
}
