//! What a project's steps have used, by day, workflow, profile and model.
//!
//! Rows hold sums. A transition that ends an attempt adds what the attempt has used, in one
//! transaction with the run's own write (`transition`). That one happens once, however often a
//! report comes, so each attempt is counted once. A day is the UTC day of the end.
//!
//! Two transactions on one row refuse each other. So what a run's steps use goes to the partition
//! of the run's shard, and there to one of [`PARTS`] rows that a writer picks at random. A reader
//! adds all of them up. Rows are kept for [`DAYS`] days.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use sealfleet_domain::run::Run;
use sealfleet_domain::usage::{ByModel, Sums};
use sealfleet_domain::{ProjectScope, Timestamp, WorkflowName};

use crate::error::Error;
use crate::format;
use crate::keys;
use crate::ledger::{Ledger, expiry};
use crate::rows::{n, number, text};
use crate::store::{Condition, Edit, Item, Query, Range, Table, Write};

/// Rows of one partition with the same sums.
const PARTS: u32 = 16;
/// Days for which sums are kept: a year, and a month to settle it.
pub const DAYS: i64 = 400;
/// Rows of one page of a query.
const PAGE: usize = 4000;

/// What sums are kept by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedBy {
    /// The UTC day on which the attempts ended, `YYYY-MM-DD`.
    pub day: String,
    pub workflow: WorkflowName,
    /// The profile of the highest level of the run's cascade. Empty if it has none.
    pub profile: String,
    /// `PROVIDER/MODEL`. Empty for work without a model.
    pub model: String,
}

impl Ledger {
    /// The writes that add what steps of a run have used.
    pub(crate) fn used_writes(
        &self,
        scope: &ProjectScope,
        run: &Run,
        used: &ByModel,
        now: Timestamp,
    ) -> Vec<Write> {
        let day = now.day();
        let profiles = run.identity.as_ref().map(|identity| &identity.profiles);
        let profile = profiles.and_then(|profiles| profiles.last());
        let profile = profile.map_or_else(String::new, |used| used.profile.to_string());
        let part = self.chance() % PARTS;
        let add = |(model, sums): (&String, &Sums)| {
            let by = (
                day.as_str(),
                &run.workflow,
                profile.as_str(),
                model.as_str(),
            );
            let mut edits: Vec<(String, Edit)> = sums
                .stored()
                .into_iter()
                .map(|(name, sum)| (name.to_owned(), Edit::Add(whole(sum))))
                .collect();
            edits.push(("expires_at".to_owned(), Edit::Set(n(expiry(now, DAYS)))));
            edits.push((format::ATTRIBUTE.to_owned(), Edit::Set(n(format::FORMAT))));
            Write::Update {
                key: keys::used_on(scope, run.run_id, by, part),
                edits,
                only_if: Condition::AbsentOr(format::ATTRIBUTE, n(format::FORMAT)),
            }
        };
        used.iter().map(add).collect()
    }

    /// What a project's steps have used from one UTC day to another, both included: sums by all
    /// that they are kept by, in its order. `None` when there are more than `most` of these.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn used(
        &self,
        scope: &ProjectScope,
        (from, to): (&str, &str),
        most: usize,
    ) -> Result<Option<BTreeMap<UsedBy, Sums>>, Error> {
        let shards = (0..keys::SHARDS).map(|shard| self.used_in(scope, shard, (from, to), most));
        let mut all = BTreeMap::new();
        for found in try_join_all(shards).await? {
            let Some(found) = found else { return Ok(None) };
            for (by, sums) in found {
                let sum: &mut Sums = all.entry(by).or_default();
                *sum = sum.plus(&sums);
            }
        }
        Ok(Some(all).filter(|all| all.len() <= most))
    }

    async fn used_in(
        &self,
        scope: &ProjectScope,
        shard: u8,
        (from, to): (&str, &str),
        most: usize,
    ) -> Result<Option<BTreeMap<UsedBy, Sums>>, Error> {
        let query = Query {
            table: Table::Ledger,
            pk: keys::used(scope, shard),
            // `$` is the letter after `#`: all of the last day.
            range: Range::Between(format!("{from}#"), format!("{to}$")),
            backwards: false,
            limit: PAGE,
            consistent: true,
            only: None,
        };
        let mut found: BTreeMap<UsedBy, Sums> = BTreeMap::new();
        let mut after = None;
        loop {
            let rows = self.store.query(&query, after.as_deref()).await?;
            for row in rows.items {
                let by = used_by(&row)
                    .ok_or_else(|| Error::Unreadable("sums with a foreign key".to_owned()))?;
                let stored = |name: &str| number(&row, name).and_then(|sum| sum.try_into().ok());
                let sum = found.entry(by).or_default();
                *sum = sum.plus(&Sums::of_stored(stored));
            }
            if found.len() > most {
                return Ok(None);
            }
            after = rows.more_after;
            if after.is_none() {
                return Ok(Some(found));
            }
        }
    }
}

/// What the sums of a row are kept by.
fn used_by(row: &Item) -> Option<UsedBy> {
    let mut parts = text(row, "sk")?.splitn(5, '#');
    let (day, workflow) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    let profile = parts.next()?.to_owned();
    let _part = parts.next()?;
    Some(UsedBy {
        day,
        workflow,
        profile,
        model: parts.next()?.to_owned(),
    })
}

fn whole(sum: u64) -> i64 {
    i64::try_from(sum).unwrap_or(i64::MAX)
}
