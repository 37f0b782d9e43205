//! Registered workflows: a row that says which version runs, and a row for each version.
//!
//! Each change is one transaction of the workflow's row, the versions that it moves, the approval
//! that it opens or closes, and the audit entry. It requires that the workflow's row is as it was
//! read, so a workflow never has two live versions, nor two that wait.

use sealfleet_domain::approval::{ApprovalId, ApprovalState, Asker};
use sealfleet_domain::audit::Event;
use sealfleet_domain::workflow::{Definition, VersionState, Workflow, WorkflowVersion};
use sealfleet_domain::{ProjectScope, WorkflowName, limits};

use crate::approvals::requested;
use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::pages::Page;
use crate::rows::{attribute, from_item, n, to_item, unwritten};
use crate::store::{Condition, Consistency, Range, Table, Write};

/// How often a change is tried that others get ahead of.
const ATTEMPTS: u32 = 5;

/// What a registration has come to.
pub enum Registered {
    New(WorkflowVersion),
    /// The newest version says the same, and runs or waits.
    Before(WorkflowVersion),
}

impl Ledger {
    /// Reads a workflow.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn workflow(
        &self,
        scope: &ProjectScope,
        name: &WorkflowName,
    ) -> Result<Workflow, Error> {
        let item = self.row(&keys::workflow(scope, name)).await?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// Whether a workflow of this name is live. May miss a change of the last second.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn has_live_workflow(
        &self,
        scope: &ProjectScope,
        name: &WorkflowName,
    ) -> Result<bool, Error> {
        let key = keys::workflow(scope, name);
        let item = self.row_as(&key, Consistency::Eventual).await?;
        let workflow: Option<Workflow> = item.map(from_item).transpose()?;
        Ok(workflow.is_some_and(|workflow| workflow.live.is_some()))
    }

    /// A page of a project's workflows, by name.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn workflows(
        &self,
        scope: &ProjectScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Workflow>, Error> {
        self.page(keys::workflows(scope), after, limit).await
    }

    /// Reads a version of a workflow.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn workflow_version(
        &self,
        scope: &ProjectScope,
        name: &WorkflowName,
        version: u32,
    ) -> Result<WorkflowVersion, Error> {
        let item = self
            .row(&keys::workflow_version(scope, name, version))
            .await?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// A page of a workflow's versions, newest first.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn workflow_versions(
        &self,
        scope: &ProjectScope,
        name: &WorkflowName,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<WorkflowVersion>, Error> {
        let range = Range::Prefix(keys::versions_of_workflow(name));
        self.newest(keys::workflow_versions(scope), range, before, limit)
            .await
    }

    /// Stores a version that waits for approval. One that waits already is cancelled.
    ///
    /// # Errors
    /// [`Error::Contended`], or the tables do not answer.
    pub async fn register_workflow(
        &self,
        scope: &ProjectScope,
        name: &WorkflowName,
        definition: &Definition,
        asker: &Asker,
    ) -> Result<Registered, Error> {
        let hash = definition.hash();
        for attempt in 0..ATTEMPTS {
            let read = match self.workflow(scope, name).await {
                Ok(workflow) => Some(workflow),
                Err(Error::NotFound) => None,
                Err(error) => return Err(error),
            };
            if let Some(newest) = read.as_ref().map(|workflow| workflow.newest) {
                let newest = self.workflow_version(scope, name, newest).await?;
                let in_use = matches!(newest.state, VersionState::Pending | VersionState::Live);
                if newest.hash == hash && in_use {
                    return Ok(Registered::Before(newest));
                }
            }
            let now = self.now();
            let number = read.as_ref().map_or(0, |workflow| workflow.newest) + 1;
            let version = WorkflowVersion {
                workflow: name.clone(),
                version: number,
                state: VersionState::Pending,
                hash,
                definition: definition.clone(),
                registered_by: asker.actor.clone(),
                registered_at: now,
            };
            let waits = ApprovalId::Workflow {
                workflow: name.clone(),
                version: number,
            };
            let until = now.plus_seconds(limits::PENDING_VERSION_SECONDS);
            let approval = asker.clone().asks(waits, hash, now, until);
            let workflow = Workflow {
                name: name.clone(),
                live: read.as_ref().and_then(|workflow| workflow.live),
                pending: Some(number),
                newest: number,
                revision: read.as_ref().map_or(0, |workflow| workflow.revision),
            };
            let (request, asked) = requested(scope, &approval, true)?;
            let mut writes = vec![
                put_workflow(scope, read.as_ref(), workflow)?,
                put_version(scope, None, &version)?,
                request,
            ];
            let mut events = vec![
                Event::WorkflowRegistered {
                    workflow: name.clone(),
                    version: number,
                    hash,
                },
                asked,
            ];
            if let Some(pending) = read.and_then(|workflow| workflow.pending) {
                let (more, happened) = self.cancelled(scope, name, pending).await?;
                writes.extend(more);
                events.extend(happened);
            }
            if self
                .write_audited(scope, writes, events, &asker.actor, attempt)
                .await?
            {
                return Ok(Registered::New(version));
            }
        }
        Err(Error::Contended)
    }

    /// Takes a workflow out of use: its live version, and one that waits. Idempotent.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Contended`], or the tables do not answer.
    pub async fn retire_workflow(
        &self,
        scope: &ProjectScope,
        name: &WorkflowName,
        actor: &str,
    ) -> Result<Workflow, Error> {
        for attempt in 0..ATTEMPTS {
            let read = self.workflow(scope, name).await?;
            if read.live.is_none() && read.pending.is_none() {
                return Ok(read);
            }
            let retired = Workflow {
                live: None,
                pending: None,
                ..read.clone()
            };
            let mut writes = vec![put_workflow(scope, Some(&read), retired.clone())?];
            let mut events = vec![Event::WorkflowRetired {
                workflow: name.clone(),
                version: read.live,
            }];
            if let Some(live) = read.live {
                writes.push(self.moved(scope, name, live, VersionState::Retired).await?);
            }
            if let Some(pending) = read.pending {
                let (more, happened) = self.cancelled(scope, name, pending).await?;
                writes.extend(more);
                events.extend(happened);
            }
            if self
                .write_audited(scope, writes, events, actor, attempt)
                .await?
            {
                return Ok(retired);
            }
        }
        Err(Error::Contended)
    }

    /// What follows when the approval of a version is over: it runs in place of the one before, or
    /// the one before goes on.
    pub(crate) async fn version_decided(
        &self,
        scope: &ProjectScope,
        name: &WorkflowName,
        version: u32,
        state: ApprovalState,
    ) -> Result<(Vec<Write>, Vec<Event>), Error> {
        let read = self.workflow(scope, name).await?;
        let approved = state == ApprovalState::Approved;
        let (to, live) = match state {
            ApprovalState::Approved => (VersionState::Live, Some(version)),
            ApprovalState::Denied => (VersionState::Denied, read.live),
            ApprovalState::Pending | ApprovalState::Expired | ApprovalState::Cancelled => {
                (VersionState::Cancelled, read.live)
            }
        };
        let decided = Workflow {
            live,
            pending: None,
            ..read.clone()
        };
        let mut writes = vec![
            put_workflow(scope, Some(&read), decided)?,
            self.moved(scope, name, version, to).await?,
        ];
        if !approved {
            return Ok((writes, Vec::new()));
        }
        if let Some(before) = read.live {
            let to = VersionState::Superseded;
            writes.push(self.moved(scope, name, before, to).await?);
        }
        let promoted = Event::WorkflowPromoted {
            workflow: name.clone(),
            version,
            replaced: read.live,
        };
        Ok((writes, vec![promoted]))
    }

    /// The writes that take a version back which waits.
    async fn cancelled(
        &self,
        scope: &ProjectScope,
        name: &WorkflowName,
        version: u32,
    ) -> Result<(Vec<Write>, Vec<Event>), Error> {
        let id = ApprovalId::Workflow {
            workflow: name.clone(),
            version,
        };
        let (mut writes, event) = self.cancelled_approval(scope, &id).await?;
        let to = VersionState::Cancelled;
        writes.push(self.moved(scope, name, version, to).await?);
        Ok((writes, event.into_iter().collect()))
    }

    async fn moved(
        &self,
        scope: &ProjectScope,
        name: &WorkflowName,
        version: u32,
        to: VersionState,
    ) -> Result<Write, Error> {
        let read = self.workflow_version(scope, name, version).await?;
        let moved = WorkflowVersion {
            state: to,
            ..read.clone()
        };
        put_version(scope, Some(&read), &moved)
    }
}

fn put_workflow(
    scope: &ProjectScope,
    read: Option<&Workflow>,
    mut workflow: Workflow,
) -> Result<Write, Error> {
    workflow.revision = workflow.revision.saturating_add(1);
    let only_if = match read {
        Some(read) => Condition::Is(vec![("revision", n(read.revision))]),
        None => Condition::Absent,
    };
    let key = keys::workflow(scope, &workflow.name);
    Ok(Write::Put {
        table: Table::Ledger,
        item: to_item(&workflow, key).map_err(unwritten)?,
        only_if,
    })
}

fn put_version(
    scope: &ProjectScope,
    read: Option<&WorkflowVersion>,
    version: &WorkflowVersion,
) -> Result<Write, Error> {
    let only_if = match read {
        Some(read) => Condition::Is(vec![("state", attribute(&read.state)?)]),
        None => Condition::Absent,
    };
    let key = keys::workflow_version(scope, &version.workflow, version.version);
    Ok(Write::Put {
        table: Table::Ledger,
        item: to_item(version, key).map_err(unwritten)?,
        only_if,
    })
}
