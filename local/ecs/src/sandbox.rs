//! Containers as sandboxes: the trait that the agent starts them through, and its bubblewrap
//! implementation.
//!
//! A sandbox shares the host's network, which stands for the task's network in a VPC. The command
//! must reach the local AWS endpoint and this process's credentials endpoint, both on the loopback
//! interface.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_bubblewrap::{Launcher, Limits, MIN_MEMORY_BYTES, Network, Sandbox, SandboxSpec};
use tokio::io::AsyncRead;
use zeroize::Zeroizing;

/// What to run.
pub struct ContainerSpec {
    pub command: Vec<String>,
    /// The whole environment, including values of secrets.
    pub environment: Vec<(String, Zeroizing<String>)>,
    pub memory_mib: u64,
    /// The directories that it can write to.
    pub writable: Vec<PathBuf>,
    pub directory: PathBuf,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The exit code. After a signal it is 128 plus the signal's number, as container runtimes
    /// report it.
    Code(i32),
    OutOfMemory,
}

/// A readable end of a container's output.
pub type Output = Box<dyn AsyncRead + Send + Sync + Unpin>;

#[async_trait]
pub trait Runtime: Send + Sync {
    /// # Errors
    /// Why the container did not start, for `CannotStartContainerError`. Never contains a value
    /// from the environment.
    async fn start(&self, spec: ContainerSpec) -> Result<Box<dyn Container>, String>;
}

/// A running container. Dropping it kills it.
#[async_trait]
pub trait Container: Send + Sync {
    /// Standard output and standard error. The second call returns none.
    fn take_output(&mut self) -> Vec<Output>;
    async fn wait(&self) -> Exit;
    /// Sends SIGTERM, then SIGKILL after `grace`.
    async fn stop(&self, grace: Duration) -> Exit;
}

/// Every container has shared memory, whatever its definition says, as container runtimes give it.
const SHARED_MEMORY: &str = "/dev/shm";

/// Containers by bubblewrap: with a read-only root, without capabilities, under a uid of their own.
pub struct Bubblewrap {
    pub launcher: Launcher,
}

#[async_trait]
impl Runtime for Bubblewrap {
    async fn start(&self, spec: ContainerSpec) -> Result<Box<dyn Container>, String> {
        let mut sandbox = SandboxSpec::new(spec.command);
        sandbox.env = spec.environment;
        sandbox.network = Network::Host;
        sandbox.writable = spec.writable;
        sandbox.writable.push(PathBuf::from(SHARED_MEMORY));
        sandbox.directories.clear();
        sandbox.directory = spec.directory;
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
