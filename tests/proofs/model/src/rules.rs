//! What each step of an actor reads and writes. This is the order that is being checked; which
//! transition follows a read is copied from the ledger (`claim.rs`, `fan_outs.rs`,
//! `revocations.rs`), `dispatch`, `observe` and `sweep`.

use sealfleet_domain::revocation::{Revocation, Revoked, revoked};
use sealfleet_domain::run::{
    Change, Claimant, Executor, Failure, Fence, Fresh, Handle, Outcome, Refusal, RequeueReason,
    Run, SecretsRead, StepState, Stopping,
};
use sealfleet_domain::{StepId, Timestamp};

use crate::action::Process;
use crate::setup::{Kind, NOW, PACE, RESEND, TTL, TTL_SECONDS};
use crate::world::{
    Active, Caller, Claim, Claiming, FanOut, Fault, Launcher, Page, Paging, Phase, Pull, Read,
    Refused, Starting, Taker, Task, World,
};
use crate::{Action, Protocol, RevocationModel};

/// What a step of a claim has come to.
enum Came {
    /// To its next write.
    On(Claiming),
    /// To its hold, and its lease.
    Held(Claim),
    /// To nothing.
    Out,
}

/// A step that cannot be taken, or changes nothing.
type Taken = Option<()>;

impl RevocationModel {
    /// The state after a step; `None`: it cannot be taken, or changes nothing.
    pub fn after(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.take(&mut next, action)?;
        next.tidy(self);
        (next != *world).then_some(next)
    }

    /// Whether nothing is left to do, short of somebody's choice or an accident.
    pub fn is_quiet(&self, world: &World) -> bool {
        let mut actions = Vec::new();
        self.candidates(world, &mut actions);
        let is_due = |action: &Action| match action {
            // A lease whose worker lives is kept up by heartbeats; one whose worker is gone runs
            // out.
            Action::LeaseExpires(step) => !world
                .pulls
                .iter()
                .any(|pull| pull.claim().is_some_and(|of| of.step == *step)),
            other => other.is_due(),
        };
        !actions
            .into_iter()
            .any(|action| is_due(&action) && self.after(world, action).is_some())
    }

    /// The steps that might be taken. Of actors that are alike and stand at the same place, one is
    /// enough.
    pub fn candidates(&self, world: &World, actions: &mut Vec<Action>) {
        let setup = &self.setup;
        match &world.caller {
            Caller::Ready => actions.push(Action::EnqueueChecks),
            Caller::MayEnqueue => actions.push(Action::EnqueueStores),
            Caller::Idle => {}
            Caller::MayRetry(..) => actions.push(Action::RetryStores),
        }
        actions.extend([Action::Lifts, Action::Revokes { hard: true }]);
        actions.extend(setup.soft.then_some(Action::Revokes { hard: false }));
        for (fan_out, of) in (0_u8..).zip(&world.fan_outs) {
            actions.extend((!of.finished).then_some(Action::FanOutFinishes(fan_out)));
            let mut before = None;
            for (worker, at) in (0_u8..).zip(&of.workers) {
                if before.replace(at) != Some(at) {
                    self.fan_out_candidates(Process { fan_out, worker }, at, actions);
                }
            }
        }
        for (holder, claim) in world.releasing.iter().copied() {
            actions.extend([
                Action::LeaseDeleted(holder, claim),
                Action::LeaseLeft(holder, claim),
            ]);
        }
        if setup.takes {
            match world.taker {
                Taker::Idle => {
                    actions.extend(world.leases.keys().copied().map(Action::TakerReads));
                }
                Taker::Saw(..) => actions.extend([Action::TakerExamines, Action::TakerDies]),
                Taker::MayFree(..) => actions.extend([Action::TakerFrees, Action::TakerDies]),
            }
        }
        for (step, _) in (0_u8..).zip(&setup.steps) {
            self.step_candidates(world, step, actions);
        }
        let mut before = None;
        for (launcher, at) in (0_u8..).zip(&world.launchers) {
            if before.replace(at) != Some(at) {
                self.launcher_candidates(launcher, at, actions);
            }
        }
        for (claim, task) in &world.tasks {
            self.task_candidates(*claim, task, actions);
        }
        let mut before = None;
        for (worker, at) in (0_u8..).zip(&world.pulls) {
            if !setup.one_worker() || before.replace(at) != Some(at) {
                self.pull_candidates(worker, at, actions);
            }
        }
    }

    fn fan_out_candidates(&self, process: Process, at: &Paging, actions: &mut Vec<Action>) {
        match at {
            Paging::Idle => {
                let partitions = (0_u8..).zip(&self.setup.pages);
                actions.extend(
                    partitions.map(|(partition, _)| Action::FanOutReads(process, partition)),
                );
                return;
            }
            Paging::Read(_) => actions.push(Action::FanOutExamines(process)),
            Paging::Examined(..) => actions.push(Action::FanOutAborts(process)),
            Paging::Dealt(_) => actions.push(Action::FanOutGoesOn(process)),
        }
        actions.push(Action::FanOutDies(process));
    }

    fn step_candidates(&self, world: &World, step: u8, actions: &mut Vec<Action>) {
        let setup = &self.setup;
        match world.step(setup, step) {
            Some(StepState::Queued { .. }) if setup.waits => {
                actions.extend([Action::Resends(step), Action::OutlivesItsTime(step)]);
            }
            // Where nobody dies, nothing is lost.
            Some(StepState::Leased(_) | StepState::Running(_)) if setup.deaths => {
                actions.extend([
                    Action::SweepLoses(step),
                    Action::SweepAttaches(step),
                    Action::LeaseExpires(step),
                ]);
            }
            Some(StepState::Aborted { .. }) => actions.push(Action::SweepStops(step)),
            Some(StepState::Dead { .. }) if setup.retries > 0 => {
                actions.push(Action::RetryChecks(step));
            }
            _ => {}
        }
    }

    fn launcher_candidates(&self, launcher: u8, at: &Launcher, actions: &mut Vec<Action>) {
        let setup = &self.setup;
        match at {
            Launcher::Idle => {
                let steps = setup.steps_of(Kind::Fargate);
                actions.extend(steps.map(|step| Action::Delivered(launcher, step)));
                return;
            }
            Launcher::Claiming(_) => actions.push(Action::LauncherClaims(launcher)),
            Launcher::Leased(_) => actions.push(Action::LauncherChecks(launcher)),
            Launcher::Cleared(_) => {
                actions.push(Action::Launches(launcher));
                actions.extend(setup.deaths.then_some(Action::LaunchRefused(launcher)));
                actions.extend(setup.full.then_some(Action::NoRoom(launcher)));
            }
            Launcher::Launched(_) => actions.push(Action::Attaches(launcher)),
            Launcher::TakingBack(_) => actions.push(Action::TakesBack(launcher)),
        }
        actions.extend(setup.deaths.then_some(Action::LauncherDies(launcher)));
    }

    fn task_candidates(&self, claim: Claim, task: &Task, actions: &mut Vec<Action>) {
        match task.phase {
            Phase::Provisioning => actions.push(Action::TaskStarts(claim)),
            Phase::Up => actions.push(Action::TaskAsks(claim)),
            Phase::LetGo => actions.push(Action::TaskExits(claim)),
            Phase::Exited | Phase::Stopped => actions.push(Action::ObserverSeesStopped(claim)),
        }
        match &task.observing {
            None => {
                actions.push(Action::ObserverAsks(claim));
                return;
            }
            Some(starting) if starting.read.is_none() => {
                actions.push(Action::ObserverReads(claim));
            }
            Some(_) => actions.push(Action::ObserverWrites(claim)),
        }
        actions.extend(self.setup.deaths.then_some(Action::ObserverDies(claim)));
    }

    fn pull_candidates(&self, worker: u8, at: &Pull, actions: &mut Vec<Action>) {
        let setup = &self.setup;
        let answers = |answered| Action::StartWrites { worker, answered };
        match at {
            Pull::Idle => {
                let steps = setup.steps_of(Kind::Pull);
                actions.extend(steps.map(|step| Action::WorkerClaims(worker, step)));
                return;
            }
            Pull::Claiming(_) => actions.push(Action::WorkerGoesOn(worker)),
            Pull::Leased(_) => actions.push(Action::WorkerChecks(worker)),
            Pull::Granted(_) => actions.push(Action::WorkerPrepares(worker)),
            Pull::Prepared(_) => actions.push(Action::WorkerStarts(worker)),
            Pull::Starting(_, starting) if starting.read.is_none() => {
                actions.push(Action::StartReads(worker));
            }
            Pull::Starting(..) => {
                actions.push(answers(true));
                actions.extend(setup.deaths.then_some(answers(false)));
            }
            Pull::LetGo(_) => actions.push(Action::WorkerExits(worker)),
            Pull::Ended(_) => actions.push(Action::WorkerReports(worker)),
            Pull::Reporting(..) => actions.push(Action::EndWrites(worker)),
        }
        actions.push(Action::WorkerHeartbeat(worker));
        actions.extend(setup.deaths.then_some(Action::WorkerDies(worker)));
    }

    fn take(&self, world: &mut World, action: Action) -> Taken {
        match action {
            Action::EnqueueChecks
            | Action::EnqueueStores
            | Action::RetryChecks(_)
            | Action::RetryStores
            | Action::Revokes { .. }
            | Action::Lifts => self.people(world, action),
            Action::FanOutReads(process, _)
            | Action::FanOutExamines(process)
            | Action::FanOutAborts(process)
            | Action::FanOutGoesOn(process)
            | Action::FanOutDies(process) => self.fan_out(world, process, action),
            Action::FanOutFinishes(number) => self.finishes(world, number),
            Action::LeaseDeleted(holder, claim) | Action::LeaseLeft(holder, claim) => {
                let released = world.releasing.remove(&(holder, claim));
                if action == Action::LeaseDeleted(holder, claim)
                    && world.leases.get(&holder) == Some(&claim)
                {
                    world.set_lease(&self.setup, holder, None);
                }
                released.then_some(())
            }
            Action::TakerReads(_)
            | Action::TakerExamines
            | Action::TakerFrees
            | Action::TakerDies => self.taker(world, action),
            Action::Delivered(launcher, _)
            | Action::LauncherClaims(launcher)
            | Action::LauncherChecks(launcher)
            | Action::Launches(launcher)
            | Action::LaunchRefused(launcher)
            | Action::NoRoom(launcher)
            | Action::Attaches(launcher)
            | Action::TakesBack(launcher)
            | Action::LauncherDies(launcher) => {
                let at = world.launchers.get(usize::from(launcher))?.clone();
                let next = self.launcher(world, at, action)?;
                *world.launchers.get_mut(usize::from(launcher))? = next;
                Some(())
            }
            Action::TaskStarts(claim) | Action::TaskAsks(claim) | Action::TaskExits(claim) => {
                self.task(world, claim, action)
            }
            Action::ObserverAsks(claim)
            | Action::ObserverReads(claim)
            | Action::ObserverWrites(claim)
            | Action::ObserverDies(claim)
            | Action::ObserverSeesStopped(claim) => self.observer(world, claim, action),
            Action::SweepLoses(step)
            | Action::SweepAttaches(step)
            | Action::SweepStops(step)
            | Action::LeaseExpires(step)
            | Action::Resends(step)
            | Action::OutlivesItsTime(step) => self.sweep(world, step, action),
            Action::WorkerClaims(worker, _)
            | Action::WorkerGoesOn(worker)
            | Action::WorkerChecks(worker)
            | Action::WorkerPrepares(worker)
            | Action::WorkerStarts(worker)
            | Action::StartReads(worker)
            | Action::StartWrites { worker, .. }
            | Action::WorkerExits(worker)
            | Action::WorkerReports(worker)
            | Action::EndWrites(worker)
            | Action::WorkerHeartbeat(worker)
            | Action::WorkerDies(worker) => {
                let at = world.pulls.get(usize::from(worker))?.clone();
                let next = self.pull(world, (worker, at), action)?;
                *world.pulls.get_mut(usize::from(worker))? = next;
                Some(())
            }
        }
    }

    fn people(&self, world: &mut World, action: Action) -> Taken {
        match (action, world.caller.clone()) {
            (Action::EnqueueChecks, Caller::Ready) if self.revoked(world).is_none() => {
                world.caller = Caller::MayEnqueue;
            }
            (Action::EnqueueStores, Caller::MayEnqueue) => {
                world.store(self.setup.enqueue().0);
                world.caller = Caller::Idle;
            }
            (Action::RetryChecks(step), Caller::Idle)
                if world.retried < self.setup.retries
                    && matches!(world.step(&self.setup, step)?, StepState::Dead { .. })
                    && self.revoked(world).is_none() =>
            {
                world.caller = Caller::MayRetry(step, world.read());
            }
            (Action::RetryStores, Caller::MayRetry(step, read)) => {
                let step_id = self.step_id(step)?;
                world.caller = Caller::Idle;
                // Each retry at a time of its own.
                let again = TTL.plus_seconds(i64::from(world.retried) + 1);
                let rule = |run: &mut Run| run.retry(step_id, PACE, again);
                if world.write(self, &read, rule).is_ok() {
                    world.retried += 1;
                }
            }
            (Action::Revokes { hard }, _) => self.revoke(world, hard)?,
            (Action::Lifts, _) if world.lifted < self.setup.lifts => {
                world.active.take()?;
                world.lifted += 1;
                world.claimed_under.clear();
            }
            _ => return None,
        }
        Some(())
    }

    fn revoke(&self, world: &mut World, hard: bool) -> Taken {
        let unwritten = self.protocol == Protocol::LeasesBeforeRow
            && world.fan_outs.iter().any(|of| !of.finished);
        if world.active.is_some() || unwritten || world.revoked >= self.setup.revocations {
            return None;
        }
        let number = world.revoked;
        world.revoked += 1;
        if hard {
            world.fan_outs.push(FanOut {
                number,
                places: vec![0; self.setup.pages.len()],
                finished: false,
                aborted: false,
                resumed: false,
                workers: vec![Paging::Idle; usize::from(self.setup.workers)],
            });
        }
        if !(hard && self.protocol == Protocol::LeasesBeforeRow) {
            world.active = Some(Active { number, hard });
        }
        Some(())
    }

    /// `revoke` working on its fan-out, or `sweep` that resumes it.
    fn fan_out(&self, world: &mut World, process: Process, action: Action) -> Taken {
        let index = usize::from(process.fan_out);
        let mut fan_out = world.fan_outs.get(index)?.clone();
        let at = fan_out.workers.get(usize::from(process.worker))?.clone();
        let row = self.row(fan_out.number);
        let ours = row.map(std::slice::from_ref).unwrap_or_default();
        let next = match (action, at) {
            (Action::FanOutReads(_, partition), Paging::Idle) if !fan_out.finished => {
                let pages = self.setup.pages.get(usize::from(partition))?;
                let place = *fan_out.places.get(usize::from(partition))?;
                let holder = pages.get(usize::from(place))?;
                let page = Page { partition, place };
                let found = world.leases.contains_key(holder);
                if self.protocol == Protocol::PlaceBeforeAborts {
                    self.store_place(world, &mut fan_out, page);
                }
                if found {
                    Paging::Read(page)
                } else {
                    self.go_on(world, &mut fan_out, page)
                }
            }
            (Action::FanOutExamines(_), Paging::Read(page)) => {
                let read = world.read();
                let holds = read.run.as_ref()?.run().revoked_in_flight(ours).is_some();
                let lifted = world
                    .active
                    .is_none_or(|active| active.number != fan_out.number);
                let ignored = matches!(
                    self.protocol,
                    Protocol::FanOutOutlivesLift | Protocol::LeasesBeforeRow
                );
                if holds && (ignored || !lifted) {
                    Paging::Examined(page, read)
                } else {
                    self.go_on(world, &mut fan_out, page)
                }
            }
            (Action::FanOutAborts(_), Paging::Examined(page, read)) => {
                let revoked = read
                    .run
                    .as_ref()
                    .and_then(|run| run.run().revoked_in_flight(ours));
                let after_lift = world
                    .held(&self.setup)
                    .any(|claim| world.claimed_after_lift.contains(&claim));
                let aborted = revoked.is_some_and(|revoked| {
                    let rule = |run: &mut Run| run.abort_revoked(revoked, None, NOW);
                    world.write(self, &read, rule).is_ok()
                });
                if aborted {
                    if after_lift && fan_out.number < world.lifted {
                        world.faults.insert(Fault::AbortedAfterLift);
                    }
                    // The write has marked what others have read.
                    fan_out.workers = world.fan_outs.get(index)?.workers.clone();
                    fan_out.aborted = true;
                    Paging::Dealt(page)
                } else {
                    Paging::Read(page)
                }
            }
            (Action::FanOutGoesOn(_), Paging::Dealt(page)) => self.go_on(world, &mut fan_out, page),
            (Action::FanOutDies(_), at) if at != Paging::Idle => {
                fan_out.resumed = true;
                Paging::Idle
            }
            _ => return None,
        };
        *fan_out.workers.get_mut(usize::from(process.worker))? = next;
        *world.fan_outs.get_mut(index)? = fan_out;
        Some(())
    }

    /// A page is dealt with. Where nothing was aborted, to store that counts as one with the read
    /// before: no claim looks at it.
    fn go_on(&self, world: &mut World, fan_out: &mut FanOut, page: Page) -> Paging {
        if self.protocol != Protocol::PlaceBeforeAborts {
            self.store_place(world, fan_out, page);
        }
        Paging::Idle
    }

    /// Stores the place after a page, if the page's own is still stored.
    fn store_place(&self, world: &mut World, fan_out: &mut FanOut, page: Page) {
        let Some(stored) = fan_out.places.get_mut(usize::from(page.partition)) else {
            return;
        };
        if *stored != page.place && self.protocol != Protocol::PlaceUnconditional {
            return;
        }
        if *stored > page.place + 1 {
            world.faults.insert(Fault::FanOutWentBack);
        }
        *stored = page.place + 1;
    }

    fn finishes(&self, world: &mut World, number: u8) -> Taken {
        let fan_out = world.fan_outs.get_mut(usize::from(number))?;
        let mut at_end = fan_out
            .places
            .iter()
            .zip(&self.setup.pages)
            .map(|(place, pages)| usize::from(*place) >= pages.len());
        let over = if self.protocol == Protocol::FinishEarly {
            at_end.any(|end| end)
        } else {
            at_end.all(|end| end)
        };
        if !over || std::mem::replace(&mut fan_out.finished, true) {
            return None;
        }
        if self.protocol == Protocol::LeasesBeforeRow {
            world.active = Some(Active { number, hard: true });
        }
        Some(())
    }

    /// A slot that a lease without a hold blocks.
    fn taker(&self, world: &mut World, action: Action) -> Taken {
        let free = |world: &mut World, holder, same| {
            if same || self.protocol == Protocol::TakeOverUnconditional {
                world.set_lease(&self.setup, holder, None);
            }
        };
        let next = match (action, world.taker) {
            (Action::TakerReads(holder), Taker::Idle) => {
                Taker::Saw(holder, *world.leases.get(&holder)?, true)
            }
            (Action::TakerExamines, Taker::Saw(holder, claim, same)) => {
                if self.examine(world, holder, claim) {
                    Taker::MayFree(holder, same)
                } else {
                    Taker::Idle
                }
            }
            (Action::TakerFrees, Taker::MayFree(holder, same)) => {
                free(world, holder, same);
                Taker::Idle
            }
            (Action::TakerDies, at) if at != Taker::Idle => Taker::Idle,
            _ => return None,
        };
        world.taker = next;
        Some(())
    }

    /// Whether the lease may go: the step has no hold in this slot. If a claim with the lease's
    /// fence may still come, that fence is used up, and the claim will be refused.
    fn examine(&self, world: &mut World, holder: u8, claim: Claim) -> bool {
        if self.protocol == Protocol::TakeOverUnread {
            return true;
        }
        let by_fence = self.protocol == Protocol::TakeOverByFence;
        let held = world.hold_of(&self.setup, holder, claim.step);
        if held.is_some_and(|hold| !by_fence || hold.fence.number() == claim.fence) {
            return false;
        }
        let Some(step_id) = self.step_id(claim.step) else {
            return false;
        };
        let fence = Fence::new(claim.fence);
        self.protocol == Protocol::TakeOverLeavesFence
            || world.transact(self, |run| run.void(step_id, fence)).is_ok()
    }

    /// A delivery to `dispatch`: claim, check, launch, attach.
    fn launcher(&self, world: &mut World, at: Launcher, action: Action) -> Option<Launcher> {
        match (action, at) {
            (Action::Delivered(_, step), Launcher::Idle) => self.delivered(world, step),
            (Action::LauncherClaims(_), Launcher::Claiming(at)) => {
                let pool = self.setup.pool();
                Some(match self.claims(world, pool, at)? {
                    Came::On(at) => Launcher::Claiming(at),
                    Came::Held(claim) if self.claims_unchecked() => Launcher::Cleared(claim),
                    Came::Held(claim) => Launcher::Leased(claim),
                    Came::Out => Launcher::Idle,
                })
            }
            (Action::LauncherChecks(_), Launcher::Leased(claim)) => {
                Some(if self.refuses(world, claim) {
                    Launcher::Idle
                } else {
                    Launcher::Cleared(claim)
                })
            }
            (Action::Launches(_), Launcher::Cleared(claim)) => {
                // The client token is made of the claim: asked twice, ECS names the same task.
                if !world.tasks.contains_key(&claim) {
                    world.sandbox_made(claim);
                    let phase = Phase::Provisioning;
                    let task = Task {
                        phase,
                        running_seen: false,
                        stopped_seen: false,
                        observing: None,
                    };
                    world.tasks.insert(claim, task);
                }
                Some(Launcher::Launched(claim))
            }
            (Action::LaunchRefused(_), Launcher::Cleared(claim)) => {
                self.launch_refused(world, claim);
                Some(Launcher::Idle)
            }
            (Action::NoRoom(_), Launcher::Cleared(claim)) => {
                self.no_room(world, claim);
                Some(Launcher::Idle)
            }
            (Action::Attaches(_), Launcher::Launched(claim)) => Some(self.attach(world, claim)),
            (Action::TakesBack(_), Launcher::TakingBack(claim)) => {
                stop(world, claim);
                Some(Launcher::Idle)
            }
            (Action::LauncherDies(_), at) if at != Launcher::Idle => Some(Launcher::Idle),
            _ => None,
        }
    }

    fn delivered(&self, world: &World, step: u8) -> Option<Launcher> {
        if let Some(at) = self.claim(world, self.setup.pool(), step) {
            return Some(Launcher::Claiming(at));
        }
        // Not to be claimed: the pool's own claim of before, unless it has its task.
        let hold = world
            .hold(&self.setup, step)
            .filter(|hold| hold.handle.is_none())?;
        let claim = Claim {
            step,
            fence: hold.fence.number(),
        };
        let unchecked = self.claims_unchecked() || self.protocol == Protocol::ResumeUnchecked;
        Some(if unchecked {
            Launcher::Cleared(claim)
        } else {
            Launcher::Leased(claim)
        })
    }

    /// Whether nobody reads the revocations once the step is held.
    fn claims_unchecked(&self) -> bool {
        matches!(
            self.protocol,
            Protocol::ClaimUnchecked | Protocol::CheckBeforeHold
        )
    }

    /// ECS refuses: the step cannot start, unless another delivery of the same claim has launched
    /// it.
    fn launch_refused(&self, world: &mut World, claim: Claim) {
        let Some(step_id) = self.step_id(claim.step) else {
            return;
        };
        let fence = Fence::new(claim.fence);
        let outcome = Outcome::Failed {
            failure: Failure::CannotStart {
                cause: None,
                detail: "refused".to_owned(),
            },
        };
        // What the step machine refuses has been done by somebody else.
        let _ = world.transact(self, |run| {
            let launched = run.held(step_id, None, fence)?.handle.is_some();
            if launched && self.protocol != Protocol::FailedLaunchEndsOther {
                return Ok(Change::default());
            }
            run.finish(step_id, None, fence, &outcome, PACE, NOW)
        });
    }

    /// ECS has no room: the step waits again, unless another delivery of the same claim has
    /// launched it.
    fn no_room(&self, world: &mut World, claim: Claim) {
        let Some(step_id) = self.step_id(claim.step) else {
            return;
        };
        let fence = Fence::new(claim.fence);
        // What the step machine refuses has been done by somebody else.
        let _ = world.transact(self, |run| {
            let launched = run.held(step_id, None, fence)?.handle.is_some();
            if launched && self.protocol != Protocol::NoRoomEndsOther {
                return Ok(Change::default());
            }
            run.lose(step_id, fence, RequeueReason::NoCapacity, PACE, NOW)
        });
    }

    fn attach(&self, world: &mut World, claim: Claim) -> Launcher {
        let Some(step_id) = self.step_id(claim.step) else {
            return Launcher::Idle;
        };
        let fence = Fence::new(claim.fence);
        match world.transact(self, |run| run.attach(step_id, fence, handle(claim), NOW)) {
            Ok(_) => Launcher::Idle,
            Err(_) if self.protocol == Protocol::LaunchNotTakenBack => Launcher::Idle,
            Err(_) => Launcher::TakingBack(claim),
        }
    }

    /// ECS and the init of its task.
    fn task(&self, world: &mut World, claim: Claim, action: Action) -> Taken {
        let phase = world.tasks.get(&claim)?.phase;
        let next = match (action, phase) {
            (Action::TaskStarts(_), Phase::Provisioning) => Phase::Up,
            (Action::TaskAsks(_), Phase::Up) => {
                let run = world.run.as_ref()?.run();
                match run.held(self.step_id(claim.step)?, None, Fence::new(claim.fence)) {
                    Ok(hold) if hold.handle.is_none() => return None,
                    Ok(_) => {
                        world.let_go();
                        Phase::LetGo
                    }
                    Err(_) => Phase::Stopped,
                }
            }
            (Action::TaskExits(_), Phase::LetGo) => Phase::Exited,
            _ => return None,
        };
        world.tasks.get_mut(&claim)?.phase = next;
        Some(())
    }

    /// `observe`: what ECS tells of its tasks.
    fn observer(&self, world: &mut World, claim: Claim, action: Action) -> Taken {
        let task = world.tasks.get(&claim)?.clone();
        match (action, task.observing) {
            (Action::ObserverAsks(_), None)
                if !task.running_seen && task.phase != Phase::Provisioning =>
            {
                let asked = self.start_asks(world);
                world.tasks.get_mut(&claim)?.observing = Some(asked);
            }
            (Action::ObserverReads(_), Some(asked)) if asked.read.is_none() => {
                let starting = self.start_reads(world, claim, None, &asked);
                if starting.is_err() {
                    // Of a claim that ended well the task is on its way out by itself.
                    if !self.ended_itself(world, claim) {
                        stop(world, claim);
                    }
                    world.tasks.get_mut(&claim)?.running_seen = true;
                }
                world.tasks.get_mut(&claim)?.observing = starting.ok();
            }
            (Action::ObserverWrites(_), Some(starting)) => {
                let written = self.start_writes(world, claim, None, &starting);
                let task = world.tasks.get_mut(&claim)?;
                task.observing = None;
                task.running_seen = written.is_some();
            }
            (Action::ObserverDies(_), Some(_)) => world.tasks.get_mut(&claim)?.observing = None,
            (Action::ObserverSeesStopped(_), _)
                if !task.stopped_seen && matches!(task.phase, Phase::Stopped | Phase::Exited) =>
            {
                let step_id = self.step_id(claim.step)?;
                // What it refuses has been done by somebody else.
                let _ = world.transact(self, |run| task_ended(run, step_id, claim, task.phase));
                world.tasks.get_mut(&claim)?.stopped_seen = true;
            }
            _ => return None,
        }
        Some(())
    }

    fn ended_itself(&self, world: &World, claim: Claim) -> bool {
        world
            .step(&self.setup, claim.step)
            .is_some_and(|state| match state {
                StepState::Succeeded { fence, .. } | StepState::Failed { fence, .. } => {
                    fence.number() == claim.fence
                }
                _ => false,
            })
    }

    /// `sweep`, whenever something may have become due.
    fn sweep(&self, world: &mut World, step: u8, action: Action) -> Taken {
        let step_id = self.step_id(step)?;
        let claim = Claim {
            step,
            fence: world.fence(&self.setup, step),
        };
        let fence = Fence::new(claim.fence);
        let hold = world.hold(&self.setup, step);
        let without_handle =
            hold.is_some_and(|hold| hold.executor == Executor::Host && hold.handle.is_none());
        let lose = |reason| move |run: &mut Run| run.lose(step_id, fence, reason, PACE, NOW);
        let wait = |now: Timestamp| move |run: &mut Run| run.wait(step_id, PACE, now);
        let change = match action {
            // ECS shows a task some time after it was asked for it: not found does not mean not
            // there.
            Action::SweepLoses(_) if without_handle => {
                world.transact(self, lose(RequeueReason::SandboxLost))
            }
            Action::SweepAttaches(_)
                if without_handle && world.tasks.get(&claim).is_some_and(Task::lives) =>
            {
                world.transact(self, |run| run.attach(step_id, fence, handle(claim), NOW))
            }
            Action::LeaseExpires(_)
                if hold.is_some_and(|hold| hold.executor == Executor::Worker) =>
            {
                world.transact(self, lose(RequeueReason::LeaseExpired))
            }
            Action::Resends(_)
                if matches!(
                    world.step(&self.setup, step)?,
                    StepState::Queued { resent: 0, .. }
                ) =>
            {
                world.transact(self, wait(RESEND))
            }
            Action::OutlivesItsTime(_) => {
                let StepState::Queued { since, .. } = *world.step(&self.setup, step)? else {
                    return None;
                };
                let over = since.plus_seconds(i64::from(TTL_SECONDS));
                world.transact(self, wait(over))
            }
            Action::SweepStops(_) => return self.sweep_stops(world, claim),
            _ => return None,
        };
        change.ok().map(|_| ())
    }

    fn sweep_stops(&self, world: &mut World, claim: Claim) -> Taken {
        let step_id = self.step_id(claim.step)?;
        let StepState::Aborted {
            stopping: Some(stopping),
            ..
        } = world.step(&self.setup, claim.step)?
        else {
            return None;
        };
        let lives = world.tasks.get(&claim).is_some_and(Task::lives);
        match stopping {
            Stopping::Task(_) | Stopping::Launch { .. } if lives => stop(world, claim),
            Stopping::Task(_) | Stopping::Launch { .. } => {
                world.transact(self, |run| run.stopped(step_id)).ok()?;
            }
        }
        Some(())
    }

    /// A pull worker, and the functions that answer it.
    fn pull(&self, world: &mut World, of: (u8, Pull), action: Action) -> Option<Pull> {
        let (number, at) = of;
        let worker = *self.setup.pulls.get(usize::from(number))?;
        match (action, at) {
            (Action::WorkerClaims(_, step), Pull::Idle) => {
                self.claim(world, worker, step).map(Pull::Claiming)
            }
            (Action::WorkerGoesOn(_), Pull::Claiming(at)) => {
                Some(match self.claims(world, worker, at)? {
                    Came::On(at) => Pull::Claiming(at),
                    Came::Held(claim) if self.claims_unchecked() => Pull::Granted(claim),
                    Came::Held(claim) => Pull::Leased(claim),
                    Came::Out => Pull::Idle,
                })
            }
            (Action::WorkerChecks(_), Pull::Leased(claim)) => Some(if self.refuses(world, claim) {
                Pull::Idle
            } else {
                Pull::Granted(claim)
            }),
            (Action::WorkerPrepares(_), Pull::Granted(claim)) => {
                world.sandbox_made(claim);
                Some(Pull::Prepared(claim))
            }
            (Action::WorkerStarts(_), Pull::Prepared(claim)) => {
                Some(Pull::Starting(claim, self.start_asks(world)))
            }
            (Action::StartReads(_), Pull::Starting(claim, asked)) if asked.read.is_none() => {
                let starting = self.start_reads(world, claim, Some(worker), &asked);
                Some(starting.map_or(Pull::Idle, |starting| Pull::Starting(claim, starting)))
            }
            (Action::StartWrites { answered, .. }, Pull::Starting(claim, starting)) => {
                match self.start_writes(world, claim, Some(worker), &starting) {
                    None => Some(Pull::Prepared(claim)),
                    Some(_) if !answered => Some(Pull::Prepared(claim)),
                    Some(false) => Some(Pull::Idle),
                    Some(true) => {
                        world.let_go();
                        Some(Pull::LetGo(claim))
                    }
                }
            }
            (Action::WorkerExits(_), Pull::LetGo(claim)) => Some(Pull::Ended(claim)),
            (Action::WorkerReports(_), Pull::Ended(claim)) => {
                if self.protocol == Protocol::LeaseEndsFirst
                    && world.leases.get(&worker) == Some(&claim)
                {
                    world.set_lease(&self.setup, worker, None);
                }
                Some(Pull::Reporting(claim, world.read()))
            }
            (Action::EndWrites(_), Pull::Reporting(claim, read)) => {
                let (step_id, holder) = (self.step_id(claim.step)?, self.worker_id(worker));
                let fence = Fence::new(claim.fence);
                let done = Outcome::Succeeded;
                let rule = |run: &mut Run| run.finish(step_id, holder, fence, &done, PACE, NOW);
                match world.write(self, &read, rule) {
                    // It reads the run again.
                    Err(Refused::Overtaken) => Some(Pull::Ended(claim)),
                    _ => Some(Pull::Idle),
                }
            }
            (Action::WorkerHeartbeat(_), at) => {
                let claim = at.sandbox()?;
                let hold = world.hold_of(&self.setup, worker, claim.step);
                let kept = world.leases.get(&worker) == Some(&claim)
                    && (self.protocol == Protocol::HeartbeatByLease
                        || hold.is_some_and(|hold| hold.fence.number() == claim.fence));
                (!kept).then_some(Pull::Idle)
            }
            (Action::WorkerDies(_), at) if at != Pull::Idle => Some(Pull::Idle),
            _ => None,
        }
    }

    /// `Ledger::claim`: its read.
    fn claim(&self, world: &World, holder: u8, step: u8) -> Option<Claiming> {
        let fence = world.fence(&self.setup, step) + 1;
        let worker = self.setup.holders.get(usize::from(holder))?;
        let run = world.run.as_ref()?.run();
        if fence > self.setup.claims || run.claimable(self.step_id(step)?, worker).is_err() {
            return None;
        }
        let claim = Claim { step, fence };
        let own = world.hold(&self.setup, step).is_some();
        Some(if own {
            Claiming::Again(claim, world.read())
        } else {
            Claiming::Read(claim, world.read())
        })
    }

    /// `Ledger::claim`: its writes, one at a time.
    fn claims(&self, world: &mut World, holder: u8, at: Claiming) -> Option<Came> {
        let setup = &self.setup;
        Some(match at {
            Claiming::Read(claim, read) if self.protocol == Protocol::HoldBeforeLease => {
                if self.hold(world, holder, claim, &read) {
                    Came::On(Claiming::Unleased(claim))
                } else {
                    Came::Out
                }
            }
            Claiming::Read(claim, read) => {
                let over = |row: &Claim| {
                    self.protocol == Protocol::LeaseOverSameStep && row.step == claim.step
                };
                if world.leases.get(&holder).is_some_and(|row| !over(row)) {
                    return Some(Came::Out);
                }
                world.set_lease(setup, holder, Some(claim));
                Came::On(Claiming::Put(claim, read, true))
            }
            Claiming::Put(claim, read, own) if self.protocol == Protocol::CheckBeforeHold => {
                Came::On(if self.revoked(world).is_some() {
                    Claiming::Refused(claim, own)
                } else {
                    Claiming::Checked(claim, read, own)
                })
            }
            Claiming::Put(claim, read, own) | Claiming::Checked(claim, read, own) => {
                if self.hold(world, holder, claim, &read) {
                    Came::Held(claim)
                } else {
                    Came::On(Claiming::Refused(claim, own))
                }
            }
            Claiming::Refused(claim, own) => {
                let by_fence = self.protocol == Protocol::RefusedDeletesByFence;
                if world.leases.get(&holder) == Some(&claim) && (own || by_fence) {
                    world.set_lease(setup, holder, None);
                }
                Came::Out
            }
            Claiming::Again(claim, read) if self.protocol == Protocol::RenewalFreesFirst => {
                world.set_lease(setup, holder, None);
                Came::On(Claiming::Freed(claim, read))
            }
            Claiming::Again(claim, read) => {
                if self.hold(world, holder, claim, &read) {
                    Came::On(Claiming::Renewing(claim))
                } else {
                    Came::Out
                }
            }
            Claiming::Freed(claim, read) => {
                if self.hold(world, holder, claim, &read) {
                    Came::On(Claiming::Unleased(claim))
                } else {
                    Came::Out
                }
            }
            Claiming::Renewing(claim) => {
                let row = world.leases.get(&holder);
                // Only forwards: the hold may be gone, and its slot another's.
                let older = |row: &Claim| row.step == claim.step && row.fence < claim.fence;
                if row.is_some_and(older) {
                    world.set_lease(setup, holder, Some(claim));
                }
                Came::Held(claim)
            }
            Claiming::Unleased(claim) => {
                if !world.leases.contains_key(&holder) {
                    world.set_lease(setup, holder, Some(claim));
                }
                Came::Held(claim)
            }
        })
    }

    /// Writes the hold of a claim, if the step is as it was read.
    fn hold(&self, world: &mut World, holder: u8, claim: Claim, read: &Read) -> bool {
        let (Some(worker), Some(step_id)) = (
            self.setup.holders.get(usize::from(holder)),
            self.step_id(claim.step),
        ) else {
            return false;
        };
        let by = Claimant {
            worker,
            slot: 0,
            executor: self.setup.executor(claim.step),
        };
        let fresh = Fresh::Identity(self.setup.identity.seen_by(None));
        let rule = |run: &mut Run| run.claim(step_id, by, &fresh, PACE, NOW);
        let held = world
            .write(self, read, rule)
            .is_ok_and(|change| change.take.is_some());
        if held && world.active.is_some() {
            world.claimed_under.insert(claim);
        } else if held && world.lifted > 0 {
            world.claimed_after_lift.insert(claim);
        }
        held
    }

    /// `Ledger::unless_revoked`: the check after the intent. Whether the claim was refused.
    fn refuses(&self, world: &mut World, claim: Claim) -> bool {
        let Some((revoked, step_id)) = self.revoked(world).zip(self.step_id(claim.step)) else {
            return false;
        };
        let fence = Fence::new(claim.fence);
        let launched = world
            .hold(&self.setup, claim.step)
            .is_some_and(|hold| hold.fence == fence && hold.handle.is_some());
        let ended = if launched && self.protocol != Protocol::RefusalLeavesSandbox {
            // Another delivery of the same claim has launched it meanwhile: what it started is
            // stopped.
            world.transact(self, |run| {
                run.abort_start(step_id, fence, revoked, PACE, NOW)
            })
        } else {
            let failure = Failure::SecretRevoked {
                detail: revoked.to_string(),
            };
            let outcome = Outcome::Failed { failure };
            world.transact(self, |run| {
                run.finish(step_id, None, fence, &outcome, PACE, NOW)
            })
        };
        !matches!(ended, Err(Refused::NoRun))
    }

    /// `Ledger::start`: what it reads of the revocations.
    fn start_asks(&self, world: &World) -> Starting {
        let begun_under = self.revoked(world).is_some();
        Starting {
            read: None,
            revoked: begun_under && self.protocol != Protocol::StartUnchecked,
            begun_under,
        }
    }

    /// `Ledger::start`: what it reads of the run.
    fn start_reads(
        &self,
        world: &World,
        claim: Claim,
        holder: Option<u8>,
        asked: &Starting,
    ) -> Result<Starting, Refused> {
        let read = world.read();
        let run = read.run.as_ref().ok_or(Refused::NoRun)?.run();
        let step_id = self.step_id(claim.step).ok_or(Refused::NoRun)?;
        let holder = holder.and_then(|holder| self.worker_id(holder));
        let begins = matches!(
            run.step(step_id).map_err(Refused::Rule)?.state,
            StepState::Leased(_)
        );
        // Whoever may not start it may not abort its run either.
        let mut trial = run.clone();
        start(&mut trial, step_id, holder, claim).map_err(Refused::Rule)?;
        Ok(Starting {
            read: Some(read),
            revoked: begins && asked.revoked,
            begun_under: begins && asked.begun_under,
        })
    }

    /// `Ledger::start`: its write. `None`: the step has changed, it reads again; else whether the
    /// step runs.
    fn start_writes(
        &self,
        world: &mut World,
        claim: Claim,
        holder: Option<u8>,
        starting: &Starting,
    ) -> Option<bool> {
        let step_id = self.step_id(claim.step)?;
        let read = starting.read.as_ref()?;
        if starting.revoked {
            // Named by the first row: which revocation it was makes no difference to any step.
            let run = read.run.as_ref()?.run();
            let revoked = run.revoked_in_flight(&self.setup.rows)?;
            let fence = Fence::new(claim.fence);
            let rule = |run: &mut Run| run.abort_start(step_id, fence, revoked, PACE, NOW);
            world.write(self, read, rule).ok()?;
            return Some(false);
        }
        let holder = holder.and_then(|holder| self.worker_id(holder));
        let rule = |run: &mut Run| start(run, step_id, holder, claim);
        let change = world.write(self, read, rule).ok()?;
        if !change.events.is_empty() && starting.begun_under {
            world.faults.insert(Fault::StartUnderRevocation);
        }
        Some(true)
    }

    /// `Ledger::check_revocations`, by one consistent read of the active row.
    fn revoked(&self, world: &World) -> Option<Revoked> {
        let active = self
            .row(world.active?.number)
            .map(std::slice::from_ref)
            .unwrap_or_default();
        revoked(&self.setup.identity, active)
    }

    fn row(&self, number: u8) -> Option<&Revocation> {
        self.setup.rows.get(usize::from(number))
    }

    fn step_id(&self, step: u8) -> Option<&StepId> {
        self.setup.steps.get(usize::from(step))
    }

    fn worker_id(&self, holder: u8) -> Option<sealfleet_domain::WorkerId> {
        self.setup
            .holders
            .get(usize::from(holder))
            .map(|holder| holder.worker_id)
    }
}

fn handle(claim: Claim) -> Handle {
    Handle::new(format!("sandbox/{}-{}", claim.step, claim.fence))
}

fn start(
    run: &mut Run,
    step_id: &StepId,
    holder: Option<sealfleet_domain::WorkerId>,
    claim: Claim,
) -> Result<Change, Refusal> {
    run.start(
        step_id,
        holder,
        Fence::new(claim.fence),
        Some(handle(claim)),
        &SecretsRead::default(),
    )
}

/// ECS's StopTask: harmless where the task is gone.
fn stop(world: &mut World, claim: Claim) {
    if let Some(task) = world.tasks.get_mut(&claim).filter(|task| task.lives()) {
        // What never ran tells no RUNNING.
        task.running_seen |= task.phase == Phase::Provisioning;
        task.phase = Phase::Stopped;
    }
}

/// What `observe` makes of STOPPED.
fn task_ended(
    run: &mut Run,
    step_id: &StepId,
    claim: Claim,
    phase: Phase,
) -> Result<Change, Refusal> {
    let step = run.step(step_id)?;
    let fence = Fence::new(claim.fence);
    if matches!(step.state, StepState::Aborted { .. }) && step.fence == fence {
        return run.stopped(step_id);
    }
    run.held(step_id, None, fence)?;
    if phase != Phase::Exited {
        return run.lose(step_id, fence, RequeueReason::SandboxLost, PACE, NOW);
    }
    // STOPPED may come before RUNNING: a command that has ended has run.
    let mut events = start(run, step_id, None, claim)?.events;
    let mut change = run.finish(step_id, None, fence, &Outcome::Succeeded, PACE, NOW)?;
    events.append(&mut change.events);
    Ok(Change { events, ..change })
}
