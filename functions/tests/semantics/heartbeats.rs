//! What a heartbeat costs, and what it must not save.

use serde_json::{Value, json};

use super::{Hand, run_of, step};
use crate::world::{Who, World};

/// Seconds between two heartbeats.
const BEAT: i64 = 10;
const STEPS: usize = 5;

impl World {
    /// A run whose steps are all claimed by one worker: its leases.
    async fn claimed_by(&self, hand: &Hand) -> Vec<Value> {
        let names: Vec<String> = (0..STEPS).map(|number| format!("s{number}")).collect();
        let steps: Vec<Value> = names.iter().map(|name| step(name, &json!({}))).collect();
        let run = self.enqueued(run_of(&steps)).await;
        let mut leases = Vec::new();
        for name in names {
            leases.push(self.claimed_step(hand, &run, &name).await);
        }
        leases
    }
}

#[tokio::test]
async fn a_heartbeat_reads_each_run_once_and_writes_each_lease_once() {
    let world = World::new().await;
    let hand = world.hand(&json!({ "max_concurrent": 8 })).await;
    let leases = world.claimed_by(&hand).await;
    let calls = || {
        (
            world.calls("get "),
            world.calls("query "),
            world.calls("write "),
        )
    };
    // What the claims have written is copied to the trail first.
    world.trail("").await;
    let before = calls();
    let beats = 20;
    for _ in 0..beats {
        world.time_goes_by(BEAT);
        assert_eq!(world.held(&hand, &leases).await, STEPS);
    }
    let after = calls();
    // The worker and the run.
    assert_eq!(after.0 - before.0, 2 * beats);
    assert_eq!(after.1 - before.1, 0);
    // Each lease each time, and once a minute that the worker was seen.
    assert_eq!(after.2 - before.2, STEPS * beats + 4);
}

#[tokio::test]
async fn an_admin_sees_when_a_worker_was_there_and_what_it_holds() {
    let world = World::new().await;
    let admin = world.credential(Who::Admin);
    let hand = world.hand(&json!({ "max_concurrent": 8 })).await;
    let path = format!("/v1/workers/{}", hand.id);
    let shown = world.get(admin, &path).await;
    assert_eq!(
        (shown.get("last_seen_at"), &shown["held"]),
        (None, &json!(0))
    );

    let leases = world.claimed_by(&hand).await;
    let beat = json!({ "leases": leases, "version": "1.2.3" });
    world
        .ok(&hand.credential, "POST /v1/heartbeats", beat)
        .await;
    let shown = world.get(admin, &path).await;
    let seen = shown["last_seen_at"].clone();
    assert!(seen.is_string(), "{shown}");
    assert_eq!(
        (&shown["version"], &shown["held"]),
        (&json!("1.2.3"), &json!(STEPS))
    );
    let steps = shown["steps"].as_array().unwrap();
    assert!(leases.iter().all(|lease| steps.contains(lease)), "{shown}");
    let listed = world.get(admin, "/v1/workers?limit=100").await;
    let rows = listed["items"].as_array().unwrap();
    let row = rows.iter().find(|row| row["worker_id"] == hand.id).unwrap();
    assert_eq!(
        (&row["last_seen_at"], &row["held"], row.get("steps")),
        (&seen, &json!(STEPS), None)
    );

    // Another note only a minute later, and none that is not a line.
    world.time_goes_by(BEAT);
    world.held(&hand, &leases).await;
    assert_eq!(world.get(admin, &path).await["last_seen_at"], seen);
    world.time_goes_by(60);
    world.held(&hand, &leases).await;
    assert_ne!(world.get(admin, &path).await["last_seen_at"], seen);
    let beat = json!({ "leases": [], "version": "1\u{1b}[2J" });
    let refused = (400, "invalid_request");
    world
        .refused(&hand.credential, "POST /v1/heartbeats", beat, refused)
        .await;
}

#[tokio::test]
async fn the_next_heartbeat_finds_what_was_cancelled() {
    let world = World::new().await;
    let hand = world.hand(&json!({ "max_concurrent": 8 })).await;
    let leases = world.claimed_by(&hand).await;
    world.time_goes_by(BEAT);
    assert_eq!(world.held(&hand, &leases).await, STEPS);
    let run = leases[0]["run_id"].as_str().unwrap();
    let cancel = format!("POST /v1/runs/{run}/cancel");
    let member = world.credential(Who::Member);
    world.ok(member, &cancel, Value::Null).await;
    assert_eq!(world.held(&hand, &leases).await, 0);
    let beat = json!({ "leases": leases });
    let beat = world
        .ok(&hand.credential, "POST /v1/heartbeats", beat)
        .await;
    for verdict in beat["leases"].as_array().unwrap() {
        assert_eq!(verdict["cancelled"], true, "{verdict}");
    }
}

/// A sandbox is killed at once where somebody else may have its step, or must not have its secret.
#[tokio::test]
async fn only_what_a_caller_ended_is_told_as_cancelled() {
    let world = World::new().await;
    let hand = world.hand(&json!({})).await;
    let other = world.hand(&json!({})).await;
    let run = world.enqueued_step(&json!({})).await;
    let lease = world.claimed(&hand, &run).await;
    let cancel = format!("POST /v1/runs/{run}/cancel");
    let cancelled = async |hand: &Hand| {
        let beat = json!({ "leases": [lease.clone()] });
        let beat = world
            .ok(&hand.credential, "POST /v1/heartbeats", beat)
            .await;
        beat["leases"][0]["cancelled"] == true
    };
    assert!(!cancelled(&hand).await, "it is held");
    world.time_goes_by(120);
    world.sweep().await;
    assert!(!cancelled(&hand).await, "its lease ran out");
    let taken = world.claimed(&other, &run).await;
    world
        .ok(world.credential(Who::Member), &cancel, Value::Null)
        .await;
    assert!(!cancelled(&hand).await, "another claim was cancelled");
    assert_ne!(taken["fence"], lease["fence"]);
}
