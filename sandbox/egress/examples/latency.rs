//! What the proxy adds to a connection, and to a request whose TLS it ends, as JSON: an array of
//! rows, each beside the same without it. Host, proxy and program are on loopback, so there is
//! nothing else to wait for.

#![expect(clippy::unwrap_used, reason = "a tool fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::StreamOwned;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use sealfleet_domain::egress::{Binding, HostName, HostPattern, Policy};
use sealfleet_egress::{Credential, How, Limits, Proxy};
use sealfleet_identity::SecretValue;

const ROUNDS: usize = 5000;
/// As a short message of an API.
const MESSAGE: usize = 1024;
const GIBIBYTE: usize = 1 << 30;

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn main() {
    let host = start_host();
    let voucher = Voucher::new();
    let secure = start_secure_host(voucher.server());
    let (proxy, authority) = start_proxy(secure, &voucher.pem);
    let direct = move || connect(host);
    let tunnel = move || tunnel(proxy, host);
    let [own, of_step] = [&voucher.pem, &authority].map(|pem| believing(pem));
    let direct_tls = move || tls(connect(secure), &own);
    let ended = move || tls(self::tunnel(proxy, secure), &of_step);
    let rows = [
        row(
            "open, and a byte back and forth",
            "tunnel",
            opens(&direct),
            opens(&tunnel),
        ),
        row(
            "1 KiB back and forth",
            "tunnel",
            messages(&direct),
            messages(&tunnel),
        ),
        row(
            "1 GiB back and forth",
            "tunnel",
            gibibyte(&direct),
            gibibyte(&tunnel),
        ),
        row(
            "open, TLS, and a request",
            "terminated",
            first(&direct_tls),
            first(&ended),
        ),
        row(
            "a request with an answer of 1 KiB",
            "terminated",
            asks(&direct_tls),
            asks(&ended),
        ),
    ];
    println!("{}", serde_json::Value::from(rows.to_vec()));
}

fn row(what: &str, way: &str, direct: Vec<Duration>, through: Vec<Duration>) -> serde_json::Value {
    let part = |times: &[Duration], percent: usize| {
        let time = times.get((times.len() - 1) * percent / 100).unwrap();
        time.as_secs_f64() * 1000.0
    };
    serde_json::json!({
        "what": what,
        "way": way,
        "direct_p50_ms": part(&direct, 50),
        "direct_p99_ms": part(&direct, 99),
        "through_p50_ms": part(&through, 50),
        "through_p99_ms": part(&through, 99),
    })
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

/// Each time a new connection.
fn opens(open: &dyn Fn() -> TcpStream) -> Vec<Duration> {
    let once = |_| {
        let began = Instant::now();
        let mut stream = open();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        began.elapsed()
    };
    sorted((0..ROUNDS).map(once).collect())
}

/// All on one connection.
fn messages(open: &dyn Fn() -> TcpStream) -> Vec<Duration> {
    let (mut stream, mut message) = (open(), [0; MESSAGE]);
    let once = |_| {
        let began = Instant::now();
        stream.write_all(&message).unwrap();
        stream.read_exact(&mut message).unwrap();
        began.elapsed()
    };
    sorted((0..ROUNDS).map(once).collect())
}

/// The host sends it back; what is measured is that all has come back.
fn gibibyte(open: &dyn Fn() -> TcpStream) -> Vec<Duration> {
    let stream = open();
    let mut writes = stream.try_clone().unwrap();
    let began = Instant::now();
    let writer = std::thread::spawn(move || {
        let piece = vec![0; 1 << 20];
        for _ in 0..GIBIBYTE / piece.len() {
            writes.write_all(&piece).unwrap();
        }
    });
    let read = std::io::copy(&mut stream.take(GIBIBYTE as u64), &mut std::io::sink());
    assert_eq!(read.unwrap(), GIBIBYTE as u64);
    let took = began.elapsed();
    writer.join().unwrap();
    vec![took]
}

/// Each time a new connection, with its handshake. Fewer: they cost signatures.
fn first(open: &dyn Fn() -> Tls) -> Vec<Duration> {
    let once = |_| {
        let began = Instant::now();
        ask(&mut open());
        began.elapsed()
    };
    sorted((0..ROUNDS / 10).map(once).collect())
}

/// All on one connection.
fn asks(open: &dyn Fn() -> Tls) -> Vec<Duration> {
    let mut stream = open();
    ask(&mut stream);
    let once = |_| {
        let began = Instant::now();
        ask(&mut stream);
        began.elapsed()
    };
    sorted((0..ROUNDS).map(once).collect())
}

fn ask(stream: &mut Tls) {
    let host = stream.sock.peer_addr().unwrap();
    let host = NAMED.get().copied().unwrap_or(host);
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    read_head(stream);
    stream.read_exact(&mut [0; MESSAGE]).unwrap();
}

/// The host that requests name, whoever answers them.
static NAMED: OnceLock<SocketAddr> = OnceLock::new();

fn read_head(stream: &mut impl Read) -> Option<Vec<u8>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.extend(byte);
    }
    Some(head)
}

/// Who vouches for the host.
struct Voucher {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Voucher {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        Arc::new(
            config
                .with_single_cert(vec![certificate.into()], key)
                .unwrap(),
        )
    }
}

fn believing(pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn tls(stream: TcpStream, config: &Arc<ClientConfig>) -> Tls {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(connection, stream)
}

/// Answers every request with 1 KiB.
fn start_secure_host(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    NAMED.set(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            std::thread::spawn(move || {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {MESSAGE}\r\n\r\n");
                let answer = [head.as_bytes(), &[0; MESSAGE]].concat();
                while read_head(&mut stream).is_some() {
                    if stream
                        .write_all(&answer)
                        .and_then(|()| stream.flush())
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn tunnel(proxy: SocketAddr, host: SocketAddr) -> TcpStream {
    let mut stream = connect(proxy);
    write!(stream, "CONNECT {host} HTTP/1.1\r\n\r\n").unwrap();
    let head = read_head(&mut stream).unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"));
    stream
}

/// Sends back what it gets.
fn start_host() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut reads = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut reads, &mut stream);
            });
        }
    });
    address
}

/// On one thread, as beside a step. It reads what goes to the host with TLS, and is a tunnel
/// elsewhere.
fn start_proxy(secure: SocketAddr, pem: &str) -> (SocketAddr, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let networks = vec!["127.0.0.0/8".parse().unwrap()];
    let secret = Credential {
        key: "KEY".to_owned(),
        placeholder: "sealfleet-placeholder-1".to_owned(),
        value: SecretValue::new(b"value".to_vec()),
        to: vec![Binding {
            host: HostPattern::Host(HostName::Address(secure.ip())),
            port: secure.port(),
            path: None,
        }],
        how: How::Header,
    };
    let proxy = Proxy::new(Policy::Open, networks, Limits::default()).unwrap();
    let proxy = proxy.with_roots(pem.as_bytes()).unwrap();
    let proxy = proxy.with_credentials(vec![secret]).unwrap();
    let authority = proxy.ca_pem().to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(proxy.serve(listener)).unwrap();
    });
    (address, authority)
}
