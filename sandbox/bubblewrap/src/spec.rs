//! What a sandbox is to run, see and use.

use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::LaunchError;

/// One sandbox to start.
#[derive(Debug)]
pub struct SandboxSpec {
    /// The program (looked up in the sandbox's `PATH`) and its arguments. It becomes PID 1 of the
    /// sandbox, so it must reap what it leaves behind: `sealfleet-init` does. Visible on the host
    /// in `/proc/PID/cmdline`, so never a secret.
    pub command: Vec<String>,
    /// The whole environment of the command; nothing is added but `PWD`. Handed over through an
    /// anonymous file, never by arguments.
    pub env: Vec<(String, Zeroizing<String>)>,
    /// Which network the command sees.
    pub network: Network,
    /// Open descriptors for the command, each with its number inside (3 or more, no number twice).
    pub fds: Vec<(OwnedFd, RawFd)>,
    /// What it may use up.
    pub limits: Limits,
    /// Host paths to show inside, beside the root file system.
    pub binds: Vec<Bind>,
}

impl SandboxSpec {
    /// A sandbox for `command` with an empty environment, no network, no descriptors, no binds and
    /// [`Limits::default`].
    #[must_use]
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            network: Network::None,
            fds: Vec::new(),
            limits: Limits::default(),
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
        for (index, (_, number)) in self.fds.iter().enumerate() {
            if !(3..=MAX_FD_INSIDE).contains(number) {
                return invalid(format!(
                    "the descriptor number {number} is not within 3 to {MAX_FD_INSIDE}"
                ));
            }
            if self
                .fds
                .iter()
                .take(index)
                .any(|(_, other)| other == number)
            {
                return invalid(format!("the descriptor number {number} is given twice"));
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
        if self.limits.pids < 2 || self.limits.open_files <= MAX_FD_INSIDE.unsigned_abs().into() {
            return invalid(format!(
                "the limits must allow 2 processes and {} open files at least",
                MAX_FD_INSIDE + 1
            ));
        }
        Ok(())
    }
}

/// The highest descriptor number a command can be given.
pub const MAX_FD_INSIDE: RawFd = 63;

/// The smallest memory limit: below it bubblewrap itself may not come up.
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

/// What one sandbox may use up; how hard each is enforced is in [`Report::limits`](crate::Report).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all its processes and of its `/tmp`, `/run` and `/dev/shm`, in bytes. Crossing it
    /// ends the sandbox with [`Exit::OutOfMemory`](crate::Exit::OutOfMemory).
    pub memory_bytes: u64,
    /// Processes and threads that live at once, 2 at least.
    pub pids: u64,
    /// Open descriptors of each process, 64 at least.
    pub open_files: u64,
}

impl Default for Limits {
    /// 512 MiB, 256 processes, 1024 open files.
    fn default() -> Self {
        Self {
            memory_bytes: 512 * 1024 * 1024,
            pids: 256,
            open_files: 1024,
        }
    }
}

/// A host path shown inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path on the host; the sandbox's host uid must be able to reach it.
    pub source: PathBuf,
    /// Where it appears: below `/tmp` or `/run`.
    pub target: PathBuf,
    /// Whether the command may write to it.
    pub writable: bool,
}
