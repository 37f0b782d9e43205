//! Projects and their pools.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::cascade::{Bindings, Level};
use sealfleet_domain::fleet::{Project, Worker};
use sealfleet_domain::{ProfileRef, ProjectId, ProjectScope};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{from_item, to_item, unwritten};
use crate::runs::Page;
use crate::store::{Condition, Table, Write, WriteError};

#[derive(Serialize, Deserialize)]
struct Listed {
    project: ProjectId,
}

impl Ledger {
    /// Reads a project.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn project(&self, scope: &ProjectScope) -> Result<Project, Error> {
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
        let now = self.now();
        writes.push(
            self.audit_write(
                scope.project().as_str(),
                actor,
                None,
                vec![event.clone()],
                now,
            )
            .map_err(unwritten)?,
        );
        writes.push(
            self.operators_audit_write(actor, vec![event], now)
                .map_err(unwritten)?,
        );
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
        let mut project = self.project(scope).await?;
        let created_at = AttributeValue::S(project.created_at.to_string());
        project.cascade = bindings.clone();
        let event = Event::CascadeBound {
            bindings: bindings.clone(),
        };
        let writes = vec![
            Write::Put {
                table: Table::Ledger,
                item: to_item(&project, keys::project(scope)).map_err(unwritten)?,
                // Pools never change, so the last write wins.
                only_if: Condition::Is(vec![("created_at", created_at)]),
            },
            self.audit_write(
                scope.project().as_str(),
                actor,
                None,
                vec![event],
                self.now(),
            )
            .map_err(unwritten)?,
        ];
        self.store.write(writes).await.map_err(unwritten)?;
        Ok(project)
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
