//! `sealfleet`: the operators' command line. Each subcommand is a module of the library.

use clap::Parser;
use sealfleet_cli::operator;
use std::process::ExitCode;

/// Sealfleet: run AI-agent work for many customers, each with that customer's own credentials.
#[derive(Parser)]
#[command(name = "sealfleet", version)]
struct Arguments {
    #[command(flatten)]
    options: operator::Options,
    #[command(subcommand)]
    command: operator::Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    sealfleet_system::names::resolve_without_modules();
    let arguments = Arguments::parse();
    operator::run(arguments.command, arguments.options).await
}
