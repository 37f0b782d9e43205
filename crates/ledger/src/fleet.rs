//! Workers and enrolment keys.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::{EnrolmentKey, Sandboxes, Worker, WorkerStatus};
use sealfleet_domain::limits;
use sealfleet_domain::run::StepSpec;
use sealfleet_domain::{EnrolmentKeyId, ProjectId, ProjectScope, Timestamp, WorkerId};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{from_item, n, to_item, unwritten};
use crate::runs::Page;
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
        let mut writes = Vec::new();
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
        writes.push(self.project_audit_write(scope, actor, event, now)?);
        self.store.write(writes).await.map_err(unwritten)
    }

    /// Moves a worker from one of the statuses in `from` to another.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`] when its status is not in `from`, or the tables
    /// do not answer.
    pub async fn set_worker_status(
        &self,
        scope: &ProjectScope,
        id: WorkerId,
        from: &[WorkerStatus],
        to: WorkerStatus,
        actor: &str,
    ) -> Result<Worker, Error> {
        for attempt in 0..5 {
            let mut worker = self
                .worker(scope.project(), id)
                .await?
                .ok_or(Error::NotFound)?;
            if !from.contains(&worker.status) {
                return Err(Error::WrongState(status_name(worker.status)));
            }
            let unchanged = status_is(worker.status);
            worker.status = to;
            let event = match to {
                WorkerStatus::Approved => Event::WorkerApproved { worker_id: id },
                WorkerStatus::Rejected => Event::WorkerRejected { worker_id: id },
                WorkerStatus::Revoked => Event::WorkerRevoked { worker_id: id },
                WorkerStatus::Pending => return Err(Error::WrongState("pending")),
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
        for attempt in 0..5 {
            let stored = self.worker(scope.project(), id).await?;
            let mut worker = stored.ok_or(Error::NotFound)?;
            if worker.sandboxes == sandboxes {
                return Ok(worker);
            }
            // Of two processes with one credential, the last one that tells is believed. Nothing
            // else of the row changes but its status.
            let unchanged = status_is(worker.status);
            worker.sandboxes = sandboxes.clone();
            let event = Event::WorkerSandboxesTold {
                worker_id: id,
                sandboxes: sandboxes.clone(),
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

    /// The approved workers of a step's pool that can run it: of the first [`WORKERS`] of the
    /// project.
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
            worker.status == WorkerStatus::Approved && worker.can_run(spec).is_ok()
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
        let writes = vec![
            Write::Put {
                table: Table::Ledger,
                item: item.map_err(unwritten)?,
                only_if,
            },
            self.project_audit_write(scope, actor, event, self.now())?,
        ];
        self.store.write(writes).await.map_err(unwritten)
    }
}

fn status_is(status: WorkerStatus) -> Condition {
    let name = status_name(status).to_owned();
    Condition::Is(vec![("status", AttributeValue::S(name))])
}

const fn status_name(status: WorkerStatus) -> &'static str {
    match status {
        WorkerStatus::Pending => "pending",
        WorkerStatus::Approved => "approved",
        WorkerStatus::Rejected => "rejected",
        WorkerStatus::Revoked => "revoked",
    }
}
