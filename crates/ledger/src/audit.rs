//! The audit trail: entries are put, in the transactions that they record, and read; nothing here changes one.
//!
//! A project's day is spread over eight partitions; all entries of one run stand in one of them. An entry's sort key is
//! its time-sortable id, so a time is a range of keys, and a cursor is simply the last id that was seen.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::credential::OPERATOR_SCOPE;
use sealfleet_domain::{EventId, Owner, ProjectScope, RunId, Timestamp};

use crate::rows::{from_item, to_item, unwritten};
use crate::store::{Condition, Item, Query, Range, Table, Write, WriteError};
use crate::{Error, Ledger, keys};

/// Milliseconds of a day.
const DAY: i64 = 24 * 3600 * 1000;

/// Which entries to read.
#[derive(Clone, Debug)]
pub struct AuditFilter {
    /// Only those of this run.
    pub run_id: Option<RunId>,
    /// From this moment.
    pub from: Timestamp,
    /// Up to this moment.
    pub to: Timestamp,
    /// Only those after this one.
    pub after: Option<EventId>,
    /// Entries at most.
    pub limit: usize,
}

impl Ledger {
    /// The write of an entry, to be made with what it records.
    pub(crate) fn audit_write(
        &self,
        trail: &str,
        actor: &str,
        run_id: Option<RunId>,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Write, WriteError> {
        let event_id = EventId::new(self.ids.as_ref(), at);
        entry_write(&AuditEntry { event_id, at, project: trail.to_owned(), actor: actor.to_owned(), run_id, events })
    }

    /// Records what happened outside at `at` and is known there by the name that `event_id` is made of. `false`: it is on
    /// record already.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn record_once(
        &self,
        owner: &Owner,
        (event_id, at): (EventId, Timestamp),
        actor: &str,
        events: Vec<Event>,
    ) -> Result<bool, Error> {
        let project = match owner {
            Owner::System => OPERATOR_SCOPE.to_owned(),
            Owner::Project(scope) => scope.project().to_string(),
        };
        let entry = AuditEntry { event_id, at, project, actor: actor.to_owned(), run_id: None, events };
        match self.store.write(vec![entry_write(&entry).map_err(unwritten)?]).await {
            Ok(()) => Ok(true),
            Err(WriteError::Condition(_)) => Ok(false),
            Err(error) => Err(unwritten(error)),
        }
    }

    /// The write of an entry of the operators' own trail.
    pub(crate) fn operators_audit_write(
        &self,
        actor: &str,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Write, WriteError> {
        self.audit_write(OPERATOR_SCOPE, actor, None, events, at)
    }

    /// Entries of a project's trail, oldest first.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn audit(&self, scope: &ProjectScope, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Error> {
        let trail = scope.project().as_str();
        let mut found: Vec<AuditEntry> = Vec::new();
        let start = filter.after.map_or(filter.from, |after| after.made_at().max(filter.from));
        let mut day = start.millis().div_euclid(DAY);
        while day <= filter.to.millis().div_euclid(DAY) && found.len() < filter.limit {
            let name = Timestamp::from_millis(day * DAY).day();
            let shards: Vec<u8> = match filter.run_id {
                Some(run_id) => vec![keys::run_audit_shard(run_id)],
                None => (0..keys::SHARDS).collect(),
            };
            let mut of_day = Vec::new();
            for shard in shards {
                of_day.extend(self.audit_shard(keys::audit_day(trail, &name, shard), filter).await?);
            }
            of_day.sort_by_key(|entry| entry.event_id);
            found.extend(of_day);
            day += 1;
        }
        found.truncate(filter.limit);
        Ok(found)
    }

    /// Up to `limit` matching entries of one partition: enough, whatever the others hold.
    async fn audit_shard(&self, pk: String, filter: &AuditFilter) -> Result<Vec<AuditEntry>, Error> {
        let from = filter.after.map_or_else(|| first_id(filter.from), |after| after.to_string());
        let query = Query {
            table: Table::Audit,
            pk,
            range: Range::Between(from, last_id(filter.to)),
            backwards: false,
            limit: filter.limit.saturating_add(1),
            consistent: true,
            only: filter.run_id.map(|run_id| ("run_id", AttributeValue::S(run_id.to_string()))),
        };
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let rows = self.store.query(&query, after.as_deref()).await.map_err(Error::Unavailable)?;
            for item in rows.items {
                let entry = audit_entry_of_image(item)?;
                if filter.after != Some(entry.event_id) {
                    found.push(entry);
                }
            }
            after = rows.more_after;
            if after.is_none() || found.len() >= filter.limit {
                return Ok(found);
            }
        }
    }
}

fn entry_write(entry: &AuditEntry) -> Result<Write, WriteError> {
    let mut item = to_item(entry, keys::audit_entry(&entry.project, entry.event_id, entry.run_id, entry.at))?;
    // Both stand in the key, and a row of over 1 KB costs twice as much to write.
    item.remove("event_id");
    item.remove("project");
    Ok(Write::Put { table: Table::Audit, item, only_if: Condition::Absent })
}

/// The partition of its day that an entry stands in.
#[must_use]
pub fn audit_shard_of(entry: &AuditEntry) -> u8 {
    keys::audit_shard(entry.event_id, entry.run_id)
}

/// Reads an entry from its row, as the table or its stream shows it.
///
/// # Errors
/// When the row is no entry.
pub fn audit_entry_of_image(mut item: Item) -> Result<AuditEntry, Error> {
    let text = |item: &Item, name: &str| item.get(name).and_then(|value| value.as_s().ok().cloned());
    let (Some(pk), Some(sk)) = (text(&item, "pk"), text(&item, "sk")) else {
        return Err(Error::Unreadable("an audit row without a key".to_owned()));
    };
    let trail =
        keys::trail_of_audit(&pk).ok_or_else(|| Error::Unreadable("an audit row with a foreign key".to_owned()))?;
    item.insert("project".to_owned(), AttributeValue::S(trail.to_owned()));
    item.insert("event_id".to_owned(), AttributeValue::S(sk));
    from_item(item)
}

/// The smallest id of a moment.
fn first_id(at: Timestamp) -> String {
    id_of(at, 0x7000, 0x8000_0000_0000_0000)
}

/// The largest id of a moment.
fn last_id(at: Timestamp) -> String {
    id_of(at, 0x7fff, 0xbfff_ffff_ffff_ffff)
}

fn id_of(at: Timestamp, version: u64, rest: u64) -> String {
    let millis = u64::try_from(at.millis()).unwrap_or_default();
    let uuid = (u128::from(millis & 0xffff_ffff_ffff) << 80) | (u128::from(version) << 64) | u128::from(rest);
    // The layout of a UUID of version 7: 48 bits of time, 16 of version and chance, 64 of variant and chance.
    let hex = format!("{uuid:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
    format!("evt_{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_range_of_ids() {
        let at = Timestamp::from_millis(1_769_846_400_123);
        for text in [first_id(at), last_id(at)] {
            assert_eq!(text.parse::<EventId>().map(EventId::made_at), Ok(at), "{text}");
        }
        assert!(first_id(at) < last_id(at) && last_id(at) < first_id(Timestamp::from_millis(at.millis() + 1)));
    }
}
