//! The steps that actors take. Each is one write, one read, or one call, and may be the last
//! that a process does.

use crate::world::Claim;

/// One process that works on a fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub fan_out: u8,
    pub worker: u8,
}

/// A step of an actor. Fan-outs, launchers and workers are numbered from 0, and told from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The caller reads the revocations before it enqueues.
    EnqueueChecks,
    /// The caller stores the run.
    EnqueueStores,
    /// The caller reads the revocations before it puts back a dead step.
    RetryChecks(u8),
    /// The caller puts the dead step back.
    RetryStores,
    /// An operator revokes the key: the row, and a fan-out if hard.
    Revokes {
        /// Whether it also ends what is in flight.
        hard: bool,
    },
    /// An operator lifts the revocation.
    Lifts,
    /// The fan-out's worker reads the next page of a partition.
    FanOutReads(Process, u8),
    /// It reads the run, then whether its revocation is still active.
    FanOutExamines(Process),
    /// It aborts the run, if it still is as it was read.
    FanOutAborts(Process),
    /// It stores the next place of the partition.
    FanOutGoesOn(Process),
    FanOutDies(Process),
    /// It stores that the fan-out has finished.
    FanOutFinishes(u8),
    /// A queue message reaches `dispatch`, once more or for the first time. It reads the run: to
    /// claim the step, or to go on with the pool's own hold.
    Delivered(u8, u8),
    /// The next write of the launcher's claim.
    LauncherClaims(u8),
    /// The launcher reads the revocations, and ends its step if the key is revoked.
    LauncherChecks(u8),
    /// The launcher asks ECS for the task.
    Launches(u8),
    /// ECS refuses the launch: the launcher ends the step.
    LaunchRefused(u8),
    /// ECS has no room: the launcher puts the step back.
    NoRoom(u8),
    /// The launcher stores the task's handle.
    Attaches(u8),
    /// The launcher stops what it started.
    TakesBack(u8),
    LauncherDies(u8),
    /// ECS starts the task, with the key in its environment.
    TaskStarts(Claim),
    /// The task's init asks for its command.
    TaskAsks(Claim),
    TaskExits(Claim),
    /// `observe` learns that the task runs: reads the revocations.
    ObserverAsks(Claim),
    /// `observe` reads the run.
    ObserverReads(Claim),
    /// `observe` writes the start, or the abort, if the run still is as it was read.
    ObserverWrites(Claim),
    /// `observe` dies.
    ObserverDies(Claim),
    /// `observe` learns that the task has stopped.
    ObserverSeesStopped(Claim),
    /// `sweep` finds no task for a claim without a handle.
    SweepLoses(u8),
    /// `sweep` finds the task of a claim without a handle.
    SweepAttaches(u8),
    /// `sweep` stops what an aborted step has left, and notes when it is gone.
    SweepStops(u8),
    /// `sweep` finds a worker's lease to have run out.
    LeaseExpires(u8),
    /// `sweep` sends the message of a queued step again.
    Resends(u8),
    /// `sweep` finds the time to live of a queued step to be over.
    OutlivesItsTime(u8),
    /// Whoever has ended a claim deletes its lease, if it still is that one.
    LeaseDeleted(u8, Claim),
    /// That process dies before.
    LeaseLeft(u8, Claim),
    /// Somebody who needs a slot reads the lease in it.
    TakerReads(u8),
    /// It reads the run: the claim has no hold, and gets none any more.
    TakerExamines,
    /// It frees the slot.
    TakerFrees,
    TakerDies,
    /// `claim` reads the run for a worker.
    WorkerClaims(u8, u8),
    /// The next write of the worker's claim.
    WorkerGoesOn(u8),
    /// `claim` reads the revocations for the worker, and ends the step if the key is revoked.
    WorkerChecks(u8),
    /// The worker's sandbox starts and fetches the key.
    WorkerPrepares(u8),
    /// The worker asks to start: `report` reads the revocations.
    WorkerStarts(u8),
    /// `report` reads the run.
    StartReads(u8),
    /// `report` writes the start, or the abort, if the run still is as it was read.
    StartWrites {
        worker: u8,
        /// Whether the answer reaches it.
        answered: bool,
    },
    WorkerExits(u8),
    /// The worker reports the end: `report` reads the run.
    WorkerReports(u8),
    /// `report` writes the end, if the run still is as it was read.
    EndWrites(u8),
    /// The worker's heartbeat finds its claim gone: it kills the sandbox.
    WorkerHeartbeat(u8),
    /// The worker dies, and its sandbox with it.
    WorkerDies(u8),
}

impl Action {
    /// Whether it happens sooner or later unless something makes it needless: what must be done
    /// before a state is quiet. The others are choices and accidents.
    pub const fn is_due(self) -> bool {
        match self {
            Self::EnqueueChecks
            | Self::RetryChecks(_)
            | Self::Revokes { .. }
            | Self::Lifts
            | Self::FanOutDies(_)
            | Self::LauncherDies(_)
            | Self::LaunchRefused(_)
            | Self::NoRoom(_)
            | Self::LeaseLeft(..)
            | Self::TakerReads(_)
            | Self::TakerExamines
            | Self::TakerFrees
            | Self::TakerDies
            | Self::Resends(_)
            | Self::OutlivesItsTime(_)
            | Self::TaskExits(_)
            | Self::ObserverDies(_)
            | Self::LeaseExpires(_)
            | Self::StartWrites {
                answered: false, ..
            }
            | Self::WorkerExits(_)
            | Self::WorkerDies(_) => false,
            Self::EnqueueStores
            | Self::RetryStores
            | Self::FanOutReads(..)
            | Self::FanOutExamines(_)
            | Self::FanOutAborts(_)
            | Self::FanOutGoesOn(_)
            | Self::FanOutFinishes(_)
            | Self::Delivered(..)
            | Self::LauncherClaims(_)
            | Self::LauncherChecks(_)
            | Self::LeaseDeleted(..)
            | Self::Launches(_)
            | Self::Attaches(_)
            | Self::TakesBack(_)
            | Self::TaskStarts(_)
            | Self::TaskAsks(_)
            | Self::ObserverAsks(_)
            | Self::ObserverReads(_)
            | Self::ObserverWrites(_)
            | Self::ObserverSeesStopped(_)
            | Self::SweepLoses(_)
            | Self::SweepAttaches(_)
            | Self::SweepStops(_)
            | Self::WorkerClaims(..)
            | Self::WorkerGoesOn(_)
            | Self::WorkerChecks(_)
            | Self::WorkerPrepares(_)
            | Self::WorkerStarts(_)
            | Self::StartReads(_)
            | Self::StartWrites { answered: true, .. }
            | Self::WorkerReports(_)
            | Self::EndWrites(_)
            | Self::WorkerHeartbeat(_) => true,
        }
    }
}
