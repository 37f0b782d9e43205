use std::collections::BTreeMap;

use sealfleet_domain::egress::Policy;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::{Line, PoolName, ProjectId, Timestamp, WorkerId};
#[cfg(feature = "openapi")]
use sealfleet_domain::{capability::FARGATE, labels::Labels, limits, schema};
use serde::{Deserialize, Serialize};

/// A project to create.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Its queues and roles must already be deployed.
    pub project: ProjectId,
    /// Its pools by name.
    #[cfg_attr(
        feature = "openapi",
        schemars(extend("minProperties" = 1, "maxProperties" = limits::POOLS))
    )]
    pub pools: BTreeMap<PoolName, CreatePool>,
}

/// The pools of a project from now on. Each pool that it has is named again and keeps its kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateProject {
    /// Its pools by name. The queue of a new pool must already be deployed.
    #[cfg_attr(
        feature = "openapi",
        schemars(extend("minProperties" = 1, "maxProperties" = limits::POOLS))
    )]
    pub pools: BTreeMap<PoolName, CreatePool>,
}

/// A pool of a new project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CreatePool {
    /// Workers in the customer's network claim from this pool.
    Pull {
        /// The sandbox backend that runs its steps; they go to workers that have it. Absent: what
        /// each worker has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::backend"))]
        backend: Option<String>,
    },
    /// Each step of this pool runs as a Fargate task.
    Fargate(FargateSpec),
}

/// The Fargate tasks of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FargateSpec {
    /// The sandbox image by digest: `REPOSITORY@sha256:DIGEST`.
    #[cfg_attr(
        feature = "openapi",
        schemars(
            length(max = limits::IMAGE_BYTES),
            regex(pattern = r"^[!-?A-~]*@sha256:[0-9a-fA-F]{64}$")
        )
    )]
    pub image: String,
    /// CPU units of a task. 1024 are one vCPU.
    #[serde(default = "default_cpu")]
    #[cfg_attr(feature = "openapi", schemars(extend("enum" = FARGATE.cpus())))]
    pub cpu: u32,
    /// Memory of a task in MiB.
    #[serde(default = "default_memory")]
    #[cfg_attr(feature = "openapi", schemars(range(min = FARGATE.memory_mib().0, max = FARGATE.memory_mib().1)))]
    pub memory_mib: u32,
    /// How many tasks may run at the same time.
    #[serde(default = "default_pool_concurrency")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::MAX_CONCURRENT)))]
    pub max_concurrent: u32,
    /// Labels that its tasks offer to steps.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub labels: BTreeMap<String, String>,
    /// Models that its tasks can reach.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::models"))]
    pub models: Vec<Line>,
}

impl FargateSpec {
    /// Tasks of this image, as a pool has them that says nothing else.
    #[must_use]
    pub const fn of(image: String) -> Self {
        Self {
            image,
            cpu: default_cpu(),
            memory_mib: default_memory(),
            max_concurrent: default_pool_concurrency(),
            labels: BTreeMap::new(),
            models: Vec::new(),
        }
    }
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
    pub project: ProjectId,
}

/// What is unfinished in all projects, by counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ActivityView {
    /// Projects that have unfinished runs, by name.
    pub projects: Vec<ProjectActivity>,
    /// Whether every unfinished run was counted. If not, there are more than the counts say.
    pub complete: bool,
}

/// How much of a project is unfinished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProjectActivity {
    pub project: ProjectId,
    /// Runs that have not ended.
    pub unfinished: u32,
    /// When the oldest of them was enqueued.
    pub oldest_created_at: Timestamp,
    /// Runs among the 20 oldest that have a step which nobody has claimed for 30 seconds, while no
    /// other step of theirs goes on.
    pub waiting: u32,
    /// Runs that the control plane should have visited two minutes ago. Any number but 0 is a fault
    /// of the installation.
    pub overdue: u32,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProjectView {
    pub project: ProjectId,
    /// Its pools by name.
    pub pools: BTreeMap<PoolName, PoolView>,
    /// Counts the changes of its pools, from 1.
    pub version: u32,
    /// The rate limits that hold for its callers.
    pub limits: LimitsView,
    /// What its steps may reach at most. Absent: what its profiles allow, but for `open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_ceiling: Option<Policy>,
    pub created_at: Timestamp,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PoolView {
    /// Workers in the customer's network claim from this pool.
    Pull {
        /// The sandbox backend that runs its steps; they go to workers that have it. Absent: what
        /// each worker has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::backend_name"))]
        backend: Option<String>,
    },
    /// Each step of this pool runs as a Fargate task.
    Fargate(FargatePoolView),
}

/// A Fargate pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct FargatePoolView {
    /// The worker that stands for the pool: claims of its tasks name it.
    pub worker_id: WorkerId,
    #[serde(flatten)]
    pub spec: FargateSpec,
}

/// How far the deletion of a project is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProjectDeletion {
    pub project: ProjectId,
    pub state: ProjectState,
    /// Since when it takes no runs, tokens and keys any more.
    pub closed_at: Option<Timestamp>,
    /// From when on a repeated request deletes it, if its runs have ended.
    pub deletable_from: Option<Timestamp>,
    /// Since when it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// What has become of a project that is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProjectState {
    /// It takes nothing new. Repeat the request.
    Closing,
    /// It is gone, and its name is never given again.
    Deleted,
}

/// The rate limits that hold for a project's callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct LimitsView {
    /// Requests each second, in the long run.
    pub requests_per_second: u32,
    /// Requests at once.
    pub burst: u32,
    /// True if an operator set them for this project; false if they are the deployment's default.
    pub own: bool,
}

/// What the steps of a project may reach at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EgressCeiling {
    /// Absent: what its profiles allow, but for `open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Policy>,
}

/// What the steps of a project may reach at most from now on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetEgressCeiling {
    /// Null: what its profiles allow, but for `open`.
    pub ceiling: Option<Policy>,
}

/// The rate limits of a project from now on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetLimits {
    /// The project's own limits. Null returns it to the deployment's default.
    pub limits: Option<Limits>,
}
