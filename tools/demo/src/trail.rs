//! The audit trail: complete, apart by project, and archived so that a touch is seen.

use sealfleet_test_stack::project::named;
use sealfleet_test_stack::trail::Archive;
use sealfleet_test_stack::{Failure, Outcome, Stack, ensure, ensure_eq, eventually};
use serde_json::Value;

use crate::board::Board;
use crate::tenant::Tenant;
use crate::work::{SOON, Work};

/// Checks the trails of both tenants and the archive in S3.
pub async fn checked(board: &mut Board, stack: &Stack, tenants: [&Tenant; 2], works: &[Work]) {
    for (tenant, work) in tenants.into_iter().zip(works) {
        let name = format!(
            "the trail of `{}` is its own, and has each release of a secret",
            tenant.id()
        );
        board.check(&name, released(tenant, work)).await;
    }
    board
        .check(
            "all of it is archived in S3, and the digests verify",
            archived(stack, tenants),
        )
        .await;
    board
        .check(
            "one changed line in the archive is found, and named",
            touched(stack),
        )
        .await;
}

async fn released(tenant: &Tenant, work: &Work) -> Outcome<String> {
    let trail = tenant.project.trail().await?;
    ensure!(
        trail.iter().all(|entry| entry["project"] == tenant.id()),
        "an entry of another project"
    );
    let entries = trail.len();
    let of_work = |entry: &&Value| work.runs().iter().any(|run| entry["run_id"] == *run);
    let trail: Vec<Value> = trail.iter().filter(of_work).cloned().collect();
    let mut identity_steps = 0;
    for run in work.runs() {
        let steps = tenant.project.run(run).await?.steps;
        identity_steps += steps
            .iter()
            .filter(|step| step.mode.sees_identity())
            .count();
    }
    for name in ["secret.released", "profile.injected", "secret.decrypted"] {
        ensure_eq!(
            named(&trail, name).len(),
            identity_steps,
            "`{name}` in the trail of `{}`",
            tenant.id()
        );
    }
    Ok(format!(
        "{entries} entries; {identity_steps} identity steps of the first work, {identity_steps} releases"
    ))
}

async fn archived(stack: &Stack, tenants: [&Tenant; 2]) -> Outcome<String> {
    let mut trails = Vec::new();
    for tenant in tenants {
        trails.extend(tenant.project.trail().await?);
    }
    eventually("the export of all entries", SOON, async || {
        Ok(Archive::read(stack)
            .await?
            .missing(&trails)
            .is_empty()
            .then_some(()))
    })
    .await?;
    stack.digest().await?;
    let archive = Archive::read(stack).await?;
    let verified = archive.verified(stack).await?;
    ensure!(
        verified.faults.is_empty(),
        "the archive does not verify: {:?}",
        verified.faults
    );
    ensure!(
        verified.digests > 0 && verified.lines >= trails.len() as u64,
        "the digests cover too little: {verified:?}"
    );
    Ok(format!(
        "{} objects with {} events below s3://{}/audit/, {} signed digests",
        archive.objects.len(),
        verified.lines,
        stack.parts.audit_bucket,
        verified.digests
    ))
}

async fn touched(stack: &Stack) -> Outcome<String> {
    let mut archive = Archive::read(stack).await?;
    let Some((_, key)) = archive.digested().pop() else {
        return Err(Failure::new("no digest lists an object"));
    };
    let mut lines = archive.lines_of(&key)?;
    if let Some(line) = lines.first_mut() {
        line.push(' ');
    }
    archive.put_lines(&key, &lines)?;
    let faults = archive.verified(stack).await?.faults;
    ensure_eq!(
        faults.len(),
        1,
        "faults of an archive with one changed line: {faults:?}"
    );
    let fault = faults.into_iter().next().unwrap_or_default();
    ensure!(
        fault["kind"] == "line_edited" && fault["line"] == 1 && fault["object"] == key.as_str(),
        "named: {fault}"
    );
    Ok(format!("line 1 of {key}"))
}
