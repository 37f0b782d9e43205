//! Who the caller is, from the credential that the request carries, and whether it may do what it
//! asks.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use sealfleet_api::http::Request;
use sealfleet_api::{Code, Problem};
use sealfleet_domain::access::{Action, Decision, Principal, Resource, decide};
use sealfleet_domain::credential::{Credential, Home};
use sealfleet_domain::fleet::{Worker, WorkerStatus};
use sealfleet_domain::rate::Limits;
use sealfleet_domain::{Owner, ProjectId, ProjectScope, WorkerId};
use sealfleet_ledger::{Error, Ledger, Rates};
use sealfleet_oidc::{Verifier, is_jwt};

use super::metrics::{Metric, Metrics};
use super::problems;

/// A caller inside its project.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its project.
    pub scope: ProjectScope,
    /// Its name in the audit trail.
    pub actor: String,
}

/// A caller who acts on profiles and revocations: of its project, or of the system scope.
#[derive(Clone, Debug)]
pub struct OwnerCaller {
    /// Whose they are.
    pub owner: Owner,
    /// Its name in the audit trail.
    pub actor: String,
}

/// An authenticated worker.
#[derive(Clone, Debug)]
pub struct WorkerCaller {
    /// Its project.
    pub scope: ProjectScope,
    /// Its stored row.
    pub worker: Worker,
    /// Its name in the audit trail.
    pub actor: String,
}

/// Where callers come in: by an API token that the ledger knows, or by a JWT of a trusted issuer,
/// and as often as their project may call.
pub struct Door {
    ledger: Ledger,
    rates: Rates,
    oidc: Oidc,
    metrics: Metrics,
    /// Projects that were found: a project is never deleted.
    found: Mutex<HashSet<ProjectId>>,
}

/// What is done with callers who present a JWT.
pub enum Oidc {
    /// No issuer is trusted.
    Off,
    /// The issuers' tokens are verified.
    On(Verifier),
    /// The deployment's issuers cannot be read: no JWT is believed, and who presents one is told
    /// so. API tokens work, or a mistake there would lock out who could undo it.
    Unusable,
}

impl Door {
    /// A door to what `ledger` holds.
    #[must_use]
    pub fn new(ledger: Ledger, limits: Limits, oidc: Oidc, metrics: Metrics) -> Self {
        Self {
            ledger,
            rates: Rates::new(limits),
            oidc,
            metrics,
            found: Mutex::default(),
        }
    }

    /// The limits of projects that have none of their own.
    #[must_use]
    pub const fn default_limits(&self) -> Limits {
        self.rates.default_limits()
    }

    /// Admits a registration without an enrolment key.
    ///
    /// # Errors
    /// A 429 when too many came of late.
    pub async fn admit_registration(&self, scope: &ProjectScope) -> Result<(), Problem> {
        let admitted = self.ledger.admit_registration(scope).await;
        self.counted(
            scope,
            admitted,
            "too many workers have registered without an enrolment key; wait, or use a key",
        )
    }

    async fn admit(&self, scope: &ProjectScope) -> Result<(), Problem> {
        let admitted = self.rates.admit(&self.ledger, scope).await;
        self.counted(
            scope,
            admitted,
            "the project has called as often as it may; wait, or ask an operator for more",
        )
    }

    fn counted(
        &self,
        scope: &ProjectScope,
        admitted: Result<(), Error>,
        refusal: &str,
    ) -> Result<(), Problem> {
        match admitted {
            Err(Error::RateLimited(seconds)) => {
                let throttled = [(Metric::RequestsThrottled, 1.0)];
                self.metrics
                    .of_project(scope.project().as_str(), self.ledger.now(), &throttled);
                Err(Problem::rate_limited(refusal, seconds))
            }
            other => other.map_err(problems::of_ledger),
        }
    }

    async fn identify(&self, request: &Request) -> Result<Principal, Problem> {
        if let Some(jwt) = request.bearer().filter(|bearer| is_jwt(bearer)) {
            return self.of_issuer(jwt).await;
        }
        let Ok(Credential::Token(presented)) = credential(request) else {
            return Err(Problem::unauthenticated());
        };
        let stored = self
            .ledger
            .token(&presented.home, presented.id)
            .await
            .map_err(problems::of_ledger)?;
        presented
            .verify(stored.as_ref(), self.ledger.now())
            .map_err(|_| Problem::unauthenticated())
    }

    async fn of_issuer(&self, jwt: &str) -> Result<Principal, Problem> {
        let verifier = match &self.oidc {
            Oidc::Off => return Err(Problem::unauthenticated()),
            Oidc::On(verifier) => verifier,
            Oidc::Unusable => {
                return Err(Problem::new(
                    Code::Unavailable,
                    "the deployment's list of OIDC issuers cannot be read, so that no JWT is accepted; its log says why",
                ));
            }
        };
        let principal = verifier.verify(jwt).await.map_err(problems::of_oidc)?;
        if let Some(scope) = principal.scope() {
            self.exists(scope).await?;
        }
        Ok(principal)
    }

    /// That the project which claims name is one: an issuer may know others.
    async fn exists(&self, scope: &ProjectScope) -> Result<(), Problem> {
        let found = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found().contains(scope.project()) {
            return Ok(());
        }
        match self.ledger.project(scope).await {
            Ok(_) => {
                found().insert(scope.project().clone());
                Ok(())
            }
            Err(Error::NotFound) => Err(Problem::new(
                Code::Forbidden,
                format!(
                    "the JWT's claims name the project `{}`, which is not onboarded",
                    scope.project()
                ),
            )),
            Err(error) => Err(problems::of_ledger(error)),
        }
    }
}

/// The caller of the API who wants to do `action`: by API token or JWT, and within its project's
/// rate. What takes power away is never held up by a rate.
///
/// # Errors
/// A 401 when there is none that holds, a 429 when the project has called too often.
pub async fn token_principal(
    door: &Door,
    request: &Request,
    action: Action,
) -> Result<Principal, Problem> {
    let principal = door.identify(request).await?;
    if let Some(scope) = principal.scope()
        && !action.takes_power_away()
    {
        door.admit(scope).await?;
    }
    Ok(principal)
}

/// The caller that may do `action` in its own project.
///
/// # Errors
/// As [`token_principal`], and a 403 when its role does not allow the action.
pub async fn caller(door: &Door, request: &Request, action: Action) -> Result<Caller, Problem> {
    let principal = token_principal(door, request, action).await?;
    let Some(scope) = principal.scope().cloned() else {
        return Err(Problem::new(
            Code::Forbidden,
            "an operator acts above projects; use a token of the project",
        ));
    };
    authorise(&principal, action, Resource::Project(scope.project()))?;
    Ok(Caller {
        scope,
        actor: principal.actor(),
    })
}

/// The caller that may do `action` to what its project owns; an operator, to what the system owns.
///
/// # Errors
/// As [`token_principal`], and a 403 when its role does not allow the action.
pub async fn owner_caller(
    door: &Door,
    request: &Request,
    action: Action,
) -> Result<OwnerCaller, Problem> {
    let principal = token_principal(door, request, action).await?;
    let owner = principal
        .scope()
        .map_or(Owner::System, |scope| Owner::Project(scope.clone()));
    let resource = match &owner {
        Owner::System => Resource::System,
        Owner::Project(scope) => Resource::Project(scope.project()),
    };
    authorise(&principal, action, resource)?;
    Ok(OwnerCaller {
        actor: principal.actor(),
        owner,
    })
}

/// The worker whose credential the request carries, whatever its status.
///
/// # Errors
/// A 401 without one that holds.
pub async fn worker(ledger: &Ledger, request: &Request) -> Result<WorkerCaller, Problem> {
    let Ok(Credential::Worker(presented)) = credential(request) else {
        return Err(Problem::unauthenticated());
    };
    let Home::Project(project) = &presented.home else {
        return Err(Problem::unauthenticated());
    };
    let stored = ledger
        .worker(project, presented.id)
        .await
        .map_err(problems::of_ledger)?;
    let scope = presented
        .verify(stored.as_ref())
        .map_err(|_| Problem::unauthenticated())?;
    let worker = stored.ok_or_else(Problem::unauthenticated)?;
    let actor = worker_principal(&scope, worker.worker_id).actor();
    Ok(WorkerCaller {
        scope,
        worker,
        actor,
    })
}

/// The approved worker whose credential the request carries.
///
/// # Errors
/// A 401 without one that holds, a 403 with its own code for one that is pending, rejected or
/// revoked.
pub async fn approved_worker(ledger: &Ledger, request: &Request) -> Result<WorkerCaller, Problem> {
    let caller = worker(ledger, request).await?;
    let principal = worker_principal(&caller.scope, caller.worker.worker_id);
    authorise(
        &principal,
        Action::Work,
        Resource::Project(caller.scope.project()),
    )?;
    match caller.worker.status {
        WorkerStatus::Approved => Ok(caller),
        WorkerStatus::Pending => Err(Problem::new(
            Code::WorkerPending,
            "an admin of the project must approve this worker first (`sealfleet worker approve`)",
        )),
        WorkerStatus::Rejected => Err(Problem::new(
            Code::WorkerRejected,
            "an admin rejected this worker",
        )),
        WorkerStatus::Revoked => Err(revoked()),
    }
}

/// The answer to a worker that was revoked.
#[must_use]
pub fn revoked() -> Problem {
    Problem::new(
        Code::WorkerRevoked,
        "this worker was revoked; kill its sandboxes and register a new one",
    )
}

fn worker_principal(scope: &ProjectScope, worker_id: WorkerId) -> Principal {
    Principal::Worker {
        scope: scope.clone(),
        worker_id,
    }
}

/// Turns a decision into an answer.
///
/// # Errors
/// A 404 for what the principal cannot see, a 403 for what it may not do.
pub fn authorise(
    principal: &Principal,
    action: Action,
    resource: Resource<'_>,
) -> Result<(), Problem> {
    match decide(principal, action, resource) {
        Decision::Allow => Ok(()),
        Decision::Hidden => Err(Problem::not_found()),
        Decision::Forbidden(reason) => Err(Problem::new(Code::Forbidden, reason)),
    }
}

/// The credential that the request carries.
///
/// # Errors
/// A 401 when there is none, or it has no form of ours.
pub fn credential(request: &Request) -> Result<Credential, Problem> {
    request
        .bearer()
        .and_then(|text| Credential::parse(text).ok())
        .ok_or_else(Problem::unauthenticated)
}

/// Reads an id from a path. What is no id names nothing.
///
/// # Errors
/// A 404.
pub fn path_id<T: std::str::FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}
