//! `bare`: the command as a plain process of this user, with a clean environment and a directory of
//! its own.
//!
//! This is not a security boundary: the command can do all that the worker's user can. It never
//! gets a secret. [`crate::guard`] stands between worker and command, so that the command ends with
//! its lease and with the worker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_client::types::Claim;
use sealfleet_domain::run::Failure;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, Command};
use tokio::sync::{Mutex, watch};

use super::output::{Logs, StepLog};
use super::{Ended, Executor, Prepared, Running, cannot_start};
use crate::guard;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Counts this process's commands, for their names.
static STARTED: AtomicU64 = AtomicU64::new(1);

/// How long output may take to arrive after the command's end.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Bare {
    /// The `sealfleet-worker` program, which is also the guard.
    pub program: PathBuf,
    pub logs: Logs,
}

struct PreparedProcess {
    command: Command,
    directory: TempDir,
    log: StepLog,
    name: String,
    resolved: BTreeMap<String, String>,
}

struct Process {
    /// Closed: the guard kills the group.
    orders: Mutex<Option<ChildStdin>>,
    exit: watch::Receiver<Option<Ended>>,
}

#[async_trait]
impl Executor for Bare {
    async fn prepare(&self, claim: &Claim) -> Result<Box<dyn Prepared>, Failure> {
        if claim.command.first().is_none_or(String::is_empty) {
            return Err(cannot_start("the step has no command"));
        }
        let log = self
            .logs
            .open(claim)
            .map_err(|error| cannot_start(format!("cannot write its log: {error}")))?;
        let directory = tempfile::Builder::new().prefix("sealfleet-").tempdir();
        let directory = directory
            .map_err(|error| cannot_start(format!("cannot make its directory: {error}")))?;
        let mut command = Command::new(&self.program);
        command
            .arg(guard::SUBCOMMAND)
            .arg("--")
            .args(&claim.command);
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
        command
            .env("HOME", directory.path())
            .env("TMPDIR", directory.path())
            .envs(&claim.env);
        command.current_dir(directory.path()).process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("bare-{}-{number}", std::process::id());
        Ok(Box::new(PreparedProcess {
            command,
            directory,
            log,
            name,
            resolved: BTreeMap::new(),
        }))
    }
}

#[async_trait]
impl Prepared for PreparedProcess {
    fn sandbox(&self) -> &str {
        &self.name
    }

    fn resolved(&self) -> &BTreeMap<String, String> {
        &self.resolved
    }

    async fn go(mut self: Box<Self>) -> Result<Box<dyn Running>, Failure> {
        let spawned = self.command.spawn();
        let mut child =
            spawned.map_err(|error| cannot_start(format!("cannot run the guard: {error}")))?;
        let orders = Mutex::new(child.stdin.take());
        let output = child.stdout.take().map(|stdout| self.log.follow(stdout));
        let errors = child.stderr.take().map(|stderr| self.log.follow(stderr));
        let (announce, exit) = watch::channel(None);
        let directory = self.directory;
        tokio::spawn(async move {
            let ended = match child.wait().await {
                Ok(status) => match (
                    status.code(),
                    std::os::unix::process::ExitStatusExt::signal(&status),
                ) {
                    (Some(code), _) => Ended::Code(code),
                    (None, Some(signal)) => Ended::Signal(signal),
                    (None, None) => Ended::Code(126),
                },
                Err(_) => Ended::Code(126),
            };
            let copies = async {
                for copy in [output, errors].into_iter().flatten() {
                    drop(copy.await);
                }
            };
            drop(tokio::time::timeout(LAST_WORDS, copies).await);
            if let Err(error) = directory.close() {
                tracing::warn!(%error, "cannot remove a step's directory");
            }
            announce.send_replace(Some(ended));
        });
        Ok(Box::new(Process { orders, exit }))
    }
}

#[async_trait]
impl Running for Process {
    async fn wait(&self) -> Ended {
        let mut exit = self.exit.clone();
        let ended = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|ended| *ended);
        ended.unwrap_or(Ended::Signal(9))
    }

    async fn stop(&self, grace: Duration) -> Ended {
        let mut orders = self.orders.lock().await;
        if !grace.is_zero() {
            if let Some(orders) = orders.as_mut() {
                // Fails only if the guard has ended.
                drop(orders.write_all(b"t").await);
            }
            if let Ok(ended) = tokio::time::timeout(grace, self.wait()).await {
                return ended;
            }
        }
        orders.take();
        self.wait().await
    }
}
