//! A batch of the audit table's stream: one object for each trail, day and shard in it.
//!
//! Nothing is lost: a batch is answered as done when all of it is in S3. If something cannot be
//! written, the answer is the batch's first sequence number, so that Lambda sends the very same
//! batch again, and what was written is found there under the same names. If the function dies
//! instead, Lambda splits the batch: its halves have other names, and events may then stand in two
//! objects. Readers drop such doubles by `event_id` and `index`.
//!
//! Rows that expire are left out: DynamoDB itself removes them by the table's time to live, and
//! says so in the record, which no caller can. What they said is in S3 since they were put. Any
//! other removal is set aside, as is a row that takes another's place.
//!
//! Nothing blocks: a record that cannot be read is set aside as its own object. The records of one
//! partition come in the order of their sequence numbers, so all between the two in an object's
//! name are in that object.

use std::collections::{BTreeMap, HashMap};

use aws_lambda_events::event::dynamodb::EventRecord;
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_archive::objects::{ObjectName, Span};
use sealfleet_aws::Unavailable;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_ledger::{audit_entries_of_image, audit_shard_of};
use serde_json::Value;

use super::set_aside::{self, Reason, SetAside};
use super::{Ports, write};

/// A trail, a day and a shard.
type Partition = (String, String, u8);

/// Exports the records. What is answered has to come again; nothing when all was written.
pub async fn export(ports: &Ports, records: &[Value]) -> DynamoDbEventResponse {
    let mut response = DynamoDbEventResponse::default();
    if let Err(error) = write_all(ports, records).await {
        tracing::error!(%error, "a batch of the audit trail was not written; it comes again");
        let mut again = DynamoDbBatchItemFailure::default();
        again.item_identifier = records.first().and_then(sequence_of);
        response.batch_item_failures.push(again);
    }
    response
}

async fn write_all(ports: &Ports, records: &[Value]) -> Result<(), Unavailable> {
    let mut parts: BTreeMap<Partition, Vec<(String, Vec<AuditEntry>)>> = BTreeMap::new();
    for record in records.iter().filter(|record| !has_expired(record)) {
        match read(record) {
            Ok((sequence, entries)) => {
                // All entries of a row are of one partition.
                let Some(first) = entries.first() else {
                    continue;
                };
                let partition = (first.project.clone(), first.at.day(), audit_shard_of(first));
                let part = parts.entry(partition).or_default();
                part.push((sequence, entries));
            }
            Err(unreadable) => set_aside::put(ports, &unreadable).await?,
        }
    }
    for ((project, day, shard), rows) in parts {
        let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) else {
            continue;
        };
        let span = Span::Stream {
            first: first.clone(),
            last: last.clone(),
        };
        let entries: Vec<&AuditEntry> = rows.iter().flat_map(|(_, entries)| entries).collect();
        write(
            ports,
            &ObjectName {
                project,
                day,
                shard,
                span,
            },
            &entries,
        )
        .await?;
    }
    Ok(())
}

fn sequence_of(record: &Value) -> Option<String> {
    record
        .pointer("/dynamodb/SequenceNumber")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// Whether DynamoDB removed the row by its time to live. Source: "DynamoDB Streams and Time to
/// Live", Amazon DynamoDB Developer Guide.
fn has_expired(record: &Value) -> bool {
    let is =
        |pointer: &str, text: &str| record.pointer(pointer).and_then(Value::as_str) == Some(text);
    is("/eventName", "REMOVE")
        && is("/userIdentity/type", "Service")
        && is("/userIdentity/principalId", "dynamodb.amazonaws.com")
}

/// The entries of a record, with its sequence number; or why there are none.
fn read(record: &Value) -> Result<(String, Vec<AuditEntry>), Box<SetAside>> {
    let aside = |reason| Box::new(SetAside::of_record(record, reason));
    let sequence = sequence_of(record).filter(|sequence| {
        sequence.len() <= 40 && sequence.bytes().all(|byte| byte.is_ascii_digit())
    });
    let sequence = sequence.ok_or_else(|| aside(Reason::NoSequenceNumber))?;
    // Rows are only ever put: a row that was replaced or removed was touched by somebody else.
    match record.get("eventName").and_then(Value::as_str) {
        Some("INSERT") => {}
        Some("MODIFY") => return Err(aside(Reason::RowReplaced)),
        Some("REMOVE") => return Err(aside(Reason::RowRemoved)),
        _ => return Err(aside(Reason::NoRecord)),
    }
    let record: EventRecord =
        serde_json::from_value(record.clone()).map_err(|_| aside(Reason::NoRecord))?;
    let image: HashMap<String, AttributeValue> = record.change.new_image.into();
    match audit_entries_of_image(image) {
        Ok(entries) => Ok((sequence, entries)),
        Err(_) => Err(aside(Reason::NoEntry)),
    }
}
