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
    /// A step that is taken and not needed.
    #[error("step `{step}` takes `{taken}` and does not need it; add it to `needs`")]
    Unneeded {
        /// The step.
        step: StepId,
        /// What it takes.
        taken: StepId,
    },
    /// Too many steps that need an approval.
    #[error("{0} steps that need an approval are too many: {max} at most", max = limits::APPROVALS)]
    TooManyApprovals(usize),
    /// Too many steps that are taken.
    #[error("step `{0}` takes too many steps: {max} at most", max = limits::TAKES)]
    TakesTooMany(StepId),
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
    let approvals = steps.values().filter(|spec| spec.approval.is_some());
    let approvals = approvals.count();
    if approvals > limits::APPROVALS {
        return Err(InvalidGraph::TooManyApprovals(approvals));
    }
    for (step, spec) in steps {
        if let Some(need) = spec.needs.iter().find(|need| !steps.contains_key(need)) {
            return Err(InvalidGraph::UnknownNeed {
                step: step.clone(),
                need: need.clone(),
            });
        }
    }
    for (step, spec) in steps {
        if spec.takes.len() > limits::TAKES {
            return Err(InvalidGraph::TakesTooMany(step.clone()));
        }
        if let Some(taken) = spec.takes.difference(&spec.needs).next() {
            return Err(InvalidGraph::Unneeded {
                step: step.clone(),
                taken: taken.clone(),
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

/// How long steps may take to start, in seconds from when those of them begin to wait that need
/// none of the others. They can be run in some order.
pub struct Waits<'a>(BTreeMap<&'a StepId, Wait<'a>>);

struct Wait<'a> {
    spec: &'a StepSpec,
    /// When it has started for the last time, at the latest.
    start: i64,
    /// Itself, and all that end before it starts: a bit for each.
    until: u128,
}

const _: () = assert!(limits::STEPS <= 128);

impl<'a> Waits<'a> {
    /// Of these steps. Needs that are not among them have ended.
    #[must_use]
    pub fn of(steps: &'a BTreeMap<StepId, StepSpec>) -> Self {
        let mut waits = Self(BTreeMap::new());
        let mut before = usize::MAX;
        while waits.0.len() != before {
            before = waits.0.len();
            for (number, (step_id, spec)) in steps.iter().enumerate() {
                let needs = spec.needs.iter().filter(|need| steps.contains_key(need));
                let needs: Option<Vec<&Wait<'_>>> = needs.map(|need| waits.0.get(need)).collect();
                let Some(needs) = needs.filter(|_| !waits.0.contains_key(step_id)) else {
                    continue;
                };
                let ends = needs.iter().map(|need| need.end());
                let start = ends.max().unwrap_or_default() + own_wait(spec);
                let until = needs.iter().map(|need| need.until);
                let until = until.fold(1 << number, |all, one| all | one);
                waits.0.insert(step_id, Wait { spec, start, until });
            }
        }
        waits
    }

    /// When a step has started for the last time, at the latest.
    #[must_use]
    pub fn start(&self, step_id: &StepId) -> i64 {
        self.0.get(step_id).map_or(0, |wait| wait.start)
    }

    /// How long after the end of `taken` the step that takes it has started for the last time, at
    /// the latest: when all else that it needs has ended, too, and it has waited itself.
    #[must_use]
    pub fn after(&self, taken: &StepId, step_id: &StepId) -> i64 {
        let Some(wait) = self.0.get(step_id) else {
            return 0;
        };
        let ended = self.0.get(taken).map_or(0, |taken| taken.until);
        let needs = wait.spec.needs.iter().filter_map(|need| self.0.get(need));
        let others = needs.filter(|need| need.until & !ended != 0);
        let ends = others.map(Wait::end);
        ends.max().unwrap_or_default() + own_wait(wait.spec)
    }
}

impl Wait<'_> {
    fn end(&self) -> i64 {
        self.start + i64::from(self.spec.timeout_seconds)
    }
}

/// How long a step may wait by itself until it starts for the last time.
fn own_wait(spec: &StepSpec) -> i64 {
    let attempts = i64::from(spec.max_attempts);
    // It is approved once, and may wait for that as long as for a claim.
    let waits = attempts + i64::from(spec.approval.is_some());
    waits * i64::from(spec.ttl_seconds) + (attempts - 1) * i64::from(spec.timeout_seconds)
}
