//! `cancel`: ends a run.
//!
//! One write aborts every step that has not ended; then hosts stop the sandboxes by their
//! stored handles. A sandbox that could not be stopped keeps the run due, and `sweep` tries again.
//! A worker kills its sandbox when its next heartbeat finds the lease gone. A launch that has no
//! handle yet finds its claim gone when it wants to store one, and stops what it started.
//!
//! A run is cancelled even while the audit table does not answer: its entry is in its own row.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::RunId;
use sealfleet_domain::run::{Refusal, RunState};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Error, Ledger};

use crate::shared::auth::{Door, ProjectCaller};
use crate::shared::fault::Answered;
use crate::shared::route::route;
use crate::shared::{effects, views};

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    pub door: Door,
    /// Where sandboxes run.
    pub hosts: Hosts,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    route! { request, &ports.door;
        CANCEL_RUN => |caller, (run_id,)| cancel(ports, caller, run_id);
    }
}

async fn cancel(ports: &Ports, caller: ProjectCaller, run_id: RunId) -> Answered {
    let (ledger, scope, actor) = (&ports.ledger, &caller.scope, &caller.actor);
    let cancelled = ledger.transition(scope, run_id, actor, |run, now| run.cancel(now));
    let run = match cancelled.await {
        Ok(done) => {
            effects::stop(&ports.hosts, ledger, scope, &done, actor).await;
            done.run
        }
        // Repeated after a lost answer.
        Err(Error::Refused(Refusal::AlreadyEnded(_))) => {
            let run = ledger.run(scope, run_id).await?;
            if run.state() != RunState::Aborted {
                let state = run.state().name();
                let detail =
                    format!("the run has already ended as `{state}`; there is nothing to cancel");
                return Err(Problem::new(Code::Conflict, detail).into());
            }
            run
        }
        Err(error) => return Err(error.into()),
    };
    Answer::json(200, &views::run(run, ledger.now()))
}
