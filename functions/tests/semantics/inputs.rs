//! 70, 73. What goes into steps: uploads, and what earlier steps have left. Who may put and get it,
//! and what is refused before anything waits.

use sealfleet_domain::access::Role;
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::upload::Promise;
use serde_json::{Value, json};

use super::{Hand, merged, run_of, step, text};
use crate::world::{FARGATE, Who, World};

const DAY: i64 = 24 * 3600;

/// Makes an upload and puts `put` in its place, if there is something.
async fn uploaded(world: &World, content: &[u8], put: Option<&[u8]>) -> String {
    let sha256 = ContentHash::of(content);
    let body = json!({ "bytes": content.len(), "sha256": sha256 });
    let made = world
        .ok(world.credential(Who::Member), "POST /v1/uploads", body)
        .await;
    let upload_id = text(&made, "upload_id");
    if let Some(put) = put {
        let bytes = content.len() as u64;
        let name = Promise { bytes, sha256 }.name();
        assert!(world.store(&format!("healthcare/uploads/{upload_id}/"), &name, put));
    }
    upload_id
}

fn with_file(upload_id: &str, more: &Value) -> Value {
    let files = json!({ "files": { "in.txt": { "upload": upload_id } } });
    run_of(&[step("only", &merged(&files, more))])
}

async fn refused(world: &World, run: Value) -> (String, String) {
    refused_to(world, world.credential(Who::Member), run).await
}

async fn refused_to(world: &World, by: &str, run: Value) -> (String, String) {
    let refusal = (400, "invalid_request");
    let answer = world.refused(by, "POST /v1/runs", run, refusal).await;
    (text(&answer, "field"), text(&answer, "detail"))
}

async fn inputs(world: &World, hand: &Hand, lease: &Value, from: usize) -> Value {
    let body = merged(lease, &json!({ "from": from }));
    world
        .ok(&hand.credential, "POST /v1/step-inputs", body)
        .await
}

/// Whoever runs the step is told that it has a terminal.
#[tokio::test]
async fn a_step_asks_for_a_terminal() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    for (asks, told) in [
        (json!({ "tty": true }), json!(true)),
        (json!({}), Value::Null),
    ] {
        let run = world.enqueued(run_of(&[step("only", &asks)])).await;
        let shown = world.run(&run).await;
        assert_eq!(shown["document"]["steps"][0]["tty"], told);
        let claim = json!({ "run_id": run, "step_id": "only" });
        let claim = world.ok(&hand.credential, "POST /v1/claims", claim).await;
        assert_eq!(claim["tty"], told);
        let lease = json!({ "run_id": run, "step_id": "only", "fence": claim["fence"] });
        world.started(&hand, &lease).await;
        world.succeeded(&hand, &lease).await;
    }
}

#[tokio::test]
async fn an_upload_is_put_once_and_read_by_who_holds_the_step() {
    let world = World::new().await;
    let content = b"the prompt";
    let upload_id = uploaded(&world, content, Some(content)).await;
    let more = json!({ "stdin": { "upload": upload_id } });
    let run = world.enqueued(with_file(&upload_id, &more)).await;
    let shown = world.run(&run).await;
    let stdin = shown.pointer("/document/steps/0/stdin").unwrap();
    assert_eq!(stdin, &json!({ "upload": upload_id }));

    let (hand, other) = (world.hand(&json!({})).await, world.hand(&json!({})).await);
    let claim = json!({ "run_id": run, "step_id": "only" });
    let claim = world.ok(&hand.credential, "POST /v1/claims", claim).await;
    assert_eq!(claim["fetches"], true);
    assert_eq!(claim["inputs"]["stdin"], json!({ "upload": upload_id }));
    let lease = json!({ "run_id": run, "step_id": "only", "fence": claim["fence"] });
    let given = inputs(&world, &hand, &lease, 0).await;
    let hash = ContentHash::of(content);
    let url = format!("https://s3.example/healthcare/uploads/{upload_id}/10-{hash}");
    let item = |place: Value| json!({ "place": place, "url": url, "bytes": 10, "sha256": hash });
    let file = item(json!({ "kind": "file", "path": "in.txt" }));
    assert_eq!(
        given["items"],
        json!([file, item(json!({ "kind": "stdin" }))])
    );
    assert!(given["next"].is_null());

    let ask = "POST /v1/step-inputs";
    let of = |by: &Hand| by.credential.clone();
    world
        .refused(&of(&other), ask, lease.clone(), (403, "not_holder"))
        .await;
    world.outputs_expire();
    let gone = world
        .refused(&of(&hand), ask, lease.clone(), (409, "conflict"))
        .await;
    assert!(text(&gone, "detail").contains("has expired"), "{gone}");
    world.leases_run_out().await;
    world
        .refused(&of(&hand), ask, lease, (409, "stale_fence"))
        .await;
}

#[tokio::test]
async fn a_step_without_uploads_asks_for_nothing() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let text = json!({ "files": { "a": { "text": "x" } }, "stdin": { "text": "y" } });
    let run = world.enqueued_step(&text).await;
    let claim = json!({ "run_id": run, "step_id": "only" });
    let claim = world.ok(&hand.credential, "POST /v1/claims", claim).await;
    assert!(claim["fetches"].is_null(), "{claim}");
    assert_eq!(world.calls("list uploads"), 0, "nor does the enqueue");
}

#[tokio::test]
async fn what_is_enqueued_is_there_whole_and_stays() {
    let world = World::new().await;
    let none = uploaded(&world, b"promised", None).await;
    let short = uploaded(&world, b"promised", Some(b"prom")).await;
    for (upload_id, why) in [
        (none, "nothing was put into"),
        (short, "has 4 bytes and was to have 8"),
    ] {
        let (field, detail) = refused(&world, with_file(&upload_id, &json!({}))).await;
        assert_eq!(field, "steps.only.files.in.txt");
        assert!(
            detail.contains(why) && detail.contains(&upload_id),
            "{detail}"
        );
    }
    // Of another project: to this one there is none.
    let fine = uploaded(&world, b"x", Some(b"x")).await;
    let foreign = with_file(&fine, &json!({ "pool": "workers" }));
    let stranger = world.credential(Who::Stranger);
    let answer = world.asked(stranger, "POST /v1/runs", &foreign).await;
    assert_eq!(answer.0, 400, "{}", answer.1);
    assert!(
        text(&answer.1, "detail").contains("not of this project"),
        "{}",
        answer.1
    );

    // Thirty days: a step that may wait for longer is refused, with what to do.
    let long = json!({ "ttl_seconds": 14 * DAY, "max_attempts": 3 });
    let (_, detail) = refused(&world, with_file(&fine, &long)).await;
    assert!(
        detail.contains("is kept until") && detail.contains("`ttl_seconds`"),
        "{detail}"
    );
    let two = json!({ "ttl_seconds": 14 * DAY, "max_attempts": 2 });
    world.enqueued(with_file(&fine, &two)).await;
    // It is the wait of the steps before that counts as well, and the age of the upload.
    let (_, lasting) = world.token("healthcare", Role::Member, 10 * DAY).await;
    world.time_goes_by(2 * DAY + 1);
    let (_, detail) = refused_to(&world, &lasting, with_file(&fine, &two)).await;
    assert!(detail.contains("is kept until"), "{detail}");
    let before = step(
        "before",
        &json!({ "ttl_seconds": 14 * DAY, "max_attempts": 1 }),
    );
    let later = json!({
        "needs": ["before"], "ttl_seconds": 14 * DAY, "max_attempts": 1,
        "files": { "in.txt": { "upload": fine } },
    });
    let chain = run_of(&[before, step("only", &later)]);
    let (_, detail) = refused_to(&world, &lasting, chain).await;
    assert!(detail.contains("is kept until"), "{detail}");
}

#[tokio::test]
async fn an_upload_is_bounded_and_names_what_it_is() {
    let world = World::new().await;
    let member = world.credential(Who::Member);
    let hash = ContentHash::of(b"x");
    for body in [
        json!({ "bytes": 0, "sha256": hash }),
        json!({ "bytes": 100 * 1024 * 1024 + 1, "sha256": hash }),
        json!({ "bytes": 1, "sha256": "00" }),
        json!({ "bytes": 1, "sha256": hash.to_string().to_uppercase() }),
        json!({ "bytes": 1 }),
    ] {
        world
            .refused(member, "POST /v1/uploads", body, (400, "invalid_request"))
            .await;
    }
    let largest = json!({ "bytes": 100 * 1024 * 1024, "sha256": hash });
    world.ok(member, "POST /v1/uploads", largest).await;
    let upload_id = "upl_0198c0de-0000-7000-8000-00000000000a";
    for content in [
        json!({ "upload": upload_id, "text": "x" }),
        json!({}),
        json!({ "text": null }),
    ] {
        let files = json!({ "files": { "a": content } });
        let refusal = (400, "invalid_request");
        let run = run_of(&[step("only", &files)]);
        world.refused(member, "POST /v1/runs", run, refusal).await;
    }
}

#[tokio::test]
async fn a_dead_step_is_put_back_only_if_its_uploads_stay() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let upload_id = uploaded(&world, b"x", Some(b"x")).await;
    let run = with_file(
        &upload_id,
        &json!({ "requires": { "region": "mars" }, "ttl_seconds": 90 }),
    );
    let run = world.enqueued(run).await;
    let dies = async || {
        for _ in 0..2 {
            world.leases_run_out().await;
        }
        assert_eq!(world.step(&run).await["state"], "dead");
    };
    dies().await;
    let retry = format!("POST /v1/runs/{run}/steps/only/retry");
    world.ok(admin, &retry, Value::Null).await;
    dies().await;
    world.outputs_expire();
    let refusal = world
        .refused(admin, &retry, Value::Null, (400, "invalid_request"))
        .await;
    assert!(text(&refusal, "detail").contains(&upload_id), "{refusal}");
}

fn taking(taken: &[&str], more: &Value) -> Value {
    step(
        "only",
        &merged(&json!({ "needs": taken, "takes": taken }), more),
    )
}

#[tokio::test]
async fn a_step_takes_the_result_of_the_claim_that_succeeded() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let steps = [
        step("a", &json!({})),
        step("b", &json!({})),
        taking(&["a", "b"], &json!({})),
    ];
    let run = world.enqueued(run_of(&steps)).await;
    for (id, bytes) in [("a", Some(2)), ("b", None)] {
        let lease = world.claimed_step(&hand, &run, id).await;
        let start = json!({ "sandbox": "s", "outputs": "project" });
        world
            .ok(&hand.credential, "POST /v1/starts", merged(&lease, &start))
            .await;
        let mut report = json!({ "state": "succeeded" });
        if let Some(bytes) = bytes {
            report["result_bytes"] = json!(bytes);
        }
        let report = merged(&lease, &report);
        world.ok(&hand.credential, "POST /v1/reports", report).await;
    }
    let lease = world.claimed(&hand, &run).await;
    let given = inputs(&world, &hand, &lease, 0).await;
    // `b` has left none: nothing of it is brought.
    let result = json!({
        "place": { "kind": "result", "step_id": "a" }, "bytes": 2,
        "url": format!("https://s3.example/healthcare/{run}/a/1/result.json"),
    });
    assert_eq!(given["items"], json!([result]));
    let document = world.run(&run).await;
    let takes = document.pointer("/document/steps/2/takes").unwrap();
    assert_eq!(takes, &json!(["a", "b"]));
}

#[tokio::test]
async fn what_lies_on_a_host_alone_cannot_be_taken_and_says_where_it_is() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let run = run_of(&[step("a", &json!({})), taking(&["a"], &json!({}))]);
    let run = world.enqueued(run).await;
    let lease = world.claimed_step(&hand, &run, "a").await;
    let start = json!({ "sandbox": "s", "output": "host:/logs/a.log" });
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
    let lease = world.claimed(&hand, &run).await;
    let refusal = world
        .refused(
            &hand.credential,
            "POST /v1/step-inputs",
            lease,
            (409, "conflict"),
        )
        .await;
    let detail = text(&refusal, "detail");
    assert!(
        detail.contains("host:/logs/a.log") && detail.contains("--outputs local"),
        "{detail}"
    );
}

#[tokio::test]
async fn what_cannot_be_taken_or_brought_is_refused_at_enqueue() {
    let world = World::new().await;
    let fargate = |id: &str, more: &Value| step(id, &merged(&json!({ "pool": FARGATE }), more));
    let long = json!({ "ttl_seconds": 14 * DAY, "max_attempts": 3 });
    let local = json!({ "path": "out", "to": "local" });
    let takes_b = json!({ "needs": ["a"], "takes": ["b"] });
    for (steps, field, why) in [
        (
            vec![
                step("a", &json!({})),
                step("b", &json!({})),
                step("c", &takes_b),
            ],
            "steps.c.takes",
            "add it to `needs`",
        ),
        (
            vec![
                step("a", &json!({ "mode": "bare" })),
                taking(&["a"], &json!({})),
            ],
            "steps.only.takes",
            "`a` is `bare`",
        ),
        (
            vec![fargate("only", &json!({ "artifacts": [local] }))],
            "steps[0].artifacts",
            "use a pull pool",
        ),
        (
            vec![step("a", &json!({})), taking(&["a"], &long)],
            "steps.only.takes",
            "is kept for 30 days",
        ),
    ] {
        let (at, detail) = refused(&world, run_of(&steps)).await;
        assert_eq!(at, field, "{detail}");
        assert!(detail.contains(why), "{detail}");
    }
}

#[tokio::test]
async fn many_inputs_come_page_by_page() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let upload_id = uploaded(&world, b"x", Some(b"x")).await;
    let names = (0..50).map(|number| format!("f{number:02}"));
    let files: Value = names
        .map(|name| (name, json!({ "upload": upload_id })))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let more = json!({ "files": files, "stdin": { "upload": upload_id } });
    let run = world.enqueued_step(&more).await;
    let lease = world.claimed(&hand, &run).await;
    let first = inputs(&world, &hand, &lease, 0).await;
    assert_eq!(
        (first["items"].as_array().unwrap().len(), &first["next"]),
        (50, &json!(50))
    );
    let last = inputs(&world, &hand, &lease, 50).await;
    assert_eq!(last["items"][0]["place"], json!({ "kind": "stdin" }));
    assert!(last["next"].is_null());
    // What a worker says of its progress leads nowhere.
    let beyond = inputs(&world, &hand, &lease, 4_000_000_000).await;
    assert_eq!(beyond["items"], json!([]));
}

#[tokio::test]
async fn an_argument_from_a_file_is_as_long_as_linux_accepts() {
    let world = World::new().await;
    let longest = vec![b'x'; 128 * 1024 - 1];
    let of = |upload_id: &str| {
        with_file(
            upload_id,
            &json!({ "command": ["echo", { "file": "in.txt" }] }),
        )
    };
    let fits = uploaded(&world, &longest, Some(&longest)).await;
    let run = world.enqueued(of(&fits)).await;
    let command = world.run(&run).await;
    let command = command.pointer("/document/steps/0/command").unwrap();
    assert_eq!(command, &json!(["echo", { "file": "in.txt" }]));
    let longer = [longest, vec![b'x']].concat();
    let long = uploaded(&world, &longer, Some(&longer)).await;
    let (field, detail) = refused(&world, of(&long)).await;
    assert_eq!(field, "steps.only.command");
    assert!(
        detail.contains("131071 bytes at most") && detail.contains("131072"),
        "{detail}"
    );
}
