//! The audit trail as the API shows it: listed, followed, one entry.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use sealfleet_client::{AuditQuery, Client, PageQuery, all_pages};
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::{Clock as _, EventId, ProfileRef, RunId, Timestamp};
use sealfleet_system::SystemClock;

use super::connection::{Connection, Output};
use super::failure::Failure;
use super::output::{self, Table, answer, json_line, or_dash, word, write};

/// How far apart the clocks of two writers may be: so much is read again when following.
const OVERLAP_SECONDS: i64 = 10;
/// Events whose entries may come late.
const LATE: [&str; 5] = [
    "secret.read_unexplained",
    "secret.revoked",
    "run.cancelled",
    "run.aborted_by_revocation",
    "step.aborted",
];
/// How far back late entries are looked for.
const LATE_SECONDS: i64 = 3600;
/// How often.
const LATE_EVERY_SECONDS: i64 = 30;

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
        let Self {
            run,
            profile,
            key,
            actor,
            types,
            from,
            project,
        } = self;
        AuditQuery {
            run_id: run,
            profile,
            key,
            actor,
            types,
            project,
            from,
            to,
            page: PageQuery::default(),
        }
    }
}

pub(super) async fn list(
    connection: &Connection,
    filters: Filters,
    to: Option<Timestamp>,
) -> Result<(), Failure> {
    let entries = all(&connection.client()?, &filters.query(to)).await?;
    output::list(connection.output, &entries, || {
        let mut table = Table::new(["AT", "ID", "ACTOR", "RUN", "EVENTS"]);
        for entry in &entries {
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

/// Prints entries as they come, each once.
pub(super) async fn follow(connection: &Connection, filters: Filters) -> Result<(), Failure> {
    let client = connection.client()?;
    let mut follower = Follower::new(filters.query(None));
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

/// What is asked again and again, and what was printed of the answers.
///
/// A trail is asked from the newest entry on, since most entries are put at the time at which they
/// stand. Two kinds come later: the witness's stand at the time of the read that they tell of, and
/// are put when CloudTrail hands the read on; and what took power away while the audit table did
/// not answer waits in the ledger's outbox. Of events that may have come so, the last hour is asked
/// for again, now and then.
struct Follower {
    query: AuditQuery,
    /// Nothing before this is wanted.
    first: Option<Timestamp>,
    /// When late entries were asked for.
    late_asked: Option<Timestamp>,
    /// What was printed and may be answered again.
    printed: BTreeSet<EventId>,
    /// The same of late entries.
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

    /// Everything before these entries has been seen, but for what comes late. Where nothing comes,
    /// the next question begins an hour ago all the same: it does not grow.
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

    /// The question for late entries, when it is time for it and the filters let one through.
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

    /// Those that were not printed before; they count as printed now.
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

    /// Forgets what is older than either question.
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

async fn all(client: &Client, query: &AuditQuery) -> Result<Vec<AuditEntry>, Failure> {
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

    /// What happened so many seconds ago: a read that the witness tells of, or a run that ended.
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
        // Nothing before `--from`, however far the following has come.
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
        // Of what is not asked for again, nothing is kept.
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
