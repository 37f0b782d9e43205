//! A tenant: its project, its two workers, and its secrets, which only it knows.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use sealfleet_test_stack::api::text;
use sealfleet_test_stack::identity::Stored;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, run_of};
use sealfleet_test_stack::worker::BuiltinStore;
use sealfleet_test_stack::{
    Caller, Claimed, Failure, Outcome, Project, Stack, Worker, ensure, processes, sha256,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// The profile whose secret is in the encrypted file beside the tenant's worker.
pub const BESIDE: &str = "crm-beside-the-worker";
/// The profile whose secret is in AWS Secrets Manager.
pub const IN_AWS: &str = "crm-in-aws";

/// A tenant.
pub struct Tenant {
    /// Its project, with callers of every role.
    pub project: Project,
    /// Its worker process.
    pub worker: PullWorker,
    /// The worker that stands for its Fargate pool.
    pub fargate_worker: String,
    /// The value in the file beside its worker.
    pub beside: Canary,
    /// The value in AWS Secrets Manager.
    pub in_aws: Canary,
    /// The values of the partner's key, those of before its rotation first.
    pub partner: Vec<Canary>,
    /// The encrypted file beside its worker.
    pub store: BuiltinStore,
}

/// A secret's value that cannot occur by chance.
pub struct Canary(String);

/// A `sealfleet-worker` process.
pub struct PullWorker {
    /// The worker's id.
    pub id: String,
    /// Where its files are.
    pub directory: PathBuf,
    /// What calls with its credential, as a thief of the credential's file would.
    pub caller: Caller,
    command: Vec<String>,
    stack_id: String,
    child: Child,
    pid: u32,
}

impl Canary {
    /// A new one.
    pub fn new() -> Self {
        Self(format!(
            "sk-canary+{}/=&%{}",
            uuid::Uuid::new_v4().simple(),
            uuid::Uuid::new_v4().simple()
        ))
    }

    /// The value.
    pub fn value(&self) -> &str {
        &self.0
    }

    /// What a step prints of it.
    pub fn sha256(&self) -> String {
        sha256(self.0.as_bytes())
    }
}

impl Tenant {
    /// Deploys and onboards a project with a pull pool and a Fargate pool, and starts its worker.
    ///
    /// # Errors
    /// When any of it is refused.
    pub async fn onboard(stack: &Stack, id: &str) -> Outcome<Self> {
        let pools = json!({
            PULL: { "kind": "pull" },
            FARGATE: { "kind": "fargate", "image": stack.parts.sandbox_image, "labels": { "region": "eu" } },
        });
        let project = Project::onboard_with(stack, id, &pools).await?;
        let shown = stack.operator.client().get_project(&id.parse()?).await?;
        let fargate_worker = text(&json!(shown)["pools"][FARGATE], "worker_id")?;
        let store = BuiltinStore::create(stack, &project).await?;
        let worker = PullWorker::enrol(stack, &project, &store).await?;
        let (beside, in_aws) = (Canary::new(), Canary::new());
        Ok(Self {
            project,
            worker,
            fargate_worker,
            beside,
            in_aws,
            partner: Vec::new(),
            store,
        })
    }

    /// The project's id.
    pub fn id(&self) -> &str {
        &self.project.id
    }

    /// Stores both values where they belong, as their owner does: on standard input, past the
    /// control plane. Answers the one beside the worker, as a profile names it.
    ///
    /// # Errors
    /// When a backend refuses.
    pub async fn store_secrets(&self, stack: &Stack) -> Outcome<Stored> {
        let beside = self.store.put("crm", self.beside.value()).await?;
        let mut put = Command::new(stack.binaries.join("sealfleet"));
        put.args(["secret", "put", "crm", "api-key", "--project", self.id()])
            .env("AWS_ENDPOINT_URL", &stack.parts.endpoint)
            .env("AWS_REGION", &stack.parts.region)
            .env("AWS_ACCESS_KEY_ID", &stack.parts.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &stack.parts.secret_access_key)
            .kill_on_drop(true);
        let mut child = put
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(self.in_aws.value().as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "`sealfleet secret put`: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(beside)
    }

    /// The reference of the value in AWS Secrets Manager.
    pub fn aws_reference(&self) -> String {
        format!("aws-sm://sealfleet/{}/crm#api-key", self.id())
    }

    /// Enqueues a run.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn enqueue(&self, workflow: &str, profile: &str, steps: &[Value]) -> Outcome<String> {
        let more = json!({ "workflow": workflow, "profile": profile });
        self.project.enqueue(&merged(run_of(steps), &more)).await
    }

    /// All values that it has stored so far.
    pub fn values(&self) -> Vec<&str> {
        [&self.beside, &self.in_aws]
            .into_iter()
            .chain(&self.partner)
            .map(Canary::value)
            .collect()
    }

    /// Its workers' ids: the process, and the Fargate pool.
    pub fn workers(&self) -> [&str; 2] {
        [&self.worker.id, &self.fargate_worker]
    }

    /// Everything of its worker that may hold no value: files, and the encrypted store too.
    pub fn directories(&self) -> Vec<PathBuf> {
        let store = self.store.store.parent().map(std::path::Path::to_owned);
        std::iter::once(self.worker.directory.clone())
            .chain(store)
            .collect()
    }
}

impl PullWorker {
    /// Enrols a worker of the pull pool with a key that allows `region=eu`, and starts it.
    async fn enrol(stack: &Stack, project: &Project, store: &BuiltinStore) -> Outcome<Self> {
        let directory = stack.scratch.join(format!("worker-{}", project.id));
        std::fs::create_dir_all(&directory)?;
        let (_, key) = project
            .enrolment_key(&json!({ "labels": { "region": "eu" } }))
            .await?;
        let (key_file, credential_file) = (
            directory.join("enrolment-key"),
            directory.join("credential"),
        );
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&key_file)?;
        file.write_all(key.credential().as_bytes())?;

        let program = stack.binaries.join("sealfleet-worker");
        let mut register = Command::new(&program);
        register.args([
            "--api-url",
            &stack.parts.api_url,
            "register",
            "--project",
            &project.id,
            "--pool",
            PULL,
        ]);
        register.args([
            "--name",
            &format!("{}-data-centre", project.id),
            "--label",
            "region=eu",
        ]);
        register
            .args([
                "--allow-bare",
                "--max-concurrent",
                "8",
                "--enrolment-key-file",
            ])
            .arg(&key_file);
        register
            .arg("--credential-file")
            .arg(&credential_file)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = register.output().await?;
        ensure!(
            output.status.success(),
            "`sealfleet-worker register`: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let id = text(&serde_json::from_slice(&output.stdout)?, "worker_id")?;
        std::fs::remove_file(&key_file)?;

        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut command = vec![
            path(program),
            "--api-url".to_owned(),
            stack.parts.api_url.clone(),
        ];
        command.extend(
            [
                "run",
                "--allow-bare",
                "--max-concurrent",
                "8",
                "--heartbeat-seconds",
                "1",
            ]
            .map(str::to_owned),
        );
        for (option, value) in [
            ("--queue-endpoint", stack.parts.endpoint.clone()),
            ("--credential-file", path(credential_file.clone())),
            ("--rootfs", path(directory.join("rootfs"))),
            ("--init", path(stack.binaries.join("sealfleet-init"))),
            ("--builtin-store", path(store.store.clone())),
            ("--builtin-key-file", path(store.key.clone())),
            ("--log-dir", path(directory.join("output"))),
        ] {
            command.extend([option.to_owned(), value]);
        }
        let caller = stack
            .anonymous
            .with(std::fs::read_to_string(&credential_file)?.trim())?;
        let (child, pid) = start(&command, &directory, &stack.parts.id)?;
        Ok(Self {
            id,
            directory,
            caller,
            command,
            stack_id: stack.parts.id.clone(),
            child,
            pid,
        })
    }

    /// Its calls, made by somebody who has its credential.
    pub fn played(&self) -> Worker {
        Worker {
            id: self.id.clone(),
            caller: self.caller.clone(),
        }
    }

    /// SIGKILL, as when its machine is lost.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn kill(&mut self) -> Outcome {
        self.child.kill().await?;
        Ok(())
    }

    /// Starts it again, with the credential that it had.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Outcome {
        (self.child, self.pid) = start(&self.command, &self.directory, &self.stack_id)?;
        Ok(())
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

    /// What a step has printed, from the worker's directory.
    pub fn output(&self, claimed: &Claimed) -> String {
        let file = self
            .directory
            .join("output")
            .join(&claimed.run)
            .join(format!("{}.{}.log", claimed.step, claimed.fence));
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join("worker.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

fn start(command: &[String], directory: &std::path::Path, stack_id: &str) -> Outcome<(Child, u32)> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::new("no command"));
    };
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("worker.log"))?;
    // `sealfleet-local down` ends what carries the stack's mark, should this process not come to
    // it. Ctrl-C is for the demo, which ends its workers itself.
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
