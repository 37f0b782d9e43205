//! The promises: what holds in every state, and what some state must show for the model to say
//! anything.

use std::collections::BTreeMap;

use sealfleet_domain::run::{AbortReason, Failure, StepState};
use stateright::{Model, Property};

use crate::world::{Claim, Launcher, Phase, Pull, Task};
use crate::world::{Fault, World};
use crate::{Action, RevocationModel};

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
    /// A lease row stands for each live claim, one for each step, and for nothing else.
    OneLease,
    /// A revocation that was lifted ends nothing that was claimed afterwards.
    LiftHolds,
}

impl Promise {
    pub const ALL: [Self; 7] = [
        Self::NothingLetGo,
        Self::NothingLeft,
        Self::NoSandbox,
        Self::NoStart,
        Self::AbortIsFinal,
        Self::OneLease,
        Self::LiftHolds,
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
            Self::OneLease => {
                "each live claim has its lease row, and each lease row its live claim"
            }
            Self::LiftHolds => "a lifted revocation ends nothing that was claimed after the lift",
        }
    }
}

type Holds = fn(&RevocationModel, &World) -> bool;

/// What some state shows: the model does what it is about.
pub const SEEN: [(&str, Holds); 9] = [
    ("a run without a revocation succeeds", |model, world| {
        world.revoked == 0
            && any_step(model, world, |state| {
                matches!(state, StepState::Succeeded { .. })
            })
    }),
    ("a fan-out aborts a run", |model, world| {
        world.fan_outs.iter().any(|of| of.record) && any_step(model, world, aborted_by_revocation)
    }),
    ("a resumed fan-out aborts a run", |_, world| {
        world.fan_outs.iter().any(|of| of.resumed && of.record)
    }),
    ("a claim ends its own step", |model, world| {
        any_step(model, world, refused_at_claim)
    }),
    ("a start is refused and its step aborted", |model, world| {
        world.fan_outs.iter().all(|of| !of.record) && any_step(model, world, aborted_by_revocation)
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
        let mut properties = vec![
            always(Promise::NothingLetGo, |_, world| {
                !world.faults.contains(&Fault::LetGoAfterFanOut)
            }),
            always(Promise::NothingLeft, nothing_left),
            always(Promise::NoSandbox, |_, world| {
                !world.faults.contains(&Fault::SandboxUnderRevocation)
            }),
            always(Promise::NoStart, |_, world| {
                !world.faults.contains(&Fault::StartUnderRevocation)
            }),
            always(Promise::AbortIsFinal, |_, world| {
                !world.faults.contains(&Fault::AbortedStepChanged)
            }),
            always(Promise::OneLease, one_lease),
            always(Promise::LiftHolds, |_, world| {
                !world.faults.contains(&Fault::AbortedAfterLift)
            }),
        ];
        properties.extend(
            SEEN.iter()
                .map(|(name, shows)| Property::sometimes(name, *shows)),
        );
        properties
    }
}

fn nothing_left(model: &RevocationModel, world: &World) -> bool {
    let over = world
        .active_fan_out()
        .is_some_and(|fan_out| fan_out.finished);
    let left = sandboxes(world).next().is_some() || !world.leases.is_empty();
    !(over && left && model.is_quiet(world))
}

fn one_lease(model: &RevocationModel, world: &World) -> bool {
    let claims = (0_u8..).zip(&model.setup.steps).filter_map(|(step, _)| {
        let hold = world.hold(&model.setup, step)?;
        let holder = (0_u8..)
            .zip(&model.setup.holders)
            .find(|(_, holder)| holder.worker_id == hold.holder)?
            .0;
        Some((
            holder,
            Claim {
                step,
                fence: hold.fence.number(),
            },
        ))
    });
    claims.collect::<BTreeMap<_, _>>() == world.leases
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
