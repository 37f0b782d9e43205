//! `sandbox`: tells a Fargate sandbox which step it runs, and is told how that ended.
//!
//! The caller is known by its ECS task role: API Gateway verifies the signature, and the session of
//! the role is named by the task. The caller says which claim it was launched for, its project
//! included; that is no evidence, and addresses one row. It acts for that claim only if the stored
//! handle is that very task. So a sandbox cannot ask for another's step, of its own project or of
//! another, and it needs no secret to authenticate with.
//!
//! What is told of an end waits until ECS shows that the task is gone (`shared::task`): the command
//! has the same role, and could say that it has ended.

use std::time::Duration;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{OutputCredentials, SandboxEnd, SandboxStep};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::inputs::InputAccess;
use sealfleet_aws::outputs::OutputKeys;
use sealfleet_domain::NamePrefix;
use sealfleet_domain::output::Outputs;
use sealfleet_domain::run::Run;
use sealfleet_domain::scope::ClaimTag;
use sealfleet_fargate::names::task_id;
use sealfleet_ledger::Ledger;

use crate::shared::auth::SandboxCaller;
use crate::shared::fault::{Answered, Fault};
use crate::shared::route::route;
use crate::shared::{inputs, told, views};

/// How long a step waits for the credentials of its outputs.
const KEY_TIME: Duration = Duration::from_secs(2);

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    /// Sessions for what comes out of steps.
    pub outputs: Box<dyn OutputKeys>,
    /// What goes into them.
    pub inputs: Box<dyn InputAccess>,
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
        END_SANDBOX => |caller, ()| end(ports, caller, request);
    }
}

async fn step(ports: &Ports, caller: SandboxCaller) -> Answered {
    let run = own_run(ports, &caller).await?;
    let step = run.step(&caller.lease.step_id)?;
    let identity = run.identity_of(step).unwrap_or_default();
    let unredacted = identity.secrets.iter().filter(|secret| !secret.redact);
    let unredacted = unredacted.map(|secret| secret.name.clone()).collect();
    let lease = &caller.lease;
    let brings = if inputs::are_there(&step.spec) {
        let (of, reader) = ((&run, &lease.step_id), caller.task_id.clone());
        Some(inputs::page(&*ports.inputs, &caller.scope, of, reader, lease.from).await?)
    } else {
        None
    };
    Answer::json(
        200,
        &SandboxStep {
            command: step.spec.command.clone(),
            agent: step.spec.agent.clone(),
            env: run.env_of(step),
            secret_names: identity
                .secrets
                .into_iter()
                .map(|secret| secret.name)
                .collect(),
            inputs: step.spec.inputs.clone(),
            brings,
            tty: step.spec.tty,
            artifacts: step.spec.artifacts.clone(),
            unredacted,
            timeout_seconds: step.spec.timeout_seconds,
            outputs: outputs(ports, &caller).await,
        },
    )
}

/// Credentials for what comes out of the step. A step hardly waits for them: init asks again.
async fn outputs(ports: &Ports, caller: &SandboxCaller) -> Option<OutputCredentials> {
    let lease = &caller.lease;
    let of = Outputs::of(&caller.scope, lease.run_id, &lease.step_id, lease.fence);
    let key = ports.outputs.output_key(&of, &caller.task_id);
    let why = match tokio::time::timeout(KEY_TIME, key).await {
        Ok(Ok(key)) => return Some(views::output_credentials(key)),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "AWS STS does not answer in time".to_owned(),
    };
    tracing::warn!(why, "a sandbox gets no credentials for its outputs");
    None
}

async fn end(ports: &Ports, caller: SandboxCaller, request: &Request) -> Answered {
    let ended: SandboxEnd = request.json()?;
    own_run(ports, &caller).await?;
    let told = told::checked(ended.report)?;
    let claim = ClaimTag {
        scope: caller.scope,
        run_id: caller.lease.run_id,
        step_id: caller.lease.step_id,
        fence: caller.lease.fence,
    };
    ports.ledger.keep_told(&claim, &told).await?;
    Answer::json(204, &())
}

/// The run of the step that is claimed for this very task.
async fn own_run(ports: &Ports, caller: &SandboxCaller) -> Result<Run, Fault> {
    let lease = &caller.lease;
    let run = ports.ledger.run(&caller.scope, lease.run_id).await?;
    let hold = run.held(&lease.step_id, None, lease.fence)?;
    match &hold.handle {
        // The dispatcher has launched the task and not stored its handle yet.
        None => {
            let detail = "the launch is not recorded yet; ask again in a moment";
            Err(Problem::new(Code::NotReady, detail).into())
        }
        Some(handle) if task_id(handle) == caller.task_id => Ok(run),
        Some(_) => Err(Problem::not_found().into()),
    }
}
