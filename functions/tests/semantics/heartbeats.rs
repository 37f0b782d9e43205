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
    assert_eq!(after.2 - before.2, STEPS * beats);
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
