//! S3 and KMS as `export` sees them: objects in memory, and a key that signs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use sealfleet_archive::digest::Digest;
use sealfleet_test_stack::{Failure, Outcome};
use serde_json::{Value, json};

/// What a `SubjectPublicKeyInfo` of a P-256 key begins with (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// One bucket and one key.
pub struct Store {
    objects: Mutex<BTreeMap<String, Bytes>>,
    key: EcdsaKeyPair,
    chance: SystemRandom,
}

impl Store {
    pub fn new() -> Outcome<Self> {
        let chance = SystemRandom::new();
        let failed = |_| Failure::new("no key can be made");
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &chance)
            .map_err(failed)?;
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &chance);
        let key = key.map_err(|_| Failure::new("the key that was made is none"))?;
        Ok(Self {
            objects: Mutex::default(),
            key,
            chance,
        })
    }

    /// All objects.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The public half of the key, as KMS answers it.
    pub fn public_key(&self) -> Vec<u8> {
        [&P256[..], self.key.public_key().as_ref()].concat()
    }

    /// A stored digest with a signature that verifies: what is played of KMS signs the hash as if
    /// it were the message, since that is what the library at hand can do.
    pub fn signed(&self, stored: &[u8]) -> Outcome<Vec<u8>> {
        let none = || Failure::new("it is no digest");
        let (_, statement, mut signature) = Digest::read(stored).ok_or_else(none)?;
        let bytes = self.key.sign(&self.chance, statement).map_err(|_| none())?;
        signature.signature = BASE64_STANDARD.encode(bytes);
        Ok(Digest::stored(statement.to_vec(), &signature)?)
    }

    /// KMS `Sign`.
    pub fn sign(&self, asked: &Value) -> Option<Value> {
        let message = BASE64_STANDARD.decode(asked["Message"].as_str()?).ok()?;
        let signature = self.key.sign(&self.chance, &message).ok()?;
        Some(json!({
            "KeyId": "arn:aws:kms:us-east-1:000000000000:key/bench", "SigningAlgorithm": "ECDSA_SHA_256",
            "Signature": BASE64_STANDARD.encode(signature),
        }))
    }

    /// The calls of S3 that are used, path style.
    pub fn serve(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Response {
        let path = uri.path().trim_start_matches('/');
        let key = decoded(path.split_once('/').map_or("", |(_, key)| key));
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        if *method == Method::PUT {
            if headers.contains_key("if-none-match") && objects.contains_key(&key) {
                let error = "<Error><Code>PreconditionFailed</Code></Error>";
                return (StatusCode::PRECONDITION_FAILED, error).into_response();
            }
            objects.insert(key, body);
            return StatusCode::OK.into_response();
        }
        if !key.is_empty() {
            return match objects.get(&key) {
                Some(bytes) => bytes.clone().into_response(),
                None => (
                    StatusCode::NOT_FOUND,
                    "<Error><Code>NoSuchKey</Code></Error>",
                )
                    .into_response(),
            };
        }
        let query = uri.query().unwrap_or_default();
        let parameter = |name: &str| {
            let found = query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name);
            found.map(|(_, value)| decoded(value)).unwrap_or_default()
        };
        let (prefix, after, delimiter) = (
            parameter("prefix"),
            parameter("start-after"),
            parameter("delimiter"),
        );
        let mut answer = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
        let mut folder = String::new();
        for key in objects
            .keys()
            .filter(|key| key.starts_with(&prefix) && **key > after)
        {
            let below = key.strip_prefix(&prefix).unwrap_or_default();
            if !delimiter.is_empty()
                && let Some((name, _)) = below.split_once('/')
            {
                if folder != name {
                    folder = name.to_owned();
                    let _ = write!(
                        answer,
                        "<CommonPrefixes><Prefix>{prefix}{name}/</Prefix></CommonPrefixes>"
                    );
                }
                continue;
            }
            let _ = write!(
                answer,
                "<Contents><Key>{key}</Key><LastModified>2099-01-01T00:00:00.000Z</LastModified></Contents>"
            );
        }
        answer.push_str("</ListBucketResult>");
        ([("content-type", "application/xml")], answer).into_response()
    }
}

/// A part of a URL as it was before it was encoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut letters = text.bytes();
    while let Some(letter) = letters.next() {
        let hex = |letter: Option<u8>| letter.and_then(|letter| char::from(letter).to_digit(16));
        match letter {
            b'%' => {
                let (Some(high), Some(low)) = (hex(letters.next()), hex(letters.next())) else {
                    continue;
                };
                bytes.extend(u8::try_from(high * 16 + low));
            }
            b'+' => bytes.push(b' '),
            _ => bytes.push(letter),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
