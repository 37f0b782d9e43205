//! The real clock, the real source of ids and secrets, and how names of hosts are resolved.

pub mod names;

use sealfleet_domain::{Clock, IdSource, Timestamp};

#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the only clock; everything else gets it passed in"
        )]
        let now = std::time::SystemTime::now();
        let since = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The operating system's random number generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    fn uuid(&self, now: Timestamp) -> uuid::Uuid {
        let mut random = [0_u8; 10];
        for (to, from) in random.iter_mut().zip(self.secret()) {
            *to = from;
        }
        let millis = u64::try_from(now.millis()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0_u8; 32];
        if getrandom::fill(&mut secret).is_err() {
            // Stopping is better than handing out a credential that can be guessed.
            std::process::abort();
        }
        secret
    }
}
