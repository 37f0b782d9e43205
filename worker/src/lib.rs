//! `sealfleet-worker`: takes steps from its own queue and executes them near the customer's data.
//!
//! A queue message is a hint; the claim decides. A claimed step is a lease that heartbeats keep
//! ([`lease`]); it is executed by an [`executor`] and its end reported with the claim's fence
//! ([`step`]). [`worker`] holds it together.
//!
//! # What a worker can never do
//! - *Run a step twice.* A sandbox is killed when its lease is not held any more, or may have
//!   passed to another because no heartbeat got through for as long as the lease lasts. Nothing
//!   outlives the worker itself.
//! - *Run a command that is not on record.* The command waits until the control plane has accepted
//!   the start.
//! - *See a secret.* Secrets are resolved by `sealfleet-init` inside the sandbox; the store and its
//!   key pass through this process as open descriptors that it never reads.

pub mod control;
pub mod executor;
pub mod guard;
pub mod lease;
pub mod queue;
mod random;
pub mod register;
pub mod step;
pub mod worker;
