//! What follows from how a hosted sandbox stands, whoever says so: its host's event (`observe`), or
//! its host's answer (`sweep`).
//!
//! A state is read as "the sandbox of this claim has got so far": that of an older fence, or of a
//! step that has gone further, changes nothing. A sandbox that runs for a claim that is gone is
//! stopped. What it has used is counted once: with the transition that it makes by ending, or else
//! by a row of its own.

use sealfleet_aws::queues::Queues;
use sealfleet_domain::Timestamp;
use sealfleet_domain::audit::Event;
use sealfleet_domain::run::{
    Change, Failure, Handle, Outcome, Pace, Refusal, Run, SecretsRead, StepState, Told,
};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::usage::Measured;
use sealfleet_hosts::{End, Hosts, Sandbox, Seen};
use sealfleet_ledger::{Error, Ledger, Start, StartedSandbox, Transitioned};

use super::effects;
use super::metrics::{Metric, Metrics};

/// As the trail names it, whoever learned of the state.
const ACTOR: &str = "system:observe";

/// What this takes.
pub struct Context<'a> {
    /// The tables.
    pub ledger: &'a Ledger,
    /// The queues, for steps that become ready.
    pub queues: &'a dyn Queues,
    /// Where sandboxes run.
    pub hosts: &'a Hosts,
    /// When a message is sent again.
    pub pace: Pace,
    /// What is counted.
    pub metrics: &'a Metrics,
}

/// Brings the step of `claim` to where its sandbox is.
///
/// # Errors
/// When the tables or the host do not answer. Doing it again does no harm.
pub async fn follow(with: &Context<'_>, claim: &ClaimTag, sandbox: &Sandbox) -> Result<(), Error> {
    match &sandbox.seen {
        Seen::Starting => Ok(()),
        Seen::Running => running(with, claim, &sandbox.handle).await,
        Seen::Ended(end) => {
            if let End::NotStarted { reason, detail } = end {
                tracing::warn!(
                    sandbox = sandbox.id,
                    ?reason,
                    detail,
                    "the host could not start a sandbox"
                );
            }
            let done = ended(with, claim, sandbox, end).await?;
            count(with, claim, sandbox, done.as_ref()).await
        }
    }
}

/// `Leased -> Running`, unless a key that it holds has been revoked.
async fn running(with: &Context<'_>, claim: &ClaimTag, handle: &Handle) -> Result<(), Error> {
    let Context { ledger, hosts, .. } = with;
    let started = StartedSandbox {
        scope: &claim.scope,
        run_id: claim.run_id,
        step_id: &claim.step_id,
        holder: None,
        fence: claim.fence,
        handle: handle.clone(),
        read: &SecretsRead::default(),
        output: None,
        uploads: false,
        pace: with.pace,
    };
    let sandbox = handle.as_str();
    match ledger.start(&started, ACTOR).await {
        Ok(Start::Running(_)) => Ok(()),
        Ok(Start::Revoked(done, revoked)) => {
            tracing::warn!(sandbox, %revoked, "stopping a sandbox that has a revoked secret");
            effects::stop(hosts, ledger, &claim.scope, &done, ACTOR).await;
            Ok(())
        }
        Err(
            Error::NotFound | Error::Refused(Refusal::StaleFence { .. } | Refusal::OtherHandle),
        ) => {
            let run = ledger.run(&claim.scope, claim.run_id).await;
            // The sandbox of a claim that ended well is on its way out by itself.
            if run.is_ok_and(|run| finished(&run, claim)) {
                return Ok(());
            }
            tracing::warn!(
                sandbox,
                "stopping a sandbox that runs for a claim that is gone"
            );
            hosts
                .stop(handle, "its claim is gone")
                .await
                .map_err(|error| Error::Unavailable(error.to_string()))?;
            with.metrics
                .of_function(ledger.now(), &[(Metric::OrphanTasks, 1.0)]);
            Ok(())
        }
        Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The step ends, or is queued again if its sandbox was lost. `None`: the claim was gone before.
async fn ended(
    with: &Context<'_>,
    claim: &ClaimTag,
    sandbox: &Sandbox,
    end: &End,
) -> Result<Option<Transitioned>, Error> {
    let (step_id, fence, pace) = (&claim.step_id, claim.fence, with.pace);
    let handle = &sandbox.handle;
    // Only a sandbox that ran has told something.
    let told = async {
        match end {
            End::Exit(_)
            | End::OutOfTime { .. }
            | End::Untold { .. }
            | End::OutOfMemory
            | End::CannotStart { .. } => with.ledger.told(claim).await,
            End::SecretUnavailable { .. } | End::NotStarted { .. } | End::Lost => Ok(None),
        }
    };
    let run = with.ledger.glimpsed_run(&claim.scope, claim.run_id);
    let (told, run) = tokio::join!(told, run);
    let told = told?;
    let end = match end {
        End::Untold { code } if told.is_some() => &End::Exit(*code),
        end => end,
    };
    let rule = |run: &mut Run, now| {
        let step = run.step(step_id)?;
        if matches!(step.state, StepState::Aborted { .. }) && step.fence == fence {
            return run.stopped(step_id);
        }
        belongs(run, claim, handle)?;
        let mut change = match end.outcome(step.spec.timeout_seconds) {
            Ok(seen) => {
                let told = match told.clone() {
                    Some(told) => told.beside(seen),
                    None => Told::only(seen),
                };
                started_and_ended(run, claim, handle, &told, pace, now)?
            }
            Err(reason) => run.lose(step_id, fence, reason, pace, now)?,
        };
        let told = change.measured.take().map(|(_, told)| told);
        let measured = Measured {
            ran: sandbox.ran(now),
            ..told.unwrap_or_default()
        };
        change.measured = Some((step_id.clone(), measured));
        Ok(change)
    };
    let done = match run {
        Ok(run) => {
            let ledger = with.ledger;
            ledger.transition_of(&claim.scope, run, ACTOR, rule).await
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(done) => {
            effects::tell(with.queues, &claim.scope, claim.run_id, &done.change.ready).await;
            Ok(Some(done))
        }
        // An old sandbox, or an event that came again.
        Err(Error::NotFound | Error::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Counts what a sandbox that is gone has used, once: with the step's end where `done` made it,
/// else by a row of the sandbox's.
///
/// # Errors
/// When the tables do not answer.
pub async fn count(
    with: &Context<'_>,
    claim: &ClaimTag,
    sandbox: &Sandbox,
    done: Option<&Transitioned>,
) -> Result<(), Error> {
    let Some(ran) = sandbox.ran(with.ledger.now()) else {
        return Ok(());
    };
    let ended_its_step = |event: &Event| {
        matches!(
            event,
            Event::StepSucceeded { .. } | Event::StepFailed { .. }
        )
    };
    let first = match done {
        Some(done) if done.change.events.iter().any(ended_its_step) => true,
        _ => match with.ledger.run(&claim.scope, claim.run_id).await {
            // The event came again, or somebody has asked the host before it came.
            Ok(run) if finished(&run, claim) => false,
            Ok(_) | Err(Error::NotFound) => {
                let noted = with.ledger.note_ended_task(&claim.scope, &sandbox.id);
                noted.await?
            }
            Err(error) => return Err(error),
        },
    };
    if first {
        with.metrics.ran(&claim.scope, &ran);
    }
    Ok(())
}

/// The end may be told before the start, or without it: a sandbox whose command has ended has run,
/// and saw its secrets.
fn started_and_ended(
    run: &mut Run,
    claim: &ClaimTag,
    handle: &Handle,
    told: &Told,
    pace: Pace,
    now: Timestamp,
) -> Result<Change, Refusal> {
    let (step_id, fence) = (&claim.step_id, claim.fence);
    let ran = !matches!(
        told.outcome,
        Outcome::Failed {
            failure: Failure::CannotStart { .. } | Failure::SecretUnavailable { .. }
        }
    );
    let mut events = Vec::new();
    if ran {
        let none = SecretsRead::default();
        events = run
            .start(step_id, None, fence, Some(handle.clone()), &none)?
            .events;
    }
    let mut change = run.finish_as_told(step_id, None, fence, told, pace, now)?;
    if !change.events.is_empty() {
        events.append(&mut change.events);
        change.events = events;
    }
    Ok(change)
}

/// Whether the sandbox is the one of the claim: it has its handle, or the claim has none yet.
fn belongs(run: &Run, claim: &ClaimTag, handle: &Handle) -> Result<(), Refusal> {
    let step = run.step(&claim.step_id)?;
    match step.state.hold() {
        Some(hold) if hold.fence == claim.fence => match &hold.handle {
            Some(own) if own != handle => Err(Refusal::OtherHandle),
            _ => Ok(()),
        },
        _ => Err(Refusal::StaleFence { given: claim.fence }),
    }
}

fn finished(run: &Run, claim: &ClaimTag) -> bool {
    run.step(&claim.step_id)
        .is_ok_and(|step| match &step.state {
            StepState::Succeeded { fence, .. } | StepState::Failed { fence, .. } => {
                *fence == claim.fence
            }
            _ => false,
        })
}
