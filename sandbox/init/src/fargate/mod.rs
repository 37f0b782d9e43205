//! The first process of an ECS task.
//!
//! ECS has put the secrets' values into this process's environment under the project's execution
//! role. This process fetches the step from the control plane with the task role's credentials: the
//! task definition and its overrides hold ids only. The command gets the step's environment, the
//! secrets that the step names, in variables or in files, and the variables that it needs to use
//! the task role; nothing else of this process's environment.
//!
//! A command with an egress policy is [held to it](network) by this process. If it may reach
//! something, the task has a second container with its [proxy], the same program in another role.
//!
//! What the command prints goes to this process's own streams, which ECS sends to CloudWatch Logs,
//! and to the project's outputs, where the API reads it. Both are redacted before. At the end this
//! process stores the step's result, and tells the control plane what ECS cannot know.

mod api;
mod bucket;
mod environment;
mod heartbeat;
mod leaving;
mod network;
mod proxy;
mod report;

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealfleet_channel::Egress;
use sealfleet_domain::agent::Agent;
use sealfleet_domain::artifact::Artifact;
use sealfleet_domain::egress::Policy;
use sealfleet_domain::redaction;
use sealfleet_domain::run::{Failure as Failed, Outcome};
use sealfleet_outputs::{MOST_BYTES, Store, Upload};

use self::api::{Api, Brings, Step, Ungot, Unheard};
use self::bucket::Bucket;
use self::environment::Environment;
use self::heartbeat::Heartbeat;
use self::network::Held;
use self::report::Report;
use crate::agent::{self, Watched};
use crate::egress::Peer;
use crate::inputs::Workspace;
use crate::output::{self, Injected};
use crate::supervise::{self, Stops, Task};
use crate::tokens::Tokens;
use crate::{Failure, UNTOLD, WORKSPACE, files, result};

pub(crate) use self::api::https_fault;

#[derive(Debug, Clone, Copy, clap::Args)]
pub struct FargateArguments {
    /// Be the egress proxy of the task's step, in a container of its own
    #[arg(long)]
    proxy: bool,
}

/// Runs the step that the environment names, or its proxy, and answers the exit code for this
/// process.
pub async fn run(arguments: FargateArguments, environment: Vec<(OsString, OsString)>) -> i32 {
    let mut environment = Environment::new(environment);
    if arguments.proxy {
        return proxy::run(environment).await;
    }
    let begun = async {
        let mut stops =
            Stops::listen().map_err(|error| format!("signals cannot be watched: {error}"))?;
        let api = Arc::new(Api::of(&environment)?);
        let step = tokio::select! {
            step = api.step() => step?,
            signal = stops.next() => return Err(Failure::Stopped(128 + signal.as_raw())),
        };
        Ok((stops, api, step))
    };
    let (mut stops, api, step) = match begun.await {
        Ok(begun) => begun,
        Err(failure) => return failure.exit_code(),
    };
    let work = tokio::select! {
        work = Work::of(step, &mut environment, &api) => work,
        signal = stops.next() => return 128 + signal.as_raw(),
    };
    match work {
        Ok(work) => work.run(&api, &mut stops).await,
        Err(unready) => {
            let failure = unready.failure();
            let report = Report::of(Outcome::Failed { failure });
            // Without it, ECS's word tells of the exit code alone.
            drop(api.end(&report).await);
            Failure::Error(unready.message()).exit_code()
        }
    }
}

/// Why a step cannot start: for people, by names only.
enum Unready {
    /// What it works with is not there, or is none.
    Step(String),
    /// A secret of it cannot be used.
    Secret(String),
}

impl Unready {
    fn failure(&self) -> Failed {
        match self {
            Self::Step(message) => Failed::CannotStart {
                cause: None,
                detail: Failed::detail(message),
            },
            Self::Secret(message) => Failed::SecretUnavailable {
                cause: None,
                detail: Failed::detail(message),
            },
        }
    }

    fn message(self) -> String {
        match self {
            Self::Step(message) | Self::Secret(message) => message,
        }
    }
}

impl From<String> for Unready {
    fn from(message: String) -> Self {
        Self::Step(message)
    }
}

/// A step that can start.
struct Work {
    task: Task,
    /// The agent that it is, to read along.
    agent: Option<(Agent, Arc<Mutex<Watched>>)>,
    bucket: Arc<Bucket>,
    upload: Arc<Upload>,
    artifacts: Vec<Artifact>,
    timeout_seconds: u32,
    /// Its egress policy, and its proxy if it has one.
    egress: Option<(Policy, Option<Peer>)>,
    /// Whether the proxy delivers secrets.
    delivers: bool,
    /// By which the step proves itself to others.
    tokens: Option<Tokens>,
}

impl Work {
    /// Brings the step what it works with, and takes its secrets out of this process's `own`
    /// environment.
    async fn of(mut step: Step, own: &mut Environment, api: &Arc<Api>) -> Result<Self, Unready> {
        let home = own.home();
        let held = match step.egress.take() {
            Some(policy) => Some(Held::to(policy, step.at_egress.clone()).await?),
            None => None,
        };
        // First: an agent may read its prompt from one of them.
        let workspace = Path::new(WORKSPACE);
        let brought = bring(api, step.brings.take(), Workspace::new(workspace)).await?;
        let stdin = brought.complete(&step.inputs)?;
        let words = sealfleet_workspace::words(workspace, &step.command)?;
        let variable = |name: &str| step.env.get(name).cloned();
        let agent = step.agent.as_ref();
        let agent =
            agent.map(|agent| agent::prepare(agent, &home, Path::new(WORKSPACE), &variable));
        let agent = agent.transpose()?;
        let secrets = injected(own, step.secret_names, &step.unredacted);
        let mut secrets = secrets.map_err(Unready::Secret)?;
        let (placeholders, by_name) = network::placeholders(&step.at_egress, &step.unredacted);
        secrets.extend(placeholders);
        let redactor = output::redactor(&secrets).map_err(Unready::Secret)?;
        let mut tokens = Tokens::begin(&step.audiences, &mut Arc::clone(api)).await?;
        if let Some(tokens) = &mut tokens {
            tokens.redacted_by(&redactor)?;
        }
        let (mut mediation, mut egress, mut trusted) = (None, None, Vec::new());
        if let Some(held) = held {
            let policy = held.policy.clone();
            let (of_command, mut peer) = held.begin(by_name, &secrets, &redactor).await?;
            if let Some(peer) = &mut peer {
                trusted = peer.trusted().await.map_err(Unready::Secret)?;
                let variables = crate::egress::variables().into_iter();
                trusted.extend(variables.map(|(name, value)| supervise::plain(name, value)));
            }
            (mediation, egress) = (Some(of_command), Some((policy, peer)));
        }
        let mut environment = trusted;
        environment.extend(supervise::base_environment(&home, step.tty));
        // The image's own.
        let path = own.text("PATH");
        environment.extend(path.map(|path| supervise::plain("PATH", path)));
        environment.extend(own.aws(mediation.is_none()));
        let of_cli = agent.as_ref().map(|agent| agent.environment);
        let of_cli = of_cli.unwrap_or_default().iter();
        environment.extend(of_cli.map(|(name, value)| supervise::plain(*name, *value)));
        let of_tokens = tokens.as_ref().map(|tokens| tokens.variables(&step.env));
        environment.extend(of_tokens.into_iter().flatten());
        let plain = step.env.into_iter();
        environment.extend(plain.map(|(name, value)| supervise::plain(name, value)));
        for secret in secrets {
            let value = match step.in_files.contains(&secret.name) {
                true => files::keep(&secret.name, &secret.value).map_err(Unready::Secret)?,
                false => secret.value,
            };
            environment.push((secret.name, value));
        }
        if let Some((name, _)) = environment.iter().find(|(name, value)| {
            name.is_empty() || name.contains(['=', '\0']) || value.expose().contains(&0)
        }) {
            let message = format!(
                "`{}` or its value cannot be an environment variable",
                name.escape_debug()
            );
            return Err(message.into());
        }
        let bucket = Arc::new(Bucket::new(Arc::clone(api), step.outputs));
        let upload = Upload::begin(Arc::clone(&bucket) as Arc<dyn Store>, MOST_BYTES);
        let upload = Arc::new(upload);
        let copied = Arc::clone(&upload);
        let (command, stdin, watched) = agent::started(agent, words, stdin);
        Ok(Self {
            agent: step.agent.zip(watched.clone()),
            task: Task {
                command,
                environment,
                stdin,
                tty: step.tty,
                time_limit: Some(Duration::from_secs(u64::from(step.timeout_seconds))),
                tap: watched.map(|watched| watched as supervise::Tap),
                copy: Some(Arc::new(move |stream, bytes| copied.write(stream, bytes))),
                redactor,
                mediation,
            },
            bucket,
            upload,
            artifacts: step.artifacts,
            timeout_seconds: step.timeout_seconds,
            egress,
            delivers: !step.at_egress.is_empty(),
            tokens,
        })
    }

    async fn run(self, api: &Arc<Api>, stops: &mut Stops) -> i32 {
        let redactor = self.task.redactor.clone();
        let running = supervise::run(self.task, stops);
        let running = async {
            match self.tokens {
                Some(tokens) => tokens.while_runs(&mut Arc::clone(api), running).await,
                None => running.await,
            }
        };
        let mut egress = self.egress;
        let peer = egress.as_mut().and_then(|(_, peer)| peer.as_mut());
        let (ran, mut seen) = match peer {
            Some(peer) => {
                let heartbeat = Heartbeat::new(api, peer, self.delivers);
                heartbeat.during(running).await
            }
            None => (running.await, Egress::default()),
        };
        let exit_code = ran.end.exit_code();
        let mut report = Report::of(report::outcome(ran.end, self.timeout_seconds));
        report.redactions = ran.redactions;
        if let Some((policy, _)) = egress {
            let around = network::denied(&ran.refusals, &policy, &redactor);
            seen.denied = seen.denied.with(around);
            report.reached(seen);
        }
        if let Some((agent, watched)) = self.agent {
            report.ended_agent(agent::end(&watched, Path::new(WORKSPACE)), &agent);
        }
        self.upload.finish().await;
        if let Some((result, redactions)) = result::of(Path::new(WORKSPACE), &redactor) {
            report.redactions.extend(redactions);
            report.left(result, &self.upload).await;
        }
        if !self.artifacts.is_empty() {
            let (left, redactions) =
                leaving::behind(&self.artifacts, &*self.bucket, &redactor).await;
            report.redactions.extend(redactions);
            report.left_behind(left);
        }
        report.redactions = redaction::reported(report.redactions);
        report.output_missing_bytes = self.upload.missing_bytes();
        match api.end(&report).await {
            Ok(()) => exit_code,
            // Somebody else has decided about the step.
            Err(Unheard::Refused(why)) => {
                eprintln!("sealfleet-init: the step's end was not taken: {why}");
                exit_code
            }
            Err(Unheard::Passing(why)) => {
                eprintln!("sealfleet-init: nobody was told the step's end: {why}");
                UNTOLD
            }
        }
    }
}

/// Puts what has to be brought to a step into its workspace.
async fn bring(
    api: &Api,
    mut page: Option<Brings>,
    mut workspace: Workspace,
) -> Result<Workspace, String> {
    let (mut had, mut renewed) = (0, None);
    while let Some(brings) = &mut page {
        let Some(input) = brings.items.front() else {
            page = match brings.next {
                Some(_) => api.brings_after(had).await?,
                None => None,
            };
            continue;
        };
        match api.fetch(input).await {
            Ok(mut file) => {
                workspace.take(&input.place, &mut file)?;
                brings.items.pop_front();
                had += 1;
            }
            Err(Ungot::Expired) if renewed != Some(had) => {
                renewed = Some(had);
                page = api.brings_after(had).await?;
            }
            Err(Ungot::Expired) => {
                return Err(format!("{} cannot be got: the store refuses", input.place));
            }
            Err(Ungot::Unheard(why)) => {
                return Err(format!(
                    "{} cannot be got: {}",
                    input.place,
                    String::from(why)
                ));
            }
        }
    }
    Ok(workspace)
}

/// The secrets that the step names.
fn injected(
    own: &mut Environment,
    names: Vec<String>,
    unredacted: &[String],
) -> Result<Vec<Injected>, String> {
    let mut secrets = Vec::with_capacity(names.len());
    for name in names {
        let value = own.take(&name).ok_or_else(|| {
            format!("the secret `{name}` is not in the task's environment: its task definition must name it under `secrets`")
        })?;
        // ECS gives the variable of a binary secret no value, and says nothing.
        if value.expose().is_empty() {
            return Err(format!(
                "the secret `{name}` is empty: give it a value; one that is stored as binary is empty here, too"
            ));
        }
        secrets.push(Injected {
            redact: !unredacted.contains(&name),
            name,
            reference: None,
            value,
        });
    }
    Ok(secrets)
}
