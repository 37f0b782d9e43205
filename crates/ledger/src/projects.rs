//! Projects and their pools.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_domain::approval::Governance;
use sealfleet_domain::audit::Event;
use sealfleet_domain::cascade::{Bindings, Level};
use sealfleet_domain::egress::Policy;
use sealfleet_domain::fleet::{PoolSettings, Project, Worker, WorkerStatus};
use sealfleet_domain::{PoolName, ProfileRef, ProjectId, ProjectScope};
use serde::{Deserialize, Serialize};

use crate::due::Due;
use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::pages::Page;
use crate::rows::{attribute, from_item, n, to_item, unwritten};
use crate::store::{Condition, Table, Write, WriteError};

/// How often a change is tried that others get ahead of.
const ATTEMPTS: usize = 5;

#[derive(Serialize, Deserialize)]
struct Listed {
    project: ProjectId,
}

impl Ledger {
    /// Reads a project.
    ///
    /// # Errors
    /// [`Error::NotFound`], also when it is deleted, or the tables do not answer.
    pub async fn project(&self, scope: &ProjectScope) -> Result<Project, Error> {
        let project = self.project_or_its_remains(scope).await?;
        match project.deleted_at {
            None => Ok(project),
            Some(_) => Err(Error::NotFound),
        }
    }

    /// Reads a project that is to get something new.
    ///
    /// # Errors
    /// [`Error::Closed`] when it is to be deleted, [`Error::NotFound`], or the tables do not
    /// answer.
    pub async fn open_project(&self, scope: &ProjectScope) -> Result<Project, Error> {
        let project = self.project(scope).await?;
        match project.closed_at {
            None => Ok(project),
            Some(_) => Err(Error::Closed),
        }
    }

    /// Reads a project, deleted or not.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn project_or_its_remains(&self, scope: &ProjectScope) -> Result<Project, Error> {
        let item = self.row(&keys::project(scope)).await?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// Stores a new project and the workers that represent its Fargate pools.
    ///
    /// # Errors
    /// [`Error::Exists`], or the tables do not answer.
    pub async fn create_project(
        &self,
        scope: &ProjectScope,
        project: &Project,
        workers: &[Worker],
        actor: &str,
    ) -> Result<(), Error> {
        let event = Event::ProjectCreated {
            project: project.project.clone(),
            pools: project.pools.keys().cloned().collect(),
        };
        let put = |item, only_if| Write::Put {
            table: Table::Ledger,
            item,
            only_if,
        };
        let listed = Listed {
            project: project.project.clone(),
        };
        let mut writes = vec![
            put(
                to_item(project, keys::project(scope)).map_err(unwritten)?,
                Condition::Absent,
            ),
            put(
                to_item(&listed, keys::project_listed(&project.project)).map_err(unwritten)?,
                Condition::Absent,
            ),
        ];
        for worker in workers {
            let key = keys::worker(scope.project(), worker.worker_id);
            writes.push(put(
                to_item(worker, key).map_err(unwritten)?,
                Condition::Absent,
            ));
        }
        writes.extend(self.audit_writes_of_operators(scope, actor, event, self.now())?);
        match self.store.write(writes).await {
            Err(WriteError::Condition(_)) => Err(Error::Exists),
            other => other.map_err(unwritten),
        }
    }

    /// Sets the profiles below each run's own. Replaces all earlier bindings.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NoProfile`], or the tables do not answer.
    pub async fn bind_cascade(
        &self,
        scope: &ProjectScope,
        bindings: &Bindings,
        actor: &str,
    ) -> Result<Project, Error> {
        let bound = bindings
            .workflows
            .values()
            .map(|name| ProfileRef::Own(name.clone()));
        let own = bindings
            .project
            .iter()
            .map(|name| ProfileRef::Own(name.clone()));
        let system = bindings
            .system
            .iter()
            .map(|name| ProfileRef::System(name.clone()));
        let named: BTreeSet<ProfileRef> = bound.chain(own).chain(system).collect();
        let levels: Vec<_> = named
            .into_iter()
            .map(|profile| (Level::Project, profile))
            .collect();
        self.layers(scope, &levels).await?;
        self.change_project(scope, |project| {
            project.cascade = bindings.clone();
            let event = Event::CascadeBound {
                bindings: bindings.clone(),
            };
            Ok([self.project_audit_write(scope, actor, event, self.now())?])
        })
        .await
    }

    /// Sets what the steps of a project may reach at most.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Contended`], or the tables do not answer.
    pub async fn set_egress_ceiling(
        &self,
        scope: &ProjectScope,
        ceiling: Option<Policy>,
        actor: &str,
    ) -> Result<Project, Error> {
        self.change_project(scope, |project| {
            let event = Event::EgressCeilingSet {
                project: project.project.clone(),
                before: project.egress_ceiling.take(),
                ceiling: ceiling.clone(),
            };
            project.egress_ceiling.clone_from(&ceiling);
            self.audit_writes_of_operators(scope, actor, event, self.now())
        })
        .await
    }

    /// Sets what callers of a project may run, and how many must approve.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Contended`], or the tables do not answer.
    pub async fn set_governance(
        &self,
        scope: &ProjectScope,
        governance: Governance,
        actor: &str,
    ) -> Result<Project, Error> {
        self.change_project(scope, |project| {
            project.governance.replaced_by(&governance, actor)?;
            let before = std::mem::replace(&mut project.governance, governance);
            let event = Event::GovernanceSet { before, governance };
            Ok([self.project_audit_write(scope, actor, event, self.now())?])
        })
        .await
    }

    /// Changes a project, and writes the audit entries that `change` answers with it. The last
    /// write wins, and leaves alone what others change.
    async fn change_project<Entries: IntoIterator<Item = Write>>(
        &self,
        scope: &ProjectScope,
        change: impl Fn(&mut Project) -> Result<Entries, Error>,
    ) -> Result<Project, Error> {
        for _ in 0..ATTEMPTS {
            let mut project = self.project(scope).await?;
            let entries = change(&mut project)?;
            let mut writes = vec![changed(scope, &mut project)?];
            writes.extend(entries);
            match self.store.write(writes).await {
                Err(WriteError::Condition(_)) => {}
                other => return other.map(|()| project).map_err(unwritten),
            }
        }
        Err(Error::Contended)
    }

    /// Replaces the pools of a project that has the version `replaces`. `workers` represent its
    /// Fargate pools, with the status of those that are stored already, if they are.
    ///
    /// # Errors
    /// [`Error::VersionConflict`], [`Error::Contended`], or the tables do not answer.
    pub async fn update_project(
        &self,
        scope: &ProjectScope,
        mut project: Project,
        workers: &[(Worker, Option<WorkerStatus>)],
        replaced: BTreeMap<PoolName, PoolSettings>,
        actor: &str,
    ) -> Result<Project, Error> {
        project.version = project.version.saturating_add(1);
        let mut writes = vec![changed(scope, &mut project)?];
        for (worker, stored) in workers {
            let only_if = match stored {
                None => Condition::Absent,
                Some(status) => Condition::Is(vec![("status", attribute(status)?)]),
            };
            writes.push(Write::Put {
                table: Table::Ledger,
                item: to_item(worker, keys::worker(scope.project(), worker.worker_id))
                    .map_err(unwritten)?,
                only_if,
            });
        }
        let own: Vec<Worker> = workers.iter().map(|(worker, _)| worker.clone()).collect();
        let event = Event::ProjectUpdated {
            project: project.project.clone(),
            version: project.version,
            pools: project.settings(&own),
            replaced,
        };
        writes.extend(self.audit_writes_of_operators(scope, actor, event, self.now())?);
        match self.store.write(writes).await {
            Err(WriteError::Condition(_)) => match self.project(scope).await?.version {
                // Its cascade or a worker was changed meanwhile.
                now if now < project.version => Err(Error::Contended),
                now => Err(Error::VersionConflict(now)),
            },
            other => other.map(|()| project).map_err(unwritten),
        }
    }

    /// Closes a project that is to be deleted: from now on [`Ledger::open_project`] refuses it.
    ///
    /// # Errors
    /// [`Error::Contended`] when others change it meanwhile, or the tables do not answer.
    pub async fn close_project(
        &self,
        scope: &ProjectScope,
        project: Project,
        actor: &str,
    ) -> Result<Project, Error> {
        let event = Event::ProjectClosed {
            project: project.project.clone(),
        };
        let closed = Project {
            closed_at: Some(self.now()),
            ..project
        };
        self.end_project(scope, closed, vec![], event, actor).await
    }

    /// Deletes a closed project. Its row stays as a mark that keeps its name; the list forgets it.
    ///
    /// # Errors
    /// [`Error::Contended`] when others change it meanwhile, or the tables do not answer.
    pub async fn delete_project(
        &self,
        scope: &ProjectScope,
        project: Project,
        actor: &str,
    ) -> Result<Project, Error> {
        let unlisted = Write::Delete {
            key: keys::project_listed(&project.project),
            only_if: Condition::Is(vec![("project", attribute(&project.project)?)]),
        };
        let event = Event::ProjectDeleted {
            project: project.project.clone(),
        };
        let deleted = Project {
            deleted_at: Some(self.now()),
            ..project
        };
        self.end_project(scope, deleted, vec![unlisted], event, actor)
            .await
    }

    async fn end_project(
        &self,
        scope: &ProjectScope,
        mut project: Project,
        mut writes: Vec<Write>,
        event: Event,
        actor: &str,
    ) -> Result<Project, Error> {
        writes.push(changed(scope, &mut project)?);
        writes.extend(self.audit_writes_of_operators(scope, actor, event, self.now())?);
        self.store.write(writes).await.map_err(unwritten)?;
        Ok(project)
    }

    /// How many runs and fan-outs of a project are unfinished: as many as the due index has of it,
    /// and `most` at most. Misses what was written in the last second.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn under_way(&self, scope: &ProjectScope, most: usize) -> Result<usize, Error> {
        let project = scope.project().as_str();
        let own = |_, due: Due| {
            let is_work = matches!(due, Due::Run(_) | Due::FanOut(..) | Due::Containment(..));
            let is_own = due.owner() == project && is_work;
            is_own.then_some(())
        };
        let (found, _) = self.live(most, own).await?;
        Ok(found.len().min(most))
    }

    /// A page of the ids of all projects, for operators.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn projects(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ProjectId>, Error> {
        let page: Page<Listed> = self.page(keys::PROJECTS.to_owned(), after, limit).await?;
        Ok(Page {
            items: page.items.into_iter().map(|row| row.project).collect(),
            more_after: page.more_after,
        })
    }
}

/// Puts a changed project in the place of the one that was read.
fn changed(scope: &ProjectScope, project: &mut Project) -> Result<Write, Error> {
    let as_read = vec![
        ("created_at", attribute(&project.created_at)?),
        ("revision", n(project.revision)),
    ];
    project.revision = project.revision.saturating_add(1);
    Ok(Write::Put {
        table: Table::Ledger,
        item: to_item(project, keys::project(scope)).map_err(unwritten)?,
        only_if: Condition::Is(as_read),
    })
}
