//! Errors at the edge: problem details of RFC 9457 with a stable code for each kind.

use serde::{Deserialize, Serialize};

/// An error answer, `application/problem+json`: what happened, and what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Problem {
    /// `urn:sealfleet:problem:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same text for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here and what to do about it.
    pub detail: String,
    /// The stable code.
    pub code: Code,
    /// The request's field that is wrong, as a path: `steps[0].pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// After how many seconds the same request may succeed; the `Retry-After` header says it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

macro_rules! codes {
    ($($name:ident $text:literal $status:literal $title:literal;)*) => {
        /// What kind of problem it is. Codes are stable: callers may decide by them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as it is written.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    InvalidRequest "invalid_request" 400 "The request is not valid.";
    Unauthenticated "unauthenticated" 401 "The request carries no valid credential.";
    Forbidden "forbidden" 403 "The caller may not do this.";
    WorkerPending "worker_pending" 403 "The worker waits for approval.";
    WorkerDraining "worker_draining" 403 "The worker drains.";
    WorkerRejected "worker_rejected" 403 "The worker was rejected.";
    WorkerRevoked "worker_revoked" 403 "The worker was revoked.";
    NotHolder "not_holder" 403 "The step is held by another worker.";
    AudienceDenied "audience_denied" 403 "The step's profiles do not name this audience.";
    RegisteredRequired "registered_required" 403 "The project runs registered workflows only.";
    RegisteredName "registered_name" 409 "A registered workflow has this name.";
    LoginRequired "login_required" 403 "Only who has logged in at an issuer may do this; a token does not tell who holds it.";
    OwnApproval "own_approval" 403 "Nobody decides on a request of their own.";
    ProfileDenied "profile_denied" 403 "The profile may not be used by this workflow.";
    EnrolmentRefused "enrolment_refused" 403 "The enrolment key does not cover this registration.";
    SecretOverride "secret_override" 400 "A plain value would take a secret's place.";
    SecretRevoked "secret_revoked" 403 "A secret that is asked for is revoked.";
    NotFound "not_found" 404 "There is nothing here.";
    MethodNotAllowed "method_not_allowed" 405 "The path does not take this method.";
    Conflict "conflict" 409 "The request conflicts with the present state.";
    AlreadyExists "already_exists" 409 "The name is taken.";
    ProjectClosed "project_closed" 409 "The project is being deleted.";
    ProjectInUse "project_in_use" 409 "Runs in flight belong to the project.";
    NotQueued "not_queued" 409 "The step is not waiting to be claimed.";
    StepMismatch "step_mismatch" 409 "The worker cannot run this step.";
    AtCapacity "at_capacity" 409 "The worker holds as many steps as it may.";
    StaleFence "stale_fence" 409 "The lease is no longer held.";
    StartRefused "start_refused" 409 "The step may not start with what it would see.";
    AlreadyRevoked "already_revoked" 409 "A key is revoked already.";
    NotActive "not_active" 409 "The revocation is not active.";
    ProfileInUse "profile_in_use" 409 "Runs in flight use the profile.";
    NotLive "not_live" 409 "This version of the workflow does not run.";
    StaleReview "stale_review" 409 "Something has changed since it was reviewed.";
    AlreadyDecided "already_decided" 409 "The approval is decided already.";
    NotReady "not_ready" 409 "The step is not ready to be asked for.";
    VersionConflict "version_conflict" 412 "Somebody has changed it meanwhile.";
    BodyTooLarge "body_too_large" 413 "The request's body is too large.";
    IdempotencyMismatch "idempotency_mismatch" 422 "The idempotency key was used with another request.";
    PreconditionRequired "precondition_required" 428 "The request must name the version that it replaces.";
    RateLimited "rate_limited" 429 "Too many requests in a short time.";
    Internal "internal" 500 "Something failed inside.";
    Unavailable "unavailable" 503 "A part that is needed does not answer.";
}

impl Problem {
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:sealfleet:problem:{}", code.text()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            field: None,
            retry_after: None,
        }
    }

    /// A request whose `field` is wrong.
    #[must_use]
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new(Code::InvalidRequest, detail)
        }
    }

    /// A request over a rate limit. The next one is admitted after so many seconds.
    #[must_use]
    pub fn rate_limited(detail: impl Into<String>, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(Code::RateLimited, detail)
        }
    }

    /// The only answer for what does not exist and for what belongs to another project.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "your project has nothing with this id")
    }

    /// The only answer for credentials that are not valid, whatever is wrong with them.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(
            Code::Unauthenticated,
            "send `Authorization: Bearer CREDENTIAL` with a credential that is neither unknown, expired nor \
             revoked",
        )
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(
                f,
                "{} ({}, field `{field}`): {}",
                self.title,
                self.code.text(),
                self.detail
            ),
            None => write!(f, "{} ({}): {}", self.title, self.code.text(), self.detail),
        }
    }
}

impl std::error::Error for Problem {}
