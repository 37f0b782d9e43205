//! Against a stand-in of AWS STS and of AgentCore Identity's data plane, which answers what AWS
//! documents.

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
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use sealfleet_identity::{Given, Open, Registry, SecretValue};
use sealfleet_identity_agentcore::{SCHEME, VERSION, open};
use sealfleet_identity_conformance::{Lacks, PROJECT, Store, Way, conforms};
use sealfleet_test_aws::{ACCOUNT, Account, REGION, Refusal, Role};
use sealfleet_test_issuer::Key;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const AUDIENCE: &str = "sealfleet.agentcore";
const WORKLOAD: &str = "steps-of-healthcare";
const WORKLOAD_TOKEN: &str = "opaque-token-of-the-workload";
const ACTIONS: [&str; 3] = [
    "GetWorkloadAccessToken",
    "GetResourceApiKey",
    "GetResourceOauth2Token",
];

#[derive(Clone)]
struct StandIn {
    account: Account,
    url: String,
    keys: Arc<Mutex<BTreeMap<String, String>>>,
    /// A provider that wants a person's consent.
    consent: &'static str,
}

fn role(name: &str, may: &[&str]) -> Role {
    let own = format!("arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:");
    let may = may
        .iter()
        .map(|action| (format!("bedrock-agentcore:{action}"), own.clone()));
    Role {
        arn: format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
        audience: AUDIENCE.to_owned(),
        subject: format!("project:{PROJECT}:"),
        may: may.collect(),
    }
}

impl StandIn {
    async fn start() -> Self {
        let roles = vec![role("steps", &ACTIONS), role("other", &ACTIONS[..1])];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let here = Self {
            account: Account::start(roles).await,
            url: format!("http://{}", listener.local_addr().unwrap()),
            keys: Arc::default(),
            consent: "calendar",
        };
        let app = Router::new()
            .route("/identities/GetWorkloadAccessToken", post(answer))
            .route("/identities/api-key", post(answer))
            .route("/identities/oauth2/token", post(answer))
            .with_state(here.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        here
    }

    fn given_with(&self, token: String, role: &str) -> Given {
        let settings = [
            ("region", REGION.to_owned()),
            ("role", format!("arn:aws:iam::{ACCOUNT}:role/{role}")),
            ("address", self.url.clone()),
            ("sts", self.account.sts.clone()),
            ("workload", WORKLOAD.to_owned()),
            ("scopes.tickets", "tickets.read tickets.write".to_owned()),
            ("scopes.calendar", "calendar.read".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (format!("{SCHEME}.{name}"), value));
        let token = SecretValue::new(token.into_bytes());
        Given {
            settings: settings.into(),
            tokens: BTreeMap::from([(SCHEME.to_owned(), token)]),
            ..Given::default()
        }
    }

    fn token(&self, project: &str, seconds: i64) -> String {
        let claims = Account::claims(project, AUDIENCE, seconds);
        self.account.key.token(&claims)
    }

    fn answered(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
        let signed = self
            .account
            .signed("bedrock-agentcore", path, headers, body);
        // A REST API answers a bad signature with 403.
        let session = signed.map_err(|(_, code, words)| (StatusCode::FORBIDDEN, code, words))?;
        let asked: Value = serde_json::from_slice(body).unwrap();
        let refused = |status, code| Err((status, code, String::new()));
        let arn = |below: &str| format!("arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:{below}");
        let may = |action: &str, resource: &str| {
            // Session policies name all resources.
            let of_role = session.role.may.iter().any(|(allowed, below)| {
                *allowed == format!("bedrock-agentcore:{action}") && resource.starts_with(below)
            });
            of_role && session.allows(&format!("bedrock-agentcore:{action}"))
        };
        if path.ends_with("/GetWorkloadAccessToken") {
            let name = asked["workloadName"].as_str().unwrap();
            let resource = "workload-identity-directory/default/workload-identity/";
            if !may("GetWorkloadAccessToken", &arn(&format!("{resource}{name}"))) {
                return refused(StatusCode::FORBIDDEN, "AccessDeniedException");
            }
            return match name == WORKLOAD {
                true => Ok(json!({ "workloadAccessToken": WORKLOAD_TOKEN })),
                false => refused(StatusCode::NOT_FOUND, "ResourceNotFoundException"),
            };
        }
        if asked["workloadIdentityToken"] != json!(WORKLOAD_TOKEN) {
            return refused(StatusCode::UNAUTHORIZED, "UnauthorizedException");
        }
        let provider = asked["resourceCredentialProviderName"].as_str().unwrap();
        if path.ends_with("/api-key") {
            let resource = arn(&format!(
                "token-vault/default/apikeycredentialprovider/{provider}"
            ));
            if !may("GetResourceApiKey", &resource) {
                return refused(StatusCode::FORBIDDEN, "AccessDeniedException");
            }
            return match self.keys.lock().unwrap().get(provider) {
                Some(key) => Ok(json!({ "apiKey": key })),
                None => refused(StatusCode::NOT_FOUND, "ResourceNotFoundException"),
            };
        }
        let resource = arn(&format!(
            "token-vault/default/oauth2credentialprovider/{provider}"
        ));
        if !may("GetResourceOauth2Token", &resource) {
            return refused(StatusCode::FORBIDDEN, "AccessDeniedException");
        }
        let flow = asked["oauth2Flow"].as_str();
        let scopes = asked["scopes"].as_array();
        if flow != Some("M2M") || scopes.is_none_or(Vec::is_empty) {
            return refused(StatusCode::BAD_REQUEST, "ValidationException");
        }
        Ok(match provider == self.consent {
            true => json!({ "authorizationUrl": "https://login.example/?request_uri=urn:x" }),
            false => json!({ "accessToken": format!("token-for-{}", asked["scopes"]) }),
        })
    }
}

async fn answer(
    State(here): State<StandIn>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    here.account.pause().await;
    let id = [("x-amzn-requestid", "0a1b2c3d-request")];
    match here.answered(uri.path(), &headers, &body) {
        Ok(answer) => (id, answer.to_string()).into_response(),
        Err((status, code, words)) => {
            let kind = [("x-amzn-errortype", code)];
            let body = json!({ "message": words }).to_string();
            (status, id, kind, body).into_response()
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
        secret.to_owned()
    }

    async fn given(&self, way: Way) -> Result<Given, Lacks> {
        self.account.wait(match way {
            Way::Slow => Duration::from_secs(60),
            _ => Duration::ZERO,
        });
        let token = match way {
            Way::WrongLogin => {
                let key = Key::es256("other").unwrap();
                key.token(&Account::claims(PROJECT, AUDIENCE, 60))
            }
            Way::ExpiredLogin => self.token(PROJECT, -5),
            _ => self.token(PROJECT, 60),
        };
        let role = if way == Way::Denied { "other" } else { "steps" };
        let mut given = self.given_with(token, role);
        match way {
            // Nobody listens there: it is a reserved port.
            Way::Down => {
                let address = format!("{SCHEME}.address");
                given
                    .settings
                    .insert(address, "http://127.0.0.1:1".to_owned());
            }
            Way::WrongTls => {
                return Err(Lacks("TLS is that of all web backends: tried with Vault"));
            }
            _ => {}
        }
        Ok(given)
    }

    fn has_versions(&self) -> Result<(), Lacks> {
        Err(Lacks("a credential provider has no versions"))
    }

    async fn put(&self, secret: &str, value: &[u8]) -> Result<String, Lacks> {
        let text = String::from_utf8(value.to_vec());
        let text = text.map_err(|_| Lacks("an API key is text"))?;
        self.keys.lock().unwrap().insert(secret.to_owned(), text);
        Ok(VERSION.to_owned())
    }

    fn unknown_version(&self) -> String {
        "1".to_owned()
    }

    async fn put_two(&self, _: &str, _: &str, _: &str) -> Result<[String; 2], Lacks> {
        Err(Lacks("a credential provider has one credential"))
    }
}

#[tokio::test]
async fn conformance() {
    let store = StandIn::start().await;
    conforms(&store).await.unwrap();
}

#[tokio::test]
async fn an_access_token_is_for_a_machine_and_for_the_scopes_that_the_worker_names() {
    let store = StandIn::start().await;
    let resolve = async |project: &str, name: &str| {
        let given = store.given_with(store.token(project, 60), "steps");
        let registry = Registry::default().with(SCHEME, open);
        let backends = registry.open(given, Duration::from_secs(30));
        let resolved = backends.resolve(&format!("{SCHEME}://{name}"), None).await;
        resolved.map_err(|error| {
            // Where a person would consent is nobody's business here.
            assert!(!error.message.contains("login.example"), "{error}");
            error.code
        })
    };
    let token = resolve(PROJECT, "tickets#oauth2").await.unwrap();
    let text = String::from_utf8_lossy(token.value.expose()).into_owned();
    assert_eq!(text, r#"token-for-["tickets.read","tickets.write"]"#);
    assert_eq!(token.request_id.as_deref(), Some("0a1b2c3d-request"));
    for (project, name, code) in [
        (PROJECT, "calendar#oauth2", "consent_needed"),
        (PROJECT, "unnamed#oauth2", "no_login"),
        (PROJECT, "tickets#other", "bad_reference"),
        (PROJECT, "a/b", "bad_reference"),
        ("finance", "tickets#oauth2", "wrong_credential"),
    ] {
        let refused = resolve(project, name).await.unwrap_err();
        assert_eq!(refused, code, "{project} {name}");
    }
}
