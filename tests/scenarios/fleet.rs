//! Fleet: who works for whom, and what becomes of a step.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use sealfleet_client::all_pages;
use sealfleet_client::types::WorkerView;
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::run::{DeadReason, RunState};
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, named, run_of, step};
use sealfleet_test_stack::stack::LEASE_SECONDS;
use sealfleet_test_stack::worker::QueueKeys;
use sealfleet_test_stack::{
    Claimed, Outcome, Project, Stack, Worker, ensure, ensure_eq, eventually, processes, unique,
};
use serde_json::{Value, json};

use crate::seen::fresh_id;

/// Long enough for anything that is not waited for on purpose.
const SOON: Duration = Duration::from_secs(30);
/// Long enough for a lease to run out.
const LEASE: Duration = Duration::from_secs(LEASE_SECONDS * 4);

/// 1. No enrolment key; register -> pending; claim 403 `pending`; heartbeat 200.
pub async fn s01_without_a_key_a_worker_waits(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let run = project.enqueue_step(&json!({})).await?;

    let registered = project.register(None, "s01", &json!({})).await?;
    ensure_eq!(
        registered.status,
        WorkerStatus::Pending,
        "registration without a key"
    );
    let worker = Worker::of(&stack.anonymous, &registered)?;

    worker
        .try_claim(&run, "only")
        .await?
        .refused(403, "worker_pending")?;
    let heartbeat = worker.heartbeat(&[]).await?;
    ensure_eq!(
        heartbeat.status,
        WorkerStatus::Pending,
        "what the heartbeat of a pending worker says"
    );
    worker
        .caller
        .post("/v1/queue-credentials", &json!({}))
        .await?
        .refused(403, "worker_pending")?;

    ensure_eq!(
        project.state(&run, "only").await?,
        "queued",
        "the step that it asked for"
    );
    ensure_eq!(
        shown(&project, &worker.id).await?.status,
        WorkerStatus::Pending,
        "the worker"
    );

    project
        .admin
        .client()
        .approve_worker(worker.id.parse()?)
        .await?;
    worker.claim(&run, "only").await?;
    Ok(())
}

/// 2. Key with max_uses=1; two concurrent registers -> exactly one approved.
pub async fn s02_a_key_of_one_use_approves_one(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    for _ in 0..3 {
        let (key_id, key) = project.enrolment_key(&json!({ "max_uses": 1 })).await?;
        let name = format!("s02-{}", unique());
        let nothing = json!({});
        let (one, other) = join(
            project.try_register(Some(&key), &name, &nothing),
            project.try_register(Some(&key), &name, &nothing),
        )
        .await;
        let (one, other) = (one?, other?);
        let (won, lost) = if one.status < 300 {
            (one, other)
        } else {
            (other, one)
        };
        ensure_eq!(won.accepted()?["status"], "approved", "the one that won");
        lost.refused(401, "unauthenticated")?;

        let approved = named_workers(&project, &name).await?;
        ensure_eq!(approved.len(), 1, "workers that came of one use");
        ensure_eq!(uses(&project, &key_id).await?, Some(1), "uses of the key");
    }
    Ok(())
}

/// 3. Expired, revoked or exhausted key -> 401.
pub async fn s03_a_dead_key_is_refused(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let (_, expired) = project
        .enrolment_key(&json!({ "expires_in_seconds": 1 }))
        .await?;
    let expires = Instant::now() + Duration::from_millis(1100);
    let (revoked_id, revoked) = project.enrolment_key(&json!({})).await?;
    project
        .admin
        .client()
        .revoke_enrolment_key(revoked_id.parse()?)
        .await?;
    let (_, exhausted) = project.enrolment_key(&json!({ "max_uses": 1 })).await?;
    project
        .register(Some(&exhausted), "s03-first", &json!({}))
        .await?;
    tokio::time::sleep_until(expires.into()).await;

    let name = format!("s03-{}", unique());
    let mut answers = Vec::new();
    for key in [&expired, &revoked, &exhausted] {
        let answer = project.try_register(Some(key), &name, &json!({})).await?;
        answer.refused(401, "unauthenticated")?;
        answers.push(answer.bytes);
    }
    answers.dedup();
    ensure_eq!(answers.len(), 1, "different answers to dead keys");
    ensure!(
        named_workers(&project, &name).await?.is_empty(),
        "a dead key left a worker behind"
    );
    Ok(())
}

/// 4. Key for pool gpu; register for pool default -> not auto-approved.
pub async fn s04_a_key_is_for_its_pool(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let (_, key) = project.enrolment_key(&json!({ "pool": "gpu" })).await?;
    let name = format!("s04-{}", unique());
    let detail = project
        .try_register(Some(&key), &name, &json!({ "pool": PULL }))
        .await?
        .refused(403, "enrolment_refused")?;
    ensure!(
        detail.contains("gpu"),
        "the answer does not name the key's pool: {detail}"
    );
    ensure!(
        named_workers(&project, &name).await?.is_empty(),
        "a worker of the wrong pool was stored"
    );

    let registered = project
        .register(Some(&key), &name, &json!({ "pool": "gpu" }))
        .await?;
    ensure_eq!(
        registered.status,
        WorkerStatus::Approved,
        "registration in the key's pool"
    );
    Ok(())
}

/// 5. Key bound to project A; register for B, or with undeclared labels or models -> refused.
pub async fn s05_a_key_is_for_its_project_labels_and_models(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("alpha").await?;
    let declared = json!({ "labels": { "region": "eu" }, "models": ["gpt-4o"], "max_uses": 10 });
    let (key_id, key) = alpha.enrolment_key(&declared).await?;
    let name = format!("s05-{}", unique());
    for undeclared in [
        json!({ "project": beta.id }),
        json!({ "labels": { "region": "us" } }),
        json!({ "labels": { "region": "eu", "gpu": "a10" } }),
        json!({ "models": ["gpt-4o", "claude"] }),
    ] {
        alpha
            .try_register(Some(&key), &name, &undeclared)
            .await?
            .refused(403, "enrolment_refused")?;
    }
    for project in [&alpha, &beta] {
        ensure!(
            named_workers(project, &name).await?.is_empty(),
            "a refused registration was stored in `{}`",
            project.id
        );
    }
    ensure_eq!(
        uses(&alpha, &key_id).await?,
        Some(0),
        "uses of a key that only refused"
    );

    let covered = json!({ "labels": { "region": "eu" }, "models": ["openai/GPT-4o"] });
    let registered = alpha.register(Some(&key), &name, &covered).await?;
    ensure_eq!(
        registered.status,
        WorkerStatus::Approved,
        "registration that the key covers"
    );
    Ok(())
}

/// 6. Approve and reject race -> one wins, the other conflicts.
pub async fn s06_approve_and_reject_race(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    for _ in 0..4 {
        let registered = project.register(None, "s06", &json!({})).await?;
        let worker = registered.worker_id.to_string();
        let (approve, reject) = (
            format!("/v1/workers/{worker}/approve"),
            format!("/v1/workers/{worker}/reject"),
        );
        let nothing = json!({});
        let (approve, reject) = join(
            project.admin.post(&approve, &nothing),
            project.admin.post(&reject, &nothing),
        )
        .await;
        let (approve, reject) = (approve?, reject?);
        let (status, event, lost) = if approve.status < 300 {
            (WorkerStatus::Approved, "worker.approved", reject)
        } else {
            (WorkerStatus::Rejected, "worker.rejected", approve)
        };
        lost.refused(409, "conflict")?;
        ensure_eq!(
            shown(&project, &worker).await?.status,
            status,
            "the worker after the race"
        );

        let decided: Vec<Value> = [
            named(&project.trail().await?, "worker.approved"),
            named(&project.trail().await?, "worker.rejected"),
        ]
        .concat()
        .into_iter()
        .filter(|decided| decided["worker_id"] == worker.as_str())
        .collect();
        ensure_eq!(decided.len(), 1, "audited decisions");
        ensure_eq!(
            decided.first().map(|decided| decided["type"].clone()),
            Some(json!(event)),
            "the audited decision"
        );
    }
    Ok(())
}

/// 7. Wrong secret, or A's secret with B's id -> 401.
pub async fn s07_a_wrong_secret_is_nobodys(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("alpha").await?;
    let (in_alpha, in_beta) = (
        alpha.worker(&json!({})).await?,
        beta.worker(&json!({})).await?,
    );
    let colleague = alpha.worker(&json!({})).await?;
    let (_, key_alpha) = alpha.enrolment_key(&json!({})).await?;
    let (_, key_beta) = beta.enrolment_key(&json!({})).await?;
    let body = json!({ "leases": [] });
    let registration = alpha.registration("s07", &json!({}));

    let mut answers = Vec::new();
    for (own, others) in [
        (in_alpha.caller.credential(), in_beta.caller.credential()),
        (in_alpha.caller.credential(), colleague.caller.credential()),
        (alpha.admin.credential(), beta.admin.credential()),
        (alpha.viewer.credential(), alpha.admin.credential()),
        (key_alpha.credential(), key_beta.credential()),
    ] {
        for forged in forgeries(own, others) {
            let caller = stack.anonymous.with(&forged)?;
            for answer in [
                caller.post("/v1/heartbeats", &body).await?,
                caller.get("/v1/runs").await?,
                caller.post("/v1/workers/register", &registration).await?,
            ] {
                answer.refused(401, "unauthenticated")?;
                answers.push(answer.bytes);
            }
        }
    }
    answers.dedup();
    ensure_eq!(answers.len(), 1, "different answers to forged credentials");
    Ok(())
}

/// Credentials made of one's own and another's: a wrong secret, and one's own secret at the other's
/// address.
fn forgeries(own: &str, others: &str) -> Vec<String> {
    let part =
        |credential: &str, at: usize| credential.split('.').nth(at).unwrap_or_default().to_owned();
    let wrong: String = part(own, 3).chars().rev().collect();
    [
        [part(own, 0), part(own, 1), part(own, 2), wrong],
        [part(own, 0), part(others, 1), part(others, 2), part(own, 3)],
        [part(own, 0), part(own, 1), part(own, 2), part(others, 3)],
    ]
    .into_iter()
    // Text that is all zeros or a palindrome would be its own forgery.
    .map(|parts| parts.join("."))
    .filter(|forged| forged != own && forged != others)
    .collect()
}

/// 8. Body names project B under A's token -> A's scope holds; nothing lands in B.
pub async fn s08_a_body_cannot_name_another_project(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("eight").await?;
    let before = beta.census().await?;
    let own = alpha.census().await?;
    let named = |body: Value| merged(body, &json!({ "project": beta.id }));
    for (path, body) in [
        ("/v1/runs", named(run_of(&[step("only", &json!({}))]))),
        ("/v1/profiles", named(json!({ "name": "s08" }))),
        ("/v1/enrolment-keys", named(json!({ "pool": PULL }))),
        ("/v1/tokens", named(json!({ "role": "admin" }))),
        (
            "/v1/runs",
            run_of(&[step("only", &json!({ "project": beta.id }))]),
        ),
    ] {
        let answer = alpha.admin.post(path, &body).await?;
        ensure!(
            (400..500).contains(&answer.status),
            "{path} with another project: {}",
            answer.status
        );
        answer.is_problem()?;
        let field = answer.body["field"].as_str().unwrap_or_default();
        ensure!(
            field.ends_with("project"),
            "{path} does not name the field `project`: {}",
            answer.body
        );
    }
    ensure_eq!(
        beta.census().await?,
        before,
        "what is in the project that was named"
    );
    ensure_eq!(
        alpha.census().await?,
        own,
        "what is in the caller's project"
    );
    Ok(())
}

/// 9. Finance step queued; healthcare worker (same pool, model, labels) -> nothing; its attempt at
///    the very message -> refused and audited; the finance worker gets it.
pub async fn s09_a_step_is_its_own_projects(stack: &Stack) -> Outcome {
    let (healthcare, finance) = stack.pair("nine").await?;
    let alike = json!({ "labels": { "region": "eu" }, "models": ["gpt-4o"] });
    let (stranger, own) = (
        healthcare.worker(&alike).await?,
        finance.worker(&alike).await?,
    );
    let run = finance
        .enqueue_step(&json!({ "requires": { "region": "eu" }, "model": "gpt-4o" }))
        .await?;

    // The message is there, in the one queue, and not in the other.
    let (theirs, ours) = (stranger.queue_keys().await?, own.queue_keys().await?);
    let message = eventually("the step's message", SOON, async || {
        Ok(ours
            .receive(&stack.aws, 0)
            .await?
            .into_iter()
            .find(|message| message.run == run))
    })
    .await?;
    ensure!(
        theirs.receive(&stack.aws, 0).await?.is_empty(),
        "the other project's queue holds a message"
    );

    // Its attempt at the very message, whose ids leaked to it.
    let refused = stranger.try_claim(&message.run, &message.step).await?;
    refused.refused(404, "not_found")?;
    let missing = stranger.try_claim(&fresh_id("run"), &message.step).await?;
    ensure_eq!(
        refused.bytes,
        missing.bytes,
        "another project's step, against one that does not exist"
    );
    let trail = healthcare.trail().await?;
    let audited = trail.iter().any(|entry| {
        entry["actor"] == format!("worker:{}", stranger.id)
            && named(std::slice::from_ref(entry), "claim.refused")
                .iter()
                .any(|event| event["step_id"] == message.step.as_str())
    });
    ensure!(
        audited,
        "the refused claim is not in the trail of the worker's project"
    );
    ensure_eq!(
        finance.state(&run, "only").await?,
        "queued",
        "the step after the attempt"
    );
    ensure!(
        finance.events(&run, "step.leased").await?.is_empty(),
        "the attempt left a lease in the trail"
    );

    let claimed = own.claim(&message.run, &message.step).await?;
    own.succeed(&claimed).await?;
    ensure_eq!(
        finance.state(&run, "only").await?,
        "succeeded",
        "the step of its own worker"
    );
    Ok(())
}

/// 10. Worker credentials for A's queue used on B's queue -> AccessDenied by IAM.
pub async fn s10_queue_keys_open_one_queue(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("alpha").await?;
    let (in_alpha, in_beta) = (
        alpha.worker(&json!({})).await?,
        beta.worker(&json!({})).await?,
    );
    let (own, others) = (in_alpha.queue_keys().await?, in_beta.queue_keys().await?);
    own.receive(&stack.aws, 0).await?;

    let receive =
        |url: &str| json!({ "QueueUrl": url, "VisibilityTimeout": 0, "WaitTimeSeconds": 0 });
    let fargate = own
        .url
        .replace(&format!("--{PULL}"), &format!("--{FARGATE}"));
    let dead_letters = format!("{}--dlq", own.url);
    for (operation, body) in [
        ("ReceiveMessage", receive(&others.url)),
        (
            "DeleteMessage",
            json!({ "QueueUrl": others.url, "ReceiptHandle": "none" }),
        ),
        (
            "SendMessage",
            json!({ "QueueUrl": others.url, "MessageBody": "{}" }),
        ),
        ("ReceiveMessage", receive(&fargate)),
        ("ReceiveMessage", receive(&dead_letters)),
        (
            "SendMessage",
            json!({ "QueueUrl": own.url, "MessageBody": "{}" }),
        ),
        ("PurgeQueue", json!({ "QueueUrl": own.url })),
    ] {
        denied(stack, &own, Service::Sqs, operation, body).await?;
    }
    let table = json!({ "TableName": stack.parts.ledger_table });
    denied(stack, &own, Service::DynamoDb, "Scan", table).await
}

async fn denied(
    stack: &Stack,
    keys: &QueueKeys,
    service: Service,
    operation: &str,
    body: Value,
) -> Outcome {
    let answer = stack
        .aws
        .call_as(&keys.keys, service, operation, body.clone())
        .await?;
    let shown = String::from_utf8_lossy(&answer.bytes).into_owned();
    ensure!(
        answer.denied(),
        "{operation} {body}: not denied by IAM, but {} {shown}",
        answer.status
    );
    Ok(())
}

/// 11. Step for `openai/GPT-4o`; worker `gpt-4o` -> match. No model -> any worker; a model step and
///     a worker without models -> nothing.
pub async fn s11_models_match(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let with = project
        .worker(&json!({ "models": ["gpt-4o"], "max_concurrent": 2 }))
        .await?;
    let without = project.worker(&json!({})).await?;
    let asks = project
        .enqueue_step(&json!({ "model": "openai/GPT-4o" }))
        .await?;
    let other = project
        .enqueue_step(&json!({ "model": "openai/gpt-4" }))
        .await?;
    let any = project.enqueue_step(&json!({})).await?;

    without
        .try_claim(&asks, "only")
        .await?
        .refused(409, "step_mismatch")?;
    with.try_claim(&other, "only")
        .await?
        .refused(409, "step_mismatch")?;
    ensure_eq!(
        project.state(&asks, "only").await?,
        "queued",
        "the step that did not match"
    );
    ensure_eq!(
        project.events(&asks, "step.leased").await?.len(),
        0,
        "leases of the step that did not match"
    );
    with.claim(&asks, "only").await?;
    without.claim(&any, "only").await?;
    Ok(())
}

/// 12. Label `region=eu`: worker `us` or none -> nothing; superset -> match.
pub async fn s12_labels_match(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let run = project
        .enqueue_step(&json!({ "requires": { "region": "eu" } }))
        .await?;
    for labels in [
        json!({ "region": "us" }),
        json!({}),
        json!({ "Region": "eu" }),
        json!({ "region": "EU" }),
    ] {
        let worker = project.worker(&json!({ "labels": labels })).await?;
        worker
            .try_claim(&run, "only")
            .await?
            .refused(409, "step_mismatch")?;
    }
    ensure_eq!(
        project.state(&run, "only").await?,
        "queued",
        "the step that did not match"
    );
    let superset = project
        .worker(&json!({ "labels": { "region": "eu", "gpu": "a10" } }))
        .await?;
    superset.claim(&run, "only").await?;
    Ok(())
}

/// 13. Older unmatchable step ahead -> the newer matching one is still claimed.
pub async fn s13_an_unmatchable_step_blocks_nobody(stack: &Stack) -> Outcome {
    let project = stack.project("thirteen").await?;
    let mut unmatchable = Vec::new();
    for _ in 0..3 {
        unmatchable.push(
            project
                .enqueue_step(&json!({ "requires": { "region": "mars" } }))
                .await?,
        );
    }
    let matching = project.enqueue_step(&json!({})).await?;
    let worker = project.worker(&json!({})).await?;
    let queue = worker.queue_keys().await?;
    eventually("the newer step in the worker's hands", SOON, async || {
        for message in queue.receive(&stack.aws, 5).await? {
            let answer = worker.try_claim(&message.run, &message.step).await?;
            if answer.status == 200 {
                return Ok(Some(()));
            }
            answer.refused(409, "step_mismatch")?;
        }
        Ok(None)
    })
    .await?;
    ensure_eq!(
        project.state(&matching, "only").await?,
        "leased",
        "the newer step"
    );
    for run in unmatchable {
        ensure_eq!(
            project.state(&run, "only").await?,
            "queued",
            "an older step"
        );
    }
    Ok(())
}

/// 14. 50 concurrent claims of one step -> one winner.
pub async fn s14_fifty_claims_have_one_winner(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let (_, key) = project.enrolment_key(&json!({ "max_uses": 50 })).await?;
    let mut workers = Vec::new();
    for _ in 0..50 {
        let registered = project.register(Some(&key), "s14", &json!({})).await?;
        workers.push(Worker::of(&stack.anonymous, &registered)?);
    }
    let run = project.enqueue_step(&json!({})).await?;

    let answers = join_all(workers.iter().map(|worker| worker.try_claim(&run, "only"))).await;
    let mut winners = 0;
    for answer in answers {
        let answer = answer?;
        if answer.status == 200 {
            winners += 1;
        } else {
            answer.refused(409, "not_queued")?;
        }
    }
    ensure_eq!(winners, 1, "winners");
    let leased = project.events(&run, "step.leased").await?;
    ensure_eq!(leased.len(), 1, "audited leases");
    let shown = project.step(&run, "only").await?;
    ensure_eq!(shown.fence.number(), 1, "the fence");
    let holder = leased.first().map(|event| event["worker_id"].clone());
    ensure_eq!(holder, Some(json!(shown.worker_id)), "the audited holder");
    Ok(())
}

/// 15. Report by a non-owner -> 403; same report twice -> 200; a different terminal state -> 409; a
///     non-terminal state -> 400.
pub async fn s15_reports(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let (owner, other) = (
        project.worker(&json!({})).await?,
        project.worker(&json!({})).await?,
    );
    let run = project.enqueue_step(&json!({})).await?;
    let claimed = owner.claim(&run, "only").await?;

    other
        .try_succeed(&claimed)
        .await?
        .refused(403, "not_holder")?;
    for state in ["running", "queued", "dead", "aborted", ""] {
        let answer = owner
            .try_report(&claimed, &json!({ "state": state }))
            .await?;
        answer.refused(400, "invalid_request")?;
        ensure_eq!(answer.body["field"], "state", "the field that is wrong");
    }
    ensure_eq!(
        project.state(&run, "only").await?,
        "leased",
        "the step after refused reports"
    );

    let first = owner.succeed(&claimed).await?;
    ensure_eq!(first.state, "succeeded", "the answer to a report");
    let again = owner.try_succeed(&claimed).await?;
    ensure_eq!(again.status, 200, "the same report again");
    let otherwise = json!({ "state": "failed", "failure": { "kind": "exit", "code": 1 } });
    let conflict = owner.try_report(&claimed, &otherwise).await?;
    ensure_eq!(conflict.status, 409, "a different terminal state");
    conflict.is_problem()?;
    other
        .try_succeed(&claimed)
        .await?
        .refused(403, "not_holder")?;

    ensure_eq!(project.state(&run, "only").await?, "succeeded", "the step");
    ensure_eq!(
        project.events(&run, "step.succeeded").await?.len(),
        1,
        "audited successes"
    );
    ensure_eq!(
        project.events(&run, "step.failed").await?.len(),
        0,
        "audited failures"
    );
    ensure_eq!(
        project.events(&run, "run.finished").await?.len(),
        1,
        "audited ends of the run"
    );
    Ok(())
}

/// 16. Lease runs out -> queued again, late report refused; after 3 attempts -> dead, listed, retry
///     works.
pub async fn s16_a_lease_runs_out(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let worker = project.worker(&json!({})).await?;
    let run = project.enqueue_step(&json!({})).await?;
    let mut late = Vec::new();
    for attempt in 1..=3 {
        let claimed = worker.claim(&run, "only").await?;
        ensure_eq!(
            claimed.fence,
            u64::from(attempt),
            "the fence of attempt {attempt}"
        );
        ensure_eq!(
            project.step(&run, "only").await?.attempt,
            attempt,
            "the attempt"
        );
        let expected = if attempt < 3 { "queued" } else { "dead" };
        expired(stack, &project, &run, expected).await?;
        late.push(claimed);
    }
    for claimed in &late {
        worker
            .try_succeed(claimed)
            .await?
            .refused(409, "stale_fence")?;
        ensure!(
            !worker.holds(claimed).await?,
            "a lost lease is held, says the heartbeat"
        );
    }
    let shown = project.step(&run, "only").await?;
    ensure_eq!(
        shown.dead,
        Some(DeadReason::AttemptsExhausted),
        "why the step is dead"
    );
    ensure_eq!(project.run(&run).await?.state, RunState::Dead, "the run");
    let listed = project
        .runs()
        .await?
        .into_iter()
        .find(|listed| listed.run_id.to_string() == run);
    ensure_eq!(
        listed.map(|listed| listed.state),
        Some(RunState::Dead),
        "the run in the list"
    );
    ensure_eq!(
        project.events(&run, "step.requeued").await?.len(),
        2,
        "audited returns to the queue"
    );
    ensure_eq!(
        project.events(&run, "step.dead").await?.len(),
        1,
        "audited deaths"
    );

    let retry = format!("/v1/runs/{run}/steps/only/retry");
    project
        .viewer
        .post(&retry, &json!({}))
        .await?
        .refused(403, "forbidden")?;
    project
        .member
        .client()
        .retry_step(run.parse()?, &"only".parse()?)
        .await?;
    let again = project.member.post(&retry, &json!({})).await?;
    ensure_eq!(again.status, 409, "retrying what is not dead");
    ensure_eq!(
        project.events(&run, "step.retried").await?.len(),
        1,
        "audited retries"
    );
    let claimed = worker.claim(&run, "only").await?;
    ensure_eq!(claimed.fence, 4, "the fence goes on");
    worker.succeed(&claimed).await?;
    ensure_eq!(
        project.run(&run).await?.state,
        RunState::Succeeded,
        "the run after its retry"
    );
    Ok(())
}

/// Has `sweep` look until the lease of `only` has run out and the step is in `state`.
async fn expired(stack: &Stack, project: &Project, run: &str, state: &str) -> Outcome {
    eventually(
        &format!("the lease to run out and the step {state}"),
        LEASE,
        async || {
            stack.sweep().await?;
            Ok((project.state(run, "only").await? == state).then_some(()))
        },
    )
    .await
}

/// 17. Heartbeats through a long step -> never reaped.
pub async fn s17_heartbeats_keep_a_lease(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let worker = project.worker(&json!({})).await?;
    let run = project.enqueue_step(&json!({})).await?;
    let claimed = worker.claim(&run, "only").await?;
    worker.start(&claimed).await?;
    let long = async {
        let until = Instant::now() + Duration::from_secs(LEASE_SECONDS * 3);
        while Instant::now() < until {
            stack.sweep().await?;
            ensure_eq!(
                project.state(&run, "only").await?,
                "running",
                "the step between heartbeats"
            );
        }
        Ok(())
    };
    worker.while_held(&claimed, long).await?;
    ensure_eq!(
        project.events(&run, "step.requeued").await?.len(),
        0,
        "audited returns to the queue"
    );
    worker.succeed(&claimed).await?;
    ensure_eq!(
        project.step(&run, "only").await?.attempt,
        1,
        "the attempt that succeeded"
    );
    Ok(())
}

/// 18. Same worker claims again; report with the old fence -> refused.
pub async fn s18_the_newest_claim_counts(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let worker = project.worker(&json!({})).await?;
    let run = project.enqueue_step(&json!({})).await?;
    let old = worker.claim(&run, "only").await?;
    let new = worker.claim(&run, "only").await?;
    ensure!(
        new.fence > old.fence,
        "a claim again got fence {} after {}",
        new.fence,
        old.fence
    );

    worker
        .try_succeed(&old)
        .await?
        .refused(409, "stale_fence")?;
    worker.try_start(&old).await?.refused(409, "stale_fence")?;
    ensure!(
        !worker.holds(&old).await?,
        "the old claim is held, says the heartbeat"
    );
    let refused = project.events(&run, "report.refused").await?;
    ensure!(
        refused.iter().any(|event| event["fence"] == old.fence),
        "the refused report is not audited: {refused:?}"
    );
    ensure_eq!(
        project.state(&run, "only").await?,
        "leased",
        "the step after a stale report"
    );

    ensure!(
        worker.holds(&new).await?,
        "the new claim is not held, says the heartbeat"
    );
    worker.succeed(&new).await?;
    let fences: Vec<Value> = project
        .events(&run, "step.succeeded")
        .await?
        .iter()
        .map(|event| event["fence"].clone())
        .collect();
    ensure_eq!(fences, [json!(new.fence)], "the fence that is in the trail");
    Ok(())
}

/// 19. Worker revoked mid-step -> heartbeat 403, step queued again.
pub async fn s19_a_revoked_worker_loses_its_step(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let (worker, other) = (
        project.worker(&json!({ "max_concurrent": 2 })).await?,
        project.worker(&json!({})).await?,
    );
    let (leased, running) = (
        project.enqueue_step(&json!({})).await?,
        project.enqueue_step(&json!({})).await?,
    );
    let in_lease = worker.claim(&leased, "only").await?;
    let in_run = worker.claim(&running, "only").await?;
    worker.start(&in_run).await?;

    project
        .member
        .post(&format!("/v1/workers/{}/revoke", worker.id), &json!({}))
        .await?
        .refused(403, "forbidden")?;
    project
        .admin
        .client()
        .revoke_worker(worker.id.parse()?)
        .await?;
    worker
        .try_heartbeat(&[&in_lease, &in_run])
        .await?
        .refused(403, "worker_revoked")?;
    for claimed in [&in_lease, &in_run] {
        project
            .until(&claimed.run, "only", &["queued"], SOON)
            .await?;
        let requeued = project.events(&claimed.run, "step.requeued").await?;
        ensure_eq!(
            requeued.first().map(|event| event["reason"].clone()),
            Some(json!("worker_revoked")),
            "the audited reason"
        );
        worker
            .try_succeed(claimed)
            .await?
            .refused(403, "worker_revoked")?;
    }
    worker
        .try_claim(&leased, "only")
        .await?
        .refused(403, "worker_revoked")?;
    worker
        .caller
        .post("/v1/queue-credentials", &json!({}))
        .await?
        .refused(403, "worker_revoked")?;
    let revoked = named(&project.trail().await?, "worker.revoked");
    ensure!(
        revoked
            .iter()
            .any(|event| event["worker_id"] == worker.id.as_str()),
        "the revocation is not audited"
    );
    let claimed = other.claim(&leased, "only").await?;
    other.succeed(&claimed).await?;
    Ok(())
}

/// 20. `max_concurrent=2`, two held -> third claim refused.
pub async fn s20_max_concurrent(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let worker = project.worker(&json!({ "max_concurrent": 2 })).await?;
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(project.enqueue_step(&json!({})).await?);
    }
    // All at once: the limit holds under a race as well.
    let answers = join_all(runs.iter().map(|run| worker.try_claim(run, "only"))).await;
    let mut held = Vec::new();
    let mut waiting = Vec::new();
    for (run, answer) in runs.iter().zip(answers) {
        let answer = answer?;
        if answer.status == 200 {
            let fence = answer.body["fence"].as_u64().unwrap_or_default();
            held.push(Claimed {
                run: run.clone(),
                step: "only".to_owned(),
                fence,
            });
        } else {
            answer.refused(409, "at_capacity")?;
            waiting.push(run);
        }
    }
    ensure_eq!(held.len(), 2, "claims held at once");
    for run in &waiting {
        ensure_eq!(
            project.state(run, "only").await?,
            "queued",
            "a step beyond the limit"
        );
        worker
            .try_claim(run, "only")
            .await?
            .refused(409, "at_capacity")?;
    }
    let Some((freed, next)) = held.first().zip(waiting.first()) else {
        return Ok(());
    };
    worker.succeed(freed).await?;
    worker.claim(next, "only").await?;
    Ok(())
}

/// 21. Enqueue twice with one idempotency key -> one run; same key, other body -> 409/422.
pub async fn s21_idempotency_keys(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("twentyone").await?;
    let body = run_of(&[step("only", &json!({}))]);
    let key = format!("order-{}", unique());
    let answers = join_all((0..8).map(|_| project.member.post_once("/v1/runs", &key, &body))).await;
    let mut runs = Vec::new();
    for answer in answers {
        runs.push(text(&answer?.accepted()?, "run_id")?);
    }
    runs.push(text(
        &project
            .member
            .post_once("/v1/runs", &key, &body)
            .await?
            .accepted()?,
        "run_id",
    )?);
    runs.sort();
    runs.dedup();
    ensure_eq!(runs.len(), 1, "runs of one key");
    let changed = run_of(&[step("only", &json!({ "command": ["false"] }))]);
    project
        .member
        .post_once("/v1/runs", &key, &changed)
        .await?
        .refused(422, "idempotency_mismatch")?;
    ensure_eq!(project.runs().await?.len(), 1, "runs in the project");
    let enqueued = named(&project.trail().await?, "run.enqueued");
    ensure_eq!(enqueued.len(), 1, "audited enqueues");

    // The key is the project's: another project's same key is another run.
    let theirs = text(
        &other
            .member
            .post_once("/v1/runs", &key, &changed)
            .await?
            .accepted()?,
        "run_id",
    )?;
    ensure!(
        !runs.contains(&theirs),
        "two projects share an idempotency key"
    );
    Ok(())
}

/// 22. Unmatchable step -> visible diagnosis, dies at its TTL.
pub async fn s22_an_unmatchable_step_says_so_and_dies(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let run = project
        .enqueue_step(&json!({ "requires": { "region": "mars" }, "ttl_seconds": 8 }))
        .await?;
    let diagnosed = eventually("a diagnosis", Duration::from_secs(7), async || {
        Ok(project.step(&run, "only").await?.diagnosis)
    })
    .await?;
    ensure!(
        diagnosed.contains("region=mars"),
        "the diagnosis does not name what is missing: {diagnosed}"
    );

    expired(stack, &project, &run, "dead").await?;
    ensure_eq!(
        project.step(&run, "only").await?.dead,
        Some(DeadReason::TtlExpired),
        "why it is dead"
    );
    let dead = project.events(&run, "step.dead").await?;
    ensure_eq!(
        dead.first().map(|event| event["reason"].clone()),
        Some(json!("ttl_expired")),
        "the audited reason"
    );
    Ok(())
}

/// 23. Cancel a queued, leased, running run -> stops, sandbox gone.
pub async fn s23_cancel(stack: &Stack) -> Outcome {
    let project = stack.project("alpha").await?;
    let worker = project.worker(&json!({ "max_concurrent": 3 })).await?;

    let steps = [
        step("first", &json!({})),
        step("second", &json!({ "needs": ["first"] })),
    ];
    let queued = project.enqueue(&run_of(&steps)).await?;
    project
        .viewer
        .post(&format!("/v1/runs/{queued}/cancel"), &json!({}))
        .await?
        .refused(403, "forbidden")?;
    project.cancel(&queued).await?;
    for step in ["first", "second"] {
        let aborted = json!(project.step(&queued, step).await?.aborted);
        ensure_eq!(aborted["kind"], "cancelled", "why `{step}` was ended");
    }
    worker
        .try_claim(&queued, "first")
        .await?
        .refused(409, "not_queued")?;
    project.cancel(&queued).await?;
    ensure_eq!(
        project.events(&queued, "run.cancelled").await?.len(),
        1,
        "audited cancels, after a cancel again"
    );
    let ended = project.enqueue_step(&json!({})).await?;
    let claimed = worker.claim(&ended, "only").await?;
    worker.succeed(&claimed).await?;
    let ended = format!("/v1/runs/{ended}/cancel");
    project
        .member
        .post(&ended, &json!({}))
        .await?
        .refused(409, "conflict")?;

    for start in [false, true] {
        let run = project.enqueue_step(&json!({})).await?;
        let claimed = worker.claim(&run, "only").await?;
        if start {
            worker.start(&claimed).await?;
        }
        project.cancel(&run).await?;
        ensure_eq!(
            project.state(&run, "only").await?,
            "aborted",
            "the cancelled step"
        );
        ensure!(
            !worker.holds(&claimed).await?,
            "a cancelled lease is held, says the heartbeat"
        );
        ensure_eq!(
            worker.try_succeed(&claimed).await?.status,
            409,
            "a report after the cancel"
        );
        ensure_eq!(
            project.state(&run, "only").await?,
            "aborted",
            "the step after a late report"
        );
        ensure_eq!(
            project.events(&run, "run.cancelled").await?.len(),
            1,
            "audited cancels"
        );
        ensure_eq!(
            project.events(&run, "step.aborted").await?.len(),
            1,
            "audited aborts"
        );
    }
    for (pool, mode) in [(PULL, "bare"), (PULL, "sandboxed"), (FARGATE, "sandboxed")] {
        cancel_a_real_one(stack, pool, mode).await?;
    }
    Ok(())
}

/// Cancels a run whose sandbox is a real process, and sees the process go.
async fn cancel_a_real_one(stack: &Stack, pool: &str, mode: &str) -> Outcome {
    let project = stack.project("live").await?;
    let worker = project.live_worker(stack).await?;
    let marker = format!("86400.{}", number());
    let run = project
        .enqueue_step(&json!({ "pool": pool, "mode": mode, "command": ["sleep", marker] }))
        .await?;
    let running = || {
        processes::with_argument(&marker)
            .into_iter()
            .any(|process| process.name == "sleep")
    };
    let here = format!("a {mode} step of `{pool}`");
    eventually(
        &format!("{here} to run"),
        Duration::from_secs(60),
        async || Ok(running().then_some(())),
    )
    .await?;
    project.until(&run, "only", &["running"], SOON).await?;

    project.cancel(&run).await?;
    ensure_eq!(project.state(&run, "only").await?, "aborted", "{here}");
    let gone = eventually(
        &format!("the sandbox of {here} to be gone"),
        Duration::from_secs(60),
        async || {
            stack.sweep().await?;
            Ok((!running()).then_some(()))
        },
    )
    .await;
    ensure!(
        gone.is_ok(),
        "the sandbox of {here} is not gone; its worker says\n{}",
        worker.log()
    );
    ensure_eq!(
        project.state(&run, "only").await?,
        "aborted",
        "{here} after its sandbox is gone"
    );
    ensure_eq!(
        project.events(&run, "step.aborted").await?.len(),
        1,
        "audited aborts of {here}"
    );
    if pool == FARGATE {
        eventually("the audited end of the sandbox", SOON, async || {
            Ok((project.events(&run, "pool.sandbox.reset").await?.len() == 1).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// 24. Token of A reads B's run, step, worker, profile, audit -> 404, and nothing in timing or text
///     tells that it exists.
pub async fn s24_another_projects_rows_do_not_exist(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("twentyfour").await?;
    let worker = beta.worker(&json!({})).await?;
    let stranger = alpha.worker(&json!({})).await?;
    let run = beta.enqueue_step(&json!({})).await?;
    beta.admin.create_profile("s24", &json!({})).await?;
    let (key, _) = beta.enrolment_key(&json!({})).await?;
    let token = beta
        .admin
        .token(&json!({ "role": "viewer" }))
        .await?
        .view
        .token_id;
    let claimed = worker.claim(&run, "only").await?;
    let before = (beta.census().await?, beta.audit(&run).await?);
    let entry = text(before.1.first().unwrap_or(&Value::Null), "event_id")?;

    let asked = async {
        for (theirs, nobodys) in [
            (
                format!("/v1/runs/{run}"),
                format!("/v1/runs/{}", fresh_id("run")),
            ),
            (
                format!("/v1/workers/{}", worker.id),
                format!("/v1/workers/{}", fresh_id("wrk")),
            ),
            (
                "/v1/profiles/s24".to_owned(),
                format!("/v1/profiles/s24-{}", unique()),
            ),
            (
                format!("/v1/audit?run={run}"),
                format!("/v1/audit?run={}", fresh_id("run")),
            ),
            (
                format!("/v1/audit?project={}", beta.id),
                format!("/v1/audit?project=none-{}", unique()),
            ),
            (
                format!("/v1/audit/{entry}"),
                format!("/v1/audit/{}", fresh_id("evt")),
            ),
            (
                format!("/v1/projects/{}", beta.id),
                format!("/v1/projects/none-{}", unique()),
            ),
        ] {
            let (exists, missing) = (
                alpha.admin.get(&theirs).await?,
                alpha.admin.get(&nobodys).await?,
            );
            exists.refused(404, "not_found")?;
            same(&exists, &missing)?;
            same_work(&alpha, &theirs, &nobodys).await?;
        }
        let nothing = json!({});
        for (theirs, nobodys) in [
            (
                format!("/v1/runs/{run}/cancel"),
                format!("/v1/runs/{}/cancel", fresh_id("run")),
            ),
            (
                format!("/v1/runs/{run}/steps/only/retry"),
                format!("/v1/runs/{}/steps/only/retry", fresh_id("run")),
            ),
            (
                format!("/v1/workers/{}/approve", worker.id),
                format!("/v1/workers/{}/approve", fresh_id("wrk")),
            ),
            (
                format!("/v1/workers/{}/reject", worker.id),
                format!("/v1/workers/{}/reject", fresh_id("wrk")),
            ),
            (
                format!("/v1/workers/{}/revoke", worker.id),
                format!("/v1/workers/{}/revoke", fresh_id("wrk")),
            ),
        ] {
            let (exists, missing) = (
                alpha.admin.post(&theirs, &nothing).await?,
                alpha.admin.post(&nobodys, &nothing).await?,
            );
            exists.refused(404, "not_found")?;
            same(&exists, &missing)?;
        }
        for (theirs, nobodys) in [
            (
                format!("/v1/tokens/{token}"),
                format!("/v1/tokens/{}", fresh_id("tok")),
            ),
            (
                format!("/v1/enrolment-keys/{key}"),
                format!("/v1/enrolment-keys/{}", fresh_id("enk")),
            ),
        ] {
            let (exists, missing) = (
                alpha.admin.delete(&theirs).await?,
                alpha.admin.delete(&nobodys).await?,
            );
            exists.refused(404, "not_found")?;
            same(&exists, &missing)?;
        }
        // A worker of A, with the very lease of a step of B.
        let nowhere = Claimed {
            run: fresh_id("run"),
            ..claimed.clone()
        };
        same(
            &stranger.try_succeed(&claimed).await?,
            &stranger.try_succeed(&nowhere).await?,
        )?;
        same(
            &stranger.try_start(&claimed).await?,
            &stranger.try_start(&nowhere).await?,
        )?;
        ensure!(
            !stranger.holds(&claimed).await?,
            "a worker holds a step of another project"
        );
        let run_body = json!({ "workflow": "tests", "profile": "s24", "steps": [step("only", &json!({ "mode": "identity" }))] });
        let nobodys = merged(
            run_body.clone(),
            &json!({ "profile": format!("s24-{}", unique()) }),
        );
        same(
            &alpha.member.post("/v1/runs", &run_body).await?,
            &alpha.member.post("/v1/runs", &nobodys).await?,
        )?;

        Ok(())
    };
    worker.while_held(&claimed, asked).await?;

    ensure_eq!(
        (beta.census().await?, beta.audit(&run).await?),
        before,
        "the project that was asked about"
    );
    ensure!(
        worker.holds(&claimed).await?,
        "the project's own worker lost its step"
    );
    Ok(())
}

/// Whether two answers cannot be told apart.
fn same(exists: &sealfleet_test_stack::Reply, missing: &sealfleet_test_stack::Reply) -> Outcome {
    let parts = |reply: &sealfleet_test_stack::Reply| {
        (
            reply.status,
            reply.content_type.clone(),
            String::from_utf8_lossy(&reply.bytes).into_owned(),
        )
    };
    ensure!(
        (400..500).contains(&exists.status),
        "{} was answered with {}",
        exists.asked,
        exists.status
    );
    ensure_eq!(
        parts(exists),
        parts(missing),
        "{} against {}",
        exists.asked,
        missing.asked
    );
    Ok(())
}

/// Whether two requests take the same time, as far as can be told in the presence of other work:
/// their medians, taken in turns, differ by less than one read of the ledger more would make.
async fn same_work(project: &Project, theirs: &str, nobodys: &str) -> Outcome {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..9 {
        for (path, times) in [theirs, nobodys].into_iter().zip(&mut times) {
            let start = Instant::now();
            project.admin.get(path).await?;
            times.push(start.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    let [theirs_took, nobodys_took] = &mut times;
    let (one, other) = (median(theirs_took), median(nobodys_took));
    let (short, long) = (one.min(other), one.max(other));
    ensure!(
        long < short * 2 + Duration::from_millis(20),
        "{theirs} takes {one:?}, {nobodys} takes {other:?}"
    );
    Ok(())
}

/// 25. Viewer enqueues -> 403; expired or revoked token -> 401.
pub async fn s25_viewers_and_dead_tokens(stack: &Stack) -> Outcome {
    let project = stack.project("twentyfive").await?;
    let body = run_of(&[step("only", &json!({}))]);
    project
        .viewer
        .post("/v1/runs", &body)
        .await?
        .refused(403, "forbidden")?;

    let expiring = json!({ "role": "member", "expires_in_seconds": 1 });
    let expiring = project.admin.token(&expiring).await?;
    let expires = Instant::now() + Duration::from_millis(1100);
    let expired = stack.anonymous.with(&expiring.token)?;
    let made = project.admin.token(&json!({ "role": "member" })).await?;
    let revoked = stack.anonymous.with(&made.token)?;
    revoked.get("/v1/runs").await?.accepted()?;
    project
        .admin
        .client()
        .revoke_token(None, made.view.token_id)
        .await?;
    tokio::time::sleep_until(expires.into()).await;

    let unknown = stack
        .anonymous
        .with("sft.none.tok_0198c0de-0000-7000-8000-00000000000a.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")?;
    let mut answers = Vec::new();
    for caller in [
        &expired,
        &revoked,
        &unknown,
        &stack.anonymous,
        &stack.anonymous.with("nonsense")?,
    ] {
        for answer in [
            caller.post("/v1/runs", &body).await?,
            caller.get("/v1/runs").await?,
        ] {
            answer.refused(401, "unauthenticated")?;
            answers.push(answer.bytes);
        }
    }
    answers.dedup();
    ensure_eq!(answers.len(), 1, "different answers to dead tokens");
    ensure!(
        project.runs().await?.is_empty(),
        "a refused enqueue left a run"
    );
    ensure!(
        named(&project.trail().await?, "run.enqueued").is_empty(),
        "a refused enqueue is in the trail"
    );
    Ok(())
}

/// A number that no other process has among its arguments.
fn number() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}

async fn shown(project: &Project, worker: &str) -> Outcome<WorkerView> {
    Ok(project.viewer.client().get_worker(worker.parse()?).await?)
}

async fn named_workers(project: &Project, name: &str) -> Outcome<Vec<WorkerView>> {
    let mut workers =
        all_pages(async |page| project.viewer.client().list_workers(page).await).await?;
    workers.retain(|worker| worker.name == name);
    Ok(workers)
}

/// How many workers an enrolment key has approved.
async fn uses(project: &Project, key_id: &str) -> Outcome<Option<u32>> {
    let keys =
        all_pages(async |page| project.admin.client().list_enrolment_keys(page).await).await?;
    Ok(keys
        .into_iter()
        .find(|key| key.enrolment_key_id.to_string() == key_id)
        .map(|key| key.uses))
}
