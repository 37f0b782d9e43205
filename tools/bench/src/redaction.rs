//! What redaction costs: figures of a release build of its crate (`sandbox/redaction/examples`).

use std::path::Path;

use sealfleet_test_stack::{Failure, Outcome};
use serde_json::Value;
use tokio::process::Command;

use crate::figures::Figures;

/// Milliseconds for a MiB at 500 needles.
const BUDGET: f64 = 2.0;

/// Runs the program beside the release binary of the functions.
pub async fn measure(figures: &mut Figures, functions: &Path) -> Outcome {
    let program = functions.with_file_name("examples").join("speed");
    let output = Command::new(&program).output().await?;
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(|error| {
        Failure::new(format!(
            "`{}` did not measure: {error}; build it with `cargo build --release -p sealfleet-redaction --example speed`",
            program.display()
        ))
    })?;
    for row in rows {
        let (secrets, needles) = (&row["secrets"], &row["needles"]);
        let text = row["text"].as_str().unwrap_or_default();
        let what = format!("redaction of {text}, {secrets} secrets ({needles} needles), per MiB");
        let value = row["ms_per_mib"].as_f64().unwrap_or(f64::INFINITY);
        figures.add_against(what, value, "ms", BUDGET);
    }
    Ok(())
}
