//! An OIDC issuer on the loopback interface, with keys that are made when it starts.

pub mod github;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};

pub struct Issuer {
    /// Its address, the `iss` of its tokens.
    pub url: String,
    served: Arc<Served>,
}

/// A key that signs tokens.
pub struct Key {
    /// Its `kid`.
    pub kid: String,
    pair: Pair,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

struct Served {
    documents: Mutex<Documents>,
    asked: AtomicUsize,
}

struct Documents {
    status: u16,
    discovery: String,
    keys: String,
}

type Answer = (StatusCode, String);

impl Issuer {
    /// Starts an issuer without keys. It serves for as long as the runtime lives.
    pub async fn start() -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
        let documents = Mutex::new(Documents {
            status: 200,
            discovery,
            keys: json!({ "keys": [] }).to_string(),
        });
        let served = Arc::new(Served {
            documents,
            asked: AtomicUsize::new(0),
        });
        let routes = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(async |State(served): State<Arc<Served>>| served.discovery()),
            )
            .route(
                "/keys",
                get(async |State(served): State<Arc<Served>>| served.keys()),
            )
            .with_state(Arc::clone(&served));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { url, served })
    }

    /// Publishes these keys and no others.
    pub fn publish(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        self.publish_text(json!({ "keys": keys }).to_string());
    }

    /// Publishes any text as its keys.
    pub fn publish_text(&self, keys: String) {
        self.served.lock().keys = keys;
    }

    /// Publishes any discovery document.
    pub fn discover(&self, discovery: &Value) {
        self.served.lock().discovery = discovery.to_string();
    }

    /// Answers with this HTTP status from now on.
    pub fn answer_with(&self, status: u16) {
        self.served.lock().status = status;
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.served.asked.load(Ordering::Relaxed)
    }
}

impl Served {
    fn lock(&self) -> std::sync::MutexGuard<'_, Documents> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn discovery(&self) -> Answer {
        let documents = self.lock();
        (status(documents.status), documents.discovery.clone())
    }

    fn keys(&self) -> Answer {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let documents = self.lock();
        (status(documents.status), documents.keys.clone())
    }
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl Key {
    /// A new key of the curve P-256.
    pub fn es256(kid: &str) -> io::Result<Self> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| no_key())?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
                .map_err(|_| no_key())?;
        Ok(Self {
            kid: kid.to_owned(),
            pair: Pair::Es256(pair),
        })
    }

    /// A new Ed25519 key.
    pub fn eddsa(kid: &str) -> io::Result<Self> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| no_key())?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|_| no_key())?;
        Ok(Self {
            kid: kid.to_owned(),
            pair: Pair::EdDsa(pair),
        })
    }

    pub fn public(&self) -> &[u8] {
        match &self.pair {
            Pair::Es256(pair) => pair.public_key().as_ref(),
            Pair::EdDsa(pair) => pair.public_key().as_ref(),
        }
    }

    /// As it is published.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Es256(_) => {
                // An uncompressed point: 4, then both coordinates.
                let point = self.public().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "x": text(x), "y": text(y) })
            }
            Pair::EdDsa(_) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": text(self.public()) })
            }
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        let alg = match &self.pair {
            Pair::Es256(_) => "ES256",
            Pair::EdDsa(_) => "EdDSA",
        };
        self.token_with(
            &json!({ "alg": alg, "kid": self.kid, "typ": "JWT" }),
            claims,
        )
    }

    /// A token with this header, signed by this key whatever the header says.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = signed_part(header, claims);
        let signature = match &self.pair {
            Pair::Es256(pair) => pair
                .sign(&SystemRandom::new(), signed.as_bytes())
                .map(|signature| signature.as_ref().to_vec())
                .unwrap_or_default(),
            Pair::EdDsa(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn no_key() -> io::Error {
    io::Error::other("no key could be made")
}

/// Header and claims as they are signed.
pub fn signed_part(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}
