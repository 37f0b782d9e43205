//! Pull workers as `sealfleet-worker` behaves: a lease is counted from the moment its request was
//! sent, a lost lease kills its sandbox, a start that is refused runs nothing. And, now and then, a
//! ghost of one that was thought dead.

use std::collections::BTreeSet;

use sealfleet_api::Code;
use sealfleet_api::types::{Claim as Granted, HeartbeatAnswer};
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::run::Fence;
use sealfleet_domain::{RunId, StepId};
use serde_json::{Value, json};

use crate::invariants::Claim;
use crate::onboarding::Registered;

/// How far a sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its secrets are resolved, nothing runs.
    Prepared,
    Running,
    /// Its command is over, with this code.
    Over(i32),
}

/// A claim that a worker holds, as far as it knows.
#[derive(Clone, Debug)]
pub struct Sandbox {
    pub claim: Claim,
    /// How far it is.
    pub phase: Phase,
    /// A request about it is on its way.
    pub busy: bool,
    /// When the worker kills it unless a heartbeat got through.
    pub deadline: i64,
    lasts: i64,
}

/// What a worker asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A step, because of a message.
    Claim {
        /// The message, if there is one to delete.
        message: Option<u64>,
    },
    Heartbeat,
    /// To let a command go.
    Start(Claim),
    /// To put an end on record.
    Report(Claim),
    /// Something of a claim that it had once.
    Ghost,
}

#[derive(Clone, Debug)]
pub struct Worker {
    pub registered: Registered,
    /// It was told that it is revoked.
    pub ended: bool,
    pub sandboxes: Vec<Sandbox>,
    /// What it held once.
    pub past: Vec<Claim>,
}

/// What an answer means to the world around a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// A command that was let go.
    pub let_go: Option<Claim>,
    /// Commands that are over.
    pub over: Vec<Claim>,
    /// A message that is dealt with.
    pub delete: Option<u64>,
    /// References that came with a claim.
    pub secrets: Option<(Claim, Vec<SecretRef>)>,
}

impl Worker {
    /// A worker that has just started.
    pub const fn new(registered: Registered) -> Self {
        Self {
            registered,
            ended: false,
            sandboxes: Vec::new(),
            past: Vec::new(),
        }
    }

    /// The header that it authenticates with.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.registered.credential)
    }

    /// Kills the sandboxes whose leases have run out.
    pub fn kill_overdue(&mut self, now: i64) -> Vec<Claim> {
        self.kill(|sandbox| sandbox.deadline <= now)
    }

    /// The process dies, and starts again with nothing.
    pub fn die(&mut self) -> Vec<Claim> {
        self.kill(|_| true)
    }

    fn kill(&mut self, which: impl Fn(&Sandbox) -> bool) -> Vec<Claim> {
        let (dead, alive): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sandboxes)
            .into_iter()
            .partition(which);
        self.sandboxes = alive;
        let dead: Vec<Claim> = dead.into_iter().map(|sandbox| sandbox.claim).collect();
        self.past.extend(dead.iter().cloned());
        dead
    }

    /// The sandbox of a claim.
    pub fn sandbox(&mut self, claim: &Claim) -> Option<&mut Sandbox> {
        self.sandboxes
            .iter_mut()
            .find(|sandbox| sandbox.claim == *claim)
    }

    /// The body of a heartbeat.
    pub fn heartbeat(&self) -> Value {
        json!({ "leases": self.sandboxes.iter().map(|sandbox| lease(&sandbox.claim)).collect::<Vec<_>>() })
    }

    /// Hears the answer to something that was asked at `asked`; `Err` has the code of what was
    /// refused for good.
    pub fn hear(&mut self, ask: &Ask, asked: i64, answer: Result<Value, Code>) -> Heard {
        match ask {
            Ask::Claim { message } => self.claimed(*message, asked, answer),
            Ask::Heartbeat => self.beaten(asked, answer),
            Ask::Start(claim) => self.started(claim, &answer),
            Ask::Report(claim) => self.reported(claim),
            Ask::Ghost => Heard::default(),
        }
    }

    /// No answer came: what was asked is asked again.
    pub fn hear_nothing(&mut self, ask: &Ask) {
        if let Ask::Start(claim) | Ask::Report(claim) = ask
            && let Some(sandbox) = self.sandbox(claim)
        {
            sandbox.busy = false;
        }
    }

    fn claimed(&mut self, message: Option<u64>, asked: i64, answer: Result<Value, Code>) -> Heard {
        let mut heard = Heard {
            delete: message,
            ..Heard::default()
        };
        let granted = match answer {
            // Another time there may be room.
            Err(Code::AtCapacity) => return Heard::default(),
            Err(_) => return heard,
            Ok(body) => serde_json::from_value::<Granted>(body),
        };
        let Ok(granted) = granted else { return heard };
        let claim = (granted.run_id, granted.step_id, granted.fence);
        heard.secrets = Some((claim.clone(), granted.secrets));
        // A step that it is given again: the older claim is not its own any more.
        heard.over = self.kill(|sandbox| sandbox.claim.0 == claim.0 && sandbox.claim.1 == claim.1);
        let lasts = granted.lease_seconds * 1000;
        self.sandboxes.push(Sandbox {
            claim,
            phase: Phase::Prepared,
            busy: false,
            deadline: asked + lasts,
            lasts,
        });
        heard
    }

    fn beaten(&mut self, asked: i64, answer: Result<Value, Code>) -> Heard {
        match answer {
            Err(Code::WorkerRevoked) => {
                self.ended = true;
                Heard {
                    over: self.die(),
                    ..Heard::default()
                }
            }
            Err(_) => Heard::default(),
            Ok(body) => {
                let Ok(told) = serde_json::from_value::<HeartbeatAnswer>(body) else {
                    return Heard::default();
                };
                let mut lost = BTreeSet::new();
                for verdict in told.leases {
                    let claim = (verdict.run_id, verdict.step_id, verdict.fence);
                    match self.sandbox(&claim) {
                        Some(sandbox) if verdict.held => {
                            sandbox.deadline = sandbox.deadline.max(asked + sandbox.lasts);
                        }
                        Some(_) => drop(lost.insert(claim)),
                        None => {}
                    }
                }
                Heard {
                    over: self.kill(|sandbox| lost.contains(&sandbox.claim)),
                    ..Heard::default()
                }
            }
        }
    }

    fn started(&mut self, claim: &Claim, answer: &Result<Value, Code>) -> Heard {
        if answer.is_err() {
            return Heard {
                over: self.kill(|sandbox| sandbox.claim == *claim),
                ..Heard::default()
            };
        }
        match self.sandbox(claim) {
            Some(sandbox) => {
                sandbox.phase = Phase::Running;
                sandbox.busy = false;
                Heard {
                    let_go: Some(claim.clone()),
                    ..Heard::default()
                }
            }
            None => Heard::default(),
        }
    }

    fn reported(&mut self, claim: &Claim) -> Heard {
        Heard {
            over: self.kill(|sandbox| sandbox.claim == *claim),
            ..Heard::default()
        }
    }
}

/// A claim as requests name it.
pub fn lease((run_id, step_id, fence): &(RunId, StepId, Fence)) -> Value {
    json!({ "run_id": run_id, "step_id": step_id, "fence": fence })
}

/// The same, as a sandbox asks for its step: with its project.
pub fn lease_of(project: &str, (run_id, step_id, fence): &(RunId, StepId, Fence)) -> Value {
    json!({ "project": project, "run_id": run_id, "step_id": step_id, "fence": fence })
}

/// The body of a start.
pub fn start(claim: &Claim) -> Value {
    let (run_id, step_id, fence) = claim;
    json!({ "run_id": run_id, "step_id": step_id, "fence": fence, "sandbox": "s", "resolved": {} })
}

/// The body of a report.
pub fn report(claim: &Claim, code: i32) -> Value {
    let (run_id, step_id, fence) = claim;
    let mut body =
        json!({ "run_id": run_id, "step_id": step_id, "fence": fence, "state": "succeeded" });
    if code != 0
        && let Some(body) = body.as_object_mut()
    {
        body.insert("state".to_owned(), json!("failed"));
        body.insert(
            "failure".to_owned(),
            json!({ "kind": "exit", "code": code }),
        );
    }
    body
}
