//! How each event is written in OCSF: an example of every one, and the table of the SIEM guide.
//!
//! `scripts/check-ocsf` validates `docs/reference/ocsf-examples.jsonl` against the published
//! schema. `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-functions ocsf` writes both anew.

use std::fmt::Write as _;
use std::path::Path;

use sealfleet_domain::audit::catalogue::CATALOGUE;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_functions::export::ocsf::{Mapping, mapping, ocsf};
use serde_json::{Value, json};

const EXAMPLES: &str = "docs/reference/ocsf-examples.jsonl";
const GUIDE: &str = "docs/guides/siem.md";
const BEGIN: &str = "<!-- begin ocsf -->\n";
const END: &str = "<!-- end ocsf -->";

/// An entry with each event of the catalogue, of a run as far as the event can be of one.
fn entries() -> Vec<AuditEntry> {
    let of_no_run = [
        "project.",
        "token.",
        "enrolment_key.",
        "worker.",
        "profile.created",
        "profile.updated",
        "profile.deleted",
        "cascade.",
        "secret.revo",
        "revocation.",
        "secret.read_unexplained",
    ];
    let entry = |(number, row): (usize, &sealfleet_domain::audit::catalogue::Row)| {
        let event: Event = serde_json::from_str(row.example).unwrap();
        let mut entry = json!({
            "event_id": format!("evt_019c1310-e400-7000-8000-{number:012x}"),
            "at": "2026-01-31T08:00:00.000Z",
            "project": "healthcare",
            "actor": "token:tok_019c1310-e400-7000-8000-000000000001",
            "events": [event],
        });
        if !of_no_run.iter().any(|name| row.name.starts_with(name)) {
            entry["run_id"] = json!("run_019c1310-e400-7000-8000-000000000002");
        }
        serde_json::from_value(entry).unwrap()
    };
    CATALOGUE.iter().enumerate().map(entry).collect()
}

fn compare(file: &str, is: &str, should_be: &str) {
    if is == should_be {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "asked of the person who runs it")]
    let write = std::env::var("SEALFLEET_WRITE_DOCS").is_ok();
    assert!(
        write,
        "`{file}` is not what the code says: SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-functions ocsf"
    );
    std::fs::write(path(file), should_be).unwrap();
}

fn path(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(file)
}

#[test]
fn there_is_an_example_of_every_event() {
    let lines: String = entries()
        .iter()
        .map(|entry| format!("{}\n", ocsf(entry, 0, &entry.events[0])))
        .collect();
    compare(
        EXAMPLES,
        &std::fs::read_to_string(path(EXAMPLES)).unwrap_or_default(),
        &lines,
    );
}

#[test]
fn the_guide_shows_how_each_event_is_written() {
    let mut table =
        "\n| event | class | activity | severity | status |\n|---|---|---|---|---|\n".to_owned();
    for entry in entries() {
        let Mapping {
            class,
            activity,
            severity,
            failed,
            ..
        } = mapping(&entry, &entry.events[0]);
        let status = if failed { "Failure" } else { "Success" };
        let name = entry.events[0].name();
        writeln!(
            table,
            "| `{name}` | {} {} | {} {} | {severity:?} | {status} |",
            class.uid(),
            class.name(),
            activity.0,
            activity.1
        )
        .unwrap();
    }
    table.push('\n');
    let guide = std::fs::read_to_string(path(GUIDE)).unwrap();
    let (before, rest) = guide.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    compare(
        GUIDE,
        &guide,
        &format!("{before}{BEGIN}{table}{END}{after}"),
    );
}

#[test]
fn the_event_itself_is_complete_and_unchanged() {
    for entry in entries() {
        let mut unmapped = ocsf(&entry, 0, &entry.events[0])["unmapped"].clone();
        let members = unmapped.as_object_mut().unwrap();
        assert_eq!(members.remove("index"), Some(json!(0)));
        let event = members.remove("event").unwrap();
        members.insert("events".to_owned(), Value::Array(vec![event]));
        assert_eq!(unmapped, serde_json::to_value(&entry).unwrap());
    }
}
