//! Sealed Identity profiles: names and references.

use sealfleet_domain::audit::Event;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::{ProfileName, ProjectScope, WorkflowName};

use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Table, Write, WriteError};
use crate::{Error, Ledger, Page, keys};

impl Ledger {
    /// A profile.
    ///
    /// # Errors
    /// [`Error::NotFound`], or that the tables do not answer.
    pub async fn profile(&self, scope: &ProjectScope, name: &ProfileName) -> Result<Profile, Error> {
        let key = keys::profile(scope, name);
        let item = self.store.get(Table::Ledger, &key).await.map_err(Error::Unavailable)?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// Stores a new profile.
    ///
    /// # Errors
    /// [`Error::Exists`], or that the tables do not answer.
    pub async fn create_profile(&self, scope: &ProjectScope, profile: &Profile, actor: &str) -> Result<(), Error> {
        let event = Event::ProfileCreated {
            profile: profile.name.clone(),
            version: profile.version,
            env: profile.env.keys().cloned().collect(),
            secrets: profile.secrets.iter().map(|(name, uri)| (name.clone(), uri.to_string())).collect(),
        };
        let writes = vec![
            Write::Put {
                table: Table::Ledger,
                item: to_item(profile, keys::profile(scope, &profile.name)).map_err(unwritten)?,
                only_if: Condition::Absent,
            },
            self.audit_write(scope.project().as_str(), actor, None, vec![event], self.now()).map_err(unwritten)?,
        ];
        match self.store.write(writes).await {
            Err(WriteError::Condition(_)) => Err(Error::Exists),
            other => other.map_err(unwritten),
        }
    }

    /// A page of a project's profiles, by name.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn profiles(
        &self,
        scope: &ProjectScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Profile>, Error> {
        self.page(keys::profiles(scope), after, limit).await
    }

    /// Notes that an enqueue was refused by a profile's rule.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn denied_run(
        &self,
        scope: &ProjectScope,
        actor: &str,
        workflow: &WorkflowName,
        profile: &ProfileName,
        reason: &str,
    ) -> Result<(), Error> {
        let event =
            Event::RunDenied { workflow: workflow.clone(), profile: profile.clone(), reason: reason.to_owned() };
        self.record(scope, actor, None, vec![event]).await
    }
}
