//! Latencies and revocations on the local stack, with the release binary behind the emulated API
//! Gateway, queues and ECS.

use std::time::{Duration, Instant};

use sealfleet_test_stack::api::typed;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::project::{FARGATE, PULL, run_of, step};
use sealfleet_test_stack::{Claimed, Failure, Outcome, Project, Stack, Stage, eventually};
use serde_json::{Value, json};

use crate::figures::{Figures, percentile};
use crate::{Plan, revocation};

const SOON: Duration = Duration::from_secs(60);
/// Marks the line that a step prints when it starts.
const MARK: &str = "started-at";

/// Measures them, and hard revocations.
///
/// # Errors
/// When the stack does not come up, or a run does not get through.
pub async fn measure(figures: &mut Figures, stage: &Stage, plan: &Plan) -> Outcome {
    let functions = plan.functions.to_string_lossy();
    // What is claimed here is not taken back while it is measured.
    let stack = stage
        .up(&["--functions", &functions, "--param", "LeaseSeconds=3600"])
        .await?;
    latencies(figures, &stack, plan).await?;
    eprintln!("bench: hard revocations on the local stack");
    let project = stack.project("bench").await?;
    revocation::on_stack(figures, &stack, &project, plan.in_flight).await
}

async fn latencies(figures: &mut Figures, stack: &Stack, plan: &Plan) -> Outcome {
    let runs = plan.stack_runs;
    let project = stack.project("bench").await?;
    requests(figures, &project, runs).await?;
    crate::api::measure(figures, &project, plan.requests).await?;
    project.live_worker(stack).await?;
    for pool in [PULL, FARGATE] {
        let mut starts = Vec::new();
        // The first one finds nothing warm.
        for _ in 0..=runs {
            starts.push(start(stack, &project, pool).await?);
        }
        let kind = if pool == PULL {
            "pull worker"
        } else {
            "Fargate stand-in"
        };
        figures.add(
            format!("local stack: enqueue to the command's start, {kind}, first"),
            starts.first().copied().unwrap_or_default(),
            "ms",
        );
        let rest = starts.get(1..).unwrap_or_default();
        figures.add(
            format!("local stack: enqueue to the command's start, {kind}, p50"),
            percentile(rest, 0.5),
            "ms",
        );
        figures.add(
            format!("local stack: enqueue to the command's start, {kind}, p95"),
            percentile(rest, 0.95),
            "ms",
        );
    }
    Ok(())
}

/// Enqueues and claims, by callers of the HTTP API.
async fn requests(figures: &mut Figures, project: &Project, runs: usize) -> Outcome {
    let worker = project
        .worker(&json!({ "pool": "gpu", "max_concurrent": 1000 }))
        .await?;
    // One request each: without repetition, and without an idempotency key, which is a row more.
    let member = project.member.client().clone().without_retries();
    let request = typed(&run_of(&[step("only", &json!({ "pool": "gpu" }))]))?;
    let (mut enqueues, mut claims) = (Vec::new(), Vec::new());
    for number in 0..runs * 2 + 2 {
        let before = Instant::now();
        let run = member.enqueue(&request, None).await?.run_id.to_string();
        let enqueued = before.elapsed();
        let before = Instant::now();
        let claimed = worker.claim(&run, "only").await?;
        let took = before.elapsed();
        worker.succeed(&claimed).await?;
        // The first two start the functions.
        if number > 1 {
            enqueues.push(enqueued.as_secs_f64() * 1000.0);
            claims.push(took.as_secs_f64() * 1000.0);
        }
    }
    for (name, latencies) in [("enqueue", enqueues), ("claim", claims)] {
        figures.add(
            format!("local stack: {name} over HTTP, p50"),
            percentile(&latencies, 0.5),
            "ms",
        );
        figures.add(
            format!("local stack: {name} over HTTP, p95"),
            percentile(&latencies, 0.95),
            "ms",
        );
    }
    Ok(())
}

/// Milliseconds from before a run is enqueued until its command runs inside a sandbox, by the
/// command's own clock.
async fn start(stack: &Stack, project: &Project, pool: &str) -> Outcome<f64> {
    let before = millis();
    let command = json!(["sh", "-c", format!("echo {MARK} $(date +%s%3N)")]);
    let steps = [step(
        "only",
        &json!({ "pool": pool, "mode": "sandboxed", "command": command }),
    )];
    let run = project
        .enqueue(&json!({ "workflow": "bench", "steps": steps }))
        .await?;
    let ended = project.finished(&run, SOON).await?;
    let fence = ended.steps.first().map_or(1, |step| step.fence.number());
    let claimed = Claimed {
        run: run.clone(),
        step: "only".to_owned(),
        fence,
    };
    let started = eventually("the command's output", SOON, async || {
        let said = if pool == PULL {
            project.live_worker(stack).await?.output(&claimed)
        } else {
            logged(stack, project, before).await?
        };
        Ok(times(&said).into_iter().find(|time| *time >= before))
    })
    .await;
    let started =
        started.map_err(|failure| Failure::new(format!("{failure}; the run is {ended:?}")))?;
    Ok(started - before)
}

/// What Fargate steps have printed since a time.
async fn logged(stack: &Stack, project: &Project, since: f64) -> Outcome<String> {
    let mut said = String::new();
    let group =
        json!({ "logGroupName": format!("/sealfleet/{}", project.id), "startTime": since.trunc() });
    let read = |page: &Value, _: &[u8]| {
        for event in page["events"].as_array().into_iter().flatten() {
            said.push_str(event["message"].as_str().unwrap_or_default());
            said.push('\n');
        }
    };
    stack
        .aws
        .pages(
            Service::Logs,
            "FilterLogEvents",
            group,
            ("nextToken", "nextToken"),
            read,
        )
        .await?;
    Ok(said)
}

fn times(said: &str) -> Vec<f64> {
    said.lines()
        .filter_map(|line| line.trim().strip_prefix(MARK)?.trim().parse().ok())
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "compared with the clock of another process"
)]
fn millis() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
        * 1000.0
}
