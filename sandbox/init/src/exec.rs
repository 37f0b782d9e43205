//! The first process of a pull worker's sandbox.
//!
//! Talks to the worker over the [channel](sealfleet_channel):
//!
//! 1. Receives what goes into the workspace, and the step, with open descriptors of the files that
//!    identity backends read. Gets the step's identity tokens.
//! 2. Asks for a way to identity backends on the network, if its secrets are kept there. It is gone
//!    before anything of the command is there.
//! 3. Resolves the secrets that the step's access lists grant to its tool, by default none. A
//!    secret that they do not grant is neither looked up nor injected. They do not govern plain
//!    variables.
//!    What a store lends to the step is taken back at its end, by the proxy that led there: this
//!    process keeps no login.
//! 4. Closes those descriptors, and tells the worker the versions, or why there are none.
//!    A secret that is delivered at egress is none of this process's: it makes a placeholder, and
//!    the init of the step's egress proxy resolves the secret.
//! 5. Waits for the worker's go, which comes once the start is on record. Anything else, or the
//!    worker's end: the command does not run.
//! 6. Runs the command, redacts what it prints, and tells the worker what it has left as its
//!    result and its artifacts, and how it ended. If the worker closes the channel before, or dies,
//!    everything that runs here is killed: nobody renews the step's lease then.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use sealfleet_channel::{
    Channel, ChannelError, CheckOrder, Descriptors, Egress, EgressOrder, ResolvedSecret,
    SecretRequest, Socket, Step, ToHost, ToInit,
};
use sealfleet_domain::acl::sees;
use sealfleet_domain::artifact::Artifact;
use sealfleet_domain::command::Word;
use sealfleet_domain::redaction;
use sealfleet_identity::{Backends, Given, IdentityError, Registry, Resolved, SecretValue};
use sealfleet_redaction::Redactor;
use tokio::sync::Mutex;

use crate::agent::{self, Watched};
use crate::egress::{self, Keeper, Peer, Proxying, WayOut};
use crate::inputs::Workspace;
use crate::output::{self, Injected};
use crate::supervise::{self, Stops, Tap, Task};
use crate::tokens::{self, Host, Tokens};
use crate::{Failure, WORKSPACE, artifacts, descriptors, files, result, trial};

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
            Role::Trial => return Err(Failure::Stopped(0)),
            Role::Proxy(proxy) => {
                let code = proxy.run(backends, channel, &mut stops).await;
                return Err(Failure::Stopped(code));
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
                mut peer,
                tokens,
                keeper,
            } = *work;
            let redactor = task.redactor.clone();
            let running = supervise::run(task, &mut stops);
            // Both of those who speak meanwhile wait for each other.
            let shared = Mutex::new(&mut channel);
            let running = async {
                match tokens {
                    Some(tokens) => tokens.while_runs(&mut Host(&shared), running).await,
                    None => running.await,
                }
            };
            let ran = match &mut peer {
                Some(peer) => peer.tell_while(&shared, running).await,
                None => running.await,
            };
            let (end, mut redactions) = (ran.end, ran.redactions);
            // Nothing of the command is there any more.
            drop(keeper);
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
            let egress = match &mut peer {
                Some(peer) => peer.seen().await,
                None => Egress::default(),
            };
            let ended = ToHost::Ended {
                end,
                redactions,
                egress,
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
    Step(Box<Work>),
    /// Everything is told.
    Trial,
    Proxy(Box<Proxying>),
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
            let shared = Mutex::new(&mut *channel);
            match Tokens::begin(&step.audiences, &mut Host(&shared)).await {
                Ok(tokens) => {
                    resolve(*step, workspace, descriptors, backends, tokens, channel).await
                }
                Err(message) => Err(IdentityError {
                    code: "no_identity_token",
                    message,
                }),
            }
        }
        Ok(Received::Check(order, descriptors)) => {
            let checked = ToHost::Checked(trial::run(*order, descriptors, backends).await);
            let told = channel.send(&checked, Descriptors::new()).await;
            return told.map(|()| Role::Trial).map_err(untold);
        }
        Ok(Received::Egress(order, descriptors)) => {
            match Proxying::of(*order, descriptors, backends, channel).await {
                Ok((proxy, resolved)) => {
                    let ready = ToHost::Proxying(resolved);
                    let told = channel.send(&ready, Descriptors::new()).await;
                    told.map_err(untold)?;
                    return Ok(Role::Proxy(Box::new(proxy)));
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    let (mut work, resolved, for_proxy) = match resolution {
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
        .send(&ToHost::Resolved(resolved), for_proxy)
        .await
        .map_err(untold)?;
    match channel.receive().await {
        Ok((ToInit::Go, _)) => {
            if let Some(peer) = &mut work.peer {
                work.task.environment.splice(0..0, peer.trusted().await?);
            }
            Ok(Role::Step(Box::new(work)))
        }
        Ok(_) => Err("the worker did not let the command go: it sent something else".to_owned()),
        Err(error) => Err(format!("the worker did not let the command go: {error}")),
    }
}

/// What this sandbox is told to be.
enum Received {
    Step(Box<Step>, Descriptors),
    Check(Box<CheckOrder>, Descriptors),
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
            (ToInit::Check(order), descriptors) => {
                return Ok(Received::Check(order, descriptors));
            }
            (ToInit::Egress(order), descriptors) => {
                return Ok(Received::Egress(order, descriptors));
            }
            (
                ToInit::Go
                | ToInit::Taken
                | ToInit::Withdraw(_)
                | ToInit::Token { .. }
                | ToInit::NoToken(_),
                _,
            ) => {
                return Err(bad_step("the go came before the step".to_owned()));
            }
        }
    }
}

pub(crate) fn bad_step(message: String) -> IdentityError {
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
    let placeholders = step.placeholders.iter().map(|secret| &secret.name);
    if !step.placeholders.is_empty() && !step.egress {
        let none = "secrets are delivered at egress, and the step has no egress proxy";
        return Err(bad_step(none.to_owned()));
    }
    if let Some(name) = step
        .env
        .keys()
        .chain(secrets)
        .chain(placeholders)
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
    watched: Option<Arc<StdMutex<Watched>>>,
    /// What it is to leave behind.
    artifacts: Vec<Artifact>,
    /// Its egress proxy, if it has one.
    peer: Option<Peer>,
    /// By which it proves itself to others.
    tokens: Option<Tokens>,
    /// Of what is lent to it.
    keeper: Option<Keeper>,
}

/// The command with its environment, the versions of its secrets, and what its egress proxy gets if
/// it has one. Descriptors and keys of the backends are gone when this returns.
async fn resolve(
    step: Step,
    workspace: Workspace,
    descriptors: Descriptors,
    backends: &Registry,
    mut tokens: Option<Tokens>,
    host: &mut impl Channel<ToHost, ToInit>,
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
    let files = descriptors.into_iter();
    let files = files.map(|(name, descriptor)| (name, descriptor.into()));
    let of_backends = step.backends;
    let logins = tokens::logins(&of_backends.audiences, host).await?;
    let way_out = match of_backends.network {
        true => Some(WayOut::open(host).await.map_err(bad_step)?),
        false => None,
    };
    let given = Given {
        project: step.project,
        files: files.collect(),
        settings: of_backends.settings,
        tokens: logins,
        proxy: way_out.as_ref().map(|way_out| way_out.address),
        lasts: Duration::from_secs(step.lasts_seconds),
    };
    let backends = backends.open(given, Duration::from_millis(step.resolve_millis));
    let granted = |name: &str| sees(step.tools.as_ref(), step.tool.as_ref(), name);
    let asked = step.secrets.into_iter();
    let asked: Vec<_> = asked.filter(|secret| granted(&secret.name)).collect();
    let in_files: BTreeSet<String> = asked
        .iter()
        .filter(|secret| secret.file)
        .map(|secret| secret.name.clone())
        .collect();
    let resolved = values_of(asked, &backends).await;
    let held = backends.close().await;
    let keeper = match way_out {
        Some(way_out) => way_out.end(held).await,
        None => Ok(None),
    };
    let (mut secrets, versions) = resolved?;
    let keeper = keeper.map_err(bad_step)?;
    let placeholders = step.placeholders.into_iter();
    let placeholders = placeholders.filter(|secret| granted(&secret.name));
    let placeholders: Vec<Injected> = placeholders.map(egress::placeholder).collect();
    let begin = placeholders_by_name(&placeholders);
    secrets.extend(placeholders);
    let redactor = redactor_of(&secrets)?;
    if let Some(tokens) = &mut tokens {
        tokens.redacted_by(&redactor).map_err(bad_step)?;
    }
    let of_cli = agent.as_ref().map(|agent| agent.environment);
    let of_cli = of_cli.unwrap_or_default().iter();
    let of_tokens = tokens.as_ref().map(|tokens| tokens.variables(&step.env));
    let plain = step.env.into_iter();
    let mut environment = supervise::base_environment(HOME, step.tty);
    let (mut for_proxy, mut peer) = (Descriptors::new(), None);
    if step.egress {
        let opened = Peer::open(&secrets, &redactor, begin).await;
        let (opened, given) = opened.map_err(bad_step)?;
        (for_proxy, peer) = (given, Some(opened));
        let variables = egress::variables().into_iter();
        environment.extend(variables.map(|(name, value)| supervise::plain(name, value)));
    }
    environment.extend(of_cli.map(|(name, value)| supervise::plain(*name, *value)));
    environment.extend(of_tokens.into_iter().flatten());
    environment.extend(plain.map(|(name, value)| supervise::plain(name, value)));
    for secret in secrets {
        let value = match in_files.contains(&secret.name) {
            true => files::keep(&secret.name, &secret.value).map_err(bad_step)?,
            false => secret.value,
        };
        environment.push((secret.name, value));
    }
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
        mediation: None,
    };
    let work = Work {
        task,
        watched,
        artifacts: step.artifacts,
        peer,
        tokens,
        keeper,
    };
    Ok((work, versions, for_proxy))
}

fn redactor_of(secrets: &[Injected]) -> Result<Redactor, IdentityError> {
    output::redactor(secrets).map_err(|message| IdentityError {
        code: "unredactable_value",
        message,
    })
}

/// The values of these secrets, and their versions.
///
/// # Errors
/// The first secret that has none, without values of those before it.
pub(crate) async fn values_of(
    asked: Vec<SecretRequest>,
    backends: &Backends,
) -> Result<(Vec<Injected>, Vec<ResolvedSecret>), IdentityError> {
    let mut secrets = Vec::with_capacity(asked.len());
    let mut versions = Vec::with_capacity(asked.len());
    for secret in asked {
        let resolved = value_of(&secret, backends).await.map_err(|error| {
            let message = output::without_values(&error.message, &secrets);
            IdentityError { message, ..error }
        })?;
        secrets.push(Injected {
            name: secret.name.clone(),
            reference: Some(secret.uri.clone()),
            value: resolved.value,
            redact: secret.redact,
        });
        versions.push(ResolvedSecret {
            name: secret.name,
            uri: secret.uri,
            version: resolved.version,
            request_id: resolved.request_id,
            leased: resolved.leased,
        });
    }
    Ok((secrets, versions))
}

pub(crate) fn placeholders_by_name(placeholders: &[Injected]) -> BTreeMap<String, String> {
    let text = |one: &Injected| String::from_utf8_lossy(one.value.expose()).into_owned();
    let all = placeholders.iter();
    all.map(|one| (one.name.clone(), text(one))).collect()
}

async fn value_of(secret: &SecretRequest, backends: &Backends) -> Result<Resolved, IdentityError> {
    let resolved = backends
        .resolve(&secret.uri, secret.version.as_deref())
        .await?;
    check_value(secret, &resolved.value)?;
    Ok(resolved)
}

fn check_value(secret: &SecretRequest, value: &SecretValue) -> Result<(), IdentityError> {
    if secret.file || !value.expose().contains(&0) {
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
