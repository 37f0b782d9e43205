//! From profiles to what a sandbox starts with: at enqueue, and again at every start.
//!
//! Names, references and version ids only. The profiles are fetched by name, merged by the domain's
//! pure rule, and each reference that the control plane can ask about is pinned to its current
//! version. The others are pinned by their profile.
//!
//! The current version may be what a backend said up to a minute ago. So a rotation may be seen
//! that late. What is seen is recorded, and the sandbox gets exactly that: the version is pinned.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_domain::ProjectScope;
use sealfleet_domain::StepId;
use sealfleet_domain::capability::Host;
use sealfleet_domain::capability::Versions::Described;
use sealfleet_domain::cascade::{Level, Resolved, resolve};
use sealfleet_domain::identity::{Identity, Pin};
use sealfleet_domain::reference::{ProfileRef, SecretUri};
use sealfleet_domain::run::{Failure, Fresh, Run, Step};
use sealfleet_domain::workload::Workload;
use sealfleet_ledger::{Error, Ledger};
use sealfleet_versions::{Age, Error as SecretsError, Versions};

/// Secrets that are described at once.
const AT_ONCE: usize = 8;

/// The versions of these addresses, as their backends have them. Addresses whose versions the
/// control plane cannot ask for have none here.
///
/// # Errors
/// When one is not there, may not be described, or its backend does not answer.
pub async fn pins(
    secrets: &Versions,
    scope: &ProjectScope,
    uris: &BTreeSet<SecretUri>,
    age: Age,
) -> Result<BTreeMap<SecretUri, Pin>, SecretsError> {
    let described = |uri: &&SecretUri| uri.declared().versions == Described;
    // Several keys of one secret are one question.
    let names: BTreeSet<_> = uris
        .iter()
        .filter(described)
        .map(|uri| (uri.scheme(), uri.name()))
        .collect();
    let told: BTreeMap<_, Pin> = stream::iter(names)
        .map(async |(scheme, name)| {
            let pin = secrets.describe(scope, scheme, name, age).await?;
            Ok(((scheme, name), pin))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let pin = |uri: &SecretUri| {
        let pin = told.get(&(uri.scheme(), uri.name()))?;
        Some((uri.clone(), pin.clone()))
    };
    Ok(uris.iter().filter_map(pin).collect())
}

/// What a step would see if it started now on `host`: the cascade that was recorded at its enqueue,
/// resolved again.
///
/// `secrets` are the backends that the claimer may ask.
///
/// # Errors
/// When the tables or a backend do not answer. Then nothing may start.
pub async fn at_start(
    ledger: &Ledger,
    host: &Host,
    secrets: &Versions,
    scope: &ProjectScope,
    run: &Run,
    step_id: &StepId,
) -> Result<Fresh, Error> {
    let step = run.step(step_id)?;
    let Some(enqueued) = run
        .identity
        .as_ref()
        .filter(|_| step.spec.mode.sees_identity())
    else {
        return Ok(Fresh::Nothing);
    };
    let levels: Vec<_> = enqueued
        .profiles
        .iter()
        .map(|used| (used.level, used.profile.clone()))
        .collect();
    let identity = match resolved_now(ledger, scope, run, step, &levels).await {
        Ok(identity) => identity,
        Err(Unresolved::Refused(failure)) => return Ok(Fresh::Refused(failure)),
        Err(Unresolved::Failed(error)) => return Err(error),
    };
    let can = host
        .check_egress(identity.egress.as_ref())
        .and_then(|()| host.check_delivery(&identity.secrets))
        .and_then(|()| identity.check_delivery());
    if let Err(detail) = can {
        return Ok(Fresh::Refused(Failure::ProfileRefused {
            detail: Failure::detail(&detail),
        }));
    }
    if let Err(detail) = host.check_secrets(&identity.secrets) {
        return Ok(Fresh::Refused(Failure::SecretUnavailable {
            cause: None,
            detail: Failure::detail(&detail),
        }));
    }
    let uris = identity
        .secrets
        .iter()
        .map(|secret| secret.uri.clone())
        .collect();
    let seen = async |age| {
        let pins = pins(secrets, scope, &uris, age).await?;
        Ok(identity.clone().pinned(&pins))
    };
    let then = enqueued.seen_by(step.spec.tool.as_ref());
    let has_rotated = |now: &Identity| {
        then.drift_to(now)
            .is_some_and(|drift| !drift.rotated.is_empty())
    };
    // Perhaps the answer here is the older one. Drift is told only by what is current.
    let now = match seen(Age::Recent).await {
        Ok(now) if has_rotated(&now) => seen(Age::Now).await,
        other => other,
    };
    match now {
        Ok(now) => Ok(Fresh::Identity(now)),
        Err(SecretsError::Unavailable { detail, .. }) => Err(Error::Unavailable(detail)),
        Err(error) => Ok(Fresh::Refused(Failure::SecretUnavailable {
            cause: None,
            detail: Failure::detail(&error.to_string()),
        })),
    }
}

/// Who a step could prove itself to if it started now: what its profiles say by this time. A
/// profile that has lost an audience takes it from the steps that run, too.
///
/// # Errors
/// The failure of a step whose profiles would not let it start any more, or the tables do not
/// answer.
pub async fn workload_now(
    ledger: &Ledger,
    scope: &ProjectScope,
    run: &Run,
    step: &Step,
) -> Result<Option<Workload>, Error> {
    let enqueued = run.identity.as_ref();
    let profiles = enqueued.map(|identity| identity.profiles.as_slice());
    let levels: Vec<_> = profiles
        .unwrap_or_default()
        .iter()
        .map(|used| (used.level, used.profile.clone()))
        .collect();
    match resolved_now(ledger, scope, run, step, &levels).await {
        Ok(identity) => Ok(identity.workload),
        Err(Unresolved::Refused(failure)) => Err(Error::StartRefused(failure)),
        Err(Unresolved::Failed(error)) => Err(error),
    }
}

/// Why a cascade has no outcome: the profiles do not let the step start, or a table did not answer.
enum Unresolved {
    Refused(Failure),
    Failed(Error),
}

async fn resolved_now(
    ledger: &Ledger,
    scope: &ProjectScope,
    run: &Run,
    step: &Step,
    levels: &[(Level, ProfileRef)],
) -> Result<Identity, Unresolved> {
    let refused = |detail: String| {
        Unresolved::Refused(Failure::ProfileRefused {
            detail: Failure::detail(&detail),
        })
    };
    let overrides = run
        .identity
        .as_ref()
        .map(|identity| identity.overrides.clone())
        .unwrap_or_default();
    let (layers, project) = try_join(ledger.layers(scope, levels), ledger.project(scope))
        .await
        .map_err(|error| match error {
            Error::NoProfile(profile) => {
                refused(format!("profile `{profile}` is not there any more"))
            }
            other => Unresolved::Failed(other),
        })?;
    let outcome: Resolved = resolve(&layers, &overrides, &run.workflow, run.workflow_version)
        .and_then(|outcome| outcome.below(project.egress_ceiling.as_ref(), &layers))
        .map_err(|error| refused(error.to_string()))?;
    outcome
        .check_plain(&step.spec.env)
        .map_err(|error| refused(error.to_string()))?;
    Ok(Identity::new(&layers, overrides, outcome).seen_by(step.spec.tool.as_ref()))
}
