//! One task: what ECS stores of it, and how API answers and events show it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::{self, Millis};

/// The states of a task, in order.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Provisioning,
    Pending,
    Running,
    Deprovisioning,
    Stopped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// The `stopCode` values of this stand-in.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    /// The task's infrastructure was taken out of service in an orderly way.
    TerminationNotice,
    /// The task's infrastructure was lost.
    InfrastructureHealth,
}

impl StopCode {
    fn name(self) -> &'static str {
        match self {
            Self::TaskFailedToStart => "TaskFailedToStart",
            Self::EssentialContainerExited => "EssentialContainerExited",
            Self::UserInitiated => "UserInitiated",
            Self::TerminationNotice => "TerminationNotice",
            Self::InfrastructureHealth => "InfrastructureHealth",
        }
    }
}

/// A task as the journal stores it: names, references and ids, never a secret's value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub id: String,
    pub arn: String,
    pub cluster_arn: String,
    pub definition_arn: String,
    pub family: String,
    pub group: String,
    pub started_by: Option<String>,
    pub client_token: Option<String>,
    /// SHA-256 of the request's parameters. Distinguishes a repeated request from another request
    /// with the same token.
    pub request_digest: String,
    pub overrides: Value,
    pub tags: Value,
    pub cpu: Value,
    pub memory: Value,
    pub status: Status,
    pub desired_stopped: bool,
    pub version: u64,
    pub created_at: Millis,
    pub updated_at: Millis,
    pub pull_started_at: Option<Millis>,
    pub pull_stopped_at: Option<Millis>,
    pub started_at: Option<Millis>,
    pub stopping_at: Option<Millis>,
    pub execution_stopped_at: Option<Millis>,
    pub stopped_at: Option<Millis>,
    pub stop_code: Option<StopCode>,
    pub stopped_reason: Option<String>,
    /// In the order of their start.
    #[serde(alias = "container", deserialize_with = "one_or_more")]
    pub containers: Vec<ContainerState>,
}

/// Journals of before have one container for each task.
fn one_or_more<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ContainerState>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        One(Box<ContainerState>),
        All(Vec<ContainerState>),
    }
    Ok(match Stored::deserialize(deserializer)? {
        Stored::One(container) => vec![*container],
        Stored::All(containers) => containers,
    })
}

/// A container of a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerState {
    pub name: String,
    pub arn: String,
    pub image: String,
    pub status: Status,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
}

impl Task {
    pub fn desired_status(&self) -> &'static str {
        if self.desired_stopped {
            "STOPPED"
        } else {
            "RUNNING"
        }
    }

    /// The `Task` of API answers. Times are epoch seconds.
    pub fn describe(&self, with_tags: bool) -> Value {
        let mut shown = self.shown(clock::epoch_seconds);
        if with_tags && let Some(members) = shown.as_object_mut() {
            members.insert("tags".into(), self.tags.clone());
        }
        shown
    }

    /// The `detail` of a task state change event. Times are ISO strings, and tags are absent.
    /// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html>
    pub fn event_detail(&self) -> Value {
        let mut shown = self.shown(|at| json!(clock::iso(at)));
        if let Some(members) = shown.as_object_mut() {
            members.insert("updatedAt".into(), json!(clock::iso(self.updated_at)));
        }
        shown
    }

    /// Changes one of its containers.
    pub fn container(&mut self, name: &str, change: impl FnOnce(&mut ContainerState)) {
        if let Some(container) = self.containers.iter_mut().find(|one| one.name == name) {
            change(container);
        }
    }

    fn container_shown(&self, container: &ContainerState) -> Value {
        let digest = container.image.split_once('@').map(|(_, digest)| digest);
        let mut container_shown = json!({
            "containerArn": container.arn,
            "taskArn": self.arn,
            "name": container.name,
            "image": container.image,
            "lastStatus": container.status.name(),
            "networkInterfaces": [],
            "cpu": "0",
        });
        put(
            &mut container_shown,
            "imageDigest",
            digest.map(|text| json!(text)),
        );
        put(
            &mut container_shown,
            "exitCode",
            container.exit_code.map(|code| json!(code)),
        );
        put(
            &mut container_shown,
            "reason",
            container.reason.as_ref().map(|text| json!(text)),
        );
        container_shown
    }

    fn shown(&self, time: impl Fn(Millis) -> Value) -> Value {
        let containers = self.containers.iter();
        let containers: Vec<Value> = containers.map(|one| self.container_shown(one)).collect();
        let mut shown = json!({
            "taskArn": self.arn,
            "clusterArn": self.cluster_arn,
            "taskDefinitionArn": self.definition_arn,
            "group": self.group,
            "launchType": "FARGATE",
            "platformVersion": "1.4.0",
            "platformFamily": "Linux",
            "lastStatus": self.status.name(),
            "desiredStatus": self.desired_status(),
            "overrides": self.overrides,
            "cpu": self.cpu,
            "memory": self.memory,
            "version": self.version,
            "attachments": [],
            "containers": containers,
            "createdAt": time(self.created_at),
            "enableExecuteCommand": false,
        });
        if self.started_at.is_some() {
            put(&mut shown, "connectivity", Some(json!("CONNECTED")));
            put(
                &mut shown,
                "connectivityAt",
                self.pull_started_at.map(&time),
            );
        }
        put(
            &mut shown,
            "startedBy",
            self.started_by.as_ref().map(|text| json!(text)),
        );
        put(
            &mut shown,
            "stopCode",
            self.stop_code.map(|code| json!(code.name())),
        );
        put(
            &mut shown,
            "stoppedReason",
            self.stopped_reason.as_ref().map(|text| json!(text)),
        );
        for (name, at) in [
            ("pullStartedAt", self.pull_started_at),
            ("pullStoppedAt", self.pull_stopped_at),
            ("startedAt", self.started_at),
            ("stoppingAt", self.stopping_at),
            ("executionStoppedAt", self.execution_stopped_at),
            ("stoppedAt", self.stopped_at),
        ] {
            put(&mut shown, name, at.map(&time));
        }
        shown
    }
}

fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(name.to_owned(), value);
    }
}
