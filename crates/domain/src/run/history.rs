//! What a run's entries say about the attempts at its steps. Entries are kept with the run anyway,
//! so nothing is stored a second time.

use std::collections::BTreeMap;

use crate::audit::Event;
use crate::clock::Timestamp;
use crate::fence::Fence;
use crate::ids::WorkerId;
use crate::names::StepId;
use crate::step::RequeueReason;

/// A claim of a step: one attempt to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The claim's fence.
    pub fence: Fence,
    /// Who made the claim.
    pub worker_id: WorkerId,
    /// When.
    pub claimed_at: Timestamp,
    /// When its command began.
    pub started_at: Option<Timestamp>,
    /// How it ended, and when.
    pub end: Option<(Timestamp, AttemptEnd)>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Its command exited with 0.
    Succeeded,
    /// Its command failed, or could not be started.
    Failed,
    /// It was ended from outside.
    Aborted,
    /// The step was given up.
    Dead,
    /// The step went back to its queue.
    Lost(RequeueReason),
}

impl AttemptEnd {
    /// Its name, as the API shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Dead => "dead",
            Self::Lost(_) => "lost",
        }
    }
}

/// The attempts at each step, oldest first, from a run's events in their order.
#[must_use]
pub fn attempts(
    events: impl IntoIterator<Item = (Timestamp, Event)>,
) -> BTreeMap<StepId, Vec<Attempt>> {
    let mut steps: BTreeMap<StepId, Vec<Attempt>> = BTreeMap::new();
    for (at, event) in events {
        let (step_id, fence, end) = match event {
            Event::StepLeased {
                step_id,
                fence,
                worker_id,
                ..
            } => {
                steps.entry(step_id).or_default().push(Attempt {
                    fence,
                    worker_id,
                    claimed_at: at,
                    started_at: None,
                    end: None,
                });
                continue;
            }
            Event::StepRunning { step_id, fence } => {
                let attempts = steps.get_mut(&step_id).into_iter().flatten();
                for attempt in attempts.filter(|attempt| attempt.fence == fence) {
                    attempt.started_at.get_or_insert(at);
                }
                continue;
            }
            Event::StepSucceeded { step_id, fence } => {
                (step_id, Some(fence), AttemptEnd::Succeeded)
            }
            Event::StepFailed { step_id, fence, .. } => (step_id, Some(fence), AttemptEnd::Failed),
            Event::StepRequeued {
                step_id,
                fence,
                reason,
                ..
            } => (step_id, Some(fence), AttemptEnd::Lost(reason)),
            Event::StepAborted { step_id, .. } => (step_id, None, AttemptEnd::Aborted),
            Event::StepDead { step_id, .. } => (step_id, None, AttemptEnd::Dead),
            _ => continue,
        };
        // Without a fence, the newest attempt is meant, if it has not ended before.
        let last = steps
            .get_mut(&step_id)
            .and_then(|attempts| attempts.last_mut());
        if let Some(attempt) = last
            && fence.is_none_or(|fence| fence == attempt.fence)
        {
            attempt.end.get_or_insert((at, end));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_is_an_attempt_with_its_times_and_its_end() {
        let event = |value: serde_json::Value| -> Event {
            serde_json::from_value(value).expect("an event")
        };
        let worker = "wrk_0198c0de-0000-7000-8000-00000000000a";
        let leased = |fence: u32| {
            event(serde_json::json!({
                "type": "step.leased", "step_id": "a", "fence": fence, "worker_id": worker, "mode": "bare"
            }))
        };
        let running = |fence: u32| {
            event(serde_json::json!({ "type": "step.running", "step_id": "a", "fence": fence }))
        };
        let requeued = event(serde_json::json!({
            "type": "step.requeued", "step_id": "a", "fence": 1, "attempt": 2, "reason": "lease_expired"
        }));
        let aborted = event(serde_json::json!({
            "type": "step.aborted", "step_id": "a", "reason": { "kind": "cancelled" }
        }));
        let never = event(serde_json::json!({
            "type": "step.aborted", "step_id": "b", "reason": { "kind": "cancelled" }
        }));
        let events = [leased(1), running(1), requeued, leased(2), aborted, never];
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let events = events
            .into_iter()
            .zip(1..)
            .map(|(event, second)| (at(second), event));
        let steps = attempts(events);
        assert_eq!(
            steps.len(),
            1,
            "a step that was never claimed has no attempt"
        );
        let all = steps.into_values().next().expect("a step");
        let shape: Vec<_> = all
            .iter()
            .map(|attempt| (attempt.claimed_at, attempt.started_at, attempt.end))
            .collect();
        let lost = AttemptEnd::Lost(RequeueReason::LeaseExpired);
        assert_eq!(
            shape,
            [
                (at(1), Some(at(2)), Some((at(3), lost))),
                (at(4), None, Some((at(5), AttemptEnd::Aborted))),
            ]
        );
    }
}
