//! The promises: what holds in every state, and what some state must show for the model to say
//! anything.

use sealfleet_domain::run::{AbortReason, Failure, StepState};
use stateright::{Model, Property};

use crate::setup::HOLDERS;
use crate::world::{Claim, Claiming, Document, Fault, Launcher, Phase, Pull, Taker, Task, World};
use crate::{Action, Protocol, RevocationModel};

/// What holds in every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Once the fan-out of a hard revocation has finished, no sandbox is let go before a lift.
    NothingLetGo,
    /// When nothing is left to do after a hard revocation, no step is held and no sandbox has the
    /// key.
    NothingLeft,
    /// A claim made while the key is revoked gets no sandbox before a lift.
    NoSandbox,
    /// A start that begins while the key is revoked is not granted.
    NoStart,
    /// An aborted step changes no more.
    AbortIsFinal,
    /// A step is held only while a lease of it is in its holder's slot.
    HoldHasLease,
    /// When nothing is left to do, each lease stands for a hold, or can be taken over.
    LeaseHasHold,
    /// A revocation that was lifted ends nothing that was claimed afterwards.
    LiftHolds,
    /// A step waits only for steps that have not ended, and a run is on record as finished as soon
    /// as all have.
    RunSettles,
    /// The place that a fan-out has stored never moves back.
    GoesForward,
}

impl Promise {
    pub const ALL: [Self; 10] = [
        Self::NothingLetGo,
        Self::NothingLeft,
        Self::NoSandbox,
        Self::NoStart,
        Self::AbortIsFinal,
        Self::HoldHasLease,
        Self::LeaseHasHold,
        Self::LiftHolds,
        Self::RunSettles,
        Self::GoesForward,
    ];

    /// The promise in words; the checker's name for it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NothingLetGo => {
                "once a hard revocation's fan-out has finished, no sandbox is let go"
            }
            Self::NothingLeft => {
                "when all is quiet after a hard revocation, no step is held and no sandbox has the key"
            }
            Self::NoSandbox => "a claim made while the key is revoked gets no sandbox",
            Self::NoStart => "a start that begins while the key is revoked is not granted",
            Self::AbortIsFinal => "an aborted step changes no more",
            Self::HoldHasLease => "a hold never exists without a lease of its step in its slot",
            Self::LeaseHasHold => "when all is quiet, each lease has its hold or can be taken over",
            Self::LiftHolds => "a lifted revocation ends nothing that was claimed after the lift",
            Self::RunSettles => {
                "a step waits only for steps that have not ended, and a run whose steps have all ended is on record as finished"
            }
            Self::GoesForward => "a fan-out never goes back",
        }
    }
}

type Holds = fn(&RevocationModel, &World) -> bool;

/// What some state shows: the model does what it is about.
pub const SEEN: [(&str, Holds); 14] = [
    ("a run without a revocation succeeds", |model, world| {
        world.revoked == 0
            && any_step(model, world, |state| {
                matches!(state, StepState::Succeeded { .. })
            })
    }),
    ("a fan-out aborts a run", |model, world| {
        world.fan_outs.iter().any(|of| of.aborted) && any_step(model, world, aborted_by_revocation)
    }),
    ("a resumed fan-out aborts a run", |_, world| {
        world.fan_outs.iter().any(|of| of.resumed && of.aborted)
    }),
    ("a claim ends its own step", |model, world| {
        any_step(model, world, refused_at_claim)
    }),
    ("a start is refused and its step aborted", |model, world| {
        world.fan_outs.iter().all(|of| !of.aborted) && any_step(model, world, aborted_by_revocation)
    }),
    (
        "a run stored after its key was revoked is refused",
        |model, world| {
            world.lifted == 0 && world.active.is_some() && any_step(model, world, refused_at_claim)
        },
    ),
    ("a lifted key runs again", |_, world| {
        world
            .claimed_after_lift
            .iter()
            .any(|claim| runs(world, *claim))
    }),
    ("a second claim runs", |_, world| {
        sandboxes(world).any(|claim| claim.fence == 2 && runs(world, claim))
    }),
    ("a launch is taken back", |_, world| {
        world
            .launchers
            .iter()
            .any(|launcher| matches!(launcher, Launcher::TakingBack(_)))
    }),
    ("a hold is refused", |_, world| {
        claimings(world).any(|at| matches!(at, Claiming::Refused(..)))
    }),
    ("a worker claims again what it holds", |_, world| {
        claimings(world).any(|at| matches!(at, Claiming::Renewing(_)))
    }),
    ("a lease is left without a hold", |model, world| {
        let left =
            |(holder, row): (&u8, &Claim)| world.hold_of(&model.setup, *holder, row.step).is_none();
        world.releasing.is_empty()
            && claimings(world).next().is_none()
            && world.leases.iter().any(left)
    }),
    ("a take-over makes a claim impossible", |model, world| {
        let fence = |claim: &Claim| world.fence(&model.setup, claim.step);
        let taken = matches!(world.taker, Taker::MayFree(..));
        taken
            && claimings(world).any(|at| {
                matches!(at, Claiming::Put(claim, ..) if fence(claim) == claim.fence
                && matches!(world.step(&model.setup, claim.step), Some(StepState::Queued { .. })))
            })
    }),
    ("a run with several steps finishes", |_, world| {
        let several = |run: &Document| run.run().steps.len() > 1;
        world.finished && world.run.as_ref().is_some_and(several)
    }),
];

impl Model for RevocationModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.setup)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.candidates(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.after(world, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let always = |promise: Promise, holds: Holds| Property::always(promise.text(), holds);
        let promises: [(Promise, Holds); 10] = [
            (Promise::NothingLetGo, |_, world| {
                !world.faults.contains(&Fault::LetGoAfterFanOut)
            }),
            (Promise::NothingLeft, nothing_left),
            (Promise::NoSandbox, |_, world| {
                !world.faults.contains(&Fault::SandboxUnderRevocation)
            }),
            (Promise::NoStart, |_, world| {
                !world.faults.contains(&Fault::StartUnderRevocation)
            }),
            (Promise::AbortIsFinal, |_, world| {
                !world.faults.contains(&Fault::AbortedStepChanged)
            }),
            (Promise::HoldHasLease, hold_has_lease),
            (Promise::LeaseHasHold, lease_has_hold),
            (Promise::LiftHolds, |_, world| {
                !world.faults.contains(&Fault::AbortedAfterLift)
            }),
            (Promise::RunSettles, |_, world| run_settles(world)),
            (Promise::GoesForward, |_, world| {
                !world.faults.contains(&Fault::FanOutWentBack)
            }),
        ];
        let mut properties: Vec<_> = promises
            .into_iter()
            .filter(|(promise, _)| self.only.is_none_or(|only| only == *promise))
            .map(|(promise, holds)| always(promise, holds))
            .collect();
        if self.only.is_none() {
            properties.extend(
                SEEN.iter()
                    .map(|(name, shows)| Property::sometimes(name, *shows)),
            );
        }
        properties
    }
}

fn nothing_left(model: &RevocationModel, world: &World) -> bool {
    let over = world
        .active_fan_out()
        .is_some_and(|fan_out| fan_out.finished);
    let left = sandboxes(world).next().is_some() || world.held(&model.setup).next().is_some();
    !(over && left && model.is_quiet(world))
}

fn hold_has_lease(model: &RevocationModel, world: &World) -> bool {
    let setup = &model.setup;
    world.held(setup).all(|claim| {
        (0..HOLDERS).any(|holder| {
            let row = world.leases.get(&holder);
            world.hold_of(setup, holder, claim.step).is_some()
                && row.is_some_and(|row| row.step == claim.step)
        })
    })
}

/// A lease can be taken over if no heartbeat keeps it up and the step has no hold in its slot. A
/// heartbeat keeps up what has a hold, unless it looks at the lease alone.
fn lease_has_hold(model: &RevocationModel, world: &World) -> bool {
    let setup = &model.setup;
    let sound = world.leases.iter().all(|(holder, row)| {
        let Some(hold) = world.hold_of(setup, *holder, row.step) else {
            let mut own = world.pulls.iter().zip(&setup.pulls);
            let beats = own.any(|(pull, of)| of == holder && pull.sandbox() == Some(*row));
            return !(beats && model.protocol == Protocol::HeartbeatByLease);
        };
        hold.fence.number() == row.fence
    });
    sound || !model.is_quiet(world)
}

fn run_settles(world: &World) -> bool {
    let Some(run) = world.run.as_ref().map(Document::run) else {
        return true;
    };
    let ended = |id| {
        run.steps
            .get(id)
            .is_none_or(|step| step.state.is_terminal())
    };
    let waits = run.steps.values().all(|step| {
        !matches!(step.state, StepState::Blocked) || !step.spec.needs.iter().all(ended)
    });
    waits && run.steps.keys().all(ended) == world.finished
}

/// The claims whose sandbox has, or will have, the key.
fn sandboxes(world: &World) -> impl Iterator<Item = Claim> + '_ {
    let tasks = world
        .tasks
        .iter()
        .filter(|(_, task)| task.lives())
        .map(|(claim, _)| *claim);
    tasks.chain(world.pulls.iter().filter_map(Pull::sandbox))
}

fn runs(world: &World, claim: Claim) -> bool {
    let task = |task: &Task| task.phase == Phase::LetGo;
    world.tasks.get(&claim).is_some_and(task) || world.pulls.contains(&Pull::LetGo(claim))
}

fn any_step(model: &RevocationModel, world: &World, test: fn(&StepState) -> bool) -> bool {
    (0_u8..)
        .zip(&model.setup.steps)
        .any(|(step, _)| world.step(&model.setup, step).is_some_and(test))
}

fn aborted_by_revocation(state: &StepState) -> bool {
    matches!(
        state,
        StepState::Aborted {
            reason: AbortReason::Revoked(_),
            ..
        }
    )
}

fn refused_at_claim(state: &StepState) -> bool {
    matches!(
        state,
        StepState::Failed {
            failure: Failure::SecretRevoked { .. },
            ..
        }
    )
}

fn claimings(world: &World) -> impl Iterator<Item = &Claiming> {
    let launchers = world
        .launchers
        .iter()
        .filter_map(|launcher| match launcher {
            Launcher::Claiming(at) => Some(at),
            _ => None,
        });
    let pulls = world.pulls.iter().filter_map(|pull| match pull {
        Pull::Claiming(at) => Some(at),
        _ => None,
    });
    launchers.chain(pulls)
}
