//! The Cedar policies of `infra/policies`, evaluated over everything that can be asked.
//!
//! Ten kinds of principals, four places and some twenty actions are all there is to decide on, so
//! the policies can be tried on every question, and their answers are a table. [`generate`] writes
//! it as the Rust source that the control plane runs, and as the table of
//! `docs/who-may-do-what.md`; tests compare both with what is checked in.

mod document;
mod evaluate;
mod table;

use std::path::{Path, PathBuf};

pub use evaluate::{Error, Policies, Question};

/// The table as the control plane runs it.
pub const TABLE: &str = "crates/domain/src/access/table.rs";
/// The document that shows it.
pub const DOCUMENT: &str = "docs/who-may-do-what.md";

/// What the policies generate.
pub struct Generated {
    /// All of [`TABLE`].
    pub table: String,
    /// The part `api` of [`DOCUMENT`].
    pub document: String,
}

/// Where the repository is.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Evaluates the policies and writes down what they decide.
pub fn generate() -> Result<Generated, Error> {
    let policies = Policies::load(&root().join("infra/policies"))?;
    let answers = policies.answers()?;
    Ok(Generated {
        table: table::source(&answers, policies.hash()),
        document: document::tables(&answers, &policies),
    })
}

/// `text` with the part `api` between its markers replaced.
pub fn replaced(text: &str, generated: &str) -> Option<String> {
    const BEGIN: &str = "<!-- begin api -->\n";
    const END: &str = "<!-- end api -->";
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{generated}{END}{after}"))
}
