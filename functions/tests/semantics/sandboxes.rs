//! Which sandboxes a step asks for, and which its worker has: a worker tells, a step requires, a
//! pool may decide.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fleet::MISMATCH;
use super::{Hand, registration, run_of, step, text};
use crate::world::{POOL, Sent, Who, World};

impl World {
    async fn tells(&self, hand: &Hand, sandboxes: Value) {
        let beat = json!({ "leases": [], "sandboxes": sandboxes });
        self.ok(&hand.credential, "POST /v1/heartbeats", beat).await;
    }

    /// The detail of an enqueue that is refused for this field.
    async fn not_enqueued(&self, more: &Value, field: &str) -> String {
        let member = self.credential(Who::Member);
        let run = run_of(&[step("only", more)]);
        let invalid = (400, "invalid_request");
        let problem = self.refused(member, "POST /v1/runs", run, invalid).await;
        assert_eq!(problem["field"], format!("steps[0].{field}"), "{problem}");
        text(&problem, "detail")
    }

    /// Gives the pool of workers this backend.
    async fn pool_has(&self, backend: Value) -> (u16, Value) {
        let operator = self.credential(Who::Operator);
        let path = "/v1/projects/healthcare";
        let shown = self.get(operator, path).await;
        let mut pools = shown["pools"].clone();
        for (_, pool) in pools.as_object_mut().unwrap() {
            let pool = pool.as_object_mut().unwrap();
            pool.remove("worker_id");
            if pool.contains_key("image") {
                let digest = "1".repeat(64);
                pool["image"] = json!(format!("registry/sandbox@sha256:{digest}"));
            }
        }
        pools[POOL]["backend"] = backend;
        let version = format!("\"{}\"", shown["version"]);
        let request = Sent {
            credential: operator.to_owned(),
            body: Some(json!({ "pools": pools }).to_string()),
            headers: BTreeMap::from([("if-match", version)]),
            ..Sent::default()
        };
        self.send("PUT", path, request).await
    }
}

#[tokio::test]
async fn a_step_goes_to_a_worker_that_has_told_such_sandboxes() {
    let world = World::new().await;
    let both = json!({ "backends": ["bubblewrap", "docker"], "images": ["default", "python"] });
    let (silent, one, two) = (
        world.hand(&json!({})).await,
        world.hand(&json!({})).await,
        world.hand(&json!({ "max_concurrent": 3 })).await,
    );
    world
        .tells(&one, json!({ "backends": ["bubblewrap"] }))
        .await;
    world.tells(&two, both.clone()).await;
    let requires = |labels: Value| json!({ "requires": labels });
    let docker = requires(json!({ "sandbox.backend": "docker" }));
    let python = requires(json!({ "sandbox.image": "python" }));
    for asks in [&docker, &python] {
        let run = world.enqueued_step(asks).await;
        world.claim_refused(&silent, &run, MISMATCH).await;
        world.claim_refused(&one, &run, MISMATCH).await;
        let claim = world.claimed(&two, &run).await;
        assert!(claim["fence"].is_number());
    }
    let bubblewrap = requires(json!({ "sandbox.backend": "bubblewrap" }));
    let run = world.enqueued_step(&bubblewrap).await;
    world.claim_refused(&silent, &run, MISMATCH).await;
    world.claimed(&one, &run).await;

    // What a worker tells is seen and in the trail, once for each change.
    let admin = world.credential(Who::Admin);
    let path = format!("/v1/workers/{}", two.id);
    assert_eq!(world.get(admin, &path).await["sandboxes"], both);
    world.tells(&two, both.clone()).await;
    world.tells(&two, json!({ "backends": ["docker"] })).await;
    let told = super::named(&world.trail("").await, "worker.sandboxes_told");
    let of_two: Vec<_> = told
        .iter()
        .filter(|one| one["worker_id"] == two.id)
        .collect();
    assert_eq!(of_two.len(), 2, "{told:#?}");
    let run = world.enqueued_step(&python).await;
    world.claim_refused(&two, &run, MISMATCH).await;
}

#[tokio::test]
async fn a_claim_says_which_sandbox_its_step_has_to_run_in() {
    let world = World::new().await;
    let hand = world.hand(&json!({ "max_concurrent": 2 })).await;
    let has = json!({ "backends": ["docker"], "images": ["python"] });
    world.tells(&hand, has).await;
    let asks = json!({ "sandbox.backend": "docker", "sandbox.image": "python" });
    let run = world.enqueued_step(&json!({ "requires": asks })).await;
    let claim = json!({ "run_id": run, "step_id": "only" });
    let granted = world.ok(&hand.credential, "POST /v1/claims", claim).await;
    assert_eq!(
        (&granted["backend"], &granted["image"]),
        (&json!("docker"), &json!("python"))
    );
    let run = world.enqueued_step(&json!({})).await;
    let claim = json!({ "run_id": run, "step_id": "only" });
    let granted = world.ok(&hand.credential, "POST /v1/claims", claim).await;
    assert_eq!((granted.get("backend"), granted.get("image")), (None, None));
}

#[tokio::test]
async fn a_pool_may_run_its_steps_in_one_backend() {
    let world = World::new().await;
    let (status, problem) = world.pool_has(json!("toy")).await;
    assert_eq!(status, 400, "{problem}");
    assert_eq!(problem["field"], format!("pools.{POOL}.backend"));
    assert!(text(&problem, "detail").contains("`bubblewrap`, `docker`"));
    let (status, shown) = world.pool_has(json!("docker")).await;
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["pools"][POOL]["backend"], "docker");

    let (with, without) = (world.hand(&json!({})).await, world.hand(&json!({})).await);
    world.tells(&with, json!({ "backends": ["docker"] })).await;
    world
        .tells(&without, json!({ "backends": ["bubblewrap"] }))
        .await;
    let run = world.enqueued_step(&json!({})).await;
    let document = &world.run(&run).await["document"];
    let requires = &document["steps"][0]["requires"];
    assert_eq!(requires, &json!({ "sandbox.backend": "docker" }));
    world.claim_refused(&without, &run, MISMATCH).await;
    world.claimed(&with, &run).await;

    // What the backend cannot do is refused with the reason.
    let detail = world
        .not_enqueued(&json!({ "mode": "bare" }), "requires")
        .await;
    assert!(detail.contains("`docker` does not run `bare`"), "{detail}");
    let other = json!({ "requires": { "sandbox.backend": "bubblewrap" } });
    let detail = world.not_enqueued(&other, "requires").await;
    assert!(
        detail.contains("the pool runs its steps in `docker`"),
        "{detail}"
    );

    let (status, shown) = world.pool_has(Value::Null).await;
    assert_eq!((status, shown["pools"][POOL].get("backend")), (200, None));
    let run = world.enqueued_step(&json!({ "mode": "bare" })).await;
    let document = &world.run(&run).await["document"];
    assert_eq!(document["steps"][0]["requires"], json!({}), "{document}");
}

#[tokio::test]
async fn what_no_sandbox_can_do_is_refused_at_enqueue() {
    let world = World::new().await;
    let requires =
        |labels: Value, more: Value| super::merged(&json!({ "requires": labels }), &more);
    let backend = |name: &str| json!({ "sandbox.backend": name });
    for (asks, says) in [
        (
            requires(backend("toy"), json!({})),
            "no sandbox backend `toy`",
        ),
        (
            requires(json!({ "sandbox.size": "big" }), json!({})),
            "`sandbox.backend` and `sandbox.image`",
        ),
        (
            requires(backend("docker"), json!({ "mode": "bare" })),
            "a `bare` step has no sandbox",
        ),
        (
            requires(backend("docker"), json!({ "pool": "fargate" })),
            "a Fargate pool has sandboxes of one kind",
        ),
    ] {
        let detail = world.not_enqueued(&asks, "requires").await;
        assert!(detail.contains(says), "{detail}");
    }
}

#[tokio::test]
async fn nobody_declares_sandboxes_by_hand() {
    let world = World::new().await;
    let labels = json!({ "sandbox.backend": "docker" });
    let invalid = (400, "invalid_request");
    let (_, key) = world.key(&json!({})).await;
    let body = registration("w", &json!({ "labels": labels }));
    let problem = world
        .refused(&key, "POST /v1/workers/register", body, invalid)
        .await;
    assert!(text(&problem, "detail").contains("each worker tells its own sandboxes"));
    let admin = world.credential(Who::Admin);
    let body = json!({
        "pool": POOL, "labels": labels, "max_uses": 1, "expires_in_seconds": 60,
    });
    let problem = world
        .refused(admin, "POST /v1/enrolment-keys", body, invalid)
        .await;
    assert!(text(&problem, "detail").contains("leave it out"));

    let hand = world.hand(&json!({})).await;
    for (sandboxes, field) in [
        (json!({ "backends": ["toy"] }), "sandboxes.backends"),
        (json!({ "images": ["a b"] }), "sandboxes.images"),
    ] {
        let beat = json!({ "leases": [], "sandboxes": sandboxes });
        let problem = world
            .refused(&hand.credential, "POST /v1/heartbeats", beat, invalid)
            .await;
        assert_eq!(problem["field"], field);
    }
}
