//! Runs are read first by a read that may be late. It decides nothing that is not true any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::fleet::Worker;
use sealfleet_domain::run::{
    Executor, Fresh, Handle, Outcome, Refusal, RunState, SecretsRead, StepState,
};
use sealfleet_domain::{ProjectScope, RunId};
use sealfleet_ledger::store::{
    Condition, Consistency, DueRow, DueRows, Edit, Item, Key, Query, ReadError, Rows, Store, Table,
    Write, WriteError,
};
use sealfleet_ledger::{Claimed, Dynamo, Enqueued, Error, Ledger, NewClaim, Start, StartedSandbox};
use sealfleet_system::{SystemClock, SystemIds};

use crate::fixtures::{PACE, run, scope, step, worker};

/// Tables whose late reads show a run as it was some writes ago.
struct Late {
    store: Arc<Dynamo>,
    behind: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Each run as it was before each write to it.
    versions: HashMap<Key, Vec<Option<Item>>>,
    /// Strong reads of runs.
    strong: usize,
}

fn is_run(key: &Key) -> bool {
    key.pk.contains("#RUNS#")
}

#[async_trait]
impl Store for Late {
    async fn get(
        &self,
        table: Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, ReadError> {
        if is_run(key) {
            let mut seen = self.seen.lock().unwrap();
            match consistency {
                Consistency::Strong => seen.strong += 1,
                Consistency::Eventual => {
                    let versions = seen.versions.get(key).map_or(&[][..], Vec::as_slice);
                    if let Some(older) = versions.iter().rev().take(self.behind).next_back() {
                        return Ok(older.clone());
                    }
                }
            }
        }
        self.store.get(table, key, Consistency::Strong).await
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError> {
        self.store.query(query, after).await
    }

    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, ReadError> {
        self.store.due(shard, until, after, limit).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        let keys = writes.iter().filter_map(|write| write.target().1);
        for key in keys.filter(is_run).collect::<Vec<_>>() {
            let before = self.store.get(Table::Ledger, &key, Consistency::Strong);
            let before = before.await.map_err(WriteError::from)?;
            let mut seen = self.seen.lock().unwrap();
            seen.versions.entry(key).or_default().push(before);
        }
        self.store.write(writes).await
    }
}

async fn late(behind: usize) -> (Ledger, Arc<Late>) {
    let (store, _) = sealfleet_test_dynamo::start().await.unwrap();
    let late = Arc::new(Late {
        store,
        behind,
        seen: Mutex::default(),
    });
    let ledger = Ledger::new(late.clone(), Arc::new(SystemClock), Arc::new(SystemIds));
    (ledger, late)
}

async fn enqueue(ledger: &Ledger, scope: &ProjectScope) -> RunId {
    let (run, change) = run(ledger, None);
    let run_id = run.run_id;
    let stored = ledger.enqueue(scope, run, &change, None, "test").await;
    assert!(matches!(stored, Ok(Enqueued::New(_))), "{stored:?}");
    run_id
}

async fn claim(
    ledger: &Ledger,
    scope: &ProjectScope,
    worker: &Worker,
    run_id: RunId,
) -> Result<Claimed, Error> {
    let wanted = NewClaim {
        scope,
        worker,
        run_id,
        step_id: &step(),
        executor: Executor::Worker,
        pace: PACE,
    };
    ledger.claim(&wanted, async |_| Ok(Fresh::Nothing)).await
}

async fn start(
    ledger: &Ledger,
    scope: &ProjectScope,
    worker: &Worker,
    run_id: RunId,
    claimed: &Claimed,
) -> Result<Start, Error> {
    let sandbox = StartedSandbox {
        scope,
        run_id,
        step_id: &step(),
        holder: Some(worker.worker_id),
        fence: claimed.fence,
        handle: Handle::new("sandbox".to_owned()),
        read: &SecretsRead::default(),
        output: None,
        uploads: false,
        pace: PACE,
    };
    ledger.start(&sandbox, "test").await
}

#[tokio::test]
async fn a_late_read_decides_nothing_that_is_not_true_any_more() {
    for behind in [1, 2, 100] {
        let (ledger, _) = late(behind).await;
        let scope = scope("healthcare");
        let (holder, other) = (worker(&ledger, 2), worker(&ledger, 2));
        let run_id = enqueue(&ledger, &scope).await;

        let claimed = claim(&ledger, &scope, &holder, run_id).await.unwrap();
        // The late read shows a queued step.
        let second = claim(&ledger, &scope, &other, run_id).await;
        assert!(
            matches!(second, Err(Error::Refused(Refusal::NotQueued(_)))),
            "{second:?}"
        );
        assert!(
            ledger
                .leases_of(&scope, other.worker_id)
                .await
                .unwrap()
                .is_empty()
        );

        // It shows a step that nobody holds, and then one that has not started.
        for _ in 0..2 {
            let started = start(&ledger, &scope, &holder, run_id, &claimed).await;
            let Ok(Start::Running(done)) = started else {
                panic!("{started:?}")
            };
            let state = &done.run.step(&step()).unwrap().state;
            assert!(matches!(state, StepState::Running(_)), "{state:?}");
        }

        // It shows a step that runs.
        for ended in [true, false] {
            let outcome = Outcome::Succeeded;
            let (holder, fence) = (Some(holder.worker_id), claimed.fence);
            let done = ledger
                .transition(&scope, run_id, "test", |run, now| {
                    run.finish(&step(), holder, fence, &outcome, PACE, now)
                })
                .await
                .unwrap();
            assert_eq!(done.run.state(), RunState::Succeeded);
            assert_eq!(!done.change.events.is_empty(), ended);
        }
        let cancelled = ledger
            .transition(&scope, run_id, "test", |run, now| run.cancel(now))
            .await;
        assert!(
            matches!(&cancelled, Ok(done) if done.change.events.is_empty())
                || matches!(&cancelled, Err(Error::Refused(_))),
            "{cancelled:?}"
        );
    }
}

#[tokio::test]
async fn a_row_of_a_later_format_is_not_read() {
    let (ledger, tables) = late(0).await;
    let scope = scope("healthcare");
    let run_id = enqueue(&ledger, &scope).await;
    let written = {
        let seen = tables.seen.lock().unwrap();
        seen.versions.keys().next().cloned().unwrap()
    };
    let later = Write::Update {
        key: written,
        edits: vec![("f".to_owned(), Edit::Set(AttributeValue::N("2".to_owned())))],
        only_if: Condition::Is(vec![("f", AttributeValue::N("1".to_owned()))]),
    };
    tables.write(vec![later]).await.unwrap();
    let read = ledger.run(&scope, run_id).await;
    assert!(
        matches!(&read, Err(Error::Broken(detail)) if detail.contains("deploy the release")),
        "{read:?}"
    );
}

#[tokio::test]
async fn a_run_that_nobody_else_writes_is_never_read_strongly() {
    let (ledger, tables) = late(0).await;
    let (scope, holder) = (scope("healthcare"), worker(&ledger, 1));
    let run_id = enqueue(&ledger, &scope).await;
    let claimed = claim(&ledger, &scope, &holder, run_id).await.unwrap();
    let started = start(&ledger, &scope, &holder, run_id, &claimed).await;
    assert!(matches!(started, Ok(Start::Running(_))), "{started:?}");
    let done = ledger.transition(&scope, run_id, "test", |run, now| {
        let holder = Some(holder.worker_id);
        run.finish(
            &step(),
            holder,
            claimed.fence,
            &Outcome::Succeeded,
            PACE,
            now,
        )
    });
    done.await.unwrap();
    assert_eq!(tables.seen.lock().unwrap().strong, 0);
}
