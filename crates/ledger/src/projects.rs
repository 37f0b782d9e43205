//! Projects and their pools.

use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::{Project, Worker};
use sealfleet_domain::{ProjectId, ProjectScope};
use serde::{Deserialize, Serialize};

use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Table, Write, WriteError};
use crate::{Error, Ledger, Page, keys};

#[derive(Serialize, Deserialize)]
struct Listed {
    project: ProjectId,
}

impl Ledger {
    /// A project.
    ///
    /// # Errors
    /// [`Error::NotFound`], or that the tables do not answer.
    pub async fn project(&self, scope: &ProjectScope) -> Result<Project, Error> {
        let item = self.store.get(Table::Ledger, &keys::project(scope)).await.map_err(Error::Unavailable)?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// Stores a new project with the workers that stand for its Fargate pools.
    ///
    /// # Errors
    /// [`Error::Exists`], or that the tables do not answer.
    pub async fn create_project(
        &self,
        scope: &ProjectScope,
        project: &Project,
        workers: &[Worker],
        actor: &str,
    ) -> Result<(), Error> {
        let event =
            Event::ProjectCreated { project: project.project.clone(), pools: project.pools.keys().cloned().collect() };
        let put = |item, only_if| Write::Put { table: Table::Ledger, item, only_if };
        let listed = Listed { project: project.project.clone() };
        let mut writes = vec![
            put(to_item(project, keys::project(scope)).map_err(unwritten)?, Condition::Absent),
            put(to_item(&listed, keys::project_listed(&project.project)).map_err(unwritten)?, Condition::Absent),
        ];
        for worker in workers {
            let key = keys::worker(scope.project(), worker.worker_id);
            writes.push(put(to_item(worker, key).map_err(unwritten)?, Condition::Absent));
        }
        let now = self.now();
        writes.push(
            self.audit_write(scope.project().as_str(), actor, None, vec![event.clone()], now).map_err(unwritten)?,
        );
        writes.push(self.operators_audit_write(actor, vec![event], now).map_err(unwritten)?);
        match self.store.write(writes).await {
            Err(WriteError::Condition(_)) => Err(Error::Exists),
            other => other.map_err(unwritten),
        }
    }

    /// A page of all projects' ids, for operators.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn projects(&self, after: Option<&str>, limit: usize) -> Result<Page<ProjectId>, Error> {
        let page: Page<Listed> = self.page(keys::PROJECTS.to_owned(), after, limit).await?;
        Ok(Page { items: page.items.into_iter().map(|row| row.project).collect(), more_after: page.more_after })
    }
}
