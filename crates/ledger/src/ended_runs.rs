//! Runs that have just ended, as the ledger's stream shows their rows.

use sealfleet_domain::labels::Labels;
use sealfleet_domain::run::StepState;
use sealfleet_domain::{ProjectScope, RunId, StepId, Timestamp, WorkflowName};

use crate::error::Error;
use crate::keys;
use crate::rows::{number, text};
use crate::run_rows::RunRow;
use crate::store::Item;

/// A run whose last step has ended. Names only: it says nothing that a step has put out.
#[derive(Clone, Debug)]
pub struct EndedRun {
    pub scope: ProjectScope,
    pub run_id: RunId,
    pub workflow: WorkflowName,
    pub labels: Labels,
    /// `succeeded`, `failed`, `aborted` or `dead`.
    pub state: String,
    pub created_at: Timestamp,
    pub ended_at: Timestamp,
    pub steps: Vec<EndedStep>,
    /// Differs for each end of the run: a dead step can be retried.
    pub version: i64,
}

/// A step of such a run.
#[derive(Clone, Debug)]
pub struct EndedStep {
    pub id: StepId,
    pub state: StepState,
    pub attempt: u32,
}

impl EndedRun {
    /// The run that a change of a row has ended, if it has.
    ///
    /// # Errors
    /// When the row cannot be read.
    pub fn between(before: Option<&Item>, after: &Item) -> Result<Option<Self>, Error> {
        let unfinished = |item: &Item| number(item, "left");
        if unfinished(after) != Some(0) || before.and_then(unfinished) == Some(0) {
            return Ok(None);
        }
        let Some(scope) = text(after, "pk").and_then(keys::scope_of_run) else {
            return Ok(None);
        };
        RunRow::of_image(after)?.ended(scope).map(Some)
    }
}
