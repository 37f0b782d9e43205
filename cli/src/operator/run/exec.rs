//! `run exec`: one command as a run of one step, as if it ran here: its output comes as it is
//! written, and its exit code is that of this program.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sealfleet_client::Client;
use sealfleet_client::types::{EnqueueRun, EnqueueStep, RunView, StepView};
use sealfleet_domain::cascade::Overrides;
use sealfleet_domain::run::{Failure as Failed, Mode, OnDrift};
use sealfleet_domain::text::one_line;
use sealfleet_domain::{PoolName, ProfileName, RunId, StepId, ToolName, WorkflowName, limits};

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::input::{pair, seconds, unique};
use super::super::output::{Output, answer, note};
use super::enqueue;
use super::logs::Reader;
use super::show::line;

#[derive(Args)]
#[command(after_help = "\
Exit code: that of the command, 128 + N if signal N ended it, 137 if it had too little memory, \
127 and 126 if it could not be executed, 124 if its time was up, 125 if it never began, \
122 if its result cannot be taken, 121 if it was lost with its worker, 120 if its run was aborted. \
Before there is a run: 1, 2 and 3, as for every command.\n\n\
Example:\n\n  sealfleet run exec --profile demo -- sh -c 'test -n \"$TOKEN\"'")]
pub struct Exec {
    /// Profile of the run
    #[arg(long)]
    profile: Option<ProfileName>,
    /// Pool that runs it
    #[arg(long, default_value = "workers")]
    pool: PoolName,
    /// Execution mode [default: `identity` with a profile, else `sandboxed`]
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
    /// Label of the run, as KEY=VALUE; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// How long the command may run
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "10m")]
    timeout: u32,
    /// Key of this request: retrying with the same key never creates a second run
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The program and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Exit codes for what a command cannot say itself.
const NOT_RUN: u8 = 125;
const BAD_RESULT: u8 = 122;
const LOST: u8 = 121;
const ABORTED: u8 = 120;

/// "No such file or directory", as Linux counts errors.
const ENOENT: i32 = 2;

#[derive(Clone, Copy, ValueEnum)]
enum ExecMode {
    Bare,
    Sandboxed,
    Identity,
}

pub(super) async fn run(exec: Exec, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let (idempotency_key, request) = exec.request()?;
    let view = enqueue(&client, &request, idempotency_key.as_deref()).await?;
    note(&format!("{}  enqueued\n", view.run_id));
    let Some(step) = request.steps.first().map(|step| &step.id) else {
        return Err(Failure::Other("a run of no step".to_owned()));
    };
    if connection.output == Output::Text {
        let reader = Reader {
            client: &client,
            run_id: view.run_id,
            step,
            stream: None,
            follow: true,
        };
        reader.print(connection.output).await?;
    }
    let view = ended(&client, view.run_id).await?;
    if connection.output == Output::Json {
        answer(connection.output, &view, String::new)?;
    }
    match view.steps.first().and_then(code) {
        None => Ok(()),
        Some(code) => Err(Failure::Ended {
            code,
            said: format!("{}  {}", view.run_id, one_line(&lines(&view))),
        }),
    }
}

/// Waits until a run has ended.
async fn ended(client: &Client, run_id: RunId) -> Result<RunView, Failure> {
    loop {
        let view = client.get_run(run_id).await?;
        if view.state.is_terminal() {
            return Ok(view);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
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
        (Some(Failed::BadResult { .. }), _) => Some(BAD_RESULT),
        (_, "aborted") => Some(ABORTED),
        (_, "dead") if step.fence.number() > 0 => Some(LOST),
        _ => Some(NOT_RUN),
    }
}

impl Exec {
    fn request(self) -> Result<(Option<String>, EnqueueRun), Failure> {
        let mode = match self.mode {
            Some(ExecMode::Bare) => Mode::Bare,
            Some(ExecMode::Sandboxed) => Mode::Sandboxed,
            Some(ExecMode::Identity) => Mode::Identity,
            None if self.profile.is_some() => Mode::Identity,
            None => Mode::Sandboxed,
        };
        let step = EnqueueStep {
            id: "main".parse::<StepId>().map_err(Failure::other)?,
            pool: self.pool,
            mode,
            command: self.command,
            needs: BTreeSet::new(),
            requires: Default::default(),
            model: None,
            env: unique("env", self.env)?,
            tool: self.tool,
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
        assert_eq!(code("dead", 1, json!(null)), Some(121));
        assert_eq!(code("dead", 0, json!(null)), Some(125), "nobody claimed it");
        assert_eq!(code("aborted", 1, json!(null)), Some(120));
    }
}
