//! What a step gets to work with: files in its workspace, and its standard input.
//!
//! They are data of the command. Any text is allowed: it is written byte for byte, and no program
//! of Sealfleet prints it unescaped. A secret never belongs in them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::artifact::ArtifactName;
use crate::ids::UploadId;
use crate::limits;
use crate::names::StepId;
use crate::text::Line;

/// The directory of a workspace that Sealfleet keeps for itself.
pub const RESERVED: &str = ".sealfleet";

/// The path of a file below a step's workspace, with `/` between its parts. It cannot lead out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct WorkspacePath(String);

impl WorkspacePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` would need a directory where this file is.
    pub(crate) fn is_above(&self, other: &Self) -> bool {
        let rest = other.0.strip_prefix(&self.0);
        rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for WorkspacePath {
    type Err = InvalidInputs;

    fn from_str(text: &str) -> Result<Self, InvalidInputs> {
        let is_name = |part: &str| !matches!(part, "" | "." | "..");
        let fine = text.len() <= limits::PATH_BYTES
            && text.split('/').all(is_name)
            && text.split('/').next() != Some(RESERVED)
            && text.parse::<Line>().is_ok();
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidInputs::Path(Line::escaped(
                &text.chars().take(64).collect::<String>(),
            )))
        }
    }
}

impl<'de> Deserialize<'de> for WorkspacePath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a file or the standard input holds.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// This text, as it stands. Never put a secret here: who may read the run may read it.
    Text(String),
    /// What was uploaded. Never put a secret there.
    Upload(UploadId),
}

/// A content as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenContent {
    #[serde(default, deserialize_with = "given")]
    text: Option<String>,
    #[serde(default, deserialize_with = "given")]
    upload: Option<UploadId>,
}

/// What is there is no null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match WrittenContent::deserialize(from)? {
            WrittenContent {
                text: Some(text),
                upload: None,
            } => Ok(Self::Text(text)),
            WrittenContent {
                text: None,
                upload: Some(upload_id),
            } => Ok(Self::Upload(upload_id)),
            _ => Err(serde::de::Error::custom(
                "content is either `text` or an `upload`; give one of them",
            )),
        }
    }
}

impl Content {
    /// The bytes that stand in the run itself. None if they were uploaded.
    #[must_use]
    pub fn inline(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Upload(_) => None,
        }
    }

    /// The upload that it is.
    #[must_use]
    pub const fn upload(&self) -> Option<UploadId> {
        match self {
            Self::Text(_) => None,
            Self::Upload(upload_id) => Some(*upload_id),
        }
    }
}

/// A log says how large it is, and not what it says.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{} bytes", text.len()),
            Self::Upload(upload_id) => write!(f, "{upload_id}"),
        }
    }
}

/// Where in a step's workspace something goes that is brought to it before its command starts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InputPlace {
    /// A file of the step.
    File {
        #[cfg_attr(
            feature = "openapi",
            schemars(schema_with = "crate::schema::input_path")
        )]
        path: WorkspacePath,
    },
    /// Its standard input.
    Stdin,
    /// The result of a step that it takes.
    Result { step_id: StepId },
    /// A file that a step left which it takes.
    Artifact {
        step_id: StepId,
        #[cfg_attr(
            feature = "openapi",
            schemars(schema_with = "crate::schema::artifact_name")
        )]
        name: ArtifactName,
    },
}

impl InputPlace {
    /// Its path below the workspace. None for the standard input.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        match self {
            Self::File { path } => Some(path.0.clone()),
            Self::Stdin => None,
            Self::Result { step_id } => Some(format!("{RESERVED}/needs/{step_id}/result.json")),
            Self::Artifact { step_id, name } => {
                Some(format!("{RESERVED}/needs/{step_id}/artifacts/{name}"))
            }
        }
    }
}

/// For people.
impl fmt::Display for InputPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path } => write!(f, "the step's file `{path}`"),
            Self::Stdin => f.write_str("the step's standard input"),
            Self::Result { step_id } => write!(f, "the result of `{step_id}`"),
            Self::Artifact { step_id, name } => write!(f, "the artifact `{name}` of `{step_id}`"),
        }
    }
}

/// What a step gets to work with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Inputs {
    /// Files of its workspace by path. One that begins with `#!` can be executed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::schema::Files"))]
    pub files: BTreeMap<WorkspacePath, Content>,
    /// Its standard input; empty if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Content>,
}

impl Inputs {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.stdin.is_none()
    }

    /// Bytes of all paths and texts. What was uploaded does not count.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let files = self.files.iter();
        let files =
            files.map(|(path, content)| path.0.len() + content.inline().map_or(0, <[u8]>::len));
        let stdin = self
            .stdin
            .iter()
            .filter_map(Content::inline)
            .map(<[u8]>::len);
        files.chain(stdin).sum()
    }

    /// What of it was uploaded, and where it goes.
    pub fn uploads(&self) -> impl Iterator<Item = (InputPlace, UploadId)> {
        let files = self.files.iter().filter_map(|(path, content)| {
            let path = path.clone();
            Some((InputPlace::File { path }, content.upload()?))
        });
        let stdin = self.stdin.as_ref().and_then(Content::upload);
        files.chain(stdin.map(|upload_id| (InputPlace::Stdin, upload_id)))
    }

    /// Checks that they can be written as they are.
    ///
    /// # Errors
    /// [`InvalidInputs`], for people.
    pub fn check(&self) -> Result<(), InvalidInputs> {
        if self.files.len() > limits::FILES {
            return Err(InvalidInputs::TooMany(self.files.len()));
        }
        // Between a directory and what lies in it, others may stand: `a`, `a-b`, `a/b`.
        for file in self.files.keys() {
            let below = self.files.keys().find(|other| file.is_above(other));
            if let Some(below) = below {
                return Err(InvalidInputs::Both {
                    file: file.clone(),
                    below: below.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Inputs that a step cannot get.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInputs {
    /// The path leads elsewhere.
    #[error(
        "`{0}` is not a path below the workspace: use names with `/` between them, as in \
         `src/main.py`, {max} bytes at most, without control characters, and not below `{RESERVED}`",
        max = limits::PATH_BYTES
    )]
    Path(Line),
    /// More files than a step may have.
    #[error("{0} files are too many: {max} at most", max = limits::FILES)]
    TooMany(usize),
    /// One path is a file and a directory.
    #[error("`{file}` cannot be a file, because `{below}` lies below it; rename one")]
    Both {
        /// The file.
        file: WorkspacePath,
        /// What needs a directory there.
        below: WorkspacePath,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Inputs {
        let file = |path: &&str| (path.parse().unwrap(), Content::Text("x".to_owned()));
        Inputs {
            files: paths.iter().map(file).collect(),
            stdin: None,
        }
    }

    #[test]
    fn a_path_stays_below_the_workspace() {
        for good in [
            "a",
            "src/main.py",
            ".gitignore",
            "a b/ä",
            "home/.config/x",
            ".sealfleets",
        ] {
            assert!(good.parse::<WorkspacePath>().is_ok(), "{good}");
        }
        let long = "a/".repeat(128) + "a";
        for bad in [
            "",
            "/etc/passwd",
            "..",
            "../a",
            "a/../../b",
            "a//b",
            "a/",
            "./a",
            "a/./b",
            ".sealfleet",
            ".sealfleet/needs/a/result.json",
            "a\0b",
            "a\nb",
            "a\u{202e}b",
            &long,
        ] {
            assert!(bad.parse::<WorkspacePath>().is_err(), "{bad:?}");
            let json = serde_json::json!({ bad: { "text": "" } });
            let read = serde_json::from_value::<BTreeMap<WorkspacePath, Content>>(json);
            assert!(read.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_path_is_a_file_and_a_directory() {
        assert_eq!(files(&["a/b", "a/c", "ab", "a-b"]).check(), Ok(()));
        let error = files(&["a", "a-b", "a/b"]).check().unwrap_err();
        assert!(error.to_string().contains("`a/b` lies below it"), "{error}");
    }

    #[test]
    fn a_log_does_not_say_what_a_file_says() {
        let shown = format!("{:?}", files(&["a"]));
        assert_eq!(shown, "Inputs { files: {a: 1 bytes}, stdin: None }");
    }
}
