//! Revocation: a key that is taken away starts nothing any more, and by a hard one stops what runs
//! with it.

use std::time::{Duration, Instant};

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, run_of};
use sealfleet_test_stack::trail::unpacked;
use sealfleet_test_stack::{
    Outcome, Project, Stack, Worker, ensure, ensure_eq, eventually, unique,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::seen::{SOON, nowhere, played, player, sleeping, while_alive, with_profile};

/// Until when all that a hard revocation stops is gone: a request works on it for 10 s, and
/// heartbeats come every 2.
const BOUND: Duration = Duration::from_secs(30);

/// 40. Hard revoke of an inherited or URI-referenced key -> every run using it stops within the
///     bound, sandbox gone, `run.aborted_by_revocation` each.
pub async fn s40_a_hard_revocation_stops_all_that_runs(stack: &Stack) -> Outcome {
    let (one, two) = stack.pair("revoked").await?;
    beside_a_worker(stack, &one).await?;
    of_the_system(stack, &[&one, &two]).await
}

/// A key of the project's default: inherited by one run, and by its address in another; a third has
/// another key.
async fn beside_a_worker(stack: &Stack, project: &Project) -> Outcome {
    let worker = project.live_worker(stack).await?;
    let store = project.builtin_store(stack).await?;
    let (crm, other) = (
        store.put("s40-crm", "the crm value").await?,
        store.put("s40-other", "the other value").await?,
    );
    project
        .admin
        .create_profile("crm", &secrets(&[("API_KEY", &crm.pinned())]))
        .await?;
    let renamed = merged(
        secrets(&[("ALIAS", &crm.pinned())]),
        &json!({ "remove": ["API_KEY"] }),
    );
    project.admin.create_profile("alias", &renamed).await?;
    let spared = merged(
        secrets(&[("SPARED", &other.pinned())]),
        &json!({ "remove": ["API_KEY"] }),
    );
    project.admin.create_profile("spared", &spared).await?;
    project.admin.bind(&json!({ "project": "crm" })).await?;

    let (by_default, by_address, with_other) = (Sleeper::new(), Sleeper::new(), Sleeper::new());
    let only = |sleeper: &Sleeper| sleeping("only", PULL, sleeper, &json!({}));
    let after = played("after", &json!({ "needs": ["only"] }));
    let inherits = project
        .enqueue(&run_of(&[only(&by_default), after]))
        .await?;
    let aliased = project
        .enqueue(&with_profile("alias", &[only(&by_address)]))
        .await?;
    let goes_on = project
        .enqueue(&with_profile("spared", &[only(&with_other)]))
        .await?;
    for (sleeper, run) in [
        (&by_default, &inherits),
        (&by_address, &aliased),
        (&with_other, &goes_on),
    ] {
        let asleep = sleeper.until(1, SOON).await;
        ensure!(
            asleep.is_ok(),
            "{:?}\n{}",
            project.run(run).await?,
            worker.log()
        );
    }

    let began = Instant::now();
    let revoked = project.admin.revoke(&[("crm", "API_KEY")], true).await?;
    let fan_out = revoked.fan_out.unwrap_or_default();
    let finished = project.admin.fanned_out(stack, &fan_out, BOUND).await?;
    ensure_eq!(
        counts(&finished),
        json!({ "runs": 2, "stopped": 0, "unstopped": 0, "workers": 2 }),
        "{finished:?}"
    );
    for (sleeper, run, profile, key) in [
        (&by_default, &inherits, "crm", "API_KEY"),
        (&by_address, &aliased, "alias", "ALIAS"),
    ] {
        sleeper.until(0, BOUND).await?;
        let by = json!({ "revocation_id": revoked.ids.first(), "profile": profile, "key": key });
        aborted(project, run, &by, &fan_out).await?;
    }
    ensure!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
    ensure_eq!(
        project.state(&inherits, "after").await?,
        "aborted",
        "the step that waited for it"
    );
    let told = project.admin.events("revocation.fan_out_finished").await?;
    ensure_eq!(told.len(), 1, "audited ends of the fan-out: {told:?}");
    ensure_eq!(
        counts(told.first().unwrap_or(&Value::Null)),
        counts(&finished),
        "the audited counts"
    );

    ensure_eq!(with_other.asleep().len(), 1, "the sandbox with another key");
    with_other.wake();
    project
        .run_until(&goes_on, RunState::Succeeded, SOON)
        .await?;
    let body = run_of(&[only(&Sleeper::new())]);
    project
        .member
        .post("/v1/runs", &body)
        .await?
        .refused(403, "secret_revoked")
        .map(|_| ())
}

/// Keys of the operators that two projects inherit, on Fargate and with workers; another key of the
/// project goes on.
async fn of_the_system(stack: &Stack, projects: &[&Project]) -> Outcome {
    let name = format!("s40-{}", unique());
    let shared = stack.system_secret(&name, "the shared value").await?;
    let lists = json!({ "tools": { "cloud": ["CLOUD"], "beside": ["BESIDE"], "own": ["OWN"] } });
    let keys = secrets(&[
        ("CLOUD", &shared.uri),
        ("BESIDE", &nowhere(&format!("system/{name}"))),
    ]);
    stack
        .operator
        .create_profile(&name, &merged(keys, &lists))
        .await?;

    let (cloud, spared) = (Sleeper::new(), Sleeper::new());
    let (mut on_fargate, mut with_others) = (Vec::new(), Vec::new());
    for project in projects {
        let own = project.aws_secret(stack, &name, "its own value").await?;
        project
            .admin
            .create_profile("own", &secrets(&[("OWN", &own.uri)]))
            .await?;
        project.admin.bind(&json!({ "system": name })).await?;
        for _ in 0..2 {
            let step = sleeping("only", FARGATE, &cloud, &json!({ "tool": "cloud" }));
            on_fargate.push((*project, project.enqueue(&run_of(&[step])).await?));
        }
        let step = sleeping("only", FARGATE, &spared, &json!({ "tool": "own" }));
        with_others.push((
            *project,
            project.enqueue(&with_profile("own", &[step])).await?,
        ));
    }
    cloud.until(4, SOON).await?;
    spared.until(2, SOON).await?;
    for (project, run) in on_fargate.iter().chain(&with_others) {
        project.until(run, "only", &["running"], SOON).await?;
    }
    let mut held: Vec<(&Project, Worker, Vec<sealfleet_test_stack::Claimed>)> = Vec::new();
    for project in projects {
        let worker = player(project, 2).await?;
        let mut claims = Vec::new();
        for starts in [true, false] {
            let run = project
                .enqueue(&run_of(&[played("only", &json!({ "tool": "beside" }))]))
                .await?;
            let claimed = worker.claim(&run, "only").await?;
            if starts {
                worker.start(&claimed).await?;
            }
            claims.push(claimed);
        }
        held.push((project, worker, claims));
    }
    let alive: Vec<_> = held
        .iter()
        .map(|(_, worker, claims)| (worker, claims.clone()))
        .collect();
    let keys = [(name.as_str(), "CLOUD"), (name.as_str(), "BESIDE")];
    let mut affected: Vec<&String> = on_fargate.iter().map(|(_, run)| run).collect();
    affected.extend(
        held.iter()
            .flat_map(|(_, _, claims)| claims.iter().map(|claimed| &claimed.run)),
    );
    affected.sort();
    let (began, revoked, fan_out, finished) = while_alive(&alive, async {
        let mut previewed = stack.operator.preview(&keys).await?;
        previewed.sort();
        ensure_eq!(
            previewed.iter().collect::<Vec<_>>(),
            affected,
            "the runs of both projects that would be aborted"
        );
        let began = Instant::now();
        let revoked = stack.operator.revoke(&keys, true).await?;
        let fan_out = revoked.fan_out.clone().unwrap_or_default();
        let finished = stack.operator.fanned_out(stack, &fan_out, BOUND).await?;
        Ok((began, revoked, fan_out, finished))
    })
    .await?;
    ensure_eq!(
        counts(&finished),
        json!({ "runs": 8, "stopped": 4, "unstopped": 0, "workers": 4 }),
        "{finished:?}"
    );
    cloud.until(0, BOUND).await?;
    let system = format!("system/{name}");
    for (project, run) in &on_fargate {
        let by = json!({ "revocation_id": revoked.ids.first(), "profile": system, "key": "CLOUD" });
        aborted(project, run, &by, &fan_out).await?;
        eventually("the task to be gone", BOUND, async || {
            Ok(project
                .live_tasks(stack, run)
                .await?
                .is_empty()
                .then_some(()))
        })
        .await?;
    }
    for (project, worker, claims) in &held {
        for claimed in claims {
            ensure!(
                !worker.holds(claimed).await?,
                "a heartbeat says that an aborted step is held"
            );
            let by =
                json!({ "revocation_id": revoked.ids.get(1), "profile": system, "key": "BESIDE" });
            aborted(project, &claimed.run, &by, &fan_out).await?;
        }
    }
    ensure!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
    let told = operators_events(stack, "revocation.fan_out_finished", &fan_out).await?;
    ensure_eq!(told.len(), 1, "audited ends of the fan-out: {told:?}");
    let event = told.first().cloned().unwrap_or_default();
    ensure_eq!(
        (counts(&event), &event["revocations"]),
        (counts(&finished), &json!(revoked.ids)),
        "the audited end"
    );

    ensure_eq!(spared.asleep().len(), 2, "sandboxes with another key");
    spared.wake();
    for (project, run) in &with_others {
        project.run_until(run, RunState::Succeeded, SOON).await?;
    }
    // Late events of stopped tasks change nothing.
    for (project, run) in &on_fargate {
        ensure_eq!(
            project.run(run).await?.state,
            RunState::Aborted,
            "the run after its task has stopped"
        );
        ensure_eq!(
            project.events(run, "run.finished").await?.len(),
            1,
            "audited ends of the run"
        );
    }
    Ok(())
}

/// The counts of a fan-out, or of the event that ends it.
pub fn counts(told: &impl Serialize) -> Value {
    let told = json!(told);
    json!({
        "runs": told["runs_aborted"], "stopped": told["tasks_stopped"], "unstopped": told["tasks_unstopped"],
        "workers": told["worker_sandboxes"],
    })
}

/// Whether a run was aborted for this revocation, and the trail says so once.
async fn aborted(project: &Project, run: &str, by: &Value, fan_out: &str) -> Outcome {
    let shown = project.run_until(run, RunState::Aborted, BOUND).await?;
    let why = json!(project.step(run, "only").await?.aborted);
    ensure_eq!(
        why,
        merged(by.clone(), &json!({ "kind": "revoked" })),
        "why: {shown:?}"
    );
    let told = project.events(run, "run.aborted_by_revocation").await?;
    let event = merged(
        by.clone(),
        &json!({ "type": "run.aborted_by_revocation", "fan_out_id": fan_out }),
    );
    ensure_eq!(told, [event], "audited aborts of {run}");
    let ended = project.events(run, "run.finished").await?;
    ensure_eq!(
        ended
            .iter()
            .map(|event| &event["state"])
            .collect::<Vec<_>>(),
        [&json!("aborted")],
        "audited ends"
    );
    Ok(())
}

/// The events of one name in the operators' own trail that mention `what`. They are read from the
/// table.
async fn operators_events(stack: &Stack, name: &str, what: &str) -> Outcome<Vec<Value>> {
    let mut events = Vec::new();
    let all = json!({
        "TableName": stack.parts.audit_table, "FilterExpression": "begins_with(pk, :own)",
        "ExpressionAttributeValues": { ":own": { "S": "PRJ#~system#" } },
    });
    let mut rows = Vec::new();
    let read = |page: &Value, _: &[u8]| {
        rows.extend(page["Items"].as_array().into_iter().flatten().cloned());
    };
    let cursor = ("LastEvaluatedKey", "ExclusiveStartKey");
    stack
        .aws
        .pages(Service::DynamoDb, "Scan", all, cursor, read)
        .await?;
    for row in rows {
        for entry in unpacked(&row["z"])?.as_array().into_iter().flatten() {
            events.extend(entry["events"].as_array().into_iter().flatten().cloned());
        }
    }
    events.retain(|event| event["type"] == name && event.to_string().contains(what));
    Ok(events)
}
