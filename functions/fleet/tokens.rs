//! API tokens: made once, shown once, listed without their secrets, revoked.

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{CreateToken, TokenCreated};
use sealfleet_domain::access::{Action, Principal, Resource, Role};
use sealfleet_domain::credential::Home;
use sealfleet_domain::{ProjectId, ProjectScope, limits};

use super::Ports;
use crate::shared::auth::{authorise, path_id, token_principal};
use crate::shared::{pages, problems, views};

pub(super) async fn create(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let principal = token_principal(&ports.door, request, Action::CreateToken).await?;
    let wanted: CreateToken = request.json()?;
    let home = home(&principal, wanted.project.as_ref())?;
    let Home::Project(project) = &home else {
        return Err(only_by_cli());
    };
    authorise(&principal, Action::CreateToken, Resource::Project(project))?;
    if wanted.role == Role::Operator {
        return Err(only_by_cli());
    }
    if wanted
        .note
        .as_ref()
        .is_some_and(|note| note.len() > limits::NAME_BYTES)
    {
        return Err(Problem::invalid(
            "note",
            format!("a note has {} bytes at most", limits::NAME_BYTES),
        ));
    }
    if !(1..=limits::TOKEN_SECONDS).contains(&wanted.expires_in_seconds) {
        return Err(Problem::invalid(
            "expires_in_seconds",
            format!("a token lasts 1 to {} seconds", limits::TOKEN_SECONDS),
        ));
    }
    if let Principal::Operator(operator) = &principal {
        // A token of a project that does not exist would be a door that nobody watches.
        let scope = ProjectScope::entered_by(operator, project.clone());
        ports
            .ledger
            .project(&scope)
            .await
            .map_err(problems::of_ledger)?;
    }
    let expires_at = ports
        .ledger
        .now()
        .plus_seconds(i64::from(wanted.expires_in_seconds));
    let (row, token) = ports
        .ledger
        .create_token(
            &home,
            wanted.role,
            wanted.note,
            expires_at,
            &principal.actor(),
        )
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(
        201,
        &TokenCreated {
            token,
            view: views::token(row),
        },
    )
}

fn only_by_cli() -> Problem {
    Problem::invalid(
        "role",
        "operators' tokens are made by `sealfleet token bootstrap`, with AWS credentials of your own",
    )
}

/// Where a token is made: a project's own, or the one that an operator names.
fn home(principal: &Principal, named: Option<&ProjectId>) -> Result<Home, Problem> {
    match (principal.scope(), named) {
        (None, Some(project)) => Ok(Home::Project(project.clone())),
        (None, None) => Err(Problem::invalid(
            "project",
            "an operator must name the project of the token",
        )),
        (Some(scope), None) => Ok(Home::Project(scope.project().clone())),
        (Some(_), Some(_)) => Err(Problem::invalid(
            "project",
            "leave `project` out: a token makes tokens of its own project only",
        )),
    }
}

pub(super) async fn list(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let principal = token_principal(&ports.door, request, Action::ListTokens).await?;
    let named = request
        .query
        .get("project")
        .map(|text| path_id(text))
        .transpose()?;
    let home = home(&principal, named.as_ref())?;
    let Home::Project(project) = &home else {
        return Err(Problem::not_found());
    };
    authorise(&principal, Action::ListTokens, Resource::Project(project))?;
    let fetch = async |after: Option<&str>, limit| ports.ledger.tokens(&home, after, limit).await;
    pages::answer(request, project.as_str(), "tokens", fetch, views::token).await
}

pub(super) async fn revoke(ports: &Ports, request: &Request, id: &str) -> Result<Answer, Problem> {
    let principal = token_principal(&ports.door, request, Action::RevokeToken).await?;
    let named = request
        .query
        .get("project")
        .map(|text| path_id(text))
        .transpose()?;
    let home = home(&principal, named.as_ref())?;
    let Home::Project(project) = &home else {
        return Err(Problem::not_found());
    };
    authorise(&principal, Action::RevokeToken, Resource::Project(project))?;
    let row = ports
        .ledger
        .revoke_token(&home, path_id(id)?, &principal.actor())
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &views::token(row))
}
