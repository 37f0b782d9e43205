//! `audit`: reads an audit trail, oldest first: a project's for its admins, the operators' own for
//! operators.
//!
//! Whose trail is read is the caller's scope and nothing else. Naming a project is allowed, and for
//! any other than the caller's own the answer is that of what does not exist.

use std::collections::BTreeSet;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::Page;
use sealfleet_api::{Problem, cursor};
use sealfleet_domain::access::Action;
use sealfleet_domain::audit::catalogue;
use sealfleet_domain::clock::DAY_SECONDS;
use sealfleet_domain::{EventId, Owner, ProfileRef, RunId, Timestamp};
use sealfleet_ledger::{AuditFilter, EventFilter, Ledger};

use crate::shared::auth::{Door, owner_caller, path_id};
use crate::shared::problems;

/// Seconds before now that are read when no `from` is given.
const DEFAULT_SECONDS: i64 = DAY_SECONDS;
/// Seconds that one query spans at most.
const MOST_SECONDS: i64 = 31 * DAY_SECONDS;
/// The filters, in the order in which a cursor is bound to them.
const FILTERS: [&str; 7] = ["run", "profile", "key", "actor", "type", "from", "to"];

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// Who comes in.
    pub door: Door,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["v1", "audit"]) => query(ports, request).await,
        ("GET", ["v1", "audit", event_id]) => show(ports, request, event_id).await,
        _ => Err(Problem::not_found()),
    }
}

async fn query(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let owner = own_trail(ports, request).await?;
    let filter = filter(ports, request, &owner).await?;
    let page = ports
        .ledger
        .audit(&owner, &filter)
        .await
        .map_err(problems::of_ledger)?;
    let next_cursor = page
        .more_after
        .map(|after| cursor::write(owner.name(), &list(request), &after.to_string()));
    Answer::json(
        200,
        &Page {
            items: page.entries,
            next_cursor,
        },
    )
}

async fn show(ports: &Ports, request: &Request, event_id: &str) -> Result<Answer, Problem> {
    let owner = own_trail(ports, request).await?;
    let entry = ports
        .ledger
        .audit_entry(&owner, path_id(event_id)?)
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &entry)
}

/// The caller's own trail, if the request names no other.
async fn own_trail(ports: &Ports, request: &Request) -> Result<Owner, Problem> {
    let owner = owner_caller(&ports.door, request, Action::ReadAudit)
        .await?
        .owner;
    match request.query.get("project") {
        Some(named) if named != owner.trail() => Err(Problem::not_found()),
        _ => Ok(owner),
    }
}

/// What a cursor is bound to beside the scope: the filters it was made with.
fn list(request: &Request) -> String {
    let part = |name: &&str| {
        request
            .query
            .get(*name)
            .map_or_else(String::new, |value| format!("{}:{value}", value.len()))
    };
    format!(
        "audit:{}",
        FILTERS.iter().map(part).collect::<Vec<_>>().join(":")
    )
}

async fn filter(ports: &Ports, request: &Request, owner: &Owner) -> Result<AuditFilter, Problem> {
    let now = ports.ledger.now();
    let time = |name: &str| {
        let given = request.query.get(name).map(|text| Timestamp::parse(text));
        given
            .transpose()
            .map_err(|error| Problem::invalid(name, error.to_string()))
    };
    let run_id: Option<RunId> = request
        .query
        .get("run")
        .map(|text| path_id(text))
        .transpose()?;
    let to = time("to")?.unwrap_or(now);
    let from = match (time("from")?, run_id, owner) {
        (Some(from), _, _) => from,
        (None, Some(run_id), Owner::Project(scope)) => {
            ports
                .ledger
                .run(scope, run_id)
                .await
                .map_err(problems::of_ledger)?
                .created_at
        }
        (None, _, _) => to.plus_seconds(-DEFAULT_SECONDS),
    };
    if to < from || to.millis_since(from) > MOST_SECONDS * 1000 {
        return Err(Problem::invalid(
            "from",
            "`from` is before `to`, by 31 days at most",
        ));
    }
    let after = request.query.get("cursor").map(|text| {
        let after = cursor::read(owner.name(), &list(request), text)?;
        after
            .parse::<EventId>()
            .map_err(|_| Problem::invalid("cursor", "the cursor is not of this list"))
    });
    Ok(AuditFilter {
        run_id,
        actor: request.query.get("actor").cloned(),
        event: events(request)?,
        from,
        to,
        after: after.transpose()?,
        limit: request.limit()?,
    })
}

fn events(request: &Request) -> Result<EventFilter, Problem> {
    // API Gateway joins a parameter that is given several times by commas.
    let named = request
        .query
        .get("type")
        .into_iter()
        .flat_map(|text| text.split(','));
    let types: BTreeSet<String> = named.map(str::to_owned).collect();
    if types.iter().any(|name| catalogue::row(name).is_none()) {
        return Err(Problem::invalid(
            "type",
            "name events, as `secret.released,run.denied`; docs/reference/audit-events.md lists all",
        ));
    }
    let profile = request
        .query
        .get("profile")
        .map(|text| text.parse::<ProfileRef>());
    let profile = profile
        .transpose()
        .map_err(|error| Problem::invalid("profile", error.to_string()))?;
    Ok(EventFilter {
        types,
        profile,
        key: request.query.get("key").cloned(),
    })
}
