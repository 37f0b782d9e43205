//! Injected faults, so that tests can see how callers handle them.

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// Faults for the next calls. Each count decreases independently; throttles apply first, then
/// refusals, then failures, then lost answers.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Faults {
    /// Calls of any operation that are refused with `ThrottlingException`.
    pub throttles: u32,
    /// `RunTask` calls that are refused, with an error of [`REFUSALS`].
    pub refusals: u32,
    pub refusal_reason: String,
    /// `RunTask` calls that answer 200 with `failures[]` and start nothing.
    pub failures: u32,
    pub failure_reason: String,
    /// `RunTask` calls that start the task and then answer 500, as if the answer were lost.
    pub lost_answers: u32,
    /// Tasks that stop before they start, with a reason of [`START_FAILURES`].
    pub start_failures: u32,
    pub start_failure_reason: String,
}

/// Why tasks stop with `TaskFailedToStart`, in AWS's words.
pub const START_FAILURES: [(&str, &str); 6] = [
    (
        "capacity",
        "Capacity is unavailable at this time. Please try again later or in a different availability zone",
    ),
    (
        "network-interface",
        "Timeout waiting for network interface provisioning to complete.",
    ),
    (
        "registry-auth",
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: \
         unable to retrieve ecr registry auth: service call has been retried 3 time(s): AccessDeniedException: User is \
         not authorized to perform: ecr:GetAuthorizationToken on resource: * because no identity-based policy allows \
         the ecr:GetAuthorizationToken action",
    ),
    (
        "registry-network",
        "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry auth from \
         Amazon ECR: There is a connection issue between the task and Amazon ECR. Check your task network \
         configuration. operation error ECR: GetAuthorizationToken, exceeded maximum number of attempts, 3",
    ),
    (
        "image-time-out",
        "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref \
         sealfleet/sandbox: failed to do request: Head \"https://registry.example/v2/\": dial tcp 192.0.2.1:443: i/o \
         timeout",
    ),
    (
        "role",
        "ECS was unable to assume the role 'arn:aws:iam::000000000000:role/sealfleet/project/sealfleet-a--execution' \
         that was provided for this task. Please verify that the role being passed has the proper trust relationship \
         and permissions and that your IAM user has permissions to pass this role.",
    ),
];

/// Errors of `RunTask`: their kind, code and message, in AWS's words.
const REFUSALS: [(&str, &str, &str); 3] = [
    (
        "service-linked-role",
        "InvalidParameterException",
        "Unable to assume the service linked role. Please verify that the ECS service linked role exists.",
    ),
    (
        "role",
        "ClientException",
        "ECS was unable to assume the role that was provided for this task. Please verify that the role being passed \
         has the proper trust relationship and permissions.",
    ),
    (
        "pass-role",
        "AccessDeniedException",
        "User is not authorized to perform: iam:PassRole on resource: sealfleet-a--execution because no identity-based \
         policy allows the iam:PassRole action",
    ),
];

/// The error of a kind of refusal.
pub fn refusal(kind: &str) -> Option<ApiError> {
    let (_, code, message) = REFUSALS.iter().find(|(name, ..)| *name == kind)?;
    Some(ApiError::refused(code, message))
}

/// AWS's words for a kind of failure to start.
pub fn start_failure(kind: &str) -> Option<&'static str> {
    let (_, words) = START_FAILURES.iter().find(|(name, _)| *name == kind)?;
    Some(words)
}

/// Body of the fault endpoints.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub next: u32,
    #[serde(default)]
    pub reason: Option<String>,
}

/// Decrements a count. `false` when it was zero.
pub fn take(count: &mut u32) -> bool {
    let had = *count > 0;
    *count = count.saturating_sub(1);
    had
}
