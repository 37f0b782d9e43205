//! Identity tokens on record: no token leaves without its entry.
//!
//! The row of the claim's lease counts them. So the write that records a token happens only while
//! that claim is live, and only if its lease lasts as long as the token will. A worker that has
//! lost its claim, or a step that has ended, has no such row.

use sealfleet_domain::audit::Event;
use sealfleet_domain::identity::Identity;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::run::{LeaseKey, Refusal};
use sealfleet_domain::{Owner, ProjectScope, Timestamp, limits};

use crate::error::Error;
use crate::keys;
use crate::leases::{LeaseRow, with_tokens};
use crate::ledger::Ledger;
use crate::rows::{n, unwritten};
use crate::store::{Condition, Edit, Test, Write, WriteError};

/// Attempts at a lease that heartbeats keep moving.
const ATTEMPTS: u32 = 8;

/// A token that is to be made: what it says, when it ends, and how the trail tells of it.
#[derive(Clone, Debug)]
pub struct NewToken<T> {
    pub token: T,
    pub ends: Timestamp,
    pub event: Event,
}

impl Ledger {
    /// Records a token for the step of a live claim. `make` is told until when the claim's lease
    /// lasts; it makes none if that is too short, and nothing is recorded.
    ///
    /// `is_renewed` says whether somebody renews the lease: then the token may not outlast it.
    ///
    /// # Errors
    /// [`Refusal::StaleFence`] when the claim is over, [`Error::RateLimited`], or the
    /// tables do not answer. In each case no token may be given out.
    pub async fn issue_identity_token<T>(
        &self,
        scope: &ProjectScope,
        lease: &LeaseKey,
        is_renewed: bool,
        actor: &str,
        make: impl Fn(Timestamp, Timestamp) -> Option<NewToken<T>>,
    ) -> Result<Option<T>, Error> {
        let over = || Refusal::StaleFence { given: lease.fence };
        for attempt in 0..ATTEMPTS {
            let row = self.lease(scope, lease.holder, lease.slot, lease.fence);
            let row = row.await?.ok_or_else(over)?;
            let now = self.now();
            let (minute, count) = counted(&row, now)?;
            let Some(new) = make(row.until(), now) else {
                return Ok(None);
            };
            let mut only_if = with_tokens(lease, &row);
            if is_renewed {
                let ends = Test::AtLeast(new.ends.millis());
                only_if.push(("until".to_owned(), ends));
            }
            let writes = vec![
                Write::Update {
                    key: keys::lease(scope, lease.holder, lease.slot),
                    edits: vec![
                        ("token_minute".to_owned(), Edit::Set(n(minute))),
                        ("tokens".to_owned(), Edit::Set(n(count))),
                    ],
                    only_if: Condition::All(only_if),
                },
                self.audit_write(
                    scope.project().as_str(),
                    actor,
                    Some(lease.run_id),
                    vec![new.event],
                    now,
                )
                .map_err(unwritten)?,
            ];
            match self.store.write(writes).await {
                Ok(()) => return Ok(Some(new.token)),
                Err(WriteError::Condition(_) | WriteError::Busy) => self.back_off(attempt).await,
                Err(error) => return Err(unwritten(error)),
            }
        }
        Err(Error::Contended)
    }

    /// The active revocations of all who own a profile of `identity`.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn revocations_of_profiles(
        &self,
        scope: &ProjectScope,
        identity: &Identity,
    ) -> Result<Vec<Revocation>, Error> {
        let own = Owner::Project(scope.clone());
        let mut active = self.active_revocations(&own).await?;
        if identity.uses_system() {
            active.extend(self.active_revocations(&Owner::System).await?);
        }
        Ok(active)
    }
}

/// This minute, and how many tokens it will have had.
fn counted(row: &LeaseRow, now: Timestamp) -> Result<(i64, u32), Error> {
    let minute = now.epoch_seconds().div_euclid(60);
    let (minute, before) = match row.tokens() {
        // The clock of another instance may be ahead.
        (Some(latest), count) if latest >= minute => (latest, count),
        _ => (minute, 0),
    };
    if before >= limits::IDENTITY_TOKENS_A_MINUTE {
        let left = (minute + 1)
            .saturating_mul(60)
            .saturating_sub(now.epoch_seconds());
        return Err(Error::RateLimited(u32::try_from(left).unwrap_or(60)));
    }
    Ok((minute, before + 1))
}
