//! What steps leave behind, on its way from their sandboxes to this host and to the project's
//! outputs.
//!
//! The sandbox hands over open files. They are copied at once, while it waits, into a directory
//! beside the step's log; stored when it has ended; and removed once they are stored, so that they
//! fill no disk. What comes out of a sandbox is not trusted: all is bounded here once more, each
//! descriptor must be a regular file, and each name stays below that directory.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sealfleet_channel::{ArtifactFile, Artifacts, Descriptors, artifact_name};
use sealfleet_domain::artifact::{
    Artifact, ArtifactName, Found, Kept, MANIFEST, MANIFEST_BYTES, MOST_FOUND, Manifest, Total,
    object_name,
};
use sealfleet_domain::hash::{ContentHash, Hasher};
use sealfleet_domain::limits;

use crate::{FileStore, insist};

const PIECE: usize = 256 * 1024;

/// What a step has left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    pub total: Total,
    /// Files that hold secrets; the first of them.
    pub found: Vec<Found>,
}

/// What one step leaves behind.
#[derive(Debug)]
pub struct Collection {
    /// What the step names.
    wanted: Vec<Artifact>,
    /// `STEP.FENCE.artifacts` beside its log.
    directory: PathBuf,
    manifest: Manifest,
    total: Total,
    /// Whether all has come.
    complete: bool,
    /// What is wrong with it.
    bad: Option<String>,
}

impl Collection {
    pub fn new(wanted: &[Artifact], directory: PathBuf) -> Self {
        Self {
            wanted: wanted.to_vec(),
            directory,
            manifest: Manifest::default(),
            total: Total::default(),
            complete: false,
            bad: None,
        }
    }

    /// Takes what came with one message. Answers whether more may come.
    pub async fn take(&mut self, told: Artifacts, descriptors: Descriptors) -> bool {
        if self.complete || self.bad.is_some() {
            return false;
        }
        match told {
            Artifacts::Files(files) => {
                self.bad = self.take_files(files, descriptors).await.err();
                self.bad.is_none()
            }
            Artifacts::All { missing, left_out } => {
                self.complete = true;
                self.manifest.missing = missing;
                self.manifest.missing.truncate(limits::ARTIFACTS);
                self.manifest.left_out = left_out;
                false
            }
            Artifacts::Bad(why) => {
                self.bad = Some(why);
                false
            }
        }
    }

    async fn take_files(
        &mut self,
        files: Vec<ArtifactFile>,
        mut descriptors: Descriptors,
    ) -> Result<(), String> {
        for (at, file) in files.into_iter().enumerate() {
            let odd = || "the sandbox handed over artifacts that its step does not name".to_owned();
            let wanted = self.wanted.get(file.of).ok_or_else(odd)?;
            let known = |kept: &Kept| kept.name == file.name;
            if self.manifest.files.iter().any(known) {
                return Err(odd());
            }
            self.total.files += 1;
            self.total.bytes = self.total.bytes.saturating_add(file.bytes);
            if !self.total.fits() || file.contains_secret.len() > limits::CASCADE_SECRETS {
                return Err("the sandbox handed over more than a step may leave".to_owned());
            }
            let to = wanted.to;
            let sha256 = if file.withheld {
                None
            } else {
                let descriptor = descriptors.remove(&artifact_name(at)).ok_or_else(odd)?;
                let (path, name) = (self.directory.clone(), file.name.clone());
                let copied = tokio::task::spawn_blocking(move || {
                    copy(File::from(descriptor), &path, &name, file.bytes)
                });
                let copied = copied.await.map_err(|error| error.to_string())?;
                Some(copied.map_err(|error| {
                    format!(
                        "the worker cannot keep the artifact `{}`: {error}",
                        file.name
                    )
                })?)
            };
            self.manifest.files.push(Kept {
                name: file.name,
                bytes: file.bytes,
                sha256,
                to,
                contains_secret: file.contains_secret,
            });
        }
        Ok(())
    }

    /// Keeps all that has come: what is for the project in its outputs, if they go there, and the
    /// rest in the directory, with the manifest.
    ///
    /// # Errors
    /// What is not kept, and why; for people.
    pub async fn keep(&self, store: Option<&dyn FileStore>) -> Result<LeftBehind, String> {
        if let Some(why) = &self.bad {
            self.forget(|_| true);
            return Err(why.clone());
        }
        if !self.complete {
            self.forget(|_| true);
            return Err("the sandbox has ended before all artifacts had come".to_owned());
        }
        let manifest = serde_json::to_vec(&self.manifest).map_err(|error| error.to_string())?;
        if manifest.len() > MANIFEST_BYTES {
            return Err("the names of the artifacts are too long together".to_owned());
        }
        let not_stored =
            |name: &str, error| format!("the artifact `{name}` could not be stored: {error}");
        if let Some(store) = store {
            for (at, file) in self.manifest.files.iter().enumerate() {
                let Some(sha256) = file.sha256.filter(|_| file.is_stored()) else {
                    continue;
                };
                let path = self.directory.join(file.name.as_str());
                let name = object_name(at);
                let stored = insist(|| store.put_file(&name, &path, sha256)).await;
                stored.map_err(|error| not_stored(file.name.as_str(), error))?;
            }
            let stored = insist(|| store.put(MANIFEST, manifest.clone())).await;
            stored.map_err(|error| not_stored(MANIFEST, error))?;
            self.forget(Kept::is_stored);
        }
        let is_here = |file: &Kept| file.sha256.is_some() && !(store.is_some() && file.is_stored());
        if store.is_none() || self.manifest.files.iter().any(is_here) {
            self.keep_manifest(&manifest).map_err(|error| {
                format!("the worker cannot keep the artifacts' manifest: {error}")
            })?;
        }
        Ok(LeftBehind {
            total: self.total,
            found: self.found(),
        })
    }

    /// Beside the directory: in it, a step might name a file so.
    fn keep_manifest(&self, manifest: &[u8]) -> io::Result<()> {
        let path = self.directory.with_extension(MANIFEST);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path);
        file?.write_all(manifest)
    }

    fn found(&self) -> Vec<Found> {
        let with_secret = self.manifest.files.iter();
        let with_secret = with_secret.filter(|file| !file.contains_secret.is_empty());
        let found = with_secret.map(|file| Found {
            name: file.name.clone(),
            keys: file.contains_secret.clone(),
            withheld: file.sha256.is_none(),
        });
        found.take(MOST_FOUND).collect()
    }

    /// Removes copies that nobody needs here, and directories that are empty then.
    fn forget(&self, needless: impl Fn(&Kept) -> bool) {
        let mut parents = BTreeSet::new();
        for file in self.manifest.files.iter().filter(|file| needless(file)) {
            let path = self.directory.join(file.name.as_str());
            // It stays on the disk if this fails, and harms nobody.
            drop(fs::remove_file(&path));
            let above = path.ancestors().skip(1);
            let inside = above.take_while(|above| above.starts_with(&self.directory));
            parents.extend(inside.map(Path::to_owned));
        }
        for parent in parents.iter().rev() {
            // Fails if something is in it.
            drop(fs::remove_dir(parent));
        }
    }
}

/// Copies a file of the sandbox below `directory`, and answers its SHA-256. It must be a regular
/// file of this size, or nobody knows when reading ends.
fn copy(from: File, directory: &Path, name: &ArtifactName, bytes: u64) -> io::Result<ContentHash> {
    let other = |text: &str| io::Error::other(text.to_owned());
    let metadata = from.metadata()?;
    if !metadata.is_file() || metadata.len() != bytes {
        return Err(other("the sandbox handed over something else"));
    }
    let path = directory.join(name.as_str());
    let parent = path.parent().unwrap_or(directory);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)?;
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    let (mut from, mut hasher, mut left) = (from.take(bytes), Hasher::default(), bytes);
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            break;
        }
        let part = piece.get(..read).unwrap_or_default();
        hasher.update(part);
        to.write_all(part)?;
        left -= read as u64;
    }
    if left > 0 {
        return Err(other("it became shorter while it was copied"));
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::{Store, StoreError};

    #[derive(Default)]
    struct Memory(Mutex<Vec<(String, Vec<u8>)>>);

    #[async_trait]
    impl Store for Memory {
        async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
            let mut objects = self.0.lock().expect("unlocked");
            objects.push((name.to_owned(), bytes));
            Ok(())
        }
    }

    #[async_trait]
    impl FileStore for Memory {
        async fn put_file(
            &self,
            name: &str,
            path: &Path,
            sha256: ContentHash,
        ) -> Result<(), StoreError> {
            let bytes = fs::read(path).expect("its copy");
            assert_eq!(ContentHash::of(&bytes), sha256);
            self.put(name, bytes).await
        }
    }

    impl Memory {
        fn names(&self) -> Vec<String> {
            let objects = self.0.lock().expect("unlocked");
            objects.iter().map(|(name, _)| name.clone()).collect()
        }

        fn manifest(&self) -> Value {
            let objects = self.0.lock().expect("unlocked");
            let manifest = objects.iter().find(|(name, _)| name == MANIFEST);
            serde_json::from_slice(&manifest.expect("a manifest").1).expect("JSON")
        }
    }

    fn collection(place: &TempDir, wanted: Value) -> Collection {
        let wanted: Vec<Artifact> = serde_json::from_value(wanted).expect("artifacts");
        Collection::new(&wanted, place.path().join("a.1.artifacts"))
    }

    fn open(content: &[u8]) -> OwnedFd {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content).expect("written");
        io::Seek::rewind(&mut file).expect("rewound");
        file.into()
    }

    /// A message with these files, each with what it says of itself.
    fn message(files: Vec<(Value, Option<OwnedFd>)>) -> (Artifacts, Descriptors) {
        let (mut told, mut descriptors) = (Vec::new(), Descriptors::new());
        for (at, (file, content)) in files.into_iter().enumerate() {
            told.push(file);
            descriptors.extend(content.map(|content| (artifact_name(at), content)));
        }
        let told = serde_json::from_value(json!({ "files": told })).expect("a message");
        (told, descriptors)
    }

    fn file(name: &str, bytes: usize) -> Value {
        json!({ "of": 0, "name": name, "bytes": bytes })
    }

    fn all() -> Artifacts {
        let missing = vec!["gone".parse().expect("a path")];
        Artifacts::All {
            missing,
            left_out: 2,
        }
    }

    fn left(place: &TempDir) -> Vec<String> {
        let files = walk(place.path());
        let mut names: Vec<String> = files
            .iter()
            .map(|path| {
                path.strip_prefix(place.path())
                    .expect("below")
                    .display()
                    .to_string()
            })
            .collect();
        names.sort();
        names
    }

    fn walk(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory)
            .expect("read")
            .map(|entry| entry.expect("read").path());
        entries
            .flat_map(|path| {
                if path.is_dir() {
                    walk(&path)
                } else {
                    vec![path]
                }
            })
            .collect()
    }

    #[tokio::test]
    async fn what_is_for_the_project_is_stored_and_its_copies_go() {
        let place = tempfile::tempdir().expect("a directory");
        let local = json!({ "path": "cache", "to": "local" });
        let mut taken = collection(&place, json!(["out", local]));
        let withheld = json!({ "of": 0, "name": "out/key", "bytes": 9, "contains_secret": ["KEY"], "withheld": true });
        let cached = json!({ "of": 1, "name": "cache/x", "bytes": 3 });
        let (told, files) = message(vec![
            (file("out/a", 3), Some(open(b"one"))),
            (withheld, None),
            (cached, Some(open(b"two"))),
        ]);
        assert!(taken.take(told, files).await);
        let (told, files) = message(vec![(file("out/b/c", 0), Some(open(b"")))]);
        assert!(taken.take(told, files).await);
        assert!(!taken.take(all(), Descriptors::new()).await);
        let memory = Memory::default();
        let kept = taken.keep(Some(&memory)).await.expect("kept");
        assert_eq!(
            kept.total,
            Total {
                files: 4,
                bytes: 15
            }
        );
        let found = json!([{ "name": "out/key", "keys": ["KEY"], "withheld": true }]);
        assert_eq!(json!(kept.found), found);
        // The manifest comes last: what it names is there.
        assert_eq!(
            memory.names(),
            ["artifacts/00000000", "artifacts/00000003", MANIFEST]
        );
        let manifest = memory.manifest();
        assert_eq!(
            (&manifest["missing"], &manifest["left_out"]),
            (&json!(["gone"]), &json!(2))
        );
        assert!(manifest["files"][1]["sha256"].is_null(), "{manifest}");
        assert_eq!(manifest["files"][3]["sha256"], json!(ContentHash::of(b"")));
        let stays = ["a.1.artifacts.json", "a.1.artifacts/cache/x"];
        assert_eq!(left(&place), stays);
    }

    #[tokio::test]
    async fn what_stays_on_the_host_lies_beside_the_log() {
        let place = tempfile::tempdir().expect("a directory");
        let mut taken = collection(&place, json!(["out"]));
        let (told, files) = message(vec![(file("out/a", 3), Some(open(b"one")))]);
        taken.take(told, files).await;
        taken.take(all(), Descriptors::new()).await;
        taken.keep(None).await.expect("kept");
        assert_eq!(left(&place), ["a.1.artifacts.json", "a.1.artifacts/out/a"]);
        let copy = place.path().join("a.1.artifacts/out/a");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(&copy).expect("there").permissions(),
        );
        assert_eq!(
            (fs::read(&copy).expect("read"), mode & 0o777),
            (b"one".to_vec(), 0o600)
        );
    }

    /// What a sandbox whose first process is not itself any more may say.
    #[tokio::test]
    async fn a_hostile_sandbox_fills_no_disk_and_stalls_nobody() {
        let pipe = || {
            let (read, write) = rustix::pipe::pipe().expect("a pipe");
            // Nobody writes, and nobody closes it.
            std::mem::forget(write);
            read
        };
        let zero = || OwnedFd::from(File::open("/dev/zero").expect("every Linux has it"));
        let directory = || OwnedFd::from(File::open("/").expect("every Linux has it"));
        let twice = || (file("a", 1), Some(open(b"x")));
        let huge = json!({ "of": 0, "name": "a", "bytes": u64::MAX });
        let many = |keys: usize| {
            let keys: Vec<String> = (0..keys).map(|number| format!("K{number}")).collect();
            json!({ "of": 0, "name": "a", "bytes": 1, "contains_secret": keys })
        };
        for (files, why) in [
            (vec![(file("a", 10), Some(pipe()))], "something else"),
            (vec![(file("a", 10), Some(zero()))], "something else"),
            (vec![(file("a", 10), Some(directory()))], "something else"),
            (vec![(file("a", 2), Some(open(b"x")))], "something else"),
            (vec![(file("a", 1), Some(open(b"xx")))], "something else"),
            (vec![(file("a", 1), None)], "does not name"),
            (
                vec![(
                    json!({ "of": 1, "name": "a", "bytes": 1 }),
                    Some(open(b"x")),
                )],
                "does not name",
            ),
            (vec![twice(), twice()], "does not name"),
            (
                vec![
                    (file("a", 1), Some(open(b"x"))),
                    (file("a/b", 1), Some(open(b"x"))),
                ],
                "cannot keep",
            ),
            (vec![(huge, Some(open(b"x")))], "more than a step may leave"),
            (
                vec![(many(201), Some(open(b"x")))],
                "more than a step may leave",
            ),
        ] {
            let place = tempfile::tempdir().expect("a directory");
            let mut taken = collection(&place, json!(["a"]));
            let (told, files) = message(files);
            assert!(!taken.take(told, files).await, "{why}");
            assert!(
                !taken.take(all(), Descriptors::new()).await,
                "nothing after it"
            );
            let error = taken.keep(None).await.expect_err(why);
            assert!(error.contains(why), "{error}");
            assert!(left(&place).len() <= 1, "{:?}", left(&place));
        }
        // A name that leads out is none.
        for name in ["../a", "/etc/passwd", "a/../../b"] {
            let told = json!({ "files": [file(name, 1)] });
            assert!(serde_json::from_value::<Artifacts>(told).is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn what_has_not_come_whole_is_nothing() {
        let place = tempfile::tempdir().expect("a directory");
        let mut taken = collection(&place, json!(["out"]));
        let (told, files) = message(vec![(file("out/a", 3), Some(open(b"one")))]);
        taken.take(told, files).await;
        let memory = Memory::default();
        let error = taken.keep(Some(&memory)).await.expect_err("not whole");
        assert!(error.contains("before all artifacts had come"), "{error}");
        assert_eq!((memory.names(), left(&place)), (vec![], vec![]));
        let mut bad = collection(&place, json!(["out"]));
        bad.take(Artifacts::Bad("why".to_owned()), Descriptors::new())
            .await;
        assert_eq!(bad.keep(Some(&memory)).await, Err("why".to_owned()));
    }
}
