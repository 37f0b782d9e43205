//! The operations, one method each, in the order of the API's functions.

use reqwest::Method;
use sealfleet_api::types::{
    Claim, ClaimStep, CreateEnrolmentKey, CreateProfile, CreateProject, CreateToken, EnqueueRun,
    EnrolmentKeyCreated, EnrolmentKeyView, FanOutView, Heartbeat, HeartbeatAnswer, LeaseRef,
    LimitsView, Page, ProfileVersionView, ProjectSummary, ProjectView, PutProfile,
    QueueCredentials, RegisterWorker, ReportStep, ResolveCascade, ResolvedCascade,
    RevocationPreview, RevocationState, RevocationsCreated, Revoke, RunSummary, RunView,
    SandboxStep, SetLimits, StartStep, StepAnswer, TokenCreated, TokenView, WorkerRegistered,
    WorkerView,
};
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{
    EnrolmentKeyId, EventId, FanOutId, ProfileName, ProfileRef, ProjectId, RevocationId, RunId,
    StepId, Timestamp, TokenId, WorkerId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Call, Client, Repeat, body};
use crate::error::Error;

/// Which page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageQuery {
    /// `next_cursor` of the page before; the first page if absent.
    pub cursor: Option<String>,
    /// Items at most, 1 to 100; 50 if absent.
    pub limit: Option<u32>,
}

/// Which entries of the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Those of one run.
    pub run_id: Option<RunId>,
    /// Those with an event that names this profile.
    pub profile: Option<ProfileRef>,
    /// Those with an event that names this key.
    pub key: Option<String>,
    /// Those of one actor, as `kind:id`.
    pub actor: Option<String>,
    /// Those with an event of one of these names; all if none is given.
    pub types: Vec<String>,
    /// Whose trail: only the caller's own exists for it.
    pub project: Option<String>,
    /// Those of this moment and later.
    pub from: Option<Timestamp>,
    /// Those before this moment.
    pub to: Option<Timestamp>,
    /// Which page.
    pub page: PageQuery,
}

/// All items of a list, page by page: `all_pages(async |page| client.list_workers(page).await)`.
///
/// # Errors
/// Those of the first page that has no answer.
pub async fn all_pages<T>(
    list: impl AsyncFn(&PageQuery) -> Result<Page<T>, Error>,
) -> Result<Vec<T>, Error> {
    let mut page = PageQuery {
        cursor: None,
        limit: Some(100),
    };
    let mut items = Vec::new();
    loop {
        let answer = list(&page).await?;
        items.extend(answer.items);
        page.cursor = answer.next_cursor;
        if page.cursor.is_none() {
            return Ok(items);
        }
    }
}

type Query = Vec<(&'static str, String)>;

impl PageQuery {
    fn pairs(&self) -> Query {
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        self.cursor
            .clone()
            .map(|cursor| ("cursor", cursor))
            .into_iter()
            .chain(limit)
            .collect()
    }
}

/// `fleet`: projects, tokens, enrolment keys, workers.
impl Client {
    /// `POST /v1/projects`.
    ///
    /// # Errors
    /// See [`Error`]; this holds for every operation.
    pub async fn create_project(&self, request: &CreateProject) -> Result<ProjectView, Error> {
        self.post("/v1/projects", request, Repeat::Never).await
    }

    /// `GET /v1/projects`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_projects(&self, page: &PageQuery) -> Result<Page<ProjectSummary>, Error> {
        self.get("/v1/projects".to_owned(), page.pairs()).await
    }

    /// `GET /v1/projects/{project}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_project(&self, project: &ProjectId) -> Result<ProjectView, Error> {
        self.get(format!("/v1/projects/{project}"), Vec::new())
            .await
    }

    /// `PUT /v1/projects/{project}/limits`, by an operator: the project's own limits, or none for
    /// the default.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set_limits(
        &self,
        project: &ProjectId,
        limits: Option<Limits>,
    ) -> Result<LimitsView, Error> {
        let body = body(&SetLimits { limits })?;
        let call = Call {
            body: Some(&body),
            ..Call::new(
                Method::PUT,
                format!("/v1/projects/{project}/limits"),
                Repeat::Safe,
            )
        };
        self.call(call).await
    }

    /// `POST /v1/tokens`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_token(&self, request: &CreateToken) -> Result<TokenCreated, Error> {
        self.post("/v1/tokens", request, Repeat::Never).await
    }

    /// `GET /v1/tokens`; operators name the project.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_tokens(
        &self,
        project: Option<&ProjectId>,
        page: &PageQuery,
    ) -> Result<Page<TokenView>, Error> {
        self.get("/v1/tokens".to_owned(), with_project(page.pairs(), project))
            .await
    }

    /// `DELETE /v1/tokens/{token_id}`; operators name the project.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_token(
        &self,
        project: Option<&ProjectId>,
        token_id: TokenId,
    ) -> Result<(), Error> {
        self.delete(
            format!("/v1/tokens/{token_id}"),
            with_project(Vec::new(), project),
        )
        .await
    }

    /// `POST /v1/enrolment-keys`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_enrolment_key(
        &self,
        request: &CreateEnrolmentKey,
    ) -> Result<EnrolmentKeyCreated, Error> {
        self.post("/v1/enrolment-keys", request, Repeat::Never)
            .await
    }

    /// `GET /v1/enrolment-keys`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_enrolment_keys(
        &self,
        page: &PageQuery,
    ) -> Result<Page<EnrolmentKeyView>, Error> {
        self.get("/v1/enrolment-keys".to_owned(), page.pairs())
            .await
    }

    /// `DELETE /v1/enrolment-keys/{enrolment_key_id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_enrolment_key(&self, id: EnrolmentKeyId) -> Result<(), Error> {
        self.delete(format!("/v1/enrolment-keys/{id}"), Vec::new())
            .await
    }

    /// `POST /v1/workers/register`, with an enrolment key as this client's credential, or with
    /// none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn register_worker(
        &self,
        request: &RegisterWorker,
    ) -> Result<WorkerRegistered, Error> {
        self.post("/v1/workers/register", request, Repeat::Never)
            .await
    }

    /// `GET /v1/workers`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_workers(&self, page: &PageQuery) -> Result<Page<WorkerView>, Error> {
        self.get("/v1/workers".to_owned(), page.pairs()).await
    }

    /// `GET /v1/workers/{worker_id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.get(format!("/v1/workers/{id}"), Vec::new()).await
    }

    /// `POST /v1/workers/{worker_id}/approve`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn approve_worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.act(format!("/v1/workers/{id}/approve")).await
    }

    /// `POST /v1/workers/{worker_id}/reject`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn reject_worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.act(format!("/v1/workers/{id}/reject")).await
    }

    /// `POST /v1/workers/{worker_id}/revoke`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.act(format!("/v1/workers/{id}/revoke")).await
    }
}

/// `profile`: profiles of a project, or of the system scope for an operator's credential, and the
/// project's cascade.
impl Client {
    /// `POST /v1/profiles`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_profile(&self, request: &CreateProfile) -> Result<Profile, Error> {
        self.post("/v1/profiles", request, Repeat::Never).await
    }

    /// `GET /v1/profiles`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_profiles(&self, page: &PageQuery) -> Result<Page<Profile>, Error> {
        self.get("/v1/profiles".to_owned(), page.pairs()).await
    }

    /// `GET /v1/profiles/{name}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_profile(&self, name: &ProfileName) -> Result<Profile, Error> {
        self.get(format!("/v1/profiles/{name}"), Vec::new()).await
    }

    /// `PUT /v1/profiles/{name}`: all that the profile says from now on, if it still has the
    /// version `expected`. Never repeated: after a lost answer the profile may have another
    /// version, and the second try would be refused.
    ///
    /// # Errors
    /// See [`Error`]; its status is 412 when the profile has another version.
    pub async fn put_profile(
        &self,
        name: &ProfileName,
        request: &PutProfile,
        expected: u32,
    ) -> Result<Profile, Error> {
        let body = body(request)?;
        let call = Call::new(Method::PUT, format!("/v1/profiles/{name}"), Repeat::Never);
        self.call(Call {
            body: Some(&body),
            if_match: Some(expected),
            ..call
        })
        .await
    }

    /// `DELETE /v1/profiles/{name}`, if it still has the version `expected` where one is given.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_profile(
        &self,
        name: &ProfileName,
        expected: Option<u32>,
    ) -> Result<(), Error> {
        let call = Call::new(
            Method::DELETE,
            format!("/v1/profiles/{name}"),
            Repeat::Never,
        );
        self.call::<serde::de::IgnoredAny>(Call {
            if_match: expected,
            ..call
        })
        .await
        .map(drop)
    }

    /// `GET /v1/profiles/{name}/versions`, newest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_profile_versions(
        &self,
        name: &ProfileName,
        page: &PageQuery,
    ) -> Result<Page<ProfileVersionView>, Error> {
        self.get(format!("/v1/profiles/{name}/versions"), page.pairs())
            .await
    }

    /// `GET /v1/cascade`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_cascade(&self) -> Result<Bindings, Error> {
        self.get("/v1/cascade".to_owned(), Vec::new()).await
    }

    /// `PUT /v1/cascade`: all bindings from now on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn put_cascade(&self, bindings: &Bindings) -> Result<Bindings, Error> {
        let body = body(bindings)?;
        let call = Call::new(Method::PUT, "/v1/cascade".to_owned(), Repeat::Never);
        self.call(Call {
            body: Some(&body),
            ..call
        })
        .await
    }

    /// `POST /v1/cascade/resolve`. It changes nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn resolve_cascade(
        &self,
        request: &ResolveCascade,
    ) -> Result<ResolvedCascade, Error> {
        self.post("/v1/cascade/resolve", request, Repeat::Safe)
            .await
    }
}

/// `revoke`: revocations of keys, and the abortion of what is in flight.
impl Client {
    /// `POST /v1/revocations`. Never repeated: what the first try revoked, the second would find
    /// revoked.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke(&self, request: &Revoke) -> Result<RevocationsCreated, Error> {
        self.post("/v1/revocations", request, Repeat::Never).await
    }

    /// `POST /v1/revocations:preview`. It changes nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn preview_revocation(&self, request: &Revoke) -> Result<RevocationPreview, Error> {
        self.post("/v1/revocations:preview", request, Repeat::Safe)
            .await
    }

    /// `GET /v1/revocations`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_revocations(
        &self,
        state: RevocationState,
        page: &PageQuery,
    ) -> Result<Page<Revocation>, Error> {
        let mut pairs = page.pairs();
        pairs.push(("state", state.name().to_owned()));
        self.get("/v1/revocations".to_owned(), pairs).await
    }

    /// `GET /v1/revocations/{revocation_id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_revocation(&self, id: RevocationId) -> Result<Revocation, Error> {
        self.get(format!("/v1/revocations/{id}"), Vec::new()).await
    }

    /// `POST /v1/revocations/{revocation_id}/lift`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn lift_revocation(&self, id: RevocationId) -> Result<Revocation, Error> {
        self.act(format!("/v1/revocations/{id}/lift")).await
    }

    /// `GET /v1/fan-outs/{fan_out_id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_fan_out(&self, id: FanOutId) -> Result<FanOutView, Error> {
        self.get(format!("/v1/fan-outs/{id}"), Vec::new()).await
    }
}

/// `enqueue`, `runs`, `cancel`, `audit`: what callers of one project use.
impl Client {
    /// `POST /v1/runs`. With an idempotency key, sent twice is enqueued once.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn enqueue(
        &self,
        request: &EnqueueRun,
        idempotency_key: Option<&str>,
    ) -> Result<RunView, Error> {
        let repeat = if idempotency_key.is_some() {
            Repeat::Safe
        } else {
            Repeat::Never
        };
        let body = body(request)?;
        let call = Call::new(Method::POST, "/v1/runs".to_owned(), repeat);
        self.call(Call {
            body: Some(&body),
            idempotency_key,
            ..call
        })
        .await
    }

    /// `GET /v1/runs`, newest first; those in one state, if one is named.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_runs(
        &self,
        state: Option<RunState>,
        page: &PageQuery,
    ) -> Result<Page<RunSummary>, Error> {
        let mut pairs = page.pairs();
        pairs.extend(state.map(|state| ("state", state.name().to_owned())));
        self.get("/v1/runs".to_owned(), pairs).await
    }

    /// `GET /v1/runs/{run_id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_run(&self, run_id: RunId) -> Result<RunView, Error> {
        self.get(format!("/v1/runs/{run_id}"), Vec::new()).await
    }

    /// `POST /v1/runs/{run_id}/cancel`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn cancel_run(&self, run_id: RunId) -> Result<RunView, Error> {
        self.act(format!("/v1/runs/{run_id}/cancel")).await
    }

    /// `POST /v1/runs/{run_id}/steps/{step_id}/retry`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn retry_step(&self, run_id: RunId, step_id: &StepId) -> Result<RunView, Error> {
        self.act(format!("/v1/runs/{run_id}/steps/{step_id}/retry"))
            .await
    }

    /// `GET /v1/audit`, oldest first. A page may be short or empty and have a `next_cursor`: it
    /// ends when it has looked at as many entries as one page may.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_audit(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, Error> {
        let mut pairs = query.page.pairs();
        pairs.extend(query.run_id.map(|run_id| ("run", run_id.to_string())));
        pairs.extend(
            query
                .profile
                .as_ref()
                .map(|profile| ("profile", profile.to_string())),
        );
        pairs.extend(query.key.clone().map(|key| ("key", key)));
        pairs.extend(query.actor.clone().map(|actor| ("actor", actor)));
        pairs.extend((!query.types.is_empty()).then(|| ("type", query.types.join(","))));
        pairs.extend(query.project.clone().map(|project| ("project", project)));
        pairs.extend(query.from.map(|from| ("from", from.to_string())));
        pairs.extend(query.to.map(|to| ("to", to.to_string())));
        self.get("/v1/audit".to_owned(), pairs).await
    }

    /// `GET /v1/audit/{event_id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_audit_entry(
        &self,
        event_id: EventId,
        project: Option<&str>,
    ) -> Result<AuditEntry, Error> {
        let pairs = project
            .map(|project| ("project", project.to_owned()))
            .into_iter()
            .collect();
        self.get(format!("/v1/audit/{event_id}"), pairs).await
    }
}

/// `openapi`: the API itself.
impl Client {
    /// `GET /v1/openapi.json`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_openapi(&self) -> Result<serde_json::Value, Error> {
        self.get("/v1/openapi.json".to_owned(), Vec::new()).await
    }
}

/// `claim`, `report`, `sandbox`: what executors use.
impl Client {
    /// `POST /v1/claims`. Never repeated: a claim whose answer is lost is lost, its lease runs out.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn claim(&self, request: &ClaimStep) -> Result<Claim, Error> {
        self.post("/v1/claims", request, Repeat::Never).await
    }

    /// `POST /v1/heartbeats`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn heartbeat(&self, request: &Heartbeat) -> Result<HeartbeatAnswer, Error> {
        self.post("/v1/heartbeats", request, Repeat::Safe).await
    }

    /// `POST /v1/queue-credentials`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn queue_credentials(&self) -> Result<QueueCredentials, Error> {
        self.call(Call::new(
            Method::POST,
            "/v1/queue-credentials".to_owned(),
            Repeat::Safe,
        ))
        .await
    }

    /// `POST /v1/starts`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(&self, request: &StartStep) -> Result<StepAnswer, Error> {
        self.post("/v1/starts", request, Repeat::Safe).await
    }

    /// `POST /v1/reports`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn report(&self, request: &ReportStep) -> Result<StepAnswer, Error> {
        self.post("/v1/reports", request, Repeat::Safe).await
    }

    /// `POST /v1/sandbox/step`. The route wants a signature of the task's role, which this client
    /// does not make: the call is refused, as tests check.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sandbox_step(&self, request: &LeaseRef) -> Result<SandboxStep, Error> {
        self.post("/v1/sandbox/step", request, Repeat::Never).await
    }
}

impl Client {
    async fn get<T: DeserializeOwned>(&self, path: String, query: Query) -> Result<T, Error> {
        self.call(Call {
            query,
            ..Call::new(Method::GET, path, Repeat::Safe)
        })
        .await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<T, Error> {
        let body = body(request)?;
        self.call(Call {
            body: Some(&body),
            ..Call::new(Method::POST, path.to_owned(), repeat)
        })
        .await
    }

    /// A POST without a body.
    async fn act<T: DeserializeOwned>(&self, path: String) -> Result<T, Error> {
        self.call(Call::new(Method::POST, path, Repeat::Never))
            .await
    }

    /// What stands in the answer does not matter: what was named is gone.
    async fn delete(&self, path: String, query: Query) -> Result<(), Error> {
        let call = Call {
            query,
            ..Call::new(Method::DELETE, path, Repeat::Never)
        };
        self.call::<serde::de::IgnoredAny>(call).await.map(drop)
    }
}

fn with_project(mut query: Query, project: Option<&ProjectId>) -> Query {
    query.extend(project.map(|project| ("project", project.to_string())));
    query
}
