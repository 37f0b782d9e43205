//! `sealfleet-worker`: takes steps from its own queue and executes them near the customer's data.
//!
//! A queue message is a hint; the claim decides. Heartbeats keep the lease of a claimed step
//! ([`lease`]), an [`executor`] runs it, and the worker reports its end with the claim's fence
//! ([`step`]). [`worker`] is the loop around them.
//!
//! # What a worker can never do
//! - *Run a step twice.* The worker kills a sandbox when it loses the lease, and when no heartbeat
//!   got through in time, since another worker may hold the lease then. Nothing outlives the
//!   worker.
//! - *Run a command that is not on record.* The command waits until the control plane has accepted
//!   the start.
//! - *See a secret.* `sealfleet-init` resolves secrets inside the sandbox. The files of identity
//!   backends pass through this process as open descriptors that it never reads.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "`console` escapes what a terminal would act on"
)]

pub mod backends;
pub mod check;
pub mod config;
pub mod console;
pub mod control;
pub mod doctor;
pub mod executor;
pub mod guard;
pub mod identity;
pub mod inputs;
pub mod lease;
pub mod outputs;
pub mod queue;
mod random;
pub mod register;
pub mod rootfs;
pub mod sandboxes;
pub mod step;
pub mod telemetry;
pub mod worker;
