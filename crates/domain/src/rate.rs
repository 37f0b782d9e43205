//! How often a project may call: a generic cell rate algorithm (GCRA), in whole microseconds.
//!
//! The state is one number, the moment at which everything taken so far will have been earned. Taking permits moves it
//! ahead, by the interval that each is earned in; it may be ahead of now by no more than the burst is worth. So within
//! any time no more is taken than the burst and what that time earns, whoever takes, in portions of any size.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// A rate: so many permits at once, and one more each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Microseconds in which one permit is earned.
    interval_us: i64,
    /// Permits that may be taken at once.
    burst: u32,
}

/// How often callers of one project may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests each second, in the long run.
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = Limits::MOST)))]
    pub requests_per_second: u32,
    /// Requests at once.
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = Limits::MOST)))]
    pub burst: u32,
}

/// When everything that was taken will have been earned, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EarnedAt(i64);

/// What was asked for and is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// From when one permit is there.
    pub until: Timestamp,
}

impl Limits {
    /// The largest number of either.
    pub const MOST: u32 = 10_000;

    /// Whether both numbers can be worked with; if not, which one, and what to do.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn check(self) -> Result<(), &'static str> {
        if !(1..=Self::MOST).contains(&self.requests_per_second) {
            return Err("requests_per_second");
        }
        if !(1..=Self::MOST).contains(&self.burst) { Err("burst") } else { Ok(()) }
    }

    /// As a rate.
    #[must_use]
    pub const fn rate(self) -> Rate {
        Rate::each_seconds(self.requests_per_second, 1, self.burst)
    }
}

impl Rate {
    /// `permits` in `seconds`, `burst` at once.
    #[must_use]
    pub const fn each_seconds(permits: u32, seconds: u32, burst: u32) -> Self {
        let permits = if permits == 0 { 1 } else { permits };
        Self { interval_us: seconds as i64 * 1_000_000 / permits as i64, burst: if burst == 0 { 1 } else { burst } }
    }

    /// Permits that may be taken at once.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// Permits that are there now.
    #[must_use]
    pub fn available(self, earned: EarnedAt, now: Timestamp) -> u32 {
        let now = micros(now);
        let worth = self.interval_us.saturating_mul(i64::from(self.burst));
        let free = now.saturating_add(worth).saturating_sub(earned.0.max(now));
        u32::try_from(free.max(0) / self.interval_us.max(1)).unwrap_or(self.burst).min(self.burst)
    }

    /// Takes up to `wanted` permits, at least one: how many, and the state after it.
    ///
    /// # Errors
    /// [`Exhausted`] when there is none.
    pub fn take(self, earned: EarnedAt, now: Timestamp, wanted: u32) -> Result<(u32, EarnedAt), Exhausted> {
        let taken = wanted.max(1).min(self.available(earned, now));
        if taken == 0 {
            let worth = self.interval_us.saturating_mul(i64::from(self.burst) - 1);
            return Err(Exhausted {
                until: Timestamp::from_millis(earned.0.saturating_sub(worth).saturating_add(999).div_euclid(1000)),
            });
        }
        let from = earned.0.max(micros(now));
        Ok((taken, EarnedAt(from.saturating_add(self.interval_us.saturating_mul(i64::from(taken))))))
    }
}

const fn micros(at: Timestamp) -> i64 {
    at.millis().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: i64 = 1_800_000_000_000;

    #[test]
    fn a_burst_then_one_each_interval() {
        let rate = Rate::each_seconds(2, 1, 3);
        let at = |millis| Timestamp::from_millis(START + millis);
        let (taken, earned) = rate.take(EarnedAt::default(), at(0), 10).expect("fresh");
        assert_eq!(taken, 3);
        let exhausted = rate.take(earned, at(0), 1).expect_err("nothing is left");
        assert!((500..=501).contains(&exhausted.until.millis_since(at(0))), "{exhausted:?}");
        assert_eq!(rate.take(earned, exhausted.until, 5).map(|(taken, _)| taken), Ok(1));
        assert_eq!(rate.available(earned, at(60_000)), 3, "no more than the burst is ever saved up");
    }

    proptest! {
        #[test]
        fn no_time_admits_more_than_the_burst_and_what_it_earns(
            per_second in 1u32..500, burst in 1u32..500, asks in proptest::collection::vec((0i64..200, 1u32..50), 1..200),
        ) {
            let rate = Rate::each_seconds(per_second, 1, burst);
            let (mut earned, mut now, mut total) = (EarnedAt::default(), START, 0u64);
            for (wait, wanted) in asks {
                now += wait;
                match rate.take(earned, Timestamp::from_millis(now), wanted) {
                    Ok((taken, after)) => {
                        prop_assert!(taken >= 1 && taken <= wanted);
                        earned = after;
                        total += u64::from(taken);
                    }
                    Err(exhausted) => {
                        prop_assert!(exhausted.until.millis() > now);
                        prop_assert!(rate.take(earned, exhausted.until, 1).is_ok(), "the told time is enough");
                    }
                }
                let passed = u64::try_from(now - START).unwrap_or(0);
                // An interval is cut to whole microseconds.
                let most = u64::from(burst) + passed * u64::from(per_second) / 1000 + passed * u64::from(per_second) / 500_000 + 1;
                prop_assert!(total <= most, "{total} of {most}");
            }
        }
    }
}
