//! `trail`: copies the audit entries that travel in the rows of runs to the audit table.
//!
//! The ledger's stream brings each change of a run's row with its old and new image. Its event
//! source mapping lets only rows through whose old or new image carries `trail` = "1". Records of
//! one row come in order, those of different rows in any order, and all of them at least once. The
//! entries of a batch go into as few rows as possible. A batch that comes again makes the same
//! rows. A part of it may make others: readers show an entry once, by its id.
//!
//! Sealfleet only ever adds entries to a run's row, and moves full lists to rows of their own, that
//! never change. So a record whose new entries do not extend the old ones, a changed row of moved
//! entries, and a row that is deleted before its time were made by somebody else. So was an entry
//! that cannot be read, or whose identity is gone or another one. They are counted, and an alarm
//! tells of them; other records are copied. `sealfleet audit repair` copies what was left out, once
//! it can be read again.

use std::collections::HashMap;

use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_ledger::{Added, Error, Ledger, may_expire};

use crate::shared::metrics::{Metric, Metrics};

/// The service that deletes rows whose time to live is over, as the stream names it ("DynamoDB
/// Streams and Time to Live").
const TIME_TO_LIVE: &str = "dynamodb.amazonaws.com";

type Item = HashMap<String, AttributeValue>;

/// What this function may use.
pub struct Ports {
    /// The tables. It reads identities, and puts rows into the audit table.
    pub ledger: Ledger,
    /// This function's metrics.
    pub metrics: Metrics,
}

/// Handles a batch of the ledger's stream.
///
/// # Errors
/// When a table does not answer. The batch then comes again as a whole, which changes nothing of
/// what was copied.
pub async fn handle(ports: &Ports, event: Event) -> Result<DynamoDbEventResponse, Error> {
    let mut entries = Vec::new();
    for record in event.records {
        entries.extend(added(ports, record).await?);
    }
    ports.ledger.add_to_trail(entries).await?;
    Ok(DynamoDbEventResponse::default())
}

/// The entries that a record adds.
async fn added(ports: &Ports, record: EventRecord) -> Result<Vec<AuditEntry>, Error> {
    let by_time_to_live = record
        .user_identity
        .is_some_and(|by| by.principal_id == TIME_TO_LIVE);
    let before: Item = record.change.old_image.into();
    let after: Item = record.change.new_image.into();
    let run = after.get("sk").or_else(|| before.get("sk")).cloned();
    if after.is_empty() {
        if !(by_time_to_live && may_expire(&before)) {
            tampered(ports, run, "a row was deleted before its time");
        }
        return Ok(Vec::new());
    }
    let before = (!before.is_empty()).then_some(&before);
    let whole = match Added::between(before, &after) {
        Ok(added) => ports.ledger.whole_entries(added).await,
        Err(error) => Err(error),
    };
    match whole {
        Err(error @ Error::Unreadable(_)) => {
            tampered(ports, run, &error.to_string());
            Ok(Vec::new())
        }
        whole => whole,
    }
}

fn tampered(ports: &Ports, run: Option<AttributeValue>, what: &str) {
    let run = run.as_ref().and_then(|run| run.as_s().ok());
    tracing::error!(run, what, "somebody else has changed the entries of a run");
    let now = ports.ledger.now();
    ports
        .metrics
        .of_function(now, &[(Metric::AuditSetAside, 1.0)]);
}
