//! `bare`: the command as a plain process of this user, with a clean environment and a directory of
//! its own.
//!
//! This is not a security boundary: the command can do all that the worker's user can. It never
//! gets a secret. [`crate::guard`] stands between worker and command, so that the command and all
//! that it started end with it, with its lease and with the worker. Where the worker can make
//! cgroups, guard and command live in one: it ends what is left if the guard itself was killed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_bubblewrap::{Cgroups, Group};
use sealfleet_channel::CommandEnd;
use sealfleet_client::types::Claim;
use sealfleet_domain::command::Word;
use sealfleet_domain::output::Stream;
use sealfleet_domain::run::Failure;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::OwnedWriteHalf;
use tokio::process::Command;
use tokio::sync::{Mutex, watch};

use super::output::{Logs, StepLog};
use super::{Ended, Executor, LAST_WORDS, Prepared, Running, cannot_start};
use crate::guard;
use crate::inputs::Inputs;

/// The environment every command starts from, apart from its directory. Python writes what it
/// prints at once, so that the last words of a command that is killed are not lost in its buffer.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("LANG", "C.UTF-8"),
    ("PYTHONUNBUFFERED", "1"),
];

/// The file below its directory that is a command's standard input.
const STDIN: &str = ".sealfleet/stdin";

/// Counts this process's commands, for their names.
static STARTED: AtomicU64 = AtomicU64::new(1);

#[derive(Debug)]
pub struct Bare {
    /// The `sealfleet-worker` program, which is also the guard.
    pub program: PathBuf,
    /// What steps work with.
    pub inputs: Inputs,
    pub logs: Logs,
    /// Where commands get a cgroup each, if the worker can make any.
    pub cgroups: Option<Cgroups>,
}

struct PreparedProcess {
    command: Command,
    group: Option<Group>,
    directory: TempDir,
    log: StepLog,
    name: String,
    resolved: BTreeMap<String, String>,
}

struct Process {
    /// Closed: the guard kills everything.
    orders: Mutex<Option<OwnedWriteHalf>>,
    exit: watch::Receiver<Option<Ended>>,
    log: StepLog,
}

#[async_trait]
impl Executor for Bare {
    async fn prepare(&self, claim: &Claim) -> Result<Box<dyn Prepared>, Failure> {
        if claim
            .command
            .first()
            .and_then(Word::text)
            .is_none_or(str::is_empty)
        {
            return Err(cannot_start("the step has no command"));
        }
        let log = self
            .logs
            .open(claim)
            .map_err(|error| cannot_start(format!("cannot write its log: {error}")))?;
        let directory = tempfile::Builder::new().prefix("sealfleet-").tempdir();
        let directory = directory
            .map_err(|error| cannot_start(format!("cannot make its directory: {error}")))?;
        let stdin = work_in(directory.path(), claim).map_err(cannot_start)?;
        let mut inputs = self.inputs.of(claim);
        while let Some(batch) = inputs.next().await.map_err(cannot_start)? {
            for (place, mut file) in batch {
                let path = place.path().unwrap_or_else(|| STDIN.to_owned());
                sealfleet_workspace::write_file(directory.path(), &path, &mut file)
                    .map_err(cannot_start)?;
            }
        }
        let words = sealfleet_workspace::words(directory.path(), &claim.command);
        let mut command = Command::new(&self.program);
        command
            .arg(guard::SUBCOMMAND)
            .arg(stdin)
            .arg("--")
            .args(words.map_err(cannot_start)?);
        command.env_clear().envs(ENVIRONMENT);
        command
            .env("HOME", directory.path())
            .env("TMPDIR", directory.path())
            .envs(&claim.env);
        command.current_dir(directory.path()).process_group(0);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let group = self.cgroups.as_ref().map(Cgroups::group).transpose();
        let group =
            group.map_err(|error| cannot_start(format!("cannot make a cgroup: {error}")))?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("bare-{}-{number}", std::process::id());
        Ok(Box::new(PreparedProcess {
            command,
            group,
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

    fn output(&self) -> Option<PathBuf> {
        Some(self.log.path())
    }

    fn uploads(&self) -> bool {
        self.log.uploads()
    }

    async fn go(mut self: Box<Self>) -> Result<Box<dyn Running>, Failure> {
        let no_guard = |error: io::Error| cannot_start(format!("cannot run the guard: {error}"));
        let (own, of_guard) = UnixStream::pair().map_err(no_guard)?;
        self.command.stdin(Stdio::from(OwnedFd::from(of_guard)));
        let mut child = self.command.spawn().map_err(no_guard)?;
        // It holds the guard's end of the socket.
        drop(self.command);
        if let (Some(group), Some(guard)) = (&self.group, child.id()) {
            group.take(guard).map_err(no_guard)?;
        }
        own.set_nonblocking(true).map_err(no_guard)?;
        let own = tokio::net::UnixStream::from_std(own).map_err(no_guard)?;
        let (mut answers, mut orders) = own.into_split();
        orders.write_all(guard::START).await.map_err(no_guard)?;
        let log = self.log.clone();
        self.log.follow(Stream::Stdout, child.stdout.take());
        self.log.follow(Stream::Stderr, child.stderr.take());
        let (announce, exit) = watch::channel(None);
        let (directory, group, output) = (self.directory, self.group, self.log);
        tokio::spawn(async move {
            let mut answer = Vec::new();
            // Fails only like a guard that says nothing.
            drop(answers.read_to_end(&mut answer).await);
            let status = child.wait().await;
            if let Some(group) = group {
                group.end().await;
            }
            output.finish(LAST_WORDS).await;
            if let Err(error) = directory.close() {
                tracing::warn!(%error, "cannot remove a step's directory");
            }
            announce.send_replace(Some(ended(&answer, status.ok())));
        });
        Ok(Box::new(Process {
            orders: Mutex::new(Some(orders)),
            exit,
            log,
        }))
    }
}

/// Writes the step's files below its directory. Answers the file that is its standard input.
fn work_in(directory: &Path, claim: &Claim) -> Result<PathBuf, String> {
    sealfleet_workspace::write_files(directory, &claim.inputs.files)?;
    let Some(stdin) = &claim.inputs.stdin else {
        return Ok(PathBuf::from("/dev/null"));
    };
    // What was uploaded comes later, and has its place here.
    let mut text = stdin.inline().unwrap_or_default();
    sealfleet_workspace::write_file(directory, STDIN, &mut text)?;
    Ok(directory.join(STDIN))
}

/// As the guard says, or as the guard itself ended: somebody has killed it.
fn ended(answer: &[u8], guard: Option<ExitStatus>) -> Ended {
    if let Ok(end) = serde_json::from_slice::<CommandEnd>(answer) {
        return end.into();
    }
    match guard.and_then(|status| status.signal()) {
        Some(signal) => Ended::Signal(signal),
        None => Ended::Code(126),
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
            .and_then(|ended| ended.clone());
        ended.unwrap_or(Ended::Signal(9))
    }

    fn output_cut_bytes(&self) -> u64 {
        self.log.cut_bytes()
    }

    fn output_missing_bytes(&self) -> u64 {
        self.log.missing_bytes()
    }

    async fn stop(&self, grace: Duration) -> Ended {
        let mut orders = self.orders.lock().await;
        if !grace.is_zero() {
            if let Some(orders) = orders.as_mut() {
                // Fails only if the guard has ended.
                drop(orders.write_all(guard::TERMINATE).await);
            }
            if let Ok(ended) = tokio::time::timeout(grace, self.wait()).await {
                return ended;
            }
        }
        orders.take();
        self.wait().await
    }
}
