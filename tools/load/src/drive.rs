//! Callers, workers and readers, all at once, and the judge of what they are told.
//!
//! One tenant floods: half of all runs are its own, and it enqueues them without a pause. The
//! others enqueue theirs meanwhile. Runs are cancelled, steps fail, workers die with all they hold
//! and come back without it, one tenant's key is revoked hard while it is in use, and workers ask
//! for runs of others. When all has ended, every project's runs and trail are read to their end.
//!
//! Every pause is a part of the load: callers pause, commands take their time, dead workers stay
//! away, and whoever waits for something asks again. In memory that time is virtual.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{AbortHandle, abortable};
use sealfleet_domain::Timestamp;
use sealfleet_test_fakes::random::Random;
use sealfleet_test_stack::Outcome;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, sleep};

use crate::judge::{Bounds, Claim, Counts, Judge, text};
use crate::mix::{self, Fate, REVOKED};
use crate::world::{Answer, Asked, Message, Noticed, POOL, Worker, World};

/// Steps that a worker holds at once.
const SLOTS: usize = 4;
/// Callers of the tenant that floods.
const FLOODERS: usize = 8;
/// Tries of a request that is refused for a moment.
const TRIES: u32 = 8;
/// Seconds that all may take after the last run was enqueued, without any run that ends.
const PATIENCE: u64 = 1800;

/// Runs whose own entries are read.
const OWN: usize = 60;
/// Between two words about how far it is.
const SAID: Duration = Duration::from_secs(5);

/// How much load.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shape {
    pub projects: usize,
    pub workers: usize,
    pub runs: usize,
    pub seed: u64,
    pub lease_seconds: i64,
    pub resend_seconds: i64,
    /// Seconds by which sweeps may come late.
    pub slack_seconds: i64,
    /// Steps of a thousand whose worker dies.
    pub deaths: u64,
}

/// What was done, and what must not have happened.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub shape: Shape,
    pub counts: Counts,
    /// What was done, by name.
    pub done: BTreeMap<String, u64>,
    /// Seconds by the world's clock.
    pub world_seconds: i64,
}

struct Tenant {
    id: String,
    admin: String,
    member: String,
}

struct Load<W> {
    world: Rc<W>,
    shape: Shape,
    judge: RefCell<Judge>,
    done: RefCell<BTreeMap<String, u64>>,
    tenants: Vec<Rc<Tenant>>,
    workers: Vec<Rc<Worker>>,
    /// Runs, with the tenant of each.
    accepted: RefCell<Vec<(String, usize)>>,
    /// When a tenant's revocation had finished.
    revoked: Cell<Option<(usize, Timestamp)>>,
    over: Cell<bool>,
    told: Cell<std::time::Instant>,
}

/// Puts the load on a world.
pub async fn run<W: World + 'static>(world: Rc<W>, shape: Shape) -> Outcome<Report> {
    let began = world.now();
    let mut load = Load {
        judge: RefCell::new(Judge::new(
            Bounds::of(shape.resend_seconds, shape.slack_seconds),
            world.prefix(),
        )),
        world,
        shape,
        done: RefCell::default(),
        tenants: Vec::new(),
        workers: Vec::new(),
        accepted: RefCell::default(),
        revoked: Cell::new(None),
        over: Cell::new(false),
        told: Cell::new(std::time::Instant::now()),
    };
    load.onboard().await?;
    let load = Rc::new(load);
    let mut working = JoinSet::new();
    for worker in &load.workers {
        working.spawn_local(Rc::clone(&load).work(Rc::clone(worker)));
    }
    let ended = load.call_and_wait().await;
    load.over.set(true);
    working.abort_all();
    while working.join_next().await.is_some() {}
    ended?;
    load.audit().await?;
    let world_seconds = load.world.now().millis_since(began) / 1000;
    let placeholder = Judge::new(Bounds::of(0, 0), "");
    let judge = load.judge.replace(placeholder);
    Ok(Report {
        shape,
        counts: judge.conclude(),
        done: load.done.take(),
        world_seconds,
    })
}

impl<W: World + 'static> Load<W> {
    fn random(&self, of: &str, number: usize) -> Random {
        let name = of.bytes().fold(self.shape.seed, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        Random::new(name.wrapping_mul(1_000_003) ^ number as u64)
    }

    fn count(&self, what: &str) {
        *self.done.borrow_mut().entry(what.to_owned()).or_default() += 1;
    }

    /// Says how far it is, unless that was said a moment ago.
    fn say(&self, what: &str) {
        if self.told.get().elapsed() < SAID {
            return;
        }
        self.told.set(std::time::Instant::now());
        let done = self.done.borrow();
        let of = |name: &str| done.get(name).copied().unwrap_or_default();
        eprintln!(
            "load: {what}: {} runs accepted, {} steps claimed, {} ended",
            of("runs accepted"),
            of("claims granted"),
            of("reports taken")
        );
    }

    /// Asks until it is answered with something else than "later".
    async fn ask(&self, project: &str, credential: &str, asked: Asked<'_>) -> Outcome<Answer> {
        let mut pause = 100;
        for attempt in 1.. {
            let answer = self.world.ask(credential, asked).await?;
            let place = format!("an answer to {} {}", asked.method, asked.path);
            self.judge.borrow_mut().told(project, &place, &answer.text);
            let later = answer.status == 429 || answer.status >= 500;
            if !later || attempt >= TRIES {
                return Ok(answer);
            }
            self.count(&format!("answers {} to {}", answer.status, asked.path));
            sleep(Duration::from_millis(pause)).await;
            pause *= 2;
        }
        Ok(Answer::default())
    }

    async fn onboard(&mut self) -> Outcome {
        let operator = self.world.operator().to_owned();
        for number in 0..self.shape.projects {
            let id = format!("{}{number:03}", self.world.prefix());
            self.world.deploy(&id).await?;
            let body = json!({ "project": id, "pools": { POOL: { "kind": "pull" } } });
            let made = self
                .world
                .ask(&operator, Asked::post("/v1/projects", &body));
            made.await?.accepted("a project")?;
            let token = async |role: &str| -> Outcome<String> {
                let body = json!({ "project": id, "role": role });
                let made = self.world.ask(&operator, Asked::post("/v1/tokens", &body));
                Ok(text(&made.await?.accepted("a token")?, "token"))
            };
            let (admin, member) = (token("admin").await?, token("member").await?);
            for profile in mix::profiles(&id) {
                let made = self.ask(&id, &admin, Asked::post("/v1/profiles", &profile));
                made.await?.accepted("a profile")?;
            }
            self.tenants.push(Rc::new(Tenant { id, admin, member }));
        }
        for number in 0..self.shape.workers {
            let Some(tenant) = self.tenants.get(number % self.tenants.len().max(1)) else {
                continue;
            };
            let body = json!({ "pool": POOL });
            let key = self.ask(
                &tenant.id,
                &tenant.admin,
                Asked::post("/v1/enrolment-keys", &body),
            );
            let key = text(&key.await?.accepted("an enrolment key")?, "enrolment_key");
            let body = json!({
                "project": tenant.id, "pool": POOL, "name": format!("w{number}"), "max_concurrent": SLOTS,
                "modes": ["bare", "sandboxed", "identity"],
            });
            let made = self.ask(&tenant.id, &key, Asked::post("/v1/workers/register", &body));
            let worker = Worker {
                number,
                project: tenant.id.clone(),
                credential: text(&made.await?.accepted("a worker")?, "credential"),
            };
            self.workers.push(Rc::new(worker));
        }
        Ok(())
    }

    /// All callers, until all that they have enqueued has ended.
    async fn call_and_wait(self: &Rc<Self>) -> Outcome {
        let mut callers = JoinSet::new();
        let others = self.tenants.len().saturating_sub(1);
        let flood = if others == 0 {
            self.shape.runs
        } else {
            self.shape.runs / 2
        };
        for caller in 0..FLOODERS {
            let runs = (flood + caller) / FLOODERS;
            callers.spawn_local(Rc::clone(self).enqueue_all(0, caller, runs));
        }
        for tenant in 1..=others {
            let runs = (self.shape.runs - flood + tenant - 1) / others;
            callers.spawn_local(Rc::clone(self).enqueue_all(tenant, FLOODERS, runs));
        }
        while let Some(ended) = callers.join_next().await {
            ended??;
        }
        self.wait_for_the_end().await
    }

    async fn enqueue_all(self: Rc<Self>, tenant: usize, caller: usize, runs: usize) -> Outcome {
        let mut random = self.random("caller", tenant * 100 + caller);
        let floods = tenant == 0;
        let revokes =
            tenant == usize::from(self.tenants.len() > 1) && caller.is_multiple_of(FLOODERS);
        for number in 0..runs {
            self.enqueue(&mut random, tenant, &format!("{tenant}-{caller}-{number}"))
                .await?;
            if revokes && number == runs / 2 {
                Rc::clone(&self).revoke(tenant).await?;
            }
            if !floods {
                let millis = random.below(1000) / self.world.haste();
                sleep(Duration::from_millis(millis)).await;
            }
            self.notice();
            self.say("enqueueing");
        }
        Ok(())
    }

    async fn enqueue(self: &Rc<Self>, random: &mut Random, tenant: usize, key: &str) -> Outcome {
        let Some(caller) = self.tenants.get(tenant).map(Rc::clone) else {
            return Ok(());
        };
        let body = mix::run(random, &caller.id, self.world.haste(), self.shape.deaths);
        // Some callers do not hear the answer, and ask again.
        for _ in 0..=u8::from(random.chance(20)) {
            let asked = Asked {
                idempotency_key: key,
                ..Asked::post("/v1/runs", &body)
            };
            let answer = self.ask(&caller.id, &caller.member, asked).await?;
            if answer.code() == "secret_revoked" {
                self.count("runs refused: key revoked");
                continue;
            }
            let run = text(&answer.accepted("a run")?, "run_id");
            let key = format!("{}/{key}", caller.id);
            if !self.judge.borrow_mut().accepted(&caller.id, &key, &run) {
                continue;
            }
            self.accepted.borrow_mut().push((run.clone(), tenant));
            self.count("runs accepted");
            if random.chance(40) {
                let after = random.below(60_000) / self.world.haste();
                spawn_local(Rc::clone(self).cancel(Rc::clone(&caller), run, after));
            }
        }
        Ok(())
    }

    async fn cancel(self: Rc<Self>, caller: Rc<Tenant>, run: String, after: u64) {
        sleep(Duration::from_millis(after)).await;
        let path = format!("/v1/runs/{run}/cancel");
        let asked = Asked::post(&path, &Value::Null);
        if let Ok(answer) = self.ask(&caller.id, &caller.member, asked).await
            && answer.status < 300
        {
            self.count("runs cancelled");
        }
    }

    /// Revokes a key of a tenant, hard, while it is in use.
    async fn revoke(self: Rc<Self>, tenant: usize) -> Outcome {
        let Some(caller) = self.tenants.get(tenant) else {
            return Ok(());
        };
        let body = json!({
            "keys": [{ "profile": REVOKED, "key": "API_KEY" }], "hard": true, "reason": "load",
        });
        let revoked = self.ask(
            &caller.id,
            &caller.admin,
            Asked::post("/v1/revocations", &body),
        );
        let revoked = revoked.await?.accepted("a revocation")?;
        let mut fan_out = revoked.get("fan_out").cloned().unwrap_or_default();
        let id = text(&fan_out, "fan_out_id");
        let path = format!("/v1/fan-outs/{id}");
        while text(&fan_out, "finished_at").is_empty() {
            sleep(Duration::from_millis(500)).await;
            let asked = Asked::get(&path, &[]);
            let shown = self.ask(&caller.id, &caller.admin, asked).await?;
            fan_out = shown.accepted("a fan-out")?;
        }
        let at = |name| Timestamp::parse(&text(&fan_out, name));
        let (started, finished) = (at("started_at")?, at("finished_at")?);
        self.judge.borrow_mut().fanned_out(&id, started, finished);
        self.revoked.set(Some((tenant, self.world.now())));
        let aborted = fan_out.get("runs_aborted").and_then(Value::as_u64);
        for _ in 0..aborted.unwrap_or_default() {
            self.count("runs aborted by a revocation");
        }
        Ok(())
    }

    /// Tells the judge what the world has noticed.
    fn notice(&self) {
        let mut judge = self.judge.borrow_mut();
        for noticed in self.world.noticed() {
            match noticed {
                Noticed::Swallowed { run, step, at } => {
                    self.count("messages lost");
                    judge.swallowed(&run, &step, at);
                }
                Noticed::CameAgain { run, step, at } => judge.delivered(&run, &step, at),
                Noticed::Decided { run, event_id } => judge.decided(&run, &event_id),
                Noticed::StillDue {
                    what,
                    waits,
                    since,
                    now,
                } => judge.still_due(&what, waits, since, now),
            }
        }
    }

    /// Waits until every run has ended, and puts dead steps back once.
    async fn wait_for_the_end(&self) -> Outcome {
        let (mut retried, mut ended, mut since) = (BTreeSet::new(), 0, Instant::now());
        let pause = Duration::from_secs(30 / self.world.haste().min(15));
        loop {
            sleep(pause).await;
            self.notice();
            self.say("waiting");
            let now_ended = self.done.borrow().get("reports taken").copied();
            if now_ended != Some(ended) {
                (ended, since) = (now_ended.unwrap_or_default(), Instant::now());
            }
            // What is left then counts as lost.
            let patience = Duration::from_secs(PATIENCE / self.world.haste());
            if since.elapsed() > patience {
                return Ok(());
            }
            if self.goes_on().await? {
                continue;
            }
            let mut again = 0;
            for tenant in &self.tenants {
                for run in self.pages(tenant, "/v1/runs", &dead(), None).await? {
                    let run = text(&run, "run_id");
                    if retried.insert(run.clone()) {
                        again += self.retry(tenant, &run).await?;
                    }
                }
            }
            if again == 0 {
                return Ok(());
            }
        }
    }

    /// Whether any run has not ended yet.
    async fn goes_on(&self) -> Outcome<bool> {
        for tenant in &self.tenants {
            for state in ["queued", "running"] {
                let query = [("state", state.to_owned())];
                let found = self.pages(tenant, "/v1/runs", &query, Some(1)).await?;
                if !found.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Puts the dead steps of a run back. How many there were.
    async fn retry(&self, tenant: &Tenant, run: &str) -> Outcome<usize> {
        let path = format!("/v1/runs/{run}");
        let shown = self.ask(&tenant.id, &tenant.member, Asked::get(&path, &[]));
        let shown = shown.await?.accepted("a run")?;
        let steps = shown.get("steps").and_then(Value::as_array);
        let mut retried = 0;
        for step in steps.into_iter().flatten() {
            if text(step, "state") != "dead" {
                continue;
            }
            let path = format!("/v1/runs/{run}/steps/{}/retry", text(step, "id"));
            let asked = Asked::post(&path, &Value::Null);
            let answer = self.ask(&tenant.id, &tenant.member, asked).await?;
            if answer.status < 300 {
                retried += 1;
                self.judge.borrow_mut().retried(run);
                self.count("dead steps put back");
            }
        }
        Ok(retried)
    }

    /// All items of a list, or as many pages of it as have so many.
    async fn pages(
        &self,
        tenant: &Tenant,
        path: &str,
        query: &[(&str, String)],
        enough: Option<usize>,
    ) -> Outcome<Vec<Value>> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let mut query = query.to_vec();
            query.push(("limit", "100".to_owned()));
            if !cursor.is_empty() {
                query.push(("cursor", cursor));
            }
            let page = self.ask(&tenant.id, &tenant.admin, Asked::get(path, &query));
            let mut page = page.await?.accepted(path)?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            cursor = text(&page, "next_cursor");
            if cursor.is_empty() || enough.is_some_and(|enough| items.len() >= enough) {
                return Ok(items);
            }
        }
    }

    /// Reads every trail to its end, and some runs' own entries.
    async fn audit(&self) -> Outcome {
        let runs = self.accepted.borrow().clone();
        let mut own: HashMap<usize, BTreeSet<String>> = HashMap::new();
        for (run, tenant) in runs.iter().step_by(runs.len().div_ceil(OWN).max(1)) {
            let Some(reader) = self.tenants.get(*tenant) else {
                continue;
            };
            let query = [("run", run.clone())];
            for entry in self.pages(reader, "/v1/audit", &query, None).await? {
                let id = text(&entry, "event_id");
                self.judge.borrow_mut().decided(run, &id);
                own.entry(*tenant).or_default().insert(id);
            }
            self.say("reading runs");
        }
        for (number, tenant) in self.tenants.iter().enumerate() {
            for run in self.pages(tenant, "/v1/runs", &[], None).await? {
                let state = text(&run, "state");
                if !matches!(state.as_str(), "queued" | "running") {
                    self.judge.borrow_mut().over(&text(&run, "run_id"));
                }
            }
            let own = own.remove(&number).unwrap_or_default();
            for entry in self.trail(tenant, &own).await? {
                self.judge.borrow_mut().entry(&entry);
                self.count("entries read");
            }
            self.say("reading trails");
        }
        self.notice();
        Ok(())
    }

    /// A project's trail, once what its runs list has arrived in it, or a minute has passed.
    async fn trail(&self, tenant: &Tenant, own: &BTreeSet<String>) -> Outcome<Vec<Value>> {
        let mut tries = 0;
        loop {
            let from = self.world.now().plus_seconds(-7 * 24 * 3600);
            let query = [("from", from.to_string())];
            let entries = self.pages(tenant, "/v1/audit", &query, None).await?;
            let arrived: BTreeSet<String> = entries
                .iter()
                .map(|entry| text(entry, "event_id"))
                .collect();
            tries += 1;
            if own.is_subset(&arrived) || tries > 12 {
                return Ok(entries);
            }
            sleep(Duration::from_secs(5)).await;
        }
    }
}

fn dead() -> [(&'static str, String); 1] {
    [("state", "dead".to_owned())]
}

/// A worker's process, from its start to its death.
#[derive(Default)]
struct Life {
    held: RefCell<BTreeMap<Claim, AbortHandle>>,
    steps: RefCell<JoinSet<()>>,
    busy: Cell<usize>,
    dies: Notify,
}

impl<W: World + 'static> Load<W> {
    /// A worker that dies now and then, and comes back with nothing.
    async fn work(self: Rc<Self>, worker: Rc<Worker>) {
        let mut random = self.random("worker", worker.number);
        loop {
            let life = Rc::new(Life::default());
            tokio::select! {
                biased;
                () = self.poll(&worker, &life, &mut random) => {}
                () = self.beat(&worker, &life) => {}
                () = life.dies.notified() => self.count("workers that died"),
            }
            let mut steps = life.steps.take();
            steps.abort_all();
            drop(steps);
            let away = (5_000 + random.below(35_000)) / self.world.haste();
            sleep(Duration::from_millis(away)).await;
        }
    }

    /// Takes messages for as many slots as are free.
    async fn poll(self: &Rc<Self>, worker: &Rc<Worker>, life: &Rc<Life>, random: &mut Random) {
        while !self.over.get() {
            while life.steps.borrow_mut().try_join_next().is_some() {}
            let free = SLOTS.saturating_sub(life.busy.get());
            let messages = match free {
                0 => Vec::new(),
                _ => self.world.receive(worker, free).await.unwrap_or_default(),
            };
            let none = messages.is_empty();
            for message in messages {
                self.notice();
                self.judge
                    .borrow_mut()
                    .told(&worker.project, "a message", &message.run);
                if random.chance(10) {
                    self.probe(worker, random).await;
                }
                life.busy.set(life.busy.get() + 1);
                let (load, worker) = (Rc::clone(self), Rc::clone(worker));
                let (own, seed) = (Rc::clone(life), random.next());
                life.steps.borrow_mut().spawn_local(async move {
                    load.take(&worker, &own, message, Random::new(seed)).await;
                    own.busy.set(own.busy.get().saturating_sub(1));
                });
            }
            if none {
                let millis = 200 + random.below(300);
                sleep(Duration::from_millis(millis)).await;
            }
        }
    }

    /// Asks for a run of another project, which must be refused.
    async fn probe(&self, worker: &Worker, random: &mut Random) {
        let other = {
            let accepted = self.accepted.borrow();
            let any = random.pick(&accepted).cloned();
            any.filter(|(_, tenant)| {
                let owner = self.tenants.get(*tenant);
                owner.is_some_and(|owner| owner.id != worker.project)
            })
        };
        let Some((run, _)) = other else { return };
        self.judge.borrow_mut().probes(&worker.project, &run);
        let body = json!({ "run_id": run, "step_id": "s0" });
        let asked = Asked::post("/v1/claims", &body);
        if let Ok(answer) = self.ask(&worker.project, &worker.credential, asked).await {
            self.count("claims of others' runs");
            if answer.status < 300 {
                self.judge.borrow_mut().reached(&worker.project, &run);
            }
        }
    }

    /// Claims, starts, works, reports.
    async fn take(&self, worker: &Worker, life: &Life, message: Message, mut random: Random) {
        let body = json!({ "run_id": message.run, "step_id": message.step });
        let asked_at = self.world.now();
        let asked = Asked::post("/v1/claims", &body);
        let Ok(answer) = self.ask(&worker.project, &worker.credential, asked).await else {
            return;
        };
        if answer.status >= 300 {
            self.count(&format!("claims refused: {}", answer.code()));
            // Another time there may be room.
            if answer.code() != "at_capacity" && answer.status < 500 {
                let _ = self.world.delete(worker, &message).await;
            }
            return;
        }
        self.count("claims granted");
        let granted = answer.body;
        let fence = granted.get("fence").and_then(Value::as_u64).unwrap_or(0);
        let attempt = granted.get("attempt").and_then(Value::as_u64).unwrap_or(0);
        let claim: Claim = (message.run.clone(), message.step.clone(), fence);
        self.judge.borrow_mut().granted(&claim, self.lease_end(0));
        let secrets = granted.get("secrets").and_then(Value::as_array);
        let secrets = secrets.map_or(0, Vec::len);
        if secrets > 0 {
            self.count("claims with secrets");
            self.check_revoked(worker, &claim, &granted, asked_at);
        }
        let _ = self.world.delete(worker, &message).await;
        let work = self.carry_out(worker, life, &claim, attempt, &granted, &mut random);
        let (work, abort) = abortable(work);
        life.held.borrow_mut().insert(claim.clone(), abort);
        let _ = work.await;
        life.held.borrow_mut().remove(&claim);
    }

    /// When a lease ends at the latest that was made just now, or within so many seconds.
    fn lease_end(&self, within: i64) -> Timestamp {
        let seconds = self.shape.lease_seconds + within;
        self.world.now().plus_seconds(seconds)
    }

    /// A claim that was asked for after a revocation must not see its key.
    fn check_revoked(&self, worker: &Worker, claim: &Claim, granted: &Value, asked_at: Timestamp) {
        let Some((tenant, since)) = self.revoked.get() else {
            return;
        };
        let own = self.tenants.get(tenant);
        let own = own.is_some_and(|tenant| tenant.id == worker.project);
        let key = format!("{}-{REVOKED}@", worker.project);
        if own && asked_at > since && granted.to_string().contains(&key) {
            self.judge.borrow_mut().given_when_revoked(claim);
        }
    }

    async fn carry_out(
        &self,
        worker: &Worker,
        life: &Life,
        claim: &Claim,
        attempt: u64,
        granted: &Value,
        random: &mut Random,
    ) {
        let (run, step, fence) = claim;
        let lease = json!({ "run_id": run, "step_id": step, "fence": fence });
        let with = |more: Value| {
            let mut lease = lease.clone();
            if let (Some(lease), Value::Object(more)) = (lease.as_object_mut(), more) {
                lease.extend(more);
            }
            lease
        };
        let body = with(json!({ "sandbox": format!("sandbox-{}", worker.number) }));
        // A worker that does not hear the answer asks again, and so may a message that came twice.
        for _ in 0..=u8::from(random.chance(20)) {
            let asked = Asked::post("/v1/starts", &body);
            match self.ask(&worker.project, &worker.credential, asked).await {
                Ok(answer) if answer.status < 300 => {
                    let mut judge = self.judge.borrow_mut();
                    judge.started(claim, attempt, worker.number);
                }
                Ok(answer) => {
                    self.count(&format!("starts refused: {}", answer.code()));
                    return;
                }
                Err(_) => return,
            }
        }
        let (millis, fate) = mix::command(granted);
        if fate == Fate::Dies && attempt == 1 {
            sleep(Duration::from_millis(millis.min(2_000))).await;
            life.dies.notify_one();
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(millis)).await;
        let fails = fate == Fate::Fails;
        let body = if fails {
            with(json!({ "state": "failed", "failure": { "kind": "exit", "code": 1 } }))
        } else {
            with(json!({ "state": "succeeded" }))
        };
        for _ in 0..=u8::from(random.chance(20)) {
            let asked = Asked::post("/v1/reports", &body);
            let answer = self.ask(&worker.project, &worker.credential, asked).await;
            let Ok(answer) = answer else { return };
            if answer.status >= 300 {
                self.count(&format!("reports refused: {}", answer.code()));
                return;
            }
            self.judge.borrow_mut().ended(claim, !fails);
        }
        self.count("reports taken");
    }

    /// Keeps what is held, and drops what is not held any more.
    async fn beat(&self, worker: &Worker, life: &Life) {
        let pause = Duration::from_millis(self.shape.lease_seconds.unsigned_abs() * 1000 / 3);
        loop {
            sleep(pause).await;
            let claims: Vec<Claim> = life.held.borrow().keys().cloned().collect();
            if claims.is_empty() {
                continue;
            }
            // The answer may be lost with the worker.
            for claim in &claims {
                self.judge.borrow_mut().renewed(claim, self.lease_end(5));
            }
            let leases = claims.iter().map(
                |(run, step, fence)| json!({ "run_id": run, "step_id": step, "fence": fence }),
            );
            let body = json!({ "leases": leases.collect::<Vec<_>>() });
            let asked = Asked::post("/v1/heartbeats", &body);
            let answer = self.ask(&worker.project, &worker.credential, asked).await;
            let Ok(answer) = answer else { continue };
            self.count("heartbeats");
            let verdicts = answer.body.get("leases").and_then(Value::as_array);
            for verdict in verdicts.into_iter().flatten() {
                let fence = verdict.get("fence").and_then(Value::as_u64).unwrap_or(0);
                let claim = (text(verdict, "run_id"), text(verdict, "step_id"), fence);
                if verdict.get("held") == Some(&Value::Bool(true)) {
                    self.judge.borrow_mut().renewed(&claim, self.lease_end(0));
                } else if let Some(abort) = life.held.borrow_mut().remove(&claim) {
                    self.count("sandboxes killed");
                    abort.abort();
                }
            }
        }
    }
}
