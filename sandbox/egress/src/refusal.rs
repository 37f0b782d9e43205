//! Why a request does not get what it asks for, as programs and agents read it.
//!
//! An answer names a host that is well formed, and a port. It repeats nothing else of the request.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use crate::forward::Body;
use crate::target::Target;

/// RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why a request is refused, or cannot be served.
#[derive(Debug)]
pub enum Refusal {
    /// Its form is wrong, and how to write it.
    Request(&'static str),
    /// The policy has no rule for it.
    NoRule(Target),
    /// The host has an address that no step may reach.
    Address(Target),
    /// The name has no address.
    Unknown(Target),
    /// DNS did not answer in time.
    LookupTime(Target),
    /// Nothing listens there.
    Closed(Target),
    /// No address accepted a connection in time.
    ConnectTime(Target),
    /// There is no way there.
    Unreachable(Target),
    /// It did not answer in time.
    AnswerTime(Target),
    /// It ended the connection without an answer.
    Broken(Target),
    /// Its answer is not HTTP/1.1, or can be read in two ways.
    Answer(Target),
}

/// The parts of an answer. `title` is the reason phrase too, which clients show that show no body.
struct Parts {
    status: StatusCode,
    code: &'static str,
    /// An error of RFC 9209, 2.3.
    error: &'static str,
    title: String,
    detail: String,
}

impl Refusal {
    fn parts(&self) -> Parts {
        let of = |status, code, error, title: String, detail: &str| Parts {
            status,
            code,
            error,
            title,
            detail: detail.to_owned(),
        };
        match self {
            Self::Request(what) => of(
                StatusCode::BAD_REQUEST,
                "egress_bad_request",
                "http_request_error",
                "The egress proxy does not take this request".to_owned(),
                what,
            ),
            Self::NoRule(target) => of(
                StatusCode::FORBIDDEN,
                "egress_no_rule",
                "http_request_denied",
                format!("The egress policy of this step has no rule for {target}"),
                &format!(
                    "The egress policy of this step has no rule for {target}, so the proxy did \
                     not connect to it. Trying again does not help. Somebody who may change the \
                     step's profile can add the rule in `missing_rule`, if every level of its \
                     cascade allows it."
                ),
            ),
            Self::Address(target) => of(
                StatusCode::FORBIDDEN,
                "egress_address",
                "destination_ip_prohibited",
                format!("{target} has an address that no step may reach"),
                &format!(
                    "{target} has an address that is private, local, reserved, or gives out \
                     credentials, so the proxy did not connect to it. Trying again does not help. \
                     The operator of the worker can open a private network to its steps."
                ),
            ),
            Self::Unknown(target) => of(
                StatusCode::BAD_GATEWAY,
                "egress_dns",
                "dns_error",
                format!("{target} has no address"),
                &format!(
                    "DNS gave no address for the host of {target}. Check how it is spelt, or try \
                     again later."
                ),
            ),
            Self::LookupTime(target) => of(
                StatusCode::GATEWAY_TIMEOUT,
                "egress_dns_time",
                "dns_timeout",
                format!("DNS did not answer in time for {target}"),
                &format!("DNS did not answer in time for the host of {target}. Try again later."),
            ),
            Self::Closed(target) => of(
                StatusCode::BAD_GATEWAY,
                "egress_connection_refused",
                "connection_refused",
                format!("{target} refuses connections"),
                &format!("Nothing listens on {target}. Check the port, or try again later."),
            ),
            Self::ConnectTime(target) => of(
                StatusCode::GATEWAY_TIMEOUT,
                "egress_connection_time",
                "connection_timeout",
                format!("{target} did not accept a connection in time"),
                &format!("{target} did not accept a connection in time. Try again later."),
            ),
            Self::Unreachable(target) => of(
                StatusCode::BAD_GATEWAY,
                "egress_unreachable",
                "destination_ip_unroutable",
                format!("No way leads to {target}"),
                &format!("The network has no way to {target}. Try again later."),
            ),
            Self::AnswerTime(target) => of(
                StatusCode::GATEWAY_TIMEOUT,
                "egress_answer_time",
                "http_response_timeout",
                format!("{target} did not answer in time"),
                &format!("{target} took the request and did not answer in time."),
            ),
            Self::Broken(target) => of(
                StatusCode::BAD_GATEWAY,
                "egress_connection_ended",
                "connection_terminated",
                format!("{target} ended the connection"),
                &format!("{target} ended the connection before it had answered."),
            ),
            Self::Answer(target) => of(
                StatusCode::BAD_GATEWAY,
                "egress_bad_answer",
                "http_protocol_error",
                format!("{target} did not answer as HTTP/1.1"),
                &format!("{target} sent what is not an answer of HTTP/1.1."),
            ),
        }
    }

    /// Problem details (RFC 9457).
    pub fn answer(&self) -> Response<Body> {
        let parts = self.parts();
        let mut problem = json!({
            "type": format!("urn:sealfleet:problem:{}", parts.code),
            "title": parts.title,
            "status": parts.status.as_u16(),
            "detail": parts.detail,
            "code": parts.code,
        });
        if let (Self::NoRule(target), Some(fields)) = (self, problem.as_object_mut()) {
            let rule = json!({ "host": target.host.to_string(), "port": target.port });
            fields.insert("missing_rule".to_owned(), rule);
        }
        let body = Full::new(Bytes::from(format!("{problem}\n"))).map_err(|never| match never {});
        let mut response = Response::new(body.boxed());
        *response.status_mut() = parts.status;
        if let Ok(reason) = ReasonPhrase::try_from(parts.title.as_bytes()) {
            response.extensions_mut().insert(reason);
        }
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let status = format!("sealfleet; error={}", parts.error);
        if let Ok(status) = HeaderValue::try_from(status) {
            headers.insert(PROXY_STATUS, status);
        }
        response
    }
}
