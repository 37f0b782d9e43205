//! `sealfleet-local`: runs the real templates and the real binaries on one machine.
//!
//! MiniStack serves the AWS APIs, enforces IAM, and runs our Lambda binary as AWS would.
//! `sealfleet-local-ecs` stands in for ECS. CloudFormation deploys the unchanged
//! `infra/sam/template.yaml` and `infra/sam/project.yaml`. Only the endpoints differ from AWS.
//!
//! A stack keeps everything it owns below its directory. It records each process that it starts
//! before anything else happens. So [`down`] can end exactly those processes, whatever happened to
//! the process that started them.

mod agent;
mod cache;
mod deploy;
mod error;
mod process;
mod project;
mod python;
mod root;
mod stack;
mod up;

pub use agent::have_agent;
pub use deploy::deploy_project;
pub use error::Error;
pub use process::Process;
pub use project::{Programs, onboard};
pub use stack::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Stack};
pub use up::{Health, UpOptions, down, status, supervise, up};

/// Installs the Python packages that [`up`] needs, and makes the root of its sandboxes, once.
/// Starts nothing.
///
/// # Errors
/// When Python, mmdebstrap or a package is not available.
pub async fn prepare() -> Result<(), Error> {
    tokio::try_join!(python::Venv::ensure(None), root::ensure()).map(drop)
}
