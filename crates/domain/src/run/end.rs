//! How a held or waiting step ends, is given up, or waits again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::types::{Change, Pace, Refusal, Run};
use crate::agent::{AgentReport, ModelsUsed};
use crate::artifact::{Found, MOST_FOUND, Total};
use crate::audit::Event;
use crate::clock::Timestamp;
use crate::egress::{Denial, Denials, Denied, Reached};
use crate::ids::WorkerId;
use crate::names::StepId;
use crate::redaction::{self, Redaction};
use crate::step::{
    AbortReason, DeadReason, Executor, Fence, Outcome, OutputPlace, RequeueReason, StepState,
};
use crate::usage::Measured;

/// What has come out of a step, as whoever ran it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameOut {
    /// Bytes of its output that its worker has not kept.
    #[serde(default)]
    pub cut_bytes: u64,
    /// Bytes of its output that are not in the project's outputs.
    #[serde(default)]
    pub missing_bytes: u64,
    /// The size of its result, if it has one.
    #[serde(default)]
    pub result_bytes: Option<u64>,
    /// How much it has left behind, if it names artifacts.
    #[serde(default)]
    pub artifacts: Option<Total>,
}

/// The end of a step, as whoever ran it tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How it ended.
    pub outcome: Outcome,
    /// What has come out of it.
    #[serde(default)]
    pub out: CameOut,
    /// What was taken out of that.
    #[serde(default)]
    pub redactions: Vec<Redaction>,
    /// Which hosts it was kept from.
    #[serde(default)]
    pub egress_denied: Denials,
    /// Which hosts it has reached.
    #[serde(default)]
    pub egress_reached: Reached,
    /// Which files of what it has left behind hold secrets.
    #[serde(default)]
    pub artifact_secrets: Vec<Found>,
    /// What its agent used.
    #[serde(default)]
    pub agent: Option<AgentReport>,
    /// Tokens that its egress proxy has counted.
    #[serde(default)]
    pub models_used: ModelsUsed,
}

impl Told {
    /// An end of which nothing more is known.
    #[must_use]
    pub fn only(outcome: Outcome) -> Self {
        Self {
            outcome,
            out: CameOut::default(),
            redactions: Vec::new(),
            egress_denied: Denials::default(),
            egress_reached: Reached::default(),
            artifact_secrets: Vec::new(),
            agent: None,
            models_used: ModelsUsed::default(),
        }
    }

    /// The same end, where the host of the sandbox has seen `seen`. The host is believed, and the
    /// sandbox says more: it can explain an exit code, or fail a step by what it has left. It
    /// cannot turn a failure into a success.
    #[must_use]
    pub fn beside(self, seen: Outcome) -> Self {
        let outcome = match (seen, self.outcome) {
            (Outcome::Succeeded, Outcome::Failed { failure }) if failure.follows_success() => {
                Outcome::Failed { failure }
            }
            (Outcome::Failed { failure: seen }, Outcome::Failed { failure })
                if seen.is_an_exit_code() =>
            {
                Outcome::Failed { failure }
            }
            (seen, _) => seen,
        };
        Self { outcome, ..self }
    }
}

/// What the trail says of hosts that a step was kept from.
#[must_use]
pub fn egress_events(step_id: &StepId, fence: Fence, told: Denials) -> Vec<Event> {
    // Once more, since whoever tells may name a host twice.
    let Denials { rows, others } = Denials::default().with(told);
    let is_mismatch = |row: &Denial| row.reason == Denied::CredentialMismatch;
    let (mismatches, rows): (Vec<Denial>, Vec<Denial>) = rows.into_iter().partition(is_mismatch);
    let hosts = Denials { rows, others };
    let mut events = Vec::new();
    if !mismatches.is_empty() {
        events.push(Event::EgressCredentialMismatch {
            step_id: step_id.clone(),
            fence,
            rows: mismatches,
        });
    }
    if !hosts.is_empty() {
        events.push(Event::EgressDenied {
            step_id: step_id.clone(),
            fence,
            hosts,
        });
    }
    events
}

impl Run {
    /// `Leased | Running -> Succeeded | Failed`. The same report twice changes nothing and is fine.
    ///
    /// # Errors
    /// When the claim is no longer live, belongs to another worker, or ended otherwise.
    pub fn finish(
        &mut self,
        step_id: &StepId,
        holder: Option<WorkerId>,
        fence: Fence,
        outcome: &Outcome,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let step = self.step(step_id)?;
        if holder.is_some() && step.fence == fence && step.last_holder != holder {
            return Err(Refusal::NotHolder);
        }
        match (&step.state, outcome) {
            (StepState::Succeeded { fence: ended, .. }, Outcome::Succeeded) if *ended == fence => {
                return Ok(Change::default());
            }
            (
                StepState::Failed {
                    fence: ended,
                    failure,
                    ..
                },
                Outcome::Failed { failure: told },
            ) if *ended == fence && failure == told => {
                return Ok(Change::default());
            }
            (
                StepState::Succeeded { fence: ended, .. } | StepState::Failed { fence: ended, .. },
                _,
            ) if *ended == fence => {
                return Err(Refusal::EndedOtherwise(step.state.name()));
            }
            (StepState::Aborted { .. }, _) if step.fence == fence => {
                return Err(Refusal::EndedOtherwise(step.state.name()));
            }
            _ => {}
        }
        let hold = self.held(step_id, holder, fence)?.clone();
        let mut change = Change::default();
        change.release.push(self.lease_key(step_id, &hold));
        let state = match outcome {
            Outcome::Succeeded => {
                change.events.push(Event::StepSucceeded {
                    step_id: step_id.clone(),
                    fence,
                });
                StepState::Succeeded { fence, at: now }
            }
            Outcome::Failed { failure } => {
                change.events.push(Event::StepFailed {
                    step_id: step_id.clone(),
                    fence,
                    failure: failure.clone(),
                });
                StepState::Failed {
                    fence,
                    failure: failure.clone(),
                    at: now,
                }
            }
        };
        change.events.push(Event::SandboxReset {
            step_id: step_id.clone(),
            fence,
        });
        self.step_mut(step_id)?.state = state;
        self.settle(&mut change, pace, now);
        Ok(change)
    }

    /// As [`Self::finish`], with all that is told of the end.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_as_told(
        &mut self,
        step_id: &StepId,
        holder: Option<WorkerId>,
        fence: Fence,
        told: &Told,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let mut change = self.finish(step_id, holder, fence, &told.outcome, pace, now)?;
        if change.events.is_empty() {
            return Ok(change);
        }
        let redacted = self.redacted(step_id, fence, told.redactions.clone())?;
        let found = self.found_in_artifacts(step_id, fence, told.artifact_secrets.clone())?;
        let denied = egress_events(step_id, fence, told.egress_denied.clone());
        let reached = &told.egress_reached;
        let allowed = (!reached.is_empty()).then(|| Event::EgressAllowed {
            step_id: step_id.clone(),
            fence,
            hosts: reached.clone(),
        });
        let found = redacted.into_iter().chain(found);
        let found = found.chain(denied).chain(allowed);
        change.events.splice(..0, found);
        let step = self.step_mut(step_id)?;
        step.output_cut_bytes = told.out.cut_bytes;
        step.output_missing_bytes = told.out.missing_bytes;
        step.result_bytes = told.out.result_bytes;
        step.artifacts = told.out.artifacts;
        let measured = Measured::of_told(&told.egress_reached, &told.models_used);
        change.measured = Some((step_id.clone(), measured));
        if step.spec.agent.is_some() && told.agent.is_some() {
            step.agent.clone_from(&told.agent);
        }
        Ok(change)
    }

    /// What was taken out of a step's output: of secrets that the step has.
    fn redacted(
        &self,
        step_id: &StepId,
        fence: Fence,
        told: Vec<Redaction>,
    ) -> Result<Option<Event>, Refusal> {
        let secrets = self.identity_of(self.step(step_id)?).unwrap_or_default();
        let is_there = |row: &Redaction| {
            let mut secrets = secrets.secrets.iter();
            secrets.any(|secret| secret.name == row.key) && row.count > 0
        };
        let matches = redaction::reported(told.into_iter().filter(is_there).collect());
        Ok((!matches.is_empty()).then(|| Event::RedactionMatch {
            step_id: step_id.clone(),
            fence,
            matches,
        }))
    }

    /// In which files of a step values were found: of secrets that the step has.
    fn found_in_artifacts(
        &self,
        step_id: &StepId,
        fence: Fence,
        told: Vec<Found>,
    ) -> Result<Option<Event>, Refusal> {
        let secrets = self.identity_of(self.step(step_id)?).unwrap_or_default();
        let is_there = |key: &String| secrets.secrets.iter().any(|secret| secret.name == *key);
        let known = told.into_iter().map(|mut found| {
            found.keys.retain(is_there);
            found
        });
        let mut files: Vec<Found> = known.filter(|found| !found.keys.is_empty()).collect();
        files.truncate(MOST_FOUND);
        Ok((!files.is_empty()).then(|| Event::ArtifactContainsSecret {
            step_id: step_id.clone(),
            fence,
            files,
        }))
    }

    /// Notes where a step's worker keeps its output, with the report of its start.
    ///
    /// # Errors
    /// When the run has no such step.
    pub fn output_at(
        &mut self,
        step_id: &StepId,
        place: Option<String>,
        uploads: bool,
    ) -> Result<(), Refusal> {
        let step = self.step_mut(step_id)?;
        step.output = place.map(OutputPlace::Worker);
        step.uploads = uploads;
        Ok(())
    }

    /// `Leased | Running -> Queued | Dead`: the claim is lost. What passes with time is not tried
    /// again at once: nobody is told, and `wait` has the message sent, later after each attempt.
    ///
    /// # Errors
    /// When the claim is no longer live.
    pub fn lose(
        &mut self,
        step_id: &StepId,
        fence: Fence,
        reason: RequeueReason,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let hold = self.held(step_id, None, fence)?.clone();
        let mut change = Change {
            take_back: vec![self.lease_key(step_id, &hold)],
            ..Change::default()
        };
        if let (Executor::Host, Some(handle)) = (hold.executor, &hold.handle) {
            change.stop.push((step_id.clone(), handle.clone()));
        }
        let step = self.step_mut(step_id)?;
        step.lost = Some(reason);
        if reason.is_attempt() && step.attempt >= step.spec.max_attempts {
            step.state = StepState::Dead {
                reason: DeadReason::AttemptsExhausted,
                at: now,
            };
            change.events.push(Event::StepDead {
                step_id: step_id.clone(),
                reason: DeadReason::AttemptsExhausted,
            });
        } else {
            let failed = step.attempt;
            step.state = if reason.passes_with_time() {
                StepState::Queued {
                    since: match hold.queued_since {
                        Some(since) if !reason.is_attempt() => since,
                        _ => now,
                    },
                    resend_at: pace.resend_at(now, failed.saturating_sub(1)),
                    resent: 0,
                }
            } else {
                pace.queued(now)
            };
            step.attempt = failed.saturating_add(u32::from(reason.is_attempt()));
            change.events.push(Event::StepRequeued {
                step_id: step_id.clone(),
                fence,
                attempt: step.attempt,
                reason,
            });
            if !reason.passes_with_time() {
                change.ready.push((step_id.clone(), step.spec.pool.clone()));
            }
        }
        self.settle(&mut change, pace, now);
        Ok(change)
    }

    /// As [`Self::lose`], told by the holder: its sandbox is lost. Told twice: nothing changes.
    ///
    /// # Errors
    /// When the claim is no longer live, or belongs to another worker.
    pub fn lose_sandbox(
        &mut self,
        step_id: &StepId,
        holder: Option<WorkerId>,
        fence: Fence,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let reason = RequeueReason::SandboxLost;
        let step = self.step(step_id)?;
        let is_known = step.fence == fence
            && step.last_holder == holder
            && step.lost == Some(reason)
            && step.state.hold().is_none();
        if is_known {
            return Ok(Change::default());
        }
        self.held(step_id, holder, fence)?;
        self.lose(step_id, fence, reason, pace, now)
    }

    /// Moves the time at which somebody must look at a held step again.
    ///
    /// # Errors
    /// When the claim is no longer live.
    pub fn look_again(
        &mut self,
        step_id: &StepId,
        fence: Fence,
        due: Timestamp,
    ) -> Result<Change, Refusal> {
        self.held(step_id, None, fence)?;
        if let Some(hold) = self.step_mut(step_id)?.state.hold_mut() {
            hold.due = due;
        }
        Ok(Change {
            quiet: true,
            ..Change::default()
        })
    }

    /// `Queued -> Dead` where the time to live is over, else: notes that the queue message is sent
    /// again.
    ///
    /// # Errors
    /// When the step is not queued.
    pub fn wait(
        &mut self,
        step_id: &StepId,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let step = self.step_mut(step_id)?;
        let StepState::Queued {
            since,
            resend_at,
            resent,
        } = step.state
        else {
            return Err(Refusal::NotQueued(step.state.name()));
        };
        let mut change = Change::default();
        if since.plus_seconds(i64::from(step.spec.ttl_seconds)) <= now {
            step.state = StepState::Dead {
                reason: DeadReason::TtlExpired,
                at: now,
            };
            change.events.push(Event::StepDead {
                step_id: step_id.clone(),
                reason: DeadReason::TtlExpired,
            });
            self.settle(&mut change, pace, now);
        } else if resend_at <= now {
            let resent = resent.saturating_add(1);
            step.state = StepState::Queued {
                since,
                resend_at: pace.resend_at(now, resent),
                resent,
            };
            change.ready.push((step_id.clone(), step.spec.pool.clone()));
            change.quiet = true;
        }
        Ok(change)
    }

    /// `Dead -> Queued | Waiting`: a caller puts a dead step back, and with it the steps that were
    /// ended because of it.
    ///
    /// # Errors
    /// When the step is not dead.
    pub fn retry(
        &mut self,
        step_id: &StepId,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let step = self.step_mut(step_id)?;
        if !matches!(step.state, StepState::Dead { .. }) {
            return Err(Refusal::NotDead(step.state.name()));
        }
        step.attempt = 1;
        let mut change = Change::default();
        change.events.push(Event::StepRetried {
            step_id: step_id.clone(),
        });
        self.ready(step_id, &mut change, pace, now);
        let mut revived = BTreeSet::from([step_id.clone()]);
        loop {
            let next = self.steps.iter().find_map(|(id, step)| match &step.state {
                StepState::Aborted {
                    reason: AbortReason::DependencyFailed { step_id },
                    ..
                } if revived.contains(step_id) => Some(id.clone()),
                _ => None,
            });
            let Some(next) = next else { break };
            self.step_mut(&next)?.state = StepState::Blocked;
            revived.insert(next);
        }
        Ok(change)
    }
}
