//! How a step that not every worker of its pool can run finds one that can.

use sealfleet_api::types::QueueMessage;
use serde_json::{Value, json};

use super::fleet::MISMATCH;
use super::{Hand, success};
use crate::world::{Who, World};

const EU: &str = r#"{ "requires": { "region": "eu" } }"#;

impl World {
    /// A worker that cannot run the step of a hint claims it.
    async fn mismatched(&self, hand: &Hand, hint: &QueueMessage) {
        let body = serde_json::to_value(hint).unwrap();
        self.refused(&hand.credential, "POST /v1/claims", body, MISMATCH)
            .await;
    }

    /// A step that requires `region=eu`, and its first hint.
    async fn of_eu(&self) -> (String, QueueMessage) {
        let run = self.enqueued_step(&serde_json::from_str(EU).unwrap()).await;
        let hint = self.hints().pop().unwrap();
        (run, hint)
    }

    async fn able(&self) -> Hand {
        self.hand(&json!({ "labels": { "region": "eu" } })).await
    }

    /// The steps that a worker is told of when it reports success.
    async fn waiting_after(&self, hand: &Hand, lease: &Value) -> Vec<Value> {
        let answer = self
            .ok(&hand.credential, "POST /v1/reports", success(lease))
            .await;
        answer["waiting"].as_array().cloned().unwrap_or_default()
    }
}

#[tokio::test]
async fn a_hint_is_passed_on_until_a_worker_that_can_run_its_step_has_it() {
    let world = World::new().await;
    let (unable, able) = (world.hand(&json!({})).await, world.able().await);
    let (run, hint) = world.of_eu().await;
    world.mismatched(&unable, &hint).await;
    let copies = world.hints();
    assert_eq!(copies.len(), 4);
    // Each copy that comes to a worker that cannot use it is one again.
    for copy in &copies {
        assert_eq!(copy.run_id.to_string(), run);
        world.mismatched(&unable, copy).await;
    }
    assert_eq!(world.hints(), copies);
    world.claimed(&able, &run).await;
    // One refusal is on record, not one for each copy.
    assert_eq!(world.events(&run, "claim.refused").await.len(), 1);
}

#[tokio::test]
async fn a_hint_is_passed_on_to_no_worker_that_drains() {
    let world = World::new().await;
    let (unable, able) = (world.hand(&json!({})).await, world.able().await);
    let (_, hint) = world.of_eu().await;
    let drain = format!("POST /v1/workers/{}/drain", able.id);
    world
        .ok(world.credential(Who::Admin), &drain, Value::Null)
        .await;
    world.mismatched(&unable, &hint).await;
    assert_eq!(world.hints(), []);
}

#[tokio::test]
async fn a_hint_is_passed_on_for_some_seconds_only() {
    let world = World::new().await;
    let (unable, _able) = (world.hand(&json!({})).await, world.able().await);
    let (_, hint) = world.of_eu().await;
    world.mismatched(&unable, &hint).await;
    let copy = world.hints().pop().unwrap();
    world.time_goes_by(6);
    world.mismatched(&unable, &copy).await;
    assert_eq!(world.hints(), []);
    // Nor longer for a worker that says so.
    let mut forged = copy;
    forged.passed_on_until = forged.passed_on_until.map(|until| until.plus_seconds(3600));
    world.mismatched(&unable, &forged).await;
    let passed_on = world.hints().pop().unwrap();
    assert!(passed_on.passed_on_until < forged.passed_on_until);
}

#[tokio::test]
async fn nothing_is_sent_while_no_worker_can_run_the_step() {
    let world = World::new().await;
    let unable = world.hand(&json!({})).await;
    let elsewhere = json!({ "labels": { "region": "us" } });
    let _others = (world.hand(&json!({})).await, world.hand(&elsewhere).await);
    let (_, hint) = world.of_eu().await;
    world.mismatched(&unable, &hint).await;
    assert_eq!(world.hints(), []);
}

#[tokio::test]
async fn a_busy_worker_is_told_of_the_steps_that_wait_for_it_when_it_has_a_free_slot() {
    let world = World::new().await;
    let (unable, able) = (world.hand(&json!({})).await, world.able().await);
    let (busy_with, _) = world.of_eu().await;
    let lease = world.claimed(&able, &busy_with).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let (run, hint) = world.of_eu().await;
        // Twice, as when `sweep` sends it again.
        world.mismatched(&unable, &hint).await;
        world.mismatched(&unable, &hint).await;
        waiting.push(json!({ "run_id": run, "step_id": "only" }));
    }
    assert_eq!(world.hints(), [], "nobody could use a copy");
    assert!(world.holds(&able, &lease).await);
    assert_eq!(world.waiting_after(&able, &lease).await, waiting);
    assert!(world.waiting_after(&able, &lease).await.is_empty(), "once");
    let run = waiting[0]["run_id"].as_str().unwrap();
    world.claimed(&able, run).await;
}

#[tokio::test]
async fn a_worker_that_is_free_again_gets_a_copy() {
    let world = World::new().await;
    let (unable, able) = (world.hand(&json!({})).await, world.able().await);
    let (busy_with, _) = world.of_eu().await;
    let lease = world.claimed(&able, &busy_with).await;
    assert!(world.waiting_after(&able, &lease).await.is_empty());
    let (_, hint) = world.of_eu().await;
    world.mismatched(&unable, &hint).await;
    assert_eq!(world.hints().len(), 4);
}
