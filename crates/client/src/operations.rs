//! The operations, one method each, in the order of the API's functions.

use reqwest::Method;
use sealfleet_api::types::{
    Claim, ClaimStep, CreateEnrolmentKey, CreateProfile, CreateProject, CreateToken, EnqueueRun, EnrolmentKeyCreated,
    EnrolmentKeyView, Heartbeat, HeartbeatAnswer, LeaseRef, Page, ProjectView, QueueCredentials, RegisterWorker,
    ReportStep, RunSummary, RunView, SandboxStep, StartStep, StepAnswer, TokenCreated, TokenView, WorkerRegistered,
    WorkerView,
};
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{EnrolmentKeyId, ProfileName, ProjectId, RunId, StepId, Timestamp, TokenId, WorkerId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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
    /// Those of this moment and later.
    pub from: Option<Timestamp>,
    /// Those before this moment.
    pub to: Option<Timestamp>,
    /// Which page.
    pub page: PageQuery,
}

type Query = Vec<(&'static str, String)>;

impl PageQuery {
    fn pairs(&self) -> Query {
        let limit = self.limit.map(|limit| ("limit", limit.to_string()));
        self.cursor.clone().map(|cursor| ("cursor", cursor)).into_iter().chain(limit).collect()
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
    pub async fn list_projects(&self, page: &PageQuery) -> Result<Page<ProjectView>, Error> {
        self.get("/v1/projects".to_owned(), page.pairs()).await
    }

    /// `GET /v1/projects/{project}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get_project(&self, project: &ProjectId) -> Result<ProjectView, Error> {
        self.get(format!("/v1/projects/{project}"), Vec::new()).await
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
    pub async fn list_tokens(&self, project: Option<&ProjectId>, page: &PageQuery) -> Result<Page<TokenView>, Error> {
        self.get("/v1/tokens".to_owned(), with_project(page.pairs(), project)).await
    }

    /// `DELETE /v1/tokens/{token_id}`; operators name the project.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_token(&self, project: Option<&ProjectId>, token_id: TokenId) -> Result<(), Error> {
        self.delete(format!("/v1/tokens/{token_id}"), with_project(Vec::new(), project)).await
    }

    /// `POST /v1/enrolment-keys`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_enrolment_key(&self, request: &CreateEnrolmentKey) -> Result<EnrolmentKeyCreated, Error> {
        self.post("/v1/enrolment-keys", request, Repeat::Never).await
    }

    /// `GET /v1/enrolment-keys`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_enrolment_keys(&self, page: &PageQuery) -> Result<Page<EnrolmentKeyView>, Error> {
        self.get("/v1/enrolment-keys".to_owned(), page.pairs()).await
    }

    /// `DELETE /v1/enrolment-keys/{enrolment_key_id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn revoke_enrolment_key(&self, id: EnrolmentKeyId) -> Result<(), Error> {
        self.delete(format!("/v1/enrolment-keys/{id}"), Vec::new()).await
    }

    /// `POST /v1/workers/register`, with an enrolment key as this client's credential, or with none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn register_worker(&self, request: &RegisterWorker) -> Result<WorkerRegistered, Error> {
        self.post("/v1/workers/register", request, Repeat::Never).await
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

/// `profile`, `enqueue`, `runs`, `cancel`, `audit`: what callers of one project use.
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

    /// `POST /v1/runs`. With an idempotency key, sent twice is enqueued once.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn enqueue(&self, request: &EnqueueRun, idempotency_key: Option<&str>) -> Result<RunView, Error> {
        let repeat = if idempotency_key.is_some() { Repeat::Safe } else { Repeat::Never };
        let body = body(request)?;
        let (method, path) = (Method::POST, "/v1/runs".to_owned());
        self.call(Call { method, path, query: Vec::new(), body: Some(&body), idempotency_key, repeat }).await
    }

    /// `GET /v1/runs`, newest first; those in one state, if one is named.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_runs(&self, state: Option<RunState>, page: &PageQuery) -> Result<Page<RunSummary>, Error> {
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
        self.act(format!("/v1/runs/{run_id}/steps/{step_id}/retry")).await
    }

    /// `GET /v1/audit`, oldest first.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list_audit(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, Error> {
        let mut pairs = query.page.pairs();
        pairs.extend(query.run_id.map(|run_id| ("run", run_id.to_string())));
        pairs.extend(query.from.map(|from| ("from", from.to_string())));
        pairs.extend(query.to.map(|to| ("to", to.to_string())));
        self.get("/v1/audit".to_owned(), pairs).await
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
        let call = Call {
            method: Method::POST,
            path: "/v1/queue-credentials".to_owned(),
            query: Vec::new(),
            body: None,
            idempotency_key: None,
            repeat: Repeat::Safe,
        };
        self.call(call).await
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

    /// `POST /v1/sandbox/step`. The route wants a signature of the task's role, which this client does not make: the
    /// call is refused, as tests check.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sandbox_step(&self, request: &LeaseRef) -> Result<SandboxStep, Error> {
        self.post("/v1/sandbox/step", request, Repeat::Never).await
    }
}

impl Client {
    async fn get<T: DeserializeOwned>(&self, path: String, query: Query) -> Result<T, Error> {
        let (method, repeat) = (Method::GET, Repeat::Safe);
        self.call(Call { method, path, query, body: None, idempotency_key: None, repeat }).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<T, Error> {
        let body = body(request)?;
        let (method, path) = (Method::POST, path.to_owned());
        self.call(Call { method, path, query: Vec::new(), body: Some(&body), idempotency_key: None, repeat }).await
    }

    /// A POST without a body.
    async fn act<T: DeserializeOwned>(&self, path: String) -> Result<T, Error> {
        let (method, body) = (Method::POST, None::<&Value>);
        self.call(Call { method, path, query: Vec::new(), body, idempotency_key: None, repeat: Repeat::Never }).await
    }

    /// What stands in the answer does not matter: what was named is gone.
    async fn delete(&self, path: String, query: Query) -> Result<(), Error> {
        let method = Method::DELETE;
        let call = Call { method, path, query, body: None, idempotency_key: None, repeat: Repeat::Never };
        self.call::<serde::de::IgnoredAny>(call).await.map(drop)
    }
}

fn with_project(mut query: Query, project: Option<&ProjectId>) -> Query {
    query.extend(project.map(|project| ("project", project.to_string())));
    query
}
