//! Fleet: who works for whom, and how steps move on.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use sealfleet_client::all_pages;
use sealfleet_client::types::WorkerView;
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::project::{FARGATE, PULL, named, run_of, step};
use sealfleet_test_stack::worker::QueueKeys;
use sealfleet_test_stack::{
    Claimed, Outcome, Project, Stack, Worker, ensure, ensure_eq, eventually, processes, unique,
};
use serde_json::{Value, json};

use crate::seen::fresh_id;

/// Long enough for anything that is not waited for on purpose.
const SOON: Duration = Duration::from_secs(30);

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

/// A number that no other process has among its arguments.
fn number() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}

async fn shown(project: &Project, worker: &str) -> Outcome<WorkerView> {
    let detail = project.viewer.client().get_worker(worker.parse()?).await?;
    Ok(detail.worker.registered)
}

async fn named_workers(project: &Project, name: &str) -> Outcome<Vec<WorkerView>> {
    let listed = all_pages(async |page| project.viewer.client().list_workers(page).await).await?;
    let mut workers: Vec<_> = listed.into_iter().map(|known| known.registered).collect();
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
