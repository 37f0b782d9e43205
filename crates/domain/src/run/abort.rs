//! How steps are ended from outside: by a caller, or because a secret was revoked.

use super::types::{Change, Pace, Refusal, Run};
use crate::approval::Approval;
use crate::audit::Event;
use crate::clock::Timestamp;
use crate::ids::FanOutId;
use crate::names::StepId;
use crate::revocation::{Revocation, Revoked, revoked};
use crate::step::{AbortReason, Executor, Fence, StepState, Stopping};

/// Seconds after which a host has surely shown a sandbox that it was asked to launch: its answers
/// are eventually consistent.
const LAUNCH_SHOWS_SECONDS: i64 = 120;

impl Run {
    /// Ends every step that has not ended: a caller cancelled the run.
    ///
    /// # Errors
    /// When all steps have ended.
    pub fn cancel(&mut self, now: Timestamp) -> Result<Change, Refusal> {
        if self.steps.values().all(|step| step.state.is_terminal()) {
            return Err(Refusal::AlreadyEnded(self.state().name()));
        }
        self.abort_all(Event::RunCancelled {}, &AbortReason::Cancelled, now)
    }

    pub(super) fn abort_all(
        &mut self,
        event: Event,
        reason: &AbortReason,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let mut change = Change::default();
        change.events.push(event);
        let live: Vec<StepId> = self
            .steps
            .iter()
            .filter(|(_, step)| !step.state.is_terminal())
            .map(|(id, _)| id.clone())
            .collect();
        for step_id in live {
            self.abort(&step_id, reason.clone(), &mut change, now)?;
        }
        change.events.push(Event::RunFinished {
            state: self.state(),
        });
        Ok(change)
    }

    /// The first secret that a held step's sandbox has, or is about to get, and that `active` takes
    /// away. A step that waits for approval counts, too: nobody should be asked to approve it.
    #[must_use]
    pub fn revoked_in_flight(&self, active: &[Revocation]) -> Option<Revoked> {
        self.steps
            .values()
            .filter(|step| {
                step.state.hold().is_some() || matches!(step.state, StepState::Waiting { .. })
            })
            .filter_map(|step| self.identity_of(step))
            .find_map(|identity| revoked(&identity, active))
    }

    /// Ends every step that has not ended: the run holds a secret that was revoked.
    ///
    /// # Errors
    /// Never, as it is; steps are looked up by the ids that they have.
    pub fn abort_revoked(
        &mut self,
        revoked: Revoked,
        fan_out_id: Option<FanOutId>,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let event = Event::RunAbortedByRevocation {
            revoked: revoked.clone(),
            fan_out_id,
        };
        self.abort_all(event, &AbortReason::Revoked(revoked), now)
    }

    /// Ends a held step whose sandbox must not start after all: it has a secret that was revoked.
    /// The other steps go on, or end with it if they need it.
    ///
    /// # Errors
    /// When the claim is no longer live.
    pub fn abort_start(
        &mut self,
        step_id: &StepId,
        fence: Fence,
        revoked: Revoked,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        self.held(step_id, None, fence)?;
        let mut change = Change::default();
        self.abort(step_id, AbortReason::Revoked(revoked), &mut change, now)?;
        self.settle(&mut change, pace, now);
        Ok(change)
    }

    /// Notes that the sandbox of an aborted step is gone.
    ///
    /// # Errors
    /// When the run has no such step.
    pub fn stopped(&mut self, step_id: &StepId) -> Result<Change, Refusal> {
        let step = self.step_mut(step_id)?;
        let fence = step.fence;
        let StepState::Aborted { stopping, .. } = &mut step.state else {
            return Ok(Change::default());
        };
        if stopping.take().is_none() {
            return Ok(Change::default());
        }
        Ok(Change {
            events: vec![Event::SandboxReset {
                step_id: step_id.clone(),
                fence,
            }],
            ..Change::default()
        })
    }

    pub(super) fn abort(
        &mut self,
        step_id: &StepId,
        reason: AbortReason,
        change: &mut Change,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let hold = self.step(step_id)?.state.hold().cloned();
        if let Some(hold) = &hold {
            change.take_back.push(self.lease_key(step_id, hold));
        }
        // A worker learns of it by its next heartbeat; only what a host runs is stopped by a call
        // of ours.
        let stopping = hold
            .filter(|hold| hold.executor == Executor::Host)
            .map(|hold| match hold.handle {
                Some(handle) => {
                    change.stop.push((step_id.clone(), handle.clone()));
                    Stopping::Task(handle)
                }
                None => Stopping::Launch {
                    until: now.plus_seconds(LAUNCH_SHOWS_SECONDS),
                },
            });
        change.events.push(Event::StepAborted {
            step_id: step_id.clone(),
            reason: reason.clone(),
        });
        let step = self.step_mut(step_id)?;
        let undecided = step.approval.as_mut().and_then(Approval::cancel);
        change.events.extend(undecided);
        step.state = StepState::Aborted {
            reason,
            at: now,
            stopping,
        };
        Ok(())
    }
}
