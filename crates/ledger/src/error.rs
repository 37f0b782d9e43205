//! Why the ledger did not do what it was asked.

use sealfleet_domain::ProfileRef;
use sealfleet_domain::run::{Failure, Refusal};

/// Why the ledger did not do what it was asked. In each case nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The step machine refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such row in the caller's project.
    #[error("there is no such row")]
    NotFound,
    /// The name or id is taken.
    #[error("the row exists already")]
    Exists,
    /// A profile of a cascade is not there.
    #[error("there is no profile `{0}`")]
    NoProfile(ProfileRef),
    /// The row has another version than the one that was to be replaced.
    #[error("the row has version {0} now")]
    VersionConflict(u32),
    /// Runs in flight use the row.
    #[error("runs in flight use it")]
    InUse,
    /// These keys are revoked already.
    #[error("already revoked: {}", .0.join(", "))]
    AlreadyRevoked(Vec<String>),
    /// There are as many rows of this kind as there may be.
    #[error("there are {0} already, as many as there may be")]
    Full(usize),
    /// The step may not start with what it would see; it has failed for that reason.
    #[error("the step may not start")]
    StartRefused(Failure),
    /// The holder has no free slot.
    #[error("all {0} slots are taken")]
    AtCapacity(u32),
    /// The row is in a state that does not allow this.
    #[error("the row is `{0}`")]
    WrongState(&'static str),
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyMismatch,
    /// The project has called as often as it may.
    #[error("the rate limit is reached; one more is there in {0} seconds")]
    RateLimited(u32),
    /// Others kept changing the same rows.
    #[error("others kept changing the same rows; try again")]
    Contended,
    /// The tables do not answer, or refuse.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// A stored row cannot be read.
    #[error("a stored row cannot be read: {0}")]
    Unreadable(String),
}
