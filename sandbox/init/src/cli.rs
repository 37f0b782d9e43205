//! The command line.

use clap::{Parser, Subcommand};
use sealfleet_identity::Registry;

use crate::exec::ExecArguments;
use crate::fargate::FargateArguments;
use crate::{NOT_RUN, backends, check, exec, fargate, supervise};

/// The first process of every Sealfleet sandbox, and the tool that fills the encrypted store.
#[derive(Debug, Parser)]
#[command(name = "sealfleet-init", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a step of a pull worker (started by sealfleet-worker inside a sandbox)
    Exec(ExecArguments),
    /// Run a step of a Fargate pool, or its egress proxy (the entry point of its containers)
    Fargate(FargateArguments),
    /// Say as JSON what this container offers to a step (started by `sealfleet image check`)
    Check,
    #[command(flatten)]
    Backend(backends::Command),
}

/// Runs the program with these identity backends, and answers its exit code.
#[must_use]
pub fn run(arguments: Arguments, backends: &Registry) -> u8 {
    let code = match arguments.command {
        Command::Backend(command) => match backends::run(command) {
            Ok(()) => 0,
            Err(message) => {
                eprintln!("sealfleet-init: {message}");
                1
            }
        },
        Command::Check => first_process(async { checked() }),
        Command::Exec(arguments) => first_process(exec::run(&arguments, backends)),
        Command::Fargate(arguments) => {
            first_process(fargate::run(arguments, std::env::vars_os().collect()))
        }
    };
    u8::try_from(code).unwrap_or(1)
}

fn checked() -> i32 {
    match serde_json::to_string(&check::report(fargate::https_fault())) {
        Ok(report) => {
            println!("{report}");
            0
        }
        Err(error) => {
            eprintln!("sealfleet-init: {error}");
            1
        }
    }
}

fn first_process(work: impl Future<Output = i32>) -> i32 {
    let run = || -> std::io::Result<i32> {
        supervise::hide()?;
        supervise::gain_nothing()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let code = runtime.block_on(work);
        // A backend that missed its deadline may still hold a thread: do not wait for it.
        runtime.shutdown_background();
        Ok(code)
    };
    run().unwrap_or_else(|error| {
        eprintln!("sealfleet-init: cannot start: {error}");
        NOT_RUN
    })
}
