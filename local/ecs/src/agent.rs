//! The ECS agent: takes one task from PENDING to STOPPED.
//!
//! It follows Fargate's order: first the roles, secrets and log stream
//! (`ResourceInitializationError`), then the image (`CannotPullContainerError`), then the
//! containers (`CannotStartContainerError`), each behind those that it depends on. The task ends
//! with its first essential container; the others are stopped in the opposite order. Every task
//! ends in STOPPED. Each failure has a stop reason, a stop order ends every wait, and a task whose
//! worker panics is marked as lost.
//!
//! Containers of a task share loopback, which here is the host's. So of the tasks with several
//! containers one runs at a time, and has its ports for itself; the others are PENDING.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::clock;
use crate::cloud::{Cloud, CloudError, RoleSession};
use crate::cluster::{Assignment, Cluster, StopCause};
use crate::credentials::CredentialPaths;
use crate::definition;
use crate::logs::{self, LogStream};
use crate::random;
use crate::sandbox::{Container, ContainerSpec, Exit, Runtime};
use crate::secrets;
use crate::task::{Status, StopCode, Task};

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
    /// Held by the task with several containers that runs.
    pub loopback: Semaphore,
}

/// Why a task got no container.
struct StartFailure {
    task_reason: String,
    /// The container that is to blame, and why.
    container: Option<(String, String)>,
}

impl StartFailure {
    fn resource(reason: &str) -> Self {
        Self {
            task_reason: format!("ResourceInitializationError: {reason}"),
            container: None,
        }
    }

    fn container(name: &str, reason: String) -> Self {
        Self {
            task_reason: reason.clone(),
            container: Some((name.to_owned(), reason)),
        }
    }
}

/// Everything that a task needs.
struct Prepared {
    parts: Vec<Part>,
    /// The path that serves its role's credentials.
    credentials_path: Option<String>,
}

/// Everything that a container needs.
struct Part {
    name: String,
    essential: bool,
    stop_timeout: Duration,
    spec: ContainerSpec,
    logs: Option<LogStream>,
}

/// A container that has started.
struct Started {
    name: String,
    essential: bool,
    stop_timeout: Duration,
    container: Arc<dyn Container>,
    exit: Option<Exit>,
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
        let ready = async {
            let alone = match assignment.containers.as_slice() {
                [_] => None,
                _ => self.loopback.acquire().await.ok(),
            };
            (alone, self.prepare(&assignment).await)
        };
        let ready = tokio::select! {
            biased;
            () = ordered_to_stop(assignment.stop.clone()) => None,
            ready = ready => Some(ready),
        };
        match ready {
            None => self.finish_unstarted(&id, None),
            Some((_, Err(failure))) => self.finish_unstarted(&id, Some(failure)),
            Some((_alone, Ok(prepared))) => self.start(&id, prepared, &assignment).await,
        }
    }

    async fn prepare(&self, assignment: &Assignment) -> Result<Prepared, StartFailure> {
        let (id, containers) = (&assignment.task_id, &assignment.containers);
        if let Some(words) = assignment.fails {
            return Err(StartFailure {
                task_reason: words.to_owned(),
                container: None,
            });
        }
        let mut resources = Vec::new();
        for container in containers {
            resources.push(self.resources(id, container).await?);
        }
        self.cluster
            .advance_quietly(id, |task| task.pull_started_at = Some(clock::now()));
        for container in containers {
            self.image
                .check(&container.image)
                .map_err(|reason| StartFailure::container(&container.name, reason))?;
        }
        self.cluster
            .advance_quietly(id, |task| task.pull_stopped_at = Some(clock::now()));

        // Open the path last: from here on only `start` runs, which closes it when the task ends.
        let role = containers.first().and_then(|one| one.task_role.as_ref());
        let task_role = match role {
            Some(arn) => Some(self.open_role(arn, id).await?),
            None => None,
        };
        let credentials_path = task_role.map(|role| self.credentials.open(role));
        let parts = containers.iter().zip(resources);
        let part = |(container, (secrets, logs)): (&definition::Container, _)| Part {
            name: container.name.clone(),
            essential: container.essential,
            stop_timeout: container.stop_timeout,
            spec: ContainerSpec {
                command: container.command.clone(),
                environment: self.environment(container, secrets, credentials_path.as_deref()),
                memory_mib: container.memory_mib,
                writable: container.writable.clone(),
                directory: container.directory.clone(),
            },
            logs,
        };
        Ok(Prepared {
            parts: parts.map(part).collect(),
            credentials_path: credentials_path.clone(),
        })
    }

    /// The secrets of a container, and the stream of its log.
    async fn resources(
        &self,
        id: &str,
        container: &definition::Container,
    ) -> Result<(Vec<(String, Zeroizing<String>)>, Option<LogStream>), StartFailure> {
        let role = match &container.execution_role {
            Some(arn) if container.logs.is_some() || !container.secrets.is_empty() => {
                Arc::new(self.open_role(arn, id).await?)
            }
            _ => return Ok((Vec::new(), None)),
        };
        let mut secrets = Vec::new();
        if !container.secrets.is_empty() {
            let credentials = role
                .credentials()
                .await
                .map_err(|error| not_assumed(&role.role_arn, &error))?;
            secrets = secrets::resolve(self.cloud.as_ref(), &credentials, &container.secrets)
                .await
                .map_err(|reason| StartFailure::resource(&reason))?;
        }
        let mut stream = None;
        if let Some(target) = &container.logs {
            let name = format!("{}/{}/{id}", target.stream_prefix, container.name);
            let made = LogStream::create(Arc::clone(&self.cloud), role, &target.group, name).await;
            stream = Some(made.map_err(|error| log_stream_failed(&error))?);
        }
        Ok((secrets, stream))
    }

    async fn open_role(&self, arn: &str, task: &str) -> Result<RoleSession, StartFailure> {
        let opened = RoleSession::open(Arc::clone(&self.cloud), arn, task).await;
        opened.map_err(|error| not_assumed(arn, &error))
    }

    /// The environment: defaults, then the definition and the request, then secrets, then the
    /// address of the credentials. No name occurs twice.
    fn environment(
        &self,
        container: &definition::Container,
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
        for (name, value) in &container.environment {
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
        let (mut started, mut copying, mut failure) = (Vec::new(), JoinSet::new(), None);
        for part in prepared.parts {
            let mut container = match self.runtime.start(part.spec).await {
                Ok(container) => container,
                Err(reason) => {
                    let reason = format!("CannotStartContainerError: {reason}");
                    failure = Some(StartFailure::container(&part.name, reason));
                    break;
                }
            };
            let (outputs, stream) = (container.take_output(), part.logs);
            copying.spawn(async move {
                match stream {
                    Some(stream) => stream.copy(outputs).await,
                    None => logs::discard(outputs).await,
                }
            });
            started.push(Started {
                name: part.name,
                essential: part.essential,
                stop_timeout: part.stop_timeout,
                container: Arc::from(container),
                exit: None,
            });
        }
        match failure {
            Some(failure) => {
                stop_all(&mut started).await;
                self.finish_unstarted(id, Some(failure));
            }
            None => self.supervise(id, started, copying, assignment).await,
        }
        if let Some(path) = prepared.credentials_path {
            self.credentials.close(&path);
        }
    }

    async fn supervise(
        &self,
        id: &str,
        mut started: Vec<Started>,
        mut copying: JoinSet<()>,
        assignment: &Assignment,
    ) {
        self.cluster.advance(id, |task| {
            task.status = Status::Running;
            for container in &mut task.containers {
                container.status = Status::Running;
            }
            task.started_at = Some(clock::now());
        });
        let mut ends = JoinSet::new();
        for (at, one) in started.iter().enumerate() {
            let container = Arc::clone(&one.container);
            ends.spawn(async move { (at, container.wait().await) });
        }
        let mut stopped = pin!(ordered_to_stop(assignment.stop.clone()));
        loop {
            let ended = tokio::select! {
                ended = ends.join_next() => ended,
                () = &mut stopped => break,
            };
            let Some(Ok((at, exit))) = ended else { break };
            let Some(one) = started.get_mut(at) else {
                break;
            };
            one.exit = Some(exit);
            if one.essential {
                break;
            }
            self.cluster.advance(id, |task| note(task, &one.name, exit));
        }
        ends.shutdown().await;
        stop_all(&mut started).await;
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
            for one in &started {
                if let Some(exit) = one.exit {
                    note(task, &one.name, exit);
                }
            }
        });
        let copied = async { while copying.join_next().await.is_some() {} };
        if tokio::time::timeout(LOG_FLUSH, copied).await.is_err() {
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
            for container in &mut task.containers {
                container.status = Status::Stopped;
            }
            if let Some(failure) = failure {
                task.stop_code.get_or_insert(StopCode::TaskFailedToStart);
                task.stopped_reason.get_or_insert(failure.task_reason);
                if let Some((name, reason)) = failure.container {
                    task.container(&name, |one| one.reason = Some(reason));
                }
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

/// Stops what still runs: what depends on others, before them.
async fn stop_all(started: &mut [Started]) {
    for one in started.iter_mut().rev() {
        if one.exit.is_none() {
            one.exit = Some(one.container.stop(one.stop_timeout).await);
        }
    }
}

/// A container has ended.
fn note(task: &mut Task, name: &str, exit: Exit) {
    task.container(name, |container| {
        container.status = Status::Stopped;
        let (code, reason) = match exit {
            Exit::Code(code) => (code, None),
            Exit::OutOfMemory => (
                137,
                Some("OutOfMemoryError: Container killed due to memory usage".to_owned()),
            ),
        };
        container.exit_code = Some(code);
        container.reason = reason;
    });
}

fn not_assumed(arn: &str, error: &CloudError) -> StartFailure {
    StartFailure {
        task_reason: format!(
            "ECS was unable to assume the role '{arn}' that was provided for this task. Please verify that the role being \
             passed has the proper trust relationship and permissions. {error}"
        ),
        container: None,
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
