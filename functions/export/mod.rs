//! `export`: carries the audit trail to S3, and vouches for what it has written.
//!
//! Three events come here:
//!
//! - a batch of the audit table's stream ([`batch`]): its events become objects, in the words of
//!   OCSF ([`ocsf`]);
//! - `{"digest":"due"}`, every hour ([`digest`]): a signed digest of all that was written since the
//!   last one; `{"digest":"left"}`, every five minutes: another one, if the last left something;
//! - `{"re_export":{…}}`, by an operator ([`re_export`]): a range of the table is exported again,
//!   after the stream lost it.
//!
//! An object is written once and never again: its name says which rows it holds, so a batch that is
//! delivered again finds its objects there. Rows that cannot be read are set aside ([`set_aside`]),
//! and the shard goes on.

pub mod batch;
pub mod digest;
pub mod ocsf;
pub mod re_export;
mod set_aside;

use aws_lambda_events::event::streams::DynamoDbEventResponse;
use sealfleet_archive::objects::{self, ObjectName, Span};
use sealfleet_aws::Unavailable;
use sealfleet_aws::objects::Objects;
use sealfleet_aws::signing::Signer;
use sealfleet_domain::Timestamp;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_ledger::Ledger;
use serde::Serialize;
use serde_json::Value;

use crate::shared::metrics::Metrics;

/// What this function may use.
pub struct Ports {
    /// The audit bucket.
    pub objects: Box<dyn Objects>,
    /// The key that signs digests.
    pub signer: Box<dyn Signer>,
    /// The tables, of which the audit trail is read to export it again.
    pub ledger: Ledger,
    /// This function's metrics.
    pub metrics: Metrics,
    /// The version of OCSF that it writes.
    pub version: ocsf::Version,
}

/// Why an event is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A service does not answer; the event comes again, or may be sent again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The table does not answer.
    #[error(transparent)]
    Ledger(#[from] sealfleet_ledger::Error),
    /// The event is none of the three.
    #[error("the event is no batch of the stream, no `digest` and no `re_export`: {0}")]
    Event(String),
    /// The newest digest cannot be read, so none can follow it.
    #[error("`{0}` is no digest: look who wrote it, run `sealfleet audit verify`")]
    NoDigest(String),
}

/// What an event came to.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Done {
    /// A batch: what of it has to come again.
    Batch(DynamoDbEventResponse),
    /// A digest.
    Digest(digest::Made),
    /// A part of a range.
    ReExport(re_export::Part),
}

/// Does what an event asks for. A digest reads nothing new once it is `until`.
///
/// # Errors
/// When it is none of ours, or cannot be done now.
pub async fn handle(ports: &Ports, event: Value, until: Timestamp) -> Result<Done, Error> {
    match event.get("digest").map(|what| what == "left") {
        Some(true) => return digest::go_on(ports, until).await.map(Done::Digest),
        Some(false) => return digest::make(ports, until).await.map(Done::Digest),
        None => {}
    }
    if let Some(range) = event.get("re_export") {
        let range = serde_json::from_value(range.clone())
            .map_err(|error| Error::Event(error.to_string()))?;
        return re_export::part(ports, &range, until)
            .await
            .map(Done::ReExport);
    }
    let Some(Value::Array(records)) = event.get("Records") else {
        return Err(Error::Event("it has no `Records`".to_owned()));
    };
    Ok(Done::Batch(batch::export(ports, records).await))
}

/// Writes entries as one object, unless it is there. Streams of two tables may count alike: where a
/// restored table took the place of another, the name may be that of other entries. They are then
/// named by their ids.
async fn write(
    ports: &Ports,
    name: &ObjectName,
    entries: &[&AuditEntry],
) -> Result<(), Unavailable> {
    let failed = |error: std::io::Error| Unavailable {
        service: "gzip",
        detail: error.to_string(),
    };
    let packed = |key: &str| {
        let lines = ocsf::lines(ports.version, key, entries.iter().copied());
        objects::pack(&lines).map_err(failed)
    };
    let (key, kind) = (name.to_string(), "application/gzip");
    let bytes = packed(&key)?;
    if ports.objects.create(&key, kind, bytes.clone()).await?
        || ports.objects.get(&key).await?.as_ref() == Some(&bytes)
    {
        return Ok(());
    }
    let ids = || entries.iter().map(|entry| entry.event_id);
    let (Some(first), Some(last)) = (ids().min(), ids().max()) else {
        return Ok(());
    };
    let span = Span::Table {
        first: first.to_string(),
        last: last.to_string(),
    };
    let key = ObjectName {
        span,
        ..name.clone()
    };
    let key = key.to_string();
    let bytes = packed(&key)?;
    ports.objects.create(&key, kind, bytes).await.map(drop)
}
