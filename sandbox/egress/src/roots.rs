//! Whom the proxy believes who a host is: the authorities of its system, and those that it was
//! told.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::authority::{ALPN_H1, ALPN_H2, provider};

#[derive(Clone, Default)]
pub struct Roots {
    told: Vec<CertificateDer<'static>>,
    made: OnceLock<Result<Made, rustls::Error>>,
}

#[derive(Clone)]
struct Made {
    /// HTTP/2 if the host has it.
    any: Arc<ClientConfig>,
    /// For what HTTP/2 has not: WebSocket.
    http1: Arc<ClientConfig>,
}

impl Roots {
    /// Adds authorities.
    pub fn add(&mut self, pem: &[u8]) -> io::Result<()> {
        let before = self.told.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            self.told.push(certificate.map_err(io::Error::other)?);
        }
        if self.told.len() == before {
            return Err(io::Error::other("it holds no certificate in PEM"));
        }
        // Later, nobody could tell which of them is wrong.
        let mut store = RootCertStore::empty();
        let mut added = self.told.iter().map(|root| store.add(root.clone()));
        added.try_for_each(|added| added.map_err(io::Error::other))
    }

    /// For connections to hosts. The system's authorities are read when a first one is needed:
    /// most steps need none.
    pub fn config(&self, http1: bool) -> io::Result<Arc<ClientConfig>> {
        let made = self.made.get_or_init(|| self.make());
        let made = made
            .as_ref()
            .map_err(|error| io::Error::other(error.clone()))?;
        Ok(Arc::clone(if http1 { &made.http1 } else { &made.any }))
    }

    fn make(&self) -> Result<Made, rustls::Error> {
        let mut store = RootCertStore::empty();
        // What cannot be read vouches for nobody.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        store.add_parsable_certificates(self.told.iter().cloned());
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_H1.to_vec()];
        let mut http1 = config.clone();
        http1.alpn_protocols = vec![ALPN_H1.to_vec()];
        Ok(Made {
            any: Arc::new(config),
            http1: Arc::new(http1),
        })
    }
}
