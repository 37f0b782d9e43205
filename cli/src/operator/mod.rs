//! The commands of operators and project admins: one module for each noun, over the HTTP API.
//!
//! Four commands bypass the API on purpose and use the operator's own AWS credentials. `token
//! bootstrap` creates the first operator token, which nobody could authenticate to create. `secret
//! put` writes values of secrets, which no field of the API accepts. `project deploy` creates a
//! project's queues and roles, which the control plane has no permission to create. `prove` does
//! both of the latter, and looks at everything with the eyes of an operator of the account.

mod archive;
mod audit;
mod aws;
mod cascade;
mod connection;
mod enrolment_key;
mod failure;
mod handover;
mod image;
mod input;
mod output;
mod profile;
mod project;
mod prove;
mod repair;
mod revocation;
mod rows;
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

#[derive(Subcommand)]
pub enum Command {
    /// Manage API tokens
    Token(Group<token::Command>),
    /// Manage projects, the tenants
    Project(Group<project::Command>),
    /// Manage enrolment keys, which approve workers as they register
    EnrolmentKey(Group<enrolment_key::Command>),
    /// Manage workers
    Worker(Group<worker::Command>),
    /// Manage Sealed Identity profiles: names and references, never values
    Profile(Group<profile::Command>),
    /// Manage the profiles that a project puts below each run's own
    Cascade(Group<cascade::Command>),
    /// Manage revocations: keys that no run may start with
    Revocation(Group<revocation::Command>),
    /// Write values of secrets directly to AWS Secrets Manager
    Secret(Group<secret::Command>),
    /// Enqueue and manage runs
    Run(Group<run::Command>),
    /// Check images of sandboxes
    Image(Group<image::Command>),
    /// Read and verify the audit trail
    Audit(Group<audit::Command>),
    /// Try the boundaries of the deployed stack, with two throwaway projects
    Prove(Box<prove::Prove>),
}

/// A noun, its verbs, and the shared options.
#[derive(Args)]
pub struct Group<Verb: Subcommand> {
    #[command(flatten)]
    options: GroupOptions,
    #[command(subcommand)]
    verb: Verb,
}

/// Runs a command. Returns exit code 0 on success, 1 for a failure, 2 for wrong usage, 3 when the
/// API refused; `prove` also 4 when something does not hold, and 5 when not everything was tried.
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
        Command::Image(group) => image::run(group.verb, &group.options.over(options)).await,
        Command::Audit(group) => audit::run(group.verb, &group.options.over(options)).await,
        Command::Prove(prove) => prove::run(*prove, options).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&format!("sealfleet: {failure}\n"));
            failure.exit_code()
        }
    }
}
