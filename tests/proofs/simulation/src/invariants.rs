//! What must hold after every effect, checked on what each transaction changed.
//!
//! All state is in the tables, and only transactions change it, so a check of each transaction
//! against what stood before is a check of every state that anybody could see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sealfleet_api::types::QueueMessage;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::{AbortReason, Fence, RequeueReason, Run, Step, StepState};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::usage::{self, Sums};
use sealfleet_domain::{EventId, RunId, StepId, limits};
use sealfleet_hosts::Template;
use sealfleet_ledger::store::{Item, Table};
use sealfleet_ledger::{Added, Identities, RunRow, identity_of_image};

use crate::access::Access;
use crate::approvals::Approvals;
use crate::archive::Archive;
use crate::ecs::{Ecs, Status, Task};
use crate::exported;
use crate::isolation::{Isolation, owner_of};
use crate::lateness;
use crate::memory::{Changed, number, text};
use crate::revocations::{InFlight, Revocations};
use crate::stage::{Actor, Judge, Moment, Subject};

/// A claim of a step.
pub type Claim = (RunId, StepId, Fence);

/// A lease's row: the holder's slot, the step and the fence.
type Lease = (String, StepId, Fence);

/// What has been seen, and what was wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Invariants {
    runs: BTreeMap<RunId, Run>,
    leases: BTreeMap<RunId, BTreeSet<Lease>>,
    /// The effect that last wrote each lease's row, by its slot.
    lease_written: BTreeMap<String, u64>,
    /// Slots of holds that this transaction takes from their holders.
    taken_back: Vec<(RunId, String, StepId)>,
    /// The end of each lease, by its slot.
    lease_until: BTreeMap<String, i64>,
    /// Claims that a task was launched for.
    launched: BTreeSet<Claim>,
    /// Handles that were stored with a claim, ever.
    attached: BTreeSet<String>,
    /// Claims whose sandbox is on record as gone.
    forgotten: BTreeSet<Claim>,
    /// What was released to each claim.
    released: BTreeMap<Claim, Vec<SecretRef>>,
    /// The effect that wrote each claim.
    leased: BTreeMap<Claim, u64>,
    /// The effect that last wrote each run.
    run_written: BTreeMap<RunId, u64>,
    revocations: Revocations,
    isolation: Isolation,
    approvals: Approvals,
    access: Access,
    /// Identities that are stored, by hash.
    identities: Identities,
    /// The run that each idempotency key stands for.
    named: BTreeMap<String, String>,
    /// Audit entries that wait in the outbox, and when each is due.
    waiting: BTreeMap<EventId, (AuditEntry, i64)>,
    /// Audit entries in rows of runs that are not in the trail yet.
    uncopied: BTreeMap<EventId, AuditEntry>,
    /// Entries of rows of runs that have arrived in the trail.
    copied: BTreeMap<EventId, AuditEntry>,
    /// Audit entries in the trail.
    recorded: BTreeMap<EventId, AuditEntry>,
    commands: BTreeMap<(RunId, StepId), BTreeSet<Fence>>,
    /// Claims of workers that were revoked: their commands may outlive them by a heartbeat.
    excused: BTreeSet<Claim>,
    /// Whether two commands of one step at once are wrong: they are not while clocks are off.
    pub exclusive: bool,
    violations: Vec<String>,
}

impl Judge for Invariants {
    fn committed(&mut self, changed: &[Changed], actor: Option<&Actor>, moment: Moment, ecs: &Ecs) {
        for change in changed {
            let wrong = self.isolation.changed(change, actor);
            let unread = self.access.changed(change);
            self.violations.extend(wrong.into_iter().chain(unread));
        }
        self.note_identities(changed);
        let entries = self.entries(changed);
        self.revocations.told(&entries);
        self.approvals.told(&entries);
        for entry in &entries {
            self.violations.extend(self.isolation.told(entry));
            self.note_claims(entry, moment);
        }
        self.check_idempotency(changed);
        self.check_usage(changed);
        let mut touched = BTreeSet::new();
        for change in changed
            .iter()
            .filter(|change| change.table == Table::Ledger)
        {
            if change.key.pk.contains("#RUNS#") {
                let run_id = self.run_changed(change, &entries, actor, ecs);
                self.run_written
                    .extend(run_id.map(|run_id| (run_id, moment.effect)));
                touched.extend(run_id);
            } else if change.key.pk.contains("#LEASES#") {
                self.check_expired(change, &entries, actor, moment);
                touched.extend(self.lease_changed(change, moment));
            } else {
                self.approvals.changed(change, moment.effect);
                let in_flight = InFlight {
                    runs: &self.runs,
                    approvals: &self.approvals,
                    isolation: &self.isolation,
                    leased: &self.leased,
                };
                let wrong = self.revocations.changed(change, moment.effect, &in_flight);
                self.violations.extend(wrong);
            }
        }
        for entry in &entries {
            if let Some(run_id) = entry.run_id
                && !touched.contains(&run_id)
                && entry.events.iter().any(|event| moved(event).is_some())
            {
                self.wrong(format!(
                    "an audit entry tells of a change of {run_id} that was not made: {entry:?}"
                ));
            }
        }
        for run_id in touched {
            self.check_leases(run_id);
            let run = self.runs.get(&run_id);
            let wrong = run.map(|run| self.approvals.check(run)).unwrap_or_default();
            for wrong in wrong {
                self.wrong(format!("{run_id}: {wrong}"));
            }
        }
        for (run_id, slot, step_id) in std::mem::take(&mut self.taken_back) {
            let left = self.leases.get(&run_id).is_some_and(|leases| {
                let own = |lease: &Lease| lease.0 == slot && lease.1 == step_id;
                leases.iter().any(own)
            });
            if left {
                self.wrong(format!(
                    "{run_id}/{step_id} is taken back and keeps its lease"
                ));
            }
        }
    }

    /// A task is launched: the release of each of its secrets must be on record, in its version.
    fn launched(&mut self, tag: &ClaimTag, template: Option<&Template>, actor: Option<&Actor>) {
        self.violations.extend(self.isolation.launched(tag, actor));
        if !self.may_go_on(tag.run_id, &tag.step_id) {
            self.wrong(format!(
                "a task is launched for {tag:?}, which nobody else approved"
            ));
        }
        let claim = (tag.run_id, tag.step_id.clone(), tag.fence);
        if !self.launched.insert(claim.clone()) {
            self.wrong(format!("another task is launched for {claim:?}"));
        }
        if self.forgotten.contains(&claim) {
            self.wrong(format!(
                "a task is launched for {claim:?}, which is on record as gone"
            ));
        }
        match template {
            None => self.wrong(format!(
                "a task of {claim:?} is launched by a definition that was never registered"
            )),
            Some(template) => self.answered(&claim, &template.secrets),
        }
    }

    fn stopped(&mut self, task: &Task, actor: Option<&Actor>) {
        self.violations.extend(self.isolation.stopped(task, actor));
    }

    fn sent(&mut self, queue: &str, body: &str) {
        self.violations.extend(self.isolation.sent(queue, body));
        if let Ok(message) = serde_json::from_str::<QueueMessage>(body)
            && !self.may_go_on(message.run_id, &message.step_id)
        {
            self.wrong(format!(
                "a queue is told of a step that nobody else approved: {body}"
            ));
        }
    }
}

impl Invariants {
    /// What was wrong so far.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The runs, as they are stored.
    pub const fn runs(&self) -> &BTreeMap<RunId, Run> {
        &self.runs
    }

    /// The runs of a project.
    pub fn runs_of(&self, project: &str) -> impl Iterator<Item = &Run> {
        let own = move |run: &&Run| self.isolation.of_run(run.run_id) == Some(project);
        self.runs.values().filter(own)
    }

    /// Forgets what is in the trail: nobody will ask the archive for it.
    pub fn forget_trail(&mut self) {
        self.recorded.clear();
    }

    pub const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Whether any live claim may have secrets.
    pub fn holds_secrets(&self) -> bool {
        let live = self
            .runs
            .values()
            .flat_map(|run| run.steps.values())
            .filter(|step| step.state.hold().is_some());
        live.into_iter().any(|step| step.spec.mode.sees_identity())
    }

    pub fn wrong(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// An identity is never changed.
    fn note_identities(&mut self, changed: &[Changed]) {
        let rows = changed
            .iter()
            .filter(|change| change.key.pk.contains("#IDENTITY#"));
        for change in rows {
            let read = change.after.as_ref().map(|item| identity_of_image(item));
            let hash = change.key.pk.rsplit('#').next().unwrap_or_default();
            match (read, &change.before) {
                (Some(Ok(identity)), None) => {
                    if let Some(owner) = owner_of(&change.key.pk) {
                        let foreign = self.isolation.text(owner, &format!("{identity:?}"));
                        self.violations.extend(foreign);
                    }
                    self.identities.insert(hash.to_owned(), Arc::new(identity));
                }
                _ => self.wrong(format!("an identity was changed: {hash}")),
            }
        }
    }

    /// A key names one run, and a run is stored only under the key that names it.
    fn check_idempotency(&mut self, changed: &[Changed]) {
        for change in changed {
            if change.key.pk.contains("#IDEMPOTENCY#") {
                let taken = change
                    .before
                    .as_deref()
                    .is_some_and(|item| !is_over(item, change.after.as_deref()));
                if taken {
                    self.wrong(format!(
                        "a key that stood for a run is given to another: {}",
                        change.key.pk
                    ));
                }
                let run = change.after.as_deref().and_then(|item| text(item, "run"));
                let run = run.unwrap_or_default().to_owned();
                self.named.insert(run, change.key.pk.clone());
            }
            let new = change.key.pk.contains("#RUNS#") && change.before.is_none();
            if new && self.named.remove(&change.key.sk).is_none() {
                self.wrong(format!("{} is stored and no key names it", change.key.sk));
            }
        }
    }

    /// The entries of what this transaction changed: in the trail, or in the outbox. One that only
    /// moves between them tells of an earlier transaction.
    fn entries(&mut self, changed: &[Changed]) -> Vec<AuditEntry> {
        let mut entries = Vec::new();
        for change in changed.iter().filter(|change| change.table == Table::Audit) {
            if change.before.is_some() {
                self.wrong(format!(
                    "an audit row was changed: {} {}",
                    change.key.pk, change.key.sk
                ));
            }
            let Some(item) = &change.after else { continue };
            match sealfleet_ledger::audit_entries_of_image(item.as_ref().clone()) {
                Ok(arrived) => {
                    entries.extend(arrived.into_iter().filter_map(|entry| self.arrived(entry)))
                }
                Err(error) => self.wrong(format!("an audit row cannot be read: {error}")),
            }
        }
        for change in changed
            .iter()
            .filter(|change| change.key.pk.contains("#RUNS#"))
        {
            let Some(after) = &change.after else { continue };
            let added = Added::between(change.before.as_deref(), after)
                .and_then(|added| added.entries(&self.identities));
            match added {
                Ok(added) => {
                    let each = added.iter().map(|entry| (entry.event_id, entry.clone()));
                    self.uncopied.extend(each);
                    entries.extend(added);
                }
                Err(error) => self.wrong(format!("entries of {}: {error}", change.key.sk)),
            }
        }
        let outbox =
            |change: &&Changed| change.table == Table::Ledger && change.key.pk.ends_with("#OUTBOX");
        for change in changed.iter().filter(outbox) {
            entries.extend(self.outbox_changed(change));
        }
        entries
    }

    /// An entry that arrives in the trail, if it was nowhere before.
    fn arrived(&mut self, entry: AuditEntry) -> Option<AuditEntry> {
        let id = entry.event_id;
        // A batch of the stream that comes again in parts makes other rows of the same entries.
        if let Some(copied) = self.copied.get(&id) {
            if *copied != entry {
                self.wrong(format!("{copied:?} arrives as {entry:?}"));
            }
            return None;
        }
        if self.recorded.insert(id, entry.clone()).is_some() {
            self.wrong(format!("an audit entry is recorded twice: {entry:?}"));
        }
        if let Some(stored) = self.uncopied.remove(&id) {
            if stored != entry {
                self.wrong(format!("{stored:?} arrives as {entry:?}"));
            }
            self.copied.insert(id, stored);
            return None;
        }
        match self.waiting.get(&id) {
            None => return Some(entry),
            Some((waited, _)) if *waited == entry => {}
            Some((waited, _)) => self.wrong(format!("{waited:?} arrives as {entry:?}")),
        }
        None
    }

    /// What waits in the outbox leaves it with its record, and nothing waits that is recorded.
    fn outbox_changed(&mut self, change: &Changed) -> Option<AuditEntry> {
        let read =
            |item: &Arc<Item>| sealfleet_ledger::audit_entry_of_outbox(item.as_ref().clone());
        let due = change.after.as_deref();
        let due = due.and_then(|item| number(item, "due_at"));
        let due = due.unwrap_or(i64::MAX);
        match (&change.before, change.after.as_ref().map(read)) {
            (None, Some(Ok(entry))) => {
                if self.recorded.contains_key(&entry.event_id) {
                    self.wrong(format!("an entry waits that is recorded: {entry:?}"));
                }
                self.waiting.insert(entry.event_id, (entry.clone(), due));
                return Some(entry);
            }
            (Some(_), Some(Ok(entry)))
                if self.waiting.get(&entry.event_id).map(|(waits, _)| waits) == Some(&entry) =>
            {
                self.waiting.insert(entry.event_id, (entry, due));
            }
            (_, Some(entry)) => self.wrong(format!(
                "a waiting entry was changed, or cannot be read: {entry:?}"
            )),
            (_, None) => match change.key.sk.parse::<EventId>() {
                Ok(id) if self.recorded.contains_key(&id) => drop(self.waiting.remove(&id)),
                _ => self.wrong(format!("a waiting entry is lost: {}", change.key.sk)),
            },
        }
        None
    }

    /// The audit entries that wait in the outbox.
    pub fn outbox(&self) -> usize {
        self.waiting.len()
    }

    /// The audit entries that wait in the outbox, or in rows of runs.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.uncopied.len()
    }

    /// Whether nobody has to go on with a fan-out.
    pub fn are_fan_outs_finished(&self) -> bool {
        self.revocations.are_finished()
    }

    fn note_claims(&mut self, entry: &AuditEntry, moment: Moment) {
        let Some(run_id) = entry.run_id else { return };
        for event in &entry.events {
            match event {
                Event::StepLeased { step_id, fence, .. } => {
                    self.leased
                        .insert((run_id, step_id.clone(), *fence), moment.effect);
                }
                // By design: the revoked worker kills its sandbox when it next beats, the step
                // waits for nobody.
                Event::StepRequeued {
                    step_id,
                    fence,
                    reason: RequeueReason::WorkerRevoked,
                    ..
                } => {
                    let claim = (run_id, step_id.clone(), *fence);
                    self.over(&claim);
                    self.excused.insert(claim);
                }
                Event::SecretReleased {
                    step_id,
                    fence,
                    secrets,
                    ..
                } => {
                    self.released
                        .insert((run_id, step_id.clone(), *fence), secrets.clone());
                }
                _ => {}
            }
        }
    }

    fn read_run(&self, item: &Item) -> Result<Run, sealfleet_ledger::Error> {
        RunRow::of_image(item)?.run(&self.identities)
    }

    /// A transaction adds to the sums of its project what the steps of its runs have used more: an
    /// attempt for each hold that ends. So no replay and no crash counts one twice, or loses it.
    fn check_usage(&mut self, changed: &[Changed]) {
        let (mut ended, mut used, mut summed) = (0, Sums::default(), Sums::default());
        for change in changed {
            let Some(item) = &change.after else { continue };
            if change.key.pk.contains("#USAGE#") {
                let sums = |item: &Item| {
                    let sum = |name: &str| number(item, name).and_then(|sum| sum.try_into().ok());
                    Sums::of_stored(sum)
                };
                let before = change.before.as_deref().map(sums).unwrap_or_default();
                summed = summed.plus(&sums(item).since(&before));
                continue;
            }
            if !change.key.pk.contains("#RUNS#") {
                continue;
            }
            let Ok(run) = self.read_run(item) else {
                continue;
            };
            let Some(before) = self.runs.get(&run.run_id) else {
                continue;
            };
            for sums in usage::added(before, &run).values() {
                used = used.plus(sums);
            }
            let was_held = |id: &StepId| {
                let was = before.steps.get(id);
                was.is_some_and(|was| was.state.hold().is_some())
            };
            let is_over =
                |(id, step): &(&StepId, &Step)| was_held(id) && step.state.hold().is_none();
            ended += run.steps.iter().filter(is_over).count() as u64;
        }
        if summed != used || used.attempts != ended {
            self.wrong(format!(
                "{ended} attempts ended, the steps have used {used:?} more, and the sums got {summed:?}"
            ));
        }
    }

    fn run_changed(
        &mut self,
        change: &Changed,
        entries: &[AuditEntry],
        actor: Option<&Actor>,
        ecs: &Ecs,
    ) -> Option<RunId> {
        let Some(item) = &change.after else {
            self.wrong(format!("a run was deleted: {}", change.key.sk));
            return None;
        };
        let run = match self.read_run(item) {
            Ok(run) => run,
            Err(error) => {
                self.wrong(format!("a run cannot be read: {error}"));
                return None;
            }
        };
        let run_id = run.run_id;
        let events: Vec<&Event> = entries
            .iter()
            .filter(|entry| entry.run_id == Some(run_id))
            .flat_map(|entry| &entry.events)
            .collect();
        let before = self.runs.insert(run_id, run.clone());
        if let Some(owner) = self.isolation.of_run(run_id) {
            let foreign = self.isolation.run(owner, &run, before.is_none());
            let given = events
                .iter()
                .find_map(|event| self.check_given(owner, &run, event));
            self.violations.extend(foreign.into_iter().chain(given));
        }
        let taken = before.iter().flat_map(|before| taken_back(before, &run));
        self.taken_back.extend(taken);
        self.attached.extend(
            run.steps
                .values()
                .filter_map(|step| Some(step.state.hold()?.handle.as_ref()?.as_str().to_owned())),
        );
        if let Some(before) = &before {
            self.check_forgotten(before, &run, ecs);
            self.check_lost(before, &events, actor, ecs);
            self.check_started(before, &run, actor);
        }
        let mut found = check_run(before.as_ref(), &run, &events);
        found.extend(check_due(item, &run));
        if let (Some(before), Some(subject)) =
            (&before, actor.and_then(|actor| actor.subject.as_ref()))
        {
            found.extend(check_subject(subject, before, &run));
        }
        let who = actor.map_or("-", |actor| actor.name.as_str());
        for wrong in found {
            self.wrong(format!("{run_id}, written by {who}: {wrong}"));
        }
        Some(run_id)
    }

    /// What is released to a step is what its access lists grant to its tool.
    fn check_given(&self, owner: &'static str, run: &Run, event: &Event) -> Option<String> {
        let Event::SecretReleased {
            step_id, secrets, ..
        } = event
        else {
            return None;
        };
        let step = run.steps.get(step_id)?;
        let identity = run.identity_of(step)?;
        let given = secrets.iter().map(|secret| secret.name.clone()).collect();
        let tool = step.spec.tool.as_ref();
        let wrong = self.access.check(owner, &identity, tool, &given)?;
        Some(format!("{}/{step_id}: {wrong}", run.run_id))
    }

    /// What is noted as gone has been told to stop, or never was.
    fn check_forgotten(&mut self, before: &Run, after: &Run, ecs: &Ecs) {
        for (step_id, step) in &before.steps {
            let stopping = |run: &Run| {
                let state = run.steps.get(step_id).map(|step| &step.state);
                matches!(
                    state,
                    Some(StepState::Aborted {
                        stopping: Some(_),
                        ..
                    })
                )
            };
            if !stopping(before) || stopping(after) {
                continue;
            }
            let claim = (after.run_id, step_id.clone(), step.fence);
            let of_claim = |task: &&Task| {
                task.claim()
                    .is_some_and(|(_, run, step, fence)| (run, step, fence) == claim)
            };
            if let Some(task) = ecs.live().filter(|task| !task.stopping).find(of_claim) {
                self.wrong(format!(
                    "{} is noted as gone and nobody has stopped it",
                    task.arn
                ));
            }
            self.forgotten.insert(claim);
        }
    }

    /// A step runs only with keys that were not revoked when somebody set about starting it.
    fn check_started(&mut self, before: &Run, after: &Run, actor: Option<&Actor>) {
        let began = actor.map_or(u64::MAX, |actor| actor.began);
        for (step_id, step) in &after.steps {
            let was = before.steps.get(step_id).map(|step| &step.state);
            let starts = matches!(
                (was, &step.state),
                (Some(StepState::Leased(_)), StepState::Running(_))
            );
            let Some(identity) = after.identity_of(step).filter(|_| starts) else {
                continue;
            };
            let owner = self.isolation.of_run(after.run_id);
            let revoked = self.revocations.revoked_by(owner, &identity.secrets, began);
            if let Some(revoked) = revoked {
                self.wrong(format!(
                    "{}/{step_id} starts with a key that was revoked: {revoked}",
                    after.run_id
                ));
            }
        }
    }

    /// A sandbox is called lost only if ECS does not show it alive.
    fn check_lost(&mut self, before: &Run, events: &[&Event], actor: Option<&Actor>, ecs: &Ecs) {
        let Some(actor) = actor else { return };
        for event in events {
            let Event::StepRequeued {
                step_id,
                fence,
                reason: RequeueReason::SandboxLost,
                ..
            } = event
            else {
                continue;
            };
            let claim = (before.run_id, step_id.clone(), *fence);
            let of_claim = |task: &&Task| {
                task.claim()
                    .is_some_and(|(_, run, step, fence)| (run, step, fence) == claim)
            };
            let shown =
                |task: &&Task| task.launched <= actor.began && task.shown_from <= actor.began_at;
            if let Some(task) = ecs
                .live()
                .filter(|task| !task.stopping)
                .filter(shown)
                .find(of_claim)
            {
                self.wrong(format!("{} is called lost and runs", task.arn));
            }
        }
    }

    /// A lease that runs out has run out: nobody had moved it before its end was decided.
    fn check_expired(
        &mut self,
        change: &Changed,
        entries: &[AuditEntry],
        actor: Option<&Actor>,
        moment: Moment,
    ) {
        let Some(item) = change.before.as_ref().filter(|_| change.after.is_none()) else {
            return;
        };
        let Some((run_id, (slot, step_id, fence))) = read_lease(item, &change.key.sk) else {
            return;
        };
        let expired = |event: &Event| matches!(event, Event::StepRequeued { step_id: step, reason: RequeueReason::LeaseExpired, .. } if *step == step_id);
        let told = entries
            .iter()
            .any(|entry| entry.run_id == Some(run_id) && entry.events.iter().any(expired));
        let written = self.lease_written.get(&slot).copied().unwrap_or_default();
        let seen = actor.is_none_or(|actor| written <= actor.began);
        let until = number(item, "until").unwrap_or_default();
        if told && seen && until > moment.latest_clock {
            self.wrong(format!(
                "the lease of {run_id}/{step_id}/{fence} is called expired {} ms early",
                until - moment.latest_clock
            ));
        }
    }

    fn lease_changed(&mut self, change: &Changed, moment: Moment) -> Vec<RunId> {
        let mut touched = Vec::new();
        let until = change
            .after
            .as_deref()
            .and_then(|item| number(item, "until"));
        self.lease_until
            .insert(change.key.sk.clone(), until.unwrap_or_default());
        self.lease_written
            .insert(change.key.sk.clone(), moment.effect);
        if let Some((run_id, lease)) = change
            .before
            .as_ref()
            .and_then(|item| read_lease(item, &change.key.sk))
        {
            self.leases.entry(run_id).or_default().remove(&lease);
            touched.push(run_id);
        }
        if let Some((run_id, lease)) = change
            .after
            .as_ref()
            .and_then(|item| read_lease(item, &change.key.sk))
        {
            self.leases.entry(run_id).or_default().insert(lease);
            touched.push(run_id);
        }
        touched
    }

    /// A hold never exists without a lease for its step in its slot. The fence of a lease may be
    /// behind: a claim that is repeated renumbers it last.
    fn check_leases(&mut self, run_id: RunId) {
        let live = self.runs.get(&run_id).map(live_leases).unwrap_or_default();
        let stored = self.leases.get(&run_id).cloned().unwrap_or_default();
        let has = |hold: &Lease| {
            let same = |lease: &Lease| (&lease.0, &lease.1) == (&hold.0, &hold.1);
            stored.iter().any(same)
        };
        if !live.iter().all(has) {
            self.wrong(format!(
                "the leases of {run_id} are {stored:?}, its live holds {live:?}"
            ));
        }
    }

    /// A sandbox of a claim gets secrets: their release is on record, in their versions, and none
    /// of them was revoked when the claim was written.
    pub fn answered(&mut self, claim: &Claim, secrets: &[SecretRef]) {
        let released = self.released.get(claim).cloned().unwrap_or_default();
        let same = |a: &SecretRef, b: &SecretRef| {
            (&a.name, &a.uri, &a.version) == (&b.name, &b.uri, &b.version)
        };
        if let Some(secret) = secrets
            .iter()
            .find(|secret| !released.iter().any(|released| same(released, secret)))
        {
            self.wrong(format!(
                "{claim:?} gets a secret whose release is not on record: {secret:?}"
            ));
        }
        let leased = self.leased.get(claim).copied().unwrap_or_default();
        let owner = self.isolation.of_run(claim.0);
        if let Some(revoked) = self.revocations.revoked_by(owner, secrets, leased) {
            self.wrong(format!(
                "{claim:?} gets a secret that was revoked before it was claimed: {revoked}"
            ));
        }
    }

    /// A launcher says that it is done with a claim: its task is on record, or was told to stop.
    pub fn launched_and_done(&mut self, task: &Task) {
        let known =
            self.attached.contains(&task.arn) || task.stopping || task.status == Status::Stopped;
        if !known {
            self.wrong(format!(
                "{} for {} is neither on record nor stopped by its launcher",
                task.arn, task.started_by
            ));
        }
    }

    /// A task lets its command go: its handle is on record, so whoever ends the claim can stop it.
    pub fn task_let_go(&mut self, task: &Task) {
        if !self.attached.contains(&task.arn) {
            self.wrong(format!(
                "{} lets its command go and its handle is not on record",
                task.arn
            ));
        }
        if let Some((_, run_id, step_id, fence)) = task.claim() {
            self.let_go(&(run_id, step_id, fence));
        }
    }

    /// A sandbox lets its command go.
    pub fn let_go(&mut self, claim: &Claim) {
        if self.excused.contains(claim) {
            return;
        }
        let (run_id, step_id, fence) = claim;
        let live = self.commands.entry((*run_id, step_id.clone())).or_default();
        live.insert(*fence);
        if live.len() > 1 && self.exclusive {
            let live = live.clone();
            self.wrong(format!(
                "{run_id}/{step_id}: commands of {live:?} run at once"
            ));
        }
    }

    /// A command is over.
    pub fn over(&mut self, (run_id, step_id, fence): &Claim) {
        if let Some(live) = self.commands.get_mut(&(*run_id, step_id.clone())) {
            live.remove(fence);
        }
    }

    /// A sweep has ended that nothing disturbed: what was due when it began is dealt with, but for
    /// what somebody has written since the effect `since`, and what `excused` may be late with.
    pub fn check_late(&mut self, began: i64, since: u64, excused: Option<&'static str>) {
        let until = |slot: &str| self.lease_until.get(slot).copied().unwrap_or(i64::MAX);
        let untouched = |run: &&Run| {
            let written = self.run_written.get(&run.run_id);
            written.is_none_or(|written| *written <= since)
        };
        let bound = |run: &&Run| excused.is_none() || self.isolation.of_run(run.run_id) != excused;
        let runs = self.runs.values().filter(untouched).filter(bound);
        let mut late: Vec<String> = runs
            .filter_map(|run| lateness::late(run, (began, excused.is_some()), until))
            .collect();
        late.extend(self.revocations.late(began, since, excused));
        let waiting = self.waiting.values().filter(|(entry, due)| {
            *due <= began && since == u64::MAX && Some(entry.project.as_str()) != excused
        });
        late.extend(waiting.map(|(entry, due)| {
            let seconds = (began - due) / 1000;
            format!("an audit entry has waited {seconds} s for a sweep, which left it: {entry:?}")
        }));
        self.violations.extend(late);
    }

    /// The steps whose messages are due: each with its pool's queue and the message.
    pub fn to_resend(&self, now: i64) -> Vec<(RunId, StepId, String, String)> {
        let steps = self
            .runs
            .values()
            .flat_map(|run| run.steps.iter().map(move |step| (run.run_id, step)));
        let due = steps.filter_map(|(run_id, (step_id, step))| {
            let StepState::Queued { resend_at, .. } = step.state else {
                return None;
            };
            let project = self.isolation.of_run(run_id)?;
            let queue = format!("sealfleet-{project}--{}", step.spec.pool);
            let message = QueueMessage {
                run_id,
                step_id: step_id.clone(),
                passed_on_until: None,
            };
            let body = serde_json::to_string(&message).ok()?;
            (resend_at.millis() <= now).then(|| (run_id, step_id.clone(), queue, body))
        });
        due.collect()
    }

    /// Whether a step may be told of and launched, as far as approvals go.
    fn may_go_on(&self, run_id: RunId, step_id: &StepId) -> bool {
        let run = self.runs.get(&run_id);
        let step = run.and_then(|run| run.steps.get(step_id));
        step.is_none_or(|step| self.approvals.may_go_on(run_id, (step_id, step)))
    }

    /// Whether a step waits to be claimed.
    pub fn is_queued(&self, run_id: RunId, step_id: &StepId) -> bool {
        let run = self.runs.get(&run_id);
        let step = run.and_then(|run| run.steps.get(step_id));
        step.is_some_and(|step| matches!(step.state, StepState::Queued { .. }))
    }

    /// At the end of all: the archive has the trail.
    pub fn check_archive(&mut self, archive: &Archive, now: i64) {
        match exported::check(archive, &self.recorded, now) {
            Ok(wrong) => self.violations.extend(wrong),
            Err(error) => self.wrong(format!("the archive cannot be read: {error}")),
        }
    }

    /// At the end of all: every run has ended, nothing is due, every entry is in the trail, and a
    /// lease that is left has run out, so that its slot can be taken over.
    pub fn check_end(&mut self, now: i64) {
        let mut found = self.revocations.check_end();
        for (run_id, run) in &self.runs {
            if run.steps.values().any(|step| !step.state.is_terminal()) {
                found.push(format!("{run_id} has not ended: {}", states(run)));
            } else if let Some(due) = run.due_at() {
                found.push(format!(
                    "{run_id} has ended and is due at {due}: {}",
                    states(run)
                ));
            }
        }
        for (run_id, leases) in self.leases.iter().filter(|(_, leases)| !leases.is_empty()) {
            let live = |lease: &&Lease| {
                let until = self.lease_until.get(&lease.0).copied().unwrap_or_default();
                until >= now
            };
            if let Some(lease) = leases.iter().find(live) {
                found.push(format!("a lease of {run_id} is left: {lease:?}"));
            }
        }
        found.extend(
            self.waiting
                .values()
                .map(|(entry, _)| entry)
                .chain(self.uncopied.values())
                .map(|entry| format!("an audit entry waits for ever: {entry:?}")),
        );
        self.violations.extend(found);
    }
}

/// A run's steps and where they stand.
pub fn states(run: &Run) -> String {
    let steps = run
        .steps
        .iter()
        .map(|(id, step)| format!("{id} {} fence {}", step.state.name(), step.fence));
    steps.collect::<Vec<_>>().join(", ")
}

fn read_lease(item: &Arc<Item>, slot: &str) -> Option<(RunId, Lease)> {
    let (run_id, step_id) = text(item, "step")?.split_once('/')?;
    let fence = Fence::new(number(item, "fence")?.try_into().ok()?);
    Some((
        run_id.parse().ok()?,
        (slot.to_owned(), step_id.parse().ok()?, fence),
    ))
}

/// Whether a key's time was over when it was given anew: a new one lasts a day from now.
fn is_over(before: &Item, after: Option<&Item>) -> bool {
    let expires = |item: &Item| number(item, "expires_at").unwrap_or_default();
    after.is_some_and(|after| expires(before) <= expires(after) - limits::IDEMPOTENCY_SECONDS)
}

/// Slots of holds that ended otherwise than by their holders: those may still be at work.
fn taken_back(before: &Run, after: &Run) -> Vec<(RunId, String, StepId)> {
    let held = before.steps.iter().filter_map(|(id, was)| {
        let hold = was.state.hold()?;
        let taken = matches!(
            after.steps.get(id)?.state,
            StepState::Queued { .. } | StepState::Dead { .. } | StepState::Aborted { .. }
        );
        let slot = format!("{}#{:04}", hold.holder, hold.slot);
        taken.then(|| (after.run_id, slot, id.clone()))
    });
    held.collect()
}

fn live_leases(run: &Run) -> BTreeSet<Lease> {
    let holds = run
        .steps
        .iter()
        .filter_map(|(id, step)| Some((id, step.state.hold()?)));
    holds
        .map(|(id, hold)| {
            (
                format!("{}#{:04}", hold.holder, hold.slot),
                id.clone(),
                hold.fence,
            )
        })
        .collect()
}

/// What is live is in the due index, no later than it is due. What is not live may stay there until
/// its next visit.
fn check_due(item: &Item, run: &Run) -> Option<String> {
    let stored = number(item, "due_at");
    match run.due_at() {
        Some(due) if stored.is_none_or(|stored| stored > due.millis()) => {
            Some(format!("it is due at {due} and the index says {stored:?}"))
        }
        _ => None,
    }
}

fn check_run(before: Option<&Run>, run: &Run, events: &[&Event]) -> Vec<String> {
    let mut found = Vec::new();
    let Some(before) = before else {
        if !events
            .iter()
            .any(|event| matches!(event, Event::RunEnqueued { .. }))
        {
            found.push("it was enqueued without an audit entry".to_owned());
        }
        return found;
    };
    if before.steps.keys().ne(run.steps.keys()) {
        found.push("its steps are not the same".to_owned());
    }
    for (step_id, step) in &run.steps {
        if let Some(before) = before.steps.get(step_id) {
            let of_step: Vec<&Event> = events
                .iter()
                .copied()
                .filter(|event| is_of(event, step_id))
                .collect();
            let revived = events
                .iter()
                .any(|event| matches!(event, Event::StepRetried { .. }));
            found.extend(
                check_step(before, step, &of_step, revived)
                    .err()
                    .map(|wrong| format!("{step_id}: {wrong}")),
            );
        }
    }
    let ended = |run: &Run| run.steps.values().all(|step| step.state.is_terminal());
    let told = events
        .iter()
        .filter(|event| matches!(event, Event::RunFinished { .. }))
        .count();
    if told != usize::from(ended(run) && !ended(before)) {
        found.push(format!("its end is told {told} times"));
    }
    found
}

fn check_step(before: &Step, after: &Step, events: &[&Event], revived: bool) -> Result<(), String> {
    let tells = |name: &str| {
        events
            .iter()
            .filter(|event| moved(event) == Some(name))
            .count()
    };
    let wanted = moves(&before.state, &after.state, revived)
        .ok_or_else(|| format!("it went from {:?} to {:?}", before.state, after.state))?;
    for name in MOVES {
        let found = tells(name);
        // A sandbox that was first heard of when it had ended has run all the same.
        let optional = name == "running"
            && matches!(before.state, StepState::Leased(_))
            && after.state.is_terminal();
        if found != usize::from(wanted == Some(name)) && !(optional && found == 1) {
            return Err(format!(
                "{} -> {}: `{name}` is told {found} times",
                before.state.name(),
                after.state.name()
            ));
        }
    }
    let claimed = wanted == Some("leased");
    let next = before.fence.number() + u64::from(claimed);
    // Whoever takes over the slot of a claim that never came uses up its fence.
    let waits = |step: &Step| matches!(step.state, StepState::Queued { .. });
    let voided = waits(before) && waits(after) && after.fence.number() == next + 1;
    if after.fence.number() != next && !voided {
        return Err(format!(
            "its fence went from {} to {}",
            before.fence, after.fence
        ));
    }
    match after.state.hold() {
        Some(hold) if hold.fence != after.fence => Err(format!(
            "it is held by fence {}, not {}",
            hold.fence, after.fence
        )),
        _ => Ok(()),
    }
}

/// The events that tell of a step's moves.
const MOVES: [&str; 9] = [
    "queued",
    "leased",
    "running",
    "succeeded",
    "failed",
    "requeued",
    "aborted",
    "dead",
    "retried",
];

fn moved(event: &Event) -> Option<&'static str> {
    Some(match event {
        Event::StepQueued { .. } => "queued",
        Event::StepLeased { .. } => "leased",
        Event::StepRunning { .. } => "running",
        Event::StepSucceeded { .. } => "succeeded",
        Event::StepFailed { .. } => "failed",
        Event::StepRequeued { .. } => "requeued",
        Event::StepAborted { .. } => "aborted",
        Event::StepDead { .. } => "dead",
        Event::StepRetried { .. } => "retried",
        _ => return None,
    })
}

fn is_of(event: &Event, wanted: &StepId) -> bool {
    match event {
        Event::StepQueued { step_id }
        | Event::StepLeased { step_id, .. }
        | Event::StepRunning { step_id, .. }
        | Event::StepSucceeded { step_id, .. }
        | Event::StepFailed { step_id, .. }
        | Event::StepRequeued { step_id, .. }
        | Event::StepAborted { step_id, .. }
        | Event::StepDead { step_id, .. }
        | Event::StepRetried { step_id } => step_id == wanted,
        _ => false,
    }
}

/// The event that must tell of a move, if one must; `None` for a move that may not happen.
fn moves(before: &StepState, after: &StepState, revived: bool) -> Option<Option<&'static str>> {
    use StepState::{Aborted, Blocked, Dead, Failed, Leased, Queued, Running, Succeeded, Waiting};
    Some(match (before, after) {
        (Blocked, Blocked | Waiting { .. }) => None,
        (Waiting { .. }, Waiting { .. }) | (Queued { .. }, Queued { .. }) => None,
        (Leased(before), Leased(after)) => (before.fence != after.fence).then_some("leased"),
        (Running(before), Running(after)) if before.fence == after.fence => None,
        (Succeeded { .. } | Failed { .. } | Dead { .. }, after) if before == after => None,
        (
            Aborted {
                reason,
                at,
                stopping,
            },
            Aborted {
                reason: new_reason,
                at: new_at,
                stopping: still,
            },
        ) if reason == new_reason && at == new_at && (stopping == still || still.is_none()) => None,
        (Blocked | Waiting { .. }, Queued { .. }) => Some("queued"),
        (Queued { .. }, Leased(_)) => Some("leased"),
        // Its profiles do not let it start: nothing was released to it.
        (Queued { .. }, Failed { .. }) => Some("failed"),
        (Leased(before), Running(after)) if before.fence == after.fence => Some("running"),
        (Leased(_) | Running(_), Succeeded { .. }) => Some("succeeded"),
        (Leased(_) | Running(_), Failed { .. }) => Some("failed"),
        (Leased(_) | Running(_), Queued { .. }) => Some("requeued"),
        (Queued { .. } | Leased(_) | Running(_), Dead { .. }) => Some("dead"),
        (Blocked | Waiting { .. } | Queued { .. } | Leased(_) | Running(_), Aborted { .. }) => {
            Some("aborted")
        }
        (Dead { .. }, Queued { .. } | Waiting { .. }) => Some("retried"),
        (
            Aborted {
                reason: AbortReason::DependencyFailed { .. },
                ..
            },
            Blocked,
        ) if revived => None,
        _ => return None,
    })
}

/// Who speaks of a claim changes that claim only: a stale word changes nothing.
fn check_subject(subject: &Subject, before: &Run, after: &Run) -> Option<String> {
    if subject.run_id != after.run_id {
        return Some("a word about another run changed it".to_owned());
    }
    let (old, new) = (
        before.steps.get(&subject.step_id)?,
        after.steps.get(&subject.step_id)?,
    );
    if old == new {
        return Some(format!(
            "a word about fence {} changed another step",
            subject.fence
        ));
    }
    let live = old
        .state
        .hold()
        .is_some_and(|hold| hold.fence == subject.fence);
    let stopping = matches!(old.state, StepState::Aborted { .. }) && old.fence == subject.fence;
    (!live && !stopping).then(|| {
        format!(
            "a stale word about fence {} changed it: {:?} -> {:?}",
            subject.fence, old.state, new.state
        )
    })
}
