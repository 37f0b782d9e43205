//! Secret references and profile references: addresses, as one string each. They name values and
//! are none.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;
use crate::names::ProfileName;

/// The address of one value in an identity backend. It names a value and is none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretUri {
    /// `aws-sm://NAME#JSON-KEY`: one key of a JSON secret in AWS Secrets Manager.
    AwsSecretsManager {
        /// The secret's name, `sealfleet/PROJECT/…`.
        name: String,
        /// The key inside the secret's JSON object.
        json_key: String,
    },
    /// `builtin://NAME`: a value of the encrypted file beside a worker.
    Builtin {
        /// The value's name in the file.
        name: String,
    },
}

/// A secret reference: an address and, if it is pinned, the version.
///
/// Text form `URI[@VERSION]`: `aws-sm://sealfleet/healthcare/crm#api-key`,
/// `builtin://crm@0198c0de-0000-7000-8000-00000000000a`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The address.
    pub uri: SecretUri,
    /// The version it is pinned to. Absent: the one that is current at each enqueue and start.
    pub version: Option<String>,
}

/// The name of a profile with its owner. Text form: `NAME`, or `system/NAME` for one of the
/// operators'.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProfileRef {
    /// A profile of the system scope.
    System(ProfileName),
    /// A profile of the project in question.
    Own(ProfileName),
}

/// A reference that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// No known scheme.
    #[error("the reference has no known scheme; use one of {known}", known = SecretUri::FORMS)]
    Scheme,
    /// A known scheme, written wrongly.
    #[error("the reference is malformed; write `{0}`")]
    Form(&'static str),
    /// A version that cannot be one.
    #[error("what follows `@` is not a version id: use 1 to 64 letters, digits and hyphens")]
    Version,
    /// Too long.
    #[error("the reference is too long: {max} bytes at most", max = limits::URI_BYTES)]
    TooLong,
}

impl SecretUri {
    /// The forms that are known, for messages.
    pub const FORMS: &'static str = "`aws-sm://NAME#JSON-KEY` or `builtin://NAME@VERSION`";

    /// The URI scheme, which names the identity backend.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        match self {
            Self::AwsSecretsManager { .. } => "aws-sm",
            Self::Builtin { .. } => "builtin",
        }
    }

    /// The value's name in its identity backend.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::AwsSecretsManager { name, .. } | Self::Builtin { name } => name,
        }
    }
}

impl ProfileRef {
    /// The name without the owner.
    #[must_use]
    pub const fn name(&self) -> &ProfileName {
        match self {
            Self::System(name) | Self::Own(name) => name,
        }
    }

    /// Whether it belongs to the operators.
    #[must_use]
    pub const fn is_system(&self) -> bool {
        matches!(self, Self::System(_))
    }
}

impl std::fmt::Display for ProfileRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System(name) => write!(f, "system/{name}"),
            Self::Own(name) => write!(f, "{name}"),
        }
    }
}

impl std::str::FromStr for ProfileRef {
    type Err = crate::names::InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("system/") {
            Some(name) => Ok(Self::System(name.parse()?)),
            None => Ok(Self::Own(text.parse()?)),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.uri),
            None => write!(f, "{}", self.uri),
        }
    }
}

impl std::str::FromStr for Reference {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > limits::URI_BYTES {
            return Err(InvalidUri::TooLong);
        }
        let (uri, version) = match text.split_once('@') {
            None => (text, None),
            Some((uri, version)) if is_version(version) => (uri, Some(version.to_owned())),
            Some(_) => return Err(InvalidUri::Version),
        };
        Ok(Self {
            uri: uri.parse()?,
            version,
        })
    }
}

fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl std::fmt::Display for SecretUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AwsSecretsManager { name, json_key } => write!(f, "aws-sm://{name}#{json_key}"),
            Self::Builtin { name } => write!(f, "builtin://{name}"),
        }
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty()
        && text.split('/').all(|part| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        })
}

impl std::str::FromStr for SecretUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > limits::URI_BYTES {
            return Err(InvalidUri::TooLong);
        }
        match text.split_once("://") {
            Some(("aws-sm", rest)) => match rest.split_once('#') {
                Some((name, json_key))
                    if is_path(name) && is_path(json_key) && !json_key.contains('/') =>
                {
                    Ok(Self::AwsSecretsManager {
                        name: name.to_owned(),
                        json_key: json_key.to_owned(),
                    })
                }
                _ => Err(InvalidUri::Form("aws-sm://NAME#JSON-KEY")),
            },
            Some(("builtin", name)) if is_path(name) => Ok(Self::Builtin {
                name: name.to_owned(),
            }),
            Some(("builtin", _)) => Err(InvalidUri::Form("builtin://NAME")),
            _ => Err(InvalidUri::Scheme),
        }
    }
}

/// As text: shown, stored and sent.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(SecretUri, Reference, ProfileRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        for good in [
            "aws-sm://sealfleet/healthcare/crm#api-key",
            "aws-sm://sealfleet/healthcare/crm#api-key@0198c0de-0000-7000-8000-00000000000a",
            "builtin://crm/api-key",
            "builtin://crm/api-key@v1",
        ] {
            assert_eq!(
                good.parse::<Reference>().map(|uri| uri.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "",
            "crm",
            "aws-sm://x",
            "aws-sm://#k",
            "builtin://",
            "builtin://../x",
            "ftp://x",
            "aws-sm://a//b#k",
            "builtin://x@",
            "builtin://x@a@b",
            "builtin://x@a b",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_told_the_known_ones() {
        let message = "ftp://x"
            .parse::<Reference>()
            .expect_err("no such scheme")
            .to_string();
        assert!(
            message.contains("aws-sm://") && message.contains("builtin://"),
            "{message}"
        );
    }

    #[test]
    fn the_owner_of_a_profile_is_in_its_reference() {
        for good in ["crm", "system/base"] {
            assert_eq!(
                good.parse::<ProfileRef>().map(|name| name.to_string()),
                Ok(good.to_owned())
            );
        }
        assert!(
            "system/base"
                .parse::<ProfileRef>()
                .is_ok_and(|name| name.is_system())
        );
        for bad in ["", "system/", "other/base", "system/a/b"] {
            assert!(bad.parse::<ProfileRef>().is_err(), "{bad}");
        }
    }
}
