//! Queue messages: hints that a step may be claimed. Losing one only costs time, since `sweep`
//! sends it again.

use async_trait::async_trait;
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesError;
use aws_sdk_sqs::types::QueueAttributeName;
use sealfleet_domain::cause::chain;
use sealfleet_domain::scope::NoScope;
use sealfleet_domain::{NamePrefix, PoolName, ProjectScope};

use crate::Unavailable;

/// Sends queue messages.
#[async_trait]
pub trait Queues: Send + Sync {
    /// Sends `body` to the queue of a pool.
    async fn send(
        &self,
        scope: &ProjectScope,
        pool: &PoolName,
        body: String,
    ) -> Result<(), Unavailable>;

    /// Whether a pool has a queue.
    async fn is_deployed(&self, scope: &ProjectScope, pool: &PoolName)
    -> Result<bool, Unavailable>;
}

/// Asks for another invocation that goes on. A request that is lost only costs time, since `sweep`
/// goes on by itself.
#[async_trait]
pub trait Continuations: Send + Sync {
    /// Asks for an invocation with `body`.
    async fn go_on(&self, body: String) -> Result<(), Unavailable>;
}

/// The name of a pool's queue. Names contain no `--`, so no two pools share one.
#[must_use]
pub fn queue_name(prefix: &NamePrefix, scope: &ProjectScope, pool: &PoolName) -> String {
    format!("{prefix}-{}--{pool}", scope.project())
}

/// The name of the queue of what one invocation could not finish and another is to go on with.
#[must_use]
pub fn continue_queue(prefix: &NamePrefix) -> String {
    format!("{prefix}-continue")
}

/// The project and pool of a message, from the ARN of the queue that Lambda polled for it.
///
/// # Errors
/// When the ARN is not that of a pool's queue.
pub fn scope_of_queue(arn: &str) -> Result<(ProjectScope, PoolName), NoScope> {
    ProjectScope::of_queue(arn.rsplit(':').next().unwrap_or(arn))
}

/// Amazon SQS.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: aws_sdk_sqs::Client,
    url_prefix: String,
    names: NamePrefix,
}

impl Sqs {
    /// Queues whose URLs are `url_prefix` and the queue's name.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, url_prefix: String, names: NamePrefix) -> Self {
        Self {
            client: aws_sdk_sqs::Client::new(config),
            url_prefix,
            names,
        }
    }

    async fn send_to(&self, queue: &str, body: String) -> Result<(), Unavailable> {
        let url = format!("{}{queue}", self.url_prefix);
        let sent = self
            .client
            .send_message()
            .queue_url(url)
            .message_body(body)
            .send()
            .await;
        sent.map(|_| ()).map_err(|error| Unavailable {
            service: "SQS",
            detail: chain(&error),
        })
    }
}

#[async_trait]
impl Queues for Sqs {
    async fn send(
        &self,
        scope: &ProjectScope,
        pool: &PoolName,
        body: String,
    ) -> Result<(), Unavailable> {
        self.send_to(&queue_name(&self.names, scope, pool), body)
            .await
    }

    async fn is_deployed(
        &self,
        scope: &ProjectScope,
        pool: &PoolName,
    ) -> Result<bool, Unavailable> {
        let name = queue_name(&self.names, scope, pool);
        let asked = self
            .client
            .get_queue_attributes()
            .queue_url(format!("{}{name}", self.url_prefix))
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await;
        match asked {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(is_absent) => Ok(false),
            Err(error) => Err(Unavailable {
                service: "SQS",
                detail: chain(&error),
            }),
        }
    }
}

/// The error has two codes, that of the JSON protocol and an older one.
fn is_absent(error: &GetQueueAttributesError) -> bool {
    let code = error.code().unwrap_or_default();
    error.is_queue_does_not_exist() || code.ends_with("NonExistentQueue")
}

#[async_trait]
impl Continuations for Sqs {
    async fn go_on(&self, body: String) -> Result<(), Unavailable> {
        self.send_to(&continue_queue(&self.names), body).await
    }
}
