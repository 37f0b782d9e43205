//! Errors of the ECS API, in the format of the AWS JSON 1.1 protocol.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// An error answer: `{"__type": code, "message": ...}` and an HTTP status.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Fields beside the message, such as `resourceIds` of a `ConflictException`.
    pub extra: Map<String, Value>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            extra: Map::new(),
        }
    }

    pub fn client(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ClientException", message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidParameterException",
            message,
        )
    }

    /// The same `clientToken` with other parameters. Names the tasks that hold the token.
    pub fn conflict(task_arns: &[String]) -> Self {
        let mut error = Self::new(
            StatusCode::BAD_REQUEST,
            "ConflictException",
            "The provided client token is already in use with a different RunTask request.",
        );
        error.extra.insert("resourceIds".into(), json!(task_arns));
        error
    }

    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "AccessDeniedException", message)
    }

    pub fn refused(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn throttled() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "ThrottlingException",
            "Rate exceeded",
        )
    }

    pub fn server(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "ServerException",
            message,
        )
    }

    pub fn unknown_operation(target: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "UnknownOperationException",
            format!("`{target}` is not served by the local stand-in for ECS."),
        )
    }

    pub fn body(&self) -> Value {
        let mut body = self.extra.clone();
        body.insert("__type".into(), json!(self.code));
        body.insert("message".into(), json!(self.message));
        Value::Object(body)
    }
}
