//! Callers with a JWT of a trusted OIDC issuer.
//!
//! The token says only where to look: its `iss` must be one of the configured issuers, word for
//! word, and its `kid` one of the keys that this issuer publishes. Everything else is decided by
//! the key. Which algorithm holds is the key's (RS256, ES256 or EdDSA), never the token's; a token
//! without signature, or signed by a shared secret, has no key to be checked with. Only after the
//! signature holds are claims read (`sealfleet_domain::oidc`).
//!
//! Keys are fetched by discovery (OpenID Connect Discovery 1.0), kept for ten minutes, and fetched
//! again for an unknown `kid`, at most every ten seconds. If an issuer does not answer when its
//! keys are needed, nobody of it comes in.

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

/// Milliseconds for which fetched keys hold.
const FRESH_MS: i64 = 600_000;
/// Milliseconds between two attempts to fetch the keys of one issuer.
const PAUSE_MS: i64 = 10_000;

/// Why a caller does not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The token, or what its claims stand for, is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its issuer's keys cannot be had.
    #[error("the keys of the issuer `{issuer}` cannot be had: {reason}")]
    Unavailable {
        /// The issuer.
        issuer: String,
        /// What went wrong.
        reason: String,
    },
}

/// Verifies tokens of the issuers that a deployment trusts.
pub struct Verifier {
    issuers: Issuers,
    clock: Arc<dyn Clock>,
    fetcher: Fetcher,
    published: BTreeMap<String, Mutex<Published>>,
}

/// What is known of one issuer's keys.
#[derive(Default)]
struct Published {
    keys: Keys,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

impl Verifier {
    /// A verifier for these issuers. It fetches nothing yet.
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

    /// Who presents this token.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn verify(&self, token: &str) -> Result<Principal, Error> {
        let jwt = Jwt::parse(token)?;
        let unknown = Refused::Token("the JWT is of no issuer that this deployment trusts");
        let issuer = self.issuers.named(jwt.unverified_issuer()).ok_or(unknown)?;
        let key = self.key(issuer, jwt.kid()).await?;
        let claims = jwt.verified_by(&key)?;
        Ok(issuer.admit(claims, self.clock.now())?)
    }

    async fn key(&self, issuer: &Issuer, kid: &str) -> Result<Key, Error> {
        let unknown = Error::Refused(Refused::Token(
            "the JWT's `kid` is none of its issuer's keys",
        ));
        let Some(published) = self.published.get(&issuer.issuer) else {
            return Err(unknown);
        };
        // Held while fetching: whoever comes meanwhile waits for the same answer instead of asking
        // again.
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
                unavailable(issuer, "it did not answer a moment ago".to_owned())
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
        "an OIDC issuer's keys cannot be had"
    );
    Error::Unavailable {
        issuer: issuer.issuer.clone(),
        reason,
    }
}
