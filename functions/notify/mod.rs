//! `notify`: tells the account's event bus of each end of a run, of each request for approval, and
//! of what became of it, so that nobody has to ask.
//!
//! The ledger's stream brings the change of the run's row that its last step's end made, and rows
//! of approvals. Its event source mapping lets only such rows through. A function of its own, and
//! not a task of `trail`: a bus that does not answer must not hold up the audit trail.
//!
//! An event holds names, states and times: no value, no command, no text of a failure. Records that
//! the bus took are not sent again, unless this function dies in between: then the same event comes
//! twice, with the same `end_id` or `request_id`.

use std::collections::HashMap;

use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_aws::bus::Bus;
use sealfleet_domain::approval::{Approval, ApprovalState};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::run::StepState;
use sealfleet_domain::{
    ApprovalId, NamePrefix, ProjectId, ProjectScope, RunId, StepId, Timestamp, WorkflowName,
};
use sealfleet_ledger::{EndedRun, Error, told_approval};
use serde::Serialize;
use serde_json::{Value, json};

/// What the bus shows as the kind of event.
pub const RUN_ENDED: &str = "Run Ended";
pub const APPROVAL_REQUESTED: &str = "Approval Requested";
pub const APPROVAL_DECIDED: &str = "Approval Decided";

type Item = HashMap<String, AttributeValue>;

/// What this function may use.
pub struct Ports {
    pub bus: Box<dyn Bus>,
    /// The installation that events are of.
    pub prefix: NamePrefix,
}

/// Handles a batch of the ledger's stream: in order, up to the first event that the bus does not
/// take. That one and all after it come again.
///
/// # Errors
/// Never.
pub async fn handle(ports: &Ports, event: Event) -> Result<DynamoDbEventResponse, Error> {
    let mut answer = DynamoDbEventResponse::default();
    for record in event.records {
        let number = record.change.sequence_number.clone();
        let (detail_type, detail) = match told(&ports.prefix, record) {
            Ok(Some(told)) => told,
            Ok(None) => continue,
            Err(error) => {
                // `trail` counts rows that somebody else has made.
                tracing::error!(%error, "a change cannot be read, and nobody is told");
                continue;
            }
        };
        if let Err(error) = ports.bus.put(detail_type, &detail).await {
            tracing::warn!(%error, %detail, "the bus did not take an event; it is sent again");
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = number;
            answer.batch_item_failures.push(failure);
            break;
        }
    }
    Ok(answer)
}

/// What is to be told of a record, if anything is.
fn told(
    installation: &NamePrefix,
    record: EventRecord,
) -> Result<Option<(&'static str, Value)>, Error> {
    let before: Item = record.change.old_image.into();
    let after: Item = record.change.new_image.into();
    if after.is_empty() {
        return Ok(None);
    }
    let before = (!before.is_empty()).then_some(&before);
    if let Some((scope, approval)) = told_approval(before, &after)? {
        let detail_type = match approval.state {
            ApprovalState::Pending => APPROVAL_REQUESTED,
            _ => APPROVAL_DECIDED,
        };
        let told = ApprovalTold::of(installation, &scope, &approval);
        return Ok(Some((detail_type, json!(told))));
    }
    let ended = EndedRun::between(before, &after)?;
    Ok(ended.map(|ended| (RUN_ENDED, json!(RunEnded::of(installation, &ended)))))
}

/// What is told of an approval. A reader must take members that it does not know.
#[derive(Serialize)]
struct ApprovalTold<'a> {
    /// Of this form.
    version: u32,
    /// Of this request: the same when it is told that it is over.
    request_id: String,
    installation: &'a NamePrefix,
    project: &'a ProjectId,
    approval: &'a ApprovalId,
    /// `workflow`, `worker` or `step`.
    kind: &'static str,
    state: ApprovalState,
    /// How many have to approve.
    approvers: u32,
    requested_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    decide_by: Option<Timestamp>,
}

impl<'a> ApprovalTold<'a> {
    fn of(installation: &'a NamePrefix, scope: &'a ProjectScope, approval: &'a Approval) -> Self {
        let id = &approval.approval;
        Self {
            version: 1,
            request_id: format!("{id}:{}", approval.requested_at.millis()),
            installation,
            project: scope.project(),
            approval: id,
            kind: id.kind(),
            state: approval.state,
            approvers: approval.approvers,
            requested_at: approval.requested_at,
            decide_by: approval.decide_by,
        }
    }
}

/// What is told of an end. A reader must take members that it does not know.
#[derive(Serialize)]
struct RunEnded<'a> {
    /// Of this form.
    version: u32,
    /// Of this end. A step that is retried makes another one.
    end_id: String,
    installation: &'a NamePrefix,
    project: &'a ProjectId,
    run_id: RunId,
    workflow: &'a WorkflowName,
    labels: &'a Labels,
    /// `succeeded`, `failed`, `aborted` or `dead`.
    state: &'a str,
    created_at: Timestamp,
    ended_at: Timestamp,
    steps: Vec<StepEnded<'a>>,
}

#[derive(Serialize)]
struct StepEnded<'a> {
    id: &'a StepId,
    state: &'static str,
    attempt: u32,
    ended_at: Option<Timestamp>,
    /// The kind of its failure. The rest is text from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Value>,
}

impl<'a> RunEnded<'a> {
    fn of(installation: &'a NamePrefix, run: &'a EndedRun) -> Self {
        let steps = run.steps.iter().map(|step| StepEnded {
            id: &step.id,
            state: step.state.name(),
            attempt: step.attempt,
            ended_at: step.state.ended_at(),
            failure: kind(&step.state),
        });
        Self {
            version: 1,
            end_id: format!("{}:{}", run.run_id, run.version),
            installation,
            project: run.scope.project(),
            run_id: run.run_id,
            workflow: &run.workflow,
            labels: &run.labels,
            state: &run.state,
            created_at: run.created_at,
            ended_at: run.ended_at,
            steps: steps.collect(),
        }
    }
}

fn kind(state: &StepState) -> Option<Value> {
    let StepState::Failed { failure, .. } = state else {
        return None;
    };
    json!(failure).get("kind").cloned()
}
