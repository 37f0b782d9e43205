//! 70, 71, 72. What comes out of steps: who may write it, who may read it, how reading goes on
//! while the step does, and what a sandbox tells of its end.

use sealfleet_domain::output::chunk_name;
use serde_json::{Value, json};

use super::{Hand, merged, run_of, step, text};
use crate::world::{CRM, FARGATE, Who, World};

/// A chunk as workers store it.
fn chunk(pieces: &[(&str, &str)]) -> Vec<u8> {
    let pieces: Vec<Value> = pieces
        .iter()
        .map(|(stream, text)| json!({ "stream": stream, "text": text }))
        .collect();
    json!({ "pieces": pieces }).to_string().into_bytes()
}

/// The text of an answer's pieces.
fn said(page: &Value) -> String {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| text(item, "text")).collect()
}

async fn key(world: &World, hand: &Hand, lease: &Value) -> Value {
    world
        .ok(
            &hand.credential,
            "POST /v1/output-credentials",
            lease.clone(),
        )
        .await
}

/// Starts a claim whose outputs go to the project, and answers the prefix of its objects.
async fn begun(world: &World, hand: &Hand, lease: &Value) -> String {
    let more = json!({ "sandbox": "s", "outputs": "project", "output": "host:/logs/x" });
    world
        .ok(&hand.credential, "POST /v1/starts", merged(lease, &more))
        .await;
    text(&key(world, hand, lease).await, "prefix")
}

async fn output(world: &World, run: &str, query: &str) -> Value {
    let path = format!("/v1/runs/{run}/steps/only/output?{query}");
    world.get(world.credential(Who::Viewer), &path).await
}

#[tokio::test]
async fn output_is_read_while_it_grows_and_ends_with_the_step() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;

    // Nothing yet, and somewhere to go on.
    let page = output(&world, &run, "").await;
    assert_eq!((said(&page).as_str(), &page["goes_on"]), ("", &json!(true)));
    assert!(page["place"].is_null());
    let waiting = text(&page, "next_cursor");

    let lease = world.claimed(&hand, &run).await;
    let prefix = begun(&world, &hand, &lease).await;
    assert_eq!(prefix, format!("healthcare/{run}/only/1/"));
    world.store(
        &prefix,
        &chunk_name(0),
        &chunk(&[("stdout", "a"), ("stderr", "b")]),
    );
    world.store(&prefix, &chunk_name(1), &chunk(&[("stdout", "c")]));
    let page = output(&world, &run, &format!("cursor={waiting}")).await;
    assert_eq!(said(&page), "abc");
    assert_eq!(
        page["place"],
        json!({ "kind": "project", "place": "host:/logs/x" })
    );
    let next = text(&page, "next_cursor");
    // The same cursor again reads the same again, and what has come since.
    let page = output(&world, &run, &format!("cursor={next}")).await;
    assert_eq!((said(&page).as_str(), &page["goes_on"]), ("", &json!(true)));
    world.store(&prefix, &chunk_name(2), &chunk(&[("stdout", "d")]));
    for _ in 0..2 {
        assert_eq!(
            said(&output(&world, &run, &format!("cursor={next}")).await),
            "d"
        );
    }
    assert_eq!(said(&output(&world, &run, "stream=stderr").await), "b");

    // After its end there is an end; a lost chunk leaves a gap that reading passes.
    world.store(&prefix, &chunk_name(4), &chunk(&[("stdout", "e")]));
    let report = json!({ "state": "succeeded", "output_missing_bytes": 3 });
    world
        .ok(
            &hand.credential,
            "POST /v1/reports",
            merged(&lease, &report),
        )
        .await;
    let page = output(&world, &run, &format!("cursor={next}")).await;
    assert_eq!(said(&page), "de");
    assert_eq!(page["goes_on"], false);
    assert!(page["next_cursor"].is_null());
    let shown = world.step(&run).await;
    assert_eq!(shown["output_missing_bytes"], 3);
    assert_eq!(shown["output"]["kind"], "project");
}

#[tokio::test]
async fn long_output_comes_page_by_page_and_nothing_twice() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    let prefix = begun(&world, &hand, &lease).await;
    let mut whole = String::new();
    for number in 0..11 {
        let line = format!("{number};");
        world.store(&prefix, &chunk_name(number), &chunk(&[("stdout", &line)]));
        whole += &line;
    }
    world.succeeded(&hand, &lease).await;
    let (mut read, mut cursor, mut pages) = (String::new(), String::new(), 0);
    loop {
        let page = output(&world, &run, &cursor).await;
        read += &said(&page);
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("cursor={next}"),
            None => break,
        }
    }
    assert_eq!(read, whole);
    assert!(pages > 1, "one answer holds a part");
}

#[tokio::test]
async fn the_output_of_the_next_try_follows_that_of_the_one_before() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let first = world.claimed(&hand, &run).await;
    let prefix = begun(&world, &hand, &first).await;
    world.store(&prefix, &chunk_name(0), &chunk(&[("stdout", "one")]));
    let page = output(&world, &run, "").await;
    let cursor = text(&page, "next_cursor");
    world.store(&prefix, &chunk_name(1), &chunk(&[("stdout", "last words")]));
    world.leases_run_out().await;
    let second = world.claimed(&hand, &run).await;
    let other = begun(&world, &hand, &second).await;
    assert_ne!(other, prefix);
    world.store(&other, &chunk_name(0), &chunk(&[("stdout", "two")]));
    // Whoever follows sees the end of the first and then the second; whoever begins, the second.
    let page = output(&world, &run, &format!("cursor={cursor}")).await;
    assert_eq!(
        (said(&page).as_str(), &page["fence"]),
        ("last words", &json!(1))
    );
    let page = output(
        &world,
        &run,
        &format!("cursor={}", text(&page, "next_cursor")),
    )
    .await;
    assert_eq!((said(&page).as_str(), &page["fence"]), ("two", &json!(2)));
    assert_eq!(said(&output(&world, &run, "").await), "two");
}

#[tokio::test]
async fn only_who_holds_the_claim_gets_a_key_and_only_for_what_it_puts_out() {
    let world = World::new().await;
    let (hand, other) = (world.hand(&json!({})).await, world.hand(&json!({})).await);
    let steps = run_of(&[step("only", &json!({})), step("b", &json!({}))]);
    let run = world.enqueued(steps).await;
    let lease = world.claimed(&hand, &run).await;
    let given = key(&world, &hand, &lease).await;
    assert_eq!(text(&given, "prefix"), format!("healthcare/{run}/only/1/"));
    let ask = "POST /v1/output-credentials";
    let of = |by: &Hand| by.credential.clone();
    world
        .refused(&of(&other), ask, lease.clone(), (403, "not_holder"))
        .await;
    let unclaimed = merged(&lease, &json!({ "step_id": "b" }));
    world
        .refused(&of(&hand), ask, unclaimed, (409, "stale_fence"))
        .await;
    // The claim is lost: no more keys for it, and those of the next are for another place.
    world.leases_run_out().await;
    world
        .refused(&of(&hand), ask, lease.clone(), (409, "stale_fence"))
        .await;
    let next = world.claimed(&other, &run).await;
    let given = key(&world, &other, &next).await;
    assert_eq!(text(&given, "prefix"), format!("healthcare/{run}/only/2/"));
    world.succeeded(&other, &next).await;
    world
        .refused(&of(&other), ask, next, (409, "stale_fence"))
        .await;
}

#[tokio::test]
async fn what_stays_with_the_worker_is_not_read_and_said_where_it_lies() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    let start = json!({ "sandbox": "s", "output": "host:/logs/x" });
    world
        .ok(&hand.credential, "POST /v1/starts", merged(&lease, &start))
        .await;
    let report = json!({ "state": "succeeded", "result_bytes": 2 });
    world
        .ok(
            &hand.credential,
            "POST /v1/reports",
            merged(&lease, &report),
        )
        .await;
    let place = json!({ "kind": "worker", "place": "host:/logs/x" });
    let page = output(&world, &run, "").await;
    assert_eq!(page["place"], place);
    assert_eq!(
        (said(&page).as_str(), page["next_cursor"].is_null()),
        ("", true)
    );
    let path = format!("/v1/runs/{run}/steps/only/result");
    let result = world.get(world.credential(Who::Viewer), &path).await;
    assert_eq!(result, json!({ "fence": 1, "bytes": 2, "place": place }));
}

#[tokio::test]
async fn a_result_is_there_once_the_step_has_ended_and_until_it_expires() {
    let world = World::new().await;
    let viewer = world.credential(Who::Viewer);
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    let prefix = begun(&world, &hand, &lease).await;
    let path = format!("/v1/runs/{run}/steps/only/result");
    let get = format!("GET {path}");
    world
        .refused(viewer, &get, Value::Null, (409, "not_ready"))
        .await;
    let stored = br#"{"answer": [42, "\u0007"]}"#;
    world.store(&prefix, "result.json", stored);
    let report = json!({ "state": "succeeded", "result_bytes": stored.len() });
    world
        .ok(
            &hand.credential,
            "POST /v1/reports",
            merged(&lease, &report),
        )
        .await;
    let found = world.get(viewer, &path).await;
    assert_eq!(found["result"], json!({ "answer": [42, "\u{7}"] }));
    assert_eq!(found["bytes"], stored.len());
    assert_eq!(world.step(&run).await["result_bytes"], stored.len());
    world.outputs_expire();
    world
        .refused(viewer, &get, Value::Null, (404, "not_found"))
        .await;

    // A step that left none, and one whose result is none.
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    let failure = json!({ "kind": "bad_result", "detail": "the result is not valid JSON: line 1" });
    let report = json!({ "state": "failed", "failure": failure });
    world
        .ok(
            &hand.credential,
            "POST /v1/reports",
            merged(&lease, &report),
        )
        .await;
    assert_eq!(world.step(&run).await["failure"], failure);
    let get = format!("GET /v1/runs/{run}/steps/only/result");
    world
        .refused(viewer, &get, Value::Null, (404, "not_found"))
        .await;
    let large = json!({ "state": "succeeded", "result_bytes": 262_145 });
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    let large = merged(&lease, &large);
    world
        .report_refused(&hand, large, (400, "invalid_request"))
        .await;
}

#[tokio::test]
async fn what_a_worker_stores_cannot_break_reading() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    let prefix = begun(&world, &hand, &lease).await;
    world.store(&prefix, &chunk_name(0), b"not json");
    world.store(&prefix, &chunk_name(1), &vec![b' '; 20_000_000]);
    world.store(&prefix, "output/zzz", b"{}");
    world.store(&prefix, &chunk_name(2), &chunk(&[("stdout", "fine")]));
    let (mut read, mut missing, mut cursor) = (String::new(), 0, String::new());
    for _ in 0..4 {
        let page = output(&world, &run, &cursor).await;
        read += &said(&page);
        let items = page["items"].as_array().unwrap().iter();
        missing += items
            .filter_map(|item| item["missing_bytes"].as_u64())
            .sum::<u64>();
        cursor = format!("cursor={}", text(&page, "next_cursor"));
    }
    assert_eq!(read, "fine");
    assert!((8..2_000_000).contains(&missing), "{missing}");
}

/// A step of a Fargate pool that runs: its run, the id of its task, and its claim.
async fn on_fargate(world: &World) -> (String, String, Value) {
    let step = json!({ "pool": FARGATE, "mode": "identity" });
    let body = merged(
        &run_of(&[self::step("only", &step)]),
        &json!({ "profile": CRM }),
    );
    let run = world.enqueued(body).await;
    let (task, lease) = world.in_its_task(&run).await;
    (run, task, lease)
}

/// Tells the end of a claim in the name of a task, and answers the status.
async fn tell(world: &World, task: &str, lease: &Value, end: &Value) -> u16 {
    let body = json!({ "report": merged(lease, end) });
    world.asked_by_task(task, "end", &body).await.0
}

#[tokio::test]
async fn what_a_sandbox_tells_counts_once_its_host_shows_its_end() {
    let world = World::new().await;
    let (run, task, lease) = on_fargate(&world).await;
    let row = json!({ "key": "API_KEY", "stream": "stdout", "encoding": "hex", "count": 2 });
    let early = json!({ "state": "failed", "failure": { "kind": "exit", "code": 9 } });
    let end = json!({ "state": "succeeded", "result_bytes": 2, "output_missing_bytes": 7, "redactions": [row] });
    assert_eq!(tell(&world, "another-task", &lease, &end).await, 404);
    // A command can speak in its sandbox's name; init speaks last.
    for end in [&early, &end] {
        world.time_goes_by(1);
        assert_eq!(tell(&world, &task, &lease, end).await, 204);
    }
    assert_eq!(
        world.step(&run).await["state"],
        "running",
        "until its host says so"
    );
    world.tasks_go_on(Some(0)).await;
    let step = world.step(&run).await;
    assert_eq!(
        (
            &step["state"],
            &step["result_bytes"],
            &step["output_missing_bytes"]
        ),
        (&json!("succeeded"), &json!(2), &json!(7))
    );
    let told = world.events(&run, "redaction.match").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["matches"], json!([row]));
    // The claim is over.
    assert_eq!(tell(&world, &task, &lease, &early).await, 409);
}

#[tokio::test]
async fn a_sandbox_says_more_than_its_exit_code_and_never_less() {
    let bad = json!({ "kind": "bad_result", "detail": "no JSON" });
    let auth = json!({ "kind": "agent_auth" });
    let exit = |code: i32| json!({ "kind": "exit", "code": code });
    let signal = json!({ "kind": "signal", "signal": 9 });
    let missing =
        json!({ "kind": "cannot_execute", "errno": 2, "detail": "No such file or directory" });
    let unredactable = json!({ "kind": "cannot_start", "detail": "`API_KEY` is too short" });
    let succeeded = Value::Null;
    for (told, code, failure) in [
        (&succeeded, 0, &succeeded),
        (&bad, 0, &bad),
        (&auth, 0, &auth),
        // What the command has not done it has not done.
        (&exit(3), 0, &succeeded),
        (&succeeded, 3, &exit(3)),
        (&auth, 1, &auth),
        (&signal, 137, &signal),
        (&missing, 127, &missing),
        (&unredactable, 125, &unredactable),
        // Codes of init that the command chose.
        (&exit(125), 125, &exit(125)),
        (&exit(121), 121, &exit(121)),
    ] {
        let world = World::new().await;
        let (run, task, lease) = on_fargate(&world).await;
        let end = match told {
            Value::Null => json!({ "state": "succeeded" }),
            told => json!({ "state": "failed", "failure": told }),
        };
        assert_eq!(tell(&world, &task, &lease, &end).await, 204);
        world.tasks_go_on(Some(code)).await;
        let step = world.step(&run).await;
        assert_eq!(&step["failure"], failure, "{told} and {code}");
    }
}

#[tokio::test]
async fn a_step_whose_end_nobody_was_told_is_tried_again() {
    let world = World::new().await;
    let (run, _, _) = on_fargate(&world).await;
    world.tasks_go_on(Some(121)).await;
    assert_eq!(world.step(&run).await["state"], "queued");
}

#[tokio::test]
async fn what_only_the_control_plane_decides_no_sandbox_tells() {
    let world = World::new().await;
    let (_, task, lease) = on_fargate(&world).await;
    for end in [
        json!({ "state": "failed", "failure": { "kind": "secret_revoked", "detail": "x" } }),
        json!({ "state": "succeeded", "result_bytes": 300_000 }),
        json!({ "state": "failed", "failure": { "kind": "cannot_start", "detail": "a\nb" } }),
        json!({ "state": "failed" }),
        json!({ "state": "aborted" }),
    ] {
        assert_eq!(tell(&world, &task, &lease, &end).await, 400, "{end}");
    }
}
