//! The AWS calls of the stand-in, as traits. [`crate::aws`] implements them with the real services,
//! and tests with fakes.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::clock::{self, Millis};
use crate::reference::SecretReference;

/// Credentials are renewed when they expire in less than this, in milliseconds.
const RENEW_BEFORE: Millis = 5 * 60 * 1000;

/// Temporary credentials of an assumed role.
#[derive(Clone)]
pub struct RoleCredentials {
    pub access_key_id: String,
    pub secret_access_key: Zeroizing<String>,
    pub session_token: Zeroizing<String>,
    pub expires_at: Millis,
}

impl fmt::Debug for RoleCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RoleCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A failed call: the service's error code and message. They never contain a secret's value.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CloudError {
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub at: Millis,
    pub text: String,
}

/// The AWS calls of the ECS service and of its agent.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// `sts:AssumeRole` with the stand-in's own credentials, as ECS does.
    async fn assume(
        &self,
        role_arn: &str,
        session_name: &str,
    ) -> Result<RoleCredentials, CloudError>;
    /// `secretsmanager:GetSecretValue` under `role`. Returns the whole secret as text.
    async fn secret(
        &self,
        role: &RoleCredentials,
        reference: &SecretReference,
    ) -> Result<Zeroizing<String>, CloudError>;
    /// `logs:CreateLogStream` under `role`. Succeeds if the stream exists.
    async fn create_log_stream(
        &self,
        role: &RoleCredentials,
        group: &str,
        stream: &str,
    ) -> Result<(), CloudError>;
    /// `logs:PutLogEvents` under `role`. Lines are in order of time.
    async fn put_log_lines(
        &self,
        role: &RoleCredentials,
        group: &str,
        stream: &str,
        lines: &[LogLine],
    ) -> Result<(), CloudError>;
    /// Sends one event to its target and waits for its answer.
    async fn deliver_event(&self, event: &serde_json::Value) -> Result<(), CloudError>;
}

/// A role assumed for one task. Renews its credentials before they expire.
pub struct RoleSession {
    cloud: Arc<dyn Cloud>,
    pub role_arn: String,
    session_name: String,
    current: Mutex<RoleCredentials>,
}

impl RoleSession {
    /// Assumes the role with the task's id as the session name.
    ///
    /// # Errors
    /// The error of STS.
    pub async fn open(
        cloud: Arc<dyn Cloud>,
        role_arn: &str,
        session_name: &str,
    ) -> Result<Self, CloudError> {
        let current = cloud.assume(role_arn, session_name).await?;
        Ok(Self {
            cloud,
            role_arn: role_arn.to_owned(),
            session_name: session_name.to_owned(),
            current: Mutex::new(current),
        })
    }

    /// Credentials that stay valid for at least some minutes.
    ///
    /// # Errors
    /// The error of STS when the credentials had to be renewed.
    pub async fn credentials(&self) -> Result<RoleCredentials, CloudError> {
        let mut current = self.current.lock().await;
        if current.expires_at - clock::now() < RENEW_BEFORE {
            *current = self
                .cloud
                .assume(&self.role_arn, &self.session_name)
                .await?;
        }
        Ok(current.clone())
    }
}
