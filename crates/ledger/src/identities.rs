//! Resolved identities: each distinct one is stored once, under its hash.
//!
//! Rows of runs and their entries name an identity by its hash. Most runs of a project start with
//! the same few identities, so a run's row stays small no matter how many secrets its steps see,
//! and drift cannot make it outgrow the table's limit.
//!
//! An identity is written before the first row that names it, and never changes. So an instance
//! may remember those that it has seen.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use sealfleet_domain::ProjectScope;
use sealfleet_domain::hash::sha256_hex;
use sealfleet_domain::identity::Identity;

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::packed::{pack, unpack};
use crate::rows::unwritten;
use crate::store::{Condition, Item, Table, Write, WriteError};

/// Identities that an instance remembers.
const REMEMBERED: usize = 512;
/// The attribute that holds the packed identity.
const PACKED: &str = "z";

/// SHA-256 of an identity's JSON, in hex.
pub type IdentityHash = String;

/// Identities by hash.
pub type Identities = HashMap<IdentityHash, Arc<Identity>>;

/// What an instance remembers, by project and hash.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<HashMap<(String, IdentityHash), Arc<Identity>>>);

impl Remembered {
    fn get(&self, scope: &ProjectScope, hash: &str) -> Option<Arc<Identity>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&(scope.project().to_string(), hash.to_owned()))
            .cloned()
    }

    fn add(&self, scope: &ProjectScope, hash: &str, identity: Arc<Identity>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert((scope.project().to_string(), hash.to_owned()), identity);
    }
}

/// The hash that names an identity.
pub(crate) fn hash_of(identity: &Identity) -> Result<IdentityHash, WriteError> {
    let text =
        serde_json::to_vec(identity).map_err(|error| WriteError::Unavailable(error.to_string()))?;
    Ok(sha256_hex(&text))
}

/// The identity in a row, as the table or its stream shows it.
///
/// # Errors
/// When the row does not hold one.
pub fn identity_of_image(item: &Item) -> Result<Identity, Error> {
    let packed = item
        .get(PACKED)
        .and_then(|value| value.as_b().ok())
        .ok_or_else(|| Error::Unreadable("a row without its identity".to_owned()))?;
    unpack(packed.as_ref())
}

impl Ledger {
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
        let item = Item::from([
            ("pk".to_owned(), AttributeValue::S(key.pk)),
            ("sk".to_owned(), AttributeValue::S(key.sk)),
            (PACKED.to_owned(), AttributeValue::B(packed)),
        ]);
        let put = Write::Put {
            table: Table::Ledger,
            item,
            only_if: Condition::Absent,
        };
        match self.store.write(vec![put]).await {
            Ok(()) | Err(WriteError::Condition(_)) => {}
            Err(error) => return Err(unwritten(error)),
        }
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
                .store
                .get(Table::Ledger, &keys::identity(scope, &hash))
                .await
                .map_err(Error::Unavailable)?
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
