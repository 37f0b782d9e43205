//! The outbox: revoking and aborting continue while the audit table does not answer, and their
//! audit entries are kept.
//!
//! A run's entries are in its own row, so ending a run never waits for the audit table. Every other
//! state change commits with its entry in one transaction over both tables, or not at all. Revoking
//! keys only takes authority away. Refusing it because an entry cannot be recorded would leave a
//! leaked key in use, and refusing to contain a project would leave its work at it. So only these
//! have a second way. When its transaction finds the audit table unavailable, the same transaction
//! is made with the entry in a row of the ledger instead, under the same event id. The row is in
//! the due index, and `sweep` moves it to the trail.
//!
//! - **No entry is lost.** The entry is part of its change's transaction, in one table or the
//!   other. The transaction that puts it into the trail also removes it from the ledger.
//! - **No change is made twice.** The outcome of the first attempt may be unknown. The second
//!   attempt has the same conditions: the absence of the rows. So at most one of the two succeeds,
//!   whichever arrives later. If the first one did, the second fails on its condition, and the
//!   stored rows are read again.
//! - **Nothing else can use it.** Only revocations, and the beginning of a containment, are
//!   accepted, by type.
//!
//! The trail does not show the entry until it has been moved. `docs/decisions/017-outbox.md` gives
//! the reasons.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::{EventId, Timestamp};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::store::{Condition, Item, Key, Table, Write, WriteError};

/// The attribute with the trail's partition that the entry will move to.
const PARTITION: &str = "trail";
/// Seconds until `sweep` tries again to move an entry, so that other due rows of its shard come
/// first.
const AGAIN_SECONDS: i64 = 30;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingEntry {
    /// The trail that it will move to: a project, or `~system`.
    pub trail: String,
    pub event_id: EventId,
}

impl Ledger {
    /// Writes revocations and their audit entry.
    pub(crate) async fn write_revocations(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.write_or_wait(writes).await
    }

    /// Writes the beginning of a containment and its audit entry.
    pub(crate) async fn write_containment(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.write_or_wait(writes).await
    }

    /// Makes the writes. If a table does not answer or refuses, makes the same writes with their
    /// audit entry in the outbox.
    async fn write_or_wait(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        match self.store.write(writes.clone()).await {
            Err(WriteError::Unavailable(detail) | WriteError::Refused(detail)) => {
                tracing::warn!(
                    detail,
                    "the audit table does not answer: writing the audit entry to the outbox"
                );
                let now = self.now();
                let writes = writes
                    .into_iter()
                    .map(|write| waiting(write, now))
                    .collect::<Result<Vec<_>, _>>()?;
                self.store.write(writes).await
            }
            other => other,
        }
    }

    /// Moves an entry from the outbox to its trail. Succeeds when it was moved before.
    ///
    /// # Errors
    /// When a table does not answer. The entry stays, and is due again in half a minute.
    pub async fn move_to_trail(&self, entry: &WaitingEntry) -> Result<(), Error> {
        let key = keys::waiting_entry(&entry.trail, entry.event_id);
        let Some(row) = self.row(&key).await? else {
            return Ok(());
        };
        let put = Write::Put {
            table: Table::Audit,
            item: arrived(row.clone())?,
            only_if: Condition::Absent,
        };
        let delete = Write::Delete {
            key,
            only_if: Condition::Is(vec![("sk", id(entry))]),
        };
        match self.store.write(vec![put, delete.clone()]).await {
            Ok(()) => Ok(()),
            // The trail has the entry already, so only the outbox row is left to delete.
            Err(WriteError::Condition(failed)) if failed == [0] => {
                match self.store.write(vec![delete]).await {
                    Ok(()) | Err(WriteError::Condition(_)) => Ok(()),
                    Err(error) => Err(crate::rows::unwritten(error)),
                }
            }
            Err(WriteError::Condition(_)) => Ok(()),
            Err(error) => {
                self.postpone(row).await;
                Err(crate::rows::unwritten(error))
            }
        }
    }

    /// Lets other rows of the shard come first. If this fails, the entry simply stays due.
    async fn postpone(&self, mut row: Item) {
        let Some(due_at) = row.get("due_at").cloned() else {
            return;
        };
        let again = self.now().plus_seconds(AGAIN_SECONDS);
        row.insert(
            "due_at".to_owned(),
            AttributeValue::N(again.millis().to_string()),
        );
        let only_if = Condition::Is(vec![("due_at", due_at)]);
        if let Err(error) = self
            .store
            .write(vec![Write::Put {
                table: Table::Ledger,
                item: row,
                only_if,
            }])
            .await
        {
            tracing::warn!(?error, "could not postpone an outbox entry");
        }
    }
}

fn id(entry: &WaitingEntry) -> AttributeValue {
    AttributeValue::S(entry.event_id.to_string())
}

/// The same write, except that an audit entry becomes a row of the outbox.
fn waiting(write: Write, now: Timestamp) -> Result<Write, WriteError> {
    let Write::Put {
        table: Table::Audit,
        mut item,
        only_if,
    } = write
    else {
        return Ok(write);
    };
    let malformed = || WriteError::Refused("an audit entry without a key".to_owned());
    let text =
        |item: &Item, name: &str| item.get(name).and_then(|value| value.as_s().ok().cloned());
    let partition = text(&item, "pk").ok_or_else(malformed)?;
    let trail = keys::trail_of_audit(&partition).ok_or_else(malformed)?;
    let event_id: EventId = text(&item, "sk")
        .and_then(|sk| sk.parse().ok())
        .ok_or_else(malformed)?;
    let Key { pk, .. } = keys::waiting_entry(trail, event_id);
    item.insert("pk".to_owned(), AttributeValue::S(pk));
    item.insert(PARTITION.to_owned(), AttributeValue::S(partition));
    item.insert(
        "due_shard".to_owned(),
        AttributeValue::S(keys::due_shard(event_id.uuid().into_bytes())),
    );
    item.insert(
        "due_at".to_owned(),
        AttributeValue::N(now.millis().to_string()),
    );
    Ok(Write::Put {
        table: Table::Ledger,
        item,
        only_if,
    })
}

/// Turns a row of the outbox into the row of the trail.
fn arrived(mut row: Item) -> Result<Item, Error> {
    let partition = row
        .remove(PARTITION)
        .ok_or_else(|| Error::Unreadable("a row of the outbox without a trail".to_owned()))?;
    row.insert("pk".to_owned(), partition);
    row.remove("due_shard");
    row.remove("due_at");
    Ok(row)
}

/// The audit entry in a row of the outbox.
///
/// # Errors
/// When the row does not hold one.
pub fn audit_entry_of_outbox(row: Item) -> Result<sealfleet_domain::audit::AuditEntry, Error> {
    let mut entries = crate::audit::audit_entries_of_image(arrived(row)?)?;
    entries
        .pop()
        .filter(|_| entries.is_empty())
        .ok_or_else(|| Error::Unreadable("a row of the outbox with several entries".to_owned()))
}
