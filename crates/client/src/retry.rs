//! How long to wait before a request is sent again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3);

/// The longest time that a control plane's `Retry-After` is waited for; a longer one is the
/// caller's to decide on.
const LONGEST_TOLD: Duration = Duration::from_secs(10);

/// How long to wait before attempt number `attempt` + 1: at least as long as the control plane
/// told, in seconds. None if that is too long to wait here.
pub(crate) fn pause_told(attempt: u32, told: Option<u64>) -> Option<Duration> {
    let told = Duration::from_secs(told.unwrap_or(0));
    (told <= LONGEST_TOLD).then(|| told.saturating_add(pause(attempt)))
}

/// Full jitter: anything from nothing to twice as much each time, so that callers who failed
/// together do not return together.
pub(crate) fn pause(attempt: u32) -> Duration {
    let most = FIRST
        .saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX))
        .min(LONGEST);
    let mut bytes = [0_u8; 4];
    // Without randomness the longest pause is right as well.
    if getrandom::fill(&mut bytes).is_err() {
        return most;
    }
    most.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}
