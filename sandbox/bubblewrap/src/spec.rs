//! What a sandbox runs, sees and may use.

use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use sealfleet_sandbox_backend::{Limits, MIN_MEMORY_BYTES, Network};
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

/// The smallest scratch space: a page for the directories.
const MIN_SCRATCH_BYTES: u64 = 64 * 1024;

/// A host path shown inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path on the host; the sandbox's host uid must be able to reach it.
    pub source: PathBuf,
    /// Path in the sandbox, below `/tmp` or `/run`.
    pub target: PathBuf,
    pub writable: bool,
}
