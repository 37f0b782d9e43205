//! `contain`: it begins one containment, and watches until that has ended.

use serde_json::{Value, json};

use super::{api, sealfleet, texts, token_file};

fn example(name: &str) -> Value {
    let answers = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/answers");
    let text = std::fs::read(answers.join(name)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// What `contain` says to these answers, with its exit code, and what it asked.
fn contain(
    arguments: &[&str],
    answers: Vec<Value>,
) -> ((Option<i32>, String, String), Vec<String>) {
    let place = tempfile::tempdir().unwrap();
    let token = token_file(place.path());
    let count = answers.len();
    let (url, seen) = api(answers.into_iter().map(|answer| (200, answer)).collect());
    let to = [
        "--api-url",
        &url,
        "--token-file",
        token.to_str().unwrap(),
        "contain",
    ];
    let told = texts(&sealfleet(&[&to[..], arguments].concat(), ""));
    (told, seen.iter().take(count).collect())
}

fn ended(state: &str) -> Value {
    let mut view = example("create_containment.json");
    view["state"] = json!(state);
    view["ended_at"] = json!("2026-01-31T08:05:09.000Z");
    view
}

#[test]
fn without_yes_it_only_shows_what_it_would_stop() {
    let arguments = ["--reason", "an incident", "--tokens"];
    let ((code, out, err), asked) = contain(&arguments, vec![example("preview_containment.json")]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("runs ended") && out.contains("17"), "{out}");
    assert!(out.contains("add `--yes`"), "{out}");
    assert!(
        asked[0].starts_with("POST /v1/containments:preview "),
        "{asked:?}"
    );
    assert!(asked[0].contains(r#"{"tokens":true}"#), "{asked:?}");
}

#[test]
fn it_begins_one_containment_and_watches_it() {
    let arguments = ["--reason", "an incident", "--yes", "--output", "json"];
    let going_on = example("create_containment.json");
    let shown = example("get_containment.json");
    let answers = vec![going_on, shown, ended("contained")];
    let ((code, out, err), asked) = contain(&arguments, answers);
    assert_eq!(code, Some(0), "{out}{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["state"], "contained");
    let id = told["containment_id"].as_str().unwrap();
    assert!(err.contains(id) && err.contains("17 runs ended"), "{err}");
    let of = |at: usize| asked[at].lines().next().unwrap().to_owned();
    assert!(of(0).starts_with("POST /v1/containments "), "{}", of(0));
    assert!(asked[0].contains("idempotency-key: con_"), "{}", asked[0]);
    for at in [1, 2] {
        assert!(
            of(at).starts_with(&format!("GET /v1/containments/{id} ")),
            "{}",
            of(at)
        );
    }
    assert_eq!(asked.len(), 3);
}

#[test]
fn it_fails_where_something_is_left() {
    let id = "con_0198c0de-0000-7000-8000-000000000001";
    let ((code, out, err), _) = contain(&["--show", id], vec![ended("incomplete")]);
    assert_ne!(code, Some(0), "{out}{err}");
    assert!(err.contains("something is left"), "{err}");
    assert!(out.contains(id), "{out}");
}

#[test]
fn it_lists_them() {
    let ((code, out, err), _) = contain(&["--list"], vec![example("list_containments.json")]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("contained") && out.contains("stolen"), "{out}");
}
