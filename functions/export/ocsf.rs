//! Exported events in the words of the Open Cybersecurity Schema Framework (OCSF), which SIEMs
//! read.
//!
//! Each event has one class of the schema, chosen by what it is evidence of ([`mapping`]), with the
//! attributes that the class requires and those that a search starts from: who, which run, which
//! secret. The event itself stands complete and unchanged in `unmapped`, with the id of its entry
//! and its place in it, by which a reader drops doubles.
//!
//! The trail holds no network addresses: where a class requires an endpoint, it is named by the
//! actor.
//!
//! A deployment chooses a [`Version`]. What 1.9 adds is in [`additions`] and [`attestation`].
//!
//! Source: OCSF schema 1.6.0 and 1.9.0. `scripts/check-ocsf` validates an example of every event.

mod additions;
mod attestation;

use std::str::FromStr;

use attestation::Chain;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::egress::HostName;
use serde_json::{Map, Value, json};

/// A version of the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What SIEMs and Security Lake know best.
    #[default]
    V1_6,
    /// Says who acts for whom, and chains the events of an object.
    V1_9,
}

impl Version {
    /// As events name it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::V1_6 => "1.6.0",
            Self::V1_9 => "1.9.0",
        }
    }
}

impl FromStr for Version {
    type Err = String;

    /// Reads the parameter `OcsfVersion` of the template.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.6" => Ok(Self::V1_6),
            "1.9" => Ok(Self::V1_9),
            other => Err(format!(
                "events are exported in OCSF 1.6 or 1.9, not `{other}`"
            )),
        }
    }
}

/// A class of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 2004.
    DetectionFinding,
    /// 3001.
    AccountChange,
    /// 3003.
    AuthorizeSession,
    /// 3004.
    EntityManagement,
    /// 6002.
    ApplicationLifecycle,
    /// 6003.
    ApiActivity,
}

impl Class {
    /// Its `class_uid`.
    #[must_use]
    pub const fn uid(self) -> u32 {
        match self {
            Self::DetectionFinding => 2004,
            Self::AccountChange => 3001,
            Self::AuthorizeSession => 3003,
            Self::EntityManagement => 3004,
            Self::ApplicationLifecycle => 6002,
            Self::ApiActivity => 6003,
        }
    }

    /// Its `class_name`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DetectionFinding => "Detection Finding",
            Self::AccountChange => "Account Change",
            Self::AuthorizeSession => "Authorize Session",
            Self::EntityManagement => "Entity Management",
            Self::ApplicationLifecycle => "Application Lifecycle",
            Self::ApiActivity => "API Activity",
        }
    }

    /// Whether the class has the attribute `actor`.
    const fn has_actor(self) -> bool {
        !matches!(self, Self::DetectionFinding | Self::ApplicationLifecycle)
    }
}

/// What is done, with its `activity_id` in the class.
type Activity = (u32, &'static str);

/// How grave it is, as `severity_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// What happens every day.
    Informational = 1,
    /// What may need a look.
    Low = 2,
    /// What needs one.
    Medium = 3,
    /// What needs one now.
    High = 4,
}

/// How one event is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// The class.
    pub class: Class,
    /// The activity.
    pub activity: Activity,
    /// The severity.
    pub severity: Severity,
    /// Whether what was tried did not happen.
    pub failed: bool,
    /// The attributes of the class that say what the event is about.
    about: Vec<(&'static str, Value)>,
}

impl Mapping {
    const fn new(class: Class, activity: Activity, about: Vec<(&'static str, Value)>) -> Self {
        Self {
            class,
            activity,
            severity: Severity::Informational,
            failed: false,
            about,
        }
    }

    const fn of(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    const fn failed(mut self) -> Self {
        self.failed = true;
        self
    }
}

/// Activities of an account.
mod account {
    pub const CREATE: super::Activity = (1, "Create");
    pub const ENABLE: super::Activity = (2, "Enable");
    pub const DISABLE: super::Activity = (5, "Disable");
}

/// Activities of a managed entity.
mod entity {
    pub const CREATE: super::Activity = (1, "Create");
    pub const UPDATE: super::Activity = (3, "Update");
    pub const DELETE: super::Activity = (4, "Delete");
    pub const ENABLE: super::Activity = (8, "Enable");
    pub const DISABLE: super::Activity = (9, "Disable");
}

/// Activities of an application's life.
mod life {
    pub const REMOVE: super::Activity = (2, "Remove");
    pub const START: super::Activity = (3, "Start");
    pub const STOP: super::Activity = (4, "Stop");
    pub const RESTART: super::Activity = (5, "Restart");
}

/// Activities of an API.
mod api {
    pub const CREATE: super::Activity = (1, "Create");
    pub const READ: super::Activity = (2, "Read");
    pub const UPDATE: super::Activity = (3, "Update");
    pub const DELETE: super::Activity = (4, "Delete");
}

fn changed_account(activity: Activity, kind: &str, id: impl std::fmt::Display) -> Mapping {
    let user = json!({ "uid": id.to_string(), "type": kind, "type_id": 99 });
    Mapping::new(Class::AccountChange, activity, vec![("user", user)])
}

fn managed(activity: Activity, kind: &str, name: impl std::fmt::Display) -> Mapping {
    let entity = json!({ "name": name.to_string(), "type": kind, "type_id": 99 });
    Mapping::new(Class::EntityManagement, activity, vec![("entity", entity)])
}

fn lived(activity: Activity, kind: &str, id: impl std::fmt::Display) -> Mapping {
    let app = json!({ "uid": id.to_string(), "name": kind });
    Mapping::new(Class::ApplicationLifecycle, activity, vec![("app", app)])
}

fn called(activity: Activity, resources: impl IntoIterator<Item = Value>) -> Mapping {
    let resources: Vec<Value> = resources.into_iter().collect();
    let about = if resources.is_empty() {
        Vec::new()
    } else {
        vec![("resources", Value::Array(resources))]
    };
    Mapping::new(Class::ApiActivity, activity, about)
}

fn resource(kind: &str, name: impl std::fmt::Display) -> Value {
    json!({ "name": name.to_string(), "type": kind })
}

fn host(name: &HostName, port: u16) -> Value {
    resource("host", format_args!("{name}:{port}"))
}

fn found(title: &str, resources: impl IntoIterator<Item = Value>) -> Mapping {
    let resources: Vec<Value> = resources.into_iter().collect();
    let about = vec![
        ("finding_info", json!({ "title": title })),
        ("resources", Value::Array(resources)),
    ];
    Mapping::new(Class::DetectionFinding, api::CREATE, about)
}

/// How an event of a run is written.
#[must_use]
pub fn mapping(entry: &AuditEntry, event: &Event) -> Mapping {
    let run = entry
        .run_id
        .map(|run_id| run_id.to_string())
        .unwrap_or_default();
    let step = |step_id: &sealfleet_domain::StepId| format!("{run}/{step_id}");
    let profiles = |profiles: &[sealfleet_domain::identity::ProfileUse]| {
        profiles
            .iter()
            .map(|used| resource("profile", &used.profile))
            .collect::<Vec<_>>()
    };
    match event {
        Event::ProjectCreated { project, .. } => managed(entity::CREATE, "project", project),
        Event::ProjectUpdated { project, .. } => {
            managed(entity::UPDATE, "project", project).of(Severity::Low)
        }
        Event::ProjectClosed { project } => {
            managed(entity::UPDATE, "project", project).of(Severity::Low)
        }
        Event::ProjectDeleted { project } => managed(entity::DELETE, "project", project),
        Event::ProjectContained { .. } => {
            managed(entity::DISABLE, "project", &entry.project).of(Severity::High)
        }
        Event::ContainmentEnded { complete: true, .. } => {
            managed(entity::UPDATE, "project", &entry.project).of(Severity::Medium)
        }
        Event::ContainmentEnded { .. } => managed(entity::UPDATE, "project", &entry.project)
            .of(Severity::High)
            .failed(),
        Event::LimitsSet { project, .. } => {
            managed(entity::UPDATE, "project limits", project).of(Severity::Low)
        }
        Event::EgressCeilingSet { project, .. } => {
            managed(entity::UPDATE, "egress ceiling", project).of(Severity::Medium)
        }
        Event::EgressPolicyChanged { profile, .. } => {
            managed(entity::UPDATE, "egress policy", profile).of(Severity::Medium)
        }
        Event::TablesRestored { moment, .. } => {
            managed(entity::UPDATE, "tables", moment).of(Severity::High)
        }
        Event::TokenCreated { token_id, .. } => {
            changed_account(account::CREATE, "API token", token_id)
        }
        Event::TokenRevoked { token_id } => {
            changed_account(account::DISABLE, "API token", token_id)
        }
        Event::EnrolmentKeyCreated {
            enrolment_key_id, ..
        } => changed_account(account::CREATE, "enrolment key", enrolment_key_id),
        Event::EnrolmentKeyRevoked { enrolment_key_id } => {
            changed_account(account::DISABLE, "enrolment key", enrolment_key_id)
        }
        Event::WorkerRegistered { worker_id, .. } => {
            changed_account(account::CREATE, "worker", worker_id)
        }
        Event::WorkerApproved { worker_id } => {
            changed_account(account::ENABLE, "worker", worker_id)
        }
        Event::WorkerRejected { worker_id } => {
            changed_account(account::DISABLE, "worker", worker_id)
        }
        Event::WorkerRevoked { worker_id } => {
            changed_account(account::DISABLE, "worker", worker_id).of(Severity::Low)
        }
        Event::WorkerDrained { worker_id } | Event::WorkerResumed { worker_id } => {
            managed(entity::UPDATE, "worker", worker_id)
        }
        Event::WorkerSandboxesTold { worker_id, .. } => {
            managed(entity::UPDATE, "worker", worker_id)
        }
        Event::ProfileCreated { profile, .. } => managed(entity::CREATE, "profile", profile),
        Event::ProfileUpdated { profile, .. } => managed(entity::UPDATE, "profile", profile),
        Event::ProfileDeleted { profile, .. } => managed(entity::DELETE, "profile", profile),
        Event::CascadeBound { .. } => managed(entity::UPDATE, "cascade", "cascade"),
        Event::GovernanceSet { .. } => {
            managed(entity::UPDATE, "governance", "governance").of(Severity::Medium)
        }
        Event::WorkflowRegistered {
            workflow, version, ..
        } => managed(
            entity::CREATE,
            "workflow",
            format_args!("{workflow}@{version}"),
        ),
        Event::WorkflowPromoted {
            workflow, version, ..
        } => managed(
            entity::ENABLE,
            "workflow",
            format_args!("{workflow}@{version}"),
        )
        .of(Severity::Low),
        Event::WorkflowRetired { workflow, .. } => {
            managed(entity::DISABLE, "workflow", workflow).of(Severity::Low)
        }
        Event::ApprovalRequested { approval, .. } => managed(entity::CREATE, "approval", approval),
        Event::ApprovalApproved { approval, .. } => {
            managed(entity::UPDATE, "approval", approval).of(Severity::Low)
        }
        Event::ApprovalDenied { approval, .. } => {
            managed(entity::UPDATE, "approval", approval).of(Severity::Low)
        }
        Event::ApprovalExpired { approval } => managed(entity::DELETE, "approval", approval),
        Event::ApprovalCancelled { approval } => managed(entity::DELETE, "approval", approval),
        Event::SecretRevoked { profile, key, .. } => {
            managed(entity::DISABLE, "secret", format_args!("{profile}/{key}")).of(Severity::Medium)
        }
        Event::RevocationLifted { profile, key, .. } => {
            managed(entity::ENABLE, "secret", format_args!("{profile}/{key}")).of(Severity::Low)
        }
        Event::RunAbortedByRevocation { .. } => {
            lived(life::STOP, "run", &run).of(Severity::Medium).failed()
        }
        Event::FanOutFinished { fan_out_id, .. } => {
            called(api::UPDATE, [resource("revocation fan-out", fan_out_id)])
        }
        Event::RunEnqueued { profiles: used, .. } => called(
            api::CREATE,
            std::iter::once(resource("run", &run)).chain(profiles(used)),
        ),
        Event::RunDenied { profiles, .. } => {
            let profiles = profiles.iter().map(|profile| resource("profile", profile));
            called(api::CREATE, profiles).of(Severity::Medium).failed()
        }
        Event::StepQueued { step_id } => called(api::UPDATE, [resource("step", step(step_id))]),
        Event::StepLeased {
            step_id, worker_id, ..
        } => called(
            api::UPDATE,
            [
                resource("step", step(step_id)),
                resource("worker", worker_id),
            ],
        ),
        Event::SecretReleased {
            step_id,
            fence,
            secrets,
        } => {
            let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
            let session = json!({ "uid": format!("{}/{fence}", step(step_id)) });
            let about = vec![
                ("user", user(&entry.actor)),
                ("privileges", json!(names)),
                ("session", session),
            ];
            Mapping::new(Class::AuthorizeSession, (1, "Assign Privileges"), about)
        }
        Event::IdentityTokenIssued {
            step_id,
            fence,
            audience,
            ..
        } => {
            let session = json!({ "uid": format!("{}/{fence}", step(step_id)) });
            let about = vec![
                ("user", user(&entry.actor)),
                ("privileges", json!([audience])),
                ("session", session),
            ];
            Mapping::new(Class::AuthorizeSession, (1, "Assign Privileges"), about)
        }
        Event::IdentityTokenRefused {
            step_id, audience, ..
        } => called(
            api::CREATE,
            [
                resource("audience", audience),
                resource("step", step(step_id)),
            ],
        )
        .of(Severity::Medium)
        .failed(),
        Event::DriftAtInjection { step_id, .. } => {
            let title = "A step starts with other secrets than it was enqueued with";
            found(title, [resource("step", step(step_id))]).of(Severity::Low)
        }
        Event::StepRunning { step_id, .. } => lived(life::START, "step", step(step_id)),
        Event::ProfileInjected {
            step_id,
            profiles: used,
            ..
        } => called(
            api::READ,
            std::iter::once(resource("step", step(step_id))).chain(profiles(used)),
        ),
        Event::SecretDecrypted { step_id, key, .. } => called(
            api::READ,
            [resource("secret", key), resource("step", step(step_id))],
        ),
        Event::SecretReadUnexplained { secret, .. } => found(
            "A secret was read, and no release explains it",
            [resource("secret", secret)],
        )
        .of(Severity::High),
        Event::StepSucceeded { step_id, .. } => lived(life::STOP, "step", step(step_id)),
        Event::StepFailed { step_id, .. } => lived(life::STOP, "step", step(step_id))
            .of(Severity::Low)
            .failed(),
        Event::StepAborted { step_id, .. } | Event::StepDead { step_id, .. } => {
            lived(life::STOP, "step", step(step_id))
                .of(Severity::Low)
                .failed()
        }
        Event::StepRequeued { step_id, .. } | Event::StepRetried { step_id } => {
            lived(life::RESTART, "step", step(step_id))
        }
        Event::RedactionMatch {
            step_id, matches, ..
        } => {
            let keys: std::collections::BTreeSet<&str> =
                matches.iter().map(|row| row.key.as_str()).collect();
            let secrets = keys.into_iter().map(|key| resource("secret", key));
            found(
                "The output of a step held values of secrets, which were redacted",
                secrets.chain([resource("step", step(step_id))]),
            )
            .of(Severity::Low)
        }
        Event::EgressDenied { step_id, hosts, .. } => {
            let hosts = hosts.rows.iter().map(|row| host(&row.host, row.port));
            found(
                "A step tried to reach hosts that its egress policy does not allow",
                hosts.chain([resource("step", step(step_id))]),
            )
            .of(Severity::Low)
        }
        Event::EgressCredentialMismatch { step_id, rows, .. } => {
            let hosts = rows.iter().map(|row| host(&row.host, row.port));
            let keys: std::collections::BTreeSet<&str> =
                rows.iter().filter_map(|row| row.key.as_deref()).collect();
            let keys = keys.into_iter().map(|key| resource("secret", key));
            found(
                "A step tried to use a secret at hosts that it is not bound to",
                hosts.chain(keys).chain([resource("step", step(step_id))]),
            )
            .of(Severity::Medium)
        }
        Event::EgressAllowed { step_id, hosts, .. } => {
            let hosts = hosts.rows.iter().map(|row| host(&row.host, row.port));
            found(
                "A step reached hosts that its egress policy allows",
                hosts.chain([resource("step", step(step_id))]),
            )
            .of(Severity::Informational)
        }
        Event::ArtifactContainsSecret { step_id, files, .. } => {
            let keys: std::collections::BTreeSet<&str> = files
                .iter()
                .flat_map(|file| file.keys.iter().map(String::as_str))
                .collect();
            let secrets = keys.into_iter().map(|key| resource("secret", key));
            let found = found(
                "Files that a step leaves hold values of secrets",
                secrets.chain([resource("step", step(step_id))]),
            );
            // What is withheld reaches nobody.
            found.of(match files.iter().all(|file| file.withheld) {
                true => Severity::Low,
                false => Severity::Medium,
            })
        }
        Event::SandboxReset { step_id, .. } => lived(life::REMOVE, "sandbox", step(step_id)),
        Event::RunFinished { state } => {
            let stopped = lived(life::STOP, "run", &run);
            if *state == sealfleet_domain::step::RunState::Succeeded {
                stopped
            } else {
                stopped.failed()
            }
        }
        Event::RunCancelled {} => called(api::DELETE, [resource("run", &run)]),
        Event::ClaimRefused { step_id, .. } | Event::ReportRefused { step_id, .. } => {
            called(api::UPDATE, [resource("step", step(step_id))])
                .of(Severity::Medium)
                .failed()
        }
    }
}

/// One event of an entry in a version of the schema, but for its attestation. `index` is its place
/// in the entry, from 0.
#[must_use]
pub fn ocsf(version: Version, entry: &AuditEntry, index: usize, event: &Event) -> Value {
    Value::Object(members(version, entry, index, event))
}

fn members(
    version: Version,
    entry: &AuditEntry,
    index: usize,
    event: &Event,
) -> Map<String, Value> {
    let Mapping {
        class,
        activity: (activity_id, activity),
        severity,
        failed,
        about,
    } = mapping(entry, event);
    let name = event.name();
    let uid = format!("{}:{index}", entry.event_id);
    let mut members: Map<String, Value> = about
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    if class == Class::DetectionFinding
        && let Some(Value::Object(finding)) = members.get_mut("finding_info")
    {
        finding.insert("uid".to_owned(), json!(uid));
        members.insert("is_alert".to_owned(), json!(severity == Severity::High));
    }
    if class.has_actor() {
        members.insert("actor".to_owned(), json!({ "user": user(&entry.actor) }));
    }
    if class == Class::ApiActivity {
        members.insert(
            "api".to_owned(),
            json!({ "operation": name, "service": { "name": "sealfleet" } }),
        );
        members.insert("src_endpoint".to_owned(), json!({ "uid": entry.actor }));
    }
    let mut metadata = json!({
        "version": version.text(),
        "product": { "name": "Sealfleet", "vendor_name": "Sealfleet" },
        "uid": uid,
        "event_code": name,
        "log_name": "audit",
        "tenant_uid": entry.project,
    });
    if let (Some(run_id), Some(metadata)) = (entry.run_id, metadata.as_object_mut()) {
        metadata.insert("correlation_uid".to_owned(), json!(run_id));
    }
    let mut unmapped = json!({
        "event_id": entry.event_id,
        "index": index,
        "at": entry.at,
        "project": entry.project,
        "actor": entry.actor,
        "event": event,
    });
    if let (Some(run_id), Some(unmapped)) = (entry.run_id, unmapped.as_object_mut()) {
        unmapped.insert("run_id".to_owned(), json!(run_id));
    }
    if let (Some(id), Some(unmapped)) = (entry.containment_id, unmapped.as_object_mut()) {
        unmapped.insert("containment_id".to_owned(), json!(id));
    }
    // A finding's status is that of its handling; all others say whether it happened.
    if class != Class::DetectionFinding {
        let (status_id, status) = if failed {
            (2, "Failure")
        } else {
            (1, "Success")
        };
        members.insert("status_id".to_owned(), json!(status_id));
        members.insert("status".to_owned(), json!(status));
    }
    for (member, value) in [
        ("metadata", metadata),
        ("time", json!(entry.at.millis())),
        ("category_uid", json!(class.uid() / 1000)),
        ("class_uid", json!(class.uid())),
        ("class_name", json!(class.name())),
        ("activity_id", json!(activity_id)),
        ("activity_name", json!(activity)),
        ("type_uid", json!(class.uid() * 100 + activity_id)),
        ("severity_id", json!(severity as u32)),
        ("message", json!(format!("{name} by {}", entry.actor))),
        ("unmapped", unmapped),
    ] {
        members.insert(member.to_owned(), value);
    }
    if version == Version::V1_9 {
        additions::add(&mut members, class, entry, event);
    }
    members
}

/// All events of entries, one line each, as they stand in the object `name`.
pub fn lines<'a>(
    version: Version,
    name: &str,
    entries: impl IntoIterator<Item = &'a AuditEntry>,
) -> Vec<u8> {
    let mut chain = Chain::new(name);
    let mut bytes = Vec::new();
    for entry in entries {
        for (index, event) in entry.events.iter().enumerate() {
            let line = members(version, entry, index, event);
            let line = match version {
                Version::V1_6 => Value::Object(line),
                Version::V1_9 => chain.attest(line),
            };
            bytes.extend_from_slice(line.to_string().as_bytes());
            bytes.push(b'\n');
        }
    }
    bytes
}

/// An actor, `kind:id`, as a user of the schema.
fn user(actor: &str) -> Value {
    let kind = actor.split(':').next().unwrap_or_default();
    let type_id = match kind {
        "token" => 1,
        "operator" => 2,
        "worker" => 4,
        // Parts of the control plane.
        _ => 3,
    };
    json!({ "uid": actor, "type": kind, "type_id": type_id })
}
