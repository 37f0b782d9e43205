//! The generated part of `docs/reference/intent-then-check.md`: what was visited, what each
//! mutation breaks, and how the swapped order goes wrong.

use std::fmt::Write;

use stateright::{Checker, HasDiscoveries, Model};

use crate::world::{Launcher, Pull, World};
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
    let breach = |protocol, setup, promise| Breach {
        protocol,
        setup,
        promise,
    };
    vec![
        breach(
            Protocol::CheckBeforeLease,
            Setup::deliveries(),
            Promise::NothingLetGo,
        ),
        breach(
            Protocol::CheckBeforeLease,
            Setup::workers(),
            Promise::NoSandbox,
        ),
        breach(
            Protocol::LeasesBeforeRow,
            Setup::workers(),
            Promise::NothingLeft,
        ),
        breach(
            Protocol::ClaimUnchecked,
            Setup::deliveries(),
            Promise::NoSandbox,
        ),
        breach(
            Protocol::ResumeUnchecked,
            Setup::deliveries(),
            Promise::NoSandbox,
        ),
        breach(
            Protocol::PlaceBeforeAborts,
            Setup::workers(),
            Promise::NothingLeft,
        ),
        breach(
            Protocol::HandleUnconditional,
            Setup::deliveries(),
            Promise::AbortIsFinal,
        ),
        breach(
            Protocol::HandleUnconditional,
            Setup::deliveries(),
            Promise::OneLease,
        ),
        breach(Protocol::StartUnchecked, Setup::workers(), Promise::NoStart),
        breach(
            Protocol::RefusalLeavesSandbox,
            Setup::deliveries(),
            Promise::NothingLeft,
        ),
        breach(
            Protocol::FailedLaunchEndsOther,
            Setup::deliveries(),
            Promise::NothingLeft,
        ),
        breach(
            Protocol::FanOutOutlivesLift,
            Setup::deliveries(),
            Promise::LiftHolds,
        ),
    ]
}

/// Steps that are tried for a shortest way.
const MOST_STEPS: usize = 30;

/// The shortest way to a state that breaks a promise: each step with the states around it. Empty:
/// there is none.
pub fn shortest(breach: &Breach) -> Vec<(World, Action, World)> {
    // The checker looks at its findings once in a while and keeps the last one, which need not be
    // the nearest: so the depth is raised until there is one. One thread finds the same each time.
    let found = (1..=MOST_STEPS).find_map(|steps| {
        let model = RevocationModel {
            setup: breach.setup.clone(),
            protocol: breach.protocol,
        };
        let wanted = HasDiscoveries::AnyOf([breach.promise.text()].into());
        let checker = model
            .checker()
            .threads(1)
            .finish_when(wanted)
            .target_max_depth(steps + 2)
            .spawn_bfs()
            .join();
        checker.discovery(breach.promise.text())
    });
    let Some(path) = found else { return Vec::new() };
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
    let mut text = String::new();
    let _ = writeln!(text, "| setup | states | transitions |\n|---|--:|--:|");
    for setup in Setup::all() {
        let model = RevocationModel {
            setup,
            protocol: Protocol::IntentThenCheck,
        };
        let name = model.setup.name;
        let checker = model.checker().threads(2).spawn_bfs().join();
        let (states, transitions) = (checker.unique_state_count(), checker.state_count());
        let _ = writeln!(text, "| {name} | {states} | {transitions} |");
    }
    let _ = writeln!(
        text,
        "\n| if | then it is not true that | in setup | after steps |\n|---|---|---|--:|"
    );
    let mut swapped = Vec::new();
    for breach in breaches() {
        let path = shortest(&breach);
        let (what, promise, setup) = (
            breach.protocol.describe(),
            breach.promise.text(),
            breach.setup.name,
        );
        let _ = writeln!(text, "| {what} | {promise} | {setup} | {} |", path.len());
        if breach.protocol == Protocol::CheckBeforeLease && swapped.is_empty() {
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
        Action::FanOutReads(number) => return fan_out_reads(before, after, number),
        Action::FanOutExamines(_) => {
            "The fan-out reads the run, and then that its revocation is active."
        }
        Action::FanOutAborts(_) => "The fan-out aborts the run.",
        Action::FanOutGoesOn(_) => "The fan-out stores its next place.",
        Action::FanOutDies(_) => "The process that works on the fan-out dies.",
        Action::Delivered(..) => match newest(before, after) {
            Some(Launcher::Prechecked(_)) => {
                "A launcher gets the message and reads the revocations: none."
            }
            _ if before.leases == after.leases => {
                "A launcher gets the message and finds its pool's lease."
            }
            _ => "A launcher gets the message and writes the lease.",
        },
        Action::LauncherChecks(_) if before.leases.len() < after.leases.len() => {
            "The launcher writes the lease."
        }
        Action::LauncherChecks(_) => match newest(before, after) {
            Some(Launcher::Cleared(_)) => "The launcher reads the revocations: none.",
            _ => "The launcher reads the revocations, finds the key revoked, and ends its step.",
        },
        Action::Launches(_) => "The launcher asks ECS for the task.",
        Action::LaunchRefused(_) => "ECS refuses the launch.",
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
        Action::ObserverReads(_) => {
            "`observe` learns that the task runs, and reads the run and the revocations."
        }
        Action::ObserverWrites(_) => "`observe` writes what it found.",
        Action::ObserverDies(_) => "`observe` dies.",
        Action::ObserverSeesStopped(_) => "`observe` learns that the task has stopped.",
        Action::SweepLoses(_) => "`sweep` finds no task: the claim is lost.",
        Action::SweepAttaches(_) => "`sweep` finds the task and stores its handle.",
        Action::SweepStops(_) => "`sweep` stops what is left of an aborted step.",
        Action::LeaseExpires(_) => "The worker's lease runs out.",
        Action::WorkerClaims(..) if before.leases == after.leases => {
            "A worker's claim reads the revocations: none."
        }
        Action::WorkerClaims(..) => "A worker's claim writes the lease.",
        Action::WorkerChecks(_) if before.leases.len() < after.leases.len() => {
            "The claim writes the lease."
        }
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
        Action::WorkerStarts(_) => {
            "The worker asks to start: `report` reads the run and the revocations."
        }
        Action::StartWrites { answered: true, .. } => "`report` writes what it found, and answers.",
        Action::StartWrites {
            answered: false, ..
        } => "`report` writes what it found; its answer is lost.",
        Action::WorkerReports(_) => "The worker reports the end.",
        Action::WorkerHeartbeat(_) => {
            "The worker's heartbeat finds the lease gone: it kills the sandbox."
        }
        Action::WorkerDies(_) => "The worker dies, and its sandbox with it.",
    };
    text.to_owned()
}

fn fan_out_reads(before: &World, after: &World, number: u8) -> String {
    let of = |world: &World| {
        world
            .fan_outs
            .get(usize::from(number))
            .map(|of| (of.next, of.finished))
    };
    let (place, _) = of(before).unwrap_or_default();
    let found = if before.leases.contains_key(&place) {
        "finds the run"
    } else {
        "finds nothing"
    };
    let end = if of(after).is_some_and(|(_, finished)| finished) {
        ", and has finished"
    } else {
        ""
    };
    format!("The fan-out reads the leases of partition {place}, {found}{end}.")
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
        .copied()
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
