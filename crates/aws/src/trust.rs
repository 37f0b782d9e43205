//! The certificates that connections to AWS must come from.
//!
//! A function holds the roots of Amazon Trust Services instead of reading the system's: reading
//! those was four fifths of the work of starting (docs/decisions/023-own-trust-store.md). Who needs
//! another CA names it in the environment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, HttpClientError};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, RootCertStore};

/// The certificates of Amazon's roots, as PEM.
pub const AMAZON: &[u8] = include_bytes!("roots.pem");

/// Longest time to open a connection.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Whose certificates an endpoint of AWS may present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Amazon Trust Services, from certificates in this program.
    Amazon,
    /// The system's CAs, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    System,
    /// The CAs of a PEM file, and no others.
    Bundle(Vec<u8>),
}

/// Why the wanted roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// `AWS_CA_BUNDLE` is wrong.
    #[error(
        "`AWS_CA_BUNDLE` names `{path}`, {reason}; name a PEM file of CA certificates, or say \
         `system` for the CAs of the system"
    )]
    Bundle {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client refuses them.
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

impl Roots {
    /// These, unless the environment names others.
    ///
    /// `AWS_CA_BUNDLE` goes first. `SSL_CERT_FILE` and `SSL_CERT_DIR` mean the system's, which
    /// they replace. Amazon's are for the partition `aws`: who issues the certificates of others
    /// is not known here, so they get the system's.
    ///
    /// # Errors
    /// When `AWS_CA_BUNDLE` names a file without usable certificates.
    pub fn unless_told(
        self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Unusable> {
        let told = |name| environment(name).filter(|value| !value.is_empty());
        match told("AWS_CA_BUNDLE") {
            Some(word) if word == "system" => return Ok(Self::System),
            Some(path) => return Self::bundle(path.into()),
            None => {}
        }
        let elsewhere = told("AWS_REGION")
            .is_some_and(|region| !is_of_partition_aws(&region.to_string_lossy()));
        let of_openssl = told("SSL_CERT_FILE").or_else(|| told("SSL_CERT_DIR"));
        Ok(if elsewhere || of_openssl.is_some() {
            Self::System
        } else {
            self
        })
    }

    fn bundle(path: PathBuf) -> Result<Self, Unusable> {
        let unusable = |reason: String| Unusable::Bundle {
            path: path.display().to_string(),
            reason,
        };
        let pem = std::fs::read(&path)
            .map_err(|error| unusable(format!("which cannot be read ({error})")))?;
        // The HTTP client panics at what it cannot parse.
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate =
                certificate.map_err(|error| unusable(format!("which is not PEM ({error})")))?;
            store.add(certificate).map_err(|error| {
                unusable(format!(
                    "which holds what is not the certificate of a CA ({error})"
                ))
            })?;
        }
        if store.is_empty() {
            return Err(unusable("which holds no certificate".to_owned()));
        }
        Ok(Self::Bundle(pem))
    }

    /// One client for every service: one set of certificates to parse, one pool of connections.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(self) -> Result<SharedHttpClient, Unusable> {
        let store = match self {
            Self::Amazon => TrustStore::empty().with_pem_certificate(AMAZON),
            Self::System => TrustStore::default(),
            Self::Bundle(pem) => TrustStore::empty().with_pem_certificate(pem),
        };
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIME);
        let connector = Connector::builder()
            .connector_settings(settings.build())
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(TlsContext::builder().with_trust_store(store).build()?)
            .build();
        let connector = SharedHttpConnector::new(Explaining(connector));
        Ok(http_client_fn(move |_, _| connector.clone()))
    }
}

/// Regions of other partitions: `cn-north-1`, `us-gov-west-1`, `us-iso-east-1`, `eusc-de-east-1`.
fn is_of_partition_aws(region: &str) -> bool {
    region.split('-').count() == 3 && !region.starts_with("cn-")
}

/// Tells what to do about a certificate of an unknown CA. Asking again would not help: it is not
/// retried.
#[derive(Debug)]
struct Explaining(Connector);

impl HttpConnector for Explaining {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move { answer.await.map_err(explained) })
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "a CA that this program does not trust for AWS issued the endpoint's certificate; to trust it, \
     set `AWS_CA_BUNDLE` to a PEM file with the CA, or to `system` for the CAs of the system"
)]
struct UnknownCa(#[source] Box<dyn std::error::Error + Send + Sync>);

fn explained(error: ConnectorError) -> ConnectorError {
    if comes_of_unknown_ca(&error) {
        ConnectorError::user(Box::new(UnknownCa(error.into_source())))
    } else {
        error
    }
}

fn comes_of_unknown_ca(error: &(dyn std::error::Error + 'static)) -> bool {
    // The source of an I/O error is not what it holds, but the source of that.
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io
                .get_ref()
                .map(|held| held as &(dyn std::error::Error + 'static)),
            None => error.source(),
        }
    })
    .any(|error| {
        matches!(
            error.downcast_ref(),
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer
            ))
        )
    })
}
