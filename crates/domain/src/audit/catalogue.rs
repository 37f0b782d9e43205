//! What each event says: when it happens, what its fields mean, and one as it is written.
//!
//! `docs/reference/audit-events.md` is this table. [`Event::class`] has an arm for each event, so a
//! new event does not compile without its class; and a test holds the table against all names that
//! an event can be read by, so none is without its row, and against the members of each example, so
//! no field is without its meaning.

use std::collections::BTreeSet;

use super::Event;
use crate::identity::{Drift, ProfileUse, SecretRef};
use crate::reference::ProfileRef;
use crate::revocation::Revoked;
use crate::step::AbortReason;

/// What an event is evidence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Something is stored otherwise than before. The event stands in the transaction that changed
    /// it.
    StateChange,
    /// Somebody was refused, and nothing changed.
    Refusal,
    /// Something was seen: what a change beside it means for a sandbox, or what happened outside.
    Observation,
}

impl Class {
    /// The class in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::StateChange => "state change",
            Self::Refusal => "refusal",
            Self::Observation => "observation",
        }
    }
}

/// What an event is about, as far as a trail is searched by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Profiles.
    pub profiles: BTreeSet<ProfileRef>,
    /// Names of secrets, and of plain knobs.
    pub keys: BTreeSet<String>,
}

/// A row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The event's dotted name.
    pub name: &'static str,
    /// When it happens.
    pub when: &'static str,
    /// Each member beside `type`, with its meaning; one that may be absent says so.
    pub fields: &'static [(&'static str, &'static str)],
    /// One as it is written, with all its members.
    pub example: &'static str,
}

impl Event {
    /// What the event is evidence of.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::ProjectCreated { .. }
            | Self::LimitsSet { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRevoked { .. }
            | Self::EnrolmentKeyCreated { .. }
            | Self::EnrolmentKeyRevoked { .. }
            | Self::WorkerRegistered { .. }
            | Self::WorkerApproved { .. }
            | Self::WorkerRejected { .. }
            | Self::WorkerRevoked { .. }
            | Self::ProfileCreated { .. }
            | Self::ProfileUpdated { .. }
            | Self::ProfileDeleted { .. }
            | Self::CascadeBound { .. }
            | Self::SecretRevoked { .. }
            | Self::RevocationLifted { .. }
            | Self::RunAbortedByRevocation { .. }
            | Self::FanOutFinished { .. }
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
            | Self::RunCancelled {} => Class::StateChange,
            Self::RunDenied { .. } | Self::ClaimRefused { .. } | Self::ReportRefused { .. } => {
                Class::Refusal
            }
            Self::DriftAtInjection { .. }
            | Self::ProfileInjected { .. }
            | Self::SecretDecrypted { .. }
            | Self::SecretReadUnexplained { .. } => Class::Observation,
        }
    }

    /// The profiles and keys that the event names.
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
            | Self::RevocationLifted { profile, key, .. } => Subjects {
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
            Self::SecretDecrypted { key, .. } => Subjects {
                keys: BTreeSet::from([key.clone()]),
                ..Subjects::default()
            },
            Self::ProjectCreated { .. }
            | Self::LimitsSet { .. }
            | Self::TokenCreated { .. }
            | Self::TokenRevoked { .. }
            | Self::EnrolmentKeyCreated { .. }
            | Self::EnrolmentKeyRevoked { .. }
            | Self::WorkerRegistered { .. }
            | Self::WorkerApproved { .. }
            | Self::WorkerRejected { .. }
            | Self::WorkerRevoked { .. }
            | Self::FanOutFinished { .. }
            | Self::StepQueued { .. }
            | Self::StepLeased { .. }
            | Self::StepRunning { .. }
            | Self::StepSucceeded { .. }
            | Self::StepFailed { .. }
            | Self::StepRequeued { .. }
            | Self::StepAborted {
                reason: AbortReason::Cancelled | AbortReason::DependencyFailed { .. },
                ..
            }
            | Self::StepDead { .. }
            | Self::StepRetried { .. }
            | Self::SandboxReset { .. }
            | Self::RunFinished { .. }
            | Self::RunCancelled {}
            | Self::SecretReadUnexplained { .. }
            | Self::ClaimRefused { .. }
            | Self::ReportRefused { .. } => Subjects::default(),
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
    "the claim: a number that grows with each claim of the step",
);
const PROFILE: (&str, &str) = (
    "profile",
    "the profile; `system/NAME` is one of the operators'",
);
const VERSION: (&str, &str) = ("version", "the profile's version");
const ENV: (&str, &str) = ("env", "the names of its plain knobs");
const SECRETS: (&str, &str) = ("secrets", "its secrets: name to reference");
const KEY: (&str, &str) = ("key", "the secret's name");
const REVOCATION: (&str, &str) = ("revocation_id", "the revocation");
const CODE: (&str, &str) = ("code", "why, as the `code` of the answer");

/// All events, in the order in which a project meets them.
pub const CATALOGUE: &[Row] = &[
    Row {
        name: "project.created",
        when: "An operator onboards a project. It stands in the project's trail and in the operators' own.",
        fields: &[("project", "the project"), ("pools", "its pools")],
        example: r#"{"type":"project.created","project":"healthcare","pools":["fargate","workers"]}"#,
    },
    Row {
        name: "project.limits_set",
        when: "An operator sets how often a project's callers may call. It stands in the project's trail and in the operators' own.",
        fields: &[
            ("project", "the project"),
            (
                "limits",
                "`requests_per_second` and `burst`; null: the deployment's default from now on",
            ),
        ],
        example: r#"{"type":"project.limits_set","project":"healthcare","limits":{"requests_per_second":20,"burst":40}}"#,
    },
    Row {
        name: "token.created",
        when: "An API token is made. Its text is in no trail.",
        fields: &[
            ("token_id", "the token"),
            ("role", "`operator`, `admin`, `member` or `viewer`"),
            ("expires_at", "when it stops working"),
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
        when: "An enrolment key is made. Its text is in no trail.",
        fields: &[
            ("enrolment_key_id", "the key"),
            ("pool", "the one pool that it is for"),
            ("max_uses", "how many workers it may approve"),
            ("expires_at", "when it stops working"),
        ],
        example: r#"{"type":"enrolment_key.created","enrolment_key_id":"enk_0198c0de-0000-7000-8000-000000000002","pool":"workers","max_uses":5,"expires_at":"2026-02-01T08:00:00.000Z"}"#,
    },
    Row {
        name: "enrolment_key.revoked",
        when: "An enrolment key is revoked. Workers that it approved stay.",
        fields: &[("enrolment_key_id", "the key")],
        example: r#"{"type":"enrolment_key.revoked","enrolment_key_id":"enk_0198c0de-0000-7000-8000-000000000002"}"#,
    },
    Row {
        name: "worker.registered",
        when: "A worker registers: approved by its enrolment key, which is the actor and one use of which it takes, or waiting.",
        fields: &[
            ("worker_id", "the worker"),
            ("pool", "its pool"),
            ("labels", "what it says it can do"),
            ("approved", "whether it may claim at once"),
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
        when: "An admin revokes a worker. What it holds goes back to its queue, each step with its own `step.requeued`.",
        fields: &[("worker_id", "the worker")],
        example: r#"{"type":"worker.revoked","worker_id":"wrk_0198c0de-0000-7000-8000-000000000003"}"#,
    },
    Row {
        name: "profile.created",
        when: "A profile is created, by the names it holds.",
        fields: &[PROFILE, VERSION, ENV, SECRETS],
        example: r#"{"type":"profile.created","profile":"crm","version":1,"env":["CRM_URL"],"secrets":{"CRM_TOKEN":"aws-sm://sealfleet/healthcare/crm#token"}}"#,
    },
    Row {
        name: "profile.updated",
        when: "A profile is changed, by the names it holds now.",
        fields: &[PROFILE, VERSION, ENV, SECRETS],
        example: r#"{"type":"profile.updated","profile":"crm","version":2,"env":["CRM_URL"],"secrets":{"CRM_TOKEN":"builtin://crm@0198c0de-0000-7000-8000-00000000000a"}}"#,
    },
    Row {
        name: "profile.deleted",
        when: "A profile is deleted.",
        fields: &[PROFILE, ("version", "the version that it had")],
        example: r#"{"type":"profile.deleted","profile":"crm","version":2}"#,
    },
    Row {
        name: "cascade.bound",
        when: "The profiles below each run's own are bound anew, in place of all that was bound before.",
        fields: &[(
            "bindings",
            "profile names: of the `system` level, of the `project` level, and by workflow; a level without one is absent",
        )],
        example: r#"{"type":"cascade.bound","bindings":{"system":"base","project":"crm","workflows":{"intake":"ehr"}}}"#,
    },
    Row {
        name: "secret.revoked",
        when: "A key of a profile is revoked. All keys of one request stand in one entry.",
        fields: &[
            REVOCATION,
            PROFILE,
            KEY,
            ("uri", "its address when it was revoked"),
            ("hard", "whether runs in flight are aborted as well"),
            ("reason", "why, in the words of who did it"),
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
        when: "A run in flight is aborted because it holds a revoked key. `step.aborted` of each of its steps follows.",
        fields: &[
            REVOCATION,
            ("profile", "the profile that contributed the secret"),
            KEY,
            ("fan_out_id", "the fan-out that did it; may be absent"),
        ],
        example: r#"{"type":"run.aborted_by_revocation","revocation_id":"rev_0198c0de-0000-7000-8000-000000000004","profile":"crm","key":"CRM_TOKEN","fan_out_id":"fan_0198c0de-0000-7000-8000-000000000005"}"#,
    },
    Row {
        name: "revocation.fan_out_finished",
        when: "All runs in flight that held the keys of a hard revocation are aborted.",
        fields: &[
            ("fan_out_id", "the fan-out"),
            ("revocations", "its revocations"),
            ("runs_aborted", "runs that were aborted"),
            ("tasks_stopped", "sandboxes that ECS was told to stop"),
            (
                "tasks_unstopped",
                "sandboxes that ECS could not be told to stop yet",
            ),
            (
                "worker_sandboxes",
                "sandboxes that workers kill at their next heartbeat",
            ),
        ],
        example: r#"{"type":"revocation.fan_out_finished","fan_out_id":"fan_0198c0de-0000-7000-8000-000000000005","revocations":["rev_0198c0de-0000-7000-8000-000000000004"],"runs_aborted":3,"tasks_stopped":2,"tasks_unstopped":0,"worker_sandboxes":1}"#,
    },
    Row {
        name: "run.enqueued",
        when: "A run is stored. Its steps without needs are queued with it.",
        fields: &[
            ("workflow", "the kind of work"),
            ("steps", "its steps"),
            (
                "profiles",
                "the profiles that its identity was resolved from, lowest level first; absent without any",
            ),
        ],
        example: r#"{"type":"run.enqueued","workflow":"intake","steps":["fetch","parse"],"profiles":[{"level":"run","profile":"crm","version":2}]}"#,
    },
    Row {
        name: "run.denied",
        when: "An enqueue or a retry is refused by a rule of its profiles, or by a revocation.",
        fields: &[
            ("workflow", "the kind of work"),
            ("profiles", "the profiles that it would have started with"),
            ("reason", "the rule, by names"),
        ],
        example: r#"{"type":"run.denied","workflow":"intake","profiles":["crm"],"reason":"profile `crm` may not be used by workflow `intake`"}"#,
    },
    Row {
        name: "step.queued",
        when: "All that a step waited for has succeeded: it may be claimed.",
        fields: &[STEP],
        example: r#"{"type":"step.queued","step_id":"parse"}"#,
    },
    Row {
        name: "step.leased",
        when: "A worker, or a Fargate pool, claims a step.",
        fields: &[
            STEP,
            FENCE,
            ("worker_id", "who holds it"),
            ("mode", "`bare`, `sandboxed` or `identity`"),
        ],
        example: r#"{"type":"step.leased","step_id":"fetch","fence":1,"worker_id":"wrk_0198c0de-0000-7000-8000-000000000003","mode":"identity"}"#,
    },
    Row {
        name: "secret.released",
        when: "With a claim, its holder may have a sandbox resolve these references. No claim without this event, no secret without it.",
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
        when: "What a step starts with is not what it was enqueued with.",
        fields: &[
            STEP,
            FENCE,
            (
                "on_drift",
                "what the step asked for: `proceed`, or `refuse`, and then it fails",
            ),
            ("added", "secrets that were not there"),
            ("removed", "secrets that are gone"),
            (
                "rotated",
                "secrets with another version, or another reference",
            ),
            ("knobs", "plain knobs that differ; absent without any"),
        ],
        example: r#"{"type":"profile.drift_at_injection","step_id":"fetch","fence":1,"on_drift":"proceed","added":[],"removed":[],"rotated":["CRM_TOKEN"],"knobs":["CRM_URL"]}"#,
    },
    Row {
        name: "step.running",
        when: "The step's sandbox has started.",
        fields: &[STEP, FENCE],
        example: r#"{"type":"step.running","step_id":"fetch","fence":1}"#,
    },
    Row {
        name: "profile.injected",
        when: "With `step.running`: the sandbox has the outcome of these profiles.",
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
        when: "With `step.running`, once for each secret: the sandbox holds it in plaintext.",
        fields: &[
            STEP,
            FENCE,
            KEY,
            ("uri", "its address"),
            ("version", "its version; absent where nobody knows it"),
        ],
        example: r#"{"type":"secret.decrypted","step_id":"fetch","fence":1,"key":"CRM_TOKEN","uri":"aws-sm://sealfleet/healthcare/crm#token","version":"0198c0de-0000-7000-8000-00000000000b"}"#,
    },
    Row {
        name: "secret.read_unexplained",
        when: "AWS says that a secret was read, and no release explains it. It stands in the trail of the secret's project, or in `~system`, at the time of the read, which is minutes before it is put there.",
        fields: &[
            ("secret", "the secret's name in AWS Secrets Manager"),
            (
                "version",
                "the version that was asked for; absent where none was",
            ),
            (
                "by",
                "who read it: the ARN that AWS verified, or the service",
            ),
            (
                "why",
                "`not_an_execution_role`, `other_project`, `in_a_batch`, `version_not_pinned`, `unknown_task`, `foreign_task`, `other_task`, `not_released`, `before_release` or `long_after_release`",
            ),
            (
                "cloudtrail_event_id",
                "the record in CloudTrail, which has the rest",
            ),
            ("read_at", "when it was read, to the second"),
        ],
        example: r#"{"type":"secret.read_unexplained","secret":"sealfleet/healthcare/crm","version":"0198c0de-0000-7000-8000-00000000000b","by":"arn:aws:sts::123456789012:assumed-role/Admin/alice","why":"not_an_execution_role","cloudtrail_event_id":"3f0c9a52-6b0e-4b0e-9f0a-2b1c5d6e7f80","read_at":"2026-01-31T08:00:00.000Z"}"#,
    },
    Row {
        name: "step.succeeded",
        when: "A step's command exited with 0.",
        fields: &[STEP, FENCE],
        example: r#"{"type":"step.succeeded","step_id":"fetch","fence":1}"#,
    },
    Row {
        name: "step.failed",
        when: "A step's command failed, could not be started, or was not let start.",
        fields: &[
            STEP,
            FENCE,
            (
                "failure",
                "its `kind`, and what belongs to it: an exit code, a signal, a detail by names",
            ),
        ],
        example: r#"{"type":"step.failed","step_id":"fetch","fence":1,"failure":{"kind":"exit","code":3}}"#,
    },
    Row {
        name: "step.requeued",
        when: "A claim is lost, and the step goes back to its queue.",
        fields: &[
            STEP,
            ("fence", "the claim that is lost"),
            ("attempt", "the try that comes now, from 1"),
            (
                "reason",
                "`lease_expired`, `worker_revoked`, `sandbox_lost` or `no_capacity`",
            ),
        ],
        example: r#"{"type":"step.requeued","step_id":"fetch","fence":1,"attempt":2,"reason":"lease_expired"}"#,
    },
    Row {
        name: "step.aborted",
        when: "A step is ended from outside. Nothing that is reported later changes it.",
        fields: &[
            STEP,
            (
                "reason",
                "its `kind`: `cancelled`, `dependency_failed` with the step, `revoked` with the revocation",
            ),
        ],
        example: r#"{"type":"step.aborted","step_id":"parse","reason":{"kind":"dependency_failed","step_id":"fetch"}}"#,
    },
    Row {
        name: "step.dead",
        when: "A step is given up. It is kept and listed, and can be retried.",
        fields: &[STEP, ("reason", "`attempts_exhausted` or `ttl_expired`")],
        example: r#"{"type":"step.dead","step_id":"fetch","reason":"attempts_exhausted"}"#,
    },
    Row {
        name: "step.retried",
        when: "A caller puts a dead step back, and with it the steps that were ended because of it.",
        fields: &[STEP],
        example: r#"{"type":"step.retried","step_id":"fetch"}"#,
    },
    Row {
        name: "pool.sandbox.reset",
        when: "The sandbox of a step that has ended is gone.",
        fields: &[STEP, FENCE],
        example: r#"{"type":"pool.sandbox.reset","step_id":"fetch","fence":1}"#,
    },
    Row {
        name: "run.finished",
        when: "The last step of a run has ended.",
        fields: &[("state", "`succeeded`, `failed`, `aborted` or `dead`")],
        example: r#"{"type":"run.finished","state":"succeeded"}"#,
    },
    Row {
        name: "run.cancelled",
        when: "A caller cancels a run. `step.aborted` of each live step follows in the same entry.",
        fields: &[],
        example: r#"{"type":"run.cancelled"}"#,
    },
    Row {
        name: "claim.refused",
        when: "A worker asks for a step that is not there for it, or that it does not match.",
        fields: &[STEP, CODE],
        example: r#"{"type":"claim.refused","step_id":"fetch","code":"step_mismatch"}"#,
    },
    Row {
        name: "report.refused",
        when: "A start or a report comes from a claim that is not live any more, or is another worker's.",
        fields: &[STEP, ("fence", "the fence that was presented"), CODE],
        example: r#"{"type":"report.refused","step_id":"fetch","fence":1,"code":"stale_fence"}"#,
    },
];

/// The row of an event's name.
#[must_use]
pub fn row(name: &str) -> Option<&'static Row> {
    CATALOGUE.iter().find(|row| row.name == name)
}
