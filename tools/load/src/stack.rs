//! The local stack: the API over HTTP, the workers' own queues, and the emulator's schedule.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sealfleet_domain::{Clock as _, Timestamp};
use sealfleet_system::SystemClock;
use sealfleet_test_stack::worker::{Message as Received, QueueKeys};
use sealfleet_test_stack::{Caller, Failure, Outcome, Stack, Worker as Played, unique};

use crate::world::{Answer, Asked, Message, Noticed, POOL, Worker, World};

/// How much faster callers and workers are than in virtual time.
const HASTE: u64 = 10;
/// Seconds for which a message is hidden once it was delivered.
const HIDDEN: u32 = 60;
/// A worker's keys to its queue hold for a quarter of an hour.
const RENEWED: Duration = Duration::from_secs(600);

pub struct OnStack {
    stack: Stack,
    prefix: String,
    callers: RefCell<HashMap<String, Caller>>,
    queues: RefCell<HashMap<usize, (Instant, Rc<QueueKeys>)>>,
}

impl OnStack {
    #[must_use]
    pub fn new(stack: Stack) -> Self {
        Self {
            stack,
            prefix: format!("t{}-", unique()),
            callers: RefCell::default(),
            queues: RefCell::default(),
        }
    }

    fn caller(&self, credential: &str) -> Outcome<Caller> {
        let mut callers = self.callers.borrow_mut();
        if let Some(caller) = callers.get(credential) {
            return Ok(caller.clone());
        }
        let caller = self.stack.anonymous.with(credential)?;
        callers.insert(credential.to_owned(), caller.clone());
        Ok(caller)
    }

    async fn queue(&self, worker: &Worker) -> Outcome<Rc<QueueKeys>> {
        let known = self.queues.borrow().get(&worker.number).cloned();
        if let Some((_, keys)) = known.filter(|(since, _)| since.elapsed() < RENEWED) {
            return Ok(keys);
        }
        let played = Played {
            id: worker.number.to_string(),
            caller: self.caller(&worker.credential)?,
        };
        let keys = Rc::new(played.queue_keys().await?);
        let new = (Instant::now(), Rc::clone(&keys));
        self.queues.borrow_mut().insert(worker.number, new);
        Ok(keys)
    }
}

impl World for OnStack {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn operator(&self) -> &str {
        self.stack.operator.credential()
    }

    fn haste(&self) -> u64 {
        HASTE
    }

    async fn deploy(&self, project: &str) -> Outcome {
        let deploy = [
            "project",
            project,
            "--pull-pool",
            POOL,
            "--fargate-pool",
            "",
        ];
        self.stack.local(&deploy).await.map(drop)
    }

    async fn ask(&self, credential: &str, asked: Asked<'_>) -> Outcome<Answer> {
        let caller = self.caller(credential)?;
        let target = asked.target();
        let reply = match (asked.method, asked.idempotency_key) {
            ("GET", _) => caller.get(&target).await?,
            ("POST", "") if asked.body.is_null() => {
                caller.post_bytes(&target, Vec::new(), &[]).await?
            }
            ("POST", "") => caller.post(&target, asked.body).await?,
            ("POST", key) => caller.post_once(&target, key, asked.body).await?,
            (other, _) => return Err(Failure::new(format!("no {other} is sent here"))),
        };
        Ok(Answer {
            status: reply.status,
            text: String::from_utf8_lossy(&reply.bytes).into_owned(),
            body: reply.body,
        })
    }

    async fn receive(&self, worker: &Worker, most: usize) -> Outcome<Vec<Message>> {
        let queue = self.queue(worker).await?;
        let received = queue.receive_up_to(&self.stack.aws, most, HIDDEN).await?;
        let message = |received: Received| Message {
            run: received.run,
            step: received.step,
            receipt: received.receipt,
        };
        Ok(received.into_iter().map(message).collect())
    }

    async fn delete(&self, worker: &Worker, message: &Message) -> Outcome {
        let queue = self.queue(worker).await?;
        let received = Received {
            run: message.run.clone(),
            step: message.step.clone(),
            receipt: message.receipt.clone(),
        };
        queue.delete(&self.stack.aws, &received).await
    }

    fn noticed(&self) -> Vec<Noticed> {
        Vec::new()
    }
}
