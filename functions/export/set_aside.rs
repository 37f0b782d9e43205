//! What cannot be exported: set aside, so that its shard goes on and somebody looks.
//!
//! Whatever made such a row is not known, so nothing of its values is copied, not even in an
//! error's text: only its place, the names of its attributes, and its key where that has the form
//! of ours. The row itself stays in the table.

use sealfleet_archive::objects::set_aside_key;
use sealfleet_aws::Unavailable;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::{EventId, Timestamp};
use sealfleet_ledger::store::Item;
use serde::Serialize;
use serde_json::Value;

use super::Ports;
use crate::shared::metrics::Metric;

/// Characters of an attribute's name that are kept, and names.
const NAME_CHARACTERS: usize = 64;
const MOST_NAMES: usize = 64;

/// Why a row was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The record of the stream has another form than DynamoDB's.
    NoRecord,
    /// The record has no sequence number.
    NoSequenceNumber,
    /// The row is no entry of the trail as this version knows it.
    NoEntry,
    /// The row took the place of another: entries are only ever put once.
    RowReplaced,
    /// The row was removed from the table.
    RowRemoved,
}

/// A row that was set aside.
#[derive(Clone, Debug, Serialize)]
pub struct SetAside {
    /// When it was written, in milliseconds since the Unix epoch, as the stream or the row's key
    /// says.
    time: i64,
    /// Its sequence number in the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
    /// The stream it came by.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    reason: Reason,
    /// Its key, where that has the form of an entry's.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<RowKey>,
    /// Names of its attributes.
    attributes: Vec<String>,
    /// SHA-256 of what was to be exported, to tell two such rows apart.
    sha256: String,
}

#[derive(Clone, Debug, Serialize)]
struct RowKey {
    pk: String,
    sk: String,
}

impl SetAside {
    /// A record of the stream.
    pub fn of_record(record: &Value, reason: Reason) -> Self {
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
        let image = ["/dynamodb/NewImage", "/dynamodb/Keys"]
            .iter()
            .find_map(|part| record.pointer(part)?.as_object());
        let seconds = record
            .pointer("/dynamodb/ApproximateCreationDateTime")
            .and_then(Value::as_f64);
        #[expect(clippy::cast_possible_truncation, reason = "the seconds of a date")]
        let seconds = seconds.map_or(0, |seconds| seconds as i64);
        Self {
            time: seconds.saturating_mul(1000),
            sequence: text("/dynamodb/SequenceNumber")
                .filter(|text| is_number(text))
                .map(str::to_owned),
            stream: text("/eventSourceARN")
                .filter(|arn| arn.len() <= 256)
                .map(str::to_owned),
            reason,
            key: key(text("/dynamodb/Keys/pk/S"), text("/dynamodb/Keys/sk/S")),
            attributes: names(image.into_iter().flat_map(|image| image.keys())),
            sha256: sha256_hex(
                record
                    .get("dynamodb")
                    .map(Value::to_string)
                    .unwrap_or_default()
                    .as_bytes(),
            ),
        }
    }

    /// A row of the table.
    pub fn of_row(row: &Item) -> Self {
        let text = |name: &str| {
            row.get(name)
                .and_then(|value| value.as_s().ok())
                .map(String::as_str)
        };
        let key = key(text("pk"), text("sk"));
        let made_at = key
            .as_ref()
            .and_then(|key| first_of(&key.sk))
            .map(EventId::made_at);
        let attributes = names(row.keys());
        let told = [
            text("pk").unwrap_or_default(),
            text("sk").unwrap_or_default(),
        ]
        .join("\n");
        Self {
            time: made_at.map_or(0, Timestamp::millis),
            sequence: None,
            stream: None,
            reason: Reason::NoEntry,
            key,
            attributes,
            sha256: sha256_hex(told.as_bytes()),
        }
    }

    /// Where it stands: the same row has the same place.
    fn object_key(&self) -> String {
        let hash: String = self.sha256.chars().take(16).collect();
        let place = match &self.sequence {
            Some(sequence) => format!("{sequence:0>40}-{hash}"),
            None => format!("row-{hash}"),
        };
        set_aside_key(&Timestamp::from_millis(self.time).day(), &place)
    }
}

/// Sets a row aside, says so in the log, and counts it.
pub async fn put(ports: &Ports, row: &SetAside) -> Result<(), Unavailable> {
    let failed = |error: serde_json::Error| Unavailable {
        service: "JSON",
        detail: error.to_string(),
    };
    let mut line = serde_json::to_vec(row).map_err(failed)?;
    line.push(b'\n');
    let key = row.object_key();
    if ports.objects.create(&key, "application/json", line).await? {
        tracing::error!(key, reason = ?row.reason, "an audit row was set aside: look at it, then export its range again");
        ports
            .metrics
            .of_function(ports.ledger.now(), &[(Metric::AuditSetAside, 1.0)]);
    }
    Ok(())
}

fn is_number(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The id of a row's first entry, from its sort key: `evt_…`, or `evt_…#` and a hash.
fn first_of(sk: &str) -> Option<EventId> {
    let (id, hash) = sk.split_once('#').unwrap_or((sk, ""));
    let is_hash = hash.len() <= 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    id.parse().ok().filter(|_| is_hash)
}

/// A key of the form `PRJ#trail#day#shard` and `evt_…`.
fn key(pk: Option<&str>, sk: Option<&str>) -> Option<RowKey> {
    let (pk, sk) = (pk?, sk?);
    let parts: Vec<&str> = pk.split('#').collect();
    let ours = matches!(parts.as_slice(), ["PRJ", trail, day, shard]
        if is_word(trail, 64) && is_word(day, 10) && is_word(shard, 2));
    (ours && first_of(sk).is_some()).then(|| RowKey {
        pk: pk.to_owned(),
        sk: sk.to_owned(),
    })
}

fn is_word(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-~".contains(&byte))
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = names
        .take(MOST_NAMES)
        .map(|name| name.chars().take(NAME_CHARACTERS).collect())
        .collect();
    names.sort();
    names
}
