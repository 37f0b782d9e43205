//! The turns of callers: they enqueue, cancel and retry, change profiles, rotate secrets, revoke
//! and lift.

use aws_lambda_events::http::Method;
use sealfleet_api::http::Request;
use sealfleet_domain::run::StepState;
use sealfleet_domain::{RunId, StepId};
use sealfleet_ledger::store::{Key, Table};
use serde_json::{Value, json};

use crate::director::{AnswerTo, Director};
use crate::handlers::{Invoke, request};
use crate::memory::number;
use crate::onboarding::{PROJECT, SECRET};
use crate::requests;

impl Director {
    pub(crate) fn caller_acts(&mut self) {
        let (choice, revokes) = {
            let mut world = self.stage.lock();
            (
                world.random.below(10),
                world.random.chance(self.temper.revoking),
            )
        };
        match choice {
            _ if self.enqueued == 0 => self.enqueue(),
            0..=5 if revokes => self.revoke(),
            6 | 7 if revokes => self.lift(),
            0..=4 if self.enqueued < self.temper.runs => self.enqueue(),
            5 => self.cancel(),
            6 | 7 => self.retry(),
            8 | 9 => self.change_something(),
            _ => {}
        }
    }

    pub(crate) fn enqueue(&mut self) {
        self.enqueued += 1;
        let body = requests::run(&mut self.stage.lock().random);
        let key = format!("key-{}", self.enqueued);
        let headers = [
            ("authorization", self.token.as_str()),
            ("idempotency-key", key.as_str()),
        ];
        let request = request(Method::POST, "/v1/runs", &headers, Some(&body));
        // An impatient caller sends it twice.
        if self.stage.lock().random.chance(self.temper.doubling) {
            self.call(request.clone());
        }
        self.call(request);
    }

    pub(crate) fn cancel(&mut self) {
        let Some((run_id, _)) = self.some_run() else {
            return;
        };
        self.post(&format!("/v1/runs/{run_id}/cancel"), &json!({}));
    }

    /// A dead step is put back; now and then somebody tries that with another one.
    pub(crate) fn retry(&mut self) {
        let step = {
            let mut world = self.stage.lock();
            let any = world.random.chance(100);
            let runs = world.judge.runs().values();
            let steps = runs.flat_map(|run| {
                run.steps
                    .iter()
                    .map(|(id, step)| (run.run_id, id.clone(), &step.state))
            });
            let fitting =
                steps.filter(|(_, _, state)| any || matches!(state, StepState::Dead { .. }));
            let fitting: Vec<(RunId, StepId)> = fitting
                .map(|(run_id, step_id, _)| (run_id, step_id))
                .collect();
            world.random.pick(&fitting).cloned()
        };
        if let Some((run_id, step_id)) = step {
            self.post(
                &format!("/v1/runs/{run_id}/steps/{step_id}/retry"),
                &json!({}),
            );
        }
    }

    pub(crate) fn change_something(&mut self) {
        let choice = self.stage.lock().random.below(20);
        match choice {
            0..=9 => self.rotate(),
            10..=18 => self.change_profile(),
            _ => self.revoke_worker(),
        }
    }

    pub(crate) fn rotate(&self) {
        let mut world = self.stage.lock();
        *world.secrets.entry(SECRET.to_owned()).or_insert(1) += 1;
        world.note(|| format!("the secret {SECRET} is rotated"));
    }

    /// Writes a profile anew, over the version that is there.
    pub(crate) fn change_profile(&mut self) {
        let (name, body, version) = {
            let mut world = self.stage.lock();
            let (name, body) = requests::profile(&mut world.random);
            let key = Key {
                pk: format!("PRJ#{PROJECT}#PROFILES"),
                sk: name.to_owned(),
            };
            let version = world
                .tables
                .get(Table::Ledger, &key)
                .and_then(|item| number(&item, "version"));
            (name, body, version.unwrap_or_default())
        };
        let version = format!("\"{version}\"");
        let headers = [
            ("authorization", self.token.as_str()),
            ("if-match", version.as_str()),
        ];
        let request = request(
            Method::PUT,
            &format!("/v1/profiles/{name}"),
            &headers,
            Some(&body),
        );
        self.call(request);
    }

    /// Mostly while there is something to take away: too early, and nothing ever starts.
    pub(crate) fn revoke(&mut self) {
        let pointless = {
            let mut world = self.stage.lock();
            let eager = world.random.chance(50);
            !eager && !world.judge.holds_secrets()
        };
        if pointless {
            return;
        }
        let body = requests::revocation(&mut self.stage.lock().random);
        self.post("/v1/revocations", &body);
    }

    pub(crate) fn lift(&mut self) {
        let id = {
            let mut world = self.stage.lock();
            let active = world.judge.revocations().active();
            world.random.pick(&active).copied()
        };
        if let Some(id) = id {
            self.post(&format!("/v1/revocations/{id}/lift"), &json!({}));
        }
    }

    pub(crate) fn revoke_worker(&mut self) {
        let workers: Vec<String> = self
            .workers
            .iter()
            .map(|worker| worker.registered.worker_id.clone())
            .collect();
        let worker = self.stage.lock().random.pick(&workers).cloned();
        if let Some(worker) = worker {
            self.post(&format!("/v1/workers/{worker}/revoke"), &json!({}));
        }
    }

    pub(crate) fn some_run(&self) -> Option<(RunId, Vec<StepId>)> {
        let mut world = self.stage.lock();
        let runs: Vec<RunId> = world.judge.runs().keys().copied().collect();
        let run_id = *world.random.pick(&runs)?;
        let run = world.judge.runs().get(&run_id)?;
        Some((run_id, run.steps.keys().cloned().collect()))
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) {
        let request = request(
            Method::POST,
            path,
            &[("authorization", self.token.as_str())],
            Some(body),
        );
        self.call(request);
    }

    pub(crate) fn call(&mut self, request: Result<Request, String>) {
        let Ok(request) = request else { return };
        let answer_to = AnswerTo::Caller {
            request: Box::new(request.clone()),
        };
        self.begin(Invoke::Http(request), None, answer_to);
    }
}
