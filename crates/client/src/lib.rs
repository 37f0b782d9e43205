//! A typed client of Sealfleet's HTTP API: one method for each operation.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sealfleet_client::{Client, Credential};
//! let credential = Credential::read("token".as_ref())?;
//! let client = Client::new("https://api.example.com", Some(credential))?;
//! for run in client.list_runs(None, &Default::default()).await?.items {
//!     println!("{} {:?}", run.run_id, run.state);
//! }
//! # Ok(()) }
//! ```
//!
//! # Retries
//! A request whose answer was lost may have been carried out. So the client retries (after
//! connection errors, 5xx and 429; with full jitter) only requests that change nothing the second
//! time: those that the table of operations calls repeatable, and those with an idempotency key.
//! Each attempt has its own timeout.

mod client;
mod credential;
mod error;
mod operations;
mod retry;
mod transfer;

pub use client::{Client, is_this_machine};
pub use credential::{Credential, FileError, NewFile};
pub use error::Error;
pub use operations::{AuditQuery, PageQuery, RunQuery, UsageQuery, all_pages};
pub use sealfleet_api::problem::{Code, Problem};
pub use sealfleet_api::types;
pub use sealfleet_api::types::RevocationState;
pub use transfer::TransferError;
