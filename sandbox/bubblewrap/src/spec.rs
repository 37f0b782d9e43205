//! What a sandbox runs, sees and may use.

use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::LaunchError;
use crate::rootfs::{HOME, WORKSPACE};

/// One sandbox to start.
#[derive(Debug)]
pub struct SandboxSpec {
    /// The program (looked up in the sandbox's `PATH`) and its arguments. It becomes PID 1 of the
    /// sandbox, so it must reap what it leaves behind: `sealfleet-init` does. Visible on the host
    /// in `/proc/PID/cmdline`, so never a secret.
    pub command: Vec<String>,
    /// The whole environment of the command; only `PWD` is added. Passed through an anonymous file,
    /// never in arguments.
    pub env: Vec<(String, Zeroizing<String>)>,
    pub network: Network,
    /// The command's channel to the host. The command has it as descriptor [`CHANNEL_FD`], the only
    /// one beside its three standard streams.
    pub channel: Option<OwnedFd>,
    pub limits: Limits,
    /// Directories of the root file system that the command can write to. Each is empty at first,
    /// lives in memory and ends with the sandbox.
    pub writable: Vec<PathBuf>,
    /// Directories that are made in those.
    pub directories: Vec<PathBuf>,
    /// Directory that the command starts in.
    pub directory: PathBuf,
    /// Host paths to show inside, beside the root file system.
    pub binds: Vec<Bind>,
}

impl SandboxSpec {
    /// A sandbox for `command` that starts in `/workspace` and can write to it, `/tmp`, `/run` and
    /// `/dev/shm`, with an empty environment, no network, no channel, no binds and
    /// [`Limits::default`].
    #[must_use]
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            network: Network::None,
            channel: None,
            limits: Limits::default(),
            writable: ["/dev/shm", WORKSPACE, "/tmp", "/run"]
                .map(PathBuf::from)
                .into(),
            directories: vec![PathBuf::from(HOME)],
            directory: PathBuf::from(WORKSPACE),
            binds: Vec::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), LaunchError> {
        let invalid = |what: String| Err(LaunchError::Invalid(what));
        if self.command.first().is_none_or(String::is_empty) {
            return invalid("the command is empty".into());
        }
        if self.command.iter().any(|part| part.contains('\0')) {
            return invalid("an argument of the command contains a NUL character".into());
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return invalid(format!(
                    "the environment variable name `{}` is not usable",
                    name.escape_debug()
                ));
            }
            if value.contains('\0') {
                return invalid(format!(
                    "the value of the environment variable `{name}` contains a NUL character"
                ));
            }
        }
        for bind in &self.binds {
            let inside = bind.target.starts_with("/tmp") || bind.target.starts_with("/run");
            let plain = bind
                .target
                .components()
                .all(|part| !matches!(part, std::path::Component::ParentDir));
            if !inside || !plain || bind.target.components().count() < 3 {
                return invalid(format!(
                    "the bind target `{}` is not below `/tmp` or `/run`",
                    bind.target.display()
                ));
            }
            if !bind.source.is_absolute() {
                return invalid(format!(
                    "the bind source `{}` is not an absolute path",
                    bind.source.display()
                ));
            }
        }
        if self.limits.memory_bytes < MIN_MEMORY_BYTES {
            return invalid(format!(
                "the memory limit {} is below {MIN_MEMORY_BYTES} bytes",
                self.limits.memory_bytes
            ));
        }
        if self.limits.scratch_bytes < MIN_SCRATCH_BYTES {
            return invalid(format!(
                "the scratch space {} is below {MIN_SCRATCH_BYTES} bytes",
                self.limits.scratch_bytes
            ));
        }
        if self.limits.pids < 2 || self.limits.open_files < MIN_OPEN_FILES {
            return invalid(format!(
                "the limits must allow at least 2 processes and {MIN_OPEN_FILES} open files"
            ));
        }
        Ok(())
    }
}

/// The number under which a command has its channel to the host.
pub const CHANNEL_FD: RawFd = 3;

/// The smallest limit of open files.
const MIN_OPEN_FILES: u64 = 64;

/// The smallest memory limit: below it bubblewrap itself may not start.
pub const MIN_MEMORY_BYTES: u64 = 8 * 1024 * 1024;

/// The network inside a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// A network namespace of its own with nothing but loopback.
    #[default]
    None,
    /// The host's network, with the host's `/etc/resolv.conf`.
    Host,
}

/// How much one sandbox may use. [`Report::limits`](crate::Report) says how strictly each limit is
/// enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all its processes, in bytes, apart from the files that they write. Crossing it
    /// ends the sandbox with [`Exit::OutOfMemory`](crate::Exit::OutOfMemory).
    pub memory_bytes: u64,
    /// Processes and threads that live at once, at least 2.
    pub pids: u64,
    /// Open descriptors of each process, at least 64.
    pub open_files: u64,
    /// Bytes for files in `/workspace`, and as many in `/tmp`. Whoever needs more is told that the
    /// disk is full. The files lie in the host's memory.
    pub scratch_bytes: u64,
}

impl Limits {
    /// Bytes for files in `/dev/shm`: half of the memory, as on a whole machine.
    pub(crate) const fn shared_bytes(&self) -> u64 {
        self.memory_bytes / 2
    }

    /// Bytes for files in all places together.
    pub(crate) const fn files_in_memory(&self) -> u64 {
        self.scratch_bytes
            .saturating_mul(2)
            .saturating_add(self.shared_bytes())
            .saturating_add(RUN_BYTES)
    }
}

/// Bytes for files in `/run`.
pub(crate) const RUN_BYTES: u64 = 16 * 1024 * 1024;

/// The smallest scratch space: a page for the directories.
const MIN_SCRATCH_BYTES: u64 = 64 * 1024;

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

/// A host path shown inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path on the host; the sandbox's host uid must be able to reach it.
    pub source: PathBuf,
    /// Path in the sandbox, below `/tmp` or `/run`.
    pub target: PathBuf,
    pub writable: bool,
}
