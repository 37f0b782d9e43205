//! What the stand-in asks of AWS, as traits: the real services are in [`crate::aws`], tests bring
//! their own.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::clock::{self, Millis};
use crate::reference::SecretReference;

/// Credentials are renewed when they have less than this to live, in milliseconds.
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

/// A call that failed: the service's error code and its message, which never hold a secret's value.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CloudError {
    pub code: String,
    pub message: String,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub at: Millis,
    pub text: String,
}

/// The AWS calls of the ECS service and of its agent.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// `sts:AssumeRole` with the stand-in's own credentials, as ECS itself does.
    async fn assume(
        &self,
        role_arn: &str,
        session_name: &str,
    ) -> Result<RoleCredentials, CloudError>;
    /// `secretsmanager:GetSecretValue` under `role`; the whole secret as text.
    async fn secret(
        &self,
        role: &RoleCredentials,
        reference: &SecretReference,
    ) -> Result<Zeroizing<String>, CloudError>;
    /// `logs:CreateLogStream` under `role`; a stream that exists is success.
    async fn create_log_stream(
        &self,
        role: &RoleCredentials,
        group: &str,
        stream: &str,
    ) -> Result<(), CloudError>;
    /// `logs:PutLogEvents` under `role`, in the order of time.
    async fn put_log_lines(
        &self,
        role: &RoleCredentials,
        group: &str,
        stream: &str,
        lines: &[LogLine],
    ) -> Result<(), CloudError>;
    /// Hands one event to its target and waits for its answer.
    async fn deliver_event(&self, event: &serde_json::Value) -> Result<(), CloudError>;
}

/// One role assumed for one task; renews its credentials before they expire.
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
    /// What STS answers.
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

    /// Credentials that live for some minutes at least.
    ///
    /// # Errors
    /// What STS answers when they had to be renewed.
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
