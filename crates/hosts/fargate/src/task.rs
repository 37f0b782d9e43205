//! What ECS says of a task, in answers and events, and what it means.
//!
//! Sources: "Amazon ECS task state change events" and "Amazon ECS stopped tasks error messages" of
//! the ECS Developer Guide. The sandbox's init exits with 124 when the step's time is over, with
//! 125 when it could not begin, and with 121 when it could tell nobody how the step ended.

use aws_sdk_ecs::primitives::DateTime;
use aws_sdk_ecs::types::Task;
use sealfleet_domain::Timestamp;
use sealfleet_domain::run::{Handle, RequeueReason, StartCause};
use sealfleet_hosts::{End, Sandbox, Seen};
use serde::{Deserialize, Serialize};

use crate::CONTAINER;
use crate::names::task_id;
use crate::words::{Remedy, remedy, telling};

/// The exit code of init for a step whose time was over.
const TIMED_OUT: i32 = 124;
/// The exit code of init for a step that could not begin.
const COULD_NOT_BEGIN: i32 = 125;
/// The exit code of init for a step whose end nobody could be told.
const UNTOLD: i32 = 121;

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

/// "ECS Task State Change", as far as it matters here.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskChange {
    task_arn: String,
    last_status: String,
    #[serde(default)]
    started_by: Option<String>,
    #[serde(default)]
    stop_code: Option<String>,
    #[serde(default)]
    stopped_reason: Option<String>,
    #[serde(default)]
    containers: Vec<ContainerChange>,
    #[serde(default)]
    cpu: Option<String>,
    #[serde(default)]
    memory: Option<String>,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default)]
    stopped_at: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerChange {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default)]
    reason: Option<String>,
}

impl From<&Task> for TaskState {
    fn from(task: &Task) -> Self {
        let container = task
            .containers()
            .iter()
            .find(|container| container.name() == Some(CONTAINER));
        let moment = |at: &DateTime| at.to_millis().ok().map(Timestamp::from_millis);
        Self {
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
}

impl From<TaskChange> for TaskState {
    fn from(change: TaskChange) -> Self {
        let container = change
            .containers
            .into_iter()
            .find(|container| container.name.as_deref() == Some(CONTAINER));
        let (exit_code, container_reason) = container.map_or((None, None), |container| {
            (container.exit_code, container.reason)
        });
        let moment = |text: Option<String>| Timestamp::parse(&text?).ok();
        Self {
            arn: change.task_arn,
            started_by: change.started_by,
            last_status: change.last_status,
            exit_code,
            stop_code: change.stop_code,
            stopped_reason: change.stopped_reason,
            container_reason,
            size: size(change.cpu.as_deref(), change.memory.as_deref()),
            started_at: moment(change.started_at),
            stopped_at: moment(change.stopped_at),
        }
    }
}

impl From<TaskState> for Sandbox {
    fn from(task: TaskState) -> Self {
        let seen = match task.last_status.as_str() {
            "STOPPED" => Seen::Ended(task.end()),
            "RUNNING" => Seen::Running,
            // Also on its way out (`STOPPING`, …): its end is shown when it is final.
            _ => Seen::Starting,
        };
        let handle = Handle::new(task.arn);
        Self {
            id: task_id(&handle).to_owned(),
            handle,
            claim: task.started_by.and_then(|claim| claim.parse().ok()),
            seen,
            size: task.size,
            started_at: task.started_at,
            stopped_at: task.stopped_at,
        }
    }
}

impl From<TaskChange> for Sandbox {
    fn from(change: TaskChange) -> Self {
        TaskState::from(change).into()
    }
}

impl TaskState {
    /// How a stopped task ended.
    fn end(&self) -> End {
        let reason = self.stopped_reason.as_deref().unwrap_or_default();
        let container = self.container_reason.as_deref().unwrap_or_default();
        let stop_code = self.stop_code.as_deref();
        if container.contains("OutOfMemory") {
            return End::OutOfMemory;
        }
        // The command did not choose this end, however it reacted to being told.
        let taken = matches!(
            stop_code,
            Some("SpotInterruption" | "TerminationNotice" | "InfrastructureHealth")
        );
        if taken && self.exit_code != Some(0) {
            return End::Lost;
        }
        if let Some(code) = self.exit_code {
            return match code {
                TIMED_OUT => End::OutOfTime {
                    code,
                    ran_millis: self
                        .started_at
                        .zip(self.stopped_at)
                        .map(|(start, stop)| stop.millis_since(start)),
                },
                UNTOLD => End::Untold { code },
                COULD_NOT_BEGIN => End::CannotStart {
                    cause: None,
                    detail: "exit code 125: the sandbox's init could not begin the step, or the command chose this code; the task's log says which"
                        .to_owned(),
                },
                code => End::Exit(code),
            };
        }
        let known = [reason, container]
            .into_iter()
            .find_map(|words| Some((remedy(words)?, words)));
        match known {
            Some((Remedy::Wait(reason), words)) => End::NotStarted {
                reason,
                detail: words.to_owned(),
            },
            Some((Remedy::Mend(cause), words)) => cannot_start(cause, telling(cause, words)),
            // What a task stopped for before it started, and nobody has written down, may pass.
            _ if stop_code == Some("TaskFailedToStart") => End::NotStarted {
                reason: RequeueReason::HostFailed,
                detail: format!("{reason} {container}"),
            },
            _ => End::Lost,
        }
    }
}

fn cannot_start(cause: StartCause, detail: String) -> End {
    let cause = Some(cause);
    match cause {
        Some(
            StartCause::SecretDenied
            | StartCause::SecretMissing
            | StartCause::SecretKeyMissing
            | StartCause::SecretUnreadable,
        ) => End::SecretUnavailable { cause, detail },
        _ => End::CannotStart { cause, detail },
    }
}

/// A task's size, as ECS writes it in answers and events: numbers as text.
fn size(cpu: Option<&str>, memory: Option<&str>) -> Option<(u32, u32)> {
    cpu?.parse().ok().zip(memory?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> TaskState {
        TaskState {
            exit_code: Some(code),
            ..TaskState::default()
        }
    }

    fn failed_to_start(reason: Option<&str>) -> TaskState {
        TaskState {
            stop_code: Some("TaskFailedToStart".to_owned()),
            stopped_reason: reason.map(str::to_owned),
            ..TaskState::default()
        }
    }

    #[test]
    fn each_end_has_its_own_meaning() {
        assert_eq!(exit(0).end(), End::Exit(0));
        assert_eq!(exit(3).end(), End::Exit(3));
        let moment = |millis| Some(Timestamp::from_millis(millis));
        let late = TaskState {
            started_at: moment(1_000),
            stopped_at: moment(61_000),
            ..exit(124)
        };
        let out_of_time = |ran_millis| End::OutOfTime {
            code: 124,
            ran_millis,
        };
        assert_eq!(late.end(), out_of_time(Some(60_000)));
        assert_eq!(exit(124).end(), out_of_time(None));
        assert!(matches!(exit(125).end(), End::CannotStart { .. }));
        assert_eq!(exit(121).end(), End::Untold { code: 121 });
        assert_eq!(
            exit(143).end(),
            End::Exit(143),
            "it may be the command's own code"
        );
        let killed = TaskState {
            container_reason: Some(
                "OutOfMemoryError: Container killed due to memory usage".to_owned(),
            ),
            ..exit(137)
        };
        assert_eq!(killed.end(), End::OutOfMemory);
        let unknown = failed_to_start(None).end();
        assert!(
            matches!(unknown, End::NotStarted { reason, .. } if reason == RequeueReason::HostFailed)
        );
        // ECS writes some reasons to the container alone.
        let no_image = TaskState {
            container_reason: Some("CannotPullContainerError: x: not found".to_owned()),
            ..failed_to_start(Some("Task failed to start"))
        };
        let cause = Some(StartCause::ImageMissing);
        assert!(matches!(no_image.end(), End::CannotStart { cause: c, .. } if c == cause));
        let taken = TaskState {
            stop_code: Some("SpotInterruption".to_owned()),
            ..exit(143)
        };
        assert_eq!(taken.end(), End::Lost);
        assert_eq!(TaskState::default().end(), End::Lost);
    }

    #[test]
    fn a_status_is_one_of_three() {
        let seen = |status: &str| {
            let state = TaskState {
                last_status: status.to_owned(),
                ..exit(0)
            };
            Sandbox::from(state).seen
        };
        assert_eq!(seen("PENDING"), Seen::Starting);
        assert_eq!(seen("RUNNING"), Seen::Running);
        assert_eq!(seen("STOPPING"), Seen::Starting);
        assert_eq!(seen("STOPPED"), Seen::Ended(End::Exit(0)));
    }
}
