//! The end of every play: nothing goes wrong any more, and `sweep` alone must bring everything to
//! its end, each minute all that is due.
//!
//! In half of the worlds queues and workers go on as well, so that runs may still succeed. In the
//! other half every message is lost from here on. Commands whose claim is gone go on until somebody
//! stops them: a task that nobody knows of is found here. What is in the trail must come to the
//! archive.

use aws_lambda_events::http::Method;
use sealfleet_api::Problem;
use sealfleet_api::http::Answer;

use crate::director::Director;
use crate::ecs::{End, Init, Status, Task};
use crate::fargate::{end_task, init_hears, step_request};
use crate::handlers::{Invoke, Outcome, request};
use crate::onboarding::{NOISY, Project};
use crate::pull::hears;
use crate::stage::{Stage, World};
use crate::workers::{self, Ask, Phase};

/// Minutes that all may take: three steps that wait for one another until their time to live is
/// over, and some.
const MINUTES: u32 = 120;
/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;
/// Records of the audit table's stream that come at once.
const BATCH: usize = 100;

impl Director {
    /// Plays to the end, and notes what has not ended by then.
    pub async fn conclude(&mut self, stage: &Stage) {
        self.stop();
        let recovers = self.temper.recovers;
        let mut begins = stage.lock().time;
        for _ in 0..MINUTES {
            {
                let mut world = stage.lock();
                begins = world.time.max(begins + MINUTE);
                world.time = begins;
                if !recovers {
                    world.queues.clear();
                }
            }
            self.sweep(stage).await;
            if recovers {
                for project in self.projects.clone() {
                    self.deliver(stage, &project).await;
                    self.work(stage, &project).await;
                }
            }
            self.tasks_go_on(stage).await;
            self.copy(stage).await;
            let mut world = stage.lock();
            if world.queues.is_empty() && ended(&world) || !world.judge.violations().is_empty() {
                break;
            }
            world.ecs.events.clear();
        }
        if stage.lock().judge.violations().is_empty() {
            self.handlers().invoke(Invoke::Digest).await;
            check(&mut stage.lock());
        }
    }

    /// A sweep deals with all that is due, and sends the messages that are due. In a flood it has
    /// no time for everything, and who floods comes last.
    async fn sweep(&self, stage: &Stage) {
        let (began, to_resend) = {
            let mut world = stage.lock();
            world.call_takes = self.temper.call_takes;
            (world.time, world.judge.to_resend(world.time))
        };
        let outcome = self.handlers().invoke(Invoke::Sweep).await;
        let mut world = stage.lock();
        world.call_takes = 0;
        world.note(|| format!("{outcome:?}"));
        let Outcome::Sweep(Ok(swept)) = outcome else {
            return world.judge.wrong(format!("a sweep: {outcome:?}"));
        };
        if swept.failed > 0 {
            world
                .judge
                .wrong(format!("a sweep could not deal with all: {swept:?}"));
        }
        let excused = self.temper.floods.then_some(NOISY);
        world.judge.check_late(began, u64::MAX, excused);
        for (run_id, step_id, queue, body) in to_resend {
            let waits = world.judge.is_queued(run_id, &step_id) && swept.left == 0;
            if waits && !world.queues.holds(&queue, &body) {
                world
                    .judge
                    .wrong(format!("no message of {run_id}/{step_id} is sent again"));
            }
        }
    }

    /// The streams bring what they have to the trail and to the archive.
    async fn copy(&self, stage: &Stage) {
        let changed = stage.lock().stream.clone();
        let count = changed.len();
        if let Outcome::Stream(true) = self.handlers().invoke(Invoke::Stream(changed)).await {
            stage.lock().stream.drain(..count);
        }
        loop {
            let records: Vec<_> = stage.lock().records.iter().take(BATCH).cloned().collect();
            let count = records.len();
            if count == 0 {
                return;
            }
            match self.handlers().invoke(Invoke::Records(records)).await {
                Outcome::Exported(true) => drop(stage.lock().records.drain(..count)),
                other => return stage.lock().judge.wrong(format!("export: {other:?}")),
            }
        }
    }

    async fn deliver(&self, stage: &Stage, project: &Project) {
        let (now, visible) = {
            let world = stage.lock();
            let visible = world.queues.visible(&project.fargate, world.time);
            (world.time, visible)
        };
        for id in visible {
            let Some(message) = stage.lock().queues.receive(id, now) else {
                continue;
            };
            if let Outcome::Batch(response) =
                self.handlers().invoke(Invoke::Batch(vec![message])).await
                && response.batch_item_failures.is_empty()
            {
                stage.lock().queues.delete(id);
            }
        }
    }

    /// Each message of a project's pull pool is worked off by its first worker that may.
    async fn work(&mut self, stage: &Stage, project: &Project) {
        let (now, visible) = {
            let world = stage.lock();
            let visible = world.queues.visible(&project.pull, world.time);
            (world.time, visible)
        };
        let Some(bearer) = self.worker_of(project.name).map(|worker| worker.bearer()) else {
            return stage.lock().queues.clear_queue(&project.pull);
        };
        for id in visible {
            let Some(message) = stage.lock().queues.receive(id, now) else {
                continue;
            };
            let Some(hint) = message.hint() else { continue };
            let body = serde_json::json!({ "run_id": hint.run_id, "step_id": hint.step_id });
            let answer = self.ask(&bearer, "/v1/claims", &body).await;
            let ask = Ask::Claim { message: Some(id) };
            let Some(worker) = self.worker_of(project.name) else {
                return;
            };
            let heard = worker.hear(
                &ask,
                now,
                answer
                    .map(|answer| answer.body)
                    .map_err(|problem| problem.code),
            );
            hears(&mut stage.lock(), heard);
            self.finish_all(stage, project.name, &bearer).await;
        }
    }

    async fn finish_all(&mut self, stage: &Stage, project: &str, bearer: &str) {
        loop {
            let next = self
                .worker_of(project)
                .and_then(|worker| worker.sandboxes.first().cloned());
            let Some(sandbox) = next else { return };
            let claim = sandbox.claim;
            let (path, body, ask) = if sandbox.phase == Phase::Prepared {
                (
                    "/v1/starts",
                    workers::start(&claim),
                    Ask::Start(claim.clone()),
                )
            } else {
                (
                    "/v1/reports",
                    workers::report(&claim, 0),
                    Ask::Report(claim.clone()),
                )
            };
            let answer = self.ask(bearer, path, &body).await;
            let answer = answer
                .map(|answer| answer.body)
                .map_err(|problem| problem.code);
            let Some(worker) = self.worker_of(project) else {
                return;
            };
            let heard = worker.hear(&ask, 0, answer);
            hears(&mut stage.lock(), heard);
        }
    }

    async fn ask(
        &self,
        bearer: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Answer, Problem> {
        let request = request(Method::POST, path, &[("authorization", bearer)], Some(body))
            .map_err(|detail| Problem::invalid("request", detail))?;
        match self.handlers().invoke(Invoke::Http(request)).await {
            Outcome::Http(answer) => answer,
            other => Err(Problem::invalid("outcome", format!("{other:?}"))),
        }
    }

    /// ECS goes on: containers start, their inits ask, commands of live claims end.
    async fn tasks_go_on(&self, stage: &Stage) {
        let live: Vec<Task> = stage.lock().ecs.live().cloned().collect();
        for task in live {
            if task.stopping {
                end_task(&mut stage.lock(), &task, End::Asked);
                continue;
            }
            match (task.status, task.init) {
                (Status::Provisioning | Status::Pending, _) => {
                    let mut world = stage.lock();
                    let now = world.time;
                    world.ecs.move_on(&task.arn, now);
                }
                (Status::Running, Init::Asks | Init::Waits) => {
                    self.init_asks_now(stage, &task).await
                }
                (Status::Running, Init::LetGo) => {
                    let mut world = stage.lock();
                    if !task.hangs && is_held(&world, &task) {
                        end_task(&mut world, &task, End::Exit(0));
                    }
                }
                (Status::Stopped, _) => {}
            }
        }
    }

    async fn init_asks_now(&self, stage: &Stage, task: &Task) {
        let Some(request) = step_request(task) else {
            return;
        };
        if let Outcome::Http(answer) = self.handlers().invoke(Invoke::Http(request)).await {
            let answer = answer
                .map(|_| ())
                .map_err(|problem| (problem.code, problem.status));
            init_hears(&mut stage.lock(), &task.arn, answer);
        }
    }
}

/// Whether the claim that a task was launched for is live.
fn is_held(world: &World, task: &Task) -> bool {
    let Some((_, run_id, step_id, fence)) = task.claim() else {
        return false;
    };
    world
        .judge
        .runs()
        .get(&run_id)
        .is_some_and(|run| run.held(&step_id, None, fence).is_ok())
}

fn ended(world: &World) -> bool {
    let runs = world.judge.runs().values();
    let over = runs.fold(true, |over, run| {
        over && run.due_at().is_none() && run.steps.values().all(|step| step.state.is_terminal())
    });
    over && world.ecs.live().next().is_none()
        && world.judge.waiting() == 0
        && world.judge.are_fan_outs_finished()
}

fn check(world: &mut World) {
    let now = world.time;
    world.judge.check_end(now);
    world.judge.check_archive(&world.archive, now);
    world.tables.settle(0);
    for shard in sealfleet_ledger::due_shards() {
        let due = world
            .tables
            .due(&shard, i64::MAX, None, 1)
            .unwrap_or_default();
        if let Some(due) = due.rows.first() {
            world
                .judge
                .wrong(format!("{} is left in the due index", due.key.sk));
        }
    }
    let left: Vec<String> = world
        .ecs
        .live()
        .map(|task| {
            format!(
                "{} for {} is {}",
                task.arn,
                task.started_by,
                task.status.name()
            )
        })
        .collect();
    for task in left {
        world
            .judge
            .wrong(format!("a task is left that nobody stops: {task}"));
    }
}
