//! `aws-sm://`: AWS Secrets Manager, without a way to read a value.
//!
//! `clippy.toml` bans the two calls that return values outside of sandboxes, and every
//! control-plane role is denied them by IAM as well.
//!
//! Source of how a read names its secret: "AWS CloudTrail entries for Secrets Manager" (Secrets
//! Manager User Guide).

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::types::Tag;
use sealfleet_domain::capability::AWS_SM;
use sealfleet_domain::cause::{chain, repeats};
use sealfleet_domain::identity::{Pin, SecretRef};
use sealfleet_domain::{NamePrefix, ProjectId};

use crate::{Error, PROJECT_TAG, SecretVersions};

const SERVICE: &str = "Secrets Manager";
/// What the names of secrets begin with in references, for the installation that hands them out.
const WRITTEN: &str = "sealfleet/";
/// The owner of the operators' secrets.
const SYSTEM: &str = "system";

/// AWS Secrets Manager.
#[derive(Clone, Debug)]
pub struct SecretsManager {
    client: Client,
    names: NamePrefix,
}

impl SecretsManager {
    /// The service as `config` reaches it. The secret that a reference calls `sealfleet/…` is
    /// called `NAMES/…` there.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, names: NamePrefix) -> Self {
        Self {
            client: Client::new(config),
            names,
        }
    }

    /// Writes a value as the secret's new current version, and returns that version's id. A secret
    /// that does not exist is created with the tag of its `owner`, a project's id or `system`, and
    /// encrypted with the KMS key `key` or, without one, with the account's own. A secret that
    /// exists keeps its key.
    ///
    /// # Errors
    /// See [`Error`]; nothing in it repeats the value.
    pub async fn put(
        &self,
        owner: &str,
        name: &str,
        value: &str,
        key: Option<&str>,
    ) -> Result<String, Error> {
        let put = self
            .client
            .put_secret_value()
            .secret_id(stored(&self.names, name))
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
                    .name(stored(&self.names, name))
                    .set_kms_key_id(key.map(str::to_owned))
                    .secret_string(value)
                    .tags(tag)
                    .send()
                    .await;
                created.map_err(|error| explained(name, &error))?.version_id
            }
            Err(error) => return Err(explained(name, &error)),
        };
        version.ok_or_else(|| unavailable("an answer without a version"))
    }

    /// Deletes a secret with all its versions, at once and for good. One that is gone already is no
    /// error.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let deleted = self
            .client
            .delete_secret()
            .secret_id(stored(&self.names, name))
            .force_delete_without_recovery(true)
            .send()
            .await;
        match deleted.map_err(|error| explained(name, &error)) {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl SecretVersions for SecretsManager {
    fn scheme(&self) -> &'static str {
        AWS_SM.name
    }

    async fn describe(&self, name: &str) -> Result<Pin, Error> {
        let answer = self
            .client
            .describe_secret()
            .secret_id(stored(&self.names, name))
            .send()
            .await
            .map_err(|error| explained(name, &error))?;
        if answer.deleted_date().is_some() {
            return Err(Error::Deleted(name.to_owned()));
        }
        let owner = owner_of(name).unwrap_or_default();
        let tagged = |tag: &Tag| tag.key() == Some(PROJECT_TAG) && tag.value() == Some(owner);
        if !answer.tags().iter().any(tagged) {
            return Err(Error::Untagged {
                name: name.to_owned(),
                owner: owner.to_owned(),
            });
        }
        let current = answer.version_ids_to_stages().and_then(|versions| {
            versions
                .iter()
                .find(|(_, stages)| stages.iter().any(|stage| stage == "AWSCURRENT"))
                .map(|(version, _)| version.clone())
        });
        match (answer.arn, current) {
            (Some(arn), Some(version)) => Ok(Pin {
                version,
                arn: Some(arn),
            }),
            _ => Err(Error::NotFound(name.to_owned())),
        }
    }
}

/// Whose a secret is, by its name in references: a project's id, or `system`.
fn owner_of(name: &str) -> Option<&str> {
    name.strip_prefix(WRITTEN)?.split('/').next()
}

/// The name in Secrets Manager of what a reference calls `name`.
fn stored(names: &NamePrefix, name: &str) -> String {
    match name.strip_prefix(WRITTEN) {
        Some(rest) => format!("{names}/{rest}"),
        None => name.to_owned(),
    }
}

fn explained<E>(name: &str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    match error.code() {
        Some("ResourceNotFoundException") => Error::NotFound(name.to_owned()),
        Some("AccessDeniedException") => Error::Denied(name.to_owned()),
        code if repeats(code, status) => Error::Refused {
            name: name.to_owned(),
            code: code.unwrap_or("no code").to_owned(),
        },
        _ => unavailable(chain(error)),
    }
}

fn unavailable(detail: impl std::fmt::Display) -> Error {
    Error::Unavailable {
        service: SERVICE,
        detail: detail.to_string(),
    }
}

/// A secret as a request names it: its name, its ARN, or the ARN without the random characters at
/// its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedSecret {
    id: String,
    name: String,
}

/// Who owns a secret, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOwner {
    /// The operators: every project's execution role may read it.
    System,
    /// A project.
    Project(ProjectId),
    /// Nobody that there can be: the name has no legal project.
    Nobody,
}

impl AskedSecret {
    /// Reads a request's `secretId`. `None`: it is no secret of this installation.
    #[must_use]
    pub fn of(names: &NamePrefix, id: &str) -> Option<Self> {
        // arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME-RANDOM
        let name = match id.strip_prefix("arn:") {
            Some(_) => without_suffix(id.splitn(7, ':').nth(6)?),
            None => id,
        };
        let rest = name.strip_prefix(names.as_str())?.strip_prefix('/')?;
        Some(Self {
            id: id.to_owned(),
            name: format!("{WRITTEN}{rest}"),
        })
    }

    /// Its name in references, `sealfleet/OWNER/…`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> SecretOwner {
        let owner = owner_of(&self.name).unwrap_or_default();
        if owner == SYSTEM {
            return SecretOwner::System;
        }
        owner
            .parse()
            .map_or(SecretOwner::Nobody, SecretOwner::Project)
    }

    /// Whether it is the secret that was released.
    #[must_use]
    pub fn is(&self, released: &SecretRef) -> bool {
        if released.uri.scheme() != AWS_SM.name {
            return false;
        }
        match released
            .arn
            .as_deref()
            .filter(|_| self.id.starts_with("arn:"))
        {
            Some(arn) => arn == self.id || without_suffix(arn) == self.id,
            None => released.uri.name() == self.name,
        }
    }
}

/// Without the hyphen and the six characters that Secrets Manager puts at the end of an ARN.
fn without_suffix(text: &str) -> &str {
    match text.rsplit_once('-') {
        Some((name, random))
            if random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            name
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str =
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:sealfleet/healthcare/crm-AbCdEf";

    fn released(uri: &str, arn: Option<&str>) -> SecretRef {
        SecretRef {
            delivery: sealfleet_domain::delivery::Delivery::Env,
            name: "TOKEN".to_owned(),
            uri: uri.parse().expect("a reference"),
            version: Some("v1".to_owned()),
            arn: arn.map(str::to_owned),
            from: "crm".parse().expect("a profile"),
            redact: true,
        }
    }

    fn asked(id: &str) -> AskedSecret {
        AskedSecret::of(&NamePrefix::default(), id).expect("ours")
    }

    #[test]
    fn a_secret_is_named_in_three_ways() {
        let partial = ARN.strip_suffix("-AbCdEf").expect("its end");
        for id in ["sealfleet/healthcare/crm", partial, ARN] {
            let asked = asked(id);
            assert_eq!(asked.name(), "sealfleet/healthcare/crm");
            assert_eq!(
                asked.owner(),
                SecretOwner::Project("healthcare".parse().expect("a project"))
            );
            assert!(asked.is(&released(
                "aws-sm://sealfleet/healthcare/crm#token",
                Some(ARN)
            )));
        }
        assert_eq!(asked("sealfleet/system/base").owner(), SecretOwner::System);
        assert_eq!(asked("sealfleet/No_Project/x").owner(), SecretOwner::Nobody);
        for other in [
            "prod/db",
            "sealfleetx/a/b",
            "arn:aws:secretsmanager:r:1:secret:prod/db-AbCdEf",
            "arn:",
            "",
        ] {
            assert_eq!(
                AskedSecret::of(&NamePrefix::default(), other),
                None,
                "{other}"
            );
        }
    }

    #[test]
    fn the_secrets_of_another_installation_are_not_ours() {
        let acme: NamePrefix = "acme".parse().expect("a prefix");
        assert_eq!(AskedSecret::of(&acme, ARN), None);
        let asked = AskedSecret::of(&acme, &ARN.replace(":sealfleet/", ":acme/")).expect("ours");
        assert_eq!(asked.name(), "sealfleet/healthcare/crm");
        assert_eq!(stored(&acme, asked.name()), "acme/healthcare/crm");
        assert_eq!(
            stored(&NamePrefix::default(), asked.name()),
            "sealfleet/healthcare/crm"
        );
    }

    #[test]
    fn another_secret_is_another() {
        let uri = "aws-sm://sealfleet/healthcare/crm#token";
        assert!(!asked(&ARN.replace("/crm", "/ehr")).is(&released(uri, Some(ARN))));
        // The same name, made anew: another ARN.
        assert!(!asked(&ARN.replace("AbCdEf", "GhIjKl")).is(&released(uri, Some(ARN))));
        let of_another_scheme = released("builtin://sealfleet/healthcare/crm", None);
        assert!(!asked("sealfleet/healthcare/crm").is(&of_another_scheme));
    }
}
