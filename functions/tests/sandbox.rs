//! What a Fargate sandbox tells of a step that runs, and hears in return.

use sealfleet_fargate::names::task_id;
use serde_json::{Value, json};

use crate::world::{FARGATE, OWN, Sent, Who, World, scope};

/// A step in a task, whose proxy delivers `API_KEY` if `policy` says so.
struct Task {
    world: World,
    run: String,
    id: String,
    fence: u64,
}

async fn post(world: &World, path: &str, body: Value) -> Value {
    let by = world.credential(Who::Admin);
    let (status, body) = world.request(by, "POST", path, &body).await;
    assert!(status < 300, "{path}: {status} {body}");
    body
}

impl Task {
    async fn with(policy: Value) -> Self {
        let world = World::new().await;
        let uri = format!("aws-sm://sealfleet/{OWN}/crm#api-key");
        let mut profile = json!({ "name": "cloud", "secrets": { "API_KEY": uri } });
        if policy != Value::Null {
            let to = json!([{ "host": "example.com", "port": 443 }]);
            profile["delivery"] = json!({ "API_KEY": { "egress": { "to": to } } });
            profile["egress"] = policy;
        }
        post(&world, "/v1/profiles", profile).await;
        let step = json!({ "id": "a", "pool": FARGATE, "mode": "identity", "command": ["true"] });
        let asked = json!({ "workflow": "w", "profile": "cloud", "steps": [step] });
        let run = post(&world, "/v1/runs", asked).await["run_id"].clone();
        let run = run.as_str().unwrap().to_owned();
        world.deliver().await;
        let stored = world.ledger.run(&scope(OWN), run.parse().unwrap()).await;
        let stored = stored.unwrap();
        let hold = stored.steps.values().find_map(|step| step.state.hold());
        let hold = hold.unwrap();
        let (id, fence) = (task_id(hold.handle.as_ref().unwrap()), hold.fence.number());
        Self {
            id: id.to_owned(),
            fence,
            run,
            world,
        }
    }

    async fn beat(&self, denied: Value) -> (u16, Value) {
        let mut body = json!({
            "project": OWN, "run_id": self.run, "step_id": "a", "fence": self.fence,
        });
        if denied != Value::Null {
            body["egress_denied"] = json!({ "rows": denied });
        }
        let request = Sent {
            body: Some(body.to_string()),
            sandbox: Some(self.id.clone()),
            ..Sent::default()
        };
        self.world
            .send("POST", "/v1/sandbox/heartbeat", request)
            .await
    }
}

fn policy() -> Value {
    json!({ "allow": [{ "host": "example.com", "port": 443 }] })
}

#[tokio::test]
async fn a_sandbox_hears_what_is_revoked_and_its_denials_are_on_record() {
    let task = Task::with(policy()).await;
    let nothing = task.beat(Value::Null).await;
    assert_eq!(nothing, (200, json!({ "denials_recorded": true })));
    let denied = task.world.events_of(&task.run, "egress.denied").await;
    assert_eq!(denied.len(), 0, "nothing is not on record");
    let row = json!({ "host": "example.org", "port": 443, "reason": "no_rule", "count": 2 });
    let (status, answer) = task.beat(json!([row])).await;
    assert_eq!((status, &answer["denials_recorded"]), (200, &json!(true)));
    let denied = task.world.events_of(&task.run, "egress.denied").await;
    assert_eq!(denied[0]["rows"], json!([row]), "{denied:?}");

    let key = json!({ "keys": [{ "profile": "cloud", "key": "API_KEY" }], "reason": "leaked" });
    post(&task.world, "/v1/revocations", key).await;
    let (_, answer) = task.beat(Value::Null).await;
    assert_eq!(answer["revoked"], json!(["API_KEY"]), "{answer}");
    // A soft one: the step goes on.
    let stored = task
        .world
        .ledger
        .run(&scope(OWN), task.run.parse().unwrap())
        .await;
    assert!(
        stored
            .unwrap()
            .steps
            .values()
            .all(|step| step.state.hold().is_some())
    );
}

#[tokio::test]
async fn only_the_sandbox_of_a_step_with_a_policy_tells_and_not_too_much() {
    let task = Task::with(policy()).await;
    let row = |port: usize| json!({ "host": "example.org", "port": port, "reason": "no_rule", "count": 1 });
    let many: Vec<Value> = (1..=sealfleet_domain::limits::EGRESS_ROWS + 1)
        .map(row)
        .collect();
    assert_eq!(task.beat(json!(many)).await.0, 400);
    let other = Task {
        id: "ffffffffffffffffffffffffffffffff".to_owned(),
        ..task
    };
    assert_eq!(other.beat(json!([row(1)])).await.0, 404);
    // Its command has the same role, and could fill the trail.
    let open = Task::with(Value::Null).await;
    let (status, answer) = open.beat(json!([row(1)])).await;
    assert_eq!((status, &answer["code"]), (409, &json!("step_mismatch")));
    let denied = open.world.events_of(&open.run, "egress.denied").await;
    assert_eq!(denied.len(), 0);
}
