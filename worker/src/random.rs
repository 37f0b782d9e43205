//! Random pauses, so that workers that failed together do not retry together.

use std::time::Duration;

/// A pause between `least` and `most`.
pub(crate) fn between(least: Duration, most: Duration) -> Duration {
    let mut bytes = [0_u8; 4];
    // Without randomness, the longest pause is also fine.
    if getrandom::fill(&mut bytes).is_err() {
        return most;
    }
    least
        + most
            .saturating_sub(least)
            .mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}

/// Pauses that grow from one second to fifteen, each with jitter, until something works.
#[derive(Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(crate) fn worked(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let most =
            Duration::from_secs(1_u64.checked_shl(self.failures).unwrap_or(u64::MAX).min(15));
        self.failures = self.failures.saturating_add(1).min(8);
        between(most / 2, most)
    }
}
