//! Executors run steps: as a plain process, or in a sandbox.
//!
//! Execution has two halves: [`Executor::prepare`] gets everything ready and runs nothing of the
//! step; [`Prepared::go`] lets the command run. Between them, the worker records the start.
//! Dropping either result kills the step.

pub mod bare;
pub mod egress;
mod output;
pub mod sandboxed;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_channel::{AgentEnd, CommandEnd};
use sealfleet_client::types::Claim;
use sealfleet_domain::agent::ModelsUsed;
use sealfleet_domain::egress::{Denials, Reached};
use sealfleet_domain::fleet::Sandboxes;
use sealfleet_domain::redaction::Redaction;
use sealfleet_domain::run::{Failure, Mode};
use sealfleet_domain::{limits, text};
use sealfleet_sandbox_backend::{Note, Owner, Process, SandboxBackend};

pub use output::{Logs, StepLog};
pub use sealfleet_outputs::artifacts::LeftBehind;

/// How long the output of a command may take to arrive after its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It never ran: the system refused to execute it, with this error number and these words.
    CannotExecute { errno: i32, detail: String },
    /// It crossed its memory limit.
    OutOfMemory,
    /// Its sandbox is lost, and nobody knows how it would have ended.
    Lost,
}

impl From<CommandEnd> for Ended {
    fn from(end: CommandEnd) -> Self {
        match end {
            CommandEnd::Exited { code } => Self::Code(code),
            CommandEnd::Signalled { signal } => Self::Signal(signal),
            CommandEnd::CannotExecute { errno, detail } => Self::CannotExecute {
                errno,
                detail: short(&detail),
            },
        }
    }
}

#[async_trait]
pub trait Executor: Send + Sync {
    /// What the control plane is told of its sandboxes.
    fn sandboxes(&self) -> Sandboxes {
        Sandboxes::default()
    }

    /// Whether it can start sandboxes now.
    ///
    /// # Errors
    /// Why not; for people.
    async fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    /// Gets a claimed step ready: when this returns, its command can start, and has not started.
    ///
    /// # Errors
    /// How the step failed, by names only.
    async fn prepare(&self, claim: &Claim) -> Result<Box<dyn Prepared>, Failure>;
}

/// A step whose command can start. Dropped: it never runs.
#[async_trait]
pub trait Prepared: Send + Sync {
    /// The sandbox's name, unique on this host while it lives.
    fn sandbox(&self) -> &str;
    /// The version of each secret that was resolved, by the variable's name.
    fn resolved(&self) -> &BTreeMap<String, String>;
    /// What their stores call the requests that read them, by the variable's name, of stores that
    /// tell.
    fn store_request_ids(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    /// The file of its output.
    fn output(&self) -> Option<PathBuf> {
        None
    }
    /// Whether what comes out of it goes to the project's outputs, too.
    fn uploads(&self) -> bool {
        false
    }
    /// Lets the command run.
    ///
    /// # Errors
    /// How the step failed, by names only.
    async fn go(self: Box<Self>) -> Result<Box<dyn Running>, Failure>;
}

/// A command that runs. Dropped: it is killed, with all its processes.
#[async_trait]
pub trait Running: Send + Sync {
    /// Waits for its end. May be called again.
    async fn wait(&self) -> Ended;
    /// Sends SIGTERM to all processes of the step, and SIGKILL after `grace`. None runs when this
    /// returns.
    async fn stop(&self, grace: Duration) -> Ended;
    /// How many bytes of its output were not kept. Complete once it has ended.
    fn output_cut_bytes(&self) -> u64;
    /// What the step's agent said of its work. Complete once it has ended.
    fn agent(&self) -> Option<AgentEnd> {
        None
    }
    /// What was taken out of its output. Complete once it has ended.
    fn redactions(&self) -> Vec<Redaction> {
        Vec::new()
    }
    /// Which hosts it was kept from since this was last asked. Complete once it has ended.
    fn take_denied(&self) -> Denials {
        Denials::default()
    }
    /// What it has used of models, as their answers say. Complete once it has ended.
    fn models_used(&self) -> ModelsUsed {
        ModelsUsed::default()
    }
    /// Which hosts it has reached until now. Complete once it has ended.
    fn egress_reached(&self) -> Reached {
        Reached::default()
    }
    /// How many bytes of its output are not in the project's outputs. Complete once it has ended.
    fn output_missing_bytes(&self) -> u64 {
        0
    }
    /// Has its egress proxy send the secrets of these keys nowhere any more.
    async fn withdraw(&self, _keys: BTreeSet<String>) {}
    /// Keeps the result that the command has left, and answers its size; or what is wrong with it.
    /// None if it has left none.
    async fn keep_result(&self) -> Option<Result<u64, String>> {
        None
    }
    /// Keeps what the command has left as its artifacts; or says what is wrong with it. None if the
    /// step names none.
    async fn keep_artifacts(&self) -> Option<Result<LeftBehind, String>> {
        None
    }
}

/// The executors of a worker.
pub struct Executors {
    /// Runs `bare` steps, if the worker allows them.
    pub bare: Option<bare::Bare>,
    /// Runs `sandboxed`, `identity` and `full` steps, if the host can.
    pub sandboxed: Option<sandboxed::Sandboxed>,
}

#[async_trait]
impl Executor for Executors {
    fn sandboxes(&self) -> Sandboxes {
        self.sandboxed
            .as_ref()
            .map(Executor::sandboxes)
            .unwrap_or_default()
    }

    async fn ready(&self) -> Result<(), String> {
        match &self.sandboxed {
            Some(sandboxed) => sandboxed.ready().await,
            None => Ok(()),
        }
    }

    async fn prepare(&self, claim: &Claim) -> Result<Box<dyn Prepared>, Failure> {
        match (claim.mode, &self.bare, &self.sandboxed) {
            (Mode::Bare, Some(bare), _) => bare.prepare(claim).await,
            (Mode::Sandboxed | Mode::Identity | Mode::Full, _, Some(sandboxed)) => {
                sandboxed.prepare(claim).await
            }
            (mode, _, _) => Err(cannot_start(format!(
                "this worker does not run steps of mode `{mode}`"
            ))),
        }
    }
}

/// A failure to start, with its reason.
#[must_use]
pub fn cannot_start(detail: impl Into<String>) -> Failure {
    Failure::CannotStart {
        cause: None,
        detail: short(&detail.into()),
    }
}

/// What a sandbox says of why its step cannot start.
fn refused(code: &str, message: &str) -> Failure {
    if code == "bad_step" {
        return cannot_start(message);
    }
    Failure::SecretUnavailable {
        cause: None,
        detail: short(&format!("{code}: {message}")),
    }
}

/// One line, as long as a failure's detail may be.
#[must_use]
pub fn short(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|letter| if text::acts(letter) { ' ' } else { letter })
        .collect();
    let mut end = line.len().min(limits::DETAIL_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default().trim().to_owned()
}

/// A sandbox without a note works as well; only who looks for it misses it.
fn noted(
    worker: &Process,
    backend: &dyn SandboxBackend,
    sandbox: &str,
    owner: &Owner,
) -> Option<Note> {
    let noted = worker.note(backend.name(), sandbox, owner);
    noted
        .inspect_err(|error| tracing::warn!(%error, sandbox, "a sandbox cannot be noted"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_one_short_line() {
        assert_eq!(short("a\nb\u{1b}c "), "a b c");
        assert!(short(&"ä".repeat(400)).len() <= limits::DETAIL_BYTES);
    }
}
