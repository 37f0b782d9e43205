//! What the two sides tell each other.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::WaitStatus;
use sealfleet_domain::ToolName;
use sealfleet_domain::acl::Acl;
use sealfleet_domain::agent::{Agent, AgentReport};
use sealfleet_domain::artifact::{Artifact, ArtifactName};
use sealfleet_domain::command::Word;
use sealfleet_domain::egress::{Denials, Policy};
use sealfleet_domain::inputs::{InputPlace, Inputs, WorkspacePath};
use sealfleet_domain::redaction::Redaction;
use sealfleet_domain::run::{Failure, Outcome};
use serde::{Deserialize, Serialize};

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
    /// What to let through, in place of a step: this sandbox is the egress proxy of another. The
    /// listener that the other's init gave away travels with the message, as [`EGRESS_LISTENER`].
    Egress(Box<EgressOrder>),
    /// The start is on record: run the command.
    Go,
    /// The artifacts of the last message are kept.
    Taken,
    /// What the step was kept from: the answer to [`ToHost::EgressAsked`].
    Denied(Denials),
}

/// A message of `sealfleet-init`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHost {
    /// The inputs of the last message are in the workspace.
    Placed,
    /// Every granted secret has a value. Init waits for [`ToInit::Go`]. With the message travels
    /// the listener for the step's egress proxy, as [`EGRESS_LISTENER`], if the step asks for one.
    Resolved(Vec<ResolvedSecret>),
    /// The proxy lets through what its order allows. Nothing but [`ToHost::Egress`] follows.
    Proxying,
    /// What the proxy has kept its step from since the last such message.
    Egress(Denials),
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
    /// What was the step kept from? Asked before its end, if it has an egress proxy: the hosts are
    /// redacted here.
    EgressAsked,
    /// The command has ended, and so has everything that it started. All of its output is written.
    Ended {
        end: CommandEnd,
        /// What was taken out of its output.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        redactions: Vec<Redaction>,
        /// What it was kept from. A host that holds a value of a secret has no name here.
        #[serde(default, skip_serializing_if = "Denials::is_empty")]
        denied: Denials,
    },
}

/// The name of the listener that a step's programs reach their egress proxy by.
pub const EGRESS_LISTENER: &str = "egress.listener";

/// What an egress proxy holds its step to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressOrder {
    pub policy: Policy,
    /// Networks whose addresses it may connect to although they are not public, as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
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
    /// The tool that the command is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// Which tool sees which secrets. Absent: every tool sees all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Acl>,
    /// How long all secrets together may take to resolve, in milliseconds.
    pub resolve_millis: u64,
    /// Whether the step reaches hosts through an egress proxy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub egress: bool,
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
