//! What a new run is decided by, read at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::{join, join3};
use sealfleet_api::Problem;
use sealfleet_api::http::Request;
use sealfleet_api::types::EnqueueRun;
use sealfleet_domain::cascade::{Bindings, Layer, Level};
use sealfleet_domain::fleet::Project;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::reference::ProfileRef;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::{Owner, ProjectId, ProjectScope, limits};
use sealfleet_ledger::{Before, Error, Idempotency};

use super::Ports;

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
    pub new: EnqueueRun,
    pub idempotency: Option<Idempotency>,
    pub before: Result<Before, Error>,
    pub project: Result<Project, Error>,
    /// Where a step may see an identity.
    pub sealed: Option<Sealed>,
}

/// What an identity is resolved from.
pub(super) struct Sealed {
    /// The profiles that the run was expected to have.
    pub levels: Vec<(Level, ProfileRef)>,
    pub layers: Result<Vec<Layer>, Error>,
    /// The active revocations of the project.
    pub revocations: Result<Vec<Revocation>, Error>,
}

pub(super) async fn asked(
    ports: &Ports,
    scope: &ProjectScope,
    request: &Request,
) -> Result<Asked, Problem> {
    let new: EnqueueRun = request.json()?;
    let idempotency = idempotency(request)?;
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
    let (before, project, sealed) = join3(before, project, sealed(ports, scope, &new)).await;
    Ok(Asked {
        new,
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

fn idempotency(request: &Request) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = request.header("idempotency-key")? else {
        return Ok(None);
    };
    let fine = !key.is_empty()
        && key.len() <= limits::IDEMPOTENCY_KEY_BYTES
        && key
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !fine {
        return Err(Problem::invalid(
            "Idempotency-Key",
            format!(
                "the key has 1 to {} printable ASCII characters",
                limits::IDEMPOTENCY_KEY_BYTES
            ),
        ));
    }
    // Parsed, so that the same fields in another order are the same request.
    let body: serde_json::Value = request.json()?;
    Ok(Some(Idempotency {
        key: key.to_owned(),
        request: sha256_hex(body.to_string().as_bytes()),
    }))
}
