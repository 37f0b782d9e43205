//! What a run is made of, what one transition changes, and why one is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::AgentReport;
use crate::approval::{Approval, Asker, Undecided};
use crate::artifact::Total;
use crate::audit::Event;
use crate::cascade::Overrides;
use crate::clock::Timestamp;
use crate::fleet::{Mismatch, Worker};
use crate::identity::Identity;
use crate::ids::{RunId, WorkerId};
use crate::labels::Labels;
use crate::names::{PoolName, ProfileName, StepId, WorkflowName};
use crate::step::{
    Executor, Failure, Fence, Handle, Hold, OutputPlace, RequeueReason, RunState, StepSpec,
    StepState,
};
use crate::usage::{ByModel, Measured};

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is to do.
    pub spec: StepSpec,
    /// Where it stands.
    pub state: StepState,
    /// Counts tries, from 1.
    pub attempt: u32,
    /// The fence of its newest claim; 0 before the first.
    pub fence: Fence,
    /// Who made that claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_holder: Option<WorkerId>,
    /// Why its newest lost claim was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<RequeueReason>,
    /// Bytes of its output that its worker has not kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_cut_bytes: u64,
    /// Where the output of its newest claim lies, once a sandbox was started for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputPlace>,
    /// What its agent said of its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentReport>,
    /// Whether its worker sends output and result to the project's outputs, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uploads: bool,
    /// Bytes of its output that are not in the project's outputs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_missing_bytes: u64,
    /// The size of its result, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_bytes: Option<u64>,
    /// How much it has left behind, if it names artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Total>,
    /// What its attempts that have ended used.
    #[serde(default, skip_serializing_if = "ByModel::is_empty")]
    pub used: ByModel,
    /// The approval that it waits for, or has had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// What a run chose for itself, above the profiles that its project binds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Its own profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// What it changed above all profiles.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
}

/// Whether a count need not be stored or shown.
#[must_use]
pub const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A run: a small graph of steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The run's id.
    pub run_id: RunId,
    /// The kind of work.
    pub workflow: WorkflowName,
    /// The version of the registered workflow that it is of. Absent: its caller wrote its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_version: Option<u32>,
    /// The resolved profile that its identity steps start with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Labels to find it by.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What it chose for itself, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// Who asks for the approvals that its steps need. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asker: Option<Asker>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// Its steps by id.
    pub steps: BTreeMap<StepId, Step>,
}

/// A lease to store: one row for each claim that has not ended, under its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// Who holds it.
    pub holder: WorkerId,
    /// In which of the holder's slots.
    pub slot: u32,
    /// Until when, unless a heartbeat moves it.
    pub until: Timestamp,
    /// Whether the step sees an identity: a revocation looks at no others.
    pub identity: bool,
}

impl Lease {
    /// Its address.
    #[must_use]
    pub fn key(&self) -> LeaseKey {
        LeaseKey {
            holder: self.holder,
            slot: self.slot,
            fence: self.fence,
            run_id: self.run_id,
            step_id: self.step_id.clone(),
        }
    }
}

/// The address of a stored lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseKey {
    /// Who holds it.
    pub holder: WorkerId,
    /// In which slot.
    pub slot: u32,
    /// The claim's fence: a row with another one belongs to another claim.
    pub fence: Fence,
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
}

/// All that one transition changes beside the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What became true, in order. Empty: nothing changed, nothing needs writing.
    pub events: Vec<Event>,
    /// Leases to write, each only if its slot is free or holds the same step.
    pub take: Option<Lease>,
    /// Leases to remove. Their holders have ended, or never started.
    pub release: Vec<LeaseKey>,
    /// Leases to remove in the same write. Their holders may be at work, and learn from the missing
    /// lease that their claim is over.
    pub take_back: Vec<LeaseKey>,
    /// Steps that may be claimed now, with the pool to tell.
    pub ready: Vec<(StepId, PoolName)>,
    /// Sandboxes to stop.
    pub stop: Vec<(StepId, Handle)>,
    /// Whether the run changed without an event worth auditing (a due time moved).
    pub quiet: bool,
    /// When a new run is to be looked at first, if nothing of it is due before. The lease of a
    /// claim that follows at once ends then, so the claim need not move the run's place in the
    /// index.
    pub first_look: Option<Timestamp>,
    /// What is known of the attempt that it ends.
    pub measured: Option<(StepId, Measured)>,
}

/// Who claims a step, and for where.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The worker.
    pub worker: &'a Worker,
    /// Which of its slots the lease is to take.
    pub slot: u32,
    /// What will run the sandbox.
    pub executor: Executor,
}

/// What resolving a step's cascade again, at its start, came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// The step sees no identity.
    Nothing,
    /// What it would see now.
    Identity(Identity),
    /// Its profiles do not let it start any more.
    Refused(Failure),
}

/// Why a transition does not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The run has no such step.
    #[error("the run has no step `{0}`")]
    NoSuchStep(StepId),
    /// The step is not waiting to be claimed.
    #[error("the step is not waiting to be claimed: it is {0}")]
    NotQueued(&'static str),
    /// The worker gets no new steps.
    #[error("the worker drains: an admin wants it to take no steps until it is resumed")]
    Draining,
    /// The worker does not match.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The fence is not that of the step's live claim.
    #[error("the lease is no longer held: fence {given} is stale")]
    StaleFence {
        /// The fence that was presented.
        given: Fence,
    },
    /// The claim belongs to another worker.
    #[error("the step is held by another worker")]
    NotHolder,
    /// The step ended otherwise.
    #[error("the step has already ended as {0}")]
    EndedOtherwise(&'static str),
    /// The step's sandbox has another handle already.
    #[error("the step already has a sandbox")]
    OtherHandle,
    /// Only dead steps are retried.
    #[error("the step is {0}; only a dead step can be retried")]
    NotDead(&'static str),
    /// The step needs no approval.
    #[error("the step needs no approval, or not yet")]
    NoApproval,
    /// A decision does not count.
    #[error(transparent)]
    Undecided(#[from] Undecided),
    /// Nothing of the run is left to cancel.
    #[error("the run has already ended as {0}")]
    AlreadyEnded(&'static str),
}

/// What happens to seconds: how long a lease lasts and when a queue message is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Seconds that a lease lasts without a heartbeat.
    pub lease_seconds: i64,
    /// Seconds after which an unclaimed step's queue message is first sent again; it doubles up to
    /// a day's worth.
    pub resend_seconds: i64,
}

impl Pace {
    pub(super) const fn resend_at(self, now: Timestamp, resent: u32) -> Timestamp {
        let doublings = if resent < 6 { resent } else { 6 };
        now.plus_seconds(self.resend_seconds << doublings)
    }

    pub(super) const fn queued(self, now: Timestamp) -> StepState {
        StepState::Queued {
            since: now,
            resend_at: self.resend_at(now, 0),
            resent: 0,
        }
    }
}

impl Step {
    /// A step that nothing has been done about yet.
    fn new(spec: StepSpec) -> Self {
        Self {
            spec,
            state: StepState::Blocked,
            attempt: 1,
            fence: Fence::default(),
            last_holder: None,
            lost: None,
            output_cut_bytes: 0,
            output: None,
            agent: None,
            uploads: false,
            output_missing_bytes: 0,
            result_bytes: None,
            artifacts: None,
            used: ByModel::new(),
            approval: None,
        }
    }

    /// Whether what comes out of it is in the project's outputs. A sandbox that no worker has
    /// started puts it there itself.
    #[must_use]
    pub const fn puts_out(&self) -> bool {
        self.uploads || matches!(self.output, Some(OutputPlace::Sandbox(_)))
    }

    /// When somebody must look at this step again; `None` once nothing of it is live.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        match &self.state {
            StepState::Queued {
                since, resend_at, ..
            } => Some((*resend_at).min(since.plus_seconds(i64::from(self.spec.ttl_seconds)))),
            StepState::Waiting { until } => Some(*until),
            StepState::Leased(hold) | StepState::Running(hold) => Some(hold.due),
            StepState::Aborted {
                at,
                stopping: Some(_),
                ..
            } => Some(*at),
            StepState::Blocked
            | StepState::Succeeded { .. }
            | StepState::Failed { .. }
            | StepState::Aborted { stopping: None, .. }
            | StepState::Dead { .. } => None,
        }
    }
}

impl Run {
    /// A run of steps that its caller wrote, as it is first stored.
    #[must_use]
    pub fn enqueue(
        run_id: RunId,
        workflow: WorkflowName,
        identity: Option<Identity>,
        steps: BTreeMap<StepId, StepSpec>,
        pace: Pace,
        now: Timestamp,
    ) -> (Self, Change) {
        Self::enqueue_version(run_id, (workflow, None), identity, steps, None, pace, now)
    }

    /// A run as it is first stored: steps without needs are queued, or wait for approval; the
    /// others are blocked.
    #[must_use]
    pub fn enqueue_version(
        run_id: RunId,
        (workflow, workflow_version): (WorkflowName, Option<u32>),
        identity: Option<Identity>,
        steps: BTreeMap<StepId, StepSpec>,
        asker: Option<Asker>,
        pace: Pace,
        now: Timestamp,
    ) -> (Self, Change) {
        let mut change = Change {
            first_look: Some(now.plus_seconds(pace.lease_seconds)),
            ..Change::default()
        };
        change.events.push(Event::RunEnqueued {
            workflow: workflow.clone(),
            workflow_version,
            steps: steps.keys().cloned().collect(),
            profiles: identity
                .as_ref()
                .map(|identity| identity.profiles.clone())
                .unwrap_or_default(),
        });
        let steps = steps
            .into_iter()
            .map(|(step_id, spec)| (step_id, Step::new(spec)))
            .collect();
        let mut run = Self {
            run_id,
            workflow,
            workflow_version,
            identity,
            labels: Labels::default(),
            chosen: None,
            asker,
            created_at: now,
            steps,
        };
        let needs_none = run
            .steps
            .iter()
            .filter(|(_, step)| step.spec.needs.is_empty());
        let first: Vec<StepId> = needs_none.map(|(step_id, _)| step_id.clone()).collect();
        for step_id in first {
            run.ready(&step_id, &mut change, pace, now);
        }
        (run, change)
    }

    /// The run's state, derived from its steps.
    #[must_use]
    pub fn state(&self) -> RunState {
        let any = |test: fn(&StepState) -> bool| self.steps.values().any(|step| test(&step.state));
        if any(|state| !state.is_terminal()) {
            let untouched = self.steps.values().all(|step| step.last_holder.is_none());
            return if untouched {
                RunState::Queued
            } else {
                RunState::Running
            };
        }
        if any(|state| matches!(state, StepState::Dead { .. })) {
            RunState::Dead
        } else if any(|state| matches!(state, StepState::Failed { .. })) {
            RunState::Failed
        } else if any(|state| matches!(state, StepState::Aborted { .. })) {
            RunState::Aborted
        } else {
            RunState::Succeeded
        }
    }

    /// When its last step ended, if all have.
    #[must_use]
    pub fn ended_at(&self) -> Option<Timestamp> {
        let ended = self.steps.values().map(|step| step.state.ended_at());
        ended.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// When somebody must look at this run again; `None` once nothing of it is live.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        self.steps.values().filter_map(Step::due_at).min()
    }

    /// A step.
    ///
    /// # Errors
    /// When the run has none of that id.
    pub fn step(&self, step_id: &StepId) -> Result<&Step, Refusal> {
        self.steps
            .get(step_id)
            .ok_or_else(|| Refusal::NoSuchStep(step_id.clone()))
    }

    /// What a step's sandbox starts with: what its claim has resolved, or else what was resolved at
    /// enqueue, as far as the step's tool sees it. Nothing for a step whose mode
    /// has no identity.
    #[must_use]
    pub fn identity_of(&self, step: &Step) -> Option<Identity> {
        if !step.spec.mode.sees_identity() {
            return None;
        }
        if let Some(fresh) = step.state.hold().and_then(|hold| hold.identity.as_deref()) {
            return Some(fresh.clone());
        }
        self.identity
            .as_ref()
            .map(|identity| identity.seen_by(step.spec.tool.as_ref()))
    }

    /// The plain environment that a step's sandbox starts with: its identity's knobs, overridden by
    /// its own.
    #[must_use]
    pub fn env_of(&self, step: &Step) -> BTreeMap<String, String> {
        let mut env = self
            .identity_of(step)
            .map(|identity| identity.env)
            .unwrap_or_default();
        env.extend(step.spec.env.clone());
        env
    }

    pub(super) fn step_mut(&mut self, step_id: &StepId) -> Result<&mut Step, Refusal> {
        self.steps
            .get_mut(step_id)
            .ok_or_else(|| Refusal::NoSuchStep(step_id.clone()))
    }

    pub(super) fn lease_key(&self, step_id: &StepId, hold: &Hold) -> LeaseKey {
        LeaseKey {
            holder: hold.holder,
            slot: hold.slot,
            fence: hold.fence,
            run_id: self.run_id,
            step_id: step_id.clone(),
        }
    }
}
