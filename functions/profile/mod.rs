//! `profile`: Sealed Identity profiles and the cascade that they make. They hold names and
//! references; no field takes a value.
//!
//! A project's token acts on the project's profiles, an operator's on those of the system scope.
//! Every change names the version that it replaces.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{CreateProfile, ResolveCascade};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::cascade::{Bindings, CascadeError};
use sealfleet_domain::egress::Policy;
use sealfleet_domain::profile::{Content, Profile};
use sealfleet_domain::{Owner, ProfileName, limits};
use sealfleet_ledger::{Error, Ledger};

mod preview;

use crate::shared::auth::{Door, OwnerCaller, ProjectCaller};
use crate::shared::fault::{Answered, Fault};
use crate::shared::pages;
use crate::shared::route::route;

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
        CREATE_PROFILE => |caller, ()| create(ports, caller, request);
        LIST_PROFILES => |caller, ()| list(ports, caller, request);
        GET_PROFILE => |caller, (name,)| show(ports, caller, name);
        PUT_PROFILE => |caller, (name,)| put(ports, caller, request, name);
        DELETE_PROFILE => |caller, (name,)| delete(ports, caller, request, name);
        LIST_PROFILE_VERSIONS => |caller, (name,)| versions(ports, caller, request, name);
        GET_CASCADE => |caller, ()| bindings(ports, caller);
        PUT_CASCADE => |caller, ()| bind(ports, caller, request);
        RESOLVE_CASCADE => |caller, ()| resolve(ports, caller, request);
    }
}

async fn create(ports: &Ports, caller: OwnerCaller, request: &Request) -> Answered {
    let CreateProfile { name, content } = request.json()?;
    let content = checked(ports, content, &caller).await?;
    let created = ports
        .ledger
        .create_profile(&caller.owner, &name, content, &caller.actor)
        .await?;
    answer(201, &created)
}

async fn put(ports: &Ports, caller: OwnerCaller, request: &Request, name: ProfileName) -> Answered {
    let content = checked(ports, request.json()?, &caller).await?;
    let replaces = request.if_match()?.ok_or_else(|| {
        Problem::new(
            Code::PreconditionRequired,
            "read the profile and send its `ETag` back as `If-Match`, so that nobody's change is lost",
        )
    })?;
    let updated = ports
        .ledger
        .update_profile(&caller.owner, &name, replaces, content, &caller.actor)
        .await?;
    answer(200, &updated)
}

/// The content that a caller sent, if it may be stored.
async fn checked(ports: &Ports, content: Content, caller: &OwnerCaller) -> Result<Content, Fault> {
    content.check(&caller.owner)?;
    if let (Owner::Project(scope), Some(Policy::Open)) = (&caller.owner, &content.egress) {
        let project = ports.ledger.project(scope).await?;
        if project.egress_ceiling != Some(Policy::Open) {
            return Err(Problem::invalid("egress", CascadeError::Open.to_string()).into());
        }
    }
    Ok(content)
}

fn answer(status: u16, profile: &Profile) -> Answered {
    Answer::json(status, profile).map(|answer| answer.with_version(profile.version))
}

async fn delete(
    ports: &Ports,
    caller: OwnerCaller,
    request: &Request,
    name: ProfileName,
) -> Answered {
    let expected = request.if_match()?;
    ports
        .ledger
        .delete_profile(&caller.owner, &name, expected, &caller.actor)
        .await?;
    Answer::json(204, &())
}

async fn list(ports: &Ports, caller: OwnerCaller, request: &Request) -> Answered {
    let fetch =
        async |after: Option<&str>, limit| ports.ledger.profiles(&caller.owner, after, limit).await;
    let scope = caller.owner.name();
    pages::answer(request, scope, "profiles", fetch, |profile| profile).await
}

async fn show(ports: &Ports, caller: OwnerCaller, name: ProfileName) -> Answered {
    let profile = ports.ledger.profile(&caller.owner, &name).await?;
    answer(200, &profile)
}

async fn versions(
    ports: &Ports,
    caller: OwnerCaller,
    request: &Request,
    name: ProfileName,
) -> Answered {
    let fetch = async |before: Option<&str>, limit| {
        let versions = ports
            .ledger
            .profile_versions(&caller.owner, &name, before, limit)
            .await?;
        // A profile that ever existed has a first version.
        if versions.items.is_empty() && before.is_none() {
            Err(Error::NotFound)
        } else {
            Ok(versions)
        }
    };
    let (scope, list) = (caller.owner.name(), format!("profiles:{name}"));
    pages::answer(request, scope, &list, fetch, |version| version).await
}

async fn bindings(ports: &Ports, caller: ProjectCaller) -> Answered {
    let project = ports.ledger.project(&caller.scope).await?;
    Answer::json(200, &project.cascade)
}

async fn bind(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let bindings: Bindings = request.json()?;
    if bindings.workflows.len() > limits::WORKFLOWS {
        let detail = format!("bind {} workflows at most", limits::WORKFLOWS);
        return Err(Problem::invalid("workflows", detail).into());
    }
    let bound = ports
        .ledger
        .bind_cascade(&caller.scope, &bindings, &caller.actor)
        .await?;
    Answer::json(200, &bound.cascade)
}

async fn resolve(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let question: ResolveCascade = request.json()?;
    let resolved = preview::of(&ports.ledger, &caller.scope, question).await?;
    Answer::json(200, &resolved)
}
