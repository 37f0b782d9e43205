//! Why a handler has no answer: the [`Problem`] that a failure of the ledger, the domain or an
//! adapter is to a caller, so that handlers use `?`.
//!
//! What failed inside is logged with its cause and answered without it.

use sealfleet_api::http::Answer;
use sealfleet_api::{Code, Problem};
use sealfleet_aws::queue_access::NoKey;
use sealfleet_domain::approval::Undecided;
use sealfleet_domain::cascade::CascadeError;
use sealfleet_domain::oidc::Refused;
use sealfleet_domain::profile::InvalidProfile;
use sealfleet_domain::run::{Failure, Refusal};
use sealfleet_domain::workflow::Invalid;
use sealfleet_ledger::Error;

/// Why a handler has no answer.
#[derive(Debug)]
pub struct Fault(Problem);

/// What a handler comes to.
pub type Answered = Result<Answer, Fault>;

impl Fault {
    #[must_use]
    pub const fn code(&self) -> Code {
        self.0.code
    }

    /// The same, about this field of the request.
    #[must_use]
    pub fn at(self, field: impl Into<String>) -> Self {
        Self(Problem {
            field: Some(field.into()),
            ..self.0
        })
    }

    /// A service that refuses, and would refuse the same again until somebody mends the deployment.
    #[must_use]
    pub fn broken(error: &dyn std::fmt::Display, service: &str) -> Self {
        tracing::error!(%error, "{service} refuses");
        let detail = format!(
            "{service} refuses this, and would refuse it again; have an operator read the \
             function's log and mend the deployment"
        );
        Self(Problem::new(Code::Internal, detail))
    }

    /// A service that does not answer.
    #[must_use]
    pub fn unavailable(error: &dyn std::fmt::Display, service: &str) -> Self {
        tracing::error!(%error, "{service} failed");
        let detail = format!("{service} does not answer; nothing was changed, try again");
        Self(Problem::new(Code::Unavailable, detail))
    }
}

impl Fault {
    /// No session for a store, or no answer of it.
    #[must_use]
    pub fn of_key(error: NoKey, store: &str) -> Self {
        match error {
            NoKey::Unavailable(error) => Self::unavailable(&error, store),
            NoKey::Refused(error) => Self::broken(&error, store),
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Fault> for Problem {
    fn from(Fault(problem): Fault) -> Self {
        problem
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self(match error {
            Error::Refused(refusal) => return refusal.into(),
            Error::Undecided(undecided) => return undecided.into(),
            Error::StartRefused(failure) => return failure.into(),
            Error::NotFound => Problem::not_found(),
            Error::Exists => Problem::new(
                Code::AlreadyExists,
                "the name is taken; choose another, or use what has it",
            ),
            Error::Closed => Problem::new(
                Code::ProjectClosed,
                "an operator deletes this project, so it takes no runs, tokens and keys any more",
            ),
            Error::NoProfile(profile) => {
                let detail = format!("there is no profile `{profile}` in your project");
                return Self(Problem::new(Code::NotFound, detail)).at("profile");
            }
            Error::VersionConflict(version) => Problem::new(
                Code::VersionConflict,
                format!(
                    "the current version is {version}; read it again and send `If-Match: \"{version}\"`"
                ),
            ),
            Error::InUse => Problem::new(
                Code::ProfileInUse,
                "runs in flight use this profile; wait for them or cancel them, and try again",
            ),
            Error::AlreadyRevoked(keys) => Problem::new(
                Code::AlreadyRevoked,
                format!(
                    "{} is revoked already, and nothing was changed; leave it out",
                    keys.join(", ")
                ),
            ),
            Error::Full(active) => Problem::new(
                Code::Conflict,
                format!(
                    "there are {active} active revocations, and more would slow down every start; \
                     lift some first"
                ),
            ),
            Error::AtCapacity(slots) => Problem::new(
                Code::AtCapacity,
                format!("the worker holds {slots} steps, its maximum; finish one first"),
            ),
            Error::WrongState(state) => {
                Problem::new(Code::Conflict, format!("it is `{state}` already"))
            }
            Error::TooLarge(most) => Problem::invalid(
                "steps",
                format!(
                    "the steps are larger than {} KiB when packed; shorten commands and variables, or split the run",
                    most / 1024
                ),
            ),
            Error::IdempotencyMismatch => Problem::new(
                Code::IdempotencyMismatch,
                "this idempotency key belongs to another request; use a new key for a new request",
            ),
            Error::RateLimited(seconds) => Problem::rate_limited(
                "rate limit exceeded; retry after the `Retry-After` delay",
                seconds,
            ),
            Error::Contended => Problem::new(
                Code::Unavailable,
                "others are changing the same thing; try again",
            ),
            Error::RowTooLarge => Problem::new(
                Code::BodyTooLarge,
                "what this would store is larger than the 400 KB that a row may have; send less, \
                 or spread it over several",
            ),
            Error::Unavailable(_) => {
                tracing::error!(%error, "the ledger failed");
                Problem::new(
                    Code::Unavailable,
                    "the ledger does not answer; nothing was changed, try again",
                )
            }
            Error::Broken(_) | Error::Unreadable(_) => return Self::broken(&error, "the ledger"),
        })
    }
}

impl From<sealfleet_oidc::Error> for Fault {
    fn from(error: sealfleet_oidc::Error) -> Self {
        Self(match error {
            sealfleet_oidc::Error::Refused(Refused::Token(reason)) => {
                Problem::new(Code::Unauthenticated, reason)
            }
            sealfleet_oidc::Error::Refused(Refused::Claims(reason)) => {
                Problem::new(Code::Forbidden, reason)
            }
            sealfleet_oidc::Error::Unavailable { .. } => Problem::new(
                Code::Unavailable,
                "the JWT's issuer does not answer, so the JWT cannot be verified; try again",
            ),
        })
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::NoSuchStep(_) | Refusal::NoApproval => return Self(Problem::not_found()),
            Refusal::Undecided(undecided) => return undecided.clone().into(),
            Refusal::NotQueued(_) => Code::NotQueued,
            Refusal::Draining => Code::WorkerDraining,
            Refusal::Mismatch(_) => Code::StepMismatch,
            Refusal::StaleFence { .. } => Code::StaleFence,
            Refusal::NotHolder => Code::NotHolder,
            Refusal::EndedOtherwise(_)
            | Refusal::OtherHandle
            | Refusal::NotDead(_)
            | Refusal::AlreadyEnded(_) => Code::Conflict,
        };
        Self(Problem::new(code, refusal.to_string()))
    }
}

/// A step that failed because of what it would have started with.
impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self(match failure {
            Failure::SecretRevoked { detail } => Problem::new(Code::SecretRevoked, detail),
            Failure::ProfileRefused { detail } | Failure::SecretUnavailable { detail, .. } => {
                Problem::new(Code::StartRefused, detail)
            }
            Failure::Drifted { detail } => Problem::new(
                Code::StartRefused,
                format!("what the step would see has changed since it was enqueued: {detail}"),
            ),
            Failure::Exit { .. }
            | Failure::Signal { .. }
            | Failure::CannotExecute { .. }
            | Failure::TimedOut { .. }
            | Failure::OutOfMemory
            | Failure::AgentRateLimited
            | Failure::AgentAuth
            | Failure::AgentContext
            | Failure::AgentNetwork
            | Failure::OverBudget { .. }
            | Failure::OverTurns { .. }
            | Failure::BadResult { .. }
            | Failure::BadArtifacts { .. }
            | Failure::CannotStart { .. } => {
                Problem::new(Code::StartRefused, "the step has failed")
            }
        })
    }
}

impl From<CascadeError> for Fault {
    fn from(error: CascadeError) -> Self {
        let code = match &error {
            CascadeError::NotAllowed { .. } | CascadeError::NotRegistered(_) => Code::ProfileDenied,
            CascadeError::SecretOverride { .. } => Code::SecretOverride,
            CascadeError::Open => Code::ProfileDenied,
            CascadeError::NoSuchSecret { .. }
            | CascadeError::Bound { .. }
            | CascadeError::Egress(_) => {
                return Self(Problem::invalid("profile", error.to_string()));
            }
        };
        Self(Problem::new(code, error.to_string()))
    }
}

impl From<Undecided> for Fault {
    fn from(error: Undecided) -> Self {
        let code = match &error {
            Undecided::Own => Code::OwnApproval,
            Undecided::NoLogin => Code::LoginRequired,
            Undecided::Stale => Code::StaleReview,
            Undecided::Over { .. } => Code::AlreadyDecided,
            Undecided::NoReason => return Self(Problem::invalid("reason", error.to_string())),
        };
        Self(Problem::new(code, error.to_string()))
    }
}

impl From<Invalid> for Fault {
    fn from(error: Invalid) -> Self {
        Self(Problem::invalid(error.field, error.message))
    }
}

impl From<InvalidProfile> for Fault {
    fn from(error: InvalidProfile) -> Self {
        Self(Problem::invalid(error.field, error.message))
    }
}
