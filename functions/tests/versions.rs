//! How often Secrets Manager is asked for the version of a secret, and what a rotation means
//! meanwhile. `enqueue` and `dispatch` are two processes, each with what it was told.

use serde_json::{Value, json};

use crate::world::{CRM, FARGATE, Sent, Who, World};

/// Seconds for which a process uses an answer.
const MINUTE: i64 = 60;
/// A question to Secrets Manager.
const DESCRIBED: &str = "describe secret";
const SECRET: &str = "sealfleet/healthcare/crm";

impl World {
    async fn enqueued_in_aws(&self) -> String {
        let only =
            json!({ "id": "only", "pool": FARGATE, "mode": "identity", "command": ["true"] });
        let body = json!({ "workflow": "w", "profile": CRM, "steps": [only] });
        let by = self.credential(Who::Member);
        let (status, run) = self.request(by, "POST", "/v1/runs", &body).await;
        assert_eq!(status, 201, "{run}");
        run["run_id"].as_str().unwrap().to_owned()
    }

    /// The events of a run, by its trail.
    pub async fn events_of(&self, run: &str, kind: &str) -> Vec<Value> {
        let by = self.credential(Who::Admin);
        let request = Sent {
            credential: by.to_owned(),
            query: json!({ "limit": "100", "run": run }),
            ..Sent::default()
        };
        let trail = self.send("GET", "/v1/audit", request).await.1;
        let entries = trail["items"].as_array().unwrap().iter();
        let events = entries.flat_map(|entry| entry["events"].as_array().unwrap().clone());
        events.filter(|event| event["type"] == kind).collect()
    }

    /// The version that a run's only claim was released, which must be what its task gets.
    async fn released(&self, run: &str) -> String {
        let released = self.events_of(run, "secret.released").await;
        assert_eq!(released.len(), 1, "{released:?}");
        let version = released[0]["secrets"][0]["version"].as_str().unwrap();
        let injected = self.injected();
        let (_, secrets) = injected
            .iter()
            .find(|(claim, _)| claim.contains(run))
            .unwrap();
        assert_eq!(secrets[0].version.as_deref(), Some(version));
        version.chars().last().unwrap().to_string()
    }
}

#[tokio::test]
async fn a_process_asks_for_a_version_once_a_minute() {
    let world = World::new().await;
    world.calls(DESCRIBED);
    for _ in 0..3 {
        world.enqueued_in_aws().await;
        world.deliver().await;
    }
    assert_eq!((world.tasks(), world.calls(DESCRIBED)), (3, 2));
    world.time_goes_by(MINUTE);
    world.enqueued_in_aws().await;
    world.deliver().await;
    assert_eq!((world.tasks(), world.calls(DESCRIBED)), (4, 4));
}

#[tokio::test]
async fn a_rotation_is_seen_a_minute_later_and_what_is_released_is_what_is_injected() {
    let world = World::new().await;
    let before = world.enqueued_in_aws().await;
    world.deliver().await;
    world.rotate(SECRET);
    let meanwhile = world.enqueued_in_aws().await;
    world.deliver().await;
    world.time_goes_by(MINUTE);
    let after = world.enqueued_in_aws().await;
    world.deliver().await;
    for (run, version) in [(before, "1"), (meanwhile, "1"), (after, "2")] {
        assert_eq!(world.released(&run).await, version);
        let drift = world.events_of(&run, "profile.drift_at_injection").await;
        assert!(drift.is_empty(), "{drift:?}");
    }
}

#[tokio::test]
async fn drift_is_never_told_by_an_old_answer() {
    let world = World::new().await;
    world.enqueued_in_aws().await;
    world.time_goes_by(MINUTE / 2);
    // `dispatch` asks later than `enqueue`, so `enqueue` is the first to see the rotation.
    world.deliver().await;
    world.rotate(SECRET);
    world.time_goes_by(MINUTE / 2);
    let run = world.enqueued_in_aws().await;
    world.deliver().await;
    assert_eq!(world.released(&run).await, "2");
    let drift = world.events_of(&run, "profile.drift_at_injection").await;
    assert!(drift.is_empty(), "{drift:?}");
}

#[tokio::test]
async fn a_rotation_before_the_start_is_drift() {
    let world = World::new().await;
    let run = world.enqueued_in_aws().await;
    world.rotate(SECRET);
    world.deliver().await;
    assert_eq!(world.released(&run).await, "2");
    let drift = world.events_of(&run, "profile.drift_at_injection").await;
    assert_eq!(drift[0]["rotated"], json!(["API_KEY"]), "{drift:?}");
}
