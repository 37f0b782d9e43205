//! Revocations: revoke, check, lift.
//!
//! Each active revocation of a (profile, key) is one row. All active rows of an owner are in one
//! partition, so a check is one consistent query of that partition, no matter how many profiles and
//! runs exist. Revoking writes all rows in one transaction or none. Lifting moves a row to the
//! partition of lifted revocations.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join;
use sealfleet_domain::audit::Event;
use sealfleet_domain::identity::{Identity, SecretRef};
use sealfleet_domain::revocation::{FanOut, Lifted, Revocation, Revoked, all_revoked, revoked};
use sealfleet_domain::run::Fence;
use sealfleet_domain::{Owner, ProjectScope, RevocationId, RunId, StepId, limits};

use crate::error::Error;
use crate::fan_outs::fan_out_item;
use crate::keys;
use crate::ledger::Ledger;
use crate::pages::Page;
use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Query, Range, Table, Write, WriteError};

/// The revocations that are in force after a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// One for each key, in the request's order.
    pub revocations: Vec<Revocation>,
    /// Whether the request changed any.
    pub changed: bool,
}

/// What a request makes of the revocations that there are.
struct Wanted {
    /// All of them as they are to be, in the request's order.
    all: Vec<Revocation>,
    added: Vec<Revocation>,
    /// Soft ones that become hard.
    hardened: Vec<Revocation>,
    /// Whether an earlier attempt has made some.
    made: bool,
}

/// Whether a row is what this request has made.
fn is_of(row: &Revocation, asked: &Revocation) -> bool {
    row.revocation_id == asked.revocation_id
        || (asked.fan_out_id.is_some() && row.fan_out_id == asked.fan_out_id)
}

impl Wanted {
    fn of(asked: &[Revocation], active: &[Revocation]) -> Result<Self, Error> {
        let mut wanted = Self {
            all: Vec::new(),
            added: Vec::new(),
            hardened: Vec::new(),
            made: false,
        };
        let mut taken = Vec::new();
        for new in asked {
            let before = active
                .iter()
                .find(|row| row.profile == new.profile && row.key == new.key);
            let row = match before {
                None => {
                    wanted.added.push(new.clone());
                    new.clone()
                }
                // Our own, from an attempt whose answer was lost.
                Some(row) if is_of(row, new) => {
                    wanted.made = true;
                    row.clone()
                }
                Some(row) if new.hard && row.hard => row.clone(),
                Some(row) if new.hard => {
                    let row = Revocation {
                        hard: true,
                        fan_out_id: new.fan_out_id,
                        ..row.clone()
                    };
                    wanted.hardened.push(row.clone());
                    row
                }
                Some(row) => {
                    taken.push(format!("`{}` of `{}`", row.key, row.profile));
                    continue;
                }
            };
            wanted.all.push(row);
        }
        if taken.is_empty() {
            Ok(wanted)
        } else {
            Err(Error::AlreadyRevoked(taken))
        }
    }

    fn changed(&self) -> impl Iterator<Item = &Revocation> {
        self.added.iter().chain(&self.hardened)
    }

    fn in_force(self) -> InForce {
        InForce {
            changed: self.made || self.changed().next().is_some(),
            revocations: self.all,
        }
    }
}

impl Ledger {
    /// Stores revocations and, if they are hard, the fan-out that aborts runs in flight, in one
    /// transaction. A hard revocation of a key that is revoked softly hardens the revocation that
    /// there is; one of a key that is revoked hard changes nothing.
    ///
    /// # Errors
    /// [`Error::AlreadyRevoked`] for a soft revocation of a revoked key, or [`Error::Full`], or the
    /// tables do not answer. In each case nothing was written.
    pub async fn revoke(
        &self,
        owner: &Owner,
        asked: &[Revocation],
        actor: &str,
    ) -> Result<InForce, Error> {
        for attempt in 0..5 {
            let active = self.active_revocations(owner).await?;
            let wanted = Wanted::of(asked, &active)?;
            let added = wanted.added.len();
            if added > 0 && active.len() + added > limits::ACTIVE_REVOCATIONS {
                return Err(Error::Full(active.len()));
            }
            if wanted.changed().next().is_none() {
                return Ok(wanted.in_force());
            }
            let writes = self.revocation_writes(owner, asked, &wanted, actor)?;
            match self.write_revocations(writes).await {
                Ok(()) => return Ok(wanted.in_force()),
                // Somebody else was faster, or these are our own rows, from an attempt whose
                // answer was lost: the rows tell.
                Err(WriteError::Condition(_) | WriteError::Busy) => self.back_off(attempt).await,
                Err(error) => return Err(unwritten(error)),
            }
        }
        Err(Error::Contended)
    }

    fn revocation_writes(
        &self,
        owner: &Owner,
        asked: &[Revocation],
        wanted: &Wanted,
        actor: &str,
    ) -> Result<Vec<Write>, Error> {
        let now = self.now();
        let mut writes = Vec::new();
        let soft = |row: &Revocation| {
            Condition::Is(vec![
                (
                    "revocation_id",
                    AttributeValue::S(row.revocation_id.to_string()),
                ),
                ("hard", AttributeValue::Bool(false)),
            ])
        };
        let added = wanted.added.iter().map(|row| (row, Condition::Absent));
        let hardened = wanted.hardened.iter().map(|row| (row, soft(row)));
        for (row, only_if) in added.chain(hardened) {
            let key = keys::revoked_key(owner, &row.profile, &row.key);
            writes.push(Write::Put {
                table: Table::Ledger,
                item: to_item(row, key).map_err(unwritten)?,
                only_if,
            });
        }
        let changed: Vec<Revocation> = wanted.changed().cloned().collect();
        // The reason is that of this request, also where an older revocation is hardened.
        let reason = asked.first().map_or("", |first| first.reason.as_str());
        let events = changed.iter().map(|revocation| Event::SecretRevoked {
            revocation_id: revocation.revocation_id,
            profile: revocation.profile.clone(),
            key: revocation.key.clone(),
            uri: revocation.uri.clone(),
            hard: revocation.hard,
            reason: reason.into(),
        });
        let events: Vec<Event> = events.collect();
        let fan_out_id = changed.first().and_then(|first| first.fan_out_id);
        if let Owner::Project(scope) = owner {
            writes.extend(self.parts(scope, None, &events)?);
            if let Some(id) = fan_out_id {
                writes.extend(self.fan_out_part(scope, id)?);
            }
        }
        writes.push(
            self.audit_write(owner.trail(), actor, None, events, now)
                .map_err(unwritten)?,
        );
        if let Some(fan_out_id) = fan_out_id {
            let fan_out = FanOut {
                fan_out_id,
                revocations: changed,
                containment_id: self.containment,
                started_at: now,
                finished: None,
            };
            let until = now.plus_seconds(limits::FAN_OUT_SECONDS);
            writes.push(Write::Put {
                table: Table::Ledger,
                item: fan_out_item(owner, &fan_out, Some(until)).map_err(unwritten)?,
                only_if: Condition::Absent,
            });
        }
        Ok(writes)
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

    /// The same, with the active revocations of the project if they have been read already.
    ///
    /// # Errors
    /// As [`Ledger::check_revocations`].
    pub async fn check_with(
        &self,
        scope: &ProjectScope,
        identity: &Identity,
        own: Option<Vec<Revocation>>,
    ) -> Result<Option<Revoked>, Error> {
        let Some(mut active) = own else {
            return self.check_revocations(scope, identity).await;
        };
        active.extend(self.system_revocations_for(identity).await?);
        Ok(revoked(identity, &active))
    }

    /// The keys that egress proxies deliver to these steps, and that are revoked.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn withdrawn(
        &self,
        scope: &ProjectScope,
        steps: &[(RunId, StepId, Fence)],
    ) -> Result<Vec<((RunId, StepId, Fence), Vec<String>)>, Error> {
        let mut own = None;
        let mut all = Vec::new();
        for (run_id, step_id, fence) in steps {
            let run = self.run(scope, *run_id).await?;
            let Some(mut identity) = run.identity_of(run.step(step_id)?) else {
                continue;
            };
            let at_egress = |secret: &SecretRef| secret.delivery.at_egress().is_some();
            identity.secrets.retain(at_egress);
            if identity.secrets.is_empty() {
                continue;
            }
            if own.is_none() {
                own = Some(
                    self.active_revocations(&Owner::Project(scope.clone()))
                        .await?,
                );
            }
            let mut active = own.clone().unwrap_or_default();
            active.extend(self.system_revocations_for(&identity).await?);
            let keys: Vec<String> = all_revoked(&identity, &active)
                .map(|revoked| revoked.key)
                .collect();
            if !keys.is_empty() {
                all.push(((*run_id, step_id.clone(), *fence), keys));
            }
        }
        Ok(all)
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
        let owner = Owner::Project(scope.clone());
        let own = self.active_revocations(&owner);
        let (mut active, of_system) = try_join(own, self.system_revocations_for(identity)).await?;
        active.extend(of_system);
        Ok(active)
    }

    /// The active revocations of the system scope that may cover secrets of `identity`. Only system
    /// profiles contain addresses of system profiles, so an identity without one needs no query.
    async fn system_revocations_for(&self, identity: &Identity) -> Result<Vec<Revocation>, Error> {
        if identity.uses_system() && !identity.secrets.is_empty() {
            self.active_revocations(&Owner::System).await
        } else {
            Ok(Vec::new())
        }
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
            let rows = self.store.query(&query, after.as_deref()).await?;
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
        for attempt in 0..5 {
            let mut revocation = self.revocation(owner, id).await?;
            if revocation.lifted.is_some() {
                return Err(Error::WrongState("lifted"));
            }
            let now = self.now();
            // As it was read: somebody may harden it meanwhile.
            let own = Condition::Is(vec![
                ("revocation_id", AttributeValue::S(id.to_string())),
                ("hard", AttributeValue::Bool(revocation.hard)),
            ]);
            revocation.lifted = Some(Lifted {
                at: now,
                actor: actor.to_owned(),
            });
            let event = Event::RevocationLifted {
                revocation_id: id,
                profile: revocation.profile.clone(),
                key: revocation.key.clone(),
            };
            let lifted = keys::lifted_revocation(owner, id);
            let writes = vec![
                Write::Delete {
                    key: keys::revoked_key(owner, &revocation.profile, &revocation.key),
                    only_if: own,
                },
                Write::Put {
                    table: Table::Ledger,
                    item: to_item(&revocation, lifted).map_err(unwritten)?,
                    only_if: Condition::Absent,
                },
                self.audit_write(owner.trail(), actor, None, vec![event], now)
                    .map_err(unwritten)?,
            ];
            match self.store.write(writes).await {
                Ok(()) => return Ok(revocation),
                Err(WriteError::Condition(_)) => self.back_off(attempt).await,
                Err(error) => return Err(unwritten(error)),
            }
        }
        Err(Error::Contended)
    }
}
