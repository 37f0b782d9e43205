//! The journal: task definitions, tasks and the delivery of their last event, as JSON lines. It
//! survives the process.
//!
//! One write appends each line before the recorded step is answered or acted on. When a process is
//! killed, the kernel keeps the pages that it wrote, so no sync is needed for that case. A last
//! line that was cut short is ignored. At start, the file is rewritten with the records that are
//! still needed. No line holds a secret's value or a credential.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::definition::TaskDefinition;
use crate::task::Task;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    Definition(Box<TaskDefinition>),
    /// The new state of a task.
    Task(Box<Task>),
    /// The event target accepted the event with this version of a task.
    Delivered {
        task: String,
        version: u64,
    },
}

/// The open journal.
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Stays locked while this process lives, so that no second process works on the same tasks.
    _lock: File,
}

impl Journal {
    /// Opens or creates the journal in `directory` and reads its records.
    ///
    /// # Errors
    /// When the directory or file cannot be created, read or written, or when another process holds
    /// the journal.
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
    /// When the file system refuses.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        self.file.write_all(&line(record)?)
    }

    /// Replaces the whole journal.
    ///
    /// # Errors
    /// When the file system refuses. The old journal then still exists.
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
