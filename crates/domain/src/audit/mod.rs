//! The audit vocabulary: names, never values, by type. No event has a field that could hold a
//! secret's value.
//!
//! One entry records one transaction: who did it, when, and the events that it made true, in order.
//! The entry is put in that very transaction, so a change without its record, or a record without
//! its change, cannot exist.
//!
//! Fields are ids, names, numbers and addresses. What people wrote is a [`Text`], which is bounded;
//! a value of a secret has a type of its own in the sandbox's program, which this crate cannot
//! name. [`catalogue`] says what each event means.

pub mod catalogue;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cascade::Bindings;
use crate::clock::Timestamp;
use crate::identity::{Drift, ProfileUse, SecretRef};
use crate::ids::{EnrolmentKeyId, EventId, FanOutId, RevocationId, RunId, TokenId, WorkerId};
use crate::labels::Labels;
use crate::limits;
use crate::names::{PoolName, ProjectId, StepId, WorkflowName};
use crate::reference::{ProfileRef, SecretUri};
use crate::revocation::{Counts, Revoked};
use crate::step::{
    AbortReason, DeadReason, Failure, Fence, Mode, OnDrift, RequeueReason, RunState,
};
use crate::witness::Unexplained;

/// The record of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AuditEntry {
    /// Unique, and sortable by time.
    pub event_id: EventId,
    /// When the transaction was made.
    pub at: Timestamp,
    /// The project whose trail this is; operators' own trail is `~system`.
    pub project: String,
    /// Who did it, as `kind:id`.
    pub actor: String,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// What became true, in order.
    pub events: Vec<Event>,
}

/// A line of free text without control characters, cut to [`limits::REASON_BYTES`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(from = "String")]
pub struct Text(String);

impl Text {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let kept = text
            .get(..text.floor_char_boundary(limits::REASON_BYTES))
            .unwrap_or_default();
        Self(
            kept.chars()
                .map(|letter| if letter.is_control() { ' ' } else { letter })
                .collect(),
        )
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// Something that became true, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "type")]
#[expect(
    missing_docs,
    reason = "each event is described; its fields are named by the words of the product"
)]
pub enum Event {
    /// An operator onboarded a project.
    #[serde(rename = "project.created")]
    ProjectCreated {
        project: ProjectId,
        pools: Vec<PoolName>,
    },
    /// An operator set how often a project's callers may call; none means the deployment's default.
    #[serde(rename = "project.limits_set")]
    LimitsSet {
        project: ProjectId,
        limits: Option<crate::rate::Limits>,
    },
    /// An API token was made.
    #[serde(rename = "token.created")]
    TokenCreated {
        token_id: TokenId,
        role: crate::access::Role,
        expires_at: Timestamp,
    },
    /// An API token was revoked.
    #[serde(rename = "token.revoked")]
    TokenRevoked { token_id: TokenId },
    /// An enrolment key was made.
    #[serde(rename = "enrolment_key.created")]
    EnrolmentKeyCreated {
        enrolment_key_id: EnrolmentKeyId,
        pool: PoolName,
        max_uses: u32,
        expires_at: Timestamp,
    },
    /// An enrolment key was revoked.
    #[serde(rename = "enrolment_key.revoked")]
    EnrolmentKeyRevoked { enrolment_key_id: EnrolmentKeyId },
    /// A worker registered: `approved` by its enrolment key, or waiting.
    #[serde(rename = "worker.registered")]
    WorkerRegistered {
        worker_id: WorkerId,
        pool: PoolName,
        labels: Labels,
        approved: bool,
    },
    /// An admin approved a worker.
    #[serde(rename = "worker.approved")]
    WorkerApproved { worker_id: WorkerId },
    /// An admin rejected a worker.
    #[serde(rename = "worker.rejected")]
    WorkerRejected { worker_id: WorkerId },
    /// An admin revoked a worker.
    #[serde(rename = "worker.revoked")]
    WorkerRevoked { worker_id: WorkerId },
    /// A profile was created, by the names it holds.
    #[serde(rename = "profile.created")]
    ProfileCreated {
        profile: ProfileRef,
        version: u32,
        env: Vec<String>,
        secrets: BTreeMap<String, String>,
    },
    /// A profile was changed, by the names it holds now.
    #[serde(rename = "profile.updated")]
    ProfileUpdated {
        profile: ProfileRef,
        version: u32,
        env: Vec<String>,
        secrets: BTreeMap<String, String>,
    },
    /// A profile was deleted.
    #[serde(rename = "profile.deleted")]
    ProfileDeleted { profile: ProfileRef, version: u32 },
    /// The profiles below each run's own were bound anew.
    #[serde(rename = "cascade.bound")]
    CascadeBound { bindings: Bindings },
    /// A key of a profile was revoked.
    #[serde(rename = "secret.revoked")]
    SecretRevoked {
        revocation_id: RevocationId,
        profile: ProfileRef,
        key: String,
        uri: SecretUri,
        hard: bool,
        reason: Text,
    },
    /// A revocation was lifted.
    #[serde(rename = "secret.revocation_lifted")]
    RevocationLifted {
        revocation_id: RevocationId,
        profile: ProfileRef,
        key: String,
    },
    /// A run in flight was aborted because of a revocation.
    #[serde(rename = "run.aborted_by_revocation")]
    RunAbortedByRevocation {
        #[serde(flatten)]
        revoked: Revoked,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fan_out_id: Option<FanOutId>,
    },
    /// All runs in flight that held the keys of a hard revocation were aborted.
    #[serde(rename = "revocation.fan_out_finished")]
    FanOutFinished {
        fan_out_id: FanOutId,
        revocations: Vec<RevocationId>,
        #[serde(flatten)]
        counts: Counts,
    },
    /// A run was enqueued.
    #[serde(rename = "run.enqueued")]
    RunEnqueued {
        workflow: WorkflowName,
        steps: Vec<StepId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        profiles: Vec<ProfileUse>,
    },
    /// An enqueue or a retry was refused by a rule of its profiles, or by a revocation.
    #[serde(rename = "run.denied")]
    RunDenied {
        workflow: WorkflowName,
        profiles: Vec<ProfileRef>,
        reason: Text,
    },
    /// A step may be claimed: all it waited for succeeded.
    #[serde(rename = "step.queued")]
    StepQueued { step_id: StepId },
    /// A step was claimed.
    #[serde(rename = "step.leased")]
    StepLeased {
        step_id: StepId,
        fence: Fence,
        worker_id: WorkerId,
        mode: Mode,
    },
    /// Credentials were released to a claim: the holder may now have a sandbox resolve these
    /// references.
    #[serde(rename = "secret.released")]
    SecretReleased {
        step_id: StepId,
        fence: Fence,
        secrets: Vec<SecretRef>,
    },
    /// What a step starts with is not what it was enqueued with.
    #[serde(rename = "profile.drift_at_injection")]
    DriftAtInjection {
        step_id: StepId,
        fence: Fence,
        on_drift: OnDrift,
        #[serde(flatten)]
        drift: Drift,
    },
    /// A sandbox started.
    #[serde(rename = "step.running")]
    StepRunning { step_id: StepId, fence: Fence },
    /// A profile is in a sandbox.
    #[serde(rename = "profile.injected")]
    ProfileInjected {
        step_id: StepId,
        fence: Fence,
        profiles: Vec<ProfileUse>,
    },
    /// A secret was read, and no release explains it.
    #[serde(rename = "secret.read_unexplained")]
    SecretReadUnexplained {
        secret: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        by: String,
        why: Unexplained,
        cloudtrail_event_id: String,
        read_at: Timestamp,
    },
    /// A sandbox holds one secret in plaintext.
    #[serde(rename = "secret.decrypted")]
    SecretDecrypted {
        step_id: StepId,
        fence: Fence,
        key: String,
        uri: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// A step succeeded.
    #[serde(rename = "step.succeeded")]
    StepSucceeded { step_id: StepId, fence: Fence },
    /// A step failed.
    #[serde(rename = "step.failed")]
    StepFailed {
        step_id: StepId,
        fence: Fence,
        failure: Failure,
    },
    /// A step went back to its queue.
    #[serde(rename = "step.requeued")]
    StepRequeued {
        step_id: StepId,
        fence: Fence,
        attempt: u32,
        reason: RequeueReason,
    },
    /// A step was ended before it could end itself.
    #[serde(rename = "step.aborted")]
    StepAborted {
        step_id: StepId,
        reason: AbortReason,
    },
    /// A step was given up; it is kept, listed, and can be retried.
    #[serde(rename = "step.dead")]
    StepDead { step_id: StepId, reason: DeadReason },
    /// A dead step was put back by a caller.
    #[serde(rename = "step.retried")]
    StepRetried { step_id: StepId },
    /// The sandbox of a step that was ended is gone.
    #[serde(rename = "pool.sandbox.reset")]
    SandboxReset { step_id: StepId, fence: Fence },
    /// A run reached its end.
    #[serde(rename = "run.finished")]
    RunFinished { state: RunState },
    /// A caller asked to cancel a run.
    #[serde(rename = "run.cancelled")]
    RunCancelled {},
    /// A claim was refused.
    #[serde(rename = "claim.refused")]
    ClaimRefused { step_id: StepId, code: Text },
    /// A start, heartbeat or report was refused: its lease is no longer held.
    #[serde(rename = "report.refused")]
    ReportRefused {
        step_id: StepId,
        fence: Fence,
        code: Text,
    },
}

impl Event {
    /// The event's dotted name, as it is written.
    #[must_use]
    pub fn name(&self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|value| {
                value
                    .get("type")
                    .and_then(|name| name.as_str().map(str::to_owned))
            })
            .unwrap_or_default()
    }
}
