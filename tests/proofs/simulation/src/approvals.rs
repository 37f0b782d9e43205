//! What must hold of approvals: nobody is told of a step that needs one, claims it or launches it
//! before somebody else than who enqueued its run has approved it; and the inbox has the steps that
//! wait, and no others.
//!
//! Who approved is taken from the actors of audit entries, not from what the rows say of it.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::run::{Run, Step, StepState};
use sealfleet_domain::{ApprovalId, RunId, StepId};

use crate::memory::Changed;

type Of = (RunId, StepId);

/// What is known of the approvals of steps.
#[derive(Clone, Debug, Default)]
pub struct Approvals {
    /// Who enqueued each run.
    enqueued_by: BTreeMap<RunId, String>,
    /// Who approved, since it was asked for last.
    approved_by: BTreeMap<Of, BTreeSet<String>>,
    /// The steps in the inbox, and the effect that put each there.
    inbox: BTreeMap<Of, u64>,
}

impl Approvals {
    /// Follows a transaction's audit entries.
    pub fn told(&mut self, entries: &[AuditEntry]) {
        for entry in entries {
            for event in &entry.events {
                match event {
                    Event::RunEnqueued { .. } => {
                        let run_id = entry.run_id.into_iter();
                        let by = run_id.map(|run_id| (run_id, entry.actor.clone()));
                        self.enqueued_by.extend(by);
                    }
                    Event::ApprovalRequested { approval, .. } => {
                        let anew = of(approval).map(|of| (of, BTreeSet::new()));
                        self.approved_by.extend(anew);
                    }
                    Event::ApprovalApproved { approval, .. } => {
                        if let Some(of) = of(approval) {
                            let by = self.approved_by.entry(of).or_default();
                            by.insert(entry.actor.clone());
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Follows a changed row, which the effect `effect` wrote.
    pub fn changed(&mut self, change: &Changed, effect: u64) {
        if !change.key.pk.ends_with("#APPROVALS") {
            return;
        }
        let Some(of) = change.key.sk.parse().ok().and_then(|id| of(&id)) else {
            return;
        };
        if change.after.is_none() {
            self.inbox.remove(&of);
        } else if change.before.is_none() {
            self.inbox.insert(of, effect);
        }
    }

    /// Whether a step may be told of, claimed and launched, as far as approvals go.
    pub fn may_go_on(&self, run_id: RunId, (step_id, step): (&StepId, &Step)) -> bool {
        let asker = self.enqueued_by.get(&run_id);
        let by = self.approved_by.get(&(run_id, step_id.clone()));
        step.spec.approval.is_none() || by.is_some_and(|by| by.iter().any(|by| Some(by) != asker))
    }

    /// The effect with which a step began to wait, if it does.
    pub fn waits_since(&self, run_id: RunId, step_id: &StepId) -> Option<u64> {
        self.inbox.get(&(run_id, step_id.clone())).copied()
    }

    /// What is wrong with a run after a transaction.
    pub fn check(&self, run: &Run) -> Vec<String> {
        let mut found = Vec::new();
        for (step_id, step) in &run.steps {
            let name = step.state.name();
            let waits = matches!(step.state, StepState::Waiting { .. });
            if waits != self.waits_since(run.run_id, step_id).is_some() {
                found.push(format!("{step_id} is {name}, and the inbox says otherwise"));
            }
            let goes_on = matches!(
                step.state,
                StepState::Queued { .. }
                    | StepState::Leased(_)
                    | StepState::Running(_)
                    | StepState::Succeeded { .. }
            );
            if goes_on && !self.may_go_on(run.run_id, (step_id, step)) {
                found.push(format!("{step_id} is {name}, and nobody else approved it"));
            }
        }
        found
    }
}

/// The step that an approval is of.
fn of(approval: &ApprovalId) -> Option<Of> {
    match approval {
        ApprovalId::Step { run_id, step_id } => Some((*run_id, step_id.clone())),
        ApprovalId::Workflow { .. } | ApprovalId::Worker { .. } => None,
    }
}
