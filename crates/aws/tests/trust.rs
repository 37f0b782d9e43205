//! Whose certificate an endpoint of AWS may present: the roots themselves, what the environment
//! makes of them, and real connections.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sealfleet_aws::trust::{AMAZON, Roots};
use sealfleet_domain::Timestamp;
use sealfleet_domain::cause::chain;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// An endpoint of SQS whose certificate a private CA issued.
struct Endpoint {
    url: String,
    /// The CA's certificate, as PEM.
    ca: String,
    connections: Arc<AtomicUsize>,
}

impl Endpoint {
    async fn start() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(server));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
                // A client that does not trust this endpoint breaks off.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self {
            url,
            ca: ca.pem(),
            connections,
        }
    }

    async fn call(&self, roots: Roots) -> Result<(), String> {
        let credentials = Credentials::new("a", "b", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(&self.url)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(roots.client().unwrap())
            .build();
        let called = aws_sdk_sqs::Client::new(&config).list_queues().send().await;
        called.map(drop).map_err(|error| chain(&error))
    }
}

#[tokio::test]
async fn another_ca_is_refused_with_advice_and_not_asked_again() {
    let endpoint = Endpoint::start().await;
    let error = endpoint.call(Roots::Amazon).await.unwrap_err();
    assert!(error.contains("set `AWS_CA_BUNDLE`"), "{error}");
    assert!(error.contains("UnknownIssuer"), "{error}");
    assert_eq!(endpoint.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_bundle_holds_the_cas_that_are_trusted() {
    let endpoint = Endpoint::start().await;
    let bundle = Roots::Bundle(endpoint.ca.clone().into_bytes());
    assert_eq!(endpoint.call(bundle).await, Ok(()));
    let other = Endpoint::start().await;
    let bundle = Roots::Bundle(other.ca.into_bytes());
    endpoint.call(bundle).await.unwrap_err();
}

#[tokio::test]
async fn the_system_does_not_know_a_private_ca() {
    let endpoint = Endpoint::start().await;
    let error = endpoint.call(Roots::System).await.unwrap_err();
    assert!(error.contains("set `AWS_CA_BUNDLE`"), "{error}");
}

/// Name, SHA-256 of the certificate, and its last second.
const WANTED: [(&str, &str, &str); 5] = [
    (
        "Amazon Root CA 1",
        "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
        "2038-01-17T00:00:00Z",
    ),
    (
        "Amazon Root CA 2",
        "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
        "2040-05-26T00:00:00Z",
    ),
    (
        "Amazon Root CA 3",
        "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
        "2040-05-26T00:00:00Z",
    ),
    (
        "Amazon Root CA 4",
        "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
        "2040-05-26T00:00:00Z",
    ),
    (
        "Starfield Services Root Certificate Authority - G2",
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
        "2037-12-31T23:59:59Z",
    ),
];

/// Eighteen months: time to release a program with new roots, and to deploy it everywhere.
const NOTICE_SECONDS: i64 = 548 * 86_400;

fn held() -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(AMAZON)
        .collect::<Result<_, _>>()
        .unwrap()
}

fn fingerprint(certificate: &[u8]) -> String {
    Sha256::digest(certificate)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn contains(certificate: &[u8], part: &[u8]) -> bool {
    certificate.windows(part.len()).any(|window| window == part)
}

#[test]
fn the_roots_are_these() {
    let held = held();
    assert_eq!(held.len(), WANTED.len());
    for (certificate, (name, sha256, expires)) in held.iter().zip(WANTED) {
        assert_eq!(fingerprint(certificate), sha256, "{name}");
        assert!(contains(certificate, name.as_bytes()), "{name}");
        // RFC 5280, 4.1.2.5: the end of `Validity`, a `UTCTime` after a `UTCTime`.
        let digits: String = expires.chars().filter(char::is_ascii_digit).collect();
        let end = format!("Z\x17\x0d{}Z", &digits[2..]);
        assert!(contains(certificate, end.as_bytes()), "{name} ends then");
    }
}

#[test]
fn mozilla_trusts_them_and_knows_no_other_of_amazon() {
    let held: BTreeSet<_> = held().iter().map(|root| fingerprint(root)).collect();
    let known: BTreeSet<_> = TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|root| fingerprint(root))
        .collect();
    assert!(held.is_subset(&known), "Mozilla removed a root: read 023");
    // The subject's organization: O (2.5.4.10), a `PrintableString` or a `UTF8String`.
    let of_amazon = |root: &&CertificateDer<'_>| {
        [0x13, 0x0c].iter().any(|kind| {
            contains(
                root,
                &[&[0x55, 0x04, 0x0a, *kind, 6][..], b"Amazon"].concat(),
            )
        })
    };
    let of_amazon: BTreeSet<_> = TLS_SERVER_ROOT_CERTS
        .iter()
        .filter(of_amazon)
        .map(|root| fingerprint(root))
        .collect();
    assert_eq!(of_amazon.len(), 4);
    assert!(
        of_amazon.is_subset(&held),
        "Amazon has a new root: read 023"
    );
}

#[test]
fn none_expires_within_eighteen_months() {
    #[expect(
        clippy::disallowed_methods,
        reason = "whether roots are about to expire depends on today"
    )]
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap());
    for (name, _, expires) in WANTED {
        let expires = Timestamp::parse(expires).unwrap();
        assert!(
            now.plus_seconds(NOTICE_SECONDS) < expires,
            "{name}: read docs/decisions/023-own-trust-store.md"
        );
    }
}

fn told(roots: Roots, environment: &[(&str, &str)]) -> Result<Roots, String> {
    let read = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    roots.unless_told(read).map_err(|error| error.to_string())
}

#[test]
fn the_environment_names_other_roots() {
    let (amazon, system) = (Ok(Roots::Amazon), Ok(Roots::System));
    assert_eq!(told(Roots::Amazon, &[]), amazon);
    assert_eq!(told(Roots::System, &[]), system);
    for (name, value, expected) in [
        ("AWS_CA_BUNDLE", "", &amazon),
        ("AWS_CA_BUNDLE", "system", &system),
        ("SSL_CERT_FILE", "/etc/ca.pem", &system),
        ("SSL_CERT_DIR", "/etc/ca", &system),
        ("AWS_REGION", "us-east-1", &amazon),
        ("AWS_REGION", "ap-southeast-7", &amazon),
        ("AWS_REGION", "cn-north-1", &system),
        ("AWS_REGION", "us-gov-west-1", &system),
        ("AWS_REGION", "us-isob-east-1", &system),
        ("AWS_REGION", "eusc-de-east-1", &system),
    ] {
        assert_eq!(
            &told(Roots::Amazon, &[(name, value)]),
            expected,
            "{name}={value}"
        );
    }
}

#[test]
fn a_bundle_is_read_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let bundle = |path: &str| {
        let others = [
            ("SSL_CERT_FILE", "/etc/ca.pem"),
            ("AWS_REGION", "cn-north-1"),
        ];
        told(
            Roots::Amazon,
            &[&others[..], &[("AWS_CA_BUNDLE", path)]].concat(),
        )
    };
    assert_eq!(
        bundle(&write("good.pem", AMAZON)),
        Ok(Roots::Bundle(AMAZON.to_vec()))
    );
    let no_ca = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, reason) in [
        (
            folder.path().join("none").display().to_string(),
            "cannot be read",
        ),
        (
            write("empty.pem", b"no certificate"),
            "holds no certificate",
        ),
        (write("torn.pem", &AMAZON[..900]), "is not PEM"),
        (write("other.pem", no_ca), "is not the certificate of a CA"),
    ] {
        let error = bundle(&path).unwrap_err();
        assert!(
            error.contains(reason) && error.contains(&path) && error.contains("`system`"),
            "{error}"
        );
    }
}
