//! Hosts with TLS, and programs that speak it inside of a tunnel.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls::{StreamOwned, client::danger};
use sealfleet_egress::{Credential, How, Limits, Proxy};
use sealfleet_identity::SecretValue;
use tokio_rustls::TlsAcceptor;

use crate::host::Host;
use crate::world::{Book, Client, LOOPBACK, World};

pub const H2: &[u8] = b"h2";
pub const H1: &[u8] = b"http/1.1";

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Who vouches for the hosts of a test.
pub struct Voucher {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Voucher {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// TLS of a host with these names.
    pub fn server(&self, names: &[&str], alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.server_with(CertificateParams::new(names).unwrap(), alpn)
    }

    pub fn server_with(&self, params: CertificateParams, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

/// A host with TLS that treats each connection in a thread of its own.
pub fn host(
    config: Arc<ServerConfig>,
    treat: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> Host {
    Host::start(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        treat(StreamOwned::new(connection, stream));
    })
}

/// A request as a host got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub version: Version,
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub type Answer = Response<BoxBody<Bytes, Infallible>>;

pub fn answer(body: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(body.into()).boxed())
}

/// A web server with TLS that remembers what it was asked.
pub struct Site {
    pub voucher: Voucher,
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<u64>>,
    _runtime: tokio::runtime::Runtime,
}

impl Site {
    /// `a.test` and `b.test`, which answer `ok`.
    pub fn start(alpn: &[&[u8]]) -> Self {
        Self::answering(alpn, |_| answer("ok"))
    }

    pub fn answering(
        alpn: &[&[u8]],
        answers: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let voucher = Voucher::new();
        let acceptor = TlsAcceptor::from(voucher.server(&["a.test", "b.test", "*.c.test"], alpn));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (
            Arc::<Mutex<Vec<Seen>>>::default(),
            Arc::<Mutex<u64>>::default(),
        );
        let (all, counted, answers) = (
            Arc::clone(&seen),
            Arc::clone(&connections),
            Arc::new(answers),
        );
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *counted.lock().unwrap() += 1;
                let (acceptor, all, answers) =
                    (acceptor.clone(), Arc::clone(&all), Arc::clone(&answers));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| {
                        let (all, answers) = (Arc::clone(&all), Arc::clone(&answers));
                        async move {
                            let seen = read(request).await;
                            all.lock().unwrap().push(seen.clone());
                            Ok::<_, Infallible>(answers(&seen))
                        }
                    });
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                    let io = TokioIo::new(stream);
                    if is_h2 {
                        let builder =
                            hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = builder.serve_connection(io, service).await;
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(io, service).await;
                    }
                });
            }
        });
        Self {
            voucher,
            port,
            seen,
            connections,
            _runtime: runtime,
        }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The requests until now.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The only one.
    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    pub fn connections(&self) -> u64 {
        *self.connections.lock().unwrap()
    }
}

async fn read(request: Request<Incoming>) -> Seen {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap();
    Seen {
        version: parts.version,
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        trailers: body.trailers().cloned(),
        body: body.to_bytes(),
    }
}

pub const PLACEHOLDER: &str = "sealfleet-placeholder-00000001";
/// What no program in a sandbox may see.
pub const VALUE: &str = "canary-0f6d1c";

/// A secret in header fields.
pub fn credential(key: &str, placeholder: &str, value: &str, to: serde_json::Value) -> Credential {
    Credential {
        key: key.to_owned(),
        placeholder: placeholder.to_owned(),
        value: SecretValue::new(value.as_bytes().to_vec()),
        to: serde_json::from_value(to).unwrap(),
        how: How::Header,
    }
}

impl World {
    /// A proxy that believes who vouches for a host on loopback, under several names.
    pub fn beside(
        voucher: &Voucher,
        policy: serde_json::Value,
        credentials: Vec<Credential>,
        limits: Limits,
    ) -> Self {
        let mut book = Book::default();
        for name in ["a.test", "b.test", "x.c.test", "y.c.test"] {
            book = book.with(name, &[&["127.0.0.1"]]);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let set_up = |proxy: Proxy| {
            let proxy = proxy.with_roots(voucher.pem.as_bytes()).unwrap();
            proxy.with_credentials(credentials).unwrap()
        };
        Self::with(
            listener,
            &policy.to_string(),
            LOOPBACK,
            book,
            limits,
            set_up,
        )
    }

    /// A proxy that reads all requests to `a.test`.
    pub fn reading(voucher: &Voucher, port: u16) -> Self {
        let rule = serde_json::json!({ "host": "a.test", "port": port, "paths": ["/*"] });
        let policy = serde_json::json!({ "allow": [rule] });
        Self::beside(voucher, policy, Vec::new(), Limits::default())
    }

    /// TLS inside of a tunnel, for HTTP/1.1, with who believes the step's authority.
    pub fn inside(&self, authority: &str) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        let name = authority.rsplit_once(':').unwrap().0.to_owned();
        self.inside_as(authority, client(self.proxy.ca_pem(), &[H1]), &name)
    }

    /// The same with a name of the test's choice.
    pub fn inside_as(
        &self,
        authority: &str,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        let tunnel = self.tunnel(authority);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        Client(StreamOwned::new(connection, tunnel.0))
    }
}

/// A program that believes an authority.
pub fn client(pem: &str, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Whether the handshake succeeds.
pub fn handshakes(
    mut client: Client<StreamOwned<ClientConnection, TcpStream>>,
) -> Result<(), String> {
    let StreamOwned { conn, sock } = &mut client.0;
    while conn.is_handshaking() {
        match conn.complete_io(sock) {
            Ok((0, 0)) => return Err("it ended".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// Requests over HTTP/2 inside of a tunnel.
pub struct Http2 {
    runtime: tokio::runtime::Runtime,
    sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
}

impl Http2 {
    pub fn inside(world: &World, authority: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let tunnel = world.tunnel(authority).0;
        tunnel.set_nonblocking(true).unwrap();
        let config = client(world.proxy.ca_pem(), &[H2]);
        let name = authority.rsplit_once(':').unwrap().0.to_owned();
        let sender = runtime.block_on(async {
            let tunnel = tokio::net::TcpStream::from_std(tunnel).unwrap();
            let name = ServerName::try_from(name).unwrap();
            let stream = tokio_rustls::TlsConnector::from(config);
            let stream = stream.connect(name, tunnel).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(H2));
            let io = TokioIo::new(stream);
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// The answer's status, its fields and its body.
    pub fn ask(&self, request: Request<Full<Bytes>>) -> Result<Answered, hyper::Error> {
        let mut sender = self.sender.clone();
        self.runtime.block_on(async move {
            let answer = sender.send_request(request).await?;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await?;
            Ok(Answered {
                status: parts.status.as_u16(),
                headers: parts.headers,
                trailers: body.trailers().cloned(),
                body: String::from_utf8(body.to_bytes().to_vec()).unwrap(),
            })
        })
    }
}

#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub trailers: Option<HeaderMap>,
}

impl Answered {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A program that believes everybody, so that it sees who answers.
#[derive(Debug)]
pub struct Credulous;

impl danger::ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<danger::ServerCertVerified, rustls::Error> {
        Ok(danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<danger::HandshakeSignatureValid, rustls::Error> {
        Ok(danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<danger::HandshakeSignatureValid, rustls::Error> {
        Ok(danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The first bytes that a program sends for TLS with this name, or with none.
pub fn client_hello(name: Option<&str>) -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    config.enable_sni = name.is_some();
    let name = ServerName::try_from(name.unwrap_or("a.test").to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello).unwrap();
    }
    hello
}

/// Copies what comes until the end, so that a thread may end with its connection.
pub fn drain(mut stream: impl Read + Write) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}
