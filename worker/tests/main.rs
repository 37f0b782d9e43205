//! What a worker promises: with stand-ins all around it, and with commands that really run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod execution;
mod identity;
mod inputs;
mod installed;
mod worker;
