//! When each worker's heartbeat came last, for people who look at a worker. Noted once a minute by
//! each instance, because each note costs a write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sealfleet_domain::{Line, Timestamp, WorkerId};
use sealfleet_ledger::Ledger;

use crate::shared::auth::WorkerCaller;

/// Seconds between two notes about a worker.
const EVERY_SECONDS: i64 = 60;
/// Workers that an instance remembers.
const REMEMBERED: usize = 1000;

/// When this instance noted each worker last.
#[derive(Default)]
pub struct Seen(Mutex<HashMap<WorkerId, Timestamp>>);

impl Seen {
    /// Notes a heartbeat, unless this instance has noted one in the last minute. A note that fails
    /// is left to the next minute: no lease depends on it.
    pub(super) async fn note(&self, ledger: &Ledger, caller: &WorkerCaller, version: Option<Line>) {
        let worker_id = caller.worker.worker_id;
        if !self.is_time(worker_id, ledger.now()) {
            return;
        }
        let version = version.map(String::from);
        let noted = ledger.note_heartbeat(&caller.scope, worker_id, version);
        if let Err(error) = noted.await {
            tracing::warn!(%error, %worker_id, "a worker's heartbeat was not noted");
        }
    }

    fn is_time(&self, worker_id: WorkerId, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recently = |at: &Timestamp| now < at.plus_seconds(EVERY_SECONDS);
        if noted.get(&worker_id).is_some_and(recently) {
            return false;
        }
        if noted.len() >= REMEMBERED {
            noted.retain(|_, at| recently(at));
        }
        noted.insert(worker_id, now);
        true
    }
}
