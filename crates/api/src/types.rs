//! Requests and answers. Optional fields that are absent mean the default that is named beside
//! them.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_domain::access::Role;
use sealfleet_domain::acl::Acl;
use sealfleet_domain::cascade::{Origin, Overrides};
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::identity::{ProfileUse, SecretRef};
#[cfg(feature = "openapi")]
use sealfleet_domain::limits;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::revocation::{Counts, Revocation};
use sealfleet_domain::run::{AbortReason, DeadReason, Failure, Fence, Mode, OnDrift, RunState};
use sealfleet_domain::{
    EnrolmentKeyId, FanOutId, PoolName, ProfileName, ProfileRef, ProjectId, Reference,
    RevocationId, RunId, StepId, Timestamp, TokenId, ToolName, WorkerId, WorkflowName,
};
use serde::{Deserialize, Serialize};

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "PageOf{T}"))]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Send it as `cursor` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `POST /v1/projects`, by an operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// The project's id; its queues and roles must already be deployed.
    pub project: ProjectId,
    /// Its pools by name.
    #[cfg_attr(feature = "openapi", schemars(extend("minProperties" = 1, "maxProperties" = limits::POOLS)))]
    pub pools: BTreeMap<PoolName, CreatePool>,
}

/// A pool of a new project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CreatePool {
    /// For workers in the customer's network.
    Pull {},
    /// For Fargate tasks.
    Fargate {
        /// The sandbox image by digest.
        #[cfg_attr(feature = "openapi", schemars(length(max = limits::IMAGE_BYTES), regex(pattern = r"^[^@]*@sha256:[0-9a-fA-F]{64}$")))]
        image: String,
        /// CPU units of a task.
        #[serde(default = "default_cpu")]
        #[cfg_attr(feature = "openapi", schemars(extend("enum" = [256, 512, 1024, 2048, 4096])))]
        cpu: u32,
        /// Memory of a task in MiB.
        #[serde(default = "default_memory")]
        #[cfg_attr(feature = "openapi", schemars(range(min = 512, max = 30720)))]
        memory_mib: u32,
        /// Tasks at once.
        #[serde(default = "default_pool_concurrency")]
        #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::MAX_CONCURRENT)))]
        max_concurrent: u32,
        /// What its tasks can do.
        #[serde(default)]
        #[cfg_attr(
            feature = "openapi",
            schemars(schema_with = "sealfleet_domain::schema::labels")
        )]
        labels: BTreeMap<String, String>,
        /// The models that its tasks can reach.
        #[serde(default)]
        #[cfg_attr(
            feature = "openapi",
            schemars(schema_with = "sealfleet_domain::schema::models")
        )]
        models: Vec<String>,
    },
}

const fn default_cpu() -> u32 {
    256
}
const fn default_memory() -> u32 {
    512
}
const fn default_pool_concurrency() -> u32 {
    100
}

/// A project in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProjectSummary {
    /// Its id.
    pub project: ProjectId,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProjectView {
    /// Its id.
    pub project: ProjectId,
    /// Its pools by name.
    pub pools: BTreeMap<PoolName, PoolView>,
    /// How often its callers may call.
    pub limits: LimitsView,
    /// When it was created.
    pub created_at: Timestamp,
}

/// How often a project's callers may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct LimitsView {
    /// Requests each second, in the long run.
    pub requests_per_second: u32,
    /// Requests at once.
    pub burst: u32,
    /// Whether an operator set them for this project; if not, they are the deployment's default.
    pub own: bool,
}

/// `PUT /v1/projects/{project}/limits`, by an operator.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetLimits {
    /// The project's own limits; null: the deployment's default from now on.
    pub limits: Option<Limits>,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PoolView {
    /// For workers in the customer's network.
    Pull {},
    /// For Fargate tasks.
    Fargate {
        /// The worker that stands for it.
        worker_id: WorkerId,
        /// The sandbox image by digest.
        image: String,
        /// CPU units of a task.
        cpu: u32,
        /// Memory of a task in MiB.
        memory_mib: u32,
        /// Tasks at once.
        max_concurrent: u32,
        /// What its tasks can do.
        labels: BTreeMap<String, String>,
        /// The models that its tasks can reach.
        models: Vec<String>,
    },
}

/// `POST /v1/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What its holder may do: `admin`, `member` or `viewer`.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "project_role"))]
    pub role: Role,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::NAME_BYTES)))]
    pub note: Option<String>,
    /// Seconds until it expires; 90 days if absent, a year at most.
    #[serde(default = "default_token_seconds")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::TOKEN_SECONDS)))]
    pub expires_in_seconds: u32,
    /// The project, which operators must name and nobody else may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
}

#[cfg(feature = "openapi")]
fn project_role(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": ["admin", "member", "viewer"] })
}

const fn default_token_seconds() -> u32 {
    90 * 24 * 3600
}

/// A new token. `token` is shown here and nowhere else.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TokenCreated {
    /// The credential to send as `Bearer`.
    pub token: String,
    /// The token without its secret.
    #[serde(flatten)]
    pub view: TokenView,
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TokenView {
    /// Its id.
    pub token_id: TokenId,
    /// What its holder may do.
    pub role: Role,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// `POST /v1/enrolment-keys`, by an admin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateEnrolmentKey {
    /// The pool it is for.
    pub pool: PoolName,
    /// The labels that a worker may declare with it.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::labels")
    )]
    pub labels: BTreeMap<String, String>,
    /// The models that a worker may declare with it.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::models")
    )]
    pub models: Vec<String>,
    /// How many workers it may approve; 1 if absent.
    #[serde(default = "default_uses")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::ENROLMENT_KEY_USES)))]
    pub max_uses: u32,
    /// Seconds until it expires; an hour if absent, 90 days at most.
    #[serde(default = "default_key_seconds")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::ENROLMENT_KEY_SECONDS)))]
    pub expires_in_seconds: u32,
}

const fn default_uses() -> u32 {
    1
}
const fn default_key_seconds() -> u32 {
    3600
}

/// A new enrolment key. `enrolment_key` is shown here and nowhere else.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EnrolmentKeyCreated {
    /// The credential to register with.
    pub enrolment_key: String,
    /// The key without its secret.
    #[serde(flatten)]
    pub view: EnrolmentKeyView,
}

/// An enrolment key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EnrolmentKeyView {
    /// Its id.
    pub enrolment_key_id: EnrolmentKeyId,
    /// The pool it is for.
    pub pool: PoolName,
    /// The labels that a worker may declare with it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The models that a worker may declare with it.
    #[serde(default)]
    pub models: Vec<String>,
    /// How many workers it may approve.
    pub max_uses: u32,
    /// How many it has approved.
    pub uses: u32,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// `POST /v1/workers/register`: with an enrolment key as `Bearer` it is approved at once, without
/// one it waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RegisterWorker {
    /// The project to work for.
    pub project: ProjectId,
    /// A name for people.
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::name")
    )]
    pub name: String,
    /// The pool to work for.
    pub pool: PoolName,
    /// What it can do.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::labels")
    )]
    pub labels: BTreeMap<String, String>,
    /// The models it can reach.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::models")
    )]
    pub models: Vec<String>,
    /// The execution modes it can run.
    #[cfg_attr(feature = "openapi", schemars(length(min = 1)))]
    pub modes: BTreeSet<Mode>,
    /// Steps at once; 1 if absent.
    #[serde(default = "default_uses")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::MAX_CONCURRENT)))]
    pub max_concurrent: u32,
}

/// A registered worker. `credential` is shown here and nowhere else.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WorkerRegistered {
    /// The worker's id.
    pub worker_id: WorkerId,
    /// The credential to send as `Bearer`.
    pub credential: String,
    /// `approved`, or `pending` until an admin decides.
    pub status: WorkerStatus,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WorkerView {
    /// Its id.
    pub worker_id: WorkerId,
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: PoolName,
    /// Where its registration stands.
    pub status: WorkerStatus,
    /// What it can do.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The models it can reach.
    #[serde(default)]
    pub models: Vec<String>,
    /// The modes it can run.
    pub modes: Vec<Mode>,
    /// Steps at once.
    pub max_concurrent: u32,
    /// When it registered.
    pub registered_at: Timestamp,
}

/// `POST /v1/profiles`, by an admin, or by an operator for the system scope. Names and references
/// only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateProfile {
    /// Its name.
    pub name: ProfileName,
    /// Plain environment knobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::env")
    )]
    pub env: BTreeMap<String, String>,
    /// Secret references by the variable's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::secrets")
    )]
    pub secrets: BTreeMap<String, Reference>,
    /// Keys of lower levels that end here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::tombstones")
    )]
    pub remove: BTreeSet<String>,
    /// Tags for people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::labels")
    )]
    pub tags: BTreeMap<String, String>,
    /// The workflows that may use it; empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_workflows: BTreeSet<WorkflowName>,
    /// The secrets that each tool sees; absent: it does not distinguish tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::tools")
    )]
    pub tools: Option<Acl>,
}

/// `PUT /v1/profiles/{name}`: all that the profile says from now on. `If-Match` names the version
/// that it replaces.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PutProfile {
    /// Plain environment knobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::env")
    )]
    pub env: BTreeMap<String, String>,
    /// Secret references by the variable's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::secrets")
    )]
    pub secrets: BTreeMap<String, Reference>,
    /// Keys of lower levels that end here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::tombstones")
    )]
    pub remove: BTreeSet<String>,
    /// Tags for people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::labels")
    )]
    pub tags: BTreeMap<String, String>,
    /// The workflows that may use it; empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_workflows: BTreeSet<WorkflowName>,
    /// The secrets that each tool sees; absent: it does not distinguish tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::tools")
    )]
    pub tools: Option<Acl>,
}

/// A version of a profile in its history, `GET /v1/profiles/{name}/versions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProfileVersionView {
    /// What it said. Of a deletion: nothing.
    #[serde(flatten)]
    pub profile: Profile,
    /// Who wrote it.
    pub by: String,
    /// Whether the profile was deleted with this version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// `POST /v1/cascade/resolve`: what a run would start with, by name. Nothing changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ResolveCascade {
    /// The kind of work.
    pub workflow: WorkflowName,
    /// The run's own profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// What the run changes above its profiles.
    #[serde(
        default,
        skip_serializing_if = "Overrides::is_empty",
        deserialize_with = "crate::object::object"
    )]
    pub overrides: Overrides,
    /// The tool of the step in question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
}

/// The outcome of a cascade, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ResolvedCascade {
    /// The profiles, lowest level first.
    pub profiles: Vec<ProfileUse>,
    /// The keys, in order of their names.
    pub keys: Vec<ResolvedKey>,
    /// Keys that a tombstone ended, and whose.
    pub removed: BTreeMap<String, Origin>,
}

/// A key of the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ResolvedKey {
    /// The variable's name.
    pub key: String,
    /// The value of a plain knob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The reference of a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// Who set it.
    pub origin: Origin,
    /// Whether the tool in question sees it. Knobs are seen by all.
    pub seen: bool,
    /// The revocation that takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<RevocationId>,
}

/// A key of a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProfileKey {
    /// The profile that declares it: `NAME`, or `system/NAME`.
    pub profile: ProfileRef,
    /// The key.
    pub key: String,
}

/// `POST /v1/revocations`. All keys are revoked or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The keys.
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = limits::REVOKED_KEYS)))]
    pub keys: Vec<ProfileKey>,
    /// Whether runs in flight are aborted as well.
    #[serde(default)]
    pub hard: bool,
    /// Why.
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::reason")
    )]
    pub reason: String,
}

/// `POST /v1/revocations:preview`. The body of a revocation can be previewed as it is: `hard` and
/// `reason` are accepted, and ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PreviewRevocation {
    /// The keys.
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = limits::REVOKED_KEYS)))]
    pub keys: Vec<ProfileKey>,
    /// Ignored.
    #[serde(default, skip_serializing)]
    pub hard: bool,
    /// Ignored.
    #[serde(default, skip_serializing)]
    pub reason: Option<String>,
}

/// Which revocations a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RevocationState {
    /// Those that hold.
    #[default]
    Active,
    /// Those that were lifted.
    Lifted,
}

impl RevocationState {
    /// The state's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Lifted => "lifted",
        }
    }
}

/// What was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RevocationsCreated {
    /// One for each key, in the request's order.
    pub revocations: Vec<Revocation>,
    /// How far the abortion of runs in flight has come, for a hard revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_out: Option<FanOutView>,
}

/// What a hard revocation would abort now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RevocationPreview {
    /// Runs in flight that hold one of the keys.
    pub runs: Vec<AffectedRun>,
    /// Whether there are more than are listed.
    pub more: bool,
}

/// A run in flight that holds a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AffectedRun {
    /// Its project.
    pub project: ProjectId,
    /// The run.
    pub run_id: RunId,
    /// The profile that contributes the key.
    pub profile: ProfileRef,
    /// The key, as the sandbox sees it.
    pub key: String,
}

/// The abortion of runs in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct FanOutView {
    /// Its id.
    pub fan_out_id: FanOutId,
    /// The revocations that it is for.
    pub revocations: Vec<RevocationId>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it was finished; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// What became of the runs so far.
    #[serde(flatten)]
    pub counts: Counts,
    /// Runs with a sandbox that ECS could not be told to stop yet, 100 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstopped: Vec<RunId>,
}

/// `POST /v1/runs`, with an optional `Idempotency-Key` header.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnqueueRun {
    /// The kind of work.
    pub workflow: WorkflowName,
    /// The profile of the run's own level: above those that the project binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// What the run changes above its profiles.
    #[serde(
        default,
        skip_serializing_if = "Overrides::is_empty",
        deserialize_with = "crate::object::object"
    )]
    pub overrides: Overrides,
    /// Its steps.
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = limits::STEPS)))]
    pub steps: Vec<EnqueueStep>,
}

/// A step of a new run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnqueueStep {
    /// Its id, unique in the run.
    pub id: StepId,
    /// The pool that runs it.
    pub pool: PoolName,
    /// How it is executed: `bare`, `sandboxed` or `identity`.
    pub mode: Mode,
    /// The program and its arguments.
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::command")
    )]
    pub command: Vec<String>,
    /// Steps that must succeed before.
    #[serde(default)]
    pub needs: BTreeSet<StepId>,
    /// Labels that its worker must have.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::labels")
    )]
    pub requires: BTreeMap<String, String>,
    /// The model that its worker must reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::model")
    )]
    pub model: Option<String>,
    /// Plain environment variables.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "sealfleet_domain::schema::env")
    )]
    pub env: BTreeMap<String, String>,
    /// The tool that its command is, for the access lists of profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// What becomes of it when its identity has changed since: `proceed` if absent, or `refuse`.
    #[serde(default, skip_serializing_if = "OnDrift::is_proceed")]
    pub on_drift: OnDrift,
    /// Seconds it may run; 600 if absent.
    #[serde(default = "default_timeout")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::TIMEOUT_SECONDS)))]
    pub timeout_seconds: u32,
    /// Tries when a worker is lost; 3 if absent.
    #[serde(default = "default_attempts")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::MAX_ATTEMPTS)))]
    pub max_attempts: u32,
    /// Seconds it may wait to be claimed; a day if absent.
    #[serde(default = "default_ttl")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::TTL_SECONDS)))]
    pub ttl_seconds: u32,
}

const fn default_timeout() -> u32 {
    600
}
const fn default_attempts() -> u32 {
    3
}
const fn default_ttl() -> u32 {
    24 * 3600
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RunView {
    /// Its id.
    pub run_id: RunId,
    /// The kind of work.
    pub workflow: WorkflowName,
    /// Where it stands.
    pub state: RunState,
    /// The profiles of its cascade, lowest level first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileUse>,
    /// The secrets of that cascade by reference, as resolved at enqueue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRef>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// Its steps, in order of their ids.
    pub steps: Vec<StepView>,
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct StepView {
    /// Its id.
    pub id: StepId,
    /// `blocked`, `queued`, `leased`, `running`, `succeeded`, `failed`, `aborted` or `dead`.
    pub state: String,
    /// How it is executed.
    pub mode: Mode,
    /// The pool that runs it.
    pub pool: PoolName,
    /// Steps that must succeed before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<StepId>,
    /// Counts tries, from 1.
    pub attempt: u32,
    /// The fence of its newest claim; 0 before the first.
    pub fence: Fence,
    /// Who made that claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// The ECS task or sandbox, while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it was ended from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<AbortReason>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadReason>,
    /// Why nobody may ever claim it, where that can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RunSummary {
    /// Its id.
    pub run_id: RunId,
    /// The kind of work.
    pub workflow: WorkflowName,
    /// Where it stands.
    pub state: RunState,
    /// When it was enqueued.
    pub created_at: Timestamp,
}

/// A hint in a pool's queue: a step may be claimed. The ledger alone decides whether it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueMessage {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
}

/// One claim, as its holder names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LeaseRef {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
}

/// `POST /v1/claims`, by a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimStep {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
}

/// A granted claim: what to do, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Claim {
    /// The project, which the identity backend is addressed by.
    pub project: ProjectId,
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
    /// The claim's fence: send it with everything.
    pub fence: Fence,
    /// Counts tries, from 1.
    pub attempt: u32,
    /// Seconds that the lease lasts without a heartbeat.
    pub lease_seconds: i64,
    /// How to execute it.
    pub mode: Mode,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Plain environment variables: the profile's knobs and the step's own.
    pub env: BTreeMap<String, String>,
    /// The secrets to resolve inside the sandbox, by reference. Empty unless the mode is
    /// `identity`.
    #[serde(default)]
    pub secrets: Vec<SecretRef>,
    /// The tool that the command is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// What tools see, where any profile says; the sandbox enforces it once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Acl>,
    /// Seconds that the sandbox may run.
    pub timeout_seconds: u32,
}

/// `POST /v1/heartbeats`, by a worker: all claims it still holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The claims.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::MAX_CONCURRENT)))]
    pub leases: Vec<LeaseRef>,
}

/// What became of the claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct HeartbeatAnswer {
    /// Where the worker's registration stands.
    pub status: WorkerStatus,
    /// One for each claim of the request, in its order.
    pub leases: Vec<LeaseVerdict>,
}

/// What became of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct LeaseVerdict {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// Whether it is still held. If not: kill the sandbox at once, and report nothing.
    pub held: bool,
}

/// `POST /v1/queue-credentials`, by a worker: the key to its own queue and to nothing else.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct QueueCredentials {
    /// The queue.
    pub queue_url: String,
    /// Its region.
    pub region: String,
    /// Temporary access key.
    pub access_key_id: String,
    /// Temporary secret key.
    pub secret_access_key: String,
    /// Session token.
    pub session_token: String,
    /// When they stop working.
    pub expires_at: Timestamp,
}

/// `POST /v1/starts`, by a worker, after the sandbox has resolved its secrets and before the
/// command runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StartStep {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// The worker's own name for its sandbox.
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::NAME_BYTES)))]
    pub sandbox: String,
    /// The version of each secret that the sandbox resolved, by the variable's name.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(extend("maxProperties" = limits::SECRETS)))]
    pub resolved: BTreeMap<String, String>,
}

/// `POST /v1/reports`, by a worker: how its step ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(transform = reported))]
#[serde(deny_unknown_fields)]
pub struct ReportStep {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// `succeeded` or `failed`.
    #[cfg_attr(feature = "openapi", schemars(extend("enum" = ["succeeded", "failed"])))]
    pub state: String,
    /// How it failed; required with `failed`, refused with `succeeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A report that a step failed says how, in a way that a worker can know; one that it succeeded
/// does not.
#[cfg(feature = "openapi")]
fn reported(schema: &mut schemars::Schema) {
    let decided_here = serde_json::json!(["secret_revoked", "profile_refused", "drifted"]);
    let rules = serde_json::json!([
        {
            "if": { "properties": { "state": { "const": "failed" } } },
            "then": { "properties": { "failure": { "type": "object" } }, "required": ["failure"] },
            "else": { "properties": { "failure": { "type": "null" } } },
        },
        { "properties": { "failure": { "not": { "type": "object", "properties": { "kind": { "enum": decided_here } }, "required": ["kind"] } } } },
    ]);
    schema.insert("allOf".to_owned(), rules);
}

/// The answer to a start or a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct StepAnswer {
    /// The step's state now.
    pub state: String,
}

/// What a Fargate sandbox is to do: the answer to `POST /v1/sandbox/step` with a [`LeaseRef`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SandboxStep {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Plain environment variables.
    pub env: BTreeMap<String, String>,
    /// The names of the secrets that the command may see.
    pub secret_names: Vec<String>,
    /// Seconds that the command may run.
    pub timeout_seconds: u32,
}
