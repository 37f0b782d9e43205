//! Revocations: a key of a profile that no sandbox may start with. Decides whether an identity
//! holds one.
//!
//! A revocation names a key in two ways: by the profile that declares it, and by its address at the
//! time of the revocation. So it covers the key however a run got it: named directly, inherited
//! through the cascade, or under another name or profile with the same address. If a later level
//! replaces the key by another secret, the sandbox does not hold the revoked one, and the
//! revocation does not apply.
//!
//! Only [`all_revoked`] decides. Enqueue, claim, dispatch, start, heartbeat and fan-out all ask it.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{Identity, SecretRef};
use crate::ids::{ContainmentId, FanOutId, RevocationId, RunId};
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
    /// The key's address at the time of the revocation.
    pub uri: SecretUri,
    /// Whether runs in flight are also aborted.
    pub hard: bool,
    /// Why, in the words of the actor.
    pub reason: String,
    /// Who revoked it, as `kind:id`.
    pub actor: String,
    pub at: Timestamp,
    /// The fan-out that aborts runs in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_out_id: Option<FanOutId>,
    /// When and by whom it was lifted. Absent while it is in force.
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

/// A secret of an identity that a revocation covers.
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
    /// Whether it applies to this secret.
    #[must_use]
    pub fn covers(&self, secret: &SecretRef) -> bool {
        self.uri.overlaps(&secret.uri) || (self.profile == secret.from && self.key == secret.name)
    }
}

/// The first secret of `identity` that a revocation in `active` covers.
#[must_use]
pub fn revoked(identity: &Identity, active: &[Revocation]) -> Option<Revoked> {
    all_revoked(identity, active).next()
}

/// All secrets of `identity` that a revocation in `active` covers.
pub fn all_revoked(identity: &Identity, active: &[Revocation]) -> impl Iterator<Item = Revoked> {
    identity.secrets.iter().filter_map(|secret| {
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

/// The work of aborting all runs in flight that hold keys of a hard revocation. Several workers may
/// share it, and each can be interrupted at any point: each aborted run's row records what is done,
/// and a position in each partition of leases says where to continue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanOut {
    pub fan_out_id: FanOutId,
    pub revocations: Vec<Revocation>,
    /// The containment that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment_id: Option<ContainmentId>,
    /// When it was requested.
    pub started_at: Timestamp,
    /// The result, once the fan-out is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Finished>,
}

/// A position in the rows of leases in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub project: ProjectId,
    /// The partition of the project's leases, or, after the last of them, its approvals that wait.
    pub shard: u8,
    /// The last row that was read, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The result of a fan-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub at: Timestamp,
    pub counts: Counts,
    /// Runs with a sandbox that could not be stopped yet; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstopped: Vec<RunId>,
}

/// What happened to the runs in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Counts {
    /// How many runs were aborted.
    pub runs_aborted: u64,
    /// How many sandboxes their host was told to stop.
    pub tasks_stopped: u64,
    /// How many sandboxes their host could not be told to stop yet. `sweep` keeps trying.
    pub tasks_unstopped: u64,
    /// How many sandboxes workers kill at their next heartbeat, or when their lease ends without
    /// one.
    pub worker_sandboxes: u64,
}

/// A run that a fan-out aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortedRun {
    pub project: ProjectId,
    pub run_id: RunId,
    /// How many of its sandboxes the control plane's hosts run.
    pub tasks: u32,
    /// How many of its sandboxes run on a worker.
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
            delivery: crate::delivery::Delivery::Env,
            redact: true,
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
            of("system/other", "OTHER", "aws-sm://sealfleet/system/crm"),
            "with all that is stored"
        );
        assert!(
            !of("crm", "K", "aws-sm://sealfleet/p/crm#k"),
            "replaced by another secret"
        );
        assert!(
            !of("system/base", "L", "aws-sm://sealfleet/system/crm#l"),
            "another key"
        );
        let whole = [revocation(
            "system/base",
            "K",
            "aws-sm://sealfleet/system/crm",
        )];
        let part = holding("system/other", "OTHER", "aws-sm://sealfleet/system/crm#k");
        assert!(revoked(&part, &whole).is_some(), "a part of it");
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
