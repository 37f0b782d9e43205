//! Who the caller is, from the credential that the request carries, and whether it may do what it asks.

use sealfleet_api::http::Request;
use sealfleet_api::{Code, Problem};
use sealfleet_domain::access::{Action, Decision, Principal, Resource, decide};
use sealfleet_domain::credential::{Credential, Home};
use sealfleet_domain::fleet::{Worker, WorkerStatus};
use sealfleet_domain::{Owner, ProjectScope, WorkerId};
use sealfleet_ledger::Ledger;

use super::problems;

/// A caller inside its project.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its project.
    pub scope: ProjectScope,
    /// Its name in the audit trail.
    pub actor: String,
}

/// A caller who acts on profiles and revocations: of its project, or of the system scope.
#[derive(Clone, Debug)]
pub struct OwnerCaller {
    /// Whose they are.
    pub owner: Owner,
    /// Its name in the audit trail.
    pub actor: String,
}

/// An authenticated worker.
#[derive(Clone, Debug)]
pub struct WorkerCaller {
    /// Its project.
    pub scope: ProjectScope,
    /// Its stored row.
    pub worker: Worker,
    /// Its name in the audit trail.
    pub actor: String,
}

/// The holder of the request's API token.
///
/// # Errors
/// A 401 when there is none that holds.
pub async fn token_principal(ledger: &Ledger, request: &Request) -> Result<Principal, Problem> {
    let Ok(Credential::Token(presented)) = credential(request) else { return Err(Problem::unauthenticated()) };
    let stored = ledger.token(&presented.home, presented.id).await.map_err(problems::of_ledger)?;
    presented.verify(stored.as_ref(), ledger.now()).map_err(|_| Problem::unauthenticated())
}

/// The holder of a project's API token that may do `action` in its own project.
///
/// # Errors
/// A 401 without a token that holds, a 403 when its role does not allow the action.
pub async fn caller(ledger: &Ledger, request: &Request, action: Action) -> Result<Caller, Problem> {
    let principal = token_principal(ledger, request).await?;
    let Some(scope) = principal.scope().cloned() else {
        return Err(Problem::new(Code::Forbidden, "an operator acts above projects; use a token of the project"));
    };
    authorise(&principal, action, Resource::Project(scope.project()))?;
    Ok(Caller { scope, actor: principal.actor() })
}

/// The holder of an API token that may do `action` to what its project owns; an operator's, to what the system owns.
///
/// # Errors
/// A 401 without a token that holds, a 403 when its role does not allow the action.
pub async fn owner_caller(ledger: &Ledger, request: &Request, action: Action) -> Result<OwnerCaller, Problem> {
    let principal = token_principal(ledger, request).await?;
    let owner = principal.scope().map_or(Owner::System, |scope| Owner::Project(scope.clone()));
    let resource = match &owner {
        Owner::System => Resource::System,
        Owner::Project(scope) => Resource::Project(scope.project()),
    };
    authorise(&principal, action, resource)?;
    Ok(OwnerCaller { actor: principal.actor(), owner })
}

/// The worker whose credential the request carries, whatever its status.
///
/// # Errors
/// A 401 without one that holds.
pub async fn worker(ledger: &Ledger, request: &Request) -> Result<WorkerCaller, Problem> {
    let Ok(Credential::Worker(presented)) = credential(request) else { return Err(Problem::unauthenticated()) };
    let Home::Project(project) = &presented.home else { return Err(Problem::unauthenticated()) };
    let stored = ledger.worker(project, presented.id).await.map_err(problems::of_ledger)?;
    let scope = presented.verify(stored.as_ref()).map_err(|_| Problem::unauthenticated())?;
    let worker = stored.ok_or_else(Problem::unauthenticated)?;
    let actor = worker_principal(&scope, worker.worker_id).actor();
    Ok(WorkerCaller { scope, worker, actor })
}

/// The approved worker whose credential the request carries.
///
/// # Errors
/// A 401 without one that holds, a 403 with its own code for one that is pending, rejected or revoked.
pub async fn approved_worker(ledger: &Ledger, request: &Request) -> Result<WorkerCaller, Problem> {
    let caller = worker(ledger, request).await?;
    let principal = worker_principal(&caller.scope, caller.worker.worker_id);
    authorise(&principal, Action::Work, Resource::Project(caller.scope.project()))?;
    match caller.worker.status {
        WorkerStatus::Approved => Ok(caller),
        WorkerStatus::Pending => Err(Problem::new(
            Code::WorkerPending,
            "an admin of the project must approve this worker first (`sealfleet worker approve`)",
        )),
        WorkerStatus::Rejected => Err(Problem::new(Code::WorkerRejected, "an admin rejected this worker")),
        WorkerStatus::Revoked => Err(revoked()),
    }
}

/// The answer to a worker that was revoked.
#[must_use]
pub fn revoked() -> Problem {
    Problem::new(Code::WorkerRevoked, "this worker was revoked; kill its sandboxes and register a new one")
}

fn worker_principal(scope: &ProjectScope, worker_id: WorkerId) -> Principal {
    Principal::Worker { scope: scope.clone(), worker_id }
}

/// Turns a decision into an answer.
///
/// # Errors
/// A 404 for what the principal cannot see, a 403 for what it may not do.
pub fn authorise(principal: &Principal, action: Action, resource: Resource<'_>) -> Result<(), Problem> {
    match decide(principal, action, resource) {
        Decision::Allow => Ok(()),
        Decision::Hidden => Err(Problem::not_found()),
        Decision::Forbidden(reason) => Err(Problem::new(Code::Forbidden, reason)),
    }
}

/// The credential that the request carries.
///
/// # Errors
/// A 401 when there is none, or it has no form of ours.
pub fn credential(request: &Request) -> Result<Credential, Problem> {
    request.bearer().and_then(|text| Credential::parse(text).ok()).ok_or_else(Problem::unauthenticated)
}

/// Reads an id from a path. What is no id names nothing.
///
/// # Errors
/// A 404.
pub fn path_id<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

/// The answer to a method and path that an operation does not have.
#[must_use]
pub fn no_route() -> Problem {
    Problem::not_found()
}
