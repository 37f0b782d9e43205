//! The Lambda functions: one folder each, with the name that the templates give it and an IAM role
//! of its own.
//!
//! A handler takes the ports that it may use and nothing else, so its signature says what its role
//! must allow. What several handlers share is in `shared`: who the caller is, what errors look like
//! at the edge, what follows a change. One binary holds them all; Lambda's `Handler` property picks
//! one (`docs/decisions/001-one-binary.md`).

pub mod audit;
pub mod cancel;
pub mod claim;
pub mod dispatch;
pub mod enqueue;
pub mod export;
pub mod fleet;
pub mod identity;
pub mod notify;
pub mod observe;
pub mod openapi;
pub mod profile;
pub mod report;
pub mod revoke;
pub mod runs;
pub mod sandbox;
pub mod shared;
pub mod sweep;
pub mod trail;
pub mod witness;
