//! From profiles to what a sandbox starts with: at enqueue, and again at every start.
//!
//! Names, references and version ids only. The profiles are fetched by name, merged by the domain's
//! pure rule, and each reference that a Fargate pool needs is pinned to the version that is current
//! now. What a pull worker needs is pinned by its profile, since the control plane cannot look into
//! a worker's store.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_domain::ProjectScope;
use sealfleet_domain::StepId;
use sealfleet_domain::cascade::{Level, Resolved, resolve};
use sealfleet_domain::identity::{Identity, Pin, SecretRef};
use sealfleet_domain::reference::{ProfileRef, SecretUri};
use sealfleet_domain::run::{Failure, Fresh, Mode, Run, Step};
use sealfleet_ledger::{Error, Ledger};
use sealfleet_versions::{Error as SecretsError, SecretVersions};

/// Secrets that are described at once.
const AT_ONCE: usize = 8;

/// Where a sandbox runs, as far as it decides which identity backends it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// ECS injects secrets of AWS Secrets Manager.
    Fargate,
    /// A worker resolves those of the store beside it.
    Pull,
}

impl Reach {
    /// The first of these secrets that cannot be resolved there, in words.
    #[must_use]
    pub fn beyond(self, secrets: &[SecretRef]) -> Option<String> {
        let (kind, other) = match self {
            Self::Fargate => ("Fargate", "`aws-sm://` with Fargate pools"),
            Self::Pull => ("pull", "`builtin://` with pull pools"),
        };
        let reached = |secret: &&SecretRef| match secret.uri {
            SecretUri::AwsSecretsManager { .. } => self == Self::Fargate,
            SecretUri::Builtin { .. } => self == Self::Pull,
        };
        let secret = secrets.iter().find(|secret| !reached(secret))?;
        let (name, from, scheme) = (&secret.name, &secret.from, secret.uri.scheme());
        Some(format!(
            "secret `{name}` of profile `{from}` is `{scheme}://`, which a {kind} pool cannot resolve; use {other}, take the \
             key out with a tombstone, or hide it from the step's tool"
        ))
    }
}

/// The versions of these addresses, as Secrets Manager has them now. Addresses of other backends
/// have none to ask for.
///
/// # Errors
/// When one is not there, may not be described, or Secrets Manager does not answer.
pub async fn pins(
    secrets: &dyn SecretVersions,
    uris: &BTreeSet<SecretUri>,
) -> Result<BTreeMap<SecretUri, Pin>, SecretsError> {
    let name_of = |uri: &SecretUri| match uri {
        SecretUri::AwsSecretsManager { name, .. } => Some(name.clone()),
        SecretUri::Builtin { .. } => None,
    };
    let names: BTreeSet<String> = uris.iter().filter_map(name_of).collect();
    let described: BTreeMap<String, Pin> = stream::iter(names)
        .map(async |name| {
            let found = secrets.describe(&name).await?;
            Ok((
                name,
                Pin {
                    version: found.version,
                    arn: Some(found.arn),
                },
            ))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let pin = |uri: &SecretUri| Some((uri.clone(), described.get(&name_of(uri)?)?.clone()));
    Ok(uris.iter().filter_map(pin).collect())
}

/// What a step would see if it started now: the cascade that was recorded at its enqueue, resolved
/// again.
///
/// `secrets` is for claims of Fargate pools; a pull pool's references carry their versions.
///
/// # Errors
/// When the tables or Secrets Manager do not answer. Then nothing may start.
pub async fn at_start(
    ledger: &Ledger,
    secrets: Option<&dyn SecretVersions>,
    scope: &ProjectScope,
    run: &Run,
    step_id: &StepId,
) -> Result<Fresh, Error> {
    let step = run.step(step_id)?;
    let Some(enqueued) = run
        .identity
        .as_ref()
        .filter(|_| step.spec.mode == Mode::Identity)
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
        Err(Stop::Refused(failure)) => return Ok(Fresh::Refused(failure)),
        Err(Stop::Failed(error)) => return Err(error),
    };
    let reach = if secrets.is_some() {
        Reach::Fargate
    } else {
        Reach::Pull
    };
    if let Some(detail) = reach.beyond(&identity.secrets) {
        return Ok(Fresh::Refused(Failure::SecretUnavailable {
            detail: Failure::detail(&detail),
        }));
    }
    let Some(secrets) = secrets else {
        return Ok(Fresh::Identity(identity));
    };
    let uris = identity
        .secrets
        .iter()
        .map(|secret| secret.uri.clone())
        .collect();
    match pins(secrets, &uris).await {
        Ok(pins) => Ok(Fresh::Identity(identity.pinned(&pins))),
        Err(SecretsError::Unavailable(detail)) => Err(Error::Unavailable(detail)),
        Err(error) => Ok(Fresh::Refused(Failure::SecretUnavailable {
            detail: Failure::detail(&error.to_string()),
        })),
    }
}

enum Stop {
    Refused(Failure),
    Failed(Error),
}

async fn resolved_now(
    ledger: &Ledger,
    scope: &ProjectScope,
    run: &Run,
    step: &Step,
    levels: &[(Level, ProfileRef)],
) -> Result<Identity, Stop> {
    let refused = |detail: String| {
        Stop::Refused(Failure::ProfileRefused {
            detail: Failure::detail(&detail),
        })
    };
    let overrides = run
        .identity
        .as_ref()
        .map(|identity| identity.overrides.clone())
        .unwrap_or_default();
    let layers = ledger
        .layers(scope, levels)
        .await
        .map_err(|error| match error {
            Error::NoProfile(profile) => {
                refused(format!("profile `{profile}` is not there any more"))
            }
            other => Stop::Failed(other),
        })?;
    let outcome: Resolved =
        resolve(&layers, &overrides, &run.workflow).map_err(|error| refused(error.to_string()))?;
    outcome
        .check_plain(&step.spec.env)
        .map_err(|error| refused(error.to_string()))?;
    Ok(Identity::new(&layers, overrides, outcome).seen_by(step.spec.tool.as_ref()))
}
