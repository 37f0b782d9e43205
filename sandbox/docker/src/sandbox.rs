//! A container, from before it is made until nothing is left of it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::models::ContainerState;
use bollard::query_parameters::{
    KillContainerOptions, RemoveContainerOptions, StatsOptions, WaitContainerOptions,
};
use futures_util::StreamExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use sealfleet_sandbox_backend::Exit;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::engine::{Engine, status};

/// How long to wait before the engine is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long an engine that has ended may take to come back.
const RESTART: Duration = Duration::from_secs(60);
/// How long a container may take to end without its engine.
const LAST_MOMENT: Duration = Duration::from_secs(10);
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

/// A container, whether the engine has made it yet or not.
#[derive(Debug)]
pub(crate) struct Container {
    engine: Engine,
    name: String,
    /// The directory of its channel.
    place: PathBuf,
    memory_bytes: u64,
    /// The launcher's end of its channel, once init has connected.
    channel: OnceLock<OwnedFd>,
}

/// A running container; dropping it kills everything inside.
#[derive(Debug)]
pub(crate) struct Sandbox {
    container: Arc<Container>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Container {
    pub(crate) fn new(engine: Engine, name: String, place: PathBuf, memory_bytes: u64) -> Self {
        Self {
            engine,
            name,
            place,
            memory_bytes,
            channel: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Keeps the launcher's end of its channel, to close it.
    pub(crate) fn hold(&self, channel: OwnedFd) {
        // It is set once.
        drop(self.channel.set(channel));
    }

    /// Waits for its end.
    async fn end(&self) -> Exit {
        let mut exceeded = false;
        let code = loop {
            tokio::select! {
                code = self.code() => break code,
                () = self.crosses_its_memory(), if !exceeded => {
                    exceeded = true;
                    self.kill().await;
                }
            }
        };
        let Some(code) = code else {
            self.end_without_engine().await;
            return Exit::Lost;
        };
        let inspected = self.engine.docker.inspect_container(&self.name, None).await;
        let state = inspected.ok().and_then(|container| container.state);
        let killed = |state: ContainerState| state.oom_killed == Some(true);
        if exceeded || state.is_some_and(killed) {
            Exit::OutOfMemory
        } else {
            Exit::from_shell_code(i32::try_from(code).unwrap_or(1))
        }
    }

    /// Its exit code. `None`: nobody knows it, because the engine has ended, or somebody has taken
    /// the container away.
    async fn code(&self) -> Option<i64> {
        let wait = WaitContainerOptions {
            condition: "not-running".to_owned(),
        };
        let mut waited = self.engine.docker.wait_container(&self.name, Some(wait));
        match waited.next().await {
            Some(Ok(answer)) => Some(answer.status_code),
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Some(code),
            _ => None,
        }
    }

    /// Returns once its processes use more memory than they may, apart from their files, which the
    /// engine counts with them.
    async fn crosses_its_memory(&self) {
        let mut samples = Box::pin(
            self.engine
                .docker
                .stats(&self.name, Some(StatsOptions::default())),
        );
        while let Some(Ok(sample)) = samples.next().await {
            let counters = sample.memory_stats.and_then(|memory| memory.stats);
            let counters = counters.unwrap_or_default();
            // Of cgroup v2 and v1.
            let own = counters.get("anon").or_else(|| counters.get("rss"));
            if own.is_some_and(|own| *own > self.memory_bytes) {
                return;
            }
        }
        // Nobody counts any more: the kernel's limit stays.
        std::future::pending().await
    }

    /// Lets init end everything, and waits until it is gone: the end of a container's first process
    /// ends all others.
    async fn end_without_engine(&self) {
        tracing::warn!(
            container = self.name,
            "the engine has ended, or no longer knows the container; ending it"
        );
        self.close();
        let began = Instant::now();
        while !self.is_closed() {
            if began.elapsed() > LAST_MOMENT {
                tracing::error!(container = self.name, "the container does not end");
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn signal(&self, signal: &str) {
        let signal = KillContainerOptions {
            signal: signal.to_owned(),
        };
        let sent = self.engine.docker.kill_container(&self.name, Some(signal));
        if let Err(error) = sent.await {
            // It has ended by itself, or the engine has.
            tracing::debug!(%error, container = self.name, "nothing to signal");
        }
    }

    /// Ends everything in it: by its init, which needs no engine, and by the engine, which needs no
    /// init.
    async fn kill(&self) {
        self.close();
        self.signal("SIGKILL").await;
    }

    /// Closes the launcher's end of the channel for sending. To init, the launcher has ended; init
    /// can still tell how the command ended.
    fn close(&self) {
        if let Some(channel) = self.channel.get() {
            // Fails if the other end is closed.
            let _: Result<(), _> = shutdown(channel, Shutdown::Write);
        }
    }

    /// Whether init has closed its end, as it does when it ends.
    fn is_closed(&self) -> bool {
        let Some(channel) = self.channel.get() else {
            return true;
        };
        let mut watched = [PollFd::new(channel, PollFlags::empty())];
        let polled = poll(&mut watched, Some(&Timespec::default()));
        polled.is_ok()
            && watched
                .iter()
                .any(|one| one.revents().intersects(PollFlags::HUP | PollFlags::ERR))
    }

    /// Takes it away, with all that runs in it. An engine that is restarted has a minute to come
    /// back; later, a reaper does it.
    pub(crate) async fn remove(&self) {
        let began = Instant::now();
        loop {
            let removed = remove(&self.engine, &self.name).await;
            let Err(error) = removed else { break };
            if began.elapsed() > RESTART {
                tracing::warn!(%error, container = self.name, "a container is left for the next reaper");
                return;
            }
            sleep(AGAIN).await;
        }
        if let Err(error) = forget(&self.place) {
            tracing::warn!(%error, place = %self.place.display(), "the directory of a channel is left");
        }
    }
}

/// Removes a container, if it is there and nobody else removes it already.
pub(crate) async fn remove(engine: &Engine, name: &str) -> Result<(), Error> {
    let options = RemoveContainerOptions {
        force: true,
        v: true,
        ..RemoveContainerOptions::default()
    };
    match engine.docker.remove_container(name, Some(options)).await {
        Err(error) if status(&error) == Some(404) => Ok(()),
        // Two reapers of one host may meet. Removed by force, a container has no other conflict.
        Err(error) if status(&error) == Some(409) => Ok(()),
        removed => removed,
    }
}

/// Removes the directory of a channel, if it is there.
pub(crate) fn forget(place: &Path) -> io::Result<()> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Sandbox {
    /// Watches a container that has started, to its end, and takes it away then.
    pub(crate) fn watch(container: Arc<Container>) -> Self {
        let (announce, exit) = watch::channel(None);
        let watched = Arc::clone(&container);
        tokio::spawn(async move {
            let exit = watched.end().await;
            // An engine that has ended may take a while to come back.
            if exit == Exit::Lost {
                announce.send_replace(Some(exit));
                watched.remove().await;
            } else {
                watched.remove().await;
                announce.send_replace(Some(exit));
            }
        });
        Self { container, exit }
    }
}

#[async_trait]
impl sealfleet_sandbox_backend::Sandbox for Sandbox {
    fn id(&self) -> &str {
        &self.container.name
    }

    async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        // The watcher gives no answer only if the runtime shuts down, which closes the channel.
        let ended = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| *exit);
        ended.unwrap_or(Exit::Signal(SIGKILL))
    }

    async fn stop(&self, grace: Duration) -> Exit {
        if !grace.is_zero() {
            self.container.signal("SIGTERM").await;
            if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
                return exit;
            }
        }
        self.container.kill().await;
        self.wait().await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.exit.borrow().is_some() {
            return;
        }
        self.container.close();
        if let Ok(runtime) = Handle::try_current() {
            let container = Arc::clone(&self.container);
            runtime.spawn(async move { container.kill().await });
        }
    }
}
