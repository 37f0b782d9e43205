//! Tests the stand-in through its HTTP interface with the real ECS client. AWS and the sandboxes
//! are fakes defined here.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_ecs::error::ProvideErrorMetadata as _;
use aws_sdk_ecs::operation::run_task::builders::RunTaskFluentBuilder;
use aws_sdk_ecs::types::{
    AwsVpcConfiguration, Compatibility, ContainerCondition, ContainerDefinition,
    ContainerDependency, ContainerOverride, DesiredStatus, KeyValuePair, LaunchType,
    LogConfiguration, LogDriver, NetworkConfiguration, NetworkMode, Secret, Task, TaskOverride,
    TaskStopCode,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::agent::{Agent, Image, Surroundings};
use crate::clock;
use crate::cloud::{Cloud, CloudError, LogLine, RoleCredentials, RoleSession};
use crate::cluster::{Cluster, Location};
use crate::credentials::CredentialPaths;
use crate::logs::LogStream;
use crate::reference::SecretReference;
use crate::sandbox::{Container, ContainerSpec, Exit, Output, Runtime};

const SECRET: &str =
    "arn:aws:secretsmanager:eu-west-1:000000000000:secret:sealfleet/a/model-AbCdEf";
const VALUE: &str = "canary-3f9c1d77a2";
const EXECUTION_ROLE: &str =
    "arn:aws:iam::000000000000:role/sealfleet/project/sealfleet-a--execution";
const TASK_ROLE: &str = "arn:aws:iam::000000000000:role/sealfleet/shared/sealfleet-sandboxes";

/// A fake of AWS.
#[derive(Default)]
struct FakeCloud {
    secrets_denied: bool,
    log_group_missing: bool,
    assumed: Mutex<Vec<(String, String)>>,
    lines: Mutex<HashMap<String, Vec<String>>>,
    events: watch::Sender<Vec<Value>>,
    /// How many deliveries fail before the first one succeeds.
    refuse_events: Mutex<u32>,
    /// The same for batches of log lines.
    refuse_lines: Mutex<u32>,
}

fn refused(code: &str, message: &str) -> CloudError {
    CloudError {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

#[async_trait]
impl Cloud for FakeCloud {
    async fn assume(
        &self,
        role_arn: &str,
        session_name: &str,
    ) -> Result<RoleCredentials, CloudError> {
        self.assumed
            .lock()
            .unwrap()
            .push((role_arn.to_owned(), session_name.to_owned()));
        Ok(RoleCredentials {
            access_key_id: format!("ASIA-{}", role_arn.rsplit('/').next().unwrap()),
            secret_access_key: Zeroizing::new("role-secret-key".to_owned()),
            session_token: Zeroizing::new("role-session-token".to_owned()),
            expires_at: clock::now() + 3_600_000,
        })
    }

    async fn secret(
        &self,
        role: &RoleCredentials,
        reference: &SecretReference,
    ) -> Result<Zeroizing<String>, CloudError> {
        assert!(
            role.access_key_id.ends_with("--execution"),
            "read with {}",
            role.access_key_id
        );
        if self.secrets_denied || reference.arn != SECRET {
            return Err(refused(
                "AccessDeniedException",
                "not authorized to perform secretsmanager:GetSecretValue",
            ));
        }
        Ok(Zeroizing::new(
            json!({ "api_key": VALUE, "other": "not asked for" }).to_string(),
        ))
    }

    async fn create_log_stream(
        &self,
        _: &RoleCredentials,
        _: &str,
        stream: &str,
    ) -> Result<(), CloudError> {
        if self.log_group_missing {
            return Err(refused(
                "ResourceNotFoundException",
                "The specified log group does not exist.",
            ));
        }
        self.lines
            .lock()
            .unwrap()
            .entry(stream.to_owned())
            .or_default();
        Ok(())
    }

    async fn put_log_lines(
        &self,
        role: &RoleCredentials,
        _: &str,
        stream: &str,
        lines: &[LogLine],
    ) -> Result<(), CloudError> {
        assert!(role.access_key_id.ends_with("--execution"));
        if crate::faults::take(&mut self.refuse_lines.lock().unwrap()) {
            return Err(refused("ServiceUnavailableException", "try later"));
        }
        let mut streams = self.lines.lock().unwrap();
        streams
            .get_mut(stream)
            .unwrap()
            .extend(lines.iter().map(|line| line.text.clone()));
        Ok(())
    }

    async fn deliver_event(&self, event: &Value) -> Result<(), CloudError> {
        if crate::faults::take(&mut self.refuse_events.lock().unwrap()) {
            return Err(refused("Unhandled", "the observer failed"));
        }
        self.events.send_modify(|events| events.push(event.clone()));
        Ok(())
    }
}

/// Runs commands as plain processes, without a sandbox.
struct Processes;

#[async_trait]
impl Runtime for Processes {
    async fn start(&self, spec: ContainerSpec) -> Result<Box<dyn Container>, String> {
        let (program, arguments) = spec.command.split_first().unwrap();
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(
                spec.environment
                    .iter()
                    .map(|(name, value)| (name, value.as_str())),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        let outputs: Vec<Output> = vec![
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        Ok(Box::new(Process {
            child: tokio::sync::Mutex::new(child),
            outputs,
        }))
    }
}

struct Process {
    child: tokio::sync::Mutex<tokio::process::Child>,
    outputs: Vec<Output>,
}

#[async_trait]
impl Container for Process {
    fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    async fn wait(&self) -> Exit {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.child.lock().await.wait().await.unwrap();
        match status.code() {
            // A test command exits with 99 to simulate a kill for memory.
            Some(99) => Exit::OutOfMemory,
            Some(code) => Exit::Code(code),
            None => Exit::Code(128 + status.signal().unwrap()),
        }
    }

    async fn stop(&self, grace: Duration) -> Exit {
        let pid = self.child.lock().await.id().unwrap().to_string();
        tokio::process::Command::new("kill")
            .arg(&pid)
            .status()
            .await
            .unwrap();
        if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
            return exit;
        }
        self.child.lock().await.kill().await.unwrap();
        self.wait().await
    }
}

struct Stand {
    ecs: Client,
    cluster: Arc<Cluster>,
    cloud: Arc<FakeCloud>,
    image: String,
    url: String,
    directory: tempfile::TempDir,
}

impl Stand {
    async fn start() -> Self {
        Self::with(FakeCloud::default()).await
    }

    async fn with(cloud: FakeCloud) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("sealfleet-init"), "init").unwrap();
        let cloud = Arc::new(cloud);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (cluster, work) = open(directory.path(), &cloud);
        let agent = Arc::new(Agent {
            cluster: Arc::clone(&cluster),
            cloud: cloud.clone(),
            runtime: Arc::new(Processes),
            credentials: Arc::new(CredentialPaths::default()),
            image: Image::new(directory.path()),
            surroundings: Surroundings {
                region: "eu-west-1".to_owned(),
                aws_endpoint: "http://127.0.0.1:4566".to_owned(),
                own_url: url.clone(),
            },
            loopback: tokio::sync::Semaphore::new(1),
        });
        let image = agent.image.reference().unwrap();
        tokio::spawn(Arc::clone(&agent).run(work));
        tokio::spawn(crate::server::serve(listener, agent, None));
        let ecs = Client::from_conf(
            aws_sdk_ecs::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-west-1"))
                .endpoint_url(&url)
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .retry_config(RetryConfig::disabled())
                .build(),
        );
        Self {
            ecs,
            cluster,
            cloud,
            image,
            url,
            directory,
        }
    }

    /// Registers a definition that runs `script` with `/bin/sh`.
    async fn define(&self, script: &str) -> String {
        self.define_with(script, |container| container).await
    }

    /// The same with a second container, which is not essential and starts first.
    async fn define_pair(&self, script: &str, beside: &str) -> String {
        let first = ContainerDependency::builder()
            .container_name("beside")
            .condition(ContainerCondition::Start)
            .build()
            .unwrap();
        let beside = ContainerDefinition::builder()
            .name("beside")
            .image(&self.image)
            .essential(false)
            .entry_point("/bin/sh")
            .entry_point("-c")
            .command(beside)
            .stop_timeout(5)
            .build();
        self.define_all(
            script,
            |container| container.depends_on(first),
            Some(beside),
        )
        .await
    }

    async fn define_with(
        &self,
        script: &str,
        change: impl FnOnce(
            aws_sdk_ecs::types::builders::ContainerDefinitionBuilder,
        ) -> aws_sdk_ecs::types::builders::ContainerDefinitionBuilder,
    ) -> String {
        self.define_all(script, change, None).await
    }

    async fn define_all(
        &self,
        script: &str,
        change: impl FnOnce(
            aws_sdk_ecs::types::builders::ContainerDefinitionBuilder,
        ) -> aws_sdk_ecs::types::builders::ContainerDefinitionBuilder,
        beside: Option<ContainerDefinition>,
    ) -> String {
        let logs = LogConfiguration::builder()
            .log_driver(LogDriver::Awslogs)
            .options("awslogs-group", "/sealfleet/a")
            .options("awslogs-region", "eu-west-1")
            .options("awslogs-stream-prefix", "step")
            .build()
            .unwrap();
        let secret = Secret::builder()
            .name("MODEL_KEY")
            .value_from(format!("{SECRET}:api_key::"))
            .build()
            .unwrap();
        let container = ContainerDefinition::builder()
            .name("sandbox")
            .image(&self.image)
            .entry_point("/bin/sh")
            .entry_point("-c")
            .command(script)
            .environment(
                KeyValuePair::builder()
                    .name("KIND")
                    .value("definition")
                    .build(),
            )
            .environment(KeyValuePair::builder().name("STEP").value("none").build())
            .secrets(secret)
            .log_configuration(logs)
            .stop_timeout(5);
        self.ecs
            .register_task_definition()
            .family("sealfleet-a--0123")
            .network_mode(NetworkMode::Awsvpc)
            .requires_compatibilities(Compatibility::Fargate)
            .cpu("256")
            .memory("512")
            .execution_role_arn(EXECUTION_ROLE)
            .task_role_arn(TASK_ROLE)
            .set_container_definitions(Some(
                std::iter::once(change(container).build())
                    .chain(beside)
                    .collect(),
            ))
            .send()
            .await
            .unwrap()
            .task_definition
            .unwrap()
            .task_definition_arn
            .unwrap()
    }

    fn run(&self, definition: &str, token: &str) -> RunTaskFluentBuilder {
        let vpc = AwsVpcConfiguration::builder()
            .subnets("subnet-1")
            .build()
            .unwrap();
        self.ecs
            .run_task()
            .cluster("sealfleet")
            .task_definition(definition)
            .launch_type(LaunchType::Fargate)
            .network_configuration(
                NetworkConfiguration::builder()
                    .awsvpc_configuration(vpc)
                    .build(),
            )
            .started_by("a/run_1/step/7")
            .client_token(token)
    }

    async fn start_task(&self, definition: &str) -> String {
        let answer = self
            .run(definition, &crate::random::uuid())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.failures(), []);
        answer.tasks()[0].task_arn.clone().unwrap()
    }

    async fn describe(&self, arn: &str) -> Task {
        let answer = self
            .ecs
            .describe_tasks()
            .cluster("sealfleet")
            .tasks(arn)
            .send()
            .await
            .unwrap();
        answer.tasks()[0].clone()
    }

    /// Waits for the event in which the task has this status.
    async fn event(&self, arn: &str, status: &str) -> Value {
        let wanted = |event: &&Value| {
            event["detail"]["taskArn"] == arn && event["detail"]["lastStatus"] == status
        };
        let mut events = self.cloud.events.subscribe();
        let found = events.wait_for(|events| events.iter().any(|event| wanted(&event)));
        let events = tokio::time::timeout(Duration::from_secs(20), found)
            .await
            .expect(status)
            .unwrap();
        events.iter().rev().find(wanted).unwrap().clone()
    }

    async fn stopped(&self, arn: &str) -> Task {
        self.event(arn, "STOPPED").await;
        self.describe(arn).await
    }

    fn lines(&self, arn: &str) -> Vec<String> {
        let stream = format!("step/sandbox/{}", arn.rsplit('/').next().unwrap());
        self.cloud.lines.lock().unwrap()[&stream].clone()
    }

    /// Sends `POST` to a control endpoint.
    async fn control(&self, path: &str, body: Value) {
        let status = http(
            &self.url,
            "POST",
            &format!("/_local/{path}"),
            &body.to_string(),
        )
        .await
        .0;
        assert_eq!(status, 200);
    }
}

fn open(
    directory: &Path,
    cloud: &Arc<FakeCloud>,
) -> (
    Arc<Cluster>,
    tokio::sync::mpsc::UnboundedReceiver<crate::cluster::Assignment>,
) {
    let place = Location {
        region: "eu-west-1".to_owned(),
        account: "000000000000".to_owned(),
    };
    Cluster::open(place, &directory.join("state"), cloud.clone()).unwrap()
}

/// A minimal HTTP client. Returns status and body.
async fn http(url: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test(start_paused = true)]
async fn lost_log_lines_are_counted_in_the_log() {
    let cloud = Arc::new(FakeCloud::default());
    // Two batches, six attempts each.
    *cloud.refuse_lines.lock().unwrap() = 12;
    let shared = || Arc::clone(&cloud) as Arc<dyn Cloud>;
    let role = RoleSession::open(shared(), EXECUTION_ROLE, "session").await;
    let role = Arc::new(role.unwrap());
    let stream = LogStream::create(shared(), role, "g", "s".into()).await;
    let stream = stream.unwrap();
    let (mut command, output) = tokio::io::duplex(64);
    let copy = tokio::spawn(stream.copy(vec![Box::new(output)]));
    for line in ["one\n", "two\nthree\n", "four\n"] {
        command.write_all(line.as_bytes()).await.unwrap();
        // Longer than a batch is collected and tried.
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    drop(command);
    copy.await.unwrap();
    let lines = cloud.lines.lock().unwrap()["s"].clone();
    assert_eq!(lines, ["[3 lines of output were lost here]", "four"]);
}

#[tokio::test]
async fn a_task_runs_with_its_environment_secret_and_roles_and_ends_with_its_exit_code() {
    let stand = Stand::start().await;
    let definition = stand
        .define("echo \"$KIND $STEP $AWS_REGION $AWS_ENDPOINT_URL\"; printf %s \"$MODEL_KEY\" | md5sum >&2; exit 3")
        .await;
    let step = ContainerOverride::builder()
        .name("sandbox")
        .environment(KeyValuePair::builder().name("STEP").value("one").build())
        .build();
    let answer = stand
        .run(&definition, "token")
        .overrides(TaskOverride::builder().container_overrides(step).build())
        .send()
        .await
        .unwrap();
    let arn = answer.tasks()[0].task_arn().unwrap();
    assert_eq!(answer.tasks()[0].last_status(), Some("PROVISIONING"));
    assert!(arn.starts_with("arn:aws:ecs:eu-west-1:000000000000:task/sealfleet/"));

    let task = stand.stopped(arn).await;
    assert_eq!(
        task.stop_code(),
        Some(&TaskStopCode::EssentialContainerExited)
    );
    assert_eq!(
        task.stopped_reason(),
        Some("Essential container in task exited")
    );
    assert_eq!(
        (
            task.containers()[0].exit_code(),
            task.containers()[0].reason()
        ),
        (Some(3), None)
    );
    assert!(task.started_at().unwrap().as_nanos() <= task.stopped_at().unwrap().as_nanos());

    let mut lines = stand.lines(arn);
    lines.sort();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.contains(&"definition one eu-west-1 http://127.0.0.1:4566".to_owned()));

    let id = arn.rsplit('/').next().unwrap();
    let assumed = stand.cloud.assumed.lock().unwrap().clone();
    assert_eq!(
        assumed,
        [
            (EXECUTION_ROLE.to_owned(), id.to_owned()),
            (TASK_ROLE.to_owned(), id.to_owned())
        ]
    );
}

#[tokio::test]
async fn events_tell_every_status_once_and_in_order_of_versions() {
    let stand = Stand::start().await;
    let arn = stand.start_task(&stand.define("exit 0").await).await;
    let last = stand.event(&arn, "STOPPED").await;
    let events = stand.cloud.events.borrow().clone();
    let seen: Vec<_> = events
        .iter()
        .map(|event| event["detail"]["lastStatus"].as_str().unwrap())
        .collect();
    assert_eq!(
        seen,
        [
            "PROVISIONING",
            "PENDING",
            "RUNNING",
            "DEPROVISIONING",
            "STOPPED"
        ]
    );
    let versions: Vec<_> = events
        .iter()
        .map(|event| event["detail"]["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, [1, 2, 3, 4, 5]);
    assert_eq!(
        (&last["source"], &last["detail-type"]),
        (&json!("aws.ecs"), &json!("ECS Task State Change"))
    );
    assert_eq!(last["resources"], json!([arn]));
    assert_eq!(last["detail"]["startedBy"], "a/run_1/step/7");
    assert_eq!(last["detail"]["containers"][0]["exitCode"], 0);
    assert_eq!(last["detail"]["group"], "family:sealfleet-a--0123");
    assert!(last["detail"]["stoppedAt"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_value_is_nowhere_but_in_the_container() {
    let stand = Stand::start().await;
    let arn = stand
        .start_task(
            &stand
                .define("test \"$MODEL_KEY\" = canary-3f9c1d77a2")
                .await,
        )
        .await;
    let task = stand.stopped(&arn).await;
    assert_eq!(
        task.containers()[0].exit_code(),
        Some(0),
        "the container sees the value"
    );
    let journal =
        std::fs::read_to_string(stand.directory.path().join("state/tasks.jsonl")).unwrap();
    assert!(journal.contains(&arn));
    let events = stand.cloud.events.borrow().clone();
    let shown = http(&stand.url, "GET", "/_local/tasks", "").await.1;
    for (place, text) in [
        ("journal", journal),
        ("events", json!(events).to_string()),
        ("tasks", shown),
    ] {
        // The test's own command contains the value. Look only at text outside the definition.
        let beside = text.replace("test \\\"$MODEL_KEY\\\" = canary-3f9c1d77a2", "");
        assert!(!beside.contains(VALUE), "{place}");
        for credential in ["role-secret-key", "role-session-token", "not asked for"] {
            assert!(!text.contains(credential), "{credential} in {place}");
        }
    }
}

#[tokio::test]
async fn a_client_token_starts_one_task_and_holds_its_parameters() {
    let stand = Stand::start().await;
    let definition = stand.define("sleep 60").await;
    let first = stand.run(&definition, "token").send().await.unwrap();
    let again = stand.run(&definition, "token").send().await.unwrap();
    let arn = first.tasks()[0].task_arn().unwrap();
    assert_eq!(again.tasks()[0].task_arn().unwrap(), arn);

    let error = stand
        .run(&definition, "token")
        .started_by("another")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    let aws_sdk_ecs::operation::run_task::RunTaskError::ConflictException(conflict) = error else {
        panic!("{error}");
    };
    assert_eq!(conflict.resource_ids(), [arn]);

    let elsewhere = stand
        .run(&definition, "token")
        .cluster("other")
        .send()
        .await
        .unwrap();
    assert_ne!(
        elsewhere.tasks()[0].task_arn().unwrap(),
        arn,
        "a token belongs to one cluster"
    );
}

#[tokio::test]
async fn run_task_refuses_what_ecs_refuses() {
    let stand = Stand::start().await;
    let definition = stand.define("exit 0").await;
    let code = |call: RunTaskFluentBuilder| async {
        call.send().await.unwrap_err().code().unwrap().to_owned()
    };
    assert_eq!(
        code(stand.run("sealfleet-a--0123:9", "t")).await,
        "ClientException"
    );
    assert_eq!(
        code(stand.run(&definition, &"t".repeat(65))).await,
        "InvalidParameterException"
    );
    assert_eq!(
        code(stand.run(&definition, "t").started_by("s".repeat(129))).await,
        "InvalidParameterException"
    );
    let with = |name: &str, variable: &str, value: String| {
        let pair = KeyValuePair::builder().name(variable).value(value).build();
        let one = ContainerOverride::builder()
            .name(name)
            .environment(pair)
            .build();
        stand
            .run(&definition, "t")
            .overrides(TaskOverride::builder().container_overrides(one).build())
    };
    assert_eq!(
        code(with("sandbox", "A", "v".repeat(8192))).await,
        "InvalidParameterException"
    );
    assert_eq!(
        code(with("other", "A", String::new())).await,
        "InvalidParameterException"
    );
    assert_eq!(
        code(with("sandbox", "MODEL_KEY", String::new())).await,
        "InvalidParameterException"
    );
    let role = TaskOverride::builder()
        .execution_role_arn(EXECUTION_ROLE)
        .build();
    assert_eq!(
        code(stand.run(&definition, "t").overrides(role)).await,
        "InvalidParameterException"
    );
    assert_eq!(stand.cluster.all_tasks(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_denied_secret_stops_the_task_before_it_starts_and_is_named() {
    let stand = Stand::with(FakeCloud {
        secrets_denied: true,
        ..FakeCloud::default()
    })
    .await;
    let arn = stand.start_task(&stand.define("exit 0").await).await;
    let task = stand.stopped(&arn).await;
    assert_eq!(task.stop_code(), Some(&TaskStopCode::TaskFailedToStart));
    let reason = task.stopped_reason().unwrap();
    assert!(
        reason
            .starts_with("ResourceInitializationError: unable to pull secrets or registry auth: "),
        "{reason}"
    );
    assert!(
        reason.contains(SECRET) && reason.contains("AccessDeniedException"),
        "{reason}"
    );
    assert_eq!(
        (task.started_at(), task.containers()[0].exit_code()),
        (None, None)
    );
}

#[tokio::test]
async fn a_missing_json_key_is_named_without_the_value() {
    let stand = Stand::start().await;
    let missing = Secret::builder()
        .name("B")
        .value_from(format!("{SECRET}:absent::"))
        .build()
        .unwrap();
    let arn = stand
        .start_task(
            &stand
                .define_with("exit 0", |container| container.secrets(missing))
                .await,
        )
        .await;
    let task = stand.stopped(&arn).await;
    let reason = task.stopped_reason().unwrap();
    assert!(
        reason.contains("did not contain json key absent") && !reason.contains(VALUE),
        "{reason}"
    );
}

#[tokio::test]
async fn a_missing_log_group_an_unknown_image_and_a_missing_program_each_stop_the_task() {
    let stand = Stand::with(FakeCloud {
        log_group_missing: true,
        ..FakeCloud::default()
    })
    .await;
    let arn = stand.start_task(&stand.define("exit 0").await).await;
    let reason = stand
        .stopped(&arn)
        .await
        .stopped_reason()
        .unwrap()
        .to_owned();
    assert!(
        reason.starts_with("ResourceInitializationError: ")
            && reason.contains("log group does not exist"),
        "{reason}"
    );

    let stand = Stand::start().await;
    let other = format!("sealfleet/sandbox@sha256:{}", "0".repeat(64));
    let arn = stand
        .start_task(
            &stand
                .define_with("exit 0", |container| container.image(other))
                .await,
        )
        .await;
    let task = stand.stopped(&arn).await;
    assert!(
        task.stopped_reason()
            .unwrap()
            .starts_with("CannotPullContainerError: ")
    );
    assert!(
        task.containers()[0]
            .reason()
            .unwrap()
            .starts_with("CannotPullContainerError: ")
    );

    let nothing = |container: aws_sdk_ecs::types::builders::ContainerDefinitionBuilder| {
        container.set_entry_point(Some(vec!["/nothing/here".to_owned()]))
    };
    let arn = stand
        .start_task(&stand.define_with("exit 0", nothing).await)
        .await;
    let task = stand.stopped(&arn).await;
    assert_eq!(task.stop_code(), Some(&TaskStopCode::TaskFailedToStart));
    assert!(
        task.containers()[0]
            .reason()
            .unwrap()
            .starts_with("CannotStartContainerError: ")
    );
}

#[tokio::test]
async fn a_memory_kill_is_told_as_ecs_tells_it() {
    let stand = Stand::start().await;
    let arn = stand.start_task(&stand.define("exit 99").await).await;
    let task = stand.stopped(&arn).await;
    let container = &task.containers()[0];
    assert_eq!(container.exit_code(), Some(137));
    assert_eq!(
        container.reason(),
        Some("OutOfMemoryError: Container killed due to memory usage")
    );
    assert_eq!(
        task.stop_code(),
        Some(&TaskStopCode::EssentialContainerExited)
    );
}

#[tokio::test]
async fn stop_task_terminates_kills_after_the_time_out_and_may_be_repeated() {
    let stand = Stand::start().await;
    let gentle = stand.start_task(&stand.define("exec sleep 60").await).await;
    let deaf = stand
        .define_with(
            "trap '' TERM; echo deaf; while :; do sleep 0.1; done",
            |container| container.stop_timeout(1),
        )
        .await;
    let deaf = stand.start_task(&deaf).await;
    stand.event(&gentle, "RUNNING").await;
    stand.event(&deaf, "RUNNING").await;
    while stand.lines(&deaf).is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        let answer = stand
            .ecs
            .stop_task()
            .cluster("sealfleet")
            .task(&gentle)
            .reason("cancelled")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.task().unwrap().desired_status(), Some("STOPPED"));
    }
    stand
        .ecs
        .stop_task()
        .cluster("sealfleet")
        .task(&deaf)
        .send()
        .await
        .unwrap();
    for (arn, code, reason) in [
        (&gentle, 143, "cancelled"),
        (&deaf, 137, "Task stopped by user"),
    ] {
        let task = stand.stopped(arn).await;
        assert_eq!(task.stop_code(), Some(&TaskStopCode::UserInitiated));
        assert_eq!(
            (task.stopped_reason(), task.containers()[0].exit_code()),
            (Some(reason), Some(code))
        );
    }
    let error = stand
        .ecs
        .stop_task()
        .cluster("sealfleet")
        .task("0".repeat(32))
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.message(), Some("The referenced task was not found."));
}

#[tokio::test]
async fn tasks_are_found_by_who_started_them_by_family_and_by_status() {
    let stand = Stand::start().await;
    let definition = stand.define("exec sleep 60").await;
    let mine = stand.start_task(&definition).await;
    let other = stand
        .run(&definition, "other")
        .started_by("b/run_2/step/1")
        .send()
        .await
        .unwrap();
    let other = other.tasks()[0].task_arn().unwrap().to_owned();
    let list = || stand.ecs.list_tasks().cluster("sealfleet");
    let by = list().started_by("a/run_1/step/7").send().await.unwrap();
    assert_eq!(by.task_arns(), std::slice::from_ref(&mine));
    let two_filters = list()
        .started_by("a/run_1/step/7")
        .desired_status(DesiredStatus::Stopped)
        .send()
        .await
        .unwrap_err();
    assert_eq!(two_filters.code(), Some("InvalidParameterException"));
    assert_eq!(
        list()
            .family("sealfleet-a--0123")
            .send()
            .await
            .unwrap()
            .task_arns()
            .len(),
        2
    );
    assert_eq!(
        list()
            .desired_status(DesiredStatus::Stopped)
            .send()
            .await
            .unwrap()
            .task_arns()
            .len(),
        0
    );
    let page = list().max_results(1).send().await.unwrap();
    let rest = list()
        .max_results(1)
        .next_token(page.next_token().unwrap())
        .send()
        .await
        .unwrap();
    let mut all = [page.task_arns(), rest.task_arns()].concat();
    all.sort();
    let mut expected = vec![mine.clone(), other];
    expected.sort();
    assert_eq!((all, rest.next_token()), (expected, None));

    stand
        .ecs
        .stop_task()
        .cluster("sealfleet")
        .task(&mine)
        .send()
        .await
        .unwrap();
    stand.event(&mine, "STOPPED").await;
    let stopped = list()
        .desired_status(DesiredStatus::Stopped)
        .send()
        .await
        .unwrap();
    assert_eq!(stopped.task_arns(), [mine]);
    let missing = stand
        .ecs
        .describe_tasks()
        .cluster("sealfleet")
        .tasks("absent")
        .send()
        .await
        .unwrap();
    assert_eq!(missing.failures()[0].reason(), Some("MISSING"));
}

#[tokio::test]
async fn a_deregistered_definition_runs_no_task_and_a_new_revision_does() {
    let stand = Stand::start().await;
    let definition = stand.define("exit 0").await;
    let deregistered = stand
        .ecs
        .deregister_task_definition()
        .task_definition(&definition)
        .send()
        .await
        .unwrap();
    let status = deregistered.task_definition().unwrap().status().unwrap();
    assert_eq!(status.as_str(), "INACTIVE");
    let error = stand.run(&definition, "t").send().await.unwrap_err();
    assert_eq!(error.message(), Some("TaskDefinition is inactive"));
    let anew = stand.define("exit 0").await;
    assert_ne!(anew, definition);
    let started = stand.run(&anew, "t").send().await.unwrap();
    assert_eq!(started.tasks().len(), 1);
}

#[tokio::test]
async fn faults_come_on_demand() {
    let stand = Stand::start().await;
    let definition = stand.define("exec sleep 60").await;
    stand.control("throttles", json!({ "next": 1 })).await;
    let error = stand.run(&definition, "t").send().await.unwrap_err();
    assert_eq!(error.code(), Some("ThrottlingException"));

    stand
        .control("failures", json!({ "next": 1, "reason": "RESOURCE:ENI" }))
        .await;
    let failed = stand.run(&definition, "t").send().await.unwrap();
    assert_eq!(
        (failed.tasks().len(), failed.failures()[0].reason()),
        (0, Some("RESOURCE:ENI"))
    );

    stand
        .control("refusals", json!({ "next": 1, "reason": "pass-role" }))
        .await;
    let error = stand.run(&definition, "t").send().await.unwrap_err();
    assert_eq!(error.code(), Some("AccessDeniedException"));

    for (kind, words) in crate::faults::START_FAILURES {
        stand
            .control("start-failures", json!({ "next": 1, "reason": kind }))
            .await;
        let failed = stand.start_task(&definition).await;
        stand.event(&failed, "STOPPED").await;
        let task = stand.describe(&failed).await;
        assert_eq!(task.stop_code(), Some(&TaskStopCode::TaskFailedToStart));
        assert_eq!(task.stopped_reason(), Some(words));
    }
    let before = stand.cluster.all_tasks().len();

    stand.control("lost-answers", json!({ "next": 1 })).await;
    let lost = stand.run(&definition, "t").send().await.unwrap_err();
    assert_eq!(lost.code(), Some("ServerException"));
    let again = stand.run(&definition, "t").send().await.unwrap();
    assert_eq!(again.tasks().len(), 1);
    assert_eq!(
        stand.cluster.all_tasks().len(),
        before + 1,
        "the repeated call found the task of the lost answer"
    );
}

#[tokio::test]
async fn events_are_retried_held_and_doubled() {
    let stand = Stand::with(FakeCloud {
        refuse_events: Mutex::new(2),
        ..FakeCloud::default()
    })
    .await;
    let definition = stand.define("exit 0").await;
    let arn = stand.start_task(&definition).await;
    stand.event(&arn, "PROVISIONING").await;
    stand.event(&arn, "STOPPED").await;

    stand.control("events", json!({ "mode": "hold" })).await;
    let held = stand.start_task(&definition).await;
    while stand.describe(&held).await.last_status() != Some("STOPPED") {
        tokio::task::yield_now().await;
    }
    let of_held = || {
        let events = stand.cloud.events.borrow();
        let of_task = events
            .iter()
            .filter(|event| event["detail"]["taskArn"] == held);
        of_task
            .map(|event| event["detail"]["version"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_held(), Vec::<u64>::new());
    stand
        .control("events", json!({ "mode": "deliver", "reversed": true }))
        .await;
    stand.event(&held, "PROVISIONING").await;
    assert_eq!(of_held(), [5, 4, 3, 2, 1]);

    stand
        .control("events", json!({ "mode": "duplicate" }))
        .await;
    let twice = stand.start_task(&definition).await;
    stand.event(&twice, "STOPPED").await;
    stand.cluster.events().settle(Duration::from_secs(20)).await;
    let events = stand.cloud.events.borrow();
    assert_eq!(
        events
            .iter()
            .filter(|event| event["detail"]["taskArn"] == twice)
            .count(),
        10
    );
}

#[tokio::test]
async fn the_task_role_is_served_on_a_path_that_ends_with_the_task() {
    let stand = Stand::start().await;
    let definition = stand
        .define("echo $AWS_CONTAINER_CREDENTIALS_FULL_URI; exec sleep 60")
        .await;
    let arn = stand.start_task(&definition).await;
    stand.event(&arn, "RUNNING").await;
    let uri = loop {
        if let Some(uri) = stand.lines(&arn).first() {
            break uri.clone();
        }
        tokio::task::yield_now().await;
    };
    let path = uri.strip_prefix(&stand.url).unwrap().to_owned();
    let (status, body) = http(&stand.url, "GET", &path, "").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["RoleArn"]), (200, &json!(TASK_ROLE)));
    assert_eq!(body["AccessKeyId"], "ASIA-sealfleet-sandboxes");
    let guess = format!("/_local/credentials/{}", "0".repeat(64));
    assert_eq!(http(&stand.url, "GET", &guess, "").await.0, 404);
    stand
        .ecs
        .stop_task()
        .cluster("sealfleet")
        .task(&arn)
        .send()
        .await
        .unwrap();
    stand.event(&arn, "STOPPED").await;
    let closed = async {
        while http(&stand.url, "GET", &path, "").await.0 != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed)
        .await
        .expect("the path is closed");
}

#[tokio::test]
async fn closing_stops_every_task_and_refuses_new_ones() {
    let stand = Stand::start().await;
    let definition = stand.define("exec sleep 60").await;
    let arn = stand.start_task(&definition).await;
    stand.event(&arn, "RUNNING").await;
    stand.cluster.close(Duration::from_secs(20)).await;
    let task = stand.describe(&arn).await;
    assert_eq!(
        (task.last_status(), task.stop_code()),
        (Some("STOPPED"), Some(&TaskStopCode::TerminationNotice))
    );
    let error = stand.run(&definition, "late").send().await.unwrap_err();
    assert_eq!(error.code(), Some("ServerException"));
}

#[tokio::test]
async fn a_journal_ends_what_ran_when_the_process_died_and_keeps_its_promises() {
    let stand = Stand::start().await;
    let definition = stand.define("exec sleep 60").await;
    let first = stand.run(&definition, "token").send().await.unwrap();
    let arn = first.tasks()[0].task_arn().unwrap();
    stand.event(arn, "RUNNING").await;
    let done = stand.start_task(&stand.define("exit 0").await).await;
    stand.event(&done, "STOPPED").await;
    let journal = stand.directory.path().join("state/tasks.jsonl");
    let delivered = async {
        while !std::fs::read_to_string(&journal)
            .unwrap()
            .contains("\"delivered\"")
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), delivered)
        .await
        .expect("the delivery is journalled");

    // A killed process leaves its journal, with the last line cut short.
    let next = tempfile::tempdir().unwrap();
    std::fs::create_dir(next.path().join("state")).unwrap();
    let mut left = std::fs::read(&journal).unwrap();
    left.extend_from_slice(b"{\"record\":\"task\",\"id");
    std::fs::write(next.path().join("state/tasks.jsonl"), left).unwrap();

    let cloud = Arc::new(FakeCloud::default());
    let (cluster, _work) = open(next.path(), &cloud);
    cluster.events().settle(Duration::from_secs(20)).await;
    let events = cloud.events.borrow().clone();
    assert_eq!(events.len(), 1, "only what was not delivered: {events:?}");
    let detail = &events[0]["detail"];
    assert_eq!(
        (&detail["taskArn"], &detail["lastStatus"]),
        (&json!(arn), &json!("STOPPED"))
    );
    assert_eq!(detail["stopCode"], "InfrastructureHealth");
    assert_eq!(detail["version"], 4);
    assert_eq!(cluster.live_tasks(), 0);

    let again = json!({
        "cluster": "sealfleet", "taskDefinition": "sealfleet-a--0123:1", "clientToken": "token",
        "networkConfiguration": { "awsvpcConfiguration": { "subnets": ["s"] } },
    });
    let conflict = cluster.call("RunTask", again).unwrap_err();
    assert_eq!(
        conflict.code, "ConflictException",
        "the token is still held"
    );
    assert_eq!(conflict.extra["resourceIds"], json!([arn]));
    assert!(
        Cluster::open(
            Location {
                region: String::new(),
                account: String::new()
            },
            &next.path().join("state"),
            cloud
        )
        .is_err(),
        "one process at a time"
    );
}

/// Exit codes of a task's containers, by name.
fn exits(task: &Task) -> HashMap<String, Option<i32>> {
    let containers = task.containers().iter();
    containers
        .map(|one| (one.name().unwrap().to_owned(), one.exit_code()))
        .collect()
}

#[tokio::test]
async fn a_task_ends_with_its_essential_container_and_takes_the_others_along() {
    let stand = Stand::start().await;
    let done = stand.directory.path().join("done");
    let script = format!(
        "until [ -e {} ]; do sleep 0.05; done; exit 3",
        done.display()
    );
    // The other one has no secret of the first.
    let definition = stand
        .define_pair(&script, "[ -z \"$MODEL_KEY\" ] && exit 5")
        .await;
    let arn = stand.start_task(&definition).await;
    let ended_alone = async |task: &Task| exits(task)["beside"] == Some(5);
    let mut task = stand.describe(&arn).await;
    while !ended_alone(&task).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
        task = stand.describe(&arn).await;
    }
    assert_eq!(task.last_status(), Some("RUNNING"), "it is not essential");
    std::fs::write(done, "").unwrap();
    let task = stand.stopped(&arn).await;
    assert_eq!(exits(&task)["sandbox"], Some(3));

    let definition = stand.define_pair("exit 0", "exec sleep 600").await;
    let arn = stand.start_task(&definition).await;
    let task = stand.stopped(&arn).await;
    let (sandbox, beside) = (exits(&task)["sandbox"], exits(&task)["beside"]);
    assert_eq!((sandbox, beside), (Some(0), Some(143)));
}

#[tokio::test]
async fn of_tasks_with_several_containers_one_has_loopback_at_a_time() {
    let stand = Stand::start().await;
    let place = stand.directory.path().display().to_string();
    // Whoever finds the other's mark runs beside it.
    let script = format!("mkdir {place}/alone || exit 9; sleep 0.3; rmdir {place}/alone; exit 0");
    let definition = stand.define_pair(&script, "exec sleep 600").await;
    let mut arns = Vec::new();
    for _ in 0..3 {
        arns.push(stand.start_task(&definition).await);
    }
    for arn in arns {
        let task = stand.stopped(&arn).await;
        assert_eq!(exits(&task)["sandbox"], Some(0));
    }
}
