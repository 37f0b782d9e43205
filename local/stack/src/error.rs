//! Errors of the local stack, worded for the person who ran the command.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a stack is already up in `{}`: use it, or run `sealfleet-local down --dir {}` first", .0.display(), .0.display())]
    AlreadyUp(PathBuf),
    #[error("no stack is up in `{}`: run `sealfleet-local up --dir {}` first", .0.display(), .0.display())]
    NotUp(PathBuf),
    #[error(
        "the stack has no project of its own: run `sealfleet-local down`, then `up --project demo`"
    )]
    NoProject,
    #[error("another `sealfleet-local` command is working in `{}`: wait for it to finish", .0.display())]
    Busy(PathBuf),
    /// The user's contexts cannot be read.
    #[error(transparent)]
    Contexts(#[from] sealfleet_cli::contexts::Error),
    #[error(
        "the context `{0}` is another control plane's, and its token would be lost: name another project"
    )]
    ContextOfAnother(String),
    /// A binary that the stack needs does not exist.
    #[error("`{}` is not a file: build it with `cargo build`, or name it with `--{flag}`", path.display())]
    MissingBinary {
        /// The option that names the binary.
        flag: &'static str,
        /// The path that was checked.
        path: PathBuf,
    },
    #[error(
        "there is no process {0} to watch: give the pid of a running process to `--parent-pid`"
    )]
    NoParent(u32),
    #[error("`{}` is a mount point below the stack's directory: unmount it, then run `down` again", .0.display())]
    Mounted(PathBuf),
    #[error("`{}`: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Rootfs(#[from] sealfleet_bubblewrap::Unavailable),
    /// A file of the stack does not have the content that `up` wrote.
    #[error("`{}` is damaged ({source}): run `sealfleet-local down`, then `up`", path.display())]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("cannot write JSON: {0}")]
    Json(serde_json::Error),
    #[error("cannot run `{}`: {source}", program.display())]
    Run { program: PathBuf, source: io::Error },
    #[error("{what} failed:\n{output}")]
    Failed {
        /// The purpose of the program.
        what: &'static str,
        /// The end of its output.
        output: String,
    },
    #[error("`{command}` failed:\n{output}")]
    Command { command: String, output: String },
    #[error("{name} did not become ready; the end of `{}`:\n{tail}", log.display())]
    NotReady {
        name: &'static str,
        log: PathBuf,
        tail: String,
    },
    #[error("no free port on 127.0.0.1: {0}")]
    NoPort(io::Error),
    #[error("cannot watch for Ctrl-C: {0}")]
    Signals(io::Error),
    #[error("cannot find this program's own path: {0}")]
    OwnPath(io::Error),
    #[error(
        "no home directory for what stacks share: set HOME, or name both with `--venv` and `--sandbox-root`"
    )]
    NoHome,
    #[error("cannot write the function package: {0}")]
    Package(#[from] zip::result::ZipError),
    #[error("{what}: {reason}")]
    Aws {
        /// The purpose of the call.
        what: &'static str,
        /// The emulator's answer, with causes.
        reason: String,
    },
    #[error(transparent)]
    Deploy(#[from] sealfleet_cli::cloudformation::Error),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
