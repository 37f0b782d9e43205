//! Tests the program itself with real sandboxes: what a kill and a shutdown leave behind. Needs
//! bubblewrap, but not AWS.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

struct Program {
    child: Child,
    port: u16,
}

impl Program {
    /// Starts the program on a free port and waits for `ready`. No AWS listens at its endpoint.
    fn start(directory: &Path) -> Self {
        let free = || {
            TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        let (port, nothing) = (free(), free());
        let mut child = Command::new(env!("CARGO_BIN_EXE_sealfleet-local-ecs"))
            .args([
                "--port",
                &port.to_string(),
                "--aws-endpoint",
                &format!("http://127.0.0.1:{nothing}"),
            ])
            .args([
                "--region",
                "eu-west-1",
                "--account-id",
                "000000000000",
                "--observe-function",
                "observe",
            ])
            .arg("--rootfs")
            .arg(directory.join("rootfs"))
            .arg("--state-dir")
            .arg(directory.join("state"))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self { child, port }
    }

    fn request(&self, method: &str, path: &str, target: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nx-amz-target: AmazonEC2ContainerServiceV20141113.{target}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn ecs(&self, operation: &str, body: &Value) -> Value {
        self.request("POST", "/", operation, body)
    }

    /// Starts a sandbox that runs `script`. Returns the task's ARN.
    fn run(&self, script: &str, stop_timeout: u32) -> String {
        self.run_with(script, stop_timeout, &[])
    }

    /// The same, with a volume at each of `paths`.
    fn run_with(&self, script: &str, stop_timeout: u32, paths: &[&str]) -> String {
        let name = |path: &str| path.trim_start_matches('/').to_owned();
        let volumes: Vec<Value> = paths
            .iter()
            .map(|path| json!({ "name": name(path) }))
            .collect();
        let mounts: Vec<Value> = paths
            .iter()
            .map(|path| json!({ "sourceVolume": name(path), "containerPath": path }))
            .collect();
        let image = self.request("GET", "/_local/health", "", &json!({}))["image"].clone();
        let definition = self.ecs(
            "RegisterTaskDefinition",
            &json!({
                "family": "test", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
                "cpu": "256", "memory": "512", "volumes": volumes,
                "containerDefinitions": [{
                    "mountPoints": mounts,
                    "name": "sandbox", "image": image, "entryPoint": ["/bin/sh", "-c"], "command": [script],
                    "stopTimeout": stop_timeout,
                }],
            }),
        );
        let answer = self.ecs(
            "RunTask",
            &json!({
                "cluster": "sealfleet", "taskDefinition": definition["taskDefinition"]["taskDefinitionArn"],
                "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["subnet-1"] } },
            }),
        );
        answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned()
    }

    fn wait_for(&self, arn: &str, status: &str) -> Value {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            let answer = self.ecs(
                "DescribeTasks",
                &json!({ "cluster": "sealfleet", "tasks": [arn] }),
            );
            if answer["tasks"][0]["lastStatus"] == status {
                return answer["tasks"][0].clone();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{arn} is not {status}");
    }

    fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill")
                .args([signal, &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    // Sandboxes run under their own uid, which must be able to reach the root file system.
    Command::new("chmod")
        .arg("755")
        .arg(directory.path())
        .status()
        .unwrap();
    sealfleet_bubblewrap::build_rootfs(&directory.path().join("rootfs"), Path::new("/bin/true"))
        .unwrap();
    directory
}

/// Whether a process on this host has `marker` in its command line.
fn runs(marker: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| {
            line.windows(marker.len())
                .any(|window| window == marker.as_bytes())
        })
    })
}

#[test]
fn a_kill_ends_the_sandboxes_and_the_next_start_reports_their_tasks_stopped() {
    let directory = directory();
    let mut program = Program::start(directory.path());
    let marker = format!("sleep 61.{}", std::process::id());
    let arn = program.run(&format!("while :; do {marker}; done"), 2);
    program.wait_for(&arn, "RUNNING");
    let until = Instant::now() + Duration::from_secs(30);
    while !runs(&marker) {
        assert!(Instant::now() < until, "the sandbox runs");
    }
    program.signal("-KILL");
    program.child.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while runs(&marker) {
        assert!(Instant::now() < until, "the sandbox outlives the program");
    }

    let program = Program::start(directory.path());
    let task = program.wait_for(&arn, "STOPPED");
    assert_eq!(task["stopCode"], "InfrastructureHealth");
    assert_eq!(task["containers"][0].get("exitCode"), None);
}

#[test]
fn termination_stops_the_tasks_in_order_and_then_ends_the_program() {
    let directory = directory();
    let mut program = Program::start(directory.path());
    let arn = program.run("trap 'exit 7' TERM; while :; do sleep 0.05; done", 30);
    program.wait_for(&arn, "RUNNING");
    program.signal("-TERM");
    assert!(program.child.wait().unwrap().success());

    let program = Program::start(directory.path());
    let task = program.wait_for(&arn, "STOPPED");
    assert_eq!(
        (&task["stopCode"], &task["containers"][0]["exitCode"]),
        (&json!("TerminationNotice"), &json!(7))
    );
}

#[test]
fn a_sandbox_cannot_call_ecs_though_it_shares_the_network() {
    if !Command::new("id")
        .arg("-u")
        .output()
        .unwrap()
        .stdout
        .starts_with(b"0\n")
    {
        eprintln!("skipped: only sandboxes of a launcher that is root have uids of their own");
        return;
    }
    let directory = directory();
    let program = Program::start(directory.path());
    // The script exits with 9 if the call is refused. Bash opens the connection itself.
    let script = format!(
        "exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}; printf \"GET /_local/tasks HTTP/1.1\\r\\nhost: x\\r\\nconnection: \
         close\\r\\n\\r\\n\" >&3; grep -q AccessDeniedException <&3 && exit 9'",
        program.port
    );
    let arn = program.run(&script, 2);
    let task = program.wait_for(&arn, "STOPPED");
    assert_eq!(task["containers"][0]["exitCode"], 9);
}

/// Exits with 0 if exactly `expected`, by spaces, are the directories that take a new file, outside
/// of `/proc` and shared memory.
fn writable(expected: &str) -> String {
    format!(
        "found=$(for d in $(find / -maxdepth 3 \\( -path /proc -o -path /dev/shm \\) -prune -o -type d -print \
         2>/dev/null); do (: >\"$d/probe\") 2>/dev/null && echo \"$d\"; done | sort | xargs); \
         [ \"$found\" = \"{expected}\" ]"
    )
}

#[test]
fn a_step_can_write_to_the_volumes_of_its_definition_and_nowhere_else() {
    let directory = directory();
    let program = Program::start(directory.path());
    for paths in [vec![], vec!["/workspace"], vec!["/tmp", "/workspace"]] {
        let arn = program.run_with(&writable(&paths.join(" ")), 2, &paths);
        let task = program.wait_for(&arn, "STOPPED");
        assert_eq!(task["containers"][0]["exitCode"], 0, "{paths:?}: {task}");
    }
}
