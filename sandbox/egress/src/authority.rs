//! The certificate authority of one step.
//!
//! It vouches for hosts to the programs of its step and to nobody else. Its key is made with the
//! proxy, stays in the memory of the proxy, and ends with it. So what another step's programs
//! trust, or what somebody copied out of this one, is of no use.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use sealfleet_domain::egress::HostName;

/// Hosts whose certificates are kept. Another one costs a signature.
const KEPT: usize = 64;

/// HTTP/2 and HTTP/1.1 (RFC 7301, and RFC 9113, 3.2).
pub const ALPN_H2: &[u8] = b"h2";
pub const ALPN_H1: &[u8] = b"http/1.1";

/// The only source of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// Of all hosts: who has one of them has the proxy's memory.
    key: KeyPair,
    made: Mutex<BTreeMap<HostName, Arc<ServerConfig>>>,
}

impl Authority {
    pub fn new() -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = lasting();
        params.distinguished_name = named("Sealfleet egress proxy of one step");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            key: KeyPair::generate().map_err(io::Error::other)?,
            made: Mutex::default(),
        })
    }

    /// Its certificate, for the programs of the step.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// TLS of a host, as programs of the step see it.
    pub fn of(&self, host: &HostName) -> io::Result<Arc<ServerConfig>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(host) {
            return Ok(Arc::clone(config));
        }
        if made.len() >= KEPT {
            made.clear();
        }
        let config = Arc::new(self.make(host)?);
        made.insert(host.clone(), Arc::clone(&config));
        Ok(config)
    }

    fn make(&self, host: &HostName) -> io::Result<ServerConfig> {
        let mut params = lasting();
        params.distinguished_name = named("A host behind the egress proxy");
        params.subject_alt_names = vec![match host {
            HostName::Name(name) => {
                SanType::DnsName(name.as_str().try_into().map_err(io::Error::other)?)
            }
            HostName::Address(IpAddr::V4(address)) => SanType::IpAddress((*address).into()),
            HostName::Address(IpAddr::V6(address)) => SanType::IpAddress((*address).into()),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&self.key, &self.issuer)
            .map_err(io::Error::other)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_H1.to_vec()];
        // A handshake on loopback costs less than sessions of many hosts would take.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// Parameters without an end that a step could meet. Its clock may be wrong, and the key ends with
/// the proxy. From 2050 on, certificates write years in another way (RFC 5280, 4.1.2.5).
fn lasting() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_hosts_are_forgotten() {
        let authority = Authority::new().unwrap();
        for n in 0..3 * KEPT {
            authority
                .of(&format!("h{n}.test").parse().unwrap())
                .unwrap();
            assert!(authority.made.lock().unwrap().len() <= KEPT);
        }
        let host = "a.test".parse().unwrap();
        let (first, again) = (authority.of(&host).unwrap(), authority.of(&host).unwrap());
        assert!(Arc::ptr_eq(&first, &again));
        authority.of(&"2600::1".parse().unwrap()).unwrap();
    }
}
