//! [`Cloud`] on the AWS SDK, against the endpoint the stand-in was given.
//!
//! It uses two identities. The stand-in's own identity calls `sts:AssumeRole` and invokes the event
//! target, which ECS and EventBridge do themselves in AWS. The roles of tasks do everything else. A
//! secret is read with the execution role only, so IAM decides.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use sealfleet_aws_json::{lambda::Lambda, logs::Logs};
use zeroize::Zeroizing;

use crate::clock;
use crate::cloud::{Cloud, CloudError, LogLine, RoleCredentials};
use crate::reference::SecretReference;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longer than the observer may run.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(60);

pub struct Aws {
    /// With the stand-in's own credentials.
    own: SdkConfig,
    observe_function: String,
}

/// Where the services are, and the stand-in's own credentials.
pub struct AwsSettings {
    pub endpoint: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: Zeroizing<String>,
    pub session_token: Option<String>,
    pub observe_function: String,
}

impl Aws {
    pub fn new(settings: AwsSettings) -> Self {
        let own = Credentials::new(
            settings.access_key_id,
            settings.secret_access_key.as_str(),
            settings.session_token,
            None,
            "environment",
        );
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let limits = TimeoutConfig::builder()
            .connect_timeout(CONNECT_LIMIT)
            .operation_attempt_timeout(ATTEMPT_LIMIT)
            .build();
        let own = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(settings.region))
            .endpoint_url(settings.endpoint)
            .http_client(http)
            .timeout_config(limits)
            .credentials_provider(SharedCredentialsProvider::new(own))
            .build();
        Self {
            own,
            observe_function: settings.observe_function,
        }
    }

    fn as_role(&self, role: &RoleCredentials) -> SdkConfig {
        let credentials = Credentials::new(
            &role.access_key_id,
            role.secret_access_key.as_str(),
            Some(role.session_token.to_string()),
            None,
            "assumed role of a task",
        );
        let credentials = SharedCredentialsProvider::new(credentials);
        let config = self.own.to_builder();
        config.credentials_provider(credentials).build()
    }
}

/// Code and message of a failed call. Transport errors have no code from a service.
fn failure<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> CloudError {
    match error {
        SdkError::ServiceError(service) => CloudError {
            code: service.err().code().unwrap_or("Unknown").to_owned(),
            message: service.err().message().unwrap_or("no message").to_owned(),
        },
        other => CloudError {
            code: "RequestError".to_owned(),
            message: match other {
                SdkError::TimeoutError(_) => "the call timed out",
                SdkError::DispatchFailure(_) => "the endpoint could not be reached",
                _ => "the answer could not be read",
            }
            .to_owned(),
        },
    }
}

#[async_trait]
impl Cloud for Aws {
    async fn assume(
        &self,
        role_arn: &str,
        session_name: &str,
    ) -> Result<RoleCredentials, CloudError> {
        let answer = aws_sdk_sts::Client::new(&self.own)
            .assume_role()
            .role_arn(role_arn)
            .role_session_name(session_name)
            .send()
            .await
            .map_err(|error| failure(&error))?;
        let credentials = answer.credentials.ok_or_else(|| CloudError {
            code: "EmptyAnswer".to_owned(),
            message: "STS gave no credentials".to_owned(),
        })?;
        Ok(RoleCredentials {
            access_key_id: credentials.access_key_id,
            secret_access_key: Zeroizing::new(credentials.secret_access_key),
            session_token: Zeroizing::new(credentials.session_token),
            expires_at: credentials
                .expiration
                .to_millis()
                .unwrap_or_else(|_| clock::now()),
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this stands in for the ECS agent, which resolves a task's secrets; no other crate links it"
    )]
    async fn secret(
        &self,
        role: &RoleCredentials,
        reference: &SecretReference,
    ) -> Result<Zeroizing<String>, CloudError> {
        let answer = aws_sdk_secretsmanager::Client::new(&self.as_role(role))
            .get_secret_value()
            .secret_id(&reference.arn)
            .set_version_id(reference.version_id.clone())
            .set_version_stage(reference.version_stage.clone())
            .send()
            .await
            .map_err(|error| failure(&error))?;
        // ECS's agent takes the text of a binary secret for empty (`GetSecretFromASMWithInput` in
        // the amazon-ecs-agent project).
        Ok(Zeroizing::new(answer.secret_string.unwrap_or_default()))
    }

    async fn create_log_stream(
        &self,
        role: &RoleCredentials,
        group: &str,
        stream: &str,
    ) -> Result<(), CloudError> {
        let logs = Logs::new(&self.as_role(role)).map_err(|error| failure(&error))?;
        let created = logs.create_stream(group, stream).await;
        match created.map_err(|error| failure(&error)) {
            Err(error) if error.code == "ResourceAlreadyExistsException" => Ok(()),
            other => other,
        }
    }

    async fn put_log_lines(
        &self,
        role: &RoleCredentials,
        group: &str,
        stream: &str,
        lines: &[LogLine],
    ) -> Result<(), CloudError> {
        let events = lines.iter().map(|line| (line.at, line.text.as_str()));
        let logs = Logs::new(&self.as_role(role)).map_err(|error| failure(&error))?;
        let put = logs.put_events(group, stream, events).await;
        put.map_err(|error| failure(&error))
    }

    async fn deliver_event(&self, event: &serde_json::Value) -> Result<(), CloudError> {
        let lambda = Lambda::new(&self.own).map_err(|error| failure(&error))?;
        let invoked = lambda.invoke(&self.observe_function, event).await;
        let answer = invoked.map_err(|error| failure(&error))?;
        match answer.function_error {
            None => Ok(()),
            Some(kind) => Err(CloudError {
                code: kind,
                message: format!("`{}` answered with an error", self.observe_function),
            }),
        }
    }
}
