//! Resolved identities: each distinct one is stored once, under its hash.
//!
//! Rows of runs and their entries name an identity by its hash. Most runs of a project start with
//! the same few identities, so a run's row stays small no matter how many secrets its steps see,
//! and drift cannot make it outgrow the table's limit.
//!
//! An identity is written before the first row that names it, and never changes. So an instance
//! may remember those that it has seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::identity::Identity;
use sealfleet_domain::run::{Run, Step};
use sealfleet_domain::{ProjectScope, StepId};

use crate::error::Error;
use crate::format;
use crate::keys;
use crate::ledger::Ledger;
use crate::packed::{pack, unpack};
use crate::remembered::IdentityHash;
use crate::rows::{row, unwritten};
use crate::store::{Condition, Item, WriteError};

/// The attribute that holds the packed identity.
const PACKED: &str = "z";

/// Identities by hash.
pub type Identities = HashMap<IdentityHash, Arc<Identity>>;

/// The hashes of a run's identities.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hashes {
    /// What was resolved at enqueue.
    pub run: Option<IdentityHash>,
    /// What held steps start with, if it is something else.
    pub fresh: BTreeMap<StepId, IdentityHash>,
}

/// The hash that names an identity.
pub(crate) fn hash_of(identity: &Identity) -> Result<IdentityHash, WriteError> {
    let text =
        serde_json::to_vec(identity).map_err(|error| WriteError::Refused(error.to_string()))?;
    Ok(sha256_hex(&text))
}

/// What a held step starts with, if it is not what was resolved at enqueue.
fn fresh(step: &Step) -> Option<&Identity> {
    step.state.hold()?.identity.as_deref()
}

/// The identity in a row, as the table or its stream shows it.
///
/// # Errors
/// When the row does not hold one.
pub fn identity_of_image(item: &Item) -> Result<Identity, Error> {
    format::check(item)?;
    let packed = item
        .get(PACKED)
        .and_then(|value| value.as_b().ok())
        .ok_or_else(|| Error::Unreadable("a row without its identity".to_owned()))?;
    unpack(packed.as_ref())
}

impl Ledger {
    /// Stores the identities that a run names after a transition. Returns their hashes.
    pub(crate) async fn keep_identities(
        &self,
        scope: &ProjectScope,
        (before, known): (&Run, &Hashes),
        after: &Run,
    ) -> Result<Hashes, Error> {
        let mut hashes = Hashes {
            run: known.run.clone(),
            fresh: BTreeMap::new(),
        };
        for (step_id, step) in &after.steps {
            let Some(identity) = fresh(step) else {
                continue;
            };
            let was = before.steps.get(step_id).and_then(fresh);
            let hash = match known.fresh.get(step_id) {
                Some(hash) if was == Some(identity) => hash.clone(),
                _ => self.keep_identity(scope, identity).await?,
            };
            hashes.fresh.insert(step_id.clone(), hash);
        }
        Ok(hashes)
    }

    /// Stores an identity, unless it is known to be stored. Returns its hash.
    pub(crate) async fn keep_identity(
        &self,
        scope: &ProjectScope,
        identity: &Identity,
    ) -> Result<IdentityHash, Error> {
        let hash = hash_of(identity).map_err(unwritten)?;
        if self.identities.get(scope, &hash).is_some() {
            return Ok(hash);
        }
        let key = keys::identity(scope, &hash);
        let packed = Blob::new(pack(identity).map_err(unwritten)?);
        let item = row(key, [(PACKED, AttributeValue::B(packed))]);
        // It may be there already.
        self.put_if(item, Condition::Absent).await?;
        self.identities
            .add(scope, &hash, Arc::new(identity.clone()));
        Ok(hash)
    }

    /// Reads identities that rows name.
    pub(crate) async fn load_identities(
        &self,
        scope: &ProjectScope,
        hashes: BTreeSet<IdentityHash>,
    ) -> Result<Identities, Error> {
        let each = hashes.into_iter().map(async |hash| {
            if let Some(known) = self.identities.get(scope, &hash) {
                return Ok((hash, known));
            }
            let item = self
                .row(&keys::identity(scope, &hash))
                .await?
                .ok_or_else(|| Error::Unreadable(format!("no identity {hash}")))?;
            let identity = identity_of_image(&item)?;
            if hash_of(&identity).map_err(unwritten)? != hash {
                return Err(Error::Unreadable(format!("another identity than {hash}")));
            }
            let identity = Arc::new(identity);
            self.identities.add(scope, &hash, Arc::clone(&identity));
            Ok((hash, identity))
        });
        Ok(try_join_all(each).await?.into_iter().collect())
    }
}
