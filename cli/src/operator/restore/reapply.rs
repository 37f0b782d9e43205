//! What was taken away since a moment, by the archive, and taken away again.
//!
//! Restored tables hold every permission of their moment: keys that were revoked since, tokens and
//! workers that were shut out since, workflows that were retired since, projects that were closed
//! since. The archive in S3 tells of
//! each, and nobody can have changed it. Only what takes authority away is done again. What gave
//! authority is gone, and stays gone; it is listed, for people to do again.
//!
//! The archive is seconds behind the tables. So the tables in use are asked, too, and what they
//! know and the archive does not stops everything, unless the operator says otherwise.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use aws_config::SdkConfig;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sealfleet_archive::objects::{self, EVENTS, ObjectName};
use sealfleet_aws::objects::{Objects as _, S3};
use sealfleet_domain::audit::Event;
use sealfleet_domain::credential::Home;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{
    EventId, FanOutId, Owner, ProjectId, ProjectScope, RevocationId, RunId, Timestamp,
};
use sealfleet_ledger::{AuditFilter, Due, Error, Ledger, due_shards};
use serde::{Deserialize, Serialize};

use crate::operator::failure::Failure;
use crate::operator::output::{Table, lines};

/// The actor of what is done again.
const ACTOR: &str = "cli:restore";
/// Seconds before the moment from which on the archive is read: clocks differ, and a restored table
/// may be a second older than it was asked to be.
const BEFORE: i64 = 60;
/// Objects that are read at once.
const AT_ONCE: usize = 16;
/// Entries, rows or projects in a page.
const PAGE: usize = 1000;

/// The exported trail in its bucket.
pub struct Archive(S3);

/// One exported event.
#[derive(Debug, Deserialize)]
struct Told {
    event_id: EventId,
    index: u32,
    at: Timestamp,
    actor: String,
    #[serde(default)]
    run_id: Option<RunId>,
    event: Event,
}

/// What was done, and what is left to do.
#[derive(Debug, Serialize)]
pub struct Report {
    moment: Timestamp,
    /// What is taken away again.
    reapplied: Vec<Line>,
    /// What was undone and changed what somebody may do or what runs see: to be done again by
    /// people.
    undone: Vec<Line>,
    /// Runs that were enqueued since, and are gone.
    lost_runs: BTreeMap<String, BTreeSet<RunId>>,
    /// Runs that ended since, and go on from where they were.
    repeated_runs: BTreeMap<String, BTreeSet<RunId>>,
}

/// One event of the trail.
#[derive(Clone, Debug, Serialize)]
struct Line {
    trail: String,
    at: Timestamp,
    event_id: EventId,
    event: Event,
}

impl Archive {
    pub fn new(config: &SdkConfig, bucket: String) -> Self {
        Self(S3::new(config, bucket))
    }

    /// All trails.
    async fn trails(&self) -> Result<Vec<String>, Failure> {
        let folders = self.0.folders(EVENTS).await.map_err(Failure::other)?;
        let names = folders.iter().filter_map(|folder| {
            let name = folder.strip_prefix(EVENTS)?.strip_prefix("project=")?;
            name.strip_suffix('/')
        });
        Ok(names.map(str::to_owned).collect())
    }

    /// The events of a trail from `from` on, in order, each once.
    async fn since(&self, trail: &str, from: Timestamp) -> Result<Vec<Told>, Failure> {
        let after = ObjectName::of_day(trail, &from.day());
        let prefix = ObjectName::days(trail);
        let listed = self.0.list(&prefix, Some(&after)).await;
        let listed = listed.map_err(Failure::other)?;
        let read = listed.into_iter().map(|object| self.events(object.key));
        let read: Vec<Vec<Told>> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
        let mut told: Vec<Told> = read.into_iter().flatten().collect();
        told.retain(|told| told.at >= from);
        told.sort_by_key(|told| (told.at, told.event_id, told.index));
        told.dedup_by_key(|told| (told.event_id, told.index));
        Ok(told)
    }

    async fn events(&self, key: String) -> Result<Vec<Told>, Failure> {
        #[derive(Deserialize)]
        struct Exported {
            unmapped: Told,
        }
        let unreadable = |why: &dyn std::fmt::Display| {
            Failure::Other(format!("the object `{key}` cannot be read: {why}"))
        };
        let bytes = self.0.get(&key).await.map_err(Failure::other)?;
        let content = objects::content(&key, &bytes.unwrap_or_default());
        let content = content.map_err(|error| unreadable(&error))?;
        let read = objects::lines(&content).map(serde_json::from_slice::<Exported>);
        read.map(|line| Ok(line.map_err(|error| unreadable(&error))?.unmapped))
            .collect()
    }
}

/// Takes away in `restored` what was taken away since the moment.
pub async fn reapply(
    archive: &Archive,
    in_use: Option<&Ledger>,
    restored: &Ledger,
    moment: Timestamp,
) -> Result<Report, Failure> {
    let mut report = Report {
        moment,
        reapplied: Vec::new(),
        undone: Vec::new(),
        lost_runs: BTreeMap::new(),
        repeated_runs: BTreeMap::new(),
    };
    if let Some(in_use) = in_use {
        nothing_waits(in_use).await?;
    }
    for trail in archive.trails().await? {
        let owner = owner(&trail)?;
        // The tables first: what is exported meanwhile is then in the archive.
        let known = match in_use {
            Some(in_use) => entries(in_use, &owner, moment).await?,
            None => Vec::new(),
        };
        let told = archive.since(&trail, moment.plus_seconds(-BEFORE)).await?;
        let exported: HashSet<EventId> = told.iter().map(|told| told.event_id).collect();
        let behind = known.iter().filter(|id| !exported.contains(id)).count();
        if behind > 0 {
            return Err(Failure::Other(format!(
                "{behind} entries of the trail `{trail}` are not in the archive yet: wait for `export`, then repeat"
            )));
        }
        report.add(restored, &owner, told).await?;
    }
    Ok(report)
}

/// Fails while entries wait in the ledger, since the archive cannot have them.
async fn nothing_waits(in_use: &Ledger) -> Result<(), Failure> {
    // The index has every live row, however late it is due.
    let ever = Timestamp::from_millis(i64::MAX);
    for shard in due_shards() {
        let mut after = None;
        loop {
            let page = in_use.due(&shard, ever, after.as_ref(), PAGE).await;
            let page = page.map_err(Failure::other)?;
            if page
                .items
                .iter()
                .any(|(_, due)| matches!(due, Due::Entry(_)))
            {
                return Err(Failure::Other(
                    "entries wait in the ledger until the audit table answers, and the archive cannot have them: open \
                     again until `sweep` has moved them, or see docs/guides/restore.md"
                        .to_owned(),
                ));
            }
            after = page.more_after;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// The ids of all entries since the moment, by the tables in use.
async fn entries(
    in_use: &Ledger,
    owner: &Owner,
    moment: Timestamp,
) -> Result<Vec<EventId>, Failure> {
    let mut filter = AuditFilter::between(moment, in_use.now(), PAGE);
    let mut ids = Vec::new();
    loop {
        let page = in_use.audit(owner, &filter).await.map_err(Failure::other)?;
        ids.extend(page.entries.iter().map(|entry| entry.event_id));
        filter.after = page.more_after;
        if filter.after.is_none() {
            return Ok(ids);
        }
    }
}

fn owner(trail: &str) -> Result<Owner, Failure> {
    if trail == OPERATOR_SCOPE {
        return Ok(Owner::System);
    }
    let project: ProjectId = trail.parse().map_err(Failure::other)?;
    Ok(Owner::Project(ProjectScope::of_stored_row(project)))
}

impl Report {
    async fn add(
        &mut self,
        restored: &Ledger,
        owner: &Owner,
        told: Vec<Told>,
    ) -> Result<(), Failure> {
        let lifted: HashSet<RevocationId> =
            told.iter().filter_map(|told| lifts(&told.event)).collect();
        for told in told {
            let is_lifted = revokes(&told.event).is_some_and(|id| lifted.contains(&id));
            if !is_lifted
                && take_away(restored, owner, &told)
                    .await
                    .map_err(Failure::other)?
            {
                self.reapplied.push(line(owner, told));
            } else if told.at > self.moment {
                self.undo(owner, told);
            }
        }
        Ok(())
    }

    /// Notes what is undone.
    fn undo(&mut self, owner: &Owner, told: Told) {
        let of = owner.trail().to_owned();
        match (&told.event, told.run_id) {
            (Event::RunEnqueued { .. }, Some(run)) => {
                self.lost_runs.entry(of).or_default().insert(run);
            }
            (Event::RunFinished { .. }, Some(run)) => {
                self.repeated_runs.entry(of).or_default().insert(run);
            }
            (_, Some(_)) | (Event::FanOutFinished { .. } | Event::ContainmentEnded { .. }, _) => {}
            // The project's own trail has it, too.
            (event, _) if *owner == Owner::System && event.name().starts_with("project.") => {}
            (Event::SecretReadUnexplained { .. } | Event::RunDenied { .. }, _) => {}
            _ => self.undone.push(line(owner, told)),
        }
    }

    /// Records the restoration in every trail of the restored tables. The operators' own is the
    /// last.
    pub async fn record(&self, restored: &Ledger) -> Result<(), Failure> {
        let mut after: Option<String> = None;
        loop {
            let page = restored.projects(after.as_deref(), PAGE).await;
            let page = page.map_err(Failure::other)?;
            for project in page.items {
                let scope = ProjectScope::of_stored_row(project);
                self.record_in(restored, &Owner::Project(scope)).await?;
            }
            after = page.more_after;
            if after.is_none() {
                return self.record_in(restored, &Owner::System).await;
            }
        }
    }

    async fn record_in(&self, restored: &Ledger, owner: &Owner) -> Result<(), Failure> {
        let now = restored.now();
        let own = self.reapplied.iter();
        let own = own.filter(|line| line.trail == owner.trail()).count();
        let event = Event::TablesRestored {
            moment: self.moment,
            reapplied: u32::try_from(own).unwrap_or(u32::MAX),
        };
        let id = EventId::new(restored.ids(), now);
        let recorded = restored.record_once(owner, (id, now), ACTOR, vec![event]);
        recorded.await.map_err(Failure::other)?;
        Ok(())
    }

    pub fn text(&self) -> String {
        let count = |runs: &BTreeMap<String, BTreeSet<RunId>>| {
            runs.values().map(BTreeSet::len).sum::<usize>().to_string()
        };
        let mut text = lines([
            ("moment", self.moment.to_string()),
            ("taken away again", self.reapplied.len().to_string()),
            ("to do again", self.undone.len().to_string()),
            ("runs that are gone", count(&self.lost_runs)),
            ("runs that go on again", count(&self.repeated_runs)),
        ]);
        for (title, of) in [
            ("TAKEN AWAY AGAIN", &self.reapplied),
            ("TO DO AGAIN", &self.undone),
        ] {
            if of.is_empty() {
                continue;
            }
            let mut table = Table::new(["TRAIL", "AT", "ID", title]);
            for line in of {
                let event = line.event.name();
                let id = line.event_id.to_string();
                table.row([line.trail.clone(), line.at.to_string(), id, event]);
            }
            text += &format!("\n{}", table.text());
        }
        text
    }
}

fn line(owner: &Owner, told: Told) -> Line {
    Line {
        trail: owner.trail().to_owned(),
        at: told.at,
        event_id: told.event_id,
        event: told.event,
    }
}

const fn revokes(event: &Event) -> Option<RevocationId> {
    match event {
        Event::SecretRevoked { revocation_id, .. } => Some(*revocation_id),
        _ => None,
    }
}

const fn lifts(event: &Event) -> Option<RevocationId> {
    match event {
        Event::RevocationLifted { revocation_id, .. } => Some(*revocation_id),
        _ => None,
    }
}

/// Takes away what the event took away. `false` when it took nothing away, or when the restored
/// tables do not have what it was taken from.
async fn take_away(ledger: &Ledger, owner: &Owner, told: &Told) -> Result<bool, Error> {
    let done = match (&told.event, owner) {
        (Event::SecretRevoked { .. }, _) => return revoke(ledger, owner, told).await,
        (Event::TokenRevoked { token_id }, _) => {
            let home = match owner {
                Owner::System => Home::Operators,
                Owner::Project(scope) => Home::Project(scope.project().clone()),
            };
            ledger.revoke_token(&home, *token_id, ACTOR).await.map(drop)
        }
        (Event::EnrolmentKeyRevoked { enrolment_key_id }, Owner::Project(scope)) => {
            let revoked = ledger.revoke_enrolment_key(scope, *enrolment_key_id, ACTOR);
            revoked.await.map(drop)
        }
        (
            Event::WorkerRevoked { worker_id } | Event::WorkerRejected { worker_id },
            Owner::Project(scope),
        ) => {
            let revoked = ledger.revoke_worker(scope, *worker_id, ACTOR);
            match revoked.await {
                Err(Error::WrongState(_)) => Ok(()),
                other => other.map(drop),
            }
        }
        (Event::WorkflowRetired { workflow, .. }, Owner::Project(scope)) => {
            let retired = ledger.retire_workflow(scope, workflow, ACTOR);
            retired.await.map(drop)
        }
        (Event::ProjectClosed { .. } | Event::ProjectDeleted { .. }, Owner::Project(scope)) => {
            match ledger.project(scope).await {
                Ok(project) if project.closed_at.is_none() => {
                    ledger.close_project(scope, project, ACTOR).await.map(drop)
                }
                other => other.map(drop),
            }
        }
        _ => return Ok(false),
    };
    match done {
        Ok(()) => Ok(true),
        Err(Error::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts a revocation in force again: with its id, so that it can be lifted by it.
async fn revoke(ledger: &Ledger, owner: &Owner, told: &Told) -> Result<bool, Error> {
    let Event::SecretRevoked {
        revocation_id,
        profile,
        key,
        uri,
        hard,
        reason,
    } = &told.event
    else {
        return Ok(false);
    };
    let active = ledger.active_revocations(owner).await?;
    let mut of_key = active.iter();
    let of_key = of_key.find(|row| row.profile == *profile && row.key == *key);
    if of_key.is_some_and(|row| row.hard || !hard) {
        return Ok(true);
    }
    let now = ledger.now();
    let revocation = Revocation {
        // A soft one that became hard keeps its own id.
        revocation_id: match of_key {
            Some(_) => RevocationId::new(ledger.ids(), now),
            None => *revocation_id,
        },
        profile: profile.clone(),
        key: key.clone(),
        uri: uri.clone(),
        hard: *hard,
        reason: reason.as_str().to_owned(),
        actor: told.actor.clone(),
        at: told.at,
        fan_out_id: hard.then(|| FanOutId::new(ledger.ids(), now)),
        lifted: None,
    };
    ledger.revoke(owner, &[revocation], ACTOR).await?;
    Ok(true)
}
