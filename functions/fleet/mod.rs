//! `fleet`: projects, API tokens, enrolment keys and workers.

mod deletion;
mod projects;
mod tokens;
mod workers;

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_aws::queues::Queues;
use sealfleet_domain::run::Pace;
use sealfleet_ledger::Ledger;

use crate::shared::auth::Door;
use crate::shared::route::route;

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
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
    route! { request, &ports.door;
        CREATE_PROJECT => |caller, ()| projects::create(ports, caller, request);
        LIST_PROJECTS => |caller, ()| projects::list(ports, caller, request);
        GET_ACTIVITY => |caller, ()| projects::activity(ports, caller);
        GET_PROJECT => |caller, _| projects::show(ports, caller);
        UPDATE_PROJECT => |caller, _| projects::update(ports, caller, request);
        DELETE_PROJECT => |caller, _| deletion::delete(ports, caller, request);
        SET_LIMITS => |caller, _| projects::set_limits(ports, caller, request);
        CREATE_TOKEN => |caller, ()| tokens::create(ports, caller, request);
        LIST_TOKENS => |caller, ()| tokens::list(ports, caller, request);
        REVOKE_TOKEN => |caller, (token_id,)| tokens::revoke(ports, caller, token_id);
        CREATE_ENROLMENT_KEY => |caller, ()| workers::create_key(ports, caller, request);
        LIST_ENROLMENT_KEYS => |caller, ()| workers::list_keys(ports, caller, request);
        REVOKE_ENROLMENT_KEY => |caller, (key_id,)| workers::revoke_key(ports, caller, key_id);
        REGISTER_WORKER => |caller, ()| workers::register(ports, caller, request);
        LIST_WORKERS => |caller, ()| workers::list(ports, caller, request);
        GET_WORKER => |caller, (worker_id,)| workers::show(ports, caller, worker_id);
        APPROVE_WORKER => |caller, (worker_id,)| workers::approve(ports, caller, worker_id);
        REJECT_WORKER => |caller, (worker_id,)| workers::reject(ports, caller, worker_id);
        REVOKE_WORKER => |caller, (worker_id,)| workers::revoke(ports, caller, worker_id);
    }
}
