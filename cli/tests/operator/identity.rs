//! Profiles, the cascade and revocations.

use std::sync::mpsc::Receiver;

use serde_json::{Value, json};

use super::{api, sealfleet, texts, token_file};

const AT: &str = "2026-01-31T08:00:00Z";
pub const UUID: &str = "0198c0de-0000-7000-8000-00000000000a";
pub const REFERENCE: &str = "aws-sm://sealfleet/healthcare/crm#api-key";

/// A command with a token against an API with these answers: code, output, messages, and what was
/// asked.
pub fn ask(
    answers: Vec<(u16, Value)>,
    arguments: &[&str],
    input: &str,
) -> (Option<i32>, String, String, Receiver<String>) {
    let (url, seen) = api(answers);
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let connection = ["--api-url", &url, "--token-file", file.to_str().unwrap()];
    // Before the words of a command that is run.
    let end = arguments.iter().position(|word| *word == "--");
    let (options, words) = arguments.split_at(end.unwrap_or(arguments.len()));
    let all = [options, &connection, words].concat();
    let (code, out, err) = texts(&sealfleet(&all, input));
    (code, out, err, seen)
}

pub fn profile(name: &str, version: u32, content: Value) -> Value {
    let mut profile = json!({"name": name, "version": version, "created_at": AT, "updated_at": AT});
    profile
        .as_object_mut()
        .unwrap()
        .extend(content.as_object().unwrap().clone());
    profile
}

pub fn problem(status: u16, code: &str) -> (u16, Value) {
    (
        status,
        json!({"type": "t", "title": "t", "status": status, "detail": "d", "code": code}),
    )
}

/// The next request, in its parts.
pub fn asked(seen: &Receiver<String>) -> (String, String, Value) {
    parts(&seen.recv().unwrap())
}

/// The first line of a request, its head and its JSON body.
pub fn parts(request: &str) -> (String, String, Value) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let line = head
        .lines()
        .next()
        .unwrap()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    (
        line,
        head.to_owned(),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

const THREE: &str = "
name: new
env: {REGION: eu}
---
name: old
secrets: {KEY: 'builtin://old@v2'}
---
name: same
env: {A: '1'}
";

fn old() -> Value {
    profile(
        "old",
        3,
        json!({"env": {"X": "1"}, "secrets": {"KEY": "builtin://old@v1"}}),
    )
}

fn same() -> Value {
    profile("same", 7, json!({"env": {"A": "1"}}))
}

#[test]
fn apply_creates_updates_and_leaves_alone() {
    let answers = vec![
        problem(404, "not_found"),
        (201, profile("new", 1, json!({"env": {"REGION": "eu"}}))),
        (200, old()),
        (
            200,
            profile("old", 4, json!({"secrets": {"KEY": "builtin://old@v2"}})),
        ),
        (200, same()),
    ];
    let (code, out, err, seen) = ask(
        answers,
        &["profile", "apply", "-f", "-", "--output", "json"],
        THREE,
    );
    assert_eq!(code, Some(0), "{err}");
    let applied: Value = serde_json::from_str(&out).unwrap();
    let outcomes: Vec<_> = applied
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["outcome"], &one["version"]))
        .collect();
    assert_eq!(
        outcomes,
        [
            (&json!("created"), &json!(1)),
            (&json!("updated"), &json!(4)),
            (&json!("unchanged"), &json!(7))
        ]
    );
    assert_eq!(
        applied[1]["changes"],
        json!({"added": [], "changed": ["secrets.KEY"], "removed": ["env.X"]})
    );
    assert_eq!(asked(&seen).0, "GET /v1/profiles/new");
    let (line, _, body) = asked(&seen);
    assert_eq!(
        (line.as_str(), body),
        (
            "POST /v1/profiles",
            json!({"name": "new", "env": {"REGION": "eu"}})
        )
    );
    assert_eq!(asked(&seen).0, "GET /v1/profiles/old");
    let (line, head, body) = asked(&seen);
    assert_eq!(
        (line.as_str(), body),
        (
            "PUT /v1/profiles/old",
            json!({"secrets": {"KEY": "builtin://old@v2"}})
        )
    );
    assert!(head.contains("if-match: \"3\""), "{head}");
    assert_eq!(asked(&seen).0, "GET /v1/profiles/same");
}

#[test]
fn a_dry_run_shows_names_and_writes_nothing() {
    let answers = vec![problem(404, "not_found"), (200, old()), (200, same())];
    let (code, out, err, seen) = ask(
        answers,
        &["profile", "apply", "--dry-run", "-f", "-"],
        THREE,
    );
    assert_eq!(code, Some(0), "{err}");
    for says in [
        "would be created",
        "+env.REGION",
        "would be updated",
        "~secrets.KEY -env.X",
        "unchanged",
    ] {
        assert!(out.contains(says), "{out}");
    }
    assert!(seen.iter().all(|request| request.starts_with("GET ")));
}

#[test]
fn a_profile_that_somebody_else_changed_is_left_alone() {
    let answers = vec![
        problem(404, "not_found"),
        (201, profile("new", 1, json!({"env": {"REGION": "eu"}}))),
        (200, old()),
        problem(412, "version_conflict"),
    ];
    let (code, out, err, seen) = ask(answers, &["profile", "apply", "-f", "-"], THREE);
    assert_eq!(code, Some(3));
    assert!(
        out.contains("new") && out.contains("created") && !out.contains("old"),
        "{out}"
    );
    assert!(
        err.contains("profile `old`") && err.contains("sealfleet profile history old"),
        "{err}"
    );
    assert_eq!(
        seen.iter().count(),
        4,
        "it is not tried again, and what follows is not begun"
    );
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_not_repeated() {
    let file = "name: good\n---\nname: crm\nsecrets: {KEY: canary-value}\n";
    let (code, out, err) = texts(&sealfleet(&["profile", "apply", "-f", "-"], file));
    assert!(
        code == Some(2) && err.contains("document 2") && err.contains("secrets.KEY"),
        "{err}"
    );
    assert!(
        !out.contains("canary") && !err.contains("canary"),
        "{out}{err}"
    );
}

#[test]
fn what_is_exported_is_applied_without_a_change() {
    let all = profile(
        "crm",
        2,
        json!({
            "env": {"REGION": "eu", "PORT": "8080", "ON": "true"}, "secrets": {"KEY": format!("{REFERENCE}@{UUID}")},
            "remove": ["OLD"], "tags": {"team": "billing"}, "allowed_workflows": ["billing"],
            "tools": {"claude": ["*"], "codex": []}
        }),
    );
    let (code, yaml, err, _) = ask(vec![(200, all.clone())], &["profile", "export", "crm"], "");
    assert_eq!(code, Some(0), "{err}");
    assert!(
        yaml.starts_with("name: crm\n")
            && !yaml.contains("version")
            && !yaml.contains("created_at"),
        "{yaml}"
    );
    let exported = ask(
        vec![(200, all.clone())],
        &["profile", "export", "crm", "--output", "json"],
        "",
    )
    .1;
    for file in [yaml, exported] {
        let (code, out, err, _) = ask(
            vec![(200, all.clone())],
            &["profile", "apply", "-f", "-"],
            &file,
        );
        assert!(code == Some(0) && out.contains("unchanged"), "{out}{err}");
    }
}

#[test]
fn a_history_tells_changes_by_name() {
    let version = |mut profile: Value, extra: Value| {
        profile
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        profile
    };
    let by = || json!({"by": "token:a"});
    let items = [
        version(
            profile("crm", 3, json!({})),
            json!({"by": "token:b", "deleted": true}),
        ),
        version(profile("crm", 2, json!({"env": {"A": "knob"}})), by()),
        version(profile("crm", 1, json!({"env": {"B": "1"}})), by()),
    ];
    let (code, out, err, seen) = ask(
        vec![(200, json!({"items": items}))],
        &["profile", "history", "crm"],
        "",
    );
    assert_eq!(code, Some(0), "{err}");
    let rows: Vec<&str> = out.lines().skip(1).collect();
    assert!(
        rows[0].contains("token:b") && rows[0].ends_with("deleted"),
        "{out}"
    );
    assert!(
        rows[1].ends_with("+env.A -env.B") && rows[2].ends_with("+env.B") && !out.contains("knob"),
        "{out}"
    );
    assert!(
        asked(&seen)
            .0
            .starts_with("GET /v1/profiles/crm/versions?limit=100")
    );
}

#[test]
fn a_resolution_is_a_table_of_keys_with_their_origin() {
    let revocation = format!("rev_{UUID}");
    let answer = json!({
        "profiles": [{"level": "system", "profile": "system/base", "version": 3}],
        "keys": [
            {"key": "KEY", "secret": REFERENCE, "origin": {"level": "system", "profile": "system/base"}, "seen": false,
             "revoked_by": revocation},
            {"key": "REGION", "value": "eu", "origin": {"level": "run"}, "seen": true}
        ],
        "removed": {"OLD": {"level": "workflow", "profile": "crm"}}
    });
    let arguments = [
        "profile",
        "resolve",
        "--workflow",
        "w",
        "--profile",
        "own",
        "--env",
        "REGION=eu",
        "--remove",
        "OLD",
        "--tool",
        "claude",
    ];
    let (code, out, err, seen) = ask(vec![(200, answer)], &arguments, "");
    assert_eq!(code, Some(0), "{err}");
    let row = |key: &str| {
        let line = out.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        row("REGION"),
        ["REGION", "env", "eu", "env", "run", "-", "yes", "-"]
    );
    assert_eq!(
        row("OLD"),
        ["OLD", "removed", "-", "-", "workflow", "crm", "no", "-"]
    );
    assert_eq!(
        row("KEY     secret"),
        [
            "KEY",
            "secret",
            REFERENCE,
            "env",
            "system",
            "system/base",
            "no",
            &revocation
        ]
    );
    assert!(out.contains("system:system/base@3"), "{out}");
    let overrides = json!({"env": {"REGION": "eu"}, "remove": ["OLD"]});
    let body = json!({"workflow": "w", "profile": "own", "overrides": overrides, "tool": "claude"});
    assert_eq!(asked(&seen).2, body);
}

#[test]
fn the_cascade_is_changed_level_by_level() {
    let before = json!({"project": "crm", "workflows": {"billing": "bill"}});
    let after = json!({"system": "base", "workflows": {"billing": "bill", "triage": "t"}});
    let arguments = [
        "cascade",
        "set",
        "--system",
        "system/base",
        "--clear-project",
        "--workflow",
        "triage=t",
    ];
    let (code, out, err, seen) = ask(vec![(200, before), (200, after.clone())], &arguments, "");
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("system/base") && out.contains("triage"),
        "{out}"
    );
    assert_eq!(asked(&seen).0, "GET /v1/cascade");
    let (line, _, body) = asked(&seen);
    assert_eq!((line.as_str(), body), ("PUT /v1/cascade", after));
}

fn revocation() -> Value {
    json!({
        "revocation_id": format!("rev_{UUID}"), "profile": "system/base", "key": "KEY",
        "uri": "aws-sm://sealfleet/system/crm#k", "hard": true, "reason": "leaked", "actor": "token:a", "at": AT
    })
}

fn fan_out(runs: u32, finished: bool) -> Value {
    let mut fan_out = json!({
        "fan_out_id": format!("fan_{UUID}"), "revocations": [format!("rev_{UUID}")], "started_at": AT,
        "runs_aborted": runs, "tasks_stopped": runs, "tasks_unstopped": 0, "worker_sandboxes": 1
    });
    if finished {
        fan_out["finished_at"] = json!(AT);
    }
    fan_out
}

#[test]
fn a_hard_revocation_is_awaited_to_its_end() {
    let created = json!({"revocations": [revocation()], "fan_out": fan_out(0, false)});
    let answers = vec![
        (201, created),
        (200, fan_out(2, false)),
        (200, fan_out(2, false)),
        (200, fan_out(5, true)),
    ];
    let arguments = [
        "revocation",
        "create",
        "--key",
        "system/base/KEY",
        "--key",
        "crm/TOKEN",
        "--hard",
    ];
    let arguments = [&arguments[..], &["--reason", "leaked", "--wait"]].concat();
    let (code, out, err, seen) = ask(answers, &arguments, "");
    assert_eq!(code, Some(0), "{err}");
    let progress: Vec<&str> = err.lines().collect();
    assert_eq!(progress.len(), 3, "each change once: {err}");
    assert!(
        progress[1].contains("2 runs aborted") && progress[2].contains("5 runs aborted"),
        "{err}"
    );
    assert!(
        out.contains("system/base") && out.contains("runs aborted     5"),
        "{out}"
    );
    let keys =
        json!([{"profile": "system/base", "key": "KEY"}, {"profile": "crm", "key": "TOKEN"}]);
    assert_eq!(
        asked(&seen).2,
        json!({"keys": keys, "hard": true, "reason": "leaked"})
    );
    assert_eq!(asked(&seen).0, format!("GET /v1/fan-outs/fan_{UUID}"));
    let soft = [
        "revocation",
        "create",
        "--key",
        "crm/KEY",
        "--reason",
        "x",
        "--wait",
    ];
    assert_eq!(
        texts(&sealfleet(&soft, "")).0,
        Some(2),
        "a soft revocation has nothing to wait for"
    );
}

#[test]
fn revocations_are_previewed_listed_and_lifted() {
    let run = json!({"project": "p", "run_id": super::RUN, "profile": "crm", "key": "KEY"});
    let preview = json!({"runs": [run], "more": true});
    let (_, out, _, seen) = ask(
        vec![(200, preview)],
        &["revocation", "preview", "--key", "crm/KEY"],
        "",
    );
    assert!(
        out.contains(super::RUN) && out.ends_with("and more\n"),
        "{out}"
    );
    assert_eq!(asked(&seen).0, "POST /v1/revocations:preview");
    let list = json!({"items": [revocation()]});
    let (_, out, _, seen) = ask(vec![(200, list)], &["revocation", "list", "--lifted"], "");
    assert!(
        out.contains("leaked") && asked(&seen).0.contains("state=lifted"),
        "{out}"
    );
    let id = format!("rev_{UUID}");
    let lifted = {
        let mut lifted = revocation();
        lifted["lifted"] = json!({"at": AT, "actor": "token:b"});
        lifted
    };
    let (_, out, _, seen) = ask(vec![(200, lifted)], &["revocation", "lift", &id], "");
    assert!(out.contains("by token:b"), "{out}");
    assert_eq!(asked(&seen).0, format!("POST /v1/revocations/{id}/lift"));
    let (code, ..) = ask(
        vec![problem(409, "conflict")],
        &["revocation", "lift", &id],
        "",
    );
    assert_eq!(code, Some(3));
}
