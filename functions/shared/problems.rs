//! Errors of the ledger and the adapters as callers see them.
//!
//! What failed inside is logged with its cause and answered without it.

use sealfleet_api::{Code, Problem};
use sealfleet_domain::cascade::CascadeError;
use sealfleet_domain::oidc::Refused;
use sealfleet_domain::run::{Failure, Refusal};
use sealfleet_ledger::Error;

/// The problem that a ledger's error is to a caller.
#[must_use]
pub fn of_ledger(error: Error) -> Problem {
    match error {
        Error::Refused(refusal) => of_refusal(&refusal),
        Error::NotFound => Problem::not_found(),
        Error::Exists => Problem::new(
            Code::AlreadyExists,
            "the name is taken; choose another, or use what is there",
        ),
        Error::NoProfile(profile) => {
            let detail = format!("there is no profile `{profile}` in your project");
            Problem {
                field: Some("profile".to_owned()),
                ..Problem::new(Code::NotFound, detail)
            }
        }
        Error::VersionConflict(version) => Problem::new(
            Code::VersionConflict,
            format!(
                "it has version {version} now; read it again and send `If-Match: \"{version}\"`"
            ),
        ),
        Error::InUse => Problem::new(
            Code::ProfileInUse,
            "runs in flight start with this profile; wait for them, or cancel them, and try again",
        ),
        Error::AlreadyRevoked(keys) => Problem::new(
            Code::AlreadyRevoked,
            format!(
                "{} is revoked already, and nothing was changed; leave it out",
                keys.join(", ")
            ),
        ),
        Error::Full(there) => Problem::new(
            Code::Conflict,
            format!(
                "there are {there} active revocations, and more would slow down every start; lift some first"
            ),
        ),
        Error::StartRefused(failure) => of_failure(&failure),
        Error::AtCapacity(slots) => Problem::new(
            Code::AtCapacity,
            format!("the worker holds {slots} steps, as many as it may; finish one first"),
        ),
        Error::WrongState(state) => {
            Problem::new(Code::Conflict, format!("it is `{state}` already"))
        }
        Error::IdempotencyMismatch => Problem::new(
            Code::IdempotencyMismatch,
            "this idempotency key stands for another request; use a new key for a new request",
        ),
        Error::RateLimited(seconds) => {
            Problem::rate_limited("the project has called as often as it may", seconds)
        }
        Error::Contended => Problem::new(
            Code::Unavailable,
            "others are changing the same thing; try again",
        ),
        Error::Unavailable(_) | Error::Unreadable(_) => {
            tracing::error!(%error, "the ledger failed");
            Problem::new(
                Code::Unavailable,
                "the ledger does not answer; nothing was changed, try again",
            )
        }
    }
}

/// The problem of a caller with a JWT that does not come in.
#[must_use]
pub fn of_oidc(error: sealfleet_oidc::Error) -> Problem {
    match error {
        sealfleet_oidc::Error::Refused(Refused::Token(reason)) => {
            Problem::new(Code::Unauthenticated, reason)
        }
        sealfleet_oidc::Error::Refused(Refused::Claims(reason)) => {
            Problem::new(Code::Forbidden, reason)
        }
        sealfleet_oidc::Error::Unavailable { .. } => Problem::new(
            Code::Unavailable,
            "the JWT's issuer does not answer, so nothing can be checked; try again",
        ),
    }
}

/// The problem that a refusal of the step machine is to a caller.
#[must_use]
pub fn of_refusal(refusal: &Refusal) -> Problem {
    let code = match refusal {
        Refusal::NoSuchStep(_) => return Problem::not_found(),
        Refusal::NotQueued(_) => Code::NotQueued,
        Refusal::Mismatch(_) => Code::StepMismatch,
        Refusal::StaleFence { .. } => Code::StaleFence,
        Refusal::NotHolder => Code::NotHolder,
        Refusal::EndedOtherwise(_)
        | Refusal::OtherHandle
        | Refusal::NotDead(_)
        | Refusal::AlreadyEnded(_) => Code::Conflict,
    };
    Problem::new(code, refusal.to_string())
}

/// The problem of a step that failed because of what it would have started with.
#[must_use]
pub fn of_failure(failure: &Failure) -> Problem {
    match failure {
        Failure::SecretRevoked { detail } => Problem::new(Code::SecretRevoked, detail.clone()),
        Failure::ProfileRefused { detail } | Failure::SecretUnavailable { detail } => {
            Problem::new(Code::StartRefused, detail.clone())
        }
        Failure::Drifted { detail } => Problem::new(
            Code::StartRefused,
            format!("what it would see has changed since it was enqueued: {detail}"),
        ),
        Failure::Exit { .. }
        | Failure::Signal { .. }
        | Failure::TimedOut { .. }
        | Failure::OutOfMemory
        | Failure::CannotStart { .. } => Problem::new(Code::StartRefused, "the step has failed"),
    }
}

/// The problem of a cascade that has no outcome.
#[must_use]
pub fn of_cascade(error: &CascadeError) -> Problem {
    let code = match error {
        CascadeError::NotAllowed { .. } => Code::ProfileDenied,
        CascadeError::SecretOverride { .. } => Code::SecretOverride,
    };
    Problem::new(code, error.to_string())
}

/// The problem of a service that does not answer.
#[must_use]
pub fn unavailable(error: &dyn std::fmt::Display, what: &str) -> Problem {
    tracing::error!(%error, "{what} failed");
    Problem::new(
        Code::Unavailable,
        format!("{what} does not answer; nothing was changed, try again"),
    )
}
