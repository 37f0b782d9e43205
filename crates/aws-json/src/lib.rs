//! Calls of AWS services that speak JSON, and one of IAM, which speaks XML, on the runtime of the
//! AWS SDK but without its generated clients, which take a minute to compile for a few operations.
//!
//! Signatures, credentials, retries, time limits and HTTP are the SDK's. Nothing that is deployed
//! links this crate (docs/decisions/020-three-operations-without-a-generated-client.md). It offers
//! named operations only: a caller cannot use it to read a secret's value.

mod call;
pub mod ecs;
pub mod iam;
pub mod lambda;
pub mod logs;

pub use call::{CallError, Refused};
