//! `fleet`: projects, API tokens, enrolment keys and workers.

mod projects;
mod tokens;
mod workers;

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_aws::queues::Queues;
use sealfleet_domain::run::Pace;
use sealfleet_ledger::Ledger;

use crate::shared::auth::Door;

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// Who comes in.
    pub door: Door,
    /// The queues, for steps that a revoked worker leaves behind.
    pub queues: Box<dyn Queues>,
    /// How long leases last.
    pub pace: Pace,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["v1", "projects"]) => projects::create(ports, request).await,
        ("GET", ["v1", "projects"]) => projects::list(ports, request).await,
        ("GET", ["v1", "projects", project]) => projects::show(ports, request, project).await,
        ("PUT", ["v1", "projects", project, "limits"]) => {
            projects::set_limits(ports, request, project).await
        }
        ("POST", ["v1", "tokens"]) => tokens::create(ports, request).await,
        ("GET", ["v1", "tokens"]) => tokens::list(ports, request).await,
        ("DELETE", ["v1", "tokens", id]) => tokens::revoke(ports, request, id).await,
        ("POST", ["v1", "enrolment-keys"]) => workers::create_key(ports, request).await,
        ("GET", ["v1", "enrolment-keys"]) => workers::list_keys(ports, request).await,
        ("DELETE", ["v1", "enrolment-keys", id]) => workers::revoke_key(ports, request, id).await,
        ("POST", ["v1", "workers", "register"]) => workers::register(ports, request).await,
        ("GET", ["v1", "workers"]) => workers::list(ports, request).await,
        ("GET", ["v1", "workers", id]) => workers::show(ports, request, id).await,
        ("POST", ["v1", "workers", id, "approve"]) => workers::approve(ports, request, id).await,
        ("POST", ["v1", "workers", id, "reject"]) => workers::reject(ports, request, id).await,
        ("POST", ["v1", "workers", id, "revoke"]) => workers::revoke(ports, request, id).await,
        _ => Err(Problem::not_found()),
    }
}
