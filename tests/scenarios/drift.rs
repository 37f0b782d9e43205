//! Drift: what has changed between an enqueue and a start.

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::identity::{Stored, secrets};
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, PULL, merged};
use sealfleet_test_stack::{Outcome, Project, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};

use crate::seen::{
    SOON, gated, injected, names, open_gate, padded, player, seen, sleeping, tasks, with_profile,
};

const KEYS: [&str; 6] = ["KEPT", "TURNED", "MOVED", "GONE", "NEW", "KNOB"];

/// A profile before anything has changed, by the references of its secrets.
fn before([kept, turned, moved, gone]: &[String; 4]) -> Value {
    let secrets = secrets(&[
        ("KEPT", kept),
        ("TURNED", turned),
        ("MOVED", moved),
        ("GONE", gone),
    ]);
    merged(secrets, &json!({ "env": { "KNOB": "old" } }))
}

/// The same profile after everything has changed.
fn after([kept, turned, moved, new]: &[String; 4]) -> Value {
    let secrets = secrets(&[
        ("KEPT", kept),
        ("TURNED", turned),
        ("MOVED", moved),
        ("NEW", new),
    ]);
    merged(secrets, &json!({ "env": { "KNOB": "new" } }))
}

/// What is audited of that change.
fn all_changed() -> Value {
    json!({ "added": ["NEW"], "removed": ["GONE"], "rotated": ["MOVED", "TURNED"], "knobs": ["KNOB"] })
}

/// A run whose step sleeps behind the gate, with this profile.
fn body(profile: &str, pool: &str, sleeper: &Sleeper, on_drift: &str) -> Value {
    let more = json!({ "on_drift": on_drift });
    with_profile(profile, &gated(&sleeping("only", pool, sleeper, &more)))
}

/// A step that proceeds has seen everything changed, and all of it is on record.
async fn proceeds_with_all(
    project: &Project,
    run: &str,
    sleeper: &Sleeper,
    turned: &str,
) -> Outcome {
    let new = json!({ "KEPT": "kept", "TURNED": "turned", "MOVED": "there", "NEW": "new", "KNOB": "new" });
    ensure_eq!(seen(project, run, sleeper, &KEYS).await?, new, "after");
    sleeper.wake();
    project.run_until(run, RunState::Succeeded, SOON).await?;
    drifted_once(project, run, "proceed", 1, &all_changed()).await?;
    released(project, run, &["KEPT", "MOVED", "NEW", "TURNED"], turned).await
}

/// 35. Key added, removed, rotated between enqueue and start -> one drift event with the exact
///     three sets.
pub async fn s35_drift_is_told_exactly(stack: &Stack) -> Outcome {
    let project = stack.project("live").await?;
    beside_a_worker(stack, &project).await?;
    on_fargate(stack, &project).await
}

/// A pull worker's secrets are pinned by the profile: a rotation is a new version of the profile.
async fn beside_a_worker(stack: &Stack, project: &Project) -> Outcome {
    let worker = project.live_worker(stack).await?;
    let store = project.builtin_store(stack).await?;
    let tag = unique();
    let put = async |name: &str, value: &str| {
        let name = format!("s35-{tag}-{name}");
        store.put(&name, &padded(value)).await
    };
    let (kept, turned, moved) = (
        put("kept", "kept").await?,
        put("turned", "old").await?,
        put("moved", "here").await?,
    );
    let gone = put("gone", "gone").await?;
    let before = before(&[&kept, &turned, &moved, &gone].map(Stored::pinned));
    let profile = format!("s35-{tag}");
    project.admin.create_profile(&profile, &before).await?;

    // Nothing has changed: nothing is told, even to a step that would not have it.
    let gatekeeper = player(project, 1).await?;
    let sleeper = Sleeper::new();
    let body = |sleeper: &Sleeper, on_drift: &str| body(&profile, PULL, sleeper, on_drift);
    let run = project.enqueue(&body(&sleeper, "refuse")).await?;
    open_gate(&gatekeeper, &run).await?;
    let old =
        json!({ "KEPT": "kept", "TURNED": "old", "MOVED": "here", "GONE": "gone", "KNOB": "old" });
    ensure_eq!(
        seen(project, &run, &sleeper, &KEYS).await?,
        old,
        "before; the worker says\n{}",
        worker.log()
    );
    sleeper.wake();
    project.run_until(&run, RunState::Succeeded, SOON).await?;
    ensure!(
        project
            .events(&run, "profile.drift_at_injection")
            .await?
            .is_empty(),
        "drift where nothing has changed"
    );

    let sleeper = Sleeper::new();
    let (proceeds, refuses) = (
        project.enqueue(&body(&sleeper, "proceed")).await?,
        project.enqueue(&body(&Sleeper::new(), "refuse")).await?,
    );
    let (turned, elsewhere, new) = (
        put("turned", "turned").await?,
        put("elsewhere", "there").await?,
        put("new", "new").await?,
    );
    let after = after(&[&kept, &turned, &elsewhere, &new].map(Stored::pinned));
    project.admin.save_profile(&profile, &after).await?;

    open_gate(&gatekeeper, &proceeds).await?;
    proceeds_with_all(project, &proceeds, &sleeper, &turned.version).await?;
    let injected = project.events(&proceeds, "profile.injected").await?;
    ensure_eq!(
        injected
            .first()
            .map(|event| event["profiles"][0]["version"].clone()),
        Some(json!(2)),
        "the version used"
    );
    let used = project.run(&proceeds).await?.profiles;
    ensure_eq!(
        used.first().map(|used| used.version),
        Some(1),
        "the version at enqueue"
    );

    open_gate(&gatekeeper, &refuses).await?;
    refused(stack, project, &refuses, &all_changed()).await
}

/// A Fargate pool's secrets follow the current version: a rotation in Secrets Manager is enough.
async fn on_fargate(stack: &Stack, project: &Project) -> Outcome {
    let tag = unique();
    let name = |part: &str| format!("s35-{tag}-{part}");
    let put = async |part: &str, value: &str| {
        let (name, value) = (name(part), padded(value));
        project.aws_secret(stack, &name, &value).await
    };
    let (kept, turned, moved) = (
        put("kept", "kept").await?,
        put("turned", "old").await?,
        put("moved", "here").await?,
    );
    let (gone, elsewhere) = (put("gone", "gone").await?, put("elsewhere", "there").await?);
    let new = put("new", "new").await?;
    let profile = name("cloud");
    let uri = |secret: &Stored| secret.uri.clone();
    let before = before(&[&kept, &turned, &moved, &gone].map(uri));
    project.admin.create_profile(&profile, &before).await?;

    let gatekeeper = player(project, 1).await?;
    let body = |sleeper: &Sleeper, on_drift: &str| body(&profile, FARGATE, sleeper, on_drift);
    let (rotates, changes) = (Sleeper::new(), Sleeper::new());
    let rotated_only = project.enqueue(&body(&rotates, "proceed")).await?;
    let refuses = project.enqueue(&body(&Sleeper::new(), "refuse")).await?;
    let changed = project.enqueue(&body(&changes, "proceed")).await?;
    let enqueued = json!(project.run(&changed).await?);
    let version = |run: &Value, key: &str| {
        let mut secrets = run["secrets"].as_array().into_iter().flatten();
        secrets
            .find(|secret| secret["name"] == key)
            .map(|secret| secret["version"].clone())
    };
    ensure_eq!(
        version(&enqueued, "TURNED"),
        Some(json!(turned.version)),
        "the version at enqueue"
    );

    // The profile is as it was: the secret behind it is not.
    let turned = project
        .rotate_aws_secret(stack, &name("turned"), &padded("turned"))
        .await?;
    let sets = json!({ "added": [], "removed": [], "rotated": ["TURNED"] });
    open_gate(&gatekeeper, &rotated_only).await?;
    let expected = json!({ "KEPT": "kept", "TURNED": "turned", "MOVED": "here", "GONE": "gone", "KNOB": "old" });
    ensure_eq!(
        seen(project, &rotated_only, &rotates, &KEYS).await?,
        expected,
        "after a rotation"
    );
    drifted_once(project, &rotated_only, "proceed", 1, &sets).await?;
    let pinned = |secret: &Stored| {
        format!(
            "{}:key::{}",
            secret.arn.as_deref().unwrap_or_default(),
            secret.version
        )
    };
    let told = injected(stack, project, &rotated_only).await?;
    let expected = json!({
        "KEPT": pinned(&kept), "TURNED": pinned(&turned), "MOVED": pinned(&moved), "GONE": pinned(&gone),
    });
    ensure_eq!(
        told["only"],
        expected,
        "the task definition after a rotation"
    );
    rotates.wake();
    project
        .run_until(&rotated_only, RunState::Succeeded, SOON)
        .await?;
    released(
        project,
        &rotated_only,
        &["GONE", "KEPT", "MOVED", "TURNED"],
        &turned.version,
    )
    .await?;

    open_gate(&gatekeeper, &refuses).await?;
    refused(stack, project, &refuses, &sets).await?;

    // And all at once.
    let after = after(&[&kept, &turned, &elsewhere, &new].map(uri));
    project.admin.save_profile(&profile, &after).await?;
    open_gate(&gatekeeper, &changed).await?;
    proceeds_with_all(project, &changed, &changes, &turned.version).await?;
    let told = injected(stack, project, &changed).await?;
    let expected = json!({
        "KEPT": pinned(&kept), "TURNED": pinned(&turned), "MOVED": pinned(&elsewhere), "NEW": pinned(&new),
    });
    ensure_eq!(told["only"], expected, "the task definition");
    Ok(())
}

async fn drifted_once(
    project: &Project,
    run: &str,
    on_drift: &str,
    fence: u64,
    sets: &Value,
) -> Outcome {
    let told = project.events(run, "profile.drift_at_injection").await?;
    let event = json!({
        "type": "profile.drift_at_injection", "step_id": "only", "fence": fence, "on_drift": on_drift,
    });
    ensure_eq!(
        told,
        [merged(event, sets)],
        "the audited drift of a step with `{on_drift}`"
    );
    Ok(())
}

/// Whether exactly these keys were released and decrypted, `TURNED` at this version.
async fn released(project: &Project, run: &str, keys: &[&str], version: &str) -> Outcome {
    let released = project.events(run, "secret.released").await?;
    ensure_eq!(
        released
            .iter()
            .map(|event| names(&event["secrets"]))
            .collect::<Vec<_>>(),
        [keys],
        "what was released"
    );
    let of_it = |event: &Value| {
        let mut secrets = event["secrets"].as_array().into_iter().flatten();
        secrets
            .find(|secret| secret["name"] == "TURNED")
            .map(|secret| secret["version"].clone())
    };
    ensure_eq!(
        released.first().and_then(of_it),
        Some(json!(version)),
        "the version of `TURNED` that was released"
    );
    let decrypted = project.events(run, "secret.decrypted").await?;
    let keys_of: Vec<&str> = decrypted
        .iter()
        .filter_map(|event| event["key"].as_str())
        .collect();
    ensure_eq!(keys_of, keys, "what was decrypted");
    let at = decrypted
        .iter()
        .find(|event| event["key"] == "TURNED")
        .map(|event| event["version"].clone());
    ensure_eq!(
        at,
        Some(json!(version)),
        "the version of `TURNED` that was decrypted"
    );
    Ok(())
}

/// Whether a step with `on_drift: refuse` has failed with these sets, and nothing of it has
/// started.
async fn refused(stack: &Stack, project: &Project, run: &str, sets: &Value) -> Outcome {
    let ended = project.finished(run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Failed,
        "the run that refuses drift: {ended:?}"
    );
    let step = json!(project.step(run, "only").await?);
    ensure_eq!(
        (&step["state"], &step["failure"]["kind"]),
        (&json!("failed"), &json!("drifted")),
        "{step}"
    );
    let detail = step["failure"]["detail"].as_str().unwrap_or_default();
    for key in ["added", "removed", "rotated"]
        .into_iter()
        .flat_map(|set| sets[set].as_array().into_iter().flatten())
    {
        ensure!(
            key.as_str().is_some_and(|key| detail.contains(key)),
            "{key} is not named: {detail}"
        );
    }
    drifted_once(project, run, "refuse", 0, sets).await?;
    for name in ["secret.released", "profile.injected", "secret.decrypted"] {
        ensure!(
            project.events(run, name).await?.is_empty(),
            "`{name}` of a step that refuses drift"
        );
    }
    for name in ["step.leased", "step.running"] {
        let events = project.events(run, name).await?;
        ensure!(
            events.iter().all(|event| event["step_id"] == "gate"),
            "`{name}` of a step that refuses drift"
        );
    }
    ensure!(
        tasks(stack, project, run).await?.is_empty(),
        "a task was started for a step that refuses drift"
    );
    Ok(())
}
