//! `witness`: matches every read of a secret that CloudTrail tells of with a release, and records a
//! read that fits none. (`observe` follows sandboxes; the ledger's `Watch` counts what was stored.)
//!
//! The trail says what the control plane released; this function holds it against what AWS says was
//! read. ECS names the execution role's session by its task, the task names its claim
//! (`startedBy`), and the claim's `secret.released` lists secrets and versions. ECS shows a stopped
//! task for about an hour: of a task that it has forgotten, the execution role and a release of
//! that very secret and version at that time must do.
//!
//! A worker's sandbox reads by its project's reader role, which it gets for a token of this control
//! plane. The token's id is the source identity of the session, which AWS takes from the signed
//! token and CloudTrail tells. `identity.token_issued` has it with the claim.
//!
//! Events come minutes late, at least once, in any order. The entry's id is made of CloudTrail's,
//! so what comes again is put once, and counted once. Where a table or ECS does not answer, the
//! event fails and comes again: nothing is taken for explained, or for unexplained, that could not
//! be looked at.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::run::{Fence, Handle, attempts};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::witness::{Read, Release, Unexplained};
use sealfleet_domain::{
    EventId, IdentityTokenId, NamePrefix, Owner, ProjectScope, RunId, StepId, Timestamp,
};
use sealfleet_fargate::names::execution_session;
use sealfleet_hosts::{Sandbox, SandboxHost};
use sealfleet_ledger::{AuditFilter, Error, Ledger};
use sealfleet_versions::{AskedSecret, SecretOwner};
use serde::{Deserialize, Serialize};

use crate::shared::metrics::{Metric, Metrics};

const ACTOR: &str = "system:witness";
/// Seconds between a token's id and its entry in the trail, at most: both are made at once, by one
/// clock.
const TOKEN_SECONDS: i64 = 5;
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
    session_context: Option<SessionContext>,
    #[serde(default)]
    invoked_by: Option<String>,
    #[serde(default)]
    principal_id: Option<String>,
}

/// What else is known of a role's session.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionContext {
    #[serde(default)]
    source_identity: Option<String>,
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

/// By what a sandbox's secrets are read, as AWS verified it.
enum Reader {
    /// The execution role of a project, in the session for this task.
    Task(ProjectScope, String),
    /// The reader role of a project, in a session for a token.
    Worker(ProjectScope),
}

impl Reader {
    fn of(prefix: &NamePrefix, caller: &str) -> Option<Self> {
        if let Ok((scope, task_id)) = execution_session(prefix, caller) {
            return Some(Self::Task(scope, task_id));
        }
        let (_, session) = caller.split_once(":assumed-role/")?;
        let (role, _) = session.split_once('/')?;
        let scope = ProjectScope::of_reader_role(prefix, role).ok()?;
        Some(Self::Worker(scope))
    }

    const fn scope(&self) -> &ProjectScope {
        match self {
            Self::Task(scope, _) | Self::Worker(scope) => scope,
        }
    }
}

impl ApiCall {
    /// The token of which STS made the session.
    fn token(&self) -> Option<IdentityTokenId> {
        let session = self.user_identity.session_context.as_ref()?;
        session.source_identity.as_deref()?.parse().ok()
    }

    /// Who made the call: the ARN that AWS verified, or the service.
    fn by(&self) -> String {
        let UserIdentity {
            arn,
            invoked_by,
            principal_id,
            session_context: _,
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
    let Some(reader) = Reader::of(&ports.prefix, &caller).filter(|_| of_this_account) else {
        return Ok(Err(Unexplained::NotAnExecutionRole));
    };
    match secret.owner() {
        SecretOwner::System => {}
        SecretOwner::Project(owner) if owner == *reader.scope().project() => {}
        SecretOwner::Project(_) | SecretOwner::Nobody => return Ok(Err(Unexplained::OtherProject)),
    }
    let Some(version) = version else {
        return Ok(Err(Unexplained::VersionNotPinned));
    };
    let read = Read {
        version: version.to_owned(),
        at: call.event_time,
    };
    let (scope, task_id) = match reader {
        Reader::Worker(scope) => return by_its_token(ports, &scope, call, secret, &read).await,
        Reader::Task(scope, task_id) => (scope, task_id),
    };
    match task(ports, &task_id).await? {
        Some(task) => by_its_claim(ports, &scope, &task, secret, &read).await,
        None => by_any_release(ports, &scope, secret, &read).await,
    }
}

/// The claim that the session's token was issued for was released this secret, and was live.
async fn by_its_token(
    ports: &Ports,
    reader: &ProjectScope,
    call: &ApiCall,
    secret: &AskedSecret,
    read: &Read,
) -> Result<Result<(), Unexplained>, Error> {
    let Some(token) = call.token() else {
        return Ok(Err(Unexplained::UnknownToken));
    };
    let made = token.made_at();
    let around = (
        made.plus_seconds(-TOKEN_SECONDS),
        made.plus_seconds(TOKEN_SECONDS),
    );
    let issued = entries(ports, reader, None, around.0, around.1).await?;
    let Some((run_id, step_id, fence)) = issued_for(issued, token) else {
        return Ok(Err(Unexplained::UnknownToken));
    };
    let (_, to) = read.released_between();
    let entries = entries(ports, reader, Some(run_id), run_id.made_at(), to).await?;
    let events = entries.iter().flat_map(|entry| {
        let events = entry.events.iter().cloned();
        events.map(|event| (entry.at, event))
    });
    // Entries of one millisecond have no order.
    let mut events: Vec<(Timestamp, Event)> = events.collect();
    events.sort_by_key(|(at, event)| (*at, !matches!(event, Event::StepLeased { .. })));
    let over = attempts(events)
        .remove(&step_id)
        .and_then(|all| all.into_iter().find(|one| one.fence == fence))
        .and_then(|one| {
            one.started_at
                .into_iter()
                .chain(one.end.map(|(at, _)| at))
                .min()
        });
    Ok(read.explained_by(
        &releases(entries, Some((run_id, &step_id, fence))),
        |released| secret.is(released),
        over,
    ))
}

/// The claim that a token for reads of secrets was issued for.
fn issued_for(entries: Vec<AuditEntry>, token: IdentityTokenId) -> Option<(RunId, StepId, Fence)> {
    entries.into_iter().find_map(|entry| {
        let run_id = entry.run_id?;
        entry.events.into_iter().find_map(|event| match event {
            Event::IdentityTokenIssued {
                step_id,
                fence,
                token_id,
                audience,
                ..
            } if token_id == token && audience.reads_secrets() => Some((run_id, step_id, fence)),
            _ => None,
        })
    })
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
