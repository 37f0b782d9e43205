//! `runs`: reads runs, what came out of them, and what they used.

mod artifacts;
mod output;
mod usage;

use std::fmt::Display;
use std::str::FromStr;

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_aws::outputs::OutputObjects;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{RunId, Timestamp};
use sealfleet_ledger::{Ledger, RunFilter};

use crate::shared::auth::{Door, ProjectCaller};
use crate::shared::fault::Answered;
use crate::shared::route::route;
use crate::shared::{pages, views};

/// Filters of the list of runs.
const FILTERS: [&str; 6] = ["state", "workflow", "profile", "label", "from", "to"];

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
        GET_USAGE => |caller, ()| usage::sums(ports, caller, request);
        GET_PRICES => |caller, ()| usage::prices(ports, caller);
    }
}

async fn list(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let filter = filter(request)?;
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let fetch =
        async |before: Option<&str>, limit| ledger.runs(scope, &filter, before, limit).await;
    let project = caller.scope.project().as_str();
    let list = pages::name("runs", request, &FILTERS);
    pages::answer(request, project, &list, fetch, |run| {
        views::run_summary(&run)
    })
    .await
}

fn filter(request: &Request) -> Result<RunFilter, Problem> {
    let filter = RunFilter {
        states: Vec::from_iter(given(request, "state", state_of)?),
        workflow: given(request, "workflow", named("workflow"))?,
        profile: given(request, "profile", named("profile"))?,
        label: given(request, "label", label_of)?,
        from: given(request, "from", time("from"))?,
        to: given(request, "to", time("to"))?,
    };
    if filter
        .from
        .zip(filter.to)
        .is_some_and(|(from, to)| from >= to)
    {
        return Err(Problem::invalid("from", "`from` must be before `to`"));
    }
    Ok(filter)
}

/// What a filter of the query says, if it is there.
fn given<T>(
    request: &Request,
    name: &str,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    let text = request.query.get(name);
    text.map(|text| read(text)).transpose()
}

fn named<T: FromStr<Err: Display>>(name: &str) -> impl Fn(&str) -> Result<T, Problem> {
    move |text| {
        let parsed = text.parse();
        parsed.map_err(|error: T::Err| Problem::invalid(name, error.to_string()))
    }
}

fn time(name: &str) -> impl Fn(&str) -> Result<Timestamp, Problem> {
    move |text| {
        let parsed = Timestamp::parse(text);
        parsed.map_err(|error| Problem::invalid(name, error.to_string()))
    }
}

fn label_of(text: &str) -> Result<(String, String), Problem> {
    text.split_once('=')
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
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
