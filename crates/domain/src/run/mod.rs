//! Runs and the step machine.
//!
//! A run is one row, and every transition is a pure function from a run to a [`Change`]: the events
//! that became true, the leases to write or remove, the queue messages to send and the sandboxes to
//! stop. The ledger stores what changed and the events in one conditional write. It requires that
//! what the rule decided on is still so: the steps that changed, how many steps are left, and how
//! many needs a waiting step has left. So transitions of different steps commute, and what needs
//! the whole picture (a step becomes ready when the last step it needs succeeds, a run finishes
//! with its last step) is never decided on half of it.
//!
//! A fence grows with each claim of a step. Whoever acts on a lease names its fence; another fence
//! changes nothing.

mod abort;
mod approval;
mod claim;
mod end;
mod graph;
mod history;
mod settle;
mod types;

pub use claim::SecretsRead;
pub use end::{CameOut, Told, egress_events};
pub use graph::{InvalidGraph, Waits, check_graph};
pub use history::{Attempt, AttemptEnd, attempts};
pub use types::{
    Change, Chosen, Claimant, Fresh, Lease, LeaseKey, Pace, Refusal, Run, Step, is_zero,
};

pub use crate::step::{
    AbortReason, DeadReason, Executor, Failure, Fence, Handle, Hold, Mode, OnDrift, Outcome,
    OutputPlace, RequeueReason, RunState, StartCause, StepSpec, StepState, Stopping,
};

#[cfg(test)]
mod tests;
