#[cfg(feature = "openapi")]
use sealfleet_domain::access::Action;
use sealfleet_domain::access::Role;
#[cfg(feature = "openapi")]
use sealfleet_domain::limits;
use sealfleet_domain::{Line, ProjectId, Timestamp, TokenId};
use serde::{Deserialize, Serialize};

/// An API token to create.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// `admin`, `member` or `viewer`.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "project_role"))]
    pub role: Role,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::NAME_BYTES)))]
    pub note: Option<Line>,
    /// Seconds until it expires: 90 days if absent, a year at most.
    #[serde(default = "default_token_seconds")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::TOKEN_SECONDS)))]
    pub expires_in_seconds: u32,
    /// Operators must name the project; nobody else may.
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

/// A new API token. Only this answer shows `token`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TokenCreated {
    /// The credential to send as `Bearer`.
    pub token: String,
    #[serde(flatten)]
    pub view: TokenView,
}

/// Who the caller is, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WhoamiView {
    /// The caller as the audit trail names it: `token:ID`, `oidc:ISSUER/SUBJECT`, `operator:ID`.
    pub actor: String,
    /// The caller's project. Absent for an operator, who is above projects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    pub role: Role,
    /// What the caller may do in its project, by the actions' names in the policies; an operator,
    /// above projects, in the system scope and to any project.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "actions"))]
    pub may: Vec<String>,
}

#[cfg(feature = "openapi")]
fn actions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let names: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    schemars::json_schema!({ "type": "array", "items": { "type": "string", "enum": names } })
}

/// An API token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TokenView {
    pub token_id: TokenId,
    pub role: Role,
    /// A note for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The login that made it, itself or with a token that it had made. Absent for a token that
    /// goes back to an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Absent unless it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}
