//! The exhaustive model of revocation: every order in which callers, launchers, workers, revokers,
//! `observe` and `sweep` can meet, within stated bounds, is visited, and each promise of
//! `docs/reference/intent-then-check.md` is checked in every state.
//!
//! What moves a run here is what moves it in the product: the functions of
//! [`sealfleet_domain::run::Run`], and [`sealfleet_domain::revocation::revoked`] decides what is
//! revoked. The model adds what surrounds them: which actor calls which function after which read,
//! that a write changes one row and is conditional on the steps that it changes, that reads are
//! consistent, and that every process may die between any two of its steps. Time is left out:
//! whatever waits for a deadline may happen at once or never, which covers every clock.
//!
//! [`Protocol`] names the real order and its mutations. A mutation that breaks no promise would
//! show that the model checks nothing; the tests demand of each one the promise that it breaks.

pub mod action;
pub mod document;
pub mod promises;
pub mod protocol;
pub mod rules;
pub mod setup;
pub mod world;

pub use action::Action;
pub use promises::Promise;
pub use protocol::Protocol;
pub use setup::Setup;
pub use world::World;

/// The model that the checker explores: a setup under a protocol.
#[derive(Clone, Debug)]
pub struct RevocationModel {
    /// Who takes part, and within which bounds.
    pub setup: Setup,
    /// In which order they read and write.
    pub protocol: Protocol,
    /// The one promise to check, up to the first state that breaks it; else all are, in all states.
    pub only: Option<Promise>,
}

impl RevocationModel {
    /// The product's order, in all states.
    pub const fn of(setup: Setup) -> Self {
        Self {
            setup,
            protocol: Protocol::IntentThenCheck,
            only: None,
        }
    }
}
