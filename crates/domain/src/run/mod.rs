//! Runs and the step machine.
//!
//! A run is one document, and every transition is a pure function from a document to a [`Change`]:
//! the events that became true, the leases to write or remove, the queue messages to send and the
//! sandboxes to stop. The ledger stores the changed document, the leases and the audit entry in one
//! transaction, conditional on the document's version, so two transitions that read the same
//! version never both happen. What needs the whole picture (a step becomes ready when the last step
//! it needs succeeds) is thereby never decided on half of it.
//!
//! A fence grows with each claim of a step. Whoever acts on a lease names its fence; another fence
//! changes nothing.

mod abort;
mod claim;
mod end;
mod graph;
mod settle;
mod types;

pub use graph::{InvalidGraph, check_graph};
pub use types::{Change, Claimant, Fresh, Lease, LeaseKey, Pace, Refusal, Run, Step};

pub use crate::step::{
    AbortReason, DeadReason, Executor, Failure, Fence, Handle, Hold, Mode, OnDrift, Outcome,
    RequeueReason, RunState, StepSpec, StepState, Stopping,
};

#[cfg(test)]
mod tests;
