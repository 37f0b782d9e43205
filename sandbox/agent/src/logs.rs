//! The session logs of a CLI, read while it writes them.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sealfleet_domain::agent::Cli;

use crate::adapters::{Place, adapter};
use crate::lines::Lines;
use crate::said::Stream;

/// Directories below the place of the logs that are looked into, one in another.
const DEPTH: usize = 4;
/// Entries of directories that one look reads.
const ENTRIES: usize = 4096;
/// Logs that are read; an agent that starts others has one each.
const LOGS: usize = 64;
/// Bytes that one look reads of a log.
const BYTES: u64 = 4 * 1024 * 1024;

/// The session logs of one agent.
pub struct Logs {
    place: Option<(PathBuf, Place)>,
    open: Vec<Log>,
}

struct Log {
    path: PathBuf,
    file: File,
    lines: Lines,
}

impl Logs {
    /// Those of this CLI with this HOME.
    #[must_use]
    pub fn new(cli: Cli, home: &Path) -> Self {
        let place = adapter(cli).logs;
        Self {
            place: place.map(|place| (home.join(place.directory), place)),
            open: Vec::new(),
        }
    }

    /// Gives `stream` what was written since the last look.
    pub fn look(&mut self, stream: &mut Stream) {
        let Some((directory, place)) = &self.place else {
            return;
        };
        let mut found = Vec::new();
        let mut entries = ENTRIES;
        search(directory, place, DEPTH, &mut entries, &mut found);
        for path in found {
            if self.open.len() < LOGS
                && !self.open.iter().any(|log| log.path == path)
                && let Some(file) = regular(&path)
            {
                let lines = Lines::default();
                self.open.push(Log { path, file, lines });
            }
        }
        for (number, log) in self.open.iter_mut().enumerate() {
            let mut bytes = Vec::new();
            // What cannot be read is not there: the CLI's last words say the same once more.
            let _read = (&log.file).take(BYTES).read_to_end(&mut bytes);
            log.lines.feed(&bytes, |line| stream.logged(number, line));
        }
    }
}

fn search(
    directory: &Path,
    place: &Place,
    depth: usize,
    entries: &mut usize,
    found: &mut Vec<PathBuf>,
) {
    let Ok(listed) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in listed.flatten() {
        let Some(left) = entries.checked_sub(1) else {
            return;
        };
        *entries = left;
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() && depth > 1 {
            search(&entry.path(), place, depth - 1, entries, found);
        } else if kind.is_file() && name.starts_with(place.prefix) && name.ends_with(".jsonl") {
            found.push(entry.path());
        }
    }
}

/// A regular file. Neither follows a link nor waits for a pipe's other end.
fn regular(path: &Path) -> Option<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}
