//! The handlers in process, over one set of fakes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking; absent JSON reads as null"
)]

mod api;
mod audited;
mod driven;
mod events;
mod export;
mod hosts;
mod identity;
mod notify;
mod repository;
mod sandbox;
mod semantics;
mod sweep;
mod trail;
mod trips;
mod upgrade;
mod versions;
mod walk;
mod world;
