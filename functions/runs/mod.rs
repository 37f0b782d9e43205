//! `runs`: reads runs.

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_domain::access::Action;
use sealfleet_domain::run::RunState;
use sealfleet_ledger::Ledger;

use crate::shared::auth::{Door, caller, path_id};
use crate::shared::{pages, problems, views};

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// Who comes in.
    pub door: Door,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["v1", "runs"]) => list(ports, request).await,
        ("GET", ["v1", "runs", run_id]) => show(ports, request, run_id).await,
        _ => Err(Problem::not_found()),
    }
}

async fn list(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ReadRuns).await?;
    let state = request
        .query
        .get("state")
        .map(|text| state_of(text))
        .transpose()?;
    let list = format!("runs:{}", state.map_or("", RunState::name));
    let fetch = async |before: Option<&str>, limit| {
        ports.ledger.runs(&caller.scope, state, before, limit).await
    };
    pages::answer(
        request,
        caller.scope.project().as_str(),
        &list,
        fetch,
        |run| views::run_summary(&run),
    )
    .await
}

fn state_of(text: &str) -> Result<RunState, Problem> {
    let states = [
        RunState::Queued,
        RunState::Running,
        RunState::Succeeded,
        RunState::Failed,
        RunState::Aborted,
        RunState::Dead,
    ];
    states
        .into_iter()
        .find(|state| state.name() == text)
        .ok_or_else(|| {
            let names = states.map(|state| format!("`{}`", state.name())).join(", ");
            Problem::invalid("state", format!("use one of {names}"))
        })
}

async fn show(ports: &Ports, request: &Request, run_id: &str) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ReadRuns).await?;
    let run = ports
        .ledger
        .run(&caller.scope, path_id(run_id)?)
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &views::run(run, ports.ledger.now()))
}
