//! `sealfleet-init`: the first process of a sandbox, and the only program of Sealfleet that holds a
//! secret's value.
//!
//! - [`exec`]: in a pull worker's sandbox. Resolves the step's secret references, tells the worker
//!   their versions (never values), waits for the worker's go, and runs the command.
//! - [`fargate`]: in an ECS task, where ECS has resolved the secrets. Fetches the step under the
//!   task role, runs the command, and puts out what comes of it.
//! - [`egress`]: the way out of a pull worker's sandbox: a listener in it, and a proxy in a second
//!   one.
//! - [`agent`]: the CLI agent of a step, in the place of a command.
//! - `tokens`: files by which a step proves itself to others, renewed while its command runs.
//! - [`check`]: says what a container offers to a step.
//! - `trial`: says what the login of an identity backend may do.
//! - [`backends`]: which identity backends it has.
//!
//! # What holds a value, and for how long
//! Values live in [`SecretValue`](sealfleet_identity::SecretValue), which cannot be printed or
//! copied; every freed block of memory is wiped ([`allocator`]); and the command's environment is
//! built, handed to the kernel and freed before the first line of the command runs ([`supervise`]).
//!
//! What stays while the command runs is what its output is searched for ([`output`]): the values in
//! their encodings, as an automaton, and the bytes that are held back because they may be the
//! beginning of one. It lives as long as the command's output, in this process alone, which refuses
//! to be traced, dumped or read by others of its user. Master keys and files of identity backends
//! are gone before the command starts.

pub mod agent;
pub mod allocator;
mod artifacts;
pub mod backends;
pub mod check;
pub mod cli;
mod descriptors;
mod egress;
pub mod exec;
pub mod fargate;
mod files;
mod inputs;
mod memory;
pub mod output;
mod result;
pub mod supervise;
mod terminal;
mod tokens;
mod trial;
mod trust;

/// The exit code if the command was not run because something before it failed.
pub const NOT_RUN: i32 = 125;

/// The exit code of a command that was stopped because its time was up.
pub const TIMED_OUT: i32 = 124;

/// The exit code if nobody could be told how the command ended, where somebody must be told.
pub const UNTOLD: i32 = 121;

/// The directory that a step works in.
const WORKSPACE: &str = "/workspace";

/// Why a command was not run.
enum Failure {
    /// A signal asked this process to end; the exit code that says so.
    Stopped(i32),
    /// For people. Holds names only.
    Error(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Error(message)
    }
}

impl Failure {
    /// Tells people, and answers the exit code for this process.
    fn exit_code(self) -> i32 {
        match self {
            Self::Stopped(code) => code,
            Self::Error(message) => {
                eprintln!("sealfleet-init: {message}");
                NOT_RUN
            }
        }
    }
}
