//! `trail`: what reaches the audit table from the rows of runs, and every way in which somebody
//! else may have changed a row in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lambda_events::event::dynamodb::{Event, EventRecord, UserIdentity};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::approval::Asker;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::fleet::{Worker, WorkerStatus};
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::identity::{Identity, SecretRef};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::run::{Executor, Fence, Fresh, Mode, Outcome, Pace, Run, StepSpec};
use sealfleet_domain::{Owner, ProjectScope, RunId, WorkerId};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_functions::trail::{self, Ports};
use sealfleet_ledger::store::{Condition, Item, Key, Table, Write};
use sealfleet_ledger::{AuditFilter, Ledger, NewClaim, RunRow, RunsPlace};
use sealfleet_test_fakes::handlers::ledger;
use sealfleet_test_fakes::memory::{Changed, Tables};
use sealfleet_test_fakes::random::Random;
use sealfleet_test_fakes::stage::{self, Fault, Stage};

const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};

pub struct World {
    pub stage: Stage<()>,
    pub ledger: Ledger,
    lines: Arc<Mutex<Vec<String>>>,
    ports: Ports,
}

fn identity() -> Identity {
    let secret = SecretRef {
        delivery: sealfleet_domain::delivery::Delivery::Env,
        redact: true,
        name: "A".to_owned(),
        uri: "builtin://a".parse().unwrap(),
        version: Some("1".to_owned()),
        arn: None,
        from: "crm".parse().unwrap(),
    };
    Identity {
        secrets: vec![secret],
        ..Identity::default()
    }
}

fn put(item: Item) -> Write {
    Write::Put {
        table: Table::Ledger,
        item,
        only_if: Condition::Absent,
    }
}

/// Another identity, packed.
fn packed_other() -> Blob {
    Blob::new(sealfleet_ledger::pack(&Identity::default()).unwrap())
}

pub fn scope() -> ProjectScope {
    ProjectScope::of_stored_row("healthcare".parse().unwrap())
}

impl World {
    pub fn new() -> Self {
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

    /// Stores a run of steps with an identity, or of sandboxed ones.
    pub async fn enqueue(&self, steps: &[&str], identity: Option<Identity>) -> RunId {
        let mode = match identity {
            Some(_) => Mode::Identity,
            None => Mode::Sandboxed,
        };
        let spec: StepSpec = serde_json::from_value(serde_json::json!({
            "pool": "workers", "mode": mode, "command": ["true"],
            "timeout_seconds": 60, "max_attempts": 3, "ttl_seconds": 3600,
        }))
        .unwrap();
        let now = self.ledger.now();
        let run_id = RunId::new(self.ledger.ids(), now);
        let steps = steps
            .iter()
            .map(|step| (step.parse().unwrap(), spec.clone()));
        let workflow = "w".parse().unwrap();
        let (run, change) = Run::enqueue(run_id, workflow, identity, steps.collect(), PACE, now);
        let scope = scope();
        let stored = self.ledger.enqueue(&scope, run, &change, None, "test");
        stored.await.unwrap();
        run_id
    }

    /// Stores a run of one step that two have to approve.
    pub async fn enqueue_waiting(&self, step: &str) -> RunId {
        let spec: StepSpec = serde_json::from_value(serde_json::json!({
            "pool": "workers", "mode": "sandboxed", "command": ["true"], "approval": "required",
            "timeout_seconds": 60, "max_attempts": 3, "ttl_seconds": 3600,
        }))
        .unwrap();
        let now = self.ledger.now();
        let run_id = RunId::new(self.ledger.ids(), now);
        let of = ("w".parse().unwrap(), None);
        let steps = BTreeMap::from([(step.parse().unwrap(), spec)]);
        let asker = Asker {
            actor: "test".to_owned(),
            login: None,
            approvers: 2,
            logins_only: false,
        };
        let (run, change) = Run::enqueue_version(run_id, of, None, steps, Some(asker), PACE, now);
        let scope = scope();
        let stored = self.ledger.enqueue(&scope, run, &change, None, "test");
        stored.await.unwrap();
        run_id
    }

    pub async fn claim(&self, run_id: RunId, step: &str, fresh: Fresh) -> Fence {
        let worker = Worker {
            worker_id: WorkerId::new(self.ledger.ids(), self.ledger.now()),
            name: "w".to_owned(),
            pool: "workers".parse().unwrap(),
            status: WorkerStatus::Approved,
            labels: Labels::default(),
            models: vec![],
            modes: vec![Mode::Sandboxed, Mode::Identity],
            max_concurrent: 1,
            hash: None,
            enrolled_by: None,
            draining_since: None,
            sandboxes: Default::default(),
            registered_at: self.ledger.now(),
        };
        let wanted = NewClaim {
            scope: &scope(),
            worker: &worker,
            run_id,
            step_id: &step.parse().unwrap(),
            executor: Executor::Worker,
            pace: PACE,
        };
        let claimed = self.ledger.claim(&wanted, async |_| Ok(fresh.clone()));
        claimed.await.unwrap().fence
    }

    /// Writes to the tables as somebody who may do everything.
    fn write_whatever(&self, write: Write) {
        let tables = &mut self.stage.lock().tables;
        tables.ignores_conditions = true;
        tables.write(vec![write]).unwrap();
        tables.ignores_conditions = false;
    }

    /// A run that is stored, and then cancelled: two records of the stream.
    pub async fn cancelled_run(&self) -> (RunId, Vec<Changed>) {
        let run_id = self.enqueue(&["a"], None).await;
        let scope = scope();
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

    /// The entries of the trail.
    async fn entries(&self) -> Vec<AuditEntry> {
        let now = self.ledger.now();
        let filter = AuditFilter::between(now.plus_seconds(-3600), now, 100);
        let page = self.ledger.audit(&Owner::Project(scope()), &filter).await;
        page.unwrap().entries
    }

    /// Names of the events in the trail.
    async fn names(&self) -> Vec<String> {
        let events = self
            .entries()
            .await
            .into_iter()
            .flat_map(|entry| entry.events);
        events.map(|event| event.name()).collect()
    }
}

pub fn record(change: &Changed) -> EventRecord {
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

type Touch = fn(&mut Item);

fn list(row: &mut Item) -> &mut Vec<AttributeValue> {
    match row.get_mut("e") {
        Some(AttributeValue::L(list)) => list,
        other => panic!("no entries: {other:?}"),
    }
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn foreign() -> AttributeValue {
    let other = sealfleet_ledger::pack(&"other").unwrap();
    AttributeValue::B(other.into())
}

/// A record with its new image touched.
fn touched(change: &Changed, touch: Touch) -> EventRecord {
    let mut change = change.clone();
    let mut row = change.after.as_deref().unwrap().clone();
    touch(&mut row);
    change.after = Some(Arc::new(row));
    record(&change)
}

#[tokio::test]
async fn every_change_of_entries_by_somebody_else_is_told() {
    let touches: [(&str, Touch); 13] = [
        ("the first entry removed", |row| drop(list(row).remove(0))),
        ("all entries removed", |row| list(row).clear()),
        ("the list removed", |row| drop(row.remove("e"))),
        ("text in the place of the list", |row| {
            let text = AttributeValue::S("none".to_owned());
            row.insert("e".to_owned(), text);
        }),
        ("the last entry in the place of the first", |row| {
            drop(list(row).swap_remove(0));
        }),
        ("the order changed", |row| list(row).reverse()),
        ("an entry inserted", |row| list(row).insert(0, foreign())),
        ("an entry replaced", |row| list(row)[0] = foreign()),
        ("an entry changed", |row| {
            let mut bytes = list(row)[0].as_b().unwrap().clone().into_inner();
            bytes[9] ^= 1;
            list(row)[0] = AttributeValue::B(bytes.into());
        }),
        ("moved entries that are still there", |row| {
            row.insert("moved".to_owned(), number(1));
        }),
        ("a new entry that is none", |row| {
            *list(row).last_mut().unwrap() = AttributeValue::S("none".to_owned());
        }),
        ("another count", |row| {
            drop(row.insert("eb".to_owned(), number(7)))
        }),
        ("hidden from the stream's filter", |row| {
            drop(row.remove("trail"))
        }),
    ];
    for (what, touch) in touches {
        let world = World::new();
        let (_, changes) = world.cancelled_run().await;
        let records = vec![record(&changes[0]), touched(&changes[1], touch)];
        assert!(
            !world.comes_again(records).await,
            "{what}: it blocks the shard"
        );
        assert_eq!(world.tampered(), 1, "{what}");
        assert_eq!(world.names().await, ["run.enqueued"], "{what}");
    }
}

impl World {
    /// A run whose entries were moved once: its records of the stream.
    async fn long_run(&self) -> Vec<Changed> {
        let steps = ["a", "b", "c", "d", "e"];
        let run_id = self.enqueue(&steps, None).await;
        for step in steps {
            let claimed = self.claim(run_id, step, Fresh::Nothing).await;
            // Text that does not shrink makes the entries large.
            let words = (0..600).map(|word| sha256_hex(format!("{step}-{word}").as_bytes()));
            let actor: String = words.collect();
            let scope = scope();
            let ended = self.ledger.transition(&scope, run_id, &actor, |run, now| {
                let step = step.parse().unwrap();
                run.finish(&step, None, claimed, &Outcome::Succeeded, PACE, now)
            });
            ended.await.unwrap();
        }
        std::mem::take(&mut self.stage.lock().stream)
    }
}

/// The place of the only record of moved entries, and that of the run's move.
fn of_move(changes: &[Changed]) -> (usize, usize) {
    let is_moved = |change: &Changed| change.key.pk.contains("#ENTRIES#");
    let moved = changes.iter().position(is_moved).unwrap();
    assert_eq!(changes.iter().filter(|change| is_moved(change)).count(), 1);
    let has =
        |item: &Option<Arc<Item>>| item.as_ref().is_some_and(|item| item.contains_key("moved"));
    let move_of_run = |change: &Changed| has(&change.after) && !has(&change.before);
    (moved, changes.iter().position(move_of_run).unwrap())
}

#[tokio::test]
async fn moved_entries_arrive_and_whoever_touches_them_is_told() {
    let world = World::new();
    let changes = world.long_run().await;
    let records: Vec<_> = changes.iter().map(record).collect();
    assert!(!world.comes_again(records).await);
    assert_eq!(world.tampered(), 0);
    let names = world.names().await;
    let ended = names.iter().filter(|name| *name == "step.succeeded");
    assert_eq!(ended.count(), 5, "{names:?}");

    let (moved, moves) = of_move(&changes);
    let mut later = changes[moved].clone();
    later.before = later.after.clone();
    assert!(!world.comes_again(vec![record(&later)]).await);
    assert_eq!(world.tampered(), 0, "nothing has changed");
    let mut deleted = later.clone();
    deleted.after = None;
    let mut reset = changes[moves + 1].clone();
    reset.before = changes[moves].after.clone();
    let touches = [
        (
            "an entry removed",
            touched(&later, |row| drop(list(row).remove(0))),
        ),
        (
            "an entry changed",
            touched(&later, |row| list(row)[0] = foreign()),
        ),
        ("the row deleted", record(&deleted)),
        (
            "the count of moved rows reset",
            touched(&reset, |row| {
                drop(row.insert("moved".to_owned(), number(0)))
            }),
        ),
    ];
    for (told, (what, record)) in touches.into_iter().enumerate() {
        assert!(!world.comes_again(vec![record]).await, "{what}");
        assert_eq!(world.tampered(), told + 1, "{what}");
    }
    assert_eq!(world.names().await, names);
}

#[tokio::test]
async fn an_identity_that_is_gone_or_another_one_is_told_and_blocks_nobody() {
    for gone in [false, true] {
        let world = World::new();
        let run_id = world.enqueue(&["a"], Some(identity())).await;
        world.claim(run_id, "a", Fresh::Identity(identity())).await;
        let changes = std::mem::take(&mut world.stage.lock().stream);
        let run = RunRow::of_image(changes[0].after.as_deref().unwrap()).unwrap();
        let key = Key {
            pk: format!("PRJ#healthcare#IDENTITY#{}", run.names().first().unwrap()),
            sk: "IDENTITY".to_owned(),
        };
        let row = world.stage.lock().tables.get(Table::Ledger, &key).unwrap();
        let delete = Write::Delete {
            key,
            only_if: Condition::Absent,
        };
        let mut other = row.as_ref().clone();
        other.insert("z".to_owned(), AttributeValue::B(packed_other()));
        let tamper = if gone { delete } else { put(other) };
        world.write_whatever(tamper);
        let records: Vec<_> = changes.iter().map(record).collect();
        assert!(
            !world.comes_again(records.clone()).await,
            "it blocks the shard"
        );
        assert_eq!(world.tampered(), 1, "of the claim alone");
        assert_eq!(world.names().await, ["run.enqueued"]);
        // Put back, it can be read, and what was left out arrives.
        world.write_whatever(put(row.as_ref().clone()));
        assert!(!world.comes_again(records).await);
        let names = world.names().await;
        assert!(
            names.iter().any(|name| name == "secret.released"),
            "{names:?}"
        );
    }
}

#[tokio::test]
async fn what_the_stream_lost_is_copied_again_and_nothing_twice() {
    let world = World::new();
    let first = world.ledger.now();
    let mut changes = world.long_run().await;
    world.stage.lock().time += 60_000;
    let later = world.ledger.now();
    let (_, more) = world.cancelled_run().await;
    changes.extend(more);
    // A third of the records was lost.
    let kept = changes.iter().enumerate().filter(|(at, _)| at % 3 != 1);
    let records: Vec<_> = kept.map(|(_, change)| record(change)).collect();
    assert!(!world.comes_again(records).await);
    let before = world.entries().await;

    let scope = scope();
    let period = async |from, to| {
        let (mut place, mut copied) = (RunsPlace::default(), 0);
        loop {
            let read = world.ledger.entries_again(&scope, (from, to), place);
            let read = read.await.unwrap();
            assert!(read.unreadable.is_empty(), "{:?}", read.unreadable);
            copied += read.entries;
            let event = serde_json::json!({ "Records": read.records });
            let event: Event = serde_json::from_value(event).unwrap();
            assert!(!world.comes_again(event.records).await);
            let Some(next) = read.next else { break copied };
            place = next;
        }
    };
    let of_first = period(first, later.plus_seconds(-1)).await;
    assert_eq!(of_first, 11, "enqueued, and five steps claimed and ended");
    let some = world.entries().await;
    assert!(
        some.len() > before.len() && some.len() < 13,
        "{}",
        some.len()
    );
    let all = period(first, later).await;
    assert_eq!(all, 13);
    for _ in 0..2 {
        assert_eq!(world.entries().await.len(), 13, "each once");
        period(first, later).await;
    }
    assert_eq!(world.tampered(), 0);
}

#[tokio::test]
async fn a_run_that_cannot_be_read_is_named_and_others_are_copied() {
    let world = World::new();
    let from = world.ledger.now();
    let (bad, mut changes) = world.cancelled_run().await;
    let (_, _) = world.cancelled_run().await;
    let mut row = changes.remove(1).after.unwrap().as_ref().clone();
    list(&mut row)[0] = foreign();
    world.write_whatever(put(row));
    let (mut place, mut unreadable, mut entries) = (Some(RunsPlace::default()), vec![], 0);
    while let Some(from_here) = place {
        let period = (from, world.ledger.now());
        let scope = scope();
        let read = world.ledger.entries_again(&scope, period, from_here);
        let read = read.await.unwrap();
        unreadable.extend(read.unreadable);
        entries += read.entries;
        place = read.next;
    }
    assert_eq!((unreadable, entries), (vec![bad], 2));
}

#[tokio::test]
async fn only_time_to_live_may_delete_a_run_and_only_one_that_has_ended() {
    let world = World::new();
    let (_, changes) = world.cancelled_run().await;
    let deleted = |change: &Changed| {
        let mut deleted = change.clone();
        deleted.before = deleted.after.take();
        record(&deleted)
    };
    let by_service = |mut record: EventRecord| {
        let mut service = UserIdentity::default();
        service.principal_id = "dynamodb.amazonaws.com".to_owned();
        record.user_identity = Some(service);
        record
    };
    let (live, ended) = (deleted(&changes[0]), deleted(&changes[1]));
    assert!(!world.comes_again(vec![by_service(ended.clone())]).await);
    assert_eq!(world.tampered(), 0);
    assert!(!world.comes_again(vec![by_service(live)]).await);
    assert_eq!(world.tampered(), 1, "somebody has let it expire");
    assert!(!world.comes_again(vec![ended]).await);
    assert_eq!(world.tampered(), 2);
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
