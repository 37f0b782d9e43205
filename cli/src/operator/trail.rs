//! The audit trail through the API: list it, follow it, show one entry.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use sealfleet_client::{AuditQuery, Client, PageQuery, all_pages};
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::names::is_env_key;
use sealfleet_domain::{Clock as _, ContainmentId, EventId, ProfileRef, RunId, Timestamp};
use sealfleet_system::SystemClock;

use super::connection::Connection;
use super::failure::Failure;
use super::listing::Listing;
use super::output::{self, Output, Table, answer, json_line, or_dash, word, write};

/// How far apart two writers' clocks may be, in seconds. Following reads this much again each time.
const OVERLAP_SECONDS: i64 = 10;
/// Events whose entries may arrive late.
const LATE: [&str; 5] = [
    "secret.read_unexplained",
    "secret.revoked",
    "run.cancelled",
    "run.aborted_by_revocation",
    "step.aborted",
];
/// How far back to look for late entries, in seconds.
const LATE_SECONDS: i64 = 3600;
/// How often to look for late entries, in seconds.
const LATE_EVERY_SECONDS: i64 = 30;

/// Which entries to show. One event must match all filters on events (profile, key, type) at once.
#[derive(Args)]
pub struct Filters {
    /// Show only entries of this run
    #[arg(long)]
    run: Option<RunId>,
    /// Show only entries with an event that names this profile: `NAME`, or `system/NAME`
    #[arg(long)]
    profile: Option<ProfileRef>,
    /// Show only entries with an event that names this key: `API_KEY`, or `PROFILE/API_KEY`
    #[arg(long, value_name = "[PROFILE/]KEY", value_parser = key)]
    key: Option<Key>,
    /// Show only entries by this actor, as `kind:id`: `token:tok_…`; the id of a token or a worker
    /// is enough
    #[arg(long)]
    actor: Option<String>,
    /// Show only entries of this containment, `con_…`
    #[arg(long, value_name = "ID")]
    containment: Option<ContainmentId>,
    /// Show only entries with this event: `secret.released`; separate several by commas, or repeat
    #[arg(long = "type", value_name = "EVENT", value_delimiter = ',')]
    types: Vec<String>,
    /// Show only entries from this time on: `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from: Option<Timestamp>,
    /// Project whose trail to read; you can read only your own
    #[arg(long)]
    project: Option<String>,
}

/// A key, and the profile that declares it where that is named, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) profile: Option<ProfileRef>,
    pub(super) key: String,
}

/// Parses `KEY`, or `PROFILE/KEY` as revocations name it.
pub(super) fn key(text: &str) -> Result<Key, String> {
    let (profile, key) = match text.rsplit_once('/') {
        Some((profile, key)) => (
            Some(profile.parse().map_err(|error| format!("{error}"))?),
            key,
        ),
        None => (None, text),
    };
    if !is_env_key(key) {
        return Err("write `KEY` or `PROFILE/KEY`: `API_KEY`, `crm/API_KEY`".to_owned());
    }
    Ok(Key {
        profile,
        key: key.to_owned(),
    })
}

impl Filters {
    fn query(self, to: Option<Timestamp>) -> Result<AuditQuery, Failure> {
        let Self {
            run,
            profile,
            key,
            actor,
            containment,
            types,
            from,
            project,
        } = self;
        let (of_key, key) = key.map_or((None, None), |key| (key.profile, Some(key.key)));
        if profile.is_some() && of_key.is_some() && profile != of_key {
            return Err(Failure::Usage(
                "`--key` and `--profile` name different profiles".to_owned(),
            ));
        }
        Ok(AuditQuery {
            run_id: run,
            profile: profile.or(of_key),
            key,
            actor,
            containment,
            types,
            project,
            from,
            to,
            page: PageQuery::default(),
        })
    }
}

pub(super) async fn list(
    connection: &Connection,
    filters: Filters,
    to: Option<Timestamp>,
    listing: Listing,
) -> Result<(), Failure> {
    let (client, query) = (connection.client()?, filters.query(to)?);
    let entries = listing.read(async |page| {
        let page = page.clone();
        let query = AuditQuery {
            page,
            ..query.clone()
        };
        client.list_audit_entries(&query).await
    });
    output::page(connection.output, &entries.await?, |entries| {
        let mut table = Table::new(["AT", "ID", "ACTOR", "RUN", "EVENTS"]);
        for entry in entries {
            let id = entry.event_id.to_string();
            table.row([
                entry.at.to_string(),
                id,
                entry.actor.clone(),
                or_dash(entry.run_id),
                events(entry),
            ]);
        }
        table
    })
}

/// Prints entries as they arrive, each once.
pub(super) async fn follow(connection: &Connection, filters: Filters) -> Result<(), Failure> {
    let client = connection.client()?;
    let mut follower = Follower::new(filters.query(None)?);
    loop {
        let entries = all(&client, &follower.query).await?;
        follower.reached(&entries, SystemClock.now());
        print(connection.output, &follower.unseen(entries))?;
        if let Some(query) = follower.late_query(SystemClock.now()) {
            let entries = all(&client, &query).await?;
            print(connection.output, &follower.unseen(entries))?;
        }
        follower.forget();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn print(output: Output, entries: &[AuditEntry]) -> Result<(), Failure> {
    for entry in entries {
        match output {
            Output::Json => json_line(entry)?,
            Output::Text => {
                let run = or_dash(entry.run_id);
                write(&format!(
                    "{}  {}  {run}  {}\n",
                    entry.at,
                    entry.actor,
                    events(entry)
                ))?;
            }
        }
    }
    Ok(())
}

/// What to ask for next while following, and which answers were printed already.
///
/// Each query starts at the newest printed entry, because most entries are written at the time that
/// they carry. Two kinds are written later. The witness's entries carry the time of the secret
/// read, and are written when CloudTrail delivers that read. Entries about revoking, cancelling or
/// aborting wait in the ledger's outbox while the audit table does not answer. So a second, rarer
/// query asks again for these events of the last hour.
struct Follower {
    query: AuditQuery,
    /// The `--from` of the user. Late entries before it are not shown.
    first: Option<Timestamp>,
    /// When late entries were last asked for.
    late_asked: Option<Timestamp>,
    /// Entries that were printed and that the next query may return again.
    printed: BTreeSet<EventId>,
    /// The same for late entries.
    printed_late: BTreeSet<EventId>,
}

impl Follower {
    const fn new(query: AuditQuery) -> Self {
        Self {
            first: query.from,
            query,
            late_asked: None,
            printed: BTreeSet::new(),
            printed_late: BTreeSet::new(),
        }
    }

    /// Notes that everything before these entries was seen, except late entries. When no entries
    /// come, the start still moves to an hour ago, so that the query does not grow.
    fn reached(&mut self, entries: &[AuditEntry], now: Timestamp) {
        let newest = entries
            .iter()
            .map(|entry| entry.at.plus_seconds(-OVERLAP_SECONDS))
            .max();
        self.query.from = self
            .query
            .from
            .max(newest)
            .max(Some(now.plus_seconds(-LATE_SECONDS)));
    }

    /// The query for late entries, if it is due and the filters can match one.
    fn late_query(&mut self, now: Timestamp) -> Option<AuditQuery> {
        let wanted = &self.query.types;
        let mut types: Vec<String> = LATE.map(str::to_owned).into();
        types.retain(|name| wanted.is_empty() || wanted.contains(name));
        let due = self
            .late_asked
            .is_none_or(|asked| now.millis_since(asked) >= LATE_EVERY_SECONDS * 1000);
        if types.is_empty() || !due {
            return None;
        }
        let from = self.first.max(Some(now.plus_seconds(-LATE_SECONDS)));
        self.late_asked = Some(now);
        Some(AuditQuery {
            types,
            from,
            ..self.query.clone()
        })
    }

    /// Entries that were not printed before. Marks them as printed.
    fn unseen(&mut self, mut entries: Vec<AuditEntry>) -> Vec<AuditEntry> {
        entries.retain(|entry| {
            let late = entry
                .events
                .iter()
                .any(|event| LATE.contains(&event.name().as_str()));
            let printed = if late {
                &mut self.printed_late
            } else {
                &mut self.printed
            };
            printed.insert(entry.event_id)
        });
        entries
    }

    /// Forgets printed entries that neither query can return again.
    fn forget(&mut self) {
        let Some(from) = self
            .query
            .from
            .map(|from| from.plus_seconds(-OVERLAP_SECONDS))
        else {
            return;
        };
        self.printed.retain(|id| id.made_at() >= from);
        let late = self
            .late_asked
            .map_or(from, |asked| from.min(asked.plus_seconds(-LATE_SECONDS)));
        self.printed_late.retain(|id| id.made_at() >= late);
    }
}

pub(super) async fn show(
    connection: &Connection,
    id: EventId,
    project: Option<&str>,
) -> Result<(), Failure> {
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

pub(super) async fn all(client: &Client, query: &AuditQuery) -> Result<Vec<AuditEntry>, Failure> {
    let list = async |page: &PageQuery| {
        client
            .list_audit_entries(&AuditQuery {
                page: page.clone(),
                ..query.clone()
            })
            .await
    };
    Ok(all_pages(list).await?)
}

/// The events of an entry: name, step and fence.
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
        let detail = detail
            .iter()
            .filter_map(|field| value.get(field))
            .map(word)
            .collect::<Vec<_>>()
            .join(" ");
        if detail.is_empty() {
            name
        } else {
            format!("{name}({detail})")
        }
    });
    described.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use sealfleet_domain::audit::{Event, catalogue};
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// An event of `ago` seconds ago: a read that the witness reports (late), or the end of a run.
    fn entry(ago: i64, late: bool) -> AuditEntry {
        let at = NOW.plus_seconds(-ago);
        let read = json!({
            "type": LATE[0], "secret": "sealfleet/healthcare/crm", "by": "arn:aws:iam::111122223333:user/eve",
            "why": "not_an_execution_role", "cloudtrail_event_id": "c", "read_at": at,
        });
        let finished = json!({ "type": "run.finished", "state": "succeeded" });
        let event: Event = serde_json::from_value(if late { read } else { finished }).unwrap();
        let event_id = EventId::of(at, &format!("{ago}{late}"));
        AuditEntry {
            event_id,
            at,
            project: "healthcare".to_owned(),
            actor: "a:b".to_owned(),
            run_id: None,
            containment_id: None,
            events: vec![event],
        }
    }

    fn follower(types: &[&str], from: Option<i64>) -> Follower {
        let types = types.iter().map(|name| (*name).to_owned()).collect();
        let from = from.map(|ago| NOW.plus_seconds(-ago));
        Follower::new(AuditQuery {
            types,
            from,
            key: Some("KEY".to_owned()),
            ..AuditQuery::default()
        })
    }

    #[test]
    fn a_key_may_name_its_profile() {
        let plain = key("API_KEY").expect("a key");
        assert_eq!((plain.profile, plain.key.as_str()), (None, "API_KEY"));
        let of = key("system/base/API_KEY").expect("a key");
        assert_eq!(
            of.profile.map(|profile| profile.to_string()).as_deref(),
            Some("system/base")
        );
        assert!(key("crm/").is_err() && key("no key").is_err() && key("a/b/C").is_err());
    }

    #[test]
    fn late_entries_are_asked_for_again_where_the_filters_want_them() {
        assert!(LATE.iter().all(|name| catalogue::row(name).is_some()));
        for (types, late) in [
            (&[][..], &LATE[..]),
            (&LATE[..1], &LATE[..1]),
            (&["run.denied", LATE[2]], &LATE[2..3]),
        ] {
            let mut follower = follower(types, Some(86_400));
            let query = follower.late_query(NOW).unwrap();
            assert_eq!(
                (query.types, query.from),
                (
                    late.iter().map(|name| (*name).to_owned()).collect(),
                    Some(NOW.plus_seconds(-3600))
                )
            );
            assert_eq!(
                (query.key.as_deref(), follower.query.types.len()),
                (Some("KEY"), types.len())
            );
            assert_eq!(follower.late_query(NOW.plus_seconds(29)), None);
            assert!(follower.late_query(NOW.plus_seconds(30)).is_some());
        }
        assert_eq!(follower(&["run.denied"], None).late_query(NOW), None);
        // Never asks for entries before `--from`, however far following has come.
        let mut since = follower(&[], Some(600));
        since.reached(&[entry(1, false)], NOW);
        assert_eq!(
            since.late_query(NOW).unwrap().from,
            Some(NOW.plus_seconds(-600))
        );
    }

    #[test]
    fn each_entry_is_printed_once_whichever_question_it_answers() {
        let mut follower = follower(&[], None);
        let mut printed = Vec::new();
        let mut answered = |follower: &mut Follower, entries: &[AuditEntry]| {
            printed.extend(
                follower
                    .unseen(entries.to_vec())
                    .into_iter()
                    .map(|entry| entry.event_id),
            );
            follower.late_query(NOW);
            follower.forget();
        };
        let (early, read, newest) = (entry(1800, false), entry(900, true), entry(0, false));
        follower.reached(std::slice::from_ref(&newest), NOW);
        answered(&mut follower, &[early.clone(), newest.clone()]);
        answered(&mut follower, std::slice::from_ref(&read));
        answered(&mut follower, &[newest.clone(), entry(5, true)]);
        answered(&mut follower, &[read.clone(), entry(5, true)]);
        assert_eq!(
            printed,
            [&early, &newest, &read, &entry(5, true)].map(|entry| entry.event_id)
        );
        // Keeps nothing that no query can return again.
        assert_eq!(
            (follower.printed.len(), follower.printed_late.len()),
            (1, 2)
        );
        follower.late_asked = Some(NOW.plus_seconds(3600));
        follower.reached(
            &[AuditEntry {
                at: NOW.plus_seconds(3600),
                ..newest
            }],
            NOW,
        );
        follower.forget();
        assert_eq!(
            (follower.printed.len(), follower.printed_late.len()),
            (0, 0)
        );
    }

    #[test]
    fn where_nothing_comes_the_question_does_not_grow() {
        let mut follower = follower(&[], Some(30 * 86_400));
        follower.reached(&[], NOW);
        assert_eq!(follower.query.from, Some(NOW.plus_seconds(-3600)));
        follower.reached(&[entry(60, false)], NOW);
        assert_eq!(follower.query.from, Some(NOW.plus_seconds(-70)));
        follower.reached(&[], NOW.plus_seconds(10));
        assert_eq!(follower.query.from, Some(NOW.plus_seconds(-70)));
    }
}
