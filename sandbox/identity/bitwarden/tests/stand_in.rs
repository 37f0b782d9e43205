//! Against a stand-in of Bitwarden, which another independent client understands, too.
//!
//! `SEALFLEET_TEST_BWS_PYTHON` names a Python that has `bws-sdk`. Without it, the stand-in is
//! compared with nobody, unless `SEALFLEET_TEST_BACKENDS=required` says that it must be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use sealfleet_identity::{Given, IdentityBackend as _, Open};
use sealfleet_identity_bitwarden::session::Servers;
use sealfleet_identity_bitwarden::{Bitwarden, SCHEME, open};
use sealfleet_identity_conformance::{Lacks, Store, Way, conforms};
use sealfleet_test_stores::bitwarden::{
    Bitwarden as StandIn, CLIENT_SECRET, FOREIGN, ORGANISATION, SECRET, SEED, id_of, token,
};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

fn good(stand_in: &StandIn) -> Bitwarden {
    with_token(&stand_in.url, &token(CLIENT_SECRET, SEED))
}

fn with_token(url: &str, token: &str) -> Bitwarden {
    let servers = Servers {
        identity: format!("{url}/identity"),
        api: format!("{url}/api"),
    };
    Bitwarden::new(client(), servers, Zeroizing::new(token.to_owned()))
}

/// The stand-in, as the suite fills it.
struct Filled(StandIn);

#[async_trait]
impl Store for Filled {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    fn backend(&self) -> Open {
        open
    }

    fn name(&self, secret: &str) -> String {
        id_of(secret)
    }

    fn keeps_versions(&self) -> Result<(), Lacks> {
        Err(Lacks("Bitwarden keeps the newest version only"))
    }

    async fn given(&self, way: Way) -> Result<Given, Lacks> {
        let url = match way {
            // Nobody listens there: it is a reserved port.
            Way::Down => "http://127.0.0.1:1",
            Way::Denied => return Err(Lacks("Bitwarden calls what is not ours unknown")),
            Way::WrongTls => {
                return Err(Lacks("TLS is that of all web backends: tried with Vault"));
            }
            _ => &self.0.url,
        };
        self.0.change(|does| {
            does.revoked = way == Way::ExpiredLogin;
            does.waits = Duration::from_secs(if way == Way::Slow { 60 } else { 0 });
        });
        let secret = match way {
            Way::WrongLogin => "other",
            _ => CLIENT_SECRET,
        };
        let mut file: File = tempfile::tempfile().unwrap();
        file.write_all(token(secret, SEED).as_bytes()).unwrap();
        file.rewind().unwrap();
        let settings = ["identity", "api"];
        let settings = settings.map(|name| (format!("{SCHEME}.{name}"), format!("{url}/{name}")));
        Ok(Given {
            files: BTreeMap::from([(format!("{SCHEME}.token"), file)]),
            settings: settings.into(),
            ..Given::default()
        })
    }

    async fn put(&self, secret: &str, value: &[u8]) -> Result<String, Lacks> {
        Ok(self.0.put(secret, value))
    }

    fn logins(&self) -> Vec<String> {
        vec![CLIENT_SECRET.to_owned(), STANDARD.encode(SEED)]
    }

    fn unknown_version(&self) -> String {
        "2020-01-02T03-04-05Z".to_owned()
    }

    async fn put_two(&self, _: &str, _: &str, _: &str) -> Result<[String; 2], Lacks> {
        Err(Lacks("an id has one value"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bitwarden_conforms() {
    let store = Filled(StandIn::start().await);
    conforms(&store).await.unwrap();
}

fn client() -> reqwest::Client {
    // There may be a provider already.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn resolved(
    backend: &Bitwarden,
    id: &str,
    version: Option<&str>,
) -> Result<(Vec<u8>, String), String> {
    match backend.resolve(id, version).await {
        Ok(resolved) => Ok((resolved.value.expose().to_vec(), resolved.version)),
        Err(error) => {
            for hidden in ["canary", CLIENT_SECRET, &STANDARD.encode(SEED)] {
                assert!(!error.message.contains(hidden), "{error}");
            }
            Err(error.code.to_owned())
        }
    }
}

const VERSION: &str = "2026-01-02T03-04-05-678Z";

#[tokio::test]
async fn a_value_is_opened_and_has_the_date_of_its_change_as_its_version() {
    let stand_in = StandIn::start().await;
    let backend = good(&stand_in);
    let expected = Ok((b"canary of bitwarden".to_vec(), VERSION.to_owned()));
    assert_eq!(resolved(&backend, SECRET, None).await, expected);
    assert_eq!(resolved(&backend, SECRET, Some(VERSION)).await, expected);
    assert_eq!(stand_in.change(|does| does.logins), 1, "one login a step");

    stand_in.change(|does| does.revision = "2026-02-02T00:00:00Z".to_owned());
    let old = resolved(&good(&stand_in), SECRET, Some(VERSION)).await;
    assert_eq!(old, Err("unknown_version".to_owned()));
}

#[tokio::test]
async fn values_are_kept_byte_for_byte() {
    let stand_in = StandIn::start().await;
    let large = vec![b'x'; 64 * 1024];
    for value in [b"".as_slice(), b"a\nb\n", b"a\0b", b"\xff\xfe", &large] {
        stand_in.change(|does| does.value = value.to_vec());
        let read = resolved(&good(&stand_in), SECRET, None).await;
        assert_eq!(read.unwrap().0, value);
    }
}

#[tokio::test]
async fn many_at_once_log_in_once() {
    let stand_in = StandIn::start().await;
    let backend = good(&stand_in);
    let all = (0..8).map(|_| resolved(&backend, SECRET, None));
    for one in join_all(all).await {
        assert!(one.is_ok(), "{one:?}");
    }
    assert_eq!(stand_in.change(|does| does.logins), 1);
}

#[tokio::test]
async fn each_fault_has_its_code() {
    let stand_in = StandIn::start().await;
    let code = |code: &str| Err(code.to_owned());
    assert_eq!(
        resolved(&good(&stand_in), FOREIGN, None).await,
        code("unknown_secret")
    );
    for bad in [
        "a",
        "../api",
        "6bb8a2a4-6a4b-4751-a310-af9601317f2",
        &format!("{SECRET}/a"),
    ] {
        assert_eq!(
            resolved(&good(&stand_in), bad, None).await,
            code("bad_reference"),
            "{bad}"
        );
    }
    for bad in [
        token("other", SEED),
        token(CLIENT_SECRET, b"another one's ok"),
        token(CLIENT_SECRET, b"short"),
        "no token".to_owned(),
    ] {
        let backend = with_token(&stand_in.url, &bad);
        assert_eq!(
            resolved(&backend, SECRET, None).await,
            code("wrong_credential")
        );
    }

    let backend = good(&stand_in);
    assert!(resolved(&backend, SECRET, None).await.is_ok());
    stand_in.change(|does| does.revoked = true);
    assert_eq!(
        resolved(&backend, SECRET, None).await,
        code("expired_credential")
    );
    stand_in.change(|does| does.revoked = false);

    stand_in.change(|does| does.organisation = [8; 64]);
    assert_eq!(
        resolved(&good(&stand_in), SECRET, None).await,
        code("bad_answer")
    );
    stand_in.change(|does| does.organisation = ORGANISATION);

    for (status, expected) in [
        (500, "unavailable"),
        (503, "unavailable"),
        (429, "unavailable"),
        (302, "bad_answer"),
    ] {
        stand_in.change(|does| does.fails = Some(status));
        assert_eq!(
            resolved(&good(&stand_in), SECRET, None).await,
            code(expected),
            "{status}"
        );
    }
    stand_in.change(|does| does.fails = None);
    for text in [
        "",
        "{}",
        "<html>canary</html>",
        &"x".repeat(2 * 1024 * 1024),
    ] {
        stand_in.change(|does| does.says = Some(text.to_owned()));
        assert_eq!(
            resolved(&good(&stand_in), SECRET, None).await,
            code("bad_answer")
        );
    }

    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let gone = with_token(&url, &token(CLIENT_SECRET, SEED));
    assert_eq!(resolved(&gone, SECRET, None).await, code("unreachable"));
}

#[tokio::test]
async fn it_gives_way_while_it_waits() {
    let stand_in = StandIn::start().await;
    stand_in.change(|does| does.waits = Duration::from_secs(60));
    let backend = good(&stand_in);
    let waited = tokio::time::timeout(Duration::from_millis(200), backend.resolve(SECRET, None));
    assert!(waited.await.is_err());
}

#[tokio::test]
async fn another_client_reads_the_same_from_the_stand_in() {
    let Some(python) = std::env::var_os("SEALFLEET_TEST_BWS_PYTHON") else {
        let required =
            std::env::var_os("SEALFLEET_TEST_BACKENDS").is_some_and(|it| it == "required");
        assert!(!required, "`SEALFLEET_TEST_BWS_PYTHON` names no Python");
        eprintln!("skipped: `SEALFLEET_TEST_BWS_PYTHON` names no Python");
        return;
    };
    let stand_in = StandIn::start().await;
    let script = "import os, sys
from bws_sdk import BWSecretClient, Region
url = os.environ['URL']
client = BWSecretClient(Region(api_url=url + '/api', identity_url=url + '/identity'), os.environ['TOKEN'])
print(client.get_by_id(sys.argv[1]).value)
";
    let read = tokio::process::Command::new(python)
        .args(["-c", script, SECRET])
        .env("URL", &stand_in.url)
        .env("TOKEN", token(CLIENT_SECRET, SEED))
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&read.stdout);
    assert_eq!(
        said.trim(),
        "canary of bitwarden",
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
}
