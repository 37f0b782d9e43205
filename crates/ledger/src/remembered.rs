//! What an instance has read of a project and need not read again: identities, which never change,
//! and registered task definitions, of which ECS says when one is gone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sealfleet_domain::ProjectScope;

/// Things of one kind that an instance remembers.
const REMEMBERED: usize = 512;

/// SHA-256 of an identity's JSON, in hex.
pub type IdentityHash = String;

/// What an instance remembers, by project and hash.
#[derive(Debug)]
pub(crate) struct Remembered<T>(Mutex<HashMap<(String, String), T>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Remembered<T> {
    pub fn get(&self, scope: &ProjectScope, hash: &str) -> Option<T> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&(scope.project().to_string(), hash.to_owned()))
            .cloned()
    }

    pub fn add(&self, scope: &ProjectScope, hash: &str, thing: T) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert((scope.project().to_string(), hash.to_owned()), thing);
    }
}
