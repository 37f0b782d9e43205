//! Whether the steps of a run can be run in some order.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::names::StepId;
use crate::step::StepSpec;

/// A graph of steps that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGraph {
    /// No step at all.
    #[error("a run needs at least one step")]
    Empty,
    /// Too many steps.
    #[error("{0} steps are too many: {max} at most", max = limits::STEPS)]
    TooMany(usize),
    /// A need that is no step.
    #[error("step `{step}` needs `{need}`, which is not a step of this run")]
    UnknownNeed {
        /// The step.
        step: StepId,
        /// What it needs.
        need: StepId,
    },
    /// Steps that wait for one another.
    #[error("step `{0}` waits for itself, directly or through others")]
    Cycle(StepId),
}

/// Checks that steps can be run in some order.
///
/// # Errors
/// See [`InvalidGraph`].
pub fn check_graph(steps: &BTreeMap<StepId, StepSpec>) -> Result<(), InvalidGraph> {
    if steps.is_empty() {
        return Err(InvalidGraph::Empty);
    }
    if steps.len() > limits::STEPS {
        return Err(InvalidGraph::TooMany(steps.len()));
    }
    for (step, spec) in steps {
        if let Some(need) = spec.needs.iter().find(|need| !steps.contains_key(need)) {
            return Err(InvalidGraph::UnknownNeed {
                step: step.clone(),
                need: need.clone(),
            });
        }
    }
    let mut done: BTreeSet<&StepId> = BTreeSet::new();
    loop {
        let before = done.len();
        for (step, spec) in steps {
            if spec.needs.iter().all(|need| done.contains(need)) {
                done.insert(step);
            }
        }
        if done.len() == before {
            break;
        }
    }
    steps
        .keys()
        .find(|step| !done.contains(step))
        .map_or(Ok(()), |step| Err(InvalidGraph::Cycle(step.clone())))
}
