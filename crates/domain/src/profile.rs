//! Sealed Identity profiles: names and references, never values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::limits;
use crate::names::{ProfileName, WorkflowName, is_env_key};
use crate::scope::ProjectScope;

/// A Sealed Identity profile of one project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name, unique in its project.
    pub name: ProfileName,
    /// Counts its changes, from 1.
    pub version: u32,
    /// Plain environment knobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Secret references by the name of the variable that a sandbox sees.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretUri>,
    /// The workflows that may use it; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_workflows: Vec<WorkflowName>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// The address of one value in an identity backend. It names a value and is none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretUri {
    /// `aws-sm://NAME#JSON-KEY`: one key of a JSON secret in AWS Secrets Manager.
    AwsSecretsManager {
        /// The secret's name, `sealfleet/PROJECT/…`.
        name: String,
        /// The key inside the secret's JSON object.
        json_key: String,
    },
    /// `builtin://NAME`: a value of the encrypted file beside a worker.
    Builtin {
        /// The value's name in the file.
        name: String,
    },
}

/// One secret of a resolved identity: what was found at enqueue, by name and version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// The environment variable that a sandbox sees.
    pub name: String,
    /// The reference.
    pub uri: SecretUri,
    /// The version it is pinned to. Absent where the control plane cannot describe the identity backend; the
    /// sandbox then reports the version it resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The full ARN of an AWS secret, which a task definition needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
}

/// What a run's identity steps start with: a profile as resolved at enqueue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The profile.
    pub profile: ProfileName,
    /// The profile's version.
    pub profile_version: u32,
    /// Plain environment knobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The secrets by reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRef>,
}

/// A reference that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// No known scheme.
    #[error("the reference has no known scheme; use `aws-sm://NAME#JSON-KEY` or `builtin://NAME`")]
    Scheme,
    /// A known scheme, written wrongly.
    #[error("the reference is malformed; write `{0}`")]
    Form(&'static str),
    /// Too long.
    #[error("the reference is too long: {max} bytes at most", max = limits::URI_BYTES)]
    TooLong,
}

/// A profile that may not be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidProfile {
    /// The field, as a path: `secrets.API_KEY`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl SecretUri {
    /// The URI scheme, which names the identity backend.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        match self {
            Self::AwsSecretsManager { .. } => "aws-sm",
            Self::Builtin { .. } => "builtin",
        }
    }
}

impl std::fmt::Display for SecretUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AwsSecretsManager { name, json_key } => write!(f, "aws-sm://{name}#{json_key}"),
            Self::Builtin { name } => write!(f, "builtin://{name}"),
        }
    }
}

impl std::fmt::Debug for SecretUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty()
        && text.split('/').all(|part| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        })
}

impl std::str::FromStr for SecretUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > limits::URI_BYTES {
            return Err(InvalidUri::TooLong);
        }
        match text.split_once("://") {
            Some(("aws-sm", rest)) => match rest.split_once('#') {
                Some((name, json_key)) if is_path(name) && is_path(json_key) && !json_key.contains('/') => {
                    Ok(Self::AwsSecretsManager { name: name.to_owned(), json_key: json_key.to_owned() })
                }
                _ => Err(InvalidUri::Form("aws-sm://NAME#JSON-KEY")),
            },
            Some(("builtin", name)) if is_path(name) => Ok(Self::Builtin { name: name.to_owned() }),
            Some(("builtin", _)) => Err(InvalidUri::Form("builtin://NAME")),
            _ => Err(InvalidUri::Scheme),
        }
    }
}

impl Serialize for SecretUri {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretUri {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Profile {
    /// Checks a profile that a caller of `scope` wrote.
    ///
    /// # Errors
    /// The first field that breaks a rule. An `aws-sm://` reference must stand under `sealfleet/PROJECT/`: the
    /// execution role could not read any other, and this says so before anything starts.
    pub fn check(&self, scope: &ProjectScope) -> Result<(), InvalidProfile> {
        check_env("env", &self.env)?;
        if self.secrets.len() > limits::SECRETS {
            return Err(invalid(
                "secrets",
                format!("{} secrets are too many: {} at most", self.secrets.len(), limits::SECRETS),
            ));
        }
        let prefix = format!("sealfleet/{}/", scope.project());
        for (name, uri) in &self.secrets {
            let field = format!("secrets.{}", name.chars().take(limits::NAME_BYTES).collect::<String>());
            if !is_env_key(name) {
                return Err(invalid(&field, ENV_KEY_RULE.to_owned()));
            }
            if self.env.contains_key(name) {
                return Err(invalid(&field, format!("`{name}` stands in `env` as well; keep it in one of the two")));
            }
            if let SecretUri::AwsSecretsManager { name: secret, .. } = uri
                && !secret.starts_with(&prefix)
            {
                return Err(invalid(&field, format!("the secret's name must start with `{prefix}`")));
            }
        }
        Ok(())
    }
}

const ENV_KEY_RULE: &str = "the name must be letters, digits and underscores, not start with a digit, and not be `PATH` \
                            or start with `AWS_`, `LD_` or `SEALFLEET_`";

/// Checks a map of plain environment variables.
///
/// # Errors
/// The first entry that breaks a rule, named below `field`.
pub fn check_env(field: &str, env: &BTreeMap<String, String>) -> Result<(), InvalidProfile> {
    if env.len() > limits::ENV_ENTRIES {
        return Err(invalid(field, format!("{} entries are too many: {} at most", env.len(), limits::ENV_ENTRIES)));
    }
    for (key, value) in env {
        let field = format!("{field}.{}", key.chars().take(limits::NAME_BYTES).collect::<String>());
        if !is_env_key(key) {
            return Err(invalid(&field, ENV_KEY_RULE.to_owned()));
        }
        if value.len() > limits::ENV_VALUE_BYTES || value.contains('\0') {
            return Err(invalid(
                &field,
                format!("the value must be {} bytes at most, without NUL", limits::ENV_VALUE_BYTES),
            ));
        }
    }
    Ok(())
}

fn invalid(field: &str, message: String) -> InvalidProfile {
    InvalidProfile { field: field.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        for good in ["aws-sm://sealfleet/healthcare/crm#api-key", "builtin://crm/api-key"] {
            assert_eq!(good.parse::<SecretUri>().map(|uri| uri.to_string()), Ok(good.to_owned()));
        }
        for bad in
            ["", "crm", "aws-sm://x", "aws-sm://#k", "builtin://", "builtin://../x", "ftp://x", "aws-sm://a//b#k"]
        {
            assert!(bad.parse::<SecretUri>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reference_to_another_project_is_refused_by_name() {
        let scope = ProjectScope::of_stored_row("healthcare".parse().expect("valid"));
        let uri = "aws-sm://sealfleet/finance/crm#api-key".parse().expect("valid");
        let profile = Profile {
            name: "crm".parse().expect("valid"),
            version: 1,
            env: BTreeMap::new(),
            secrets: BTreeMap::from([("API_KEY".to_owned(), uri)]),
            allowed_workflows: vec![],
            created_at: Timestamp::from_millis(0),
        };
        assert_eq!(profile.check(&scope).map_err(|error| error.field), Err("secrets.API_KEY".to_owned()));
    }
}
