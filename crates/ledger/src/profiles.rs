//! Sealed Identity profiles: names and references, with every version kept.
//!
//! A change replaces the row only if it still has the version that the author read. The same
//! transaction adds a row to the history and an audit entry. A deletion also adds a row to the
//! history. So a new profile with an old name continues counting its versions, and no two versions
//! have the same number.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use sealfleet_domain::audit::Event;
use sealfleet_domain::cascade::{Layer, Level};
use sealfleet_domain::egress::Policy;
use sealfleet_domain::profile::{Content, Profile};
use sealfleet_domain::revocation::Place;
use sealfleet_domain::{Owner, ProfileName, ProfileRef, ProjectScope, Reference, WorkflowName};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::pages::Page;
use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Range, Table, Write, WriteError};

/// A version of a profile, from its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileVersion {
    /// The content of this version. Empty for a deletion.
    #[serde(flatten)]
    pub profile: Profile,
    /// Who wrote it, as `kind:id`.
    pub by: String,
    /// Whether this version is a deletion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// The owner of a profile that a project uses.
#[must_use]
pub fn owner_of(scope: &ProjectScope, profile: &ProfileRef) -> Owner {
    match profile {
        ProfileRef::System(_) => Owner::System,
        ProfileRef::Own(_) => Owner::Project(scope.clone()),
    }
}

/// The profile's full name, which every project can use.
fn reference(owner: &Owner, name: &ProfileName) -> ProfileRef {
    match owner {
        Owner::System => ProfileRef::System(name.clone()),
        Owner::Project(_) => ProfileRef::Own(name.clone()),
    }
}

impl Ledger {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn profile(&self, owner: &Owner, name: &ProfileName) -> Result<Profile, Error> {
        let key = keys::profile(owner, name);
        let item = self.row(&key).await?;
        from_item(item.ok_or(Error::NotFound)?)
    }

    /// The profiles of a cascade: one read for each level, no matter how many profiles exist.
    ///
    /// # Errors
    /// [`Error::NoProfile`], or the tables do not answer.
    pub async fn layers(
        &self,
        scope: &ProjectScope,
        levels: &[(Level, ProfileRef)],
    ) -> Result<Vec<Layer>, Error> {
        try_join_all(levels.iter().map(async |(level, profile)| {
            match self
                .profile(&owner_of(scope, profile), profile.name())
                .await
            {
                Ok(content) => Ok(Layer {
                    level: *level,
                    profile: profile.clone(),
                    content,
                }),
                Err(Error::NotFound) => Err(Error::NoProfile(profile.clone())),
                Err(error) => Err(error),
            }
        }))
        .await
    }

    /// Stores a new profile. If the name was used before, its version numbers continue.
    ///
    /// # Errors
    /// [`Error::Exists`], or the tables do not answer.
    pub async fn create_profile(
        &self,
        owner: &Owner,
        name: &ProfileName,
        content: Content,
        actor: &str,
    ) -> Result<Profile, Error> {
        let last = self
            .profile_versions(owner, name, None, 1)
            .await?
            .items
            .into_iter()
            .next();
        let version = last.map_or(1, |last| last.profile.version.saturating_add(1));
        let now = self.now();
        let profile = Profile {
            name: name.clone(),
            version,
            content,
            created_at: now,
            updated_at: now,
        };
        match self
            .put_profile(owner, &profile, Condition::Absent, None, actor)
            .await
        {
            Err(Error::Contended) => Err(Error::Exists),
            other => other.map(|()| profile),
        }
    }

    /// Replaces a profile's content if the profile still has the version `replaces`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::VersionConflict`], or the tables do not answer.
    pub async fn update_profile(
        &self,
        owner: &Owner,
        name: &ProfileName,
        replaces: u32,
        content: Content,
        actor: &str,
    ) -> Result<Profile, Error> {
        let before = self.profile(owner, name).await?;
        if before.version != replaces {
            return Err(Error::VersionConflict(before.version));
        }
        let (version, now) = (replaces.saturating_add(1), self.now());
        let egress = before.content.egress;
        let profile = Profile {
            name: before.name,
            version,
            content,
            created_at: before.created_at,
            updated_at: now,
        };
        match self
            .put_profile(owner, &profile, has_version(replaces), egress, actor)
            .await
        {
            // Somebody else changed it first.
            Err(Error::Contended) => Err(Error::VersionConflict(
                self.profile(owner, name).await?.version,
            )),
            other => other.map(|()| profile),
        }
    }

    async fn put_profile(
        &self,
        owner: &Owner,
        profile: &Profile,
        only_if: Condition,
        before: Option<Policy>,
        actor: &str,
    ) -> Result<(), Error> {
        let created = matches!(only_if, Condition::Absent);
        let name = reference(owner, &profile.name);
        let env = profile.content.env.keys().cloned().collect();
        let shown = |(key, reference): (&String, &Reference)| (key.clone(), reference.to_string());
        let secrets = profile.content.secrets.iter().map(shown).collect();
        let version = profile.version;
        let egress = &profile.content.egress;
        let reaches_else = (before != *egress).then(|| Event::EgressPolicyChanged {
            profile: name.clone(),
            version,
            before,
            egress: egress.clone(),
        });
        let event = if created {
            Event::ProfileCreated {
                profile: name,
                version,
                env,
                secrets,
            }
        } else {
            Event::ProfileUpdated {
                profile: name,
                version,
                env,
                secrets,
            }
        };
        let events = [Some(event), reaches_else].into_iter().flatten().collect();
        let kept = ProfileVersion {
            profile: profile.clone(),
            by: actor.to_owned(),
            deleted: false,
        };
        let writes = vec![
            Write::Put {
                table: Table::Ledger,
                item: to_item(profile, keys::profile(owner, &profile.name)).map_err(unwritten)?,
                only_if,
            },
            keep(owner, &kept).map_err(unwritten)?,
            self.audit_write(owner.trail(), actor, None, events, profile.updated_at)
                .map_err(unwritten)?,
        ];
        self.store.write(writes).await.map_err(unwritten)
    }

    /// Deletes a profile if no run in flight uses it. If `expected` is given, also requires that
    /// version.
    ///
    /// A run that is claimed at the same moment may still start with what it read. A run that is
    /// still waiting fails at its start and names the reason.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InUse`], [`Error::VersionConflict`], or the tables do not
    /// answer.
    pub async fn delete_profile(
        &self,
        owner: &Owner,
        name: &ProfileName,
        expected: Option<u32>,
        actor: &str,
    ) -> Result<(), Error> {
        let before = self.profile(owner, name).await?;
        if expected.is_some_and(|expected| expected != before.version) {
            return Err(Error::VersionConflict(before.version));
        }
        let reference = reference(owner, name);
        let mut place = self.first_place(owner).await?;
        while let Some(here) = place {
            if self.used_at(&here, &reference).await? {
                return Err(Error::InUse);
            }
            place = self.place_after(owner, &here).await?;
        }
        let (version, now) = (before.version.saturating_add(1), self.now());
        let emptied = Profile {
            version,
            content: Content::default(),
            updated_at: now,
            ..before.clone()
        };
        let mark = ProfileVersion {
            profile: emptied,
            by: actor.to_owned(),
            deleted: true,
        };
        let event = Event::ProfileDeleted {
            profile: reference,
            version: before.version,
        };
        let writes = vec![
            Write::Delete {
                key: keys::profile(owner, name),
                only_if: has_version(before.version),
            },
            keep(owner, &mark).map_err(unwritten)?,
            self.audit_write(owner.trail(), actor, None, vec![event], now)
                .map_err(unwritten)?,
        ];
        match self.store.write(writes).await {
            Err(WriteError::Condition(_)) => Err(Error::VersionConflict(version)),
            other => other.map_err(unwritten),
        }
    }

    /// Whether a run in flight at `place` uses a profile.
    async fn used_at(&self, place: &Place, profile: &ProfileRef) -> Result<bool, Error> {
        let mut after = None;
        loop {
            let page = self.in_flight(place, after.as_deref()).await?;
            for (scope, run_id) in page.items {
                let run = match self.run(&scope, run_id).await {
                    Err(Error::NotFound) => continue,
                    other => other?,
                };
                let held = run
                    .steps
                    .values()
                    .filter(|step| step.state.hold().is_some());
                let mut used = held
                    .filter_map(|step| run.identity_of(step))
                    .flat_map(|identity| identity.profiles);
                if used.any(|used| used.profile == *profile) {
                    return Ok(true);
                }
            }
            after = page.more_after;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    /// A page of an owner's profiles, by name.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn profiles(
        &self,
        owner: &Owner,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Profile>, Error> {
        self.page(keys::profiles(owner), after, limit).await
    }

    /// A page of a profile's versions, newest first. Deleted profiles keep theirs.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn profile_versions(
        &self,
        owner: &Owner,
        name: &ProfileName,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<ProfileVersion>, Error> {
        let range = Range::Prefix(keys::versions_of(name));
        self.newest(keys::profile_versions(owner), range, before, limit)
            .await
    }

    /// The newest address of a profile's key: the current one, or the last one that it declared.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the profile never declared the key, or the tables do not answer.
    pub async fn declared(
        &self,
        owner: &Owner,
        name: &ProfileName,
        key: &str,
    ) -> Result<Reference, Error> {
        let mut before = None;
        loop {
            let page = self
                .profile_versions(owner, name, before.as_deref(), 100)
                .await?;
            for mut version in page.items {
                if let Some(reference) = version.profile.content.secrets.remove(key) {
                    return Ok(reference);
                }
            }
            before = page.more_after;
            if before.is_none() {
                return Err(Error::NotFound);
            }
        }
    }

    /// Records that a rule of the profiles or a revocation refused an enqueue or a retry.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn denied_run(
        &self,
        scope: &ProjectScope,
        actor: &str,
        workflow: &WorkflowName,
        profiles: Vec<ProfileRef>,
        reason: &str,
    ) -> Result<(), Error> {
        let event = Event::RunDenied {
            workflow: workflow.clone(),
            profiles,
            reason: reason.into(),
        };
        self.record(scope, actor, None, vec![event]).await
    }
}

fn has_version(version: u32) -> Condition {
    Condition::Is(vec![("version", AttributeValue::N(version.to_string()))])
}

fn keep(owner: &Owner, version: &ProfileVersion) -> Result<Write, WriteError> {
    let key = keys::profile_version(owner, &version.profile.name, version.profile.version);
    Ok(Write::Put {
        table: Table::Ledger,
        item: to_item(version, key)?,
        only_if: Condition::Absent,
    })
}
