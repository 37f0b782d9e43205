//! Decides whether a release explains a read of a secret that CloudTrail reported.
//!
//! The control plane records in its trail what it released. AWS records independently what was
//! read. A release explains a read under two conditions: the execution role of the secret's project
//! made the read for a task, and the claim of that task was released this secret in this version
//! shortly before. Any other read stays unexplained: by a person, by another role, by another
//! project's task, or by a task without a claim.
//!
//! Sources: "AWS CloudTrail entries for Secrets Manager" (Secrets Manager User Guide), "CloudTrail
//! record contents" (CloudTrail User Guide).

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::SecretRef;
use crate::names::ProjectId;
use crate::reference::SecretUri;

/// Prefix of the names of all secrets that Sealfleet hands out.
const PREFIX: &str = "sealfleet/";
/// The owner part in the names of the operators' secrets.
const SYSTEM: &str = "system";
/// Seconds that a read may appear before its release or after its container's start. CloudTrail's
/// times are whole seconds, and clocks differ.
const SKEW_SECONDS: i64 = 5;
/// Seconds after a release within which its task must read. ECS fetches secrets before it starts
/// the container. A launch that takes longer is rare enough to report.
pub const LATEST_SECONDS: i64 = 30 * 60;

/// Why no release explains a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Unexplained {
    /// A person, a service or another role read it, not an execution role of a project.
    NotAnExecutionRole,
    /// The execution role of another project read it.
    OtherProject,
    /// It was read in a batch request. No part of Sealfleet sends one.
    InABatch,
    /// The request named no version. Every task requests the version that was released.
    VersionNotPinned,
    /// ECS does not know a task with the role session's name, and nothing was released around that
    /// time.
    UnknownTask,
    /// Sealfleet did not start the task, or started it for another project.
    ForeignTask,
    /// Another task runs the claim that this task names.
    OtherTask,
    /// The task's claim was not released this secret in this version.
    NotReleased,
    /// It was read before it was released.
    BeforeRelease,
    /// It was read long after its release, or after the task's container had started.
    LongAfterRelease,
}

/// A secret as a request names it: by its name, by its ARN, or by its ARN without the random
/// suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedSecret {
    id: String,
    name: String,
}

/// The owner of a secret, taken from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOwner {
    /// The operators. Every project's execution role may read it.
    System,
    Project(ProjectId),
    /// Nobody: the name contains no valid project id.
    Nobody,
}

/// A read that needs an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub secret: AskedSecret,
    pub version: String,
    /// When it was read, in whole seconds.
    pub at: Timestamp,
}

/// A `secret.released` event of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub at: Timestamp,
    pub secrets: Vec<SecretRef>,
}

impl AskedSecret {
    /// Parses a request's `secretId`. `None` when it does not name one of Sealfleet's secrets.
    #[must_use]
    pub fn of(id: &str) -> Option<Self> {
        // arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME-RANDOM
        let name = match id.strip_prefix("arn:") {
            Some(_) => without_suffix(id.splitn(7, ':').nth(6)?),
            None => id,
        };
        name.starts_with(PREFIX).then(|| Self {
            id: id.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The secret's name, `sealfleet/OWNER/…`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn owner(&self) -> SecretOwner {
        let owner = self
            .name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('/').next())
            .unwrap_or_default();
        if owner == SYSTEM {
            return SecretOwner::System;
        }
        owner
            .parse()
            .map_or(SecretOwner::Nobody, SecretOwner::Project)
    }

    /// Whether it names the secret that was released.
    fn is(&self, released: &SecretRef) -> bool {
        let SecretUri::AwsSecretsManager { name, .. } = &released.uri else {
            return false;
        };
        match released
            .arn
            .as_deref()
            .filter(|_| self.id.starts_with("arn:"))
        {
            Some(arn) => arn == self.id || without_suffix(arn) == self.id,
            None => *name == self.name,
        }
    }
}

/// Removes the hyphen and the six characters that Secrets Manager appends to an ARN.
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

impl Read {
    /// The earliest and latest time of a release that can explain this read.
    #[must_use]
    pub const fn released_between(&self) -> (Timestamp, Timestamp) {
        (
            self.at.plus_seconds(-LATEST_SECONDS),
            self.at.plus_seconds(SKEW_SECONDS),
        )
    }

    /// Looks for a release that explains this read. `started_at` is when the reading task's
    /// container started, if it has. ECS fetches a container's secrets before it starts the
    /// container, so a later read is unexplained.
    ///
    /// # Errors
    /// Why no release explains it.
    pub fn explained_by(
        &self,
        releases: &[Release],
        started_at: Option<Timestamp>,
    ) -> Result<(), Unexplained> {
        let this = |secret: &SecretRef| {
            self.secret.is(secret) && secret.version.as_deref() == Some(&self.version)
        };
        let mut of_this = releases
            .iter()
            .filter(|release| release.secrets.iter().any(this))
            .peekable();
        if of_this.peek().is_none() {
            return Err(Unexplained::NotReleased);
        }
        if started_at.is_some_and(|started_at| started_at.plus_seconds(SKEW_SECONDS) < self.at) {
            return Err(Unexplained::LongAfterRelease);
        }
        let (earliest, latest) = self.released_between();
        let mut why = Unexplained::BeforeRelease;
        for release in of_this {
            if release.at < earliest {
                why = Unexplained::LongAfterRelease;
            } else if release.at <= latest {
                return Ok(());
            }
        }
        Err(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str =
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:sealfleet/healthcare/crm-AbCdEf";
    const AT: Timestamp = Timestamp::from_millis(1_769_846_400_123);

    fn released(at: Timestamp, name: &str, version: &str) -> Release {
        let secret = |uri: &str, version: &str, arn: Option<String>| SecretRef {
            name: "TOKEN".to_owned(),
            uri: uri.parse().expect("a reference"),
            version: Some(version.to_owned()),
            arn,
            from: "crm".parse().expect("a profile"),
        };
        let arn = ARN.replace("healthcare/crm", name);
        let secrets = vec![
            secret(&format!("builtin://{name}"), version, None),
            secret(
                &format!("aws-sm://sealfleet/{name}#token"),
                version,
                Some(arn),
            ),
        ];
        Release { at, secrets }
    }

    fn read(id: &str, version: &str, seconds: i64) -> Read {
        let at = Timestamp::from_millis(AT.plus_seconds(seconds).epoch_seconds() * 1000);
        Read {
            secret: AskedSecret::of(id).expect("ours"),
            version: version.to_owned(),
            at,
        }
    }

    #[test]
    fn a_secret_is_named_in_three_ways() {
        let by_name = AskedSecret::of("sealfleet/healthcare/crm").expect("ours");
        let partial = AskedSecret::of(ARN.strip_suffix("-AbCdEf").expect("its end")).expect("ours");
        let whole = AskedSecret::of(ARN).expect("ours");
        for asked in [by_name, partial, whole] {
            assert_eq!(asked.name(), "sealfleet/healthcare/crm");
            assert_eq!(
                asked.owner(),
                SecretOwner::Project("healthcare".parse().expect("a project"))
            );
            let release = released(AT, "healthcare/crm", "v1");
            assert_eq!(
                Read {
                    secret: asked,
                    version: "v1".to_owned(),
                    at: AT
                }
                .explained_by(&[release], None),
                Ok(())
            );
        }
        assert_eq!(
            AskedSecret::of("sealfleet/system/base").map(|asked| asked.owner()),
            Some(SecretOwner::System)
        );
        assert_eq!(
            AskedSecret::of("sealfleet/No_Project/x").map(|asked| asked.owner()),
            Some(SecretOwner::Nobody)
        );
        for other in [
            "prod/db",
            "sealfleetx/a/b",
            "arn:aws:secretsmanager:r:1:secret:prod/db-AbCdEf",
            "arn:",
            "",
        ] {
            assert_eq!(AskedSecret::of(other), None, "{other}");
        }
    }

    #[test]
    fn only_that_secret_in_that_version_explains() {
        let release = || vec![released(AT, "healthcare/crm", "v1")];
        assert_eq!(read(ARN, "v1", 2).explained_by(&release(), None), Ok(()));
        assert_eq!(
            read(ARN, "v2", 2).explained_by(&release(), None),
            Err(Unexplained::NotReleased)
        );
        let other = ARN.replace("/crm", "/ehr");
        assert_eq!(
            read(&other, "v1", 2).explained_by(&release(), None),
            Err(Unexplained::NotReleased)
        );
        // A secret that was deleted and recreated has the same name but another ARN.
        let anew = ARN.replace("AbCdEf", "GhIjKl");
        assert_eq!(
            read(&anew, "v1", 2).explained_by(&release(), None),
            Err(Unexplained::NotReleased)
        );
        assert_eq!(
            read(ARN, "v1", 2).explained_by(&[], None),
            Err(Unexplained::NotReleased)
        );
    }

    #[test]
    fn only_between_release_and_start() {
        let releases = [released(AT, "healthcare/crm", "v1")];
        let at = |seconds, started: Option<i64>| {
            read(ARN, "v1", seconds)
                .explained_by(&releases, started.map(|started| AT.plus_seconds(started)))
        };
        // CloudTrail truncates times to whole seconds.
        assert_eq!(at(0, None), Ok(()));
        assert_eq!(at(-60, None), Err(Unexplained::BeforeRelease));
        assert_eq!(at(LATEST_SECONDS - 1, None), Ok(()));
        assert_eq!(
            at(LATEST_SECONDS + 60, None),
            Err(Unexplained::LongAfterRelease)
        );
        assert_eq!(at(20, Some(21)), Ok(()));
        assert_eq!(at(60, Some(21)), Err(Unexplained::LongAfterRelease));
        // A later claim of the same step explains a later read.
        let again = [
            released(AT.plus_seconds(-7200), "healthcare/crm", "v1"),
            released(AT, "healthcare/crm", "v1"),
        ];
        assert_eq!(read(ARN, "v1", 2).explained_by(&again, None), Ok(()));
    }
}
