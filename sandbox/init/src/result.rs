//! The result that a command has left: one JSON document in a file below `/workspace`.
//!
//! The command may have put anything in its place: a link to a file of init's, a pipe that nobody
//! writes to, a file without an end. So the file is opened without following a link and without
//! waiting, must be a regular one, and is read up to the limit and no further. Nothing of the
//! command runs any more.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};
use sealfleet_channel::StepResult;
use sealfleet_domain::inputs::RESERVED as DIRECTORY;
use sealfleet_domain::limits::RESULT_BYTES;
use sealfleet_domain::output::RESULT as FILE;
use sealfleet_domain::redaction::{Redaction, Stream};
use sealfleet_redaction::Redactor;
use serde_json::Value;

use crate::output::rows;

/// The result below `workspace`, if the command has left one, and what was taken out of it. All
/// bytes of a result pass here.
pub(crate) fn of(workspace: &Path, redactor: &Redactor) -> Option<(StepResult, Vec<Redaction>)> {
    let bytes = match read(workspace) {
        Ok(bytes) => bytes?,
        Err(error) => {
            let why = format!("the result cannot be read: {error}");
            return Some((StepResult::Bad(why), Vec::new()));
        }
    };
    Some(
        match checked(bytes).and_then(|json| redacted(json, redactor)) {
            Ok((json, redactions)) => (StepResult::Json(json), redactions),
            Err(why) => (StepResult::Bad(why), Vec::new()),
        },
    )
}

/// Takes the values of secrets out of a document: as it is written, and then out of its strings,
/// because an escape hides a value from a search and from no reader.
fn redacted(json: String, redactor: &Redactor) -> Result<(String, Vec<Redaction>), String> {
    let written = redactor.text(&json);
    let mut found = rows(Stream::Result, &written.matches);
    let mut document: Value = serde_json::from_str(&written.content).map_err(|_| {
        "a secret stands in the result where it cannot be taken out: leave it out".to_owned()
    })?;
    let before = found.len();
    in_strings(&mut document, redactor, &mut found);
    let content = if found.len() == before {
        written.content
    } else {
        document.to_string()
    };
    if content.len() > RESULT_BYTES {
        let most = RESULT_BYTES / 1024;
        return Err(format!("the redacted result is larger than {most} KiB"));
    }
    Ok((content, found))
}

fn in_strings(value: &mut Value, redactor: &Redactor, found: &mut Vec<Redaction>) {
    let clean = |text: &mut String, found: &mut Vec<Redaction>| {
        let redacted = redactor.text(text);
        if !redacted.matches.is_empty() {
            found.extend(rows(Stream::Result, &redacted.matches));
            *text = redacted.content;
        }
    };
    match value {
        Value::String(text) => clean(text, found),
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| in_strings(value, redactor, found)),
        Value::Object(members) => {
            for (mut name, mut value) in std::mem::take(members) {
                clean(&mut name, found);
                in_strings(&mut value, redactor, found);
                members.insert(name, value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn checked(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() > RESULT_BYTES {
        let most = RESULT_BYTES / 1024;
        return Err(format!("the result is larger than {most} KiB"));
    }
    let json = String::from_utf8(bytes).map_err(|_| "the result is not UTF-8".to_owned())?;
    match serde_json::from_str::<Value>(&json) {
        Ok(_) => Ok(json),
        // It names a place and a kind of mistake, and nothing that is there.
        Err(error) => Err(format!("the result is not valid JSON: {error}")),
    }
}

/// The file's content, up to one byte more than a result may have. None if there is no file.
fn read(workspace: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = open(workspace, flags | OFlags::DIRECTORY, Mode::empty())
        .and_then(|workspace| {
            openat(
                workspace,
                DIRECTORY,
                flags | OFlags::DIRECTORY,
                Mode::empty(),
            )
        })
        .and_then(|directory| openat(directory, FILE, flags, Mode::empty()));
    let file = match opened {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR | rustix::io::Errno::NXIO) => {
            return Err(io::Error::other(
                "it is not a plain file in a plain directory",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let mut bytes = Vec::new();
    file.take(RESULT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use sealfleet_domain::redaction::Encoding;
    use sealfleet_redaction::Secret;

    use super::*;

    fn workspace() -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(place.path().join(DIRECTORY)).expect("made");
        place
    }

    fn found(workspace: &Path) -> Option<StepResult> {
        of(workspace, &Redactor::default()).map(|(result, _)| result)
    }

    /// What is left of `json` if `secret` is the value of `KEY`, and how it was written there.
    fn redacted_by(secret: &str, json: &str) -> (StepResult, Vec<Encoding>) {
        let place = workspace();
        std::fs::write(place.path().join(DIRECTORY).join(FILE), json).expect("written");
        let value = secret.as_bytes();
        let redactor = Redactor::new(&[Secret { key: "KEY", value }]).expect("redactable");
        let (result, rows) = of(place.path(), &redactor).expect("a result");
        assert!(
            rows.iter()
                .all(|row| row.stream == Stream::Result && row.key == "KEY")
        );
        (result, rows.iter().map(|row| row.encoding).collect())
    }

    #[test]
    fn no_secret_is_left_in_a_result() {
        let json = |text: &str| StepResult::Json(text.to_owned());
        let secret = "canary-0-secret";
        let plain = redacted_by(secret, r#"{"b": 1, "a": "x canary-0-secret y"}"#);
        let kept = r#"{"b": 1, "a": "x <redacted:KEY> y"}"#;
        assert_eq!(plain, (json(kept), vec![Encoding::Raw]));
        // An escape hides it from a search, and from no reader: in values and in names.
        let escaped = r#"{"\u0063anary-0-secret": ["\u0063anary\u002d0-secret"]}"#;
        let (result, found) = redacted_by(secret, escaped);
        assert_eq!(result, json(r#"{"<redacted:KEY>":["<redacted:KEY>"]}"#));
        assert_eq!(found, [Encoding::Raw, Encoding::Raw]);
        // Nothing else of the document can stand for it.
        let StepResult::Bad(why) = redacted_by("1234567890", "[1234567890]").0 else {
            panic!("taken");
        };
        assert!(why.contains("leave it out"), "{why}");
        let (result, found) = redacted_by(secret, r#"{"a": "clean"}"#);
        assert_eq!((result, found.len()), (json(r#"{"a": "clean"}"#), 0));
    }

    fn left(content: &[u8]) -> Option<StepResult> {
        let place = workspace();
        std::fs::write(place.path().join(DIRECTORY).join(FILE), content).expect("written");
        found(place.path())
    }

    fn bad(result: Option<StepResult>) -> String {
        match result {
            Some(StepResult::Bad(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_json_document_is_a_result_as_it_stands() {
        let json = |text: &str| Some(StepResult::Json(text.to_owned()));
        assert_eq!(left(b"{\"a\": [1, 2]}\n"), json("{\"a\": [1, 2]}\n"));
        assert_eq!(left(b"null"), json("null"));
        let longest = format!("\"{}\"", "x".repeat(RESULT_BYTES - 2));
        assert_eq!(left(longest.as_bytes()), json(&longest));
        assert_eq!(found(workspace().path()), None);
        let empty = tempfile::tempdir().expect("a directory");
        assert_eq!(found(empty.path()), None);
    }

    #[test]
    fn what_is_no_json_is_told_by_its_place_and_not_by_its_content() {
        for content in [&b"{\"TOKEN\": \"s3cr3t\""[..], b"s3cr3t", b"", b"{} s3cr3t"] {
            let why = bad(left(content));
            assert!(why.contains("not valid JSON"), "{why}");
            assert!(why.contains("line") && !why.contains("s3cr3t"), "{why}");
        }
        assert!(bad(left(b"\"\xff\"")).contains("UTF-8"));
        let long = format!("\"{}\"", "x".repeat(RESULT_BYTES - 1));
        assert!(bad(left(long.as_bytes())).contains("larger than 256 KiB"));
    }

    #[test]
    fn no_link_is_followed_and_no_pipe_waited_for() {
        let outside = tempfile::tempdir().expect("a directory");
        let theirs = outside.path().join(FILE);
        std::fs::write(&theirs, b"1").expect("written");

        let place = workspace();
        symlink(&theirs, place.path().join(DIRECTORY).join(FILE)).expect("linked");
        assert!(bad(found(place.path())).contains("plain file"));

        let place = tempfile::tempdir().expect("a directory");
        symlink(outside.path(), place.path().join(DIRECTORY)).expect("linked");
        assert!(bad(found(place.path())).contains("plain"));

        // Nobody writes to it.
        let place = workspace();
        let pipe = place.path().join(DIRECTORY).join(FILE);
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("made");
        assert!(bad(found(place.path())).contains("plain file"));

        let place = workspace();
        std::fs::create_dir(place.path().join(DIRECTORY).join(FILE)).expect("made");
        assert!(bad(found(place.path())).contains("plain file"));
    }
}
