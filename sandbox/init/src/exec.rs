//! The first process of a pull worker's sandbox.
//!
//! Talks to the worker over the [channel](sealfleet_channel):
//!
//! 1. Receives what goes into the workspace, and the step, with open descriptors of the files that
//!    identity backends read.
//! 2. Resolves the secrets that the step's access lists grant to its tool, by default none. A
//!    secret that they do not grant is neither looked up nor injected. They do not govern plain
//!    variables.
//! 3. Closes those descriptors, and tells the worker the versions, or why there are none.
//! 4. Waits for the worker's go, which comes once the start is on record. Anything else, or the
//!    worker's end: the command does not run.
//! 5. Runs the command, redacts what it prints, and tells the worker what it has left as its
//!    result and its artifacts, and how it ended. If the worker closes the channel before, or dies,
//!    everything that runs here is killed: nobody renews the step's lease then.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealfleet_channel::{
    Channel, ChannelError, Descriptors, EgressOrder, ResolvedSecret, SecretRequest, Socket, Step,
    ToHost, ToInit,
};
use sealfleet_domain::acl::sees;
use sealfleet_domain::artifact::Artifact;
use sealfleet_domain::command::Word;
use sealfleet_domain::egress::Denials;
use sealfleet_domain::redaction;
use sealfleet_identity::{Backends, IdentityError, Registry, SecretValue};
use sealfleet_redaction::Redactor;

use crate::agent::{self, Watched};
use crate::egress::{self, Hosts, Proxying};
use crate::inputs::Workspace;
use crate::output::{self, Injected};
use crate::supervise::{self, Stops, Tap, Task};
use crate::{Failure, WORKSPACE, artifacts, descriptors, result};

/// Where the sandbox has its home.
const HOME: &str = "/workspace/home";

#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct ExecArguments {
    /// Number of the inherited descriptor that is the channel to the worker
    #[arg(long, value_name = "NUMBER")]
    channel_fd: Option<RawFd>,
    /// Unix socket at which the worker waits for this program to connect
    #[arg(long, value_name = "PATH")]
    channel: Option<PathBuf>,
}

/// Runs one step and answers the exit code for this process.
pub async fn run(arguments: &ExecArguments, backends: &Registry) -> i32 {
    let started = async {
        let mut channel = open(arguments).await?;
        // From here on SIGTERM is noticed.
        let mut stops =
            Stops::listen().map_err(|error| format!("signals cannot be watched: {error}"))?;
        let role = tokio::select! {
            role = prepare(&mut channel, backends) => role?,
            signal = stops.next() => return Err(Failure::Stopped(128 + signal.as_raw())),
        };
        let work = match role {
            Role::Step(work) => work,
            Role::Proxy(proxy) => {
                return Err(Failure::Stopped(proxy.run(channel, &mut stops).await));
            }
        };
        let closed = channel
            .closed()
            .map_err(|error| format!("the channel cannot be watched: {error}"))?;
        stops.kill_after(closed);
        Ok((channel, stops, work))
    };
    match started.await {
        Ok((mut channel, mut stops, work)) => {
            let Work {
                task,
                watched,
                artifacts,
                hosts,
            } = work;
            let redactor = task.redactor.clone();
            let (end, mut redactions) = supervise::run(task, &mut stops).await;
            if let Some(watched) = watched {
                let told = ToHost::Agent(agent::end(&watched, Path::new(WORKSPACE)));
                if let Err(error) = channel.send(&told, Descriptors::new()).await {
                    eprintln!("sealfleet-init: the worker was not told of the agent: {error}");
                }
            }
            let exit_code = end.exit_code();
            let supervise::End::Command(end) = end else {
                return exit_code;
            };
            if let Some((result, redacted)) = result::of(Path::new(WORKSPACE), &redactor) {
                redactions.extend(redacted);
                let told = ToHost::Result(result);
                if let Err(error) = channel.send(&told, Descriptors::new()).await {
                    eprintln!("sealfleet-init: the worker was not told the result: {error}");
                }
            }
            let workspace = Path::new(WORKSPACE);
            match artifacts::hand_over(&mut channel, workspace, &artifacts, &redactor).await {
                Ok(redacted) => redactions.extend(redacted),
                Err(error) => eprintln!("sealfleet-init: {error}"),
            }
            let redactions = redaction::reported(redactions);
            let denied = match hosts {
                Some(hosts) => hosts.denied(&mut channel).await,
                None => Denials::default(),
            };
            let ended = ToHost::Ended {
                end,
                redactions,
                denied,
            };
            if let Err(error) = channel.send(&ended, Descriptors::new()).await {
                eprintln!("sealfleet-init: the worker was not told the command's end: {error}");
            }
            exit_code
        }
        Err(failure) => failure.exit_code(),
    }
}

async fn open(arguments: &ExecArguments) -> Result<Socket<ToHost, ToInit>, String> {
    let opened = match (arguments.channel_fd, &arguments.channel) {
        (Some(number), _) => Socket::inherited(descriptors::take(number)?),
        (None, Some(path)) => Socket::connect(path).await,
        (None, None) => return Err("name the channel to the worker".to_owned()),
    };
    opened.map_err(|error| format!("the channel cannot be used: {error}"))
}

/// What this sandbox is for.
enum Role {
    Step(Work),
    Proxy(Proxying),
}

/// Everything before the command. Returns once the worker lets it go.
async fn prepare(
    channel: &mut impl Channel<ToHost, ToInit>,
    backends: &Registry,
) -> Result<Role, String> {
    let untold = |error: ChannelError| format!("the worker was not told: {error}");
    let mut workspace = Workspace::new(Path::new(WORKSPACE));
    let resolution = match receive_step(channel, &mut workspace).await {
        Ok(Received::Step(step, descriptors)) => {
            resolve(*step, workspace, descriptors, backends).await
        }
        Ok(Received::Egress(order, descriptors)) => {
            let proxy = Proxying::of(*order, descriptors)?;
            let told = channel.send(&ToHost::Proxying, Descriptors::new()).await;
            told.map_err(untold)?;
            return Ok(Role::Proxy(proxy));
        }
        Err(error) => Err(error),
    };
    let (work, resolved, listener) = match resolution {
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
        .send(&ToHost::Resolved(resolved), listener)
        .await
        .map_err(untold)?;
    match channel.receive().await {
        Ok((ToInit::Go, _)) => Ok(Role::Step(work)),
        Ok(_) => Err("the worker did not let the command go: it sent something else".to_owned()),
        Err(error) => Err(format!("the worker did not let the command go: {error}")),
    }
}

/// What this sandbox is told to be.
enum Received {
    Step(Box<Step>, Descriptors),
    Egress(Box<EgressOrder>, Descriptors),
}

/// The step, once all that comes before it is in the workspace.
async fn receive_step(
    channel: &mut impl Channel<ToHost, ToInit>,
    workspace: &mut Workspace,
) -> Result<Received, IdentityError> {
    let lost = |error| bad_step(format!("the step cannot be received: {error}"));
    loop {
        match channel.receive().await.map_err(lost)? {
            (ToInit::Inputs(places), descriptors) => {
                workspace.take_all(&places, descriptors).map_err(bad_step)?;
                let placed = channel.send(&ToHost::Placed, Descriptors::new()).await;
                placed.map_err(lost)?;
            }
            (ToInit::Step(step), descriptors) => {
                check(&step)?;
                return Ok(Received::Step(step, descriptors));
            }
            (ToInit::Egress(order), descriptors) => {
                return Ok(Received::Egress(order, descriptors));
            }
            (ToInit::Go | ToInit::Taken | ToInit::Denied(_), _) => {
                return Err(bad_step("the go came before the step".to_owned()));
            }
        }
    }
}

fn bad_step(message: String) -> IdentityError {
    IdentityError {
        code: "bad_step",
        message,
    }
}

fn check(step: &Step) -> Result<(), IdentityError> {
    if step.agent.is_some() {
        if !step.command.is_empty() {
            let both = "the step has both a command and an agent";
            return Err(bad_step(both.to_owned()));
        }
    } else if step
        .command
        .first()
        .and_then(Word::text)
        .is_none_or(str::is_empty)
        || step
            .command
            .iter()
            .filter_map(Word::text)
            .any(|part| part.contains('\0'))
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

/// What to run.
struct Work {
    task: Task,
    /// The agent to read along, if it is one.
    watched: Option<Arc<Mutex<Watched>>>,
    /// What it is to leave behind.
    artifacts: Vec<Artifact>,
    /// Redacts the hosts that it was kept from, if it has an egress proxy.
    hosts: Option<Hosts>,
}

/// The command with its environment, the versions of its secrets, and the listener for its egress
/// proxy if it has one. Descriptors and keys of the
/// backends are gone when this returns.
async fn resolve(
    step: Step,
    workspace: Workspace,
    descriptors: Descriptors,
    backends: &Registry,
) -> Result<(Work, Vec<ResolvedSecret>, Descriptors), IdentityError> {
    std::fs::create_dir_all(HOME)
        .map_err(|error| bad_step(format!("`{HOME}` cannot be made: {error}")))?;
    // First: an agent may read its prompt from one of the files.
    let stdin = workspace.complete(&step.inputs).map_err(bad_step)?;
    let words =
        sealfleet_workspace::words(Path::new(WORKSPACE), &step.command).map_err(bad_step)?;
    let variable = |name: &str| step.env.get(name).cloned();
    let agent = step.agent.as_deref();
    let agent = agent.map(|agent| agent::prepare(agent, HOME, Path::new(WORKSPACE), &variable));
    let agent = agent.transpose().map_err(bad_step)?;
    let files = descriptors
        .into_iter()
        .map(|(name, descriptor)| (name, descriptor.into()));
    let deadline = Duration::from_millis(step.resolve_millis);
    let backends = backends.open(&step.project, files, deadline);
    let mut secrets = Vec::with_capacity(step.secrets.len());
    let mut versions = Vec::with_capacity(step.secrets.len());
    for secret in step.secrets {
        if !sees(step.tools.as_ref(), step.tool.as_ref(), &secret.name) {
            continue;
        }
        let (value, version) = value_of(&secret, &backends).await.map_err(|error| {
            let message = output::without_values(&error.message, &secrets);
            IdentityError { message, ..error }
        })?;
        secrets.push(Injected {
            name: secret.name.clone(),
            reference: Some(secret.uri.clone()),
            value,
            redact: secret.redact,
        });
        versions.push(ResolvedSecret {
            name: secret.name,
            uri: secret.uri,
            version,
        });
    }
    let redactor = redactor_of(&secrets)?;
    let of_cli = agent.as_ref().map(|agent| agent.environment);
    let of_cli = of_cli.unwrap_or_default().iter();
    let plain = step.env.into_iter();
    let mut environment = supervise::base_environment(HOME, step.tty);
    let (mut listener, mut hosts) = (Descriptors::new(), None);
    if step.egress {
        hosts = Some(Hosts::of(&secrets, &redactor).map_err(bad_step)?);
        listener = egress::listen().map_err(bad_step)?;
        let variables = egress::variables().into_iter();
        environment.extend(variables.map(|(name, value)| supervise::plain(name, value)));
    }
    environment.extend(of_cli.map(|(name, value)| supervise::plain(*name, *value)));
    environment.extend(plain.map(|(name, value)| supervise::plain(name, value)));
    environment.extend(
        secrets
            .into_iter()
            .map(|secret| (secret.name, secret.value)),
    );
    let (command, stdin, watched) = agent::started(agent, words, stdin);
    let task = Task {
        command,
        environment,
        time_limit: None,
        stdin,
        tty: step.tty,
        tap: watched.clone().map(|watched| watched as Tap),
        copy: None,
        redactor,
    };
    let work = Work {
        task,
        watched,
        artifacts: step.artifacts,
        hosts,
    };
    Ok((work, versions, listener))
}

fn redactor_of(secrets: &[Injected]) -> Result<Redactor, IdentityError> {
    output::redactor(secrets).map_err(|message| IdentityError {
        code: "unredactable_value",
        message,
    })
}

async fn value_of(
    secret: &SecretRequest,
    backends: &Backends,
) -> Result<(SecretValue, String), IdentityError> {
    let resolved = backends
        .resolve(&secret.uri, secret.version.as_deref())
        .await?;
    check_value(secret, &resolved.value)?;
    Ok((resolved.value, resolved.version))
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
