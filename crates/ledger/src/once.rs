//! Idempotency keys: a row lets a key stand for what its first request made.
//!
//! It is written only if it is absent or expired. Time to live deletes rows late, so the condition
//! compares the time.

use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::{Timestamp, limits};

use crate::error::Error;

use crate::ledger::Ledger;
use crate::rows::{n, number, row, text};
use crate::store::{Condition, Consistency, Item, Key};

/// An idempotency key and a hash of the request that it stands for.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pub key: String,
    /// SHA-256 of the request, in hex.
    pub request: String,
}

impl Idempotency {
    /// The row by which the key stands for what has this id, and when it may be written.
    pub(crate) fn row(
        &self,
        key: Key,
        (made, id): (&'static str, String),
        now: Timestamp,
    ) -> (Item, Condition) {
        let now = now.epoch_seconds();
        let expires_at = now.saturating_add(limits::IDEMPOTENCY_SECONDS);
        let attributes = [
            ("request", AttributeValue::S(self.request.clone())),
            (made, AttributeValue::S(id)),
            ("expires_at", n(expires_at)),
        ];
        let only_if = Condition::AbsentOrBelow("expires_at", now);
        (row(key, attributes), only_if)
    }
}

impl Ledger {
    /// The id of what a key stands for, if it does.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`] when it does for another request, or the tables do not
    /// answer.
    pub(crate) async fn made_before<Id: FromStr>(
        &self,
        key: &Key,
        once: &Idempotency,
        made: &'static str,
        consistency: Consistency,
    ) -> Result<Option<Id>, Error> {
        let Some(item) = self.row_as(key, consistency).await? else {
            return Ok(None);
        };
        if number(&item, "expires_at").is_none_or(|at| at < self.now().epoch_seconds()) {
            return Ok(None);
        }
        if text(&item, "request") != Some(&once.request) {
            return Err(Error::IdempotencyMismatch);
        }
        let id = text(&item, made).and_then(|id| id.parse().ok());
        id.map(Some)
            .ok_or_else(|| Error::Unreadable(format!("an idempotency row without a {made}")))
    }
}
