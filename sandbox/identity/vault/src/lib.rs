//! `vault://MOUNT/PATH#KEY`: a value that OpenBao or HashiCorp Vault keeps, or makes.
//!
//! A version that is a number is one of a KV store of version 2. The version [`DYNAMIC`] is a
//! credential that Vault makes for this start and lends: all keys of one path are of one lease. It
//! lasts as long as the step may, or the step does not start.
//!
//! The backend logs in with the first reference. Before, nobody holds anything that opens a value:
//! it logs in by an identity token of the step (JWT auth), or by a secret id that comes wrapped
//! (AppRole). Only the first one can unwrap it, so whoever has read it on the way is noticed. It
//! gives its session back when it is closed. A session that leases hang on lasts as long as the
//! step: whoever keeps it ends it by [`release`], and Vault takes back what it has lent.
//!
//! API: <https://openbao.org/api-docs/>, which Vault has as well.

mod lease;
mod permitted;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Url};
use sealfleet_identity::{
    Context, IdentityBackend, IdentityError, Readable, Resolved, SecretValue,
};
use sealfleet_identity_web::{Answer, Late, Service, fault};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

pub use lease::release;
use lease::{Lease, Lent, Session};
use permitted::Permitted;
/// The scheme of its references.
pub const SCHEME: &str = "vault";

/// The version of what Vault makes for each start.
pub const DYNAMIC: &str = "dynamic";

const VAULT: Service = Service("Vault");

/// A wrapped secret id among the files of the backend.
const WRAPPED_FILE: &str = "wrapped";

/// The backend of one step.
struct Vault {
    http: Http,
    login: Login,
    session: OnceCell<Session>,
    project: String,
    /// How long the step may take.
    lasts: Duration,
    /// What was asked for by path. Vault may have lent it although no answer came.
    leases: Mutex<BTreeMap<String, Arc<OnceCell<Lease>>>>,
}

/// A server.
struct Http {
    client: Client,
    /// As the host names it.
    address: String,
    /// The certificates of its authorities, as PEM.
    authorities: Option<Zeroizing<String>>,
    /// Its address with `/v1/`.
    base: Url,
    /// The namespace, if the server has them.
    namespace: Option<String>,
}

/// How a step logs in.
enum Login {
    /// By an identity token of the step, as a role of the auth method at `mount`.
    Jwt {
        mount: String,
        role: String,
        token: SecretValue,
    },
    /// By a role id and a wrapped secret id.
    AppRole {
        mount: String,
        role_id: String,
        wrapped: Zeroizing<String>,
    },
}

/// A reference taken apart.
struct Reference<'a> {
    mount: &'a str,
    path: &'a str,
    key: &'a str,
}

#[derive(Deserialize)]
struct LoggedIn {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    /// `batch` for one that nobody can end.
    #[serde(default)]
    token_type: String,
    lease_duration: u64,
    renewable: bool,
}

#[derive(Deserialize)]
struct Unwrapped {
    data: SecretId,
}

#[derive(Deserialize)]
struct SecretId {
    secret_id: String,
}

/// A version of a secret. That of a KV store of version 1 has another form.
#[derive(Deserialize)]
struct Found {
    request_id: String,
    data: Versioned,
}

#[derive(Deserialize)]
struct Versioned {
    data: Map<String, Value>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

/// The backend, for the [`Registry`](sealfleet_identity::Registry).
///
/// Settings: `address`; `role` of JWT auth, or `role_id` of AppRole auth; `mount`, where the auth
/// method is, if not at its usual place; `namespace`.
#[must_use]
pub fn open(context: Context) -> Box<dyn IdentityBackend> {
    Box::new(Late::new(context, Vault::of))
}

impl Vault {
    fn of(context: &mut Context) -> Result<Self, IdentityError> {
        let login = Login::of(context)?;
        let address = VAULT.setting(context, "address")?;
        let authorities = VAULT.authorities(context)?;
        let namespace = context.settings.get("namespace").cloned();
        Ok(Self {
            login,
            http: Http::new(address, authorities, namespace, context.proxy)?,
            session: OnceCell::new(),
            project: context.project.clone(),
            lasts: context.lasts,
            leases: Mutex::default(),
        })
    }

    async fn session(&self) -> Result<&Session, IdentityError> {
        self.session.get_or_try_init(|| self.log_in()).await
    }

    async fn log_in(&self) -> Result<Session, IdentityError> {
        let (mount, body) = match &self.login {
            Login::Jwt { mount, role, token } => {
                let jwt = String::from_utf8_lossy(token.expose());
                (mount, json!({ "role": role, "jwt": jwt }))
            }
            Login::AppRole {
                mount,
                role_id,
                wrapped,
            } => {
                let secret_id = self.unwrapped(wrapped).await?;
                let body = json!({ "role_id": role_id, "secret_id": secret_id.as_str() });
                (mount, body)
            }
        };
        let path = format!("auth/{mount}/login");
        let answer = self.http.post(&path, None, Some(&body)).await?;
        match answer.status.as_u16() {
            200 => {
                let LoggedIn { auth } = answer.read()?;
                Ok(Session::of(auth))
            }
            400 | 401 | 403 => Err(fault(
                "wrong_credential",
                "Vault refuses the login: the audience and the bound claims of its role must fit the step, or its secret id is wrong or has expired; Vault's audit log says which",
            )),
            _ => Err(answer.refused("the login")),
        }
    }

    async fn unwrapped(&self, wrapped: &str) -> Result<Zeroizing<String>, IdentityError> {
        let unwrap = "sys/wrapping/unwrap";
        let answer = self.http.post(unwrap, Some(wrapped), None).await?;
        match answer.status.as_u16() {
            200 => {
                let Unwrapped { data } = answer.read()?;
                Ok(Zeroizing::new(data.secret_id))
            }
            400 | 403 => Err(fault(
                "wrong_credential",
                "Vault does not unwrap the secret id of this worker: it has expired, or somebody has unwrapped it before, which is an incident",
            )),
            _ => Err(answer.refused("the wrapped secret id")),
        }
    }

    async fn read(
        &self,
        name: &str,
        reference: &Reference<'_>,
        version: Option<&str>,
    ) -> Result<Resolved, IdentityError> {
        let token = self.session().await?.token.as_str();
        let Reference { mount, path, key } = reference;
        let path = format!("{mount}/data/{path}");
        let answer = self.http.get(&path, token, version).await?;
        match (answer.status.as_u16(), version) {
            (200, _) => found(name, key, &answer),
            (403, _) => Err(denied(name, &path)),
            // Vault says the same of a name and of a version that are not there.
            (404, Some(version)) if self.http.get(&path, token, None).await?.status == 200 => {
                Err(unknown_version(name, version))
            }
            (404, _) => Err(fault(
                "unknown_secret",
                format!(
                    "`vault://{name}` is not there: there is no secret at `{path}`, or it is deleted"
                ),
            )),
            _ => Err(answer.refused(&format!("`vault://{name}`"))),
        }
    }

    /// A key of what Vault lends at a path. It is asked once, so that a name and its password fit.
    async fn borrow(
        &self,
        name: &str,
        reference: &Reference<'_>,
    ) -> Result<Resolved, IdentityError> {
        let session = self.session().await?;
        let path = format!("{}/{}", reference.mount, reference.path);
        let lease = {
            let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(leases.entry(path.clone()).or_default())
        };
        let lent = lease.get_or_try_init(|| self.lent(name, &path, session));
        let Lease { request_id, data } = lent.await?;
        Ok(Resolved {
            value: value_of(name, reference.key, data)?,
            version: DYNAMIC.to_owned(),
            request_id: Some(request_id.clone()),
            leased: true,
        })
    }

    async fn lent(
        &self,
        name: &str,
        path: &str,
        session: &Session,
    ) -> Result<Lease, IdentityError> {
        session.ends(&self.http, name).await?;
        session.last(&self.http, self.lasts).await?;
        let answer = self.http.get(path, &session.token, None).await?;
        let lent: Lent = match answer.status.as_u16() {
            200 => answer.read()?,
            403 => return Err(denied(name, path)),
            400 | 404 | 405 => {
                return Err(fault(
                    "unknown_secret",
                    format!("`vault://{name}`: Vault makes no credential at `{path}`"),
                ));
            }
            _ => return Err(answer.refused(&format!("`vault://{name}`"))),
        };
        lent.last(&self.http, session, name, self.lasts).await
    }
}

#[async_trait]
impl IdentityBackend for Vault {
    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        let reference = Reference::parse(name)?;
        match version {
            Some(DYNAMIC) => self.borrow(name, &reference).await,
            Some(version) if !is_version(version) => Err(unknown_version(name, version)),
            version => self.read(name, &reference, version).await,
        }
    }

    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
        let token = &self.session().await?.token;
        let answer = self
            .http
            .get("sys/internal/ui/resultant-acl", token, None)
            .await?;
        match answer.status.as_u16() {
            200 => {
                let Permitted { data } = answer.read()?;
                Ok(Some(data.readable(&self.project)))
            }
            // A role without the policy `default`.
            403 => Ok(None),
            _ => Err(answer.refused("what the login may read")),
        }
    }

    async fn close(&self) -> Option<SecretValue> {
        let session = self.session.get()?;
        let borrows = {
            let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
            !leases.is_empty()
        };
        if borrows {
            return session.kept(&self.http);
        }
        // It ends by itself soon if Vault does not hear it.
        drop(self.http.revoke(&session.token).await);
        None
    }
}

impl Login {
    fn of(context: &mut Context) -> Result<Self, IdentityError> {
        let mount = context.settings.remove("mount");
        let mount = |usual: &str| mount.unwrap_or_else(|| usual.to_owned());
        if let Some(role) = context.settings.get("role").cloned() {
            let token = context.token.take().ok_or_else(|| {
                fault(
                    "no_login",
                    "the step has no identity token for Vault: its profile must have the audience that the worker logs in with (`identity.audiences`)",
                )
            })?;
            return Ok(Self::Jwt {
                mount: mount("jwt"),
                role,
                token,
            });
        }
        let role_id = VAULT.setting(context, "role_id")?;
        let wrapped = VAULT.file(context, WRAPPED_FILE)?;
        Ok(Self::AppRole {
            mount: mount("approle"),
            role_id,
            wrapped: wrapped.ok_or_else(|| VAULT.not_configured())?,
        })
    }
}

impl Http {
    fn new(
        address: String,
        authorities: Option<Zeroizing<String>>,
        namespace: Option<String>,
        proxy: Option<SocketAddr>,
    ) -> Result<Self, IdentityError> {
        let base = Url::parse(&format!("{}/v1/", address.trim_end_matches('/')));
        let ca = authorities.as_ref().map(|ca| ca.as_str());
        Ok(Self {
            client: VAULT.client_of(proxy, ca, &[&address])?,
            base: base.map_err(|_| VAULT.not_configured())?,
            address,
            authorities,
            namespace,
        })
    }

    /// Ends a session, and takes back what Vault has lent by it.
    async fn revoke(&self, token: &str) -> Result<Answer, IdentityError> {
        self.post(lease::END, Some(token), None).await
    }

    async fn get(
        &self,
        path: &str,
        token: &str,
        version: Option<&str>,
    ) -> Result<Answer, IdentityError> {
        let mut url = self.url(path)?;
        if let Some(version) = version {
            url.query_pairs_mut().append_pair("version", version);
        }
        self.send(self.client.get(url), Some(token)).await
    }

    async fn post(
        &self,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, IdentityError> {
        let mut request = self.client.post(self.url(path)?);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request, token).await
    }

    /// A path below the address; each of its parts is one part of the URL.
    fn url(&self, path: &str) -> Result<Url, IdentityError> {
        let mut url = self.base.clone();
        let below = url.path_segments_mut().map(|mut parts| {
            parts.pop_if_empty().extend(path.split('/'));
        });
        below.map_err(|()| VAULT.not_configured())?;
        Ok(url)
    }

    async fn send(
        &self,
        mut request: RequestBuilder,
        token: Option<&str>,
    ) -> Result<Answer, IdentityError> {
        // An agent of Vault on the way may want it, as proof that no browser was talked into this.
        request = request.header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(token) = token {
            request = request.header("x-vault-token", token);
        }
        VAULT.send(request).await
    }
}

impl<'a> Reference<'a> {
    fn parse(name: &'a str) -> Result<Self, IdentityError> {
        let parsed = || {
            let (place, key) = name.split_once('#')?;
            let (mount, path) = place.split_once('/')?;
            // A client of HTTP takes these out of a path.
            let is_plain = |part: &str| !matches!(part, "" | "." | "..");
            let is_whole = !key.is_empty() && place.split('/').all(is_plain);
            is_whole.then_some(Self { mount, path, key })
        };
        parsed().ok_or_else(|| {
            fault(
                "bad_reference",
                format!("`vault://{name}` is malformed; write `vault://MOUNT/PATH#KEY`"),
            )
        })
    }
}

/// Whether it is a version of a KV store, written in one way.
fn is_version(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits && !text.starts_with('0') && (1..=18).contains(&text.len())
}

fn unknown_version(name: &str, version: &str) -> IdentityError {
    fault(
        "unknown_version",
        format!("`vault://{name}` has no version `{version}`, or it is deleted"),
    )
}

fn found(name: &str, key: &str, answer: &Answer) -> Result<Resolved, IdentityError> {
    let Found { request_id, data } = answer.read().map_err(|_| {
        fault(
            "bad_answer",
            format!("`vault://{name}` is not in a KV store of version 2; use one"),
        )
    })?;
    Ok(Resolved {
        value: value_of(name, key, &data.data)?,
        version: data.metadata.version.to_string(),
        request_id: Some(request_id),
        leased: false,
    })
}

fn value_of(
    name: &str,
    key: &str,
    data: &Map<String, Value>,
) -> Result<SecretValue, IdentityError> {
    let value = match data.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(_) => {
            return Err(fault(
                "unusable_value",
                format!("`vault://{name}` is neither a text, a number nor a truth value"),
            ));
        }
        None => {
            return Err(fault(
                "unknown_secret",
                format!("`vault://{name}`: the secret is there and has no key `{key}`"),
            ));
        }
    };
    Ok(SecretValue::new(value.into_bytes()))
}

fn denied(name: &str, path: &str) -> IdentityError {
    fault(
        "denied",
        format!(
            "Vault does not let this step read `vault://{name}`: a policy of its role must allow to read `{path}`"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_mount_a_path_and_a_key() {
        let parsed = Reference::parse("kv/healthcare/crm#token").expect("a reference");
        let parts = (parsed.mount, parsed.path, parsed.key);
        assert_eq!(parts, ("kv", "healthcare/crm", "token"));
        for bad in [
            "kv",
            "kv#k",
            "kv/#k",
            "/a#k",
            "kv/a#",
            "kv/a/../b#k",
            "kv/./a#k",
            "kv/a//b#k",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_version_is_a_number_written_in_one_way() {
        assert!(is_version("1") && is_version("120"));
        for bad in ["", "0", "01", "+1", "-1", "1 ", "v1", "9999999999999999999"] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
