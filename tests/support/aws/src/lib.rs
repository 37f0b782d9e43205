//! An account of AWS as identity backends see it: STS, which gives sessions for tokens of an OIDC
//! issuer, and a judge of requests that are made in them.
//!
//! It answers what the API references of AWS say, and is no kinder: tokens are verified by the keys
//! that their issuer publishes, a role opens by the conditions of its trust policy alone, requests
//! must be signed, and a session may do what both its role and its session policy allow.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

pub mod agentcore;
mod oidc;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use sealfleet_domain::Clock as _;
use sealfleet_system::SystemClock;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use oidc::{Steps, TOKEN_ID};

pub const REGION: &str = "eu-west-1";
pub const ACCOUNT: &str = "111122223333";

/// The ARN of a role of the account.
#[must_use]
pub fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

/// A role, and whom it trusts.
#[derive(Clone, Debug)]
pub struct Role {
    pub arn: String,
    /// `ISSUER:aud` of its trust policy.
    pub audience: String,
    /// `ISSUER:sub` begins with it.
    pub subject: String,
    /// What it may do: actions, and what their resources begin with.
    pub may: Vec<(String, String)>,
}

/// A session of a role.
#[derive(Clone, Debug)]
pub struct Session {
    pub role: Role,
    pub name: String,
    pub source_identity: Option<String>,
    secret: String,
    token: String,
    policy: Value,
}

/// A refusal, by its code and words.
pub type Refusal = (StatusCode, &'static str, String);

struct Held {
    roles: Vec<Role>,
    sessions: BTreeMap<String, Session>,
    waits: Duration,
    is_inactive: bool,
}

/// The account.
#[derive(Clone)]
pub struct Account {
    /// Where its STS is.
    pub sts: String,
    /// The issuer that it has an OIDC provider of.
    issuer: String,
    held: Arc<Mutex<Held>>,
}

impl Account {
    /// An account with these roles, and an OIDC provider of this issuer. It serves for as long as
    /// the runtime lives.
    pub async fn start(issuer: &str, roles: Vec<Role>) -> Self {
        // The HTTP client wants a TLS provider to be there. It may be already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let account = Self {
            sts: format!("http://{}", listener.local_addr().unwrap()),
            issuer: issuer.to_owned(),
            held: Arc::new(Mutex::new(Held {
                roles,
                sessions: BTreeMap::new(),
                waits: Duration::ZERO,
                is_inactive: false,
            })),
        };
        let app = Router::new().route("/", post(assume));
        let app = app.with_state(account.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        account
    }

    /// All answers take this long from now on.
    pub fn wait(&self, time: Duration) {
        self.held.lock().unwrap().waits = time;
    }

    /// Its STS is not active in this Region any more.
    pub fn deactivate_sts(&self) {
        self.held.lock().unwrap().is_inactive = true;
    }

    pub async fn pause(&self) {
        let time = self.held.lock().unwrap().waits;
        tokio::time::sleep(time).await;
    }

    /// The sessions that there are.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.held
            .lock()
            .unwrap()
            .sessions
            .values()
            .cloned()
            .collect()
    }

    /// Whether a request is signed in a session, and which it is. `path` is that of its URL.
    ///
    /// # Errors
    /// As AWS refuses it.
    pub fn signed(
        &self,
        service: &str,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Session, Refusal> {
        let refused = |code| (StatusCode::BAD_REQUEST, code, String::new());
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        let authorization = text("authorization");
        if authorization.is_empty() {
            return Err(refused("MissingAuthenticationTokenException"));
        }
        let of = |name: &str| {
            let rest = authorization.split_once(&format!("{name}="));
            rest.and_then(|(_, rest)| rest.split([',', '/']).next())
        };
        let id = of("Credential").unwrap_or_default();
        let sessions = self.sessions_by_id();
        let session = sessions
            .get(id)
            .ok_or_else(|| refused("UnrecognizedClientException"))?;
        if text("x-amz-security-token") != session.token {
            return Err(refused("UnrecognizedClientException"));
        }
        let url = format!("http://{}{path}", text("host"));
        let covered = of("SignedHeaders").unwrap_or_default();
        let own = ["host", "x-amz-date", "x-amz-security-token"];
        let covered = covered.split(';').filter(|name| !own.contains(name));
        let covered: Vec<(&str, &str)> = covered.map(|name| (name, text(name))).collect();
        let credentials = Credentials::new(
            id,
            &session.secret,
            Some(session.token.clone()),
            None,
            "test",
        );
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name(service)
            .time(date(text("x-amz-date")).ok_or_else(|| refused("InvalidSignatureException"))?)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let body = SignableBody::Bytes(body);
        let signable = SignableRequest::new("POST", &url, covered.into_iter(), body).unwrap();
        let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
        let mut headers = instructions.headers();
        let expected = headers.find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        match expected {
            Some((_, expected)) if expected == authorization => Ok(session.clone()),
            _ => Err(refused("InvalidSignatureException")),
        }
    }

    fn sessions_by_id(&self) -> BTreeMap<String, Session> {
        self.held.lock().unwrap().sessions.clone()
    }

    async fn assumed(&self, form: &BTreeMap<String, String>) -> Result<(String, Session), Refusal> {
        let of = |name: &str| form.get(name).map_or("", String::as_str);
        let invalid = |words: &str| {
            let code = "ValidationError";
            (StatusCode::BAD_REQUEST, code, words.to_owned())
        };
        if (of("Action"), of("Version")) != ("AssumeRoleWithWebIdentity", "2011-06-15") {
            return Err(invalid("no such action"));
        }
        let name = of("RoleSessionName");
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter);
        if !(2..=64).contains(&name.len()) || !name.chars().all(is_name) {
            return Err(invalid("RoleSessionName"));
        }
        let seconds: u32 = of("DurationSeconds").parse().unwrap_or(3600);
        if !(900..=3600).contains(&seconds) || of("Policy").len() > 2048 {
            return Err(invalid("DurationSeconds or Policy"));
        }
        if !of("RoleArn").starts_with("arn:aws:iam::") {
            return Err(invalid("RoleArn"));
        }
        if self.held.lock().unwrap().is_inactive {
            let code = "RegionDisabledException";
            return Err((StatusCode::FORBIDDEN, code, String::new()));
        }
        let claims = oidc::verified(&self.issuer, of("WebIdentityToken")).await?;
        let held = self.held.lock().unwrap();
        let trusts = |role: &&Role| {
            let subject = claims["sub"].as_str().unwrap_or_default();
            role.arn == of("RoleArn")
                && claims["aud"] == json!(role.audience)
                && subject.starts_with(&role.subject)
        };
        let role = held.roles.iter().find(trusts).cloned().ok_or_else(|| {
            let words = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
            (StatusCode::FORBIDDEN, "AccessDenied", words.to_owned())
        })?;
        let source = claims["https://aws.amazon.com/source_identity"].as_str();
        let secret = || uuid::Uuid::new_v4().simple().to_string();
        let session = Session {
            role,
            name: name.to_owned(),
            source_identity: source.map(str::to_owned),
            secret: secret(),
            token: secret(),
            policy: serde_json::from_str(of("Policy")).unwrap_or_default(),
        };
        Ok((format!("ASIA{}", secret().to_uppercase()), session))
    }
}

impl Session {
    /// Whether role and session policy both allow it, with what the request says besides.
    #[must_use]
    pub fn may(&self, action: &str, resource: &str, context: &[(&str, &str)]) -> bool {
        let role = self
            .role
            .may
            .iter()
            .any(|(allowed, below)| allowed == action && resource.starts_with(below.as_str()));
        let statements = self.policy["Statement"].as_array();
        let allows = |statement: &Value| {
            let of = |name: &str, asked: &str| {
                let one = &statement[name];
                let listed = one
                    .as_array()
                    .is_some_and(|all| all.contains(&json!(asked)));
                *one == json!(asked) || *one == json!("*") || listed
            };
            let conditions = statement["Condition"].as_object().into_iter().flatten();
            let mut conditions = conditions.flat_map(|(operator, keys)| {
                let keys = keys.as_object().into_iter().flatten();
                keys.map(move |(key, value)| (operator, key, value))
            });
            let holds = conditions.all(|(operator, key, value)| {
                let given = context.iter().find(|(name, _)| name == key);
                operator == "StringEquals" && given.is_some_and(|(_, given)| value == given)
            });
            statement["Effect"] == "Allow"
                && of("Action", action)
                && of("Resource", resource)
                && holds
        };
        role && statements.is_some_and(|all| all.iter().any(allows))
    }
}

async fn assume(State(account): State<Account>, body: String) -> Response {
    account.pause().await;
    let form = reqwest::Url::parse(&format!("form:?{body}")).unwrap();
    let form = form.query_pairs().into_owned().collect();
    match account.assumed(&form).await {
        Ok((id, session)) => {
            let (secret, token) = (session.secret.clone(), session.token.clone());
            let mut held = account.held.lock().unwrap();
            held.sessions.insert(id.clone(), session);
            format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>{token}</SessionToken>\
                 <SecretAccessKey>{secret}</SecretAccessKey><AccessKeyId>{id}</AccessKeyId></Credentials>\
                 </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
            )
            .into_response()
        }
        Err((status, code, words)) => {
            let body = format!(
                "<ErrorResponse><Error><Code>{code}</Code><Message>{words}</Message></Error></ErrorResponse>"
            );
            (status, body).into_response()
        }
    }
}

/// Since the Unix epoch.
fn now() -> Duration {
    Duration::from_secs(SystemClock.now().epoch_seconds().unsigned_abs())
}

/// The time of `20260131T080000Z`, if it is within fifteen minutes of now, as AWS demands.
fn date(text: &str) -> Option<SystemTime> {
    let digits = text.replace(['T', 'Z'], "");
    let number = |from: usize, to: usize| digits.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    // Days of the civil calendar since the epoch; years begin with March.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = u64::try_from(seconds).ok()?;
    (seconds.abs_diff(now().as_secs()) < 900)
        .then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
