//! `contain`: one containment, whose requests carry its id, and which goes on after a failure.

use serde_json::{Value, json};

use super::{api, sealfleet, texts, token_file};

fn example(name: &str) -> Value {
    let answers = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/answers");
    let text = std::fs::read(answers.join(name)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn it_goes_on_with_what_it_has_begun_and_says_what_was_done() {
    let place = tempfile::tempdir().unwrap();
    let token = token_file(place.path());
    let empty = json!({ "items": [] });
    let whoami = json!({
        "actor": "token:tok_0198c0de-0000-7000-8000-00000000000a", "project": "healthcare",
        "role": "admin", "may": ["Contain"]
    });
    let entry = json!({
        "event_id": "evt_0198c0de-0000-7000-8000-00000000000b", "at": "2026-01-31T08:00:00Z",
        "project": "healthcare", "actor": "token:tok_0198c0de-0000-7000-8000-00000000000a",
        "containment_id": "con_0198c0de-0000-7000-8000-00000000000c",
        "events": [
            { "type": "enrolment_key.revoked", "enrolment_key_id": "enk_0198c0de-0000-7000-8000-00000000000d" },
            { "type": "run.cancelled" }
        ]
    });
    // Who asks, yesterday's containment, today's; then keys and profiles, workers, enrolment keys
    // and runs, twice.
    let nothing = || [empty.clone(), empty.clone()];
    let left = [
        nothing().to_vec(),
        vec![
            example("list_workers.json"),
            example("revoke_worker.json"),
            empty.clone(),
        ],
        nothing().to_vec(),
    ]
    .concat();
    let none = [nothing(), nothing(), nothing()].concat();
    let begun = vec![whoami.clone(), empty.clone(), json!({ "items": [entry] })];
    let answers = [begun, left, none].concat();
    let (url, seen) = api(answers.into_iter().map(|answer| (200, answer)).collect());
    let contain = |yes: &[&str]| {
        let to = ["--api-url", &url, "--token-file", token.to_str().unwrap()];
        let what = ["contain", "--reason", "an incident", "--output", "json"];
        texts(&sealfleet(&[&to[..], &what[..], yes].concat(), ""))
    };
    let (code, out, err) = contain(&["--yes"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let id = told["containment_id"].as_str().unwrap();
    assert!(err.contains(id) && err.contains("goes on"), "{err}");
    assert_eq!((&told["workers"], &told["runs"]), (&json!(1), &json!(0)));
    assert_eq!(
        (&told["before"]["enrolment_keys"], &told["before"]["runs"]),
        (&json!(1), &json!(1))
    );
    let asked: Vec<String> = seen.iter().collect();
    let of = |at: usize| asked[at].lines().next().unwrap();
    assert!(
        of(1).contains("containment=con_") && !of(1).contains(id),
        "{}",
        of(1)
    );
    assert!(of(2).contains(&format!("containment={id}")), "{}", of(2));
    let revoked = asked
        .iter()
        .find(|request| request.starts_with("POST "))
        .unwrap();
    assert!(
        revoked.contains(&format!("sealfleet-containment: {id}")),
        "{revoked}"
    );
    assert!(
        !asked[3].contains("sealfleet-containment"),
        "a read is part of nothing"
    );
}
