//! Bitwarden Secrets Manager, with one machine account.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockEncryptMut as _, KeyIvInit as _};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{hkdf, hmac};
use serde_json::json;

use crate::StandIn;

pub const ACCOUNT: &str = "ec2c1d46-6a4b-4751-a310-af9601317f2d";
pub const CLIENT_SECRET: &str = "C2IgxjjLF7qSshsbwe8JGcbM075YXw";
pub const SEED: &[u8; 16] = b"seed of an acct.";
pub const SECRET: &str = "6bb8a2a4-6a4b-4751-a310-af9601317f2d";
pub const FOREIGN: &str = "7cc8a2a4-6a4b-4751-a310-af9601317f2d";
pub const ORGANISATION: [u8; 64] = [7; 64];

/// What it does.
#[derive(Clone)]
pub struct Behaviour {
    pub value: Vec<u8>,
    pub revision: String,
    pub organisation: [u8; 64],
    /// Answers with this status, whatever is asked.
    pub fails: Option<u16>,
    /// Answers with this text, whatever is asked.
    pub says: Option<String>,
    pub waits: Duration,
    /// Whether logins are accepted that were made before.
    pub revoked: bool,
    /// More secrets by id: a value, and when it was changed.
    pub more: BTreeMap<String, (Vec<u8>, String)>,
    pub logins: usize,
    pub puts: usize,
}

type Shared = Arc<Mutex<Behaviour>>;

/// The server.
pub type Bitwarden = StandIn<Behaviour>;

impl Bitwarden {
    pub async fn start() -> Self {
        let does = Behaviour {
            value: b"canary of bitwarden".to_vec(),
            revision: "2026-01-02T03:04:05.678Z".to_owned(),
            organisation: ORGANISATION,
            fails: None,
            says: None,
            waits: Duration::ZERO,
            revoked: false,
            more: BTreeMap::new(),
            logins: 0,
            puts: 0,
        };
        let routes = Router::new()
            .route("/identity/connect/token", post(log_in))
            .route("/api/secrets/{id}", get(secret))
            .route("/api/organizations/{id}/secrets", get(secrets));
        Self::serve(does, routes).await
    }

    /// Keeps a value in the secret of this name; its version.
    pub fn put(&self, secret: &str, value: &[u8]) -> String {
        self.change(|does| {
            does.puts += 1;
            let revision = format!("2026-01-02T03:04:05.{:03}Z", does.puts);
            let version = revision.replace([':', '.'], "-");
            does.more.insert(id_of(secret), (value.to_vec(), revision));
            version
        })
    }
}

/// An id for a name of at most 16 bytes.
pub fn id_of(secret: &str) -> String {
    let bytes = secret.bytes().chain(std::iter::repeat(0)).take(16);
    let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts
        .map(|part| hex.get(part).unwrap().to_owned())
        .join("-")
}

/// An access token.
pub fn token(secret: &str, seed: &[u8]) -> String {
    format!("0.{ACCOUNT}.{secret}:{}", STANDARD.encode(seed))
}

struct Bytes(usize);

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn of_seed() -> [u8; 64] {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"bitwarden-accesstoken");
    let mut key = [0; 64];
    let extracted = salt.extract(SEED);
    let expanded = extracted.expand(&[b"sm-access-token"], Bytes(64)).unwrap();
    expanded.fill(&mut key).unwrap();
    key
}

fn sealed(key: &[u8; 64], text: &[u8]) -> String {
    let iv = [9_u8; 16];
    let encryption: [u8; 32] = key[..32].try_into().unwrap();
    let encryptor = cbc::Encryptor::<Aes256>::new(&encryption.into(), &iv.into());
    let data = encryptor.encrypt_padded_vec_mut::<Pkcs7>(text);
    let mac = hmac::Key::new(hmac::HMAC_SHA256, &key[32..]);
    let mac = hmac::sign(&mac, &[iv.as_slice(), &data].concat());
    let [iv, data] = [iv.as_slice(), &data].map(|part| STANDARD.encode(part));
    format!("2.{iv}|{data}|{}", STANDARD.encode(mac))
}

async fn log_in(State(does): State<Shared>, body: String) -> (StatusCode, String) {
    let known = format!("client_secret={CLIENT_SECRET}");
    let has = |part: &str| body.split('&').any(|field| field == part);
    let (waits, answer) = {
        let mut does = does.lock().unwrap();
        does.logins += 1;
        let payload = format!(
            r#"{{"encryptionKey":"{}"}}"#,
            STANDARD.encode(does.organisation)
        );
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let jwt = format!(
            "{}.{}.{}",
            part(r#"{"alg":"RS256","typ":"JWT"}"#),
            part(r#"{"exp":4102444800,"organization":"f4e44a7f-1190-432a-9d4a-af96013127cb"}"#),
            part("signature")
        );
        let answer = match (does.fails, &does.says) {
            (Some(status), _) => (StatusCode::from_u16(status).unwrap(), "canary".to_owned()),
            (_, Some(text)) => (StatusCode::OK, text.clone()),
            _ if !has("scope=api.secrets")
                || !has(&known)
                || !has(&format!("client_id={ACCOUNT}")) =>
            {
                (
                    StatusCode::BAD_REQUEST,
                    r#"{"error":"invalid_client"}"#.to_owned(),
                )
            }
            _ => (
                StatusCode::OK,
                format!(
                    r#"{{"access_token":"{jwt}","expires_in":3600,"token_type":"Bearer","scope":"api.secrets","encrypted_payload":"{}"}}"#,
                    sealed(&of_seed(), payload.as_bytes())
                ),
            ),
        };
        (does.waits, answer)
    };
    tokio::time::sleep(waits).await;
    answer
}

async fn secrets(State(does): State<Shared>, Path(id): Path<String>) -> (StatusCode, String) {
    if id != "f4e44a7f-1190-432a-9d4a-af96013127cb" {
        return (StatusCode::NOT_FOUND, String::new());
    }
    let does = does.lock().unwrap().clone();
    let ids = does.more.into_keys().chain([SECRET.to_owned()]);
    let key = sealed(&ORGANISATION, b"API_KEY");
    let secrets = ids.map(|id| json!({ "id": id, "key": key, "projects": [] }));
    let all = json!({ "secrets": secrets.collect::<Vec<_>>(), "projects": [] });
    (StatusCode::OK, all.to_string())
}

async fn secret(
    State(does): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let does = does.lock().unwrap().clone();
    let bearer = headers
        .get("Authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    if does.revoked || !bearer.is_some_and(|bearer| bearer.starts_with("Bearer ey")) {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    let one = (does.value, does.revision);
    let found = match id == SECRET {
        true => Some(&one),
        false => does.more.get(&id),
    };
    let Some((value, revision)) = found else {
        return (
            StatusCode::NOT_FOUND,
            r#"{"message":"Resource not found."}"#.to_owned(),
        );
    };
    let [key, value, note] =
        [b"API_KEY".as_slice(), value, b""].map(|text| sealed(&ORGANISATION, text));
    let text = format!(
        r#"{{"id":"{id}","organizationId":"f4e44a7f-1190-432a-9d4a-af96013127cb","key":"{key}","value":"{value}","note":"{note}","projects":[],"creationDate":"2026-01-01T00:00:00Z","revisionDate":"{revision}"}}"#
    );
    (StatusCode::OK, text)
}
