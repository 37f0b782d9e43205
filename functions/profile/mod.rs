//! `profile`: Sealed Identity profiles, by names and references, and the cascade they make. No
//! field takes a value.
//!
//! A project's token acts on the project's profiles, an operator's on those of the system scope.
//! Every change names the version that it replaces.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{CreateProfile, ResolveCascade};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::ProfileName;
use sealfleet_domain::access::Action;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::limits;
use sealfleet_domain::profile::{Content, Profile};
use sealfleet_ledger::{Error, Ledger};

mod preview;

use crate::shared::auth::{Door, OwnerCaller, caller, owner_caller, path_id};
use crate::shared::{pages, problems};

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
        ("POST", ["v1", "profiles"]) => create(ports, request).await,
        ("GET", ["v1", "profiles"]) => list(ports, request).await,
        ("GET", ["v1", "profiles", name]) => show(ports, request, name).await,
        ("PUT", ["v1", "profiles", name]) => put(ports, request, name).await,
        ("DELETE", ["v1", "profiles", name]) => delete(ports, request, name).await,
        ("GET", ["v1", "profiles", name, "versions"]) => versions(ports, request, name).await,
        ("GET", ["v1", "cascade"]) => bindings(ports, request).await,
        ("PUT", ["v1", "cascade"]) => bind(ports, request).await,
        ("POST", ["v1", "cascade", "resolve"]) => resolve(ports, request).await,
        _ => Err(Problem::not_found()),
    }
}

async fn create(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::WriteProfile).await?;
    let CreateProfile { name, content } = request.json()?;
    let content = checked(content, &caller)?;
    let created = ports
        .ledger
        .create_profile(&caller.owner, &name, content, &caller.actor)
        .await;
    answer(201, &created.map_err(problems::of_ledger)?)
}

async fn put(ports: &Ports, request: &Request, name: &str) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::WriteProfile).await?;
    let name: ProfileName = path_id(name)?;
    let content = checked(request.json()?, &caller)?;
    let replaces = request.if_match()?.ok_or_else(|| {
        Problem::new(
            Code::PreconditionRequired,
            "read the profile and send its `ETag` back as `If-Match`, so that nobody's change is lost",
        )
    })?;
    let updated = ports
        .ledger
        .update_profile(&caller.owner, &name, replaces, content, &caller.actor)
        .await;
    answer(200, &updated.map_err(problems::of_ledger)?)
}

/// The content that a caller wrote, if it may be stored.
fn checked(content: Content, caller: &OwnerCaller) -> Result<Content, Problem> {
    content
        .check(&caller.owner)
        .map_err(|error| Problem::invalid(error.field, error.message))?;
    Ok(content)
}

fn answer(status: u16, profile: &Profile) -> Result<Answer, Problem> {
    Ok(Answer::json(status, profile)?.with_version(profile.version))
}

async fn delete(ports: &Ports, request: &Request, name: &str) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::WriteProfile).await?;
    let expected = request.if_match()?;
    let deleted = ports
        .ledger
        .delete_profile(&caller.owner, &path_id(name)?, expected, &caller.actor)
        .await;
    deleted.map_err(problems::of_ledger)?;
    Answer::json(204, &())
}

async fn list(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::ReadProfiles).await?;
    let fetch =
        async |after: Option<&str>, limit| ports.ledger.profiles(&caller.owner, after, limit).await;
    pages::answer(request, caller.owner.name(), "profiles", fetch, |profile| {
        profile
    })
    .await
}

async fn show(ports: &Ports, request: &Request, name: &str) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::ReadProfiles).await?;
    let profile = ports
        .ledger
        .profile(&caller.owner, &path_id(name)?)
        .await
        .map_err(problems::of_ledger)?;
    answer(200, &profile)
}

async fn versions(ports: &Ports, request: &Request, name: &str) -> Result<Answer, Problem> {
    let caller = owner_caller(&ports.door, request, Action::ReadProfiles).await?;
    let name: ProfileName = path_id(name)?;
    let fetch = async |before: Option<&str>, limit| {
        let versions = ports
            .ledger
            .profile_versions(&caller.owner, &name, before, limit)
            .await?;
        // A profile that was ever there has a first version.
        if versions.items.is_empty() && before.is_none() {
            Err(Error::NotFound)
        } else {
            Ok(versions)
        }
    };
    pages::answer(
        request,
        caller.owner.name(),
        &format!("profiles:{name}"),
        fetch,
        |version| version,
    )
    .await
}

async fn bindings(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ReadProfiles).await?;
    let project = ports
        .ledger
        .project(&caller.scope)
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &project.cascade)
}

async fn bind(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::WriteProfile).await?;
    let wanted: Bindings = request.json()?;
    if wanted.workflows.len() > limits::WORKFLOWS {
        return Err(Problem::invalid(
            "workflows",
            format!("bind {} workflows at most", limits::WORKFLOWS),
        ));
    }
    let bound = ports
        .ledger
        .bind_cascade(&caller.scope, &wanted, &caller.actor)
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &bound.cascade)
}

async fn resolve(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ReadProfiles).await?;
    let wanted: ResolveCascade = request.json()?;
    Answer::json(
        200,
        &preview::of(&ports.ledger, &caller.scope, wanted).await?,
    )
}
