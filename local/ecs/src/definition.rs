//! Task definitions: what `RegisterTaskDefinition` accepts, and what the agent reads.
//!
//! The document is stored as it was sent, for `DescribeTaskDefinition`, together with the parsed
//! [`Container`]s. Registration refuses what Fargate refuses and what the stand-in cannot provide
//! (volumes on EFS or of several containers, environment files, health checks), so a definition
//! never runs with less than it requests. Error messages follow the ECS API where it documents
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::{self, Millis};
use crate::error::ApiError;
use crate::reference::SecretReference;

/// Seconds between SIGTERM and SIGKILL when the definition names none (`stopTimeout`).
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html>
const DEFAULT_STOP_TIMEOUT: u64 = 30;
const MAX_STOP_TIMEOUT: u64 = 120;

/// The entry point of the only image.
pub const IMAGE_ENTRY_POINT: [&str; 2] = ["/sealfleet-init", "fargate"];
/// The paths that the only image declares as `VOLUME`, owned by the user of every step. A volume at
/// one of them takes over the path's owner and mode. At any other path it belongs to root.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html>
pub const IMAGE_VOLUMES: [&str; 2] = ["/tmp", "/workspace"];
/// Where a container starts that names no working directory: the image has none.
const IMAGE_DIRECTORY: &str = "/";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskDefinition {
    pub family: String,
    pub revision: u32,
    pub arn: String,
    pub registered_at: Millis,
    /// The request as it was sent: names, references and ids, never a secret's value.
    pub document: Map<String, Value>,
    pub tags: Value,
    /// It was deregistered.
    #[serde(default)]
    pub inactive: bool,
}

/// The parts of a container's definition that the agent reads.
#[derive(Debug, Clone)]
pub struct Container {
    pub name: String,
    /// The task ends with it.
    pub essential: bool,
    /// The containers that have to start before it, and stop after it.
    pub depends_on: Vec<String>,
    pub image: String,
    /// Entry point and command, ready to execute.
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub secrets: Vec<(String, SecretReference)>,
    pub logs: Option<LogTarget>,
    /// The mounted volumes that the step can write to.
    pub writable: Vec<PathBuf>,
    pub directory: PathBuf,
    pub memory_mib: u64,
    pub stop_timeout: Duration,
    pub execution_role: Option<String>,
    pub task_role: Option<String>,
}

/// Options of the `awslogs` log driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    pub group: String,
    pub stream_prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    family: String,
    #[serde(default)]
    container_definitions: Vec<RequestContainer>,
    execution_role_arn: Option<String>,
    task_role_arn: Option<String>,
    network_mode: Option<String>,
    #[serde(default)]
    requires_compatibilities: Vec<String>,
    cpu: Option<String>,
    memory: Option<String>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    #[serde(default)]
    name: String,
    #[serde(default)]
    host: VolumeHost,
    /// Other kinds of volumes.
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeHost {
    source_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MountPoint {
    #[serde(default)]
    source_volume: String,
    #[serde(default)]
    container_path: String,
    #[serde(default)]
    read_only: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContainer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    entry_point: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: Vec<KeyValue>,
    #[serde(default)]
    secrets: Vec<RequestSecret>,
    log_configuration: Option<LogConfiguration>,
    memory: Option<u64>,
    stop_timeout: Option<u64>,
    #[serde(default)]
    privileged: bool,
    #[serde(default)]
    mount_points: Vec<MountPoint>,
    working_directory: Option<PathBuf>,
    #[serde(default)]
    linux_parameters: Map<String, Value>,
    #[serde(default)]
    environment_files: Vec<Value>,
    #[serde(default = "yes")]
    essential: bool,
    #[serde(default)]
    depends_on: Vec<Dependency>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    container_name: String,
    condition: String,
}

fn yes() -> bool {
    true
}

/// A `name`, `value` pair of the ECS API.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyValue {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestSecret {
    name: String,
    value_from: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogConfiguration {
    log_driver: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

impl TaskDefinition {
    /// Checks a `RegisterTaskDefinition` request and creates the revision.
    ///
    /// # Errors
    /// `ClientException` that names what is wrong, as ECS does.
    pub fn register(
        mut document: Map<String, Value>,
        arn_prefix: &str,
        next_revision: impl FnOnce(&str) -> u32,
    ) -> Result<Self, ApiError> {
        let tags = document.remove("tags").unwrap_or_else(|| json!([]));
        let (family, _) = parse(&document)?;
        let revision = next_revision(&family);
        Ok(Self {
            arn: format!("{arn_prefix}:task-definition/{family}:{revision}"),
            family,
            revision,
            registered_at: clock::now(),
            document,
            tags,
            inactive: false,
        })
    }

    /// The containers of the task, each behind those that it depends on.
    ///
    /// # Errors
    /// `ClientException`. Registration checked the definition, so only a damaged journal can cause
    /// it.
    pub fn containers(&self) -> Result<Vec<Container>, ApiError> {
        parse(&self.document).map(|(_, containers)| containers)
    }

    pub fn cpu(&self) -> Value {
        self.document.get("cpu").cloned().unwrap_or(Value::Null)
    }

    pub fn memory(&self) -> Value {
        self.document.get("memory").cloned().unwrap_or(Value::Null)
    }

    /// The `taskDefinition` field of answers.
    pub fn describe(&self) -> Value {
        let mut described = self.document.clone();
        described.insert("taskDefinitionArn".into(), json!(self.arn));
        described.insert("revision".into(), json!(self.revision));
        let status = if self.inactive { "INACTIVE" } else { "ACTIVE" };
        described.insert("status".into(), json!(status));
        described.insert(
            "registeredAt".into(),
            clock::epoch_seconds(self.registered_at),
        );
        described.insert("compatibilities".into(), json!(["EC2", "FARGATE"]));
        described.entry("volumes").or_insert_with(|| json!([]));
        described
            .entry("placementConstraints")
            .or_insert_with(|| json!([]));
        Value::Object(described)
    }
}

fn parse(document: &Map<String, Value>) -> Result<(String, Vec<Container>), ApiError> {
    let mut request: Request =
        serde_json::from_value(Value::Object(document.clone())).map_err(|error| {
            ApiError::client(format!("The task definition cannot be read: {error}"))
        })?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if request.family.is_empty() || request.family.len() > 255 || !request.family.chars().all(legal)
    {
        return Err(ApiError::client(
            "Family contains invalid characters or is too long: up to 255 letters, numbers, underscores and hyphens.",
        ));
    }
    let memory_mib = fargate_size(&request)?;
    check_volumes(&request.volumes)?;
    let containers = std::mem::take(&mut request.container_definitions);
    if !containers.iter().any(|container| container.essential) {
        return Err(ApiError::client(
            "A task definition must have at least one essential container.",
        ));
    }
    check_mounts(&containers)?;
    let containers = containers.into_iter();
    let containers: Result<Vec<_>, _> = containers
        .map(|container| read_container(container, &request, memory_mib))
        .collect();
    Ok((request.family, in_start_order(containers?)?))
}

fn read_container(
    container: RequestContainer,
    request: &Request,
    memory_mib: u64,
) -> Result<Container, ApiError> {
    check_container(&container)?;
    let writable = writable(&request.volumes, &container.mount_points)?;
    let secrets = secrets_of(&container)?;
    let logs = logs_of(&container)?;
    if request.execution_role_arn.is_none() {
        if logs.is_some() {
            return Err(ApiError::client(
                "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
            ));
        }
        if !secrets.is_empty() {
            return Err(ApiError::client(
                "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
            ));
        }
    }
    let mut command = container.entry_point;
    if command.is_empty() {
        command = IMAGE_ENTRY_POINT.map(str::to_owned).to_vec();
    }
    command.extend(container.command);
    let depends_on = container.depends_on.into_iter();
    Ok(Container {
        name: container.name,
        essential: container.essential,
        depends_on: depends_on.map(|one| one.container_name).collect(),
        image: container.image,
        command,
        environment: container
            .environment
            .into_iter()
            .map(|pair| (pair.name, pair.value))
            .collect(),
        secrets,
        logs,
        writable,
        directory: container
            .working_directory
            .unwrap_or_else(|| PathBuf::from(IMAGE_DIRECTORY)),
        memory_mib: container
            .memory
            .map_or(memory_mib, |own| own.min(memory_mib)),
        stop_timeout: Duration::from_secs(container.stop_timeout.unwrap_or(DEFAULT_STOP_TIMEOUT)),
        execution_role: request.execution_role_arn.clone(),
        task_role: request.task_role_arn.clone(),
    })
}

/// Each container behind those that it depends on.
fn in_start_order(mut waiting: Vec<Container>) -> Result<Vec<Container>, ApiError> {
    let names: BTreeSet<String> = waiting.iter().map(|one| one.name.clone()).collect();
    if names.len() != waiting.len() {
        return Err(ApiError::client("Container names must be unique."));
    }
    let mut needs = waiting.iter().flat_map(|one| &one.depends_on);
    if let Some(unknown) = needs.find(|name| !names.contains(*name)) {
        return Err(ApiError::client(format!(
            "A container depends on '{unknown}', which is not in the task definition."
        )));
    }
    let mut ordered: Vec<Container> = Vec::new();
    while !waiting.is_empty() {
        let starts = |name: &String| ordered.iter().any(|before| before.name == *name);
        let ready = |one: &Container| one.depends_on.iter().all(starts);
        let (ready, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(ready);
        if ready.is_empty() {
            return Err(ApiError::client(
                "The containers of a task definition must not depend on each other in a circle.",
            ));
        }
        ordered.extend(ready);
        waiting = later;
    }
    Ok(ordered)
}

/// ECS shows one volume to all containers that mount it; here each has a directory of its own.
fn check_mounts(containers: &[RequestContainer]) -> Result<(), ApiError> {
    let mut mounted = BTreeSet::new();
    for container in containers {
        let own = container.mount_points.iter();
        let own: BTreeSet<&str> = own.map(|mount| mount.source_volume.as_str()).collect();
        for volume in own {
            if !mounted.insert(volume) {
                return Err(unsupported("a volume of several containers"));
            }
        }
    }
    Ok(())
}

fn unsupported(field: &str) -> ApiError {
    ApiError::client(format!(
        "`{field}` is not supported by the local stand-in for ECS."
    ))
}

fn not_on_fargate(field: &str) -> ApiError {
    ApiError::client(format!(
        "Fargate compatible task definitions do not support {field}"
    ))
}

/// Fargate has bind mounts without a path of the host, and volumes of other services, which the
/// stand-in does not have.
fn check_volumes(volumes: &[Volume]) -> Result<(), ApiError> {
    for volume in volumes {
        if volume.name.is_empty() {
            return Err(ApiError::client("Volume.name should not be null or empty."));
        }
        if volume.host.source_path.is_some() {
            return Err(not_on_fargate("sourcePath"));
        }
        match volume.others.keys().next() {
            Some(kind) if kind == "dockerVolumeConfiguration" => return Err(not_on_fargate(kind)),
            Some(kind) => return Err(unsupported(kind)),
            None => {}
        }
    }
    Ok(())
}

/// The paths of mounted volumes that the step can write to. It sees a volume that belongs to root,
/// or is mounted read-only, as the read-only root file system has the path.
fn writable(volumes: &[Volume], mounts: &[MountPoint]) -> Result<Vec<PathBuf>, ApiError> {
    let mut writable = Vec::new();
    for mount in mounts {
        let MountPoint {
            source_volume,
            container_path,
            read_only,
        } = mount;
        if !volumes.iter().any(|volume| volume.name == *source_volume) {
            return Err(ApiError::client(format!(
                "Unknown volume '{source_volume}'."
            )));
        }
        if !Path::new(container_path).is_absolute() {
            return Err(ApiError::client(format!(
                "The containerPath '{container_path}' is not an absolute path."
            )));
        }
        if !read_only && IMAGE_VOLUMES.contains(&container_path.as_str()) {
            writable.push(PathBuf::from(container_path));
        }
    }
    Ok(writable)
}

fn check_container(container: &RequestContainer) -> Result<(), ApiError> {
    if container.name.is_empty() {
        return Err(ApiError::client(
            "Container.name should not be null or empty.",
        ));
    }
    if container.image.is_empty() {
        return Err(ApiError::client(
            "Container.image should not be null or empty.",
        ));
    }
    if let Some(other) = container
        .depends_on
        .iter()
        .find(|one| one.condition != "START")
    {
        return Err(unsupported(&format!("dependsOn {}", other.condition)));
    }
    if container.privileged {
        return Err(ApiError::client(
            "Fargate does not support privileged containers.",
        ));
    }
    if !container.environment_files.is_empty() {
        return Err(unsupported("environmentFiles"));
    }
    for field in ["devices", "maxSwap", "sharedMemorySize", "swappiness"] {
        if container.linux_parameters.contains_key(field) {
            return Err(not_on_fargate(field));
        }
    }
    if container.linux_parameters.contains_key("tmpfs") {
        return Err(unsupported("linuxParameters.tmpfs"));
    }
    if container
        .stop_timeout
        .is_some_and(|seconds| seconds > MAX_STOP_TIMEOUT)
    {
        return Err(ApiError::client(format!(
            "The stopTimeout of container '{}' must not exceed {MAX_STOP_TIMEOUT} seconds on Fargate.",
            container.name
        )));
    }
    Ok(())
}

fn secrets_of(container: &RequestContainer) -> Result<Vec<(String, SecretReference)>, ApiError> {
    let mut secrets: Vec<(String, SecretReference)> = Vec::new();
    for secret in &container.secrets {
        let taken = container
            .environment
            .iter()
            .any(|pair| pair.name == secret.name)
            || secrets.iter().any(|(name, _)| *name == secret.name);
        if taken {
            return Err(ApiError::client(format!(
                "The secret name must be unique and not shared with any new or existing environment variables set on \
                 the container, such as '{}'.",
                secret.name
            )));
        }
        let reference = secret.value_from.parse().map_err(|error| {
            ApiError::client(format!("`valueFrom` of secret `{}` {error}", secret.name))
        })?;
        secrets.push((secret.name.clone(), reference));
    }
    Ok(secrets)
}

fn logs_of(container: &RequestContainer) -> Result<Option<LogTarget>, ApiError> {
    let Some(configuration) = &container.log_configuration else {
        return Ok(None);
    };
    if configuration.log_driver != "awslogs" {
        return Err(unsupported(&format!(
            "logDriver {}",
            configuration.log_driver
        )));
    }
    let option = |name: &str| {
        configuration
            .options
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
            .ok_or_else(|| ApiError::client(format!("Log driver awslogs requires options: {name}")))
    };
    option("awslogs-region")?;
    Ok(Some(LogTarget {
        group: option("awslogs-group")?,
        stream_prefix: option("awslogs-stream-prefix")?,
    }))
}

/// Checks CPU and memory against Fargate's sizes. Returns the memory in MiB.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html>
fn fargate_size(request: &Request) -> Result<u64, ApiError> {
    if !request
        .requires_compatibilities
        .iter()
        .any(|one| one == "FARGATE")
    {
        return Err(ApiError::client(
            "The local stand-in for ECS runs Fargate tasks: `requiresCompatibilities` must hold FARGATE.",
        ));
    }
    if request.network_mode.as_deref() != Some("awsvpc") {
        return Err(ApiError::client(
            "Fargate only supports network mode ‘awsvpc’.",
        ));
    }
    let (Some(cpu), Some(memory)) = (
        number(request.cpu.as_deref()),
        number(request.memory.as_deref()),
    ) else {
        return Err(ApiError::client(
            "Fargate requires that 'cpu' and 'memory' be defined at the task level.",
        ));
    };
    let gib = |low: u64, high: u64, step: u64| {
        memory >= low * 1024 && memory <= high * 1024 && memory.is_multiple_of(step * 1024)
    };
    let known = match cpu {
        256 => [512, 1024, 2048].contains(&memory),
        512 => gib(1, 4, 1),
        1024 => gib(2, 8, 1),
        2048 => gib(4, 16, 1),
        4096 => gib(8, 30, 1),
        8192 => gib(16, 60, 4),
        16384 => gib(32, 120, 8),
        _ => false,
    };
    if !known {
        return Err(ApiError::client(
            "No Fargate configuration exists for given values.",
        ));
    }
    Ok(memory)
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(change: impl FnOnce(&mut Value)) -> Map<String, Value> {
        let mut document = json!({
            "family": "sealfleet-a--0123", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
            "cpu": "256", "memory": "512", "executionRoleArn": "arn:aws:iam::000000000000:role/x",
            "containerDefinitions": [{
                "name": "sandbox", "image": "sealfleet/sandbox@sha256:00", "command": ["--flag"],
                "environment": [{"name": "A", "value": "1"}],
                "secrets": [{"name": "KEY",
                    "valueFrom": "arn:aws:secretsmanager:eu-west-1:000000000000:secret:sealfleet/a/b-AbCdEf:k::v"}],
                "logConfiguration": {"logDriver": "awslogs", "options": {
                    "awslogs-group": "/sealfleet/a", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "step"}},
            }],
        });
        change(&mut document);
        match document {
            Value::Object(map) => map,
            _ => panic!("not an object"),
        }
    }

    fn refused(change: impl FnOnce(&mut Value)) -> String {
        parse(&document(change)).unwrap_err().message
    }

    #[test]
    fn a_definition_gives_the_container_it_describes() {
        let (_, mut containers) = parse(&document(|_| {})).unwrap();
        let container = containers.remove(0);
        assert_eq!(container.command, ["/sealfleet-init", "fargate", "--flag"]);
        assert_eq!(container.memory_mib, 512);
        assert_eq!(container.stop_timeout, Duration::from_secs(30));
        assert_eq!(container.logs.unwrap().stream_prefix, "step");
        assert_eq!(container.secrets[0].0, "KEY");
    }

    #[test]
    fn only_a_mounted_volume_of_the_image_can_be_written_to() {
        let writable = |mounts: Value| {
            let (_, mut containers) = parse(&document(|d| {
                d["volumes"] = json!([{"name": "v"}, {"name": "w", "host": {}}]);
                d["containerDefinitions"][0]["mountPoints"] = mounts;
            }))
            .unwrap();
            containers.remove(0).writable
        };
        let at = |path: &str| json!([{"sourceVolume": "v", "containerPath": path}]);
        assert_eq!(writable(json!([])), Vec::<PathBuf>::new());
        assert_eq!(writable(at("/workspace")), [PathBuf::from("/workspace")]);
        // The volume belongs to root: the image does not declare the path.
        assert_eq!(writable(at("/srv")), Vec::<PathBuf>::new());
        let read_only = json!([{"sourceVolume": "w", "containerPath": "/tmp", "readOnly": true}]);
        assert_eq!(writable(read_only), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_fargate_or_the_stand_in_cannot_honour_is_refused() {
        assert!(refused(|d| d["memory"] = json!("513")).contains("No Fargate configuration"));
        assert!(refused(|d| d["networkMode"] = json!("bridge")).contains("awsvpc"));
        let on_host = json!([{"name": "v", "host": {"sourcePath": "/srv"}}]);
        assert_eq!(
            refused(|d| d["volumes"] = on_host),
            "Fargate compatible task definitions do not support sourcePath"
        );
        let docker = json!([{"name": "v", "dockerVolumeConfiguration": {}}]);
        assert_eq!(
            refused(|d| d["volumes"] = docker),
            "Fargate compatible task definitions do not support dockerVolumeConfiguration"
        );
        let efs = json!([{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]);
        assert!(refused(|d| d["volumes"] = efs).contains("efsVolumeConfiguration"));
        let mount = json!([{"sourceVolume": "other", "containerPath": "/tmp"}]);
        assert_eq!(
            refused(|d| d["containerDefinitions"][0]["mountPoints"] = mount),
            "Unknown volume 'other'."
        );
        let shm = json!({"sharedMemorySize": 64});
        assert_eq!(
            refused(|d| d["containerDefinitions"][0]["linuxParameters"] = shm),
            "Fargate compatible task definitions do not support sharedMemorySize"
        );
        assert!(refused(|d| d["family"] = json!("a b")).contains("Family"));
        assert!(
            refused(|d| d["containerDefinitions"][0]["privileged"] = json!(true))
                .contains("privileged")
        );
        assert!(
            refused(|d| d["containerDefinitions"][0]["stopTimeout"] = json!(121))
                .contains("stopTimeout")
        );
        assert!(
            refused(|d| d["containerDefinitions"][0]["environment"] =
                json!([{"name": "KEY", "value": "x"}]))
            .contains("must be unique")
        );
        assert!(
            refused(|d| {
                d.as_object_mut().unwrap().remove("executionRoleArn");
            })
            .contains("execution role")
        );
        assert!(
            refused(|d| d["containerDefinitions"] = json!([])).contains("essential"),
            "no container"
        );
        assert!(refused(|d| beside(d, &json!({"name": "sandbox"}))).contains("unique"));
        let circle = |d: &mut Value| {
            let on = |name: &str| json!([{"containerName": name, "condition": "START"}]);
            beside(d, &json!({"dependsOn": on("sandbox")}));
            d["containerDefinitions"][0]["dependsOn"] = on("proxy");
        };
        assert!(refused(circle).contains("circle"));
        for (dependency, why) in [
            (
                json!({"containerName": "other", "condition": "START"}),
                "'other'",
            ),
            (
                json!({"containerName": "sandbox", "condition": "HEALTHY"}),
                "HEALTHY",
            ),
        ] {
            let refused = refused(|d| beside(d, &json!({"dependsOn": [dependency]})));
            assert!(refused.contains(why), "{refused}");
        }
        let shared = |d: &mut Value| {
            let mounts = json!([{"sourceVolume": "v", "containerPath": "/tmp"}]);
            d["volumes"] = json!([{"name": "v"}]);
            d["containerDefinitions"][0]["mountPoints"] = mounts.clone();
            beside(d, &json!({"mountPoints": mounts}));
        };
        assert!(refused(shared).contains("a volume of several containers"));
    }

    /// A second container, which is not essential.
    fn beside(document: &mut Value, more: &Value) {
        let mut container = json!({
            "name": "proxy", "image": "sealfleet/sandbox@sha256:00", "essential": false,
        });
        for (name, value) in more.as_object().unwrap() {
            container[name] = value.clone();
        }
        let containers = document["containerDefinitions"].as_array_mut().unwrap();
        containers.push(container);
    }

    #[test]
    fn a_container_comes_behind_those_that_it_depends_on() {
        let first = json!([{"containerName": "proxy", "condition": "START"}]);
        let (_, containers) = parse(&document(|d| {
            beside(d, &json!({"command": ["--proxy"]}));
            d["containerDefinitions"][0]["dependsOn"] = first;
        }))
        .unwrap();
        let shown: Vec<_> = containers
            .iter()
            .map(|one| (one.name.as_str(), one.essential, one.secrets.len()))
            .collect();
        assert_eq!(shown, [("proxy", false, 0), ("sandbox", true, 1)]);
    }
}
