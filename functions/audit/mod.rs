//! `audit`: reads a project's audit trail, oldest first.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::Page;
use sealfleet_api::{Problem, cursor};
use sealfleet_domain::access::Action;
use sealfleet_domain::{EventId, RunId, Timestamp};
use sealfleet_ledger::{AuditFilter, Ledger};

use crate::shared::identity::{Caller, Door, caller, no_route, path_id};
use crate::shared::problems;

/// Seconds before now that are read when no `from` is given: a day.
const DEFAULT_SECONDS: i64 = 24 * 3600;
/// Seconds that one query spans at most: 31 days.
const MOST_SECONDS: i64 = 31 * 24 * 3600;

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
        _ => Err(no_route()),
    }
}

async fn query(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ReadAudit).await?;
    let filter = filter(ports, request, &caller).await?;
    let entries = ports.ledger.audit(&caller.scope, &filter).await.map_err(problems::of_ledger)?;
    let next_cursor = match entries.last() {
        Some(last) if entries.len() == filter.limit => {
            Some(cursor::write(caller.scope.project().as_str(), &list(request), &last.event_id.to_string()))
        }
        _ => None,
    };
    Answer::json(200, &Page { items: entries, next_cursor })
}

/// What a cursor is bound to beside the project: the filters it was made with.
fn list(request: &Request) -> String {
    let part = |name: &str| request.query.get(name).cloned().unwrap_or_default();
    format!("audit:{}:{}:{}", part("run"), part("from"), part("to"))
}

async fn filter(ports: &Ports, request: &Request, caller: &Caller) -> Result<AuditFilter, Problem> {
    let now = ports.ledger.now();
    let time = |name: &str| {
        let given = request.query.get(name).map(|text| Timestamp::parse(text));
        given.transpose().map_err(|error| Problem::invalid(name, error.to_string()))
    };
    let run_id: Option<RunId> = request.query.get("run").map(|text| path_id(text)).transpose()?;
    let to = time("to")?.unwrap_or(now);
    let from = match (time("from")?, run_id) {
        (Some(from), _) => from,
        (None, Some(run_id)) => ports.ledger.run(&caller.scope, run_id).await.map_err(problems::of_ledger)?.created_at,
        (None, None) => to.plus_seconds(-DEFAULT_SECONDS),
    };
    if to < from || to.millis_since(from) > MOST_SECONDS * 1000 {
        return Err(Problem::invalid("from", "`from` is before `to`, by 31 days at most"));
    }
    let after = request.query.get("cursor").map(|text| {
        let after = cursor::read(caller.scope.project().as_str(), &list(request), text)?;
        after.parse::<EventId>().map_err(|_| Problem::invalid("cursor", "the cursor is not of this list"))
    });
    Ok(AuditFilter { run_id, from, to, after: after.transpose()?, limit: request.limit()? })
}
