//! `sandbox`: tells a Fargate sandbox which step it runs.
//!
//! The caller is known by its ECS task role: API Gateway verifies the signature, and the session of
//! the role is named by the task. The caller says which claim it was launched for, its project
//! included; that is no evidence, and addresses one row. It gets that claim's step only if the
//! stored handle is that very task. So a sandbox cannot ask for another's step, of its own project
//! or of another, and it needs no secret to authenticate with.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::SandboxStep;
use sealfleet_api::{Code, Problem};
use sealfleet_domain::NamePrefix;
use sealfleet_fargate::names::task_id;
use sealfleet_ledger::Ledger;

use crate::shared::auth::SandboxCaller;
use crate::shared::fault::Answered;
use crate::shared::route::route;

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    /// What the name of the sandboxes' role begins with.
    pub prefix: NamePrefix,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    route! { request, &ports.prefix;
        GET_SANDBOX_STEP => |caller, ()| step(ports, caller);
    }
}

async fn step(ports: &Ports, caller: SandboxCaller) -> Answered {
    let lease = caller.lease;
    let run = ports.ledger.run(&caller.scope, lease.run_id).await?;
    let hold = run.held(&lease.step_id, None, lease.fence)?;
    match &hold.handle {
        // The dispatcher has launched the task and not stored its handle yet.
        None => {
            let detail = "the launch is not recorded yet; ask again in a moment";
            return Err(Problem::new(Code::NotReady, detail).into());
        }
        Some(handle) if task_id(handle) == caller.task_id => {}
        Some(_) => return Err(Problem::not_found().into()),
    }
    let step = run.step(&lease.step_id)?;
    let identity = run.identity_of(step).unwrap_or_default();
    let unredacted = identity.secrets.iter().filter(|secret| !secret.redact);
    let unredacted = unredacted.map(|secret| secret.name.clone()).collect();
    Answer::json(
        200,
        &SandboxStep {
            command: step.spec.command.clone(),
            env: run.env_of(step),
            secret_names: identity
                .secrets
                .into_iter()
                .map(|secret| secret.name)
                .collect(),
            inputs: step.spec.inputs.clone(),
            unredacted,
            timeout_seconds: step.spec.timeout_seconds,
        },
    )
}
