//! What the control plane is told of a step's end. ECS knows the exit code; this says the rest.

use sealfleet_channel::{AgentEnd, Egress, StepResult};
use sealfleet_domain::agent::{Agent, AgentReport, ModelsUsed};
use sealfleet_domain::artifact::{Found, Total};
use sealfleet_domain::egress::{Denials, Reached};
use sealfleet_domain::output::RESULT;
use sealfleet_domain::redaction::Redaction;
use sealfleet_domain::run::{Failure, Outcome};
use sealfleet_outputs::Upload;
use sealfleet_outputs::artifacts::LeftBehind;
use serde::Serialize;

use crate::supervise::End;

/// An end, but for the claim that it is of.
#[derive(Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    outcome: Outcome,
    pub(super) redactions: Vec<Redaction>,
    pub(super) output_missing_bytes: u64,
    #[serde(skip_serializing_if = "Denials::is_empty")]
    egress_denied: Denials,
    #[serde(skip_serializing_if = "Reached::is_empty")]
    egress_reached: Reached,
    #[serde(skip_serializing_if = "ModelsUsed::is_empty")]
    models_used: ModelsUsed,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<AgentReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifacts: Option<Total>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifact_secrets: Vec<Found>,
}

impl Report {
    pub(super) fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            redactions: Vec::new(),
            output_missing_bytes: 0,
            egress_denied: Denials::default(),
            egress_reached: Reached::default(),
            models_used: ModelsUsed::default(),
            result_bytes: None,
            agent: None,
            artifacts: None,
            artifact_secrets: Vec::new(),
        }
    }

    /// The agent that the step is has ended.
    pub(super) fn ended_agent(&mut self, end: AgentEnd, agent: &Agent) {
        self.outcome = end.judge(self.outcome.clone(), Some(agent));
        self.agent = Some(end.report);
    }

    /// What the step has reached, and what it was kept from.
    pub(super) fn reached(&mut self, egress: Egress) {
        self.egress_denied = egress.denied;
        self.egress_reached = egress.reached;
        self.models_used = egress.models_used;
    }

    /// The command has left a result: stores it. A step whose result cannot be taken fails.
    pub(super) async fn left(&mut self, result: StepResult, upload: &Upload) {
        let why = match result {
            StepResult::Json(json) => match upload.keep(RESULT, json.as_bytes()).await {
                Ok(()) => {
                    self.result_bytes = Some(json.len() as u64);
                    return;
                }
                Err(error) => format!("the result could not be stored: {error}"),
            },
            StepResult::Bad(why) => why,
        };
        let detail = Failure::detail(&why);
        self.fails_by(Failure::BadResult { detail });
    }

    /// The command has left artifacts behind, which are stored, or could not be kept.
    pub(super) fn left_behind(&mut self, left: Result<LeftBehind, String>) {
        match left {
            Ok(left) => {
                self.artifacts = Some(left.total);
                self.artifact_secrets = left.found;
            }
            Err(why) => {
                let detail = Failure::detail(&why);
                self.fails_by(Failure::BadArtifacts { detail });
            }
        }
    }

    /// How the command failed says more.
    fn fails_by(&mut self, failure: Failure) {
        if self.outcome == Outcome::Succeeded {
            self.outcome = Outcome::Failed { failure };
        }
    }
}

/// How the step ended, by the end of its command.
pub(super) fn outcome(end: End, timeout_seconds: u32) -> Outcome {
    let failure = match end {
        End::Command(end) => return end.outcome(),
        End::TimedOut => Failure::TimedOut {
            after_seconds: timeout_seconds,
        },
        End::NotRun => Failure::CannotStart {
            cause: None,
            detail: "the sandbox's init could not run the command: its log says why".to_owned(),
        },
    };
    Outcome::Failed { failure }
}
