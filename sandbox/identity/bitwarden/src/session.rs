//! The requests: one to log in, one for each secret.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode};
use sealfleet_identity::{IdentityError, Readable};
use sealfleet_identity_web::{Service, fault};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::cipher::{AccessToken, Key};

pub(crate) const BITWARDEN: Service = Service("Bitwarden");

/// Where Bitwarden is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// As `https://identity.bitwarden.com`.
    pub identity: String,
    /// As `https://api.bitwarden.com`.
    pub api: String,
}

/// A machine account that is logged in.
pub(crate) struct Session {
    client: Client,
    servers: Servers,
    bearer: Zeroizing<String>,
    /// That of the organisation.
    key: Key,
}

/// A secret that is open.
pub(crate) struct Secret {
    pub value: Zeroizing<Vec<u8>>,
    /// When it was changed, as a version id.
    pub version: String,
}

#[derive(Deserialize)]
struct LoggedIn {
    access_token: String,
    encrypted_payload: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    encryption_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    id: String,
    value: String,
    revision_date: String,
}

#[derive(Deserialize)]
struct All {
    secrets: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    key: String,
}

#[derive(Deserialize)]
struct Claims {
    organization: String,
}

/// The organisation that a bearer token is of, which Bitwarden has signed.
fn organisation(bearer: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(bearer.split('.').nth(1)?).ok()?;
    let Claims { organization } = serde_json::from_slice(&claims).ok()?;
    crate::is_id(&organization).then_some(organization)
}

impl Session {
    pub async fn log_in(
        client: Client,
        servers: Servers,
        token: &AccessToken,
    ) -> Result<Self, IdentityError> {
        let url = format!("{}/connect/token", servers.identity);
        let form = [
            ("scope", "api.secrets"),
            ("grant_type", "client_credentials"),
            ("client_id", token.id.as_str()),
            ("client_secret", token.secret.as_str()),
        ];
        let body = Zeroizing::new(encoded(&form));
        let request = client
            .post(url)
            .header(ACCEPT, "application/json")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Device-Type", "21")
            .body(body.as_bytes().to_vec());
        let answer = BITWARDEN.send(request).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
                return Err(fault(
                    "wrong_credential",
                    "Bitwarden refuses the access token of this worker: it is wrong, has expired or was revoked",
                ));
            }
            _ => return Err(answer.refused("the login")),
        }
        let logged_in: LoggedIn = answer.read()?;
        let payload = token.key.open(&logged_in.encrypted_payload);
        let payload = payload.ok_or_else(|| {
            fault(
                "wrong_credential",
                "the access token of this worker does not open the organisation's key: its part after the colon is wrong",
            )
        })?;
        let payload: Payload =
            serde_json::from_slice(&payload).map_err(|_| BITWARDEN.no_sense())?;
        let key = STANDARD.decode(payload.encryption_key.as_bytes());
        let key = Zeroizing::new(key.map_err(|_| BITWARDEN.no_sense())?);
        Ok(Self {
            client,
            servers,
            bearer: Zeroizing::new(logged_in.access_token),
            key: Key::new(&key).ok_or_else(|| BITWARDEN.no_sense())?,
        })
    }

    /// The ids and names of the secrets that the machine account may read. They do not say whose a
    /// secret is.
    pub async fn readable(&self) -> Result<Vec<Readable>, IdentityError> {
        let organisation = organisation(&self.bearer).ok_or_else(|| BITWARDEN.no_sense())?;
        let request = self
            .client
            .get(format!(
                "{}/organizations/{organisation}/secrets",
                self.servers.api
            ))
            .header(ACCEPT, "application/json")
            .header("Device-Type", "21")
            .bearer_auth(self.bearer.as_str());
        let answer = BITWARDEN.send(request).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refused("which secrets there are"));
        }
        let All { secrets } = answer.read()?;
        let readable = secrets.into_iter().map(|Listed { id, key }| {
            let key = self.key.open(&key);
            let key = key.map(|key| String::from_utf8_lossy(&key).into_owned());
            Readable {
                name: format!("{id} ({})", key.unwrap_or_default()),
                is_foreign: false,
            }
        });
        Ok(readable.collect())
    }

    /// A secret by its id, which is a UUID.
    pub async fn secret(&self, id: &str) -> Result<Secret, IdentityError> {
        let request = self
            .client
            .get(format!("{}/secrets/{id}", self.servers.api))
            .header(ACCEPT, "application/json")
            .header("Device-Type", "21")
            .bearer_auth(self.bearer.as_str());
        let answer = BITWARDEN.send(request).await?;
        match answer.status {
            StatusCode::OK => {}
            // Bitwarden says the same of what is not there and of what is somebody else's.
            StatusCode::NOT_FOUND => {
                return Err(fault(
                    "unknown_secret",
                    format!(
                        "Bitwarden has no secret `{id}` that this machine account may read; give it access to the secret's project"
                    ),
                ));
            }
            StatusCode::UNAUTHORIZED => {
                return Err(fault(
                    "expired_credential",
                    "Bitwarden no longer accepts the login of this worker: its access token was revoked",
                ));
            }
            StatusCode::FORBIDDEN => {
                return Err(fault(
                    "denied",
                    format!("Bitwarden does not let this machine account read `{id}`"),
                ));
            }
            _ => return Err(answer.refused(&format!("the secret `{id}`"))),
        }
        let stored: Stored = answer.read()?;
        if !stored.id.eq_ignore_ascii_case(id) {
            return Err(BITWARDEN.no_sense());
        }
        let value = self.key.open(&stored.value).ok_or_else(|| {
            fault(
                "bad_answer",
                format!("the organisation's key does not open the secret `{id}`"),
            )
        })?;
        Ok(Secret {
            value,
            version: version(&stored.revision_date).ok_or_else(|| BITWARDEN.no_sense())?,
        })
    }
}

/// A date as a version id: `2026-01-02T03-04-05-678Z`.
fn version(date: &str) -> Option<String> {
    let letter = |letter: char| match letter {
        ':' | '.' | '+' => Some('-'),
        letter if letter.is_ascii_alphanumeric() || letter == '-' => Some(letter),
        _ => None,
    };
    let version: Option<String> = date.chars().map(letter).collect();
    version.filter(|version| (1..=64).contains(&version.len()))
}

/// A form as `application/x-www-form-urlencoded` (WHATWG URL, 5.2).
fn encoded(form: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in form {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                    body.push(char::from(byte));
                }
                byte => body.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    body
}
