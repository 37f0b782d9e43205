//! Runs.

mod again;
mod artifacts;
pub(super) mod document;
mod exec;
mod logs;
pub(super) mod show;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use sealfleet_client::types::{EnqueueRun, RunView};
use sealfleet_client::{Client, PageQuery, RunQuery};
use sealfleet_domain::run::RunState;
use sealfleet_domain::text::one_line;
use sealfleet_domain::{ProfileRef, RunId, Timestamp, WorkflowName};

use super::connection::Connection;
use super::failure::Failure;
use super::input;
use super::listing::Listing;
use super::output::{Output, Table, ago, answer, note, page, pairs, word};
use super::profile;
use super::rows;
use show::{line, text};

/// The longest request body, in bytes.
const MOST: u64 = sealfleet_domain::limits::BODY_BYTES as u64;
/// Runs that `list` shows where no limit is given.
const LISTED: u32 = 50;

#[derive(Subcommand)]
pub enum Command {
    /// Enqueue a run
    Enqueue {
        /// File with the run as YAML or JSON; `-` reads standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Key of this request: retrying with the same key never creates a second run
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        /// Label of the run, as KEY=VALUE, beside those of the file; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = input::pair)]
        labels: Vec<(String, String)>,
        /// Wait until the run ends, with progress on standard error
        #[arg(long)]
        watch: bool,
    },
    /// Run one command as a run of one step, print its output as it comes, and exit with its code
    Exec(Box<exec::Exec>),
    /// Print the output of a step
    Logs(logs::Logs),
    /// Print the result of a step: the JSON document that it has left
    Result(logs::ResultOf),
    /// List or download the artifacts of a step: the files that it has left
    Artifacts(artifacts::ArtifactsOf),
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
    /// List runs, newest first: 50, unless `--limit` says otherwise
    List {
        /// Show only runs in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Show only runs with this label, as KEY=VALUE
        #[arg(long, value_name = "KEY=VALUE", value_parser = input::pair)]
        label: Option<(String, String)>,
        /// Show only runs of this workflow
        #[arg(long, value_name = "NAME")]
        workflow: Option<WorkflowName>,
        /// Show only runs that this profile was resolved for: `NAME`, or `system/NAME`
        #[arg(long)]
        profile: Option<ProfileRef>,
        /// Show only runs enqueued from this time on: `2026-01-31T08:00:00Z`
        #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
        from: Option<Timestamp>,
        /// Show only runs enqueued before this time
        #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
        to: Option<Timestamp>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Cancel a run: end all its unfinished steps
    Cancel {
        /// Id of the run
        run_id: RunId,
    },
    /// Put dead steps back in their queues: those named, or all dead steps of the runs named
    Retry(again::Retry),
    /// Enqueue runs that have ended once more, as they were enqueued
    Rerun(again::Rerun),
    /// Wait until a run ends, with progress on standard error; fails unless it succeeded
    Watch {
        /// Id of the run
        run_id: RunId,
        /// Wait at most this long
        #[arg(long, value_name = "TIME", value_parser = input::seconds)]
        timeout: Option<u32>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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
            labels,
            watch,
        } => {
            if file.as_os_str() == "-" && connection.takes_standard_input() {
                return Err(Failure::Usage(
                    "standard input cannot hold both the token and the run".to_owned(),
                ));
            }
            let text = input::file(&file, MOST)?;
            let mut request = document::read(&text, &file.display().to_string())?;
            request.labels.extend(input::unique("label", labels)?);
            let client = connection.client()?;
            let view = enqueue(&client, &request, idempotency_key.as_deref()).await?;
            if watch {
                return until_ended(&client, connection.output, view.run_id, None).await;
            }
            view
        }
        Command::Exec(exec) => return exec::run(*exec, connection).await,
        Command::Logs(logs) => return logs::logs(logs, connection).await,
        Command::Result(of) => return logs::result(of, connection).await,
        Command::Artifacts(of) => return artifacts::run(of, connection).await,
        Command::Show {
            raw: Some(file), ..
        } => return rows::show(&file),
        Command::Show { run_id, .. } => {
            let run_id = run_id.ok_or_else(|| Failure::Usage("name a run".to_owned()))?;
            connection.client()?.get_run(run_id).await?
        }
        Command::Cancel { run_id } => connection.client()?.cancel_run(run_id).await?,
        Command::Retry(retry) => return again::retry(retry, connection).await,
        Command::Rerun(rerun) => return again::rerun(rerun, connection).await,
        Command::List {
            state,
            label,
            workflow,
            profile,
            from,
            to,
            listing,
        } => {
            let query = RunQuery {
                state: state.map(state_of),
                workflow,
                profile,
                label,
                from,
                to,
                page: PageQuery::default(),
            };
            return list_runs(connection, query, listing.or(LISTED)).await;
        }
        Command::Watch { run_id, timeout } => {
            return until_ended(&connection.client()?, connection.output, run_id, timeout).await;
        }
    };
    answer(connection.output, &view, || text(&view))
}

/// Enqueues a run. Where there is no profile of the name, says which names are near.
async fn enqueue(
    client: &Client,
    request: &EnqueueRun,
    idempotency_key: Option<&str>,
) -> Result<RunView, Failure> {
    let error = match client.enqueue_run(request, idempotency_key).await {
        Err(error) if profile::is_absent(&error) => error,
        outcome => return Ok(outcome?),
    };
    if let Some(name) = &request.profile {
        let found = client.get_profile(name).await;
        if found.is_err_and(|error| profile::is_absent(&error)) {
            return Err(profile::unknown(client, name).await);
        }
    }
    Err(error.into())
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
    query: RunQuery,
    listing: Listing,
) -> Result<(), Failure> {
    let client = connection.client()?;
    let runs = listing.read(async |page| {
        let page = page.clone();
        let query = RunQuery {
            page,
            ..query.clone()
        };
        client.list_runs_with(&query).await
    });
    page(connection.output, &runs.await?, |runs| {
        let mut table = Table::new(["RUN", "WORKFLOW", "STATE", "CREATED", "LABELS"]);
        for run in runs {
            table.row([
                run.run_id.to_string(),
                run.workflow.to_string(),
                run.state.name().to_owned(),
                ago(run.created_at),
                pairs(&run.labels),
            ]);
        }
        table
    })
}

/// Polls until the run has ended, and tells each change.
async fn watch(client: &Client, run_id: RunId, tell: fn(&str)) -> Result<RunView, Failure> {
    let mut known: Vec<String> = Vec::new();
    let mut pauses = Pauses::up_to(Duration::from_secs(3));
    loop {
        let view = client.get_run(run_id).await?;
        let now: Vec<String> = view.steps.iter().map(line).collect();
        for (at, line) in now.iter().enumerate() {
            if known.get(at) == Some(line) {
                continue;
            }
            tell(&format!("{run_id}  {}\n", one_line(line)));
        }
        let same = now == known;
        known = now;
        if view.state.is_terminal() {
            return Ok(view);
        }
        if !same {
            pauses.begin_again();
        }
        pauses.next().await;
    }
}

/// The pauses between two questions about a step: short at first, because what has just begun may
/// end at once, and longer while nothing is new.
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    const SHORTEST: Duration = Duration::from_millis(50);

    const fn up_to(longest: Duration) -> Self {
        Self {
            next: Self::SHORTEST,
            longest,
        }
    }

    const fn begin_again(&mut self) {
        self.next = Self::SHORTEST;
    }

    async fn next(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = self.longest.min(self.next.mul_f32(1.5));
    }
}

/// Watches the run to its end, with each change on standard error, and shows it.
pub(super) async fn until_ended(
    client: &Client,
    output: Output,
    run_id: RunId,
    timeout: Option<u32>,
) -> Result<(), Failure> {
    let watched = watch(client, run_id, note);
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
