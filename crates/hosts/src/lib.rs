//! Where the control plane runs sandboxes, whoever the vendor is.
//!
//! A host is one implementation of [`SandboxHost`] and one row of the domain's capability table. A
//! deployment registers its hosts in a [`Hosts`]; `dispatch` launches on the host that the pool
//! names, and whoever stops or looks afterwards reaches it by the handle.

pub mod container;

use std::collections::BTreeMap;

use async_trait::async_trait;
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::{Failure, Handle, Outcome, RequeueReason, StartCause};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::usage::{Ran, Size};
use sealfleet_domain::{ProjectScope, Timestamp};

/// What the sandboxes of one pool and one set of secrets have in common. Two equal ones are
/// prepared once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The image by digest.
    pub image: String,
    /// CPU units, 1,024 for each virtual CPU.
    pub cpu: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The secrets that the host injects, by reference and version.
    pub secrets: Vec<SecretRef>,
    /// Whether an egress proxy runs beside the command, with those of the secrets that are
    /// delivered at egress.
    pub proxy: bool,
}

/// What became of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launched {
    /// A sandbox, new or the same as before.
    Sandbox(Handle),
    /// What was prepared is gone: prepare it anew.
    Unprepared,
}

/// Why a host did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was done, for a reason that passes: try again later.
    #[error("not now: {detail}")]
    NotNow {
        reason: RequeueReason,
        /// In the host's words.
        detail: String,
    },
    /// It will never work as asked.
    #[error("the host refuses: {0}")]
    Refused(String),
    /// It does not answer.
    #[error("the host is not available: {0}")]
    Unavailable(String),
}

/// How far a sandbox has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its command has not started.
    Starting,
    /// Its command runs.
    Running,
    /// It is gone.
    Ended(End),
}

/// How a sandbox ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code: its command's own, or 128 + number if a signal ended it. Nothing
    /// tells the two apart.
    Exit(i32),
    /// It exited with this code, by which its init says that the step's time was over. A command
    /// may choose the same code, so it counts only if the sandbox ran that long.
    OutOfTime {
        /// The exit code.
        code: i32,
        /// How long it ran in milliseconds, if its host knows.
        ran_millis: Option<i64>,
    },
    /// It exited with this code, by which its init says that nobody could be told how the command
    /// ended. A command may choose the same code; then somebody was told.
    Untold {
        /// The exit code.
        code: i32,
    },
    /// It used more memory than it may.
    OutOfMemory,
    /// It could not be started; names only.
    CannotStart {
        cause: Option<StartCause>,
        detail: String,
    },
    /// A secret could not be fetched; names only.
    SecretUnavailable {
        cause: Option<StartCause>,
        detail: String,
    },
    /// It could not be started, for a reason that passes.
    NotStarted {
        reason: RequeueReason,
        /// In the host's words.
        detail: String,
    },
    /// The machine under it was lost: try again.
    Lost,
}

/// How much later than it began a host may say that a sandbox runs.
const LATE_MILLIS: i64 = 10_000;

impl End {
    /// What it means for a step that may run `timeout_seconds`.
    ///
    /// # Errors
    /// Why the step is to be tried again.
    pub fn outcome(&self, timeout_seconds: u32) -> Result<Outcome, RequeueReason> {
        let failure = match self {
            Self::Exit(0) => return Ok(Outcome::Succeeded),
            Self::Lost | Self::Untold { .. } => return Err(RequeueReason::SandboxLost),
            Self::NotStarted { reason, .. } => return Err(*reason),
            Self::Exit(code) => Failure::Exit { code: *code },
            Self::OutOfTime {
                code,
                ran_millis: Some(ran),
            } if *ran + LATE_MILLIS < i64::from(timeout_seconds) * 1000 => {
                Failure::Exit { code: *code }
            }
            Self::OutOfTime { .. } => Failure::TimedOut {
                after_seconds: timeout_seconds,
            },
            Self::OutOfMemory => Failure::OutOfMemory,
            Self::CannotStart { cause, detail } => Failure::CannotStart {
                cause: *cause,
                detail: Failure::detail(detail),
            },
            Self::SecretUnavailable { cause, detail } => Failure::SecretUnavailable {
                cause: *cause,
                detail: Failure::detail(detail),
            },
        };
        Ok(Outcome::Failed { failure })
    }
}

/// A sandbox as its host shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// What it is stopped by.
    pub handle: Handle,
    /// The host's short id of it, unique in the deployment.
    pub id: String,
    /// The claim that it was launched for, where the control plane launched it.
    pub claim: Option<ClaimTag>,
    /// How far it has come.
    pub seen: Seen,
    /// CPU units, 1,024 for each virtual CPU, and memory in MiB.
    pub size: Option<(u32, u32)>,
    /// When its command started.
    pub started_at: Option<Timestamp>,
    /// When it stopped.
    pub stopped_at: Option<Timestamp>,
}

impl Sandbox {
    /// For how long it ran when it is gone, or would have if it stopped `now`. `None`: it never
    /// ran.
    #[must_use]
    pub fn ran(&self, now: Timestamp) -> Option<Ran> {
        let ((cpu, memory_mib), started_at) = (self.size?, self.started_at?);
        Some(Ran {
            size: Size { cpu, memory_mib },
            started_at,
            stopped_at: self.stopped_at.unwrap_or(now),
        })
    }
}

/// Runs sandboxes.
#[async_trait]
pub trait SandboxHost: Send + Sync {
    /// The `kind` of its pools, which is its row in the capability table.
    fn kind(&self) -> &'static str;
    /// Whether it made this handle. No two hosts of a deployment may say so of one.
    fn owns(&self, handle: &Handle) -> bool;
    /// The name under which `prepare`'s answer is remembered. It differs for whatever makes two
    /// templates, or two deployments, different.
    fn template_key(&self, template: &Template) -> String;
    /// Makes ready what every launch of `template` needs, and answers its name.
    async fn prepare(&self, scope: &ProjectScope, template: &Template) -> Result<String, Error>;
    /// Launches a sandbox of what was prepared, and writes `claim` onto it. The same claim again
    /// ends at the same sandbox, whatever happened in between.
    async fn launch(&self, claim: &ClaimTag, prepared: &str) -> Result<Launched, Error>;
    /// Stops a sandbox. One that is gone already is fine.
    async fn stop(&self, handle: &Handle, reason: &str) -> Result<(), Error>;
    /// A sandbox, if the host still knows it.
    async fn look(&self, handle: &Handle) -> Result<Option<Sandbox>, Error>;
    /// Up to [`BATCH`] sandboxes, each as [`Self::look`] answers, in the order of `handles`. A host
    /// that answers for many in one call overrides this.
    async fn look_at(&self, handles: &[Handle]) -> Vec<Result<Option<Sandbox>, Error>> {
        let mut answers = Vec::new();
        for handle in handles {
            answers.push(self.look(handle).await);
        }
        answers
    }
    /// The sandbox that was launched for a claim, if the host shows it already.
    async fn find(&self, claim: &ClaimTag) -> Result<Option<Handle>, Error>;
}

/// Sandboxes that a host is asked about in one call.
pub const BATCH: usize = 100;

/// The hosts of a deployment.
#[derive(Default)]
pub struct Hosts(Vec<Box<dyn SandboxHost>>);

impl Hosts {
    /// One host.
    #[must_use]
    pub fn of(host: impl SandboxHost + 'static) -> Self {
        Self::default().and(host)
    }

    /// One more host.
    #[must_use]
    pub fn and(mut self, host: impl SandboxHost + 'static) -> Self {
        self.0.push(Box::new(host));
        self
    }

    /// The host of pools of this kind.
    #[must_use]
    pub fn of_kind(&self, kind: &str) -> Option<&dyn SandboxHost> {
        let found = self.0.iter().find(|host| host.kind() == kind)?;
        Some(found.as_ref())
    }

    fn owner(&self, handle: &Handle) -> Result<&dyn SandboxHost, Error> {
        let found = self.0.iter().find(|host| host.owns(handle));
        found.map(AsRef::as_ref).ok_or_else(|| unowned(handle))
    }

    /// Whether one of the hosts made a sandbox.
    #[must_use]
    pub fn own(&self, handle: &Handle) -> bool {
        self.owner(handle).is_ok()
    }

    /// Stops a sandbox. One that is gone already is fine.
    ///
    /// # Errors
    /// When no host made it, or its host does not do it.
    pub async fn stop(&self, handle: &Handle, reason: &str) -> Result<(), Error> {
        self.owner(handle)?.stop(handle, reason).await
    }

    /// A sandbox, if its host still knows it.
    ///
    /// # Errors
    /// When no host made it, or its host does not answer.
    pub async fn look(&self, handle: &Handle) -> Result<Option<Sandbox>, Error> {
        self.owner(handle)?.look(handle).await
    }

    /// What each host answers about its sandboxes, in the order of `handles`.
    pub async fn look_at(&self, handles: &[Handle]) -> Vec<Result<Option<Sandbox>, Error>> {
        let mut answers: BTreeMap<String, Result<Option<Sandbox>, Error>> = BTreeMap::new();
        for host in &self.0 {
            let own: Vec<Handle> = handles
                .iter()
                .filter(|handle| host.owns(handle))
                .cloned()
                .collect();
            for batch in own.chunks(BATCH) {
                let answered = host.look_at(batch).await;
                answers.extend(
                    batch
                        .iter()
                        .map(|handle| handle.as_str().to_owned())
                        .zip(answered),
                );
            }
        }
        let answer = |handle: &Handle| {
            answers
                .get(handle.as_str())
                .cloned()
                .unwrap_or_else(|| Err(unowned(handle)))
        };
        handles.iter().map(answer).collect()
    }

    /// The sandbox that was launched for a claim, if a host shows it already.
    ///
    /// # Errors
    /// When a host does not answer: it may have the sandbox.
    pub async fn find(&self, claim: &ClaimTag) -> Result<Option<Handle>, Error> {
        for host in &self.0 {
            if let Some(found) = host.find(claim).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn unowned(handle: &Handle) -> Error {
    Error::Refused(format!("no host made `{}`", handle.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_own_meaning() {
        let failed = |failure| Ok(Outcome::Failed { failure });
        assert_eq!(End::Exit(0).outcome(60), Ok(Outcome::Succeeded));
        assert_eq!(End::Exit(3).outcome(60), failed(Failure::Exit { code: 3 }));
        assert_eq!(
            End::Exit(137).outcome(60),
            failed(Failure::Exit { code: 137 })
        );
        let out_of_time = |ran_millis| End::OutOfTime {
            code: 124,
            ran_millis,
        };
        for ran_millis in [Some(60_000), Some(50_000), None] {
            assert_eq!(
                out_of_time(ran_millis).outcome(60),
                failed(Failure::TimedOut { after_seconds: 60 })
            );
        }
        assert_eq!(
            out_of_time(Some(49_999)).outcome(60),
            failed(Failure::Exit { code: 124 })
        );
        assert_eq!(End::Lost.outcome(60), Err(RequeueReason::SandboxLost));
        let busy = End::NotStarted {
            reason: RequeueReason::NoCapacity,
            detail: "full".to_owned(),
        };
        assert_eq!(busy.outcome(60), Err(RequeueReason::NoCapacity));
    }
}
