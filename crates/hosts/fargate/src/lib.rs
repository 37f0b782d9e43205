//! Sandboxes as ECS Fargate tasks.
//!
//! A task definition is registered once for each content (image, roles, secret references with
//! their versions, size, network), never for each run; what varies by run is three ids in the
//! task's environment. `RunTask` always carries a client token made of run, step and fence, so a
//! launch that is tried again ends at the same task.

use async_trait::async_trait;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::ProvideErrorMetadata as _;
use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, Compatibility, ContainerDefinition, ContainerOverride,
    KernelCapabilities, KeyValuePair, LaunchType, LinuxParameters, LogConfiguration, LogDriver,
    NetworkConfiguration, NetworkMode, Secret, Task, TaskOverride,
};
use sealfleet_domain::cause::chain;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::Fence;
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{ProjectScope, RunId, StepId, Timestamp};
use serde::{Deserialize, Serialize};

pub mod names;

/// The container's name in every task definition.
pub const CONTAINER: &str = "sandbox";
/// Seconds between SIGTERM and SIGKILL when a task is stopped.
const STOP_TIMEOUT: i32 = 5;

/// What a task definition is made of. Two equal ones are one definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The image by digest.
    pub image: String,
    /// CPU units.
    pub cpu: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The secrets that ECS injects, by reference and version.
    pub secrets: Vec<SecretRef>,
}

/// One launch.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: &'a StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// The ARN of the task definition.
    pub definition: &'a str,
}

/// What became of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launched {
    /// A task, new or the same as before.
    Task(String),
    /// ECS has no room now; try later.
    NoCapacity(String),
}

/// A task as ECS shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskState {
    /// Its ARN.
    pub arn: String,
    /// Who it was started for: the claim, for a task of ours.
    pub started_by: Option<String>,
    /// `PROVISIONING`, `PENDING`, `RUNNING`, `STOPPED`, …
    pub last_status: String,
    /// The container's exit code.
    pub exit_code: Option<i32>,
    /// `EssentialContainerExited`, `TaskFailedToStart`, `UserInitiated`, …
    pub stop_code: Option<String>,
    /// Why it stopped, in ECS's words.
    pub stopped_reason: Option<String>,
    /// Why the container stopped, in ECS's words.
    pub container_reason: Option<String>,
    /// CPU units, 1,024 for each virtual CPU, and memory in MiB.
    pub size: Option<(u32, u32)>,
    /// When its container started.
    pub started_at: Option<Timestamp>,
    /// When it stopped.
    pub stopped_at: Option<Timestamp>,
}

/// What a task was given, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU units, 1,024 for each virtual CPU.
    pub cpu: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// When its container started.
    pub started_at: Timestamp,
    /// When it stopped.
    pub stopped_at: Timestamp,
}

impl Usage {
    /// Seconds times virtual CPUs.
    #[must_use]
    pub fn vcpu_seconds(&self) -> f64 {
        self.seconds() * f64::from(self.cpu) / 1024.0
    }

    /// Seconds times gigabytes of 1,024 MiB, in which Fargate's sizes are given.
    #[must_use]
    pub fn gb_seconds(&self) -> f64 {
        self.seconds() * f64::from(self.memory_mib) / 1024.0
    }

    fn seconds(&self) -> f64 {
        let millis = self
            .stopped_at
            .millis_since(self.started_at)
            .clamp(0, i64::from(u32::MAX));
        u32::try_from(millis).map_or(0.0, f64::from) / 1000.0
    }
}

impl TaskState {
    /// What it has used when it is stopped, or would have when it stopped `now`. `None`: it never
    /// ran.
    #[must_use]
    pub fn usage(&self, now: Timestamp) -> Option<Usage> {
        let ((cpu, memory_mib), started_at) = (self.size?, self.started_at?);
        Some(Usage {
            cpu,
            memory_mib,
            started_at,
            stopped_at: self.stopped_at.unwrap_or(now),
        })
    }
}

/// Why ECS did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Calls come too fast.
    #[error("ECS throttles")]
    Throttled,
    /// It will never work as asked.
    #[error("ECS refuses: {0}")]
    Refused(String),
    /// It does not answer.
    #[error("ECS is not available: {0}")]
    Unavailable(String),
}

/// Runs sandboxes as tasks.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Registers a task definition and returns its ARN.
    async fn register(
        &self,
        scope: &ProjectScope,
        definition: &Definition,
    ) -> Result<String, Error>;
    /// Launches a task; the same launch again returns the same task.
    async fn run(&self, scope: &ProjectScope, launch: &Launch<'_>) -> Result<Launched, Error>;
    /// Stops a task. One that has stopped already is fine.
    async fn stop(&self, arn: &str, reason: &str) -> Result<(), Error>;
    /// A task, if ECS still knows it.
    async fn describe(&self, arn: &str) -> Result<Option<TaskState>, Error>;
    /// The task that a launch started, if ECS shows it already.
    async fn find(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        step_id: &StepId,
        fence: Fence,
    ) -> Result<Option<String>, Error>;
}

/// Where tasks run.
#[derive(Clone, Debug)]
pub struct Place {
    /// AWS partition.
    pub partition: String,
    /// Region.
    pub region: String,
    /// Account id.
    pub account_id: String,
    /// The cluster.
    pub cluster: String,
    /// Subnets of the tasks.
    pub subnets: Vec<String>,
    /// Security groups of the tasks.
    pub security_groups: Vec<String>,
    /// Our API's URL, which sandboxes ask for their step.
    pub api_url: String,
}

/// Amazon ECS.
#[derive(Clone, Debug)]
pub struct Ecs {
    client: Client,
    place: Place,
}

impl Definition {
    /// The hash that stands for this content at `place`.
    #[must_use]
    pub fn hash(&self, place: &str) -> String {
        // Not where a secret comes from: that changes nothing in what ECS does.
        let secrets: Vec<_> = self
            .secrets
            .iter()
            .map(|secret| (&secret.name, value_from(secret)))
            .collect();
        let content = serde_json::json!({
            "image": self.image, "cpu": self.cpu, "memory_mib": self.memory_mib, "secrets": secrets, "place": place,
        });
        sha256_hex(content.to_string().as_bytes())
            .chars()
            .take(32)
            .collect()
    }
}

/// `valueFrom` of a secret: `ARN:JSON-KEY:STAGE:VERSION-ID`, with the version pinned and no stage.
fn value_from(secret: &SecretRef) -> Option<String> {
    let (arn, key) = (secret.arn.as_ref()?, secret.uri.key()?);
    Some(format!("{arn}:{key}::{}", secret.version.as_ref()?))
}

/// ECS's `startedBy`, at most 128 characters: only the control plane's roles can set it.
fn started_by(scope: &ProjectScope, run_id: RunId, step_id: &StepId, fence: Fence) -> String {
    let tag = ClaimTag {
        scope: scope.clone(),
        run_id,
        step_id: step_id.clone(),
        fence,
    };
    tag.to_string()
}

/// ECS's client token: 64 characters at most, valid for a day. The fence is in it: each claim is a
/// launch of its own.
fn client_token(scope: &ProjectScope, launch: &Launch<'_>) -> String {
    sha256_hex(started_by(scope, launch.run_id, launch.step_id, launch.fence).as_bytes())
}

impl Ecs {
    /// Tasks at `place`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, place: Place) -> Self {
        Self {
            client: Client::new(config),
            place,
        }
    }

    /// What makes two equal definitions at two places different.
    #[must_use]
    pub fn place_key(&self) -> String {
        format!(
            "{}|{}|{}",
            self.place.account_id, self.place.region, self.place.api_url
        )
    }

    fn role(&self, scope: &ProjectScope, kind: &str) -> String {
        let Place {
            partition,
            account_id,
            ..
        } = &self.place;
        format!(
            "arn:{partition}:iam::{account_id}:role/sealfleet/project/sealfleet-{}--{kind}",
            scope.project()
        )
    }

    fn container(
        &self,
        scope: &ProjectScope,
        definition: &Definition,
    ) -> Result<ContainerDefinition, Error> {
        let mut secrets = Vec::new();
        for secret in &definition.secrets {
            let from = value_from(secret).ok_or_else(|| {
                Error::Refused(format!("secret `{}` has no version to pin", secret.name))
            })?;
            secrets.push(
                Secret::builder()
                    .name(&secret.name)
                    .value_from(from)
                    .build()
                    .map_err(malformed)?,
            );
        }
        let environment = [
            ("SEALFLEET_API_URL", self.place.api_url.as_str()),
            ("SEALFLEET_PROJECT", scope.project().as_str()),
        ]
        .into_iter()
        .map(|(name, value)| KeyValuePair::builder().name(name).value(value).build())
        .collect();
        let logs = LogConfiguration::builder()
            .log_driver(LogDriver::Awslogs)
            .options("awslogs-group", format!("/sealfleet/{}", scope.project()))
            .options("awslogs-region", &self.place.region)
            .options("awslogs-stream-prefix", CONTAINER)
            .build()
            .map_err(malformed)?;
        Ok(ContainerDefinition::builder()
            .name(CONTAINER)
            .image(&definition.image)
            .essential(true)
            .user("65534")
            .readonly_root_filesystem(true)
            .linux_parameters(
                LinuxParameters::builder()
                    .capabilities(KernelCapabilities::builder().drop("ALL").build())
                    .build(),
            )
            .stop_timeout(STOP_TIMEOUT)
            .set_environment(Some(environment))
            .set_secrets(Some(secrets))
            .log_configuration(logs)
            .build())
    }
}

#[async_trait]
impl Tasks for Ecs {
    async fn register(
        &self,
        scope: &ProjectScope,
        definition: &Definition,
    ) -> Result<String, Error> {
        let family = format!(
            "sealfleet-{}--{}",
            scope.project(),
            definition.hash(&self.place_key())
        );
        let answer = self
            .client
            .register_task_definition()
            .family(family)
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu(definition.cpu.to_string())
            .memory(definition.memory_mib.to_string())
            .execution_role_arn(self.role(scope, "execution"))
            .task_role_arn(self.role(scope, "sandbox"))
            .container_definitions(self.container(scope, definition)?)
            .send()
            .await
            .map_err(|error| failed(error.code().map(str::to_owned), chain(&error)))?;
        answer
            .task_definition
            .and_then(|definition| definition.task_definition_arn)
            .ok_or_else(|| Error::Unavailable("an answer without a task definition".to_owned()))
    }

    async fn run(&self, scope: &ProjectScope, launch: &Launch<'_>) -> Result<Launched, Error> {
        let ids = [
            ("SEALFLEET_RUN", launch.run_id.to_string()),
            ("SEALFLEET_STEP", launch.step_id.to_string()),
            ("SEALFLEET_FENCE", launch.fence.to_string()),
        ];
        let environment = ids
            .iter()
            .map(|(name, value)| KeyValuePair::builder().name(*name).value(value).build());
        let overrides = ContainerOverride::builder()
            .name(CONTAINER)
            .set_environment(Some(environment.collect()));
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(self.place.subnets.clone()))
            .set_security_groups(Some(self.place.security_groups.clone()))
            .assign_public_ip(AssignPublicIp::Disabled)
            .build()
            .map_err(malformed)?;
        let answer = self
            .client
            .run_task()
            .cluster(&self.place.cluster)
            .task_definition(launch.definition)
            .launch_type(LaunchType::Fargate)
            .count(1)
            .client_token(client_token(scope, launch))
            .started_by(started_by(
                scope,
                launch.run_id,
                launch.step_id,
                launch.fence,
            ))
            .enable_execute_command(false)
            .network_configuration(
                NetworkConfiguration::builder()
                    .awsvpc_configuration(network)
                    .build(),
            )
            .overrides(
                TaskOverride::builder()
                    .container_overrides(overrides.build())
                    .build(),
            )
            .send()
            .await
            .map_err(|error| failed(error.code().map(str::to_owned), chain(&error)))?;
        // RunTask answers 200 and says in `failures` that it did not: a typed outcome, not an
        // error.
        if let Some(arn) = answer.tasks().first().and_then(Task::task_arn) {
            return Ok(Launched::Task(arn.to_owned()));
        }
        let reason = answer
            .failures()
            .iter()
            .filter_map(|failure| failure.reason())
            .collect::<Vec<_>>()
            .join("; ");
        Ok(Launched::NoCapacity(reason))
    }

    async fn stop(&self, arn: &str, reason: &str) -> Result<(), Error> {
        let answer = self
            .client
            .stop_task()
            .cluster(&self.place.cluster)
            .task(arn)
            .reason(reason)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            // ECS forgets stopped tasks after a while; what it does not know does not run.
            Err(error)
                if error.code() == Some("InvalidParameterException")
                    && error
                        .message()
                        .is_some_and(|message| message.contains("not found")) =>
            {
                Ok(())
            }
            Err(error) => Err(failed(error.code().map(str::to_owned), chain(&error))),
        }
    }

    async fn describe(&self, arn: &str) -> Result<Option<TaskState>, Error> {
        let answer = self
            .client
            .describe_tasks()
            .cluster(&self.place.cluster)
            .tasks(arn)
            .send()
            .await
            .map_err(|error| failed(error.code().map(str::to_owned), chain(&error)))?;
        Ok(answer.tasks().first().map(task_state))
    }

    async fn find(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        step_id: &StepId,
        fence: Fence,
    ) -> Result<Option<String>, Error> {
        for status in [
            aws_sdk_ecs::types::DesiredStatus::Running,
            aws_sdk_ecs::types::DesiredStatus::Stopped,
        ] {
            let answer = self
                .client
                .list_tasks()
                .cluster(&self.place.cluster)
                .started_by(started_by(scope, run_id, step_id, fence))
                .desired_status(status)
                .send()
                .await
                .map_err(|error| failed(error.code().map(str::to_owned), chain(&error)))?;
            if let Some(arn) = answer.task_arns().first() {
                return Ok(Some(arn.clone()));
            }
        }
        Ok(None)
    }
}

fn task_state(task: &Task) -> TaskState {
    let container = task
        .containers()
        .iter()
        .find(|container| container.name() == Some(CONTAINER));
    TaskState {
        arn: task.task_arn().unwrap_or_default().to_owned(),
        started_by: task.started_by().map(str::to_owned),
        last_status: task.last_status().unwrap_or_default().to_owned(),
        exit_code: container.and_then(|container| container.exit_code()),
        stop_code: task.stop_code().map(|code| code.as_str().to_owned()),
        stopped_reason: task.stopped_reason().map(str::to_owned),
        container_reason: container
            .and_then(|container| container.reason())
            .map(str::to_owned),
        size: size(task.cpu(), task.memory()),
        started_at: task.started_at().and_then(moment),
        stopped_at: task.stopped_at().and_then(moment),
    }
}

/// A task's size, as ECS writes it in answers and events: numbers as text.
#[must_use]
pub fn size(cpu: Option<&str>, memory: Option<&str>) -> Option<(u32, u32)> {
    cpu?.parse().ok().zip(memory?.parse().ok())
}

fn moment(at: &DateTime) -> Option<Timestamp> {
    at.to_millis().ok().map(Timestamp::from_millis)
}

fn failed(code: Option<String>, detail: impl std::fmt::Display) -> Error {
    match code.as_deref() {
        Some("ThrottlingException") => Error::Throttled,
        Some(
            "ClientException"
            | "InvalidParameterException"
            | "ClusterNotFoundException"
            | "ConflictException"
            | "AccessDeniedException"
            | "PlatformUnknownException"
            | "UnsupportedFeatureException",
        ) => Error::Refused(detail.to_string()),
        _ => Error::Unavailable(detail.to_string()),
    }
}

fn malformed(error: aws_sdk_ecs::error::BuildError) -> Error {
    Error::Refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(version: Option<&str>) -> SecretRef {
        SecretRef {
            name: "API_KEY".to_owned(),
            uri: "aws-sm://sealfleet/a/crm#api-key"
                .parse()
                .expect("a reference"),
            version: version.map(str::to_owned),
            arn: Some(
                "arn:aws:secretsmanager:eu-west-1:1:secret:sealfleet/a/crm-AbCdEf".to_owned(),
            ),
            from: "crm".parse().expect("a profile"),
        }
    }

    fn definition(version: &str) -> Definition {
        Definition {
            image: "i".to_owned(),
            cpu: 256,
            memory_mib: 512,
            secrets: vec![secret(Some(version))],
        }
    }

    #[test]
    fn a_secret_is_pinned_to_its_version_or_refused() {
        let from = value_from(&secret(Some("v1")));
        assert_eq!(
            from.as_deref(),
            Some("arn:aws:secretsmanager:eu-west-1:1:secret:sealfleet/a/crm-AbCdEf:api-key::v1")
        );
        assert_eq!(value_from(&secret(None)), None);
    }

    #[test]
    fn equal_content_is_one_definition_and_a_new_version_another() {
        assert_eq!(definition("v1").hash("p"), definition("v1").hash("p"));
        assert_ne!(definition("v1").hash("p"), definition("v2").hash("p"));
        assert_ne!(definition("v1").hash("p"), definition("v1").hash("q"));
    }

    #[test]
    fn a_launch_has_one_token_and_the_next_fence_another() {
        let scope = ProjectScope::of_stored_row("a".parse().expect("a project"));
        let step_id = "s".parse().expect("a step");
        let run_id = "run_0198c0de-0000-7000-8000-00000000000a"
            .parse()
            .expect("a run");
        let token = |fence| {
            client_token(
                &scope,
                &Launch {
                    run_id,
                    step_id: &step_id,
                    fence: Fence::new(fence),
                    definition: "d",
                },
            )
        };
        assert_eq!(token(1), token(1));
        assert!(token(1) != token(2) && token(1).len() <= 64);
    }
}
