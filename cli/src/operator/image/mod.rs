//! Images of sandboxes.
//!
//! `image check` asks a container engine of this machine: it reads the image's configuration, and
//! runs `sealfleet-init check` of the image in the container that a Fargate step gets. It needs no
//! control plane.

mod engine;
mod findings;

use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{Table, answer};
use engine::Engine;
use findings::{Finding, Verdict, findings};

#[derive(Subcommand)]
pub enum Command {
    /// Check that an image can run the steps of a Fargate pool. Needs a container engine on this
    /// machine, which has the image
    Check {
        /// Name, id or digest of the image
        image: String,
        /// The engine's command line, `docker` or one that takes the same options
        #[arg(
            long,
            value_name = "PROGRAM",
            default_value = "docker",
            env = "SEALFLEET_DOCKER"
        )]
        docker: String,
        /// How long the engine may take for one command, in seconds. The first container of an
        /// image unpacks it
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        timeout_seconds: u64,
    },
}

#[derive(Serialize)]
struct Answer {
    image: String,
    usable: bool,
    /// How the image was run.
    options: Vec<String>,
    findings: Vec<Finding>,
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let Command::Check {
        image,
        docker,
        timeout_seconds,
    } = command;
    let engine = Engine::new(docker, Duration::from_secs(timeout_seconds));
    let inspected = engine.inspect(&image).await?;
    let report = engine.check(&image, &inspected).await?;
    let findings = findings(&inspected, &report);
    let failed = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Failed)
        .count();
    let found = Answer {
        usable: failed == 0,
        options: engine::options(),
        image,
        findings,
    };
    answer(connection.output, &found, || text(&found.findings))?;
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::Other(format!(
            "`{}` cannot be a sandbox: {failed} of {} checks failed",
            found.image,
            found.findings.len()
        )))
    }
}

fn text(findings: &[Finding]) -> String {
    let mut table = Table::new(["CHECK", "", "FOUND", "DO"]);
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Passed => "ok",
            Verdict::Warned => "warning",
            Verdict::Failed => "FAILED",
        };
        table.row([
            finding.check.to_owned(),
            verdict.to_owned(),
            finding.found.clone(),
            finding.advice.unwrap_or_default().to_owned(),
        ]);
    }
    table.text()
}
