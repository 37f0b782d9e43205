//! How many calls follow one another on the way of a run, and what is read for whom.

use std::collections::BTreeMap;

use sealfleet_domain::WorkerId;
use sealfleet_domain::fleet::Pool;
use sealfleet_fargate::names::task_id;
use serde_json::{Value, json};

use crate::world::{CRM, FARGATE, OWN, POOL, Sent, Who, World, scope};

/// Runs of which the one with the fewest calls counts: now and then permits of a rate are taken.
const RUNS: usize = 6;
/// A profile for pull workers.
const BESIDE: &str = "beside";
const SECRET: &str = "builtin://key@0198c0de-0000-7000-8000-000000000001";

struct Ways {
    world: World,
    /// The fewest calls of each part.
    fewest: BTreeMap<&'static str, u128>,
    runs: usize,
}

impl Ways {
    async fn new() -> Self {
        let ways = Self {
            world: World::new().await,
            fewest: BTreeMap::new(),
            runs: 0,
        };
        let profile = json!({ "name": BESIDE, "secrets": { "API_KEY": SECRET } });
        ways.post(Who::Admin, "/v1/profiles", profile).await;
        ways
    }

    async fn post(&self, who: Who, path: &str, body: Value) -> Value {
        let by = self.world.credential(who);
        let (status, answer) = self.world.request(by, "POST", path, &body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    async fn enqueue(&self, pool: &str, profile: &str) -> String {
        let step = json!({ "id": "only", "pool": pool, "mode": "identity", "command": ["true"] });
        let body = json!({ "workflow": "w", "profile": profile, "steps": [step] });
        let request = Sent {
            credential: self.world.credential(Who::Member).to_owned(),
            headers: BTreeMap::from([("idempotency-key", format!("{pool}-{}", self.runs))]),
            body: Some(body.to_string()),
            ..Sent::default()
        };
        let (status, run) = self.world.send("POST", "/v1/runs", request).await;
        assert_eq!(status, 201, "{run}");
        run["run_id"].as_str().unwrap().to_owned()
    }

    fn note<T>(&mut self, part: &'static str, (done, trips): (T, u128)) -> T {
        let fewest = self.fewest.entry(part).or_insert(trips);
        *fewest = trips.min(*fewest);
        done
    }

    async fn pull(&mut self) {
        let part = self.world.trips(self.enqueue(POOL, BESIDE)).await;
        let run = self.note("enqueue", part);
        let step = json!({ "run_id": run, "step_id": "only" });
        let part = self.post(Who::Approved, "/v1/claims", step.clone());
        let part = self.world.trips(part).await;
        let claim = self.note("claim", part);
        let with = |more: Value| {
            let mut all = step.clone();
            all["fence"] = claim["fence"].clone();
            all.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            all
        };
        let version = SECRET.rsplit('@').next();
        let started = with(json!({ "sandbox": "s", "resolved": { "API_KEY": version } }));
        let part = self.post(Who::Approved, "/v1/starts", started);
        let part = self.world.trips(part).await;
        self.note("start", part);
        let ended = with(json!({ "state": "succeeded" }));
        let part = self.post(Who::Approved, "/v1/reports", ended);
        let part = self.world.trips(part).await;
        self.note("end", part);
    }

    async fn fargate(&mut self) {
        let run = self.enqueue(FARGATE, CRM).await;
        let part = self.world.trips(self.world.deliver()).await;
        self.note("launch", part);
        let (own, run_id) = (scope(OWN), run.parse().unwrap());
        let stored = self.world.ledger.run(&own, run_id).await.unwrap();
        let step = stored.step(&"only".parse().unwrap()).unwrap();
        let hold = step.state.hold().unwrap();
        let asked = json!({
            "project": OWN, "run_id": run, "step_id": "only", "fence": hold.fence,
        });
        let request = Sent {
            sandbox: Some(task_id(hold.handle.as_ref().unwrap()).to_owned()),
            body: Some(asked.to_string()),
            ..Sent::default()
        };
        let part = self.world.send("POST", "/v1/sandbox/step", request);
        let part = self.world.trips(part).await;
        assert_eq!(self.note("ask", part).0, 200);
        let part = self.world.trips(self.world.tasks_go_on(None)).await;
        self.note("running", part);
        let part = self.world.trips(self.world.tasks_go_on(Some(0))).await;
        self.note("stopped", part);
    }
}

#[tokio::test]
async fn a_run_waits_for_no_call_that_could_have_been_made_before() {
    let mut ways = Ways::new().await;
    for run in 0..RUNS {
        ways.runs = run;
        ways.pull().await;
        ways.fargate().await;
    }
    let expected = BTreeMap::from([
        // What decides; the idempotency key; the run; the message.
        ("enqueue", 4),
        // The worker and the run; the lease and the profiles; the hold; the revocations.
        ("claim", 4),
        // All that decides; the start.
        ("start", 2),
        // The worker and the run; the end; the lease.
        ("end", 3),
        // All that is there; the lease and the profiles; the hold; the revocations; the task; its
        // handle.
        ("launch", 6),
        ("ask", 1),
        ("running", 2),
        ("stopped", 3),
    ]);
    assert_eq!(ways.fewest, expected);
}

/// A claim of a step that is not there.
const NOWHERE: &str = "run_0198c0de-0000-7000-8000-00000000000a";

impl World {
    /// The status of a claim's answer, the reads and writes that were made for it, and how many of
    /// them follow one another.
    async fn claim_by(&self, credential: &str, run: &str) -> (u16, usize, u128) {
        // So that no permit is needed.
        self.time_goes_by(5);
        self.trips(async {}).await;
        let before = self.calls("");
        let body = json!({ "run_id": run, "step_id": "only" });
        let asked = self.request(credential, "POST", "/v1/claims", &body);
        let ((status, _), trips) = self.trips(asked).await;
        (status, self.calls("") - before, trips)
    }
}

#[tokio::test]
async fn nothing_is_read_for_whom_this_instance_has_not_let_in() {
    let ways = Ways::new().await;
    let run = ways.enqueue(POOL, BESIDE).await;
    let world = &ways.world;
    let approved = world.credential(Who::Approved);
    let (id, secret) = approved.rsplit_once('.').unwrap();
    let forged = format!("{id}.{}", "A".repeat(secret.len()));
    for credential in [&forged, world.credential(Who::RevokedWorker)] {
        for run in [&run, NOWHERE] {
            assert_eq!(world.claim_by(credential, run).await.1, 1, "{run}");
        }
    }
    let (status, ..) = world.claim_by(approved, &run).await;
    assert_eq!(status, 200);
    // Another secret is another credential, though the worker is known now.
    for run in [&run, NOWHERE] {
        assert_eq!(world.claim_by(&forged, run).await, (401, 1, 1), "{run}");
    }
}

#[tokio::test]
async fn a_refusal_waits_for_nothing_that_is_read_besides_and_ends_it() {
    let ways = Ways::new().await;
    let run = ways.enqueue(POOL, BESIDE).await;
    let world = &ways.world;
    let worker = world.credential(Who::Approved);
    assert_eq!(world.claim_by(worker, &run).await.0, 200);
    let id: WorkerId = worker.split('.').nth(2).unwrap().parse().unwrap();
    let own = scope(OWN);
    let revoked = world.ledger.revoke_worker(&own, id, "test");
    revoked.await.unwrap();
    // A run that is not there is looked for twice.
    let (status, _, trips) = world.claim_by(worker, NOWHERE).await;
    assert_eq!((status, trips), (403, 1));
    // Nothing more is read for it.
    assert_eq!(world.claim_by(worker, &run).await, (403, 1, 1));
}

#[tokio::test]
async fn a_binding_that_has_changed_is_followed_at_once() {
    let ways = Ways::new().await;
    let world = &ways.world;
    let other = json!({ "name": "other", "secrets": { "API_KEY": SECRET } });
    ways.post(Who::Admin, "/v1/profiles", other).await;
    for bound in [BESIDE, "other"] {
        let (by, body) = (world.credential(Who::Admin), json!({ "project": bound }));
        let (status, answer) = world.request(by, "PUT", "/v1/cascade", &body).await;
        assert_eq!(status, 200, "{answer}");
        let step = json!({ "id": "only", "pool": POOL, "mode": "identity", "command": ["true"] });
        let run = json!({ "workflow": "w", "steps": [step] });
        // Each call takes a while: the profiles are asked for before the project has answered.
        let (run, _) = world.trips(ways.post(Who::Member, "/v1/runs", run)).await;
        let run_id = run["run_id"].as_str().unwrap().parse().unwrap();
        let run = world.ledger.run(&scope(OWN), run_id).await.unwrap();
        let used = &run.identity.unwrap().profiles[0].profile;
        assert_eq!(used.to_string(), bound);
    }
}

#[tokio::test]
async fn the_worker_that_a_pool_has_got_claims_for_it_at_once() {
    let mut ways = Ways::new().await;
    let (own, pool) = (scope(OWN), FARGATE.parse().unwrap());
    for number in 0..2 {
        ways.runs = number;
        let world = &ways.world;
        let mut project = world.ledger.project(&own).await.unwrap();
        let Some(Pool::Hosted(row)) = project.pools.get_mut(&pool) else {
            panic!("a pool that is not hosted")
        };
        let stored = world.ledger.worker(own.project(), row.worker_id).await;
        let mut worker = stored.unwrap().unwrap();
        worker.worker_id = WorkerId::new(world.ledger.ids(), world.ledger.now());
        row.worker_id = worker.worker_id;
        let (holder, workers) = (worker.worker_id, [(worker, None)]);
        let replaced = BTreeMap::new();
        let ledger = &world.ledger;
        let updated = ledger.update_project(&own, project, &workers, replaced, "test");
        updated.await.unwrap();
        let run_id = ways.enqueue(FARGATE, CRM).await.parse().unwrap();
        world.deliver().await;
        let run = world.ledger.run(&own, run_id).await.unwrap();
        let step = run.step(&"only".parse().unwrap()).unwrap();
        assert_eq!(step.state.hold().unwrap().holder, holder);
    }
}
