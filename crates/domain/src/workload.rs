//! Workload identity: how the control plane names a step that runs to others, by a JWT that it
//! signs (RFC 7519).
//!
//! A profile lists the audiences that a step may ask for a token for. Levels of the cascade narrow
//! each other, as they do with hosts. A token says which step runs, at which claim, and with which
//! profiles. It ends with the lease of that claim: a claim that takes the step over comes after the
//! lease, so a token of an older fence has expired by then.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::fence::Fence;
use crate::identity::ProfileUse;
use crate::ids::{IdentityTokenId, RunId, WorkerId};
use crate::limits;
use crate::names::{ProjectId, StepId, ToolName, WorkflowName};
use crate::revocation::{Revocation, Revoked, revoked};
use crate::run::{Executor, Hold, Run, Step};
use crate::{ProjectScope, identity::Identity};

/// Who a token is for: the `aud` of a JWT. Characters of a URI (RFC 3986), as
/// `https://vault.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Audience(String);

/// The audience of the tokens by which a worker's sandbox reads secrets of the deployment's
/// account. No profile can name it, so no command has such a token.
pub const SECRETS_AUDIENCE: &str = "sealfleet.secrets";

/// A text that is no audience.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an audience has 1 to {} letters, digits and characters of a URI, as `https://vault.example.com`",
    limits::AUDIENCE_BYTES
)]
pub struct InvalidAudience;

/// What a profile says of the tokens that steps may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "WorkloadIdentity"))]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Who tokens may be for. Empty: nobody.
    #[cfg_attr(feature = "openapi", schemars(with = "Vec<Audience>", length(max = limits::AUDIENCES)))]
    pub audiences: BTreeSet<Audience>,
}

/// The claims of a token, in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The control plane's own URL.
    pub iss: String,
    /// `project:P:workflow:W:run:R:step:S`.
    pub sub: String,
    pub aud: Audience,
    /// Seconds since the Unix epoch, as the next two.
    pub exp: i64,
    pub nbf: i64,
    pub iat: i64,
    pub jti: IdentityTokenId,
    pub project: ProjectId,
    pub workflow: WorkflowName,
    pub run: RunId,
    pub step: StepId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    pub attempt: u32,
    pub fence: Fence,
    /// The worker, or the worker that stands for the pool of a host.
    pub worker: WorkerId,
    /// The sandbox, where its host names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The profiles of the step, lowest level first, as `NAME@VERSION`.
    pub profiles: Vec<String>,
    /// The `jti` once more, in a token that reads secrets. It becomes the source identity of the
    /// session that reads, and is told with each read
    /// (`docs/decisions/077-a-workers-sandbox-reads-by-its-own-token.md`).
    #[serde(
        rename = "https://aws.amazon.com/source_identity",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub source_identity: Option<IdentityTokenId>,
}

/// A step that holds its claim, and what a token says of it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub scope: &'a ProjectScope,
    pub run: &'a Run,
    pub step_id: &'a StepId,
    pub step: &'a Step,
    pub hold: &'a Hold,
    /// What it started with.
    pub identity: &'a Identity,
    /// The id of its sandbox at its host.
    pub task: Option<&'a str>,
}

impl Audience {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether tokens for it read secrets of the deployment's account.
    #[must_use]
    pub fn reads_secrets(&self) -> bool {
        self.0 == SECRETS_AUDIENCE
    }

    /// The name of the file that a token for it is delivered in: what is neither a letter, a digit,
    /// `.`, `-` nor `_` is `_`.
    #[must_use]
    pub fn file_name(&self) -> String {
        let plain = |letter: char| {
            if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_') {
                letter
            } else {
                '_'
            }
        };
        // A name that begins with a dot may be `.` or `..`.
        let name: String = self.0.chars().map(plain).collect();
        match name.strip_prefix('.') {
            Some(rest) => format!("_{rest}"),
            None => name,
        }
    }
}

impl std::fmt::Display for Audience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Audience {
    type Err = InvalidAudience;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let of_uri =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
        if (1..=limits::AUDIENCE_BYTES).contains(&text.len()) && text.bytes().all(of_uri) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidAudience)
        }
    }
}

impl TryFrom<String> for Audience {
    type Error = InvalidAudience;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Audience> for String {
    fn from(audience: Audience) -> Self {
        audience.0
    }
}

impl Workload {
    /// Checks what a profile's author wrote.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub fn check(&self) -> Result<(), String> {
        if self.audiences.len() > limits::AUDIENCES {
            return Err(format!("{} audiences at most", limits::AUDIENCES));
        }
        if self.audiences.iter().any(Audience::reads_secrets) {
            return Err(format!(
                "the audience `{SECRETS_AUDIENCE}` is kept for sandboxes that fetch their secrets; leave it out"
            ));
        }
        let mut names = BTreeSet::new();
        match self
            .audiences
            .iter()
            .find(|audience| !names.insert(audience.file_name()))
        {
            None => Ok(()),
            Some(audience) => Err(format!(
                "the file of `{audience}` would be named as that of another audience; leave one out"
            )),
        }
    }

    /// The audiences that both levels allow.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Self {
        Self {
            audiences: self
                .audiences
                .intersection(&other.audiences)
                .cloned()
                .collect(),
        }
    }
}

impl Subject<'_> {
    /// When a token of this step ends that is made at `now`: with the claim's lease, `lease_until`,
    /// if a worker renews it; with the step's time; and soon. `None` if so little is left that it
    /// is not worth a token.
    #[must_use]
    pub fn token_ends(&self, lease_until: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let timeout = i64::from(self.step.spec.timeout_seconds) + limits::STEP_START_SECONDS;
        let mut end = now
            .plus_seconds(limits::IDENTITY_TOKEN_SECONDS)
            .min(self.hold.since.plus_seconds(timeout));
        if self.hold.executor == Executor::Worker {
            end = end.min(lease_until);
        }
        let whole = Timestamp::from_millis(end.epoch_seconds().saturating_mul(1000));
        (whole.millis_since(now) >= limits::SHORTEST_IDENTITY_TOKEN_MILLIS).then_some(whole)
    }

    /// The claims of a token that ends at `end`.
    #[must_use]
    pub fn claims(
        &self,
        issuer: &str,
        audience: Audience,
        jti: IdentityTokenId,
        now: Timestamp,
        end: Timestamp,
    ) -> Claims {
        let project = self.scope.project();
        let (workflow, run, step_id) = (&self.run.workflow, self.run.run_id, self.step_id);
        let used = |used: &ProfileUse| format!("{}@{}", used.profile, used.version);
        Claims {
            source_identity: audience.reads_secrets().then_some(jti),
            iss: issuer.to_owned(),
            sub: format!("project:{project}:workflow:{workflow}:run:{run}:step:{step_id}"),
            aud: audience,
            exp: end.epoch_seconds(),
            // A verifier's clock may be a little behind.
            nbf: now.epoch_seconds().saturating_sub(limits::CLOCK_SECONDS),
            iat: now.epoch_seconds(),
            jti,
            project: project.clone(),
            workflow: workflow.clone(),
            run,
            step: step_id.clone(),
            tool: self.step.spec.tool.clone(),
            attempt: self.step.attempt,
            fence: self.hold.fence,
            worker: self.hold.holder,
            task: self.task.map(str::to_owned),
            profiles: self.identity.profiles.iter().map(used).collect(),
        }
    }
}

/// Why a step of this identity gets no token: a secret of it is revoked, or any key of a profile
/// that it was resolved from. Wider than what a start asks: a token stands for the whole profile.
#[must_use]
pub fn silenced(identity: &Identity, active: &[Revocation]) -> Option<Revoked> {
    revoked(identity, active).or_else(|| {
        let used = |revocation: &&Revocation| {
            let profile = &revocation.profile;
            revocation.lifted.is_none()
                && identity
                    .profiles
                    .iter()
                    .any(|used| used.profile == *profile)
        };
        let by = active.iter().find(used)?;
        Some(Revoked {
            revocation_id: by.revocation_id,
            profile: by.profile.clone(),
            key: by.key.clone(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(text: &str) -> Audience {
        text.parse().expect("an audience")
    }

    fn workload(audiences: &[&str]) -> Workload {
        Workload {
            audiences: audiences.iter().map(|text| audience(text)).collect(),
        }
    }

    #[test]
    fn an_audience_is_written_in_characters_of_a_uri() {
        for good in [
            "sts.amazonaws.com",
            "https://vault.example.com/v1?a=b",
            "api://X",
        ] {
            assert_eq!(
                good.parse().map(|one: Audience| one.to_string()),
                Ok(good.to_owned())
            );
        }
        let long = "a".repeat(limits::AUDIENCE_BYTES + 1);
        for bad in ["", "a b", "a\"b", "a\nb", "ä", "a\\b", &long] {
            assert_eq!(bad.parse::<Audience>(), Err(InvalidAudience), "{bad}");
        }
    }

    #[test]
    fn a_file_is_named_after_its_audience_and_leads_nowhere() {
        let name = |text| audience(text).file_name();
        assert_eq!(name("sts.amazonaws.com"), "sts.amazonaws.com");
        assert_eq!(name("https://a.example/b"), "https___a.example_b");
        assert_eq!(
            (name(".."), name("../x")),
            ("_.".to_owned(), "_._x".to_owned())
        );
        assert!(workload(&["a:b", "a/b"]).check().is_err());
        assert_eq!(workload(&["a:b", "a-b"]).check(), Ok(()));
        let many = (0..=limits::AUDIENCES).map(|at| audience(&format!("a{at}")));
        let many = Workload {
            audiences: many.collect(),
        };
        assert!(many.check().is_err());
    }

    #[test]
    fn no_profile_gives_a_command_what_reads_its_secrets() {
        assert!(audience(SECRETS_AUDIENCE).reads_secrets());
        let refused = workload(&["a", SECRETS_AUDIENCE]).check();
        assert!(refused.is_err_and(|why| why.contains(SECRETS_AUDIENCE)));
    }

    #[test]
    fn levels_narrow_each_other() {
        let both = workload(&["a", "b"]).narrowed_by(&workload(&["b", "c"]));
        assert_eq!(both, workload(&["b"]));
    }
}
