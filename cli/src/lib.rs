//! The `sealfleet` command line. It is a library so that tests can call its parts without starting
//! a process.

pub mod cloudformation;
pub mod operator;
