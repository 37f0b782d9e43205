//! The vault backend in the suite of all identity backends, against a real OpenBao; and what only
//! Vault has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lease;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_domain::Clock as _;
use sealfleet_identity::{Backends, Given, Open, Registry, SecretValue};
use sealfleet_identity_conformance::{Lacks, PROJECT, Store, Way, conforms};
use sealfleet_identity_vault::{SCHEME, open, release};
use sealfleet_system::SystemClock;
use sealfleet_test_bao::Bao;
use sealfleet_test_issuer::{Issuer, Key};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const MOUNT: &str = "kv";
const URI: &str = "vault://kv/healthcare/crm#value";
const JSON: Lacks = Lacks("a KV store holds JSON, so a value is text");

struct Server {
    bao: Bao,
    /// Another one, with TLS.
    with_tls: Bao,
    _certificates: [tempfile::TempDir; 2],
    /// The CA of yet another one.
    other_ca: PathBuf,
    /// Where connections are accepted and nothing is said.
    silent: TcpListener,
}

fn file(content: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

impl Server {
    async fn new() -> Self {
        let certificates = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [own, others] = certificates.each_ref().map(|one| one.path());
        let bao = Bao::start().await.unwrap();
        let with_tls = Bao::start_with_tls(own).await.unwrap();
        let other = Bao::start_with_tls(others).await.unwrap();
        let server = Self {
            bao,
            with_tls,
            other_ca: other.ca_file.clone().unwrap(),
            _certificates: certificates,
            silent: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        };
        let kv = json!({ "type": "kv", "options": { "version": "2" } });
        server.run("POST", &format!("sys/mounts/{MOUNT}"), kv).await;
        let reads = format!("path \"{MOUNT}/data/{PROJECT}/*\" {{ capabilities = [\"read\"] }}");
        let policy = json!({ "policy": reads });
        server.run("POST", "sys/policies/acl/reads", policy).await;
        let approle = json!({ "type": "approle" });
        server.run("POST", "sys/auth/approle", approle).await;
        for (role, policies) in [("crm", "reads"), ("nothing", "default")] {
            let body = json!({ "token_policies": policies, "secret_id_num_uses": 1 });
            server
                .run("POST", &format!("auth/approle/role/{role}"), body)
                .await;
            let id = json!({ "role_id": role });
            server
                .run("POST", &format!("auth/approle/role/{role}/role-id"), id)
                .await;
        }
        server
    }

    async fn run(&self, method: &str, path: &str, body: Value) -> Value {
        self.bao.run(method, path, body).await.unwrap()
    }

    /// A wrapping token of one use for a secret id of this role.
    async fn wrapped(&self, role: &str) -> String {
        let path = format!("auth/approle/role/{role}/secret-id");
        let answer = self.bao.run_wrapped("POST", &path).await.unwrap();
        answer
            .pointer("/wrap_info/token")
            .and_then(Value::as_str)
            .unwrap()
            .to_owned()
    }

    /// A backend that logs in as this role with a secret id that comes wrapped.
    fn by_approle(address: &str, role: &str, wrapped: &str) -> Given {
        Given {
            settings: settings(&[("address", address), ("role_id", role)]),
            files: BTreeMap::from([("vault.wrapped".to_owned(), file(wrapped))]),
            ..Given::default()
        }
    }

    async fn start(&self, given: Given) -> Backends {
        registry().open(given, Duration::from_secs(20))
    }
}

fn registry() -> Registry {
    let registry = Registry::default().with(SCHEME, open);
    registry.releasing(SCHEME, release)
}

fn settings(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    let of = |(name, value): &(&str, &str)| (format!("vault.{name}"), (*value).to_owned());
    all.iter().map(of).collect()
}

#[async_trait]
impl Store for Server {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    fn backend(&self) -> Open {
        open
    }

    fn name(&self, secret: &str) -> String {
        format!("{MOUNT}/{PROJECT}/{secret}#value")
    }

    async fn given(&self, way: Way) -> Result<Given, Lacks> {
        let (address, role) = match way {
            Way::Good | Way::WrongLogin | Way::ExpiredLogin => (self.bao.url.clone(), "crm"),
            Way::Denied => (self.bao.url.clone(), "nothing"),
            // Nobody listens there: it is a reserved port.
            Way::Down => ("http://127.0.0.1:1".to_owned(), "crm"),
            Way::Slow => (
                format!("http://{}", self.silent.local_addr().unwrap()),
                "crm",
            ),
            Way::WrongTls => (self.with_tls.url.clone(), "crm"),
        };
        let wrapped = match way {
            Way::Good => self.wrapped("crm").await,
            Way::Denied => self.wrapped("nothing").await,
            // Somebody has unwrapped it before.
            Way::ExpiredLogin => {
                let wrapped = self.wrapped("crm").await;
                let unwrap = "sys/wrapping/unwrap";
                let opened = self
                    .bao
                    .ask(Some(&wrapped), "POST", unwrap, Value::Null)
                    .await;
                assert_eq!(opened.unwrap().status, 200);
                wrapped
            }
            _ => "s.neverheld".to_owned(),
        };
        let mut given = Self::by_approle(&address, role, &wrapped);
        if way == Way::WrongTls {
            let other = file(&std::fs::read_to_string(&self.other_ca).unwrap());
            given.files.insert("vault.ca".to_owned(), other);
        }
        Ok(given)
    }

    async fn put(&self, secret: &str, value: &[u8]) -> Result<String, Lacks> {
        let text = std::str::from_utf8(value).map_err(|_| JSON)?;
        let path = format!("{MOUNT}/data/{PROJECT}/{secret}");
        let put = self
            .run("POST", &path, json!({ "data": { "value": text } }))
            .await;
        Ok(put.pointer("/data/version").unwrap().to_string())
    }

    fn unknown_version(&self) -> String {
        "4711".to_owned()
    }

    async fn put_two(&self, secret: &str, one: &str, other: &str) -> Result<[String; 2], Lacks> {
        let path = format!("{MOUNT}/data/{PROJECT}/{secret}");
        self.run(
            "POST",
            &path,
            json!({ "data": { "one": one, "other": other } }),
        )
        .await;
        Ok(["one", "other"].map(|key| format!("{MOUNT}/{PROJECT}/{secret}#{key}")))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vault_conforms() {
    conforms(&Server::new().await).await.unwrap();
}

#[tokio::test]
async fn a_session_is_given_back() {
    let server = Server::new().await;
    server.put("crm", b"value-of-crm").await.unwrap();
    let given = server.given(Way::Good).await.unwrap();
    let start = server.start(given).await;
    let resolved = start.resolve(URI, None).await.unwrap();
    assert!(resolved.request_id.is_some_and(|id| id.len() == 36));
    let accessors = async || {
        let listed = server
            .run("LIST", "auth/token/accessors", Value::Null)
            .await;
        let keys = listed.pointer("/data/keys").and_then(Value::as_array);
        keys.map_or(0, Vec::len)
    };
    let during = accessors().await;
    start.close().await;
    assert_eq!(accessors().await, during - 1);
}

#[tokio::test]
async fn a_deleted_version_is_not_there() {
    let server = Server::new().await;
    let version = server.put("crm", b"value-of-crm").await.unwrap();
    server.put("crm", b"value-of-another").await.unwrap();
    let delete = json!({ "versions": [version.parse::<u64>().unwrap()] });
    server.run("POST", "kv/delete/healthcare/crm", delete).await;
    let given = server.given(Way::Good).await.unwrap();
    let start = server.start(given).await;
    let error = start.resolve(URI, Some(&version)).await.unwrap_err();
    assert_eq!(error.code, "unknown_version", "{error}");
}

#[tokio::test]
async fn a_token_of_the_step_opens_what_its_claims_are_bound_to() {
    let server = Server::new().await;
    server.put("crm", b"value-of-crm").await.unwrap();
    let issuer = Issuer::start().await.unwrap();
    let key = Key::es256("one").unwrap();
    issuer.publish(&[&key]);
    server.bao.trust(&issuer.url).await.unwrap();
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["https://vault.example"],
        "bound_claims": { "project": PROJECT }, "token_policies": "reads",
    });
    server.run("POST", "auth/jwt/role/steps", role).await;
    let resolve = async |project: &str, audience: &str, lives: i64| {
        let now = SystemClock.now().epoch_seconds();
        let token = key.token(&json!({
            "iss": issuer.url, "sub": "step", "aud": audience, "project": project,
            "iat": now - 600, "nbf": now - 600, "exp": now + lives,
        }));
        let given = Given {
            settings: settings(&[("address", &server.bao.url), ("role", "steps")]),
            tokens: BTreeMap::from([(SCHEME.to_owned(), SecretValue::new(token.into()))]),
            ..Given::default()
        };
        let resolved = server.start(given).await.resolve(URI, None).await;
        resolved.map_err(|error| error.code)
    };
    let good = "https://vault.example";
    let own = resolve(PROJECT, good, 60).await.unwrap();
    assert_eq!(own.value.expose(), b"value-of-crm");
    for (project, audience, lives) in [
        ("finance", good, 60),
        (PROJECT, "https://other.example", 60),
        (PROJECT, good, -300),
    ] {
        let refused = resolve(project, audience, lives).await.unwrap_err();
        assert_eq!(refused, "wrong_credential", "{project} {audience} {lives}");
    }
    // The profile has not the audience.
    let given = Given {
        settings: settings(&[("address", &server.bao.url), ("role", "steps")]),
        ..Given::default()
    };
    let error = server
        .start(given)
        .await
        .resolve(URI, None)
        .await
        .unwrap_err();
    assert_eq!(error.code, "no_login", "{error}");
}

#[tokio::test]
async fn tls_is_believed_by_the_authorities_that_the_host_names() {
    let server = Server::new().await;
    let kv = json!({ "type": "kv", "options": { "version": "2" } });
    server
        .with_tls
        .run("POST", "sys/mounts/kv", kv)
        .await
        .unwrap();
    let mut given = Server::by_approle(&server.with_tls.url, "crm", "s.neverheld");
    let ca = std::fs::read_to_string(server.with_tls.ca_file.as_ref().unwrap()).unwrap();
    given.files.insert("vault.ca".to_owned(), file(&ca));
    let error = server
        .start(given)
        .await
        .resolve(URI, None)
        .await
        .unwrap_err();
    // It has spoken to it.
    assert_eq!(error.code, "wrong_credential", "{error}");
}
