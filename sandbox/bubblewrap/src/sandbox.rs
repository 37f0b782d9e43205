//! A running sandbox.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use sealfleet_sandbox_backend::Exit;
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::watch;

/// A running sandbox; dropping it kills everything inside.
#[derive(Debug)]
pub struct Sandbox {
    /// The command's standard output. Read it, or the command blocks once the pipe is full.
    pub stdout: Option<ChildStdout>,
    /// The command's standard error.
    pub stderr: Option<ChildStderr>,
    pub(crate) id: String,
    pub(crate) pid: u32,
    pub(crate) monitor_pid: u32,
    pub(crate) host_uid: u32,
    pub(crate) command: OwnedFd,
    pub(crate) exit: watch::Receiver<Option<Exit>>,
}

impl Sandbox {
    /// A name for logs, unique on this host while the launcher runs.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The command's process id on the host.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The process id of bubblewrap itself, outside of the sandbox.
    #[must_use]
    pub fn monitor_pid(&self) -> u32 {
        self.monitor_pid
    }

    /// The uid all its processes have on the host.
    #[must_use]
    pub fn host_uid(&self) -> u32 {
        self.host_uid
    }

    /// Waits for the end of the command. No process of the sandbox runs when this returns. May be
    /// called again.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        // The supervisor gives no answer only if the runtime shuts down, which kills the sandbox.
        let ended = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| *exit);
        ended.unwrap_or(Exit::Signal(Signal::KILL.as_raw()))
    }

    /// Asks the command to end (SIGTERM), and kills the whole sandbox after `grace`. PID 1 never
    /// sees a SIGTERM that it does not handle (pid_namespaces(7)); `sealfleet-init` handles it and
    /// passes it on.
    pub async fn stop(&self, grace: Duration) -> Exit {
        if !grace.is_zero() {
            self.signal(Signal::TERM);
            if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
                return exit;
            }
        }
        self.signal(Signal::KILL);
        self.wait().await
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(&self.command, signal) {
            // No such process: it has ended by itself.
            tracing::debug!(%error, sandbox = self.id, "nothing to signal");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
