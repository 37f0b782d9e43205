//! `sealfleet`: the operators' command line. Each subcommand is a module of the library.

use clap::{Parser, Subcommand};
use sealfleet_cli::{local, operator};
use std::process::ExitCode;

/// Sealfleet: run AI-agent work for many customers, each with that customer's own credentials.
#[derive(Parser)]
#[command(name = "sealfleet", version)]
struct Arguments {
    #[command(flatten)]
    options: operator::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole control plane on this machine, without a cloud and without Docker.
    Local(local::Arguments),
    #[command(flatten)]
    Operator(operator::Command),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Local(arguments) => local::run(arguments).await.map_err(|error| error.to_string()),
        Command::Operator(command) => Ok(operator::run(command, arguments.options).await),
    };
    match outcome {
        Ok(code) => code,
        Err(message) => {
            eprintln!("sealfleet: {message}");
            ExitCode::FAILURE
        }
    }
}
