//! SIGKILL at any moment: every step reaches one terminal state, once. These run alone: they end
//! processes that others use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use sealfleet_client::RevocationState;
use sealfleet_client::types::FanOutView;
use sealfleet_domain::run::RunState;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, named, run_of, step};
use sealfleet_test_stack::worker::BuiltinStore;
use sealfleet_test_stack::{
    Caller, Claimed, Failure, Outcome, Project, Reply, Stack, Worker, WorkerProcess, ensure,
    ensure_eq, eventually, processes, unique,
};
use serde_json::{Value, json};

use crate::audit::key_of_run;
use crate::revocation::counts;
use crate::seen;
use crate::seen::{nowhere, player, sleeping, while_alive, with_profile};

const LONG: Duration = Duration::from_secs(120);

/// Functions are killed while runs are enqueued, claimed, reported and dispatched: callers ask
/// again, and nothing is lost or done twice.
pub async fn a_killed_function_loses_nothing(stack: &Stack) -> Outcome {
    let project = stack.project("killed").await?;
    let done = AtomicBool::new(false);
    let killer = async {
        let mut killed = 0_usize;
        while !done.load(Ordering::Relaxed) {
            let names = ["enqueue", "claim", "report", "dispatch", "observe"];
            let name = names.get(killed % names.len()).copied().unwrap_or_default();
            for pid in stack.environments_of(&format!("sealfleet-{name}")) {
                processes::kill(pid);
                killed += 1;
            }
            killed += 1;
            // Less and less often: on a slow machine a function would never live long enough to
            // answer.
            let pause = u64::try_from(40 + killed)?;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok::<(), Failure>(())
    };
    let work = async {
        let outcome = join_all((0..12).map(|number| one_run(&project, number)))
            .await
            .into_iter()
            .collect::<Outcome<Vec<_>>>();
        done.store(true, Ordering::Relaxed);
        outcome
    };
    let (runs, killer) = join(work, killer).await;
    killer?;
    for run in runs? {
        swept_to_the_end(stack, &project, &run).await?;
        ended_once(&project, &run, "succeeded").await?;
    }
    ensure_eq!(
        project.runs().await?.len(),
        12,
        "runs of 12 idempotency keys"
    );
    Ok(())
}

/// Enqueues one run of a Fargate step, or of a pull step which it then claims and reports, and asks
/// again when it gets no answer.
async fn one_run(project: &Project, number: usize) -> Outcome<String> {
    let key = format!("killed-{number}-{}", unique());
    let steps = if number.is_multiple_of(3) {
        [step(
            "only",
            &json!({ "pool": FARGATE, "mode": "sandboxed" }),
        )]
    } else {
        [step("only", &json!({}))]
    };
    let enqueue = async || {
        project
            .member
            .post_once("/v1/runs", &key, &run_of(&steps))
            .await
    };
    let run = text(&answered(enqueue).await?.accepted()?, "run_id")?;
    if !number.is_multiple_of(3) {
        let worker = project.worker(&json!({})).await?;
        played(&worker, &run).await?;
    }
    Ok(run)
}

/// Plays a worker that asks again until it is told that its step has succeeded.
async fn played(worker: &Worker, run: &str) -> Outcome {
    eventually("a report that is accepted", LONG, async || {
        let claim = answered(async || worker.try_claim(run, "only").await).await?;
        // A claim that was killed before its hold leaves its lease: the slot is taken over when the
        // lease has run out.
        if claim.body["code"] == "at_capacity" {
            return Ok(None);
        }
        if claim.status != 200 {
            // A lost answer to a claim leaves it leased; the same worker may claim it again. A lost
            // report leaves it ended.
            ensure_eq!(
                claim.body["code"],
                "not_queued",
                "a claim while functions are killed: {}",
                claim.body
            );
            return Ok(claim.body["detail"]
                .as_str()
                .unwrap_or_default()
                .contains("succeeded")
                .then_some(()));
        }
        let fence = claim.body["fence"].as_u64().unwrap_or_default();
        let claimed = sealfleet_test_stack::Claimed {
            run: run.to_owned(),
            step: "only".to_owned(),
            fence,
        };
        let report = answered(async || worker.try_succeed(&claimed).await).await?;
        Ok((report.status == 200).then_some(()))
    })
    .await
}

/// Asks until there is an answer that is not the death of a function.
async fn answered(ask: impl AsyncFn() -> Outcome<Reply>) -> Outcome<Reply> {
    eventually("an answer", LONG, async || {
        let reply = ask().await?;
        Ok((reply.status < 500).then_some(reply))
    })
    .await
}

/// The worker is killed while it runs steps: their sandboxes go with it, and another worker runs
/// them again.
pub async fn a_killed_worker_loses_nothing(stack: &Stack) -> Outcome {
    let project = stack.project("killed-worker").await?;
    let store = BuiltinStore::create(stack, &project).await?;
    let mut first = WorkerProcess::start(stack, &project, &store, &[], 2).await?;
    let marker = processes::marker();
    // Waits as long as the mark is there, so that the first try hangs and the second one ends.
    let mark = stack.scratch.join(format!("hang-{marker}"));
    std::fs::write(&mark, "")?;
    let bare = format!("test ! -e {} || sleep {marker}", mark.display());
    let mut runs = Vec::new();
    for _ in 0..2 {
        runs.push(
            project
                .enqueue_step(&json!({ "command": ["sh", "-c", bare] }))
                .await?,
        );
    }
    let sandboxed = project
        .enqueue_step(
            &json!({ "mode": "sandboxed", "command": ["sleep", marker], "max_attempts": 1 }),
        )
        .await?;
    let sleeping = || {
        processes::with_argument(&marker)
            .into_iter()
            .filter(|process| process.name == "sleep")
            .count()
    };
    let all = eventually("all steps to run", LONG, async || {
        Ok((sleeping() == 3).then_some(()))
    })
    .await;
    ensure!(
        all.is_ok(),
        "{} of 3 steps run; the worker says\n{}",
        sleeping(),
        first.log()
    );

    first.kill().await?;
    eventually("the sandboxes to go with their worker", LONG, async || {
        Ok((sleeping() == 0).then_some(()))
    })
    .await?;
    std::fs::remove_file(&mark)?;
    let second = WorkerProcess::start(stack, &project, &store, &[], 2).await?;
    for run in &runs {
        swept_to_the_end(stack, &project, run)
            .await
            .map_err(|failure| {
                sealfleet_test_stack::Failure::new(format!("{failure}\n{}", second.log()))
            })?;
        ended_once(&project, run, "succeeded").await?;
        ensure_eq!(
            project.step(run, "only").await?.attempt,
            2,
            "the attempt that succeeded"
        );
    }
    swept_to_the_end(stack, &project, &sandboxed).await?;
    ended_once(&project, &sandboxed, "dead").await
}

/// The stand-in of ECS is killed while it runs tasks: their sandboxes go with it, and the steps end
/// once.
pub async fn a_killed_ecs_agent_loses_nothing(stack: &Stack) -> Outcome {
    let project = stack.project("killed-agent").await?;
    let marker = processes::marker();
    let mut runs = Vec::new();
    for _ in 0..3 {
        let hangs = json!({ "pool": FARGATE, "mode": "sandboxed", "command": ["sleep", marker], "max_attempts": 2 });
        runs.push(project.enqueue_step(&hangs).await?);
    }
    let sleeping = || {
        processes::with_argument(&marker)
            .into_iter()
            .filter(|process| process.name == "sleep")
            .count()
    };
    eventually("all tasks to run", LONG, async || {
        Ok((sleeping() == 3).then_some(()))
    })
    .await?;
    for run in &runs {
        project.until(run, "only", &["running"], LONG).await?;
    }
    // And one whose launch is under way.
    let short = project
        .enqueue_step(&json!({ "pool": FARGATE, "mode": "sandboxed" }))
        .await?;

    let agent = Restart::of(stack, "local-ecs")?;
    agent.kill().await?;
    eventually("the sandboxes to go with the agent", LONG, async || {
        Ok((sleeping() == 0).then_some(()))
    })
    .await?;
    agent.start(stack)?;

    swept_to_the_end(stack, &project, &short).await?;
    ended_once(&project, &short, "succeeded").await?;
    // Each is tried again, and lost no more.
    eventually("all tasks to run again", LONG, async || {
        stack.sweep().await?;
        Ok((sleeping() == 3).then_some(()))
    })
    .await?;
    for run in &runs {
        let shown = project.until(run, "only", &["running"], LONG).await?;
        ensure_eq!(shown.attempt, 2, "the attempt after the loss");
        project.cancel(run).await?;
        ended_once(&project, run, "aborted").await?;
    }
    eventually("the cancelled sandboxes to go", LONG, async || {
        stack.sweep().await?;
        Ok((sleeping() == 0).then_some(()))
    })
    .await
}

/// 44. Revocation fan-out killed half-way -> finishes by itself.
pub async fn s44_a_killed_fan_out_finishes_by_itself(stack: &Stack) -> Outcome {
    let project = stack.project("killed-fan-out").await?;
    let secret = project
        .aws_secret(stack, "cloud", "the cloud value")
        .await?;
    project
        .admin
        .create_profile("cloud", &secrets(&[("API_KEY", &secret.uri)]))
        .await?;
    project
        .admin
        .create_profile("beside", &secrets(&[("API_KEY", &nowhere("beside"))]))
        .await?;
    project
        .admin
        .create_profile("spared", &secrets(&[("API_KEY", &nowhere("spared"))]))
        .await?;

    let sleeper = Sleeper::new();
    let step = sleeping("only", FARGATE, &sleeper, &json!({}));
    let mut runs = Vec::new();
    for _ in 0..ON_FARGATE {
        runs.push(
            project
                .enqueue(&with_profile("cloud", std::slice::from_ref(&step)))
                .await?,
        );
    }
    sleeper.until(ON_FARGATE, LONG).await?;
    for run in &runs {
        project.until(run, "only", &["running"], LONG).await?;
    }
    // Workers on several partitions of the ledger.
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        // With more slots than it claims at once, so that its claims do not fight over the last
        // ones.
        workers.push(player(&project, EACH * 10).await?);
    }
    let spared = project
        .enqueue(&with_profile("spared", &[seen::played("only", &json!({}))]))
        .await?;
    let bystander = player(&project, 1).await?;
    let spared = bystander.claim(&spared, "only").await?;
    let body = with_profile("beside", &[seen::played("only", &json!({}))]);
    let mut claims: Vec<(&Worker, Vec<Claimed>)> = vec![(&bystander, vec![spared.clone()])];
    for worker in &workers {
        let claiming = async {
            let enqueued = join_all((0..EACH).map(|_| project.enqueue(&body)))
                .await
                .into_iter()
                .collect::<Outcome<Vec<_>>>()?;
            let claimed = join_all(enqueued.iter().map(|run| worker.claim(run, "only"))).await;
            Ok((enqueued, claimed.into_iter().collect::<Outcome<_>>()?))
        };
        // Those of before must not run out meanwhile.
        let (enqueued, claimed) = while_alive(&claims, claiming).await?;
        claims.push((worker, claimed));
        runs.extend(enqueued);
    }

    // Heartbeats come until the fan-out is finished, so that no run gets away because its lease has
    // run out; those of the run that is spared come until all is counted.
    let ecs = Caller::anonymous(&reqwest::Client::new(), &stack.parts.ecs_endpoint)?;
    let throttled = async |next: u32| {
        ecs.post("/_local/throttles", &json!({ "next": next }))
            .await?
            .accepted()
    };
    let killed = killed_half_way(stack, &project, &body, &runs, &throttled);
    let finished = while_alive(&claims, killed).await;
    throttled(0).await?;
    let finished = finished?;

    let counting = async {
        let pulled = WORKERS * EACH as usize;
        let expected = json!({ "runs": ON_FARGATE + pulled, "stopped": ON_FARGATE, "unstopped": 0, "workers": pulled });
        ensure_eq!(counts(&finished), expected, "{finished:?}");
        sleeper.until(0, LONG).await?;
        let told = project.admin.events("revocation.fan_out_finished").await?;
        ensure_eq!(told.len(), 1, "audited ends of the fan-out: {told:?}");
        ensure_eq!(
            told.first().map(counts),
            Some(expected),
            "the audited counts"
        );
        let trail = project.trail().await?;
        for run in &runs {
            let of_run: Vec<Value> = trail
                .iter()
                .filter(|entry| entry["run_id"] == run.as_str())
                .cloned()
                .collect();
            for name in ["run.aborted_by_revocation", "step.aborted", "run.finished"] {
                ensure_eq!(named(&of_run, name).len(), 1, "audited `{name}` of {run}");
            }
        }
        ensure_eq!(aborted(&project).await?, runs.len(), "aborted runs");
        for (worker, claims) in &claims {
            for claimed in claims {
                ensure_eq!(
                    worker.holds(claimed).await?,
                    *claimed == spared,
                    "whether {claimed:?} is held"
                );
            }
        }
        Ok(())
    };
    bystander.while_held(&spared, counting).await?;
    bystander.succeed(&spared).await?;
    what_cannot_be_stopped_is_told(stack, &project, &throttled).await
}

/// Revokes both keys while no task can be stopped, and kills whoever works on the fan-out when it
/// has begun: the one that was asked, and, if it is not finished too soon, one that goes on. The
/// fan-out, finished.
async fn killed_half_way(
    stack: &Stack,
    project: &Project,
    body: &Value,
    runs: &[String],
    throttled: &impl AsyncFn(u32) -> Outcome<Value>,
) -> Outcome<FanOutView> {
    throttled(u32::MAX).await?;
    let killer = async {
        one_has_ended(stack, project, runs).await?;
        let killed = stack.environments_of("sealfleet-revoke");
        killed.iter().copied().for_each(processes::kill);
        Ok::<usize, Failure>(killed.len())
    };
    let keys = [("cloud", "API_KEY"), ("beside", "API_KEY")];
    let (answer, killed) = join(project.admin.try_revoke(&keys, true), killer).await;
    ensure!(killed? > 0, "there was nothing to kill");
    let answer = answer?;
    ensure!(
        answer.status >= 500,
        "the request was answered: the function was killed too late: {}",
        answer.body
    );
    let active = project.admin.revocations(RevocationState::Active).await?;
    ensure_eq!(
        active.len(),
        2,
        "revocations after the kill: all, whatever became of the fan-out"
    );
    let fan_out = active.first().and_then(|revocation| revocation.fan_out_id);
    let fan_out = fan_out
        .ok_or_else(|| Failure::new(format!("no fan-out: {active:?}")))?
        .to_string();
    let half_way = project.admin.fan_out(&fan_out).await?;
    ensure_eq!(
        half_way.finished_at,
        None,
        "the fan-out was killed too late: {half_way:?}"
    );
    let so_far = aborted(project).await?;
    ensure!(
        so_far > 0 && so_far < ON_FARGATE + WORKERS * EACH as usize,
        "it was not killed half-way: {so_far} runs are aborted, {half_way:?}"
    );
    // Nothing starts meanwhile.
    project
        .member
        .post("/v1/runs", body)
        .await?
        .refused(403, "secret_revoked")?;

    // Those that go on, once it is due again. ECS takes calls by now: whoever finishes it stops
    // what was left running.
    throttled(0).await?;
    let killer = async {
        eventually("another aborted run", LONG, async || {
            Ok((aborted(project).await? > so_far).then_some(()))
        })
        .await?;
        stack
            .environments_of("sealfleet-sweep")
            .into_iter()
            .for_each(processes::kill);
        Ok::<(), Failure>(())
    };
    let sweeping = async {
        loop {
            // The kill is on purpose.
            let _ = stack.sweep().await;
        }
    };
    tokio::select! {
        killed = killer => killed?,
        never = sweeping => never,
    }
    project.admin.fanned_out(stack, &fan_out, LONG).await
}

/// Waits until one of these runs has ended. It reads their rows, because the fan-out is faster than
/// a list of runs by the API.
async fn one_has_ended(stack: &Stack, project: &Project, runs: &[String]) -> Outcome {
    let keys = runs.iter().map(|run| key_of_run(&project.id, run));
    let keys: Vec<Value> = keys.collect::<Outcome<_>>()?;
    let table = &stack.parts.ledger_table;
    let rows = json!({
        "Keys": keys, "ConsistentRead": true,
        "ProjectionExpression": "#left", "ExpressionAttributeNames": { "#left": "left" },
    });
    let asked = json!({ "RequestItems": { table: rows } });
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        let aws = &stack.aws;
        let answer = aws.call(Service::DynamoDb, "BatchGetItem", asked.clone());
        let answer = answer.await?;
        let rows = answer["Responses"][table].as_array();
        if rows.is_some_and(|rows| rows.iter().any(|row| row["left"]["N"] == "0")) {
            return Ok(());
        }
    }
    Err(Failure::new("no run was aborted"))
}

async fn aborted(project: &Project) -> Outcome<usize> {
    Ok(project
        .runs()
        .await?
        .iter()
        .filter(|run| run.state == RunState::Aborted)
        .count())
}

/// Fargate runs of the fan-out that is killed.
const ON_FARGATE: usize = 3;
const WORKERS: usize = 4;
/// Runs of each of them.
const EACH: u32 = 15;

/// A fan-out ends although ECS refuses to stop a task, names the run, and the task is stopped as
/// soon as that is possible.
async fn what_cannot_be_stopped_is_told(
    stack: &Stack,
    project: &Project,
    throttled: &impl AsyncFn(u32) -> Outcome<Value>,
) -> Outcome {
    let secret = project.aws_secret(stack, "stubborn", "stubborn").await?;
    project
        .admin
        .create_profile("stubborn", &secrets(&[("API_KEY", &secret.uri)]))
        .await?;
    let sleeper = Sleeper::new();
    let step = sleeping("only", FARGATE, &sleeper, &json!({}));
    let run = project.enqueue(&with_profile("stubborn", &[step])).await?;
    sleeper.until(1, LONG).await?;
    project.until(&run, "only", &["running"], LONG).await?;
    throttled(u32::MAX).await?;
    let refused = async {
        let keys = [("stubborn", "API_KEY")];
        let revoked = project.admin.revoke(&keys, true).await?;
        let fan_out = revoked.fan_out.unwrap_or_default();
        Ok::<_, Failure>((
            project.admin.fan_out(&fan_out).await?,
            sleeper.asleep().len(),
        ))
    };
    let refused = refused.await;
    throttled(0).await?;
    let (finished, asleep) = refused?;
    let stubborn = json!({ "runs": 1, "stopped": 0, "unstopped": 1, "workers": 0 });
    ensure_eq!(
        (counts(&finished), json!(finished.unstopped)),
        (stubborn, json!([run])),
        "what could not be stopped"
    );
    ensure!(
        finished.finished_at.is_some(),
        "it waits for ECS: {finished:?}"
    );
    ensure_eq!(asleep, 1, "the sandbox that could not be stopped");
    eventually("the task to be stopped", LONG, async || {
        stack.sweep().await?;
        Ok(sleeper.asleep().is_empty().then_some(()))
    })
    .await?;
    ended_once(project, &run, "aborted").await
}

async fn swept_to_the_end(stack: &Stack, project: &Project, run: &str) -> Outcome {
    let mut last = None;
    let ended = eventually("the end of a run", LONG, async || {
        stack.sweep().await?;
        let shown = last.insert(project.run(run).await?);
        Ok(shown.state.is_terminal().then_some(()))
    })
    .await;
    ended.map_err(|failure| Failure::new(format!("{failure}: {last:?}")))
}

/// Whether the run's one step ended in `state`, and the trail says so exactly once.
async fn ended_once(project: &Project, run: &str, state: &str) -> Outcome {
    let shown = project.step(run, "only").await?;
    ensure_eq!(shown.state, state, "the step: {shown:?}");
    let mut ends = Vec::new();
    for name in ["step.succeeded", "step.failed", "step.aborted", "step.dead"] {
        ends.extend(project.events(run, name).await?);
    }
    ensure_eq!(
        ends.len(),
        1,
        "audited ends of a step of `{}`: {ends:?}",
        project.id
    );
    ensure_eq!(
        project.events(run, "run.finished").await?.len(),
        1,
        "audited ends of the run"
    );
    Ok(())
}

/// A server of the stack, as it was started.
struct Restart {
    pid: u32,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: std::path::PathBuf,
}

impl Restart {
    fn of(stack: &Stack, name: &str) -> Outcome<Self> {
        let pid = stack
            .parts
            .pids
            .get(name)
            .map(|server| server.pid)
            .unwrap_or_default();
        let read = |file: &str| -> Outcome<Vec<String>> {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}"))?;
            let parts = bytes
                .split(|byte| *byte == 0)
                .filter(|part| !part.is_empty());
            Ok(parts
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect())
        };
        let environment = read("environ")?;
        let pairs = environment
            .iter()
            .filter_map(|variable| variable.split_once('='));
        Ok(Self {
            pid,
            arguments: read("cmdline")?,
            environment: pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            directory: std::fs::read_link(format!("/proc/{pid}/cwd"))?,
        })
    }

    async fn kill(&self) -> Outcome {
        processes::kill(self.pid);
        eventually("the server to be gone", LONG, async || {
            Ok(processes::all()
                .iter()
                .all(|process| process.pid != self.pid)
                .then_some(()))
        })
        .await
    }

    /// Starts it again. It carries the stack's mark in its environment, by which `sealfleet-local
    /// down` finds it.
    fn start(&self, stack: &Stack) -> Outcome {
        let Some((program, arguments)) = self.arguments.split_first() else {
            return Err(sealfleet_test_stack::Failure::new(
                "the server has no command line",
            ));
        };
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(stack.parts.directory.join("logs/local-ecs.log"))?;
        let mut command = std::process::Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(&self.directory);
        command
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command.spawn()?;
        Ok(())
    }
}
