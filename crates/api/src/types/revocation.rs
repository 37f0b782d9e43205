use sealfleet_domain::revocation::{Counts, Revocation};
use sealfleet_domain::{FanOutId, Line, ProfileRef, ProjectId, RevocationId, RunId, Timestamp};
#[cfg(feature = "openapi")]
use sealfleet_domain::{limits, schema};
use serde::{Deserialize, Serialize};

/// A key of a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProfileKey {
    /// The profile that declares it: `NAME`, or `system/NAME`.
    pub profile: ProfileRef,
    pub key: Line,
}

/// The keys to revoke: all of them or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = limits::REVOKED_KEYS)))]
    pub keys: Vec<ProfileKey>,
    /// Whether to abort runs in flight that hold one of the keys.
    #[serde(default)]
    pub hard: bool,
    /// Why, for people.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::reason"))]
    pub reason: Line,
}

/// The keys to preview. The body of a revocation can be previewed as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PreviewRevocation {
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = limits::REVOKED_KEYS)))]
    pub keys: Vec<ProfileKey>,
    /// Ignored.
    #[serde(default, skip_serializing)]
    pub hard: bool,
    /// Ignored.
    #[serde(default, skip_serializing)]
    pub reason: Option<Line>,
}

/// Which revocations to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RevocationState {
    /// Revocations that hold.
    #[default]
    Active,
    /// Revocations that were lifted.
    Lifted,
}

impl RevocationState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Lifted => "lifted",
        }
    }
}

/// New revocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RevocationsCreated {
    /// One for each key, in the request's order.
    pub revocations: Vec<Revocation>,
    /// The fan-out that aborts runs in flight. Only a hard revocation has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_out: Option<FanOutView>,
}

/// The runs that a hard revocation would abort now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RevocationPreview {
    /// Runs in flight that hold one of the keys.
    pub runs: Vec<AffectedRun>,
    /// Whether there are more runs than are listed.
    pub more: bool,
}

/// A run in flight that holds a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AffectedRun {
    pub project: ProjectId,
    pub run_id: RunId,
    /// The profile that contributes the key.
    pub profile: ProfileRef,
    /// The environment variable's name.
    pub key: String,
}

/// A fan-out: a hard revocation aborts the runs in flight that hold its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct FanOutView {
    pub fan_out_id: FanOutId,
    /// The revocations that started it.
    pub revocations: Vec<RevocationId>,
    pub started_at: Timestamp,
    /// Absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    #[serde(flatten)]
    pub counts: Counts,
    /// Aborted runs whose sandbox could not be stopped yet: 100 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstopped: Vec<RunId>,
}
