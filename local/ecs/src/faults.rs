//! Injected faults, so that tests can see how callers handle them.

use serde::{Deserialize, Serialize};

/// Faults for the next calls. Each count decreases independently; throttles apply first, then
/// failures, then lost answers.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Faults {
    /// Calls of any operation that are refused with `ThrottlingException`.
    pub throttles: u32,
    /// `RunTask` calls that answer 200 with `failures[]` and start nothing.
    pub failures: u32,
    pub failure_reason: String,
    /// `RunTask` calls that start the task and then answer 500, as if the answer were lost.
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

/// Decrements a count. `false` when it was zero.
pub fn take(count: &mut u32) -> bool {
    let had = *count > 0;
    *count = count.saturating_sub(1);
    had
}
