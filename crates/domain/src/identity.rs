//! What a sandbox starts with: the outcome of a cascade with each reference at a version, and what
//! became of it since.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::acl::{Acl, sees};
use crate::capability::{Egress, Host};
use crate::cascade::{Layer, Level, Overrides, Resolved};
use crate::delivery::{Delivery, How, Kind};
use crate::egress::Policy;
use crate::names::ToolName;
use crate::reference::{ProfileRef, Reference, SecretUri};
use crate::workload::Workload;

/// A profile that an identity was resolved from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProfileUse {
    pub level: Level,
    pub profile: ProfileRef,
    /// The version that was resolved.
    pub version: u32,
}

/// One secret of an identity, by name and version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SecretRef {
    /// The environment variable that a sandbox sees.
    pub name: String,
    pub uri: SecretUri,
    /// The version that it is pinned to. Absent only for a secret that no step can see: the control
    /// plane does not look it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The backend's own full name of the secret, where a host needs it to inject the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// The profile that contributed it.
    pub from: ProfileRef,
    /// Whether its value is taken out of the step's output.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub redact: bool,
    /// How its value is delivered.
    #[serde(default, skip_serializing_if = "Delivery::is_env")]
    pub delivery: Delivery,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_yes(value: &bool) -> bool {
    *value
}

/// A version as an identity backend tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The version.
    pub version: String,
    /// The backend's own full name of the secret.
    pub arn: Option<String>,
}

/// What a run's identity steps start with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The profiles of its cascade, lowest level first.
    pub profiles: Vec<ProfileUse>,
    /// What the run changed above them.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
    /// Plain environment knobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The secrets by reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRef>,
    /// What tools see, where any profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Acl>,
    /// The hosts that a step may reach, where any profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Policy>,
    /// Who a step may prove itself to, where any profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
}

/// The changes to a step's identity between its enqueue and its start, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Drift {
    /// Secrets that were not there.
    pub added: BTreeSet<String>,
    /// Secrets that are gone.
    pub removed: BTreeSet<String>,
    /// Secrets with another version, another reference, or another delivery.
    pub rotated: BTreeSet<String>,
    /// Plain knobs that were added, removed or changed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub knobs: BTreeSet<String>,
    /// Whether it may reach other hosts than before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub egress: bool,
    /// Whether it may prove itself to others than before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audiences: bool,
}

impl Identity {
    /// The outcome of a cascade, each reference at the version that it is pinned to by its profile.
    #[must_use]
    pub fn new(layers: &[Layer], overrides: Overrides, mut resolved: Resolved) -> Self {
        let profiles = layers.iter().map(|layer| ProfileUse {
            level: layer.level,
            profile: layer.profile.clone(),
            version: layer.content.version,
        });
        let env: BTreeMap<String, String> = resolved
            .env
            .into_iter()
            .map(|(key, entry)| (key, entry.set))
            .collect();
        let secrets = resolved.secrets.into_iter().filter_map(|(name, entry)| {
            let mut delivery = resolved.delivery.remove(&name).unwrap_or_default();
            if let Delivery::Egress(binding) = &mut delivery
                && let How::Sigv4(by) = &mut binding.how
                && let Some(id) = env.get(&by.access_key_id)
            {
                by.access_key_id.clone_from(id);
            }
            let Reference {
                uri,
                version,
                redact,
            } = entry.set;
            Some(SecretRef {
                name,
                uri,
                version,
                arn: None,
                from: entry.origin.profile?,
                redact,
                delivery,
            })
        });
        let secrets = secrets.collect();
        Self {
            profiles: profiles.collect(),
            overrides,
            env,
            secrets,
            tools: resolved.tools,
            egress: resolved.egress,
            workload: resolved.workload,
        }
    }

    /// The same, with what the identity backends say of its references. A version that a profile
    /// pins stays.
    #[must_use]
    pub fn pinned(mut self, pins: &BTreeMap<SecretUri, Pin>) -> Self {
        for secret in &mut self.secrets {
            let Some(pin) = pins.get(&secret.uri) else {
                continue;
            };
            secret.version = secret.version.take().or_else(|| Some(pin.version.clone()));
            secret.arn.clone_from(&pin.arn);
        }
        self
    }

    /// What a step that runs `tool` sees: all knobs, and the secrets that the access lists grant
    /// it.
    #[must_use]
    pub fn seen_by(&self, tool: Option<&ToolName>) -> Self {
        let mut seen = self.clone();
        seen.secrets
            .retain(|secret| sees(self.tools.as_ref(), tool, &secret.name));
        seen
    }

    /// The strictest way in which any of its secrets is delivered.
    #[must_use]
    pub fn delivery(&self) -> Kind {
        let kinds = self.secrets.iter().map(|secret| secret.delivery.kind());
        kinds.max().unwrap_or(Kind::Env)
    }

    /// Checks that each secret that is delivered at egress can get out of the step.
    ///
    /// # Errors
    /// The first one that cannot, and the remedy.
    pub fn check_delivery(&self) -> Result<(), String> {
        let policy = self.egress.as_ref().unwrap_or(&Policy::None);
        let bound = self
            .secrets
            .iter()
            .filter_map(|secret| Some((secret, secret.delivery.at_egress()?)));
        let Some((secret, _)) = { bound }.find(|(_, binding)| !binding.is_reached(policy)) else {
            return Ok(());
        };
        Err(format!(
            "secret `{}` of profile `{}` is delivered by {}, and the step's egress policy ({policy}) allows none of that; \
             add a host to `egress.allow` of its profiles, or deliver it otherwise",
            secret.name, secret.from, secret.delivery
        ))
    }

    /// Whether any of its profiles belongs to the operators.
    #[must_use]
    pub fn uses_system(&self) -> bool {
        self.profiles.iter().any(|used| used.profile.is_system())
    }

    /// The changes from this identity to `now`. `None` if there are none.
    #[must_use]
    pub fn drift_to(&self, now: &Self) -> Option<Drift> {
        let before: BTreeMap<&str, &SecretRef> =
            self.secrets.iter().map(|s| (s.name.as_str(), s)).collect();
        let after: BTreeMap<&str, &SecretRef> =
            now.secrets.iter().map(|s| (s.name.as_str(), s)).collect();
        let missing = |from: &BTreeMap<&str, &SecretRef>,
                       in_: &BTreeMap<&str, &SecretRef>|
         -> BTreeSet<String> {
            from.keys()
                .filter(|name| !in_.contains_key(*name))
                .map(|name| (*name).to_owned())
                .collect()
        };
        let rotated = before.iter().filter_map(|(name, old)| {
            let new = after.get(name)?;
            let is_same =
                old.uri == new.uri && old.version == new.version && old.delivery == new.delivery;
            (!is_same).then(|| (*name).to_owned())
        });
        let keys: BTreeSet<&String> = self.env.keys().chain(now.env.keys()).collect();
        let knobs = keys
            .into_iter()
            .filter(|key| self.env.get(*key) != now.env.get(*key))
            .cloned();
        let drift = Drift {
            added: missing(&after, &before),
            removed: missing(&before, &after),
            rotated: rotated.collect(),
            knobs: knobs.collect(),
            egress: self.egress != now.egress,
            audiences: self.workload != now.workload,
        };
        (drift != Drift::default()).then_some(drift)
    }
}

impl Host {
    /// Whether its sandboxes can be held to this policy.
    ///
    /// # Errors
    /// That they cannot, and the remedy.
    pub fn check_egress(&self, policy: Option<&Policy>) -> Result<(), String> {
        match policy {
            None => Ok(()),
            Some(_) if self.egress.contains(&Egress::Policy) => Ok(()),
            Some(policy) => Err(format!(
                "a {} pool cannot hold a step to its egress policy ({policy}) yet; use a pull pool, or a profile without `egress`",
                self.name
            )),
        }
    }

    /// Whether its sandboxes can deliver all of these secrets as they are to be.
    ///
    /// # Errors
    /// The first secret that they cannot, and the remedy.
    pub fn check_delivery(&self, secrets: &[SecretRef]) -> Result<(), String> {
        let can = |secret: &&SecretRef| self.delivers.contains(&secret.delivery.kind());
        let Some(secret) = secrets.iter().find(|secret| !can(secret)) else {
            return Ok(());
        };
        Err(format!(
            "secret `{}` of profile `{}` is to be delivered by {}, which a {} pool cannot do yet; use a pull pool, \
             or another delivery",
            secret.name,
            secret.from,
            secret.delivery.kind().text(),
            self.name
        ))
    }

    /// Whether its sandboxes can resolve all of these secrets.
    ///
    /// # Errors
    /// The first secret that they cannot, and the remedy.
    pub fn check_secrets(&self, secrets: &[SecretRef]) -> Result<(), String> {
        let resolves = |secret: &&SecretRef| {
            let scheme = secret.uri.scheme();
            self.schemes.iter().any(|own| own.name == scheme)
        };
        let Some(secret) = secrets.iter().find(|secret| !resolves(secret)) else {
            return Ok(());
        };
        let own: Vec<String> = self
            .schemes
            .iter()
            .map(|scheme| format!("`{}://`", scheme.name))
            .collect();
        let (name, from, scheme, host) =
            (&secret.name, &secret.from, secret.uri.scheme(), self.name);
        Err(format!(
            "secret `{name}` of profile `{from}` is `{scheme}://`, which a {host} pool cannot resolve; use {own} with \
             {host} pools, take the key out with a tombstone, or hide it from the step's tool",
            own = own.join(" or "),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::{FARGATE, PULL};

    fn identity(secrets: &[(&str, &str, &str)], env: &[(&str, &str)]) -> Identity {
        let secret = |(name, uri, version): &(&str, &str, &str)| SecretRef {
            redact: true,
            delivery: Delivery::Env,
            name: (*name).to_owned(),
            uri: uri.parse().expect("a uri"),
            version: Some((*version).to_owned()),
            arn: None,
            from: "crm".parse().expect("a profile"),
        };
        Identity {
            secrets: secrets.iter().map(secret).collect(),
            env: env
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..Identity::default()
        }
    }

    fn keys(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn drift_is_four_exact_sets() {
        let before = identity(
            &[
                ("A", "builtin://a", "1"),
                ("B", "builtin://b", "1"),
                ("C", "builtin://c", "1"),
                ("D", "builtin://d", "1"),
            ],
            &[("X", "1"), ("Y", "1")],
        );
        let after = identity(
            &[
                ("A", "builtin://a", "1"),
                ("B", "builtin://b", "2"),
                ("D", "builtin://e", "1"),
                ("E", "builtin://e", "1"),
            ],
            &[("X", "2"), ("Y", "1")],
        );
        let drift = before.drift_to(&after).expect("it has drifted");
        assert_eq!((drift.added, drift.removed), (keys(&["E"]), keys(&["C"])));
        assert_eq!(
            (drift.rotated, drift.knobs),
            (keys(&["B", "D"]), keys(&["X"]))
        );
        assert_eq!(before.drift_to(&before), None);
    }

    fn bound(host: &str) -> Delivery {
        let json = format!(r#"{{"egress":{{"to":[{{"host":"{host}"}}]}}}}"#);
        serde_json::from_str(&json).expect("a delivery")
    }

    #[test]
    fn another_delivery_is_a_rotation() {
        let before = identity(&[("A", "builtin://a", "1"), ("B", "builtin://b", "1")], &[]);
        let mut after = before.clone();
        after.secrets[0].delivery = bound("a.example");
        let drift = before.drift_to(&after).expect("it has drifted");
        assert_eq!(drift.rotated, keys(&["A"]));
        assert_eq!(
            (before.delivery(), after.delivery()),
            (Kind::Env, Kind::Egress)
        );
    }

    #[test]
    fn what_is_delivered_at_egress_must_get_out() {
        let mut identity = identity(&[("A", "builtin://a", "1")], &[]);
        assert_eq!(identity.check_delivery(), Ok(()));
        identity.secrets[0].delivery = bound("a.example");
        for (policy, can) in [
            (None, false),
            (Some(Policy::None), false),
            (Some(Policy::Open), true),
        ] {
            identity.egress = policy;
            assert_eq!(
                identity.check_delivery().is_ok(),
                can,
                "{:?}",
                identity.egress
            );
        }
        for host in [&PULL, &FARGATE] {
            assert_eq!(host.check_delivery(&identity.secrets), Ok(()));
            assert_eq!(host.check_egress(Some(&Policy::None)), Ok(()));
        }
        let toy = Host::of_kind("toy");
        assert!(toy.check_delivery(&identity.secrets).is_err());
        for policy in [Policy::None, Policy::Open] {
            assert!(toy.check_egress(Some(&policy)).is_err(), "{policy}");
        }
        assert_eq!(toy.check_egress(None), Ok(()));
    }

    #[test]
    fn an_access_key_id_may_stand_in_a_variable() {
        let resolved = |id: &str| {
            let json = format!(
                r#"{{"egress":{{"to":[{{"host":"a.example"}}],"how":{{"sigv4":{{"access_key_id":"{id}"}}}}}}}}"#
            );
            let origin = crate::cascade::Origin {
                level: Level::Run,
                profile: Some("crm".parse().expect("a profile")),
            };
            let env = crate::cascade::Entry {
                set: "AKIDEXAMPLE".to_owned(),
                origin: origin.clone(),
            };
            let set = "builtin://a@1".parse().expect("a reference");
            let resolved = Resolved {
                env: BTreeMap::from([("KEY_ID".to_owned(), env)]),
                secrets: BTreeMap::from([("A".to_owned(), crate::cascade::Entry { set, origin })]),
                delivery: BTreeMap::from([(
                    "A".to_owned(),
                    serde_json::from_str(&json).expect("a delivery"),
                )]),
                ..Resolved::default()
            };
            let identity = Identity::new(&[], Overrides::default(), resolved);
            identity.secrets[0].delivery.to_string()
        };
        for id in ["KEY_ID", "AKIDEXAMPLE"] {
            let shown = "egress to a.example:443 signed as AKIDEXAMPLE";
            assert_eq!(resolved(id), shown);
        }
    }

    #[test]
    fn a_host_resolves_its_own_schemes() {
        let secrets = |uris: &[&str]| {
            let uris: Vec<_> = uris.iter().map(|uri| ("K", *uri, "1")).collect();
            identity(&uris, &[]).secrets
        };
        let both = secrets(&["aws-sm://sealfleet/a/b#k", "builtin://crm"]);
        assert_eq!(PULL.check_secrets(&both[1..]), Ok(()));
        assert_eq!(FARGATE.check_secrets(&both[..1]), Ok(()));
        assert_eq!(PULL.check_secrets(&both), Ok(()));
        assert_eq!(
            FARGATE.check_secrets(&both),
            Err(
                "secret `K` of profile `crm` is `builtin://`, which a Fargate pool cannot resolve; use `aws-sm://` with \
                 Fargate pools, take the key out with a tombstone, or hide it from the step's tool"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_step_sees_what_its_tool_may_see() {
        let mut identity = identity(
            &[("A", "builtin://a", "1"), ("B", "builtin://b", "1")],
            &[("X", "1")],
        );
        let names = |seen: Identity| {
            seen.secrets
                .into_iter()
                .map(|secret| secret.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(identity.seen_by(None)), ["A", "B"]);
        let claude: ToolName = "claude".parse().expect("a tool");
        identity.tools = Some(Acl::new(BTreeMap::from([(claude.clone(), keys(&["B"]))])));
        assert_eq!(names(identity.seen_by(Some(&claude))), ["B"]);
        assert!(names(identity.seen_by(None)).is_empty());
        assert_eq!(identity.seen_by(None).env.len(), 1);
    }
}
