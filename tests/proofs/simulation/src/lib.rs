//! The handlers in a world that goes wrong on purpose.
//!
//! The real handlers run over in-memory ports, one step at a time, in an order that a seed decides.
//! Calls fail, are throttled, take effect and lose their answer; invocations die between any two
//! awaits; messages and events are lost, doubled and reordered; clocks jump. Two or three projects
//! stand side by side, and in some worlds one of them floods the due index. After every effect the
//! invariants are checked, and at the end of each seed `sweep` alone must bring all of it to its
//! end. A seed that fails fails again: `simulate --seed N --print` shows how.
//!
//! ```text
//! simulation   one seed: `director` plays, `epilogue` concludes
//! invariants   judge every effect, with `isolation`, `access`, `approvals`, `revocations`,
//!              `lateness`, `exported`
//! stage        the shared world and its turns, of `tests/support/fakes`
//! callers pull fargate   the turns of those around the handlers;  requests: what callers send
//! workers      pull workers;  seeds: those that once failed, and playing many
//! ```

pub use sealfleet_test_fakes::{
    archive, ecs, handlers, memory, ports, queues, random, sabotage, temper, time,
};

/// The stage, with the invariants as its judge.
pub mod stage {
    use crate::invariants::Invariants;

    pub use sealfleet_test_fakes::stage::{
        Access, Actor, Fault, Judge, LaunchVerdict, Moment, Record, Subject, Verdict,
    };

    /// The world of a play.
    pub type World = sealfleet_test_fakes::stage::World<Invariants>;
    pub type Stage = sealfleet_test_fakes::stage::Stage<Invariants>;
}

pub mod access;
pub mod approvals;
pub mod callers;
pub mod director;
pub mod epilogue;
pub mod exported;
pub mod fargate;
pub mod invariants;
pub mod isolation;
pub mod lateness;
pub mod onboarding;
pub mod pull;
pub mod requests;
pub mod revocations;
pub mod seeds;
pub mod simulation;
pub mod workers;
