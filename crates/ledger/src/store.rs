//! The port to the tables: a few operations, with conditions as data.
//!
//! It is small on purpose and holds only what the protocols need. So another store (in memory, for
//! simulations) can be held to the same behaviour.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

pub type Item = HashMap<String, AttributeValue>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Ledger,
    /// The audit trail. Its rows are only added, never changed.
    Audit,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Partition key. Starts with the project.
    pub pk: String,
    pub sk: String,
}

/// What must be true of a row for its write to happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The row does not exist.
    Absent,
    /// The row does not exist, or this attribute has this value.
    AbsentOr(&'static str, AttributeValue),
    /// The row does not exist, or this numeric attribute is below this number.
    AbsentOrBelow(&'static str, i64),
    /// The row's attributes have these values.
    Is(Vec<(&'static str, AttributeValue)>),
    /// The row's numeric attribute is in this range, both ends included.
    Between(&'static str, i64, i64),
    /// All of these hold for the row's attributes. A row that does not exist has none. Not empty.
    All(Vec<(String, Test)>),
}

/// What must be true of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It has this value.
    Is(AttributeValue),
    /// It is a number that is not above this one.
    AtMost(i64),
    /// It is a number that is not below this one.
    AtLeast(i64),
    /// The row does not have it.
    Missing,
}

/// A change of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    Set(AttributeValue),
    Remove,
    /// Adds the elements of a list at the end of the attribute, which is a list.
    Append(AttributeValue),
    /// Adds to the attribute, which is a number.
    Increase(i64),
    /// The same, where the attribute counts as zero if it is absent.
    Add(i64),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Puts a whole row.
    Put {
        table: Table,
        /// The row, including its `pk` and `sk`.
        item: Item,
        only_if: Condition,
    },
    /// Changes attributes of one row of the ledger, and leaves the others as they are. Updates of
    /// different attributes, and additions, do not conflict. Creates the row if it does not exist.
    /// If the answer of an addition is lost, a retry may add twice.
    Update {
        key: Key,
        /// Each attribute once.
        edits: Vec<(String, Edit)>,
        only_if: Condition,
    },
    /// Deletes a row of the ledger.
    Delete { key: Key, only_if: Condition },
}

impl Write {
    /// The table and the row that it is about. `None` for a row without text keys.
    #[must_use]
    pub fn target(&self) -> (Table, Option<Key>) {
        let text = |item: &Item, name: &str| item.get(name)?.as_s().ok().cloned();
        match self {
            Self::Put { table, item, .. } => {
                let key = text(item, "pk").zip(text(item, "sk"));
                (*table, key.map(|(pk, sk)| Key { pk, sk }))
            }
            Self::Update { key, .. } | Self::Delete { key, .. } => {
                (Table::Ledger, Some(key.clone()))
            }
        }
    }

    /// What must hold for it to happen.
    #[must_use]
    pub const fn condition(&self) -> &Condition {
        match self {
            Self::Put { only_if, .. }
            | Self::Update { only_if, .. }
            | Self::Delete { only_if, .. } => only_if,
        }
    }
}

/// Why the writes failed. None of them happened, except as noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The conditions of the writes at these positions did not hold.
    Condition(Vec<usize>),
    /// Another transaction was changing the same rows.
    Busy,
    /// A row would be larger than the table allows.
    TooLarge,
    /// The table did not answer, or not in time. The writes may have happened.
    Unavailable(String),
    /// The table refused, and would refuse the same writes again.
    Refused(String),
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The table did not answer, or not in time.
    Unavailable(String),
    /// The table refused, and would refuse the same read again.
    Refused(String),
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(detail) => Self::Unavailable(detail),
            ReadError::Refused(detail) => Self::Refused(detail),
        }
    }
}

/// A range of rows in one partition.
#[derive(Clone, Debug)]
pub struct Query {
    pub table: Table,
    pub pk: String,
    pub range: Range,
    /// Descending order of sort keys: newest first.
    pub backwards: bool,
    /// The most rows to read.
    pub limit: usize,
    /// See all writes that were acknowledged before.
    pub consistent: bool,
    /// Return only rows whose attribute has one of these values. The others still count towards
    /// `limit`.
    pub only: Option<(&'static str, Vec<AttributeValue>)>,
}

/// Which sort keys to read.
#[derive(Clone, Debug)]
pub enum Range {
    All,
    /// Sort keys with this prefix.
    Prefix(String),
    /// From the first to the second, both included.
    Between(String, String),
}

#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub items: Vec<Item>,
    /// The sort key after which the next page starts, if there may be one.
    pub more_after: Option<String>,
}

/// A row of the due index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueRow {
    /// When it is due, in milliseconds.
    pub at: i64,
    /// The row that is due.
    pub key: Key,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueRows {
    pub rows: Vec<DueRow>,
    /// The row after which the next page starts, if there may be one.
    pub more_after: Option<DueRow>,
}

/// How current a read of one row is (DynamoDB's "read consistency").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// It sees all writes that were acknowledged before.
    Strong,
    /// It may miss the newest writes, and costs half as much.
    Eventual,
}

#[async_trait]
pub trait Store: Send + Sync {
    /// Reads one row.
    async fn get(
        &self,
        table: Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, ReadError>;
    /// Reads rows of one partition that come after `after`.
    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError>;
    /// Reads rows of the due index up to `until`, in milliseconds, earliest first, that come after
    /// `after`.
    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, ReadError>;
    /// Makes all writes or none.
    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError>;
}

/// Sums the capacity that DynamoDB reports as consumed.
#[derive(Debug, Default)]
pub struct Meter {
    write_milliunits: AtomicU64,
    read_milliunits: AtomicU64,
}

impl Meter {
    /// Adds the consumption of one call, in capacity units.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "units are small and not negative"
    )]
    pub fn add(&self, write_units: f64, read_units: f64) {
        self.write_milliunits
            .fetch_add((write_units * 1000.0) as u64, Ordering::Relaxed);
        self.read_milliunits
            .fetch_add((read_units * 1000.0) as u64, Ordering::Relaxed);
    }

    /// Write and read capacity units so far.
    #[expect(clippy::cast_precision_loss, reason = "units are small")]
    #[must_use]
    pub fn units(&self) -> (f64, f64) {
        (
            self.write_milliunits.load(Ordering::Relaxed) as f64 / 1000.0,
            self.read_milliunits.load(Ordering::Relaxed) as f64 / 1000.0,
        )
    }
}
