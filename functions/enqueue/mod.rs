//! `enqueue`: takes runs in, and puts dead steps back.
//!
//! Authorise, validate, resolve the cascade by name and version, check revocations, one
//! transaction, then tell the pools. A queue message that is not sent is repaired by `sweep`; a run
//! is stored wholly or not at all.

mod resolve;
mod validate;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::EnqueueRun;
use sealfleet_api::{Code, Problem};
use sealfleet_aws::queues::Queues;
use sealfleet_domain::access::Action;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::run::{Mode, Pace, Run};
use sealfleet_domain::{RunId, StepId, limits};
use sealfleet_ledger::{Enqueued, Idempotency, Ledger};
use sealfleet_versions::Versions;

use self::resolve::NewRun;
use crate::shared::auth::{Caller, Door, caller, path_id};
use crate::shared::{effects, problems, views};

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// Who comes in.
    pub door: Door,
    /// The queues.
    pub queues: Box<dyn Queues>,
    /// The versions of secrets; never their values.
    pub secrets: Versions,
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
        ("POST", ["v1", "runs"]) => enqueue(ports, request).await,
        ("POST", ["v1", "runs", run_id, "steps", step_id, "retry"]) => {
            retry(ports, request, run_id, step_id).await
        }
        _ => Err(Problem::not_found()),
    }
}

async fn enqueue(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::Enqueue).await?;
    let wanted: EnqueueRun = request.json()?;
    let idempotency = idempotency(request)?;
    if let Some(idempotency) = &idempotency
        && let Some(before) = ports
            .ledger
            .enqueued_before(&caller.scope, idempotency)
            .await
            .map_err(problems::of_ledger)?
    {
        return Answer::json(200, &views::run(before, ports.ledger.now()));
    }
    let project = ports
        .ledger
        .project(&caller.scope)
        .await
        .map_err(problems::of_ledger)?;
    let levels = project
        .cascade
        .levels(&wanted.workflow, wanted.profile.as_ref());
    let (workflow, overrides) = (wanted.workflow.clone(), wanted.overrides.clone());
    let named = wanted.profile.is_some() || !overrides.is_empty();
    let steps = validate::steps(wanted, &project, !levels.is_empty())?;
    let identity = if named || steps.values().any(|step| step.mode == Mode::Identity) {
        let new_run = NewRun {
            caller: &caller,
            project: &project,
            workflow: &workflow,
            levels,
            overrides,
            steps: &steps,
        };
        Some(resolve::identity(ports, new_run).await?)
    } else {
        None
    };
    let now = ports.ledger.now();
    let run_id = RunId::new(ports.ledger.ids(), now);
    let (run, change) = Run::enqueue(run_id, workflow, identity, steps, ports.pace, now);
    let stored = ports
        .ledger
        .enqueue(
            &caller.scope,
            &run,
            &change,
            idempotency.as_ref(),
            &caller.actor,
        )
        .await
        .map_err(problems::of_ledger)?;
    match stored {
        Enqueued::New => {
            effects::tell(ports.queues.as_ref(), &caller.scope, run_id, &change.ready).await;
            Answer::json(201, &views::run(run, now))
        }
        Enqueued::Before(before) => Answer::json(200, &views::run(*before, now)),
    }
}

fn idempotency(request: &Request) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = request.header("idempotency-key") else {
        return Ok(None);
    };
    let fine = !key.is_empty()
        && key.len() <= limits::IDEMPOTENCY_KEY_BYTES
        && key
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !fine {
        return Err(Problem::invalid(
            "Idempotency-Key",
            format!(
                "the key has 1 to {} printable ASCII characters",
                limits::IDEMPOTENCY_KEY_BYTES
            ),
        ));
    }
    // The request as it was meant, so that another order of its fields is the same request.
    let body: serde_json::Value = request.json()?;
    Ok(Some(Idempotency {
        key: key.to_owned(),
        request: sha256_hex(body.to_string().as_bytes()),
    }))
}

/// A step is not put back for a key that is revoked: its claim would be refused.
async fn refuse_revoked(
    ports: &Ports,
    caller: &Caller,
    run_id: RunId,
    step_id: &StepId,
) -> Result<(), Problem> {
    let run = ports
        .ledger
        .run(&caller.scope, run_id)
        .await
        .map_err(problems::of_ledger)?;
    let step = run
        .step(step_id)
        .map_err(|refusal| problems::of_refusal(&refusal))?;
    let Some(identity) = run.identity_of(step) else {
        return Ok(());
    };
    let revoked = ports
        .ledger
        .check_revocations(&caller.scope, &identity)
        .await
        .map_err(problems::of_ledger)?;
    let Some(revoked) = revoked else {
        return Ok(());
    };
    let profiles = identity
        .profiles
        .into_iter()
        .map(|used| used.profile)
        .collect();
    let reason = revoked.to_string();
    let denied = ports.ledger.denied_run(
        &caller.scope,
        &caller.actor,
        &run.workflow,
        profiles,
        &reason,
    );
    denied.await.map_err(problems::of_ledger)?;
    Err(Problem::new(Code::SecretRevoked, reason))
}

async fn retry(
    ports: &Ports,
    request: &Request,
    run_id: &str,
    step_id: &str,
) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::Retry).await?;
    let run_id: RunId = path_id(run_id)?;
    let step_id: StepId = path_id(step_id)?;
    refuse_revoked(ports, &caller, run_id, &step_id).await?;
    let done = ports
        .ledger
        .transition(&caller.scope, run_id, &caller.actor, |run, now| {
            run.retry(&step_id, ports.pace, now)
        })
        .await
        .map_err(problems::of_ledger)?;
    effects::tell(
        ports.queues.as_ref(),
        &caller.scope,
        run_id,
        &done.change.ready,
    )
    .await;
    Answer::json(200, &views::run(done.run, ports.ledger.now()))
}
