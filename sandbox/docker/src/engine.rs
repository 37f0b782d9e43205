//! The engine behind its unix socket.

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::SystemInfo;
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::time::timeout;

use crate::container::WRITABLE;

/// Where an engine listens if nobody says otherwise.
const SOCKET: &str = "unix:///var/run/docker.sock";
/// Seconds that the engine may take to answer. The first container of an image unpacks it.
const ANSWER_SECONDS: u64 = 120;
/// How long it may take to say that it is there.
const PING_TIME: Duration = Duration::from_secs(10);

/// A container engine of this host.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) docker: Docker,
    host: String,
}

/// Why the engine does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(
        "`{0}` is no engine that this worker can use: it reaches one over a unix socket only, as `unix:///var/run/docker.sock`"
    )]
    Host(String),
    #[error(
        "the container engine at `{host}` cannot be reached: {reason}; start it, name another one by `DOCKER_HOST`, or let this user have its socket (group `docker`)"
    )]
    Unreachable { host: String, reason: String },
    #[error("the engine has no image `{0}`: pull, load or build it there first")]
    NoImage(String),
    #[error(
        "the image `{0}` does not start `sealfleet-init`: set ENTRYPOINT [\"/usr/local/bin/sealfleet-init\", \"fargate\"], as `images/sandbox` does"
    )]
    NoInit(String),
    #[error(
        "the image `{image}` has the volume `{volume}`, which would lie on the host without a bound: remove it from VOLUME; steps write to /tmp and /workspace"
    )]
    Volume { image: String, volume: String },
    /// In its own words, which hold names only: it is never told a value.
    #[error("the container engine: {0}")]
    Refused(String),
}

/// What an engine says of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    pub version: String,
    pub storage: String,
    /// 1 or 2.
    pub cgroups: String,
    pub seccomp: bool,
    pub limits_memory: bool,
    pub limits_swap: bool,
    pub limits_processes: bool,
    /// Whether users of containers are other users of the host.
    pub remaps_users: bool,
    pub rootless: bool,
}

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As it was asked for.
    pub reference: String,
    pub id: String,
    /// The path of its `sealfleet-init`.
    pub init: String,
}

impl Engine {
    /// The engine at `host`, by default that of the system. Nothing is sent to it.
    ///
    /// # Errors
    /// [`EngineError::Host`] or [`EngineError::Unreachable`].
    pub fn at(host: Option<&str>) -> Result<Self, EngineError> {
        let host = host.unwrap_or(SOCKET);
        if !host.starts_with("unix:///") {
            return Err(EngineError::Host(host.to_owned()));
        }
        let docker = Docker::connect_with_unix(host, ANSWER_SECONDS, API_DEFAULT_VERSION);
        Ok(Self {
            docker: docker.map_err(|error| unreachable(host, &error))?,
            host: host.to_owned(),
        })
    }

    /// Agrees with the engine on a version of its API, and asks what it is.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn greet(mut self) -> Result<(Self, Facts), EngineError> {
        let greeted = self.docker.clone().negotiate_version().await;
        self.docker = greeted.map_err(|error| self.fault(&error))?;
        let info = self.docker.info().await;
        let facts = facts(&info.map_err(|error| self.fault(&error))?);
        Ok((self, facts))
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`].
    pub async fn ping(&self) -> Result<(), EngineError> {
        match timeout(PING_TIME, self.docker.ping()).await {
            Ok(answer) => answer.map(drop).map_err(|error| self.fault(&error)),
            Err(_) => Err(EngineError::Unreachable {
                host: self.host.clone(),
                reason: "it does not answer".to_owned(),
            }),
        }
    }

    /// An image by its name, id or digest.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn image(&self, reference: &str) -> Result<Image, EngineError> {
        let inspected = match self.docker.inspect_image(reference).await {
            Err(error) if status(&error) == Some(404) => {
                return Err(EngineError::NoImage(reference.to_owned()));
            }
            inspected => inspected.map_err(|error| self.fault(&error))?,
        };
        let config = inspected.config.unwrap_or_default();
        let volumes = config.volumes.unwrap_or_default();
        let mut elsewhere = volumes
            .into_iter()
            .filter(|path| !WRITABLE.contains(&path.as_str()));
        if let Some(volume) = elsewhere.next() {
            let image = reference.to_owned();
            return Err(EngineError::Volume { image, volume });
        }
        let init = config.entrypoint.and_then(|words| words.into_iter().next());
        let init = init.filter(|path| path.starts_with('/') && path.ends_with("/sealfleet-init"));
        Ok(Image {
            reference: reference.to_owned(),
            id: inspected.id.unwrap_or_default(),
            init: init.ok_or_else(|| EngineError::NoInit(reference.to_owned()))?,
        })
    }

    /// What an answer means.
    pub(crate) fn fault(&self, error: &Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { message, .. } => {
                EngineError::Refused(message.trim().to_owned())
            }
            error => unreachable(&self.host, error),
        }
    }
}

fn unreachable(host: &str, error: &Error) -> EngineError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        reason = deeper.to_string();
        cause = deeper.source();
    }
    EngineError::Unreachable {
        host: host.to_owned(),
        reason,
    }
}

/// The status of the engine's answer.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn facts(info: &SystemInfo) -> Facts {
    let options = info.security_options.clone().unwrap_or_default();
    let has = |name: &str| options.iter().any(|option| option.contains(name));
    Facts {
        version: info.server_version.clone().unwrap_or_default(),
        storage: info.driver.clone().unwrap_or_default(),
        cgroups: info
            .cgroup_version
            .map(|version| version.to_string())
            .unwrap_or_default(),
        // `unconfined` is an engine whose default profile allows everything.
        seccomp: has("name=seccomp") && !has("profile=unconfined"),
        limits_memory: info.memory_limit == Some(true),
        limits_swap: info.swap_limit == Some(true),
        limits_processes: info.pids_limit == Some(true),
        remaps_users: has("name=userns"),
        rootless: has("name=rootless"),
    }
}

impl std::fmt::Display for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            version,
            storage,
            cgroups,
            ..
        } = self;
        write!(f, "Docker Engine {version}, {storage}, cgroups v{cgroups}")
    }
}
