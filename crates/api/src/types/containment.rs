use sealfleet_domain::containment::Tally;
#[cfg(feature = "openapi")]
use sealfleet_domain::schema;
use sealfleet_domain::{ContainmentId, Line, Timestamp};
use serde::{Deserialize, Serialize};

/// Stops everything that the project does, and could begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Contain {
    /// Why, for people.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::reason"))]
    pub reason: Line,
    /// Whether to revoke all API tokens of the project, too, but the caller's own.
    #[serde(default)]
    pub tokens: bool,
}

/// Which containment to preview.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PreviewContainment {
    /// Whether API tokens would be revoked, too.
    #[serde(default)]
    pub tokens: bool,
}

/// What there is to stop now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct OpenWork {
    #[serde(flatten)]
    pub count: Tally,
    /// Whether there is more than was counted: a count looks through a bounded number of rows.
    pub more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ContainmentState {
    /// It goes on until nothing is left.
    GoingOn,
    /// It has ended: its last round found nothing more to stop.
    Contained,
    /// It has ended, and something is left: new work kept coming, or something could not be
    /// stopped for an hour.
    Incomplete,
}

impl ContainmentState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GoingOn => "going_on",
            Self::Contained => "contained",
            Self::Incomplete => "incomplete",
        }
    }
}

/// A containment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ContainmentView {
    pub containment_id: ContainmentId,
    pub state: ContainmentState,
    /// Why, in the words of the actor.
    pub reason: String,
    /// Whether API tokens are revoked, too.
    pub tokens: bool,
    /// Who asked for it, as `kind:id`.
    pub actor: String,
    pub started_at: Timestamp,
    /// Absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How often it has looked for what came up meanwhile, this time included.
    pub rounds: u32,
    /// What it has stopped so far.
    pub stopped: Tally,
    /// What is left to stop. Absent in lists, and once nothing is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<OpenWork>,
}
