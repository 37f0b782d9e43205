//! The directory that a step works in: what lies there before its command starts.
//!
//! Whoever starts the command calls this, in the sandbox or, for `bare` steps, in a directory of
//! their own. No process of the step runs yet, so nobody moves what is written here.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sealfleet_domain::command::{Word, too_long};
use sealfleet_domain::inputs::{Content, WorkspacePath};
use sealfleet_domain::limits;

/// How a script begins.
const SCRIPT: &[u8] = b"#!";

/// Writes the files of a step that stand in the run itself below `workspace`, with the directories
/// that they need. A file that is there already is replaced.
///
/// # Errors
/// Names the file that cannot be written, and why; for people.
pub fn write_files<'a>(
    workspace: &Path,
    files: impl IntoIterator<Item = (&'a WorkspacePath, &'a Content)>,
) -> Result<(), String> {
    for (path, content) in files {
        if let Some(mut bytes) = content.inline() {
            write_file(workspace, path.as_str(), &mut bytes)?;
        }
    }
    Ok(())
}

/// Writes one file below `workspace`, with the directories that it needs. `path` leads nowhere
/// else: a [`WorkspacePath`], or that of an [`InputPlace`](sealfleet_domain::inputs::InputPlace).
///
/// # Errors
/// Names the file, and says why it cannot be written; for people.
pub fn write_file(workspace: &Path, path: &str, content: &mut impl Read) -> Result<(), String> {
    write(&workspace.join(path), content).map_err(|error| {
        format!(
            "the step's file `{path}` cannot be written below `{}`: {error}",
            workspace.display()
        )
    })
}

fn write(path: &Path, content: &mut impl Read) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut beginning = Vec::with_capacity(SCRIPT.len());
    content
        .take(SCRIPT.len() as u64)
        .read_to_end(&mut beginning)?;
    let mode = if beginning == SCRIPT { 0o755 } else { 0o644 };
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    new.write_all(&beginning)?;
    io::copy(content, &mut new)?;
    Ok(())
}

/// The words of a command as the system takes them: an argument that is a file is what that file
/// below `workspace` holds.
///
/// # Errors
/// Which argument cannot be passed, and why; for people.
pub fn words(workspace: &Path, command: &[Word]) -> Result<Vec<String>, String> {
    let word = |word: &Word| match word {
        Word::Text(text) => Ok(text.clone()),
        Word::File { file } => {
            let unreadable = |error: &dyn std::fmt::Display| {
                format!("the argument `{file}` cannot be read from the step's file: {error}")
            };
            let opened = fs::File::open(workspace.join(file.as_str()));
            let opened = opened.map_err(|error| unreadable(&error))?;
            let bytes = opened.metadata().map_err(|error| unreadable(&error))?.len();
            if bytes > limits::WORD_BYTES {
                return Err(too_long(file, bytes));
            }
            let mut text = String::new();
            opened
                .take(limits::WORD_BYTES)
                .read_to_string(&mut text)
                .map_err(|error| unreadable(&error))?;
            match text.contains('\0') {
                true => Err(unreadable(&"it holds a NUL character")),
                false => Ok(text),
            }
        }
    };
    command.iter().map(word).collect()
}

/// An open file, not of any directory, that holds `content` and is read from its beginning. Nobody
/// can change it.
///
/// # Errors
/// The system's answer.
pub fn standard_input(content: &mut impl Read) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = fs::File::from(memfd_create(c"stdin", flags)?);
    io::copy(content, &mut file)?;
    file.rewind()?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<WorkspacePath, Content> {
        let file = |(path, text): &(&str, &str)| {
            (path.parse().unwrap(), Content::Text((*text).to_owned()))
        };
        files.iter().map(file).collect()
    }

    #[test]
    fn files_lie_where_they_are_asked_for_and_scripts_can_be_executed() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        let workspace = place.path().join("workspace");
        fs::create_dir(&workspace).unwrap();
        symlink(&outside, workspace.join("link")).unwrap();
        let files = files(&[
            ("a/b/c.txt", "one\r\n\u{1b}"),
            ("run", "#!/bin/sh\n"),
            ("link", "own"),
        ]);
        write_files(&workspace, &files).unwrap();
        let read = |path: &str| fs::read_to_string(workspace.join(path)).unwrap();
        assert_eq!(
            (read("a/b/c.txt"), read("link")),
            ("one\r\n\u{1b}".to_owned(), "own".to_owned())
        );
        assert_eq!(fs::read_to_string(&outside).unwrap(), "kept");
        let mode = |path: &str| {
            fs::metadata(workspace.join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o111
        };
        assert_eq!((mode("a/b/c.txt"), mode("run") & 0o100), (0, 0o100));
    }

    #[test]
    fn an_argument_is_what_its_file_holds_byte_for_byte() {
        let place = tempfile::tempdir().unwrap();
        let word = |path: &str| Word::File {
            file: path.parse().unwrap(),
        };
        let longest = "x".repeat(128 * 1024 - 1);
        for (path, text) in [
            ("a", "one\n@b \u{e4}"),
            ("longest", &longest),
            ("longer", &format!("{longest}x")),
            ("nul", "a\0"),
        ] {
            fs::write(place.path().join(path), text).unwrap();
        }
        fs::write(place.path().join("latin"), b"\xe4").unwrap();
        let words = |last: Word| words(place.path(), &["echo".into(), "@a".into(), last]);
        let plain = ["echo", "@a", "one\n@b \u{e4}"].map(str::to_owned);
        assert_eq!(words(word("a")), Ok(plain.into()));
        assert_eq!(words(word("longest")).unwrap()[2], longest);
        for (path, why) in [
            ("longer", "131071 bytes at most"),
            ("nul", "NUL"),
            ("latin", "UTF-8"),
            ("absent", "cannot be read"),
        ] {
            let error = words(word(path)).unwrap_err();
            assert!(error.contains(why) && error.contains(path), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("a")).unwrap();
        let error = write_files(place.path(), &files(&[("a", "x")])).unwrap_err();
        assert!(
            error.starts_with("the step's file `a` cannot be written below `"),
            "{error}"
        );
    }

    #[test]
    fn standard_input_is_read_once_and_never_changed() {
        let content = "line\n".repeat(100_000).into_bytes();
        let mut file = fs::File::from(standard_input(&mut content.as_slice()).unwrap());
        assert!(file.write_all(b"x").is_err());
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read, content);
    }
}
