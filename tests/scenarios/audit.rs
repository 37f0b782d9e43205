//! Audit: nothing that happened is missing, and what was exported is what happened.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use sealfleet_tests::api::text;
use sealfleet_tests::aws::Service;
use sealfleet_tests::project::{named, run_of, step};
use sealfleet_tests::trail::Archive;
use sealfleet_tests::{Outcome, Stack, ensure, ensure_eq, eventually};
use serde_json::{Value, json};

/// 57. 100 concurrent events -> all there, digest verifies.
pub async fn s57_a_hundred_events_are_all_there(stack: &Stack) -> Outcome {
    let project = stack.project("fiftyseven").await?;
    let body = run_of(&[step("only", &json!({ "pool": "gpu" }))]);
    let answers = join_all((0..100).map(|_| project.member.post("/v1/runs", &body))).await;
    let mut runs = BTreeSet::new();
    for answer in answers {
        runs.insert(text(&answer?.accepted()?, "run_id")?);
    }
    ensure_eq!(runs.len(), 100, "runs that were enqueued at once");

    let trail = project.trail().await?;
    let audited: BTreeSet<String> = trail
        .iter()
        .filter(|entry| !named(std::slice::from_ref(entry), "run.enqueued").is_empty())
        .map(|entry| text(entry, "run_id"))
        .collect::<Outcome<_>>()?;
    ensure_eq!(audited, runs, "runs in the trail");
    let ids: Vec<String> = trail.iter().map(|entry| text(entry, "event_id")).collect::<Outcome<_>>()?;
    let mut sorted = ids.clone();
    sorted.sort();
    sorted.dedup();
    ensure_eq!(sorted, ids, "the trail's order: oldest first, each once");

    // Counted in the table itself, in the trail and in the archive: nothing lost, nothing doubled.
    let rows = rows_of(stack, &project.id).await?;
    ensure_eq!(rows, ids.into_iter().collect(), "rows of the table, and entries of the trail");
    let mut missing = Vec::new();
    let exported = eventually("the export of all events", Duration::from_secs(90), async || {
        missing = Archive::of(stack, &project.id).await?.missing(&trail);
        Ok(missing.is_empty().then_some(()))
    })
    .await;
    ensure!(exported.is_ok(), "{} events are not in the archive once: {:?}", missing.len(), missing.first());
    stack.digest().await?;
    let archive = Archive::read(stack).await?;
    let ours: Vec<Value> = archive.lines().into_iter().filter(|line| line["project"] == project.id).collect();
    let events: usize = trail.iter().map(|entry| entry["events"].as_array().map_or(0, Vec::len)).sum();
    ensure_eq!(ours.len(), events, "events in the archive, and in the trail");

    let verified = archive.verified(stack).await?;
    ensure!(verified.faults.is_empty(), "the archive does not verify: {:?}", verified.faults);
    let digested: BTreeSet<String> = archive.digested().into_iter().map(|(_, key)| key).collect();
    let uncovered = archive.objects.keys().find(|key| key.contains(&project.id) && !digested.contains(*key));
    ensure!(uncovered.is_none(), "no digest names the object {uncovered:?}");
    Ok(())
}

/// The sort keys of a project's rows in the audit table.
async fn rows_of(stack: &Stack, project: &str) -> Outcome<BTreeSet<String>> {
    let mut rows = BTreeSet::new();
    let scan = json!({
        "TableName": stack.parts.audit_table, "ConsistentRead": true, "FilterExpression": "begins_with(pk, :project)",
        "ExpressionAttributeValues": { ":project": { "S": format!("PRJ#{project}#") } },
    });
    let mut read = |page: &Value, _: &[u8]| {
        let items = page["Items"].as_array().into_iter().flatten();
        rows.extend(items.filter_map(|item| item["sk"]["S"].as_str().map(str::to_owned)));
    };
    let cursor = ("LastEvaluatedKey", "ExclusiveStartKey");
    stack.aws.pages(Service::DynamoDb, "Scan", scan, cursor, &mut read).await?;
    Ok(rows)
}
