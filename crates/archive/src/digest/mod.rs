//! Digests of the exported audit trail: a signed chain that says what every object of the archive
//! must be.
//!
//! A digest lists the objects that were written since the one before it, each with its SHA-256, and
//! carries the SHA-256 of that one. It is signed by a key that no writer of the archive manages.
//! One is made every hour even when there is nothing to list, so that a chain whose end was cut off
//! is seen to be too short. What is wrong is named by [`verify`](crate::digest::verify): which
//! digest, which object, which line, and how.
//!
//! Stored, a digest is a file of two lines of JSON: the statement, and the signature of its bytes.
//! So `sha256sum` gives what the next one carries, and `head -1 | tr -d '\n'` what was signed.

mod differences;
pub mod fault;
pub mod verify;

use serde::{Deserialize, Serialize};

use crate::objects::{self, DIGESTS};
use sealfleet_domain::Timestamp;
use sealfleet_domain::hash::sha256_hex;

/// Seconds after which there must be a new digest.
pub const EVERY_SECONDS: i64 = 3600;
/// Seconds by which one may be late, and by which an object may be seen later than it was written.
pub const SLACK_SECONDS: i64 = 900;

/// One object of the archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DigestedObject {
    /// The object's key.
    pub key: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// Lines in it: one for each event.
    pub lines: u64,
    /// The first [`objects::LOCATOR_BYTES`] bytes of the SHA-256 of each line, in order, as base64.
    /// They find the line that was touched; `sha256` is what shows that one was.
    pub line_hashes: String,
}

impl DigestedObject {
    /// An object as it is stored.
    #[must_use]
    pub fn of(key: String, bytes: &[u8]) -> Self {
        // What cannot be unpacked is digested all the same: its bytes are what they are.
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

/// What a digest states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Counts digests, from 1.
    pub number: u64,
    /// Where its period begins: at the end of the previous one's. The first begins with time.
    pub from: Timestamp,
    /// Where its period ends.
    pub to: Timestamp,
    /// SHA-256 of the previous digest's stored bytes; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Objects that were written in this period and that no earlier digest lists.
    pub objects: Vec<DigestedObject>,
}

/// Who signed a statement, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The key's ARN, as the signer tells it. It proves nothing: who verifies names the key.
    pub key: String,
    /// `ECDSA_SHA_256`: on P-256, over the statement's bytes, encoded as ASN.1 (KMS `Sign`).
    pub algorithm: String,
    /// The signature, base64.
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
        }
    }

    /// Where it is stored. Two that follow the same digest have the same place, so that only one of
    /// them can be put there.
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
    /// Never for values of this type; the error is serde's.
    pub fn statement(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// What is stored of a statement and its signature.
    ///
    /// # Errors
    /// Never for values of this type; the error is serde's.
    pub fn stored(
        mut statement: Vec<u8>,
        signature: &Signature,
    ) -> Result<Vec<u8>, serde_json::Error> {
        statement.push(b'\n');
        serde_json::to_writer(&mut statement, signature)?;
        statement.push(b'\n');
        Ok(statement)
    }

    /// Reads what is stored: the digest, the bytes that were signed, the signature. Absent when it
    /// is no digest.
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
