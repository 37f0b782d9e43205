//! A tenant: its project, its two workers, and its secrets, which only it knows.

use std::path::PathBuf;
use std::process::Stdio;

use sealfleet_test_stack::api::text;
use sealfleet_test_stack::identity::Stored;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, run_of};
use sealfleet_test_stack::worker::BuiltinStore;
use sealfleet_test_stack::{Outcome, Project, Stack, WorkerProcess, canary, ensure, sha256};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The profile whose secret is in the encrypted file beside the tenant's worker.
pub const BESIDE: &str = "crm-beside-the-worker";
/// The profile whose secret is in AWS Secrets Manager.
pub const IN_AWS: &str = "crm-in-aws";

/// A tenant.
pub struct Tenant {
    /// Its project, with callers of every role.
    pub project: Project,
    /// Its worker process.
    pub worker: WorkerProcess,
    /// The worker that stands for its Fargate pool.
    pub fargate_worker: String,
    /// The value in the file beside its worker.
    pub beside: Canary,
    /// The value in AWS Secrets Manager.
    pub in_aws: Canary,
    /// The values of the partner's key, those of before its rotation first.
    pub partner: Vec<Canary>,
    /// The key to its agent's model, once it has one.
    pub model: Option<Canary>,
    /// The encrypted file beside its worker.
    pub store: BuiltinStore,
}

/// A secret's value that cannot occur by chance.
pub struct Canary(String);

impl Canary {
    /// A new one.
    pub fn new() -> Self {
        Self(canary::value())
    }

    /// The value.
    pub fn value(&self) -> &str {
        &self.0
    }

    /// The hash that a step prints of it.
    pub fn sha256(&self) -> String {
        sha256(self.0.as_bytes())
    }
}

impl Tenant {
    /// Deploys and onboards a project with a pull pool and a Fargate pool, and starts its worker.
    pub async fn onboard(stack: &Stack, id: &str) -> Outcome<Self> {
        let pools = json!({
            PULL: { "kind": "pull" },
            FARGATE: { "kind": "fargate", "image": stack.parts.sandbox_image, "labels": { "region": "eu" } },
        });
        let project = Project::onboard_with(stack, id, &pools).await?;
        let shown = stack.operator.client().get_project(&id.parse()?).await?;
        let fargate_worker = text(&json!(shown)["pools"][FARGATE], "worker_id")?;
        let store = BuiltinStore::create(stack, &project).await?;
        // Agents reach their model on this host, and need more memory than other steps.
        let options = [
            ("--heartbeat-seconds", "1"),
            ("--network", "host"),
            ("--memory", "1024"),
        ];
        let options = options.map(|(option, value)| (option, value.to_owned()));
        let rootfs = stack.parts.directory.join("rootfs");
        let labels = [("region", "eu")];
        let worker =
            WorkerProcess::start_with(&rootfs, &options, stack, &project, &store, &labels).await?;
        let (beside, in_aws) = (Canary::new(), Canary::new());
        Ok(Self {
            project,
            worker,
            fargate_worker,
            beside,
            in_aws,
            partner: Vec::new(),
            model: None,
            store,
        })
    }

    /// The project's id.
    pub fn id(&self) -> &str {
        &self.project.id
    }

    /// Stores both values where they belong, as their owner does: on standard input, past the
    /// control plane. Answers the one beside the worker, as a profile names it.
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
    pub async fn enqueue(&self, workflow: &str, profile: &str, steps: &[Value]) -> Outcome<String> {
        let more = json!({ "workflow": workflow, "profile": profile });
        self.project.enqueue(&merged(run_of(steps), &more)).await
    }

    /// All values that it has stored so far.
    pub fn values(&self) -> Vec<&str> {
        [&self.beside, &self.in_aws]
            .into_iter()
            .chain(&self.partner)
            .chain(&self.model)
            .map(Canary::value)
            .collect()
    }

    /// Its workers' ids: the process, and the Fargate pool.
    pub fn workers(&self) -> [&str; 2] {
        [&self.worker.played.id, &self.fargate_worker]
    }

    /// Everything of its worker that may hold no value: files, and the encrypted store too.
    pub fn directories(&self) -> Vec<PathBuf> {
        let store = self.store.store.parent().map(std::path::Path::to_owned);
        std::iter::once(self.worker.directory.clone())
            .chain(store)
            .collect()
    }
}
