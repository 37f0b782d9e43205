//! The ECS service: definitions, tasks, client tokens, and the rules of the API.
//!
//! One lock protects all state. It is never held across an await. Under the lock, a change of a
//! task is journalled before it becomes visible, and its event is queued. So journal, answers and
//! events agree on the order of versions.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};

use crate::clock::{self, Millis};
use crate::cloud::Cloud;
use crate::definition::{Container, KeyValue, TaskDefinition};
use crate::error::ApiError;
use crate::events::{Event, Events};
use crate::faults::{self, Faults};
use crate::journal::{Journal, Record};
use crate::random;
use crate::task::{ContainerState, Status, StopCode, Task};

/// How long stopped tasks are shown: about an hour.
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html>
const SHOW_STOPPED_FOR: Millis = 60 * 60 * 1000;
const MAX_CLIENT_TOKEN: usize = 64;
const MAX_STARTED_BY: usize = 128;
const MAX_OVERRIDES: usize = 8192;
const MAX_COUNT: usize = 10;
const MAX_DESCRIBED: usize = 100;
const MAX_STOP_REASON: usize = 255;

/// Reason when the stand-in's shutdown stops a task: the text of ECS when it retires a Fargate
/// host. <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-maintenance.html>
const RETIRED: &str =
    "ECS is performing maintenance on the underlying infrastructure hosting the task";
const LOST: &str = "The underlying infrastructure hosting the task was lost";

/// Region and account of the ARNs.
#[derive(Debug, Clone)]
pub struct Location {
    pub region: String,
    pub account: String,
}

impl Location {
    fn prefix(&self) -> String {
        format!("arn:aws:ecs:{}:{}", self.region, self.account)
    }
}

/// Why a task must stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    User { reason: String },
    Retired,
}

impl StopCause {
    fn text(&self) -> (StopCode, String) {
        match self {
            Self::User { reason } => (StopCode::UserInitiated, reason.clone()),
            Self::Retired => (StopCode::TerminationNotice, RETIRED.to_owned()),
        }
    }
}

/// What the agent must run.
pub struct Assignment {
    pub task_id: String,
    /// Why it fails to start, on demand.
    pub fails: Option<&'static str>,
    /// In the order of their start. Their environments have the request's overrides.
    pub containers: Vec<Container>,
    pub stop: watch::Receiver<Option<StopCause>>,
}

pub struct Cluster {
    place: Location,
    state: Mutex<State>,
    events: Events,
    assignments: mpsc::UnboundedSender<Assignment>,
    /// How many tasks have not stopped.
    live: watch::Sender<usize>,
}

struct State {
    journal: Journal,
    families: BTreeMap<String, Vec<TaskDefinition>>,
    tasks: BTreeMap<String, Entry>,
    tokens: HashMap<(String, String), Token>,
    clusters: BTreeMap<String, Value>,
    faults: Faults,
    closing: bool,
}

struct Entry {
    task: Task,
    stop: watch::Sender<Option<StopCause>>,
    delivered: Option<u64>,
}

struct Token {
    request_digest: String,
    tasks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunTask {
    #[serde(default = "default_cluster")]
    cluster: String,
    task_definition: String,
    count: Option<usize>,
    client_token: Option<String>,
    started_by: Option<String>,
    group: Option<String>,
    launch_type: Option<String>,
    network_configuration: Option<Value>,
    #[serde(default)]
    overrides: Overrides,
    #[serde(default)]
    tags: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Overrides {
    #[serde(default)]
    container_overrides: Vec<ContainerOverride>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerOverride {
    name: Option<String>,
    #[serde(default)]
    environment: Vec<KeyValue>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListTasks {
    #[serde(default = "default_cluster")]
    cluster: String,
    family: Option<String>,
    started_by: Option<String>,
    desired_status: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeTasks {
    #[serde(default = "default_cluster")]
    cluster: String,
    #[serde(default)]
    tasks: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopTask {
    #[serde(default = "default_cluster")]
    cluster: String,
    task: String,
    reason: Option<String>,
}

fn default_cluster() -> String {
    "default".to_owned()
}

fn request<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, ApiError> {
    serde_json::from_value(body)
        .map_err(|error| ApiError::invalid(format!("The request cannot be read: {error}")))
}

impl Cluster {
    /// Opens the service with the state from the journal in `state_dir`. Tasks that had not stopped
    /// become stopped, because their sandboxes ended with the previous process. Events without a
    /// recorded delivery are queued again.
    ///
    /// # Errors
    /// When the journal cannot be used.
    pub fn open(
        place: Location,
        state_dir: &Path,
        cloud: Arc<dyn Cloud>,
    ) -> io::Result<(Arc<Self>, mpsc::UnboundedReceiver<Assignment>)> {
        let (journal, records) = Journal::open(state_dir)?;
        let (assignments, work) = mpsc::unbounded_channel();
        let (delivered, mut acknowledgements) = mpsc::unbounded_channel();
        let cluster = Arc::new(Self {
            place,
            state: Mutex::new(State::recover(journal, records)?),
            events: Events::start(cloud, delivered),
            assignments,
            live: watch::Sender::new(0),
        });
        cluster.report_recovered();
        let acknowledged = Arc::clone(&cluster);
        tokio::spawn(async move {
            while let Some(event) = acknowledgements.recv().await {
                acknowledged.acknowledge(&event);
            }
        });
        Ok((cluster, work))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report_recovered(&self) {
        let state = self.lock();
        for entry in state.tasks.values() {
            if entry
                .delivered
                .is_none_or(|version| version < entry.task.version)
            {
                self.events.emit(Event::of(
                    &entry.task,
                    &self.place.account,
                    &self.place.region,
                ));
            }
        }
    }

    fn acknowledge(&self, event: &Event) {
        let mut state = self.lock();
        let Some(entry) = state.tasks.get_mut(&event.task) else {
            return;
        };
        entry.delivered = entry.delivered.max(Some(event.version));
        if event.last {
            let record = Record::Delivered {
                task: event.task.clone(),
                version: event.version,
            };
            state.record(&record);
        }
    }

    /// Answers one call of the ECS API.
    ///
    /// # Errors
    /// The API's own error.
    pub fn call(&self, operation: &str, body: Value) -> Result<Value, ApiError> {
        if faults::take(&mut self.lock().faults.throttles) {
            return Err(ApiError::throttled());
        }
        match operation {
            "CreateCluster" => self.create_cluster(&body),
            "DescribeClusters" => Ok(self.describe_clusters(&body)),
            "RegisterTaskDefinition" => self.register_task_definition(body),
            "DeregisterTaskDefinition" => self.deregister_task_definition(&body),
            "DescribeTaskDefinition" => self.describe_task_definition(&body),
            "RunTask" => self.run_task(body),
            "StopTask" => self.stop_task(request(body)?),
            "DescribeTasks" => self.describe_tasks(&request(body)?),
            "ListTasks" => self.list_tasks(&request(body)?),
            other => Err(ApiError::unknown_operation(other)),
        }
    }

    fn create_cluster(&self, body: &Value) -> Result<Value, ApiError> {
        let name = body
            .get("clusterName")
            .and_then(Value::as_str)
            .unwrap_or("default");
        if !is_name(name) {
            return Err(ApiError::invalid(
                "Cluster name should match the pattern [a-zA-Z0-9_-]{1,255}.",
            ));
        }
        let cluster = self.show_cluster(name);
        self.lock()
            .clusters
            .insert(name.to_owned(), cluster.clone());
        Ok(json!({ "cluster": cluster }))
    }

    /// Every well-formed name is an active cluster. The cluster resource itself is created
    /// elsewhere in the local stack.
    fn describe_clusters(&self, body: &Value) -> Value {
        let names = body
            .get("clusters")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_else(|| vec![json!("default")]);
        let mut clusters = Vec::new();
        let mut failures = Vec::new();
        for name in names.iter().filter_map(Value::as_str).map(short_name) {
            if is_name(name) {
                clusters.push(self.show_cluster(name));
            } else {
                failures.push(json!({ "arn": name, "reason": "MISSING" }));
            }
        }
        json!({ "clusters": clusters, "failures": failures })
    }

    fn show_cluster(&self, name: &str) -> Value {
        let arn = self.cluster_arn(name);
        let state = self.lock();
        let count = |statuses: &[Status]| {
            let of_cluster = state
                .tasks
                .values()
                .filter(|entry| entry.task.cluster_arn == arn);
            of_cluster
                .filter(|entry| statuses.contains(&entry.task.status))
                .count()
        };
        json!({
            "clusterArn": arn,
            "clusterName": name,
            "status": "ACTIVE",
            "runningTasksCount": count(&[Status::Running]),
            "pendingTasksCount": count(&[Status::Provisioning, Status::Pending]),
            "registeredContainerInstancesCount": 0,
            "activeServicesCount": 0,
        })
    }

    fn cluster_arn(&self, name_or_arn: &str) -> String {
        format!(
            "{}:cluster/{}",
            self.place.prefix(),
            short_name(name_or_arn)
        )
    }

    fn register_task_definition(&self, body: Value) -> Result<Value, ApiError> {
        let document: Map<String, Value> = request(body)?;
        let mut state = self.lock();
        let definition = TaskDefinition::register(document, &self.place.prefix(), |family| {
            let revisions = state.families.get(family).map_or(0, Vec::len);
            u32::try_from(revisions)
                .unwrap_or(u32::MAX)
                .saturating_add(1)
        })?;
        state.keep(&Record::Definition(Box::new(definition.clone())))?;
        let answer = json!({ "taskDefinition": definition.describe(), "tags": definition.tags });
        state.store(definition);
        Ok(answer)
    }

    /// The definition stays, and no task can be run with it any more.
    fn deregister_task_definition(&self, body: &Value) -> Result<Value, ApiError> {
        let wanted = body
            .get("taskDefinition")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut state = self.lock();
        let found = state.definition(wanted).cloned();
        let Some(mut definition) = found.filter(|_| wanted.contains(':')) else {
            return Err(ApiError::client(
                "The specified task definition does not exist.",
            ));
        };
        definition.inactive = true;
        state.keep(&Record::Definition(Box::new(definition.clone())))?;
        let answer = json!({ "taskDefinition": definition.describe() });
        state.store(definition);
        Ok(answer)
    }

    fn describe_task_definition(&self, body: &Value) -> Result<Value, ApiError> {
        let wanted = body
            .get("taskDefinition")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let state = self.lock();
        let definition = state
            .definition(wanted)
            .ok_or_else(|| ApiError::client("Unable to describe task definition."))?;
        let with_tags = body
            .get("include")
            .is_some_and(|include| *include == json!(["TAGS"]));
        let tags = if with_tags {
            definition.tags.clone()
        } else {
            json!([])
        };
        Ok(json!({ "taskDefinition": definition.describe(), "tags": tags }))
    }

    fn run_task(&self, body: Value) -> Result<Value, ApiError> {
        let digest = digest_of(&body);
        let overrides_size = body
            .get("overrides")
            .map_or(0, |overrides| overrides.to_string().chars().count());
        let shown_overrides = body.get("overrides").cloned();
        let call: RunTask = request(body)?;
        check_run_task(&call, overrides_size)?;

        let mut state = self.lock();
        if state.closing {
            return Err(ApiError::server("The service is shutting down."));
        }
        let definition = state
            .definition(&call.task_definition)
            .cloned()
            .ok_or_else(|| ApiError::client("TaskDefinition not found."))?;
        if definition.inactive {
            return Err(ApiError::invalid("TaskDefinition is inactive"));
        }
        let mut containers = definition.containers()?;
        override_environments(&mut containers, &call.overrides)?;
        let token_key = call
            .client_token
            .as_ref()
            .map(|token| (self.cluster_arn(&call.cluster), token.clone()));
        if let Some(known) = token_key.as_ref().and_then(|key| state.tokens.get(key)) {
            return state.repeated(known, &digest);
        }
        if faults::take(&mut state.faults.refusals)
            && let Some(error) = faults::refusal(&state.faults.refusal_reason)
        {
            return Err(error);
        }
        if faults::take(&mut state.faults.failures) {
            let reason = state.faults.failure_reason.clone();
            let resource = self.cluster_arn(&call.cluster);
            return Ok(json!({ "tasks": [], "failures": [{ "arn": resource, "reason": reason }] }));
        }

        let mut started = Vec::new();
        for _ in 0..call.count.unwrap_or(1) {
            let task = self.new_task(
                &call,
                &definition,
                &containers,
                &digest,
                shown_overrides.as_ref(),
            );
            state.keep(&Record::Task(Box::new(task.clone())))?;
            self.events
                .emit(Event::of(&task, &self.place.account, &self.place.region));
            self.live.send_modify(|count| *count += 1);
            started.push(task.describe(true));
            let stop = watch::Sender::new(None);
            let fails = faults::take(&mut state.faults.start_failures);
            let assignment = Assignment {
                task_id: task.id.clone(),
                fails: fails
                    .then(|| faults::start_failure(&state.faults.start_failure_reason))
                    .flatten(),
                containers: containers.clone(),
                stop: stop.subscribe(),
            };
            if let Some(key) = &token_key {
                let token = state
                    .tokens
                    .entry(key.clone())
                    .or_insert_with(|| Token::new(&digest));
                token.tasks.push(task.id.clone());
            }
            state.tasks.insert(
                task.id.clone(),
                Entry {
                    task,
                    stop,
                    delivered: None,
                },
            );
            // The agent lives as long as the service, so sending cannot fail.
            let _ = self.assignments.send(assignment);
        }
        if faults::take(&mut state.faults.lost_answers) {
            return Err(ApiError::server("The answer was lost on demand."));
        }
        Ok(json!({ "tasks": started, "failures": [] }))
    }

    fn new_task(
        &self,
        call: &RunTask,
        definition: &TaskDefinition,
        containers: &[Container],
        digest: &str,
        overrides: Option<&Value>,
    ) -> Task {
        let id = random::task_id();
        let cluster = short_name(&call.cluster);
        let prefix = self.place.prefix();
        let now = clock::now();
        let none = containers.iter().map(|one| json!({ "name": one.name }));
        let none: Vec<Value> = none.collect();
        let no_overrides =
            json!({ "containerOverrides": none, "inferenceAcceleratorOverrides": [] });
        let state = |container: &Container| ContainerState {
            name: container.name.clone(),
            arn: format!("{prefix}:container/{cluster}/{id}/{}", random::uuid()),
            image: container.image.clone(),
            status: Status::Pending,
            exit_code: None,
            reason: None,
        };
        let containers = containers.iter().map(state).collect();
        Task {
            arn: format!("{prefix}:task/{cluster}/{id}"),
            cluster_arn: self.cluster_arn(cluster),
            definition_arn: definition.arn.clone(),
            family: definition.family.clone(),
            group: call
                .group
                .clone()
                .unwrap_or_else(|| format!("family:{}", definition.family)),
            started_by: call.started_by.clone(),
            client_token: call.client_token.clone(),
            request_digest: digest.to_owned(),
            overrides: overrides.cloned().unwrap_or(no_overrides),
            tags: json!(call.tags),
            cpu: definition.cpu(),
            memory: definition.memory(),
            status: Status::Provisioning,
            desired_stopped: false,
            version: 1,
            created_at: now,
            updated_at: now,
            pull_started_at: None,
            pull_stopped_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            stopped_at: None,
            stop_code: None,
            stopped_reason: None,
            containers,
            id,
        }
    }

    fn stop_task(&self, call: StopTask) -> Result<Value, ApiError> {
        let reason = call.reason.filter(|reason| !reason.is_empty());
        if reason
            .as_ref()
            .is_some_and(|reason| reason.chars().count() > MAX_STOP_REASON)
        {
            return Err(ApiError::invalid(format!(
                "reason must be at most {MAX_STOP_REASON} characters."
            )));
        }
        let cluster = self.cluster_arn(&call.cluster);
        let id = short_name(&call.task).to_owned();
        let mut state = self.lock();
        let not_found = || ApiError::invalid("The referenced task was not found.");
        let entry = state
            .tasks
            .get(&id)
            .filter(|entry| entry.task.cluster_arn == cluster)
            .ok_or_else(not_found)?;
        if entry.task.status < Status::Deprovisioning && !entry.task.desired_stopped {
            let cause = StopCause::User {
                reason: reason.unwrap_or_else(|| "Task stopped by user".to_owned()),
            };
            self.order_stop(&mut state, &id, cause);
        }
        let entry = state.tasks.get(&id).ok_or_else(not_found)?;
        Ok(json!({ "task": entry.task.describe(true) }))
    }

    fn order_stop(&self, state: &mut State, id: &str, cause: StopCause) {
        self.change(state, id, |task| {
            let (code, reason) = cause.text();
            task.desired_stopped = true;
            task.stopping_at = Some(clock::now());
            task.stop_code = Some(code);
            task.stopped_reason = Some(reason);
        });
        if let Some(entry) = state.tasks.get(id) {
            entry.stop.send_replace(Some(cause));
        }
    }

    fn describe_tasks(&self, call: &DescribeTasks) -> Result<Value, ApiError> {
        if call.tasks.is_empty() {
            return Err(ApiError::invalid("Tasks cannot be empty."));
        }
        if call.tasks.len() > MAX_DESCRIBED {
            return Err(ApiError::invalid("Tasks can have at most 100 items."));
        }
        let cluster = self.cluster_arn(&call.cluster);
        let with_tags = call.include.iter().any(|one| one == "TAGS");
        let mut state = self.lock();
        state.forget_old();
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for wanted in &call.tasks {
            let id = short_name(wanted);
            match state
                .tasks
                .get(id)
                .filter(|entry| entry.task.cluster_arn == cluster)
            {
                Some(entry) => tasks.push(entry.task.describe(with_tags)),
                None => {
                    let arn = format!("{}:task/{}/{id}", self.place.prefix(), short_name(&cluster));
                    failures.push(json!({ "arn": arn, "reason": "MISSING" }));
                }
            }
        }
        Ok(json!({ "tasks": tasks, "failures": failures }))
    }

    fn list_tasks(&self, call: &ListTasks) -> Result<Value, ApiError> {
        if call.started_by.is_some() && (call.family.is_some() || call.desired_status.is_some()) {
            return Err(ApiError::invalid(
                "When you specify startedBy as the filter, it must be the only filter that you use.",
            ));
        }
        let desired = call.desired_status.as_deref().unwrap_or("RUNNING");
        if !["RUNNING", "PENDING", "STOPPED"].contains(&desired) {
            return Err(ApiError::invalid(
                "desiredStatus must be RUNNING, PENDING or STOPPED.",
            ));
        }
        let at_once = call.max_results.unwrap_or(100);
        if !(1..=100).contains(&at_once) {
            return Err(ApiError::invalid("maxResults must be between 1 and 100."));
        }
        let cluster = self.cluster_arn(&call.cluster);
        let mut state = self.lock();
        state.forget_old();
        let after = call.next_token.as_deref().unwrap_or_default();
        let mut found: Vec<&Task> = state
            .tasks
            .values()
            .map(|entry| &entry.task)
            .filter(|task| task.cluster_arn == cluster && task.desired_status() == desired)
            .filter(|task| {
                call.family
                    .as_ref()
                    .is_none_or(|family| task.family == *family)
            })
            .filter(|task| call.started_by.is_none() || task.started_by == call.started_by)
            .filter(|task| task.id.as_str() > after)
            .collect();
        let more = found.len() > at_once;
        found.truncate(at_once);
        let mut answer =
            json!({ "taskArns": found.iter().map(|task| &task.arn).collect::<Vec<_>>() });
        if let (true, Some(last), Some(members)) = (more, found.last(), answer.as_object_mut()) {
            members.insert("nextToken".into(), json!(last.id));
        }
        Ok(answer)
    }

    /// Changes a task without an event of its own. The next event shows the change.
    pub fn advance_quietly(&self, id: &str, step: impl FnOnce(&mut Task)) {
        if let Some(entry) = self.lock().tasks.get_mut(id) {
            step(&mut entry.task);
        }
    }

    /// Changes a task for the agent: journals the change and queues its event.
    pub fn advance(&self, id: &str, step: impl FnOnce(&mut Task)) {
        self.change(&mut self.lock(), id, step);
    }

    fn change(&self, state: &mut State, id: &str, step: impl FnOnce(&mut Task)) {
        let Some(entry) = state.tasks.get_mut(id) else {
            return;
        };
        let was_live = entry.task.status != Status::Stopped;
        step(&mut entry.task);
        entry.task.version += 1;
        entry.task.updated_at = clock::now();
        let task = entry.task.clone();
        let stopped = was_live && task.status == Status::Stopped;
        let event = Event::of(&task, &self.place.account, &self.place.region);
        state.record(&Record::Task(Box::new(task)));
        self.events.emit(event);
        if stopped {
            self.live
                .send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    /// Stops every task, then waits for the tasks and their events, at most `limit`.
    pub async fn close(&self, limit: Duration) {
        {
            let mut state = self.lock();
            state.closing = true;
            let running: Vec<String> = state
                .tasks
                .values()
                .filter(|entry| {
                    entry.task.status < Status::Deprovisioning && !entry.task.desired_stopped
                })
                .map(|entry| entry.task.id.clone())
                .collect();
            for id in running {
                self.order_stop(&mut state, &id, StopCause::Retired);
            }
        }
        let mut live = self.live.subscribe();
        let _ = tokio::time::timeout(limit, live.wait_for(|count| *count == 0)).await;
    }

    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Changes the injected faults. Returns the new ones.
    pub fn change_faults(&self, change: impl FnOnce(&mut Faults)) -> Faults {
        let mut state = self.lock();
        change(&mut state.faults);
        state.faults.clone()
    }

    /// All tasks, for people and tests.
    pub fn all_tasks(&self) -> Vec<Value> {
        self.lock()
            .tasks
            .values()
            .map(|entry| entry.task.describe(true))
            .collect()
    }

    pub fn live_tasks(&self) -> usize {
        *self.live.borrow()
    }
}

impl Token {
    fn new(digest: &str) -> Self {
        Self {
            request_digest: digest.to_owned(),
            tasks: Vec::new(),
        }
    }
}

impl State {
    fn recover(journal: Journal, records: Vec<Record>) -> io::Result<Self> {
        let mut state = Self {
            journal,
            families: BTreeMap::new(),
            tasks: BTreeMap::new(),
            tokens: HashMap::new(),
            clusters: BTreeMap::new(),
            faults: Faults::default(),
            closing: false,
        };
        for record in records {
            match record {
                Record::Definition(definition) => {
                    state.store(*definition);
                }
                Record::Task(task) => {
                    let delivered = state
                        .tasks
                        .remove(&task.id)
                        .and_then(|entry| entry.delivered);
                    let entry = Entry {
                        task: *task,
                        stop: watch::Sender::new(None),
                        delivered,
                    };
                    state.tasks.insert(entry.task.id.clone(), entry);
                }
                Record::Delivered { task, version } => {
                    if let Some(entry) = state.tasks.get_mut(&task) {
                        entry.delivered = Some(version);
                    }
                }
            }
        }
        state.forget_old();
        for entry in state.tasks.values_mut() {
            lose(&mut entry.task);
            if let Some(token) = &entry.task.client_token {
                let key = (entry.task.cluster_arn.clone(), token.clone());
                let known = state
                    .tokens
                    .entry(key)
                    .or_insert_with(|| Token::new(&entry.task.request_digest));
                known.tasks.push(entry.task.id.clone());
            }
        }
        state.rewrite_journal()?;
        Ok(state)
    }

    /// Keeps a definition, in the place of the same revision.
    fn store(&mut self, definition: TaskDefinition) {
        let family = self.families.entry(definition.family.clone()).or_default();
        match family
            .iter_mut()
            .find(|known| known.revision == definition.revision)
        {
            Some(known) => *known = definition,
            None => family.push(definition),
        }
    }

    fn rewrite_journal(&mut self) -> io::Result<()> {
        let mut records: Vec<Record> = Vec::new();
        records.extend(
            self.families
                .values()
                .flatten()
                .map(|one| Record::Definition(Box::new(one.clone()))),
        );
        for (id, entry) in &self.tasks {
            records.push(Record::Task(Box::new(entry.task.clone())));
            if let Some(version) = entry.delivered {
                records.push(Record::Delivered {
                    task: id.clone(),
                    version,
                });
            }
        }
        self.journal.rewrite(&records)
    }

    /// Journals a record before the answer that promises it.
    fn keep(&mut self, record: &Record) -> Result<(), ApiError> {
        self.journal
            .append(record)
            .map_err(|error| ApiError::server(format!("The journal cannot be written: {error}")))
    }

    /// Journals a change that has already happened. If this fails, a restart sees an older state.
    fn record(&mut self, record: &Record) {
        if let Err(error) = self.journal.append(record) {
            tracing::error!(%error, "the journal cannot be written");
        }
    }

    /// Drops tasks that stopped long ago and whose last event was delivered, and their client
    /// tokens.
    fn forget_old(&mut self) {
        let limit = clock::now() - SHOW_STOPPED_FOR;
        let before = self.tasks.len();
        self.tasks.retain(|_, entry| {
            let taken = entry
                .delivered
                .is_some_and(|version| version >= entry.task.version);
            !(taken && entry.task.stopped_at.is_some_and(|at| at < limit))
        });
        if self.tasks.len() != before {
            let tasks = &self.tasks;
            self.tokens
                .retain(|_, token| token.tasks.iter().any(|id| tasks.contains_key(id)));
        }
    }

    /// Finds a definition by family (its latest revision), `family:revision` or ARN.
    fn definition(&self, wanted: &str) -> Option<&TaskDefinition> {
        let name = short_name(wanted);
        match name.split_once(':') {
            None => {
                let revisions = self.families.get(name)?;
                revisions.iter().rfind(|one| !one.inactive)
            }
            Some((family, revision)) => {
                let revision: u32 = revision.parse().ok()?;
                self.families
                    .get(family)?
                    .iter()
                    .find(|one| one.revision == revision)
            }
        }
    }

    /// The answer to a repeated token: the tasks of the first call in their current state, or a
    /// conflict.
    fn repeated(&self, token: &Token, digest: &str) -> Result<Value, ApiError> {
        let tasks: Vec<&Task> = token
            .tasks
            .iter()
            .filter_map(|id| self.tasks.get(id))
            .map(|entry| &entry.task)
            .collect();
        if token.request_digest != digest {
            return Err(ApiError::conflict(
                &tasks
                    .iter()
                    .map(|task| task.arn.clone())
                    .collect::<Vec<_>>(),
            ));
        }
        let shown: Vec<Value> = tasks.iter().map(|task| task.describe(true)).collect();
        Ok(json!({ "tasks": shown, "failures": [] }))
    }
}

/// Marks a task as stopped because its sandbox ended with the previous process.
pub fn lose(task: &mut Task) {
    if task.status == Status::Stopped {
        return;
    }
    let now = clock::now();
    task.status = Status::Stopped;
    task.desired_stopped = true;
    task.version += 1;
    task.updated_at = now;
    task.stopping_at.get_or_insert(now);
    task.execution_stopped_at.get_or_insert(now);
    task.stopped_at = Some(now);
    task.stop_code.get_or_insert(StopCode::InfrastructureHealth);
    task.stopped_reason.get_or_insert_with(|| LOST.to_owned());
    for container in &mut task.containers {
        container.status = Status::Stopped;
    }
}

fn check_run_task(call: &RunTask, overrides_size: usize) -> Result<(), ApiError> {
    if !is_name(short_name(&call.cluster)) {
        return Err(ApiError::invalid(
            "Cluster name should match the pattern [a-zA-Z0-9_-]{1,255}.",
        ));
    }
    if let Some(token) = &call.client_token
        && (token.is_empty()
            || token.len() > MAX_CLIENT_TOKEN
            || !token.bytes().all(|b| (33..=126).contains(&b)))
    {
        return Err(ApiError::invalid(format!(
            "clientToken must be 1 to {MAX_CLIENT_TOKEN} ASCII characters in the range of 33-126."
        )));
    }
    if call
        .started_by
        .as_ref()
        .is_some_and(|by| by.chars().count() > MAX_STARTED_BY)
    {
        return Err(ApiError::invalid(format!(
            "startedBy should be at most {MAX_STARTED_BY} characters."
        )));
    }
    if overrides_size > MAX_OVERRIDES {
        return Err(ApiError::invalid(format!(
            "Container Overrides length must be at most {MAX_OVERRIDES}"
        )));
    }
    if !(1..=MAX_COUNT).contains(&call.count.unwrap_or(1)) {
        return Err(ApiError::invalid(format!(
            "Count must be between 1 and {MAX_COUNT}."
        )));
    }
    if call
        .launch_type
        .as_deref()
        .is_some_and(|kind| kind != "FARGATE")
    {
        return Err(ApiError::invalid(
            "No Container Instances were found in your cluster.",
        ));
    }
    let subnets = call
        .network_configuration
        .as_ref()
        .and_then(|network| network.pointer("/awsvpcConfiguration/subnets"));
    if subnets.and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err(ApiError::invalid(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ));
    }
    Ok(())
}

/// Applies the request's overrides to the environments of the definition.
fn override_environments(
    containers: &mut [Container],
    overrides: &Overrides,
) -> Result<(), ApiError> {
    if let Some(field) = overrides.others.keys().next() {
        return Err(not_overridable(field));
    }
    for change in &overrides.container_overrides {
        let name = change.name.as_deref().unwrap_or_default();
        let found = containers.iter_mut().find(|one| one.name == name);
        let container = found.ok_or_else(|| {
            ApiError::invalid(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            ))
        })?;
        if let Some(field) = change.others.keys().next() {
            return Err(not_overridable(field));
        }
        for pair in &change.environment {
            if container
                .secrets
                .iter()
                .any(|(secret, _)| *secret == pair.name)
            {
                return Err(ApiError::invalid(format!(
                    "The environment variable '{}' is a secret of the task definition and cannot be overridden.",
                    pair.name
                )));
            }
            let (name, value) = (pair.name.clone(), pair.value.clone());
            container.environment.insert(name, value);
        }
    }
    Ok(())
}

fn not_overridable(field: &str) -> ApiError {
    ApiError::invalid(format!(
        "`{field}` cannot be overridden in the local stand-in for ECS: only a container's environment can."
    ))
}

/// SHA-256 of the parameters without the client token.
fn digest_of(body: &Value) -> String {
    let mut parameters = body.clone();
    if let Some(members) = parameters.as_object_mut() {
        members.remove("clientToken");
    }
    random::hex(&Sha256::digest(parameters.to_string()))
}

/// The last part of an ARN, or the name itself.
fn short_name(name_or_arn: &str) -> &str {
    name_or_arn.rsplit('/').next().unwrap_or(name_or_arn)
}

fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}
