//! Death between any two awaits.
//!
//! Each story is told once to the end, to count the calls that its handlers make at their ports;
//! then once for every call and both sides of it, with a handler that dies there: before the call
//! takes effect, or after it did and before its answer arrives. Callers, SQS and EventBridge repeat
//! a call that was not answered; in the harsher half of the tellings nobody does, and `sweep` alone
//! goes on.
//!
//! The invariants judge every effect. At the end each run has reached one end, no lease is left, no
//! task runs that nobody knows of, and no audit entry is lost.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aws_lambda_events::http::Method;
use sealfleet_api::http::Answer;
use sealfleet_api::types::Claim;
use sealfleet_api::{Code, Problem};
use sealfleet_domain::approval::{Approval, ApprovalState};
use sealfleet_domain::audit::Event;
use sealfleet_domain::containment::Containment;
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{Owner, ProjectScope, RunId};
use sealfleet_ledger::AuditFilter;
use sealfleet_simulation::director::Director;
use sealfleet_simulation::ecs::{End, Status};
use sealfleet_simulation::handlers::{Handlers, Invoke, Outcome, request};
use sealfleet_simulation::onboarding::{BEGINNING, Onboarded, PROJECT, onboard};
use sealfleet_simulation::random::Random;
use sealfleet_simulation::stage::{Actor, Fault, Stage, Verdict, World};
use sealfleet_simulation::temper::Temper;
use sealfleet_simulation::workers::{report, start};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Longer than the ledger ever backs off.
const BACK_OFF: Duration = Duration::from_millis(700);
const SEED: u64 = 1;

/// The place of the one death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Before this call takes effect.
    Before(usize),
    /// After it took effect, before its answer arrives.
    After(usize),
}

/// One telling of a story.
struct Tale {
    stage: Stage,
    handlers: Arc<Handlers>,
    director: Director,
    admin: String,
    /// Another admin.
    approver: String,
    worker: String,
    death: Option<Death>,
    repeats: bool,
    calls: usize,
    invocations: u64,
}

impl Tale {
    /// In the first project, with its neighbours beside it.
    async fn new(death: Option<Death>, repeats: bool) -> Self {
        static ONBOARDED: OnceCell<Onboarded> = OnceCell::const_new();
        let onboarded = ONBOARDED.get_or_init(async || onboard().await.unwrap());
        let onboarded = onboarded.await;
        let (calm, random) = (onboarded.calm.clone(), Random::new(SEED));
        let stage = Stage::new(World::new(calm.tables, BEGINNING, random, calm.judge));
        stage.lock().judge.exclusive = true;
        let temper = Temper {
            recovers: true,
            projects: onboarded.projects.len(),
            ..Temper::default()
        };
        let director = Director::new(stage.clone(), SEED, temper, onboarded);
        let project = &onboarded.projects[0];
        Self {
            handlers: Arc::clone(director.handlers()),
            stage,
            director,
            admin: project.admin.bearer.clone(),
            approver: project.approver.bearer.clone(),
            worker: format!("Bearer {}", project.workers[0].credential),
            death,
            repeats,
            calls: 0,
            invocations: 0,
        }
    }

    /// Invokes a handler, call by call; `None`: it died.
    async fn tell(&mut self, invoke: Invoke) -> Option<Outcome> {
        self.tell_and(invoke, None).await
    }

    /// The same, with another invocation before its nth call.
    async fn tell_and(
        &mut self,
        invoke: Invoke,
        mut meanwhile: Option<(usize, Invoke)>,
    ) -> Option<Outcome> {
        self.invocations += 1;
        let actor = {
            let world = self.stage.lock();
            Actor {
                number: self.invocations,
                name: format!("{}#{}", invoke.name(), self.invocations),
                subject: None,
                home: None,
                began: world.effects,
                began_at: world.time,
            }
        };
        let mut future = self.handlers.invoke(invoke);
        let (mut turn, mut verdict, mut own) = (None, Verdict::default(), 0);
        loop {
            self.stage.lock().enter(actor.clone(), turn, verdict);
            let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context)));
            let polled = polled.await;
            self.stage.lock().leave();
            if let Poll::Ready(outcome) = polled {
                return Some(outcome);
            }
            let waiting = self.stage.lock().waiting(actor.number);
            (turn, verdict) = (None, Verdict::default());
            if waiting.iter().any(|(_, call)| *call == "answer") {
                // It waits for the answer to its last call, and does not live to hear it.
                return None;
            }
            let Some((next, _)) = waiting.first() else {
                tokio::time::advance(BACK_OFF).await;
                continue;
            };
            own += 1;
            self.calls += 1;
            if let Some((_, other)) = meanwhile.take_if(|(at, _)| *at == own) {
                Box::pin(self.tell(other)).await;
            }
            if self.death == Some(Death::Before(self.calls)) {
                self.death = None;
                return None;
            }
            turn = Some(*next);
            verdict.slow = self
                .death
                .take_if(|at| *at == Death::After(self.calls))
                .is_some();
        }
    }

    /// Invokes a handler, and again when it died and whoever calls repeats.
    async fn call(&mut self, invoke: Invoke) -> Option<Outcome> {
        match self.tell(invoke.clone()).await {
            None if self.repeats => self.tell(invoke).await,
            told => told,
        }
    }

    async fn ask(
        &mut self,
        who: &str,
        path: &str,
        body: &Value,
    ) -> Option<Result<Answer, Problem>> {
        let told = self.call(post(who, path, body)).await?;
        let Outcome::Http(answer) = told else {
            panic!("{path}: {told:?}")
        };
        Some(answer)
    }

    /// A caller enqueues a run of one step. `None`: it is not stored.
    async fn enqueue(&mut self, pool: &str) -> Option<RunId> {
        self.enqueue_as("w", pool).await
    }

    /// The same, as another request.
    async fn enqueue_as(&mut self, workflow: &str, pool: &str) -> Option<RunId> {
        self.enqueue_this(&run_of(workflow, pool)).await
    }

    async fn enqueue_this(&mut self, body: &Value) -> Option<RunId> {
        let before = self.stage.lock().judge.runs().len();
        if let Some(answer) = self.ask(&self.admin.clone(), "/v1/runs", body).await {
            return Some(field(&answer.expect("enqueued"), "run_id").parse().unwrap());
        }
        let world = self.stage.lock();
        let runs = world.judge.runs();
        assert!(
            runs.len() <= before + 1,
            "one request stored {} runs",
            runs.len()
        );
        (runs.len() > before).then(|| *runs.keys().next_back().unwrap())
    }

    /// SQS delivers the messages of the Fargate pool.
    async fn deliver(&mut self) {
        self.deliver_and(None).await;
    }

    async fn deliver_and(&mut self, meanwhile: Option<(usize, Invoke)>) {
        let visible = {
            let world = self.stage.lock();
            world.queues.visible(&fargate_queue(), world.time)
        };
        for id in visible {
            let message = {
                let mut world = self.stage.lock();
                let now = world.time;
                world.queues.receive(id, now).unwrap()
            };
            let batch = Invoke::Batch(vec![message]);
            let told = match meanwhile.clone() {
                None => self.call(batch).await,
                meanwhile => self.tell_and(batch, meanwhile).await,
            };
            if let Some(Outcome::Batch(response)) = told
                && response.batch_item_failures.is_empty()
            {
                self.stage.lock().queues.delete(id);
            }
        }
    }

    /// Tasks get to run, and ECS tells of it.
    async fn tasks_run(&mut self) {
        {
            let mut world = self.stage.lock();
            let now = world.time;
            let live: Vec<String> = world.ecs.live().map(|task| task.arn.clone()).collect();
            for arn in live {
                while world.ecs.tasks[&arn].status < Status::Running {
                    world.ecs.move_on(&arn, now);
                }
            }
        }
        self.tell_events(1).await;
    }

    /// Tasks end after ten seconds, and ECS tells of it so many times.
    async fn tasks_end(&mut self, end: End, times: usize) {
        {
            let mut world = self.stage.lock();
            world.time += 10_000;
            let now = world.time;
            let live: Vec<String> = world.ecs.live().map(|task| task.arn.clone()).collect();
            for arn in live {
                world.ecs.end(&arn, end, now);
            }
        }
        self.tell_events(times).await;
    }

    async fn tell_events(&mut self, times: usize) {
        let events = std::mem::take(&mut self.stage.lock().ecs.events);
        for event in events {
            for _ in 0..times {
                let told = self.call(Invoke::Event(Box::new(event.task.clone()))).await;
                assert!(
                    matches!(told, None | Some(Outcome::Event(Ok(())))),
                    "{told:?}"
                );
            }
        }
    }

    /// A pull worker claims, starts and reports, and gives up where a call is not answered.
    async fn work(&mut self, run_id: RunId) {
        let bearer = self.worker.clone();
        let claim = json!({ "run_id": run_id, "step_id": "a" });
        let Some(Ok(answer)) = self.ask(&bearer, "/v1/claims", &claim).await else {
            return;
        };
        let claim: Claim = serde_json::from_value(answer.body).unwrap();
        let claim = (claim.run_id, claim.step_id, claim.fence);
        if let Some(Ok(_)) = self.ask(&bearer, "/v1/starts", &start(&claim)).await
            && let Some(Err(problem)) = self.ask(&bearer, "/v1/reports", &report(&claim, 0)).await
        {
            panic!("{problem}");
        }
    }

    async fn cancel(&mut self, run_id: RunId) {
        let path = format!("/v1/runs/{run_id}/cancel");
        if let Some(Err(problem)) = self.ask(&self.admin.clone(), &path, &json!({})).await {
            assert_eq!(problem.code, Code::Conflict, "{problem}");
        }
    }

    /// Another admin looks at what waits, if it does, and approves it.
    async fn approve(&mut self, approval: &str) {
        let (approver, path) = (self.approver.clone(), format!("/v1/approvals/{approval}"));
        let headers = [("authorization", approver.as_str())];
        let look = Invoke::Http(request(Method::GET, &path, &headers, None).unwrap());
        let Some(Outcome::Http(Ok(seen))) = self.call(look).await else {
            return;
        };
        let yes = json!({ "decision": "approve", "review_token": seen.body["review_token"] });
        let path = format!("{path}/decision");
        if let Some(Err(problem)) = self.ask(&approver, &path, &yes).await {
            panic!("{problem}");
        }
    }

    /// An admin revokes the key of the Fargate profile, hard.
    async fn revoke(&mut self) {
        let (admin, body) = (self.admin.clone(), revocation());
        if let Some(Err(problem)) = self.ask(&admin, "/v1/revocations", &body).await {
            assert_eq!(problem.code, Code::AlreadyRevoked, "{problem}");
        }
    }

    /// An admin contains the project.
    async fn contain(&mut self) {
        let body = json!({ "reason": "an incident", "tokens": true });
        if let Some(Err(problem)) = self
            .ask(&self.admin.clone(), "/v1/containments", &body)
            .await
        {
            panic!("{problem}");
        }
    }

    /// The containments of the project.
    async fn containments(&self) -> Vec<Containment> {
        let scope = ProjectScope::of_stored_row(PROJECT.parse().unwrap());
        let page = self.handlers.ledger.containments(&scope, None, 10).await;
        page.unwrap().items
    }

    async fn sweep(&mut self) {
        self.tell(Invoke::Sweep).await;
    }

    /// From now on writes that put an entry into the audit table fail like this.
    fn audit_table(&self, away: Option<Fault>) {
        self.stage.lock().audit_away = away;
    }

    fn state(&self, run_id: RunId) -> RunState {
        self.stage.lock().judge.runs()[&run_id].state()
    }

    /// Audit entries that wait in the outbox.
    fn outbox(&self) -> usize {
        self.stage.lock().judge.outbox()
    }

    async fn is_revoked(&self) -> bool {
        let active = self.handlers.ledger.active_revocations(&owner()).await;
        !active.unwrap().is_empty()
    }

    async fn events(&self) -> Vec<Event> {
        let now = self.handlers.ledger.now();
        let filter = AuditFilter::between(now.plus_seconds(-24 * 3600), now, 1000);
        let page = self.handlers.ledger.audit(&owner(), &filter).await.unwrap();
        assert!(page.more_after.is_none());
        page.entries
            .into_iter()
            .flat_map(|entry| entry.events)
            .collect()
    }

    async fn count(&self, wanted: fn(&Event) -> bool) -> usize {
        self.events().await.into_iter().filter(wanted).count()
    }

    /// Tasks that nobody has told to stop.
    fn tasks_running(&self) -> usize {
        let world = self.stage.lock();
        world.ecs.live().filter(|task| !task.stopping).count()
    }

    fn tasks_launched(&self) -> usize {
        self.stage.lock().ecs.tasks.len()
    }

    /// Tasks that nobody has told to stop, for a claim that is gone.
    fn orphans(&self) -> usize {
        let world = self.stage.lock();
        let running = world.ecs.live().filter(|task| !task.stopping);
        let gone = running.filter(|task| {
            let (_, run_id, step_id, fence) = task.claim().unwrap();
            world.judge.runs()[&run_id]
                .held(&step_id, None, fence)
                .is_err()
        });
        gone.count()
    }

    /// Lets time go by until all has ended, and checks every run's end. A sweep may be the handler
    /// that dies: the next one comes in a minute.
    async fn end(&mut self, ends: &[RunState]) {
        for _ in 0..3 {
            self.stage.lock().time += 60_000;
            self.sweep().await;
        }
        let stage = self.stage.clone();
        self.director.conclude(&stage).await;
        let world = stage.lock();
        assert_eq!(world.judge.violations(), &[] as &[String]);
        let runs = world.judge.runs().values();
        let states: Vec<RunState> = runs.map(|run| run.state()).collect();
        let right = states.iter().all(|state| ends.contains(state));
        assert!(right, "{states:?}, death at {:?}", self.death);
        // A death may lose a number; nothing counts one twice.
        let most = f64::from(u32::try_from(states.len()).unwrap());
        assert!(self.handlers.metric("StepsEnded") <= most);
    }
}

fn fargate_queue() -> String {
    format!("sealfleet-{PROJECT}--fargate")
}

fn owner() -> Owner {
    Owner::Project(ProjectScope::of_stored_row(PROJECT.parse().unwrap()))
}

fn field(answer: &Answer, name: &str) -> String {
    answer.body[name].as_str().unwrap().to_owned()
}

fn post(who: &str, path: &str, body: &Value) -> Invoke {
    let key = ContentHash::of(body.to_string().as_bytes()).to_string();
    let headers = [("authorization", who), ("idempotency-key", key.as_str())];
    Invoke::Http(request(Method::POST, path, &headers, Some(body)).unwrap())
}

/// A run of one step: an identity step in the Fargate pool, a sandboxed one in the pull pool.
fn run_of(workflow: &str, pool: &str) -> Value {
    let fargate = pool == "fargate";
    let mode = if fargate { "identity" } else { "sandboxed" };
    let profile = if fargate { json!("crm") } else { Value::Null };
    let step = json!({ "id": "a", "pool": pool, "mode": mode, "command": ["true"] });
    json!({ "workflow": workflow, "profile": profile, "steps": [step] })
}

fn revocation() -> Value {
    json!({ "keys": [{ "profile": "crm", "key": "API_KEY" }], "hard": true, "reason": "leaked" })
}

/// Tells `story` with a death at every call, with and without repeats.
async fn at_every_call(story: impl AsyncFn(&mut Tale), ends: &[RunState]) {
    for repeats in [true, false] {
        at_every_call_with(repeats, &story, ends).await;
    }
}

async fn at_every_call_with(repeats: bool, story: &impl AsyncFn(&mut Tale), ends: &[RunState]) {
    let mut whole = Tale::new(None, repeats).await;
    story(&mut whole).await;
    whole.end(ends).await;
    assert!(
        whole.calls > 5,
        "the story makes only {} calls",
        whole.calls
    );
    for call in 1..=whole.calls {
        for death in [Death::Before(call), Death::After(call)] {
            let mut tale = Tale::new(Some(death), repeats).await;
            story(&mut tale).await;
            tale.end(ends).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fargate_run_ends_once_wherever_a_handler_dies() {
    at_every_call(
        async |tale| {
            tale.enqueue("fargate").await;
            tale.deliver().await;
            tale.tasks_run().await;
            tale.tasks_end(End::Exit(0), 1).await;
        },
        &[RunState::Succeeded],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_worker_run_ends_once_wherever_a_handler_dies() {
    at_every_call(
        async |tale| {
            if let Some(run_id) = tale.enqueue("workers").await {
                tale.work(run_id).await;
            }
        },
        &[RunState::Succeeded, RunState::Dead],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_fargate_run_leaves_no_task() {
    at_every_call(
        async |tale| {
            if let Some(run_id) = tale.enqueue("fargate").await {
                tale.deliver().await;
                tale.cancel(run_id).await;
            }
        },
        // Without repeats, the one request to cancel may be the call that died.
        &[RunState::Aborted, RunState::Succeeded],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hard_revocation_is_finished_wherever_a_handler_dies() {
    at_every_call(
        async |tale| {
            tale.enqueue("fargate").await;
            tale.deliver().await;
            tale.revoke().await;
            if tale.is_revoked().await {
                // A sweep may be the handler that dies.
                for _ in 0..3 {
                    tale.stage.lock().time += 60_000;
                    tale.sweep().await;
                }
                assert_eq!(tale.count(is_finished_fan_out).await, 1);
            }
        },
        // A launch that died before the revocation finds it when it goes on. Without repeats, the
        // one request to revoke may be the call that died.
        &[RunState::Aborted, RunState::Failed, RunState::Succeeded],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_containment_is_driven_to_its_end_wherever_a_handler_dies() {
    at_every_call(
        async |tale| {
            tale.enqueue("fargate").await;
            tale.deliver().await;
            tale.enqueue_as("two", "workers").await;
            tale.contain().await;
            let begun = tale.containments().await.len();
            assert!(begun <= 1, "{begun} containments of one request");
            if begun == 1 {
                // A sweep may be the handler that dies.
                for _ in 0..3 {
                    tale.stage.lock().time += 60_000;
                    tale.sweep().await;
                }
                let ended = tale.containments().await[0].ended.clone();
                assert!(
                    ended.is_some_and(|ended| ended.complete),
                    "{:?}",
                    tale.death
                );
                let is_begin = |event: &Event| matches!(event, Event::ProjectContained { .. });
                let is_end = |event: &Event| matches!(event, Event::ContainmentEnded { .. });
                let told = (tale.count(is_begin).await, tale.count(is_end).await);
                assert_eq!(told, (1, 1));
                let runs = tale.stage.lock().judge.runs().clone();
                let mut ended = runs.values().map(|run| run.state());
                assert!(ended.all(RunState::is_terminal));
            }
        },
        // Without repeats, the one request to contain may be the call that died.
        &[
            RunState::Aborted,
            RunState::Failed,
            RunState::Succeeded,
            RunState::Dead,
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_approved_step_runs_once_wherever_a_handler_dies() {
    let story = async |tale: &mut Tale| {
        let mut body = run_of("w", "fargate");
        body["steps"][0]["approval"] = json!("required");
        body["steps"][0]["ttl_seconds"] = json!(600);
        if let Some(run_id) = tale.enqueue_this(&body).await {
            tale.deliver().await;
            assert_eq!(tale.tasks_launched(), 0);
            tale.approve(&format!("step:{run_id}:a")).await;
        }
        tale.deliver().await;
        tale.tasks_run().await;
        tale.tasks_end(End::Exit(0), 1).await;
    };
    at_every_call_with(true, &story, &[RunState::Succeeded]).await;
    // The one decision may be the call that died: then the request expires.
    at_every_call_with(false, &story, &[RunState::Succeeded, RunState::Aborted]).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_and_a_worker_are_approved_whole_wherever_a_handler_dies() {
    at_every_call(
        async |tale| {
            let admin = tale.admin.clone();
            let steps = json!([{ "id": "a", "pool": "workers", "mode": "sandboxed", "command": ["true"] }]);
            let version = json!({ "name": "nightly", "definition": { "steps": steps } });
            tale.ask(&admin, "/v1/workflows", &version).await;
            tale.approve("workflow:nightly@1").await;
            let worker = json!({ "project": PROJECT, "name": "new", "pool": "workers", "modes": ["sandboxed"], "max_concurrent": 1 });
            let register = request(Method::POST, "/v1/workers/register", &[], Some(&worker)).unwrap();
            let worker = match tale.call(Invoke::Http(register)).await {
                Some(Outcome::Http(Ok(answer))) => Some(field(&answer, "worker_id")),
                _ => None,
            };
            if let Some(id) = &worker {
                tale.approve(&format!("worker:{id}")).await;
            }
            let ledger = &tale.handlers.ledger;
            let scope = ProjectScope::of_stored_row(PROJECT.parse().unwrap());
            let decided = ledger.approvals(&scope, true, None, 10).await.unwrap().items;
            let approved = |id: &str| {
                let of = |one: &Approval| one.approval.to_string() == id;
                decided.iter().any(|one| of(one) && one.state == ApprovalState::Approved)
            };
            let workflow = ledger.workflow(&scope, &"nightly".parse().unwrap()).await;
            let live = workflow.ok().and_then(|workflow| workflow.live);
            assert_eq!(live == Some(1), approved("workflow:nightly@1"));
            assert!(live == Some(1) || !tale.repeats, "{:?}", tale.death);
            if let Some(id) = worker {
                let row = ledger.worker(scope.project(), id.parse().unwrap()).await;
                let is = row.unwrap().unwrap().status == WorkerStatus::Approved;
                assert_eq!(is, approved(&format!("worker:{id}")));
                assert!(is || !tale.repeats, "{:?}", tale.death);
            }
            // What nobody has decided on expires.
            tale.stage.lock().time += 31 * 24 * 3600 * 1000;
            for _ in 0..3 {
                tale.sweep().await;
            }
        },
        &[],
    )
    .await;
}

fn is_finished_fan_out(event: &Event) -> bool {
    matches!(event, Event::FanOutFinished { .. })
}

/// Cancels or revokes at every call of a launch. Nobody dies: launcher or canceller stops the task
/// at once.
async fn in_the_middle_of_a_launch(meanwhile: impl Fn(&Tale, RunId) -> Invoke, ends: &[RunState]) {
    let mut launches = 0;
    for at in 1..=20 {
        let mut tale = Tale::new(None, false).await;
        let run_id = tale.enqueue("fargate").await.expect("enqueued");
        let meanwhile = meanwhile(&tale, run_id);
        tale.deliver_and(Some((at, meanwhile))).await;
        launches += usize::from(tale.tasks_launched() > 0);
        assert_eq!(tale.orphans(), 0, "at call {at}");
        tale.end(ends).await;
    }
    assert!(launches > 1, "no telling got as far as a launch");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_in_the_middle_of_a_launch_leaves_no_task() {
    let cancel = |tale: &Tale, run_id| {
        post(
            &tale.admin,
            &format!("/v1/runs/{run_id}/cancel"),
            &json!({}),
        )
    };
    in_the_middle_of_a_launch(cancel, &[RunState::Aborted, RunState::Succeeded]).await;
}

#[tokio::test(start_paused = true)]
async fn a_revocation_in_the_middle_of_a_launch_leaves_no_task() {
    let revoke = |tale: &Tale, _| post(&tale.admin, "/v1/revocations", &revocation());
    // A delivery of fewer calls is over before the revocation comes.
    let ends = [RunState::Aborted, RunState::Failed, RunState::Succeeded];
    in_the_middle_of_a_launch(revoke, &ends).await;
}

#[tokio::test(start_paused = true)]
async fn the_queue_may_lose_every_message() {
    let mut tale = Tale::new(None, false).await;
    for pool in ["fargate", "workers"] {
        tale.enqueue_as(pool, pool).await.expect("enqueued");
    }
    tale.stage.lock().queues.clear();
    tale.end(&[RunState::Succeeded]).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_again_is_counted_once() {
    /// The starts, the ends, and the vCPU seconds of a task that runs for ten seconds on a quarter
    /// of a CPU.
    async fn counted(cancelled: bool, end: End) -> [f64; 3] {
        let mut tale = Tale::new(None, false).await;
        let run_id = tale.enqueue("fargate").await.expect("enqueued");
        tale.deliver().await;
        tale.tasks_run().await;
        if cancelled {
            tale.cancel(run_id).await;
        }
        tale.tasks_end(end, 3).await;
        ["StepsStarted", "StepsEnded", "VcpuSeconds"].map(|name| tale.handlers.metric(name))
    }
    let by_itself = counted(false, End::Exit(0)).await;
    assert_eq!(by_itself, [1.0, 1.0, 2.5]);
    let cancelled = counted(true, End::Asked).await;
    assert_eq!(cancelled, [1.0, 1.0, 2.5]);
    let lost = counted(false, End::Taken).await;
    assert_eq!(lost, [1.0, 0.0, 2.5], "its step is queued again");
}

/// The two ways in which the audit table may be away, and whether calls are repeated then.
const AWAY: [(Fault, bool); 2] = [(Fault::Unavailable, true), (Fault::ReplyLost, false)];

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_without_the_audit_table_wherever_a_handler_dies() {
    for (away, repeats) in AWAY {
        let story = async |tale: &mut Tale| {
            if let Some(run_id) = tale.enqueue("fargate").await {
                tale.deliver().await;
                tale.audit_table(Some(away));
                tale.cancel(run_id).await;
                // To no avail: the table is still away.
                tale.sweep().await;
                tale.audit_table(None);
            }
        };
        at_every_call_with(repeats, &story, &[RunState::Aborted, RunState::Succeeded]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hard_revocation_aborts_without_the_audit_table_wherever_a_handler_dies() {
    for (away, repeats) in AWAY {
        let story = async |tale: &mut Tale| {
            tale.enqueue("fargate").await;
            tale.deliver().await;
            tale.audit_table(Some(away));
            tale.revoke().await;
            tale.sweep().await;
            tale.audit_table(None);
        };
        let ends = [RunState::Aborted, RunState::Failed, RunState::Succeeded];
        at_every_call_with(repeats, &story, &ends).await;
    }
}

/// A run's entries are in its own row, so its steps go on. Everything else waits for the audit
/// table, except what only takes away.
#[tokio::test(start_paused = true)]
async fn without_the_audit_table_runs_go_on_and_nothing_else_is_given() {
    let mut tale = Tale::new(None, false).await;
    let cancelled = tale.enqueue_as("one", "fargate").await.unwrap();
    let revoked = tale.enqueue_as("two", "fargate").await.unwrap();
    tale.deliver().await;
    assert_eq!(tale.tasks_launched(), 2);
    tale.audit_table(Some(Fault::Unavailable));

    let admin = tale.admin.clone();
    let token = json!({ "role": "viewer" });
    let answer = tale.ask(&admin, "/v1/tokens", &token).await.unwrap();
    assert_eq!(answer.unwrap_err().code, Code::Unavailable);
    assert_eq!(tale.outbox(), 0, "a refused change waits for nothing");

    tale.cancel(cancelled).await;
    assert_eq!(tale.state(cancelled), RunState::Aborted);
    assert_eq!((tale.tasks_running(), tale.outbox()), (1, 0));
    tale.revoke().await;
    assert!(tale.is_revoked().await);
    assert_eq!(tale.state(revoked), RunState::Aborted);
    let left = (tale.tasks_running(), tale.outbox());
    assert_eq!(left, (0, 1), "the revocation");
    tale.sweep().await;
    assert_eq!(tale.outbox(), 1, "it stays until the trail takes it");
    let is_cancel = |event: &Event| *event == Event::RunCancelled {};
    assert_eq!(tale.count(is_cancel).await, 0);

    tale.audit_table(None);
    tale.end(&[RunState::Aborted, RunState::Failed, RunState::Succeeded])
        .await;
    assert_eq!(tale.count(is_finished_fan_out).await, 1);
    assert_eq!(tale.count(is_cancel).await, 1);
    let is_abort = |event: &Event| matches!(event, Event::RunAbortedByRevocation { .. });
    assert_eq!(tale.count(is_abort).await, 1);
}
