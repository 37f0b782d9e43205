//! Amazon CloudWatch Logs: `CreateLogStream`, `PutLogEvents`, `FilterLogEvents`.

use aws_config::SdkConfig;
use serde_json::{Value, json};

use crate::CallError;
use crate::call::Service;

/// The log groups of an account and region.
#[derive(Clone, Debug)]
pub struct Logs(Service);

/// Events of a group.
#[derive(Debug)]
pub struct Page {
    pub messages: Vec<String>,
    /// Where the next page begins, if there is one. A page may be empty and not the last.
    pub next: Option<String>,
}

impl Logs {
    /// # Errors
    /// When the configuration lacks a region, credentials or an HTTP client.
    pub fn new(config: &SdkConfig) -> Result<Self, Box<CallError>> {
        Service::new(config, "logs", "CloudWatch Logs").map(Self)
    }

    /// # Errors
    /// What the service answers: `ResourceAlreadyExistsException` when there is such a stream.
    pub async fn create_stream(&self, group: &str, stream: &str) -> Result<(), CallError> {
        let body = json!({ "logGroupName": group, "logStreamName": stream });
        self.call("Logs_20140328.CreateLogStream", &body).await
    }

    /// Appends events, each a time in milliseconds since 1970 and a text, in the order of time.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub async fn put_events<'a>(
        &self,
        group: &str,
        stream: &str,
        events: impl Iterator<Item = (i64, &'a str)>,
    ) -> Result<(), CallError> {
        let events: Vec<Value> = events
            .map(|(at, text)| json!({ "timestamp": at, "message": text }))
            .collect();
        let body = json!({ "logGroupName": group, "logStreamName": stream, "logEvents": events });
        self.call("Logs_20140328.PutLogEvents", &body).await
    }

    /// The events of a group since a time, in milliseconds since 1970: one page, which begins
    /// where `token` says.
    ///
    /// # Errors
    /// What the service answers: `ResourceNotFoundException` when there is no such group.
    pub async fn events_since(
        &self,
        group: &str,
        since: i64,
        token: Option<&str>,
    ) -> Result<Page, CallError> {
        let mut body = json!({ "logGroupName": group, "startTime": since });
        if let (Some(token), Some(body)) = (token, body.as_object_mut()) {
            body.insert("nextToken".to_owned(), token.into());
        }
        let answer = self.0.json("Logs_20140328.FilterLogEvents", &body).await?;
        let text = |value: Option<&Value>| Some(value?.as_str()?.to_owned());
        let events = answer.get("events").and_then(Value::as_array);
        Ok(Page {
            messages: events
                .into_iter()
                .flatten()
                .filter_map(|event| text(event.get("message")))
                .collect(),
            next: text(answer.get("nextToken")),
        })
    }

    async fn call(&self, target: &'static str, body: &Value) -> Result<(), CallError> {
        self.0.json(target, body).await.map(drop)
    }
}
