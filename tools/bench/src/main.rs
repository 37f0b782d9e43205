//! `sealfleet-bench`: measures the deployed binary against the budgets of the architecture, and
//! prints one table.
//!
//! It measures the release binary itself, black box. Each function runs as a process of its own
//! under a Lambda Runtime API that this program serves. This program also plays AWS: the tables
//! have DynamoDB's semantics and capacity units (dynoxide, in memory); the other services answer
//! and are counted. The latencies at the end are those of the local stack with the same binary. A
//! missed budget is printed and fails nothing.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON read by name: what is absent reads as null"
)]

mod archive;
mod cloud;
mod costs;
mod egress;
mod figures;
mod lambda;
mod machine;
mod mediation;
mod redaction;
mod revocation;
mod stack;
mod store;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use sealfleet_test_stack::machine::describe;
use sealfleet_test_stack::{Failure, Outcome, Stage};
use tokio::signal::unix::{SignalKind, signal};

use figures::Figures;
use world::World;

const USAGE: &str = "usage: scripts/bench [--json] [--quick] [--costs | --stack]\n\n  --json   the figures as JSON on stdout\n  --quick  fewer runs, 1,000 runs waiting instead of 10,000, 100 in flight instead of 1,000\n  --costs  only what a run costs\n  --stack  only the latencies of the local stack";

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Everything,
    Costs,
    Stack,
}

/// How much is measured.
pub struct Plan {
    functions: PathBuf,
    part: Part,
    /// Starts of each function.
    starts: usize,
    /// Whole runs that are counted.
    runs: usize,
    /// Requests for a CPU or latency figure.
    requests: usize,
    /// Runs that wait, and profiles that are there, when others are measured.
    backlog: usize,
    /// Batches of audit rows that are exported.
    batches: usize,
    /// Runs on the local stack.
    stack_runs: usize,
    /// Runs that hold a key when it is revoked.
    in_flight: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut as_json = false;
    let mut plan = Plan {
        functions: PathBuf::new(),
        part: Part::Everything,
        starts: 30,
        runs: 10,
        requests: 100,
        backlog: 10_000,
        batches: 100,
        stack_runs: 20,
        in_flight: 1000,
    };
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => as_json = true,
            "--costs" => plan.part = Part::Costs,
            "--stack" => plan.part = Part::Stack,
            "--quick" => {
                plan = Plan {
                    starts: 10,
                    runs: 3,
                    requests: 30,
                    backlog: 1000,
                    batches: 20,
                    stack_runs: 5,
                    in_flight: 100,
                    ..plan
                }
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match run(&mut plan).await {
        Ok(figures) => {
            if as_json {
                println!("{}", figures.json())
            } else {
                print!("{}", figures.table())
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("sealfleet-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(plan: &mut Plan) -> Outcome<Figures> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    plan.functions = release_binary()?;
    let stage = Stage::new("bench")?;
    let mut figures = Figures::new(describe()?);
    let measured = tokio::select! {
        measured = measure(plan, &stage, &mut figures) => measured,
        _ = interrupt.recv() => Err(Failure::new("interrupted")),
        _ = terminate.recv() => Err(Failure::new("interrupted")),
    };
    stage.clear(false).await?;
    measured.map(|()| figures)
}

async fn measure(plan: &Plan, stage: &Stage, figures: &mut Figures) -> Outcome {
    if plan.part == Part::Everything {
        eprintln!("bench: redaction");
        redaction::measure(figures, &plan.functions).await?;
        eprintln!("bench: mediation");
        mediation::measure(figures, &plan.functions).await?;
        eprintln!("bench: egress");
        egress::measure(figures, &plan.functions).await?;
    }
    if plan.part != Part::Stack {
        eprintln!("bench: what a run costs");
        cost(plan, figures).await?;
    }
    if plan.part == Part::Everything {
        in_memory(plan, figures).await?;
    }
    if plan.part != Part::Costs {
        eprintln!("bench: latencies of the local stack");
        stack::measure(figures, stage, plan).await?;
    }
    Ok(())
}

async fn cost(plan: &Plan, figures: &mut Figures) -> Outcome {
    let deployed = World::as_deployed(&plan.functions).await?;
    costs::runs(figures, &deployed, plan.runs).await?;
    drop(deployed);
    let lease = Duration::from_secs(30);
    let short = World::with_leases(&plan.functions, lease).await?;
    costs::long_steps(figures, &short, lease).await
}

/// Each function as a process of its own, over tables in memory.
async fn in_memory(plan: &Plan, figures: &mut Figures) -> Outcome {
    let world = World::new(&plan.functions).await?;
    eprintln!("bench: size and start of {}", plan.functions.display());
    machine::size(figures, &plan.functions)?;
    lambda::starts(figures, &world, plan.starts).await?;
    eprintln!("bench: CPU of a request");
    costs::cpu(figures, &world, plan.requests).await?;
    eprintln!(
        "bench: claims at a backlog of {} (some minutes)",
        plan.backlog
    );
    costs::backlog(figures, &world, plan.requests, plan.backlog).await?;
    drop(world);
    // Tables of their own: nothing waits in them.
    let world = World::new(&plan.functions).await?;
    eprintln!("bench: cascades among {} profiles", plan.backlog);
    costs::resolution(figures, &world, plan.requests, plan.backlog).await?;
    eprintln!("bench: export and digest");
    archive::measure(figures, &world, plan.batches).await?;
    eprintln!("bench: a hard revocation");
    revocation::in_memory(figures, &world, plan.in_flight).await
}

/// `target/release/sealfleet-functions`, wherever below the target directory this program is.
fn release_binary() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .map(|above| above.join("release/sealfleet-functions"))
        .find(|file| file.is_file());
    found.ok_or_else(|| {
        Failure::new(
            "there is no release binary: run `cargo build --release -p sealfleet-functions` first",
        )
    })
}
