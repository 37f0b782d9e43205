//! What survives the process: task definitions, tasks and the delivery of their last event, as JSON
//! lines.
//!
//! A line is appended before the step it records is answered or acted on, with one write. The
//! kernel keeps written pages when a process is killed, so no sync is needed for what this guards
//! against; a last line cut short is ignored. The file is rewritten at start with what is still of
//! interest. No line holds a value of a secret or a credential.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::definition::TaskDefinition;
use crate::task::Task;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    Definition(Box<TaskDefinition>),
    /// A task as it stands from now on.
    Task(Box<Task>),
    /// The target of events took the event with this version of a task.
    Delivered {
        task: String,
        version: u64,
    },
}

/// The open journal.
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Locked as long as this process lives, so that no second one works on the same tasks.
    _lock: File,
}

impl Journal {
    /// Opens or makes the journal in `directory` and reads what it holds.
    ///
    /// # Errors
    /// The directory or file cannot be made, read or written; or another process holds the journal.
    pub fn open(directory: &Path) -> io::Result<(Self, Vec<Record>)> {
        std::fs::create_dir_all(directory)?;
        let lock = append_to(&directory.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process uses this state directory",
            )
        })?;
        let path = directory.join("tasks.jsonl");
        let text = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let records = text
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        let file = append_to(&path)?;
        Ok((
            Self {
                path,
                file,
                _lock: lock,
            },
            records,
        ))
    }

    /// Appends one record.
    ///
    /// # Errors
    /// The file system refused.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        self.file.write_all(&line(record)?)
    }

    /// Replaces the whole journal.
    ///
    /// # Errors
    /// The file system refused; the old journal is then still there.
    pub fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        let next = self.path.with_extension("next");
        let mut file = File::create(&next)?;
        for record in records {
            file.write_all(&line(record)?)?;
        }
        file.sync_all()?;
        std::fs::rename(&next, &self.path)?;
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}
