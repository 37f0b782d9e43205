//! The two tables: the ledger, which is the only authority on what runs, and the audit trail.
//!
//! One module for each protocol, each transaction written once. Every key is built from a `ProjectScope`, every state
//! change commits with its audit entry (`outbox`: what only takes away may leave it in the ledger first), and every write is conditional, so that a handler may be run twice, and two
//! handlers at once, without either being wrong.

mod audit;
mod audit_rows;
mod claim;
mod due;
mod dynamo;
mod ended_tasks;
mod enqueue;
mod error;
mod fan_outs;
mod fleet;
mod keys;
mod leases;
mod outbox;
mod profiles;
mod projects;
mod rates;
mod revocations;
mod rows;
mod runs;
pub mod store;
mod task_definitions;
mod tokens;
mod transition;

use std::sync::Arc;

use sealfleet_domain::audit::Event;
use sealfleet_domain::{Clock, IdSource, ProjectScope, Timestamp};

pub use audit::{AuditFilter, AuditPage, EventFilter, audit_entry_of_image, audit_shard_of};
pub use audit_rows::AUDIT_SHARDS;
pub use claim::{Claimed, Ready, Start, Wanted};
pub use due::{Due, DueRun, due_shards};
pub use dynamo::{Dynamo, Tables};
pub use enqueue::{Enqueued, Idempotency};
pub use error::Error;
pub use fleet::Registration;
pub use leases::{HeldLease, LeaseRow};
pub use outbox::{WaitingEntry, audit_entry_of_outbox};
pub use profiles::{ProfileVersion, owner_of};
pub use rates::Rates;
pub use runs::Page;
pub use store::{Meter, Store};
pub use transition::Transitioned;

/// The tables, and what time and chance come from.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    watch: Option<Arc<dyn Watch>>,
}

/// Is told what transitions of runs have made true.
pub trait Watch: Send + Sync {
    /// These events are stored. Told once for each transaction that is known to have happened.
    fn stored(&self, scope: &ProjectScope, events: &[Event], at: Timestamp);
}

impl Ledger {
    /// A ledger over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { store, clock, ids, watch: None }
    }

    /// This ledger, telling `watch` what transitions of runs make true.
    #[must_use]
    pub fn watched(self, watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Now, by the ledger's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What ids and secrets come from.
    #[must_use]
    pub fn ids(&self) -> &dyn IdSource {
        self.ids.as_ref()
    }
}
