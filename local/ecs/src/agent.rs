//! The ECS agent: takes one task from PENDING to STOPPED.
//!
//! It follows Fargate's order: first the roles, secrets and log stream
//! (`ResourceInitializationError`), then the image (`CannotPullContainerError`), then the container
//! (`CannotStartContainerError`). Every task ends in STOPPED. Each failure has a stop reason, a
//! stop order ends every wait, and a task whose worker panics is marked as lost.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

use crate::clock;
use crate::cloud::{Cloud, CloudError, RoleSession};
use crate::cluster::{Assignment, Cluster, StopCause};
use crate::credentials::CredentialPaths;
use crate::logs::{self, LogStream};
use crate::random;
use crate::sandbox::{Container, ContainerSpec, Exit, Runtime};
use crate::secrets;
use crate::task::{Status, StopCode};

/// Repository of the only image.
pub const IMAGE_REPOSITORY: &str = "sealfleet/sandbox";
/// How long to wait for the rest of a stopped container's output.
const LOG_FLUSH: Duration = Duration::from_secs(15);
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Addresses that every sandbox gets.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub region: String,
    /// The local AWS endpoint. On AWS the variable is absent. Here it directs the sandbox's SDK to
    /// the emulator.
    pub aws_endpoint: String,
    /// `http://127.0.0.1:PORT` of this process.
    pub own_url: String,
}

pub struct Agent {
    pub cluster: Arc<Cluster>,
    pub cloud: Arc<dyn Cloud>,
    pub runtime: Arc<dyn Runtime>,
    pub credentials: Arc<CredentialPaths>,
    pub image: Image,
    pub surroundings: Surroundings,
}

/// Why a task got no container.
struct StartFailure {
    task_reason: String,
    container_reason: Option<String>,
}

impl StartFailure {
    fn resource(reason: &str) -> Self {
        Self {
            task_reason: format!("ResourceInitializationError: {reason}"),
            container_reason: None,
        }
    }

    fn container(reason: String) -> Self {
        Self {
            task_reason: reason.clone(),
            container_reason: Some(reason),
        }
    }
}

/// Everything that a container needs.
struct Prepared {
    spec: ContainerSpec,
    logs: Option<LogStream>,
    /// The path that serves its task role's credentials.
    credentials_path: Option<String>,
}

impl Agent {
    /// Runs the tasks that the cluster assigns, each independently.
    pub async fn run(self: Arc<Self>, mut work: mpsc::UnboundedReceiver<Assignment>) {
        while let Some(assignment) = work.recv().await {
            let agent = Arc::clone(&self);
            tokio::spawn(async move {
                let id = assignment.task_id.clone();
                let worker = tokio::spawn(Arc::clone(&agent).run_task(assignment));
                if worker.await.is_err() {
                    tracing::error!(task = id, "the task's worker failed");
                    agent.cluster.advance(&id, crate::cluster::lose);
                }
            });
        }
    }

    async fn run_task(self: Arc<Self>, assignment: Assignment) {
        let id = assignment.task_id.clone();
        self.cluster
            .advance(&id, |task| task.status = Status::Pending);
        let prepared = tokio::select! {
            biased;
            () = ordered_to_stop(assignment.stop.clone()) => None,
            prepared = self.prepare(&assignment) => Some(prepared),
        };
        match prepared {
            None => self.finish_unstarted(&id, None),
            Some(Err(failure)) => self.finish_unstarted(&id, Some(failure)),
            Some(Ok(prepared)) => self.start(&id, prepared, &assignment).await,
        }
    }

    async fn prepare(&self, assignment: &Assignment) -> Result<Prepared, StartFailure> {
        let (id, container) = (&assignment.task_id, &assignment.container);
        if let Some(words) = assignment.fails {
            return Err(StartFailure {
                task_reason: words.to_owned(),
                container_reason: None,
            });
        }
        let execution_role = match &container.execution_role {
            Some(arn) if container.logs.is_some() || !container.secrets.is_empty() => {
                Some(Arc::new(self.open_role(arn, id).await?))
            }
            _ => None,
        };
        let mut secrets = Vec::new();
        let mut stream = None;
        if let Some(role) = execution_role {
            if !container.secrets.is_empty() {
                let credentials = role
                    .credentials()
                    .await
                    .map_err(|error| not_assumed(&role.role_arn, &error))?;
                secrets = secrets::resolve(self.cloud.as_ref(), &credentials, &container.secrets)
                    .await
                    .map_err(|reason| StartFailure::resource(&reason))?;
            }
            if let Some(target) = &container.logs {
                let name = format!("{}/{}/{id}", target.stream_prefix, container.name);
                let made =
                    LogStream::create(Arc::clone(&self.cloud), role, &target.group, name).await;
                stream = Some(made.map_err(|error| log_stream_failed(&error))?);
            }
        }
        self.cluster
            .advance_quietly(id, |task| task.pull_started_at = Some(clock::now()));
        self.image
            .check(&container.image)
            .map_err(StartFailure::container)?;
        self.cluster
            .advance_quietly(id, |task| task.pull_stopped_at = Some(clock::now()));

        // Open the path last: from here on only `start` runs, which closes it when the task ends.
        let task_role = match &container.task_role {
            Some(arn) => Some(self.open_role(arn, id).await?),
            None => None,
        };
        let credentials_path = task_role.map(|role| self.credentials.open(role));
        Ok(Prepared {
            spec: ContainerSpec {
                command: container.command.clone(),
                environment: self.environment(assignment, secrets, credentials_path.as_deref()),
                memory_mib: container.memory_mib,
                writable: container.writable.clone(),
                directory: container.directory.clone(),
            },
            logs: stream,
            credentials_path,
        })
    }

    async fn open_role(&self, arn: &str, task: &str) -> Result<RoleSession, StartFailure> {
        let opened = RoleSession::open(Arc::clone(&self.cloud), arn, task).await;
        opened.map_err(|error| not_assumed(arn, &error))
    }

    /// The environment: defaults, then the definition and the request, then secrets, then the
    /// address of the credentials. No name occurs twice.
    fn environment(
        &self,
        assignment: &Assignment,
        secrets: Vec<(String, Zeroizing<String>)>,
        credentials_path: Option<&str>,
    ) -> Vec<(String, Zeroizing<String>)> {
        let around = &self.surroundings;
        let mut environment: Vec<(String, Zeroizing<String>)> = Vec::new();
        let mut set = |name: &str, value: Zeroizing<String>| {
            environment.retain(|(other, _)| other != name);
            environment.push((name.to_owned(), value));
        };
        for (name, value) in [
            ("PATH", DEFAULT_PATH),
            ("AWS_REGION", &around.region),
            ("AWS_DEFAULT_REGION", &around.region),
            ("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE"),
            ("AWS_ENDPOINT_URL", &around.aws_endpoint),
        ] {
            set(name, Zeroizing::new(value.to_owned()));
        }
        for (name, value) in &assignment.environment {
            set(name, Zeroizing::new(value.clone()));
        }
        for (name, value) in secrets {
            set(&name, value);
        }
        if let Some(path) = credentials_path {
            let url = format!("{}/_local/credentials/{path}", around.own_url);
            set("AWS_CONTAINER_CREDENTIALS_FULL_URI", Zeroizing::new(url));
        }
        environment
    }

    async fn start(&self, id: &str, prepared: Prepared, assignment: &Assignment) {
        let Prepared {
            spec,
            logs,
            credentials_path,
        } = prepared;
        match self.runtime.start(spec).await {
            Ok(container) => self.supervise(id, container, logs, assignment).await,
            Err(reason) => {
                let reason = format!("CannotStartContainerError: {reason}");
                self.finish_unstarted(id, Some(StartFailure::container(reason)));
            }
        }
        if let Some(path) = credentials_path {
            self.credentials.close(&path);
        }
    }

    async fn supervise(
        &self,
        id: &str,
        mut container: Box<dyn Container>,
        stream: Option<LogStream>,
        assignment: &Assignment,
    ) {
        self.cluster.advance(id, |task| {
            task.status = Status::Running;
            task.container.status = Status::Running;
            task.started_at = Some(clock::now());
        });
        let outputs = container.take_output();
        let copying = tokio::spawn(async move {
            match stream {
                Some(stream) => stream.copy(outputs).await,
                None => logs::discard(outputs).await,
            }
        });
        let exit = tokio::select! {
            exit = container.wait() => exit,
            () = ordered_to_stop(assignment.stop.clone()) => container.stop(assignment.container.stop_timeout).await,
        };
        let (code, reason) = match exit {
            Exit::Code(code) => (code, None),
            Exit::OutOfMemory => (
                137,
                Some("OutOfMemoryError: Container killed due to memory usage".to_owned()),
            ),
        };
        self.cluster.advance(id, |task| {
            let now = clock::now();
            task.status = Status::Deprovisioning;
            task.desired_stopped = true;
            task.stopping_at.get_or_insert(now);
            task.execution_stopped_at = Some(now);
            task.stop_code
                .get_or_insert(StopCode::EssentialContainerExited);
            task.stopped_reason
                .get_or_insert_with(|| "Essential container in task exited".to_owned());
            task.container.status = Status::Stopped;
            task.container.exit_code = Some(code);
            task.container.reason = reason;
        });
        if tokio::time::timeout(LOG_FLUSH, copying).await.is_err() {
            tracing::warn!(task = id, "the last log lines were not written in time");
        }
        self.finish(id);
    }

    /// Ends a task that got no container, because of a stop order or of `failure`.
    fn finish_unstarted(&self, id: &str, failure: Option<StartFailure>) {
        if let Some(failure) = &failure {
            tracing::info!(
                task = id,
                reason = failure.task_reason,
                "task did not start"
            );
        }
        self.cluster.advance(id, |task| {
            task.status = Status::Deprovisioning;
            task.desired_stopped = true;
            let now = clock::now();
            task.stopping_at.get_or_insert(now);
            task.execution_stopped_at = Some(now);
            task.container.status = Status::Stopped;
            if let Some(failure) = failure {
                task.stop_code.get_or_insert(StopCode::TaskFailedToStart);
                task.stopped_reason.get_or_insert(failure.task_reason);
                task.container.reason = failure.container_reason;
            }
        });
        self.finish(id);
    }

    fn finish(&self, id: &str) {
        self.cluster.advance(id, |task| {
            task.status = Status::Stopped;
            task.stopped_at = Some(clock::now());
        });
    }
}

fn not_assumed(arn: &str, error: &CloudError) -> StartFailure {
    StartFailure {
        task_reason: format!(
            "ECS was unable to assume the role '{arn}' that was provided for this task. Please verify that the role being \
             passed has the proper trust relationship and permissions. {error}"
        ),
        container_reason: None,
    }
}

fn log_stream_failed(error: &CloudError) -> StartFailure {
    StartFailure::resource(&format!(
        "failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: \
         {error}"
    ))
}

async fn ordered_to_stop(mut stop: watch::Receiver<Option<StopCause>>) {
    if stop.wait_for(Option::is_some).await.is_err() {
        // The cluster is gone, so no stop order can come.
        std::future::pending::<()>().await;
    }
}

/// The only image: the root file system, identified by the digest of its init program.
pub struct Image {
    init: PathBuf,
    known: Mutex<Option<KnownDigest>>,
}

#[derive(Clone)]
struct KnownDigest {
    modified: Option<SystemTime>,
    size: u64,
    digest: String,
}

impl Image {
    pub fn new(rootfs: &Path) -> Self {
        Self {
            init: rootfs.join("sealfleet-init"),
            known: Mutex::new(None),
        }
    }

    /// `sealfleet/sandbox@sha256:...` with the digest of the current file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn reference(&self) -> std::io::Result<String> {
        let metadata = std::fs::metadata(&self.init)?;
        let (modified, size) = (metadata.modified().ok(), metadata.len());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known
            .as_ref()
            .filter(|known| known.modified == modified && known.size == size)
        {
            return Ok(known.digest.clone());
        }
        let mut hash = Sha256::new();
        std::io::copy(&mut std::fs::File::open(&self.init)?, &mut hash)?;
        let digest = format!(
            "{IMAGE_REPOSITORY}@sha256:{}",
            random::hex(&hash.finalize())
        );
        *known = Some(KnownDigest {
            modified,
            size,
            digest: digest.clone(),
        });
        Ok(digest)
    }

    fn check(&self, wanted: &str) -> Result<(), String> {
        let failed = |reason: &str| {
            format!(
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref \
                 {wanted}: {reason}"
            )
        };
        match self.reference() {
            Ok(reference) if reference == wanted => Ok(()),
            Ok(_) => Err(failed("not found")),
            Err(_) => Err(failed("the local image cannot be read")),
        }
    }
}
