//! Rows that the ledger wrote, decoded for people from DynamoDB's JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use sealfleet_domain::cascade::Overrides;
use sealfleet_domain::identity::{Identity, SecretRef};
use sealfleet_domain::run::{Executor, Fresh, Mode, Outcome, Run};
use sealfleet_domain::{ProjectScope, RunId};
use sealfleet_ledger::{Error, Ledger, NewClaim, shown};
use sealfleet_system::{SystemClock, SystemIds};
use sealfleet_test_dynamo::Streamed;
use serde_json::{Value, json};

use crate::fixtures::{PACE, scope, spec, worker};

/// All rows of a table, as the AWS CLI prints them.
async fn rows(client: &Client, table: &str) -> Vec<Value> {
    let scanned = client.scan().table_name(table).send().await.unwrap();
    let rows = scanned.items.unwrap_or_default().into_iter();
    rows.map(|row| serde_json::to_value(serde_dynamo::Item::from(row)).unwrap())
        .collect()
}

fn of<'a>(rows: &'a [Value], part: &str) -> Vec<&'a Value> {
    let rows = rows.iter();
    rows.filter(|row| row["pk"].as_str().unwrap().contains(part))
        .collect()
}

fn identity(version: &str) -> Identity {
    let secret = |name: &str| SecretRef {
        delivery: sealfleet_domain::delivery::Delivery::Env,
        redact: true,
        name: name.to_owned(),
        uri: format!("builtin://{}", name.to_lowercase())
            .parse()
            .unwrap(),
        version: Some(version.to_owned()),
        arn: None,
        from: "crm".parse().unwrap(),
    };
    Identity {
        profiles: Vec::new(),
        overrides: Overrides::default(),
        env: BTreeMap::from([("KNOB".to_owned(), "1".to_owned())]),
        secrets: vec![secret("A"), secret("B")],
        tools: None,
        egress: None,
        workload: None,
    }
}

/// A run of an identity step that is held and has drifted, and of enough ended steps that its first
/// entries were moved out of it.
async fn driven(ledger: &Ledger, scope: &ProjectScope) -> RunId {
    let now = ledger.now();
    let run_id = RunId::new(ledger.ids(), now);
    let mut waits = spec(Mode::Sandboxed);
    waits.needs.insert("a".parse().unwrap());
    let mut steps = BTreeMap::from([
        ("a".parse().unwrap(), spec(Mode::Identity)),
        ("b".parse().unwrap(), waits),
    ]);
    for number in 0..4 {
        steps.insert(format!("s{number}").parse().unwrap(), spec(Mode::Sandboxed));
    }
    let workflow = "w".parse().unwrap();
    let (run, change) = Run::enqueue(run_id, workflow, Some(identity("1")), steps, PACE, now);
    let stored = ledger.enqueue(scope, run, &change, None, "test");
    stored.await.unwrap();
    let worker = worker(ledger, 10);
    for step in ["s0", "s1", "s2", "s3", "a"] {
        let step_id = step.parse().unwrap();
        let wanted = NewClaim {
            scope,
            worker: &worker,
            run_id,
            step_id: &step_id,
            executor: Executor::Worker,
            pace: PACE,
        };
        let fresh = match step {
            "a" => Fresh::Identity(identity("2")),
            _ => Fresh::Nothing,
        };
        let claimed = ledger
            .claim(&wanted, async |_| Ok(fresh.clone()))
            .await
            .unwrap();
        if step == "a" {
            break;
        }
        // Text that does not shrink makes the entries large.
        let words = (0..600).map(|word| {
            let seed = format!("{step}-{word}");
            sealfleet_domain::hash::sha256_hex(seed.as_bytes())
        });
        let actor: String = words.collect();
        let ended = ledger.transition(scope, run_id, &actor, |run, now| {
            run.finish(
                &step_id,
                None,
                claimed.fence,
                &Outcome::Succeeded,
                PACE,
                now,
            )
        });
        ended.await.unwrap();
    }
    run_id
}

#[tokio::test]
async fn every_row_that_is_written_is_decoded() {
    let (store, client) = sealfleet_test_dynamo::start().await.unwrap();
    let over = |store| Ledger::new(store, Arc::new(SystemClock), Arc::new(SystemIds));
    let copier = over(store.clone());
    let ledger = over(Arc::new(Streamed::new(store, copier)));
    let scope = scope("healthcare");
    let run_id = driven(&ledger, &scope).await;
    let all = rows(&client, "ledger").await;
    let decoded = shown(all.clone()).unwrap();
    assert_eq!(decoded.len(), all.len());

    let [run] = of(&decoded, "#RUNS#")[..] else {
        panic!("one run: {decoded:?}")
    };
    assert_eq!(run["sk"], json!(run_id));
    assert_eq!(run["plan"]["workflow"], "w");
    assert_eq!(run["plan"]["steps"]["a"]["mode"], "identity");
    assert_eq!(run["s#s0"]["state"]["is"], "succeeded", "{}", run["s#s0"]);
    assert_eq!(
        (&run["left"], &run["n#b"], &run["moved"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert!(
        run["due_at"].as_str().unwrap().ends_with('Z'),
        "{}",
        run["due_at"]
    );
    let last = run["e"].as_array().unwrap().last().unwrap();
    assert_eq!(last["events"][0]["type"], "step.leased", "{last}");
    assert!(last["event_id"].as_str().unwrap().starts_with("evt_"));
    let identities = run["identities"].as_object().unwrap();
    assert_eq!(identities.len(), 2, "enqueued and drifted: {identities:?}");
    assert!(identities.values().all(|names| *names == json!(["A", "B"])));
    assert!(identities.contains_key(run["plan"]["identity"].as_str().unwrap()));
    assert!(identities.contains_key(run["s#a"]["identity"].as_str().unwrap()));

    let [moved] = of(&decoded, "#ENTRIES#")[..] else {
        panic!("one row of moved entries")
    };
    assert_eq!(moved["e"][0]["events"][0]["type"], "run.enqueued");
    let [lease] = of(&decoded, "#LEASES#")[..] else {
        panic!("one lease")
    };
    assert!(lease["until"].as_str().unwrap().ends_with('Z'), "{lease}");
    let [identity, _] = of(&decoded, "#IDENTITY#")[..] else {
        panic!("two identities")
    };
    assert_eq!(identity["z"]["secrets"][0]["name"], "A");

    let trail = shown(rows(&client, "audit").await).unwrap();
    assert!(
        trail
            .iter()
            .any(|row| row.to_string().contains("run.enqueued")),
        "{trail:?}"
    );
    assert!(trail[0]["expires_at"].as_str().unwrap().ends_with('Z'));

    // A run alone: its identities are not known.
    let run = all
        .iter()
        .find(|row| row["pk"].to_string().contains("#RUNS#"))
        .unwrap();
    let alone = shown(vec![run.clone()]).unwrap();
    let identities = alone[0]["identities"].as_object().unwrap();
    assert!(identities.len() == 2 && identities.values().all(Value::is_null));
}

#[tokio::test]
async fn what_is_no_row_or_was_changed_is_told() {
    let (store, client) = sealfleet_test_dynamo::start().await.unwrap();
    let ledger = Ledger::new(store, Arc::new(SystemClock), Arc::new(SystemIds));
    driven(&ledger, &scope("healthcare")).await;
    let all = rows(&client, "ledger").await;
    let one = |part: &str| {
        let found = all.iter().find(|row| row["pk"].to_string().contains(part));
        found.unwrap().clone()
    };
    let (run, mut identity) = (one("#RUNS#"), one("#IDENTITY#"));
    let told = |row: Value| match shown(vec![row]) {
        Err(Error::Unreadable(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(told(json!("text")).starts_with("no row in DynamoDB's JSON"));
    assert!(told(json!({ "pk": { "S": "PRJ#a" } })).contains("without `pk` and `sk`"));
    let mut cut = run.clone();
    cut["plan"]["B"] = json!("AQAA");
    assert!(told(cut).starts_with("`plan`: "));
    let mut later = run.clone();
    later["f"]["N"] = json!("2");
    assert!(told(later).contains("another format than 1"));
    let mut text = run;
    text["plan"]["B"] = json!("no base64!");
    assert!(told(text).starts_with("no row in DynamoDB's JSON"));
    let mut others = all.iter().rev();
    let other = others.find(|row| row["pk"].to_string().contains("#IDENTITY#"));
    let other = other.unwrap()["z"].clone();
    identity["z"] = other;
    assert!(told(identity).contains("somebody changed it"));
}
