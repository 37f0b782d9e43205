//! Who may do what on AWS, proven by evaluating the policies of the templates.
//!
//! Three files are enough to judge it:
//!
//! - `matrix.yaml` says in words and in actions what can be done, and who may. Every row answers
//!   for every role.
//! - [`policy`] evaluates one policy. It refuses whatever it does not know, and where AWS's rule of
//!   matching is finer than its own it errs to the safe side: an Allow reaches more, a Deny less.
//! - [`matrix`] compares the two in both directions: each row with what the policies decide, and
//!   each Allow statement with the rows. A permission that no row speaks of is a failure, and so is
//!   a row that nobody's policy bears out.
//!
//! The rest prepares: [`template`] resolves a template's functions to the documents that AWS would
//! get, [`account`] gathers the roles and resource policies of a deployment with three projects,
//! [`page`] writes the answers down for readers.
//!
//! What this cannot show: policies that an account has besides (service control policies, other
//! principals' policies), and services whose authorisation is not a policy. Nothing here ran on
//! AWS.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON read by name: what is absent reads as null"
)]

pub mod account;
pub mod matrix;
pub mod page;
pub mod policy;
pub mod template;

use std::path::{Path, PathBuf};

pub use account::Account;
pub use matrix::Matrix;
pub use template::Template;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The text of a file below the root.
pub fn text(path: &str) -> Result<String, String> {
    std::fs::read_to_string(root().join(path)).map_err(|error| format!("`{path}`: {error}"))
}
