//! A project's pools change by version, for the steps that start afterwards.

use std::collections::BTreeMap;

use sealfleet_domain::cascade::Bindings;
use sealfleet_ledger::Error;
use serde_json::{Value, json};

use super::text;
use crate::world::{OWN, Sent, Who, World, scope};

const PATH: &str = "/v1/projects/healthcare";

fn image(digit: &str) -> String {
    format!("registry/sandbox@sha256:{}", digit.repeat(64))
}

fn pools(image: &str, cpu: u32, memory_mib: u32) -> Value {
    json!({
        "workers": { "kind": "pull" },
        "fargate": { "kind": "fargate", "image": image, "cpu": cpu, "memory_mib": memory_mib, "max_concurrent": 7 },
    })
}

/// The operator's change of the version `replaces`.
async fn put(world: &World, replaces: Option<u32>, pools: &Value) -> (u16, Value) {
    let request = Sent {
        credential: world.credential(Who::Operator).to_owned(),
        body: Some(json!({ "pools": pools }).to_string()),
        headers: BTreeMap::from_iter(
            replaces.map(|version| ("if-match", format!("\"{version}\""))),
        ),
        ..Sent::default()
    };
    world.send("PUT", PATH, request).await
}

#[tokio::test]
async fn s65_a_projects_pools_change_by_version_and_back() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let shown = world.get(admin, PATH).await;
    assert_eq!(shown["version"], 1);
    let worker = &shown["pools"]["fargate"]["worker_id"];

    let (one, two) = (
        pools(&image("1"), 256, 512),
        pools(&image("2"), 8192, 16_384),
    );
    let (status, problem) = put(&world, None, &one).await;
    assert_eq!(
        (status, text(&problem, "code").as_str()),
        (428, "precondition_required")
    );
    let (status, problem) = put(&world, Some(7), &one).await;
    assert_eq!(
        (status, text(&problem, "code").as_str()),
        (412, "version_conflict")
    );

    for (version, content) in [(1, &one), (2, &two), (3, &one)] {
        let (status, changed) = put(&world, Some(version), content).await;
        assert_eq!(
            (status, &changed["version"]),
            (200, &json!(version + 1)),
            "{changed}"
        );
        assert_eq!(world.get(admin, PATH).await, changed);
        let fargate = &changed["pools"]["fargate"];
        assert_eq!(&fargate["worker_id"], worker, "the pool is the same");
        for (field, value) in content["fargate"].as_object().unwrap() {
            assert_eq!(&fargate[field], value);
        }
        let (status, _) = put(&world, Some(version), &two).await;
        assert_eq!(status, 412, "version {version} is replaced");
    }

    // Each former content is on record, in both trails.
    for (who, trail) in [(Who::Admin, OWN), (Who::Operator, "~system")] {
        let path = format!("/v1/audit?type=project.updated&project={trail}");
        let listed = world.get(world.credential(who), &path).await;
        let replaced: Vec<(&Value, &Value)> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["events"][0])
            .map(|event| (&event["version"], &event["replaced"]["fargate"]["image"]))
            .collect();
        let (first, second) = (json!(image("1")), json!(image("2")));
        let expected = [
            (&json!(2), &json!("i")),
            (&json!(3), &first),
            (&json!(4), &second),
        ];
        assert_eq!(replaced, expected, "{trail}");
    }
}

#[tokio::test]
async fn a_change_that_steps_or_fargate_could_not_live_with_is_refused() {
    let world = World::new().await;
    let good = pools(&image("1"), 256, 512);
    let change = |at: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(at).unwrap() = value;
        changed
    };
    let mut removed = good.clone();
    removed.as_object_mut().unwrap().remove("workers");
    for (pools, field) in [
        (
            change("/fargate/memory_mib", json!(700)),
            "pools.fargate.cpu",
        ),
        (
            change("/fargate/image", json!("registry/sandbox:latest")),
            "pools.fargate.image",
        ),
        (
            change("/fargate", json!({ "kind": "pull" })),
            "pools.fargate",
        ),
        (removed, "pools.workers"),
        (json!({}), "pools"),
    ] {
        let (status, problem) = put(&world, Some(1), &pools).await;
        assert_eq!(
            (status, text(&problem, "field").as_str()),
            (400, field),
            "{problem}"
        );
    }
    let (_, problem) = put(&world, Some(1), &change("/fargate/memory_mib", json!(700))).await;
    let detail = text(&problem, "detail");
    assert!(
        detail.contains("16384 with 32768 to 122880"),
        "the sizes: {detail}"
    );
    assert_eq!(
        world.get(world.credential(Who::Operator), PATH).await["version"],
        1
    );
}

#[tokio::test]
async fn steps_that_start_after_a_change_get_it() {
    let world = World::new().await;
    let mut started = Vec::new();
    for version in [1, 2] {
        let (status, _) = put(
            &world,
            Some(version),
            &pools(&image(&version.to_string()), 256, 512),
        )
        .await;
        assert_eq!(status, 200);
        world
            .enqueued_step(&json!({ "pool": "fargate", "mode": "sandboxed" }))
            .await;
        world.deliver().await;
        started.push(image(&version.to_string()));
    }
    let images: Vec<String> = world.images().into_values().collect();
    assert_eq!(images, started);
}

/// The cascade and the pools of a project are changed by different people at the same time.
#[tokio::test]
async fn a_change_of_the_pools_leaves_the_cascade_alone() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let bound = json!({ "project": "crm" });
    world.ok(admin, "PUT /v1/cascade", bound.clone()).await;
    assert_eq!(
        put(&world, Some(1), &pools(&image("1"), 256, 512)).await.0,
        200
    );
    assert_eq!(
        world.get(admin, "/v1/cascade").await["project"],
        bound["project"]
    );
    world.ok(admin, "PUT /v1/cascade", json!({})).await;
    let shown = world.get(admin, PATH).await;
    assert_eq!(
        (&shown["version"], &shown["pools"]["fargate"]["image"]),
        (&json!(2), &json!(image("1")))
    );
    assert_eq!(world.get(admin, "/v1/cascade").await.get("project"), None);
}

#[tokio::test]
async fn a_change_of_what_somebody_else_has_changed_is_not_stored() {
    let world = World::new().await;
    let own = scope(OWN);
    let read = world.ledger.project(&own).await.unwrap();
    let bindings = Bindings::default();
    world
        .ledger
        .bind_cascade(&own, &bindings, "test")
        .await
        .unwrap();
    let none = BTreeMap::new();
    let late = world
        .ledger
        .update_project(&own, read.clone(), &[], none.clone(), "test");
    assert!(matches!(late.await, Err(Error::Contended)));
    let now = world.ledger.project(&own).await.unwrap();
    let in_time = world
        .ledger
        .update_project(&own, now.clone(), &[], none.clone(), "test");
    assert_eq!(in_time.await.unwrap().version, 2);
    let late = world
        .ledger
        .update_project(&own, now, &[], none, "test")
        .await;
    assert!(matches!(late, Err(Error::VersionConflict(2))), "{late:?}");
}

/// Operators see how much waits where, and nothing of a run.
#[tokio::test]
async fn operators_see_how_much_of_each_project_is_unfinished() {
    let world = World::new().await;
    let operator = world.credential(Who::Operator);
    let path = "/v1/activity";
    assert_eq!(
        world.get(operator, path).await,
        json!({ "projects": [], "complete": true })
    );

    let hand = world.hand(&json!({ "max_concurrent": 2 })).await;
    let mars = json!({ "requires": { "region": "mars" } });
    let first = world.enqueued_step(&mars).await;
    let waits_too = world.enqueued_step(&mars).await;
    let runs = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &runs).await;
    let ended = world.enqueued_step(&json!({})).await;
    let done = world.claimed(&hand, &ended).await;
    world.succeeded(&hand, &done).await;
    let created = world.run(&first).await["created_at"].clone();
    let own = |waiting: u32, unfinished: u32, overdue: u32| {
        json!({ "projects": [{
            "project": OWN, "unfinished": unfinished, "oldest_created_at": created,
            "waiting": waiting, "overdue": overdue,
        }], "complete": true })
    };
    assert_eq!(
        world.get(operator, path).await,
        own(0, 3, 0),
        "nobody is late yet"
    );
    world.time_goes_by(31);
    assert!(world.holds(&hand, &lease).await);
    assert_eq!(world.get(operator, path).await, own(2, 3, 0));
    // `sweep` did not come.
    world.time_goes_by(600);
    assert_eq!(world.get(operator, path).await["projects"][0]["overdue"], 3);
    let admin = world.credential(Who::Admin);
    for run in [first, waits_too] {
        world
            .ok(admin, &format!("POST /v1/runs/{run}/cancel"), Value::Null)
            .await;
    }
    let left = world.get(operator, path).await;
    assert_eq!(left["projects"][0]["unfinished"], 1, "{left}");
    assert_eq!(left["projects"][0]["waiting"], 0, "{left}");
}
