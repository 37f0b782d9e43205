//! Parses a JWT in compact form (RFC 7515, section 7.1) strictly.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealfleet_domain::oidc::{Claims, Refused};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::keys::Key;

/// Most bytes of a token. API Gateway accepts headers of at most 10 KB in total.
const MOST_BYTES: usize = 8 * 1024;
/// Most bytes of a `kid`.
const KID_BYTES: usize = 256;

/// A well-formed token. Its claims can be trusted only after [`Jwt::verified_by`].
pub(crate) struct Jwt<'a> {
    header: Header,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Claims,
    issuer: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    typ: Option<String>,
    /// Extensions that a reader must understand (RFC 7515, section 4.1.11). This reader understands
    /// none.
    #[serde(default)]
    crit: Option<Value>,
}

/// Whether a bearer text has the form of a JWT: three parts. Sealfleet's own credentials have four.
#[must_use]
pub fn is_jwt(text: &str) -> bool {
    text.split('.').count() == 3
}

impl<'a> Jwt<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refused> {
        const MALFORMED: Refused = Refused::Token("the JWT is malformed");
        if text.len() > MOST_BYTES {
            return Err(Refused::Token("the JWT is longer than 8 KiB"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signed.split_once('.').ok_or(MALFORMED)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED);
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| {
            Refused::Token("the JWT's header must have `alg` and `kid` once each, as strings")
        })?;
        if header.crit.is_some() {
            return Err(Refused::Token(
                "the JWT uses an extension (`crit`) that this API does not understand",
            ));
        }
        let typed = header.typ.as_deref().map(str::to_ascii_lowercase);
        if typed.is_some_and(|typ| !["jwt", "at+jwt", "application/at+jwt"].contains(&typ.as_str()))
        {
            return Err(Refused::Token("the token's `typ` is not that of a JWT"));
        }
        if header.kid.is_empty() || header.kid.len() > KID_BYTES {
            return Err(Refused::Token("the JWT's `kid` must have 1 to 256 bytes"));
        }
        let claims: Map<String, Value> =
            serde_json::from_slice(&decoded(payload)?).map_err(|_| MALFORMED)?;
        let issuer = claims
            .get("iss")
            .and_then(Value::as_str)
            .ok_or(Refused::Token("the JWT has no `iss` claim"))?;
        let issuer = issuer.to_owned();
        Ok(Self {
            header,
            signed,
            signature: decoded(signature)?,
            claims,
            issuer,
        })
    }

    /// The issuer that the token names. Use it only to find the key.
    pub(crate) fn unverified_issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn kid(&self) -> &str {
        &self.header.kid
    }

    /// The claims, if this key signed the token and the token names the key's algorithm.
    pub(crate) fn verified_by(&self, key: &Key) -> Result<&Claims, Refused> {
        if self.header.alg != key.algorithm() {
            return Err(Refused::Token(
                "the JWT's `alg` is not the algorithm of the issuer's key",
            ));
        }
        if !key.holds(self.signed.as_bytes(), &self.signature) {
            return Err(Refused::Token(
                "the JWT's signature does not match its issuer's key",
            ));
        }
        Ok(&self.claims)
    }
}
