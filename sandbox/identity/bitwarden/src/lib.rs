//! `bitwarden://SECRET-ID`: values in Bitwarden Secrets Manager.
//!
//! Bitwarden keeps what it cannot read: a machine account's access token has a key that opens the
//! organisation's key, which opens values. [`cipher`] is that, [`session`] the requests. All of it
//! happens inside the sandbox; the access token comes as a descriptor.
//!
//! Source: <https://bitwarden.com/help/secrets-manager-overview/>, and what Bitwarden's own clients
//! send. Their licence forbids to build on them, so this is written anew; the tests compare with
//! another independent client.

pub mod cipher;
pub mod session;

use async_trait::async_trait;
use sealfleet_identity::{
    Context, IdentityBackend, IdentityError, Readable, Resolved, SecretValue,
};
use sealfleet_identity_web::{Late, fault};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use cipher::AccessToken;
use session::{BITWARDEN, Servers, Session};

/// The scheme of its references.
pub const SCHEME: &str = "bitwarden";

/// The access token among the files of the backend.
const TOKEN_FILE: &str = "token";

/// The backend, for the [`Registry`](sealfleet_identity::Registry).
///
/// Settings: `identity` and `api`, the addresses of the two servers.
#[must_use]
pub fn open(context: Context) -> Box<dyn IdentityBackend> {
    Box::new(Late::new(context, Bitwarden::of))
}

/// The backend of one step: it logs in once, with the first reference to it.
pub struct Bitwarden {
    client: reqwest::Client,
    servers: Servers,
    token: Zeroizing<String>,
    session: OnceCell<Session>,
}

impl Bitwarden {
    fn of(context: &mut Context) -> Result<Self, IdentityError> {
        let servers = Servers {
            identity: BITWARDEN.setting(context, "identity")?,
            api: BITWARDEN.setting(context, "api")?,
        };
        let token = BITWARDEN.file(context, TOKEN_FILE)?;
        let token = token.ok_or_else(|| BITWARDEN.not_configured())?;
        let client = BITWARDEN.client(context, &[&servers.identity, &servers.api])?;
        Ok(Self::new(client, servers, token))
    }

    /// A backend with the access token of a machine account. Nothing is sent yet.
    #[must_use]
    pub fn new(client: reqwest::Client, servers: Servers, token: Zeroizing<String>) -> Self {
        Self {
            client,
            servers,
            token,
            session: OnceCell::new(),
        }
    }

    async fn session(&self) -> Result<&Session, IdentityError> {
        let log_in = async {
            let token = AccessToken::parse(&self.token).ok_or_else(|| {
                fault(
                    "wrong_credential",
                    "the Bitwarden access token of this worker is none; it looks like `0.ID.SECRET:KEY`",
                )
            })?;
            Session::log_in(self.client.clone(), self.servers.clone(), &token).await
        };
        self.session.get_or_try_init(|| log_in).await
    }
}

#[async_trait]
impl IdentityBackend for Bitwarden {
    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
        self.session().await?.readable().await.map(Some)
    }

    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        if !is_id(name) {
            return Err(fault(
                "bad_reference",
                format!("`bitwarden://{name}` is not the id of a secret, which is a UUID"),
            ));
        }
        let secret = self.session().await?.secret(name).await?;
        if version.is_some_and(|pinned| pinned != secret.version) {
            return Err(fault(
                "unknown_version",
                format!(
                    "`bitwarden://{name}` is pinned to a version that it no longer is; it is `{}` now, and Bitwarden keeps no others",
                    secret.version
                ),
            ));
        }
        Ok(Resolved {
            value: SecretValue::new(secret.value.to_vec()),
            version: secret.version,
            request_id: None,
            leased: false,
        })
    }
}

/// RFC 9562, 4: the only texts that become a part of a URL.
fn is_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
