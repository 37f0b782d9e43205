//! The ledger itself: its store, its clock and its source of ids. Each protocol has its own module.

use std::sync::Arc;

use sealfleet_domain::audit::Event;
use sealfleet_domain::identity::Identity;
use sealfleet_domain::prices::Prices;
use sealfleet_domain::usage::ByModel;
use sealfleet_domain::{Clock, ContainmentId, IdSource, ProjectScope, Timestamp};

use crate::error::Error;
use crate::format::Formatted;
use crate::remembered::Remembered;
use crate::rows::unwritten;
use crate::store::{Condition, Consistency, Item, Key, Store, Table, Write, WriteError};

/// Seconds in a day.
const DAY: i64 = 24 * 3600;
/// Days after its end for which a run is kept.
const RUN_DAYS: i64 = 90;
/// Days for which the audit table keeps an entry. The archive keeps it longer.
const TRAIL_DAYS: i64 = 30;

/// The two tables, the clock, and the source of ids and secrets.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) watch: Option<Arc<dyn Watch>>,
    pub(crate) identities: Arc<Remembered<Arc<Identity>>>,
    pub(crate) task_definitions: Arc<Remembered<String>>,
    pub(crate) run_days: i64,
    pub(crate) trail_days: i64,
    pub(crate) prices: Arc<Prices>,
    /// What the entries that it writes are part of.
    pub(crate) containment: Option<ContainmentId>,
}

/// Receives the events that transitions of runs have stored.
pub trait Watch: Send + Sync {
    /// Called once for each transaction that is known to have committed.
    fn stored(&self, scope: &ProjectScope, events: &[Event], at: Timestamp);
    /// Called once with what the attempts have used that such a transaction ended.
    fn used(&self, scope: &ProjectScope, used: &ByModel, at: Timestamp);
}

impl Ledger {
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self {
            store: Arc::new(Formatted(store)),
            clock,
            ids,
            watch: None,
            identities: Arc::default(),
            task_definitions: Arc::default(),
            run_days: RUN_DAYS,
            trail_days: TRAIL_DAYS,
            prices: Arc::default(),
            containment: None,
        }
    }

    /// This ledger, which reports stored events to `watch`.
    #[must_use]
    pub fn watched(self, watch: Arc<dyn Watch>) -> Self {
        Self {
            watch: Some(watch),
            ..self
        }
    }

    /// This ledger, which keeps runs for `run_days` after their end, and entries in the audit table
    /// for `trail_days`.
    #[must_use]
    pub fn keeping(self, run_days: i64, trail_days: i64) -> Self {
        Self {
            run_days,
            trail_days,
            ..self
        }
    }

    /// This ledger, which charges what steps use by `prices`.
    #[must_use]
    pub fn charging(self, prices: Prices) -> Self {
        Self {
            prices: Arc::new(prices),
            ..self
        }
    }

    /// This ledger, whose entries are part of a containment.
    #[must_use]
    pub fn within(&self, containment: Option<ContainmentId>) -> Self {
        Self {
            containment,
            ..self.clone()
        }
    }

    /// The prices by which it charges.
    #[must_use]
    pub fn prices(&self) -> &Prices {
        &self.prices
    }

    /// The current time, by the ledger's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The source of ids and secrets.
    #[must_use]
    pub fn ids(&self) -> &dyn IdSource {
        self.ids.as_ref()
    }

    /// Reads a row of the ledger. Sees all writes that were acknowledged before.
    pub(crate) async fn row(&self, key: &Key) -> Result<Option<Item>, Error> {
        self.row_as(key, Consistency::Strong).await
    }

    /// Reads a row of the ledger, as current as `consistency` says.
    pub(crate) async fn row_as(
        &self,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, Error> {
        Ok(self.store.get(Table::Ledger, key, consistency).await?)
    }

    /// Makes the writes. `false` when a condition did not hold; then nothing was written.
    pub(crate) async fn write_if(&self, writes: Vec<Write>) -> Result<bool, Error> {
        match self.store.write(writes).await {
            Ok(()) => Ok(true),
            Err(WriteError::Condition(_)) => Ok(false),
            Err(error) => Err(unwritten(error)),
        }
    }

    /// Puts a row of the ledger. `false` when the condition did not hold.
    pub(crate) async fn put_if(&self, item: Item, only_if: Condition) -> Result<bool, Error> {
        let put = Write::Put {
            table: Table::Ledger,
            item,
            only_if,
        };
        self.write_if(vec![put]).await
    }
}

/// When something that is kept for `days` from `at` expires, in seconds since the Unix epoch.
pub(crate) fn expiry(at: Timestamp, days: i64) -> i64 {
    at.epoch_seconds().saturating_add(days.saturating_mul(DAY))
}
