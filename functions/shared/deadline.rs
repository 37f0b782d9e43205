//! An answer before the invocation ends.
//!
//! Lambda ends a function that takes too long wherever it stands, and API Gateway answers for it
//! with a 502 or 503 that says nothing. [`in_time`] answers a moment earlier, as the API documents.
//! What was under way is dropped where it waits, which is no other than the function's end there:
//! handlers may die at each of these points, and a repeat or `sweep` goes on.

use std::future::Future;
use std::time::Duration;

use lambda_runtime::Context;
use sealfleet_api::http::Answer;
use sealfleet_api::{Code, Problem};
use sealfleet_domain::Timestamp;

/// How long before its end an invocation answers by itself.
const MARGIN: Duration = Duration::from_millis(500);

/// How long an invocation may still work ("Lambda runtime API", `Lambda-Runtime-Deadline-Ms`).
#[must_use]
pub fn left(invocation: &Context, now: Timestamp) -> Duration {
    let now = u64::try_from(now.millis()).unwrap_or_default();
    Duration::from_millis(invocation.deadline.saturating_sub(now)).saturating_sub(MARGIN)
}

/// What a handler answers, if it does so while there is time.
///
/// # Errors
/// The handler's problem; a 503 when the time is over.
pub async fn in_time(
    left: Duration,
    answer: impl Future<Output = Result<Answer, Problem>>,
) -> Result<Answer, Problem> {
    tokio::time::timeout(left, answer).await.unwrap_or_else(|_| {
        tracing::error!("the handler did not answer in time");
        Err(Problem::new(
            Code::Unavailable,
            "the answer takes too long, and what was asked may be done or not; ask again, with the same Idempotency-Key if \
             the request has one",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(deadline: u64) -> Context {
        let mut invocation = Context::default();
        invocation.deadline = deadline;
        invocation
    }

    #[test]
    fn what_is_left_ends_before_the_invocation_does() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        assert_eq!(
            left(&until(1_800_000_020_000), now),
            Duration::from_millis(19_500)
        );
        assert_eq!(left(&until(1_800_000_000_100), now), Duration::ZERO);
        assert_eq!(left(&until(0), now), Duration::ZERO);
    }

    #[tokio::test]
    async fn who_takes_too_long_is_answered_for() {
        let answered = in_time(Duration::from_millis(5), std::future::pending());
        let answered = tokio::time::timeout(Duration::from_secs(20), answered)
            .await
            .expect("an answer");
        assert_eq!(answered.expect_err("a problem").code, Code::Unavailable);
        let problem = in_time(Duration::from_secs(20), async { Err(Problem::not_found()) }).await;
        assert_eq!(problem.expect_err("the handler's own").code, Code::NotFound);
    }
}
