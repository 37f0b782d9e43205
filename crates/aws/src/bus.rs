//! The account's default event bus.

use async_trait::async_trait;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use sealfleet_domain::cause::chain;
use serde_json::Value;

use crate::Unavailable;

/// What the product's events name as their source.
pub const SOURCE: &str = "sealfleet";

/// Takes events.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Puts one event on it.
    async fn put(&self, detail_type: &str, detail: &Value) -> Result<(), Unavailable>;
}

/// Amazon EventBridge.
#[derive(Clone, Debug)]
pub struct EventBridge(aws_sdk_eventbridge::Client);

impl EventBridge {
    /// The default bus of the functions' account.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self(aws_sdk_eventbridge::Client::new(config))
    }
}

#[async_trait]
impl Bus for EventBridge {
    async fn put(&self, detail_type: &str, detail: &Value) -> Result<(), Unavailable> {
        let unavailable = |detail: String| Unavailable {
            service: "EventBridge",
            detail,
        };
        let entry = PutEventsRequestEntry::builder()
            .source(SOURCE)
            .detail_type(detail_type)
            .detail(detail.to_string())
            .build();
        let answer = self.0.put_events().entries(entry).send().await;
        let answer = answer.map_err(|error| unavailable(chain(&error)))?;
        // A refused entry is told in the answer of a call that succeeds.
        let entry = answer.entries().first();
        match entry.and_then(|entry| entry.error_code()) {
            None => Ok(()),
            Some(code) => Err(unavailable(code.to_owned())),
        }
    }
}
