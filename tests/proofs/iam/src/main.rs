//! Checks templates against the matrix: `infra/sam`, or synthesised ones. `--write` writes the
//! page's generated part too.
//!
//!     sealfleet-iam [--write] [--template TEMPLATE --project PROJECT]

use std::process::ExitCode;
use std::time::Instant;

use sealfleet_iam::account::Templates;
use sealfleet_iam::{Account, Matrix, matrix, page};

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("sealfleet-iam: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let (mut write, mut template, mut project) = (false, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => write = true,
            "--template" => template = arguments.next(),
            "--project" => project = arguments.next(),
            _ => {
                return Err(
                    "usage: sealfleet-iam [--write] [--template TEMPLATE --project PROJECT]"
                        .to_owned(),
                );
            }
        }
    }
    let read =
        |path: &str| std::fs::read_to_string(path).map_err(|error| format!("`{path}`: {error}"));
    let templates = match (&template, &project) {
        (Some(template), Some(project)) => Templates::parse(&read(template)?, &read(project)?)?,
        (None, None) => Templates::of_the_product()?,
        _ => return Err("give both `--template` and `--project`, or neither".to_owned()),
    };
    let start = Instant::now();
    let matrix = Matrix::of_the_product()?;
    let accounts = Account::both(&templates)?;
    let mut found = Vec::new();
    for account in &accounts {
        found.extend(
            matrix
                .differences(account)
                .into_iter()
                .map(|found| format!("{:?}: {found}", account.shape)),
        );
    }
    let [_, large] = &accounts;
    found.extend(matrix::port_differences(
        &matrix,
        large,
        &sealfleet_iam::text("functions/main.rs")?,
    ));
    if !found.is_empty() {
        return Err(format!(
            "{} differences\n  {}",
            found.len(),
            found.join("\n  ")
        ));
    }
    if write {
        let path = sealfleet_iam::root().join(page::PAGE);
        let text = page::written_into(
            &sealfleet_iam::text(page::PAGE)?,
            &page::render(&matrix, &accounts)?,
        )?;
        std::fs::write(path, text).map_err(|error| format!("`{}`: {error}", page::PAGE))?;
    }
    let requests: usize = matrix
        .rows()
        .map(|row| matrix.requests(row).map_or(0, |requests| requests.len()))
        .sum();
    Ok(format!(
        "{} roles, {} rows, {} decisions: as written ({} ms)",
        large.roles.len(),
        matrix.rows().count(),
        2 * requests * large.roles.len(),
        start.elapsed().as_millis()
    ))
}
