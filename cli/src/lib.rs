//! The `sealfleet` command line. It is a library so that tests can call its parts without starting
//! a process.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "`operator::output` escapes what a terminal would act on"
)]

pub mod cloudformation;
pub mod contexts;
pub mod operator;
