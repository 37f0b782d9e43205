//! Sealed Identity profiles.

use std::collections::BTreeMap;

use clap::Subcommand;
use sealfleet_client::types::CreateProfile;
use sealfleet_domain::profile::{Profile, SecretUri};
use sealfleet_domain::{ProfileName, WorkflowName};

use super::connection::Connection;
use super::failure::Failure;
use super::input::pair;
use super::output::{Table, all_pages, answer, joined, lines, list, pairs};

#[derive(Subcommand)]
pub enum Command {
    /// Create a profile
    Create {
        /// Its name
        name: ProfileName,
        /// A plain environment variable, as KEY=VALUE; never a secret; may be repeated
        #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
        env: Vec<(String, String)>,
        /// A secret by reference, as NAME=`aws-sm://SECRET#JSON-KEY` or NAME=`builtin://NAME`; may be repeated
        #[arg(long = "secret", value_name = "NAME=URI", value_parser = reference)]
        secrets: Vec<(String, SecretUri)>,
        /// A workflow that may use it, all if none is named; may be repeated
        #[arg(long = "workflow", value_name = "WORKFLOW")]
        workflows: Vec<WorkflowName>,
    },
    /// List profiles
    List,
    /// Show one profile
    Show {
        /// Its name
        name: ProfileName,
    },
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::Create { name, env, secrets, workflows } => {
            let env = unique("env", env)?;
            let secrets = unique("secret", secrets)?;
            let request = CreateProfile { name, env, secrets, allowed_workflows: workflows };
            let profile = connection.client()?.create_profile(&request).await?;
            answer(connection.output, &profile, || text(&profile))
        }
        Command::List => {
            let client = connection.client()?;
            let profiles = all_pages!(|page| client.list_profiles(&page));
            list(connection.output, &profiles, || {
                let mut table = Table::new(["PROFILE", "VERSION", "ENV", "SECRETS", "WORKFLOWS"]);
                for profile in &profiles {
                    table.row([
                        profile.name.to_string(),
                        profile.version.to_string(),
                        joined(profile.env.keys()),
                        joined(profile.secrets.keys()),
                        joined(&profile.allowed_workflows),
                    ]);
                }
                table
            })
        }
        Command::Show { name } => {
            let profile = connection.client()?.get_profile(&name).await?;
            answer(connection.output, &profile, || text(&profile))
        }
    }
}

fn text(profile: &Profile) -> String {
    lines([
        ("profile", profile.name.to_string()),
        ("version", profile.version.to_string()),
        ("env", pairs(&profile.env)),
        ("secrets", pairs(&profile.secrets)),
        ("workflows", joined(&profile.allowed_workflows)),
        ("created", profile.created_at.to_string()),
    ])
}

fn reference(text: &str) -> Result<(String, SecretUri), String> {
    let (name, uri) = pair(text).map_err(|_| "write it as `NAME=URI`".to_owned())?;
    // The reference is not repeated: somebody may have written a value in its place.
    Ok((name, uri.parse().map_err(|error: sealfleet_domain::profile::InvalidUri| error.to_string())?))
}

fn unique<V>(option: &str, given: Vec<(String, V)>) -> Result<BTreeMap<String, V>, Failure> {
    let mut all = BTreeMap::new();
    for (name, value) in given {
        if all.insert(name.clone(), value).is_some() {
            return Err(Failure::Usage(format!("`--{option}` names `{name}` twice")));
        }
    }
    Ok(all)
}
