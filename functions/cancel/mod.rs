//! `cancel`: ends a run.
//!
//! Every step that has not ended is aborted in one transaction; then what a host runs is stopped
//! by its stored handle. A sandbox that could not be stopped keeps the run due, and `sweep` tries again;
//! a worker kills its sandbox when its next heartbeat finds the lease gone. A launch that has no
//! handle yet finds its claim gone when it wants to store one, and stops what it started.
//!
//! A run is cancelled even while the audit table does not answer: its entry waits in the ledger's
//! outbox.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::RunId;
use sealfleet_domain::access::Action;
use sealfleet_domain::run::{Refusal, RunState};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Error, Ledger};

use crate::shared::auth::{Door, caller, path_id};
use crate::shared::{effects, problems, views};

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// Who comes in.
    pub door: Door,
    /// Where sandboxes run.
    pub hosts: Hosts,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["v1", "runs", run_id, "cancel"]) => cancel(ports, request, run_id).await,
        _ => Err(Problem::not_found()),
    }
}

async fn cancel(ports: &Ports, request: &Request, run_id: &str) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::Cancel).await?;
    let run_id: RunId = path_id(run_id)?;
    let done = ports
        .ledger
        .cancel(&caller.scope, run_id, &caller.actor)
        .await;
    let run = match done {
        Ok(done) => {
            effects::stop(
                &ports.hosts,
                &ports.ledger,
                &caller.scope,
                &done.run,
                &done.change,
                &caller.actor,
            )
            .await;
            done.run
        }
        // Asked again after an answer that was lost.
        Err(Error::Refused(Refusal::AlreadyEnded(_))) => {
            let run = ports
                .ledger
                .run(&caller.scope, run_id)
                .await
                .map_err(problems::of_ledger)?;
            if run.state() != RunState::Aborted {
                return Err(Problem::new(
                    Code::Conflict,
                    format!(
                        "the run has already ended as `{}`; there is nothing to cancel",
                        run.state().name()
                    ),
                ));
            }
            run
        }
        Err(error) => return Err(problems::of_ledger(error)),
    };
    Answer::json(200, &views::run(run, ports.ledger.now()))
}
