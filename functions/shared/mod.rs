//! What several functions share:
//!
//! - `auth`: who the caller is, and whether the operation's row lets it in;
//! - `route`: from a request to its handler;
//! - `fault`: what failed, as the caller is told;
//! - `once`: the idempotency key of a request;
//! - `pages`, `views`: lists, and stored rows as the API shows them;
//! - `deadline`: an answer before the invocation ends;
//! - `effects`: what follows a committed change;
//! - `validate`: whether a run's steps can run at all;
//! - `review`: what whoever approves has seen;
//! - `cascade`: from profiles to what a sandbox starts with;
//! - `containment`: stopping all that a project does;
//! - `fan_out`: aborting the runs of a hard revocation;
//! - `task`, `told`: what follows from how a sandbox is seen, and from what is told of its end;
//! - `settings`, `logs`, `metrics`: a function's environment, its log lines, and what it counts.
//!
//! Clock and ids are in `crates/system`.

pub mod auth;
pub mod cascade;
pub mod containment;
pub mod deadline;
pub mod effects;
pub mod fan_out;
pub mod fault;
pub mod inputs;
pub mod logs;
pub mod metrics;
pub mod once;
pub mod pages;
pub mod review;
pub(crate) mod route;
pub mod settings;
pub mod task;
pub mod told;
pub mod validate;
pub mod views;
