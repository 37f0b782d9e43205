//! The words of a command: the program and its arguments.
//!
//! An argument can be what a file of the step holds. It is written as an object, so no text of an
//! argument means anything but itself: `@notes` is seven letters and a sign.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::inputs::{Inputs, WorkspacePath};
use crate::limits;

/// A word of a command.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Word {
    /// This text.
    Text(String),
    /// What a file of the step holds when its command starts, byte for byte.
    File {
        /// One of its `files`.
        file: WorkspacePath,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfFile {
    file: WorkspacePath,
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneWord)
    }
}

struct OneWord;

impl<'de> Visitor<'de> for OneWord {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a file of the step as `{\"file\": PATH}`")
    }

    fn visit_str<E>(self, text: &str) -> Result<Word, E> {
        Ok(text.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Word, A::Error> {
        let OfFile { file } = OfFile::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Word::File { file })
    }
}

impl Word {
    /// The text that stands in the command itself.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::File { .. } => None,
        }
    }

    /// The file that it is.
    #[must_use]
    pub const fn file(&self) -> Option<&WorkspacePath> {
        match self {
            Self::Text(_) => None,
            Self::File { file } => Some(file),
        }
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => fmt::Debug::fmt(text, f),
            Self::File { file } => write!(f, "the file {file}"),
        }
    }
}

/// Checks a command with what its step gets to work with.
///
/// # Errors
/// What to change.
pub fn check(command: &[Word], inputs: &Inputs) -> Result<(), String> {
    let bytes: usize = command.iter().filter_map(Word::text).map(str::len).sum();
    let program = command.first().and_then(Word::text);
    if program.is_none_or(str::is_empty)
        || command.len() > limits::COMMAND_WORDS
        || bytes > limits::COMMAND_BYTES
    {
        return Err(format!(
            "name a program and its arguments: 1 to {} words of {} bytes together at most",
            limits::COMMAND_WORDS,
            limits::COMMAND_BYTES
        ));
    }
    let mut files = command.iter().filter_map(Word::file);
    match files.find(|file| !inputs.files.contains_key(file)) {
        Some(file) => Err(format!(
            "the argument `{file}` is none of the step's `files`; add it there"
        )),
        None => Ok(()),
    }
}

/// That an argument cannot be as long as a file is.
#[must_use]
pub fn too_long(file: &WorkspacePath, bytes: u64) -> String {
    format!(
        "an argument has {} bytes at most, which is what Linux accepts, and `{file}` has {bytes}; have the command read the file, or its standard input",
        limits::WORD_BYTES
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_a_text_whatever_it_says() {
        let words = json!(["sh", "-c", "@x", "{\"file\":\"x\"}", { "file": "src/x" }]);
        let read: Vec<Word> = serde_json::from_value(words.clone()).expect("words");
        assert_eq!(json!(read), words);
        assert_eq!(read[2], Word::from("@x"));
        assert_eq!(read[4].file().map(WorkspacePath::as_str), Some("src/x"));
        for bad in [
            json!({ "file": "../x" }),
            json!({ "file": "x", "more": 1 }),
            json!({}),
            json!(1),
            json!(null),
        ] {
            assert!(
                serde_json::from_value::<Word>(bad.clone()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_argument_is_one_of_the_steps_files() {
        let inputs: Inputs =
            serde_json::from_value(json!({ "files": { "x": { "text": "1" } } })).expect("inputs");
        let checked = |words: serde_json::Value| {
            check(
                &serde_json::from_value::<Vec<Word>>(words).expect("words"),
                &inputs,
            )
        };
        assert_eq!(checked(json!(["echo", { "file": "x" }])), Ok(()));
        assert!(checked(json!(["echo", { "file": "y" }])).is_err_and(|why| why.contains("`y`")));
        assert!(checked(json!([{ "file": "x" }])).is_err_and(|why| why.contains("name a program")));
    }
}
