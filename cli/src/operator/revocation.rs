//! Revocations: keys that no run may start with, and what happens to runs in flight.

use std::time::Duration;

use clap::{Args, Subcommand};
use sealfleet_client::types::{
    FanOutView, PreviewRevocation, ProfileKey, RevocationPreview, RevocationsCreated, Revoke,
};
use sealfleet_client::{Client, Error, RevocationState};
use sealfleet_domain::revocation::{Counts, Revocation};
use sealfleet_domain::{FanOutId, Line, RevocationId};

use super::connection::Connection;
use super::failure::Failure;
use super::listing::Listing;
use super::output::{Output, Table, ago, answer, joined, lines, moment, note, or_dash, page};

#[derive(Subcommand)]
pub enum Command {
    /// Revoke keys, all or none: from now on no run starts with them
    Create {
        #[command(flatten)]
        keys: Keys,
        /// Also abort the runs in flight that hold them
        #[arg(long)]
        hard: bool,
        /// Reason to record in the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: Line,
        /// Wait until every run in flight is aborted, with progress on standard error
        #[arg(long, requires = "hard")]
        wait: bool,
    },
    /// List the runs in flight that a hard revocation of these keys would abort, and revoke nothing
    Preview {
        #[command(flatten)]
        keys: Keys,
    },
    /// List the revocations in force
    List {
        /// List lifted revocations instead
        #[arg(long)]
        lifted: bool,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show one revocation
    Show {
        /// Id of the revocation
        revocation_id: RevocationId,
    },
    /// Lift a revocation; runs that it aborted stay aborted
    Lift {
        /// Id of the revocation
        revocation_id: RevocationId,
    },
    /// Show how many runs a hard revocation has aborted so far
    FanOut {
        /// Id of the fan-out
        fan_out_id: FanOutId,
        /// Wait until it is finished, with progress on standard error
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Args)]
pub struct Keys {
    /// Key and the profile that declares it: `crm/API_KEY` or `system/base/API_KEY`; may be
    /// repeated
    #[arg(long = "key", value_name = "PROFILE/KEY", value_parser = profile_key, required = true)]
    keys: Vec<ProfileKey>,
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let output = connection.output;
    match command {
        Command::Create {
            keys,
            hard,
            reason,
            wait,
        } => {
            let mut created = revoke(
                &client,
                &Revoke {
                    keys: keys.keys,
                    hard,
                    reason,
                },
            )
            .await?;
            if wait && let Some(fan_out) = created.fan_out.take() {
                created.fan_out = Some(until_finished(&client, fan_out).await?);
            }
            answer(output, &created, || created_text(&created))
        }
        Command::Preview { keys } => {
            let request = PreviewRevocation {
                keys: keys.keys,
                ..PreviewRevocation::default()
            };
            preview(output, &client.preview_revocation(&request).await?)
        }
        Command::List { lifted, listing } => {
            let state = if lifted {
                RevocationState::Lifted
            } else {
                RevocationState::Active
            };
            let revocations = listing.read(async |page| client.list_revocations(state, page).await);
            page(output, &revocations.await?, table)
        }
        Command::Show { revocation_id } => {
            show(output, &client.get_revocation(revocation_id).await?)
        }
        Command::Lift { revocation_id } => {
            show(output, &client.lift_revocation(revocation_id).await?)
        }
        Command::FanOut { fan_out_id, wait } => {
            let mut fan_out = client.get_fan_out(fan_out_id).await?;
            if wait {
                fan_out = until_finished(&client, fan_out).await?;
            }
            answer(output, &fan_out, || fan_out_text(&fan_out))
        }
    }
}

async fn revoke(client: &Client, request: &Revoke) -> Result<RevocationsCreated, Failure> {
    client.create_revocations(request).await.map_err(|error| match error {
        Error::Transport(_) => Failure::Other(format!(
            "{error}; the keys may be revoked nevertheless: check `sealfleet revocation list` before you try again"
        )),
        error => error.into(),
    })
}

/// Polls until the fan-out is finished, and prints each change on standard error.
async fn until_finished(client: &Client, mut fan_out: FanOutView) -> Result<FanOutView, Failure> {
    const FIRST: Duration = Duration::from_millis(250);
    let (mut pause, mut told) = (FIRST, None);
    loop {
        let changed = told.replace(fan_out.counts) != Some(fan_out.counts);
        if changed {
            note(&format!(
                "{}  {}\n",
                fan_out.fan_out_id,
                counts_text(&fan_out.counts)
            ));
        }
        if fan_out.finished_at.is_some() {
            return Ok(fan_out);
        }
        pause = if changed {
            FIRST
        } else {
            (pause * 2).min(Duration::from_secs(3))
        };
        tokio::time::sleep(pause).await;
        fan_out = client.get_fan_out(fan_out.fan_out_id).await?;
    }
}

fn preview(output: Output, preview: &RevocationPreview) -> Result<(), Failure> {
    answer(output, preview, || {
        let mut table = Table::new(["PROJECT", "RUN", "PROFILE", "KEY"]);
        for run in &preview.runs {
            table.row([
                run.project.to_string(),
                run.run_id.to_string(),
                run.profile.to_string(),
                run.key.clone(),
            ]);
        }
        let more = if preview.more { "and more\n" } else { "" };
        table.text() + more
    })
}

fn show(output: Output, revocation: &Revocation) -> Result<(), Failure> {
    answer(output, revocation, || {
        let lifted = revocation
            .lifted
            .as_ref()
            .map(|lifted| format!("{} by {}", moment(lifted.at), lifted.actor));
        lines([
            ("revocation", revocation.revocation_id.to_string()),
            ("profile", revocation.profile.to_string()),
            ("key", revocation.key.clone()),
            ("address", revocation.uri.to_string()),
            ("kind", kind(revocation).to_owned()),
            ("reason", revocation.reason.clone()),
            (
                "revoked",
                format!("{} by {}", moment(revocation.at), revocation.actor),
            ),
            ("lifted", or_dash(lifted)),
            ("fan-out", or_dash(revocation.fan_out_id)),
        ])
    })
}

fn created_text(created: &RevocationsCreated) -> String {
    let text = table(&created.revocations).text();
    match &created.fan_out {
        Some(fan_out) => format!("{text}\n{}", fan_out_text(fan_out)),
        None => text,
    }
}

fn table(revocations: &[Revocation]) -> Table {
    let mut table = Table::new([
        "REVOCATION",
        "PROFILE",
        "KEY",
        "KIND",
        "AT",
        "BY",
        "LIFTED",
        "REASON",
    ]);
    for revocation in revocations {
        table.row([
            revocation.revocation_id.to_string(),
            revocation.profile.to_string(),
            revocation.key.clone(),
            kind(revocation).to_owned(),
            ago(revocation.at),
            revocation.actor.clone(),
            or_dash(revocation.lifted.as_ref().map(|lifted| ago(lifted.at))),
            revocation.reason.clone(),
        ]);
    }
    table
}

const fn kind(revocation: &Revocation) -> &'static str {
    if revocation.hard { "hard" } else { "soft" }
}

fn fan_out_text(fan_out: &FanOutView) -> String {
    let counts = &fan_out.counts;
    lines([
        ("fan-out", fan_out.fan_out_id.to_string()),
        ("for", joined(&fan_out.revocations)),
        ("started", moment(fan_out.started_at)),
        ("finished", or_dash(fan_out.finished_at.map(moment))),
        ("runs aborted", counts.runs_aborted.to_string()),
        ("tasks stopped", counts.tasks_stopped.to_string()),
        ("tasks to stop", counts.tasks_unstopped.to_string()),
        ("on workers", counts.worker_sandboxes.to_string()),
        ("not stopped yet", joined(&fan_out.unstopped)),
    ])
}

fn counts_text(counts: &Counts) -> String {
    format!(
        "{} runs aborted, {} tasks stopped, {} to stop, {} sandboxes on workers",
        counts.runs_aborted, counts.tasks_stopped, counts.tasks_unstopped, counts.worker_sandboxes
    )
}

/// Parses `PROFILE/KEY`. A key contains no slash, so the last slash separates: `system/NAME/KEY`.
fn profile_key(text: &str) -> Result<ProfileKey, String> {
    let (profile, key) = text
        .rsplit_once('/')
        .filter(|(_, key)| !key.is_empty())
        .ok_or("write it as `PROFILE/KEY`: `crm/API_KEY`, `system/base/API_KEY`")?;
    Ok(ProfileKey {
        profile: profile.parse().map_err(|error| format!("{error}"))?,
        key: key.parse().map_err(|error| format!("{error}"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_with_its_profile() {
        for (text, profile) in [
            ("crm/API_KEY", "crm"),
            ("system/base/API_KEY", "system/base"),
        ] {
            let key = profile_key(text).expect("a key");
            assert_eq!(
                (key.profile.to_string().as_str(), &*key.key),
                (profile, "API_KEY")
            );
        }
        for bad in ["API_KEY", "/API_KEY", "crm/", "other/base/API_KEY", ""] {
            assert!(profile_key(bad).is_err(), "{bad}");
        }
    }
}
