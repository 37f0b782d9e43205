//! Digests of the exported audit trail: a signed chain that says what every object of the archive
//! must contain.
//!
//! A digest lists the objects written since the previous digest, each with its SHA-256, and the
//! SHA-256 of the previous digest. The signing key is not managed by anyone who can write to the
//! archive. A digest is made every hour even if it lists nothing, so a chain whose end was cut off
//! is visibly too short. [`verify`](crate::digest::verify) reports each fault: which digest, which
//! object, which line, and what was done.
//!
//! A stored digest is a file with two lines of JSON: the statement, and the signature of its bytes.
//! So `sha256sum` prints the hash that the next digest contains, and `head -1 | tr -d '\n'` prints
//! the signed bytes.

mod differences;
pub mod fault;
pub mod verify;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::objects::{self, DIGEST_PARTS, DIGESTS};
use sealfleet_domain::Timestamp;
use sealfleet_domain::hash::sha256_hex;

/// Seconds after which a new digest must exist.
pub const EVERY_SECONDS: i64 = 3600;
/// Seconds by which a digest may be late, and by which an object may appear later than it was
/// written.
pub const SLACK_SECONDS: i64 = 900;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DigestedObject {
    pub key: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// Lines in it: one for each event.
    pub lines: u64,
    /// The first [`objects::LOCATOR_BYTES`] bytes of the SHA-256 of each line, in order, as base64.
    /// They find the line that was touched; `sha256` proves that one was.
    pub line_hashes: String,
}

impl DigestedObject {
    /// Computes the entry of an object from its stored bytes.
    #[must_use]
    pub fn of(key: String, bytes: &[u8]) -> Self {
        // An object that cannot be unpacked is digested too, without lines.
        let content = objects::content(&key, bytes).unwrap_or_default();
        let locators: Vec<_> = objects::lines(&content).map(objects::locator).collect();
        Self {
            key,
            sha256: sha256_hex(bytes),
            lines: u64::try_from(locators.len()).unwrap_or(u64::MAX),
            line_hashes: objects::write_locators(&locators),
        }
    }
}

/// The statement of a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Number of the digest, from 1.
    pub number: u64,
    /// Start of its period: the end of the previous one's. The first period starts with time
    /// itself.
    pub from: Timestamp,
    /// End of its period.
    pub to: Timestamp,
    /// SHA-256 of the previous digest's stored bytes. Absent in the first digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Objects written in this period that no earlier digest lists.
    pub objects: Vec<DigestedObject>,
    /// More of them: what does not fit into the digest itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartRef>,
    /// Trails that were not finished, by the prefix of their objects: objects written from then on
    /// are left to the next digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub behind: BTreeMap<String, Timestamp>,
}

/// A part of a digest: a file that the digest names by its hash, and so signs with itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub objects: Vec<DigestedObject>,
}

/// The name of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRef {
    pub key: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

impl Part {
    /// Its bytes.
    ///
    /// # Errors
    /// Serialising this type does not fail; the error is serde's.
    pub fn stored(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Parses a stored part. `None` when it is none.
    #[must_use]
    pub fn read(stored: &[u8]) -> Option<Self> {
        serde_json::from_slice(stored).ok()
    }
}

impl PartRef {
    /// The name of a part with these bytes.
    #[must_use]
    pub fn of(stored: &[u8]) -> Self {
        let sha256 = sha256_hex(stored);
        Self {
            key: format!("{DIGEST_PARTS}{sha256}.json"),
            sha256,
        }
    }
}

/// A signature and the key that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// ARN of the key, as the signer reports it. It proves nothing: the verifier names the key.
    pub key: String,
    /// `ECDSA_SHA_256`: on P-256, over the statement's bytes, encoded as ASN.1 (KMS `Sign`).
    pub algorithm: String,
    /// The signature, in base64.
    pub signature: String,
}

/// The algorithm of all signatures.
pub const ALGORITHM: &str = "ECDSA_SHA_256";

impl Digest {
    /// The digest that follows `previous`, which is given with its stored bytes.
    #[must_use]
    pub fn after(
        previous: Option<(&Self, &[u8])>,
        to: Timestamp,
        objects: Vec<DigestedObject>,
    ) -> Self {
        let (number, from) = previous.map_or((1, Timestamp::from_millis(0)), |(digest, _)| {
            (digest.number.saturating_add(1), digest.to)
        });
        Self {
            number,
            from,
            to: to.max(from),
            previous: previous.map(|(_, bytes)| sha256_hex(bytes)),
            objects,
            parts: Vec::new(),
            behind: BTreeMap::new(),
        }
    }

    /// The key under which it is stored. Two digests that follow the same one have the same key, so
    /// only one of them can be stored.
    #[must_use]
    pub fn key(&self) -> String {
        format!(
            "{DIGESTS}date={}/{:010}.jsonl",
            self.from.day(),
            self.number
        )
    }

    /// The number in a digest's key.
    #[must_use]
    pub fn number_in(key: &str) -> Option<u64> {
        let (_, name) = key
            .strip_prefix(DIGESTS)?
            .strip_prefix("date=")?
            .split_once('/')?;
        name.strip_suffix(".jsonl")?.parse().ok()
    }

    /// The bytes that are signed.
    ///
    /// # Errors
    /// Serialising this type does not fail; the error is serde's.
    pub fn statement(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The file content for a statement and its signature.
    ///
    /// # Errors
    /// Serialising this type does not fail; the error is serde's.
    pub fn stored(
        mut statement: Vec<u8>,
        signature: &Signature,
    ) -> Result<Vec<u8>, serde_json::Error> {
        statement.push(b'\n');
        serde_json::to_writer(&mut statement, signature)?;
        statement.push(b'\n');
        Ok(statement)
    }

    /// Parses a stored file into the digest, the signed bytes, and the signature. `None` when it is
    /// not a digest.
    #[must_use]
    pub fn read(stored: &[u8]) -> Option<(Self, &[u8], Signature)> {
        let mut lines = stored.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
        let (statement, signature, None) = (lines.next()?, lines.next()?, lines.next()) else {
            return None;
        };
        Some((
            serde_json::from_slice(statement).ok()?,
            statement,
            serde_json::from_slice(signature).ok()?,
        ))
    }
}
