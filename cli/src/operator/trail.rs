//! The audit trail as the API shows it: listed, followed, one entry.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use sealfleet_client::{AuditQuery, Client, PageQuery, all_pages};
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::{EventId, ProfileRef, RunId, Timestamp};

use super::connection::{Connection, Output};
use super::failure::Failure;
use super::output::{self, Table, answer, json_line, or_dash, word, write};

/// How far apart the clocks of two writers may be: so much is read again when following.
const OVERLAP_SECONDS: i64 = 10;

/// Which entries. Filters of one event (profile, key, type) must match one and the same.
#[derive(Args)]
pub struct Filters {
    /// Only those of this run
    #[arg(long)]
    run: Option<RunId>,
    /// Only those with an event that names this profile: `NAME`, or `system/NAME`
    #[arg(long)]
    profile: Option<ProfileRef>,
    /// Only those with an event that names this key
    #[arg(long)]
    key: Option<String>,
    /// Only those by this actor, as `kind:id`: `token:tok_…`
    #[arg(long)]
    actor: Option<String>,
    /// Only those with an event of this name: `secret.released`. Several by commas, or given again
    #[arg(long = "type", value_name = "EVENT", value_delimiter = ',')]
    types: Vec<String>,
    /// Only those of this moment and later: `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from: Option<Timestamp>,
    /// Whose trail: only your own is there for you
    #[arg(long)]
    project: Option<String>,
}

impl Filters {
    fn query(self, to: Option<Timestamp>) -> AuditQuery {
        let Self { run, profile, key, actor, types, from, project } = self;
        AuditQuery { run_id: run, profile, key, actor, types, project, from, to, page: PageQuery::default() }
    }
}

pub(super) async fn list(connection: &Connection, filters: Filters, to: Option<Timestamp>) -> Result<(), Failure> {
    let entries = all(&connection.client()?, &filters.query(to)).await?;
    output::list(connection.output, &entries, || {
        let mut table = Table::new(["AT", "ID", "ACTOR", "RUN", "EVENTS"]);
        for entry in &entries {
            let id = entry.event_id.to_string();
            table.row([entry.at.to_string(), id, entry.actor.clone(), or_dash(entry.run_id), events(entry)]);
        }
        table
    })
}

/// Prints entries as they come, each once.
pub(super) async fn follow(connection: &Connection, filters: Filters) -> Result<(), Failure> {
    let client = connection.client()?;
    let mut query = filters.query(None);
    let mut printed = BTreeSet::new();
    loop {
        let entries = all(&client, &query).await?;
        for entry in entries.iter().filter(|entry| !printed.contains(&entry.event_id)) {
            match connection.output {
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

pub(super) async fn show(connection: &Connection, id: EventId, project: Option<&str>) -> Result<(), Failure> {
    let entry = connection.client()?.get_audit_entry(id, project).await?;
    answer(connection.output, &entry, || {
        let mut text = output::lines([
            ("id", entry.event_id.to_string()),
            ("at", entry.at.to_string()),
            ("project", entry.project.clone()),
            ("actor", entry.actor.clone()),
            ("run", or_dash(entry.run_id)),
        ]);
        for event in &entry.events {
            text += &(serde_json::to_string(event).unwrap_or_default() + "\n");
        }
        text
    })
}

async fn all(client: &Client, query: &AuditQuery) -> Result<Vec<AuditEntry>, Failure> {
    let list = async |page: &PageQuery| client.list_audit(&AuditQuery { page: page.clone(), ..query.clone() }).await;
    Ok(all_pages(list).await?)
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
