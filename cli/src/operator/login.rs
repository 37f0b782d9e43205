//! `login`: stores address and token of a control plane as a context.

use std::path::PathBuf;

use clap::Args;
use sealfleet_client::Credential;

use super::connection::{self, Connection};
use super::failure::Failure;
use super::input;
use super::output::{answer, lines};
use super::whoami;
use crate::contexts::{Builtin, Context, Name, Place};

/// The context that is written when nothing names another.
const DEFAULT: &str = "default";

#[derive(Args)]
pub struct Login {
    /// Encrypted store on this host that `secret put` writes to, in the place of Secrets Manager
    #[arg(long, value_name = "FILE", requires = "builtin_key_file")]
    builtin_store: Option<PathBuf>,
    /// File with the key of that store
    #[arg(long, value_name = "FILE", requires = "builtin_store")]
    builtin_key_file: Option<PathBuf>,
}

/// Checks the token, and stores both. The token comes from `--token-file`, or from standard input;
/// at a terminal it is typed without echo.
pub(super) async fn run(login: Login, connection: &Connection) -> Result<(), Failure> {
    let place = Place::of_user()?;
    let name = match &connection.context {
        Some(name) => name.clone(),
        None => DEFAULT.parse::<Name>().map_err(Failure::usage)?,
    };
    let before = place.load()?.contexts.remove(&name);
    let url = connection
        .api_url
        .clone()
        .or(before.as_ref().map(|context| context.api_url.clone()));
    let url = url.ok_or_else(|| {
        Failure::Usage("name the control plane by `--api-url` or `SEALFLEET_API_URL`".to_owned())
    })?;
    let token = match &connection.token_file {
        Some(file) => connection::token(file)?,
        None => Credential::one_line(&input::secret("Token", input::TOKEN_BYTES)?)
            .ok_or_else(|| Failure::Usage("a token is one line of text".to_owned()))?,
    };
    let whoami = whoami::ask(&url, &token).await?;
    let token_file = place.keep_token(&name, &token).map_err(Failure::other)?;
    let absolute = |path: PathBuf| std::path::absolute(path).map_err(Failure::other);
    let builtin = match login.builtin_store.zip(login.builtin_key_file) {
        Some((store, key_file)) => Some(Builtin {
            store: absolute(store)?,
            key_file: absolute(key_file)?,
        }),
        // A new token for the same control plane.
        None => before
            .filter(|context| context.api_url == url)
            .and_then(|context| context.builtin),
    };
    let context = Context {
        api_url: url,
        token_file,
        builtin,
    };
    place.add(&name, context.clone()).map_err(Failure::other)?;
    let stored = serde_json::json!({ "context": name, "whoami": whoami });
    answer(connection.output, &stored, || {
        lines([
            ("context", format!("{name} (current)")),
            ("api", context.api_url.clone()),
            ("you are", whoami.in_words()),
            ("token", context.token_file.display().to_string()),
        ])
    })
}
