//! The sample events of `events/`: each is read as the function of its folder reads it, so a sample
//! that has gone stale, a function without one and a route without one fail here; those of `export`
//! are read in `export/mod.rs`. `events/README.md` says how to send them to a function.

use std::collections::{BTreeMap, BTreeSet};

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::event::dynamodb;
use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use aws_lambda_events::event::sqs::SqsEvent;
use sealfleet_api::Problem;
use sealfleet_api::http::Request;
use sealfleet_api::types::{
    AskIdentityToken, AskSandboxToken, ClaimStep, Contain, CreateEnrolmentKey, CreateProfile,
    CreateProject, CreateToken, CreateUpload, Decide, EnqueueRun, FetchInputs, Heartbeat, LeaseRef,
    PreviewContainment, PreviewRevocation, ProfileContent, QueueMessage, RegisterWorker,
    RegisterWorkflow, ReportStep, ResolveCascade, Revoke, RunWorkflow, SandboxEnd,
    SandboxHeartbeat, SandboxLease, SetEgressCeiling, SetGovernance, SetLimits, StartStep,
    UpdateProject,
};
use sealfleet_aws::queues::scope_of_queue;
use sealfleet_domain::NamePrefix;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::credential::Credential;
use sealfleet_domain::run::RequeueReason;
use sealfleet_domain::scope::ClaimTag;
use sealfleet_fargate::TaskChange;
use sealfleet_fargate::names::sandbox_session;
use sealfleet_functions::witness::ApiCall;
use sealfleet_hosts::{Sandbox, Seen};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::repository::{self, functions, root};

/// How the name of a sample begins that its function refuses.
const REFUSED: &str = "refused-";

struct Sample {
    name: String,
    text: String,
}

impl Sample {
    fn is_refused(&self) -> bool {
        self.name.starts_with(REFUSED)
    }

    fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// The samples of a function. There is at least one.
fn samples(function: &str) -> Vec<Sample> {
    let folder = root().join("events").join(function);
    let Ok(files) = folder.read_dir() else {
        panic!("function `{function}` has no sample: add one to events/{function}")
    };
    let samples: Vec<Sample> = files
        .map(|file| file.unwrap().path())
        .map(|path| Sample {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            text: std::fs::read_to_string(&path).unwrap(),
        })
        .collect();
    assert!(
        samples.iter().any(|sample| !sample.is_refused()),
        "function `{function}` has no sample"
    );
    samples
}

/// Each route of the template with its function.
fn routes() -> BTreeMap<String, String> {
    repository::routes()
        .into_iter()
        .map(|(key, route)| (key, route.function))
        .collect()
}

#[test]
fn each_function_has_a_sample_and_nothing_else_has() {
    let folders = root()
        .join("events")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap());
    let with_events: BTreeSet<String> = folders
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(with_events, functions());
    for function in functions() {
        assert!(!samples(&function).is_empty());
    }
}

#[test]
fn each_route_has_a_sample_in_the_folder_of_its_function() {
    let routes = routes();
    let mut seen = BTreeSet::new();
    for function in routes.values().collect::<BTreeSet<_>>() {
        for sample in samples(function) {
            let event: ApiGatewayV2httpRequest = sample.read();
            let route = event.route_key.unwrap();
            assert_eq!(
                routes.get(&route),
                Some(function),
                "{function}/{}: `{route}`",
                sample.name
            );
            seen.insert(route);
        }
    }
    assert_eq!(
        seen,
        routes.into_keys().collect(),
        "routes with samples, and all routes"
    );
}

#[test]
fn each_request_is_one_of_its_operation() {
    for (route, function) in routes() {
        for sample in samples(&function) {
            let event: ApiGatewayV2httpRequest = sample.read();
            if event.route_key.as_deref() != Some(route.as_str()) {
                continue;
            }
            let name = format!("{function}/{}", sample.name);
            let request = match Request::from_event(event) {
                Ok(request) => request,
                // What no operation takes is refused before a handler sees it.
                Err(problem) if route == "$default" => {
                    assert!(matches!(problem.status, 404 | 405), "{name}: {problem}");
                    continue;
                }
                Err(problem) => panic!("{name}: {problem}"),
            };
            let operation = request.operation;
            assert_eq!(
                route,
                format!("{} {}", operation.method, operation.path),
                "{name}"
            );
            identified(&name, &route, &request);
            match body(&route, &request) {
                Ok(()) => assert!(!sample.is_refused(), "{name}: its body is accepted"),
                Err(problem) => assert!(
                    sample.is_refused() && problem.status == 400,
                    "{name}: {problem}"
                ),
            }
        }
    }
}

/// Every caller says who it is, except for a worker that waits for its approval, by a credential
/// that opens nothing.
fn identified(name: &str, route: &str, request: &Request) {
    match route {
        "POST /v1/sandbox/step"
        | "POST /v1/sandbox/heartbeat"
        | "POST /v1/sandbox/end"
        | "POST /v1/sandbox/token" => {
            let arn = request.caller_arn.as_deref().unwrap();
            assert!(
                sandbox_session(&NamePrefix::default(), arn).is_ok(),
                "{name}: {arn}"
            );
        }
        "POST /v1/workers/register" if request.bearer().unwrap().is_none() => {}
        "GET /v1/openapi.json"
        | "GET /.well-known/openid-configuration"
        | "GET /.well-known/jwks.json" => assert!(request.bearer().unwrap().is_none(), "{name}"),
        _ => {
            let text = request.bearer().unwrap().unwrap();
            assert!(
                Credential::parse(text).is_ok(),
                "{name}: its credential has no form of ours"
            );
            let secret = text.rsplit('.').next().unwrap();
            assert!(
                secret.bytes().all(|byte| byte == b'A'),
                "{name}: its credential's secret is not all zeros"
            );
        }
    }
}

/// Reads the body as the operation does.
fn body(route: &str, request: &Request) -> Result<(), Problem> {
    match route {
        "POST /v1/projects" => request.json::<CreateProject>().map(drop),
        "PUT /v1/projects/{project}" => request.json::<UpdateProject>().map(drop),
        "PUT /v1/projects/{project}/limits" => request.json::<SetLimits>().map(drop),
        "PUT /v1/projects/{project}/egress-ceiling" => request.json::<SetEgressCeiling>().map(drop),
        "POST /v1/workflows" => request.json::<RegisterWorkflow>().map(drop),
        "POST /v1/workflows/{workflow}/runs" => request.json::<RunWorkflow>().map(drop),
        "POST /v1/approvals/{approval}/decision" => request.json::<Decide>().map(drop),
        "PUT /v1/governance" => request.json::<SetGovernance>().map(drop),
        "POST /v1/tokens" => request.json::<CreateToken>().map(drop),
        "POST /v1/enrolment-keys" => request.json::<CreateEnrolmentKey>().map(drop),
        "POST /v1/workers/register" => request.json::<RegisterWorker>().map(drop),
        "POST /v1/profiles" => request.json::<CreateProfile>().map(drop),
        "PUT /v1/profiles/{name}" => {
            assert!(request.if_match().is_ok_and(|version| version.is_some()));
            request.json::<ProfileContent>().map(drop)
        }
        "PUT /v1/cascade" => request.json::<Bindings>().map(drop),
        "POST /v1/cascade/resolve" => request.json::<ResolveCascade>().map(drop),
        "POST /v1/revocations" => request.json::<Revoke>().map(drop),
        "POST /v1/containments" => request.json::<Contain>().map(drop),
        "POST /v1/containments:preview" => request.json::<PreviewContainment>().map(drop),
        "POST /v1/revocations:preview" => request.json::<PreviewRevocation>().map(drop),
        "POST /v1/runs" => request.json::<EnqueueRun>().map(drop),
        "POST /v1/output-credentials" => request.json::<LeaseRef>().map(drop),
        "POST /v1/uploads" => request.json::<CreateUpload>().map(drop),
        "POST /v1/step-inputs" => request.json::<FetchInputs>().map(drop),
        "POST /v1/claims" => request.json::<ClaimStep>().map(drop),
        "POST /v1/heartbeats" => request.json::<Heartbeat>().map(drop),
        "POST /v1/starts" => request.json::<StartStep>().map(drop),
        "POST /v1/reports" => request.json::<ReportStep>().map(drop),
        "POST /v1/sandbox/step" => request.json::<SandboxLease>().map(drop),
        "POST /v1/sandbox/heartbeat" => request.json::<SandboxHeartbeat>().map(drop),
        "POST /v1/sandbox/end" => request.json::<SandboxEnd>().map(drop),
        "POST /v1/sandbox/token" => request.json::<AskSandboxToken>().map(drop),
        "POST /v1/identity-tokens" => request.json::<AskIdentityToken>().map(drop),
        _ => {
            assert!(request.body().is_empty(), "`{route}` takes no body");
            Ok(())
        }
    }
}

#[test]
fn each_queue_message_is_a_hint_from_a_pools_queue() {
    for sample in samples("dispatch") {
        let event: SqsEvent = sample.read();
        assert!(!event.records.is_empty(), "{}", sample.name);
        for message in event.records {
            let queue = message.event_source_arn.unwrap();
            let hint = serde_json::from_str::<QueueMessage>(&message.body.unwrap());
            let taken = scope_of_queue(&queue).is_ok() && hint.is_ok();
            assert_ne!(taken, sample.is_refused(), "{}", sample.name);
        }
    }
}

#[test]
fn each_task_change_is_read_and_names_its_claim() {
    for sample in samples("observe") {
        let event: EventBridgeEvent<TaskChange> = sample.read();
        assert_eq!(
            (event.source.as_str(), event.detail_type.as_str()),
            ("aws.ecs", "ECS Task State Change")
        );
        let detail = serde_json::to_value(event.detail).unwrap();
        let text = |name: &str| {
            detail
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        assert!(
            matches!(text("lastStatus").as_str(), "RUNNING" | "STOPPED"),
            "{}",
            sample.name
        );
        let ours = text("startedBy").parse::<ClaimTag>().is_ok();
        assert_eq!(ours, sample.name != "foreign-task.json", "{}", sample.name);
    }
}

#[test]
fn each_end_of_a_task_has_its_own_meaning() {
    let requeued = |reason: RequeueReason| Err(reason);
    let failed = |failure: &str, cause: &str| Ok((failure.to_owned(), cause.to_owned()));
    let expected = BTreeMap::from([
        ("stopped-exit-0.json", failed("", "")),
        ("stopped-exit-3.json", failed("exit", "")),
        ("stopped-out-of-memory.json", failed("out_of_memory", "")),
        (
            "stopped-secret-unavailable.json",
            failed("secret_unavailable", "secret_denied"),
        ),
        (
            "stopped-secret-missing.json",
            failed("secret_unavailable", "secret_missing"),
        ),
        (
            "stopped-secret-key-missing.json",
            failed("secret_unavailable", "secret_key_missing"),
        ),
        (
            "stopped-secret-unreadable.json",
            failed("secret_unavailable", "secret_unreadable"),
        ),
        (
            "stopped-registry-denied.json",
            failed("cannot_start", "registry_denied"),
        ),
        (
            "stopped-image-missing.json",
            failed("cannot_start", "image_missing"),
        ),
        (
            "stopped-no-capacity.json",
            requeued(RequeueReason::NoCapacity),
        ),
        (
            "stopped-network-interface-timeout.json",
            requeued(RequeueReason::NetworkTimeout),
        ),
        (
            "stopped-registry-unreachable.json",
            requeued(RequeueReason::NetworkTimeout),
        ),
        (
            "stopped-secret-unreachable.json",
            requeued(RequeueReason::NetworkTimeout),
        ),
        (
            "stopped-image-timeout.json",
            requeued(RequeueReason::ImageTimeout),
        ),
    ]);
    let mut told = BTreeMap::new();
    for sample in samples("observe") {
        let event: EventBridgeEvent<TaskChange> = sample.read();
        let Seen::Ended(end) = Sandbox::from(event.detail).seen else {
            continue;
        };
        let outcome = end.outcome(60).map(|outcome| {
            let outcome = serde_json::to_value(outcome).unwrap();
            let text = |at: &str| {
                outcome
                    .pointer(at)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            (
                text("/failure/kind").to_owned(),
                text("/failure/cause").to_owned(),
            )
        });
        told.insert(sample.name, outcome);
    }
    let told: BTreeMap<&str, _> = told
        .iter()
        .map(|(name, end)| (name.as_str(), end.clone()))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn each_api_call_is_read_and_asks_for_a_secret() {
    for sample in samples("witness") {
        let event: EventBridgeEvent<ApiCall> = sample.read();
        assert_eq!(
            (event.source.as_str(), event.detail_type.as_str()),
            ("aws.secretsmanager", "AWS API Call via CloudTrail")
        );
        let detail: Value = sample.read::<EventBridgeEvent>().detail;
        let parameters = detail.get("requestParameters").unwrap();
        let asks = parameters
            .get("secretId")
            .or(parameters.get("secretIdList"))
            .is_some();
        assert_ne!(asks, sample.is_refused(), "{}", sample.name);
    }
}

#[test]
fn each_change_of_the_ledger_is_of_a_runs_row_and_carries_the_mark() {
    for sample in samples("trail") {
        let event: dynamodb::Event = sample.read();
        assert!(!event.records.is_empty(), "{}", sample.name);
        for record in event.records {
            let text = |value: &serde_dynamo::AttributeValue| match value {
                serde_dynamo::AttributeValue::S(text) => text.clone(),
                other => panic!("{}: {other:?} is no text", sample.name),
            };
            let pk = text(record.change.keys.get("pk").unwrap());
            assert!(pk.contains("#RUNS#"), "{}: `{pk}`", sample.name);
            let images = [record.change.new_image, record.change.old_image];
            let mut marks = images.iter().filter_map(|image| image.get("trail"));
            assert!(marks.any(|mark| text(mark) == "1"), "{}", sample.name);
        }
    }
}

#[test]
fn the_schedule_is_read() {
    for sample in samples("sweep") {
        let event: EventBridgeEvent = sample.read();
        assert_eq!(event.source, "aws.events");
    }
}
