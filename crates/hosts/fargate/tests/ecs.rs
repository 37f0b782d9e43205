//! What the host sends to ECS, and what follows from ECS's answers, over HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ecs::config::retry::RetryConfig;
use aws_sdk_ecs::config::{Credentials, SharedCredentialsProvider};
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::{Handle, RequeueReason};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{NamePrefix, ProjectScope};
use sealfleet_fargate::{Fargate, SHAPE, Settings};
use sealfleet_hosts::{Error, Launched, SandboxHost as _, Template};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const TASK: &str = "arn:aws:ecs:eu-west-1:000000000000:task/sealfleet/0123";

/// Answers each call with the next answer, and keeps what was asked.
#[derive(Clone, Default)]
struct Ecs {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    calls: Arc<Mutex<Vec<Value>>>,
}

impl Ecs {
    async fn start(answers: impl IntoIterator<Item = (u16, Value)>) -> (Self, Fargate) {
        let ecs = Self::default();
        ecs.answers.lock().unwrap().extend(answers);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = ecs.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.answer(stream).await;
            }
        });
        let credentials = Credentials::new("test", "test", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .build();
        let settings = Settings {
            partition: "aws".to_owned(),
            region: "eu-west-1".to_owned(),
            account_id: "000000000000".to_owned(),
            cluster: "sealfleet".to_owned(),
            name_prefix: NamePrefix::default(),
            subnets: vec!["subnet-1".to_owned()],
            security_groups: vec!["sg-1".to_owned()],
            api_url: "https://api.example.com".to_owned(),
            egress_networks: "10.20.0.0/16".to_owned(),
        };
        (ecs, Fargate::new(&config, settings))
    }

    async fn answer(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let body = loop {
            let mut part = [0; 4096];
            let read = stream.read(&mut part).await.unwrap();
            request.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.parse().unwrap());
            if body.len() >= length {
                break serde_json::from_str(body).unwrap();
            }
        };
        self.calls.lock().unwrap().push(body);
        let (status, answer) = self.answers.lock().unwrap().pop_front().unwrap();
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    fn asked(&self) -> Vec<Value> {
        self.calls.lock().unwrap().clone()
    }
}

fn claim() -> ClaimTag {
    let claim = "healthcare/run_0198c0de-0000-7000-8000-00000000000a/fetch/7";
    claim.parse().unwrap()
}

fn error(code: &str, message: &str) -> (u16, Value) {
    (400, json!({ "__type": code, "message": message }))
}

async fn launched(answer: (u16, Value)) -> Result<Launched, Error> {
    let (_, host) = Ecs::start([answer]).await;
    host.launch(&claim(), "definition").await
}

/// What is sent to register a template.
async fn registered(template: &Template) -> Value {
    let arn = json!({ "taskDefinition": { "taskDefinitionArn": "arn" } });
    let (ecs, host) = Ecs::start([(200, arn)]).await;
    let scope = ProjectScope::of_stored_row("healthcare".parse().unwrap());
    assert_eq!(host.prepare(&scope, template).await.unwrap(), "arn");
    ecs.asked().remove(0)
}

fn template() -> Template {
    Template {
        image: "registry/sandbox@sha256:00".to_owned(),
        cpu: 256,
        memory_mib: 512,
        secrets: vec![],
        proxy: false,
    }
}

/// A change of the shape without a new version would not reach pools that have run before.
#[tokio::test]
async fn the_version_of_the_shape_stands_for_exactly_this_definition() {
    for (more, proxy) in [("", false), ("-proxy", true)] {
        let mut sent = registered(&Template {
            proxy,
            ..template()
        })
        .await;
        sent["family"] = json!("FAMILY");
        let name = format!("tests/shape-{SHAPE}{more}.json");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        let written = std::fs::read_to_string(path).unwrap_or_default();
        let written: Value = serde_json::from_str(&written).unwrap_or_default();
        assert_eq!(
            sent, written,
            "the shape has changed: raise `SHAPE`, and write what is sent to {name} of the new version: {sent:#}"
        );
    }
}

/// ECS gives a secret to the containers that name it.
#[tokio::test]
async fn no_secret_is_in_both_containers() {
    let secret = |name: &str, delivery: Value| SecretRef {
        name: name.to_owned(),
        uri: "aws-sm://sealfleet/healthcare/crm#key".parse().unwrap(),
        version: Some("v1".to_owned()),
        arn: Some("arn:aws:secretsmanager:eu-west-1:1:secret:x-AbCdEf".to_owned()),
        from: "crm".parse().unwrap(),
        redact: true,
        delivery: serde_json::from_value(delivery).unwrap(),
    };
    let bound = json!({ "egress": { "to": [{ "host": "a.example" }] } });
    let sent = registered(&Template {
        secrets: vec![
            secret("IN_ENV", json!("env")),
            secret("IN_FILE", json!("file")),
            secret("AT_EGRESS", bound),
        ],
        proxy: true,
        ..template()
    })
    .await;
    let containers = sent["containerDefinitions"].as_array().unwrap().iter();
    let secrets: Vec<(String, Vec<String>)> = containers
        .map(|one| {
            let named = one["secrets"].as_array().unwrap().iter();
            let named = named.map(|one| one["name"].as_str().unwrap().to_owned());
            (one["name"].as_str().unwrap().to_owned(), named.collect())
        })
        .collect();
    let all = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        secrets,
        [
            ("sandbox".to_owned(), all(&["IN_ENV", "IN_FILE"])),
            ("egress".to_owned(), all(&["AT_EGRESS"])),
        ]
    );
}

#[tokio::test]
async fn what_passes_with_time_is_told_from_what_must_be_mended() {
    let not_now = |reason| Err(Some(reason));
    for (answer, expected) in [
        (
            error("ThrottlingException", "Rate exceeded"),
            not_now(RequeueReason::Throttled),
        ),
        (
            error(
                "AccessDeniedException",
                "User is not authorized to perform: iam:PassRole on resource: r",
            ),
            not_now(RequeueReason::RoleNotReady),
        ),
        (
            error(
                "ClientException",
                "ECS was unable to assume the role 'r' that was provided for this task.",
            ),
            not_now(RequeueReason::RoleNotReady),
        ),
        (
            error(
                "InvalidParameterException",
                "Unable to assume the service linked role. Please verify that the ECS service linked role exists.",
            ),
            not_now(RequeueReason::RoleNotReady),
        ),
        (
            (
                200,
                json!({ "tasks": [], "failures": [{ "reason": "RESOURCE:ENI" }] }),
            ),
            not_now(RequeueReason::NoCapacity),
        ),
        (
            (
                200,
                json!({ "tasks": [], "failures": [{ "reason": "Internal error." }] }),
            ),
            not_now(RequeueReason::HostFailed),
        ),
        (
            (
                200,
                json!({ "tasks": [], "failures": [{ "reason": "The requested CPU configuration is above your limit" }] }),
            ),
            Err(None),
        ),
        (
            error(
                "ClientException",
                "No Fargate configuration exists for given values.",
            ),
            Err(None),
        ),
        (
            error("ClusterNotFoundException", "Cluster not found."),
            Err(None),
        ),
        (
            error("InvalidParameterException", "TaskDefinition is inactive"),
            Ok(Launched::Unprepared),
        ),
        (
            error("ClientException", "TaskDefinition not found."),
            Ok(Launched::Unprepared),
        ),
    ] {
        let told = launched(answer.clone()).await.map_err(|error| match error {
            Error::NotNow { reason, .. } => Some(reason),
            Error::Refused(_) => None,
            Error::Unavailable(detail) => panic!("{answer:?}: {detail}"),
        });
        assert_eq!(told, expected, "{answer:?}");
    }
    let broken = launched((500, json!({ "__type": "ServerException" }))).await;
    assert!(matches!(broken, Err(Error::Unavailable(_))), "{broken:?}");
}

#[tokio::test]
async fn the_task_that_has_the_claims_token_is_the_claims() {
    let mut conflict = error(
        "ConflictException",
        "The provided client token is already in use with a different RunTask request.",
    );
    conflict.1["resourceIds"] = json!([TASK]);
    let adopted = launched(conflict).await;
    let handle = Handle::new(TASK.to_owned());
    assert_eq!(adopted, Ok(Launched::Sandbox(handle)));
    // Which task it is, shows later.
    let unknown = launched(error("ConflictException", "in use")).await;
    assert!(matches!(unknown, Err(Error::Unavailable(_))), "{unknown:?}");
}

#[tokio::test]
async fn a_task_is_looked_for_by_nothing_but_who_started_it() {
    let (ecs, host) = Ecs::start([(200, json!({ "taskArns": [TASK] }))]).await;
    let found = host.find(&claim()).await.unwrap();
    assert_eq!(found, Some(Handle::new(TASK.to_owned())));
    let asked = json!({ "cluster": "sealfleet", "startedBy": claim().to_string() });
    assert_eq!(ecs.asked(), [asked]);
}

/// A task is gone only when ECS says so: what it leaves out for another reason may still run.
#[tokio::test]
async fn a_task_that_an_answer_leaves_out_is_not_gone() {
    let arn = |name: &str| format!("arn:aws:ecs:eu-west-1:000000000000:task/sealfleet/{name}");
    let handles = ["a", "b"].map(|name| Handle::new(arn(name)));
    let shown = json!({ "taskArn": arn("a"), "lastStatus": "RUNNING" });
    let failure = |reason: &str| json!({ "arn": arn("b"), "reason": reason });
    let (_ecs, fargate) = Ecs::start([
        (
            200,
            json!({ "tasks": [shown], "failures": [failure("MISSING")] }),
        ),
        (200, json!({ "tasks": [shown] })),
        (
            200,
            json!({ "tasks": [shown], "failures": [failure("ACCESS")] }),
        ),
        (200, json!({ "tasks": [shown] })),
    ])
    .await;
    let gone = fargate.look_at(&handles).await;
    assert!(
        matches!(gone.as_slice(), [Ok(Some(_)), Ok(None)]),
        "{gone:?}"
    );
    // A handle may be the id alone.
    let seen = fargate.look(&Handle::new("a".to_owned())).await;
    assert!(matches!(seen, Ok(Some(_))), "{seen:?}");
    for _ in 0..2 {
        let unclear = fargate.look_at(&handles).await;
        let told = matches!(
            unclear.as_slice(),
            [Ok(Some(_)), Err(Error::Unavailable(_))]
        );
        assert!(told, "{unclear:?}");
    }
}
