//! An issuer's published keys (RFC 7517). Three kinds are supported, and each kind has one
//! algorithm.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

/// The most keys that an issuer may publish.
const MOST_KEYS: usize = 50;

/// A public key that verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// RSA of 2048 to 8192 bits, PKCS #1 v1.5 with SHA-256.
    Rs256 {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The curve P-256 with SHA-256. Holds an uncompressed point.
    Es256(Vec<u8>),
    EdDsa(Vec<u8>),
}

/// Keys by `kid`.
#[derive(Debug, Default)]
pub(crate) struct Keys(BTreeMap<String, Key>);

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    meant_for: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl Keys {
    /// Parses a JWK set. Ignores keys of other kinds and for other uses. A `kid` of two keys stands
    /// for neither.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let published: Published =
            serde_json::from_slice(bytes).map_err(|_| "its keys are not a JWK set".to_owned())?;
        if published.keys.len() > MOST_KEYS {
            return Err(format!("it publishes more than {MOST_KEYS} keys"));
        }
        let mut keys: BTreeMap<String, Option<Key>> = BTreeMap::new();
        for value in published.keys {
            let Ok(jwk) = serde_json::from_value::<Jwk>(value) else {
                continue;
            };
            let Some(key) = Key::of(&jwk) else { continue };
            keys.entry(jwk.kid)
                .and_modify(|there| *there = None)
                .or_insert(Some(key));
        }
        Ok(Self(
            keys.into_iter()
                .filter_map(|(kid, key)| Some((kid, key?)))
                .collect(),
        ))
    }

    pub(crate) fn find(&self, kid: &str) -> Option<&Key> {
        self.0.get(kid)
    }
}

impl Key {
    fn of(jwk: &Jwk) -> Option<Self> {
        let signs = jwk
            .meant_for
            .as_deref()
            .is_none_or(|meant_for| meant_for == "sig")
            && jwk
                .key_ops
                .as_ref()
                .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", None) => Self::Rs256 {
                n: without_zeros(bytes(&jwk.n)?),
                e: without_zeros(bytes(&jwk.e)?),
            },
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                Self::Es256([&[4], x.as_slice(), y.as_slice()].concat())
            }
            ("OKP", Some("Ed25519")) => Self::EdDsa(bytes(&jwk.x)?),
            _ => return None,
        };
        (signs && jwk.alg.as_deref().is_none_or(|alg| alg == key.algorithm())).then_some(key)
    }

    /// The only algorithm (RFC 7518, RFC 8037) of this key.
    pub(crate) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rs256 { .. } => "RS256",
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    /// Whether this key signed `message` with `signature`.
    pub(crate) fn holds(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rs256 { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Self::Es256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
            Self::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

/// Removes leading zeros of a big-endian number. Some issuers write a sign byte.
fn without_zeros(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The example of RFC 7515, appendix A.2: a published key and a signature by it.
    const N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const MESSAGE: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

    fn keys(keys: &Value) -> Keys {
        Keys::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a JWK set")
    }

    #[test]
    fn rs256_is_that_of_the_rfc() {
        let keys = keys(
            &json!([{ "kty": "RSA", "kid": "a", "n": N, "e": "AQAB", "alg": "RS256", "use": "sig" }]),
        );
        let key = keys.find("a").expect("a key");
        let signature = URL_SAFE_NO_PAD.decode(SIGNATURE).expect("base64");
        assert!(key.algorithm() == "RS256" && key.holds(MESSAGE.as_bytes(), &signature));
        assert!(!key.holds(format!("{MESSAGE}A").as_bytes(), &signature));
        assert!(!key.holds(MESSAGE.as_bytes(), &signature[1..]));
    }

    #[test]
    fn keys_for_other_uses_are_passed_over() {
        let rsa = |change: Value| {
            let mut key = json!({ "kty": "RSA", "kid": "a", "n": N, "e": "AQAB" });
            for (name, value) in change.as_object().expect("an object") {
                key[name] = value.clone();
            }
            keys(&json!([key])).find("a").is_some()
        };
        assert!(rsa(json!({})) && rsa(json!({ "key_ops": ["verify"] })));
        for change in [
            json!({ "use": "enc" }),
            json!({ "alg": "RS512" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "none" }),
            json!({ "key_ops": ["encrypt"] }),
            json!({ "kty": "oct", "k": "AAAA" }),
            json!({ "n": "?" }),
            json!({ "crv": "P-256" }),
        ] {
            assert!(!rsa(change.clone()), "{change}");
        }
        let twice = json!([{ "kty": "RSA", "kid": "a", "n": N, "e": "AQAB" }, { "kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB" }]);
        assert!(
            keys(&twice).find("a").is_none(),
            "a `kid` of two keys is none"
        );
        let many: Vec<Value> = (0..51).map(|_| json!({})).collect();
        assert!(Keys::parse(json!({ "keys": many }).to_string().as_bytes()).is_err());
        assert!(Keys::parse(b"[]").is_err());
    }
}
