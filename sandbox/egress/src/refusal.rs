//! Why a request does not get what it asks for, as programs and agents read it.
//!
//! An answer names a host that is well formed, and a port. If a rule has methods or paths, it names
//! those that are missing, to the program that sent them and to nobody else. It repeats nothing
//! else of the request. Of a secret it knows the name of the variable.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use sealfleet_domain::egress::{Method, PathPattern};
use serde_json::{Value, json};

use crate::forward::Body;
use crate::sigv4;
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
    /// No rule for the host allows the method on this path.
    NoMethod(Target, Asked),
    /// No rule for the host allows the path.
    NoPath(Target, Asked),
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
    /// Its answer is not HTTP, or can be read in two ways.
    Answer(Target),
    /// Its certificate is not one of this host, and why.
    Certificate(Target, &'static str),
    /// It does not speak TLS as others do.
    Tls(Target),
    /// A request inside of a tunnel to one host that names another.
    Misdirected(Target),
    /// What needs TLS to this host came without it.
    NeedsTls(Target),
    /// It holds the placeholder of a secret that may not be sent there, or not in that place.
    Mismatch(Target, String),
    /// It needs a secret that has been revoked.
    Withdrawn(Target, String),
    /// It is signed for AWS in a way that cannot be signed anew, and what to set.
    Unsignable(&'static str),
    /// It is signed for AWS, and not with the placeholder of this secret.
    Signature(String),
    /// Its body is too long to be signed anew.
    TooLong,
}

/// What a rule would have to allow.
#[derive(Debug)]
pub struct Asked {
    method: Option<Method>,
    /// `None` if it can be read in two ways, or is longer than a rule's path may be.
    path: Option<PathPattern>,
}

impl Asked {
    pub fn of(method: &str, path: &str) -> Self {
        let is_plain = !path.ends_with('*');
        Self {
            method: method.parse().ok(),
            path: is_plain.then(|| path.parse().ok()).flatten(),
        }
    }

    fn missing_rule(&self, target: &Target) -> Value {
        let mut rule = missing_rule(target);
        if let Some(fields) = rule.as_object_mut() {
            if let Some(method) = &self.method {
                fields.insert("methods".to_owned(), json!([method]));
            }
            if let Some(path) = &self.path {
                fields.insert("paths".to_owned(), json!([path]));
            }
        }
        rule
    }
}

fn missing_rule(target: &Target) -> Value {
    json!({ "host": target.host.to_string(), "port": target.port })
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
            Self::NoMethod(target, _) => of(
                StatusCode::FORBIDDEN,
                "egress_no_method",
                "http_request_denied",
                format!("No egress rule for {target} allows this method here"),
                &format!(
                    "The egress policy of this step allows other requests to {target}, and not \
                     this method on this path. Trying again does not help. Somebody who may \
                     change the step's profile can add the rule in `missing_rule`, if every level \
                     of its cascade allows it."
                ),
            ),
            Self::NoPath(target, asked) => of(
                StatusCode::FORBIDDEN,
                "egress_no_path",
                "http_request_denied",
                format!("No egress rule for {target} allows this path"),
                &match asked.path {
                    Some(_) => format!(
                        "The egress policy of this step allows other paths of {target}. Trying \
                         again does not help. Somebody who may change the step's profile can add \
                         the rule in `missing_rule`, if every level of its cascade allows it."
                    ),
                    None => format!(
                        "The egress policy of this step allows some paths of {target}. This one \
                         is longer than a rule can name, or two servers could read it \
                         differently: it has an empty part, `.`, `..`, or a slash, backslash, `;` \
                         or `%` that is written in percent. Write it without."
                    ),
                },
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
                format!("{target} did not answer in HTTP"),
                &format!("{target} sent what is not an answer of HTTP."),
            ),
            Self::Certificate(target, why) => of(
                StatusCode::BAD_GATEWAY,
                "egress_certificate",
                "tls_certificate_error",
                format!("The certificate of {target} is not good"),
                &format!(
                    "The proxy connected to {target} and ended the connection before it sent \
                     anything, because the host's certificate {why}. Trying again does not help. \
                     If an own authority vouches for the host, the operator has to tell the proxy \
                     its certificate."
                ),
            ),
            Self::Tls(target) => of(
                StatusCode::BAD_GATEWAY,
                "egress_tls",
                "tls_protocol_error",
                format!("{target} and the egress proxy found no TLS in common"),
                &format!(
                    "{target} does not speak TLS 1.2 or 1.3, wants a certificate of its client, or \
                     ended the handshake."
                ),
            ),
            Self::Misdirected(target) => of(
                StatusCode::MISDIRECTED_REQUEST,
                "egress_misdirected",
                "http_request_error",
                format!("This connection is for {target} alone"),
                &format!(
                    "The tunnel was opened to {target}, and the request names another host or \
                     port. Open a tunnel of its own for it."
                ),
            ),
            Self::NeedsTls(target) => of(
                StatusCode::FORBIDDEN,
                "egress_needs_tls",
                "http_request_denied",
                format!("The proxy reads requests to {target}, so they need TLS"),
                &format!(
                    "The proxy reads requests to {target}, because a rule for it has methods or \
                     paths, or because it puts a secret in. Inside of the tunnel it takes HTTP \
                     over TLS and nothing else."
                ),
            ),
            Self::Mismatch(target, key) => of(
                StatusCode::FORBIDDEN,
                "egress_credential_mismatch",
                "http_request_denied",
                format!("The secret {key} may not be sent to {target} in this way"),
                &format!(
                    "The request holds the placeholder of {key}. The proxy puts the value in for \
                     it only in header fields, over TLS, and at the hosts, ports and paths that \
                     {key} is bound to. Nothing was sent. If {target} is right, send {key} in a \
                     header field, or ask somebody who may change the step's profile to bind it."
                ),
            ),
            Self::Withdrawn(target, key) => of(
                StatusCode::FORBIDDEN,
                "egress_credential_withdrawn",
                "http_request_denied",
                format!("The secret {key} has been revoked"),
                &format!(
                    "The request to {target} needs {key}, which has been revoked since the step \
                     started. Trying again does not help."
                ),
            ),
            Self::Unsignable(what) => of(
                StatusCode::FORBIDDEN,
                "egress_unsignable",
                "http_request_denied",
                "The egress proxy cannot sign this AWS request anew".to_owned(),
                what,
            ),
            Self::Signature(key) => of(
                StatusCode::FORBIDDEN,
                "egress_signature",
                "http_request_denied",
                format!("The AWS request is not signed with the placeholder of {key}"),
                &format!(
                    "The request names the access key of {key}, and its signature is not the one \
                     that the placeholder of {key} makes. Use the environment's secret access key \
                     as it is, and change nothing in the request after it is signed."
                ),
            ),
            Self::TooLong => of(
                StatusCode::PAYLOAD_TOO_LARGE,
                "egress_body_too_long",
                "http_request_denied",
                "The body is too long to be signed anew".to_owned(),
                &format!(
                    "To sign an AWS request without `x-amz-content-sha256`, the proxy has to read \
                     its body, and reads {} MiB at most. Send the body in parts, or send its hash \
                     or UNSIGNED-PAYLOAD in that field.",
                    sigv4::BODY_BYTES >> 20
                ),
            ),
        }
    }

    /// An answer in HTTP/1.1, for a connection that nothing reads as such.
    pub fn text(&self) -> String {
        let (parts, problem) = (self.parts(), self.problem());
        format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{problem}",
            parts.status.as_u16(),
            parts.title,
            problem.len()
        )
    }

    /// Problem details (RFC 9457).
    pub fn answer(&self) -> Response<Body> {
        let (parts, problem) = (self.parts(), self.problem());
        let body = Full::new(Bytes::from(problem)).map_err(|never| match never {});
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

    fn problem(&self) -> String {
        let parts = self.parts();
        let mut problem = json!({
            "type": format!("urn:sealfleet:problem:{}", parts.code),
            "title": parts.title,
            "status": parts.status.as_u16(),
            "detail": parts.detail,
            "code": parts.code,
        });
        let more = match self {
            Self::NoRule(target) => Some(("missing_rule", missing_rule(target))),
            Self::NoMethod(target, asked) | Self::NoPath(target, asked) => {
                Some(("missing_rule", asked.missing_rule(target)))
            }
            Self::Mismatch(_, key) | Self::Withdrawn(_, key) | Self::Signature(key) => {
                Some(("key", json!(key)))
            }
            _ => None,
        };
        if let (Some((name, value)), Some(fields)) = (more, problem.as_object_mut()) {
            fields.insert(name.to_owned(), value);
        }
        format!("{problem}\n")
    }
}
