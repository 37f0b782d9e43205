//! Fan-outs: abort all runs in flight that hold a revoked key, even when interrupted.
//!
//! No run is missed. The revocation rows are written before the first lease is read, and leases are
//! read consistently, partition by partition. A lease that is written after its partition was read
//! belongs to a claim that reads the revocations afterwards and ends itself.
//!
//! An interruption loses nothing. A position is stored only when everything before it is done, so
//! continuing from it skips nothing. A page that is read twice finds its runs ended. Each abort
//! writes a row for the count in its own transaction, so the counts are exact no matter which
//! process stopped when.
//!
//! A revocation that was lifted in the meantime aborts nothing more:
//! `docs/reference/intent-then-check.md`.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::revocation::{AbortedRun, FanOut, Finished, Place, Revocation};
use sealfleet_domain::run::{Executor, Run, Step};
use sealfleet_domain::{FanOutId, Owner, ProjectScope, RunId, Timestamp};

use crate::error::Error;
use crate::keys;
use crate::leases;
use crate::ledger::Ledger;
use crate::rows::{from_item, to_item, unwritten};
use crate::runs::Page;
use crate::store::{Condition, Item, Query, Range, Table, Write, WriteError};
use crate::transition::{Attempt, Transitioned};

/// Leases of one page.
const PAGE: usize = 100;
/// The attribute that marks a fan-out as unfinished.
const OPEN: &str = "open";

impl Ledger {
    /// The first position to read, if there is anything to read.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn first_place(&self, owner: &Owner) -> Result<Option<Place>, Error> {
        match owner {
            Owner::Project(scope) => Ok(Some(Place {
                project: scope.project().clone(),
                shard: 0,
                after: None,
            })),
            Owner::System => self.project_after(None).await,
        }
    }

    /// The start of the partition after the one of `place`.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn place_after(&self, owner: &Owner, place: &Place) -> Result<Option<Place>, Error> {
        let shard = place.shard.saturating_add(1);
        if shard < keys::SHARDS {
            return Ok(Some(Place {
                project: place.project.clone(),
                shard,
                after: None,
            }));
        }
        match owner {
            Owner::Project(_) => Ok(None),
            Owner::System => self.project_after(Some(place.project.as_str())).await,
        }
    }

    async fn project_after(&self, after: Option<&str>) -> Result<Option<Place>, Error> {
        let page = self.projects(after, 1).await?;
        Ok(page.items.into_iter().next().map(|project| Place {
            project,
            shard: 0,
            after: None,
        }))
    }

    /// A page of the runs in flight at `place` that hold an identity, each run once.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn in_flight(
        &self,
        place: &Place,
        after: Option<&str>,
    ) -> Result<Page<(ProjectScope, RunId)>, Error> {
        let scope = ProjectScope::of_stored_row(place.project.clone());
        let query = Query {
            table: Table::Ledger,
            pk: keys::leases_shard(&scope, place.shard),
            range: Range::All,
            backwards: false,
            limit: PAGE,
            consistent: true,
            only: Some((leases::IDENTITY, AttributeValue::Bool(true))),
        };
        let rows = self
            .store
            .query(&query, after)
            .await
            .map_err(Error::Unavailable)?;
        let mut runs = Vec::new();
        for item in rows.items {
            let (run_id, _) = from_item::<leases::LeaseRow>(item)?.of()?;
            if !runs.iter().any(|(_, seen)| *seen == run_id) {
                runs.push((scope.clone(), run_id));
            }
        }
        Ok(Page {
            items: runs,
            more_after: rows.more_after,
        })
    }

    /// Aborts a run if it holds a key of the fan-out. `None` when it does not, or not any more.
    ///
    /// # Errors
    /// When the tables do not answer, or other writers keep changing the run.
    pub async fn abort_revoked(
        &self,
        owner: &Owner,
        fan_out: &FanOut,
        scope: &ProjectScope,
        run_id: RunId,
    ) -> Result<Option<Transitioned>, Error> {
        let actor = format!("revocation:{}", fan_out.fan_out_id);
        for attempt in 0..10 {
            let stored = match self.stored_run(scope, run_id).await {
                Err(Error::NotFound) => return Ok(None),
                other => other?,
            };
            if stored.run.revoked_in_flight(&fan_out.revocations).is_none() {
                return Ok(None);
            }
            // Read the revocations after the run, whose version the abort checks. So a claim made
            // after a lift is left alone.
            let rows = self.active_revocations(owner).await?;
            let is_active = |own: &&Revocation| {
                rows.iter()
                    .any(|row| row.revocation_id == own.revocation_id)
            };
            let active: Vec<Revocation> = fan_out
                .revocations
                .iter()
                .filter(is_active)
                .cloned()
                .collect();
            let Some(revoked) = stored.run.revoked_in_flight(&active) else {
                return Ok(None);
            };
            let record =
                aborted_item(owner, fan_out.fan_out_id, scope, &stored.run).map_err(unwritten)?;
            let rule = |run: &mut Run, now| {
                run.abort_revoked(revoked.clone(), Some(fan_out.fan_out_id), now)
            };
            let beside = vec![Write::Put {
                table: Table::Ledger,
                item: record,
                only_if: Condition::Absent,
            }];
            let ended = self.apply_beside(scope, &stored, &actor, beside, rule);
            match ended.await? {
                Attempt::Done(done) => return Ok(Some(*done)),
                Attempt::SlotTaken | Attempt::Overtaken => self.back_off(attempt).await,
            }
        }
        Err(Error::Contended)
    }

    /// Reads a fan-out.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn fan_out(&self, owner: &Owner, id: FanOutId) -> Result<FanOut, Error> {
        let key = keys::fan_out(owner, id);
        let item = self
            .store
            .get(Table::Ledger, &key)
            .await
            .map_err(Error::Unavailable)?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// Stores the fan-out's progress, and when `sweep` may take over. `false` when somebody else
    /// has finished it.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn save_fan_out(
        &self,
        owner: &Owner,
        fan_out: &FanOut,
        due: Timestamp,
    ) -> Result<bool, Error> {
        let item = fan_out_item(owner, fan_out, Some(due)).map_err(unwritten)?;
        self.replace_fan_out(vec![Write::Put {
            table: Table::Ledger,
            item,
            only_if: open(),
        }])
        .await
    }

    /// Finishes a fan-out once and stores its counts. `false` when somebody else has finished it.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn finish_fan_out(
        &self,
        owner: &Owner,
        fan_out: &FanOut,
        finished: &Finished,
    ) -> Result<bool, Error> {
        let done = FanOut {
            next: None,
            finished: Some(finished.clone()),
            ..fan_out.clone()
        };
        let event = Event::FanOutFinished {
            fan_out_id: fan_out.fan_out_id,
            revocations: fan_out
                .revocations
                .iter()
                .map(|revocation| revocation.revocation_id)
                .collect(),
            counts: finished.counts,
        };
        let item = fan_out_item(owner, &done, None).map_err(unwritten)?;
        let actor = format!("revocation:{}", fan_out.fan_out_id);
        self.replace_fan_out(vec![
            Write::Put {
                table: Table::Ledger,
                item,
                only_if: open(),
            },
            self.audit_write(owner.trail(), &actor, None, vec![event], finished.at)
                .map_err(unwritten)?,
        ])
        .await
    }

    async fn replace_fan_out(&self, writes: Vec<Write>) -> Result<bool, Error> {
        match self.store.write(writes).await {
            Ok(()) => Ok(true),
            Err(WriteError::Condition(_)) => Ok(false),
            Err(error) => Err(unwritten(error)),
        }
    }

    /// A page of the runs that a fan-out has aborted.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn aborted_runs(
        &self,
        owner: &Owner,
        id: FanOutId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<AbortedRun>, Error> {
        self.page(keys::fan_out_runs(owner, id), after, limit).await
    }
}

fn open() -> Condition {
    Condition::Is(vec![(OPEN, AttributeValue::Bool(true))])
}

/// The row of a fan-out. It is in the due index while the fan-out is unfinished.
pub(crate) fn fan_out_item(
    owner: &Owner,
    fan_out: &FanOut,
    due: Option<Timestamp>,
) -> Result<Item, WriteError> {
    let mut item = to_item(fan_out, keys::fan_out(owner, fan_out.fan_out_id))?;
    item.insert(
        OPEN.to_owned(),
        AttributeValue::Bool(fan_out.finished.is_none()),
    );
    if let Some(due) = due {
        let shard = keys::due_shard(fan_out.fan_out_id.uuid().into_bytes());
        item.insert("due_shard".to_owned(), AttributeValue::S(shard));
        item.insert(
            "due_at".to_owned(),
            AttributeValue::N(due.millis().to_string()),
        );
    }
    Ok(item)
}

/// The row that an abort adds to the fan-out's count: the sandboxes that the run had at that time.
fn aborted_item(
    owner: &Owner,
    id: FanOutId,
    scope: &ProjectScope,
    run: &Run,
) -> Result<Item, WriteError> {
    let sandboxes = |executor| {
        let held = |step: &&Step| {
            step.state
                .hold()
                .is_some_and(|hold| hold.executor == executor)
        };
        u32::try_from(run.steps.values().filter(held).count()).unwrap_or(u32::MAX)
    };
    let row = AbortedRun {
        project: scope.project().clone(),
        run_id: run.run_id,
        tasks: sandboxes(Executor::Host),
        workers: sandboxes(Executor::Worker),
    };
    to_item(&row, keys::fan_out_run(owner, id, run.run_id))
}
