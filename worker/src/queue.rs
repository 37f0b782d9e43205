//! The worker's own queue, read with credentials for this queue only.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Region, SharedHttpClient};
use aws_sdk_sqs::error::SdkError;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use sealfleet_client::is_this_machine;
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
    /// The queue does not answer, or refuses.
    #[error(
        "cannot read the queue at `{endpoint}`: {cause}; the worker must reach this address, by \
         `HTTPS_PROXY` if need be, or another one that `--queue-endpoint` names"
    )]
    Queue { endpoint: String, cause: String },
    /// A pull pool may be older than its queue.
    #[error(
        "cannot read the queue `{0}`: it is not there; deploy the project's stack with this worker's pool"
    )]
    Absent(String),
    /// The control plane names a queue that this worker does not go to.
    #[error("the queue's address `{0}` cannot be used: it is not `https`, and not on this machine")]
    Address(String),
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
    session: Mutex<Option<Session>>,
}

#[derive(Clone)]
struct Session {
    client: Client,
    endpoint: String,
    url: String,
    fresh_until: Instant,
}

impl SqsQueue {
    /// The control plane names the queue by its URL, and so its endpoint. `endpoint` replaces that
    /// one, for a network in which the queue has another address.
    #[must_use]
    pub fn new(
        control: Arc<dyn ControlPlane>,
        clock: Arc<dyn Clock>,
        endpoint: Option<String>,
    ) -> Self {
        Self {
            control,
            clock,
            endpoint,
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
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => endpoint_of(&key.queue_url)
                .ok_or_else(|| QueueError::Address(key.queue_url.clone()))?,
        };
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
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(key.region))
            .credentials_provider(credentials)
            .http_client(http(endpoint.starts_with("http://")))
            .endpoint_url(&endpoint)
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            .timeout_config(timeouts);
        let session = Session {
            client: Client::from_conf(config.build()),
            endpoint,
            url: key.queue_url,
            fresh_until,
        };
        *held = Some(session.clone());
        Ok(session)
    }

    /// Drops the session: its credentials may be the cause, so the next request gets new ones.
    async fn failed(&self, endpoint: String, error: impl std::error::Error) -> QueueError {
        self.session.lock().await.take();
        let cause = chain(&error);
        QueueError::Queue { endpoint, cause }
    }
}

/// The endpoint of a queue's URL: `https://sqs.eu-west-1.amazonaws.com`. Plain `http` only on this
/// machine, where the local stack is.
pub(crate) fn endpoint_of(queue_url: &str) -> Option<String> {
    let (scheme, rest) = queue_url.split_once("://")?;
    let (address, _) = rest.split_once('/')?;
    let plain = scheme == "http" && is_this_machine(&format!("http://{address}"));
    let usable = !address.is_empty() && !address.contains('@') && (scheme == "https" || plain);
    usable.then(|| format!("{scheme}://{address}"))
}

/// Connections by the proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`), as those to the
/// control plane. The SDK asks for no proxy by itself.
pub(crate) fn http(plain: bool) -> SharedHttpClient {
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
        let url = session.url;
        let request = session.client.receive_message().queue_url(&url);
        let request = request
            .max_number_of_messages(1)
            .wait_time_seconds(LONG_POLL_SECONDS);
        let received = match request.send().await {
            Ok(received) => received,
            Err(SdkError::ServiceError(refusal)) if refusal.err().is_queue_does_not_exist() => {
                self.session.lock().await.take();
                return Err(QueueError::Absent(url));
            }
            Err(error) => return Err(self.failed(session.endpoint, error).await),
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
            Err(error) => Err(self.failed(session.endpoint, error).await),
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
            Err(error) => Err(self.failed(session.endpoint, error).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_itself_says_where_it_is() {
        for (url, endpoint) in [
            (
                "https://sqs.eu-west-1.amazonaws.com/000000000000/sealfleet-healthcare--workers",
                Some("https://sqs.eu-west-1.amazonaws.com"),
            ),
            (
                "http://127.0.0.1:41234/000000000000/q",
                Some("http://127.0.0.1:41234"),
            ),
            ("http://[::1]:9/0/q", Some("http://[::1]:9")),
            ("http://sqs.eu-west-1.amazonaws.com/0/q", None),
            ("http://127.0.0.1@example.com/0/q", None),
            ("ftp://127.0.0.1/0/q", None),
            ("https://", None),
            ("q", None),
        ] {
            assert_eq!(endpoint_of(url).as_deref(), endpoint, "{url}");
        }
    }
}
