//! One transition of a run: read it, apply a pure rule, and write what changes, or nothing.
//!
//! One conditional write changes the steps, and appends the audit entry to the same row
//! (`run_rows`, `entries`). So no state changes without its entry, and no secret is released
//! without its record. A write that was overtaken changes nothing: the run is read again, and the
//! rule is applied to its new state. Applying a rule twice is safe, because each rule names the
//! fence that it acts on.
//!
//! Leases are rows of their own. A claim takes its lease before it writes the run, and an end frees
//! the lease after it. So a hold never exists without its lease. A process that dies in between
//! leaves a lease without a hold: it blocks a slot of its worker until it has run out (`claim`).
//! Only a hold that is taken from its holder loses its lease in the same transaction: the holder
//! may be at work, and its next heartbeat must not find the lease.
//!
//! Copies of the approvals that steps wait for are written in the same transaction (`approvals`).
//!
//! What an attempt has used is counted by the transition that ends its hold, whatever rule that is,
//! and added to the sums of its project in the same transaction (`usage`).

use futures_util::{StreamExt as _, stream};
use sealfleet_domain::audit::Event;
use sealfleet_domain::run::{Change, Lease, Refusal, Run};
use sealfleet_domain::usage;
use sealfleet_domain::{EventId, ProjectScope, RunId, StepId, Timestamp};

use crate::approvals;
use crate::entries::{self, Known};
use crate::error::Error;
use crate::identities::Hashes;
use crate::keys;
use crate::leases;
use crate::ledger::{Ledger, expiry};
use crate::rows::unwritten;
use crate::run_rows::{self, Changing, MOVE_BYTES, Raw, RunRow};
use crate::store::{Consistency, Item as Row, Write, WriteError};

/// Attempts at a transition that other writers keep overtaking.
pub(crate) const TRIES: u32 = 12;
/// Leases that are freed at once.
const FREED_AT_ONCE: usize = 16;
/// Actions of one transaction at most ("Amazon DynamoDB Transactions: How it works").
const TRANSACTION: usize = 100;

#[derive(Clone, Debug)]
pub struct Transitioned {
    /// The run as it is now stored.
    pub run: Run,
    /// What changed. Empty when the transition had already happened.
    pub change: Change,
    /// Steps that wait for whoever held what ended here.
    pub waiting: Vec<(RunId, StepId)>,
    /// The row as this transition has left it.
    raw: Raw,
}

/// The result of one attempt at a transition.
pub(crate) enum Attempt {
    Done(Box<Transitioned>),
    /// Nothing was written, and the run may have been read as it was before. It must be decided
    /// again by a strong read.
    Stale,
    /// Somebody else changed the same steps first.
    Overtaken,
}

/// A run as it was read, with what the write of a transition compares with.
#[derive(Clone, Debug)]
pub struct StoredRun {
    pub(crate) run: Run,
    raw: Raw,
    /// Whether it may miss the newest writes.
    pub(crate) is_stale: bool,
}

impl Ledger {
    /// Applies `rule` to a run and stores what it changes.
    ///
    /// # Errors
    /// A refusal of the rule, [`Error::NotFound`], [`Error::Contended`], or the tables do not
    /// answer. In each case the run is as it was.
    pub async fn transition(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        actor: &str,
        rule: impl FnMut(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
    ) -> Result<Transitioned, Error> {
        let stored = self.glimpsed_run(scope, run_id).await?;
        self.transition_of(scope, stored, actor, rule).await
    }

    /// The same for a run that has been read already, however long ago.
    ///
    /// # Errors
    /// As [`Ledger::transition`].
    pub async fn transition_of(
        &self,
        scope: &ProjectScope,
        mut stored: StoredRun,
        actor: &str,
        mut rule: impl FnMut(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
    ) -> Result<Transitioned, Error> {
        let run_id = stored.run.run_id;
        stored.is_stale = true;
        for attempt in 0..TRIES {
            match self.apply(scope, &stored, actor, &mut rule).await? {
                Attempt::Done(done) => return Ok(*done),
                Attempt::Stale => {}
                Attempt::Overtaken => self.back_off(attempt).await,
            }
            stored = self.stored_run(scope, run_id).await?;
        }
        Err(Error::Contended)
    }

    /// Applies `rule` to a run as it was read, and stores what it changes.
    pub(crate) async fn apply(
        &self,
        scope: &ProjectScope,
        stored: &StoredRun,
        actor: &str,
        rule: impl FnOnce(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
    ) -> Result<Attempt, Error> {
        self.apply_beside(scope, stored, actor, Vec::new(), rule)
            .await
    }

    /// The same, in one transaction with the writes `beside`.
    pub(crate) async fn apply_beside(
        &self,
        scope: &ProjectScope,
        stored: &StoredRun,
        actor: &str,
        beside: Vec<Write>,
        rule: impl FnOnce(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
    ) -> Result<Attempt, Error> {
        let now = self.now();
        let mut run = stored.run.clone();
        let change = match rule(&mut run, now) {
            Err(_) if stored.is_stale => return Ok(Attempt::Stale),
            decided => decided?,
        };
        let measured = change.measured.as_ref();
        usage::count(&stored.run, &mut run, measured, &self.prices, now);
        let used = usage::added(&stored.run, &run);
        if !stored.is_changed(&run, &change) {
            if stored.is_stale {
                return Ok(Attempt::Stale);
            }
            return Ok(Attempt::Done(Box::new(Transitioned {
                run,
                change,
                waiting: Vec::new(),
                raw: stored.raw.clone(),
            })));
        }
        if stored.raw.entry_bytes > MOVE_BYTES {
            self.move_entries(scope, stored).await?;
            return Ok(Attempt::Overtaken);
        }
        let known = (&stored.run, &stored.raw.hashes);
        let hashes = self.keep_identities(scope, known, &run).await?;
        let write = self.run_write(scope, stored, (&run, &hashes), &change, actor, now);
        let write = write.map_err(unwritten)?;
        let raw = stored.raw.after(&write, hashes);
        let mut writes = vec![write];
        let kept_until = expiry(now, self.run_days);
        let approvals = approvals::of_steps(scope, Some(&stored.run), &run, kept_until);
        writes.extend(approvals.map_err(unwritten)?);
        writes.extend(self.used_writes(scope, &run, &used, now));
        writes.extend(self.parts(scope, Some(run.run_id), &change.events)?);
        writes.extend(beside);
        let back = change.take_back.iter();
        let mut back: Vec<Write> = back.map(|lease| leases::take_back(scope, lease)).collect();
        // A transaction has no room for more: those are freed after it.
        let room = TRANSACTION.saturating_sub(writes.len());
        let rest = back.split_off(back.len().min(room));
        writes.extend(back);
        match self.store.write(writes).await {
            Ok(()) => {}
            Err(WriteError::Condition(_) | WriteError::Busy) => return Ok(Attempt::Overtaken),
            Err(error) => return Err(unwritten(error)),
        }
        if let Some(watch) = &self.watch {
            watch.stored(scope, &change.events, now);
            if !used.is_empty() {
                watch.used(scope, &used, now);
            }
        }
        // A claim that is repeated has its lease: only the fence in it changes.
        if let Some(lease) = change.take.as_ref().filter(|lease| stored.holds(lease)) {
            self.write_if(vec![leases::renumber(scope, lease)]).await?;
        }
        let waiting = self.release(scope, &change.release).await;
        self.free(rest).await;
        Ok(Attempt::Done(Box::new(Transitioned {
            run,
            change,
            waiting,
            raw,
        })))
    }

    /// The write that changes the run's row.
    fn run_write(
        &self,
        scope: &ProjectScope,
        stored: &StoredRun,
        (run, hashes): (&Run, &Hashes),
        change: &Change,
        actor: &str,
        now: Timestamp,
    ) -> Result<Write, WriteError> {
        let known = Known {
            before: Some((&stored.run, &stored.raw.hashes)),
            after: (run, hashes),
        };
        let entry = if change.events.is_empty() {
            None
        } else {
            let event_id = EventId::new(self.ids.as_ref(), now);
            let events = change.events.clone();
            let by = (actor, self.containment);
            Some(entries::element(event_id, by, events, &known)?)
        };
        let changing = Changing {
            scope,
            before: &stored.run,
            after: run,
            raw: &stored.raw,
            hashes,
            visit: change.quiet.then_some(now),
            entry,
            expires_at: expiry(now, self.run_days),
        };
        changing.write()
    }

    /// Frees the slot of a claim that did not come about.
    pub(crate) async fn give_back(&self, scope: &ProjectScope, lease: Option<&Lease>) {
        let own = lease.map(|lease| leases::give_back(scope, lease));
        self.free(own.into_iter().collect()).await;
    }

    /// Frees slots. A lease that stays is without a hold, and its slot is taken over later.
    async fn free(&self, deletes: Vec<Write>) {
        let deletes = stream::iter(deletes);
        let each = deletes.for_each_concurrent(FREED_AT_ONCE, |delete| async move {
            let freed = self.store.write(vec![delete]).await;
            // Without its condition, the lease is gone already.
            if let Err(error) = freed
                && !matches!(error, WriteError::Condition(_))
            {
                tracing::warn!(
                    ?error,
                    "a lease was not freed; its slot is taken over later"
                );
            }
        });
        each.await;
    }

    /// Moves a row's entries to a row of their own. Somebody else may be faster.
    async fn move_entries(&self, scope: &ProjectScope, stored: &StoredRun) -> Result<(), Error> {
        let writes = run_rows::move_entries(scope, stored.run.run_id, &stored.raw);
        match self.write_if(writes).await {
            Ok(_) | Err(Error::Contended) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits for a random time whose limit grows with `attempt` (full jitter).
    pub(crate) async fn back_off(&self, attempt: u32) {
        let most = 10_u64 << attempt.min(6);
        let millis = most * u64::from(self.chance()) / u64::from(u32::MAX);
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
    }

    /// A random number.
    #[must_use]
    pub fn chance(&self) -> u32 {
        let secret = self.ids.secret();
        let four = secret.iter().take(4);
        four.fold(0, |sum, byte| (sum << 8) | u32::from(*byte))
    }

    /// Reads a run as it is now.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn stored_run(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
    ) -> Result<StoredRun, Error> {
        let key = keys::run(scope, run_id);
        let item = self.row(&key).await?.ok_or(Error::NotFound)?;
        self.read_run(scope, &item).await
    }

    /// Reads a run at half the price, perhaps without the newest writes to it. That is good enough
    /// to write by, because the write's conditions hold only if what the rule used is still true.
    /// What is refused, or needs no write, is decided again by a strong read.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn glimpsed_run(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
    ) -> Result<StoredRun, Error> {
        let key = keys::run(scope, run_id);
        let Some(item) = self.row_as(&key, Consistency::Eventual).await? else {
            return self.stored_run(scope, run_id).await;
        };
        let stored = self.read_run(scope, &item).await?;
        Ok(StoredRun {
            is_stale: true,
            ..stored
        })
    }

    /// Reads a run from its row, with the identities that it names.
    pub(crate) async fn read_run(
        &self,
        scope: &ProjectScope,
        item: &Row,
    ) -> Result<StoredRun, Error> {
        let mut row = RunRow::of_image(item)?;
        let identities = self.load_identities(scope, row.names()).await?;
        let raw = std::mem::take(&mut row.raw);
        let run = row.run(&identities)?;
        Ok(StoredRun {
            run,
            raw,
            is_stale: false,
        })
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

impl Transitioned {
    /// The run for one more transition, without another read. Whoever has written it since is found
    /// out by that one's conditions.
    pub(crate) fn stored(self) -> StoredRun {
        StoredRun {
            run: self.run,
            raw: self.raw,
            is_stale: true,
        }
    }
}

impl StoredRun {
    #[must_use]
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// Whether there is anything to write.
    fn is_changed(&self, run: &Run, change: &Change) -> bool {
        let due = run.due_at();
        !change.events.is_empty() || (change.quiet && (*run != self.run || due != self.raw.due_at))
    }

    /// Whether the step is held in the slot of this lease.
    pub(crate) fn holds(&self, lease: &Lease) -> bool {
        let step = self.run.steps.get(&lease.step_id);
        step.and_then(|step| step.state.hold())
            .is_some_and(|hold| hold.holder == lease.holder && hold.slot == lease.slot)
    }
}
