//! Registers a worker and keeps its credential.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sealfleet_client::types::RegisterWorker;
use sealfleet_client::{Client, Credential, FileError, NewFile};
use sealfleet_domain::run::Mode;
use sealfleet_domain::{Line, PoolName, ProjectId, WorkerId};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Project to work for
    #[arg(long)]
    pub project: ProjectId,
    /// Pool to work for
    #[arg(long)]
    pub pool: PoolName,
    /// Display name
    #[arg(long)]
    pub name: Line,
    /// Label that steps can ask for, as KEY=VALUE; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
    /// Model that the worker can reach; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<Line>,
    /// Execution mode to run; may be repeated [default: `sandboxed`, `identity` and `full`]
    #[arg(long = "mode", value_name = "MODE", value_parser = mode)]
    pub modes: Vec<Mode>,
    /// Also run `bare` steps, as plain processes of this user without a sandbox
    #[arg(long)]
    pub allow_bare: bool,
    /// Steps to run at once
    #[arg(long, default_value_t = 1)]
    pub max_concurrent: u32,
    /// File with an enrolment key; without one, an admin must approve the worker
    #[arg(long, value_name = "FILE")]
    pub enrolment_key_file: Option<PathBuf>,
    /// New file for the worker's credential, readable by its owner only
    #[arg(long, value_name = "FILE", env = "SEALFLEET_CREDENTIAL_FILE")]
    pub credential_file: PathBuf,
}

/// Why a worker is not registered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `bare` without `--allow-bare`.
    #[error(
        "mode `bare` runs steps without a sandbox: add `--allow-bare` if that is what you want"
    )]
    Bare,
    /// Registered, and nobody has the credential.
    #[error("{source}; have an admin revoke the worker `{worker_id}`, whose credential is lost")]
    Lost {
        worker_id: WorkerId,
        source: FileError,
    },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Client(#[from] sealfleet_client::Error),
}

/// Registers, writes the credential file, and answers `{"worker_id", "status"}`.
///
/// # Errors
/// [`Error`]; nothing is registered, but for [`Error::Lost`].
pub async fn run(api_url: &str, arguments: Arguments) -> Result<serde_json::Value, Error> {
    let modes = modes(&arguments)?;
    // Made before registering: the control plane shows a credential only once.
    let file = NewFile::create(&arguments.credential_file)?;
    let key = arguments
        .enrolment_key_file
        .as_deref()
        .map(Credential::read)
        .transpose()?;
    let request = RegisterWorker {
        project: arguments.project,
        name: arguments.name,
        pool: arguments.pool,
        labels: arguments.labels.into_iter().collect::<BTreeMap<_, _>>(),
        models: arguments.models,
        modes,
        max_concurrent: arguments.max_concurrent,
    };
    let registered = Client::new(api_url, key)?.register_worker(&request).await?;
    let worker_id = registered.worker_id;
    file.keep(&Credential::new(registered.credential))
        .map_err(|source| Error::Lost { worker_id, source })?;
    Ok(serde_json::json!({ "worker_id": registered.worker_id, "status": registered.status }))
}

fn modes(arguments: &Arguments) -> Result<BTreeSet<Mode>, Error> {
    let mut modes: BTreeSet<Mode> = arguments.modes.iter().copied().collect();
    if modes.contains(&Mode::Bare) && !arguments.allow_bare {
        return Err(Error::Bare);
    }
    if modes.is_empty() {
        modes.extend([Mode::Sandboxed, Mode::Identity, Mode::Full]);
        modes.extend(arguments.allow_bare.then_some(Mode::Bare));
    }
    Ok(modes)
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as `KEY=VALUE`")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn mode(text: &str) -> Result<Mode, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "use `bare`, `sandboxed`, `identity` or `full`".to_owned())
}
