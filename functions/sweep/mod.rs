//! `sweep`: visits what is due, and nothing else.
//!
//! It sends the message of a queued step again, or ends a step whose time to live is over. It looks
//! at the lease of a step that a worker holds, and asks the host of a step that a host holds. It
//! stops sandboxes left behind by ended steps, goes on with interrupted fan-outs, and moves audit
//! entries that wait in the outbox to the trail. Queue messages, events and handlers may all be
//! lost; this alone brings every run to its end.

use sealfleet_aws::queues::Queues;
use sealfleet_domain::run::{
    Change, Executor, Failure, Fence, Handle, Hold, Outcome, Pace, Refusal, RequeueReason, Run,
    StepState, Stopping,
};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{FanOutId, Owner, ProjectScope, StepId, Timestamp};
use sealfleet_hosts::{Hosts, Sandbox, Seen};
use sealfleet_ledger::{Due, DueRun, Error, Ledger, Transitioned, due_shards};
use serde::Serialize;

use crate::shared::metrics::{Metric, Metrics};
use crate::shared::task::{self, Context};
use crate::shared::{effects, fan_out};

/// Seconds between two questions to a host about one sandbox.
const ASK_AGAIN_SECONDS: i64 = 60;
/// Seconds beyond a step's timeout that its sandbox is given to end by itself.
const GRACE_SECONDS: i64 = 30;
/// Seconds that one sweep works on one fan-out.
const FAN_OUT_SECONDS: i64 = 20;
/// Rows of one shard that are read at once.
const PAGE: usize = 100;
/// Pages of one shard that one sweep reads: the next one comes in a minute.
const PAGES: u32 = 20;

const ACTOR: &str = "system:sweep";

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// The queues.
    pub queues: Box<dyn Queues>,
    /// Where sandboxes run.
    pub hosts: Hosts,
    /// How long leases last and when a message is sent again.
    pub pace: Pace,
    /// What is counted.
    pub metrics: Metrics,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Runs, fan-outs and waiting audit entries that were due.
    pub visited: u64,
    /// Those that could not be dealt with; they stay due.
    pub failed: u64,
}

/// Visits all that is due now.
///
/// # Errors
/// When the due index cannot be read.
pub async fn handle(ports: &Ports) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    let mut unfinished_fan_outs = 0.0;
    for shard in due_shards() {
        // Page after page, for as long as a page brings something on its way: what is dealt with is
        // due no more.
        for _ in 0..PAGES {
            let page = ports.ledger.due(&shard, ports.ledger.now(), PAGE).await?;
            let mut dealt_with = 0;
            for due in &page {
                swept.visited += 1;
                let visited = match due {
                    Due::Run(due) => visit(ports, due).await,
                    Due::FanOut(owner, id) => {
                        let finished = go_on(ports, owner, *id).await;
                        if !matches!(finished, Ok(true)) {
                            unfinished_fan_outs += 1.0;
                        }
                        finished.map(drop)
                    }
                    Due::Entry(entry) => ports.ledger.move_to_trail(entry).await,
                };
                match visited {
                    Ok(()) => dealt_with += 1,
                    Err(error) => {
                        swept.failed += 1;
                        tracing::warn!(%error, ?due, "what is due could not be dealt with; it stays due");
                    }
                }
            }
            if page.len() < PAGE || dealt_with == 0 {
                break;
            }
        }
    }
    ports.metrics.of_function(
        ports.ledger.now(),
        &[(Metric::FanOutsUnfinished, unfinished_fan_outs)],
    );
    tracing::info!(visited = swept.visited, failed = swept.failed, "swept");
    Ok(swept)
}

/// A fan-out whose worker died, or ran out of time. Whether it is finished now.
async fn go_on(ports: &Ports, owner: &Owner, id: FanOutId) -> Result<bool, Error> {
    let fan_out = ports.ledger.fan_out(owner, id).await?;
    let until = ports.ledger.now().plus_seconds(FAN_OUT_SECONDS);
    let fan_out = fan_out::advance(&ports.ledger, &ports.hosts, owner, fan_out, until).await?;
    Ok(fan_out.finished.is_some())
}

async fn visit(ports: &Ports, due: &DueRun) -> Result<(), Error> {
    let run = match ports.ledger.run(&due.scope, due.run_id).await {
        Err(Error::NotFound) => return Ok(()),
        other => other?,
    };
    let now = ports.ledger.now();
    waiting(ports, due, &run, now);
    for (step_id, step) in &run.steps {
        match &step.state {
            StepState::Queued { .. } => {
                apply(ports, due, |run, now| run.wait(step_id, ports.pace, now)).await?;
            }
            StepState::Leased(hold) | StepState::Running(hold) if hold.due <= now => {
                match hold.executor {
                    Executor::Worker => look_at_lease(ports, due, step_id, hold).await?,
                    Executor::Host => look_at_sandbox(ports, due, &run, step_id, hold).await?,
                }
            }
            StepState::Aborted {
                stopping: Some(Stopping::Task(handle)),
                ..
            } => {
                stop(ports, due, step_id, handle).await?;
            }
            StepState::Aborted {
                stopping: Some(Stopping::Launch { until }),
                ..
            } => {
                stop_launch(ports, due, &tag(due, step_id, step.fence), *until).await?;
            }
            _ => {}
        }
    }
    // The index may have come early (its entry is moved late, on purpose): give it the time that is
    // true now.
    apply(ports, due, |_, _| {
        Ok(Change {
            quiet: true,
            ..Change::default()
        })
    })
    .await
}

/// Tells how long a run's steps have waited for their pools. The alarm over all projects hangs on
/// it: SQS only knows the age of messages, by queue.
fn waiting(ports: &Ports, due: &DueRun, run: &Run, now: Timestamp) {
    let since = run.steps.values().filter_map(|step| match step.state {
        StepState::Queued { since, .. } => Some(since),
        _ => None,
    });
    if let Some(since) = since.min() {
        let seconds = now.millis_since(since) / 1000;
        #[expect(clippy::cast_precision_loss, reason = "seconds of days")]
        let longest = [(Metric::QueuedSeconds, seconds as f64)];
        let project = due.scope.project().as_str();
        ports
            .metrics
            .of_project_and_function(project, now, &longest);
    }
}

/// A worker's hold: alive if its lease row says so.
async fn look_at_lease(
    ports: &Ports,
    due: &DueRun,
    step_id: &StepId,
    hold: &Hold,
) -> Result<(), Error> {
    let lease = ports
        .ledger
        .lease(&due.scope, hold.holder, hold.slot, hold.fence)
        .await?;
    let until = lease.map(|lease| lease.until());
    apply(ports, due, |run, now| match until {
        Some(until) if until > now => run.look_again(step_id, hold.fence, until),
        _ => run.lose(
            step_id,
            hold.fence,
            RequeueReason::LeaseExpired,
            ports.pace,
            now,
        ),
    })
    .await
}

fn tag(due: &DueRun, step_id: &StepId, fence: Fence) -> ClaimTag {
    ClaimTag {
        scope: due.scope.clone(),
        run_id: due.run_id,
        step_id: step_id.clone(),
        fence,
    }
}

fn unavailable(error: sealfleet_hosts::Error) -> Error {
    Error::Unavailable(error.to_string())
}

/// A host's hold: alive if the host says so.
async fn look_at_sandbox(
    ports: &Ports,
    due: &DueRun,
    run: &Run,
    step_id: &StepId,
    hold: &Hold,
) -> Result<(), Error> {
    let claim = tag(due, step_id, hold.fence);
    let handle = match &hold.handle {
        Some(handle) => Some(handle.clone()),
        // The dispatcher died after its claim: it may have launched a sandbox, or not.
        None => ports.hosts.find(&claim).await.map_err(unavailable)?,
    };
    let sandbox = match &handle {
        Some(handle) => ports.hosts.look(handle).await.map_err(unavailable)?,
        None => None,
    };
    let Some(sandbox) = sandbox else {
        return apply(ports, due, |run, now| {
            run.lose(
                step_id,
                hold.fence,
                RequeueReason::SandboxLost,
                ports.pace,
                now,
            )
        })
        .await;
    };
    let with = context(ports);
    if matches!(sandbox.seen, Seen::Ended(_)) {
        return task::follow(&with, &claim, &sandbox).await;
    }
    let timeout = run.step(step_id)?.spec.timeout_seconds;
    let overdue = hold
        .since
        .plus_seconds(i64::from(timeout) + ports.pace.lease_seconds + GRACE_SECONDS);
    if overdue <= ports.ledger.now() {
        return time_out(ports, due, &claim, &sandbox, timeout).await;
    }
    task::follow(&with, &claim, &sandbox).await?;
    apply(ports, due, |run, now| {
        let again = now.plus_seconds(ASK_AGAIN_SECONDS);
        if run.held(step_id, None, hold.fence)?.handle.is_none() {
            return run.attach(step_id, hold.fence, sandbox.handle.clone(), again);
        }
        run.look_again(step_id, hold.fence, again)
    })
    .await
}

fn context(ports: &Ports) -> Context<'_> {
    Context {
        ledger: &ports.ledger,
        queues: ports.queues.as_ref(),
        hosts: &ports.hosts,
        pace: ports.pace,
        metrics: &ports.metrics,
    }
}

/// The sandbox's own init should have ended it long ago.
async fn time_out(
    ports: &Ports,
    due: &DueRun,
    claim: &ClaimTag,
    sandbox: &Sandbox,
    timeout: u32,
) -> Result<(), Error> {
    let stopped = ports
        .hosts
        .stop(&sandbox.handle, "the step's time is over")
        .await;
    stopped.map_err(unavailable)?;
    let outcome = Outcome::Failed {
        failure: Failure::TimedOut {
            after_seconds: timeout,
        },
    };
    let rule = |run: &mut Run, now| {
        run.finish(&claim.step_id, None, claim.fence, &outcome, ports.pace, now)
    };
    // The host's event finds the step ended.
    match applied(ports, due, rule).await? {
        Some(done) => task::count(&context(ports), claim, sandbox, Some(&done)).await,
        None => Ok(()),
    }
}

/// A step was ended while it was being launched, and the launcher may have died before it could
/// take the sandbox back.
async fn stop_launch(
    ports: &Ports,
    due: &DueRun,
    claim: &ClaimTag,
    until: Timestamp,
) -> Result<(), Error> {
    match ports.hosts.find(claim).await.map_err(unavailable)? {
        Some(handle) => {
            stop(ports, due, &claim.step_id, &handle).await?;
            ports
                .metrics
                .of_function(ports.ledger.now(), &[(Metric::OrphanTasks, 1.0)]);
            Ok(())
        }
        None if until <= ports.ledger.now() => {
            apply(ports, due, |run, _| run.stopped(&claim.step_id)).await
        }
        None => Ok(()),
    }
}

async fn stop(ports: &Ports, due: &DueRun, step_id: &StepId, handle: &Handle) -> Result<(), Error> {
    ports
        .hosts
        .stop(handle, "ended by Sealfleet")
        .await
        .map_err(unavailable)?;
    apply(ports, due, |run, _| run.stopped(step_id)).await
}

/// Applies a rule and what follows from it. What the step machine refuses has been done by somebody
/// else meanwhile.
async fn apply(
    ports: &Ports,
    due: &DueRun,
    rule: impl FnMut(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
) -> Result<(), Error> {
    applied(ports, due, rule).await.map(drop)
}

/// [`apply`], and what it came to. `None`: somebody else was faster.
async fn applied(
    ports: &Ports,
    due: &DueRun,
    rule: impl FnMut(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
) -> Result<Option<Transitioned>, Error> {
    let scope: &ProjectScope = &due.scope;
    match ports
        .ledger
        .transition(scope, due.run_id, ACTOR, rule)
        .await
    {
        Ok(done) => {
            effects::tell(ports.queues.as_ref(), scope, due.run_id, &done.change.ready).await;
            effects::stop(
                &ports.hosts,
                &ports.ledger,
                scope,
                &done.run,
                &done.change,
                ACTOR,
            )
            .await;
            Ok(Some(done))
        }
        Err(Error::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
