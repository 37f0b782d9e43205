//! Runs made on the spot, dead steps put back, and runs enqueued once more.

use serde_json::{Value, json};

use super::identity::{ask, asked};
use super::{RUN, run_view};

const NEW: &str = "run_0198c0de-0000-7000-8000-00000000000b";

fn document() -> Value {
    json!({ "workflow": "w", "profile": "crm", "labels": { "team": "a" }, "steps": [{
        "id": "a", "pool": "p", "mode": "identity", "command": ["true"], "needs": [], "requires": {}, "env": {},
        "timeout_seconds": 60, "max_attempts": 3, "ttl_seconds": 60
    }] })
}

fn dead() -> Value {
    let mut run = run_view("dead", "dead");
    run["steps"][0]["dead"] = json!("attempts_exhausted");
    run
}

fn summaries(state: &str) -> (u16, Value) {
    let run = json!({ "run_id": RUN, "workflow": "w", "state": state, "created_at": "2026-01-31T08:00:00Z" });
    (200, json!({ "items": [run] }))
}

/// A page of output, from the API.
fn page(items: Value, more: Value) -> (u16, Value) {
    let mut page = json!({ "fence": 1, "items": items, "goes_on": false });
    for (name, value) in more.as_object().unwrap() {
        page[name] = value.clone();
    }
    (200, page)
}

#[test]
fn a_command_runs_as_if_it_ran_here() {
    let place = json!({ "kind": "project", "place": "host-1:/logs/a.1.log" });
    let going = |cursor: &str, items: Value, place: &Value| {
        let more = json!({ "goes_on": true, "next_cursor": cursor, "place": place });
        page(items, more)
    };
    let mut failed = run_view("failed", "failed");
    failed["steps"][0]["failure"] = json!({ "kind": "exit", "code": 7 });
    let out =
        json!([{ "stream": "stdout", "text": "one\n" }, { "stream": "stderr", "text": "two\n" }]);
    let last = json!([{ "stream": "stdout", "text": "\u{1b}[1mthree\n", "missing_bytes": 9 }]);
    let answers = vec![
        (201, run_view("queued", "queued")),
        going("a", json!([]), &Value::Null),
        (200, run_view("queued", "queued")),
        going("b", out, &place),
        going("b", json!([]), &place),
        page(last, json!({ "place": place })),
        (200, failed),
    ];
    let exec = [
        "run",
        "exec",
        "--profile",
        "crm",
        "--label",
        "team=a",
        "--timeout",
        "2m",
        "--",
        "sh",
        "-c",
        "exit 7",
    ];
    let (code, out, err, seen) = ask(answers, &exec, "");
    // Its own output and exit code, and nothing else on standard output.
    assert_eq!(
        (code, out.as_str()),
        (Some(7), "one\n\u{1b}[1mthree\n"),
        "{err}"
    );
    assert!(err.contains("queued") && err.contains("two\n"), "{err}");
    assert!(err.contains("9 bytes of output are missing here"), "{err}");
    assert!(err.contains("exit code=7"), "{err}");
    let (line, _, body) = asked(&seen);
    let step = &body["steps"][0];
    assert_eq!(
        (line.as_str(), &body["labels"]["team"]),
        ("POST /v1/runs", &json!("a"))
    );
    assert_eq!(
        (&step["mode"], &step["command"], &step["timeout_seconds"]),
        (
            &json!("identity"),
            &json!(["sh", "-c", "exit 7"]),
            &json!(120)
        )
    );
    let paths: Vec<String> = (0..6).map(|_| asked(&seen).0).collect();
    assert!(
        paths.iter().any(|path| path.ends_with("/output?cursor=b")),
        "{paths:?}"
    );
}

#[test]
fn output_and_result_are_printed_as_they_are() {
    let place = json!({ "kind": "worker", "place": "host-1:/logs/a.1.log" });
    let only = (200, run_view("running", "running"));
    let nothing = || page(json!([]), json!({ "place": place }));
    let (code, out, err, _) = ask(vec![only.clone(), nothing()], &["run", "logs", RUN], "");
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert!(err.contains("it lies at host-1:/logs/a.1.log"), "{err}");
    let items = json!([{ "stream": "stderr", "text": "e\u{7}" }]);
    let answers = vec![page(items.clone(), json!({}))];
    let logs = [
        "run", "logs", RUN, "--step", "a", "--stream", "stderr", "--output", "json",
    ];
    let (code, out, _, seen) = ask(answers, &logs, "");
    let printed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &printed["items"]), (Some(0), &items));
    assert!(!out.contains('\u{7}'), "escaped as JSON does");
    assert!(asked(&seen).0.ends_with("/steps/a/output?stream=stderr"));

    let found = json!({ "fence": 1, "bytes": 9, "result": { "a": [1] } });
    let result = ["run", "result", RUN];
    let (code, out, _, _) = ask(vec![only.clone(), (200, found)], &result, "");
    assert_eq!(code, Some(0));
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap(),
        json!({ "a": [1] })
    );
    let local = json!({ "fence": 1, "bytes": 9, "place": place });
    let (code, _, err, _) = ask(vec![only, (200, local)], &result, "");
    assert_eq!(code, Some(1));
    assert!(err.contains("host-1:/logs/a.1.log"), "{err}");
}

#[test]
fn a_run_is_enqueued_once_more_as_it_was() {
    let mut failed = run_view("failed", "failed");
    failed["document"] = document();
    let mut again = run_view("queued", "queued");
    again["run_id"] = json!(NEW);
    let answers = || vec![(200, failed.clone()), (201, again.clone())];
    let (code, out, err, seen) = ask(answers(), &["run", "rerun", RUN], "");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains(RUN) && out.contains(NEW), "{out}");
    asked(&seen);
    let (line, head, body) = asked(&seen);
    assert_eq!((line.as_str(), body), ("POST /v1/runs", document()));
    assert!(
        head.contains(&format!("idempotency-key: rerun of {RUN}")),
        "{head}"
    );

    let of_state = [vec![summaries("aborted")], answers()].concat();
    let rerun = [
        "run", "rerun", "--state", "aborted", "--label", "team=a", "--limit", "5",
    ];
    let (code, out, _, seen) = ask(of_state, &rerun, "");
    assert!(code == Some(0) && out.contains(NEW), "{out}");
    let (line, ..) = asked(&seen);
    assert!(
        line.contains("state=aborted") && line.contains("label=team%3Da"),
        "{line}"
    );

    for (run, says) in [
        (run_view("running", "running"), "has not ended"),
        (run_view("failed", "failed"), "document"),
    ] {
        let (code, _, err, _) = ask(vec![(200, run)], &["run", "rerun", RUN], "");
        assert!(code == Some(3) && err.contains(says), "{err}");
    }
    let (code, _, err, _) = ask(vec![], &["run", "rerun", "--state", "running"], "");
    assert_eq!(code, Some(2), "{err}");
}

#[test]
fn dead_steps_are_put_back_alone_or_with_all_of_their_run() {
    let back = || (200, run_view("queued", "queued"));
    for (answers, retry) in [
        (vec![back()], &["run", "retry", RUN, "a"][..]),
        (vec![(200, dead()), back()], &["run", "retry", RUN]),
        (
            vec![summaries("dead"), (200, dead()), back()],
            &["run", "retry", "--state", "dead"],
        ),
        (
            vec![(200, dead()), back(), (200, dead()), back()],
            &["run", "retry", RUN, RUN],
        ),
    ] {
        let (code, out, err, seen) = ask(answers, retry, "");
        assert_eq!((code, err.as_str()), (Some(0), ""), "{retry:?}");
        assert!(out.starts_with("RUN "), "{out}");
        let last = seen.iter().last().unwrap();
        assert!(
            last.starts_with(&format!("POST /v1/runs/{RUN}/steps/a/retry")),
            "{last}"
        );
    }
    // One that fails does not hold up the others.
    let alive = run_view("running", "running");
    let answers = vec![(200, alive), (200, dead()), back()];
    let (code, out, err, _) = ask(answers, &["run", "retry", RUN, RUN], "");
    assert!(
        code == Some(3) && out.contains(RUN) && err.contains("no dead step"),
        "{out}{err}"
    );
    let (code, ..) = ask(vec![], &["run", "retry", "--state", "failed"], "");
    assert_eq!(code, Some(2));
    let (code, ..) = ask(vec![], &["run", "retry"], "");
    assert_eq!(code, Some(2));
}
