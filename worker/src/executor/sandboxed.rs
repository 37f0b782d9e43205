//! `sandboxed`, `identity`, `full`: a sandbox whose first process is `sealfleet-init`.
//!
//! The two talk over the [channel](sealfleet_channel). Some identity backends read files of this
//! host, such as an encrypted store and its key. This process opens them and passes the descriptors
//! on. It reads none of them: no secret's value, and nothing that could decrypt one, is ever in its
//! memory. It opens them anew for each step, so the next step sees a file that was renamed over the
//! old one. `docs/guides/builtin-backend.md` says in which order store and key change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_channel::{
    AgentEnd, Channel, ChannelError, CommandEnd, Descriptors, EGRESS_LISTENER, ResolvedSecret,
    SecretRequest, Step, StepResult, ToHost, ToInit, input_name,
};
use sealfleet_client::types::Claim;
use sealfleet_domain::acl::sees;
use sealfleet_domain::egress::Denials;
use sealfleet_domain::fleet::Sandboxes;
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::limits;
use sealfleet_domain::output::Stream;
use sealfleet_domain::redaction::Redaction;
use sealfleet_domain::run::Failure;
use sealfleet_sandbox_backend::{
    Exit, Limits, Note, Order, Owner, Process, Sandbox, SandboxBackend, StartError,
};
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::egress::{Idle, Lent, Proxy, Way};
use super::output::{Logs, StepLog};
use super::{
    Ended, Executor, LAST_WORDS, LeftBehind, Prepared, Running, cannot_start, noted, short,
};
use crate::inputs::{Batch, Inputs};
use sealfleet_outputs::artifacts::Collection;

/// How long `sealfleet-init` may take to resolve the secrets.
const RESOLVE_TIME: Duration = Duration::from_secs(60);
/// How long `sealfleet-init` may take to write a batch of files into the workspace.
const PLACE_TIME: Duration = Duration::from_secs(120);
/// How long `sealfleet-init` may take to answer beyond that.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How long after its time a sandbox may be there: it is stopped with a grace, and its output
/// stored.
const LIFETIME_MARGIN: Duration = Duration::from_secs(300);

/// Executes steps in sandboxes.
pub struct Sandboxed {
    /// The first one runs the steps that ask for none.
    pub backends: Vec<Arc<dyn SandboxBackend>>,
    /// This process, in whose name sandboxes are noted.
    pub worker: Process,
    /// Files for identity backends, by `SCHEME.FILE`. A sandbox gets those of the schemes that its
    /// granted secrets have.
    pub backend_files: BTreeMap<String, PathBuf>,
    /// What they may use of this host's network.
    pub network: Lent,
    /// Limits of one sandbox.
    pub limits: Limits,
    /// What steps work with.
    pub inputs: Inputs,
    pub logs: Logs,
}

const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

type HostChannel = dyn Channel<ToInit, ToHost>;

struct Waiting {
    command: Command,
    resolved: BTreeMap<String, String>,
}

/// A sandbox, its channel, and its output.
struct Command {
    sandbox: Box<dyn Sandbox>,
    /// The way out of it, if it has one.
    proxy: Option<Arc<Proxy>>,
    /// Others of this host find the sandbox by it.
    _note: Option<Note>,
    channel: Arc<Mutex<Box<HostChannel>>>,
    /// Listens to init while the command runs: a result may be larger than what the socket holds.
    told: Mutex<Option<JoinHandle<Told>>>,
    log: StepLog,
    /// What the step leaves, until init is listened to.
    artifacts: Mutex<Option<Collection>>,
    end: OnceCell<(Ended, Told)>,
}

#[async_trait]
impl Executor for Sandboxed {
    fn sandboxes(&self) -> Sandboxes {
        let backends = self.backends.iter();
        Sandboxes {
            backends: backends.clone().map(|one| one.name().to_owned()).collect(),
            images: backends.flat_map(|one| one.images()).collect(),
            egress: self.network.way != Way::None,
        }
    }

    async fn prepare(&self, claim: &Claim) -> Result<Box<dyn Prepared>, Failure> {
        let log = self
            .logs
            .open(claim)
            .map_err(|error| cannot_start(format!("cannot write its log: {error}")))?;
        let secrets: &[SecretRef] = if claim.mode.sees_identity() {
            &claim.secrets
        } else {
            &[]
        };
        let granted: Vec<&SecretRef> = secrets
            .iter()
            .filter(|secret| is_granted(claim, secret))
            .collect();
        let descriptors = self.open_files(&granted)?;
        let (network, policy) = self.network.to(claim.egress.as_ref())?;
        let order = Order {
            owner: owner(claim),
            image: claim.image.clone(),
            network,
            limits: self.limits,
            lifetime: lifetime(claim),
        };
        let backend = self.backend_for(claim)?;
        let idle = async {
            match &policy {
                Some(_) => Idle::start(&**backend, &self.worker, &order)
                    .await
                    .map(Some),
                None => Ok(None),
            }
        };
        let (started, idle) = tokio::join!(backend.start(order.clone()), idle);
        let started = started.map_err(|error| cannot_start(with_cause(&error)))?;
        let idle = idle?;
        log.follow(Stream::Stdout, Some(started.stdout));
        log.follow(Stream::Stderr, Some(started.stderr));
        let mut command = Command {
            proxy: None,
            _note: noted(&self.worker, &**backend, started.sandbox.id(), &order.owner),
            sandbox: started.sandbox,
            channel: Arc::new(Mutex::new(Box::new(started.channel))),
            told: Mutex::new(None),
            artifacts: Mutex::new(log.artifacts(claim)),
            log,
            end: OnceCell::new(),
        };
        let mut inputs = self.inputs.of(claim);
        while let Some(batch) = inputs.next().await.map_err(cannot_start)? {
            command.bring(batch).await.map_err(cannot_start)?;
        }
        let step = step(claim, secrets, &self.limits, policy.is_some());
        let step = ToInit::Step(Box::new(step));
        let answer = timeout(RESOLVE_TIME + ANSWER_TIME, command.ask(&step, descriptors)).await;
        let resolved = match answer {
            Ok(Ok((ToHost::Resolved(resolved), mut carried))) => {
                if let (Some(idle), Some(policy)) = (idle, policy) {
                    let listener = carried.remove(EGRESS_LISTENER).ok_or_else(|| {
                        cannot_start("the sandbox made no listener for its egress proxy")
                    })?;
                    let proxy = idle.serve(policy, &self.network.networks, listener).await?;
                    command.proxy = Some(Arc::new(proxy));
                }
                checked(resolved, &granted)?
            }
            Ok(Ok((ToHost::Error { code, message }, _))) if code == "bad_step" => {
                return Err(cannot_start(message));
            }
            Ok(Ok((ToHost::Error { code, message }, _))) => {
                return Err(Failure::SecretUnavailable {
                    cause: None,
                    detail: short(&format!("{code}: {message}")),
                });
            }
            Ok(Ok((
                ToHost::Ended { .. }
                | ToHost::Agent(_)
                | ToHost::Result(_)
                | ToHost::Artifacts(_)
                | ToHost::Proxying
                | ToHost::Egress(_)
                | ToHost::EgressAsked
                | ToHost::Placed,
                _,
            ))) => {
                return Err(cannot_start("the sandbox reported an end before its start"));
            }
            Ok(Err(ChannelError::Closed)) => {
                let ended = timeout(LAST_WORDS, command.wait()).await;
                let how = ended.map_or_else(
                    |_| "it closed its channel".to_owned(),
                    |ended| format!("{ended:?}"),
                );
                return Err(cannot_start(format!(
                    "the sandbox ended before its command: {how}"
                )));
            }
            Ok(Err(error)) => {
                return Err(cannot_start(format!(
                    "the sandbox cannot be understood: {error}"
                )));
            }
            Err(_) => {
                let seconds = (RESOLVE_TIME + ANSWER_TIME).as_secs();
                return Err(cannot_start(format!(
                    "the sandbox was not ready within {seconds} seconds"
                )));
            }
        };
        Ok(Box::new(Waiting { command, resolved }))
    }
}

impl Sandboxed {
    /// The first backend that has what the step asks for.
    fn backend_for(&self, claim: &Claim) -> Result<&Arc<dyn SandboxBackend>, Failure> {
        let fits = |one: &&Arc<dyn SandboxBackend>| {
            let named = claim.backend.as_ref().is_none_or(|name| name == one.name());
            let image = claim.image.as_ref();
            named && image.is_none_or(|image| one.images().contains(image))
        };
        self.backends.iter().find(fits).ok_or_else(|| {
            let any = "any".to_owned();
            cannot_start(format!(
                "this worker has no such sandboxes any more: backend `{}`, image `{}`",
                claim.backend.as_ref().unwrap_or(&any),
                claim.image.as_ref().unwrap_or(&any)
            ))
        })
    }

    /// The files of the backends that `granted` refers to, opened and not read.
    fn open_files(&self, granted: &[&SecretRef]) -> Result<Descriptors, Failure> {
        let is_needed = |name: &str| {
            let scheme = name.split_once('.').map(|(scheme, _)| scheme);
            granted
                .iter()
                .any(|secret| Some(secret.uri.scheme()) == scheme)
        };
        let mut descriptors = Descriptors::new();
        for (name, path) in &self.backend_files {
            if !is_needed(name) {
                continue;
            }
            let file = File::open(path).map_err(|error| Failure::SecretUnavailable {
                cause: None,
                detail: short(&format!("the worker cannot open `{name}`: {error}")),
            })?;
            descriptors.insert(name.clone(), file.into());
        }
        Ok(descriptors)
    }
}

#[async_trait]
impl Prepared for Waiting {
    fn sandbox(&self) -> &str {
        self.command.sandbox.id()
    }

    fn resolved(&self) -> &BTreeMap<String, String> {
        &self.resolved
    }

    fn output(&self) -> Option<PathBuf> {
        Some(self.command.log.path())
    }

    fn uploads(&self) -> bool {
        self.command.log.uploads()
    }

    async fn go(self: Box<Self>) -> Result<Box<dyn Running>, Failure> {
        let mut channel = self.command.channel.lock().await;
        if let Err(error) = channel.send(&ToInit::Go, Descriptors::new()).await {
            // The sandbox has died meanwhile: its exit says how.
            tracing::warn!(%error, sandbox = self.sandbox(), "the sandbox did not get its go");
        }
        drop(channel);
        let artifacts = self.command.artifacts.lock().await.take();
        let channel = Arc::clone(&self.command.channel);
        let listening = tokio::spawn(listen(channel, artifacts, self.command.proxy.clone()));
        *self.command.told.lock().await = Some(listening);
        Ok(Box::new(self.command))
    }
}

#[async_trait]
impl Running for Command {
    async fn wait(&self) -> Ended {
        let exit = self.sandbox.wait().await;
        self.end_of(exit).await
    }

    async fn stop(&self, grace: Duration) -> Ended {
        let exit = self.sandbox.stop(grace).await;
        self.end_of(exit).await
    }

    fn output_cut_bytes(&self) -> u64 {
        self.log.cut_bytes()
    }

    fn agent(&self) -> Option<AgentEnd> {
        self.end.get()?.1.agent.clone()
    }

    fn redactions(&self) -> Vec<Redaction> {
        let end = self.end.get();
        end.map(|(_, told)| told.redactions.clone())
            .unwrap_or_default()
    }

    fn egress_denied(&self) -> Denials {
        let end = self.end.get();
        end.map(|(_, told)| told.egress_denied.clone())
            .unwrap_or_default()
    }

    fn output_missing_bytes(&self) -> u64 {
        self.log.missing_bytes()
    }

    async fn keep_artifacts(&self) -> Option<Result<LeftBehind, String>> {
        let artifacts = self.end.get()?.1.artifacts.as_ref()?;
        Some(artifacts.keep(self.log.store()).await)
    }

    async fn keep_result(&self) -> Option<Result<u64, String>> {
        let json = match self.end.get()?.1.result.as_ref()? {
            StepResult::Json(json) => json.as_bytes(),
            StepResult::Bad(detail) => return Some(Err(short(detail))),
        };
        // Init has checked it. But what it checked came out of the sandbox, and so does its word.
        if json.len() > limits::RESULT_BYTES || serde_json::from_slice::<Value>(json).is_err() {
            return Some(Err("the sandbox sent a result that is none".to_owned()));
        }
        let kept = self.log.keep_result(json).await;
        Some(kept.map(|()| json.len() as u64))
    }
}

impl Command {
    /// Hands files over, and waits until they are in the workspace.
    async fn bring(&self, batch: Batch) -> Result<(), String> {
        let (places, files): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let named = |(at, file): (usize, File)| (input_name(at), file.into());
        let files = files.into_iter().enumerate().map(named).collect();
        match timeout(PLACE_TIME, self.ask(&ToInit::Inputs(places), files)).await {
            Ok(Ok((ToHost::Placed, _))) => Ok(()),
            Ok(Ok((ToHost::Error { message, .. }, _))) => Err(message),
            Ok(Ok(_)) => Err("the sandbox did not say that it has the step's files".to_owned()),
            Ok(Err(error)) => Err(format!("the sandbox did not get the step's files: {error}")),
            Err(_) => Err("the sandbox did not write the step's files in time".to_owned()),
        }
    }

    /// Sends the step and waits for the answer.
    async fn ask(
        &self,
        step: &ToInit,
        descriptors: Descriptors,
    ) -> Result<(ToHost, Descriptors), ChannelError> {
        let mut channel = self.channel.lock().await;
        channel.send(step, descriptors).await?;
        channel.receive().await
    }

    /// How the command ended: as init said, or as its sandbox did if init could not say it. Returns
    /// once the output has arrived.
    async fn end_of(&self, exit: Exit) -> Ended {
        let end = async {
            self.log.finish(LAST_WORDS).await;
            let told = match self.told.lock().await.take() {
                Some(told) => timeout(LAST_WORDS, told).await,
                None => Ok(Ok(Told::default())),
            };
            let mut told = told.ok().and_then(Result::ok).unwrap_or_default();
            if let Some(proxy) = &self.proxy {
                // Nobody has redacted the hosts of an end that init has not told.
                let unnamed = proxy.end().await.unnamed();
                told.egress_denied = told.egress_denied.with(unnamed);
            }
            let end = match (exit, told.end.take()) {
                (Exit::OutOfMemory, _) => Ended::OutOfMemory,
                // Init kills the command of a sandbox that is lost, and says so.
                (Exit::Lost, Some(CommandEnd::Signalled { signal: SIGKILL })) => Ended::Lost,
                (_, Some(end)) => end.into(),
                (exit, None) => ended(exit),
            };
            (end, told)
        };
        self.end.get_or_init(|| end).await.0.clone()
    }
}

/// What init tells of a command.
#[derive(Default)]
struct Told {
    agent: Option<AgentEnd>,
    redactions: Vec<Redaction>,
    egress_denied: Denials,
    result: Option<StepResult>,
    artifacts: Option<Collection>,
    end: Option<CommandEnd>,
}

/// Listens until init has told the command's end, or can tell nothing more.
async fn listen(
    channel: Arc<Mutex<Box<HostChannel>>>,
    artifacts: Option<Collection>,
    proxy: Option<Arc<Proxy>>,
) -> Told {
    let mut told = Told {
        artifacts,
        ..Told::default()
    };
    let mut channel = channel.lock().await;
    while told.end.is_none() {
        match channel.receive().await {
            Ok((ToHost::Agent(agent), _)) => told.agent = Some(agent),
            Ok((ToHost::Result(result), _)) => told.result = Some(result),
            Ok((ToHost::Artifacts(some), files)) => {
                let Some(artifacts) = &mut told.artifacts else {
                    break;
                };
                if artifacts.take(some, files).await {
                    let taken = channel.send(&ToInit::Taken, Descriptors::new()).await;
                    if taken.is_err() {
                        break;
                    }
                }
            }
            Ok((ToHost::EgressAsked, _)) => {
                let Some(proxy) = &proxy else { break };
                let denied = ToInit::Denied(proxy.end().await);
                if channel.send(&denied, Descriptors::new()).await.is_err() {
                    break;
                }
            }
            Ok((
                ToHost::Ended {
                    end,
                    redactions,
                    denied,
                },
                _,
            )) => {
                (told.end, told.redactions, told.egress_denied) = (Some(end), redactions, denied);
            }
            _ => break,
        }
    }
    told
}

const fn ended(exit: Exit) -> Ended {
    match exit {
        Exit::Code(code) => Ended::Code(code),
        Exit::Signal(signal) => Ended::Signal(signal),
        Exit::OutOfMemory => Ended::OutOfMemory,
        Exit::Lost => Ended::Lost,
    }
}

/// Whether the access lists grant a secret to the step's tool. `sealfleet-init` decides; its answer
/// must be the same.
fn is_granted(claim: &Claim, secret: &SecretRef) -> bool {
    sees(claim.tools.as_ref(), claim.tool.as_ref(), &secret.name)
}

/// How long a sandbox of this claim may be there, with time to spare.
fn lifetime(claim: &Claim) -> Duration {
    let most = Duration::from_secs(u64::from(claim.timeout_seconds));
    RESOLVE_TIME + ANSWER_TIME + most + LIFETIME_MARGIN
}

fn owner(claim: &Claim) -> Owner {
    Owner {
        project: claim.project.clone(),
        run_id: claim.run_id,
        step_id: claim.step_id.clone(),
        fence: claim.fence,
    }
}

/// What a command may use, as variables of its environment.
fn variables(limits: &Limits) -> [(String, String); 4] {
    [
        ("SEALFLEET_MEMORY_BYTES", limits.memory_bytes),
        ("SEALFLEET_SCRATCH_BYTES", limits.scratch_bytes),
        ("SEALFLEET_PIDS", limits.pids),
        ("SEALFLEET_OPEN_FILES", limits.open_files),
    ]
    .map(|(name, most)| (name.to_owned(), most.to_string()))
}

fn step(claim: &Claim, secrets: &[SecretRef], limits: &Limits, egress: bool) -> Step {
    let request = |secret: &SecretRef| SecretRequest {
        name: secret.name.clone(),
        uri: secret.uri.to_string(),
        version: secret.version.clone(),
        redact: secret.redact,
    };
    Step {
        project: claim.project.to_string(),
        command: claim.command.clone(),
        agent: claim.agent.clone().map(Box::new),
        env: claim
            .env
            .clone()
            .into_iter()
            .chain(variables(limits))
            .collect(),
        inputs: claim.inputs.clone(),
        tty: claim.tty,
        artifacts: claim.artifacts.clone(),
        secrets: secrets.iter().map(request).collect(),
        tool: claim.tool.clone(),
        tools: claim.tools.clone(),
        resolve_millis: u64::try_from(RESOLVE_TIME.as_millis()).unwrap_or(u64::MAX),
        egress,
    }
}

/// The version of each secret, by name. They must be the secrets that the claim grants, at the
/// versions that it pins.
fn checked(
    resolved: Vec<ResolvedSecret>,
    granted: &[&SecretRef],
) -> Result<BTreeMap<String, String>, Failure> {
    let resolved: BTreeMap<String, String> = resolved
        .into_iter()
        .map(|secret| (secret.name, secret.version))
        .collect();
    let names: BTreeSet<&str> = granted.iter().map(|secret| secret.name.as_str()).collect();
    if !resolved
        .keys()
        .map(String::as_str)
        .eq(names.iter().copied())
    {
        return Err(cannot_start(
            "the sandbox resolved other secrets than those that its step is granted",
        ));
    }
    let other = granted.iter().find(|secret| {
        secret.version.is_some() && resolved.get(&secret.name) != secret.version.as_ref()
    });
    match other {
        Some(secret) => Err(Failure::SecretUnavailable {
            cause: None,
            detail: short(&format!(
                "`{}` was resolved at another version than the one it is pinned to",
                secret.uri
            )),
        }),
        None => Ok(resolved),
    }
}

fn with_cause(error: &StartError) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
