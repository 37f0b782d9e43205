//! What a run's identity steps will start with: the profile by name, each reference by the version it has now.
//!
//! Names, references and version ids only. Where the control plane cannot describe an identity backend (a file beside
//! a worker), the sandbox reports the version that it resolved.

use std::collections::BTreeMap;

use sealfleet_api::{Code, Problem};
use sealfleet_domain::fleet::{Pool, Project};
use sealfleet_domain::profile::{Identity, Profile, SecretRef, SecretUri};
use sealfleet_domain::run::{Mode, StepSpec};
use sealfleet_domain::{ProfileName, StepId, WorkflowName};
use sealfleet_ledger::Error as LedgerError;
use sealfleet_secrets_manager::{Described, Error};

use super::Ports;
use crate::shared::identity::Caller;
use crate::shared::problems;

pub(super) async fn identity(
    ports: &Ports,
    caller: &Caller,
    project: &Project,
    name: &ProfileName,
    workflow: &WorkflowName,
    steps: &BTreeMap<StepId, StepSpec>,
) -> Result<Identity, Problem> {
    let profile = ports.ledger.profile(&caller.scope, name).await.map_err(|error| match error {
        LedgerError::NotFound => Problem { field: Some("profile".to_owned()), ..Problem::not_found() },
        other => problems::of_ledger(other),
    })?;
    if !profile.allowed_workflows.is_empty() && !profile.allowed_workflows.contains(workflow) {
        let reason = format!("profile `{name}` may not be used by workflow `{workflow}`");
        ports
            .ledger
            .denied_run(&caller.scope, &caller.actor, workflow, name, &reason)
            .await
            .map_err(problems::of_ledger)?;
        return Err(Problem::new(Code::ProfileDenied, reason));
    }
    check_backends(&profile, project, steps)?;
    let secrets = pin(ports, &profile).await?;
    Ok(Identity { profile: profile.name, profile_version: profile.version, env: profile.env, secrets })
}

/// Each kind of pool reaches its own identity backends: say so now, and not at the start of a sandbox.
fn check_backends(profile: &Profile, project: &Project, steps: &BTreeMap<StepId, StepSpec>) -> Result<(), Problem> {
    for (step_id, step) in steps.iter().filter(|(_, step)| step.mode == Mode::Identity) {
        let fargate = matches!(project.pools.get(&step.pool), Some(Pool::Fargate(_)));
        let beyond = profile.secrets.iter().find(|(_, uri)| match uri {
            SecretUri::AwsSecretsManager { .. } => !fargate,
            SecretUri::Builtin { .. } => fargate,
        });
        if let Some((name, uri)) = beyond {
            let scheme = uri.scheme();
            let kind = if fargate { "Fargate" } else { "pull" };
            return Err(Problem::invalid(
                format!("steps.{step_id}.pool"),
                format!(
                    "secret `{name}` of profile `{}` is `{scheme}://`, which a {kind} pool cannot resolve; use `aws-sm://` \
                     with Fargate pools and `builtin://` with pull pools",
                    profile.name
                ),
            ));
        }
    }
    Ok(())
}

async fn pin(ports: &Ports, profile: &Profile) -> Result<Vec<SecretRef>, Problem> {
    let mut described: BTreeMap<&str, Described> = BTreeMap::new();
    for uri in profile.secrets.values() {
        if let SecretUri::AwsSecretsManager { name, .. } = uri
            && !described.contains_key(name.as_str())
        {
            let found = ports.secrets.describe(name).await.map_err(|error| match error {
                Error::NotFound(_) | Error::Denied(_) => Problem::invalid("profile", error.to_string()),
                Error::Unavailable(_) => problems::unavailable(&error, "Secrets Manager"),
            })?;
            described.insert(name, found);
        }
    }
    Ok(profile
        .secrets
        .iter()
        .map(|(name, uri)| {
            let found = match uri {
                SecretUri::AwsSecretsManager { name, .. } => described.get(name.as_str()),
                SecretUri::Builtin { .. } => None,
            };
            SecretRef {
                name: name.clone(),
                uri: uri.clone(),
                version: found.map(|found| found.version.clone()),
                arn: found.map(|found| found.arn.clone()),
            }
        })
        .collect())
}
