//! Authenticates the caller by the credential that the request carries, and authorises it by the
//! row of the operation, before a handler runs.
//!
//! What a handler will need may be read at the same time ([`Reading`]), but only for a credential
//! that this instance has let in before. Anybody else costs one read, and learns nothing from how
//! long his answer takes. What was read comes out together with the proof, or not at all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::try_join;
use sealfleet_api::http::Request;
use sealfleet_api::operations::{
    Credential as CredentialKind, END_SANDBOX, GET_SANDBOX_TOKEN, Route, SEND_SANDBOX_HEARTBEAT,
};
use sealfleet_api::types::{AskSandboxToken, SandboxEnd, SandboxHeartbeat, SandboxLease};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::access::{Action, Decision, Principal, Resource, decide};
use sealfleet_domain::credential::{Credential, Home, Presented};
use sealfleet_domain::fleet::{EnrolmentKey, Worker, WorkerStatus};
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::run::Run;
use sealfleet_domain::scope::Operator;
use sealfleet_domain::{
    EnrolmentKeyId, NamePrefix, Owner, ProjectId, ProjectScope, Timestamp, limits,
};
use sealfleet_fargate::names::{sandbox_session, task_id};
use sealfleet_ledger::{Error, Ledger, Rates};
use sealfleet_oidc::{Verifier, is_jwt};

use super::fault::Fault;
use super::metrics::{Metric, Metrics};

/// Seconds for which a project that was found is not read again: so long may callers by JWT still
/// read what is left of a project that is deleted.
const FOUND_SECONDS: i64 = 30;
/// Credentials that an instance remembers.
const KNOWN: usize = 1000;

/// Verifies callers who present an API token or a JWT of a trusted issuer, and holds their project
/// to its rate limit.
pub struct Door {
    ledger: Ledger,
    rates: Rates,
    oidc: Oidc,
    metrics: Metrics,
    /// Projects that the ledger has, and until when that is believed.
    found: Mutex<HashMap<ProjectId, Timestamp>>,
    known: Known,
}

/// Verifies workers, and holds each to its rate limit.
pub struct WorkerDoor {
    ledger: Ledger,
    rates: Rates,
    known: Known,
}

/// Credentials that this instance has let in and not refused since, by their hash, each with its
/// project.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<String, ProjectScope>>);

impl Known {
    fn of(&self, request: &Request) -> Option<ProjectScope> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&hash_of(request)?).cloned()
    }

    /// Remembers a caller who was let in to a project, and forgets one who was not.
    fn note(&self, request: &Request, scope: Option<&ProjectScope>) {
        let Some(hash) = hash_of(request) else {
            return;
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(scope) = scope else {
            known.remove(&hash);
            return;
        };
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(hash, scope.clone());
    }
}

fn hash_of(request: &Request) -> Option<String> {
    let credential = request.bearer().ok().flatten()?;
    Some(sha256_hex(credential.as_bytes()))
}

impl WorkerDoor {
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            rates: Rates::new(Limits {
                requests_per_second: limits::WORKER_REQUESTS_PER_SECOND,
                burst: limits::WORKER_REQUESTS_AT_ONCE,
            }),
            known: Known::default(),
        }
    }
}

/// What happens to callers who present a JWT.
pub enum Oidc {
    /// No issuer is trusted.
    Off,
    On(Verifier),
    /// The deployment's list of issuers cannot be read. JWTs are refused with an answer that says
    /// so. API tokens still work, or a mistake in the list would lock out whoever can correct it.
    Unusable,
}

impl Door {
    #[must_use]
    pub fn new(ledger: Ledger, limits: Limits, oidc: Oidc, metrics: Metrics) -> Self {
        Self {
            ledger,
            rates: Rates::new(limits),
            oidc,
            metrics,
            found: Mutex::default(),
            known: Known::default(),
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
    /// A 429 when there were too many recently.
    pub async fn admit_registration(&self, scope: &ProjectScope) -> Result<(), Fault> {
        let admitted = self.ledger.admit_registration(scope).await;
        self.counted(
            scope,
            admitted,
            "too many workers have registered without an enrolment key; retry after the `Retry-After` \
             delay, or use a key",
        )
    }

    async fn admit(&self, scope: &ProjectScope) -> Result<(), Fault> {
        let admitted = self.rates.admit(&self.ledger, scope).await;
        self.counted(
            scope,
            admitted,
            "rate limit exceeded; retry after the `Retry-After` delay, or ask an operator to raise it",
        )
    }

    fn counted(
        &self,
        scope: &ProjectScope,
        admitted: Result<(), Error>,
        refusal: &str,
    ) -> Result<(), Fault> {
        match admitted {
            Err(Error::RateLimited(seconds)) => {
                let throttled = [(Metric::RequestsThrottled, 1.0)];
                self.metrics
                    .of_project(scope.project().as_str(), self.ledger.now(), &throttled);
                Err(Problem::rate_limited(refusal, seconds).into())
            }
            other => Ok(other?),
        }
    }

    async fn identify(&self, request: &Request) -> Result<Principal, Fault> {
        if let Some(jwt) = request.bearer()?.filter(|bearer| is_jwt(bearer)) {
            return self.of_issuer(jwt).await;
        }
        let Ok(Credential::Token(presented)) = credential(request) else {
            return Err(Problem::unauthenticated().into());
        };
        let stored = self.ledger.token(&presented.home, presented.id).await?;
        presented
            .verify(stored.as_ref(), self.ledger.now())
            .map_err(|_| Problem::unauthenticated().into())
    }

    async fn of_issuer(&self, jwt: &str) -> Result<Principal, Fault> {
        let verifier = match &self.oidc {
            Oidc::Off => return Err(Problem::unauthenticated().into()),
            Oidc::On(verifier) => verifier,
            Oidc::Unusable => {
                let detail = "the deployment's list of OIDC issuers cannot be read, so no JWT is \
                              accepted; the function's log says why";
                return Err(Problem::new(Code::Internal, detail).into());
            }
        };
        let principal = verifier.verify(jwt).await?;
        if let Some(scope) = principal.scope() {
            self.exists(scope).await?;
        }
        Ok(principal)
    }

    /// Checks that the project which the claims name is onboarded: an issuer may name any.
    async fn exists(&self, scope: &ProjectScope) -> Result<(), Fault> {
        let found = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.ledger.now();
        if found()
            .get(scope.project())
            .is_some_and(|until| now < *until)
        {
            return Ok(());
        }
        match self.ledger.project(scope).await {
            Ok(_) => {
                let until = now.plus_seconds(FOUND_SECONDS);
                found().insert(scope.project().clone(), until);
                Ok(())
            }
            Err(Error::NotFound) => Err(Problem::new(
                Code::Forbidden,
                format!(
                    "the JWT's claims name the project `{}`, which is not onboarded",
                    scope.project()
                ),
            )
            .into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A caller whom the operation's row lets in. Each handler takes one, and only this module makes
/// one, so no handler can do without authorisation. `Way` is how the caller is verified.
pub trait Caller<Way>: Sized {
    /// Authenticates the caller, and authorises it for the action of the operation's row.
    ///
    /// # Errors
    /// A 401 without a credential that holds, a 403 or 404 when its holder may not do the action, a
    /// 429 when its project calls too often.
    fn admit(way: &Way, request: &Request) -> impl Future<Output = Result<Self, Fault>>;
}

/// A door at which known credentials are told from others before they are verified.
pub(crate) trait Knows {
    fn known(&self) -> &Known;
}

impl Knows for Door {
    fn known(&self) -> &Known {
        &self.known
    }
}

impl Knows for WorkerDoor {
    fn known(&self) -> &Known {
        &self.known
    }
}

/// A caller of one project.
pub(crate) trait OfProject {
    fn scope(&self) -> &ProjectScope;
}

impl OfProject for ProjectCaller {
    fn scope(&self) -> &ProjectScope {
        &self.scope
    }
}

impl OfProject for WorkerCaller {
    fn scope(&self) -> &ProjectScope {
        &self.scope
    }
}

/// A door, and what the handler needs of the caller's project. It is read while a caller is let in
/// whose credential is known, else afterwards.
pub(crate) struct Reading<'a, D, R> {
    pub door: &'a D,
    pub read: R,
}

impl<D, R, C, T> Caller<Reading<'_, D, R>> for (C, T)
where
    D: Knows,
    R: AsyncFn(&ProjectScope) -> T,
    C: Caller<D> + OfProject,
{
    async fn admit(way: &Reading<'_, D, R>, request: &Request) -> Result<Self, Fault> {
        let Reading { door, read } = way;
        let known = door.known().of(request);
        let ahead = async {
            match &known {
                Some(scope) => Ok(Some(read(scope).await)),
                None => Ok(None),
            }
        };
        // A refusal does not wait for what is read.
        let admitted = try_join(ahead, C::admit(door, request)).await;
        let scope = admitted.as_ref().ok().map(|(_, caller)| caller.scope());
        door.known().note(request, scope);
        let (ahead, caller) = admitted?;
        let ahead = ahead.filter(|_| known.as_ref() == Some(caller.scope()));
        let of_project = match ahead {
            Some(of_project) => of_project,
            None => read(caller.scope()).await,
        };
        Ok((caller, of_project))
    }
}

/// That this module has let the caller in. Nobody else can make one.
#[derive(Clone, Debug)]
struct Admitted;

/// A caller who may do the action in this project.
#[derive(Clone, Debug)]
pub struct ProjectCaller {
    pub scope: ProjectScope,
    /// The caller's name in the audit trail.
    pub actor: String,
    /// The login behind the caller, by the same name.
    pub login: Option<String>,
    _admitted: Admitted,
}

/// A caller who may do the action to what its project owns; an operator, to what the system owns.
#[derive(Clone, Debug)]
pub struct OwnerCaller {
    pub owner: Owner,
    /// The caller's name in the audit trail.
    pub actor: String,
    _admitted: Admitted,
}

/// An operator who may do the action above projects.
#[derive(Clone, Debug)]
pub struct OperatorCaller {
    pub operator: Operator,
    /// The caller's name in the audit trail.
    pub actor: String,
    _admitted: Admitted,
}

/// A caller who may do the action in the project that the path names.
pub struct InPath(pub ProjectCaller);

/// A caller who may do the action in the project that the query names: operators name one, all
/// others act in their own.
pub struct InQuery(pub ProjectCaller);

/// A caller who is authenticated, but not yet authorised: the request's body names the project.
/// Opens nothing before [`Authenticated::in_named`].
pub struct Authenticated {
    principal: Principal,
    action: Action,
}

/// A caller who may do the action where it belongs: in its project, or in the system scope. It
/// stands for nothing but itself.
pub struct Oneself(pub Principal);

/// An approved worker; where the row says so, one that still waits for approval.
#[derive(Clone, Debug)]
pub struct WorkerCaller {
    pub scope: ProjectScope,
    /// Its stored row.
    pub worker: Worker,
    /// The worker's name in the audit trail.
    pub actor: String,
    _admitted: Admitted,
}

/// Who registers a worker.
pub enum Registrant {
    /// Has no key: an admin decides on the worker.
    Unknown,
    KeyHolder(KeyHolder),
}

/// Who presents an enrolment key, which [`KeyHolder::verify`] verifies.
pub struct KeyHolder {
    presented: Presented<EnrolmentKeyId>,
    action: Action,
}

/// A sandbox, known by the session of the sandboxes' role, and the claim that it says it was
/// launched for. Nothing of the claim's is for it unless the claim's sandbox is this very task.
pub struct SandboxCaller {
    /// The project that it names.
    pub scope: ProjectScope,
    pub lease: SandboxLease,
    /// The id of its ECS task.
    pub task_id: String,
    _admitted: Admitted,
}

/// Whoever calls an operation that asks for no credential.
pub struct Anybody {
    _admitted: Admitted,
}

impl Caller<Door> for Authenticated {
    async fn admit(door: &Door, request: &Request) -> Result<Self, Fault> {
        let action = action(request)?;
        let principal = door.identify(request).await?;
        // What takes power away is never held up by a rate.
        if let Some(scope) = principal.scope()
            && !action.takes_power_away()
        {
            door.admit(scope).await?;
        }
        Ok(Self { principal, action })
    }
}

impl Authenticated {
    /// The caller in the project that it names: operators name one, all others act in their own.
    ///
    /// # Errors
    /// A 400 when it names none or one too many, a 403 or 404 when it may not do the action there.
    pub fn in_named(self, named: Option<ProjectId>) -> Result<ProjectCaller, Fault> {
        let project = match (self.principal.scope(), named) {
            (None, Some(project)) => project,
            (Some(scope), None) => scope.project().clone(),
            (None, None) => {
                let detail = "an operator must name the project of the token";
                return Err(Problem::invalid("project", detail).into());
            }
            (Some(_), Some(_)) => {
                let detail = "leave `project` out: a token makes tokens of its own project only";
                return Err(Problem::invalid("project", detail).into());
            }
        };
        self.in_project(project)
    }

    fn in_project(self, project: ProjectId) -> Result<ProjectCaller, Fault> {
        authorise(&self.principal, self.action, Resource::Project(&project))?;
        let actor = self.principal.actor();
        let login = self.principal.login();
        let scope = match self.principal {
            Principal::Operator(operator) => ProjectScope::entered_by(&operator, project),
            other => other.scope().cloned().ok_or_else(Problem::not_found)?,
        };
        Ok(ProjectCaller {
            scope,
            actor,
            login,
            _admitted: Admitted,
        })
    }
}

impl Caller<Door> for InPath {
    async fn admit(door: &Door, request: &Request) -> Result<Self, Fault> {
        let caller = Authenticated::admit(door, request).await?;
        let (project,) = request.parameters()?;
        caller.in_project(project).map(Self)
    }
}

impl Caller<Door> for InQuery {
    async fn admit(door: &Door, request: &Request) -> Result<Self, Fault> {
        let caller = Authenticated::admit(door, request).await?;
        caller.in_named(request.named("project")?).map(Self)
    }
}

impl Caller<Door> for ProjectCaller {
    async fn admit(door: &Door, request: &Request) -> Result<Self, Fault> {
        let caller = Authenticated::admit(door, request).await?;
        let Some(scope) = caller.principal.scope() else {
            let detail = "an operator acts above projects; use a token of the project";
            return Err(Problem::new(Code::Forbidden, detail).into());
        };
        let project = scope.project().clone();
        caller.in_project(project)
    }
}

impl Caller<Door> for Oneself {
    async fn admit(door: &Door, request: &Request) -> Result<Self, Fault> {
        let Authenticated { principal, action } = Authenticated::admit(door, request).await?;
        let home = principal
            .scope()
            .map_or(Resource::System, |scope| Resource::Project(scope.project()));
        authorise(&principal, action, home)?;
        Ok(Self(principal))
    }
}

impl Caller<Door> for OwnerCaller {
    async fn admit(door: &Door, request: &Request) -> Result<Self, Fault> {
        let Oneself(principal) = Oneself::admit(door, request).await?;
        let owner = principal
            .scope()
            .map_or(Owner::System, |scope| Owner::Project(scope.clone()));
        Ok(Self {
            actor: principal.actor(),
            owner,
            _admitted: Admitted,
        })
    }
}

impl Caller<Door> for OperatorCaller {
    async fn admit(door: &Door, request: &Request) -> Result<Self, Fault> {
        let Authenticated { principal, action } = Authenticated::admit(door, request).await?;
        authorise(&principal, action, Resource::Platform)?;
        let actor = principal.actor();
        let Principal::Operator(operator) = principal else {
            return Err(Problem::not_found().into());
        };
        Ok(Self {
            operator,
            actor,
            _admitted: Admitted,
        })
    }
}

impl Caller<WorkerDoor> for WorkerCaller {
    async fn admit(door: &WorkerDoor, request: &Request) -> Result<Self, Fault> {
        let ledger = &door.ledger;
        let Ok(Credential::Worker(presented)) = credential(request) else {
            return Err(Problem::unauthenticated().into());
        };
        let Home::Project(project) = &presented.home else {
            return Err(Problem::unauthenticated().into());
        };
        let stored = ledger.worker(project, presented.id).await?;
        let scope = presented
            .verify(stored.as_ref())
            .map_err(|_| Problem::unauthenticated())?;
        let worker = stored.ok_or_else(Problem::unauthenticated)?;
        door.rates
            .admit_worker(ledger, &scope, worker.worker_id)
            .await?;
        let principal = Principal::Worker {
            scope: scope.clone(),
            worker_id: worker.worker_id,
        };
        let project = Resource::Project(scope.project());
        authorise(&principal, action(request)?, project)?;
        let may_wait = request.operation.credential == CredentialKind::AnyWorker;
        let (code, detail) = match worker.status {
            WorkerStatus::Pending if !may_wait => (
                Code::WorkerPending,
                "an admin of the project must approve this worker first (`sealfleet worker approve`)",
            ),
            WorkerStatus::Rejected => (Code::WorkerRejected, "an admin rejected this worker"),
            WorkerStatus::Revoked => (
                Code::WorkerRevoked,
                "this worker was revoked; kill its sandboxes and register a new one",
            ),
            WorkerStatus::Approved | WorkerStatus::Pending => {
                return Ok(Self {
                    actor: principal.actor(),
                    scope,
                    worker,
                    _admitted: Admitted,
                });
            }
        };
        Err(Problem::new(code, detail).into())
    }
}

impl Caller<Door> for Registrant {
    async fn admit(_: &Door, request: &Request) -> Result<Self, Fault> {
        let action = action(request)?;
        if request.bearer()?.is_none() {
            return Ok(Self::Unknown);
        }
        match credential(request)? {
            Credential::EnrolmentKey(presented) => {
                Ok(Self::KeyHolder(KeyHolder { presented, action }))
            }
            Credential::Token(_) | Credential::Worker(_) => Err(Problem::unauthenticated().into()),
        }
    }
}

impl KeyHolder {
    /// The caller in the key's project, and the key's row as it is now: its uses are counted there.
    ///
    /// # Errors
    /// A 401 when the key does not hold.
    pub async fn verify(&self, ledger: &Ledger) -> Result<(ProjectCaller, EnrolmentKey), Fault> {
        let Home::Project(home) = &self.presented.home else {
            return Err(Problem::unauthenticated().into());
        };
        let stored = ledger.enrolment_key(home, self.presented.id).await?;
        let scope = self
            .presented
            .verify(stored.as_ref(), ledger.now())
            .map_err(|_| Problem::unauthenticated())?;
        let key = stored.ok_or_else(Problem::unauthenticated)?;
        let principal = Principal::Enrolment {
            scope: scope.clone(),
            key_id: key.enrolment_key_id,
        };
        authorise(&principal, self.action, Resource::Project(scope.project()))?;
        let caller = ProjectCaller {
            actor: principal.actor(),
            login: principal.login(),
            scope,
            _admitted: Admitted,
        };
        Ok((caller, key))
    }
}

/// By the role of its session, whose name begins with the prefix.
impl Caller<NamePrefix> for SandboxCaller {
    async fn admit(prefix: &NamePrefix, request: &Request) -> Result<Self, Fault> {
        let arn = request
            .caller_arn
            .as_deref()
            .ok_or_else(Problem::unauthenticated)?;
        let task_id = sandbox_session(prefix, arn).map_err(|_| Problem::unauthenticated())?;
        let is = |route: &Route<()>| request.operation.id == route.operation.id;
        let lease = if is(&END_SANDBOX) {
            request.json::<SandboxEnd>()?.lease()
        } else if is(&SEND_SANDBOX_HEARTBEAT) {
            request.json::<SandboxHeartbeat>()?.lease()
        } else if is(&GET_SANDBOX_TOKEN) {
            request.json::<AskSandboxToken>()?.lease()
        } else {
            request.json::<SandboxLease>()?
        };
        let scope = ProjectScope::named_by_sandbox(lease.project.clone());
        let principal = Principal::Sandbox {
            scope: scope.clone(),
            task_id: task_id.clone(),
        };
        let project = Resource::Project(scope.project());
        authorise(&principal, action(request)?, project)?;
        Ok(Self {
            scope,
            lease,
            task_id,
            _admitted: Admitted,
        })
    }
}

impl SandboxCaller {
    /// The run of the step that is claimed for this very task.
    ///
    /// # Errors
    /// A 404 for another task's step, a 409 for a claim that is over or whose launch is not
    /// recorded yet.
    pub async fn own_run(&self, ledger: &Ledger) -> Result<Run, Fault> {
        let lease = &self.lease;
        let run = ledger.run(&self.scope, lease.run_id).await?;
        let hold = run.held(&lease.step_id, None, lease.fence)?;
        match &hold.handle {
            // The dispatcher has launched the task and not stored its handle yet.
            None => {
                let detail = "the launch is not recorded yet; ask again in a moment";
                Err(Problem::new(Code::NotReady, detail).into())
            }
            Some(handle) if task_id(handle) == self.task_id => Ok(run),
            Some(_) => Err(Problem::not_found().into()),
        }
    }
}

impl<Way> Caller<Way> for Anybody {
    async fn admit(_: &Way, request: &Request) -> Result<Self, Fault> {
        if request.operation.credential == CredentialKind::Nothing {
            Ok(Self {
                _admitted: Admitted,
            })
        } else {
            Err(Problem::unauthenticated().into())
        }
    }
}

/// The action of the operation's row.
fn action(request: &Request) -> Result<Action, Problem> {
    let refused = || Problem::new(Code::Forbidden, "this operation authorises nobody");
    request.operation.action.ok_or_else(refused)
}

/// Turns a decision into an answer.
///
/// # Errors
/// A 404 for what the principal cannot see, a 403 for what it may not do.
fn authorise(principal: &Principal, action: Action, resource: Resource<'_>) -> Result<(), Problem> {
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
fn credential(request: &Request) -> Result<Credential, Problem> {
    request
        .bearer()?
        .and_then(|text| Credential::parse(text).ok())
        .ok_or_else(Problem::unauthenticated)
}
