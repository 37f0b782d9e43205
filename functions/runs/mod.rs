//! `runs`: reads runs, and what came out of them.

mod artifacts;
mod output;

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_aws::outputs::OutputObjects;
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
    /// What came out of steps.
    pub outputs: Box<dyn OutputObjects>,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    route! { request, &ports.door;
        LIST_RUNS => |caller, ()| list(ports, caller, request);
        GET_RUN => |caller, (run_id,)| show(ports, caller, run_id);
        GET_OUTPUT => |caller, step| output::output(ports, caller, request, step);
        GET_RESULT => |caller, step| output::result(ports, caller, step);
        GET_ARTIFACTS => |caller, step| artifacts::list(ports, caller, request, step);
    }
}

async fn list(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let state = request
        .query
        .get("state")
        .map(|text| state_of(text))
        .transpose()?;
    let label = request
        .query
        .get("label")
        .map(|text| label_of(text))
        .transpose()?;
    let mut list = format!("runs:{}", state.map_or("", RunState::name));
    if let Some((key, value)) = label {
        list += &format!(":{key}={value}");
    }
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let fetch = async |before: Option<&str>, limit| match label {
        Some(label) => {
            ledger
                .labelled_runs(scope, state, label, before, limit)
                .await
        }
        None => ledger.runs(scope, state, before, limit).await,
    };
    let project = caller.scope.project().as_str();
    pages::answer(request, project, &list, fetch, |run| {
        views::run_summary(&run)
    })
    .await
}

fn label_of(text: &str) -> Result<(&str, &str), Problem> {
    text.split_once('=')
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .ok_or_else(|| Problem::invalid("label", "write it as `KEY=VALUE`"))
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
    let (run, events) = ports.ledger.run_with_events(&caller.scope, run_id).await?;
    Answer::json(200, &views::whole_run(run, events, ports.ledger.now()))
}
