//! Workers and enrolment keys.

use std::iter;

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::approval::{ApprovalState, Governance};
use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::{EnrolmentKey, Sandboxes, Worker, WorkerStatus};
use sealfleet_domain::limits;
use sealfleet_domain::run::StepSpec;
use sealfleet_domain::{ApprovalId, EnrolmentKeyId, ProjectId, ProjectScope, Timestamp, WorkerId};
use serde::{Deserialize, Serialize};

use crate::approvals::requested;
use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::pages::Page;
use crate::rows::{from_item, n, to_item, unwritten};
use crate::store::{Condition, Consistency, Item, Table, Test, Write, WriteError};

/// Workers that are looked at for one that can run a step.
const WORKERS: usize = 1000;

/// Seconds after which time to live may delete what a worker's heartbeat told.
const FORGOTTEN_SECONDS: i64 = 24 * 3600;

/// What a worker's last heartbeat told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When it came. Heartbeats are not all noted, so another may have come up to a minute later.
    pub at: Timestamp,
    /// The version of the worker's program, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How a worker registers.
#[derive(Clone, Debug)]
pub enum Registration {
    /// With an enrolment key, as it was read. The worker is approved at once.
    ByKey(EnrolmentKey),
    /// Without a key. The worker is pending and expires if nobody decides.
    Pending,
}

impl Ledger {
    /// Reads an enrolment key. Takes a project id, because its holder is not verified yet.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn enrolment_key(
        &self,
        project: &ProjectId,
        id: EnrolmentKeyId,
    ) -> Result<Option<EnrolmentKey>, Error> {
        let key = keys::enrolment_key(project, id);
        self.row(&key).await?.map(from_item).transpose()
    }

    /// Stores a new enrolment key.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn create_enrolment_key(
        &self,
        scope: &ProjectScope,
        row: &EnrolmentKey,
        actor: &str,
    ) -> Result<(), Error> {
        let event = Event::EnrolmentKeyCreated {
            enrolment_key_id: row.enrolment_key_id,
            pool: row.pool.clone(),
            max_uses: row.max_uses,
            expires_at: row.expires_at,
        };
        let key = keys::enrolment_key(scope.project(), row.enrolment_key_id);
        self.put_with_audit(scope, to_item(row, key), Condition::Absent, event, actor)
            .await
    }

    /// Revokes an enrolment key. Idempotent.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Contended`], or the tables do not answer.
    pub async fn revoke_enrolment_key(
        &self,
        scope: &ProjectScope,
        id: EnrolmentKeyId,
        actor: &str,
    ) -> Result<EnrolmentKey, Error> {
        for attempt in 0..5 {
            let mut row = self
                .enrolment_key(scope.project(), id)
                .await?
                .ok_or(Error::NotFound)?;
            if row.revoked_at.is_some() {
                return Ok(row);
            }
            let unchanged = Condition::Is(vec![("uses", AttributeValue::N(row.uses.to_string()))]);
            row.revoked_at = Some(self.now());
            let item = to_item(&row, keys::enrolment_key(scope.project(), id));
            let event = Event::EnrolmentKeyRevoked {
                enrolment_key_id: id,
            };
            match self
                .put_with_audit(scope, item, unchanged, event, actor)
                .await
            {
                Err(Error::Contended) => self.back_off(attempt).await,
                other => return other.map(|()| row),
            }
        }
        Err(Error::Contended)
    }

    /// A page of enrolment keys, oldest first.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn enrolment_keys(
        &self,
        scope: &ProjectScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<EnrolmentKey>, Error> {
        self.page(keys::enrolment_keys(scope), after, limit).await
    }

    /// A worker's row. Takes a project id because the caller verifies the worker's credential with
    /// this row, so no scope exists yet.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn worker(&self, project: &ProjectId, id: WorkerId) -> Result<Option<Worker>, Error> {
        let item = self.row(&keys::worker(project, id)).await?;
        // An undecided registration counts as gone when it expires, even if time to live has not
        // deleted it yet.
        let gone = item
            .as_ref()
            .and_then(|item| item.get("expires_at")?.as_n().ok()?.parse::<i64>().ok());
        if gone.is_some_and(|at| at <= self.now().epoch_seconds()) {
            return Ok(None);
        }
        item.map(from_item).transpose()
    }

    /// Stores a new worker. With an enrolment key, the same transaction counts one use of the key.
    ///
    /// # Errors
    /// [`Error::Contended`] when somebody else used or revoked the key at the same time (read it
    /// again), or the tables do not answer.
    pub async fn register_worker(
        &self,
        scope: &ProjectScope,
        worker: &Worker,
        registration: Registration,
        actor: &str,
    ) -> Result<(), Error> {
        let mut item =
            to_item(worker, keys::worker(scope.project(), worker.worker_id)).map_err(unwritten)?;
        let now = self.now();
        let (mut writes, mut asked) = (Vec::new(), None);
        match registration {
            Registration::ByKey(mut key) => {
                // Neither used nor revoked meanwhile.
                let unchanged = Condition::All(vec![
                    (
                        "uses".to_owned(),
                        Test::Is(AttributeValue::N(key.uses.to_string())),
                    ),
                    ("revoked_at".to_owned(), Test::Missing),
                ]);
                key.uses = key.uses.saturating_add(1);
                let address = keys::enrolment_key(scope.project(), key.enrolment_key_id);
                writes.push(Write::Put {
                    table: Table::Ledger,
                    item: to_item(&key, address).map_err(unwritten)?,
                    only_if: unchanged,
                });
            }
            Registration::Pending => {
                let expires_at = now
                    .epoch_seconds()
                    .saturating_add(limits::PENDING_WORKER_SECONDS);
                item.insert(
                    "expires_at".to_owned(),
                    AttributeValue::N(expires_at.to_string()),
                );
                let (request, event) = self.asked_for(scope, worker).await?;
                writes.push(request);
                asked = Some(event);
            }
        }
        writes.push(Write::Put {
            table: Table::Ledger,
            item,
            only_if: Condition::Absent,
        });
        let event = Event::WorkerRegistered {
            worker_id: worker.worker_id,
            pool: worker.pool.clone(),
            labels: worker.labels.clone(),
            approved: worker.status == WorkerStatus::Approved,
        };
        let events = iter::once(event).chain(asked).collect();
        let trail = scope.project().as_str();
        let entry = self.audit_write(trail, actor, None, events, now);
        writes.push(entry.map_err(unwritten)?);
        self.store.write(writes).await.map_err(unwritten)
    }

    /// The request for a worker's approval. Nobody decides in a project that is not there, and
    /// `sweep` has no work with it: time to live alone deletes the rows.
    async fn asked_for(
        &self,
        scope: &ProjectScope,
        worker: &Worker,
    ) -> Result<(Write, Event), Error> {
        match self.project(scope).await {
            Ok(project) => {
                let request = worker.request(&project.governance);
                requested(scope, &request, true)
            }
            Err(Error::NotFound) => {
                requested(scope, &worker.request(&Governance::default()), false)
            }
            Err(error) => Err(error),
        }
    }

    /// Revokes a worker, or the registration of one that waits.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`] when it is rejected or revoked already, or the
    /// tables do not answer.
    pub async fn revoke_worker(
        &self,
        scope: &ProjectScope,
        id: WorkerId,
        actor: &str,
    ) -> Result<Worker, Error> {
        for attempt in 0..5 {
            let stored = self.worker(scope.project(), id).await?;
            let mut worker = stored.ok_or(Error::NotFound)?;
            let (mut writes, mut events) = match worker.status {
                WorkerStatus::Approved => (Vec::new(), Vec::new()),
                WorkerStatus::Pending => {
                    let id = ApprovalId::Worker { worker_id: id };
                    let (writes, event) = self.cancelled_approval(scope, &id).await?;
                    (writes, event.into_iter().collect())
                }
                status => return Err(Error::WrongState(status.name())),
            };
            let only_if = unchanged(scope, &worker)?;
            worker.status = WorkerStatus::Revoked;
            let item = to_item(&worker, keys::worker(scope.project(), id));
            writes.push(Write::Put {
                table: Table::Ledger,
                item: item.map_err(unwritten)?,
                only_if,
            });
            events.push(Event::WorkerRevoked { worker_id: id });
            writes.extend(self.parts(scope, None, &events)?);
            let trail = scope.project().as_str();
            let entry = self.audit_write(trail, actor, None, events, self.now());
            writes.push(entry.map_err(unwritten)?);
            if self.write_if(writes).await? {
                return Ok(worker);
            }
            self.back_off(attempt).await;
        }
        Err(Error::Contended)
    }

    /// What follows when the approval of a worker's registration is over. A registration that has
    /// expired is gone by itself.
    pub(crate) async fn worker_decided(
        &self,
        scope: &ProjectScope,
        id: WorkerId,
        state: ApprovalState,
    ) -> Result<(Vec<Write>, Vec<Event>), Error> {
        let (to, event) = match state {
            ApprovalState::Approved => (
                WorkerStatus::Approved,
                Event::WorkerApproved { worker_id: id },
            ),
            ApprovalState::Denied => (
                WorkerStatus::Rejected,
                Event::WorkerRejected { worker_id: id },
            ),
            ApprovalState::Pending | ApprovalState::Expired | ApprovalState::Cancelled => {
                return Ok((Vec::new(), Vec::new()));
            }
        };
        let stored = self.worker(scope.project(), id).await?;
        let mut worker = stored.ok_or(Error::NotFound)?;
        if worker.status != WorkerStatus::Pending {
            return Err(Error::WrongState(worker.status.name()));
        }
        let only_if = unchanged(scope, &worker)?;
        worker.status = to;
        let item = to_item(&worker, keys::worker(scope.project(), id));
        let put = Write::Put {
            table: Table::Ledger,
            item: item.map_err(unwritten)?,
            only_if,
        };
        Ok((vec![put], vec![event]))
    }

    /// Begins or ends to give an approved worker no new steps. Idempotent.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`] when it is not approved, [`Error::Contended`], or
    /// the tables do not answer.
    pub async fn drain_worker(
        &self,
        scope: &ProjectScope,
        id: WorkerId,
        drains: bool,
        actor: &str,
    ) -> Result<Worker, Error> {
        self.change_worker(scope, id, actor, |worker| {
            if worker.status != WorkerStatus::Approved {
                return Err(Error::WrongState(worker.status.name()));
            }
            if worker.draining_since.is_some() == drains {
                return Ok(None);
            }
            worker.draining_since = drains.then(|| self.now());
            Ok(Some(match drains {
                true => Event::WorkerDrained { worker_id: id },
                false => Event::WorkerResumed { worker_id: id },
            }))
        })
        .await
    }

    /// Keeps what a worker tells of its sandboxes, if it is other than before.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn note_sandboxes(
        &self,
        scope: &ProjectScope,
        id: WorkerId,
        sandboxes: Sandboxes,
        actor: &str,
    ) -> Result<Worker, Error> {
        // Of two processes with one credential, the last one that tells is believed.
        self.change_worker(scope, id, actor, |worker| {
            if worker.sandboxes == sandboxes {
                return Ok(None);
            }
            worker.sandboxes = sandboxes.clone();
            Ok(Some(Event::WorkerSandboxesTold {
                worker_id: id,
                sandboxes: sandboxes.clone(),
            }))
        })
        .await
    }

    /// Changes a worker, unless others do at the same moment: then it is read again. `change`
    /// answers what happened; `None` is no change.
    async fn change_worker(
        &self,
        scope: &ProjectScope,
        id: WorkerId,
        actor: &str,
        change: impl Fn(&mut Worker) -> Result<Option<Event>, Error>,
    ) -> Result<Worker, Error> {
        for attempt in 0..5 {
            let stored = self.worker(scope.project(), id).await?;
            let mut worker = stored.ok_or(Error::NotFound)?;
            let unchanged = unchanged(scope, &worker)?;
            let Some(event) = change(&mut worker)? else {
                return Ok(worker);
            };
            let item = to_item(&worker, keys::worker(scope.project(), id));
            match self
                .put_with_audit(scope, item, unchanged, event, actor)
                .await
            {
                Err(Error::Contended) => self.back_off(attempt).await,
                other => return other.map(|()| worker),
            }
        }
        Err(Error::Contended)
    }

    /// Notes that a worker's heartbeat has come. An earlier time never takes a later one's place.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn note_heartbeat(
        &self,
        scope: &ProjectScope,
        id: WorkerId,
        version: Option<String>,
    ) -> Result<(), Error> {
        let now = self.now();
        let seen = Seen { at: now, version };
        let mut item = to_item(&seen, keys::worker_seen(scope, id)).map_err(unwritten)?;
        let forgotten = now.epoch_seconds().saturating_add(FORGOTTEN_SECONDS);
        item.insert("expires_at".to_owned(), n(forgotten));
        let newer = Condition::AbsentOrBelow("expires_at", forgotten);
        self.put_if(item, newer).await.map(drop)
    }

    /// What a worker's heartbeats have told, if one came in the last day.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn heartbeat_of(
        &self,
        scope: &ProjectScope,
        id: WorkerId,
    ) -> Result<Option<Seen>, Error> {
        let key = keys::worker_seen(scope, id);
        let item = self.row_as(&key, Consistency::Eventual).await?;
        item.map(from_item).transpose()
    }

    /// A page of workers, oldest first.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn workers(
        &self,
        scope: &ProjectScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Worker>, Error> {
        self.page(keys::workers(scope), after, limit).await
    }

    /// The approved workers of a step's pool that can run it and do not drain: of the first
    /// [`WORKERS`] of the project.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn workers_that_can_run(
        &self,
        scope: &ProjectScope,
        spec: &StepSpec,
    ) -> Result<Vec<Worker>, Error> {
        let mut workers = self.workers(scope, None, WORKERS).await?.items;
        workers.retain(|worker| {
            let takes = worker.status == WorkerStatus::Approved && worker.draining_since.is_none();
            takes && worker.can_run(spec).is_ok()
        });
        Ok(workers)
    }

    async fn put_with_audit(
        &self,
        scope: &ProjectScope,
        item: Result<Item, WriteError>,
        only_if: Condition,
        event: Event,
        actor: &str,
    ) -> Result<(), Error> {
        let mut writes = self.parts(scope, None, std::slice::from_ref(&event))?;
        writes.extend([
            Write::Put {
                table: Table::Ledger,
                item: item.map_err(unwritten)?,
                only_if,
            },
            self.project_audit_write(scope, actor, event, self.now())?,
        ]);
        self.store.write(writes).await.map_err(unwritten)
    }
}

/// That a worker's row is as it was read, in all that changes: who decides about a worker must not
/// take back what it tells at the same moment.
fn unchanged(scope: &ProjectScope, worker: &Worker) -> Result<Condition, Error> {
    let key = keys::worker(scope.project(), worker.worker_id);
    let mut item = to_item(worker, key).map_err(unwritten)?;
    let same = ["status", "sandboxes", "draining_since"].map(|name| {
        let test = item.remove(name).map_or(Test::Missing, Test::Is);
        (name.to_owned(), test)
    });
    Ok(Condition::All(same.into()))
}
