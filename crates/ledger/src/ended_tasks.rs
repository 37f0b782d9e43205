//! Sandboxes that ended without ending their step, because their claim had been lost, cancelled or
//! revoked.
//!
//! A host reports each end at least once, but a sandbox's consumption must count once. If a sandbox
//! ends its step, that transition counts it. For any other sandbox, a row here remembers the end
//! for as long as its event may be delivered again.

use sealfleet_domain::ProjectScope;

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{n, row};
use crate::store::Condition;

/// How long a row is kept. EventBridge retries an event for one day.
const KEPT_SECONDS: i64 = 2 * 24 * 3600;

impl Ledger {
    /// Records that a sandbox has ended, by its host's short id. `true` the first time.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn note_ended_task(&self, scope: &ProjectScope, id: &str) -> Result<bool, Error> {
        let key = keys::ended_task(scope, id);
        let expires_at = self.now().plus_seconds(KEPT_SECONDS).epoch_seconds();
        let item = row(key, [("expires_at", n(expires_at))]);
        self.put_if(item, Condition::Absent).await
    }
}
