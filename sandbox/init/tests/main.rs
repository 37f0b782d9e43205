//! `sealfleet-init` from outside: as the first process of a sandbox, in the place of an ECS
//! container's program, and as the tool that fills a store.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod agent;
mod allocator;
mod channel;
mod exec;
mod fargate;
mod redaction;
mod seam;
mod store;
mod worker;
