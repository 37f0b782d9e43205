//! The ledger itself: its store, its clock and its source of ids. Each protocol has its own module.

use std::sync::Arc;

use sealfleet_domain::audit::Event;
use sealfleet_domain::{Clock, IdSource, ProjectScope, Timestamp};

use crate::store::Store;

/// The tables, and what time and chance come from.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) watch: Option<Arc<dyn Watch>>,
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
        Self {
            store,
            clock,
            ids,
            watch: None,
        }
    }

    /// This ledger, telling `watch` what transitions of runs make true.
    #[must_use]
    pub fn watched(self, watch: Arc<dyn Watch>) -> Self {
        Self {
            watch: Some(watch),
            ..self
        }
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
