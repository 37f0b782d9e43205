//! Resolves the secrets and variables that a new run's identity steps would see now, by name, and
//! records them with their versions, so that drift is detected at start.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_api::types::EnqueueRun;
use sealfleet_api::{Code, Problem};
use sealfleet_domain::cascade::{CascadeError, Level, resolve};
use sealfleet_domain::delivery::Kind;
use sealfleet_domain::egress::Policy;
use sealfleet_domain::fleet::{Pool, Project};
use sealfleet_domain::identity::Identity;
use sealfleet_domain::labels::{DELIVERY, EGRESS, EGRESS_POLICY};
use sealfleet_domain::reference::ProfileRef;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::run::StepSpec;
use sealfleet_domain::{PoolName, StepId};
use sealfleet_ledger::Error as LedgerError;
use sealfleet_versions::{Age, Error};

use super::Ports;
use super::asked::Sealed;
use crate::shared::auth::ProjectCaller;
use crate::shared::cascade::pins;
use crate::shared::fault::Fault;

/// A new run whose cascade is resolved.
pub(super) struct NewRun<'a> {
    pub ports: &'a Ports,
    pub caller: &'a ProjectCaller,
    pub project: &'a Project,
    pub run: &'a EnqueueRun,
    /// The version of the registered workflow that it is of.
    pub version: Option<u32>,
    /// The profiles of its cascade.
    pub profiles: Vec<(Level, ProfileRef)>,
    pub steps: &'a BTreeMap<StepId, StepSpec>,
}

impl NewRun<'_> {
    pub(super) async fn identity(&self, sealed: Sealed) -> Result<Identity, Fault> {
        let overrides = &self.run.overrides;
        overrides.check()?;
        let ledger = &self.ports.ledger;
        let layers = if sealed.levels == self.profiles {
            sealed.layers
        } else {
            ledger.layers(&self.caller.scope, &self.profiles).await
        };
        let layers = match layers {
            Ok(layers) => layers,
            Err(LedgerError::NoProfile(profile)) => {
                self.denied(&format!("there is no profile `{profile}` in this project"))
                    .await?;
                return Err(Fault::from(Problem::not_found()).at("profile"));
            }
            Err(error) => return Err(error.into()),
        };
        let ceiling = self.project.egress_ceiling.as_ref();
        let outcome = resolve(&layers, overrides, &self.run.workflow, self.version)
            .and_then(|outcome| outcome.below(ceiling, &layers));
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Err(self.unresolved(error).await?),
        };
        for (step_id, step) in identity_steps(self.steps) {
            if let Err(error) = outcome.check_plain(&step.env) {
                let fault = self.unresolved(error).await?;
                return Err(fault.at(format!("steps.{step_id}.env")));
            }
        }
        let identity = Identity::new(&layers, overrides.clone(), outcome);
        let mut seen = BTreeSet::new();
        for (step_id, step) in identity_steps(self.steps) {
            let seen_by_it = identity.seen_by(step.tool.as_ref());
            let host = self.project.pools.get(&step.pool).map(Pool::host);
            let egress = identity.egress.as_ref();
            let can = host.map_or(Ok(()), |host| {
                host.check_egress(egress)?;
                host.check_delivery(&seen_by_it.secrets)?;
                host.check_secrets(&seen_by_it.secrets)
            });
            if let Err(detail) = can {
                return Err(Problem::invalid(format!("steps.{step_id}.pool"), detail).into());
            }
            if let Err(detail) = seen_by_it.check_delivery() {
                return Err(Problem::invalid("profile", detail).into());
            }
            seen.extend(seen_by_it.secrets.into_iter().map(|secret| secret.uri));
        }
        let (secrets, scope) = (&self.ports.secrets, &self.caller.scope);
        let pins = pins(secrets, scope, &seen, Age::Recent)
            .await
            .map_err(|error| match error {
                Error::Unavailable { service, .. } => Fault::unavailable(&error, service),
                _ => Problem::invalid("profile", error.to_string()).into(),
            })?;
        let identity = identity.pinned(&pins);
        self.refuse_revoked(&identity, sealed.revocations?).await?;
        Ok(identity)
    }

    async fn unresolved(&self, error: CascadeError) -> Result<Fault, Fault> {
        self.denied(&error.to_string()).await?;
        Ok(error.into())
    }

    /// Refuses a run one of whose steps would see a revoked key.
    async fn refuse_revoked(&self, identity: &Identity, own: Vec<Revocation>) -> Result<(), Fault> {
        let seen = |(_, step): (&StepId, &StepSpec)| identity.seen_by(step.tool.as_ref()).secrets;
        let names: BTreeSet<String> = identity_steps(self.steps)
            .flat_map(seen)
            .map(|secret| secret.name)
            .collect();
        let mut used = identity.clone();
        used.secrets.retain(|secret| names.contains(&secret.name));
        let ledger = &self.ports.ledger;
        let revoked = ledger
            .check_with(&self.caller.scope, &used, Some(own))
            .await?;
        let Some(revoked) = revoked else {
            return Ok(());
        };
        self.denied(&revoked.to_string()).await?;
        let detail = format!("{revoked}; have it lifted, or take the key out of the cascade");
        Err(Problem::new(Code::SecretRevoked, detail).into())
    }

    /// Records that the run was refused.
    async fn denied(&self, reason: &str) -> Result<(), LedgerError> {
        let profiles = self
            .profiles
            .iter()
            .map(|(_, profile)| profile.clone())
            .collect();
        let ProjectCaller { scope, actor, .. } = self.caller;
        let workflow = &self.run.workflow;
        self.ports
            .ledger
            .denied_run(scope, actor, workflow, profiles, reason)
            .await
    }
}

/// Sends steps to workers that can do what their profiles ask for: hold them to what they may
/// reach, and deliver their secrets. Hosted pools have no workers to choose from: what their host
/// can do is checked before.
pub(super) fn require_sandboxes(
    steps: &mut BTreeMap<StepId, StepSpec>,
    pools: &BTreeMap<PoolName, Pool>,
    identity: &Identity,
) {
    let reaches = |policy: &Policy| *policy != Policy::None;
    let egress = identity.egress.as_ref().is_some_and(reaches);
    let is_hosted = |step: &StepSpec| matches!(pools.get(&step.pool), Some(Pool::Hosted(_)));
    let steps = steps.values_mut();
    for step in steps.filter(|step| step.mode.sees_identity() && !is_hosted(step)) {
        let delivery = identity.seen_by(step.tool.as_ref()).delivery();
        let mut requires = std::mem::take(&mut step.requires);
        if egress {
            requires = requires.with(EGRESS, EGRESS_POLICY);
        }
        if delivery > Kind::Env {
            requires = requires.with(DELIVERY, delivery.text());
        }
        step.requires = requires;
    }
}

fn identity_steps(
    steps: &BTreeMap<StepId, StepSpec>,
) -> impl Iterator<Item = (&StepId, &StepSpec)> {
    steps.iter().filter(|(_, step)| step.mode.sees_identity())
}
