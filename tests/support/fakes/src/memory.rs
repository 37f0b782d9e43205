//! The tables in memory, with DynamoDB's meaning.
//!
//! What the ledger relies on is kept exactly: a transaction happens wholly or not at all,
//! conditions fail by position, sort keys are ordered by the bytes of their UTF-8, a page counts
//! what it reads and not what it shows, and the due index follows the table late. `tests/memory.rs`
//! holds this store and a DynamoDB to the same answers.
//!
//! [`Tables`] is the plain state machine; [`Memory`] is the port over it, with a hook for what may
//! go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_ledger::store::{
    Condition, Consistency, DueRow, DueRows, Edit, Item, Key, Query, Range, ReadError, Rows, Store,
    Table, Test, Write, WriteError,
};

/// Actions of one transaction at most ("Amazon DynamoDB Transactions: How it works").
const TRANSACTION_ACTIONS: usize = 100;
/// Bytes of one transaction at most.
const TRANSACTION_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of an item at most.
const ITEM_BYTES: usize = 400 * 1024;
/// Bytes that a query reads at most for one page.
const PAGE_BYTES: usize = 1024 * 1024;

/// One row that a transaction changed.
#[derive(Clone, Debug)]
pub struct Changed {
    pub table: Table,
    pub key: Key,
    pub before: Option<Arc<Item>>,
    /// What stands there now.
    pub after: Option<Arc<Item>>,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another transaction is at the same rows: nothing is written.
    Busy,
    /// There is no answer and nothing happened.
    Unavailable,
    /// It happened and there is no answer.
    ReplyLost,
}

/// A call, for a hook that decides what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// One row is read.
    Get,
    /// A range is read.
    Query,
    /// The due index is read.
    Due,
    Write,
}

/// Decides what goes wrong.
pub type Faults = Arc<dyn Fn(Call) -> Option<Fault> + Send + Sync>;

type Partition = BTreeMap<String, Arc<Item>>;

/// An entry of the due index: shard, time, partition key, sort key.
type DueEntry = (String, i64, String, String);

/// A change of the due index that may not show yet.
#[derive(Clone, Debug)]
struct IndexChange {
    gone: Option<DueEntry>,
    new: Option<DueEntry>,
}

/// Both tables and the due index.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    ledger: BTreeMap<String, Partition>,
    audit: BTreeMap<String, Partition>,
    due: BTreeSet<DueEntry>,
    unsettled: VecDeque<IndexChange>,
    /// Each row of the ledger as it was before its newest write.
    older: BTreeMap<Key, Option<Arc<Item>>>,
    /// Writes are made whatever their conditions say: a store that no ledger can rely on.
    pub ignores_conditions: bool,
}

impl Tables {
    pub fn get(&self, table: Table, key: &Key) -> Option<Arc<Item>> {
        self.table(table).get(&key.pk)?.get(&key.sk).cloned()
    }

    /// A row as it was before its newest write: what a read that is not strong may answer.
    pub fn get_older(&self, table: Table, key: &Key) -> Option<Arc<Item>> {
        match self.older.get(key) {
            Some(older) if table == Table::Ledger => older.clone(),
            _ => self.get(table, key),
        }
    }

    /// How many rows the audit table has.
    pub fn audit_rows(&self) -> usize {
        self.audit.values().map(BTreeMap::len).sum()
    }

    /// The keys of all partitions of the ledger that end like this.
    pub fn partitions(&self, end: &str) -> Vec<String> {
        let partitions = self.ledger.keys().filter(|pk| pk.ends_with(end));
        partitions.cloned().collect()
    }

    /// All rows of both tables.
    pub fn rows(&self) -> Vec<(Table, Item)> {
        let of = |table| {
            let rows = self.table(table).values().flat_map(BTreeMap::values);
            rows.map(move |item| (table, item.as_ref().clone()))
        };
        of(Table::Ledger).chain(of(Table::Audit)).collect()
    }

    /// One page of a query.
    pub fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, String> {
        check_query(query, after)?;
        let nothing = Partition::new();
        let partition = self.table(query.table).get(&query.pk).unwrap_or(&nothing);
        let in_range = |sk: &str| match &query.range {
            Range::All => true,
            Range::Prefix(prefix) => sk.starts_with(prefix.as_str()),
            Range::Between(from, to) => from.as_str() <= sk && sk <= to.as_str(),
        };
        let beyond = |sk: &str| match after {
            None => true,
            Some(after) if query.backwards => sk < after,
            Some(after) => sk > after,
        };
        let wanted = |(sk, _): &(&String, &Arc<Item>)| in_range(sk) && beyond(sk);
        if query.backwards {
            Ok(page(query, partition.iter().rev().filter(wanted)))
        } else {
            Ok(page(query, partition.iter().filter(wanted)))
        }
    }

    /// Rows of the due index up to `until`, as far as it has followed the table.
    pub fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, String> {
        if limit == 0 {
            return Err(invalid("Limit must be at least 1"));
        }
        let entry = |at, pk: &str, sk: &str| (shard.to_owned(), at, pk.to_owned(), sk.to_owned());
        let start = after.map_or_else(
            || Bound::Included(entry(i64::MIN, "", "")),
            |after| Bound::Excluded(entry(after.at, &after.key.pk, &after.key.sk)),
        );
        let rows: Vec<DueRow> = self
            .due
            .range((start, Bound::Unbounded))
            .take_while(|entry| entry.0 == shard && entry.1 <= until)
            .take(limit)
            .map(|(_, at, pk, sk)| DueRow {
                at: *at,
                key: Key {
                    pk: pk.clone(),
                    sk: sk.clone(),
                },
            })
            .collect();
        // A page that its limit has ended may be the last one without knowing it.
        let more_after = rows.last().filter(|_| rows.len() == limit).cloned();
        Ok(DueRows { rows, more_after })
    }

    /// Lets the due index follow the table, but for its newest `behind` changes.
    pub fn settle(&mut self, behind: usize) {
        while self.unsettled.len() > behind {
            let Some(change) = self.unsettled.pop_front() else {
                return;
            };
            if let Some(gone) = change.gone {
                self.due.remove(&gone);
            }
            self.due.extend(change.new);
        }
    }

    /// Loses what the index has not settled yet.
    pub fn forget_unsettled(&mut self) {
        self.unsettled.retain_mut(|change| {
            change.new = None;
            change.gone.is_some()
        });
    }

    /// Makes all writes, or none, and tells what they changed. The due index does not show it
    /// before [`Self::settle`].
    pub fn write(&mut self, writes: Vec<Write>) -> Result<Vec<Changed>, WriteError> {
        check_writes(&writes).map_err(WriteError::Refused)?;
        let failed: Vec<usize> = writes
            .iter()
            .enumerate()
            .filter(|(_, write)| !self.holds(write))
            .map(|(at, _)| at)
            .collect();
        if !failed.is_empty() && !self.ignores_conditions {
            return Err(WriteError::Condition(failed));
        }
        for write in &writes {
            self.check_update(write).map_err(WriteError::Refused)?;
        }
        Ok(writes.into_iter().map(|write| self.make(write)).collect())
    }

    fn table(&self, table: Table) -> &BTreeMap<String, Partition> {
        match table {
            Table::Ledger => &self.ledger,
            Table::Audit => &self.audit,
        }
    }

    fn holds(&self, write: &Write) -> bool {
        let (table, key) = write.target();
        let row = key.and_then(|key| self.get(table, &key));
        condition_holds(write.condition(), row.as_deref())
    }

    /// What an update relies on must be there, and the row must not grow beyond its limit.
    fn check_update(&self, write: &Write) -> Result<(), String> {
        let Write::Update { key, edits, .. } = write else {
            return Ok(());
        };
        let row = self.get(Table::Ledger, key);
        let row = row.map_or_else(|| item_of(key), |row| row.as_ref().clone());
        for (name, edit) in edits {
            let fits = match edit {
                Edit::Set(_) | Edit::Remove => true,
                Edit::Append(more) => {
                    more.is_l() && row.get(name).is_some_and(AttributeValue::is_l)
                }
                Edit::Increase(_) => row.get(name).is_some_and(AttributeValue::is_n),
                Edit::Add(_) => row.get(name).is_none_or(AttributeValue::is_n),
            };
            if !fits {
                return Err(invalid(
                    "an operand in the update has an incorrect data type",
                ));
            }
        }
        check_item(Table::Ledger, &edited(row, edits.clone())).map(drop)
    }

    fn make(&mut self, write: Write) -> Changed {
        let (table, key) = write.target();
        let key = key.unwrap_or_else(|| Key {
            pk: String::new(),
            sk: String::new(),
        });
        let row = || {
            let row = self.get(Table::Ledger, &key);
            row.map_or_else(|| item_of(&key), |row| row.as_ref().clone())
        };
        let after = match write {
            Write::Put { item, .. } => Some(Arc::new(item)),
            Write::Update { edits, .. } => Some(Arc::new(edited(row(), edits))),
            Write::Delete { .. } => None,
        };
        let rows = match table {
            Table::Ledger => &mut self.ledger,
            Table::Audit => &mut self.audit,
        };
        let partition = rows.entry(key.pk.clone()).or_default();
        let before = match &after {
            Some(item) => partition.insert(key.sk.clone(), Arc::clone(item)),
            None => partition.remove(&key.sk),
        };
        if table == Table::Ledger {
            self.older.insert(key.clone(), before.clone());
            let gone = before.as_deref().and_then(|item| due_entry(item, &key));
            let new = after.as_deref().and_then(|item| due_entry(item, &key));
            if gone != new {
                self.unsettled.push_back(IndexChange { gone, new });
            }
        }
        Changed {
            table,
            key,
            before,
            after,
        }
    }
}

/// The in-memory tables as the ledger's port.
#[derive(Clone, Default)]
pub struct Memory {
    tables: Arc<Mutex<Tables>>,
    faults: Option<Faults>,
}

impl Memory {
    /// Empty tables, of which no call fails and whose index is never late.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same tables, with calls that fail as `faults` decides.
    pub fn with_faults(&self, faults: Faults) -> Self {
        Self {
            tables: Arc::clone(&self.tables),
            faults: Some(faults),
        }
    }

    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        self.faults.as_ref().and_then(|faults| faults(call))
    }

    /// A read either answers or does not: which of the two ways it failed makes no difference.
    fn read<T>(
        &self,
        call: Call,
        read: impl FnOnce(&mut Tables) -> Result<T, String>,
    ) -> Result<T, ReadError> {
        match self.fault(call) {
            Some(_) => Err(ReadError::Unavailable(no_answer())),
            None => read(&mut self.tables()).map_err(ReadError::Refused),
        }
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(
        &self,
        table: Table,
        key: &Key,
        _: Consistency,
    ) -> Result<Option<Item>, ReadError> {
        self.read(Call::Get, |tables| {
            Ok(tables.get(table, key).map(|item| item.as_ref().clone()))
        })
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError> {
        self.read(Call::Query, |tables| tables.query(query, after))
    }

    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, ReadError> {
        self.read(Call::Due, |tables| {
            tables.settle(0);
            tables.due(shard, until, after, limit)
        })
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        let fault = self.fault(Call::Write);
        write_with(&mut self.tables(), writes, fault).0
    }
}

/// Makes writes of which `fault` goes wrong: what the writer is told, and what changed all the
/// same.
pub fn write_with(
    tables: &mut Tables,
    writes: Vec<Write>,
    fault: Option<Fault>,
) -> (Result<(), WriteError>, Vec<Changed>) {
    let made = match fault {
        Some(Fault::Busy) => return (Err(WriteError::Busy), Vec::new()),
        Some(Fault::Unavailable) => return (Err(WriteError::Unavailable(no_answer())), Vec::new()),
        Some(Fault::ReplyLost) | None => tables.write(writes),
    };
    let lost = fault == Some(Fault::ReplyLost);
    match made {
        Ok(changed) if lost => (Err(WriteError::Unavailable(no_answer())), changed),
        Ok(changed) => (Ok(()), changed),
        Err(_) if lost => (Err(WriteError::Unavailable(no_answer())), Vec::new()),
        Err(error) => (Err(error), Vec::new()),
    }
}

/// What a call without an answer is told.
pub fn no_answer() -> String {
    "the table did not answer".to_owned()
}

fn invalid(what: &str) -> String {
    format!("ValidationException: {what}")
}

/// A row's text attribute.
pub fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// A row's whole number.
pub fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn item_of(key: &Key) -> Item {
    let text = |text: &String| AttributeValue::S(text.clone());
    Item::from([
        ("pk".to_owned(), text(&key.pk)),
        ("sk".to_owned(), text(&key.sk)),
    ])
}

/// A row after an update.
fn edited(mut row: Item, edits: Vec<(String, Edit)>) -> Item {
    for (name, edit) in edits {
        match edit {
            Edit::Set(value) => drop(row.insert(name, value)),
            Edit::Remove => drop(row.remove(&name)),
            Edit::Append(more) => {
                let mut list = row
                    .get(&name)
                    .and_then(|value| value.as_l().ok().cloned())
                    .unwrap_or_default();
                list.extend(more.as_l().cloned().unwrap_or_default());
                row.insert(name, AttributeValue::L(list));
            }
            Edit::Increase(by) | Edit::Add(by) => {
                let sum = number(&row, &name).unwrap_or_default().saturating_add(by);
                row.insert(name, AttributeValue::N(sum.to_string()));
            }
        }
    }
    row
}

/// The index is sparse: a row without both attributes is not in it.
fn due_entry(item: &Item, key: &Key) -> Option<DueEntry> {
    Some((
        text(item, "due_shard")?.to_owned(),
        number(item, "due_at")?,
        key.pk.clone(),
        key.sk.clone(),
    ))
}

fn page<'a>(query: &Query, rows: impl Iterator<Item = (&'a String, &'a Arc<Item>)>) -> Rows {
    let mut found = Rows::default();
    let mut last: Option<&String> = None;
    let mut bytes = 0;
    for (read, (sk, item)) in rows.enumerate() {
        bytes += item_bytes(item);
        if bytes > PAGE_BYTES && read > 0 {
            found.more_after = last.cloned();
            return found;
        }
        if query
            .only
            .as_ref()
            .is_none_or(|(name, any)| any.iter().any(|value| has(item, name, value)))
        {
            found.items.push(item.as_ref().clone());
        }
        last = Some(sk);
        // A page that its limit has ended may be the last one without knowing it.
        if read + 1 == query.limit {
            found.more_after = last.cloned();
            return found;
        }
    }
    found
}

fn check_query(query: &Query, after: Option<&str>) -> Result<(), String> {
    if query.limit == 0 {
        return Err(invalid("Limit must be at least 1"));
    }
    if query.pk.is_empty() || after == Some("") {
        return Err(invalid("a key attribute cannot be an empty string"));
    }
    match &query.range {
        Range::Between(from, to) if from > to => Err(invalid("BETWEEN needs its bounds in order")),
        _ => Ok(()),
    }
}

fn check_writes(writes: &[Write]) -> Result<(), String> {
    if writes.len() > TRANSACTION_ACTIONS {
        return Err(invalid("a transaction has 100 actions at most"));
    }
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for write in writes {
        if let Write::Put { table, item, .. } = write {
            bytes += check_item(*table, item)?;
        }
        let (table, key) = write.target();
        let only_if = write.condition();
        let key = key.filter(|key| !key.pk.is_empty() && !key.sk.is_empty());
        let key =
            key.ok_or_else(|| invalid("a row needs its two keys, as text that is not empty"))?;
        if matches!(only_if, Condition::Is(tests) if tests.is_empty())
            || matches!(only_if, Condition::All(tests) if tests.is_empty())
        {
            return Err(invalid("an expression cannot be empty"));
        }
        if !seen.insert((table == Table::Audit, key.pk, key.sk)) {
            return Err(invalid(
                "a transaction has one action at most for each item",
            ));
        }
    }
    if writes.len() > 1 && bytes > TRANSACTION_BYTES {
        return Err(invalid("a transaction has 4 MB at most"));
    }
    Ok(())
}

fn check_item(table: Table, item: &Item) -> Result<usize, String> {
    let bytes = item_bytes(item);
    if bytes > ITEM_BYTES {
        return Err(invalid("an item has 400 KB at most"));
    }
    if table == Table::Ledger {
        let shard = item
            .get("due_shard")
            .is_none_or(|value| value.as_s().is_ok_and(|text| !text.is_empty()));
        let at = item
            .get("due_at")
            .is_none_or(|value| value.as_n().is_ok_and(|n| n.parse::<i64>().is_ok()));
        if !shard || !at {
            return Err(invalid("an index key has another type than its index"));
        }
    }
    Ok(bytes)
}

fn condition_holds(condition: &Condition, row: Option<&Item>) -> bool {
    match (condition, row) {
        (Condition::Absent | Condition::AbsentOr(..) | Condition::AbsentOrBelow(..), None) => true,
        (Condition::Absent, Some(_)) | (Condition::Is(_) | Condition::Between(..), None) => false,
        (Condition::All(tests), None) => tests.iter().all(|(_, test)| *test == Test::Missing),
        (Condition::AbsentOr(name, value), Some(row)) => has(row, name, value),
        (Condition::AbsentOrBelow(name, most), Some(row)) => {
            let found = row.get(*name).and_then(|value| value.as_n().ok());
            found.is_some_and(|found| compare(found, &most.to_string()).is_lt())
        }
        (Condition::Between(name, least, most), Some(row)) => {
            let found = row.get(*name).and_then(|value| value.as_n().ok());
            found.is_some_and(|found| {
                compare(found, &least.to_string()).is_ge()
                    && compare(found, &most.to_string()).is_le()
            })
        }
        (Condition::Is(pairs), Some(row)) => {
            pairs.iter().all(|(name, value)| has(row, name, value))
        }
        (Condition::All(tests), Some(row)) => tests.iter().all(|(name, test)| match test {
            Test::Is(value) => has(row, name, value),
            Test::AtMost(most) => {
                let found = row.get(name).and_then(|value| value.as_n().ok());
                found.is_some_and(|found| compare(found, &most.to_string()).is_le())
            }
            Test::AtLeast(least) => {
                let found = row.get(name).and_then(|value| value.as_n().ok());
                found.is_some_and(|found| compare(found, &least.to_string()).is_ge())
            }
            Test::Missing => !row.contains_key(name),
        }),
    }
}

fn has(item: &Item, name: &str, value: &AttributeValue) -> bool {
    match (item.get(name), value) {
        (Some(AttributeValue::N(found)), AttributeValue::N(wanted)) => {
            compare(found, wanted).is_eq()
        }
        (Some(found), wanted) => found == wanted,
        (None, _) => false,
    }
}

/// Numbers are compared by value: `1` is `1.0`.
fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    if let (Ok(a), Ok(b)) = (a.parse::<i128>(), b.parse::<i128>()) {
        return a.cmp(&b);
    }
    let float = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    float(a).total_cmp(&float(b))
}

/// An item's size ("DynamoDB item sizes and formats"), near enough for the limits.
pub fn item_bytes(item: &Item) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value_bytes(value))
        .sum()
}

fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.len() / 2 + 2,
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(|number| number.len() / 2 + 2).sum(),
        AttributeValue::L(values) => {
            3 + values
                .iter()
                .map(|value| value_bytes(value) + 1)
                .sum::<usize>()
        }
        AttributeValue::M(map) => {
            3 + map
                .iter()
                .map(|(name, value)| name.len() + value_bytes(value) + 1)
                .sum::<usize>()
        }
        _ => 1,
    }
}
