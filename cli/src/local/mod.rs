//! `sealfleet local`: the real templates and the real binaries on one machine.
//!
//! MiniStack serves the AWS APIs with IAM enforced and runs our Lambda binary as AWS would; `sealfleet-fargate-local` stands
//! in for ECS. What is deployed is `infra/sam/template.yaml` and `infra/sam/project.yaml` themselves, through CloudFormation:
//! only endpoints differ from AWS.
//!
//! Everything a stack owns is below its directory, and every process it started is written down there before anything else
//! happens, so that [`down`] can end exactly those processes whatever became of the one that started them.

mod deploy;
mod error;
mod process;
mod python;
mod stack;
mod up;

pub use deploy::deploy_project;
pub use error::Error;
pub use process::Process;
pub use stack::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Stack};
pub use up::{Health, UpOptions, down, status, supervise, up};

use clap::{Args, Subcommand, ValueEnum};
use python::Venv;
use std::{path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `sealfleet local`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the stack and deploy the control plane. Progress on stderr.
    Up(Up),
    /// Install what `up` needs of Python, once, and start nothing.
    Prepare,
    /// Say whether the stack is up. Exits with 1 when it is not.
    Status {
        #[command(flatten)]
        directory: Directory,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Stop what `up` started and remove its data. Logs stay.
    Down {
        #[command(flatten)]
        directory: Directory,
    },
    /// Deploy a project's queues, roles and log group (infra/sam/project.yaml) to the stack.
    Project {
        /// Project id.
        name: String,
        #[command(flatten)]
        directory: Directory,
        /// Pool of the project's own workers; empty for none.
        #[arg(long, default_value = "workers")]
        pull_pool: String,
        /// Fargate pool; empty for none.
        #[arg(long, default_value = "fargate")]
        fargate_pool: String,
    },
    /// Tear the stack down when a process is gone. Started by `up --parent-pid`.
    #[command(hide = true)]
    Supervise {
        #[command(flatten)]
        directory: Directory,
        #[arg(long)]
        parent_pid: u32,
        #[arg(long)]
        parent_start_time: u64,
    },
}

#[derive(Args)]
struct Directory {
    /// Directory of the stack: state, data, logs.
    #[arg(long = "dir", default_value = ".sealfleet-local")]
    path: PathBuf,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    directory: Directory,
    /// The `sealfleet-functions` binary. Default: beside this program.
    #[arg(long)]
    functions: Option<PathBuf>,
    /// The `sealfleet-fargate-local` binary. Default: beside this program.
    #[arg(long)]
    fargate_local: Option<PathBuf>,
    /// The `sealfleet-init` binary, the first process of every sandbox. Default: beside this program.
    #[arg(long)]
    init: Option<PathBuf>,
    /// Python environment of the emulator, made when absent. Default: below ~/.cache/sealfleet.
    #[arg(long)]
    venv: Option<PathBuf>,
    /// A parameter of infra/sam/template.yaml. May be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Tear the stack down when this process is gone.
    #[arg(long)]
    parent_pid: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE, for example `LeaseSeconds=5`".to_owned()),
    }
}

/// Runs a `sealfleet local` command.
///
/// # Errors
/// Whatever kept the command from being done, worded for the person at the terminal.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    match arguments.command {
        Command::Up(arguments) => run_up(arguments).await,
        Command::Status { directory, output } => print_status(&directory.path, output).await,
        Command::Down { directory } => {
            let ended = down(&directory.path).await?;
            eprintln!("stopped {ended} processes");
            Ok(ExitCode::SUCCESS)
        }
        Command::Prepare => {
            Venv::ensure(None).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Project { name, directory, pull_pool, fargate_pool } => {
            let stack = Stack::load(&directory.path)?;
            deploy_project(&stack, &name, non_empty(&pull_pool), non_empty(&fargate_pool)).await?;
            eprintln!("project `{name}` deployed");
            Ok(ExitCode::SUCCESS)
        }
        Command::Supervise { directory, parent_pid, parent_start_time } => {
            supervise(&directory.path, Process { pid: parent_pid, start_time: parent_start_time }).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn run_up(arguments: Up) -> Result<ExitCode, Error> {
    let directory = arguments.directory.path;
    let options = UpOptions {
        functions: or_beside(arguments.functions, "sealfleet-functions")?,
        fargate_local: or_beside(arguments.fargate_local, "sealfleet-fargate-local")?,
        init: or_beside(arguments.init, "sealfleet-init")?,
        supervisor: or_beside(None, "sealfleet")?,
        directory: directory.clone(),
        venv: arguments.venv,
        parameters: arguments.parameters,
        parent_pid: arguments.parent_pid,
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let stack = tokio::select! {
        outcome = up(&options) => outcome?,
        _ = interrupt.recv() => return interrupted(&directory).await,
        _ = terminate.recv() => return interrupted(&directory).await,
    };
    eprintln!("up: API at {}", stack.api_url);
    eprintln!("    details in `{}`", Stack::path(&directory).display());
    Ok(ExitCode::SUCCESS)
}

async fn interrupted(directory: &std::path::Path) -> Result<ExitCode, Error> {
    eprintln!("interrupted: stopping what was started");
    down(directory).await?;
    Ok(ExitCode::from(130))
}

async fn print_status(directory: &std::path::Path, output: Output) -> Result<ExitCode, Error> {
    let health = status(directory).await?;
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&health).map_err(Error::Json)?),
        Output::Text => {
            println!("{}", if health.up { "up" } else { "down" });
            for (name, process) in &health.processes {
                let state = if process.alive { "running" } else { "gone" };
                println!("  {name:<16} {state:<8} pid {}", process.pid);
            }
            if let Some(url) = &health.api_url {
                println!("  API {url}");
            }
        }
    }
    Ok(if health.up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn or_beside(given: Option<PathBuf>, name: &str) -> Result<PathBuf, Error> {
    match given {
        Some(path) => Ok(path),
        None => Ok(std::env::current_exe().map_err(Error::OwnPath)?.with_file_name(name)),
    }
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
