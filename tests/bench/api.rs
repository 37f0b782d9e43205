//! Latency of the API's main operations, as a caller of the local stack sees it: its gateway and its functions' starts of
//! an invocation are part of each figure.

use std::time::Instant;

use sealfleet_tests::api::{Reply, text};
use sealfleet_tests::project::{run_of, step};
use sealfleet_tests::{Outcome, Project, ensure};
use serde_json::json;

use crate::figures::{Figures, percentile};

/// Measures each operation by `calls` calls, one after the other.
///
/// # Errors
/// When a call is refused.
pub async fn measure(figures: &mut Figures, project: &Project, calls: usize) -> Outcome {
    let (admin, member) = (&project.admin, &project.member);
    let worker = project.worker(&json!({ "pool": "gpu", "max_concurrent": 1000 })).await?;
    let body = run_of(&[step("only", &json!({ "pool": "gpu" }))]);
    let run = text(&member.post("/v1/runs", &body).await?.accepted()?, "run_id")?;
    let reference = json!({ "KEY": "builtin://bench@1" });
    admin.post("/v1/profiles", &json!({ "name": "measured", "secrets": reference })).await?.accepted()?;

    let mut times = Times { figures, calls };
    times.of("enqueue", async |_| member.post("/v1/runs", &body).await).await?;
    times.of("get_run", async |_| member.get(&format!("/v1/runs/{run}")).await).await?;
    times.of("list_runs", async |_| member.get("/v1/runs").await).await?;
    times.of("list_audit", async |_| admin.get(&format!("/v1/audit?run={run}")).await).await?;
    times.of("list_workers", async |_| admin.get("/v1/workers").await).await?;
    let profile = |number: usize| json!({ "name": format!("measured-{number}"), "secrets": reference });
    times.of("create_profile", async |number| admin.post("/v1/profiles", &profile(number)).await).await?;
    times.of("get_profile", async |_| admin.get("/v1/profiles/measured").await).await?;
    let question = json!({ "workflow": "w", "profile": "measured" });
    times.of("resolve_cascade", async |_| admin.post("/v1/cascade/resolve", &question).await).await?;
    let revoked = |number: usize| {
        let key = json!({ "profile": format!("measured-{number}"), "key": "KEY" });
        json!({ "keys": [key], "hard": false, "reason": "bench" })
    };
    times.of("revoke (soft)", async |number| admin.post("/v1/revocations", &revoked(number)).await).await?;
    times.of("list_revocations", async |_| admin.get("/v1/revocations").await).await?;
    let nothing = json!({ "leases": [] });
    times.of("heartbeat", async |_| worker.caller.post("/v1/heartbeats", &nothing).await).await?;
    times.of("queue_credentials", async |_| worker.caller.post("/v1/queue-credentials", &json!({})).await).await?;
    times.of("get_openapi", async |_| member.get("/v1/openapi.json").await).await
}

struct Times<'a> {
    figures: &'a mut Figures,
    calls: usize,
}

impl Times<'_> {
    async fn of(&mut self, operation: &str, call: impl AsyncFn(usize) -> Outcome<Reply>) -> Outcome {
        let mut latencies = Vec::new();
        // The first one starts the function.
        for number in 0..=self.calls {
            let before = Instant::now();
            let reply = call(number).await?;
            let took = before.elapsed().as_secs_f64() * 1000.0;
            ensure!((200..300).contains(&reply.status), "{operation}: {} {}", reply.status, reply.body);
            if number > 0 {
                latencies.push(took);
            }
        }
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            self.figures.add(format!("local stack: API {operation}, {name}"), percentile(&latencies, share), "ms");
        }
        Ok(())
    }
}
