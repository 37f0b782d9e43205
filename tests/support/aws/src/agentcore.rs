//! The data plane of Amazon Bedrock AgentCore Identity, as far as the product asks it.
//!
//! Members, lengths, patterns, statuses and codes are those of AWS's model of the service
//! (`bedrock-agentcore`, 2024-02-28). A call needs a permission for each resource that it touches,
//! as "Scope down access to credential providers by workload identity" (AgentCore's Developer
//! Guide) has them, and one for the secret that keeps the credential. A member that the product has
//! no use for is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{ACCOUNT, Account, REGION, Refusal, Role, Session, role_arn};

/// The audience of tokens for its roles.
pub const AUDIENCE: &str = "sealfleet.agentcore";
/// Its only workload identity.
pub const WORKLOAD: &str = "steps";
/// What a step's role may do.
pub const ACTIONS: [&str; 4] = [
    "bedrock-agentcore:GetWorkloadAccessToken",
    "bedrock-agentcore:GetResourceApiKey",
    "bedrock-agentcore:GetResourceOauth2Token",
    "secretsmanager:GetSecretValue",
];

/// The service.
#[derive(Clone)]
pub struct AgentCore {
    pub account: Account,
    pub url: String,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    /// API keys, by provider.
    keys: BTreeMap<String, String>,
    /// OAuth2 providers.
    oauth2: BTreeMap<String, Grant>,
    /// The workload access tokens that were given.
    tokens: BTreeSet<String>,
    /// The scopes that access tokens were asked for last, by provider.
    scopes: BTreeMap<String, Vec<String>>,
    /// The paths of all requests, and whether they were signed.
    asked: Vec<(String, bool)>,
}

/// What an OAuth2 provider does.
#[derive(Clone, Debug)]
pub enum Grant {
    /// Gives a machine this access token.
    Token(String),
    /// Wants a person's consent.
    Consent,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ForWorkload {
    workload_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ForKey {
    workload_identity_token: String,
    resource_credential_provider_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ForToken {
    workload_identity_token: String,
    resource_credential_provider_name: String,
    scopes: Vec<String>,
    oauth2_flow: String,
}

/// A role that steps of a project assume, and that may do these [`ACTIONS`].
#[must_use]
pub fn role(name: &str, project: &str, may: &[&str]) -> Role {
    let own = |action: &&str| {
        let service = action.split(':').next().unwrap();
        let below = match service {
            "secretsmanager" => "secret:bedrock-agentcore-identity!default/",
            _ => "",
        };
        let arn = format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{below}");
        ((*action).to_owned(), arn)
    };
    Role {
        arn: role_arn(name),
        audience: AUDIENCE.to_owned(),
        subject: format!("project:{project}:"),
        may: may.iter().map(own).collect(),
    }
}

impl AgentCore {
    /// Starts it in an account. It serves for as long as the runtime lives.
    pub async fn start(account: Account) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let here = Self {
            account,
            url: format!("http://{}", listener.local_addr().unwrap()),
            held: Arc::default(),
        };
        let app = Router::new()
            .route("/identities/GetWorkloadAccessToken", post(answer))
            .route("/identities/api-key", post(answer))
            .route("/identities/oauth2/token", post(answer))
            .with_state(here.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        here
    }

    /// Keeps an API key in the provider of this name.
    pub fn put_key(&self, provider: &str, key: &str) {
        let mut held = self.held.lock().unwrap();
        held.keys.insert(provider.to_owned(), key.to_owned());
    }

    /// Makes an OAuth2 provider.
    pub fn put_oauth2(&self, provider: &str, grant: Grant) {
        let mut held = self.held.lock().unwrap();
        held.oauth2.insert(provider.to_owned(), grant);
    }

    /// The scopes that a provider's last access token was asked for.
    #[must_use]
    pub fn scopes(&self, provider: &str) -> Vec<String> {
        let held = self.held.lock().unwrap();
        held.scopes.get(provider).cloned().unwrap_or_default()
    }

    /// The paths that were asked so far, and whether in a session.
    #[must_use]
    pub fn asked(&self) -> Vec<(String, bool)> {
        self.held.lock().unwrap().asked.clone()
    }

    fn answered(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
        let signed = self
            .account
            .signed("bedrock-agentcore", path, headers, body);
        let asked = (path.to_owned(), signed.is_ok());
        self.held.lock().unwrap().asked.push(asked);
        // A REST API answers a bad signature with 403.
        let session = signed.map_err(|(_, code, words)| (StatusCode::FORBIDDEN, code, words))?;
        match path {
            "/identities/GetWorkloadAccessToken" => self.workload_token(&session, &read(body)?),
            "/identities/api-key" => self.api_key(&session, &read(body)?),
            _ => self.access_token(&session, &read(body)?),
        }
    }

    fn workload_token(&self, session: &Session, asked: &ForWorkload) -> Result<Value, Refusal> {
        let name = &asked.workload_name;
        check(name, 3..=255, "_.-")?;
        let needed = [directory(), workload(name)];
        permitted(session, "bedrock-agentcore:GetWorkloadAccessToken", &needed)?;
        if name != WORKLOAD {
            return Err(not_found());
        }
        let token = uuid::Uuid::new_v4().to_string();
        self.held.lock().unwrap().tokens.insert(token.clone());
        Ok(json!({ "workloadAccessToken": token }))
    }

    fn api_key(&self, session: &Session, asked: &ForKey) -> Result<Value, Refusal> {
        let provider = &asked.resource_credential_provider_name;
        self.known(&asked.workload_identity_token)?;
        let action = "bedrock-agentcore:GetResourceApiKey";
        of_provider(session, action, "apikey", provider)?;
        let held = self.held.lock().unwrap();
        let key = held.keys.get(provider).ok_or_else(not_found)?;
        Ok(json!({ "apiKey": key }))
    }

    fn access_token(&self, session: &Session, asked: &ForToken) -> Result<Value, Refusal> {
        let provider = &asked.resource_credential_provider_name;
        let is_scope = |scope: &String| (1..=128).contains(&scope.len());
        if asked.oauth2_flow != "M2M" || !asked.scopes.iter().all(is_scope) {
            return Err(invalid("oauth2Flow or scopes"));
        }
        self.known(&asked.workload_identity_token)?;
        let action = "bedrock-agentcore:GetResourceOauth2Token";
        of_provider(session, action, "oauth2", provider)?;
        let mut held = self.held.lock().unwrap();
        let grant = held.oauth2.get(provider).cloned().ok_or_else(not_found)?;
        held.scopes.insert(provider.clone(), asked.scopes.clone());
        Ok(match grant {
            Grant::Token(token) => json!({ "accessToken": token }),
            Grant::Consent => {
                json!({ "authorizationUrl": "https://login.example/?request_uri=urn:x" })
            }
        })
    }

    /// Whether a workload access token was given.
    fn known(&self, token: &str) -> Result<(), Refusal> {
        match self.held.lock().unwrap().tokens.contains(token) {
            true => Ok(()),
            false => {
                let code = "UnauthorizedException";
                Err((StatusCode::UNAUTHORIZED, code, String::new()))
            }
        }
    }
}

/// What a provider's credential needs: the provider, its vault, the workload, its directory, and
/// the secret that keeps the credential.
fn of_provider(session: &Session, action: &str, kind: &str, provider: &str) -> Result<(), Refusal> {
    check(provider, 1..=128, "-_")?;
    let vault = arn("token-vault/default");
    let own = format!("{vault}/{kind}credentialprovider/{provider}");
    permitted(
        session,
        action,
        &[directory(), workload(WORKLOAD), vault, own],
    )?;
    let secret = format!(
        "arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:bedrock-agentcore-identity!default/{kind}/{provider}-AbCdEf"
    );
    permitted(session, "secretsmanager:GetSecretValue", &[secret])
}

fn permitted(session: &Session, action: &str, resources: &[String]) -> Result<(), Refusal> {
    match resources.iter().all(|one| session.may(action, one, &[])) {
        true => Ok(()),
        false => {
            let code = "AccessDeniedException";
            Err((StatusCode::FORBIDDEN, code, "is not authorized".to_owned()))
        }
    }
}

fn arn(below: &str) -> String {
    format!("arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:{below}")
}

fn directory() -> String {
    arn("workload-identity-directory/default")
}

fn workload(name: &str) -> String {
    format!("{}/workload-identity/{name}", directory())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| invalid(&error.to_string()))
}

/// A name of letters, digits and these characters.
fn check(name: &str, length: std::ops::RangeInclusive<usize>, more: &str) -> Result<(), Refusal> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || more.contains(letter);
    match length.contains(&name.len()) && name.chars().all(is_of_name) {
        true => Ok(()),
        false => Err(invalid("a name")),
    }
}

fn invalid(words: &str) -> Refusal {
    let code = "ValidationException";
    (StatusCode::BAD_REQUEST, code, words.to_owned())
}

fn not_found() -> Refusal {
    let code = "ResourceNotFoundException";
    (StatusCode::NOT_FOUND, code, String::new())
}

async fn answer(
    State(here): State<AgentCore>,
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
