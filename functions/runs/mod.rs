//! `runs`: reads runs.

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_domain::RunId;
use sealfleet_domain::run::RunState;
use sealfleet_ledger::Ledger;

use crate::shared::auth::{Door, ProjectCaller};
use crate::shared::fault::Answered;
use crate::shared::route::route;
use crate::shared::{pages, views};

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    pub door: Door,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    route! { request, &ports.door;
        LIST_RUNS => |caller, ()| list(ports, caller, request);
        GET_RUN => |caller, (run_id,)| show(ports, caller, run_id);
    }
}

async fn list(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let state = request
        .query
        .get("state")
        .map(|text| state_of(text))
        .transpose()?;
    let list = format!("runs:{}", state.map_or("", RunState::name));
    let fetch = async |before: Option<&str>, limit| {
        ports.ledger.runs(&caller.scope, state, before, limit).await
    };
    let project = caller.scope.project().as_str();
    pages::answer(request, project, &list, fetch, |run| {
        views::run_summary(&run)
    })
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

async fn show(ports: &Ports, caller: ProjectCaller, run_id: RunId) -> Answered {
    let run = ports.ledger.run(&caller.scope, run_id).await?;
    Answer::json(200, &views::run(run, ports.ledger.now()))
}
