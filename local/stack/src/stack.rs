//! `stack.json`: where the parts of a running stack are.

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

/// A running local stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stack {
    /// Unique per `up`; every process of the stack has it in `SEALFLEET_LOCAL_STACK`.
    pub id: String,
    /// AWS endpoint of everything but ECS, for example `http://127.0.0.1:41234`.
    pub endpoint: String,
    /// AWS endpoint of ECS.
    pub ecs_endpoint: String,
    /// Base URL of the deployed API, without a final slash.
    pub api_url: String,
    /// Id of the deployed API.
    pub api_id: String,
    /// AWS region.
    pub region: String,
    /// AWS account id.
    pub account_id: String,
    /// Account root's access key.
    pub access_key_id: String,
    /// Account root's secret key.
    pub secret_access_key: String,
    /// Ledger table.
    pub ledger_table: String,
    /// Audit table.
    pub audit_table: String,
    /// Bucket of the audit archive.
    pub audit_bucket: String,
    /// ECS cluster.
    pub cluster: String,
    /// Image reference of the sandbox rootfs, pinned by digest.
    pub sandbox_image: String,
    /// Directory of the stack, absolute.
    pub directory: PathBuf,
    /// The servers: `ministack`, `local-ecs`.
    pub pids: BTreeMap<String, Process>,
}

impl Stack {
    /// Where the stack of a directory is described.
    #[must_use]
    pub fn path(directory: &Path) -> PathBuf {
        directory.join("stack.json")
    }

    /// The stack of a directory.
    ///
    /// # Errors
    /// When none is up there, or its description is damaged.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        read(&Self::path(directory))?.ok_or_else(|| Error::NotUp(directory.to_owned()))
    }

    pub(crate) fn save(&self) -> Result<(), Error> {
        write(&Self::path(&self.directory), self)
    }
}

/// `processes.json`: what `down` has to end, written as soon as each process exists.
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

/// Replaces the file at once, so that a reader never sees half of it.
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
