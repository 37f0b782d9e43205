//! What the end of an ECS task means for its step, from ECS's own words.
//!
//! Source: "Amazon ECS stopped tasks error messages" and the task state change event of the ECS
//! Developer Guide. The sandbox's init exits with 124 when the step's time is over, and 125 when it
//! could not begin.

use sealfleet_domain::run::{Failure, Outcome};

/// What a stopped task tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskEnd<'a> {
    /// The container's exit code.
    pub exit_code: Option<i32>,
    /// `EssentialContainerExited`, `TaskFailedToStart`, `UserInitiated`, …
    pub stop_code: Option<&'a str>,
    /// Why the task stopped.
    pub stopped_reason: Option<&'a str>,
    /// Why the container stopped.
    pub container_reason: Option<&'a str>,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The step ended.
    Ended(Outcome),
    /// The machine under it was lost: try again.
    Lost,
}

/// The exit code of init for a step whose time was over.
const TIMED_OUT: i32 = 124;
/// The exit code of init for a step that could not begin.
const COULD_NOT_BEGIN: i32 = 125;

impl TaskEnd<'_> {
    /// Reads the end of a task of a step that may run `timeout_seconds`.
    #[must_use]
    pub fn meaning(&self, timeout_seconds: u32) -> Meaning {
        let reason = self.stopped_reason.unwrap_or_default();
        let container = self.container_reason.unwrap_or_default();
        let failed = |failure| Meaning::Ended(Outcome::Failed { failure });
        if container.contains("OutOfMemory") {
            return failed(Failure::OutOfMemory);
        }
        // The command did not choose this end, however it reacted to being told.
        let taken = matches!(
            self.stop_code,
            Some("SpotInterruption" | "TerminationNotice" | "InfrastructureHealth")
        );
        if taken && self.exit_code != Some(0) {
            return Meaning::Lost;
        }
        if let Some(code) = self.exit_code {
            return match code {
                0 => Meaning::Ended(Outcome::Succeeded),
                TIMED_OUT => failed(Failure::TimedOut {
                    after_seconds: timeout_seconds,
                }),
                COULD_NOT_BEGIN => failed(Failure::CannotStart {
                    detail: "the sandbox's init could not begin the step; see the task's log"
                        .to_owned(),
                }),
                // A shell's and a container runtime's way to say that a signal ended the process.
                code if (129..=192).contains(&code) => {
                    failed(Failure::Signal { signal: code - 128 })
                }
                code => failed(Failure::Exit { code }),
            };
        }
        if reason.contains("ResourceInitializationError") && reason.contains("secret") {
            return failed(Failure::SecretUnavailable {
                detail: Failure::detail(reason),
            });
        }
        if self.stop_code == Some("TaskFailedToStart")
            || reason.contains("CannotPull")
            || reason.contains("CannotStart")
        {
            let detail = if container.is_empty() {
                reason
            } else {
                container
            };
            return failed(Failure::CannotStart {
                detail: Failure::detail(detail),
            });
        }
        Meaning::Lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(end: TaskEnd<'_>) -> Meaning {
        end.meaning(60)
    }

    #[test]
    fn each_end_has_its_own_meaning() {
        let exit = |code| TaskEnd {
            exit_code: Some(code),
            ..TaskEnd::default()
        };
        let failed = |failure| Meaning::Ended(Outcome::Failed { failure });
        assert_eq!(meaning(exit(0)), Meaning::Ended(Outcome::Succeeded));
        assert_eq!(meaning(exit(3)), failed(Failure::Exit { code: 3 }));
        assert_eq!(
            meaning(exit(124)),
            failed(Failure::TimedOut { after_seconds: 60 })
        );
        assert_eq!(meaning(exit(143)), failed(Failure::Signal { signal: 15 }));
        let oom = TaskEnd {
            container_reason: Some("OutOfMemoryError: Container killed due to memory usage"),
            ..exit(137)
        };
        assert_eq!(meaning(oom), failed(Failure::OutOfMemory));
        let secret = TaskEnd {
            stop_code: Some("TaskFailedToStart"),
            stopped_reason: Some(
                "ResourceInitializationError: unable to pull secrets or registry auth: x",
            ),
            ..TaskEnd::default()
        };
        assert!(matches!(
            meaning(secret),
            Meaning::Ended(Outcome::Failed {
                failure: Failure::SecretUnavailable { .. }
            })
        ));
        let pull = TaskEnd {
            stop_code: Some("TaskFailedToStart"),
            ..TaskEnd::default()
        };
        assert!(matches!(
            meaning(pull),
            Meaning::Ended(Outcome::Failed {
                failure: Failure::CannotStart { .. }
            })
        ));
        assert_eq!(
            meaning(TaskEnd {
                stop_code: Some("SpotInterruption"),
                ..exit(143)
            }),
            Meaning::Lost
        );
    }
}
