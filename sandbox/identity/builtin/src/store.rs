//! The encrypted file behind `builtin://` references: one project's secrets, all their versions.
//!
//! The file is JSON, so that people can read it; it holds no value in the clear. Every version has
//! a data key of its own (32 random bytes), encrypted under the master key. Both ciphertexts are
//! XChaCha20-Poly1305 with a random 192-bit nonce, and authenticate the project, the name and the
//! version that they belong to: moved to another entry, version or project, they do not open. A
//! proof in the header tells a wrong key from a damaged entry.
//!
//! The master key is the key file's 32 bytes (`sealfleet-key-v1:` and base64), or derived from a
//! passphrase with argon2id, whose parameters the header holds. A key file may hold several keys,
//! one a line; the one that opens the store counts. So a worker can open the store at every moment
//! of a rotation, although key file and store do not change at once
//! (`docs/guides/builtin-backend.md`). A rotation wraps each data key anew and leaves the values'
//! ciphertexts as they are.
//!
//! Every write goes to a temporary file beside the store, which is synced and renamed over it; then
//! the directory is synced. After a crash there is the old file or the new one. Limit: whoever can
//! write the file can remove entries, or put an older file back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use sealfleet_identity::SecretValue;

/// The largest store file that is read, in bytes.
pub const MAX_FILE: u64 = 64 * 1024 * 1024;
/// The largest key file that is read, in bytes.
pub const MAX_KEY_FILE: u64 = 4096;
/// The largest value, in bytes: the kernel's limit for one environment variable is 128 KiB.
pub const MAX_VALUE: usize = 64 * 1024;
/// The shortest passphrase, in bytes.
const MIN_PASSPHRASE: usize = 12;

const FORMAT: &str = "sealfleet-builtin-v1";
const KEY_PREFIX: &str = "sealfleet-key-v1:";
const NONCE_BYTES: usize = 24;

/// Why the store cannot be used. Holds names only.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("`{}`: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("`{}` exists already and stays as it is", .0.display())]
    Exists(PathBuf),
    #[error(
        "the key file is neither a key made by `sealfleet-init builtin create` nor a passphrase of {MIN_PASSPHRASE} characters or more"
    )]
    BadKey,
    #[error("the key does not open this builtin store: it was made with another key file")]
    WrongKey,
    #[error(
        "this builtin store is under that key already: give another one, made by `sealfleet-init builtin create-key`"
    )]
    SameKey,
    #[error("this builtin store belongs to project `{store}`, not to `{wanted}`")]
    WrongProject {
        /// The project in its header.
        store: String,
        /// The project asked for.
        wanted: String,
    },
    /// It is not a store, or something else changed it.
    #[error("the builtin store is damaged: {0}")]
    Damaged(String),
    #[error(
        "`builtin://{0}` is not in this builtin store: add it with `sealfleet-init builtin put`"
    )]
    UnknownSecret(String),
    #[error("`builtin://{name}` has no version `{version}` in this builtin store")]
    UnknownVersion { name: String, version: String },
    #[error(
        "`{0}` cannot be a secret's name: use letters, digits, `.`, `_`, `-`, in parts separated by `/`, 200 characters at most"
    )]
    BadName(String),
    #[error(
        "`{0}` is not a project id: use lower-case letters, digits and single `-`, 32 characters at most"
    )]
    BadProject(String),
    #[error(
        "the value is empty, larger than {MAX_VALUE} bytes, or contains a NUL byte, which an environment variable cannot hold"
    )]
    BadValue,
    /// No random numbers, or no key can be derived.
    #[error("cryptography is not available: {0}")]
    Crypto(String),
}

impl StoreError {
    /// Stable, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "no_store",
            Self::Exists(_) => "exists",
            Self::BadKey | Self::WrongKey | Self::SameKey => "wrong_key",
            Self::WrongProject { .. } => "wrong_project",
            Self::Damaged(_) => "damaged_store",
            Self::UnknownSecret(_) => "unknown_secret",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::BadName(_) => "bad_reference",
            Self::BadProject(_) => "bad_project",
            Self::BadValue => "unusable_value",
            Self::Crypto(_) => "crypto",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: String,
    project: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<Derivation>,
    proof: Sealed,
    entries: Vec<Entry>,
}

/// How a passphrase becomes the master key (argon2id, RFC 9106).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Derivation {
    salt: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// One version of one secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    version: Uuid,
    key: Sealed,
    value: Sealed,
}

/// A nonce and a ciphertext with its tag, in base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    nonce: String,
    ciphertext: String,
}

/// A store with a key that opens it.
pub struct Opened {
    content: Content,
    master: Key,
}

/// A version as `put` answers and `list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// `builtin://NAME`.
    pub uri: String,
    /// UUIDv7: later ones are larger.
    pub version: String,
}

impl Opened {
    /// Opens the content of a store file with the content of a key file.
    ///
    /// # Errors
    /// The key is wrong, the file is damaged, or it is not the given project's.
    pub fn open(file: &[u8], key_file: &[u8], project: Option<&str>) -> Result<Self, StoreError> {
        let content: Content =
            serde_json::from_slice(file).map_err(|error| StoreError::Damaged(error.to_string()))?;
        if content.format != FORMAT {
            return Err(StoreError::Damaged(format!(
                "its format is `{}`, not `{FORMAT}`",
                content.format
            )));
        }
        if let Some(wanted) = project.filter(|wanted| *wanted != content.project) {
            return Err(StoreError::WrongProject {
                store: content.project,
                wanted: wanted.to_owned(),
            });
        }
        let keys = Key::all_of_file(key_file, content.passphrase.as_ref())?;
        let opens = |key: &Key| {
            key.open(&content.proof, &Binding::proof(&content.project))
                .is_ok()
        };
        let master = keys.into_iter().find(opens).ok_or(StoreError::WrongKey)?;
        Ok(Self { content, master })
    }

    /// A value: that version, or the newest one.
    ///
    /// # Errors
    /// Unknown names and versions, and entries that do not open.
    pub fn get(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<(SecretValue, String), StoreError> {
        let mut versions: Vec<&Entry> = self
            .content
            .entries
            .iter()
            .filter(|entry| entry.name == name)
            .collect();
        versions.sort_by_key(|entry| entry.version);
        let newest = versions
            .last()
            .ok_or_else(|| StoreError::UnknownSecret(name.to_owned()))?;
        let entry = match version {
            None => newest,
            Some(wanted) => {
                let found = versions
                    .iter()
                    .find(|entry| entry.version.to_string() == wanted);
                found.ok_or_else(|| StoreError::UnknownVersion {
                    name: name.to_owned(),
                    version: wanted.to_owned(),
                })?
            }
        };
        let (data_key, version) = (self.data_key(entry)?, entry.version.to_string());
        let binding = Binding {
            purpose: "value",
            project: &self.content.project,
            name,
            version: &version,
        };
        let mut value = data_key
            .open(&entry.value, &binding)
            .map_err(|Refused| entry.changed())?;
        Ok((SecretValue::new(std::mem::take(&mut *value)), version))
    }

    /// The key of one version's value.
    fn data_key(&self, entry: &Entry) -> Result<Key, StoreError> {
        let version = entry.version.to_string();
        let binding = Binding {
            purpose: "key",
            project: &self.content.project,
            name: &entry.name,
            version: &version,
        };
        let key = self
            .master
            .open(&entry.key, &binding)
            .map_err(|Refused| entry.changed())?;
        Key::new(&key).ok_or_else(|| entry.changed())
    }

    /// Opens every version, in the order of [`Opened::list`], and wipes the values.
    #[must_use]
    pub fn verify(&self) -> Vec<Result<Listed, StoreError>> {
        let open = |listed: Listed| {
            let name = listed.uri.strip_prefix("builtin://").unwrap_or_default();
            self.get(name, Some(&listed.version))?;
            Ok(listed)
        };
        self.list().into_iter().map(open).collect()
    }

    /// The same versions under another master key.
    fn under(mut self, master: Key, passphrase: Option<Derivation>) -> Result<Self, StoreError> {
        let mut wrapped = Vec::new();
        for entry in &self.content.entries {
            let version = entry.version.to_string();
            let project = &self.content.project;
            let binding = Binding {
                purpose: "key",
                project,
                name: &entry.name,
                version: &version,
            };
            wrapped.push(master.seal(&self.data_key(entry)?.0, &binding)?);
        }
        for (entry, key) in self.content.entries.iter_mut().zip(wrapped) {
            entry.key = key;
        }
        self.content.proof = master.seal(&[], &Binding::proof(&self.content.project))?;
        self.content.passphrase = passphrase;
        self.master = master;
        Ok(self)
    }

    /// All versions, oldest first for each name.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let mut entries: Vec<&Entry> = self.content.entries.iter().collect();
        entries.sort_by(|one, other| (&one.name, one.version).cmp(&(&other.name, other.version)));
        entries.into_iter().map(Listed::of).collect()
    }

    fn add(&mut self, name: &str, value: &SecretValue) -> Result<Listed, StoreError> {
        check_name(name)?;
        if value.expose().is_empty()
            || value.expose().len() > MAX_VALUE
            || value.expose().contains(&0)
        {
            return Err(StoreError::BadValue);
        }
        let version = Uuid::now_v7();
        let text = version.to_string();
        let of = |purpose| Binding {
            purpose,
            project: &self.content.project,
            name,
            version: &text,
        };
        let data_key = Key::random()?;
        let key = self.master.seal(&data_key.0, &of("key"))?;
        let value = data_key.seal(value.expose(), &of("value"))?;
        let entry = Entry {
            name: name.to_owned(),
            version,
            key,
            value,
        };
        let listed = Listed::of(&entry);
        self.content.entries.push(entry);
        Ok(listed)
    }
}

impl Entry {
    fn changed(&self) -> StoreError {
        let Self { name, version, .. } = self;
        StoreError::Damaged(format!(
            "`builtin://{name}` version `{version}` was not written by this program"
        ))
    }
}

impl Listed {
    fn of(entry: &Entry) -> Self {
        Self {
            uri: format!("builtin://{}", entry.name),
            version: entry.version.to_string(),
        }
    }
}

/// Makes an empty store for `project`, and a key file (mode 0600) if there is none.
///
/// # Errors
/// The store exists, or a file cannot be written.
pub fn create(store: &Path, key_file: &Path, project: &str) -> Result<(), StoreError> {
    check_project(project)?;
    let _lock = lock(store)?;
    if store.exists() {
        return Err(StoreError::Exists(store.to_owned()));
    }
    if !key_file.exists() {
        create_key(key_file)?;
    }
    let (master, passphrase) = Key::first_of_file(&read_key(key_file)?)?;
    let proof = master.seal(&[], &Binding::proof(project))?;
    let content = Content {
        format: FORMAT.into(),
        project: project.into(),
        passphrase,
        proof,
        entries: Vec::new(),
    };
    replace(store, &content)
}

/// Makes a key file (mode 0600).
///
/// # Errors
/// The file exists, or cannot be written.
pub fn create_key(key_file: &Path) -> Result<(), StoreError> {
    let key = Key::random()?;
    let text = Zeroizing::new(format!("{KEY_PREFIX}{}\n", BASE64.encode(key.0.as_slice())));
    write_new(key_file, text.as_bytes()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists(key_file.to_owned()),
        _ => of_file(key_file)(error),
    })
}

/// Puts the store under the first key of `new_key_file`. Names and version ids stay, so every
/// reference stays valid. Opens the whole new content before it replaces the old one; until then
/// the old key opens the store.
///
/// # Errors
/// [`StoreError`]; the store has not changed.
pub fn rotate_key(
    store: &Path,
    key_file: &Path,
    new_key_file: &Path,
) -> Result<Vec<Listed>, StoreError> {
    let _lock = lock(store)?;
    let old = open(store, key_file)?;
    let (master, passphrase) = Key::first_of_file(&read_key(new_key_file)?)?;
    if *master.0 == *old.master.0 {
        return Err(StoreError::SameKey);
    }
    let new = old.under(master, passphrase)?;
    let verified = new.verify().into_iter().collect::<Result<_, _>>()?;
    replace(store, &new.content)?;
    Ok(verified)
}

/// Adds a version of `name`. Of two calls at once, none loses its version.
///
/// # Errors
/// [`StoreError`]; the store has not changed.
pub fn put(
    store: &Path,
    key_file: &Path,
    name: &str,
    value: &SecretValue,
) -> Result<Listed, StoreError> {
    let _lock = lock(store)?;
    let mut opened = open(store, key_file)?;
    let listed = opened.add(name, value)?;
    replace(store, &opened.content)?;
    Ok(listed)
}

/// Opens the store of any project.
///
/// # Errors
/// [`StoreError`].
pub fn open(store: &Path, key_file: &Path) -> Result<Opened, StoreError> {
    let file = fs::read(store).map_err(of_file(store))?;
    Opened::open(&file, &read_key(key_file)?, None)
}

/// The entry that a ciphertext belongs to: the authenticated data of the encryption.
struct Binding<'a> {
    purpose: &'a str,
    project: &'a str,
    name: &'a str,
    version: &'a str,
}

impl<'a> Binding<'a> {
    fn proof(project: &'a str) -> Self {
        Self {
            purpose: "proof",
            project,
            name: "",
            version: "",
        }
    }

    /// Each part behind its length, so that no two bindings have the same bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [FORMAT, self.purpose, self.project, self.name, self.version] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

/// The ciphertext was not made with this key and binding.
struct Refused;

struct Key(Zeroizing<Vec<u8>>);

impl Key {
    fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == 32).then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The keys of a key file, one a line. `None`: it holds a passphrase.
    fn written(file: &[u8]) -> Option<Result<Vec<Self>, StoreError>> {
        let file = file.trim_ascii();
        let key = |line: &[u8]| {
            let encoded = line.trim_ascii().strip_prefix(KEY_PREFIX.as_bytes())?;
            Self::new(&Zeroizing::new(BASE64.decode(encoded).ok()?))
        };
        let lines = file
            .split(|byte| *byte == b'\n')
            .map(|line| key(line).ok_or(StoreError::BadKey));
        file.starts_with(KEY_PREFIX.as_bytes())
            .then(|| lines.collect())
    }

    /// The keys of a key file that may open a store.
    fn all_of_file(file: &[u8], derivation: Option<&Derivation>) -> Result<Vec<Self>, StoreError> {
        match (Self::written(file), derivation) {
            (Some(keys), None) => keys,
            (None, Some(derivation)) => Ok(vec![derivation.key(file.trim_ascii())?]),
            // A passphrase for a store made with a key, or the other way round.
            _ => Err(StoreError::WrongKey),
        }
    }

    /// The key for a new store: the first one of the file, or the passphrase's.
    fn first_of_file(file: &[u8]) -> Result<(Self, Option<Derivation>), StoreError> {
        match Self::written(file) {
            Some(keys) => Ok((keys?.into_iter().next().ok_or(StoreError::BadKey)?, None)),
            None => {
                let derivation = Derivation::new()?;
                Ok((derivation.key(file.trim_ascii())?, Some(derivation)))
            }
        }
    }

    fn seal(&self, plain: &[u8], binding: &Binding<'_>) -> Result<Sealed, StoreError> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce)?;
        // With room for the tag, so that the plaintext is never moved.
        let mut buffer = Zeroizing::new(Vec::with_capacity(plain.len() + 16));
        buffer.extend_from_slice(plain);
        let cipher = self
            .cipher()
            .map_err(|Refused| StoreError::Crypto("a key has the wrong length".into()))?;
        let sealed =
            cipher.encrypt_in_place(XNonce::from_slice(&nonce), &binding.bytes(), &mut *buffer);
        sealed.map_err(|_| StoreError::Crypto("encryption failed".into()))?;
        Ok(Sealed {
            nonce: BASE64.encode(nonce),
            ciphertext: BASE64.encode(buffer.as_slice()),
        })
    }

    fn open(&self, sealed: &Sealed, binding: &Binding<'_>) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let nonce = BASE64
            .decode(&sealed.nonce)
            .ok()
            .filter(|nonce| nonce.len() == NONCE_BYTES)
            .ok_or(Refused)?;
        let mut buffer = Zeroizing::new(BASE64.decode(&sealed.ciphertext).map_err(|_| Refused)?);
        let opened = self.cipher()?.decrypt_in_place(
            XNonce::from_slice(&nonce),
            &binding.bytes(),
            &mut *buffer,
        );
        opened.map_err(|_| Refused)?;
        Ok(buffer)
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305, Refused> {
        XChaCha20Poly1305::new_from_slice(&self.0).map_err(|_| Refused)
    }
}

impl Derivation {
    /// The second recommended option of RFC 9106, with a third of its memory: it must fit into a
    /// small sandbox.
    fn new() -> Result<Self, StoreError> {
        let mut salt = [0; 16];
        fill_random(&mut salt)?;
        Ok(Self {
            salt: BASE64.encode(salt),
            memory_kib: 19 * 1024,
            passes: 3,
            lanes: 1,
        })
    }

    fn key(&self, passphrase: &[u8]) -> Result<Key, StoreError> {
        if passphrase.len() < MIN_PASSPHRASE {
            return Err(StoreError::BadKey);
        }
        // A tampered file must not use up all memory.
        if self.memory_kib > 1024 * 1024 || self.passes > 100 {
            return Err(StoreError::Damaged(
                "its passphrase parameters are out of range".into(),
            ));
        }
        let crypto = |error: argon2::Error| StoreError::Crypto(error.to_string());
        let parameters = argon2::Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(crypto)?;
        let salt = BASE64
            .decode(&self.salt)
            .map_err(|error| StoreError::Damaged(error.to_string()))?;
        let mut key = Zeroizing::new(vec![0; 32]);
        argon2::Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            parameters,
        )
        .hash_password_into(passphrase, &salt, &mut key)
        .map_err(crypto)?;
        Ok(Key(key))
    }
}

/// The same grammar as a `builtin://` reference.
fn check_name(name: &str) -> Result<(), StoreError> {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if name.len() <= 200 && name.split('/').all(part) {
        Ok(())
    } else {
        Err(StoreError::BadName(name.escape_debug().to_string()))
    }
}

fn check_project(project: &str) -> Result<(), StoreError> {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let fits = project.len() <= 32
        && project.starts_with(|first: char| first.is_ascii_lowercase())
        && project.split('-').all(word);
    if fits {
        Ok(())
    } else {
        Err(StoreError::BadProject(project.escape_debug().to_string()))
    }
}

fn fill_random(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|error| StoreError::Crypto(error.to_string()))
}

fn of_file(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { path, source }
}

fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let key = Zeroizing::new(fs::read(path).map_err(of_file(path))?);
    if key.len() as u64 > MAX_KEY_FILE {
        Err(StoreError::BadKey)
    } else {
        Ok(key)
    }
}

/// Lets one writer in at a time. The lock is a file of its own: every write replaces the store.
fn lock(store: &Path) -> Result<File, StoreError> {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let path = store.with_file_name(name);
    let open = || -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    };
    open().map_err(of_file(&path))
}

fn directory(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    File::open(directory(path))?.sync_all()
}

fn replace(path: &Path, content: &Content) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        // Mode 0600 from the first moment.
        let mut fresh = tempfile::NamedTempFile::new_in(directory(path))?;
        let mut text = serde_json::to_vec_pretty(content)?;
        text.push(b'\n');
        fresh.write_all(&text)?;
        text.zeroize();
        fresh.as_file().sync_all()?;
        fresh.persist(path).map_err(|error| error.error)?;
        File::open(directory(path))?.sync_all()
    };
    write().map_err(of_file(path))
}
