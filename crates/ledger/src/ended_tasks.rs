//! Sandboxes that ended without ending their step: their claim was lost, cancelled or revoked
//! before.
//!
//! A host tells of an end at least once, and what a sandbox has used counts once. One that ends its
//! step is counted with that transition; for the others a row stands here for as long as an event
//! may come again.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::ProjectScope;

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::unwritten;
use crate::store::{Condition, Item, Table, Write, WriteError};

/// Seconds after which EventBridge has surely given an event up: it tries for a day.
const KEPT_SECONDS: i64 = 2 * 24 * 3600;

impl Ledger {
    /// Notes that a sandbox has ended, by its host's short id of it. `true` the first time.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn note_ended_task(&self, scope: &ProjectScope, id: &str) -> Result<bool, Error> {
        let key = keys::ended_task(scope, id);
        let expires_at = self.now().plus_seconds(KEPT_SECONDS).epoch_seconds();
        let item = Item::from([
            ("pk".to_owned(), AttributeValue::S(key.pk)),
            ("sk".to_owned(), AttributeValue::S(key.sk)),
            (
                "expires_at".to_owned(),
                AttributeValue::N(expires_at.to_string()),
            ),
        ]);
        match self
            .store
            .write(vec![Write::Put {
                table: Table::Ledger,
                item,
                only_if: Condition::Absent,
            }])
            .await
        {
            Ok(()) => Ok(true),
            Err(WriteError::Condition(_)) => Ok(false),
            Err(error) => Err(unwritten(error)),
        }
    }
}
