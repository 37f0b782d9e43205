//! `agentcore://PROVIDER`: the API key of a credential provider of Amazon Bedrock AgentCore
//! Identity; `agentcore://PROVIDER#oauth2`: an access token that the provider gets for a machine.
//!
//! The step assumes a role by its own token ([`Login`]), gets a workload access token for the
//! workload that the worker names, and asks for the credential with it. AgentCore acts for no
//! person here: a provider that wants a person's consent gives nothing.
//!
//! A provider has no versions. What a step gets is what is there when it starts, and the version on
//! record is [`VERSION`].
//!
//! API: `GetWorkloadAccessToken`, `GetResourceApiKey` and `GetResourceOauth2Token` in the "Amazon
//! Bedrock AgentCore Data Plane" API Reference.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::Url;
use sealfleet_identity::{
    Context, IdentityBackend, IdentityError, Readable, Resolved, SecretValue,
};
use sealfleet_identity_aws::{Login, Session};
use sealfleet_identity_web::{Answer, Late, Service, fault};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

/// The scheme of its references.
pub const SCHEME: &str = "agentcore";
/// What stands for a version.
pub const VERSION: &str = "unversioned";

const AGENTCORE: Service = Service("AgentCore Identity");
/// The path of the call that gives a workload access token.
const WORKLOAD_TOKEN: &str = "GetWorkloadAccessToken";
const HEADERS: [(&str, &str); 1] = [("content-type", "application/json")];
/// The key of a reference to an access token.
const OAUTH2: &str = "oauth2";

/// The backend of one step.
struct AgentCore {
    login: Login,
    address: Url,
    workload: String,
    /// The scopes of access tokens, by provider.
    scopes: BTreeMap<String, Vec<String>>,
    entered: OnceCell<Entered>,
}

/// What a step has once it has logged in.
struct Entered {
    session: Session,
    workload_token: Zeroizing<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadToken {
    workload_access_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiKey {
    api_key: String,
}

/// A token, or where a person would have to consent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OauthToken {
    access_token: Option<String>,
    authorization_url: Option<String>,
}

/// The backend, for the [`Registry`](sealfleet_identity::Registry).
///
/// Settings: `role`, `region`, and `address` and `sts`, where the services are; `workload`, the
/// name of the workload identity; `scopes.PROVIDER`, with spaces between them.
#[must_use]
pub fn open(context: Context) -> Box<dyn IdentityBackend> {
    Box::new(Late::new(context, AgentCore::of))
}

impl AgentCore {
    fn of(context: &mut Context) -> Result<Self, IdentityError> {
        let address = AGENTCORE.setting(context, "address")?;
        let scopes = context.settings.iter().filter_map(|(name, scopes)| {
            let provider = name.strip_prefix("scopes.")?.to_owned();
            let scopes = scopes.split_whitespace().map(str::to_owned);
            Some((provider, scopes.collect()))
        });
        Ok(Self {
            scopes: scopes.collect(),
            workload: AGENTCORE.setting(context, "workload")?,
            login: Login::of(AGENTCORE, context, &[&address])?,
            address: Url::parse(&address).map_err(|_| AGENTCORE.not_configured())?,
            entered: OnceCell::new(),
        })
    }

    /// Logs in, once.
    async fn entered(&self) -> Result<&Entered, IdentityError> {
        self.entered.get_or_try_init(|| self.enter()).await
    }

    async fn enter(&self) -> Result<Entered, IdentityError> {
        let session = self.login.assume(&policy()).await?;
        let asked = self.for_workload();
        let answer = self.ask(&session, WORKLOAD_TOKEN, &asked).await?;
        match answer.status.as_u16() {
            200 => {
                let token: WorkloadToken = answer.read()?;
                Ok(Entered {
                    session,
                    workload_token: Zeroizing::new(token.workload_access_token),
                })
            }
            401 => Err(wrong_credential()),
            403 => Err(fault(
                "denied",
                format!(
                    "AWS does not let the role of this step act for the workload `{}`: allow `bedrock-agentcore:GetWorkloadAccessToken` on it",
                    self.workload
                ),
            )),
            404 => Err(fault(
                "wrong_credential",
                format!("AgentCore has no workload identity `{}`", self.workload),
            )),
            _ => Err(answer.refused("the workload")),
        }
    }

    async fn ask(
        &self,
        session: &Session,
        path: &str,
        asked: &Value,
    ) -> Result<Answer, IdentityError> {
        let url = self.url(path)?;
        let asking = self
            .login
            .ask(session, "bedrock-agentcore", &url, &HEADERS, asked);
        asking.await
    }

    fn url(&self, path: &str) -> Result<Url, IdentityError> {
        let mut url = self.address.clone();
        let below = url.path_segments_mut().map(|mut parts| {
            parts
                .pop_if_empty()
                .push("identities")
                .extend(path.split('/'));
        });
        below.map_err(|()| AGENTCORE.not_configured())?;
        Ok(url)
    }

    fn for_workload(&self) -> Value {
        json!({ "workloadName": self.workload })
    }

    async fn api_key(
        &self,
        entered: &Entered,
        provider: &str,
    ) -> Result<(String, Answer), IdentityError> {
        let asked = json!({
            "workloadIdentityToken": entered.workload_token.as_str(),
            "resourceCredentialProviderName": provider,
        });
        let answer = self.ask(&entered.session, "api-key", &asked).await?;
        let answer = checked(provider, "GetResourceApiKey", answer)?;
        let ApiKey { api_key } = answer.read()?;
        Ok((api_key, answer))
    }

    async fn access_token(
        &self,
        entered: &Entered,
        provider: &str,
    ) -> Result<(String, Answer), IdentityError> {
        let scopes = self.scopes.get(provider).ok_or_else(|| {
            fault(
                "no_login",
                format!(
                    "this worker has no scopes for the provider `{provider}` (`--agentcore-scopes {provider}=SCOPE`)"
                ),
            )
        })?;
        let asked = json!({
            "workloadIdentityToken": entered.workload_token.as_str(),
            "resourceCredentialProviderName": provider,
            "oauth2Flow": "M2M",
            "scopes": scopes,
        });
        let answer = self.ask(&entered.session, "oauth2/token", &asked).await?;
        let answer = checked(provider, "GetResourceOauth2Token", answer)?;
        match answer.read()? {
            OauthToken {
                access_token: Some(token),
                ..
            } => Ok((token, answer)),
            OauthToken {
                authorization_url: Some(_),
                ..
            } => Err(fault(
                "consent_needed",
                format!(
                    "the provider `{provider}` wants a person's consent; a step gets tokens for machines only (`M2M`)"
                ),
            )),
            _ => Err(AGENTCORE.no_sense()),
        }
    }
}

#[async_trait]
impl IdentityBackend for AgentCore {
    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
        let (url, asked) = (self.url(WORKLOAD_TOKEN)?, self.for_workload());
        self.login.knock(&url, &HEADERS, &asked).await?;
        self.entered().await?;
        // Its data plane lists no providers.
        Ok(None)
    }

    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        if version.is_some_and(|version| version != VERSION) {
            let message = format!("`{SCHEME}://{name}` has no versions; leave `@VERSION` out");
            return Err(fault("unknown_version", message));
        }
        let (provider, key) = match name.split_once('#') {
            Some((provider, key)) => (provider, Some(key)),
            None => (name, None),
        };
        if !is_provider(provider) || key.is_some_and(|key| key != OAUTH2) {
            return Err(fault(
                "bad_reference",
                format!(
                    "`{SCHEME}://{name}` is malformed; write `{SCHEME}://PROVIDER` or `{SCHEME}://PROVIDER#{OAUTH2}`"
                ),
            ));
        }
        let entered = self.entered().await?;
        let (value, answer) = match key {
            None => self.api_key(entered, provider).await?,
            Some(_) => self.access_token(entered, provider).await?,
        };
        Ok(Resolved {
            value: SecretValue::new(value.into_bytes()),
            version: VERSION.to_owned(),
            request_id: answer.request_id,
            leased: false,
        })
    }
}

/// What the session may do of what its role may. AgentCore reads the stored value in Secrets
/// Manager with the rights of whoever asks.
fn policy() -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Action": [
            "bedrock-agentcore:GetWorkloadAccessToken", "bedrock-agentcore:GetResourceApiKey",
            "bedrock-agentcore:GetResourceOauth2Token", "secretsmanager:GetSecretValue",
        ],
        "Resource": "*",
    }] })
}

/// `[a-zA-Z0-9\-_]+`, of 128 characters at most.
fn is_provider(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&text.len()) && text.bytes().all(plain)
}

/// The answer of a credential provider, if it gives something.
fn checked(provider: &str, action: &str, answer: Answer) -> Result<Answer, IdentityError> {
    match answer.status.as_u16() {
        200 => Ok(answer),
        401 => Err(wrong_credential()),
        403 => Err(fault(
            "denied",
            format!(
                "AWS does not let the role of this step use the provider `{provider}`: allow `bedrock-agentcore:{action}` on it, and `secretsmanager:GetSecretValue` on its secret"
            ),
        )),
        404 => Err(fault(
            "unknown_secret",
            format!("AgentCore has no credential provider `{provider}` of this kind"),
        )),
        _ => Err(answer.refused(&format!("the provider `{provider}`"))),
    }
}

fn wrong_credential() -> IdentityError {
    fault(
        "wrong_credential",
        "AgentCore refuses the session or the workload token of this step: look at the clock of the worker's host",
    )
}
