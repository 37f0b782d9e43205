//! Commands that really run: bare ones behind their guard, and sandboxed ones behind a stand-in for
//! `sealfleet-init` that speaks its protocol.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sealfleet_bubblewrap::{Launcher, LauncherConfig, Limits, Network, build_rootfs};
use sealfleet_client::types::Claim;
use sealfleet_domain::run::Failure;
use sealfleet_worker::executor::bare::Bare;
use sealfleet_worker::executor::sandboxed::{Builtin, Sandboxed};
use sealfleet_worker::executor::{Ended, Executor, Logs, Running};
use serde_json::{Value, json};

const RUN: &str = "run_0198c0de-0000-7000-8000-00000000000a";

fn claim(mode: &str, script: &str, secrets: &Value) -> Claim {
    serde_json::from_value(json!({
        "project": "healthcare", "run_id": RUN, "step_id": "a", "fence": 1, "attempt": 1, "lease_seconds": 30,
        "mode": mode, "command": ["/bin/sh", "-c", script], "env": {"KNOB": "of the step"}, "secrets": secrets,
        "timeout_seconds": 600
    }))
    .unwrap()
}

fn logs(place: &Path) -> Logs {
    Logs {
        directory: place.join("logs"),
        most_bytes: 1 << 20,
    }
}

fn output(place: &Path) -> String {
    std::fs::read_to_string(place.join(format!("logs/{RUN}/a.1.log"))).unwrap()
}

fn bare(place: &Path) -> Bare {
    Bare {
        program: env!("CARGO_BIN_EXE_sealfleet-worker").into(),
        logs: logs(place),
    }
}

async fn start(executor: &impl Executor, claim: &Claim) -> Box<dyn Running> {
    let prepared = executor.prepare(claim).await.unwrap();
    prepared.go().await.unwrap()
}

fn alive(pid: &str) -> bool {
    // A zombie nobody has reaped yet runs no more.
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    status
        .rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_bare_command_has_a_clean_environment_and_its_exit_is_told_exactly() {
    let place = tempfile::tempdir().unwrap();
    let bare = bare(place.path());
    let none = json!([]);
    let running = start(&bare, &claim("bare", "env; pwd >&2; exit 7", &none)).await;
    assert_eq!(running.wait().await, Ended::Code(7));
    let text = output(place.path());
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .collect();
    let known = [
        "PATH", "LANG", "HOME", "TMPDIR", "KNOB", "PWD", "SHLVL", "_", "OLDPWD",
    ];
    assert!(
        names.iter().all(|name| known.contains(name)) && text.contains("KNOB=of the step"),
        "{text}"
    );
    for (script, ended) in [
        ("kill -KILL $$", Ended::Signal(9)),
        ("kill -TERM $$", Ended::Signal(15)),
        ("exit 0", Ended::Code(0)),
    ] {
        assert_eq!(
            start(&bare, &claim("bare", script, &none))
                .await
                .wait()
                .await,
            ended,
            "{script}"
        );
    }
    let mut missing = claim("bare", "", &none);
    missing.command = vec!["no-such-program".to_owned()];
    assert_eq!(start(&bare, &missing).await.wait().await, Ended::Code(127));
}

#[tokio::test]
async fn a_bare_command_ends_with_all_its_processes() {
    let place = tempfile::tempdir().unwrap();
    let bare = bare(place.path());
    let pids = place.path().join("pids");
    let script = format!(
        "trap '' TERM; sleep 100 & echo $! > {p}.new; mv {p}.new {p}; wait",
        p = pids.display()
    );
    let spawn = || async {
        drop(std::fs::remove_file(&pids));
        let running = start(&bare, &claim("bare", &script, &json!([]))).await;
        until("the command runs", || pids.exists()).await;
        (running, std::fs::read_to_string(&pids).unwrap())
    };
    let (running, child) = spawn().await;
    assert!(alive(&child));
    assert_eq!(
        running.stop(Duration::from_millis(300)).await,
        Ended::Signal(9)
    );
    until("the child is gone", || !alive(&child)).await;

    let other = bare
        .prepare(&claim("bare", "true", &json!([])))
        .await
        .unwrap();
    assert!(
        other.sandbox().len() <= sealfleet_domain::limits::NAME_BYTES,
        "{}",
        other.sandbox()
    );

    let (running, child) = spawn().await;
    drop(running);
    until("a dropped command's child is gone", || !alive(&child)).await;

    let (running, child) = spawn().await;
    assert_eq!(running.stop(Duration::ZERO).await, Ended::Signal(9));
    until("the child is gone at once", || !alive(&child)).await;
}

#[tokio::test]
async fn a_bare_command_may_end_by_itself_when_it_is_asked_to() {
    let place = tempfile::tempdir().unwrap();
    let ready = place.path().join("ready");
    let script = format!(
        "trap 'exit 3' TERM; : > {}; while :; do sleep 0.05; done",
        ready.display()
    );
    let running = start(&bare(place.path()), &claim("bare", &script, &json!([]))).await;
    until("the command runs", || ready.exists()).await;
    assert_eq!(running.stop(Duration::from_secs(10)).await, Ended::Code(3));
}

/// Speaks the protocol of `sealfleet-init exec`: answers with the content of the store, waits for
/// the go, and runs a fixed command that shows what it was given.
const STAND_IN: &str = r#"#!/bin/sh
step=$(cat <&3)
if [ "$8" = --builtin-store-fd ]; then answer=$(cat <&6); else answer='{"resolved":[]}'; fi
echo "$answer" >&4
exec 4>&-
go=$(head -c1 <&5)
[ "$go" = g ] || exit 125
echo "step=$step"
echo "arguments=$*"
echo "environment=$(env | sort | tr '\n' ' ')"
case "$step" in *loop*) while :; do sleep 1; done;; *memory*) tail /dev/zero;; *) exit 4;; esac
"#;

/// The answer of the stand-in is what stands in the store.
async fn sandboxed(place: &Path, answer: Option<&Value>) -> Sandboxed {
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let init = place.join("init");
    std::fs::write(&init, STAND_IN).unwrap();
    let rootfs = build_rootfs(&place.join("rootfs"), &init).unwrap();
    let builtin = answer.map(|answer| {
        let (store, key) = (place.join("store"), place.join("key"));
        std::fs::write(&store, answer.to_string()).unwrap();
        std::fs::write(&key, "key").unwrap();
        Builtin { store, key }
    });
    let launcher = Launcher::detect(LauncherConfig::new(rootfs)).await.unwrap();
    let limits = Limits {
        memory_bytes: 64 << 20,
        ..Limits::default()
    };
    Sandboxed {
        launcher,
        builtin,
        network: Network::None,
        limits,
        logs: logs(place),
    }
}

fn secret() -> Value {
    json!([{"name": "API_KEY", "uri": "builtin://crm/api-key", "arn": "arn:x", "from": "crm"}])
}

#[tokio::test]
async fn a_sandboxed_command_runs_only_after_go() {
    let place = tempfile::tempdir().unwrap();
    let sandboxed = sandboxed(place.path(), None).await;
    let step = claim("sandboxed", "x", &secret());
    let prepared = sandboxed.prepare(&step).await.unwrap();
    assert_eq!(prepared.resolved(), &BTreeMap::new());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(output(place.path()), "", "nothing runs before the go");
    let running = prepared.go().await.unwrap();
    assert_eq!(running.wait().await, Ended::Code(4));
    let text = output(place.path());
    let step = r#"step={"project":"healthcare","command":["/bin/sh","-c","x"],"env":{"KNOB":"of the step"},"secrets":[]}"#;
    assert!(text.contains(step), "{text}");
    assert!(
        text.contains("arguments=exec --step-fd 3 --status-fd 4 --go-fd 5\n"),
        "{text}"
    );
    assert!(
        !text.contains("SEALFLEET") && !text.contains("CARGO"),
        "{text}"
    );

    drop(
        sandboxed
            .prepare(&claim("sandboxed", "x", &json!([])))
            .await
            .unwrap(),
    );
    until("a dropped one is gone", || {
        output(place.path()).matches("step=").count() == 1
    })
    .await;
}

#[tokio::test]
async fn an_identity_step_tells_the_versions_that_were_resolved() {
    let place = tempfile::tempdir().unwrap();
    let answer =
        json!({"resolved": [{"name": "API_KEY", "uri": "builtin://crm/api-key", "version": "v3"}]});
    let sandboxed = sandboxed(place.path(), Some(&answer)).await;
    let prepared = sandboxed
        .prepare(&claim("identity", "x", &secret()))
        .await
        .unwrap();
    assert_eq!(
        prepared.resolved(),
        &BTreeMap::from([("API_KEY".to_owned(), "v3".to_owned())])
    );
    prepared.go().await.unwrap().wait().await;
    let text = output(place.path());
    let secrets = r#""secrets":[{"name":"API_KEY","uri":"builtin://crm/api-key","version":null}]"#;
    assert!(
        text.contains(secrets) && text.contains("--builtin-store-fd 6 --builtin-key-fd 7"),
        "{text}"
    );

    let pinned = json!([{"name": "API_KEY", "uri": "builtin://crm/api-key", "version": "v2", "from": "crm"}]);
    let Err(failure) = sandboxed.prepare(&claim("identity", "x", &pinned)).await else {
        panic!("another version")
    };
    assert!(
        matches!(failure, Failure::SecretUnavailable { .. }),
        "{failure:?}"
    );
    let other = json!([{"name": "OTHER_KEY", "uri": "builtin://crm/api-key", "from": "crm"}]);
    let Err(failure) = sandboxed.prepare(&claim("identity", "x", &other)).await else {
        panic!("another secret")
    };
    assert!(
        matches!(failure, Failure::CannotStart { .. }),
        "{failure:?}"
    );
}

/// A claim of two secrets for one tool, under these access lists.
fn claim_of_tool(tool: &str, tools: &Value) -> Claim {
    let mut secrets = secret();
    secrets
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "OTHER_KEY", "uri": "builtin://crm/other", "from": "crm"}));
    let mut claim = claim("identity", "x", &secrets);
    claim.tool = Some(tool.parse().unwrap());
    claim.tools = serde_json::from_value(tools.clone()).unwrap();
    claim
}

#[tokio::test]
async fn a_tool_gets_the_secrets_that_it_is_granted_and_no_others() {
    let place = tempfile::tempdir().unwrap();
    let answer =
        json!({"resolved": [{"name": "API_KEY", "uri": "builtin://crm/api-key", "version": "v3"}]});
    let sandboxed = sandboxed(place.path(), Some(&answer)).await;
    let lists = json!({"claude": ["API_KEY"], "shell": ["*"], "other": ["OTHER_KEY"], "codex": []});
    let prepared = sandboxed
        .prepare(&claim_of_tool("claude", &lists))
        .await
        .unwrap();
    assert_eq!(
        prepared.resolved(),
        &BTreeMap::from([("API_KEY".to_owned(), "v3".to_owned())])
    );
    prepared.go().await.unwrap().wait().await;
    let text = output(place.path());
    assert!(
        text.contains(r#""tool":"claude","tools":{"claude":["API_KEY"],"#),
        "{text}"
    );

    // A sandbox that resolves more than is granted, or less, does not start.
    for tool in ["other", "shell"] {
        let Err(failure) = sandboxed.prepare(&claim_of_tool(tool, &lists)).await else {
            panic!("{tool}")
        };
        assert!(
            matches!(failure, Failure::CannotStart { .. }),
            "{failure:?}"
        );
    }
    // Where nothing is granted, the sandbox has no store to resolve from.
    for tool in ["codex", "unlisted"] {
        let prepared = sandboxed
            .prepare(&claim_of_tool(tool, &lists))
            .await
            .unwrap();
        assert_eq!(prepared.resolved(), &BTreeMap::new());
        prepared.go().await.unwrap().wait().await;
    }
    assert_eq!(
        output(place.path()).matches("--builtin-store-fd").count(),
        1
    );
}

#[tokio::test]
async fn a_secret_that_cannot_be_resolved_is_a_failure_by_name() {
    let place = tempfile::tempdir().unwrap();
    let answer = json!({"error": {"code": "unknown_secret", "message": "`crm/api-key` is not in the store"}});
    let sandboxed = sandboxed(place.path(), Some(&answer)).await;
    let Err(failure) = sandboxed.prepare(&claim("identity", "x", &secret())).await else {
        panic!("resolved")
    };
    let detail = "unknown_secret: `crm/api-key` is not in the store".to_owned();
    assert_eq!(failure, Failure::SecretUnavailable { detail });
    std::fs::remove_file(place.path().join("store")).unwrap();
    let Err(failure) = sandboxed.prepare(&claim("identity", "x", &secret())).await else {
        panic!("resolved")
    };
    assert!(
        matches!(failure, Failure::SecretUnavailable { .. }),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_sandbox_is_killed_and_its_memory_is_bounded() {
    let place = tempfile::tempdir().unwrap();
    let sandboxed = sandboxed(place.path(), None).await;
    let running = start(&sandboxed, &claim("sandboxed", "loop", &json!([]))).await;
    assert_eq!(running.stop(Duration::ZERO).await, Ended::Signal(9));
    let running = start(&sandboxed, &claim("sandboxed", "memory", &json!([]))).await;
    let ended = running.wait().await;
    assert!(matches!(ended, Ended::OutOfMemory), "{ended:?}");
}
