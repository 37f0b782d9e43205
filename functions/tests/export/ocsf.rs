//! How each event is written in OCSF: an example of every one, and the table of the SIEM guide.
//!
//! `scripts/check-ocsf` validates the examples of both versions.
//! `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-functions ocsf` writes all anew.

use std::fmt::Write as _;
use std::path::Path;

use sealfleet_domain::audit::catalogue::CATALOGUE;
use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::hash::sha256_hex;
use sealfleet_functions::export::ocsf::{Mapping, Version, lines, mapping, ocsf};
use serde_json::{Value, json};

const EXAMPLES: [(Version, &str); 2] = [
    (Version::V1_6, "docs/reference/ocsf-examples.jsonl"),
    (Version::V1_9, "docs/reference/ocsf-1.9-examples.jsonl"),
];
/// The object that the examples stand in.
const OBJECT: &str = "audit/project=healthcare/date=2026-01-31/3-100-200.jsonl.gz";
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
    for (version, file) in EXAMPLES {
        let is = std::fs::read_to_string(path(file)).unwrap_or_default();
        let should_be = lines(version, OBJECT, &entries());
        compare(file, &is, &String::from_utf8(should_be).unwrap());
    }
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
    for (entry, (version, _)) in entries()
        .iter()
        .flat_map(|entry| EXAMPLES.map(|of| (entry, of)))
    {
        let mut unmapped = ocsf(version, entry, 0, &entry.events[0])["unmapped"].clone();
        let members = unmapped.as_object_mut().unwrap();
        assert_eq!(members.remove("index"), Some(json!(0)));
        let event = members.remove("event").unwrap();
        members.insert("events".to_owned(), Value::Array(vec![event]));
        assert_eq!(unmapped, serde_json::to_value(entry).unwrap());
    }
}

/// The lines of an object in version 1.9.
fn chained() -> Vec<Value> {
    let bytes = lines(Version::V1_9, OBJECT, &entries());
    let lines = std::str::from_utf8(&bytes).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Whether each event has its own hash and names the one before it.
fn is_whole(lines: &[Value]) -> bool {
    let mut last: Option<Value> = None;
    lines.iter().all(|line| {
        let mut bare = line.clone();
        let attestation = &mut bare["attestation_list"][0];
        let own = attestation["fingerprint"].take();
        attestation.as_object_mut().unwrap().remove("fingerprint");
        let follows = attestation.get("prev_event") == last.as_ref();
        let of_object = attestation["chain_uid"] == OBJECT;
        let hash = sha256_hex(bare.to_string().as_bytes());
        last = Some(json!({
            "uid": line["metadata"]["uid"], "type_uid": line["type_uid"], "fingerprint": own,
        }));
        follows && of_object && own["value"] == hash
    })
}

#[test]
fn the_chain_of_an_object_shows_what_was_changed() {
    let whole = chained();
    assert!(whole.len() > 30 && is_whole(&whole));
    let mut edited = whole.clone();
    edited[3]["message"] = json!("nothing happened");
    assert!(!is_whole(&edited));
    let mut without_one = whole.clone();
    without_one.remove(3);
    assert!(!is_whole(&without_one));
    let mut swapped = whole.clone();
    swapped.swap(3, 4);
    assert!(!is_whole(&swapped));
    // Whoever edits an event and its own hash breaks the next.
    let mut hashed_anew = whole.clone();
    hashed_anew[3]["message"] = json!("nothing happened");
    let mut bare = hashed_anew[3].clone();
    let attestation = bare["attestation_list"][0].as_object_mut().unwrap();
    attestation.remove("fingerprint");
    let hash = sha256_hex(bare.to_string().as_bytes());
    hashed_anew[3]["attestation_list"][0]["fingerprint"]["value"] = json!(hash);
    assert!(is_whole(&hashed_anew[..4]) && !is_whole(&hashed_anew));
}

#[test]
fn each_event_of_a_run_says_under_whose_authority_it_happened() {
    let of = |name: &str| {
        let lines = chained();
        let found = lines
            .iter()
            .find(|line| line["metadata"]["event_code"] == name);
        found.unwrap().clone()
    };
    let run = &of("run.enqueued")["delegation"];
    let leased = of("step.leased");
    let token = &of("identity.token_issued")["delegation"];
    assert_eq!(of("run.enqueued")["actor"]["user"]["type"], "token");
    assert_eq!(
        run["uid"],
        of("run.enqueued")["metadata"]["correlation_uid"]
    );
    assert_eq!(leased["delegation"]["parent_uid"], run["uid"]);
    assert_eq!(token["parent_uid"], leased["delegation"]["uid"]);
    assert_eq!(
        leased["ai_agent"]["instance_uid"],
        leased["delegation"]["uid"]
    );
    assert_eq!(leased["ai_agent"]["ai_model"]["ai_provider"], "anthropic");
    assert_eq!(
        of("secret.released")["delegation"]["scopes"],
        json!(["CRM_TOKEN"])
    );
    // What is of no run, and findings, have none.
    assert!(of("token.created").get("delegation").is_none());
    assert!(of("redaction.match").get("delegation").is_none());
}

#[test]
fn the_older_version_stays_as_it_is() {
    for entry in entries() {
        let line = ocsf(Version::V1_6, &entry, 0, &entry.events[0]);
        for name in ["attestation_list", "delegation", "ai_agent", "application"] {
            assert!(line.get(name).is_none(), "{line}");
        }
        assert_eq!(line["metadata"]["version"], "1.6.0");
        assert!(line["metadata"].get("profiles").is_none());
    }
    assert_eq!("1.6".parse(), Ok(Version::default()));
    assert_eq!("1.9".parse(), Ok(Version::V1_9));
    assert!("1.7".parse::<Version>().is_err());
}
