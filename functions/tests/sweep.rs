//! `sweep`, fan-outs and containments over tables whose calls take time: who waits for whom, what
//! is found when, and what several workers of one fan-out or containment come to.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use sealfleet_aws::Unavailable;
use sealfleet_aws::queues::Continuations;
use sealfleet_domain::audit::Event;
use sealfleet_domain::containment::{Containment, Position};
use sealfleet_domain::fleet::{Worker, WorkerStatus};
use sealfleet_domain::identity::{Identity, SecretRef};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::revocation::{FanOut, Revocation};
use sealfleet_domain::run::{Executor, Fresh, Mode, OnDrift, Pace, Run, StepSpec, StepState};
use sealfleet_domain::{
    Clock, ContainmentId, FanOutId, Owner, ProjectScope, RevocationId, RunId, StepId, Timestamp,
    WorkerId,
};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_functions::shared::{containment, fan_out};
use sealfleet_functions::sweep::{self, Swept};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::store::{
    Consistency, DueRow, DueRows, Item, Key, Query, ReadError, Rows, Store, Table, Write,
    WriteError,
};
use sealfleet_ledger::{AuditFilter, Ledger, NewClaim};
use sealfleet_test_fakes::memory::{Memory, Tables};
use sealfleet_test_fakes::ports::Ports;
use sealfleet_test_fakes::random::Random;
use sealfleet_test_fakes::stage::{self, Stage};
use sealfleet_test_fakes::time::SeededIds;
use serde_json::json;

const BEGINNING: i64 = 1_800_000_000_000;

/// Tables whose calls take milliseconds, and let others go on meanwhile.
struct Slow {
    memory: Memory,
    time: Arc<AtomicI64>,
    takes: Arc<AtomicI64>,
    run_writes: Arc<AtomicU64>,
}

impl Slow {
    async fn call(&self) {
        self.time
            .fetch_add(self.takes.load(Ordering::Relaxed), Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl Store for Slow {
    async fn get(
        &self,
        table: Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, ReadError> {
        self.call().await;
        self.memory.get(table, key, consistency).await
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError> {
        self.call().await;
        self.memory.query(query, after).await
    }

    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, ReadError> {
        self.call().await;
        self.memory.due(shard, until, after, limit).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.call().await;
        let is_run = |write: &&Write| {
            let (_, key) = write.target();
            key.is_some_and(|key| key.pk.contains("#RUNS#"))
        };
        let runs = u64::try_from(writes.iter().filter(is_run).count()).unwrap();
        self.run_writes.fetch_add(runs, Ordering::Relaxed);
        self.memory.write(writes).await
    }
}

struct Time(Arc<AtomicI64>);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Keeps what other invocations are asked for.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Continuations for Asked {
    async fn go_on(&self, body: String) -> Result<(), Unavailable> {
        self.0.lock().unwrap().push(body);
        Ok(())
    }
}

struct World {
    memory: Memory,
    ledger: Ledger,
    time: Arc<AtomicI64>,
    takes: Arc<AtomicI64>,
    run_writes: Arc<AtomicU64>,
    lines: Arc<Mutex<Vec<String>>>,
    asked: Asked,
    sweep: sweep::Ports,
}

impl World {
    fn new(lease_seconds: i64) -> Self {
        Self::over(Tables::default(), lease_seconds, 1)
    }

    /// A world that goes on from these tables, with ids of its own.
    fn over(tables: Tables, lease_seconds: i64, seed: u64) -> Self {
        let memory = Memory::new();
        *memory.tables() = tables;
        let time = Arc::new(AtomicI64::new(BEGINNING));
        let (takes, run_writes) = (Arc::default(), Arc::default());
        let store = Slow {
            memory: memory.clone(),
            time: Arc::clone(&time),
            takes: Arc::clone(&takes),
            run_writes: Arc::clone(&run_writes),
        };
        let clock = Arc::new(Time(Arc::clone(&time)));
        let ledger = Ledger::new(Arc::new(store), clock, Arc::new(SeededIds::new(seed)));
        // Nobody reads these queues.
        let queues = stage::World::new(Tables::default(), BEGINNING, Random::new(1), ());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let asked = Asked::default();
        let sweep = sweep::Ports {
            ledger: ledger.clone(),
            queues: Box::new(Ports(Stage::new(queues))),
            hosts: Hosts::default(),
            pace: pace(lease_seconds),
            metrics: Metrics::to("sweep", lines.clone()),
            continuations: Box::new(asked.clone()),
            at_once: sweep::AT_ONCE,
        };
        Self {
            memory,
            ledger,
            time,
            takes,
            run_writes,
            lines,
            asked,
            sweep,
        }
    }

    fn time_goes_by(&self, seconds: i64) {
        self.time.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    /// Enqueues a run of one step; `shard` is the shard of the due index that it is to be in.
    async fn enqueue(&self, project: &str, shard: Option<u8>, identity: Option<Identity>) -> RunId {
        let now = self.ledger.now();
        let run_id = loop {
            let run_id = RunId::new(self.ledger.ids(), now);
            let last = run_id.uuid().into_bytes()[15] % 16;
            if shard.is_none_or(|shard| shard == last) {
                break run_id;
            }
        };
        let spec = StepSpec {
            pool: "workers".parse().unwrap(),
            mode: if identity.is_some() {
                Mode::Identity
            } else {
                Mode::Sandboxed
            },
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
            timeout_seconds: 12 * 3600,
            max_attempts: 3,
            ttl_seconds: 24 * 3600,
        };
        let steps = BTreeMap::from([(step(), spec)]);
        let workflow = "w".parse().unwrap();
        let (run, change) = Run::enqueue(run_id, workflow, identity, steps, self.sweep.pace, now);
        let scope = scope(project);
        let stored = self.ledger.enqueue(&scope, run, &change, None, "test");
        stored.await.unwrap();
        run_id
    }

    fn worker(&self) -> Worker {
        Worker {
            worker_id: WorkerId::new(self.ledger.ids(), self.ledger.now()),
            name: "w".to_owned(),
            pool: "workers".parse().unwrap(),
            status: WorkerStatus::Approved,
            labels: Labels::default(),
            models: vec![],
            modes: vec![Mode::Sandboxed, Mode::Identity],
            max_concurrent: 1000,
            hash: None,
            enrolled_by: None,
            draining_since: None,
            sandboxes: Default::default(),
            registered_at: self.ledger.now(),
        }
    }

    async fn claim(&self, project: &str, worker: &Worker, run_id: RunId, fresh: &Fresh) {
        let (scope, step_id) = (scope(project), step());
        let wanted = NewClaim {
            scope: &scope,
            worker,
            run_id,
            step_id: &step_id,
            executor: Executor::Worker,
            pace: self.sweep.pace,
        };
        let claimed = self.ledger.claim(&wanted, async |_| Ok(fresh.clone()));
        claimed.await.unwrap();
    }

    async fn sweep(&self, seconds: i64) -> Swept {
        let until = self.ledger.now().plus_seconds(seconds);
        sweep::handle(&self.sweep, until).await.unwrap()
    }

    async fn state(&self, project: &str, run_id: RunId) -> StepState {
        let run = self.ledger.run(&scope(project), run_id).await.unwrap();
        run.step(&step()).unwrap().state.clone()
    }
}

const fn pace(lease_seconds: i64) -> Pace {
    Pace {
        lease_seconds,
        resend_seconds: 60,
    }
}

fn scope(project: &str) -> ProjectScope {
    ProjectScope::of_stored_row(project.parse().unwrap())
}

fn step() -> StepId {
    "a".parse().unwrap()
}

/// The neighbour has thousands of due rows in every shard, most of them in the one of ours, and all
/// due for longer; the time suffices for a part of them.
#[tokio::test]
async fn a_neighbours_flood_does_not_delay_an_expired_lease() {
    let world = World::new(30);
    let mut flood = 0;
    for shard in 0..16 {
        for _ in 0..if shard == 7 { 1500 } else { 250 } {
            world.enqueue("a-noisy", Some(shard), None).await;
            flood += 1;
        }
    }
    world.time_goes_by(300);
    let ours = world.enqueue("quiet", Some(7), None).await;
    let worker = world.worker();
    world.claim("quiet", &worker, ours, &Fresh::Nothing).await;
    world.time_goes_by(31);
    world.takes.store(2, Ordering::Relaxed);
    let began = world.ledger.now();
    let swept = world.sweep(5).await;
    assert!(swept.left > 1000, "the time suffices for all: {swept:?}");
    let StepState::Queued { since, .. } = world.state("quiet", ours).await else {
        panic!("the expired lease was not found: {swept:?}");
    };
    assert!(since.millis_since(began) < 1000, "{since}");
    let lines = world.lines.lock().unwrap().join("\n");
    let left = format!("\"SweepLeft\":{}.0", swept.left);
    assert!(lines.contains(&left), "{lines}");
    assert!(world.ledger.now().millis_since(began) < 7000, "a deadline");
    // The next ones go on until all are dealt with.
    let (mut visited, mut sweeps) = (swept.visited, 1);
    while sweeps < 20 {
        let swept = world.sweep(5).await;
        visited += swept.visited;
        sweeps += 1;
        if swept.visited == 0 {
            break;
        }
    }
    assert!(visited > flood, "{visited} of {flood}");
    assert!(sweeps > 2, "one sweep does it all");
}

/// A project's own flood of re-sends does not hide its expired lease, and the lease's reading does
/// not starve the re-sends.
#[tokio::test]
async fn a_projects_protective_work_comes_before_its_re_sends() {
    let world = World::new(30);
    for _ in 0..1000 {
        world.enqueue("healthcare", None, None).await;
    }
    world.time_goes_by(300);
    let ours = world.enqueue("healthcare", None, None).await;
    let worker = world.worker();
    world
        .claim("healthcare", &worker, ours, &Fresh::Nothing)
        .await;
    world.time_goes_by(31);
    world.takes.store(2, Ordering::Relaxed);
    // 2 ms for each of 1,000 runs to be read; 4 ms more for each re-send.
    let swept = world.sweep(4).await;
    let state = world.state("healthcare", ours).await;
    assert!(matches!(state, StepState::Queued { .. }), "{swept:?}");
    assert!(swept.left > 100, "the time suffices for all: {swept:?}");
    assert!(swept.visited > 200, "no re-sends: {swept:?}");
}

/// Its place in the index is early on purpose: a claim that follows at once need not move it.
#[tokio::test]
async fn a_run_that_is_looked_at_a_little_early_keeps_its_place() {
    let world = World::new(30);
    world.enqueue("healthcare", None, None).await;
    world.run_writes.store(0, Ordering::Relaxed);
    world.time_goes_by(40);
    assert_eq!(world.sweep(40).await.visited, 1);
    assert_eq!(world.run_writes.load(Ordering::Relaxed), 0);
    world.time_goes_by(30);
    assert_eq!(world.sweep(40).await.visited, 1);
    let writes = world.run_writes.load(Ordering::Relaxed);
    assert_eq!(writes, 1, "that its message was sent again");
}

/// Seconds between the end of a lease and the sweep that finds it, and how often a live step's row
/// is written in an hour.
async fn found_after(lease_seconds: i64, lives_seconds: i64) -> (i64, u64) {
    let world = World::new(lease_seconds);
    let run_id = world.enqueue("healthcare", None, None).await;
    let (scope, worker) = (scope("healthcare"), world.worker());
    world
        .claim("healthcare", &worker, run_id, &Fresh::Nothing)
        .await;
    world.run_writes.store(0, Ordering::Relaxed);
    let mut ends = world.ledger.now().plus_seconds(lease_seconds);
    for second in 1.. {
        world.time_goes_by(1);
        let now = world.ledger.now();
        if second <= lives_seconds && second % (lease_seconds / 3) == 0 {
            let held = world.ledger.leases_of(&scope, worker.worker_id);
            let lease = held.await.unwrap().remove(0);
            ends = now.plus_seconds(lease_seconds);
            let lease = lease.key(worker.worker_id);
            let beat = world.ledger.renew(&scope, &lease, ends);
            assert!(beat.await.unwrap());
        }
        if second % 60 == 0 {
            let before = world.run_writes.load(Ordering::Relaxed);
            world.sweep(40).await;
            let state = world.state("healthcare", run_id).await;
            if matches!(state, StepState::Queued { .. }) {
                return (now.millis_since(ends) / 1000, before);
            }
        }
    }
    panic!("it is never found")
}

#[tokio::test]
async fn an_expired_lease_is_found_within_75_seconds_and_a_live_step_seldom_moves() {
    for (lease_seconds, most_an_hour) in [(30, 11), (60, 10), (120, 9), (300, 7)] {
        let (_, writes) = found_after(lease_seconds, 3600).await;
        // What never moves would always come first.
        assert!(writes > 0, "{lease_seconds}: the run keeps its place");
        assert!(writes <= most_an_hour, "{lease_seconds}: {writes}");
        for lives in (200..320).step_by(7) {
            let (after, _) = found_after(lease_seconds, lives).await;
            assert!(
                (0..=75).contains(&after),
                "{lease_seconds}, {lives}: {after}"
            );
        }
    }
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

/// Runs in flight that hold the key: pages of leases in some lanes, and few in others.
const IN_FLIGHT: [usize; 4] = [105, 20, 3, 1];

impl World {
    async fn in_flight(&self, by_worker: &[usize]) -> u64 {
        let mut runs = 0;
        for count in by_worker.iter().copied() {
            let worker = self.worker();
            for _ in 0..count {
                let run_id = self.enqueue("healthcare", None, Some(identity())).await;
                let fresh = Fresh::Identity(identity());
                self.claim("healthcare", &worker, run_id, &fresh).await;
                runs += 1;
            }
        }
        runs
    }

    /// A hard revocation, whose fan-out nobody works on yet.
    async fn revoke(&self) -> FanOut {
        let now = self.ledger.now();
        let fan_out_id = FanOutId::new(self.ledger.ids(), now);
        let revocation = Revocation {
            revocation_id: RevocationId::new(self.ledger.ids(), now),
            profile: "crm".parse().unwrap(),
            key: "A".to_owned(),
            uri: "builtin://a".parse().unwrap(),
            hard: true,
            reason: "leaked".to_owned(),
            actor: "token:a".to_owned(),
            at: now,
            fan_out_id: Some(fan_out_id),
            lifted: None,
        };
        let (owner, rows) = (owner(), [revocation]);
        let revoked = self.ledger.revoke(&owner, &rows, "token:a");
        revoked.await.unwrap();
        self.ledger.fan_out(&owner, fan_out_id).await.unwrap()
    }

    async fn advance(&self, fan_out: &FanOut, first: u8, seconds: i64) -> FanOut {
        let until = self.ledger.now().plus_seconds(seconds);
        let (ledger, hosts) = (&self.ledger, &self.sweep.hosts);
        let advanced =
            fan_out::advance(ledger, hosts, &owner(), fan_out.clone(), first, until).await;
        advanced.unwrap()
    }

    /// Each run is aborted and counted once, and the end is told once.
    async fn is_finished(&self, fan_out: &FanOut, runs: u64) {
        let stored = self
            .ledger
            .fan_out(&owner(), fan_out.fan_out_id)
            .await
            .unwrap();
        let finished = stored.finished.unwrap();
        assert_eq!(finished.counts.runs_aborted, runs);
        assert_eq!(finished.counts.worker_sandboxes, runs);
        for partition in 0..8 {
            let mut place = self.ledger.first_place(&owner()).await.unwrap().unwrap();
            place.shard = partition;
            let left = self.ledger.in_flight(&place, None).await.unwrap();
            assert!(left.items.is_empty(), "{} are in flight", left.items.len());
        }
        let events = self.events("healthcare").await.into_iter();
        let ends = events.filter(|event| matches!(event, Event::FanOutFinished { .. }));
        assert_eq!(ends.count(), 1, "ends that are told");
    }

    /// The events of a project's trail in the last hour.
    async fn events(&self, project: &str) -> Vec<Event> {
        let (now, owner) = (self.ledger.now(), Owner::Project(scope(project)));
        let (mut after, mut events) = (None, Vec::new());
        loop {
            let mut filter = AuditFilter::between(now.plus_seconds(-3600), now, 1000);
            filter.after = after;
            let page = self.ledger.audit(&owner, &filter).await.unwrap();
            events.extend(page.entries.into_iter().flat_map(|entry| entry.events));
            after = page.more_after;
            if after.is_none() {
                return events;
            }
        }
    }
}

fn owner() -> Owner {
    Owner::Project(scope("healthcare"))
}

/// Lets work go on for so many turns, and then dies. What it came to, if it got there.
async fn for_turns<T>(turns: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    for _ in 0..turns {
        let polled = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
        if let Poll::Ready(done) = polled.await {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn workers_of_one_fan_out_may_die_anywhere_and_each_run_counts_once() {
    let before = World::new(30);
    let runs = before.in_flight(&IN_FLIGHT).await;
    let tables = before.memory.tables().clone();
    let mut deaths = 0;
    for turns in 1..25 {
        let world = World::over(tables.clone(), 30, 1 + u64::try_from(turns).unwrap());
        let fan_out = world.revoke().await;
        let all = |first| world.advance(&fan_out, first, 60);
        // Two at once, which die one after the other.
        let died = tokio::join!(for_turns(turns, all(0)), for_turns(turns + 5, all(4)));
        deaths += usize::from(died.0.is_none()) + usize::from(died.1.is_none());
        let again = tokio::join!(all(2), all(2), all(6));
        for advanced in [again.0, again.1, again.2] {
            assert!(advanced.finished.is_some());
        }
        world.is_finished(&fan_out, runs).await;
    }
    assert!(deaths > 10, "{deaths} deaths");
}

#[tokio::test]
async fn what_one_invocation_has_no_time_for_others_share() {
    let world = World::new(3600);
    // Something in nearly every lane.
    let runs = world.in_flight(&[25; 16]).await;
    let fan_out = world.revoke().await;
    world.takes.store(20, Ordering::Relaxed);
    assert!(world.advance(&fan_out, 0, 2).await.finished.is_none());
    world.time_goes_by(60);
    // A sweep finds it, works on it for its time, and asks for others.
    for _ in 0..30 {
        world.sweep(2).await;
        if !world.asked.0.lock().unwrap().is_empty() {
            break;
        }
    }
    let mut invocations = 0;
    loop {
        let asked: Vec<String> = std::mem::take(&mut *world.asked.0.lock().unwrap());
        if asked.is_empty() {
            break;
        }
        if invocations == 0 {
            assert_eq!(asked.len(), 4, "{asked:?}");
        }
        let records: Vec<_> = asked.iter().map(|body| json!({ "body": body })).collect();
        let until = world.ledger.now().plus_seconds(2);
        let event = json!({ "Records": records });
        sweep::invoked(&world.sweep, event, until).await.unwrap();
        invocations += 1;
        assert!(invocations < 50, "it goes on for ever");
    }
    assert!(invocations > 0, "nothing was left");
    world.takes.store(0, Ordering::Relaxed);
    world.is_finished(&fan_out, runs).await;
}

impl World {
    /// A containment that nobody works on yet.
    async fn contain(&self, project: &str) -> Containment {
        let now = self.ledger.now();
        let new = Containment {
            containment_id: ContainmentId::new(self.ledger.ids(), now),
            reason: "an incident".to_owned(),
            tokens: true,
            actor: "token:a".to_owned(),
            started_at: now,
            position: Position::begin(1),
            ended: None,
        };
        let ledger = self.ledger.within(Some(new.containment_id));
        let scope = scope(project);
        let begun = ledger.begin_containment(&scope, &new, None);
        begun.await.unwrap()
    }

    async fn contained(&self, project: &str, id: ContainmentId) -> Containment {
        let found = self.ledger.containment(&scope(project), id).await;
        found.unwrap()
    }

    async fn go_on_containing(&self, contained: &Containment, seconds: i64) -> Containment {
        let means = containment::Means {
            ledger: &self.ledger,
            hosts: &self.sweep.hosts,
            continuations: &self.asked,
        };
        let until = self.ledger.now().plus_seconds(seconds);
        let scope = scope("healthcare");
        let advanced = containment::advance(means, &scope, contained.clone(), until);
        advanced.await.unwrap()
    }
}

#[tokio::test]
async fn workers_of_one_containment_may_die_anywhere_and_each_run_counts_once() {
    let before = World::new(30);
    let mut runs = before.in_flight(&[20, 3]).await;
    for _ in 0..130 {
        before.enqueue("healthcare", None, None).await;
        runs += 1;
    }
    let tables = before.memory.tables().clone();
    let mut deaths = 0;
    for turns in (1..120).step_by(4) {
        let world = World::over(tables.clone(), 30, 1 + u64::try_from(turns).unwrap());
        let contained = world.contain("healthcare").await;
        let work = || world.go_on_containing(&contained, 60);
        // Two at once, which die one after the other.
        let died = tokio::join!(for_turns(turns, work()), for_turns(turns + 5, work()));
        deaths += usize::from(died.0.is_none()) + usize::from(died.1.is_none());
        world.time_goes_by(60);
        world.sweep(40).await;
        let ended = world.contained("healthcare", contained.containment_id);
        let ended = ended.await.ended.unwrap();
        assert!(ended.complete);
        assert_eq!(ended.stopped.runs, runs, "a death at turn {turns}");
        let events = world.events("healthcare").await;
        let of = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
        assert_eq!(
            of(|event| matches!(event, Event::ProjectContained { .. })),
            1
        );
        assert_eq!(
            of(|event| matches!(event, Event::ContainmentEnded { .. })),
            1
        );
    }
    assert!(deaths > 10, "{deaths} deaths");
}

#[tokio::test]
async fn what_one_invocation_has_no_time_to_contain_others_go_on_with() {
    let world = World::new(3600);
    for _ in 0..500 {
        world.enqueue("healthcare", None, None).await;
    }
    let contained = world.contain("healthcare").await;
    world.takes.store(5, Ordering::Relaxed);
    let so_far = world.go_on_containing(&contained, 2).await;
    assert!(so_far.ended.is_none(), "the time suffices for all");
    let (mut invocations, mut last) = (0, so_far.position);
    loop {
        let asked: Vec<String> = std::mem::take(&mut *world.asked.0.lock().unwrap());
        let [body] = &asked[..] else {
            assert!(asked.is_empty(), "{asked:?}");
            break;
        };
        let until = world.ledger.now().plus_seconds(2);
        let event = json!({ "Records": [{ "body": body }] });
        sweep::invoked(&world.sweep, event, until).await.unwrap();
        let id = contained.containment_id;
        let now = world.contained("healthcare", id).await;
        assert!(now.ended.is_some() || now.position != last, "no progress");
        last = now.position;
        invocations += 1;
    }
    assert!(invocations > 1, "nothing was left");
    let ended = world.contained("healthcare", contained.containment_id);
    let ended = ended.await.ended.unwrap();
    assert_eq!((ended.complete, ended.stopped.runs), (true, 500));
}

/// The neighbours have much to stop, and are due for longer.
#[tokio::test]
async fn neighbours_containments_do_not_delay_a_fan_out() {
    let world = World::new(3600);
    let neighbours = ["a-n", "b-n", "c-n", "d-n", "e-n", "v-n", "w-n", "x-n"];
    for neighbour in neighbours {
        for _ in 0..1500 {
            world.enqueue(neighbour, None, None).await;
        }
        world.contain(neighbour).await;
    }
    world.time_goes_by(10);
    let runs = world.in_flight(&[3]).await;
    let fan_out = world.revoke().await;
    world.time_goes_by(20);
    world.takes.store(2, Ordering::Relaxed);
    let began = world.ledger.now();
    world.sweep(15).await;
    world.takes.store(0, Ordering::Relaxed);
    world.is_finished(&fan_out, runs).await;
    let stored = world.ledger.fan_out(&owner(), fan_out.fan_out_id).await;
    let finished = stored.unwrap().finished.unwrap();
    assert!(finished.at.millis_since(began) < 10_000, "{}", finished.at);
    let mut going_on = 0;
    for neighbour in neighbours {
        let page = world.ledger.containments(&scope(neighbour), None, 1).await;
        going_on += usize::from(page.unwrap().items[0].ended.is_none());
    }
    assert!(going_on > 0, "the time suffices for all");
}
