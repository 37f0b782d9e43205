//! Where the control plane is, who calls it, and how answers are printed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sealfleet_client::{Client, Credential};

use super::failure::Failure;
use super::input;

/// Options that stand before the command.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Address of the control plane, `https://HOST`
    #[arg(long, value_name = "URL", env = "SEALFLEET_API_URL")]
    pub api_url: Option<String>,
    /// File with the API token, readable by its owner alone; `-` reads standard input
    #[arg(long, value_name = "FILE", env = "SEALFLEET_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// How to print answers [default: text]
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
    /// How to print answers [default: text]
    #[arg(long, value_enum, global = true)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables for people
    #[default]
    Text,
    /// One JSON document, as the API answered it
    Json,
}

/// The options that every command gets, merged.
#[derive(Debug)]
pub(super) struct Connection {
    api_url: Option<String>,
    token_file: Option<PathBuf>,
    pub(super) output: Output,
}

impl GroupOptions {
    pub(super) fn over(self, before: Options) -> Connection {
        Connection {
            api_url: self.api_url.or(before.api_url),
            token_file: self.token_file.or(before.token_file),
            output: self.output.or(before.output).unwrap_or_default(),
        }
    }
}

impl Connection {
    /// A client with the user's token.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        self.client_at(None)
    }

    /// A client with the user's token, at `api_url` if it is given.
    pub(super) fn client_at(&self, api_url: Option<&str>) -> Result<Client, Failure> {
        let missing = |what: &str| Failure::Usage(format!("name {what}"));
        let url =
            self.api_url.as_deref().or(api_url).ok_or_else(|| {
                missing("the control plane by `--api-url` or `SEALFLEET_API_URL`")
            })?;
        let file = self.token_file.as_deref();
        let file = file.ok_or_else(|| {
            missing("the file with your token by `--token-file` or `SEALFLEET_TOKEN_FILE`")
        })?;
        let credential = if file.as_os_str() == "-" {
            Credential::one_line(&input::standard_input(input::TOKEN_BYTES)?)
                .ok_or_else(|| Failure::Usage("standard input does not hold a token".to_owned()))?
        } else {
            Credential::read(file).map_err(|error| Failure::Usage(error.to_string()))?
        };
        Ok(Client::new(url, Some(credential))?)
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
