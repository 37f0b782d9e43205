//! What each step of an actor reads and writes. This is the order that is being checked; which
//! transition follows a read is copied from the ledger (`claim.rs`, `fan_outs.rs`,
//! `revocations.rs`), `dispatch`, `observe` and `sweep`.

use std::collections::BTreeMap;

use sealfleet_domain::StepId;
use sealfleet_domain::revocation::{Revocation, Revoked, revoked};
use sealfleet_domain::run::{
    Change, Claimant, Executor, Failure, Fence, Fresh, Handle, Hold, Outcome, Refusal,
    RequeueReason, Run, StepState, Stopping,
};

use crate::setup::{Kind, NOW, PACE, PARTITIONS};
use crate::world::{
    Active, Caller, Claim, FanOut, Fault, Launcher, Paging, Phase, Pull, Refused, Starting, Task,
    World,
};
use crate::{Action, Protocol, RevocationModel};

/// A step that cannot be taken, or changes nothing.
type Taken = Option<()>;

impl RevocationModel {
    /// The state after a step; `None`: it cannot be taken, or changes nothing.
    #[must_use]
    pub fn after(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.take(&mut next, action)?;
        next.tidy();
        (next != *world).then_some(next)
    }

    /// Whether nothing is left to do, short of somebody's choice or an accident.
    #[must_use]
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

    /// The steps that might be taken.
    pub fn candidates(&self, world: &World, actions: &mut Vec<Action>) {
        let setup = &self.setup;
        actions.extend([
            Action::EnqueueChecks,
            Action::EnqueueStores,
            Action::RetryStores,
            Action::Lifts,
        ]);
        actions.push(Action::Revokes { hard: true });
        if setup.soft {
            actions.push(Action::Revokes { hard: false });
        }
        for (number, _) in (0_u8..).zip(&world.fan_outs) {
            actions.extend([
                Action::FanOutReads(number),
                Action::FanOutExamines(number),
                Action::FanOutAborts(number),
                Action::FanOutGoesOn(number),
                Action::FanOutDies(number),
            ]);
        }
        for (step, _) in (0_u8..).zip(&setup.steps) {
            actions.extend([
                Action::RetryChecks(step),
                Action::SweepLoses(step),
                Action::SweepAttaches(step),
                Action::SweepStops(step),
                Action::LeaseExpires(step),
            ]);
        }
        for launcher in 0..setup.launchers {
            actions.extend(
                setup
                    .steps_of(Kind::Fargate)
                    .map(|step| Action::Delivered(launcher, step)),
            );
            actions.extend([
                Action::LauncherChecks(launcher),
                Action::Launches(launcher),
                Action::LaunchRefused(launcher),
                Action::Attaches(launcher),
                Action::TakesBack(launcher),
            ]);
            actions.extend(setup.deaths.then_some(Action::LauncherDies(launcher)));
        }
        for claim in world.tasks.keys().copied() {
            actions.extend([
                Action::TaskStarts(claim),
                Action::TaskAsks(claim),
                Action::TaskExits(claim),
                Action::ObserverReads(claim),
                Action::ObserverWrites(claim),
                Action::ObserverSeesStopped(claim),
            ]);
            actions.extend(setup.deaths.then_some(Action::ObserverDies(claim)));
        }
        for worker in 0..setup.workers {
            actions.extend(
                setup
                    .steps_of(Kind::Pull)
                    .map(|step| Action::WorkerClaims(worker, step)),
            );
            actions.extend([
                Action::WorkerChecks(worker),
                Action::WorkerPrepares(worker),
                Action::WorkerStarts(worker),
                Action::StartWrites {
                    worker,
                    answered: true,
                },
                Action::WorkerExits(worker),
                Action::WorkerReports(worker),
                Action::WorkerHeartbeat(worker),
            ]);
            if setup.deaths {
                actions.extend([
                    Action::StartWrites {
                        worker,
                        answered: false,
                    },
                    Action::WorkerDies(worker),
                ]);
            }
        }
    }

    fn take(&self, world: &mut World, action: Action) -> Taken {
        match action {
            Action::EnqueueChecks
            | Action::EnqueueStores
            | Action::RetryChecks(_)
            | Action::RetryStores
            | Action::Revokes { .. }
            | Action::Lifts => self.people(world, action),
            Action::FanOutReads(number)
            | Action::FanOutExamines(number)
            | Action::FanOutAborts(number)
            | Action::FanOutGoesOn(number)
            | Action::FanOutDies(number) => self.fan_out(world, number, action),
            Action::Delivered(launcher, _)
            | Action::LauncherChecks(launcher)
            | Action::Launches(launcher)
            | Action::LaunchRefused(launcher)
            | Action::Attaches(launcher)
            | Action::TakesBack(launcher)
            | Action::LauncherDies(launcher) => {
                let at = *world.launchers.get(usize::from(launcher))?;
                let next = self.launcher(world, at, action)?;
                *world.launchers.get_mut(usize::from(launcher))? = next;
                Some(())
            }
            Action::TaskStarts(claim) | Action::TaskAsks(claim) | Action::TaskExits(claim) => {
                self.task(world, claim, action)
            }
            Action::ObserverReads(claim)
            | Action::ObserverWrites(claim)
            | Action::ObserverDies(claim)
            | Action::ObserverSeesStopped(claim) => self.observer(world, claim, action),
            Action::SweepLoses(step)
            | Action::SweepAttaches(step)
            | Action::SweepStops(step)
            | Action::LeaseExpires(step) => self.sweep(world, step, action),
            Action::WorkerClaims(worker, _)
            | Action::WorkerChecks(worker)
            | Action::WorkerPrepares(worker)
            | Action::WorkerStarts(worker)
            | Action::StartWrites { worker, .. }
            | Action::WorkerExits(worker)
            | Action::WorkerReports(worker)
            | Action::WorkerHeartbeat(worker)
            | Action::WorkerDies(worker) => {
                let at = world.pulls.get(usize::from(worker))?.clone();
                let next = self.pull(world, worker, at, action)?;
                *world.pulls.get_mut(usize::from(worker))? = next;
                Some(())
            }
        }
    }

    /// Callers and operators.
    fn people(&self, world: &mut World, action: Action) -> Taken {
        match (action, world.caller) {
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
                world.caller = Caller::MayRetry(step);
            }
            (Action::RetryStores, Caller::MayRetry(step)) => {
                let step_id = self.step_id(step)?;
                world.caller = Caller::Idle;
                if world
                    .transact(&self.setup, |run| run.retry(step_id, PACE, NOW))
                    .is_ok()
                {
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
            let at = Paging::Idle;
            world.fan_outs.push(FanOut {
                number,
                next: 0,
                finished: false,
                record: false,
                resumed: false,
                at,
            });
        }
        if !(hard && self.protocol == Protocol::LeasesBeforeRow) {
            world.active = Some(Active { number, hard });
        }
        Some(())
    }

    /// `revoke` working on its fan-out, or `sweep` that resumes it.
    fn fan_out(&self, world: &mut World, number: u8, action: Action) -> Taken {
        let index = usize::from(number);
        let mut fan_out = world.fan_outs.get(index)?.clone();
        if fan_out.finished {
            return None;
        }
        match (action, fan_out.at.clone()) {
            (Action::FanOutReads(_), Paging::Idle) => {
                // A holder's leases stand in the partition of its number.
                let found = world.leases.contains_key(&fan_out.next);
                fan_out.at = Paging::Read;
                if self.protocol == Protocol::PlaceBeforeAborts {
                    fan_out.next = (fan_out.next + 1).min(PARTITIONS);
                }
                if !found {
                    self.go_on(world, &mut fan_out);
                }
            }
            (Action::FanOutExamines(_), Paging::Read) => {
                let document = world.run.clone()?;
                let ours = self
                    .row(fan_out.number)
                    .map(std::slice::from_ref)
                    .unwrap_or_default();
                let holds = document.run().revoked_in_flight(ours).is_some();
                let lifted = world
                    .active
                    .is_none_or(|active| active.number != fan_out.number);
                let ignored = matches!(
                    self.protocol,
                    Protocol::FanOutOutlivesLift | Protocol::LeasesBeforeRow
                );
                if holds && (ignored || !lifted) {
                    fan_out.at = Paging::Examined(document);
                } else {
                    self.go_on(world, &mut fan_out);
                }
            }
            (Action::FanOutAborts(_), Paging::Examined(read)) => {
                fan_out.at = Paging::Read;
                // The record of this run is put on the condition that there is none.
                if world.run.as_ref() == Some(&read) && !fan_out.record {
                    let ours = self
                        .row(fan_out.number)
                        .map(std::slice::from_ref)
                        .unwrap_or_default();
                    let revoked = read.run().revoked_in_flight(ours)?;
                    let after_lift = world
                        .leases
                        .values()
                        .any(|claim| world.claimed_after_lift.contains(claim));
                    if after_lift && fan_out.number < world.lifted {
                        world.faults.insert(Fault::AbortedAfterLift);
                    }
                    world
                        .transact(&self.setup, |run| run.abort_revoked(revoked, None, NOW))
                        .ok()?;
                    fan_out.record = true;
                    fan_out.at = Paging::Dealt;
                }
            }
            (Action::FanOutGoesOn(_), Paging::Dealt) => self.go_on(world, &mut fan_out),
            (Action::FanOutDies(_), Paging::Read | Paging::Examined(_) | Paging::Dealt) => {
                fan_out.at = Paging::Idle;
                fan_out.resumed = true;
            }
            _ => return None,
        }
        *world.fan_outs.get_mut(index)? = fan_out;
        Some(())
    }

    /// Stores the next place, or that there is none. Where nothing was aborted this counts as one
    /// with the read before: a process that dies in between has left no trace.
    fn go_on(&self, world: &mut World, fan_out: &mut FanOut) {
        fan_out.at = Paging::Idle;
        if self.protocol != Protocol::PlaceBeforeAborts {
            fan_out.next += 1;
        }
        if fan_out.next >= PARTITIONS {
            fan_out.finished = true;
            if self.protocol == Protocol::LeasesBeforeRow {
                world.active = Some(Active {
                    number: fan_out.number,
                    hard: true,
                });
            }
        }
    }

    /// A delivery to `dispatch`: claim, check, launch, attach.
    fn launcher(&self, world: &mut World, at: Launcher, action: Action) -> Option<Launcher> {
        match (action, at) {
            (Action::Delivered(_, step), Launcher::Idle) => self.delivered(world, step),
            (Action::LauncherChecks(_), Launcher::Prechecked(step)) => self
                .claim(world, self.setup.pool(), step)
                .map_or(Some(Launcher::Idle), |claim| Some(Launcher::Cleared(claim))),
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
            (Action::Attaches(_), Launcher::Launched(claim)) => Some(self.attach(world, claim)),
            (Action::TakesBack(_), Launcher::TakingBack(claim)) => {
                stop(world, claim);
                Some(Launcher::Idle)
            }
            (Action::LauncherDies(_), at) if at != Launcher::Idle => Some(Launcher::Idle),
            _ => None,
        }
    }

    fn delivered(&self, world: &mut World, step: u8) -> Option<Launcher> {
        let pool = self.setup.pool();
        let checks_first = self.protocol == Protocol::CheckBeforeLease;
        if checks_first && matches!(world.step(&self.setup, step)?, StepState::Queued { .. }) {
            let claimable =
                world.fence(&self.setup, step) < self.setup.claims && self.revoked(world).is_none();
            return claimable.then_some(Launcher::Prechecked(step));
        }
        if let Some(claim) = self.claim(world, pool, step) {
            let checked = self.protocol == Protocol::ClaimUnchecked;
            return Some(if checked {
                Launcher::Cleared(claim)
            } else {
                Launcher::Leased(claim)
            });
        }
        // Not to be claimed: the pool's own claim of before, unless it has its task.
        let hold = world
            .hold(&self.setup, step)
            .filter(|hold| hold.handle.is_none())?;
        let claim = Claim {
            step,
            fence: hold.fence.number(),
        };
        let unchecked = matches!(
            self.protocol,
            Protocol::ResumeUnchecked | Protocol::ClaimUnchecked | Protocol::CheckBeforeLease
        );
        Some(if unchecked {
            Launcher::Cleared(claim)
        } else {
            Launcher::Leased(claim)
        })
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
                detail: "refused".to_owned(),
            },
        };
        // What the step machine refuses has been done by somebody else.
        let _ = world.transact(&self.setup, |run| {
            let launched = run.held(step_id, None, fence)?.handle.is_some();
            if launched && self.protocol != Protocol::FailedLaunchEndsOther {
                return Ok(Change::default());
            }
            run.finish(step_id, None, fence, &outcome, PACE, NOW)
        });
    }

    fn attach(&self, world: &mut World, claim: Claim) -> Launcher {
        let Some(step_id) = self.step_id(claim.step) else {
            return Launcher::Idle;
        };
        if self.protocol == Protocol::HandleUnconditional {
            return self.attach_regardless(world, claim);
        }
        let fence = Fence::new(claim.fence);
        match world.transact(&self.setup, |run| {
            run.attach(step_id, fence, handle(claim), NOW)
        }) {
            Ok(_) => Launcher::Idle,
            Err(_) if self.protocol == Protocol::LaunchNotTakenBack => Launcher::Idle,
            Err(_) => Launcher::TakingBack(claim),
        }
    }

    /// Writes the step as the launcher remembers it, with its handle.
    fn attach_regardless(&self, world: &mut World, claim: Claim) -> Launcher {
        let run = world.run.as_ref().map(|document| document.run().clone());
        let parts = run
            .zip(self.step_id(claim.step))
            .zip(self.setup.holders.get(usize::from(self.setup.pool())));
        if let Some(((mut run, step_id), pool)) = parts
            && let Some(step) = run.steps.get_mut(step_id)
        {
            step.state = StepState::Leased(Hold {
                fence: Fence::new(claim.fence),
                holder: pool.worker_id,
                slot: 0,
                executor: Executor::Host,
                since: NOW,
                due: NOW,
                handle: Some(handle(claim)),
                identity: None,
            });
            world.store(run);
        }
        Launcher::Idle
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
            (Action::ObserverReads(_), None)
                if !task.running_seen && task.phase != Phase::Provisioning =>
            {
                match self.start_reads(world, claim, None) {
                    Ok(starting) => world.tasks.get_mut(&claim)?.observing = Some(starting),
                    Err(_) => {
                        // Of a claim that ended well the task is on its way out by itself.
                        if !self.ended_itself(world, claim) {
                            stop(world, claim);
                        }
                        world.tasks.get_mut(&claim)?.running_seen = true;
                    }
                }
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
                let _ = world.transact(&self.setup, |run| {
                    task_ended(run, step_id, claim, task.phase)
                });
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
        let change = match action {
            // ECS shows a task some time after it was asked for it: not found does not mean not
            // there.
            Action::SweepLoses(_) if without_handle => world.transact(&self.setup, |run| {
                run.lose(step_id, fence, RequeueReason::SandboxLost, PACE, NOW)
            }),
            Action::SweepAttaches(_)
                if without_handle && world.tasks.get(&claim).is_some_and(Task::lives) =>
            {
                world.transact(&self.setup, |run| {
                    run.attach(step_id, fence, handle(claim), NOW)
                })
            }
            Action::LeaseExpires(_)
                if hold.is_some_and(|hold| hold.executor == Executor::Worker) =>
            {
                world.transact(&self.setup, |run| {
                    run.lose(step_id, fence, RequeueReason::LeaseExpired, PACE, NOW)
                })
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
                world
                    .transact(&self.setup, |run| run.stopped(step_id))
                    .ok()?;
            }
        }
        Some(())
    }

    /// A pull worker, and the functions that answer it.
    fn pull(&self, world: &mut World, worker: u8, at: Pull, action: Action) -> Option<Pull> {
        match (action, at) {
            (Action::WorkerClaims(_, step), Pull::Idle) => self.worker_claims(world, worker, step),
            (Action::WorkerChecks(_), Pull::Prechecked(step)) => Some(
                self.claim(world, worker, step)
                    .map_or(Pull::Idle, Pull::Granted),
            ),
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
                let starting = self.start_reads(world, claim, Some(worker));
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
                let (step_id, holder) = (self.step_id(claim.step)?, self.worker_id(worker));
                let fence = Fence::new(claim.fence);
                let done = Outcome::Succeeded;
                let _ = world.transact(&self.setup, |run| {
                    run.finish(step_id, holder, fence, &done, PACE, NOW)
                });
                Some(Pull::Idle)
            }
            (Action::WorkerHeartbeat(_), at) => {
                let claim = at.sandbox()?;
                (world.leases.get(&worker) != Some(&claim)).then_some(Pull::Idle)
            }
            (Action::WorkerDies(_), at) if at != Pull::Idle => Some(Pull::Idle),
            _ => None,
        }
    }

    fn worker_claims(&self, world: &mut World, worker: u8, step: u8) -> Option<Pull> {
        match self.protocol {
            Protocol::CheckBeforeLease => {
                let state = world.step(&self.setup, step)?;
                let open =
                    matches!(state, StepState::Queued { .. }) && self.revoked(world).is_none();
                (open && world.fence(&self.setup, step) < self.setup.claims)
                    .then_some(Pull::Prechecked(step))
            }
            Protocol::ClaimUnchecked => self.claim(world, worker, step).map(Pull::Granted),
            _ => self.claim(world, worker, step).map(Pull::Leased),
        }
    }

    /// `Ledger::claim`, up to its transaction.
    fn claim(&self, world: &mut World, holder: u8, step: u8) -> Option<Claim> {
        if world.fence(&self.setup, step) >= self.setup.claims {
            return None;
        }
        let worker = self.setup.holders.get(usize::from(holder))?;
        let step_id = self.step_id(step)?;
        let by = Claimant {
            worker,
            slot: 0,
            executor: self.setup.executor(step),
        };
        let fresh = Fresh::Identity(self.setup.identity.seen_by(None));
        let change = world
            .transact(&self.setup, |run| run.claim(step_id, by, &fresh, PACE, NOW))
            .ok()?;
        change.take.map(|lease| Claim {
            step,
            fence: lease.fence.number(),
        })
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
            world.transact(&self.setup, |run| {
                run.abort_start(step_id, fence, revoked, PACE, NOW)
            })
        } else {
            let failure = Failure::SecretRevoked {
                detail: revoked.to_string(),
            };
            let outcome = Outcome::Failed { failure };
            world.transact(&self.setup, |run| {
                run.finish(step_id, None, fence, &outcome, PACE, NOW)
            })
        };
        !matches!(ended, Err(Refused::Rows | Refused::NoRun))
    }

    /// `Ledger::start`: its reads. The revocations are read after the run, and the transaction
    /// demands that the run is unchanged, so the two reads may count as one, at the time of the
    /// second.
    fn start_reads(
        &self,
        world: &World,
        claim: Claim,
        holder: Option<u8>,
    ) -> Result<Starting, Refused> {
        let read = world.run.clone().ok_or(Refused::NoRun)?;
        let step_id = self.step_id(claim.step).ok_or(Refused::NoRun)?;
        let holder = holder.and_then(|holder| self.worker_id(holder));
        let begins = matches!(
            read.run().step(step_id).map_err(Refused::Rule)?.state,
            StepState::Leased(_)
        );
        // Whoever may not start it may not abort its run either.
        let mut trial = read.run().clone();
        start(&mut trial, step_id, holder, claim).map_err(Refused::Rule)?;
        let begun_under = begins && self.revoked(world).is_some();
        Ok(Starting {
            read,
            revoked: begun_under && self.protocol != Protocol::StartUnchecked,
            begun_under,
        })
    }

    /// `Ledger::start`: its transaction. `None`: the run has changed, it reads again; else whether
    /// the step runs.
    fn start_writes(
        &self,
        world: &mut World,
        claim: Claim,
        holder: Option<u8>,
        starting: &Starting,
    ) -> Option<bool> {
        if world.run.as_ref() != Some(&starting.read) {
            return None;
        }
        let step_id = self.step_id(claim.step)?;
        if starting.revoked {
            // Named by the first row: which revocation it was makes no difference to any step.
            let revoked = starting.read.run().revoked_in_flight(&self.setup.rows)?;
            let fence = Fence::new(claim.fence);
            world
                .transact(&self.setup, |run| {
                    run.abort_start(step_id, fence, revoked, PACE, NOW)
                })
                .ok()?;
            return Some(false);
        }
        let holder = holder.and_then(|holder| self.worker_id(holder));
        let change = world
            .transact(&self.setup, |run| start(run, step_id, holder, claim))
            .ok()?;
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
        &BTreeMap::new(),
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
