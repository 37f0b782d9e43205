//! Sandboxes as ECS Fargate tasks.
//!
//! A task definition is registered once for each content (image, roles, secret references with
//! their versions, size, network), never for each run; what varies by run is three ids in the
//! task's environment. A step that may reach hosts has a second container, with its egress proxy:
//! containers of a task share loopback, and neither processes, files nor environments. `RunTask`
//! always carries a client token made of run, step and fence, so a launch that is tried again ends
//! at the same task.

pub mod names;
mod task;
mod words;

use async_trait::async_trait;
use aws_sdk_ecs::Client;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::operation::run_task::RunTaskError;
use aws_sdk_ecs::types::builders::ContainerDefinitionBuilder;
use aws_sdk_ecs::types::{
    AssignPublicIp, AwsVpcConfiguration, Compatibility, ContainerCondition, ContainerDefinition,
    ContainerDependency, ContainerOverride, KernelCapabilities, KeyValuePair, LaunchType,
    LinuxParameters, LogConfiguration, LogDriver, MountPoint, NetworkConfiguration, NetworkMode,
    Secret, Tag, Task, TaskOverride, Volume,
};
use sealfleet_domain::capability::FARGATE;
use sealfleet_domain::cause::chain;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::{Handle, RequeueReason};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{NamePrefix, ProjectScope};
use sealfleet_hosts::container::{DROPPED, USER, VOLUMES, WORK_DIRECTORY};
use sealfleet_hosts::{Error, Launched, Sandbox, SandboxHost, Template};

use crate::names::sandbox_role;
use crate::words::{Remedy, remedy};

pub use crate::task::{TaskChange, TaskState};

/// The name of the step's container in every task definition.
pub const CONTAINER: &str = "sandbox";
/// The name of the container with the egress proxy, where there is one.
const PROXY: &str = "egress";
/// What makes the image's entry point a proxy.
const AS_PROXY: &str = "--proxy";
/// Seconds between SIGTERM and SIGKILL when a task is stopped.
const STOP_TIMEOUT: i32 = 5;
/// Raise it with every change to the definitions that [`Fargate`] registers. A definition of
/// another shape has another hash, so the change reaches pools that have run before.
pub const SHAPE: u32 = 3;

/// Where tasks run. Who only stops tasks and looks at them needs no more than the cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// AWS partition.
    pub partition: String,
    /// Region.
    pub region: String,
    /// Account id.
    pub account_id: String,
    /// What the names of roles, log groups and task definitions begin with.
    pub name_prefix: NamePrefix,
    /// The cluster.
    pub cluster: String,
    /// Subnets of the tasks.
    pub subnets: Vec<String>,
    /// Security groups of the tasks.
    pub security_groups: Vec<String>,
    /// Our API's URL, which sandboxes ask for their step.
    pub api_url: String,
    /// Networks that are not public and that egress policies may reach all the same, separated by
    /// commas.
    pub egress_networks: String,
}

/// Amazon ECS on Fargate.
#[derive(Clone, Debug)]
pub struct Fargate {
    client: Client,
    settings: Settings,
}

/// The hash that stands for a task definition of this content. `deployment` makes two equal ones of
/// two deployments different.
#[must_use]
pub fn definition_hash(template: &Template, deployment: &str) -> String {
    hash_of(SHAPE, template, deployment)
}

fn hash_of(shape: u32, template: &Template, deployment: &str) -> String {
    // Not where a secret comes from: that changes nothing in what ECS does.
    let named = |of_proxy| {
        let secrets = secrets_of(template, of_proxy);
        let named = secrets.map(|secret| (&secret.name, value_from(secret)));
        named.collect::<Vec<_>>()
    };
    let mut content = serde_json::json!({
        "shape": shape, "image": template.image, "cpu": template.cpu, "memory_mib": template.memory_mib,
        "secrets": named(false), "place": deployment,
    });
    if let (true, Some(content)) = (template.proxy, content.as_object_mut()) {
        content.insert("proxy".to_owned(), serde_json::json!(named(true)));
    }
    sha256_hex(content.to_string().as_bytes())
        .chars()
        .take(32)
        .collect()
}

/// The secrets of the step's container, or those of its proxy's. No secret is in both.
fn secrets_of(template: &Template, of_proxy: bool) -> impl Iterator<Item = &SecretRef> {
    let all = template.secrets.iter();
    all.filter(move |secret| secret.delivery.at_egress().is_some() == of_proxy)
}

/// `valueFrom` of a secret: `ARN:JSON-KEY:STAGE:VERSION-ID`, with the version pinned and no stage.
/// Without a JSON key the whole secret is the value (ECS Developer Guide, "Pass Secrets Manager
/// secrets through Amazon ECS environment variables").
fn value_from(secret: &SecretRef) -> Option<String> {
    let (arn, key) = (secret.arn.as_ref()?, secret.uri.key().unwrap_or_default());
    Some(format!("{arn}:{key}::{}", secret.version.as_ref()?))
}

/// ECS's client token: 64 characters at most, valid for a day. The fence is in it: each claim is a
/// launch of its own.
fn client_token(claim: &ClaimTag) -> String {
    sha256_hex(claim.to_string().as_bytes())
}

/// The tag of a task by which costs are told apart; every resource of a project has it.
fn project_tag(claim: &ClaimTag) -> Tag {
    Tag::builder()
        .key("sealfleet:project")
        .value(claim.scope.project().as_str())
        .build()
}

impl Fargate {
    /// Tasks by these settings.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, settings: Settings) -> Self {
        Self {
            client: Client::new(config),
            settings,
        }
    }

    /// The role with which ECS starts a project's tasks.
    fn execution_role(&self, scope: &ProjectScope) -> String {
        let prefix = &self.settings.name_prefix;
        self.role(&format!("project/{prefix}-{}--execution", scope.project()))
    }

    /// The role of the code in every task.
    fn task_role(&self) -> String {
        self.role(&format!(
            "shared/{}",
            sandbox_role(&self.settings.name_prefix)
        ))
    }

    fn role(&self, path: &str) -> String {
        let Settings {
            partition,
            account_id,
            ..
        } = &self.settings;
        format!("arn:{partition}:iam::{account_id}:role/sealfleet/{path}")
    }

    /// The step's container, and the one of its proxy if it has one.
    fn containers(
        &self,
        scope: &ProjectScope,
        template: &Template,
    ) -> Result<Vec<ContainerDefinition>, Error> {
        let step = self.container(CONTAINER, scope, template)?;
        let environment = [
            ("SEALFLEET_API_URL", self.settings.api_url.as_str()),
            ("SEALFLEET_PROJECT", scope.project().as_str()),
            // Where init signs for; `AWS_REGION` may be the step's own.
            ("SEALFLEET_REGION", self.settings.region.as_str()),
        ];
        let step = step
            .essential(true)
            .set_mount_points(Some(VOLUMES.map(mount_point).into()))
            .working_directory(WORK_DIRECTORY)
            .set_environment(Some(environment.map(variable).into()))
            .set_secrets(Some(injected(secrets_of(template, false))?));
        if !template.proxy {
            return Ok(vec![step.build()]);
        }
        // The step's init waits for it, and tells why it cannot begin: its end is not the task's.
        let proxy = self.container(PROXY, scope, template)?.essential(false);
        let networks = ("SEALFLEET_EGRESS_NETWORKS", &*self.settings.egress_networks);
        let proxy = proxy
            .command(AS_PROXY)
            .environment(variable(networks))
            .set_secrets(Some(injected(secrets_of(template, true))?));
        let first = ContainerDependency::builder()
            .container_name(PROXY)
            .condition(ContainerCondition::Start);
        let step = step.depends_on(first.build().map_err(malformed)?);
        Ok(vec![step.build(), proxy.build()])
    }

    /// What the containers of a task have in common.
    fn container(
        &self,
        name: &str,
        scope: &ProjectScope,
        template: &Template,
    ) -> Result<ContainerDefinitionBuilder, Error> {
        let logs = LogConfiguration::builder()
            .log_driver(LogDriver::Awslogs)
            .options(
                "awslogs-group",
                format!("/{}/{}", self.settings.name_prefix, scope.project()),
            )
            .options("awslogs-region", &self.settings.region)
            .options("awslogs-stream-prefix", name)
            .build()
            .map_err(malformed)?;
        Ok(ContainerDefinition::builder()
            .name(name)
            .image(&template.image)
            .user(USER)
            .readonly_root_filesystem(true)
            .linux_parameters(
                LinuxParameters::builder()
                    .capabilities(KernelCapabilities::builder().drop(DROPPED).build())
                    .build(),
            )
            .stop_timeout(STOP_TIMEOUT)
            .log_configuration(logs))
    }
}

fn variable((name, value): (&str, &str)) -> KeyValuePair {
    KeyValuePair::builder().name(name).value(value).build()
}

fn injected<'a>(secrets: impl Iterator<Item = &'a SecretRef>) -> Result<Vec<Secret>, Error> {
    let secret = |secret: &SecretRef| {
        let from = value_from(secret).ok_or_else(|| {
            Error::Refused(format!("secret `{}` has no version to pin", secret.name))
        })?;
        let injected = Secret::builder().name(&secret.name).value_from(from);
        injected.build().map_err(malformed)
    };
    secrets.map(secret).collect()
}

#[async_trait]
impl SandboxHost for Fargate {
    fn kind(&self) -> &'static str {
        FARGATE.kind
    }

    /// A handle is the ARN of a task of its cluster.
    fn owns(&self, handle: &Handle) -> bool {
        let Settings { cluster, .. } = &self.settings;
        let cluster = cluster.rsplit('/').next().unwrap_or(cluster);
        names::cluster(handle) == Some(cluster)
    }

    fn template_key(&self, template: &Template) -> String {
        let Settings {
            region,
            api_url,
            egress_networks,
            ..
        } = &self.settings;
        let mut place = format!("{}|{region}|{api_url}", self.task_role());
        if template.proxy {
            place.push('|');
            place.push_str(egress_networks);
        }
        definition_hash(template, &place)
    }

    /// Registers a task definition and answers its ARN.
    async fn prepare(&self, scope: &ProjectScope, template: &Template) -> Result<String, Error> {
        let family = format!(
            "{}-{}--{}",
            self.settings.name_prefix,
            scope.project(),
            self.template_key(template)
        );
        let answer = self
            .client
            .register_task_definition()
            .family(family)
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu(template.cpu.to_string())
            .memory(template.memory_mib.to_string())
            .execution_role_arn(self.execution_role(scope))
            .task_role_arn(self.task_role())
            .set_volumes(Some(VOLUMES.map(volume).into()))
            .set_container_definitions(Some(self.containers(scope, template)?))
            .send()
            .await
            .map_err(failed)?;
        answer
            .task_definition
            .and_then(|definition| definition.task_definition_arn)
            .ok_or_else(|| Error::Unavailable("an answer without a task definition".to_owned()))
    }

    async fn launch(&self, claim: &ClaimTag, prepared: &str) -> Result<Launched, Error> {
        let ids = [
            ("SEALFLEET_RUN", claim.run_id.to_string()),
            ("SEALFLEET_STEP", claim.step_id.to_string()),
            ("SEALFLEET_FENCE", claim.fence.to_string()),
        ];
        let environment = ids.iter().map(|(name, value)| variable((name, value)));
        let overrides = ContainerOverride::builder()
            .name(CONTAINER)
            .set_environment(Some(environment.collect()));
        let network = AwsVpcConfiguration::builder()
            .set_subnets(Some(self.settings.subnets.clone()))
            .set_security_groups(Some(self.settings.security_groups.clone()))
            .assign_public_ip(AssignPublicIp::Disabled)
            .build()
            .map_err(malformed)?;
        let answer = self
            .client
            .run_task()
            .cluster(&self.settings.cluster)
            .task_definition(prepared)
            .launch_type(LaunchType::Fargate)
            .count(1)
            .client_token(client_token(claim))
            // At most 128 characters. Only the control plane's roles can set it.
            .started_by(claim.to_string())
            // Costs are told apart by this tag (docs/guides/deploy.md).
            .tags(project_tag(claim))
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
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return refused(error),
        };
        if let Some(arn) = answer.tasks().first().and_then(Task::task_arn) {
            return Ok(Launched::Sandbox(Handle::new(arn.to_owned())));
        }
        // RunTask answers 200 and says in `failures` that it did not.
        let reasons = answer
            .failures()
            .iter()
            .filter_map(|failure| failure.reason());
        let detail = reasons.collect::<Vec<_>>().join("; ");
        Err(match remedy(&detail) {
            Some(Remedy::Wait(reason)) => Error::NotNow { reason, detail },
            Some(Remedy::Mend(_) | Remedy::Register) => Error::Refused(detail),
            None => Error::NotNow {
                reason: RequeueReason::HostFailed,
                detail,
            },
        })
    }

    async fn stop(&self, handle: &Handle, reason: &str) -> Result<(), Error> {
        let answer = self
            .client
            .stop_task()
            .cluster(&self.settings.cluster)
            .task(handle.as_str())
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
            Err(error) => Err(failed(error)),
        }
    }

    async fn look(&self, handle: &Handle) -> Result<Option<Sandbox>, Error> {
        let mut found = self.look_at(std::slice::from_ref(handle)).await;
        found.pop().unwrap_or(Ok(None))
    }

    /// `DescribeTasks` takes up to 100 tasks, and names those that it does not know as failures,
    /// each `MISSING`. A task that the answer leaves out for another reason may still run.
    async fn look_at(&self, handles: &[Handle]) -> Vec<Result<Option<Sandbox>, Error>> {
        let arns = handles.iter().map(|handle| handle.as_str().to_owned());
        let answer = self
            .client
            .describe_tasks()
            .cluster(&self.settings.cluster)
            .set_tasks(Some(arns.collect()))
            .send()
            .await
            .map_err(failed);
        let of = |handle: &Handle| {
            let answer = answer.as_ref().map_err(Clone::clone)?;
            let is_it = |arn: Option<&str>| arn.is_some_and(|arn| id(arn) == id(handle.as_str()));
            let shown = answer.tasks().iter().find(|task| is_it(task.task_arn()));
            if let Some(task) = shown {
                return Ok(Some(TaskState::from(task).into()));
            }
            let failure = answer.failures().iter().find(|one| is_it(one.arn()));
            match failure.map(|failure| failure.reason()) {
                Some(Some("MISSING")) => Ok(None),
                reason => Err(Error::Unavailable(format!(
                    "DescribeTasks does not show `{}`: {reason:?}",
                    handle.as_str()
                ))),
            }
        };
        handles.iter().map(of).collect()
    }

    /// Finds only a task that is not to stop: `ListTasks` takes no filter beside `startedBy`, and
    /// then leaves stopped tasks out. Of those, ECS's events tell.
    async fn find(&self, claim: &ClaimTag) -> Result<Option<Handle>, Error> {
        let answer = self
            .client
            .list_tasks()
            .cluster(&self.settings.cluster)
            .started_by(claim.to_string())
            .send()
            .await
            .map_err(failed)?;
        let first = answer.task_arns().first();
        Ok(first.map(|arn| Handle::new(arn.clone())))
    }
}

/// The id at the end of a task's ARN. `DescribeTasks` takes ids, too, and answers with ARNs.
fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// Fargate gives a volume the owner and mode that its path has in the image, if the image declares
/// the path as `VOLUME`, else root's: the image must declare all of [`VOLUMES`], owned by [`USER`].
/// ECS Developer Guide, "Use bind mounts with Amazon ECS".
fn volume((name, _): (&str, &str)) -> Volume {
    Volume::builder().name(name).build()
}

fn mount_point((name, path): (&str, &str)) -> MountPoint {
    MountPoint::builder()
        .source_volume(name)
        .container_path(path)
        .build()
}

/// What follows from `RunTask`'s error.
fn refused<R: std::fmt::Debug + 'static>(
    error: SdkError<RunTaskError, R>,
) -> Result<Launched, Error> {
    // The token is made of the claim alone: whatever task has it was launched for this claim,
    // before the definition or the settings changed.
    if let Some(RunTaskError::ConflictException(conflict)) = error.as_service_error() {
        return match conflict.resource_ids().first() {
            Some(arn) => Ok(Launched::Sandbox(Handle::new(arn.clone()))),
            None => Err(Error::Unavailable(chain(&error))),
        };
    }
    match error.message().and_then(remedy) {
        Some(Remedy::Register) => Ok(Launched::Unprepared),
        _ => Err(failed(error)),
    }
}

fn failed<E, R>(error: SdkError<E, R>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug + 'static,
{
    let detail = chain(&error);
    match error.code() {
        Some("ThrottlingException") => Error::NotNow {
            reason: RequeueReason::Throttled,
            detail,
        },
        // A role and what it may do reach all of AWS only after a while.
        Some("AccessDeniedException") => Error::NotNow {
            reason: RequeueReason::RoleNotReady,
            detail,
        },
        Some(
            "ClientException"
            | "InvalidParameterException"
            | "ClusterNotFoundException"
            | "PlatformUnknownException"
            | "UnsupportedFeatureException",
        ) => match error.message().and_then(remedy) {
            Some(Remedy::Wait(reason)) => Error::NotNow { reason, detail },
            _ => Error::Refused(detail),
        },
        _ => Error::Unavailable(detail),
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
            delivery: sealfleet_domain::delivery::Delivery::Env,
            name: "API_KEY".to_owned(),
            uri: "aws-sm://sealfleet/a/crm#api-key"
                .parse()
                .expect("a reference"),
            version: version.map(str::to_owned),
            arn: Some(
                "arn:aws:secretsmanager:eu-west-1:1:secret:sealfleet/a/crm-AbCdEf".to_owned(),
            ),
            from: "crm".parse().expect("a profile"),
            redact: true,
        }
    }

    fn template(version: &str) -> Template {
        Template {
            image: "i".to_owned(),
            cpu: 256,
            memory_mib: 512,
            secrets: vec![secret(Some(version))],
            proxy: false,
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
        let hash = |version, deployment| definition_hash(&template(version), deployment);
        assert_eq!(hash("v1", "p"), hash("v1", "p"));
        assert_ne!(hash("v1", "p"), hash("v2", "p"));
        assert_ne!(hash("v1", "p"), hash("v1", "q"));
    }

    #[test]
    fn a_proxy_and_who_has_a_secret_make_another_definition() {
        let hash = |template: &Template| definition_hash(template, "p");
        let mut proxied = template("v1");
        proxied.proxy = true;
        let beside = hash(&proxied);
        assert_ne!(beside, hash(&template("v1")));
        let bound = r#"{"egress": {"to": [{"host": "a.example"}]}}"#;
        proxied.secrets[0].delivery = serde_json::from_str(bound).expect("a delivery");
        assert_ne!(beside, hash(&proxied));
    }

    #[test]
    fn a_definition_of_another_shape_is_another() {
        let template = template("v1");
        assert_eq!(
            definition_hash(&template, "p"),
            hash_of(SHAPE, &template, "p")
        );
        assert_ne!(hash_of(1, &template, "p"), hash_of(2, &template, "p"));
    }

    #[test]
    fn a_launch_has_one_token_and_the_next_fence_another() {
        let token = |fence: u64| {
            let claim = format!("a/run_0198c0de-0000-7000-8000-00000000000a/s/{fence}");
            client_token(&claim.parse().expect("a claim"))
        };
        assert_eq!(token(1), token(1));
        assert!(token(1) != token(2) && token(1).len() <= 64);
    }
}
