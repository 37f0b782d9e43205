//! Runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use sealfleet_client::types::{EnqueueRun, RunView, StepView};
use sealfleet_client::{Client, PageQuery};
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::{RequeueReason, RunState};
use sealfleet_domain::text::one_line;
use sealfleet_domain::{RunId, StepId};

use super::connection::{Connection, Output};
use super::failure::Failure;
use super::input;
use super::output::{Table, answer, joined, levels, lines, list, note, or_dash, word};
use super::rows;

/// The longest request body, in bytes.
const MOST: u64 = sealfleet_domain::limits::BODY_BYTES as u64;

#[derive(Subcommand)]
pub enum Command {
    /// Enqueue a run
    Enqueue {
        /// File with the run as JSON; `-` reads standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Key of this request: retrying with the same key never creates a second run
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        /// Wait until the run ends, with progress on standard error
        #[arg(long)]
        watch: bool,
    },
    /// Show one run
    Show {
        /// Id of the run
        #[arg(required_unless_present = "raw")]
        run_id: Option<RunId>,
        /// Decode rows of the tables instead, as `aws dynamodb get-item` or `query` printed them:
        /// a run, its entries, its identities; `-` reads standard input. Asks nobody
        #[arg(long, value_name = "FILE", conflicts_with = "run_id")]
        raw: Option<PathBuf>,
    },
    /// List runs, newest first
    List {
        /// Show only runs in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Show at most this many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Cancel a run: end all its unfinished steps
    Cancel {
        /// Id of the run
        run_id: RunId,
    },
    /// Retry a dead step: put it back in its queue
    Retry {
        /// Id of the run
        run_id: RunId,
        /// Id of the step
        step_id: StepId,
    },
    /// Wait until a run ends, with progress on standard error; fails unless it succeeded
    Watch {
        /// Id of the run
        run_id: RunId,
        /// Wait at most this long
        #[arg(long, value_name = "TIME", value_parser = input::seconds)]
        timeout: Option<u32>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum State {
    Queued,
    Running,
    Succeeded,
    Failed,
    Aborted,
    Dead,
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let view = match command {
        Command::Enqueue {
            file,
            idempotency_key,
            watch,
        } => {
            if file.as_os_str() == "-" && connection.takes_standard_input() {
                return Err(Failure::Usage(
                    "standard input cannot hold both the token and the run".to_owned(),
                ));
            }
            let text = input::file(&file, MOST)?;
            let request: EnqueueRun = serde_json::from_str(&text).map_err(|error| {
                Failure::Usage(format!("`{}` is not a valid run: {error}", file.display()))
            })?;
            let client = connection.client()?;
            let view = client
                .enqueue_run(&request, idempotency_key.as_deref())
                .await?;
            if watch {
                return until_ended(&client, connection.output, view.run_id, None).await;
            }
            view
        }
        Command::Show {
            raw: Some(file), ..
        } => return rows::show(&file),
        Command::Show { run_id, .. } => {
            let run_id = run_id.ok_or_else(|| Failure::Usage("name a run".to_owned()))?;
            connection.client()?.get_run(run_id).await?
        }
        Command::Cancel { run_id } => connection.client()?.cancel_run(run_id).await?,
        Command::Retry { run_id, step_id } => {
            connection.client()?.retry_step(run_id, &step_id).await?
        }
        Command::List { state, limit } => {
            return list_runs(connection, state.map(state_of), limit).await;
        }
        Command::Watch { run_id, timeout } => {
            return until_ended(&connection.client()?, connection.output, run_id, timeout).await;
        }
    };
    answer(connection.output, &view, || text(&view))
}

const fn state_of(state: State) -> RunState {
    match state {
        State::Queued => RunState::Queued,
        State::Running => RunState::Running,
        State::Succeeded => RunState::Succeeded,
        State::Failed => RunState::Failed,
        State::Aborted => RunState::Aborted,
        State::Dead => RunState::Dead,
    }
}

async fn list_runs(
    connection: &Connection,
    state: Option<RunState>,
    most: usize,
) -> Result<(), Failure> {
    let client = connection.client()?;
    let mut runs = Vec::new();
    let mut page = PageQuery::default();
    while runs.len() < most {
        page.limit = u32::try_from((most - runs.len()).min(100)).ok();
        let found = client.list_runs(state, &page).await?;
        runs.extend(found.items);
        page.cursor = found.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    list(connection.output, &runs, || {
        let mut table = Table::new(["RUN", "WORKFLOW", "STATE", "CREATED"]);
        for run in &runs {
            table.row([
                run.run_id.to_string(),
                run.workflow.to_string(),
                run.state.name().to_owned(),
                run.created_at.to_string(),
            ]);
        }
        table
    })
}

/// Polls until the run has ended, and prints each change on standard error.
async fn until_ended(
    client: &Client,
    output: Output,
    run_id: RunId,
    timeout: Option<u32>,
) -> Result<(), Failure> {
    let watched = async {
        let mut known: Vec<String> = Vec::new();
        let mut pause = Duration::from_millis(250);
        loop {
            let view = client.get_run(run_id).await?;
            let now: Vec<String> = view.steps.iter().map(line).collect();
            for (changed, _) in now
                .iter()
                .enumerate()
                .filter(|(at, line)| known.get(*at) != Some(line))
            {
                let line = now.get(changed).map_or("", String::as_str);
                note(&format!("{run_id}  {}\n", one_line(line)));
            }
            let same = now == known;
            known = now;
            if !matches!(view.state, RunState::Queued | RunState::Running) {
                return Ok::<RunView, Failure>(view);
            }
            pause = if same {
                (pause * 2).min(Duration::from_secs(3))
            } else {
                Duration::from_millis(250)
            };
            tokio::time::sleep(pause).await;
        }
    };
    let view = match timeout {
        None => watched.await?,
        Some(seconds) => tokio::time::timeout(Duration::from_secs(u64::from(seconds)), watched)
            .await
            .map_err(|_| {
                Failure::Other(format!("the run did not end within {seconds} seconds"))
            })??,
    };
    answer(output, &view, || text(&view))?;
    match view.state {
        RunState::Succeeded => Ok(()),
        state => Err(Failure::Other(format!(
            "the run ended as `{}`",
            word(&state)
        ))),
    }
}

fn line(step: &StepView) -> String {
    let mut line = format!("{}  {}", step.id, step.state);
    if step.attempt > 1 {
        line += &format!("  attempt {}", step.attempt);
    }
    for why in whys(step) {
        line += "  ";
        line += &why;
    }
    line
}

/// Why a step is in its state: failure, waiting reason and the like.
fn whys(step: &StepView) -> Vec<String> {
    let failure = step.failure.as_ref().map(compact);
    let aborted = step.aborted.as_ref().map(compact);
    let dead = step.dead.as_ref().map(word);
    let cut = (step.output_cut_bytes > 0)
        .then(|| format!("output cut by {} bytes", step.output_cut_bytes));
    let lost = step.lost.map(lost).map(str::to_owned);
    [failure, aborted, dead, lost, cut, step.diagnosis.clone()]
        .into_iter()
        .flatten()
        .collect()
}

/// Why a claim was lost, for people.
const fn lost(reason: RequeueReason) -> &'static str {
    match reason {
        RequeueReason::LeaseExpired => "worker lost",
        RequeueReason::WorkerRevoked => "worker revoked",
        RequeueReason::SandboxLost => "sandbox lost",
        RequeueReason::NoCapacity => "no capacity",
        RequeueReason::Throttled => "host called too fast",
        RequeueReason::NetworkTimeout => "no network in time",
        RequeueReason::ImageTimeout => "image not pulled in time",
        RequeueReason::RoleNotReady => "role not usable yet",
        RequeueReason::HostFailed => "host failed",
    }
}

/// Renders `{"kind":"exit","code":1}` as `exit code=1`.
fn compact(value: &impl serde::Serialize) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(value) else {
        return word(value);
    };
    let kind = fields.get("kind").map(word).unwrap_or_default();
    let rest = fields
        .iter()
        .filter(|(name, _)| *name != "kind")
        .map(|(name, value)| format!(" {name}={}", word(value)));
    kind + &rest.collect::<String>()
}

fn text(view: &RunView) -> String {
    let mut text = lines([
        ("run", view.run_id.to_string()),
        ("workflow", view.workflow.to_string()),
        ("state", view.state.name().to_owned()),
        ("profiles", levels(&view.profiles)),
        ("secrets", joined(view.secrets.iter().map(secret))),
        ("created", view.created_at.to_string()),
    ]);
    let mut table = Table::new([
        "STEP", "STATE", "MODE", "POOL", "ATTEMPT", "FENCE", "WORKER", "WHY",
    ]);
    for step in &view.steps {
        table.row([
            step.id.to_string(),
            step.state.clone(),
            step.mode.to_string(),
            step.pool.to_string(),
            step.attempt.to_string(),
            step.fence.to_string(),
            or_dash(step.worker_id),
            or_dash(Some(whys(step).join("; ")).filter(|why| !why.is_empty())),
        ]);
    }
    text.push('\n');
    text += &table.text();
    text
}

/// `NAME=REFERENCE`, with the version that was resolved at enqueue.
fn secret(secret: &SecretRef) -> String {
    let version = secret
        .version
        .as_ref()
        .map(|version| format!("@{version}"))
        .unwrap_or_default();
    format!("{}={}{version}", secret.name, secret.uri)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealfleet_domain::run::Failure as StepFailure;

    #[test]
    fn a_failure_is_one_short_text() {
        assert_eq!(compact(&StepFailure::Exit { code: 7 }), "exit code=7");
        assert_eq!(compact(&StepFailure::OutOfMemory), "out_of_memory");
        let failure = StepFailure::CannotExecute {
            errno: 7,
            detail: "Argument list too long".to_owned(),
        };
        assert_eq!(
            compact(&failure),
            "cannot_execute detail=Argument list too long errno=7"
        );
    }

    #[test]
    fn a_step_says_what_was_lost_and_what_was_cut() {
        let step: StepView = serde_json::from_value(serde_json::json!({
            "id": "a", "state": "dead", "mode": "bare", "pool": "p", "attempt": 3, "fence": 3,
            "dead": "attempts_exhausted", "lost": "lease_expired", "output_cut_bytes": 12
        }))
        .expect("a step");
        assert_eq!(
            whys(&step),
            [
                "attempts_exhausted",
                "worker lost",
                "output cut by 12 bytes"
            ]
        );
    }
}
