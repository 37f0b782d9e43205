//! The turns of pull workers: they claim, beat, start and report, and now and then a ghost of one
//! speaks.

use aws_lambda_events::http::Method;
use sealfleet_api::Code;
use serde_json::{Value, json};

use crate::director::{AnswerTo, Director, named};
use crate::fargate::receive;
use crate::handlers::{Invoke, request};
use crate::invariants::Claim;
use crate::stage::{Subject, World};
use crate::workers::{self, Ask, Heard, Phase};

impl Director {
    pub(crate) fn worker_acts(&mut self) {
        let at = self.stage.lock().random.position(self.workers.len());
        let Some(worker) = self.workers.get_mut(at) else {
            return;
        };
        let mut world = self.stage.lock();
        if world.random.chance(self.temper.worker_dying) {
            for claim in worker.die() {
                world.judge.over(&claim);
            }
            world.note(|| format!("worker {at} dies"));
            return;
        }
        drop(world);
        if worker.ended {
            return;
        }
        let choice = self.stage.lock().random.below(10);
        match choice {
            0..=2 => self.worker_claims(at),
            3 | 4 => self.worker_beats(at),
            5 => self.ghost_speaks(at),
            _ => self.worker_works(at),
        }
    }

    pub(crate) fn worker_claims(&mut self, at: usize) {
        let Some(worker) = self.workers.get(at) else {
            return;
        };
        let own = worker.registered.project;
        let mut projects = self.projects.iter();
        let Some(project) = projects.find(|project| project.name == own) else {
            return;
        };
        let hint = {
            let mut world = self.stage.lock();
            let now = world.time;
            let visible = world.queues.visible(&project.pull, now);
            let id = world.random.pick(&visible).copied();
            id.and_then(|id| receive(&mut world, &self.temper, id))
                .and_then(|message| {
                    let hint = message.hint()?;
                    Some((hint.run_id, hint.step_id, Some(message.id)))
                })
        };
        // A message that was kept too long is a hint as well.
        let stale = self.stage.lock().random.chance(150);
        let hint = match hint {
            None if stale => self.some_run(own).and_then(|(run_id, steps)| {
                let step_id = self.stage.lock().random.pick(&steps).cloned()?;
                Some((run_id, step_id, None))
            }),
            hint => hint,
        };
        if let Some((run_id, step_id, message)) = hint {
            let body = json!({ "run_id": run_id, "step_id": step_id });
            self.worker_asks(at, "/v1/claims", &body, None, Ask::Claim { message });
        }
    }

    pub(crate) fn worker_beats(&mut self, at: usize) {
        let idle = self.stage.lock().random.chance(950);
        let Some(worker) = self.workers.get(at) else {
            return;
        };
        if idle && worker.sandboxes.is_empty() {
            return;
        }
        let body = worker.heartbeat();
        self.worker_asks(at, "/v1/heartbeats", &body, None, Ask::Heartbeat);
    }

    /// Goes on with one of its sandboxes.
    pub(crate) fn worker_works(&mut self, at: usize) {
        let (claim, phase) = {
            let mut world = self.stage.lock();
            let Some(worker) = self.workers.get_mut(at) else {
                return;
            };
            let free: Vec<Claim> = worker
                .sandboxes
                .iter()
                .filter(|sandbox| !sandbox.busy)
                .map(|sandbox| sandbox.claim.clone())
                .collect();
            let Some(claim) = world.random.pick(&free).cloned() else {
                return;
            };
            let Some(sandbox) = worker.sandbox(&claim) else {
                return;
            };
            if sandbox.phase == Phase::Running {
                let code = if world.random.chance(800) { 0 } else { 1 };
                sandbox.phase = Phase::Over(code);
                world.note(|| {
                    format!(
                        "worker {at}: the command of {} exits with {code}",
                        named(&claim)
                    )
                });
                world.judge.over(&claim);
            }
            sandbox.busy = true;
            (claim, sandbox.phase)
        };
        match phase {
            Phase::Over(code) => self.worker_reports(at, &claim, code, Ask::Report(claim.clone())),
            Phase::Prepared | Phase::Running => {
                self.worker_starts(at, &claim, Ask::Start(claim.clone()))
            }
        }
    }

    /// Says something about a claim that is over.
    pub(crate) fn ghost_speaks(&mut self, at: usize) {
        let Some(worker) = self.workers.get(at) else {
            return;
        };
        let (claim, starts) = {
            let mut world = self.stage.lock();
            let Some(claim) = world.random.pick(&worker.past).cloned() else {
                return;
            };
            (claim, world.random.chance(500))
        };
        if starts {
            self.worker_starts(at, &claim, Ask::Ghost);
        } else {
            self.worker_reports(at, &claim, 0, Ask::Ghost);
        }
    }

    pub(crate) fn worker_starts(&mut self, at: usize, claim: &Claim, ask: Ask) {
        self.worker_asks(at, "/v1/starts", &workers::start(claim), Some(claim), ask);
    }

    pub(crate) fn worker_reports(&mut self, at: usize, claim: &Claim, code: i32, ask: Ask) {
        self.worker_asks(
            at,
            "/v1/reports",
            &workers::report(claim, code),
            Some(claim),
            ask,
        );
    }

    pub(crate) fn worker_asks(
        &mut self,
        at: usize,
        path: &str,
        body: &Value,
        claim: Option<&Claim>,
        ask: Ask,
    ) {
        let Some(worker) = self.workers.get(at) else {
            return;
        };
        let bearer = worker.bearer();
        let Ok(request) = request(
            Method::POST,
            path,
            &[("authorization", &bearer)],
            Some(body),
        ) else {
            return;
        };
        let subject = claim.cloned().map(|(run_id, step_id, fence)| Subject {
            run_id,
            step_id,
            fence,
        });
        let asked = self.stage.lock().time;
        self.begin(
            Invoke::Http(request),
            subject,
            AnswerTo::Worker {
                worker: at,
                ask,
                asked,
            },
        );
    }

    pub(crate) fn worker_hears(
        &mut self,
        at: usize,
        ask: &Ask,
        asked: i64,
        answer: Result<Value, Code>,
    ) {
        let Some(worker) = self.workers.get_mut(at) else {
            return;
        };
        let heard = match answer {
            Err(code) if code.status() >= 500 => {
                self.unanswered(AnswerTo::Worker {
                    worker: at,
                    ask: ask.clone(),
                    asked,
                });
                return;
            }
            answer => worker.hear(ask, asked, answer),
        };
        hears(&mut self.stage.lock(), heard);
        self.leases_run_out();
    }
}

/// What an answer to a worker changes around it.
pub fn hears(world: &mut World, heard: Heard) {
    for claim in heard.over {
        world.judge.over(&claim);
    }
    if let Some((claim, secrets)) = heard.secrets {
        world.judge.answered(&claim, &secrets);
    }
    if let Some(claim) = heard.let_go {
        world.note(|| format!("the command of {} is let go by its worker", named(&claim)));
        world.judge.let_go(&claim);
    }
    if let Some(id) = heard.delete {
        world.queues.delete(id);
    }
}
