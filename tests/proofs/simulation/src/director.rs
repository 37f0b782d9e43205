//! The scheduler: one seed, one schedule.
//!
//! It gives one turn at a time: to an invocation that waits at a port, to ECS, to a queue, to a
//! worker, to a caller, to the clock. All of it is drawn from the seed, so a schedule that breaks
//! something is broken again by its seed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sealfleet_api::Code;
use sealfleet_api::http::Request;

use crate::ecs::Task;
use crate::fargate::{init_hears, queue_hears, subject_of};
use crate::handlers::{Handlers, Invoke, Outcome, Running};
use crate::invariants::Claim;
use crate::onboarding::{Caller, Onboarded, Project, project_of};
use crate::ports::short;
use crate::queues::Message;
use crate::stage::{Actor, Fault, LaunchVerdict, Stage, Subject, Verdict, World};
use crate::temper::Temper;
use crate::workers::{Ask, Worker};

const AT_ONCE: usize = 6;
/// Tries of an event before EventBridge gives up.
const EVENT_TRIES: u32 = 3;
/// Longer than the ledger ever backs off.
const BACK_OFF: Duration = Duration::from_millis(700);

/// Whom an invocation's outcome is for.
pub(crate) enum AnswerTo {
    Nobody,
    Caller {
        request: Box<Request>,
        home: Option<&'static str>,
    },
    /// Somebody who looks at what waits for approval.
    Approver {
        caller: Caller,
        approval: String,
    },
    /// Somebody of this project, who asked for what is another's.
    Trespasser {
        home: &'static str,
    },
    Worker {
        worker: usize,
        ask: Ask,
        asked: i64,
    },
    Queue {
        dispatch: String,
        messages: Vec<Message>,
    },
    Event {
        task: Box<Task>,
        tries: u32,
    },
    Init {
        arn: String,
    },
    /// This many changes at the head of the stream.
    Stream {
        count: usize,
    },
    /// This many records at the head of the audit table's stream.
    Export {
        count: usize,
    },
}

struct Invocation {
    actor: Actor,
    future: Running,
    dies_at: i64,
    begun: bool,
    answer_to: AnswerTo,
}

/// What may have the next turn.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Invocation,
    Clock,
    Ecs,
    Event,
    Dispatch,
    Worker,
    Caller,
    Sweep,
    Stream,
    Export,
    Digest,
}

pub struct Director {
    pub(crate) stage: Stage,
    pub(crate) handlers: Arc<Handlers>,
    pub(crate) temper: Temper,
    running: Vec<Invocation>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) operator: Caller,
    pub(crate) projects: Vec<Project>,
    pub(crate) enqueued: u64,
    pub(crate) begun: u64,
    /// Whether a batch of the stream is on its way: a shard has one at a time.
    streaming: bool,
    /// The batch of the audit table's stream that is on its way.
    exporting: Option<usize>,
    /// The batch that has to come again as it was.
    exported_again: Option<usize>,
}

impl Director {
    /// A play of this temper in the first of these projects.
    pub fn new(stage: Stage, seed: u64, temper: Temper, onboarded: &Onboarded) -> Self {
        let handlers = Arc::new(Handlers::new(&stage, seed));
        let projects = onboarded.projects.iter().take(temper.projects.max(1));
        let projects: Vec<Project> = projects.cloned().collect();
        let workers = projects.iter().flat_map(|project| &project.workers);
        let workers = workers.cloned().map(Worker::new).collect();
        Self {
            stage,
            handlers,
            temper,
            running: Vec::new(),
            workers,
            operator: onboarded.operator.clone(),
            projects,
            enqueued: 0,
            begun: 0,
            streaming: false,
            exporting: None,
            exported_again: None,
        }
    }

    /// Plays until faults stop or something is wrong.
    pub async fn play(&mut self) {
        {
            let mut world = self.stage.lock();
            world.temper = Some(self.temper.clone());
            world.judge.exclusive = self.temper.skew == 0;
        }
        for _ in 0..self.temper.turns {
            self.turn().await;
            if !self.stage.lock().judge.violations().is_empty() {
                return;
            }
        }
    }

    async fn turn(&mut self) {
        match self.next() {
            Turn::Invocation => self.go_on().await,
            Turn::Clock => self.time_passes(),
            Turn::Ecs => self.ecs_moves(),
            Turn::Event => self.event_arrives(),
            Turn::Dispatch => self.queue_delivers(),
            Turn::Worker => self.worker_acts(),
            Turn::Caller => self.caller_acts(),
            Turn::Sweep => self.begin(Invoke::Sweep, None, AnswerTo::Nobody),
            Turn::Stream => self.stream_delivers(),
            Turn::Export => self.records_arrive(),
            Turn::Digest => self.begin(Invoke::Digest, None, AnswerTo::Nobody),
        }
    }

    /// A batch of the audit table's stream: the one that was not dealt with, or the next.
    fn records_arrive(&mut self) {
        let records = {
            let mut world = self.stage.lock();
            let waiting = world.records.len().min(100);
            let count = 1 + world.random.position(waiting);
            let count = self.exported_again.take().unwrap_or(count);
            world
                .records
                .iter()
                .take(count)
                .cloned()
                .collect::<Vec<_>>()
        };
        let count = records.len();
        self.exporting = Some(count);
        self.begin(Invoke::Records(records), None, AnswerTo::Export { count });
    }

    fn stream_delivers(&mut self) {
        let changed = {
            let mut world = self.stage.lock();
            let waiting = world.stream.len().min(10);
            let count = 1 + world.random.position(waiting);
            world.stream.iter().take(count).cloned().collect::<Vec<_>>()
        };
        self.streaming = true;
        let count = changed.len();
        self.begin(Invoke::Stream(changed), None, AnswerTo::Stream { count });
    }

    fn next(&self) -> Turn {
        let mut world = self.stage.lock();
        let room = self.running.len() < AT_ONCE;
        let events = room && !world.ecs.events.is_empty();
        let waiting = |project: &Project| {
            !world
                .queues
                .visible(&project.fargate, world.time)
                .is_empty()
        };
        let messages = room && self.projects.iter().any(waiting);
        let tasks = world.ecs.live().next().is_some();
        let streams = room && !self.streaming && !world.stream.is_empty();
        let exports = room && self.exporting.is_none() && !world.records.is_empty();
        let weights = [
            (
                Turn::Invocation,
                if self.running.is_empty() { 0 } else { 30 },
            ),
            (Turn::Clock, 4),
            (Turn::Ecs, if tasks { 6 } else { 0 }),
            (Turn::Event, if events { 5 } else { 0 }),
            (Turn::Dispatch, if messages { 5 } else { 0 }),
            (Turn::Worker, if room { 6 } else { 0 }),
            (Turn::Caller, if room { 3 } else { 0 }),
            (Turn::Sweep, if room { 2 } else { 0 }),
            (Turn::Stream, if streams { 4 } else { 0 }),
            (Turn::Export, if exports { 2 } else { 0 }),
            (Turn::Digest, u64::from(room && world.random.chance(30))),
        ];
        let mut at = world
            .random
            .below(weights.iter().map(|(_, weight)| weight).sum());
        for (turn, weight) in weights {
            if at < weight {
                return turn;
            }
            at -= weight;
        }
        Turn::Clock
    }

    pub(crate) fn begin(&mut self, invoke: Invoke, subject: Option<Subject>, answer_to: AnswerTo) {
        self.begun += 1;
        let name = format!("{}#{}", invoke.name(), self.begun);
        let home = self.home_of(&invoke, &answer_to);
        let mut world = self.stage.lock();
        world.note(|| format!("{name} begins{}", about(&invoke)));
        let actor = Actor {
            number: self.begun,
            name,
            subject,
            home,
            began: world.effects,
            began_at: world.time,
        };
        let dies_at = world.time + invoke.timeout();
        drop(world);
        let future = self.handlers.invoke(invoke);
        self.running.push(Invocation {
            actor,
            future,
            dies_at,
            begun: false,
            answer_to,
        });
    }

    /// The project that an invocation acts for.
    fn home_of(&self, invoke: &Invoke, answer_to: &AnswerTo) -> Option<&'static str> {
        let of_task = |task: &Task| project_of(task.claim()?.0.project().as_str());
        match (invoke, answer_to) {
            (Invoke::Batch(messages), _) => {
                let queue = &messages.first()?.queue;
                let mut projects = self.projects.iter();
                Some(projects.find(|project| project.fargate == *queue)?.name)
            }
            (Invoke::Event(task), _) => of_task(task),
            (_, AnswerTo::Caller { home, .. }) => *home,
            (_, AnswerTo::Approver { caller, .. }) => caller.home,
            (_, AnswerTo::Trespasser { home }) => Some(home),
            (_, AnswerTo::Worker { worker, .. }) => {
                Some(self.workers.get(*worker)?.registered.project)
            }
            (_, AnswerTo::Init { arn }) => of_task(self.stage.lock().ecs.tasks.get(arn)?),
            _ => None,
        }
    }

    /// Gives one invocation its turn.
    async fn go_on(&mut self) {
        let at = self.stage.lock().random.position(self.running.len());
        let mut invocation = self.running.swap_remove(at);
        if let Some(death) = self.death(&invocation) {
            self.stage
                .lock()
                .note(|| format!("{} {death}", invocation.actor.name));
            drop(invocation.future);
            self.unanswered(invocation.answer_to);
            return;
        }
        let turn = self.choose_call(&invocation);
        if invocation.begun && turn.is_none() {
            tokio::time::advance(BACK_OFF).await;
        }
        invocation.begun = true;
        {
            let mut world = self.stage.lock();
            let verdict = turn.map_or_else(Verdict::default, |(_, call)| {
                verdict(&mut world, &self.temper, call)
            });
            world.enter(
                invocation.actor.clone(),
                turn.map(|(turn, _)| turn),
                verdict,
            );
        }
        let polled = std::future::poll_fn(|context| {
            let poll = AssertUnwindSafe(|| invocation.future.as_mut().poll(context));
            Poll::Ready(std::panic::catch_unwind(poll))
        })
        .await;
        self.stage.lock().leave();
        match polled {
            Err(_) => self
                .stage
                .lock()
                .judge
                .wrong(format!("{} panicked", invocation.actor.name)),
            Ok(Poll::Pending) => self.running.push(invocation),
            Ok(Poll::Ready(outcome)) => self.ended(invocation.actor, invocation.answer_to, outcome),
        }
    }

    /// Which of an invocation's calls has its turn; `None`: time must pass for it. Where one call
    /// backs off beside others that wait, either may be first.
    fn choose_call(&self, invocation: &Invocation) -> Option<(u64, &'static str)> {
        let mut world = self.stage.lock();
        let waiting = world.waiting(invocation.actor.number);
        if waiting.len() > 1 && world.random.chance(100) {
            return None;
        }
        world.random.pick(&waiting).copied()
    }

    fn death(&self, invocation: &Invocation) -> Option<&'static str> {
        let mut world = self.stage.lock();
        if world.time >= invocation.dies_at {
            Some("runs into its time-out")
        } else if world.random.chance(self.temper.dying) {
            Some("dies")
        } else {
            None
        }
    }

    fn ended(&mut self, actor: Actor, answer_to: AnswerTo, outcome: Outcome) {
        let lost = {
            let mut world = self.stage.lock();
            let lost = world.random.chance(self.temper.answer_lost);
            world.note(|| {
                format!(
                    "{} -> {}{}",
                    actor.name,
                    shown(&outcome),
                    if lost { ", which is lost" } else { "" }
                )
            });
            lost
        };
        if let Outcome::Sweep(Ok(swept)) = &outcome
            && self.temper.is_quiet()
            && (swept.failed, swept.left) == (0, 0)
        {
            let judge = &mut self.stage.lock().judge;
            judge.check_late(actor.began_at, actor.began, None);
        }
        if lost {
            self.unanswered(answer_to)
        } else {
            self.answered(answer_to, outcome)
        }
    }

    fn answered(&mut self, answer_to: AnswerTo, outcome: Outcome) {
        match (answer_to, outcome) {
            (AnswerTo::Worker { worker, ask, asked }, Outcome::Http(answer)) => {
                self.worker_hears(
                    worker,
                    &ask,
                    asked,
                    answer
                        .map(|answer| answer.body)
                        .map_err(|problem| problem.code),
                );
            }
            (AnswerTo::Caller { request, home }, Outcome::Http(Err(problem)))
                if problem.status >= 500 =>
            {
                self.unanswered(AnswerTo::Caller { request, home });
            }
            (AnswerTo::Approver { caller, approval }, Outcome::Http(Ok(answer))) => {
                self.has_seen(&caller, &approval, &answer.body);
            }
            (AnswerTo::Trespasser { home }, Outcome::Http(Ok(answer))) => {
                let judge = &mut self.stage.lock().judge;
                judge.wrong(format!("{home} gets what is another's: {}", answer.body));
            }
            (AnswerTo::Queue { dispatch, messages }, Outcome::Batch(response)) => {
                let failed: Vec<String> = response
                    .batch_item_failures
                    .into_iter()
                    .map(|failure| failure.item_identifier)
                    .collect();
                let mut world = self.stage.lock();
                let comes_again = |message: &Message| failed.contains(&message.id.to_string());
                let steps_again: Vec<_> = messages
                    .iter()
                    .filter(|message| comes_again(message))
                    .map(|message| message.hint().map(|hint| (hint.run_id, hint.step_id)))
                    .collect();
                for message in messages {
                    let again = comes_again(&message);
                    // Two messages of one step may be in one batch: it is done with both.
                    let step = message.hint().map(|hint| (hint.run_id, hint.step_id));
                    let told = (again, !steps_again.contains(&step));
                    queue_hears(&mut world, &self.temper, &dispatch, &message, told);
                }
            }
            (AnswerTo::Event { task, tries }, Outcome::Event(Err(_))) => {
                self.unanswered(AnswerTo::Event { task, tries });
            }
            (AnswerTo::Stream { count }, outcome) => {
                self.streaming = false;
                if matches!(outcome, Outcome::Stream(true)) {
                    self.stage.lock().stream.drain(..count);
                }
            }
            (AnswerTo::Export { count }, outcome) => {
                self.exporting = None;
                if matches!(outcome, Outcome::Exported(true)) {
                    self.stage.lock().records.drain(..count);
                } else {
                    self.exported_again = Some(count);
                }
            }
            (AnswerTo::Init { arn }, Outcome::Http(answer)) => {
                let answer = answer
                    .map(|_| ())
                    .map_err(|problem| (problem.code, problem.status));
                init_hears(&mut self.stage.lock(), &arn, answer);
            }
            _ => {}
        }
    }

    pub(crate) fn unanswered(&mut self, answer_to: AnswerTo) {
        match answer_to {
            AnswerTo::Nobody | AnswerTo::Approver { .. } | AnswerTo::Trespasser { .. } => {}
            // The batch comes again.
            AnswerTo::Stream { .. } => self.streaming = false,
            // Lambda does not know how far it came: it comes again in two halves.
            AnswerTo::Export { count } => {
                self.exporting = None;
                self.exported_again = Some(count.div_ceil(2));
            }
            AnswerTo::Caller { request, home } => {
                if self.stage.lock().random.chance(600) {
                    let again = AnswerTo::Caller {
                        request: request.clone(),
                        home,
                    };
                    self.begin(Invoke::Http(*request), None, again);
                }
            }
            AnswerTo::Worker { worker, ask, .. } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.hear_nothing(&ask);
                }
                if let Ask::Claim { message: Some(id) } = ask {
                    let mut world = self.stage.lock();
                    let at = world.time + world.random.millis(0, 60_000);
                    world.queues.show_at(id, at);
                }
            }
            // Hidden for now, they come again.
            AnswerTo::Queue { .. } => {}
            AnswerTo::Event { task, tries } if tries < EVENT_TRIES => {
                let subject = subject_of(&task);
                self.begin(
                    Invoke::Event(task.clone()),
                    subject,
                    AnswerTo::Event {
                        task,
                        tries: tries + 1,
                    },
                );
            }
            AnswerTo::Event { .. } => {}
            AnswerTo::Init { arn } => {
                init_hears(&mut self.stage.lock(), &arn, Err((Code::Unavailable, 503)))
            }
        }
    }

    fn time_passes(&mut self) {
        {
            let mut world = self.stage.lock();
            let leap = world.random.chance(self.temper.leap);
            let most = if world.random.chance(500) {
                25_000
            } else {
                90_000
            };
            let millis = if leap {
                world.random.millis(5_000, most)
            } else {
                world.random.millis(0, 2_000)
            };
            world.time += millis;
            world.skew = world.random.millis(-self.temper.skew, self.temper.skew);
            if leap {
                world.note(|| format!("{} s pass", millis / 1000));
            }
        }
        self.leases_run_out();
    }

    /// Workers kill their sandboxes in time, whatever else they do.
    pub(crate) fn leases_run_out(&mut self) {
        let mut world = self.stage.lock();
        let now = world.time;
        for (at, worker) in self.workers.iter_mut().enumerate() {
            for claim in worker.kill_overdue(now) {
                world.note(|| format!("worker {at} kills {}: its lease ran out", named(&claim)));
                world.judge.over(&claim);
            }
        }
    }

    /// Ends all that is on its way: nothing but the tables, ECS and the workers' hosts is left.
    pub fn stop(&mut self) {
        self.running.clear();
        self.streaming = false;
        self.exporting = None;
        let mut world = self.stage.lock();
        world.temper = None;
        world.skew = 0;
        world.ecs.events.clear();
        world.note(|| "faults stop; all that was on its way is lost".to_owned());
        for worker in &mut self.workers {
            for claim in worker.die() {
                world.judge.over(&claim);
            }
        }
    }

    pub const fn handlers(&self) -> &Arc<Handlers> {
        &self.handlers
    }

    /// A worker of a project that may still work.
    pub fn worker_of(&mut self, project: &str) -> Option<&mut Worker> {
        let mut workers = self.workers.iter_mut();
        workers.find(|worker| !worker.ended && worker.registered.project == project)
    }
}

fn verdict(world: &mut World, temper: &Temper, call: &'static str) -> Verdict {
    let mut verdict = Verdict::default();
    if world.random.chance(temper.failing) {
        let throttled = call == "write" || call.ends_with("task");
        verdict.fault = Some(if throttled && world.random.chance(500) {
            Fault::Busy
        } else {
            Fault::Unavailable
        });
    } else if world.random.chance(temper.reply_lost) {
        verdict.fault = Some(Fault::ReplyLost);
    } else if call == "write" && world.random.chance(temper.busy) {
        verdict.fault = Some(Fault::Busy);
    }
    if call == "run task" {
        if world.random.chance(temper.no_capacity) {
            verdict.launch = LaunchVerdict::NoCapacity;
        } else if world.random.chance(temper.refusing) {
            verdict.launch = LaunchVerdict::Refused;
        }
    }
    verdict.slow = world.random.chance(temper.slow);
    verdict
}

pub(crate) fn named((run_id, step_id, fence): &Claim) -> String {
    format!("{run_id}/{step_id}/{fence}")
}

fn about(invoke: &Invoke) -> String {
    match invoke {
        Invoke::Http(request) => {
            format!(": {request} {}", String::from_utf8_lossy(request.body()))
        }
        Invoke::Batch(messages) => {
            let bodies: Vec<String> = messages
                .iter()
                .map(|message| format!("message {} {}", message.id, message.body))
                .collect();
            format!(": {}", bodies.join(", "))
        }
        Invoke::Event(task) => format!(
            ": {} of {} ({})",
            task.status.name(),
            short(&task.arn),
            task.started_by
        ),
        Invoke::Stream(changed) => format!(": {} changes", changed.len()),
        Invoke::Records(records) => format!(": {} rows of the trail", records.len()),
        Invoke::Sweep | Invoke::Digest => String::new(),
    }
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Http(Ok(answer)) => format!("{}", answer.status),
        Outcome::Http(Err(problem)) => format!(
            "{} {}: {}",
            problem.status,
            problem.code.text(),
            problem.detail
        ),
        Outcome::Batch(response) => format!(
            "{} messages must come again",
            response.batch_item_failures.len()
        ),
        Outcome::Event(result) => format!("{result:?}"),
        Outcome::Sweep(result) => format!("{result:?}"),
        Outcome::Stream(done) => format!("all copied: {done}"),
        Outcome::Exported(done) => format!("exported: {done}"),
    }
}
