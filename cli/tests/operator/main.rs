//! The operators' commands as they are typed, against an API of a few lines.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod again;
mod contain;
mod contexts;
mod identity;
mod lists;
mod secrets;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use sealfleet_domain::{Clock as _, EventId};
use sealfleet_system::SystemClock;
use serde_json::{Value, json};

const TOKEN: &str = "sft.healthcare.tok_0198c0de-0000-7000-8000-00000000000a.canary";
const RUN: &str = "run_0198c0de-0000-7000-8000-00000000000a";

/// Answers each request with the next answer, and hands out what was asked.
fn api(answers: Vec<(u16, Value)>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut connection, _) = listener.accept().unwrap();
            sender.send(request(&mut connection)).unwrap();
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            connection.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (url, seen)
}

/// One request, head and body.
fn request(connection: &mut TcpStream) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 65536]);
    loop {
        let read = connection.read(&mut bytes).unwrap();
        text += &String::from_utf8_lossy(&bytes[..read]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        if body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

fn token_file(place: &Path) -> PathBuf {
    let path = place.join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn sealfleet(arguments: &[&str], input: &str) -> Output {
    sealfleet_in(&[], arguments, input)
}

fn sealfleet_in(environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealfleet"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its input closes it.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn run_view(state: &str, step: &str) -> Value {
    let step =
        json!({"id": "a", "state": step, "mode": "bare", "pool": "p", "attempt": 1, "fence": 1});
    json!({"run_id": RUN, "workflow": "w", "state": state, "created_at": "2026-01-31T08:00:00Z", "steps": [step]})
}

#[test]
fn options_stand_before_or_after_the_command_and_the_token_may_come_by_standard_input() {
    let page = json!({"items": [{"run_id": RUN, "workflow": "w", "state": "queued", "created_at": "2026-01-31T08:00:00Z"}]});
    let (url, seen) = api(vec![(200, page.clone()), (200, page)]);
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let file = file.to_str().unwrap();
    let (code, out, err) = texts(&sealfleet(
        &["--api-url", &url, "--token-file", file, "run", "list"],
        "",
    ));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.starts_with("RUN ") && out.contains(RUN) && out.contains("queued"),
        "{out}"
    );
    assert!(seen.recv().unwrap().contains(&format!("Bearer {TOKEN}")));

    let arguments = [
        "run",
        "list",
        "--api-url",
        &url,
        "--token-file",
        "-",
        "--output",
        "json",
        "--state",
        "queued",
    ];
    let (code, out, _) = texts(&sealfleet(&arguments, TOKEN));
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, list["items"][0]["run_id"].as_str()),
        (Some(0), Some(RUN))
    );
    let request = seen.recv().unwrap();
    assert!(
        request.contains("state=queued") && request.contains(TOKEN),
        "{request}"
    );
}

#[test]
fn a_trail_is_searched_by_every_filter_and_read_to_its_last_page() {
    let entry = |last: char| {
        let event = json!({"type": "secret.revocation_lifted", "profile": "crm", "key": "K",
            "revocation_id": "rev_0198c0de-0000-7000-8000-00000000000a"});
        json!({"event_id": format!("evt_0198c0de-0000-7000-8000-00000000000{last}"), "at": "2026-01-31T08:00:00.000Z",
            "project": "healthcare", "actor": "token:x", "events": [event]})
    };
    // The first page is empty and has more: it ended when it had looked at enough.
    let pages = [
        json!({"items": [], "next_cursor": "c1"}),
        json!({"items": [entry('1')]}),
        entry('2'),
    ];
    let (url, seen) = api(pages.into_iter().map(|page| (200, page)).collect());
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let connection = [
        "--api-url",
        &url,
        "--token-file",
        file.to_str().unwrap(),
        "--output",
        "json",
    ];
    let filters = [
        "--run",
        RUN,
        "--profile",
        "system/base",
        "--key",
        "K",
        "--actor",
        "token:x",
        "--type",
        "run.denied,secret.released",
        "--type",
        "secret.revoked",
        "--from",
        "2026-01-31T00:00:00Z",
        "--to",
        "2026-01-31T12:00:00Z",
        "--project",
        "healthcare",
    ];
    let (code, out, err) = texts(&sealfleet(
        &[&["audit", "list"], &filters[..], &connection].concat(),
        "",
    ));
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, list["items"][0]["project"].as_str(), err.as_str()),
        (Some(0), Some("healthcare"), "")
    );
    for page in ["", "cursor=c1"] {
        let request = seen.recv().unwrap();
        let line = request
            .lines()
            .next()
            .unwrap()
            .replace("%2F", "/")
            .replace("%3A", ":")
            .replace("%2C", ",");
        for filter in [
            page,
            &format!("run={RUN}"),
            "profile=system/base",
            "key=K",
            "actor=token:x",
            "project=healthcare",
            "type=run.denied,secret.released,secret.revoked",
            "from=2026-01-31T00:00:00.000Z",
            "to=2026-01-31T12:00:00.000Z",
        ] {
            assert!(line.contains(filter), "{filter}: {line}");
        }
    }
    let id = "evt_0198c0de-0000-7000-8000-000000000002";
    let (code, out, _) = texts(&sealfleet(
        &[&["audit", "show", id], &connection[..]].concat(),
        "",
    ));
    assert!(code == Some(0) && out.contains(id), "{out}");
    assert!(
        seen.recv()
            .unwrap()
            .starts_with(&format!("GET /v1/audit/{id} "))
    );
}

#[test]
fn a_trail_that_is_followed_is_printed_as_it_comes_and_each_entry_once() {
    let now = SystemClock.now();
    let entry = |name: char| {
        json!({"event_id": EventId::of(now, &name.to_string()), "at": now,
            "project": "healthcare", "actor": "token:x", "events": [{"type": "run.finished", "state": "succeeded"}]})
    };
    let mut late = entry('0');
    late["events"] = json!([{"type": "secret.read_unexplained", "secret": "s", "by": "b", "why": "in_a_batch",
        "cloudtrail_event_id": "c", "read_at": "2025-08-19T05:47:11.232Z"}]);
    let pages = [vec![entry('1')], vec![late], vec![entry('1'), entry('2')]];
    // Then the API is gone, and so is the follower.
    let (url, seen) = api(pages
        .into_iter()
        .map(|items| (200, json!({"items": items})))
        .collect());
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let arguments = [
        "audit",
        "follow",
        "--api-url",
        &url,
        "--token-file",
        file.to_str().unwrap(),
        "--output",
        "json",
    ];
    let (_, out, _) = texts(&sealfleet(&arguments, ""));
    let ids: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event_id"].clone())
        .collect();
    assert_eq!(
        ids,
        ['1', '0', '2'].map(|name| entry(name)["event_id"].clone())
    );
    // What enters late is asked for on its own, beside what is new.
    let asked: Vec<bool> = seen
        .iter()
        .map(|request| request.contains("type=secret.read_unexplained%2Csecret.revoked"))
        .collect();
    assert_eq!(asked, [false, true, false]);
}

#[test]
fn exit_codes_tell_usage_refusal_and_failure_apart() {
    let problem = json!({"type": "t", "title": "There is nothing here.", "status": 404, "detail": "d", "code": "not_found"});
    let (url, _seen) = api(vec![(404, problem)]);
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let file = file.to_str().unwrap();
    let (code, _, err) = texts(&sealfleet(
        &["run", "show", RUN, "--api-url", &url, "--token-file", file],
        "",
    ));
    assert!(code == Some(3) && err.contains("not_found"), "{err}");
    let nobody = "http://127.0.0.1:1";
    let (code, _, err) = texts(&sealfleet(
        &["worker", "list", "--api-url", nobody, "--token-file", file],
        "",
    ));
    assert!(
        code == Some(1) && err.contains("does not answer") && !err.contains("canary"),
        "{err}"
    );
    for usage in [
        vec!["run", "list"],
        vec!["run", "show", "x"],
        vec!["token", "create"],
        vec!["nothing"],
    ] {
        assert_eq!(texts(&sealfleet(&usage, "")).0, Some(2), "{usage:?}");
    }
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, err) = texts(&sealfleet(
        &["worker", "list", "--api-url", nobody, "--token-file", file],
        "",
    ));
    assert!(code == Some(2) && err.contains("chmod 600"), "{err}");
}

#[test]
fn a_new_token_goes_to_a_private_file_and_nowhere_else() {
    let created = json!({
        "token": "sft.healthcare.x.new-canary", "token_id": "tok_0198c0de-0000-7000-8000-00000000000a", "role": "admin",
        "created_at": "2026-01-31T08:00:00Z", "expires_at": "2026-02-28T08:00:00Z"
    });
    let (url, seen) = api(vec![(201, created)]);
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let out_file = place.path().join("admin");
    let out_text = out_file.to_str().unwrap();
    let arguments = [
        "token",
        "create",
        "--role",
        "admin",
        "--project",
        "healthcare",
        "--expires-in",
        "28d",
        "--out",
        out_text,
    ];
    let all = [
        &arguments[..],
        &["--api-url", &url, "--token-file", file.to_str().unwrap()],
    ]
    .concat();
    let (code, out, err) = texts(&sealfleet(&all, ""));
    assert_eq!(code, Some(0), "{err}");
    assert!(
        !out.contains("canary") && !err.contains("canary"),
        "{out}{err}"
    );
    assert_eq!(
        std::fs::read_to_string(&out_file).unwrap().trim(),
        "sft.healthcare.x.new-canary"
    );
    assert_eq!(
        std::fs::metadata(&out_file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        seen.recv()
            .unwrap()
            .contains(r#""expires_in_seconds":2419200"#)
    );
    assert_eq!(
        texts(&sealfleet(&all, "")).0,
        Some(2),
        "the file is already there: nothing is made"
    );
}

#[test]
fn a_run_is_enqueued_from_standard_input_and_watched_to_its_end() {
    let views = [
        run_view("queued", "queued"),
        run_view("queued", "queued"),
        run_view("running", "running"),
    ];
    let mut answers: Vec<_> = views.into_iter().map(|view| (200, view)).collect();
    let mut failed = run_view("failed", "failed");
    failed["steps"][0]["failure"] = json!({"kind": "exit", "code": 7});
    answers.push((200, failed));
    let (url, seen) = api(answers);
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let connection = ["--api-url", &url, "--token-file", file.to_str().unwrap()];
    let arguments = [
        &[
            "run",
            "enqueue",
            "-f",
            "-",
            "--idempotency-key",
            "k1",
            "--watch",
        ][..],
        &connection,
    ]
    .concat();
    let run =
        r#"{"workflow":"w","steps":[{"id":"a","pool":"p","mode":"bare","command":["false"]}]}"#;
    let (code, out, err) = texts(&sealfleet(&arguments, run));
    assert_eq!(code, Some(1), "{err}");
    assert!(
        out.contains("failed") && out.contains("exit code=7"),
        "{out}"
    );
    assert!(
        err.contains("a  queued\n") && err.contains("a  running\n"),
        "{err}"
    );
    assert!(seen.recv().unwrap().contains("idempotency-key: k1"));
    let (code, _, err) = texts(&sealfleet(&arguments, r#"{"workflow":"w","stepz":[]}"#));
    assert!(code == Some(2) && err.contains("stepz"), "{err}");
}

/// A credential is not asked for before there is a place for it.
#[test]
fn what_is_shown_once_is_not_asked_for_without_a_place() {
    let place = tempfile::tempdir().unwrap();
    let taken = place.path().join("taken");
    std::fs::write(&taken, "mine").unwrap();
    let nowhere = place.path().join("no/directory");
    let create = |command: &[&str], url: &str, out: &Path| {
        let file = token_file(place.path());
        let more = [
            "--out",
            out.to_str().unwrap(),
            "--api-url",
            url,
            "--token-file",
            file.to_str().unwrap(),
        ];
        texts(&sealfleet(&[command, &more].concat(), ""))
    };
    let token = &["token", "create", "--role", "viewer"][..];
    for command in [token, &["enrolment-key", "create", "--pool", "workers"]] {
        for out in [&taken, &nowhere] {
            let (url, seen) = api(vec![]);
            let (code, _, err) = create(command, &url, out);
            assert_eq!(code, Some(2), "{command:?}: {err}");
            assert!(err.contains(out.to_str().unwrap()), "{err}");
            assert!(seen.try_recv().is_err(), "{command:?}: the API was asked");
        }
    }
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
    // Refused by the API: no empty file is left behind.
    let (url, _seen) = api(vec![identity::problem(403, "forbidden")]);
    let out = place.path().join("out");
    let (code, _, err) = create(token, &url, &out);
    assert_eq!((code, out.exists()), (Some(3), false), "{err}");
}

#[test]
fn a_secret_value_is_no_argument() {
    let put = |extra: &[&str], input: &str| {
        texts(&sealfleet(
            &[&["secret", "put", "--project", "healthcare", "crm"], extra].concat(),
            input,
        ))
    };
    let (code, out, err) = put(&[], "canary-value");
    assert!(
        code == Some(2) && !out.contains("canary") && !err.contains("canary"),
        "{err}"
    );
    assert_eq!(
        put(&["key", "canary-value"], "").0,
        Some(2),
        "there is no place for a value"
    );
    assert_eq!(
        put(&["key", "--profile", "crm"], "v").0,
        Some(2),
        "the profile's key is missing"
    );
    assert_eq!(put(&["key", "--system"], "v").0, Some(2), "one owner");
    let (code, _, err) = put(&["--token-file", "-", "key"], "v");
    assert!(code == Some(2) && err.contains("standard input"), "{err}");
}

#[test]
fn the_cas_for_aws_are_those_of_the_environment() {
    let environment = [
        ("AWS_CA_BUNDLE", "/nowhere/ca.pem"),
        ("AWS_REGION", "eu-west-1"),
    ];
    let (code, _, err) = texts(&sealfleet_in(&environment, &["token", "bootstrap"], ""));
    assert_eq!(code, Some(1));
    assert!(
        err.contains("`AWS_CA_BUNDLE` names `/nowhere/ca.pem`, which cannot be read"),
        "{err}"
    );
}

/// The row of a run as the ledger wrote it, in the sample of its stream.
fn row_of_run() -> Value {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/trail/batch.json");
    let sample: Value = serde_json::from_str(&std::fs::read_to_string(sample).unwrap()).unwrap();
    sample["Records"][1]["dynamodb"]["NewImage"].clone()
}

#[test]
fn rows_are_decoded_without_asking_anybody_and_act_on_no_terminal() {
    let show = |input: &str| texts(&sealfleet(&["run", "show", "--raw", "-"], input));
    let mut row = row_of_run();
    let (code, out, err) = show(&json!({ "Item": row }).to_string());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&shown["plan"]["workflow"], &shown["left"]),
        (&json!("w"), &json!(0))
    );
    assert_eq!(shown["e"][1]["events"][0]["type"], "run.cancelled");
    assert!(
        shown["expires_at"].as_str().unwrap().ends_with('Z'),
        "{shown}"
    );

    // Several answers, and a page of them.
    let several = format!(
        "{}\n{}",
        json!({ "Item": row }),
        json!({ "Items": [row, row], "Count": 2 })
    );
    let (_, out, _) = show(&several);
    assert_eq!(serde_json::from_str::<Vec<Value>>(&out).unwrap().len(), 3);

    let hostile = "\u{1b}[2J\u{9b}8m\u{202e}";
    row["state"]["S"] = json!(hostile);
    let (_, out, _) = show(&row.to_string());
    assert!(
        !out.contains(|letter: char| hostile.contains(letter) && !letter.is_ascii_graphic()),
        "{out:?}"
    );
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()["state"],
        hostile
    );
}

#[test]
fn what_is_no_row_is_told_plainly() {
    let mut cut = row_of_run();
    cut["plan"]["B"] = json!("AQAA");
    let of_another_format =
        json!({ "pk": { "S": "PRJ#a#RUNS#0" }, "sk": { "S": "run" }, "plan": { "B": "AAAA" } });
    for (input, why) in [
        ("", "there is no row in it"),
        ("{}", "there is no row in it"),
        ("run_0198c0de", "it is no JSON"),
        ("[1]", "it is not what `aws dynamodb get-item`"),
        ("{\"Item\": {\"pk\": 1}}", "no row in DynamoDB's JSON"),
        (&cut.to_string(), "`plan`: "),
        (&of_another_format.to_string(), "its format is not known"),
    ] {
        let (code, out, err) = texts(&sealfleet(&["run", "show", "--raw", "-"], input));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{input}: {err}");
        assert!(
            err.contains(why) && err.lines().count() == 1,
            "{input}: {err}"
        );
    }
    let neither = texts(&sealfleet(&["run", "show"], ""));
    assert_eq!(neither.0, Some(2), "{}", neither.2);
    let both = texts(&sealfleet(&["run", "show", "--raw", "-", RUN], ""));
    assert_eq!(both.0, Some(2), "{}", both.2);
}

fn project_view(version: u32, image: &str, cpu: u32) -> Value {
    json!({
        "project": "healthcare", "version": version, "created_at": "2026-01-31T08:00:00.000Z",
        "limits": { "requests_per_second": 50, "burst": 100, "own": false },
        "pools": {
            "workers": { "kind": "pull" },
            "fargate": {
                "kind": "fargate", "worker_id": "wrk_0198c0de-0000-7000-8000-00000000000a", "image": image, "cpu": cpu,
                "memory_mib": 1024, "max_concurrent": 9, "labels": { "region": "eu" }, "models": [],
            },
        },
    })
}

/// The body of a request.
fn sent(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn an_update_changes_what_is_named_and_goes_back_to_a_former_version() {
    let (old, new) = (project_view(1, "old", 256), project_view(2, "new", 512));
    let settings = |image: &str, cpu: u32| {
        json!({
            "workers": { "kind": "pull" },
            "fargate": {
                "kind": "fargate", "image": image, "cpu": cpu, "memory_mib": 1024, "max_concurrent": 9,
                "labels": { "region": "eu" },
            },
        })
    };
    let event = json!({ "type": "project.updated", "project": "healthcare", "version": 2,
        "pools": settings("new", 512), "replaced": settings("old", 256) });
    let entry = json!({ "event_id": "evt_0198c0de-0000-7000-8000-000000000001", "at": "2026-01-31T08:00:00.000Z",
        "project": "~system", "actor": "token:x", "events": [event] });
    let trail = json!({ "items": [entry] });
    let answers = [&old, &new, &new, &trail, &old, &new, &trail];
    let (url, seen) = api(answers.map(|answer| (200, answer.clone())).into());
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let run = |arguments: &[&str]| {
        let connection = ["--api-url", &url, "--token-file", file.to_str().unwrap()];
        texts(&sealfleet(&[arguments, &connection].concat(), ""))
    };

    let update = [
        "project",
        "update",
        "healthcare",
        "--image",
        "new",
        "--cpu",
        "512",
    ];
    let (code, out, err) = run(&update);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    seen.recv().unwrap();
    let put = seen.recv().unwrap();
    assert!(
        put.starts_with("PUT /v1/projects/healthcare ") && put.contains("if-match: \"1\""),
        "{put}"
    );
    let mut expected = project_view(2, "new", 512)["pools"].clone();
    expected["fargate"]
        .as_object_mut()
        .unwrap()
        .remove("worker_id");
    assert_eq!(sent(&put)["pools"], expected, "what is not named stays");

    let (code, out, err) = run(&["project", "update", "healthcare", "--to-version", "1"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    seen.recv().unwrap();
    assert!(seen.recv().unwrap().contains("type=project.updated"));
    let put = seen.recv().unwrap();
    assert!(put.contains("if-match: \"2\""), "{put}");
    expected["fargate"]["image"] = json!("old");
    expected["fargate"]["cpu"] = json!(256);
    assert_eq!(sent(&put)["pools"], expected);

    let (code, out, _) = run(&["project", "show", "healthcare", "--versions"]);
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines.len() == 5 && lines[1].ends_with("old") && lines[3].ends_with("new"),
        "{out}"
    );
}
