//! A JWT in compact form (RFC 7515, section 7.1), read strictly.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealfleet_domain::oidc::{Claims, Refused};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::keys::Key;

/// Bytes of a token: API Gateway takes headers of 10 KB in all.
const MOST_BYTES: usize = 8 * 1024;
/// Bytes of a `kid`.
const KID_BYTES: usize = 256;

/// A token that is well-formed. Its claims are believed only after [`Jwt::verified_by`].
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
    /// Extensions that a reader must understand (RFC 7515, section 4.1.11): none is understood
    /// here.
    #[serde(default)]
    crit: Option<Value>,
}

/// Whether a bearer's text has the form of a JWT: three parts, where credentials of Sealfleet have
/// four.
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
            Refused::Token("the JWT's header must have `alg` and `kid`, as texts, once each")
        })?;
        if header.crit.is_some() {
            return Err(Refused::Token(
                "the JWT uses an extension (`crit`) that is not understood here",
            ));
        }
        let typed = header.typ.as_deref().map(str::to_ascii_lowercase);
        if typed.is_some_and(|typ| !["jwt", "at+jwt", "application/at+jwt"].contains(&typ.as_str()))
        {
            return Err(Refused::Token("the token's `typ` is not that of a JWT"));
        }
        if header.kid.is_empty() || header.kid.len() > KID_BYTES {
            return Err(Refused::Token("the JWT's `kid` has 1 to 256 bytes"));
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

    /// Whom the token says it is of: good for finding the key, and for nothing else.
    pub(crate) fn unverified_issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn kid(&self) -> &str {
        &self.header.kid
    }

    /// The claims, if the signature holds with this key and the token names the key's algorithm.
    pub(crate) fn verified_by(&self, key: &Key) -> Result<&Claims, Refused> {
        if self.header.alg != key.algorithm() {
            return Err(Refused::Token(
                "the JWT's `alg` is not that of the issuer's key",
            ));
        }
        if !key.holds(self.signed.as_bytes(), &self.signature) {
            return Err(Refused::Token(
                "the JWT's signature does not hold with its issuer's key",
            ));
        }
        Ok(&self.claims)
    }
}
