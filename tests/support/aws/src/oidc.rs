//! OIDC: what an account verifies of a token, and an issuer for tests without a control plane.

use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use sealfleet_test_issuer::{Issuer, Key};
use serde_json::{Value, json};

use crate::{Refusal, now};

/// The `jti` of tokens of [`Steps`].
pub const TOKEN_ID: &str = "idt_0198c0de-0000-7000-8000-00000000000a";

/// An issuer that signs what a control plane would sign for steps.
#[derive(Clone)]
pub struct Steps {
    issuer: Arc<Issuer>,
    key: Arc<Key>,
}

impl Steps {
    pub async fn start() -> Self {
        let (issuer, key) = (Issuer::start().await.unwrap(), Key::es256("one").unwrap());
        issuer.publish(&[&key]);
        Self {
            issuer: Arc::new(issuer),
            key: Arc::new(key),
        }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.issuer.url
    }

    /// Its keys cannot be fetched any more.
    pub fn fall_silent(&self) {
        self.issuer.answer_with(503);
    }

    /// A token for a step of a project, good for so many seconds.
    #[must_use]
    pub fn token(&self, project: &str, audience: &str, seconds: i64) -> String {
        self.key.token(&self.claims(project, audience, seconds))
    }

    /// The same, by a key that its issuer does not publish.
    #[must_use]
    pub fn forged(&self, project: &str, audience: &str) -> String {
        let key = Key::es256("one").unwrap();
        key.token(&self.claims(project, audience, 60))
    }

    fn claims(&self, project: &str, audience: &str, seconds: i64) -> Value {
        let now = i64::try_from(now().as_secs()).unwrap();
        json!({
            "iss": self.issuer.url, "aud": audience, "exp": now + seconds, "nbf": now - 60, "iat": now,
            "sub": format!("project:{project}:workflow:w:run:run_1:step:fetch"),
            "run": "run_1", "step": "fetch", "jti": TOKEN_ID,
            "https://aws.amazon.com/source_identity": TOKEN_ID,
        })
    }
}

/// The claims of a token of this issuer, verified by the keys that it publishes.
pub(crate) async fn verified(issuer: &str, token: &str) -> Result<Value, Refusal> {
    let invalid = |code| (StatusCode::BAD_REQUEST, code, String::new());
    let not_ours = || invalid("InvalidIdentityToken");
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        return Err(not_ours());
    };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    let read = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap_or_default();
    let (header, claims) = (read(header), read(payload));
    if claims["iss"] != json!(issuer) {
        return Err(not_ours());
    }
    let unreachable = |_| invalid("IDPCommunicationError");
    let keys = published(issuer).await.map_err(unreachable)?;
    let keys = keys["keys"].as_array().cloned().unwrap_or_default();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]);
    let signed = token.rsplit_once('.').map_or("", |(signed, _)| signed);
    let holds = key.is_some_and(|key| holds(key, signed.as_bytes(), &decoded(signature)));
    if !holds {
        return Err(not_ours());
    }
    let seconds = |claim: &str| claims[claim].as_u64();
    match (seconds("exp"), seconds("nbf")) {
        (Some(end), _) if end <= now().as_secs() => Err(invalid("ExpiredTokenException")),
        (Some(_), Some(begin)) if begin <= now().as_secs() => Ok(claims),
        _ => Err(not_ours()),
    }
}

/// The keys of an issuer, by its discovery document.
async fn published(issuer: &str) -> Result<Value, reqwest::Error> {
    let get = async |url: &str| reqwest::get(url).await?.error_for_status()?.json().await;
    let discovery: Value = get(&format!("{issuer}/.well-known/openid-configuration")).await?;
    get(discovery["jwks_uri"].as_str().unwrap_or_default()).await
}

/// Whether a signature is of this key: RS256 or ES256, which follows from the key.
fn holds(key: &Value, signed: &[u8], signature: &[u8]) -> bool {
    let number = |name: &str| {
        let text = key[name].as_str().unwrap_or_default();
        URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
    };
    let held = match key["kty"].as_str() {
        Some("RSA") => {
            let (n, e) = (number("n"), number("e"));
            RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
        }
        Some("EC") => {
            let point = [vec![4], number("x"), number("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
        }
        _ => return false,
    };
    held.is_ok()
}
