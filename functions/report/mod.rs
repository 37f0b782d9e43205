//! `report`: pull workers report that a sandbox has started and how it ended, each time with the
//! fence of their claim.

use std::collections::BTreeMap;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{OutputsKept, ReportStep, StartStep, StepAnswer, WaitingStep};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::queues::Queues;
use sealfleet_domain::artifact::{Found, MOST_FOUND};
use sealfleet_domain::audit::Event;
use sealfleet_domain::names::is_env_key;
use sealfleet_domain::redaction::{self, Redaction};
use sealfleet_domain::run::{CameOut, Failure, Fence, Handle, Outcome, Pace, Refusal, Run};
use sealfleet_domain::{ProjectScope, RunId, StepId, limits, text};
use sealfleet_ledger::{
    BeforeStart, Error, Ledger, Start, StartedSandbox, StoredRun, Transitioned,
};

use crate::shared::auth::{WorkerCaller, WorkerDoor};
use crate::shared::effects;
use crate::shared::fault::{Answered, Fault};
use crate::shared::route::route;

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    pub door: WorkerDoor,
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
    route! { request, &ports.door;
        START_STEP reading async |scope: &ProjectScope| started(ports, scope, request).await
            => |admitted, ()| start(ports, admitted);
        REPORT_STEP reading async |scope: &ProjectScope| ended(ports, scope, request).await
            => |admitted, ()| report(ports, admitted);
    }
}

/// What is told of a start, and what decides about it.
type Started = (StartStep, Result<BeforeStart, Error>);
/// What is told of an end, and the run that it is of.
type Ended = (ReportStep, Result<StoredRun, Error>);

async fn started(
    ports: &Ports,
    scope: &ProjectScope,
    request: &Request,
) -> Result<Started, Problem> {
    let started: StartStep = request.json()?;
    let sees_secrets = !started.resolved.is_empty();
    let before = ports
        .ledger
        .before_start(scope, started.run_id, sees_secrets)
        .await;
    Ok((started, before))
}

async fn ended(ports: &Ports, scope: &ProjectScope, request: &Request) -> Result<Ended, Problem> {
    let ended: ReportStep = request.json()?;
    let run = ports.ledger.glimpsed_run(scope, ended.run_id).await;
    Ok((ended, run))
}

async fn start(
    ports: &Ports,
    (caller, started): (WorkerCaller, Result<Started, Problem>),
) -> Answered {
    let (started, before) = started?;
    if started.sandbox.len() > limits::NAME_BYTES {
        let detail = format!("{} bytes at most", limits::NAME_BYTES);
        return Err(Problem::invalid("sandbox", detail).into());
    }
    if let Some(output) = &started.output
        && output.len() > limits::DETAIL_BYTES
    {
        let detail = format!("{} bytes at most", limits::DETAIL_BYTES);
        return Err(Problem::invalid("output", detail).into());
    }
    check_resolved(&started.resolved)?;
    let sandbox = StartedSandbox {
        scope: &caller.scope,
        run_id: started.run_id,
        step_id: &started.step_id,
        holder: Some(caller.worker.worker_id),
        fence: started.fence,
        handle: Handle::new(String::from(started.sandbox)),
        resolved: &started.resolved,
        output: started.output.map(String::from),
        uploads: started.outputs == OutputsKept::Project,
        pace: ports.pace,
    };
    let done = match before {
        Ok(before) => {
            ports
                .ledger
                .start_after(before, &sandbox, &caller.actor)
                .await
        }
        Err(error) => Err(error),
    };
    let done = match done {
        Ok(Start::Running(done)) => Ok(done),
        Ok(Start::Revoked(_, revoked)) => {
            return Err(Problem::new(Code::SecretRevoked, revoked.to_string()).into());
        }
        Err(error) => Err(error),
    };
    let lease = (started.run_id, &started.step_id, started.fence);
    answer(ports, &caller, lease, done).await
}

fn check_resolved(resolved: &BTreeMap<String, String>) -> Result<(), Problem> {
    let most = limits::VERSION_BYTES;
    let fine = |version: &String| version.len() <= most && !version.contains(text::acts);
    let named = |name: &String| !name.contains(text::acts);
    if resolved.len() > limits::CASCADE_SECRETS
        || !resolved.values().all(fine)
        || !resolved.keys().all(named)
    {
        let detail = format!(
            "{} versions of {most} printable bytes at most",
            limits::CASCADE_SECRETS
        );
        return Err(Problem::invalid("resolved", detail));
    }
    Ok(())
}

async fn report(
    ports: &Ports,
    (caller, ended): (WorkerCaller, Result<Ended, Problem>),
) -> Answered {
    let (ended, run) = ended?;
    let outcome = outcome(&ended)?;
    if let Some(agent) = &ended.agent {
        agent
            .check()
            .map_err(|(field, text)| Problem::invalid(format!("agent.{field}"), text))?;
    }
    let named = |row: &Redaction| is_env_key(&row.key);
    if ended.redactions.len() > redaction::MOST || !ended.redactions.iter().all(named) {
        let most = redaction::MOST;
        let detail = format!("{most} rows at most, each with the name of an environment variable");
        return Err(Problem::invalid("redactions", detail).into());
    }
    if ended
        .result_bytes
        .is_some_and(|bytes| bytes > limits::RESULT_BYTES as u64)
    {
        let detail = format!("a result has {} bytes at most", limits::RESULT_BYTES);
        return Err(Problem::invalid("result_bytes", detail).into());
    }
    check_artifacts(&ended)?;
    let holder = Some(caller.worker.worker_id);
    let (run_id, step_id, fence) = (ended.run_id, &ended.step_id, ended.fence);
    let out = CameOut {
        cut_bytes: ended.output_cut_bytes,
        missing_bytes: ended.output_missing_bytes,
        result_bytes: ended.result_bytes,
        artifacts: ended.artifacts,
    };
    let rule = |run: &mut Run, now| {
        let mut change = run.finish(step_id, holder, fence, &outcome, ports.pace, now)?;
        if !change.events.is_empty() {
            run.came_out(step_id, out)?;
            if let Some(agent) = &ended.agent
                && run.step(step_id)?.spec.agent.is_some()
            {
                run.agent_said(step_id, agent.clone())?;
            }
            let redacted = run.redacted(step_id, fence, ended.redactions.clone())?;
            let told = ended.artifact_secrets.clone();
            let found = run.found_in_artifacts(step_id, fence, told)?;
            change.events.splice(..0, redacted.into_iter().chain(found));
        }
        Ok(change)
    };
    let (ledger, scope, actor) = (&ports.ledger, &caller.scope, &caller.actor);
    let done = match run {
        Ok(run) => ledger.transition_of(scope, run, actor, rule).await,
        Err(error) => Err(error),
    };
    answer(ports, &caller, (run_id, step_id, fence), done).await
}

fn check_artifacts(ended: &ReportStep) -> Result<(), Problem> {
    if ended.artifacts.is_some_and(|total| !total.fits()) {
        let (files, bytes) = (limits::ARTIFACT_FILES, limits::ARTIFACT_BYTES);
        let detail = format!("a step leaves {files} files of {bytes} bytes together at most");
        return Err(Problem::invalid("artifacts", detail));
    }
    let secrets = &ended.artifact_secrets;
    if secrets.len() > MOST_FOUND || !secrets.iter().all(Found::is_named) {
        let detail =
            format!("{MOST_FOUND} files at most, each with names of environment variables");
        return Err(Problem::invalid("artifact_secrets", detail));
    }
    Ok(())
}

fn outcome(ended: &ReportStep) -> Result<Outcome, Problem> {
    match (ended.state.as_str(), ended.failure.clone()) {
        ("succeeded", None) => Ok(Outcome::Succeeded),
        ("succeeded", Some(_)) => Err(Problem::invalid(
            "failure",
            "leave `failure` out when the step succeeded",
        )),
        ("failed", Some(failure)) => {
            check_failure(&failure)?;
            Ok(Outcome::Failed { failure })
        }
        ("failed", None) => Err(Problem::invalid(
            "failure",
            "say how the step failed, for example `{\"kind\":\"exit\",\"code\":1}`",
        )),
        _ => Err(Problem::invalid(
            "state",
            "use `succeeded` or `failed`: only the end of a step is reported",
        )),
    }
}

/// A worker reports how its sandbox failed. It cannot report what only the control plane decides.
fn check_failure(failure: &Failure) -> Result<(), Problem> {
    let (most, field) = (limits::DETAIL_BYTES, "failure.detail");
    match failure {
        Failure::CannotStart { detail, .. }
        | Failure::CannotExecute { detail, .. }
        | Failure::SecretUnavailable { detail, .. }
        | Failure::BadResult { detail }
        | Failure::BadArtifacts { detail }
            if detail.len() > most || detail.contains(text::acts) =>
        {
            Err(Problem::invalid(
                field,
                format!("one line of {most} printable bytes at most, names only"),
            ))
        }
        Failure::SecretRevoked { .. }
        | Failure::ProfileRefused { .. }
        | Failure::Drifted { .. } => Err(Problem::invalid(
            "failure.kind",
            "only the control plane refuses a start; say how the sandbox failed",
        )),
        Failure::CannotStart { .. }
        | Failure::CannotExecute { .. }
        | Failure::SecretUnavailable { .. }
        | Failure::BadResult { .. }
        | Failure::BadArtifacts { .. }
        | Failure::Exit { .. }
        | Failure::Signal { .. }
        | Failure::TimedOut { .. }
        | Failure::OutOfMemory
        | Failure::AgentRateLimited
        | Failure::AgentAuth
        | Failure::AgentContext
        | Failure::AgentNetwork
        | Failure::OverBudget { .. }
        | Failure::OverTurns { .. } => Ok(()),
    }
}

async fn answer(
    ports: &Ports,
    caller: &WorkerCaller,
    lease: (RunId, &StepId, Fence),
    done: Result<Transitioned, Error>,
) -> Answered {
    let (run_id, step_id, _) = lease;
    match done {
        Ok(done) => {
            let ready = &done.change.ready;
            effects::tell(ports.queues.as_ref(), &caller.scope, run_id, ready).await;
            let state = done.run.step(step_id)?.state.name().to_owned();
            let waiting = done.waiting.into_iter();
            let waiting = waiting.map(|(run_id, step_id)| WaitingStep { run_id, step_id });
            let waiting = waiting.collect();
            Answer::json(200, &StepAnswer { state, waiting })
        }
        Err(Error::Refused(refusal)) => {
            let known = !matches!(refusal, Refusal::NoSuchStep(_));
            let fault = Fault::from(refusal);
            if known {
                record_refusal(ports, caller, lease, fault.code()).await?;
            }
            Err(fault)
        }
        Err(error) => Err(error.into()),
    }
}

/// Records that a worker acted on a lease that it no longer holds.
async fn record_refusal(
    ports: &Ports,
    caller: &WorkerCaller,
    (run_id, step_id, fence): (RunId, &StepId, Fence),
    code: Code,
) -> Result<(), Error> {
    let event = |count| Event::ReportRefused {
        step_id: step_id.clone(),
        fence,
        code: code.text().into(),
        count,
    };
    let (scope, worker_id) = (&caller.scope, caller.worker.worker_id);
    ports
        .ledger
        .refused(scope, worker_id, &caller.actor, run_id, event)
        .await
}
