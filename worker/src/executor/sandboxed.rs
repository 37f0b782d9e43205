//! `sandboxed` and `identity`: a bubblewrap sandbox whose first process is `sealfleet-init`.
//!
//! ```text
//! descriptor 3  worker -> init   the step, one JSON document: command, environment, secret references, tool, access lists
//! descriptor 4  init -> worker   one line: the versions that were resolved, or an error by names
//! descriptor 5  worker -> init   the byte `g`: the start is on record, run the command
//! descriptor 6  the encrypted store, descriptor 7 its key: opened here, read inside (if a secret is granted)
//! ```
//!
//! This process opens store and key and reads neither: no secret's value, and nothing that could
//! decrypt one, is ever in its memory. What it passes on are descriptors, opened anew for each
//! step: a store or key that was renamed over the old one is what the next step gets.
//! `docs/guides/builtin-backend.md` says in which order both change without a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use sealfleet_bubblewrap::{Exit, INIT_PATH, Launcher, Limits, Network, Sandbox, SandboxSpec};
use sealfleet_client::types::Claim;
use sealfleet_domain::ToolName;
use sealfleet_domain::acl::{Acl, sees};
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::{Failure, Mode};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use super::output::Logs;
use super::{Ended, Executor, Prepared, Running, cannot_start, short};

/// How long `sealfleet-init` may take to resolve the secrets.
const RESOLVE_TIME: Duration = Duration::from_secs(60);
/// The longest status line, in bytes.
const STATUS_BYTES: u64 = 256 * 1024;
/// How long output may take to arrive after the sandbox's end.
const LAST_WORDS: Duration = Duration::from_secs(2);

const STEP_FD: i32 = 3;
const STATUS_FD: i32 = 4;
const GO_FD: i32 = 5;
const STORE_FD: i32 = 6;
const KEY_FD: i32 = 7;

/// Executes steps in sandboxes.
#[derive(Debug)]
pub struct Sandboxed {
    /// Starts the sandboxes.
    pub launcher: Launcher,
    /// The encrypted store of `builtin://` references and its key file.
    pub builtin: Option<Builtin>,
    /// The network inside.
    pub network: Network,
    /// What one sandbox may use.
    pub limits: Limits,
    /// Where output goes.
    pub logs: Logs,
}

/// The encrypted store beside this worker.
#[derive(Clone, Debug)]
pub struct Builtin {
    /// The store.
    pub store: PathBuf,
    /// The file with its key.
    pub key: PathBuf,
}

/// The step as `sealfleet-init` reads it.
#[derive(Serialize)]
struct Step<'a> {
    project: &'a str,
    command: &'a [String],
    env: &'a BTreeMap<String, String>,
    secrets: Vec<Wanted<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a ToolName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<&'a Acl>,
}

#[derive(Serialize)]
struct Wanted<'a> {
    name: &'a str,
    uri: String,
    version: Option<&'a str>,
}

/// The line that `sealfleet-init` writes.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Resolved(Vec<Found>),
    Error { code: String, message: String },
}

#[derive(Deserialize)]
struct Found {
    name: String,
    version: String,
}

struct Waiting {
    command: Command,
    go: OwnedFd,
    resolved: BTreeMap<String, String>,
}

/// A sandbox with the copying of its output.
struct Command {
    sandbox: Sandbox,
    copies: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
}

#[async_trait]
impl Executor for Sandboxed {
    async fn prepare(&self, claim: &Claim) -> Result<Box<dyn Prepared>, Failure> {
        let log = self
            .logs
            .open(claim)
            .map_err(|error| cannot_start(format!("its log cannot be written: {error}")))?;
        let secrets: &[SecretRef] = if claim.mode == Mode::Identity {
            &claim.secrets
        } else {
            &[]
        };
        let granted: Vec<&SecretRef> = secrets
            .iter()
            .filter(|secret| is_granted(claim, secret))
            .collect();
        let system = |what: &'static str| {
            move |error: rustix::io::Errno| cannot_start(format!("{what}: {error}"))
        };
        let step = anonymous_file(&step_document(claim, secrets)?)
            .map_err(|error| cannot_start(format!("the step cannot be handed over: {error}")))?;
        let (status, status_inside) = pipe_with(PipeFlags::CLOEXEC).map_err(system("no pipe"))?;
        let (go_inside, go) = pipe_with(PipeFlags::CLOEXEC).map_err(system("no pipe"))?;
        let mut command = vec![INIT_PATH.to_owned(), "exec".to_owned()];
        let mut fds = vec![
            (step, STEP_FD),
            (status_inside, STATUS_FD),
            (go_inside, GO_FD),
        ];
        if let (false, Some(builtin)) = (granted.is_empty(), &self.builtin) {
            fds.push((open(&builtin.store, "the secret store")?, STORE_FD));
            fds.push((open(&builtin.key, "the key of the secret store")?, KEY_FD));
        }
        let options = [
            "--step-fd",
            "--status-fd",
            "--go-fd",
            "--builtin-store-fd",
            "--builtin-key-fd",
        ];
        for (option, (_, number)) in options.iter().zip(&fds) {
            command.extend([(*option).to_owned(), number.to_string()]);
        }
        let mut spec = SandboxSpec::new(command);
        (spec.fds, spec.network, spec.limits) = (fds, self.network, self.limits);

        let mut sandbox = self
            .launcher
            .spawn(spec)
            .await
            .map_err(|error| cannot_start(with_cause(&error)))?;
        let output = sandbox.stdout.take().map(|stdout| log.follow(stdout));
        let errors = sandbox.stderr.take().map(|stderr| log.follow(stderr));
        let copies = tokio::sync::Mutex::new([output, errors].into_iter().flatten().collect());
        let command = Command { sandbox, copies };
        let status = pipe::Receiver::from_owned_fd(status).map_err(|error| {
            cannot_start(format!("the sandbox's status cannot be read: {error}"))
        })?;
        let resolved = match tokio::time::timeout(RESOLVE_TIME, read_status(status)).await {
            Ok(Some(Status::Resolved(found))) => checked(found, &granted)?,
            Ok(Some(Status::Error { code, message })) if code == "bad_step" => {
                return Err(cannot_start(message));
            }
            Ok(Some(Status::Error { code, message })) => {
                return Err(Failure::SecretUnavailable {
                    detail: short(&format!("{code}: {message}")),
                });
            }
            Ok(None) => {
                let ended = tokio::time::timeout(LAST_WORDS, command.wait()).await;
                let how = ended.map_or_else(
                    |_| "it does not speak".to_owned(),
                    |ended| format!("{ended:?}"),
                );
                return Err(cannot_start(format!(
                    "the sandbox ended before its command: {how}"
                )));
            }
            Err(_) => {
                let seconds = RESOLVE_TIME.as_secs();
                return Err(cannot_start(format!(
                    "the sandbox was not ready within {seconds} seconds"
                )));
            }
        };
        Ok(Box::new(Waiting {
            command,
            go,
            resolved,
        }))
    }
}

#[async_trait]
impl Prepared for Waiting {
    fn sandbox(&self) -> &str {
        self.command.sandbox.id()
    }

    fn resolved(&self) -> &BTreeMap<String, String> {
        &self.resolved
    }

    async fn go(self: Box<Self>) -> Result<Box<dyn Running>, Failure> {
        // One byte always fits. A sandbox that has died meanwhile tells so by its exit.
        let _: Result<usize, _> = rustix::io::write(&self.go, b"g");
        Ok(Box::new(self.command))
    }
}

#[async_trait]
impl Running for Command {
    async fn wait(&self) -> Ended {
        let exit = self.sandbox.wait().await;
        self.settle().await;
        ended(exit)
    }

    async fn stop(&self, grace: Duration) -> Ended {
        let exit = self.sandbox.stop(grace).await;
        self.settle().await;
        ended(exit)
    }
}

impl Command {
    /// Waits until the output has arrived.
    async fn settle(&self) {
        let copies = std::mem::take(&mut *self.copies.lock().await);
        let all = async {
            for copy in copies {
                drop(copy.await);
            }
        };
        drop(tokio::time::timeout(LAST_WORDS, all).await);
    }
}

const fn ended(exit: Exit) -> Ended {
    match exit {
        Exit::Code(code) => Ended::Code(code),
        Exit::Signal(signal) => Ended::Signal(signal),
        Exit::OutOfMemory => Ended::OutOfMemory,
    }
}

/// Whether the access lists let the step's tool see a secret. `sealfleet-init` decides; this is
/// what it must come to.
fn is_granted(claim: &Claim, secret: &SecretRef) -> bool {
    sees(claim.tools.as_ref(), claim.tool.as_ref(), &secret.name)
}

fn step_document(claim: &Claim, secrets: &[SecretRef]) -> Result<Vec<u8>, Failure> {
    let wanted = |secret: &'_ SecretRef| -> (String, String, Option<String>) {
        (
            secret.name.clone(),
            secret.uri.to_string(),
            secret.version.clone(),
        )
    };
    let all: Vec<_> = secrets.iter().map(wanted).collect();
    let secrets = all
        .iter()
        .map(|(name, uri, version)| Wanted {
            name,
            uri: uri.clone(),
            version: version.as_deref(),
        })
        .collect();
    let step = Step {
        project: claim.project.as_str(),
        command: &claim.command,
        env: &claim.env,
        secrets,
        tool: claim.tool.as_ref(),
        tools: claim.tools.as_ref(),
    };
    serde_json::to_vec(&step)
        .map_err(|error| cannot_start(format!("the step cannot be written: {error}")))
}

fn anonymous_file(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"sealfleet-step", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

fn open(path: &std::path::Path, what: &str) -> Result<OwnedFd, Failure> {
    let detail = |error| format!("{what} cannot be opened on the worker: {error}");
    File::open(path)
        .map(Into::into)
        .map_err(|error| Failure::SecretUnavailable {
            detail: short(&detail(error)),
        })
}

async fn read_status(pipe: pipe::Receiver) -> Option<Status> {
    let mut line = String::new();
    BufReader::new(pipe)
        .take(STATUS_BYTES)
        .read_line(&mut line)
        .await
        .ok()?;
    serde_json::from_str(&line).ok()
}

/// What was resolved must be what the claim grants, at the versions that it pins.
fn checked(found: Vec<Found>, granted: &[&SecretRef]) -> Result<BTreeMap<String, String>, Failure> {
    let resolved: BTreeMap<String, String> = found
        .into_iter()
        .map(|found| (found.name, found.version))
        .collect();
    let names: BTreeSet<&str> = granted.iter().map(|secret| secret.name.as_str()).collect();
    if !resolved
        .keys()
        .map(String::as_str)
        .eq(names.iter().copied())
    {
        return Err(cannot_start(
            "the sandbox resolved other secrets than those that its step is granted",
        ));
    }
    let other = granted.iter().find(|secret| {
        secret.version.is_some() && resolved.get(&secret.name) != secret.version.as_ref()
    });
    match other {
        Some(secret) => Err(Failure::SecretUnavailable {
            detail: short(&format!(
                "`{}` was resolved at another version than the one it is pinned to",
                secret.uri
            )),
        }),
        None => Ok(resolved),
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
