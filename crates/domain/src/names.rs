//! Names that people choose. Each has exactly one spelling, in lower-case ASCII, so two names that
//! look alike are equal. No name contains a separator that joins keys (`#`) or the names of queues
//! and roles (`--`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {what}: use {rule}, {max} characters at most")]
pub struct InvalidName {
    given: String,
    what: &'static str,
    rule: &'static str,
    max: usize,
}

const HYPHENED: &str = "lower-case letters, digits and single hyphens, starting with a letter";
const PROJECT: &str =
    "lower-case letters, digits and single hyphens, starting with a letter, and not `system`";
const PREFIX: &str = "lower-case letters and digits, starting with a letter";
const UNDERSCORED: &str =
    "lower-case letters, digits, hyphens and underscores, starting with a letter";

fn hyphened(text: &str) -> bool {
    let starts_well = text
        .bytes()
        .next()
        .is_some_and(|first| first.is_ascii_lowercase());
    let letters = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    starts_well && letters && !text.contains("--") && !text.ends_with('-')
}

/// Rejects `system`, because that is the name of the operators' scope.
fn project(text: &str) -> bool {
    hyphened(text) && text != "system"
}

fn prefix(text: &str) -> bool {
    hyphened(text) && !text.contains('-')
}

fn underscored(text: &str) -> bool {
    let starts_well = text
        .bytes()
        .next()
        .is_some_and(|first| first.is_ascii_lowercase());
    starts_well
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:expr, $check:expr, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text.len() <= $max && $check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { given: text.chars().take(64).collect(), what: $what, rule: $rule, max: $max })
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The id of a project, the tenant.
    ProjectId, "a project", PROJECT, project, 32
);
name!(
    /// What the names of everything begin with that one installation has in its account. Without a
    /// hyphen, so that no installation's names begin with another's prefix and a hyphen.
    NamePrefix, "a name prefix", PREFIX, prefix, 16
);

impl Default for NamePrefix {
    fn default() -> Self {
        Self("sealfleet".to_owned())
    }
}

name!(
    /// The name of a pool: a queue of a project.
    PoolName, "a pool", HYPHENED, hyphened, 24
);
name!(
    /// The name of a Sealed Identity profile.
    ProfileName, "a profile", HYPHENED, hyphened, 48
);
name!(
    /// The id of a step, unique in its run.
    StepId, "a step", UNDERSCORED, underscored, 32
);
name!(
    /// The kind of work that a run does. A profile may allow only some workflows.
    WorkflowName, "a workflow", UNDERSCORED, underscored, 48
);

name!(
    /// A parameter of a registered workflow.
    ParameterName, "a parameter", UNDERSCORED, underscored, 48
);

name!(
    /// A tool that a step runs, such as a CLI agent. A profile may limit what each tool sees.
    ToolName, "a tool", UNDERSCORED, underscored, 48
);

/// Whether `key` can name an environment variable: it has letters, digits and underscores, does not
/// start with a digit, and is not a name that the sandbox itself uses, that says where the task
/// role's credentials come from, or that makes the loader load something.
#[must_use]
pub fn is_env_key(key: &str) -> bool {
    const RESERVED: [&str; 3] = ["SEALFLEET_", "AWS_CONTAINER_", "LD_"];
    let starts_well = key
        .bytes()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    starts_well
        && key.len() <= 128
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !RESERVED.iter().any(|prefix| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_refused() {
        for good in ["a", "healthcare", "team-a", "team-a1-b"] {
            assert!(good.parse::<ProjectId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "system",
            "A",
            "Team-a",
            "a--b",
            "a-",
            "-a",
            "1a",
            "a_b",
            "a#b",
            "tеam",
            "a b",
            &"a".repeat(33),
        ] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_sandbox_keeps_its_own_variables() {
        for good in ["API_KEY", "PATH", "AWS_ACCESS_KEY_ID", "AWS_REGION"] {
            assert!(is_env_key(good), "{good}");
        }
        for bad in [
            "",
            "1A",
            "A-B",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "LD_PRELOAD",
            "SEALFLEET_RUN",
        ] {
            assert!(!is_env_key(bad), "{bad}");
        }
    }
}
