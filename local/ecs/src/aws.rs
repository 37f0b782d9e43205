//! [`Cloud`] on the real SDK, with the endpoint that the stand-in was given.
//!
//! It uses two identities. The stand-in's own identity calls `sts:AssumeRole` and invokes the event
//! target, which ECS and EventBridge do themselves in AWS. The roles of tasks do everything else. A
//! secret is read with the execution role only, so IAM decides.

use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use aws_sdk_lambda::primitives::Blob;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use zeroize::Zeroizing;

use crate::clock;
use crate::cloud::{Cloud, CloudError, LogLine, RoleCredentials};
use crate::reference::SecretReference;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longer than the observer may run.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(60);

/// Builds a client. A macro, because each SDK crate has its own configuration types.
macro_rules! client {
    ($sdk:ident, $aws:expr, $credentials:expr) => {
        $sdk::Client::from_conf(
            $sdk::Config::builder()
                .behavior_version($sdk::config::BehaviorVersion::latest())
                .region($sdk::config::Region::new($aws.region.clone()))
                .endpoint_url(&$aws.endpoint)
                .http_client($aws.http.clone())
                .timeout_config(
                    $sdk::config::timeout::TimeoutConfig::builder()
                        .connect_timeout(CONNECT_LIMIT)
                        .operation_attempt_timeout(ATTEMPT_LIMIT)
                        .build(),
                )
                .credentials_provider($credentials)
                .build(),
        )
    };
}

pub struct Aws {
    endpoint: String,
    region: String,
    observe_function: String,
    http: aws_sdk_sts::config::SharedHttpClient,
    sts: aws_sdk_sts::Client,
    lambda: aws_sdk_lambda::Client,
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

struct Link {
    endpoint: String,
    region: String,
    http: aws_sdk_sts::config::SharedHttpClient,
}

impl Aws {
    pub fn new(settings: AwsSettings) -> Self {
        let link = Link {
            endpoint: settings.endpoint,
            region: settings.region,
            http: aws_smithy_http_client::Builder::new()
                .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
                .build_https(),
        };
        let own = Credentials::new(
            settings.access_key_id,
            settings.secret_access_key.as_str(),
            settings.session_token,
            None,
            "environment",
        );
        Self {
            sts: client!(aws_sdk_sts, link, own.clone()),
            lambda: client!(aws_sdk_lambda, link, own),
            endpoint: link.endpoint,
            region: link.region,
            http: link.http,
            observe_function: settings.observe_function,
        }
    }
}

fn sdk_credentials(role: &RoleCredentials) -> Credentials {
    Credentials::new(
        &role.access_key_id,
        role.secret_access_key.as_str(),
        Some(role.session_token.to_string()),
        None,
        "assumed role of a task",
    )
}

/// Code and message of a failed call. Transport errors have no code from a service.
fn failure<E, R>(error: &aws_sdk_sts::error::SdkError<E, R>) -> CloudError
where
    E: aws_sdk_sts::error::ProvideErrorMetadata,
    R: std::fmt::Debug,
    E: std::error::Error + 'static,
{
    match error {
        aws_sdk_sts::error::SdkError::ServiceError(service) => CloudError {
            code: service.err().code().unwrap_or("Unknown").to_owned(),
            message: service.err().message().unwrap_or("no message").to_owned(),
        },
        other => CloudError {
            code: "RequestError".to_owned(),
            message: match other {
                aws_sdk_sts::error::SdkError::TimeoutError(_) => "the call timed out",
                aws_sdk_sts::error::SdkError::DispatchFailure(_) => {
                    "the endpoint could not be reached"
                }
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
        let answer = self
            .sts
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
        let answer = client!(aws_sdk_secretsmanager, self, sdk_credentials(role))
            .get_secret_value()
            .secret_id(&reference.arn)
            .set_version_id(reference.version_id.clone())
            .set_version_stage(reference.version_stage.clone())
            .send()
            .await
            .map_err(|error| failure(&error))?;
        answer.secret_string.map(Zeroizing::new).ok_or_else(|| CloudError {
            code: "InvalidRequest".to_owned(),
            message: "the secret holds binary data; only text can be put into an environment variable".to_owned(),
        })
    }

    async fn create_log_stream(
        &self,
        role: &RoleCredentials,
        group: &str,
        stream: &str,
    ) -> Result<(), CloudError> {
        let created = client!(aws_sdk_cloudwatchlogs, self, sdk_credentials(role))
            .create_log_stream()
            .log_group_name(group)
            .log_stream_name(stream)
            .send()
            .await;
        match created.map_err(|error| failure(&error)) {
            Err(error) if error.code == "ResourceAlreadyExistsException" => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    async fn put_log_lines(
        &self,
        role: &RoleCredentials,
        group: &str,
        stream: &str,
        lines: &[LogLine],
    ) -> Result<(), CloudError> {
        let events = lines
            .iter()
            .filter_map(|line| {
                InputLogEvent::builder()
                    .timestamp(line.at)
                    .message(&line.text)
                    .build()
                    .ok()
            })
            .collect();
        client!(aws_sdk_cloudwatchlogs, self, sdk_credentials(role))
            .put_log_events()
            .log_group_name(group)
            .log_stream_name(stream)
            .set_log_events(Some(events))
            .send()
            .await
            .map(|_| ())
            .map_err(|error| failure(&error))
    }

    async fn deliver_event(&self, event: &serde_json::Value) -> Result<(), CloudError> {
        let answer = self
            .lambda
            .invoke()
            .function_name(&self.observe_function)
            .payload(Blob::new(event.to_string()))
            .send()
            .await
            .map_err(|error| failure(&error))?;
        match answer.function_error {
            None => Ok(()),
            Some(kind) => Err(CloudError {
                code: kind,
                message: format!("`{}` answered with an error", self.observe_function),
            }),
        }
    }
}
