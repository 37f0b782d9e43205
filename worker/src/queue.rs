//! The worker's own queue, read with credentials for this queue only.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Region, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use sealfleet_domain::Clock;
use sealfleet_domain::cause::chain;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::control::ControlPlane;

/// How long SQS waits for a message before it answers; its maximum.
const LONG_POLL_SECONDS: i32 = 20;

/// A message: a hint that a step may be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub body: String,
    /// Identifies this delivery, to delete or release it.
    pub receipt: String,
}

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error(transparent)]
    Control(#[from] sealfleet_client::Error),
    #[error("cannot read the queue: {0}")]
    Queue(String),
}

/// A queue of hints.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Waits for a message, up to the length of a long poll.
    async fn receive(&self) -> Result<Option<Message>, QueueError>;
    async fn delete(&self, message: &Message) -> Result<(), QueueError>;
    /// Makes a message visible again, to any worker, after a pause.
    async fn release(&self, message: &Message, after: Duration) -> Result<(), QueueError>;
}

/// The queue in SQS.
pub struct SqsQueue {
    control: Arc<dyn ControlPlane>,
    clock: Arc<dyn Clock>,
    endpoint: Option<String>,
    http: SharedHttpClient,
    session: Mutex<Option<Session>>,
}

#[derive(Clone)]
struct Session {
    client: Client,
    url: String,
    fresh_until: Instant,
}

impl SqsQueue {
    /// `endpoint` replaces AWS's own, for the local stack.
    #[must_use]
    pub fn new(
        control: Arc<dyn ControlPlane>,
        clock: Arc<dyn Clock>,
        endpoint: Option<String>,
    ) -> Self {
        let plain = endpoint
            .as_deref()
            .is_some_and(|endpoint| endpoint.starts_with("http://"));
        Self {
            control,
            clock,
            endpoint,
            http: http(plain),
            session: Mutex::new(None),
        }
    }

    /// The current session, or a new one once three quarters of its credentials' life have passed.
    async fn session(&self) -> Result<Session, QueueError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held
            .as_ref()
            .filter(|session| Instant::now() < session.fresh_until)
        {
            return Ok(session.clone());
        }
        let key = self.control.queue_credentials().await?;
        let life = u64::try_from(key.expires_at.millis_since(self.clock.now())).unwrap_or_default();
        let fresh_until = Instant::now() + Duration::from_millis(life) * 3 / 4;
        let credentials = Credentials::new(
            key.access_key_id,
            key.secret_access_key,
            Some(key.session_token),
            None,
            "sealfleet",
        );
        // A little longer than one long poll.
        let patience = Duration::from_secs(u64::from(LONG_POLL_SECONDS.unsigned_abs()) + 10);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_attempt_timeout(patience)
            .operation_timeout(patience * 2)
            .build();
        let mut config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(key.region))
            .credentials_provider(credentials)
            .http_client(self.http.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            .timeout_config(timeouts);
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        let session = Session {
            client: Client::from_conf(config.build()),
            url: key.queue_url,
            fresh_until,
        };
        *held = Some(session.clone());
        Ok(session)
    }

    /// Drops the session: its credentials may be the cause, so the next request gets new ones.
    async fn failed(&self, error: impl std::error::Error) -> QueueError {
        self.session.lock().await.take();
        QueueError::Queue(chain(&error))
    }
}

/// Connections by the proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`), as those to the
/// control plane. The SDK asks for no proxy by itself.
fn http(plain: bool) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        if plain {
            connector.build_http()
        } else {
            let provider = Provider::Rustls(CryptoMode::Ring);
            connector.tls_provider(provider).build()
        }
    })
}

#[async_trait]
impl Queue for SqsQueue {
    async fn receive(&self) -> Result<Option<Message>, QueueError> {
        let session = self.session().await?;
        let request = session.client.receive_message().queue_url(session.url);
        let request = request
            .max_number_of_messages(1)
            .wait_time_seconds(LONG_POLL_SECONDS);
        let received = match request.send().await {
            Ok(received) => received,
            Err(error) => return Err(self.failed(error).await),
        };
        Ok(received
            .messages
            .unwrap_or_default()
            .into_iter()
            .next()
            .map(|message| Message {
                body: message.body.unwrap_or_default(),
                receipt: message.receipt_handle.unwrap_or_default(),
            }))
    }

    async fn delete(&self, message: &Message) -> Result<(), QueueError> {
        let session = self.session().await?;
        let request = session
            .client
            .delete_message()
            .queue_url(session.url)
            .receipt_handle(&message.receipt);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    async fn release(&self, message: &Message, after: Duration) -> Result<(), QueueError> {
        let session = self.session().await?;
        let seconds = i32::try_from(after.as_secs()).unwrap_or(i32::MAX);
        let request = session
            .client
            .change_message_visibility()
            .queue_url(session.url);
        match request
            .receipt_handle(&message.receipt)
            .visibility_timeout(seconds)
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }
}
