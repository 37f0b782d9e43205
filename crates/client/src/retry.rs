//! How long to wait before a request is sent again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3);

/// Full jitter: anything from nothing to twice as much each time, so that callers who failed together do not return
/// together.
pub(crate) fn pause(attempt: u32) -> Duration {
    let most = FIRST.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(LONGEST);
    let mut bytes = [0_u8; 4];
    // Without randomness the longest pause is right as well.
    if getrandom::fill(&mut bytes).is_err() {
        return most;
    }
    most.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}
