//! What mediated sockets cost: figures of a release build of their crate
//! (`sandbox/mediation/examples`).

use std::path::Path;

use sealfleet_test_stack::{Failure, Outcome};
use serde_json::Value;
use tokio::process::Command;

use crate::figures::Figures;

/// Microseconds for a connection.
const BUDGET: f64 = 50.0;

/// Runs the program beside the release binary of the functions.
pub async fn measure(figures: &mut Figures, functions: &Path) -> Outcome {
    let program = functions.with_file_name("examples").join("connects");
    let output = Command::new(&program).output().await?;
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(|error| {
        Failure::new(format!(
            "`{}` did not measure: {error}; build it with `cargo build --release -p sealfleet-mediation --example connects`",
            program.display()
        ))
    })?;
    for row in rows {
        let what = row["what"].as_str().unwrap_or_default();
        let value = row["median_us"].as_f64().unwrap_or(f64::INFINITY);
        if row["mediated"] == true {
            figures.add_against(format!("{what}, mediated, p50"), value, "µs", BUDGET);
        } else {
            figures.add(format!("{what}, p50"), value, "µs");
        }
    }
    Ok(())
}
