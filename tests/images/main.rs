//! The images, on a real container engine: `scripts/test-images` builds them and starts the engine
//! that `DOCKER_HOST` names.
//!
//! A sandbox runs in the container that the task definition describes: `options` translates the
//! definition that `crates/hosts/fargate` registers, and knows every key of it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod check;
mod engine;
mod sandbox;
mod variants;
mod worker;
