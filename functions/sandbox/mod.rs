//! `sandbox`: tells a Fargate sandbox which step it runs, is told what that is kept from, and how
//! it ended.
//!
//! The caller is known by its ECS task role: API Gateway verifies the signature, and the session of
//! the role is named by the task. The caller says which claim it was launched for, its project
//! included; that is no evidence, and addresses one row. It acts for that claim only if the stored
//! handle is that very task. So a sandbox cannot ask for another's step, of its own project or of
//! another, and it needs no secret to authenticate with.
//!
//! What is told of an end waits until ECS shows that the task is gone (`shared::task`): the command
//! has the same role, and could say that it has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{
    OutputCredentials, SandboxEnd, SandboxHeartbeat, SandboxHeartbeatAnswer, SandboxLease,
    SandboxStep,
};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::inputs::InputAccess;
use sealfleet_aws::outputs::OutputKeys;
use sealfleet_domain::NamePrefix;
use sealfleet_domain::delivery::{Delivery, Kind};
use sealfleet_domain::identity::{Identity, SecretRef};
use sealfleet_domain::limits;
use sealfleet_domain::output::Outputs;
use sealfleet_domain::run::egress_events;
use sealfleet_domain::scope::ClaimTag;
use sealfleet_ledger::Ledger;

use crate::shared::auth::SandboxCaller;
use crate::shared::fault::Answered;
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
        SEND_SANDBOX_HEARTBEAT => |caller, ()| heartbeat(ports, caller, request);
        END_SANDBOX => |caller, ()| end(ports, caller, request);
    }
}

async fn step(ports: &Ports, caller: SandboxCaller) -> Answered {
    let run = caller.own_run(&ports.ledger).await?;
    let step = run.step(&caller.lease.step_id)?;
    let identity = run.identity_of(step).unwrap_or_default();
    can(&caller.lease, &identity)?;
    let (mut in_files, mut at_egress, mut secret_names) =
        (BTreeSet::new(), BTreeMap::new(), Vec::new());
    let unredacted = identity.secrets.iter().filter(|secret| !secret.redact);
    let unredacted = unredacted.map(|secret| secret.name.clone()).collect();
    for SecretRef { name, delivery, .. } in identity.secrets {
        match delivery {
            Delivery::Env => secret_names.push(name),
            Delivery::File => {
                in_files.insert(name.clone());
                secret_names.push(name);
            }
            Delivery::Egress(bound) => {
                at_egress.insert(name, bound);
            }
        }
    }
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
            secret_names,
            inputs: step.spec.inputs.clone(),
            brings,
            tty: step.spec.tty,
            artifacts: step.spec.artifacts.clone(),
            unredacted,
            in_files,
            at_egress,
            egress: identity.egress,
            audiences: identity.workload.unwrap_or_default().audiences,
            timeout_seconds: step.spec.timeout_seconds,
            outputs: outputs(ports, &caller).await,
        },
    )
}

/// Refuses a step to a `sealfleet-init` that would give its command more than it may have.
fn can(lease: &SandboxLease, identity: &Identity) -> Result<(), Problem> {
    let refused = |what: String| {
        let detail = format!(
            "{what}, which the `sealfleet-init` of this image cannot do; update the image of the pool"
        );
        Problem::new(Code::StepMismatch, detail)
    };
    let needed = identity.delivery();
    if needed > lease.delivery.unwrap_or(Kind::Env) {
        let way = needed.text();
        return Err(refused(format!(
            "the step gets a secret by delivery `{way}`"
        )));
    }
    if identity.egress.is_some() && !lease.egress {
        return Err(refused(
            "the step is to be held to an egress policy".to_owned(),
        ));
    }
    Ok(())
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

/// Takes down which hosts the step was kept from, and tells what is revoked of what its proxy
/// delivers. Only for a step with an egress policy: the command of any other has the same role as
/// its init, and could fill the trail.
async fn heartbeat(ports: &Ports, caller: SandboxCaller, request: &Request) -> Answered {
    let SandboxHeartbeat {
        run_id,
        step_id,
        fence,
        egress_denied,
        ..
    } = request.json()?;
    if egress_denied.rows.len() > limits::EGRESS_ROWS {
        let detail = format!("{} rows at most", limits::EGRESS_ROWS);
        return Err(Problem::invalid("egress_denied", detail).into());
    }
    let run = caller.own_run(&ports.ledger).await?;
    let identity = run.identity_of(run.step(&step_id)?).unwrap_or_default();
    if identity.egress.is_none() {
        let detail = "the step has no egress policy, so there is nothing to tell while it runs";
        return Err(Problem::new(Code::StepMismatch, detail).into());
    }
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let events = egress_events(&step_id, fence, egress_denied);
    let withdrawn = ledger.withdrawn(scope, &[(run_id, step_id, fence)]).await?;
    let revoked = withdrawn.into_iter().flat_map(|(_, keys)| keys).collect();
    // A trail that does not answer keeps no revocation back.
    let denials_recorded = events.is_empty() || {
        let actor = format!("sandbox:{}", caller.task_id);
        let recorded = ledger.record(scope, &actor, Some(run_id), events).await;
        if let Err(error) = &recorded {
            tracing::warn!(%error, "denied hosts are not on record yet");
        }
        recorded.is_ok()
    };
    Answer::json(
        200,
        &SandboxHeartbeatAnswer {
            revoked,
            denials_recorded,
        },
    )
}

async fn end(ports: &Ports, caller: SandboxCaller, request: &Request) -> Answered {
    let ended: SandboxEnd = request.json()?;
    caller.own_run(&ports.ledger).await?;
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
