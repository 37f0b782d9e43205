//! Audit: nothing that happened is missing, and what was exported is what happened.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use sealfleet_tests::api::text;
use sealfleet_tests::project::{named, run_of, step};
use sealfleet_tests::trail::Archive;
use sealfleet_tests::{Outcome, Stack, ensure, ensure_eq, eventually};
use serde_json::json;

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

    // In the archive, too: each event once, as the trail shows it.
    let mut missing = Vec::new();
    let exported = eventually("the export of all events", Duration::from_secs(90), async || {
        missing = Archive::read(stack).await?.missing(&trail);
        Ok(missing.is_empty().then_some(()))
    })
    .await;
    ensure!(exported.is_ok(), "{} events are not in the archive once: {:?}", missing.len(), missing.first());

    stack.digest().await?;
    let archive = Archive::read(stack).await?;
    let verified = archive.verified();
    ensure!(verified.faults.is_empty(), "the archive does not verify: {:?}", verified.faults);
    ensure!(verified.digests > 0 && verified.lines >= trail.len() as u64, "the digests cover too little: {verified:?}");
    let digested: Vec<String> =
        archive.digests.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
    for (key, bytes) in &archive.objects {
        let ours = String::from_utf8_lossy(bytes).contains(&project.id);
        let covered = digested.iter().any(|digest| digest.contains(key.as_str()));
        ensure!(!ours || covered, "no digest names the object `{key}`");
    }

    // And a touch is seen.
    let mut edited = archive;
    if let Some((_, bytes)) =
        edited.objects.iter_mut().find(|(_, bytes)| String::from_utf8_lossy(bytes).contains(&project.id))
    {
        bytes.push(b' ');
    }
    ensure!(!edited.verified().faults.is_empty(), "an edited object verifies");
    Ok(())
}
