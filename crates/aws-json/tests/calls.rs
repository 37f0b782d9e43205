//! The bytes that a service sees, and what becomes of its answers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use sealfleet_aws_json::CallError;
use sealfleet_aws_json::lambda::Lambda;
use sealfleet_aws_json::logs::Logs;
use serde_json::{Value, json};

struct Seen {
    path: String,
    headers: HeaderMap,
    body: Value,
}

type Reply = (StatusCode, HeaderMap, &'static str);

/// A service that gives these answers, one after the other.
async fn service(mut answers: Vec<Reply>) -> (SdkConfig, Arc<Mutex<Vec<Seen>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    answers.reverse();
    let (requests, answers) = (seen.clone(), Arc::new(Mutex::new(answers)));
    let answer = async move |uri: Uri, headers: HeaderMap, body: String| {
        requests.lock().unwrap().push(Seen {
            path: uri.path().to_owned(),
            headers,
            body: serde_json::from_str(&body).unwrap(),
        });
        answers.lock().unwrap().pop().unwrap()
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let credentials = Credentials::new("AKID", "secret", Some("session".to_owned()), None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    (config, seen)
}

fn reply(status: u16, body: &'static str) -> Reply {
    (
        StatusCode::from_u16(status).unwrap(),
        HeaderMap::new(),
        body,
    )
}

fn code(error: &CallError) -> Option<&str> {
    error.as_service_error().and_then(|refused| refused.code())
}

#[tokio::test]
async fn an_invocation_is_signed_and_names_the_function() {
    let mut failed = reply(200, r#"{"errorMessage":"no"}"#);
    failed
        .1
        .insert("X-Amz-Function-Error", "Unhandled".parse().unwrap());
    let (config, seen) = service(vec![reply(200, "[1]"), failed]).await;
    let lambda = Lambda::new(&config).unwrap();
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:f";
    let done = lambda.invoke(arn, &json!({ "a": 1 })).await.unwrap();
    assert_eq!(
        (done.payload.as_slice(), done.function_error),
        (&b"[1]"[..], None)
    );
    let failed = lambda.invoke("f", &json!({})).await.unwrap();
    assert_eq!(failed.function_error.as_deref(), Some("Unhandled"));
    assert_eq!(failed.payload, br#"{"errorMessage":"no"}"#);

    let seen = seen.lock().unwrap();
    let encoded = "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Af";
    assert_eq!(
        seen[0].path,
        format!("/2015-03-31/functions/{encoded}/invocations")
    );
    assert_eq!(seen[0].body, json!({ "a": 1 }));
    let signature = seen[0].headers["authorization"].to_str().unwrap();
    assert!(
        signature.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"),
        "{signature}"
    );
    assert!(
        signature.contains("/eu-west-1/lambda/aws4_request"),
        "{signature}"
    );
    assert_eq!(seen[0].headers["x-amz-security-token"], "session");
}

#[tokio::test]
async fn log_events_are_put_as_aws_json() {
    let (config, seen) = service(vec![reply(200, ""), reply(200, "{}")]).await;
    let logs = Logs::new(&config).unwrap();
    logs.create_stream("group", "stream").await.unwrap();
    let events = [(1, "one"), (2, "two")].into_iter();
    logs.put_events("group", "stream", events).await.unwrap();

    let seen = seen.lock().unwrap();
    let targets: Vec<&str> = seen
        .iter()
        .map(|seen| seen.headers["x-amz-target"].to_str().unwrap())
        .collect();
    assert_eq!(
        targets,
        [
            "Logs_20140328.CreateLogStream",
            "Logs_20140328.PutLogEvents"
        ]
    );
    assert_eq!(
        seen[1].headers["content-type"],
        "application/x-amz-json-1.1"
    );
    assert_eq!(
        seen[1].body,
        json!({
            "logGroupName": "group",
            "logStreamName": "stream",
            "logEvents": [
                { "timestamp": 1, "message": "one" },
                { "timestamp": 2, "message": "two" },
            ],
        })
    );
}

#[tokio::test]
async fn an_error_is_told_by_its_bare_code() {
    let there =
        r#"{"__type":"com.amazonaws.logs#ResourceAlreadyExistsException","message":"it is"}"#;
    let mut unknown = reply(404, r#"{"Message":"no such function"}"#);
    let kind = "ResourceNotFoundException:http://internal.amazon.com/coral/";
    unknown.1.insert("x-amzn-ErrorType", kind.parse().unwrap());
    let (config, _) = service(vec![reply(400, there), unknown]).await;

    let logs = Logs::new(&config).unwrap();
    let error = logs.create_stream("group", "stream").await.unwrap_err();
    assert_eq!(code(&error), Some("ResourceAlreadyExistsException"));
    let lambda = Lambda::new(&config).unwrap();
    let error = lambda.invoke("f", &json!({})).await.unwrap_err();
    assert_eq!(code(&error), Some("ResourceNotFoundException"));
    let refused = error.as_service_error().unwrap();
    assert_eq!(refused.message(), Some("no such function"));
}

#[tokio::test]
async fn a_call_is_repeated_when_that_may_help_and_only_then() {
    let throttled = r#"{"__type":"ThrottlingException","message":"slower"}"#;
    let denied = r#"{"__type":"AccessDeniedException","message":"never"}"#;
    let answers = vec![
        reply(503, "busy"),
        reply(400, throttled),
        reply(200, "{}"),
        reply(400, denied),
    ];
    let (config, seen) = service(answers).await;
    let logs = Logs::new(&config).unwrap();
    logs.create_stream("group", "stream").await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 3);
    let error = logs.create_stream("group", "stream").await.unwrap_err();
    assert_eq!(code(&error), Some("AccessDeniedException"));
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[test]
fn a_configuration_without_a_region_is_refused() {
    let error = Lambda::new(&SdkConfig::builder().build()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "a region is missing");
}
