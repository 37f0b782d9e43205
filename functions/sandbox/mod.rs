//! `sandbox`: tells a Fargate sandbox what it was started for.
//!
//! The caller is known by its ECS task role: API Gateway verifies the signature, the role names the
//! project, and the role's session is named by the task. It is answered only with the step whose
//! stored handle is that very task. So a sandbox cannot ask for another's step, and nothing secret
//! has to be put into it for authentication.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{LeaseRef, SandboxStep};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::access::{Action, Principal, Resource};
use sealfleet_fargate::names::{sandbox_session, task_id as task_id_of};
use sealfleet_ledger::Ledger;

use crate::shared::auth::authorise;
use crate::shared::problems;

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["v1", "sandbox", "step"]) => step(ports, request).await,
        _ => Err(Problem::not_found()),
    }
}

async fn step(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let arn = request
        .caller_arn
        .as_deref()
        .ok_or_else(Problem::unauthenticated)?;
    let (scope, task_id) = sandbox_session(arn).map_err(|_| Problem::unauthenticated())?;
    let principal = Principal::Sandbox {
        scope: scope.clone(),
        task_id: task_id.clone(),
    };
    authorise(
        &principal,
        Action::AskForStep,
        Resource::Project(scope.project()),
    )?;
    let asked: LeaseRef = request.json()?;
    let run = ports
        .ledger
        .run(&scope, asked.run_id)
        .await
        .map_err(problems::of_ledger)?;
    let hold = run
        .held(&asked.step_id, None, asked.fence)
        .map_err(|refusal| problems::of_refusal(&refusal))?;
    match &hold.handle {
        // The dispatcher has launched the task and not stored its handle yet.
        None => {
            return Err(Problem::new(
                Code::NotReady,
                "the launch is not recorded yet; ask again in a moment",
            ));
        }
        Some(handle) if task_id_of(handle) == task_id => {}
        Some(_) => return Err(Problem::not_found()),
    }
    let step = run
        .step(&asked.step_id)
        .map_err(|refusal| problems::of_refusal(&refusal))?;
    Answer::json(
        200,
        &SandboxStep {
            command: step.spec.command.clone(),
            env: run.env_of(step),
            secret_names: run
                .identity_of(step)
                .map(|identity| {
                    identity
                        .secrets
                        .into_iter()
                        .map(|secret| secret.name)
                        .collect()
                })
                .unwrap_or_default(),
            timeout_seconds: step.spec.timeout_seconds,
        },
    )
}
