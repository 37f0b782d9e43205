//! The ledger on a real DynamoDB protocol.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod commuting;
mod fixtures;
mod fleet;
mod rates;
mod runs;
mod sealed;
mod shown;
mod stale;
