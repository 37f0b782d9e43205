//! The worker: polls while a slot is free, claims, keeps leases alive, drains and stops.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sealfleet_client::types::{Claim, ClaimStep, Heartbeat, QueueMessage, WaitingStep};
use sealfleet_client::{Code, Error};
use sealfleet_domain::Line;
use sealfleet_domain::fleet::WorkerStatus;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::control::{ControlPlane, Standing, settles_the_hint, standing};
use crate::executor::Executor;
use crate::lease::{Lease, Leases, Loss};
use crate::queue::{Message, Queue, QueueError};
use crate::random::{Backoff, between};
use crate::step::StepRunner;

/// Seconds at the least and at the most between a step that this worker cannot run and the next
/// message. In this time others receive what is passed on.
const PASSED_ON: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(1500));

/// How long killed steps may take to end.
const LAST_MOMENT: Duration = Duration::from_secs(10);
/// Time between two heartbeats at least.
const QUICKEST: Duration = Duration::from_millis(500);
/// Time between two heartbeats of a worker that holds nothing.
const IDLE_HEARTBEAT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Time between two heartbeats, if that is no more than a third of each lease.
    pub heartbeat: Duration,
    /// Steps at once.
    pub max_concurrent: usize,
    /// How long running steps may take to finish after the worker was asked to stop.
    pub drain: Duration,
}

/// What the operator wants from the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    Work,
    /// Take no new steps, finish the running ones.
    Drain,
    /// Kill the running steps.
    Stop,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Asked,
    /// It was rejected or revoked, or its credential is unknown.
    NotAllowed,
}

pub struct Worker {
    queue: Arc<dyn Queue>,
    slots: Slots,
    settings: Settings,
    ended: watch::Sender<bool>,
    /// Whether an admin wants it to take no steps for now.
    draining: watch::Sender<bool>,
    /// Whether the control plane was told, or could not be told, what sandboxes this worker has.
    told: watch::Sender<bool>,
}

/// Why a worker reads no hint.
enum NoHint {
    /// It could not run the step. Others take the hint meanwhile.
    NotReady(String),
    Queue(QueueError),
}

/// What fills a slot.
#[derive(Clone)]
struct Slots {
    steps: StepRunner,
    leases: Leases,
}

impl Slots {
    async fn claim(&self, step: &ClaimStep) -> Result<(Claim, Lease), Error> {
        let asked = Instant::now();
        let claim = self.steps.control.claim(step).await?;
        let lease = self.leases.hold(&claim, asked);
        Ok((claim, lease))
    }

    /// Runs a step, and then those that wait for this worker, one after the other.
    async fn work_off(&self, claim: Claim, lease: Lease, wish: &watch::Receiver<Wish>) {
        let mut waiting: VecDeque<WaitingStep> = self.steps.run(claim, lease).await.into();
        while let Some(WaitingStep { run_id, step_id }) = waiting.pop_front() {
            let ready = self.steps.executor.ready().await;
            if *wish.borrow() != Wish::Work || ready.is_err() {
                return;
            }
            let step = ClaimStep {
                run_id,
                step_id,
                passed_on_until: None,
            };
            match self.claim(&step).await {
                Ok((claim, lease)) => waiting.extend(self.steps.run(claim, lease).await),
                Err(error) => {
                    tracing::info!(run_id = %step.run_id, step_id = %step.step_id, %error, "a step that waited here is not to be had");
                }
            }
        }
    }
}

impl Worker {
    #[must_use]
    pub fn new(
        control: Arc<dyn ControlPlane>,
        queue: Arc<dyn Queue>,
        executor: Arc<dyn Executor>,
        settings: Settings,
    ) -> Self {
        let slots = Slots {
            steps: StepRunner { control, executor },
            leases: Leases::default(),
        };
        Self {
            queue,
            slots,
            settings,
            ended: watch::Sender::new(false),
            draining: watch::Sender::new(false),
            told: watch::Sender::new(false),
        }
    }

    /// The leases that it holds, now and later.
    #[must_use]
    pub fn leases(&self) -> Leases {
        self.slots.leases.clone()
    }

    /// Works until it is asked to stop or no longer allowed to work. None of its steps runs when
    /// this returns.
    pub async fn run(self, wish: watch::Receiver<Wish>) -> End {
        let mut running = JoinSet::new();
        let mut ended = self.ended.subscribe();
        let end = tokio::select! {
            biased;
            () = self.heartbeats() => End::NotAllowed,
            _ = ended.wait_for(|ended| *ended) => End::NotAllowed,
            () = self.work_and_drain(&mut running, &wish) => End::Asked,
        };
        self.slots.leases.lose_all(if end == End::Asked {
            Loss::WorkerStops
        } else {
            Loss::WorkerEnded
        });
        let all_gone = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_MOMENT, all_gone).await.is_err() {
            tracing::warn!("some steps did not end in time");
        }
        // The rest is dropped here, which kills it.
        end
    }

    async fn work_and_drain(&self, running: &mut JoinSet<()>, wish: &watch::Receiver<Wish>) {
        self.work(running, wish).await;
        tracing::info!(held = self.slots.leases.all().len(), "taking no new steps");
        let finished = async { while running.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            () = asked(wish, Wish::Stop) => tracing::info!("stopping at once"),
            () = finished => tracing::info!("drained"),
            () = tokio::time::sleep(self.settings.drain) => tracing::warn!("the time to drain is over, killing the remaining steps"),
        }
    }

    /// Takes hints while a slot is free, until the worker is asked to drain or stop. It always
    /// waits for the answer to a claim: the answer may be a lease.
    async fn work(&self, running: &mut JoinSet<()>, wish: &watch::Receiver<Wish>) {
        let mut told = self.told.subscribe();
        tokio::select! {
            biased;
            () = asked(wish, Wish::Drain) => return,
            _ = told.wait_for(|told| *told) => {}
        }
        let slots = Arc::new(Semaphore::new(self.settings.max_concurrent.max(1)));
        let mut backoff = Backoff::default();
        loop {
            while running.try_join_next().is_some() {}
            let hint = tokio::select! {
                biased;
                () = asked(wish, Wish::Drain) => return,
                hint = self.hint(&slots) => hint,
            };
            let pause = match hint {
                Ok(hint) => {
                    backoff.worked();
                    match hint {
                        Some((message, slot)) => self.take(message, slot, running, wish).await,
                        None => None,
                    }
                }
                Err(NoHint::NotReady(reason)) => {
                    tracing::warn!(%reason, "can start no sandboxes, taking no steps until that changes");
                    Some(backoff.pause())
                }
                Err(NoHint::Queue(QueueError::Control(error))) => {
                    Some(self.pause_after(&error, &mut backoff))
                }
                Err(NoHint::Queue(error)) => {
                    tracing::warn!(%error, "cannot read the queue, retrying after a pause");
                    Some(backoff.pause())
                }
            };
            if let Some(pause) = pause {
                tokio::select! {
                    biased;
                    () = asked(wish, Wish::Drain) => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }

    async fn hint(
        &self,
        slots: &Arc<Semaphore>,
    ) -> Result<Option<(Message, OwnedSemaphorePermit)>, NoHint> {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            return Ok(None);
        };
        // The sender lives as long as this does.
        let mut draining = self.draining.subscribe();
        drop(draining.wait_for(|draining| !draining).await);
        let ready = self.slots.steps.executor.ready().await;
        ready.map_err(NoHint::NotReady)?;
        let message = self.queue.receive().await.map_err(NoHint::Queue)?;
        Ok(message.map(|message| (message, slot)))
    }

    /// Claims the step of a hint, and starts it if the claim is granted. Answers how long to wait
    /// before the next hint.
    async fn take(
        &self,
        message: Message,
        slot: OwnedSemaphorePermit,
        running: &mut JoinSet<()>,
        wish: &watch::Receiver<Wish>,
    ) -> Option<Duration> {
        let Ok(hint) = serde_json::from_str::<QueueMessage>(&message.body) else {
            tracing::warn!("deleted a malformed queue message");
            self.delete(&message).await;
            return None;
        };
        let QueueMessage {
            run_id,
            step_id,
            passed_on_until,
        } = hint;
        let step = ClaimStep {
            run_id,
            step_id: step_id.clone(),
            passed_on_until,
        };
        match self.slots.claim(&step).await {
            Ok((claim, lease)) => {
                let (slots, wish) = (self.slots.clone(), wish.clone());
                running.spawn(async move {
                    slots.work_off(claim, lease, &wish).await;
                    drop(slot);
                });
                self.delete(&message).await;
                None
            }
            Err(error) if settles_the_hint(&error) => {
                tracing::info!(%run_id, %step_id, %error, "claim refused, dropping the hint");
                self.delete(&message).await;
                let is_mismatch = error
                    .problem()
                    .is_some_and(|problem| problem.code == Code::StepMismatch);
                is_mismatch.then(|| between(PASSED_ON.0, PASSED_ON.1))
            }
            Err(error) => {
                tracing::info!(%run_id, %step_id, %error, "claim refused");
                let pause = self.pause_after(&error, &mut Backoff::default());
                self.release(&message).await;
                Some(pause)
            }
        }
    }

    /// Applies what an error says about this worker as a whole. Answers how long to wait before the
    /// next request.
    fn pause_after(&self, error: &Error, backoff: &mut Backoff) -> Duration {
        match standing(error) {
            Standing::Ended => {
                tracing::error!(%error, "this worker is no longer allowed to work");
                self.ended.send_replace(true);
                Duration::ZERO
            }
            Standing::Pending => {
                tracing::info!("waiting for an admin to approve this worker");
                between(Duration::from_secs(3), Duration::from_secs(6))
            }
            Standing::Draining => {
                self.drains(true);
                Duration::ZERO
            }
            Standing::Unchanged => {
                tracing::warn!(%error, "cannot claim, retrying after a pause");
                backoff.pause()
            }
        }
    }

    /// Notes whether an admin wants this worker to take no steps.
    fn drains(&self, draining: bool) {
        if self.draining.send_replace(draining) == draining {
            return;
        }
        match draining {
            true => {
                tracing::info!("an admin drains this worker: it takes no steps until it is resumed")
            }
            false => tracing::info!("an admin has resumed this worker"),
        }
    }

    async fn delete(&self, message: &Message) {
        if let Err(error) = self.queue.delete(message).await {
            // It is delivered again, and its claim is then refused.
            tracing::warn!(%error, "cannot delete a queue message");
        }
    }

    async fn release(&self, message: &Message) {
        let after = between(Duration::from_secs(1), Duration::from_secs(5));
        if let Err(error) = self.queue.release(message, after).await {
            tracing::warn!(%error, "cannot release a queue message; the queue delivers it again later");
        }
    }

    /// Renews all leases; without any, tells now and then that the worker is there. Returns when
    /// the worker is no longer allowed to work.
    async fn heartbeats(&self) {
        // The first one at once: until then, steps that ask for certain sandboxes pass this worker
        // by.
        let mut next = Instant::now();
        let mut last: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(next) => {}
                () = self.slots.leases.taken() => {
                    next = next.min(Instant::now() + self.interval());
                    continue;
                }
            }
            let interval = self.interval();
            // If one heartbeat hangs, there is time for another before the leases end.
            let patience = (interval / 2).max(Duration::from_secs(2));
            let mut pause = interval;
            let leases = self.slots.leases.all();
            let recently = last.is_some_and(|at| at.elapsed() < IDLE_HEARTBEAT);
            if leases.is_empty() && recently {
                next = Instant::now() + pause;
                continue;
            }
            let asked = Instant::now();
            last = Some(asked);
            let heartbeat = Heartbeat {
                leases,
                version: Some(Line::escaped(env!("CARGO_PKG_VERSION"))),
                sandboxes: Some(self.slots.steps.executor.sandboxes()),
                egress_denied: self.slots.leases.denials(),
            };
            let answer =
                tokio::time::timeout(patience, self.slots.steps.control.heartbeat(&heartbeat));
            let answer = answer.await;
            self.told.send_replace(true);
            match answer {
                Ok(Ok(answer)) => {
                    self.slots.leases.heard(asked, &answer.leases);
                    self.drains(answer.draining);
                    // One that waits for an admin goes on asking.
                    let may_work = [WorkerStatus::Approved, WorkerStatus::Pending];
                    if !may_work.contains(&answer.status) {
                        tracing::error!(status = ?answer.status, "this worker is no longer allowed to work");
                        return;
                    }
                }
                Ok(Err(error))
                    if error
                        .problem()
                        .is_some_and(|problem| matches!(problem.status, 401 | 403)) =>
                {
                    tracing::error!(%error, "heartbeat refused, killing all steps");
                    self.slots.leases.lose_all(Loss::WorkerEnded);
                    if standing(&error) == Standing::Ended {
                        return;
                    }
                }
                // The leases run out unless a later heartbeat gets through.
                Ok(Err(error)) => {
                    tracing::warn!(%error, "heartbeat failed");
                    pause = between(interval / 10, interval / 4);
                }
                Err(_) => {
                    tracing::warn!("heartbeat failed: no answer in time");
                    pause = Duration::ZERO;
                }
            }
            next = Instant::now() + pause;
        }
    }

    /// Time between two heartbeats: whatever is set, a third of the shortest lease at most.
    fn interval(&self) -> Duration {
        let set = self.settings.heartbeat;
        let shortest = self.slots.leases.shortest();
        shortest.map_or(set, |lasts| (lasts / 3).max(QUICKEST).min(set))
    }
}

/// Waits for the wish `least` or a stronger one. A closed channel counts as one.
async fn asked(wish: &watch::Receiver<Wish>, least: Wish) {
    let mut wish = wish.clone();
    drop(wish.wait_for(|wish| *wish >= least).await.map(|wish| *wish));
}
