//! Revocations: revoke, check, lift.
//!
//! Each active revocation of a (profile, key) is one row. All active rows of an owner are in one
//! partition, so a check is one consistent query of that partition, no matter how many profiles and
//! runs exist. Revoking writes all rows in one transaction or none. Lifting moves a row to the
//! partition of lifted revocations.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::identity::Identity;
use sealfleet_domain::revocation::{FanOut, Lifted, Revocation, Revoked, revoked};
use sealfleet_domain::{Owner, ProjectScope, RevocationId, limits};

use crate::error::Error;
use crate::fan_outs::fan_out_item;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{from_item, to_item, unwritten};
use crate::runs::Page;
use crate::store::{Condition, Query, Range, Table, Write, WriteError};

impl Ledger {
    /// Stores revocations and, if they are hard, the fan-out that aborts runs in flight.
    ///
    /// # Errors
    /// [`Error::AlreadyRevoked`] or [`Error::Full`], or the tables do not answer. In each case
    /// nothing was written.
    pub async fn revoke(
        &self,
        owner: &Owner,
        revocations: &[Revocation],
        fan_out: Option<&FanOut>,
        actor: &str,
    ) -> Result<(), Error> {
        let active = self.active_revocations(owner).await?;
        if active.len() + revocations.len() > limits::ACTIVE_REVOCATIONS {
            return Err(Error::Full(active.len()));
        }
        let now = self.now();
        let mut writes = Vec::new();
        for revocation in revocations {
            let key = keys::revoked_key(owner, &revocation.profile, &revocation.key);
            let item = to_item(revocation, key).map_err(unwritten)?;
            writes.push(Write::Put {
                table: Table::Ledger,
                item,
                only_if: Condition::Absent,
            });
        }
        let events = revocations.iter().map(|revocation| Event::SecretRevoked {
            revocation_id: revocation.revocation_id,
            profile: revocation.profile.clone(),
            key: revocation.key.clone(),
            uri: revocation.uri.clone(),
            hard: revocation.hard,
            reason: revocation.reason.as_str().into(),
        });
        writes.push(
            self.audit_write(owner.trail(), actor, None, events.collect(), now)
                .map_err(unwritten)?,
        );
        if let Some(fan_out) = fan_out {
            let item = fan_out_item(
                owner,
                fan_out,
                Some(now.plus_seconds(limits::FAN_OUT_SECONDS)),
            );
            writes.push(Write::Put {
                table: Table::Ledger,
                item: item.map_err(unwritten)?,
                only_if: Condition::Absent,
            });
        }
        for attempt in 0..5 {
            match self.write_revocations(writes.clone()).await {
                Ok(()) => return Ok(()),
                Err(WriteError::Condition(failed)) => {
                    // The rows may be our own, from an attempt whose answer was lost.
                    let active = self.active_revocations(owner).await?;
                    let stands = |own: &Revocation| {
                        active
                            .iter()
                            .any(|row| row.revocation_id == own.revocation_id)
                    };
                    if revocations.iter().all(stands) {
                        return Ok(());
                    }
                    let taken = failed.into_iter().filter_map(|at| revocations.get(at));
                    let taken = taken.map(|revocation| {
                        format!("`{}` of `{}`", revocation.key, revocation.profile)
                    });
                    return Err(Error::AlreadyRevoked(taken.collect()));
                }
                Err(WriteError::Busy) => self.back_off(attempt).await,
                Err(WriteError::Unavailable(detail)) => return Err(Error::Unavailable(detail)),
            }
        }
        Err(Error::Contended)
    }

    /// The first secret of `identity` that is revoked. Enqueue, claim, dispatch and start all use
    /// this check.
    ///
    /// # Errors
    /// When the tables do not answer. The caller must then start nothing.
    pub async fn check_revocations(
        &self,
        scope: &ProjectScope,
        identity: &Identity,
    ) -> Result<Option<Revoked>, Error> {
        Ok(revoked(
            identity,
            &self.revocations_for(scope, identity).await?,
        ))
    }

    /// The active revocations that may cover secrets of `identity`.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn revocations_for(
        &self,
        scope: &ProjectScope,
        identity: &Identity,
    ) -> Result<Vec<Revocation>, Error> {
        if identity.secrets.is_empty() {
            return Ok(Vec::new());
        }
        let mut active = self
            .active_revocations(&Owner::Project(scope.clone()))
            .await?;
        // Only system profiles contain addresses of system profiles. An identity without one needs
        // no second query.
        if identity.uses_system() {
            active.extend(self.active_revocations(&Owner::System).await?);
        }
        Ok(active)
    }

    /// All active revocations of an owner, read by one consistent query.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn active_revocations(&self, owner: &Owner) -> Result<Vec<Revocation>, Error> {
        let query = Query {
            table: Table::Ledger,
            pk: keys::revoked(owner),
            range: Range::All,
            backwards: false,
            limit: limits::ACTIVE_REVOCATIONS + 1,
            consistent: true,
            only: None,
        };
        let mut active = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let rows = self
                .store
                .query(&query, after.as_deref())
                .await
                .map_err(Error::Unavailable)?;
            for item in rows.items {
                active.push(from_item(item)?);
            }
            after = rows.more_after;
            if after.is_none() {
                return Ok(active);
            }
        }
    }

    /// A page of revocations: active ones by profile and key, or lifted ones by age.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn revocations(
        &self,
        owner: &Owner,
        lifted: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Revocation>, Error> {
        let pk = if lifted {
            keys::lifted(owner)
        } else {
            keys::revoked(owner)
        };
        self.page(pk, after, limit).await
    }

    /// One revocation, active or lifted.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn revocation(&self, owner: &Owner, id: RevocationId) -> Result<Revocation, Error> {
        let active = self.active_revocations(owner).await?;
        if let Some(revocation) = active
            .into_iter()
            .find(|revocation| revocation.revocation_id == id)
        {
            return Ok(revocation);
        }
        let key = keys::lifted_revocation(owner, id);
        let item = self.row(&key).await?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// Lifts a revocation. Runs that start from now on may hold the key again. Aborted runs stay
    /// aborted.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongState`] if it was lifted before, or the tables do not
    /// answer.
    pub async fn lift(
        &self,
        owner: &Owner,
        id: RevocationId,
        actor: &str,
    ) -> Result<Revocation, Error> {
        let mut revocation = self.revocation(owner, id).await?;
        if revocation.lifted.is_some() {
            return Err(Error::WrongState("lifted"));
        }
        let now = self.now();
        revocation.lifted = Some(Lifted {
            at: now,
            actor: actor.to_owned(),
        });
        let event = Event::RevocationLifted {
            revocation_id: id,
            profile: revocation.profile.clone(),
            key: revocation.key.clone(),
        };
        let own = Condition::Is(vec![("revocation_id", AttributeValue::S(id.to_string()))]);
        let item = to_item(&revocation, keys::lifted_revocation(owner, id)).map_err(unwritten)?;
        let writes = vec![
            Write::Delete {
                key: keys::revoked_key(owner, &revocation.profile, &revocation.key),
                only_if: own,
            },
            Write::Put {
                table: Table::Ledger,
                item,
                only_if: Condition::Absent,
            },
            self.audit_write(owner.trail(), actor, None, vec![event], now)
                .map_err(unwritten)?,
        ];
        match self.store.write(writes).await {
            Ok(()) => Ok(revocation),
            Err(WriteError::Condition(_)) => Err(Error::WrongState("lifted")),
            Err(error) => Err(unwritten(error)),
        }
    }
}
