//! Containments: where they have come, and what they have stopped.
//!
//! A containment is one row, in the due index until it has ended. Its position is moved only from
//! the one that was read, so workers that share it, or follow each other after a death, skip
//! nothing.
//!
//! Whatever a ledger [within](Ledger::within) the containment stops is counted by a row of its own,
//! in the transaction that stops it. So the count is exact no matter which process stopped when,
//! and nothing is counted twice.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::containment::{Containment, Ended, Position, Stage, Tally};
use sealfleet_domain::{ContainmentId, FanOutId, ProjectScope, RunId, Timestamp, limits};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::ledger::{Ledger, expiry};
use crate::once::Idempotency;
use crate::pages::Page;
use crate::rows::{attribute, from_item, n, to_item, unwritten};
use crate::store::{Condition, Consistency, Item, Range, Table, Write, WriteError};

/// The attribute that marks a containment that has not ended.
const OPEN: &str = "open";
/// The attribute of an idempotency row that names a containment.
const MADE: &str = "containment";
/// Rows that are counted at once.
const COUNTED: usize = 1000;

/// What a containment has stopped or begun.
#[derive(Serialize, Deserialize)]
struct Part {
    what: What,
    expires_at: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Stopped(Stage),
    FanOut(FanOutId),
}

/// What a containment has come to so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    pub stopped: Tally,
    /// The fan-outs of its revocations.
    pub fan_outs: BTreeSet<FanOutId>,
}

impl Ledger {
    /// Stores a new containment, with its event. A request that was made before with the same key
    /// gets the containment of that time.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`], or the tables do not answer.
    pub async fn begin_containment(
        &self,
        scope: &ProjectScope,
        containment: &Containment,
        once: Option<&Idempotency>,
    ) -> Result<Containment, Error> {
        for attempt in 0..5 {
            let writes = self.beginning(scope, containment, once)?;
            match self.write_containment(writes).await {
                Ok(()) => return Ok(containment.clone()),
                Err(WriteError::Condition(_) | WriteError::Busy) => {}
                Err(error) => return Err(unwritten(error)),
            }
            // Our own attempt, whose answer was lost, or another one with the same key.
            match self.containment(scope, containment.containment_id).await {
                Err(Error::NotFound) => {}
                found => return found,
            }
            if let Some(before) = self.contained_before(scope, once).await? {
                return Ok(before);
            }
            self.back_off(attempt).await;
        }
        Err(Error::Contended)
    }

    fn beginning(
        &self,
        scope: &ProjectScope,
        containment: &Containment,
        once: Option<&Idempotency>,
    ) -> Result<Vec<Write>, Error> {
        let now = self.now();
        let until = now.plus_seconds(limits::CONTAINMENT_SECONDS);
        let event = Event::ProjectContained {
            reason: containment.reason.as_str().into(),
            tokens: containment.tokens,
        };
        let mut writes = vec![
            Write::Put {
                table: Table::Ledger,
                item: self.containment_item(scope, containment, Some(until))?,
                only_if: Condition::Absent,
            },
            self.project_audit_write(scope, &containment.actor, event, now)?,
        ];
        if let Some(once) = once {
            let made = (MADE, containment.containment_id.to_string());
            let (item, only_if) = once.row(keys::contained_once(scope, &once.key), made, now);
            writes.push(Write::Put {
                table: Table::Ledger,
                item,
                only_if,
            });
        }
        Ok(writes)
    }

    async fn contained_before(
        &self,
        scope: &ProjectScope,
        once: Option<&Idempotency>,
    ) -> Result<Option<Containment>, Error> {
        let Some(once) = once else { return Ok(None) };
        let key = keys::contained_once(scope, &once.key);
        let made = self.made_before(&key, once, MADE, Consistency::Strong);
        match made.await? {
            Some(id) => self.containment(scope, id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads a containment.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn containment(
        &self,
        scope: &ProjectScope,
        id: ContainmentId,
    ) -> Result<Containment, Error> {
        let item = self.row(&keys::containment(scope, id)).await?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// A page of a project's containments, newest first.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn containments(
        &self,
        scope: &ProjectScope,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<Containment>, Error> {
        self.newest(keys::containments(scope), Range::All, before, limit)
            .await
    }

    /// Stores where a containment has come, and that `sweep` need not look at it before `due`.
    /// `None` when somebody else has moved it from where it was `read`; then nothing changed.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn move_containment(
        &self,
        scope: &ProjectScope,
        read: &Position,
        moved: Containment,
        due: Timestamp,
    ) -> Result<Option<Containment>, Error> {
        let item = self.containment_item(scope, &moved, Some(due))?;
        let stored = self.put_if(item, unmoved(read)?).await?;
        Ok(stored.then_some(moved))
    }

    /// Ends a containment once, with its event. `None` when somebody else has moved it.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn end_containment(
        &self,
        scope: &ProjectScope,
        read: &Position,
        containment: &Containment,
        ended: Ended,
    ) -> Result<Option<Containment>, Error> {
        let event = Event::ContainmentEnded {
            complete: ended.complete,
            rounds: containment.position.round,
            stopped: ended.stopped,
        };
        let at = ended.at;
        let done = Containment {
            ended: Some(ended),
            ..containment.clone()
        };
        let writes = vec![
            Write::Put {
                table: Table::Ledger,
                item: self.containment_item(scope, &done, None)?,
                only_if: unmoved(read)?,
            },
            self.project_audit_write(scope, &done.actor, event, at)?,
        ];
        Ok(self.write_if(writes).await?.then_some(done))
    }

    /// What a containment has come to so far, from the rows that its parts left.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn contained_so_far(
        &self,
        scope: &ProjectScope,
        id: ContainmentId,
    ) -> Result<SoFar, Error> {
        let mut so_far = SoFar::default();
        let mut after: Option<String> = None;
        loop {
            let pk = keys::contained(scope.project(), id);
            let page = self.page(pk, after.as_deref(), COUNTED).await?;
            for Part { what, .. } in page.items {
                match what {
                    What::Stopped(stage) => so_far.stopped.add(stage, 1),
                    What::FanOut(id) => drop(so_far.fan_outs.insert(id)),
                }
            }
            after = page.more_after;
            if after.is_none() {
                return Ok(so_far);
            }
        }
    }

    /// The rows that count what these events of a project stop, if this ledger writes within a
    /// containment.
    pub(crate) fn parts(
        &self,
        scope: &ProjectScope,
        run_id: Option<RunId>,
        events: &[Event],
    ) -> Result<Vec<Write>, Error> {
        let parts = events.iter().filter_map(|event| stopped(event, run_id));
        let parts = parts.map(|(stage, id)| self.part(scope, What::Stopped(stage), &id));
        parts.filter_map(Result::transpose).collect()
    }

    /// The row that names a fan-out of the containment.
    pub(crate) fn fan_out_part(
        &self,
        scope: &ProjectScope,
        id: FanOutId,
    ) -> Result<Option<Write>, Error> {
        self.part(scope, What::FanOut(id), &id.to_string())
    }

    fn part(&self, scope: &ProjectScope, what: What, id: &str) -> Result<Option<Write>, Error> {
        let Some(containment) = self.containment else {
            return Ok(None);
        };
        let part = Part {
            what,
            expires_at: expiry(self.now(), self.run_days),
        };
        let key = keys::contained_part(scope.project(), containment, id);
        Ok(Some(Write::Put {
            table: Table::Ledger,
            item: to_item(&part, key).map_err(unwritten)?,
            // A pool that was resumed meanwhile is drained again, and counted once.
            only_if: Condition::AbsentOr("what", attribute(&what)?),
        }))
    }

    /// The row of a containment. It is in the due index until it has ended.
    fn containment_item(
        &self,
        scope: &ProjectScope,
        containment: &Containment,
        due: Option<Timestamp>,
    ) -> Result<Item, Error> {
        let id = containment.containment_id;
        let mut item = to_item(containment, keys::containment(scope, id)).map_err(unwritten)?;
        let is_open = containment.ended.is_none();
        item.insert(OPEN.to_owned(), AttributeValue::Bool(is_open));
        match due {
            Some(due) => {
                let shard = keys::due_shard(id.uuid().into_bytes());
                item.insert("due_shard".to_owned(), AttributeValue::S(shard));
                item.insert("due_at".to_owned(), n(due.millis()));
            }
            None => {
                item.insert(
                    "expires_at".to_owned(),
                    n(expiry(self.now(), self.run_days)),
                );
            }
        }
        Ok(item)
    }
}

/// The containment goes on, and is where it was read.
fn unmoved(read: &Position) -> Result<Condition, Error> {
    Ok(Condition::Is(vec![
        (OPEN, AttributeValue::Bool(true)),
        ("position", attribute(read)?),
    ]))
}

/// What an event of an entry, which is about this run, tells to be stopped.
fn stopped(event: &Event, run_id: Option<RunId>) -> Option<(Stage, String)> {
    match event {
        Event::SecretRevoked { revocation_id, .. } => {
            Some((Stage::Keys, revocation_id.to_string()))
        }
        Event::WorkerRevoked { worker_id } | Event::WorkerDrained { worker_id } => {
            Some((Stage::Workers, worker_id.to_string()))
        }
        Event::EnrolmentKeyRevoked { enrolment_key_id } => {
            Some((Stage::EnrolmentKeys, enrolment_key_id.to_string()))
        }
        Event::TokenRevoked { token_id } => Some((Stage::Tokens, token_id.to_string())),
        Event::RunCancelled {} | Event::RunAbortedByRevocation { .. } => {
            Some((Stage::Runs, run_id?.to_string()))
        }
        _ => None,
    }
}
