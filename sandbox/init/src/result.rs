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
use sealfleet_domain::limits::RESULT_BYTES;
use serde_json::Value;

/// The directory below the working directory of a step that is the product's own.
const DIRECTORY: &str = ".sealfleet";
const FILE: &str = "result.json";

/// The result below `workspace`, if the command has left one. All bytes of a result pass here.
#[must_use]
pub fn of(workspace: &Path) -> Option<StepResult> {
    let bytes = match read(workspace) {
        Ok(bytes) => bytes?,
        Err(error) => {
            return Some(StepResult::Bad(format!(
                "the result cannot be read: {error}"
            )));
        }
    };
    Some(match checked(bytes) {
        Ok(json) => StepResult::Json(json),
        Err(why) => StepResult::Bad(why),
    })
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

    use super::*;

    fn workspace() -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(place.path().join(DIRECTORY)).expect("made");
        place
    }

    fn left(content: &[u8]) -> Option<StepResult> {
        let place = workspace();
        std::fs::write(place.path().join(DIRECTORY).join(FILE), content).expect("written");
        of(place.path())
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
        assert_eq!(of(workspace().path()), None);
        let empty = tempfile::tempdir().expect("a directory");
        assert_eq!(of(empty.path()), None);
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
        assert!(bad(of(place.path())).contains("plain file"));

        let place = tempfile::tempdir().expect("a directory");
        symlink(outside.path(), place.path().join(DIRECTORY)).expect("linked");
        assert!(bad(of(place.path())).contains("plain"));

        // Nobody writes to it.
        let place = workspace();
        let pipe = place.path().join(DIRECTORY).join(FILE);
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("made");
        assert!(bad(of(place.path())).contains("plain file"));

        let place = workspace();
        std::fs::create_dir(place.path().join(DIRECTORY).join(FILE)).expect("made");
        assert!(bad(of(place.path())).contains("plain file"));
    }
}
