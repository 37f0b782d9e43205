//! The turns of callers: they enqueue, approve, cancel and retry, change profiles and what is
//! bound, rotate secrets, revoke and lift. Operators do what is theirs, and now and then somebody
//! asks for what is another project's.

use aws_lambda_events::http::Method;
use sealfleet_api::http::Request;
use sealfleet_domain::run::StepState;
use sealfleet_domain::{RunId, StepId};
use sealfleet_ledger::store::{Key, Table};
use serde_json::{Value, json};

use crate::director::{AnswerTo, Director};
use crate::handlers::{Invoke, request};
use crate::invariants::Claim;
use crate::memory::number;
use crate::onboarding::{Caller, secret_of};
use crate::requests::{self, SYSTEM_PROFILE, SYSTEM_SECRET};
use crate::workers;

impl Director {
    pub(crate) fn caller_acts(&mut self) {
        let (at, who, choice, revokes, decides) = {
            let mut world = self.stage.lock();
            (
                world.random.position(self.projects.len()),
                world.random.below(1000),
                world.random.below(10),
                world.random.chance(self.temper.revoking),
                world.random.chance(250),
            )
        };
        match choice {
            _ if self.enqueued == 0 => self.enqueue(at),
            _ if who < self.temper.trespassing => self.trespass(),
            _ if decides && self.decide(at) => {}
            0..=3 if who >= 900 => self.operator_acts(revokes),
            0..=5 if revokes => self.revoke(at),
            6 | 7 if revokes => self.lift(&self.admin(at)),
            0..=4 if self.enqueued < self.temper.runs => self.enqueue(at),
            5 => self.cancel(at),
            6 | 7 => self.retry(at),
            8 | 9 => self.change_something(at),
            _ => {}
        }
    }

    fn operator_acts(&mut self, revokes: bool) {
        let (choice, number) = {
            let mut world = self.stage.lock();
            (world.random.below(10), world.random.below(4))
        };
        let operator = self.operator.clone();
        match choice {
            0..=4 if revokes => {
                let body = requests::system_revocation(&mut self.stage.lock().random);
                self.post(&operator, "/v1/revocations", &body);
            }
            5 | 6 => self.lift(&operator),
            7 => self.rotate(SYSTEM_SECRET),
            _ => {
                let body = requests::system_profile(number, number == 3);
                self.put_profile(&operator, "~system#PROFILES", SYSTEM_PROFILE, &body);
            }
        }
    }

    fn admin(&self, at: usize) -> Caller {
        let admin = self.projects.get(at).map(|project| project.admin.clone());
        admin.unwrap_or_else(|| self.operator.clone())
    }

    fn name(&self, at: usize) -> &'static str {
        self.projects.get(at).map_or("", |project| project.name)
    }

    pub(crate) fn enqueue(&mut self, at: usize) {
        let body = requests::run(&mut self.stage.lock().random, self.name(at));
        // Projects use the same keys for their own runs.
        let projects = u64::try_from(self.projects.len()).unwrap_or(1);
        let key = format!("key-{}", self.enqueued / projects);
        self.enqueued += 1;
        let admin = self.admin(at);
        let headers = [
            ("authorization", admin.bearer.as_str()),
            ("idempotency-key", key.as_str()),
        ];
        let request = request(Method::POST, "/v1/runs", &headers, Some(&body));
        // An impatient caller sends it twice.
        if self.stage.lock().random.chance(self.temper.doubling) {
            self.call(&admin, request.clone());
        }
        self.call(&admin, request);
    }

    fn cancel(&mut self, at: usize) {
        let Some((run_id, _)) = self.some_run(self.name(at)) else {
            return;
        };
        self.post(
            &self.admin(at),
            &format!("/v1/runs/{run_id}/cancel"),
            &json!({}),
        );
    }

    /// Somebody looks at a step that waits for approval, if one does: mostly another than who
    /// enqueued it. What they do follows when they see it.
    fn decide(&mut self, at: usize) -> bool {
        let project = self.name(at);
        let (step, own) = {
            let mut world = self.stage.lock();
            let runs = world.judge.runs_of(project);
            let steps = runs.flat_map(|run| run.steps.iter().map(|step| (run.run_id, step)));
            let waiting =
                steps.filter(|(_, (_, step))| matches!(step.state, StepState::Waiting { .. }));
            let waiting: Vec<(RunId, StepId)> = waiting
                .map(|(run_id, (id, _))| (run_id, id.clone()))
                .collect();
            (
                world.random.pick(&waiting).cloned(),
                world.random.chance(150),
            )
        };
        let (Some((run_id, step_id)), Some(project)) = (step, self.projects.get(at)) else {
            return false;
        };
        let caller = if own {
            &project.admin
        } else {
            &project.approver
        };
        let (caller, approval) = (caller.clone(), format!("step:{run_id}:{step_id}"));
        let path = format!("/v1/approvals/{approval}");
        let headers = [("authorization", caller.bearer.as_str())];
        if let Ok(request) = request(Method::GET, &path, &headers, None) {
            let answer_to = AnswerTo::Approver { caller, approval };
            self.begin(Invoke::Http(request), None, answer_to);
        }
        true
    }

    /// Somebody has seen what waits, and approves it, or denies.
    pub(crate) fn has_seen(&mut self, caller: &Caller, approval: &str, seen: &Value) {
        let denies = self.stage.lock().random.chance(200);
        let body = match seen.get("review_token") {
            None => return,
            Some(_) if denies => json!({ "decision": "deny", "reason": "no" }),
            Some(token) => json!({ "decision": "approve", "review_token": token }),
        };
        self.post(caller, &format!("/v1/approvals/{approval}/decision"), &body);
    }

    /// A dead step is put back; now and then somebody tries that with another one.
    fn retry(&mut self, at: usize) {
        let project = self.name(at);
        let step = {
            let mut world = self.stage.lock();
            let any = world.random.chance(100);
            let runs = world.judge.runs_of(project);
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
                &self.admin(at),
                &format!("/v1/runs/{run_id}/steps/{step_id}/retry"),
                &json!({}),
            );
        }
    }

    fn change_something(&mut self, at: usize) {
        let choice = self.stage.lock().random.below(20);
        match choice {
            0..=8 => self.rotate(&secret_of(self.name(at))),
            9..=17 => self.change_profile(at),
            18 => self.bind(at),
            _ => self.revoke_worker(at),
        }
    }

    fn rotate(&self, secret: &str) {
        let mut world = self.stage.lock();
        *world.secrets.entry(secret.to_owned()).or_insert(1) += 1;
        world.note(|| format!("the secret {secret} is rotated"));
    }

    fn change_profile(&mut self, at: usize) {
        let project = self.name(at);
        let (name, body) = requests::profile(&mut self.stage.lock().random, project);
        let partition = format!("PRJ#{project}#PROFILES");
        self.put_profile(&self.admin(at), &partition, name, &body);
    }

    /// Writes a profile anew, over the version that is there.
    fn put_profile(&mut self, caller: &Caller, partition: &str, name: &str, body: &Value) {
        let key = Key {
            pk: partition.to_owned(),
            sk: name.to_owned(),
        };
        let row = self.stage.lock().tables.get(Table::Ledger, &key);
        let version = row.and_then(|item| number(&item, "version"));
        let version = format!("\"{}\"", version.unwrap_or_default());
        let headers = [
            ("authorization", caller.bearer.as_str()),
            ("if-match", version.as_str()),
        ];
        let path = format!("/v1/profiles/{name}");
        let request = request(Method::PUT, &path, &headers, Some(body));
        self.call(caller, request);
    }

    /// Binds the operators' profile to a project, or takes it out of its cascades.
    fn bind(&mut self, at: usize) {
        let admin = self.admin(at);
        let bindings = requests::bindings(self.stage.lock().random.chance(700));
        let headers = [("authorization", admin.bearer.as_str())];
        let request = request(Method::PUT, "/v1/cascade", &headers, Some(&bindings));
        self.call(&admin, request);
    }

    /// Mostly while there is something to take away: too early, and nothing ever starts.
    fn revoke(&mut self, at: usize) {
        let pointless = {
            let mut world = self.stage.lock();
            let eager = world.random.chance(50);
            !eager && !world.judge.holds_secrets()
        };
        if pointless {
            return;
        }
        let body = requests::revocation(&mut self.stage.lock().random);
        self.post(&self.admin(at), "/v1/revocations", &body);
    }

    fn lift(&mut self, caller: &Caller) {
        let id = {
            let mut world = self.stage.lock();
            let active = world.judge.revocations().active(caller.home);
            world.random.pick(&active).copied()
        };
        if let Some(id) = id {
            self.post(caller, &format!("/v1/revocations/{id}/lift"), &json!({}));
        }
    }

    fn revoke_worker(&mut self, at: usize) {
        let project = self.name(at);
        let workers: Vec<String> = self
            .workers
            .iter()
            .filter(|worker| worker.registered.project == project)
            .map(|worker| worker.registered.worker_id.clone())
            .collect();
        let worker = self.stage.lock().random.pick(&workers).cloned();
        if let Some(worker) = worker {
            self.post(
                &self.admin(at),
                &format!("/v1/workers/{worker}/revoke"),
                &json!({}),
            );
        }
    }

    /// Somebody of one project asks for what is another's, with a credential of their own.
    fn trespass(&mut self) {
        let (owner, choice) = {
            let mut world = self.stage.lock();
            (
                world.random.position(self.projects.len()),
                world.random.below(6),
            )
        };
        let intruder = (owner + 1) % self.projects.len();
        let Some(claim) = self.some_claim(self.name(owner)) else {
            return;
        };
        let (run_id, step_id, _) = &claim;
        let (method, path, body) = match choice {
            0 => (Method::GET, format!("/v1/runs/{run_id}"), None),
            1 => (
                Method::POST,
                format!("/v1/runs/{run_id}/cancel"),
                Some(json!({})),
            ),
            2 => (
                Method::POST,
                format!("/v1/runs/{run_id}/steps/{step_id}/retry"),
                Some(json!({})),
            ),
            3 => {
                let body = json!({ "run_id": run_id, "step_id": step_id });
                (Method::POST, "/v1/claims".to_owned(), Some(body))
            }
            4 => (
                Method::POST,
                "/v1/starts".to_owned(),
                Some(workers::start(&claim)),
            ),
            _ => (
                Method::POST,
                "/v1/reports".to_owned(),
                Some(workers::report(&claim, 0)),
            ),
        };
        let intruder = self.name(intruder);
        let bearer = if choice < 3 {
            let own = self
                .projects
                .iter()
                .find(|project| project.name == intruder);
            own.map(|project| project.admin.bearer.clone())
        } else {
            let own = self
                .workers
                .iter()
                .find(|worker| worker.registered.project == intruder);
            own.map(|worker| worker.bearer())
        };
        let bearer = bearer.unwrap_or_default();
        let headers = [("authorization", bearer.as_str())];
        if let Ok(request) = request(method, &path, &headers, body.as_ref()) {
            let answer_to = AnswerTo::Trespasser { home: intruder };
            self.begin(Invoke::Http(request), None, answer_to);
        }
    }

    fn some_claim(&self, project: &str) -> Option<Claim> {
        let (run_id, steps) = self.some_run(project)?;
        let mut world = self.stage.lock();
        let step_id = world.random.pick(&steps)?.clone();
        let fence = world.judge.runs().get(&run_id)?.steps.get(&step_id)?.fence;
        Some((run_id, step_id, fence))
    }

    pub(crate) fn some_run(&self, project: &str) -> Option<(RunId, Vec<StepId>)> {
        let mut world = self.stage.lock();
        let runs: Vec<RunId> = world.judge.runs_of(project).map(|run| run.run_id).collect();
        let run_id = *world.random.pick(&runs)?;
        let run = world.judge.runs().get(&run_id)?;
        Some((run_id, run.steps.keys().cloned().collect()))
    }

    fn post(&mut self, caller: &Caller, path: &str, body: &Value) {
        let headers = [("authorization", caller.bearer.as_str())];
        let request = request(Method::POST, path, &headers, Some(body));
        self.call(caller, request);
    }

    fn call(&mut self, caller: &Caller, request: Result<Request, String>) {
        let Ok(request) = request else { return };
        let answer_to = AnswerTo::Caller {
            request: Box::new(request.clone()),
            home: caller.home,
        };
        self.begin(Invoke::Http(request), None, answer_to);
    }
}
