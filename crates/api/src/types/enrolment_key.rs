use std::collections::BTreeMap;

use sealfleet_domain::{EnrolmentKeyId, Line, PoolName, Timestamp};
#[cfg(feature = "openapi")]
use sealfleet_domain::{labels::Labels, limits, schema};
use serde::{Deserialize, Serialize};

/// An enrolment key to create.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateEnrolmentKey {
    /// The pool whose workers may use it.
    pub pool: PoolName,
    /// The labels that a worker may declare with it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub labels: BTreeMap<String, String>,
    /// The models that a worker may declare with it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::models"))]
    pub models: Vec<Line>,
    /// How many workers it may approve: 1 if absent.
    #[serde(default = "default_uses")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::ENROLMENT_KEY_USES)))]
    pub max_uses: u32,
    /// Seconds until it expires: an hour if absent, 90 days at most.
    #[serde(default = "default_key_seconds")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::ENROLMENT_KEY_SECONDS)))]
    pub expires_in_seconds: u32,
}

const fn default_uses() -> u32 {
    1
}
const fn default_key_seconds() -> u32 {
    3600
}

/// A new enrolment key. Only this answer shows `enrolment_key`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EnrolmentKeyCreated {
    /// The credential to register with.
    pub enrolment_key: String,
    #[serde(flatten)]
    pub view: EnrolmentKeyView,
}

/// An enrolment key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EnrolmentKeyView {
    pub enrolment_key_id: EnrolmentKeyId,
    /// The pool whose workers may use it.
    pub pool: PoolName,
    /// The labels that a worker may declare with it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(with = "Labels"))]
    pub labels: BTreeMap<String, String>,
    /// The models that a worker may declare with it.
    #[serde(default)]
    pub models: Vec<String>,
    /// How many workers it may approve.
    pub max_uses: u32,
    /// How many workers it has approved.
    pub uses: u32,
    pub expires_at: Timestamp,
    /// Absent unless it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}
