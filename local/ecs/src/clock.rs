//! The only place of this program that reads the wall clock, and the two formats of a time in ECS:
//! seconds since the epoch in API answers, ISO 8601 in events.

use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;
use time::format_description::well_known::iso8601::{Config, EncodedConfig, TimePrecision};

/// `2020-01-23T17:57:58.103Z`: the format of times in ECS events.
const EVENT_TIME: EncodedConfig = Config::DEFAULT
    .set_time_precision(TimePrecision::Second {
        decimal_digits: std::num::NonZeroU8::new(3),
    })
    .encode();

/// A moment, in milliseconds since the Unix epoch.
pub type Millis = i64;

pub fn now() -> Millis {
    let nanoseconds = OffsetDateTime::now_utc().unix_timestamp_nanos();
    Millis::try_from(nanoseconds / 1_000_000).unwrap_or(Millis::MAX)
}

/// Seconds since the epoch with a fraction, as in the ECS JSON protocol.
pub fn epoch_seconds(at: Millis) -> serde_json::Value {
    // Milliseconds of this century are far below 2^53, so the conversion is exact enough.
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 fit in 53 bits"
    )]
    let seconds = at as f64 / 1000.0;
    serde_json::json!(seconds)
}

/// ISO 8601 in UTC with milliseconds, as in ECS events.
pub fn iso(at: Millis) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(&Iso8601::<EVENT_TIME>).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_shapes_ecs_uses() {
        assert_eq!(iso(1_579_802_278_103), "2020-01-23T17:57:58.103Z");
        assert_eq!(
            epoch_seconds(1_579_802_278_103),
            serde_json::json!(1_579_802_278.103)
        );
    }
}
