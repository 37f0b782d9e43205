//! `revoke`: takes keys away, now or also from what runs, and gives them back.
//!
//! The revocation rows are written first; only then is read what is in flight. A hard revocation is
//! worked on at once, for as long as a request may take, and `sweep` goes on where this ended. So
//! the revocation itself never waits for what it sets off, and finishes whoever dies. Revoking and
//! aborting go on while the audit table does not answer: the entries wait in the ledger's outbox.

use std::collections::BTreeSet;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{
    AffectedRun, ProfileKey, RevocationPreview, RevocationsCreated, Revoke,
};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::access::Action;
use sealfleet_domain::revocation::{FanOut, Revocation};
use sealfleet_domain::{FanOutId, Owner, ProfileRef, RevocationId, Timestamp, limits};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Error, Ledger, owner_of};

use crate::shared::auth::{Door, OwnerCaller, owner_caller, path_id};
use crate::shared::{fan_out, pages, problems};

/// Seconds that a request works on its fan-out; API Gateway waits for 30.
const INLINE_SECONDS: i64 = 10;
/// Runs that a preview lists.
const PREVIEWED: usize = 1000;

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// Who comes in.
    pub door: Door,
    /// Where sandboxes run.
    pub hosts: Hosts,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["v1", "revocations"]) => revoke(ports, request).await,
        ("POST", ["v1", "revocations:preview"]) => preview(ports, request).await,
        ("GET", ["v1", "revocations"]) => list(ports, request).await,
        ("GET", ["v1", "revocations", id]) => show(ports, request, id).await,
        ("POST", ["v1", "revocations", id, "lift"]) => lift(ports, request, id).await,
        ("GET", ["v1", "fan-outs", id]) => show_fan_out(ports, request, id).await,
        _ => Err(Problem::not_found()),
    }
}

async fn revoke(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::Revoke).await?;
    let wanted: Revoke = request.json()?;
    let now = ports.ledger.now();
    let fan_out_id = wanted.hard.then(|| FanOutId::new(ports.ledger.ids(), now));
    let revocations = revocations(ports, &caller, wanted, fan_out_id, now).await?;
    let fan_out = match fan_out_id {
        None => None,
        Some(fan_out_id) => {
            let next = ports
                .ledger
                .first_place(&caller.owner)
                .await
                .map_err(problems::of_ledger)?;
            Some(FanOut {
                fan_out_id,
                revocations: revocations.clone(),
                started_at: now,
                next,
                finished: None,
            })
        }
    };
    ports
        .ledger
        .revoke(&caller.owner, &revocations, fan_out.as_ref(), &caller.actor)
        .await
        .map_err(problems::of_ledger)?;
    let fan_out = match fan_out {
        None => None,
        Some(fan_out) => Some(work_on(ports, &caller.owner, fan_out).await?),
    };
    Answer::json(
        201,
        &RevocationsCreated {
            revocations,
            fan_out,
        },
    )
}

async fn work_on(
    ports: &Ports,
    owner: &Owner,
    started: FanOut,
) -> Result<sealfleet_api::types::FanOutView, Problem> {
    let until = ports.ledger.now().plus_seconds(INLINE_SECONDS);
    let advanced =
        fan_out::advance(&ports.ledger, &ports.hosts, owner, started.clone(), until).await;
    let so_far = advanced.unwrap_or_else(|error| {
        tracing::warn!(%error, fan_out_id = %started.fan_out_id, "the fan-out was interrupted; it will go on");
        started
    });
    fan_out::view(&ports.ledger, owner, so_far)
        .await
        .map_err(problems::of_ledger)
}

/// What a request asks for, checked, each key with the address that its profile declares.
async fn revocations(
    ports: &Ports,
    caller: &OwnerCaller,
    wanted: Revoke,
    fan_out_id: Option<FanOutId>,
    at: Timestamp,
) -> Result<Vec<Revocation>, Problem> {
    check(&wanted)?;
    let mut revocations = Vec::new();
    for (index, ProfileKey { profile, key }) in wanted.keys.into_iter().enumerate() {
        let profile = match (&caller.owner, profile) {
            (Owner::System, ProfileRef::Own(name)) => ProfileRef::System(name),
            (_, profile) => profile,
        };
        let owner = match &caller.owner {
            Owner::System => Owner::System,
            Owner::Project(scope) => owner_of(scope, &profile),
        };
        let declared = ports
            .ledger
            .declared(&owner, profile.name(), &key)
            .await
            .map_err(|error| match error {
                Error::NotFound => Problem {
                    field: Some(format!("keys[{index}]")),
                    ..Problem::new(
                        Code::NotFound,
                        format!("profile `{profile}` declares no secret `{key}`"),
                    )
                },
                other => problems::of_ledger(other),
            })?;
        revocations.push(Revocation {
            revocation_id: RevocationId::new(ports.ledger.ids(), at),
            profile,
            key,
            uri: declared.uri,
            hard: wanted.hard,
            reason: wanted.reason.clone(),
            actor: caller.actor.clone(),
            at,
            fan_out_id,
            lifted: None,
        });
    }
    Ok(revocations)
}

fn check(wanted: &Revoke) -> Result<(), Problem> {
    if wanted.keys.is_empty() || wanted.keys.len() > limits::REVOKED_KEYS {
        return Err(Problem::invalid(
            "keys",
            format!("name 1 to {} keys", limits::REVOKED_KEYS),
        ));
    }
    if wanted.keys.iter().collect::<BTreeSet<_>>().len() < wanted.keys.len() {
        return Err(Problem::invalid(
            "keys",
            "a key is named twice; name each once",
        ));
    }
    let reason = &wanted.reason;
    if reason.trim().is_empty()
        || reason.len() > limits::REASON_BYTES
        || reason.chars().any(char::is_control)
    {
        return Err(Problem::invalid(
            "reason",
            format!(
                "say why, in one line of {} bytes at most",
                limits::REASON_BYTES
            ),
        ));
    }
    Ok(())
}

async fn preview(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::ReadRevocations).await?;
    let wanted: Revoke = request.json()?;
    let revocations = revocations(ports, &caller, wanted, None, ports.ledger.now()).await?;
    let preview = affected(ports, &caller.owner, &revocations)
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &preview)
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

async fn list(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::ReadRevocations).await?;
    let lifted = match request.query.get("state").map(String::as_str) {
        None | Some("active") => false,
        Some("lifted") => true,
        Some(_) => return Err(Problem::invalid("state", "use `active` or `lifted`")),
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
    pages::answer(request, caller.owner.name(), name, fetch, |revocation| {
        revocation
    })
    .await
}

async fn show(ports: &Ports, request: &Request, id: &str) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::ReadRevocations).await?;
    let revocation = ports
        .ledger
        .revocation(&caller.owner, path_id(id)?)
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &revocation)
}

async fn lift(ports: &Ports, request: &Request, id: &str) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::Revoke).await?;
    let lifted = ports
        .ledger
        .lift(&caller.owner, path_id(id)?, &caller.actor)
        .await
        .map_err(|error| match error {
            Error::WrongState(_) => Problem::new(Code::NotActive, "it is lifted already"),
            other => problems::of_ledger(other),
        })?;
    Answer::json(200, &lifted)
}

async fn show_fan_out(ports: &Ports, request: &Request, id: &str) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::ReadRevocations).await?;
    let found = ports
        .ledger
        .fan_out(&caller.owner, path_id(id)?)
        .await
        .map_err(problems::of_ledger)?;
    let view = fan_out::view(&ports.ledger, &caller.owner, found)
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &view)
}
