use std::collections::{BTreeMap, BTreeSet};

use sealfleet_domain::acl::Acl;
use sealfleet_domain::agent::{Agent, AgentReport, ModelsUsed};
use sealfleet_domain::artifact::{Artifact, Found, Total};
use sealfleet_domain::command::Word;
use sealfleet_domain::delivery::{AtEgress, Kind};
use sealfleet_domain::egress::{Denials, Policy, Reached};
use sealfleet_domain::fleet::{Sandboxes, WorkerStatus};
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::inputs::Inputs;
use sealfleet_domain::redaction::Redaction;
use sealfleet_domain::run::{Failure, Fence, Mode, is_zero};
use sealfleet_domain::workload::Audience;
use sealfleet_domain::{Line, ProjectId, RunId, StepId, Timestamp, ToolName};
#[cfg(feature = "openapi")]
use sealfleet_domain::{artifact, limits, redaction, schema};
use serde::{Deserialize, Serialize};

use super::upload::StepInputs;

/// A hint in a pool's queue that a step may be claimed. The ledger alone decides whether it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueMessage {
    pub run_id: RunId,
    pub step_id: StepId,
    /// Until when the hint is passed on to other workers, if one that cannot run the step gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_on_until: Option<Timestamp>,
}

/// One claim, as its holder names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LeaseRef {
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
}

/// The claim that a sandbox was launched for, as the sandbox names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SandboxLease {
    /// The project that it was launched for. The answer depends on whether the claim's sandbox is
    /// the caller, not on this name.
    pub project: ProjectId,
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// How many of its inputs have come; the answer names those after them.
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    pub from: u32,
    /// The strictest way in which its `sealfleet-init` delivers secrets; it has those before it,
    /// too. A step that needs a stricter one is not told. Absent: in the environment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Kind>,
    /// Whether its `sealfleet-init` holds a step to an egress policy. A step that has one is told
    /// to no other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub egress: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero_u32(number: &u32) -> bool {
    *number == 0
}

/// The step to claim.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimStep {
    pub run_id: RunId,
    pub step_id: StepId,
    /// As the queue message says it, if it does: until when the hint is passed on to other workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_on_until: Option<Timestamp>,
}

/// A step that waits to be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WaitingStep {
    pub run_id: RunId,
    pub step_id: StepId,
}

/// A granted claim. It names secrets and never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Claim {
    /// The project whose identity backend holds the secrets.
    pub project: ProjectId,
    pub run_id: RunId,
    pub step_id: StepId,
    /// Send it with every start, heartbeat and report.
    pub fence: Fence,
    /// Counts tries, from 1.
    pub attempt: u32,
    /// Seconds that the lease lasts without a heartbeat.
    pub lease_seconds: i64,
    pub mode: Mode,
    /// The program and its arguments. Empty for an agent.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::words"))]
    pub command: Vec<Word>,
    /// The CLI agent to run, in place of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "agent_to_run"))]
    pub agent: Option<Agent>,
    /// Plain environment variables: those of the profiles, and the step's own.
    pub env: BTreeMap<String, String>,
    /// The secrets to resolve inside the sandbox, by reference. Empty unless the mode is
    /// `identity` or `full`.
    #[serde(default)]
    pub secrets: Vec<SecretRef>,
    /// The tool that the command runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// The access list, if a profile has one. The sandbox enforces it once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Acl>,
    /// What the command gets to work with.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// Whether the command has a terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// What the command is to leave behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::artifacts"))]
    pub artifacts: Vec<Artifact>,
    /// Whether more has to be brought to it first: uploads among its inputs, or what other steps
    /// have left. `POST /v1/step-inputs` says where it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetches: bool,
    /// Seconds that the sandbox may run.
    pub timeout_seconds: u32,
    /// The sandbox backend that it has to run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The variant of the sandbox image that it has to run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The hosts that it may reach, where a profile says. Absent: what the worker offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Policy>,
    /// Who it may have identity tokens for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub audiences: BTreeSet<Audience>,
}

/// An answer may not refer to the schema of a request, which allows null where a field may be
/// absent.
#[cfg(feature = "openapi")]
fn agent_to_run(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "properties": {
            "cli": { "type": "string" },
            "prompt": { "type": "string" },
            "prompt_file": { "type": "string" },
            "model": { "type": "string" },
            "max_turns": { "type": "integer", "format": "uint32", "minimum": 0 },
            "budget_usd": { "type": "number" },
            "args": { "type": "array", "items": { "type": "string" } },
        },
        "required": ["cli"],
    })
}

/// All claims that a worker still holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::MAX_CONCURRENT)))]
    pub leases: Vec<LeaseRef>,
    /// The version of the worker's program, for people who look at the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::name"))]
    pub version: Option<Line>,
    /// The sandboxes that the worker has. Absent: as it told before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandboxes: Option<Sandboxes>,
    /// Which hosts steps were kept from since it was last told, one for each of `leases` at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::MAX_CONCURRENT)))]
    pub egress_denied: Vec<StepDenials>,
}

/// Which hosts one step was kept from, while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StepDenials {
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    pub hosts: Denials,
}

/// Which of those claims are still held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct HeartbeatAnswer {
    /// Where the worker's registration stands.
    pub status: WorkerStatus,
    /// Whether the worker drains: it ends what it holds, and is given nothing new.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// One for each claim of the request, in its order.
    pub leases: Vec<LeaseVerdict>,
}

/// Whether one claim is still held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct LeaseVerdict {
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// If false: kill the sandbox, and report nothing. Kill it at once, unless `cancelled`.
    pub held: bool,
    /// Whether a caller ended the step: nobody else gets it, so its command may be asked to end
    /// before it is killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
    /// Keys of the step that its egress proxy delivers and that are revoked: it is to send them
    /// nowhere any more, whether or not the step goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// Whether the hosts that the heartbeat tells of this step are on record. If not, tell them
    /// again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub denials_recorded: bool,
}

/// A step whose sandbox has resolved its secrets and is about to run the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StartStep {
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// The worker's own name for its sandbox.
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::NAME_BYTES)))]
    pub sandbox: Line,
    /// Where the worker keeps the step's output, as `HOST:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::detail"))]
    pub output: Option<Line>,
    /// Whether output and result go to the project's outputs, too: `local` if absent.
    #[serde(default, skip_serializing_if = "OutputsKept::is_local")]
    pub outputs: OutputsKept,
    /// The version of each secret that the sandbox resolved, by environment variable.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::resolved"))]
    pub resolved: BTreeMap<String, String>,
    /// What the stores of these secrets call the requests that read them, by environment variable,
    /// where they tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "schema::store_request_ids")
    )]
    pub store_request_ids: BTreeMap<String, String>,
}

/// How a step ended, or that its sandbox is lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(transform = reported))]
#[serde(deny_unknown_fields)]
pub struct ReportStep {
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// `succeeded` or `failed`. `lost`: what ran its sandbox has gone, and nobody knows how it
    /// would have ended; it is tried again.
    #[cfg_attr(feature = "openapi", schemars(extend("enum" = ["succeeded", "failed", "lost"])))]
    pub state: String,
    /// How it failed: required with `failed`, refused otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Bytes of its output that the worker has not kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_cut_bytes: u64,
    /// What the step's agent said of its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentReport>,
    /// How often values of its secrets were taken out of its output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = redaction::MOST)))]
    pub redactions: Vec<Redaction>,
    /// Which hosts its egress proxy kept it from, unless a heartbeat has told.
    #[serde(default, skip_serializing_if = "Denials::is_empty")]
    pub egress_denied: Denials,
    /// Which hosts it has reached through its egress proxy.
    #[serde(default, skip_serializing_if = "Reached::is_empty")]
    pub egress_reached: Reached,
    /// Tokens that its egress proxy has counted, by model.
    #[serde(default, skip_serializing_if = "ModelsUsed::is_empty")]
    pub models_used: ModelsUsed,
    /// Bytes of its output that are not in the project's outputs, if output goes there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_missing_bytes: u64,
    /// The size of its result, which is stored. Absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(max = limits::RESULT_BYTES)))]
    pub result_bytes: Option<u64>,
    /// How much it has left behind. Absent: it names no artifacts, or they could not be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Total>,
    /// Files among it that hold values of the step's secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = artifact::MOST_FOUND)))]
    pub artifact_secrets: Vec<Found>,
}

impl ReportStep {
    /// A report of this state, and nothing more.
    #[must_use]
    pub fn of(run_id: RunId, step_id: StepId, fence: Fence, state: &str) -> Self {
        Self {
            run_id,
            step_id,
            fence,
            state: state.to_owned(),
            failure: None,
            output_cut_bytes: 0,
            agent: None,
            redactions: Vec::new(),
            egress_denied: Denials::default(),
            egress_reached: Reached::default(),
            models_used: ModelsUsed::default(),
            output_missing_bytes: 0,
            result_bytes: None,
            artifacts: None,
            artifact_secrets: Vec::new(),
        }
    }
}

/// Where a worker puts what comes out of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OutputsKept {
    /// On its host alone.
    #[default]
    Local,
    /// On its host, and in the project's outputs.
    Project,
}

impl OutputsKept {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_local(&self) -> bool {
        *self == Self::Local
    }
}

/// Temporary AWS credentials to write what one claim puts out, and for nothing else. An object is
/// written once: a request that does not say `If-None-Match: *` is refused.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct OutputCredentials {
    /// The address of S3.
    pub endpoint: String,
    /// The bucket's AWS region.
    pub region: String,
    pub bucket: String,
    /// What keys must begin with.
    pub prefix: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    pub expires_at: Timestamp,
}

/// A report of a failure says how the step failed, in a way that a worker can know; a report of
/// success does not.
#[cfg(feature = "openapi")]
fn reported(schema: &mut schemars::Schema) {
    use serde_json::json;
    let decided_here = json!(["secret_revoked", "profile_refused", "drifted"]);
    let of_control_plane = json!({
        "type": "object",
        "properties": { "kind": { "enum": decided_here } },
        "required": ["kind"],
    });
    let failure = schema.pointer_mut("/properties/failure");
    if let Some(failure) = failure.and_then(serde_json::Value::as_object_mut) {
        failure.insert("not".to_owned(), of_control_plane);
    }
    let failed = json!({ "properties": { "state": { "const": "failed" } } });
    let how = json!({ "properties": { "failure": { "type": "object" } }, "required": ["failure"] });
    let nothing = json!({ "properties": { "failure": { "type": "null" } } });
    for (keyword, part) in [("if", failed), ("then", how), ("else", nothing)] {
        schema.insert(keyword.to_owned(), part);
    }
}

/// A step's state after a start or a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct StepAnswer {
    #[cfg_attr(feature = "openapi", schemars(with = "schema::StepState"))]
    pub state: String,
    /// Steps that wait for this worker, since the other workers of its pool cannot run them. Claim
    /// them before you read the queue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingStep>,
}

/// What is told of a step that runs in a Fargate sandbox with an egress policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SandboxHeartbeat {
    /// The project that it was launched for.
    pub project: ProjectId,
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// Which hosts it was kept from since the answer before said that they are on record.
    #[serde(default, skip_serializing_if = "Denials::is_empty")]
    pub egress_denied: Denials,
}

impl SandboxHeartbeat {
    /// The claim that it is of.
    #[must_use]
    pub fn lease(&self) -> SandboxLease {
        SandboxLease {
            project: self.project.clone(),
            run_id: self.run_id,
            step_id: self.step_id.clone(),
            fence: self.fence,
            from: 0,
            delivery: None,
            egress: false,
        }
    }
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SandboxHeartbeatAnswer {
    /// Environment variables of revoked secrets that the step's egress proxy delivers: it must
    /// deliver them no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// The hosts are on record. If not, the next heartbeat must name them again.
    #[serde(default)]
    pub denials_recorded: bool,
}

/// How the step of a Fargate sandbox ended. It counts once ECS shows that the sandbox is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SandboxEnd {
    /// The project that it was launched for.
    pub project: ProjectId,
    pub report: ReportStep,
}

impl SandboxEnd {
    /// The claim that it is of.
    #[must_use]
    pub fn lease(&self) -> SandboxLease {
        SandboxLease {
            project: self.project.clone(),
            run_id: self.report.run_id,
            step_id: self.report.step_id.clone(),
            fence: self.report.fence,
            from: 0,
            delivery: None,
            egress: false,
        }
    }
}

/// What a Fargate sandbox has to run.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SandboxStep {
    /// The program and its arguments. Empty for an agent.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::words"))]
    pub command: Vec<Word>,
    /// The CLI agent to run, in place of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Plain environment variables.
    pub env: BTreeMap<String, String>,
    /// The names of the secrets that the command may see.
    pub secret_names: Vec<String>,
    /// What the command gets to work with.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// What has to be brought to it. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brings: Option<StepInputs>,
    /// Whether the command has a terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// What the command is to leave behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::artifacts"))]
    pub artifacts: Vec<Artifact>,
    /// Those of its secrets whose values stay in its output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unredacted: Vec<String>,
    /// Those of its secrets that it gets in files.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub in_files: BTreeSet<String>,
    /// Secrets that its egress proxy has in its place, by environment variable, and where they go.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at_egress: BTreeMap<String, AtEgress>,
    /// The hosts that the command may reach, where a profile says. Absent: what the network of its
    /// task lets it reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Policy>,
    /// Who the command may have identity tokens for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub audiences: BTreeSet<Audience>,
    /// Seconds that the command may run.
    pub timeout_seconds: u32,
    /// Where to put what comes out of it. Absent: AWS STS does not answer; ask again later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<OutputCredentials>,
}
