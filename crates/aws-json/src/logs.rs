//! Amazon CloudWatch Logs: `CreateLogStream`, `PutLogEvents`.

use aws_config::SdkConfig;
use serde_json::{Value, json};

use crate::CallError;
use crate::call::{Request, Service};

/// The log groups of an account and region.
#[derive(Clone, Debug)]
pub struct Logs(Service);

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

    async fn call(&self, target: &'static str, body: &Value) -> Result<(), CallError> {
        let request = Request {
            path: "/".to_owned(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", target),
            ],
            body: body.to_string().into_bytes(),
        };
        self.0.post(request).await.map(drop)
    }
}
