//! "ECS Task State Change" events: the envelope of EventBridge and its delivery.
//!
//! Delivery is at least once: an event is handed over again until the target takes it, up to the
//! number of attempts EventBridge makes. Events of one task are first tried in the order they
//! happened; a retry does not hold up later ones, so, as on AWS, a consumer may see them out of
//! order. The delivery of a task's last event is journalled, and tried again after a restart.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::clock;
use crate::cloud::Cloud;
use crate::task::{Status, Task};

/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html>
const MAX_ATTEMPTS: u32 = 185;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 8;

/// An event on its way.
#[derive(Debug, Clone)]
pub struct Event {
    pub task: String,
    pub version: u64,
    pub last: bool,
    pub envelope: Value,
}

impl Event {
    /// The event of a task's current version.
    pub fn of(task: &Task, account: &str, region: &str) -> Self {
        Self {
            task: task.id.clone(),
            version: task.version,
            last: task.status == Status::Stopped,
            envelope: json!({
                "version": "0",
                "id": crate::random::uuid(),
                "detail-type": "ECS Task State Change",
                "source": "aws.ecs",
                "account": account,
                "time": clock::iso(task.updated_at),
                "region": region,
                "resources": [task.arn],
                "detail": task.event_detail(),
            }),
        }
    }
}

/// What happens to events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Deliver,
    /// Keep them until the mode changes.
    Hold,
    /// Deliver each twice, with the same version.
    Duplicate,
    /// Lose them.
    Drop,
}

enum Command {
    Event(Event),
    Mode { mode: Mode, reversed: bool },
}

/// The way into delivery.
#[derive(Clone)]
pub struct Events {
    commands: mpsc::UnboundedSender<Command>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    delivered: AtomicU64,
    failed_attempts: AtomicU64,
    dropped: AtomicU64,
    /// Accepted and neither delivered, dropped, given up nor held.
    under_way: watch::Sender<u64>,
}

impl Events {
    /// Starts delivery; `delivered` is told each event the target took (or that was dropped on
    /// demand).
    pub fn start(cloud: Arc<dyn Cloud>, delivered: mpsc::UnboundedSender<Event>) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::default());
        let courier = Arc::new(Courier {
            cloud,
            delivered,
            counters: Arc::clone(&counters),
            slots: Semaphore::new(AT_ONCE),
        });
        tokio::spawn(Desk::default().run(inbox, courier));
        Self { commands, counters }
    }

    /// Queues an event. Order of calls is order of first delivery, task by task.
    pub fn emit(&self, event: Event) {
        self.counters.under_way.send_modify(|count| *count += 1);
        // The desk lives as long as this sender does.
        let _ = self.commands.send(Command::Event(event));
    }

    /// Changes what happens to events from now on; leaving `Hold` releases the held ones,
    /// `reversed` or in order.
    pub fn set_mode(&self, mode: Mode, reversed: bool) {
        let _ = self.commands.send(Command::Mode { mode, reversed });
    }

    /// Waits until nothing is under way, at most `limit`.
    pub async fn settle(&self, limit: Duration) {
        let mut under_way = self.counters.under_way.subscribe();
        let _ = tokio::time::timeout(limit, under_way.wait_for(|count| *count == 0)).await;
    }

    /// Counts for the health answer.
    pub fn counts(&self) -> Value {
        json!({
            "delivered": self.counters.delivered.load(Ordering::Relaxed),
            "failed_attempts": self.counters.failed_attempts.load(Ordering::Relaxed),
            "dropped": self.counters.dropped.load(Ordering::Relaxed),
            "under_way": *self.counters.under_way.borrow(),
        })
    }
}

/// Sorts events into one queue per task and obeys the mode.
#[derive(Default)]
struct Desk {
    mode: Mode,
    held: VecDeque<Event>,
    queues: HashMap<String, mpsc::UnboundedSender<Event>>,
}

impl Desk {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>, courier: Arc<Courier>) {
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Event(event) => self.accept(event, &courier),
                Command::Mode { mode, reversed } => {
                    self.mode = mode;
                    if mode == Mode::Hold {
                        continue;
                    }
                    let mut released = std::mem::take(&mut self.held);
                    if reversed {
                        released.make_contiguous().reverse();
                    }
                    courier
                        .counters
                        .under_way
                        .send_modify(|count| *count += released.len() as u64);
                    for event in released {
                        self.accept(event, &courier);
                    }
                }
            }
        }
    }

    fn accept(&mut self, event: Event, courier: &Arc<Courier>) {
        match self.mode {
            Mode::Deliver => self.queue(event, courier),
            Mode::Duplicate => {
                courier.counters.under_way.send_modify(|count| *count += 1);
                self.queue(event.clone(), courier);
                self.queue(event, courier);
            }
            Mode::Hold => {
                self.held.push_back(event);
                courier.done();
            }
            Mode::Drop => {
                courier.counters.dropped.fetch_add(1, Ordering::Relaxed);
                let _ = courier.delivered.send(event);
                courier.done();
            }
        }
    }

    fn queue(&mut self, event: Event, courier: &Arc<Courier>) {
        let event = match self.queues.get(&event.task) {
            None => event,
            Some(queue) => match queue.send(event) {
                Ok(()) => return,
                Err(mpsc::error::SendError(event)) => event,
            },
        };
        self.queues.retain(|_, queue| !queue.is_closed());
        let (queue, inbox) = mpsc::unbounded_channel();
        let task = event.task.clone();
        if queue.send(event).is_ok() {
            self.queues.insert(task, queue);
        }
        tokio::spawn(Arc::clone(courier).walk(inbox));
    }
}

/// Hands events over.
struct Courier {
    cloud: Arc<dyn Cloud>,
    delivered: mpsc::UnboundedSender<Event>,
    counters: Arc<Counters>,
    slots: Semaphore,
}

impl Courier {
    /// Delivers the events of one task, until none is queued after its last.
    async fn walk(self: Arc<Self>, mut inbox: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = inbox.recv().await {
            let last = event.last;
            if !self.attempt(&event).await {
                tokio::spawn(Arc::clone(&self).retry(event));
            }
            if last && inbox.is_empty() {
                inbox.close();
            }
        }
    }

    async fn retry(self: Arc<Self>, event: Event) {
        let mut pause = FIRST_PAUSE;
        for _ in 1..MAX_ATTEMPTS {
            tokio::time::sleep(pause).await;
            if self.attempt(&event).await {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        tracing::error!(task = event.task, version = event.version, "event given up");
        self.done();
    }

    async fn attempt(&self, event: &Event) -> bool {
        let outcome = {
            let _slot = self.slots.acquire().await;
            self.cloud.deliver_event(&event.envelope).await
        };
        match outcome {
            Ok(()) => {
                self.counters.delivered.fetch_add(1, Ordering::Relaxed);
                let _ = self.delivered.send(event.clone());
                self.done();
                true
            }
            Err(error) => {
                self.counters
                    .failed_attempts
                    .fetch_add(1, Ordering::Relaxed);
                tracing::warn!(task = event.task, version = event.version, %error, "event not taken");
                false
            }
        }
    }

    fn done(&self) {
        self.counters
            .under_way
            .send_modify(|count| *count = count.saturating_sub(1));
    }
}
