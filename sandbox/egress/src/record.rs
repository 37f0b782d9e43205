//! What a step reached, and what it was kept from. Bounded: a program may try any number of hosts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealfleet_domain::egress::{Denial, Denials, Denied, Reach, Reached, Traffic};
use sealfleet_domain::limits;

use crate::target::Target;

#[derive(Default)]
pub struct Record {
    denials: Mutex<Rows<(Target, Denied), u64>>,
    reached: Mutex<Rows<Target, Arc<Counts>>>,
}

/// One value for each key, as long as there are few keys, and one for all others.
struct Rows<K, V> {
    rows: BTreeMap<K, V>,
    others: V,
}

impl<K, V: Default> Default for Rows<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            others: V::default(),
        }
    }
}

impl<K: Ord, V: Default> Rows<K, V> {
    fn of(&mut self, key: K) -> &mut V {
        if self.rows.len() < limits::EGRESS_ROWS || self.rows.contains_key(&key) {
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
        *lock(&self.denials).of((target.clone(), reason)) += 1;
    }

    /// Counts a connection, and says where its bytes are counted.
    pub fn connected(&self, target: &Target) -> Arc<Counts> {
        let counts = Arc::clone(lock(&self.reached).of(target.clone()));
        counts.connections.fetch_add(1, Ordering::Relaxed);
        counts
    }

    pub fn take_denials(&self) -> Denials {
        let taken = std::mem::take(&mut *lock(&self.denials));
        let row = |((target, reason), count): ((Target, Denied), u64)| Denial {
            host: target.host,
            port: target.port,
            reason,
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
