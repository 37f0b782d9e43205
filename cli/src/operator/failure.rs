//! Why a command failed, and the exit code for it.

use std::process::ExitCode;

use sealfleet_client::Error;
use serde_json::{Value, json};

use crate::contexts;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or an input file is wrong.
    #[error("{0}")]
    Usage(String),
    /// The API refused the request or could not be reached.
    #[error(transparent)]
    Client(#[from] Error),
    /// The API refused the request; the text explains it in this command's terms.
    #[error("{0}")]
    Refused(String),
    /// `sealfleet prove`: something that is promised does not hold.
    #[error("{0}")]
    Broken(String),
    /// `sealfleet prove`: nothing is known to be broken, and not everything was tried.
    #[error("{0}")]
    Untried(String),
    /// `run exec`: the command, or what stood before it, has failed.
    #[error("{said}")]
    Ended { code: u8, said: String },
    /// A failure of one item among several, prefixed with its name.
    #[error("{0}: {1}")]
    About(String, Box<Self>),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<contexts::Error> for Failure {
    fn from(error: contexts::Error) -> Self {
        Self::usage(error)
    }
}

impl Failure {
    /// 2 for wrong usage, 3 when the API refused, 4 and 5 for what `prove` found, for `run exec`
    /// what its help says, 1 for any other failure.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Client(Error::Address { .. }) => 2,
            Self::Client(Error::Problem(problem)) if (400..500).contains(&problem.status) => 3,
            Self::Client(Error::Unreadable {
                status: 400..=499, ..
            })
            | Self::Refused(_) => 3,
            Self::Broken(_) => 4,
            Self::Untried(_) => 5,
            Self::Ended { code, .. } => *code,
            Self::About(_, failure) => failure.code(),
            Self::Client(_) | Self::Other(_) => 1,
        }
    }

    /// Prefixes the failure with the name of the item that failed.
    pub(super) fn about(self, what: impl Into<String>) -> Self {
        Self::About(what.into(), Box::new(self))
    }

    /// The failure as an RFC 9457 problem, for `--output json`: the API's own, or one of this
    /// program with a code for the exit code: `usage`, `refused`, `broken`,
    /// `untried` or `failed`.
    pub(super) fn problem(&self) -> Value {
        if let Self::Client(Error::Problem(problem)) = self {
            return json!(problem);
        }
        if let Self::Ended { code, said } = self {
            let title = "The command did not succeed.";
            return json!({
                "type": "about:blank", "title": title, "detail": said, "code": "ended", "exit_code": code
            });
        }
        let (code, title) = match self.code() {
            2 => ("usage", "The command line or an input file is wrong."),
            3 => ("refused", "The control plane refused the request."),
            4 => ("broken", "Something that is promised does not hold."),
            5 => ("untried", "Not everything was tried."),
            _ => ("failed", "The command failed."),
        };
        json!({ "type": "about:blank", "title": title, "detail": self.to_string(), "code": code })
    }

    /// Turns any error into [`Failure::Usage`].
    pub(super) fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    /// Turns any error into [`Failure::Other`].
    pub(super) fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealfleet_client::{Code, Problem};

    #[test]
    fn exit_codes_tell_refusals_from_failures() {
        let problem = |code| Failure::Client(Error::Problem(Problem::new(code, "no"))).code();
        assert_eq!(
            (
                problem(Code::NotFound),
                problem(Code::StaleFence),
                problem(Code::Unavailable)
            ),
            (3, 3, 1)
        );
        assert_eq!(
            (
                Failure::Usage(String::new()).code(),
                Failure::Other(String::new()).code()
            ),
            (2, 1)
        );
        assert_eq!(
            (
                Failure::Broken(String::new()).code(),
                Failure::Untried(String::new()).code()
            ),
            (4, 5)
        );
        let refused = Failure::Refused("no".to_owned()).about("profile `crm`");
        assert_eq!(
            (refused.code(), refused.to_string().as_str()),
            (3, "profile `crm`: no")
        );
    }
}
