//! Shows what a run would start with, by name: each key with its origin, and whether the tool in
//! question would see it.

use sealfleet_api::types::{ResolveCascade, ResolvedCascade, ResolvedKey};
use sealfleet_domain::ProjectScope;
use sealfleet_domain::acl::sees;
use sealfleet_domain::cascade::{Entry, Resolved, resolve};
use sealfleet_domain::delivery::Delivery;
use sealfleet_domain::identity::Identity;
use sealfleet_ledger::Ledger;

use crate::shared::fault::Fault;

pub(super) async fn of(
    ledger: &Ledger,
    scope: &ProjectScope,
    question: ResolveCascade,
) -> Result<ResolvedCascade, Fault> {
    question.overrides.check()?;
    let project = ledger.project(scope).await?;
    let levels = project
        .cascade
        .levels(&question.workflow, question.profile.as_ref());
    let layers = ledger.layers(scope, &levels).await?;
    let outcome = resolve(
        &layers,
        &question.overrides,
        &question.workflow,
        // Which version makes no difference.
        question.registered.then_some(1),
    )?
    .below(project.egress_ceiling.as_ref(), &layers)?;
    let identity = Identity::new(&layers, question.overrides.clone(), outcome.clone());
    let active = ledger.revocations_for(scope, &identity).await?;
    let revoked_by = |key: &str| {
        let secret = identity.secrets.iter().find(|secret| secret.name == key)?;
        active
            .iter()
            .find(|revocation| revocation.covers(secret))
            .map(|revocation| revocation.revocation_id)
    };
    let mut keys = knobs(&outcome);
    keys.extend(outcome.secrets.into_iter().map(|(key, entry)| ResolvedKey {
        value: None,
        secret: Some(entry.set),
        delivery: outcome.delivery.get(&key).cloned().unwrap_or_default(),
        origin: entry.origin,
        seen: sees(outcome.tools.as_ref(), question.tool.as_ref(), &key),
        revoked_by: revoked_by(&key),
        key,
    }));
    keys.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(ResolvedCascade {
        profiles: identity.profiles,
        keys,
        removed: outcome.removed,
        egress: outcome.egress,
        identity: outcome.workload,
        egress_ceiling: project.egress_ceiling,
    })
}

fn knobs(outcome: &Resolved) -> Vec<ResolvedKey> {
    let knob = |(key, entry): (&String, &Entry<String>)| ResolvedKey {
        key: key.clone(),
        value: Some(entry.set.clone()),
        secret: None,
        delivery: Delivery::Env,
        origin: entry.origin.clone(),
        seen: true,
        revoked_by: None,
    };
    outcome.env.iter().map(knob).collect()
}
