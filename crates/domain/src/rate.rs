//! Limits how often a project may call: a generic cell rate algorithm (GCRA), in whole
//! microseconds.
//!
//! The state is one number: the moment at which all permits taken so far will have been earned.
//! Each permit has an interval in which it is earned, and taking permits moves the state forward by
//! their intervals. The state may be ahead of now by at most the intervals of a whole burst. So in
//! any period, callers together take at most the burst plus what the period earns, however they
//! split it.
//!
//! When the state is behind now, a caller could first have to move it up to now. Concurrent callers
//! would then have to take turns. So a state that is at most [`SLACK_US`] behind now is left where
//! it is, and the time by which it lags may be used as well. This gives the bound: **in `t`
//! seconds, at most the burst plus what `t + 1` seconds earn**.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// How far the state may be behind now, in microseconds.
const SLACK_US: i64 = 1_000_000;

/// A rate: a number of permits at once, and one more after each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Microseconds in which one permit is earned.
    interval_us: i64,
    /// Most permits that can be taken at once.
    burst: u32,
}

/// A project's request rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests allowed each second, sustained.
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = Limits::MOST)))]
    pub requests_per_second: u32,
    /// Requests allowed at once.
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = Limits::MOST)))]
    pub burst: u32,
}

/// When all permits taken so far will have been earned, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EarnedAt(i64);

/// Permits that can be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How many; at least one.
    pub permits: u32,
    /// Microseconds by which taking them moves the state forward.
    pub ahead_us: i64,
    /// The lowest and highest state, inclusive, from which the same permits can be taken with the
    /// same move. So a counter that other callers move concurrently can be moved from any state in
    /// this range.
    pub in_states: (EarnedAt, EarnedAt),
}

/// No permit is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// When the next permit is available.
    pub until: Timestamp,
}

impl EarnedAt {
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }
}

impl Limits {
    /// The largest value of either limit.
    pub const MOST: u32 = 10_000;

    /// Checks that both limits are in range.
    ///
    /// # Errors
    /// The field that is out of range.
    pub fn check(self) -> Result<(), &'static str> {
        if !(1..=Self::MOST).contains(&self.requests_per_second) {
            return Err("requests_per_second");
        }
        if !(1..=Self::MOST).contains(&self.burst) {
            Err("burst")
        } else {
            Ok(())
        }
    }

    #[must_use]
    pub const fn rate(self) -> Rate {
        Rate::each_seconds(self.requests_per_second, 1, self.burst)
    }
}

impl Rate {
    /// `permits` in each period of `seconds`, `burst` at once.
    #[must_use]
    pub const fn each_seconds(permits: u32, seconds: u32, burst: u32) -> Self {
        let permits = if permits == 0 { 1 } else { permits };
        Self {
            interval_us: seconds as i64 * 1_000_000 / permits as i64,
            burst: if burst == 0 { 1 } else { burst },
        }
    }

    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }

    /// How many permits can be taken now.
    #[must_use]
    pub fn available(self, earned: EarnedAt, now: Timestamp) -> u32 {
        let now = micros(now);
        let free = now
            .saturating_add(self.worth(self.burst))
            .saturating_sub(caught_up(earned, now));
        u32::try_from(free.max(0) / self.interval_us.max(1))
            .unwrap_or(self.burst)
            .min(self.burst)
    }

    /// Grants up to `wanted` of the available permits, and at least one.
    ///
    /// # Errors
    /// [`Exhausted`] when none is available.
    pub fn grant(self, earned: EarnedAt, now: Timestamp, wanted: u32) -> Result<Grant, Exhausted> {
        let permits = wanted.max(1).min(self.available(earned, now));
        if permits == 0 {
            let before = self.worth(self.burst.saturating_sub(1));
            return Err(Exhausted {
                until: Timestamp::from_millis(
                    earned
                        .0
                        .saturating_sub(before)
                        .saturating_add(999)
                        .div_euclid(1000),
                ),
            });
        }
        let (now, cost) = (micros(now), self.worth(permits));
        let behind = caught_up(earned, now).saturating_sub(earned.0);
        let in_states = if behind > 0 {
            (earned, earned)
        } else {
            let most = now
                .saturating_add(self.worth(self.burst))
                .saturating_sub(cost);
            (EarnedAt(now.saturating_sub(SLACK_US)), EarnedAt(most))
        };
        Ok(Grant {
            permits,
            ahead_us: behind.saturating_add(cost),
            in_states,
        })
    }

    /// Microseconds in which this many permits are earned.
    const fn worth(self, permits: u32) -> i64 {
        self.interval_us.saturating_mul(permits as i64)
    }
}

/// Moves a state that is far behind now up to now: unused time is not saved up.
fn caught_up(earned: EarnedAt, now: i64) -> i64 {
    if earned.0 < now.saturating_sub(SLACK_US) {
        now
    } else {
        earned.0
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

    /// Takes permits from a state that nobody else changes.
    fn take(
        rate: Rate,
        earned: EarnedAt,
        now: Timestamp,
        wanted: u32,
    ) -> Result<(u32, EarnedAt), Exhausted> {
        rate.grant(earned, now, wanted)
            .map(|grant| (grant.permits, EarnedAt(earned.0 + grant.ahead_us)))
    }

    #[test]
    fn a_burst_then_one_each_interval() {
        let rate = Rate::each_seconds(2, 1, 3);
        let at = |millis| Timestamp::from_millis(START + millis);
        let (taken, earned) = take(rate, EarnedAt::default(), at(0), 10).expect("fresh");
        assert_eq!(taken, 3);
        let exhausted = take(rate, earned, at(0), 1).expect_err("nothing is left");
        assert!(
            (500..=501).contains(&exhausted.until.millis_since(at(0))),
            "{exhausted:?}"
        );
        assert_eq!(
            take(rate, earned, exhausted.until, 5).map(|(taken, _)| taken),
            Ok(1)
        );
        assert_eq!(
            rate.available(earned, at(60_000)),
            3,
            "no more than the burst is ever saved up"
        );
    }

    proptest! {
        #[test]
        fn a_grant_is_right_in_all_of_its_states_and_in_no_other(
            per_second in 1u32..500, burst in 1u32..500, behind_us in -2_000_000i64..2_000_000, wanted in 1u32..50,
            part in 0.0f64..=1.0,
        ) {
            let (rate, now) = (Rate::each_seconds(per_second, 1, burst), Timestamp::from_millis(START));
            let earned = EarnedAt(micros(now) - behind_us);
            if let Ok(grant) = rate.grant(earned, now, wanted) {
                let (least, most) = grant.in_states;
                prop_assert!(least <= earned && earned <= most);
                #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "some state between")]
                let any = EarnedAt(least.0 + ((most.0 - least.0) as f64 * part) as i64);
                for state in [least, any, most] {
                    let again = rate.grant(state, now, grant.permits);
                    prop_assert_eq!(again.map(|again| (again.permits, again.ahead_us)), Ok((grant.permits, grant.ahead_us)));
                }
                for state in [EarnedAt(least.0 - 1), EarnedAt(most.0 + 1)] {
                    let other = rate.grant(state, now, grant.permits).map(|other| (other.permits, other.ahead_us));
                    prop_assert_ne!(other, Ok((grant.permits, grant.ahead_us)));
                }
            }
        }

        #[test]
        fn no_time_admits_more_than_the_burst_and_what_it_earns(
            per_second in 1u32..500, burst in 1u32..500, asks in proptest::collection::vec((0i64..200, 1u32..50), 1..200),
        ) {
            let rate = Rate::each_seconds(per_second, 1, burst);
            let (mut earned, mut now, mut total) = (EarnedAt::default(), START, 0u64);
            for (wait, wanted) in asks {
                now += wait;
                match take(rate, earned, Timestamp::from_millis(now), wanted) {
                    Ok((taken, after)) => {
                        prop_assert!(taken >= 1 && taken <= wanted);
                        earned = after;
                        total += u64::from(taken);
                    }
                    Err(exhausted) => {
                        prop_assert!(exhausted.until.millis() > now);
                        prop_assert!(take(rate, earned, exhausted.until, 1).is_ok(), "the told time is enough");
                    }
                }
                let passed = u64::try_from(now - START).unwrap_or(0) + 1000;
                // The interval was rounded down to whole microseconds.
                let most = u64::from(burst) + passed * u64::from(per_second) / 1000 + passed * u64::from(per_second) / 500_000 + 1;
                prop_assert!(total <= most, "{total} of {most}");
            }
        }
    }
}
