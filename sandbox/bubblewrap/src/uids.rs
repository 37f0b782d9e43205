//! Host uids, one per live sandbox.
//!
//! Each uid has a file in a directory that all launchers of the host share. A launcher holds the
//! uid by a lock on the file (flock(2)), so no two launchers hold the same one, and the kernel
//! releases the locks of a killed launcher. Its sandboxes die a moment later. So the file's content
//! says whether the uid was given back; one that was not is taken only if no process of the host
//! runs under it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};

/// Hands out uids of a range.
#[derive(Debug)]
pub(crate) struct Uids {
    directory: PathBuf,
    range: RangeInclusive<u32>,
    next: AtomicU32,
}

/// One uid, held until dropped.
#[derive(Debug)]
pub(crate) struct UidLease {
    pub(crate) uid: u32,
    file: File,
    ended: bool,
}

impl Uids {
    pub(crate) fn open(state_dir: &Path, range: RangeInclusive<u32>) -> io::Result<Self> {
        let directory = state_dir.join("uids");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        let next = AtomicU32::new(*range.start());
        Ok(Self {
            directory,
            range,
            next,
        })
    }

    /// A uid that no live sandbox has; `None` if all are taken.
    pub(crate) fn lease(&self) -> io::Result<Option<UidLease>> {
        for _ in self.range.clone() {
            let uid = self.step();
            let path = self.directory.join(uid.to_string());
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => continue,
                Err(error) => return Err(error.into()),
            }
            if file.metadata()?.len() > 0 && runs_somewhere(uid)? {
                continue;
            }
            file.set_len(1)?;
            return Ok(Some(UidLease {
                uid,
                file,
                ended: false,
            }));
        }
        Ok(None)
    }

    fn step(&self) -> u32 {
        let (first, last) = (*self.range.start(), *self.range.end());
        let following = |uid| Some(if uid >= last { first } else { uid + 1 });
        self.next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, following)
            .unwrap_or(first)
    }
}

impl UidLease {
    /// Gives the uid back. Call it once no process of the sandbox is left; without it, the next
    /// holder searches the process table.
    pub(crate) fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for UidLease {
    fn drop(&mut self) {
        if self.ended {
            // On failure the file stays marked: the next holder searches the process table.
            drop(self.file.set_len(0));
        }
    }
}

/// Whether any process of the host has `uid` as real, effective, saved or file-system uid.
fn runs_somewhere(uid: u32) -> io::Result<bool> {
    let uid = uid.to_string();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        if !entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
        {
            continue;
        }
        // Fails for a process that ended meanwhile.
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        let uids = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .unwrap_or_default();
        if uids.split_whitespace().any(|of_process| of_process == uid) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_has_one_holder_across_launchers_and_comes_back() {
        let state = tempfile::tempdir().unwrap();
        let one = Uids::open(state.path(), 900_000..=900_001).unwrap();
        let other = Uids::open(state.path(), 900_000..=900_001).unwrap();
        let first = one.lease().unwrap().unwrap();
        let second = other.lease().unwrap().unwrap();
        assert_ne!(first.uid, second.uid);
        assert!(one.lease().unwrap().is_none());
        let uid = first.uid;
        first.ended();
        assert_eq!(other.lease().unwrap().unwrap().uid, uid);
    }

    #[test]
    fn a_uid_that_was_not_given_back_is_not_taken_while_a_process_runs_under_it() {
        let state = tempfile::tempdir().unwrap();
        let own = rustix::process::getuid().as_raw();
        let uids = Uids::open(state.path(), own..=own).unwrap();
        drop(uids.lease().unwrap().unwrap());
        assert!(uids.lease().unwrap().is_none());
    }
}
