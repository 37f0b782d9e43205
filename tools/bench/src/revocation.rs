//! A hard revocation while runs hold the key: how soon all of them are aborted, and their sandboxes
//! gone.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use sealfleet_client::AuditQuery;
use sealfleet_client::types::FanOutView;
use sealfleet_domain::Timestamp;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::identity::{NOWHERE, secrets};
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, named, run_of, step};
use sealfleet_test_stack::{
    Claimed, Outcome, Project, Stack, Worker, ensure, ensure_eq, eventually,
};
use serde_json::{Value, json};

use crate::costs::count;
use crate::figures::Figures;
use crate::world::{self, World};

/// All aborts of this many runs in flight are issued within [`SECONDS`] seconds.
const IN_FLIGHT: usize = 1000;
const SECONDS: f64 = 10.0;
const SOON: Duration = Duration::from_secs(120);
/// Real sandboxes of each kind on the local stack.
const REAL: usize = 4;
/// Workers that are played on the local stack: they claim, and run nothing.
const PLAYED: usize = 4;

/// With the functions as processes, tables in memory and a played ECS that stops a task when it is
/// told to. Half of the runs are Fargate tasks, half are claims of a pull worker, which learns of
/// it at its next heartbeat.
///
/// # Errors
/// When a request is refused, or a run is not aborted.
pub async fn in_memory(figures: &mut Figures, world: &World, counts: &[usize]) -> Outcome {
    for runs in counts.iter().copied() {
        let version = NOWHERE.rsplit('@').next().unwrap_or_default();
        let (beside, in_aws) = (
            format!("revoked-beside-{runs}"),
            format!("revoked-in-aws-{runs}"),
        );
        let reference = format!("builtin://revoked-{runs}@{version}");
        world
            .profile(&json!({ "name": beside, "secrets": { "API_KEY": reference } }))
            .await?;
        let reference = format!("aws-sm://sealfleet/bench/revoked-{runs}#key");
        world
            .profile(&json!({ "name": in_aws, "secrets": { "API_KEY": reference } }))
            .await?;
        let tasks = runs.div_ceil(2);
        for _ in 0..tasks {
            let run = world.enqueue(world::FARGATE, &in_aws).await?;
            world.dispatch(&run).await?;
            world
                .observe(&run, &world.task(&run).await?, "RUNNING")
                .await?;
        }
        let mut claims = Vec::new();
        for _ in tasks..runs {
            let run = world.enqueue(world::PULL, &beside).await?;
            let fence = world.claim(&run).await?;
            world.started(&run, fence, &["API_KEY".to_owned()]).await?;
            claims.push((run, fence));
        }
        world.take_aborted();
        // Its first answer starts the function.
        world.fan_out("none").await.err();
        let before = world.consumed();
        let begun = Instant::now();
        let mut fan_out = world.revoke(&[beside, in_aws]).await?;
        let mut swept = 0;
        while fan_out["finished_at"].is_null() {
            swept += 1;
            world.sweep().await?;
            fan_out = world.fan_out(&text(&fan_out, "fan_out_id")?).await?;
        }
        let (finished, spent, aborted) = (
            begun.elapsed(),
            world.consumed() - before,
            world.take_aborted(),
        );
        ensure_eq!(fan_out["runs_aborted"], runs, "runs that {fan_out} aborted");
        ensure_eq!(
            (aborted.runs as usize, aborted.tasks as usize),
            (runs, tasks),
            "aborts and stopped tasks"
        );
        if !claims.is_empty() {
            ensure_eq!(world.held(&claims).await?, 0, "claims that are still held");
        }
        let since = |at: Option<Instant>| at.map_or(f64::NAN, |at| (at - begun).as_secs_f64());
        let name = format!("hard revoke, in-memory tables, {runs} in flight");
        issued(
            figures,
            &format!("{name}: last abort committed"),
            runs,
            since(aborted.last_run),
        );
        figures.add(
            format!("{name}: last of {tasks} tasks stopped"),
            since(aborted.last_task),
            "s",
        );
        figures.add(
            format!("{name}: fan-out counted and finished"),
            finished.as_secs_f64(),
            "s",
        );
        figures.add(
            format!("{name}: `sweep` had to go on"),
            count(swept),
            "times",
        );
        figures.add(
            format!("{name}: write units for each run"),
            spent.write_units / count(runs),
            "WRU",
        );
        figures.add(
            format!("{name}: read units for each run"),
            spent.read_units / count(runs),
            "RRU",
        );
    }
    Ok(())
}

fn issued(figures: &mut Figures, name: &str, runs: usize, seconds: f64) {
    if runs == IN_FLIGHT {
        figures.add_against(name, seconds, "s", SECONDS);
    } else {
        figures.add(name, seconds, "s");
    }
}

/// On the local stack, over HTTP. A few of the runs have real sandboxes, of a worker and of the
/// Fargate stand-in; the others are claims that played workers hold and that run nothing.
///
/// # Errors
/// When a request is refused, or a run is not aborted.
pub async fn on_stack(
    figures: &mut Figures,
    stack: &Stack,
    project: &Project,
    counts: &[usize],
) -> Outcome {
    let mut workers = Vec::new();
    for _ in 0..PLAYED {
        workers.push(
            project
                .worker(&json!({ "pool": "gpu", "max_concurrent": 1000 }))
                .await?,
        );
    }
    for runs in counts.iter().copied() {
        let (beside, in_aws) = (
            format!("revoked-beside-{runs}"),
            format!("revoked-in-aws-{runs}"),
        );
        let stored = project
            .builtin_store(stack)
            .await?
            .put(&beside, "bench")
            .await?;
        project
            .admin
            .create_profile(&beside, &secrets(&[("API_KEY", &stored.pinned())]))
            .await?;
        let stored = project.aws_secret(stack, &in_aws, "bench").await?;
        project
            .admin
            .create_profile(&in_aws, &secrets(&[("API_KEY", &stored.uri)]))
            .await?;

        let asleep = Sleeper::new();
        let (tasks, sandboxes) = if runs > REAL * 2 {
            (REAL, REAL)
        } else {
            (runs, 0)
        };
        for (number, pool, profile) in [(tasks, FARGATE, &in_aws), (sandboxes, PULL, &beside)] {
            for _ in 0..number {
                enqueue(
                    project,
                    profile,
                    &json!({ "pool": pool, "command": asleep.command() }),
                )
                .await?;
            }
        }
        asleep.until(tasks + sandboxes, SOON).await?;
        let played = runs - tasks - sandboxes;
        let claims = try_join_all(
            workers
                .iter()
                .enumerate()
                .map(|(at, worker)| claim(project, worker, &beside, (at..played).step_by(PLAYED))),
        )
        .await?;
        let previewed = project
            .admin
            .preview(&[(&beside, "API_KEY"), (&in_aws, "API_KEY")])
            .await?;
        ensure_eq!(previewed.len(), runs, "runs of the preview");

        let begun = Instant::now();
        let keys = [(beside.as_str(), "API_KEY"), (in_aws.as_str(), "API_KEY")];
        let (revoked, gone) = tokio::join!(project.admin.revoke(&keys, true), gone(&asleep, begun));
        let (revoked, gone) = (revoked?, gone?);
        let fan_out = revoked.fan_out.clone().unwrap_or_default();
        let inline = revoked
            .answer
            .fan_out
            .as_ref()
            .is_some_and(|fan_out| fan_out.finished_at.is_some());
        let finished = project.admin.fanned_out(stack, &fan_out, SOON).await?;
        ensure_eq!(
            finished.counts.runs_aborted,
            runs as u64,
            "runs that {finished:?} aborted"
        );
        for (worker, claims) in workers.iter().zip(&claims) {
            let held: Vec<&Claimed> = claims.iter().collect();
            let answer = worker.heartbeat(&held).await?;
            ensure!(
                answer.leases.iter().all(|lease| !lease.held),
                "a claim of a played worker is still held"
            );
        }
        let begun = finished.started_at;
        let name = format!(
            "local stack: hard revoke, {runs} in flight, {} real",
            tasks + sandboxes
        );
        let last = last_abort(project, &finished, runs).await?;
        issued(
            figures,
            &format!("{name}: last abort issued"),
            runs,
            seconds(begun, last),
        );
        let ended = finished.finished_at.unwrap_or(begun);
        figures.add(
            format!("{name}: fan-out counted and finished"),
            seconds(begun, ended),
            "s",
        );
        figures.add(
            format!("{name}: `sweep` had to go on"),
            if inline { 0.0 } else { 1.0 },
            "times",
        );
        figures.add(
            format!("{name}: last real sandbox's process gone"),
            gone.as_secs_f64(),
            "s",
        );
    }
    Ok(())
}

async fn enqueue(project: &Project, profile: &str, more: &Value) -> Outcome<String> {
    let only = step("only", &merged(json!({ "mode": "identity" }), more));
    project
        .enqueue(&merged(run_of(&[only]), &json!({ "profile": profile })))
        .await
}

async fn claim(
    project: &Project,
    worker: &Worker,
    profile: &str,
    runs: impl Iterator<Item = usize>,
) -> Outcome<Vec<Claimed>> {
    let mut claims = Vec::new();
    for _ in runs {
        let run = enqueue(project, profile, &json!({ "pool": "gpu" })).await?;
        claims.push(worker.claim(&run, "only").await?);
    }
    Ok(claims)
}

async fn gone(asleep: &Sleeper, since: Instant) -> Outcome<Duration> {
    eventually("the sandboxes to go", SOON, async || {
        Ok(asleep.asleep().is_empty().then(|| since.elapsed()))
    })
    .await
}

/// When the last abort of a fan-out was written, by the audit trail.
async fn last_abort(project: &Project, fan_out: &FanOutView, runs: usize) -> Outcome<Timestamp> {
    let since = AuditQuery {
        from: Some(fan_out.started_at),
        ..AuditQuery::default()
    };
    let entries = project.admin.trail(&since).await?;
    let mut aborts = Vec::new();
    for entry in &entries {
        let events = named(std::slice::from_ref(entry), "run.aborted_by_revocation");
        if events
            .iter()
            .any(|event| event["fan_out_id"] == json!(fan_out.fan_out_id))
        {
            aborts.push(Timestamp::parse(&text(entry, "at")?)?);
        }
    }
    ensure_eq!(aborts.len(), runs, "aborts of the fan-out in the trail");
    Ok(aborts
        .into_iter()
        .max()
        .unwrap_or(Timestamp::from_millis(0)))
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    f64::from(i32::try_from(to.millis_since(from)).unwrap_or(i32::MAX)) / 1000.0
}
