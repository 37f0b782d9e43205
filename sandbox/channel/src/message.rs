//! What the two sides tell each other.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::WaitStatus;
use sealfleet_domain::acl::Acl;
use sealfleet_domain::agent::{Agent, AgentReport};
use sealfleet_domain::artifact::{Artifact, ArtifactName};
use sealfleet_domain::command::Word;
use sealfleet_domain::delivery::AtEgress;
use sealfleet_domain::egress::Policy;
use sealfleet_domain::inputs::{InputPlace, Inputs, WorkspacePath};
use sealfleet_domain::redaction::Redaction;
use sealfleet_domain::run::{Failure, Outcome};
use sealfleet_domain::workload::Audience;
use sealfleet_domain::{Timestamp, ToolName};
use serde::{Deserialize, Serialize};

use crate::peer::Egress;

/// A message of the host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToInit {
    /// What goes into the workspace and is too large for the step itself. The open files travel
    /// with the message, in this order, by the names of [`input_name`]. Init answers
    /// [`ToHost::Placed`]. Comes before the step, as often as need be.
    Inputs(Vec<InputPlace>),
    /// What to run. Comes once.
    Step(Box<Step>),
    /// What to let through, in place of a step: this sandbox is the egress proxy of another. What
    /// the other's init gave away travels with the message, as [`EGRESS_LISTENER`] and
    /// [`EGRESS_PEER`].
    Egress(Box<EgressOrder>),
    /// To try identity backends, in place of a step. The files that they need travel with it. Init
    /// answers [`ToHost::Checked`], and nothing follows.
    Check(Box<CheckOrder>),
    /// The start is on record: run the command.
    Go,
    /// The artifacts of the last message are kept.
    Taken,
    /// These secrets are revoked: the proxy sends them nowhere any more.
    Withdraw(BTreeSet<String>),
    /// The answer to [`ToHost::TokenAsked`].
    Token {
        token: Bearer,
        expires_at: Timestamp,
    },
    /// There is none: the other answer to [`ToHost::TokenAsked`].
    NoToken(NoToken),
}

/// A token that is a credential by itself. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bearer(pub String);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer")
    }
}

/// Why there is no token. Holds names only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoToken {
    /// Worth a retry.
    Passing(String),
    Refused(String),
}

/// A message of `sealfleet-init`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHost {
    /// The inputs of the last message are in the workspace.
    Placed,
    /// A token of the control plane for this audience. Asked before [`ToHost::Resolved`], and again
    /// while the command runs.
    TokenAsked(Audience),
    /// Secrets are kept where only the network leads. A proxy is to accept what comes to the
    /// listener that travels with the message, and to let it through to the hosts of the identity
    /// backends alone: [`EGRESS_LISTENER`] and [`EGRESS_PEER`]. Asked once, before
    /// [`ToHost::Resolved`], which is the end of it, unless a secret is [leased](ResolvedSecret).
    ProxyAsked,
    /// Every granted secret has a value. Init waits for [`ToInit::Go`]. If the step asks for an
    /// egress proxy, what that gets travels with the message: [`EGRESS_LISTENER`] and
    /// [`EGRESS_PEER`].
    Resolved(Vec<ResolvedSecret>),
    /// The proxy lets through what its order allows, and every secret of it has a value. Nothing
    /// follows.
    Proxying(Vec<ResolvedSecret>),
    /// What came of [`ToInit::Check`].
    Checked(Checked),
    /// What the step has done through its egress proxy, while its command runs: at most once in ten
    /// seconds, and without the hosts that hold values of secrets.
    Egress(Egress),
    /// The step cannot start. Nothing will run.
    Error {
        /// Stable, for programs: `bad_step`, or a code of the identity backend.
        code: String,
        /// For people. Holds names only.
        message: String,
    },
    /// The agent has ended. [`ToHost::Ended`] follows.
    Agent(AgentEnd),
    /// The result that the command has left. Comes before its end, if there is one.
    Result(StepResult),
    /// What the command has left as its artifacts. Comes before its end, if the step names any.
    Artifacts(Artifacts),
    /// The command has ended, and so has everything that it started. All of its output is written.
    Ended {
        end: CommandEnd,
        /// What was taken out of its output.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        redactions: Vec<Redaction>,
        /// As [`ToHost::Egress`], for the last time.
        #[serde(default, skip_serializing_if = "Egress::is_empty")]
        egress: Egress,
    },
}

/// The name of the listener that a step's programs reach their egress proxy by.
pub const EGRESS_LISTENER: &str = "egress.listener";

/// The name of the socket on which a step's init asks its egress proxy.
pub const EGRESS_PEER: &str = "egress.peer";

/// What an egress proxy holds its step to, and which secrets it delivers for it. With the order
/// travel the files that identity backends need for them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressOrder {
    /// The project that the step belongs to.
    pub project: String,
    pub policy: Policy,
    /// Networks whose addresses it may connect to although they are not public, as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Certificates of authorities that it believes besides those of its image, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
    /// Secrets that the step asks for. It gets those that `tools` grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretAtEgress>,
    /// As that of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// As that of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Acl>,
    /// What the backends of these secrets need.
    #[serde(default, skip_serializing_if = "BackendOrder::is_empty")]
    pub backends: BackendOrder,
    /// How long all secrets together may take to resolve, in milliseconds.
    pub resolve_millis: u64,
    /// As that of the step.
    #[serde(default)]
    pub lasts_seconds: u64,
}

/// An identity backend to try.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckOrder {
    pub project: String,
    pub scheme: String,
    /// What it needs. Nobody has a token of a step: the backend is given one that opens nothing.
    pub backends: BackendOrder,
    /// References to resolve.
    pub references: Vec<SecretRequest>,
    /// How long all of it may take, in milliseconds.
    pub resolve_millis: u64,
}

/// What a login may do, by names only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// Why the login is refused, if it is.
    pub login: Option<Refusal>,
    /// What it may read, if its store tells.
    pub readable: Option<Vec<ReadableName>>,
    /// For each reference: why it has no value, if it has none.
    pub references: Vec<Option<Refusal>>,
}

/// A name in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadableName {
    pub name: String,
    pub is_foreign: bool,
}

/// Why something is refused. Holds names only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub code: String,
    pub message: String,
}

/// What identity backends have of their host, beside open files. None of it is a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendOrder {
    /// Addresses and names, by `SCHEME.NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Who they log in with by an identity token of the step, by scheme. The command gets none of
    /// these tokens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub audiences: BTreeMap<String, Audience>,
    /// Whether they need the network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
}

impl BackendOrder {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A secret that an egress proxy delivers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretAtEgress {
    pub secret: SecretRequest,
    pub bound: AtEgress,
}

/// A secret whose place a placeholder takes. It says nothing of where the value is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceholderRequest {
    /// The environment variable.
    pub name: String,
    /// What the placeholder begins with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Whether it is taken out of the command's output.
    #[serde(default = "yes")]
    pub redact: bool,
}

/// The name of the descriptor that travels with input number `at` of a message.
#[must_use]
pub fn input_name(at: usize) -> String {
    format!("input.{at}")
}

/// What a step's agent said of its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentEnd {
    /// What it used.
    pub report: AgentReport,
    /// Why it failed, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<AgentFault>,
}

impl AgentEnd {
    /// The end of a step that is this `agent`: why it failed, if its CLI tells it. A time-out, the
    /// limit of memory and a CLI that cannot be executed say more than the CLI does.
    #[must_use]
    pub fn judge(&self, outcome: Outcome, agent: Option<&Agent>) -> Outcome {
        let Some(fault) = self.fault else {
            return outcome;
        };
        if let Outcome::Failed { failure } = &outcome
            && !matches!(failure, Failure::Exit { .. } | Failure::Signal { .. })
        {
            return outcome;
        }
        let failure = match fault {
            AgentFault::RateLimited => Failure::AgentRateLimited,
            AgentFault::Auth => Failure::AgentAuth,
            AgentFault::Context => Failure::AgentContext,
            AgentFault::Network => Failure::AgentNetwork,
            AgentFault::OverTurns => match agent.and_then(|agent| agent.max_turns) {
                Some(max_turns) => Failure::OverTurns { max_turns },
                None => return outcome,
            },
            AgentFault::OverBudget => match agent.and_then(|agent| agent.budget_usd) {
                Some(budget_usd) => Failure::OverBudget { budget_usd },
                None => return outcome,
            },
        };
        Outcome::Failed { failure }
    }
}

/// Why an agent failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentFault {
    /// The provider of its model accepts no more requests at present.
    RateLimited,
    /// The provider refuses the key.
    Auth,
    /// The conversation is longer than the model accepts.
    Context,
    /// The model cannot be reached.
    Network,
    /// It was stopped over its `max_turns`.
    OverTurns,
    /// It was stopped over its `budget_usd`.
    OverBudget,
}

/// The result of a step.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// A JSON document.
    Json(String),
    /// There is a file in its place that is no result. Says why, and nothing of what it holds.
    Bad(String),
}

/// The artifacts of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Artifacts {
    /// Some files. The open files travel with the message, by the names of [`artifact_name`]. The
    /// host answers [`ToInit::Taken`]. Comes as often as need be.
    Files(Vec<ArtifactFile>),
    /// There are no more.
    All {
        /// What the step names and is not there.
        #[serde(default)]
        missing: Vec<WorkspacePath>,
        /// Links, pipes and devices inside of directories.
        #[serde(default)]
        left_out: u64,
    },
    /// They cannot be taken. Says why, and nothing of what they hold. Nothing more comes.
    Bad(String),
}

/// A file that a step leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactFile {
    /// Which of the step's artifacts it belongs to.
    pub of: usize,
    /// Its name, redacted.
    pub name: ArtifactName,
    pub bytes: u64,
    /// The names of the secrets whose values are in it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub contains_secret: BTreeSet<String>,
    /// Whether it stays in the sandbox: no open file travels for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
}

/// The name of the descriptor that travels with file number `at` of a message.
#[must_use]
pub fn artifact_name(at: usize) -> String {
    format!("artifact.{at}")
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandEnd {
    /// By itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// By a signal.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It never ran: the system refused to execute it.
    CannotExecute {
        /// The system's error number.
        errno: i32,
        /// The system's words for it.
        detail: String,
    },
}

impl CommandEnd {
    /// From the status that `wait` answers; `None` for a process that has not ended.
    #[must_use]
    pub fn of(status: WaitStatus) -> Option<Self> {
        let signal = status.terminating_signal();
        let signal = signal.map(|signal| Self::Signalled { signal });
        let code = status.exit_status().map(|code| Self::Exited { code });
        code.or(signal)
    }

    /// From the error of an attempt to start a command.
    #[must_use]
    pub fn cannot_execute(error: &std::io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or_default();
        let text = error.to_string();
        let words = text.strip_suffix(&format!(" (os error {errno})"));
        Self::CannotExecute {
            errno,
            detail: words.unwrap_or(&text).to_owned(),
        }
    }

    /// What it means for the step.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        let failure = match self {
            Self::Exited { code: 0 } => return Outcome::Succeeded,
            Self::Exited { code } => Failure::Exit { code },
            Self::Signalled { signal } => Failure::Signal { signal },
            Self::CannotExecute { errno, detail } => Failure::CannotExecute {
                errno,
                detail: Failure::detail(&detail),
            },
        };
        Outcome::Failed { failure }
    }

    /// As a shell's exit code: 128 + number for a signal; 127 if there is no such program, 126 if
    /// it cannot be executed for another reason.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        match *self {
            Self::Exited { code } => code,
            Self::Signalled { signal } => 128 + signal,
            Self::CannotExecute { errno, .. }
                if errno == rustix::io::Errno::NOENT.raw_os_error() =>
            {
                127
            }
            Self::CannotExecute { .. } => 126,
        }
    }
}

/// A step to run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The project that the step belongs to.
    pub project: String,
    /// The program and its arguments. Empty for an agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<Word>,
    /// The CLI agent to run, in place of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Box<Agent>>,
    /// Plain environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the command gets to work with.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// Whether the command has a terminal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// What the command is to leave behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Secrets that the command asks for. It gets those that `tools` grants.
    #[serde(default)]
    pub secrets: Vec<SecretRequest>,
    /// Secrets that its egress proxy delivers. It gets placeholders of those that `tools` grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placeholders: Vec<PlaceholderRequest>,
    /// The tool that the command is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// Which tool sees which secrets. Absent: every tool sees all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Acl>,
    /// What the backends of these secrets need.
    #[serde(default, skip_serializing_if = "BackendOrder::is_empty")]
    pub backends: BackendOrder,
    /// How long all secrets together may take to resolve, in milliseconds.
    pub resolve_millis: u64,
    /// How long the step may take from now on, in seconds: what is lent to it lasts as long.
    #[serde(default)]
    pub lasts_seconds: u64,
    /// Whether the step reaches hosts through an egress proxy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub egress: bool,
    /// Who the command may have identity tokens for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub audiences: BTreeSet<Audience>,
}

/// A secret, and the environment variable that it goes to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// The environment variable.
    pub name: String,
    /// The reference, `SCHEME://NAME`.
    pub uri: String,
    /// The version that it is pinned to. Absent: the newest.
    #[serde(default)]
    pub version: Option<String>,
    /// Whether the value is taken out of the command's output.
    #[serde(default = "yes")]
    pub redact: bool,
    /// Whether it goes into a file, and the file's path into the variable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub file: bool,
}

const fn yes() -> bool {
    true
}

/// A secret that was resolved.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedSecret {
    /// The environment variable.
    pub name: String,
    /// The reference.
    pub uri: String,
    /// The version that the command gets.
    pub version: String,
    /// The store's own id of the request that read it, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whether its store lends it to the step. The proxy that its backend was reached by is to stay
    /// until the step has ended, and takes it back then. It lets nobody through any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leased: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_reason_is_told_unless_another_says_more() {
        let limited: Agent = serde_json::from_value(serde_json::json!({
            "cli": "codex", "prompt": "a", "model": "gpt-5.1-codex", "max_turns": 3, "budget_usd": 0.5,
        }))
        .expect("an agent");
        let failed = |failure| Outcome::Failed { failure };
        let of = |outcome, fault| {
            let end = AgentEnd {
                fault,
                ..AgentEnd::default()
            };
            end.judge(outcome, Some(&limited))
        };
        for (fault, failure) in [
            (AgentFault::RateLimited, Failure::AgentRateLimited),
            (AgentFault::Auth, Failure::AgentAuth),
            (AgentFault::Context, Failure::AgentContext),
            (AgentFault::Network, Failure::AgentNetwork),
            (AgentFault::OverTurns, Failure::OverTurns { max_turns: 3 }),
            (
                AgentFault::OverBudget,
                Failure::OverBudget {
                    budget_usd: limited.budget_usd.expect("a budget"),
                },
            ),
        ] {
            for outcome in [
                Outcome::Succeeded,
                failed(Failure::Exit { code: 1 }),
                failed(Failure::Signal { signal: 15 }),
            ] {
                assert_eq!(of(outcome, Some(fault)), failed(failure.clone()));
            }
            for more in [Failure::OutOfMemory, Failure::TimedOut { after_seconds: 5 }] {
                assert_eq!(of(failed(more.clone()), Some(fault)), failed(more));
            }
        }
        let exit = failed(Failure::Exit { code: 1 });
        assert_eq!(of(exit.clone(), None), exit);
    }
}
