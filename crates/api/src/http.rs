//! Requests and answers of API Gateway HTTP APIs (payload format 2.0) as the functions see them.

use std::collections::BTreeMap;
use std::str::FromStr;

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use aws_lambda_events::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealfleet_domain::{limits, text};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::object::Object;
use crate::operations::{self, Operation, Parameters};
use crate::plain::Plain;
use crate::problem::{Code, Problem};

/// A request of one of the API's operations.
#[derive(Clone)]
pub struct Request {
    pub operation: &'static Operation,
    /// What stands for the parameters of the operation's path, in its order.
    parameters: Vec<String>,
    /// The query's parameters, none that the operation does not take. The values of one that is
    /// given several times are joined by commas, as API Gateway does.
    pub query: BTreeMap<String, String>,
    headers: HeaderMap,
    /// The ARN of the caller where API Gateway verified an IAM signature.
    pub caller_arn: Option<String>,
    body: Vec<u8>,
}

/// A successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Not sent with 204.
    pub body: serde_json::Value,
    /// Sent as `ETag`.
    pub version: Option<u32>,
    /// Seconds for which anybody may keep it. Absent: it is not to be stored.
    pub kept_seconds: Option<u32>,
}

impl Answer {
    /// # Errors
    /// When `body` cannot be written as JSON.
    pub fn json<E: From<Problem>>(status: u16, body: &impl Serialize) -> Result<Self, E> {
        let body = serde_json::to_value(body).map_err(|_| {
            Problem::new(Code::Internal, "the answer could not be written; try again")
        })?;
        Ok(Self {
            status,
            body,
            version: None,
            kept_seconds: None,
        })
    }

    /// An answer that is the same for everybody for so long.
    #[must_use]
    pub fn kept_for(self, seconds: u32) -> Self {
        Self {
            kept_seconds: Some(seconds),
            ..self
        }
    }

    #[must_use]
    pub fn with_version(self, version: u32) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }
}

impl Request {
    /// Reads the event that API Gateway sends, and matches it with the table of operations.
    ///
    /// # Errors
    /// A 413 for a body over the limit, a 400 for one that is not what its encoding says; a 404 or
    /// 405 when no operation has the path or the method, a 400 for a query parameter that the
    /// operation does not take or that cannot be shown.
    pub fn from_event(event: ApiGatewayV2httpRequest) -> Result<Self, Problem> {
        let body = event.body.unwrap_or_default().into_bytes();
        // Measured before decoding: base64 only ever makes a body larger.
        if body.len() > limits::BODY_BYTES * 4 / 3 + 4 {
            return Err(too_large());
        }
        let body = if event.is_base64_encoded {
            STANDARD
                .decode(&body)
                .map_err(|_| Problem::new(Code::InvalidRequest, "the body is not valid base64"))?
        } else {
            body
        };
        if body.len() > limits::BODY_BYTES {
            return Err(too_large());
        }
        // A role of the same name in another account is not ours.
        let own_account = event.request_context.account_id;
        let of_this_account = |arn: &String| arn.split(':').nth(4) == own_account.as_deref();
        let caller_arn = event
            .request_context
            .authorizer
            .and_then(|authorizer| authorizer.iam)
            .and_then(|iam| iam.user_arn)
            .filter(of_this_account);
        let path = parts(event.raw_path.as_deref().unwrap_or_default());
        let mut query: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in event.query_string_parameters.iter() {
            query
                .entry(key.to_owned())
                .and_modify(|before| *before = format!("{before},{value}"))
                .or_insert(value.to_owned());
        }
        let operation = operations::find(event.request_context.http.method.as_str(), &path)
            .ok_or_else(|| unrouted(&path))?;
        check_query(operation, &query)?;
        Ok(Self {
            operation,
            parameters: operation.texts(&path),
            query,
            headers: event.headers,
            caller_arn,
            body,
        })
    }

    /// The parameters of its path. A text that is not an id gets a 404.
    ///
    /// # Errors
    /// A 404 when one is not of its type.
    pub fn parameters<P: Parameters>(&self) -> Result<P, Problem> {
        P::read(&self.parameters).ok_or_else(Problem::not_found)
    }

    /// A query parameter that names something. A text that is not an id gets a 404.
    ///
    /// # Errors
    /// A 404 when it is not of its type.
    pub fn named<T: FromStr>(&self, parameter: &str) -> Result<Option<T>, Problem> {
        let text = self.query.get(parameter);
        text.map(|text| text.parse().map_err(|_| Problem::not_found()))
            .transpose()
    }

    /// The credential in `Authorization: Bearer CREDENTIAL`. The scheme may have any case, and
    /// spaces may follow it (RFC 9110, section 11.4).
    ///
    /// # Errors
    /// A 401 when the header is there and holds something else.
    pub fn bearer(&self) -> Result<Option<&str>, Problem> {
        let Some(value) = self
            .header("authorization")
            .map_err(|_| Problem::unauthenticated())?
        else {
            return Ok(None);
        };
        match value.split_once(' ') {
            Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(Some(credential.trim_start_matches(' ')))
            }
            _ => Err(Problem::unauthenticated()),
        }
    }

    /// A header. All headers are read here, so that none is ignored because it cannot be read.
    ///
    /// # Errors
    /// A 400 when it is given twice, or is not printable ASCII.
    pub fn header(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Problem::invalid(name, "send this header once"));
        }
        value
            .to_str()
            .map(Some)
            .map_err(|_| Problem::invalid(name, "the header must be printable ASCII"))
    }

    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as JSON of a type.
    ///
    /// # Errors
    /// A 400 that names the field and its type, or a name that stands twice, or a text with a
    /// control character. It never repeats a value that was sent.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.read::<Plain>()?;
        self.read::<Object<T>>().map(|Object(value)| value)
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(&self.body);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            let inner = error.into_inner();
            let detail = explain(&inner);
            match named_field(&inner, &path) {
                Some(field) if inner.is_data() => Problem::invalid(field, detail),
                _ => Problem::new(
                    Code::InvalidRequest,
                    format!("the body must be a JSON object of this operation: {detail}"),
                ),
            }
        })?;
        reader.end().map_err(|_| {
            Problem::new(
                Code::InvalidRequest,
                "the body holds more than one JSON value",
            )
        })?;
        Ok(value)
    }

    /// The version that the request may replace, from `If-Match: "3"` (RFC 9110, section 13.1.1).
    ///
    /// # Errors
    /// A 400 when the header is not one version.
    pub fn if_match(&self) -> Result<Option<u32>, Problem> {
        let Some(text) = self.header("if-match")? else {
            return Ok(None);
        };
        let digits = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        let number = digits
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok());
        number.map_or_else(
            || {
                Err(Problem::invalid(
                    "If-Match",
                    "send the version as `ETag` shows it: `\"3\"`",
                ))
            },
            |n| Ok(Some(n)),
        )
    }

    /// The query's `limit`, 1 to 100; 50 by default.
    ///
    /// # Errors
    /// A 400 for anything else.
    pub fn limit(&self) -> Result<usize, Problem> {
        self.query.get("limit").map_or(Ok(50), |text| {
            text.parse()
                .ok()
                .filter(|limit| (1..=limits::PAGE as usize).contains(limit))
                .ok_or_else(|| {
                    Problem::invalid(
                        "limit",
                        format!("`limit` is a number from 1 to {}", limits::PAGE),
                    )
                })
        })
    }
}

/// `GET /v1/runs/x`.
impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.operation.with(&self.parameters);
        write!(f, "{} {path}", self.operation.method)
    }
}

fn too_large() -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("send {} bytes at most", limits::BODY_BYTES),
    )
}

/// The path of the wrong field. For an unknown or missing field, serde's path may end at the object
/// around it.
fn named_field(error: &serde_json::Error, path: &str) -> Option<String> {
    let text = error.to_string();
    let name = ["unknown field `", "missing field `"]
        .iter()
        .find_map(|start| text.strip_prefix(start));
    let name = name.and_then(|rest| rest.split('`').next());
    match (path, name) {
        (".", name) => name.map(str::to_owned),
        (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => {
            Some(format!("{path}.{name}"))
        }
        (path, _) => Some(path.to_owned()),
    }
}

/// serde's message without the offending value, which might be a secret in the wrong place.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(text, _)| text);
    match text.split_once(", expected ") {
        Some((start, expected))
            if start.starts_with("invalid ") || start.starts_with("unknown variant ") =>
        {
            format!("expected {expected}")
        }
        _ => text.to_owned(),
    }
}

/// The parts of a path: `/v1/runs/x` is `["v1", "runs", "x"]`. As API Gateway chooses routes:
/// several leading slashes are one, and no others are.
fn parts(path: &str) -> Vec<String> {
    let path = path.trim_start_matches('/');
    path.split('/').map(str::to_owned).collect()
}

/// Answers an event of API Gateway: a request of one of the API's operations is handled.
pub async fn answer(
    event: ApiGatewayV2httpRequest,
    handle: impl AsyncFnOnce(Request) -> Result<Answer, Problem>,
) -> ApiGatewayV2httpResponse {
    let path = parts(event.raw_path.as_deref().unwrap_or_default());
    let mut response = respond(match Request::from_event(event) {
        Ok(request) => handle(request).await,
        Err(problem) => Err(problem),
    });
    // RFC 9110, section 15.5.6.
    if response.status_code == 405
        && let Ok(methods) = HeaderValue::try_from(operations::methods(&path).join(", "))
    {
        response.headers.insert("allow", methods);
    }
    response
}

/// Refuses a query parameter that the operation does not take.
fn check_query(operation: &Operation, query: &BTreeMap<String, String>) -> Result<(), Problem> {
    for (name, value) in query {
        if name.contains(text::acts) {
            return Err(Problem::new(
                Code::InvalidRequest,
                text::Unprintable.to_string(),
            ));
        }
        if value.contains(text::acts) {
            return Err(Problem::invalid(name, text::Unprintable.to_string()));
        }
    }
    let known: Vec<&str> = operation.query.iter().map(|query| query.name).collect();
    let Some(unknown) = query.keys().find(|key| !known.contains(&key.as_str())) else {
        return Ok(());
    };
    Err(Problem::invalid(
        unknown.chars().take(limits::NAME_BYTES).collect::<String>(),
        if known.is_empty() {
            "this operation takes no query parameters".to_owned()
        } else {
            format!(
                "this operation takes the query parameters `{}`",
                known.join("`, `")
            )
        },
    ))
}

/// The answer to a request that no operation takes.
fn unrouted(path: &[String]) -> Problem {
    let methods = operations::methods(path);
    if methods.is_empty() {
        return Problem::new(
            Code::NotFound,
            "no operation has this path; `GET /v1/openapi.json` lists them all",
        );
    }
    Problem::new(
        Code::MethodNotAllowed,
        format!("this path takes `{}`", methods.join("`, `")),
    )
}

/// The headers that belong to an answer's status.
fn headers_of(result: &Result<Answer, Problem>) -> Vec<(&'static str, String)> {
    match result {
        Ok(answer) => {
            let version = answer.version;
            let kept = answer.kept_seconds;
            let etag = version.map(|version| ("etag", format!("\"{version}\"")));
            let kept = kept.map(|kept| ("cache-control", format!("public, max-age={kept}")));
            etag.into_iter().chain(kept).collect()
        }
        Err(problem) => match problem.code {
            Code::Unauthenticated => vec![("www-authenticate", "Bearer".to_owned())],
            Code::RateLimited => {
                vec![("retry-after", problem.retry_after.unwrap_or(1).to_string())]
            }
            Code::Unavailable => vec![("retry-after", "1".to_owned())],
            _ => Vec::new(),
        },
    }
}

/// Writes an answer or a problem for API Gateway.
#[must_use]
pub fn respond(result: Result<Answer, Problem>) -> ApiGatewayV2httpResponse {
    let more = headers_of(&result);
    let (status, content_type, body) = match result {
        Ok(answer) if answer.status == 204 => (204, "application/json", Ok(String::new())),
        Ok(answer) => (
            answer.status,
            "application/json",
            serde_json::to_string(&answer.body),
        ),
        Err(problem) => (
            problem.status,
            "application/problem+json",
            serde_json::to_string(&problem),
        ),
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    for (name, value) in more {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = i64::from(status);
    response.headers = headers;
    response.body = Some(Body::Text(body.unwrap_or_default()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::EnqueueRun;

    fn request(body: &str) -> Request {
        Request {
            operation: &operations::ENQUEUE_RUN.operation,
            parameters: vec![],
            query: BTreeMap::new(),
            headers: HeaderMap::new(),
            caller_arn: None,
            body: body.as_bytes().to_vec(),
        }
    }

    fn problem(body: &str) -> Problem {
        request(body).json::<EnqueueRun>().expect_err("refused")
    }

    #[test]
    fn a_bad_body_names_its_field_and_the_remedy() {
        let step = r#"{"id":"a","pool":"p","mode":"bare","command":["true"]"#;
        let unknown = problem(&format!(
            r#"{{"workflow":"w","steps":[{step},"comand":1}}]}}"#
        ));
        assert_eq!(
            unknown.field.as_deref(),
            Some("steps[0].comand"),
            "{unknown}"
        );
        let missing = problem(r#"{"steps":[]}"#);
        assert_eq!(missing.field.as_deref(), Some("workflow"), "{missing}");
        let missing = problem(r#"{"workflow":"w","steps":[{"id":"a"}]}"#);
        assert_eq!(missing.field.as_deref(), Some("steps[0].pool"), "{missing}");
        let name = problem(r#"{"workflow":"W!","steps":[]}"#);
        assert!(
            name.field.as_deref() == Some("workflow") && name.detail.contains("lower-case"),
            "{name}"
        );
        assert_eq!(problem("{").status, 400);
        assert_eq!(problem("[]").status, 400);
        let list = request(" [null, null]");
        assert_eq!(
            list.json::<sealfleet_domain::cascade::Bindings>()
                .map_err(|problem| problem.status),
            Err(400)
        );
        let inner = problem(r#"{"workflow":"w","steps":[],"overrides":[]}"#);
        assert_eq!(
            (inner.status, inner.field.as_deref()),
            (400, Some("overrides")),
            "{inner}"
        );
        assert_eq!(problem("").status, 400);
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_in_every_map() {
        let step = r#"{"id":"a","pool":"p","mode":"bare","command":["true"],MORE}"#;
        for (more, field) in [
            (r#""env":{"A":"1","A":"2"}"#, "steps[0].env"),
            (r#""requires":{"a":"1","a":"1"}"#, "steps[0].requires"),
            (r#""tool":"a","tool":"b""#, "steps[0]"),
        ] {
            let step = step.replace("MORE", more);
            let problem = problem(&format!(r#"{{"workflow":"w","steps":[{step}]}}"#));
            assert_eq!(problem.field.as_deref(), Some(field), "{problem}");
        }
        assert_eq!(
            problem(r#"{"workflow":"w","workflow":"w","steps":[]}"#).status,
            400
        );
    }

    #[test]
    fn a_text_that_a_terminal_acts_on_is_refused_everywhere() {
        for letter in ["\\u001b", "\\u0007", "\\r", "\\u009b", "\\u202e", "\\u2066"] {
            let body = r#"{"workflow":"w","steps":[{"id":"a","pool":"p","mode":"bare","command":["true"],MORE}]}"#;
            for (more, field) in [
                (r#""env":{"A":"xL"}"#, "steps[0].env.A"),
                (r#""env":{"AL":"x"}"#, "steps[0].env"),
                (r#""new":["xL"]"#, "steps[0].new[0]"),
                (r#""model":"L""#, "steps[0].model"),
            ] {
                let more = more.replace('L', letter);
                let problem = problem(&body.replace("MORE", &more));
                assert_eq!(problem.field.as_deref(), Some(field), "{problem}");
            }
        }
        let lines = r#"{"workflow":"w","steps":[{"id":"a","pool":"p","mode":"bare","command":["a\n\tb"],"env":{"A":"a\n\tb"}}]}"#;
        assert!(request(lines).json::<EnqueueRun>().is_ok());
    }

    fn with_header(name: &'static str, values: &[&[u8]]) -> Request {
        let mut request = request("{}");
        for value in values {
            let value = HeaderValue::from_bytes(value).expect("a header");
            request.headers.append(name, value);
        }
        request
    }

    #[test]
    fn a_header_that_cannot_be_read_is_refused() {
        fn refused<'a>(request: &'a Request, name: &'static str) -> Result<Option<&'a str>, u16> {
            request.header(name).map_err(|problem| problem.status)
        }
        for name in ["idempotency-key", "if-match"] {
            assert_eq!(
                refused(&with_header(name, &["k\u{e9}".as_bytes()]), name),
                Err(400)
            );
            assert_eq!(refused(&with_header(name, &[b"a", b"b"]), name), Err(400));
            assert_eq!(refused(&with_header(name, &[b"a"]), name), Ok(Some("a")));
            assert_eq!(refused(&request("{}"), name), Ok(None));
        }
        let unreadable = with_header("if-match", &["\"3\u{e9}\"".as_bytes()]);
        assert_eq!(
            unreadable.if_match().map_err(|problem| problem.status),
            Err(400)
        );
    }

    #[test]
    fn bearer_is_a_scheme_in_any_case() {
        let of = |value: &[u8]| {
            let request = with_header("authorization", &[value]);
            let bearer = request.bearer().map(|text| text.map(str::to_owned));
            bearer.map_err(|problem| problem.status)
        };
        for value in ["Bearer x", "bearer x", "BEARER  x"] {
            assert_eq!(of(value.as_bytes()), Ok(Some("x".to_owned())), "{value}");
        }
        for value in ["Basic x", "Bearerx", "x", "", "Bearer \u{e9}"] {
            assert_eq!(of(value.as_bytes()), Err(401), "{value}");
        }
        assert_eq!(
            request("{}").bearer().map_err(|problem| problem.status),
            Ok(None)
        );
    }

    #[test]
    fn a_parameter_that_is_given_twice_keeps_both_values() {
        let event = serde_json::json!({
            "version": "2.0", "rawPath": "/v1/audit",
            "queryStringParameters": { "type": "run.denied,secret.released", "limit": "5" },
            "requestContext": { "http": { "method": "GET", "path": "/v1/audit" } },
        });
        let request = Request::from_event(serde_json::from_value(event).expect("an event"))
            .expect("a request");
        assert_eq!(
            request.query.get("type").map(String::as_str),
            Some("run.denied,secret.released")
        );
        assert_eq!(request.query.get("limit").map(String::as_str), Some("5"));
    }

    #[test]
    fn a_value_in_the_wrong_place_is_not_repeated() {
        let step = r#"{"id":"a","pool":"p","command":["true"],"mode":"canary-value"}"#;
        for body in [
            r#"{"workflow":"w","steps":"canary-value"}"#,
            &format!(r#"{{"workflow":"w","steps":[{step}]}}"#),
        ] {
            let problem = problem(body);
            assert!(!problem.to_string().contains("canary-value"), "{problem}");
        }
    }
}
