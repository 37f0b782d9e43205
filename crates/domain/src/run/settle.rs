//! What the end of one step means for the others.

use super::types::{Change, Pace, Run};
use crate::audit::Event;
use crate::clock::Timestamp;
use crate::step::{AbortReason, StepState};

impl Run {
    /// Follows what an ended step means for the others: unblocks, aborts, and notes the run's end.
    pub(super) fn settle(&mut self, change: &mut Change, pace: Pace, now: Timestamp) {
        loop {
            let mut queue = None;
            let mut end = None;
            for (id, step) in &self.steps {
                if !matches!(step.state, StepState::Blocked) {
                    continue;
                }
                let lost = step.spec.needs.iter().find(|need| {
                    self.steps.get(need).is_some_and(|need| {
                        need.state.is_terminal()
                            && !matches!(need.state, StepState::Succeeded { .. })
                    })
                });
                let ready = step.spec.needs.iter().all(|need| {
                    self.steps
                        .get(need)
                        .is_some_and(|need| matches!(need.state, StepState::Succeeded { .. }))
                });
                if let Some(lost) = lost {
                    end = Some((id.clone(), lost.clone()));
                    break;
                }
                if ready {
                    queue = Some(id.clone());
                    break;
                }
            }
            if let Some((id, lost)) = end {
                let reason = AbortReason::DependencyFailed { step_id: lost };
                if let Some(step) = self.steps.get_mut(&id) {
                    step.state = StepState::Aborted {
                        reason: reason.clone(),
                        at: now,
                        stopping: None,
                    };
                }
                change.events.push(Event::StepAborted {
                    step_id: id,
                    reason,
                });
            } else if let Some(id) = queue {
                if self.ready(&id, change, pace, now) {
                    change.events.push(Event::StepQueued { step_id: id });
                }
            } else {
                break;
            }
        }
        if self.steps.values().all(|step| step.state.is_terminal()) {
            change.events.push(Event::RunFinished {
                state: self.state(),
            });
        }
    }
}
