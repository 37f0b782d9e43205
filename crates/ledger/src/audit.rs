//! The audit trail: entries are added and read. Nothing here changes one. Entries of runs arrive
//! from the rows of the runs (`trail`), others in the transactions that they record.
//!
//! A project's day is spread over eight partitions. All entries of one run are in the same one. An
//! entry's sort key is its id, which sorts by time. So a period is a range of keys, and a cursor is
//! the id of the last entry read. A page queries each partition of a day once. It shows entries up
//! to the point where the shortest answer ends, because no partition can hold an unread entry
//! before that point. So a reader gets each entry once, oldest first.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{EventId, Owner, ProfileRef, RunId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys;
use crate::ledger::{Ledger, expiry};
use crate::packed::{pack, unpack};
use crate::rows::{from_item, n, to_item, unwritten};
use crate::store::{Condition, Item, Key, Query, Range, Table, Write, WriteError};

/// The most rows that one page reads, no matter how few of them match. This bounds its cost.
const SCANNED: usize = 1000;
/// Rows to read from one partition in one query when most of them may not match.
const SCANNED_AT_ONCE: usize = 250;

#[derive(Clone, Debug)]
pub struct AuditFilter {
    /// Only entries of this run.
    pub run_id: Option<RunId>,
    /// Only entries by this actor, as `kind:id`.
    pub actor: Option<String>,
    /// Only entries with an event that matches.
    pub event: EventFilter,
    /// Start, inclusive.
    pub from: Timestamp,
    /// End, inclusive.
    pub to: Timestamp,
    /// Only entries after this one.
    pub after: Option<EventId>,
    /// The most entries to return.
    pub limit: usize,
}

/// Which events match. An event must meet every condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Names of events. Empty: all names.
    pub types: BTreeSet<String>,
    /// A profile that the event names.
    pub profile: Option<ProfileRef>,
    /// A key that the event names.
    pub key: Option<String>,
}

/// A page of entries.
#[derive(Clone, Debug, Default)]
pub struct AuditPage {
    /// Entries, oldest first. The list may be empty although more follow.
    pub entries: Vec<AuditEntry>,
    /// The value of `after` for the next page, if there may be one.
    pub more_after: Option<EventId>,
}

/// The attribute of a row that holds the packed events.
const EVENTS: &str = "z";

/// A row of the trail, beside its keys and its events.
#[derive(Serialize, Deserialize)]
struct EntryRow {
    at: Timestamp,
    actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_id: Option<RunId>,
}

/// The rows read from one partition.
struct Slice {
    entries: Vec<AuditEntry>,
    /// The last entry read. `None` when the partition was read to its end.
    until: Option<EventId>,
    rows: usize,
}

impl AuditFilter {
    /// All entries between two moments, `limit` at a time.
    #[must_use]
    pub fn between(from: Timestamp, to: Timestamp, limit: usize) -> Self {
        Self {
            run_id: None,
            actor: None,
            event: EventFilter::default(),
            from,
            to,
            after: None,
            limit,
        }
    }

    /// Whether most entries may not match.
    fn is_narrow(&self) -> bool {
        self.run_id.is_some() || self.actor.is_some() || self.event != EventFilter::default()
    }

    fn matches(&self, entry: &AuditEntry) -> bool {
        let after = self.after.is_none_or(|after| entry.event_id > after);
        let run = self
            .run_id
            .is_none_or(|run_id| entry.run_id == Some(run_id));
        let actor = self
            .actor
            .as_ref()
            .is_none_or(|actor| entry.actor == *actor);
        after && run && actor && entry.events.iter().any(|event| self.event.matches(event))
    }
}

impl EventFilter {
    fn matches(&self, event: &Event) -> bool {
        if !self.types.is_empty() && !self.types.contains(&event.name()) {
            return false;
        }
        if self.profile.is_none() && self.key.is_none() {
            return true;
        }
        let subjects = event.subjects();
        self.profile
            .as_ref()
            .is_none_or(|profile| subjects.profiles.contains(profile))
            && self
                .key
                .as_ref()
                .is_none_or(|key| subjects.keys.contains(key))
    }
}

impl Ledger {
    /// The write of an entry into the trail. Its events are packed: a row of more than 1 KB costs
    /// twice as much.
    fn entry_write(&self, entry: &AuditEntry) -> Result<Write, WriteError> {
        let key = keys::audit_entry(&entry.project, entry.event_id, entry.run_id, entry.at);
        let row = EntryRow {
            at: entry.at,
            actor: entry.actor.clone(),
            run_id: entry.run_id,
        };
        let mut item = to_item(&row, key)?;
        let events = Blob::new(pack(&entry.events)?);
        item.insert(EVENTS.to_owned(), AttributeValue::B(events));
        let expires_at = n(expiry(entry.at, self.trail_days));
        item.insert("expires_at".to_owned(), expires_at);
        Ok(Write::Put {
            table: Table::Audit,
            item,
            only_if: Condition::Absent,
        })
    }

    /// The write of an audit entry, for the transaction that it records.
    pub(crate) fn audit_write(
        &self,
        trail: &str,
        actor: &str,
        run_id: Option<RunId>,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Write, WriteError> {
        let event_id = EventId::new(self.ids.as_ref(), at);
        self.entry_write(&AuditEntry {
            event_id,
            at,
            project: trail.to_owned(),
            actor: actor.to_owned(),
            run_id,
            events,
        })
    }

    /// Records an external event of the time `at`. `event_id` is derived from the event's name in
    /// the other system, so recording it again returns `false` and writes nothing.
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
        let project = owner.trail().to_owned();
        let entry = AuditEntry {
            event_id,
            at,
            project,
            actor: actor.to_owned(),
            run_id: None,
            events,
        };
        self.add_entry(&entry).await
    }

    /// Adds an entry to its trail. `false` when it is there already.
    pub(crate) async fn add_entry(&self, entry: &AuditEntry) -> Result<bool, Error> {
        let put = self.entry_write(entry).map_err(unwritten)?;
        self.write_if(vec![put]).await
    }

    /// The write of an entry in the operators' own trail.
    pub(crate) fn operators_audit_write(
        &self,
        actor: &str,
        events: Vec<Event>,
        at: Timestamp,
    ) -> Result<Write, WriteError> {
        self.audit_write(OPERATOR_SCOPE, actor, None, events, at)
    }

    /// A page of an owner's trail, oldest first. It may be short or empty although more entries
    /// follow, because it ends when it has read `SCANNED` rows.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn audit(&self, owner: &Owner, filter: &AuditFilter) -> Result<AuditPage, Error> {
        let start = filter
            .after
            .map_or(filter.from, |after| beyond(after).max(filter.from));
        let last = filter.to.day_number();
        let of_run = self.own_entries(owner, filter).await?;
        let mut page = AuditPage::default();
        let mut scanned = 0;
        for day in start.day_number()..=last {
            let mut slices = self.audit_of_day(owner, day, filter).await?;
            let of_day = of_run.iter().filter(|entry| entry.at.day_number() == day);
            slices.push(Slice {
                entries: of_day.cloned().collect(),
                until: None,
                rows: 0,
            });
            scanned += slices.iter().map(|slice| slice.rows).sum::<usize>();
            // An unread entry of one partition may precede entries that others returned.
            let horizon = slices.iter().filter_map(|slice| slice.until).min();
            let mut of_day: Vec<AuditEntry> =
                slices.into_iter().flat_map(|slice| slice.entries).collect();
            of_day.retain(|entry| horizon.is_none_or(|horizon| entry.event_id <= horizon));
            of_day.sort_by_key(|entry| entry.event_id);
            of_day.dedup_by_key(|entry| entry.event_id);
            page.entries.extend(of_day);
            let more = horizon.is_some() || day < last;
            if page.entries.len() > filter.limit || (page.entries.len() == filter.limit && more) {
                page.entries.truncate(filter.limit);
                page.more_after = page.entries.last().map(|entry| entry.event_id);
                return Ok(page);
            }
            if horizon.is_some() {
                page.more_after = horizon;
                return Ok(page);
            }
            if scanned >= SCANNED && day < last {
                page.more_after = last_id(Timestamp::from_millis(
                    Timestamp::of_day(day + 1).millis() - 1,
                ))
                .parse()
                .ok();
                return Ok(page);
            }
        }
        Ok(page)
    }

    /// The entries of one run that match, from its own row: the trail has them a second later.
    async fn own_entries(
        &self,
        owner: &Owner,
        filter: &AuditFilter,
    ) -> Result<Vec<AuditEntry>, Error> {
        let (Owner::Project(scope), Some(run_id)) = (owner, filter.run_id) else {
            return Ok(Vec::new());
        };
        let mut entries = self.entries_of_run(scope, run_id).await?;
        entries.retain(|entry| {
            filter.from <= entry.at && entry.at <= filter.to && filter.matches(entry)
        });
        Ok(entries)
    }

    /// Reads one entry of an owner's trail.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn audit_entry(&self, owner: &Owner, id: EventId) -> Result<AuditEntry, Error> {
        // The partition depends on the entry's run, which the caller need not know.
        let day = id.made_at().day();
        let rows = (0..keys::SHARDS).map(async |shard| {
            let key = Key {
                pk: keys::audit_day(owner.trail(), &day, shard),
                sk: id.to_string(),
            };
            self.store
                .get(Table::Audit, &key)
                .await
                .map_err(Error::Unavailable)
        });
        let found = try_join_all(rows).await?.into_iter().flatten().next();
        audit_entry_of_image(found.ok_or(Error::NotFound)?)
    }

    async fn audit_of_day(
        &self,
        owner: &Owner,
        day: i64,
        filter: &AuditFilter,
    ) -> Result<Vec<Slice>, Error> {
        let name = Timestamp::of_day(day).day();
        let shards = match filter.run_id {
            Some(run_id) => keys::run_audit_shard(run_id)..keys::run_audit_shard(run_id) + 1,
            None => 0..keys::SHARDS,
        };
        try_join_all(
            shards.map(|shard| {
                self.audit_slice(keys::audit_day(owner.trail(), &name, shard), filter)
            }),
        )
        .await
    }

    /// Reads one partition for a page, by one query.
    async fn audit_slice(&self, pk: String, filter: &AuditFilter) -> Result<Slice, Error> {
        let at_once = if filter.is_narrow() {
            SCANNED_AT_ONCE.max(filter.limit)
        } else {
            filter.limit
        };
        let from = filter
            .after
            .map(|after| after.to_string())
            .max(Some(first_id(filter.from)))
            .unwrap_or_default();
        let query = Query {
            table: Table::Audit,
            pk,
            range: Range::Between(from, last_id(filter.to)),
            backwards: false,
            // One more, because the first row may be the one that the previous page ended with.
            limit: at_once.saturating_add(1),
            consistent: true,
            only: None,
        };
        let rows = self
            .store
            .query(&query, None)
            .await
            .map_err(Error::Unavailable)?;
        let until = rows.more_after.map(|sk| sk.parse()).transpose();
        let until =
            until.map_err(|_| Error::Unreadable("an audit row with a foreign key".to_owned()))?;
        let read = rows.items.len();
        let entries = rows
            .items
            .into_iter()
            .map(audit_entry_of_image)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Slice {
            entries: entries
                .into_iter()
                .filter(|entry| filter.matches(entry))
                .collect(),
            until,
            rows: read,
        })
    }
}

/// The partition of its day that contains an entry.
#[must_use]
pub fn audit_shard_of(entry: &AuditEntry) -> u8 {
    keys::audit_shard(entry.event_id, entry.run_id)
}

/// Reads an entry from its row, as the table or its stream shows it.
///
/// # Errors
/// When the row is not an entry.
pub fn audit_entry_of_image(mut item: Item) -> Result<AuditEntry, Error> {
    let text =
        |item: &Item, name: &str| item.get(name).and_then(|value| value.as_s().ok().cloned());
    let (Some(pk), Some(sk)) = (text(&item, "pk"), text(&item, "sk")) else {
        return Err(Error::Unreadable("an audit row without a key".to_owned()));
    };
    let trail = keys::trail_of_audit(&pk)
        .ok_or_else(|| Error::Unreadable("an audit row with a foreign key".to_owned()))?;
    let event_id = sk
        .parse()
        .map_err(|_| Error::Unreadable("an audit row with a foreign key".to_owned()))?;
    let events = item
        .remove(EVENTS)
        .and_then(|value| value.as_b().ok().cloned())
        .ok_or_else(|| Error::Unreadable("an audit row without events".to_owned()))?;
    let project = trail.to_owned();
    let row: EntryRow = from_item(item)?;
    Ok(AuditEntry {
        event_id,
        at: row.at,
        project,
        actor: row.actor,
        run_id: row.run_id,
        events: unpack(events.as_ref())?,
    })
}

/// The earliest time at which an entry after this one can exist.
fn beyond(after: EventId) -> Timestamp {
    let at = after.made_at();
    if after.to_string() == last_id(at) {
        Timestamp::from_millis(at.millis().saturating_add(1))
    } else {
        at
    }
}

/// The smallest id with this time.
pub(crate) fn first_id(at: Timestamp) -> String {
    id_of(at, 0x7000, 0x8000_0000_0000_0000)
}

/// The largest id with this time.
pub(crate) fn last_id(at: Timestamp) -> String {
    id_of(at, 0x7fff, 0xbfff_ffff_ffff_ffff)
}

fn id_of(at: Timestamp, version: u64, rest: u64) -> String {
    let millis = u64::try_from(at.millis()).unwrap_or_default();
    let uuid = (u128::from(millis & 0xffff_ffff_ffff) << 80)
        | (u128::from(version) << 64)
        | u128::from(rest);
    // The layout of a UUID of version 7: 48 bits of time, 16 of version and randomness, 64 of
    // variant and randomness.
    let hex = format!("{uuid:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
    format!(
        "evt_{}-{}-{}-{}-{}",
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_range_of_ids() {
        let at = Timestamp::from_millis(1_769_846_400_123);
        for text in [first_id(at), last_id(at)] {
            assert_eq!(
                text.parse::<EventId>().map(EventId::made_at),
                Ok(at),
                "{text}"
            );
        }
        assert!(
            first_id(at) < last_id(at)
                && last_id(at) < first_id(Timestamp::from_millis(at.millis() + 1))
        );
    }
}
