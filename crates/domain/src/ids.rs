//! Ids: a prefix that names the kind, and a time-sortable UUID of version 7 (RFC 9562).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::clock::{IdSource, Timestamp};
use crate::hash::sha256;

/// A text that is not an id of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not {what} id; it looks like `{prefix}_0198c0de-0000-7000-8000-000000000000`"
)]
pub struct InvalidId {
    given: String,
    what: &'static str,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id with the time `now`.
            pub fn new(ids: &dyn IdSource, now: Timestamp) -> Self {
                Self(ids.uuid(now))
            }

            /// The caller knows that the UUID belongs to this kind.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id of what happened at `at` and goes by this name. Every call returns the same
            /// id.
            #[must_use]
            pub fn of(at: Timestamp, name: &str) -> Self {
                let mut random = [0; 10];
                random
                    .iter_mut()
                    .zip(sha256(name.as_bytes()))
                    .for_each(|(to, from)| *to = from);
                let millis = u64::try_from(at.millis()).unwrap_or_default();
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// What comes before every id of this time, and after every earlier one.
            #[must_use]
            pub fn earliest(at: Timestamp) -> Self {
                let millis = u64::try_from(at.millis()).unwrap_or_default() & 0xffff_ffff_ffff;
                Self(Uuid::from_u128(u128::from(millis) << 80))
            }

            /// The UUID without the prefix.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// When the id was created, to the millisecond.
            #[must_use]
            pub fn made_at(self) -> Timestamp {
                let bytes = self.0.as_bytes();
                let millis = bytes.iter().take(6).fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
                Timestamp::from_millis(millis)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.hyphenated())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let invalid = || InvalidId { given: text.chars().take(64).collect(), what: $what, prefix: $prefix };
                let rest = text.strip_prefix(concat!($prefix, "_")).ok_or_else(invalid)?;
                let uuid = Uuid::try_parse(rest).map_err(|_| invalid())?;
                // Accept only one spelling, so that comparing texts and comparing ids always agree.
                if rest.len() == 36 && !rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    Ok(Self(uuid))
                } else {
                    Err(invalid())
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(RunId, "run", "a run");
id!(
    /// A `sealfleet-worker` process or a hosted pool.
    WorkerId, "wrk", "a worker"
);
id!(TokenId, "tok", "a token");
id!(EnrolmentKeyId, "enk", "an enrolment key");
id!(EventId, "evt", "an audit entry");
id!(
    /// A revocation of one key of a profile.
    RevocationId, "rev", "a revocation"
);
id!(
    /// The work of a hard revocation that aborts runs in flight.
    FanOutId, "fan", "a fan-out"
);
id!(
    /// Content that a caller puts beside its runs, for their steps to work with.
    UploadId, "upl", "an upload"
);
id!(
    /// An incident in which all work of a project was stopped.
    ContainmentId, "con", "a containment"
);
id!(
    /// A token that names a step to others.
    IdentityTokenId, "idt", "an identity token"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_is_an_id() {
        let text = "run_0198c0de-0000-7000-8000-00000000000a";
        assert_eq!(
            text.parse::<RunId>().map(|id| id.to_string()),
            Ok(text.to_owned())
        );
        for bad in [
            "wrk_0198c0de-0000-7000-8000-00000000000a",
            "run_0198C0DE-0000-7000-8000-00000000000a",
            "run_0198c0de0000700080000000000000000a",
            "run_",
            "",
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_known_elsewhere_has_one_id() {
        let at = Timestamp::from_millis(1_769_846_400_000);
        let id = EventId::of(at, "a");
        assert_eq!((id, id.made_at()), (EventId::of(at, "a"), at));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id != EventId::of(at, "b") && id != EventId::of(at.plus_seconds(1), "a"));
    }
}
