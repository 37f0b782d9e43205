//! `sops://FILE#KEY`: values in files that SOPS has encrypted for an age key.
//!
//! [`document`] reads such a file, [`cipher`] opens its values, [`command`] is the subcommand that
//! lists what references can name. The worker opens the file and the age key for each step and
//! passes the descriptors into the sandbox; this backend reads them there.
//!
//! The format is that of SOPS 3: <https://getsops.io/docs/> and the files that it writes. The tests
//! compare with the program itself.

pub mod cipher;
pub mod command;
pub mod document;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use sealfleet_identity::{Context, IdentityBackend, IdentityError, Readable, Resolved};
use zeroize::Zeroizing;

use document::{Document, Opened, SopsError};

/// The scheme of its references.
pub const SCHEME: &str = "sops";

/// The age identities among the files of the backend.
const KEY_FILE: &str = "key";
/// How the names of the encrypted files begin, before the name that references have for them.
const FILE_PREFIX: &str = "file.";

/// The most bytes of an encrypted file.
pub const MAX_FILE: u64 = 4 * 1024 * 1024;
/// The most bytes of a file with age identities.
pub const MAX_KEY_FILE: u64 = 64 * 1024;

/// The backend of one step. Each file is read and opened with the first reference to it.
struct Sops(Mutex<State>);

struct State {
    files: BTreeMap<String, File>,
    identities: Option<Zeroizing<Vec<u8>>>,
    opened: BTreeMap<String, Opened>,
}

/// The backend, for the [`Registry`](sealfleet_identity::Registry).
#[must_use]
pub fn open(context: Context) -> Box<dyn IdentityBackend> {
    Box::new(Sops(Mutex::new(State {
        files: context.files,
        identities: None,
        opened: BTreeMap::new(),
    })))
}

#[async_trait]
impl IdentityBackend for Sops {
    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.try_key()?;
        // A file has no owner, and its names are told by `sealfleet-init sops list`.
        Ok(None)
    }

    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        let (file, key) = name.split_once('#').ok_or_else(|| IdentityError {
            code: "bad_reference",
            message: format!("`sops://{name}` names no key of the file; write `sops://FILE#KEY`"),
        })?;
        // Nothing here waits: the files are local and small.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = state.opened(file)?;
        let current = opened.version();
        if version.is_some_and(|pinned| pinned != current) {
            return Err(IdentityError {
                code: "unknown_version",
                message: format!(
                    "`sops://{name}` is pinned to a version that the file no longer is; it is `{current}` now: pin that, or put the old file back"
                ),
            });
        }
        let value = opened.value(key).map_err(|error| error.of(file))?;
        Ok(Resolved {
            value,
            version: current.to_owned(),
            request_id: None,
            leased: false,
        })
    }
}

impl State {
    fn opened(&mut self, file: &str) -> Result<&Opened, IdentityError> {
        if !self.opened.contains_key(file) {
            let opened = self.open(file)?;
            self.opened.insert(file.to_owned(), opened);
        }
        self.opened.get(file).ok_or_else(|| no_file(file))
    }

    fn open(&mut self, file: &str) -> Result<Opened, IdentityError> {
        let encrypted = self.files.remove(&format!("{FILE_PREFIX}{file}"));
        let text = read(encrypted.ok_or_else(|| no_file(file))?, MAX_FILE, file)?;
        let document = Document::parse(&text).map_err(|error| error.of(file))?;
        let opened = document.open(self.identities(file)?);
        opened.map_err(|error| error.of(file))
    }

    /// Tries the key: it is one, and fits the files that there are. What else is wrong with a file
    /// is told with a reference to it.
    fn try_key(&mut self) -> Result<(), IdentityError> {
        let identities = self.identities("*")?;
        document::read_identities(identities).map_err(|error| error.of("*"))?;
        let names = self.files.keys();
        let names = names.filter_map(|name| name.strip_prefix(FILE_PREFIX));
        let names: Vec<String> = names.map(str::to_owned).collect();
        for name in names {
            match self.opened(&name) {
                Err(error) if error.code == SopsError::WrongKey.code() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn identities(&mut self, file: &str) -> Result<&[u8], IdentityError> {
        let identities = match self.identities.take() {
            Some(identities) => identities,
            None => {
                let key = self.files.remove(KEY_FILE).ok_or_else(|| IdentityError {
                    code: "no_key",
                    message: format!(
                        "`sops://{file}` cannot be resolved: this worker has no age key configured"
                    ),
                })?;
                read(key, MAX_KEY_FILE, "the age key")?
            }
        };
        Ok(self.identities.insert(identities))
    }
}

fn no_file(file: &str) -> IdentityError {
    IdentityError {
        code: "no_file",
        message: format!(
            "`sops://{file}` cannot be resolved: the directory of encrypted files on this worker has no such file"
        ),
    }
}

fn read(file: File, most: u64, name: &str) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let mut text = Zeroizing::new(Vec::new());
    let done = file.take(most + 1).read_to_end(&mut text);
    let unreadable = |reason: String| IdentityError {
        code: "no_file",
        message: format!("`{name}` cannot be read: {reason}"),
    };
    done.map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > most {
        return Err(unreadable(format!("it has more than {most} bytes")));
    }
    Ok(text)
}

impl SopsError {
    fn of(&self, file: &str) -> IdentityError {
        IdentityError {
            code: self.code(),
            message: format!("`sops://{file}`: {self}"),
        }
    }
}
