//! API tokens: created once, shown once, listed without their secrets, revoked.

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{CreateToken, TokenCreated, WhoamiView};
use sealfleet_domain::access::{self, Role};
use sealfleet_domain::credential::Home;
use sealfleet_domain::{Line, TokenId, limits};

use super::Ports;
use crate::shared::auth::{Authenticated, InQuery, Oneself, ProjectCaller};
use crate::shared::fault::Answered;
use crate::shared::{pages, views};

pub(super) async fn create(ports: &Ports, caller: Authenticated, request: &Request) -> Answered {
    let new: CreateToken = request.json()?;
    let caller = caller.in_named(new.project)?;
    if new.role == Role::Operator {
        let detail = "only `sealfleet token bootstrap` makes operators' tokens, with AWS \
                      credentials of your own";
        return Err(Problem::invalid("role", detail).into());
    }
    let long = |note: &Line| note.len() > limits::NAME_BYTES;
    if new.note.as_ref().is_some_and(long) {
        let detail = format!("a note has {} bytes at most", limits::NAME_BYTES);
        return Err(Problem::invalid("note", detail).into());
    }
    if !(1..=limits::TOKEN_SECONDS).contains(&new.expires_in_seconds) {
        let detail = format!("a token lasts 1 to {} seconds", limits::TOKEN_SECONDS);
        return Err(Problem::invalid("expires_in_seconds", detail).into());
    }
    // Nobody would watch over the token of a project that does not exist.
    ports.ledger.open_project(&caller.scope).await?;
    let seconds = i64::from(new.expires_in_seconds);
    let expires_at = ports.ledger.now().plus_seconds(seconds);
    let (row, token) = ports
        .ledger
        .create_token(
            &home(&caller),
            new.role,
            new.note.map(String::from),
            caller.login.clone(),
            expires_at,
            &caller.actor,
        )
        .await?;
    let view = views::token(row);
    Answer::json(201, &TokenCreated { token, view })
}

fn home(caller: &ProjectCaller) -> Home {
    Home::Project(caller.scope.project().clone())
}

pub(super) async fn list(ports: &Ports, InQuery(caller): InQuery, request: &Request) -> Answered {
    let home = home(&caller);
    let fetch = async |after: Option<&str>, limit| ports.ledger.tokens(&home, after, limit).await;
    let project = caller.scope.project().as_str();
    pages::answer(request, project, "tokens", fetch, views::token).await
}

pub(super) async fn whoami(Oneself(principal): Oneself) -> Answered {
    let may = access::allowed(&principal);
    let view = WhoamiView {
        actor: principal.actor(),
        project: principal.scope().map(|scope| scope.project().clone()),
        role: principal.role().ok_or_else(Problem::unauthenticated)?,
        may: may.iter().map(|action| action.name().to_owned()).collect(),
    };
    Answer::json(200, &view)
}

pub(super) async fn revoke(ports: &Ports, InQuery(caller): InQuery, id: TokenId) -> Answered {
    let row = ports
        .ledger
        .revoke_token(&home(&caller), id, &caller.actor)
        .await?;
    Answer::json(200, &views::token(row))
}
