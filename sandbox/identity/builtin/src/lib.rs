//! `builtin://NAME`: secrets in an encrypted file beside the worker.
//!
//! [`store`] is the file, [`command`] the subcommands that fill it. The worker opens the file and
//! its key for each step and passes the descriptors into the sandbox; this backend reads them
//! there.

pub mod command;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sealfleet_identity::{Context, IdentityBackend, IdentityError, Readable, Resolved};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use store::{Opened, StoreError};

/// The scheme of its references.
pub const SCHEME: &str = "builtin";

/// The encrypted store among the files of the backend.
const STORE_FILE: &str = "store";
/// The store's key among the files of the backend.
const KEY_FILE: &str = "key";

/// The backend of one step. The store is read with the first reference to it.
struct Builtin {
    project: String,
    files: Mutex<BTreeMap<String, File>>,
    opened: OnceCell<Arc<Opened>>,
}

/// The backend, for the [`Registry`](sealfleet_identity::Registry).
#[must_use]
pub fn open(context: Context) -> Box<dyn IdentityBackend> {
    Box::new(Builtin {
        project: context.project,
        files: Mutex::new(context.files),
        opened: OnceCell::new(),
    })
}

#[async_trait]
impl IdentityBackend for Builtin {
    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
        let opened = self.opened.get_or_try_init(|| self.open("*")).await?;
        let uris: BTreeSet<String> = opened.list().into_iter().map(|listed| listed.uri).collect();
        // A store is of one project, and others do not open it.
        let own = |name| Readable {
            name,
            is_foreign: false,
        };
        Ok(Some(uris.into_iter().map(own).collect()))
    }

    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        let opened = self.opened.get_or_try_init(|| self.open(name)).await?;
        let (value, version) = opened.get(name, version)?;
        Ok(Resolved {
            value,
            version,
            request_id: None,
            leased: false,
        })
    }
}

impl Builtin {
    /// Reads and opens the store on a thread of its own: a passphrase takes a while.
    async fn open(&self, name: &str) -> Result<Arc<Opened>, IdentityError> {
        let mut files =
            std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner));
        let (Some(store), Some(key)) = (files.remove(STORE_FILE), files.remove(KEY_FILE)) else {
            return Err(IdentityError {
                code: "no_store",
                message: format!(
                    "`builtin://{name}` cannot be resolved: this worker has no builtin store configured"
                ),
            });
        };
        let project = self.project.clone();
        let open = tokio::task::spawn_blocking(move || read(store, key, &project));
        let opened = open.await.map_err(|error| IdentityError {
            code: "no_store",
            message: format!("the builtin store cannot be opened: {error}"),
        })?;
        opened.map(Arc::new)
    }
}

fn read(store: File, key: File, project: &str) -> Result<Opened, IdentityError> {
    let unreadable = |error: std::io::Error| IdentityError {
        code: "no_store",
        message: format!("the builtin store or its key cannot be read: {error}"),
    };
    let (mut text, mut key_text) = (Vec::new(), Zeroizing::new(Vec::new()));
    store
        .take(store::MAX_FILE)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    key.take(store::MAX_KEY_FILE)
        .read_to_end(&mut key_text)
        .map_err(unreadable)?;
    Ok(Opened::open(&text, &key_text, Some(project))?)
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
        }
    }
}
