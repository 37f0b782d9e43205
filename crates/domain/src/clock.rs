//! Time and randomness. Callers pass both in, so that tests and simulations control them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub const DAY_SECONDS: i64 = 24 * 3600;

/// A moment: milliseconds since the Unix epoch. Written as RFC 3339 in UTC wherever people or
/// programs read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, the unit of a stored row's time to live.
    #[must_use]
    pub const fn epoch_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// `seconds` after this moment.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Milliseconds from `earlier` to this moment.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Midnight (UTC) at the start of the day with this [`Self::day_number`].
    #[must_use]
    pub const fn of_day(number: i64) -> Self {
        Self(number.saturating_mul(DAY_SECONDS * 1000))
    }

    /// Whole days from the Unix epoch to this UTC day.
    #[must_use]
    pub const fn day_number(self) -> i64 {
        self.0.div_euclid(DAY_SECONDS * 1000)
    }

    /// The UTC day, `YYYY-MM-DD`.
    #[must_use]
    pub fn day(self) -> String {
        let date = self.date_time().date();
        format!(
            "{:04}-{:02}-{:02}",
            date.year(),
            u8::from(date.month()),
            date.day()
        )
    }

    /// Parses RFC 3339, for example `2026-01-31T08:00:00Z`.
    ///
    /// # Errors
    /// When `text` is not an RFC 3339 date and time.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        let parsed =
            OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp(text.to_owned()))?;
        i64::try_from(parsed.unix_timestamp_nanos() / 1_000_000)
            .map(Self)
            .map_err(|_| InvalidTimestamp(text.to_owned()))
    }

    fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.date_time();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The text is not an RFC 3339 date and time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date and time; write it as RFC 3339, for example `2026-01-31T08:00:00Z`")]
pub struct InvalidTimestamp(String);

pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// Generates ids and secrets.
pub trait IdSource: Send + Sync {
    /// A time-sortable UUID of version 7 (RFC 9562).
    fn uuid(&self, now: Timestamp) -> uuid::Uuid;
    /// 256 bits from a cryptographically secure source, for credentials.
    fn secret(&self) -> [u8; 32];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_survive_text() {
        let at = Timestamp::from_millis(1_769_846_400_123);
        assert_eq!(Timestamp::parse(&at.to_string()), Ok(at));
        assert_eq!(at.day(), "2026-01-31");
    }

    #[test]
    fn a_day_begins_at_midnight_and_ends_before_the_next() {
        let midnight = Timestamp::parse("2026-01-31T00:00:00Z").expect("a moment");
        for (at, number) in [
            (-1, 20_483),
            (0, 20_484),
            (DAY_SECONDS * 1000 - 1, 20_484),
            (DAY_SECONDS * 1000, 20_485),
        ] {
            assert_eq!(Timestamp(midnight.0 + at).day_number(), number, "{at}");
        }
        assert_eq!(
            (Timestamp::of_day(20_484), Timestamp(-1).day_number()),
            (midnight, -1)
        );
    }
}
