//! Authenticates callers with a JWT of a trusted OIDC issuer.
//!
//! The token only says where to look: its `iss` must equal the address of a configured issuer, and
//! its `kid` must name a key that this issuer publishes. The key decides everything else. The
//! algorithm (RS256, ES256 or EdDSA) follows from the key, never from the token. A token without a
//! signature, or signed with a shared secret, matches no key. Claims are read only after the
//! signature is verified (`sealfleet_domain::oidc`).
//!
//! Keys are fetched by discovery (OpenID Connect Discovery 1.0) and kept for ten minutes. An
//! unknown `kid` causes another fetch, at most every ten seconds. If an issuer does not answer when
//! its keys are needed, its callers are refused.

mod fetch;
mod jwt;
mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;

use sealfleet_domain::access::Principal;
use sealfleet_domain::oidc::{Issuer, Issuers, Refused};
use sealfleet_domain::{Clock, Timestamp};
use tokio::sync::Mutex;

pub use jwt::is_jwt;

use fetch::Fetcher;
use jwt::Jwt;
use keys::{Key, Keys};

/// Milliseconds for which fetched keys are valid.
const FRESH_MS: i64 = 600_000;
/// Milliseconds between two attempts to fetch the keys of one issuer.
const PAUSE_MS: i64 = 10_000;

/// Why a caller is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The token or its claims are refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The keys of its issuer cannot be fetched.
    #[error("cannot fetch the keys of the issuer `{issuer}`: {reason}")]
    Unavailable { issuer: String, reason: String },
}

/// Verifies tokens of the issuers that a deployment trusts.
pub struct Verifier {
    issuers: Issuers,
    clock: Arc<dyn Clock>,
    fetcher: Fetcher,
    published: BTreeMap<String, Mutex<Published>>,
}

/// An issuer's keys, and when they were fetched.
#[derive(Default)]
struct Published {
    keys: Keys,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

impl Verifier {
    /// A verifier for these issuers. Fetches keys only when they are needed.
    #[must_use]
    pub fn new(issuers: Issuers, clock: Arc<dyn Clock>) -> Self {
        let published = issuers
            .iter()
            .map(|issuer| (issuer.issuer.clone(), Mutex::default()))
            .collect();
        Self {
            issuers,
            clock,
            fetcher: Fetcher::default(),
            published,
        }
    }

    /// The principal that presents this token.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn verify(&self, token: &str) -> Result<Principal, Error> {
        let jwt = Jwt::parse(token)?;
        let unknown = Refused::Token("this deployment does not trust the JWT's issuer");
        let issuer = self.issuers.named(jwt.unverified_issuer()).ok_or(unknown)?;
        let key = self.key(issuer, jwt.kid()).await?;
        let claims = jwt.verified_by(&key)?;
        Ok(issuer.admit(claims, self.clock.now())?)
    }

    async fn key(&self, issuer: &Issuer, kid: &str) -> Result<Key, Error> {
        let unknown = Error::Refused(Refused::Token(
            "the JWT's `kid` names none of its issuer's keys",
        ));
        let Some(published) = self.published.get(&issuer.issuer) else {
            return Err(unknown);
        };
        // Hold the lock while fetching, so that concurrent callers wait for the same answer.
        let mut published = published.lock().await;
        let now = self.clock.now();
        let within = |at: Option<Timestamp>, most| {
            at.is_some_and(|at| (0..most).contains(&now.millis_since(at)))
        };
        let fresh = within(published.fetched_at, FRESH_MS);
        if fresh && let Some(key) = published.keys.find(kid) {
            return Ok(key.clone());
        }
        if within(published.tried_at, PAUSE_MS) {
            return Err(if fresh {
                unknown
            } else {
                unavailable(
                    issuer,
                    "it did not answer a moment ago; try again in ten seconds".to_owned(),
                )
            });
        }
        published.tried_at = Some(now);
        published.keys = self
            .fetcher
            .keys(issuer)
            .await
            .map_err(|reason| unavailable(issuer, reason))?;
        published.fetched_at = Some(now);
        published.keys.find(kid).cloned().ok_or(unknown)
    }
}

fn unavailable(issuer: &Issuer, reason: String) -> Error {
    tracing::warn!(
        issuer = issuer.issuer,
        reason,
        "cannot fetch an OIDC issuer's keys"
    );
    Error::Unavailable {
        issuer: issuer.issuer.clone(),
        reason,
    }
}
