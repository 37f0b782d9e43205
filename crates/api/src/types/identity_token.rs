//! Tokens that name a step to others, and how others verify them.

use sealfleet_domain::fence::Fence;
use sealfleet_domain::workload::Audience;
use sealfleet_domain::{ProjectId, RunId, StepId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{LeaseRef, SandboxLease};

/// A worker's wish for a token that names a step which it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AskIdentityToken {
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// Who the token is for. The step's profiles must name it.
    pub audience: Audience,
}

/// A sandbox's wish for a token that names the step which it was launched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AskSandboxToken {
    /// The project that it was launched for. The answer depends on whether the claim's sandbox is
    /// the caller, not on this name.
    pub project: ProjectId,
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// Who the token is for. The step's profiles must name it.
    pub audience: Audience,
}

/// A token that names a step. Whoever holds it is that step to its audience until it expires.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct IdentityToken {
    /// A JWT.
    pub token: String,
    pub expires_at: Timestamp,
}

/// What `OpenID Connect Discovery 1.0` asks of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Discovery {
    /// The `iss` of tokens.
    pub issuer: String,
    /// Where the keys are.
    pub jwks_uri: String,
    pub response_types_supported: Vec<String>,
    pub subject_types_supported: Vec<String>,
    pub id_token_signing_alg_values_supported: Vec<String>,
    pub claims_supported: Vec<String>,
}

/// The keys that tokens are verified with (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Keys {
    pub keys: Vec<Key>,
}

/// The public half of an RSA key (RFC 7518, section 6.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "SigningKey"))]
pub struct Key {
    pub kty: String,
    pub alg: String,
    #[serde(rename = "use")]
    pub usage: String,
    pub kid: String,
    pub n: String,
    pub e: String,
}

impl AskIdentityToken {
    /// The claim that it is of.
    #[must_use]
    pub fn lease(&self) -> LeaseRef {
        LeaseRef {
            run_id: self.run_id,
            step_id: self.step_id.clone(),
            fence: self.fence,
        }
    }
}

impl AskSandboxToken {
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
