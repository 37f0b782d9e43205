//! What a sandbox has told of its end, until its host shows that it is gone.
//!
//! The host decides when a step has ended: a sandbox that says so and runs on would keep its
//! secrets while nobody watches it. So what it tells waits in a row of its own, and counts with the
//! host's word. Not in the run's row: many steps of a run may end at once, and each may tell some
//! kilobytes.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::run::Told;
use sealfleet_domain::scope::ClaimTag;

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::packed::{pack, unpack};
use crate::rows::{n, row, unwritten};
use crate::store::Condition;

/// How long a row is kept: longer than the event of a sandbox's end may take.
const KEPT_SECONDS: i64 = 2 * 24 * 3600;

impl Ledger {
    /// Keeps what the sandbox of a claim tells of its end, in place of what it told before: a
    /// command can speak in its sandbox's name, and init speaks when the command is gone.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn keep_told(&self, claim: &ClaimTag, told: &Told) -> Result<(), Error> {
        let end = pack(told).map_err(unwritten)?;
        let now = self.now();
        let expires_at = now.plus_seconds(KEPT_SECONDS).epoch_seconds();
        let item = row(
            keys::told(claim),
            [
                ("end", AttributeValue::B(end.into())),
                ("told_at", n(now.millis())),
                ("expires_at", n(expires_at)),
            ],
        );
        let newer = Condition::AbsentOrBelow("told_at", now.millis());
        self.put_if(item, newer).await?;
        Ok(())
    }

    /// What the sandbox of a claim has told of its end.
    ///
    /// # Errors
    /// When the tables do not answer, or the row cannot be read.
    pub async fn told(&self, claim: &ClaimTag) -> Result<Option<Told>, Error> {
        let Some(item) = self.row(&keys::told(claim)).await? else {
            return Ok(None);
        };
        match item.get("end") {
            Some(AttributeValue::B(end)) => unpack(end.as_ref()).map(Some),
            _ => Err(Error::Unreadable("a told end without `end`".to_owned())),
        }
    }
}
