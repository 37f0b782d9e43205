//! The cascade: merges profiles key by key, in the order system -> project -> workflow -> run.
//!
//! A later level wins, a tombstone removes a key of lower levels, and each key records the origin
//! of the winning value. Resolution is a pure function of the fetched profiles, at most one for
//! each level. So its cost does not depend on how many profiles exist.
//!
//! Once any level declares a key as a secret, no later level can set it to a plain value, not even
//! after a tombstone. Otherwise the author of a later level could silently replace a protected
//! secret with a plain variable. The same holds for its delivery: a later level that does not set
//! the key itself can bring it to `egress`, and never back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::acl::Acl;
use crate::delivery::Delivery;
use crate::egress::{Policy, TooManyRules};
use crate::names::{ProfileName, WorkflowName};
use crate::profile::{Content, InvalidProfile, Profile, check_env};
use crate::reference::{ProfileRef, Reference};
use crate::workload::Workload;

/// A level of the cascade, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A profile of the operators.
    System,
    /// The project's default profile.
    Project,
    /// The profile that the project binds to the workflow.
    Workflow,
    /// The profile that the run names.
    Run,
}

/// The profiles that a project binds below each run's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Bindings {
    /// A profile of the system scope, at the lowest level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<ProfileName>,
    /// The project's default profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProfileName>,
    /// Profiles by workflow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(extend("maxProperties" = crate::limits::WORKFLOWS)))]
    pub workflows: BTreeMap<WorkflowName, ProfileName>,
}

/// What a run changes for itself alone, above all profiles. It cannot name secrets: a reference
/// outside of a profile would escape the rules of profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// Plain environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::schema::Env"))]
    pub env: BTreeMap<String, String>,
    /// Tombstones: keys of profiles that the run removes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "crate::schema::tombstones")
    )]
    pub remove: BTreeSet<String>,
}

/// A profile and its level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub level: Level,
    /// The profile's name and owner.
    pub profile: ProfileRef,
    pub content: Profile,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Origin {
    pub level: Level,
    /// Absent for the run's own overrides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileRef>,
}

/// A key's value and origin after the merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    pub set: T,
    pub origin: Origin,
}

/// The merged cascade.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Plain environment variables.
    pub env: BTreeMap<String, Entry<String>>,
    /// Secret references.
    pub secrets: BTreeMap<String, Entry<Reference>>,
    /// How their values are delivered, by key.
    pub delivery: BTreeMap<String, Delivery>,
    /// Keys that a tombstone removed, and the level that removed each.
    pub removed: BTreeMap<String, Origin>,
    /// Every key that any level declared as a secret, and the last level that did. None of them may
    /// be set to a plain value.
    pub sealed: BTreeMap<String, Origin>,
    /// The secrets that each tool sees. `None` when no profile limits tools.
    pub tools: Option<Acl>,
    /// The hosts that steps may reach. `None` when no profile says.
    pub egress: Option<Policy>,
    /// Who steps may prove themselves to. `None` when no profile says.
    pub workload: Option<Workload>,
}

/// Why a cascade cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CascadeError {
    /// The profile is limited to other workflows.
    #[error("profile `{profile}` may not be used by workflow `{workflow}`")]
    NotAllowed {
        profile: ProfileRef,
        workflow: WorkflowName,
    },
    /// The profile is for registered workflows, and the run's steps are its caller's.
    #[error(
        "profile `{0}` may be used by registered workflows only, and the steps of this run are not one's; register them with `sealfleet workflow register`, and run the workflow by its name"
    )]
    NotRegistered(ProfileRef),
    /// The project's own profiles open everything.
    #[error(
        "`egress: open` is for operators: name the hosts, or ask an operator for the egress ceiling `open` of this project"
    )]
    Open,
    /// A plain value would replace a secret.
    #[error(
        "`{key}` is a secret of {}, so {} cannot set it to a plain value; give it a secret reference, or use another name",
        described(.secret), described(.plain)
    )]
    SecretOverride {
        key: String,
        /// The level that declared the secret.
        secret: Origin,
        /// The level that sets the plain value.
        plain: Origin,
    },
    /// Egress rules of several levels multiply.
    #[error(transparent)]
    Egress(#[from] TooManyRules),
    /// Nobody sets the secret whose delivery a profile states.
    #[error(
        "profile `{profile}` says how `{key}` is delivered, and neither it nor a level below it sets that secret; correct the name, or take it out of `delivery`"
    )]
    NoSuchSecret { key: String, profile: ProfileRef },
    /// A profile would change where a secret of a lower level goes.
    #[error(
        "`{key}` is delivered at egress already, so profile `{profile}` cannot bind it to other hosts; give it a reference of its own, or take it out of `delivery`"
    )]
    Bound { key: String, profile: ProfileRef },
}

/// An origin as error messages name it.
fn described(origin: &Origin) -> String {
    origin.profile.as_ref().map_or_else(
        || "the run itself".to_owned(),
        |profile| format!("profile `{profile}`"),
    )
}

impl Bindings {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.system.is_none() && self.project.is_none() && self.workflows.is_empty()
    }

    /// The profiles for a run of `workflow` that names the profile `own`, lowest level first.
    #[must_use]
    pub fn levels(
        &self,
        workflow: &WorkflowName,
        own: Option<&ProfileName>,
    ) -> Vec<(Level, ProfileRef)> {
        let of = |level, name: Option<&ProfileName>| {
            name.map(|name| (level, ProfileRef::Own(name.clone())))
        };
        let system = self
            .system
            .as_ref()
            .map(|name| (Level::System, ProfileRef::System(name.clone())));
        [
            system,
            of(Level::Project, self.project.as_ref()),
            of(Level::Workflow, self.workflows.get(workflow)),
            of(Level::Run, own),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Overrides {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.env.is_empty() && self.remove.is_empty()
    }

    /// Checks the overrides that a caller wrote.
    ///
    /// # Errors
    /// The first entry that breaks a rule.
    pub fn check(&self) -> Result<(), InvalidProfile> {
        check_env("overrides.env", &self.env)?;
        let marks = self
            .remove
            .iter()
            .map(|key| (key.clone(), String::new()))
            .collect();
        check_env("overrides.remove", &marks)?;
        match self.remove.iter().find(|key| self.env.contains_key(*key)) {
            None => Ok(()),
            Some(key) => Err(InvalidProfile {
                field: format!("overrides.remove.{key}"),
                message: format!("`overrides.env` also sets `{key}`; either set it or remove it"),
            }),
        }
    }
}

/// Merges `layers`, lowest level first, and a run's overrides above them.
///
/// # Errors
/// When a profile does not allow `workflow`, or only registered ones and this run has no
/// `version` of one, a plain value would replace a secret, or the levels
/// have too many egress rules together.
pub fn resolve(
    layers: &[Layer],
    overrides: &Overrides,
    workflow: &WorkflowName,
    version: Option<u32>,
) -> Result<Resolved, CascadeError> {
    let mut outcome = Resolved::default();
    for layer in layers {
        let content = &layer.content.content;
        if !content.allowed_workflows.is_empty() && !content.allowed_workflows.contains(workflow) {
            return Err(CascadeError::NotAllowed {
                profile: layer.profile.clone(),
                workflow: workflow.clone(),
            });
        }
        if content.registered_only && version.is_none() {
            return Err(CascadeError::NotRegistered(layer.profile.clone()));
        }
        let origin = Origin {
            level: layer.level,
            profile: Some(layer.profile.clone()),
        };
        outcome.remove(&content.remove, &origin);
        outcome.seal(&content.secrets, &origin);
        outcome.deliver(content, &layer.profile)?;
        outcome.set(&content.env, &origin)?;
        outcome.tools = narrowed(
            outcome.tools.take(),
            content.tools.as_ref(),
            Acl::narrowed_by,
        );
        outcome.egress = match (outcome.egress.take(), &content.egress) {
            (Some(lower), Some(own)) => Some(lower.narrowed_by(own)?),
            (lower, own) => lower.or_else(|| own.clone()),
        };
        let workload = content.identity.as_ref();
        outcome.workload = narrowed(outcome.workload.take(), workload, Workload::narrowed_by);
    }
    let origin = Origin {
        level: Level::Run,
        profile: None,
    };
    outcome.remove(&overrides.remove, &origin);
    outcome.set(&overrides.env, &origin)?;
    Ok(outcome)
}

impl Resolved {
    /// The outcome below the ceiling that operators have set for the project. A ceiling only
    /// narrows: where no profile says anything, it lets nothing through.
    ///
    /// # Errors
    /// [`CascadeError::Open`] where nobody above the project allows everything: no ceiling, and no
    /// profile of the system.
    pub fn below(
        mut self,
        ceiling: Option<&Policy>,
        layers: &[Layer],
    ) -> Result<Self, CascadeError> {
        self.egress = match (self.egress.take(), ceiling) {
            (said, Some(Policy::Open)) => said,
            (None, None) => None,
            (None, Some(_)) => Some(Policy::None),
            (Some(said), Some(ceiling)) => {
                Some(said.narrowed_by(ceiling).map_err(CascadeError::Egress)?)
            }
            (Some(Policy::Open), None) => {
                let of_system = |layer: &Layer| {
                    let is_open = layer.content.content.egress == Some(Policy::Open);
                    is_open && matches!(layer.profile, ProfileRef::System(_))
                };
                if !layers.iter().any(of_system) {
                    return Err(CascadeError::Open);
                }
                Some(Policy::Open)
            }
            (Some(said), None) => Some(said),
        };
        Ok(self)
    }

    /// Checks that no variable in `env`, which a step sets for itself, replaces a secret.
    ///
    /// # Errors
    /// [`CascadeError::SecretOverride`].
    pub fn check_plain(&self, env: &BTreeMap<String, String>) -> Result<(), CascadeError> {
        let taken = env
            .keys()
            .find_map(|key| Some((key, self.sealed.get(key)?)));
        taken.map_or(Ok(()), |(key, secret)| {
            let plain = Origin {
                level: Level::Run,
                profile: None,
            };
            Err(CascadeError::SecretOverride {
                key: key.clone(),
                secret: secret.clone(),
                plain,
            })
        })
    }

    fn remove(&mut self, keys: &BTreeSet<String>, origin: &Origin) {
        for key in keys {
            let plain = self.env.remove(key).is_some();
            let secret = self.secrets.remove(key).is_some();
            self.delivery.remove(key);
            if plain || secret {
                self.removed.insert(key.clone(), origin.clone());
            }
        }
    }

    /// Says how the secrets of one more level are delivered, and brings some of the levels below it
    /// to egress.
    fn deliver(&mut self, content: &Content, profile: &ProfileRef) -> Result<(), CascadeError> {
        for key in content.secrets.keys() {
            let own = content.delivery.get(key).cloned();
            self.delivery.insert(key.clone(), own.unwrap_or_default());
        }
        let of_others = content.delivery.iter();
        for (key, delivery) in of_others.filter(|(key, _)| !content.secrets.contains_key(*key)) {
            let (key, profile) = (key.clone(), profile.clone());
            let before = self.delivery.get(&key).map(Delivery::kind);
            if !self.secrets.contains_key(&key) {
                return Err(CascadeError::NoSuchSecret { key, profile });
            }
            if before.is_none_or(|before| before >= delivery.kind()) {
                return Err(CascadeError::Bound { key, profile });
            }
            self.delivery.insert(key, delivery.clone());
        }
        Ok(())
    }

    fn seal(&mut self, secrets: &BTreeMap<String, Reference>, origin: &Origin) {
        for (key, reference) in secrets {
            self.env.remove(key);
            self.removed.remove(key);
            self.sealed.insert(key.clone(), origin.clone());
            self.secrets.insert(
                key.clone(),
                Entry {
                    set: reference.clone(),
                    origin: origin.clone(),
                },
            );
        }
    }

    fn set(&mut self, env: &BTreeMap<String, String>, origin: &Origin) -> Result<(), CascadeError> {
        for (key, value) in env {
            if let Some(secret) = self.sealed.get(key) {
                let (secret, plain) = (secret.clone(), origin.clone());
                return Err(CascadeError::SecretOverride {
                    key: key.clone(),
                    secret,
                    plain,
                });
            }
            self.removed.remove(key);
            self.env.insert(
                key.clone(),
                Entry {
                    set: value.clone(),
                    origin: origin.clone(),
                },
            );
        }
        Ok(())
    }
}

/// What the lower levels and one more leave over, where any of them says.
fn narrowed<T: Clone>(lower: Option<T>, own: Option<&T>, both: fn(&T, &T) -> T) -> Option<T> {
    match (lower, own) {
        (Some(lower), Some(own)) => Some(both(&lower, own)),
        (lower, own) => lower.or_else(|| own.cloned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::delivery::Kind;

    fn layer(level: Level, profile: &str, content: Content) -> Layer {
        let profile: ProfileRef = profile.parse().expect("a profile");
        let at = Timestamp::from_millis(0);
        let name = profile.name().clone();
        Layer {
            level,
            profile,
            content: Profile {
                name,
                version: 1,
                content,
                created_at: at,
                updated_at: at,
            },
        }
    }

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn secrets(pairs: &[(&str, &str)]) -> BTreeMap<String, Reference> {
        pairs
            .iter()
            .map(|(key, uri)| ((*key).to_owned(), uri.parse().expect("a reference")))
            .collect()
    }

    fn merged(layers: &[Layer], overrides: &Overrides) -> Result<Resolved, CascadeError> {
        resolve(
            layers,
            overrides,
            &"billing".parse().expect("a workflow"),
            None,
        )
    }

    #[test]
    fn the_later_level_wins_and_each_key_keeps_its_origin() {
        let layers = [
            layer(
                Level::System,
                "system/base",
                Content {
                    env: env(&[("A", "1"), ("B", "1")]),
                    ..Content::default()
                },
            ),
            layer(
                Level::Workflow,
                "billing",
                Content {
                    env: env(&[("B", "2")]),
                    ..Content::default()
                },
            ),
        ];
        let overrides = Overrides {
            env: env(&[("C", "3")]),
            ..Overrides::default()
        };
        let outcome = merged(&layers, &overrides).expect("an outcome");
        let shown: Vec<_> = outcome
            .env
            .iter()
            .map(|(key, e)| (key.as_str(), e.set.as_str(), e.origin.level))
            .collect();
        assert_eq!(
            shown,
            [
                ("A", "1", Level::System),
                ("B", "2", Level::Workflow),
                ("C", "3", Level::Run)
            ]
        );
    }

    #[test]
    fn a_tombstone_takes_a_secret_out_of_the_names() {
        let layers = [
            layer(
                Level::Project,
                "crm",
                Content {
                    secrets: secrets(&[("K", "aws-sm://a#k")]),
                    ..Content::default()
                },
            ),
            layer(
                Level::Run,
                "own",
                Content {
                    remove: BTreeSet::from(["K".to_owned()]),
                    ..Content::default()
                },
            ),
        ];
        let outcome = merged(&layers, &Overrides::default()).expect("an outcome");
        assert!(outcome.secrets.is_empty() && outcome.env.is_empty());
        assert_eq!(
            outcome.removed.get("K").map(|origin| origin.level),
            Some(Level::Run)
        );
    }

    #[test]
    fn delivery_goes_with_the_level_that_sets_the_key_and_only_gets_stricter() {
        let content = |secret: bool, delivery: Option<&str>| {
            let bound = r#"{"egress":{"to":[{"host":"HOST"}]}}"#;
            let read = |text: &str| {
                let json = match text.split_once(' ') {
                    Some((_, host)) => bound.replace("HOST", host),
                    None => format!("\"{text}\""),
                };
                serde_json::from_str(&json).expect("a delivery")
            };
            Content {
                secrets: secrets(if secret {
                    &[("K", "aws-sm://a#k")]
                } else {
                    &[]
                }),
                delivery: delivery
                    .map(|text| ("K".to_owned(), read(text)))
                    .into_iter()
                    .collect(),
                ..Content::default()
            }
        };
        let of = |levels: &[(bool, Option<&str>)]| {
            let all = [Level::System, Level::Project, Level::Run];
            let layers: Vec<Layer> = levels
                .iter()
                .zip(all)
                .map(|((secret, delivery), level)| layer(level, "p", content(*secret, *delivery)))
                .collect();
            let outcome = merged(&layers, &Overrides::default())?;
            Ok(outcome.delivery.get("K").map(ToString::to_string))
        };
        let (set, not) = (true, false);
        let (env, a) = (Some("env"), Some("egress to a.example:443"));
        let shown = |text: Option<&str>| Ok(text.map(str::to_owned));
        let at = |host: &'static str| Some(host);
        // Who sets the key says how it is delivered, whatever was said below.
        assert_eq!(of(&[(set, None)]), shown(env));
        assert_eq!(of(&[(set, Some("file"))]), shown(Some("file")));
        assert_eq!(of(&[(set, at("egress a.example")), (not, None)]), shown(a));
        assert_eq!(
            of(&[(set, at("egress a.example")), (set, None)]),
            shown(env)
        );
        // Others make it stricter.
        for before in ["env", "file"] {
            let levels = [(set, Some(before)), (not, at("egress a.example"))];
            assert_eq!(of(&levels), shown(a), "{before}");
        }
        // And nothing else: neither back, nor to other hosts, nor of a key that is not there.
        for after in ["env", "file", "egress b.example"] {
            let levels = [(set, at("egress a.example")), (not, Some(after))];
            assert!(
                matches!(of(&levels), Err(CascadeError::Bound { .. })),
                "{after}"
            );
        }
        let absent = of(&[(not, at("egress a.example"))]);
        assert!(matches!(absent, Err(CascadeError::NoSuchSecret { .. })));
        assert!(Kind::Env < Kind::File && Kind::File < Kind::Egress);
    }

    #[test]
    fn a_secret_is_never_overridden_by_a_plain_value() {
        let sealed = layer(
            Level::Project,
            "crm",
            Content {
                secrets: secrets(&[("K", "aws-sm://a#k")]),
                ..Content::default()
            },
        );
        let plain = layer(
            Level::Run,
            "own",
            Content {
                env: env(&[("K", "x")]),
                ..Content::default()
            },
        );
        let refused = |outcome: Result<Resolved, CascadeError>| matches!(outcome, Err(CascadeError::SecretOverride { key, .. }) if key == "K");
        assert!(refused(merged(
            &[sealed.clone(), plain.clone()],
            &Overrides::default()
        )));
        let overrides = Overrides {
            env: env(&[("K", "x")]),
            ..Overrides::default()
        };
        assert!(refused(merged(std::slice::from_ref(&sealed), &overrides)));
        // Not even when one level removes it and a later level sets it.
        let remove = BTreeSet::from(["K".to_owned()]);
        let tombstone = layer(
            Level::Workflow,
            "w",
            Content {
                remove,
                ..Content::default()
            },
        );
        assert!(refused(merged(
            &[sealed.clone(), tombstone, plain.clone()],
            &Overrides::default()
        )));
        // The reverse is allowed: a plain key may become a secret.
        let mut lower = plain;
        lower.level = Level::System;
        let outcome = merged(&[lower, sealed], &Overrides::default()).expect("an outcome");
        assert!(outcome.env.is_empty() && outcome.secrets.contains_key("K"));
    }

    #[test]
    fn backends_are_merged_key_by_key() {
        let lower = secrets(&[("A", "aws-sm://a#k"), ("B", "aws-sm://b#k")]);
        let upper = secrets(&[("B", "builtin://b@1")]);
        let layers = [
            layer(
                Level::Project,
                "p",
                Content {
                    secrets: lower,
                    ..Content::default()
                },
            ),
            layer(
                Level::Run,
                "r",
                Content {
                    secrets: upper,
                    ..Content::default()
                },
            ),
        ];
        let outcome = merged(&layers, &Overrides::default()).expect("an outcome");
        let schemes: Vec<_> = outcome
            .secrets
            .values()
            .map(|entry| entry.set.uri.scheme())
            .collect();
        assert_eq!(schemes, ["aws-sm", "builtin"]);
    }

    #[test]
    fn every_profile_of_the_cascade_must_allow_the_workflow() {
        let only = |workflow: &str| Content {
            allowed_workflows: BTreeSet::from([workflow.parse().expect("a workflow")]),
            ..Content::default()
        };
        let other = [
            layer(Level::System, "system/base", only("other")),
            layer(Level::Run, "r", Content::default()),
        ];
        assert!(matches!(
            merged(&other, &Overrides::default()),
            Err(CascadeError::NotAllowed { .. })
        ));
        let own = [
            layer(Level::System, "system/base", only("billing")),
            layer(Level::Run, "r", Content::default()),
        ];
        assert!(merged(&own, &Overrides::default()).is_ok());
    }

    #[test]
    fn a_project_binds_one_profile_to_each_level() {
        let name = |text: &str| text.parse().expect("a name");
        let bindings = Bindings {
            system: Some(name("base")),
            project: Some(name("default")),
            workflows: BTreeMap::from([("billing".parse().expect("a workflow"), name("invoices"))]),
        };
        let levels = bindings.levels(&"billing".parse().expect("a workflow"), Some(&name("crm")));
        let shown: Vec<String> = levels
            .iter()
            .map(|(_, profile)| profile.to_string())
            .collect();
        assert_eq!(shown, ["system/base", "default", "invoices", "crm"]);
        assert_eq!(
            bindings
                .levels(&"other".parse().expect("a workflow"), None)
                .len(),
            2
        );
    }
}
