//! `sealfleet-local`: the command line of the local stack.

use clap::{Args, Parser, Subcommand, ValueEnum};
use sealfleet_local::{
    Error, Process, Programs, Stack, UpOptions, deploy_project, down, have_agent, onboard, prepare,
    status, supervise, up,
};
use std::{path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Run the whole control plane on this machine, without a cloud and without Docker
#[derive(Parser)]
#[command(name = "sealfleet-local", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the stack and deploy the control plane, with progress on standard error
    Up(Up),
    /// Install the Python packages that `up` needs, once, and start nothing
    Prepare,
    /// Print whether the stack is up; exits with 1 if it is not
    Status {
        #[command(flatten)]
        directory: Directory,
        /// How to print the answer
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Stop what `up` started and remove its data; logs stay
    Down {
        #[command(flatten)]
        directory: Directory,
    },
    /// Deploy a project's queues, roles and log group (infra/sam/project.yaml) to the stack
    Project {
        /// Id of the project
        name: String,
        #[command(flatten)]
        directory: Directory,
        /// Pool of the project's own workers; empty for none
        #[arg(long, default_value = "workers")]
        pull_pool: String,
        /// Fargate pool; empty for none
        #[arg(long, default_value = "fargate")]
        fargate_pool: String,
    },
    /// Get ready for CLI agents: put Codex into the sandboxes, fetched once, and start a stand-in
    /// of its model's API on 127.0.0.1, whose answers are a script
    Agent {
        #[command(flatten)]
        directory: Directory,
        /// Port of the stand-in on 127.0.0.1
        #[arg(long, default_value_t = 8790)]
        port: u16,
    },
    /// Take the stack down when a process ends; `up --parent-pid` starts this
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
    /// Directory of the stack: state, data, logs
    #[arg(long = "dir", default_value = ".sealfleet-local")]
    path: PathBuf,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    directory: Directory,
    /// The `sealfleet-functions` binary [default: beside this program]
    #[arg(long)]
    functions: Option<PathBuf>,
    /// The `sealfleet-local-ecs` binary [default: beside this program]
    #[arg(long)]
    ecs: Option<PathBuf>,
    /// The `sealfleet-init` binary, the first process of every sandbox [default: beside this
    /// program]
    #[arg(long)]
    init: Option<PathBuf>,
    /// Python environment of the emulator, created if absent [default: below ~/.cache/sealfleet]
    #[arg(long)]
    venv: Option<PathBuf>,
    /// The files of a root as tar, which the stack's sandboxes see, as `docker export` writes them
    /// [default: Debian's packages, made with mmdebstrap if absent, below ~/.cache/sealfleet]
    #[arg(long, value_name = "TAR")]
    sandbox_root: Option<PathBuf>,
    /// Parameter of infra/sam/template.yaml; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Take the stack down when this process ends
    #[arg(long)]
    parent_pid: Option<u32>,
    /// Onboard this project too, with a worker, a secret store, a profile and a context of its name
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as `NAME=VALUE`, for example `LeaseSeconds=5`".to_owned()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    run(Arguments::parse()).await.unwrap_or_else(|error| {
        eprintln!("sealfleet-local: {error}");
        ExitCode::FAILURE
    })
}

async fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    match arguments.command {
        Command::Up(arguments) => run_up(arguments).await,
        Command::Status { directory, output } => print_status(&directory.path, output).await,
        Command::Down { directory } => {
            let ended = down(&directory.path).await?;
            eprintln!("stopped {ended} processes");
            Ok(ExitCode::SUCCESS)
        }
        Command::Prepare => {
            prepare().await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Project {
            name,
            directory,
            pull_pool,
            fargate_pool,
        } => {
            let stack = Stack::load(&directory.path)?;
            deploy_project(
                &stack,
                &name,
                non_empty(&pull_pool),
                non_empty(&fargate_pool),
            )
            .await?;
            eprintln!("project `{name}` deployed");
            Ok(ExitCode::SUCCESS)
        }
        Command::Agent { directory, port } => {
            let model = or_beside(None, "sealfleet-local-model")?;
            let address = have_agent(&directory.path, &programs(None)?, &model, port).await?;
            eprintln!(
                "Codex is in the sandboxes, and the worker's sandboxes have this host's network"
            );
            eprintln!(
                "{address} stands in for OpenAI's API: its answers are a script, and no model reads your prompt"
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Supervise {
            directory,
            parent_pid,
            parent_start_time,
        } => {
            supervise(
                &directory.path,
                Process {
                    pid: parent_pid,
                    start_time: parent_start_time,
                },
            )
            .await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn run_up(arguments: Up) -> Result<ExitCode, Error> {
    let directory = arguments.directory.path;
    let options = UpOptions {
        functions: or_beside(arguments.functions, "sealfleet-functions")?,
        ecs: or_beside(arguments.ecs, "sealfleet-local-ecs")?,
        init: or_beside(arguments.init, "sealfleet-init")?,
        supervisor: or_beside(None, "sealfleet-local")?,
        directory: directory.clone(),
        venv: arguments.venv,
        sandbox_root: arguments.sandbox_root,
        parameters: arguments.parameters,
        parent_pid: arguments.parent_pid,
    };
    let programs = programs(Some(options.init.clone()))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let project = arguments.project.as_deref();
    let all = async {
        let stack = up(&options).await?;
        if let Some(project) = project {
            eprintln!("onboarding the project `{project}`");
            if let Err(error) = onboard(&stack, project, &programs).await {
                down(&directory).await?;
                return Err(error);
            }
        }
        Ok::<Stack, Error>(stack)
    };
    let stack = tokio::select! {
        outcome = all => outcome?,
        _ = interrupt.recv() => return interrupted(&directory).await,
        _ = terminate.recv() => return interrupted(&directory).await,
    };
    eprintln!("up: API at {}", stack.api_url);
    eprintln!("    details in `{}`", Stack::path(&directory).display());
    eprint!("{}", next_step(project));
    Ok(ExitCode::SUCCESS)
}

/// The programs of a project, beside this one unless `init` is another.
fn programs(init: Option<PathBuf>) -> Result<Programs, Error> {
    Ok(Programs {
        cli: or_beside(None, "sealfleet")?,
        worker: or_beside(None, "sealfleet-worker")?,
        init: or_beside(init, "sealfleet-init")?,
    })
}

/// What to type next.
fn next_step(project: Option<&str>) -> String {
    match project {
        Some(project) => format!(
            "project `{project}` has a worker, a profile and a context of its name. Next, a secret and a run that uses it:\n\n    \
             printf %s \"demo-4711-secret\" | sealfleet secret put token --profile {project} --key TOKEN\n    \
             sealfleet run exec --profile {project} -- sh -c 'echo \"TOKEN has ${{#TOKEN}} characters\"'\n"
        ),
        None => "Next: `. examples/local.sh` points your shell at it, `sealfleet token bootstrap --out operator` makes the first \
                 token,\n      and `sealfleet-local project NAME` deploys a project; docs/tutorial.md goes on from there.\n      \
                 `sealfleet-local up --project demo` does all of this.\n"
            .to_owned(),
    }
}

async fn interrupted(directory: &std::path::Path) -> Result<ExitCode, Error> {
    eprintln!("interrupted: stopping what was started");
    down(directory).await?;
    Ok(ExitCode::from(130))
}

async fn print_status(directory: &std::path::Path, output: Output) -> Result<ExitCode, Error> {
    let health = status(directory).await?;
    match output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&health).map_err(Error::Json)?
        ),
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
    Ok(if health.up {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn or_beside(given: Option<PathBuf>, name: &str) -> Result<PathBuf, Error> {
    match given {
        Some(path) => Ok(path),
        None => Ok(std::env::current_exe()
            .map_err(Error::OwnPath)?
            .with_file_name(name)),
    }
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
