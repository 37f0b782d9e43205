//! AWS Secrets Manager, without a way to read a value: which version a secret has now, and writing
//! a new one.
//!
//! The only crate of the control plane and the CLI that links the service's client. `clippy.toml`
//! bans the two calls that return values outside of sandboxes, and every control-plane role is
//! denied them by IAM as well.

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata as _;
use aws_sdk_secretsmanager::types::Tag;
use sealfleet_domain::cause::chain;

/// The tag that binds a secret to its owner, a project or `system`; execution roles can read no
/// others.
pub const PROJECT_TAG: &str = "sealfleet:project";

/// A secret as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its full ARN.
    pub arn: String,
    /// The id of its current version.
    pub version: String,
}

/// Why Secrets Manager did not do it. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such secret, or it has no current version.
    #[error("the secret `{0}` does not exist or has no value yet")]
    NotFound(String),
    /// The caller's role may not.
    #[error("access to the secret `{0}` is denied; check its name and its tag `{PROJECT_TAG}`")]
    Denied(String),
    /// It does not answer.
    #[error("Secrets Manager is not available: {0}")]
    Unavailable(String),
}

/// Tells the versions of secrets.
#[async_trait]
pub trait SecretVersions: Send + Sync {
    /// A secret's current version, by name.
    async fn describe(&self, name: &str) -> Result<Described, Error>;
}

/// AWS Secrets Manager.
#[derive(Clone, Debug)]
pub struct SecretsManager {
    client: Client,
}

impl SecretsManager {
    /// The service as `config` reaches it.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self {
            client: Client::new(config),
        }
    }

    /// Writes a value as the secret's new current version, and returns that version's id. A secret
    /// that does not exist is created with the tag of its `owner`: a project's id, or `system`.
    ///
    /// # Errors
    /// See [`Error`]; nothing in it repeats the value.
    pub async fn put(&self, owner: &str, name: &str, value: &str) -> Result<String, Error> {
        let put = self
            .client
            .put_secret_value()
            .secret_id(name)
            .secret_string(value)
            .send()
            .await;
        let version = match put {
            Ok(answer) => answer.version_id,
            Err(error) if error.code() == Some("ResourceNotFoundException") => {
                let tag = Tag::builder().key(PROJECT_TAG).value(owner).build();
                let created = self
                    .client
                    .create_secret()
                    .name(name)
                    .secret_string(value)
                    .tags(tag)
                    .send()
                    .await;
                created
                    .map_err(|error| explained(name, error.code(), chain(&error)))?
                    .version_id
            }
            Err(error) => return Err(explained(name, error.code(), chain(&error))),
        };
        version.ok_or_else(|| Error::Unavailable("an answer without a version".to_owned()))
    }
}

#[async_trait]
impl SecretVersions for SecretsManager {
    async fn describe(&self, name: &str) -> Result<Described, Error> {
        let answer = self
            .client
            .describe_secret()
            .secret_id(name)
            .send()
            .await
            .map_err(|error| explained(name, error.code(), chain(&error)))?;
        let current = answer.version_ids_to_stages().and_then(|versions| {
            versions
                .iter()
                .find(|(_, stages)| stages.iter().any(|stage| stage == "AWSCURRENT"))
                .map(|(version, _)| version.clone())
        });
        match (answer.arn, current) {
            (Some(arn), Some(version)) => Ok(Described { arn, version }),
            _ => Err(Error::NotFound(name.to_owned())),
        }
    }
}

fn explained(name: &str, code: Option<&str>, detail: impl std::fmt::Display) -> Error {
    match code {
        Some("ResourceNotFoundException") => Error::NotFound(name.to_owned()),
        Some("AccessDeniedException") => Error::Denied(name.to_owned()),
        _ => Error::Unavailable(detail.to_string()),
    }
}
