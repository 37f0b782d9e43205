//! Artifacts: files of its workspace that a step leaves behind.
//!
//! A step names files and directories. A directory is taken whole. What was taken stands in a
//! [`Manifest`]; the content of each file is an object beside it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::ContentHash;
use crate::inputs::WorkspacePath;
use crate::limits;
use crate::names::is_env_key;
use crate::text::Line;

/// The name of a claim's manifest below its prefix.
pub const MANIFEST: &str = "artifacts.json";

/// The most bytes that a manifest has: a name of each file, and some keys.
pub const MANIFEST_BYTES: usize = 2 * 1024 * 1024;

/// The most files of a step that its report says hold a secret.
pub const MOST_FOUND: usize = 20;

/// The name of the object that file number `at` of a manifest is, below its claim's prefix.
#[must_use]
pub fn object_name(at: usize) -> String {
    format!("artifacts/{at:08}")
}

/// Something that a step is to leave: a file or a directory of its workspace.
///
/// Written as its path alone where it goes to the project's outputs and is withheld if it holds a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub path: WorkspacePath,
    pub to: Destination,
    pub on_secret: OnSecret,
}

/// Where an artifact goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "ArtifactDestination"))]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// To the project's outputs, unless its worker keeps those to itself.
    #[default]
    Project,
    /// To the host of its worker alone.
    Local,
}

/// What becomes of a file in which a value of the step's secrets is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnSecret {
    /// It stays in the sandbox, and ends with it.
    #[default]
    Withhold,
    /// It is taken as it is, and the trail says so.
    Tell,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    path: WorkspacePath,
    #[serde(default, skip_serializing_if = "is_default")]
    to: Destination,
    #[serde(default, skip_serializing_if = "is_default")]
    on_secret: OnSecret,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Artifact {
    /// Whether it goes to the host of its worker alone.
    #[must_use]
    pub fn stays(&self) -> bool {
        self.to == Destination::Local
    }
}

impl From<WorkspacePath> for Artifact {
    fn from(path: WorkspacePath) -> Self {
        Self {
            path,
            to: Destination::default(),
            on_secret: OnSecret::default(),
        }
    }
}

impl<'de> Deserialize<'de> for Artifact {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneArtifact)
    }
}

struct OneArtifact;

impl<'de> Visitor<'de> for OneArtifact {
    type Value = Artifact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path below the workspace, or an object with `path`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Artifact, E> {
        let path: WorkspacePath = text.parse().map_err(E::custom)?;
        Ok(path.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Artifact, A::Error> {
        let Whole {
            path,
            to,
            on_secret,
        } = Whole::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Artifact {
            path,
            to,
            on_secret,
        })
    }
}

impl Serialize for Artifact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            path,
            to,
            on_secret,
        } = self.clone();
        if is_default(&to) && is_default(&on_secret) {
            return path.serialize(serializer);
        }
        let whole = Whole {
            path,
            to,
            on_secret,
        };
        whole.serialize(serializer)
    }
}

/// Checks what a step is to leave.
///
/// # Errors
/// What to change.
pub fn check(artifacts: &[Artifact]) -> Result<(), String> {
    let most = limits::ARTIFACTS;
    if artifacts.len() > most {
        let many = artifacts.len();
        return Err(format!(
            "{many} artifacts are too many: {most} at most; name a directory, which is taken whole"
        ));
    }
    for (at, artifact) in artifacts.iter().enumerate() {
        let path = &artifact.path;
        let others = artifacts.iter().take(at).map(|other| &other.path);
        let mut touching =
            others.filter(|other| *other == path || other.is_above(path) || path.is_above(other));
        if let Some(other) = touching.next() {
            return Err(format!(
                "`{other}` and `{path}` would take the same files twice; leave one out"
            ));
        }
    }
    Ok(())
}

/// What a step has left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its files, in the order of their objects.
    pub files: Vec<Kept>,
    /// What the step names and is not there, or is neither a file nor a directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<WorkspacePath>,
    /// Links, pipes and devices inside of directories, which were left out.
    #[serde(default, skip_serializing_if = "crate::run::is_zero")]
    pub left_out: u64,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub name: ArtifactName,
    pub bytes: u64,
    /// Absent if it is withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<ContentHash>,
    pub to: Destination,
    /// The names of the secrets whose values are in it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub contains_secret: BTreeSet<String>,
}

impl Kept {
    /// Whether its content is among the project's outputs, if those of its step are.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.sha256.is_some() && self.to == Destination::Project
    }
}

/// How much a step has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "ArtifactTotal"))]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// Files, those that are withheld included.
    pub files: u32,
    /// Their bytes.
    pub bytes: u64,
}

impl Total {
    /// Whether a step may leave so much.
    #[must_use]
    pub const fn fits(&self) -> bool {
        self.files as usize <= limits::ARTIFACT_FILES && self.bytes <= limits::ARTIFACT_BYTES
    }
}

/// A file of a step in which values of its secrets were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "ArtifactWithSecret"))]
#[serde(deny_unknown_fields)]
pub struct Found {
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "crate::schema::artifact_name")
    )]
    pub name: ArtifactName,
    /// The environment variables that hold the secrets.
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "crate::schema::env_names")
    )]
    pub keys: BTreeSet<String>,
    /// Whether it has stayed in the sandbox.
    pub withheld: bool,
}

impl Found {
    /// Whether all its keys can be names of secrets.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.keys.len() <= limits::CASCADE_SECRETS && self.keys.iter().all(|key| is_env_key(key))
    }
}

/// The name of an artifact's file: its path below the workspace, with `/` between its parts. It
/// cannot lead out of a directory that it is put into.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ArtifactName(String);

impl ArtifactName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no name of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be the name of an artifact: names with `/` between them, {max} bytes at most, \
     without control characters",
    max = limits::ARTIFACT_NAME_BYTES
)]
pub struct InvalidArtifactName(Line);

impl FromStr for ArtifactName {
    type Err = InvalidArtifactName;

    fn from_str(text: &str) -> Result<Self, InvalidArtifactName> {
        let is_name = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
        let fine = text.len() <= limits::ARTIFACT_NAME_BYTES
            && text.split('/').all(is_name)
            && text.parse::<Line>().is_ok();
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            let start: String = text.chars().take(64).collect();
            Err(InvalidArtifactName(Line::escaped(&start)))
        }
    }
}

impl<'de> Deserialize<'de> for ArtifactName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: serde_json::Value) -> Result<Artifact, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn an_artifact_is_written_as_short_as_it_can_be() {
        let short = json!("out");
        let tell = json!({ "path": "out", "on_secret": "tell" });
        let stays = json!({ "path": "out", "to": "local" });
        for written in [short.clone(), tell, stays] {
            let artifact = read(written.clone()).expect("an artifact");
            assert_eq!(json!(artifact), written);
        }
        assert_eq!(
            json!(read(json!({ "path": "out" })).expect("an artifact")),
            short
        );
        for bad in [
            json!("../out"),
            json!({ "path": "/etc" }),
            json!({ "path": ".sealfleet/x" }),
            json!({ "path": "out", "to": "github" }),
            json!({ "path": "out", "more": 1 }),
            json!({}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_file_is_taken_twice() {
        let artifacts = |paths: &[&str]| -> Vec<Artifact> {
            let path = |path: &&str| Artifact::from(path.parse::<WorkspacePath>().expect("a path"));
            paths.iter().map(path).collect()
        };
        assert_eq!(check(&artifacts(&["a", "ab", "b/c", "b/d"])), Ok(()));
        for twice in [["a", "a"], ["a", "a/b"], ["a/b/c", "a"]] {
            let error = check(&artifacts(&twice)).unwrap_err();
            assert!(error.contains("leave one out"), "{error}");
        }
        let many: Vec<String> = (0..=limits::ARTIFACTS)
            .map(|number| format!("a{number}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(check(&artifacts(&many)).unwrap_err().contains("too many"));
    }

    #[test]
    fn a_name_never_leads_out() {
        for good in ["a", "a/b.txt", ".git/config", "ä b", "<redacted:KEY>.txt"] {
            assert!(good.parse::<ArtifactName>().is_ok(), "{good}");
        }
        let long = "x".repeat(256);
        let deep = "a/".repeat(600) + "a";
        for bad in [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\0",
            "a\nb",
            "a\u{202e}b",
            &long,
            &deep,
        ] {
            assert!(bad.parse::<ArtifactName>().is_err(), "{bad:?}");
            assert!(
                serde_json::from_value::<ArtifactName>(bad.into()).is_err(),
                "{bad:?}"
            );
        }
    }
}
