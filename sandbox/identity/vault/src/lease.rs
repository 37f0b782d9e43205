//! What Vault lends to a step, and the session that it hangs on: both last as long as the step may.
//!
//! They are made to last when they are had, not renewed while the step runs: what cannot last is
//! known before the step starts, and nobody needs to be there at the right time. If nobody is there
//! at the step's end either, they end with the time that the step had.

use std::collections::BTreeMap;
use std::time::Duration;

use sealfleet_identity::{IdentityError, Releasing, SecretValue};
use sealfleet_identity_web::{Answer, fault};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::{Auth, Http, LoggedIn, VAULT};

/// Where a session ends itself.
pub(crate) const END: &str = "auth/token/revoke-self";

/// A login that holds.
pub(crate) struct Session {
    pub token: Zeroizing<String>,
    term: Term,
    is_batch: bool,
    /// Done once it lasts.
    lasts: OnceCell<()>,
}

/// What a session may do, by path.
#[derive(Deserialize)]
struct Capabilities {
    data: BTreeMap<String, Value>,
}

/// A credential that Vault has made, with the fields of all its keys.
pub(crate) struct Lease {
    pub request_id: String,
    pub data: Map<String, Value>,
}

/// What Vault answers in the place of a secret that is stored.
#[derive(Deserialize)]
pub(crate) struct Lent {
    request_id: String,
    lease_id: String,
    #[serde(flatten)]
    term: Term,
    data: Option<Map<String, Value>>,
}

/// How long something is lent.
#[derive(Clone, Copy, Deserialize)]
struct Term {
    /// Seconds from now on. 0 for a session: no end.
    lease_duration: u64,
    renewable: bool,
}

impl Session {
    pub fn of(auth: Auth) -> Self {
        Self {
            token: Zeroizing::new(auth.client_token),
            term: Term {
                lease_duration: auth.lease_duration,
                renewable: auth.renewable,
            },
            is_batch: auth.token_type == "batch",
            lasts: OnceCell::new(),
        }
    }

    /// Whether it may end itself. If not, what it borrows would be there after the step.
    pub async fn ends(&self, http: &Http, name: &str) -> Result<(), IdentityError> {
        let asked = json!({ "paths": [END] });
        let answer = http
            .post("sys/capabilities-self", Some(&self.token), Some(&asked))
            .await?;
        let may_update = match answer.status.as_u16() {
            200 => {
                let Capabilities { data } = answer.read()?;
                let may = data
                    .get(END)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten();
                may.into_iter()
                    .any(|one| *one == "update" || *one == "root")
            }
            // It may not ask either.
            403 => false,
            _ => return Err(answer.refused("what the login may do")),
        };
        if may_update && !self.is_batch {
            return Ok(());
        }
        Err(fault(
            "not_revocable",
            format!(
                "`vault://{name}` is not borrowed, as the login of this step may not end itself, and nobody would take back what Vault lends: give its role the policy `default`, and tokens of the type `service`"
            ),
        ))
    }

    /// Makes it last. What it has borrowed would end with it.
    pub async fn last(&self, http: &Http, needed: Duration) -> Result<(), IdentityError> {
        let made = async {
            if self.term.lease_duration == 0 {
                return Ok(());
            }
            let longer = async |seconds: u64| {
                let body = json!({ "increment": format!("{seconds}s") });
                let answer = http
                    .post("auth/token/renew-self", Some(&self.token), Some(&body))
                    .await?;
                let read =
                    |answer: &Answer| answer.read().map(|LoggedIn { auth }| auth.lease_duration);
                granted(&answer, read)
            };
            let what = "the login of this step";
            let advice =
                "raise `token_max_ttl` of its role, or lower `timeout_seconds` of the step";
            self.term.made_to_last(needed, longer, what, advice).await
        };
        self.lasts.get_or_try_init(|| made).await.map(drop)
    }

    /// All that is needed to end it from elsewhere.
    pub fn kept(&self, http: &Http) -> Option<SecretValue> {
        let kept = Kept {
            address: http.address.clone(),
            namespace: http.namespace.clone(),
            authorities: http.authorities.as_ref().map(|ca| ca.to_string()),
            token: self.token.to_string(),
        };
        serde_json::to_vec(&kept).ok().map(SecretValue::new)
    }
}

impl Lent {
    /// Makes it last.
    pub async fn last(
        self,
        http: &Http,
        session: &Session,
        name: &str,
        needed: Duration,
    ) -> Result<Lease, IdentityError> {
        let Self {
            request_id,
            lease_id,
            term,
            data,
        } = self;
        let data = data.filter(|_| !lease_id.is_empty()).ok_or_else(|| {
            fault(
                "not_dynamic",
                format!(
                    "`vault://{name}` is not lent: Vault names no lease for it; pin it to a version of a KV store, or name a path such as `database/PROJECT/creds/ROLE`"
                ),
            )
        })?;
        let longer = async |seconds: u64| {
            let body = json!({ "lease_id": lease_id, "increment": seconds });
            let answer = http
                .post("sys/leases/renew", Some(&session.token), Some(&body))
                .await?;
            let read = |answer: &Answer| answer.read().map(|term: Term| term.lease_duration);
            granted(&answer, read)
        };
        let what = format!("`vault://{name}`");
        let advice = "raise `max_ttl` of its role or mount, or lower `timeout_seconds` of the step";
        term.made_to_last(needed, longer, &what, advice).await?;
        Ok(Lease { request_id, data })
    }
}

impl Term {
    async fn made_to_last(
        self,
        needed: Duration,
        longer: impl AsyncFnOnce(u64) -> Result<u64, IdentityError>,
        what: &str,
        advice: &str,
    ) -> Result<(), IdentityError> {
        let needed = needed.as_secs();
        let mut lasts = self.lease_duration;
        if lasts < needed && self.renewable {
            lasts = lasts.max(longer(needed).await?);
        }
        if lasts >= needed {
            return Ok(());
        }
        Err(fault(
            "lease_too_short",
            format!(
                "Vault lends {what} for {lasts} seconds, and the step may take {needed}: {advice}"
            ),
        ))
    }
}

/// What a renewal has brought: nothing, if Vault refuses it.
fn granted(
    answer: &Answer,
    read: impl FnOnce(&Answer) -> Result<u64, IdentityError>,
) -> Result<u64, IdentityError> {
    match answer.status.as_u16() {
        200 => read(answer),
        400 | 403 => Ok(0),
        _ => Err(answer.refused("a renewal")),
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    address: String,
    namespace: Option<String>,
    authorities: Option<String>,
    token: String,
}

/// Ends a session that was kept, and with it all that Vault has lent by it.
#[must_use]
pub fn release(kept: SecretValue) -> Releasing {
    Box::pin(async move {
        let kept: Kept = serde_json::from_slice(kept.expose()).map_err(|_| VAULT.no_sense())?;
        let token = Zeroizing::new(kept.token);
        let authorities = kept.authorities.map(Zeroizing::new);
        let http = Http::new(kept.address, authorities, kept.namespace, None)?;
        let answer = http.revoke(&token).await?;
        match answer.status.as_u16() {
            // It has ended before.
            200 | 204 | 403 => Ok(()),
            _ => Err(answer.refused("the end of a session")),
        }
    })
}
