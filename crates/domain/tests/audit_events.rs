//! The catalogue of audit events is complete, and `docs/reference/audit-events.md` is generated
//! from it.
//!
//! `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-domain --test audit_events` writes the document.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use sealfleet_domain::audit::catalogue::{CATALOGUE, Class, Row};
use sealfleet_domain::audit::{Event, Text};
use sealfleet_domain::limits;
use serde::Deserialize as _;
use serde::de::value::MapDeserializer;
use serde_json::Value;

const DOCUMENT: &str = "docs/reference/audit-events.md";

fn event(row: &Row) -> Event {
    serde_json::from_str(row.example).unwrap_or_else(|error| panic!("{}: {error}", row.name))
}

/// Collects all names of events: serde lists them in the error for an unknown name.
#[derive(Debug)]
struct Names(&'static [&'static str]);

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("names")
    }
}

impl std::error::Error for Names {}

impl serde::de::Error for Names {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}

#[test]
fn each_event_has_one_row() {
    let nameless = MapDeserializer::<_, Names>::new([("type", "")].into_iter());
    let names = Event::deserialize(nameless)
        .expect_err("no event has an empty name")
        .0;
    assert!(names.len() > 30, "the names of events: {names:?}");
    let rows: Vec<&str> = CATALOGUE.iter().map(|row| row.name).collect();
    assert_eq!(
        rows.iter().copied().collect::<BTreeSet<_>>(),
        names.iter().copied().collect(),
        "rows and events differ"
    );
    assert_eq!(rows.len(), names.len(), "an event has two rows");
}

#[test]
fn each_row_explains_every_member_of_its_example() {
    for row in CATALOGUE {
        let event = event(row);
        assert_eq!(event.name(), row.name);
        let written: Value = serde_json::from_str(row.example).unwrap();
        assert_eq!(
            serde_json::to_value(&event).unwrap(),
            written,
            "{}: the example differs from its serialised form",
            row.name
        );
        let members: BTreeSet<&str> = written
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let explained: BTreeSet<&str> = row
            .fields
            .iter()
            .map(|(name, _)| *name)
            .chain(["type"])
            .collect();
        assert_eq!(
            members, explained,
            "{}: fields of the example and described fields differ",
            row.name
        );
        assert!(
            row.when.ends_with('.') && !row.fields.iter().any(|(_, meaning)| meaning.is_empty()),
            "{}",
            row.name
        );
    }
}

#[test]
fn each_event_is_found_by_the_profiles_and_keys_that_it_names() {
    for row in CATALOGUE {
        let subjects = event(row).subjects();
        let profiles = row
            .fields
            .iter()
            .any(|(name, _)| matches!(*name, "profile" | "profiles" | "bindings"));
        let keys = row
            .fields
            .iter()
            .any(|(name, _)| matches!(*name, "key" | "secrets" | "rotated"));
        assert!(
            !profiles || !subjects.profiles.is_empty(),
            "{}: no profile",
            row.name
        );
        assert!(!keys || !subjects.keys.is_empty(), "{}: no key", row.name);
    }
}

#[test]
fn free_text_is_bounded_and_one_line() {
    let long = "é\n".repeat(limits::REASON_BYTES);
    for text in [
        Text::from(long.as_str()),
        serde_json::from_value(Value::String(long)).unwrap(),
    ] {
        assert!(
            text.as_str().len() <= limits::REASON_BYTES && !text.as_str().contains('\n'),
            "{text:?}"
        );
    }
    assert_eq!(Text::from("leaked").as_str(), "leaked");
}

#[test]
fn the_document_is_this_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(DOCUMENT);
    let document = document();
    if std::env::var_os("SEALFLEET_WRITE_DOCS").is_some() {
        std::fs::write(&path, document).unwrap();
        return;
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == document,
        "{DOCUMENT} is out of date; write it with `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-domain --test audit_events`"
    );
}

fn document() -> String {
    let mut text = String::from(INTRODUCTION);
    for class in [Class::StateChange, Class::Refusal, Class::Observation] {
        let rows: Vec<&Row> = CATALOGUE
            .iter()
            .filter(|row| event(row).class() == class)
            .collect();
        let _ = writeln!(text, "\n## {}\n\n{}\n", title(class), meaning(class));
        text.push_str("| event | when | fields | example |\n|---|---|---|---|\n");
        for row in rows {
            let fields: Vec<String> = row
                .fields
                .iter()
                .map(|(name, meaning)| format!("`{name}`: {}", cell(meaning)))
                .collect();
            let fields = if fields.is_empty() {
                "none".to_owned()
            } else {
                fields.join("<br>")
            };
            let _ = writeln!(
                text,
                "| `{}` | {} | {fields} | `{}` |",
                row.name,
                cell(row.when),
                cell(row.example)
            );
        }
    }
    text
}

const fn title(class: Class) -> &'static str {
    match class {
        Class::StateChange => "State changes",
        Class::Refusal => "Refusals",
        Class::Observation => "Observations",
    }
}

const fn meaning(class: Class) -> &'static str {
    match class {
        Class::StateChange => {
            "Stored state changed. The entry is part of the transaction that changed it."
        }
        Class::Refusal => {
            "Somebody was refused, and nothing changed. The entry is written before the answer. Other refusals have no entry: \
             of a credential, a role, a rate or a malformed request, and of a claim that another worker has won or for which \
             the worker has no slot."
        }
        Class::Observation => {
            "Something was observed: what a change in the same entry means for a sandbox, or what happened outside."
        }
    }
}

/// Escapes text for a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const INTRODUCTION: &str = "# Audit events

<!-- Generated from crates/domain/src/audit/catalogue.rs: `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-domain --test audit_events` -->

One entry records one transaction: who made it, when, and the resulting events in order. The entry is written in that same
transaction, so no change exists without its entry and no entry without its change. Entries hold names, ids, numbers and
addresses, never a secret's value. The few texts that people wrote are limited in length.

While the audit table does not answer, a cancel, a revocation and the aborts that it causes are recorded in the ledger
first. They arrive here later with their own id and time. Everything else is refused. `sealfleet audit follow` looks an hour
back for these entries and for those of the witness.

These changes write no entry:

- a heartbeat
- the number of requests that a project has left
- the time at which `sweep` looks again, and a queue message that is sent again
- the progress of a fan-out or a containment
- a task definition that is remembered, and the end of a task that belongs to no step
- expiry: of an idempotency key after a day, and of the row of a worker whose request for approval has expired

Read entries with `GET /v1/audit` (parameters `run`, `profile`, `key`, `actor`, `type`, `from`, `to`; oldest first, by
cursor) and `GET /v1/audit/{event_id}`, or with `sealfleet audit list | follow | show`. One event must match `type`, `profile`
and `key` together. A page may be short or empty and still have a `next_cursor`, because it ends after reading one or two
thousand entries. Without `from`, the range starts one day before `to`, or with the run. It spans at most 31 days.

| member of an entry | meaning |
|---|---|
| `event_id` | `evt_` and a UUID of version 7: unique, and sortable by time |
| `at` | when the transaction was made, RFC 3339 in UTC with milliseconds |
| `project` | the project whose trail contains the entry; `~system` is the operators' own trail |
| `actor` | who made the transaction, as `kind:id`: `token:`, `operator:`, `worker:`, `enrolment_key:`, `sandbox:`, `revocation:` (a fan-out), `system:` (a part of the control plane) |
| `run_id` | the run that the entry is about; absent if it is about none |
| `events` | what happened, in order; each event has its name in `type` |
";
