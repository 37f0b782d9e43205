//! `whoami`: who a token makes its holder.
//!
//! The API says who that is, and what it may do. How long a token is valid stands in a JWT itself,
//! and in the list of tokens for who may read it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealfleet_client::types::WhoamiView;
use sealfleet_client::{Client, Credential};
use sealfleet_domain::Timestamp;
use sealfleet_domain::access::Action;
use sealfleet_domain::credential::{Credential as Parsed, Home};
use serde::Serialize;
use serde_json::Value;

use super::connection::{self, Connection};
use super::failure::Failure;
use super::listing::first;
use super::output::{answer, lines, moment, or_dash, word};

/// Tokens that are looked through for one's own.
const TOKENS: usize = 1000;

/// Who the caller is.
#[derive(Debug, Serialize)]
pub(super) struct Whoami {
    #[serde(flatten)]
    view: WhoamiView,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

pub(super) async fn run(connection: &Connection) -> Result<(), Failure> {
    let (url, credential) = connection.whom(None)?;
    let whoami = ask(&url, &credential).await?;
    answer(connection.output, &whoami, || {
        lines([
            ("api", url.clone()),
            ("you are", whoami.in_words()),
            ("you may", whoami.view.may.join(" ")),
            ("expires", or_dash(whoami.expires_at.map(moment))),
        ])
    })
}

/// Whose token this is. Fails if the control plane does not take it.
pub(super) async fn ask(url: &str, credential: &Credential) -> Result<Whoami, Failure> {
    let expires_at = match Parsed::parse(credential.expose()) {
        Ok(Parsed::Token(_)) => None,
        Ok(Parsed::Worker(_)) => {
            let what = "this is the credential of a worker; use an API token";
            return Err(Failure::usage(what));
        }
        Ok(Parsed::EnrolmentKey(_)) => {
            return Err(Failure::usage("this is an enrolment key; use an API token"));
        }
        Err(_) => Some(expiry(credential.expose()).ok_or_else(|| {
            Failure::usage("this is neither an API token nor a JWT that expires")
        })?),
    };
    let client = connection::client(url, credential.clone())?;
    let view = client.get_whoami().await?;
    let expires_at = match expires_at {
        None => of_listed(&client, &view).await?,
        of_jwt => of_jwt,
    };
    Ok(Whoami { view, expires_at })
}

/// When the caller's token expires, if the caller may list tokens and it is among them.
async fn of_listed(client: &Client, view: &WhoamiView) -> Result<Option<Timestamp>, Failure> {
    let may_list = view
        .may
        .iter()
        .any(|name| name == Action::ListTokens.name());
    if !may_list || view.project.is_none() {
        return Ok(None);
    }
    let tokens = first(TOKENS, async |page| client.list_tokens(None, page).await).await?;
    let own = tokens
        .items
        .into_iter()
        .find(|token| view.actor == format!("token:{}", token.token_id));
    Ok(own.map(|token| token.expires_at))
}

/// Whether a token says that it is an operator's.
pub(super) fn is_operator(credential: &Credential) -> bool {
    let parsed = Parsed::parse(credential.expose());
    matches!(parsed, Ok(Parsed::Token(token)) if token.home == Home::Operators)
}

/// When a JWT expires, unverified: the control plane has still to accept it.
fn expiry(text: &str) -> Option<Timestamp> {
    let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let seconds = claims.get("exp")?.as_i64()?;
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)))
}

impl Whoami {
    pub(super) fn in_words(&self) -> String {
        let WhoamiView {
            actor,
            project,
            role,
            ..
        } = &self.view;
        match project {
            Some(project) => format!("{} of project {project} ({actor})", word(role)),
            None => format!("an operator ({actor})"),
        }
    }
}
