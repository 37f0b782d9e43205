//! 70. What steps leave behind: who reads it, in pages; what a later step takes of it; what a
//!     worker may say of it.

use sealfleet_domain::hash::ContentHash;
use serde_json::{Value, json};

use super::{Hand, beside, merged, run_of, step, text};
use crate::world::{Who, World};

fn kept(name: &str, bytes: u64) -> Value {
    json!({ "name": name, "bytes": bytes, "sha256": ContentHash::of(name.as_bytes()), "to": "project" })
}

/// A step `id` that names artifacts, claimed and started: its lease, and the prefix of its objects.
async fn begun(world: &World, hand: &Hand, run: &str, id: &str) -> (Value, String) {
    let lease = world.claimed_step(hand, run, id).await;
    let start = json!({ "sandbox": "s", "outputs": "project", "output": "host:/logs/x.log" });
    world
        .ok(&hand.credential, "POST /v1/starts", merged(&lease, &start))
        .await;
    (lease, format!("healthcare/{run}/{id}/1/"))
}

async fn ended(world: &World, hand: &Hand, lease: &Value, files: usize) {
    let report = json!({ "state": "succeeded", "artifacts": { "files": files, "bytes": 10 } });
    world
        .ok(&hand.credential, "POST /v1/reports", merged(lease, &report))
        .await;
}

fn leaving() -> Value {
    json!({ "artifacts": ["out", { "path": "cache", "to": "local" }] })
}

/// A run whose step `only` has left more files than a page lists.
pub async fn left_many(world: &World) -> String {
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&leaving()).await;
    let (lease, prefix) = begun(world, &hand, &run, "only").await;
    let files: Vec<Value> = (0..101).map(|at| kept(&format!("out/{at}"), 1)).collect();
    let manifest = json!({ "files": files });
    world.store(&prefix, "artifacts.json", manifest.to_string().as_bytes());
    ended(world, &hand, &lease, files.len()).await;
    run
}

#[tokio::test]
async fn artifacts_are_listed_page_by_page_with_a_url_each() {
    let world = World::new().await;
    let viewer = world.credential(Who::Viewer);
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&leaving()).await;
    let path = format!("/v1/runs/{run}/steps/only/artifacts");
    let get = format!("GET {path}");
    world
        .refused(viewer, &get, Value::Null, (409, "not_ready"))
        .await;
    let (lease, prefix) = begun(&world, &hand, &run, "only").await;
    let mut files: Vec<Value> = (0..101)
        .map(|at| kept(&format!("out/{at:03}"), 1))
        .collect();
    files.push(
        json!({ "name": "out/key", "bytes": 5, "to": "project", "contains_secret": ["KEY"] }),
    );
    files.push(merged(&kept("cache", 7), &json!({ "to": "local" })));
    let manifest = json!({ "files": files, "missing": ["gone"], "left_out": 3 });
    world.store(&prefix, "artifacts.json", manifest.to_string().as_bytes());
    ended(&world, &hand, &lease, files.len()).await;

    let first = world.get(viewer, &path).await;
    assert_eq!(first["total"], json!({ "files": 103, "bytes": 10 }));
    assert_eq!(
        (&first["missing"], &first["left_out"]),
        (&json!(["gone"]), &json!(3))
    );
    let items = first["items"].as_array().unwrap();
    assert_eq!(items.len(), 100);
    let url = format!("https://s3.example/{prefix}artifacts/00000099");
    assert_eq!(
        items[99],
        merged(&kept("out/099", 1), &json!({ "url": url }))
    );
    let cursor = text(&first, "next_cursor");
    let last = world.get(viewer, &format!("{path}?cursor={cursor}")).await;
    assert!(
        last["next_cursor"].is_null() && last["missing"].is_null(),
        "{last}"
    );
    let url = format!("https://s3.example/{prefix}artifacts/00000100");
    let withheld = json!({
        "name": "out/key", "bytes": 5, "to": "project", "contains_secret": ["KEY"], "withheld": true,
    });
    let local = merged(&kept("cache", 7), &json!({ "to": "local" }));
    let hundredth = merged(&kept("out/100", 1), &json!({ "url": url }));
    assert_eq!(last["items"], json!([hundredth, withheld, local]));

    let shown = world.step(&run).await;
    assert_eq!(shown["artifacts"], json!({ "files": 103, "bytes": 10 }));
    let document = world.run(&run).await;
    assert_eq!(
        document.pointer("/document/steps/0/artifacts").unwrap(),
        &leaving()["artifacts"]
    );
    // Another run's cursor is none here; and what has expired is gone.
    let other = world.enqueued_step(&leaving()).await;
    let wrong = format!("GET /v1/runs/{other}/steps/only/artifacts?cursor={cursor}");
    world
        .refused(viewer, &wrong, Value::Null, (400, "invalid_request"))
        .await;
    world.outputs_expire();
    world
        .refused(viewer, &get, Value::Null, (404, "not_found"))
        .await;
}

#[tokio::test]
async fn what_a_worker_stores_as_manifest_cannot_break_reading() {
    let world = World::new().await;
    let viewer = world.credential(Who::Viewer);
    let hand = world.hand(&json!({})).await;
    let hostile = json!({ "files": [kept("../../etc/passwd", 1)] })
        .to_string()
        .into_bytes();
    for manifest in [b"not json".to_vec(), vec![b' '; 20_000_000], hostile] {
        let run = world.enqueued_step(&leaving()).await;
        let (lease, prefix) = begun(&world, &hand, &run, "only").await;
        world.store(&prefix, "artifacts.json", &manifest);
        ended(&world, &hand, &lease, 1).await;
        let get = format!("GET /v1/runs/{run}/steps/only/artifacts");
        world
            .refused(viewer, &get, Value::Null, (404, "not_found"))
            .await;
    }
}

#[tokio::test]
async fn what_stays_on_a_host_is_said_where_it_lies() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&leaving()).await;
    let lease = world.claimed(&hand, &run).await;
    let start = json!({ "sandbox": "s", "output": "host:/logs/x.log" });
    world
        .ok(&hand.credential, "POST /v1/starts", merged(&lease, &start))
        .await;
    ended(&world, &hand, &lease, 2).await;
    let path = format!("/v1/runs/{run}/steps/only/artifacts");
    let view = world.get(world.credential(Who::Viewer), &path).await;
    let place = json!({ "kind": "worker", "place": "host:/logs/x.log" });
    let total = json!({ "files": 2, "bytes": 10 });
    assert_eq!(
        view,
        json!({ "fence": 1, "total": total, "items": [], "place": place })
    );
}

#[tokio::test]
async fn a_step_takes_the_stored_artifacts_of_another() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let later = json!({ "needs": ["a"], "takes": ["a"] });
    let run = world
        .enqueued(run_of(&[step("a", &leaving()), step("only", &later)]))
        .await;
    let (lease, prefix) = begun(&world, &hand, &run, "a").await;
    let files = [
        kept("out/a", 1),
        json!({ "name": "out/key", "bytes": 5, "to": "project", "contains_secret": ["KEY"] }),
        merged(&kept("cache", 7), &json!({ "to": "local" })),
        kept("out/b", 2),
    ];
    let manifest = json!({ "files": files });
    world.store(&prefix, "artifacts.json", manifest.to_string().as_bytes());
    ended(&world, &hand, &lease, 4).await;
    let lease = world.claimed(&hand, &run).await;
    let given = world
        .ok(&hand.credential, "POST /v1/step-inputs", lease.clone())
        .await;
    let item = |name: &str, bytes: u64, object: &str| {
        json!({
            "place": { "kind": "artifact", "step_id": "a", "name": name }, "bytes": bytes,
            "url": format!("https://s3.example/{prefix}artifacts/{object}"),
            "sha256": ContentHash::of(name.as_bytes()),
        })
    };
    let wanted = json!([item("out/a", 1, "00000000"), item("out/b", 2, "00000003")]);
    assert_eq!(given["items"], wanted);
    world.outputs_expire();
    world
        .refused(
            &hand.credential,
            "POST /v1/step-inputs",
            lease,
            (409, "conflict"),
        )
        .await;
}

#[tokio::test]
async fn what_is_found_in_artifacts_is_on_record_by_names() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let hand = world.hand(&json!({})).await;
    let key = "API_KEY";
    let secrets = json!({ "secrets": { key: beside("api") } });
    world.profile("beside", &secrets).await;
    let identity = merged(&step("only", &json!({ "mode": "identity" })), &leaving());
    let run = merged(&run_of(&[identity]), &json!({ "profile": "beside" }));
    let run = world.enqueued(run).await;
    let claim = json!({ "run_id": run, "step_id": "only" });
    let claimed = world
        .ok(&hand.credential, "POST /v1/claims", claim.clone())
        .await;
    let version = claimed["secrets"][0]["version"].clone();
    let lease = merged(&claim, &json!({ "fence": claimed["fence"] }));
    let resolved = json!({ key: version });
    let start = merged(&lease, &json!({ "sandbox": "s", "resolved": resolved }));
    world.ok(&hand.credential, "POST /v1/starts", start).await;
    let found = |name: &str, keys: &[&str]| json!({ "name": name, "keys": keys, "withheld": true });
    let end = merged(&lease, &json!({ "state": "succeeded" }));
    let refused = (400, "invalid_request");
    for bad in [
        json!({ "artifact_secrets": vec![found("a", &[key]); 21] }),
        json!({ "artifact_secrets": [found("a", &["not a name"])] }),
        json!({ "artifact_secrets": [found("../a", &[key])] }),
        json!({ "artifact_secrets": [found("a\u{1b}[2J", &[key])] }),
        json!({ "artifacts": { "files": 501, "bytes": 1 } }),
        json!({ "artifacts": { "files": 1, "bytes": 1_073_741_825_u64 } }),
    ] {
        world
            .report_refused(&hand, merged(&end, &bad), refused)
            .await;
    }
    let told = json!([
        found("out/a", &[key, "NOT_OF_THE_STEP"]),
        found("out/b", &["NOT_OF_THE_STEP"])
    ]);
    let report = merged(&end, &json!({ "artifact_secrets": told }));
    for _ in 0..2 {
        world
            .ok(&hand.credential, "POST /v1/reports", report.clone())
            .await;
    }
    let events = world.events(&run, "artifact.contains_secret").await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["files"], json!([found("out/a", &[key])]));
    let by_key = world
        .get(
            admin,
            &format!("/v1/audit?limit=100&type=artifact.contains_secret&key={key}"),
        )
        .await;
    assert_eq!(by_key["items"].as_array().unwrap().len(), 1);
}
