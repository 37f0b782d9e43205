//! Every state change has its event, in its own transaction: each call that writes is looked at
//! before it is made.
//!
//! A call that changes a row of the ledger puts an audit entry with a state change in it, into the
//! trail or, for what only takes away, into the outbox. What may be written without one stands in
//! [`Exempt`], each with its reason.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::catalogue::Class;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::run::{Run, StepState};
use sealfleet_ledger::store::{Condition, Item, Key, Query, Rows, Store, Table, Write, WriteError};
use sealfleet_ledger::{audit_entry_of_image, audit_entry_of_outbox};

/// What is written without an audit entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exempt {
    /// A heartbeat moves the end of a lease. Who holds it, and what was released to it, is on
    /// record since its claim, and every few seconds of every step would be noise.
    LeaseRenewal,
    /// `sweep` notes when it looks at a run again and how often a message was sent; a launcher
    /// notes what its task is stopped by. No step moves by it: that what was claimed has started is
    /// an event of its own.
    RunLookedAt,
    /// How far a fan-out has come: what it did is on record with each run that it aborted.
    FanOutProgress,
    /// A task definition that ECS has registered: a memory, which may be lost. Starts with it are
    /// on record.
    TaskDefinition,
    /// That a task which is nobody's any more has ended: a memory of two days, so that its usage is
    /// counted once.
    EndedTask,
    /// How many requests a project has left, by the second. What its limits are has an event of its
    /// own.
    RateCounted,
    /// An entry of the outbox that could not be moved is due again later. It says the same.
    OutboxPostponed,
}

/// A store that takes no state change without its event.
pub struct Audited {
    store: Arc<dyn Store>,
    seen: Mutex<Seen>,
}

/// What was written so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Names of all events.
    pub events: BTreeSet<String>,
    /// Entries in all.
    pub entries: usize,
    /// What was written without one.
    pub exempt: BTreeSet<Exempt>,
}

impl Audited {
    pub fn over(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            seen: Mutex::default(),
        }
    }

    /// What was written so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// What is wrong with a call.
    async fn unaudited(&self, writes: &[Write]) -> Option<String> {
        let entries: Vec<AuditEntry> = writes.iter().filter_map(entry_of).collect();
        let moves = writes.iter().any(is_entry) && writes.iter().any(leaves_outbox);
        let tells = entries
            .iter()
            .flat_map(|entry| &entry.events)
            .any(|event| event.class() == Class::StateChange);
        for write in writes {
            if is_entry(write) || waits(write) || moves && leaves_outbox(write) || tells {
                continue;
            }
            if !self.would_happen(write).await {
                continue;
            }
            match self.exempt(write).await {
                Some(exempt) => drop(self.seen.lock().unwrap().exempt.insert(exempt)),
                None => {
                    return Some(format!(
                        "a state change without its event: {write:?} of {writes:?}"
                    ));
                }
            }
        }
        if let Some(entry) = entries.iter().find(|entry| entry.events.is_empty()) {
            return Some(format!("an entry of nothing: {entry:?}"));
        }
        None
    }

    /// Whether what the write is conditional on is true. One that is refused changes nothing.
    async fn would_happen(&self, write: &Write) -> bool {
        let Write::Put {
            table: Table::Ledger,
            item,
            only_if,
        } = write
        else {
            return true;
        };
        let (Some(pk), Some(sk)) = (text(item, "pk"), text(item, "sk")) else {
            return true;
        };
        let before = self
            .store
            .get(Table::Ledger, &Key { pk, sk })
            .await
            .unwrap();
        match only_if {
            Condition::Absent => before.is_none(),
            Condition::Is(pairs) => before.is_some_and(|before| {
                pairs
                    .iter()
                    .all(|(name, value)| before.get(*name) == Some(value))
            }),
            Condition::AbsentOr(..) | Condition::AbsentOrBelow(..) | Condition::Between(..) => true,
        }
    }

    /// Why a write may be made without an entry.
    async fn exempt(&self, write: &Write) -> Option<Exempt> {
        if let Write::Add { key, attribute, .. } = write {
            return (key.pk.ends_with("#RATES") && *attribute == "earned_at")
                .then_some(Exempt::RateCounted);
        }
        let Write::Put {
            table: Table::Ledger,
            item,
            only_if,
        } = write
        else {
            return None;
        };
        let key = Key {
            pk: text(item, "pk")?,
            sk: text(item, "sk")?,
        };
        let before = || async { self.store.get(Table::Ledger, &key).await.unwrap() };
        if key.pk.contains("#LEASES#") {
            let before = before().await?;
            let same = ["step", "fence", "identity"]
                .iter()
                .all(|name| before.get(*name) == item.get(*name));
            return same.then_some(Exempt::LeaseRenewal);
        }
        if key.pk.contains("#RUNS#") {
            let (before, after) = (run(before().await?), run(item.clone()));
            return (settled(before) == settled(after)).then_some(Exempt::RunLookedAt);
        }
        if key.pk.ends_with("#FAN_OUTS") {
            let unfinished = item.get("open") == Some(&AttributeValue::Bool(true));
            return (unfinished && before().await.is_some()).then_some(Exempt::FanOutProgress);
        }
        if key.pk.ends_with("#OUTBOX") {
            let mut before = before().await?;
            before.insert("due_at".to_owned(), item.get("due_at")?.clone());
            return (before == *item).then_some(Exempt::OutboxPostponed);
        }
        if key.pk.ends_with("#RATES") {
            let limits = |item: &Item| {
                item.get("limits")
                    .filter(|limits| !limits.is_null())
                    .cloned()
            };
            let before = before().await.as_ref().and_then(limits);
            return (before == limits(item)).then_some(Exempt::RateCounted);
        }
        let new = *only_if == Condition::Absent;
        match key.pk.rsplit('#').next() {
            Some("TASK_DEFINITIONS") if new => Some(Exempt::TaskDefinition),
            _ if new && key.pk.contains("#ENDED_TASKS#") => Some(Exempt::EndedTask),
            _ => None,
        }
    }
}

#[async_trait]
impl Store for Audited {
    async fn get(&self, table: Table, key: &Key) -> Result<Option<Item>, String> {
        self.store.get(table, key).await
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, String> {
        self.store.query(query, after).await
    }

    async fn due(&self, shard: &str, until: i64, limit: usize) -> Result<Vec<Key>, String> {
        self.store.due(shard, until, limit).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        if let Some(wrong) = self.unaudited(&writes).await {
            panic!("{wrong}");
        }
        let entries: Vec<AuditEntry> = writes.iter().filter_map(entry_of).collect();
        self.store.write(writes).await?;
        let mut seen = self.seen.lock().unwrap();
        seen.entries += entries.len();
        seen.events.extend(
            entries
                .iter()
                .flat_map(|entry| &entry.events)
                .map(Event::name),
        );
        Ok(())
    }
}

/// Whether a write puts an entry into the trail.
pub fn is_entry(write: &Write) -> bool {
    matches!(
        write,
        Write::Put {
            table: Table::Audit,
            ..
        }
    )
}

/// Whether a write puts a new entry into the outbox.
fn waits(write: &Write) -> bool {
    matches!(write, Write::Put { table: Table::Ledger, item, only_if: Condition::Absent }
        if text(item, "pk").is_some_and(|pk| pk.ends_with("#OUTBOX")))
}

fn leaves_outbox(write: &Write) -> bool {
    matches!(write, Write::Delete { key, .. } if key.pk.ends_with("#OUTBOX"))
}

/// The entry that a write puts.
fn entry_of(write: &Write) -> Option<AuditEntry> {
    let Write::Put { item, .. } = write else {
        return None;
    };
    if is_entry(write) {
        return Some(audit_entry_of_image(item.clone()).unwrap());
    }
    waits(write).then(|| audit_entry_of_outbox(item.clone()).unwrap())
}

fn text(item: &Item, name: &str) -> Option<String> {
    item.get(name)?.as_s().ok().cloned()
}

fn run(mut item: Item) -> Run {
    let id = item.get("sk").unwrap().clone();
    item.insert("run_id".to_owned(), id);
    serde_dynamo::aws_sdk_dynamodb_1::from_item(item).unwrap()
}

/// A run without what is looked at, sent and stopped by.
fn settled(mut run: Run) -> Run {
    for step in run.steps.values_mut() {
        match &mut step.state {
            StepState::Queued {
                since,
                resend_at,
                resent,
            } => (*resend_at, *resent) = (*since, 0),
            StepState::Leased(hold) | StepState::Running(hold) => {
                (hold.due, hold.handle) = (hold.since, None)
            }
            _ => {}
        }
    }
    run
}

mod tests {
    use super::*;

    fn put(pk: &str) -> Write {
        let item = [("pk", pk), ("sk", "x")]
            .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())));
        Write::Put {
            table: Table::Ledger,
            item: Item::from(item),
            only_if: Condition::Absent,
        }
    }

    #[tokio::test]
    async fn what_is_in_no_list_is_not_exempt() {
        let (store, _) = sealfleet_test_dynamo::start().await.unwrap();
        let audited = Audited::over(store);
        for pk in [
            "PRJ#a#TOKENS",
            "PRJ#a#PROFILES",
            "PRJ#a#RUNS#1",
            "PRJ#a#FAN_OUTS",
            "PRJ#a#LEASES#1",
            "PRJ#a#NEW",
        ] {
            assert!(audited.unaudited(&[put(pk)]).await.is_some(), "{pk}");
        }
        let key = Key {
            pk: "PRJ#a#OUTBOX".to_owned(),
            sk: "x".to_owned(),
        };
        let lost = Write::Delete {
            key,
            only_if: Condition::Absent,
        };
        assert!(
            audited.unaudited(&[lost]).await.is_some(),
            "an entry that leaves the outbox for nowhere"
        );
        assert!(
            audited
                .unaudited(&[put("PRJ#a#TASK_DEFINITIONS")])
                .await
                .is_none()
        );
    }
}
