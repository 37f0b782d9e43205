//! Identity tokens of steps: this process asks for them in its own name, and hands them on.
//!
//! It holds a token only for as long as it takes to pass it to the sandbox that asks. Whoever has
//! this worker's credential could ask for one, of the steps that the worker holds, at any time.

use std::sync::Arc;
use std::time::Duration;

use sealfleet_channel::{Bearer, NoToken, ToInit};
use sealfleet_client::Code;
use sealfleet_client::types::{AskIdentityToken, Claim, LeaseRef};
use sealfleet_domain::workload::Audience;
use tokio::time::timeout;

use super::short;
use crate::control::ControlPlane;

/// How long the control plane may take. The command may have ended meanwhile, and waits.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Gets tokens that name the step of one claim.
#[derive(Clone)]
pub(super) struct Tokens {
    control: Arc<dyn ControlPlane>,
    claim: LeaseRef,
}

impl Tokens {
    pub(super) fn of(claim: &Claim, control: Arc<dyn ControlPlane>) -> Self {
        Self {
            control,
            claim: LeaseRef {
                run_id: claim.run_id,
                step_id: claim.step_id.clone(),
                fence: claim.fence,
            },
        }
    }

    /// The answer to a sandbox that asks for a token.
    pub(super) async fn answer(&self, audience: Audience) -> ToInit {
        let LeaseRef {
            run_id,
            step_id,
            fence,
        } = self.claim.clone();
        let request = AskIdentityToken {
            run_id,
            step_id,
            fence,
            audience,
        };
        let error = match timeout(ANSWER_TIME, self.control.identity_token(&request)).await {
            Ok(Ok(token)) => {
                return ToInit::Token {
                    token: Bearer(token.token),
                    expires_at: token.expires_at,
                };
            }
            Ok(Err(error)) => error,
            Err(_) => {
                let why = "the control plane does not answer in time";
                return ToInit::NoToken(NoToken::Passing(why.to_owned()));
            }
        };
        let problem = error.problem();
        let why = problem.map_or_else(|| error.to_string(), |problem| problem.detail.clone());
        let why = short(&why);
        let is_early = problem.is_some_and(|problem| problem.code == Code::NotReady);
        ToInit::NoToken(if error.is_passing() || is_early {
            NoToken::Passing(why)
        } else {
            NoToken::Refused(why)
        })
    }
}
