//! `sealfleet-worker`: registers a worker, and runs it.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "`console` escapes what a terminal would act on"
)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use sealfleet_bubblewrap::Cgroups;
use sealfleet_client::{Client, Credential};
use sealfleet_system::SystemClock;
use sealfleet_worker::control::ControlPlane;
use sealfleet_worker::executor::bare::Bare;
use sealfleet_worker::executor::sandboxed::Sandboxed;
use sealfleet_worker::executor::{Executors, Logs};
use sealfleet_worker::identity::{Identity, IdentityArguments};
use sealfleet_worker::inputs::Inputs;
use sealfleet_worker::outputs::{Bucket, Stores};
use sealfleet_worker::queue::SqsQueue;
use sealfleet_worker::telemetry::{Counted, Telemetry};
use sealfleet_worker::worker::{End, Settings, Wish, Worker};
use sealfleet_worker::{backends, check, config, console, guard, register, rootfs, sandboxes};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// The exit code of a worker that was rejected or revoked.
const NOT_ALLOWED: u8 = 3;

/// Takes steps from a project's queue and executes them here.
#[derive(Parser)]
#[command(name = "sealfleet-worker", version)]
struct Arguments {
    /// Address of the control plane, `https://HOST`
    #[arg(long, global = true, env = "SEALFLEET_API_URL", default_value = "")]
    api_url: String,
    /// TOML file with options: the long names of `run`, and of `register` in a table `[register]`.
    /// The command line and the environment win over it
    #[arg(long, global = true, value_name = "FILE", env = "SEALFLEET_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Register with the control plane, and write the worker's credential to a new file
    Register(register::Arguments),
    /// Work until SIGTERM; a second SIGTERM, or SIGINT, stops at once
    Run(Box<Run>),
    /// Make the root directory of sandboxes
    #[command(subcommand)]
    Rootfs(rootfs::Action),
    /// Look after the sandboxes of this host
    #[command(subcommand)]
    Sandbox(sandboxes::Action),
    /// Look after the identity backends of this worker
    #[command(subcommand)]
    Backend(Backend),
}

#[derive(Subcommand)]
enum Backend {
    /// Check, with the options that `run` would get, whether each identity backend lets this worker
    /// log in, what the login may read, and whether references have a value. Names alone are shown.
    /// With AppRole of Vault it uses up one of the wrapped secret ids
    Check(Box<BackendCheck>),
}

#[derive(clap::Args)]
struct BackendCheck {
    #[command(flatten)]
    check: check::CheckArguments,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = sandboxes::Output::Table)]
    output: sandboxes::Output,
}

#[derive(clap::Args)]
struct Run {
    /// Credential file that `register` wrote
    #[arg(long, value_name = "FILE", env = "SEALFLEET_CREDENTIAL_FILE")]
    credential_file: PathBuf,
    #[command(flatten)]
    sandboxes: backends::Arguments,
    #[command(flatten)]
    identity: IdentityArguments,
    /// Directory for the output of steps, as DIR/RUN/STEP.FENCE.log
    #[arg(long, value_name = "DIR", env = "SEALFLEET_LOG_DIR")]
    log_dir: PathBuf,
    /// Bytes of output to keep for each step
    #[arg(long, default_value_t = 10 * 1024 * 1024)]
    log_bytes: u64,
    /// Where output and results of steps go: to the project's outputs too, or nowhere but the log
    /// directory
    #[arg(long, value_enum, default_value_t = Outputs::Project, env = "SEALFLEET_OUTPUTS")]
    outputs: Outputs,
    /// Endpoint of the queue, where this host reaches it by another address than its own
    #[arg(long, value_name = "URL", env = "SEALFLEET_QUEUE_ENDPOINT")]
    queue_endpoint: Option<String>,
    /// Seconds between heartbeats; fewer where the control plane's leases are shorter than three of
    /// these
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    heartbeat_seconds: u64,
    /// Steps to run at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max_concurrent: u16,
    /// Seconds that running steps may take to finish after SIGTERM
    #[arg(long, default_value_t = 30)]
    drain_seconds: u64,
    /// Run `bare` steps, as plain processes of this user without a sandbox
    #[arg(long)]
    allow_bare: bool,
    /// Port of 127.0.0.1 for `/healthz` and `/metrics`; 0 takes a free one, and the log says which
    #[arg(long, value_name = "PORT", env = "SEALFLEET_TELEMETRY_PORT")]
    telemetry_port: Option<u16>,
    /// Log level: `error`, `warn`, `info` or `debug`
    #[arg(long, default_value = "info", env = "SEALFLEET_LOG")]
    log: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outputs {
    /// To the log directory, and to the project's outputs
    Project,
    /// To the log directory alone: none of it leaves this host
    Local,
}

fn main() -> ExitCode {
    sealfleet_system::names::resolve_without_modules();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let [subcommand, stdin, dashes, command @ ..] = words.as_slice()
        && subcommand == guard::SUBCOMMAND
        && dashes == "--"
    {
        return match guard::run(stdin.as_ref(), command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                console::note(&format!(
                    "sealfleet-worker: cannot guard the command: {error}"
                ));
                ExitCode::FAILURE
            }
        };
    }
    let arguments = match arguments(&words) {
        Ok(arguments) => arguments,
        Err(message) => {
            console::note(&format!("sealfleet-worker: {message}"));
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(arguments)),
        Err(error) => Err(format!("cannot start the runtime: {error}")),
    };
    outcome.unwrap_or_else(|message| {
        console::note(&format!("sealfleet-worker: {message}"));
        ExitCode::FAILURE
    })
}

/// The command line, on top of the configuration file that it names.
fn arguments(words: &[OsString]) -> Result<Arguments, String> {
    let command = Arguments::command();
    let command = match config::named_by(words, config::variable()) {
        Some(file) => config::with_file(command, &file)?,
        None => command,
    };
    let matches = command.get_matches();
    Arguments::from_arg_matches(&matches).map_err(|error| error.to_string())
}

async fn dispatch(arguments: Arguments) -> Result<ExitCode, String> {
    let address = || match arguments.api_url.as_str() {
        "" => Err("set the address of the control plane with `--api-url` or `SEALFLEET_API_URL`"),
        address => Ok(address),
    };
    match arguments.command {
        Command::Register(request) => {
            let answer = register::run(address()?, request)
                .await
                .map_err(|error| error.to_string())?;
            console::answer(&answer.to_string());
            Ok(ExitCode::SUCCESS)
        }
        Command::Rootfs(action) => {
            let directory = rootfs::run(action)?;
            console::answer(&directory.display().to_string());
            Ok(ExitCode::SUCCESS)
        }
        Command::Sandbox(action) => {
            sandboxes::run(action).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Backend(Backend::Check(asked)) => {
            let findings = check::examine(&asked.check).await?;
            sandboxes::tell(asked.output, &findings).map_err(|failed| {
                format!("steps cannot have all of their secrets here: {failed}")
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => {
            let config = arguments.config.as_deref();
            work(address()?, config, *run).await
        }
    }
}

async fn work(api_url: &str, config: Option<&Path>, run: Run) -> Result<ExitCode, String> {
    let filter =
        EnvFilter::try_new(&run.log).map_err(|error| format!("`--log {}`: {error}", run.log))?;
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(|| console::Log(std::io::stderr()))
        .init();
    let credential = credential(&run.credential_file)?;
    let wishes = wishes()?;
    let client = Client::new(api_url, Some(credential)).map_err(|error| error.to_string())?;
    let heartbeat = Duration::from_secs(run.heartbeat_seconds);
    let telemetry = Telemetry::default();
    let control: Arc<dyn ControlPlane> = Arc::new(Counted {
        inner: client.with_timeout(Duration::from_secs(10)),
        telemetry: telemetry.clone(),
    });
    let outputs: Option<Arc<dyn Stores>> = match run.outputs {
        Outputs::Local => None,
        Outputs::Project => Some(Arc::new(Bucket {
            control: Arc::clone(&control),
            clock: Arc::new(SystemClock),
        })),
    };
    let executors = executors(&run, &control, outputs).await?;
    let queue = Arc::new(Counted {
        inner: SqsQueue::new(
            Arc::clone(&control),
            Arc::new(SystemClock),
            run.queue_endpoint.clone(),
        ),
        telemetry: telemetry.clone(),
    });
    let settings = Settings {
        heartbeat,
        max_concurrent: usize::from(run.max_concurrent),
        drain: Duration::from_secs(run.drain_seconds),
    };
    tracing::info!(
        max_concurrent = run.max_concurrent,
        heartbeat_seconds = run.heartbeat_seconds,
        ?config,
        "working"
    );
    let worker = Worker::new(control, queue, Arc::new(executors), settings);
    if let Some(port) = run.telemetry_port {
        let served = telemetry.serve(port, worker.leases()).await;
        let address = served.map_err(|error| format!("`--telemetry-port {port}`: {error}"))?;
        tracing::info!(%address, "serving health and metrics");
    }
    let end = worker.run(wishes).await;
    tracing::info!(?end, "ended");
    Ok(match end {
        End::Asked => ExitCode::SUCCESS,
        End::NotAllowed => ExitCode::from(NOT_ALLOWED),
    })
}

/// The worker's credential. systemd keeps others from the files that it hands to a service by an
/// access list, which shows as rights of a group: those are as private as a file of mode 0600.
fn credential(file: &Path) -> Result<Credential, String> {
    let mut variables = std::env::vars_os();
    let of_service = variables.find(|(name, _)| name == "CREDENTIALS_DIRECTORY");
    if of_service.is_some_and(|(_, directory)| file.starts_with(directory)) {
        let text = std::fs::read_to_string(file).map(Zeroizing::new);
        let text = text.map_err(|error| format!("`{}`: {error}", file.display()))?;
        return Ok(Credential::new(text.as_str()));
    }
    Credential::read(file).map_err(|error| error.to_string())
}

async fn executors(
    run: &Run,
    control: &Arc<dyn ControlPlane>,
    outputs: Option<Arc<dyn Stores>>,
) -> Result<Executors, String> {
    let logs = Logs {
        directory: absolute(&run.log_dir)?,
        most_bytes: run.log_bytes,
        outputs,
    };
    std::fs::create_dir_all(&logs.directory)
        .map_err(|error| format!("`{}`: {error}", run.log_dir.display()))?;
    let inputs = Inputs {
        control: Arc::clone(control),
        directory: logs.directory.clone(),
    };
    let sandboxed = sandboxed(run, inputs.clone(), logs.clone()).await?;
    let bare = if run.allow_bare {
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot find the path of this program: {error}"))?;
        let cgroups = Cgroups::detect();
        if cgroups.is_none() {
            tracing::warn!(
                "no cgroups for `bare` steps: a step that kills its guard may leave processes behind"
            );
        }
        Some(Bare {
            program,
            inputs,
            logs,
            cgroups,
        })
    } else {
        None
    };
    if bare.is_none() && sandboxed.is_none() {
        return Err(
            "this worker cannot run any step: give it sandboxes by `--rootfs DIR` or `--docker-image IMAGE`, or \
             `--allow-bare`"
                .to_owned(),
        );
    }
    Ok(Executors { bare, sandboxed })
}

async fn sandboxed(run: &Run, inputs: Inputs, logs: Logs) -> Result<Option<Sandboxed>, String> {
    let Some((worker, backends)) = backends::start(&run.sandboxes).await? else {
        return Ok(None);
    };
    Ok(Some(Sandboxed {
        backends,
        worker,
        identity: Identity::of(&run.identity),
        network: run.sandboxes.network()?,
        limits: run.sandboxes.limits(),
        inputs,
        logs,
    }))
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("`{}`: {error}", path.display()))
}

/// The first SIGTERM drains; a second one, or SIGINT, stops at once.
fn wishes() -> Result<watch::Receiver<Wish>, String> {
    let failed = |error| format!("cannot watch signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (sender, receiver) = watch::channel(Wish::Work);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => sender.send_modify(|wish| {
                    *wish = if *wish == Wish::Work { Wish::Drain } else { Wish::Stop };
                }),
                _ = interrupt.recv() => { sender.send_replace(Wish::Stop); }
            }
        }
    });
    Ok(receiver)
}
