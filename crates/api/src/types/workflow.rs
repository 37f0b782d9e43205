use std::collections::BTreeMap;

use sealfleet_domain::cascade::Overrides;
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::workflow::{Parameter, VersionState};
use sealfleet_domain::{Line, ParameterName, ProfileName, Timestamp, WorkflowName};
#[cfg(feature = "openapi")]
use sealfleet_domain::{labels::Labels, limits, schema};
use serde::{Deserialize, Serialize};

use super::run::EnqueueStep;

/// A version of a workflow to register. Somebody else has to approve it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RegisterWorkflow {
    pub name: WorkflowName,
    /// What it does, by whoever runs it.
    pub definition: WorkflowDefinition,
}

/// What a registered workflow does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkflowDefinition {
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::note"))]
    pub description: Option<Line>,
    /// The profile of its runs. It overrides those that the project binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// What its runs change above their profiles.
    #[serde(
        default,
        skip_serializing_if = "Overrides::is_empty",
        deserialize_with = "crate::object::object"
    )]
    pub overrides: Overrides,
    /// What whoever runs it gives, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(extend("maxProperties" = limits::PARAMETERS)))]
    pub parameters: BTreeMap<ParameterName, Parameter>,
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = limits::STEPS)))]
    pub steps: Vec<EnqueueStep>,
}

/// A registered workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WorkflowView {
    pub name: WorkflowName,
    /// The version that runs. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u32>,
    /// The version that waits for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u32>,
    /// The newest version.
    pub newest: u32,
}

/// A version of a registered workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WorkflowVersionView {
    pub workflow: WorkflowName,
    /// Counts from 1.
    pub version: u32,
    pub state: VersionState,
    /// SHA-256 of the definition.
    pub hash: ContentHash,
    /// Who registered it, as `kind:id`.
    pub registered_by: String,
    pub registered_at: Timestamp,
    /// What it does: a `WorkflowDefinition`.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "definition"))]
    pub definition: Box<WorkflowDefinition>,
}

/// An answer may not refer to the schema of a request, which allows null where a field may be
/// absent.
#[cfg(feature = "openapi")]
fn definition(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "properties": { "steps": { "type": "array", "items": { "type": "object" } } },
        "required": ["steps"],
    })
}

/// A run of a registered workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunWorkflow {
    /// The version that the caller expects to be live: the run is refused if another is. Absent:
    /// whichever is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Values by the names of the workflow's parameters. Never put a secret here.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::parameters"))]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Labels to find it by. They decide nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub labels: BTreeMap<String, String>,
}
