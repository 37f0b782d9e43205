//! Whatever `enqueue` accepts can be driven to its end.
//!
//! Seeds make requests at and near every limit: many and long steps, names, addresses, variables,
//! profiles, cascades, access lists. Each run is driven step by step, by a worker or by a host,
//! while its profiles and secrets drift. Nothing is answered with a fault of the server, no row and
//! no transaction is larger than DynamoDB takes, and each event comes to the trail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lambda_events::http::Method;
use sealfleet_api::Problem;
use sealfleet_api::types::Claim;
use sealfleet_domain::access::Role;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::credential::Home;
use sealfleet_domain::run::{Fence, Run, StepState};
use sealfleet_domain::{EventId, RunId, StepId, limits};
use sealfleet_ledger::store::Table;
use sealfleet_ledger::{Added, Identities, audit_entries_of_image, identity_of_image};
use sealfleet_test_fakes::ecs::{Ecs, End};
use sealfleet_test_fakes::handlers::{Handlers, Invoke, Outcome, ledger, request};
use sealfleet_test_fakes::memory::{Changed, Tables, item_bytes};
use sealfleet_test_fakes::random::Random;
use sealfleet_test_fakes::stage::{self, Actor, Judge, Moment, Stage};
use serde_json::{Map, Value, json};

use crate::world::scope;

const PROJECT: &str = "healthcare";
/// Bytes of a row at most, and of a transaction; its rows at most ("Service, account, and table
/// quotas in Amazon DynamoDB").
const ROW_BYTES: usize = 400 * 1024;
const TRANSACTION_BYTES: usize = 4 * 1024 * 1024;
const TRANSACTION_ROWS: usize = 100;
/// Seeds of this test; about 20 seconds.
const SEEDS: u64 = 24;

/// Keeps what rows of runs say, what arrives in the trail, and the largest of all.
#[derive(Default)]
struct Sizes {
    identities: Identities,
    told: BTreeMap<EventId, AuditEntry>,
    copied: BTreeMap<EventId, AuditEntry>,
    row: usize,
    transaction: usize,
    rows: usize,
}

impl Judge for Sizes {
    fn committed(&mut self, changed: &[Changed], _: Option<&Actor>, _: Moment, _: &Ecs) {
        let rows = changed.iter().filter_map(|change| change.after.as_deref());
        let sizes: Vec<usize> = rows.map(item_bytes).collect();
        self.row = self.row.max(sizes.iter().copied().max().unwrap_or(0));
        self.transaction = self.transaction.max(sizes.iter().sum());
        self.rows = self.rows.max(changed.len());
        for change in changed {
            let Some(after) = &change.after else { continue };
            if change.table == Table::Audit {
                let entries = audit_entries_of_image(after.as_ref().clone()).unwrap();
                let each = entries.into_iter().map(|entry| (entry.event_id, entry));
                self.copied.extend(each);
            } else if change.key.pk.contains("#IDENTITY#") {
                let hash = change.key.pk.rsplit('#').next().unwrap().to_owned();
                let identity = identity_of_image(after).unwrap();
                self.identities.insert(hash, Arc::new(identity));
            } else if change.key.pk.contains("#RUNS#") {
                let added = Added::between(change.before.as_deref(), after).unwrap();
                let added = added.entries(&self.identities).unwrap();
                let each = added.into_iter().map(|entry| (entry.event_id, entry));
                self.told.extend(each);
            }
        }
    }
}

/// What a caller or worker was told has happened to a step.
type Told = (&'static str, StepId, Fence);

struct Driven {
    stage: Stage<Sizes>,
    handlers: Arc<Handlers>,
    random: Random,
    operator: String,
    admin: String,
    worker: String,
    /// Whether the run's identity steps are Fargate's.
    hosted: bool,
    /// Whether there are many steps with small identities, or few with the largest.
    broad: bool,
    /// The tools that access lists name.
    tools: Vec<String>,
    told: Vec<Told>,
}

/// The levels of a cascade: their profiles and who writes them.
const LEVELS: [&str; 4] = ["system", "project", "workflow", "run"];

impl Driven {
    async fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let world = stage::World::new(
            Tables::default(),
            1_800_000_000_000,
            Random::new(seed),
            Sizes::default(),
        );
        let stage = Stage::new(world);
        let handlers = Arc::new(Handlers::new(&stage, seed));
        let expires = handlers.ledger.now().plus_seconds(30 * 24 * 3600);
        let operator = ledger(&stage, seed + 1_000_000)
            .create_token(
                &Home::Operators,
                Role::Operator,
                None,
                None,
                expires,
                "test",
            )
            .await
            .unwrap()
            .1;
        let tools = (0..limits::TOOLS).map(|at| long(&format!("t{at:02}_"), &mut random, 48));
        let mut driven = Self {
            tools: tools.collect(),
            hosted: random.chance(400),
            broad: random.chance(500),
            random,
            stage,
            handlers,
            operator,
            admin: String::new(),
            worker: String::new(),
            told: Vec::new(),
        };
        driven.onboard().await;
        driven
    }

    async fn onboard(&mut self) {
        let image = format!("repository@sha256:{}", "0".repeat(64));
        let pools = json!({
            "workers": { "kind": "pull" },
            "fargate": { "kind": "fargate", "image": image, "max_concurrent": 100 },
        });
        let (post, operator) = (Method::POST, self.operator.clone());
        let project = json!({ "project": PROJECT, "pools": pools });
        self.done(&post, "/v1/projects", &operator, &project).await;
        let admin = json!({ "project": PROJECT, "role": "admin" });
        let admin = self.done(&post, "/v1/tokens", &operator, &admin).await;
        self.admin = text(&admin, "token");
        let key = json!({ "pool": "workers", "max_uses": 1, "expires_in_seconds": 3600 });
        let admin = self.admin.clone();
        let key = self.done(&post, "/v1/enrolment-keys", &admin, &key).await;
        let worker = json!({
            "project": PROJECT, "name": "w", "pool": "workers", "max_concurrent": limits::MAX_CONCURRENT,
            "modes": ["bare", "sandboxed", "identity"],
        });
        let key = text(&key, "enrolment_key");
        let worker = self
            .done(&post, "/v1/workers/register", &key, &worker)
            .await;
        self.worker = text(&worker, "credential");
    }

    /// Asks; a fault of the server fails the test.
    async fn ask(
        &self,
        method: &Method,
        path: &str,
        who: &str,
        body: &Value,
        if_match: Option<&str>,
    ) -> Result<Value, Problem> {
        let bearer = format!("Bearer {who}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(if_match.map(|version| ("if-match", version)));
        // A body that is too large is refused here.
        let Ok(request) = request(method.clone(), path, &headers, Some(body)) else {
            return Err(Problem::invalid("body", "too large"));
        };
        let answer = self.handlers.invoke(Invoke::Http(request)).await;
        let Outcome::Http(answer) = answer else {
            panic!("{path}: {answer:?}")
        };
        if let Err(problem) = &answer {
            assert!(problem.status < 500, "{path}: {problem:?}");
        }
        answer.map(|answer| answer.body)
    }

    async fn done(&self, method: &Method, path: &str, who: &str, body: &Value) -> Value {
        let answer = self.ask(method, path, who, body, None).await;
        answer.unwrap_or_else(|problem| panic!("{path}: {problem:?}"))
    }

    /// A number near `most`, or any.
    fn near(&mut self, most: usize) -> usize {
        match self.random.below(5) {
            0..=2 => most,
            3 => most.saturating_sub(1),
            _ => self.random.position(most + 1),
        }
    }

    /// Writes the profile of a level, smaller until it is accepted. `false`: as it is, it may stay.
    async fn write_profile(&mut self, level: usize, version: Option<u64>) -> bool {
        let mut most = if self.broad { 6 } else { limits::SECRETS };
        loop {
            let content = self.content(level, most);
            let who = if level == 0 {
                self.operator.clone()
            } else {
                self.admin.clone()
            };
            let name = profile(level);
            let written = match version {
                None => {
                    let mut new = content.as_object().unwrap().clone();
                    new.insert("name".to_owned(), json!(name));
                    let new = Value::Object(new);
                    self.ask(&Method::POST, "/v1/profiles", &who, &new, None)
                        .await
                }
                Some(version) => {
                    let path = format!("/v1/profiles/{name}");
                    let version = format!("\"{version}\"");
                    self.ask(&Method::PUT, &path, &who, &content, Some(&version))
                        .await
                }
            };
            match written {
                Ok(_) => return true,
                Err(_) if most == 0 => return false,
                Err(_) => most = most * 2 / 3,
            }
        }
    }

    /// A profile of as many entries of each kind.
    fn content(&mut self, level: usize, most: usize) -> Value {
        let random = &mut self.random;
        let mut secrets = Map::new();
        let count = match random.below(4) {
            0 => random.position(most + 1),
            _ => most,
        };
        let long_uris = random.chance(600);
        for at in 0..count {
            let owner = if level == 0 { "system" } else { PROJECT };
            let length = if long_uris { 300 } else { 20 };
            let path = noise(random, length);
            let uri = if self.hosted {
                format!("aws-sm://sealfleet/{owner}/{at}-{path}#key")
            } else {
                let place = if level == 0 { "system/" } else { "" };
                let version = noise(random, 36);
                format!("builtin://{place}{at}-{path}@{version}")
            };
            let name = format!("S{level}_{at:03}_{}", "N".repeat(40 + random.position(60)));
            secrets.insert(name, json!(uri));
        }
        let names: Vec<String> = secrets.keys().cloned().collect();
        let mut env = Map::new();
        let variables = if random.chance(500) { most } else { 2 };
        for at in 0..variables.min(limits::ENV_ENTRIES) {
            let length = if self.broad {
                20
            } else {
                limits::ENV_VALUE_BYTES
            };
            let length = random.position(length + 1);
            let name = format!("E{level}_{at:03}_{}", "V".repeat(random.position(60)));
            env.insert(name, json!(printable(random, length)));
        }
        let mut content = json!({ "env": env, "secrets": secrets });
        if random.chance(300) {
            // Keys of the level below; some of them are not there.
            let below = level.saturating_sub(1);
            let keys = (0..random.position(most + 1)).map(|at| format!("E{below}_{at:03}_"));
            content["remove"] = json!(keys.collect::<BTreeSet<_>>());
        }
        if random.chance(300) {
            let tools = self.tools.iter().take(1 + random.position(limits::TOOLS));
            let lists = tools.map(|tool| {
                let all = random.chance(600);
                let some = names.iter().filter(|_| random.chance(100)).cloned();
                let some: Vec<String> = some.collect();
                (tool.clone(), if all { json!(["*"]) } else { json!(some) })
            });
            content["tools"] = lists.collect::<Map<_, _>>().into();
        }
        content
    }

    /// Writes and binds the profiles of all levels.
    async fn set_up(&mut self) {
        for level in 0..LEVELS.len() {
            self.write_profile(level, None).await;
        }
        let bindings = json!({
            "system": profile(0), "project": profile(1), "workflows": { workflow(): profile(2) },
        });
        let admin = self.admin.clone();
        self.done(&Method::PUT, "/v1/cascade", &admin, &bindings)
            .await;
    }

    /// Enqueues a run, smaller until it is accepted.
    async fn enqueue(&mut self) -> Option<RunId> {
        let mut most = if self.broad {
            self.near(limits::STEPS)
        } else {
            1 + self.random.position(5)
        };
        while most > 0 {
            let run = self.run(most);
            let admin = self.admin.clone();
            match self
                .ask(&Method::POST, "/v1/runs", &admin, &run, None)
                .await
            {
                Ok(run) => return Some(text(&run, "run_id").parse().unwrap()),
                Err(_) => most = most * 2 / 3,
            }
        }
        None
    }

    fn run(&mut self, count: usize) -> Value {
        let long_ids = self.random.chance(400);
        let id = |at: usize| {
            let long = if long_ids {
                "x".repeat(26)
            } else {
                String::new()
            };
            format!("s{at:03}{long}")
        };
        let shape = self.random.below(4);
        let mut steps = Vec::new();
        for at in 0..count {
            let random = &mut self.random;
            let needs: Vec<String> = match shape {
                0 => Vec::new(),
                1 => (at.saturating_sub(1)..at).map(id).collect(),
                2 => (0..at).map(id).collect(),
                _ => (0..at).filter(|_| random.chance(50)).map(id).collect(),
            };
            let identity = random.chance(700);
            let room = 40_000 / count;
            let length = random.position(room.min(limits::COMMAND_BYTES / 2) + 1);
            let variables = random.position((room / 100).min(limits::ENV_ENTRIES) + 1);
            let env = (0..variables).map(|at| (format!("X_{at}"), json!(printable(random, 40))));
            let env: Map<String, Value> = env.collect();
            let files = random.position(if self.broad { 2 } else { 6 });
            let files = (0..files).map(|at| {
                let path = format!("d{at}/{}", "p".repeat(random.position(60)));
                let length = random.position(8_000 / count + 1);
                (path + "f", json!({ "text": printable(random, length) }))
            });
            let files: Map<String, Value> = files.collect();
            let stdin = random.chance(200).then(|| json!({ "text": "\0\u{1b}é\n" }));
            let tool = random.pick(&self.tools).filter(|_| random.chance(700));
            steps.push(json!({
                "id": id(at),
                "pool": if self.hosted { "fargate" } else { "workers" },
                "mode": if identity { "identity" } else { "sandboxed" },
                "command": ["true", printable(random, length)],
                "needs": needs,
                "env": env,
                "files": files,
                "stdin": stdin,
                "tool": tool,
                "on_drift": if random.chance(50) { "refuse" } else { "proceed" },
                "max_attempts": 1 + random.position(3),
                "timeout_seconds": 600,
                "ttl_seconds": limits::TTL_SECONDS,
            }));
        }
        let mut run = json!({ "workflow": workflow(), "profile": profile(3), "steps": steps });
        if self.random.chance(300) {
            let most = if self.broad { 3 } else { 20 };
            let env =
                (0..most).map(|at| (format!("O_{at}"), json!(printable(&mut self.random, 200))));
            let env: Map<String, Value> = env.collect();
            run["overrides"] = json!({ "env": env, "remove": ["E1_000_"] });
        }
        run
    }

    /// Secrets are rotated, or a profile says something else.
    async fn drift(&mut self) {
        if self.random.chance(500) {
            let mut world = self.stage.lock();
            let version = self.random.below(1_000_000) + 2;
            let definitions = world.ecs.definitions.values();
            let names: Vec<String> = definitions
                .flat_map(|template| &template.secrets)
                .map(|secret| secret.uri.name().to_owned())
                .take(50)
                .collect();
            world
                .secrets
                .extend(names.into_iter().map(|name| (name, version)));
            return;
        }
        let level = self.random.position(LEVELS.len());
        let who = if level == 0 {
            self.operator.clone()
        } else {
            self.admin.clone()
        };
        let path = format!("/v1/profiles/{}", profile(level));
        let stored = self
            .ask(&Method::GET, &path, &who, &Value::Null, None)
            .await;
        let version = stored.ok().and_then(|stored| stored["version"].as_u64());
        self.write_profile(level, version).await;
    }

    async fn stored(&self, run_id: RunId) -> Run {
        self.handlers
            .ledger
            .run(&scope(PROJECT), run_id)
            .await
            .unwrap()
    }

    /// Drives a run until all of its steps have ended.
    async fn drive(&mut self, run_id: RunId) {
        for _ in 0..2000 {
            let run = self.stored(run_id).await;
            let waiting = run
                .steps
                .iter()
                .filter(|(_, step)| matches!(step.state, StepState::Queued { .. }));
            let waiting: Vec<StepId> = waiting.map(|(id, _)| id.clone()).collect();
            let over = run.steps.values().all(|step| step.state.is_terminal());
            if over {
                return;
            }
            if self.random.chance(if self.broad { 100 } else { 600 }) {
                self.drift().await;
            }
            if self.hosted {
                self.host_works().await;
                continue;
            }
            let step_id = self.random.pick(&waiting).cloned();
            let step_id = step_id.unwrap_or_else(|| panic!("nothing is left to claim: {run:?}"));
            let states = |run: &Run| run.steps.values().map(|step| step.state.clone()).collect();
            let before: Vec<StepState> = states(&run);
            self.worker_works(run_id, &step_id).await;
            let after: Vec<StepState> = states(&self.stored(run_id).await);
            let fences = self.stored(run_id).await.step(&step_id).unwrap().fence;
            assert!(
                before != after || fences != run.step(&step_id).unwrap().fence,
                "{step_id} cannot be moved: {before:?}"
            );
        }
        panic!("{run_id} does not end: {:?}", self.stored(run_id).await);
    }

    /// A worker claims a step, and goes on with it in one way or another.
    async fn worker_works(&mut self, run_id: RunId, step_id: &StepId) {
        let (post, worker) = (Method::POST, self.worker.clone());
        let step = json!({ "run_id": run_id, "step_id": step_id });
        let claimed = self.ask(&post, "/v1/claims", &worker, &step, None).await;
        // It has failed for what it would have started with.
        let Ok(claimed) = claimed else { return };
        let claim: Claim = serde_json::from_value(claimed).unwrap();
        let fence = claim.fence;
        let mut note = |what| self.told.push((what, step_id.clone(), fence));
        note("leased");
        if !claim.secrets.is_empty() {
            note("released");
        }
        let choice = self.random.below(100);
        match choice {
            0..=9 => return self.lease_runs_out().await,
            10..=11 => return self.cancel(run_id).await,
            12..=15 if !claim.secrets.is_empty() => return self.revoke(&claim).await,
            _ => {}
        }
        let resolved: BTreeMap<&str, String> = claim
            .secrets
            .iter()
            .map(|secret| {
                let own = secret.version.clone();
                let other = noise(&mut self.random, 2 * limits::NAME_BYTES);
                let version = own.filter(|_| self.random.chance(900));
                (secret.name.as_str(), version.unwrap_or(other))
            })
            .collect();
        let start = json!({
            "run_id": run_id, "step_id": step_id, "fence": fence,
            "sandbox": "x".repeat(limits::NAME_BYTES), "resolved": resolved,
        });
        self.done(&post, "/v1/starts", &worker, &start).await;
        self.told.push(("running", step_id.clone(), fence));
        let (state, failure) = match choice {
            16..=25 => return self.lease_runs_out().await,
            26..=40 => {
                let detail = printable(&mut self.random, limits::DETAIL_BYTES);
                let failure = json!({ "kind": "cannot_start", "detail": detail });
                ("failed", failure)
            }
            _ => ("succeeded", Value::Null),
        };
        let mut report =
            json!({ "run_id": run_id, "step_id": step_id, "fence": fence, "state": state });
        if !failure.is_null() {
            report["failure"] = failure;
        }
        self.done(&post, "/v1/reports", &worker, &report).await;
        self.told.push((state, step_id.clone(), fence));
    }

    async fn lease_runs_out(&self) {
        self.stage.lock().time += 60_000;
        self.sweep().await;
    }

    async fn sweep(&self) {
        let swept = self.handlers.invoke(Invoke::Sweep).await;
        let Outcome::Sweep(Ok(swept)) = swept else {
            panic!("{swept:?}")
        };
        assert_eq!((swept.failed, swept.left), (0, 0));
    }

    async fn cancel(&self, run_id: RunId) {
        let path = format!("/v1/runs/{run_id}/cancel");
        let admin = self.admin.clone();
        self.done(&Method::POST, &path, &admin, &json!({})).await;
    }

    /// Keys that a claim holds are revoked, and mostly given back.
    async fn revoke(&mut self, claim: &Claim) {
        let keys: Vec<Value> = claim
            .secrets
            .iter()
            .take(limits::REVOKED_KEYS)
            .map(|secret| json!({ "profile": secret.from, "key": secret.name }))
            .collect();
        let admin = self.admin.clone();
        let body =
            json!({ "keys": keys, "hard": true, "reason": "r".repeat(limits::REASON_BYTES) });
        let revoked = self
            .ask(&Method::POST, "/v1/revocations", &admin, &body, None)
            .await;
        // The profile may have lost the key meanwhile.
        let Ok(revoked) = revoked else {
            return self.lease_runs_out().await;
        };
        if self.random.chance(300) {
            return;
        }
        for revocation in revoked["revocations"].as_array().unwrap() {
            let path = format!("/v1/revocations/{}/lift", text(revocation, "revocation_id"));
            self.done(&Method::POST, &path, &admin, &json!({})).await;
        }
    }

    /// The host takes what waits for it; its tasks run and end.
    async fn host_works(&mut self) {
        let messages = {
            let mut world = self.stage.lock();
            let now = world.time;
            let visible = world.queues.visible("sealfleet-healthcare--fargate", now);
            let received = visible.into_iter().take(10);
            let received = received.filter_map(|id| world.queues.receive(id, now));
            received.collect::<Vec<_>>()
        };
        for message in messages {
            let id = message.id;
            let dispatched = self.handlers.invoke(Invoke::Batch(vec![message])).await;
            let Outcome::Batch(again) = dispatched else {
                panic!("{dispatched:?}")
            };
            assert!(again.batch_item_failures.is_empty(), "{again:?}");
            self.stage.lock().queues.delete(id);
        }
        let live: Vec<String> = {
            let world = self.stage.lock();
            world.ecs.live().map(|task| task.arn.clone()).collect()
        };
        for arn in live {
            let end = match self.random.below(10) {
                0 => End::Taken,
                1 | 2 => End::Exit(1),
                _ => End::Exit(0),
            };
            {
                let mut world = self.stage.lock();
                let now = world.time;
                world.ecs.move_on(&arn, now);
                world.ecs.move_on(&arn, now);
                world.ecs.end(&arn, end, now);
            }
            let events = std::mem::take(&mut self.stage.lock().ecs.events);
            for event in events {
                let told = Invoke::Event(Box::new(event.task));
                let told = self.handlers.invoke(told).await;
                assert!(matches!(told, Outcome::Event(Ok(()))), "{told:?}");
            }
        }
        // What was lost waits for its message again.
        self.stage.lock().time += 20_000;
        self.sweep().await;
    }

    /// Everything that rows of runs say, and everything that was answered, is in the trail.
    async fn check_trail(&self) {
        let changed = std::mem::take(&mut self.stage.lock().stream);
        for batch in changed.chunks(100) {
            let copied = self.handlers.invoke(Invoke::Stream(batch.to_vec())).await;
            assert!(matches!(copied, Outcome::Stream(true)), "{copied:?}");
        }
        let world = self.stage.lock();
        let judge = &world.judge;
        for (id, entry) in &judge.told {
            assert_eq!(judge.copied.get(id), Some(entry));
        }
        let events = judge.copied.values().flat_map(|entry| &entry.events);
        let recorded: BTreeSet<Told> = events.filter_map(told_by).collect();
        for told in &self.told {
            assert!(recorded.contains(told), "{told:?} is not in the trail");
        }
        let largest = (judge.row, judge.transaction, judge.rows);
        let within = largest.0 <= ROW_BYTES
            && largest.1 <= TRANSACTION_BYTES
            && largest.2 <= TRANSACTION_ROWS;
        assert!(within, "{largest:?}");
    }
}

fn told_by(event: &Event) -> Option<Told> {
    Some(match event {
        Event::StepLeased { step_id, fence, .. } => ("leased", step_id.clone(), *fence),
        Event::SecretReleased { step_id, fence, .. } => ("released", step_id.clone(), *fence),
        Event::StepRunning { step_id, fence } => ("running", step_id.clone(), *fence),
        Event::StepSucceeded { step_id, fence } => ("succeeded", step_id.clone(), *fence),
        Event::StepFailed { step_id, fence, .. } => ("failed", step_id.clone(), *fence),
        _ => return None,
    })
}

fn text(value: &Value, name: &str) -> String {
    let found = value[name].as_str();
    found
        .unwrap_or_else(|| panic!("no `{name}` in {value}"))
        .to_owned()
}

/// The longest name of the profile of a level.
fn profile(level: usize) -> String {
    format!("{:x<48}", LEVELS[level])
}

fn workflow() -> String {
    format!("{:w<48}", "w")
}

/// `start`, made as long as it may be.
fn long(start: &str, random: &mut Random, most: usize) -> String {
    let rest = noise(random, most - start.len());
    format!("{start}{rest}")
}

/// Text that does not shrink, of lower-case letters and digits.
fn noise(random: &mut Random, length: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |_| char::from(LETTERS[random.position(LETTERS.len())]);
    (0..length).map(letter).collect()
}

/// Text that hardly shrinks, of any printable characters.
fn printable(random: &mut Random, length: usize) -> String {
    let letter = |_| char::from(b' ' + u8::try_from(random.below(95)).unwrap());
    (0..length).map(letter).collect()
}

#[tokio::test(start_paused = true)]
async fn whatever_is_accepted_can_be_driven_to_its_end() {
    /// Says which seed it was, if the test fails.
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {}", self.0);
            }
        }
    }
    let (mut ended, mut largest) = (0, 0);
    for seed in 1..=SEEDS {
        let _seed = Seed(seed);
        let mut driven = Driven::new(seed).await;
        driven.set_up().await;
        if let Some(run_id) = driven.enqueue().await {
            driven.drive(run_id).await;
            driven.check_trail().await;
            ended += 1;
            largest = largest.max(driven.stage.lock().judge.row);
        }
    }
    // Requests that are all refused, or small, prove nothing.
    assert!(ended > SEEDS * 3 / 4, "{ended} runs");
    assert!(largest > 100 * 1024, "the largest row has {largest} bytes");
}
