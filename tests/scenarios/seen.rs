//! A sandbox's real content: its environment as the host sees it, and what ECS was told to put
//! there.

use std::time::Duration;

use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{merged, run_of, step};
use sealfleet_test_stack::{Claimed, Failure, Outcome, Project, Stack, Worker};
use serde_json::{Map, Value, json};

/// Long enough for a sandbox to start or to go, beside others on a small machine.
pub const SOON: Duration = Duration::from_secs(90);
/// A pull pool that has no queue: only workers that a test plays claim from it, by the ids of run
/// and step.
pub const PLAYED: &str = "gpu";

/// An id of a kind that nothing has.
pub fn fresh_id(kind: &str) -> String {
    format!("{kind}_{}", uuid::Uuid::now_v7())
}

/// A run of these steps with its own profile.
pub fn with_profile(profile: &str, steps: &[Value]) -> Value {
    merged(run_of(steps), &json!({ "profile": profile }))
}

/// A step of mode `identity` for workers that are played; `more` adds to it or changes it.
pub fn played(id: &str, more: &Value) -> Value {
    step(
        id,
        &merged(json!({ "pool": PLAYED, "mode": "identity" }), more),
    )
}

/// A step of mode `identity` that sleeps in its sandbox and succeeds when it is woken.
pub fn sleeping(id: &str, pool: &str, sleeper: &Sleeper, more: &Value) -> Value {
    step(
        id,
        &merged(
            json!({ "pool": pool, "mode": "identity", "command": sleeper.after("true") }),
            more,
        ),
    )
}

/// A step that a played worker holds back, and one that comes after it: time for something to
/// change in between.
pub fn gated(after: &Value) -> [Value; 2] {
    [
        step("gate", &json!({ "pool": PLAYED })),
        merged(after.clone(), &json!({ "needs": ["gate"] })),
    ]
}

/// Lets the second step of [`gated`] go.
pub async fn open_gate(worker: &Worker, run: &str) -> Outcome {
    let held = worker.claim(run, "gate").await?;
    worker.succeed(&held).await.map(|_| ())
}

/// A worker that is played, for [`PLAYED`].
pub async fn player(project: &Project, slots: u32) -> Outcome<Worker> {
    project
        .worker(&json!({ "pool": PLAYED, "max_concurrent": slots }))
        .await
}

/// Does `work` while heartbeats come for these claims; those that are lost meanwhile are told by
/// others.
pub async fn while_alive<T>(
    claims: &[(&Worker, Vec<Claimed>)],
    work: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let beating = async {
        loop {
            for (worker, claims) in claims {
                if let Err(failure) = worker.heartbeat(&claims.iter().collect::<Vec<_>>()).await {
                    return failure;
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        outcome = work => outcome,
        failure = beating => Err(failure),
    }
}

/// Waits until one sandbox sleeps; of these variables, those that it has, by name.
/// What makes a value long enough to be redacted.
const PAD: char = '.';

/// A secret's value that is long enough. [`seen`] takes the padding off again.
pub fn padded(value: &str) -> String {
    format!("{value:.<8}")
}

pub async fn seen(
    project: &Project,
    run: &str,
    sleeper: &Sleeper,
    keys: &[&str],
) -> Outcome<Value> {
    let asleep = match sleeper.until(1, SOON).await {
        Ok(asleep) => asleep,
        Err(failure) => {
            return Err(Failure::new(format!(
                "{failure}\n  the run is {:?}",
                project.run(run).await?
            )));
        }
    };
    let mut seen = Map::new();
    for pid in asleep {
        let environ = std::fs::read(format!("/proc/{pid}/environ"))?;
        for variable in environ.split(|byte| *byte == 0) {
            let variable = String::from_utf8_lossy(variable).into_owned();
            let Some((name, value)) = variable.split_once('=') else {
                continue;
            };
            if keys.contains(&name) {
                seen.insert(name.to_owned(), json!(value.trim_end_matches(PAD)));
            }
        }
    }
    Ok(Value::Object(seen))
}

/// All tasks that ECS was ever asked to start for a run.
pub async fn tasks(stack: &Stack, project: &Project, run: &str) -> Outcome<Vec<Value>> {
    project.tasks(stack, run, &["RUNNING", "STOPPED"]).await
}

/// The secrets in the task definition of each step of a run that was launched: `{STEP: {NAME:
/// valueFrom}}`.
pub async fn injected(stack: &Stack, project: &Project, run: &str) -> Outcome<Value> {
    let mut injected = Map::new();
    for task in tasks(stack, project, run).await? {
        let step = task["startedBy"]
            .as_str()
            .and_then(|by| by.split('/').nth(2))
            .unwrap_or_default()
            .to_owned();
        let asked = json!({ "taskDefinition": task["taskDefinitionArn"] });
        let described = stack
            .aws
            .call(Service::Ecs, "DescribeTaskDefinition", asked)
            .await?;
        let container = &described["taskDefinition"]["containerDefinitions"][0];
        let secrets = container["secrets"].as_array().into_iter().flatten();
        let by_name = secrets.map(|secret| {
            (
                secret["name"].as_str().unwrap_or_default().to_owned(),
                secret["valueFrom"].clone(),
            )
        });
        injected.insert(step, Value::Object(by_name.collect()));
    }
    Ok(Value::Object(injected))
}

/// The names in an event's or a run's list of secrets.
pub fn names(secrets: &Value) -> Vec<&str> {
    secrets
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|secret| secret["name"].as_str())
        .collect()
}

/// A version of a `builtin://` secret that nobody resolves, told from all others.
pub fn nowhere(name: &str) -> String {
    format!("builtin://{name}@{}", uuid::Uuid::now_v7())
}
