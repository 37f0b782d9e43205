//! SIGKILL at any moment: every step reaches one terminal state, once. These run alone: they end processes that others use.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all};
use sealfleet_tests::api::text;
use sealfleet_tests::project::{FARGATE, run_of, step};
use sealfleet_tests::worker::BuiltinStore;
use sealfleet_tests::{
    Outcome, Project, Reply, Stack, Worker, WorkerProcess, ensure, ensure_eq, eventually, processes, unique,
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(120);

/// Functions are killed while runs are enqueued, claimed, reported and dispatched: callers ask again, and nothing is lost
/// or done twice.
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
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let work = async {
        let outcome =
            join_all((0..12).map(|number| one_run(&project, number))).await.into_iter().collect::<Outcome<Vec<_>>>();
        done.store(true, Ordering::Relaxed);
        outcome
    };
    let (runs, ()) = join(work, killer).await;
    for run in runs? {
        swept_to_the_end(stack, &project, &run).await?;
        ended_once(&project, &run, "succeeded").await?;
    }
    ensure_eq!(project.viewer.list("/v1/runs").await?.len(), 12, "runs of 12 idempotency keys");
    Ok(())
}

/// Enqueues one run of a Fargate step, or of a pull step which it then claims and reports, and asks again when it gets no answer.
async fn one_run(project: &Project, number: usize) -> Outcome<String> {
    let key = format!("killed-{number}-{}", unique());
    let steps = if number.is_multiple_of(3) {
        [step("only", &json!({ "pool": FARGATE, "mode": "sandboxed" }))]
    } else {
        [step("only", &json!({}))]
    };
    let enqueue = async || project.member.post_once("/v1/runs", &key, &run_of(&steps)).await;
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
        if claim.status != 200 {
            // A lost answer to a claim leaves it leased; the same worker may claim it again. A lost report leaves it ended.
            ensure_eq!(claim.body["code"], "not_queued", "a claim while functions are killed: {}", claim.body);
            return Ok(claim.body["detail"].as_str().unwrap_or_default().contains("succeeded").then_some(()));
        }
        let fence = claim.body["fence"].as_u64().unwrap_or_default();
        let claimed = sealfleet_tests::Claimed { run: run.to_owned(), step: "only".to_owned(), fence };
        let report = answered(async || worker.succeed(&claimed).await).await?;
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

/// The worker is killed while it runs steps: their sandboxes go with it, and another worker runs them again.
pub async fn a_killed_worker_loses_nothing(stack: &Stack) -> Outcome {
    let project = stack.project("killed-worker").await?;
    let store = BuiltinStore::create(stack, &project).await?;
    let mut first = WorkerProcess::start(stack, &project, &store).await?;
    let marker = format!("86400.{}", uuid::Uuid::new_v4().as_fields().0);
    // Waits as long as the mark is there, so that the first try hangs and the second one ends.
    let mark = stack.scratch.join(format!("hang-{marker}"));
    std::fs::write(&mark, "")?;
    let bare = format!("test ! -e {} || sleep {marker}", mark.display());
    let mut runs = Vec::new();
    for _ in 0..2 {
        runs.push(project.enqueue_step(&json!({ "command": ["sh", "-c", bare] })).await?);
    }
    let sandboxed =
        project.enqueue_step(&json!({ "mode": "sandboxed", "command": ["sleep", marker], "max_attempts": 1 })).await?;
    let sleeping = || processes::with_argument(&marker).into_iter().filter(|process| process.name == "sleep").count();
    let all = eventually("all steps to run", LONG, async || Ok((sleeping() == 3).then_some(()))).await;
    ensure!(all.is_ok(), "{} of 3 steps run; the worker says\n{}", sleeping(), first.log());

    first.kill().await?;
    eventually("the sandboxes to go with their worker", LONG, async || Ok((sleeping() == 0).then_some(()))).await?;
    std::fs::remove_file(&mark)?;
    let second = WorkerProcess::start(stack, &project, &store).await?;
    for run in &runs {
        swept_to_the_end(stack, &project, run)
            .await
            .map_err(|failure| sealfleet_tests::Failure::new(format!("{failure}\n{}", second.log())))?;
        ended_once(&project, run, "succeeded").await?;
        ensure_eq!(project.step(run, "only").await?["attempt"], 2, "the attempt that succeeded");
    }
    swept_to_the_end(stack, &project, &sandboxed).await?;
    ended_once(&project, &sandboxed, "dead").await
}

/// The stand-in of ECS is killed while it runs tasks: their sandboxes go with it, and the steps end once.
pub async fn a_killed_ecs_agent_loses_nothing(stack: &Stack) -> Outcome {
    let project = stack.project("killed-agent").await?;
    let marker = format!("86400.{}", uuid::Uuid::new_v4().as_fields().0);
    let mut runs = Vec::new();
    for _ in 0..3 {
        let hangs = json!({ "pool": FARGATE, "mode": "sandboxed", "command": ["sleep", marker], "max_attempts": 2 });
        runs.push(project.enqueue_step(&hangs).await?);
    }
    let sleeping = || processes::with_argument(&marker).into_iter().filter(|process| process.name == "sleep").count();
    eventually("all tasks to run", LONG, async || Ok((sleeping() == 3).then_some(()))).await?;
    for run in &runs {
        project.until(run, "only", &["running"], LONG).await?;
    }
    // And one whose launch is under way.
    let short = project.enqueue_step(&json!({ "pool": FARGATE, "mode": "sandboxed" })).await?;

    let agent = Restart::of(stack, "fargate-local")?;
    agent.kill().await?;
    eventually("the sandboxes to go with the agent", LONG, async || Ok((sleeping() == 0).then_some(()))).await?;
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
        ensure_eq!(shown["attempt"], 2, "the attempt after the loss");
        project.member.post(&format!("/v1/runs/{run}/cancel"), &json!({})).await?.accepted()?;
        ended_once(&project, run, "aborted").await?;
    }
    eventually("the cancelled sandboxes to go", LONG, async || {
        stack.sweep().await?;
        Ok((sleeping() == 0).then_some(()))
    })
    .await
}

async fn swept_to_the_end(stack: &Stack, project: &Project, run: &str) -> Outcome<Value> {
    let mut last = Value::Null;
    let ended = eventually("the end of a run", LONG, async || {
        stack.sweep().await?;
        last = project.run(run).await?;
        let state = last["state"].as_str().unwrap_or_default();
        Ok((!matches!(state, "queued" | "running")).then(|| last.clone()))
    })
    .await;
    ended.map_err(|failure| sealfleet_tests::Failure::new(format!("{failure}: {last}")))
}

/// Whether the run's one step ended in `state`, and the trail says so exactly once.
async fn ended_once(project: &Project, run: &str, state: &str) -> Outcome {
    let shown = project.step(run, "only").await?;
    ensure_eq!(shown["state"], state, "the step: {shown}");
    let mut ends = Vec::new();
    for name in ["step.succeeded", "step.failed", "step.aborted", "step.dead"] {
        ends.extend(project.events(run, name).await?);
    }
    ensure_eq!(ends.len(), 1, "audited ends of a step of `{}`: {ends:?}", project.id);
    ensure_eq!(project.events(run, "run.finished").await?.len(), 1, "audited ends of the run");
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
        let pid = stack.parts.pids.get(name).map(|server| server.pid).unwrap_or_default();
        let read = |file: &str| -> Outcome<Vec<String>> {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}"))?;
            let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
            Ok(parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect())
        };
        let environment = read("environ")?;
        let pairs = environment.iter().filter_map(|variable| variable.split_once('='));
        Ok(Self {
            pid,
            arguments: read("cmdline")?,
            environment: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            directory: std::fs::read_link(format!("/proc/{pid}/cwd"))?,
        })
    }

    async fn kill(&self) -> Outcome {
        processes::kill(self.pid);
        eventually("the server to be gone", LONG, async || {
            Ok(processes::all().iter().all(|process| process.pid != self.pid).then_some(()))
        })
        .await
    }

    /// Starts it again. It carries the stack's mark in its environment, by which `sealfleet local down` finds it.
    fn start(&self, stack: &Stack) -> Outcome {
        let Some((program, arguments)) = self.arguments.split_first() else {
            return Err(sealfleet_tests::Failure::new("the server has no command line"));
        };
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(stack.parts.directory.join("logs/fargate-local.log"))?;
        let mut command = std::process::Command::new(program);
        command.args(arguments).env_clear().envs(self.environment.iter().cloned()).current_dir(&self.directory);
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn()?;
        Ok(())
    }
}
