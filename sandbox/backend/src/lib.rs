//! What a worker needs of a sandbox backend, and all that it knows of one.
//!
//! [`SandboxBackend::start`] starts a sandbox whose first process is `sealfleet-init`, and answers
//! with its [channel](sealfleet_channel). The worker does the rest over the channel, the same way
//! for every backend.

mod state;

use std::time::Duration;

use async_trait::async_trait;
use sealfleet_channel::{Socket, ToHost, ToInit};
use sealfleet_domain::run::Fence;
use sealfleet_domain::{ProjectId, RunId, StepId};
use tokio::io::AsyncRead;

pub use state::{Found, Note, Process, StateDirectory};

/// The variant of a backend's image for steps that name none.
pub const DEFAULT_IMAGE: &str = "default";

/// Starts sandboxes of one kind on this host.
#[async_trait]
pub trait SandboxBackend: Send + Sync {
    /// Its name in the capability table.
    fn name(&self) -> &'static str;

    /// The variants of its image that an order can name.
    fn images(&self) -> Vec<String>;

    /// Whether what runs its sandboxes answers: if not, none can start now, and later perhaps.
    ///
    /// # Errors
    /// Why not.
    async fn ready(&self) -> Result<(), StartError> {
        Ok(())
    }

    /// Starts a sandbox. `sealfleet-init` waits in it for its step, and nothing of the step runs.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left of the sandbox.
    async fn start(&self, order: Order) -> Result<Started, StartError>;
}

/// A sandbox to start.
#[derive(Clone, Debug)]
pub struct Order {
    pub owner: Owner,
    /// The variant of its image; none for the backend's usual one.
    pub image: Option<String>,
    pub network: Network,
    pub limits: Limits,
    /// How long it may be there at the most. Later, anybody may take it away.
    pub lifetime: Duration,
}

/// The claim that a sandbox belongs to.
#[derive(Clone, Debug)]
pub struct Owner {
    pub project: ProjectId,
    pub run_id: RunId,
    pub step_id: StepId,
    pub fence: Fence,
}

/// Why there is no sandbox: for people, by names only.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// A sandbox that has started.
pub struct Started {
    pub sandbox: Box<dyn Sandbox>,
    /// The only channel to its init.
    pub channel: Socket<ToInit, ToHost>,
    /// Read both, or the command blocks once a pipe is full.
    pub stdout: Output,
    pub stderr: Output,
}

pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// A running sandbox. Dropped: everything inside is killed.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Its name, unique on this host while it lives.
    fn id(&self) -> &str;
    /// Waits for the end of its first process. No process of the sandbox runs when this returns.
    /// May be called again.
    async fn wait(&self) -> Exit;
    /// Asks its first process to end (SIGTERM), and kills the whole sandbox after `grace`.
    async fn stop(&self, grace: Duration) -> Exit;
}

/// How a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command's own exit code. As in shells, 127 if it could not be run; standard error says
    /// why.
    Code(i32),
    /// A signal ended it. Backends, like a shell, say so by 128 + number, so a command that exits
    /// with 129 to 192 looks the same.
    Signal(i32),
    /// It crossed its memory limit.
    OutOfMemory,
    /// What ran it has gone, so nobody knows how its command would have ended. Nothing of it runs
    /// any more.
    Lost,
}

impl Exit {
    /// As a shell's exit code: 128 + number for a signal, 137 for what was killed from outside.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::OutOfMemory | Self::Lost => 137,
        }
    }

    /// From a shell's exit code; the other way of [`code`](Self::code) but for what was
    /// killed from outside.
    #[must_use]
    pub fn from_shell_code(code: i32) -> Self {
        match code {
            129..=192 => Self::Signal(code - 128),
            code => Self::Code(code),
        }
    }
}

/// The network inside a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// A network namespace of its own with nothing but loopback.
    #[default]
    None,
    /// The host's network, with the host's `/etc/resolv.conf`.
    Host,
}

/// How much one sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all its processes, in bytes, apart from the files that they write. Crossing it
    /// ends the sandbox with [`Exit::OutOfMemory`].
    pub memory_bytes: u64,
    /// Processes and threads that live at once, at least 2.
    pub pids: u64,
    /// Open descriptors of each process, at least 64.
    pub open_files: u64,
    /// Bytes for files in `/workspace`, and as many in `/tmp`. Whoever needs more is told that the
    /// disk is full. The files lie in the host's memory.
    pub scratch_bytes: u64,
}

/// The smallest memory limit: below it a backend itself may not start.
pub const MIN_MEMORY_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes for files in `/run`.
pub const RUN_BYTES: u64 = 16 * 1024 * 1024;

impl Limits {
    /// Bytes for files in `/dev/shm`: half of the memory, as on a whole machine.
    #[must_use]
    pub const fn shared_bytes(&self) -> u64 {
        self.memory_bytes / 2
    }

    /// Bytes for files in all places together.
    #[must_use]
    pub const fn files_in_memory(&self) -> u64 {
        self.scratch_bytes
            .saturating_mul(2)
            .saturating_add(self.shared_bytes())
            .saturating_add(RUN_BYTES)
    }
}

impl Default for Limits {
    /// 512 MiB of memory, 256 processes, 1024 open files, 1 GiB of scratch space.
    fn default() -> Self {
        Self {
            memory_bytes: 512 * 1024 * 1024,
            pids: 256,
            open_files: 1024,
            scratch_bytes: 1024 * 1024 * 1024,
        }
    }
}
