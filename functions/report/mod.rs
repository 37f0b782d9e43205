//! `report`: pull workers report that a sandbox has started and how it ended, each time with the
//! fence of their claim.

use std::collections::BTreeMap;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{OutputsKept, ReportStep, StartStep, StepAnswer, WaitingStep};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::queues::Queues;
use sealfleet_domain::audit::Event;
use sealfleet_domain::run::{Fence, Handle, Pace, Refusal, Run, SecretsRead};
use sealfleet_domain::{ProjectScope, RunId, StepId, limits, text};
use sealfleet_ledger::{
    BeforeStart, Error, Ledger, Start, StartedSandbox, StoredRun, Transitioned,
};

use crate::shared::auth::{WorkerCaller, WorkerDoor};
use crate::shared::effects;
use crate::shared::fault::{Answered, Fault};
use crate::shared::route::route;
use crate::shared::told;

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
    check_read("resolved", &started.resolved, limits::VERSION_BYTES)?;
    check_read(
        "store_request_ids",
        &started.store_request_ids,
        limits::STORE_REQUEST_ID_BYTES,
    )?;
    let read = SecretsRead {
        versions: started.resolved,
        store_request_ids: started.store_request_ids,
    };
    let sandbox = StartedSandbox {
        scope: &caller.scope,
        run_id: started.run_id,
        step_id: &started.step_id,
        holder: Some(caller.worker.worker_id),
        fence: started.fence,
        handle: Handle::new(String::from(started.sandbox)),
        read: &read,
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

fn check_read(field: &str, read: &BTreeMap<String, String>, most: usize) -> Result<(), Problem> {
    let fine = |value: &String| value.len() <= most && !value.contains(text::acts);
    let named = |name: &String| !name.contains(text::acts);
    if read.len() > limits::CASCADE_SECRETS || !read.values().all(fine) || !read.keys().all(named) {
        let detail = format!(
            "{} texts of {most} printable bytes at most",
            limits::CASCADE_SECRETS
        );
        return Err(Problem::invalid(field, detail));
    }
    Ok(())
}

async fn report(
    ports: &Ports,
    (caller, ended): (WorkerCaller, Result<Ended, Problem>),
) -> Answered {
    let (ended, run) = ended?;
    let holder = Some(caller.worker.worker_id);
    let (run_id, step_id, fence) = (ended.run_id, &ended.step_id.clone(), ended.fence);
    let told = match ended.state.as_str() {
        "lost" => {
            told::of_nothing(&ended)?;
            None
        }
        _ => Some(told::checked(ended)?),
    };
    let rule = |run: &mut Run, now| match &told {
        Some(told) => run.finish_as_told(step_id, holder, fence, told, ports.pace, now),
        None => run.lose_sandbox(step_id, holder, fence, ports.pace, now),
    };
    let (ledger, scope, actor) = (&ports.ledger, &caller.scope, &caller.actor);
    let done = match run {
        Ok(run) => ledger.transition_of(scope, run, actor, rule).await,
        Err(error) => Err(error),
    };
    answer(ports, &caller, (run_id, step_id, fence), done).await
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
