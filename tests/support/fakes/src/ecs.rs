//! ECS as it behaves: idempotent by client token, eventually consistent, and never quite on time.

use std::collections::BTreeMap;

use sealfleet_domain::run::Fence;
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{ProjectScope, RunId, StepId, Timestamp};
use sealfleet_fargate::{CONTAINER, TaskState};
use sealfleet_hosts::Template;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Its network is made.
    Provisioning,
    /// Its image and secrets are fetched.
    Pending,
    Running,
    Stopped,
}

impl Status {
    /// As ECS writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// What the first process of a running task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Asks the control plane for its step, until its patience ends.
    Asks,
    /// Has a question on its way.
    Waits,
    /// Has let the command go.
    LetGo,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub arn: String,
    /// The claim that it was launched for.
    pub started_by: String,
    pub definition: String,
    /// The invocation that launched it last: the same client token finds the same task.
    pub launcher: String,
    pub status: Status,
    /// What its init does.
    pub init: Init,
    /// When its container began; 0 if it has not.
    pub running_since: i64,
    stopped_at: i64,
    /// Neither ends by itself nor by its time-out.
    pub hangs: bool,
    /// ECS was asked to stop it.
    pub stopping: bool,
    /// The effects that there were when it was launched.
    pub launched: u64,
    /// When ECS begins to show it.
    pub shown_from: i64,
    token_forgotten: bool,
    exit_code: Option<i32>,
    stop_code: Option<&'static str>,
    reason: Option<&'static str>,
}

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exit(i32),
    /// It was asked to stop.
    Asked,
    /// Its secrets could not be fetched.
    NoSecret,
    /// Its image could not be fetched.
    NoImage,
    /// It got no network in time.
    NoNetwork,
    /// Its machine was taken away.
    Taken,
}

/// An event of a task, as it was when the event was made.
#[derive(Clone, Debug)]
pub struct TaskEvent {
    pub task: Task,
}

/// What a launch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launching {
    New(String),
    /// The task of the same client token.
    Before(String),
    /// The client token was used with other parameters.
    Conflict,
}

#[derive(Clone, Debug, Default)]
pub struct Ecs {
    /// Its tasks by ARN.
    pub tasks: BTreeMap<String, Task>,
    pub definitions: BTreeMap<String, Template>,
    /// Events on their way.
    pub events: Vec<TaskEvent>,
}

/// CPU units and MiB of every task.
const SIZE: (u32, u32) = (256, 512);

fn at(millis: i64) -> Option<Timestamp> {
    (millis > 0).then(|| Timestamp::from_millis(millis))
}

impl Task {
    /// The claim that it was launched for.
    pub fn claim(&self) -> Option<(ProjectScope, RunId, StepId, Fence)> {
        let tag: ClaimTag = self.started_by.parse().ok()?;
        Some((tag.scope, tag.run_id, tag.step_id, tag.fence))
    }

    pub fn id(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or(&self.arn)
    }

    /// As `DescribeTasks` shows it.
    pub fn state(&self) -> TaskState {
        TaskState {
            arn: self.arn.clone(),
            last_status: self.status.name().to_owned(),
            exit_code: self.exit_code,
            stop_code: self.stop_code.map(str::to_owned),
            stopped_reason: self.reason.map(str::to_owned),
            size: Some(SIZE),
            started_at: at(self.running_since),
            stopped_at: at(self.stopped_at),
            ..TaskState::default()
        }
    }

    /// The event's detail ("Amazon ECS task state change events").
    pub fn detail(&self) -> serde_json::Value {
        serde_json::json!({
            "taskArn": self.arn,
            "lastStatus": self.status.name(),
            "startedBy": self.started_by,
            "stopCode": self.stop_code,
            "stoppedReason": self.reason,
            "cpu": SIZE.0.to_string(),
            "memory": SIZE.1.to_string(),
            "startedAt": at(self.running_since),
            "stoppedAt": at(self.stopped_at),
            "containers": [{ "name": CONTAINER, "exitCode": self.exit_code }],
        })
    }
}

impl Ecs {
    pub fn register(&mut self, arn: String, template: &Template) {
        self.definitions.insert(arn, template.clone());
    }

    /// Launches a task once for each client token; it is found only from `shown_from`.
    pub fn launch(
        &mut self,
        started_by: String,
        definition: &str,
        hangs: bool,
        shown_from: i64,
    ) -> Launching {
        if let Some(task) = self
            .tasks
            .values()
            .find(|task| task.started_by == started_by && !task.token_forgotten)
        {
            return if task.definition == definition {
                Launching::Before(task.arn.clone())
            } else {
                Launching::Conflict
            };
        }
        let arn = format!(
            "arn:aws:ecs:r:1:task/sealfleet/{:032}",
            self.tasks.len() + 1
        );
        let task = Task {
            arn: arn.clone(),
            started_by,
            definition: definition.to_owned(),
            launcher: String::new(),
            status: Status::Provisioning,
            init: Init::Asks,
            running_since: 0,
            stopped_at: 0,
            hangs,
            stopping: false,
            launched: 0,
            shown_from,
            token_forgotten: false,
            exit_code: None,
            stop_code: None,
            reason: None,
        };
        self.tasks.insert(arn.clone(), task);
        Launching::New(arn)
    }

    /// Forgets that a client token was used: the next launch with it is another task.
    pub fn forget_token(&mut self, started_by: &str) {
        for task in self
            .tasks
            .values_mut()
            .filter(|task| task.started_by == started_by)
        {
            task.token_forgotten = true;
        }
    }

    /// Asks a task to stop. One that is not known is fine.
    pub fn stop(&mut self, arn: &str) {
        if let Some(task) = self.tasks.get_mut(arn) {
            task.stopping = task.status != Status::Stopped;
        }
    }

    /// A task, if it shows by `now`.
    pub fn describe(&self, arn: &str) -> Option<TaskState> {
        self.tasks.get(arn).map(Task::state)
    }

    /// The task of a claim, if it shows by `now`.
    pub fn find(&self, started_by: &str, now: i64) -> Option<String> {
        let task = self
            .tasks
            .values()
            .find(|task| task.started_by == started_by && task.shown_from <= now)?;
        Some(task.arn.clone())
    }

    /// Moves a task on: `Provisioning -> Pending -> Running`.
    pub fn move_on(&mut self, arn: &str, now: i64) {
        let Some(task) = self.tasks.get_mut(arn) else {
            return;
        };
        task.status = match task.status {
            Status::Provisioning => Status::Pending,
            Status::Pending => {
                task.running_since = now;
                Status::Running
            }
            other => other,
        };
        self.events.push(TaskEvent { task: task.clone() });
    }

    pub fn end(&mut self, arn: &str, end: End, now: i64) {
        let Some(task) = self
            .tasks
            .get_mut(arn)
            .filter(|task| task.status != Status::Stopped)
        else {
            return;
        };
        let ran = task.status == Status::Running;
        (task.exit_code, task.stop_code, task.reason) = match end {
            End::Exit(code) => (
                Some(code),
                Some("EssentialContainerExited"),
                Some("Essential container in task exited"),
            ),
            End::Asked => (
                ran.then_some(143),
                Some("UserInitiated"),
                Some("ended by Sealfleet"),
            ),
            End::NoSecret => (
                None,
                Some("TaskFailedToStart"),
                Some(
                    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval \
                     failed: unable to retrieve secret from asm: service call has been retried 1 time(s): \
                     AccessDeniedException",
                ),
            ),
            End::NoImage => (
                None,
                Some("TaskFailedToStart"),
                Some(
                    "CannotPullContainerError: pull image manifest: failed to resolve ref: not found",
                ),
            ),
            End::NoNetwork => (
                None,
                Some("TaskFailedToStart"),
                Some("Timeout waiting for network interface provisioning to complete."),
            ),
            End::Taken => (
                ran.then_some(137),
                Some("SpotInterruption"),
                Some("Your Spot Task was interrupted."),
            ),
        };
        task.status = Status::Stopped;
        task.stopped_at = now;
        self.events.push(TaskEvent { task: task.clone() });
    }

    /// Tasks that are not over.
    pub fn live(&self) -> impl Iterator<Item = &Task> {
        self.tasks
            .values()
            .filter(|task| task.status != Status::Stopped)
    }
}
