//! Audit: no event is missing, and the export equals the trail.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::try_join_all;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::identity::{NOWHERE, secrets};
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, named, run_of, step};
use sealfleet_test_stack::trail::{Archive, repaired, unpacked};
use sealfleet_test_stack::{Outcome, Project, Stack, ensure, ensure_eq, eventually};
use serde_json::{Value, json};

use crate::seen::{SOON, played, player, sleeping, with_profile};

/// 57. 100 concurrent events -> all there, digest verifies.
pub async fn s57_a_hundred_events_are_all_there(stack: &Stack) -> Outcome {
    let project = stack.project("fiftyseven").await?;
    let body = run_of(&[step("only", &json!({ "pool": "gpu" }))]);
    let enqueued = try_join_all((0..100).map(|_| project.enqueue(&body))).await?;
    let runs: BTreeSet<String> = enqueued.into_iter().collect();
    ensure_eq!(runs.len(), 100, "runs that were enqueued at once");
    // Each was asked for once: what was asked again, its answer being lost, is not there twice.
    ensure_eq!(project.runs().await?.len(), 100, "runs of the project");

    let trail = project.trail().await?;
    let audited: BTreeSet<String> = trail
        .iter()
        .filter(|entry| !named(std::slice::from_ref(entry), "run.enqueued").is_empty())
        .map(|entry| text(entry, "run_id"))
        .collect::<Outcome<_>>()?;
    ensure_eq!(audited, runs, "runs in the trail");
    let ids: Vec<String> = trail
        .iter()
        .map(|entry| text(entry, "event_id"))
        .collect::<Outcome<_>>()?;
    let mut sorted = ids.clone();
    sorted.sort();
    sorted.dedup();
    ensure_eq!(sorted, ids, "the trail's order: oldest first, each once");

    // Counted in the table itself, in the trail and in the archive: nothing lost, nothing doubled.
    let stored = entries_in_table(stack, &project.id).await?;
    ensure_eq!(stored, ids, "entries in the table, and in the trail");
    exported(stack, &project, &trail).await?;
    stack.digest().await?;
    let archive = Archive::read(stack).await?;
    let ours: Vec<Value> = archive
        .lines()
        .into_iter()
        .filter(|line| line["project"] == project.id)
        .collect();
    let events: usize = trail
        .iter()
        .map(|entry| entry["events"].as_array().map_or(0, Vec::len))
        .sum();
    ensure_eq!(
        ours.len(),
        events,
        "events in the archive, and in the trail"
    );

    let verified = archive.verified(stack).await?;
    ensure!(
        verified.faults.is_empty(),
        "the archive does not verify: {:?}",
        verified.faults
    );
    let digested: BTreeSet<String> = archive.digested().into_iter().map(|(_, key)| key).collect();
    let uncovered = archive
        .objects
        .keys()
        .find(|key| key.contains(&project.id) && !digested.contains(*key));
    ensure!(
        uncovered.is_none(),
        "no digest names the object {uncovered:?}"
    );
    Ok(())
}

/// The ids of a project's entries in the audit table, in order.
async fn entries_in_table(stack: &Stack, project: &str) -> Outcome<Vec<String>> {
    let mut rows = Vec::new();
    let scan = json!({
        "TableName": stack.parts.audit_table, "ConsistentRead": true, "FilterExpression": "begins_with(pk, :project)",
        "ExpressionAttributeValues": { ":project": { "S": format!("PRJ#{project}#") } },
    });
    let mut read = |page: &Value, _: &[u8]| {
        let items = page["Items"].as_array().into_iter().flatten();
        rows.extend(items.map(|item| item["z"].clone()));
    };
    let cursor = ("LastEvaluatedKey", "ExclusiveStartKey");
    stack
        .aws
        .pages(Service::DynamoDb, "Scan", scan, cursor, &mut read)
        .await?;
    let mut ids = Vec::new();
    for packed in rows {
        for entry in unpacked(&packed)?.as_array().into_iter().flatten() {
            ids.push(text(entry, "id")?);
        }
    }
    ids.sort();
    Ok(ids)
}

/// The functions that lose the audit table.
const WRITERS: [&str; 12] = [
    "enqueue", "claim", "report", "dispatch", "observe", "cancel", "revoke", "sweep", "fleet",
    "profile", "sandbox", "trail",
];
/// Until what waits in the outbox has been moved: `sweep` puts off what it cannot move for half a
/// minute.
const MOVED: Duration = Duration::from_secs(90);

/// Scenario 60. Audit table down: a release is on record in its run's own row; what has no run is
/// refused; cancel and revoke still work; nothing is lost.
pub async fn s60_without_the_audit_table_runs_go_on_and_nothing_is_lost(stack: &Stack) -> Outcome {
    let project = stack.project("sixty").await?;
    let secret = project.aws_secret(stack, "s60", "the value").await?;
    project
        .admin
        .create_profile("crm", &secrets(&[("API_KEY", &secret.uri)]))
        .await?;
    project
        .admin
        .create_profile("other", &secrets(&[("OTHER", NOWHERE)]))
        .await?;
    let (cancelled, revoked) = (Sleeper::new(), Sleeper::new());
    let on_fargate =
        |sleeper: &Sleeper| with_profile("crm", &[sleeping("only", FARGATE, sleeper, &json!({}))]);
    let runs = [
        project.enqueue(&on_fargate(&cancelled)).await?,
        project.enqueue(&on_fargate(&revoked)).await?,
    ];
    for (run, sleeper) in runs.iter().zip([&cancelled, &revoked]) {
        sleeper.until(1, SOON).await?;
        project.until(run, "only", &["running"], SOON).await?;
    }
    let [to_cancel, to_revoke] = &runs;
    let worker = player(&project, 2).await?;
    let waits = project
        .enqueue(&with_profile("other", &[played("only", &json!({}))]))
        .await?;
    let before = (project.census().await?, project.trail().await?.len());

    let deny = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Action": "dynamodb:PutItem",
        "Resource": format!("arn:aws:dynamodb:{}:{}:table/sealfleet-audit", stack.parts.region, stack.parts.account_id),
    }] });
    for writer in WRITERS {
        stack
            .aws
            .put_role_policy(&format!("sealfleet-{writer}"), "no-audit", &deny)
            .await?;
    }
    let without: Outcome = async {
        // What has no run of its own is not given.
        project
            .admin
            .post("/v1/tokens", &json!({ "role": "viewer" }))
            .await?
            .refused(500, "internal")?;
        ensure_eq!(
            (project.census().await?, project.trail_now().await?.len()),
            before,
            "the project after that was refused"
        );
        // Runs go on: what is released to them is on record in their own rows.
        worker.try_claim(&waits, "only").await?.accepted()?;
        let released = project.events(&waits, "secret.released").await?;
        ensure_eq!(released.len(), 1, "releases of the claim");
        ensure_eq!(
            project.trail_now().await?.len(),
            before.1,
            "entries in the trail while it takes none"
        );

        // Everything is taken.
        project.cancel(to_cancel).await?;
        project.admin.revoke(&[("crm", "API_KEY")], true).await?;
        for (run, sleeper) in runs.iter().zip([&cancelled, &revoked]) {
            sleeper.until(0, SOON).await?;
            ensure_eq!(
                project.state(run, "only").await?,
                "aborted",
                "the run whose sandbox is gone"
            );
        }
        project
            .member
            .post("/v1/runs", &on_fargate(&Sleeper::new()))
            .await?
            .refused(500, "internal")?;
        ensure_eq!(
            project.trail_now().await?.len(),
            before.1,
            "entries while the table takes none"
        );
        Ok(())
    }
    .await;
    for writer in WRITERS {
        stack
            .aws
            .delete_role_policy(&format!("sealfleet-{writer}"), "no-audit")
            .await?;
    }
    without?;

    // Nothing is lost, and nothing is told twice.
    let told = async |run: &str, name: &str| -> Outcome<usize> {
        Ok(project.events(run, name).await?.len())
    };
    eventually("the entries of what was taken", MOVED, async || {
        stack.sweep().await?;
        let finished = project.admin.events("revocation.fan_out_finished").await?;
        let there = told(to_cancel, "run.cancelled").await?
            + told(to_revoke, "run.aborted_by_revocation").await?;
        let revoked = project.admin.events("secret.revoked").await?.len();
        Ok((there == 2 && finished.len() == 1 && revoked == 1).then_some(()))
    })
    .await?;
    for run in &runs {
        ensure_eq!(
            (
                told(run, "step.aborted").await?,
                told(run, "run.finished").await?
            ),
            (1, 1),
            "the end of {run}"
        );
    }
    let trail = project.trail().await?;
    exported(stack, &project, &trail).await?;
    let held = worker.claim(&waits, "only").await?;
    worker.succeed(&held).await.map(|_| ())
}

/// The ledger's stream loses what a run did: its entries are in the run's row and not in the trail.
/// An operator's command copies them, to the archive too, and the trail shows each once.
pub async fn what_the_stream_lost_is_copied_again(stack: &Stack) -> Outcome {
    let project = stack.project("repair").await?;
    let kept = project.enqueue_step(&json!({ "pool": "gpu" })).await?;
    let lost = project.enqueue_step(&json!({ "pool": "gpu" })).await?;
    let before = project.trail().await?;
    // Nothing of a row without this mark passes the filter of the stream.
    let update = json!({
        "TableName": stack.parts.ledger_table, "Key": key_of_run(&project.id, &lost)?,
        "UpdateExpression": "REMOVE trail",
    });
    let dynamo = Service::DynamoDb;
    stack.aws.call(dynamo, "UpdateItem", update).await?;
    project.cancel(&lost).await?;
    project.cancel(&kept).await?;
    let told = async || -> Outcome<BTreeSet<String>> {
        let trail = project.trail_now().await?;
        let cancels = trail
            .iter()
            .filter(|entry| !named(std::slice::from_ref(*entry), "run.cancelled").is_empty());
        cancels.map(|entry| text(entry, "run_id")).collect()
    };
    eventually("the entry that was not lost", MOVED, async || {
        Ok(told().await?.contains(&kept).then_some(()))
    })
    .await?;
    ensure_eq!(told().await?, BTreeSet::from([kept.clone()]), "before");

    // The other run was the first to begin and the last to end.
    let of_kept = project.audit(&kept).await?;
    let time = |entry: Option<&Value>| text(entry.unwrap_or(&Value::Null), "at");
    let (from, to) = (time(of_kept.first())?, time(of_kept.last())?);
    for _ in 0..2 {
        let ledger = &stack.parts.ledger_table;
        let repaired = repaired(stack, &project.id, (&from, &to), ledger).await?;
        let all = json!({ "runs": 2, "entries": 4, "unreadable": [] });
        ensure_eq!(repaired, all, "what the command says");
    }
    ensure_eq!(told().await?, BTreeSet::from([kept, lost.clone()]), "after");
    let mut trail = project.trail().await?;
    ensure_eq!(trail.len(), before.len() + 2, "entries of the trail");
    // Entries that were there may be in another row too, and so twice in the archive.
    trail.retain(|entry| entry["run_id"] == json!(lost) && !before.contains(entry));
    ensure_eq!(trail.len(), 1, "entries that were lost");
    exported(stack, &project, &trail).await
}

/// The key of a run's row.
pub fn key_of_run(project: &str, run: &str) -> Outcome<Value> {
    let id: uuid::Uuid = run.trim_start_matches("run_").parse()?;
    let shard = id.as_bytes()[15] % 8;
    let pk = format!("PRJ#{project}#RUNS#{shard}");
    Ok(json!({ "pk": { "S": pk }, "sk": { "S": run } }))
}

/// Waits until each event of a trail is in the archive once.
async fn exported(stack: &Stack, project: &Project, trail: &[Value]) -> Outcome {
    let mut missing = Vec::new();
    let exported = eventually("the export of all events", MOVED, async || {
        missing = Archive::of(stack, &project.id).await?.missing(trail);
        Ok(missing.is_empty().then_some(()))
    })
    .await;
    ensure!(
        exported.is_ok(),
        "{} events are not in the archive once: {:?}",
        missing.len(),
        missing.first()
    );
    Ok(())
}
