//! Runs and the step machine.
//!
//! A run is one document, and every transition is a pure function from a document to a [`Change`]: the events that
//! became true, the leases to write or remove, the queue messages to send and the sandboxes to stop. The ledger stores
//! the changed document, the leases and the audit entry in one transaction, conditional on the document's version, so
//! two transitions that read the same version never both happen. What needs the whole picture (a step becomes ready
//! when the last step it needs succeeds) is thereby never decided on half of it.
//!
//! A fence grows with each claim of a step. Whoever acts on a lease names its fence; another fence changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::audit::Event;
use crate::clock::Timestamp;
use crate::fleet::{Mismatch, Worker};
use crate::identity::{Drift, Identity};
use crate::ids::{FanOutId, RunId, WorkerId};
use crate::limits;
use crate::names::{PoolName, StepId, WorkflowName};
use crate::revocation::{Revocation, Revoked, revoked};
pub use crate::step::{
    AbortReason, DeadReason, Executor, Failure, Fence, Handle, Hold, Mode, OnDrift, Outcome, RequeueReason, RunState,
    StepSpec, StepState, Stopping,
};

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
}

/// A run: a small graph of steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The run's id.
    pub run_id: RunId,
    /// The kind of work.
    pub workflow: WorkflowName,
    /// The resolved profile that its identity steps start with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
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
    /// Leases to remove.
    pub release: Vec<LeaseKey>,
    /// Steps that may be claimed now, with the pool to tell.
    pub ready: Vec<(StepId, PoolName)>,
    /// Sandboxes to stop.
    pub stop: Vec<(StepId, Handle)>,
    /// Whether the document changed without an event worth auditing (a due time moved).
    pub quiet: bool,
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
    /// Nothing of the run is left to cancel.
    #[error("the run has already ended as {0}")]
    AlreadyEnded(&'static str),
}

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
            return Err(InvalidGraph::UnknownNeed { step: step.clone(), need: need.clone() });
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
    steps.keys().find(|step| !done.contains(step)).map_or(Ok(()), |step| Err(InvalidGraph::Cycle(step.clone())))
}

/// Seconds after which ECS has surely shown a task that it was asked to run: its answers are eventually consistent.
const LAUNCH_SHOWS_SECONDS: i64 = 120;

/// What happens to seconds: how long a lease lasts and when a queue message is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Seconds that a lease lasts without a heartbeat.
    pub lease_seconds: i64,
    /// Seconds after which an unclaimed step's queue message is first sent again; it doubles up to a day's worth.
    pub resend_seconds: i64,
}

impl Pace {
    const fn resend_at(self, now: Timestamp, resent: u32) -> Timestamp {
        let doublings = if resent < 6 { resent } else { 6 };
        now.plus_seconds(self.resend_seconds << doublings)
    }

    const fn queued(self, now: Timestamp) -> StepState {
        StepState::Queued { since: now, resend_at: self.resend_at(now, 0), resent: 0 }
    }
}

impl Run {
    /// A run as it is first stored: steps without needs are queued, the others blocked.
    #[must_use]
    pub fn enqueue(
        run_id: RunId,
        workflow: WorkflowName,
        identity: Option<Identity>,
        steps: BTreeMap<StepId, StepSpec>,
        pace: Pace,
        now: Timestamp,
    ) -> (Self, Change) {
        let mut change = Change::default();
        change.events.push(Event::RunEnqueued {
            workflow: workflow.clone(),
            steps: steps.keys().cloned().collect(),
            profiles: identity.as_ref().map(|identity| identity.profiles.clone()).unwrap_or_default(),
        });
        let steps = steps
            .into_iter()
            .map(|(step_id, spec)| {
                let state = if spec.needs.is_empty() {
                    change.ready.push((step_id.clone(), spec.pool.clone()));
                    pace.queued(now)
                } else {
                    StepState::Blocked
                };
                (step_id, Step { spec, state, attempt: 1, fence: Fence::default(), last_holder: None })
            })
            .collect();
        (Self { run_id, workflow, identity, created_at: now, steps }, change)
    }

    /// The run's state, derived from its steps.
    #[must_use]
    pub fn state(&self) -> RunState {
        let any = |test: fn(&StepState) -> bool| self.steps.values().any(|step| test(&step.state));
        if any(|state| !state.is_terminal()) {
            let untouched = self.steps.values().all(|step| step.fence == Fence::default());
            return if untouched { RunState::Queued } else { RunState::Running };
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

    /// When somebody must look at this run again; `None` once nothing of it is live.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        self.steps
            .values()
            .filter_map(|step| match &step.state {
                StepState::Queued { since, resend_at, .. } => {
                    Some((*resend_at).min(since.plus_seconds(i64::from(step.spec.ttl_seconds))))
                }
                StepState::Leased(hold) | StepState::Running(hold) => Some(hold.due),
                StepState::Aborted { at, stopping: Some(_), .. } => Some(*at),
                StepState::Blocked
                | StepState::Succeeded { .. }
                | StepState::Failed { .. }
                | StepState::Aborted { stopping: None, .. }
                | StepState::Dead { .. } => None,
            })
            .min()
    }

    /// A step.
    ///
    /// # Errors
    /// When the run has none of that id.
    pub fn step(&self, step_id: &StepId) -> Result<&Step, Refusal> {
        self.steps.get(step_id).ok_or_else(|| Refusal::NoSuchStep(step_id.clone()))
    }

    /// What a step's sandbox starts with: what its claim has resolved, or else what was resolved at enqueue, as far as
    /// the step's tool sees it. Nothing for a step of another mode than `identity`.
    #[must_use]
    pub fn identity_of(&self, step: &Step) -> Option<Identity> {
        if step.spec.mode != Mode::Identity {
            return None;
        }
        if let Some(fresh) = step.state.hold().and_then(|hold| hold.identity.as_deref()) {
            return Some(fresh.clone());
        }
        self.identity.as_ref().map(|identity| identity.seen_by(step.spec.tool.as_ref()))
    }

    /// The plain environment that a step's sandbox starts with: its identity's knobs, overridden by its own.
    #[must_use]
    pub fn env_of(&self, step: &Step) -> BTreeMap<String, String> {
        let mut env = self.identity_of(step).map(|identity| identity.env).unwrap_or_default();
        env.extend(step.spec.env.clone());
        env
    }

    fn step_mut(&mut self, step_id: &StepId) -> Result<&mut Step, Refusal> {
        self.steps.get_mut(step_id).ok_or_else(|| Refusal::NoSuchStep(step_id.clone()))
    }

    /// Whether `worker` could claim a step now.
    ///
    /// # Errors
    /// When the step is not there, not waiting, or not for this worker.
    pub fn claimable(&self, step_id: &StepId, worker: &Worker) -> Result<(), Refusal> {
        let step = self.step(step_id)?;
        match &step.state {
            StepState::Queued { .. } => {}
            // A worker that claims again what it holds and has not started: its first answer was lost. ECS's launches
            // are resumed under the same fence instead: it is in their client token.
            StepState::Leased(hold) if hold.holder == worker.worker_id && hold.executor == Executor::Worker => {}
            other => return Err(Refusal::NotQueued(other.name())),
        }
        Ok(worker.can_run(&step.spec)?)
    }

    /// `Queued -> Leased`: a worker claims a step into one of its slots, to start with `fresh`. What has drifted since
    /// the enqueue is on record with it. A step that its profiles do not let start, or that refuses drift, fails.
    ///
    /// A worker that claims a step again which it holds and has not started (its first answer was lost) gets it under
    /// a new fence, in the slot it already has.
    ///
    /// # Errors
    /// When the step is not there, not waiting, or not for this worker.
    pub fn claim(
        &mut self,
        step_id: &StepId,
        by: Claimant<'_>,
        fresh: &Fresh,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let Claimant { worker, slot, executor } = by;
        self.claimable(step_id, worker)?;
        let (run_id, holder) = (self.run_id, worker.worker_id);
        let step = self.step(step_id)?;
        let enqueued = self.identity.as_ref().map(|identity| identity.seen_by(step.spec.tool.as_ref()));
        let (identity, drift) = match fresh {
            Fresh::Nothing => (None, None),
            Fresh::Identity(now) => (Some(now), enqueued.as_ref().and_then(|then| then.drift_to(now))),
            Fresh::Refused(failure) => return self.refuse_start(step_id, None, failure.clone(), pace, now),
        };
        if let Some(drift) = &drift
            && step.spec.on_drift == OnDrift::Refuse
        {
            let failure = Failure::Drifted { detail: describe(drift) };
            return self.refuse_start(step_id, Some(drift.clone()), failure, pace, now);
        }
        let step = self.step_mut(step_id)?;
        let slot = step.state.hold().map_or(slot, |hold| hold.slot);
        let fence = step.fence.next();
        let due = now.plus_seconds(pace.lease_seconds);
        step.fence = fence;
        step.last_holder = Some(holder);
        let kept = identity.filter(|now| enqueued.as_ref() != Some(*now)).map(|now| Box::new(now.clone()));
        step.state =
            StepState::Leased(Hold { fence, holder, slot, executor, since: now, due, handle: None, identity: kept });
        let lease =
            Lease { run_id, step_id: step_id.clone(), fence, holder, slot, until: due, identity: identity.is_some() };
        let mut change = Change { take: Some(lease), ..Change::default() };
        let (step_id, mode) = (step_id.clone(), step.spec.mode);
        change.events.push(Event::StepLeased { step_id: step_id.clone(), fence, worker_id: holder, mode });
        if let Some(drift) = drift {
            let on_drift = OnDrift::Proceed;
            change.events.push(Event::DriftAtInjection { step_id: step_id.clone(), fence, on_drift, drift });
        }
        if let Some(identity) = identity {
            change.events.push(Event::SecretReleased { step_id, fence, secrets: identity.secrets.clone() });
        }
        Ok(change)
    }

    /// `Queued | Leased -> Failed`: a step may not start with what it would see. Nothing was released to it.
    fn refuse_start(
        &mut self,
        step_id: &StepId,
        drift: Option<Drift>,
        failure: Failure,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let mut change = Change::default();
        let step = self.step(step_id)?;
        let fence = step.fence;
        if let Some(hold) = step.state.hold() {
            change.release.push(self.lease_key(step_id, hold));
        }
        if let Some(drift) = drift {
            let on_drift = OnDrift::Refuse;
            change.events.push(Event::DriftAtInjection { step_id: step_id.clone(), fence, on_drift, drift });
        }
        change.events.push(Event::StepFailed { step_id: step_id.clone(), fence, failure: failure.clone() });
        self.step_mut(step_id)?.state = StepState::Failed { fence, failure, at: now };
        self.settle(&mut change, pace, now);
        Ok(change)
    }

    /// The step's live claim, if `fence` is its fence and `holder`, where one is given, its holder.
    ///
    /// # Errors
    /// When it is not.
    pub fn held(&self, step_id: &StepId, holder: Option<WorkerId>, fence: Fence) -> Result<&Hold, Refusal> {
        let step = self.step(step_id)?;
        if holder.is_some() && step.last_holder.is_some() && step.last_holder != holder && step.fence == fence {
            return Err(Refusal::NotHolder);
        }
        match step.state.hold() {
            Some(hold) if hold.fence == fence && holder.is_none_or(|holder| holder == hold.holder) => Ok(hold),
            Some(hold) if holder.is_some_and(|holder| holder != hold.holder) => Err(Refusal::NotHolder),
            _ => Err(Refusal::StaleFence { given: fence }),
        }
    }

    /// Stores what a started sandbox is stopped by. Told twice: nothing changes.
    ///
    /// # Errors
    /// When the claim is no longer live (the launcher must then stop what it started), or has another handle.
    pub fn attach(
        &mut self,
        step_id: &StepId,
        fence: Fence,
        handle: Handle,
        due: Timestamp,
    ) -> Result<Change, Refusal> {
        self.held(step_id, None, fence)?;
        let Some(hold) = self.step_mut(step_id)?.state.hold_mut() else {
            return Err(Refusal::StaleFence { given: fence });
        };
        match &hold.handle {
            Some(known) if *known == handle => Ok(Change::default()),
            Some(_) => Err(Refusal::OtherHandle),
            None => {
                hold.handle = Some(handle);
                hold.due = due;
                Ok(Change { quiet: true, ..Change::default() })
            }
        }
    }

    /// `Leased -> Running`: the sandbox has started, with these versions of its secrets. Told twice: nothing changes.
    ///
    /// # Errors
    /// When the claim is no longer live, or has another sandbox.
    pub fn start(
        &mut self,
        step_id: &StepId,
        holder: Option<WorkerId>,
        fence: Fence,
        handle: Option<Handle>,
        resolved: &BTreeMap<String, String>,
    ) -> Result<Change, Refusal> {
        let known = self.held(step_id, holder, fence)?.handle.as_ref();
        if known.is_some() && handle.is_some() && known != handle.as_ref() {
            return Err(Refusal::OtherHandle);
        }
        let identity = self.identity_of(self.step(step_id)?);
        let step = self.step_mut(step_id)?;
        let StepState::Leased(hold) = &step.state else { return Ok(Change::default()) };
        let mut hold = hold.clone();
        if hold.handle.is_none() {
            hold.handle = handle;
        }
        step.state = StepState::Running(hold);
        let mut change = Change::default();
        let step_id = step_id.clone();
        change.events.push(Event::StepRunning { step_id: step_id.clone(), fence });
        if let Some(identity) = identity {
            change.events.push(Event::ProfileInjected { step_id: step_id.clone(), fence, profiles: identity.profiles });
            change.events.extend(identity.secrets.into_iter().map(|secret| Event::SecretDecrypted {
                step_id: step_id.clone(),
                fence,
                version: resolved.get(&secret.name).cloned().or(secret.version),
                uri: secret.uri.to_string(),
                key: secret.name,
            }));
        }
        Ok(change)
    }

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
            (StepState::Failed { fence: ended, failure, .. }, Outcome::Failed { failure: told })
                if *ended == fence && failure == told =>
            {
                return Ok(Change::default());
            }
            (StepState::Succeeded { fence: ended, .. } | StepState::Failed { fence: ended, .. }, _)
                if *ended == fence =>
            {
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
                change.events.push(Event::StepSucceeded { step_id: step_id.clone(), fence });
                StepState::Succeeded { fence, at: now }
            }
            Outcome::Failed { failure } => {
                change.events.push(Event::StepFailed { step_id: step_id.clone(), fence, failure: failure.clone() });
                StepState::Failed { fence, failure: failure.clone(), at: now }
            }
        };
        change.events.push(Event::SandboxReset { step_id: step_id.clone(), fence });
        self.step_mut(step_id)?.state = state;
        self.settle(&mut change, pace, now);
        Ok(change)
    }

    /// `Leased | Running -> Queued | Dead`: the claim is lost.
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
        let mut change = Change { release: vec![self.lease_key(step_id, &hold)], ..Change::default() };
        if let (Executor::Ecs, Some(handle)) = (hold.executor, &hold.handle) {
            change.stop.push((step_id.clone(), handle.clone()));
        }
        let step = self.step_mut(step_id)?;
        // A launch that found no room was no attempt; the time to live bounds the waiting.
        let spent = u32::from(reason != RequeueReason::NoCapacity);
        if spent > 0 && step.attempt >= step.spec.max_attempts {
            step.state = StepState::Dead { reason: DeadReason::AttemptsExhausted, at: now };
            change.events.push(Event::StepDead { step_id: step_id.clone(), reason: DeadReason::AttemptsExhausted });
        } else {
            step.attempt = step.attempt.saturating_add(spent);
            step.state = pace.queued(now);
            change.events.push(Event::StepRequeued { step_id: step_id.clone(), fence, attempt: step.attempt, reason });
            change.ready.push((step_id.clone(), step.spec.pool.clone()));
        }
        self.settle(&mut change, pace, now);
        Ok(change)
    }

    /// Moves the time at which somebody must look at a held step again.
    ///
    /// # Errors
    /// When the claim is no longer live.
    pub fn look_again(&mut self, step_id: &StepId, fence: Fence, due: Timestamp) -> Result<Change, Refusal> {
        self.held(step_id, None, fence)?;
        if let Some(hold) = self.step_mut(step_id)?.state.hold_mut() {
            hold.due = due;
        }
        Ok(Change { quiet: true, ..Change::default() })
    }

    /// `Queued -> Dead` where the time to live is over, else: notes that the queue message is sent again.
    ///
    /// # Errors
    /// When the step is not queued.
    pub fn wait(&mut self, step_id: &StepId, pace: Pace, now: Timestamp) -> Result<Change, Refusal> {
        let step = self.step_mut(step_id)?;
        let StepState::Queued { since, resend_at, resent } = step.state else {
            return Err(Refusal::NotQueued(step.state.name()));
        };
        let mut change = Change::default();
        if since.plus_seconds(i64::from(step.spec.ttl_seconds)) <= now {
            step.state = StepState::Dead { reason: DeadReason::TtlExpired, at: now };
            change.events.push(Event::StepDead { step_id: step_id.clone(), reason: DeadReason::TtlExpired });
            self.settle(&mut change, pace, now);
        } else if resend_at <= now {
            let resent = resent.saturating_add(1);
            step.state = StepState::Queued { since, resend_at: pace.resend_at(now, resent), resent };
            change.ready.push((step_id.clone(), step.spec.pool.clone()));
            change.quiet = true;
        }
        Ok(change)
    }

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

    fn abort_all(&mut self, event: Event, reason: &AbortReason, now: Timestamp) -> Result<Change, Refusal> {
        let mut change = Change::default();
        change.events.push(event);
        let live: Vec<StepId> =
            self.steps.iter().filter(|(_, step)| !step.state.is_terminal()).map(|(id, _)| id.clone()).collect();
        for step_id in live {
            self.abort(&step_id, reason.clone(), &mut change, now)?;
        }
        change.events.push(Event::RunFinished { state: self.state() });
        Ok(change)
    }

    /// The first secret that a held step's sandbox has, or is about to get, and that `active` takes away.
    #[must_use]
    pub fn revoked_in_flight(&self, active: &[Revocation]) -> Option<Revoked> {
        self.steps
            .values()
            .filter(|step| step.state.hold().is_some())
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
        let event = Event::RunAbortedByRevocation { revoked: revoked.clone(), fan_out_id };
        self.abort_all(event, &AbortReason::Revoked(revoked), now)
    }

    /// Ends a held step whose sandbox must not start after all: it has a secret that was revoked. The other steps go
    /// on, or end with it if they need it.
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
        let StepState::Aborted { stopping, .. } = &mut step.state else { return Ok(Change::default()) };
        if stopping.take().is_none() {
            return Ok(Change::default());
        }
        Ok(Change { events: vec![Event::SandboxReset { step_id: step_id.clone(), fence }], ..Change::default() })
    }

    /// `Dead -> Queued`: a caller puts a dead step back, and with it the steps that were ended because of it.
    ///
    /// # Errors
    /// When the step is not dead.
    pub fn retry(&mut self, step_id: &StepId, pace: Pace, now: Timestamp) -> Result<Change, Refusal> {
        let step = self.step_mut(step_id)?;
        if !matches!(step.state, StepState::Dead { .. }) {
            return Err(Refusal::NotDead(step.state.name()));
        }
        step.state = pace.queued(now);
        step.attempt = 1;
        let mut change = Change { ready: vec![(step_id.clone(), step.spec.pool.clone())], ..Change::default() };
        change.events.push(Event::StepRetried { step_id: step_id.clone() });
        let mut revived = BTreeSet::from([step_id.clone()]);
        loop {
            let next = self.steps.iter().find_map(|(id, step)| match &step.state {
                StepState::Aborted { reason: AbortReason::DependencyFailed { step_id }, .. }
                    if revived.contains(step_id) =>
                {
                    Some(id.clone())
                }
                _ => None,
            });
            let Some(next) = next else { break };
            self.step_mut(&next)?.state = StepState::Blocked;
            revived.insert(next);
        }
        Ok(change)
    }

    fn abort(
        &mut self,
        step_id: &StepId,
        reason: AbortReason,
        change: &mut Change,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let hold = self.step(step_id)?.state.hold().cloned();
        if let Some(hold) = &hold {
            change.release.push(self.lease_key(step_id, hold));
        }
        // A worker learns of it by its next heartbeat; only what ECS runs is stopped by a call of ours.
        let stopping = hold.filter(|hold| hold.executor == Executor::Ecs).map(|hold| match hold.handle {
            Some(handle) => {
                change.stop.push((step_id.clone(), handle.clone()));
                Stopping::Task(handle)
            }
            None => Stopping::Launch { until: now.plus_seconds(LAUNCH_SHOWS_SECONDS) },
        });
        change.events.push(Event::StepAborted { step_id: step_id.clone(), reason: reason.clone() });
        self.step_mut(step_id)?.state = StepState::Aborted { reason, at: now, stopping };
        Ok(())
    }

    /// Follows what an ended step means for the others: unblocks, aborts, and notes the run's end.
    fn settle(&mut self, change: &mut Change, pace: Pace, now: Timestamp) {
        loop {
            let mut queue = None;
            let mut end = None;
            for (id, step) in &self.steps {
                if !matches!(step.state, StepState::Blocked) {
                    continue;
                }
                let lost = step.spec.needs.iter().find(|need| {
                    self.steps.get(need).is_some_and(|need| {
                        need.state.is_terminal() && !matches!(need.state, StepState::Succeeded { .. })
                    })
                });
                let ready = step.spec.needs.iter().all(|need| {
                    self.steps.get(need).is_some_and(|need| matches!(need.state, StepState::Succeeded { .. }))
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
                    step.state = StepState::Aborted { reason: reason.clone(), at: now, stopping: None };
                }
                change.events.push(Event::StepAborted { step_id: id, reason });
            } else if let Some(id) = queue {
                if let Some(step) = self.steps.get_mut(&id) {
                    step.state = pace.queued(now);
                    change.ready.push((id.clone(), step.spec.pool.clone()));
                }
                change.events.push(Event::StepQueued { step_id: id });
            } else {
                break;
            }
        }
        if self.steps.values().all(|step| step.state.is_terminal()) {
            change.events.push(Event::RunFinished { state: self.state() });
        }
    }

    fn lease_key(&self, step_id: &StepId, hold: &Hold) -> LeaseKey {
        LeaseKey {
            holder: hold.holder,
            slot: hold.slot,
            fence: hold.fence,
            run_id: self.run_id,
            step_id: step_id.clone(),
        }
    }
}

/// The keys that drifted, for the one who asks why a step did not start.
fn describe(drift: &Drift) -> String {
    let set = |what: &str, keys: &BTreeSet<String>| {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        (!keys.is_empty()).then(|| format!("{what}: {}", keys.join(", ")))
    };
    let parts = [
        set("added", &drift.added),
        set("removed", &drift.removed),
        set("rotated", &drift.rotated),
        set("knobs", &drift.knobs),
    ];
    Failure::detail(&parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests;
