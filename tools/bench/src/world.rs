//! A project on a played cloud, and the functions that serve it, each a process of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use sealfleet_test_stack::api::text;
use sealfleet_test_stack::identity::NOWHERE;
use sealfleet_test_stack::{Failure, Outcome, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::cloud::{Aborted, Cloud, Consumed};
use crate::lambda::Function;

pub const PROJECT: &str = "bench";
pub const PULL: &str = "workers";
pub const FARGATE: &str = "fargate";
/// The profile for pull workers: one secret.
pub const BESIDE: &str = "beside";
/// The profile for Fargate: one secret.
pub const IN_AWS: &str = "in-aws";

const ACCOUNT: &str = "000000000000";
const REGION: &str = "us-east-1";

/// Secrets of a cascade.
const SECRETS: usize = 15;

/// Where secrets are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a store beside the worker.
    Beside,
    InAws,
}

/// The profile of a run, and the keys that its sandbox resolves.
pub struct Identity {
    pub profile: String,
    pub keys: Vec<String>,
}

impl Identity {
    /// A profile with one secret and no other below it.
    pub fn of_one(profile: &str) -> Self {
        Self {
            profile: profile.to_owned(),
            keys: vec!["API_KEY".to_owned()],
        }
    }

    /// Makes and binds a cascade of three profiles (system, project, run) that share the secrets.
    pub async fn cascade(world: &World, place: Place) -> Outcome<Self> {
        let levels = ["system", "project", "run"];
        let name = |level: &str| match place {
            Place::Beside => format!("beside-{level}"),
            Place::InAws => format!("in-aws-{level}"),
        };
        let keys: Vec<String> = (0..SECRETS).map(|number| format!("KEY_{number}")).collect();
        for (at, level) in levels.iter().enumerate() {
            let mut secrets = json!({});
            // Each level has every third secret, beginning with another.
            for (number, key) in keys.iter().enumerate().skip(at).step_by(levels.len()) {
                secrets[key] = json!(place.reference(*level == "system", number));
            }
            let profile = json!({ "name": name(level), "secrets": secrets });
            let owner = if *level == "system" {
                &world.operator
            } else {
                &world.admin
            };
            world
                .post("profile", owner, "/v1/profiles", &profile)
                .await?;
        }
        let bindings = json!({ "system": name("system"), "project": name("project") });
        world.bind(&bindings).await?;
        Ok(Self {
            profile: name("run"),
            keys,
        })
    }
}

impl Place {
    fn reference(self, system: bool, number: usize) -> String {
        let version = NOWHERE.rsplit('@').next().unwrap_or_default();
        match (self, system) {
            (Self::Beside, true) => format!("builtin://system/key-{number}@{version}"),
            (Self::Beside, false) => format!("builtin://key-{number}@{version}"),
            (Self::InAws, true) => format!("aws-sm://sealfleet/system/key-{number}#key"),
            (Self::InAws, false) => format!("aws-sm://sealfleet/{PROJECT}/key-{number}#key"),
        }
    }
}

pub struct World {
    cloud: Cloud,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    functions: Mutex<HashMap<&'static str, Arc<Function>>>,
    operator: String,
    admin: String,
    member: String,
    worker: String,
}

impl World {
    /// Onboards the project, a worker and two profiles. No claim is taken back meanwhile.
    pub async fn new(binary: &Path) -> Outcome<Self> {
        Self::with_leases(binary, Duration::from_secs(3600)).await
    }

    /// The same, with the times that a deployment has.
    pub async fn as_deployed(binary: &Path) -> Outcome<Self> {
        Self::with_times(binary, &[]).await
    }

    /// The same, with leases that last `lease`.
    pub async fn with_leases(binary: &Path, lease: Duration) -> Outcome<Self> {
        let seconds = lease.as_secs().to_string();
        let times = [
            ("SEALFLEET_LEASE_SECONDS", seconds.as_str()),
            ("SEALFLEET_RESEND_SECONDS", "3600"),
        ];
        Self::with_times(binary, &times).await
    }

    async fn with_times(binary: &Path, times: &[(&str, &str)]) -> Outcome<Self> {
        let cloud = Cloud::start().await?;
        let mut environment = environment(&cloud.url);
        let times = times.iter();
        environment.extend(times.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let token = bootstrap(&environment).await?;
        let mut world = Self {
            cloud,
            binary: binary.to_owned(),
            environment,
            functions: Mutex::default(),
            operator: token.clone(),
            admin: String::new(),
            member: String::new(),
            worker: String::new(),
        };
        let image = format!("sealfleet/sandbox@sha256:{}", "0".repeat(64));
        let pools = json!({ PULL: { "kind": "pull" }, FARGATE: { "kind": "fargate", "image": image, "max_concurrent": 1000 } });
        world
            .post(
                "fleet",
                &token,
                "/v1/projects",
                &json!({ "project": PROJECT, "pools": pools }),
            )
            .await?;
        let made = async |role: &str| -> Outcome<String> {
            let made = world
                .post(
                    "fleet",
                    &token,
                    "/v1/tokens",
                    &json!({ "project": PROJECT, "role": role }),
                )
                .await?;
            text(&made, "token")
        };
        let (admin, member) = (made("admin").await?, made("member").await?);
        let key = world
            .post(
                "fleet",
                &admin,
                "/v1/enrolment-keys",
                &json!({ "pool": PULL }),
            )
            .await?;
        let worker = json!({
            "project": PROJECT, "name": "bench", "pool": PULL, "modes": ["sandboxed", "identity"], "max_concurrent": 1000,
        });
        let worker = world
            .post(
                "fleet",
                &text(&key, "enrolment_key")?,
                "/v1/workers/register",
                &worker,
            )
            .await?;
        for (name, reference) in [
            (BESIDE, NOWHERE),
            (IN_AWS, "aws-sm://sealfleet/bench/crm#api-key"),
        ] {
            let profile = json!({ "name": name, "secrets": { "API_KEY": reference } });
            world
                .post("profile", &admin, "/v1/profiles", &profile)
                .await?;
        }
        world.admin = admin;
        world.member = member;
        world.worker = text(&worker, "credential")?;
        Ok(world)
    }

    pub async fn profile(&self, profile: &Value) -> Outcome {
        self.post("profile", &self.admin, "/v1/profiles", profile)
            .await
            .map(|_| ())
    }

    /// Binds the profiles below each run's own.
    pub async fn bind(&self, cascade: &Value) -> Outcome {
        let event = http_event("PUT", &self.admin, "/v1/cascade", cascade);
        accepted(self.function("profile").await?.invoke(&event).await?).map(|_| ())
    }

    /// The cascade of a run with this profile.
    pub async fn resolve(&self, profile: &str) -> Outcome<Value> {
        let body = json!({ "workflow": "bench", "profile": profile });
        self.post("profile", &self.member, "/v1/cascade/resolve", &body)
            .await
    }

    pub fn objects(&self) -> usize {
        self.cloud.objects()
    }

    /// Revokes the key of these profiles, hard; the fan-out as it was answered.
    pub async fn revoke(&self, profiles: &[&str]) -> Outcome<Value> {
        let keys: Vec<Value> = profiles
            .iter()
            .map(|profile| json!({ "profile": profile, "key": "API_KEY" }))
            .collect();
        let body = json!({ "keys": keys, "hard": true, "reason": "bench" });
        let revoked = self
            .post("revoke", &self.admin, "/v1/revocations", &body)
            .await?;
        Ok(revoked["fan_out"].clone())
    }

    /// A fan-out as it is now.
    pub async fn fan_out(&self, id: &str) -> Outcome<Value> {
        let path = format!("/v1/fan-outs/{id}");
        let event = http_event("GET", &self.admin, &path, &Value::Null);
        accepted(self.function("revoke").await?.invoke(&event).await?)
    }

    /// Invokes `sweep`, as its rule does every minute.
    pub async fn sweep(&self) -> Outcome {
        let event =
            json!({ "detail-type": "Scheduled Event", "source": "aws.events", "detail": {} });
        self.function("sweep")
            .await?
            .invoke(&event)
            .await
            .map(|_| ())
    }

    /// The claims of the pull worker that are still held, of these.
    pub async fn held(&self, claims: &[(String, u64)]) -> Outcome<usize> {
        let leases: Vec<Value> = claims
            .iter()
            .map(|(run, fence)| json!({ "run_id": run, "step_id": "only", "fence": fence }))
            .collect();
        let answer = self
            .post(
                "claim",
                &self.worker,
                "/v1/heartbeats",
                &json!({ "leases": leases }),
            )
            .await?;
        Ok(answer["leases"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|lease| lease["held"] != false)
            .count())
    }

    /// Reads the ledger's stream from now on, or no longer.
    pub fn reads_stream(&self, reads: bool) {
        self.cloud.reads_stream(reads);
    }

    /// Hands `trail` what the stream has, as one batch.
    pub async fn copy_to_trail(&self) -> Outcome {
        let records = self.cloud.take_records();
        if records.is_empty() {
            return Ok(());
        }
        let function = self.function("trail").await?;
        let answer = function.invoke(&json!({ "Records": records })).await?;
        let failed = answer["batchItemFailures"] != json!([]);
        ensure!(!failed, "a batch was not copied: {answer}");
        Ok(())
    }

    /// The aborts since they were last asked for.
    pub fn take_aborted(&self) -> Aborted {
        self.cloud.take_aborted()
    }

    /// Starts one more process of a function.
    pub async fn start(&self, name: &str) -> Outcome<Function> {
        Function::start(&self.binary, name, &self.environment).await
    }

    /// The function's process that events go to; started when it is first asked for.
    pub async fn function(&self, name: &'static str) -> Outcome<Arc<Function>> {
        let mut functions = self.functions.lock().await;
        if let Some(function) = functions.get(name) {
            return Ok(Arc::clone(function));
        }
        let function = Arc::new(self.start(name).await?);
        functions.insert(name, Arc::clone(&function));
        Ok(function)
    }

    pub fn consumed(&self) -> Consumed {
        self.cloud.consumed()
    }

    /// Enqueues a run of one identity step.
    pub async fn enqueue(&self, pool: &str, profile: &str) -> Outcome<String> {
        let event = self.enqueue_event(pool, profile);
        text(
            &accepted(self.function("enqueue").await?.invoke(&event).await?)?,
            "run_id",
        )
    }

    /// The event of an enqueue.
    pub fn enqueue_event(&self, pool: &str, profile: &str) -> Value {
        let step = json!({ "id": "only", "pool": pool, "mode": "identity", "command": ["true"] });
        let body = json!({ "workflow": "bench", "profile": profile, "steps": [step] });
        let mut event = http_event("POST", &self.member, "/v1/runs", &body);
        event["headers"]["idempotency-key"] = json!(uuid::Uuid::new_v4());
        event
    }

    /// Claims the step of a run as the pull worker.
    pub async fn claim(&self, run: &str) -> Outcome<u64> {
        let body = json!({ "run_id": run, "step_id": "only" });
        let claim = self
            .post("claim", &self.worker, "/v1/claims", &body)
            .await?;
        claim["fence"]
            .as_u64()
            .ok_or_else(|| Failure::new("a claim without a fence"))
    }

    /// Reports that the pull worker's sandbox has started and has resolved these keys.
    pub async fn started(&self, run: &str, fence: u64, keys: &[String]) -> Outcome {
        let version = NOWHERE.rsplit('@').next();
        let resolved: HashMap<&String, Option<&str>> =
            keys.iter().map(|key| (key, version)).collect();
        let body = json!({
            "run_id": run, "step_id": "only", "fence": fence, "sandbox": "sandbox-1",
            "resolved": resolved,
        });
        self.post("report", &self.worker, "/v1/starts", &body)
            .await
            .map(|_| ())
    }

    /// Tells that the pull worker's step has succeeded.
    pub async fn succeeded(&self, run: &str, fence: u64) -> Outcome {
        let body =
            json!({ "run_id": run, "step_id": "only", "fence": fence, "state": "succeeded" });
        self.post("report", &self.worker, "/v1/reports", &body)
            .await
            .map(|_| ())
    }

    /// Hands `dispatch` the queue message of a run.
    pub async fn dispatch(&self, run: &str) -> Outcome {
        let message = json!({ "run_id": run, "step_id": "only" }).to_string();
        let event = json!({ "Records": [{
            "messageId": "bench", "receiptHandle": "none", "body": message, "attributes": {}, "messageAttributes": {},
            "eventSource": "aws:sqs", "awsRegion": REGION,
            "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:sealfleet-{PROJECT}--{FARGATE}"),
        }] });
        let answer = self.function("dispatch").await?.invoke(&event).await?;
        let returned = answer["batchItemFailures"]
            .as_array()
            .is_some_and(|failures| !failures.is_empty());
        ensure!(!returned, "dispatch gave the message back");
        Ok(())
    }

    /// The task of a run's step, as the API shows it.
    pub async fn task(&self, run: &str) -> Outcome<String> {
        let path = format!("/v1/runs/{run}");
        let event = http_event("GET", &self.member, &path, &Value::Null);
        let shown = accepted(self.function("runs").await?.invoke(&event).await?)?;
        text(&shown["steps"][0], "handle")
    }

    /// Asks for its step as the sandbox of a task.
    pub async fn ask(&self, run: &str, task: &str) -> Outcome {
        let lease = json!({ "project": PROJECT, "run_id": run, "step_id": "only", "fence": 1 });
        self.as_sandbox("/v1/sandbox/step", task, &lease).await
    }

    /// Tells the end of its step as the sandbox of a task.
    pub async fn tell(&self, run: &str, task: &str) -> Outcome {
        let end = json!({
            "run_id": run, "step_id": "only", "fence": 1, "state": "succeeded", "result_bytes": 100,
        });
        let body = json!({ "project": PROJECT, "report": end });
        self.as_sandbox("/v1/sandbox/end", task, &body).await
    }

    async fn as_sandbox(&self, path: &str, task: &str, body: &Value) -> Outcome {
        let mut event = http_event("POST", "", path, body);
        let id = task.rsplit('/').next().unwrap_or_default();
        let caller = format!("arn:aws:sts::{ACCOUNT}:assumed-role/sealfleet-sandboxes/{id}");
        event["requestContext"]["authorizer"] =
            json!({ "iam": { "userArn": caller, "accountId": ACCOUNT } });
        accepted(self.function("sandbox").await?.invoke(&event).await?).map(|_| ())
    }

    /// Hands `observe` a state change of a run's task.
    pub async fn observe(&self, run: &str, task: &str, status: &str) -> Outcome {
        let mut container = json!({ "name": "sandbox", "lastStatus": status });
        if status == "STOPPED" {
            container["exitCode"] = json!(0);
        }
        let event = json!({
            "version": "0", "id": uuid::Uuid::new_v4(), "detail-type": "ECS Task State Change", "source": "aws.ecs",
            "account": ACCOUNT, "time": "2026-01-01T00:00:00Z", "region": REGION, "resources": [task],
            "detail": {
                "taskArn": task, "lastStatus": status, "startedBy": format!("{PROJECT}/{run}/only/1"),
                "stopCode": "EssentialContainerExited", "containers": [container],
            },
        });
        self.function("observe")
            .await?
            .invoke(&event)
            .await
            .map(|_| ())
    }

    async fn post(
        &self,
        function: &'static str,
        credential: &str,
        path: &str,
        body: &Value,
    ) -> Outcome<Value> {
        accepted(
            self.function(function)
                .await?
                .invoke(&http_event("POST", credential, path, body))
                .await?,
        )
    }
}

/// The operator's first token, made with the operator's own AWS credentials.
async fn bootstrap(environment: &[(String, String)]) -> Outcome<String> {
    let program = std::env::current_exe()?.with_file_name("sealfleet");
    let mut command = Command::new(&program);
    command
        .args(["token", "bootstrap"])
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command
        .output()
        .await
        .map_err(|error| Failure::new(format!("`{}`: {error}", program.display())))?;
    ensure!(
        output.status.success(),
        "`sealfleet token bootstrap`: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let token = printed
        .split_whitespace()
        .find(|word| word.starts_with("sft."));
    token
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("`sealfleet token bootstrap` printed no token"))
}

/// The functions' environment in infra/sam/template.yaml.
fn environment(url: &str) -> Vec<(String, String)> {
    let queues = format!("{url}/{ACCOUNT}/");
    let variables = [
        ("AWS_ENDPOINT_URL", url),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "bench"),
        ("AWS_SECRET_ACCESS_KEY", "bench"),
        ("AWS_SESSION_TOKEN", "bench"),
        ("RUST_BACKTRACE", "0"),
        ("SEALFLEET_LEDGER_TABLE", "sealfleet-ledger"),
        ("SEALFLEET_AUDIT_TABLE", "sealfleet-audit"),
        ("SEALFLEET_QUEUE_URL_PREFIX", &queues),
        ("SEALFLEET_ACCOUNT_ID", ACCOUNT),
        ("SEALFLEET_PARTITION", "aws"),
        ("SEALFLEET_REGION", REGION),
        ("SEALFLEET_CLUSTER", "sealfleet"),
        ("SEALFLEET_SUBNETS", "subnet-bench"),
        ("SEALFLEET_SECURITY_GROUPS", "sg-bench"),
        ("SEALFLEET_API_URL", url),
        ("SEALFLEET_AUDIT_BUCKET", "bench"),
        ("SEALFLEET_OUTPUT_BUCKET", "bench"),
        ("SEALFLEET_OUTPUT_ENDPOINT", "http://127.0.0.1:1"),
        ("SEALFLEET_DIGEST_KEY", "bench"),
        // What is measured is a request, not how many a project may make: those that fill a backlog
        // come as fast as they can.
        ("SEALFLEET_REQUESTS_PER_SECOND", "10000"),
        ("SEALFLEET_REQUESTS_BURST", "10000"),
    ];
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// A request as API Gateway hands it to a function (payload format 2.0).
fn http_event(method: &str, credential: &str, path: &str, body: &Value) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": { "authorization": format!("Bearer {credential}"), "content-type": "application/json" },
        "requestContext": {
            "accountId": ACCOUNT, "apiId": "bench", "domainName": "bench", "domainPrefix": "bench", "stage": "$default",
            "requestId": uuid::Uuid::new_v4(), "routeKey": "$default", "time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 0,
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "bench" },
        },
        "body": if body.is_null() { Value::Null } else { json!(body.to_string()) }, "isBase64Encoded": false,
    })
}

/// The body of a 2xx answer of an HTTP function.
pub fn accepted(answer: Value) -> Outcome<Value> {
    let status = answer["statusCode"].as_u64().unwrap_or_default();
    ensure!((200..300).contains(&status), "a function answered {answer}");
    Ok(serde_json::from_str(
        answer["body"].as_str().unwrap_or("null"),
    )?)
}
