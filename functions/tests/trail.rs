//! `trail`: what reaches the audit table from the rows of runs, and every way in which somebody
//! else may have changed a row in between.

use std::sync::{Arc, Mutex};

use aws_lambda_events::event::dynamodb::{Event, EventRecord, UserIdentity};
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::run::{Mode, Pace, Run, StepSpec};
use sealfleet_domain::{Owner, ProjectScope, RunId};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_functions::trail::{self, Ports};
use sealfleet_ledger::store::Item;
use sealfleet_ledger::{AuditFilter, Ledger};
use sealfleet_test_fakes::handlers::ledger;
use sealfleet_test_fakes::memory::{Changed, Tables};
use sealfleet_test_fakes::random::Random;
use sealfleet_test_fakes::stage::{self, Fault, Stage};

const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};

struct World {
    stage: Stage<()>,
    ledger: Ledger,
    lines: Arc<Mutex<Vec<String>>>,
    ports: Ports,
}

fn scope() -> ProjectScope {
    ProjectScope::of_stored_row("healthcare".parse().unwrap())
}

impl World {
    fn new() -> Self {
        let world = stage::World::new(Tables::default(), 1_800_000_000_000, Random::new(1), ());
        let stage = Stage::new(world);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let ports = Ports {
            ledger: ledger(&stage, 1),
            metrics: Metrics::to("trail", lines.clone()),
        };
        Self {
            ledger: ledger(&stage, 2),
            stage,
            lines,
            ports,
        }
    }

    /// A run that is stored, and then cancelled: two records of the stream.
    async fn cancelled_run(&self) -> (RunId, Vec<Changed>) {
        let spec: StepSpec = serde_json::from_value(serde_json::json!({
            "pool": "workers", "mode": Mode::Sandboxed, "command": ["true"],
            "timeout_seconds": 60, "max_attempts": 3, "ttl_seconds": 3600,
        }))
        .unwrap();
        let now = self.ledger.now();
        let run_id = RunId::new(self.ledger.ids(), now);
        let steps = [("a".parse().unwrap(), spec)].into();
        let (run, change) = Run::enqueue(run_id, "w".parse().unwrap(), None, steps, PACE, now);
        let scope = scope();
        let stored = self.ledger.enqueue(&scope, run, &change, None, "test");
        stored.await.unwrap();
        let cancel = |run: &mut Run, now| run.cancel(now);
        let cancelled = self.ledger.transition(&scope, run_id, "test", cancel);
        cancelled.await.unwrap();
        (run_id, std::mem::take(&mut self.stage.lock().stream))
    }

    /// Sends records, and tells whether they must come again.
    async fn comes_again(&self, records: Vec<EventRecord>) -> bool {
        let mut event = Event::default();
        event.records = records;
        trail::handle(&self.ports, event).await.is_err()
    }

    fn tampered(&self) -> usize {
        let lines = self.lines.lock().unwrap();
        let tampered = lines.iter().filter(|line| line.contains("AuditSetAside"));
        tampered.count()
    }

    /// Names of the events in the trail.
    async fn names(&self) -> Vec<String> {
        let now = self.ledger.now();
        let filter = AuditFilter::between(now.plus_seconds(-3600), now, 100);
        let page = self.ledger.audit(&Owner::Project(scope()), &filter).await;
        let entries = page.unwrap().entries.into_iter();
        entries
            .flat_map(|entry| entry.events)
            .map(|event| event.name())
            .collect()
    }
}

fn record(change: &Changed) -> EventRecord {
    let image = |item: &Option<Arc<Item>>| -> serde_dynamo::Item {
        let item = item.as_ref().map(|item| item.as_ref().clone());
        item.unwrap_or_default().into()
    };
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let keys = Item::from([
        ("pk".to_owned(), text(&change.key.pk)),
        ("sk".to_owned(), text(&change.key.sk)),
    ]);
    let mut record = EventRecord::default();
    record.change.keys = keys.into();
    record.change.sequence_number = Some("1".to_owned());
    record.change.old_image = image(&change.before);
    record.change.new_image = image(&change.after);
    record
}

const ALL: [&str; 4] = [
    "run.enqueued",
    "run.cancelled",
    "step.aborted",
    "run.finished",
];

#[tokio::test]
async fn each_entry_arrives_once_however_often_its_record_comes() {
    let world = World::new();
    let (_, changes) = world.cancelled_run().await;
    let records: Vec<_> = changes.iter().map(record).collect();
    world.stage.lock().audit_away = Some(Fault::Unavailable);
    assert!(world.comes_again(records.clone()).await);
    assert_eq!(world.names().await, [""; 0]);
    world.stage.lock().audit_away = None;
    for _ in 0..2 {
        assert!(!world.comes_again(records.clone()).await);
        assert_eq!(world.names().await, ALL);
    }
    assert_eq!(world.tampered(), 0);
}

#[tokio::test]
async fn the_trail_of_one_run_is_there_at_once() {
    let world = World::new();
    let (run_id, _) = world.cancelled_run().await;
    assert_eq!(world.names().await, [""; 0]);
    let now = world.ledger.now();
    let mut filter = AuditFilter::between(now.plus_seconds(-3600), now, 100);
    filter.run_id = Some(run_id);
    let page = world.ledger.audit(&Owner::Project(scope()), &filter).await;
    assert_eq!(page.unwrap().entries.len(), 2);
}

#[tokio::test]
async fn every_change_of_entries_by_somebody_else_is_told() {
    type Touch = fn(&mut Vec<AttributeValue>, &mut Item);
    let touches: [(&str, Touch); 7] = [
        ("the first entry removed", |list, _| drop(list.remove(0))),
        ("all entries removed", |list, _| list.clear()),
        ("the last entry in the place of the first", |list, _| {
            drop(list.swap_remove(0));
        }),
        ("the order changed", |list, _| list.reverse()),
        ("an entry replaced", |list, _| {
            let other = sealfleet_ledger::pack(&"other").unwrap();
            list[0] = AttributeValue::B(other.into());
        }),
        ("moved entries that are still there", |_, row| {
            let moved = AttributeValue::N("1".to_owned());
            row.insert("moved".to_owned(), moved);
        }),
        ("a new entry that is none", |list, _| {
            let last = list.len() - 1;
            list[last] = AttributeValue::S("none".to_owned());
        }),
    ];
    for (what, touch) in touches {
        let world = World::new();
        let (_, mut changes) = world.cancelled_run().await;
        let mut row = changes[1].after.as_deref().unwrap().clone();
        let mut list = row["e"].as_l().unwrap().clone();
        touch(&mut list, &mut row);
        row.insert("e".to_owned(), AttributeValue::L(list));
        changes[1].after = Some(Arc::new(row));
        let records = changes.iter().map(record).collect();
        assert!(
            !world.comes_again(records).await,
            "{what}: it blocks the shard"
        );
        assert_eq!(world.tampered(), 1, "{what}");
        assert_eq!(world.names().await, ["run.enqueued"], "{what}");
    }
}

#[tokio::test]
async fn only_time_to_live_may_delete_a_run() {
    let world = World::new();
    let (_, mut changes) = world.cancelled_run().await;
    let mut deleted = changes.pop().unwrap();
    deleted.before = deleted.after.take();
    let by_somebody = record(&deleted);
    let mut by_service = by_somebody.clone();
    let mut service = UserIdentity::default();
    service.principal_id = "dynamodb.amazonaws.com".to_owned();
    by_service.user_identity = Some(service);
    assert!(!world.comes_again(vec![by_service]).await);
    assert_eq!(world.tampered(), 0);
    assert!(!world.comes_again(vec![by_somebody]).await);
    assert_eq!(world.tampered(), 1);
}

impl World {
    /// Runs that were cancelled one after the other, some milliseconds apart, and their records.
    async fn cancelled_runs(&self, count: usize) -> Vec<EventRecord> {
        let mut records = Vec::new();
        for _ in 0..count {
            let (_, changes) = self.cancelled_run().await;
            records.extend(changes.iter().map(record));
            self.stage.lock().time += 100;
        }
        records
    }

    fn rows(&self) -> usize {
        self.stage.lock().tables.audit_rows()
    }

    /// The whole trail, `limit` entries a page.
    async fn pages(&self, limit: usize) -> Vec<AuditEntry> {
        let now = self.ledger.now();
        let mut filter = AuditFilter::between(now.plus_seconds(-3600), now, limit);
        let mut entries: Vec<AuditEntry> = Vec::new();
        loop {
            let page = self.ledger.audit(&Owner::Project(scope()), &filter).await;
            let page = page.unwrap();
            assert!(page.entries.len() <= limit);
            entries.extend(page.entries);
            let Some(after) = page.more_after else {
                return entries;
            };
            assert!(filter.after < Some(after), "a page that leads nowhere");
            filter.after = Some(after);
        }
    }
}

#[tokio::test]
async fn entries_that_come_together_share_rows() {
    let world = World::new();
    let records = world.cancelled_runs(60).await;
    let (odd, even): (Vec<_>, Vec<_>) = records
        .chunks(2)
        .map(<[EventRecord]>::to_vec)
        .enumerate()
        .partition(|(number, _)| number % 2 == 1);
    let joined = |some: &[(usize, Vec<EventRecord>)]| -> Vec<EventRecord> {
        some.iter()
            .flat_map(|(_, records)| records.clone())
            .collect()
    };
    // Rows of one partition whose times overlap.
    for batch in [joined(&odd), joined(&even)] {
        assert!(!world.comes_again(batch).await);
    }
    let rows = world.rows();
    assert!(rows <= 40, "{rows} rows of 120 entries in 8 partitions");
    for limit in [1, 3, 7, 1000] {
        let entries = world.pages(limit).await;
        assert_eq!(entries.len(), 120, "{limit} a page");
        assert!(entries.is_sorted_by(|one, next| one.event_id < next.event_id));
    }
    let owner = Owner::Project(scope());
    for entry in world.pages(1000).await {
        let found = world.ledger.audit_entry(&owner, entry.event_id).await;
        assert_eq!(found.unwrap(), entry);
    }

    // The same batch makes the same rows. A part of it makes others, and readers see no difference.
    assert!(!world.comes_again(joined(&odd)).await);
    assert_eq!(world.rows(), rows);
    assert!(!world.comes_again(joined(&odd[..7])).await);
    assert!(!world.comes_again(joined(&odd[7..])).await);
    assert!(world.rows() > rows);
    for limit in [1, 1000] {
        assert_eq!(world.pages(limit).await.len(), 120, "{limit} a page");
    }
}

#[tokio::test]
async fn a_larger_batch_with_the_same_beginning_loses_nothing() {
    let world = World::new();
    let records = world.cancelled_runs(30).await;
    for length in [2, 10, 60] {
        assert!(!world.comes_again(records[..length].to_vec()).await);
        assert_eq!(world.pages(1000).await.len(), length);
    }
}

#[tokio::test]
async fn a_row_holds_what_was_made_within_seconds() {
    let world = World::new();
    let (_, first) = world.cancelled_run().await;
    world.stage.lock().time += 3_600_000;
    let (_, second) = world.cancelled_run().await;
    let records = first.iter().chain(&second).map(record).collect();
    assert!(!world.comes_again(records).await);
    let now = world.ledger.now();
    let late = AuditFilter::between(now.plus_seconds(-60), now, 100);
    let page = world.ledger.audit(&Owner::Project(scope()), &late).await;
    assert_eq!(page.unwrap().entries.len(), 2);
}

/// The sample of `events/trail`, and what it must be: the records of a run that was cancelled.
#[tokio::test]
async fn the_sample_is_done() {
    let path = crate::repository::root().join("events/trail/batch.json");
    if std::env::var_os("SEALFLEET_WRITE_DOCS").is_some() {
        let (_, changes) = World::new().cancelled_run().await;
        let mut event = Event::default();
        event.records = changes.iter().map(record).collect();
        let mut sample = serde_json::to_string_pretty(&event).unwrap();
        sample.push('\n');
        std::fs::write(&path, sample).unwrap();
    }
    let sample = std::fs::read_to_string(path).unwrap();
    let sample: Event = serde_json::from_str(&sample).unwrap();
    let world = World::new();
    assert!(!world.comes_again(sample.records).await);
    assert_eq!(world.tampered(), 0);
    assert_eq!(world.names().await, ALL);
}
