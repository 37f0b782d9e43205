//! `sealfleet-local`: the real templates and the real binaries on one machine.
//!
//! MiniStack serves the AWS APIs with IAM enforced and runs our Lambda binary as AWS would;
//! `sealfleet-local-ecs` stands in for ECS. `infra/sam/template.yaml` and `infra/sam/project.yaml`
//! are deployed as they are, through CloudFormation: only endpoints differ from AWS.
//!
//! A stack keeps everything it owns below its directory, and records every process it starts there
//! before anything else happens. So [`down`] ends exactly those processes, whatever became of the
//! one that started them.

mod deploy;
mod error;
mod process;
mod python;
mod stack;
mod up;

pub use deploy::deploy_project;
pub use error::Error;
pub use process::Process;
pub use stack::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Stack};
pub use up::{Health, UpOptions, down, status, supervise, up};

/// Installs what [`up`] needs of Python, once, and starts nothing.
///
/// # Errors
/// When Python or a package cannot be had.
pub async fn prepare() -> Result<(), Error> {
    python::Venv::ensure(None).await.map(drop)
}
