//! Where the load is put on: the handlers in this process, or the local stack.

use std::fmt::Write as _;
use std::future::Future;

use sealfleet_domain::Timestamp;
use sealfleet_test_stack::{Failure, Outcome};
use serde_json::Value;

/// The pull pool of every project.
pub const POOL: &str = "workers";

/// An answer of the API, as it came.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub text: String,
    /// Null when it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The body, if the request was carried out.
    pub fn accepted(self, what: &str) -> Outcome<Value> {
        if self.status < 300 {
            Ok(self.body)
        } else {
            let (status, text) = (self.status, self.text);
            Err(Failure::new(format!("{what}: {status} {text}")))
        }
    }

    /// The problem's code; empty where there is none.
    #[must_use]
    pub fn code(&self) -> &str {
        let code = self.body.get("code").and_then(Value::as_str);
        code.unwrap_or_default()
    }
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a [(&'a str, String)],
    /// Empty where there is none.
    pub idempotency_key: &'a str,
    /// Null where there is none.
    pub body: &'a Value,
}

impl<'a> Asked<'a> {
    #[must_use]
    pub const fn post(path: &'a str, body: &'a Value) -> Self {
        Self {
            method: "POST",
            path,
            query: &[],
            idempotency_key: "",
            body,
        }
    }

    #[must_use]
    pub const fn get(path: &'a str, query: &'a [(&'a str, String)]) -> Self {
        Self {
            method: "GET",
            path,
            query,
            idempotency_key: "",
            body: &Value::Null,
        }
    }

    /// The path with its query.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = self.path.to_owned();
        for (number, (name, value)) in self.query.iter().enumerate() {
            let joint = if number == 0 { '?' } else { '&' };
            let _ = write!(target, "{joint}{name}={value}");
        }
        target
    }
}

/// A message of a queue.
#[derive(Clone, Debug)]
pub struct Message {
    pub run: String,
    pub step: String,
    /// What deletes it.
    pub receipt: String,
}

/// A registered worker.
#[derive(Clone, Debug)]
pub struct Worker {
    pub number: usize,
    pub project: String,
    pub credential: String,
}

/// What the load needs of a control plane.
pub trait World {
    /// What the ids of its projects begin with; three digits follow.
    fn prefix(&self) -> &str;
    /// Its clock.
    fn now(&self) -> Timestamp;
    /// The credential of an operator.
    fn operator(&self) -> &str;
    /// The reciprocal of how fast callers and workers are: 1 is slow, and fit for virtual time.
    fn haste(&self) -> u64;
    /// Makes what a project needs beside its rows, such as its queues.
    fn deploy(&self, project: &str) -> impl Future<Output = Outcome>;
    fn ask(&self, credential: &str, asked: Asked<'_>) -> impl Future<Output = Outcome<Answer>>;
    /// Takes messages of the worker's queue, if there are any.
    fn receive(&self, worker: &Worker, most: usize) -> impl Future<Output = Outcome<Vec<Message>>>;
    fn delete(&self, worker: &Worker, message: &Message) -> impl Future<Output = Outcome>;
    /// What the world itself has noticed since it was asked last.
    fn noticed(&self) -> Vec<Noticed>;
}

/// What a world sees that nobody is told.
#[derive(Clone, Debug)]
pub enum Noticed {
    /// It lost a message.
    Swallowed {
        run: String,
        step: String,
        at: Timestamp,
    },
    /// A message came that is about the same step as one that it lost.
    CameAgain {
        run: String,
        step: String,
        at: Timestamp,
    },
    /// An entry of a run was written.
    Decided { run: String, event_id: String },
    /// Something is due after a sweep.
    StillDue {
        what: String,
        /// Whether it is a run without a lease: its messages are to be sent again.
        waits: bool,
        since: Timestamp,
        now: Timestamp,
    },
}
