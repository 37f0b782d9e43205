//! `sandboxed`, `identity`, `full`: a sandbox whose first process is `sealfleet-init`.
//!
//! The two talk over the [channel](sealfleet_channel). What identity backends need goes with the
//! step ([`identity`](crate::identity)). Where they are on the network, init asks for a way there,
//! and a proxy leads to their hosts alone until the secrets are resolved. It is ended before the
//! command runs.
//!
//! A secret that is delivered at egress is a matter of the step's [egress proxy](super::egress):
//! its sandbox gets the reference and the descriptors, and the step's gets neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_channel::MAX_DESCRIPTORS;
use sealfleet_channel::{
    AgentEnd, BackendOrder, Channel, ChannelError, CommandEnd, Descriptors, Egress, EgressOrder,
    PlaceholderRequest, ResolvedSecret, SecretAtEgress, SecretRequest, Step, StepResult, ToHost,
    ToInit, input_name,
};
use sealfleet_client::types::Claim;
use sealfleet_domain::acl::sees;
use sealfleet_domain::agent::ModelsUsed;
use sealfleet_domain::delivery::{Delivery, Kind};
use sealfleet_domain::egress::{Denials, Policy, Reached};
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
use super::tokens::Tokens;
use super::{
    Ended, Executor, LAST_WORDS, LeftBehind, Prepared, Running, cannot_start, noted, refused, short,
};
use crate::identity::Identity;
use crate::inputs::{Batch, Inputs};
use sealfleet_outputs::artifacts::Collection;

/// How long `sealfleet-init` may take to resolve the secrets.
const RESOLVE_TIME: Duration = Duration::from_millis(RESOLVE_MILLIS);
const RESOLVE_MILLIS: u64 = 60_000;
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
    /// What its identity backends need.
    pub identity: Identity,
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
    store_request_ids: BTreeMap<String, String>,
}

/// A sandbox, its channel, and its output.
struct Command {
    sandbox: Box<dyn Sandbox>,
    /// The way out of it, if it has one.
    proxy: Option<Proxy>,
    /// The proxy that keeps what identity backends have lent to the step.
    keeper: Option<Proxy>,
    /// What the step has done through it, as far as that was told and not yet passed on.
    egress: Arc<StdMutex<Egress>>,
    /// Others of this host find the sandbox by it.
    _note: Option<Note>,
    channel: Arc<Mutex<Box<HostChannel>>>,
    /// Listens to init while the command runs: a result may be larger than what the socket holds.
    told: Mutex<Option<JoinHandle<Told>>>,
    log: StepLog,
    /// By which the step proves itself to others.
    tokens: Tokens,
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
            delivery: Some(match self.network.way {
                Way::None => Kind::File,
                Way::Policy | Way::Host => Kind::Egress,
            }),
        }
    }

    async fn ready(&self) -> Result<(), String> {
        for backend in &self.backends {
            let ready = backend.ready().await;
            ready.map_err(|error| format!("{}: {}", backend.name(), with_cause(&error)))?;
        }
        Ok(())
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
        let (at_egress, inside): (Vec<&SecretRef>, Vec<&SecretRef>) = granted
            .iter()
            .partition(|secret| secret.delivery.at_egress().is_some());
        let (network, policy) = self.network.to(claim.egress.as_ref())?;
        let way_out = self.identity.policy(&inside);
        let way_out = way_out.map(|hosts| self.network.to_backends(hosts));
        let way_out = way_out.transpose()?;
        let files = self.identity.open(&inside, MAX_DESCRIPTORS)?;
        // The listener and the socket of the step travel with them.
        let files_of_proxy = self.identity.open(&at_egress, MAX_DESCRIPTORS - 2)?;
        if policy.is_none() && !at_egress.is_empty() {
            return Err(cannot_start(
                "secrets are delivered at egress, and the step has no egress proxy",
            ));
        }
        let order = Order {
            owner: owner(claim),
            image: claim.image.clone(),
            network,
            limits: self.limits,
            lifetime: lifetime(claim),
        };
        let backend = self.backend_for(claim)?;
        let idle = async |is_needed: bool| match is_needed {
            true => Idle::start(&**backend, &self.worker, &order)
                .await
                .map(Some),
            false => Ok(None),
        };
        let (started, idle, idle_way_out) = tokio::join!(
            backend.start(order.clone()),
            idle(policy.is_some()),
            idle(way_out.is_some())
        );
        let started = started.map_err(|error| cannot_start(with_cause(&error)))?;
        let (idle, idle_way_out) = (idle?, idle_way_out?);
        let mut way_out = idle_way_out.zip(way_out);
        log.follow(Stream::Stdout, Some(started.stdout));
        log.follow(Stream::Stderr, Some(started.stderr));
        let mut command = Command {
            proxy: None,
            keeper: None,
            egress: Arc::default(),
            _note: noted(&self.worker, &**backend, started.sandbox.id(), &order.owner),
            sandbox: started.sandbox,
            channel: Arc::new(Mutex::new(Box::new(started.channel))),
            told: Mutex::new(None),
            artifacts: Mutex::new(log.artifacts(claim)),
            tokens: Tokens::of(claim, Arc::clone(&self.inputs.control)),
            log,
            end: OnceCell::new(),
        };
        let mut inputs = self.inputs.of(claim);
        while let Some(batch) = inputs.next().await.map_err(cannot_start)? {
            command.bring(batch).await.map_err(cannot_start)?;
        }
        let step = Step {
            audiences: self.identity.for_command(&claim.audiences),
            backends: self.identity.order(&inside),
            ..step(claim, secrets, &self.limits, policy.is_some())
        };
        let step = ToInit::Step(Box::new(step));
        let ready = command.ready(&step, files, &mut way_out);
        let answer = timeout(RESOLVE_TIME + ANSWER_TIME, ready).await;
        let resolved = match answer {
            Ok(Ok((ToHost::Resolved(resolved), given, keeper))) => {
                command.keeper = keeper;
                check(&resolved, &inside)?;
                let mut all = resolved;
                if let (Some(idle), Some(policy)) = (idle, policy) {
                    let order = EgressOrder {
                        backends: self.identity.order(&at_egress),
                        ..self.egress_order(claim, policy, secrets)
                    };
                    let served = idle.serve(order, given, files_of_proxy, &command.tokens);
                    let (proxy, resolved) = served.await?;
                    command.proxy = Some(proxy);
                    check(&resolved, &at_egress)?;
                    whole(&all, &resolved)?;
                    all.extend(resolved);
                }
                all
            }
            Ok(Ok((ToHost::Error { code, message }, ..))) => return Err(refused(&code, &message)),
            Ok(Ok((
                ToHost::Ended { .. }
                | ToHost::Agent(_)
                | ToHost::Result(_)
                | ToHost::Artifacts(_)
                | ToHost::Proxying(_)
                | ToHost::Egress(_)
                | ToHost::TokenAsked(_)
                | ToHost::ProxyAsked
                | ToHost::Checked(_)
                | ToHost::Placed,
                ..,
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
        Ok(Box::new(Waiting::of(command, resolved)))
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

    /// What the proxy of this claim's step is to do.
    fn egress_order(&self, claim: &Claim, policy: Policy, secrets: &[SecretRef]) -> EgressOrder {
        let at_egress = secrets.iter().filter_map(|secret| {
            let bound = secret.delivery.at_egress()?.clone();
            let secret = request(secret);
            Some(SecretAtEgress { secret, bound })
        });
        EgressOrder {
            project: claim.project.to_string(),
            policy,
            networks: self.network.networks.clone(),
            authorities: self.network.authorities.clone(),
            secrets: at_egress.collect(),
            tool: claim.tool.clone(),
            tools: claim.tools.clone(),
            backends: BackendOrder::default(),
            resolve_millis: RESOLVE_MILLIS,
            lasts_seconds: lasts(claim).as_secs(),
        }
    }
}

impl Waiting {
    fn of(command: Command, resolved: Vec<ResolvedSecret>) -> Self {
        let request_id = |secret: &ResolvedSecret| {
            let id = secret.request_id.clone().filter(|id| is_request_id(id))?;
            Some((secret.name.clone(), id))
        };
        Self {
            command,
            store_request_ids: resolved.iter().filter_map(request_id).collect(),
            resolved: resolved
                .into_iter()
                .map(|secret| (secret.name, secret.version))
                .collect(),
        }
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

    fn store_request_ids(&self) -> BTreeMap<String, String> {
        self.store_request_ids.clone()
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
        let egress = Arc::clone(&self.command.egress);
        let tokens = self.command.tokens.clone();
        let listening = tokio::spawn(listen(channel, artifacts, egress, tokens));
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

    fn take_denied(&self) -> Denials {
        let mut egress = self.egress.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut egress.denied)
    }

    async fn withdraw(&self, keys: BTreeSet<String>) {
        if let Some(proxy) = &self.proxy {
            proxy.withdraw(keys).await;
        }
    }

    fn egress_reached(&self) -> Reached {
        let egress = self.egress.lock().unwrap_or_else(PoisonError::into_inner);
        egress.reached.clone()
    }

    fn models_used(&self) -> ModelsUsed {
        let egress = self.egress.lock().unwrap_or_else(PoisonError::into_inner);
        egress.models_used.clone()
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

    /// Sends the step, and waits until it is ready. It may need tokens first, and a way to identity
    /// backends, which is gone when this returns: its proxy is left only to keep what was lent.
    async fn ready(
        &self,
        step: &ToInit,
        descriptors: Descriptors,
        way_out: &mut Option<(Idle, EgressOrder)>,
    ) -> Result<(ToHost, Descriptors, Option<Proxy>), ChannelError> {
        let mut proxy = None;
        let mut answer = self.ask(step, descriptors).await?;
        loop {
            match answer {
                (ToHost::TokenAsked(audience), _) => {
                    let token = self.tokens.answer(audience).await;
                    answer = self.ask(&token, Descriptors::new()).await?;
                }
                (ToHost::ProxyAsked, given) if way_out.is_some() => {
                    proxy = self.lead_out(way_out, given).await;
                    answer = self.channel.lock().await.receive().await?;
                }
                (answer, given) => {
                    let keeper = proxy.take_if(|_| is_leased(&answer));
                    if let Some(proxy) = proxy {
                        proxy.end().await;
                    }
                    return Ok((answer, given, keeper));
                }
            }
        }
    }

    /// Serves the way to identity backends. Without one, init waits no longer than it may.
    async fn lead_out(
        &self,
        way_out: &mut Option<(Idle, EgressOrder)>,
        given: Descriptors,
    ) -> Option<Proxy> {
        let (idle, order) = way_out.take()?;
        let served = idle.serve(order, given, Descriptors::new(), &self.tokens);
        match served.await {
            Ok((proxy, _)) => Some(proxy),
            Err(failure) => {
                tracing::warn!(?failure, "no way to identity backends");
                None
            }
        }
    }

    /// Sends a message and waits for the answer.
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
            for proxy in [&self.proxy, &self.keeper].into_iter().flatten() {
                proxy.end().await;
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
    result: Option<StepResult>,
    artifacts: Option<Collection>,
    end: Option<CommandEnd>,
}

/// Listens until init has told the command's end, or can tell nothing more.
async fn listen(
    channel: Arc<Mutex<Box<HostChannel>>>,
    artifacts: Option<Collection>,
    egress: Arc<StdMutex<Egress>>,
    tokens: Tokens,
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
            Ok((ToHost::Egress(more), _)) => add(&egress, more),
            Ok((ToHost::TokenAsked(audience), _)) => {
                let token = tokens.answer(audience).await;
                if channel.send(&token, Descriptors::new()).await.is_err() {
                    break;
                }
            }
            Ok((
                ToHost::Ended {
                    end,
                    redactions,
                    egress: last,
                },
                _,
            )) => {
                add(&egress, last);
                (told.end, told.redactions) = (Some(end), redactions);
            }
            _ => break,
        }
    }
    told
}

/// What comes out of a sandbox is kept within bounds.
fn add(all: &StdMutex<Egress>, more: Egress) {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.denied = std::mem::take(&mut all.denied).with(more.denied);
    all.reached = more.reached.bounded();
    all.models_used = more.models_used.without(|_| false);
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
    lasts(claim) + LIFETIME_MARGIN
}

/// How long its command may need its secrets, from now on.
fn lasts(claim: &Claim) -> Duration {
    let most = Duration::from_secs(u64::from(claim.timeout_seconds));
    RESOLVE_TIME + ANSWER_TIME + most
}

/// Whether a store takes something back at the step's end.
fn is_leased(answer: &ToHost) -> bool {
    matches!(answer, ToHost::Resolved(secrets) if secrets.iter().any(|secret| secret.leased))
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
    let inside = secrets
        .iter()
        .filter(|secret| secret.delivery.at_egress().is_none());
    // What it gets of the others says nothing of where their values are kept.
    let placeholders = secrets.iter().filter_map(|secret| {
        Some(PlaceholderRequest {
            name: secret.name.clone(),
            prefix: secret.delivery.at_egress()?.prefix.clone(),
            redact: secret.redact,
        })
    });
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
        secrets: inside.map(request).collect(),
        placeholders: placeholders.collect(),
        tool: claim.tool.clone(),
        tools: claim.tools.clone(),
        backends: BackendOrder::default(),
        resolve_millis: RESOLVE_MILLIS,
        lasts_seconds: lasts(claim).as_secs(),
        egress,
        audiences: BTreeSet::new(),
    }
}

/// What init is asked to resolve.
pub(crate) fn request(secret: &SecretRef) -> SecretRequest {
    SecretRequest {
        name: secret.name.clone(),
        uri: secret.uri.to_string(),
        version: secret.version.clone(),
        redact: secret.redact,
        file: secret.delivery == Delivery::File,
    }
}

/// A sandbox and its egress proxy log in apart, and each is lent something of its own: a name here
/// would not fit a password there.
fn whole(inside: &[ResolvedSecret], at_egress: &[ResolvedSecret]) -> Result<(), Failure> {
    let place = |secret: &ResolvedSecret| {
        let place = secret.uri.split('#').next().unwrap_or_default();
        secret.leased.then(|| place.to_owned())
    };
    let here: BTreeSet<String> = inside.iter().filter_map(place).collect();
    let both = at_egress
        .iter()
        .filter_map(place)
        .find(|place| here.contains(place));
    match both {
        None => Ok(()),
        Some(place) => Err(cannot_start(format!(
            "`{place}` makes a credential for each start, and its keys are delivered both at egress and inside: deliver all of them in the same way"
        ))),
    }
}

/// They must be the secrets that the claim grants, at the versions that it pins.
fn check(resolved: &[ResolvedSecret], granted: &[&SecretRef]) -> Result<(), Failure> {
    let versions: BTreeMap<&str, &String> = resolved
        .iter()
        .map(|secret| (secret.name.as_str(), &secret.version))
        .collect();
    let names: BTreeSet<&str> = granted.iter().map(|secret| secret.name.as_str()).collect();
    if !versions.keys().copied().eq(names) {
        return Err(cannot_start(
            "the sandbox resolved other secrets than those that its step is granted",
        ));
    }
    let other = granted.iter().find(|secret| {
        let version = versions.get(secret.name.as_str()).copied();
        secret.version.is_some() && secret.version.as_ref() != version
    });
    match other {
        Some(secret) => Err(Failure::SecretUnavailable {
            cause: None,
            detail: short(&format!(
                "`{}` was resolved at another version than the one it is pinned to",
                secret.uri
            )),
        }),
        None => Ok(()),
    }
}

/// What the trail gets of a store's id of a request. It comes from the store, so it may be no id.
fn is_request_id(text: &str) -> bool {
    (1..=limits::STORE_REQUEST_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn with_cause(error: &StartError) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
