//! Revocations: a key of a profile that no sandbox may start with, and whether an identity holds
//! one.
//!
//! A revocation names a key by the profile that declares it and, as it stood then, by its address.
//! So it holds for the key however a run came by it: named directly, inherited through the cascade,
//! or put under another name or profile with the same address. A key that a later level replaced by
//! another secret is not in the sandbox, and not affected.
//!
//! [`revoked`] is the one place that decides; enqueue, claim, dispatch, start and fan-out all ask
//! it.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{Identity, SecretRef};
use crate::ids::{FanOutId, RevocationId, RunId};
use crate::names::ProjectId;
use crate::reference::{ProfileRef, SecretUri};

/// A revoked key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Revocation {
    pub revocation_id: RevocationId,
    /// The profile that declares the key.
    pub profile: ProfileRef,
    pub key: String,
    /// The key's address when it was revoked.
    pub uri: SecretUri,
    /// Whether runs in flight were aborted as well.
    pub hard: bool,
    /// Why, in the words of the actor.
    pub reason: String,
    /// Who revoked it, as `kind:id`.
    pub actor: String,
    pub at: Timestamp,
    /// The fan-out that aborts runs in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_out_id: Option<FanOutId>,
    /// When it was lifted, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Lifted>,
}

/// The end of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Lifted {
    pub at: Timestamp,
    /// Who lifted it, as `kind:id`.
    pub actor: String,
}

/// A secret of an identity that is revoked, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Revoked {
    pub revocation_id: RevocationId,
    /// The profile that contributes the secret.
    pub profile: ProfileRef,
    /// The environment variable that a sandbox sees.
    pub key: String,
}

impl std::fmt::Display for Revoked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` of profile `{}` is revoked ({})",
            self.key, self.profile, self.revocation_id
        )
    }
}

impl Revocation {
    /// Whether it takes this secret away.
    #[must_use]
    pub fn covers(&self, secret: &SecretRef) -> bool {
        self.uri == secret.uri || (self.profile == secret.from && self.key == secret.name)
    }
}

/// The first secret of `identity` that an active revocation takes away.
#[must_use]
pub fn revoked(identity: &Identity, active: &[Revocation]) -> Option<Revoked> {
    identity.secrets.iter().find_map(|secret| {
        let by = active
            .iter()
            .find(|revocation| revocation.lifted.is_none() && revocation.covers(secret))?;
        Some(Revoked {
            revocation_id: by.revocation_id,
            profile: secret.from.clone(),
            key: secret.name.clone(),
        })
    })
}

/// The work of aborting all runs in flight that hold keys of a hard revocation. It can be
/// interrupted anywhere: what it has done is on record with each run it aborted, and where it goes
/// on is in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanOut {
    /// Its id.
    pub fan_out_id: FanOutId,
    /// The revoked keys.
    pub revocations: Vec<Revocation>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// The leases that it reads next; meaningless once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Place>,
    /// What it came to, once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Finished>,
}

/// A place in the rows of what is in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The project.
    pub project: ProjectId,
    /// Which partition of its leases.
    pub shard: u8,
    /// The row to go on after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What a fan-out came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// When.
    pub at: Timestamp,
    /// The counts.
    pub counts: Counts,
    /// Runs with a sandbox that could not be stopped yet, 100 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstopped: Vec<RunId>,
}

/// What became of the runs in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Counts {
    /// Runs that were aborted.
    pub runs_aborted: u64,
    /// Sandboxes whose host was told to stop them.
    pub tasks_stopped: u64,
    /// Sandboxes whose host could not be told yet: `sweep` goes on trying.
    pub tasks_unstopped: u64,
    /// Sandboxes that workers kill at their next heartbeat, or when their lease ends without one.
    pub worker_sandboxes: u64,
}

/// A run that a fan-out aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortedRun {
    /// Its project.
    pub project: ProjectId,
    /// The run.
    pub run_id: RunId,
    /// Steps whose sandbox a host of the control plane runs.
    pub tasks: u32,
    /// Steps whose sandbox a worker runs.
    pub workers: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(profile: &str, key: &str, uri: &str) -> Revocation {
        Revocation {
            revocation_id: "rev_0198c0de-0000-7000-8000-00000000000a"
                .parse()
                .expect("an id"),
            profile: profile.parse().expect("a profile"),
            key: key.to_owned(),
            uri: uri.parse().expect("a uri"),
            hard: false,
            reason: "leaked".to_owned(),
            actor: "token:x".to_owned(),
            at: Timestamp::from_millis(0),
            fan_out_id: None,
            lifted: None,
        }
    }

    fn holding(from: &str, key: &str, uri: &str) -> Identity {
        let secret = SecretRef {
            name: key.to_owned(),
            uri: uri.parse().expect("a uri"),
            version: Some("1".to_owned()),
            arn: None,
            from: from.parse().expect("a profile"),
        };
        Identity {
            secrets: vec![secret],
            ..Identity::default()
        }
    }

    #[test]
    fn a_key_is_revoked_however_it_was_reached() {
        let active = [revocation(
            "system/base",
            "K",
            "aws-sm://sealfleet/system/crm#k",
        )];
        let of = |from, key, uri| revoked(&holding(from, key, uri), &active).is_some();
        assert!(
            of("system/base", "K", "aws-sm://sealfleet/system/crm#k"),
            "inherited"
        );
        assert!(
            of("system/base", "K", "aws-sm://sealfleet/system/new#k"),
            "the profile has moved it"
        );
        assert!(
            of("system/other", "OTHER", "aws-sm://sealfleet/system/crm#k"),
            "by its address"
        );
        assert!(
            !of("crm", "K", "aws-sm://sealfleet/p/crm#k"),
            "replaced by another secret"
        );
        assert!(
            !of("system/base", "L", "aws-sm://sealfleet/system/crm#l"),
            "another key"
        );
    }

    #[test]
    fn a_lifted_revocation_takes_nothing_away() {
        let mut active = revocation("crm", "K", "builtin://k");
        active.lifted = Some(Lifted {
            at: Timestamp::from_millis(1),
            actor: "token:x".to_owned(),
        });
        assert_eq!(
            revoked(&holding("crm", "K", "builtin://k"), &[active]),
            None
        );
    }
}
