//! "ECS Task State Change" events: their EventBridge envelope and their delivery.
//!
//! Delivery is at least once: an event is sent until the target accepts it, with at most as many
//! attempts as EventBridge makes. First attempts for the events of one task happen in order. A
//! retry does not block later events, so, as on AWS, a consumer may see them out of order. The
//! delivery of a task's last event is journalled. Without that record, the event is sent again
//! after a restart.

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

#[derive(Debug, Clone)]
pub struct Event {
    pub task: String,
    pub version: u64,
    pub last: bool,
    pub envelope: Value,
}

impl Event {
    /// The event for a task's current version.
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

/// How to treat events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Deliver,
    /// Keep them until the mode changes.
    Hold,
    /// Deliver each event twice, with the same version.
    Duplicate,
    /// Discard them.
    Drop,
}

enum Command {
    Event(Event),
    Mode { mode: Mode, reversed: bool },
}

/// Sends events to delivery.
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
    /// How many events are in delivery: accepted, but not delivered, discarded, given up or held.
    under_way: watch::Sender<u64>,
}

impl Events {
    /// Starts delivery. Sends each event to `delivered` once the target accepted it, or once the
    /// mode discarded it.
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

    /// Queues an event. For each task, first attempts happen in the order of calls.
    pub fn emit(&self, event: Event) {
        self.counters.under_way.send_modify(|count| *count += 1);
        // The receiver lives as long as this sender, so sending cannot fail.
        let _ = self.commands.send(Command::Event(event));
    }

    /// Changes how events are treated from now on. Leaving `Hold` releases the held events, in
    /// order or `reversed`.
    pub fn set_mode(&self, mode: Mode, reversed: bool) {
        let _ = self.commands.send(Command::Mode { mode, reversed });
    }

    /// Waits until no event is in delivery, at most `limit`.
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

/// Sorts events into one queue for each task and applies the mode.
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

struct Courier {
    cloud: Arc<dyn Cloud>,
    delivered: mpsc::UnboundedSender<Event>,
    counters: Arc<Counters>,
    slots: Semaphore,
}

impl Courier {
    /// Delivers the events of one task, until its last one was delivered and none is queued.
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
        tracing::error!(
            task = event.task,
            version = event.version,
            "gave up an event"
        );
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
                tracing::warn!(task = event.task, version = event.version, %error, "the target did not accept an event");
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
