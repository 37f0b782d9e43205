//! Approvals: something waits until somebody else has looked at it.
//!
//! All approvals are alike, whatever waits: `pending`, then `approved`, `denied`, `expired` or
//! `cancelled`.
//! Nobody decides on a request of their own. A denial says why. Who approves names the state in
//! which they saw it, as a review token; if anything that it is a hash of has changed, they look
//! again. The first decision holds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::access::is_login;
use crate::audit::{Event, Text};
use crate::clock::Timestamp;
use crate::hash::ContentHash;
use crate::ids::{RunId, WorkerId};
use crate::names::{StepId, WorkflowName};

/// What waits for a decision. It names the approval: `workflow:NAME@VERSION`, `worker:ID` or
/// `step:RUN:STEP`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApprovalId {
    /// A version of a registered workflow.
    Workflow {
        workflow: WorkflowName,
        version: u32,
    },
    /// A worker that registered without an enrolment key.
    Worker { worker_id: WorkerId },
    /// A step of a run.
    Step { run_id: RunId, step_id: StepId },
}

impl ApprovalId {
    /// What kind of thing waits.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Workflow { .. } => "workflow",
            Self::Worker { .. } => "worker",
            Self::Step { .. } => "step",
        }
    }
}

/// A text that names no approval.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no approval; one looks like `workflow:NAME@VERSION`, `worker:ID` or `step:RUN:STEP`"
)]
pub struct InvalidApproval(String);

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workflow { workflow, version } => write!(f, "workflow:{workflow}@{version}"),
            Self::Worker { worker_id } => write!(f, "worker:{worker_id}"),
            Self::Step { run_id, step_id } => write!(f, "step:{run_id}:{step_id}"),
        }
    }
}

impl fmt::Debug for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ApprovalId {
    type Err = InvalidApproval;

    fn from_str(text: &str) -> Result<Self, InvalidApproval> {
        let invalid = || InvalidApproval(text.chars().take(64).collect());
        let (kind, name) = text.split_once(':').ok_or_else(invalid)?;
        let id = match kind {
            "workflow" => {
                let (workflow, version) = name.split_once('@').ok_or_else(invalid)?;
                Self::Workflow {
                    workflow: workflow.parse().map_err(|_| invalid())?,
                    version: version.parse().map_err(|_| invalid())?,
                }
            }
            "worker" => Self::Worker {
                worker_id: name.parse().map_err(|_| invalid())?,
            },
            "step" => {
                let (run_id, step_id) = name.split_once(':').ok_or_else(invalid)?;
                Self::Step {
                    run_id: run_id.parse().map_err(|_| invalid())?,
                    step_id: step_id.parse().map_err(|_| invalid())?,
                }
            }
            _ => return Err(invalid()),
        };
        // A number has other spellings, such as `01` and `+1`. An approval has one name.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(invalid())
        }
    }
}

impl Serialize for ApprovalId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApprovalId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Waits for a decision.
    Pending,
    /// As many have approved as must.
    Approved,
    /// Somebody has denied.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// What waited is not there any more.
    Cancelled,
}

impl ApprovalState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What somebody says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Approve,
    Deny,
}

/// What somebody has said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Decision {
    pub verdict: Verdict,
    /// Who, as `kind:id`.
    pub by: String,
    /// The login behind it, if `by` is a token that a login made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    pub at: Timestamp,
}

/// A request that somebody else decides on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Approval {
    /// What waits.
    pub approval: ApprovalId,
    pub state: ApprovalState,
    /// SHA-256 of what waits.
    pub request: ContentHash,
    /// Who asked, as `kind:id`.
    pub requested_by: String,
    /// The login behind it, if who asked is a token that a login made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    pub requested_at: Timestamp,
    /// How many have to approve.
    pub approvers: u32,
    /// Whether only logins decide.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub logins_only: bool,
    /// When it expires, unless it is decided by then. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decide_by: Option<Timestamp>,
    /// What has been said so far, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
}

/// Why a decision does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// Who asked cannot decide.
    #[error("you asked for this approval, and somebody else has to decide")]
    Own,
    /// Nobody knows whose token it is.
    #[error(
        "only who has logged in may do this, and nobody with a token: log in at an issuer that the deployment trusts"
    )]
    NoLogin,
    /// Something has changed since.
    #[error(
        "something has changed since you looked: the request, a profile, a revocation or the project; look again, and send the new `review_token`"
    )]
    Stale,
    /// A denial does not say why.
    #[error("say why, for whoever asked")]
    NoReason,
    /// Somebody has decided, or the request is gone.
    #[error("{}", already(.state, .first))]
    Over {
        state: ApprovalState,
        first: Option<Decision>,
    },
}

/// Who is behind a caller: a login and the tokens that it made are one person.
fn person<'a>(actor: &'a str, login: Option<&'a str>) -> &'a str {
    login.unwrap_or(actor)
}

fn already(state: &ApprovalState, first: &Option<Decision>) -> String {
    let is = format!("it is {} already", state.name());
    let Some(Decision { by, at, reason, .. }) = first else {
        return is;
    };
    let why = reason
        .as_ref()
        .map(|reason| format!(": {}", reason.as_str()));
    format!("{is}, by {by} at {at}{}", why.unwrap_or_default())
}

impl Approval {
    /// Takes a decision. `seen` is whether whoever approves saw what is there now. Returns whether
    /// anything changed: the same decision of the same person counts once. A login and the tokens
    /// that it made are one person. One that comes too late
    /// does not count, whether or not anybody has noted yet that the request has expired.
    ///
    /// # Errors
    /// [`Undecided`].
    pub fn decide(&mut self, decision: Decision, seen: bool) -> Result<bool, Undecided> {
        let who = person(&decision.by, decision.login.as_deref());
        let same = |made: &Decision| {
            made.verdict == decision.verdict && person(&made.by, made.login.as_deref()) == who
        };
        if self.decisions.iter().any(same) {
            return Ok(false);
        }
        let mut at = self.clone();
        at.expire(decision.at);
        if at.state != ApprovalState::Pending {
            return Err(Undecided::Over {
                state: at.state,
                first: self.decisions.last().cloned(),
            });
        }
        if who == person(&self.requested_by, self.login.as_deref()) {
            return Err(Undecided::Own);
        }
        if self.logins_only && !is_login(&decision.by) {
            return Err(Undecided::NoLogin);
        }
        match decision.verdict {
            Verdict::Approve if !seen => return Err(Undecided::Stale),
            Verdict::Deny if decision.reason.is_none() => return Err(Undecided::NoReason),
            Verdict::Deny => self.state = ApprovalState::Denied,
            Verdict::Approve => {
                if self.missing() == 1 {
                    self.state = ApprovalState::Approved;
                }
            }
        }
        self.decisions.push(decision);
        Ok(true)
    }

    /// The request, as the trail tells it.
    #[must_use]
    pub fn requested(&self) -> Event {
        Event::ApprovalRequested {
            approval: self.approval.clone(),
            request: self.request,
            approvers: self.approvers,
            decide_by: self.decide_by,
        }
    }

    /// A decision on it, as the trail tells it.
    #[must_use]
    pub fn said(&self, decision: &Decision) -> Event {
        let approval = self.approval.clone();
        let reason = decision.reason.clone();
        match decision.verdict {
            Verdict::Approve => Event::ApprovalApproved {
                approval,
                missing: self.missing(),
                reason,
            },
            Verdict::Deny => Event::ApprovalDenied {
                approval,
                reason: reason.unwrap_or_else(|| "".into()),
            },
        }
    }

    /// Ends it if its time is over. Returns what the trail tells of that.
    pub fn expire(&mut self, now: Timestamp) -> Option<Event> {
        let over = self.decide_by.is_some_and(|until| until <= now);
        if self.state != ApprovalState::Pending || !over {
            return None;
        }
        self.state = ApprovalState::Expired;
        Some(Event::ApprovalExpired {
            approval: self.approval.clone(),
        })
    }

    /// Ends it if it is undecided: what waits is taken back. Returns what the trail tells of that.
    pub fn cancel(&mut self) -> Option<Event> {
        if self.state != ApprovalState::Pending {
            return None;
        }
        self.state = ApprovalState::Cancelled;
        Some(Event::ApprovalCancelled {
            approval: self.approval.clone(),
        })
    }

    /// How many have yet to approve.
    #[must_use]
    pub fn missing(&self) -> u32 {
        let made = u32::try_from(self.decisions.len()).unwrap_or(u32::MAX);
        self.approvers.saturating_sub(made)
    }
}

/// That a step needs an approval before it is queued, as its caller writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Needed {
    /// Somebody else than who enqueues the run has to approve it.
    Required,
}

/// Who asks for an approval, and who may decide. A run keeps it for its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// Who, as `kind:id`.
    pub actor: String,
    /// The login behind it, if it is a token that a login made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// How many have to approve each.
    pub approvers: u32,
    /// Whether only logins decide.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub logins_only: bool,
}

impl Asker {
    /// The request of this caller for an approval.
    #[must_use]
    pub fn asks(
        self,
        approval: ApprovalId,
        request: ContentHash,
        at: Timestamp,
        decide_by: Timestamp,
    ) -> Approval {
        let Self {
            actor,
            login,
            approvers,
            logins_only,
        } = self;
        Approval {
            approval,
            state: ApprovalState::Pending,
            request,
            requested_by: actor,
            login,
            requested_at: at,
            approvers,
            logins_only,
            decide_by: Some(decide_by),
            decisions: Vec::new(),
        }
    }
}

/// How a project decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Governance {
    /// Whether its runs are those of registered workflows only.
    pub require_registered_workflows: bool,
    /// How many must approve a request: 1 or 2.
    pub approvers: u32,
    /// Whether only callers who have logged in at an issuer decide: nobody knows who holds a token.
    #[serde(default)]
    pub logins_only: bool,
}

impl Default for Governance {
    fn default() -> Self {
        Self {
            require_registered_workflows: false,
            approvers: 1,
            logins_only: false,
        }
    }
}

impl Governance {
    /// Checks that this caller may replace these rules by others. Where only logins decide, only a
    /// login sets the rules: so no token turns that off, and it is on only where somebody can log
    /// in.
    ///
    /// # Errors
    /// [`Undecided::NoLogin`].
    pub fn replaced_by(&self, next: &Self, actor: &str) -> Result<(), Undecided> {
        if (self.logins_only || next.logins_only) && !is_login(actor) {
            return Err(Undecided::NoLogin);
        }
        Ok(())
    }

    /// How it decides on what somebody asks for.
    #[must_use]
    pub const fn asker(&self, actor: String, login: Option<String>) -> Asker {
        Asker {
            actor,
            login,
            approvers: self.approvers,
            logins_only: self.logins_only,
        }
    }

    /// Whether it is what a project has that has said nothing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(approvers: u32) -> Approval {
        Approval {
            approval: "workflow:nightly@3".parse().expect("a name"),
            state: ApprovalState::Pending,
            request: ContentHash::of(b"x"),
            requested_by: "token:a".to_owned(),
            login: None,
            logins_only: false,
            requested_at: Timestamp::from_millis(0),
            approvers,
            decide_by: Some(Timestamp::from_millis(1000)),
            decisions: Vec::new(),
        }
    }

    fn says(verdict: Verdict, by: &str) -> Decision {
        Decision {
            verdict,
            by: by.to_owned(),
            login: None,
            reason: Some("because".into()),
            at: Timestamp::from_millis(1),
        }
    }

    #[test]
    fn an_approval_has_one_name() {
        for bad in [
            "",
            "nightly@3",
            "workflow:nightly",
            "workflow:nightly@03",
            "workflow:n@+3",
            "step:x",
            "worker:run_0198c0de-0000-7000-8000-00000000000a",
            "step:run_0198c0de-0000-7000-8000-00000000000a:A",
        ] {
            assert!(bad.parse::<ApprovalId>().is_err(), "{bad}");
        }
        for good in [
            "workflow:nightly@3",
            "worker:wrk_0198c0de-0000-7000-8000-00000000000a",
            "step:run_0198c0de-0000-7000-8000-00000000000a:push",
        ] {
            let id: ApprovalId = good.parse().expect("a name");
            assert_eq!(id.to_string(), good);
        }
    }

    #[test]
    fn somebody_else_decides_once() {
        let mut one = approval(1);
        let refused = one.decide(says(Verdict::Approve, "token:a"), true);
        assert_eq!(refused, Err(Undecided::Own));
        assert_eq!(
            one.decide(says(Verdict::Deny, "token:a"), true),
            Err(Undecided::Own)
        );
        assert_eq!(
            one.decide(says(Verdict::Approve, "token:b"), false),
            Err(Undecided::Stale)
        );
        assert_eq!(
            one.decide(says(Verdict::Approve, "token:b"), true),
            Ok(true)
        );
        assert_eq!(one.state, ApprovalState::Approved);
        assert_eq!(
            one.decide(says(Verdict::Approve, "token:b"), false),
            Ok(false)
        );
        let second = one.decide(says(Verdict::Deny, "token:c"), true);
        let told = second.expect_err("the first decision holds").to_string();
        assert!(told.contains("approved already, by token:b"), "{told}");
    }

    #[test]
    fn nobody_decides_too_late() {
        let mut one = approval(1);
        let late = Decision {
            at: Timestamp::from_millis(1000),
            ..says(Verdict::Approve, "token:b")
        };
        let refused = one.decide(late, true).expect_err("its time is over");
        assert!(refused.to_string().contains("expired already"), "{refused}");
        assert_eq!(one.state, ApprovalState::Pending);
        assert_eq!(one.expire(Timestamp::from_millis(999)), None);
        assert!(one.expire(Timestamp::from_millis(1000)).is_some());
        assert_eq!(one.state, ApprovalState::Expired);
        assert_eq!(one.expire(Timestamp::from_millis(1000)), None);
        assert_eq!(one.cancel(), None);
    }

    #[test]
    fn a_denial_says_why_and_ends_it() {
        let mut one = approval(2);
        let silent = Decision {
            reason: None,
            ..says(Verdict::Deny, "token:b")
        };
        assert_eq!(one.decide(silent, true), Err(Undecided::NoReason));
        assert_eq!(
            one.decide(says(Verdict::Approve, "token:c"), true),
            Ok(true)
        );
        // A denial needs nothing but its reason.
        assert_eq!(one.decide(says(Verdict::Deny, "token:b"), false), Ok(true));
        assert_eq!(one.state, ApprovalState::Denied);
    }

    #[test]
    fn two_approvers_are_two_people() {
        let mut two = approval(2);
        assert_eq!(
            two.decide(says(Verdict::Approve, "token:b"), true),
            Ok(true)
        );
        assert_eq!((two.state, two.missing()), (ApprovalState::Pending, 1));
        assert_eq!(
            two.decide(says(Verdict::Approve, "token:b"), true),
            Ok(false)
        );
        assert_eq!(two.state, ApprovalState::Pending);
        assert_eq!(
            two.decide(says(Verdict::Approve, "token:c"), true),
            Ok(true)
        );
        assert_eq!(two.state, ApprovalState::Approved);
    }
}
