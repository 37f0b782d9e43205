//! Containers as sandboxes: the seam the agent starts them through, and bubblewrap behind it.
//!
//! A sandbox shares the host's network. It stands for the task's network in a VPC: the command must
//! reach the local AWS endpoint and the credentials endpoint of this process, both on the loopback
//! interface.

use std::time::Duration;

use async_trait::async_trait;
use sealfleet_bubblewrap::{Launcher, Limits, MIN_MEMORY_BYTES, Network, Sandbox, SandboxSpec};
use tokio::io::AsyncRead;
use zeroize::Zeroizing;

/// What to run.
pub struct ContainerSpec {
    pub command: Vec<String>,
    /// The whole environment; values of secrets among it.
    pub environment: Vec<(String, Zeroizing<String>)>,
    pub memory_mib: u64,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The exit code; 128 + number for a signal, as container runtimes report it.
    Code(i32),
    OutOfMemory,
}

/// One end of a container's output.
pub type Output = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// Starts containers.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// # Errors
    /// Why it did not start, for `CannotStartContainerError`. Never holds a value of the
    /// environment.
    async fn start(&self, spec: ContainerSpec) -> Result<Box<dyn Container>, String>;
}

/// A running container; dropping it kills it.
#[async_trait]
pub trait Container: Send + Sync {
    /// Standard output and standard error, once.
    fn take_output(&mut self) -> Vec<Output>;
    async fn wait(&self) -> Exit;
    /// SIGTERM, then SIGKILL after `grace`.
    async fn stop(&self, grace: Duration) -> Exit;
}

/// Containers by bubblewrap: read-only root, no capability, a user of its own.
pub struct Bubblewrap {
    pub launcher: Launcher,
}

#[async_trait]
impl Runtime for Bubblewrap {
    async fn start(&self, spec: ContainerSpec) -> Result<Box<dyn Container>, String> {
        let mut sandbox = SandboxSpec::new(spec.command);
        sandbox.env = spec.environment;
        sandbox.network = Network::Host;
        sandbox.limits = Limits {
            memory_bytes: spec
                .memory_mib
                .saturating_mul(1024 * 1024)
                .max(MIN_MEMORY_BYTES),
            ..Limits::default()
        };
        match self.launcher.spawn(sandbox).await {
            Ok(sandbox) => Ok(Box::new(Running(sandbox))),
            Err(error) => Err(error.to_string()),
        }
    }
}

struct Running(Sandbox);

#[async_trait]
impl Container for Running {
    fn take_output(&mut self) -> Vec<Output> {
        let stdout = self.0.stdout.take().map(|pipe| Box::new(pipe) as Output);
        let stderr = self.0.stderr.take().map(|pipe| Box::new(pipe) as Output);
        stdout.into_iter().chain(stderr).collect()
    }

    async fn wait(&self) -> Exit {
        exit(self.0.wait().await)
    }

    async fn stop(&self, grace: Duration) -> Exit {
        exit(self.0.stop(grace).await)
    }
}

fn exit(exit: sealfleet_bubblewrap::Exit) -> Exit {
    match exit {
        sealfleet_bubblewrap::Exit::OutOfMemory => Exit::OutOfMemory,
        other => Exit::Code(other.code()),
    }
}
