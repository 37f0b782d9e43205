//! Digests of the exported audit trail: a chain that names what every exported object must be.
//!
//! A digest lists the objects of its period with their SHA-256 and carries the SHA-256 of the digest before it. An
//! object that was edited, removed or added, and a digest that was edited, removed or put in another place, breaks
//! the chain at a position that verification names.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::hash::sha256_hex;

/// One object of the export.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DigestedObject {
    /// The object's key.
    pub key: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// Lines in it: one for each event.
    pub lines: u64,
}

/// A digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Counts digests, from 1.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// SHA-256 of the previous digest's bytes; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Objects exported since the previous digest, in order of their keys.
    pub objects: Vec<DigestedObject>,
}

/// One fault of an exported trail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A digest is missing, or stands in another's place.
    #[error("digest {number}: missing or out of place")]
    DigestOutOfPlace {
        /// The number that should stand here.
        number: u64,
    },
    /// A digest does not match what its successor says of it.
    #[error("digest {number}: its bytes are not those that the next digest names")]
    DigestEdited {
        /// Its number.
        number: u64,
    },
    /// A digest cannot be read.
    #[error("digest {number}: it cannot be read")]
    DigestUnreadable {
        /// The number that should stand here.
        number: u64,
    },
    /// An object that a digest names is gone.
    #[error("object `{key}` (digest {number}): missing")]
    ObjectMissing {
        /// The digest.
        number: u64,
        /// The object.
        key: String,
    },
    /// An object's bytes are not those that were digested.
    #[error("object `{key}` (digest {number}): edited")]
    ObjectEdited {
        /// The digest.
        number: u64,
        /// The object.
        key: String,
    },
}

/// What verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Digests read.
    pub digests: u64,
    /// Objects compared.
    pub objects: u64,
    /// Lines in them.
    pub lines: u64,
    /// All faults, in order.
    pub faults: Vec<Fault>,
}

impl Digest {
    /// The bytes that are stored, and that the next digest's `previous` is the SHA-256 of.
    ///
    /// # Errors
    /// Never for values of this type; the error is serde's.
    pub fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// Verifies digests, given oldest first as stored bytes, against the objects that `fetch` finds.
///
/// The newest digest has no successor that would vouch for its bytes: keep it, or its hash, elsewhere.
pub fn verify(digests: &[Vec<u8>], mut fetch: impl FnMut(&str) -> Option<Vec<u8>>) -> Verified {
    let mut verified = Verified::default();
    let mut previous: Option<String> = None;
    for (number, bytes) in (1_u64..).zip(digests) {
        verified.digests = number;
        let Ok(digest) = serde_json::from_slice::<Digest>(bytes) else {
            verified.faults.push(Fault::DigestUnreadable { number });
            previous = Some(sha256_hex(bytes));
            continue;
        };
        if digest.number != number {
            verified.faults.push(Fault::DigestOutOfPlace { number });
        }
        if digest.previous != previous {
            verified.faults.push(if number == 1 {
                Fault::DigestOutOfPlace { number }
            } else {
                Fault::DigestEdited { number: number - 1 }
            });
        }
        for object in &digest.objects {
            match fetch(&object.key) {
                None => verified.faults.push(Fault::ObjectMissing { number, key: object.key.clone() }),
                Some(bytes) if sha256_hex(&bytes) != object.sha256 => {
                    verified.faults.push(Fault::ObjectEdited { number, key: object.key.clone() });
                }
                Some(_) => {
                    verified.objects += 1;
                    verified.lines += object.lines;
                }
            }
        }
        previous = Some(sha256_hex(bytes));
    }
    verified
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> (Vec<Digest>, Vec<(String, Vec<u8>)>) {
        let objects: Vec<(String, Vec<u8>)> =
            (0..4).map(|n| (format!("o{n}"), format!("line {n}\n").into_bytes())).collect();
        let mut digests: Vec<Digest> = Vec::new();
        for (number, pair) in (1..).zip(objects.chunks(2)) {
            let previous = digests.last().map(|digest| sha256_hex(&digest.bytes().expect("json")));
            let objects = pair
                .iter()
                .map(|(key, bytes)| DigestedObject { key: key.clone(), sha256: sha256_hex(bytes), lines: 1 })
                .collect();
            digests.push(Digest { number, at: Timestamp::from_millis(0), previous, objects });
        }
        (digests, objects)
    }

    fn run(digests: &[Digest], objects: &[(String, Vec<u8>)]) -> Verified {
        let bytes: Vec<Vec<u8>> = digests.iter().map(|digest| digest.bytes().expect("json")).collect();
        verify(&bytes, |key| objects.iter().find(|(name, _)| name == key).map(|(_, bytes)| bytes.clone()))
    }

    #[test]
    fn an_untouched_trail_verifies() {
        let (digests, objects) = chain();
        let verified = run(&digests, &objects);
        assert_eq!((verified.digests, verified.objects, verified.lines, verified.faults.len()), (2, 4, 4, 0));
    }

    #[test]
    fn every_touch_is_named() {
        let (digests, mut objects) = chain();
        objects[1].1.push(b'x');
        assert_eq!(run(&digests, &objects).faults, vec![Fault::ObjectEdited { number: 1, key: "o1".to_owned() }]);
        objects.remove(1);
        assert_eq!(run(&digests, &objects).faults, vec![Fault::ObjectMissing { number: 1, key: "o1".to_owned() }]);
        let (mut digests, objects) = chain();
        digests[0].objects.pop();
        assert_eq!(run(&digests, &objects).faults, vec![Fault::DigestEdited { number: 1 }]);
        let (digests, objects) = chain();
        assert_eq!(run(&digests[1..], &objects).faults.first(), Some(&Fault::DigestOutOfPlace { number: 1 }));
    }
}
