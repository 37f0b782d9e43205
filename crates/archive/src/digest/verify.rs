//! Verifies the archive against its digests. Reports every fault with its kind and place.
//!
//! First, [`Chain::of`] reads the chain of digests. Then [`Chain::examine`] compares each object
//! with its digest, and [`Chain::fresh`] looks at each object that no digest lists. No manipulation
//! stays hidden:
//!
//! - **Changed content.** A digest holds the SHA-256 of each object. The digest is protected by its
//!   signature and by its SHA-256 in the next digest, the newest one by its signature.
//! - **A missing object or digest.** The remaining digests name it.
//! - **A chain that was cut at its end.** It is too short for the time, because a digest is made
//!   every hour. It also lacks the digest that the reader kept ([`Expected`]).
//! - **An inserted object.** No digest lists it, although digests cover its time and its place in
//!   the stream.
//!
//! Nothing vouches yet for objects that were written after the newest digest. They are counted
//! separately.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::differences::differences;
use super::fault::{Fault, Kind};
use super::{Digest, DigestedObject, EVERY_SECONDS, SLACK_SECONDS, Signature};
use crate::objects::{self, EVENTS, LOCATOR_BYTES, ObjectName, SET_ASIDE, Span};
use sealfleet_domain::Timestamp;
use sealfleet_domain::hash::sha256_hex;

/// The number and hash of a digest, kept by the reader in another place: `12:SHA256`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expected {
    pub number: u64,
    /// SHA-256 of its stored bytes, in lower-case hex.
    pub sha256: String,
}

/// A text that is not `NUMBER:SHA256`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not `NUMBER:SHA256`, as `sealfleet audit verify` prints it for the newest digest"
)]
pub struct InvalidExpected(String);

impl std::str::FromStr for Expected {
    type Err = InvalidExpected;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidExpected(text.to_owned());
        let (number, sha256) = text.split_once(':').ok_or_else(invalid)?;
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        Ok(Self {
            number: number.parse().map_err(|_| invalid())?,
            sha256: sha256.to_ascii_lowercase(),
        })
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.number, self.sha256)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDigest {
    pub key: String,
    pub bytes: Vec<u8>,
}

/// The digests in order, and the faults of the chain.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    digests: BTreeMap<u64, Link>,
    faults: Vec<Fault>,
    /// The object whose content has this hash.
    holders: HashMap<String, String>,
    /// All keys that digests list.
    listed: HashSet<String>,
    /// The last digested sequence number of each partition of the stream.
    reached: HashMap<(String, String, u8), String>,
}

#[derive(Clone, Debug)]
struct Link {
    digest: Digest,
    sha256: String,
    signed: bool,
    in_place: bool,
}

/// The result for one object that a digest lists.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    faults: Vec<Fault>,
    lines: Vec<u64>,
    set_aside: bool,
}

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many digests were read.
    pub digests: u64,
    /// How many objects match their digest.
    pub objects: u64,
    /// How many lines these objects have.
    pub lines: u64,
    /// How many lines occur more than once, because they were delivered twice or exported again.
    /// This is not a fault.
    pub doubles: u64,
    /// How many rows could not be exported and were set aside. The archive is complete, but these
    /// events are missing from the exported trail.
    pub set_aside: u64,
    /// How many objects are newer than the newest digest, so that nothing vouches for them yet.
    pub not_digested_yet: u64,
    /// The newest digest. Keep it in another place and pass it as the expected digest next time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// The end of the newest digest's period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_to: Option<Timestamp>,
    /// All faults: first of the chain, then of objects in the order of their digests.
    pub faults: Vec<Fault>,
}

/// Sums up the results.
#[derive(Debug)]
pub struct Tally {
    verified: Verified,
    seen: HashSet<u64>,
}

impl Chain {
    /// Reads all digests, in any order. `signed` says whether the reader's key signed a statement.
    /// `as_of` is the time of this state of the archive.
    #[must_use]
    pub fn of(
        stored: &[StoredDigest],
        signed: impl Fn(&[u8], &Signature) -> bool,
        expected: Option<&Expected>,
        as_of: Timestamp,
    ) -> Self {
        let mut chain = Self::default();
        let mut candidates: BTreeMap<u64, Vec<Link>> = BTreeMap::new();
        let mut unreadable = HashSet::new();
        for StoredDigest { key, bytes } in stored {
            let named = Digest::number_in(key);
            let Some((digest, statement, signature)) = Digest::read(bytes) else {
                unreadable.extend(named);
                chain.faults.push(Fault {
                    object: Some(key.clone()),
                    ..Fault::of_digest(Kind::DigestUnreadable, named)
                });
                continue;
            };
            let link = Link {
                sha256: sha256_hex(bytes),
                signed: signed(statement, &signature),
                in_place: digest.key() == *key,
                digest,
            };
            let place = named.unwrap_or(link.digest.number);
            if !link.signed {
                chain
                    .faults
                    .push(Fault::of_digest(Kind::SignatureWrong, Some(place)));
            }
            if !link.in_place {
                let detail = format!("`{key}` holds digest {}", link.digest.number);
                let fault = Fault::of_digest(Kind::DigestOutOfPlace, Some(place));
                chain.faults.push(Fault {
                    detail: Some(detail),
                    ..fault
                });
            }
            candidates.entry(link.digest.number).or_default().push(link);
        }
        chain.choose(candidates);
        chain.check_links(&unreadable);
        chain.check_end(expected, as_of);
        chain.index();
        chain.faults.sort_by_key(|fault| (fault.digest, fault.kind));
        chain
    }

    /// Chooses one digest for each number: the one that the next digest names, or else the one that
    /// is signed and in its place.
    fn choose(&mut self, candidates: BTreeMap<u64, Vec<Link>>) {
        let mut named_by_next: Option<String> = None;
        for (number, mut links) in candidates.into_iter().rev() {
            let first = links.first().map(|link| link.sha256.clone());
            if links
                .iter()
                .any(|link| Some(&link.sha256) != first.as_ref())
            {
                self.faults
                    .push(Fault::of_digest(Kind::ChainForked, Some(number)));
            }
            let named = named_by_next.take();
            links.sort_by_key(|link| {
                (
                    named.as_ref() == Some(&link.sha256),
                    link.signed,
                    link.in_place,
                )
            });
            if let Some(link) = links.pop() {
                named_by_next.clone_from(&link.digest.previous);
                self.digests.insert(number, link);
            }
        }
    }

    fn check_links(&mut self, unreadable: &HashSet<u64>) {
        let mut faults = Vec::new();
        let mut before: Option<(u64, &Link)> = None;
        for (number, link) in &self.digests {
            let first_missing = before.map_or(1, |(number, _)| number + 1);
            let missing: Vec<u64> = (first_missing..*number)
                .filter(|number| !unreadable.contains(number))
                .collect();
            if let Some(first) = missing.first() {
                let count = u64::try_from(missing.len()).ok();
                faults.push(Fault {
                    count,
                    ..Fault::of_digest(Kind::DigestMissing, Some(*first))
                });
            }
            // A digest with a wrong signature proves nothing against others.
            if let Some((previous, of)) = before
                && previous + 1 == *number
                && link.signed
                && link.digest.previous.as_ref() != Some(&of.sha256)
            {
                faults.push(Fault::of_digest(Kind::DigestEdited, Some(previous)));
            }
            before = Some((*number, link));
        }
        self.faults.extend(faults);
    }

    fn check_end(&mut self, expected: Option<&Expected>, as_of: Timestamp) {
        let Some((newest, link)) = self.digests.last_key_value() else {
            self.faults.push(Fault::of_digest(Kind::NoDigests, None));
            return;
        };
        let newest = *newest;
        let mut cut = None;
        if as_of.millis_since(link.digest.to) > (EVERY_SECONDS + SLACK_SECONDS) * 1000 {
            cut = Some(format!(
                "the newest digest ends at {}, although one is made every hour",
                link.digest.to
            ));
        }
        if let Some(Expected { number, sha256 }) = expected {
            match self.digests.get(number) {
                Some(link) if link.sha256 != *sha256 => {
                    self.faults
                        .push(Fault::of_digest(Kind::NotTheExpectedDigest, Some(*number)));
                }
                None if *number > newest => cut = Some(format!("digest {number} was there")),
                _ => {}
            }
        }
        if cut.is_some() {
            let fault = Fault::of_digest(Kind::DigestsCut, Some(newest.saturating_add(1)));
            self.faults.push(Fault {
                detail: cut,
                ..fault
            });
        }
    }

    fn index(&mut self) {
        for link in self.digests.values() {
            for object in &link.digest.objects {
                self.listed.insert(object.key.clone());
                self.holders
                    .insert(object.sha256.clone(), object.key.clone());
                if let Some((partition, Some(last))) = partition(&object.key) {
                    let reached = self.reached.entry(partition).or_default();
                    if last > *reached {
                        *reached = last;
                    }
                }
            }
        }
    }

    /// The objects that digests list, each with the digest's number, oldest first. Includes only
    /// digests whose period ends at `since` or later.
    pub fn objects(
        &self,
        since: Option<Timestamp>,
    ) -> impl Iterator<Item = (u64, &DigestedObject)> {
        let wanted = move |link: &&Link| since.is_none_or(|since| link.digest.to >= since);
        let of = |link: &'_ Link| link.digest.number;
        self.digests.values().filter(wanted).flat_map(move |link| {
            link.digest
                .objects
                .iter()
                .map(move |object| (of(link), object))
        })
    }

    /// Whether a digest lists this key.
    #[must_use]
    pub fn lists(&self, key: &str) -> bool {
        self.listed.contains(key)
    }

    /// Compares an object with its digest. `bytes` is `None` when the object is missing.
    #[must_use]
    pub fn examine(&self, digest: u64, object: &DigestedObject, bytes: Option<&[u8]>) -> Examined {
        let fault = |kind| Fault {
            object: Some(object.key.clone()),
            ..Fault::of_digest(kind, Some(digest))
        };
        let mut examined = Examined {
            set_aside: object.key.starts_with(SET_ASIDE),
            ..Examined::default()
        };
        let Some(bytes) = bytes else {
            examined.faults.push(fault(Kind::ObjectMissing));
            return examined;
        };
        let content = objects::content(&object.key, bytes);
        let sha256 = sha256_hex(bytes);
        if sha256 == object.sha256 {
            let content = content.unwrap_or_default();
            examined
                .lines
                .extend(objects::lines(&content).map(|line| line_hash(line).0));
            return examined;
        }
        if let Some(other) = self.holders.get(&sha256) {
            let detail = Some(format!("it holds the content of `{other}`"));
            examined.faults.push(Fault {
                detail,
                ..fault(Kind::ObjectSwapped)
            });
            return examined;
        }
        let content = match content {
            Ok(content) => content,
            Err(error) => {
                examined.faults.push(Fault {
                    detail: Some(error.to_string()),
                    ..fault(Kind::ObjectUnreadable)
                });
                return examined;
            }
        };
        let found: Vec<_> = objects::lines(&content)
            .map(|line| line_hash(line).1)
            .collect();
        let expected = objects::read_locators(&object.line_hashes).unwrap_or_default();
        let touched = differences(&expected, &found);
        if touched.is_empty() {
            examined.faults.push(fault(Kind::ObjectEdited));
        }
        examined
            .faults
            .extend(touched.into_iter().map(|difference| Fault {
                line: Some(difference.line),
                count: Some(difference.count),
                ..fault(difference.kind)
            }));
        examined
    }

    /// Looks at an object that no digest lists. Returns a fault unless the object was written after
    /// the newest digest.
    #[must_use]
    pub fn fresh(&self, key: &str, bytes: &[u8]) -> Option<Fault> {
        let inserted = |why: String| {
            let fault = Fault::of_digest(Kind::ObjectInserted, None);
            Some(Fault {
                object: Some(key.to_owned()),
                detail: Some(why),
                ..fault
            })
        };
        match partition(key) {
            Some((partition, Some(last)))
                if self
                    .reached
                    .get(&partition)
                    .is_some_and(|reached| last <= *reached) =>
            {
                return inserted("a digest lists events that come after it".to_owned());
            }
            Some(_) => {}
            None if key.starts_with(SET_ASIDE) => {}
            None => return inserted("export does not write such a name".to_owned()),
        }
        let newest = self
            .digests
            .last_key_value()
            .map(|(_, link)| link.digest.to)?;
        let Ok(content) = objects::content(key, bytes) else {
            return inserted("it cannot be unpacked".to_owned());
        };
        let latest = objects::lines(&content).filter_map(time_of).max();
        match latest {
            None => inserted("it holds no event".to_owned()),
            Some(latest) if newest.millis_since(latest) > SLACK_SECONDS * 1000 => {
                inserted(format!(
                    "its newest event, of {latest}, is older than the newest digest, of {newest}; if export was behind then, the next digest lists it"
                ))
            }
            Some(_) => None,
        }
    }

    /// Verifies a whole archive that is in memory, by keys.
    #[must_use]
    pub fn verify(&self, objects: &BTreeMap<String, Vec<u8>>) -> Verified {
        let mut tally = Tally::new(self);
        for (digest, object) in self.objects(None) {
            tally.examined(self.examine(
                digest,
                object,
                objects.get(&object.key).map(Vec::as_slice),
            ));
        }
        for (key, bytes) in objects
            .iter()
            .filter(|(key, _)| is_digested(key) && !self.lists(key))
        {
            tally.fresh(self.fresh(key, bytes));
        }
        tally.done()
    }
}

impl Tally {
    /// Starts with the results of the chain.
    #[must_use]
    pub fn new(chain: &Chain) -> Self {
        let newest = chain.digests.last_key_value().map(|(_, link)| link);
        let verified = Verified {
            digests: u64::try_from(chain.digests.len()).unwrap_or(u64::MAX),
            newest: newest.map(|link| {
                Expected {
                    number: link.digest.number,
                    sha256: link.sha256.clone(),
                }
                .to_string()
            }),
            newest_to: newest.map(|link| link.digest.to),
            faults: chain.faults.clone(),
            ..Verified::default()
        };
        Self {
            verified,
            seen: HashSet::new(),
        }
    }

    /// Adds the result for an object.
    pub fn examined(&mut self, examined: Examined) {
        if examined.faults.is_empty() {
            self.verified.objects += 1;
        }
        self.verified.set_aside += u64::from(examined.set_aside);
        for line in examined.lines {
            self.verified.lines += 1;
            self.verified.doubles += u64::from(!self.seen.insert(line));
        }
        self.verified.faults.extend(examined.faults);
    }

    /// Adds the result for an object that no digest lists.
    pub fn fresh(&mut self, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.verified.faults.push(fault),
            None => self.verified.not_digested_yet += 1,
        }
    }

    /// The complete result.
    #[must_use]
    pub fn done(self) -> Verified {
        self.verified
    }
}

/// Whether digests list objects with this key.
#[must_use]
pub fn is_digested(key: &str) -> bool {
    key.starts_with(EVENTS) || key.starts_with(SET_ASIDE)
}

type Partition = (String, String, u8);

/// The partition of an object with events, and its last sequence number in the stream.
fn partition(key: &str) -> Option<(Partition, Option<String>)> {
    let name = ObjectName::parse(key)?;
    let last = match name.span {
        Span::Stream { last, .. } => Some(last),
        Span::Table { .. } => None,
    };
    Some(((name.project, name.day, name.shard), last))
}

/// A line's hash in two forms: as a number to detect repeated lines, and as the digest's locator.
fn line_hash(line: &[u8]) -> (u64, [u8; LOCATOR_BYTES]) {
    let hash = Sha256::digest(line);
    let number = hash
        .iter()
        .take(8)
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let mut locator = [0; LOCATOR_BYTES];
    for (to, from) in locator.iter_mut().zip(hash) {
        *to = from;
    }
    (number, locator)
}

fn time_of(line: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Timed {
        time: i64,
    }
    serde_json::from_slice::<Timed>(line)
        .ok()
        .map(|timed| Timestamp::from_millis(timed.time))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
