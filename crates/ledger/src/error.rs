//! Why an operation of the ledger failed.

use sealfleet_domain::ProfileRef;
use sealfleet_domain::approval::Undecided;
use sealfleet_domain::run::{Failure, Refusal};

use crate::store::ReadError;

/// Why an operation of the ledger failed. In each case nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The step machine refuses the transition.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller's project has no such row.
    #[error("no such row")]
    NotFound,
    #[error("the row exists already")]
    Exists,
    #[error("the project is closed")]
    Closed,
    /// A profile that the cascade names does not exist.
    #[error("there is no profile `{0}`")]
    NoProfile(ProfileRef),
    /// The row has another version than the one to replace.
    #[error("the row now has version {0}")]
    VersionConflict(u32),
    #[error("runs in flight use it")]
    InUse,
    #[error("already revoked: {}", .0.join(", "))]
    AlreadyRevoked(Vec<String>),
    /// The most rows of this kind exist already.
    #[error("the limit of {0} is reached")]
    Full(usize),
    /// The step may not start because of what it would see. It has failed for this reason.
    #[error("the step may not start")]
    StartRefused(Failure),
    #[error("all {0} slots are taken")]
    AtCapacity(u32),
    /// A decision does not count.
    #[error(transparent)]
    Undecided(#[from] Undecided),
    #[error("the row is `{0}`")]
    WrongState(&'static str),
    /// The number is the most bytes, packed.
    #[error("the run's steps are larger than {0} bytes when packed")]
    TooLarge(usize),
    #[error("the idempotency key was used with another request")]
    IdempotencyMismatch,
    /// The project's rate limit is exhausted; the number is the seconds until the next permit.
    #[error("the rate limit is reached; try again in {0} seconds")]
    RateLimited(u32),
    /// Other writers kept changing the same rows.
    #[error("other writers kept changing the same rows; try again")]
    Contended,
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// The tables refused, and would refuse the same again.
    #[error("the ledger refuses: {0}")]
    Broken(String),
    #[error("a row would be larger than a table allows")]
    RowTooLarge,
    #[error("a stored row cannot be read: {0}")]
    Unreadable(String),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(detail) => Self::Unavailable(detail),
            ReadError::Refused(detail) => Self::Broken(detail),
        }
    }
}
