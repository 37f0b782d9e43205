//! `simulate`: plays seeds, and shows the schedule of one that fails.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sealfleet_simulation::seeds;
use sealfleet_simulation::simulation::{Report, Simulation};

/// Runs the handlers in a simulated world, once for each seed.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// How many seeds to play, beside those that are kept.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Play this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the schedule of a single seed even if nothing is wrong.
    #[arg(long)]
    print: bool,
    /// Go on until so many seeds have failed.
    #[arg(long, default_value_t = 1)]
    failures: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.seed {
        Some(seed) => one(seed, options.print),
        None => many(&options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn one(seed: u64, print: bool) -> Result<bool, String> {
    let report = Simulation::new()?.play(seed, true);
    if print || !report.violations.is_empty() {
        show(&report);
    }
    println!(
        "seed {seed}: {}",
        if report.violations.is_empty() {
            "nothing is wrong"
        } else {
            "it fails"
        }
    );
    Ok(report.violations.is_empty())
}

fn many(options: &Options) -> Result<bool, String> {
    let mut numbers = seeds::kept();
    numbers.extend(options.from..options.from.saturating_add(options.seeds));
    let started = Instant::now();
    let summary = seeds::play(&numbers, options.failures)?;
    let seconds = started.elapsed().as_secs_f64();
    let ends: Vec<String> = summary
        .ends
        .iter()
        .map(|(end, count)| format!("{count} {end}"))
        .collect();
    println!(
        "{} seeds in {seconds:.1} s; runs: {}; {} tasks, {} dead letters, {} objects of the trail",
        summary.played,
        ends.join(", "),
        summary.tasks,
        summary.dead_letters,
        summary.objects
    );
    for report in summary.failed.iter().skip(1) {
        println!(
            "seed {} fails as well: {}",
            report.seed,
            report.violations.join("; ")
        );
    }
    if let Some(first) = summary.failed.first() {
        one(first.seed, true)?;
        println!(
            "play it again with `simulate --seed {} --print`",
            first.seed
        );
    }
    Ok(summary.failed.is_empty())
}

fn show(report: &Report) {
    for line in &report.schedule {
        println!("{line}");
    }
    for violation in &report.violations {
        println!("WRONG: {violation}");
    }
}
