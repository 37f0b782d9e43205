//! What can go wrong with the local stack, worded for the person who ran the command.

use std::{io, path::PathBuf};

/// Why a command of the local stack failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A stack runs from this directory already.
    #[error("a stack is already up in `{}`: use it, or run `sealfleet-local down --dir {}` first", .0.display(), .0.display())]
    AlreadyUp(PathBuf),
    /// There is no stack in this directory.
    #[error("no stack is up in `{}`: run `sealfleet-local up --dir {}` first", .0.display(), .0.display())]
    NotUp(PathBuf),
    /// Another command works on this directory right now.
    #[error("another `sealfleet-local` command is working in `{}`: wait for it to finish", .0.display())]
    Busy(PathBuf),
    /// A binary the stack needs is not there.
    #[error("`{}` is not a file: build it with `cargo build`, or name it with `--{flag}`", path.display())]
    MissingBinary {
        /// The option that names it.
        flag: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The process to watch does not exist.
    #[error(
        "there is no process {0} to watch: give the pid of a running process to `--parent-pid`"
    )]
    NoParent(u32),
    /// Something is mounted below the stack's directory.
    #[error("`{}` is a mount point below the stack's directory: unmount it, then run `down` again", .0.display())]
    Mounted(PathBuf),
    /// A file of the stack could not be read or written.
    #[error("`{}`: {source}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The root directory of sandboxes could not be made.
    #[error(transparent)]
    Rootfs(#[from] sealfleet_bubblewrap::Unavailable),
    /// A file of the stack is not what `up` wrote.
    #[error("`{}` is damaged ({source}): run `sealfleet-local down`, then `up`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// An answer could not be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(serde_json::Error),
    /// A program could not be run.
    #[error("cannot run `{}`: {source}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A helper program failed.
    #[error("{what} failed:\n{output}")]
    Failed {
        /// What it was for.
        what: &'static str,
        /// The end of what it printed.
        output: String,
    },
    /// A server did not come up.
    #[error("{name} did not become ready; the end of `{}`:\n{tail}", log.display())]
    NotReady {
        /// The server.
        name: &'static str,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// No port could be found.
    #[error("no free port on 127.0.0.1: {0}")]
    NoPort(io::Error),
    /// Signals could not be watched.
    #[error("cannot watch for Ctrl-C: {0}")]
    Signals(io::Error),
    /// The running program does not know its own path.
    #[error("cannot find this program's own path: {0}")]
    OwnPath(io::Error),
    /// The home directory is unknown.
    #[error("no home directory for the emulator's Python environment: name a place with `--venv`")]
    NoHome,
    /// The function package could not be written.
    #[error("cannot write the function package: {0}")]
    Package(#[from] zip::result::ZipError),
    /// The emulator refused a call.
    #[error("{what}: {reason}")]
    Aws {
        /// What was asked of it.
        what: &'static str,
        /// Its answer, with causes.
        reason: String,
    },
    /// A template did not deploy.
    #[error(transparent)]
    Deploy(#[from] sealfleet_cli::cloudformation::Error),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
