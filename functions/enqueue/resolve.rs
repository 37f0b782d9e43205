//! Resolves the secrets and variables that a new run's identity steps would see now, by name, and
//! records them with their versions, so that drift is detected at start.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_api::{Code, Problem};
use sealfleet_domain::cascade::{CascadeError, Level, Overrides, resolve};
use sealfleet_domain::fleet::Project;
use sealfleet_domain::identity::Identity;
use sealfleet_domain::reference::ProfileRef;
use sealfleet_domain::run::{Mode, StepSpec};
use sealfleet_domain::{StepId, WorkflowName};
use sealfleet_ledger::Error as LedgerError;
use sealfleet_versions::Error;

use super::Ports;
use crate::shared::auth::Caller;
use crate::shared::cascade::pins;
use crate::shared::problems;

/// A run whose cascade is resolved.
pub(super) struct NewRun<'a> {
    pub caller: &'a Caller,
    pub project: &'a Project,
    pub workflow: &'a WorkflowName,
    pub levels: Vec<(Level, ProfileRef)>,
    pub overrides: Overrides,
    pub steps: &'a BTreeMap<StepId, StepSpec>,
}

pub(super) async fn identity(ports: &Ports, new_run: NewRun<'_>) -> Result<Identity, Problem> {
    new_run
        .overrides
        .check()
        .map_err(|error| Problem::invalid(error.field, error.message))?;
    let layers = match ports
        .ledger
        .layers(&new_run.caller.scope, &new_run.levels)
        .await
    {
        Ok(layers) => layers,
        Err(LedgerError::NoProfile(profile)) => {
            denied(
                ports,
                &new_run,
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
    let outcome = match resolve(&layers, &new_run.overrides, new_run.workflow) {
        Ok(outcome) => outcome,
        Err(error) => return Err(unresolved(ports, &new_run, &error).await?),
    };
    for (step_id, step) in identity_steps(new_run.steps) {
        if let Err(error) = outcome.check_plain(&step.env) {
            let problem = unresolved(ports, &new_run, &error).await?;
            return Err(Problem {
                field: Some(format!("steps.{step_id}.env")),
                ..problem
            });
        }
    }
    let identity = Identity::new(&layers, new_run.overrides.clone(), outcome);
    let mut seen = BTreeSet::new();
    for (step_id, step) in identity_steps(new_run.steps) {
        let secrets = identity.seen_by(step.tool.as_ref()).secrets;
        let pool = new_run.project.pools.get(&step.pool);
        if let Some(Err(detail)) = pool.map(|pool| pool.host().check_secrets(&secrets)) {
            return Err(Problem::invalid(format!("steps.{step_id}.pool"), detail));
        }
        seen.extend(secrets.into_iter().map(|secret| secret.uri));
    }
    let pins = pins(&ports.secrets, &seen)
        .await
        .map_err(|error| match error {
            Error::NotFound(_) | Error::Denied(_) => Problem::invalid("profile", error.to_string()),
            Error::Unavailable { service, .. } => problems::unavailable(&error, service),
        })?;
    let identity = identity.pinned(&pins);
    refuse_revoked(ports, &new_run, &identity).await?;
    Ok(identity)
}

fn identity_steps(
    steps: &BTreeMap<StepId, StepSpec>,
) -> impl Iterator<Item = (&StepId, &StepSpec)> {
    steps.iter().filter(|(_, step)| step.mode == Mode::Identity)
}

async fn unresolved(
    ports: &Ports,
    new_run: &NewRun<'_>,
    error: &CascadeError,
) -> Result<Problem, Problem> {
    denied(ports, new_run, &error.to_string()).await?;
    Ok(problems::of_cascade(error))
}

/// Refuses a run one of whose steps would see a revoked key.
async fn refuse_revoked(
    ports: &Ports,
    new_run: &NewRun<'_>,
    identity: &Identity,
) -> Result<(), Problem> {
    let seen = |(_, step): (&StepId, &StepSpec)| identity.seen_by(step.tool.as_ref()).secrets;
    let names: BTreeSet<String> = identity_steps(new_run.steps)
        .flat_map(seen)
        .map(|secret| secret.name)
        .collect();
    let mut used = identity.clone();
    used.secrets.retain(|secret| names.contains(&secret.name));
    let revoked = ports
        .ledger
        .check_revocations(&new_run.caller.scope, &used)
        .await
        .map_err(problems::of_ledger)?;
    let Some(revoked) = revoked else {
        return Ok(());
    };
    denied(ports, new_run, &revoked.to_string()).await?;
    Err(Problem::new(
        Code::SecretRevoked,
        format!("{revoked}; have it lifted, or take the key out of the cascade"),
    ))
}

async fn denied(ports: &Ports, new_run: &NewRun<'_>, reason: &str) -> Result<(), Problem> {
    let profiles = new_run
        .levels
        .iter()
        .map(|(_, profile)| profile.clone())
        .collect();
    let Caller { scope, actor } = new_run.caller;
    ports
        .ledger
        .denied_run(scope, actor, new_run.workflow, profiles, reason)
        .await
        .map_err(problems::of_ledger)
}
