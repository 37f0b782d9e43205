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
use sealfleet_aws_json::ecs::{Ecs, Task};
use sealfleet_aws_json::iam::{Decision, Iam};
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
            body: serde_json::from_str(&body).unwrap_or(Value::String(body)),
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
async fn log_events_are_read_page_by_page() {
    let first = r#"{"events":[{"message":"one"},{"timestamp":1}],"nextToken":"t"}"#;
    let (config, seen) = service(vec![reply(200, first), reply(200, "{}")]).await;
    let logs = Logs::new(&config).unwrap();
    let page = logs.events_since("group", 7, None).await.unwrap();
    assert_eq!((page.messages.len(), page.next.as_deref()), (1, Some("t")));
    let last = logs.events_since("group", 7, Some("t")).await.unwrap();
    assert_eq!((last.messages.len(), last.next), (0, None));
    let seen = seen.lock().unwrap();
    let asked = json!({ "logGroupName": "group", "startTime": 7, "nextToken": "t" });
    assert_eq!(seen[1].body, asked);
}

#[tokio::test]
async fn a_simulation_asks_with_its_context_and_tells_each_decision() {
    let answer = |decision: &str| {
        let body = format!(
            "<R><EvaluationResults><member><EvalDecision>{decision}</EvalDecision></member></EvaluationResults></R>"
        );
        reply(200, String::leak(body))
    };
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>";
    let (config, seen) = service(vec![
        answer("allowed"),
        answer("explicitDeny"),
        answer("implicitDeny"),
        answer("perhaps"),
        reply(403, denied),
    ])
    .await;
    let iam = Iam::new(&config).unwrap();
    let context = [("aws:ResourceTag/a", "b c")];
    let ask = async || {
        iam.simulate("arn:aws:iam::1:role/x", "s3:Get", "*", &context)
            .await
    };
    for expected in [
        Some(Decision::Allowed),
        Some(Decision::ExplicitDeny),
        Some(Decision::ImplicitDeny),
        None,
    ] {
        assert_eq!(ask().await.unwrap(), expected);
    }
    let error = ask().await.unwrap_err();
    assert_eq!(code(&error), Some("AccessDenied"));
    assert_eq!(error.as_service_error().unwrap().message(), Some("not you"));

    let seen = seen.lock().unwrap();
    let body = "Action=SimulatePrincipalPolicy&Version=2010-05-08\
        &PolicySourceArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx&ActionNames.member.1=s3%3AGet\
        &ResourceArns.member.1=%2A&ContextEntries.member.1.ContextKeyName=aws%3AResourceTag%2Fa\
        &ContextEntries.member.1.ContextKeyType=string\
        &ContextEntries.member.1.ContextKeyValues.member.1=b%20c";
    assert_eq!(seen[0].body, json!(body));
    let signature = seen[0].headers["authorization"].to_str().unwrap();
    assert!(
        signature.contains("/us-east-1/iam/aws4_request"),
        "{signature}"
    );
}

#[tokio::test]
async fn a_task_is_told_by_its_status_and_definition() {
    let task = r#"{"tasks":[{"lastStatus":"STOPPED","taskDefinitionArn":"d:1"}]}"#;
    let answers = vec![
        reply(200, task),
        reply(200, r#"{"tasks":[],"failures":[{"reason":"MISSING"}]}"#),
        reply(200, "{}"),
        reply(200, r#"{"tasks":[],"failures":[]}"#),
    ];
    let (config, seen) = service(answers).await;
    let ecs = Ecs::new(&config).unwrap();
    let stopped = Task {
        last_status: "STOPPED".to_owned(),
        definition_arn: "d:1".to_owned(),
    };
    assert_eq!(ecs.task("cluster", "t").await.unwrap(), Some(stopped));
    assert_eq!(ecs.task("cluster", "t").await.unwrap(), None);
    ecs.deregister("d:1").await.unwrap();
    let unclear = ecs.task("cluster", "t").await.unwrap_err();
    assert!(
        format!("{unclear:?}").contains("misses none"),
        "{unclear:?}"
    );
    let seen = seen.lock().unwrap();
    assert_eq!(
        seen[0].body,
        json!({ "cluster": "cluster", "tasks": ["t"] })
    );
    assert_eq!(seen[2].body, json!({ "taskDefinition": "d:1" }));
}

#[tokio::test]
async fn an_unreadable_answer_is_an_error() {
    let (config, _seen) = service(vec![reply(200, "<html>"), reply(200, "<html>")]).await;
    let task = Ecs::new(&config).unwrap().task("c", "arn").await;
    assert!(format!("{:?}", task.unwrap_err()).contains("DescribeTasks is not JSON"));
    let page = Logs::new(&config).unwrap().events_since("g", 0, None).await;
    assert!(format!("{:?}", page.unwrap_err()).contains("FilterLogEvents is not JSON"));
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
