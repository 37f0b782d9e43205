//! `profile apply`: creates or updates profiles so that they match a file.
//!
//! The command reads each profile, compares it, and writes it only if it still has the version that
//! was read. So it never overwrites a concurrent change: it reports the conflict and writes
//! nothing.

use std::path::Path;

use sealfleet_client::types::CreateProfile;
use sealfleet_client::{Client, Code};
use sealfleet_domain::ProfileName;
use sealfleet_domain::profile::Profile;
use serde::Serialize;

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::input;
use super::super::output::{Table, list, or_dash, word};
use super::document::{self, Changes};

/// The longest file in bytes: room for several hundred profiles.
const MOST: u64 = 4 * 1024 * 1024;

/// The outcome for one profile. With `dry_run`, what the outcome would be.
#[derive(Serialize)]
struct Applied {
    profile: ProfileName,
    outcome: Outcome,
    dry_run: bool,
    /// The version now stored; none when the profile does not exist yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    changes: Changes,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Created,
    Updated,
    Unchanged,
}

pub(super) async fn run(
    connection: &Connection,
    file: &Path,
    dry_run: bool,
) -> Result<(), Failure> {
    if file.as_os_str() == "-" && connection.takes_standard_input() {
        return Err(Failure::Usage(
            "standard input cannot hold both the token and the profiles".to_owned(),
        ));
    }
    let documents = document::read(&input::file(file, MOST)?, &file.display().to_string())?;
    let client = connection.client()?;
    let mut applied = Vec::new();
    for document in documents {
        let about = format!("profile `{}`", document.name);
        match apply(&client, document, dry_run).await {
            Ok(one) => applied.push(one),
            Err(failure) => {
                // The earlier documents are written already, so report them.
                show(connection, &applied)?;
                return Err(failure.about(about));
            }
        }
    }
    show(connection, &applied)
}

async fn apply(
    client: &Client,
    document: CreateProfile,
    dry_run: bool,
) -> Result<Applied, Failure> {
    let before = present(client, &document.name).await?;
    let changes = Changes::between(before.as_ref().map(document::of).as_ref(), &document);
    let outcome = match &before {
        None => Outcome::Created,
        Some(_) if changes.is_empty() => Outcome::Unchanged,
        Some(_) => Outcome::Updated,
    };
    let profile = document.name.clone();
    let version = match (outcome, before) {
        (Outcome::Unchanged, before) => before.map(|before| before.version),
        (_, before) if dry_run => before.map(|before| before.version),
        (_, None) => Some(client.create_profile(&document).await?.version),
        (_, Some(before)) => Some(update(client, document, before.version).await?.version),
    };
    Ok(Applied {
        profile,
        outcome,
        dry_run,
        version,
        changes,
    })
}

async fn present(client: &Client, name: &ProfileName) -> Result<Option<Profile>, Failure> {
    match client.get_profile(name).await {
        Ok(profile) => Ok(Some(profile)),
        Err(error)
            if error
                .problem()
                .is_some_and(|problem| problem.code == Code::NotFound) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn update(
    client: &Client,
    document: CreateProfile,
    version: u32,
) -> Result<Profile, Failure> {
    let name = document.name.clone();
    client.put_profile(&name, &document.content, version).await.map_err(|error| match error.status() {
        Some(412) => Failure::Refused(format!(
            "somebody else changed it after version {version} was read, so nothing was written; see \
             `sealfleet profile history {name}`, bring the file up to date, and apply it again"
        )),
        _ => error.into(),
    })
}

fn show(connection: &Connection, applied: &[Applied]) -> Result<(), Failure> {
    list(connection.output, applied, || {
        let mut table = Table::new(["PROFILE", "OUTCOME", "VERSION", "CHANGES"]);
        for one in applied {
            table.row([
                one.profile.to_string(),
                in_words(one),
                or_dash(one.version),
                one.changes.text(),
            ]);
        }
        table
    })
}

fn in_words(applied: &Applied) -> String {
    match (applied.dry_run, applied.outcome) {
        (true, Outcome::Created) => "would be created".to_owned(),
        (true, Outcome::Updated) => "would be updated".to_owned(),
        (_, outcome) => word(&outcome),
    }
}
