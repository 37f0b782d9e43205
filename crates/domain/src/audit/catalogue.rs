//! The catalogue of audit events: when each happens, what its fields mean, and an example.
//!
//! `docs/reference/audit-events.md` is generated from this table. The catalogue stays complete by
//! construction: [`Event::class`] has a match arm for each event, so a new event does not compile
//! without a class. A test compares the table with all names that an event can have, and the fields
//! of each example with the described fields.

use std::collections::BTreeSet;

use super::Event;
use crate::egress::Denials;
use crate::identity::{Drift, ProfileUse, SecretRef};
use crate::reference::ProfileRef;
use crate::revocation::Revoked;
use crate::step::AbortReason;

/// What an event is evidence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Stored state changed. The event is part of the transaction that changed it.
    StateChange,
    /// Somebody was refused, and nothing changed.
    Refusal,
    /// Something was observed: what a change beside it means for a sandbox, or what happened
    /// outside.
    Observation,
}

impl Class {
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::StateChange => "state change",
            Self::Refusal => "refusal",
            Self::Observation => "observation",
        }
    }
}

/// The profiles and keys that an event names, by which a trail can be searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    pub profiles: BTreeSet<ProfileRef>,
    /// Names of secrets and of plain variables.
    pub keys: BTreeSet<String>,
}

/// One event's description.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The event's dotted name: `step.leased`.
    pub name: &'static str,
    /// When it happens.
    pub when: &'static str,
    /// Each field except `type`, and its meaning. The meaning says when the field may be absent.
    pub fields: &'static [(&'static str, &'static str)],
    /// The event as JSON, with all its fields.
    pub example: &'static str,
}

impl Event {
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::ProjectCreated { .. }
            | Self::ProjectUpdated { .. }
            | Self::ProjectClosed { .. }
            | Self::ProjectDeleted { .. }
            | Self::LimitsSet { .. }
            | Self::EgressCeilingSet { .. }
            | Self::EgressPolicyChanged { .. }
            | Self::ProjectContained { .. }
            | Self::ContainmentEnded { .. }
            | Self::TablesRestored { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRevoked { .. }
            | Self::EnrolmentKeyCreated { .. }
            | Self::EnrolmentKeyRevoked { .. }
            | Self::WorkerRegistered { .. }
            | Self::WorkerApproved { .. }
            | Self::WorkerRejected { .. }
            | Self::WorkerRevoked { .. }
            | Self::WorkerDrained { .. }
            | Self::WorkerResumed { .. }
            | Self::WorkerSandboxesTold { .. }
            | Self::ProfileCreated { .. }
            | Self::ProfileUpdated { .. }
            | Self::ProfileDeleted { .. }
            | Self::CascadeBound { .. }
            | Self::SecretRevoked { .. }
            | Self::RevocationLifted { .. }
            | Self::RunAbortedByRevocation { .. }
            | Self::FanOutFinished { .. }
            | Self::GovernanceSet { .. }
            | Self::WorkflowRegistered { .. }
            | Self::WorkflowPromoted { .. }
            | Self::WorkflowRetired { .. }
            | Self::ApprovalRequested { .. }
            | Self::ApprovalApproved { .. }
            | Self::ApprovalDenied { .. }
            | Self::ApprovalExpired { .. }
            | Self::ApprovalCancelled { .. }
            | Self::RunEnqueued { .. }
            | Self::StepQueued { .. }
            | Self::StepLeased { .. }
            | Self::SecretReleased { .. }
            | Self::StepRunning { .. }
            | Self::StepSucceeded { .. }
            | Self::StepFailed { .. }
            | Self::StepRequeued { .. }
            | Self::StepAborted { .. }
            | Self::StepDead { .. }
            | Self::StepRetried { .. }
            | Self::SandboxReset { .. }
            | Self::RunFinished { .. }
            | Self::RunCancelled {}
            | Self::IdentityTokenIssued { .. } => Class::StateChange,
            Self::RunDenied { .. }
            | Self::ClaimRefused { .. }
            | Self::ReportRefused { .. }
            | Self::IdentityTokenRefused { .. } => Class::Refusal,
            Self::DriftAtInjection { .. }
            | Self::ProfileInjected { .. }
            | Self::SecretDecrypted { .. }
            | Self::RedactionMatch { .. }
            | Self::EgressDenied { .. }
            | Self::EgressCredentialMismatch { .. }
            | Self::EgressAllowed { .. }
            | Self::ArtifactContainsSecret { .. }
            | Self::SecretReadUnexplained { .. } => Class::Observation,
        }
    }

    #[must_use]
    pub fn subjects(&self) -> Subjects {
        match self {
            Self::ProfileCreated {
                profile,
                env,
                secrets,
                ..
            }
            | Self::ProfileUpdated {
                profile,
                env,
                secrets,
                ..
            } => Subjects {
                profiles: one(profile),
                keys: env.iter().chain(secrets.keys()).cloned().collect(),
            },
            Self::ProfileDeleted { profile, .. } => Subjects {
                profiles: one(profile),
                ..Subjects::default()
            },
            Self::CascadeBound { bindings } => {
                let own = bindings
                    .project
                    .iter()
                    .chain(bindings.workflows.values())
                    .cloned()
                    .map(ProfileRef::Own);
                let system = bindings.system.iter().cloned().map(ProfileRef::System);
                Subjects {
                    profiles: own.chain(system).collect(),
                    ..Subjects::default()
                }
            }
            Self::SecretRevoked { profile, key, .. }
            | Self::RevocationLifted { profile, key, .. }
            | Self::SecretDecrypted { profile, key, .. } => Subjects {
                profiles: one(profile),
                keys: BTreeSet::from([key.clone()]),
            },
            Self::RunAbortedByRevocation { revoked, .. }
            | Self::StepAborted {
                reason: AbortReason::Revoked(revoked),
                ..
            } => of_revoked(revoked),
            Self::RunEnqueued { profiles, .. } | Self::ProfileInjected { profiles, .. } => {
                let used = profiles
                    .iter()
                    .map(|ProfileUse { profile, .. }| profile.clone());
                Subjects {
                    profiles: used.collect(),
                    ..Subjects::default()
                }
            }
            Self::RunDenied { profiles, .. } => Subjects {
                profiles: profiles.iter().cloned().collect(),
                ..Subjects::default()
            },
            Self::SecretReleased { secrets, .. } => Subjects {
                profiles: secrets
                    .iter()
                    .map(|SecretRef { from, .. }| from.clone())
                    .collect(),
                keys: secrets
                    .iter()
                    .map(|SecretRef { name, .. }| name.clone())
                    .collect(),
            },
            Self::DriftAtInjection {
                drift:
                    Drift {
                        added,
                        removed,
                        rotated,
                        knobs,
                        egress: _,
                        audiences: _,
                    },
                ..
            } => {
                let keys = [added, removed, rotated, knobs]
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect();
                Subjects {
                    keys,
                    ..Subjects::default()
                }
            }
            Self::EgressDenied {
                hosts: Denials { rows, .. },
                ..
            }
            | Self::EgressCredentialMismatch { rows, .. } => Subjects {
                keys: rows.iter().filter_map(|row| row.key.clone()).collect(),
                ..Subjects::default()
            },
            Self::ArtifactContainsSecret { files, .. } => Subjects {
                keys: files.iter().flat_map(|file| &file.keys).cloned().collect(),
                ..Subjects::default()
            },
            Self::EgressPolicyChanged { profile, .. } => Subjects {
                profiles: one(profile),
                ..Subjects::default()
            },
            Self::ProjectCreated { .. }
            | Self::ProjectUpdated { .. }
            | Self::ProjectClosed { .. }
            | Self::ProjectDeleted { .. }
            | Self::LimitsSet { .. }
            | Self::EgressCeilingSet { .. }
            | Self::ProjectContained { .. }
            | Self::ContainmentEnded { .. }
            | Self::TablesRestored { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRevoked { .. }
            | Self::EnrolmentKeyCreated { .. }
            | Self::EnrolmentKeyRevoked { .. }
            | Self::WorkerRegistered { .. }
            | Self::WorkerApproved { .. }
            | Self::WorkerRejected { .. }
            | Self::WorkerRevoked { .. }
            | Self::WorkerDrained { .. }
            | Self::WorkerResumed { .. }
            | Self::WorkerSandboxesTold { .. }
            | Self::FanOutFinished { .. }
            | Self::StepQueued { .. }
            | Self::StepLeased { .. }
            | Self::StepRunning { .. }
            | Self::StepSucceeded { .. }
            | Self::StepFailed { .. }
            | Self::StepRequeued { .. }
            | Self::StepAborted {
                reason:
                    AbortReason::Cancelled
                    | AbortReason::DependencyFailed { .. }
                    | AbortReason::ApprovalDenied { .. }
                    | AbortReason::ApprovalExpired,
                ..
            }
            | Self::StepDead { .. }
            | Self::StepRetried { .. }
            | Self::SandboxReset { .. }
            | Self::RunFinished { .. }
            | Self::RunCancelled {}
            | Self::RedactionMatch { .. }
            | Self::EgressAllowed { .. }
            | Self::SecretReadUnexplained { .. }
            | Self::ClaimRefused { .. }
            | Self::ReportRefused { .. }
            | Self::GovernanceSet { .. }
            | Self::WorkflowRegistered { .. }
            | Self::WorkflowPromoted { .. }
            | Self::WorkflowRetired { .. }
            | Self::ApprovalRequested { .. }
            | Self::ApprovalApproved { .. }
            | Self::ApprovalDenied { .. }
            | Self::ApprovalExpired { .. }
            | Self::ApprovalCancelled { .. }
            | Self::IdentityTokenIssued { .. }
            | Self::IdentityTokenRefused { .. } => Subjects::default(),
        }
    }
}

fn one(profile: &ProfileRef) -> BTreeSet<ProfileRef> {
    BTreeSet::from([profile.clone()])
}

fn of_revoked(revoked: &Revoked) -> Subjects {
    Subjects {
        profiles: one(&revoked.profile),
        keys: BTreeSet::from([revoked.key.clone()]),
    }
}

const STEP: (&str, &str) = ("step_id", "the step");
const FENCE: (&str, &str) = (
    "fence",
    "the fence of the claim: a number that grows with each claim of the step",
);
const PROFILE: (&str, &str) = (
    "profile",
    "the profile; `system/NAME` belongs to the operators",
);
const VERSION: (&str, &str) = ("version", "the profile's version");
const ENV: (&str, &str) = ("env", "the names of its plain variables");
const SECRETS: (&str, &str) = ("secrets", "its secrets: the reference by name");
const WORKFLOW: (&str, &str) = ("workflow", "the registered workflow");
const WORKFLOW_VERSION: (&str, &str) = ("version", "the version of the workflow");
const APPROVAL: (&str, &str) = ("approval", "what is decided on, which names the approval");
const KEY: (&str, &str) = ("key", "the secret's name");
const REVOCATION: (&str, &str) = ("revocation_id", "the revocation");
const CODE: (&str, &str) = ("code", "why: the `code` of the answer");
const COUNT: (&str, &str) = (
    "count",
    "how many calls of this worker were refused in this minute so far",
);

/// All events, in the order in which a project meets them.
pub const CATALOGUE: &[Row] = &[
    Row {
        name: "project.created",
        when: "An operator onboards a project. Recorded in the project's trail and in the operators' own.",
        fields: &[("project", "the project"), ("pools", "its pools")],
        example: r#"{"type":"project.created","project":"healthcare","pools":["fargate","workers"]}"#,
    },
    Row {
        name: "project.updated",
        when: "An operator changes a project's pools; steps that start from now on get the change. Recorded in the \
               project's trail and in the operators' own.",
        fields: &[
            ("project", "the project"),
            ("version", "the project's new version, from 2"),
            (
                "pools",
                "its pools from now on, by name: `kind`, and for a Fargate pool what its tasks are",
            ),
            ("replaced", "its pools until now"),
        ],
        example: r#"{"type":"project.updated","project":"healthcare","version":2,"pools":{"fargate":{"kind":"fargate","image":"registry/sandbox@sha256:02","cpu":512,"memory_mib":1024,"max_concurrent":100},"workers":{"kind":"pull"}},"replaced":{"workers":{"kind":"pull"}}}"#,
    },
    Row {
        name: "project.closed",
        when: "An operator begins to delete a project: it takes no runs, tokens and keys any more. Recorded in the \
               project's trail and in the operators' own.",
        fields: &[("project", "the project")],
        example: r#"{"type":"project.closed","project":"healthcare"}"#,
    },
    Row {
        name: "project.deleted",
        when: "An operator deletes a project whose runs have ended. Its tokens, enrolment keys and workers were \
               revoked before. Recorded in the project's trail and in the operators' own.",
        fields: &[("project", "the project")],
        example: r#"{"type":"project.deleted","project":"healthcare"}"#,
    },
    Row {
        name: "project.limits_set",
        when: "An operator sets a project's request rate limit. Recorded in the project's trail and in the operators' own.",
        fields: &[
            ("project", "the project"),
            (
                "limits",
                "`requests_per_second` and `burst`; null restores the deployment's default",
            ),
        ],
        example: r#"{"type":"project.limits_set","project":"healthcare","limits":{"requests_per_second":20,"burst":40}}"#,
    },
    Row {
        name: "egress.ceiling_set",
        when: "An operator sets what the steps of a project may reach at most. Recorded in the project's trail and in the operators' own.",
        fields: &[
            ("project", "the project"),
            ("before", "the ceiling before; absent if there was none"),
            (
                "ceiling",
                "the ceiling from now on; absent if there is none, so that profiles may allow anything but `open`",
            ),
        ],
        example: r#"{"type":"egress.ceiling_set","project":"healthcare","before":"open","ceiling":{"allow":[{"host":"api.anthropic.com"}]}}"#,
    },
    Row {
        name: "project.contained",
        when: "An admin has everything stopped that the project does, and could begin. All entries of what is stopped carry the containment's id, those of runs that a fan-out aborts as well.",
        fields: &[
            ("reason", "why, in the words of the actor"),
            ("tokens", "whether API tokens are revoked, too"),
        ],
        example: r#"{"type":"project.contained","reason":"the laptop was stolen","tokens":true}"#,
    },
    Row {
        name: "project.containment_ended",
        when: "A containment ends: it found nothing more to stop, or it gave up because new work kept coming.",
        fields: &[
            (
                "complete",
                "whether its last round found nothing more to stop",
            ),
            ("rounds", "how often it looked for what came up meanwhile"),
            ("keys", "how many keys of profiles it revoked hard"),
            (
                "workers",
                "how many workers it revoked and Fargate pools it drained",
            ),
            ("enrolment_keys", "how many enrolment keys it revoked"),
            ("tokens", "how many API tokens it revoked"),
            (
                "runs",
                "how many runs it cancelled, or aborted because they held one of the keys",
            ),
        ],
        example: r#"{"type":"project.containment_ended","complete":true,"rounds":2,"keys":3,"workers":2,"enrolment_keys":1,"tokens":4,"runs":17}"#,
    },
    Row {
        name: "tables.restored",
        when: "An operator restores the tables to an earlier moment. Entries between that moment and this one are in the \
               archive alone: what they tell was undone. Recorded in every trail.",
        fields: &[
            ("moment", "the moment"),
            (
                "reapplied",
                "how many revocations, closings and the like of this trail, made since the moment, were made again",
            ),
        ],
        example: r#"{"type":"tables.restored","moment":"2026-01-31T08:00:00.000Z","reapplied":2}"#,
    },
    Row {
        name: "token.created",
        when: "An API token is created. No trail contains its text.",
        fields: &[
            ("token_id", "the token"),
            ("role", "`operator`, `admin`, `member` or `viewer`"),
            ("expires_at", "when it expires"),
        ],
        example: r#"{"type":"token.created","token_id":"tok_0198c0de-0000-7000-8000-000000000001","role":"member","expires_at":"2026-04-30T08:00:00.000Z"}"#,
    },
    Row {
        name: "token.revoked",
        when: "An API token is revoked.",
        fields: &[("token_id", "the token")],
        example: r#"{"type":"token.revoked","token_id":"tok_0198c0de-0000-7000-8000-000000000001"}"#,
    },
    Row {
        name: "enrolment_key.created",
        when: "An enrolment key is created. No trail contains its text.",
        fields: &[
            ("enrolment_key_id", "the key"),
            ("pool", "the pool that its workers join"),
            ("max_uses", "how many workers it may approve"),
            ("expires_at", "when it expires"),
        ],
        example: r#"{"type":"enrolment_key.created","enrolment_key_id":"enk_0198c0de-0000-7000-8000-000000000002","pool":"workers","max_uses":5,"expires_at":"2026-02-01T08:00:00.000Z"}"#,
    },
    Row {
        name: "enrolment_key.revoked",
        when: "An enrolment key is revoked. Workers that it approved stay approved.",
        fields: &[("enrolment_key_id", "the key")],
        example: r#"{"type":"enrolment_key.revoked","enrolment_key_id":"enk_0198c0de-0000-7000-8000-000000000002"}"#,
    },
    Row {
        name: "worker.registered",
        when: "A worker registers. With an enrolment key it is approved at once: the key is the actor and loses one use. Otherwise it waits for approval.",
        fields: &[
            ("worker_id", "the worker"),
            ("pool", "its pool"),
            ("labels", "the labels that it declares"),
            ("approved", "whether it is approved and may claim"),
        ],
        example: r#"{"type":"worker.registered","worker_id":"wrk_0198c0de-0000-7000-8000-000000000003","pool":"workers","labels":{"region":"eu"},"approved":true}"#,
    },
    Row {
        name: "worker.approved",
        when: "An admin approves a waiting worker.",
        fields: &[("worker_id", "the worker")],
        example: r#"{"type":"worker.approved","worker_id":"wrk_0198c0de-0000-7000-8000-000000000003"}"#,
    },
    Row {
        name: "worker.rejected",
        when: "An admin rejects a waiting worker.",
        fields: &[("worker_id", "the worker")],
        example: r#"{"type":"worker.rejected","worker_id":"wrk_0198c0de-0000-7000-8000-000000000003"}"#,
    },
    Row {
        name: "worker.revoked",
        when: "An admin revokes a worker. Its steps go back to their queue, each with its own `step.requeued`.",
        fields: &[("worker_id", "the worker")],
        example: r#"{"type":"worker.revoked","worker_id":"wrk_0198c0de-0000-7000-8000-000000000003"}"#,
    },
    Row {
        name: "worker.drained",
        when: "An admin drains a worker, or a pool of Fargate: it gets no new steps, and ends those that it holds.",
        fields: &[("worker_id", "the worker")],
        example: r#"{"type":"worker.drained","worker_id":"wrk_0198c0de-0000-7000-8000-000000000003"}"#,
    },
    Row {
        name: "worker.resumed",
        when: "An admin lets a drained worker take steps again.",
        fields: &[("worker_id", "the worker")],
        example: r#"{"type":"worker.resumed","worker_id":"wrk_0198c0de-0000-7000-8000-000000000003"}"#,
    },
    Row {
        name: "worker.sandboxes_told",
        when: "A worker that starts tells other sandboxes of its own than before. Steps that ask for a sandbox backend or for a variant of its image go to workers that have told it.",
        fields: &[
            ("worker_id", "the worker"),
            (
                "sandboxes",
                "its sandbox backends, and the variants of its images",
            ),
        ],
        example: r#"{"type":"worker.sandboxes_told","worker_id":"wrk_0198c0de-0000-7000-8000-000000000003","sandboxes":{"backends":["docker"],"images":["default","python"]}}"#,
    },
    Row {
        name: "profile.created",
        when: "A profile is created. The event lists the names in it.",
        fields: &[PROFILE, VERSION, ENV, SECRETS],
        example: r#"{"type":"profile.created","profile":"crm","version":1,"env":["CRM_URL"],"secrets":{"CRM_TOKEN":"aws-sm://sealfleet/healthcare/crm#token"}}"#,
    },
    Row {
        name: "profile.updated",
        when: "A profile is changed. The event lists the names in the new version.",
        fields: &[PROFILE, VERSION, ENV, SECRETS],
        example: r#"{"type":"profile.updated","profile":"crm","version":2,"env":["CRM_URL"],"secrets":{"CRM_TOKEN":"builtin://crm@0198c0de-0000-7000-8000-00000000000a"}}"#,
    },
    Row {
        name: "profile.deleted",
        when: "A profile is deleted.",
        fields: &[PROFILE, ("version", "its last version")],
        example: r#"{"type":"profile.deleted","profile":"crm","version":2}"#,
    },
    Row {
        name: "cascade.bound",
        when: "The profiles below each run's own are set. They replace all earlier bindings.",
        fields: &[(
            "bindings",
            "the profile of the `system` level, of the `project` level, and of each workflow; a level without a profile is absent",
        )],
        example: r#"{"type":"cascade.bound","bindings":{"system":"base","project":"crm","workflows":{"intake":"ehr"}}}"#,
    },
    Row {
        name: "secret.revoked",
        when: "A key of a profile is revoked. One entry holds all keys of a request.",
        fields: &[
            REVOCATION,
            PROFILE,
            KEY,
            ("uri", "its address at the time of the revocation"),
            ("hard", "whether runs in flight are also aborted"),
            ("reason", "why, in the words of the person who revoked it"),
        ],
        example: r#"{"type":"secret.revoked","revocation_id":"rev_0198c0de-0000-7000-8000-000000000004","profile":"crm","key":"CRM_TOKEN","uri":"aws-sm://sealfleet/healthcare/crm#token","hard":true,"reason":"leaked in a ticket"}"#,
    },
    Row {
        name: "secret.revocation_lifted",
        when: "A revocation is lifted.",
        fields: &[REVOCATION, PROFILE, KEY],
        example: r#"{"type":"secret.revocation_lifted","revocation_id":"rev_0198c0de-0000-7000-8000-000000000004","profile":"crm","key":"CRM_TOKEN"}"#,
    },
    Row {
        name: "run.aborted_by_revocation",
        when: "A run in flight is aborted because it holds a revoked key. A `step.aborted` for each of its steps follows.",
        fields: &[
            REVOCATION,
            ("profile", "the profile that contributed the secret"),
            KEY,
            ("fan_out_id", "the fan-out that aborted it; may be absent"),
        ],
        example: r#"{"type":"run.aborted_by_revocation","revocation_id":"rev_0198c0de-0000-7000-8000-000000000004","profile":"crm","key":"CRM_TOKEN","fan_out_id":"fan_0198c0de-0000-7000-8000-000000000005"}"#,
    },
    Row {
        name: "revocation.fan_out_finished",
        when: "Every run in flight that held a key of a hard revocation has been aborted.",
        fields: &[
            ("fan_out_id", "the fan-out"),
            ("revocations", "its revocations"),
            ("runs_aborted", "how many runs were aborted"),
            (
                "tasks_stopped",
                "how many sandboxes their host was told to stop",
            ),
            (
                "tasks_unstopped",
                "how many sandboxes their host could not be told to stop yet",
            ),
            (
                "worker_sandboxes",
                "how many sandboxes workers kill at their next heartbeat",
            ),
        ],
        example: r#"{"type":"revocation.fan_out_finished","fan_out_id":"fan_0198c0de-0000-7000-8000-000000000005","revocations":["rev_0198c0de-0000-7000-8000-000000000004"],"runs_aborted":3,"tasks_stopped":2,"tasks_unstopped":0,"worker_sandboxes":1}"#,
    },
    Row {
        name: "governance.set",
        when: "An admin sets what callers of the project may run, and who approves.",
        fields: &[
            ("before", "what held before"),
            (
                "governance",
                "what holds now: whether runs are those of registered workflows only, how many must approve a request, and whether only logins do",
            ),
        ],
        example: r#"{"type":"governance.set","before":{"require_registered_workflows":false,"approvers":1,"logins_only":false},"governance":{"require_registered_workflows":true,"approvers":2,"logins_only":true}}"#,
    },
    Row {
        name: "workflow.registered",
        when: "A version of a workflow is registered. It waits for approval.",
        fields: &[
            WORKFLOW,
            WORKFLOW_VERSION,
            ("hash", "SHA-256 of its definition"),
        ],
        example: r#"{"type":"workflow.registered","workflow":"intake","version":3,"hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#,
    },
    Row {
        name: "workflow.promoted",
        when: "A version of a workflow is approved and takes the place of the one that ran.",
        fields: &[
            WORKFLOW,
            WORKFLOW_VERSION,
            (
                "replaced",
                "the version that ran before; absent if none did",
            ),
        ],
        example: r#"{"type":"workflow.promoted","workflow":"intake","version":3,"replaced":2}"#,
    },
    Row {
        name: "workflow.retired",
        when: "A workflow is taken out of use. Runs that are enqueued go on.",
        fields: &[
            WORKFLOW,
            ("version", "the version that ran; absent if none did"),
        ],
        example: r#"{"type":"workflow.retired","workflow":"intake","version":3}"#,
    },
    Row {
        name: "approval.requested",
        when: "Something waits for a decision.",
        fields: &[
            APPROVAL,
            ("request", "SHA-256 of what is decided on"),
            ("approvers", "how many must approve"),
            (
                "decide_by",
                "when the request expires; absent if it does not",
            ),
        ],
        example: r#"{"type":"approval.requested","approval":"workflow:intake@3","request":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","approvers":2,"decide_by":"2026-02-01T08:00:00.000Z"}"#,
    },
    Row {
        name: "approval.approved",
        when: "Somebody approves. Nothing happens while approvals are missing.",
        fields: &[
            APPROVAL,
            ("missing", "how many have yet to approve"),
            (
                "reason",
                "why, in the words of who approved; absent if they said nothing",
            ),
        ],
        example: r#"{"type":"approval.approved","approval":"workflow:intake@3","missing":0,"reason":"reviewed"}"#,
    },
    Row {
        name: "approval.denied",
        when: "Somebody denies.",
        fields: &[APPROVAL, ("reason", "why, in the words of who denied")],
        example: r#"{"type":"approval.denied","approval":"workflow:intake@3","reason":"it prints the token"}"#,
    },
    Row {
        name: "approval.expired",
        when: "Nobody decides in time.",
        fields: &[APPROVAL],
        example: r#"{"type":"approval.expired","approval":"step:run_0198c0de-0000-7000-8000-00000000000a:push"}"#,
    },
    Row {
        name: "approval.cancelled",
        when: "What waited for a decision is not there any more.",
        fields: &[APPROVAL],
        example: r#"{"type":"approval.cancelled","approval":"workflow:intake@3"}"#,
    },
    Row {
        name: "run.enqueued",
        when: "A run is stored. The same transaction queues its steps without needs.",
        fields: &[
            ("workflow", "the kind of work"),
            (
                "workflow_version",
                "the version of the registered workflow; absent if its caller wrote its steps",
            ),
            ("steps", "its steps"),
            (
                "profiles",
                "the profiles that its identity was resolved from, lowest level first; absent if there are none",
            ),
        ],
        example: r#"{"type":"run.enqueued","workflow":"intake","workflow_version":3,"steps":["fetch","parse"],"profiles":[{"level":"run","profile":"crm","version":2}]}"#,
    },
    Row {
        name: "run.denied",
        when: "A rule of the profiles or a revocation refuses an enqueue or a retry.",
        fields: &[
            ("workflow", "the kind of work"),
            ("profiles", "the profiles that it would have started with"),
            ("reason", "the rule that was broken, with names only"),
        ],
        example: r#"{"type":"run.denied","workflow":"intake","profiles":["crm"],"reason":"profile `crm` may not be used by workflow `intake`"}"#,
    },
    Row {
        name: "step.queued",
        when: "Every step that this one needs has succeeded: it may be claimed.",
        fields: &[STEP],
        example: r#"{"type":"step.queued","step_id":"parse"}"#,
    },
    Row {
        name: "step.leased",
        when: "A worker or a Fargate pool claims a step.",
        fields: &[
            STEP,
            FENCE,
            ("worker_id", "the worker that holds the claim"),
            ("mode", "`bare`, `sandboxed`, `identity` or `full`"),
            (
                "agent",
                "the CLI of the step's agent; absent if it runs a command",
            ),
            (
                "model",
                "the model that the agent is to use, as its CLI names it; absent if the CLI chooses",
            ),
        ],
        example: r#"{"type":"step.leased","step_id":"fetch","fence":1,"worker_id":"wrk_0198c0de-0000-7000-8000-000000000003","mode":"full","agent":"claude-code","model":"claude-sonnet-4-5"}"#,
    },
    Row {
        name: "secret.released",
        when: "The claim permits its holder's sandbox to resolve these references. Every claim of a step with secrets records this event, and no secret is released without it.",
        fields: &[
            STEP,
            FENCE,
            (
                "secrets",
                "each secret: `name`, `uri`, `version` where it is known, `arn` of an AWS secret, and the profile that it is `from`",
            ),
        ],
        example: r#"{"type":"secret.released","step_id":"fetch","fence":1,"secrets":[{"name":"CRM_TOKEN","uri":"aws-sm://sealfleet/healthcare/crm#token","version":"0198c0de-0000-7000-8000-00000000000b","arn":"arn:aws:secretsmanager:eu-central-1:123456789012:secret:sealfleet/healthcare/crm-AbCdEf","from":"crm"}]}"#,
    },
    Row {
        name: "profile.drift_at_injection",
        when: "A step starts with other keys or versions than it was enqueued with.",
        fields: &[
            STEP,
            FENCE,
            (
                "on_drift",
                "what the step requested: `proceed`, or `refuse`, which makes it fail",
            ),
            ("added", "secrets that were not there at enqueue"),
            ("removed", "secrets that are not there any more"),
            ("rotated", "secrets whose version or reference changed"),
            (
                "knobs",
                "plain variables that differ; absent if there are none",
            ),
            (
                "egress",
                "`true` if the step may reach other hosts than at enqueue; absent if not",
            ),
            (
                "audiences",
                "`true` if the step may get identity tokens for others than at enqueue; absent if not",
            ),
        ],
        example: r#"{"type":"profile.drift_at_injection","step_id":"fetch","fence":1,"on_drift":"proceed","added":[],"removed":[],"rotated":["CRM_TOKEN"],"knobs":["CRM_URL"],"egress":true,"audiences":true}"#,
    },
    Row {
        name: "step.running",
        when: "The step's sandbox has started.",
        fields: &[STEP, FENCE],
        example: r#"{"type":"step.running","step_id":"fetch","fence":1}"#,
    },
    Row {
        name: "profile.injected",
        when: "Recorded with `step.running`: the sandbox has the keys that these profiles resolve to.",
        fields: &[
            STEP,
            FENCE,
            (
                "profiles",
                "each profile with its `level` and `version`, lowest level first",
            ),
        ],
        example: r#"{"type":"profile.injected","step_id":"fetch","fence":1,"profiles":[{"level":"run","profile":"crm","version":2}]}"#,
    },
    Row {
        name: "secret.decrypted",
        when: "Recorded with `step.running`, once for each secret: the sandbox holds it in plaintext.",
        fields: &[
            STEP,
            FENCE,
            ("profile", "the profile that contributes the key"),
            KEY,
            ("uri", "its address"),
            ("version", "its version; absent if unknown"),
            (
                "store_request_id",
                "what the store calls the request that read it, as its own audit log does; absent where it has none",
            ),
        ],
        example: r#"{"type":"secret.decrypted","step_id":"fetch","fence":1,"profile":"crm","key":"CRM_TOKEN","uri":"vault://kv/healthcare/crm#token","version":"3","store_request_id":"0198c0de-0000-7000-8000-00000000000c"}"#,
    },
    Row {
        name: "identity.token_issued",
        when: "A step gets a token of the control plane, by which it can prove itself to others. No trail contains the token.",
        fields: &[
            STEP,
            FENCE,
            ("token_id", "the token: its `jti`"),
            ("audience", "who the token is for: its `aud`"),
            ("expires_at", "when it expires: its `exp`"),
        ],
        example: r#"{"type":"identity.token_issued","step_id":"fetch","fence":1,"token_id":"idt_0198c0de-0000-7000-8000-00000000000c","audience":"sts.amazonaws.com","expires_at":"2026-01-31T08:00:30.000Z"}"#,
    },
    Row {
        name: "identity.token_refused",
        when: "A worker or a sandbox asks for an identity token that it may not have. Repeated refusals have an entry for the \
               first, second, fourth, eighth and so on of a minute.",
        fields: &[
            STEP,
            ("fence", "the fence that was presented"),
            ("audience", "who the token was to be for"),
            CODE,
            COUNT,
        ],
        example: r#"{"type":"identity.token_refused","step_id":"fetch","fence":1,"audience":"sts.amazonaws.com","code":"stale_fence","count":1}"#,
    },
    Row {
        name: "secret.read_unexplained",
        when: "AWS reports that a secret was read, and no release explains the read. Recorded in the trail of the secret's project, or in `~system`, at the time of the read, some minutes after it.",
        fields: &[
            ("secret", "the secret's name in AWS Secrets Manager"),
            (
                "version",
                "the version that was requested; absent if the request named none",
            ),
            (
                "by",
                "who read it: the ARN that AWS verified, or the service",
            ),
            (
                "why",
                "`not_an_execution_role`, `other_project`, `in_a_batch`, `version_not_pinned`, `unknown_task`, `foreign_task`, `other_task`, `not_released`, `before_release`, `long_after_release` or `unknown_token`",
            ),
            (
                "cloudtrail_event_id",
                "the CloudTrail record with all details",
            ),
            ("read_at", "when it was read, to the second"),
        ],
        example: r#"{"type":"secret.read_unexplained","secret":"sealfleet/healthcare/crm","version":"0198c0de-0000-7000-8000-00000000000b","by":"arn:aws:sts::123456789012:assumed-role/Admin/alice","why":"not_an_execution_role","cloudtrail_event_id":"3f0c9a52-6b0e-4b0e-9f0a-2b1c5d6e7f80","read_at":"2026-01-31T08:00:00.000Z"}"#,
    },
    Row {
        name: "step.succeeded",
        when: "A step's command exited with code 0.",
        fields: &[STEP, FENCE],
        example: r#"{"type":"step.succeeded","step_id":"fetch","fence":1}"#,
    },
    Row {
        name: "step.failed",
        when: "A step's command failed, could not be started, or was not allowed to start.",
        fields: &[
            STEP,
            FENCE,
            (
                "failure",
                "its `kind` with the details of that kind: an exit code, a signal, or a text with names only",
            ),
        ],
        example: r#"{"type":"step.failed","step_id":"fetch","fence":1,"failure":{"kind":"exit","code":3}}"#,
    },
    Row {
        name: "step.requeued",
        when: "A step's claim is lost, and the step goes back to its queue.",
        fields: &[
            STEP,
            ("fence", "the fence of the lost claim"),
            ("attempt", "the number of the next attempt, from 1"),
            (
                "reason",
                "`lease_expired`, `worker_revoked` or `sandbox_lost`; or why the host could not start it now: \
                 `no_capacity`, `throttled`, `network_timeout`, `image_timeout`, `role_not_ready` or `host_failed`",
            ),
        ],
        example: r#"{"type":"step.requeued","step_id":"fetch","fence":1,"attempt":2,"reason":"lease_expired"}"#,
    },
    Row {
        name: "step.aborted",
        when: "A step is ended from outside. No later report changes it.",
        fields: &[
            STEP,
            (
                "reason",
                "its `kind`: `cancelled`, `dependency_failed` with the step, or `revoked` with the revocation",
            ),
        ],
        example: r#"{"type":"step.aborted","step_id":"parse","reason":{"kind":"dependency_failed","step_id":"fetch"}}"#,
    },
    Row {
        name: "step.dead",
        when: "A step is given up. It stays listed and can be retried.",
        fields: &[STEP, ("reason", "`attempts_exhausted` or `ttl_expired`")],
        example: r#"{"type":"step.dead","step_id":"fetch","reason":"attempts_exhausted"}"#,
    },
    Row {
        name: "step.retried",
        when: "A caller puts a dead step back in its queue, together with the steps that were ended because of it.",
        fields: &[STEP],
        example: r#"{"type":"step.retried","step_id":"fetch"}"#,
    },
    Row {
        name: "pool.sandbox.reset",
        when: "The sandbox of an ended step has been removed.",
        fields: &[STEP, FENCE],
        example: r#"{"type":"pool.sandbox.reset","step_id":"fetch","fence":1}"#,
    },
    Row {
        name: "redaction.match",
        when: "Recorded with the end of a step: `sealfleet-init` found values of the step's secrets in its output, and put `<redacted:KEY>` in their place.",
        fields: &[
            STEP,
            FENCE,
            (
                "matches",
                "by `key`, `stream` and `encoding`: the `count` of places; the 20 most frequent, never a value or a place",
            ),
        ],
        example: r#"{"type":"redaction.match","step_id":"fetch","fence":1,"matches":[{"key":"CRM_TOKEN","stream":"stdout","encoding":"base64","count":2}]}"#,
    },
    Row {
        name: "egress.denied",
        when: "While a step of a worker runs, with a heartbeat, and with its end: its egress proxy has kept it from hosts. \
               Each entry counts what no other does, unless an answer to a heartbeat was lost: then two may count the same.",
        fields: &[
            STEP,
            FENCE,
            (
                "rows",
                "by `host`, `port` and `reason`: the `count` of tries, the most frequent first. `no_rule`: no profile allows it; `address`: it has an address that no step may reach; `no_method` and `no_path`: no rule for the host allows the request; `sni`: the program named another host in TLS; `credential_withdrawn`: the secret `key` is revoked",
            ),
            (
                "others",
                "tries of hosts that have no row; absent if there are none",
            ),
        ],
        example: r#"{"type":"egress.denied","step_id":"fetch","fence":1,"rows":[{"host":"paste.example","port":443,"reason":"no_rule","count":2}],"others":1}"#,
    },
    Row {
        name: "egress.credential_mismatch",
        when: "While a step of a worker runs, with a heartbeat, and with its end: its egress proxy has refused requests that \
               held the placeholder of a secret which is not bound to that place. No value was sent. Counted as `egress.denied` is.",
        fields: &[
            STEP,
            FENCE,
            (
                "rows",
                "by `host`, `port` and `key`, the secret: the `count` of requests, the most frequent first; the `reason` is `credential_mismatch`",
            ),
        ],
        example: r#"{"type":"egress.credential_mismatch","step_id":"fetch","fence":1,"rows":[{"host":"paste.example","port":443,"reason":"credential_mismatch","key":"CRM_TOKEN","count":1}]}"#,
    },
    Row {
        name: "egress.allowed",
        when: "Recorded with the end of a step: the hosts that it has reached through its egress proxy.",
        fields: &[
            STEP,
            FENCE,
            (
                "rows",
                "by `host` and `port`: how many `connections`, and the bytes `sent` to the host and `received` from it; those of the most connections",
            ),
            (
                "others",
                "the same of hosts that have no row; absent if there are none",
            ),
        ],
        example: r#"{"type":"egress.allowed","step_id":"fetch","fence":1,"rows":[{"host":"api.anthropic.com","port":443,"connections":2,"sent":4096,"received":65536}],"others":{"connections":1,"sent":10,"received":20}}"#,
    },
    Row {
        name: "egress.policy_changed",
        when: "A new version of a profile has another egress policy. Recorded in the same entry as `profile.created` or `profile.updated`.",
        fields: &[
            ("profile", "the profile"),
            ("version", "its new version"),
            (
                "before",
                "the policy before; absent if the profile said nothing of egress, or is new",
            ),
            (
                "egress",
                "the policy from now on; absent if the profile says nothing of egress any more",
            ),
        ],
        example: r#"{"type":"egress.policy_changed","profile":"crm","version":4,"before":"none","egress":{"allow":[{"host":"api.anthropic.com"}]}}"#,
    },
    Row {
        name: "artifact.contains_secret",
        when: "Recorded with the end of a step that a pull worker ran: `sealfleet-init` found values of the step's secrets in files that the step leaves as artifacts.",
        fields: &[
            STEP,
            FENCE,
            (
                "files",
                "by `name`: the `keys` of the secrets, and whether the file was `withheld`, so that it has stayed in the sandbox; the first 20",
            ),
        ],
        example: r#"{"type":"artifact.contains_secret","step_id":"fetch","fence":1,"files":[{"name":"out/config.json","keys":["CRM_TOKEN"],"withheld":true}]}"#,
    },
    Row {
        name: "run.finished",
        when: "The last step of a run ended.",
        fields: &[("state", "`succeeded`, `failed`, `aborted` or `dead`")],
        example: r#"{"type":"run.finished","state":"succeeded"}"#,
    },
    Row {
        name: "run.cancelled",
        when: "A caller cancels a run. A `step.aborted` for each live step follows in the same entry.",
        fields: &[],
        example: r#"{"type":"run.cancelled"}"#,
    },
    Row {
        name: "claim.refused",
        when: "A worker requests a step that it may not claim or that does not match its capabilities. Repeated refusals \
               have an entry for the first, second, fourth, eighth and so on of a minute.",
        fields: &[STEP, CODE, COUNT],
        example: r#"{"type":"claim.refused","step_id":"fetch","code":"step_mismatch","count":1}"#,
    },
    Row {
        name: "report.refused",
        when: "A start or a report names a claim that is no longer live or that belongs to another worker. Repeated refusals \
               have an entry for the first, second, fourth, eighth and so on of a minute.",
        fields: &[STEP, ("fence", "the fence that was presented"), CODE, COUNT],
        example: r#"{"type":"report.refused","step_id":"fetch","fence":1,"code":"stale_fence","count":1}"#,
    },
];

#[must_use]
pub fn row(name: &str) -> Option<&'static Row> {
    CATALOGUE.iter().find(|row| row.name == name)
}
