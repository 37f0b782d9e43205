//! What the egress proxy adds: figures of a release build of its crate (`sandbox/egress/examples`).

use std::path::Path;

use sealfleet_test_stack::{Failure, Outcome};
use serde_json::Value;
use tokio::process::Command;

use crate::figures::Figures;

/// Milliseconds more than without it, at p50 and p99.
const TUNNEL: [f64; 2] = [1.0, 5.0];
const TERMINATED: [f64; 2] = [3.0, 10.0];

/// Runs the program beside the release binary of the functions.
pub async fn measure(figures: &mut Figures, functions: &Path) -> Outcome {
    let program = functions.with_file_name("examples").join("latency");
    let output = Command::new(&program).output().await?;
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(|error| {
        Failure::new(format!(
            "`{}` did not measure: {error}; build it with `cargo build --release -p sealfleet-egress --example latency`",
            program.display()
        ))
    })?;
    for row in rows {
        let (what, way) = (row["what"].as_str(), row["way"].as_str());
        let (what, way) = (what.unwrap_or_default(), way.unwrap_or_default());
        let budgets = if way == "tunnel" { TUNNEL } else { TERMINATED };
        for (part, budget) in ["p50", "p99"].into_iter().zip(budgets) {
            let time = |of: &str| {
                let time = row[format!("{of}_{part}_ms")].as_f64();
                time.unwrap_or(f64::INFINITY)
            };
            let (direct, through) = (time("direct"), time("through"));
            figures.add(format!("{what}, direct, {part}"), direct, "ms");
            let more = through - direct;
            // Bytes take as long as they take: the bars are about waiting.
            if what.contains("GiB") {
                figures.add(format!("{what}, {way}, {part} more"), more, "ms");
            } else {
                figures.add_against(format!("{what}, {way}, {part} more"), more, "ms", budget);
            }
        }
    }
    Ok(())
}
