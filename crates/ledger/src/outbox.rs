//! The outbox: what takes authority away goes on while the audit table does not answer, and its
//! entries are kept.
//!
//! No audit, no secret: whatever gives authority commits with its audit entry or not at all. To
//! cancel a run, to revoke keys and to abort the runs that hold them only ever takes it away;
//! refusing those for want of a record would leave a leaked key in use. So these, and nothing else,
//! have a second way. When their transaction finds the audit table unavailable, the same
//! transaction is made with the entry in a row of the ledger, under the event id that it has. The
//! row stands in the due index, and `sweep` moves it to the trail.
//!
//! - **Nothing is lost**: the entry is in the transaction of its change, in one table or the other,
//!   and is taken out of the ledger by the transaction that puts it into the trail.
//! - **Nothing is doubled**: the outcome of the first try may be unknown. The second has the same
//!   conditions, the version that was read or the absence of the rows, so of the two one can be
//!   made, whichever arrives later. If it was the first, the second fails on its condition, and
//!   what is stored is read again.
//! - **Nobody else can**: the way is open to [`Ending`] and to revocations, which are given here by
//!   name and not as a rule of the caller's, and neither can take a lease.
//!
//! Until it is moved the trail does not show the entry. `docs/decisions/017-outbox.md` says why it
//! is so.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::revocation::Revoked;
use sealfleet_domain::run::{Change, Refusal, Run};
use sealfleet_domain::{EventId, FanOutId, ProjectScope, RunId, Timestamp};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::store::{Condition, Item, Key, Table, Write, WriteError};
use crate::transition::{Once, Stored, TRIES, Transitioned};

/// The attribute that keeps the partition of the trail that an entry belongs in.
const PARTITION: &str = "trail";
/// Seconds after which an entry that could not be moved is looked at again. Other things of its
/// shard come first then.
const AGAIN_SECONDS: i64 = 30;

/// The end of a run from outside: it only takes away.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending<'a> {
    /// A caller cancelled it.
    Cancelled,
    /// A fan-out aborts it, because of a key that it holds.
    Revoked {
        revoked: &'a Revoked,
        fan_out_id: FanOutId,
    },
}

impl Ending<'_> {
    fn apply(self, run: &mut Run, now: Timestamp) -> Result<Change, Refusal> {
        match self {
            Self::Cancelled => run.cancel(now),
            Self::Revoked {
                revoked,
                fan_out_id,
            } => run.abort_revoked(revoked.clone(), Some(fan_out_id), now),
        }
    }
}

/// An audit entry that waits in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingEntry {
    /// The trail that it belongs in: a project, or `~system`.
    pub trail: String,
    /// Its id.
    pub event_id: EventId,
}

impl Ledger {
    /// Ends a run for a caller, with the audit table or without.
    ///
    /// # Errors
    /// [`Error::Refused`] when it has ended, [`Error::NotFound`], [`Error::Contended`], or that the
    /// ledger does not answer. Nothing was written then.
    pub async fn cancel(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        actor: &str,
    ) -> Result<Transitioned, Error> {
        for attempt in 0..TRIES {
            let stored = self.stored_run(scope, run_id).await?;
            match self
                .end_run(scope, &stored, actor, Ending::Cancelled, Vec::new())
                .await?
            {
                Once::Done(done) => return Ok(*done),
                Once::SlotTaken | Once::Overtaken => self.back_off(attempt).await,
            }
        }
        Err(Error::Contended)
    }

    /// Ends a run as it was read, together with `beside`.
    pub(crate) async fn end_run(
        &self,
        scope: &ProjectScope,
        stored: &Stored,
        actor: &str,
        ending: Ending<'_>,
        beside: Vec<Write>,
    ) -> Result<Once, Error> {
        let (prepared, mut writes) =
            self.prepare(scope, stored, actor, |run, now| ending.apply(run, now))?;
        writes.extend(beside);
        let written = self.write_or_wait(writes).await;
        self.settled(scope, prepared, written)
    }

    /// Writes revocations with their entry.
    pub(crate) async fn write_revocations(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.write_or_wait(writes).await
    }

    /// Makes the writes or, where a table does not answer, the same ones with their audit entry in
    /// the outbox.
    async fn write_or_wait(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        match self.store.write(writes.clone()).await {
            Err(WriteError::Unavailable(detail)) => {
                tracing::warn!(
                    detail,
                    "no answer with the audit table: the entry is put into the outbox"
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

    /// Moves an entry from the outbox to its trail. One that is there already, or gone from here,
    /// is well.
    ///
    /// # Errors
    /// When a table does not answer: the entry stays, and is due again in half a minute.
    pub async fn move_to_trail(&self, entry: &WaitingEntry) -> Result<(), Error> {
        let key = keys::waiting_entry(&entry.trail, entry.event_id);
        let Some(row) = self
            .store
            .get(Table::Ledger, &key)
            .await
            .map_err(Error::Unavailable)?
        else {
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
            // It stands in the trail: what is left is to forget it here.
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

    /// Lets others of the shard come first. Where even that fails, the entry is simply due still.
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
            tracing::warn!(?error, "an entry of the outbox was not postponed");
        }
    }
}

fn id(entry: &WaitingEntry) -> AttributeValue {
    AttributeValue::S(entry.event_id.to_string())
}

/// The same write, but of an audit entry the one that puts it into the outbox.
fn waiting(write: Write, now: Timestamp) -> Result<Write, WriteError> {
    let Write::Put {
        table: Table::Audit,
        mut item,
        only_if,
    } = write
    else {
        return Ok(write);
    };
    let malformed = || WriteError::Unavailable("an audit entry without a key".to_owned());
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

/// The row of the trail that a row of the outbox stands for.
fn arrived(mut row: Item) -> Result<Item, Error> {
    let partition = row
        .remove(PARTITION)
        .ok_or_else(|| Error::Unreadable("a row of the outbox without a trail".to_owned()))?;
    row.insert("pk".to_owned(), partition);
    row.remove("due_shard");
    row.remove("due_at");
    Ok(row)
}

/// The audit entry that a row of the outbox holds.
///
/// # Errors
/// When the row is none.
pub fn audit_entry_of_outbox(row: Item) -> Result<sealfleet_domain::audit::AuditEntry, Error> {
    crate::audit::audit_entry_of_image(arrived(row)?)
}
