//! The port to the tables: three operations, with conditions as data.
//!
//! Small on purpose: what the protocols need and no more, so that another store (in memory, for
//! simulations) can be held to the same behaviour.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

/// A stored row.
pub type Item = HashMap<String, AttributeValue>;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The ledger.
    Ledger,
    /// The audit trail: rows are only ever put.
    Audit,
}

/// The address of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Partition key; begins with the project.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

/// What a row must be for a write to happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// There is no row.
    Absent,
    /// There is none, or its attribute has this value.
    AbsentOr(&'static str, AttributeValue),
    /// There is none, or its numeric attribute is below this.
    AbsentOrBelow(&'static str, i64),
    /// The row's attributes have these values.
    Is(Vec<(&'static str, AttributeValue)>),
    /// The row's numeric attribute is neither below the first nor above the second.
    Between(&'static str, i64, i64),
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Put a whole row.
    Put {
        /// Where.
        table: Table,
        /// What, with its `pk` and `sk`.
        item: Item,
        /// Only if.
        only_if: Condition,
    },
    /// Add to a number of a row of the ledger, whatever others add at the same time. Makes the row
    /// if there is none. Where the reply is lost, the amount may be added twice.
    Add {
        /// Which row.
        key: Key,
        /// Which of its attributes; zero where it is absent.
        attribute: &'static str,
        /// How much.
        amount: i64,
        /// When the row may go, in seconds since the Unix epoch.
        expires_at: Option<i64>,
        /// Only if.
        only_if: Condition,
    },
    /// Delete a row of the ledger.
    Delete {
        /// Which.
        key: Key,
        /// Only if.
        only_if: Condition,
    },
}

/// Why writes did not happen. None of them did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The conditions of these writes, by position, did not hold.
    Condition(Vec<usize>),
    /// Another transaction was busy with the same rows.
    Busy,
    /// The table does not answer or refuses; whether the writes happened may be unknown.
    Unavailable(String),
}

/// A range of rows.
#[derive(Clone, Debug)]
pub struct Query {
    /// Which table.
    pub table: Table,
    /// Partition key.
    pub pk: String,
    /// Sort keys to read.
    pub range: Range,
    /// Newest (largest sort key) first.
    pub backwards: bool,
    /// Rows to read at most.
    pub limit: usize,
    /// Sees all writes that were acknowledged before.
    pub consistent: bool,
    /// Leave out rows whose attribute has another value. They count into `limit`.
    pub only: Option<(&'static str, AttributeValue)>,
}

/// Sort keys to read.
#[derive(Clone, Debug)]
pub enum Range {
    /// All.
    All,
    /// Those that begin so.
    Prefix(String),
    /// From the first to the second, both included.
    Between(String, String),
}

/// Rows of a query.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The rows, in order.
    pub items: Vec<Item>,
    /// The sort key that the next page begins after, if there may be one.
    pub more_after: Option<String>,
}

/// A store of rows.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads one row; sees all writes that were acknowledged before.
    async fn get(&self, table: Table, key: &Key) -> Result<Option<Item>, String>;
    /// Reads rows of one partition, from after `after`.
    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, String>;
    /// Reads keys of the due index up to `until` milliseconds, earliest first.
    async fn due(&self, shard: &str, until: i64, limit: usize) -> Result<Vec<Key>, String>;
    /// Makes all writes or none.
    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError>;
}

/// Sums the capacity that DynamoDB says it consumed.
#[derive(Debug, Default)]
pub struct Meter {
    write_milliunits: AtomicU64,
    read_milliunits: AtomicU64,
}

impl Meter {
    /// Adds what one call consumed, in capacity units.
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
