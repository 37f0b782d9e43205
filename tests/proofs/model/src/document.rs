//! The generated part of `docs/reference/intent-then-check.md`: what was visited, what each
//! mutation breaks, and how the swapped order goes wrong.

use std::fmt::Write;

use stateright::{Checker, Model, Path};

use crate::action::Process;
use crate::world::{Claiming, Launcher, Paging, Pull, World};
use crate::{Action, Promise, Protocol, RevocationModel, Setup};

/// What stands before the generated part.
pub const BEGIN: &str = "<!-- generated: cargo run -p sealfleet-model -- --write -->";
/// What stands after it.
pub const END: &str = "<!-- end of the generated part -->";

/// A protocol that breaks a promise, and the setup that shows it.
pub struct Breach {
    pub protocol: Protocol,
    pub setup: Setup,
    pub promise: Promise,
}

/// Each mutation, with what it is expected to break.
pub fn breaches() -> Vec<Breach> {
    [
        (
            Protocol::CheckBeforeHold,
            Setup::deliveries(),
            Promise::NothingLetGo,
        ),
        (
            Protocol::CheckBeforeHold,
            Setup::workers(),
            Promise::NoSandbox,
        ),
        (
            Protocol::HoldBeforeLease,
            Setup::deliveries(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::HoldBeforeLease,
            Setup::deliveries(),
            Promise::NothingLeft,
        ),
        (
            Protocol::LeasesBeforeRow,
            Setup::workers(),
            Promise::NothingLeft,
        ),
        (
            Protocol::ClaimUnchecked,
            Setup::deliveries(),
            Promise::NoSandbox,
        ),
        (
            Protocol::ResumeUnchecked,
            Setup::deliveries(),
            Promise::NoSandbox,
        ),
        (Protocol::StartUnchecked, Setup::workers(), Promise::NoStart),
        (
            Protocol::LeaseOverSameStep,
            Setup::deliveries(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::RefusedDeletesByFence,
            Setup::retried_slot(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::LeaseEndsFirst,
            Setup::workers(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::RenewalFreesFirst,
            Setup::one_slot(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::TakeOverUnread,
            Setup::one_slot(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::TakeOverUnread,
            Setup::one_slot(),
            Promise::NothingLetGo,
        ),
        (
            Protocol::TakeOverLeavesFence,
            Setup::one_slot(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::TakeOverByFence,
            Setup::one_slot(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::TakeOverUnconditional,
            Setup::one_slot(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::TakeOverUnconditional,
            Setup::shared_slot(),
            Promise::HoldHasLease,
        ),
        (
            Protocol::HeartbeatByLease,
            Setup::one_slot(),
            Promise::NothingLeft,
        ),
        (
            Protocol::HeartbeatByLease,
            Setup::one_slot(),
            Promise::LeaseHasHold,
        ),
        (
            Protocol::StepUnconditional,
            Setup::workers(),
            Promise::AbortIsFinal,
        ),
        (
            Protocol::StepUnconditional,
            Setup::workers(),
            Promise::NothingLetGo,
        ),
        (Protocol::CountLeftOut, Setup::ends(), Promise::RunSettles),
        (
            Protocol::PlaceBeforeAborts,
            Setup::workers(),
            Promise::NothingLeft,
        ),
        (
            Protocol::PlaceUnconditional,
            Setup::two_pages(),
            Promise::GoesForward,
        ),
        (
            Protocol::FinishEarly,
            Setup::two_partitions(),
            Promise::NothingLetGo,
        ),
        (
            Protocol::FanOutOutlivesLift,
            Setup::deliveries(),
            Promise::LiftHolds,
        ),
        (
            Protocol::RefusalLeavesSandbox,
            Setup::deliveries(),
            Promise::NothingLeft,
        ),
        (
            Protocol::FailedLaunchEndsOther,
            Setup::deliveries(),
            Promise::NothingLeft,
        ),
        (
            Protocol::NoRoomEndsOther,
            Setup::full(),
            Promise::NothingLeft,
        ),
    ]
    .map(|(protocol, setup, promise)| Breach {
        protocol,
        setup,
        promise,
    })
    .into()
}

/// The shortest way to a state that breaks a promise: each step with the states around it. Empty:
/// there is none.
pub fn shortest(breach: &Breach) -> Vec<(World, Action, World)> {
    // With one property and one thread the checker stops at the first state that breaks it, in the
    // order of their distance.
    let model = RevocationModel {
        setup: breach.setup.clone(),
        protocol: breach.protocol,
        only: Some(breach.promise),
    };
    let checker = model.checker().threads(1).spawn_bfs().join();
    let Some(path) = checker.discovery(breach.promise.text()) else {
        return Vec::new();
    };
    steps(path)
}

/// The steps of a path, each with the states around it.
pub fn steps(path: Path<World, Action>) -> Vec<(World, Action, World)> {
    let steps = path.into_vec();
    let after = steps.iter().skip(1).map(|(world, _)| world.clone());
    steps
        .iter()
        .zip(after)
        .filter_map(|((before, action), after)| Some((before.clone(), (*action)?, after)))
        .collect()
}

/// The generated part, without its markers.
pub fn generate() -> String {
    let mut text = "| setup | states | transitions |\n|---|--:|--:|\n".to_owned();
    for setup in Setup::all() {
        let checker = RevocationModel::of(setup.clone())
            .checker()
            .threads(2)
            .spawn_bfs()
            .join();
        text += &size(&setup, checker.unique_state_count(), checker.state_count());
    }
    format!("{text}\n{}", mutations())
}

/// A row of the setups.
pub fn size(setup: &Setup, states: usize, transitions: usize) -> String {
    format!("| {} | {states} | {transitions} |\n", setup.name)
}

/// What each mutation breaks, after how many steps (none: it does not), and one way in words.
pub fn mutations() -> String {
    let mut text =
        "| if | then it is not true that | in setup | after steps |\n|---|---|---|--:|\n"
            .to_owned();
    let mut swapped = Vec::new();
    for breach in breaches() {
        let path = shortest(&breach);
        let (what, promise, setup) = (
            breach.protocol.describe(),
            breach.promise.text(),
            breach.setup.name,
        );
        let _ = writeln!(text, "| {what} | {promise} | {setup} | {} |", path.len());
        if breach.protocol == Protocol::CheckBeforeHold && swapped.is_empty() {
            swapped = path;
        }
    }
    let _ = writeln!(text, "\nThe swapped order, at its shortest:\n");
    for (number, (before, action, after)) in (1..).zip(swapped) {
        let _ = writeln!(text, "{number}. {}", tell(&before, action, &after));
    }
    text
}

/// A document with its generated part replaced. `None`: it has no such part.
pub fn replaced(document: &str, generated: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{generated}\n{END}{after}"))
}

/// A step in words.
fn tell(before: &World, action: Action, after: &World) -> String {
    let text = match action {
        Action::EnqueueChecks => "The caller reads the revocations: none.",
        Action::EnqueueStores => "The caller stores the run: its step is queued.",
        Action::RetryChecks(_) => "The caller reads the revocations before a retry: none.",
        Action::RetryStores => "The caller puts the dead step back.",
        Action::Revokes { hard: true } if after.active.is_some() => {
            "An operator revokes the key, hard: the row is written."
        }
        Action::Revokes { hard: true } => {
            "An operator revokes the key, hard: no row is written yet."
        }
        Action::Revokes { hard: false } => "An operator revokes the key, soft: the row is written.",
        Action::Lifts => "An operator lifts the revocation.",
        Action::FanOutReads(process, partition) => {
            return fan_out_reads(before, after, process, partition);
        }
        Action::FanOutExamines(_) => {
            "The fan-out reads the run, and then that its revocation is active."
        }
        Action::FanOutAborts(_) => "The fan-out aborts the run.",
        Action::FanOutGoesOn(_) => "The fan-out stores its next place.",
        Action::FanOutDies(_) => "The process that works on the fan-out dies.",
        Action::FanOutFinishes(_) => "The fan-out has finished.",
        Action::Delivered(..) => match newest(before, after) {
            Some(Launcher::Claiming(_)) => {
                "A launcher gets the message and reads the run: its step is queued."
            }
            _ => "A launcher gets the message and finds its pool's hold.",
        },
        Action::LauncherClaims(_) => match newest(before, after) {
            Some(Launcher::Claiming(at)) => return format!("The launcher {}", claims(&at)),
            Some(Launcher::Leased(_) | Launcher::Cleared(_)) => "The launcher writes the hold.",
            _ => "The launcher gives the claim up.",
        },
        Action::LauncherChecks(_) => match newest(before, after) {
            Some(Launcher::Cleared(_)) => "The launcher reads the revocations: none.",
            _ => "The launcher reads the revocations, finds the key revoked, and ends its step.",
        },
        Action::Launches(_) => "The launcher asks ECS for the task.",
        Action::LaunchRefused(_) => "ECS refuses the launch.",
        Action::NoRoom(_) => "ECS has no room.",
        Action::Attaches(_) => match newest(before, after) {
            Some(Launcher::TakingBack(_)) => "The launcher's handle is refused.",
            _ => "The launcher stores the task's handle.",
        },
        Action::TakesBack(_) => "The launcher stops the task.",
        Action::LauncherDies(_) => "A launcher dies.",
        Action::TaskStarts(_) => "ECS starts the task, with the key in its environment.",
        Action::TaskAsks(_) if sandbox_runs(after) => {
            "The task asks for its command, and gets it: the key is used."
        }
        Action::TaskAsks(_) => "The task asks for its command, is refused, and ends.",
        Action::TaskExits(_) | Action::WorkerExits(_) => "The command ends.",
        Action::ObserverAsks(_) => {
            "`observe` learns that the task runs, and reads the revocations."
        }
        Action::ObserverReads(_) => "`observe` reads the run.",
        Action::ObserverWrites(_) => "`observe` writes what it found.",
        Action::ObserverDies(_) => "`observe` dies.",
        Action::ObserverSeesStopped(_) => "`observe` learns that the task has stopped.",
        Action::SweepLoses(_) => "`sweep` finds no task: the claim is lost.",
        Action::SweepAttaches(_) => "`sweep` finds the task and stores its handle.",
        Action::SweepStops(_) => "`sweep` stops what is left of an aborted step.",
        Action::LeaseExpires(_) => "The worker's lease runs out.",
        Action::Resends(_) => "`sweep` sends the message of a queued step again.",
        Action::OutlivesItsTime(_) => "The time to live of a queued step is over.",
        Action::LeaseDeleted(..) => "The lease of the ended claim is deleted.",
        Action::LeaseLeft(..) => "The process that was to delete a lease dies.",
        Action::TakerReads(_) => "A take-over reads the lease in its slot.",
        Action::TakerExamines => "The take-over reads the run.",
        Action::TakerFrees => "The take-over frees the slot.",
        Action::TakerDies => "The take-over dies.",
        Action::WorkerClaims(..) => "A worker's claim reads the run.",
        Action::WorkerGoesOn(_) => match moved(before, after) {
            Some(Pull::Claiming(at)) => return format!("The claim {}", claims(&at)),
            Some(Pull::Leased(_) | Pull::Granted(_)) if before.run != after.run => {
                "The claim writes the hold."
            }
            Some(Pull::Leased(_) | Pull::Granted(_)) => "The claim writes the lease.",
            _ => "The claim is given up.",
        },
        Action::WorkerChecks(_)
            if after
                .pulls
                .iter()
                .any(|pull| matches!(pull, Pull::Granted(_))) =>
        {
            "The claim reads the revocations: none."
        }
        Action::WorkerChecks(_) => {
            "The claim reads the revocations, finds the key revoked, and ends the step."
        }
        Action::WorkerPrepares(_) => "The worker's sandbox fetches the key.",
        Action::WorkerStarts(_) => "The worker asks to start: `report` reads the revocations.",
        Action::StartReads(_) => "`report` reads the run.",
        Action::StartWrites { answered: true, .. } => "`report` writes what it found, and answers.",
        Action::StartWrites {
            answered: false, ..
        } => "`report` writes what it found; its answer is lost.",
        Action::WorkerReports(_) => "The worker reports the end: `report` reads the run.",
        Action::EndWrites(_) if before.run == after.run => "The end is refused.",
        Action::EndWrites(_) => "`report` writes the end.",
        Action::WorkerHeartbeat(_) => {
            "The worker's heartbeat finds the claim gone: it kills the sandbox."
        }
        Action::WorkerDies(_) => "The worker dies, and its sandbox with it.",
    };
    text.to_owned()
}

/// What a claim has just done to stand here.
const fn claims(at: &Claiming) -> &'static str {
    match at {
        Claiming::Read(..) | Claiming::Again(..) => "reads the run.",
        Claiming::Put(..) => "writes the lease.",
        Claiming::Checked(..) => "reads the revocations: none.",
        Claiming::Refused(..) => "is refused its hold.",
        Claiming::Renewing(_) => "writes the hold with a new fence.",
        Claiming::Freed(..) => "deletes its lease.",
        Claiming::Unleased(_) => "writes the hold, and no lease yet.",
    }
}

fn fan_out_reads(before: &World, after: &World, process: Process, partition: u8) -> String {
    let of = |world: &World| world.fan_outs.get(usize::from(process.fan_out)).cloned();
    let place = of(before)
        .and_then(|of| of.places.get(usize::from(partition)).copied())
        .unwrap_or_default();
    let reading = |world: &World| {
        let workers = of(world).map(|of| of.workers).unwrap_or_default();
        let reads = |at: &&Paging| matches!(at, Paging::Read(_));
        workers.iter().filter(reads).count()
    };
    let found = if reading(after) > reading(before) {
        "finds the run"
    } else {
        "finds nothing"
    };
    format!("The fan-out reads page {place} of partition {partition}, {found}.")
}

/// The worker that has just moved, as it is now.
fn moved(before: &World, after: &World) -> Option<Pull> {
    let count =
        |world: &World, wanted: &Pull| world.pulls.iter().filter(|of| *of == wanted).count();
    after
        .pulls
        .iter()
        .find(|pull| count(after, pull) > count(before, pull))
        .cloned()
}

/// The launcher that has just moved, as it is now.
fn newest(before: &World, after: &World) -> Option<Launcher> {
    let count = |world: &World, wanted: &Launcher| {
        world.launchers.iter().filter(|of| *of == wanted).count()
    };
    after
        .launchers
        .iter()
        .find(|launcher| count(after, launcher) > count(before, launcher))
        .cloned()
}

fn sandbox_runs(world: &World) -> bool {
    world
        .tasks
        .values()
        .any(|task| task.phase == crate::world::Phase::LetGo)
}

/// The path in words, for the message of a test that fails.
pub fn narrate(path: &[(World, Action, World)]) -> String {
    let told = path
        .iter()
        .map(|(before, action, after)| tell(before, *action, after));
    told.collect::<Vec<_>>().join("\n")
}
