//! Time and ids of a simulated world.

use std::sync::{Arc, Mutex, PoisonError};

use sealfleet_domain::{Clock, IdSource, Timestamp};

use crate::random::Random;
use crate::stage::{Judge, Stage};

/// The clock that handlers are given: the world's time, and how far off the machine is.
pub struct WorldClock<J>(pub Stage<J>);

impl<J: Judge> Clock for WorldClock<J> {
    fn now(&self) -> Timestamp {
        let world = self.0.lock();
        Timestamp::from_millis(world.time + world.skew)
    }
}

/// Ids and secrets of a seed.
#[derive(Clone)]
pub struct SeededIds(Arc<Mutex<Random>>);

impl SeededIds {
    /// The ids of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Random::new(seed))))
    }

    fn next(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

impl IdSource for SeededIds {
    fn uuid(&self, now: Timestamp) -> uuid::Uuid {
        let chance = u128::from(self.next()) << 64 | u128::from(self.next());
        let mut random = [0_u8; 10];
        for (to, from) in random.iter_mut().zip(chance.to_be_bytes()) {
            *to = from;
        }
        let millis = u64::try_from(now.millis()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0_u8; 32];
        for part in secret.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_be_bytes());
        }
        secret
    }
}
