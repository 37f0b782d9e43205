//! Latency of the API's main operations, as a caller of the local stack sees it: its gateway and
//! its functions' starts of an invocation are part of each figure.

use std::time::Instant;

use sealfleet_client::types::Heartbeat;
use sealfleet_client::{AuditQuery, PageQuery, RevocationState};
use sealfleet_test_stack::api::typed;
use sealfleet_test_stack::identity::{revocation, secrets};
use sealfleet_test_stack::project::{merged, run_of, step};
use sealfleet_test_stack::{Caller, Failure, Outcome, Project};
use serde_json::json;

use crate::figures::{Figures, percentile};

/// Measures each operation by `calls` calls, one after the other.
///
/// # Errors
/// When a call is refused.
pub async fn measure(figures: &mut Figures, project: &Project, calls: usize) -> Outcome {
    let worker = project
        .worker(&json!({ "pool": "gpu", "max_concurrent": 1000 }))
        .await?;
    // One request for each call.
    let once = |caller: &Caller| caller.client().clone().without_retries();
    let (admin, member, worker) = (
        once(&project.admin),
        once(&project.member),
        once(&worker.caller),
    );
    let body = typed(&run_of(&[step("only", &json!({ "pool": "gpu" }))]))?;
    let run = member.enqueue_run(&body, None).await?.run_id;
    let content = secrets(&[("KEY", "builtin://bench@1")]);
    let measured = project
        .admin
        .create_profile("measured", &content)
        .await?
        .name;
    let name = |number: usize| format!("measured-{number}");
    let page = PageQuery::default();

    let mut times = Times { figures, calls };
    times
        .of("enqueue", async |_| {
            Ok(member.enqueue_run(&body, None).await?)
        })
        .await?;
    times
        .of("get_run", async |_| Ok(member.get_run(run).await?))
        .await?;
    times
        .of("list_runs", async |_| {
            Ok(member.list_runs(None, &page).await?)
        })
        .await?;
    let of_run = AuditQuery {
        run_id: Some(run),
        ..AuditQuery::default()
    };
    times
        .of("list_audit", async |_| {
            Ok(admin.list_audit_entries(&of_run).await?)
        })
        .await?;
    times
        .of("list_workers", async |_| {
            Ok(admin.list_workers(&page).await?)
        })
        .await?;
    let profile = |number: usize| typed(&merged(content.clone(), &json!({ "name": name(number) })));
    times
        .of("create_profile", async |number| {
            Ok(admin.create_profile(&profile(number)?).await?)
        })
        .await?;
    times
        .of("get_profile", async |_| {
            Ok(admin.get_profile(&measured).await?)
        })
        .await?;
    let question = typed(&json!({ "workflow": "w", "profile": measured }))?;
    times
        .of("resolve_cascade", async |_| {
            Ok(admin.resolve_cascade(&question).await?)
        })
        .await?;
    let revoked = |number: usize| typed(&revocation(&[(&name(number), "KEY")], false));
    times
        .of("revoke (soft)", async |number| {
            Ok(admin.create_revocations(&revoked(number)?).await?)
        })
        .await?;
    let active = RevocationState::Active;
    times
        .of("list_revocations", async |_| {
            Ok(admin.list_revocations(active, &page).await?)
        })
        .await?;
    times
        .of("heartbeat", async |_| {
            Ok(worker.send_heartbeat(&Heartbeat::default()).await?)
        })
        .await?;
    times
        .of("queue_credentials", async |_| {
            Ok(worker.get_queue_credentials().await?)
        })
        .await?;
    times
        .of("get_openapi", async |_| Ok(member.get_openapi().await?))
        .await
}

struct Times<'a> {
    figures: &'a mut Figures,
    calls: usize,
}

impl Times<'_> {
    async fn of<T>(&mut self, operation: &str, call: impl AsyncFn(usize) -> Outcome<T>) -> Outcome {
        let mut latencies = Vec::new();
        // The first one starts the function.
        for number in 0..=self.calls {
            let before = Instant::now();
            call(number)
                .await
                .map_err(|failure| Failure::new(format!("{operation}: {failure}")))?;
            let took = before.elapsed().as_secs_f64() * 1000.0;
            if number > 0 {
                latencies.push(took);
            }
        }
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            self.figures.add(
                format!("local stack: API {operation}, {name}"),
                percentile(&latencies, share),
                "ms",
            );
        }
        Ok(())
    }
}
