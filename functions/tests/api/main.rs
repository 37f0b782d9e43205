//! The API as `sealfleet_api::operations` describes it, held against what is deployed and what
//! handlers do.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod authorisation;
mod cursors;
mod routes;
mod world;
