//! `whoami`: who a token makes its holder.
//!
//! A token's text says where it belongs (`docs/decisions/006-credentials-carry-their-address.md`).
//! The API is asked for something that its holder may read, so that a token that is not valid is
//! not taken for one that is. Only an admin's token can list tokens, and so say its role.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealfleet_client::{Credential, PageQuery};
use sealfleet_domain::credential::{Credential as Parsed, Home, Presented};
use sealfleet_domain::{ProjectId, Timestamp, TokenId};
use serde::Serialize;
use serde_json::Value;

use super::connection::{self, Connection};
use super::failure::Failure;
use super::listing::first;
use super::output::{answer, lines, moment, or_dash};

/// Tokens that are looked through for one's own.
const TOKENS: usize = 1000;

/// Who the caller is.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Whoami {
    Operator {
        token_id: TokenId,
    },
    ProjectToken {
        project: ProjectId,
        token_id: TokenId,
        /// `admin`; absent for a member or a viewer.
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// The claims as the JWT has them. The control plane has accepted it.
    Jwt {
        issuer: String,
        subject: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
}

pub(super) async fn run(connection: &Connection) -> Result<(), Failure> {
    let (url, credential) = connection.whom(None)?;
    let whoami = ask(&url, &credential).await?;
    answer(connection.output, &whoami, || {
        lines([
            ("api", url.clone()),
            ("you are", whoami.in_words()),
            ("expires", or_dash(whoami.expires_at().map(moment))),
        ])
    })
}

/// Whose token this is. Fails if the control plane does not take it.
pub(super) async fn ask(url: &str, credential: &Credential) -> Result<Whoami, Failure> {
    let client = connection::client(url, credential.clone())?;
    let one = PageQuery {
        cursor: None,
        limit: Some(1),
    };
    match Parsed::parse(credential.expose()) {
        Ok(Parsed::Token(Presented {
            home: Home::Operators,
            id: token_id,
            ..
        })) => {
            client.list_projects(&one).await?;
            Ok(Whoami::Operator { token_id })
        }
        Ok(Parsed::Token(Presented {
            home: Home::Project(project),
            id: token_id,
            ..
        })) => {
            client.get_project(&project).await?;
            let tokens = first(TOKENS, async |page| client.list_tokens(None, page).await).await;
            let (role, expires_at) = match tokens {
                Ok(page) => {
                    let mut tokens = page.items.into_iter();
                    let own = tokens.find(|token| token.token_id == token_id);
                    (Some("admin"), own.map(|token| token.expires_at))
                }
                Err(error) if error.status() == Some(403) => (None, None),
                Err(error) => return Err(error.into()),
            };
            Ok(Whoami::ProjectToken {
                project,
                token_id,
                role,
                expires_at,
            })
        }
        Ok(Parsed::Worker(_)) => Err(Failure::Usage(
            "this is the credential of a worker; use an API token".to_owned(),
        )),
        Ok(Parsed::EnrolmentKey(_)) => Err(Failure::Usage(
            "this is an enrolment key; use an API token".to_owned(),
        )),
        Err(_) => {
            let jwt = jwt(credential.expose()).ok_or_else(|| {
                Failure::Usage("this is neither an API token nor a JWT".to_owned())
            })?;
            client.list_runs(None, &one).await?;
            Ok(jwt)
        }
    }
}

/// Whether a token says that it is an operator's.
pub(super) fn is_operator(credential: &Credential) -> bool {
    let parsed = Parsed::parse(credential.expose());
    matches!(parsed, Ok(Parsed::Token(token)) if token.home == Home::Operators)
}

/// The claims of a JWT, unverified.
fn jwt(text: &str) -> Option<Whoami> {
    let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let claim = |name: &str| claims.get(name)?.as_str().map(str::to_owned);
    let expires = claims.get("exp").and_then(Value::as_i64);
    Some(Whoami::Jwt {
        issuer: claim("iss")?,
        subject: claim("sub")?,
        expires_at: expires.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000))),
    })
}

impl Whoami {
    pub(super) const fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Operator { .. } => None,
            Self::ProjectToken { expires_at, .. } | Self::Jwt { expires_at, .. } => *expires_at,
        }
    }

    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Operator { token_id } => format!("an operator ({token_id})"),
            Self::ProjectToken {
                project,
                token_id,
                role,
                ..
            } => format!(
                "{} of project {project} ({token_id})",
                role.unwrap_or("a member or viewer")
            ),
            Self::Jwt {
                issuer, subject, ..
            } => format!("{subject} of {issuer}"),
        }
    }
}
