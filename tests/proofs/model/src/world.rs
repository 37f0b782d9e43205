//! A state of the model: the rows of the ledger, what ECS runs, and how far each actor has come.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use sealfleet_domain::audit::Event;
use sealfleet_domain::run::{
    AbortReason, Change, Fence, Hold, LeaseKey, Refusal, Run, Step, StepState,
};
use sealfleet_domain::{StepId, WorkerId};

use crate::{Protocol, RevocationModel, Setup};

/// A stored run. Equal documents are equal in the canonical form of what may change, which is also
/// what is hashed.
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
        let steps = run.steps.values();
        let parts: Vec<_> = steps
            .map(|step| (&step.state, step.attempt, step.fence, step.last_holder))
            .collect();
        let text = serde_json::to_string(&parts).unwrap_or_else(|error| error.to_string());
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

impl PartialOrd for Document {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Document {
    fn cmp(&self, other: &Self) -> Ordering {
        let digests = self.0.digest.cmp(&other.0.digest);
        digests.then_with(|| self.0.text.cmp(&other.0.text))
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.text)
    }
}

/// A run as an actor has read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// `None`: what is written on it will be refused, so it does not matter what was read.
    pub run: Option<Document>,
    /// Whether the row was written since.
    pub overtaken: bool,
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    Ready,
    /// Has found the key not revoked, and will store the run.
    MayEnqueue,
    /// Has nothing to do.
    Idle,
    /// Has read the run and found the key not revoked, and will put back this step.
    MayRetry(u8, Read),
}

/// A fan-out: its row, and what the processes that work on it remember.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FanOut {
    /// Whose leases it ends.
    pub number: u8,
    /// The page to read next, by partition: stored.
    pub places: Vec<u8>,
    /// Stored once every partition is at its end.
    pub finished: bool,
    /// Whether it has aborted a run.
    pub aborted: bool,
    /// Whether a process that worked on it died.
    pub resumed: bool,
    /// What the processes that work on it remember.
    pub workers: Vec<Paging>,
}

/// A page: a partition, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Page {
    pub partition: u8,
    pub place: u8,
}

/// Where a process that works on a fan-out stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Paging {
    /// There is none, or it is about to read a page.
    Idle,
    /// The page was read, and a lease of the run is on it.
    Read(Page),
    /// The run, as it was read, holds the key, and the revocation was still active then.
    Examined(Page, Read),
    /// The run is aborted.
    Dealt(Page),
}

/// A claim between its first read and its hold. A flag says whether the lease row in the slot is
/// still the one that this claim has put there: rows carry what tells two of them apart, even with
/// the same step and fence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claiming {
    /// The run was read: the step waits.
    Read(Claim, Read),
    /// The lease is in its slot.
    Put(Claim, Read, bool),
    /// The lease is in its slot, and the key was not revoked: only where the check comes first.
    Checked(Claim, Read, bool),
    /// The hold was refused: the lease must go.
    Refused(Claim, bool),
    /// The run was read: the worker itself holds the step, and has not started it.
    Again(Claim, Read),
    /// The hold has its new fence, the lease row the old one.
    Renewing(Claim),
    /// The lease is gone: only where a claim that is made again frees its slot first.
    Freed(Claim, Read),
    /// Held without a lease: only where a lease comes after its hold.
    Unleased(Claim),
}

/// A delivery of a queue message to `dispatch`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Launcher {
    Idle,
    Claiming(Claiming),
    /// The step is held, by this delivery or one before.
    Leased(Claim),
    /// The key was not revoked after that.
    Cleared(Claim),
    /// ECS was asked for a task, and has named it.
    Launched(Claim),
    /// The handle was refused: the task must be stopped.
    TakingBack(Claim),
}

/// A pull worker, or one of two requests of the same worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pull {
    /// Has no step, and no sandbox.
    Idle,
    Claiming(Claiming),
    /// The step is held.
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
    /// The control plane has read the run, to write the end.
    Reporting(Claim, Read),
}

impl Claiming {
    /// The step, and the run as it was read.
    const fn read(&mut self) -> Option<(u8, &mut Read)> {
        match self {
            Self::Read(claim, read)
            | Self::Put(claim, read, _)
            | Self::Checked(claim, read, _)
            | Self::Again(claim, read)
            | Self::Freed(claim, read) => Some((claim.step, read)),
            Self::Refused(..) | Self::Renewing(_) | Self::Unleased(_) => None,
        }
    }
}

impl Launcher {
    /// The claim that it works on.
    pub const fn claim(&self) -> Option<Claim> {
        match self {
            Self::Idle | Self::Claiming(_) => None,
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
            Self::Idle | Self::Claiming(_) => None,
            Self::Leased(claim)
            | Self::Granted(claim)
            | Self::Prepared(claim)
            | Self::Starting(claim, _)
            | Self::LetGo(claim)
            | Self::Ended(claim)
            | Self::Reporting(claim, _) => Some(*claim),
        }
    }

    /// The claim of its sandbox, if it has one that holds the key.
    pub const fn sandbox(&self) -> Option<Claim> {
        match self {
            Self::Prepared(claim) | Self::Starting(claim, _) | Self::LetGo(claim) => Some(*claim),
            Self::Idle
            | Self::Claiming(_)
            | Self::Leased(_)
            | Self::Granted(_)
            | Self::Ended(_)
            | Self::Reporting(..) => None,
        }
    }
}

/// Whoever needs a slot that a lease without a hold blocks. A flag says whether the lease row is
/// still the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Taker {
    Idle,
    /// Has read the lease of this holder.
    Saw(u8, Claim, bool),
    /// That claim has no hold, and can get none any more.
    MayFree(u8, bool),
}

/// A start between its reads and its write. The product reads the revocations and the run at once;
/// here the revocations come first, and the run at any time after them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Starting {
    /// The run, once it is read.
    pub read: Option<Read>,
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
    /// A sandbox was made under a claim whose hold was written while the key was revoked, with no
    /// lift since.
    SandboxUnderRevocation,
    /// A start that began while the key was revoked was granted.
    StartUnderRevocation,
    /// A step that was aborted became something else.
    AbortedStepChanged,
    /// A fan-out aborted a claim that was made after its revocation was lifted.
    AbortedAfterLift,
    /// A fan-out stored a place before the one that was stored.
    FanOutWentBack,
}

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub run: Option<Document>,
    /// Whether the run is on record as finished.
    pub finished: bool,
    /// The lease rows, by holder: each has one slot.
    pub leases: BTreeMap<u8, Claim>,
    /// Lease rows that somebody deletes who has ended their claim.
    pub releasing: BTreeSet<(u8, Claim)>,
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
    pub taker: Taker,
    /// What ECS was asked to run, by client token: one task for each claim.
    pub tasks: BTreeMap<Claim, Task>,
    /// Claims whose hold was written under a revocation that is still active.
    pub claimed_under: BTreeSet<Claim>,
    /// Claims whose hold was written after a lift, under no revocation.
    pub claimed_after_lift: BTreeSet<Claim>,
    /// Promises broken on the way here.
    pub faults: BTreeSet<Fault>,
}

/// Why a write did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no run.
    NoRun,
    /// The step machine refuses.
    Rule(Refusal),
    /// The run is not as it was read.
    Overtaken,
}

impl World {
    /// Before anything has happened.
    pub fn new(setup: &Setup) -> Self {
        Self {
            run: None,
            finished: false,
            leases: BTreeMap::new(),
            releasing: BTreeSet::new(),
            active: None,
            revoked: 0,
            lifted: 0,
            retried: 0,
            caller: Caller::Ready,
            fan_outs: Vec::new(),
            launchers: vec![Launcher::Idle; usize::from(setup.launchers)],
            pulls: vec![Pull::Idle; setup.pulls.len()],
            taker: Taker::Idle,
            tasks: BTreeMap::new(),
            claimed_under: BTreeSet::new(),
            claimed_after_lift: BTreeSet::new(),
            faults: BTreeSet::new(),
        }
    }

    /// A step, once the run is stored.
    fn stored(&self, setup: &Setup, step: u8) -> Option<&Step> {
        let step_id = setup.steps.get(usize::from(step))?;
        self.run.as_ref()?.run().steps.get(step_id)
    }

    /// The state of a step, once the run is stored.
    pub fn step(&self, setup: &Setup, step: u8) -> Option<&StepState> {
        self.stored(setup, step).map(|step| &step.state)
    }

    /// The hold of a step.
    pub fn hold(&self, setup: &Setup, step: u8) -> Option<&Hold> {
        self.step(setup, step)?.hold()
    }

    /// The hold of a step that stands in the slot of `holder`, whatever its fence.
    pub fn hold_of(&self, setup: &Setup, holder: u8, step: u8) -> Option<&Hold> {
        let worker = setup.holders.get(usize::from(holder))?;
        self.hold(setup, step)
            .filter(|hold| hold.holder == worker.worker_id)
    }

    /// The claims that are held.
    pub fn held<'a>(&'a self, setup: &'a Setup) -> impl Iterator<Item = Claim> + 'a {
        (0_u8..).zip(&setup.steps).filter_map(|(step, _)| {
            let fence = self.hold(setup, step)?.fence.number();
            Some(Claim { step, fence })
        })
    }

    /// The fence of a step's newest claim.
    pub fn fence(&self, setup: &Setup, step: u8) -> u64 {
        self.stored(setup, step)
            .map_or(0, |step| step.fence.number())
    }

    /// The fan-out of the active revocation, if that is a hard one.
    pub fn active_fan_out(&self) -> Option<&FanOut> {
        let active = self.active.filter(|active| active.hard)?;
        self.fan_outs
            .iter()
            .find(|fan_out| fan_out.number == active.number)
    }

    /// The run as it is read now.
    pub fn read(&self) -> Read {
        Read {
            run: self.run.clone(),
            overtaken: false,
        }
    }

    /// Reads the run, applies `rule` and writes what it changes, again until no one comes between.
    pub fn transact(
        &mut self,
        model: &RevocationModel,
        rule: impl FnOnce(&mut Run) -> Result<Change, Refusal>,
    ) -> Result<Change, Refused> {
        let read = self.read();
        self.write(model, &read, rule)
    }

    /// Applies `rule` to the run as it was read, and writes the steps that it changes: one
    /// conditional write of the run's row. Leases that it takes back go with it; one that it
    /// releases is deleted later, if ever.
    pub fn write(
        &mut self,
        model: &RevocationModel,
        read: &Read,
        rule: impl FnOnce(&mut Run) -> Result<Change, Refusal>,
    ) -> Result<Change, Refused> {
        let stored = self.run.as_ref().ok_or(Refused::NoRun)?.run();
        let before = read.run.as_ref().ok_or(Refused::Overtaken)?.run();
        let mut after = before.clone();
        let change = rule(&mut after).map_err(Refused::Rule)?;
        if change.events.is_empty() && !change.quiet {
            return Ok(change);
        }
        let changed = |id: &StepId| before.steps.get(id) != after.steps.get(id);
        let moved = |id: &StepId| before.steps.get(id) != stored.steps.get(id);
        let steps = after.steps.keys().all(|id| !changed(id) || !moved(id));
        if !steps && model.protocol != Protocol::StepUnconditional {
            return Err(Refused::Overtaken);
        }
        let put_back = before.steps.iter().any(|(id, step)| {
            let after = after.steps.get(id);
            step.state.is_terminal() && after.is_some_and(|after| !after.state.is_terminal())
        });
        let counted = if put_back {
            !read.overtaken
        } else {
            counts_hold(before, &after, stored)
        };
        if !counted && model.protocol != Protocol::CountLeftOut {
            return Err(Refused::Overtaken);
        }
        let others: Vec<_> = stored
            .steps
            .iter()
            .filter(|(id, _)| read.run != self.run && !changed(id))
            .map(|(id, step)| (id.clone(), step.clone()))
            .collect();
        // What the rule did not change stays as it is stored.
        after.steps.extend(others);
        self.free(model, &change)?;
        for event in &change.events {
            match event {
                Event::RunFinished { .. } => self.finished = true,
                Event::StepRetried { .. } => self.finished = false,
                _ => {}
            }
        }
        self.each_reader(|read, _, _| read.overtaken = true);
        self.store(after);
        Ok(change)
    }

    /// The leases that a change ends.
    fn free(&mut self, model: &RevocationModel, change: &Change) -> Result<(), Refused> {
        let setup = &model.setup;
        let row = |lease: &LeaseKey| -> Result<(u8, Claim), Refused> {
            let holder = holder_of(setup, lease.holder).ok_or(Refused::NoRun)?;
            let claim = claim_of(setup, &lease.step_id, lease.fence).ok_or(Refused::NoRun)?;
            Ok((holder, claim))
        };
        let back: Vec<_> = change
            .take_back
            .iter()
            .map(row)
            .collect::<Result<_, Refused>>()?;
        let later: Vec<_> = change
            .release
            .iter()
            .map(row)
            .collect::<Result<_, Refused>>()?;
        // Of a claim that was made again the lease may still have the fence before.
        let another = |(holder, claim): &(u8, Claim)| {
            let row = self.leases.get(holder);
            row.is_some_and(|row| row.step != claim.step)
        };
        if back.iter().any(another) {
            return Err(Refused::Overtaken);
        }
        for (holder, _) in back {
            self.set_lease(setup, holder, None);
        }
        self.releasing.extend(later);
        Ok(())
    }

    /// Puts or deletes the row in the slot of `holder`.
    pub fn set_lease(&mut self, setup: &Setup, holder: u8, row: Option<Claim>) {
        match row {
            Some(claim) => self.leases.insert(holder, claim),
            None => self.leases.remove(&holder),
        };
        let theirs = |at: &mut Claiming| match at {
            Claiming::Put(_, _, own) | Claiming::Checked(_, _, own) | Claiming::Refused(_, own) => {
                *own = false
            }
            _ => {}
        };
        if holder == setup.pool() {
            for launcher in &mut self.launchers {
                if let Launcher::Claiming(at) = launcher {
                    theirs(at);
                }
            }
        }
        for (pull, _) in self
            .pulls
            .iter_mut()
            .zip(&setup.pulls)
            .filter(|(_, of)| **of == holder)
        {
            if let Pull::Claiming(at) = pull {
                theirs(at);
            }
        }
        match &mut self.taker {
            Taker::Saw(of, _, same) | Taker::MayFree(of, same) if *of == holder => *same = false,
            _ => {}
        }
    }

    /// Every run that an actor remembers, with the step that it is about (no step: all that have
    /// not ended), and whether its write changes that step alone.
    fn each_reader(&mut self, mut each: impl FnMut(&mut Read, Option<u8>, bool)) {
        if let Caller::MayRetry(step, read) = &mut self.caller {
            each(read, Some(*step), false);
        }
        for launcher in &mut self.launchers {
            if let Launcher::Claiming(at) = launcher
                && let Some((step, read)) = at.read()
            {
                each(read, Some(step), true);
            }
        }
        for pull in &mut self.pulls {
            match pull {
                Pull::Claiming(at) => {
                    if let Some((step, read)) = at.read() {
                        each(read, Some(step), true);
                    }
                }
                Pull::Starting(claim, starting) => {
                    if let Some(read) = &mut starting.read {
                        each(read, Some(claim.step), !starting.revoked);
                    }
                }
                Pull::Reporting(claim, read) => each(read, Some(claim.step), false),
                _ => {}
            }
        }
        for (claim, task) in &mut self.tasks {
            if let Some(starting) = &mut task.observing
                && let Some(read) = &mut starting.read
            {
                each(read, Some(claim.step), !starting.revoked);
            }
        }
        for fan_out in &mut self.fan_outs {
            for worker in &mut fan_out.workers {
                if let Paging::Examined(_, read) = worker {
                    each(read, None, false);
                }
            }
        }
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
    pub fn tidy(&mut self, model: &RevocationModel) {
        self.tidy_reads(model);
        self.tidy_releasing(&model.setup);
        // Deliveries are all alike, and so are requests of one worker and workers on one fan-out.
        self.launchers.sort_unstable();
        if model.setup.one_worker() {
            self.pulls.sort_unstable();
        }
        for fan_out in &mut self.fan_outs {
            fan_out.workers.sort_unstable();
        }
        for task in self.tasks.values_mut() {
            // What is told of a task after its end finds no claim of it.
            task.running_seen |= task.phase == Phase::Stopped || task.stopped_seen;
            if task.stopped_seen {
                task.phase = Phase::Stopped;
            }
        }
        let held = self.held(&model.setup);
        let launchers = self.launchers.iter().filter_map(Launcher::claim);
        let pulls = self.pulls.iter().filter_map(Pull::claim);
        let living = self
            .tasks
            .iter()
            .filter(|(_, task)| task.lives())
            .map(|(claim, _)| *claim);
        let used: BTreeSet<Claim> = held.chain(launchers).chain(pulls).chain(living).collect();
        self.claimed_under.retain(|claim| used.contains(claim));
        self.claimed_after_lift.retain(|claim| used.contains(claim));
    }

    /// To delete a row that is gone changes nothing, unless a claim with the same fence may still
    /// put one there.
    fn tidy_releasing(&mut self, setup: &Setup) {
        let mut coming = BTreeSet::new();
        let mut comes = |holder: u8, at: &Claiming| {
            if let Claiming::Read(claim, _)
            | Claiming::Renewing(claim)
            | Claiming::Unleased(claim) = at
            {
                coming.insert((holder, *claim));
            }
        };
        for launcher in &self.launchers {
            if let Launcher::Claiming(at) = launcher {
                comes(setup.pool(), at);
            }
        }
        for (pull, holder) in self.pulls.iter().zip(&setup.pulls) {
            if let Pull::Claiming(at) = pull {
                comes(*holder, at);
            }
        }
        let leases = &self.leases;
        self.releasing.retain(|(holder, claim)| {
            leases.get(holder) == Some(claim) || coming.contains(&(*holder, *claim))
        });
    }

    /// A read whose write will be refused needs no content; one of a single step that is as it was
    /// may as well have happened now. A step becomes again what it was only by a retry.
    fn tidy_reads(&mut self, model: &RevocationModel) {
        let setup = &model.setup;
        let plain = setup.retries == 0 && model.protocol != Protocol::StepUnconditional;
        let Some(stored) = self.run.clone().filter(|_| plain) else {
            return;
        };
        self.each_reader(|read, step, alone| {
            let Some(run) = &read.run else { return };
            let step_id = step.and_then(|step| setup.steps.get(usize::from(step)));
            let moved = run.run().steps.iter().any(|(id, step)| {
                let concerns = step_id.map_or(!step.state.is_terminal(), |of| of == id);
                concerns && stored.run().steps.get(id) != Some(step)
            });
            if moved {
                read.run = None;
            } else if alone {
                read.run = Some(stored.clone());
            }
            // It only matters to a step that is put back.
            read.overtaken = false;
        });
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

fn holder_of(setup: &Setup, worker_id: WorkerId) -> Option<u8> {
    (0_u8..)
        .zip(&setup.holders)
        .find(|(_, holder)| holder.worker_id == worker_id)
        .map(|(holder, _)| holder)
}

fn claim_of(setup: &Setup, step_id: &StepId, fence: Fence) -> Option<Claim> {
    (0_u8..)
        .zip(&setup.steps)
        .find(|(_, id)| *id == step_id)
        .map(|(step, _)| Claim {
            step,
            fence: fence.number(),
        })
}

/// What a write counts: the steps that have not ended, and the needs of a step that have not
/// succeeded. It must be the last one exactly where its rule found so.
fn counts_hold(before: &Run, after: &Run, stored: &Run) -> bool {
    let left = |run: &Run| {
        run.steps
            .values()
            .filter(|step| !step.state.is_terminal())
            .count()
    };
    let ended = left(before) - left(after);
    let last = left(stored) == ended;
    if ended > 0 && last != (left(after) == 0) {
        return false;
    }
    after.steps.iter().all(|(id, step)| {
        let open = |run: &Run| {
            let succeeded = |need: &&StepId| {
                let need = run.steps.get(*need);
                need.is_some_and(|need| matches!(need.state, StepState::Succeeded { .. }))
            };
            step.spec.needs.len() - step.spec.needs.iter().filter(succeeded).count()
        };
        let waits = |run: &Run| {
            let step = run.steps.get(id);
            step.is_some_and(|step| matches!(step.state, StepState::Blocked))
        };
        let met = open(before) - open(after);
        if met == 0 {
            return true;
        }
        if !waits(before) {
            return before.steps.get(id) == stored.steps.get(id);
        }
        let aborted = step.state.is_terminal();
        aborted || (open(stored) == met) == matches!(step.state, StepState::Queued { .. })
    })
}
