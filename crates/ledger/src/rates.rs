//! Rate limits that hold across instances and cost a fraction of a write for each request.
//!
//! Each project has one row with the state of its rate ([`sealfleet_domain::rate`]). An instance
//! takes a batch of permits from the row by one conditional addition. It then serves these permits
//! itself for at most [`HELD_MS`], and permits that it has not used by then are lost to the
//! project. Every permit that an instance serves was taken from the row first. So in any period,
//! all instances together admit at most the burst, plus what the period and the row's second of
//! slack earn, plus what was taken in the two seconds before: **at most `burst +
//! requests_per_second × (seconds + 3)`**, no matter how many instances there are. Differences
//! between the instances' clocks add to this.
//!
//! Additions do not conflict with each other. One is refused only when the row has left the states
//! that it is valid for ([`Grant::in_states`]). So a hundred instances that start at once all
//! succeed.
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
use sealfleet_domain::{ProjectId, ProjectScope, Timestamp, limits};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Key, Table, Write, WriteError};

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
/// Projects that an instance remembers. Beyond that it forgets those without permits.
const REMEMBERED: usize = 1000;

/// The permits that this instance holds, by project. One for each process.
pub struct Rates {
    default: Limits,
    held: Mutex<HashMap<ProjectId, Held>>,
}

/// The permits that this instance holds of one project.
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
        let now = ledger.now();
        let wanted = match self.local(scope.project(), now) {
            Local::Serve => return Ok(()),
            Local::Refuse(seconds) => return Err(Error::RateLimited(seconds)),
            Local::Take(wanted) => wanted,
        };
        let taken = ledger.take_requests(scope, self.default, wanted).await;
        self.keep(scope.project(), now, &taken);
        taken.map(|_| ())
    }

    fn local(&self, project: &ProjectId, now: Timestamp) -> Local {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = all.get_mut(project) else {
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
    fn keep(&self, project: &ProjectId, now: Timestamp, taken: &Result<u32, Error>) {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.retain(|_, held| held.until_ms.max(held.refused_until_ms) > now.millis());
        }
        let held = all.entry(project.clone()).or_default();
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
            let add = Write::Add {
                key: key.clone(),
                attribute: EARNED_AT,
                amount: ahead_us,
                expires_at,
                only_if,
            };
            match self.store.write(vec![add]).await {
                Ok(()) => return Ok(permits),
                Err(WriteError::Condition(_) | WriteError::Busy) => self.back_off(attempt).await,
                Err(error @ WriteError::Unavailable(_)) => return Err(unwritten(error)),
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
            let writes = vec![
                Write::Put {
                    table: Table::Ledger,
                    item,
                    only_if,
                },
                self.audit_write(
                    scope.project().as_str(),
                    actor,
                    None,
                    vec![event.clone()],
                    now,
                )
                .map_err(unwritten)?,
                self.operators_audit_write(actor, vec![event], now)
                    .map_err(unwritten)?,
            ];
            match self.store.write(writes).await {
                Err(WriteError::Condition(_) | WriteError::Busy) => self.back_off(attempt).await,
                other => return other.map_err(unwritten),
            }
        }
        Err(Error::Contended)
    }
}

/// Whole seconds until a moment; at least one.
fn seconds_until(until_ms: i64, now: Timestamp) -> u32 {
    let millis = until_ms.saturating_sub(now.millis());
    u32::try_from(millis.saturating_add(999) / 1000)
        .unwrap_or(1)
        .max(1)
}
