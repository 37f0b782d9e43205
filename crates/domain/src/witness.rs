//! Decides whether a release explains a read of a secret that the identity backend's own log
//! reports.
//!
//! The control plane records in its trail what it released. The backend records independently what
//! was read. A release explains a read under two conditions: a role of the secret's project that
//! reads for sandboxes alone made the read, and the sandbox's claim was released this secret in
//! this version shortly before. Any other read stays unexplained: by a person, by another role, by
//! another project's sandbox, or by a sandbox without a claim.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::SecretRef;

/// Seconds that a read may appear before its release or after its command's start. The log's times
/// are whole seconds, and clocks differ.
const SKEW_SECONDS: i64 = 5;
/// Seconds after a release within which its sandbox must read. A host fetches secrets before it
/// starts the command. A launch that takes longer is rare enough to report.
pub const LATEST_SECONDS: i64 = 30 * 60;

/// Why no release explains a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Unexplained {
    /// A person, a service or another role read it, neither an execution role nor a reader role of
    /// a project.
    NotAnExecutionRole,
    /// The role of another project read it.
    OtherProject,
    /// It was read in a batch request. No part of Sealfleet sends one.
    InABatch,
    /// The request named no version. Every sandbox requests the version that was released.
    VersionNotPinned,
    /// The host does not know a sandbox with the role session's name, and nothing was released
    /// around that time.
    UnknownTask,
    /// Sealfleet did not start the sandbox, or started it for another project.
    ForeignTask,
    /// Another sandbox runs the claim that this sandbox names.
    OtherTask,
    /// The sandbox's claim was not released this secret in this version.
    NotReleased,
    /// It was read before it was released.
    BeforeRelease,
    /// It was read long after its release, after the sandbox's command had started, or after its
    /// claim was over.
    LongAfterRelease,
    /// A reader role read it in a session whose source identity is no token that the control plane
    /// issued for reads of that project's secrets.
    UnknownToken,
}

/// A read that needs an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
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

impl Read {
    /// The earliest and latest time of a release that can explain this read.
    #[must_use]
    pub const fn released_between(&self) -> (Timestamp, Timestamp) {
        (
            self.at.plus_seconds(-LATEST_SECONDS),
            self.at.plus_seconds(SKEW_SECONDS),
        )
    }

    /// Looks for a release that explains this read. `is_read` says whether a released secret is the
    /// one that was read. `started_at` is when the sandbox's command started, if it has. The host
    /// fetches secrets before it starts the command, so a later read is unexplained.
    ///
    /// # Errors
    /// Why no release explains it.
    pub fn explained_by(
        &self,
        releases: &[Release],
        is_read: impl Fn(&SecretRef) -> bool,
        started_at: Option<Timestamp>,
    ) -> Result<(), Unexplained> {
        let this = |secret: &SecretRef| {
            is_read(secret) && secret.version.as_deref() == Some(&self.version)
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

    const AT: Timestamp = Timestamp::from_millis(1_769_846_400_123);

    fn released(at: Timestamp) -> Release {
        let secrets = vec![SecretRef {
            delivery: crate::delivery::Delivery::Env,
            redact: true,
            name: "TOKEN".to_owned(),
            uri: "builtin://crm".parse().expect("a reference"),
            version: Some("v1".to_owned()),
            arn: None,
            from: "crm".parse().expect("a profile"),
        }];
        Release { at, secrets }
    }

    fn read(version: &str, seconds: i64) -> Read {
        Read {
            version: version.to_owned(),
            at: Timestamp::from_millis(AT.plus_seconds(seconds).epoch_seconds() * 1000),
        }
    }

    #[test]
    fn only_that_secret_in_that_version_explains() {
        let explained = |version, is_it: bool, releases: &[Release]| {
            read(version, 2).explained_by(releases, |_| is_it, None)
        };
        let releases = [released(AT)];
        assert_eq!(explained("v1", true, &releases), Ok(()));
        for (version, is_it, releases) in [
            ("v2", true, &releases[..]),
            ("v1", false, &releases[..]),
            ("v1", true, &[]),
        ] {
            assert_eq!(
                explained(version, is_it, releases),
                Err(Unexplained::NotReleased)
            );
        }
    }

    #[test]
    fn only_between_release_and_start() {
        let releases = [released(AT)];
        let at = |seconds, started: Option<i64>| {
            let started = started.map(|started| AT.plus_seconds(started));
            read("v1", seconds).explained_by(&releases, |_| true, started)
        };
        // The log truncates times to whole seconds.
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
        let again = [released(AT.plus_seconds(-7200)), released(AT)];
        assert_eq!(read("v1", 2).explained_by(&again, |_| true, None), Ok(()));
    }
}
