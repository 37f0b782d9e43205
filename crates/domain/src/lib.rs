//! The rules of Sealfleet: what may happen, to whom, and in which order.
//!
//! This crate holds only types and pure functions: no I/O, no async, no vendor. The functions, the
//! tests and the simulations run the same rules. It uses the product's words: project, run, step,
//! lease, fence, profile.

pub mod access;
pub mod acl;
pub mod agent;
pub mod approval;
pub mod artifact;
pub mod audit;
pub mod capability;
pub mod cascade;
pub mod cause;
pub mod clock;
pub mod command;
pub mod containment;
pub mod credential;
pub mod delivery;
pub mod egress;
pub mod encodings;
pub mod fence;
pub mod fleet;
pub mod hash;
pub mod identity;
pub mod ids;
pub mod inputs;
pub mod labels;
pub mod limits;
pub mod names;
pub mod oidc;
pub mod output;
pub mod prices;
pub mod profile;
pub mod rate;
pub mod redaction;
pub mod reference;
pub mod revocation;
pub mod run;
#[cfg(feature = "openapi")]
pub mod schema;
pub mod scope;
pub mod step;
pub mod text;
pub mod upload;
pub mod usage;
pub mod witness;
pub mod workflow;
pub mod workload;

pub use approval::ApprovalId;
pub use clock::{Clock, IdSource, Timestamp};
pub use ids::{
    ContainmentId, EnrolmentKeyId, EventId, FanOutId, IdentityTokenId, InvalidId, RevocationId,
    RunId, TokenId, UploadId, WorkerId,
};
pub use names::{
    InvalidName, NamePrefix, ParameterName, PoolName, ProfileName, ProjectId, StepId, ToolName,
    WorkflowName,
};
pub use reference::{ProfileRef, Reference, SecretUri};
pub use scope::{Owner, ProjectScope};
pub use text::Line;
