//! Workers: played by a test, call by call, or the real program as a process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sealfleet_client::types::{HeartbeatAnswer, StepAnswer, WorkerRegistered};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::api::{text, typed};
use crate::aws::{Keys, Service};
use crate::identity::Stored;
use crate::project::PULL;
use crate::stack::run;
use crate::{
    Aws, Caller, Failure, Outcome, Project, Reply, Stack, ensure, eventually, private_file,
    processes, unique,
};

/// A registered worker that a test plays.
#[derive(Clone)]
pub struct Worker {
    pub id: String,
    /// Its calls, with its credential.
    pub caller: Caller,
}

/// A claim that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub run: String,
    pub step: String,
    pub fence: u64,
}

/// A worker's keys to its own queue.
pub struct QueueKeys {
    pub url: String,
    pub keys: Keys,
}

/// A message of a queue.
#[derive(Debug, Clone)]
pub struct Message {
    /// The run that it names.
    pub run: String,
    /// The step that it names.
    pub step: String,
    /// The handle that deletes it.
    pub receipt: String,
}

impl Claimed {
    /// The claim as requests name it, with more members.
    pub fn with(&self, more: &Value) -> Value {
        let lease = json!({ "run_id": self.run, "step_id": self.step, "fence": self.fence });
        crate::project::merged(lease, more)
    }

    fn started(&self) -> Value {
        self.with(&json!({ "sandbox": format!("sandbox-{}", unique()) }))
    }
}

fn leases(held: &[&Claimed]) -> Value {
    json!({ "leases": held.iter().map(|claimed| claimed.with(&json!({}))).collect::<Vec<_>>() })
}

fn succeeded() -> Value {
    json!({ "state": "succeeded" })
}

impl Worker {
    /// The worker of a registration's answer.
    pub fn of(anonymous: &Caller, registered: &WorkerRegistered) -> Outcome<Self> {
        Ok(Self {
            id: registered.worker_id.to_string(),
            caller: anonymous.with(&registered.credential)?,
        })
    }

    /// Asks for a step.
    pub async fn try_claim(&self, run: &str, step: &str) -> Outcome<Reply> {
        self.caller
            .post("/v1/claims", &json!({ "run_id": run, "step_id": step }))
            .await
    }

    pub async fn claim(&self, run: &str, step: &str) -> Outcome<Claimed> {
        let claim = self
            .caller
            .client()
            .claim_step(&typed(&json!({ "run_id": run, "step_id": step }))?)
            .await?;
        Ok(Claimed {
            run: run.to_owned(),
            step: step.to_owned(),
            fence: claim.fence.number(),
        })
    }

    /// Sends a heartbeat with the claims it holds.
    pub async fn heartbeat(&self, held: &[&Claimed]) -> Outcome<HeartbeatAnswer> {
        Ok(self
            .caller
            .client()
            .send_heartbeat(&typed(&leases(held))?)
            .await?)
    }

    /// Whether the control plane says, by a heartbeat, that a claim is still held.
    pub async fn holds(&self, claimed: &Claimed) -> Outcome<bool> {
        let answer = self.heartbeat(&[claimed]).await?;
        let verdict = answer.leases.first();
        verdict
            .map(|lease| lease.held)
            .ok_or_else(|| Failure::new(format!("a heartbeat without a verdict: {answer:?}")))
    }

    /// Does `work` while heartbeats keep a claim.
    pub async fn while_held<T>(
        &self,
        claimed: &Claimed,
        work: impl Future<Output = Outcome<T>>,
    ) -> Outcome<T> {
        let beating = async {
            loop {
                match self.holds(claimed).await {
                    Ok(true) => tokio::time::sleep(Duration::from_millis(500)).await,
                    Ok(false) => break Failure::new("the lease was lost in spite of heartbeats"),
                    Err(failure) => break failure,
                }
            }
        };
        tokio::select! {
            outcome = work => outcome,
            failure = beating => Err(failure),
        }
    }

    /// Tells that its sandbox has started.
    pub async fn start(&self, claimed: &Claimed) -> Outcome<StepAnswer> {
        Ok(self
            .caller
            .client()
            .start_step(&typed(&claimed.started())?)
            .await?)
    }

    pub async fn try_start(&self, claimed: &Claimed) -> Outcome<Reply> {
        self.caller.post("/v1/starts", &claimed.started()).await
    }

    /// Reports that the step succeeded.
    pub async fn succeed(&self, claimed: &Claimed) -> Outcome<StepAnswer> {
        Ok(self
            .caller
            .client()
            .report_step(&typed(&claimed.with(&succeeded()))?)
            .await?)
    }

    /// Asks to report that the step succeeded.
    pub async fn try_succeed(&self, claimed: &Claimed) -> Outcome<Reply> {
        self.try_report(claimed, &succeeded()).await
    }

    /// Asks to report an end of a step.
    pub async fn try_report(&self, claimed: &Claimed, end: &Value) -> Outcome<Reply> {
        self.caller.post("/v1/reports", &claimed.with(end)).await
    }

    /// Its keys to its own queue.
    pub async fn queue_keys(&self) -> Outcome<QueueKeys> {
        let given = self.caller.client().get_queue_credentials().await?;
        Ok(QueueKeys {
            url: given.queue_url,
            keys: Keys {
                access_key_id: given.access_key_id,
                secret_access_key: given.secret_access_key,
                session_token: Some(given.session_token),
            },
        })
    }
}

impl QueueKeys {
    /// Takes what waits in the queue now; it stays invisible to others for `hidden_seconds`.
    pub async fn receive(&self, aws: &Aws, hidden_seconds: u32) -> Outcome<Vec<Message>> {
        self.receive_up_to(aws, 10, hidden_seconds).await
    }

    /// Takes so many messages at most, up to ten.
    pub async fn receive_up_to(
        &self,
        aws: &Aws,
        most: usize,
        hidden_seconds: u32,
    ) -> Outcome<Vec<Message>> {
        let body = json!({
            "QueueUrl": self.url, "MaxNumberOfMessages": most.min(10), "WaitTimeSeconds": 0,
            "VisibilityTimeout": hidden_seconds,
        });
        let answer = aws
            .call_as(&self.keys, Service::Sqs, "ReceiveMessage", body)
            .await?;
        ensure!(
            answer.status == 200,
            "receiving from `{}`: {}",
            self.url,
            String::from_utf8_lossy(&answer.bytes)
        );
        let messages = answer.body["Messages"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let read = messages.iter().map(|message| {
            let hint: Value = serde_json::from_str(&text(message, "Body")?)?;
            Ok(Message {
                run: text(&hint, "run_id")?,
                step: text(&hint, "step_id")?,
                receipt: text(message, "ReceiptHandle")?,
            })
        });
        read.collect()
    }

    pub async fn delete(&self, aws: &Aws, message: &Message) -> Outcome {
        let body = json!({ "QueueUrl": self.url, "ReceiptHandle": message.receipt });
        let answer = aws
            .call_as(&self.keys, Service::Sqs, "DeleteMessage", body)
            .await?;
        ensure!(
            answer.status == 200,
            "deleting a message: {}",
            String::from_utf8_lossy(&answer.bytes)
        );
        Ok(())
    }
}

/// The real `sealfleet-worker`, enrolled in the pull pool of a project, with an encrypted store of
/// that project.
pub struct WorkerProcess {
    /// Calls with its credential, as a thief of the credential's file makes them.
    pub played: Worker,
    pub pid: u32,
    /// Where its state and its log are.
    pub directory: PathBuf,
    command: Vec<String>,
    stack_id: String,
    child: Child,
}

/// The encrypted file of `builtin://` secrets beside a worker.
pub struct BuiltinStore {
    pub store: PathBuf,
    pub key: PathBuf,
    init: PathBuf,
}

impl BuiltinStore {
    /// Makes an empty one, as its owner does.
    pub async fn create(stack: &Stack, project: &Project) -> Outcome<Self> {
        let directory = stack.scratch.join(format!("builtin-{}", unique()));
        std::fs::create_dir_all(&directory)?;
        let made = Self {
            store: directory.join("store.json"),
            key: directory.join("key"),
            init: stack.binaries.join("sealfleet-init"),
        };
        made.builtin("create", &["--project", &project.id], b"")
            .await?;
        Ok(made)
    }

    /// Stores a value as a new version, which profiles refer to by [`Stored::pinned`].
    pub async fn put(&self, name: &str, value: &str) -> Outcome<Stored> {
        let told: Value =
            serde_json::from_str(&self.builtin("put", &[name], value.as_bytes()).await?)?;
        Ok(Stored {
            uri: text(&told, "uri")?,
            version: text(&told, "version")?,
            arn: None,
        })
    }

    async fn builtin(&self, verb: &str, arguments: &[&str], input: &[u8]) -> Outcome<String> {
        let mut command = Command::new(&self.init);
        command
            .args(["builtin", verb, "--store"])
            .arg(&self.store)
            .arg("--key-file")
            .arg(&self.key)
            .args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input).await?;
        }
        let output = child.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "builtin {verb}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl WorkerProcess {
    /// Enrols a worker with these labels in the pull pool and starts it. It goes with the stack.
    pub async fn start(
        stack: &Stack,
        project: &Project,
        store: &BuiltinStore,
        labels: &[(&str, &str)],
        heartbeat_seconds: u32,
    ) -> Outcome<Self> {
        let rootfs = stack.parts.directory.join("rootfs");
        Self::start_on(&rootfs, stack, project, store, labels, heartbeat_seconds).await
    }

    /// The same, with a root of its own for the worker's sandboxes.
    pub async fn start_on(
        rootfs: &Path,
        stack: &Stack,
        project: &Project,
        store: &BuiltinStore,
        labels: &[(&str, &str)],
        heartbeat_seconds: u32,
    ) -> Outcome<Self> {
        let options = [("--heartbeat-seconds", heartbeat_seconds.to_string())];
        Self::start_with(rootfs, &options, stack, project, store, labels).await
    }

    /// The same, with these options of `sealfleet-worker run`.
    pub async fn start_with(
        rootfs: &Path,
        options: &[(&str, String)],
        stack: &Stack,
        project: &Project,
        store: &BuiltinStore,
        labels: &[(&str, &str)],
    ) -> Outcome<Self> {
        let is_plain = options
            .iter()
            .all(|(option, _)| *option == "--heartbeat-seconds");
        project.workers_are(is_plain && rootfs == stack.parts.directory.join("rootfs"))?;
        let directory = stack.scratch.join(format!("worker-{}", unique()));
        std::fs::create_dir_all(&directory)?;
        let allowed: HashMap<_, _> = labels.iter().copied().collect();
        let (_, key) = project.enrolment_key(&json!({ "labels": allowed })).await?;
        let (key_file, credential) = (
            directory.join("enrolment-key"),
            directory.join("credential"),
        );
        private_file(&key_file, key.credential())?;

        let program = stack.binaries.join("sealfleet-worker");
        let both = ["--allow-bare", "--max-concurrent", "8"];
        let mut register = Command::new(&program);
        register
            .args(["--api-url", &stack.parts.api_url, "register"])
            .args(["--project", &project.id, "--pool", PULL, "--name", "live"])
            .args(
                labels
                    .iter()
                    .flat_map(|(name, value)| ["--label".to_owned(), format!("{name}={value}")]),
            )
            .args(both)
            .arg("--enrolment-key-file")
            .arg(&key_file)
            .arg("--credential-file")
            .arg(&credential);
        let told: Value = serde_json::from_str(&run(&mut register).await?)?;
        std::fs::remove_file(&key_file)?;

        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut command = vec![path(program)];
        for (option, value) in [
            ("--api-url", stack.parts.api_url.clone()),
            ("run", "--allow-bare".to_owned()),
            ("--max-concurrent", "8".to_owned()),
            ("--credential-file", path(credential.clone())),
            ("--rootfs", path(rootfs.to_owned())),
            ("--init", path(stack.binaries.join("sealfleet-init"))),
            ("--builtin-store", path(store.store.clone())),
            ("--builtin-key-file", path(store.key.clone())),
            ("--log-dir", path(directory.join("output"))),
        ] {
            command.extend([option.to_owned(), value]);
        }
        for (option, value) in options {
            command.extend([(*option).to_owned(), value.clone()]);
        }
        // The stack's leases are short, and the machine may be busy.
        if !options
            .iter()
            .any(|(option, _)| *option == "--heartbeat-seconds")
        {
            command.extend(["--heartbeat-seconds", "1"].map(str::to_owned));
        }
        let (child, pid) = spawned(&command, &directory, &stack.parts.id)?;
        let credential = std::fs::read_to_string(&credential)?;
        Ok(Self {
            played: Worker {
                id: text(&told, "worker_id")?,
                caller: stack.anonymous.with(credential.trim())?,
            },
            pid,
            directory,
            command,
            stack_id: stack.parts.id.clone(),
            child,
        })
    }

    /// Starts it again, with the credential that it had.
    pub fn restart(&mut self) -> Outcome {
        (self.child, self.pid) = spawned(&self.command, &self.directory, &self.stack_id)?;
        Ok(())
    }

    /// The output of a step, from the worker's directory.
    pub fn output(&self, claimed: &Claimed) -> String {
        let file = self
            .directory
            .join("output")
            .join(&claimed.run)
            .join(format!("{}.{}.log", claimed.step, claimed.fence));
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// The worker's own processes: itself and its launchers, not what runs inside its sandboxes.
    pub fn own_processes(&self) -> Vec<u32> {
        // A process' name has 15 characters (proc(5)).
        let launchers = processes::below(self.pid)
            .into_iter()
            .filter(|process| process.name.starts_with("sealfleet-worke"));
        std::iter::once(self.pid)
            .chain(launchers.map(|process| process.pid))
            .collect()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join("worker.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// SIGKILL, as when its machine is lost.
    pub async fn kill(&mut self) -> Outcome {
        self.child.kill().await?;
        Ok(())
    }

    /// SIGTERM, and waits until it has drained.
    pub async fn drain(&mut self, limit: Duration) -> Outcome {
        if let Some(pid) = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        eventually("the worker to drain", limit, async || {
            Ok(self.child.try_wait()?)
        })
        .await?;
        Ok(())
    }
}

fn spawned(command: &[String], directory: &Path, stack_id: &str) -> Outcome<(Child, u32)> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::new("no command"));
    };
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("worker.log"))?;
    // `sealfleet-local down` ends what carries the stack's mark, should this process not come to
    // it. Ctrl-C is for this process, which ends its workers itself.
    let child = Command::new(program)
        .args(arguments)
        .env("SEALFLEET_LOCAL_STACK", stack_id)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let pid = child
        .id()
        .ok_or_else(|| Failure::new("the worker ended at once"))?;
    Ok((child, pid))
}
