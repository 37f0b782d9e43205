//! Runs of one step `a`, and workers that claim it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sealfleet_domain::fleet::{Worker, WorkerStatus};
use sealfleet_domain::identity::Identity;
use sealfleet_domain::labels::Labels;
use sealfleet_domain::run::{Change, Mode, OnDrift, Pace, Run, StepSpec};
use sealfleet_domain::{Clock, ProjectScope, RunId, StepId, Timestamp, WorkerId};
use sealfleet_ledger::Ledger;
use sealfleet_ledger::store::Store;
use sealfleet_system::{SystemClock, SystemIds};
use sealfleet_test_dynamo::Streamed;

pub const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};

/// A clock that tests move by hand, and that also advances with each read.
pub struct Hand {
    millis: AtomicI64,
    each_look: AtomicI64,
}

impl Hand {
    pub fn new() -> Self {
        Self {
            millis: AtomicI64::new(1_800_000_000_000),
            each_look: AtomicI64::new(0),
        }
    }

    pub fn wait(&self, millis: i64) {
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// From now on, each read takes this long.
    pub fn advance_with_each_look(&self, millis: i64) {
        self.each_look.store(millis, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        let each_look = self.each_look.load(Ordering::Relaxed);
        Timestamp::from_millis(self.millis.fetch_add(each_look, Ordering::Relaxed))
    }
}

/// A ledger, with the `trail` function behind it.
pub async fn ledger() -> Ledger {
    let (store, _) = sealfleet_test_dynamo::start().await.unwrap();
    let copier = over(store.clone());
    over(Arc::new(Streamed::new(store, copier)))
}

/// A ledger alone: what runs do does not reach the trail.
pub async fn ledger_alone() -> Ledger {
    let (store, _) = sealfleet_test_dynamo::start().await.unwrap();
    over(store)
}

fn over(store: Arc<dyn Store>) -> Ledger {
    Ledger::new(store, Arc::new(SystemClock), Arc::new(SystemIds))
}

pub fn scope(project: &str) -> ProjectScope {
    ProjectScope::of_stored_row(project.parse().unwrap())
}

pub fn step() -> StepId {
    "a".parse().unwrap()
}

pub fn worker(ledger: &Ledger, max_concurrent: u32) -> Worker {
    Worker {
        worker_id: WorkerId::new(ledger.ids(), ledger.now()),
        name: "w".to_owned(),
        pool: "workers".parse().unwrap(),
        status: WorkerStatus::Approved,
        labels: Labels::default(),
        models: vec![],
        modes: vec![Mode::Sandboxed, Mode::Identity],
        max_concurrent,
        hash: None,
        enrolled_by: None,
        draining_since: None,
        sandboxes: Default::default(),
        registered_at: ledger.now(),
    }
}

pub fn spec(mode: Mode) -> StepSpec {
    StepSpec {
        pool: "workers".parse().unwrap(),
        mode,
        command: vec!["true".into()],
        agent: None,
        needs: BTreeSet::new(),
        takes: BTreeSet::new(),
        requires: Labels::default(),
        model: None,
        env: BTreeMap::new(),
        tool: None,
        inputs: Default::default(),
        tty: false,
        artifacts: Vec::new(),
        approval: None,
        on_drift: OnDrift::Proceed,
        timeout_seconds: 60,
        max_attempts: 3,
        ttl_seconds: 3600,
    }
}

/// A run that is to be stored: sandboxed, or with an identity.
pub fn run(ledger: &Ledger, identity: Option<Identity>) -> (Run, Change) {
    let mode = if identity.is_some() {
        Mode::Identity
    } else {
        Mode::Sandboxed
    };
    let now = ledger.now();
    let steps = BTreeMap::from([(step(), spec(mode))]);
    Run::enqueue(
        RunId::new(ledger.ids(), now),
        "w".parse().unwrap(),
        identity,
        steps,
        PACE,
        now,
    )
}
