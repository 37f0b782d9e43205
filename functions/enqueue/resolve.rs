//! What a run's identity steps will start with, as of now: resolved by name, checked, and recorded
//! with the run, so that what has changed until a step starts can be told.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_api::{Code, Problem};
use sealfleet_domain::cascade::{CascadeError, Level, Overrides, resolve};
use sealfleet_domain::fleet::{Pool, Project};
use sealfleet_domain::identity::Identity;
use sealfleet_domain::reference::ProfileRef;
use sealfleet_domain::run::{Mode, StepSpec};
use sealfleet_domain::{StepId, WorkflowName};
use sealfleet_ledger::Error as LedgerError;
use sealfleet_versions::Error;

use super::Ports;
use crate::shared::auth::Caller;
use crate::shared::cascade::{Reach, pins};
use crate::shared::problems;

/// A run whose cascade is asked for.
pub(super) struct Asked<'a> {
    pub caller: &'a Caller,
    pub project: &'a Project,
    pub workflow: &'a WorkflowName,
    pub levels: Vec<(Level, ProfileRef)>,
    pub overrides: Overrides,
    pub steps: &'a BTreeMap<StepId, StepSpec>,
}

pub(super) async fn identity(ports: &Ports, asked: Asked<'_>) -> Result<Identity, Problem> {
    asked
        .overrides
        .check()
        .map_err(|error| Problem::invalid(error.field, error.message))?;
    let layers = match ports
        .ledger
        .layers(&asked.caller.scope, &asked.levels)
        .await
    {
        Ok(layers) => layers,
        Err(LedgerError::NoProfile(profile)) => {
            denied(
                ports,
                &asked,
                &format!("there is no profile `{profile}` in this project"),
            )
            .await?;
            return Err(Problem {
                field: Some("profile".to_owned()),
                ..Problem::not_found()
            });
        }
        Err(error) => return Err(problems::of_ledger(error)),
    };
    let outcome = match resolve(&layers, &asked.overrides, asked.workflow) {
        Ok(outcome) => outcome,
        Err(error) => return Err(unresolved(ports, &asked, &error).await?),
    };
    for (step_id, step) in identity_steps(asked.steps) {
        if let Err(error) = outcome.check_plain(&step.env) {
            let problem = unresolved(ports, &asked, &error).await?;
            return Err(Problem {
                field: Some(format!("steps.{step_id}.env")),
                ..problem
            });
        }
    }
    let identity = Identity::new(&layers, asked.overrides.clone(), outcome);
    let mut seen = BTreeSet::new();
    for (step_id, step) in identity_steps(asked.steps) {
        let secrets = identity.seen_by(step.tool.as_ref()).secrets;
        let fargate = matches!(asked.project.pools.get(&step.pool), Some(Pool::Fargate(_)));
        let reach = if fargate { Reach::Fargate } else { Reach::Pull };
        if let Some(detail) = reach.beyond(&secrets) {
            return Err(Problem::invalid(format!("steps.{step_id}.pool"), detail));
        }
        seen.extend(secrets.into_iter().map(|secret| secret.uri));
    }
    let pins = pins(ports.secrets.as_ref(), &seen)
        .await
        .map_err(|error| match error {
            Error::NotFound(_) | Error::Denied(_) => Problem::invalid("profile", error.to_string()),
            Error::Unavailable(_) => problems::unavailable(&error, "Secrets Manager"),
        })?;
    let identity = identity.pinned(&pins);
    refuse_revoked(ports, &asked, &identity).await?;
    Ok(identity)
}

fn identity_steps(
    steps: &BTreeMap<StepId, StepSpec>,
) -> impl Iterator<Item = (&StepId, &StepSpec)> {
    steps.iter().filter(|(_, step)| step.mode == Mode::Identity)
}

async fn unresolved(
    ports: &Ports,
    asked: &Asked<'_>,
    error: &CascadeError,
) -> Result<Problem, Problem> {
    denied(ports, asked, &error.to_string()).await?;
    Ok(problems::of_cascade(error))
}

/// Refuses a run one of whose steps would see a revoked key.
async fn refuse_revoked(
    ports: &Ports,
    asked: &Asked<'_>,
    identity: &Identity,
) -> Result<(), Problem> {
    let seen = |(_, step): (&StepId, &StepSpec)| identity.seen_by(step.tool.as_ref()).secrets;
    let names: BTreeSet<String> = identity_steps(asked.steps)
        .flat_map(seen)
        .map(|secret| secret.name)
        .collect();
    let mut used = identity.clone();
    used.secrets.retain(|secret| names.contains(&secret.name));
    let revoked = ports
        .ledger
        .check_revocations(&asked.caller.scope, &used)
        .await
        .map_err(problems::of_ledger)?;
    let Some(revoked) = revoked else {
        return Ok(());
    };
    denied(ports, asked, &revoked.to_string()).await?;
    Err(Problem::new(
        Code::SecretRevoked,
        format!("{revoked}; have it lifted, or take the key out of the cascade"),
    ))
}

async fn denied(ports: &Ports, asked: &Asked<'_>, reason: &str) -> Result<(), Problem> {
    let profiles = asked
        .levels
        .iter()
        .map(|(_, profile)| profile.clone())
        .collect();
    let Caller { scope, actor } = asked.caller;
    ports
        .ledger
        .denied_run(scope, actor, asked.workflow, profiles, reason)
        .await
        .map_err(problems::of_ledger)
}
