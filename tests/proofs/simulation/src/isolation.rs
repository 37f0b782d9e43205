//! What must hold between projects: nothing of one appears in another.
//!
//! All projects use the same names for pools, profiles, steps, keys and secrets, so what is mixed
//! up is not refused by its name. What tells them apart is the project's own name, in keys, in
//! addresses of secrets, in knobs and in commands.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_api::types::QueueMessage;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::run::Run;
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{RunId, WorkerId};

use crate::ecs::Task;
use crate::memory::Changed;
use crate::onboarding::{PROJECTS, project_of};
use crate::stage::Actor;

/// What belongs to whom.
#[derive(Clone, Debug, Default)]
pub struct Isolation {
    runs: BTreeMap<RunId, &'static str>,
    workers: BTreeMap<WorkerId, &'static str>,
}

impl Isolation {
    /// The project of a run.
    pub fn of_run(&self, run_id: RunId) -> Option<&'static str> {
        self.runs.get(&run_id).copied()
    }

    /// Follows a changed row. Who acts for one project changes nothing of another, and a row names
    /// no other project than its own.
    pub fn changed(&mut self, change: &Changed, actor: Option<&Actor>) -> Option<String> {
        let (pk, sk) = (&change.key.pk, &change.key.sk);
        let owner = owner_of(pk);
        if let Some(home) = actor.and_then(|actor| actor.home)
            && owner != Some(home)
        {
            return Some(format!("somebody of {home} changes {pk} {sk}"));
        }
        let owner = owner?;
        if pk.contains("#RUNS#") {
            let run_id: RunId = sk.parse().ok()?;
            if self
                .runs
                .insert(run_id, owner)
                .is_some_and(|was| was != owner)
            {
                return Some(format!("{run_id} is stored in {owner} too"));
            }
        } else if pk.ends_with("#WORKERS") {
            self.workers.insert(sk.parse().ok()?, owner);
        }
        let item = change.after.as_ref()?;
        let foreign = item.values().find_map(|value| foreign_in(value, owner))?;
        Some(format!("{pk} {sk} names {foreign}"))
    }

    /// A run of a project names nothing of another, and is held by its own workers.
    pub fn run(&self, owner: &str, run: &Run, is_new: bool) -> Option<String> {
        let holders = run
            .steps
            .values()
            .filter_map(|step| Some(step.state.hold()?.holder));
        for holder in holders {
            let of = self.workers.get(&holder);
            if of.is_some_and(|of| *of != owner) {
                return Some(format!("a step of {owner} is held by a worker of {of:?}"));
            }
        }
        if is_new {
            self.text(owner, &format!("{run:?}"))
        } else {
            None
        }
    }

    /// A text that belongs to a project names no other.
    pub fn text(&self, owner: &str, text: &str) -> Option<String> {
        let mut others = PROJECTS.into_iter().filter(|other| *other != owner);
        let foreign = others.find(|other| text.contains(other))?;
        Some(format!("something of {owner} names {foreign}: {text}"))
    }

    /// An entry of a project's trail tells of that project alone. A refusal names the run that was
    /// asked for, whosever it is.
    pub fn told(&self, entry: &AuditEntry) -> Option<String> {
        let owner = project_of(&entry.project)?;
        let refusal = |event: &Event| {
            matches!(
                event,
                Event::ClaimRefused { .. } | Event::ReportRefused { .. }
            )
        };
        if let Some(of) = entry.run_id.and_then(|run_id| self.of_run(run_id))
            && of != owner
            && !entry.events.iter().all(refusal)
        {
            return Some(format!(
                "the trail of {owner} tells of a run of {of}: {entry:?}"
            ));
        }
        self.text(owner, &serde_json::to_string(entry).unwrap_or_default())
    }

    /// A queue is sent messages about its project's runs only.
    pub fn sent(&self, queue: &str, body: &str) -> Option<String> {
        let message: QueueMessage = serde_json::from_str(body).ok()?;
        let of = self.of_run(message.run_id)?;
        let own = queue.starts_with(&format!("sealfleet-{of}--"));
        (!own).then(|| format!("{queue} is sent a message of {of}: {body}"))
    }

    /// A task is launched by its own project, for a run of that project.
    pub fn launched(&self, tag: &ClaimTag, actor: Option<&Actor>) -> Option<String> {
        let owner = tag.scope.project().as_str();
        let home = actor.and_then(|actor| actor.home);
        let own = self.of_run(tag.run_id).is_none_or(|of| of == owner)
            && home.is_none_or(|home| home == owner);
        (!own).then(|| format!("a task for {tag} is launched by {home:?}"))
    }

    /// A task is stopped by its own project, if not by the control plane itself.
    pub fn stopped(&self, task: &Task, actor: Option<&Actor>) -> Option<String> {
        let home = actor.and_then(|actor| actor.home)?;
        let (scope, ..) = task.claim()?;
        (scope.project().as_str() != home)
            .then(|| format!("{} for {} is stopped by {home}", task.arn, task.started_by))
    }
}

/// The project in a partition's key.
pub fn owner_of(pk: &str) -> Option<&'static str> {
    project_of(pk.strip_prefix("PRJ#")?.split('#').next()?)
}

fn foreign_in(value: &AttributeValue, owner: &str) -> Option<&'static str> {
    match value {
        AttributeValue::S(text) => {
            let mut others = PROJECTS.into_iter().filter(|other| *other != owner);
            others.find(|other| text.contains(other))
        }
        AttributeValue::L(values) => values.iter().find_map(|value| foreign_in(value, owner)),
        AttributeValue::M(map) => map.values().find_map(|value| foreign_in(value, owner)),
        _ => None,
    }
}
