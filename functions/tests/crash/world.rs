//! A small AWS that can die: the ports of the handlers, with a count of their calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::Claim;
use sealfleet_api::{Code, Problem};
use sealfleet_aws::Unavailable;
use sealfleet_aws::queue_access::{QueueAccess, QueueKey};
use sealfleet_aws::queues::{Queues, queue_name};
use sealfleet_domain::access::Role;
use sealfleet_domain::audit::Event;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::credential::{Home, worker_text};
use sealfleet_domain::fleet::{HostedPool, Pool, Project, Worker, WorkerStatus};
use sealfleet_domain::hash::SecretHash;
use sealfleet_domain::identity::Pin;
use sealfleet_domain::labels::Labels;
use sealfleet_domain::profile::Content;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::run::{Handle, Mode, Pace, RunState};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{
    Clock, IdSource, Owner, PoolName, ProjectScope, RunId, Timestamp, WorkerId,
};
use sealfleet_fargate::TaskState;
use sealfleet_functions::shared::auth::{Door, Oidc};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_functions::{
    audit, cancel, claim, dispatch, enqueue, fleet, observe, openapi, profile, report, revoke,
    runs, sandbox, sweep,
};
use sealfleet_hosts::{Error as HostError, Hosts, Launched, Sandbox, SandboxHost, Template};
use sealfleet_ledger::store::{Item, Key, Query, Rows, Store, Table, Write, WriteError};
use sealfleet_ledger::{AuditFilter, Due, Ledger, Registration, due_shards};
use sealfleet_versions::{Error as SecretsError, SecretVersions, Versions};
use tokio::sync::Notify;

use crate::audited::{self, Audited, Seen};

const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 30,
};

/// Where the one death is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Before this call takes effect.
    Before(usize),
    /// After it took effect, before its answer arrives.
    After(usize),
}

/// Whether callers, SQS and EventBridge repeat what was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    Yes,
    No,
}

/// Counts calls, and ends the handler that makes the fatal one.
#[derive(Default)]
struct Mortal {
    calls: AtomicUsize,
    death: Mutex<Option<Death>>,
    died: Notify,
    counting: AtomicBool,
    /// A call before which the handler waits until it may go on.
    pause: Mutex<Option<usize>>,
    paused: Notify,
    resume: Notify,
}

impl Mortal {
    async fn call<T>(&self, effect: impl Future<Output = T>) -> T {
        if !self.counting.load(Ordering::SeqCst) {
            return effect.await;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let pauses = self
            .pause
            .lock()
            .unwrap()
            .take_if(|at| *at == call)
            .is_some();
        if pauses {
            self.paused.notify_one();
            self.resume.notified().await;
        }
        self.die_at(Death::Before(call)).await;
        let done = effect.await;
        self.die_at(Death::After(call)).await;
        done
    }

    async fn die_at(&self, here: Death) {
        let fatal = {
            let mut death = self.death.lock().unwrap();
            if *death == Some(here) {
                death.take()
            } else {
                None
            }
        };
        if fatal.is_some() {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Runs a handler until it ends or dies.
    async fn run<T>(&self, handler: impl Future<Output = T>) -> Option<T> {
        self.counting.store(true, Ordering::SeqCst);
        let outcome = tokio::select! {
            biased;
            done = handler => Some(done),
            () = self.died.notified() => None,
        };
        self.counting.store(false, Ordering::SeqCst);
        outcome
    }
}

/// Whether the audit table takes entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trail {
    /// It does.
    #[default]
    Answers,
    /// It refuses them.
    Refuses,
    /// It takes them, and the answer is lost: nobody knows.
    AnswersAreLost,
}

struct MortalStore {
    store: Arc<dyn Store>,
    mortal: Arc<Mortal>,
    trail: Arc<Mutex<Trail>>,
}

#[async_trait]
impl Store for MortalStore {
    async fn get(&self, table: Table, key: &Key) -> Result<Option<Item>, String> {
        self.mortal.call(self.store.get(table, key)).await
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, String> {
        self.mortal.call(self.store.query(query, after)).await
    }

    async fn due(&self, shard: &str, until: i64, limit: usize) -> Result<Vec<Key>, String> {
        self.store.due(shard, until, limit).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        let trail = if writes.iter().any(audited::is_entry) {
            *self.trail.lock().unwrap()
        } else {
            Trail::Answers
        };
        let unavailable = || {
            Err(WriteError::Unavailable(
                "the audit table does not answer".to_owned(),
            ))
        };
        self.mortal
            .call(async {
                match trail {
                    Trail::Answers => self.store.write(writes).await,
                    Trail::Refuses => unavailable(),
                    Trail::AnswersAreLost => {
                        self.store.write(writes).await.and_then(|()| unavailable())
                    }
                }
            })
            .await
    }
}

#[derive(Default)]
struct FakeQueues {
    messages: Mutex<Vec<(String, String)>>,
    lossy: AtomicBool,
}

#[derive(Clone)]
struct MortalQueues {
    queues: Arc<FakeQueues>,
    mortal: Arc<Mortal>,
}

#[async_trait]
impl Queues for MortalQueues {
    async fn send(
        &self,
        scope: &ProjectScope,
        pool: &PoolName,
        body: String,
    ) -> Result<(), Unavailable> {
        self.mortal
            .call(async {
                if !self.queues.lossy.load(Ordering::SeqCst) {
                    self.queues
                        .messages
                        .lock()
                        .unwrap()
                        .push((queue_name(scope, pool), body));
                }
                Ok(())
            })
            .await
    }
}

#[derive(Clone)]
struct FakeTask {
    started_by: String,
    state: TaskState,
}

#[derive(Default)]
struct FakeEcs {
    tasks: Mutex<BTreeMap<String, FakeTask>>,
}

impl FakeEcs {
    fn end(&self, arn: &str, exit_code: Option<i32>, stop_code: &str) {
        if let Some(task) = self.tasks.lock().unwrap().get_mut(arn)
            && task.state.last_status != "STOPPED"
        {
            task.state.last_status = "STOPPED".to_owned();
            task.state.exit_code = exit_code;
            task.state.stop_code = Some(stop_code.to_owned());
            task.state.stopped_at = task.state.started_at.map(|at| at.plus_seconds(10));
        }
    }
}

#[derive(Clone)]
struct MortalEcs {
    ecs: Arc<FakeEcs>,
    mortal: Arc<Mortal>,
    /// To look, at each launch, whether the release is on record.
    record: Ledger,
}

#[async_trait]
impl SandboxHost for MortalEcs {
    fn kind(&self) -> &'static str {
        "fargate"
    }

    fn owns(&self, _: &Handle) -> bool {
        true
    }

    fn template_key(&self, template: &Template) -> String {
        sealfleet_fargate::definition_hash(template, "here")
    }

    async fn prepare(&self, _: &ProjectScope, template: &Template) -> Result<String, HostError> {
        self.mortal
            .call(async { Ok(format!("definition/{}", self.template_key(template))) })
            .await
    }

    async fn launch(&self, claim: &ClaimTag, _: &str) -> Result<Launched, HostError> {
        self.mortal
            .call(async {
                assert!(
                    released(&self.record, claim).await,
                    "a task is launched whose secrets' release is not on record"
                );
                let started_by = claim.to_string();
                let mut tasks = self.ecs.tasks.lock().unwrap();
                if let Some((arn, _)) = tasks.iter().find(|(_, task)| task.started_by == started_by)
                {
                    return Ok(Launched::Sandbox(Handle::new(arn.clone())));
                }
                let arn = format!("arn:aws:ecs:r:1:task/sealfleet/{:032}", tasks.len());
                let state = TaskState {
                    arn: arn.clone(),
                    last_status: "RUNNING".to_owned(),
                    size: Some((256, 512)),
                    started_at: Some(self.record.now()),
                    ..TaskState::default()
                };
                tasks.insert(arn.clone(), FakeTask { started_by, state });
                Ok(Launched::Sandbox(Handle::new(arn)))
            })
            .await
    }

    async fn stop(&self, handle: &Handle, _: &str) -> Result<(), HostError> {
        self.mortal
            .call(async {
                self.ecs.end(handle.as_str(), Some(143), "UserInitiated");
                Ok(())
            })
            .await
    }

    async fn look(&self, handle: &Handle) -> Result<Option<Sandbox>, HostError> {
        self.mortal
            .call(async {
                let tasks = self.ecs.tasks.lock().unwrap();
                Ok(tasks
                    .get(handle.as_str())
                    .map(|task| task.state.clone().into()))
            })
            .await
    }

    async fn find(&self, claim: &ClaimTag) -> Result<Option<Handle>, HostError> {
        let wanted = claim.to_string();
        self.mortal
            .call(async {
                let tasks = self.ecs.tasks.lock().unwrap();
                Ok(tasks
                    .iter()
                    .find(|(_, task)| task.started_by == wanted)
                    .map(|(arn, _)| Handle::new(arn.clone())))
            })
            .await
    }
}

async fn released(record: &Ledger, claim: &ClaimTag) -> bool {
    let run = record.run(&claim.scope, claim.run_id).await.unwrap();
    if run.identity.is_none() {
        return true;
    }
    entries(record, &claim.scope, claim.run_id)
        .await
        .iter()
        .any(|event| {
            matches!(event, Event::SecretReleased { step_id, fence, .. }
            if *step_id == claim.step_id && *fence == claim.fence)
        })
}

async fn entries(record: &Ledger, scope: &ProjectScope, run_id: RunId) -> Vec<Event> {
    let all = AuditFilter::between(run_id.made_at(), record.now(), 1000);
    let page = record
        .audit(
            &Owner::Project(scope.clone()),
            &AuditFilter {
                run_id: Some(run_id),
                ..all
            },
        )
        .await
        .unwrap();
    assert!(page.more_after.is_none());
    page.entries
        .into_iter()
        .flat_map(|entry| entry.events)
        .collect()
}

struct MortalSecrets(Arc<Mortal>);

#[async_trait]
impl SecretVersions for MortalSecrets {
    fn scheme(&self) -> &'static str {
        "aws-sm"
    }

    async fn describe(&self, name: &str) -> Result<Pin, SecretsError> {
        self.0
            .call(async {
                Ok(Pin {
                    arn: Some(format!("arn:{name}")),
                    version: "v1".to_owned(),
                })
            })
            .await
    }
}

struct FakeQueueAccess;

#[async_trait]
impl QueueAccess for FakeQueueAccess {
    async fn queue_key(
        &self,
        _: &ProjectScope,
        _: &PoolName,
        _: WorkerId,
    ) -> Result<QueueKey, Unavailable> {
        let word = || "any".to_owned();
        Ok(QueueKey {
            queue_url: word(),
            region: word(),
            access_key_id: word(),
            secret_access_key: word(),
            session_token: word(),
            expires_at: Timestamp::from_millis(0),
        })
    }
}

struct FakeClock(AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Ids that grow, the same in every telling.
struct CountedIds(AtomicI64);

impl IdSource for CountedIds {
    fn uuid(&self, now: Timestamp) -> uuid::Uuid {
        let count = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        let mut random = [0_u8; 10];
        for (to, from) in random.iter_mut().skip(2).zip(count) {
            *to = from;
        }
        let millis = u64::try_from(now.millis()).unwrap();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    fn secret(&self) -> [u8; 32] {
        let count = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        let mut secret = [0_u8; 32];
        for (to, from) in secret.iter_mut().skip(8).zip(count) {
            *to = from;
        }
        secret
    }
}

/// The handlers, the ports that they are given, and who calls them.
pub struct World {
    scope: ProjectScope,
    mortal: Arc<Mortal>,
    repeats: Repeats,
    clock: Arc<FakeClock>,
    /// The ledger without deaths: what is true.
    pub record: Ledger,
    queues: Arc<FakeQueues>,
    ecs: Arc<FakeEcs>,
    /// An admin's.
    pub token: String,
    worker: String,
    worker_id: WorkerId,
    pool_worker: WorkerId,
    runs: Mutex<BTreeSet<RunId>>,
    trail: Arc<Mutex<Trail>>,
    audited: Arc<Audited>,
    /// The lines of all metrics.
    lines: Arc<Mutex<Vec<String>>>,
    fleet: fleet::Ports,
    profile: profile::Ports,
    runs_read: runs::Ports,
    sandbox: sandbox::Ports,
    audit: audit::Ports,
    enqueue: enqueue::Ports,
    dispatch: dispatch::Ports,
    observe: observe::Ports,
    claim: claim::Ports,
    report: report::Ports,
    cancel: cancel::Ports,
    revoke: revoke::Ports,
    sweep: sweep::Ports,
}

impl World {
    pub async fn new(death: Option<Death>, repeats: Repeats) -> Self {
        let (store, _) = sealfleet_test_dynamo::start().await.unwrap();
        let clock = Arc::new(FakeClock(AtomicI64::new(1_800_000_000_000)));
        let ids = Arc::new(CountedIds(AtomicI64::new(1)));
        let mortal = Arc::new(Mortal {
            death: Mutex::new(death),
            ..Mortal::default()
        });
        let audited = Arc::new(Audited::over(store));
        let record = Ledger::new(audited.clone(), clock.clone(), ids.clone());
        let trail = Arc::new(Mutex::new(Trail::default()));
        let mortal_store = MortalStore {
            store: audited.clone(),
            mortal: mortal.clone(),
            trail: trail.clone(),
        };
        let mortal_store = Arc::new(mortal_store);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let metrics = Metrics::to("any", lines.clone());
        let ledger =
            Ledger::new(mortal_store, clock.clone(), ids).watched(Arc::new(metrics.clone()));
        let limits = Limits {
            requests_per_second: Limits::MOST,
            burst: Limits::MOST,
        };
        let door = || Door::new(ledger.clone(), limits, Oidc::Off, metrics.clone());
        let queues = Arc::new(FakeQueues::default());
        let ecs = Arc::new(FakeEcs::default());
        let sent = MortalQueues {
            queues: queues.clone(),
            mortal: mortal.clone(),
        };
        let tasks = MortalEcs {
            ecs: ecs.clone(),
            mortal: mortal.clone(),
            record: record.clone(),
        };
        let scope = ProjectScope::of_stored_row("healthcare".parse().unwrap());
        let (pool_worker, worker_id, token, worker) = onboard(&record, &scope).await;
        Self {
            fleet: fleet::Ports {
                ledger: ledger.clone(),
                door: door(),
                queues: Box::new(sent.clone()),
                pace: PACE,
            },
            profile: profile::Ports {
                ledger: ledger.clone(),
                door: door(),
            },
            runs_read: runs::Ports {
                ledger: ledger.clone(),
                door: door(),
            },
            sandbox: sandbox::Ports {
                ledger: ledger.clone(),
            },
            audit: audit::Ports {
                ledger: ledger.clone(),
                door: door(),
            },
            enqueue: enqueue::Ports {
                ledger: ledger.clone(),
                door: door(),
                queues: Box::new(sent.clone()),
                secrets: Versions::of(MortalSecrets(mortal.clone())),
                pace: PACE,
            },
            dispatch: dispatch::Ports {
                ledger: ledger.clone(),
                hosts: Hosts::of(tasks.clone()),
                secrets: Versions::of(MortalSecrets(mortal.clone())),
                pace: PACE,
                metrics: metrics.clone(),
            },
            observe: observe::Ports {
                ledger: ledger.clone(),
                queues: Box::new(sent.clone()),
                hosts: Hosts::of(tasks.clone()),
                pace: PACE,
                metrics: metrics.clone(),
            },
            claim: claim::Ports {
                ledger: ledger.clone(),
                access: Box::new(FakeQueueAccess),
                pace: PACE,
            },
            report: report::Ports {
                ledger: ledger.clone(),
                queues: Box::new(sent.clone()),
                pace: PACE,
            },
            cancel: cancel::Ports {
                ledger: ledger.clone(),
                door: door(),
                hosts: Hosts::of(tasks.clone()),
            },
            revoke: revoke::Ports {
                ledger: ledger.clone(),
                door: door(),
                hosts: Hosts::of(tasks.clone()),
            },
            sweep: sweep::Ports {
                ledger,
                queues: Box::new(sent),
                hosts: Hosts::of(tasks),
                pace: PACE,
                metrics,
            },
            scope,
            mortal,
            repeats,
            clock,
            record,
            queues,
            ecs,
            token,
            worker,
            worker_id,
            pool_worker,
            runs: Mutex::new(BTreeSet::new()),
            trail,
            audited,
            lines,
        }
    }

    /// Port calls that handlers made so far.
    pub fn calls(&self) -> usize {
        self.mortal.calls.load(Ordering::SeqCst)
    }

    /// A run that must have ended when the story ends.
    pub fn remember(&self, run_id: RunId) {
        self.runs.lock().unwrap().insert(run_id);
    }

    pub fn queue_loses_everything(&self) {
        self.queues.lossy.store(true, Ordering::SeqCst);
    }

    pub fn queue_keeps_everything(&self) {
        self.queues.lossy.store(false, Ordering::SeqCst);
    }

    /// Makes a call, and makes it again when it died and calls are repeated.
    async fn call<T>(&self, handler: impl AsyncFn() -> T) -> Option<T> {
        match self.mortal.run(handler()).await {
            Some(done) => Some(done),
            None if self.repeats == Repeats::Yes => self.mortal.run(handler()).await,
            None => None,
        }
    }

    /// A caller enqueues a run of one step. `None`: nobody knows of it, and nothing of it may be
    /// stored.
    pub async fn enqueue(&self, pool: &str, mode: &str) -> Option<RunId> {
        self.enqueue_as("w", pool, mode).await
    }

    /// The same, with another kind of work: two runs are two requests.
    pub async fn enqueue_as(&self, workflow: &str, pool: &str, mode: &str) -> Option<RunId> {
        let profile = if mode == "identity" {
            serde_json::json!("crm")
        } else {
            serde_json::Value::Null
        };
        let body = serde_json::json!({
            "workflow": workflow,
            "profile": profile,
            "steps": [{ "id": "a", "pool": pool, "mode": mode, "command": ["true"] }],
        });
        let request = request("/v1/runs", &self.token, &body);
        let before = self
            .record
            .runs(&self.scope, None, None, 10)
            .await
            .unwrap()
            .items
            .len();
        let answer = self
            .call(async || enqueue::handle(&self.enqueue, &request).await)
            .await;
        // What died may have stored the run all the same; then it must be whole, and it counts.
        let stored = self
            .record
            .runs(&self.scope, None, None, 10)
            .await
            .unwrap()
            .items;
        assert!(
            stored.len() <= before + 1,
            "one request stored more than one run"
        );
        for run in &stored {
            self.remember(run.run_id);
        }
        match answer {
            Some(answer) => run_id(&answer.expect("enqueued")),
            None => stored.first().map(|run| run.run_id),
        }
    }

    /// Whether an enqueue is answered with 503, and stores nothing.
    pub async fn is_refused_to_enqueue(&self) -> bool {
        let body = serde_json::json!({
            "workflow": "refused", "steps": [{ "id": "a", "pool": "workers", "mode": "bare", "command": ["true"] }],
        });
        let before = self
            .record
            .runs(&self.scope, None, None, 100)
            .await
            .unwrap()
            .items
            .len();
        let answer = enqueue::handle(&self.enqueue, &request("/v1/runs", &self.token, &body)).await;
        let after = self
            .record
            .runs(&self.scope, None, None, 100)
            .await
            .unwrap()
            .items
            .len();
        matches!(answer, Err(problem) if problem.code == Code::Unavailable) && before == after
    }

    /// Whether a claim of the pull worker is answered with 503.
    pub async fn is_refused_to_claim(&self, run_id: RunId) -> bool {
        let body = serde_json::json!({ "run_id": run_id, "step_id": "a" });
        let answer = claim::handle(&self.claim, &request("/v1/claims", &self.worker, &body)).await;
        matches!(answer, Err(problem) if problem.code == Code::Unavailable)
    }

    /// SQS delivers what waits for Fargate pools.
    pub async fn deliver(&self) {
        let messages: Vec<(String, String)> =
            std::mem::take(&mut *self.queues.messages.lock().unwrap());
        for (queue, body) in messages {
            if !queue.ends_with("--fargate") {
                continue;
            }
            let event = sqs_event(&queue, &body);
            let response = self
                .call(async || dispatch::handle(&self.dispatch, event.clone()).await)
                .await;
            if response.is_some_and(|response| !response.batch_item_failures.is_empty()) {
                self.queues.messages.lock().unwrap().push((queue, body));
            }
        }
    }

    /// ECS tells that its tasks run, then that they ended.
    pub async fn ecs_runs_and_ends(&self, exit_code: i32) {
        let running: Vec<FakeTask> = self.ecs.tasks.lock().unwrap().values().cloned().collect();
        for task in running {
            if task.state.last_status == "RUNNING" {
                self.tell(&task).await;
                self.ecs
                    .end(&task.state.arn, Some(exit_code), "EssentialContainerExited");
            }
            let ended = self
                .ecs
                .tasks
                .lock()
                .unwrap()
                .get(&task.state.arn)
                .cloned()
                .unwrap();
            self.tell(&ended).await;
        }
    }

    /// ECS tells that its tasks run.
    pub async fn ecs_says_running(&self) {
        let tasks: Vec<FakeTask> = self.ecs.tasks.lock().unwrap().values().cloned().collect();
        for task in tasks {
            self.tell(&task).await;
        }
    }

    /// ECS takes the machines of its tasks away.
    pub fn ecs_takes_away(&self) {
        let arns: Vec<String> = self.ecs.tasks.lock().unwrap().keys().cloned().collect();
        for arn in arns {
            self.ecs.end(&arn, None, "SpotInterruption");
        }
    }

    async fn tell(&self, task: &FakeTask) {
        let event = serde_json::json!({
            "version": "0", "id": "1", "detail-type": "ECS Task State Change", "source": "aws.ecs", "account": "1",
            "time": "2026-01-31T08:00:00Z", "region": "r", "resources": [],
            "detail": {
                "taskArn": task.state.arn, "lastStatus": task.state.last_status, "startedBy": task.started_by,
                "stopCode": task.state.stop_code, "cpu": "256", "memory": "512",
                "startedAt": task.state.started_at, "stoppedAt": task.state.stopped_at,
                "containers": [{ "name": "sandbox", "exitCode": task.state.exit_code }],
            },
        });
        let told = async || {
            let event = serde_json::from_value(event.clone()).unwrap();
            observe::handle(&self.observe, event).await.unwrap();
        };
        self.call(told).await;
    }

    /// A pull worker claims, starts and reports, and gives up where a call dies and is not
    /// repeated.
    pub async fn work(&self, run_id: RunId) {
        let body = serde_json::json!({ "run_id": run_id, "step_id": "a" });
        let claiming = request("/v1/claims", &self.worker, &body);
        let answer = self
            .call(async || claim::handle(&self.claim, &claiming).await)
            .await;
        let Some(Ok(answer)) = answer else { return };
        let claim: Claim = serde_json::from_value(answer.body).unwrap();
        let body = serde_json::json!({ "run_id": run_id, "step_id": "a", "fence": claim.fence, "sandbox": "s" });
        let starting = request("/v1/starts", &self.worker, &body);
        let Some(Ok(_)) = self
            .call(async || report::handle(&self.report, &starting).await)
            .await
        else {
            return;
        };
        let body = serde_json::json!({ "run_id": run_id, "step_id": "a", "fence": claim.fence, "state": "succeeded" });
        let reporting = request("/v1/reports", &self.worker, &body);
        if let Some(Err(problem)) = self
            .call(async || report::handle(&self.report, &reporting).await)
            .await
        {
            panic!("{problem}");
        }
    }

    /// A caller cancels.
    pub async fn cancel(&self, run_id: RunId) {
        let request = request(
            &format!("/v1/runs/{run_id}/cancel"),
            &self.token,
            &serde_json::json!({}),
        );
        if let Some(Err(problem)) = self
            .call(async || cancel::handle(&self.cancel, &request).await)
            .await
        {
            assert_eq!(problem.code, Code::Conflict, "{problem}");
        }
    }

    /// An admin revokes the profile's key, with all that is in flight.
    pub async fn revoke(&self) {
        let request = request("/v1/revocations", &self.token, &revocation());
        if let Some(Err(problem)) = self
            .call(async || revoke::handle(&self.revoke, &request).await)
            .await
        {
            assert_eq!(problem.code, Code::AlreadyRevoked, "{problem}");
        }
    }

    /// The function answers a request.
    pub async fn handle(&self, function: &str, request: &Request) -> Result<Answer, Problem> {
        match function {
            "fleet" => fleet::handle(&self.fleet, request).await,
            "profile" => profile::handle(&self.profile, request).await,
            "runs" => runs::handle(&self.runs_read, request).await,
            "sandbox" => sandbox::handle(&self.sandbox, request).await,
            "audit" => audit::handle(&self.audit, request).await,
            "enqueue" => enqueue::handle(&self.enqueue, request).await,
            "claim" => claim::handle(&self.claim, request).await,
            "report" => report::handle(&self.report, request).await,
            "openapi" => openapi::handle(request).await,
            "cancel" => cancel::handle(&self.cancel, request).await,
            "revoke" => revoke::handle(&self.revoke, request).await,
            other => panic!("function `{other}` answers requests and is not in this world: add it"),
        }
    }

    /// What was written so far.
    pub fn seen(&self) -> Seen {
        self.audited.seen()
    }

    pub fn time_goes_by(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// The task of a run's step `a`, and its lease.
    pub async fn task_of(&self, run_id: RunId) -> (String, serde_json::Value) {
        let run = self.record.run(&self.scope, run_id).await.unwrap();
        let hold = run
            .steps
            .values()
            .find_map(|step| step.state.hold())
            .unwrap();
        let lease = serde_json::json!({ "run_id": run_id, "step_id": "a", "fence": hold.fence });
        (
            sealfleet_fargate::names::task_id(hold.handle.as_ref().unwrap()).to_owned(),
            lease,
        )
    }

    /// From now on the audit table is like this.
    pub fn audit_table(&self, trail: Trail) {
        *self.trail.lock().unwrap() = trail;
    }

    /// The run as it is stored.
    pub async fn state(&self, run_id: RunId) -> RunState {
        self.record.run(&self.scope, run_id).await.unwrap().state()
    }

    /// All entries of the run in the trail.
    pub async fn events(&self, run_id: RunId) -> Vec<Event> {
        entries(&self.record, &self.scope, run_id).await
    }

    /// Audit entries that wait in the outbox.
    pub async fn waiting(&self) -> usize {
        self.due()
            .await
            .iter()
            .filter(|due| matches!(due, Due::Entry(_)))
            .count()
    }

    /// All that somebody must still look at.
    async fn due(&self) -> Vec<Due> {
        let mut due = Vec::new();
        for shard in due_shards() {
            due.extend(
                self.record
                    .due(&shard, self.record.now().plus_seconds(1_000_000), 100)
                    .await
                    .unwrap(),
            );
        }
        due
    }

    /// `sweep` runs, now.
    pub async fn sweep(&self) {
        self.mortal
            .run(async { sweep::handle(&self.sweep).await.unwrap() })
            .await;
    }

    /// Whether the profile's key is revoked.
    pub async fn is_revoked(&self) -> bool {
        !self
            .record
            .active_revocations(&Owner::Project(self.scope.clone()))
            .await
            .unwrap()
            .is_empty()
    }

    /// Fan-outs that were finished, by their entries in the audit trail.
    pub async fn finished_fan_outs(&self) -> usize {
        let from = self.record.now().plus_seconds(-24 * 3600);
        let filter = AuditFilter::between(from, self.record.now(), 1000);
        let entries = self
            .record
            .audit(&Owner::Project(self.scope.clone()), &filter)
            .await
            .unwrap()
            .entries;
        let events = entries.iter().flat_map(|entry| &entry.events);
        events
            .filter(|event| matches!(event, Event::FanOutFinished { .. }))
            .count()
    }

    /// Time goes by; `sweep` runs each minute, queues deliver, ECS goes on, workers work. Nothing
    /// else happens.
    pub async fn run_to_the_end(&self) {
        for _ in 0..60 {
            self.clock.0.fetch_add(60_000, Ordering::SeqCst);
            // A sweep may be the one that dies: the next one comes in a minute.
            self.mortal
                .run(async { sweep::handle(&self.sweep).await.unwrap() })
                .await;
            let waiting: Vec<(String, String)> = self.queues.messages.lock().unwrap().clone();
            self.deliver().await;
            for (queue, body) in waiting {
                let hint: sealfleet_api::types::QueueMessage = serde_json::from_str(&body).unwrap();
                if queue.ends_with("--workers") {
                    self.work(hint.run_id).await;
                }
            }
            self.commands_end().await;
            if self.ended().await {
                return;
            }
        }
        panic!("after an hour there are runs that have not ended");
    }

    /// The commands of live claims end. ECS's events are lost from here on: asking it must do. A
    /// task whose claim is gone goes on until somebody stops it.
    async fn commands_end(&self) {
        let tasks: Vec<FakeTask> = self.ecs.tasks.lock().unwrap().values().cloned().collect();
        for task in tasks {
            let ClaimTag {
                scope,
                run_id,
                step_id,
                fence,
            } = task.started_by.parse().unwrap();
            let run = self.record.run(&scope, run_id).await.unwrap();
            if run.held(&step_id, None, fence).is_ok() {
                self.ecs
                    .end(&task.state.arn, Some(0), "EssentialContainerExited");
            }
        }
    }

    /// Delivers what waits, and has a caller cancel the run in the middle of it, at the handler's
    /// call `at`.
    pub async fn deliver_and_cancel_at(&self, at: usize, run_id: RunId) {
        let request = request(
            &format!("/v1/runs/{run_id}/cancel"),
            &self.token,
            &serde_json::json!({}),
        );
        self.deliver_and(at, async || {
            drop(cancel::handle(&self.cancel, &request).await.unwrap())
        })
        .await;
    }

    /// Delivers what waits, and has an admin revoke the key in the middle of it, at the handler's
    /// call `at`.
    pub async fn deliver_and_revoke_at(&self, at: usize) {
        let request = request("/v1/revocations", &self.token, &revocation());
        self.deliver_and(at, async || {
            drop(revoke::handle(&self.revoke, &request).await.unwrap())
        })
        .await;
    }

    async fn deliver_and(&self, at: usize, meanwhile: impl AsyncFn()) {
        *self.mortal.pause.lock().unwrap() = Some(self.calls() + at);
        let mut delivering = std::pin::pin!(self.deliver());
        let reached = tokio::select! {
            biased;
            () = self.mortal.paused.notified() => true,
            () = &mut delivering => false,
        };
        if reached {
            self.mortal.counting.store(false, Ordering::SeqCst);
            meanwhile().await;
            self.mortal.counting.store(true, Ordering::SeqCst);
            self.mortal.resume.notify_one();
            delivering.await;
        }
        // Not every telling gets so far: nothing later shall wait for it.
        *self.mortal.pause.lock().unwrap() = None;
    }

    /// Tasks that run for a claim that is gone.
    pub async fn orphans(&self) -> usize {
        let tasks: Vec<FakeTask> = self.ecs.tasks.lock().unwrap().values().cloned().collect();
        let mut orphans = 0;
        for task in tasks
            .iter()
            .filter(|task| task.state.last_status == "RUNNING")
        {
            let ClaimTag {
                scope,
                run_id,
                step_id,
                fence,
            } = task.started_by.parse().unwrap();
            let run = self.record.run(&scope, run_id).await.unwrap();
            orphans += usize::from(run.held(&step_id, None, fence).is_err());
        }
        orphans
    }

    /// Tasks that run.
    pub fn tasks_running(&self) -> usize {
        self.ecs
            .tasks
            .lock()
            .unwrap()
            .values()
            .filter(|task| task.state.last_status == "RUNNING")
            .count()
    }

    /// Tasks that ECS was asked to run.
    pub fn tasks_launched(&self) -> usize {
        self.ecs.tasks.lock().unwrap().len()
    }

    /// The sum of a metric.
    pub fn metric(&self, name: &str) -> f64 {
        let lines = self.lines.lock().unwrap();
        let values = lines
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        values
            .filter_map(|value| value.get(name).and_then(serde_json::Value::as_f64))
            .sum()
    }

    async fn ended(&self) -> bool {
        let runs = self.runs.lock().unwrap().clone();
        for run_id in runs {
            if self
                .record
                .run(&self.scope, run_id)
                .await
                .unwrap()
                .due_at()
                .is_some()
            {
                return false;
            }
        }
        self.due().await.is_empty()
    }

    /// What must be true at the end of every story.
    pub async fn check(&self, ends: &[RunState]) {
        let runs = self.runs.lock().unwrap().clone();
        for run_id in runs {
            let run = self.record.run(&self.scope, run_id).await.unwrap();
            assert!(ends.contains(&run.state()), "{:?}: {run:?}", run.state());
            let events = entries(&self.record, &self.scope, run_id).await;
            let of = |test: fn(&Event) -> bool| events.iter().filter(|event| test(event)).count();
            assert_eq!(
                of(|event| matches!(event, Event::RunEnqueued { .. })),
                1,
                "{events:?}"
            );
            assert_eq!(
                of(|event| matches!(event, Event::RunFinished { .. })),
                1,
                "{events:?}"
            );
            let terminal = of(|event| {
                matches!(
                    event,
                    Event::StepSucceeded { .. }
                        | Event::StepFailed { .. }
                        | Event::StepAborted { .. }
                        | Event::StepDead { .. }
                )
            });
            assert_eq!(terminal, 1, "{events:?}");
        }
        // A death may lose a number; nothing counts one twice.
        let runs = f64::from(u32::try_from(self.runs.lock().unwrap().len()).unwrap());
        assert!(self.metric("StepsEnded") <= runs, "{:?}", self.lines);
        let tasks = f64::from(u32::try_from(self.tasks_launched()).unwrap());
        // Each runs for ten seconds on a quarter of a CPU.
        assert!(
            self.metric("VcpuSeconds") <= tasks * 2.5,
            "{:?}",
            self.lines
        );
        for holder in [self.worker_id, self.pool_worker] {
            let held = self.record.leases_of(&self.scope, holder).await.unwrap();
            assert!(held.is_empty(), "{held:?}");
        }
        for task in self.ecs.tasks.lock().unwrap().values() {
            assert_eq!(task.state.last_status, "STOPPED", "{}", task.started_by);
        }
    }
}

/// Stores a project with a pull pool and a Fargate pool, a profile, a token and a worker.
async fn onboard(record: &Ledger, scope: &ProjectScope) -> (WorkerId, WorkerId, String, String) {
    let now = record.now();
    let pool_worker = WorkerId::new(record.ids(), now);
    let worker_id = WorkerId::new(record.ids(), now);
    let secret = record.ids().secret();
    let row = |worker_id, pool: &str, hash| Worker {
        worker_id,
        name: pool.to_owned(),
        pool: pool.parse().unwrap(),
        status: WorkerStatus::Approved,
        labels: Labels::default(),
        models: vec![],
        modes: vec![Mode::Sandboxed, Mode::Identity],
        max_concurrent: 5,
        hash,
        enrolled_by: None,
        registered_at: now,
    };
    let fargate = HostedPool {
        host: "fargate".to_owned(),
        worker_id: pool_worker,
        image: "i".to_owned(),
        cpu: 256,
        memory_mib: 512,
    };
    let project = Project {
        project: scope.project().clone(),
        pools: BTreeMap::from([
            ("workers".parse().unwrap(), Pool::Pull),
            ("fargate".parse().unwrap(), Pool::Hosted(fargate)),
        ]),
        cascade: Bindings::default(),
        created_at: now,
    };
    record
        .create_project(
            scope,
            &project,
            &[row(pool_worker, "fargate", None)],
            "test",
        )
        .await
        .unwrap();
    let worker = row(worker_id, "workers", Some(SecretHash::of(&secret)));
    record
        .register_worker(scope, &worker, Registration::Pending, "test")
        .await
        .unwrap();
    let uri = "aws-sm://sealfleet/healthcare/crm#api-key".parse().unwrap();
    let content = Content {
        secrets: BTreeMap::from([("API_KEY".to_owned(), uri)]),
        ..Content::default()
    };
    let owner = Owner::Project(scope.clone());
    record
        .create_profile(&owner, &"crm".parse().unwrap(), content, "test")
        .await
        .unwrap();
    let home = Home::Project(scope.project().clone());
    let expires = now.plus_seconds(1_000_000);
    let (_, token) = record
        .create_token(&home, Role::Admin, None, expires, "test")
        .await
        .unwrap();
    (
        pool_worker,
        worker_id,
        token,
        worker_text(scope, worker_id, &secret),
    )
}

fn request(path: &str, credential: &str, body: &serde_json::Value) -> Request {
    let event = serde_json::json!({
        "version": "2.0",
        "rawPath": path,
        "headers": { "authorization": format!("Bearer {credential}"), "idempotency-key": body.to_string() },
        "requestContext": { "http": { "method": "POST", "path": path } },
        "body": body.to_string(),
        "isBase64Encoded": false,
    });
    Request::from_event(serde_json::from_value(event).unwrap()).unwrap()
}

fn revocation() -> serde_json::Value {
    serde_json::json!({ "keys": [{ "profile": "crm", "key": "API_KEY" }], "hard": true, "reason": "leaked" })
}

fn run_id(answer: &Answer) -> Option<RunId> {
    answer
        .body
        .get("run_id")
        .and_then(|id| id.as_str())
        .and_then(|id| id.parse().ok())
}

fn sqs_event(queue: &str, body: &str) -> SqsEvent {
    let mut message = SqsMessage::default();
    message.message_id = Some("m".to_owned());
    message.body = Some(body.to_owned());
    message.event_source_arn = Some(format!("arn:aws:sqs:r:1:{queue}"));
    let mut event = SqsEvent::default();
    event.records = vec![message];
    event
}
