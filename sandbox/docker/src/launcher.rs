//! Finds out what an engine offers, and starts containers.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, StartContainerOptions,
};
use futures_util::StreamExt as _;
use sealfleet_channel::{Channel as _, Descriptors, Socket, ToHost, ToInit};
use sealfleet_domain::Clock as _;
use sealfleet_sandbox_backend::{
    DEFAULT_IMAGE, Exit, Limits, Network, Order, Owner, Process, Sandbox as _, SandboxBackend,
    StartError, Started,
};
use sealfleet_system::SystemClock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::container::{SOCKET, body};
use crate::engine::{Engine, EngineError, Facts, Image, status};
use crate::sandbox::{Container, Sandbox};

/// How long init may take to connect once its container runs, on a busy host.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// How much of a stream is held for a reader that is slow, in bytes.
const STREAM_BYTES: usize = 64 * 1024;
/// How many bytes of what init says are told if it does not connect.
const LAST_WORDS: u64 = 300;

#[derive(Debug, Clone)]
pub struct Config {
    /// `DOCKER_HOST`: `unix://PATH`.
    pub host: Option<String>,
    /// Images by the name of their variant.
    pub images: BTreeMap<String, String>,
}

/// Containers cannot be started on this host.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("name the image of sandboxes with `--docker-image IMAGE`")]
    NoDefault,
    #[error("the container engine {lacks}, so nothing would bound a step: {advice}")]
    Lacks {
        lacks: &'static str,
        advice: &'static str,
    },
    #[error("the state directory `{}` cannot be used", path.display())]
    State {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a first container of the image `{image}` did not work: {reason}")]
    Probe { image: String, reason: String },
}

/// Starts sandboxes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Launcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    facts: Facts,
    images: BTreeMap<String, Image>,
    worker: Process,
}

impl Launcher {
    /// Checks the engine and its images, takes away what dead workers have left there, and starts
    /// one container of each image as proof.
    ///
    /// # Errors
    /// [`Unavailable`], with what to do about it.
    pub async fn detect(config: Config, worker: Process) -> Result<Self, Unavailable> {
        let (engine, facts) = Engine::at(config.host.as_deref())?.greet().await?;
        sufficient(&facts)?;
        if !config.images.contains_key(DEFAULT_IMAGE) {
            return Err(Unavailable::NoDefault);
        }
        let mut images = BTreeMap::new();
        for (variant, reference) in config.images {
            images.insert(variant, engine.image(&reference).await?);
        }
        let place = channels(&worker);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&place);
        made.map_err(|source| Unavailable::State {
            path: place,
            source,
        })?;
        engine.reap(worker.directory()).await?;
        let launcher = Self {
            inner: Arc::new(Inner {
                engine,
                facts,
                images,
                worker,
            }),
        };
        for (variant, image) in &launcher.inner.images {
            let probed = launcher.probe(variant).await;
            probed.map_err(|reason| Unavailable::Probe {
                image: image.reference.clone(),
                reason,
            })?;
        }
        Ok(launcher)
    }

    /// The engine and the images, for the log.
    #[must_use]
    pub fn report(&self) -> String {
        let images = self.inner.images.iter();
        let images: Vec<String> = images
            .map(|(variant, image)| format!("{variant} of {} ({})", image.reference, image.id))
            .collect();
        format!("{}, images: {}", self.inner.facts, images.join(", "))
    }

    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// A container whose init is told to go before it has a step: it refuses, which shows that it
    /// understands this worker and is understood.
    async fn probe(&self, variant: &str) -> Result<(), String> {
        let started = self.start(Order {
            owner: probe_owner()?,
            image: Some(variant.to_owned()),
            network: Network::None,
            limits: Limits::default(),
            lifetime: CONNECT_TIME * 2,
        });
        let mut started = started.await.map_err(|error| error.to_string())?;
        let ask = async {
            let channel = &mut started.channel;
            channel.send(&ToInit::Go, Descriptors::new()).await?;
            channel.receive().await
        };
        let answer = timeout(CONNECT_TIME, ask).await;
        started.sandbox.stop(Duration::ZERO).await;
        match answer {
            Ok(Ok((ToHost::Error { .. }, _))) => Ok(()),
            Ok(Ok(_)) => Err("its `sealfleet-init` started without a step".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("its `sealfleet-init` does not answer".to_owned()),
        }
    }
}

fn probe_owner() -> Result<Owner, String> {
    let wrong = "a name is malformed";
    Ok(Owner {
        project: "sealfleet".parse().map_err(|_| wrong)?,
        run_id: "run_00000000-0000-7000-8000-000000000000"
            .parse()
            .map_err(|_| wrong)?,
        step_id: "probe".parse().map_err(|_| wrong)?,
        fence: sealfleet_domain::run::Fence::default(),
    })
}

/// What an engine must be able to do.
fn sufficient(facts: &Facts) -> Result<(), Unavailable> {
    let lacks = |lacks, advice| Err(Unavailable::Lacks { lacks, advice });
    if !facts.seccomp {
        return lacks(
            "filters no system calls",
            "run it on a kernel with seccomp, and without `seccomp-profile: unconfined`",
        );
    }
    if !facts.limits_memory {
        return lacks(
            "limits no memory",
            "give it the memory controller of cgroups",
        );
    }
    if !facts.limits_processes {
        return lacks(
            "limits no processes",
            "give it the pids controller of cgroups",
        );
    }
    Ok(())
}

/// Where the sockets of channels lie. Nobody else can enter it; a container gets one directory in
/// it, by the engine, whatever its parents allow.
pub(crate) fn channels(worker: &Process) -> PathBuf {
    worker.directory().path().join("docker")
}

#[async_trait]
impl SandboxBackend for Launcher {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn images(&self) -> Vec<String> {
        self.inner.images.keys().cloned().collect()
    }

    async fn ready(&self) -> Result<(), StartError> {
        Ok(self.inner.engine.ping().await?)
    }

    async fn start(&self, order: Order) -> Result<Started, StartError> {
        // In a task of its own: if the caller gives up in the middle, the task finishes and drops
        // the sandbox, so nothing is left half made.
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move { inner.start(order).await }).await?
    }
}

impl Inner {
    async fn start(&self, order: Order) -> Result<Started, StartError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sealfleet-{}-{number}", self.worker.name());
        let variant = order.image.as_deref().unwrap_or(DEFAULT_IMAGE);
        let image = self.images.get(variant);
        let image = image.ok_or_else(|| format!("this worker has no image `{variant}`"))?;
        let place = channels(&self.worker).join(&name);
        let listener = listen(&place).map_err(|error| {
            format!("the channel `{}` cannot be made: {error}", place.display())
        })?;
        let engine = self.engine.clone();
        let container = Container::new(engine, name, place, order.limits.memory_bytes);
        let container = Arc::new(container);
        let started = self.start_in(&container, listener, image, &order).await;
        if started.is_err() {
            container.remove().await;
        }
        started
    }

    async fn start_in(
        &self,
        container: &Arc<Container>,
        listener: UnixListener,
        image: &Image,
        order: &Order,
    ) -> Result<Started, StartError> {
        let (docker, name) = (&self.engine.docker, container.name());
        let body = body(
            image,
            order,
            &self.worker,
            container.place(),
            SystemClock.now(),
        );
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            ..CreateContainerOptions::default()
        };
        match docker.create_container(Some(options), body).await {
            Err(error) if status(&error) == Some(404) => {
                return Err(EngineError::NoImage(image.reference.clone()).into());
            }
            created => created.map_err(|error| self.engine.fault(&error))?,
        };
        let attach = AttachContainerOptions {
            stream: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = docker.attach_container(name, Some(attach)).await;
        let attached = attached.map_err(|error| self.engine.fault(&error))?;
        let (stdout, mut stderr) = streams(attached);
        let started = docker.start_container(name, None::<StartContainerOptions>);
        started.await.map_err(|error| self.engine.fault(&error))?;
        let sandbox = Sandbox::watch(Arc::clone(container));
        let connected = tokio::select! {
            accepted = timeout(CONNECT_TIME, listener.accept()) => accepted,
            exit = sandbox.wait() => return Err(ended_early(exit, &mut stderr).await.into()),
        };
        let (connection, _) = connected.map_err(|_| "init did not connect in time")??;
        // Nobody else ever connects.
        drop(listener);
        fs::remove_file(container.place().join(SOCKET))?;
        self.check_peer(&connection, name).await?;
        let connection: OwnedFd = connection.into_std()?.into();
        container.hold(connection.try_clone()?);
        Ok(Started {
            channel: Socket::accepted(connection)?,
            sandbox: Box::new(sandbox),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
        })
    }

    /// Whether the container's first process has connected, and no other: before it has its step,
    /// nothing else runs in there, and nobody else can reach the socket.
    async fn check_peer(&self, connection: &UnixStream, name: &str) -> Result<(), StartError> {
        let inspected = self.engine.docker.inspect_container(name, None).await;
        let inspected = inspected.map_err(|error| self.engine.fault(&error))?;
        let first = inspected.state.and_then(|state| state.pid);
        let peer = connection.peer_cred()?.pid().map(i64::from);
        if first.is_some() && first == peer {
            return Ok(());
        }
        Err("another process than the container's first one has connected to its channel; a worker must see the processes of its engine's host".into())
    }
}

/// Listens in a new directory.
fn listen(place: &Path) -> io::Result<UnixListener> {
    // Whatever the process' mask, and whoever the container's user is on the host: the directory
    // above is closed to others.
    DirBuilder::new().mode(0o755).create(place)?;
    fs::set_permissions(place, Permissions::from_mode(0o755))?;
    let socket = place.join(SOCKET);
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// The container's output as two streams. Who does not read one holds up both, and the container.
fn streams(attached: AttachContainerResults) -> (DuplexStream, DuplexStream) {
    let (stdout, mut to_stdout) = duplex(STREAM_BYTES);
    let (stderr, mut to_stderr) = duplex(STREAM_BYTES);
    tokio::spawn(async move {
        let mut output = attached.output;
        while let Some(Ok(piece)) = output.next().await {
            let written = match piece {
                LogOutput::StdErr { message } => to_stderr.write_all(&message).await,
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    to_stdout.write_all(&message).await
                }
                LogOutput::StdIn { .. } => Ok(()),
            };
            if written.is_err() {
                return;
            }
        }
    });
    (stdout, stderr)
}

/// What is told of a container that ends before its init connects. Nothing of a step runs in it.
async fn ended_early(exit: Exit, stderr: &mut DuplexStream) -> String {
    let mut words = Vec::new();
    let mut beginning = stderr.take(LAST_WORDS);
    drop(timeout(Duration::from_secs(1), beginning.read_to_end(&mut words)).await);
    let words = String::from_utf8_lossy(&words);
    format!(
        "the container ended with {} before its `sealfleet-init` connected: {}",
        exit.code(),
        words.trim()
    )
}
