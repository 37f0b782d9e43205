//! What a new run is decided by, read at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::{join, join4};
use sealfleet_api::http::Request;
use sealfleet_api::types::{EnqueueRun, RunWorkflow};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::cascade::{Bindings, Layer, Level};
use sealfleet_domain::fleet::Project;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::reference::ProfileRef;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::{Owner, ProjectId, ProjectScope, WorkflowName};
use sealfleet_ledger::{Before, Error, Idempotency};

use super::Ports;
use crate::shared::fault::Fault;
use crate::shared::once::idempotency;
use crate::shared::views;

/// Projects whose bindings an instance remembers.
const REMEMBERED: usize = 1000;

/// What projects bound when this instance read them last. So the profiles of a run can be read
/// together with its project, which says whether they still are the ones.
#[derive(Default)]
pub struct Cascades(Mutex<HashMap<ProjectId, Bindings>>);

impl Cascades {
    fn of(&self, scope: &ProjectScope) -> Bindings {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(scope.project()).cloned().unwrap_or_default()
    }

    fn note(&self, scope: &ProjectScope, cascade: &Bindings) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(scope.project().clone(), cascade.clone());
    }
}

/// A request, and what has been read for it.
pub(super) struct Asked {
    pub new: Result<New, Fault>,
    /// Whether its caller has written steps under the name of a registered workflow that is live.
    pub is_named_alike: Result<bool, Error>,
    pub idempotency: Option<Idempotency>,
    pub before: Result<Before, Error>,
    pub project: Result<Project, Error>,
    /// Where a step may see an identity.
    pub sealed: Option<Sealed>,
}

/// A run that is asked for.
pub(super) struct New {
    pub run: EnqueueRun,
    /// The version of the registered workflow that wrote its steps.
    pub version: Option<u32>,
}

/// What an identity is resolved from.
pub(super) struct Sealed {
    /// The profiles that the run was expected to have.
    pub levels: Vec<(Level, ProfileRef)>,
    pub layers: Result<Vec<Layer>, Error>,
    /// The active revocations of the project.
    pub revocations: Result<Vec<Revocation>, Error>,
}

/// A run whose steps its caller has written.
pub(super) async fn asked(
    ports: &Ports,
    scope: &ProjectScope,
    request: &Request,
) -> Result<Asked, Problem> {
    let run: EnqueueRun = request.json()?;
    let name = run.workflow.clone();
    let is_named_alike = ports.ledger.has_live_workflow(scope, &name);
    let new = Ok(New { run, version: None });
    let idempotency = idempotency(request)?;
    gathered(ports, scope, idempotency, is_named_alike, async || new).await
}

/// A run of a registered workflow, whose caller gives parameters only.
pub(super) async fn asked_by_name(
    ports: &Ports,
    scope: &ProjectScope,
    request: &Request,
) -> Result<Asked, Problem> {
    let (name,): (WorkflowName,) = request.parameters()?;
    let asked: RunWorkflow = request.json()?;
    let mut idempotency = idempotency(request)?;
    if let Some(key) = &mut idempotency {
        // The body alone does not say which workflow.
        key.request = sha256_hex(format!("{name}#{}", key.request).as_bytes());
    }
    let new = async || registered(ports, scope, name, asked).await;
    gathered(ports, scope, idempotency, async { Ok(false) }, new).await
}

/// The run that the live version of a workflow makes of parameters.
async fn registered(
    ports: &Ports,
    scope: &ProjectScope,
    name: WorkflowName,
    asked: RunWorkflow,
) -> Result<New, Fault> {
    let workflow = ports.ledger.workflow(scope, &name).await?;
    let live = workflow
        .live
        .filter(|live| asked.version.is_none_or(|expected| expected == *live));
    let Some(live) = live else {
        let is = match workflow.live {
            Some(live) => format!("version {live} is live"),
            None => "no version is live: somebody has to approve one".to_owned(),
        };
        return Err(Problem::new(Code::NotLive, format!("of `{name}`, {is}")).into());
    };
    let version = ports.ledger.workflow_version(scope, &name, live).await?;
    let steps = version.definition.with(&asked.parameters)?;
    let run = EnqueueRun {
        workflow: name,
        profile: version.definition.profile,
        overrides: version.definition.overrides,
        labels: asked.labels,
        steps: views::steps(steps),
    };
    Ok(New {
        run,
        version: Some(live),
    })
}

async fn gathered(
    ports: &Ports,
    scope: &ProjectScope,
    idempotency: Option<Idempotency>,
    is_named_alike: impl Future<Output = Result<bool, Error>>,
    new: impl AsyncFnOnce() -> Result<New, Fault>,
) -> Result<Asked, Problem> {
    let before = async {
        match &idempotency {
            Some(key) => ports.ledger.enqueued_before(scope, key).await,
            None => Ok(Before::Nothing),
        }
    };
    let project = async {
        let project = ports.ledger.open_project(scope).await?;
        ports.cascades.note(scope, &project.cascade);
        Ok(project)
    };
    let new = async {
        let new = new().await;
        let sealed = match &new {
            Ok(New { run, .. }) => sealed(ports, scope, run).await,
            Err(_) => None,
        };
        (new, sealed)
    };
    let (before, project, is_named_alike, (new, sealed)) =
        join4(before, project, is_named_alike, new).await;
    Ok(Asked {
        new,
        is_named_alike,
        idempotency,
        before,
        project,
        sealed,
    })
}

async fn sealed(ports: &Ports, scope: &ProjectScope, new: &EnqueueRun) -> Option<Sealed> {
    let named = new.profile.is_some() || !new.overrides.is_empty();
    if !named && new.steps.iter().all(|step| !step.mode.sees_identity()) {
        return None;
    }
    let cascade = ports.cascades.of(scope);
    let levels = cascade.levels(&new.workflow, new.profile.as_ref());
    let owner = Owner::Project(scope.clone());
    let (layers, revocations) = join(
        ports.ledger.layers(scope, &levels),
        ports.ledger.active_revocations(&owner),
    )
    .await;
    Some(Sealed {
        levels,
        layers,
        revocations,
    })
}
