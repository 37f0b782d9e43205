//! `sealfleet`: the operators' command line. Each subcommand is a module of the library.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    sealfleet_system::names::resolve_without_modules();
    sealfleet_cli::operator::run(std::env::args_os().collect()).await
}
