//! A deployment goes on with the rows that earlier releases have left.
//!
//! `stored/VERSION.json` has the rows of both tables as that release wrote them, in the middle of
//! everything. Today's functions drive all of it to its end. The rules are in
//! docs/decisions/034-stored-rows-change-by-rules.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealfleet_domain::access::Role;
use sealfleet_ledger::store::{Condition, Item, Table, Write};
use sealfleet_ledger::unpack;
use sealfleet_test_fakes::memory::Tables;
use serde_json::{Map, Value, json};

use crate::semantics::workflows::definition;
use crate::semantics::{Hand, registration, run_of, step, text};
use crate::world::{OWN, Sent, Who, World};

const KEY: &str = "the same request";

/// A deployment in the middle of everything, and the names of what is in it.
async fn busy() -> (World, Value) {
    let world = World::new().await;
    let (worker_id, credential) = world.worker_with_known_secret().await;
    let (hand_id, key) = (worker_id.clone(), world.key_with_known_secret().await);
    let hand = Hand {
        id: worker_id,
        credential,
    };
    let admin = world.credential(Who::Admin);

    let exhausted = world.enqueued_step(&json!({ "max_attempts": 1 })).await;
    world.claimed(&hand, &exhausted).await;
    world.leases_run_out().await;
    assert_eq!(world.step(&exhausted).await["state"], "dead");

    world
        .profile("team", &json!({ "env": { "TEAM": "one" } }))
        .await;
    world
        .replace_profile("team", &json!({ "env": { "TEAM": "two" } }))
        .await;
    world
        .ok(admin, "PUT /v1/cascade", json!({ "project": "team" }))
        .await;
    let later = "builtin://later@0198c0de-0000-7000-8000-00000000000b";
    world
        .profile("side", &json!({ "secrets": { "LATER": later } }))
        .await;
    let soft = json!({
        "keys": [{ "profile": "side", "key": "LATER" }], "hard": false, "reason": "left",
    });
    let revoked = world.ok(admin, "POST /v1/revocations", soft).await;
    let limits = json!({ "limits": { "requests_per_second": 900, "burst": 900 } });
    let operator = world.credential(Who::Operator);
    world
        .ok(operator, "PUT /v1/projects/healthcare/limits", limits)
        .await;

    let finished = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &finished).await;
    world.started(&hand, &lease).await;
    world.succeeded(&hand, &lease).await;
    let on_fargate = world
        .enqueued(json!({
            "workflow": "w", "profile": "crm",
            "steps": [step("only", &json!({ "pool": "fargate", "mode": "identity", "tool": "codex" }))],
        }))
        .await;
    world.deliver().await;
    world.tasks_go_on(None).await;
    let held = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &held).await;
    world.started(&hand, &lease).await;
    let waiting = world
        .enqueued(run_of(&[
            step("only", &json!({})),
            step("then", &json!({ "needs": ["only"] })),
        ]))
        .await;
    let repeated = text(&repeated(&world).await, "run_id");
    // A workflow whose second version waits for a decision, and a run of its first.
    world.live("nightly", definition("one")).await;
    let ticket = json!({ "parameters": { "ticket": "T-1" } });
    let by_name = text(&world.run_by_name("nightly", ticket).await, "run_id");
    world.register("nightly", definition("two")).await;
    let cancelled = world.enqueued_step(&json!({})).await;
    world.trail("").await;
    world.audit_table_is_away(true);
    let cancel = format!("POST /v1/runs/{cancelled}/cancel");
    world
        .ok(world.credential(Who::Member), &cancel, Value::Null)
        .await;
    world.audit_table_is_away(false);
    let names = json!({
        "worker": hand_id, "credential": hand.credential, "enrolment_key": key, "lease": lease,
        "exhausted": exhausted, "finished": finished, "on_fargate": on_fargate, "held": held,
        "waiting": waiting, "repeated": repeated, "cancelled": cancelled, "by_name": by_name,
        "revocation": revoked["revocations"][0]["revocation_id"],
    });
    (world, names)
}

/// A request with an idempotency key.
async fn repeated(world: &World) -> Value {
    let request = Sent {
        credential: world.credential(Who::Member).to_owned(),
        body: Some(run_of(&[step("only", &json!({}))]).to_string()),
        headers: BTreeMap::from([("idempotency-key", KEY.to_owned())]),
        ..Sent::default()
    };
    let (status, run) = world.send("POST", "/v1/runs", request).await;
    assert!(status == 200 || status == 201, "{run}");
    run
}

#[tokio::test]
async fn what_each_release_has_stored_is_driven_to_its_end() {
    let releases = std::fs::read_dir(folder()).unwrap();
    let mut driven = 0;
    for release in releases {
        let stored: Value =
            serde_json::from_slice(&std::fs::read(release.unwrap().path()).unwrap()).unwrap();
        drive(&stored).await;
        driven += 1;
    }
    assert!(driven > 0, "no release");
}

async fn drive(stored: &Value) {
    let at = stored["at"].as_i64().unwrap();
    let mut world = World::over(tables(stored), at).await;
    let name = |of: &str| text(&stored["names"], of);
    for (who, home, role) in [
        (Who::Admin, OWN, Role::Admin),
        (Who::Member, OWN, Role::Member),
        (Who::Viewer, OWN, Role::Viewer),
        (Who::Operator, "", Role::Operator),
    ] {
        world.admit_one(who, home, role).await;
    }
    let hand = Hand {
        id: name("worker"),
        credential: name("credential"),
    };
    // The step that was held is still held, and ends by its old lease.
    let lease = &stored["names"]["lease"];
    assert!(world.holds(&hand, lease).await);
    world.succeeded(&hand, lease).await;
    assert_eq!(world.run(&name("held")).await["state"], "succeeded");
    assert_eq!(world.run(&name("finished")).await["state"], "succeeded");

    // What waits is claimed, one step after the other; what is dead is tried again.
    let waiting = name("waiting");
    for step in ["only", "then"] {
        let lease = world.claimed_step(&hand, &waiting, step).await;
        world.started(&hand, &lease).await;
        world.succeeded(&hand, &lease).await;
    }
    let exhausted = name("exhausted");
    let retry = format!("POST /v1/runs/{exhausted}/steps/only/retry");
    world
        .ok(world.credential(Who::Member), &retry, Value::Null)
        .await;
    let lease = world.claimed(&hand, &exhausted).await;
    world.started(&hand, &lease).await;
    world.succeeded(&hand, &lease).await;
    assert_eq!(text(&repeated(&world).await, "run_id"), name("repeated"));

    // A run of a workflow ends, and what waited for a decision is decided and runs.
    let admin = world.credential(Who::Admin);
    let decided = world.approval("workflow:nightly@1").await;
    assert_eq!(decided["state"], "approved");
    let (status, approved) = world.approve(admin, "workflow:nightly@2").await;
    assert_eq!((status, &approved["state"]), (200, &json!("approved")));
    let ticket = json!({ "parameters": { "ticket": "T-2" } });
    let next = text(&world.run_by_name("nightly", ticket).await, "run_id");
    for (run, version) in [(name("by_name"), 1), (next, 2)] {
        assert_eq!(world.run(&run).await["workflow_version"], version);
        let lease = world.claimed(&hand, &run).await;
        world.started(&hand, &lease).await;
        world.succeeded(&hand, &lease).await;
    }

    // The task of the old release is gone, so its step runs once more.
    let on_fargate = name("on_fargate");
    world.leases_run_out().await;
    world.deliver().await;
    world.tasks_go_on(None).await;
    world.tasks_go_on(Some(0)).await;
    assert_eq!(world.run(&on_fargate).await["state"], "succeeded");

    // Profiles, revocations, keys and what waited in the outbox.
    world
        .replace_profile("team", &json!({ "env": { "TEAM": "three" } }))
        .await;
    let versions = world.get(admin, "/v1/profiles/team/versions").await;
    assert_eq!(versions["items"].as_array().unwrap().len(), 3);
    let lift = format!("POST /v1/revocations/{}/lift", name("revocation"));
    world.ok(admin, &lift, Value::Null).await;
    let registered = world
        .ok(
            &name("enrolment_key"),
            "POST /v1/workers/register",
            registration("new", &json!({})),
        )
        .await;
    assert_eq!(registered["status"], "approved");
    world.sweep().await;
    let cancelled = world.events(&name("cancelled"), "run.cancelled").await;
    assert_eq!(cancelled.len(), 1);
    for run in ["held", "waiting", "exhausted", "on_fargate"] {
        let ends = world.events(&name(run), "run.finished").await;
        assert!(!ends.is_empty(), "the trail of `{run}`");
    }
}

/// A change of the stored shape shows here. See the rules for what to do.
#[tokio::test]
async fn the_newest_file_has_rows_of_todays_shape() {
    let (world, names) = busy().await;
    let (rows, at) = world.stored();
    let path = folder().join(concat!(env!("CARGO_PKG_VERSION"), ".json"));
    let rows: Vec<Value> = rows
        .iter()
        .map(|(table, item)| shown(*table, item))
        .collect();
    let today = json!({ "at": at, "names": names, "rows": rows });
    if std::env::var_os("SEALFLEET_WRITE_DOCS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&today).unwrap() + "\n").unwrap();
    }
    let newest = std::fs::read(&path).unwrap_or_default();
    let newest: Value = serde_json::from_slice(&newest).unwrap_or_default();
    let (written, today) = (shapes(&newest), shapes(&today));
    let gone: Vec<_> = written.difference(&today).collect();
    let new: Vec<_> = today.difference(&written).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the shape of stored rows has changed: read docs/decisions/034-stored-rows-change-by-rules.md, then write {} with \
         scripts/write-docs\ngone: {gone:#?}\nnew: {new:#?}",
        path.display()
    );
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stored")
}

/// Each kind of row with the names of its attributes, and of the members of what is packed in them.
fn shapes(stored: &Value) -> BTreeSet<String> {
    let rows = stored["rows"].as_array().map(Vec::as_slice);
    let shape = |row: &Value| {
        let parts = |name: &str| -> String {
            // An id, a hash or a day is like any other.
            let text = row["item"][name]["S"].as_str().unwrap_or_default();
            let parts = text.split(['#', '/']).map(|part| {
                let digits = part.bytes().filter(u8::is_ascii_digit).count();
                if digits > 0 { "x" } else { part }
            });
            parts.collect::<Vec<_>>().join("#")
        };
        let attributes = row["item"].as_object().into_iter().flatten();
        let mut members = BTreeSet::new();
        for (name, value) in attributes {
            let packed = value["B"]
                .as_str()
                .map(|packed| STANDARD.decode(packed).unwrap());
            let unpacked = packed.map(|packed| unpack::<Value>(&packed).unwrap());
            let name = like_any(name);
            add_members(&name, &unpacked.unwrap_or_default(), &mut members);
        }
        format!("{} {} {members:?}", row["table"], parts("pk"))
    };
    rows.unwrap_or_default().iter().map(shape).collect()
}

/// A name, unless it is made of ids or numbers.
fn like_any(name: &str) -> String {
    let digits = name.bytes().any(|byte| byte.is_ascii_digit());
    if digits {
        "x".to_owned()
    } else {
        name.to_owned()
    }
}

/// Adds the path of each member below `path`.
fn add_members(path: &str, value: &Value, to: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                add_members(&format!("{path}.{}", like_any(name)), value, to);
            }
        }
        Value::Array(items) => {
            for item in items {
                add_members(path, item, to);
            }
        }
        _ => drop(to.insert(path.to_owned())),
    }
}

fn shown(table: Table, item: &Item) -> Value {
    let members: Map<String, Value> = item
        .iter()
        .map(|(name, value)| (name.clone(), of_value(value)))
        .collect();
    json!({ "table": format!("{table:?}"), "item": members })
}

/// As DynamoDB writes a value in JSON.
fn of_value(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::Bool(truth) => json!({ "BOOL": truth }),
        AttributeValue::B(bytes) => json!({ "B": STANDARD.encode(bytes) }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(of_value).collect::<Vec<_>>() }),
        AttributeValue::M(map) => {
            let members = map
                .iter()
                .map(|(name, value)| (name.clone(), of_value(value)));
            json!({ "M": members.collect::<Map<_, _>>() })
        }
        AttributeValue::Null(_) => json!({ "NULL": true }),
        other => panic!("{other:?}"),
    }
}

fn to_value(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let written = || value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(written()),
        "N" => AttributeValue::N(written()),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "B" => AttributeValue::B(Blob::new(STANDARD.decode(written()).unwrap())),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(to_value).collect()),
        "M" => AttributeValue::M(to_item(value)),
        "NULL" => AttributeValue::Null(true),
        other => panic!("{other}"),
    }
}

fn to_item(value: &Value) -> Item {
    let members = value.as_object().unwrap().iter();
    members
        .map(|(name, value)| (name.clone(), to_value(value)))
        .collect()
}

/// The tables with these rows, and a due index that knows of them.
fn tables(stored: &Value) -> Tables {
    let mut tables = Tables::default();
    for row in stored["rows"].as_array().unwrap() {
        let table = match row["table"].as_str() {
            Some("Audit") => Table::Audit,
            _ => Table::Ledger,
        };
        let put = Write::Put {
            table,
            item: to_item(&row["item"]),
            only_if: Condition::Absent,
        };
        tables.write(vec![put]).unwrap();
    }
    tables.settle(0);
    tables
}
