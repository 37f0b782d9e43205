//! What an error says of its causes, and whether the same call would fail again.

/// The error's message, followed by the messages of its causes. Omits a cause whose message the
/// text already ends with.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

/// Whether a service that refused a call with this code and HTTP status would refuse the same call
/// again, until somebody changes the call or the deployment. A call without an answer may succeed
/// when it is repeated.
#[must_use]
pub fn repeats(code: Option<&str>, status: Option<u16>) -> bool {
    /// Parts of the codes of refusals that pass although their status is 4xx.
    const PASSING: [&str; 9] = [
        "Throttl",
        "Exceeded",
        "SlowDown",
        "TooManyRequests",
        "RequestTimeout",
        "InProgress",
        "Conflict",
        "Expired",
        "Unavailable",
    ];
    let passes = code.is_some_and(|code| PASSING.iter().any(|part| code.contains(part)));
    status.is_some_and(|status| (400..500).contains(&status) && status != 429) && !passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_repeats_unless_it_is_of_its_time() {
        for code in [
            "ValidationException",
            "AccessDeniedException",
            "AccessDenied",
            "ResourceNotFoundException",
            "UnrecognizedClientException",
            "SerializationException",
            "InvalidParameterException",
            "InvalidSignatureException",
            "KMSAccessDeniedException",
            "MalformedPolicyDocument",
            "UnknownOperationException",
        ] {
            assert!(repeats(Some(code), Some(400)), "{code}");
        }
        for code in [
            "ThrottlingException",
            "Throttling",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "LimitExceededException",
            "TooManyRequestsException",
            "TransactionInProgressException",
            "TransactionConflictException",
            "ReplicatedWriteConflictException",
            "ExpiredTokenException",
            "RequestTimeout",
        ] {
            assert!(!repeats(Some(code), Some(400)), "{code}");
        }
        assert!(!repeats(Some("InternalServerError"), Some(500)));
        assert!(!repeats(None, Some(429)) && !repeats(None, Some(503)) && !repeats(None, None));
        assert!(repeats(None, Some(403)));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_their_effect() {
        assert_eq!(
            chain(&Outer(std::io::Error::other("inner"))),
            "outer: inner"
        );
    }
}
