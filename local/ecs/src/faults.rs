//! Faults on demand, so that tests can see what callers do with them.

use serde::{Deserialize, Serialize};

/// Answers that the next `RunTask` calls get. Each counts down by itself, in this order: throttles,
/// failures, lost answers.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Faults {
    /// Calls of any operation that are refused with `ThrottlingException`.
    pub throttles: u32,
    /// `RunTask` calls that answer 200 with `failures[]` and start nothing.
    pub failures: u32,
    pub failure_reason: String,
    /// `RunTask` calls that start the task and then answer 500, as when the answer is lost.
    pub lost_answers: u32,
}

/// Body of the fault endpoints.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub next: u32,
    #[serde(default)]
    pub reason: Option<String>,
}

/// Takes one from a count; false when there was none left.
pub fn take(count: &mut u32) -> bool {
    let had = *count > 0;
    *count = count.saturating_sub(1);
    had
}
