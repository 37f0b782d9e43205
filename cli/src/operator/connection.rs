//! Where the control plane is, who calls it, and how answers are printed.
//!
//! Address and token come from an option, else from the environment, else from a context: the one
//! that `--context` or `SEALFLEET_CONTEXT` names, or the current one. The token of a context goes
//! to the address of that context and nowhere else.

use std::path::{Path, PathBuf};

use clap::Args;
use sealfleet_client::{Client, Credential, Error};

use super::failure::Failure;
use super::input;
use super::output::{Output, note};
use crate::contexts::{self, Context, Name};

/// Options that stand before the command.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Address of the control plane, `https://HOST`
    #[arg(long, value_name = "URL", env = "SEALFLEET_API_URL")]
    pub api_url: Option<String>,
    /// File with the API token, readable by its owner alone; `-` reads standard input
    #[arg(long, value_name = "FILE", env = "SEALFLEET_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Context with address and token, as `login` stores them; options and variables for these win
    /// over it [default: the current one]
    #[arg(long, value_name = "NAME", env = "SEALFLEET_CONTEXT")]
    pub context: Option<Name>,
    /// How to print answers, and why a command failed [default: text]
    #[arg(long, value_enum)]
    pub output: Option<Output>,
}

/// The same options after the command. They win over those before it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(super) struct GroupOptions {
    /// Address of the control plane, `https://HOST` [env: SEALFLEET_API_URL]
    #[arg(long, value_name = "URL", global = true)]
    api_url: Option<String>,
    /// File with the API token; `-` reads standard input [env: SEALFLEET_TOKEN_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Context with address and token [env: SEALFLEET_CONTEXT] [default: the current one]
    #[arg(long, value_name = "NAME", global = true)]
    context: Option<Name>,
    /// How to print answers, and why a command failed [default: text]
    #[arg(long, value_enum, global = true)]
    output: Option<Output>,
}

/// The options that every command gets, merged.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) api_url: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) context: Option<Name>,
    pub(super) output: Output,
}

impl GroupOptions {
    pub(super) fn over(self, before: Options) -> Connection {
        Connection {
            api_url: self.api_url.or(before.api_url),
            token_file: self.token_file.or(before.token_file),
            context: self.context.or(before.context),
            output: self.output.or(before.output).unwrap_or_default(),
        }
    }
}

impl Connection {
    /// A client with the user's token.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        self.client_at(None)
    }

    /// A client with the user's token, at `told` unless an option or variable names another
    /// address.
    pub(super) fn client_at(&self, told: Option<&str>) -> Result<Client, Failure> {
        let (url, credential) = self.whom(told)?;
        client(&url, credential)
    }

    /// The address of the control plane, and the user's token.
    pub(super) fn whom(&self, told: Option<&str>) -> Result<(String, Credential), Failure> {
        let context = self.selected()?;
        let url = self.api_url.as_deref().or(told);
        let of_context = context
            .as_ref()
            .map(|(_, context)| context.api_url.as_str());
        let url = url.or(of_context).ok_or_else(|| {
            Failure::Usage(
                "name the control plane by `--api-url` or `SEALFLEET_API_URL`, or log in with `sealfleet login`"
                    .to_owned(),
            )
        })?;
        let variable = std::env::var_os("SEALFLEET_TOKEN_FILE").map(PathBuf::from);
        if let (Some((name, _)), None, None) = (&context, &self.api_url, told)
            && variable.is_some()
            && self.token_file == variable
        {
            return Err(Failure::Usage(format!(
                "`SEALFLEET_TOKEN_FILE` names a token, and the address would come from the context `{name}`: name the \
                 address by `--api-url` or `SEALFLEET_API_URL`, or unset the variable"
            )));
        }
        let credential = match (&self.token_file, &context) {
            (Some(file), _) => token(file)?,
            (None, Some((name, context))) if same(url, &context.api_url) => {
                Credential::read(&context.token_file).map_err(|error| {
                    Failure::Usage(format!(
                        "context `{name}`: {error}; log in again with `sealfleet login --context {name}`"
                    ))
                })?
            }
            (None, Some((name, context))) => {
                return Err(Failure::Usage(format!(
                    "the token of the context `{name}` goes to `{}` alone, and the address is `{url}`: name a \
                     token for it by `--token-file` or `SEALFLEET_TOKEN_FILE`",
                    context.api_url
                )));
            }
            (None, None) => {
                return Err(Failure::Usage(
                    "name the file with your token by `--token-file` or `SEALFLEET_TOKEN_FILE`, or log in with \
                     `sealfleet login`"
                        .to_owned(),
                ));
            }
        };
        if let (Some(name), Some(of_context)) = (&self.context, of_context)
            && !same(url, of_context)
        {
            note(&format!(
                "the address `{url}` of an option or variable wins over the context `{name}`\n"
            ));
        }
        Ok((url.to_owned(), credential))
    }

    /// The context that is named, or the current one. Not looked for where nothing of it is needed.
    pub(super) fn selected(&self) -> Result<Option<(Name, Context)>, Failure> {
        let complete = self.api_url.is_some() && self.token_file.is_some();
        if complete && self.context.is_none() {
            return Ok(None);
        }
        let place = match contexts::Place::of_user() {
            Ok(place) => place,
            Err(contexts::Error::NoHome) if self.context.is_none() => return Ok(None),
            Err(error) => return Err(Failure::usage(error)),
        };
        let mut all = place.load()?;
        let Some(name) = self.context.clone().or(all.current.take()) else {
            return Ok(None);
        };
        match all.contexts.remove(&name) {
            Some(context) => Ok(Some((name, context))),
            None => Err(Failure::Usage(super::near::unknown(
                "context",
                &name.to_string(),
                all.contexts.keys(),
            ))),
        }
    }

    /// The control plane's address: the one that is given, or `told`.
    pub(super) fn address<'a>(&'a self, told: Option<&'a str>) -> Option<&'a str> {
        self.api_url.as_deref().or(told)
    }

    /// Whether the token comes from standard input, so that no other input can.
    pub(super) fn takes_standard_input(&self) -> bool {
        self.token_file
            .as_deref()
            .is_some_and(|file| file.as_os_str() == "-")
    }
}

pub(super) fn client(url: &str, credential: Credential) -> Result<Client, Failure> {
    Client::new(url, Some(credential)).map_err(|error| match error {
        Error::Address { url, reason } => Failure::Usage(format!(
            "the address `{url}` of the control plane (`--api-url`, `SEALFLEET_API_URL`) cannot be used: {reason}"
        )),
        error => error.into(),
    })
}

/// The token of a file, or of standard input for `-`.
pub(super) fn token(file: &Path) -> Result<Credential, Failure> {
    if file.as_os_str() == "-" {
        Credential::one_line(&input::standard_input(input::TOKEN_BYTES)?)
            .ok_or_else(|| Failure::Usage("standard input does not hold a token".to_owned()))
    } else {
        Credential::read(file).map_err(|error| {
            Failure::Usage(format!(
                "your token (`--token-file`, `SEALFLEET_TOKEN_FILE`): {error}"
            ))
        })
    }
}

/// Whether two addresses are the same control plane.
fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
