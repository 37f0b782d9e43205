//! Latencies and revocations on the local stack, with the release binary behind the emulated API
//! Gateway, queues and ECS.

use std::process::Stdio;
use std::time::{Duration, Instant};

use sealfleet_client::AuditQuery;
use sealfleet_client::types::RunView;
use sealfleet_domain::limits::IDENTITY_TOKENS_A_MINUTE;
use sealfleet_test_stack::api::typed;
use sealfleet_test_stack::project::{FARGATE, PULL, run_of, step};
use sealfleet_test_stack::{
    Caller, Claimed, Failure, Outcome, Project, Stack, Stage, ensure, eventually, private_file,
};
use serde_json::json;
use tokio::process::Command;

use crate::figures::{Figures, percentile};
use crate::{Plan, revocation};

const SOON: Duration = Duration::from_secs(60);
/// Milliseconds for an identity token.
const IDENTITY_TOKEN_BUDGET: f64 = 100.0;
/// Marks the line that a step prints when it starts.
const MARK: &str = "started-at";

/// Measures them, and hard revocations.
pub async fn measure(figures: &mut Figures, stage: &Stage, plan: &Plan) -> Outcome {
    let functions = plan.functions.to_string_lossy();
    // Leases outlast the measurement.
    let stack = stage
        .up(&["--functions", &functions, "--param", "LeaseSeconds=3600"])
        .await?;
    let project = stack.project("bench").await?;
    requests(figures, &project, plan.requests).await?;
    project.live_worker(&stack).await?;
    for (pool, kind) in [(PULL, "pull worker"), (FARGATE, "Fargate stand-in")] {
        // Nothing is warm for the first one.
        start(&stack, &project, pool).await?;
        let mut starts = Vec::new();
        for _ in 0..plan.stack_runs {
            starts.push(start(&stack, &project, pool).await?);
        }
        figures.add(
            format!("local stack: enqueue to the command's start, {kind}, p50"),
            percentile(&starts, 0.5),
            "ms",
        );
    }
    let execs = Execs::of(&stack, &project, plan.stack_runs).await?;
    let what = "local stack: `run exec -- true` on an idle pull worker";
    figures.add(format!("{what}, p50"), percentile(&execs.whole, 0.5), "ms");
    figures.add_against(
        format!("{what}, from its claim on, p50"),
        percentile(&execs.after_claim, 0.5),
        "ms",
        150.0,
    );
    eprintln!("bench: a hard revocation on the local stack");
    revocation::on_stack(figures, &stack, &project, plan.in_flight).await
}

/// Latency of the API's main operations by calls one after the other, as a caller sees it: the
/// gateway and the start of each invocation included.
async fn requests(figures: &mut Figures, project: &Project, calls: usize) -> Outcome {
    let worker = project
        .worker(&json!({ "pool": "gpu", "max_concurrent": 1000 }))
        .await?;
    // One request each: no repetition, and no idempotency key, which is a row more.
    let client = |caller: &Caller| caller.client().clone().without_retries();
    let (admin, member) = (client(&project.admin), client(&project.member));
    let body = typed(&run_of(&[step("only", &json!({ "pool": "gpu" }))]))?;
    let run = member.enqueue_run(&body, None).await?.run_id;
    let of_run = AuditQuery {
        run_id: Some(run),
        ..AuditQuery::default()
    };
    let audience = "https://vault.example";
    let named = json!({ "identity": { "audiences": [audience] } });
    project.admin.create_profile("named", &named).await?;
    let mut naming = run_of(&[step("only", &json!({ "pool": "gpu", "mode": "identity" }))]);
    naming["profile"] = json!("named");
    let naming = member.enqueue_run(&typed(&naming)?, None).await?.run_id;
    let claimed = worker.claim(&naming.to_string(), "only").await?;
    let asked = typed(&claimed.with(&json!({ "audience": audience })))?;
    let of_worker = client(&worker.caller);
    let mut times = Times { figures, calls };
    let mut runs = Vec::new();
    times
        .of("enqueue", async |_| {
            runs.push(member.enqueue_run(&body, None).await?.run_id.to_string());
            Ok(())
        })
        .await?;
    times
        .of("claim", async |number| {
            let run = runs.get(number).map_or("", String::as_str);
            worker.claim(run, "only").await.map(drop)
        })
        .await?;
    times
        .of("get_run", async |_| {
            Ok(member.get_run(run).await.map(drop)?)
        })
        .await?;
    times
        .of("list_audit", async |_| {
            Ok(admin.list_audit_entries(&of_run).await.map(drop)?)
        })
        .await?;
    // A claim gets no more in a minute.
    times.calls = calls.min(IDENTITY_TOKENS_A_MINUTE as usize - 1);
    let latencies = times
        .measured("get_identity_token", async |_| {
            Ok(of_worker.get_identity_token(&asked).await.map(drop)?)
        })
        .await?;
    let what = "local stack: API get_identity_token, p50";
    let median = percentile(&latencies, 0.5);
    times
        .figures
        .add_against(what.to_owned(), median, "ms", IDENTITY_TOKEN_BUDGET);
    Ok(())
}

struct Times<'a> {
    figures: &'a mut Figures,
    calls: usize,
}

impl Times<'_> {
    async fn of(&mut self, operation: &str, call: impl AsyncFnMut(usize) -> Outcome) -> Outcome {
        let latencies = self.measured(operation, call).await?;
        self.figures.add(
            format!("local stack: API {operation}, p50"),
            percentile(&latencies, 0.5),
            "ms",
        );
        Ok(())
    }

    async fn measured(
        &self,
        operation: &str,
        mut call: impl AsyncFnMut(usize) -> Outcome,
    ) -> Outcome<Vec<f64>> {
        let mut latencies = Vec::new();
        // The first one starts the function.
        for number in 0..=self.calls {
            let before = Instant::now();
            call(number)
                .await
                .map_err(|failure| Failure::new(format!("{operation}: {failure}")))?;
            if number > 0 {
                latencies.push(before.elapsed().as_secs_f64() * 1000.0);
            }
        }
        Ok(latencies)
    }
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
            project.logged(stack, before).await?
        };
        Ok(times(&said).into_iter().find(|time| *time >= before))
    })
    .await;
    let started =
        started.map_err(|failure| Failure::new(format!("{failure}; the run is {ended:?}")))?;
    Ok(started - before)
}

/// What `sealfleet run exec -- true` takes, in milliseconds, as its caller sees it.
#[derive(Default)]
struct Execs {
    /// The whole program.
    whole: Vec<f64>,
    /// Without all that comes before the claim of its step.
    after_claim: Vec<f64>,
}

impl Execs {
    async fn of(stack: &Stack, project: &Project, times: usize) -> Outcome<Self> {
        let token = stack.scratch.join("token-of-execs");
        private_file(&token, project.member.credential())?;
        let mut execs = Self::default();
        for time in 0..=times {
            let began = millis();
            let ran = Command::new(stack.binaries.join("sealfleet"))
                .args(["--output", "json", "run", "exec", "--pool", PULL])
                .args(["--mode", "sandboxed", "--", "true"])
                .env("SEALFLEET_API_URL", &stack.parts.api_url)
                .env("SEALFLEET_TOKEN_FILE", &token)
                .stdin(Stdio::null())
                .output()
                .await?;
            let ended = millis();
            let said = String::from_utf8_lossy(&ran.stderr);
            ensure!(ran.status.success(), "`run exec -- true`: {said}");
            let run: RunView = serde_json::from_slice(&ran.stdout)?;
            let attempt = run.steps.first().and_then(|step| step.attempts.last());
            let claimed = attempt.map(|attempt| attempt.claimed_at.millis() as f64);
            let claimed = claimed.ok_or_else(|| Failure::new("a run without a claim"))?;
            // The first one starts functions.
            if time > 0 {
                execs.whole.push(ended - began);
                execs.after_claim.push(ended - claimed);
            }
        }
        Ok(execs)
    }
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
