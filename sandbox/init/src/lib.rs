//! `sealfleet-init`: what runs as the first process of a sandbox, and the only part of Sealfleet
//! that holds a secret's value.
//!
//! - [`exec`]: in a pull worker's sandbox. Resolves the step's secret references, tells the worker
//!   which versions it found (never values), waits for the worker's go, and runs the command.
//! - [`fargate`]: in an ECS task, where ECS has resolved the secrets. Fetches the step under the
//!   task role and runs the command.
//! - [`store`]: the encrypted file behind `builtin://` references.
//!
//! # Why no value is left behind
//! Values live in [`SecretValue`], which cannot be printed or copied; every freed block of memory
//! is wiped ([`allocator`]); the process refuses to be traced or dumped; and the command's
//! environment is built, handed to the kernel and freed before the first line of the command runs
//! ([`supervise`]).

pub mod allocator;
pub mod cli;
mod descriptors;
pub mod exec;
pub mod fargate;
pub mod identity;
mod secret;
pub mod store;
pub mod supervise;

pub use secret::SecretValue;

/// The exit code when the command was not run because of what came before it.
pub const NOT_RUN: i32 = 125;

/// The exit code of a command that was stopped because its time was up.
pub const TIMED_OUT: i32 = 124;
