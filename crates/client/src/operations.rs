//! The operations, one method each, in the order of the API's functions. Every method fails with
//! an [`Error`]; paths come from the API's table of operations.

use sealfleet_api::operations as ops;
use sealfleet_api::types::{
    ActivityView, Approval, ApprovalView, ApprovalsOf, ArtifactsView, AskIdentityToken,
    AskSandboxToken, Claim, ClaimStep, Contain, ContainmentView, CreateEnrolmentKey, CreateProfile,
    CreateProject, CreateToken, CreateUpload, Decide, Discovery, EgressCeiling, EnqueueRun,
    EnrolmentKeyCreated, EnrolmentKeyView, FanOutView, FetchInputs, Governance, Heartbeat,
    HeartbeatAnswer, IdentityToken, Keys, LeaseRef, LimitsView, OpenWork, OutputCredentials,
    OutputPage, Page, PreviewContainment, PreviewRevocation, PricesView, ProfileContent,
    ProfileVersionView, ProjectDeletion, ProjectSummary, ProjectView, QueueCredentials,
    RegisterWorker, RegisterWorkflow, ReportStep, ResolveCascade, ResolvedCascade, ResultView,
    RevocationPreview, RevocationState, RevocationsCreated, Revoke, RunSummary, RunView,
    RunWorkflow, SandboxEnd, SandboxHeartbeat, SandboxHeartbeatAnswer, SandboxLease, SandboxStep,
    SetEgressCeiling, SetGovernance, SetLimits, StartStep, StepAnswer, StepInputs, TokenCreated,
    TokenView, UpdateProject, UploadCreated, UsageRow, WhoamiView, WorkerDetail, WorkerRegistered,
    WorkerSummary, WorkerView, WorkflowVersionView, WorkflowView,
};
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::egress::Policy;
use sealfleet_domain::output::Stream;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{
    ApprovalId, ContainmentId, EnrolmentKeyId, EventId, FanOutId, ProfileName, ProfileRef,
    ProjectId, RevocationId, RunId, StepId, Timestamp, TokenId, WorkerId, WorkflowName,
};
use serde::de::IgnoredAny;

use crate::client::{Call, Client};
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
    /// Those that are part of one containment.
    pub containment: Option<ContainmentId>,
    /// Those with an event of one of these names; all if none is given.
    pub types: Vec<String>,
    /// The project whose trail to read; callers can read only their own.
    pub project: Option<String>,
    /// Those of this moment and later.
    pub from: Option<Timestamp>,
    /// Those before this moment.
    pub to: Option<Timestamp>,
    /// Which page.
    pub page: PageQuery,
}

/// Which runs of a project to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Those in one state.
    pub state: Option<RunState>,
    /// Those of one workflow.
    pub workflow: Option<WorkflowName>,
    /// Those that this profile was resolved for when they were enqueued.
    pub profile: Option<ProfileRef>,
    /// Those with a label of this key and value.
    pub label: Option<(String, String)>,
    /// Those of this moment and later.
    pub from: Option<Timestamp>,
    /// Those before this moment.
    pub to: Option<Timestamp>,
    /// Which page.
    pub page: PageQuery,
}

/// Which sums of what steps have used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// From this UTC day on, `YYYY-MM-DD`.
    pub from: Option<String>,
    /// Up to this one.
    pub to: Option<String>,
    /// By `day`, `workflow`, `profile`, `model`; by day if none is given.
    pub group_by: Vec<String>,
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
    pub async fn create_project(&self, request: &CreateProject) -> Result<ProjectView, Error> {
        self.call(Call::new(&ops::CREATE_PROJECT, ()).body(request)?)
            .await
    }

    /// `GET /v1/projects`.
    pub async fn list_projects(&self, page: &PageQuery) -> Result<Page<ProjectSummary>, Error> {
        self.call(Call::new(&ops::LIST_PROJECTS, ()).query(page.pairs()))
            .await
    }

    /// `GET /v1/activity`, by an operator.
    pub async fn get_activity(&self) -> Result<ActivityView, Error> {
        self.call(Call::new(&ops::GET_ACTIVITY, ())).await
    }

    /// `GET /v1/projects/{project}`.
    pub async fn get_project(&self, project: &ProjectId) -> Result<ProjectView, Error> {
        self.call(Call::new(&ops::GET_PROJECT, (project.clone(),)))
            .await
    }

    /// `PUT /v1/projects/{project}`, by an operator: replaces the pools of version `expected`.
    pub async fn update_project(
        &self,
        project: &ProjectId,
        request: &UpdateProject,
        expected: u32,
    ) -> Result<ProjectView, Error> {
        let call = Call::new(&ops::UPDATE_PROJECT, (project.clone(),)).if_match(Some(expected));
        self.call(call.body(request)?).await
    }

    /// `DELETE /v1/projects/{project}`, by an operator: to be repeated until it is deleted. With
    /// `drain` it is closed although runs are unfinished.
    pub async fn delete_project(
        &self,
        project: &ProjectId,
        drain: bool,
    ) -> Result<ProjectDeletion, Error> {
        let query = drain.then(|| ("drain", "true".to_owned()));
        self.call(Call::new(&ops::DELETE_PROJECT, (project.clone(),)).query(query))
            .await
    }

    /// `PUT /v1/projects/{project}/limits`, by an operator. Without `limits` the default applies.
    pub async fn set_limits(
        &self,
        project: &ProjectId,
        limits: Option<Limits>,
    ) -> Result<LimitsView, Error> {
        let limits = SetLimits { limits };
        self.call(Call::new(&ops::SET_LIMITS, (project.clone(),)).body(&limits)?)
            .await
    }

    /// `PUT /v1/projects/{project}/egress-ceiling`. `None` lets profiles allow anything but `open`.
    pub async fn set_egress_ceiling(
        &self,
        project: &ProjectId,
        ceiling: Option<Policy>,
    ) -> Result<EgressCeiling, Error> {
        let call = Call::new(&ops::SET_EGRESS_CEILING, (project.clone(),));
        self.call(call.body(&SetEgressCeiling { ceiling })?).await
    }

    /// `POST /v1/tokens`.
    pub async fn create_token(&self, request: &CreateToken) -> Result<TokenCreated, Error> {
        self.call(Call::new(&ops::CREATE_TOKEN, ()).body(request)?)
            .await
    }

    /// `GET /v1/tokens`; operators name the project.
    pub async fn list_tokens(
        &self,
        project: Option<&ProjectId>,
        page: &PageQuery,
    ) -> Result<Page<TokenView>, Error> {
        let call = Call::new(&ops::LIST_TOKENS, ()).query(page.pairs());
        self.call(call.query(named(project))).await
    }

    /// `DELETE /v1/tokens/{token_id}`; operators name the project.
    pub async fn revoke_token(
        &self,
        project: Option<&ProjectId>,
        token_id: TokenId,
    ) -> Result<(), Error> {
        self.delete(Call::new(&ops::REVOKE_TOKEN, (token_id,)).query(named(project)))
            .await
    }

    /// `GET /v1/whoami`.
    pub async fn get_whoami(&self) -> Result<WhoamiView, Error> {
        self.call(Call::new(&ops::GET_WHOAMI, ())).await
    }

    /// `POST /v1/enrolment-keys`.
    pub async fn create_enrolment_key(
        &self,
        request: &CreateEnrolmentKey,
    ) -> Result<EnrolmentKeyCreated, Error> {
        self.call(Call::new(&ops::CREATE_ENROLMENT_KEY, ()).body(request)?)
            .await
    }

    /// `GET /v1/enrolment-keys`.
    pub async fn list_enrolment_keys(
        &self,
        page: &PageQuery,
    ) -> Result<Page<EnrolmentKeyView>, Error> {
        self.call(Call::new(&ops::LIST_ENROLMENT_KEYS, ()).query(page.pairs()))
            .await
    }

    /// `DELETE /v1/enrolment-keys/{enrolment_key_id}`.
    pub async fn revoke_enrolment_key(&self, id: EnrolmentKeyId) -> Result<(), Error> {
        self.delete(Call::new(&ops::REVOKE_ENROLMENT_KEY, (id,)))
            .await
    }

    /// `POST /v1/workers/register`, with an enrolment key as this client's credential, or with
    /// none.
    pub async fn register_worker(
        &self,
        request: &RegisterWorker,
    ) -> Result<WorkerRegistered, Error> {
        self.call(Call::new(&ops::REGISTER_WORKER, ()).body(request)?)
            .await
    }

    /// `GET /v1/workers`.
    pub async fn list_workers(&self, page: &PageQuery) -> Result<Page<WorkerSummary>, Error> {
        self.call(Call::new(&ops::LIST_WORKERS, ()).query(page.pairs()))
            .await
    }

    /// `GET /v1/workers/{worker_id}`.
    pub async fn get_worker(&self, id: WorkerId) -> Result<WorkerDetail, Error> {
        self.call(Call::new(&ops::GET_WORKER, (id,))).await
    }

    /// `POST /v1/workers/{worker_id}/approve`.
    pub async fn approve_worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.call(Call::new(&ops::APPROVE_WORKER, (id,))).await
    }

    /// `POST /v1/workers/{worker_id}/reject`.
    pub async fn reject_worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.call(Call::new(&ops::REJECT_WORKER, (id,))).await
    }

    /// `POST /v1/workers/{worker_id}/revoke`.
    pub async fn revoke_worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.call(Call::new(&ops::REVOKE_WORKER, (id,))).await
    }

    /// `POST /v1/workers/{worker_id}/drain`.
    pub async fn drain_worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.call(Call::new(&ops::DRAIN_WORKER, (id,))).await
    }

    /// `POST /v1/workers/{worker_id}/resume`.
    pub async fn resume_worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.call(Call::new(&ops::RESUME_WORKER, (id,))).await
    }
}

/// `fleet` and `enqueue`: registered workflows, approvals, and how the project is governed.
impl Client {
    /// `POST /v1/workflows`. Somebody else has to approve it.
    pub async fn register_workflow(
        &self,
        request: &RegisterWorkflow,
    ) -> Result<WorkflowVersionView, Error> {
        self.call(Call::new(&ops::REGISTER_WORKFLOW, ()).body(request)?)
            .await
    }

    /// `GET /v1/workflows`.
    pub async fn list_workflows(&self, page: &PageQuery) -> Result<Page<WorkflowView>, Error> {
        self.call(Call::new(&ops::LIST_WORKFLOWS, ()).query(page.pairs()))
            .await
    }

    /// `GET /v1/workflows/{workflow}`.
    pub async fn get_workflow(&self, name: &WorkflowName) -> Result<WorkflowView, Error> {
        self.call(Call::new(&ops::GET_WORKFLOW, (name.clone(),)))
            .await
    }

    /// `GET /v1/workflows/{workflow}/versions`, newest first.
    pub async fn list_workflow_versions(
        &self,
        name: &WorkflowName,
        page: &PageQuery,
    ) -> Result<Page<WorkflowVersionView>, Error> {
        self.call(Call::new(&ops::LIST_WORKFLOW_VERSIONS, (name.clone(),)).query(page.pairs()))
            .await
    }

    /// `POST /v1/workflows/{workflow}/retire`.
    pub async fn retire_workflow(&self, name: &WorkflowName) -> Result<WorkflowView, Error> {
        self.call(Call::new(&ops::RETIRE_WORKFLOW, (name.clone(),)))
            .await
    }

    /// `POST /v1/workflows/{workflow}/runs`. With an idempotency key, a retry never creates a
    /// second run.
    pub async fn run_workflow(
        &self,
        name: &WorkflowName,
        request: &RunWorkflow,
        idempotency_key: Option<&str>,
    ) -> Result<RunView, Error> {
        let call = Call::new(&ops::RUN_WORKFLOW, (name.clone(),)).idempotency_key(idempotency_key);
        self.call(call.body(request)?).await
    }

    /// `GET /v1/approvals`: those that wait, or those that are decided.
    pub async fn list_approvals(
        &self,
        of: ApprovalsOf,
        page: &PageQuery,
    ) -> Result<Page<Approval>, Error> {
        let state = ("state", of.name().to_owned());
        let call = Call::new(&ops::LIST_APPROVALS, ()).query(page.pairs());
        self.call(call.query([state])).await
    }

    /// `GET /v1/approvals/{approval}`.
    pub async fn get_approval(&self, id: &ApprovalId) -> Result<ApprovalView, Error> {
        self.call(Call::new(&ops::GET_APPROVAL, (id.clone(),)))
            .await
    }

    /// `POST /v1/approvals/{approval}/decision`.
    pub async fn decide_approval(
        &self,
        id: &ApprovalId,
        request: &Decide,
    ) -> Result<Approval, Error> {
        self.call(Call::new(&ops::DECIDE_APPROVAL, (id.clone(),)).body(request)?)
            .await
    }

    /// `GET /v1/governance`.
    pub async fn get_governance(&self) -> Result<Governance, Error> {
        self.call(Call::new(&ops::GET_GOVERNANCE, ())).await
    }

    /// `PUT /v1/governance`.
    pub async fn put_governance(&self, governance: &SetGovernance) -> Result<Governance, Error> {
        self.call(Call::new(&ops::PUT_GOVERNANCE, ()).body(governance)?)
            .await
    }
}

/// `profile`: profiles of a project, or of the system scope for an operator's credential, and the
/// project's cascade.
impl Client {
    /// `POST /v1/profiles`.
    pub async fn create_profile(&self, request: &CreateProfile) -> Result<Profile, Error> {
        self.call(Call::new(&ops::CREATE_PROFILE, ()).body(request)?)
            .await
    }

    /// `GET /v1/profiles`.
    pub async fn list_profiles(&self, page: &PageQuery) -> Result<Page<Profile>, Error> {
        self.call(Call::new(&ops::LIST_PROFILES, ()).query(page.pairs()))
            .await
    }

    /// `GET /v1/profiles/{name}`.
    pub async fn get_profile(&self, name: &ProfileName) -> Result<Profile, Error> {
        self.call(Call::new(&ops::GET_PROFILE, (name.clone(),)))
            .await
    }

    /// `PUT /v1/profiles/{name}`: replaces the profile's content, if it still has the version
    /// `expected`; otherwise the error's status is 412. Never retried: after a lost answer the
    /// profile may have the next version, and the second try would be refused.
    pub async fn put_profile(
        &self,
        name: &ProfileName,
        request: &ProfileContent,
        expected: u32,
    ) -> Result<Profile, Error> {
        let call = Call::new(&ops::PUT_PROFILE, (name.clone(),)).if_match(Some(expected));
        self.call(call.body(request)?).await
    }

    /// `DELETE /v1/profiles/{name}`; with `expected`, only if it still has that version.
    pub async fn delete_profile(
        &self,
        name: &ProfileName,
        expected: Option<u32>,
    ) -> Result<(), Error> {
        self.delete(Call::new(&ops::DELETE_PROFILE, (name.clone(),)).if_match(expected))
            .await
    }

    /// `GET /v1/profiles/{name}/versions`, newest first.
    pub async fn list_profile_versions(
        &self,
        name: &ProfileName,
        page: &PageQuery,
    ) -> Result<Page<ProfileVersionView>, Error> {
        self.call(Call::new(&ops::LIST_PROFILE_VERSIONS, (name.clone(),)).query(page.pairs()))
            .await
    }

    /// `GET /v1/cascade`.
    pub async fn get_cascade(&self) -> Result<Bindings, Error> {
        self.call(Call::new(&ops::GET_CASCADE, ())).await
    }

    /// `PUT /v1/cascade`: replaces all bindings.
    pub async fn put_cascade(&self, bindings: &Bindings) -> Result<Bindings, Error> {
        self.call(Call::new(&ops::PUT_CASCADE, ()).body(bindings)?)
            .await
    }

    /// `POST /v1/cascade/resolve`. It changes nothing.
    pub async fn resolve_cascade(
        &self,
        request: &ResolveCascade,
    ) -> Result<ResolvedCascade, Error> {
        self.call(Call::new(&ops::RESOLVE_CASCADE, ()).body(request)?)
            .await
    }
}

/// `revoke`: revocations of keys, and the runs that they abort.
impl Client {
    /// `POST /v1/revocations`. Never retried: the second try would find the keys revoked already.
    pub async fn create_revocations(&self, request: &Revoke) -> Result<RevocationsCreated, Error> {
        self.call(Call::new(&ops::CREATE_REVOCATIONS, ()).body(request)?)
            .await
    }

    /// `POST /v1/revocations:preview`. It changes nothing.
    pub async fn preview_revocation(
        &self,
        request: &PreviewRevocation,
    ) -> Result<RevocationPreview, Error> {
        self.call(Call::new(&ops::PREVIEW_REVOCATION, ()).body(request)?)
            .await
    }

    /// `GET /v1/revocations`.
    pub async fn list_revocations(
        &self,
        state: RevocationState,
        page: &PageQuery,
    ) -> Result<Page<Revocation>, Error> {
        let state = ("state", state.name().to_owned());
        let call = Call::new(&ops::LIST_REVOCATIONS, ()).query(page.pairs());
        self.call(call.query([state])).await
    }

    /// `GET /v1/revocations/{revocation_id}`.
    pub async fn get_revocation(&self, id: RevocationId) -> Result<Revocation, Error> {
        self.call(Call::new(&ops::GET_REVOCATION, (id,))).await
    }

    /// `POST /v1/revocations/{revocation_id}/lift`.
    pub async fn lift_revocation(&self, id: RevocationId) -> Result<Revocation, Error> {
        self.call(Call::new(&ops::LIFT_REVOCATION, (id,))).await
    }

    /// `POST /v1/containments`. With an idempotency key, a retry never begins a second one.
    pub async fn create_containment(
        &self,
        request: &Contain,
        idempotency_key: Option<&str>,
    ) -> Result<ContainmentView, Error> {
        let call = Call::new(&ops::CREATE_CONTAINMENT, ()).idempotency_key(idempotency_key);
        self.call(call.body(request)?).await
    }

    /// `POST /v1/containments:preview`. It changes nothing.
    pub async fn preview_containment(
        &self,
        request: &PreviewContainment,
    ) -> Result<OpenWork, Error> {
        self.call(Call::new(&ops::PREVIEW_CONTAINMENT, ()).body(request)?)
            .await
    }

    /// `GET /v1/containments`, newest first.
    pub async fn list_containments(
        &self,
        page: &PageQuery,
    ) -> Result<Page<ContainmentView>, Error> {
        self.call(Call::new(&ops::LIST_CONTAINMENTS, ()).query(page.pairs()))
            .await
    }

    /// `GET /v1/containments/{containment_id}`.
    pub async fn get_containment(&self, id: ContainmentId) -> Result<ContainmentView, Error> {
        self.call(Call::new(&ops::GET_CONTAINMENT, (id,))).await
    }

    /// `GET /v1/fan-outs/{fan_out_id}`.
    pub async fn get_fan_out(&self, id: FanOutId) -> Result<FanOutView, Error> {
        self.call(Call::new(&ops::GET_FAN_OUT, (id,))).await
    }
}

/// `enqueue`, `runs`, `cancel`, `audit`: calls of a project's users.
impl Client {
    /// `POST /v1/runs`. With an idempotency key, a retry never creates a second run.
    pub async fn enqueue_run(
        &self,
        request: &EnqueueRun,
        idempotency_key: Option<&str>,
    ) -> Result<RunView, Error> {
        let call = Call::new(&ops::ENQUEUE_RUN, ()).idempotency_key(idempotency_key);
        self.call(call.body(request)?).await
    }

    /// `GET /v1/runs`, newest first; those in one state, if one is named.
    pub async fn list_runs(
        &self,
        state: Option<RunState>,
        page: &PageQuery,
    ) -> Result<Page<RunSummary>, Error> {
        let query = RunQuery {
            state,
            page: page.clone(),
            ..RunQuery::default()
        };
        self.list_runs_with(&query).await
    }

    /// The same; those that all filters let through. A page can be short, or empty, and still have
    /// a `next_cursor`.
    pub async fn list_runs_with(&self, query: &RunQuery) -> Result<Page<RunSummary>, Error> {
        let RunQuery {
            state,
            workflow,
            profile,
            label,
            from,
            to,
            page,
        } = query;
        let label = label.as_ref();
        let pairs = [
            ("state", state.map(|state| state.name().to_owned())),
            ("workflow", workflow.as_ref().map(ToString::to_string)),
            ("profile", profile.as_ref().map(ToString::to_string)),
            ("label", label.map(|(key, value)| format!("{key}={value}"))),
            ("from", from.map(|at| at.to_string())),
            ("to", to.map(|at| at.to_string())),
        ];
        let pairs = pairs
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| (name, value)));
        let call = Call::new(&ops::LIST_RUNS, ()).query(page.pairs());
        self.call(call.query(pairs)).await
    }

    /// `POST /v1/uploads`: where to put content. [`Client::upload`] puts it there, too.
    pub async fn create_upload(&self, request: &CreateUpload) -> Result<UploadCreated, Error> {
        self.call(Call::new(&ops::CREATE_UPLOAD, ()).body(request)?)
            .await
    }

    /// `GET /v1/runs/{run_id}`.
    pub async fn get_run(&self, run_id: RunId) -> Result<RunView, Error> {
        self.call(Call::new(&ops::GET_RUN, (run_id,))).await
    }

    /// `GET /v1/runs/{run_id}/steps/{step_id}/output`: what follows `cursor`, of one stream or
    /// both.
    pub async fn get_output(
        &self,
        run_id: RunId,
        step_id: &StepId,
        stream: Option<Stream>,
        cursor: Option<&str>,
    ) -> Result<OutputPage, Error> {
        let stream = stream.map(|stream| ("stream", stream.name().to_owned()));
        let cursor = cursor.map(|cursor| ("cursor", cursor.to_owned()));
        let call = Call::new(&ops::GET_OUTPUT, (run_id, step_id.clone()));
        self.call(call.query(stream).query(cursor)).await
    }

    /// `GET /v1/runs/{run_id}/steps/{step_id}/result`.
    pub async fn get_result(&self, run_id: RunId, step_id: &StepId) -> Result<ResultView, Error> {
        self.call(Call::new(&ops::GET_RESULT, (run_id, step_id.clone())))
            .await
    }

    /// `GET /v1/runs/{run_id}/steps/{step_id}/artifacts`: what follows `cursor`.
    /// [`Client::fetch`] gets a file of it.
    pub async fn get_artifacts(
        &self,
        run_id: RunId,
        step_id: &StepId,
        cursor: Option<&str>,
    ) -> Result<ArtifactsView, Error> {
        let cursor = cursor.map(|cursor| ("cursor", cursor.to_owned()));
        let call = Call::new(&ops::GET_ARTIFACTS, (run_id, step_id.clone()));
        self.call(call.query(cursor)).await
    }

    /// `POST /v1/runs/{run_id}/cancel`.
    pub async fn cancel_run(&self, run_id: RunId) -> Result<RunView, Error> {
        self.call(Call::new(&ops::CANCEL_RUN, (run_id,))).await
    }

    /// `POST /v1/runs/{run_id}/steps/{step_id}/retry`.
    pub async fn retry_step(&self, run_id: RunId, step_id: &StepId) -> Result<RunView, Error> {
        self.call(Call::new(&ops::RETRY_STEP, (run_id, step_id.clone())))
            .await
    }

    /// `GET /v1/audit`, oldest first. A page can be short, or empty, and still have a
    /// `next_cursor`: the API looks at a limited number of entries for each page.
    pub async fn list_audit_entries(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, Error> {
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
        let containment = query.containment.map(|id| ("containment", id.to_string()));
        pairs.extend(containment);
        pairs.extend((!query.types.is_empty()).then(|| ("type", query.types.join(","))));
        pairs.extend(query.project.clone().map(|project| ("project", project)));
        pairs.extend(query.from.map(|from| ("from", from.to_string())));
        pairs.extend(query.to.map(|to| ("to", to.to_string())));
        self.call(Call::new(&ops::LIST_AUDIT_ENTRIES, ()).query(pairs))
            .await
    }

    /// `GET /v1/usage`. For operators a page can be short, or empty, and still have a
    /// `next_cursor`.
    pub async fn get_usage(&self, query: &UsageQuery) -> Result<Page<UsageRow>, Error> {
        let mut pairs = query.page.pairs();
        pairs.extend(query.from.clone().map(|day| ("from", day)));
        pairs.extend(query.to.clone().map(|day| ("to", day)));
        let by = query.group_by.join(",");
        pairs.extend((!by.is_empty()).then_some(("group_by", by)));
        self.call(Call::new(&ops::GET_USAGE, ()).query(pairs)).await
    }

    /// `GET /v1/usage/prices`.
    pub async fn get_prices(&self) -> Result<PricesView, Error> {
        self.call(Call::new(&ops::GET_PRICES, ())).await
    }

    /// `GET /v1/audit/{event_id}`.
    pub async fn get_audit_entry(
        &self,
        event_id: EventId,
        project: Option<&str>,
    ) -> Result<AuditEntry, Error> {
        let project = project.map(|project| ("project", project.to_owned()));
        self.call(Call::new(&ops::GET_AUDIT_ENTRY, (event_id,)).query(project))
            .await
    }
}

/// `openapi`: the API itself.
impl Client {
    /// `GET /v1/openapi.json`.
    pub async fn get_openapi(&self) -> Result<serde_json::Value, Error> {
        self.call(Call::new(&ops::GET_OPENAPI, ())).await
    }
}

/// `claim`, `report`, `sandbox`: calls of executors.
impl Client {
    /// `POST /v1/claims`. Never retried: a claim whose answer is lost ends when its lease expires.
    pub async fn claim_step(&self, request: &ClaimStep) -> Result<Claim, Error> {
        self.call(Call::new(&ops::CLAIM_STEP, ()).body(request)?)
            .await
    }

    /// `POST /v1/heartbeats`.
    pub async fn send_heartbeat(&self, request: &Heartbeat) -> Result<HeartbeatAnswer, Error> {
        self.call(Call::new(&ops::SEND_HEARTBEAT, ()).body(request)?)
            .await
    }

    /// `POST /v1/queue-credentials`.
    pub async fn get_queue_credentials(&self) -> Result<QueueCredentials, Error> {
        self.call(Call::new(&ops::GET_QUEUE_CREDENTIALS, ())).await
    }

    /// `POST /v1/output-credentials`.
    pub async fn get_output_credentials(
        &self,
        request: &LeaseRef,
    ) -> Result<OutputCredentials, Error> {
        self.call(Call::new(&ops::GET_OUTPUT_CREDENTIALS, ()).body(request)?)
            .await
    }

    /// `POST /v1/step-inputs`.
    pub async fn get_step_inputs(&self, request: &FetchInputs) -> Result<StepInputs, Error> {
        self.call(Call::new(&ops::GET_STEP_INPUTS, ()).body(request)?)
            .await
    }

    /// `POST /v1/identity-tokens`.
    pub async fn get_identity_token(
        &self,
        request: &AskIdentityToken,
    ) -> Result<IdentityToken, Error> {
        self.call(Call::new(&ops::GET_IDENTITY_TOKEN, ()).body(request)?)
            .await
    }

    /// `POST /v1/starts`.
    pub async fn start_step(&self, request: &StartStep) -> Result<StepAnswer, Error> {
        self.call(Call::new(&ops::START_STEP, ()).body(request)?)
            .await
    }

    /// `POST /v1/reports`.
    pub async fn report_step(&self, request: &ReportStep) -> Result<StepAnswer, Error> {
        self.call(Call::new(&ops::REPORT_STEP, ()).body(request)?)
            .await
    }

    /// `POST /v1/sandbox/step`. The route requires a signature of the task's role, which this
    /// client does not make: the call is refused, as tests check.
    pub async fn get_sandbox_step(&self, request: &SandboxLease) -> Result<SandboxStep, Error> {
        self.call(Call::new(&ops::GET_SANDBOX_STEP, ()).body(request)?)
            .await
    }

    /// `POST /v1/sandbox/heartbeat`. Refused, as [`Self::get_sandbox_step`].
    pub async fn send_sandbox_heartbeat(
        &self,
        request: &SandboxHeartbeat,
    ) -> Result<SandboxHeartbeatAnswer, Error> {
        self.call(Call::new(&ops::SEND_SANDBOX_HEARTBEAT, ()).body(request)?)
            .await
    }

    /// `POST /v1/sandbox/end`. Refused, as [`Self::get_sandbox_step`].
    pub async fn end_sandbox(&self, request: &SandboxEnd) -> Result<(), Error> {
        self.call::<IgnoredAny>(Call::new(&ops::END_SANDBOX, ()).body(request)?)
            .await
            .map(drop)
    }
}

impl Client {
    /// `POST /v1/sandbox/token`. Refused, as [`Self::get_sandbox_step`].
    pub async fn get_sandbox_token(
        &self,
        request: &AskSandboxToken,
    ) -> Result<IdentityToken, Error> {
        self.call(Call::new(&ops::GET_SANDBOX_TOKEN, ()).body(request)?)
            .await
    }

    /// `GET /.well-known/openid-configuration`.
    pub async fn get_discovery(&self) -> Result<Discovery, Error> {
        self.call(Call::new(&ops::GET_DISCOVERY, ())).await
    }

    /// `GET /.well-known/jwks.json`.
    pub async fn get_keys(&self) -> Result<Keys, Error> {
        self.call(Call::new(&ops::GET_KEYS, ())).await
    }
}

impl Client {
    /// Ignores the answer's body.
    async fn delete(&self, call: Call) -> Result<(), Error> {
        self.call::<IgnoredAny>(call).await.map(drop)
    }
}

fn named(project: Option<&ProjectId>) -> Option<(&'static str, String)> {
    project.map(|project| ("project", project.to_string()))
}
