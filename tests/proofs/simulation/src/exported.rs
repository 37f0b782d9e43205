//! What must hold of the archive at the end: it has exactly the events of the trail, each under its
//! project and as it was written, and its digests vouch for all of it.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_archive::objects::ObjectName;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::{EventId, Timestamp};
use serde_json::{Value, json};

use crate::archive::Archive;

/// What is wrong with an archive of these entries.
pub fn check(
    archive: &Archive,
    recorded: &BTreeMap<EventId, AuditEntry>,
    now: i64,
) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    let mut found: BTreeSet<(EventId, usize)> = BTreeSet::new();
    for (object, event) in archive.events()? {
        let told = event.get("unmapped").unwrap_or(&Value::Null);
        let id = told.get("event_id").and_then(Value::as_str);
        let id = id.and_then(|id| id.parse::<EventId>().ok());
        let index = told.get("index").and_then(Value::as_u64);
        let index = usize::try_from(index.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let entry = id.and_then(|id| recorded.get(&id));
        let written = entry.and_then(|entry| as_exported(entry, index));
        let folder = ObjectName::parse(object).map(|name| name.project);
        if written.as_ref() != Some(told) || folder != entry.map(|entry| entry.project.clone()) {
            wrong.push(format!("{object} has {told}, the trail has {written:?}"));
        }
        found.extend(id.map(|id| (id, index)));
    }
    for (id, entry) in recorded {
        let missing = (0..entry.events.len()).find(|index| !found.contains(&(*id, *index)));
        if let Some(index) = missing {
            wrong.push(format!("event {index} is not in the archive: {entry:?}"));
        }
    }
    let verified = archive.verified(Timestamp::from_millis(now));
    if !verified.faults.is_empty() || verified.set_aside > 0 || verified.not_digested_yet > 0 {
        wrong.push(format!("the archive does not verify: {verified:?}"));
    }
    Ok(wrong)
}

/// An event as the archive is to have it.
fn as_exported(entry: &AuditEntry, index: usize) -> Option<Value> {
    let mut exported = json!({
        "event_id": entry.event_id,
        "index": index,
        "at": entry.at,
        "project": entry.project,
        "actor": entry.actor,
        "event": entry.events.get(index)?,
    });
    let run = entry.run_id.map(|id| ("run_id", json!(id)));
    let containment = entry.containment_id.map(|id| ("containment_id", json!(id)));
    let parts = run.into_iter().chain(containment);
    let parts = parts.map(|(name, id)| (name.to_owned(), id));
    exported.as_object_mut()?.extend(parts);
    Some(exported)
}
