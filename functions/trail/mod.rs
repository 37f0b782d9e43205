//! `trail`: copies the audit entries that travel in the rows of runs to the audit table.
//!
//! The ledger's stream brings each change of a run's row with its old and new image. Its event
//! source mapping lets only rows through whose old or new image carries `trail` = "1"; a row that
//! loses the mark, and one that is deleted, come as well. Records of one row come in order, those
//! of different rows in any order, and all of them at least once.

use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use sealfleet_ledger::Ledger;

use crate::shared::metrics::Metrics;

/// What this function may use.
pub struct Ports {
    /// The tables, of which it only puts rows into the audit table.
    pub ledger: Ledger,
    /// This function's metrics.
    pub metrics: Metrics,
}

/// Why a batch is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No row of a run carries entries.
    #[error("record {0} is of no row that carries audit entries")]
    Record(String),
}

/// Handles a batch of the ledger's stream.
///
/// # Errors
/// When it holds a record; the batch then comes again, until it is set aside.
pub async fn handle(_: &Ports, event: Event) -> Result<DynamoDbEventResponse, Error> {
    match event.records.first() {
        None => Ok(DynamoDbEventResponse::default()),
        Some(record) => Err(Error::Record(
            record.change.sequence_number.clone().unwrap_or_default(),
        )),
    }
}
