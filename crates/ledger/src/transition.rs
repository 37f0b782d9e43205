//! One transition of a run: read it, apply a pure rule, and write everything that changes in one
//! transaction or nothing.
//!
//! The transaction holds the run's document (on the condition that its version is still the one
//! read), the leases that the change takes or releases, and the audit entry. So no state change
//! exists without its audit row, and no secret is released without its record. If two transitions
//! read the same version, one is refused. It reads again and applies its rule to the new state.
//! Applying a rule twice is safe, because each rule names the fence that it acts on.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::run::{Change, Refusal, Run};
use sealfleet_domain::{ProjectScope, RunId, Timestamp};

use crate::error::Error;
use crate::keys;
use crate::leases;
use crate::ledger::Ledger;
use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Item, Table, Write, WriteError};

/// Attempts at a transition that other writers keep overtaking.
pub(crate) const TRIES: u32 = 10;

#[derive(Clone, Debug)]
pub struct Transitioned {
    /// The run as it is now stored.
    pub run: Run,
    /// What changed. Empty when the transition had already happened.
    pub change: Change,
}

/// The result of one attempt at a transition.
pub(crate) enum Attempt {
    Done(Box<Transitioned>),
    /// Another lease has taken the holder's slot.
    SlotTaken,
    /// Somebody else changed the same rows first.
    Overtaken,
}

/// A run as it was read, with the attributes that its row has beside the document.
pub(crate) struct Stored {
    pub run: Run,
    version: u64,
    due_at: Option<Timestamp>,
}

/// A transition that is ready to be stored.
pub(crate) struct Prepared {
    run: Run,
    change: Change,
    at: Timestamp,
}

impl Ledger {
    /// Applies `rule` to a run and stores what it changes.
    ///
    /// # Errors
    /// A refusal of the rule, [`Error::NotFound`], [`Error::Contended`], or the tables do not
    /// answer. In each case nothing was written.
    pub async fn transition(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        actor: &str,
        mut rule: impl FnMut(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
    ) -> Result<Transitioned, Error> {
        for attempt in 0..TRIES {
            match self
                .transition_once(scope, run_id, actor, &mut rule)
                .await?
            {
                Attempt::Done(done) => return Ok(*done),
                Attempt::SlotTaken | Attempt::Overtaken => self.back_off(attempt).await,
            }
        }
        Err(Error::Contended)
    }

    pub(crate) async fn transition_once(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        actor: &str,
        mut rule: impl FnMut(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
    ) -> Result<Attempt, Error> {
        let stored = self.stored_run(scope, run_id).await?;
        self.apply(scope, &stored, actor, &mut rule).await
    }

    /// Applies `rule` to a run as it was read, and stores what it changes.
    pub(crate) async fn apply(
        &self,
        scope: &ProjectScope,
        stored: &Stored,
        actor: &str,
        rule: impl FnOnce(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
    ) -> Result<Attempt, Error> {
        let (prepared, writes) = self.prepare(scope, stored, actor, rule)?;
        if writes.is_empty() {
            return Ok(Attempt::Done(Box::new(Transitioned {
                run: prepared.run,
                change: prepared.change,
            })));
        }
        let written = self.store.write(writes).await;
        self.settled(scope, prepared, written)
    }

    /// The result of a transition, from the result of its writes.
    pub(crate) fn settled(
        &self,
        scope: &ProjectScope,
        prepared: Prepared,
        written: Result<(), WriteError>,
    ) -> Result<Attempt, Error> {
        let Prepared { run, change, at } = prepared;
        match written {
            Ok(()) => {
                if let Some(watch) = &self.watch {
                    watch.stored(scope, &change.events, at);
                }
                Ok(Attempt::Done(Box::new(Transitioned { run, change })))
            }
            // The lease is the second write. The first did not fail, so the run is unchanged.
            Err(WriteError::Condition(failed)) if change.take.is_some() && failed == [1] => {
                Ok(Attempt::SlotTaken)
            }
            Err(WriteError::Condition(_) | WriteError::Busy) => Ok(Attempt::Overtaken),
            Err(WriteError::Unavailable(detail)) => Err(Error::Unavailable(detail)),
        }
    }

    /// Applies `rule` to a run as it was read. Returns what must be written: nothing if nothing
    /// changed.
    pub(crate) fn prepare(
        &self,
        scope: &ProjectScope,
        stored: &Stored,
        actor: &str,
        rule: impl FnOnce(&mut Run, Timestamp) -> Result<Change, Refusal>,
    ) -> Result<(Prepared, Vec<Write>), Error> {
        let now = self.now();
        let mut run = stored.run.clone();
        let change = rule(&mut run, now)?;
        if change.events.is_empty() && !change.quiet {
            return Ok((
                Prepared {
                    run,
                    change,
                    at: now,
                },
                Vec::new(),
            ));
        }
        let writes = self
            .writes(scope, stored, &run, &change, actor, now)
            .map_err(unwritten)?;
        Ok((
            Prepared {
                run,
                change,
                at: now,
            },
            writes,
        ))
    }

    /// Waits for a random time whose limit grows with `attempt` (full jitter).
    pub(crate) async fn back_off(&self, attempt: u32) {
        let most = 10_u64 << attempt.min(6);
        let chance = self.ids.secret().first().copied().map_or(0, u64::from);
        tokio::time::sleep(std::time::Duration::from_millis(most * chance / 255)).await;
    }

    pub(crate) async fn stored_run(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
    ) -> Result<Stored, Error> {
        let key = keys::run(scope, run_id);
        let item = self
            .store
            .get(Table::Ledger, &key)
            .await
            .map_err(Error::Unavailable)?
            .ok_or(Error::NotFound)?;
        read_run(item)
    }

    /// The writes of a transition's transaction.
    fn writes(
        &self,
        scope: &ProjectScope,
        stored: &Stored,
        run: &Run,
        change: &Change,
        actor: &str,
        now: Timestamp,
    ) -> Result<Vec<Write>, WriteError> {
        let version = AttributeValue::N(stored.version.to_string());
        let mut writes = vec![Write::Put {
            table: Table::Ledger,
            item: run_item(
                scope,
                run,
                stored.version.saturating_add(1),
                due_to_store(stored.due_at, run, now),
            )?,
            only_if: Condition::Is(vec![("v", version)]),
        }];
        if let Some(lease) = &change.take {
            writes.push(leases::take(scope, lease));
        }
        for lease in &change.release {
            writes.push(leases::release(scope, lease));
        }
        if !change.events.is_empty() {
            writes.push(self.audit_write(
                scope.project().as_str(),
                actor,
                Some(run.run_id),
                change.events.clone(),
                now,
            )?);
        }
        Ok(writes)
    }

    /// Writes an audit entry for events that change no row, such as a refusal.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn record(
        &self,
        scope: &ProjectScope,
        actor: &str,
        run_id: Option<RunId>,
        events: Vec<Event>,
    ) -> Result<(), Error> {
        let write = self
            .audit_write(scope.project().as_str(), actor, run_id, events, self.now())
            .map_err(unwritten)?;
        self.store.write(vec![write]).await.map_err(unwritten)
    }
}

/// The due time to store in the index.
///
/// If the indexed time is not later than necessary, it is left unchanged, because moving it costs
/// two more writes. `sweep` then visits the run too early, sees that nothing is due yet, and moves
/// the time. Most runs end before that.
fn due_to_store(stored: Option<Timestamp>, run: &Run, now: Timestamp) -> Option<Timestamp> {
    let next = run.due_at()?;
    match stored {
        Some(stored) if stored <= next && stored > now => Some(stored),
        _ => Some(next),
    }
}

pub(crate) fn run_item(
    scope: &ProjectScope,
    run: &Run,
    version: u64,
    due_at: Option<Timestamp>,
) -> Result<Item, WriteError> {
    let mut item = to_item(run, keys::run(scope, run.run_id))?;
    // The sort key contains it, and writing a row of more than 1 KB costs twice as much.
    item.remove("run_id");
    item.insert("v".to_owned(), AttributeValue::N(version.to_string()));
    item.insert(
        "state".to_owned(),
        AttributeValue::S(run.state().name().to_owned()),
    );
    if let Some(due_at) = due_at {
        item.insert(
            "due_shard".to_owned(),
            AttributeValue::S(keys::due_shard(run.run_id.uuid().into_bytes())),
        );
        item.insert(
            "due_at".to_owned(),
            AttributeValue::N(due_at.millis().to_string()),
        );
    }
    Ok(item)
}

pub(crate) fn read_run(mut item: Item) -> Result<Stored, Error> {
    let number = |item: &Item, name: &str| {
        item.get(name)
            .and_then(|value| value.as_n().ok())
            .and_then(|text| text.parse::<i64>().ok())
    };
    let version = number(&item, "v").and_then(|version| u64::try_from(version).ok());
    let due_at = number(&item, "due_at").map(Timestamp::from_millis);
    if let Some(sk) = item.get("sk").cloned() {
        item.insert("run_id".to_owned(), sk);
    }
    let run = from_item(item)?;
    let version = version.ok_or_else(|| Error::Unreadable("a run without a version".to_owned()))?;
    Ok(Stored {
        run,
        version,
        due_at,
    })
}
