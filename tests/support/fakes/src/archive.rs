//! The audit bucket in memory, the key that signs its digests, and what a reader finds in it.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_archive::digest::verify::{Chain, StoredDigest, Verified, is_digested};
use sealfleet_archive::digest::{ALGORITHM, Signature};
use sealfleet_archive::objects::{self, DIGEST_PARTS, DIGESTS, EVENTS};
use sealfleet_aws::objects::Listed;
use sealfleet_domain::Timestamp;
use sealfleet_domain::hash::hex;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Objects by key, each with the time when it was written. None is ever replaced.
#[derive(Clone, Debug, Default)]
pub struct Archive(pub BTreeMap<String, (Vec<u8>, Timestamp)>);

impl Archive {
    /// Writes an object unless there is one of this key. Whether it did.
    pub fn create(&mut self, key: &str, bytes: Vec<u8>, now: Timestamp) -> bool {
        let new = !self.0.contains_key(key);
        if new {
            self.0.insert(key.to_owned(), (bytes, now));
        }
        new
    }

    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key).map(|(bytes, _)| bytes.clone())
    }

    pub fn list(&self, prefix: &str, after: Option<&str>) -> Vec<Listed> {
        let beyond = |key: &str| after.is_none_or(|after| key > after);
        let listed = self.below(prefix).filter(|(key, _)| beyond(key));
        let listed = listed.map(|(key, (_, at))| Listed {
            key: key.clone(),
            written_at: *at,
        });
        listed.collect()
    }

    pub fn folders(&self, prefix: &str) -> Vec<String> {
        let below = self
            .below(prefix)
            .filter_map(|(key, _)| key.strip_prefix(prefix)?.split_once('/'));
        let folders: BTreeSet<String> = below
            .map(|(folder, _)| format!("{prefix}{folder}/"))
            .collect();
        folders.into_iter().collect()
    }

    /// Objects that digests vouch for.
    pub fn digested(&self) -> BTreeMap<String, Vec<u8>> {
        let digested = self.0.iter().filter(|(key, _)| is_digested(key));
        digested
            .map(|(key, (bytes, _))| (key.clone(), bytes.clone()))
            .collect()
    }

    /// The exported events, each with the key of its object.
    ///
    /// # Errors
    /// When an object cannot be read.
    pub fn events(&self) -> Result<Vec<(&str, Value)>, String> {
        let mut events = Vec::new();
        for (key, (bytes, _)) in self.below(EVENTS) {
            let content =
                objects::content(key, bytes).map_err(|error| format!("{key}: {error}"))?;
            for line in objects::lines(&content) {
                let event = serde_json::from_slice(line);
                events.push((
                    key.as_str(),
                    event.map_err(|error| format!("{key}: {error}"))?,
                ));
            }
        }
        Ok(events)
    }

    /// What `sealfleet audit verify` says of it.
    pub fn verified(&self, now: Timestamp) -> Verified {
        let stored = |prefix: &'static str| -> Vec<StoredDigest> {
            let stored = self.below(prefix).map(|(key, (bytes, _))| StoredDigest {
                key: key.clone(),
                bytes: bytes.clone(),
            });
            stored.collect()
        };
        let signed = |statement: &[u8], signature: &Signature| {
            *signature == signature_of(Sha256::digest(statement).into())
        };
        Chain::of(&stored(DIGESTS), signed, None, now)
            .with_parts(&stored(DIGEST_PARTS))
            .verify(&self.digested())
    }

    fn below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a (Vec<u8>, Timestamp))> {
        self.0
            .range(prefix.to_owned()..)
            .take_while(move |(key, _)| key.starts_with(prefix))
    }
}

/// The signature of the one key that there is.
pub fn signature_of(sha256: [u8; 32]) -> Signature {
    Signature {
        key: "key".to_owned(),
        algorithm: ALGORITHM.to_owned(),
        signature: hex(&sha256),
    }
}
