//! The audit trail: read through the API, verified as exported.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Subcommand;
use sealfleet_client::{AuditQuery, Client, PageQuery};
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::{RunId, Timestamp};

use super::archive;
use super::connection::{Connection, Output};
use super::failure::Failure;
use super::output::{Table, json_line, list, or_dash, word, write};

/// How far apart the clocks of two writers may be: so much is read again when following.
const OVERLAP_SECONDS: i64 = 10;

#[derive(Subcommand)]
pub enum Command {
    /// List the project's entries, oldest first
    List {
        /// Only those of this run
        #[arg(long)]
        run: Option<RunId>,
        /// Only those of this moment and later: `2026-01-31T08:00:00Z`
        #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
        from: Option<Timestamp>,
        /// Only those before this moment
        #[arg(long, value_name = "TIME", value_parser = Timestamp::parse, conflicts_with = "follow")]
        to: Option<Timestamp>,
        /// Stay, and print what is added: one line for each entry, as JSON one document a line
        #[arg(long)]
        follow: bool,
    },
    /// Check the exported trail against its digests. Fails when anything was touched, and names what and where
    Verify(archive::Verify),
    /// Export a range of the trail again, with your own AWS credentials: after the stream lost it
    ReExport(archive::ReExport),
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::List { run, from, to, follow } => {
            let query = AuditQuery { run_id: run, from, to, page: PageQuery { cursor: None, limit: Some(100) } };
            let client = connection.client()?;
            if follow {
                return stay(&client, query, connection.output).await;
            }
            let entries = all(&client, query).await?;
            list(connection.output, &entries, || {
                let mut table = Table::new(["AT", "ACTOR", "RUN", "EVENTS"]);
                for entry in &entries {
                    table.row([entry.at.to_string(), entry.actor.clone(), or_dash(entry.run_id), events(entry)]);
                }
                table
            })
        }
        Command::Verify(verify) => archive::verify(verify, connection.output).await,
        Command::ReExport(range) => archive::re_export(range, connection.output).await,
    }
}

async fn all(client: &Client, mut query: AuditQuery) -> Result<Vec<AuditEntry>, Failure> {
    let mut entries = Vec::new();
    loop {
        let page = client.list_audit(&query).await?;
        entries.extend(page.items);
        query.page.cursor = page.next_cursor;
        if query.page.cursor.is_none() {
            return Ok(entries);
        }
    }
}

/// Prints entries as they come, each once.
async fn stay(client: &Client, mut query: AuditQuery, output: Output) -> Result<(), Failure> {
    let mut printed = BTreeSet::new();
    loop {
        let entries = all(client, query.clone()).await?;
        for entry in entries.iter().filter(|entry| !printed.contains(&entry.event_id)) {
            match output {
                Output::Json => json_line(entry)?,
                Output::Text => {
                    let run = or_dash(entry.run_id);
                    write(&format!("{}  {}  {run}  {}\n", entry.at, entry.actor, events(entry)))?;
                }
            }
        }
        if let Some(newest) = entries.iter().map(|entry| entry.at).max() {
            let from = newest.plus_seconds(-OVERLAP_SECONDS);
            query.from = Some(query.from.map_or(from, |before| before.max(from)));
        }
        // What is older than the next question cannot come again.
        printed.extend(entries.iter().map(|entry| entry.event_id));
        printed.retain(|id| query.from.is_none_or(|from| id.made_at() >= from.plus_seconds(-OVERLAP_SECONDS)));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// What became true, by name, with the step and fence that it is about.
fn events(entry: &AuditEntry) -> String {
    let described = entry.events.iter().map(|event| {
        let value = serde_json::to_value(event).unwrap_or_default();
        let name = value.get("type").map(word).unwrap_or_default();
        let detail = [
            "step_id",
            "fence",
            "profile",
            "key",
            "code",
            "worker_id",
            "token_id",
            "state",
            "revocation_id",
            "fan_out_id",
        ];
        let detail = detail.iter().filter_map(|field| value.get(field)).map(word).collect::<Vec<_>>().join(" ");
        if detail.is_empty() { name } else { format!("{name}({detail})") }
    });
    described.collect::<Vec<_>>().join(", ")
}
