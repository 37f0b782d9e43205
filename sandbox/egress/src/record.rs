//! What a step reached, and what it was kept from. Bounded: a program may try any number of hosts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealfleet_agent::tokens::Tally;
use sealfleet_domain::agent::{Answers, ModelAnswers, ModelsUsed};
use sealfleet_domain::egress::{Denial, Denials, Denied, Reach, Reached, Traffic};
use sealfleet_domain::limits;

use crate::target::Target;
use crate::usage::Told;

#[derive(Default)]
pub struct Record {
    denials: Mutex<Rows<Refused, u64>>,
    reached: Mutex<Rows<Target, Arc<Counts>>>,
    models: Mutex<Models>,
}

#[derive(Default)]
struct Models {
    /// By provider and model.
    rows: Rows<(String, String), Answers, { limits::EGRESS_MODELS }>,
    unread: u64,
}

/// What denials are counted by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Refused {
    target: Target,
    reason: Denied,
    key: Option<String>,
}

/// One value for each key, as long as there are few keys, and one for all others.
struct Rows<K, V, const MOST: usize = { limits::EGRESS_ROWS }> {
    rows: BTreeMap<K, V>,
    others: V,
}

impl<K, V: Default, const MOST: usize> Default for Rows<K, V, MOST> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            others: V::default(),
        }
    }
}

impl<K: Ord, V: Default, const MOST: usize> Rows<K, V, MOST> {
    fn of(&mut self, key: K) -> &mut V {
        if self.rows.len() < MOST || self.rows.contains_key(&key) {
            self.rows.entry(key).or_default()
        } else {
            &mut self.others
        }
    }
}

/// Counts of all connections to one host, those that are still open included.
#[derive(Default)]
pub struct Counts {
    connections: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counts {
    pub fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            connections: self.connections.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}

impl Record {
    pub fn denied(&self, target: &Target, reason: Denied) {
        self.denied_for(target, reason, None);
    }

    /// Counts a denial that is about a secret.
    pub fn denied_for(&self, target: &Target, reason: Denied, key: Option<&str>) {
        let row = Refused {
            target: target.clone(),
            reason,
            key: key.map(str::to_owned),
        };
        *lock(&self.denials).of(row) += 1;
    }

    /// Counts a connection, and says where its bytes are counted.
    pub fn connected(&self, target: &Target) -> Arc<Counts> {
        let counts = Arc::clone(lock(&self.reached).of(target.clone()));
        counts.connections.fetch_add(1, Ordering::Relaxed);
        counts
    }

    /// Counts the tokens of an answer.
    pub fn answered(&self, told: Told) {
        let mut models = lock(&self.models);
        let Some((model, tally)) = told.used else {
            models.unread += 1;
            return;
        };
        let row = models.rows.of((told.provider, model));
        let before = Tally {
            usage: row.usage,
            written: row.cache_write_tokens,
        };
        let Tally { usage, written } = before.plus(tally);
        *row = Answers {
            answers: row.answers + 1,
            usage,
            cache_write_tokens: written,
        };
    }

    pub fn models(&self) -> ModelsUsed {
        let models = lock(&self.models);
        let row = |((provider, model), of): (&(String, String), &Answers)| ModelAnswers {
            provider: provider.clone(),
            model: model.clone(),
            of: *of,
        };
        ModelsUsed {
            rows: models.rows.rows.iter().map(row).collect(),
            others: models.rows.others,
            unread: models.unread,
        }
    }

    pub fn take_denials(&self) -> Denials {
        let taken = std::mem::take(&mut *lock(&self.denials));
        let row = |(refused, count): (Refused, u64)| Denial {
            host: refused.target.host,
            port: refused.target.port,
            reason: refused.reason,
            key: refused.key,
            count,
        };
        Denials {
            rows: taken.rows.into_iter().map(row).collect(),
            others: taken.others,
        }
    }

    pub fn reached(&self) -> Reached {
        let reached = lock(&self.reached);
        let row = |(target, counts): (&Target, &Arc<Counts>)| Reach {
            host: target.host.clone(),
            port: target.port,
            traffic: counts.traffic(),
        };
        Reached {
            rows: reached.rows.iter().map(row).collect(),
            others: reached.others.traffic(),
        }
    }
}

/// No lock is held where something can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
