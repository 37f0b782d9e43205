//! The ledger on a real DynamoDB protocol.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixtures;
mod runs;
mod sealed;
