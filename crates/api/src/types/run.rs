use std::collections::{BTreeMap, BTreeSet};

use sealfleet_domain::agent::{Agent, Cli, Usage, Usd};
use sealfleet_domain::approval::{Approval, Needed};
use sealfleet_domain::artifact::{Artifact, ArtifactName, Destination, Total};
use sealfleet_domain::cascade::Overrides;
use sealfleet_domain::command::Word;
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::identity::{ProfileUse, SecretRef};
use sealfleet_domain::inputs::{Content, WorkspacePath};
use sealfleet_domain::output::Piece;
use sealfleet_domain::run::{
    AbortReason, DeadReason, Failure, Fence, Mode, OnDrift, RequeueReason, RunState, is_zero,
};
use sealfleet_domain::{
    Line, PoolName, ProfileName, RunId, StepId, Timestamp, ToolName, WorkerId, WorkflowName,
};
#[cfg(feature = "openapi")]
use sealfleet_domain::{labels::Labels, limits, schema};
use serde::{Deserialize, Serialize};

use super::usage::UsageSums;

use super::upload::SignedUrl;

/// A run to enqueue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnqueueRun {
    pub workflow: WorkflowName,
    /// The run's own profile. It overrides those that the project binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// What the run changes above its profiles.
    #[serde(
        default,
        skip_serializing_if = "Overrides::is_empty",
        deserialize_with = "crate::object::object"
    )]
    pub overrides: Overrides,
    /// Labels to find it by. They decide nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub labels: BTreeMap<String, String>,
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = limits::STEPS)))]
    pub steps: Vec<EnqueueStep>,
}

/// A step of a new run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnqueueStep {
    /// Unique in the run.
    pub id: StepId,
    /// The pool that runs it.
    pub pool: PoolName,
    pub mode: Mode,
    /// The program and its arguments; an argument `{"file": PATH}` is what that file of `files`
    /// holds. Left out for an agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::command"))]
    pub command: Vec<Word>,
    /// The CLI agent that a step of mode `full` runs, in place of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Steps that must succeed first.
    #[serde(default)]
    pub needs: BTreeSet<StepId>,
    /// Those of them whose results and artifacts it finds below `.sealfleet/needs` in its
    /// workspace.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::TAKES)))]
    pub takes: BTreeSet<StepId>,
    /// Labels that its worker must have.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub requires: BTreeMap<String, String>,
    /// The model that its worker must reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::model"))]
    pub model: Option<Line>,
    /// Plain environment variables.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(with = "schema::Env"))]
    pub env: BTreeMap<String, String>,
    /// The tool that its command runs. Access lists of profiles name tools. An agent is the tool of
    /// its CLI's name if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// Files of its workspace, written before its command starts. One that begins with `#!` can be
    /// executed. Never put a secret here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "schema::Files"))]
    pub files: BTreeMap<WorkspacePath, Content>,
    /// Its standard input; empty if absent. Never put a secret here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Content>,
    /// Whether its command has a terminal as its standard input, output and error. Its output is
    /// one stream, `stdout`, and its input is empty. Not for mode `bare`, and not for an agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// Files and directories of its workspace that it is to leave behind. A directory is taken
    /// whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::artifacts"))]
    pub artifacts: Vec<Artifact>,
    /// Whether somebody else has to approve it before it is queued. It may wait for that as long as
    /// for a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Needed>,
    /// What to do when its identity has changed since enqueue: `proceed` if absent.
    #[serde(default, skip_serializing_if = "OnDrift::is_proceed")]
    pub on_drift: OnDrift,
    /// Seconds that it may run: 600 if absent.
    #[serde(default = "default_timeout")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::TIMEOUT_SECONDS)))]
    pub timeout_seconds: u32,
    /// How often it is tried when its worker is lost: 3 times if absent.
    #[serde(default = "default_attempts")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::MAX_ATTEMPTS)))]
    pub max_attempts: u32,
    /// Seconds that it may wait for a claim: a day if absent.
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
    pub run_id: RunId,
    pub workflow: WorkflowName,
    /// The version of the registered workflow that it is of. Absent: its caller wrote its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_version: Option<u32>,
    pub state: RunState,
    /// The profiles of its cascade, lowest level first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileUse>,
    /// The secrets of that cascade by reference, as resolved at enqueue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRef>,
    /// Labels that it was enqueued with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub labels: BTreeMap<String, String>,
    pub created_at: Timestamp,
    /// When its last step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The run as it was enqueued: an `EnqueueRun`. Only `GET /v1/runs/{run_id}` shows it, and not
    /// for a run of a registered workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "document"))]
    pub document: Option<Box<EnqueueRun>>,
    /// Its steps, in order of their ids.
    pub steps: Vec<StepView>,
}

/// An answer may not refer to the schema of a request, which allows null where a field may be
/// absent.
#[cfg(feature = "openapi")]
fn document(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "properties": { "workflow": { "type": "string" }, "steps": { "type": "array", "items": { "type": "object" } } },
        "required": ["workflow", "steps"],
    })
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct StepView {
    pub id: StepId,
    #[cfg_attr(feature = "openapi", schemars(with = "schema::StepState"))]
    pub state: String,
    pub mode: Mode,
    /// The pool that runs it.
    pub pool: PoolName,
    /// Steps that must succeed first.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<StepId>,
    /// Counts tries, from 1.
    pub attempt: u32,
    /// The fence of its newest claim; 0 before the first.
    pub fence: Fence,
    /// The worker that made that claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// The task or sandbox, while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// When the command of its newest claim began. Only `GET /v1/runs/{run_id}` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Its claims, oldest first. Only `GET /v1/runs/{run_id}` shows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
    /// Where the output of its newest claim lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputPlace>,
    /// How it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why its newest lost claim was lost. `lease_expired`: its worker was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<RequeueReason>,
    /// Bytes of its output that its worker has not kept; absent if it has kept all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_cut_bytes: u64,
    /// The CLI agent that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Cli>,
    /// Tokens that its agent used, as the CLI says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What its agent cost in US dollars: an estimate, as the CLI says, or else by list prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::cost"))]
    pub cost_usd: Option<Usd>,
    /// Answers of the model that its agent has had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    /// The CLI's own id of its agent's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Bytes of its output that are not in the project's outputs; absent if all are, or if its
    /// output does not go there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_missing_bytes: u64,
    /// The size of its result; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_bytes: Option<u64>,
    /// How much it has left behind; absent if it names no artifacts, or has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Total>,
    /// What its attempts that have ended used. Absent before the first has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UsageSums>,
    /// The approval that it waits for, or has had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Why it was aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<AbortReason>,
    /// Why it is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadReason>,
    /// What it waits for, if the control plane can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
}

/// A claim of a step: one attempt to run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AttemptView {
    pub fence: Fence,
    pub worker_id: WorkerId,
    pub claimed_at: Timestamp,
    /// When its command began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// `succeeded`, `failed`, `aborted`, `dead` or `lost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(extend("enum" = ["succeeded", "failed", "aborted", "dead", "lost", null]))
    )]
    pub end: Option<String>,
    /// Why it was lost, where the step went back to its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<RequeueReason>,
}

/// Where the output of a step lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutputPlace {
    /// On the host of a worker.
    Worker {
        /// `HOST:PATH`, as the worker says.
        place: String,
    },
    /// In the project's outputs. `GET .../steps/{step_id}/output` reads it.
    Project {
        /// Where its worker has it, too: `HOST:PATH`, as the worker says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<String>,
    },
    /// In the project's outputs, as of `project`, and in CloudWatch Logs, in the log group of the
    /// project.
    Task { task_id: String, log_stream: String },
}

/// A part of a step's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct OutputPage {
    /// The fence of the claim that it is of. The output of a step that is tried again follows that
    /// of the try before.
    pub fence: Fence,
    /// Pieces in the order in which they were written. Empty where there is nothing more yet.
    pub items: Vec<Piece>,
    /// Where to go on, also for what is yet to be written. Absent: the step has ended, and this was
    /// all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Whether the step goes on, so that more may be written.
    pub goes_on: bool,
    /// Where the output lies. Nothing but `project` is read here. Absent before a start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<OutputPlace>,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ResultView {
    /// The fence of the claim that it is of.
    pub fence: Fence,
    /// Its size.
    pub bytes: u64,
    /// What the step has left as its result. Absent if it does not lie in the project's outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(with = "serde_json::Value"))]
    pub result: Option<serde_json::Value>,
    /// Where it lies: beside the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<OutputPlace>,
}

/// What a step has left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ArtifactsView {
    /// The fence of the claim that it is of.
    pub fence: Fence,
    /// How much it is.
    pub total: Total,
    /// A part of the files, in order. Empty if they do not lie in the project's outputs.
    pub items: Vec<ArtifactView>,
    /// What the step names and was not there. On the first page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::input_paths"))]
    pub missing: Vec<WorkspacePath>,
    /// Links, pipes and devices inside of its directories, which were left out. On the first page.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Where to go on. Absent: this was all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Until when the URLs can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Where its output lies. What stays on the host of a worker lies beside it, in a directory
    /// whose name ends in `.artifacts` instead of `.log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<OutputPlace>,
}

/// A file that a step has left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ArtifactView {
    /// Its path below the workspace. Values of secrets are taken out of it.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::artifact_name"))]
    pub name: ArtifactName,
    pub bytes: u64,
    /// Absent if it is withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<ContentHash>,
    /// Where it is: among the project's outputs, or on the host of its worker.
    pub to: Destination,
    /// The names of the secrets whose values are in it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub contains_secret: BTreeSet<String>,
    /// Whether it has stayed in the sandbox, and so ended with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
    /// Where it is got by `GET`, if it is among the project's outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<SignedUrl>,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RunSummary {
    pub run_id: RunId,
    pub workflow: WorkflowName,
    /// The version of the registered workflow that it is of. Absent: its caller wrote its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_version: Option<u32>,
    pub state: RunState,
    /// Labels that it was enqueued with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub labels: BTreeMap<String, String>,
    pub created_at: Timestamp,
}
