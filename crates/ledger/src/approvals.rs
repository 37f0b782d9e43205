//! Approvals: rows that wait in one partition of the project, the inbox, and are moved to another
//! when they are over.
//!
//! Those of steps are part of their run's row, which alone says where a step stands. Their rows
//! here are copies that each transition of the run writes with it, for the inbox and for fan-outs.
//!
//! The transaction that decides also changes what waited, and writes the audit entry. It requires
//! that the approval is as it was read: of two decisions at once, one is made, and the other reads
//! the first.
//!
//! An approval that waits is in the due index, and `sweep` ends it when its time is over. One of a
//! step is not: its run is.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::ProjectScope;
use sealfleet_domain::approval::{Approval, ApprovalId, ApprovalState, Decision};
use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::run::Run;

use crate::error::Error;
use crate::keys;
use crate::ledger::{Ledger, expiry};
use crate::pages::Page;
use crate::rows::{attribute, from_item, n, text, to_item, unwritten};
use crate::store::{Condition, Item, Table, Test, Write, WriteError};

/// How often a decision is tried that others get ahead of.
const ATTEMPTS: u32 = 5;
/// Seconds that `sweep` has to end an approval before time to live deletes it.
const SWEPT_SECONDS: i64 = 24 * 3600;

impl Ledger {
    /// Reads an approval, over or not.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn approval(&self, scope: &ProjectScope, id: &ApprovalId) -> Result<Approval, Error> {
        self.read_approval(scope, id)
            .await
            .map(|read| read.approval)
    }

    pub(crate) async fn read_approval(
        &self,
        scope: &ProjectScope,
        id: &ApprovalId,
    ) -> Result<Read, Error> {
        let pending = self.row(&keys::pending_approval(scope, id)).await?;
        let item = match pending {
            Some(item) => Some(item),
            None => self.row(&keys::decided_approval(scope, id)).await?,
        };
        if let Some(item) = item {
            let approval = from_item(item)?;
            return Ok(Read {
                approval,
                is_stored: true,
            });
        }
        // A worker that registered before workers had approvals has no row of its own.
        if let ApprovalId::Worker { worker_id } = id
            && let Some(worker) = self.worker(scope.project(), *worker_id).await?
            && worker.status == WorkerStatus::Pending
        {
            let governance = self.project(scope).await?.governance;
            return Ok(Read {
                approval: worker.request(&governance),
                is_stored: false,
            });
        }
        Err(Error::NotFound)
    }

    /// A page of approvals, those that wait or those that are over, by what they are of.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn approvals(
        &self,
        scope: &ProjectScope,
        decided: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Approval>, Error> {
        let pk = if decided {
            keys::decided_approvals(scope)
        } else {
            keys::pending_approvals(scope)
        };
        self.page(pk, after, limit).await
    }

    /// Stores a decision on a worker or a version of a workflow, with what follows from it. `seen`
    /// is whether whoever decides saw what is there now. Steps decide with their runs.
    ///
    /// # Errors
    /// [`Error::Undecided`], [`Error::NotFound`], [`Error::Contended`], or the tables do not
    /// answer.
    pub async fn decide(
        &self,
        scope: &ProjectScope,
        id: &ApprovalId,
        decision: Decision,
        seen: bool,
    ) -> Result<Approval, Error> {
        for attempt in 0..ATTEMPTS {
            let read = self.read_approval(scope, id).await?;
            let mut approval = read.approval.clone();
            if !approval.decide(decision.clone(), seen)? {
                return Ok(approval);
            }
            let said = approval.said(&decision);
            if self
                .settle(scope, &read, &approval, said, &decision.by, attempt)
                .await?
            {
                return Ok(approval);
            }
        }
        Err(Error::Contended)
    }

    /// Ends an approval of a worker or a version of a workflow whose time is over. Idempotent.
    ///
    /// # Errors
    /// [`Error::Contended`], or the tables do not answer. It stays due.
    pub async fn expire_approval(
        &self,
        scope: &ProjectScope,
        id: &ApprovalId,
        actor: &str,
    ) -> Result<(), Error> {
        for attempt in 0..ATTEMPTS {
            let read = match self.read_approval(scope, id).await {
                Err(Error::NotFound) => return Ok(()),
                other => other?,
            };
            let mut approval = read.approval.clone();
            let Some(expired) = approval.expire(self.now()) else {
                return Ok(());
            };
            if self
                .settle(scope, &read, &approval, expired, actor, attempt)
                .await?
            {
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// Stores an approval in the place of the one that was read, with what follows from that.
    /// `false` if others were faster.
    async fn settle(
        &self,
        scope: &ProjectScope,
        read: &Read,
        approval: &Approval,
        event: Event,
        actor: &str,
        attempt: u32,
    ) -> Result<bool, Error> {
        let mut events = vec![event];
        let mut writes = self.settled(scope, read, approval)?;
        if approval.state != ApprovalState::Pending {
            let (more, happened) = match &approval.approval {
                ApprovalId::Workflow { workflow, version } => {
                    self.version_decided(scope, workflow, *version, approval.state)
                        .await?
                }
                ApprovalId::Worker { worker_id } => {
                    self.worker_decided(scope, *worker_id, approval.state)
                        .await?
                }
                // Its row is a copy.
                ApprovalId::Step { .. } => return Err(Error::NotFound),
            };
            writes.extend(more);
            events.extend(happened);
        }
        self.write_audited(scope, writes, events, actor, attempt)
            .await
    }

    /// The writes that end an approval whose request is taken back, and what the trail tells of it.
    pub(crate) async fn cancelled_approval(
        &self,
        scope: &ProjectScope,
        id: &ApprovalId,
    ) -> Result<(Vec<Write>, Option<Event>), Error> {
        let read = self.read_approval(scope, id).await?;
        let mut approval = read.approval.clone();
        let Some(event) = approval.cancel() else {
            return Ok((Vec::new(), None));
        };
        Ok((self.settled(scope, &read, &approval)?, Some(event)))
    }

    /// The writes that put an approval in the place of the one that was read.
    fn settled(
        &self,
        scope: &ProjectScope,
        read: &Read,
        approval: &Approval,
    ) -> Result<Vec<Write>, Error> {
        let as_read = as_read(read)?;
        if approval.state == ApprovalState::Pending {
            return Ok(vec![Write::Put {
                table: Table::Ledger,
                item: pending_item(scope, approval, true).map_err(unwritten)?,
                only_if: as_read,
            }]);
        }
        let kept_until = expiry(self.now(), self.run_days);
        let mut writes = vec![Write::Put {
            table: Table::Ledger,
            item: over_item(scope, approval, kept_until).map_err(unwritten)?,
            only_if: Condition::Absent,
        }];
        if read.is_stored {
            writes.push(Write::Delete {
                key: keys::pending_approval(scope, &approval.approval),
                only_if: as_read,
            });
        }
        Ok(writes)
    }
}

/// An approval as it was read.
pub(crate) struct Read {
    pub approval: Approval,
    /// Whether it has a row.
    pub is_stored: bool,
}

/// That it still is as it was read.
fn as_read(read: &Read) -> Result<Condition, Error> {
    if !read.is_stored {
        return Ok(Condition::Absent);
    }
    let made = if read.approval.decisions.is_empty() {
        Test::Missing
    } else {
        Test::Is(attribute(&read.approval.decisions)?)
    };
    let requested_at = Test::Is(attribute(&read.approval.requested_at)?);
    Ok(Condition::All(vec![
        ("requested_at".to_owned(), requested_at),
        ("decisions".to_owned(), made),
    ]))
}

/// The write of a new request, and its event. `is_due` is whether `sweep` ends it, and time to live
/// deletes it only should that fail.
pub(crate) fn requested(
    scope: &ProjectScope,
    approval: &Approval,
    is_due: bool,
) -> Result<(Write, Event), Error> {
    let write = Write::Put {
        table: Table::Ledger,
        item: pending_item(scope, approval, is_due).map_err(unwritten)?,
        only_if: Condition::Absent,
    };
    Ok((write, approval.requested()))
}

/// The row of an approval that waits.
fn pending_item(
    scope: &ProjectScope,
    approval: &Approval,
    is_due: bool,
) -> Result<Item, WriteError> {
    let id = &approval.approval;
    let mut item = to_item(approval, keys::pending_approval(scope, id))?;
    tell(&mut item);
    let Some(until) = approval.decide_by else {
        return Ok(item);
    };
    if is_due {
        let shard = keys::due_shard_of(&id.to_string());
        item.insert("due_shard".to_owned(), AttributeValue::S(shard));
        item.insert("due_at".to_owned(), n(until.millis()));
    }
    // A worker's row goes, too.
    if matches!(id, ApprovalId::Worker { .. }) {
        let gone = until.plus_seconds(SWEPT_SECONDS).epoch_seconds();
        item.insert("expires_at".to_owned(), n(gone));
    }
    Ok(item)
}

/// Lets a row through the `notify` function's filter.
fn tell(item: &mut Item) {
    item.insert("notify".to_owned(), AttributeValue::S("1".to_owned()));
}

/// What a change of a row tells of an approval: that it waits from now on, or that it is over.
/// `None` for any other change, such as the first of two decisions.
///
/// # Errors
/// When the row cannot be read.
pub fn told_approval(
    before: Option<&Item>,
    after: &Item,
) -> Result<Option<(ProjectScope, Approval)>, Error> {
    let pk = text(after, "pk").unwrap_or_default();
    let scope = match keys::scope_of_approvals(pk) {
        Some(scope) if before.is_none() => scope,
        Some(_) => return Ok(None),
        None => match keys::scope_of_decided(pk) {
            Some(scope) if before != Some(after) => scope,
            _ => return Ok(None),
        },
    };
    Ok(Some((scope, from_item(after.clone())?)))
}

/// The row of an approval that is over. What decided on a version of a workflow is kept.
fn over_item(
    scope: &ProjectScope,
    approval: &Approval,
    kept_until: i64,
) -> Result<Item, WriteError> {
    let id = &approval.approval;
    let mut item = to_item(approval, keys::decided_approval(scope, id))?;
    tell(&mut item);
    if !matches!(id, ApprovalId::Workflow { .. }) {
        item.insert("expires_at".to_owned(), n(kept_until));
    }
    Ok(item)
}

/// The writes that keep the rows of steps' approvals as the run has them. The run's row is what
/// they hang on: they are made with its conditional write, or not at all. Those that are over are
/// kept until `kept_until`, as long as the run.
pub(crate) fn of_steps(
    scope: &ProjectScope,
    before: Option<&Run>,
    after: &Run,
    kept_until: i64,
) -> Result<Vec<Write>, WriteError> {
    let mut writes = Vec::new();
    for (step_id, step) in &after.steps {
        let was = before.and_then(|run| run.steps.get(step_id));
        let was = was.and_then(|step| step.approval.as_ref());
        let Some(approval) = step.approval.as_ref().filter(|is| Some(*is) != was) else {
            continue;
        };
        let id = AttributeValue::S(approval.approval.to_string());
        let own = || Condition::AbsentOr("approval", id.clone());
        let pending = keys::pending_approval(scope, &approval.approval);
        if approval.state == ApprovalState::Pending {
            writes.push(Write::Put {
                table: Table::Ledger,
                item: pending_item(scope, approval, false)?,
                only_if: own(),
            });
            continue;
        }
        writes.push(Write::Delete {
            key: pending,
            only_if: own(),
        });
        writes.push(Write::Put {
            table: Table::Ledger,
            item: over_item(scope, approval, kept_until)?,
            only_if: own(),
        });
    }
    Ok(writes)
}
