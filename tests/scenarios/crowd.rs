//! Crowds: a neighbour's flood, the steps of one run at once, the largest run, and workers of one
//! pool that are not alike. These run alone: each takes the whole machine for some seconds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::{select_all, try_join_all};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sealfleet_domain::limits;
use sealfleet_domain::run::RunState;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{PULL, named, run_of, step};
use sealfleet_test_stack::stack::LEASE_SECONDS;
use sealfleet_test_stack::{
    Claimed, Failure, Outcome, Project, Stack, Worker, WorkerProcess, ensure, ensure_eq,
    eventually, private_file,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::key_of_run;
use crate::seen::{PLAYED, nowhere, played, player, while_alive, with_profile};

/// Rows that wait for a worker, and rows whose lease has run out, of the project that floods.
/// Before the sweep was fair it dealt with about 19 rows a second: these would have taken it
/// minutes, and `sweep` runs for 42 seconds.
const WAITING: usize = 3000;
const EXPIRED: usize = 1000;
/// Runs in flight of the quiet project that hold the key.
const IN_FLIGHT: u32 = 12;
/// `sweep` looks at a lease this many seconds after its end at the earliest.
const SLACK_SECONDS: u64 = 10;
/// From the beginning of a sweep. With the minute between two sweeps this makes 75 seconds.
const FOUND: Duration = Duration::from_secs(15);
/// Long enough for anything that is not waited for on purpose.
const SOON: Duration = Duration::from_secs(30);
/// Rows of one `BatchWriteItem`.
const BATCH: usize = 25;

/// One project has thousands of due rows. In another project a lease has run out, and a fan-out is
/// due whose first workers all died: the first sweep deals with both at once.
pub async fn a_flood_of_one_project_delays_no_other(stack: &Stack) -> Outcome {
    let (noisy, quiet) = stack.pair("crowd").await?;
    let flood = Flood::of(stack, &noisy).await?;
    let found = in_spite_of(stack, &quiet, &flood).await;
    flood.recede().await?;
    found
}

async fn in_spite_of(stack: &Stack, quiet: &Project, flood: &Flood<'_>) -> Outcome {
    let profile = secrets(&[("API_KEY", &nowhere("crowd"))]);
    quiet.admin.create_profile("crm", &profile).await?;
    let holder = player(quiet, IN_FLIGHT).await?;
    let holds = (0..IN_FLIGHT).map(async |_| {
        let run = with_profile("crm", &[played("only", &json!({}))]);
        let run = quiet.enqueue(&run).await?;
        holder.claim(&run, "only").await
    });
    let held = try_join_all(holds).await?;
    let lost = in_a_late_shard(quiet).await?;
    flood.rise().await?;
    player(quiet, 1).await?.claim(&lost, "only").await?;
    let expires = Instant::now() + Duration::from_secs(LEASE_SECONDS + SLACK_SECONDS);

    while_alive(&[(&holder, held)], async {
        let fan_out = revoked_by_the_dying(stack, quiet).await?;
        let due = Duration::from_secs(limits::FAN_OUT_SECONDS.unsigned_abs());
        let both_are_due = expires.max(Instant::now() + due);
        tokio::time::sleep_until(both_are_due.into()).await;
        let began = Instant::now();
        let dealt_with = async {
            eventually("the lease and the fan-out dealt with", FOUND, async || {
                let requeued = quiet.state(&lost, "only").await? == "queued";
                let finished = quiet.admin.fan_out(&fan_out).await?.finished_at.is_some();
                Ok((requeued && finished).then_some(()))
            })
            .await?;
            Ok::<_, Failure>((began.elapsed(), flood.untouched().await?))
        };
        // The sweep goes on with the flood for the rest of its time.
        let (took, untouched) = tokio::select! {
            found = dealt_with => found?,
            swept = stack.sweep() => {
                swept?;
                return Err(Failure::new("one sweep deals with the whole flood: it is none"));
            }
        };
        println!("found after {took:?}, before {untouched} rows of the flood");
        ensure!(
            untouched > (WAITING + EXPIRED) / 2,
            "most of the flood came first: {untouched} rows are left after {took:?}"
        );
        let aborted = quiet.admin.events("revocation.fan_out_finished").await?;
        ensure_eq!(
            aborted.first().map(|end| &end["runs_aborted"]),
            Some(&json!(IN_FLIGHT)),
            "aborted runs"
        );
        Ok(())
    })
    .await
}

/// A run in one of the last shards of the due index.
async fn in_a_late_shard(project: &Project) -> Outcome<String> {
    loop {
        let run = project.enqueue_step(&json!({ "pool": PLAYED })).await?;
        if run.ends_with(['c', 'd', 'e', 'f']) {
            return Ok(run);
        }
    }
}

/// Revokes the key of `crm` while nobody can write the aborts or ask others to go on: as if all
/// who were to work on the fan-out had died. Returns the fan-out.
async fn revoked_by_the_dying(stack: &Stack, project: &Project) -> Outcome<String> {
    let deny = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Action": ["dynamodb:UpdateItem", "sqs:SendMessage"], "Resource": "*",
    }] });
    let (role, policy) = ("sealfleet-revoke", "no-fan-out");
    stack.aws.put_role_policy(role, policy, &deny).await?;
    let revoked = project.admin.revoke(&[("crm", "API_KEY")], true).await;
    stack.aws.delete_role_policy(role, policy).await?;
    let fan_out = revoked?.fan_out.unwrap_or_default();
    let view = project.admin.fan_out(&fan_out).await?;
    ensure_eq!(
        view.counts.runs_aborted,
        0,
        "aborts by a function that cannot abort"
    );
    Ok(fan_out)
}

/// Due rows of a project: those of two runs that the API stored, many times.
struct Flood<'a> {
    stack: &'a Stack,
    rows: Vec<Value>,
    due_at: String,
}

impl<'a> Flood<'a> {
    async fn of(stack: &'a Stack, project: &Project) -> Outcome<Self> {
        let waiting = project.enqueue_step(&json!({ "pool": PULL })).await?;
        let waiting = stored(stack, project, &waiting).await?;
        let worker = player(project, 1).await?;
        let run = project.enqueue_step(&json!({ "pool": PLAYED })).await?;
        let claimed = worker.claim(&run, "only").await?;
        let expired = stored(stack, project, &run).await?;
        // The lease goes: what is copied of the run is held by nobody.
        worker.succeed(&claimed).await?;

        let due_at = waiting["due_at"]["N"].as_str().unwrap_or_default();
        let due_at = (due_at.parse::<i64>()? - 3_600_000).to_string();
        let copies = std::iter::repeat_n(&waiting, WAITING);
        let copies = copies.chain(std::iter::repeat_n(&expired, EXPIRED));
        let rows = copies.map(|row| {
            let id = Uuid::now_v7();
            let last = id.as_bytes()[15];
            let mut row = row.clone();
            row["pk"]["S"] = json!(format!("PRJ#{}#RUNS#{}", project.id, last % 8));
            row["sk"]["S"] = json!(format!("run_{id}"));
            row["due_shard"]["S"] = json!(format!("{:x}", last % 16));
            row["due_at"]["N"] = json!(due_at);
            // No entries of theirs reach the trail.
            row["e"] = json!({ "L": [] });
            row["eb"]["N"] = json!("0");
            if let Some(row) = row.as_object_mut() {
                row.remove("trail");
            }
            row
        });
        Ok(Self {
            stack,
            rows: rows.collect(),
            due_at,
        })
    }

    async fn rise(&self) -> Outcome {
        let puts = self.rows.iter();
        let puts = puts.map(|row| json!({ "PutRequest": { "Item": row } }));
        self.write(puts.collect()).await
    }

    async fn recede(&self) -> Outcome {
        let key = |row: &Value| json!({ "pk": row["pk"], "sk": row["sk"] });
        let deletes = self.rows.iter();
        let deletes = deletes.map(|row| json!({ "DeleteRequest": { "Key": key(row) } }));
        self.write(deletes.collect()).await
    }

    async fn write(&self, writes: Vec<Value>) -> Outcome {
        let batches = writes.chunks(BATCH).map(|batch| {
            let asked = json!({ "RequestItems": { &self.stack.parts.ledger_table: batch } });
            self.stack
                .aws
                .call(Service::DynamoDb, "BatchWriteItem", asked)
        });
        let batches: Vec<_> = batches.collect();
        let written = stream::iter(batches).buffer_unordered(4);
        written
            .try_for_each(async |answer| {
                let left = answer["UnprocessedItems"].as_object();
                ensure!(left.is_none_or(serde_json::Map::is_empty), "unwritten rows");
                Ok(())
            })
            .await
    }

    /// Rows that no sweep has dealt with.
    async fn untouched(&self) -> Outcome<usize> {
        let scan = json!({
            "TableName": self.stack.parts.ledger_table, "FilterExpression": "due_at = :due_at",
            "ExpressionAttributeValues": { ":due_at": { "N": self.due_at } }, "Select": "COUNT",
        });
        let mut count = 0;
        let cursor = ("LastEvaluatedKey", "ExclusiveStartKey");
        let read = |page: &Value, _: &[u8]| count += page["Count"].as_u64().unwrap_or_default();
        let aws = &self.stack.aws;
        aws.pages(Service::DynamoDb, "Scan", scan, cursor, read)
            .await?;
        Ok(usize::try_from(count)?)
    }
}

/// The row of a run.
async fn stored(stack: &Stack, project: &Project, run: &str) -> Outcome<Value> {
    let key = key_of_run(&project.id, run)?;
    let asked = json!({
        "TableName": stack.parts.ledger_table, "Key": key, "ConsistentRead": true,
    });
    let found = stack.aws.call(Service::DynamoDb, "GetItem", asked).await?;
    Ok(found["Item"].clone())
}

/// Several workers claim all steps of one run at the same moment, and then start and end them while
/// others still do: nobody is refused.
pub async fn steps_of_one_run_never_refuse_one_another(stack: &Stack) -> Outcome {
    let project = stack.project("parallel").await?;
    for count in [25, limits::STEPS] {
        at_once(&project, count).await?;
    }
    Ok(())
}

/// How many workers share the steps of a run.
const WORKERS: usize = 5;
/// Requests at once. Each is a process of its own here, so that more are too many for a small
/// machine; the tests of `crates/ledger` have all of them at once.
const AT_ONCE: usize = 25;

async fn at_once(project: &Project, count: usize) -> Outcome {
    let slots = json!({ "pool": PLAYED, "max_concurrent": count / WORKERS });
    let workers = try_join_all((0..WORKERS).map(|_| project.worker(&slots))).await?;
    let steps: Vec<String> = (0..count).map(|number| format!("s{number:03}")).collect();
    let bodies = steps.iter();
    let bodies = bodies.map(|id| step(id, &json!({ "pool": PLAYED, "mode": "sandboxed" })));
    let run = project
        .enqueue(&run_of(&bodies.collect::<Vec<_>>()))
        .await?;

    let claims = steps.iter().zip(workers.iter().cycle());
    let claims = claims.map(async |(step, worker)| (worker, worker.try_claim(&run, step).await));
    let claims: Vec<_> = claims.collect();
    let claims: Vec<_> = stream::iter(claims).buffered(AT_ONCE).collect().await;
    let (mut held, mut refused): (Vec<(&Worker, Claimed)>, _) = (Vec::new(), Vec::new());
    for ((worker, answer), step) in claims.into_iter().zip(&steps) {
        let answer = answer?;
        if answer.status == 200 {
            let fence = answer.body["fence"].as_u64().unwrap_or_default();
            let (run, step) = (run.clone(), step.clone());
            held.push((worker, Claimed { run, step, fence }));
        } else {
            refused.push(answer.body);
        }
    }
    ensure!(
        refused.is_empty(),
        "{} of {count} claims: {refused:?}",
        refused.len()
    );

    let ends = held.iter().map(async |(worker, claimed)| {
        let started = worker.try_start(claimed).await?;
        ensure_eq!(started.status, 200, "a start: {}", started.body);
        let ended = worker.try_succeed(claimed).await?;
        ensure_eq!(ended.status, 200, "a report: {}", ended.body);
        Ok(())
    });
    let ends: Vec<_> = ends.collect();
    let ends: Vec<Outcome> = stream::iter(ends).buffered(AT_ONCE).collect().await;
    let ends: Vec<Failure> = ends.into_iter().filter_map(Result::err).collect();
    let first = ends.first().map(ToString::to_string);
    ensure!(
        ends.is_empty(),
        "{} of {count} starts or ends: {first:?}",
        ends.len()
    );
    ensure_eq!(
        project.run(&run).await?.state,
        RunState::Succeeded,
        "the run"
    );
    told_once(project, &run, &steps).await
}

/// Each step has each of its events once, and the run its own, wherever the trail is read.
async fn told_once(project: &Project, run: &str, steps: &[String]) -> Outcome {
    let of_run = project.audit(run).await?;
    let trail = project.trail().await?;
    let in_trail = trail.iter().filter(|entry| entry["run_id"] == run);
    let in_trail: Vec<Value> = in_trail.cloned().collect();
    ensure_eq!(
        of_run,
        in_trail,
        "entries of the run, and those of the trail"
    );
    for name in [
        "step.leased",
        "step.running",
        "step.succeeded",
        "pool.sandbox.reset",
    ] {
        let told = named(&of_run, name);
        let mut told: Vec<&str> = told
            .iter()
            .filter_map(|event| event["step_id"].as_str())
            .collect();
        told.sort_unstable();
        ensure_eq!(told, steps, "steps with `{name}`");
    }
    for name in ["run.enqueued", "run.finished"] {
        ensure_eq!(named(&of_run, name).len(), 1, "audited `{name}`");
    }
    Ok(())
}

/// A run of as many steps and secrets as there may be. Every secret is bound to another version
/// before each claim, so each claim drifts in all of them.
pub async fn the_largest_run_is_driven_to_its_end_whatever_drifts(stack: &Stack) -> Outcome {
    let project = stack.project("largest").await?;
    let names: Vec<String> = (0..limits::SECRETS)
        .map(|at| format!("SECRET_{at:02}_{:X<40}", ""))
        .collect();
    let rotated = || {
        let addresses: Vec<String> = names
            .iter()
            .map(|name| nowhere(&name.to_lowercase().replace('_', "-")))
            .collect();
        let pairs = names
            .iter()
            .map(String::as_str)
            .zip(addresses.iter().map(String::as_str));
        secrets(&pairs.collect::<Vec<_>>())
    };
    project.admin.create_profile("large", &rotated()).await?;
    let steps: Vec<String> = (0..limits::STEPS)
        .map(|number| format!("s{number:03}"))
        .collect();
    let bodies: Vec<Value> = steps.iter().map(|id| played(id, &json!({}))).collect();
    let run = project.enqueue(&with_profile("large", &bodies)).await?;
    let worker = player(&project, 1).await?;
    for step in &steps {
        project.admin.save_profile("large", &rotated()).await?;
        let held = worker.claim(&run, step).await?;
        worker.start(&held).await?;
        worker.succeed(&held).await?;
    }

    let token = stack.scratch.join("largest.token");
    private_file(&token, project.viewer.credential())?;
    let token = token.to_string_lossy();
    let show = [
        "--token-file",
        &token,
        "--output",
        "json",
        "run",
        "show",
        &run,
    ];
    let shown: Value = serde_json::from_str(&stack.cli(&show).await?)?;
    ensure_eq!(shown["state"], "succeeded", "the run");
    ensure_eq!(
        shown["steps"].as_array().map(Vec::len),
        Some(limits::STEPS),
        "its steps"
    );
    ensure_eq!(
        shown["secrets"].as_array().map(Vec::len),
        Some(limits::SECRETS),
        "its secrets"
    );
    told_once(&project, &run, &steps).await?;
    let of_run = project.audit(&run).await?;
    let drifts = named(&of_run, "profile.drift_at_injection");
    ensure_eq!(drifts.len(), limits::STEPS, "audited drifts");
    for told in &drifts {
        let rotated = told["rotated"].as_array().map(Vec::len);
        ensure_eq!(rotated, Some(limits::SECRETS), "rotated secrets of a drift");
    }
    let released = named(&of_run, "secret.released");
    let all = |told: &Value| told["secrets"].as_array().map(Vec::len) == Some(limits::SECRETS);
    ensure!(
        released.iter().all(all),
        "a release that does not name all secrets"
    );
    let versions = released
        .iter()
        .map(|told| told["secrets"][0]["version"].to_string());
    let versions: BTreeSet<String> = versions.collect();
    ensure_eq!(
        versions.len(),
        limits::STEPS,
        "released versions of one secret"
    );
    Ok(())
}

const STARTED: [&str; 3] = ["leased", "running", "succeeded"];

/// 68. A labelled step starts within 3 s on an idle worker that has the label, whatever others of
///     the pool do; nothing of it in the dead-letter queue.
pub async fn s68_a_labelled_step_finds_its_worker(stack: &Stack) -> Outcome {
    let project = stack.project("labels").await?;
    let store = project.builtin_store(stack).await?;
    let mut unable = Vec::new();
    for _ in 0..3 {
        unable.push(WorkerProcess::start(stack, &project, &store, &[], 10).await?);
    }
    let able = WorkerProcess::start(stack, &project, &store, &[("region", "eu")], 10).await?;
    let labelled = |command: &[&str]| json!({ "requires": { "region": "eu" }, "mode": "sandboxed", "command": command });
    // The first one waits for all of them to come up.
    let first = project.enqueue_step(&labelled(&["true"])).await?;
    project.finished(&first, SOON * 3).await?;
    let mut late = Vec::new();
    for _ in 0..5 {
        let run = project.enqueue_step(&labelled(&["true"])).await?;
        let asked = Instant::now();
        let started = project.until(&run, "only", &STARTED, Duration::from_secs(20));
        started.await.map_err(|failure| {
            let logs = unable.iter().chain([&able]).map(WorkerProcess::log);
            Failure::new(format!(
                "{failure}; {}",
                logs.collect::<Vec<_>>().join("\n\n")
            ))
        })?;
        late.extend(Some(asked.elapsed()).filter(|took| *took > Duration::from_secs(3)));
    }
    // A machine with much else to do may be late once.
    ensure!(
        late.len() < 2,
        "beside an idle worker, steps waited for {late:?}"
    );
    // All of its slots are taken, and another step waits.
    let mut long = Vec::new();
    for _ in 0..8 {
        long.push(project.enqueue_step(&labelled(&["sleep", "10"])).await?);
    }
    for run in &long {
        project.until(run, "only", &["running"], SOON).await?;
    }
    let waits = project.enqueue_step(&labelled(&["true"])).await?;
    let ends = long.iter().map(|run| Box::pin(project.finished(run, SOON)));
    select_all(ends).await.0?;
    let free_at = Instant::now();
    let started = project.until(&waits, "only", &STARTED, SOON * 3);
    started.await?;
    let late = free_at.elapsed();
    ensure!(
        late < Duration::from_secs(3),
        "it waited for {late:?} beside a free slot: {}",
        able.log()
    );
    let url = format!("{}--dlq", able.played.queue_keys().await?.url);
    let names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
    ];
    let asked = json!({ "QueueUrl": url, "AttributeNames": names });
    let answer = stack
        .aws
        .call(Service::Sqs, "GetQueueAttributes", asked)
        .await?;
    for name in names {
        ensure_eq!(text(&answer["Attributes"], name)?, "0", "dead letters");
    }
    drop(unable);
    Ok(())
}
