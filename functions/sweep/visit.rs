//! What a run that is due needs.
//!
//! A run is read once. What its leases and its hosts say is gathered, and then one transition moves
//! all of its steps and gives its row the time at which it is due next.

use std::collections::BTreeMap;

use sealfleet_domain::run::{
    Change, Executor, Failure, Fence, Handle, Hold, Outcome, Refusal, RequeueReason, Run, Step,
    StepState, Stopping,
};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{StepId, Timestamp};
use sealfleet_hosts::{Sandbox, Seen};
use sealfleet_ledger::{DueRun, Error, Transitioned};

use super::Ports;
use crate::shared::effects;
use crate::shared::metrics::Metric;
use crate::shared::task::{self, Context};

/// Seconds between two questions to a host about one sandbox.
const ASK_AGAIN_SECONDS: i64 = 60;
/// Seconds beyond a step's timeout that its sandbox is given to end by itself.
const GRACE_SECONDS: i64 = 30;
/// Seconds after the end of a lease before it is looked at again. With the minute between sweeps
/// and the time that a visit takes, an expired lease is found within 75 seconds.
const SLACK_SECONDS: i64 = 10;
/// Seconds within which a run is due that is looked at too early, and keeps its place in the index.
const SOON_SECONDS: i64 = 60;
/// Seconds for which a run whose leases are live keeps its place in the index. To read it again in
/// a minute costs an eighth of moving it. But what never moves would always come first.
const STAYS_SECONDS: i64 = 300;

pub const ACTOR: &str = "system:sweep";

/// A due run as it was read.
pub struct Visit {
    due: DueRun,
    run: Run,
    /// What hosts say of its sandboxes.
    answers: BTreeMap<String, Result<Option<Sandbox>, sealfleet_hosts::Error>>,
}

/// What a run turned out to need.
pub enum Looked {
    /// Nothing more: it is done, or gone.
    Done,
    /// An answer of a host.
    Ask(Box<Visit>),
    /// Only its queue messages are due.
    Resend(Box<Visit>),
}

/// What is known of a held step.
enum Known {
    /// Its lease ends then. `None`: it has none.
    Lease(Option<Timestamp>),
    /// Its sandbox is there.
    There(Handle),
    /// It has no sandbox.
    Lost,
}

/// A held step, and what is known of it.
struct Told {
    step_id: StepId,
    fence: Fence,
    known: Known,
}

/// Reads a due run, and does what it needs, if that is neither an answer of a host nor a message.
pub async fn look(ports: &Ports, due: DueRun) -> Result<Looked, Error> {
    let run = match ports.ledger.run(&due.scope, due.run_id).await {
        Err(Error::NotFound) => return Ok(Looked::Done),
        other => other?,
    };
    let now = ports.ledger.now();
    waiting(ports, &due, &run, now);
    let visit = Box::new(Visit {
        due,
        run,
        answers: BTreeMap::new(),
    });
    if !visit.handles(now).is_empty() {
        return Ok(Looked::Ask(visit));
    }
    let waits = |state: &StepState| matches!(state, StepState::Queued { .. });
    let mut states = visit.run.steps.values().map(|step| &step.state);
    if states.clone().any(waits) && !states.any(|state| is_pressing(state, now)) {
        return Ok(Looked::Resend(visit));
    }
    carry_out(ports, &visit).await.map(|()| Looked::Done)
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

/// Whether a step is due for something else than its message.
fn is_pressing(state: &StepState, now: Timestamp) -> bool {
    match state {
        StepState::Leased(hold) | StepState::Running(hold) => hold.due <= now,
        StepState::Aborted { stopping, .. } => stopping.is_some(),
        StepState::Waiting { until } => *until <= now,
        _ => false,
    }
}

/// Asks the hosts about the sandboxes of these runs.
pub async fn ask<'a>(ports: &Ports, visits: impl Iterator<Item = &'a mut Box<Visit>>) {
    let now = ports.ledger.now();
    let mut visits: Vec<&mut Box<Visit>> = visits.collect();
    let handles: Vec<Handle> = visits.iter().flat_map(|visit| visit.handles(now)).collect();
    let answers = ports.hosts.look_at(&handles).await;
    let handles = handles.iter().map(|handle| handle.as_str().to_owned());
    let mut answers = handles.zip(answers);
    for visit in &mut visits {
        let own = visit.handles(now).len();
        visit.answers = answers.by_ref().take(own).collect();
    }
}

impl Visit {
    /// The sandboxes to ask their hosts about.
    fn handles(&self, now: Timestamp) -> Vec<Handle> {
        let held = self.run.steps.values().filter_map(|step| step.state.hold());
        held.filter(|hold| hold.executor == Executor::Host && hold.due <= now)
            .filter_map(|hold| hold.handle.clone())
            .collect()
    }

    /// Whether the run needs nothing but another look, at its leases or a little later.
    fn may_stay(&self, told: &[Told], now: Timestamp) -> bool {
        let lives = |told: &Told| matches!(told.known, Known::Lease(Some(until)) if until > now);
        let is_due = |step: &Step| step.due_at().is_some_and(|due| due <= now);
        let due = self.run.steps.values().filter(|step| is_due(step)).count();
        let since = self.run.due_at().unwrap_or(now);
        if due == 0 {
            return now < since && since < now.plus_seconds(SOON_SECONDS);
        }
        !told.is_empty()
            && due == told.len()
            && told.iter().all(lives)
            && now < since.plus_seconds(STAYS_SECONDS)
    }

    fn tag(&self, step_id: &StepId, fence: Fence) -> ClaimTag {
        ClaimTag {
            scope: self.due.scope.clone(),
            run_id: self.due.run_id,
            step_id: step_id.clone(),
            fence,
        }
    }
}

/// Does what is due. All steps are tried; the first error is told, and the run stays due.
pub async fn carry_out(ports: &Ports, visit: &Visit) -> Result<(), Error> {
    let now = ports.ledger.now();
    let (mut told, mut failed) = (Vec::new(), None);
    for (step_id, step) in &visit.run.steps {
        let known = match &step.state {
            StepState::Leased(hold) | StepState::Running(hold) if hold.due <= now => {
                let known = match hold.executor {
                    Executor::Worker => look_at_lease(ports, visit, hold).await.map(Some),
                    Executor::Host => look_at_sandbox(ports, visit, step_id, hold).await,
                };
                known.map(|known| known.map(|known| (hold.fence, known)))
            }
            StepState::Aborted {
                stopping: Some(Stopping::Task(handle)),
                ..
            } => stop(ports, visit, step_id, handle).await.map(|()| None),
            StepState::Aborted {
                stopping: Some(Stopping::Launch { until }),
                ..
            } => {
                let claim = visit.tag(step_id, step.fence);
                let stopped = stop_launch(ports, visit, &claim, *until).await;
                stopped.map(|()| None)
            }
            _ => Ok(None),
        };
        match known {
            Ok(Some((fence, known))) => told.push(Told {
                step_id: step_id.clone(),
                fence,
                known,
            }),
            Ok(None) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if failed.is_none() && visit.may_stay(&told, now) {
        return Ok(());
    }
    apply(ports, visit, |run, now| Ok(move_on(ports, run, &told, now))).await?;
    failed.map_or(Ok(()), Err)
}

/// Moves all steps of a run on, and gives its row the time at which it is due next: the index may
/// have come early, since its entry is moved late, on purpose. What the step machine refuses has
/// been done by somebody else meanwhile.
fn move_on(ports: &Ports, run: &mut Run, told: &[Told], now: Timestamp) -> Change {
    let mut change = Change {
        quiet: true,
        ..Change::default()
    };
    let mut add = |more: Result<Change, Refusal>| {
        if let Ok(mut more) = more {
            change.events.append(&mut more.events);
            change.release.append(&mut more.release);
            change.take_back.append(&mut more.take_back);
            change.ready.append(&mut more.ready);
            change.stop.append(&mut more.stop);
        }
    };
    let waiting: Vec<StepId> = run
        .steps
        .iter()
        .filter(|(_, step)| matches!(step.state, StepState::Queued { .. }))
        .map(|(step_id, _)| step_id.clone())
        .collect();
    for step_id in waiting {
        add(run.wait(&step_id, ports.pace, now));
    }
    let undecided = |state: &StepState| matches!(state, StepState::Waiting { .. });
    let undecided: Vec<StepId> = run
        .steps
        .iter()
        .filter(|(_, step)| undecided(&step.state))
        .map(|(step_id, _)| step_id.clone())
        .collect();
    for step_id in undecided {
        add(run.expire_approval(&step_id, ports.pace, now));
    }
    for Told {
        step_id,
        fence,
        known,
    } in told
    {
        let lose = |run: &mut Run, reason| run.lose(step_id, *fence, reason, ports.pace, now);
        add(match known {
            Known::Lease(Some(until)) if *until > now => {
                run.look_again(step_id, *fence, until.plus_seconds(SLACK_SECONDS))
            }
            Known::Lease(_) => lose(run, RequeueReason::LeaseExpired),
            Known::Lost => lose(run, RequeueReason::SandboxLost),
            Known::There(handle) => there(run, step_id, *fence, handle, now),
        });
    }
    change
}

/// The sandbox is alive: it is asked for again in a while. Its launcher may have died before it
/// stored the handle.
fn there(
    run: &mut Run,
    step_id: &StepId,
    fence: Fence,
    handle: &Handle,
    now: Timestamp,
) -> Result<Change, Refusal> {
    let again = now.plus_seconds(ASK_AGAIN_SECONDS);
    if run.held(step_id, None, fence)?.handle.is_none() {
        return run.attach(step_id, fence, handle.clone(), again);
    }
    run.look_again(step_id, fence, again)
}

/// A worker's hold: alive if its lease row says so.
async fn look_at_lease(ports: &Ports, visit: &Visit, hold: &Hold) -> Result<Known, Error> {
    let lease = ports
        .ledger
        .lease(&visit.due.scope, hold.holder, hold.slot, hold.fence)
        .await?;
    Ok(Known::Lease(lease.map(|lease| lease.until())))
}

fn unavailable(error: sealfleet_hosts::Error) -> Error {
    Error::Unavailable(error.to_string())
}

/// A host's hold: alive if the host says so. `None`: the step has been moved.
async fn look_at_sandbox(
    ports: &Ports,
    visit: &Visit,
    step_id: &StepId,
    hold: &Hold,
) -> Result<Option<Known>, Error> {
    let claim = visit.tag(step_id, hold.fence);
    let sandbox = match &hold.handle {
        Some(handle) => match visit.answers.get(handle.as_str()) {
            Some(answer) => answer.clone().map_err(unavailable)?,
            None => ports.hosts.look(handle).await.map_err(unavailable)?,
        },
        // The dispatcher died after its claim: it may have launched a sandbox, or not.
        None => match ports.hosts.find(&claim).await.map_err(unavailable)? {
            Some(handle) => ports.hosts.look(&handle).await.map_err(unavailable)?,
            None => None,
        },
    };
    let Some(sandbox) = sandbox else {
        return Ok(Some(Known::Lost));
    };
    let with = context(ports);
    if matches!(sandbox.seen, Seen::Ended(_)) {
        task::follow(&with, &claim, &sandbox).await?;
        return Ok(None);
    }
    let timeout = visit.run.step(step_id)?.spec.timeout_seconds;
    let overdue = hold
        .since
        .plus_seconds(i64::from(timeout) + ports.pace.lease_seconds + GRACE_SECONDS);
    if overdue <= ports.ledger.now() {
        time_out(ports, visit, &claim, &sandbox, timeout).await?;
        return Ok(None);
    }
    task::follow(&with, &claim, &sandbox).await?;
    Ok(Some(Known::There(sandbox.handle)))
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
    visit: &Visit,
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
    match applied(ports, visit, rule).await? {
        Some(done) => task::count(&context(ports), claim, sandbox, Some(&done)).await,
        None => Ok(()),
    }
}

/// A step was ended while it was being launched, and the launcher may have died before it could
/// take the sandbox back.
async fn stop_launch(
    ports: &Ports,
    visit: &Visit,
    claim: &ClaimTag,
    until: Timestamp,
) -> Result<(), Error> {
    match ports.hosts.find(claim).await.map_err(unavailable)? {
        Some(handle) => {
            stop(ports, visit, &claim.step_id, &handle).await?;
            ports
                .metrics
                .of_function(ports.ledger.now(), &[(Metric::OrphanTasks, 1.0)]);
            Ok(())
        }
        None if until <= ports.ledger.now() => {
            apply(ports, visit, |run, _| run.stopped(&claim.step_id)).await
        }
        None => Ok(()),
    }
}

async fn stop(
    ports: &Ports,
    visit: &Visit,
    step_id: &StepId,
    handle: &Handle,
) -> Result<(), Error> {
    ports
        .hosts
        .stop(handle, "ended by Sealfleet")
        .await
        .map_err(unavailable)?;
    apply(ports, visit, |run, _| run.stopped(step_id)).await
}

/// Applies a rule and what follows from it. What the step machine refuses has been done by somebody
/// else meanwhile.
async fn apply(
    ports: &Ports,
    visit: &Visit,
    rule: impl FnMut(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
) -> Result<(), Error> {
    applied(ports, visit, rule).await.map(drop)
}

/// [`apply`], and what it came to. `None`: somebody else was faster.
async fn applied(
    ports: &Ports,
    visit: &Visit,
    rule: impl FnMut(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
) -> Result<Option<Transitioned>, Error> {
    let (scope, run_id) = (&visit.due.scope, visit.due.run_id);
    match ports.ledger.transition(scope, run_id, ACTOR, rule).await {
        Ok(done) => {
            effects::tell(ports.queues.as_ref(), scope, run_id, &done.change.ready).await;
            effects::stop(&ports.hosts, &ports.ledger, scope, &done, ACTOR).await;
            Ok(Some(done))
        }
        Err(Error::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
