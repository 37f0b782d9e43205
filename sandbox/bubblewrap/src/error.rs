//! Why there is no sandbox. No error holds a value of the environment.

use std::path::PathBuf;

/// Sandboxes cannot be started on this host.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// No `bwrap` in the configured place or the usual ones.
    #[error(
        "`bwrap` was not found: install bubblewrap 0.8 or newer (`apt-get install bubblewrap`)"
    )]
    NotInstalled,
    /// The program does not run.
    #[error("`{}` does not run: {reason}", path.display())]
    Unusable {
        path: PathBuf,
        /// Its own words or the system's.
        reason: String,
    },
    /// Too old for `--disable-userns`.
    #[error("`{}` is bubblewrap {version}, 0.8 or newer is needed", path.display())]
    TooOld { path: PathBuf, version: String },
    /// The root file system is missing, or a sandbox's user cannot reach it.
    #[error("the sandbox root `{}` cannot be used: {reason}", path.display())]
    Rootfs {
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The host does not offer the limits driver that was asked for.
    #[error("the limits driver `{wanted}` cannot be used here: {reason}")]
    Limits {
        /// Its name in the report.
        wanted: &'static str,
        /// What is missing.
        reason: String,
    },
    #[error("the state directory `{}` cannot be used", path.display())]
    State {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The trial sandbox did not work.
    #[error(
        "a first sandbox did not start on this host (are unprivileged user namespaces switched off?)"
    )]
    Probe(#[source] LaunchError),
}

/// One sandbox could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("the sandbox cannot be started: {0}")]
    Invalid(String),
    #[error(
        "every host uid of the sandbox range is in use: wait for a sandbox to end or widen the range"
    )]
    NoFreeUid,
    /// bubblewrap refused; its own words.
    #[error("bubblewrap did not set the sandbox up: {0}")]
    Refused(String),
    #[error("the sandbox cannot be started: {what}")]
    System {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl LaunchError {
    pub(crate) fn system<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            what,
            source: source.into(),
        }
    }
}
