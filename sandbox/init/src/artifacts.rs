//! What a step leaves behind: the files that it names are searched for its secrets, opened, and
//! handed to the host.
//!
//! The command may have put anything there: links out of the workspace, pipes that nobody writes
//! to, names that hold a secret, more than anybody wants. So no link is followed, each file is
//! opened without waiting and must be a regular one, all is bounded before any of it goes, and
//! names are redacted. Nothing of the command runs any more.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, openat, statat};
use rustix::io::Errno;
use sealfleet_channel::{
    ArtifactFile, Artifacts, Channel, Descriptors, MAX_DESCRIPTORS, ToHost, ToInit, artifact_name,
};
use sealfleet_domain::artifact::{Artifact, ArtifactName, OnSecret, Total};
use sealfleet_domain::inputs::WorkspacePath;
use sealfleet_domain::limits;
use sealfleet_domain::redaction::{Redaction, Stream};
use sealfleet_redaction::Redactor;

use crate::output::rows;

/// How deep directories may lie in each other.
const DEPTH: usize = 64;
/// Entries of directories that are looked at.
const ENTRIES: usize = 20 * limits::ARTIFACT_FILES;
const PIECE: usize = 256 * 1024;

/// Opens without following a link and without waiting.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// A file to hand over.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Which of the step's artifacts it belongs to.
    of: usize,
    /// Its path below the workspace, as it stands there.
    path: String,
    bytes: u64,
}

/// All files to hand over, before any of them is opened for that.
#[derive(Debug, Default)]
struct Survey {
    files: Vec<Entry>,
    missing: Vec<WorkspacePath>,
    left_out: u64,
    total: Total,
    entries: usize,
}

/// Hands over what the step names below `workspace`. Answers what was taken out of names.
///
/// # Errors
/// The host can be told nothing more.
pub(crate) async fn hand_over(
    channel: &mut impl Channel<ToHost, ToInit>,
    workspace: &Path,
    artifacts: &[Artifact],
    redactor: &Redactor,
) -> Result<Vec<Redaction>, String> {
    if artifacts.is_empty() {
        return Ok(Vec::new());
    }
    let untold = |error| format!("the worker was not told of the artifacts: {error}");
    let mut found = Vec::new();
    let end = match all(channel, workspace, artifacts, redactor, &mut found).await {
        Ok(end) => end,
        Err(Failed::Told(why)) => Artifacts::Bad(redactor.text(&why).content),
        Err(Failed::Channel(error)) => return Err(untold(error)),
    };
    let end = ToHost::Artifacts(end);
    let told = channel.send(&end, Descriptors::new()).await;
    told.map_err(untold)?;
    Ok(found)
}

enum Failed {
    /// For people, not redacted.
    Told(String),
    Channel(sealfleet_channel::ChannelError),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Told(why)
    }
}

async fn all(
    channel: &mut impl Channel<ToHost, ToInit>,
    workspace: &Path,
    artifacts: &[Artifact],
    redactor: &Redactor,
    found: &mut Vec<Redaction>,
) -> Result<Artifacts, Failed> {
    let root = open(workspace, FLAGS | OFlags::DIRECTORY, Mode::empty());
    let root = root.map_err(|error| format!("the workspace cannot be read: {error}"))?;
    let survey = survey(&root, artifacts)?;
    let mut names = Names::default();
    for batch in survey.files.chunks(MAX_DESCRIPTORS) {
        let (mut files, mut descriptors) = (Vec::new(), Descriptors::new());
        for entry in batch {
            let on_secret = artifacts.get(entry.of).map(|artifact| artifact.on_secret);
            let name = names.of(entry, redactor, found)?;
            let content = content(&root, entry)?;
            let (content, contains_secret) = searched(content, redactor).map_err(|error| {
                format!("the artifact `{}` cannot be read: {error}", entry.path)
            })?;
            let withheld = !contains_secret.is_empty() && on_secret != Some(OnSecret::Tell);
            if !withheld {
                descriptors.insert(artifact_name(files.len()), content.into());
            }
            files.push(ArtifactFile {
                of: entry.of,
                name,
                bytes: entry.bytes,
                contains_secret,
                withheld,
            });
        }
        let told = ToHost::Artifacts(Artifacts::Files(files));
        channel
            .send(&told, descriptors)
            .await
            .map_err(Failed::Channel)?;
        match channel.receive().await.map_err(Failed::Channel)? {
            (ToInit::Taken, _) => {}
            _ => return Err("the worker did not take the artifacts".to_owned().into()),
        }
    }
    Ok(Artifacts::All {
        missing: survey.missing,
        left_out: survey.left_out,
    })
}

/// Looks at all that the step names.
fn survey(root: &OwnedFd, artifacts: &[Artifact]) -> Result<Survey, String> {
    let mut survey = Survey::default();
    for (of, artifact) in artifacts.iter().enumerate() {
        let path = artifact.path.as_str();
        match opened(root, path) {
            Ok(file) if is_plain(&file) => survey.take(of, path, file, 0)?,
            // A link, a pipe or a device in its place is as good as nothing.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => {
                survey.missing.push(artifact.path.clone());
            }
            Err(error) => return Err(format!("the artifact `{path}` cannot be read: {error}")),
        }
    }
    Ok(survey)
}

impl Survey {
    fn take(&mut self, of: usize, path: &str, file: OwnedFd, depth: usize) -> Result<(), String> {
        let unreadable = |error: &dyn std::fmt::Display| {
            format!("the artifact `{path}` cannot be read: {error}")
        };
        let stat = rustix::fs::fstat(&file).map_err(|error| unreadable(&error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let bytes = u64::try_from(stat.st_size).unwrap_or_default();
                self.total.files += 1;
                self.total.bytes = self.total.bytes.saturating_add(bytes);
                if !self.total.fits() {
                    return Err(too_much());
                }
                self.files.push(Entry {
                    of,
                    path: path.to_owned(),
                    bytes,
                });
            }
            FileType::Directory if depth == DEPTH => {
                return Err(unreadable(&"too many directories lie in each other"));
            }
            FileType::Directory => {
                for name in self.names(&file).map_err(|error| unreadable(&error))? {
                    let inside = format!("{path}/{name}");
                    let inner = openat(&file, name.as_str(), FLAGS, Mode::empty());
                    let inner = inner.map_err(|error| {
                        format!("the artifact `{inside}` cannot be read: {error}")
                    })?;
                    self.take(of, &inside, inner, depth + 1)?;
                }
            }
            // It was one of the two before it was opened, and nobody changes it.
            _ => return Err(unreadable(&"it has changed after the command's end")),
        }
        Ok(())
    }

    /// The files and directories in a directory, by name.
    fn names(&mut self, directory: &OwnedFd) -> Result<Vec<String>, String> {
        let unreadable = |error: Errno| error.to_string();
        let mut names = Vec::new();
        for entry in Dir::read_from(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries += 1;
            if self.entries > ENTRIES {
                return Err(too_much());
            }
            let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile | FileType::Directory => {
                    let text = name.to_str().map_err(|_| {
                        let shown = name.to_string_lossy();
                        format!("the name `{shown}` in it is not UTF-8; rename the file")
                    })?;
                    names.push(text.to_owned());
                }
                _ => self.left_out += 1,
            }
        }
        names.sort();
        Ok(names)
    }
}

fn is_plain(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| {
        let kind = FileType::from_raw_mode(stat.st_mode);
        matches!(kind, FileType::RegularFile | FileType::Directory)
    })
}

fn too_much() -> String {
    format!(
        "the artifacts are more than {} files or {} bytes together",
        limits::ARTIFACT_FILES,
        limits::ARTIFACT_BYTES
    )
}

/// Opens what lies at a path below `root`, and follows no link on the way.
fn opened(root: &impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let mut parts = path.split('/').peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let flags = if last {
            FLAGS
        } else {
            FLAGS | OFlags::DIRECTORY
        };
        let directory = at.as_ref().map_or_else(|| root.as_fd(), AsFd::as_fd);
        at = Some(openat(directory, part, flags, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

/// The file of an entry, which must still be one.
fn content(root: &OwnedFd, entry: &Entry) -> Result<File, String> {
    let unreadable = |error: &dyn std::fmt::Display| {
        format!("the artifact `{}` cannot be read: {error}", entry.path)
    };
    let file = File::from(opened(root, &entry.path).map_err(|error| unreadable(&error))?);
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if !metadata.is_file() || metadata.len() != entry.bytes {
        return Err(unreadable(&"it has changed after the command's end"));
    }
    Ok(file)
}

/// The names of the secrets whose values are in a file, which is at its beginning again.
fn searched(mut file: File, redactor: &Redactor) -> io::Result<(File, BTreeSet<String>)> {
    if redactor.needles() == 0 {
        return Ok((file, BTreeSet::new()));
    }
    let mut stream = redactor.stream();
    let (mut piece, mut passed) = (vec![0; PIECE], Vec::new());
    loop {
        let read = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        stream.push(piece.get(..read).unwrap_or_default(), &mut passed);
        passed.clear();
    }
    let matches = stream.finish(&mut passed);
    file.rewind()?;
    let keys = matches.iter().map(|(key, _, _)| key.to_owned());
    Ok((file, keys.collect()))
}

/// The names that have been told.
#[derive(Default)]
struct Names(BTreeSet<ArtifactName>);

impl Names {
    /// The name of an entry without the values of secrets. Two that are alike then are told apart.
    fn of(
        &mut self,
        entry: &Entry,
        redactor: &Redactor,
        found: &mut Vec<Redaction>,
    ) -> Result<ArtifactName, String> {
        let redacted = redactor.text(&entry.path);
        found.extend(rows(Stream::Artifact, &redacted.matches));
        let mut name = redacted.content.clone();
        let mut number = 2;
        loop {
            let told: ArtifactName = name
                .parse()
                .map_err(|error| format!("{error}; rename the file"))?;
            if self.0.insert(told.clone()) {
                return Ok(told);
            }
            name = format!("{}-{number}", redacted.content);
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use sealfleet_channel::Socket;
    use sealfleet_redaction::Secret;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;

    /// A workspace with these files.
    fn workspace(files: &[(&str, &[u8])]) -> TempDir {
        let place = tempfile::tempdir().expect("a directory");
        for (path, content) in files {
            let path = place.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, content).expect("written");
        }
        place
    }

    /// What the host is told, with the content of each file that goes with it; and what was taken
    /// out of names.
    async fn told(place: &TempDir, artifacts: Value, redactor: &Redactor) -> (Vec<Value>, usize) {
        let artifacts: Vec<Artifact> = serde_json::from_value(artifacts).expect("artifacts");
        let (mut host, init) = Socket::pair().expect("a channel");
        let mut init = Socket::<ToHost, ToInit>::inherited(init).expect("a channel");
        let hand_over = async {
            let found = hand_over(&mut init, place.path(), &artifacts, redactor).await;
            found.expect("told").len()
        };
        let listen = async {
            let mut all = Vec::new();
            loop {
                let (message, mut descriptors) = host.receive().await.expect("a message");
                match message {
                    ToHost::Artifacts(Artifacts::Files(files)) => {
                        for (at, file) in files.iter().enumerate() {
                            let content = descriptors.remove(&artifact_name(at));
                            let content = content.map(|content| {
                                std::io::read_to_string(File::from(content)).expect("read")
                            });
                            let keys = &file.contains_secret;
                            all.push(json!([file.name, file.bytes, content, keys, file.withheld]));
                        }
                        host.send(&ToInit::Taken, Descriptors::new())
                            .await
                            .expect("sent");
                    }
                    ToHost::Artifacts(end) => {
                        all.push(json!(end));
                        return all;
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        let (found, all) = tokio::join!(hand_over, listen);
        (all, found)
    }

    fn plain(name: &str, content: &str) -> Value {
        json!([name, content.len(), content, [], false])
    }

    fn end(missing: &[&str], left_out: u64) -> Value {
        json!({ "all": { "missing": missing, "left_out": left_out } })
    }

    #[tokio::test]
    async fn files_and_whole_directories_are_handed_over() {
        let place = workspace(&[
            ("a.txt", b"a"),
            ("out/b", b"bb"),
            ("out/c/d", b""),
            ("not", b"x"),
        ]);
        let nothing = Redactor::default();
        let (all, _) = told(
            &place,
            json!(["a.txt", "out", "absent", "out2/x"]),
            &nothing,
        )
        .await;
        let files = [
            plain("a.txt", "a"),
            plain("out/b", "bb"),
            plain("out/c/d", ""),
        ];
        assert_eq!(all[..3], files);
        assert_eq!(all[3..], [end(&["absent", "out2/x"], 0)]);
        // More than one message carries.
        let many: Vec<(String, Vec<u8>)> = (0..21)
            .map(|at| (format!("m/{at:02}"), vec![b'x'; at]))
            .collect();
        let many: Vec<(&str, &[u8])> = many
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_slice()))
            .collect();
        let (all, _) = told(&workspace(&many), json!(["m"]), &nothing).await;
        assert_eq!(all.len(), 22);
        assert_eq!(all[20], plain("m/20", &"x".repeat(20)));
    }

    #[tokio::test]
    async fn nothing_outside_and_nothing_odd_is_taken() {
        let outside = workspace(&[("secret", b"outside")]);
        let place = workspace(&[("out/fine", b"x"), ("deep/a/b", b"y")]);
        let at = |path: &str| place.path().join(path);
        symlink(outside.path().join("secret"), at("link")).expect("linked");
        symlink(outside.path(), at("linked")).expect("linked");
        symlink(outside.path().join("secret"), at("out/link")).expect("linked");
        symlink(outside.path(), at("out/linked")).expect("linked");
        symlink("/proc/self/environ", at("out/environ")).expect("linked");
        for pipe in ["pipe", "out/pipe"] {
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::mkfifoat(rustix::fs::CWD, at(pipe), mode).expect("made");
        }
        let _socket = std::os::unix::net::UnixListener::bind(at("out/socket")).expect("bound");
        let named = json!(["link", "linked/secret", "out", "pipe", "deep/a"]);
        let (all, _) = told(&place, named, &Redactor::default()).await;
        let text = json!(all).to_string();
        assert!(!text.contains("outside"), "{text}");
        assert_eq!(all[..2], [plain("out/fine", "x"), plain("deep/a/b", "y")]);
        assert_eq!(all[2..], [end(&["link", "linked/secret", "pipe"], 5)]);
    }

    #[tokio::test]
    async fn what_holds_a_secret_is_withheld_unless_the_step_says_otherwise() {
        let value = b"canary-value-0";
        let redactor = Redactor::new(&[Secret { key: "KEY", value }]).expect("redactable");
        let raw = b"x canary-value-0 y";
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let place = workspace(&[
            ("raw", raw),
            ("hex", hex.as_bytes()),
            ("clean", b"x"),
            ("told", raw),
        ]);
        let tell = json!({ "path": "told", "on_secret": "tell" });
        let (all, found) = told(&place, json!(["raw", "hex", "clean", tell]), &redactor).await;
        let withheld = |name: &str, bytes: usize| json!([name, bytes, null, ["KEY"], true]);
        assert_eq!(
            all[..2],
            [withheld("raw", raw.len()), withheld("hex", hex.len())]
        );
        assert_eq!(all[2], plain("clean", "x"));
        assert_eq!(
            all[3],
            json!(["told", raw.len(), "x canary-value-0 y", ["KEY"], false])
        );
        assert_eq!(found, 0);
    }

    #[tokio::test]
    async fn a_name_holds_no_secret() {
        let value = b"canary-value-0";
        let redactor = Redactor::new(&[Secret { key: "KEY", value }]).expect("redactable");
        let place = workspace(&[
            ("d/canary-value-0.txt", b"a"),
            ("d/63616e6172792d76616c75652d30.txt", b"b"),
        ]);
        let (all, found) = told(&place, json!(["d"]), &redactor).await;
        let text = json!(all).to_string();
        assert!(
            !text.contains("canary") && !text.contains("63616e"),
            "{text}"
        );
        let names: Vec<&Value> = all[..2].iter().map(|file| &file[0]).collect();
        assert_eq!(names, ["d/<redacted:KEY>.txt", "d/<redacted:KEY>.txt-2"]);
        assert_eq!(found, 2);
    }

    #[tokio::test]
    async fn too_much_is_told_before_anything_is_sent() {
        let bad = |all: Vec<Value>, why: &str| {
            let [only] = &all[..] else { panic!("{all:?}") };
            let text = only["bad"].as_str().expect("bad").to_owned();
            assert!(text.contains(why), "{text}");
        };
        let nothing = Redactor::default();
        let many: Vec<String> = (0..=limits::ARTIFACT_FILES)
            .map(|at| format!("m/{at}"))
            .collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|path| (path.as_str(), &b""[..])).collect();
        bad(
            told(&workspace(&many), json!(["m"]), &nothing).await.0,
            "more than 500 files",
        );

        // A file may say that it is larger than what it takes.
        let place = workspace(&[("small", b"x")]);
        let sparse = File::create(place.path().join("sparse")).expect("made");
        sparse.set_len(limits::ARTIFACT_BYTES).expect("longer");
        bad(
            told(&place, json!(["small", "sparse"]), &nothing).await.0,
            "bytes together",
        );

        let place = workspace(&[]);
        let deep = "d/".repeat(DEPTH + 2);
        std::fs::create_dir_all(place.path().join(&deep)).expect("made");
        bad(
            told(&place, json!(["d"]), &nothing).await.0,
            "too many directories",
        );

        let place = workspace(&[]);
        let odd = std::ffi::OsStr::from_bytes(b"d/\xff");
        std::fs::create_dir(place.path().join("d")).expect("made");
        std::fs::write(place.path().join(odd), "x").expect("written");
        bad(told(&place, json!(["d"]), &nothing).await.0, "is not UTF-8");
        let place = workspace(&[("d/a\nb", b"x")]);
        bad(
            told(&place, json!(["d"]), &nothing).await.0,
            "rename the file",
        );
    }
}
