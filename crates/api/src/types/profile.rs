use std::fmt;

use sealfleet_domain::ProfileName;
use sealfleet_domain::profile::{Content, Profile};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A profile to create: names and references, never values. An operator's token creates it in the
/// system scope.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields)
)]
pub struct CreateProfile {
    pub name: ProfileName,
    #[serde(flatten)]
    pub content: Content,
}

/// serde's own `flatten` would lose which field an error is about.
impl<'de> Deserialize<'de> for CreateProfile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = CreateProfile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CreateProfile, A::Error> {
        let mut name = None;
        let rest = WithoutName {
            map,
            name: &mut name,
        };
        let content = Content::deserialize(MapAccessDeserializer::new(rest))?;
        let name = name.ok_or_else(|| A::Error::missing_field("name"))?;
        Ok(CreateProfile { name, content })
    }
}

/// The map without its `name`, which is put aside.
struct WithoutName<'a, A> {
    map: A,
    name: &'a mut Option<ProfileName>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutName<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if key != "name" {
                let key = seed.deserialize(key.into_deserializer());
                return key.map(Some).map_err(|error: A::Error| {
                    let known = error.to_string();
                    A::Error::custom(known.replace("one of ", "one of `name`, "))
                });
            }
            if self.name.is_some() {
                return Err(A::Error::duplicate_field("name"));
            }
            *self.name = Some(self.map.next_value()?);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// A version of a profile in its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProfileVersionView {
    /// The content of a deletion is empty.
    #[serde(flatten)]
    pub profile: Profile,
    /// The actor who wrote it, as `kind:id`.
    pub by: String,
    /// True if this version deleted the profile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, String) {
        let mut reader = serde_json::Deserializer::from_str(text);
        let error =
            serde_path_to_error::deserialize::<_, CreateProfile>(&mut reader).expect_err("refused");
        (error.path().to_string(), error.inner().to_string())
    }

    #[test]
    fn the_name_may_stand_anywhere() {
        for text in [
            r#"{"name":"crm","env":{"A":"1"}}"#,
            r#"{"env":{"A":"1"},"name":"crm"}"#,
        ] {
            let profile: CreateProfile = serde_json::from_str(text).expect("a profile");
            assert_eq!(
                (profile.name.as_str(), profile.content.env.len()),
                ("crm", 1)
            );
        }
    }

    #[test]
    fn an_error_names_its_field() {
        let (path, _) = refused(r#"{"name":"crm","secrets":{"K":"x"}}"#);
        assert_eq!(path, "secrets.K");
        let (path, _) = refused(r#"{"env":{},"name":"NOT ONE"}"#);
        assert_eq!(path, "name");
        let (_, what) = refused(r#"{"env":{}}"#);
        assert!(what.starts_with("missing field `name`"), "{what}");
        let (_, what) = refused(r#"{"name":"crm","enw":{}}"#);
        assert!(
            what.starts_with("unknown field `enw`, expected one of `name`, `env`, `secrets`"),
            "{what}"
        );
        let (_, what) = refused(r#"{"name":"a","name":"b"}"#);
        assert!(what.starts_with("duplicate field `name`"), "{what}");
    }
}
