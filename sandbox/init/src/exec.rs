//! The first process of a pull worker's sandbox.
//!
//! Talks to the worker over the [channel](sealfleet_channel):
//!
//! 1. Receives the step, with open descriptors of the files that identity backends read.
//! 2. Resolves the secrets that the step's access lists grant to its tool, by default none. A
//!    secret that they do not grant is neither looked up nor injected. They do not govern plain
//!    variables.
//! 3. Closes those descriptors, and tells the worker the versions, or why there are none.
//! 4. Waits for the worker's go, which comes once the start is on record. Anything else, or the
//!    worker's end: the command does not run.
//! 5. Runs the command, and tells the worker what it has left as its result, and how it ended.

use std::os::fd::RawFd;
use std::path::Path;
use std::time::Duration;

use sealfleet_channel::{
    Channel, ChannelError, Descriptors, ResolvedSecret, SecretRequest, Socket, Step, ToHost, ToInit,
};
use sealfleet_domain::acl::sees;
use sealfleet_identity::{IdentityError, Registry, SecretValue};

use crate::supervise::{self, Stops, Task};
use crate::{Failure, descriptors, result};

/// Where the sandbox has its home: `sealfleet-bubblewrap` makes it.
const HOME: &str = "/workspace/home";
/// Its working directory.
const WORKSPACE: &str = "/workspace";

#[derive(Debug, Clone, clap::Args)]
pub struct ExecArguments {
    /// Number of the inherited descriptor that is the channel to the worker
    #[arg(long)]
    channel_fd: RawFd,
}

/// Runs one step and answers the exit code for this process.
pub async fn run(arguments: &ExecArguments, backends: &Registry) -> i32 {
    let started = async {
        let descriptor = descriptors::take(arguments.channel_fd)?;
        let mut channel = Socket::inherited(descriptor)
            .map_err(|error| format!("the channel cannot be used: {error}"))?;
        // From here on SIGTERM is noticed.
        let mut stops =
            Stops::listen().map_err(|error| format!("signals cannot be watched: {error}"))?;
        let task = tokio::select! {
            task = prepare(&mut channel, backends) => task?,
            signal = stops.next() => return Err(Failure::Stopped(128 + signal.as_raw())),
        };
        Ok((channel, stops, task))
    };
    match started.await {
        Ok((mut channel, mut stops, task)) => {
            let end = supervise::run(task, &mut stops).await;
            let exit_code = end.exit_code();
            let supervise::End::Command(end) = end else {
                return exit_code;
            };
            if let Some(result) = result::of(Path::new(WORKSPACE)) {
                let told = ToHost::Result(result);
                if let Err(error) = channel.send(&told, Descriptors::new()).await {
                    eprintln!("sealfleet-init: the worker was not told the result: {error}");
                }
            }
            let ended = ToHost::Ended(end);
            if let Err(error) = channel.send(&ended, Descriptors::new()).await {
                eprintln!("sealfleet-init: the worker was not told the command's end: {error}");
            }
            exit_code
        }
        Err(failure) => failure.exit_code(),
    }
}

/// Everything before the command. Returns once the worker lets it go.
async fn prepare(
    channel: &mut impl Channel<ToHost, ToInit>,
    backends: &Registry,
) -> Result<Task, String> {
    let untold = |error: ChannelError| format!("the worker was not told: {error}");
    let resolution = match receive_step(channel).await {
        Ok((step, descriptors)) => resolve(step, descriptors, backends).await,
        Err(error) => Err(error),
    };
    let (task, resolved) = match resolution {
        Ok(resolution) => resolution,
        Err(error) => {
            let told = ToHost::Error {
                code: error.code.to_owned(),
                message: error.message,
            };
            channel
                .send(&told, Descriptors::new())
                .await
                .map_err(untold)?;
            return Err("the step cannot start; the worker was told why".to_owned());
        }
    };
    channel
        .send(&ToHost::Resolved(resolved), Descriptors::new())
        .await
        .map_err(untold)?;
    match channel.receive().await {
        Ok((ToInit::Go, _)) => Ok(task),
        Ok((ToInit::Step(_), _)) => {
            Err("the worker did not let the command go: it sent another step".to_owned())
        }
        Err(error) => Err(format!("the worker did not let the command go: {error}")),
    }
}

async fn receive_step(
    channel: &mut impl Channel<ToHost, ToInit>,
) -> Result<(Step, Descriptors), IdentityError> {
    match channel.receive().await {
        Ok((ToInit::Step(step), descriptors)) => {
            check(&step)?;
            Ok((step, descriptors))
        }
        Ok((ToInit::Go, _)) => Err(bad_step("the go came before the step".to_owned())),
        Err(error) => Err(bad_step(format!("the step cannot be received: {error}"))),
    }
}

fn bad_step(message: String) -> IdentityError {
    IdentityError {
        code: "bad_step",
        message,
    }
}

fn check(step: &Step) -> Result<(), IdentityError> {
    if step.command.first().is_none_or(String::is_empty)
        || step.command.iter().any(|part| part.contains('\0'))
    {
        return Err(bad_step(
            "the step's command is empty or contains a NUL character".to_owned(),
        ));
    }
    let secrets = step.secrets.iter().map(|secret| &secret.name);
    if let Some(name) = step
        .env
        .keys()
        .chain(secrets)
        .find(|name| name.is_empty() || name.contains(['=', '\0']))
    {
        return Err(bad_step(format!(
            "`{}` cannot be the name of an environment variable",
            name.escape_debug()
        )));
    }
    match step.env.iter().find(|(_, value)| value.contains('\0')) {
        Some((name, _)) => Err(bad_step(format!(
            "the value of the environment variable `{name}` contains a NUL character"
        ))),
        None => Ok(()),
    }
}

/// The command with its environment, and the versions of its secrets. Descriptors and keys of the
/// backends are gone when this returns.
async fn resolve(
    step: Step,
    descriptors: Descriptors,
    backends: &Registry,
) -> Result<(Task, Vec<ResolvedSecret>), IdentityError> {
    let files = descriptors
        .into_iter()
        .map(|(name, descriptor)| (name, descriptor.into()));
    let deadline = Duration::from_millis(step.resolve_millis);
    let backends = backends.open(&step.project, files, deadline);
    let mut environment = supervise::base_environment(HOME);
    environment.extend(
        step.env
            .into_iter()
            .map(|(name, value)| supervise::plain(name, value)),
    );
    let mut versions = Vec::with_capacity(step.secrets.len());
    for secret in step.secrets {
        if !sees(step.tools.as_ref(), step.tool.as_ref(), &secret.name) {
            continue;
        }
        let resolved = backends
            .resolve(&secret.uri, secret.version.as_deref())
            .await?;
        check_value(&secret, &resolved.value)?;
        environment.push((secret.name.clone(), resolved.value));
        versions.push(ResolvedSecret {
            name: secret.name,
            uri: secret.uri,
            version: resolved.version,
        });
    }
    let task = Task {
        command: step.command,
        environment,
        time_limit: None,
    };
    Ok((task, versions))
}

fn check_value(secret: &SecretRequest, value: &SecretValue) -> Result<(), IdentityError> {
    if !value.expose().contains(&0) {
        return Ok(());
    }
    Err(IdentityError {
        code: "unusable_value",
        message: format!(
            "the value of `{}` contains a NUL byte, so it cannot be the environment variable `{}`",
            secret.uri, secret.name
        ),
    })
}
