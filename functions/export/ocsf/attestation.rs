//! The chain of the events of an object, by OCSF's profile `record_integrity`.
//!
//! Each event has the hash of itself and of the event before it, so whoever has the lines of an
//! object sees that one was changed, removed or put in, without the archive. The chain begins and
//! ends with its object. Signed digests, which are a chain themselves, list the objects
//! (`digest`): events carry no signatures of their own.
//!
//! The hash is that of the event as JSON by RFC 8785 (JCS), with its attestation but without
//! `fingerprint`. `serde_json` writes just that: members are sorted, nothing is between them, texts
//! are escaped alike, and the trail has whole numbers below 2^53 alone. `scripts/check-ocsf`
//! compares it with another implementation.
//!
//! Source: OCSF schema 1.9.0: objects `attestation`, `prev_event`, `fingerprint`.

use sealfleet_domain::hash::sha256_hex;
use serde_json::{Map, Value, json};

/// The chain of one object, as far as it is written.
pub(super) struct Chain<'a> {
    object: &'a str,
    /// The last event, as the next one names it.
    last: Option<Value>,
}

impl<'a> Chain<'a> {
    pub(super) const fn new(object: &'a str) -> Self {
        Self { object, last: None }
    }

    /// Adds its attestation to an event, which comes next.
    pub(super) fn attest(&mut self, mut event: Map<String, Value>) -> Value {
        let mut attestation = Map::from_iter([("chain_uid".to_owned(), json!(self.object))]);
        attestation.extend(self.last.take().map(|last| ("prev_event".to_owned(), last)));
        let list = |attestation: &Map<String, Value>| json!([attestation]);
        let with = "attestation_list".to_owned();
        event.insert(with.clone(), list(&attestation));
        let event_id = event
            .get("metadata")
            .and_then(|metadata| metadata.get("uid"));
        let (uid, type_uid) = (json!(event_id), json!(event.get("type_uid")));
        let mut event = Value::Object(event);
        let fingerprint = json!({
            "algorithm_id": 3, "algorithm": "SHA-256", "encoding_id": 1, "encoding": "Hex",
            "serialization_id": 2, "serialization": "JCS",
            "value": sha256_hex(event.to_string().as_bytes()),
        });
        attestation.insert("fingerprint".to_owned(), fingerprint.clone());
        if let Some(event) = event.as_object_mut() {
            event.insert(with, list(&attestation));
        }
        self.last = Some(json!({
            "uid": uid, "type_uid": type_uid, "fingerprint": fingerprint,
        }));
        event
    }
}
