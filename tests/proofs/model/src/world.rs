//! A state of the model: the rows of the ledger, what ECS runs, and how far each actor has come.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use sealfleet_domain::run::{AbortReason, Change, Hold, Refusal, Run, StepState};

use crate::Setup;

/// A stored run. Equal documents are equal in their canonical form, which is also what is hashed.
#[derive(Clone)]
pub struct Document(Arc<Canonical>);

struct Canonical {
    run: Run,
    text: String,
    digest: u64,
}

impl Document {
    /// The document of a run.
    pub fn new(run: Run) -> Self {
        // Maps of a run are ordered, so equal runs have one text.
        let text = serde_json::to_string(&run).unwrap_or_else(|error| error.to_string());
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self(Arc::new(Canonical {
            run,
            text,
            digest: hasher.finish(),
        }))
    }

    pub fn run(&self) -> &Run {
        &self.0.run
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.digest == other.0.digest && self.0.text == other.0.text)
    }
}

impl Eq for Document {}

impl Hash for Document {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.text)
    }
}

/// A claim: a step's number and the claim's fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    pub step: u8,
    pub fence: u64,
}

/// The active revocation row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Active {
    /// Which revocation it is.
    pub number: u8,
    /// Whether it also ends what is in flight.
    pub hard: bool,
}

/// Where the caller who enqueues and retries stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    Ready,
    /// Has found the key not revoked, and will store the run.
    MayEnqueue,
    /// Has nothing to do.
    Idle,
    /// Has found the key not revoked, and will put back this step.
    MayRetry(u8),
}

/// A fan-out: its row, and what the process that works on it remembers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FanOut {
    /// Whose leases it ends.
    pub number: u8,
    /// The partition to read next: stored.
    pub next: u8,
    /// Stored with the last partition.
    pub finished: bool,
    /// Whether it left the record of an aborted run: stored.
    pub record: bool,
    /// Whether a process that worked on it died.
    pub resumed: bool,
    /// What the process that works on it remembers.
    pub at: Paging,
}

/// Where the process that works on a fan-out stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Paging {
    /// No process works on it, or it is about to read a page.
    Idle,
    /// A page was read, and the run is on it.
    Read,
    /// The run, as it is here, holds the key, and the revocation was still active then.
    Examined(Document),
    /// The run is aborted.
    Dealt,
}

/// A delivery of a queue message to `dispatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Launcher {
    Idle,
    /// Has found the key not revoked, and holds no lease: only where the check comes first.
    Prechecked(u8),
    /// The lease is written, or was found.
    Leased(Claim),
    /// The key was not revoked after that.
    Cleared(Claim),
    /// ECS was asked for a task, and has named it.
    Launched(Claim),
    /// The handle was refused: the task must be stopped.
    TakingBack(Claim),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pull {
    /// Has no step, and no sandbox.
    Idle,
    /// Has found the key not revoked, and holds no lease: only where the check comes first.
    Prechecked(u8),
    /// The lease is written.
    Leased(Claim),
    /// Was granted the step.
    Granted(Claim),
    /// Its sandbox has fetched the key and waits to be let go.
    Prepared(Claim),
    /// The control plane works on its start.
    Starting(Claim, Starting),
    LetGo(Claim),
    /// The command has ended; the report is to be made.
    Ended(Claim),
}

impl Launcher {
    /// The claim that it works on.
    pub const fn claim(&self) -> Option<Claim> {
        match self {
            Self::Idle | Self::Prechecked(_) => None,
            Self::Leased(claim)
            | Self::Cleared(claim)
            | Self::Launched(claim)
            | Self::TakingBack(claim) => Some(*claim),
        }
    }
}

impl Pull {
    /// The claim that it works on.
    pub const fn claim(&self) -> Option<Claim> {
        match self {
            Self::Idle | Self::Prechecked(_) => None,
            Self::Leased(claim)
            | Self::Granted(claim)
            | Self::Prepared(claim)
            | Self::Starting(claim, _)
            | Self::LetGo(claim)
            | Self::Ended(claim) => Some(*claim),
        }
    }

    /// The claim of its sandbox, if it has one that holds the key.
    pub const fn sandbox(&self) -> Option<Claim> {
        match self {
            Self::Prepared(claim) | Self::Starting(claim, _) | Self::LetGo(claim) => Some(*claim),
            Self::Idle
            | Self::Prechecked(_)
            | Self::Leased(_)
            | Self::Granted(_)
            | Self::Ended(_) => None,
        }
    }
}

/// A start between its reads and its transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Starting {
    /// The run as it was read.
    pub read: Document,
    /// Whether the start found the key revoked.
    pub revoked: bool,
    /// Whether the key was revoked then, found or not.
    pub begun_under: bool,
}

/// A task of ECS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// How far it has come.
    pub phase: Phase,
    /// Whether `observe` has dealt with its RUNNING.
    pub running_seen: bool,
    /// Whether `observe` has dealt with its STOPPED.
    pub stopped_seen: bool,
    /// What `observe` remembers while it deals with RUNNING.
    pub observing: Option<Starting>,
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Provisioning,
    /// Its init runs, has the key in its environment, and asks for the command.
    Up,
    LetGo,
    /// The command has ended by itself.
    Exited,
    /// It was stopped before its command ended, or never had one.
    Stopped,
}

impl Task {
    /// Whether it has, or will have, the key.
    pub const fn lives(&self) -> bool {
        matches!(self.phase, Phase::Provisioning | Phase::Up | Phase::LetGo)
    }
}

/// A promise that a step has just broken: what a single state does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A sandbox was let go after the fan-out of the active hard revocation had finished.
    LetGoAfterFanOut,
    /// A sandbox was made under a claim whose lease was written while the key was revoked, with no
    /// lift since.
    SandboxUnderRevocation,
    /// A start that began while the key was revoked was granted.
    StartUnderRevocation,
    /// A step that was aborted became something else.
    AbortedStepChanged,
    /// A fan-out aborted a claim that was made after its revocation was lifted.
    AbortedAfterLift,
}

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub run: Option<Document>,
    /// The lease rows, by holder.
    pub leases: BTreeMap<u8, Claim>,
    /// The row of the active revocation.
    pub active: Option<Active>,
    /// Revocations written so far.
    pub revoked: u8,
    /// Revocations lifted so far.
    pub lifted: u8,
    /// Steps put back so far.
    pub retried: u8,
    pub caller: Caller,
    /// The fan-outs, oldest first.
    pub fan_outs: Vec<FanOut>,
    /// The deliveries to `dispatch`.
    pub launchers: Vec<Launcher>,
    pub pulls: Vec<Pull>,
    /// What ECS was asked to run, by client token: one task for each claim.
    pub tasks: BTreeMap<Claim, Task>,
    /// Claims whose lease was written under a revocation that is still active.
    pub claimed_under: BTreeSet<Claim>,
    /// Claims whose lease was written after a lift, under no revocation.
    pub claimed_after_lift: BTreeSet<Claim>,
    /// Promises broken on the way here.
    pub faults: BTreeSet<Fault>,
}

/// Why a transaction did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no run.
    NoRun,
    /// The step machine refuses.
    Rule(Refusal),
    /// A lease row is not as the transaction demands.
    Rows,
}

impl World {
    /// Before anything has happened.
    pub fn new(setup: &Setup) -> Self {
        Self {
            run: None,
            leases: BTreeMap::new(),
            active: None,
            revoked: 0,
            lifted: 0,
            retried: 0,
            caller: Caller::Ready,
            fan_outs: Vec::new(),
            launchers: vec![Launcher::Idle; usize::from(setup.launchers)],
            pulls: vec![Pull::Idle; usize::from(setup.workers)],
            tasks: BTreeMap::new(),
            claimed_under: BTreeSet::new(),
            claimed_after_lift: BTreeSet::new(),
            faults: BTreeSet::new(),
        }
    }

    /// The state of a step, once the run is stored.
    pub fn step(&self, setup: &Setup, step: u8) -> Option<&StepState> {
        let step_id = setup.steps.get(usize::from(step))?;
        self.run
            .as_ref()?
            .run()
            .steps
            .get(step_id)
            .map(|step| &step.state)
    }

    /// The hold of a step.
    pub fn hold(&self, setup: &Setup, step: u8) -> Option<&Hold> {
        self.step(setup, step)?.hold()
    }

    /// The fence of a step's newest claim.
    pub fn fence(&self, setup: &Setup, step: u8) -> u64 {
        let step = setup.steps.get(usize::from(step));
        let run = self.run.as_ref().map(Document::run);
        run.zip(step)
            .and_then(|(run, step)| run.steps.get(step))
            .map_or(0, |step| step.fence.number())
    }

    /// The fan-out of the active revocation, if that is a hard one.
    pub fn active_fan_out(&self) -> Option<&FanOut> {
        let active = self.active.filter(|active| active.hard)?;
        self.fan_outs
            .iter()
            .find(|fan_out| fan_out.number == active.number)
    }

    /// Applies `rule` to the run and writes document and lease rows, all or nothing: one
    /// transaction of the ledger.
    pub fn transact(
        &mut self,
        setup: &Setup,
        rule: impl FnOnce(&mut Run) -> Result<Change, Refusal>,
    ) -> Result<Change, Refused> {
        let mut run = self.run.as_ref().ok_or(Refused::NoRun)?.run().clone();
        let change = rule(&mut run).map_err(Refused::Rule)?;
        if change.events.is_empty() && !change.quiet {
            return Ok(change);
        }
        let mut leases = self.leases.clone();
        let mut taken = None;
        let claim = |step_id, fence: sealfleet_domain::run::Fence| {
            let step = (0_u8..)
                .zip(&setup.steps)
                .find(|(_, id)| *id == step_id)
                .map(|(step, _)| step);
            step.map(|step| Claim {
                step,
                fence: fence.number(),
            })
            .ok_or(Refused::Rows)
        };
        let place = |worker_id| {
            let at = (0_u8..)
                .zip(&setup.holders)
                .find(|(_, holder)| holder.worker_id == worker_id);
            at.map(|(holder, _)| holder).ok_or(Refused::Rows)
        };
        if let Some(lease) = &change.take {
            let (holder, claim) = (place(lease.holder)?, claim(&lease.step_id, lease.fence)?);
            if leases
                .get(&holder)
                .is_some_and(|row| row.step != claim.step)
            {
                return Err(Refused::Rows);
            }
            leases.insert(holder, claim);
            taken = Some(claim);
        }
        for lease in &change.release {
            let (holder, claim) = (place(lease.holder)?, claim(&lease.step_id, lease.fence)?);
            if leases.get(&holder) != Some(&claim) {
                return Err(Refused::Rows);
            }
            leases.remove(&holder);
        }
        match taken {
            Some(claim) if self.active.is_some() => self.claimed_under.insert(claim),
            Some(claim) if self.lifted > 0 => self.claimed_after_lift.insert(claim),
            _ => false,
        };
        self.leases = leases;
        self.store(run);
        Ok(change)
    }

    /// Stores a run, and notes it if an aborted step has changed thereby.
    pub fn store(&mut self, run: Run) {
        if let Some(before) = &self.run {
            let changed = before.run().steps.iter().any(|(step_id, before)| match &before.state {
                // Ended only because of another step, and put back together with it.
                StepState::Aborted { reason: AbortReason::DependencyFailed { .. }, .. } => false,
                StepState::Aborted { reason, .. } => !run.steps.get(step_id).is_some_and(
                    |after| matches!(&after.state, StepState::Aborted { reason: now, .. } if now == reason),
                ),
                _ => false,
            });
            if changed {
                self.faults.insert(Fault::AbortedStepChanged);
            }
        }
        self.run = Some(Document::new(run));
    }

    /// Brings states that differ in nothing that matters to one form, so that they are visited
    /// once.
    pub fn tidy(&mut self) {
        // Deliveries are all alike.
        self.launchers.sort_unstable();
        for task in self.tasks.values_mut() {
            // What is told of a task after its end finds no claim of it.
            task.running_seen |= task.phase == Phase::Stopped || task.stopped_seen;
            if task.stopped_seen {
                task.phase = Phase::Stopped;
            }
        }
        let held: Vec<Claim> = self.leases.values().copied().collect();
        let launchers = self.launchers.iter().filter_map(Launcher::claim);
        let pulls = self.pulls.iter().filter_map(Pull::claim);
        let living = self
            .tasks
            .iter()
            .filter(|(_, task)| task.lives())
            .map(|(claim, _)| *claim);
        let used: BTreeSet<Claim> = held
            .into_iter()
            .chain(launchers)
            .chain(pulls)
            .chain(living)
            .collect();
        self.claimed_under.retain(|claim| used.contains(claim));
        self.claimed_after_lift.retain(|claim| used.contains(claim));
    }

    /// Notes that a sandbox is made, which will hold the key.
    pub fn sandbox_made(&mut self, claim: Claim) {
        if self.claimed_under.contains(&claim) {
            self.faults.insert(Fault::SandboxUnderRevocation);
        }
    }

    /// Notes that a sandbox is let go.
    pub fn let_go(&mut self) {
        if self
            .active_fan_out()
            .is_some_and(|fan_out| fan_out.finished)
        {
            self.faults.insert(Fault::LetGoAfterFanOut);
        }
    }
}
