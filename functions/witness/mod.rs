//! `witness`: matches every read of a secret that CloudTrail tells of with a release, and records a
//! read that fits none. (`observe` follows sandboxes; the ledger's `Watch` counts what was stored.)
//!
//! The trail says what the control plane released; this function holds it against what AWS says was
//! read. ECS names the execution role's session by its task, the task names its claim
//! (`startedBy`), and the claim's `secret.released` lists secrets and versions. ECS shows a stopped
//! task for about an hour: of a task that it has forgotten, the execution role and a release of
//! that very secret and version at that time must do.
//!
//! Events come minutes late, at least once, in any order. The entry's id is made of CloudTrail's,
//! so what comes again is put once, and counted once. Where a table or ECS does not answer, the
//! event fails and comes again: nothing is taken for explained, or for unexplained, that could not
//! be looked at.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::run::{Fence, Handle};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::witness::{Read, Release, Unexplained};
use sealfleet_domain::{EventId, NamePrefix, Owner, ProjectScope, RunId, StepId, Timestamp};
use sealfleet_fargate::names::execution_session;
use sealfleet_hosts::{Sandbox, SandboxHost};
use sealfleet_ledger::{AuditFilter, Error, Ledger};
use sealfleet_versions::{AskedSecret, SecretOwner};
use serde::{Deserialize, Serialize};

use crate::shared::metrics::{Metric, Metrics};

const ACTOR: &str = "system:witness";
/// Entries that are read at once.
const PAGE: usize = 1000;

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// Fargate: the only host whose reads of secrets are told.
    pub fargate: Box<dyn SandboxHost>,
    /// What is counted.
    pub metrics: Metrics,
    /// What the names of our secrets and roles begin with.
    pub prefix: NamePrefix,
}

/// "AWS API Call via CloudTrail", as far as it matters here (CloudTrail User Guide, "CloudTrail
/// record contents").
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiCall {
    #[serde(rename = "eventID")]
    event_id: String,
    event_time: Timestamp,
    event_source: String,
    event_name: String,
    user_identity: UserIdentity,
    /// Why the call failed; nothing was read then.
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    request_parameters: Option<Request>,
}

/// Who made an [`ApiCall`]. A service has no ARN.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct UserIdentity {
    #[serde(default)]
    arn: Option<String>,
    #[serde(default)]
    invoked_by: Option<String>,
    #[serde(default)]
    principal_id: Option<String>,
}

/// What an [`ApiCall`] asked for. A batch may name filters instead; each secret that it reads has a
/// record of its own.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    secret_id: Option<String>,
    #[serde(default)]
    version_id: Option<String>,
    #[serde(default)]
    secret_id_list: Vec<String>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Witnessed {
    /// Reads that a release explains.
    pub explained: usize,
    /// Reads that none does, whether they were on record already or not.
    pub unexplained: usize,
}

impl ApiCall {
    /// Who made the call: the ARN that AWS verified, or the service.
    fn by(&self) -> String {
        let UserIdentity {
            arn,
            invoked_by,
            principal_id,
        } = &self.user_identity;
        arn.as_ref()
            .or(invoked_by.as_ref())
            .or(principal_id.as_ref())
            .cloned()
            .unwrap_or_default()
    }
}

/// Handles one event.
///
/// # Errors
/// When the tables or ECS do not answer; the event then comes again.
pub async fn handle(ports: &Ports, event: EventBridgeEvent<ApiCall>) -> Result<Witnessed, Error> {
    let account = event.account.unwrap_or_default();
    let call = event.detail;
    let mut witnessed = Witnessed::default();
    if call.event_source != "secretsmanager.amazonaws.com" || call.error_code.is_some() {
        return Ok(witnessed);
    }
    let request = call.request_parameters.clone().unwrap_or_default();
    let ids: Vec<&str> = match call.event_name.as_str() {
        "GetSecretValue" => vec![
            request
                .secret_id
                .as_deref()
                .ok_or_else(|| unreadable(&call, "secretId"))?,
        ],
        "BatchGetSecretValue" => request.secret_id_list.iter().map(String::as_str).collect(),
        _ => return Ok(witnessed),
    };
    for secret in ids
        .into_iter()
        .filter_map(|id| AskedSecret::of(&ports.prefix, id))
    {
        let why = if call.event_name == "GetSecretValue" {
            explained(
                ports,
                &call,
                &account,
                &secret,
                request.version_id.as_deref(),
            )
            .await?
            .err()
        } else {
            Some(Unexplained::InABatch)
        };
        match why {
            None => witnessed.explained += 1,
            Some(why) => {
                witnessed.unexplained += 1;
                note(ports, &call, &secret, request.version_id.clone(), why).await?;
            }
        }
    }
    Ok(witnessed)
}

fn unreadable(call: &ApiCall, member: &str) -> Error {
    Error::Unreadable(format!(
        "CloudTrail's record `{}` has no `{member}`",
        call.event_id
    ))
}

/// Whether a release explains this read of `secret`, and if not, why.
async fn explained(
    ports: &Ports,
    call: &ApiCall,
    account: &str,
    secret: &AskedSecret,
    version: Option<&str>,
) -> Result<Result<(), Unexplained>, Error> {
    let caller = call.by();
    // A role of that name in another account is not ours.
    let of_this_account = caller.split(':').nth(4) == Some(account);
    let Some((reader, task_id)) = execution_session(&ports.prefix, &caller)
        .ok()
        .filter(|_| of_this_account)
    else {
        return Ok(Err(Unexplained::NotAnExecutionRole));
    };
    match secret.owner() {
        SecretOwner::System => {}
        SecretOwner::Project(owner) if owner == *reader.project() => {}
        SecretOwner::Project(_) | SecretOwner::Nobody => return Ok(Err(Unexplained::OtherProject)),
    }
    let Some(version) = version else {
        return Ok(Err(Unexplained::VersionNotPinned));
    };
    let read = Read {
        version: version.to_owned(),
        at: call.event_time,
    };
    match task(ports, &task_id).await? {
        Some(task) => by_its_claim(ports, &reader, &task, secret, &read).await,
        None => by_any_release(ports, &reader, secret, &read).await,
    }
}

/// The task of a session's name. `None`: ECS does not know it, or not any more.
async fn task(ports: &Ports, task_id: &str) -> Result<Option<Sandbox>, Error> {
    if task_id.len() != 32 || !task_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    ports
        .fargate
        .look(&Handle::new(task_id.to_owned()))
        .await
        .map_err(|error| Error::Unavailable(error.to_string()))
}

/// The task's claim was released this secret.
async fn by_its_claim(
    ports: &Ports,
    reader: &ProjectScope,
    task: &Sandbox,
    secret: &AskedSecret,
    read: &Read,
) -> Result<Result<(), Unexplained>, Error> {
    let claim = task.claim.clone().filter(|claim| claim.scope == *reader);
    let Some(ClaimTag {
        scope,
        run_id,
        step_id,
        fence,
    }) = claim
    else {
        return Ok(Err(Unexplained::ForeignTask));
    };
    let run = match ports.ledger.run(&scope, run_id).await {
        Ok(run) => run,
        Err(Error::NotFound) => return Ok(Err(Unexplained::NotReleased)),
        Err(error) => return Err(error),
    };
    let hold = run
        .steps
        .get(&step_id)
        .and_then(|step| step.state.hold())
        .filter(|hold| hold.fence == fence);
    let handle = hold.and_then(|hold| hold.handle.as_ref());
    if handle.is_some_and(|handle| *handle != task.handle) {
        return Ok(Err(Unexplained::OtherTask));
    }
    let (_, to) = read.released_between();
    let entries = entries(ports, &scope, Some(run_id), run_id.made_at(), to).await?;
    Ok(read.explained_by(
        &releases(entries, Some((run_id, &step_id, fence))),
        |released| secret.is(released),
        task.started_at,
    ))
}

/// Somebody in the reader's project was released this secret at that time.
async fn by_any_release(
    ports: &Ports,
    reader: &ProjectScope,
    secret: &AskedSecret,
    read: &Read,
) -> Result<Result<(), Unexplained>, Error> {
    let (from, to) = read.released_between();
    let releases = releases(entries(ports, reader, None, from, to).await?, None);
    Ok(read
        .explained_by(&releases, |released| secret.is(released), None)
        .map_err(|_| Unexplained::UnknownTask))
}

/// The releases of one claim, or all of them.
fn releases(entries: Vec<AuditEntry>, claim: Option<(RunId, &StepId, Fence)>) -> Vec<Release> {
    let mut found = Vec::new();
    for entry in entries {
        for event in entry.events {
            let Event::SecretReleased {
                step_id,
                fence,
                secrets,
            } = event
            else {
                continue;
            };
            let wanted = claim.is_none_or(|(run, step, of)| {
                entry.run_id == Some(run) && step_id == *step && fence == of
            });
            if wanted {
                found.push(Release {
                    at: entry.at,
                    secrets,
                });
            }
        }
    }
    found
}

async fn entries(
    ports: &Ports,
    scope: &ProjectScope,
    run_id: Option<RunId>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<AuditEntry>, Error> {
    let owner = Owner::Project(scope.clone());
    let mut filter = AuditFilter {
        run_id,
        ..AuditFilter::between(from, to, PAGE)
    };
    let mut found = Vec::new();
    loop {
        let page = ports.ledger.audit(&owner, &filter).await?;
        found.extend(page.entries);
        filter.after = page.more_after;
        if filter.after.is_none() {
            return Ok(found);
        }
    }
}

/// Puts it into the trail of the secret's owner, unless it is there already.
async fn note(
    ports: &Ports,
    call: &ApiCall,
    secret: &AskedSecret,
    version: Option<String>,
    why: Unexplained,
) -> Result<(), Error> {
    let owner = owner(ports, secret).await?;
    let at = call.event_time;
    let event = Event::SecretReadUnexplained {
        secret: secret.name().to_owned(),
        version,
        by: call.by(),
        why,
        cloudtrail_event_id: call.event_id.clone(),
        read_at: at,
    };
    let event_id = EventId::of(at, &format!("{}/{}", call.event_id, secret.name()));
    if ports
        .ledger
        .record_once(&owner, (event_id, at), ACTOR, vec![event])
        .await?
    {
        let trail = owner.trail();
        tracing::error!(%event_id, trail, ?why, "a secret was read, and no release explains it");
        let now = ports.ledger.now();
        ports
            .metrics
            .of_project_and_function(trail, now, &[(Metric::ReadsUnexplained, 1.0)]);
    }
    Ok(())
}

/// Whose trail it belongs in. What no project of ours owns is the operators' to look at.
async fn owner(ports: &Ports, secret: &AskedSecret) -> Result<Owner, Error> {
    let SecretOwner::Project(project) = secret.owner() else {
        return Ok(Owner::System);
    };
    let scope = ProjectScope::of_read_secret(project);
    match ports.ledger.project(&scope).await {
        Ok(_) => Ok(Owner::Project(scope)),
        Err(Error::NotFound) => Ok(Owner::System),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
