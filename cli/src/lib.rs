//! The `sealfleet` command line, as a library so that tests can use its parts without a process in
//! between.

pub mod cloudformation;
pub mod operator;
