//! What ECS's words mean when it does not start a task: a reason that passes, or something that
//! somebody has to mend.
//!
//! The words stand in errors, in `failures` of `RunTask`, and in the reasons of stopped tasks and
//! their containers. Sources, all of the ECS Developer Guide: "Amazon ECS stopped tasks error
//! messages", "API failure reasons", "Service event messages" (the reasons of placement), "Task
//! definition invalid CPU or memory". `events/observe` has samples.

use sealfleet_domain::run::RequeueReason::{
    self, HostFailed, ImageTimeout, NetworkTimeout, NoCapacity, RoleNotReady, Throttled,
};
use sealfleet_domain::run::StartCause::{
    self, Configuration, ImageMissing, ImageUnusable, RegistryDenied, SecretDenied,
    SecretKeyMissing, SecretMissing, SecretUnreadable,
};

/// What a start needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Time.
    Wait(RequeueReason),
    /// Somebody who mends this.
    Mend(StartCause),
    /// A new task definition: the old one is inactive or gone.
    Register,
}

/// What precedes the reason, whether a secret or the registry was the trouble.
const SECRETS_OR_REGISTRY: &str = "unable to pull secrets or registry auth";
/// What precedes the names and the reason.
const PREAMBLES: &[&str] = &[
    SECRETS_OR_REGISTRY,
    "execution resource retrieval failed",
    "unable to retrieve secret from asm",
    "service call has been retried",
];
const RESOURCES: &str = "ResourceInitializationError";
const PULL: &str = "CannotPull";

/// A network that does not answer, as the clients of ECS's agent write it.
const NO_ANSWER: &[&str] = &[
    "i/o timeout",
    "context deadline exceeded",
    "context canceled",
    "Client.Timeout exceeded",
    "TLS handshake timeout",
    "connection issue between the task",
    "task network configuration",
    "send request failed",
    "connection refused",
    "connection reset",
    "no such host",
    "signal: killed",
];
const DENIED: &[&str] = &[
    "AccessDenied",
    "not authorized",
    "access denied",
    "403 Forbidden",
    "401 Unauthorized",
    "no basic auth credentials",
];
const ANYTHING: &[&str] = &[""];

/// The first row counts whose first word is in the text together with one of the others.
const TABLE: &[(&str, &[&str], Remedy)] = &[
    // `failures` of RunTask, and the reasons of placement.
    (
        "Capacity is unavailable",
        ANYTHING,
        Remedy::Wait(NoCapacity),
    ),
    ("RESOURCE:", ANYTHING, Remedy::Wait(NoCapacity)),
    (
        "reached the limit on the number of",
        ANYTHING,
        Remedy::Wait(NoCapacity),
    ),
    (
        "provisioning capacity limit",
        ANYTHING,
        Remedy::Wait(NoCapacity),
    ),
    (
        "configuration is above your limit",
        ANYTHING,
        Remedy::Mend(Configuration),
    ),
    // Errors of RunTask and RegisterTaskDefinition.
    ("Rate exceeded", ANYTHING, Remedy::Wait(Throttled)),
    (
        "Too many concurrent attempts",
        ANYTHING,
        Remedy::Wait(Throttled),
    ),
    ("TaskDefinition is inactive", ANYTHING, Remedy::Register),
    ("TaskDefinition not found", ANYTHING, Remedy::Register),
    ("service linked role", ANYTHING, Remedy::Wait(RoleNotReady)),
    (
        "unable to assume the role",
        ANYTHING,
        Remedy::Wait(RoleNotReady),
    ),
    ("Role is not valid", ANYTHING, Remedy::Wait(RoleNotReady)),
    (
        "not authorized to perform: ecs:",
        ANYTHING,
        Remedy::Wait(RoleNotReady),
    ),
    (
        "not authorized to perform: iam:PassRole",
        ANYTHING,
        Remedy::Wait(RoleNotReady),
    ),
    // Reasons of stopped tasks.
    (PULL, NO_ANSWER, Remedy::Wait(ImageTimeout)),
    (PULL, DENIED, Remedy::Mend(RegistryDenied)),
    (
        PULL,
        &["not found", "does not exist", "manifest unknown"],
        Remedy::Mend(ImageMissing),
    ),
    (
        PULL,
        &["platform", "no space left"],
        Remedy::Mend(ImageUnusable),
    ),
    (PULL, ANYTHING, Remedy::Wait(HostFailed)),
    (RESOURCES, NO_ANSWER, Remedy::Wait(NetworkTimeout)),
    ("registry auth", DENIED, Remedy::Mend(RegistryDenied)),
    ("secret", DENIED, Remedy::Mend(SecretDenied)),
    (
        "secret",
        &["ResourceNotFound", "can't find", "marked for deletion"],
        Remedy::Mend(SecretMissing),
    ),
    (
        "secret",
        &["did not contain json key"],
        Remedy::Mend(SecretKeyMissing),
    ),
    (
        "secret",
        &["invalid character", "cannot unmarshal", "end of JSON input"],
        Remedy::Mend(SecretUnreadable),
    ),
    ("logger args", DENIED, Remedy::Mend(Configuration)),
    (
        "logger args",
        &["ResourceNotFound", "does not exist"],
        Remedy::Mend(Configuration),
    ),
    (RESOURCES, ANYTHING, Remedy::Wait(HostFailed)),
    ("etwork interface", ANYTHING, Remedy::Wait(NetworkTimeout)),
    (
        "EphemeralStorage provisioning",
        ANYTHING,
        Remedy::Wait(HostFailed),
    ),
    ("TimeoutError", ANYTHING, Remedy::Wait(HostFailed)),
    ("CannotStartContainer", NO_ANSWER, Remedy::Wait(HostFailed)),
    (
        "CannotStartContainer",
        ANYTHING,
        Remedy::Mend(ImageUnusable),
    ),
    (
        "CannotCreateContainer",
        ANYTHING,
        Remedy::Mend(ImageUnusable),
    ),
];

/// What these words ask for, if they are known.
pub(crate) fn remedy(words: &str) -> Option<Remedy> {
    let telling = words.replacen(SECRETS_OR_REGISTRY, "", 1);
    TABLE
        .iter()
        .find(|(about, one_of, _)| {
            telling.contains(about) && one_of.iter().any(|word| telling.contains(word))
        })
        .map(|(_, _, remedy)| *remedy)
}

/// The words that tell `cause`, without those that precede every trouble with secrets or the
/// registry: a failure's detail keeps only the beginning, and the names must be in it.
///
/// What is no JSON is not repeated: ECS quotes the first character of the secret.
pub(crate) fn telling(cause: StartCause, words: &str) -> String {
    if cause == SecretUnreadable {
        return "a reference names a JSON key of a secret that is not a JSON object; leave `#KEY` \
                out of the reference, or store the secret as JSON"
            .to_owned();
    }
    let mut parts: Vec<&str> = words.split(": ").collect();
    let is_preamble = |part: &&str| PREAMBLES.iter().any(|preamble| part.starts_with(preamble));
    let telling: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| !is_preamble(part))
        .collect();
    if telling.iter().any(|part| *part != RESOURCES) {
        parts = telling;
        parts.retain(|part| *part != RESOURCES);
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as AWS sends them.
    #[test]
    fn each_message_of_ecs_has_its_meaning() {
        let wait = |reason| Some(Remedy::Wait(reason));
        let mend = |cause| Some(Remedy::Mend(cause));
        let asm = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval \
                   failed: unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch \
                   secret arn:aws:secretsmanager:eu-west-1:1:secret:sealfleet/a/crm-AbCdEf from secrets manager: ";
        let registry = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval \
                        failed: unable to retrieve ecr registry auth: service call has been retried 3 time(s): ";
        let pull = "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref i: ";
        let after = |words: &str, rest: &str| format!("{words}{rest}");
        for (words, meaning) in [
            ("RESOURCE:ENI".to_owned(), wait(NoCapacity)),
            (
                "Capacity is unavailable at this time. Please try again later or in a different availability zone".to_owned(),
                wait(NoCapacity),
            ),
            (
                "You’ve reached the limit on the number of vCPUs you can run concurrently".to_owned(),
                wait(NoCapacity),
            ),
            (
                "The requested MEMORY configuration is above your limit".to_owned(),
                mend(Configuration),
            ),
            ("Timeout waiting for network interface provisioning to complete.".to_owned(), wait(NetworkTimeout)),
            (
                "Network interface provision complete error timeout wait for network interface provision.".to_owned(),
                wait(NetworkTimeout),
            ),
            ("Timeout waiting for EphemeralStorage provisioning to complete.".to_owned(), wait(HostFailed)),
            (
                "ECS was unable to assume the role 'arn:aws:iam::1:role/sealfleet/project/x' that was provided for this task. \
                 Please verify that the role being passed has the proper trust relationship and permissions."
                    .to_owned(),
                wait(RoleNotReady),
            ),
            (
                "Unable to assume the service linked role. Please verify that the ECS service linked role exists.".to_owned(),
                wait(RoleNotReady),
            ),
            ("TaskDefinition is inactive".to_owned(), Some(Remedy::Register)),
            (after(asm, "AccessDeniedException: User is not authorized to perform: secretsmanager:GetSecretValue on resource: x"), mend(SecretDenied)),
            (after(asm, "AccessDeniedException: Access to KMS is not allowed"), mend(SecretDenied)),
            (after(asm, "ResourceNotFoundException: Secrets Manager can't find the specified secret."), mend(SecretMissing)),
            (after(asm, "RequestCanceled: request context canceled caused by: context deadline exceeded. Please check your task network configuration."), wait(NetworkTimeout)),
            (after(asm, "InternalServiceError: An error occurred on the server side."), wait(HostFailed)),
            (
                "ResourceInitializationError: unable to pull secrets or registry auth: unable to retrieve secret from asm: There \
                 is a connection issue between the task and AWS Secrets Manager. Check your task network configuration."
                    .to_owned(),
                wait(NetworkTimeout),
            ),
            (
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: \
                 unable to retrieve secret from asm: retrieved secret from Secrets Manager arn did not contain json key k"
                    .to_owned(),
                mend(SecretKeyMissing),
            ),
            (
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: \
                 unable to retrieve secret from asm: service call has been retried 1 time(s): invalid character 'x' looking \
                 for beginning of value"
                    .to_owned(),
                mend(SecretUnreadable),
            ),
            (after(registry, "RequestError: send request failed caused by: Post \"https://api.ecr.eu-west-1.amazonaws.com/\": dial tcp 10.0.3.14:443: i/o timeout"), wait(NetworkTimeout)),
            (after(registry, "AccessDeniedException: User is not authorized to perform: ecr:GetAuthorizationToken on resource: *"), mend(RegistryDenied)),
            (
                "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry auth from \
                 Amazon ECR: There is a connection issue between the task and Amazon ECR. Check your task network configuration."
                    .to_owned(),
                wait(NetworkTimeout),
            ),
            ("ResourceInitializationError: unable to pull secrets or registry auth: pull command failed: : signal: killed".to_owned(), wait(NetworkTimeout)),
            ("ResourceInitializationError: unable to pull secrets or registry auth".to_owned(), wait(HostFailed)),
            (
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to \
                 create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist."
                    .to_owned(),
                mend(Configuration),
            ),
            (after(pull, "not found"), mend(ImageMissing)),
            (after(pull, "unexpected status code 403 Forbidden"), mend(RegistryDenied)),
            (after(pull, "failed to do request: Head \"https://i\": dial tcp 44.205.64.79:443: i/o timeout"), wait(ImageTimeout)),
            (
                "CannotPullContainerError: pull access denied for i, repository does not exist or may require 'docker login': \
                 denied: User is not authorized to perform: ecr:BatchGetImage on resource: r"
                    .to_owned(),
                mend(RegistryDenied),
            ),
            (
                "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain \
                 descriptor matching platform 'linux/amd64'"
                    .to_owned(),
                mend(ImageUnusable),
            ),
            ("ContainerRuntimeTimeoutError: Could not transition to running; timed out after waiting 1m: x".to_owned(), wait(HostFailed)),
            ("CannotStartContainerError: exec: \"/sealfleet-init\": no such file or directory".to_owned(), mend(ImageUnusable)),
            ("No Fargate configuration exists for given values.".to_owned(), None),
            ("Essential container in task exited".to_owned(), None),
        ] {
            assert_eq!(remedy(&words), meaning, "{words}");
        }
    }

    #[test]
    fn a_detail_begins_with_the_names() {
        let whole = "ResourceInitializationError: unable to pull secrets or registry auth";
        let asm = format!(
            "{whole}: execution resource retrieval failed: unable to retrieve secret from asm"
        );
        let fetched = "failed to fetch secret arn:aws:secretsmanager:r:1:secret:sealfleet/a/b-AbCdEf from secrets \
                       manager: AccessDeniedException: Access to KMS is not allowed";
        for (cause, words, detail) in [
            (
                SecretDenied,
                format!("{asm}: service call has been retried 1 time(s): {fetched}"),
                fetched,
            ),
            (
                SecretKeyMissing,
                format!("{asm}: retrieved secret from Secrets Manager did not contain json key k"),
                "retrieved secret from Secrets Manager did not contain json key k",
            ),
            (Configuration, whole.to_owned(), whole),
            (Configuration, "RESOURCE:ENI".to_owned(), "RESOURCE:ENI"),
        ] {
            assert_eq!(telling(cause, &words), detail);
        }
    }

    #[test]
    fn no_character_of_a_secret_is_repeated() {
        let words = "unable to retrieve secret from asm: invalid character 'x' looking for beginning of value";
        let Some(Remedy::Mend(cause)) = remedy(words) else {
            panic!("{words}")
        };
        assert!(!telling(cause, words).contains("'x'"));
    }
}
