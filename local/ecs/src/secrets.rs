//! Resolves the references in a task definition's `secrets`.
//!
//! A value exists only between Secrets Manager's answer and the sandbox's environment, in memory
//! that is wiped when it is dropped. This does not cover the HTTP client's buffers. Errors of this
//! module are built from the reference alone, so none can contain a value.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::cloud::{Cloud, CloudError, RoleCredentials};
use crate::reference::SecretReference;

/// Resolves all references under the execution role. Reads each secret version once, even if
/// several keys of it are needed.
///
/// # Errors
/// The text that ECS puts after `ResourceInitializationError: `. It names the secret that failed.
pub async fn resolve(
    cloud: &dyn Cloud,
    role: &RoleCredentials,
    references: &[(String, SecretReference)],
) -> Result<Vec<(String, Zeroizing<String>)>, String> {
    let mut read: Vec<(&SecretReference, Zeroizing<String>)> = Vec::new();
    let mut resolved = Vec::with_capacity(references.len());
    for (name, reference) in references {
        let known = read
            .iter()
            .position(|(other, _)| other.same_secret(reference));
        let position = if let Some(position) = known {
            position
        } else {
            let whole = cloud
                .secret(role, reference)
                .await
                .map_err(|error| fetch_failed(reference, &error))?;
            read.push((reference, whole));
            read.len() - 1
        };
        let Some((_, whole)) = read.get(position) else {
            continue;
        };
        let value = match &reference.json_key {
            None => whole.clone(),
            Some(key) => json_member(whole, key)
                .map_err(|NotJson| {
                    // Quotes the first character, as Go's decoder does in ECS's agent.
                    let first = whole.chars().next().unwrap_or_default();
                    format!(
                        "unable to pull secrets or registry auth: execution resource retrieval failed: unable to \
                         retrieve secret from asm: service call has been retried 1 time(s): invalid character \
                         '{first}' looking for beginning of value"
                    )
                })?
                .ok_or_else(|| {
                    format!(
                        "unable to pull secrets or registry auth: execution resource retrieval failed: unable to \
                         retrieve secret from asm: retrieved secret from Secrets Manager {} did not contain json key {key}",
                        reference.arn
                    )
                })?,
        };
        resolved.push((name.clone(), value));
    }
    Ok(resolved)
}

fn fetch_failed(reference: &SecretReference, error: &CloudError) -> String {
    format!(
        "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from \
         asm: service call has been retried 1 time(s): failed to fetch secret {} from secrets manager: {error}",
        reference.arn
    )
}

/// The field `key` of a JSON object: a string unchanged, a number or boolean as text. `None` if it
/// lacks the field, or the field is `null`, a list or an object.
///
/// Reads only this field, so that the others are never copied.
fn json_member(text: &str, key: &str) -> Result<Option<Zeroizing<String>>, NotJson> {
    struct Member<'k>(&'k str);

    impl<'de> Visitor<'de> for Member<'_> {
        type Value = Option<Zeroizing<String>>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<String>()? {
                if name == self.0 {
                    found = map.next_value::<Scalar>()?.0;
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    serde_json::Deserializer::from_str(text)
        .deserialize_map(Member(key))
        .map_err(|_| NotJson)
}

/// A text that is not a JSON object.
#[derive(Debug, PartialEq, Eq)]
struct NotJson;

struct Scalar(Option<Zeroizing<String>>);

impl<'de> serde::Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl ScalarVisitor {
    fn text(value: impl fmt::Display) -> Scalar {
        Scalar(Some(Zeroizing::new(value.to_string())))
    }
}

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(Some(Zeroizing::new(value.to_owned()))))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Self::text(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Self::text(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Self::text(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Self::text(value))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_taken_as_text() {
        let text = r#"{"a": "x\ny", "n": 12, "t": true, "o": {}, "z": null}"#;
        assert_eq!(json_member(text, "a").unwrap().unwrap().as_str(), "x\ny");
        assert_eq!(json_member(text, "n").unwrap().unwrap().as_str(), "12");
        assert_eq!(json_member(text, "t").unwrap().unwrap().as_str(), "true");
        for absent in ["o", "z", "missing"] {
            assert_eq!(json_member(text, absent), Ok(None), "{absent}");
        }
        assert_eq!(json_member("no json", "a"), Err(NotJson));
        assert_eq!(json_member("[1]", "a"), Err(NotJson));
    }
}
