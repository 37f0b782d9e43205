//! A host that nobody else knows of: it is registered in one place, and a step of its pool is
//! launched, followed, stopped and ended by the same functions as any other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use sealfleet_domain::fleet::{HostedPool, Pool, Project, Worker, WorkerStatus};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::run::{
    DeadReason, Failure, Handle, Mode, RequeueReason, Run, StartCause, StepState,
};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{PoolName, ProjectScope, RunId, WorkerId};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_functions::shared::task::{Context, follow};
use sealfleet_functions::{dispatch, sweep};
use sealfleet_hosts::{End, Error, Hosts, Launched, Sandbox, SandboxHost, Seen, Template};
use sealfleet_ledger::Ledger;
use sealfleet_test_fakes::handlers::{PACE, ledger};
use sealfleet_test_fakes::memory::Tables;
use sealfleet_test_fakes::ports::Ports;
use sealfleet_test_fakes::random::Random;
use sealfleet_test_fakes::stage::{self, Stage};
use sealfleet_versions::Versions;
use serde_json::{Value, json};

use crate::world::{self, Sent, Who};

/// Runs sandboxes in a map.
#[derive(Clone)]
struct Toy {
    kind: &'static str,
    sandboxes: Arc<Mutex<BTreeMap<String, Sandbox>>>,
    /// What it answers to launches.
    refuses: Arc<Mutex<Option<Error>>>,
    /// What it has prepared, in order, and how much of it is gone.
    prepared: Arc<Mutex<Vec<String>>>,
    gone: Arc<Mutex<usize>>,
    /// How many sandboxes each question was about.
    questions: Arc<Mutex<Vec<usize>>>,
}

impl Toy {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            sandboxes: Arc::default(),
            refuses: Arc::default(),
            prepared: Arc::default(),
            gone: Arc::default(),
            questions: Arc::default(),
        }
    }

    fn show(&self, handle: &Handle, seen: Seen) {
        let mut sandboxes = self.sandboxes.lock().unwrap();
        if let Some(sandbox) = sandboxes.get_mut(handle.as_str()) {
            sandbox.seen = seen;
        }
    }

    fn get(&self, handle: &Handle) -> Option<Sandbox> {
        self.sandboxes.lock().unwrap().get(handle.as_str()).cloned()
    }
}

#[async_trait]
impl SandboxHost for Toy {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn owns(&self, handle: &Handle) -> bool {
        handle.as_str().starts_with(&format!("{}:", self.kind))
    }

    fn template_key(&self, template: &Template) -> String {
        format!("{}:{}", self.kind, template.image)
    }

    async fn prepare(&self, _: &ProjectScope, template: &Template) -> Result<String, Error> {
        let mut prepared = self.prepared.lock().unwrap();
        let name = format!("{} {}", template.image, prepared.len());
        prepared.push(name.clone());
        Ok(name)
    }

    async fn launch(&self, claim: &ClaimTag, prepared: &str) -> Result<Launched, Error> {
        if let Some(error) = self.refuses.lock().unwrap().clone() {
            return Err(error);
        }
        let gone = *self.gone.lock().unwrap();
        let known = self.prepared.lock().unwrap();
        if !known.iter().skip(gone).any(|name| name == prepared) {
            return Ok(Launched::Unprepared);
        }
        let handle = Handle::new(format!("{}:{claim}", self.kind));
        let sandbox = Sandbox {
            handle: handle.clone(),
            id: claim.to_string(),
            claim: Some(claim.clone()),
            seen: Seen::Starting,
            size: None,
            started_at: None,
            stopped_at: None,
        };
        let mut sandboxes = self.sandboxes.lock().unwrap();
        sandboxes.insert(handle.as_str().to_owned(), sandbox);
        Ok(Launched::Sandbox(handle))
    }

    async fn stop(&self, handle: &Handle, _: &str) -> Result<(), Error> {
        self.show(handle, Seen::Ended(End::Exit(143)));
        Ok(())
    }

    async fn look(&self, handle: &Handle) -> Result<Option<Sandbox>, Error> {
        self.questions.lock().unwrap().push(1);
        Ok(self.get(handle))
    }

    async fn look_at(&self, handles: &[Handle]) -> Vec<Result<Option<Sandbox>, Error>> {
        self.questions.lock().unwrap().push(handles.len());
        handles.iter().map(|handle| Ok(self.get(handle))).collect()
    }

    async fn find(&self, claim: &ClaimTag) -> Result<Option<Handle>, Error> {
        let handle = Handle::new(format!("{}:{claim}", self.kind));
        Ok(self.get(&handle).map(|sandbox| sandbox.handle))
    }
}

struct World {
    toy: Toy,
    stage: Stage<()>,
    ledger: Ledger,
    scope: ProjectScope,
    lines: Arc<Mutex<Vec<String>>>,
    dispatch: dispatch::Ports,
    sweep: sweep::Ports,
}

impl World {
    async fn new() -> Self {
        let (tables, random) = (Tables::default(), Random::new(1));
        let stage = Stage::new(stage::World::new(tables, 1_800_000_000_000, random, ()));
        let ledger = ledger(&stage, 1);
        let scope = ProjectScope::of_stored_row("healthcare".parse().unwrap());
        let toy = Toy::new("toy");
        // All that a deployment needs to have one host more.
        let hosts = || Hosts::of(Toy::new("another")).and(toy.clone());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let metrics = Metrics::to("any", lines.clone());
        let dispatch = dispatch::Ports {
            ledger: ledger.clone(),
            hosts: hosts(),
            secrets: Versions::default(),
            pace: PACE,
            metrics: metrics.clone(),
            runners: dispatch::Runners::default(),
        };
        let sweep = sweep::Ports {
            ledger: ledger.clone(),
            queues: Box::new(Ports(stage.clone())),
            hosts: hosts(),
            pace: PACE,
            metrics,
            continuations: Box::new(Ports(stage.clone())),
            at_once: sweep::AT_ONCE,
        };
        onboard(&ledger, &scope).await;
        Self {
            toy,
            stage,
            ledger,
            scope,
            lines,
            dispatch,
            sweep,
        }
    }

    async fn enqueue(&self) -> RunId {
        let now = self.ledger.now();
        let run_id = RunId::new(self.ledger.ids(), now);
        let spec = json!({
            "pool": "boxes", "mode": "sandboxed", "command": ["true"], "timeout_seconds": 600, "max_attempts": 3,
            "ttl_seconds": 3600,
        });
        let steps = BTreeMap::from([("a".parse().unwrap(), serde_json::from_value(spec).unwrap())]);
        let (run, change) = Run::enqueue(run_id, "w".parse().unwrap(), None, steps, PACE, now);
        let stored = self.ledger.enqueue(&self.scope, run, &change, None, "test");
        stored.await.unwrap();
        run_id
    }

    /// The queue delivers the step's message. Whether it is dealt with.
    async fn deliver(&self, run_id: RunId) -> bool {
        let mut message = SqsMessage::default();
        message.body = Some(json!({ "run_id": run_id, "step_id": "a" }).to_string());
        message.event_source_arn = Some("arn:aws:sqs:r:1:sealfleet-healthcare--boxes".to_owned());
        let mut event = SqsEvent::default();
        event.records = vec![message];
        let response = dispatch::handle(&self.dispatch, event).await;
        response.batch_item_failures.is_empty()
    }

    async fn launched(&self) -> (RunId, Handle) {
        let run_id = self.enqueue().await;
        assert!(self.deliver(run_id).await);
        let StepState::Leased(hold) = self.state(run_id).await else {
            panic!("the step was not claimed");
        };
        (run_id, hold.handle.unwrap())
    }

    /// Two minutes pass, and `sweep` asks.
    async fn sweep(&self) {
        self.stage.lock().time += 120_000;
        let until = self.ledger.now().plus_seconds(40);
        let swept = sweep::handle(&self.sweep, until).await.unwrap();
        assert_eq!(swept.failed, 0);
    }

    async fn state(&self, run_id: RunId) -> StepState {
        let run = self.ledger.run(&self.scope, run_id).await.unwrap();
        run.step(&"a".parse().unwrap()).unwrap().state.clone()
    }
}

async fn onboard(ledger: &Ledger, scope: &ProjectScope) {
    let now = ledger.now();
    let worker_id = WorkerId::new(ledger.ids(), now);
    let pool: PoolName = "boxes".parse().unwrap();
    let hosted = HostedPool {
        host: "toy".to_owned(),
        worker_id,
        image: "a box".to_owned(),
        cpu: 256,
        memory_mib: 512,
    };
    let project = Project::new(
        scope.project().clone(),
        BTreeMap::from([(pool.clone(), Pool::Hosted(hosted))]),
        now,
    );
    let worker = Worker {
        worker_id,
        name: "boxes".to_owned(),
        pool,
        status: WorkerStatus::Approved,
        labels: Labels::default(),
        models: vec![],
        modes: vec![Mode::Sandboxed],
        max_concurrent: 1000,
        hash: None,
        enrolled_by: None,
        draining_since: None,
        sandboxes: Default::default(),
        registered_at: now,
    };
    ledger
        .create_project(scope, &project, &[worker], "test")
        .await
        .unwrap();
}

#[tokio::test]
async fn sweep_follows_a_sandbox_of_any_host() {
    let world = World::new().await;
    let (run_id, handle) = world.launched().await;
    assert!(handle.as_str().starts_with("toy:healthcare/"));
    world.sweep().await;
    assert!(matches!(world.state(run_id).await, StepState::Leased(_)));
    world.toy.show(&handle, Seen::Running);
    world.sweep().await;
    assert!(matches!(world.state(run_id).await, StepState::Running(_)));
    world.toy.show(&handle, Seen::Ended(End::Exit(3)));
    world.sweep().await;
    let StepState::Failed { failure, .. } = world.state(run_id).await else {
        panic!("the step has not ended");
    };
    assert_eq!(failure, Failure::Exit { code: 3 });
}

#[tokio::test]
async fn a_drained_pool_launches_nothing_until_it_is_resumed() {
    let world = World::new().await;
    let (scope, ledger) = (&world.scope, &world.ledger);
    let pool = &ledger.workers(scope, None, 1).await.unwrap().items[0];
    let drain = async |drains| {
        let drained = ledger.drain_worker(scope, pool.worker_id, drains, "test");
        drained.await.unwrap()
    };
    drain(true).await;
    let run_id = world.enqueue().await;
    assert!(world.deliver(run_id).await, "the message would die");
    assert!(matches!(
        world.state(run_id).await,
        StepState::Queued { .. }
    ));
    drain(false).await;
    assert!(world.deliver(run_id).await);
    assert!(matches!(world.state(run_id).await, StepState::Leased(_)));
}

/// The host tells how the step's sandbox stands.
async fn told(world: &World, handle: &Handle, seen: Seen) {
    let ports = &world.sweep;
    let with = Context {
        ledger: &ports.ledger,
        queues: ports.queues.as_ref(),
        hosts: &ports.hosts,
        pace: ports.pace,
        metrics: &ports.metrics,
    };
    world.toy.show(handle, seen);
    let sandbox = world.toy.get(handle).unwrap();
    let claim = sandbox.claim.clone().unwrap();
    follow(&with, &claim, &sandbox).await.unwrap();
}

#[tokio::test]
async fn a_host_that_tells_is_followed_at_once() {
    let world = World::new().await;
    let (run_id, handle) = world.launched().await;
    told(&world, &handle, Seen::Running).await;
    assert!(matches!(world.state(run_id).await, StepState::Running(_)));
    told(&world, &handle, Seen::Ended(End::Lost)).await;
    assert!(matches!(
        world.state(run_id).await,
        StepState::Queued { .. }
    ));
}

fn not_started(reason: RequeueReason) -> Seen {
    Seen::Ended(End::NotStarted {
        reason,
        detail: "in the host's words".to_owned(),
    })
}

#[tokio::test]
async fn s66_a_start_that_fails_for_a_while_is_tried_again_later_and_not_for_ever() {
    let world = World::new().await;
    let (run_id, mut handle) = world.launched().await;
    let mut waits = Vec::new();
    for _ in 0..2 {
        let now = world.ledger.now();
        told(&world, &handle, not_started(RequeueReason::NetworkTimeout)).await;
        let StepState::Queued { resend_at, .. } = world.state(run_id).await else {
            panic!("the step does not wait");
        };
        waits.push(resend_at.millis_since(now) / 1000);
        assert!(world.deliver(run_id).await);
        let StepState::Leased(hold) = world.state(run_id).await else {
            panic!("the step was not claimed again");
        };
        handle = hold.handle.unwrap();
    }
    assert_eq!(waits, [60, 120], "each attempt waits longer");
    told(&world, &handle, not_started(RequeueReason::NetworkTimeout)).await;
    let state = world.state(run_id).await;
    let reason = DeadReason::AttemptsExhausted;
    assert!(
        matches!(state, StepState::Dead { reason: r, .. } if r == reason),
        "{state:?}"
    );
}

#[tokio::test]
async fn a_host_without_room_takes_no_attempt_and_not_more_than_the_time_to_live() {
    let world = World::new().await;
    let (run_id, mut handle) = world.launched().await;
    for _ in 0..5 {
        told(&world, &handle, not_started(RequeueReason::NoCapacity)).await;
        assert!(world.deliver(run_id).await);
        let StepState::Leased(hold) = world.state(run_id).await else {
            panic!("the step was not claimed again");
        };
        handle = hold.handle.unwrap();
        world.stage.lock().time += 600_000;
    }
    told(&world, &handle, not_started(RequeueReason::NoCapacity)).await;
    world.stage.lock().time += 600_000;
    world.sweep().await;
    let state = world.state(run_id).await;
    let reason = DeadReason::TtlExpired;
    assert!(
        matches!(state, StepState::Dead { reason: r, .. } if r == reason),
        "{state:?}"
    );
}

#[tokio::test]
async fn what_must_be_mended_ends_the_step_with_its_cause() {
    let world = World::new().await;
    let cause = Some(StartCause::ImageMissing);
    let detail = "in the host's words".to_owned();
    let (run_id, handle) = world.launched().await;
    let end = End::CannotStart {
        cause,
        detail: detail.clone(),
    };
    told(&world, &handle, Seen::Ended(end)).await;
    let StepState::Failed { failure, .. } = world.state(run_id).await else {
        panic!("the step has not ended");
    };
    assert_eq!(failure, Failure::CannotStart { cause, detail });
}

#[tokio::test]
async fn s67_what_the_host_has_lost_is_prepared_anew_and_remembered() {
    let world = World::new().await;
    world.launched().await;
    world.launched().await;
    assert_eq!(*world.toy.prepared.lock().unwrap(), ["a box 0"]);
    *world.toy.gone.lock().unwrap() = 1;
    world.launched().await;
    world.launched().await;
    assert_eq!(*world.toy.prepared.lock().unwrap(), ["a box 0", "a box 1"]);
}

#[tokio::test]
async fn a_cancelled_step_is_stopped_by_its_host() {
    let world = World::new().await;
    let (run_id, handle) = world.launched().await;
    let cancelled = world
        .ledger
        .transition(&world.scope, run_id, "test", |run, now| run.cancel(now));
    cancelled.await.unwrap();
    world.sweep().await;
    let sandbox = world.toy.get(&handle).unwrap();
    assert_eq!(sandbox.seen, Seen::Ended(End::Exit(143)));
    let state = world.state(run_id).await;
    assert!(matches!(state, StepState::Aborted { stopping: None, .. }));
}

#[tokio::test]
async fn a_host_without_room_is_tried_again_and_counted() {
    let world = World::new().await;
    *world.toy.refuses.lock().unwrap() = Some(Error::NotNow {
        reason: RequeueReason::NoCapacity,
        detail: "the box is full".to_owned(),
    });
    let run_id = world.enqueue().await;
    assert!(!world.deliver(run_id).await, "the message comes again");
    assert!(matches!(
        world.state(run_id).await,
        StepState::Queued { .. }
    ));
    let refusals = world.lines.lock().unwrap().join("\n");
    assert!(refusals.contains("\"DispatchRefusals\":1.0"), "{refusals}");
    *world.toy.refuses.lock().unwrap() = None;
    assert!(world.deliver(run_id).await);
    assert!(matches!(world.state(run_id).await, StepState::Leased(_)));
}

#[tokio::test]
async fn a_host_is_asked_about_many_sandboxes_at_once() {
    let world = World::new().await;
    let mut launched = Vec::new();
    for _ in 0..150 {
        launched.push(world.launched().await);
    }
    for (_, handle) in launched.iter().take(140) {
        world.toy.show(handle, Seen::Running);
    }
    let (gone, lost) = launched.last().unwrap();
    world.toy.sandboxes.lock().unwrap().remove(lost.as_str());
    world.sweep().await;
    assert_eq!(*world.toy.questions.lock().unwrap(), [100, 50]);
    let mut running = 0;
    for (run_id, _) in &launched {
        running += usize::from(matches!(world.state(*run_id).await, StepState::Running(_)));
    }
    assert_eq!(running, 140, "each has its own answer");
    let state = world.state(*gone).await;
    assert!(matches!(state, StepState::Queued { .. }), "{state:?}");
}

/// A neighbour has more due runs than the time suffices for.
#[tokio::test]
async fn a_neighbours_flood_does_not_keep_a_host_from_being_asked() {
    let mut world = World::new().await;
    let (run_id, handle) = world.launched().await;
    world.toy.show(&handle, Seen::Ended(End::Exit(0)));
    let own = world.scope.clone();
    world.scope = ProjectScope::of_stored_row("a-noisy".parse().unwrap());
    for _ in 0..1500 {
        world.enqueue().await;
    }
    world.scope = own;
    {
        let mut stage = world.stage.lock();
        stage.time += 120_000;
        stage.call_takes = 10;
    }
    let until = world.ledger.now().plus_seconds(40);
    let swept = sweep::handle(&world.sweep, until).await.unwrap();
    assert!(swept.left > 100, "the time suffices for all: {swept:?}");
    let state = world.state(run_id).await;
    assert!(matches!(state, StepState::Succeeded { .. }), "{state:?}");
}

#[tokio::test]
async fn a_step_that_waits_is_counted_by_the_time_it_has_waited() {
    let world = World::new().await;
    let longest = || {
        let lines = world.lines.lock().unwrap();
        let seconds = |line: &String| serde_json::from_str::<Value>(line).unwrap();
        let seconds = lines.iter().map(seconds);
        seconds
            .filter_map(|line| line["QueuedSeconds"].as_f64())
            .fold(None, |longest: Option<f64>, one| {
                Some(longest.map_or(one, |l| l.max(one)))
            })
    };
    let run_id = world.enqueue().await;
    world.sweep().await;
    assert_eq!(longest(), Some(120.0));
    world.sweep().await;
    assert_eq!(longest(), Some(240.0));
    // A step that somebody has taken does not wait.
    assert!(world.deliver(run_id).await);
    world.lines.lock().unwrap().clear();
    world.sweep().await;
    assert_eq!(longest(), None);
}

#[tokio::test]
async fn a_pool_that_nobody_would_serve_is_refused() {
    let world = world::World::new().await;
    let image = format!("i@sha256:{}", "0".repeat(64));
    let fargate = json!({ "kind": "fargate", "image": image });
    let operator = world.credential(Who::Operator).to_owned();
    let create = async |project: &str, pool: &str| {
        let pools = json!({ "edge": { "kind": "pull" }, pool: fargate });
        let body = json!({ "project": project, "pools": pools });
        world
            .request(&operator, "POST", "/v1/projects", &body)
            .await
    };
    world.undeploy("acme", "clod");
    let (status, refused) = create("acme", "clod").await;
    assert_eq!(status, 400, "{refused}");
    assert_eq!(refused["field"], json!("pools.clod"), "{refused}");
    assert!(refused.to_string().contains("sealfleet project deploy"));
    // It is not registered, and its own pool is there.
    assert_eq!(create("acme", "cloud").await.0, 201);
    // A pool that is there stays, whatever became of its queue; a new one is looked for.
    world.undeploy("acme", "cloud");
    let change = async |pools: Value| {
        let request = Sent {
            credential: operator.clone(),
            headers: [("if-match", "\"1\"".to_owned())].into(),
            body: Some(json!({ "pools": pools }).to_string()),
            ..Sent::default()
        };
        world.send("PUT", "/v1/projects/acme", request).await.0
    };
    let more = json!({ "edge": { "kind": "pull" }, "cloud": fargate, "clod": fargate });
    assert_eq!(change(more).await, 400);
    let same = json!({ "edge": { "kind": "pull" }, "cloud": fargate });
    assert_eq!(change(same).await, 200);
}
