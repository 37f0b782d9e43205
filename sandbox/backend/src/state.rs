//! The state directory: which worker processes of this host live, and which sandboxes they have.
//!
//! ```text
//! id            names this directory, so that whoever cleans up knows its own
//! workers/W     locked by the worker process W (flock(2)) until it ends, however it ends
//! sandboxes/S   the sandbox S, as long as its worker has it
//! ```
//!
//! The kernel releases the lock of a process that is killed. So a sandbox whose worker holds none
//! belongs to nobody, and one whose worker holds it is never taken away.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use sealfleet_domain::hash::hex;
use sealfleet_domain::{Clock as _, IdSource as _, Timestamp};
use sealfleet_system::{SystemClock, SystemIds};
use serde::{Deserialize, Serialize};

use crate::Owner;

/// Bytes of a random name.
const NAME_BYTES: usize = 8;

/// The state directory of the workers of a host.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    path: PathBuf,
    id: String,
}

/// This process, as the state directory knows it. It lives until the last of its clones is dropped.
#[derive(Clone, Debug)]
pub struct Process(Arc<Locked>);

#[derive(Debug)]
struct Locked {
    directory: StateDirectory,
    name: String,
    _lock: File,
}

/// The note that a sandbox is there. Dropped: it is taken away.
#[derive(Debug)]
pub struct Note(PathBuf);

/// A sandbox of this host, found by what its worker has left: nobody vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its backend's name in the capability table.
    pub backend: String,
    pub sandbox: String,
    pub project: String,
    pub run: String,
    pub step: String,
    pub fence: String,
    /// Its worker's process.
    pub worker: String,
    pub since: Timestamp,
    /// Whether its worker lives.
    #[serde(default)]
    pub worker_lives: bool,
}

impl StateDirectory {
    /// Opens the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// The system's answer, or that the directory belongs to somebody else.
    pub fn open(path: &Path) -> io::Result<Self> {
        private(path)?;
        let whole = fs::metadata(path)?;
        if whole.uid() != geteuid().as_raw() && !geteuid().is_root() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("it belongs to the user {}", whole.uid()),
            ));
        }
        // Root may look into it first: what it makes there is its owner's.
        let give = |path: &Path| chown(path, Some(whole.uid()), Some(whole.gid()));
        for name in ["workers", "sandboxes"] {
            let path = path.join(name);
            if !path.exists() {
                private(&path)?;
                give(&path)?;
            }
        }
        let file = path.join("id");
        if !file.exists() {
            let fresh = path.join(format!("id.{}", random()));
            write_new(&fresh, random().as_bytes())?;
            give(&fresh)?;
            // Fails if another process was faster: then its id stays.
            drop(fs::hard_link(&fresh, &file));
            fs::remove_file(fresh)?;
        }
        Ok(Self {
            path: path.to_owned(),
            id: fs::read_to_string(file)?,
        })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names this directory among all of the host.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Enters this process.
    ///
    /// # Errors
    /// The system's answer.
    pub fn enter(&self) -> io::Result<Process> {
        let name = format!("{}-{}", std::process::id(), random());
        // Locked before it can be found: nobody takes it for one of a dead process.
        let fresh = self.path.join(&name);
        let lock = write_new(&fresh, b"")?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(fresh, self.worker(&name))?;
        Ok(Process(Arc::new(Locked {
            directory: self.clone(),
            name,
            _lock: lock,
        })))
    }

    /// Whether this worker process lives.
    #[must_use]
    pub fn lives(&self, worker: &str) -> bool {
        // A name from outside must not lead elsewhere.
        if !worker
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            return false;
        }
        match File::open(self.worker(worker)) {
            Ok(file) => matches!(
                flock(&file, FlockOperation::NonBlockingLockShared),
                Err(rustix::io::Errno::WOULDBLOCK)
            ),
            // Of one whose file cannot be read, nothing is known.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// The sandboxes that are noted.
    ///
    /// # Errors
    /// The system's answer.
    pub fn noted(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path.join("sandboxes"))? {
            // One that ends meanwhile is no longer there.
            let Ok(text) = fs::read(entry?.path()) else {
                continue;
            };
            if let Ok(mut one) = serde_json::from_slice::<Found>(&text) {
                one.worker_lives = self.lives(&one.worker);
                found.push(one);
            }
        }
        Ok(found)
    }

    /// Takes away what dead workers have left here, and answers the sandboxes that were noted.
    ///
    /// # Errors
    /// The system's answer.
    pub fn forget_dead(&self) -> io::Result<Vec<Found>> {
        let mut dead = self.noted()?;
        dead.retain(|one| !one.worker_lives);
        for one in &dead {
            if let Some(name) = Path::new(&one.sandbox).file_name() {
                remove(&self.path.join("sandboxes").join(name))?;
            }
        }
        for entry in fs::read_dir(self.path.join("workers"))? {
            let name = entry?.file_name();
            if let Some(name) = name.to_str().filter(|name| !self.lives(name)) {
                remove(&self.worker(name))?;
            }
        }
        Ok(dead)
    }

    fn worker(&self, name: &str) -> PathBuf {
        self.path.join("workers").join(name)
    }
}

impl Process {
    #[must_use]
    pub fn directory(&self) -> &StateDirectory {
        &self.0.directory
    }

    /// Its name, which no other process of the host gets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Notes that a sandbox is there.
    ///
    /// # Errors
    /// The system's answer.
    pub fn note(&self, backend: &str, sandbox: &str, owner: &Owner) -> io::Result<Note> {
        let found = Found {
            backend: backend.to_owned(),
            sandbox: sandbox.to_owned(),
            project: owner.project.to_string(),
            run: owner.run_id.to_string(),
            step: owner.step_id.to_string(),
            fence: owner.fence.to_string(),
            worker: self.name().to_owned(),
            since: SystemClock.now(),
            worker_lives: true,
        };
        let path = self.directory().path.join("sandboxes").join(sandbox);
        // A name comes back only after the worker that had it has died.
        remove(&path)?;
        write_new(&path, &serde_json::to_vec(&found)?)?;
        Ok(Note(path))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // What stays is taken away by another process.
        drop(remove(&self.directory.worker(&self.name)));
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        drop(remove(&self.0));
    }
}

/// A directory that is this user's alone.
fn private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = new?;
    file.write_all(bytes)?;
    Ok(file)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn random() -> String {
    hex(SystemIds.secret().get(..NAME_BYTES).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            project: "healthcare".parse().unwrap(),
            run_id: "run_0198c0de-0000-7000-8000-00000000000a".parse().unwrap(),
            step_id: "a".parse().unwrap(),
            fence: serde_json::from_str("3").unwrap(),
        }
    }

    #[test]
    fn a_worker_lives_until_its_process_ends_and_its_sandboxes_are_found() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(place.path()).unwrap();
        let again = StateDirectory::open(place.path()).unwrap();
        assert_eq!(state.id(), again.id());
        let (one, other) = (state.enter().unwrap(), again.enter().unwrap());
        assert_ne!(one.name(), other.name());
        let note = one.note("bubblewrap", "sandbox-1-0", &owner()).unwrap();
        let kept = other.note("bubblewrap", "sandbox-1-1", &owner()).unwrap();
        let found = state.noted().unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|one| one.worker_lives && one.fence == "3"));
        assert!(state.forget_dead().unwrap().is_empty());

        // A process that is killed removes nothing.
        let name = one.name().to_owned();
        fs::hard_link(state.worker(&name), place.path().join("kept")).unwrap();
        drop(one);
        fs::rename(place.path().join("kept"), state.worker(&name)).unwrap();
        assert!(!state.lives(&name) && state.lives(other.name()));
        let dead = state.forget_dead().unwrap();
        let dead: Vec<&str> = dead.iter().map(|one| one.sandbox.as_str()).collect();
        assert_eq!(dead, ["sandbox-1-0"]);
        assert!(!state.worker(&name).exists());
        drop(note);
        drop(kept);
        assert!(state.noted().unwrap().is_empty());
    }

    #[test]
    fn a_name_from_outside_leads_nowhere_else() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(place.path()).unwrap();
        let lock = File::open(place.path().join("id")).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(!state.lives("../id"));
    }
}
