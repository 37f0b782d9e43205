//! The trail of fixed runs, event by event, as the API answers it and as it is exported.
//!
//! `golden.json` was made by the code before runs carried their entries (decision 024), by these
//! stories. So what the trail says of a run is what it said when each entry was written in the
//! transaction that it records.
//!
//! Ids are named by the order in which they appear, and entries of one millisecond are in the
//! order of what they say: ids are random, and how many are drawn is nobody's business.
//! `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-functions golden` writes the file anew.

use std::collections::BTreeMap;

use sealfleet_domain::audit::AuditEntry;
use sealfleet_functions::export::ocsf::{Version, ocsf};
use serde_json::{Value, json};

use super::{beside, merged, run_of, step, text};
use crate::world::{CRM, FARGATE, Who, World};

const FILE: &str = "functions/tests/semantics/golden.json";

/// The ids of a story, each by its kind and number.
#[derive(Default)]
struct Names {
    named: BTreeMap<String, String>,
    of_kind: BTreeMap<String, usize>,
}

impl Names {
    /// A JSON text with its ids named.
    fn name(&mut self, text: &str) -> String {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        let mut named = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(is_part) {
            let (before, from) = rest.split_at(start);
            let (word, after) =
                from.split_at(from.find(|letter| !is_part(letter)).unwrap_or(from.len()));
            named.push_str(before);
            named.push_str(&self.of(word));
            rest = after;
        }
        named.push_str(rest);
        named
    }

    fn of(&mut self, word: &str) -> String {
        let parts = word.split_once('_').unwrap_or_default();
        if parts.1.len() != 36 || parts.1.matches('-').count() != 4 {
            return word.to_owned();
        }
        if let Some(name) = self.named.get(word) {
            return name.clone();
        }
        let number = self.of_kind.entry(parts.0.to_owned()).or_default();
        *number += 1;
        let name = format!("{}_{number}", parts.0);
        self.named.insert(word.to_owned(), name.clone());
        name
    }
}

fn secrets(names: &[&str], version: &str) -> Value {
    let references = names.iter().map(|name| {
        let reference = beside(&name.to_lowercase().replace('_', "-"));
        let reference = reference.replace("00000000000b", version);
        ((*name).to_owned(), json!(reference))
    });
    Value::Object(references.collect())
}

/// Two steps with an identity, each as another tool; one secret is rotated and one removed after
/// the enqueue.
async fn success_with_drift(world: &World) {
    let tools = json!({ "records": ["EHR_TOKEN"], "writer": ["MODEL_KEY", "OLD_KEY"] });
    let content = |names: &[&str], version: &str| {
        let secrets = secrets(names, version);
        json!({ "env": { "EHR_URL": "https://ehr.example" }, "secrets": secrets, "tools": tools })
    };
    let first = content(&["EHR_TOKEN", "MODEL_KEY", "OLD_KEY"], "000000000001");
    world.profile("ehr", &first).await;
    let hand = world.hand(&json!({})).await;
    let fetch = step("fetch", &json!({ "mode": "identity", "tool": "records" }));
    let writes = json!({ "mode": "identity", "tool": "writer", "needs": ["fetch"] });
    let plain = json!({ "mode": "bare", "needs": ["fetch"] });
    let steps = [fetch, step("write", &writes), step("tidy", &plain)];
    let run = merged(&run_of(&steps), &json!({ "profile": "ehr" }));
    let run = world.enqueued(run).await;

    let held = world.claimed_step(&hand, &run, "fetch").await;
    let version = "0198c0de-0000-7000-8000-000000000001";
    let resolved = json!({ "resolved": { "EHR_TOKEN": version } });
    world.started(&hand, &merged(&held, &resolved)).await;
    let mut second = content(&["EHR_TOKEN", "MODEL_KEY"], "000000000002");
    second["tools"] = json!({ "records": ["EHR_TOKEN"], "writer": ["MODEL_KEY"] });
    world.replace_profile("ehr", &second).await;
    world.succeeded(&hand, &held).await;
    for step in ["write", "tidy"] {
        let held = world.claimed_step(&hand, &run, step).await;
        world.started(&hand, &held).await;
        world.succeeded(&hand, &held).await;
    }
}

/// A step that refuses drift, and what needs it.
async fn drift_that_is_refused(world: &World) {
    let content = |version| json!({ "secrets": secrets(&["EHR_TOKEN"], version) });
    world.profile("ehr", &content("000000000001")).await;
    let hand = world.hand(&json!({})).await;
    let strict = json!({ "mode": "identity", "on_drift": "refuse" });
    let steps = [
        step("only", &strict),
        step("after", &json!({ "needs": ["only"] })),
    ];
    let run = merged(&run_of(&steps), &json!({ "profile": "ehr" }));
    let run = world.enqueued(run).await;
    world.replace_profile("ehr", &content("000000000002")).await;
    world
        .claim_refused(&hand, &run, (409, "start_refused"))
        .await;
}

/// A step on Fargate that succeeds.
async fn success_on_fargate(world: &World) {
    let on_fargate = json!({ "mode": "identity", "pool": FARGATE });
    let run = merged(
        &run_of(&[step("only", &on_fargate)]),
        &json!({ "profile": CRM }),
    );
    let run = world.enqueued(run).await;
    world.deliver().await;
    world.tasks_go_on(None).await;
    world.tasks_go_on(Some(0)).await;
    assert_eq!(world.step(&run).await["state"], "succeeded");
}

/// A step that fails, and ends what needs it.
async fn failure(world: &World) {
    let hand = world.hand(&json!({})).await;
    let steps = [
        step("only", &json!({})),
        step("after", &json!({ "needs": ["only"] })),
        step("last", &json!({ "needs": ["after"] })),
    ];
    let run = world.enqueued(run_of(&steps)).await;
    let held = world.claimed(&hand, &run).await;
    world.started(&hand, &held).await;
    let failed = json!({ "state": "failed", "failure": { "kind": "exit", "code": 3 } });
    world
        .ok(&hand.credential, "POST /v1/reports", merged(&held, &failed))
        .await;
}

/// A step whose only attempt is lost, and that is put back together with what it ended.
async fn retry(world: &World) {
    let hand = world.hand(&json!({})).await;
    let steps = [
        step("only", &json!({ "max_attempts": 1 })),
        step("after", &json!({ "needs": ["only"] })),
    ];
    let run = world.enqueued(run_of(&steps)).await;
    world.claimed(&hand, &run).await;
    world.leases_run_out().await;
    let retry = format!("POST /v1/runs/{run}/steps/only/retry");
    world
        .ok(world.credential(Who::Member), &retry, Value::Null)
        .await;
    for step in ["only", "after"] {
        let held = world.claimed_step(&hand, &run, step).await;
        world.started(&hand, &held).await;
        world.succeeded(&hand, &held).await;
    }
}

/// A worker that is lost while it holds a step, and comes back too late.
async fn lost_worker(world: &World) {
    let secret = json!({ "secrets": secrets(&["EHR_TOKEN"], "000000000001") });
    world.profile("ehr", &secret).await;
    let (lost, other) = (world.hand(&json!({})).await, world.hand(&json!({})).await);
    let run = world.enqueued(super::with_profile("ehr")).await;
    let old = world.claimed(&lost, &run).await;
    world.started(&lost, &old).await;
    world.leases_run_out().await;
    let held = world.claimed(&other, &run).await;
    world.started(&other, &held).await;
    let report = super::success(&old);
    world
        .report_refused(&lost, report, (403, "not_holder"))
        .await;
    world.succeeded(&other, &held).await;
}

/// A run that is cancelled with a step in each state.
async fn cancel(world: &World) {
    let hand = world.hand(&json!({ "max_concurrent": 4 })).await;
    let steps = [
        step("ended", &json!({})),
        step("running", &json!({ "mode": "bare" })),
        step("leased", &json!({})),
        step("queued", &json!({})),
        step("blocked", &json!({ "needs": ["running"] })),
    ];
    let run = world.enqueued(run_of(&steps)).await;
    let ended = world.claimed_step(&hand, &run, "ended").await;
    world.started(&hand, &ended).await;
    world.succeeded(&hand, &ended).await;
    let running = world.claimed_step(&hand, &run, "running").await;
    world.started(&hand, &running).await;
    world.claimed_step(&hand, &run, "leased").await;
    let cancel = format!("POST /v1/runs/{run}/cancel");
    world
        .ok(world.credential(Who::Member), &cancel, Value::Null)
        .await;
}

/// A key that is revoked hard: one run holds it, one on Fargate too, one waits, one is refused.
async fn hard_revocation(world: &World) {
    let hand = world.hand(&json!({})).await;
    let uri = format!("aws-sm://sealfleet/{}/crm#api-key", crate::world::OWN);
    let alias = json!({ "secrets": { "ALIAS": uri } });
    world.profile("alias", &alias).await;
    let by_address = world.enqueued(on(FARGATE, "alias")).await;
    world.deliver().await;
    world.tasks_go_on(None).await;
    let beside = json!({ "secrets": secrets(&["EHR_TOKEN"], "000000000001") });
    world.profile("ehr", &beside).await;
    let held_run = world.enqueued(super::with_profile("ehr")).await;
    let waits = world.enqueued(super::with_profile("ehr")).await;
    let held = world.claimed(&hand, &held_run).await;
    world.started(&hand, &held).await;
    let keys = json!([
        { "profile": CRM, "key": "API_KEY" },
        { "profile": "ehr", "key": "EHR_TOKEN" },
    ]);
    let body = json!({ "keys": keys, "hard": true, "reason": "leaked" });
    let admin = world.credential(Who::Admin);
    let revoked = world.ok(admin, "POST /v1/revocations", body).await;
    world.tasks_go_on(Some(143)).await;
    assert!(!world.holds(&hand, &held).await);
    let refused = (403, "secret_revoked");
    world.claim_refused(&hand, &waits, refused).await;
    let body = super::with_profile("ehr");
    let member = world.credential(Who::Member);
    world.refused(member, "POST /v1/runs", body, refused).await;
    assert_eq!(world.step(&by_address).await["state"], "aborted");
    let id = text(&revoked["revocations"][0], "revocation_id");
    let lift = format!("POST /v1/revocations/{id}/lift");
    world.ok(admin, &lift, Value::Null).await;
}

fn on(pool: &str, profile: &str) -> Value {
    let only = step("only", &json!({ "mode": "identity", "pool": pool }));
    merged(&run_of(&[only]), &json!({ "profile": profile }))
}

/// What the trail says since its first `before` entries, each entry with its exported events.
async fn told(world: &World, before: usize) -> Value {
    let trail = world.trail("").await;
    assert!(trail["next_cursor"].is_null(), "a second page");
    let mut entries = trail["items"].as_array().unwrap()[before..].to_vec();
    // The trail of a run is the same by whatever way it is read.
    for run in entries.iter().filter_map(|entry| entry["run_id"].as_str()) {
        let of_run = world.trail(&format!("&run={run}")).await;
        let those = entries.iter().filter(|entry| entry["run_id"] == run);
        let those: Vec<&Value> = those.collect();
        assert_eq!(json!(those), of_run["items"]);
    }
    let what = |entry: &Value| {
        let bare = Names::default().name(&entry["events"].to_string());
        (text(entry, "at"), bare)
    };
    entries.sort_by_key(what);
    let with_export = entries.into_iter().map(|entry| {
        let read: AuditEntry = serde_json::from_value(entry.clone()).unwrap();
        let events = read.events.iter().enumerate();
        let exported: Vec<Value> = events
            .map(|(index, event)| ocsf(Version::V1_6, &read, index, event))
            .collect();
        json!({ "entry": entry, "exported": exported })
    });
    let text = json!(with_export.collect::<Vec<_>>()).to_string();
    serde_json::from_str(&Names::default().name(&text)).unwrap()
}

macro_rules! stories {
    ($($story:ident)+) => {{
        let mut all = serde_json::Map::new();
        $(
            let world = World::new().await;
            let before = world.trail("").await["items"].as_array().unwrap().len();
            $story(&world).await;
            all.insert(stringify!($story).to_owned(), told(&world, before).await);
        )+
        Value::Object(all)
    }};
}

#[tokio::test]
async fn the_trail_says_of_runs_what_it_said_before_they_carried_it() {
    let all = stories! {
        success_with_drift drift_that_is_refused success_on_fargate failure retry lost_worker
        cancel hard_revocation
    };
    let path = crate::repository::root().join(FILE);
    if std::env::var_os("SEALFLEET_WRITE_DOCS").is_some() {
        let text = serde_json::to_string_pretty(&all).unwrap();
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (story, is) in all.as_object().unwrap() {
        let was = golden[story].as_array().unwrap();
        let is = is.as_array().unwrap();
        for (number, (is, was)) in is.iter().zip(was).enumerate() {
            assert_eq!(is, was, "{story}, entry {number}");
        }
        assert_eq!(is.len(), was.len(), "{story}: entries");
    }
}
