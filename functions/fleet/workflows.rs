//! Registered workflows: register, show, retire.
//!
//! A version is checked as a run of it is, and then waits for somebody else's approval. So what is
//! approved can run.

use std::collections::BTreeMap;

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{EnqueueRun, RegisterWorkflow, WorkflowDefinition};
use sealfleet_domain::WorkflowName;
use sealfleet_domain::fleet::Project;
use sealfleet_domain::workflow::Definition;
use sealfleet_ledger::{Error, Registered};

use super::Ports;
use crate::shared::auth::ProjectCaller;
use crate::shared::fault::{Answered, Fault};
use crate::shared::{pages, validate, views};

pub(super) async fn register(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let RegisterWorkflow { name, definition } = request.json()?;
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let project = ledger.open_project(scope).await?;
    let levels = project.cascade.levels(&name, definition.profile.as_ref());
    match ledger.layers(scope, &levels).await {
        Ok(_) => {}
        Err(Error::NoProfile(_)) => {
            return Err(Fault::from(Problem::not_found()).at("definition.profile"));
        }
        Err(error) => return Err(error.into()),
    }
    let definition = checked(&name, definition, &project, !levels.is_empty())
        .map_err(|fault| below("definition", fault.into()))?;
    let asker = project.governance.asker(caller.actor, caller.login);
    let registered = ledger
        .register_workflow(scope, &name, &definition, &asker)
        .await?;
    match registered {
        Registered::New(version) => Answer::json(201, &views::workflow_version(version)),
        Registered::Before(version) => Answer::json(200, &views::workflow_version(version)),
    }
}

/// The definition that a caller wrote, if runs of it can run.
fn checked(
    name: &WorkflowName,
    written: WorkflowDefinition,
    project: &Project,
    with_profile: bool,
) -> Result<Definition, Fault> {
    written.overrides.check()?;
    let run = |steps| EnqueueRun {
        workflow: name.clone(),
        profile: written.profile.clone(),
        overrides: written.overrides.clone(),
        labels: BTreeMap::new(),
        steps,
    };
    let definition = Definition {
        steps: validate::steps(&run(written.steps), project, with_profile)?,
        description: written.description,
        profile: written.profile.clone(),
        overrides: written.overrides.clone(),
        parameters: written.parameters,
    };
    definition.check()?;
    // Once more, with what parameters bring.
    let outline = views::steps(definition.outline());
    validate::steps(&run(outline), project, with_profile)?;
    Ok(definition)
}

fn below(field: &str, problem: Problem) -> Problem {
    Problem {
        field: problem.field.map(|own| format!("{field}.{own}")),
        ..problem
    }
}

pub(super) async fn list(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let fetch = async |after: Option<&str>, limit| {
        ports.ledger.workflows(&caller.scope, after, limit).await
    };
    let project = caller.scope.project().as_str();
    pages::answer(request, project, "workflows", fetch, views::workflow).await
}

pub(super) async fn show(ports: &Ports, caller: ProjectCaller, name: WorkflowName) -> Answered {
    let workflow = ports.ledger.workflow(&caller.scope, &name).await?;
    Answer::json(200, &views::workflow(workflow))
}

pub(super) async fn versions(
    ports: &Ports,
    caller: ProjectCaller,
    request: &Request,
    name: WorkflowName,
) -> Answered {
    let fetch = async |before: Option<&str>, limit| {
        let scope = &caller.scope;
        let page = ports.ledger.workflow_versions(scope, &name, before, limit);
        let page = page.await?;
        // A workflow that is registered has a first version.
        if page.items.is_empty() && before.is_none() {
            return Err(Error::NotFound);
        }
        Ok(page)
    };
    let (project, list) = (caller.scope.project().as_str(), format!("workflows:{name}"));
    pages::answer(request, project, &list, fetch, views::workflow_version).await
}

pub(super) async fn retire(ports: &Ports, caller: ProjectCaller, name: WorkflowName) -> Answered {
    let ProjectCaller { scope, actor, .. } = &caller;
    let retired = ports.ledger.retire_workflow(scope, &name, actor).await?;
    Answer::json(200, &views::workflow(retired))
}
