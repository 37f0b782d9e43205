//! Secrets that the proxy holds for a step.
//!
//! The step has a placeholder for each of them. The proxy puts the value in its place in header
//! fields of requests, over TLS that it ends, at the hosts that the secret is bound to. Anywhere
//! else, a placeholder is refused: some program sends it where it may not go.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aho_corasick::{AhoCorasick, Match};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use sealfleet_domain::egress::{Binding, Denied};
use sealfleet_domain::limits;
use sealfleet_domain::names::is_env_key;
use sealfleet_identity::SecretValue;
use zeroize::Zeroizing;

use crate::refusal::Refusal;
use crate::target::Target;

/// Bytes of a placeholder: too many to be met by chance.
const PLACEHOLDER_BYTES: std::ops::RangeInclusive<usize> = 16..=128;
/// Bytes of a value. Servers take 8 KiB of header fields, many of them.
const VALUE_BYTES: usize = 8 * 1024;

/// RFC 7617 wants padding, and not every program writes it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret that the proxy puts into requests.
#[derive(Debug)]
pub struct Credential {
    /// The name of its environment variable, by which people know it.
    pub key: String,
    /// What the step has in the place of the value.
    pub placeholder: String,
    pub value: SecretValue,
    /// Where it may be sent.
    pub to: Vec<Binding>,
    pub how: How,
}

/// How a value gets into requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// In the place of the placeholder in header fields, also within `Authorization: Basic`.
    Header,
    /// Never: it is the secret access key that requests to AWS are signed with.
    SigV4 {
        /// The access key id as the programs of the step have it: the id, or the placeholder of
        /// another credential.
        access_key_id: String,
    },
}

/// Why a credential cannot be used. It says nothing of its value but what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {what}")]
pub struct InvalidCredential {
    pub key: String,
    pub what: &'static str,
}

/// All secrets of a step.
pub struct Credentials {
    held: Vec<Held>,
    /// `None` if there are none.
    placeholders: Option<AhoCorasick>,
}

/// One of them.
pub struct Held {
    pub key: String,
    pub placeholder: String,
    /// `None` once it is withdrawn.
    value: Mutex<Option<SecretValue>>,
    to: Vec<Binding>,
    pub how: How,
}

/// A request as bindings see it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub target: &'a Target,
    /// Without its query.
    pub path: &'a str,
}

/// A placeholder that is not replaced.
#[derive(Debug)]
pub struct Misuse {
    key: String,
    reason: Denied,
}

impl Misuse {
    pub fn mismatch(held: &Held) -> Self {
        Self {
            key: held.key.clone(),
            reason: Denied::CredentialMismatch,
        }
    }

    /// As it is counted.
    pub fn row(&self) -> (Denied, &str) {
        (self.reason, &self.key)
    }

    pub fn refusal(self, target: &Target) -> Refusal {
        match self.reason {
            Denied::CredentialWithdrawn => Refusal::Withdrawn(target.clone(), self.key),
            _ => Refusal::Mismatch(target.clone(), self.key),
        }
    }
}

impl Credentials {
    pub fn none() -> Self {
        Self {
            held: Vec::new(),
            placeholders: None,
        }
    }

    pub fn new(all: Vec<Credential>) -> Result<Self, InvalidCredential> {
        if let Some(more) = all.get(limits::CASCADE_SECRETS) {
            return Err(more.invalid("there are too many secrets before it"));
        }
        let mut seen = BTreeSet::new();
        for one in &all {
            one.check()?;
            let own = one.placeholder.as_str();
            let overlaps = |other: &&str| other.contains(own) || own.contains(*other);
            if seen.iter().any(overlaps) {
                return Err(one.invalid("its placeholder is a part of another one, or has one"));
            }
            seen.insert(own);
        }
        let placeholders = AhoCorasick::new(all.iter().map(|one| &one.placeholder));
        let Ok(placeholders) = placeholders else {
            return Err(InvalidCredential {
                key: "all secrets".to_owned(),
                what: "their placeholders are too long together",
            });
        };
        let held = all.into_iter().map(|one| Held {
            key: one.key,
            placeholder: one.placeholder,
            value: Mutex::new(Some(one.value)),
            to: one.to,
            how: one.how,
        });
        Ok(Self {
            held: held.collect(),
            placeholders: Some(placeholders),
        })
    }

    /// Whether a secret is bound to this port of a host, so that requests to it have to be read.
    pub fn binds(&self, target: &Target) -> bool {
        let binds = |binding: &Binding| binding.binds(&target.host, target.port);
        self.held.iter().any(|held| held.to.iter().any(binds))
    }

    /// Forgets the value.
    pub fn withdraw(&self, key: &str) {
        for held in self.held.iter().filter(|held| held.key == key) {
            *held.lock() = None;
        }
    }

    /// All that sign requests, with the access key id that programs use for each.
    pub fn signing(&self) -> impl Iterator<Item = (&Held, &str)> {
        self.held.iter().filter_map(|held| match &held.how {
            How::SigV4 { access_key_id } => Some((held, access_key_id.as_str())),
            How::Header => None,
        })
    }

    /// Refuses a request that holds any placeholder.
    pub fn refuse_any<B>(&self, request: &Request<B>) -> Result<(), Misuse> {
        self.refuse_in_target(request)?;
        for (name, value) in request.headers() {
            let basic = (name == AUTHORIZATION).then(|| basic(value)).flatten();
            let decoded = basic.as_ref().map_or(value.as_bytes(), |text| text);
            if let Some(held) = self.found(decoded).next() {
                return Err(Misuse::mismatch(held));
            }
        }
        Ok(())
    }

    /// Refuses a placeholder in the target of a request: targets are written into logs.
    pub fn refuse_in_target<B>(&self, request: &Request<B>) -> Result<(), Misuse> {
        let target = request.uri().path_and_query();
        let target = target.map_or("", |target| target.as_str());
        let plain = without_percent(target.as_bytes());
        let mut found = self.found(target.as_bytes()).chain(self.found(&plain));
        found
            .next()
            .map_or(Ok(()), |held| Err(Misuse::mismatch(held)))
    }

    /// Puts values in the place of placeholders.
    pub fn fill(&self, place: Place<'_>, headers: &mut HeaderMap) -> Result<(), Misuse> {
        for (name, value) in headers.iter_mut() {
            let is_authorization = name == AUTHORIZATION;
            if let Some(filled) = self.filled(place, is_authorization, value)? {
                *value = filled;
            }
        }
        Ok(())
    }

    fn filled(
        &self,
        place: Place<'_>,
        is_authorization: bool,
        value: &HeaderValue,
    ) -> Result<Option<HeaderValue>, Misuse> {
        let basic = is_authorization.then(|| basic(value)).flatten();
        let text = basic.as_ref().map_or(value.as_bytes(), |text| text);
        let Some(mut filled) = self.replaced(place, text)? else {
            return Ok(None);
        };
        if basic.is_some() {
            let encoded = Zeroizing::new(BASE64.encode(&*filled));
            filled = Zeroizing::new([b"Basic ", encoded.as_bytes()].concat());
        }
        // Each value can stand in a header, or it would not be here, and so can what is around it.
        let filled = HeaderValue::from_bytes(&filled).ok();
        Ok(filled.map(|mut filled| {
            filled.set_sensitive(true);
            filled
        }))
    }

    /// A text with the values in it. `None` if it has no placeholder.
    pub fn replaced(
        &self,
        place: Place<'_>,
        text: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Misuse> {
        let mut filled = Zeroizing::new(Vec::new());
        let mut end = 0;
        for (found, held) in self.matches(text) {
            if held.how != How::Header {
                return Err(Misuse::mismatch(held));
            }
            filled.extend_from_slice(text.get(end..found.start()).unwrap_or_default());
            held.with_value(place, |value| filled.extend_from_slice(value))?;
            end = found.end();
        }
        if end == 0 {
            return Ok(None);
        }
        filled.extend_from_slice(text.get(end..).unwrap_or_default());
        Ok(Some(filled))
    }

    fn found<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a Held> {
        self.matches(text).map(|(_, held)| held)
    }

    fn matches<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (Match, &'a Held)> {
        let found = self
            .placeholders
            .iter()
            .flat_map(move |all| all.find_iter(text));
        found.filter_map(|found| Some((found, self.held.get(found.pattern().as_usize())?)))
    }
}

impl Held {
    /// Uses the value, if it may be sent there.
    pub fn with_value<T>(
        &self,
        place: Place<'_>,
        uses: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Misuse> {
        if !self.is_bound(place) {
            return Err(Misuse::mismatch(self));
        }
        self.lock()
            .as_ref()
            .map(|value| uses(value.expose()))
            .ok_or_else(|| Misuse {
                key: self.key.clone(),
                reason: Denied::CredentialWithdrawn,
            })
    }

    pub fn is_bound(&self, place: Place<'_>) -> bool {
        let Target { host, port } = place.target;
        let mut to = self.to.iter();
        to.any(|binding| binding.allows(host, *port, place.path))
    }

    fn lock(&self) -> MutexGuard<'_, Option<SecretValue>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Credential {
    fn invalid(&self, what: &'static str) -> InvalidCredential {
        InvalidCredential {
            key: self.key.clone(),
            what,
        }
    }

    fn check(&self) -> Result<(), InvalidCredential> {
        // Unreserved in addresses (RFC 3986, 2.3), and the same in every encoding of text.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !is_env_key(&self.key) {
            return Err(InvalidCredential {
                key: "a secret".to_owned(),
                what: "its key is not the name of an environment variable",
            });
        }
        if !PLACEHOLDER_BYTES.contains(&self.placeholder.len())
            || !self.placeholder.bytes().all(is_plain)
        {
            return Err(self.invalid(
                "a placeholder has 16 to 128 letters, digits, hyphens, dots and underscores",
            ));
        }
        if self.to.is_empty() {
            return Err(self.invalid("it is bound to no host"));
        }
        let value = self.value.expose();
        if value.is_empty() {
            return Err(self.invalid("its value is empty"));
        }
        if value.len() > VALUE_BYTES {
            return Err(self.invalid("its value is longer than 8 KiB: servers take no such header"));
        }
        if value.iter().any(|byte| b"\r\n".contains(byte)) {
            return Err(self.invalid(
                "its value has a line break, which a header field cannot hold; store it without",
            ));
        }
        if value.first().is_some_and(u8::is_ascii_whitespace)
            || value.last().is_some_and(u8::is_ascii_whitespace)
        {
            return Err(self.invalid(
                "its value begins or ends with white space, which servers cut off; store it without",
            ));
        }
        match &self.how {
            How::Header if HeaderValue::from_bytes(value).is_err() => {
                Err(self
                    .invalid("its value has a control character, which a header field cannot hold"))
            }
            How::SigV4 { .. } if !value.iter().all(u8::is_ascii_graphic) => {
                Err(self.invalid("its value is no secret access key: those are printable ASCII"))
            }
            How::SigV4 { access_key_id }
                if access_key_id.is_empty() || !access_key_id.bytes().all(is_plain) =>
            {
                Err(self.invalid(
                    "its access key id has letters, digits, hyphens, dots and underscores",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// What `Basic` credentials hold (RFC 7617).
fn basic(value: &HeaderValue) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, rest) = value.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    BASE64.decode(rest.trim_ascii()).ok().map(Zeroizing::new)
}

/// A target as a server may read it.
fn without_percent(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let (mut plain, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.get(at) {
        let decoded = match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => u8::try_from(16 * high + low).ok(),
            _ => None,
        };
        plain.push(decoded.unwrap_or(byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACEHOLDER: &str = "sealfleet-placeholder-0001";

    fn credential(key: &str, placeholder: &str, value: &[u8], to: &str) -> Credential {
        Credential {
            key: key.to_owned(),
            placeholder: placeholder.to_owned(),
            value: SecretValue::new(value.to_vec()),
            to: serde_json::from_str(to).unwrap(),
            how: How::Header,
        }
    }

    fn credentials() -> Credentials {
        Credentials::new(vec![
            credential(
                "A",
                PLACEHOLDER,
                b"the value",
                r#"[{"host":"a.test","path":"/v1/*"}]"#,
            ),
            credential(
                "B",
                "sealfleet-placeholder-0002",
                b"other",
                r#"[{"host":"b.test"}]"#,
            ),
        ])
        .unwrap()
    }

    fn filled(
        credentials: &Credentials,
        host: &str,
        path: &str,
        value: &str,
    ) -> Result<String, Misuse> {
        let target = Target {
            host: host.parse().unwrap(),
            port: 443,
        };
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        let place = Place {
            target: &target,
            path,
        };
        credentials.fill(place, &mut headers)?;
        let value = headers.get(AUTHORIZATION).unwrap();
        assert!(value.is_sensitive() || !value.to_str().unwrap().contains("value"));
        Ok(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_placeholder_is_replaced_where_its_secret_is_bound() {
        let all = credentials();
        let at_a = |value: &str| filled(&all, "a.test", "/v1/x", value).unwrap();
        assert_eq!(at_a(&format!("Bearer {PLACEHOLDER}")), "Bearer the value");
        assert_eq!(
            at_a(&format!("{PLACEHOLDER}{PLACEHOLDER}.")),
            "the valuethe value."
        );
        assert_eq!(
            at_a("Bearer sealfleet-placeholder-000"),
            "Bearer sealfleet-placeholder-000"
        );
        for user in ["x:", "", "a:b"] {
            let basic = BASE64.encode(format!("{user}{PLACEHOLDER}"));
            let expected = format!("Basic {}", BASE64.encode(format!("{user}the value")));
            assert_eq!(at_a(&format!("Basic {basic}")), expected);
            let unpadded = basic.trim_end_matches('=');
            assert_eq!(at_a(&format!("bASIC {unpadded}")), expected);
        }
        for (host, path, value) in [
            ("a.test", "/v2", PLACEHOLDER),
            ("a.test", "/v1/../v2", PLACEHOLDER),
            ("a.test", "/v1/x", "sealfleet-placeholder-0002"),
            ("b.test", "/v1/x", PLACEHOLDER),
        ] {
            let misuse = filled(&all, host, path, value).unwrap_err();
            assert_eq!(
                misuse.reason,
                Denied::CredentialMismatch,
                "{host}{path} {value}"
            );
        }
        all.withdraw("A");
        let misuse = filled(&all, "a.test", "/v1/x", PLACEHOLDER).unwrap_err();
        assert_eq!(
            (misuse.reason, misuse.key.as_str()),
            (Denied::CredentialWithdrawn, "A")
        );
        assert!(filled(&all, "b.test", "/", "sealfleet-placeholder-0002").is_ok());
    }

    #[test]
    fn a_placeholder_in_a_target_is_found_however_it_is_written() {
        let all = credentials();
        for target in [
            format!("/?key={PLACEHOLDER}"),
            format!("/{PLACEHOLDER}/x"),
            format!("/?key={}", PLACEHOLDER.replace('-', "%2D")),
        ] {
            let request = Request::get(&target).body(()).unwrap();
            assert!(all.refuse_in_target(&request).is_err(), "{target}");
        }
        let request = Request::get("/%zz%").body(()).unwrap();
        assert!(all.refuse_in_target(&request).is_ok());
    }

    #[test]
    fn what_cannot_work_is_refused_and_no_value_is_told() {
        let to = r#"[{"host":"a.test"}]"#;
        let value = b"canary".as_slice();
        let signing = |value: &[u8], access_key_id: &str| Credential {
            how: How::SigV4 {
                access_key_id: access_key_id.to_owned(),
            },
            ..credential("A", PLACEHOLDER, value, to)
        };
        for wrong in [
            credential("1", PLACEHOLDER, value, to),
            credential("A", "short", value, to),
            credential("A", "has a space in it, see", value, to),
            credential("A", PLACEHOLDER, value, "[]"),
            credential("A", PLACEHOLDER, b"", to),
            credential("A", PLACEHOLDER, b"canary\n", to),
            credential("A", PLACEHOLDER, b"canary\r\nX: y", to),
            credential("A", PLACEHOLDER, b" canary", to),
            credential("A", PLACEHOLDER, b"canary\0", to),
            credential("A", PLACEHOLDER, b"canary\x7f", to),
            credential("A", PLACEHOLDER, &[b'x'; VALUE_BYTES + 1], to),
            signing(b"can ary", "AKIDEXAMPLE"),
            signing(value, ""),
            signing(value, "a/b"),
        ] {
            let shown = format!("{wrong:?}");
            let error = Credentials::new(vec![wrong]).err().unwrap();
            let told = format!("{shown} {error} {error:?}");
            assert!(!told.contains("canary"), "{told}");
        }
        for second in [
            PLACEHOLDER,
            "sealfleet-placeholder-00011",
            "placeholder-0001",
        ] {
            let two = vec![
                credential("A", PLACEHOLDER, value, to),
                credential("B", second, value, to),
            ];
            assert!(Credentials::new(two).is_err(), "{second}");
        }
        assert!(Credentials::new(vec![credential("A", PLACEHOLDER, "ä".as_bytes(), to)]).is_ok());
    }
}
