//! Losses while a step runs: its worker is killed, or its run is cancelled.

use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::project::{FARGATE, PULL, named, step};
use sealfleet_test_stack::{
    Claimed, Failure, Outcome, Stack, ensure, ensure_eq, eventually, processes,
};
use serde_json::{Value, json};

use crate::board::Board;
use crate::tenant::{BESIDE, Tenant};
use crate::work::SOON;

/// A worker is killed while it runs a step; later its old claim speaks up again.
pub async fn killed_worker(board: &mut Board, stack: &Stack, tenant: &mut Tenant) -> Outcome {
    let marker = processes::marker();
    // The first try hangs for as long as this file is there.
    let mark = stack.scratch.join(format!("hang-{marker}"));
    std::fs::write(&mark, "")?;
    let script = format!("test ! -e {} || sleep {marker}", mark.display());
    let hangs = step(
        "only",
        &json!({ "pool": PULL, "mode": "bare", "command": ["sh", "-c", script] }),
    );
    let run = tenant.enqueue("fragile", BESIDE, &[hangs]).await?;
    eventually("the step to run", SOON, async || Ok(sleeping(&marker))).await?;
    let shown = tenant
        .project
        .until(&run, "only", &["running"], SOON)
        .await?;
    let old = Claimed {
        run: run.clone(),
        step: "only".to_owned(),
        fence: shown.fence.number(),
    };

    board.say(&format!(
        "SIGKILL to the worker of `{}`, process {}",
        tenant.id(),
        tenant
            .worker
            .own_processes()
            .first()
            .copied()
            .unwrap_or_default()
    ));
    tenant.worker.kill().await?;
    std::fs::remove_file(&mark)?;
    let gone = eventually(
        "the step's process to go with its worker",
        SOON,
        async || Ok(sleeping(&marker).is_none().then_some(())),
    )
    .await;
    tenant.worker.restart()?;
    board
        .check(
            "a worker killed in mid-step: the step is queued again and succeeds once",
            async {
                gone?;
                again(stack, tenant, &run).await
            },
        )
        .await;
    board
        .check(
            "the old fence is refused, and audited",
            old_fence(tenant, &old),
        )
        .await;
    Ok(())
}

async fn again(stack: &Stack, tenant: &Tenant, run: &str) -> Outcome<String> {
    let mut last = None;
    let ended = eventually("the step to succeed", SOON, async || {
        // As its rule does every minute.
        stack.sweep().await?;
        let shown = last.insert(tenant.project.step(run, "only").await?);
        Ok((shown.state == "succeeded").then_some(shown.attempt))
    })
    .await;
    let attempt = ended
        .map_err(|failure| Failure::new(format!("{failure}\n{last:?}\n{}", tenant.worker.log())))?;
    ensure_eq!(attempt, 2, "the attempt that succeeded");
    let entries = tenant.project.audit(run).await?;
    for (name, count) in [
        ("step.requeued", 1),
        ("step.leased", 2),
        ("step.succeeded", 1),
        ("run.finished", 1),
    ] {
        ensure_eq!(
            named(&entries, name).len(),
            count,
            "`{name}` in the trail of {run}"
        );
    }
    Ok("lease expired, attempt 2, fence 2, one end".to_owned())
}

async fn old_fence(tenant: &Tenant, old: &Claimed) -> Outcome<String> {
    let before = tenant.project.run(&old.run).await?;
    let failed = json!({ "state": "failed", "failure": { "kind": "exit", "code": 1 } });
    let mut noted = Vec::new();
    // Of a worker's refusals in a minute, the first, the second, the fourth, ... are on record.
    for _ in 0..5 {
        let report = tenant.worker.played.try_report(old, &failed);
        report.await?.refused(409, "stale_fence")?;
        ensure_eq!(tenant.project.run(&old.run).await?, before, "the run");
        noted = named(&tenant.project.audit(&old.run).await?, "report.refused");
        if !noted.is_empty() {
            break;
        }
    }
    ensure!(
        noted.iter().any(|event| event["code"] == "stale_fence"),
        "the trail does not tell of it: {noted:?}"
    );
    Ok(format!(
        "409 stale_fence for a report with fence {}; the step has still succeeded",
        old.fence
    ))
}

/// A cancel takes a Fargate sandbox away.
pub async fn cancelled_sandbox(board: &mut Board, stack: &Stack, tenant: &Tenant) -> Outcome {
    let marker = processes::marker();
    let sleeps = step(
        "only",
        &json!({ "pool": FARGATE, "mode": "sandboxed", "command": ["sleep", marker] }),
    );
    let run = tenant.enqueue("endless", BESIDE, &[sleeps]).await?;
    eventually("the sandbox to run", SOON, async || Ok(sleeping(&marker))).await?;
    let shown = tenant
        .project
        .until(&run, "only", &["running"], SOON)
        .await?;
    board
        .check(
            "a cancel kills the Fargate sandbox, and the trail says so",
            cancelled(stack, tenant, &run, &marker, &json!(shown.handle)),
        )
        .await;
    Ok(())
}

async fn cancelled(
    stack: &Stack,
    tenant: &Tenant,
    run: &str,
    marker: &str,
    task: &Value,
) -> Outcome<String> {
    ensure!(task.is_string(), "a running step without its task");
    tenant.project.cancel(run).await?;
    eventually("the sandbox's process to go", SOON, async || {
        Ok(sleeping(marker).is_none().then_some(()))
    })
    .await?;
    let cluster = &stack.parts.cluster;
    eventually("ECS to show the task as stopped", SOON, async || {
        let described = stack
            .aws
            .call(
                Service::Ecs,
                "DescribeTasks",
                json!({ "cluster": cluster, "tasks": [task] }),
            )
            .await?;
        Ok((described["tasks"][0]["lastStatus"] == "STOPPED").then_some(()))
    })
    .await?;
    let running = stack
        .aws
        .call(
            Service::Ecs,
            "ListTasks",
            json!({ "cluster": cluster, "desiredStatus": "RUNNING" }),
        )
        .await?;
    let listed = running["taskArns"]
        .as_array()
        .is_some_and(|tasks| tasks.contains(task));
    ensure!(!listed, "ECS still lists the task as running");
    ensure_eq!(
        tenant.project.state(run, "only").await?,
        "aborted",
        "the state of the step"
    );
    eventually(
        "the trail to tell that the sandbox is gone",
        SOON,
        async || {
            Ok(tenant
                .project
                .events(run, "pool.sandbox.reset")
                .await?
                .first()
                .cloned())
        },
    )
    .await?;
    Ok(format!(
        "task {} is stopped, its process is gone",
        task.as_str()
            .and_then(|arn| arn.rsplit('/').next())
            .unwrap_or_default()
    ))
}

fn sleeping(marker: &str) -> Option<u32> {
    processes::with_argument(marker)
        .into_iter()
        .find(|process| process.name == "sleep")
        .map(|process| process.pid)
}
