//! Acceptance scenarios that are the API's own meaning: validation, conflicts, versions, leases,
//! cascades. They need neither AWS nor processes, and keep the numbers of the acceptance list;
//! `tests/scenarios` has the others.

mod approvals;
pub mod artifacts;
mod bad_input;
mod cascade;
mod containments;
mod deletion;
mod delivery;
mod egress;
mod fleet;
mod golden;
mod heartbeats;
mod hints;
mod inputs;
mod outputs;
mod profiles;
mod projects;
mod revocations;
mod runs;
mod sandboxes;
mod trail;
mod usage;
pub mod workflows;

use std::collections::BTreeMap;

use sealfleet_fargate::names::task_id;
use serde_json::{Value, json};

use crate::world::{OWN, POOL, Sent, Who, World, scope};

/// A reference that stands for a secret beside a pull worker; nobody resolves it here.
fn beside(name: &str) -> String {
    format!("builtin://{name}@0198c0de-0000-7000-8000-00000000000b")
}

/// `base` with the members of `more`.
fn merged(base: &Value, more: &Value) -> Value {
    let mut merged = base.clone();
    for (name, value) in more.as_object().unwrap() {
        merged[name] = value.clone();
    }
    merged
}

/// A step of the pull pool; `more` adds to it or changes it.
pub fn step(id: &str, more: &Value) -> Value {
    let step = json!({ "id": id, "pool": POOL, "mode": "sandboxed", "command": ["true"] });
    merged(&step, more)
}

pub fn run_of(steps: &[Value]) -> Value {
    json!({ "workflow": "w", "steps": steps })
}

/// A run of one identity step `only` with a profile.
fn with_profile(profile: &str) -> Value {
    let only = step("only", &json!({ "mode": "identity" }));
    merged(&run_of(&[only]), &json!({ "profile": profile }))
}

pub fn text(value: &Value, name: &str) -> String {
    let found = value[name].as_str();
    found
        .unwrap_or_else(|| panic!("no `{name}` in {value}"))
        .to_owned()
}

/// The events of one kind in audit entries.
fn named(entries: &Value, name: &str) -> Vec<Value> {
    let entries = entries["items"].as_array().unwrap().iter();
    let events = entries.flat_map(|entry| entry["events"].as_array().unwrap());
    events
        .filter(|event| event["type"] == name)
        .cloned()
        .collect()
}

/// A worker that the test plays.
pub struct Hand {
    pub id: String,
    pub credential: String,
}

impl World {
    /// The answer to `METHOD /path?query` by a credential.
    pub async fn asked(&self, by: &str, what: &str, body: &Value) -> (u16, Value) {
        let (method, path) = what.split_once(' ').unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query: BTreeMap<&str, &str> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let request = Sent {
            credential: by.to_owned(),
            query: json!(query),
            body: (!body.is_null()).then(|| body.to_string()),
            ..Sent::default()
        };
        self.send(method, path, request).await
    }

    /// The answer to a request that is granted.
    pub async fn ok(&self, by: &str, what: &str, body: Value) -> Value {
        let (status, answer) = self.asked(by, what, &body).await;
        assert!(
            (200..300).contains(&status),
            "{what} {body}: {status} {answer}"
        );
        answer
    }

    pub async fn get(&self, by: &str, path: &str) -> Value {
        self.ok(by, &format!("GET {path}"), Value::Null).await
    }

    /// The problem of a request that is refused.
    pub async fn refused(
        &self,
        by: &str,
        what: &str,
        body: Value,
        (status, code): (u16, &str),
    ) -> Value {
        let answer = self.asked(by, what, &body).await;
        assert_eq!(answer.0, status, "{what} {body}: {}", answer.1);
        assert_eq!(answer.1["code"], code, "{what} {body}: {}", answer.1);
        answer.1
    }

    pub async fn enqueued(&self, body: Value) -> String {
        let member = self.credential(Who::Member);
        text(&self.ok(member, "POST /v1/runs", body).await, "run_id")
    }

    /// Enqueues a run of one step `only`.
    pub async fn enqueued_step(&self, more: &Value) -> String {
        self.enqueued(run_of(&[step("only", more)])).await
    }

    /// ECS starts the task of a run's step `only`: the task's id, and its claim.
    pub async fn in_its_task(&self, run: &str) -> (String, Value) {
        self.deliver().await;
        self.tasks_go_on(None).await;
        let stored = self.ledger.run(&scope(OWN), run.parse().unwrap()).await;
        let stored = stored.unwrap();
        let step = stored.step(&"only".parse().unwrap()).unwrap();
        let hold = step.state.hold().unwrap();
        let task = task_id(hold.handle.as_ref().unwrap()).to_owned();
        let lease = json!({ "run_id": run, "step_id": "only", "fence": hold.fence });
        (task, lease)
    }

    /// The answer to a task that asks by its role.
    pub async fn asked_by_task(&self, task: &str, route: &str, body: &Value) -> (u16, Value) {
        let body = merged(body, &json!({ "project": OWN }));
        let request = Sent {
            body: Some(body.to_string()),
            sandbox: Some(task.to_owned()),
            ..Sent::default()
        };
        self.send("POST", &format!("/v1/sandbox/{route}"), request)
            .await
    }

    pub async fn profile(&self, name: &str, content: &Value) {
        let body = merged(content, &json!({ "name": name }));
        self.ok(self.credential(Who::Admin), "POST /v1/profiles", body)
            .await;
    }

    /// Replaces a profile whatever its version is.
    pub async fn replace_profile(&self, name: &str, content: &Value) {
        let admin = self.credential(Who::Admin);
        let path = format!("/v1/profiles/{name}");
        let version = self.get(admin, &path).await["version"].clone();
        let request = Sent {
            credential: admin.to_owned(),
            headers: BTreeMap::from([("if-match", format!("\"{version}\""))]),
            body: Some(content.to_string()),
            ..Sent::default()
        };
        assert_eq!(self.send("PUT", &path, request).await.0, 200, "{path}");
    }

    /// A new enrolment key: its id and its text.
    pub async fn key(&self, more: &Value) -> (String, String) {
        let body = merged(&json!({ "pool": POOL }), more);
        let admin = self.credential(Who::Admin);
        let made = self.ok(admin, "POST /v1/enrolment-keys", body).await;
        (
            text(&made, "enrolment_key_id"),
            text(&made, "enrolment_key"),
        )
    }

    /// A worker of [`OWN`] that an enrolment key has approved.
    pub async fn hand(&self, more: &Value) -> Hand {
        let mut covered = json!({});
        for name in ["labels", "models"] {
            if !more[name].is_null() {
                covered[name] = more[name].clone();
            }
        }
        let (_, key) = self.key(&covered).await;
        let made = self
            .ok(&key, "POST /v1/workers/register", registration("w", more))
            .await;
        assert_eq!(made["status"], "approved");
        Hand {
            id: text(&made, "worker_id"),
            credential: text(&made, "credential"),
        }
    }

    /// Claims the step `only` of a run: the lease as later requests name it.
    pub async fn claimed(&self, hand: &Hand, run: &str) -> Value {
        self.claimed_step(hand, run, "only").await
    }

    /// Claims a step: the lease as later requests name it.
    pub async fn claimed_step(&self, hand: &Hand, run: &str, step: &str) -> Value {
        let body = json!({ "run_id": run, "step_id": step });
        let claim = self
            .ok(&hand.credential, "POST /v1/claims", body.clone())
            .await;
        merged(&body, &json!({ "fence": claim["fence"] }))
    }

    pub async fn claim_refused(&self, hand: &Hand, run: &str, expected: (u16, &str)) -> Value {
        let body = json!({ "run_id": run, "step_id": "only" });
        self.refused(&hand.credential, "POST /v1/claims", body, expected)
            .await
    }

    pub async fn started(&self, hand: &Hand, lease: &Value) {
        let body = merged(lease, &json!({ "sandbox": "s" }));
        self.ok(&hand.credential, "POST /v1/starts", body).await;
    }

    pub async fn succeeded(&self, hand: &Hand, lease: &Value) {
        self.ok(&hand.credential, "POST /v1/reports", success(lease))
            .await;
    }

    pub async fn report_refused(&self, hand: &Hand, body: Value, expected: (u16, &str)) -> Value {
        self.refused(&hand.credential, "POST /v1/reports", body, expected)
            .await
    }

    /// Whether a heartbeat says that a lease is held.
    pub async fn holds(&self, hand: &Hand, lease: &Value) -> bool {
        self.held(hand, std::slice::from_ref(lease)).await == 1
    }

    /// How many of these leases a heartbeat says are held.
    pub async fn held(&self, hand: &Hand, leases: &[Value]) -> usize {
        let body = json!({ "leases": leases });
        let beat = self.ok(&hand.credential, "POST /v1/heartbeats", body).await;
        let verdicts = beat["leases"].as_array().unwrap();
        let held = verdicts.iter().filter(|verdict| verdict["held"] == true);
        held.count()
    }

    pub async fn run(&self, run: &str) -> Value {
        self.get(self.credential(Who::Viewer), &format!("/v1/runs/{run}"))
            .await
    }

    /// The step `only` of a run.
    pub async fn step(&self, run: &str) -> Value {
        let shown = self.run(run).await;
        let steps = shown["steps"].as_array().unwrap().iter();
        steps
            .clone()
            .find(|step| step["id"] == "only")
            .unwrap()
            .clone()
    }

    /// Time goes by until leases have run out and queued steps are looked at.
    pub async fn leases_run_out(&self) {
        self.time_goes_by(61);
        self.sweep().await;
    }

    pub async fn trail(&self, query: &str) -> Value {
        let path = format!("/v1/audit?limit=100{query}");
        self.get(self.credential(Who::Admin), &path).await
    }

    /// The events of one kind of a run.
    pub async fn events(&self, run: &str, name: &str) -> Vec<Value> {
        named(&self.trail(&format!("&run={run}")).await, name)
    }
}

/// The body of a worker's registration in [`OWN`].
pub fn registration(name: &str, more: &Value) -> Value {
    let modes = ["bare", "sandboxed", "identity"];
    let body = json!({ "project": OWN, "name": name, "pool": POOL, "modes": modes });
    merged(&body, more)
}

/// The report of a success.
fn success(lease: &Value) -> Value {
    merged(lease, &json!({ "state": "succeeded" }))
}
