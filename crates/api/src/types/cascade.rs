use std::collections::BTreeMap;

use sealfleet_domain::cascade::{Origin, Overrides};
use sealfleet_domain::delivery::Delivery;
use sealfleet_domain::egress::Policy;
use sealfleet_domain::identity::ProfileUse;
use sealfleet_domain::workload::Workload;
use sealfleet_domain::{ProfileName, Reference, RevocationId, ToolName, WorkflowName};
use serde::{Deserialize, Serialize};

/// The run whose cascade to resolve.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ResolveCascade {
    pub workflow: WorkflowName,
    /// Whether it is a run of a registered workflow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub registered: bool,
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
    /// Keys that a tombstone removed, and who set that tombstone.
    pub removed: BTreeMap<String, Origin>,
    /// The hosts that a step may reach: what all profiles allow that say anything, below
    /// `egress_ceiling`. Absent: neither says anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Policy>,
    /// Who a step may prove itself to: the audiences that all profiles name that name any. Absent:
    /// none of them does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Workload>,
    /// What operators let the project's steps reach at most. Absent: what profiles allow, but for
    /// `open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_ceiling: Option<Policy>,
}

/// A key of the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ResolvedKey {
    /// The environment variable's name.
    pub key: String,
    /// The value of a plain variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The reference of a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// How the secret is delivered.
    #[serde(default, skip_serializing_if = "Delivery::is_env")]
    pub delivery: Delivery,
    /// Who set it.
    pub origin: Origin,
    /// Whether the tool in question sees it. Every tool sees plain variables.
    pub seen: bool,
    /// The active revocation that withholds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<RevocationId>,
}
