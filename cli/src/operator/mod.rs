//! What operators and project admins do: one module for each noun, over the HTTP API.
//!
//! Three things go past the API on purpose, with the operator's own AWS credentials: the first
//! operator token, which nobody could authenticate to make, the values of secrets, which the API
//! has no field for, and a project's queues and roles, which the control plane has no permission to
//! make.

mod archive;
mod audit;
mod cascade;
mod connection;
mod enrolment_key;
mod failure;
mod input;
mod output;
mod profile;
mod project;
mod revocation;
mod run;
mod secret;
mod token;
mod trail;
mod worker;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use connection::GroupOptions;
pub use connection::Options;
pub use failure::Failure;

/// The commands of operators and admins.
#[derive(Subcommand)]
pub enum Command {
    /// API tokens
    Token(Group<token::Command>),
    /// Projects: the tenants
    Project(Group<project::Command>),
    /// Enrolment keys, by which workers register themselves as approved
    EnrolmentKey(Group<enrolment_key::Command>),
    /// Workers
    Worker(Group<worker::Command>),
    /// Sealed Identity profiles: names and references, never values
    Profile(Group<profile::Command>),
    /// The profiles that a project puts below each run's own
    Cascade(Group<cascade::Command>),
    /// Revocations: keys of profiles that nothing may start with
    Revocation(Group<revocation::Command>),
    /// Values of secrets, straight into AWS Secrets Manager
    Secret(Group<secret::Command>),
    /// Runs
    Run(Group<run::Command>),
    /// The audit trail
    Audit(Group<audit::Command>),
}

/// A noun with its verbs.
#[derive(Args)]
pub struct Group<Verb: Subcommand> {
    #[command(flatten)]
    options: GroupOptions,
    #[command(subcommand)]
    verb: Verb,
}

/// Runs a command. Answers 0; 1 for a failure, 2 for wrong usage, 3 when the API refused.
pub async fn run(command: Command, options: Options) -> ExitCode {
    let outcome = match command {
        Command::Token(group) => token::run(group.verb, &group.options.over(options)).await,
        Command::Project(group) => project::run(group.verb, &group.options.over(options)).await,
        Command::EnrolmentKey(group) => {
            enrolment_key::run(group.verb, &group.options.over(options)).await
        }
        Command::Worker(group) => worker::run(group.verb, &group.options.over(options)).await,
        Command::Profile(group) => profile::run(group.verb, &group.options.over(options)).await,
        Command::Cascade(group) => cascade::run(group.verb, &group.options.over(options)).await,
        Command::Revocation(group) => {
            revocation::run(group.verb, &group.options.over(options)).await
        }
        Command::Secret(group) => secret::run(group.verb, &group.options.over(options)).await,
        Command::Run(group) => run::run(group.verb, &group.options.over(options)).await,
        Command::Audit(group) => audit::run(group.verb, &group.options.over(options)).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sealfleet: {failure}");
            failure.exit_code()
        }
    }
}
