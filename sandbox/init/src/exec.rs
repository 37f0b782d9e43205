//! The first process of a pull worker's sandbox.
//!
//! ```text
//! worker --step-fd-->   {"project":"..","command":[..],"env":{..},"secrets":[{"name":"..","uri":"builtin://..","version":null}],
//!                        "tool":"..","tools":{"..":["..","*"]}}
//! worker <--status-fd-- {"resolved":[{"name":"..","uri":"..","version":".."}]}   or   {"error":{"code":"..","message":".."}}
//! worker --go-fd-->     g            anything else, or nothing: the command is not run
//! ```
//!
//! Where the step has access lists (`tools`), they are enforced here, default deny: a secret that
//! they do not grant to the step's `tool` is neither fetched nor injected, whoever named it. Plain
//! variables are not theirs to govern.
//!
//! The worker reports the versions and has the start recorded between the last two lines, so no
//! command starts without its record. The store and its key come as open descriptors: the sandbox
//! has no path to either, and they are closed before the command exists.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::RawFd;

use sealfleet_domain::ToolName;
use sealfleet_domain::acl::{Acl, sees};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::identity::builtin::Builtin;
use crate::identity::{Backends, IdentityError};
use crate::store::{self, Opened};
use crate::supervise::{self, Stops, Task};
use crate::{NOT_RUN, SecretValue, descriptors};

/// The largest step description, in bytes.
const MAX_STEP: u64 = 1024 * 1024;

/// Descriptor numbers, as the worker passed them.
#[derive(Debug, Clone, clap::Args)]
pub struct ExecArguments {
    /// Where the step is read from, to its end
    #[arg(long)]
    pub step_fd: RawFd,
    /// Where one JSON line about the secrets is written to
    #[arg(long)]
    pub status_fd: RawFd,
    /// Where one byte `g` must arrive before the command is run
    #[arg(long)]
    pub go_fd: RawFd,
    /// The encrypted store, open for reading
    #[arg(long, requires = "builtin_key_fd")]
    pub builtin_store_fd: Option<RawFd>,
    /// Its key file, open for reading
    #[arg(long, requires = "builtin_store_fd")]
    pub builtin_key_fd: Option<RawFd>,
}

/// What the worker wants run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    project: String,
    command: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    secrets: Vec<Wanted>,
    /// The tool that the command is.
    tool: Option<ToolName>,
    /// What tools see. Absent: nothing is withheld.
    tools: Option<Acl>,
}

/// A secret and the environment variable it goes to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    uri: String,
    version: Option<String>,
}

/// The one line for the worker. By its types it cannot hold a value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Resolved(Vec<Found>),
    Error { code: &'static str, message: String },
}

#[derive(Debug, Serialize)]
struct Found {
    name: String,
    uri: String,
    version: String,
}

/// Runs the step and answers the exit code for this process.
pub async fn run(arguments: ExecArguments) -> i32 {
    match prepare(&arguments).await {
        Ok((task, mut stops)) => supervise::run(task, &mut stops).await,
        Err(message) => {
            eprintln!("sealfleet-init: {message}");
            NOT_RUN
        }
    }
}

async fn prepare(arguments: &ExecArguments) -> Result<(Task, Stops), String> {
    let take = |number| descriptors::take(number).map_err(|error| error.to_string());
    let (step, status, go) = (
        take(arguments.step_fd)?,
        take(arguments.status_fd)?,
        take(arguments.go_fd)?,
    );
    let store = match (arguments.builtin_store_fd, arguments.builtin_key_fd) {
        (Some(store), Some(key)) => Some((take(store)?, take(key)?)),
        _ => None,
    };
    // From here on SIGTERM is noticed; one that arrives before the command runs ends this process
    // below.
    let mut stops =
        Stops::listen().map_err(|error| format!("signals cannot be watched: {error}"))?;
    let waiting = tokio::task::spawn_blocking(move || {
        let (task, line) = match resolve(step, store) {
            Ok((task, found)) => (Some(task), Status::Resolved(found)),
            Err(error) => (
                None,
                Status::Error {
                    code: error.code,
                    message: error.message,
                },
            ),
        };
        tell(status, &line)?;
        let task = task.ok_or_else(|| {
            "the secrets could not be resolved, the worker was told why".to_owned()
        })?;
        await_go(go)?;
        Ok(task)
    });
    tokio::select! {
        task = waiting => Ok((task.map_err(|error| error.to_string()).flatten()?, stops)),
        // A thread that blocks in `read` cannot be told to stop; nothing was run, so the process
        // ends with it.
        signal = stops.next() => std::process::exit(128 + signal.as_raw()),
    }
}

fn resolve(step: File, store: Option<(File, File)>) -> Result<(Task, Vec<Found>), IdentityError> {
    let bad_step = |message: String| IdentityError {
        code: "bad_step",
        message,
    };
    let mut text = String::new();
    let read = step.take(MAX_STEP + 1).read_to_string(&mut text);
    read.map_err(|error| bad_step(format!("the step cannot be read: {error}")))?;
    if text.len() as u64 > MAX_STEP {
        return Err(bad_step(format!(
            "the step is larger than {MAX_STEP} bytes"
        )));
    }
    let mut step: Step = serde_json::from_str(&text)
        .map_err(|error| bad_step(format!("the step is not understood: {error}")))?;
    if step.command.first().is_none_or(String::is_empty)
        || step.command.iter().any(|part| part.contains('\0'))
    {
        return Err(bad_step(
            "the step's command is empty or contains a NUL character".into(),
        ));
    }
    for name in step
        .env
        .keys()
        .chain(step.secrets.iter().map(|wanted| &wanted.name))
    {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(bad_step(format!(
                "`{}` cannot be the name of an environment variable",
                name.escape_debug()
            )));
        }
    }
    if let Some(name) = step
        .env
        .iter()
        .find_map(|(name, value)| value.contains('\0').then_some(name))
    {
        return Err(bad_step(format!(
            "the value of the environment variable `{name}` contains a NUL character"
        )));
    }

    let (tool, tools) = (step.tool.as_ref(), step.tools.as_ref());
    step.secrets
        .retain(|wanted| sees(tools, tool, &wanted.name));
    let opened = match store {
        Some((store, key))
            if step
                .secrets
                .iter()
                .any(|wanted| wanted.uri.starts_with("builtin://")) =>
        {
            Some(open_store(store, key, &step.project)?)
        }
        _ => None,
    };
    let backends = Backends::new(vec![Box::new(Builtin(opened))]);
    let mut environment = supervise::base_environment();
    environment.extend(
        step.env
            .into_iter()
            .map(|(name, value)| supervise::plain(name, value)),
    );
    let mut found = Vec::with_capacity(step.secrets.len());
    for wanted in step.secrets {
        let resolved = backends.resolve(&wanted.uri, wanted.version.as_deref())?;
        usable(&wanted, &resolved.value)?;
        found.push(Found {
            name: wanted.name.clone(),
            uri: wanted.uri,
            version: resolved.version,
        });
        environment.push((wanted.name, resolved.value));
    }
    Ok((
        Task {
            command: step.command,
            environment,
            time_limit: None,
        },
        found,
    ))
}

fn open_store(store: File, key: File, project: &str) -> Result<Opened, IdentityError> {
    let unreadable = |error: std::io::Error| IdentityError {
        code: "no_store",
        message: format!("the builtin store or its key cannot be read: {error}"),
    };
    let (mut text, mut key_text) = (Vec::new(), Zeroizing::new(Vec::new()));
    store
        .take(store::MAX_FILE)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    key.take(store::MAX_KEY_FILE)
        .read_to_end(&mut key_text)
        .map_err(unreadable)?;
    Ok(Opened::open(&text, &key_text, Some(project))?)
}

fn usable(wanted: &Wanted, value: &SecretValue) -> Result<(), IdentityError> {
    if !value.expose().contains(&0) {
        return Ok(());
    }
    let message = format!(
        "the value of `{}` contains a NUL byte, so it cannot be the environment variable `{}`",
        wanted.uri, wanted.name
    );
    Err(IdentityError {
        code: "unusable_value",
        message,
    })
}

fn tell(mut worker: File, status: &Status) -> Result<(), String> {
    let mut line = serde_json::to_vec(status).map_err(|error| error.to_string())?;
    line.push(b'\n');
    worker
        .write_all(&line)
        .map_err(|error| format!("the worker could not be told: {error}"))
}

fn await_go(mut go: File) -> Result<(), String> {
    let mut byte = [0_u8];
    match go.read(&mut byte) {
        Ok(1) if byte == *b"g" => Ok(()),
        _ => Err("the worker did not let the command go".into()),
    }
}
