//! The types of audit events. They hold names, never values: no event has a field that could hold a
//! secret's value.
//!
//! One entry records one transaction: who made it, when, and the resulting events in order. The
//! entry is written in that same transaction, so neither a change without its entry nor an entry
//! without its change can exist.
//!
//! Fields are ids, names, numbers and addresses. Free text is a bounded [`Text`]. A secret's value
//! has its own type in the sandbox's program, which this crate does not depend on. [`catalogue`]
//! describes each event.

pub mod catalogue;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::Cli;
use crate::approval::{ApprovalId, Governance};
use crate::artifact::Found;
use crate::cascade::Bindings;
use crate::clock::Timestamp;
use crate::containment::Tally;
use crate::egress::{Denial, Denials, Policy, Reached};
use crate::fleet::{PoolSettings, Sandboxes};
use crate::hash::ContentHash;
use crate::identity::{Drift, ProfileUse, SecretRef};
use crate::ids::{
    ContainmentId, EnrolmentKeyId, EventId, FanOutId, IdentityTokenId, RevocationId, RunId,
    TokenId, WorkerId,
};
use crate::labels::Labels;
use crate::limits;
use crate::names::{PoolName, ProjectId, StepId, WorkflowName};
use crate::redaction::Redaction;
use crate::reference::{ProfileRef, SecretUri};
use crate::revocation::{Counts, Revoked};
use crate::step::{
    AbortReason, DeadReason, Failure, Fence, Mode, OnDrift, RequeueReason, RunState,
};
use crate::witness::Unexplained;
use crate::workload::Audience;

/// The record of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AuditEntry {
    /// Unique, and sortable by time.
    pub event_id: EventId,
    /// When the transaction was made.
    pub at: Timestamp,
    /// The project whose trail contains this entry. The operators' own trail is `~system`.
    pub project: String,
    /// Who made the transaction, as `kind:id`.
    pub actor: String,
    /// The run that the entry is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The containment that the transaction is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment_id: Option<ContainmentId>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// A line of free text without control characters, cut to [`limits::REASON_BYTES`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(from = "String")]
pub struct Text(String);

impl Text {
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

/// Something that happened or was refused.
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
    /// An operator changed a project's pools: `pools` took the place of `replaced`.
    #[serde(rename = "project.updated")]
    ProjectUpdated {
        project: ProjectId,
        version: u32,
        pools: BTreeMap<PoolName, PoolSettings>,
        replaced: BTreeMap<PoolName, PoolSettings>,
    },
    /// An operator began to delete a project: it takes no runs, tokens and keys any more.
    #[serde(rename = "project.closed")]
    ProjectClosed { project: ProjectId },
    /// An operator deleted a project, whose tokens, keys and workers were revoked before.
    #[serde(rename = "project.deleted")]
    ProjectDeleted { project: ProjectId },
    /// An operator set a project's request rate limit. `None` restores the deployment's default.
    #[serde(rename = "project.limits_set")]
    LimitsSet {
        project: ProjectId,
        limits: Option<crate::rate::Limits>,
    },
    /// An operator set what the steps of a project may reach at most. `None`: what their profiles
    /// allow, but for `open`.
    #[serde(rename = "egress.ceiling_set")]
    EgressCeilingSet {
        project: ProjectId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Policy>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ceiling: Option<Policy>,
    },
    /// An admin has everything of the project stopped. What follows from it carries the same
    /// containment's id.
    #[serde(rename = "project.contained")]
    ProjectContained {
        reason: Text,
        /// Whether API tokens are revoked, too.
        tokens: bool,
    },
    /// A containment ended.
    #[serde(rename = "project.containment_ended")]
    ContainmentEnded {
        complete: bool,
        rounds: u32,
        #[serde(flatten)]
        stopped: Tally,
    },
    /// An operator put tables of an earlier moment in the place of the ones in use. What the trail
    /// has between the two was undone, except for what was taken away: that was done again.
    #[serde(rename = "tables.restored")]
    TablesRestored { moment: Timestamp, reapplied: u32 },
    /// An API token was created.
    #[serde(rename = "token.created")]
    TokenCreated {
        token_id: TokenId,
        role: crate::access::Role,
        expires_at: Timestamp,
    },
    /// An API token was revoked.
    #[serde(rename = "token.revoked")]
    TokenRevoked { token_id: TokenId },
    /// An enrolment key was created.
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
    /// A worker registered: approved by its enrolment key, or waiting for approval.
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
    /// An admin wants a worker to take no new steps.
    #[serde(rename = "worker.drained")]
    WorkerDrained { worker_id: WorkerId },
    /// An admin lets a worker take steps again.
    #[serde(rename = "worker.resumed")]
    WorkerResumed { worker_id: WorkerId },
    /// A worker told other sandboxes of its own than before.
    #[serde(rename = "worker.sandboxes_told")]
    WorkerSandboxesTold {
        worker_id: WorkerId,
        sandboxes: Sandboxes,
    },
    /// A profile was created. Lists the names in it.
    #[serde(rename = "profile.created")]
    ProfileCreated {
        profile: ProfileRef,
        version: u32,
        env: Vec<String>,
        secrets: BTreeMap<String, String>,
    },
    /// A profile was changed. Lists the names in the new version.
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
    /// The profiles below each run's own were set.
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
    /// Every run in flight that held a key of a hard revocation was aborted.
    #[serde(rename = "revocation.fan_out_finished")]
    FanOutFinished {
        fan_out_id: FanOutId,
        revocations: Vec<RevocationId>,
        #[serde(flatten)]
        counts: Counts,
    },
    /// An admin set what callers may run, and how many approve.
    #[serde(rename = "governance.set")]
    GovernanceSet {
        before: Governance,
        governance: Governance,
    },
    /// A version of a workflow was registered. It waits for approval.
    #[serde(rename = "workflow.registered")]
    WorkflowRegistered {
        workflow: WorkflowName,
        version: u32,
        hash: ContentHash,
    },
    /// A version of a workflow took the place of the one that ran.
    #[serde(rename = "workflow.promoted")]
    WorkflowPromoted {
        workflow: WorkflowName,
        version: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced: Option<u32>,
    },
    /// A workflow was taken out of use.
    #[serde(rename = "workflow.retired")]
    WorkflowRetired {
        workflow: WorkflowName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u32>,
    },
    /// Something waits for a decision.
    #[serde(rename = "approval.requested")]
    ApprovalRequested {
        approval: ApprovalId,
        request: ContentHash,
        approvers: u32,
        /// Absent: it does not expire.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decide_by: Option<Timestamp>,
    },
    /// Somebody approved. Nothing happens while approvals are missing.
    #[serde(rename = "approval.approved")]
    ApprovalApproved {
        approval: ApprovalId,
        missing: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Text>,
    },
    /// Somebody denied.
    #[serde(rename = "approval.denied")]
    ApprovalDenied { approval: ApprovalId, reason: Text },
    /// Nobody decided in time.
    #[serde(rename = "approval.expired")]
    ApprovalExpired { approval: ApprovalId },
    /// What waited for a decision is not there any more.
    #[serde(rename = "approval.cancelled")]
    ApprovalCancelled { approval: ApprovalId },
    /// A run was enqueued.
    #[serde(rename = "run.enqueued")]
    RunEnqueued {
        workflow: WorkflowName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workflow_version: Option<u32>,
        steps: Vec<StepId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        profiles: Vec<ProfileUse>,
    },
    /// A rule of the profiles or a revocation refused an enqueue or a retry.
    #[serde(rename = "run.denied")]
    RunDenied {
        workflow: WorkflowName,
        profiles: Vec<ProfileRef>,
        reason: Text,
    },
    /// Every step that this one needs succeeded, so it may be claimed.
    #[serde(rename = "step.queued")]
    StepQueued { step_id: StepId },
    /// A step was claimed.
    #[serde(rename = "step.leased")]
    StepLeased {
        step_id: StepId,
        fence: Fence,
        worker_id: WorkerId,
        mode: Mode,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<Cli>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<Text>,
    },
    /// Credentials were released to a claim: its holder's sandbox may now resolve these references.
    #[serde(rename = "secret.released")]
    SecretReleased {
        step_id: StepId,
        fence: Fence,
        secrets: Vec<SecretRef>,
    },
    /// A step starts with other keys or versions than it was enqueued with.
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
    /// A sandbox received the keys of a profile.
    #[serde(rename = "profile.injected")]
    ProfileInjected {
        step_id: StepId,
        fence: Fence,
        profiles: Vec<ProfileUse>,
    },
    /// A step got a token that names it to others.
    #[serde(rename = "identity.token_issued")]
    IdentityTokenIssued {
        step_id: StepId,
        fence: Fence,
        token_id: IdentityTokenId,
        audience: Audience,
        expires_at: Timestamp,
    },
    /// A worker or a sandbox asked for such a token and did not get it.
    #[serde(rename = "identity.token_refused")]
    IdentityTokenRefused {
        step_id: StepId,
        fence: Fence,
        audience: Audience,
        code: Text,
        count: u32,
    },
    /// A secret was read, and no release explains the read.
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
        profile: ProfileRef,
        key: String,
        uri: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        store_request_id: Option<String>,
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
    /// A step was ended from outside.
    #[serde(rename = "step.aborted")]
    StepAborted {
        step_id: StepId,
        reason: AbortReason,
    },
    /// A step was given up. It stays listed and can be retried.
    #[serde(rename = "step.dead")]
    StepDead { step_id: StepId, reason: DeadReason },
    /// A caller put a dead step back in its queue.
    #[serde(rename = "step.retried")]
    StepRetried { step_id: StepId },
    /// The sandbox of an ended step was removed.
    #[serde(rename = "pool.sandbox.reset")]
    SandboxReset { step_id: StepId, fence: Fence },
    /// Values of secrets were taken out of a step's output.
    #[serde(rename = "redaction.match")]
    RedactionMatch {
        step_id: StepId,
        fence: Fence,
        matches: Vec<Redaction>,
    },
    /// A step was kept from hosts.
    #[serde(rename = "egress.denied")]
    EgressDenied {
        step_id: StepId,
        fence: Fence,
        #[serde(flatten)]
        hosts: Denials,
    },
    /// A step was kept from sending the placeholder of a secret to a host that the secret is not
    /// bound to.
    #[serde(rename = "egress.credential_mismatch")]
    EgressCredentialMismatch {
        step_id: StepId,
        fence: Fence,
        rows: Vec<Denial>,
    },
    /// A step reached hosts.
    #[serde(rename = "egress.allowed")]
    EgressAllowed {
        step_id: StepId,
        fence: Fence,
        #[serde(flatten)]
        hosts: Reached,
    },
    /// A new version of a profile has another egress policy.
    #[serde(rename = "egress.policy_changed")]
    EgressPolicyChanged {
        profile: ProfileRef,
        version: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Policy>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        egress: Option<Policy>,
    },
    /// Files that a step has left hold values of secrets.
    #[serde(rename = "artifact.contains_secret")]
    ArtifactContainsSecret {
        step_id: StepId,
        fence: Fence,
        files: Vec<Found>,
    },
    /// The last step of a run ended.
    #[serde(rename = "run.finished")]
    RunFinished { state: RunState },
    /// A caller cancelled a run.
    #[serde(rename = "run.cancelled")]
    RunCancelled {},
    /// A claim was refused.
    #[serde(rename = "claim.refused")]
    ClaimRefused {
        step_id: StepId,
        code: Text,
        count: u32,
    },
    /// A start, heartbeat or report was refused because its lease is no longer held.
    #[serde(rename = "report.refused")]
    ReportRefused {
        step_id: StepId,
        fence: Fence,
        code: Text,
        count: u32,
    },
}

impl Event {
    /// The event's dotted name, as it is serialised: `step.leased`.
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
