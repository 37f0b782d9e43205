//! Enrolment keys.

use std::path::PathBuf;

use clap::Subcommand;
use sealfleet_client::NewFile;
use sealfleet_client::types::{CreateEnrolmentKey, EnrolmentKeyCreated};
use sealfleet_domain::{EnrolmentKeyId, Line, PoolName};

use super::connection::Connection;
use super::failure::Failure;
use super::handover::{keep, new_file, or_revoked, print};
use super::input::{pair, seconds};
use super::listing::Listing;
use super::output::{
    Output, Table, ago, answer, joined, lines, moment, note, or_dash, page, pairs,
};

#[derive(Subcommand)]
pub enum Command {
    /// Create a key for one pool and show it once
    Create {
        /// Pool that its workers join
        #[arg(long)]
        pool: PoolName,
        /// Label that a worker may declare with this key, as KEY=VALUE; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
        labels: Vec<(String, String)>,
        /// Model that a worker may declare with this key; may be repeated
        #[arg(long = "model", value_name = "MODEL")]
        models: Vec<Line>,
        /// How many workers the key may approve
        #[arg(long, default_value_t = 1)]
        max_uses: u32,
        /// How long the key is valid: `1h`
        #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "1h")]
        expires_in: u32,
        /// Write the key to this new file, readable by its owner alone, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List keys, without their secrets
    List(Listing),
    /// Revoke a key; workers that it approved stay approved
    Revoke {
        /// Id of the enrolment key
        enrolment_key_id: EnrolmentKeyId,
    },
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::Create {
            pool,
            labels,
            models,
            max_uses,
            expires_in,
            out,
        } => {
            let file = new_file(out)?;
            let labels = labels.into_iter().collect();
            let request = CreateEnrolmentKey {
                pool,
                labels,
                models,
                max_uses,
                expires_in_seconds: expires_in,
            };
            let client = connection.client()?;
            let created = client.create_enrolment_key(&request).await?;
            let id = created.view.enrolment_key_id;
            let revoke = client.revoke_enrolment_key(id);
            or_revoked(show(connection, created, file), id, revoke).await
        }
        Command::List(listing) => {
            let client = connection.client()?;
            let keys = listing.read(async |page| client.list_enrolment_keys(page).await);
            page(connection.output, &keys.await?, |keys| {
                let mut table = Table::new([
                    "ENROLMENT KEY",
                    "POOL",
                    "LABELS",
                    "MODELS",
                    "USES",
                    "EXPIRES",
                    "REVOKED",
                ]);
                for key in keys {
                    table.row([
                        key.enrolment_key_id.to_string(),
                        key.pool.to_string(),
                        pairs(&key.labels),
                        joined(&key.models),
                        format!("{}/{}", key.uses, key.max_uses),
                        ago(key.expires_at),
                        or_dash(key.revoked_at.map(ago)),
                    ]);
                }
                table
            })
        }
        Command::Revoke { enrolment_key_id } => {
            connection
                .client()?
                .revoke_enrolment_key(enrolment_key_id)
                .await?;
            let revoked =
                serde_json::json!({ "enrolment_key_id": enrolment_key_id, "revoked": true });
            answer(connection.output, &revoked, || {
                format!("{enrolment_key_id} is revoked\n")
            })
        }
    }
}

fn show(
    connection: &Connection,
    created: EnrolmentKeyCreated,
    file: Option<NewFile>,
) -> Result<(), Failure> {
    let EnrolmentKeyCreated {
        enrolment_key,
        view,
    } = created;
    match file {
        Some(file) => {
            let file = keep(file, enrolment_key)?;
            answer(connection.output, &view, || {
                lines([
                    ("enrolment key", view.enrolment_key_id.to_string()),
                    ("pool", view.pool.to_string()),
                    ("expires", moment(view.expires_at)),
                    ("file", file.display().to_string()),
                ])
            })
        }
        None if connection.output == Output::Json => {
            let document = serde_json::to_string_pretty(&EnrolmentKeyCreated {
                enrolment_key,
                view,
            });
            print(&(document.map_err(Failure::other)? + "\n"))
        }
        None => {
            let (id, pool) = (view.enrolment_key_id, &view.pool);
            note(&format!(
                "{id} for pool {pool}, valid until {}; it is shown only this once:\n",
                view.expires_at
            ));
            print(&format!("{enrolment_key}\n"))
        }
    }
}
