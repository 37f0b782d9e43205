//! Sealed Identity profiles: names and references, never values.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::acl::{ALL, Acl};
use crate::capability::{Names, Versions};
use crate::clock::Timestamp;
use crate::delivery::{Delivery, How};
use crate::egress::Policy;
use crate::labels::Labels;
use crate::limits;
use crate::names::{ProfileName, WorkflowName, is_env_key};
pub use crate::reference::{InvalidUri, ProfileRef, Reference, SecretUri};
#[cfg(feature = "openapi")]
use crate::schema;
use crate::scope::Owner;
use crate::text;
use crate::workload::Workload;

/// A Sealed Identity profile of a project or of the system scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Profile {
    /// Unique for its owner.
    pub name: ProfileName,
    /// Number of this version. Starts at 1 and grows with each change.
    pub version: u32,
    #[serde(flatten)]
    pub content: Content,
    pub created_at: Timestamp,
    /// When this version was written.
    pub updated_at: Timestamp,
}

/// All that a profile's author writes, beside the name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "ProfileContent"))]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Plain environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "schema::Env"))]
    pub env: BTreeMap<String, String>,
    /// Secret references by the environment variable that a sandbox sees.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "schema::SecretReferences"))]
    pub secrets: BTreeMap<String, Reference>,
    /// How values of secrets are delivered: in their environment variable unless this says
    /// otherwise. Of a key that a lower level sets, this can say `egress` and nothing else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "schema::Deliveries"))]
    pub delivery: BTreeMap<String, Delivery>,
    /// Tombstones: keys of lower levels that this profile removes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "schema::tombstones"))]
    pub remove: BTreeSet<String>,
    /// Tags for people and tools. They decide nothing.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub tags: Labels,
    /// The workflows that may use it. Empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub allowed_workflows: BTreeSet<WorkflowName>,
    /// Whether only runs of registered workflows may use it. Then `allowed_workflows` names those.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub registered_only: bool,
    /// The secrets that each tool sees. Absent: every tool sees all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Acl>,
    /// Which hosts a step may reach. Levels narrow each other: it reaches what all of them allow.
    /// Absent: this profile leaves it to the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Policy>,
    /// Who a step may prove itself to, by tokens of the control plane. Levels narrow each other.
    /// Absent: this profile leaves it to the others, and if none says, a step gets no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Workload>,
}

/// A rule that a profile breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidProfile {
    /// Path of the field: `secrets.API_KEY`.
    pub field: String,
    /// What is wrong and how to fix it.
    pub message: String,
}

impl Content {
    /// Checks the content that a user wrote for a profile of `owner`.
    ///
    /// # Errors
    /// The first field that breaks a rule. A reference must have its owner's own prefix. The
    /// owner's sandboxes can read no other, and this check reports it before anything starts.
    pub fn check(&self, owner: &Owner) -> Result<(), InvalidProfile> {
        let tags = self.tags.check();
        tags.map_err(|error| invalid("tags", error.to_string()))?;
        check_env("env", &self.env)?;
        if self.secrets.len() > limits::SECRETS {
            return Err(invalid(
                "secrets",
                format!(
                    "{} secrets are too many: {} at most",
                    self.secrets.len(),
                    limits::SECRETS
                ),
            ));
        }
        for (name, reference) in &self.secrets {
            let field = below("secrets", name);
            check_key(&field, name)?;
            if self.env.contains_key(name) {
                return Err(invalid(
                    &field,
                    format!("`{name}` is also set in `env`; keep only one of the two"),
                ));
            }
            check_reference(reference, owner).map_err(|message| invalid(&field, message))?;
        }
        self.check_delivery()?;
        self.check_tombstones()?;
        if self.allowed_workflows.len() > limits::WORKFLOWS {
            return Err(invalid(
                "allowed_workflows",
                format!("{} workflows at most", limits::WORKFLOWS),
            ));
        }
        if let Some(egress) = &self.egress {
            egress
                .check()
                .map_err(|message| invalid("egress", message))?;
        }
        if let Some(identity) = &self.identity {
            identity
                .check()
                .map_err(|message| invalid("identity.audiences", message))?;
        }
        self.tools.as_ref().map_or(Ok(()), check_tools)
    }

    fn check_delivery(&self) -> Result<(), InvalidProfile> {
        let bound = self.delivery.values().filter_map(Delivery::at_egress);
        if bound.count() > limits::EGRESS_SECRETS || self.delivery.len() > limits::SECRETS {
            let (bound, all) = (limits::EGRESS_SECRETS, limits::SECRETS);
            let message = format!("{all} keys at most, and {bound} of them `egress`");
            return Err(invalid("delivery", message));
        }
        for (key, delivery) in &self.delivery {
            let field = below("delivery", key);
            check_key(&field, key)?;
            if self.remove.contains(key) || self.env.contains_key(key) {
                let message = format!("this profile has no secret `{key}`; name one of `secrets`");
                return Err(invalid(&field, message));
            }
            let bound = delivery.at_egress();
            if bound.is_none() && !self.secrets.contains_key(key) {
                let message = format!(
                    "this profile does not set `{key}`, so it can only make its delivery stricter: write `egress`, or name one of `secrets`"
                );
                return Err(invalid(&field, message));
            }
            delivery
                .check()
                .map_err(|message| invalid(&field, message))?;
            let Some(How::Sigv4(by)) = bound.map(|bound| &bound.how) else {
                continue;
            };
            let id = &by.access_key_id;
            let of_id = self.delivery.get(id).and_then(Delivery::at_egress);
            if self.secrets.contains_key(id) && of_id.is_none() {
                let message = format!(
                    "`{id}` is a secret that the step sees: deliver it at egress as well, or set it in `env`"
                );
                return Err(invalid(&field, message));
            }
        }
        Ok(())
    }

    fn check_tombstones(&self) -> Result<(), InvalidProfile> {
        if self.remove.len() > limits::ENV_ENTRIES {
            return Err(invalid(
                "remove",
                format!("{} keys at most", limits::ENV_ENTRIES),
            ));
        }
        for key in &self.remove {
            let field = below("remove", key);
            check_key(&field, key)?;
            if self.env.contains_key(key) || self.secrets.contains_key(key) {
                return Err(invalid(
                    &field,
                    format!("this profile also sets `{key}`; either set it or remove it"),
                ));
            }
        }
        Ok(())
    }
}

/// Checks that a reference uses its owner's names, and that it is pinned if nobody can look up a
/// version.
fn check_reference(reference: &Reference, owner: &Owner) -> Result<(), String> {
    let (scheme, name) = (reference.uri.declared(), reference.uri.name());
    match scheme.names {
        Names::Prefixed(prefix) => {
            let prefix = format!("{prefix}{}/", owner.name());
            if !name.starts_with(&prefix) {
                return Err(format!("the secret's name must start with `{prefix}`"));
            }
        }
        Names::Mounted => {
            let owner = owner.name();
            if name.split('/').nth(1) != Some(owner) || name.split('/').nth(2).is_none() {
                return Err(format!(
                    "the second part of the secret's name must be `{owner}`, as in `{}://MOUNT/{owner}/PATH`",
                    scheme.name
                ));
            }
        }
        Names::OfLogin => {
            if matches!(owner, Owner::System) {
                return Err(format!(
                    "system profiles cannot use `{}`: its names have no owner, so the workers of every project would need to read them",
                    scheme.name
                ));
            }
        }
        Names::SystemApart => {
            if name.starts_with("system/") != matches!(owner, Owner::System) {
                return Err(
                    "names under `system/` are for system profiles, which may use no others"
                        .to_owned(),
                );
            }
        }
    }
    match scheme.versions {
        Versions::Pinned { because } if reference.version.is_none() => Err(format!(
            "pin the version, as in `{}`: {because}",
            scheme.reference_form()
        )),
        Versions::None { because } if reference.version.is_some() => Err(format!(
            "leave the version out, as in `{}`: {because}",
            scheme.form
        )),
        Versions::Pinned { .. } | Versions::Described | Versions::None { .. } => Ok(()),
    }
}

fn check_tools(tools: &Acl) -> Result<(), InvalidProfile> {
    if tools.len() > limits::TOOLS {
        return Err(invalid("tools", format!("{} tools at most", limits::TOOLS)));
    }
    for (tool, keys) in tools.iter() {
        let field = format!("tools.{tool}");
        if keys.len() > limits::SECRETS {
            return Err(invalid(&field, format!("{} keys at most", limits::SECRETS)));
        }
        if let Some(key) = keys.iter().find(|key| *key != ALL && !is_env_key(key)) {
            return Err(invalid(
                &below(&field, key),
                format!("{ENV_KEY_RULE}; `*` stands for all keys"),
            ));
        }
    }
    Ok(())
}

const ENV_KEY_RULE: &str = "the name must be letters, digits and underscores, not start with a digit, and not \
                            start with `AWS_CONTAINER_`, `LD_` or `SEALFLEET_`";

fn check_key(field: &str, key: &str) -> Result<(), InvalidProfile> {
    if is_env_key(key) {
        Ok(())
    } else {
        Err(invalid(field, ENV_KEY_RULE.to_owned()))
    }
}

/// Checks a map of environment variables.
///
/// # Errors
/// The first entry that breaks a rule. Its path starts with `field`.
pub fn check_env(field: &str, env: &BTreeMap<String, String>) -> Result<(), InvalidProfile> {
    if env.len() > limits::ENV_ENTRIES {
        return Err(invalid(
            field,
            format!(
                "{} entries are too many: {} at most",
                env.len(),
                limits::ENV_ENTRIES
            ),
        ));
    }
    for (key, value) in env {
        let field = below(field, key);
        check_key(&field, key)?;
        if value.len() > limits::ENV_VALUE_BYTES {
            return Err(invalid(
                &field,
                format!(
                    "the value must be {} bytes at most",
                    limits::ENV_VALUE_BYTES
                ),
            ));
        }
        text::check(value).map_err(|error| invalid(&field, error.to_string()))?;
    }
    Ok(())
}

fn below(field: &str, key: &str) -> String {
    format!(
        "{field}.{}",
        key.chars().take(limits::NAME_BYTES).collect::<String>()
    )
}

fn invalid(field: &str, message: String) -> InvalidProfile {
    InvalidProfile {
        field: field.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::ProjectScope;

    fn healthcare() -> Owner {
        Owner::Project(ProjectScope::of_stored_row(
            "healthcare".parse().expect("valid"),
        ))
    }

    /// A profile with this reference, if it is one.
    fn profile_with(reference: &str) -> Option<Content> {
        let secrets = BTreeMap::from([("API_KEY".to_owned(), reference.parse().ok()?)]);
        Some(Content {
            secrets,
            ..Content::default()
        })
    }

    fn refused(uri: &str, owner: &Owner) -> bool {
        let content = profile_with(uri).expect("a reference");
        match content.check(owner) {
            Ok(()) => false,
            Err(error) => {
                assert_eq!(error.field, "secrets.API_KEY");
                true
            }
        }
    }

    #[test]
    fn a_reference_stands_under_its_owner() {
        assert!(!refused(
            "aws-sm://sealfleet/healthcare/crm#k",
            &healthcare()
        ));
        assert!(!refused("aws-sm://sealfleet/system/crm#k", &Owner::System));
        for foreign in [
            "aws-sm://sealfleet/finance/crm#k",
            "aws-sm://sealfleet/system/crm#k",
            "builtin://system/x@1",
        ] {
            assert!(refused(foreign, &healthcare()), "{foreign}");
        }
        for foreign in ["aws-sm://sealfleet/finance/crm#k", "builtin://x@1"] {
            assert!(refused(foreign, &Owner::System), "{foreign}");
        }
        // Of stores that workers log in to.
        let id = "bitwarden://6bb8a2a4-6a4b-4751-a310-af9601317f2d@2026-01-02T03-04-05Z";
        for (reference, own, of_system) in [
            ("vault://kv/healthcare/crm#k@1", true, false),
            ("vault://kv/system/crm#k@1", false, true),
            ("vault://kv/finance/crm#k@1", false, false),
            ("vault://healthcare/crm#k@1", false, false),
            ("vault://healthcare/healthcare#k@1", false, false),
            ("vault://kv/healthcare/crm@1", false, false),
            ("vault://kv/healthcare/crm#k", false, false),
            ("onepassword://healthcare/crm/token@3", true, false),
            ("onepassword://finance/crm/token@3", false, false),
            ("onepassword://system/crm/token@3", false, true),
            (id, true, false),
            (
                "bitwarden://6bb8a2a4-6a4b-4751-a310-af9601317f2d",
                false,
                false,
            ),
        ] {
            let accepted = |owner: &Owner| {
                let content = profile_with(reference);
                content.is_some_and(|content| content.check(owner).is_ok())
            };
            assert_eq!(accepted(&healthcare()), own, "{reference}");
            assert_eq!(accepted(&Owner::System), of_system, "{reference}");
        }
    }

    #[test]
    fn a_reference_that_cannot_be_described_is_pinned() {
        assert!(refused("builtin://crm", &healthcare()));
        assert!(!refused(
            "builtin://crm@0198c0de-0000-7000-8000-00000000000a",
            &healthcare()
        ));
    }

    #[test]
    fn a_delivery_is_of_a_secret() {
        let content = |json: &str| -> Content { serde_json::from_str(json).expect("a content") };
        let checked = |delivery: &str| {
            let own = r#""KEY_ID":"AKIDEXAMPLE""#;
            let secrets = r#""K":"builtin://k@1","ID":"builtin://id@1""#;
            content(&format!(
                r#"{{"env":{{{own}}},"secrets":{{{secrets}}},"remove":["GONE"],"delivery":{{{delivery}}}}}"#
            ))
            .check(&healthcare())
        };
        let bound = |key: &str, how: &str| {
            format!(r#""{key}":{{"egress":{{"to":[{{"host":"a.example"}}],"how":{how}}}}}"#)
        };
        let signed = |id: &str| format!(r#"{{"sigv4":{{"access_key_id":"{id}"}}}}"#);
        for good in [
            r#""K":"file""#.to_owned(),
            r#""K":"env""#.to_owned(),
            bound("K", r#""header""#),
            bound("K", &signed("KEY_ID")),
            bound("OF_A_LOWER_LEVEL", r#""header""#),
        ] {
            assert_eq!(checked(&good), Ok(()), "{good}");
        }
        for bad in [
            r#""OF_A_LOWER_LEVEL":"file""#.to_owned(),
            r#""OF_A_LOWER_LEVEL":"env""#.to_owned(),
            bound("KEY_ID", r#""header""#),
            bound("GONE", r#""header""#),
            bound("K", &signed("ID")),
            r#""K":{"egress":{"to":[]}}"#.to_owned(),
        ] {
            let error = checked(&bad).expect_err(&bad);
            assert!(error.field.starts_with("delivery."), "{bad}: {error:?}");
        }
        let many = |most: usize| {
            let all: Vec<String> = (0..most)
                .map(|at| bound(&format!("K{at}"), r#""header""#))
                .collect();
            checked(&all.join(","))
        };
        assert_eq!(many(limits::EGRESS_SECRETS), Ok(()));
        assert!(many(limits::EGRESS_SECRETS + 1).is_err());
    }

    #[test]
    fn a_tombstone_is_not_set_beside() {
        let content = Content {
            env: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            remove: BTreeSet::from(["A".to_owned()]),
            ..Content::default()
        };
        assert_eq!(
            content.check(&healthcare()).map_err(|error| error.field),
            Err("remove.A".to_owned())
        );
    }
}
