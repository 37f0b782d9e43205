//! Keys of both tables, as functions of a `ProjectScope`. No other code in the workspace builds a
//! key.
//!
//! Names cannot contain `#`, so different scopes or names never build the same key. Rows that are
//! written often are spread over partitions: runs, the due index and the audit day by a hash of an
//! id, leases by their holder.

use sealfleet_domain::credential::Home;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::scope::{ClaimTag, OPERATOR_SCOPE};
use sealfleet_domain::{
    ApprovalId, ContainmentId, EnrolmentKeyId, EventId, FanOutId, Owner, ProfileName, ProfileRef,
    ProjectId, ProjectScope, RevocationId, RunId, StepId, Timestamp, TokenId, WorkerId,
    WorkflowName,
};

use crate::store::Key;

/// Partitions over which a project's runs, and a day of its audit trail, are spread.
pub const SHARDS: u8 = 8;
/// Places of a project where a fan-out looks for runs: its partitions of leases, and its approvals
/// that wait.
pub const PLACES: u8 = SHARDS + 1;
/// Partitions of the due index.
pub const DUE_SHARDS: u8 = 16;

/// Partition of the list of projects.
pub const PROJECTS: &str = "~system#PROJECTS";

fn key(pk: String, sk: impl std::fmt::Display) -> Key {
    Key {
        pk,
        sk: sk.to_string(),
    }
}

/// A stable number below `shards` for a UUID. Uses its last byte, which is random.
fn shard(uuid: [u8; 16], shards: u8) -> u8 {
    uuid.last().map_or(0, |byte| byte % shards)
}

pub fn project(scope: &ProjectScope) -> Key {
    key(format!("PRJ#{}", scope.project()), "PROJECT")
}

pub fn project_listed(project: &ProjectId) -> Key {
    key(PROJECTS.to_owned(), project)
}

/// Partition of a project's rate counter and its own limits. Roles of functions that otherwise only
/// read may write here and nowhere else (`dynamodb:LeadingKeys` in the template).
fn rates(scope: &ProjectScope) -> String {
    format!("PRJ#{}#RATES", scope.project())
}

pub fn requests(scope: &ProjectScope) -> Key {
    key(rates(scope), "REQUESTS")
}

pub fn registrations(scope: &ProjectScope) -> Key {
    key(rates(scope), "REGISTRATIONS")
}

/// A worker's counters. Its own partition, which no other worker's calls keep busy.
fn worker_rates(scope: &ProjectScope, worker_id: WorkerId) -> String {
    format!("PRJ#{}#{worker_id}#RATES", scope.project())
}

pub fn worker_requests(scope: &ProjectScope, worker_id: WorkerId) -> Key {
    key(worker_rates(scope, worker_id), "REQUESTS")
}

pub fn worker_refusals(scope: &ProjectScope, worker_id: WorkerId) -> Key {
    key(worker_rates(scope, worker_id), "REFUSALS")
}

/// Row of the last heartbeat of a worker.
pub fn worker_seen(scope: &ProjectScope, worker_id: WorkerId) -> Key {
    key(worker_rates(scope, worker_id), "SEEN")
}

pub fn tokens(home: &Home) -> String {
    match home {
        Home::Project(project) => format!("PRJ#{project}#TOKENS"),
        Home::Operators => format!("{OPERATOR_SCOPE}#TOKENS"),
    }
}

pub fn token(home: &Home, id: TokenId) -> Key {
    key(tokens(home), id)
}

pub fn enrolment_keys(scope: &ProjectScope) -> String {
    format!("PRJ#{}#ENROLMENT", scope.project())
}

/// Takes a project id, because the row is fetched before the credential is verified.
pub fn enrolment_key(project: &ProjectId, id: EnrolmentKeyId) -> Key {
    key(format!("PRJ#{project}#ENROLMENT"), id)
}

pub fn workers(scope: &ProjectScope) -> String {
    format!("PRJ#{}#WORKERS", scope.project())
}

/// Takes a project id, because the row is fetched before the credential is verified.
pub fn worker(project: &ProjectId, id: WorkerId) -> Key {
    key(format!("PRJ#{project}#WORKERS"), id)
}

/// Prefix of the partitions of an owner's profiles and revocations.
fn owned(owner: &Owner) -> String {
    match owner {
        Owner::System => OPERATOR_SCOPE.to_owned(),
        Owner::Project(scope) => format!("PRJ#{}", scope.project()),
    }
}

pub fn profiles(owner: &Owner) -> String {
    format!("{}#PROFILES", owned(owner))
}

pub fn profile(owner: &Owner, name: &ProfileName) -> Key {
    key(profiles(owner), name)
}

pub fn profile_versions(owner: &Owner) -> String {
    format!("{}#PROFILE_VERSIONS", owned(owner))
}

pub fn versions_of(name: &ProfileName) -> String {
    format!("{name}#")
}

pub fn profile_version(owner: &Owner, name: &ProfileName, version: u32) -> Key {
    key(
        profile_versions(owner),
        format_args!("{name}#{version:010}"),
    )
}

/// Partition of a project's registered workflows.
pub fn workflows(scope: &ProjectScope) -> String {
    format!("PRJ#{}#WORKFLOWS", scope.project())
}

pub fn workflow(scope: &ProjectScope, name: &WorkflowName) -> Key {
    key(workflows(scope), name)
}

/// Partition of the versions of a project's workflows.
pub fn workflow_versions(scope: &ProjectScope) -> String {
    format!("PRJ#{}#WORKFLOW_VERSIONS", scope.project())
}

pub fn versions_of_workflow(name: &WorkflowName) -> String {
    format!("{name}#")
}

pub fn workflow_version(scope: &ProjectScope, name: &WorkflowName, version: u32) -> Key {
    key(
        workflow_versions(scope),
        format_args!("{name}#{version:010}"),
    )
}

/// Partition of a project's approvals that wait: its inbox.
pub fn pending_approvals(scope: &ProjectScope) -> String {
    format!("PRJ#{}#APPROVALS", scope.project())
}

/// What the approvals of steps begin with.
pub const OF_STEPS: &str = "step:";

pub fn pending_approval(scope: &ProjectScope, id: &ApprovalId) -> Key {
    key(pending_approvals(scope), id)
}

/// The project in the partition key of approvals that wait, for rows that the due index found.
pub fn scope_of_approvals(pk: &str) -> Option<ProjectScope> {
    let project = pk.strip_suffix("#APPROVALS")?.strip_prefix("PRJ#")?;
    project.parse().ok().map(ProjectScope::of_stored_row)
}

/// The project in the partition key of approvals that are over.
pub fn scope_of_decided(pk: &str) -> Option<ProjectScope> {
    let project = pk.strip_suffix("#DECIDED")?.strip_prefix("PRJ#")?;
    project.parse().ok().map(ProjectScope::of_stored_row)
}

/// Partition of a project's approvals that are over.
pub fn decided_approvals(scope: &ProjectScope) -> String {
    format!("PRJ#{}#DECIDED", scope.project())
}

pub fn decided_approval(scope: &ProjectScope, id: &ApprovalId) -> Key {
    key(decided_approvals(scope), id)
}

/// Partition of an owner's active revocations: everything that a check has to read.
pub fn revoked(owner: &Owner) -> String {
    format!("{}#REVOKED", owned(owner))
}

/// Row of the active revocation of one key of one profile.
pub fn revoked_key(owner: &Owner, profile: &ProfileRef, key_name: &str) -> Key {
    key(revoked(owner), format_args!("{profile}#{key_name}"))
}

pub fn lifted(owner: &Owner) -> String {
    format!("{}#LIFTED", owned(owner))
}

pub fn lifted_revocation(owner: &Owner, id: RevocationId) -> Key {
    key(lifted(owner), id)
}

pub fn fan_out(owner: &Owner, id: FanOutId) -> Key {
    key(format!("{}#FAN_OUTS", owned(owner)), id)
}

/// The owner in a fan-out's partition key, for rows that the due index found.
pub fn owner_of_fan_out(pk: &str) -> Option<Owner> {
    let owner = pk.strip_suffix("#FAN_OUTS")?;
    match owner.strip_prefix("PRJ#") {
        Some(project) => project
            .parse()
            .ok()
            .map(|project| Owner::Project(ProjectScope::of_stored_row(project))),
        None => (owner == OPERATOR_SCOPE).then_some(Owner::System),
    }
}

/// Partition of the runs that a fan-out has aborted.
pub fn fan_out_runs(owner: &Owner, id: FanOutId) -> String {
    format!("{}#FAN_OUT#{id}", owned(owner))
}

pub fn fan_out_run(owner: &Owner, id: FanOutId, run: RunId) -> Key {
    key(fan_out_runs(owner, id), run)
}

/// Partition of the positions of a fan-out, and of its count so far.
pub fn fan_out_lanes(owner: &Owner, id: FanOutId) -> String {
    format!("{}#FAN_OUT_LANES#{id}", owned(owner))
}

/// Position of a fan-out in one partition of leases.
pub fn fan_out_lane(owner: &Owner, id: FanOutId, partition: u8) -> Key {
    key(fan_out_lanes(owner, id), partition)
}

/// How far the runs that a fan-out has aborted are counted.
pub fn fan_out_count(owner: &Owner, id: FanOutId) -> Key {
    key(fan_out_lanes(owner, id), "COUNT")
}

/// Partition of a project's containments.
pub fn containments(scope: &ProjectScope) -> String {
    format!("PRJ#{}#CONTAINMENTS", scope.project())
}

pub fn containment(scope: &ProjectScope, id: ContainmentId) -> Key {
    key(containments(scope), id)
}

/// The project in a containment's partition key, for rows that the due index found.
pub fn scope_of_containments(pk: &str) -> Option<ProjectScope> {
    let project = pk.strip_suffix("#CONTAINMENTS")?.strip_prefix("PRJ#")?;
    project.parse().ok().map(ProjectScope::of_stored_row)
}

/// Row that names the containment which an idempotency key stands for.
pub fn contained_once(scope: &ProjectScope, idempotency_key: &str) -> Key {
    let hash = sha256_hex(idempotency_key.as_bytes());
    let pk = format!("PRJ#{}#CONTAINED_ONCE#{hash}", scope.project());
    key(pk, "CONTAINMENT")
}

/// Partition of what a containment has stopped.
pub fn contained(project: &ProjectId, id: ContainmentId) -> String {
    format!("PRJ#{project}#CONTAINED#{id}")
}

pub fn contained_part(project: &ProjectId, id: ContainmentId, part: &str) -> Key {
    key(contained(project, id), part)
}

pub fn runs(scope: &ProjectScope, shard: u8) -> String {
    format!("PRJ#{}#RUNS#{shard}", scope.project())
}

pub fn run(scope: &ProjectScope, id: RunId) -> Key {
    key(runs(scope, shard(id.uuid().into_bytes(), SHARDS)), id)
}

/// Row of a resolved identity, by its hash.
pub fn identity(scope: &ProjectScope, hash: &str) -> Key {
    key(
        format!("PRJ#{}#IDENTITY#{hash}", scope.project()),
        "IDENTITY",
    )
}

/// One row of entries that were moved out of a run's row.
pub fn moved_entries(scope: &ProjectScope, id: RunId, number: u32) -> Key {
    key(
        format!("PRJ#{}#ENTRIES#{id}", scope.project()),
        format_args!("{number:06}"),
    )
}

/// One of the partitions of what a project's steps have used.
pub fn used(scope: &ProjectScope, shard: u8) -> String {
    format!("PRJ#{}#USAGE#{shard}", scope.project())
}

/// Row of what steps have used. `part` names one of several rows with the same sums, so that
/// writers do not wait for each other. A model's name comes last: it may contain `#`.
pub fn used_on(
    scope: &ProjectScope,
    run_id: RunId,
    (day, workflow, profile, model): (&str, &WorkflowName, &str, &str),
    part: u32,
) -> Key {
    key(
        used(scope, shard(run_id.uuid().into_bytes(), SHARDS)),
        format_args!("{day}#{workflow}#{profile}#{part:02}#{model}"),
    )
}

/// The project in a run's partition key, for rows that the due index found.
pub fn scope_of_run(pk: &str) -> Option<ProjectScope> {
    let project = pk.strip_prefix("PRJ#")?.split_once("#RUNS#")?.0;
    project.parse().ok().map(ProjectScope::of_stored_row)
}

/// The run whose entries were moved to a row of this partition key.
pub fn run_of_moved_entries(pk: &str) -> Option<(ProjectScope, RunId)> {
    let (project, run_id) = pk.strip_prefix("PRJ#")?.split_once("#ENTRIES#")?;
    let project = project.parse().ok()?;
    Some((ProjectScope::of_stored_row(project), run_id.parse().ok()?))
}

pub fn due_shard(uuid: [u8; 16]) -> String {
    format!("{:x}", shard(uuid, DUE_SHARDS))
}

/// The due shard of a row that has no UUID.
pub fn due_shard_of(id: &str) -> String {
    let hash = sealfleet_domain::hash::sha256(id.as_bytes());
    let last = hash.last().map_or(0, |byte| byte % DUE_SHARDS);
    format!("{last:x}")
}

pub fn idempotency(scope: &ProjectScope, idempotency_key: &str) -> Key {
    key(
        format!(
            "PRJ#{}#IDEMPOTENCY#{}",
            scope.project(),
            sha256_hex(idempotency_key.as_bytes())
        ),
        "IDEMPOTENCY",
    )
}

pub fn leases(scope: &ProjectScope, holder: WorkerId) -> String {
    leases_shard(scope, shard(holder.uuid().into_bytes(), SHARDS))
}

/// One of the partitions of a project's leases.
pub fn leases_shard(scope: &ProjectScope, shard: u8) -> String {
    format!("PRJ#{}#LEASES#{shard}", scope.project())
}

pub fn leases_of(holder: WorkerId) -> String {
    format!("{holder}#")
}

pub fn lease(scope: &ProjectScope, holder: WorkerId, slot: u32) -> Key {
    key(leases(scope, holder), format_args!("{holder}#{slot:04}"))
}

/// The run and step of a lease, as the lease stores them.
pub fn lease_step(run_id: RunId, step_id: &StepId) -> String {
    format!("{run_id}/{step_id}")
}

/// Row of an audit entry that waits to be moved to its trail.
pub fn waiting_entry(trail: &str, id: EventId) -> Key {
    let owner = if trail == OPERATOR_SCOPE {
        trail.to_owned()
    } else {
        format!("PRJ#{trail}")
    };
    key(format!("{owner}#OUTBOX"), id)
}

/// The trail in an outbox partition key, for rows that the due index found.
pub fn trail_of_outbox(pk: &str) -> Option<&str> {
    let owner = pk.strip_suffix("#OUTBOX")?;
    owner
        .strip_prefix("PRJ#")
        .or_else(|| (owner == OPERATOR_SCOPE).then_some(owner))
}

pub fn task_definition(scope: &ProjectScope, hash: &str) -> Key {
    key(format!("PRJ#{}#TASK_DEFINITIONS", scope.project()), hash)
}

/// Row that notes the end of a task that did not end its step.
pub fn ended_task(scope: &ProjectScope, task_id: &str) -> Key {
    key(
        format!("PRJ#{}#ENDED_TASKS#{task_id}", scope.project()),
        "ENDED",
    )
}

/// Row that notes what the sandbox of a claim has told of its end.
pub fn told(claim: &ClaimTag) -> Key {
    let ClaimTag {
        scope,
        run_id,
        step_id,
        fence,
    } = claim;
    key(
        format!("PRJ#{}#TOLD#{run_id}", scope.project()),
        format!("{step_id}#{fence}"),
    )
}

/// Partition of one shard of a day of a trail, of a project or of the operators.
pub fn audit_day(trail: &str, day: &str, shard: u8) -> String {
    format!("PRJ#{trail}#{day}#{shard}")
}

pub fn audit_entry(trail: &str, id: EventId, run_id: Option<RunId>, at: Timestamp) -> Key {
    key(audit_day(trail, &at.day(), audit_shard(id, run_id)), id)
}

/// The shard of a day for an entry. All entries of a run share one shard.
pub fn audit_shard(id: EventId, run_id: Option<RunId>) -> u8 {
    shard(
        run_id.map_or_else(|| id.uuid(), RunId::uuid).into_bytes(),
        SHARDS,
    )
}

pub fn run_audit_shard(run_id: RunId) -> u8 {
    shard(run_id.uuid().into_bytes(), SHARDS)
}

/// The trail in an audit row's partition key.
pub fn trail_of_audit(pk: &str) -> Option<&str> {
    pk.strip_prefix("PRJ#")?.split('#').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> ProjectScope {
        ProjectScope::of_stored_row(text.parse().expect("a project"))
    }

    #[test]
    fn projects_that_are_prefixes_of_one_another_share_no_partition() {
        let id: RunId = "run_0198c0de-0000-7000-8000-00000000000a"
            .parse()
            .expect("an id");
        let keys: Vec<String> = ["a", "a-b", "ab", "a1"]
            .iter()
            .map(|name| run(&scope(name), id).pk)
            .collect();
        for (index, key) in keys.iter().enumerate() {
            assert!(keys.iter().skip(index + 1).all(|other| other != key));
            assert_eq!(
                scope_of_run(key).map(|scope| runs(&scope, 2)),
                Some(key.clone())
            );
        }
    }
}
