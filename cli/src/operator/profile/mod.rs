//! Sealed Identity profiles, owned by a project or, with an operator's token, by the system scope.

mod apply;
mod document;
mod resolve;

use std::path::PathBuf;

use clap::Subcommand;
use sealfleet_client::types::{CreateProfile, ProfileContent, ProfileVersionView};
use sealfleet_client::{Client, Code, Error};
use sealfleet_domain::acl::Acl;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::{ProfileName, Reference, WorkflowName};

use super::connection::Connection;
use super::failure::Failure;
use super::input::{pair, unique};
use super::listing::{Listing, first};
use super::near;
use super::output::{
    Output, Table, ago, answer, joined, lines, moment, or_dash, page, pairs, write,
};
use document::Changes;

/// How many profiles are looked through for a name that was meant.
const KNOWN: usize = 500;

#[derive(Subcommand)]
pub enum Command {
    /// Create or update profiles so that they match a file
    #[command(after_help = APPLY_HELP)]
    Apply {
        /// File with YAML or JSON, one or several documents; `-` reads standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Print what would change, by names of keys, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print a profile as YAML that `apply` accepts, or as JSON with `--output json`
    Export {
        /// Name of the profile
        name: ProfileName,
    },
    /// Create a profile from options; use `apply` to set every field
    Create {
        /// Name of the profile
        name: ProfileName,
        /// Plain environment variable, as KEY=VALUE; never put a secret here; may be repeated
        #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
        env: Vec<(String, String)>,
        /// Secret reference, as NAME=`aws-sm://SECRET#JSON-KEY` (append `@VERSION` to pin a
        /// version) or NAME=`builtin://NAME@VERSION`; may be repeated
        #[arg(long = "secret", value_name = "NAME=REFERENCE", value_parser = reference)]
        secrets: Vec<(String, Reference)>,
        /// Workflow that may use the profile; all may if none is named; may be repeated
        #[arg(long = "workflow", value_name = "WORKFLOW")]
        workflows: Vec<WorkflowName>,
    },
    /// List profiles
    List(Listing),
    /// Show one profile
    Show {
        /// Name of the profile
        name: ProfileName,
    },
    /// List a profile's versions, newest first: who wrote each, and which keys changed
    History {
        /// Name of the profile
        name: ProfileName,
        #[command(flatten)]
        listing: Listing,
    },
    /// Delete a profile that no run in flight uses; its history is kept
    Delete {
        /// Name of the profile
        name: ProfileName,
        /// Delete it only if it still has this version
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u32>,
    },
    /// Show what a run would start with, without starting it: each key, who set it, and whether a
    /// tool sees it
    Resolve(resolve::Question),
}

const APPLY_HELP: &str = "\
A document describes one whole profile; only `name` is required:

  name: crm
  env: {REGION: eu}                # plain variables, never a secret
  secrets:                         # references; `@VERSION` pins a version
    API_KEY: aws-sm://sealfleet/healthcare/crm#api-key
  delivery:                        # `env` unless it says `file`, or `egress`: the step sees a
    API_KEY: {egress: {to: [{host: api.example.com}]}}   # placeholder, these hosts get the value
  remove: [DEBUG]                  # keys of lower levels to remove
  tags: {team: billing}
  allowed_workflows: [billing]     # absent: all
  tools: {claude: [API_KEY]}       # the secrets that each tool sees; absent: every tool sees all
  egress:                          # the hosts that steps reach: `none`, `open`, or these
    allow: [{host: api.example.com}, {host: '*.git.example', port: 8443}]
  identity:                        # whom steps can prove themselves to, by a token
    audiences: [sts.amazonaws.com]

If somebody else changes a profile at the same time, the command fails and leaves it unchanged.";

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::Apply { file, dry_run } => apply::run(connection, &file, dry_run).await,
        Command::Export { name } => export(connection, &name).await,
        Command::Create {
            name,
            env,
            secrets,
            workflows,
        } => {
            let request = CreateProfile {
                name,
                content: ProfileContent {
                    env: unique("env", env)?,
                    secrets: unique("secret", secrets)?,
                    allowed_workflows: workflows.into_iter().collect(),
                    ..Default::default()
                },
            };
            let profile = connection.client()?.create_profile(&request).await?;
            answer(connection.output, &profile, || text(&profile))
        }
        Command::List(listing) => list_profiles(connection, listing).await,
        Command::Show { name } => {
            let profile = read(&connection.client()?, &name).await?;
            answer(connection.output, &profile, || text(&profile))
        }
        Command::History { name, listing } => history(connection, &name, listing).await,
        Command::Delete { name, if_version } => {
            let client = connection.client()?;
            match client.delete_profile(&name, if_version).await {
                Err(error) if is_absent(&error) => return Err(unknown(&client, &name).await),
                outcome => outcome?,
            }
            let deleted = serde_json::json!({ "name": name, "deleted": true });
            answer(connection.output, &deleted, || {
                format!("{name} is deleted\n")
            })
        }
        Command::Resolve(question) => resolve::run(connection, question).await,
    }
}

async fn export(connection: &Connection, name: &ProfileName) -> Result<(), Failure> {
    let document = document::of(&read(&connection.client()?, name).await?);
    match connection.output {
        Output::Json => answer(connection.output, &document, String::new),
        Output::Text => write(&document::yaml(&document)?),
    }
}

/// Reads a profile. Where there is none of this name, says which names are near.
pub(in crate::operator) async fn read(
    client: &Client,
    name: &ProfileName,
) -> Result<Profile, Failure> {
    match client.get_profile(name).await {
        Err(error) if is_absent(&error) => Err(unknown(client, name).await),
        outcome => Ok(outcome?),
    }
}

/// Whether the API says that there is nothing of this name.
pub(in crate::operator) fn is_absent(error: &Error) -> bool {
    error
        .problem()
        .is_some_and(|problem| problem.code == Code::NotFound)
}

/// The failure for a profile that there is not.
pub(in crate::operator) async fn unknown(client: &Client, name: &ProfileName) -> Failure {
    let known = first(KNOWN, async |page| client.list_profiles(page).await).await;
    let known = known.map(|page| page.items).unwrap_or_default();
    let known = known.iter().map(|profile| &profile.name);
    Failure::Refused(near::unknown("profile", name.as_str(), known))
}

async fn list_profiles(connection: &Connection, listing: Listing) -> Result<(), Failure> {
    let client = connection.client()?;
    let profiles = listing.read(async |page| client.list_profiles(page).await);
    page(connection.output, &profiles.await?, |profiles| {
        let mut table = Table::new([
            "PROFILE",
            "VERSION",
            "ENV",
            "SECRETS",
            "REMOVES",
            "WORKFLOWS",
            "TOOLS",
        ]);
        for Profile {
            name,
            version,
            content,
            ..
        } in profiles
        {
            table.row([
                name.to_string(),
                version.to_string(),
                joined(content.env.keys()),
                joined(content.secrets.keys()),
                joined(&content.remove),
                joined(&content.allowed_workflows),
                joined(
                    content
                        .tools
                        .iter()
                        .flat_map(Acl::iter)
                        .map(|(tool, _)| tool),
                ),
            ]);
        }
        table
    })
}

async fn history(
    connection: &Connection,
    name: &ProfileName,
    listing: Listing,
) -> Result<(), Failure> {
    let client = connection.client()?;
    let versions = listing.read(async |page| client.list_profile_versions(name, page).await);
    let versions = match versions.await {
        Err(error) if is_absent(&error) => return Err(unknown(&client, name).await),
        outcome => outcome?,
    };
    page(connection.output, &versions, |versions| {
        let mut table = Table::new(["VERSION", "WRITTEN", "BY", "CHANGES"]);
        for (at, version) in versions.iter().enumerate() {
            table.row([
                version.profile.version.to_string(),
                ago(version.profile.updated_at),
                version.by.clone(),
                changes(versions.get(at + 1), version),
            ]);
        }
        table
    })
}

/// What a version changed, compared with the one before it. After a deletion everything counts as
/// added.
fn changes(before: Option<&ProfileVersionView>, version: &ProfileVersionView) -> String {
    if version.deleted {
        return "deleted".to_owned();
    }
    let before = before
        .filter(|before| !before.deleted)
        .map(|before| document::of(&before.profile));
    Changes::between(before.as_ref(), &document::of(&version.profile)).text()
}

fn text(profile: &Profile) -> String {
    let content = &profile.content;
    lines([
        ("profile", profile.name.to_string()),
        ("version", profile.version.to_string()),
        ("env", pairs(&content.env)),
        ("secrets", pairs(&content.secrets)),
        ("delivery", pairs(&content.delivery)),
        ("removes", joined(&content.remove)),
        (
            "tags",
            joined(
                content
                    .tags
                    .iter()
                    .map(|(key, value)| format!("{key}={value}")),
            ),
        ),
        ("workflows", joined(&content.allowed_workflows)),
        ("tools", or_dash(content.tools.as_ref().map(tools))),
        ("egress", or_dash(content.egress.as_ref())),
        ("created", moment(profile.created_at)),
        ("updated", moment(profile.updated_at)),
    ])
}

/// The secrets that each tool sees: `claude(API_KEY,TOKEN) codex(-)`.
fn tools(tools: &Acl) -> String {
    if tools.is_empty() {
        return "no tool sees a secret".to_owned();
    }
    tools
        .iter()
        .map(|(tool, keys)| format!("{tool}({})", joined(keys)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn reference(text: &str) -> Result<(String, Reference), String> {
    let (name, uri) = pair(text).map_err(|_| "write it as `NAME=REFERENCE`".to_owned())?;
    // The error does not repeat the reference: a user may have written a value in its place.
    Ok((
        name,
        uri.parse()
            .map_err(|error: sealfleet_domain::profile::InvalidUri| error.to_string())?,
    ))
}
