//! Secret references and profile references: addresses, as one string each. They name values and
//! are none. Which schemes there are, `capability` says.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::capability::{Keyed, SCHEMES, Scheme};
use crate::limits;
use crate::names::ProfileName;

/// The address of one value in an identity backend: `SCHEME://NAME`, or `SCHEME://NAME#KEY` of one
/// value where a stored secret holds several. It names a value and is none.
#[derive(Clone)]
pub struct SecretUri {
    scheme: &'static Scheme,
    name: String,
    /// Absent: all that is stored is the value.
    key: Option<String>,
}

/// A secret reference: an address and, if it is pinned, the version.
///
/// Text form: `URI[@VERSION][?redact=false]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The address.
    pub uri: SecretUri,
    /// The version it is pinned to. Absent: the one that is current at each enqueue and start.
    pub version: Option<String>,
    /// Whether the value is taken out of a step's output. A value of less than 8 bytes cannot be.
    pub redact: bool,
}

/// What a reference ends with whose value stays in output.
const UNREDACTED: &str = "?redact=false";

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
    #[error("the reference has no known scheme; use one of {known}", known = forms())]
    Scheme,
    /// A known scheme, written wrongly.
    #[error("the reference is malformed; write `{0}`")]
    Form(&'static str),
    /// A version that cannot be one.
    #[error("what follows `@` is not a version id: use 1 to 64 letters, digits and hyphens")]
    Version,
    /// An option that there is not.
    #[error(
        "what follows `?` is not an option of a reference; the only one is `redact=false`, which leaves the value in output"
    )]
    Option,
    /// Too long.
    #[error("the reference is too long: {max} bytes at most", max = limits::URI_BYTES)]
    TooLong,
}

impl SecretUri {
    /// Reads an address of one of `schemes`.
    ///
    /// # Errors
    /// When it is too long, has another scheme, or is not in the scheme's form.
    pub fn parse(text: &str, schemes: &[&'static Scheme]) -> Result<Self, InvalidUri> {
        if text.len() > limits::URI_BYTES {
            return Err(InvalidUri::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidUri::Scheme)?;
        let scheme = schemes
            .iter()
            .find(|known| known.name == scheme)
            .ok_or(InvalidUri::Scheme)?;
        let (name, key) = match (rest.split_once('#'), scheme.keyed) {
            (Some((name, key)), Keyed::Maybe | Keyed::Always) => (name, Some(key)),
            (None, Keyed::Maybe | Keyed::Never) => (rest, None),
            _ => return Err(InvalidUri::Form(scheme.form)),
        };
        if is_path(name) && key.is_none_or(|key| is_path(key) && !key.contains('/')) {
            Ok(Self {
                scheme,
                name: name.to_owned(),
                key: key.map(str::to_owned),
            })
        } else {
            Err(InvalidUri::Form(scheme.form))
        }
    }

    /// The URI scheme, which names the identity backend.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        self.scheme.name
    }

    /// What the scheme can do.
    #[must_use]
    pub const fn declared(&self) -> &'static Scheme {
        self.scheme
    }

    /// The secret's name in its identity backend.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key of the value inside the secret. `None`: all that is stored is the value.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether a value of the one is in the other: they name the same stored secret, and the same
    /// key of it, or one of them all that is stored.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let same_secret = self.scheme.name == other.scheme.name && self.name == other.name;
        let apart = self
            .key()
            .zip(other.key())
            .is_some_and(|(one, two)| one != two);
        same_secret && !apart
    }

    fn parts(&self) -> (&str, &str, Option<&str>) {
        (self.scheme.name, &self.name, self.key())
    }
}

impl PartialEq for SecretUri {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for SecretUri {}

impl PartialOrd for SecretUri {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SecretUri {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.parts().cmp(&other.parts())
    }
}

/// The forms of all schemes, for messages.
fn forms() -> String {
    let forms = SCHEMES.map(|scheme| format!("`{}`", scheme.reference_form()));
    forms.join(" or ")
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
        write!(f, "{}", self.uri)?;
        if let Some(version) = &self.version {
            write!(f, "@{version}")?;
        }
        f.write_str(if self.redact { "" } else { UNREDACTED })
    }
}

impl std::str::FromStr for Reference {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > limits::URI_BYTES {
            return Err(InvalidUri::TooLong);
        }
        let (text, redact) = match text.split_once('?') {
            None => (text, true),
            Some((text, "redact=false")) => (text, false),
            Some(_) => return Err(InvalidUri::Option),
        };
        let (uri, version) = match text.split_once('@') {
            None => (text, None),
            Some((uri, version)) if is_version(version) => (uri, Some(version.to_owned())),
            Some(_) => return Err(InvalidUri::Version),
        };
        Ok(Self {
            uri: uri.parse()?,
            version,
            redact,
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
        write!(f, "{}://{}", self.scheme.name, self.name)?;
        self.key.iter().try_for_each(|key| write!(f, "#{key}"))
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
        Self::parse(text, &SCHEMES)
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
            "aws-sm://sealfleet/healthcare/certificate",
            "builtin://crm/api-key",
            "builtin://crm/api-key@v1",
            "builtin://crm/pin@v1?redact=false",
            "aws-sm://sealfleet/healthcare/crm#pin?redact=false",
        ] {
            assert_eq!(
                good.parse::<Reference>().map(|uri| uri.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "",
            "crm",
            "aws-sm://x#",
            "aws-sm://#k",
            "builtin://",
            "builtin://../x",
            "ftp://x",
            "aws-sm://a//b#k",
            "builtin://x@",
            "builtin://x@a@b",
            "builtin://x@a b",
            "builtin://x?redact=true",
            "builtin://x?",
            "builtin://x?redact=false@v1",
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
