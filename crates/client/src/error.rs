//! Why an operation has no answer. No error can hold the credential: it is only ever in a request's
//! header.

use sealfleet_api::Problem;

/// Why an operation has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused the request.
    #[error("{0}")]
    Problem(Problem),
    /// No answer arrived. The request may have been carried out nevertheless.
    #[error("the control plane does not answer: {}", cause(.0))]
    Transport(#[source] reqwest::Error),
    /// An answer arrived that does not come from this API.
    #[error("the control plane's answer (HTTP {status}) cannot be read: {reason}")]
    Unreadable { status: u16, reason: String },
    /// The client cannot use this address or this credential.
    #[error("the API's address `{url}` cannot be used: {reason}")]
    Address { url: String, reason: String },
}

impl Error {
    #[must_use]
    pub const fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// The HTTP status of the answer, if one arrived.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            Self::Unreadable { status, .. } => Some(*status),
            Self::Transport(_) | Self::Address { .. } => None,
        }
    }

    /// Whether the same request may succeed later: the control plane was not reached, is busy, or
    /// failed internally.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Problem(problem) => is_passing(problem.status),
            Self::Transport(_) => true,
            Self::Unreadable { status, .. } => is_passing(*status),
            Self::Address { .. } => false,
        }
    }
}

pub(crate) const fn is_passing(status: u16) -> bool {
    status == 429 || status >= 500
}

/// The innermost cause says what happened ("connection refused"); the outer ones repeat the
/// address.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let place = error
        .url()
        .and_then(reqwest::Url::host_str)
        .unwrap_or("unknown host");
    if error.is_timeout() {
        format!("{place}: no answer in time")
    } else {
        format!("{place}: {innermost}")
    }
}
