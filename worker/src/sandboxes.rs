//! What runs in sandboxes of this host, what dead workers have left, and whether the host can run
//! sandboxes at all.

use clap::{Subcommand, ValueEnum};
use sealfleet_docker::Engine;
use sealfleet_sandbox_backend::{Found, StateDirectory};
use serde::Serialize;

use crate::backends::{Arguments, DockerArguments, StateArguments};
use crate::console;
use crate::doctor::{self, Finding, Verdict};

#[derive(Subcommand)]
pub enum Action {
    /// List the sandboxes of this host, of all its workers
    List(Place),
    /// Take away sandboxes of workers that have died. Sandboxes of living workers stay
    Reap(Place),
    /// Check whether this host can run sandboxes, with the options that `run` would get. Without
    /// any, both backends are checked as far as they can
    Doctor(Box<Examined>),
}

/// Where to look for sandboxes.
#[derive(clap::Args)]
pub struct Place {
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    docker: DockerArguments,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(clap::Args)]
pub struct Examined {
    #[command(flatten)]
    sandboxes: Arguments,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

#[derive(Serialize)]
struct Sandboxes {
    sandboxes: Vec<Found>,
}

/// Does it, and prints the answer.
///
/// # Errors
/// For people.
pub async fn run(action: Action) -> Result<(), String> {
    match action {
        Action::List(place) => {
            let (state, engine) = place.open().await?;
            let mut found = noted(&state)?;
            if let Some(engine) = &engine {
                let running = engine.sandboxes(&state).await;
                found.extend(running.map_err(|error| error.to_string())?);
            }
            print(place.output, &found)
        }
        Action::Reap(place) => {
            let (state, engine) = place.open().await?;
            let mut reaped = Vec::new();
            if let Some(engine) = &engine {
                let containers = engine.reap(&state).await;
                reaped.extend(containers.map_err(|error| error.to_string())?);
            }
            let forgotten = state.forget_dead().map_err(|error| error.to_string())?;
            reaped.extend(forgotten.into_iter().filter(without_engine));
            print(place.output, &reaped)
        }
        Action::Doctor(examined) => {
            let findings = doctor::examine(&examined.sandboxes).await;
            tell(examined.output, &findings)
                .map_err(|failed| format!("this host cannot run all of these sandboxes: {failed}"))
        }
    }
}

/// Prints what was found.
///
/// # Errors
/// How many checks failed.
pub fn tell(output: Output, findings: &[Finding]) -> Result<(), String> {
    let failed = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Failed)
        .count();
    match output {
        Output::Json => json(&doctor::Answer {
            usable: failed == 0,
            findings,
        })?,
        Output::Table => table(
            &["BACKEND", "CHECK", "", "FOUND", "DO"],
            findings.iter().map(Finding::row),
        ),
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} checks failed", findings.len())),
    }
}

impl Place {
    /// The state directory, and the engine if one answers. One that is named must.
    async fn open(&self) -> Result<(StateDirectory, Option<Engine>), String> {
        let state = self.state.open()?;
        let greeted = match Engine::at(self.docker.host.as_deref()) {
            Ok(engine) => engine.greet().await,
            Err(error) => Err(error),
        };
        match greeted {
            Ok((engine, _)) => Ok((state, Some(engine))),
            Err(_) if self.docker.host.is_none() => Ok((state, None)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Sandboxes that only their workers' notes tell of: the engine tells of its own.
fn noted(state: &StateDirectory) -> Result<Vec<Found>, String> {
    let noted = state.noted().map_err(|error| {
        format!(
            "the state directory `{}` cannot be read: {error}",
            state.path().display()
        )
    })?;
    Ok(noted.into_iter().filter(without_engine).collect())
}

fn without_engine(found: &Found) -> bool {
    found.backend != "docker"
}

fn print(output: Output, found: &[Found]) -> Result<(), String> {
    if output == Output::Json {
        return json(&Sandboxes {
            sandboxes: found.to_vec(),
        });
    }
    let rows = found.iter().map(|one| {
        let worker = if one.worker_lives { "alive" } else { "dead" };
        [
            one.sandbox.clone(),
            one.backend.clone(),
            one.project.clone(),
            one.run.clone(),
            one.step.clone(),
            one.fence.clone(),
            one.since.to_string(),
            worker.to_owned(),
        ]
    });
    table(
        &[
            "SANDBOX", "BACKEND", "PROJECT", "RUN", "STEP", "FENCE", "SINCE", "WORKER",
        ],
        rows,
    );
    Ok(())
}

fn json(answer: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(answer).map_err(|error| error.to_string())?;
    for line in text.lines() {
        console::answer(line);
    }
    Ok(())
}

/// Prints rows in columns as wide as their widest cell.
fn table<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let text: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        console::answer(text.join("  ").trim_end());
    }
}
