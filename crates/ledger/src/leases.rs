//! Leases: one row for each live claim, in a numbered slot of its holder.
//!
//! A claim takes its row before it writes its run, and the end of a claim deletes it afterwards. So
//! a hold never exists without its lease, and whoever reads all leases finds all holds. A lease
//! whose claim never came, or whose end was interrupted, has no hold: it releases nothing, and its
//! slot may be taken over once it has run out.
//!
//! A taken slot refuses a second lease. This enforces `max_concurrent` under any race, without a
//! counter that all claims of a worker would contend for. Heartbeats change `until` on this row
//! only, so they never conflict with the run's own transitions. They read the run: it alone says
//! whether the claim is still held.
//!
//! A step that only busy workers can run leaves word with their leases. The end of a claim reads it
//! in the write that deletes the lease, so no word is lost between the two.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use sealfleet_domain::run::{Fence, Lease, LeaseKey};
use sealfleet_domain::{ProjectScope, RunId, StepId, Timestamp, WorkerId};
use serde::Deserialize;

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{from_item, n, row};
use crate::run_rows::RunRow;
use crate::store::{Condition, Edit, Item, Key, Query, Range, Table, Test, Write};

/// The attribute that says whether a lease's step sees an identity.
pub(crate) const IDENTITY: &str = "identity";
/// The attribute with the steps that wait for the holder.
const HINTS_LEFT: &str = "hints";
/// Hints that a lease carries at most: about a kilobyte.
pub const HINTS: usize = 16;
/// Tries to free a lease that others leave hints with.
const RELEASES: usize = HINTS + 1;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LeaseRow {
    step: String,
    pub fence: Fence,
    /// End of the lease, in milliseconds since the Unix epoch.
    until: i64,
    /// Whether the step sees an identity.
    #[serde(default)]
    identity: bool,
    /// Steps that wait for the holder.
    #[serde(default)]
    hints: Vec<String>,
    /// The minute of the newest identity token, since the Unix epoch.
    #[serde(default)]
    token_minute: Option<i64>,
    /// How many identity tokens that minute has had.
    #[serde(default)]
    tokens: u32,
}

/// A lease in its holder's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLease {
    pub run_id: RunId,
    pub step_id: StepId,
    pub fence: Fence,
    /// Number of the holder's slot.
    pub slot: u32,
    /// End of the lease.
    pub until: Timestamp,
    /// Whether the step sees an identity.
    pub identity: bool,
    /// Steps that wait for the holder, as `run/step`.
    hints: Vec<String>,
}

impl HeldLease {
    /// Its address.
    #[must_use]
    pub fn key(&self, holder: WorkerId) -> LeaseKey {
        LeaseKey {
            holder,
            slot: self.slot,
            fence: self.fence,
            run_id: self.run_id,
            step_id: self.step_id.clone(),
        }
    }
}

impl LeaseRow {
    /// End of the lease.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.until)
    }

    /// The minute of the newest identity token, and how many it has had.
    pub(crate) const fn tokens(&self) -> (Option<i64>, u32) {
        (self.token_minute, self.tokens)
    }

    /// The run and step that it is for.
    pub(crate) fn of(&self) -> Result<(RunId, StepId), Error> {
        step_of(&self.step).ok_or_else(|| Error::Unreadable("a lease without a step".to_owned()))
    }
}

impl Ledger {
    /// The leases that a worker holds.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn leases_of(
        &self,
        scope: &ProjectScope,
        holder: WorkerId,
    ) -> Result<Vec<HeldLease>, Error> {
        let query = Query {
            table: Table::Ledger,
            pk: keys::leases(scope, holder),
            range: Range::Prefix(keys::leases_of(holder)),
            backwards: false,
            limit: 1000,
            consistent: true,
            only: None,
        };
        let mut held = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let rows = self.store.query(&query, after.as_deref()).await?;
            for item in rows.items {
                let slot = item
                    .get("sk")
                    .and_then(|sk| sk.as_s().ok())
                    .and_then(|sk| sk.rsplit('#').next())
                    .and_then(|slot| slot.parse().ok())
                    .ok_or_else(|| Error::Unreadable("a lease without a slot".to_owned()))?;
                let row: LeaseRow = from_item(item)?;
                let (run_id, step_id) = row.of()?;
                let (until, identity) = (row.until(), row.identity);
                held.push(HeldLease {
                    run_id,
                    step_id,
                    fence: row.fence,
                    slot,
                    until,
                    identity,
                    hints: row.hints,
                });
            }
            after = rows.more_after;
            if after.is_none() {
                return Ok(held);
            }
        }
    }

    /// The stored lease of a claim, if it exists and has the claim's fence.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn lease(
        &self,
        scope: &ProjectScope,
        holder: WorkerId,
        slot: u32,
        fence: Fence,
    ) -> Result<Option<LeaseRow>, Error> {
        let key = keys::lease(scope, holder, slot);
        let item = self.row(&key).await?;
        let row: Option<LeaseRow> = item.map(from_item).transpose()?;
        Ok(row.filter(|row| row.fence == fence))
    }

    /// What a worker holds of a run, and which of its claims a caller ended, as the run's row says
    /// it.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn holds_of(
        &self,
        scope: &ProjectScope,
        holder: WorkerId,
        run_id: RunId,
    ) -> Result<OfHolder, Error> {
        let key = keys::run(scope, run_id);
        let Some(row) = self.row(&key).await? else {
            return Ok(OfHolder::default());
        };
        let run = RunRow::of_image(&row)?;
        Ok(OfHolder {
            holds: run.holds_of(holder),
            delivering: run.delivering_of(holder),
            cancelled: run.cancelled_of(holder),
        })
    }

    /// Extends a lease to `until`. `false` when the claim has no lease any more; then nothing
    /// changed.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn renew(
        &self,
        scope: &ProjectScope,
        lease: &LeaseKey,
        until: Timestamp,
    ) -> Result<bool, Error> {
        let renewal = Write::Update {
            key: keys::lease(scope, lease.holder, lease.slot),
            edits: vec![("until".to_owned(), Edit::Set(n(until.millis())))],
            only_if: Condition::Is(of_claim(lease)),
        };
        self.write_if(vec![renewal]).await
    }

    /// Leaves word of a waiting step with a lease. Whoever ends the lease is told of it, and can
    /// claim the step at once. `false`: the lease is gone, or somebody else has changed it.
    ///
    /// A lease carries [`HINTS`] hints at most; the step of one that finds no room waits for
    /// `sweep`.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn leave_hint(
        &self,
        scope: &ProjectScope,
        holder: WorkerId,
        lease: &HeldLease,
        (run_id, step_id): (RunId, &StepId),
    ) -> Result<bool, Error> {
        let hint = keys::lease_step(run_id, step_id);
        if lease.hints.contains(&hint) || lease.hints.len() >= HINTS {
            return Ok(true);
        }
        let list = |hints: &[String]| {
            let hints = hints.iter().cloned().map(AttributeValue::S);
            AttributeValue::L(hints.collect())
        };
        let known = (!lease.hints.is_empty()).then(|| list(&lease.hints));
        let mut hints = lease.hints.clone();
        hints.push(hint);
        let left = Write::Update {
            key: keys::lease(scope, holder, lease.slot),
            edits: vec![(HINTS_LEFT.to_owned(), Edit::Set(list(&hints)))],
            only_if: with_hints(&lease.key(holder), known),
        };
        self.write_if(vec![left]).await
    }

    /// Frees the slots of claims that have ended. Answers the steps that wait for their holders. A
    /// lease that stays is without a hold, and its slot is taken over later.
    pub(crate) async fn release(
        &self,
        scope: &ProjectScope,
        ended: &[LeaseKey],
    ) -> Vec<(RunId, StepId)> {
        let each = ended.iter().map(|lease| self.release_one(scope, lease));
        let mut waiting = Vec::new();
        for released in join_all(each).await {
            match released {
                Ok(hints) => waiting.extend(hints),
                Err(error) => {
                    tracing::warn!(%error, "a lease was not freed; its slot is taken over later");
                }
            }
        }
        waiting
    }

    async fn release_one(
        &self,
        scope: &ProjectScope,
        lease: &LeaseKey,
    ) -> Result<Vec<(RunId, StepId)>, Error> {
        let key = keys::lease(scope, lease.holder, lease.slot);
        let mut known = None;
        let mut hints = Vec::new();
        for _ in 0..RELEASES {
            let delete = Write::Delete {
                key: key.clone(),
                only_if: with_hints(lease, known),
            };
            if self.write_if(vec![delete]).await? {
                return Ok(hints);
            }
            // Hints were left with it, or it is gone.
            let Some(item) = self.row(&key).await? else {
                return Ok(hints);
            };
            known = item.get(HINTS_LEFT).cloned();
            let row: LeaseRow = from_item(item)?;
            let is_own = row.fence == lease.fence
                && row.step == keys::lease_step(lease.run_id, &lease.step_id);
            if known.is_none() || !is_own {
                return Ok(hints);
            }
            hints = row.hints.iter().filter_map(|hint| step_of(hint)).collect();
        }
        Err(Error::Contended)
    }
}

/// The step that a lease or a hint names.
fn step_of(text: &str) -> Option<(RunId, StepId)> {
    let (run, step) = text.split_once('/')?;
    Some((run.parse().ok()?, step.parse().ok()?))
}

/// The claims of a worker at one run.
#[derive(Debug, Default)]
pub struct OfHolder {
    /// Those that it holds.
    pub holds: Vec<LeaseKey>,
    /// Those of them whose egress proxy may deliver secrets.
    pub delivering: Vec<(RunId, StepId, Fence)>,
    /// Those that a caller ended.
    pub cancelled: Vec<(RunId, StepId, Fence)>,
}

/// The write that takes a free slot for a claim.
pub(crate) fn take(scope: &ProjectScope, lease: &Lease) -> Write {
    put(scope, lease, Condition::Absent)
}

/// The write that frees a slot whose lease has run out and has no hold. Nobody must have changed
/// the lease since it was read.
pub(crate) fn reclaim(scope: &ProjectScope, holder: WorkerId, lease: &HeldLease) -> Write {
    let mut as_read = of_claim(&lease.key(holder));
    as_read.push(("until", n(lease.until.millis())));
    Write::Delete {
        key: keys::lease(scope, holder, lease.slot),
        only_if: Condition::Is(as_read),
    }
}

/// The write that gives the lease of a repeated claim its new fence. A later repetition may have
/// done so already, or the hold may be gone.
pub(crate) fn renumber(scope: &ProjectScope, lease: &Lease) -> Write {
    let step = keys::lease_step(lease.run_id, &lease.step_id);
    let fence = i64::try_from(lease.fence.number()).unwrap_or(i64::MAX);
    let older = Condition::All(vec![
        ("step".to_owned(), Test::Is(AttributeValue::S(step))),
        ("fence".to_owned(), Test::AtMost(fence.saturating_sub(1))),
    ]);
    put(scope, lease, older)
}

fn put(scope: &ProjectScope, lease: &Lease, only_if: Condition) -> Write {
    let step = keys::lease_step(lease.run_id, &lease.step_id);
    let key = keys::lease(scope, lease.holder, lease.slot);
    Write::Put {
        table: Table::Ledger,
        item: lease_item(key, &step, lease),
        only_if,
    }
}

/// The write that frees a slot whose claim did not come about. Nobody must have taken it over:
/// whoever does puts a later `until`.
pub(crate) fn give_back(scope: &ProjectScope, lease: &Lease) -> Write {
    let mut own = of_claim(&lease.key());
    own.push(("until", n(lease.until.millis())));
    Write::Delete {
        key: keys::lease(scope, lease.holder, lease.slot),
        only_if: Condition::Is(own),
    }
}

/// The write that frees the slot of a hold that is taken from its holder. A claim that was repeated
/// may not have renumbered its lease yet.
pub(crate) fn take_back(scope: &ProjectScope, lease: &LeaseKey) -> Write {
    let step = keys::lease_step(lease.run_id, &lease.step_id);
    Write::Delete {
        key: keys::lease(scope, lease.holder, lease.slot),
        only_if: Condition::AbsentOr("step", AttributeValue::S(step)),
    }
}

/// The lease is that of the claim, with this list of hints or with none.
fn with_hints(lease: &LeaseKey, hints: Option<AttributeValue>) -> Condition {
    let mut tests = is_of_claim(lease);
    let hints = hints.map_or(Test::Missing, Test::Is);
    tests.push((HINTS_LEFT.to_owned(), hints));
    Condition::All(tests)
}

/// The lease is that of the claim, and has had as many identity tokens as were read.
pub(crate) fn with_tokens(lease: &LeaseKey, read: &LeaseRow) -> Vec<(String, Test)> {
    let mut tests = is_of_claim(lease);
    match read.tokens() {
        (Some(minute), count) => tests.extend([
            ("token_minute".to_owned(), Test::Is(n(minute))),
            ("tokens".to_owned(), Test::Is(n(count))),
        ]),
        (None, _) => tests.push(("token_minute".to_owned(), Test::Missing)),
    }
    tests
}

fn is_of_claim(lease: &LeaseKey) -> Vec<(String, Test)> {
    let own = of_claim(lease).into_iter();
    own.map(|(name, value)| (name.to_owned(), Test::Is(value)))
        .collect()
}

fn of_claim(lease: &LeaseKey) -> Vec<(&'static str, AttributeValue)> {
    let step = keys::lease_step(lease.run_id, &lease.step_id);
    vec![("step", AttributeValue::S(step)), ("fence", n(lease.fence))]
}

fn lease_item(key: Key, step: &str, lease: &Lease) -> Item {
    let attributes = [
        ("step", AttributeValue::S(step.to_owned())),
        ("fence", n(lease.fence)),
        ("until", n(lease.until.millis())),
        (IDENTITY, AttributeValue::Bool(lease.identity)),
    ];
    row(key, attributes)
}
