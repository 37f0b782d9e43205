//! `export`: carries the audit table's stream to S3, and digests what it has written.
//!
//! An object is named by its shard and the first and last sequence number of what it holds, so a batch that is
//! delivered again overwrites equal bytes. A row that cannot be read is set aside by answering it as failed: Lambda
//! splits the batch, tries it a bounded number of times and puts its position in the failure queue, and the shard
//! goes on.

use std::collections::BTreeMap;

use aws_lambda_events::event::dynamodb::{Event as StreamEvent, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use sealfleet_aws::Unavailable;
use sealfleet_aws::objects::Objects;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::digest::{Digest, DigestedObject};
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::{Clock, Timestamp};
use sealfleet_ledger::{audit_entry_of_image, audit_shard_of};
use serde::Serialize;

/// Where exported entries stand.
pub const ENTRIES: &str = "audit/";
/// Where digests stand.
pub const DIGESTS: &str = "digests/";

/// What this function may use.
pub struct Ports {
    /// The audit bucket.
    pub objects: Box<dyn Objects>,
    /// The time, for digests.
    pub clock: Box<dyn Clock>,
}

/// What a digest came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digested {
    /// Its number; absent when there was nothing new.
    pub number: Option<u64>,
    /// Objects in it.
    pub objects: usize,
}

/// Writes one batch of the stream: an object for each project and day.
pub async fn handle(ports: &Ports, batch: StreamEvent) -> DynamoDbEventResponse {
    let mut response = DynamoDbEventResponse::default();
    let mut parts: BTreeMap<String, Vec<(String, AuditEntry)>> = BTreeMap::new();
    for record in batch.records {
        let sequence = record.change.sequence_number.clone().unwrap_or_default();
        // Only what was put is a record; time to live and deletes have no place in this table.
        if record.event_name != "INSERT" {
            continue;
        }
        match entry_of(record) {
            Ok((prefix, entry)) => parts.entry(prefix).or_default().push((sequence, entry)),
            Err(error) => {
                tracing::error!(%error, sequence, "an audit row cannot be read; it is set aside");
                // All before it is written below; Lambda goes on from here.
                response.batch_item_failures.push(failure(sequence));
                break;
            }
        }
    }
    for (prefix, entries) in parts {
        if let Err(error) = write_part(ports, &prefix, &entries).await {
            tracing::error!(%error, prefix, "the audit trail was not written; the batch comes again");
            let first = entries.first().map(|(sequence, _)| sequence.clone()).unwrap_or_default();
            response.batch_item_failures.push(failure(first));
        }
    }
    response
}

fn failure(sequence: String) -> DynamoDbBatchItemFailure {
    let mut failure = DynamoDbBatchItemFailure::default();
    failure.item_identifier = Some(sequence);
    failure
}

/// The prefix of an entry's object, and the entry.
fn entry_of(record: EventRecord) -> Result<(String, AuditEntry), sealfleet_ledger::Error> {
    let unreadable = |detail: String| sealfleet_ledger::Error::Unreadable(detail);
    let image: std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue> =
        serde_dynamo::from_item::<serde_dynamo::Item, serde_json::Value>(record.change.new_image)
            .map_err(|error| unreadable(error.to_string()))
            .and_then(|value| {
                serde_dynamo::aws_sdk_dynamodb_1::to_item(value).map_err(|error| unreadable(error.to_string()))
            })?;
    let entry = audit_entry_of_image(image)?;
    let shard = audit_shard_of(&entry);
    Ok((format!("{ENTRIES}project={}/date={}/{shard}-", entry.project, entry.at.day()), entry))
}

async fn write_part(ports: &Ports, prefix: &str, entries: &[(String, AuditEntry)]) -> Result<(), Unavailable> {
    let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else { return Ok(()) };
    let key = format!("{prefix}{first:0>40}-{last:0>40}.jsonl");
    ports.objects.put(&key, "application/x-ndjson", lines(entries)).await
}

/// One line for each event, with what its entry says of all of them.
fn lines(entries: &[(String, AuditEntry)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (_, entry) in entries {
        for (index, event) in entry.events.iter().enumerate() {
            let line = serde_json::json!({
                "event_id": entry.event_id,
                "index": index,
                "at": entry.at,
                "project": entry.project,
                "actor": entry.actor,
                "run_id": entry.run_id,
                "event": event,
            });
            bytes.extend_from_slice(line.to_string().as_bytes());
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Digests the objects that no digest holds yet.
///
/// # Errors
/// When S3 does not answer; the next digest then holds what this one would have.
pub async fn digest(ports: &Ports) -> Result<Digested, Unavailable> {
    let unreadable = |_| Unavailable { service: "S3", detail: "a stored digest cannot be read".to_owned() };
    let keys = ports.objects.list(DIGESTS, None).await?;
    let mut digested: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
    let mut previous: Option<Vec<u8>> = None;
    for key in &keys {
        let bytes = ports.objects.get(key).await?.unwrap_or_default();
        let digest: Digest = serde_json::from_slice(&bytes).map_err(unreadable)?;
        digested.extend(digest.objects.into_iter().map(|object| object.key));
        previous = Some(bytes);
    }
    let mut objects = Vec::new();
    for key in ports.objects.list(ENTRIES, None).await? {
        if digested.contains(&key) {
            continue;
        }
        if let Some(bytes) = ports.objects.get(&key).await? {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            objects.push(DigestedObject {
                key,
                sha256: sha256_hex(&bytes),
                lines: u64::try_from(lines).unwrap_or(u64::MAX),
            });
        }
    }
    if objects.is_empty() {
        return Ok(Digested { number: None, objects: 0 });
    }
    let number = u64::try_from(keys.len()).unwrap_or(u64::MAX).saturating_add(1);
    let at: Timestamp = ports.clock.now();
    let count = objects.len();
    let digest = Digest { number, at, previous: previous.map(|bytes| sha256_hex(&bytes)), objects };
    let bytes = digest.bytes().map_err(unreadable)?;
    ports.objects.put(&format!("{DIGESTS}{number:010}.json"), "application/json", bytes).await?;
    Ok(Digested { number: Some(number), objects: count })
}
