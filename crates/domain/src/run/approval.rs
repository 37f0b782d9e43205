//! Steps that somebody has to approve before they are queued.
//!
//! `Waiting -> Queued | Aborted`. The approval is part of the step, so a decision, what follows
//! from it and the audit entry are one write of the run. A step that waits is not in flight: nobody
//! is told of it, nobody can claim it, and nothing of it has been released. Its time to live bounds
//! the wait. A step that is tried again after a loss has its approval already; one that a caller
//! puts back is asked for anew.

use serde_json::json;

use super::types::{Change, Pace, Refusal, Run};
use crate::approval::{Approval, ApprovalId, ApprovalState, Decision, Verdict};
use crate::audit::Event;
use crate::clock::Timestamp;
use crate::hash::ContentHash;
use crate::ids::RunId;
use crate::names::StepId;
use crate::revocation::Revoked;
use crate::step::{AbortReason, StepState};

impl Run {
    /// What a step does once nothing that it needs is missing: it waits for approval, or in its
    /// queue. Returns whether it is in its queue.
    pub(super) fn ready(
        &mut self,
        step_id: &StepId,
        change: &mut Change,
        pace: Pace,
        now: Timestamp,
    ) -> bool {
        let approval = self.approval_of(step_id, now);
        let Some(step) = self.steps.get_mut(step_id) else {
            return false;
        };
        if let Some(approval) = approval {
            change.events.push(approval.requested());
            step.state = StepState::Waiting {
                until: approval.decide_by.unwrap_or(now),
            };
            step.approval = Some(approval);
            return false;
        }
        step.state = pace.queued(now);
        change.ready.push((step_id.clone(), step.spec.pool.clone()));
        true
    }

    /// The request for the approval that a step needs, if it needs one.
    fn approval_of(&self, step_id: &StepId, now: Timestamp) -> Option<Approval> {
        let spec = &self.steps.get(step_id)?.spec;
        spec.approval?;
        let whole = json!({
            "workflow": self.workflow,
            "workflow_version": self.workflow_version,
            "step": spec,
        });
        // Every run that is enqueued has one. Without it, nobody can approve, and the step expires.
        let asker = self.asker.clone().unwrap_or_default();
        let approval = ApprovalId::Step {
            run_id: self.run_id,
            step_id: step_id.clone(),
        };
        let request = ContentHash::of(whole.to_string().as_bytes());
        let until = now.plus_seconds(i64::from(spec.ttl_seconds));
        Some(asker.asks(approval, request, now, until))
    }

    /// The same new run under another id: an earlier attempt at the same request has named it.
    #[must_use]
    pub fn renamed(mut self, run_id: RunId, mut change: Change) -> (Self, Change) {
        self.run_id = run_id;
        let rename = |id: &mut ApprovalId| {
            if let ApprovalId::Step { run_id: own, .. } = id {
                *own = run_id;
            }
        };
        for approval in self
            .steps
            .values_mut()
            .filter_map(|step| step.approval.as_mut())
        {
            rename(&mut approval.approval);
        }
        for event in &mut change.events {
            if let Event::ApprovalRequested { approval, .. } = event {
                rename(approval);
            }
        }
        (self, change)
    }

    /// Somebody decides on a step that waits. `seen` is whether who approves saw what is there
    /// now. `Waiting -> Queued` once as many have approved as must, `Waiting -> Aborted` once one
    /// denies.
    ///
    /// # Errors
    /// When the step needs no approval, or the decision does not count.
    pub fn decide(
        &mut self,
        step_id: &StepId,
        decision: &Decision,
        seen: bool,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let mut change = Change::default();
        let step = self.step_mut(step_id)?;
        let approval = step.approval.as_mut().ok_or(Refusal::NoApproval)?;
        if !approval.decide(decision.clone(), seen)? {
            return Ok(change);
        }
        change.events.push(approval.said(decision));
        match (decision.verdict, approval.state) {
            (Verdict::Approve, ApprovalState::Approved) => {
                step.state = pace.queued(now);
                change.ready.push((step_id.clone(), step.spec.pool.clone()));
                change.events.push(Event::StepQueued {
                    step_id: step_id.clone(),
                });
            }
            (Verdict::Approve, _) => {}
            (Verdict::Deny, _) => {
                let reason = decision.reason.clone().unwrap_or_else(|| "".into());
                let reason = AbortReason::ApprovalDenied { reason };
                self.abort(step_id, reason, &mut change, now)?;
                self.settle(&mut change, pace, now);
            }
        }
        Ok(change)
    }

    /// `Waiting -> Aborted`: the step would see a secret that was revoked hard. The other steps go
    /// on, or end with it if they need it.
    ///
    /// # Errors
    /// When the step does not wait for approval.
    pub fn abort_waiting(
        &mut self,
        step_id: &StepId,
        revoked: Revoked,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        if !matches!(self.step(step_id)?.state, StepState::Waiting { .. }) {
            return Err(Refusal::NoApproval);
        }
        let mut change = Change::default();
        self.abort(step_id, AbortReason::Revoked(revoked), &mut change, now)?;
        self.settle(&mut change, pace, now);
        Ok(change)
    }

    /// `Waiting -> Aborted` where nobody has decided in time. Otherwise nothing changes.
    ///
    /// # Errors
    /// When the run has no such step.
    pub fn expire_approval(
        &mut self,
        step_id: &StepId,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let mut change = Change::default();
        let approval = self.step_mut(step_id)?.approval.as_mut();
        if let Some(expired) = approval.and_then(|approval| approval.expire(now)) {
            change.events.push(expired);
            self.abort(step_id, AbortReason::ApprovalExpired, &mut change, now)?;
            self.settle(&mut change, pace, now);
        }
        Ok(change)
    }
}
