//! `profile`: Sealed Identity profiles, by names and references. No field takes a value.

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::CreateProfile;
use sealfleet_domain::access::Action;
use sealfleet_domain::profile::Profile;
use sealfleet_ledger::Ledger;

use crate::shared::identity::{caller, no_route, path_id};
use crate::shared::{pages, problems};

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
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
        _ => Err(no_route()),
    }
}

async fn create(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.ledger, request, Action::WriteProfile).await?;
    let wanted: CreateProfile = request.json()?;
    let profile = Profile {
        name: wanted.name,
        version: 1,
        env: wanted.env,
        secrets: wanted.secrets,
        allowed_workflows: wanted.allowed_workflows,
        created_at: ports.ledger.now(),
    };
    profile.check(&caller.scope).map_err(|error| Problem::invalid(error.field, error.message))?;
    ports.ledger.create_profile(&caller.scope, &profile, &caller.actor).await.map_err(problems::of_ledger)?;
    Answer::json(201, &profile)
}

async fn list(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    request.only_query(&["limit", "cursor"])?;
    let caller = caller(&ports.ledger, request, Action::ReadProfiles).await?;
    let fetch = async |after: Option<&str>, limit| ports.ledger.profiles(&caller.scope, after, limit).await;
    pages::answer(request, caller.scope.project().as_str(), "profiles", fetch, |profile| profile).await
}

async fn show(ports: &Ports, request: &Request, name: &str) -> Result<Answer, Problem> {
    let caller = caller(&ports.ledger, request, Action::ReadProfiles).await?;
    let profile = ports.ledger.profile(&caller.scope, &path_id(name)?).await.map_err(problems::of_ledger)?;
    Answer::json(200, &profile)
}
