//! `run exec`: one command, or one CLI agent, as a run of one step.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use sealfleet_client::types::{EnqueueRun, EnqueueStep};
use sealfleet_domain::agent::{Agent, CLIS, Cli, Usd};
use sealfleet_domain::cascade::Overrides;
use sealfleet_domain::inputs::{Content, InvalidInputs, WorkspacePath};
use sealfleet_domain::run::{Mode, OnDrift};
use sealfleet_domain::{PoolName, ProfileName, StepId, ToolName, WorkflowName, limits};

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::input::{self, pair, seconds, unique};
use super::super::output::note;
use super::{enqueue, until_ended};

#[derive(Args)]
#[command(
    after_help = "Example:\n\n  sealfleet run exec --profile demo -- sh -c 'test -n \"$TOKEN\"'\n  sealfleet run exec --profile demo --agent codex --prompt-file task.md --max-turns 30"
)]
pub struct Exec {
    /// Profile of the run
    #[arg(long)]
    profile: Option<ProfileName>,
    /// Pool that runs it
    #[arg(long, default_value = "workers")]
    pool: PoolName,
    /// Execution mode [default: `full` for an agent, `identity` with a profile, else `sandboxed`]
    #[arg(long, value_enum)]
    mode: Option<ExecMode>,
    /// Tool that the command is, for the access lists of profiles
    #[arg(long)]
    tool: Option<ToolName>,
    /// Workflow of the run
    #[arg(long, default_value = "exec")]
    workflow: WorkflowName,
    /// Plain environment variable, as KEY=VALUE; never put a secret here; may be repeated
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// File of its workspace, as PATH=FILE: FILE is read here; never put a secret in it; may be
    /// repeated
    #[arg(long = "file", value_name = "PATH=FILE", value_parser = input)]
    files: Vec<(WorkspacePath, PathBuf)>,
    /// File that is its standard input, `-` for that of this command
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// Label of the run, as KEY=VALUE; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// How long the command may run
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "10m")]
    timeout: u32,
    /// Key of this request: retrying with the same key never creates a second run
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// CLI agent to run instead of a command: codex, claude-code, gemini, opencode or custom
    #[arg(long, value_name = "CLI", value_parser = cli)]
    agent: Option<Cli>,
    /// What the agent is to do
    #[arg(
        long,
        value_name = "TEXT",
        requires = "agent",
        conflicts_with = "prompt_file"
    )]
    prompt: Option<String>,
    /// File on this machine that says what the agent is to do; `-` reads standard input
    #[arg(long, value_name = "FILE", requires = "agent")]
    prompt_file: Option<PathBuf>,
    /// Model that the agent is to use
    #[arg(long, value_name = "MODEL", requires = "agent")]
    model: Option<String>,
    /// Most answers of the model; an agent that needs more is stopped
    #[arg(long, value_name = "NUMBER", requires = "agent")]
    max_turns: Option<u32>,
    /// Most US dollars; an agent that spends more is stopped
    #[arg(long, value_name = "USD", requires = "agent", value_parser = usd)]
    budget_usd: Option<Usd>,
    /// The program and its arguments, after `--`; with an agent, further arguments of its CLI
    #[arg(last = true, required_unless_present = "agent", value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ExecMode {
    Bare,
    Sandboxed,
    Identity,
    Full,
}

fn cli(text: &str) -> Result<Cli, String> {
    let found = CLIS.into_iter().find(|cli| cli.name() == text);
    found.ok_or_else(|| format!("use one of {}", CLIS.map(Cli::name).join(", ")))
}

fn usd(text: &str) -> Result<Usd, String> {
    let amount = text.parse().ok().and_then(Usd::dollars);
    amount.ok_or_else(|| "write an amount of US dollars, such as `2.50`".to_owned())
}

pub(super) async fn run(exec: Exec, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let (idempotency_key, request) = exec.request()?;
    let view = enqueue(&client, &request, idempotency_key.as_deref()).await?;
    note(&format!("{}  enqueued\n", view.run_id));
    until_ended(&client, connection.output, view.run_id, None).await
}

impl Exec {
    fn request(self) -> Result<(Option<String>, EnqueueRun), Failure> {
        let mode = match self.mode {
            Some(ExecMode::Bare) => Mode::Bare,
            Some(ExecMode::Sandboxed) => Mode::Sandboxed,
            Some(ExecMode::Identity) => Mode::Identity,
            Some(ExecMode::Full) => Mode::Full,
            None if self.agent.is_some() => Mode::Full,
            None if self.profile.is_some() => Mode::Identity,
            None => Mode::Sandboxed,
        };
        let prompt = match (self.prompt, &self.prompt_file) {
            (None, Some(path)) => Some(input::file(path, limits::PROMPT_BYTES as u64)?.to_string()),
            (prompt, _) => prompt,
        };
        let (command, args) = match self.agent {
            Some(_) => (Vec::new(), self.command),
            None => (self.command, Vec::new()),
        };
        let agent = self.agent.map(|cli| Agent {
            cli,
            prompt,
            prompt_file: None,
            model: self.model,
            max_turns: self.max_turns,
            budget_usd: self.budget_usd,
            args,
        });
        if let Some(Err((field, message))) = agent.as_ref().map(Agent::check) {
            let option = field.replace('_', "-");
            return Err(Failure::Usage(format!("`--{option}`: {message}")));
        }
        let step = EnqueueStep {
            id: "main".parse::<StepId>().map_err(Failure::other)?,
            pool: self.pool,
            mode,
            command,
            agent,
            needs: BTreeSet::new(),
            requires: Default::default(),
            model: None,
            env: unique("env", self.env)?,
            tool: self.tool,
            files: unique("file", self.files)?
                .into_iter()
                .map(|(path, from)| Ok((path, content(&from)?)))
                .collect::<Result<_, Failure>>()?,
            stdin: self.stdin.as_deref().map(content).transpose()?,
            on_drift: OnDrift::default(),
            timeout_seconds: self.timeout,
            // A person waits: it is tried once, and not for days.
            max_attempts: 1,
            ttl_seconds: limits::TTL_SECONDS.min(3600),
        };
        let request = EnqueueRun {
            workflow: self.workflow,
            profile: self.profile,
            overrides: Overrides::default(),
            labels: unique("label", self.labels)?,
            steps: vec![step],
        };
        Ok((self.idempotency_key, request))
    }
}

/// Parses `PATH=FILE`.
fn input(text: &str) -> Result<(WorkspacePath, PathBuf), String> {
    let (path, file) = text.split_once('=').ok_or("write it as `PATH=FILE`")?;
    let path = path
        .parse()
        .map_err(|error: InvalidInputs| error.to_string())?;
    Ok((path, PathBuf::from(file)))
}

/// What a file of this machine holds, `-` for standard input.
fn content(file: &Path) -> Result<Content, Failure> {
    let text = input::file(file, limits::INPUT_BYTES as u64)?;
    Ok(Content::Text(text.to_string()))
}
