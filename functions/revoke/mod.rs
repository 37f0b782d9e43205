//! `revoke`: takes keys away from new starts, or also from what runs, and gives them back.
//!
//! The revocation rows are written first, and only then the runs in flight are read. A hard
//! revocation aborts runs at once, for as long as a request may take; other invocations share what
//! is left. So a revocation never waits for the runs that it aborts, and finishes even if this
//! function dies. Revoking and aborting go on while the audit table does not answer: the entries
//! wait in the ledger's outbox.
//!
//! A containment does that to all keys of a project, and stops everything else of it. Here it is
//! begun, and shown; `shared::containment` drives it to its end.

use std::collections::BTreeSet;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{
    AffectedRun, Contain, FanOutView, PreviewContainment, PreviewRevocation, ProfileKey,
    RevocationPreview, RevocationsCreated, Revoke,
};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::queues::Continuations;
use sealfleet_domain::containment::{Containment, Position};
use sealfleet_domain::revocation::{FanOut, Revocation};
use sealfleet_domain::{
    ContainmentId, FanOutId, Owner, ProfileRef, RevocationId, Timestamp, limits,
};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Error, InForce, Ledger, Page, owner_of};

use crate::shared::auth::{Door, OwnerCaller, ProjectCaller};
use crate::shared::fault::{Answered, Fault};
use crate::shared::once::idempotency;
use crate::shared::route::route;
use crate::shared::{containment, fan_out, pages};

/// Seconds that a request works on its fan-out or containment; API Gateway waits for 30.
const INLINE_SECONDS: i64 = 10;
/// Runs that a preview lists.
const PREVIEWED: usize = 1000;

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    pub door: Door,
    /// Where sandboxes run.
    pub hosts: Hosts,
    /// Where what a request has no time for is left to other invocations.
    pub continuations: Box<dyn Continuations>,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    route! { request, &ports.door;
        CREATE_REVOCATIONS => |caller, ()| revoke(ports, caller, request);
        PREVIEW_REVOCATION => |caller, ()| preview(ports, caller, request);
        LIST_REVOCATIONS => |caller, ()| list(ports, caller, request);
        GET_REVOCATION => |caller, (revocation_id,)| show(ports, caller, revocation_id);
        LIFT_REVOCATION => |caller, (revocation_id,)| lift(ports, caller, revocation_id);
        CREATE_CONTAINMENT => |caller, ()| contain(ports, caller, request);
        PREVIEW_CONTAINMENT => |caller, ()| preview_containment(ports, caller, request);
        LIST_CONTAINMENTS => |caller, ()| list_containments(ports, caller, request);
        GET_CONTAINMENT => |caller, (containment_id,)| show_containment(ports, caller, containment_id);
        GET_FAN_OUT => |caller, (fan_out_id,)| show_fan_out(ports, caller, fan_out_id);
    }
}

async fn revoke(ports: &Ports, caller: OwnerCaller, request: &Request) -> Answered {
    let Revoke { keys, hard, reason } = request.json()?;
    check_keys(&keys)?;
    check_reason(&reason)?;
    let now = ports.ledger.now();
    let fan_out_id = hard.then(|| FanOutId::new(ports.ledger.ids(), now));
    let mut revocations = revocations(ports, &caller, keys, now).await?;
    for revocation in &mut revocations {
        revocation.hard = hard;
        revocation.reason = reason.to_string();
        revocation.fan_out_id = fan_out_id;
    }
    let InForce {
        revocations,
        changed,
    } = ports
        .ledger
        .revoke(&caller.owner, &revocations, &caller.actor)
        .await?;
    let newest = revocations.iter().filter_map(|row| row.fan_out_id).max();
    let fan_out = match newest {
        None => None,
        Some(id) => {
            let fan_out = ports.ledger.fan_out(&caller.owner, id).await?;
            Some(work_on(ports, &caller.owner, fan_out).await?)
        }
    };
    let status = if changed { 201 } else { 200 };
    Answer::json(
        status,
        &RevocationsCreated {
            revocations,
            fan_out,
        },
    )
}

/// Aborts runs for as long as a request may take, and leaves the rest to other invocations.
async fn work_on(ports: &Ports, owner: &Owner, started: FanOut) -> Result<FanOutView, Error> {
    let ledger = &ports.ledger;
    let fan_out_id = started.fan_out_id;
    let until = ledger.now().plus_seconds(INLINE_SECONDS);
    let advanced = fan_out::advance(ledger, &ports.hosts, owner, started.clone(), 0, until).await;
    let so_far = advanced.unwrap_or_else(|error| {
        tracing::warn!(%error, %fan_out_id, "the fan-out was interrupted");
        started
    });
    if so_far.finished.is_none() {
        fan_out::share(ports.continuations.as_ref(), owner, fan_out_id).await;
    }
    fan_out::view(ledger, owner, so_far).await
}

/// The revocation of each key, with the address that its profile declares: soft, and without a
/// reason.
async fn revocations(
    ports: &Ports,
    caller: &OwnerCaller,
    keys: Vec<ProfileKey>,
    at: Timestamp,
) -> Result<Vec<Revocation>, Fault> {
    let mut revocations = Vec::new();
    for (index, ProfileKey { profile, key }) in keys.into_iter().enumerate() {
        let profile = match (&caller.owner, profile) {
            (Owner::System, ProfileRef::Own(name)) => ProfileRef::System(name),
            (_, profile) => profile,
        };
        let owner = match &caller.owner {
            Owner::System => Owner::System,
            Owner::Project(scope) => owner_of(scope, &profile),
        };
        let uri = match ports.ledger.declared(&owner, profile.name(), &key).await {
            Ok(declared) => declared.uri,
            Err(Error::NotFound) => {
                let detail = format!("profile `{profile}` declares no secret `{key}`");
                let unknown = Fault::from(Problem::new(Code::NotFound, detail));
                return Err(unknown.at(format!("keys[{index}]")));
            }
            Err(error) => return Err(error.into()),
        };
        revocations.push(Revocation {
            revocation_id: RevocationId::new(ports.ledger.ids(), at),
            profile,
            key: key.into(),
            uri,
            hard: false,
            reason: String::new(),
            actor: caller.actor.clone(),
            at,
            fan_out_id: None,
            lifted: None,
        });
    }
    Ok(revocations)
}

fn check_keys(keys: &[ProfileKey]) -> Result<(), Problem> {
    if keys.is_empty() || keys.len() > limits::REVOKED_KEYS {
        let detail = format!("name 1 to {} keys", limits::REVOKED_KEYS);
        return Err(Problem::invalid("keys", detail));
    }
    if keys.iter().collect::<BTreeSet<_>>().len() < keys.len() {
        let detail = "a key is named twice; name each once";
        return Err(Problem::invalid("keys", detail));
    }
    Ok(())
}

fn check_reason(reason: &str) -> Result<(), Problem> {
    let most = limits::REASON_BYTES;
    if reason.trim().is_empty() || reason.len() > most {
        let detail = format!("say why, in one line of {most} bytes at most");
        return Err(Problem::invalid("reason", detail));
    }
    Ok(())
}

async fn preview(ports: &Ports, caller: OwnerCaller, request: &Request) -> Answered {
    let PreviewRevocation { keys, .. } = request.json()?;
    check_keys(&keys)?;
    let revocations = revocations(ports, &caller, keys, ports.ledger.now()).await?;
    let affected = affected(ports, &caller.owner, &revocations).await?;
    Answer::json(200, &affected)
}

async fn affected(
    ports: &Ports,
    owner: &Owner,
    revocations: &[Revocation],
) -> Result<RevocationPreview, Error> {
    let mut preview = RevocationPreview {
        runs: Vec::new(),
        more: false,
    };
    let mut next = ports.ledger.first_place(owner).await?;
    while let Some(mut place) = next {
        let page = ports
            .ledger
            .in_flight(&place, place.after.as_deref())
            .await?;
        for (scope, run_id) in page.items {
            let run = match ports.ledger.run(&scope, run_id).await {
                Err(Error::NotFound) => continue,
                other => other?,
            };
            let Some(revoked) = run.revoked_in_flight(revocations) else {
                continue;
            };
            // It may be in flight with one step and wait with another.
            if preview.runs.iter().any(|seen| seen.run_id == run_id) {
                continue;
            }
            if preview.runs.len() == PREVIEWED {
                preview.more = true;
                return Ok(preview);
            }
            let (project, profile, key) = (scope.project().clone(), revoked.profile, revoked.key);
            preview.runs.push(AffectedRun {
                project,
                run_id,
                profile,
                key,
            });
        }
        place.after = page.more_after;
        next = if place.after.is_some() {
            Some(place)
        } else {
            ports.ledger.place_after(owner, &place).await?
        };
    }
    Ok(preview)
}

async fn list(ports: &Ports, caller: OwnerCaller, request: &Request) -> Answered {
    let lifted = match request.query.get("state").map(String::as_str) {
        None | Some("active") => false,
        Some("lifted") => true,
        Some(_) => return Err(Problem::invalid("state", "use `active` or `lifted`").into()),
    };
    let fetch = async |after: Option<&str>, limit| {
        ports
            .ledger
            .revocations(&caller.owner, lifted, after, limit)
            .await
    };
    let name = if lifted {
        "revocations:lifted"
    } else {
        "revocations:active"
    };
    let scope = caller.owner.name();
    pages::answer(request, scope, name, fetch, |revocation| revocation).await
}

async fn show(ports: &Ports, caller: OwnerCaller, id: RevocationId) -> Answered {
    Answer::json(200, &ports.ledger.revocation(&caller.owner, id).await?)
}

async fn lift(ports: &Ports, caller: OwnerCaller, id: RevocationId) -> Answered {
    match ports.ledger.lift(&caller.owner, id, &caller.actor).await {
        Ok(lifted) => Answer::json(200, &lifted),
        Err(Error::WrongState(_)) => {
            Err(Problem::new(Code::NotActive, "the revocation is lifted already").into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn show_fan_out(ports: &Ports, caller: OwnerCaller, id: FanOutId) -> Answered {
    let found = ports.ledger.fan_out(&caller.owner, id).await?;
    let view = fan_out::view(&ports.ledger, &caller.owner, found).await?;
    Answer::json(200, &view)
}

async fn contain(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let Contain { reason, tokens } = request.json()?;
    check_reason(&reason)?;
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let now = ledger.now();
    let new = Containment {
        containment_id: ContainmentId::new(ledger.ids(), now),
        reason: reason.into(),
        tokens,
        actor: caller.actor,
        started_at: now,
        position: Position::begin(1),
        ended: None,
    };
    let id = new.containment_id;
    let once = idempotency(request)?;
    let begun = ledger
        .within(Some(id))
        .begin_containment(scope, &new, once.as_ref())
        .await?;
    let means = containment::Means {
        ledger,
        hosts: &ports.hosts,
        continuations: ports.continuations.as_ref(),
    };
    let until = now.plus_seconds(INLINE_SECONDS);
    let advanced = containment::advance(means, scope, begun.clone(), until).await;
    let so_far = advanced.unwrap_or_else(|error| {
        let containment_id = begun.containment_id;
        tracing::warn!(%error, %containment_id, "the containment was interrupted; `sweep` goes on");
        begun
    });
    Answer::json(202, &containment::view(ledger, scope, so_far, false).await?)
}

async fn preview_containment(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let PreviewContainment { tokens } = request.json()?;
    let open = containment::open(&ports.ledger, &caller.scope, &caller.actor, tokens);
    Answer::json(200, &open.await?)
}

async fn list_containments(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let fetch = async |before: Option<&str>, limit| {
        let Page { items, more_after } = ledger.containments(scope, before, limit).await?;
        let mut views = Vec::with_capacity(items.len());
        for item in items {
            views.push(containment::view(ledger, scope, item, false).await?);
        }
        Ok(Page {
            items: views,
            more_after,
        })
    };
    let project = scope.project().as_str();
    pages::answer(request, project, "containments", fetch, |view| view).await
}

async fn show_containment(ports: &Ports, caller: ProjectCaller, id: ContainmentId) -> Answered {
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let found = ledger.containment(scope, id).await?;
    Answer::json(200, &containment::view(ledger, scope, found, true).await?)
}
