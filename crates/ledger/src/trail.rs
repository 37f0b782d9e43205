//! From the rows of runs to the trail.
//!
//! A run's entries are decided and stored in its own row (`entries`). The `trail` function reads
//! the ledger's stream and copies what each write added, several entries in a row (`audit`). An
//! entry keeps its id, so readers show it once, however often it was copied. The trail of one run
//! is read from the run itself, without this delay.
//!
//! The stream keeps a record for a day. What it lost still stands in the rows of the runs, for as
//! long as they are kept: [`Ledger::entries_again`] reads it, as records of the stream tell it.

use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::{ProjectScope, RunId, Timestamp};
use serde_json::{Value, json};

use crate::entries::{self, StoredEntry};
use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{number, text};
use crate::run_rows::{Added, with_entries};
use crate::shown::dynamodb_json;
use crate::store::{Item, Query, Range, Table};

/// Runs that are read at once.
const RUNS: usize = 100;

/// A place among a project's runs, from which their entries are read on. The default is the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunsPlace {
    shard: u8,
    after: Option<String>,
}

/// Entries in the rows of runs, to be copied again.
#[derive(Clone, Debug, Default)]
pub struct EntriesAgain {
    /// Records of the ledger's stream, each of a new run that has these entries alone.
    pub records: Vec<Value>,
    pub runs: usize,
    pub entries: usize,
    /// Runs whose entries cannot be read: somebody else has changed them.
    pub unreadable: Vec<RunId>,
    /// Where to go on. `None` when all runs have been read.
    pub next: Option<RunsPlace>,
}

impl Ledger {
    /// Reads the next of a project's runs, and of their entries those from `from` to `to`, both
    /// included. Entries that never reached the trail can then be copied to it.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn entries_again(
        &self,
        scope: &ProjectScope,
        (from, to): (Timestamp, Timestamp),
        place: RunsPlace,
    ) -> Result<EntriesAgain, Error> {
        let query = Query {
            table: Table::Ledger,
            pk: keys::runs(scope, place.shard),
            range: Range::All,
            backwards: false,
            limit: RUNS,
            consistent: true,
            only: None,
        };
        let rows = self.store.query(&query, place.after.as_deref()).await?;
        let mut again = EntriesAgain::default();
        let mut later = false;
        for row in rows.items {
            let run_id: RunId = text(&row, "sk")
                .and_then(|sk| sk.parse().ok())
                .ok_or_else(|| Error::Unreadable("a run without an id".to_owned()))?;
            // Runs come in the order of their time. This one and its entries are all later.
            later = run_id.made_at() > to;
            if later {
                break;
            }
            again.runs += 1;
            match self.of_period(scope, (run_id, row), (from, to)).await {
                Ok(records) => {
                    for (record, entries) in records {
                        again.records.push(record);
                        again.entries += entries;
                    }
                }
                Err(Error::Unreadable(_)) => again.unreadable.push(run_id),
                Err(error) => return Err(error),
            }
        }
        again.next = match rows.more_after.filter(|_| !later) {
            Some(after) => Some(RunsPlace {
                after: Some(after),
                ..place
            }),
            None => (place.shard + 1 < keys::SHARDS).then_some(RunsPlace {
                shard: place.shard + 1,
                after: None,
            }),
        };
        Ok(again)
    }

    /// The entries that a write added to a run's row, with the identities that they name.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when an identity is not stored, or the tables do not answer.
    pub async fn whole_entries(&self, added: Added) -> Result<Vec<AuditEntry>, Error> {
        let identities = self.load_identities(added.scope(), added.names()).await?;
        added.entries(&identities)
    }

    /// All entries in a run's row, and those that were moved out of it. Empty when there is no such
    /// run.
    pub(crate) async fn entries_of_run(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
    ) -> Result<Vec<AuditEntry>, Error> {
        let key = keys::run(scope, run_id);
        let Some(row) = self.row(&key).await? else {
            return Ok(Vec::new());
        };
        let rows = self.rows_of_run(scope, run_id, row).await?;
        let stored = rows.iter().flat_map(entries::list).map(entries::read);
        let stored = stored.collect::<Result<Vec<_>, _>>()?;
        let names = stored.iter().flat_map(StoredEntry::names).collect();
        let identities = self.load_identities(scope, names).await?;
        let each = stored.into_iter();
        each.map(|entry| entry.expand(scope, run_id, &identities))
            .collect()
    }

    /// The entries of a period in the rows of a run, as records, each with their number.
    async fn of_period(
        &self,
        scope: &ProjectScope,
        (run_id, row): (RunId, Item),
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Vec<(Value, usize)>, Error> {
        let mut records = Vec::new();
        for row in self.rows_of_run(scope, run_id, row).await? {
            let mut elements = Vec::new();
            for element in entries::list(&row) {
                let at = entries::read(element)?.at();
                if from <= at && at <= to {
                    elements.push(element.clone());
                }
            }
            if !elements.is_empty() {
                let number = elements.len();
                let image = dynamodb_json(with_entries(scope, run_id, elements))?;
                records.push((record(&image), number));
            }
        }
        Ok(records)
    }

    /// A run's row behind the rows of entries that were moved out of it.
    async fn rows_of_run(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        row: Item,
    ) -> Result<Vec<Item>, Error> {
        let moved = number(&row, "moved").and_then(|moved| u32::try_from(moved).ok());
        let mut rows = Vec::new();
        for number in 0..moved.unwrap_or(0) {
            let key = keys::moved_entries(scope, run_id, number);
            rows.extend(self.row(&key).await?);
        }
        rows.push(row);
        Ok(rows)
    }
}

/// A record of the stream that tells of a new row.
fn record(image: &Value) -> Value {
    let keys = json!({ "pk": image.get("pk"), "sk": image.get("sk") });
    json!({
        "eventID": "", "eventName": "INSERT", "eventSource": "aws:dynamodb", "awsRegion": "",
        "dynamodb": {
            "Keys": keys, "NewImage": image, "SequenceNumber": "0", "SizeBytes": 0,
        },
    })
}
