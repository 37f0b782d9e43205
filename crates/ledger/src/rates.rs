//! Rate limits that hold across instances and cost a fraction of a write for each request.
//!
//! Each project has one row, and so has each worker, with the state of its rate
//! ([`sealfleet_domain::rate`]). An instance takes a batch of permits from the row by one
//! conditional addition. It then serves these permits itself for at most [`HELD_MS`], and permits
//! that it has not used by then are lost to the project. Every permit that an instance serves was
//! taken from the row first. So in any period, all instances together admit at most the burst, plus
//! what the period and the row's second of slack earn, plus what was taken in the two seconds
//! before: **at most `burst + requests_per_second × (seconds + 3)`**, no matter how many instances
//! there are. Differences between the instances' clocks add to this.
//!
//! Additions do not conflict with each other. One is refused only when the row has left the states
//! that it is valid for ([`Grant::in_states`]). So a hundred instances that start at once all
//! succeed.
//!
//! A worker's first request of two seconds is served by each instance without a permit: most
//! workers send a heartbeat now and then and nothing else, which would cost a write each. So the
//! bound of a worker is higher by one request for each instance and two seconds.
//!
//! A batch is small when little is needed or little is left: twice what the instance used of its
//! last batch, but at most a tenth of the burst and a quarter of the permits available. So many
//! idle instances do not use up a project's permits. Refusing a project costs nothing, because the
//! instance remembers for up to a second that no permit is available.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::rate::{EarnedAt, Grant, Limits, Rate};
use sealfleet_domain::{ProjectId, ProjectScope, Timestamp, WorkerId, limits};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{from_item, n, to_item, unwritten};
use crate::store::{Condition, Edit, Key, Table, Write, WriteError};

/// Milliseconds for which an instance serves a batch.
const HELD_MS: i64 = 2000;
/// Milliseconds for which an instance refuses without asking the row. Short, so that a new limit
/// takes effect soon.
const REFUSED_MS: i64 = 1000;
/// The attribute of [`Row::earned_at`].
const EARNED_AT: &str = "earned_at";
/// Attempts at a row that other instances keep changing.
const ATTEMPTS: u32 = 8;
/// Seconds after which time to live may delete the row of an unused counter.
const FORGOTTEN_SECONDS: i64 = 3600;
/// Callers that an instance remembers. Beyond that it forgets those without permits.
const REMEMBERED: usize = 1000;

/// Who shares a rate: the callers of a project, or one of its workers.
type Counted = (ProjectId, Option<WorkerId>);

/// The permits that this instance holds, by who shares them. One for each process.
pub struct Rates {
    default: Limits,
    held: Mutex<HashMap<Counted, Held>>,
}

/// The permits that this instance holds of one rate.
#[derive(Clone, Copy, Default)]
struct Held {
    permits: u32,
    used: u32,
    until_ms: i64,
    refused_until_ms: i64,
}

/// What to do about one request.
enum Local {
    Serve,
    Refuse(u32),
    Take(u32),
}

/// The row of one counter.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Row {
    earned_at: EarnedAt,
    /// The project's own limits, if an operator has set any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
}

impl Rates {
    /// `default` holds for projects without limits of their own.
    #[must_use]
    pub fn new(default: Limits) -> Self {
        Self {
            default,
            held: Mutex::default(),
        }
    }

    /// The limits of projects without limits of their own.
    #[must_use]
    pub const fn default_limits(&self) -> Limits {
        self.default
    }

    /// Admits one request of a project's caller.
    ///
    /// # Errors
    /// [`Error::RateLimited`], or the tables do not answer.
    pub async fn admit(&self, ledger: &Ledger, scope: &ProjectScope) -> Result<(), Error> {
        let take = async |wanted| ledger.take_requests(scope, self.default, wanted).await;
        let counted = (scope.project().clone(), None);
        self.admit_by(counted, ledger.now(), take).await
    }

    /// Admits one request of a worker. All workers have the default limits, each its own.
    ///
    /// # Errors
    /// [`Error::RateLimited`], or the tables do not answer.
    pub async fn admit_worker(
        &self,
        ledger: &Ledger,
        scope: &ProjectScope,
        worker_id: WorkerId,
    ) -> Result<(), Error> {
        let take = async |wanted| {
            let rate = self.default.rate();
            ledger
                .take_worker_requests(scope, worker_id, rate, wanted)
                .await
        };
        let counted = (scope.project().clone(), Some(worker_id));
        self.admit_by(counted, ledger.now(), take).await
    }

    async fn admit_by(
        &self,
        counted: Counted,
        now: Timestamp,
        take: impl AsyncFnOnce(u32) -> Result<u32, Error>,
    ) -> Result<(), Error> {
        if counted.1.is_some() && self.is_first(&counted, now) {
            return Ok(());
        }
        let wanted = match self.local(&counted, now) {
            Local::Serve => return Ok(()),
            Local::Refuse(seconds) => return Err(Error::RateLimited(seconds)),
            Local::Take(wanted) => wanted,
        };
        let taken = take(wanted).await;
        self.keep(counted, now, &taken);
        taken.map(|_| ())
    }

    /// Whether this is the first request of a while. Such a request of a worker is served without a
    /// permit, so that heartbeats cost no write.
    fn is_first(&self, counted: &Counted, now: Timestamp) -> bool {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = remembered(&mut all, counted.clone(), now);
        let until = held.until_ms.max(held.refused_until_ms);
        if now.millis() < until && now.millis() >= until - HELD_MS {
            return false;
        }
        *held = Held {
            permits: 0,
            used: 1,
            until_ms: now.millis().saturating_add(HELD_MS),
            refused_until_ms: 0,
        };
        true
    }

    fn local(&self, counted: &Counted, now: Timestamp) -> Local {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = all.get_mut(counted) else {
            return Local::Take(1);
        };
        let fresh = now.millis() < held.until_ms && now.millis() >= held.until_ms - HELD_MS;
        if fresh && held.permits > 0 {
            held.permits -= 1;
            held.used = held.used.saturating_add(1);
            return Local::Serve;
        }
        if now.millis() < held.refused_until_ms
            && now.millis() >= held.refused_until_ms - REFUSED_MS
        {
            return Local::Refuse(seconds_until(held.refused_until_ms, now));
        }
        Local::Take(held.used.saturating_mul(2).max(1))
    }

    /// Remembers the batch that was taken, minus the permit of the current request.
    fn keep(&self, counted: Counted, now: Timestamp, taken: &Result<u32, Error>) {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = remembered(&mut all, counted, now);
        match taken {
            Ok(taken) => {
                // Concurrent requests may each have taken a batch. Keep all of them.
                let left = if now.millis() < held.until_ms {
                    held.permits
                } else {
                    0
                };
                let until_ms = if left > 0 {
                    held.until_ms
                } else {
                    now.millis().saturating_add(HELD_MS)
                };
                *held = Held {
                    permits: left.saturating_add(taken.saturating_sub(1)),
                    used: 1,
                    until_ms,
                    refused_until_ms: 0,
                };
            }
            Err(Error::RateLimited(seconds)) => {
                let until = i64::from(*seconds).saturating_mul(1000).min(REFUSED_MS);
                held.refused_until_ms = now.millis().saturating_add(until);
            }
            Err(_) => {}
        }
    }
}

impl Ledger {
    /// Takes permits for a project's requests. Returns how many; at least one.
    async fn take_requests(
        &self,
        scope: &ProjectScope,
        default: Limits,
        wanted: u32,
    ) -> Result<u32, Error> {
        let rate = |row: &Row| row.limits.unwrap_or(default).rate();
        self.take(&keys::requests(scope), rate, wanted, None).await
    }

    /// Takes permits for a worker's requests. Returns how many; at least one.
    async fn take_worker_requests(
        &self,
        scope: &ProjectScope,
        worker_id: WorkerId,
        rate: Rate,
        wanted: u32,
    ) -> Result<u32, Error> {
        let key = keys::worker_requests(scope, worker_id);
        let forgotten = self.now().epoch_seconds().saturating_add(FORGOTTEN_SECONDS);
        self.take(&key, |_| rate, wanted, Some(forgotten)).await
    }

    /// Admits one registration without an enrolment key. Such a request proves nothing about its
    /// sender, so all registrations of a project share one small rate.
    ///
    /// # Errors
    /// [`Error::RateLimited`], or the tables do not answer.
    pub async fn admit_registration(&self, scope: &ProjectScope) -> Result<(), Error> {
        let rate = Rate::each_seconds(
            limits::PENDING_WORKERS_A_MINUTE,
            60,
            limits::PENDING_WORKERS_A_MINUTE,
        );
        let forgotten = self.now().epoch_seconds().saturating_add(FORGOTTEN_SECONDS);
        self.take(&keys::registrations(scope), |_| rate, 1, Some(forgotten))
            .await
            .map(|_| ())
    }

    async fn take(
        &self,
        key: &Key,
        rate: impl Fn(&Row) -> Rate,
        wanted: u32,
        expires_at: Option<i64>,
    ) -> Result<u32, Error> {
        for attempt in 0..ATTEMPTS {
            let stored = self.counter(key).await?;
            let row = stored.unwrap_or_default();
            let (rate, now) = (rate(&row), self.now());
            let batch = wanted
                .min(rate.burst() / 10)
                .min(rate.available(row.earned_at, now) / 4);
            let Grant {
                permits,
                ahead_us,
                in_states: (least, most),
            } = rate.grant(row.earned_at, now, batch).map_err(|exhausted| {
                Error::RateLimited(seconds_until(exhausted.until.millis(), now))
            })?;
            let only_if = match stored {
                None => Condition::Absent,
                Some(_) => Condition::Between(EARNED_AT, least.micros(), most.micros()),
            };
            let mut edits = vec![(EARNED_AT.to_owned(), Edit::Add(ahead_us))];
            edits.extend(expires_at.map(|at| ("expires_at".to_owned(), Edit::Set(n(at)))));
            let add = Write::Update {
                key: key.clone(),
                edits,
                only_if,
            };
            match self.store.write(vec![add]).await {
                Ok(()) => return Ok(permits),
                Err(WriteError::Condition(_) | WriteError::Busy) => self.back_off(attempt).await,
                Err(error) => return Err(unwritten(error)),
            }
        }
        // This many conflicts occur only when other instances keep taking the permits that we read.
        // So few or none are left.
        Err(Error::RateLimited(1))
    }

    async fn counter(&self, key: &Key) -> Result<Option<Row>, Error> {
        self.row(key).await?.map(from_item).transpose()
    }

    /// The limits that an operator has set for a project, if any.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn limits(&self, scope: &ProjectScope) -> Result<Option<Limits>, Error> {
        Ok(self
            .counter(&keys::requests(scope))
            .await?
            .and_then(|row| row.limits))
    }

    /// Sets a project's limits, or restores the default. Instances notice with their next batch.
    /// The project starts with a full burst.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the project does not exist, [`Error::Contended`], or the tables do
    /// not answer.
    pub async fn set_limits(
        &self,
        scope: &ProjectScope,
        limits: Option<Limits>,
        actor: &str,
    ) -> Result<(), Error> {
        self.project(scope).await?;
        let key = keys::requests(scope);
        for attempt in 0..ATTEMPTS {
            let only_if =
                self.counter(&key)
                    .await?
                    .map_or(Condition::Absent, |Row { earned_at, .. }| {
                        Condition::Is(vec![(
                            EARNED_AT,
                            AttributeValue::N(earned_at.micros().to_string()),
                        )])
                    });
            let now = self.now();
            // This state makes every batch invalid that is being taken under the old limits.
            let row = Row {
                earned_at: EarnedAt::default(),
                limits,
            };
            let event = Event::LimitsSet {
                project: scope.project().clone(),
                limits,
            };
            let item = to_item(&row, key.clone()).map_err(unwritten)?;
            let mut writes = vec![Write::Put {
                table: Table::Ledger,
                item,
                only_if,
            }];
            writes.extend(self.audit_writes_of_operators(scope, actor, event, now)?);
            match self.store.write(writes).await {
                Err(WriteError::Condition(_) | WriteError::Busy) => self.back_off(attempt).await,
                other => return other.map_err(unwritten),
            }
        }
        Err(Error::Contended)
    }
}

/// What this instance holds of a rate. Forgets others that hold nothing when they are many.
fn remembered(all: &mut HashMap<Counted, Held>, counted: Counted, now: Timestamp) -> &mut Held {
    if all.len() >= REMEMBERED {
        all.retain(|_, held| held.until_ms.max(held.refused_until_ms) > now.millis());
    }
    all.entry(counted).or_default()
}

/// Whole seconds until a moment; at least one.
fn seconds_until(until_ms: i64, now: Timestamp) -> u32 {
    let millis = until_ms.saturating_sub(now.millis());
    u32::try_from(millis.saturating_add(999) / 1000)
        .unwrap_or(1)
        .max(1)
}
