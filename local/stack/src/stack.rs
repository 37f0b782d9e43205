//! `stack.json`: the addresses and names of a running stack's parts.

use crate::{Error, Process};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Region of every local stack.
pub const REGION: &str = "us-east-1";
/// Access key of the emulator's account root.
pub const ACCESS_KEY_ID: &str = "test";
/// Secret key of the emulator's account root. The emulator listens on 127.0.0.1 only.
pub const SECRET_ACCESS_KEY: &str = "test";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stack {
    /// Unique for each `up`. Every process of the stack has it in `SEALFLEET_LOCAL_STACK`.
    pub id: String,
    /// Endpoint of all AWS services except ECS, for example `http://127.0.0.1:41234`.
    pub endpoint: String,
    pub ecs_endpoint: String,
    /// Base URL of the deployed API, without a trailing slash.
    pub api_url: String,
    pub region: String,
    pub account_id: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub ledger_table: String,
    pub audit_table: String,
    pub audit_bucket: String,
    pub cluster: String,
    /// Image reference of the sandbox root file system, pinned by digest.
    pub sandbox_image: String,
    /// Absolute path of the stack's directory.
    pub directory: PathBuf,
    /// The servers: `ministack`, `local-ecs`.
    pub pids: BTreeMap<String, Process>,
}

impl Stack {
    /// Path of the file that describes the stack of a directory.
    #[must_use]
    pub fn path(directory: &Path) -> PathBuf {
        directory.join("stack.json")
    }

    /// Reads the description of the stack in a directory.
    ///
    /// # Errors
    /// When no stack is up there, or its description is damaged.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        read(&Self::path(directory))?.ok_or_else(|| Error::NotUp(directory.to_owned()))
    }

    pub(crate) fn save(&self) -> Result<(), Error> {
        write(&Self::path(&self.directory), self)
    }
}

/// `processes.json`: the processes that `down` must end. Each is written as soon as it exists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Processes {
    pub(crate) id: String,
    pub(crate) started: BTreeMap<String, Process>,
}

impl Processes {
    pub(crate) fn path(directory: &Path) -> PathBuf {
        directory.join("processes.json")
    }

    pub(crate) fn load(directory: &Path) -> Result<Option<Self>, Error> {
        read(&Self::path(directory))
    }

    pub(crate) fn save(&self, directory: &Path) -> Result<(), Error> {
        write(&Self::path(directory), self)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(source) => Err(Error::Damaged {
                path: path.to_owned(),
                source,
            }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Replaces the file atomically, so that a reader never sees half of it.
fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).map_err(Error::Json)?;
    let new = path.with_extension("json.new");
    let options = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new);
    options
        .and_then(|mut file| file.write_all(&text))
        .map_err(Error::file(&new))?;
    fs::rename(&new, path).map_err(Error::file(path))
}
