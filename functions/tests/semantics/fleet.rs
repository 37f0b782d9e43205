//! Workers, enrolment keys, claims and reports.

use sealfleet_domain::limits;
use sealfleet_ledger::RunFilter;
use serde_json::{Value, json};

use super::{Hand, beside, merged, named, registration, run_of, step, success, text, with_profile};
use crate::world::{OTHER, POOL, Who, World, scope};

const UNAUTHENTICATED: (u16, &str) = (401, "unauthenticated");
pub const MISMATCH: (u16, &str) = (409, "step_mismatch");
const STALE: (u16, &str) = (409, "stale_fence");

/// 1. No enrolment key; register -> pending; claim 403 `pending`; heartbeat 200.
#[tokio::test]
async fn s01_without_a_key_a_worker_waits() {
    let world = World::new().await;
    let run = world.enqueued_step(&json!({})).await;
    let made = world
        .ok(
            "",
            "POST /v1/workers/register",
            registration("s01", &json!({})),
        )
        .await;
    assert_eq!(made["status"], "pending");
    let (id, own) = (text(&made, "worker_id"), text(&made, "credential"));

    let claim = json!({ "run_id": run, "step_id": "only" });
    for (what, body) in [
        ("POST /v1/claims", claim.clone()),
        ("POST /v1/queue-credentials", Value::Null),
    ] {
        world
            .refused(&own, what, body, (403, "worker_pending"))
            .await;
    }
    let beat = world
        .ok(&own, "POST /v1/heartbeats", json!({ "leases": [] }))
        .await;
    assert_eq!(beat["status"], "pending");
    assert_eq!(world.step(&run).await["state"], "queued");

    let admin = world.credential(Who::Admin);
    let path = format!("/v1/workers/{id}");
    assert_eq!(world.get(admin, &path).await["status"], "pending");
    world
        .ok(admin, &format!("POST {path}/approve"), Value::Null)
        .await;
    world.ok(&own, "POST /v1/claims", claim).await;
}

/// 3. Expired, revoked or exhausted key -> 401.
#[tokio::test]
async fn s03_a_dead_key_is_refused() {
    let world = World::new().await;
    let (_, expired) = world.key(&json!({ "expires_in_seconds": 1 })).await;
    let (id, revoked) = world.key(&json!({})).await;
    let path = format!("DELETE /v1/enrolment-keys/{id}");
    world
        .ok(world.credential(Who::Admin), &path, Value::Null)
        .await;
    let (_, exhausted) = world.key(&json!({ "max_uses": 1 })).await;
    let body = registration("s03", &json!({}));
    world
        .ok(&exhausted, "POST /v1/workers/register", body.clone())
        .await;
    world.time_goes_by(2);

    let workers = workers(&world).await;
    let mut answers = Vec::new();
    for key in [&expired, &revoked, &exhausted] {
        let what = "POST /v1/workers/register";
        answers.push(
            world
                .refused(key, what, body.clone(), UNAUTHENTICATED)
                .await,
        );
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "different answers to dead keys");
    assert_eq!(
        self::workers(&world).await,
        workers,
        "a dead key left a worker behind"
    );
}

async fn workers(world: &World) -> usize {
    let listed = world
        .get(world.credential(Who::Admin), "/v1/workers?limit=100")
        .await;
    listed["items"].as_array().unwrap().len()
}

/// 4. Key for pool gpu; register for pool default -> not auto-approved.
/// 5. Key bound to project A; register for B, or with undeclared labels or models -> refused.
#[tokio::test]
async fn s04_a_key_is_for_its_pool() {
    let world = World::new().await;
    let (_, key) = world.key(&json!({})).await;
    let (before, refused) = (workers(&world).await, (403, "enrolment_refused"));
    let body = registration("s04", &json!({ "pool": "fargate" }));
    let problem = world
        .refused(&key, "POST /v1/workers/register", body, refused)
        .await;
    assert!(
        text(&problem, "detail").contains("workers"),
        "the key's pool: {problem}"
    );
    assert_eq!(workers(&world).await, before);
    let body = registration("s04", &json!({}));
    let made = world.ok(&key, "POST /v1/workers/register", body).await;
    assert_eq!(made["status"], "approved");
}

#[tokio::test]
async fn s05_a_key_is_for_its_project_labels_and_models() {
    let world = World::new().await;
    let declared = json!({ "labels": { "region": "eu" }, "models": ["gpt-4o"], "max_uses": 10 });
    let (id, key) = world.key(&declared).await;
    let before = workers(&world).await;
    for undeclared in [
        json!({ "project": OTHER }),
        json!({ "labels": { "region": "us" } }),
        json!({ "labels": { "region": "eu", "gpu": "a10" } }),
        json!({ "models": ["gpt-4o", "claude"] }),
    ] {
        let body = registration("s05", &undeclared);
        let what = "POST /v1/workers/register";
        world
            .refused(&key, what, body, (403, "enrolment_refused"))
            .await;
    }
    assert_eq!(
        workers(&world).await,
        before,
        "a refused registration was stored"
    );
    let keys = world
        .get(world.credential(Who::Admin), "/v1/enrolment-keys?limit=100")
        .await;
    let keys = keys["items"].as_array().unwrap();
    let own = keys
        .iter()
        .find(|key| key["enrolment_key_id"] == *id)
        .unwrap();
    assert_eq!(own["uses"], 0, "uses of a key that only refused");
    let covered = json!({ "labels": { "region": "eu" }, "models": ["openai/GPT-4o"] });
    let body = registration("s05", &covered);
    let made = world.ok(&key, "POST /v1/workers/register", body).await;
    assert_eq!(made["status"], "approved");
}

/// A key whose registration fails, for whatever reason, still admits its worker.
#[tokio::test]
async fn a_registration_that_fails_spends_no_key() {
    let world = World::new().await;
    let (id, key) = world.key(&json!({ "max_uses": 1 })).await;
    let (what, before) = ("POST /v1/workers/register", workers(&world).await);
    for wrong in [
        json!({ "name": "" }),
        json!({ "name": "x".repeat(1000) }),
        json!({ "modes": [] }),
        json!({ "modes": ["full_jit"] }),
        json!({ "max_concurrent": 0 }),
        json!({ "labels": { "a b": "c" } }),
        json!({ "models": [""] }),
        json!({ "pool": "no pool" }),
        json!({ "pool": "fargate" }),
        json!({ "project": OTHER }),
        json!({ "unknown": 1 }),
    ] {
        let (status, answer) = world.asked(&key, what, &registration("w", &wrong)).await;
        assert!((400..500).contains(&status), "{wrong}: {status} {answer}");
    }
    // The tables fail in the middle of it.
    world.audit_table_is_away(true);
    let body = registration("w", &json!({}));
    let (status, answer) = world.asked(&key, what, &body).await;
    assert!(status >= 500, "{status} {answer}");
    world.audit_table_is_away(false);

    assert_eq!(workers(&world).await, before);
    let admin = world.credential(Who::Admin);
    let keys = world.get(admin, "/v1/enrolment-keys?limit=100").await;
    let keys = keys["items"].as_array().unwrap();
    let own = keys.iter().find(|key| key["enrolment_key_id"] == *id);
    assert_eq!(own.unwrap()["uses"], 0);
    let made = world.ok(&key, what, body.clone()).await;
    assert_eq!(made["status"], "approved");
    world.refused(&key, what, body, UNAUTHENTICATED).await;
}

/// 7. Wrong secret, or A's secret with B's id -> 401.
#[tokio::test]
async fn s07_a_wrong_secret_is_nobodys() {
    let world = World::new().await;
    let colleague = world.hand(&json!({})).await.credential;
    let key = world.key(&json!({})).await.1;
    let mut answers = Vec::new();
    for (own, others) in [
        (
            world.credential(Who::Approved),
            world.credential(Who::ForeignWorker),
        ),
        (world.credential(Who::Approved), colleague.as_str()),
        (
            world.credential(Who::Admin),
            world.credential(Who::Stranger),
        ),
        (world.credential(Who::Viewer), world.credential(Who::Admin)),
        (world.credential(Who::Key), key.as_str()),
    ] {
        let (own, others): (Vec<&str>, Vec<&str>) =
            (own.split('.').collect(), others.split('.').collect());
        let backwards: String = own[3].chars().rev().collect();
        for forged in [
            [own[0], own[1], own[2], &backwards],
            [own[0], others[1], others[2], own[3]],
            [own[0], own[1], own[2], others[3]],
        ] {
            for (what, body) in [
                ("POST /v1/heartbeats", json!({ "leases": [] })),
                ("GET /v1/runs", Value::Null),
                ("POST /v1/workers/register", registration("s07", &json!({}))),
            ] {
                let forged = forged.join(".");
                answers.push(world.refused(&forged, what, body, UNAUTHENTICATED).await);
            }
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "different answers to forged credentials");
}

/// 8. Body names project B under A's token -> A's scope holds; nothing lands in B.
#[tokio::test]
async fn s08_a_body_cannot_name_another_project() {
    let world = World::new().await;
    let before = world.seen().entries;
    let other = json!({ "project": OTHER });
    let named = |body: Value| merged(&body, &other);
    for (path, body) in [
        ("/v1/runs", named(run_of(&[step("only", &json!({}))]))),
        ("/v1/runs", run_of(&[step("only", &other)])),
        ("/v1/profiles", named(json!({ "name": "s08" }))),
        ("/v1/enrolment-keys", named(json!({ "pool": "workers" }))),
        ("/v1/tokens", named(json!({ "role": "admin" }))),
    ] {
        let what = format!("POST {path}");
        let (status, problem) = world
            .asked(world.credential(Who::Admin), &what, &body)
            .await;
        assert!((400..500).contains(&status), "{path}: {problem}");
        assert!(
            text(&problem, "field").ends_with("project"),
            "{path}: {problem}"
        );
    }
    assert_eq!(world.seen().entries, before, "entries in any trail");
    let runs = world
        .ledger
        .runs(&scope(OTHER), &RunFilter::default(), None, 10)
        .await
        .unwrap();
    assert!(runs.items.is_empty());
}

/// 11. Step for `openai/GPT-4o`; worker `gpt-4o` -> match. No model -> any worker; a model step and
///     a worker without models -> nothing.
#[tokio::test]
async fn s11_models_match() {
    let world = World::new().await;
    let with = world
        .hand(&json!({ "models": ["gpt-4o"], "max_concurrent": 2 }))
        .await;
    let without = world.hand(&json!({})).await;
    let asks = world
        .enqueued_step(&json!({ "model": "openai/GPT-4o" }))
        .await;
    let other = world
        .enqueued_step(&json!({ "model": "openai/gpt-4" }))
        .await;
    let any = world.enqueued_step(&json!({})).await;
    world.claim_refused(&without, &asks, MISMATCH).await;
    world.claim_refused(&with, &other, MISMATCH).await;
    assert_eq!(world.step(&asks).await["state"], "queued");
    assert!(world.events(&asks, "step.leased").await.is_empty());
    world.claimed(&with, &asks).await;
    world.claimed(&without, &any).await;
}

/// 12. Label `region=eu`: worker `us` or none -> nothing; superset -> match.
#[tokio::test]
async fn s12_labels_match() {
    let world = World::new().await;
    let run = world
        .enqueued_step(&json!({ "requires": { "region": "eu" } }))
        .await;
    for labels in [
        json!({ "region": "us" }),
        json!({}),
        json!({ "Region": "eu" }),
        json!({ "region": "EU" }),
    ] {
        let hand = world.hand(&json!({ "labels": labels })).await;
        world.claim_refused(&hand, &run, MISMATCH).await;
    }
    assert_eq!(world.step(&run).await["state"], "queued");
    let superset = json!({ "labels": { "region": "eu", "gpu": "a10" } });
    world.claimed(&world.hand(&superset).await, &run).await;
}

/// 15. Report by a non-owner -> 403; same report twice -> 200; a different terminal state -> 409; a
///     non-terminal state -> 400.
#[tokio::test]
async fn s15_reports() {
    let world = World::new().await;
    let (owner, other) = (world.hand(&json!({})).await, world.hand(&json!({})).await);
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&owner, &run).await;
    let (not_holder, invalid) = ((403, "not_holder"), (400, "invalid_request"));
    world
        .report_refused(&other, success(&lease), not_holder)
        .await;
    for state in ["running", "queued", "dead", "aborted", ""] {
        let body = merged(&lease, &json!({ "state": state }));
        let problem = world.report_refused(&owner, body, invalid).await;
        assert_eq!(problem["field"], "state");
    }
    assert_eq!(world.step(&run).await["state"], "leased");

    world.succeeded(&owner, &lease).await;
    world.succeeded(&owner, &lease).await;
    let otherwise = json!({ "state": "failed", "failure": { "kind": "exit", "code": 1 } });
    let body = merged(&lease, &otherwise);
    let (status, problem) = world
        .asked(&owner.credential, "POST /v1/reports", &body)
        .await;
    assert_eq!(status, 409, "{problem}");
    world
        .report_refused(&other, success(&lease), not_holder)
        .await;
    assert_eq!(world.step(&run).await["state"], "succeeded");
    for (name, times) in [
        ("step.succeeded", 1),
        ("step.failed", 0),
        ("run.finished", 1),
    ] {
        assert_eq!(world.events(&run, name).await.len(), times, "{name}");
    }
}

/// 16. Lease runs out -> queued again, late report refused; after 3 attempts -> dead, listed, retry
///     works.
#[tokio::test]
async fn s16_a_lease_runs_out() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let mut late = Vec::new();
    for attempt in 1..=3 {
        late.push(world.claimed(&hand, &run).await);
        let shown = world.step(&run).await;
        let (fence, tries) = (&shown["fence"], &shown["attempt"]);
        assert_eq!((fence, tries), (&json!(attempt), &json!(attempt)));
        world.leases_run_out().await;
        let state = if attempt < 3 { "queued" } else { "dead" };
        assert_eq!(world.step(&run).await["state"], state);
    }
    for lease in &late {
        world.report_refused(&hand, success(lease), STALE).await;
        assert!(!world.holds(&hand, lease).await, "a lost lease is held");
    }
    let step = world.step(&run).await;
    assert_eq!(step["dead"], "attempts_exhausted");
    assert_eq!(step["lost"], "lease_expired", "its worker was lost");
    let listed = world
        .get(world.credential(Who::Viewer), "/v1/runs?state=dead")
        .await;
    assert_eq!(listed["items"][0]["run_id"], *run, "{listed}");
    for (name, times) in [("step.requeued", 2), ("step.dead", 1)] {
        assert_eq!(world.events(&run, name).await.len(), times, "{name}");
    }

    let retry = format!("POST /v1/runs/{run}/steps/only/retry");
    let [viewer, member] = [Who::Viewer, Who::Member].map(|who| world.credential(who));
    world
        .refused(viewer, &retry, Value::Null, (403, "forbidden"))
        .await;
    world.ok(member, &retry, Value::Null).await;
    assert_eq!(
        world.asked(member, &retry, &Value::Null).await.0,
        409,
        "it is not dead"
    );
    assert_eq!(world.events(&run, "step.retried").await.len(), 1);
    let lease = world.claimed(&hand, &run).await;
    assert_eq!(lease["fence"], 4, "the fence goes on");
    world.succeeded(&hand, &lease).await;
    assert_eq!(world.run(&run).await["state"], "succeeded");
}

/// 17. Heartbeats through a long step -> never reaped.
#[tokio::test]
async fn s17_heartbeats_keep_a_lease() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    for _ in 0..10 {
        world.time_goes_by(20);
        assert!(world.holds(&hand, &lease).await);
        world.sweep().await;
        assert_eq!(world.step(&run).await["state"], "running");
    }
    assert!(world.events(&run, "step.requeued").await.is_empty());
    world.succeeded(&hand, &lease).await;
    assert_eq!(world.step(&run).await["attempt"], 1);
}

/// 18. Same worker claims again; report with the old fence -> refused.
#[tokio::test]
async fn s18_the_newest_claim_counts() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let (old, new) = (
        world.claimed(&hand, &run).await,
        world.claimed(&hand, &run).await,
    );
    assert!(new["fence"].as_u64() > old["fence"].as_u64());
    world.report_refused(&hand, success(&old), STALE).await;
    let start = merged(&old, &json!({ "sandbox": "s" }));
    world
        .refused(&hand.credential, "POST /v1/starts", start, STALE)
        .await;
    assert!(!world.holds(&hand, &old).await);
    let refused = world.events(&run, "report.refused").await;
    assert!(
        refused.iter().any(|event| event["fence"] == old["fence"]),
        "{refused:?}"
    );
    assert_eq!(world.step(&run).await["state"], "leased");
    assert!(world.holds(&hand, &new).await);
    world.succeeded(&hand, &new).await;
    assert_eq!(
        world.events(&run, "step.succeeded").await[0]["fence"],
        new["fence"]
    );
}

/// A drained worker is given nothing new, and ends what it holds.
#[tokio::test]
async fn a_drained_worker_ends_its_steps_and_gets_no_others() {
    let world = World::new().await;
    let hand = world.hand(&json!({ "max_concurrent": 2 })).await;
    let (one, two) = (
        world.enqueued_step(&json!({})).await,
        world.enqueued_step(&json!({})).await,
    );
    let lease = world.claimed(&hand, &one).await;
    world.started(&hand, &lease).await;
    let admin = world.credential(Who::Admin);
    let path = format!("/v1/workers/{}", hand.id);
    for _ in 0..2 {
        let drain = format!("POST {path}/drain");
        let drained = world.ok(admin, &drain, Value::Null).await;
        assert_eq!(drained["status"], "approved");
        assert!(drained["draining_since"].is_string(), "{drained}");
    }
    let beats = json!({ "leases": [lease] });
    let beat = world
        .ok(&hand.credential, "POST /v1/heartbeats", beats)
        .await;
    assert_eq!(
        (&beat["draining"], &beat["leases"][0]["held"]),
        (&json!(true), &json!(true))
    );
    world
        .claim_refused(&hand, &two, (403, "worker_draining"))
        .await;
    world.succeeded(&hand, &lease).await;
    world.time_goes_by(70);
    let why = text(&world.step(&two).await, "diagnosis");
    assert!(why.contains("that does not drain"), "{why}");
    for _ in 0..2 {
        let resumed = world
            .ok(admin, &format!("POST {path}/resume"), Value::Null)
            .await;
        assert!(resumed["draining_since"].is_null(), "{resumed}");
    }
    let beats = json!({ "leases": [] });
    let beat = world
        .ok(&hand.credential, "POST /v1/heartbeats", beats)
        .await;
    assert!(beat["draining"].is_null(), "{beat}");
    world.claimed(&hand, &two).await;
    for (event, count) in [("worker.drained", 1), ("worker.resumed", 1)] {
        let told = named(&world.trail(&format!("&type={event}")).await, event);
        let own = told.iter().filter(|told| told["worker_id"] == *hand.id);
        assert_eq!(own.count(), count, "{told:?}");
    }
    // Only what may work can be drained.
    world
        .ok(admin, &format!("POST {path}/revoke"), Value::Null)
        .await;
    for verb in ["drain", "resume"] {
        let what = format!("POST {path}/{verb}");
        world
            .refused(admin, &what, Value::Null, (409, "conflict"))
            .await;
    }
}

/// 19. Worker revoked mid-step -> heartbeat 403, step queued again.
#[tokio::test]
async fn s19_a_revoked_worker_loses_its_step() {
    let world = World::new().await;
    let hand = world.hand(&json!({ "max_concurrent": 2 })).await;
    let (one, two) = (
        world.enqueued_step(&json!({})).await,
        world.enqueued_step(&json!({})).await,
    );
    let leases = [
        world.claimed(&hand, &one).await,
        world.claimed(&hand, &two).await,
    ];
    world.started(&hand, &leases[1]).await;

    let revoke = format!("POST /v1/workers/{}/revoke", hand.id);
    let [admin, member] = [Who::Admin, Who::Member].map(|who| world.credential(who));
    world
        .refused(member, &revoke, Value::Null, (403, "forbidden"))
        .await;
    world.ok(admin, &revoke, Value::Null).await;
    let revoked = (403, "worker_revoked");
    for (what, body) in [
        ("POST /v1/heartbeats", json!({ "leases": leases })),
        ("POST /v1/reports", success(&leases[0])),
        ("POST /v1/reports", success(&leases[1])),
        (
            "POST /v1/claims",
            json!({ "run_id": one, "step_id": "only" }),
        ),
        ("POST /v1/queue-credentials", Value::Null),
    ] {
        world.refused(&hand.credential, what, body, revoked).await;
    }
    for run in [&one, &two] {
        assert_eq!(world.step(run).await["state"], "queued");
        let requeued = world.events(run, "step.requeued").await;
        assert_eq!(requeued[0]["reason"], "worker_revoked", "{requeued:?}");
    }
    let told = named(&world.trail("&type=worker.revoked").await, "worker.revoked");
    assert!(
        told.iter().any(|event| event["worker_id"] == *hand.id),
        "{told:?}"
    );
    let other = world.hand(&json!({})).await;
    let lease = world.claimed(&other, &one).await;
    world.succeeded(&other, &lease).await;
}

/// 22. Unmatchable step -> visible diagnosis, dies at its TTL.
#[tokio::test]
async fn s22_an_unmatchable_step_says_so_and_dies() {
    let world = World::new().await;
    let more = json!({ "requires": { "region": "mars" }, "ttl_seconds": 90 });
    let run = world.enqueued_step(&more).await;
    // Told once the step's message should have been answered.
    world.time_goes_by(60);
    let shown = world.step(&run).await;
    assert!(text(&shown, "diagnosis").contains("region=mars"), "{shown}");
    assert_eq!(shown["state"], "queued");
    world.leases_run_out().await;
    let shown = world.step(&run).await;
    assert_eq!(
        (&shown["state"], &shown["dead"]),
        (&json!("dead"), &json!("ttl_expired"))
    );
    assert_eq!(
        world.events(&run, "step.dead").await[0]["reason"],
        "ttl_expired"
    );
}

/// 25. Viewer enqueues -> 403; expired or revoked token -> 401.
#[tokio::test]
async fn s25_viewers_and_dead_tokens() {
    let world = World::new().await;
    let before = world.seen().entries;
    let body = run_of(&[step("only", &json!({}))]);
    let viewer = world.credential(Who::Viewer);
    world
        .refused(viewer, "POST /v1/runs", body.clone(), (403, "forbidden"))
        .await;
    let mut answers = Vec::new();
    for who in [
        Who::Expired,
        Who::Revoked,
        Who::Unknown,
        Who::Nobody,
        Who::Garbled,
    ] {
        let dead = world.credential(who);
        for (what, body) in [
            ("POST /v1/runs", body.clone()),
            ("GET /v1/runs", Value::Null),
        ] {
            answers.push(world.refused(dead, what, body, UNAUTHENTICATED).await);
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "different answers to dead tokens");
    assert_eq!(world.seen().entries, before, "entries in the trail");
}

/// What a worker knows of an end is in the run: what of the output is missing, and why a command
/// never ran.
#[tokio::test]
async fn a_run_says_what_a_worker_knows_of_its_end() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let failure =
        json!({ "kind": "cannot_execute", "errno": 7, "detail": "Argument list too long" });
    let reports = [
        json!({ "state": "succeeded", "output_cut_bytes": 4096 }),
        json!({ "state": "failed", "failure": failure, "output_cut_bytes": 1 }),
        json!({ "state": "failed", "failure": { "kind": "exit", "code": 137 } }),
    ];
    for report in reports {
        let run = world.enqueued_step(&json!({})).await;
        let lease = world.claimed(&hand, &run).await;
        world.started(&hand, &lease).await;
        let body = merged(&lease, &report);
        // A report that is repeated changes nothing.
        for _ in 0..2 {
            world
                .ok(&hand.credential, "POST /v1/reports", body.clone())
                .await;
        }
        let step = world.step(&run).await;
        for name in ["failure", "output_cut_bytes"] {
            assert_eq!(step[name], report[name], "{step}");
        }
        assert_eq!(step["lost"], Value::Null);
    }
}

/// A worker whose sandbox is lost says so: the step is tried again at once, as often as it may be,
/// and nobody else can say it.
#[tokio::test]
async fn a_step_whose_sandbox_is_lost_is_tried_again() {
    let world = World::new().await;
    let (hand, other) = (world.hand(&json!({})).await, world.hand(&json!({})).await);
    let run = world.enqueued_step(&json!({ "max_attempts": 2 })).await;
    let lost = |lease: &Value| merged(lease, &json!({ "state": "lost" }));
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    let with_end = json!({ "failure": { "kind": "exit", "code": 1 } });
    let body = merged(&lost(&lease), &with_end);
    let invalid = (400, "invalid_request");
    let problem = world.report_refused(&hand, body, invalid).await;
    assert_eq!(problem["field"], "failure");
    let not_holder = (403, "not_holder");
    world.report_refused(&other, lost(&lease), not_holder).await;
    assert_eq!(world.step(&run).await["state"], "running");

    for state in ["queued", "dead"] {
        let lease = match state {
            "queued" => lease.clone(),
            _ => world.claimed(&hand, &run).await,
        };
        // A report that is repeated changes nothing.
        for _ in 0..2 {
            world
                .ok(&hand.credential, "POST /v1/reports", lost(&lease))
                .await;
        }
        let step = world.step(&run).await;
        assert_eq!(
            (&step["state"], &step["lost"]),
            (&json!(state), &json!("sandbox_lost"))
        );
        assert_eq!(step["attempt"], 2);
    }
    let stale = (409, "stale_fence");
    world.report_refused(&hand, success(&lease), stale).await;
}

/// A step of mode `full`: its worker gets the agent, and the step shows what the agent used and why
/// it failed.
#[tokio::test]
async fn a_step_shows_what_its_agent_used() {
    let world = World::new().await;
    world
        .profile("models", &json!({ "env": { "A": "b" } }))
        .await;
    let hand = world.hand(&json!({ "modes": ["full"] })).await;
    let agent = json!({
        "cli": "claude-code", "prompt": "Mend it.\nThen say how.", "model": "claude-sonnet-4-5", "max_turns": 5,
        "budget_usd": 0.25,
    });
    let only = json!({ "id": "only", "pool": POOL, "mode": "full", "agent": agent });
    let body = merged(&run_of(&[only]), &json!({ "profile": "models" }));
    let used = json!({ "input_tokens": 2200, "cached_input_tokens": 1400, "output_tokens": 70 });
    let said = json!({
        "usage": used, "cost_usd": 0.00387, "turns": 2, "session_id": "ses_0a1b",
    });
    let reports = [
        json!({ "state": "succeeded", "agent": said }),
        json!({ "state": "failed", "failure": { "kind": "agent_auth" }, "agent": said }),
        json!({ "state": "failed", "failure": { "kind": "over_budget", "budget_usd": 0.25 }, "agent": said }),
        json!({ "state": "failed", "failure": { "kind": "over_turns", "max_turns": 5 }, "agent": said }),
    ];
    for report in reports {
        let run = world.enqueued(body.clone()).await;
        let asked = json!({ "run_id": run, "step_id": "only" });
        let claim = world
            .ok(&hand.credential, "POST /v1/claims", asked.clone())
            .await;
        assert_eq!(claim["agent"], agent);
        assert_eq!(
            (&claim["tool"], &claim["command"]),
            (&json!("claude-code"), &json!([]))
        );
        assert_eq!(claim["env"], json!({ "A": "b" }));
        let lease = merged(&asked, &json!({ "fence": claim["fence"] }));
        world.started(&hand, &lease).await;
        let long = merged(
            &report,
            &json!({ "agent": { "session_id": "x".repeat(129) } }),
        );
        let refused = merged(&lease, &long);
        world
            .report_refused(&hand, refused, (400, "invalid_request"))
            .await;
        let body = merged(&lease, &report);
        world.ok(&hand.credential, "POST /v1/reports", body).await;
        let step = world.step(&run).await;
        assert_eq!(step["agent"], "claude-code");
        assert_eq!(step["failure"], report["failure"]);
        for name in ["usage", "cost_usd", "turns", "session_id"] {
            assert_eq!(step[name], said[name], "{step}");
        }
        let shown = world.run(&run).await;
        assert_eq!(shown["document"]["steps"][0]["agent"], agent);
    }
}

/// What an agent used belongs to steps that run one.
#[tokio::test]
async fn a_command_has_no_agent_to_tell_of() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    world.started(&hand, &lease).await;
    let report = json!({ "state": "succeeded", "agent": { "turns": 3 } });
    let body = merged(&lease, &report);
    world.ok(&hand.credential, "POST /v1/reports", body).await;
    let step = world.step(&run).await;
    assert_eq!(
        (&step["turns"], &step["agent"]),
        (&Value::Null, &Value::Null)
    );
}

/// What init took out of a step's output is one event with the end, of secrets that the step has.
#[tokio::test]
async fn a_trail_says_what_was_redacted() {
    let world = World::new().await;
    let content = json!({ "secrets": { "API_KEY": beside("a"), "PIN": format!("{}?redact=false", beside("b")) } });
    world.profile("redacted", &content).await;
    let admin = world.credential(Who::Admin);
    let shown = world.get(admin, "/v1/profiles/redacted").await;
    assert_eq!(shown["secrets"], content["secrets"]);
    let trail = world.get(admin, "/v1/audit?limit=100").await;
    let created = named(&trail, "profile.created");
    let audited = |event: &Value| event["secrets"] == content["secrets"];
    assert!(created.iter().any(audited), "{created:?}");

    let hand = world.hand(&json!({})).await;
    for state in ["succeeded", "failed"] {
        let run = world.enqueued(with_profile("redacted")).await;
        let body = json!({ "run_id": run, "step_id": "only" });
        let claim = world
            .ok(&hand.credential, "POST /v1/claims", body.clone())
            .await;
        let redacted = |name: &str| {
            let mut secrets = claim["secrets"].as_array().unwrap().iter();
            secrets.find(|secret| secret["name"] == name).unwrap()["redact"].clone()
        };
        assert_eq!(redacted("API_KEY"), Value::Null, "by default");
        assert_eq!(redacted("PIN"), false);
        let lease = merged(&body, &json!({ "fence": claim["fence"] }));
        let version = |name: &str| {
            let mut secrets = claim["secrets"].as_array().unwrap().iter();
            secrets.find(|secret| secret["name"] == name).unwrap()["version"].clone()
        };
        let resolved = json!({ "API_KEY": version("API_KEY"), "PIN": version("PIN") });
        let start = json!({
            "sandbox": "s", "resolved": resolved, "store_request_ids": { "API_KEY": "id-of-store" },
        });
        let start = merged(&lease, &start);
        world.ok(&hand.credential, "POST /v1/starts", start).await;
        let decrypted = world.events(&run, "secret.decrypted").await;
        let ids = decrypted
            .iter()
            .map(|event| (&event["key"], &event["store_request_id"]));
        let ids: Vec<_> = ids.collect();
        let expected = [
            (json!("API_KEY"), json!("id-of-store")),
            (json!("PIN"), Value::Null),
        ];
        assert_eq!(ids, expected.each_ref().map(|(key, id)| (key, id)));
        let row = |key: &str, count: u64| json!({ "key": key, "stream": "stdout", "encoding": "base64", "count": count });
        let end = match state {
            "failed" => json!({ "state": state, "failure": { "kind": "exit", "code": 1 } }),
            _ => json!({ "state": state }),
        };
        let end = merged(&lease, &end);
        let many = json!({ "redactions": vec![row("API_KEY", 1); 21] });
        let refused = (400, "invalid_request");
        world
            .report_refused(&hand, merged(&end, &many), refused)
            .await;
        let unnamed = json!({ "redactions": [row("not a name", 1)] });
        world
            .report_refused(&hand, merged(&end, &unnamed), refused)
            .await;
        let rows = [row("API_KEY", 3), row("NOT_OF_THE_STEP", 1), row("PIN", 0)];
        let report = merged(&end, &json!({ "redactions": rows }));
        // A report that is repeated changes nothing.
        for _ in 0..2 {
            world
                .ok(&hand.credential, "POST /v1/reports", report.clone())
                .await;
        }
        let events = world.events(&run, "redaction.match").await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["step_id"], "only");
        assert_eq!(events[0]["matches"], json!([row("API_KEY", 3)]));
        assert_eq!(world.events(&run, &format!("step.{state}")).await.len(), 1);
    }
}

/// A worker that repeats a call which is refused: every refusal is counted, and few are on record.
#[tokio::test]
async fn repeated_refusals_have_few_entries_that_tell_their_count() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world
        .enqueued_step(&json!({ "requires": { "gpu": "a10" } }))
        .await;
    let before = world.seen().entries;
    for _ in 0..300 {
        world.claim_refused(&hand, &run, MISMATCH).await;
    }
    let counts = async || {
        let refused = world.events(&run, "claim.refused").await;
        let counts = refused.iter().map(|event| event["count"].as_u64().unwrap());
        counts.collect::<Vec<_>>()
    };
    assert_eq!(counts().await, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(world.seen().entries - before, 9, "entries in the trail");
    // The next minute begins anew.
    world.time_goes_by(60);
    world.claim_refused(&hand, &run, MISMATCH).await;
    assert_eq!(counts().await.last(), Some(&1));
}

/// A worker's calls have a rate of their own; its neighbour's go on.
#[tokio::test]
async fn a_worker_calls_as_often_as_its_rate_allows() {
    let world = World::new().await;
    let (hand, neighbour) = (world.hand(&json!({})).await, world.hand(&json!({})).await);
    let beat = async |hand: &Hand| {
        let body = json!({ "leases": [] });
        world
            .asked(&hand.credential, "POST /v1/heartbeats", &body)
            .await
    };
    let most = limits::WORKER_REQUESTS_AT_ONCE + limits::WORKER_REQUESTS_PER_SECOND;
    world.time_stands_still();
    let mut admitted = 0;
    let problem = loop {
        match beat(&hand).await {
            (200, _) => admitted += 1,
            (429, problem) => break problem,
            (status, answer) => panic!("{status} {answer}"),
        }
        assert!(admitted <= most + 1, "no limit after {admitted} requests");
    };
    assert_eq!(problem["code"], "rate_limited");
    assert!(
        problem["retry_after"]
            .as_u64()
            .is_some_and(|seconds| seconds > 0)
    );
    assert_eq!(beat(&neighbour).await.0, 200);
    world.time_goes_by(3);
    assert_eq!(beat(&hand).await.0, 200);
}
