//! `sealfleet-load`: see the library. Exits with 1 if a count of what must not happen is not zero.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use sealfleet_load::drive::{self, Report, Shape};
use sealfleet_load::memory::{Fault, Memory};
use sealfleet_load::stack::OnStack;
use sealfleet_load::{growth, rates};
use sealfleet_test_stack::machine::describe;
use sealfleet_test_stack::{Failure, Outcome, Stage};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

/// Seconds by which the emulator's schedule may be late.
const STACK_SLACK: i64 = 10;
/// A size of `--growth` that others are compared with, and those.
const TENS: [usize; 4] = [10, 100, 1_000, 10_000];

/// Puts many projects, workers and runs on the control plane at once, and counts what must not
/// happen: what leaked between projects, what was lost, what was doubled, what was late.
#[derive(Parser)]
#[command(name = "scripts/load")]
struct Arguments {
    /// Use the local stack instead of handlers in this process
    #[arg(long, conflicts_with_all = ["growth", "rates"])]
    stack: bool,
    /// Measure what operations cost beside 10, 100, 1,000 and 10,000 of what could make them dearer
    #[arg(long, conflicts_with = "rates")]
    growth: bool,
    /// Measure sweep, fan-out, refused claims and a neighbour's wait
    #[arg(long)]
    rates: bool,
    /// Runs [default: 10,000, and 2,000 over 100 projects; 60 on the stack]
    #[arg(long)]
    runs: Option<usize>,
    /// Projects, 1,000 at most [default: 3, then 100]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    projects: Option<u16>,
    /// Workers [default: 24, and one for each of 100 projects; 6 on the stack]
    #[arg(long)]
    workers: Option<usize>,
    /// Decides about all chance in memory
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// What is printed, as text and as JSON.
struct Printed {
    text: String,
    json: Value,
    is_clean: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match carried_out(&arguments) {
        Ok(printed) => {
            match arguments.output {
                Output::Text => print!("{}", printed.text),
                Output::Json => println!("{}", printed.json),
            }
            if printed.is_clean {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(failure) => {
            eprintln!("sealfleet-load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn carried_out(arguments: &Arguments) -> Outcome<Printed> {
    let machine = describe()?;
    let mut printed = if arguments.growth {
        let rows = runtime(false)?.block_on(growth::measure(&TENS))?;
        measured(growth::table(&rows), json!({ "growth": rows }))
    } else if arguments.rates {
        let runtime = runtime(true)?;
        let sizes = rates::Sizes::default();
        let figures = LocalSet::new().block_on(&runtime, rates::measure(sizes))?;
        measured(rates::table(&figures), json!({ "rates": figures }))
    } else if arguments.stack {
        let runtime = runtime(false)?;
        let report = LocalSet::new().block_on(&runtime, on_stack(arguments))?;
        loads(vec![report])
    } else {
        let shapes = shapes(arguments);
        let reports = shapes.into_iter().map(|shape| {
            let runtime = runtime(true)?;
            LocalSet::new().block_on(&runtime, in_memory(shape))
        });
        loads(reports.collect::<Outcome<_>>()?)
    };
    let facts = machine.as_object().cloned().unwrap_or_default();
    let facts = facts.iter().map(|(name, value)| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        format!("{name:<7} {text}\n")
    });
    printed.text = format!("{}\n{}", facts.collect::<String>(), printed.text);
    if let Some(json) = printed.json.as_object_mut() {
        json.insert("machine".to_owned(), machine);
    }
    Ok(printed)
}

/// Figures, of which none can be wrong.
fn measured(text: String, json: Value) -> Printed {
    Printed {
        text,
        json,
        is_clean: true,
    }
}

fn runtime(paused: bool) -> Outcome<Runtime> {
    let mut builder = Builder::new_current_thread();
    Ok(builder.enable_all().start_paused(paused).build()?)
}

fn shapes(arguments: &Arguments) -> Vec<Shape> {
    let shape = |projects: usize, workers: usize, runs: usize| Shape {
        projects: arguments.projects.map_or(projects, usize::from),
        workers: arguments.workers.unwrap_or(workers),
        runs: arguments.runs.unwrap_or(runs),
        seed: arguments.seed,
        lease_seconds: 30,
        resend_seconds: 60,
        slack_seconds: 0,
        deaths: 4,
    };
    if arguments.projects.is_some() || arguments.workers.is_some() {
        return vec![shape(3, 24, 10_000)];
    }
    vec![shape(3, 24, 10_000), shape(100, 100, 2_000)]
}

async fn in_memory(shape: Shape) -> Outcome<(Report, f64)> {
    let begun = Instant::now();
    let world = Memory::begin(shape.seed, Fault::None).await?;
    let report = drive::run(Rc::clone(&world), shape).await;
    world.end();
    let mut report = report?;
    report.done.insert("sweeps".to_owned(), world.sweeps());
    Ok((report, begun.elapsed().as_secs_f64()))
}

async fn on_stack(arguments: &Arguments) -> Outcome<(Report, f64)> {
    let shape = Shape {
        projects: arguments.projects.map_or(3, usize::from),
        workers: arguments.workers.unwrap_or(6),
        runs: arguments.runs.unwrap_or(60),
        seed: arguments.seed,
        lease_seconds: 30,
        resend_seconds: 60,
        slack_seconds: STACK_SLACK,
        deaths: 10,
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stage = Stage::new("load")?;
    let begun = Instant::now();
    let driven = async {
        let stack = stage.up(&[]).await?;
        drive::run(Rc::new(OnStack::new(stack)), shape).await
    };
    let driven = tokio::select! {
        driven = driven => driven,
        _ = interrupt.recv() => Err(Failure::new("interrupted")),
        _ = terminate.recv() => Err(Failure::new("interrupted")),
    };
    stage.clear(false).await?;
    Ok((driven?, begun.elapsed().as_secs_f64()))
}

fn loads(reports: Vec<(Report, f64)>) -> Printed {
    let is_clean = reports.iter().all(|(report, _)| report.counts.is_clean());
    let text: String = reports
        .iter()
        .map(|(report, seconds)| shown(report, *seconds))
        .collect();
    let loads: Vec<Value> = reports
        .iter()
        .map(|(report, seconds)| json!({ "seconds": seconds, "load": report }))
        .collect();
    Printed {
        text,
        json: json!({ "loads": loads }),
        is_clean,
    }
}

fn shown(report: &Report, seconds: f64) -> String {
    let Report {
        shape,
        counts,
        done,
        world_seconds,
    } = report;
    let mut lines = vec![format!(
        "{} projects, {} workers, {} runs: {world_seconds} s of their time, in {seconds:.0} s",
        shape.projects, shape.workers, shape.runs
    )];
    let done: &BTreeMap<String, u64> = done;
    lines.extend(
        done.iter()
            .map(|(what, number)| format!("  {number:>9}  {what}")),
    );
    for (name, count) in counts.all() {
        lines.push(format!("  {:>9}  {name}", count.number));
        let examples = count.examples.iter();
        lines.extend(examples.map(|example| format!("             {example}")));
    }
    lines.push(String::new());
    lines.join("\n") + "\n"
}
