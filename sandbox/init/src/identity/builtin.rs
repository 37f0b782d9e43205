//! `builtin://NAME`: the encrypted file beside the worker.

use super::{IdentityBackend, IdentityError, Resolved};
use crate::store::{Opened, StoreError};

/// The opened store, or none when the worker has none.
pub struct Builtin(pub Option<Opened>);

impl IdentityBackend for Builtin {
    fn scheme(&self) -> &'static str {
        "builtin"
    }

    fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        let Some(store) = &self.0 else {
            let message = format!(
                "`builtin://{name}` cannot be resolved: this worker has no builtin store configured"
            );
            return Err(IdentityError {
                code: "no_store",
                message,
            });
        };
        let (value, version) = store.get(name, version).map_err(IdentityError::from)?;
        Ok(Resolved { value, version })
    }
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
        }
    }
}
