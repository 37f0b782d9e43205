//! `observe`: what ECS says of its tasks, as it happens.
//!
//! Events come at least once and in any order. Each is read as "this task of this claim has got so
//! far": one of an older fence, or of a step that has gone further, changes nothing. A task that
//! runs for a claim that is gone is stopped. What a task has used is counted once: with the
//! transition that it makes by ending, or else by a row of its own.

use std::collections::BTreeMap;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use sealfleet_aws::queues::Queues;
use sealfleet_domain::audit::Event;
use sealfleet_domain::run::{
    Change, Failure, Fence, Handle, Outcome, Pace, Refusal, RequeueReason, Run, StepState,
};
use sealfleet_domain::{ProjectScope, RunId, StepId, Timestamp};
use sealfleet_fargate::{CONTAINER, Tasks, Usage, size};
use sealfleet_ledger::{Error, Ledger, Start, StartedSandbox, Transitioned};
use serde::{Deserialize, Serialize};

use crate::shared::effects;
use crate::shared::metrics::{Metric, Metrics};
use crate::shared::task_end::{Meaning, TaskEnd};

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// The queues, for steps that become ready.
    pub queues: Box<dyn Queues>,
    /// ECS.
    pub tasks: Box<dyn Tasks>,
    /// When a message is sent again.
    pub pace: Pace,
    /// What is counted.
    pub metrics: Metrics,
}

/// "ECS Task State Change", as far as it matters here (ECS Developer Guide, "Amazon ECS task state
/// change events").
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskChange {
    task_arn: String,
    last_status: String,
    #[serde(default)]
    started_by: Option<String>,
    #[serde(default)]
    stop_code: Option<String>,
    #[serde(default)]
    stopped_reason: Option<String>,
    #[serde(default)]
    containers: Vec<ContainerChange>,
    #[serde(default)]
    cpu: Option<String>,
    #[serde(default)]
    memory: Option<String>,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default)]
    stopped_at: Option<String>,
}

/// A container in a [`TaskChange`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerChange {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default)]
    reason: Option<String>,
}

/// One claim and the task that ECS runs for it.
pub(crate) struct Observed<'a> {
    pub scope: &'a ProjectScope,
    pub run_id: RunId,
    pub step_id: &'a StepId,
    pub fence: Fence,
    pub task_arn: &'a str,
}

const ACTOR: &str = "system:observe";

/// Handles one event.
///
/// # Errors
/// When the tables or ECS do not answer; the event then comes again.
pub async fn handle(ports: &Ports, event: EventBridgeEvent<TaskChange>) -> Result<(), Error> {
    let change = event.detail;
    let started_by = change.started_by.as_deref().unwrap_or_default();
    let Ok((scope, run_id, step_id, fence)) = ProjectScope::of_started_by(started_by) else {
        tracing::info!(
            task = change.task_arn,
            "a task that Sealfleet did not start"
        );
        return Ok(());
    };
    let observed = Observed {
        scope: &scope,
        run_id,
        step_id: &step_id,
        fence,
        task_arn: &change.task_arn,
    };
    let container = change
        .containers
        .iter()
        .find(|container| container.name.as_deref() == Some(CONTAINER));
    match change.last_status.as_str() {
        "RUNNING" => {
            running(
                &ports.ledger,
                ports.tasks.as_ref(),
                ports.pace,
                &observed,
                &ports.metrics,
            )
            .await
        }
        "STOPPED" => {
            let end = TaskEnd {
                exit_code: container.and_then(|container| container.exit_code),
                stop_code: change.stop_code.as_deref(),
                stopped_reason: change.stopped_reason.as_deref(),
                container_reason: container.and_then(|container| container.reason.as_deref()),
            };
            let done = stopped(
                &ports.ledger,
                ports.queues.as_ref(),
                ports.pace,
                &observed,
                &end,
            )
            .await?;
            match change.usage() {
                Some(usage) => {
                    count(
                        &ports.ledger,
                        &ports.metrics,
                        &observed,
                        done.as_ref(),
                        &usage,
                    )
                    .await
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

impl TaskChange {
    /// What a stopped task has used. `None`: its container never started.
    fn usage(&self) -> Option<Usage> {
        let (cpu, memory_mib) = size(self.cpu.as_deref(), self.memory.as_deref())?;
        let started_at = Timestamp::parse(self.started_at.as_deref()?).ok()?;
        let stopped_at = Timestamp::parse(self.stopped_at.as_deref()?).ok()?;
        Some(Usage {
            cpu,
            memory_mib,
            started_at,
            stopped_at,
        })
    }
}

/// The sandbox runs: `Leased -> Running`, unless a key that it holds has been revoked.
pub(crate) async fn running(
    ledger: &Ledger,
    tasks: &dyn Tasks,
    pace: Pace,
    seen: &Observed<'_>,
    metrics: &Metrics,
) -> Result<(), Error> {
    let ready = StartedSandbox {
        scope: seen.scope,
        run_id: seen.run_id,
        step_id: seen.step_id,
        holder: None,
        fence: seen.fence,
        handle: Handle::new(seen.task_arn.to_owned()),
        resolved: &BTreeMap::new(),
        pace,
    };
    match ledger.start(&ready, ACTOR).await {
        Ok(Start::Running(_)) => Ok(()),
        Ok(Start::Revoked(done, revoked)) => {
            tracing::warn!(task = seen.task_arn, %revoked, "a task has a revoked secret: it is stopped");
            effects::stop(tasks, ledger, seen.scope, &done.run, &done.change, ACTOR).await;
            Ok(())
        }
        Err(
            Error::NotFound | Error::Refused(Refusal::StaleFence { .. } | Refusal::OtherHandle),
        ) => {
            let run = ledger.run(seen.scope, seen.run_id).await;
            // Of a claim that ended well the task is on its way out by itself.
            if run.is_ok_and(|run| finished(&run, seen)) {
                return Ok(());
            }
            tracing::warn!(
                task = seen.task_arn,
                "a task runs for a claim that is gone: it is stopped"
            );
            tasks
                .stop(seen.task_arn, "its claim is gone")
                .await
                .map_err(|error| Error::Unavailable(error.to_string()))?;
            metrics.of_function(ledger.now(), &[(Metric::OrphanTasks, 1.0)]);
            Ok(())
        }
        Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The sandbox is gone: the step ends, or is queued again if it was lost. `None`: the claim was
/// gone before.
pub(crate) async fn stopped(
    ledger: &Ledger,
    queues: &dyn Queues,
    pace: Pace,
    seen: &Observed<'_>,
    end: &TaskEnd<'_>,
) -> Result<Option<Transitioned>, Error> {
    let done = ledger
        .transition(seen.scope, seen.run_id, ACTOR, |run, now| {
            let aborted = matches!(run.step(seen.step_id)?.state, StepState::Aborted { .. });
            if aborted && run.step(seen.step_id)?.fence == seen.fence {
                return run.stopped(seen.step_id);
            }
            belongs(run, seen)?;
            let timeout = run.step(seen.step_id)?.spec.timeout_seconds;
            match end.meaning(timeout) {
                Meaning::Ended(outcome) => started_and_ended(run, seen, &outcome, pace, now),
                Meaning::Lost => run.lose(
                    seen.step_id,
                    seen.fence,
                    RequeueReason::SandboxLost,
                    pace,
                    now,
                ),
            }
        })
        .await;
    match done {
        Ok(done) => {
            effects::tell(queues, seen.scope, seen.run_id, &done.change.ready).await;
            Ok(Some(done))
        }
        // An old task, or an event that came again.
        Err(Error::NotFound | Error::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Counts what a stopped task has used, once: with the step's end where the task made it, else by a
/// row of the task's.
pub(crate) async fn count(
    ledger: &Ledger,
    metrics: &Metrics,
    seen: &Observed<'_>,
    done: Option<&Transitioned>,
    usage: &Usage,
) -> Result<(), Error> {
    let ended_its_step = |event: &Event| {
        matches!(
            event,
            Event::StepSucceeded { .. } | Event::StepFailed { .. }
        )
    };
    let first = match done {
        Some(done) if done.change.events.iter().any(ended_its_step) => true,
        _ => match ledger.run(seen.scope, seen.run_id).await {
            // The event came again, or somebody has asked ECS before it came.
            Ok(run) if finished(&run, seen) => false,
            Ok(_) | Err(Error::NotFound) => {
                ledger
                    .note_ended_task(seen.scope, &Handle::new(seen.task_arn.to_owned()))
                    .await?
            }
            Err(error) => return Err(error),
        },
    };
    if first {
        metrics.used(seen.scope, usage);
    }
    Ok(())
}

/// STOPPED may come before RUNNING, or without it: a container that has an exit code has run, and
/// saw its secrets.
fn started_and_ended(
    run: &mut Run,
    seen: &Observed<'_>,
    outcome: &Outcome,
    pace: Pace,
    now: Timestamp,
) -> Result<Change, Refusal> {
    let ran = !matches!(
        outcome,
        Outcome::Failed {
            failure: Failure::CannotStart { .. } | Failure::SecretUnavailable { .. }
        }
    );
    let mut events = Vec::new();
    if ran {
        let handle = Handle::new(seen.task_arn.to_owned());
        let none = BTreeMap::new();
        events = run
            .start(seen.step_id, None, seen.fence, Some(handle), &none)?
            .events;
    }
    let mut change = run.finish(seen.step_id, None, seen.fence, outcome, pace, now)?;
    if !change.events.is_empty() {
        events.append(&mut change.events);
        change.events = events;
    }
    Ok(change)
}

/// Whether the task is the one of the claim: it has its handle, or the claim has none yet.
fn belongs(run: &Run, seen: &Observed<'_>) -> Result<(), Refusal> {
    let step = run.step(seen.step_id)?;
    match step.state.hold() {
        Some(hold) if hold.fence == seen.fence => match &hold.handle {
            Some(handle) if handle.as_str() != seen.task_arn => Err(Refusal::OtherHandle),
            _ => Ok(()),
        },
        _ => Err(Refusal::StaleFence { given: seen.fence }),
    }
}

fn finished(run: &Run, seen: &Observed<'_>) -> bool {
    run.step(seen.step_id).is_ok_and(|step| match &step.state {
        StepState::Succeeded { fence, .. } | StepState::Failed { fence, .. } => {
            *fence == seen.fence
        }
        _ => false,
    })
}
