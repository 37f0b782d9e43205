//! The end of every play: nothing goes wrong any more, and `sweep` alone must bring everything to
//! its end.
//!
//! In half of the worlds queues and workers go on as well, so that runs may still succeed. In the
//! other half every message is lost from here on. Commands whose claim is gone go on until somebody
//! stops them: a task that nobody knows of is found here.

use aws_lambda_events::http::Method;
use sealfleet_api::Problem;
use sealfleet_api::http::Answer;

use crate::director::Director;
use crate::ecs::{End, Init, Status, Task};
use crate::fargate::{end_task, init_hears};
use crate::handlers::{Invoke, Outcome, request};
use crate::onboarding::{FARGATE_QUEUE, PROJECT, PULL_QUEUE};
use crate::pull::hears;
use crate::stage::{Stage, World};
use crate::workers::{self, Ask, Phase};

/// Minutes that all may take: three steps that wait for one another until their time to live is
/// over, and some.
const MINUTES: u32 = 120;
/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

impl Director {
    /// Plays to the end, and notes what has not ended by then.
    pub async fn conclude(&mut self, stage: &Stage, recovers: bool) {
        self.stop();
        for _ in 0..MINUTES {
            stage.lock().time += MINUTE;
            if !recovers {
                stage.lock().queues.clear();
            }
            let swept = self.handlers().invoke(Invoke::Sweep).await;
            stage.lock().note(|| format!("{swept:?}"));
            if recovers {
                self.deliver(stage).await;
                self.work(stage).await;
            }
            self.tasks_go_on(stage).await;
            let changed = stage.lock().stream.clone();
            let count = changed.len();
            if let Outcome::Stream(true) = self.handlers().invoke(Invoke::Stream(changed)).await {
                stage.lock().stream.drain(..count);
            }
            let mut world = stage.lock();
            if world.queues.is_empty() && ended(&world) || !world.judge.violations().is_empty() {
                break;
            }
            world.ecs.events.clear();
        }
        check(&mut stage.lock());
    }

    async fn deliver(&self, stage: &Stage) {
        let (now, visible) = {
            let world = stage.lock();
            (world.time, world.queues.visible(FARGATE_QUEUE, world.time))
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

    /// Each message of the pull pool is worked off by the first worker that may.
    async fn work(&mut self, stage: &Stage) {
        let (now, visible) = {
            let world = stage.lock();
            (world.time, world.queues.visible(PULL_QUEUE, world.time))
        };
        let Some(bearer) = self.workers().next().map(|worker| worker.bearer()) else {
            stage.lock().queues.clear();
            return;
        };
        for id in visible {
            let Some(message) = stage.lock().queues.receive(id, now) else {
                continue;
            };
            let Some(hint) = message.hint() else { continue };
            let body = serde_json::json!({ "run_id": hint.run_id, "step_id": hint.step_id });
            let answer = self.ask(&bearer, "/v1/claims", &body).await;
            let ask = Ask::Claim { message: Some(id) };
            let Some(worker) = self.workers().next() else {
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
            self.finish_all(stage, &bearer).await;
        }
    }

    async fn finish_all(&mut self, stage: &Stage, bearer: &str) {
        loop {
            let next = self
                .workers()
                .next()
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
            let Some(worker) = self.workers().next() else {
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
        let Some((_, run_id, step_id, fence)) = task.claim() else {
            return;
        };
        let body = workers::lease_of(PROJECT, &(run_id, step_id, fence));
        let Ok(mut request) = request(Method::POST, "/v1/sandbox/step", &[], Some(&body)) else {
            return;
        };
        request.caller_arn = Some(format!(
            "arn:aws:sts::1:assumed-role/sealfleet-sandboxes/{}",
            task.id()
        ));
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
    over && world.ecs.live().next().is_none() && world.judge.waiting() == 0
}

fn check(world: &mut World) {
    let now = world.time;
    world.judge.check_end(now);
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
