//! Hard revocations while runs hold the key: how soon every run is aborted.

use std::time::{Duration, Instant};

use sealfleet_test_stack::api::text;
use sealfleet_test_stack::identity::{NOWHERE, secrets};
use sealfleet_test_stack::project::{merged, run_of, step};
use sealfleet_test_stack::{Outcome, Project, Stack, ensure_eq};
use serde_json::json;

use crate::costs::count;
use crate::figures::Figures;
use crate::world::{self, World};

/// Every abort is issued within this many seconds, with 1,000 runs in flight.
const SECONDS: f64 = 10.0;
const SOON: Duration = Duration::from_secs(120);

/// With the functions as processes, tables in memory and a played ECS that stops a task when it is
/// told to. Half of the runs are Fargate tasks, half are claims of a pull worker, which learns of
/// it at its next heartbeat.
pub async fn in_memory(figures: &mut Figures, world: &World, runs: usize) -> Outcome {
    let version = NOWHERE.rsplit('@').next().unwrap_or_default();
    for (name, reference) in [
        ("revoked-beside", format!("builtin://revoked@{version}")),
        (
            "revoked-in-aws",
            "aws-sm://sealfleet/bench/revoked#key".to_owned(),
        ),
    ] {
        let profile = json!({ "name": name, "secrets": { "API_KEY": reference } });
        world.profile(&profile).await?;
    }
    let tasks = runs.div_ceil(2);
    for _ in 0..tasks {
        let run = world.enqueue(world::FARGATE, "revoked-in-aws").await?;
        world.dispatch(&run).await?;
        let task = world.task(&run).await?;
        world.observe(&run, &task, "RUNNING").await?;
    }
    let mut claims = Vec::new();
    for _ in tasks..runs {
        let run = world.enqueue(world::PULL, "revoked-beside").await?;
        let fence = world.claim(&run).await?;
        world.started(&run, fence, &["API_KEY".to_owned()]).await?;
        claims.push((run, fence));
    }
    world.take_aborted();
    // Its first answer starts the function.
    world.fan_out("none").await.err();
    let begun = Instant::now();
    let mut fan_out = world.revoke(&["revoked-beside", "revoked-in-aws"]).await?;
    while fan_out["finished_at"].is_null() {
        world.sweep().await?;
        fan_out = world.fan_out(&text(&fan_out, "fan_out_id")?).await?;
    }
    let finished = begun.elapsed().as_secs_f64();
    let aborted = world.take_aborted();
    ensure_eq!(fan_out["runs_aborted"], runs, "runs that {fan_out} aborted");
    ensure_eq!(
        (aborted.runs, aborted.tasks),
        (runs, tasks),
        "aborts and stopped tasks"
    );
    ensure_eq!(world.held(&claims).await?, 0, "claims that are still held");
    let last = aborted.last_run.map(|at| (at - begun).as_secs_f64());
    let name = format!("hard revoke, in-memory tables, {runs} in flight");
    figures.add_against(
        format!("{name}: last abort committed"),
        last.unwrap_or(f64::NAN),
        "s",
        SECONDS,
    );
    figures.add(
        format!("{name}: aborts a second"),
        count(runs) / finished,
        "runs/s",
    );
    Ok(())
}

/// On the local stack, over HTTP: claims of a worker that runs nothing.
pub async fn on_stack(
    figures: &mut Figures,
    stack: &Stack,
    project: &Project,
    runs: usize,
) -> Outcome {
    let worker = json!({ "pool": "gpu", "max_concurrent": runs });
    let worker = project.worker(&worker).await?;
    let profile = secrets(&[("API_KEY", NOWHERE)]);
    project.admin.create_profile("revoked", &profile).await?;
    let only = step("only", &json!({ "pool": "gpu", "mode": "identity" }));
    let body = merged(run_of(&[only]), &json!({ "profile": "revoked" }));
    for _ in 0..runs {
        let run = project.enqueue(&body).await?;
        worker.claim(&run, "only").await?;
    }
    let revoked = project
        .admin
        .revoke(&[("revoked", "API_KEY")], true)
        .await?;
    let fan_out = revoked.fan_out.unwrap_or_default();
    let finished = project.admin.fanned_out(stack, &fan_out, SOON).await?;
    ensure_eq!(
        finished.counts.runs_aborted,
        runs as u64,
        "runs that {finished:?} aborted"
    );
    let ended = finished.finished_at.unwrap_or(finished.started_at);
    let millis = ended.millis_since(finished.started_at);
    figures.add_against(
        format!("local stack: hard revoke, {runs} in flight: all aborts issued and counted"),
        f64::from(i32::try_from(millis).unwrap_or(i32::MAX)) / 1000.0,
        "s",
        SECONDS,
    );
    Ok(())
}
