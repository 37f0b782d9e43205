//! Credentials of task roles. Each role is served on a path that cannot be guessed, as the ECS
//! agent does on 169.254.170.2. Only its sandbox knows the path, and the path closes when the task
//! ends.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::clock;
use crate::cloud::{CloudError, RoleSession};
use crate::random;

#[derive(Default)]
pub struct CredentialPaths {
    sessions: Mutex<HashMap<String, Arc<RoleSession>>>,
}

impl CredentialPaths {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<RoleSession>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a path (256 random bits) for a role.
    pub fn open(&self, session: RoleSession) -> String {
        let path = random::secret_path();
        self.lock().insert(path.clone(), Arc::new(session));
        path
    }

    pub fn close(&self, path: &str) {
        self.lock().remove(path);
    }

    /// The answer of the container credentials endpoint. `None` for an unknown path.
    pub async fn serve(&self, path: &str) -> Option<Result<Value, CloudError>> {
        let session = self.lock().get(path).cloned()?;
        Some(session.credentials().await.map(|credentials| {
            json!({
                "RoleArn": session.role_arn,
                "AccessKeyId": credentials.access_key_id,
                "SecretAccessKey": credentials.secret_access_key.as_str(),
                "Token": credentials.session_token.as_str(),
                "Expiration": clock::iso(credentials.expires_at),
            })
        }))
    }
}
