//! A range of the audit table, exported again: for when the stream lost it, since it keeps rows for
//! a day only.
//!
//! The rows of a partition are cut into objects from the range's beginning, so the same range makes
//! the same objects, and asking twice writes nothing twice. Events that were exported by the
//! stream, too, then stand in two objects: readers drop such doubles by `event_id` and `index`.
//!
//! One invocation does a bounded part and says where the next goes on. Before a day is written, a
//! note tells the next digest to look there; when the range is done, that digest is made.

use sealfleet_archive::objects::{ObjectName, Span, re_export_key};
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{ProjectId, Timestamp};
use sealfleet_ledger::{AUDIT_SHARDS, audit_entries_of_image};
use serde::{Deserialize, Serialize};

use super::set_aside::{self, SetAside};
use super::{Error, Ports, digest, write};

/// Rows of one object at most.
const ROWS: usize = 500;
/// Objects of one invocation at most.
const MOST_OBJECTS: usize = 20;
/// Partitions that one invocation looks at, at most.
const MOST_PARTITIONS: usize = 200;

/// What to export again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The trail: a project, or `~system`.
    pub project: String,
    /// From this moment.
    pub from: Timestamp,
    /// Up to this moment.
    pub to: Timestamp,
    /// Where an earlier invocation left off: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Place>,
}

/// A place in a range: what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Days since the Unix epoch.
    pub day: i64,
    /// The shard.
    pub shard: u8,
    /// The sort key of the last row that was exported in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What one invocation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Entries that were read.
    pub entries: usize,
    /// Objects that hold them.
    pub objects: usize,
    /// Rows that were set aside.
    pub set_aside: usize,
    /// Where to go on; absent when the range is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Place>,
}

/// Exports the next part of a range.
///
/// # Errors
/// When the range is none, or the table or the archive does not answer. Asking again does what is
/// left.
pub async fn part(ports: &Ports, range: &Range, until: Timestamp) -> Result<Part, Error> {
    let Range {
        project,
        from,
        to,
        next,
    } = range;
    if project != OPERATOR_SCOPE && project.parse::<ProjectId>().is_err() {
        return Err(Error::Event(format!(
            "`{project}` is no project, and not `{OPERATOR_SCOPE}`"
        )));
    }
    let last_day = to.day_number();
    let first = Place {
        day: from.day_number(),
        shard: 0,
        after: None,
    };
    let mut place = next.clone().unwrap_or(first);
    let mut part = Part {
        entries: 0,
        objects: 0,
        set_aside: 0,
        next: None,
    };
    let mut noted = None;
    let mut partitions = 0;
    while place.day <= last_day {
        if part.objects >= MOST_OBJECTS || partitions >= MOST_PARTITIONS {
            part.next = Some(place);
            return Ok(part);
        }
        let day = Timestamp::of_day(place.day).day();
        let rows = ports
            .ledger
            .audit_rows(
                project,
                &day,
                place.shard,
                (*from, *to),
                place.after.as_deref(),
                ROWS,
            )
            .await?;
        if !rows.is_empty() && noted.as_ref() != Some(&day) {
            let note = re_export_key(ports.ledger.now(), project, &day);
            ports
                .objects
                .create(&note, "application/json", Vec::new())
                .await?;
            noted = Some(day.clone());
        }
        let full = rows.len() == ROWS;
        let last = rows
            .last()
            .and_then(|row| row.get("sk")?.as_s().ok().cloned());
        let mut entries: Vec<AuditEntry> = Vec::with_capacity(rows.len());
        for row in rows {
            let unreadable = SetAside::of_row(&row);
            match audit_entries_of_image(row) {
                Ok(row) => {
                    let in_range = |entry: &AuditEntry| *from <= entry.at && entry.at <= *to;
                    entries.extend(row.into_iter().filter(in_range));
                }
                Err(_) => {
                    set_aside::put(ports, &unreadable).await?;
                    part.set_aside += 1;
                }
            }
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let span = Span::Table {
                first: first.event_id.to_string(),
                last: last.event_id.to_string(),
            };
            let name = ObjectName {
                project: project.clone(),
                day,
                shard: place.shard,
                span,
            };
            write(ports, &name, &entries.iter().collect::<Vec<_>>()).await?;
            part.objects += 1;
            part.entries += entries.len();
        }
        place = match (full, last) {
            (true, Some(last)) => Place {
                after: Some(last),
                ..place
            },
            _ if place.shard + 1 < AUDIT_SHARDS => Place {
                shard: place.shard + 1,
                after: None,
                ..place
            },
            _ => Place {
                day: place.day + 1,
                shard: 0,
                after: None,
            },
        };
        partitions += usize::from(place.after.is_none());
    }
    digest::make(ports, until).await?;
    Ok(part)
}
