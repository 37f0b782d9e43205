use std::collections::{BTreeMap, BTreeSet};

use sealfleet_domain::fleet::{Sandboxes, WorkerStatus};
use sealfleet_domain::run::{Fence, Mode};
use sealfleet_domain::{Line, PoolName, ProjectId, RunId, StepId, Timestamp, WorkerId};
#[cfg(feature = "openapi")]
use sealfleet_domain::{labels::Labels, limits, schema};
use serde::{Deserialize, Serialize};

/// A worker to register. With an enrolment key as `Bearer` it is approved at once; without one an
/// admin decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RegisterWorker {
    /// The project to work for.
    pub project: ProjectId,
    /// A name for people.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::name"))]
    pub name: Line,
    /// The pool to claim from.
    pub pool: PoolName,
    /// Labels that it offers to steps.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub labels: BTreeMap<String, String>,
    /// Models that it can reach.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::models"))]
    pub models: Vec<Line>,
    /// Execution modes that it can run.
    #[cfg_attr(feature = "openapi", schemars(length(min = 1)))]
    pub modes: BTreeSet<Mode>,
    /// How many steps it may hold at the same time: 1 if absent.
    #[serde(default = "default_concurrency")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::MAX_CONCURRENT)))]
    pub max_concurrent: u32,
}

const fn default_concurrency() -> u32 {
    1
}

/// A registered worker. Only this answer shows `credential`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WorkerRegistered {
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
    pub worker_id: WorkerId,
    /// A name for people.
    pub name: String,
    /// The pool that it claims from.
    pub pool: PoolName,
    pub status: WorkerStatus,
    /// Labels that it offers to steps.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub labels: BTreeMap<String, String>,
    /// Models that it can reach.
    #[serde(default)]
    pub models: Vec<String>,
    /// Execution modes that it can run.
    pub modes: Vec<Mode>,
    /// What it has told of its sandboxes: steps can require these as `sandbox.backend` and
    /// `sandbox.image`.
    #[serde(default, skip_serializing_if = "Sandboxes::is_empty")]
    pub sandboxes: Sandboxes,
    /// How many steps it may hold at the same time.
    pub max_concurrent: u32,
    pub registered_at: Timestamp,
    /// Since when it gets no new steps; absent while it may take some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_since: Option<Timestamp>,
}

/// A worker in a list, with what is known of it besides its registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WorkerSummary {
    #[serde(flatten)]
    pub registered: WorkerView,
    /// When a heartbeat came last, to the minute. Absent before the first, and a day after the
    /// last; a Fargate pool has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// The version of its program, as the worker says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How many steps it holds now.
    pub held: u32,
}

/// A worker with the steps that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WorkerDetail {
    #[serde(flatten)]
    pub worker: WorkerSummary,
    /// The steps that it holds now.
    pub steps: Vec<HeldStep>,
}

/// A step that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct HeldStep {
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
}

/// Temporary AWS credentials for the worker's own queue, and for nothing else.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct QueueCredentials {
    pub queue_url: String,
    /// The queue's AWS region.
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    pub expires_at: Timestamp,
}
