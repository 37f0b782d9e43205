//! What the proof of who may do what on AWS takes.

use std::time::Instant;

use sealfleet_iam::account::{Shape, Templates};
use sealfleet_iam::{Account, Matrix};
use sealfleet_test_stack::{Failure, Outcome, ensure};

use crate::figures::Figures;

/// Reads the templates and the matrix, and compares them.
///
/// # Errors
/// When they cannot be read, or differ.
pub fn measure(figures: &mut Figures) -> Outcome {
    let start = Instant::now();
    let account = Account::deploy(
        &Templates::of_the_product().map_err(Failure::new)?,
        Shape::Small,
    )
    .map_err(Failure::new)?;
    let matrix = Matrix::of_the_product().map_err(Failure::new)?;
    let found = matrix.differences(&account);
    let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
    ensure!(found.is_empty(), "{}", found.join("\n"));
    let requests: usize = matrix
        .rows()
        .filter_map(|row| matrix.requests(row).ok())
        .map(|requests| requests.len())
        .sum();
    let decisions = requests * account.roles.len();
    figures.add(
        format!("IAM: {decisions} decisions and what may not be beyond them (this build)"),
        milliseconds,
        "ms",
    );
    Ok(())
}
