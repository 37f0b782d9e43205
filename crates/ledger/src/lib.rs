//! The two tables: the ledger, which is the only authority on what runs, and the audit trail.
//!
//! Each protocol is one module, and each write is written once. Every key is built from a
//! `ProjectScope`. Every state change of a run commits with its audit entry in the same row; every
//! other state change commits in one transaction with its entry. The `outbox` module has the one
//! exception, for changes that only take authority away. Every write is conditional. So it is safe
//! to run a handler twice, or two handlers at once.

mod activity;
mod approvals;
mod audit;
mod audit_rows;
mod claim;
mod containments;
mod due;
mod dynamo;
mod ended_runs;
mod ended_tasks;
mod enqueue;
mod entries;
mod error;
mod fan_outs;
mod fleet;
mod format;
mod identities;
mod identity_tokens;
mod keys;
mod leases;
mod ledger;
mod once;
mod outbox;
mod packed;
mod pages;
mod profiles;
mod projects;
mod rates;
mod refusals;
mod remembered;
mod revocations;
mod rows;
mod run_rows;
mod runs;
mod shown;
pub mod store;
mod task_definitions;
mod tokens;
mod told;
mod trail;
mod transition;
mod usage;
mod workflows;

pub use activity::{Activity, Looked};
pub use approvals::told_approval;
pub use audit::{AuditFilter, AuditPage, EventFilter, audit_entries_of_image, audit_shard_of};
pub use audit_rows::AUDIT_SHARDS;
pub use claim::{BeforeStart, Claimed, NewClaim, Start, StartedSandbox};
pub use containments::SoFar;
pub use due::{Due, DuePage, DueRun, due_shards};
pub use dynamo::{Dynamo, Tables};
pub use ended_runs::{EndedRun, EndedStep};
pub use enqueue::{Before, Enqueued};
pub use error::Error;
pub use fan_outs::{Lane, Tally};
pub use fleet::{Registration, Seen};
pub use identities::{Identities, identity_of_image};
pub use identity_tokens::NewToken;
pub use leases::{HeldLease, LeaseRow, OfHolder};
pub use ledger::{Ledger, Watch};
pub use once::Idempotency;
pub use outbox::{WaitingEntry, audit_entry_of_outbox};
pub use packed::{pack, unpack};
pub use pages::Page;
pub use profiles::{ProfileVersion, owner_of};
pub use rates::Rates;
pub use remembered::IdentityHash;
pub use revocations::InForce;
pub use run_rows::{Added, RunRow, may_expire};
pub use runs::RunFilter;
pub use shown::shown;
pub use store::{DueRow, Meter, Store};
pub use trail::{EntriesAgain, RunsPlace};
pub use transition::{StoredRun, Transitioned};
pub use usage::{DAYS as USAGE_DAYS, UsedBy};
pub use workflows::Registered;
