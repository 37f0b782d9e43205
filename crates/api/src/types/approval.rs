use sealfleet_domain::Line;
use sealfleet_domain::approval::{Approval, Verdict};
use sealfleet_domain::hash::ContentHash;
#[cfg(feature = "openapi")]
use sealfleet_domain::{limits, schema};
use serde::{Deserialize, Serialize};

use super::run::{EnqueueStep, RunView};
use super::worker::WorkerView;
use super::workflow::WorkflowVersionView;

/// Which approvals to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApprovalsOf {
    /// Those that wait.
    #[default]
    Pending,
    /// Those that are over: approved, denied, expired or cancelled.
    Decided,
}

impl ApprovalsOf {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Decided => "decided",
        }
    }
}

/// An approval, and all that a decision on it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ApprovalView {
    #[serde(flatten)]
    pub approval: Approval,
    /// Stands for what this answer shows and what else decides what it means: the request, the
    /// versions of its profiles, the revocations in force, the project and the policies. Absent
    /// where nothing waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_token: Option<ContentHash>,
    /// The version of a workflow that is decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_version: Option<WorkflowVersionView>,
    /// The worker that is decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerView>,
    /// The run of the step that is decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<RunView>>,
    /// The step that is decided on, as it was enqueued: an `EnqueueStep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "step"))]
    pub step: Option<Box<EnqueueStep>>,
}

/// An answer may not refer to the schema of a request, which allows null where a field may be
/// absent.
#[cfg(feature = "openapi")]
fn step(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "properties": { "id": { "type": "string" } },
        "required": ["id"],
    })
}

/// How a project decides from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SetGovernance {
    /// Whether its runs are those of registered workflows only: not if absent.
    #[serde(default)]
    pub require_registered_workflows: bool,
    /// How many must approve a request: 1 if absent.
    #[serde(default = "one")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::APPROVERS)))]
    pub approvers: u32,
    /// Whether only callers who have logged in at an issuer decide: not if absent.
    #[serde(default)]
    pub logins_only: bool,
}

const fn one() -> u32 {
    1
}

/// A decision on an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Decide {
    pub decision: Verdict,
    /// What the approval showed. Who approves must send it; who denies need not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_token: Option<ContentHash>,
    /// Why, for whoever asked. Who denies must say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::optional_reason"))]
    pub reason: Option<Line>,
}
