//! Fan-outs: abort all runs in flight that hold a revoked key, even when interrupted.
//!
//! No run is missed. The revocation rows are written before the first lease is read, and leases are
//! read consistently, partition by partition. A lease that is written after its partition was read
//! belongs to a claim that reads the revocations afterwards and ends itself.
//!
//! Steps that wait for approval have no lease, and release nothing. They are found by their rows
//! in the inbox, so that nobody is asked to approve what could not start. One that begins to wait
//! after the inbox was read is ended when somebody approves it.
//!
//! **Several workers** may share a fan-out. It has one position for each partition of leases, its
//! [`Lane`]. A position is moved only from the one that was read, and only when everything before
//! the new one is done. A worker that was overtaken goes on from where the other stands. The
//! fan-out is finished once a worker knows the end of every lane: it got there by itself, or found
//! it stored.
//!
//! An interruption loses nothing. Continuing from a position skips nothing. A page that is read
//! twice finds its runs ended. Each abort writes a row for the count in its own transaction, so the
//! counts are exact no matter which process stopped when.
//!
//! A revocation that was lifted in the meantime aborts nothing more:
//! `docs/reference/intent-then-check.md`.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt as _, stream};
use sealfleet_domain::approval::Approval;
use sealfleet_domain::audit::Event;
use sealfleet_domain::revocation::{AbortedRun, Counts, FanOut, Finished, Place, Revocation};
use sealfleet_domain::run::{Executor, Run, Step};
use sealfleet_domain::{ApprovalId, FanOutId, Owner, ProjectScope, RunId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::leases;
use crate::ledger::Ledger;
use crate::pages::Page;
use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Item, Query, Range, Table, Write, WriteError};
use crate::transition::{Attempt, StoredRun, TRIES, Transitioned};

/// Leases of one page.
const PAGE: usize = 100;
/// Runs of one page that are read or aborted at once.
const AT_ONCE: usize = 32;
/// Seconds that positions are kept. A fan-out that lost them would begin again.
const KEPT_SECONDS: i64 = 7 * 24 * 3600;
/// The attribute that marks a fan-out as unfinished.
const OPEN: &str = "open";

/// One of the partitions over which leases are spread, or what waits for approval, and how far a
/// fan-out has come in it. A fan-out of the operators goes through this partition of every project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub partition: u8,
    /// What to read next. `None`: all of it is done.
    pub next: Option<Place>,
    /// How often its stored position was moved; 0 if none is stored.
    moves: u64,
}

#[derive(Serialize, Deserialize)]
struct LaneRow {
    next: Option<Place>,
    moves: u64,
    expires_at: i64,
}

/// How far the aborted runs of a fan-out are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub counts: Counts,
    /// Runs with a sandbox that could not be stopped yet.
    pub unstopped: Vec<RunId>,
    /// The last row that is counted.
    pub after: Option<String>,
    moves: u64,
    #[serde(default)]
    expires_at: i64,
}

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
        if shard < keys::PLACES {
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

    /// The start of what follows `place` in its lane.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn place_after_in_lane(
        &self,
        owner: &Owner,
        place: &Place,
    ) -> Result<Option<Place>, Error> {
        if matches!(owner, Owner::Project(_)) {
            return Ok(None);
        }
        let next = self.project_after(Some(place.project.as_str())).await?;
        Ok(next.map(|next| Place {
            shard: place.shard,
            ..next
        }))
    }

    /// The lanes of a fan-out, as far as they have come.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn lanes(&self, owner: &Owner, id: FanOutId) -> Result<Vec<Lane>, Error> {
        let first = self.first_place(owner).await?;
        let query = Query {
            table: Table::Ledger,
            pk: keys::fan_out_lanes(owner, id),
            range: Range::All,
            backwards: false,
            limit: PAGE,
            consistent: true,
            only: None,
        };
        let rows = self.store.query(&query, None).await?;
        let mut lanes: Vec<Lane> = (0..keys::PLACES)
            .map(|partition| Lane {
                partition,
                next: first.clone().map(|first| Place {
                    shard: partition,
                    ..first
                }),
                moves: 0,
            })
            .collect();
        for item in rows.items {
            let partition = item.get("sk").and_then(|sk| sk.as_s().ok()?.parse().ok());
            let lane = lanes
                .iter_mut()
                .find(|lane| Some(lane.partition) == partition);
            if let Some(lane) = lane {
                let row: LaneRow = from_item(item)?;
                (lane.next, lane.moves) = (row.next, row.moves);
            }
        }
        Ok(lanes)
    }

    /// Stores that everything before `next` is done. `None` when somebody else has moved the lane
    /// from where `lane` was read; then nothing changed.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn move_lane(
        &self,
        owner: &Owner,
        id: FanOutId,
        lane: &Lane,
        next: Option<Place>,
    ) -> Result<Option<Lane>, Error> {
        let row = LaneRow {
            next,
            moves: lane.moves.saturating_add(1),
            expires_at: self.kept_until(),
        };
        let key = keys::fan_out_lane(owner, id, lane.partition);
        let item = to_item(&row, key).map_err(unwritten)?;
        let moved = self.put_if(item, unmoved(lane.moves)).await?;
        Ok(moved.then_some(Lane {
            partition: lane.partition,
            next: row.next,
            moves: row.moves,
        }))
    }

    /// How far a fan-out is counted.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn tally(&self, owner: &Owner, id: FanOutId) -> Result<Tally, Error> {
        let key = keys::fan_out_count(owner, id);
        let item = self.row(&key).await?;
        item.map_or_else(|| Ok(Tally::default()), from_item)
    }

    /// Stores how far a fan-out is counted. `None` when somebody else has counted on meanwhile.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn save_tally(
        &self,
        owner: &Owner,
        id: FanOutId,
        tally: &Tally,
    ) -> Result<Option<Tally>, Error> {
        let row = Tally {
            moves: tally.moves.saturating_add(1),
            expires_at: self.kept_until(),
            ..tally.clone()
        };
        let item = to_item(&row, keys::fan_out_count(owner, id)).map_err(unwritten)?;
        let saved = self.put_if(item, unmoved(tally.moves)).await?;
        Ok(saved.then_some(row))
    }

    fn kept_until(&self) -> i64 {
        self.now().plus_seconds(KEPT_SECONDS).epoch_seconds()
    }

    async fn project_after(&self, after: Option<&str>) -> Result<Option<Place>, Error> {
        let page = self.projects(after, 1).await?;
        Ok(page.items.into_iter().next().map(|project| Place {
            project,
            shard: 0,
            after: None,
        }))
    }

    /// A page of the runs at `place` that hold an identity and are in flight, or of those that wait
    /// for approval: each run once.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn in_flight(
        &self,
        place: &Place,
        after: Option<&str>,
    ) -> Result<Page<(ProjectScope, RunId)>, Error> {
        let scope = ProjectScope::of_stored_row(place.project.clone());
        if place.shard >= keys::SHARDS {
            return self.waiting_for_approval(scope, after).await;
        }
        let query = Query {
            table: Table::Ledger,
            pk: keys::leases_shard(&scope, place.shard),
            range: Range::All,
            backwards: false,
            limit: PAGE,
            consistent: true,
            only: Some((leases::IDENTITY, vec![AttributeValue::Bool(true)])),
        };
        let rows = self.store.query(&query, after).await?;
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

    async fn waiting_for_approval(
        &self,
        scope: ProjectScope,
        after: Option<&str>,
    ) -> Result<Page<(ProjectScope, RunId)>, Error> {
        let query = Query {
            table: Table::Ledger,
            pk: keys::pending_approvals(&scope),
            range: Range::Prefix(keys::OF_STEPS.to_owned()),
            backwards: false,
            limit: PAGE,
            consistent: true,
            only: None,
        };
        let rows = self.store.query(&query, after).await?;
        let mut runs = Vec::new();
        for item in rows.items {
            if let ApprovalId::Step { run_id, .. } = from_item::<Approval>(item)?.approval
                && !runs.iter().any(|(_, seen)| *seen == run_id)
            {
                runs.push((scope.clone(), run_id));
            }
        }
        Ok(Page {
            items: runs,
            more_after: rows.more_after,
        })
    }

    /// Aborts those runs of a page that hold a key of the fan-out. An answer for each, in order:
    /// `None` when it does not, or not any more.
    ///
    /// All runs are read first, and then, once, whether the revocations are still active. Each
    /// abort requires that its run is as it was read.
    pub async fn abort_page(
        &self,
        owner: &Owner,
        fan_out: &FanOut,
        runs: &[(ProjectScope, RunId)],
    ) -> Vec<Result<Option<Transitioned>, Error>> {
        let read = stream::iter(runs).map(async |(scope, run_id)| {
            match self.stored_run(scope, *run_id).await {
                Err(Error::NotFound) => Ok(None),
                Ok(stored) => {
                    let holds = stored.run.revoked_in_flight(&fan_out.revocations);
                    Ok(holds.map(|_| stored))
                }
                Err(error) => Err(error),
            }
        });
        let read: Vec<Result<Option<StoredRun>, Error>> = read.buffered(AT_ONCE).collect().await;
        if read.iter().all(|read| matches!(read, Ok(None))) {
            return read.into_iter().map(|_| Ok(None)).collect();
        }
        let active = match self.still_active(owner, fan_out).await {
            Ok(active) => active,
            Err(error) => {
                let failed = |_| match &error {
                    Error::Broken(detail) => Err(Error::Broken(detail.clone())),
                    error => Err(Error::Unavailable(error.to_string())),
                };
                return runs.iter().map(failed).collect();
            }
        };
        let each = stream::iter(runs.iter().zip(read)).map(async |((scope, run_id), read)| {
            let Some(stored) = read? else {
                return Ok(None);
            };
            match self
                .abort_read(owner, fan_out, scope, &stored, &active)
                .await?
            {
                Aborted::Done(done) => Ok(Some(*done)),
                Aborted::NotHeld => Ok(None),
                Aborted::Overtaken => self.abort_revoked(owner, fan_out, scope, *run_id).await,
            }
        });
        each.buffered(AT_ONCE).collect().await
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
        for attempt in 0..TRIES {
            let stored = match self.stored_run(scope, run_id).await {
                Err(Error::NotFound) => return Ok(None),
                other => other?,
            };
            if stored.run.revoked_in_flight(&fan_out.revocations).is_none() {
                return Ok(None);
            }
            let active = self.still_active(owner, fan_out).await?;
            match self
                .abort_read(owner, fan_out, scope, &stored, &active)
                .await?
            {
                Aborted::Done(done) => return Ok(Some(*done)),
                Aborted::NotHeld => return Ok(None),
                Aborted::Overtaken => self.back_off(attempt).await,
            }
        }
        Err(Error::Contended)
    }

    /// The fan-out's revocations that were not lifted. To be read after the runs, whose versions
    /// the aborts check: so a claim made after a lift is left alone.
    async fn still_active(
        &self,
        owner: &Owner,
        fan_out: &FanOut,
    ) -> Result<Vec<Revocation>, Error> {
        let rows = self.active_revocations(owner).await?;
        let is_active = |own: &&Revocation| {
            rows.iter()
                .any(|row| row.revocation_id == own.revocation_id)
        };
        let active = fan_out.revocations.iter().filter(is_active);
        Ok(active.cloned().collect())
    }

    /// Aborts a run as it was read, and writes its row for the count.
    async fn abort_read(
        &self,
        owner: &Owner,
        fan_out: &FanOut,
        scope: &ProjectScope,
        stored: &StoredRun,
        active: &[Revocation],
    ) -> Result<Aborted, Error> {
        let Some(revoked) = stored.run.revoked_in_flight(active) else {
            return Ok(Aborted::NotHeld);
        };
        let actor = format!("revocation:{}", fan_out.fan_out_id);
        let record =
            aborted_item(owner, fan_out.fan_out_id, scope, &stored.run).map_err(unwritten)?;
        let rule =
            |run: &mut Run, now| run.abort_revoked(revoked.clone(), Some(fan_out.fan_out_id), now);
        let beside = vec![Write::Put {
            table: Table::Ledger,
            item: record,
            only_if: Condition::Absent,
        }];
        let attempt = self
            .apply_beside(scope, stored, &actor, beside, rule)
            .await?;
        Ok(match attempt {
            Attempt::Done(done) => Aborted::Done(done),
            Attempt::Stale | Attempt::Overtaken => Aborted::Overtaken,
        })
    }

    /// Reads a fan-out.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn fan_out(&self, owner: &Owner, id: FanOutId) -> Result<FanOut, Error> {
        let key = keys::fan_out(owner, id);
        let item = self.row(&key).await?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// Notes that somebody works on a fan-out: `sweep` need not look at it before `due`. `false`
    /// when somebody else has finished it.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn keep_fan_out(
        &self,
        owner: &Owner,
        fan_out: &FanOut,
        due: Timestamp,
    ) -> Result<bool, Error> {
        let item = fan_out_item(owner, fan_out, Some(due)).map_err(unwritten)?;
        self.put_if(item, open()).await
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
        self.write_if(vec![
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

/// What became of the abort of a run as it was read.
enum Aborted {
    Done(Box<Transitioned>),
    /// It holds no key of the fan-out, or the revocation was lifted.
    NotHeld,
    /// Somebody else changed the run first.
    Overtaken,
}

/// The position is still the one that was moved so often.
fn unmoved(moves: u64) -> Condition {
    if moves == 0 {
        return Condition::Absent;
    }
    Condition::Is(vec![("moves", AttributeValue::N(moves.to_string()))])
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
