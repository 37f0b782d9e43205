//! Every state change has its event, in its own transaction: the judge of every write.
//!
//! A transaction that changes a row of the ledger puts an audit entry with a state change in it,
//! into the trail or, for what only takes away, into the outbox. [`Exempt`] lists the writes that
//! need none, each with its reason.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::EventId;
use sealfleet_domain::audit::catalogue::Class;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::run::{Fence, Run, StepState};
use sealfleet_ledger::store::{Item, Table};
use sealfleet_ledger::{
    Added, Identities, RunRow, audit_entries_of_image, audit_entry_of_outbox, identity_of_image,
};
use sealfleet_test_fakes::ecs::Ecs;
use sealfleet_test_fakes::memory::Changed;
use sealfleet_test_fakes::stage::{Actor, Judge, Moment};

/// What is written without an audit entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exempt {
    /// A heartbeat moves the end of a lease. Who holds it, and what was released to it, is on
    /// record since its claim, and every few seconds of every step would be noise.
    LeaseRenewal,
    /// A lease, before its hold and after its end. It releases nothing: the run's row does, with
    /// its entry.
    LeaseOfClaim,
    /// An identity is stored before the run that names it.
    Identity,
    /// An idempotency key names a run before the run is stored.
    RunNamed,
    /// `sweep` notes when it looks at a run again and how often a message was sent; a launcher
    /// notes what its task is stopped by. No step moves by it: that what was claimed has started is
    /// an event of its own.
    RunLookedAt,
    /// How far a fan-out has come: what it did is on record with each run that it aborted.
    FanOutProgress,
    /// How far a containment has come: what it stopped is on record with each part.
    ContainmentProgress,
    /// A task definition that ECS has registered: a memory, which may be lost. Starts with it are
    /// on record.
    TaskDefinition,
    /// That a task which is nobody's any more has ended: a memory of two days, so that its usage is
    /// counted once.
    EndedTask,
    /// What a sandbox told of its end: it counts with its host's word, by the step's own event.
    ToldEnd,
    /// How many requests a project has left, by the second, and when a worker was seen last. What
    /// its limits are has an event of its own.
    RateCounted,
    /// An entry of the outbox that could not be moved is due again later. It says the same.
    OutboxPostponed,
}

/// A judge that takes no state change without its event.
#[derive(Default)]
pub struct Audited {
    pub seen: Seen,
}

/// The writes so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Names of all events.
    pub events: BTreeSet<String>,
    pub entries: usize,
    /// Entries that wait in the outbox.
    pub waiting: usize,
    /// Kinds of writes that were made without an entry.
    pub exempt: BTreeSet<Exempt>,
    identities: Identities,
    /// Entries in rows of runs. They come to the trail later.
    in_runs: BTreeSet<EventId>,
}

impl Audited {
    /// A judge of tables that have these rows.
    pub fn over(rows: &[(Table, Item)]) -> Self {
        let mut judge = Self::default();
        for (_, item) in rows {
            let pk = item["pk"].as_s().unwrap();
            if let Some((_, hash)) = pk.split_once("#IDENTITY#") {
                let identity = Arc::new(identity_of_image(item).unwrap());
                judge.seen.identities.insert(hash.to_owned(), identity);
            }
        }
        judge
    }
}

impl Judge for Audited {
    fn committed(&mut self, changed: &[Changed], _: Option<&Actor>, _: Moment, _: &Ecs) {
        if let Err(wrong) = self.seen.take(changed) {
            panic!("{wrong}");
        }
    }
}

impl Seen {
    fn note_identities(&mut self, changed: &[Changed]) {
        for change in changed
            .iter()
            .filter(|change| change.key.pk.contains("#IDENTITY#"))
        {
            let hash = change.key.pk.rsplit('#').next().unwrap().to_owned();
            let identity = identity_of_image(change.after.as_deref().unwrap()).unwrap();
            self.identities.insert(hash, Arc::new(identity));
        }
    }

    fn take(&mut self, changed: &[Changed]) -> Result<(), String> {
        for change in changed {
            let counts = change.key.pk.ends_with("#RATES");
            let format = change.after.as_ref().map(|row| row.get("f"));
            if !counts
                && format.is_some_and(|format| format != Some(&AttributeValue::N("1".to_owned())))
            {
                return Err(format!("a row without its format: {}", change.key.pk));
            }
        }
        self.note_identities(changed);
        let mut entries: Vec<AuditEntry> = changed.iter().flat_map(entries_of).collect();
        entries.retain(|entry| !self.in_runs.contains(&entry.event_id));
        for change in changed
            .iter()
            .filter(|change| change.key.pk.contains("#RUNS#"))
        {
            let Some(after) = &change.after else { continue };
            let added = Added::between(change.before.as_deref(), after)
                .and_then(|added| added.entries(&self.identities))
                .map_err(|error| error.to_string())?;
            self.in_runs
                .extend(added.iter().map(|entry| entry.event_id));
            entries.extend(added);
        }
        if let Some(entry) = entries.iter().find(|entry| entry.events.is_empty()) {
            return Err(format!("an entry of nothing: {entry:?}"));
        }
        let arrives = changed.iter().any(is_recorded);
        let events = || entries.iter().flat_map(|entry| &entry.events);
        let tells = events().any(|event| event.class() == Class::StateChange);
        for change in changed
            .iter()
            .filter(|change| change.before != change.after)
        {
            let moves = arrives && leaves_outbox(change);
            if is_recorded(change) || waits(change) || moves || tells {
                continue;
            }
            let exempt = exempt(change, &self.identities)
                .ok_or_else(|| format!("a state change without its event: {change:?}"))?;
            self.exempt.insert(exempt);
        }
        self.entries += entries.len();
        self.events.extend(events().map(Event::name));
        self.waiting += changed.iter().filter(|change| waits(change)).count();
        self.waiting -= changed
            .iter()
            .filter(|change| leaves_outbox(change))
            .count();
        Ok(())
    }
}

/// Why a change may be made without an entry.
fn exempt(change: &Changed, identities: &Identities) -> Option<Exempt> {
    let pk = change.key.pk.as_str();
    if pk.contains("#LEASES#") && change.after.is_none() {
        return Some(Exempt::LeaseOfClaim);
    }
    let after = change.after.as_deref()?;
    let before = change.before.as_deref();
    let same = |before: &Item, names: &[&str]| {
        names
            .iter()
            .all(|name| before.get(*name) == after.get(*name))
    };
    if pk.ends_with("#RATES") {
        let limits = |item: &Item| {
            let limits = item.get("limits").filter(|limits| !limits.is_null());
            limits.cloned()
        };
        return (before.and_then(limits) == limits(after)).then_some(Exempt::RateCounted);
    }
    if pk.contains("#LEASES#") && before.is_none_or(|before| !same(before, &["fence"])) {
        return Some(Exempt::LeaseOfClaim);
    }
    if pk.contains("#TOLD#") {
        return Some(Exempt::ToldEnd);
    }
    if pk.contains("#FAN_OUT_LANES#") {
        return Some(Exempt::FanOutProgress);
    }
    let Some(before) = before else {
        return match pk.rsplit('#').next() {
            _ if pk.contains("#IDENTITY#") => Some(Exempt::Identity),
            _ if pk.contains("#IDEMPOTENCY#") => Some(Exempt::RunNamed),
            Some("TASK_DEFINITIONS") => Some(Exempt::TaskDefinition),
            _ => pk.contains("#ENDED_TASKS#").then_some(Exempt::EndedTask),
        };
    };
    if pk.contains("#LEASES#") {
        let renewed = same(before, &["step", "fence", "identity"]);
        return renewed.then_some(Exempt::LeaseRenewal);
    }
    if pk.contains("#RUNS#") {
        let same = settled(run(before, identities)) == settled(run(after, identities));
        return same.then_some(Exempt::RunLookedAt);
    }
    if pk.ends_with("#FAN_OUTS") {
        let open = after.get("open") == Some(&AttributeValue::Bool(true));
        return open.then_some(Exempt::FanOutProgress);
    }
    if pk.ends_with("#CONTAINMENTS") {
        let open = after.get("open") == Some(&AttributeValue::Bool(true));
        return open.then_some(Exempt::ContainmentProgress);
    }
    if pk.ends_with("#OUTBOX") {
        let without_due = |item: &Item| {
            let mut item = item.clone();
            item.remove("due_at");
            item
        };
        let put_off = without_due(before) == without_due(after);
        return put_off.then_some(Exempt::OutboxPostponed);
    }
    None
}

/// Whether an entry is put into the trail.
fn is_recorded(change: &Changed) -> bool {
    change.table == Table::Audit && change.after.is_some()
}

/// Whether a new entry is put into the outbox.
fn waits(change: &Changed) -> bool {
    change.key.pk.ends_with("#OUTBOX") && change.before.is_none()
}

fn leaves_outbox(change: &Changed) -> bool {
    change.key.pk.ends_with("#OUTBOX") && change.after.is_none()
}

/// The entries that a change puts into trail or outbox.
fn entries_of(change: &Changed) -> Vec<AuditEntry> {
    let Some(item) = change.after.as_deref().cloned() else {
        return Vec::new();
    };
    if is_recorded(change) {
        return audit_entries_of_image(item).unwrap();
    }
    let waits = waits(change).then(|| audit_entry_of_outbox(item).unwrap());
    waits.into_iter().collect()
}

fn run(item: &Item, identities: &Identities) -> Run {
    RunRow::of_image(item).unwrap().run(identities).unwrap()
}

/// A run without what is looked at, sent and stopped by, without the place of its output, and
/// without fences that were used up.
fn settled(mut run: Run) -> Run {
    for step in run.steps.values_mut() {
        step.output = None;
        match &mut step.state {
            StepState::Queued {
                since,
                resend_at,
                resent,
            } => {
                (*resend_at, *resent) = (*since, 0);
                step.fence = Fence::default();
            }
            StepState::Leased(hold) | StepState::Running(hold) => {
                (hold.due, hold.handle, hold.size) = (hold.since, None, None)
            }
            _ => {}
        }
    }
    run
}

#[test]
fn a_write_that_no_list_names_is_not_exempt() {
    let format = AttributeValue::N("1".to_owned());
    let item = || Arc::new(Item::from([("f".to_owned(), format.clone())]));
    let change = |pk: &str, before, after| Changed {
        table: Table::Ledger,
        key: sealfleet_ledger::store::Key {
            pk: pk.to_owned(),
            sk: "x".to_owned(),
        },
        before,
        after,
    };
    for pk in [
        "PRJ#a#TOKENS",
        "PRJ#a#PROFILES",
        "PRJ#a#RUNS#1",
        "PRJ#a#FAN_OUTS",
        "PRJ#a#CONTAINMENTS",
        "PRJ#a#CONTAINED#con_1",
        "PRJ#a#NEW",
    ] {
        let new = change(pk, None, Some(item()));
        assert!(Seen::default().take(&[new]).is_err(), "{pk}");
    }
    let lost = change("PRJ#a#OUTBOX", Some(item()), None);
    let taken = Seen::default().take(&[lost]);
    assert!(
        taken.is_err(),
        "an entry that leaves the outbox for nowhere"
    );
    let definition = change("PRJ#a#TASK_DEFINITIONS", None, Some(item()));
    assert!(Seen::default().take(&[definition]).is_ok());
}
