//! Steps: their work, their state, and their holder.
//!
//! `Blocked -> Queued -> Leased{fence} -> Running{fence} -> Succeeded | Failed | Aborted | Dead`.
//! One that needs an approval is `Waiting` before it is `Queued`.
//! `run` moves steps between these states, since one step's move depends on the others.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::agent::{Agent, Usd};
use crate::approval::Needed;
use crate::artifact::Artifact;
use crate::audit::Text;
pub use crate::capability::Mode;
use crate::clock::Timestamp;
use crate::command::Word;
pub use crate::fence::Fence;
use crate::identity::Identity;
use crate::ids::WorkerId;
use crate::inputs::Inputs;
use crate::labels::Labels;
use crate::limits;
use crate::names::{PoolName, StepId, ToolName};
use crate::revocation::Revoked;
use crate::text::one_line;
use crate::usage::Size;

/// How a step starts when its identity has changed since it was enqueued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnDrift {
    /// It starts with the current identity, and the difference is on record.
    #[default]
    Proceed,
    /// It fails.
    Refuse,
}

impl OnDrift {
    /// Whether it is the default.
    #[must_use]
    pub const fn is_proceed(&self) -> bool {
        matches!(self, Self::Proceed)
    }
}

/// The work of a step, as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpec {
    /// The pool it waits in.
    pub pool: PoolName,
    /// How it is executed.
    pub mode: Mode,
    /// The program and its arguments. Empty for an agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<Word>,
    /// The CLI agent, in place of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Steps that must succeed before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub needs: BTreeSet<StepId>,
    /// Those of them whose results and artifacts it gets.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub takes: BTreeSet<StepId>,
    /// Labels that its worker must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub requires: Labels,
    /// The model that its worker must reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Plain environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The tool that its command is, for the access lists of profiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// What it gets to work with.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// Whether its command has a terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// What it is to leave behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Whether somebody has to approve it before it is queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Needed>,
    /// How it starts when its identity has changed since.
    #[serde(default, skip_serializing_if = "OnDrift::is_proceed")]
    pub on_drift: OnDrift,
    /// Seconds that its sandbox may run.
    pub timeout_seconds: u32,
    /// How often it may be tried when a worker is lost.
    pub max_attempts: u32,
    /// Seconds that it may wait to be claimed; and, before that, to be approved.
    pub ttl_seconds: u32,
}

/// Who runs a step's sandbox and knows whether it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// A `sealfleet-worker`, which heartbeats.
    Worker,
    /// A sandbox host of the control plane, which the control plane asks.
    #[serde(rename = "ecs")]
    Host,
}

/// The name by which a running sandbox is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(String);

impl Handle {
    /// A host's or a worker's own name for its sandbox.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The handle as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the output of a step lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputPlace {
    /// On a worker's host, as `HOST:PATH`.
    Worker(String),
    /// In the log of a host's sandbox.
    Sandbox(Handle),
}

/// A claim of a step that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The claim's fence.
    pub fence: Fence,
    /// The worker that holds it.
    pub holder: WorkerId,
    /// Which of the holder's slots it takes; the lease's own row stands there.
    pub slot: u32,
    /// What runs it.
    pub executor: Executor,
    /// When it was claimed.
    pub since: Timestamp,
    /// Since when it had waited for this claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_since: Option<Timestamp>,
    /// When somebody must look at it again. A worker's heartbeats move the lease's row, not this.
    pub due: Timestamp,
    /// Its sandbox's handle, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// The size of its sandbox, where the control plane launched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The identity that its sandbox starts with, where it differs from the one at enqueue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Box<Identity>>,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum StepState {
    /// Waits for steps that it needs.
    Blocked,
    /// Waits to be approved.
    Waiting {
        /// When its time for that is over.
        until: Timestamp,
    },
    /// Waits to be claimed.
    Queued {
        /// Since when; its time to live counts from here.
        since: Timestamp,
        /// When its queue message is sent again.
        resend_at: Timestamp,
        /// How often it was sent again.
        resent: u32,
    },
    /// Claimed.
    Leased(Hold),
    /// Its sandbox has started.
    Running(Hold),
    /// Its command exited with 0.
    Succeeded {
        /// The claim that reported it.
        fence: Fence,
        /// When.
        at: Timestamp,
    },
    /// Its command failed, or could not be started.
    Failed {
        /// The claim that reported it.
        fence: Fence,
        /// How.
        failure: Failure,
        /// When.
        at: Timestamp,
    },
    /// Ended from outside. Nothing that is reported later changes it.
    Aborted {
        /// Why.
        reason: AbortReason,
        /// When.
        at: Timestamp,
        /// A sandbox that still has to be stopped; the run stays due until it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopping: Option<Stopping>,
    },
    /// Given up. Kept and listed; a caller can retry it.
    Dead {
        /// Why.
        reason: DeadReason,
        /// When.
        at: Timestamp,
    },
}

/// A sandbox that was not stopped yet when its step was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopping {
    /// It is stopped by its handle.
    Task(Handle),
    /// The host may have been asked to launch it, but no handle is stored: the launcher takes it
    /// back, or, if the launcher died, it is looked for by its claim.
    Launch {
        /// When the host surely shows a sandbox that it launched.
        until: Timestamp,
    },
}

/// How a command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// It exited with another code than 0.
    Exit {
        /// The code.
        code: i32,
    },
    /// It was ended by a signal.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// The system refused to execute it.
    CannotExecute {
        /// The system's error number, as Linux counts them.
        errno: i32,
        /// The system's words for it.
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::detail"))]
        detail: String,
    },
    /// It ran longer than its timeout.
    TimedOut {
        /// The timeout in seconds.
        after_seconds: u32,
    },
    /// It used more memory than it may.
    OutOfMemory,
    /// The provider of its model accepts no more requests at present: run it later, or raise the
    /// limit of its key.
    AgentRateLimited,
    /// The provider of its model refuses the key: look at the secret that its profile names.
    AgentAuth,
    /// Its conversation was longer than its model accepts: give it less to read, or another model.
    AgentContext,
    /// It could not reach its model: look at the network of the sandbox and at its base URL.
    AgentNetwork,
    /// The agent spent more than its budget and was stopped: raise `budget_usd`, or ask for less.
    OverBudget {
        /// The budget in US dollars.
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::usd"))]
        budget_usd: Usd,
    },
    /// The agent needed more answers of its model than it may and was stopped: raise `max_turns`,
    /// or ask for less.
    OverTurns {
        /// How many it may have.
        max_turns: u32,
    },
    /// Its command succeeded, and left a result that cannot be taken.
    BadResult {
        /// What is wrong with it; nothing of what it says.
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::detail"))]
        detail: String,
    },
    /// Its command succeeded, and what it was to leave cannot be kept.
    BadArtifacts {
        /// What is wrong with it; names only.
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::detail"))]
        detail: String,
    },
    /// Its sandbox could not be started.
    CannotStart {
        /// What has to be mended, where the host says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<StartCause>,
        /// What stood in the way; names only.
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::detail"))]
        detail: String,
    },
    /// A secret could not be resolved.
    SecretUnavailable {
        /// What has to be mended, where the host says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<StartCause>,
        /// Which one and why; names only.
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::detail"))]
        detail: String,
    },
    /// A secret that it would see is revoked.
    SecretRevoked {
        /// Which one and by what; names only.
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::detail"))]
        detail: String,
    },
    /// Its profiles, as they are now, do not let it start.
    ProfileRefused {
        /// What stands in the way; names only.
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::detail"))]
        detail: String,
    },
    /// Its identity has changed since it was enqueued, and it asked not to start then.
    Drifted {
        /// The keys that changed.
        #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::detail"))]
        detail: String,
    },
}

impl Failure {
    /// Whether a command that exits with 0 can fail like this: by what it has left, or by what its
    /// agent says.
    #[must_use]
    pub const fn follows_success(&self) -> bool {
        matches!(
            self,
            Self::BadResult { .. }
                | Self::BadArtifacts { .. }
                | Self::AgentRateLimited
                | Self::AgentAuth
                | Self::AgentContext
                | Self::AgentNetwork
                | Self::OverBudget { .. }
                | Self::OverTurns { .. }
        )
    }

    /// Whether the host of a sandbox knows no more of this end than an exit code, which the command
    /// or the sandbox's init chose.
    #[must_use]
    pub const fn is_an_exit_code(&self) -> bool {
        matches!(
            self,
            Self::Exit { .. } | Self::TimedOut { .. } | Self::CannotStart { cause: None, .. }
        )
    }
}

/// What keeps a host from starting a sandbox until somebody mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StartCause {
    /// The registry does not have the image.
    ImageMissing,
    /// The image is for another platform, or its program cannot be run.
    ImageUnusable,
    /// The registry does not let the project have the image.
    RegistryDenied,
    /// The project may not read the secret, or may not use the key that it is encrypted with.
    SecretDenied,
    /// The secret or its version does not exist.
    SecretMissing,
    /// The secret's JSON has no such key.
    SecretKeyMissing,
    /// The reference names a key, and the secret is not a JSON object of text.
    SecretUnreadable,
    /// The host refuses what it is asked for, or a part of the deployment is not there.
    Configuration,
}

impl Failure {
    /// As much of `text` as a failure's detail keeps, on one line.
    #[must_use]
    pub fn detail(text: &str) -> String {
        let mut line = one_line(text);
        line.truncate(line.floor_char_boundary(limits::DETAIL_BYTES));
        line
    }
}

/// Why a step was ended from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AbortReason {
    /// A caller cancelled the run.
    Cancelled,
    /// A step that it needs did not succeed.
    DependencyFailed {
        /// That step.
        step_id: StepId,
    },
    /// The run held a secret that was revoked.
    Revoked(Revoked),
    /// Somebody who had to approve it denied.
    ApprovalDenied {
        /// Why, in their words.
        reason: Text,
    },
    /// Nobody approved it in its time to live.
    ApprovalExpired,
}

/// Why a step was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// It was lost as often as it may be tried.
    AttemptsExhausted,
    /// Nobody claimed it in its time to live.
    TtlExpired,
}

/// Why a step went back to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RequeueReason {
    /// Its lease ran out: its worker was lost.
    LeaseExpired,
    /// Its worker was revoked.
    WorkerRevoked,
    /// The machine under its sandbox was lost, or the engine that ran it.
    SandboxLost,
    /// The host had no capacity for it.
    NoCapacity,
    /// The host was called too fast.
    Throttled,
    /// Its sandbox got no network in time, or could not reach what its start needs.
    NetworkTimeout,
    /// Its image was not there in time.
    ImageTimeout,
    /// A role that its start needs cannot be used yet.
    RoleNotReady,
    /// The host failed to start it, and may not fail again.
    HostFailed,
}

impl RequeueReason {
    /// Whether the step was tried. If not, only its time to live bounds how often it goes back.
    #[must_use]
    pub const fn is_attempt(self) -> bool {
        !matches!(self, Self::NoCapacity | Self::Throttled)
    }

    /// Whether trying again at once would meet the same trouble.
    #[must_use]
    pub const fn passes_with_time(self) -> bool {
        !matches!(
            self,
            Self::LeaseExpired | Self::WorkerRevoked | Self::SandboxLost
        )
    }
}

/// The end that a holder reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Outcome {
    /// The command exited with 0.
    Succeeded,
    /// It failed.
    Failed {
        /// How.
        failure: Failure,
    },
}

/// A run's state, derived from its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// No step has been claimed.
    Queued,
    /// Some step has been claimed, and not all have ended.
    Running,
    /// All steps succeeded.
    Succeeded,
    /// A step failed.
    Failed,
    /// A caller ended it.
    Aborted,
    /// A step was given up.
    Dead,
}

impl RunState {
    /// Whether every step of the run has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Aborted | Self::Dead => true,
        }
    }
}

impl StepState {
    /// The state's name, as the API shows it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Waiting { .. } => "waiting",
            Self::Queued { .. } => "queued",
            Self::Leased(_) => "leased",
            Self::Running(_) => "running",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Aborted { .. } => "aborted",
            Self::Dead { .. } => "dead",
        }
    }

    /// Whether the step has ended.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Aborted { .. } | Self::Dead { .. }
        )
    }

    /// When the step ended.
    #[must_use]
    pub const fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::Succeeded { at, .. }
            | Self::Failed { at, .. }
            | Self::Aborted { at, .. }
            | Self::Dead { at, .. } => Some(*at),
            Self::Blocked
            | Self::Waiting { .. }
            | Self::Queued { .. }
            | Self::Leased(_)
            | Self::Running(_) => None,
        }
    }

    /// The claim, if the step is held.
    #[must_use]
    pub const fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Leased(hold) | Self::Running(hold) => Some(hold),
            _ => None,
        }
    }

    /// The claim, to be changed.
    pub const fn hold_mut(&mut self) -> Option<&mut Hold> {
        match self {
            Self::Leased(hold) | Self::Running(hold) => Some(hold),
            _ => None,
        }
    }
}

impl RunState {
    /// The state's name, as the API shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Dead => "dead",
        }
    }
}
