//! What steps were kept from, and what to write into a profile to allow it.

use std::collections::{BTreeMap, BTreeSet};

use clap::Subcommand;
use sealfleet_client::{AuditQuery, Client, all_pages};
use sealfleet_domain::audit::Event;
use sealfleet_domain::clock::DAY_SECONDS;
use sealfleet_domain::egress::{Denied, HTTPS, HostName};
use sealfleet_domain::{Clock as _, RunId, Timestamp};
use sealfleet_system::SystemClock;
use serde::Serialize;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{Table, ago, answer, joined, word};

/// Seconds that one query of the trail spans at most.
const SPAN_SECONDS: i64 = 31 * DAY_SECONDS;
/// Runs whose profiles are looked up: those of the newest denials.
const RUNS: usize = 50;
/// Steps of a denial that are shown: the newest.
const STEPS: usize = 5;

#[derive(Subcommand)]
pub enum Command {
    /// Show which hosts steps were kept from, newest first, and the rules that would allow them;
    /// for admins of a project
    Denied {
        /// How far to look back: `12h`, `7d`, up to `31d`
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = seconds)]
        since: i64,
    },
}

/// What steps were kept from at one port of a host, for one reason.
#[derive(Serialize)]
struct Row {
    host: HostName,
    port: u16,
    reason: Denied,
    count: u64,
    last_at: Timestamp,
    /// `RUN/STEP`, the newest first.
    steps: Vec<String>,
    /// Profiles of the cascades of these runs.
    profiles: BTreeSet<String>,
}

#[derive(Serialize)]
struct Found {
    rows: Vec<Row>,
    /// Tries of hosts that the trail does not name.
    others: u64,
    /// What would allow the hosts that no rule names, for `egress` of a profile.
    proposed: Option<serde_json::Value>,
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let Command::Denied { since } = command;
    let client = connection.client()?;
    let query = AuditQuery {
        types: vec!["egress.denied".to_owned()],
        from: Some(SystemClock.now().plus_seconds(-since)),
        ..AuditQuery::default()
    };
    let entries = all_pages(async |page| {
        let page = page.clone();
        let query = AuditQuery {
            page,
            ..query.clone()
        };
        client.list_audit_entries(&query).await
    });
    let mut entries = entries.await?;
    entries.reverse();
    let events = entries.into_iter().flat_map(|entry| {
        let (at, run_id) = (entry.at, entry.run_id);
        entry
            .events
            .into_iter()
            .map(move |event| (at, run_id, event))
    });
    let mut found = gathered(events);
    name_profiles(&client, &mut found).await?;
    answer(connection.output, &found, || found.text())
}

/// What the trail says, by host, port and reason. Takes the newest events first.
fn gathered(events: impl Iterator<Item = (Timestamp, Option<RunId>, Event)>) -> Found {
    let mut rows: Vec<Row> = Vec::new();
    let mut places: BTreeMap<(HostName, u16, Denied), usize> = BTreeMap::new();
    let mut others: u64 = 0;
    for (at, run_id, event) in events {
        let Event::EgressDenied { step_id, hosts, .. } = event else {
            continue;
        };
        others = others.saturating_add(hosts.others);
        for denial in hosts.rows {
            let key = (denial.host.clone(), denial.port, denial.reason);
            let place = *places.entry(key).or_insert_with(|| {
                rows.push(Row {
                    host: denial.host,
                    port: denial.port,
                    reason: denial.reason,
                    count: 0,
                    last_at: at,
                    steps: Vec::new(),
                    profiles: BTreeSet::new(),
                });
                rows.len() - 1
            });
            let Some(row) = rows.get_mut(place) else {
                continue;
            };
            row.count = row.count.saturating_add(denial.count);
            let step = run_id.map(|run_id| format!("{run_id}/{step_id}"));
            let step = step.filter(|step| !row.steps.contains(step));
            row.steps.extend(step.filter(|_| row.steps.len() < STEPS));
        }
    }
    let proposed = proposed(&rows);
    Found {
        rows,
        others,
        proposed,
    }
}

/// The rules that would allow what no rule names. An address that no step may reach has none: the
/// worker's operator lends networks.
fn proposed(rows: &[Row]) -> Option<serde_json::Value> {
    let missing: BTreeSet<(String, u16)> = rows
        .iter()
        .filter(|row| row.reason == Denied::NoRule)
        .map(|row| (row.host.to_string(), row.port))
        .collect();
    let rule = |(host, port): (String, u16)| match port {
        HTTPS => serde_json::json!({ "host": host }),
        port => serde_json::json!({ "host": host, "port": port }),
    };
    let rules: Vec<_> = missing.into_iter().map(rule).collect();
    (!rules.is_empty()).then(|| serde_json::json!({ "egress": { "allow": rules } }))
}

/// Looks up the profiles of the newest runs.
async fn name_profiles(client: &Client, found: &mut Found) -> Result<(), Failure> {
    let mut known: BTreeMap<RunId, Vec<String>> = BTreeMap::new();
    for row in &mut found.rows {
        for step in &row.steps {
            let run_id = step.split('/').next().and_then(|id| id.parse().ok());
            let Some(run_id): Option<RunId> = run_id else {
                continue;
            };
            if !known.contains_key(&run_id) && known.len() < RUNS {
                // A run that is gone has left its entries behind.
                let run = client.get_run(run_id).await.ok();
                let profiles = run.map(|run| run.profiles).unwrap_or_default();
                let names = profiles.iter().map(|used| used.profile.to_string());
                known.insert(run_id, names.collect());
            }
            row.profiles
                .extend(known.get(&run_id).into_iter().flatten().cloned());
        }
    }
    Ok(())
}

impl Found {
    fn text(&self) -> String {
        if self.rows.is_empty() && self.others == 0 {
            return "no step was kept from a host\n".to_owned();
        }
        let mut table = Table::new([
            "HOST", "PORT", "REASON", "TRIES", "LAST", "STEPS", "PROFILES",
        ]);
        for row in &self.rows {
            table.row([
                row.host.to_string(),
                row.port.to_string(),
                word(&row.reason),
                row.count.to_string(),
                ago(row.last_at),
                joined(&row.steps),
                joined(&row.profiles),
            ]);
        }
        let mut text = table.text();
        if self.others > 0 {
            text += &format!(
                "{} tries of hosts that the trail does not name\n",
                self.others
            );
        }
        if let Some(proposed) = &self.proposed {
            text += "\nTo allow those without a rule, add to a profile what you trust of this:\n\n";
            text += &yaml(proposed);
        }
        text
    }
}

/// The proposal, as a profile's document has it.
fn yaml(proposed: &serde_json::Value) -> String {
    let rules = proposed
        .pointer("/egress/allow")
        .and_then(|rules| rules.as_array());
    let rules = rules.into_iter().flatten().map(|rule| {
        let port = rule.get("port").and_then(serde_json::Value::as_u64);
        let port = port.map_or_else(String::new, |port| format!(", port: {port}"));
        let host = rule.get("host").and_then(serde_json::Value::as_str);
        // A host has no quotes in it: it is a DNS name or an address.
        format!("    - {{host: '{}'{port}}}\n", host.unwrap_or_default())
    });
    format!("egress:\n  allow:\n{}", rules.collect::<String>())
}

/// Parses `12h` or `7d`.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || "write hours or days, up to 31 days: `12h`, `7d`".to_owned();
    let unit = match text.chars().last() {
        Some('h') => 3600,
        Some('d') => DAY_SECONDS,
        _ => return Err(wrong()),
    };
    let number: i64 = text
        .get(..text.len() - 1)
        .and_then(|text| text.parse().ok())
        .ok_or_else(wrong)?;
    let seconds = number.checked_mul(unit).ok_or_else(wrong)?;
    if (1..=SPAN_SECONDS).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(host: &str, port: u16, reason: &str, count: u64) -> Event {
        serde_json::from_value(serde_json::json!({
            "type": "egress.denied", "step_id": "fetch", "fence": 1, "others": 1,
            "rows": [{ "host": host, "port": port, "reason": reason, "count": count }],
        }))
        .expect("an event")
    }

    #[test]
    fn denials_are_gathered_newest_first_and_a_rule_is_proposed_for_each_host_without_one() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let run = |last: char| {
            let id = format!("run_0198c0de-0000-7000-8000-00000000000{last}");
            Some(id.parse().expect("an id"))
        };
        let events = [
            (at(9), run('b'), denied("b.example", 8443, "no_rule", 2)),
            (at(8), run('b'), denied("169.254.169.254", 80, "address", 1)),
            (at(7), run('a'), denied("a.example", 443, "no_rule", 1)),
            (at(6), run('a'), denied("b.example", 8443, "no_rule", 3)),
        ];
        let found = gathered(events.into_iter());
        let shape: Vec<_> = found
            .rows
            .iter()
            .map(|row| (row.host.to_string(), row.count, row.steps.len()))
            .collect();
        let expected = [
            ("b.example", 5, 2),
            ("169.254.169.254", 1, 1),
            ("a.example", 1, 1),
        ];
        assert_eq!(
            shape,
            expected.map(|(host, count, steps)| (host.to_owned(), count, steps))
        );
        assert_eq!(found.rows[0].last_at, at(9));
        assert_eq!(found.others, 4);
        let text = yaml(found.proposed.as_ref().expect("rules"));
        assert_eq!(
            text,
            "egress:\n  allow:\n    - {host: 'a.example'}\n    - {host: 'b.example', port: 8443}\n"
        );
        assert!(gathered(std::iter::empty()).proposed.is_none());
    }

    #[test]
    fn a_time_is_hours_or_days() {
        assert_eq!(seconds("12h"), Ok(43_200));
        assert_eq!(seconds("31d"), Ok(SPAN_SECONDS));
        for wrong in [
            "",
            "7",
            "0d",
            "32d",
            "-1d",
            "1w",
            "d",
            "999999999999999999d",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
