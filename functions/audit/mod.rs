//! `audit`: reads an audit trail, oldest first: a project's for its admins, the operators' own for
//! operators.
//!
//! The caller's scope alone decides whose trail it reads. A request may name a project; any other
//! than the caller's own is answered like one that does not exist.

use std::collections::BTreeSet;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::Page;
use sealfleet_api::{Problem, cursor};
use sealfleet_domain::audit::catalogue;
use sealfleet_domain::clock::DAY_SECONDS;
use sealfleet_domain::names::is_env_key;
use sealfleet_domain::{
    EnrolmentKeyId, EventId, FanOutId, InvalidId, Owner, ProfileRef, RunId, Timestamp, TokenId,
    WorkerId,
};
use sealfleet_ledger::{AuditFilter, EventFilter, Ledger};

use crate::shared::auth::{Door, OwnerCaller};
use crate::shared::fault::{Answered, Fault};
use crate::shared::pages;
use crate::shared::route::route;

/// Seconds before now that are read when no `from` is given.
const DEFAULT_SECONDS: i64 = DAY_SECONDS;
/// Seconds that one query spans at most.
const MOST_SECONDS: i64 = 31 * DAY_SECONDS;
/// The filters, in the order in which a cursor is bound to them.
const FILTERS: [&str; 8] = [
    "run",
    "profile",
    "key",
    "actor",
    "containment",
    "type",
    "from",
    "to",
];

/// The kinds of actors. `cli` is a command that writes to the tables itself.
const ACTORS: [&str; 9] = [
    "operator",
    "token",
    "oidc",
    "worker",
    "enrolment_key",
    "revocation",
    "sandbox",
    "system",
    "cli",
];

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    pub door: Door,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    route! { request, &ports.door;
        LIST_AUDIT_ENTRIES => |caller, ()| list(ports, caller, request);
        GET_AUDIT_ENTRY => |caller, (event_id,)| show(ports, caller, request, event_id);
    }
}

async fn list(ports: &Ports, caller: OwnerCaller, request: &Request) -> Answered {
    let owner = own_trail(caller, request)?;
    let filter = filter(ports, request, &owner).await?;
    let page = ports.ledger.audit(&owner, &filter).await?;
    let next_cursor = page
        .more_after
        .map(|after| cursor::write(owner.name(), &list_name(request), &after.to_string()));
    let items = page.entries;
    Answer::json(200, &Page { items, next_cursor })
}

async fn show(
    ports: &Ports,
    caller: OwnerCaller,
    request: &Request,
    event_id: EventId,
) -> Answered {
    let owner = own_trail(caller, request)?;
    let entry = ports.ledger.audit_entry(&owner, event_id).await?;
    Answer::json(200, &entry)
}

/// The caller's own trail, if the request names no other.
fn own_trail(caller: OwnerCaller, request: &Request) -> Result<Owner, Problem> {
    match request.query.get("project") {
        Some(named) if named != caller.owner.trail() => Err(Problem::not_found()),
        _ => Ok(caller.owner),
    }
}

/// The name of the list with these filters, which cursors are bound to.
fn list_name(request: &Request) -> String {
    pages::name("audit", request, &FILTERS)
}

async fn filter(ports: &Ports, request: &Request, owner: &Owner) -> Result<AuditFilter, Fault> {
    let now = ports.ledger.now();
    let time = |name: &str| {
        let given = request.query.get(name).map(|text| Timestamp::parse(text));
        given
            .transpose()
            .map_err(|error| Problem::invalid(name, error.to_string()))
    };
    let run_id: Option<RunId> = request.named("run")?;
    let to = time("to")?.unwrap_or(now);
    let from = match (time("from")?, run_id, owner) {
        (Some(from), _, _) => from,
        (None, Some(run_id), Owner::Project(scope)) => {
            ports.ledger.run(scope, run_id).await?.created_at
        }
        (None, _, _) => to.plus_seconds(-DEFAULT_SECONDS),
    };
    if to < from || to.millis_since(from) > MOST_SECONDS * 1000 {
        let detail = "`from` must be before `to`, by 31 days at most";
        return Err(Problem::invalid("from", detail).into());
    }
    let after = request.query.get("cursor").map(|text| {
        let after = cursor::read(owner.name(), &list_name(request), text)?;
        after
            .parse::<EventId>()
            .map_err(|_| Problem::invalid("cursor", "the cursor is not of this list"))
    });
    let actor = request.query.get("actor").cloned();
    if actor.as_ref().is_some_and(|actor| !names_actor(actor)) {
        let detail = "name an actor as entries do, as `kind:id`: `token:tok_…`, `worker:wrk_…`";
        return Err(Problem::invalid("actor", detail).into());
    }
    let containment = request.query.get("containment").map(|text| text.parse());
    let containment_id = containment
        .transpose()
        .map_err(|error: InvalidId| Problem::invalid("containment", error.to_string()))?;
    Ok(AuditFilter {
        run_id,
        actor,
        containment_id,
        event: events(request)?,
        from,
        to,
        after: after.transpose()?,
        limit: request.limit()?,
    })
}

/// Whether a text can be an actor, or the id of one.
fn names_actor(text: &str) -> bool {
    match text.split_once(':') {
        Some((kind, id)) => ACTORS.contains(&kind) && !id.is_empty(),
        None => {
            text.parse::<TokenId>().is_ok()
                || text.parse::<WorkerId>().is_ok()
                || text.parse::<EnrolmentKeyId>().is_ok()
                || text.parse::<FanOutId>().is_ok()
        }
    }
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
            "name events, like `secret.released,run.denied`; docs/reference/audit-events.md lists them all",
        ));
    }
    let profile = request
        .query
        .get("profile")
        .map(|text| text.parse::<ProfileRef>());
    let profile = profile
        .transpose()
        .map_err(|error| Problem::invalid("profile", error.to_string()))?;
    let key = request.query.get("key").cloned();
    if key.as_ref().is_some_and(|key| !is_env_key(key)) {
        let detail = "name an environment variable, like `API_KEY`, and its profile as `profile`";
        return Err(Problem::invalid("key", detail));
    }
    Ok(EventFilter {
        types,
        profile,
        key,
    })
}
