//! Sends requests and reads answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, Url};
use sealfleet_api::Problem;
use sealfleet_api::operations::{Operation, Parameters, Route};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::credential::Credential;
use crate::error::{Error, is_passing};
use crate::retry;

const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

/// A client of one control plane, with one credential. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<Url>,
    bearer: Option<HeaderValue>,
    timeout: Duration,
    retries: u32,
    ear: Option<Ear>,
}

/// Is handed method and path of each request, and the bytes of the answer.
type Ear = Arc<dyn Fn(&str, &[u8]) + Send + Sync>;

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// One request, before it is sent.
pub(crate) struct Call {
    operation: &'static Operation,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    idempotency_key: Option<String>,
    /// The version that a change replaces.
    if_match: Option<u32>,
}

/// An answer as it came.
struct Answer {
    status: u16,
    /// Seconds that the `Retry-After` header tells to wait (RFC 9110, section 10.2.3; a date is not
    /// waited for).
    retry_after: Option<u64>,
    bytes: Zeroizing<Vec<u8>>,
}

impl Call {
    pub(crate) fn new<P: Parameters>(route: &'static Route<P>, parameters: P) -> Self {
        Self {
            operation: &route.operation,
            path: route.path(&parameters),
            query: Vec::new(),
            body: None,
            idempotency_key: None,
            if_match: None,
        }
    }

    pub(crate) fn query(mut self, query: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.query.extend(query);
        self
    }

    pub(crate) fn body(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_value(body).map_err(|error| Error::Unreadable {
            status: 0,
            reason: format!("the request cannot be written: {error}"),
        })?;
        self.body = Some(body);
        Ok(self)
    }

    pub(crate) fn idempotency_key(mut self, key: Option<&str>) -> Self {
        self.idempotency_key = key.map(str::to_owned);
        self
    }

    pub(crate) const fn if_match(mut self, version: Option<u32>) -> Self {
        self.if_match = version;
        self
    }

    const fn is_repeatable(&self) -> bool {
        self.operation.repeatable || self.idempotency_key.is_some()
    }
}

impl Client {
    /// A client of the control plane at `api_url` (`https://…`, without `/v1`). Plain `http` is
    /// allowed to this machine only.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be used, or the credential cannot be sent.
    pub fn new(api_url: &str, credential: Option<Credential>) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Address {
            url: api_url.to_owned(),
            reason,
        };
        let mut base = Url::parse(api_url).map_err(|error| {
            unusable(if api_url.contains("://") {
                error.to_string()
            } else {
                "write it as `https://HOST`".to_owned()
            })
        })?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(Error::Address {
                url: "…".to_owned(),
                reason: "it must not hold a user or password".to_owned(),
            });
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(unusable("it must not have a query or fragment".to_owned()));
        }
        let plain = match base.scheme() {
            "https" => false,
            "http" if is_local(&base) => true,
            "http" => {
                return Err(unusable(
                    "a credential is sent over `https` only, except to this machine".to_owned(),
                ));
            }
            _ => return Err(unusable("write it as `https://HOST`".to_owned())),
        };
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);

        // Another part of the program may have installed a provider before; one is as good as the
        // other.
        drop(rustls::crypto::ring::default_provider().install_default());
        // A redirect would carry the request elsewhere; this API has none.
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("sealfleet/", env!("CARGO_PKG_VERSION")));
        if plain {
            // No certificates are needed, and a machine without any would otherwise refuse to make
            // a client.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(Error::Transport)?;
        let bearer = credential.map(|credential| {
            let text = Zeroizing::new(format!("Bearer {}", credential.expose()));
            HeaderValue::from_str(&text).map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        let bearer = bearer
            .transpose()
            .map_err(|_| unusable("the credential is not one line of text".to_owned()))?;
        Ok(Self {
            http,
            base: Arc::new(base),
            bearer,
            timeout: TIMEOUT,
            retries: RETRIES,
            ear: None,
        })
    }

    /// The same with another timeout for each attempt; 30 seconds otherwise, as long as API Gateway
    /// waits.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same without any repetition.
    #[must_use]
    pub const fn without_retries(mut self) -> Self {
        self.retries = 0;
        self
    }

    /// The same, and `ear` is handed method and path of each request (`GET /v1/runs`), and the
    /// bytes of the answer, a credential in them as well.
    #[must_use]
    pub fn heard_by(self, ear: impl Fn(&str, &[u8]) + Send + Sync + 'static) -> Self {
        Self {
            ear: Some(Arc::new(ear)),
            ..self
        }
    }

    /// Connections without a credential.
    pub(crate) const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let mut url = Url::clone(&self.base);
        url.set_path(&format!(
            "{}{}",
            self.base.path().trim_end_matches('/'),
            call.path
        ));
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut attempt = 0;
        loop {
            let answer = self.attempt(&call, url.clone()).await;
            let passing = answer
                .as_ref()
                .map_or(true, |answer| is_passing(answer.status));
            let told = answer.as_ref().ok().and_then(|answer| answer.retry_after);
            if passing
                && call.is_repeatable()
                && attempt < self.retries
                && let Some(pause) = retry::pause_told(attempt, told)
            {
                tokio::time::sleep(pause).await;
                attempt += 1;
                continue;
            }
            let answer = answer.map_err(Error::Transport)?;
            return read(answer.status, &answer.bytes);
        }
    }

    async fn attempt(&self, call: &Call, url: Url) -> Result<Answer, reqwest::Error> {
        let method = Method::from_bytes(call.operation.method.as_bytes()).unwrap_or_default();
        let mut request = self.http.request(method, url).timeout(self.timeout);
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer.clone());
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(version) = call.if_match {
            // An entity tag is a quoted text (RFC 9110, 8.8.3).
            request = request.header(IF_MATCH, format!("\"{version}\""));
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let retry_after = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = Zeroizing::new(answer.bytes().await?.to_vec());
        if let Some(ear) = &self.ear {
            ear(&format!("{} {}", call.operation.method, call.path), &bytes);
        }
        Ok(Answer {
            status,
            retry_after,
            bytes,
        })
    }
}

fn read<T: DeserializeOwned>(status: u16, bytes: &[u8]) -> Result<T, Error> {
    // serde's message repeats no value for a type mismatch of a secret: all secrets are texts where
    // texts are expected.
    let unreadable = |reason: String| Error::Unreadable { status, reason };
    if (200..300).contains(&status) {
        let text: &[u8] = if bytes.is_empty() { b"null" } else { bytes };
        return serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()));
    }
    match serde_json::from_slice::<Problem>(bytes) {
        Ok(problem) => Err(Error::Problem(problem)),
        // What stands before the functions (a gateway, a proxy) answers in its own words.
        Err(_) => Err(unreadable(
            "it is not a problem of this API; is the address right?".to_owned(),
        )),
    }
}

/// Whether an address is on this machine: there alone, plain `http` carries credentials.
#[must_use]
pub fn is_this_machine(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| is_local(&url))
}

fn is_local(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback())
}
