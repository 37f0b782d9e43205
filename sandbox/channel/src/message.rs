//! What the two sides tell each other.

use std::collections::BTreeMap;

use sealfleet_domain::ToolName;
use sealfleet_domain::acl::Acl;
use serde::{Deserialize, Serialize};

/// A message of the host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToInit {
    /// What to run. Comes first, once.
    Step(Step),
    /// The start is on record: run the command.
    Go,
}

/// A message of `sealfleet-init`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHost {
    /// Every granted secret has a value. Init waits for [`ToInit::Go`].
    Resolved(Vec<ResolvedSecret>),
    /// The step cannot start. Nothing will run.
    Error {
        /// Stable, for programs: `bad_step`, or a code of the identity backend.
        code: String,
        /// For people. Holds names only.
        message: String,
    },
    /// The command has ended.
    Ended {
        /// As a shell shows it: 128 + number for a signal.
        exit_code: i32,
    },
}

/// A step to run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The project that the step belongs to.
    pub project: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Plain environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Secrets that the command asks for. It gets those that `tools` grants.
    #[serde(default)]
    pub secrets: Vec<SecretRequest>,
    /// The tool that the command is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// Which tool sees which secrets. Absent: every tool sees all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Acl>,
    /// How long all secrets together may take to resolve, in milliseconds.
    pub resolve_millis: u64,
}

/// A secret, and the environment variable that it goes to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// The environment variable.
    pub name: String,
    /// The reference, `SCHEME://NAME`.
    pub uri: String,
    /// The version that it is pinned to. Absent: the newest.
    #[serde(default)]
    pub version: Option<String>,
}

/// A secret that was resolved.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedSecret {
    /// The environment variable.
    pub name: String,
    /// The reference.
    pub uri: String,
    /// The version that the command gets.
    pub version: String,
}
