//! Against a stand-in of AWS STS and Secrets Manager, which answers what AWS documents.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealfleet_identity::{Given, Open, Registry, SecretValue};
use sealfleet_identity_aws_sm::{SCHEME, open};
use sealfleet_identity_conformance::{Lacks, PROJECT, Store, Way, conforms};
use sealfleet_test_aws::{ACCOUNT, Account, REGION, Refusal, Role, Steps, TOKEN_ID, role_arn};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const AUDIENCE: &str = "sealfleet.secrets";
const SECRETS: [&str; 8] = [
    "versions",
    "never-stored",
    "known",
    "lines",
    "nul",
    "large",
    "bytes",
    "two",
];

/// Versions of a secret, oldest first.
type Versions = Vec<(String, Vec<u8>)>;

#[derive(Clone)]
struct StandIn {
    steps: Steps,
    account: Account,
    url: String,
    secrets: Arc<Mutex<BTreeMap<String, Versions>>>,
    reads: Arc<Mutex<Vec<String>>>,
}

fn role(name: &str, may: bool) -> Role {
    let action = "secretsmanager:GetSecretValue".to_owned();
    Role {
        arn: role_arn(name),
        audience: AUDIENCE.to_owned(),
        subject: format!("project:{PROJECT}:"),
        may: may.then(|| (action, arn(""))).into_iter().collect(),
    }
}

fn arn(secret: &str) -> String {
    let of_project = format!("secret:sealfleet/{PROJECT}/");
    let below = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:{of_project}");
    match secret {
        "" => below,
        _ => format!("{below}{secret}-AbCdEf"),
    }
}

impl StandIn {
    async fn start() -> Self {
        let roles = vec![role("reader", true), role("other", false)];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let steps = Steps::start().await;
        let here = Self {
            account: Account::start(steps.url(), roles).await,
            steps,
            url: format!("http://{}", listener.local_addr().unwrap()),
            secrets: Arc::default(),
            reads: Arc::default(),
        };
        let app = Router::new().route("/", post(get_secret_value));
        let app = app.with_state(here.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        here
    }

    fn token(&self, project: &str, audience: &str, seconds: i64) -> String {
        self.steps.token(project, audience, seconds)
    }

    fn given_with(&self, token: String, role: &str) -> Given {
        let arn_of = |secret: &str| {
            let name = format!("{SCHEME}.arn.sealfleet/{PROJECT}/{secret}");
            (name, arn(secret))
        };
        let more = ["rotated", "many", "kept", "printed"];
        let mut settings: BTreeMap<String, String> =
            SECRETS.iter().chain(&more).map(|one| arn_of(one)).collect();
        for (name, value) in [
            ("region", REGION.to_owned()),
            ("role", role_arn(role)),
            ("address", self.url.clone()),
            ("sts", self.account.sts.clone()),
        ] {
            settings.insert(format!("{SCHEME}.{name}"), value);
        }
        let token = SecretValue::new(token.into_bytes());
        Given {
            settings,
            tokens: BTreeMap::from([(SCHEME.to_owned(), token)]),
            ..Given::default()
        }
    }

    fn answered(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
        let session = self.account.signed("secretsmanager", "/", headers, body)?;
        let refused = |code, words: &str| (StatusCode::BAD_REQUEST, code, words.to_owned());
        let target = headers
            .get("x-amz-target")
            .and_then(|one| one.to_str().ok());
        if target != Some("secretsmanager.GetSecretValue") {
            return Err(refused("UnknownOperationException", ""));
        }
        let asked: Value = serde_json::from_slice(body).unwrap();
        let (id, version) = (asked["SecretId"].as_str().unwrap(), &asked["VersionId"]);
        let context: Vec<(&str, &str)> = version
            .as_str()
            .map(|version| ("secretsmanager:VersionId", version))
            .into_iter()
            .collect();
        if !session.may("secretsmanager:GetSecretValue", id, &context) {
            return Err(refused("AccessDeniedException", "is not authorized"));
        }
        let secrets = self.secrets.lock().unwrap();
        let none = "Secrets Manager can't find the specified secret.";
        let versions = secrets
            .get(id)
            .ok_or_else(|| refused("ResourceNotFoundException", none))?;
        let found = match version.as_str() {
            Some(version) => versions.iter().find(|(one, _)| one == version),
            None => versions.last(),
        };
        let none = "Secrets Manager can't find the specified secret value for VersionId: x";
        let (version, value) = found.ok_or_else(|| refused("ResourceNotFoundException", none))?;
        self.reads.lock().unwrap().push(id.to_owned());
        let mut answer = json!({ "ARN": id, "VersionId": version });
        match String::from_utf8(value.clone()) {
            Ok(text) => answer["SecretString"] = json!(text),
            Err(_) => answer["SecretBinary"] = json!(STANDARD.encode(value)),
        }
        Ok(answer)
    }
}

async fn get_secret_value(
    State(here): State<StandIn>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    here.account.pause().await;
    let id = [("x-amzn-requestid", "0a1b2c3d-request")];
    match here.answered(&headers, &body) {
        Ok(answer) => (id, answer.to_string()).into_response(),
        Err((status, code, words)) => {
            let body = json!({ "__type": code, "Message": words });
            (status, id, body.to_string()).into_response()
        }
    }
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
        format!("sealfleet/{PROJECT}/{secret}")
    }

    async fn given(&self, way: Way) -> Result<Given, Lacks> {
        self.account.wait(match way {
            Way::Slow => Duration::from_secs(60),
            _ => Duration::ZERO,
        });
        let token = match way {
            Way::WrongLogin => self.steps.forged(PROJECT, AUDIENCE),
            Way::ExpiredLogin => self.token(PROJECT, AUDIENCE, -5),
            _ => self.token(PROJECT, AUDIENCE, 60),
        };
        let role = if way == Way::Denied {
            "other"
        } else {
            "reader"
        };
        let mut given = self.given_with(token, role);
        match way {
            // Nobody listens there: it is a reserved port.
            Way::Down => {
                let sts = format!("{SCHEME}.sts");
                given.settings.insert(sts, "http://127.0.0.1:1".to_owned());
            }
            Way::WrongTls => {
                return Err(Lacks("TLS is that of all web backends: tried with Vault"));
            }
            _ => {}
        }
        Ok(given)
    }

    async fn put(&self, secret: &str, value: &[u8]) -> Result<String, Lacks> {
        let mut secrets = self.secrets.lock().unwrap();
        let versions = secrets.entry(arn(secret)).or_default();
        let version = format!("0198c0de-0000-7000-8000-{:012}", versions.len());
        versions.push((version.clone(), value.to_vec()));
        Ok(version)
    }

    fn unknown_version(&self) -> String {
        "0198c0de-0000-7000-8000-000000000999".to_owned()
    }

    async fn put_two(&self, secret: &str, one: &str, other: &str) -> Result<[String; 2], Lacks> {
        let both = json!({ "one": one, "other": other }).to_string();
        self.put(secret, both.as_bytes()).await?;
        let name = self.name(secret);
        Ok([format!("{name}#one"), format!("{name}#other")])
    }
}

#[tokio::test]
async fn conformance() {
    let store = StandIn::start().await;
    conforms(&store).await.unwrap();
}

#[tokio::test]
async fn only_the_steps_project_and_audience_open_the_role() {
    let store = StandIn::start().await;
    store.put("known", b"value").await.unwrap();
    let uri = format!("{SCHEME}://sealfleet/{PROJECT}/known");
    let resolve = async |token: String| {
        let registry = Registry::default().with(SCHEME, open);
        let given = store.given_with(token, "reader");
        let backends = registry.open(given, Duration::from_secs(30));
        let resolved = backends.resolve(&uri, None).await;
        resolved.map_err(|error| error.code)
    };
    let resolved = resolve(store.token(PROJECT, AUDIENCE, 60)).await.unwrap();
    assert_eq!(resolved.value.expose(), b"value");
    assert_eq!(resolved.request_id.as_deref(), Some("0a1b2c3d-request"));
    for (project, audience) in [("healthcare2", AUDIENCE), (PROJECT, "sts.amazonaws.com")] {
        let refused = resolve(store.token(project, audience, 60)).await;
        assert_eq!(
            refused.unwrap_err(),
            "wrong_credential",
            "{project} {audience}"
        );
    }
    let [session] = &store.account.sessions()[..] else {
        panic!("one session was given");
    };
    assert_eq!(session.name, "run_1.fetch");
    // Of the signed token, not of the request.
    let source = session.source_identity.as_deref();
    assert_eq!(source, Some(TOKEN_ID));
}

/// What AWS says of a login is told apart from a step that the role does not trust.
#[tokio::test]
async fn a_login_that_fails_says_why() {
    let tried = async |store: &StandIn, role: &str| {
        let given = store.given_with(store.token(PROJECT, AUDIENCE, 60), role);
        let registry = Registry::default().with(SCHEME, open);
        let backends = registry.open(given, Duration::from_secs(30));
        let tried = backends.readable(SCHEME).await;
        tried.err().map(|error| error.code)
    };
    let store = StandIn::start().await;
    assert_eq!(tried(&store, "reader").await, None);
    assert_eq!(tried(&store, "unknown").await, Some("wrong_credential"));
    store.steps.fall_silent();
    assert_eq!(tried(&store, "reader").await, Some("unavailable"));
    store.account.deactivate_sts();
    assert_eq!(tried(&store, "reader").await, Some("denied"));
    assert!(store.reads.lock().unwrap().is_empty(), "a value was read");
}

#[tokio::test]
async fn a_session_reads_one_secret_in_one_version() {
    let store = StandIn::start().await;
    let version = store.put("known", b"first").await.unwrap();
    let newer = store.put("known", b"second").await.unwrap();
    store.put("versions", b"another").await.unwrap();
    let backends = Registry::default().with(SCHEME, open).open(
        store.given_with(store.token(PROJECT, AUDIENCE, 60), "reader"),
        Duration::from_secs(30),
    );
    let uri = format!("{SCHEME}://sealfleet/{PROJECT}/known");
    backends.resolve(&uri, Some(&version)).await.unwrap();
    backends.resolve(&uri, Some(&version)).await.unwrap();
    let reads = store.reads.lock().unwrap().len();
    assert_eq!(reads, 1, "one secret in one version is read once a start");
    let [session] = &store.account.sessions()[..] else {
        panic!("one session was given");
    };
    let may = |secret: &str, version: &str| {
        let context = [("secretsmanager:VersionId", version)];
        session.may("secretsmanager:GetSecretValue", &arn(secret), &context)
    };
    assert!(may("known", &version));
    assert!(!may("known", &newer) && !may("versions", &version));
    let unpinned = session.may("secretsmanager:GetSecretValue", &arn("known"), &[]);
    assert!(!unpinned, "the newest version, whatever it is");
}
