//! Projects are deleted when they are empty, and leave no credential that opens anything.

use sealfleet_domain::fleet::EnrolmentKey;
use sealfleet_ledger::{Error, Registration};
use serde_json::{Value, json};

use super::{named, registration, run_of, step, text};
use crate::world::{OWN, POOL, Who, World, scope};

const DELETE: &str = "DELETE /v1/projects/healthcare";
const DRAIN: &str = "DELETE /v1/projects/healthcare?drain=true";
const IN_USE: (u16, &str) = (409, "project_in_use");
const CLOSED: (u16, &str) = (409, "project_closed");
const UNAUTHENTICATED: (u16, &str) = (401, "unauthenticated");

/// What members, admins and operators ask for of a project that goes on.
fn new_things() -> [(Who, &'static str, Value); 4] {
    [
        (
            Who::Member,
            "POST /v1/runs",
            run_of(&[step("only", &json!({}))]),
        ),
        (
            Who::Admin,
            "POST /v1/enrolment-keys",
            json!({ "pool": POOL }),
        ),
        (Who::Admin, "POST /v1/tokens", json!({ "role": "viewer" })),
        (
            Who::Operator,
            "POST /v1/tokens",
            json!({ "role": "viewer", "project": OWN }),
        ),
    ]
}

#[tokio::test]
async fn a_project_is_closed_drained_and_deleted() {
    let world = World::new().await;
    let operator = world.credential(Who::Operator);
    let (_, key) = world.key(&json!({})).await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    let dead = world.enqueued_step(&json!({ "max_attempts": 1 })).await;

    let refused = world.refused(operator, DELETE, Value::Null, IN_USE).await;
    let detail = text(&refused, "detail");
    assert!(detail.starts_with("2 of its runs"), "{detail}");
    assert!(!detail.contains("run_"), "operators see no runs: {detail}");
    for (who, what, body) in new_things() {
        world.ok(world.credential(who), what, body).await;
    }

    let closed = world.ok(operator, DRAIN, Value::Null).await;
    assert_eq!(closed["state"], "closing");
    for (who, what, body) in new_things() {
        world
            .refused(world.credential(who), what, body, CLOSED)
            .await;
    }
    let retry = format!("POST /v1/runs/{dead}/steps/only/retry");
    let member = world.credential(Who::Member);
    world.refused(member, &retry, Value::Null, CLOSED).await;
    // What runs goes on to its end, and what waits can be cancelled.
    assert!(world.holds(&hand, &lease).await);
    world.started(&hand, &lease).await;
    world.succeeded(&hand, &lease).await;

    // What had begun before it was closed may still come.
    let again = world.ok(operator, DELETE, Value::Null).await;
    assert_eq!(again, closed);
    world.time_goes_by(61);
    world.refused(operator, DELETE, Value::Null, IN_USE).await;
    let runs = world.get(member, "/v1/runs?limit=100").await;
    for run in runs["items"].as_array().unwrap() {
        if run["state"] == "running" || run["state"] == "queued" {
            let cancel = format!("POST /v1/runs/{}/cancel", text(run, "run_id"));
            world.ok(member, &cancel, Value::Null).await;
        }
    }
    let deleted = world.ok(operator, DELETE, Value::Null).await;
    assert_eq!(deleted["state"], "deleted");
    assert_eq!(world.ok(operator, DELETE, Value::Null).await, deleted);

    // Nothing opens it any more.
    for who in [Who::Admin, Who::Member, Who::Viewer] {
        let credential = world.credential(who);
        world
            .refused(credential, "GET /v1/runs", Value::Null, UNAUTHENTICATED)
            .await;
    }
    let beat = json!({ "leases": [] });
    let revoked = (403, "worker_revoked");
    world
        .refused(&hand.credential, "POST /v1/heartbeats", beat, revoked)
        .await;
    let registration = registration("late", &json!({}));
    world
        .refused(
            &key,
            "POST /v1/workers/register",
            registration,
            UNAUTHENTICATED,
        )
        .await;
    let gone = (404, "not_found");
    let shown = format!("GET /v1/projects/{OWN}");
    world.refused(operator, &shown, Value::Null, gone).await;
    let listed = world.get(operator, "/v1/projects").await;
    let names: Vec<&Value> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|listed| &listed["project"])
        .collect();
    assert!(!names.contains(&&json!(OWN)), "{names:?}");
    // Nobody else gets its name, and with it what it leaves.
    let same = json!({ "project": OWN, "pools": { POOL: { "kind": "pull" } } });
    let taken = (409, "already_exists");
    world
        .refused(operator, "POST /v1/projects", same, taken)
        .await;
    let trail = world
        .get(operator, "/v1/audit?project=~system&limit=100")
        .await;
    for event in ["project.closed", "project.deleted"] {
        assert_eq!(named(&trail, event).len(), 1, "{event}");
    }
}

#[tokio::test]
async fn callers_by_jwt_lose_a_deleted_project_too() {
    let world = World::new().await;
    let operator = world.credential(Who::Operator);
    let jwt = world.credential(Who::OidcViewer);
    world.get(jwt, "/v1/runs").await;
    world.ok(operator, DRAIN, Value::Null).await;
    world.time_goes_by(61);
    let deleted = world.ok(operator, DELETE, Value::Null).await;
    assert_eq!(deleted["state"], "deleted");
    world.time_goes_by(31);
    let refused = (403, "forbidden");
    world
        .refused(jwt, "GET /v1/runs", Value::Null, refused)
        .await;
}

/// Who read the key before it was revoked must not put the row back as it was.
#[tokio::test]
async fn a_registration_does_not_bring_a_revoked_key_back() {
    let world = World::new().await;
    let (id, _) = world.key(&json!({})).await;
    let (own, id) = (scope(OWN), id.parse().unwrap());
    let read = async || -> EnrolmentKey {
        let row = world.ledger.enrolment_key(own.project(), id).await;
        row.unwrap().unwrap()
    };
    let before = read().await;
    let revoked = world.ledger.revoke_enrolment_key(&own, id, "test").await;
    assert!(revoked.unwrap().revoked_at.is_some());
    let worker = world.ledger.workers(&own, None, 1).await.unwrap().items;
    let mut worker = worker[0].clone();
    worker.worker_id = "wrk_0198c0de-0000-7000-8000-0000000000ff".parse().unwrap();
    let late = world
        .ledger
        .register_worker(&own, &worker, Registration::ByKey(before), "test");
    assert!(matches!(late.await, Err(Error::Contended)));
    assert!(read().await.revoked_at.is_some());
}
