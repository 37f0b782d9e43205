//! How much of each project is unfinished, for operators: counts and ages, and nothing of what a
//! run does (`docs/decisions/009-operator-does-not-enter-projects.md`).

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_domain::run::Run;
use sealfleet_domain::step::StepState;
use sealfleet_domain::{ProjectId, Timestamp};

use crate::due::{Due, DueRun};
use crate::error::Error;
use crate::ledger::Ledger;

/// Runs that are read at the same time.
const AT_ONCE: usize = 16;
/// How long a step may wait before its run counts as waiting, in milliseconds.
const PATIENCE_MS: i64 = 30_000;
/// How late a row of the due index may be before it counts as overdue, in milliseconds: `sweep`
/// comes each minute.
const LATE_MS: i64 = 120_000;

/// What is unfinished of one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    pub project: ProjectId,
    /// Its runs that have not ended.
    pub unfinished: usize,
    /// When the oldest of them was enqueued.
    pub oldest: Timestamp,
    /// How many of the [`Looked::each`] oldest have a step that nobody has claimed for 30 seconds,
    /// and no step that goes on.
    pub waiting: usize,
    /// Runs that `sweep` should have visited two minutes ago.
    pub overdue: usize,
}

/// How far is looked.
#[derive(Clone, Copy, Debug)]
pub struct Looked {
    /// Rows of each of the due index's shards.
    pub rows: usize,
    /// The oldest runs of each project.
    pub each: usize,
    /// Runs of all projects.
    pub all: usize,
}

#[derive(Default)]
struct Found {
    runs: Vec<DueRun>,
    overdue: usize,
}

impl Ledger {
    /// What is unfinished, by project, and whether all of it was counted. Misses what was written
    /// in the last second.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn activity(&self, looked: Looked) -> Result<(Vec<Activity>, bool), Error> {
        let now = self.now();
        let runs = |at, due| match due {
            Due::Run(run) => Some((at, run)),
            Due::FanOut(..) | Due::Containment(..) | Due::Entry(_) | Due::Approval(..) => None,
        };
        let (runs, complete) = self.live(looked.rows, runs).await?;
        let mut projects: BTreeMap<ProjectId, Found> = BTreeMap::new();
        for (due_at, run) in runs {
            let found = projects.entry(run.scope.project().clone()).or_default();
            found.overdue += usize::from(now.millis_since(due_at) > LATE_MS);
            found.runs.push(run);
        }
        for found in projects.values_mut() {
            found.runs.sort_unstable_by_key(|run| run.run_id.made_at());
        }
        let mut oldest: Vec<&DueRun> = projects
            .values()
            .flat_map(|found| found.runs.iter().take(looked.each))
            .collect();
        oldest.sort_unstable_by_key(|run| run.run_id.made_at());
        oldest.truncate(looked.all);
        let waits = stream::iter(oldest.into_iter().map(async |due| {
            match self.run(&due.scope, due.run_id).await {
                Ok(run) => Ok(waits(&run, now).then(|| due.scope.project().clone())),
                // It has ended and expired since.
                Err(Error::NotFound) => Ok(None),
                Err(error) => Err(error),
            }
        }));
        let waits: Vec<Option<ProjectId>> = waits.buffer_unordered(AT_ONCE).try_collect().await?;
        let activity = projects.iter().filter_map(|(project, found)| {
            Some(Activity {
                project: project.clone(),
                unfinished: found.runs.len(),
                oldest: found.runs.first()?.run_id.made_at(),
                waiting: waits.iter().flatten().filter(|id| *id == project).count(),
                overdue: found.overdue,
            })
        });
        Ok((activity.collect(), complete))
    }
}

/// Whether a step of this run waits that nobody takes, while no other goes on.
fn waits(run: &Run, now: Timestamp) -> bool {
    let mut waits = false;
    for step in run.steps.values() {
        match &step.state {
            StepState::Leased(_) | StepState::Running(_) => return false,
            StepState::Queued { since, .. } => waits |= now.millis_since(*since) >= PATIENCE_MS,
            _ => {}
        }
    }
    waits
}
