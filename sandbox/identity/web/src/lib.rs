//! What identity backends behind an HTTP API have in common: a client that reaches their servers,
//! answers of a bounded size, and faults that say what to do and nothing of what was answered.
//!
//! A step's sandbox has no network of its own. Requests go through the proxy that the host has put
//! beside it while secrets are resolved. TLS ends here, not there.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use reqwest::{Certificate, Client, Proxy, RequestBuilder, StatusCode, redirect};
use sealfleet_identity::{
    Context, IdentityBackend, IdentityError, Readable, Resolved, SecretValue,
};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

/// The most bytes of an answer.
const MOST_BYTES: usize = 1024 * 1024;
/// The most bytes of a file of the host.
const MOST_OF_FILE: u64 = 256 * 1024;
/// The certificates of the authorities that vouch for the servers, among the files of a backend.
const CA_FILE: &str = "ca";

/// A backend that is made with the first reference to it: most steps need none.
pub struct Late<B> {
    context: Mutex<Context>,
    make: fn(&mut Context) -> Result<B, IdentityError>,
    made: OnceCell<B>,
}

impl<B: IdentityBackend> Late<B> {
    pub const fn new(context: Context, make: fn(&mut Context) -> Result<B, IdentityError>) -> Self {
        Self {
            context: Mutex::new(context),
            make,
            made: OnceCell::const_new(),
        }
    }

    async fn made(&self) -> Result<&B, IdentityError> {
        let make = async {
            let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
            (self.make)(&mut context)
        };
        self.made.get_or_try_init(|| make).await
    }
}

#[async_trait]
impl<B: IdentityBackend> IdentityBackend for Late<B> {
    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        self.made().await?.resolve(name, version).await
    }

    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
        self.made().await?.readable().await
    }

    async fn close(&self) -> Option<SecretValue> {
        self.made.get()?.close().await
    }
}

/// An identity backend by the name that people know.
#[derive(Clone, Copy, Debug)]
pub struct Service(pub &'static str);

/// An answer, whose text is wiped when it is dropped.
pub struct Answer {
    pub status: StatusCode,
    /// AWS's own id of the request, which CloudTrail has as well.
    pub request_id: Option<String>,
    body: Zeroizing<Vec<u8>>,
    service: Service,
}

impl Service {
    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// `unreachable`, or `bad_answer` for one of more than a mebibyte.
    pub async fn send(self, request: RequestBuilder) -> Result<Answer, IdentityError> {
        let unreachable = |error: reqwest::Error| self.unreachable(&error);
        let mut answer = request.send().await.map_err(unreachable)?;
        let request_id = answer.headers().get("x-amzn-requestid");
        let request_id = request_id
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        let mut body = Zeroizing::new(Vec::new());
        while let Some(part) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + part.len() > MOST_BYTES {
                return Err(self.no_sense());
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer {
            status: answer.status(),
            request_id,
            body,
            service: self,
        })
    }

    /// A client for this service at these `addresses`.
    ///
    /// # Errors
    /// `no_login`: the certificates of its authorities cannot be used.
    pub fn client(
        self,
        context: &mut Context,
        addresses: &[&str],
    ) -> Result<Client, IdentityError> {
        let authorities = self.authorities(context)?;
        self.client_of(
            context.proxy,
            authorities.as_ref().map(|ca| ca.as_str()),
            addresses,
        )
    }

    /// The certificates of the authorities that vouch for its servers, as PEM, if the host names
    /// any.
    ///
    /// # Errors
    /// `no_login`: they cannot be read.
    pub fn authorities(
        self,
        context: &mut Context,
    ) -> Result<Option<Zeroizing<String>>, IdentityError> {
        self.file(context, CA_FILE)
    }

    /// As [`Service::client`], of its parts.
    ///
    /// # Errors
    /// `no_login`: the certificates of its authorities cannot be used.
    pub fn client_of(
        self,
        proxy: Option<SocketAddr>,
        authorities: Option<&str>,
        addresses: &[&str],
    ) -> Result<Client, IdentityError> {
        // Fails if a provider is installed: it is the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = Client::builder()
            // A login goes to the server that the host names, and to no other.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(proxy) = proxy {
            let proxy = Proxy::all(format!("http://{proxy}"));
            builder = builder.proxy(proxy.map_err(|_| self.unusable("its proxy"))?);
        }
        if let Some(ca) = authorities {
            let ca = Certificate::from_pem_bundle(ca.as_bytes());
            let ca = ca.map_err(|_| self.unusable("the certificates of its authorities"))?;
            builder = builder.tls_certs_only(ca);
        } else if addresses.iter().all(|one| one.starts_with("http://")) {
            // There is no TLS, so an image without certificates works.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build();
        client.map_err(|_| {
            self.unusable("HTTPS without certificates of authorities in the sandbox's image")
        })
    }

    /// A setting that the host must have.
    ///
    /// # Errors
    /// `no_login`
    pub fn setting(self, context: &Context, name: &str) -> Result<String, IdentityError> {
        let setting = context.settings.get(name);
        setting.cloned().ok_or_else(|| self.not_configured())
    }

    /// The text of a file of the host, without white space around it. None if there is none.
    ///
    /// # Errors
    /// `no_login`: it cannot be read.
    pub fn file(
        self,
        context: &mut Context,
        name: &str,
    ) -> Result<Option<Zeroizing<String>>, IdentityError> {
        let Some(file) = context.files.remove(name) else {
            return Ok(None);
        };
        let mut text = Zeroizing::new(String::new());
        let read = file.take(MOST_OF_FILE).read_to_string(&mut text);
        match read {
            Ok(_) => Ok(Some(Zeroizing::new(text.trim().to_owned()))),
            Err(_) => Err(self.unusable(&format!("the file `{name}`"))),
        }
    }

    /// The worker has no login for it.
    #[must_use]
    pub fn not_configured(self) -> IdentityError {
        let name = self.0;
        fault(
            "no_login",
            format!("references to {name} cannot be resolved: this worker has no login for it"),
        )
    }

    fn unusable(self, what: &str) -> IdentityError {
        fault(
            "no_login",
            format!("{} cannot be asked: {what} cannot be used", self.0),
        )
    }

    /// What answers is not the service that it should be.
    #[must_use]
    pub fn no_sense(self) -> IdentityError {
        fault(
            "bad_answer",
            format!(
                "what answers in the place of {name} is not {name}: look at the address that this worker has for it",
                name = self.0
            ),
        )
    }

    /// The connection failed. The error's own words name the URL only; what went wrong stands in
    /// its innermost cause.
    fn unreachable(self, error: &reqwest::Error) -> IdentityError {
        let mut reason = "no connection".to_owned();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        fault(
            "unreachable",
            format!("{} cannot be reached: {reason}", self.0),
        )
    }
}

impl Answer {
    /// What it says.
    ///
    /// # Errors
    /// `bad_answer` if it says something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, IdentityError> {
        serde_json::from_slice(&self.body).map_err(|_| self.service.no_sense())
    }

    /// The answer as it is, if it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }

    /// The fault that a status stands for which nobody expects: of `what` was asked.
    #[must_use]
    pub fn refused(&self, what: &str) -> IdentityError {
        let code = match self.status.as_u16() {
            429 | 500..=599 => "unavailable",
            _ => "bad_answer",
        };
        let (service, status) = (self.service.0, self.status);
        fault(
            code,
            format!("{service} answers {what} with status {status}"),
        )
    }
}

/// An error of a backend.
#[must_use]
pub fn fault(code: &'static str, message: impl Into<String>) -> IdentityError {
    IdentityError {
        code,
        message: message.into(),
    }
}
