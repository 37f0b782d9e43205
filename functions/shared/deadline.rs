//! Answers before the invocation ends.
//!
//! Lambda kills a function that takes too long, and API Gateway answers for it with a 502 or 503
//! that says nothing. [`in_time`] answers a moment earlier, as the API documents, and drops the
//! handler where it waits. That is as safe as the kill: handlers may die at each of these points,
//! and a retry or `sweep` continues.

use std::future::Future;
use std::time::Duration;

use lambda_runtime::Context;
use sealfleet_api::http::Answer;
use sealfleet_api::{Code, Problem};
use sealfleet_domain::Timestamp;

/// Kept back for the answer.
const MARGIN: Duration = Duration::from_millis(500);

/// How long an invocation may still work ("Lambda runtime API", `Lambda-Runtime-Deadline-Ms`).
#[must_use]
pub fn left(invocation: &Context, now: Timestamp) -> Duration {
    let now = u64::try_from(now.millis()).unwrap_or_default();
    Duration::from_millis(invocation.deadline.saturating_sub(now)).saturating_sub(MARGIN)
}

/// Seconds kept back by functions that take one piece of work after the other: long enough for what
/// has begun, with a retry of each of its calls.
const LAST_WORK_SECONDS: i64 = 8;

/// Until when such a function takes new work.
#[must_use]
pub fn last_work(invocation: &Context, now: Timestamp) -> Timestamp {
    let left = i64::try_from(left(invocation, now).as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.millis().saturating_add(left)).plus_seconds(-LAST_WORK_SECONDS)
}

/// Waits for the handler's answer while there is time.
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
            "the request took too long and may or may not have been carried out; retry it, with \
             the same Idempotency-Key if it has one",
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

    #[test]
    fn the_last_work_is_taken_seconds_before_the_end() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let last = last_work(&until(1_800_000_050_000), now);
        assert_eq!(last.millis_since(now), 41_500);
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
