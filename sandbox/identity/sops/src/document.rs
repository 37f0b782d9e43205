//! A file that SOPS has encrypted, in YAML or JSON.

use std::collections::BTreeMap;

use sealfleet_identity::SecretValue;
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use yaml_serde::{Mapping, Value};
use zeroize::Zeroizing;

use crate::cipher::{DataKey, Kind, is_encrypted};

/// Where SOPS keeps what it says of a file.
const METADATA: &str = "sops";
/// What the hash of a file begins with whose hash is of encrypted values alone.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
    0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];
/// How deep a document may be.
const MOST_LEVELS: usize = 32;

/// Why there is no value. Holds names of keys only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SopsError {
    #[error(
        "it is no YAML or JSON file of SOPS; encrypt it with `sops encrypt --age RECIPIENT FILE`"
    )]
    NotSops,
    #[error("{0}")]
    Unsupported(&'static str),
    #[error("no identity of this worker's age key file opens it; encrypt it for that key, too")]
    WrongKey,
    #[error("the age key file holds no `AGE-SECRET-KEY-1…`")]
    BadKey,
    #[error("it was changed after SOPS had encrypted it; edit it with `sops edit`")]
    Changed,
    #[error("it has no value `{0}`")]
    NoValue(String),
    #[error("`{0}` is not one value; name one below it")]
    NotOne(String),
    #[error(
        "`{0}` is not encrypted, and its file's hash leaves it out (`mac_only_encrypted`), so anybody could have changed it"
    )]
    Unprotected(String),
}

impl SopsError {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::NotSops => "bad_file",
            Self::Unsupported(_) => "unsupported",
            Self::WrongKey | Self::BadKey => "wrong_key",
            Self::Changed => "changed",
            Self::NoValue(_) | Self::NotOne(_) => "unknown_secret",
            Self::Unprotected(_) => "unprotected",
        }
    }
}

/// A file that nobody has opened. What it holds is known by name.
pub struct Document {
    tree: Mapping,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    age: Option<Vec<Wrapped>>,
    /// Several groups of which each holds a share of the key.
    #[serde(default)]
    shamir_threshold: Option<u32>,
    lastmodified: String,
    mac: String,
    #[serde(default)]
    mac_only_encrypted: bool,
}

#[derive(Deserialize)]
struct Wrapped {
    enc: String,
}

/// A file that is open.
pub struct Opened {
    version: String,
    /// By the keys that lead to them, with `.` between.
    values: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// What is no value itself.
    groups: Vec<String>,
    /// Values that nothing holds.
    unprotected: Vec<String>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// It is none of SOPS, or one of several documents.
    pub fn parse(text: &[u8]) -> Result<Self, SopsError> {
        let begins = text.iter().find(|byte| !byte.is_ascii_whitespace());
        // SOPS indents JSON by tabs, which YAML forbids.
        let tree: Option<Mapping> = match begins {
            Some(b'{') => serde_json::from_slice(text).ok(),
            _ => yaml_serde::from_slice(text).ok(),
        };
        let mut tree = tree.ok_or(SopsError::NotSops)?;
        let metadata = tree.shift_remove(METADATA).ok_or(SopsError::NotSops)?;
        let metadata = yaml_serde::from_value(metadata).map_err(|_| SopsError::NotSops)?;
        Ok(Self { tree, metadata })
    }

    /// The version of the file: it changes whenever SOPS writes the file, and tells nothing of the
    /// values. SOPS keeps no versions, so this one is all there is.
    #[must_use]
    pub fn version(&self) -> String {
        let digest = Sha256::digest(self.metadata.mac.as_bytes());
        let hex = digest.iter().map(|byte| format!("{byte:02x}"));
        hex.take(16).collect()
    }

    /// The names of its values.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let walked = walk(&self.tree, &mut |leaf| {
            if let Leaf::Value { name, .. } = leaf {
                names.push(name.to_owned());
            }
            Ok(())
        });
        drop(walked);
        names
    }

    /// Opens all values with the text of a file of age identities.
    ///
    /// # Errors
    /// No identity fits, or somebody else than SOPS has changed the file.
    pub fn open(&self, identities: &[u8]) -> Result<Opened, SopsError> {
        if self.metadata.shamir_threshold.unwrap_or_default() > 1 {
            return Err(SopsError::Unsupported(
                "its key is shared between several groups, which this backend cannot join",
            ));
        }
        let wrapped = self.metadata.age.as_deref().unwrap_or_default();
        if wrapped.is_empty() {
            return Err(SopsError::Unsupported(
                "it is not encrypted for an age key; add one with `sops rotate --add-age RECIPIENT --in-place FILE`",
            ));
        }
        let identities = read_identities(identities)?;
        let key = wrapped
            .iter()
            .find_map(|one| DataKey::unwrap(&one.enc, &identities));
        self.open_with(&key.ok_or(SopsError::WrongKey)?)
    }

    fn open_with(&self, key: &DataKey) -> Result<Opened, SopsError> {
        let only_encrypted = self.metadata.mac_only_encrypted;
        let mut hash = Sha512::new();
        if only_encrypted {
            hash.update(ONLY_ENCRYPTED);
        }
        let mut opened = Opened {
            version: self.version(),
            values: BTreeMap::new(),
            groups: Vec::new(),
            unprotected: Vec::new(),
        };
        walk(&self.tree, &mut |leaf| {
            match leaf {
                Leaf::Group { name } => opened.groups.push(name.to_owned()),
                Leaf::Value { name, place, value } => {
                    let (read, is_encrypted) = plain(value, place, key)?;
                    match read {
                        None => {}
                        Some(_) if only_encrypted && !is_encrypted => {
                            opened.unprotected.push(name.to_owned());
                        }
                        Some(Read { hashed, value }) => {
                            hash.update(&*hashed);
                            opened.values.insert(name.to_owned(), value);
                        }
                    }
                }
            }
            Ok(())
        })?;
        let expected: String = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let told = key.open(&self.metadata.mac, &self.metadata.lastmodified);
        let (told, _) = told.ok_or(SopsError::Changed)?;
        match bool::from(told.ct_eq(expected.as_bytes())) {
            true => Ok(opened),
            false => Err(SopsError::Changed),
        }
    }
}

impl Opened {
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The value that these keys lead to, with `.` between.
    ///
    /// # Errors
    /// There is none, or several below it.
    pub fn value(&self, key: &str) -> Result<SecretValue, SopsError> {
        match self.values.get(key) {
            Some(value) => Ok(SecretValue::new(value.to_vec())),
            None if self.groups.iter().any(|group| group == key) => {
                Err(SopsError::NotOne(key.to_owned()))
            }
            None if self.unprotected.iter().any(|name| name == key) => {
                Err(SopsError::Unprotected(key.to_owned()))
            }
            None => Err(SopsError::NoValue(key.to_owned())),
        }
    }
}

pub(crate) fn read_identities(text: &[u8]) -> Result<Vec<age::x25519::Identity>, SopsError> {
    let text = std::str::from_utf8(text).map_err(|_| SopsError::BadKey)?;
    let lines = text.lines().map(str::trim);
    let identities: Vec<_> = lines.filter_map(|line| line.parse().ok()).collect();
    match identities.is_empty() {
        true => Err(SopsError::BadKey),
        false => Ok(identities),
    }
}

/// What a value says.
struct Read {
    /// As it counts for the hash of the file.
    hashed: Zeroizing<Vec<u8>>,
    /// As a step gets it.
    value: Zeroizing<Vec<u8>>,
}

/// A value, and whether it was encrypted. `None` for YAML's null.
fn plain(value: &Value, place: &str, key: &DataKey) -> Result<(Option<Read>, bool), SopsError> {
    let read = |hashed: &str, value: String| Read {
        hashed: Zeroizing::new(hashed.as_bytes().to_vec()),
        value: Zeroizing::new(value.into_bytes()),
    };
    let told = match value {
        Value::Null => return Ok((None, false)),
        Value::String(text) if is_encrypted(text) => {
            let (bytes, kind) = key.open(text, place).ok_or(SopsError::Changed)?;
            let mut value = bytes.clone();
            if kind == Kind::Boolean {
                value.make_ascii_lowercase();
            }
            let hashed = bytes;
            return Ok((Some(Read { hashed, value }), true));
        }
        Value::String(text) => read(text, text.clone()),
        Value::Bool(true) => read("True", "true".to_owned()),
        Value::Bool(false) => read("False", "false".to_owned()),
        Value::Number(number) => {
            let text = number.as_f64().filter(|_| number.is_f64());
            let text = text.map_or_else(|| number.to_string(), |float| float.to_string());
            read(&text, text.clone())
        }
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
            return Err(SopsError::NotSops);
        }
    };
    Ok((Some(told), false))
}

/// What [`walk`] comes by.
enum Leaf<'a> {
    Value {
        /// The keys and numbers that lead to it, with `.` between.
        name: &'a str,
        /// The same for the cipher: the keys, each with `:` behind it. Lists have no numbers.
        place: &'a str,
        value: &'a Value,
    },
    Group {
        name: &'a str,
    },
}

/// Goes through a document in its order.
fn walk(
    tree: &Mapping,
    visit: &mut dyn FnMut(Leaf<'_>) -> Result<(), SopsError>,
) -> Result<(), SopsError> {
    walk_mapping(tree, "", "", 0, visit)
}

fn walk_mapping(
    tree: &Mapping,
    name: &str,
    place: &str,
    level: usize,
    visit: &mut dyn FnMut(Leaf<'_>) -> Result<(), SopsError>,
) -> Result<(), SopsError> {
    for (key, value) in tree {
        // SOPS knows no other.
        let Value::String(key) = key else {
            return Err(SopsError::NotSops);
        };
        let name = below(name, key);
        walk_value(value, &name, &format!("{place}{key}:"), level, visit)?;
    }
    Ok(())
}

fn walk_value(
    value: &Value,
    name: &str,
    place: &str,
    level: usize,
    visit: &mut dyn FnMut(Leaf<'_>) -> Result<(), SopsError>,
) -> Result<(), SopsError> {
    if level > MOST_LEVELS {
        return Err(SopsError::Unsupported("it is too deep"));
    }
    match value {
        Value::Mapping(inner) => {
            visit(Leaf::Group { name })?;
            walk_mapping(inner, name, place, level + 1, visit)
        }
        Value::Sequence(items) => {
            visit(Leaf::Group { name })?;
            for (at, item) in items.iter().enumerate() {
                walk_value(item, &below(name, &at.to_string()), place, level + 1, visit)?;
            }
            Ok(())
        }
        value => visit(Leaf::Value { name, place, value }),
    }
}

fn below(name: &str, key: &str) -> String {
    match name {
        "" => key.to_owned(),
        name => format!("{name}.{key}"),
    }
}
