//! AWS Lambda: `Invoke`.

use aws_config::SdkConfig;
use serde_json::Value;

use crate::CallError;
use crate::call::{Request, Service, segment};

/// The functions of an account and region.
#[derive(Clone, Debug)]
pub struct Lambda(Service);

/// The end of an invocation.
#[derive(Debug)]
pub struct Invoked {
    /// The function's answer, or the description of its error.
    pub payload: Vec<u8>,
    /// `Handled` or `Unhandled` when the function ended with an error.
    pub function_error: Option<String>,
}

impl Lambda {
    /// # Errors
    /// When the configuration lacks a region, credentials or an HTTP client.
    pub fn new(config: &SdkConfig) -> Result<Self, Box<CallError>> {
        Service::new(config, "lambda", "Lambda").map(Self)
    }

    /// Invokes a function, by its name or ARN, and waits for its end.
    ///
    /// # Errors
    /// When Lambda refuses or does not answer. An error of the function is an [`Invoked`].
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Invoked, CallError> {
        let request = Request {
            path: format!("/2015-03-31/functions/{}/invocations", segment(function)),
            headers: vec![("content-type", "application/json")],
            body: event.to_string().into_bytes(),
        };
        let answer = self.0.post(request).await?;
        Ok(Invoked {
            payload: answer.body,
            function_error: answer.function_error,
        })
    }
}
