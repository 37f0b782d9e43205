//! The commands of operators and project admins: one module for each noun, over the HTTP API.
//!
//! Five commands bypass the API on purpose and use the operator's own AWS credentials. `token
//! bootstrap` creates the first operator token, which nobody could authenticate to create. `secret
//! put` writes values of secrets, which no field of the API accepts. `project deploy` creates a
//! project's queues and roles, which the control plane has no permission to create. `prove` does
//! both of the latter, and looks at everything with the eyes of an operator of the account.
//! `restore` changes the tables while the API serves nobody.

mod approval;
mod archive;
mod audit;
mod aws;
mod cascade;
mod connection;
mod contain;
mod context;
mod egress;
mod enrolment_key;
mod failure;
mod handover;
mod image;
mod input;
mod listing;
mod login;
mod near;
mod output;
mod path;
mod profile;
mod project;
mod prove;
mod repair;
mod restore;
mod revocation;
mod rows;
mod run;
mod secret;
mod status;
mod token;
mod trail;
mod upload;
mod usage;
mod whoami;
mod worker;
mod workflow;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use connection::{Connection, GroupOptions, Options};
use failure::Failure;
use output::Output;

/// Sealfleet: run AI-agent work for many customers, each with that customer's own credentials.
#[derive(Parser)]
#[command(name = "sealfleet", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Address and token come from an option, else from the environment, else from a context.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 the control plane refused. With `--output json`
a failure is one RFC 9457 problem on standard error.";

#[derive(Subcommand)]
enum Command {
    /// Store address and token of a control plane as a context, after a check of the token; the
    /// token comes from `--token-file`, or from standard input (typed without echo at a terminal)
    Login(Leaf<login::Login>),
    /// Manage contexts: control planes that you have logged in to
    Context(Group<context::Command>),
    /// Show whose token you use
    Whoami(Leaf<Nothing>),
    /// Show what is wrong in your project now, and what to do about it
    Status(Leaf<Nothing>),
    /// Stop everything in your project now: revoke its keys hard, its workers and enrolment keys,
    /// and cancel its runs
    Contain(Leaf<contain::Contain>),
    /// Manage API tokens
    Token(Group<token::Command>),
    /// Manage projects, the tenants
    Project(Group<project::Command>),
    /// Manage enrolment keys, which approve workers as they register
    EnrolmentKey(Group<enrolment_key::Command>),
    /// Manage workers
    Worker(Group<worker::Command>),
    /// Register workflows, which callers run by name with parameters
    Workflow(Group<workflow::Command>),
    /// Decide on what waits for approval
    Approval(Group<approval::Command>),
    /// Manage Sealed Identity profiles: names and references, never values
    Profile(Group<profile::Command>),
    /// Manage the profiles that a project puts below each run's own
    Cascade(Group<cascade::Command>),
    /// Manage revocations: keys that no run may start with
    Revocation(Group<revocation::Command>),
    /// Write values of secrets directly to an identity backend
    Secret(Group<secret::Verb>),
    /// Enqueue and manage runs
    Run(Group<run::Command>),
    /// Upload a file for steps to work with, and print its id
    Upload(Leaf<upload::Upload>),
    /// Show what steps have used and what that cost, by day, workflow, profile or model; operators
    /// see it by project
    Usage(Leaf<usage::Asked>),
    /// Look at what steps were kept from
    Egress(Group<egress::Command>),
    /// Check images of sandboxes
    Image(Group<image::Command>),
    /// Read and verify the audit trail
    Audit(Group<audit::Command>),
    /// Try the boundaries of the deployed stack, with two throwaway projects
    Prove(Box<Leaf<prove::Prove>>),
    /// Run the installation on tables of an earlier moment, with your own AWS credentials
    Restore(Group<restore::Command>),
    /// Print a completion script for your shell
    Completion {
        /// Shell that will read the script
        shell: clap_complete::Shell,
    },
}

/// A noun, its verbs, and the shared options.
#[derive(Args)]
struct Group<Verb: Subcommand> {
    #[command(flatten)]
    options: GroupOptions,
    #[command(subcommand)]
    verb: Verb,
}

/// A verb without a noun, and the shared options.
#[derive(Args)]
struct Leaf<Rest: Args> {
    #[command(flatten)]
    rest: Rest,
    #[command(flatten)]
    options: GroupOptions,
}

#[derive(Args)]
struct Nothing {}

/// Runs the command line. Returns exit code 0 on success, 1 for a failure, 2 for wrong usage, 3
/// when the API refused; `prove` also 4 when something does not hold, and 5 when not everything was
/// tried.
pub async fn run(words: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return unparsed(&error, &words),
    };
    let (output, outcome) = dispatch(arguments.command, arguments.options).await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => tell(&failure, output),
    }
}

/// What clap says about a command line that it did not accept: help, or what is wrong.
fn unparsed(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if !is_help && wants_json(words) {
        let text = error.render().to_string();
        let text = text.trim_start_matches("error: ").trim_end();
        return tell(&Failure::usage(text), Output::Json);
    }
    // A closed pipe is no failure.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Whether a command line that cannot be parsed asks for JSON.
fn wants_json(words: &[OsString]) -> bool {
    let two = words.windows(2).any(|two| *two == ["--output", "json"]);
    two || words.iter().any(|word| word == "--output=json")
}

fn tell(failure: &Failure, output: Output) -> ExitCode {
    match output {
        Output::Text => output::note(&format!("sealfleet: {failure}\n")),
        Output::Json => output::note(&format!("{}\n", failure.problem())),
    }
    failure.exit_code()
}

async fn dispatch(command: Command, options: Options) -> (Output, Result<(), Failure>) {
    /// Merges the options, and runs the verb with them.
    macro_rules! with {
        ($options:expr, |$connection:ident| $run:expr) => {{
            let connection: Connection = $options.over(options);
            let $connection = &connection;
            let outcome = $run;
            (connection.output, outcome)
        }};
    }
    match command {
        Command::Login(leaf) => with!(leaf.options, |to| login::run(leaf.rest, to).await),
        Command::Context(group) => with!(group.options, |to| context::run(group.verb, to)),
        Command::Whoami(leaf) => with!(leaf.options, |to| whoami::run(to).await),
        Command::Status(leaf) => with!(leaf.options, |to| status::run(to).await),
        Command::Contain(leaf) => with!(leaf.options, |to| contain::run(leaf.rest, to).await),
        Command::Token(group) => with!(group.options, |to| token::run(group.verb, to).await),
        Command::Project(group) => with!(group.options, |to| project::run(group.verb, to).await),
        Command::EnrolmentKey(group) => {
            with!(group.options, |to| enrolment_key::run(group.verb, to).await)
        }
        Command::Worker(group) => with!(group.options, |to| worker::run(group.verb, to).await),
        Command::Workflow(group) => with!(group.options, |to| workflow::run(group.verb, to).await),
        Command::Approval(group) => with!(group.options, |to| approval::run(group.verb, to).await),
        Command::Profile(group) => with!(group.options, |to| profile::run(group.verb, to).await),
        Command::Cascade(group) => with!(group.options, |to| cascade::run(group.verb, to).await),
        Command::Revocation(group) => {
            with!(group.options, |to| revocation::run(group.verb, to).await)
        }
        Command::Secret(group) => with!(group.options, |to| secret::run(group.verb, to).await),
        Command::Run(group) => with!(group.options, |to| run::run(group.verb, to).await),
        Command::Upload(leaf) => with!(leaf.options, |to| upload::run(leaf.rest, to).await),
        Command::Usage(leaf) => with!(leaf.options, |to| usage::run(leaf.rest, to).await),
        Command::Egress(group) => with!(group.options, |to| egress::run(group.verb, to).await),
        Command::Image(group) => with!(group.options, |to| image::run(group.verb, to).await),
        Command::Prove(leaf) => with!(leaf.options, |to| prove::run(leaf.rest, to).await),
        Command::Restore(group) => with!(group.options, |to| restore::run(group.verb, to).await),
        Command::Audit(group) => with!(group.options, |to| audit::run(group.verb, to).await),
        Command::Completion { shell } => (Output::Text, completion(shell)),
    }
}

fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "sealfleet", &mut script);
    output::raw(&script)
}
