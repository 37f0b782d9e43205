//! `fleet`: projects, API tokens, enrolment keys and workers; registered workflows and approvals.

mod approvals;
mod deletion;
mod projects;
mod tokens;
mod workers;
mod workflows;

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
        SET_EGRESS_CEILING => |caller, _| projects::set_egress_ceiling(ports, caller, request);
        CREATE_TOKEN => |caller, ()| tokens::create(ports, caller, request);
        LIST_TOKENS => |caller, ()| tokens::list(ports, caller, request);
        REVOKE_TOKEN => |caller, (token_id,)| tokens::revoke(ports, caller, token_id);
        GET_WHOAMI => |caller, ()| tokens::whoami(caller);
        CREATE_ENROLMENT_KEY => |caller, ()| workers::create_key(ports, caller, request);
        LIST_ENROLMENT_KEYS => |caller, ()| workers::list_keys(ports, caller, request);
        REVOKE_ENROLMENT_KEY => |caller, (key_id,)| workers::revoke_key(ports, caller, key_id);
        REGISTER_WORKER => |caller, ()| workers::register(ports, caller, request);
        LIST_WORKERS => |caller, ()| workers::list(ports, caller, request);
        GET_WORKER => |caller, (worker_id,)| workers::show(ports, caller, worker_id);
        APPROVE_WORKER => |caller, (worker_id,)| workers::approve(ports, caller, worker_id);
        REJECT_WORKER => |caller, (worker_id,)| workers::reject(ports, caller, worker_id);
        REGISTER_WORKFLOW => |caller, ()| workflows::register(ports, caller, request);
        LIST_WORKFLOWS => |caller, ()| workflows::list(ports, caller, request);
        GET_WORKFLOW => |caller, (name,)| workflows::show(ports, caller, name);
        LIST_WORKFLOW_VERSIONS => |caller, (name,)| workflows::versions(ports, caller, request, name);
        RETIRE_WORKFLOW => |caller, (name,)| workflows::retire(ports, caller, name);
        LIST_APPROVALS => |caller, ()| approvals::list(ports, caller, request);
        GET_APPROVAL => |caller, (id,)| approvals::show(ports, caller, id);
        DECIDE_APPROVAL => |caller, (id,)| approvals::decide(ports, caller, request, id);
        GET_GOVERNANCE => |caller, ()| approvals::governance(ports, caller);
        PUT_GOVERNANCE => |caller, ()| approvals::govern(ports, caller, request);
        REVOKE_WORKER => |caller, (worker_id,)| workers::revoke(ports, caller, worker_id);
        DRAIN_WORKER => |caller, (worker_id,)| workers::drain(ports, caller, worker_id);
        RESUME_WORKER => |caller, (worker_id,)| workers::resume(ports, caller, worker_id);
    }
}
