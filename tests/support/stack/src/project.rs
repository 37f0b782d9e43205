//! A project with tokens of every role, and what its callers do.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sealfleet_client::types::{RunSummary, RunView, StepView, WorkerRegistered};
use sealfleet_client::{AuditQuery, all_pages};
use sealfleet_domain::access::Role;
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::run::RunState;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::api::typed;
use crate::aws::Service;
use crate::identity::{Stored, secrets};
use crate::worker::BuiltinStore;
use crate::{
    Caller, Failure, Outcome, Reply, Stack, Worker, WorkerProcess, ensure, ensure_eq, eventually,
};

/// The pull pool of every project.
pub const PULL: &str = "workers";
/// The Fargate pool of every project.
pub const FARGATE: &str = "fargate";

/// How long entries of runs may take to arrive in the trail.
const ARRIVES: Duration = Duration::from_secs(60);
/// Runs whose entries must have arrived.
const NEWEST: usize = 20;

/// A project of one test or of several.
pub struct Project {
    pub id: String,
    /// An admin of it.
    pub admin: Caller,
    /// A member of it.
    pub member: Caller,
    /// A viewer of it.
    pub viewer: Caller,
    anonymous: Caller,
    live: OnceCell<Live>,
    /// Whether its worker processes are alike, once it has one.
    alike: OnceLock<bool>,
}

/// A worker process of a project and the secrets beside it.
struct Live {
    worker: Arc<WorkerProcess>,
    store: Arc<BuiltinStore>,
}

impl Project {
    /// Onboards a project for scenarios; [`Stack::project`] says what it has.
    pub(crate) async fn onboard(stack: &Stack, id: &str, image: &str) -> Outcome<Self> {
        let pools = json!({
            PULL: { "kind": "pull" },
            "gpu": { "kind": "pull" },
            FARGATE: {
                "kind": "fargate", "image": image, "cpu": 256, "memory_mib": 512,
                "labels": { "region": "eu" }, "models": ["gpt-4o"],
            },
        });
        Self::onboard_with(stack, id, &pools).await
    }

    /// Deploys the queues and roles of a project with the pools [`PULL`] and [`FARGATE`], and
    /// onboards it with `pools` as an operator does.
    pub async fn onboard_with(stack: &Stack, id: &str, pools: &Value) -> Outcome<Self> {
        stack
            .local(&[
                "project",
                id,
                "--pull-pool",
                PULL,
                "--fargate-pool",
                FARGATE,
            ])
            .await?;
        stack
            .operator
            .client()
            .create_project(&typed(&json!({ "project": id, "pools": pools }))?)
            .await?;
        Self::registered(stack, id).await
    }

    /// A project that is registered already, with new tokens.
    pub async fn registered(stack: &Stack, id: &str) -> Outcome<Self> {
        let token = async |role: Role| -> Outcome<Caller> {
            stack.anonymous.with(
                &stack
                    .operator
                    .token(&json!({ "project": id, "role": role }))
                    .await?
                    .token,
            )
        };
        Ok(Self {
            id: id.to_owned(),
            admin: token(Role::Admin).await?,
            member: token(Role::Member).await?,
            viewer: token(Role::Viewer).await?,
            anonymous: stack.anonymous.clone(),
            live: OnceCell::new(),
            alike: OnceLock::new(),
        })
    }

    /// Makes an enrolment key of the pull pool; `more` adds to the request or changes it.
    pub async fn enrolment_key(&self, more: &Value) -> Outcome<(String, Caller)> {
        let request = typed(&merged(json!({ "pool": PULL }), more))?;
        let made = self.admin.client().create_enrolment_key(&request).await?;
        Ok((
            made.view.enrolment_key_id.to_string(),
            self.anonymous.with(&made.enrolment_key)?,
        ))
    }

    /// What a worker of this project asks when it registers; `more` adds to it or changes it.
    pub fn registration(&self, name: &str, more: &Value) -> Value {
        let modes = ["bare", "sandboxed", "identity", "full"];
        merged(
            json!({ "project": self.id, "name": name, "pool": PULL, "modes": modes }),
            more,
        )
    }

    /// Asks for a registration, with an enrolment key or as nobody.
    pub async fn try_register(
        &self,
        key: Option<&Caller>,
        name: &str,
        more: &Value,
    ) -> Outcome<Reply> {
        key.unwrap_or(&self.anonymous)
            .post("/v1/workers/register", &self.registration(name, more))
            .await
    }

    /// Registers a worker, with an enrolment key or as nobody.
    pub async fn register(
        &self,
        key: Option<&Caller>,
        name: &str,
        more: &Value,
    ) -> Outcome<WorkerRegistered> {
        let client = key.unwrap_or(&self.anonymous).client();
        Ok(client
            .register_worker(&typed(&self.registration(name, more))?)
            .await?)
    }

    /// A worker that an enrolment key of its own has approved. It is played by the test: no process
    /// runs.
    pub async fn worker(&self, more: &Value) -> Outcome<Worker> {
        let covered: Vec<&str> = vec!["pool", "labels", "models"];
        let mut key = json!({});
        for member in covered {
            if let Some(value) = more.get(member) {
                key[member] = value.clone();
            }
        }
        let (_, key) = self.enrolment_key(&key).await?;
        let registered = self
            .register(Some(&key), &format!("w-{}", crate::unique()), more)
            .await?;
        ensure_eq!(
            registered.status,
            WorkerStatus::Approved,
            "registration by enrolment key"
        );
        Worker::of(&self.anonymous, &registered)
    }

    /// The project's worker process, started when it is first asked for. It takes whatever waits in
    /// the pull pool, so a project that has one is not for tests that play workers there.
    pub async fn live_worker(&self, stack: &Stack) -> Outcome<Arc<WorkerProcess>> {
        Ok(Arc::clone(&self.live(stack).await?.worker))
    }

    /// The encrypted store beside the project's worker process.
    pub async fn builtin_store(&self, stack: &Stack) -> Outcome<Arc<BuiltinStore>> {
        Ok(Arc::clone(&self.live(stack).await?.store))
    }

    /// Fails if worker processes of the project would differ: each takes the steps of all tests
    /// that share the project.
    pub(crate) fn workers_are(&self, alike: bool) -> Outcome {
        let before = *self.alike.get_or_init(|| alike);
        ensure!(
            before == alike,
            "`{}` has other workers: give a worker with options of its own a project of its own",
            self.id
        );
        Ok(())
    }

    async fn live(&self, stack: &Stack) -> Outcome<&Live> {
        self.live
            .get_or_try_init(async || {
                let store = Arc::new(BuiltinStore::create(stack, self).await?);
                let worker = Arc::new(WorkerProcess::start(stack, self, &store, &[], 2).await?);
                Ok(Live { worker, store })
            })
            .await
    }

    /// Stores a value in AWS Secrets Manager as the project's owner does, `{"key": VALUE}` under
    /// `sealfleet/PROJECT/NAME`.
    pub async fn aws_secret(&self, stack: &Stack, name: &str, value: &str) -> Outcome<Stored> {
        stack.create_secret(&self.id, name, value).await
    }

    /// Stores a new version of such a value.
    pub async fn rotate_aws_secret(
        &self,
        stack: &Stack,
        name: &str,
        value: &str,
    ) -> Outcome<Stored> {
        stack.rotate_secret(&self.id, name, value).await
    }

    /// Makes a profile of one secret, `API_KEY`. Others are made by [`Caller::create_profile`].
    pub async fn profile(&self, name: &str, reference: &str) -> Outcome {
        self.admin
            .create_profile(name, &secrets(&[("API_KEY", reference)]))
            .await
            .map(|_| ())
    }

    /// Enqueues a run as a member, once: with an idempotency key of its own, so that a lost answer
    /// is asked for again.
    pub async fn enqueue(&self, body: &Value) -> Outcome<String> {
        let key = Uuid::now_v7().to_string();
        Ok(self
            .member
            .client()
            .enqueue_run(&typed(body)?, Some(&key))
            .await?
            .run_id
            .to_string())
    }

    /// Enqueues a run of one bare step `only` for the pull pool; `more` adds to the step or changes
    /// it.
    pub async fn enqueue_step(&self, more: &Value) -> Outcome<String> {
        self.enqueue(&run_of(&[step("only", more)])).await
    }

    /// Cancels a run as a member.
    pub async fn cancel(&self, run: &str) -> Outcome<RunView> {
        Ok(self.member.client().cancel_run(run.parse()?).await?)
    }

    /// All runs, newest first, as a viewer sees them.
    pub async fn runs(&self) -> Outcome<Vec<RunSummary>> {
        Ok(all_pages(async |page| self.viewer.client().list_runs(None, page).await).await?)
    }

    /// A run as a viewer sees it.
    pub async fn run(&self, run: &str) -> Outcome<RunView> {
        Ok(self.viewer.client().get_run(run.parse()?).await?)
    }

    /// A step of a run, as a viewer sees it.
    pub async fn step(&self, run: &str, step: &str) -> Outcome<StepView> {
        let shown = self.run(run).await?;
        let found = shown
            .steps
            .into_iter()
            .find(|candidate| candidate.id.as_str() == step);
        found.ok_or_else(|| Failure::new(format!("no step `{step}` in {run}")))
    }

    /// The state of a step.
    pub async fn state(&self, run: &str, step: &str) -> Outcome<String> {
        Ok(self.step(run, step).await?.state)
    }

    /// Waits until a step is in one of these states.
    pub async fn until(
        &self,
        run: &str,
        step: &str,
        states: &[&str],
        limit: Duration,
    ) -> Outcome<StepView> {
        let mut last = None;
        let wanted = format!("`{step}` {}", states.join(" or "));
        let reached = eventually(&wanted, limit, async || {
            let shown = last.insert(self.step(run, step).await?);
            if states.contains(&shown.state.as_str()) {
                return Ok(Some(shown.clone()));
            }
            ensure!(!is_terminal(&shown.state), "it will never be {wanted}");
            Ok(None)
        })
        .await;
        reached.map_err(|failure| Failure::new(format!("{failure}\n  the step is {}", json!(last))))
    }

    /// Waits until all steps of a run have ended; the run.
    pub async fn finished(&self, run: &str, limit: Duration) -> Outcome<RunView> {
        let mut last = None;
        let ended = eventually("the end of the run", limit, async || {
            let shown = last.insert(self.run(run).await?);
            Ok(is_over(shown).then(|| shown.clone()))
        })
        .await;
        ended.map_err(|failure| Failure::new(format!("{failure}\n  the run is {}", json!(last))))
    }

    /// Waits until a run is in this state; the run.
    pub async fn run_until(&self, run: &str, state: RunState, limit: Duration) -> Outcome<RunView> {
        let mut last = None;
        let state_name = state.name();
        let reached = eventually(
            &format!("the run to be `{state_name}`"),
            limit,
            async || {
                let shown = last.insert(self.run(run).await?);
                if shown.state == state {
                    return Ok(Some(shown.clone()));
                }
                ensure!(
                    !is_terminal(shown.state.name()),
                    "it will never be `{state_name}`"
                );
                Ok(None)
            },
        )
        .await;
        reached.map_err(|failure| Failure::new(format!("{failure}\n  the run is {}", json!(last))))
    }

    /// The audit entries of one run, oldest first.
    pub async fn audit(&self, run: &str) -> Outcome<Vec<Value>> {
        self.admin
            .trail(&AuditQuery {
                run_id: Some(run.parse()?),
                ..AuditQuery::default()
            })
            .await
    }

    /// The whole trail, oldest first, when the entries of its newest runs have arrived: they come
    /// a second or two late.
    pub async fn trail(&self) -> Outcome<Vec<Value>> {
        let ids = |entries: &[Value]| -> BTreeSet<String> {
            entries
                .iter()
                .map(|entry| entry["event_id"].to_string())
                .collect()
        };
        let mut own = BTreeSet::new();
        for run in self.admin.list("/v1/runs").await?.iter().take(NEWEST) {
            own.extend(ids(&self
                .audit(run["run_id"].as_str().unwrap_or_default())
                .await?));
        }
        eventually("the entries of runs in the trail", ARRIVES, async || {
            let trail = self.trail_now().await?;
            Ok(own.is_subset(&ids(&trail)).then_some(trail))
        })
        .await
    }

    /// The trail as it is, without what is still on its way.
    pub async fn trail_now(&self) -> Outcome<Vec<Value>> {
        self.admin.trail(&AuditQuery::default()).await
    }

    /// The audited events of one run of one name, oldest first.
    pub async fn events(&self, run: &str, name: &str) -> Outcome<Vec<Value>> {
        Ok(named(&self.audit(run).await?, name))
    }

    /// Waits until an event of this name is in the trail of a run; the first one.
    pub async fn event(&self, run: &str, name: &str, limit: Duration) -> Outcome<Value> {
        eventually(&format!("an audited `{name}`"), limit, async || {
            Ok(self.events(run, name).await?.into_iter().next())
        })
        .await
    }

    /// What its Fargate steps have printed since a time, in milliseconds since 1970.
    pub async fn logged(&self, stack: &Stack, since: f64) -> Outcome<String> {
        let mut said = String::new();
        let group = format!("/sealfleet/{}", self.id);
        let group = json!({ "logGroupName": group, "startTime": since.trunc() });
        let read = |page: &Value, _: &[u8]| {
            for event in page["events"].as_array().into_iter().flatten() {
                said.push_str(event["message"].as_str().unwrap_or_default());
                said.push('\n');
            }
        };
        let cursor = ("nextToken", "nextToken");
        let filter = "FilterLogEvents";
        stack
            .aws
            .pages(Service::Logs, filter, group, cursor, read)
            .await?;
        Ok(said)
    }

    /// The tasks of a run that ECS has not stopped, by their ARN.
    pub async fn live_tasks(&self, stack: &Stack, run: &str) -> Outcome<Vec<String>> {
        let tasks = self.tasks(stack, run, &["RUNNING"]).await?;
        let live = tasks.iter().filter(|task| task["lastStatus"] != "STOPPED");
        Ok(live
            .filter_map(|task| task["taskArn"].as_str().map(str::to_owned))
            .collect())
    }

    /// The tasks of a run with one of these desired states, as `DescribeTasks` shows them.
    pub async fn tasks(&self, stack: &Stack, run: &str, desired: &[&str]) -> Outcome<Vec<Value>> {
        let started_by = format!("{}/{run}/", self.id);
        let cluster = &stack.parts.cluster;
        let cursor = ("nextToken", "nextToken");
        let mut tasks = Vec::new();
        for status in desired {
            let mut arns = Vec::new();
            let all = json!({ "cluster": cluster, "desiredStatus": status });
            let read = |page: &Value, _: &[u8]| {
                arns.extend(page["taskArns"].as_array().cloned().unwrap_or_default())
            };
            stack
                .aws
                .pages(Service::Ecs, "ListTasks", all, cursor, read)
                .await?;
            for arns in arns.chunks(100) {
                let asked = json!({ "cluster": cluster, "tasks": arns });
                let mut described = stack.aws.call(Service::Ecs, "DescribeTasks", asked).await?;
                if let Value::Array(described) = described["tasks"].take() {
                    tasks.extend(described);
                }
            }
        }
        tasks.retain(|task| {
            let by = task["startedBy"].as_str();
            by.is_some_and(|by| by.starts_with(&started_by))
        });
        Ok(tasks)
    }

    /// How many rows of each kind the project has: what must not grow when something is refused.
    pub async fn census(&self) -> Outcome<Vec<(&'static str, usize)>> {
        let client = self.admin.client();
        Ok(vec![
            ("runs", self.runs().await?.len()),
            (
                "profiles",
                all_pages(async |page| client.list_profiles(page).await)
                    .await?
                    .len(),
            ),
            (
                "workers",
                all_pages(async |page| client.list_workers(page).await)
                    .await?
                    .len(),
            ),
            (
                "tokens",
                all_pages(async |page| client.list_tokens(None, page).await)
                    .await?
                    .len(),
            ),
            (
                "enrolment keys",
                all_pages(async |page| client.list_enrolment_keys(page).await)
                    .await?
                    .len(),
            ),
        ])
    }
}

/// The events of one name in audit entries.
pub fn named(entries: &[Value], name: &str) -> Vec<Value> {
    let events = entries
        .iter()
        .flat_map(|entry| entry["events"].as_array().cloned().unwrap_or_default());
    events.filter(|event| event["type"] == name).collect()
}

/// Whether all steps of a run have ended.
pub fn is_over(run: &RunView) -> bool {
    run.steps.iter().all(|step| is_terminal(&step.state))
}

/// Whether a step in this state has ended.
pub fn is_terminal(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "aborted" | "dead")
}

/// A bare step of the pull pool that does nothing; `more` adds to it or changes it.
pub fn step(id: &str, more: &Value) -> Value {
    merged(
        json!({ "id": id, "pool": PULL, "mode": "bare", "command": ["true"] }),
        more,
    )
}

/// A run of these steps.
pub fn run_of(steps: &[Value]) -> Value {
    json!({ "workflow": "tests", "steps": steps })
}

/// A JSON object with the members of another one added or put in place of its own.
pub fn merged(mut base: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        base[name] = value.clone();
    }
    base
}
