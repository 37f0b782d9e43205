//! The turns of ECS and of what comes from it: tasks go on, their inits ask, events and messages
//! are delivered.

use aws_lambda_events::http::Method;
use sealfleet_api::Code;
use sealfleet_api::http::Request;

use crate::director::{AnswerTo, Director};
use crate::ecs::{End, Init, Status, Task};
use crate::handlers::{Invoke, request};
use crate::ports::short;
use crate::queues::Message;
use crate::stage::{Subject, World};
use crate::temper::Temper;
use crate::workers;

/// Milliseconds that a sandbox's init goes on asking for its step.
const PATIENCE: i64 = 30_000;

impl Director {
    pub(crate) fn ecs_moves(&mut self) {
        let asks = {
            let mut world = self.stage.lock();
            let tasks: Vec<String> = world.ecs.live().map(|task| task.arn.clone()).collect();
            let Some(arn) = world.random.pick(&tasks).cloned() else {
                return;
            };
            task_moves(&mut world, &self.temper, &arn)
        };
        if let Some(task) = asks {
            self.init_asks(&task);
        }
    }

    pub(crate) fn init_asks(&mut self, task: &Task) {
        let Some(request) = step_request(task) else {
            return;
        };
        let answer_to = AnswerTo::Init {
            arn: task.arn.clone(),
        };
        self.begin(Invoke::Http(request), None, answer_to);
    }

    pub(crate) fn event_arrives(&mut self) {
        let task = {
            let mut world = self.stage.lock();
            let length = world.ecs.events.len();
            let at = world.random.position(length);
            let doubled = world.random.chance(self.temper.doubling);
            let lost = world.random.chance(self.temper.losing);
            let event = if doubled && !lost {
                world.ecs.events.get(at).cloned()
            } else {
                Some(world.ecs.events.swap_remove(at))
            };
            let Some(event) = event else { return };
            if lost {
                world.note(|| {
                    format!(
                        "the event {} of {} is lost",
                        event.task.status.name(),
                        short(&event.task.arn)
                    )
                });
                return;
            }
            Box::new(event.task)
        };
        let subject = subject_of(&task);
        self.begin(
            Invoke::Event(task.clone()),
            subject,
            AnswerTo::Event { task, tries: 1 },
        );
    }

    pub(crate) fn queue_delivers(&mut self) {
        let messages = {
            let mut world = self.stage.lock();
            let now = world.time;
            let visible = self
                .projects
                .iter()
                .map(|project| world.queues.visible(&project.fargate, now));
            let visible: Vec<_> = visible.filter(|visible| !visible.is_empty()).collect();
            let visible = world.random.pick(&visible).cloned().unwrap_or_default();
            let mut messages = Vec::new();
            for id in visible {
                if messages.len() < 3 && world.random.chance(700) {
                    messages.extend(receive(&mut world, &self.temper, id));
                }
            }
            messages
        };
        if messages.is_empty() {
            return;
        }
        let dispatch = format!("dispatch#{}", self.begun + 1);
        self.begin(
            Invoke::Batch(messages.clone()),
            None,
            AnswerTo::Queue { dispatch, messages },
        );
    }
}

/// The question of a task's init: which step it runs.
pub(crate) fn step_request(task: &Task) -> Option<Request> {
    let (scope, run_id, step_id, fence) = task.claim()?;
    let body = workers::lease_of(scope.project().as_str(), &(run_id, step_id, fence));
    let mut request = request(Method::POST, "/v1/sandbox/step", &[], Some(&body)).ok()?;
    request.caller_arn = Some(format!(
        "arn:aws:sts::1:assumed-role/sealfleet-sandboxes/{}",
        task.id()
    ));
    Some(request)
}

/// Receives a message, unless so many receivers have died with it that it is a dead letter.
pub(crate) fn receive(world: &mut World, temper: &Temper, id: u64) -> Option<Message> {
    if world.random.chance(temper.wearing) {
        world.queues.wear(id);
    }
    let now = world.time;
    let received = world.queues.receive(id, now);
    if received.is_none() {
        world.note(|| format!("message {id} is a dead letter"));
    }
    received
}

/// A message is dealt with, or comes again.
pub(crate) fn queue_hears(
    world: &mut World,
    temper: &Temper,
    dispatch: &str,
    message: &Message,
    (again, done): (bool, bool),
) {
    if again {
        let at = world.time + world.random.millis(0, 60_000);
        world.queues.show_at(message.id, at);
        return;
    }
    let hint = message.hint().map(|hint| (hint.run_id, hint.step_id));
    let tasks = world
        .ecs
        .tasks
        .values()
        .filter(|task| task.launcher == dispatch);
    let launched = tasks.filter(|task| {
        task.claim()
            .map(|(_, run_id, step_id, _)| (run_id, step_id))
            == hint
    });
    for task in launched.filter(|_| done).cloned().collect::<Vec<_>>() {
        world.judge.launched_and_done(&task);
    }
    if world.random.chance(temper.doubling) {
        world.note(|| format!("message {} stays in its queue", message.id));
    } else {
        world.queues.delete(message.id);
    }
}

/// One task goes one step on its way; returned if its init has a question.
pub(crate) fn task_moves(world: &mut World, temper: &Temper, arn: &str) -> Option<Task> {
    let task = world.ecs.tasks.get(arn)?.clone();
    let taken = world.random.chance(temper.task_lost);
    match task.status {
        _ if task.stopping => end_task(world, &task, End::Asked),
        Status::Provisioning | Status::Pending if taken => {
            let ends = [End::NoSecret, End::NoImage, End::NoNetwork, End::Taken];
            let end = world.random.pick(&ends).copied()?;
            end_task(world, &task, end);
        }
        Status::Provisioning | Status::Pending => {
            let now = world.time;
            world.ecs.move_on(arn, now);
            world.note(|| format!("{} moves on from {}", short(arn), task.status.name()));
        }
        Status::Running if taken => end_task(world, &task, End::Taken),
        Status::Running => match task.init {
            Init::Asks if world.time - task.running_since > PATIENCE => {
                end_task(world, &task, End::Exit(125))
            }
            Init::Asks => {
                if let Some(task) = world.ecs.tasks.get_mut(arn) {
                    task.init = Init::Waits;
                }
                return Some(task);
            }
            Init::Waits => {}
            Init::LetGo if task.hangs => {}
            Init::LetGo => {
                let code = if world.random.chance(800) { 0 } else { 1 };
                end_task(world, &task, End::Exit(code));
            }
        },
        Status::Stopped => {}
    }
    None
}

/// Ends a task, and the command in it.
pub fn end_task(world: &mut World, task: &Task, end: End) {
    let now = world.time;
    world.ecs.end(&task.arn, end, now);
    world.note(|| format!("{} ends: {end:?}", short(&task.arn)));
    if let Some((_, run_id, step_id, fence)) = task.claim() {
        world.judge.over(&(run_id, step_id, fence));
    }
}

/// A task's init hears whether it may let its command go.
pub fn init_hears(world: &mut World, arn: &str, answer: Result<(), (Code, u16)>) {
    let Some(task) = world
        .ecs
        .tasks
        .get(arn)
        .cloned()
        .filter(|task| task.status == Status::Running)
    else {
        return;
    };
    let init = match answer {
        Ok(()) => {
            world.note(|| {
                format!(
                    "the command of {} is let go in {}",
                    task.started_by,
                    short(arn)
                )
            });
            world.judge.task_let_go(&task);
            Init::LetGo
        }
        Err((code, status)) if status >= 500 || code == Code::NotReady => Init::Asks,
        Err(_) => return end_task(world, &task, End::Exit(125)),
    };
    if let Some(task) = world.ecs.tasks.get_mut(arn) {
        task.init = init;
    }
}

pub(crate) fn subject_of(task: &Task) -> Option<Subject> {
    let (_, run_id, step_id, fence) = task.claim()?;
    Some(Subject {
        run_id,
        step_id,
        fence,
    })
}
