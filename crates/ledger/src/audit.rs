//! The audit trail: entries are added and read. Nothing here changes one. Entries of runs arrive
//! from the rows of the runs (`trail`), others in the transactions that they record.
//!
//! A project's day is spread over eight partitions. All entries of one run are in the same one.
//!
//! A row holds one entry, or several that were copied together: up to `ROW_ENTRIES` of one
//! partition, made within `ROW_SPAN`. Its sort key begins with the id of its first entry, and ids
//! sort by time. So a period is a range of keys, read from `ROW_SPAN` before it, and a cursor is
//! the id of the last entry read. A page reads each partition of a day. It shows entries up to the
//! point where the shortest answer ends, because no partition can hold an unread entry before that
//! point. So a reader gets each entry once, oldest first.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{ContainmentId, EventId, Owner, ProfileRef, ProjectScope, RunId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::format;
use crate::keys;
use crate::ledger::{Ledger, expiry};
use crate::packed::{pack, unpack};
use crate::rows::{n, row, text, unwritten};
use crate::store::{Condition, Item, Key, Query, Range, Table, Write, WriteError};

/// The most rows that one page reads, no matter how few of them match. This bounds its cost.
const SCANNED: usize = 1000;
/// Rows to read from one partition in one query when most of them may not match.
const SCANNED_AT_ONCE: usize = 250;

#[derive(Clone, Debug)]
pub struct AuditFilter {
    /// Only entries of this run.
    pub run_id: Option<RunId>,
    /// Only entries by this actor, as `kind:id`, or by whoever has this id.
    pub actor: Option<String>,
    /// Only entries that are part of this containment.
    pub containment_id: Option<ContainmentId>,
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

/// Entries of one row at most.
const ROW_ENTRIES: usize = 16;
/// Milliseconds between the first and the last entry of a row at most.
pub(crate) const ROW_SPAN: i64 = 5_000;
/// Bytes of the entries of a row at most, before they are packed. A larger one has its own row.
const ROW_BYTES: usize = 64 * 1024;
/// Rows that are written at once.
const WRITTEN_AT_ONCE: usize = 16;
/// Rows that are read at once to find one entry.
const SEARCHED_AT_ONCE: usize = 50;

/// The attribute of a row that holds its packed entries.
const ENTRIES: &str = "z";

/// An entry as a row of the trail stores it. The trail is in the row's key.
#[derive(Serialize, Deserialize)]
struct EntryRow {
    id: EventId,
    /// When it was made, where the id does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    containment: Option<ContainmentId>,
    events: Vec<Event>,
}

/// The rows read from one partition.
#[derive(Default)]
struct Slice {
    entries: Vec<AuditEntry>,
    /// No unread entry is before this one. `None` when the partition was read to its end.
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
            containment_id: None,
            event: EventFilter::default(),
            from,
            to,
            after: None,
            limit,
        }
    }

    /// Whether most entries may not match.
    fn is_narrow(&self) -> bool {
        self.run_id.is_some()
            || self.actor.is_some()
            || self.containment_id.is_some()
            || self.event != EventFilter::default()
    }

    fn matches(&self, entry: &AuditEntry) -> bool {
        let within = self.from <= entry.at && entry.at <= self.to;
        let after = self.after.is_none_or(|after| entry.event_id > after);
        let run = self
            .run_id
            .is_none_or(|run_id| entry.run_id == Some(run_id));
        let actor = self
            .actor
            .as_ref()
            .is_none_or(|actor| is_by(&entry.actor, actor));
        let containment = self
            .containment_id
            .is_none_or(|containment| entry.containment_id == Some(containment));
        within
            && after
            && run
            && actor
            && containment
            && entry.events.iter().any(|event| self.event.matches(event))
    }
}

/// Whether an actor, `kind:id`, is the wanted one, of which the id may be all that is given.
fn is_by(actor: &str, wanted: &str) -> bool {
    actor == wanted || actor.split_once(':').is_some_and(|(_, id)| id == wanted)
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
    /// The write of entries of one partition into the trail, as one row. They are packed: a row of
    /// more than 1 KB costs twice as much.
    ///
    /// The key of several entries names them all. So the row of the same entries is there already,
    /// and no row stands in the way of other entries.
    fn row_write(&self, first: &AuditEntry, more: &[AuditEntry]) -> Result<Write, WriteError> {
        let mut key = partition_of(first);
        if !more.is_empty() {
            let ids = more.iter().map(|entry| entry.event_id.to_string());
            let ids: String = ids.collect();
            let hash = sha256_hex(ids.as_bytes());
            key.sk = format!("{}#{}", key.sk, hash.get(..16).unwrap_or_default());
        }
        let stored = |entry: &AuditEntry| EntryRow {
            id: entry.event_id,
            at: Some(entry.at).filter(|at| *at != entry.event_id.made_at()),
            actor: entry.actor.clone(),
            run: entry.run_id,
            containment: entry.containment_id,
            events: entry.events.clone(),
        };
        let rows: Vec<EntryRow> = std::iter::once(first).chain(more).map(stored).collect();
        let expires_at = expiry(first.at, self.trail_days);
        let attributes = [
            (ENTRIES, AttributeValue::B(Blob::new(pack(&rows)?))),
            ("expires_at", n(expires_at)),
        ];
        Ok(Write::Put {
            table: Table::Audit,
            item: row(key, attributes),
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
        let entry = AuditEntry {
            event_id,
            at,
            project: trail.to_owned(),
            actor: actor.to_owned(),
            run_id,
            containment_id: self.containment,
            events,
        };
        self.row_write(&entry, &[])
    }

    /// The write of one event in a project's trail, beside the change that it tells of.
    pub(crate) fn project_audit_write(
        &self,
        scope: &ProjectScope,
        actor: &str,
        event: Event,
        at: Timestamp,
    ) -> Result<Write, Error> {
        self.audit_write(scope.project().as_str(), actor, None, vec![event], at)
            .map_err(unwritten)
    }

    /// Makes the writes of a project with their entry in its trail. `false` if others were faster:
    /// then it has waited, as long as befits this attempt.
    pub(crate) async fn write_audited(
        &self,
        scope: &ProjectScope,
        mut writes: Vec<Write>,
        events: Vec<Event>,
        actor: &str,
        attempt: u32,
    ) -> Result<bool, Error> {
        let trail = scope.project().as_str();
        let entry = self.audit_write(trail, actor, None, events, self.now());
        writes.push(entry.map_err(unwritten)?);
        match self.store.write(writes).await {
            Ok(()) => Ok(true),
            Err(WriteError::Condition(_) | WriteError::Busy) => {
                self.back_off(attempt).await;
                Ok(false)
            }
            Err(error) => Err(unwritten(error)),
        }
    }

    /// The writes of one event in a project's trail and in the operators', beside the change that
    /// it tells of.
    pub(crate) fn audit_writes_of_operators(
        &self,
        scope: &ProjectScope,
        actor: &str,
        event: Event,
        at: Timestamp,
    ) -> Result<[Write; 2], Error> {
        let own = self.project_audit_write(scope, actor, event.clone(), at)?;
        let above = self.audit_write(OPERATOR_SCOPE, actor, None, vec![event], at);
        Ok([own, above.map_err(unwritten)?])
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
            containment_id: None,
            events,
        };
        let put = self.row_write(&entry, &[]).map_err(unwritten)?;
        self.write_if(vec![put]).await
    }

    /// Adds entries to their trails, several in a row where they belong together. Rows that are
    /// there already stay.
    ///
    /// # Errors
    /// When the tables do not answer. Some may have been added.
    pub async fn add_to_trail(&self, entries: Vec<AuditEntry>) -> Result<(), Error> {
        let mut writes = Vec::new();
        for entries in rows_of(entries) {
            if let Some((first, more)) = entries.split_first() {
                writes.push(self.row_write(first, more).map_err(unwritten)?);
            }
        }
        stream::iter(writes)
            .map(|put| self.write_if(vec![put]))
            .buffer_unordered(WRITTEN_AT_ONCE)
            .try_for_each(async |_| Ok(()))
            .await
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
        entries.retain(|entry| filter.matches(entry));
        Ok(entries)
    }

    /// Reads one entry of an owner's trail.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn audit_entry(&self, owner: &Owner, id: EventId) -> Result<AuditEntry, Error> {
        // The partition depends on the entry's run, which the caller need not know.
        let day = id.made_at().day();
        let each = (0..keys::SHARDS)
            .map(|shard| self.entry_in(keys::audit_day(owner.trail(), &day, shard), id));
        let found = try_join_all(each).await?.into_iter().flatten().next();
        found.ok_or(Error::NotFound)
    }

    /// Finds an entry in a partition: its row begins with it, or shortly before it.
    async fn entry_in(&self, pk: String, id: EventId) -> Result<Option<AuditEntry>, Error> {
        let query = Query {
            table: Table::Audit,
            pk,
            range: Range::Between(first_key(id.made_at()), last_key(id)),
            backwards: true,
            limit: SEARCHED_AT_ONCE,
            consistent: true,
            only: None,
        };
        let mut after = None;
        loop {
            let page = self.store.query(&query, after.as_deref()).await?;
            for item in page.items {
                let entries = audit_entries_of_image(item)?;
                if let Some(found) = entries.into_iter().find(|entry| entry.event_id == id) {
                    return Ok(Some(found));
                }
            }
            after = page.more_after;
            if after.is_none() {
                return Ok(None);
            }
        }
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

    /// Reads one partition for a page: as many rows beyond what the page before has shown as a page
    /// may need. The rows of `ROW_SPAN` before them are read too, however many they are.
    async fn audit_slice(&self, pk: String, filter: &AuditFilter) -> Result<Slice, Error> {
        let at_once = if filter.is_narrow() {
            SCANNED_AT_ONCE.max(filter.limit)
        } else {
            filter.limit
        };
        let made_at = filter.after.map(EventId::made_at);
        let start = made_at.map_or(filter.from, |at| at.max(filter.from));
        let is_beyond =
            |id: EventId| id.made_at() >= start && filter.after.is_none_or(|after| id > after);
        let query = Query {
            table: Table::Audit,
            pk,
            range: Range::Between(first_key(start), last_id(filter.to)),
            backwards: false,
            // One more, because the first row may be the one that the previous page ended with.
            limit: at_once.saturating_add(1),
            consistent: true,
            only: None,
        };
        let mut slice = Slice::default();
        let (mut after, mut beyond) = (None, 0);
        loop {
            let page = self.store.query(&query, after.as_deref()).await?;
            slice.rows += page.items.len();
            for item in page.items {
                let entries = audit_entries_of_image(item)?;
                beyond += usize::from(
                    entries
                        .first()
                        .is_some_and(|first| is_beyond(first.event_id)),
                );
                let matching = entries.into_iter().filter(|entry| filter.matches(entry));
                slice.entries.extend(matching);
            }
            after = page.more_after;
            slice.until = after.as_deref().map(first_of).transpose()?;
            if slice.until.is_none() || beyond >= at_once {
                return Ok(slice);
            }
        }
    }
}

/// The partition of its day that contains an entry.
#[must_use]
pub fn audit_shard_of(entry: &AuditEntry) -> u8 {
    keys::audit_shard(entry.event_id, entry.run_id)
}

/// Reads the entries of a row, as the table or its stream shows it. Never empty.
///
/// # Errors
/// When the row holds something else.
pub fn audit_entries_of_image(item: Item) -> Result<Vec<AuditEntry>, Error> {
    let unreadable = |what: &str| Error::Unreadable(format!("an audit row {what}"));
    format::check(&item)?;
    let (Some(pk), Some(sk)) = (text(&item, "pk"), text(&item, "sk")) else {
        return Err(unreadable("without a key"));
    };
    let trail = keys::trail_of_audit(pk).ok_or_else(|| unreadable("with a foreign key"))?;
    let first = first_of(sk)?;
    let packed = item.get(ENTRIES).and_then(|value| value.as_b().ok());
    let packed = packed.ok_or_else(|| unreadable("without entries"))?;
    let rows: Vec<EntryRow> = unpack(packed.as_ref())?;
    let entries: Vec<AuditEntry> = rows
        .into_iter()
        .map(|row| AuditEntry {
            event_id: row.id,
            at: row.at.unwrap_or_else(|| row.id.made_at()),
            project: trail.to_owned(),
            actor: row.actor,
            run_id: row.run,
            containment_id: row.containment,
            events: row.events,
        })
        .collect();
    let is_first = entries.first().map(|entry| entry.event_id) == Some(first);
    if !is_first || entries.iter().any(|entry| partition_of(entry).pk != pk) {
        return Err(unreadable("with entries of another"));
    }
    Ok(entries)
}

/// The partition of an entry, and the key of a row of its own.
fn partition_of(entry: &AuditEntry) -> Key {
    keys::audit_entry(&entry.project, entry.event_id, entry.run_id, entry.at)
}

/// Cuts entries into rows: those of one partition, in order, as close together as a row allows.
fn rows_of(entries: Vec<AuditEntry>) -> Vec<Vec<AuditEntry>> {
    let mut partitions: BTreeMap<String, BTreeMap<EventId, AuditEntry>> = BTreeMap::new();
    for entry in entries {
        let partition = partitions.entry(partition_of(&entry).pk).or_default();
        partition.insert(entry.event_id, entry);
    }
    let mut rows = Vec::new();
    for partition in partitions.into_values() {
        let mut row: Vec<AuditEntry> = Vec::new();
        let mut bytes = 0;
        for entry in partition.into_values() {
            let more = serde_json::to_vec(&entry.events).map_or(ROW_BYTES, |json| json.len());
            let is_near = row.first().is_none_or(|first| {
                entry.event_id.made_at().millis() - first.event_id.made_at().millis() <= ROW_SPAN
            });
            if row.len() == ROW_ENTRIES || !is_near || bytes + more > ROW_BYTES {
                rows.push(std::mem::take(&mut row));
                bytes = 0;
            }
            bytes += more;
            row.push(entry);
        }
        rows.push(row);
    }
    rows
}

/// The id of the first entry of a row, from its sort key.
fn first_of(sk: &str) -> Result<EventId, Error> {
    let id = sk.split_once('#').map_or(sk, |(id, _)| id);
    id.parse()
        .map_err(|_| Error::Unreadable("an audit row with a foreign key".to_owned()))
}

/// The smallest sort key of a row that may hold an entry of this time.
pub(crate) fn first_key(at: Timestamp) -> String {
    first_id(Timestamp::from_millis(at.millis().saturating_sub(ROW_SPAN)))
}

/// A sort key after those of all rows that begin with this entry.
fn last_key(id: EventId) -> String {
    // The letter after `#`.
    format!("{id}$")
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

/// The smallest id with this time, of whatever version: a caller may ask for any.
fn first_id(at: Timestamp) -> String {
    EventId::earliest(at).to_string()
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
