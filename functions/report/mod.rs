//! `report`: pull workers tell that a sandbox has started and how it ended, each with the fence of
//! their claim.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{ReportStep, StartStep, StepAnswer};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::queues::Queues;
use sealfleet_domain::audit::Event;
use sealfleet_domain::run::{Failure, Fence, Handle, Outcome, Pace, Refusal};
use sealfleet_domain::{RunId, StepId, limits};
use sealfleet_ledger::{Error, Ledger, Ready, Start, Transitioned};

use crate::shared::auth::{WorkerCaller, approved_worker};
use crate::shared::{effects, problems};

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// The queues, for steps that become ready.
    pub queues: Box<dyn Queues>,
    /// When a message is sent again.
    pub pace: Pace,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["v1", "starts"]) => start(ports, request).await,
        ("POST", ["v1", "reports"]) => report(ports, request).await,
        _ => Err(Problem::not_found()),
    }
}

async fn start(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = approved_worker(&ports.ledger, request).await?;
    let told: StartStep = request.json()?;
    if told.sandbox.len() > limits::NAME_BYTES {
        return Err(Problem::invalid(
            "sandbox",
            format!("{} bytes at most", limits::NAME_BYTES),
        ));
    }
    let long = |text: &String| text.len() > limits::NAME_BYTES * 2;
    if told.resolved.len() > limits::SECRETS || told.resolved.values().any(long) {
        return Err(Problem::invalid(
            "resolved",
            format!(
                "{} versions of {} bytes at most",
                limits::SECRETS,
                limits::NAME_BYTES * 2
            ),
        ));
    }
    let ready = Ready {
        scope: &caller.scope,
        run_id: told.run_id,
        step_id: &told.step_id,
        holder: Some(caller.worker.worker_id),
        fence: told.fence,
        handle: Handle::new(told.sandbox),
        resolved: &told.resolved,
        pace: ports.pace,
    };
    let done = match ports.ledger.start(&ready, &caller.actor).await {
        Ok(Start::Running(done)) => Ok(done),
        Ok(Start::Revoked(_, revoked)) => {
            return Err(Problem::new(Code::SecretRevoked, revoked.to_string()));
        }
        Err(error) => Err(error),
    };
    answer(ports, &caller, told.run_id, &told.step_id, told.fence, done).await
}

async fn report(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = approved_worker(&ports.ledger, request).await?;
    let told: ReportStep = request.json()?;
    let outcome = outcome(&told)?;
    let holder = Some(caller.worker.worker_id);
    let done = ports
        .ledger
        .transition(&caller.scope, told.run_id, &caller.actor, |run, now| {
            run.finish(&told.step_id, holder, told.fence, &outcome, ports.pace, now)
        })
        .await;
    answer(ports, &caller, told.run_id, &told.step_id, told.fence, done).await
}

fn outcome(told: &ReportStep) -> Result<Outcome, Problem> {
    match (told.state.as_str(), told.failure.clone()) {
        ("succeeded", None) => Ok(Outcome::Succeeded),
        ("succeeded", Some(_)) => Err(Problem::invalid(
            "failure",
            "leave `failure` out of a report that it succeeded",
        )),
        ("failed", Some(failure)) => {
            check_failure(&failure)?;
            Ok(Outcome::Failed { failure })
        }
        ("failed", None) => Err(Problem::invalid(
            "failure",
            "say how it failed, for example `{\"kind\":\"exit\",\"code\":1}`",
        )),
        _ => Err(Problem::invalid(
            "state",
            "a report is of an end: `succeeded` or `failed`",
        )),
    }
}

/// A worker tells how its sandbox failed; what only the control plane decides, it cannot claim.
fn check_failure(failure: &Failure) -> Result<(), Problem> {
    let (most, field) = (limits::DETAIL_BYTES, "failure.detail");
    match failure {
        Failure::CannotStart { detail } | Failure::SecretUnavailable { detail }
            if detail.len() > most =>
        {
            Err(Problem::invalid(
                field,
                format!("{most} bytes at most, names only"),
            ))
        }
        Failure::SecretRevoked { .. }
        | Failure::ProfileRefused { .. }
        | Failure::Drifted { .. } => Err(Problem::invalid(
            "failure.kind",
            "only the control plane refuses a start; say how the sandbox failed",
        )),
        Failure::CannotStart { .. }
        | Failure::SecretUnavailable { .. }
        | Failure::Exit { .. }
        | Failure::Signal { .. }
        | Failure::TimedOut { .. }
        | Failure::OutOfMemory => Ok(()),
    }
}

async fn answer(
    ports: &Ports,
    caller: &WorkerCaller,
    run_id: RunId,
    step_id: &StepId,
    fence: Fence,
    done: Result<Transitioned, Error>,
) -> Result<Answer, Problem> {
    match done {
        Ok(done) => {
            effects::tell(
                ports.queues.as_ref(),
                &caller.scope,
                run_id,
                &done.change.ready,
            )
            .await;
            let step = done
                .run
                .step(step_id)
                .map_err(|refusal| problems::of_refusal(&refusal))?;
            Answer::json(
                200,
                &StepAnswer {
                    state: step.state.name().to_owned(),
                },
            )
        }
        Err(Error::Refused(refusal)) => {
            let problem = problems::of_refusal(&refusal);
            if matches!(refusal, Refusal::NoSuchStep(_)) {
                return Err(problem);
            }
            note(ports, caller, run_id, step_id, fence, problem.code).await?;
            Err(problem)
        }
        Err(error) => Err(problems::of_ledger(error)),
    }
}

/// Somebody who acts on a lease that is not theirs any more is worth knowing of.
async fn note(
    ports: &Ports,
    caller: &WorkerCaller,
    run_id: RunId,
    step_id: &StepId,
    fence: Fence,
    code: Code,
) -> Result<(), Problem> {
    let event = Event::ReportRefused {
        step_id: step_id.clone(),
        fence,
        code: code.text().into(),
    };
    ports
        .ledger
        .record(&caller.scope, &caller.actor, Some(run_id), vec![event])
        .await
        .map_err(problems::of_ledger)
}
