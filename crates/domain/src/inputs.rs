//! What a step gets to work with: files in its workspace, and its standard input.
//!
//! They are data of the command. Any text is allowed: it is written byte for byte, and no program
//! of Sealfleet prints it unescaped. A secret never belongs in them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::limits;
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
    fn is_above(&self, other: &Self) -> bool {
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
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// This text, as it stands. Never put a secret here: who may read the run may read it.
    Text(String),
}

impl Content {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
        }
    }
}

/// A log says how large it is, and not what it says.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes().len())
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

    /// Bytes of all paths and texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let files = self.files.iter();
        let files = files.map(|(path, content)| path.0.len() + content.bytes().len());
        let stdin = self.stdin.iter().map(|content| content.bytes().len());
        files.chain(stdin).sum()
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
