//! Adapters to AWS, other than the tables and ECS: the SDK's configuration and trusted roots,
//! queues, queue credentials, inputs, outputs, objects, signatures.
//!
//! Each adapter is a small trait and its implementation on the SDK: a function that is handed only
//! `Queues` can only send messages, and its IAM role says the same. No client that could read a
//! secret's value is linked here.

pub mod bus;
pub mod config;
pub mod inputs;
pub mod objects;
pub mod outputs;
pub mod queue_access;
pub mod queues;
pub mod signing;
pub mod trust;

/// An AWS service that does not answer, or refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{service}: {detail}")]
pub struct Unavailable {
    /// The service.
    pub service: &'static str,
    /// What it said, without any value.
    pub detail: String,
}
