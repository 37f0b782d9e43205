//! `run exec`: one command, or one CLI agent, as a run of one step, as if it ran here: its output
//! comes as it is written, and its exit code is that of this program. Of an agent comes its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use sealfleet_client::Client;
use sealfleet_client::types::{EnqueueRun, EnqueueStep, RunView, StepView};
use sealfleet_domain::agent::{Agent, CLIS, Cli, Usd};
use sealfleet_domain::artifact::Artifact;
use sealfleet_domain::cascade::Overrides;
use sealfleet_domain::command::Word;
use sealfleet_domain::inputs::{Content, InvalidInputs, WorkspacePath};
use sealfleet_domain::run::{Failure as Failed, Mode, OnDrift};
use sealfleet_domain::text::one_line;
use sealfleet_domain::{PoolName, ProfileName, RunId, StepId, ToolName, WorkflowName, limits};

use serde_json::Value;

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::input::{pair, seconds, unique};
use super::super::output::{Output, answer, note};
use super::super::upload;
use super::artifacts;
use super::logs::Reader;
use super::show::{line, place as place_of};
use super::{enqueue, watch};

#[derive(Args)]
#[command(after_help = "\
Exit code: that of the command, 128 + N if signal N ended it, 137 if it had too little memory, \
127 and 126 if it could not be executed, 124 if its time was up, 125 if it never began, \
123 if its agent failed or passed its limits, 122 if its result or artifacts cannot be taken, \
121 if it was lost with its worker, 120 if its run was aborted. \
Before there is a run: 1, 2 and 3, as for every command.\n\n\
Examples:\n\n  sealfleet run exec --profile demo -- sh -c 'test -n \"$TOKEN\"'\n  \
sealfleet run exec --profile demo --agent codex --prompt-file task.md --max-turns 30")]
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
    /// File of its workspace, as PATH=FILE: FILE is read here, and uploaded if it is large; never
    /// put a secret in it; may be repeated
    #[arg(long = "file", value_name = "PATH=FILE", value_parser = input)]
    files: Vec<(WorkspacePath, PathBuf)>,
    /// File that is its standard input, `-` for that of this command; uploaded if it is large
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// Give the command a terminal; its input is empty
    #[arg(long, conflicts_with_all = ["stdin", "agent"])]
    tty: bool,
    /// File or directory of its workspace to keep when it has ended; may be repeated
    #[arg(long = "artifact", value_name = "PATH")]
    artifacts: Vec<WorkspacePath>,
    /// Directory to download its artifacts into
    #[arg(long, value_name = "DIR", requires = "artifacts")]
    download: Option<PathBuf>,
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

/// Exit codes for what a command cannot say itself.
const NOT_RUN: u8 = 125;
const AGENT: u8 = 123;
const BAD_RESULT: u8 = 122;
const LOST: u8 = 121;
const ABORTED: u8 = 120;

/// The file that a prompt becomes which is too long for the run.
const PROMPT: &str = ".prompt";

/// What the paths of the most files may take of the room for inputs.
const ROOM_FOR_PATHS: usize = limits::FILES * 64;

/// "No such file or directory", as Linux counts errors.
const ENOENT: i32 = 2;

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
    let download = exec.download.clone();
    let (idempotency_key, request) = exec.request(&client).await?;
    let view = enqueue(&client, &request, idempotency_key.as_deref()).await?;
    note(&format!("{}  enqueued\n", view.run_id));
    let Some(step) = request.steps.first().map(|step| &step.id) else {
        return Err(Failure::Other("a run of no step".to_owned()));
    };
    // What an agent prints are events for programs. Its answer is the result.
    let is_agent = request.steps.iter().any(|step| step.agent.is_some());
    let reads = connection.output == Output::Text && !is_agent;
    if reads {
        let reader = Reader {
            client: &client,
            run_id: view.run_id,
            step,
            stream: None,
            follow: true,
        };
        reader.print(connection.output).await?;
    }
    // Who reads the output sees that it goes on.
    let tell = if reads { |_: &str| {} } else { note };
    let view = watch(&client, view.run_id, tell).await?;
    if connection.output == Output::Json {
        answer(connection.output, &view, String::new)?;
    } else if is_agent && let Some(step) = view.steps.first() {
        print_answer(&client, view.run_id, step).await?;
    }
    if let (Some(directory), Some(step)) = (&download, view.steps.first())
        && step.artifacts.is_some()
    {
        let left = artifacts::download(&client, view.run_id, &step.id, directory).await?;
        note(&artifacts::said(&left, directory));
    }
    match view.steps.first().and_then(code) {
        None => Ok(()),
        Some(code) => Err(Failure::Ended {
            code,
            said: format!("{}  {}", view.run_id, one_line(&lines(&view))),
        }),
    }
}

/// Prints what an agent answered: the message of its result, or the result that it wrote itself.
async fn print_answer(client: &Client, run_id: RunId, step: &StepView) -> Result<(), Failure> {
    if step.result_bytes.is_none() {
        return Ok(());
    }
    let view = client.get_result(run_id, &step.id).await?;
    let Some(result) = &view.result else {
        if let Some(place) = &view.place {
            note(&format!(
                "its answer lies on its host: {}\n",
                place_of(place)
            ));
        }
        return Ok(());
    };
    let message = result.get("message").and_then(Value::as_str);
    answer(Output::Text, result, || match message {
        Some(message) => format!("{message}\n"),
        None => format!("{result}\n"),
    })
}

fn lines(view: &RunView) -> String {
    let lines: Vec<String> = view.steps.iter().map(line).collect();
    lines.join(" ")
}

/// The exit code for a step that did not succeed: the command's own, or that of a shell.
fn code(step: &StepView) -> Option<u8> {
    let of = |code: i32| u8::try_from(code).unwrap_or(1);
    match (&step.failure, step.state.as_str()) {
        (_, "succeeded") => None,
        (Some(Failed::Exit { code }), _) => Some(of(*code)),
        (Some(Failed::Signal { signal }), _) => Some(of(128_i32.saturating_add(*signal))),
        (Some(Failed::OutOfMemory), _) => Some(137),
        (Some(Failed::CannotExecute { errno: ENOENT, .. }), _) => Some(127),
        (Some(Failed::CannotExecute { .. }), _) => Some(126),
        (Some(Failed::TimedOut { .. }), _) => Some(124),
        (Some(Failed::BadResult { .. } | Failed::BadArtifacts { .. }), _) => Some(BAD_RESULT),
        (
            Some(
                Failed::AgentRateLimited
                | Failed::AgentAuth
                | Failed::AgentContext
                | Failed::AgentNetwork
                | Failed::OverBudget { .. }
                | Failed::OverTurns { .. },
            ),
            _,
        ) => Some(AGENT),
        (_, "aborted") => Some(ABORTED),
        (_, "dead") if step.fence.number() > 0 => Some(LOST),
        _ => Some(NOT_RUN),
    }
}

impl Exec {
    async fn request(self, client: &Client) -> Result<(Option<String>, EnqueueRun), Failure> {
        let mode = match self.mode {
            Some(ExecMode::Bare) => Mode::Bare,
            Some(ExecMode::Sandboxed) => Mode::Sandboxed,
            Some(ExecMode::Identity) => Mode::Identity,
            Some(ExecMode::Full) => Mode::Full,
            None if self.agent.is_some() => Mode::Full,
            None if self.profile.is_some() => Mode::Identity,
            None => Mode::Sandboxed,
        };
        let mut brought = Brought::new(client);
        let mut files = BTreeMap::new();
        for (path, from) in unique("file", self.files)? {
            let content = brought.content(&from).await?;
            files.insert(path, content);
        }
        let stdin = match &self.stdin {
            Some(from) => Some(brought.content(from).await?),
            None => None,
        };
        let (mut prompt, mut prompt_file) = (self.prompt, None);
        if let Some(from) = &self.prompt_file {
            match brought.content(from).await? {
                Content::Text(text) => prompt = Some(text),
                upload @ Content::Upload(_) => {
                    let path: WorkspacePath = PROMPT.parse().map_err(Failure::other)?;
                    if files.insert(path, upload).is_some() {
                        let text = format!(
                            "the prompt is too long for the run and becomes its file `{PROMPT}`: give the other file of this name another one"
                        );
                        return Err(Failure::Usage(text));
                    }
                    prompt_file = Some(PROMPT.to_owned());
                }
            }
        }
        let (command, args) = match self.agent {
            Some(_) => (Vec::new(), self.command),
            None => (
                self.command.into_iter().map(Word::from).collect(),
                Vec::new(),
            ),
        };
        let agent = self.agent.map(|cli| Agent {
            cli,
            prompt,
            prompt_file,
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
            takes: BTreeSet::new(),
            requires: Default::default(),
            model: None,
            env: unique("env", self.env)?,
            tool: self.tool,
            files,
            stdin,
            tty: self.tty,
            artifacts: self.artifacts.into_iter().map(Artifact::from).collect(),
            approval: None,
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

/// What the files of this machine are to a run: text in it as long as there is room, and uploads.
struct Brought<'a> {
    client: &'a Client,
    /// Bytes that may still stand in the run, as JSON writes them.
    room: usize,
}

impl<'a> Brought<'a> {
    const fn new(client: &'a Client) -> Self {
        Self {
            client,
            room: limits::INPUT_BYTES - ROOM_FOR_PATHS,
        }
    }

    /// What a file holds, `-` for standard input.
    async fn content(&mut self, from: &Path) -> Result<Content, Failure> {
        let mut file = upload::open(from)?;
        let mut beginning = Vec::new();
        file.by_ref()
            .take(self.room as u64 + 1)
            .read_to_end(&mut beginning)
            .map_err(|error| Failure::Usage(format!("`{}`: {error}", from.display())))?;
        if let Ok(text) = String::from_utf8(beginning) {
            let json = Value::String(text);
            let needed = json.to_string().len();
            if let (true, Value::String(text)) = (needed <= self.room, json) {
                self.room -= needed;
                return Ok(Content::Text(text));
            }
        }
        let name = from.display().to_string();
        Ok(Content::Upload(
            upload::send(self.client, file, &name).await?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn each_end_has_its_code() {
        let code = |state: &str, fence: u64, failure: serde_json::Value| {
            let step = serde_json::from_value(json!({
                "id": "main", "state": state, "mode": "sandboxed", "pool": "workers", "attempt": 1,
                "fence": fence, "failure": failure
            }));
            super::code(&step.expect("a step"))
        };
        let failed = |failure| code("failed", 1, failure);
        assert_eq!(code("succeeded", 1, json!(null)), None);
        assert_eq!(failed(json!({ "kind": "exit", "code": 3 })), Some(3));
        assert_eq!(failed(json!({ "kind": "signal", "signal": 9 })), Some(137));
        assert_eq!(failed(json!({ "kind": "out_of_memory" })), Some(137));
        let execute = |errno| json!({ "kind": "cannot_execute", "errno": errno, "detail": "x" });
        assert_eq!(
            (failed(execute(2)), failed(execute(13))),
            (Some(127), Some(126))
        );
        assert_eq!(
            failed(json!({ "kind": "timed_out", "after_seconds": 1 })),
            Some(124)
        );
        let said = |kind: &str| json!({ "kind": kind, "detail": "x" });
        assert_eq!(failed(said("cannot_start")), Some(125));
        assert_eq!(failed(said("secret_unavailable")), Some(125));
        assert_eq!(failed(said("bad_result")), Some(122));
        assert_eq!(failed(said("bad_artifacts")), Some(122));
        assert_eq!(code("dead", 1, json!(null)), Some(121));
        assert_eq!(code("dead", 0, json!(null)), Some(125), "nobody claimed it");
        assert_eq!(code("aborted", 1, json!(null)), Some(120));
    }
}
