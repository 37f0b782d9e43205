//! A host on loopback that programs reach through an egress proxy. It greets whoever asks, and
//! keeps what it was asked.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{Failure, Outcome};

/// What it answers.
pub const GREETING: &str = "welcome";

/// Ends with the runtime.
pub struct Upstream {
    pub port: u16,
    /// The authority that vouches for it, as PEM. None without TLS.
    pub authority: Option<String>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub async fn plain() -> Outcome<Self> {
        Self::start(None, None).await
    }

    /// With TLS, as `127.0.0.1` and `localhost`.
    pub async fn tls() -> Outcome<Self> {
        let (authority, config) = certified().map_err(|error| Failure::new(error.to_string()))?;
        Self::start(Some(authority), Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(authority: Option<String>, tls: Option<TlsAcceptor>) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (kept, tls) = (Arc::clone(&kept), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => greet(client, &kept).await,
                        Some(tls) => match tls.accept(client).await {
                            Ok(client) => greet(client, &kept).await,
                            Err(error) => Err(error),
                        },
                    }
                });
            }
        });
        Ok(Self {
            port,
            authority,
            heads,
        })
    }

    /// The heads of all requests until now.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.clone()
    }

    /// How many requests had this in their head.
    #[must_use]
    pub fn heads_with(&self, part: &str) -> usize {
        self.heads()
            .iter()
            .filter(|head| head.contains(part))
            .count()
    }
}

/// Answers the requests of one connection.
async fn greet(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    kept: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let rest = read.split_off(end + 4);
            let head = String::from_utf8_lossy(&read).into_owned();
            read = rest;
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(head);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{GREETING}\n",
                GREETING.len() + 1
            );
            client.write_all(answer.as_bytes()).await?;
            continue;
        }
        let more = client.read(&mut chunk).await?;
        if more == 0 {
            return Ok(());
        }
        read.extend_from_slice(chunk.get(..more).unwrap_or_default());
    }
}

fn certified() -> Result<(String, ServerConfig), Box<dyn std::error::Error>> {
    let authority_key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = params.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::DnsName("localhost".try_into()?),
    ];
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key)?;
    Ok((authority, config))
}
