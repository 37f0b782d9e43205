//! Deletes a project, by requests that are repeated until it is gone.
//!
//! The first closes it: it takes no runs, tokens and keys any more. A request that was under way by
//! then has ended [`SETTLED_SECONDS`] later. From then on, and once all its runs have ended, the
//! next request revokes its tokens, enrolment keys and workers, and deletes it. Each request may
//! stop half-way, and the next goes on.
//!
//! What a project leaves: its trail, its archive, rows that time to live deletes, and its name,
//! which nobody gets again. Its stack and its secrets are the operator's to delete.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{ProjectDeletion, ProjectState};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::ProjectScope;
use sealfleet_domain::credential::Home;
use sealfleet_domain::fleet::{Project, WorkerStatus};
use sealfleet_ledger::{Error, Ledger, Page};

use super::Ports;
use crate::shared::auth::InPath;
use crate::shared::fault::{Answered, Fault};

/// Seconds after which nothing is under way that began before a project was closed: more than a
/// function may run, and than the due index lags behind.
const SETTLED_SECONDS: i64 = 60;
/// Unfinished runs that a refusal counts.
const COUNTED: usize = 1000;
/// Credentials that are read at once.
const PAGE: usize = 100;
/// Credentials that are revoked at once.
const AT_ONCE: usize = 8;

pub(super) async fn delete(ports: &Ports, InPath(caller): InPath, request: &Request) -> Answered {
    let drain = match request.query.get("drain").map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::invalid("drain", "use `true` or `false`").into()),
    };
    let (ledger, scope, actor) = (&ports.ledger, &caller.scope, &caller.actor);
    let project = ledger.project_or_its_remains(scope).await?;
    if project.deleted_at.is_some() {
        return answer(project, ProjectState::Deleted);
    }
    let Some(closed_at) = project.closed_at else {
        if !drain {
            refuse_in_use(ledger, scope).await?;
        }
        let closed = ledger.close_project(scope, project, actor).await?;
        return answer(closed, ProjectState::Closing);
    };
    if ledger.now() < closed_at.plus_seconds(SETTLED_SECONDS) {
        return answer(project, ProjectState::Closing);
    }
    refuse_in_use(ledger, scope).await?;
    revoke_all(ports, scope, actor).await?;
    let deleted = ledger.delete_project(scope, project, actor).await?;
    answer(deleted, ProjectState::Deleted)
}

/// Refuses while anything of the project is under way. An operator may know how many, not which.
async fn refuse_in_use(ledger: &Ledger, scope: &ProjectScope) -> Result<(), Fault> {
    let under_way = ledger.under_way(scope, COUNTED).await?;
    if under_way == 0 {
        return Ok(());
    }
    let or_more = if under_way == COUNTED { " or more" } else { "" };
    let detail = format!(
        "{under_way}{or_more} of its runs and fan-outs are not over; have an admin of the project \
         cancel them, or wait. `drain=true` closes the project to new ones meanwhile"
    );
    Err(Problem::new(Code::ProjectInUse, detail).into())
}

fn answer(project: Project, state: ProjectState) -> Answered {
    let status = match state {
        ProjectState::Closing => 202,
        ProjectState::Deleted => 200,
    };
    let gone_from = project
        .closed_at
        .map(|closed_at| closed_at.plus_seconds(SETTLED_SECONDS));
    let view = ProjectDeletion {
        project: project.project,
        state,
        closed_at: project.closed_at,
        deletable_from: gone_from,
        deleted_at: project.deleted_at,
    };
    Answer::json(status, &view)
}

/// Revokes the project's tokens, enrolment keys and workers, those that stand for its pools too.
async fn revoke_all(ports: &Ports, scope: &ProjectScope, actor: &str) -> Result<(), Error> {
    let ledger = &ports.ledger;
    let home = Home::Project(scope.project().clone());
    each(
        async |after: Option<String>| ledger.tokens(&home, after.as_deref(), PAGE).await,
        async |row| match row.revoked_at {
            None => ledger
                .revoke_token(&home, row.token_id, actor)
                .await
                .map(drop),
            Some(_) => Ok(()),
        },
    )
    .await?;
    each(
        async |after: Option<String>| ledger.enrolment_keys(scope, after.as_deref(), PAGE).await,
        async |row| {
            let revoked = ledger.revoke_enrolment_key(scope, row.enrolment_key_id, actor);
            revoked.await.map(drop)
        },
    )
    .await?;
    let from = [WorkerStatus::Pending, WorkerStatus::Approved];
    each(
        async |after: Option<String>| ledger.workers(scope, after.as_deref(), PAGE).await,
        async |row| {
            if !from.contains(&row.status) {
                return Ok(());
            }
            let revoked = ledger.revoke_worker(scope, row.worker_id, actor);
            revoked.await.map(drop)
        },
    )
    .await
}

/// Does something with each row of a list, page by page, with several rows at once.
async fn each<Row>(
    page: impl AsyncFn(Option<String>) -> Result<Page<Row>, Error>,
    act: impl AsyncFn(Row) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let rows = page(after).await?;
        stream::iter(rows.items.into_iter().map(|row| act(row)))
            .buffer_unordered(AT_ONCE)
            .try_for_each(async |()| Ok(()))
            .await?;
        after = rows.more_after;
        if after.is_none() {
            return Ok(());
        }
    }
}
