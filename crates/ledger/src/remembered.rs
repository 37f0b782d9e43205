//! Identities that an instance has seen. They never change, so it need not read them again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sealfleet_domain::ProjectScope;
use sealfleet_domain::identity::Identity;

/// Identities that an instance remembers.
const REMEMBERED: usize = 512;

/// SHA-256 of an identity's JSON, in hex.
pub type IdentityHash = String;

/// What an instance remembers, by project and hash.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<HashMap<(String, IdentityHash), Arc<Identity>>>);

impl Remembered {
    pub fn get(&self, scope: &ProjectScope, hash: &str) -> Option<Arc<Identity>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&(scope.project().to_string(), hash.to_owned()))
            .cloned()
    }

    pub fn add(&self, scope: &ProjectScope, hash: &str, identity: Arc<Identity>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert((scope.project().to_string(), hash.to_owned()), identity);
    }
}
