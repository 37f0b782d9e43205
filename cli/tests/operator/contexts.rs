//! Contexts, who the caller is, and what is said to those who forgot something.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::identity::problem;
use super::{RUN, api, sealfleet_in, texts, token_file};

/// A token of a form that the program can read.
fn token() -> String {
    let secret = "A".repeat(43);
    format!("sft.healthcare.tok_0198c0de-0000-7000-8000-00000000000a.{secret}")
}

pub fn project() -> Value {
    json!({
        "project": "healthcare", "version": 1, "created_at": "2026-01-31T08:00:00Z", "pools": {},
        "limits": { "requests_per_second": 50, "burst": 100, "own": false }
    })
}

fn whoami() -> Value {
    json!({
        "actor": "token:tok_0198c0de-0000-7000-8000-00000000000a", "project": "healthcare",
        "role": "admin", "may": ["ReadRuns", "ListTokens"]
    })
}

fn tokens() -> Value {
    json!({ "items": [{
        "token_id": "tok_0198c0de-0000-7000-8000-00000000000a", "role": "admin",
        "created_at": "2026-01-31T08:00:00Z", "expires_at": "2099-01-01T00:00:00Z"
    }] })
}

type Told = (Option<i32>, String, String);

/// A command of a user with this home.
fn at(home: &Path, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Told {
    let home = home.to_str().unwrap();
    let environment = [&[("HOME", home)], environment].concat();
    texts(&sealfleet_in(&environment, arguments, input))
}

#[test]
fn a_context_holds_address_and_token_for_later_commands() {
    let home = tempfile::tempdir().unwrap();
    let at = |environment: &[_], arguments: &[_], input: &str| {
        at(home.path(), environment, arguments, input)
    };
    let runs = json!({ "items": [] });
    let answers = [whoami(), tokens(), whoami(), tokens(), runs.clone()];
    let (url, seen) = api(answers.map(|answer| (200, answer)).into());
    let token = token();
    let login = ["login", "--context", "demo", "--api-url", &url];
    let (code, out, err) = at(&[], &login, &token);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("admin of project healthcare"), "{out}");
    assert!(!out.contains(&token), "{out}");
    let place = home.path().join(".config/sealfleet");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (file, own) = (place.join("contexts.json"), place.join("tokens/demo"));
    assert_eq!((mode(&file), mode(&own)), (0o600, 0o600));
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&token));

    let (code, out, _) = at(&[], &["whoami", "--output", "json"], "");
    let whoami: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &whoami["project"], &whoami["role"], &whoami["may"][0]),
        (
            Some(0),
            &json!("healthcare"),
            &json!("admin"),
            &json!("ReadRuns")
        )
    );
    assert_eq!(whoami["expires_at"], "2099-01-01T00:00:00.000Z");
    assert_eq!(at(&[], &["run", "list"], "").0, Some(0));
    let asked: Vec<String> = seen.iter().take(5).collect();
    assert!(asked[2].starts_with("GET /v1/whoami "), "{}", asked[2]);
    let last = &asked[4];
    assert!(last.contains(&format!("Bearer {token}")), "{last}");

    // The token goes nowhere else.
    let (code, _, err) = at(&[], &["run", "list", "--api-url", "http://127.0.0.1:1"], "");
    assert!(code == Some(2) && err.contains("goes to"), "{err}");
    // The environment wins over the context, and says so where the context was named.
    let (other, asked) = api(vec![(200, runs)]);
    let mine = token_file(home.path());
    let environment = [
        ("SEALFLEET_API_URL", other.as_str()),
        ("SEALFLEET_TOKEN_FILE", mine.to_str().unwrap()),
    ];
    let (code, _, err) = at(&environment, &["run", "list", "--context", "demo"], "");
    assert!(
        code == Some(0) && err.contains("wins over the context `demo`"),
        "{err}"
    );
    assert!(asked.recv().unwrap().contains("canary"));

    let (_, out, _) = at(&[], &["context", "list"], "");
    assert!(out.contains("*        demo"), "{out}");
    let (code, _, err) = at(&[], &["context", "use", "demmo"], "");
    assert!(
        code == Some(2) && err.contains("did you mean `demo`?"),
        "{err}"
    );
    let (code, _, err) = at(&[("SEALFLEET_CONTEXT", "nothing")], &["run", "list"], "");
    assert!(
        code == Some(2) && err.contains("no context `nothing`"),
        "{err}"
    );
    assert_eq!(at(&[], &["context", "remove", "demo"], "").0, Some(0));
    assert!(!own.exists());
    let (code, _, err) = at(&[], &["run", "list"], "");
    assert!(code == Some(2) && err.contains("sealfleet login"), "{err}");
}

#[test]
fn a_token_that_is_not_taken_is_not_stored_and_none_is_an_argument() {
    let home = tempfile::tempdir().unwrap();
    let (url, _seen) = api(vec![problem(401, "unauthenticated")]);
    let token = token();
    let login = ["login", "--api-url", &url];
    let (code, out, err) = at(home.path(), &[], &login, &token);
    assert_eq!(code, Some(3), "{out}{err}");
    assert!(!home.path().join(".config/sealfleet/contexts.json").exists());
    let login = ["login", "--api-url", &url, "--token", "canary"];
    let (code, out, err) = at(home.path(), &[], &login, "");
    assert_eq!(code, Some(2));
    assert!(!out.contains("canary") && !err.contains("canary"), "{err}");
}

#[test]
fn every_command_that_calls_aws_says_the_same_of_what_is_not_set() {
    let home = tempfile::tempdir().unwrap();
    let file = token_file(home.path());
    let period = [
        "--from",
        "2026-01-31T08:00:00Z",
        "--to",
        "2026-01-31T09:00:00Z",
    ];
    let commands = [
        &["token", "bootstrap"][..],
        &["secret", "put", "--project", "healthcare", "crm", "key"],
        &[&["audit", "repair", "--project", "healthcare"], &period[..]].concat(),
        &[
            &["audit", "re-export", "--project", "healthcare"],
            &period[..],
        ]
        .concat(),
        &["audit", "verify", "--bucket", "b"],
        &["project", "deploy", "healthcare", "--pull-pool", "workers"],
    ];
    let without = [
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("SEALFLEET_TOKEN_FILE", file.to_str().unwrap()),
    ];
    for command in commands {
        let (code, _, err) = at(home.path(), &without, command, "value");
        assert!(
            code == Some(2) && err.ends_with("set `AWS_REGION`, or `region` in `~/.aws/config`\n"),
            "{command:?}: {err}"
        );
        let region = [&without[..], &[("AWS_REGION", "eu-west-1")]].concat();
        let (code, _, err) = at(home.path(), &region, command, "value");
        assert!(
            code == Some(2) && err.contains("finds no credentials: set `AWS_PROFILE`"),
            "{command:?}: {err}"
        );
    }
}

#[test]
fn what_is_wrong_with_address_or_token_is_said_with_its_option() {
    let home = tempfile::tempdir().unwrap();
    let file = token_file(home.path());
    let file = file.to_str().unwrap();
    for (url, token, says) in [
        ("example.com", file, "`--api-url`"),
        ("example.com", file, "https://HOST"),
        ("localhost:8080", file, "https://HOST"),
        ("http://example.com", file, "`https` only"),
        ("http://127.0.0.1:1", "/nowhere/token", "`--token-file`"),
        ("http://127.0.0.1:1", "/nowhere/token", "`/nowhere/token`"),
    ] {
        let command = ["run", "list", "--api-url", url, "--token-file", token];
        let (code, _, err) = at(home.path(), &[], &command, "");
        assert!(
            code == Some(2) && err.contains(says),
            "{url} {token}: {err}"
        );
    }
    let (code, _, err) = at(
        home.path(),
        &[],
        &["run", "watch", RUN, "--timeout", "ten"],
        "",
    );
    assert!(
        code == Some(2) && err.contains("--timeout") && err.contains("90d"),
        "{err}"
    );
}

#[test]
fn with_json_a_failure_is_a_problem() {
    let home = tempfile::tempdir().unwrap();
    let file = token_file(home.path());
    let (url, _seen) = api(vec![problem(404, "not_found")]);
    let run = "run_0198c0de-0000-7000-8000-00000000000a";
    let nobody = "http://127.0.0.1:1";
    for (command, expected, code) in [
        (vec!["run", "show", run, "--api-url", &url], 3, "not_found"),
        (vec!["run", "show", run, "--api-url", nobody], 1, "failed"),
        (vec!["run", "show", run], 2, "usage"),
        (vec!["run", "show", "x"], 2, "usage"),
    ] {
        let more = ["--token-file", file.to_str().unwrap(), "--output", "json"];
        let (exit, out, err) = at(home.path(), &[], &[&command[..], &more].concat(), "");
        let told: Value = serde_json::from_str(&err).unwrap_or_else(|_| panic!("{err}"));
        assert_eq!(
            (exit, told["code"].as_str()),
            (Some(expected), Some(code)),
            "{err}"
        );
        assert!(out.is_empty() && told["detail"].is_string(), "{out}{err}");
    }
}

#[test]
fn completion_is_a_script() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = at(home.path(), &[], &["completion", shell], "");
        assert!(code == Some(0) && out.contains("enrolment-key"), "{shell}");
        assert!(!out.contains("\\u0009"), "{shell}: tabs are escaped");
    }
}

#[test]
fn status_says_what_is_wrong_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let id = "0198c0de-0000-7000-8000-00000000000a";
    let run = |state: &str| json!({ "run_id": format!("run_{id}"), "workflow": "w", "state": state, "created_at": "2026-01-31T08:00:00Z" });
    let page = |items: &[Value]| (200, json!({ "items": items }));
    let mut whole = run("running");
    whole["steps"] = json!([{ "id": "a", "state": "queued", "mode": "bare", "pool": "p", "attempt": 1, "fence": 0,
        "diagnosis": "no worker has claimed it" }]);
    let worker = json!({ "worker_id": format!("wrk_{id}"), "name": "n", "pool": "p", "status": "pending",
        "modes": [], "max_concurrent": 1, "registered_at": "2026-01-31T08:00:00Z", "held": 0 });
    let approval = json!({ "approval": format!("step:run_{id}:a"), "state": "pending", "request": "0".repeat(64),
        "requested_by": "token:a", "requested_at": "2026-01-31T08:00:00Z", "approvers": 1 });
    let answers = vec![
        page(&[]),
        page(&[run("running")]),
        page(&[run("dead")]),
        (200, whole),
        page(&[worker]),
        page(&[approval]),
        page(&[]),
    ];
    let status = |answers: Vec<(u16, Value)>, token: &str| {
        let (url, seen) = api(answers);
        let command = ["status", "--api-url", &url, "--token-file", "-"];
        let (code, out, err) = at(home.path(), &[], &command, token);
        (code, out, err, seen.iter().collect::<Vec<String>>())
    };
    let (code, out, err, _) = status(answers, &token());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    for says in [
        "dead runs",
        "run retry --state dead",
        "no worker has claimed it",
        "worker approve",
        "1 running",
        "1 wait for a decision",
    ] {
        assert!(out.contains(says), "{says}: {out}");
    }
    let nothing = || page(&[]);
    let (_, out, _, _) = status((0..6).map(|_| nothing()).collect(), &token());
    assert!(out.starts_with("nothing is wrong\n"), "{out}");

    // Operators are asked nothing of a project's, and see counts.
    let operator = token().replace("healthcare", "~system");
    let projects = page(&[json!({ "project": "healthcare" })]);
    let activity = json!({ "complete": true, "projects": [{ "project": "healthcare", "unfinished": 7,
        "oldest_created_at": "2026-01-31T08:00:00Z", "waiting": 3, "overdue": 2 }] });
    let answers = vec![projects, (200, activity), nothing()];
    let (code, out, err, asked) = status(answers, &operator);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    for says in [
        "healthcare  7 ",
        "  3        2\n",
        "projects             1",
        "wait for a worker",
        "function `sweep`",
    ] {
        assert!(out.contains(says), "{says}: {out}");
    }
    for (asked, begin) in asked.iter().zip(["projects?", "activity ", "revocations?"]) {
        assert!(asked.starts_with(&format!("GET /v1/{begin}")), "{asked}");
    }
}
