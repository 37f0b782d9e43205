//! Uses `sealfleet-local` as a person does: what it starts, and that it leaves nothing behind,
//! however it ends.
//!
//! The real templates are deployed to the real emulator. These tests call no function, so any
//! binary can stand in for the functions.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use sealfleet_local::{Process, Stack, deploy_project};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const READY: &str = "#!/bin/sh\necho ready\nexec sleep 600\n";
const NEVER_READY: &str = "#!/bin/sh\necho no port >&2\nexit 3\n";
const SILENT: &str = "#!/bin/sh\nexec sleep 600\n";

/// A directory for one stack. Takes the stack down when the test ends, even if it fails.
struct TestStack {
    directory: TempDir,
    fargate: PathBuf,
}

impl TestStack {
    fn new(fargate: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("local-ecs");
        fs::write(&path, fargate).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(directory.path().join("usr/bin")).unwrap();
        fs::copy("/bin/true", directory.path().join("usr/bin/true")).unwrap();
        let packed = Command::new("tar")
            .args(["--create", "--file=root.tar", "usr"])
            .current_dir(directory.path())
            .status();
        assert!(packed.unwrap().success());
        Self {
            directory,
            fargate: path,
        }
    }

    fn stack(&self) -> PathBuf {
        self.directory.path().join("stack")
    }

    fn local(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealfleet-local"));
        command
            .args(arguments)
            .arg("--dir")
            .arg(self.stack())
            .stdin(Stdio::null());
        command
    }

    fn up(&self) -> Command {
        let mut command = self.local(&["up", "--functions", "/bin/true", "--init", "/bin/true"]);
        command.arg("--ecs").arg(&self.fargate);
        command.arg("--sandbox-root");
        command.arg(self.directory.path().join("root.tar"));
        command
    }

    fn started(&self) -> Vec<Process> {
        let Ok(text) = fs::read_to_string(self.stack().join("processes.json")) else {
            return Vec::new();
        };
        let processes: serde_json::Value = serde_json::from_str(&text).unwrap();
        let started = processes["started"].as_object().unwrap().values();
        started
            .map(|process| serde_json::from_value(process.clone()).unwrap())
            .collect()
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "timed out waiting for: {what}");
            sleep(Duration::from_millis(20));
        }
    }

    fn assert_clean(&self, processes: &[Process]) {
        assert!(!processes.is_empty());
        assert!(
            processes.iter().all(|process| !process.is_alive()),
            "a process was left over"
        );
        let left: Vec<String> = fs::read_dir(self.stack())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !["lock", "logs"].contains(&name.as_str()))
            .collect();
        assert!(left.is_empty(), "left over: {left:?}");
    }
}

impl Drop for TestStack {
    fn drop(&mut self) {
        let _ = self.local(&["down"]).output();
    }
}

fn succeed(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn fail(output: Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn up_deploys_what_down_removes() {
    let place = TestStack::new(READY);
    succeed(place.up().output().unwrap());
    let stack = Stack::load(&place.stack()).unwrap();
    assert!(stack.api_url.starts_with(&stack.endpoint));
    assert_eq!(
        stack.audit_bucket,
        format!("sealfleet-audit-{}-{}", stack.account_id, stack.region)
    );
    assert!(stack.sandbox_image.starts_with("sealfleet/sandbox@sha256:"));
    let rootfs = place.stack().join("rootfs");
    assert_eq!(
        fs::read(rootfs.join("sealfleet-init")).unwrap(),
        fs::read("/bin/true").unwrap()
    );

    let status: serde_json::Value = serde_json::from_str(&succeed(
        place
            .local(&["status", "--output", "json"])
            .output()
            .unwrap(),
    ))
    .unwrap();
    assert_eq!(status["up"], true);
    assert_eq!(status["api_url"], stack.api_url);

    assert!(fail(place.up().output().unwrap()).contains("already up"));

    succeed(place.local(&["project", "finance"]).output().unwrap());
    deploy_project(&stack, "healthcare", Some("workers"), None)
        .await
        .unwrap();
    deploy_project(&stack, "healthcare", Some("workers"), Some("fargate"))
        .await
        .unwrap();
    let refusal = deploy_project(&stack, "a--b", Some("workers"), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("single hyphens"), "{refusal}");
    let refusal = deploy_project(&stack, "one", Some("pool"), Some("pool"))
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("must differ"), "{refusal}");

    let processes = place.started();
    succeed(place.local(&["down"]).output().unwrap());
    place.assert_clean(&processes);
    assert!(
        fail(place.local(&["project", "finance"]).output().unwrap()).contains("sealfleet-local up")
    );
    assert!(!place.local(&["status"]).output().unwrap().status.success());
    succeed(place.local(&["down"]).output().unwrap());
}

#[test]
fn a_failed_up_says_why_and_leaves_nothing() {
    let place = TestStack::new(NEVER_READY);
    let refusal = fail(place.up().output().unwrap());
    assert!(
        refusal.contains("local-ecs did not become ready") && refusal.contains("no port"),
        "{refusal}"
    );
    assert!(place.started().is_empty());
    assert!(read(&place.stack().join("logs/local-ecs.log")).contains("no port"));

    let refusal = fail(
        place
            .local(&["up", "--functions", "/nowhere"])
            .output()
            .unwrap(),
    );
    assert!(
        refusal.contains("`/nowhere`") && refusal.contains("--functions"),
        "{refusal}"
    );
}

#[test]
fn an_interrupted_up_leaves_nothing() {
    let place = TestStack::new(SILENT);
    let child = place.up().stderr(Stdio::piped()).spawn().unwrap();
    place.wait_for("both servers", |place| place.started().len() == 2);
    let processes = place.started();
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    place.assert_clean(&processes);
}

#[test]
fn a_killed_up_is_cleaned_up_by_down() {
    let place = TestStack::new(SILENT);
    let mut child = place.up().stderr(Stdio::null()).spawn().unwrap();
    place.wait_for("both servers", |place| place.started().len() == 2);
    let processes = place.started();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(processes.iter().all(|process| process.is_alive()));
    succeed(place.local(&["down"]).output().unwrap());
    place.assert_clean(&processes);
}

#[test]
fn a_stack_ends_with_its_parent() {
    let place = TestStack::new(READY);
    let mut parent = Command::new("sleep").arg("600").spawn().unwrap();
    succeed(
        place
            .up()
            .args(["--parent-pid", &parent.id().to_string()])
            .output()
            .unwrap(),
    );
    let processes = place.started();
    assert_eq!(processes.len(), 3);
    parent.kill().unwrap();
    parent.wait().unwrap();
    place.wait_for("the stack to end", |place| {
        !place.stack().join("processes.json").exists()
    });
    place.wait_for("the supervisor to end", |_| {
        processes.iter().all(|process| !process.is_alive())
    });
    place.assert_clean(&processes);
}
