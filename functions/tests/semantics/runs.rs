//! What is shown of a run: labels, its document, its times, the attempts at its steps, and where
//! their output lies.

use serde_json::{Value, json};

use super::{beside, merged, run_of, step, text};
use crate::world::{OTHER, POOL, Who, World};

const BAD: (u16, &str) = (400, "invalid_request");

/// The ids of a list's items.
async fn listed(world: &World, path: &str) -> Vec<String> {
    let list = world.get(world.credential(Who::Viewer), path).await;
    let items = list["items"].as_array().unwrap().iter();
    items.map(|run| text(run, "run_id")).collect()
}

#[tokio::test]
async fn runs_are_found_by_their_labels_page_by_page() {
    let world = World::new().await;
    let labelled = |labels: Value| {
        merged(
            &run_of(&[step("only", &json!({}))]),
            &json!({ "labels": labels }),
        )
    };
    let mut billing = Vec::new();
    for number in 0..5 {
        let labels = json!({ "team": "billing", "odd": (number % 2).to_string() });
        billing.insert(0, world.enqueued(labelled(labels)).await);
        world.enqueued(labelled(json!({ "team": "care" }))).await;
        world.enqueued_step(&json!({})).await;
    }
    assert_eq!(listed(&world, "/v1/runs?label=team=billing").await, billing);
    assert_eq!(listed(&world, "/v1/runs?label=team=nobody").await.len(), 0);
    let odd = listed(&world, "/v1/runs?label=odd=1&state=queued").await;
    assert_eq!(odd, [billing[1].clone(), billing[3].clone()]);

    // Pages are as long as they are asked for, and lose nothing.
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/runs?label=team=billing&limit=2{cursor}");
        let page = world.get(world.credential(Who::Viewer), &path).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        assert!(items.iter().all(|run| run["labels"]["team"] == "billing"));
        found.extend(items.iter().map(|run| text(run, "run_id")));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
        // A cursor is for its filter alone.
        let viewer = world.credential(Who::Viewer);
        let other = format!("GET /v1/runs?label=team=care{cursor}");
        world.refused(viewer, &other, Value::Null, BAD).await;
    }
    assert_eq!(found, billing);
}

#[tokio::test]
async fn runs_are_found_by_workflow_profile_and_time() {
    let world = World::new().await;
    for profile in ["desk", "erp"] {
        world.profile(profile, &json!({})).await;
    }
    let of = |workflow: &str, more: &Value| {
        let steps = [step("only", &json!({ "mode": "identity" }))];
        let run = merged(&run_of(&steps), &json!({ "workflow": workflow }));
        merged(&run, more)
    };
    let mut runs = Vec::new();
    let mut times = Vec::new();
    for workflow in ["refund", "report"] {
        for profile in ["desk", "erp"] {
            world.time_goes_by(60);
            let run = of(workflow, &json!({ "profile": profile }));
            runs.push(world.enqueued(run).await);
            times.push(world.ledger.now());
        }
    }
    let viewer = world.credential(Who::Viewer);
    for (query, expected) in [
        ("workflow=refund".to_owned(), vec![1, 0]),
        ("profile=erp".to_owned(), vec![3, 1]),
        (
            "workflow=refund&profile=erp&state=queued".to_owned(),
            vec![1],
        ),
        ("profile=system/erp".to_owned(), vec![]),
        (format!("from={}", times[1]), vec![3, 2, 1]),
        (format!("to={}", times[1]), vec![0]),
        (
            format!("from={}&to={}&profile=desk", times[1], times[3]),
            vec![2],
        ),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|at: usize| &runs[at]).collect();
        let found = listed(&world, &format!("/v1/runs?{query}")).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let upside_down = format!("from={}&to={}", times[1], times[0]);
    for query in [
        "workflow=%20",
        "profile=a/b/c",
        "from=yesterday",
        "to=1",
        &upside_down,
    ] {
        let list = format!("GET /v1/runs?{query}");
        world.refused(viewer, &list, Value::Null, BAD).await;
    }
}

#[tokio::test]
async fn labels_are_few_short_and_plain() {
    let world = World::new().await;
    let member = world.credential(Who::Member);
    let many: serde_json::Map<_, _> = (0..33).map(|at| (at.to_string(), json!("x"))).collect();
    for labels in [
        json!(many),
        json!({ "team": "\u{1b}[2J" }),
        json!({ "te am": "x" }),
        json!({ "team": "" }),
        json!({ "team": "x".repeat(65) }),
        json!({ "sealfleet:team": "x" }),
    ] {
        let run = run_of(&[step("only", &json!({}))]);
        let run = merged(&run, &json!({ "labels": labels }));
        let problem = world.refused(member, "POST /v1/runs", run, BAD).await;
        assert!(problem.to_string().contains("labels"), "{problem}");
    }
    for label in ["team", "=x", "team="] {
        let list = format!("GET /v1/runs?label={label}");
        world.refused(member, &list, Value::Null, BAD).await;
    }
}

#[tokio::test]
async fn a_run_is_shown_as_it_was_enqueued_and_enqueues_the_same_again() {
    let world = World::new().await;
    world
        .profile("ehr", &json!({ "secrets": { "KEY": beside("key") } }))
        .await;
    let document = json!({
        "workflow": "w", "profile": "ehr", "labels": { "team": "a" },
        "overrides": { "env": { "X": "1" }, "remove": ["Y"] },
        "steps": [step("a", &json!({
            "mode": "identity", "requires": { "region": "eu" }, "model": "gpt-4o", "env": { "A": "b" },
            "tool": "writer", "on_drift": "refuse", "timeout_seconds": 5, "max_attempts": 2, "ttl_seconds": 9
        })), step("b", &json!({ "needs": ["a"] }))]
    });
    let run = world.run(&world.enqueued(document.clone()).await).await;
    let shown = run["document"].clone();
    for (name, value) in document.as_object().unwrap() {
        if name != "steps" {
            assert_eq!(shown[name], *value, "{name}");
        }
    }
    for (number, own) in document["steps"].as_array().unwrap().iter().enumerate() {
        for (name, value) in own.as_object().unwrap() {
            assert_eq!(shown["steps"][number][name], *value, "{name}");
        }
    }
    let again = world.run(&world.enqueued(shown.clone()).await).await;
    assert_eq!(again["document"], shown);
    assert_eq!(again["secrets"], run["secrets"]);

    // Lists and other answers do not carry it, and another project has no such run.
    let member = world.credential(Who::Member);
    let list = world.get(member, "/v1/runs").await;
    assert!(
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|run| run["document"].is_null())
    );
    let path = format!("/v1/runs/{}", text(&run, "run_id"));
    let stranger = world.credential(Who::Stranger);
    let (status, _) = world
        .asked(stranger, &format!("GET {path}"), &Value::Null)
        .await;
    assert_eq!(status, 404, "a run of {OTHER}'s neighbour");
}

#[tokio::test]
async fn attempts_times_and_the_place_of_the_output_are_shown_after_the_end() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let first = world.claimed(&hand, &run).await;
    world.started(&hand, &first).await;
    // The worker is lost; the step goes to another one.
    world.leases_run_out().await;
    let second = world.claimed(&hand, &run).await;
    let place = "host-1:/logs/run/only.2.log";
    let body = merged(&second, &json!({ "sandbox": "s", "output": place }));
    world.ok(&hand.credential, "POST /v1/starts", body).await;
    world.time_goes_by(3);
    world.succeeded(&hand, &second).await;

    let shown = world.run(&run).await;
    let step = &shown["steps"][0];
    let attempts = step["attempts"].as_array().unwrap();
    let ends: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt["end"].as_str().unwrap(), &attempt["lost"]))
        .collect();
    assert_eq!(
        ends,
        [
            ("lost", &json!("lease_expired")),
            ("succeeded", &Value::Null)
        ]
    );
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt["started_at"].is_string()
                && attempt["worker_id"] == hand.id.as_str()
                && text(attempt, "claimed_at") <= text(attempt, "ended_at"))
    );
    assert_eq!(step["output"], json!({ "kind": "worker", "place": place }));
    assert_eq!(step["started_at"], attempts[1]["started_at"]);
    assert_eq!(
        (&step["ended_at"], &shown["ended_at"]),
        (&attempts[1]["ended_at"], &step["ended_at"])
    );

    let long = merged(
        &second,
        &json!({ "sandbox": "s", "output": "x".repeat(2000) }),
    );
    world
        .refused(&hand.credential, "POST /v1/starts", long, BAD)
        .await;
}

#[tokio::test]
async fn a_task_s_output_is_named_after_its_end() {
    let world = World::new().await;
    let run = world.enqueued_step(&json!({ "pool": "fargate" })).await;
    assert_ne!(POOL, "fargate");
    world.deliver().await;
    world.tasks_go_on(None).await;
    world.tasks_go_on(Some(0)).await;
    let step = world.step(&run).await;
    assert_eq!(step["state"], "succeeded", "{step}");
    let task = text(&step["output"], "task_id");
    assert_eq!(
        step["output"],
        json!({ "kind": "task", "task_id": task, "log_stream": format!("sandbox/sandbox/{task}") })
    );
}
