//! The real handlers in this process, over tables in memory, in virtual time.
//!
//! Each call of the tables takes a few milliseconds there and back, and other handlers go on
//! meanwhile. Time is tokio's while it is paused: it passes when everybody waits, so an hour of
//! heartbeats, sweeps and leases takes as long as its work. Queues lose and repeat messages, as
//! SQS may repeat them and a sender that dies loses them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_api::http::answer;
use sealfleet_domain::access::Role;
use sealfleet_domain::credential::Home;
use sealfleet_domain::{Clock, Timestamp};
use sealfleet_functions::shared::auth::Oidc;
use sealfleet_ledger::store::{
    Consistency, DueRow, DueRows, Item, Key, Query, Range, ReadError, Rows, Store, Table, Write,
    WriteError,
};
use sealfleet_ledger::{Added, Identities, Ledger, due_shards, identity_of_image};
use sealfleet_test_fakes::handlers::{Handlers, Invoke};
use sealfleet_test_fakes::memory::{Changed, Tables, number, text};
use sealfleet_test_fakes::random::Random;
use sealfleet_test_fakes::stage::{self, Stage};
use sealfleet_test_fakes::time::SeededIds;
use sealfleet_test_stack::{Failure, Outcome};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::world::{self, Answer, Asked, Message, Noticed, World};

/// 2027-01-15T08:00:00Z.
pub const BEGINNING: i64 = 1_800_000_000_000;
/// Milliseconds that a call of the tables takes in each direction.
const TRAVEL: (i64, i64) = (1, 6);
/// Of a thousand reads that need not be strong, those that answer with the row as it was before.
const LATE: u64 = 50;
/// Milliseconds between two looks at the queues, and at the stream.
const PUMPED: u64 = 100;
const STREAMED: u64 = 1000;
/// Records of one batch of the stream.
const BATCH: usize = 100;
/// Seconds after which a message that is not deleted comes again.
const HIDDEN: i64 = 180;

/// What is broken on purpose, so that a count must rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// A queue shows its messages to the next project, too.
    LeakedMessages,
    /// Some runs' messages are lost, always, and nobody looks at what is due.
    LostRuns,
    /// Every tenth batch of the stream is lost.
    LostEntries,
    /// Writes are made whatever their conditions say, and each message comes twice.
    DoubledStarts,
    /// A sweep is only made every five minutes.
    LateSweeps,
}

/// Virtual time.
#[derive(Clone, Copy)]
pub struct Virtual(Instant);

impl Virtual {
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(BEGINNING.saturating_add(passed))
    }
}

/// Tables in memory that are some milliseconds away.
pub struct Distant {
    tables: Mutex<Tables>,
    random: Mutex<Random>,
    stream: Mutex<VecDeque<Changed>>,
    identities: Mutex<Identities>,
    travel: (i64, i64),
}

impl Distant {
    /// Empty tables. A call takes between so many milliseconds in each direction.
    #[must_use]
    pub fn new(seed: u64, travel: (i64, i64)) -> Self {
        Self::over(Tables::default(), seed, travel)
    }

    /// These tables, that far away.
    #[must_use]
    pub fn over(tables: Tables, seed: u64, travel: (i64, i64)) -> Self {
        Self {
            tables: Mutex::new(tables),
            random: Mutex::new(Random::new(seed)),
            stream: Mutex::default(),
            identities: Mutex::default(),
            travel,
        }
    }

    /// The tables as they stand.
    pub fn tables(&self) -> Tables {
        locked(&self.tables).clone()
    }

    async fn travel(&self) {
        let (least, most) = self.travel;
        let millis = locked(&self.random).millis(least, most);
        if millis > 0 {
            sleep(Duration::from_millis(millis.unsigned_abs())).await;
        }
    }

    /// Keeps an identity, by its hash.
    fn remember(&self, change: &Changed) {
        let hash = change.key.pk.split_once("#IDENTITY#").map(|(_, hash)| hash);
        if let (Some(hash), Some(after)) = (hash, &change.after)
            && let Ok(identity) = identity_of_image(after)
        {
            locked(&self.identities).insert(hash.to_owned(), Arc::new(identity));
        }
    }

    async fn call<T>(&self, call: impl FnOnce(&mut Tables) -> T) -> T {
        self.travel().await;
        let answer = call(&mut locked(&self.tables));
        self.travel().await;
        answer
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for Distant {
    async fn get(
        &self,
        table: Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, ReadError> {
        let late = consistency == Consistency::Eventual && locked(&self.random).chance(LATE);
        let item = self
            .call(|tables| {
                if late {
                    tables.get_older(table, key)
                } else {
                    tables.get(table, key)
                }
            })
            .await;
        Ok(item.map(|item| item.as_ref().clone()))
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError> {
        self.call(|tables| tables.query(query, after))
            .await
            .map_err(ReadError::Refused)
    }

    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, ReadError> {
        self.call(|tables| {
            tables.settle(0);
            tables.due(shard, until, after, limit)
        })
        .await
        .map_err(ReadError::Refused)
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.call(|tables| {
            let changed = tables.write(writes)?;
            for change in &changed {
                self.remember(change);
            }
            let of_run = |change: &Changed| change.key.pk.contains("#RUNS#");
            locked(&self.stream).extend(changed.into_iter().filter(of_run));
            Ok(())
        })
        .await
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Message>,
    /// Delivered and not deleted yet, with the time at which it waits again; earliest first.
    delivered: VecDeque<(Timestamp, Message)>,
}

#[derive(Default)]
struct Queues {
    by_project: HashMap<String, Queue>,
    /// Steps that a message was seen for.
    known: BTreeSet<(String, String)>,
    /// Of these, those whose only message was lost.
    lost: BTreeSet<(String, String)>,
    projects: Vec<String>,
    sent: u64,
}

pub struct Memory {
    clock: Virtual,
    store: Arc<Distant>,
    handlers: Arc<Handlers>,
    stage: Stage<()>,
    queues: RefCell<Queues>,
    random: RefCell<Random>,
    noticed: RefCell<Vec<Noticed>>,
    operator: String,
    fault: Fault,
    tasks: RefCell<Vec<JoinHandle<()>>>,
    sweeps: Cell<u64>,
}

impl Memory {
    /// Begins a world in a paused runtime, with its sweeps, its stream and its queues at work.
    pub async fn begin(seed: u64, fault: Fault) -> Outcome<Rc<Self>> {
        let clock = Virtual::begin();
        let store = Arc::new(Distant::new(seed, TRAVEL));
        locked(&store.tables).ignores_conditions = fault == Fault::DoubledStarts;
        let ledger = Ledger::new(
            store.clone(),
            Arc::new(clock),
            Arc::new(SeededIds::new(seed)),
        );
        let until = ledger.now().plus_seconds(360 * 24 * 3600);
        let (_, operator) = ledger
            .create_token(&Home::Operators, Role::Operator, None, None, until, "load")
            .await?;
        let world = stage::World::new(Tables::default(), BEGINNING, Random::new(seed), ());
        let stage = Stage::new(world);
        let world = Rc::new(Self {
            clock,
            handlers: Arc::new(Handlers::over(ledger, &stage, |_| Oidc::Off)),
            store,
            stage,
            queues: RefCell::default(),
            random: RefCell::new(Random::new(seed ^ 1)),
            noticed: RefCell::default(),
            operator,
            fault,
            tasks: RefCell::default(),
            sweeps: Cell::new(0),
        });
        let tasks = vec![
            tokio::task::spawn_local(Rc::clone(&world).pump()),
            tokio::task::spawn_local(Rc::clone(&world).copy()),
            tokio::task::spawn_local(Rc::clone(&world).sweep()),
        ];
        world.tasks.replace(tasks);
        Ok(world)
    }

    /// Ends what is at work in the background.
    pub fn end(&self) {
        for task in self.tasks.take() {
            task.abort();
        }
    }

    /// Sweeps that were made.
    pub fn sweeps(&self) -> u64 {
        self.sweeps.get()
    }

    /// Carries messages from their senders to the queues.
    async fn pump(self: Rc<Self>) {
        loop {
            sleep(Duration::from_millis(PUMPED)).await;
            for message in self.stage.lock().queues.drain() {
                let Some(hint) = message.hint() else { continue };
                let project = message
                    .queue
                    .trim_start_matches("sealfleet-")
                    .trim_end_matches(world::POOL)
                    .trim_end_matches('-');
                self.carry(project, &hint.run_id.to_string(), hint.step_id.as_str());
            }
        }
    }

    /// Puts a message into its queue, unless it is lost.
    fn carry(&self, project: &str, run: &str, step: &str) {
        let now = self.clock.now();
        let (lost, doubled) = {
            let mut random = self.random.borrow_mut();
            (random.chance(20), random.chance(20))
        };
        let mut queues = self.queues.borrow_mut();
        let new = queues.known.insert((run.to_owned(), step.to_owned()));
        // When a message comes that was sent again follows from the time of the first one.
        if !new && queues.lost.remove(&(run.to_owned(), step.to_owned())) {
            self.noticed.borrow_mut().push(Noticed::CameAgain {
                run: run.to_owned(),
                step: step.to_owned(),
                at: now,
            });
        }
        if new && lost {
            queues.lost.insert((run.to_owned(), step.to_owned()));
            self.noticed.borrow_mut().push(Noticed::Swallowed {
                run: run.to_owned(),
                step: step.to_owned(),
                at: now,
            });
            return;
        }
        if self.fault == Fault::LostRuns && run.ends_with(['0', '1']) {
            return;
        }
        let mut to = vec![project.to_owned()];
        if doubled || self.fault == Fault::DoubledStarts {
            to.push(project.to_owned());
        }
        if self.fault == Fault::LeakedMessages {
            let at = queues.projects.iter().position(|other| other == project);
            let next = at.and_then(|at| queues.projects.get(at + 1)).cloned();
            to.extend(next);
        }
        for project in to {
            queues.sent += 1;
            let message = Message {
                run: run.to_owned(),
                step: step.to_owned(),
                receipt: queues.sent.to_string(),
            };
            let queue = queues.by_project.entry(project).or_default();
            queue.waiting.push_back(message);
        }
    }

    /// Carries what the stream tells of to the `trail` function, which now and then hears it twice.
    async fn copy(self: Rc<Self>) {
        let mut batches = 0_u64;
        loop {
            sleep(Duration::from_millis(STREAMED)).await;
            loop {
                let batch: Vec<Changed> = {
                    let mut stream = locked(&self.store.stream);
                    let count = stream.len().min(BATCH);
                    stream.drain(..count).collect()
                };
                if batch.is_empty() {
                    break;
                }
                batches += 1;
                self.note(&batch);
                if self.fault == Fault::LostEntries && batches.is_multiple_of(10) {
                    continue;
                }
                let again = self.random.borrow_mut().chance(20);
                for _ in 0..=u8::from(again) {
                    let _ = self.handlers.invoke(Invoke::Stream(batch.clone())).await;
                }
            }
        }
    }

    /// Notes the entries that these changes of runs have added.
    fn note(&self, batch: &[Changed]) {
        let identities = locked(&self.store.identities);
        for change in batch {
            let Some(after) = &change.after else { continue };
            let added = Added::between(change.before.as_deref(), after);
            let added = added.and_then(|added| added.entries(&identities));
            let run = &change.key.sk;
            // One that cannot be read is none of the trail's.
            let ids = added.map_or_else(
                |error| vec![error.to_string()],
                |added| {
                    added
                        .iter()
                        .map(|entry| entry.event_id.to_string())
                        .collect()
                },
            );
            let decided = ids.into_iter().map(|event_id| Noticed::Decided {
                run: run.clone(),
                event_id,
            });
            self.noticed.borrow_mut().extend(decided);
        }
    }

    /// Sweeps every minute, and looks at what is due afterwards.
    async fn sweep(self: Rc<Self>) {
        let minutes = if self.fault == Fault::LateSweeps {
            5
        } else {
            1
        };
        let mut schedule = tokio::time::interval(Duration::from_secs(60 * minutes));
        loop {
            schedule.tick().await;
            if self.fault == Fault::LostRuns {
                continue;
            }
            let _ = self.handlers.invoke(Invoke::Sweep).await;
            self.sweeps.set(self.sweeps.get() + 1);
            let now = self.clock.now();
            let mut tables = locked(&self.store.tables);
            tables.settle(0);
            let leases = ends_of_leases(&tables);
            for shard in due_shards() {
                let due = tables.due(&shard, now.millis(), None, 1000);
                for row in due.unwrap_or_default().rows {
                    // A run whose leases live keeps its place in the index.
                    let lease = leases.get(&row.key.sk).copied();
                    let end = lease.unwrap_or_default();
                    if end <= now.millis() {
                        self.noticed.borrow_mut().push(Noticed::StillDue {
                            since: Timestamp::from_millis(row.at.max(end)),
                            what: format!("{} of {}", row.key.sk, row.key.pk),
                            waits: lease.is_none() && row.key.sk.starts_with("run_"),
                            now,
                        });
                    }
                }
            }
        }
    }
}

/// The end of the last lease of each run, in milliseconds since the epoch.
fn ends_of_leases(tables: &Tables) -> HashMap<String, i64> {
    let mut ends: HashMap<String, i64> = HashMap::new();
    let partitions = (0..8).flat_map(|shard| tables.partitions(&format!("#LEASES#{shard}")));
    for pk in partitions {
        let query = Query {
            table: Table::Ledger,
            pk,
            range: Range::All,
            backwards: false,
            limit: usize::MAX,
            consistent: true,
            only: None,
        };
        let rows = tables.query(&query, None).unwrap_or_default();
        for row in rows.items {
            let run = text(&row, "step").and_then(|step| step.split_once('/'));
            if let (Some((run, _)), Some(until)) = (run, number(&row, "until")) {
                let end = ends.entry(run.to_owned()).or_default();
                *end = until.max(*end);
            }
        }
    }
    ends
}

impl World for Memory {
    fn prefix(&self) -> &str {
        "tenant-"
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn operator(&self) -> &str {
        &self.operator
    }

    fn haste(&self) -> u64 {
        1
    }

    async fn deploy(&self, project: &str) -> Outcome {
        self.queues.borrow_mut().projects.push(project.to_owned());
        Ok(())
    }

    async fn ask(&self, credential: &str, asked: Asked<'_>) -> Outcome<Answer> {
        ask(&self.handlers, credential, asked).await
    }

    async fn receive(&self, worker: &world::Worker, most: usize) -> Outcome<Vec<Message>> {
        let now = self.clock.now();
        let mut queues = self.queues.borrow_mut();
        let queue = queues.by_project.entry(worker.project.clone()).or_default();
        while let Some((at, _)) = queue.delivered.front()
            && *at <= now
            && let Some((_, message)) = queue.delivered.pop_front()
        {
            queue.waiting.push_back(message);
        }
        let count = most.min(queue.waiting.len());
        let received: Vec<Message> = queue.waiting.drain(..count).collect();
        let again = now.plus_seconds(HIDDEN);
        let delivered = received.iter().map(|message| (again, message.clone()));
        queue.delivered.extend(delivered);
        Ok(received)
    }

    async fn delete(&self, worker: &world::Worker, message: &Message) -> Outcome {
        let mut queues = self.queues.borrow_mut();
        let queue = queues.by_project.entry(worker.project.clone()).or_default();
        let is_it = |(_, other): &(Timestamp, Message)| other.receipt == message.receipt;
        if let Some(at) = queue.delivered.iter().rposition(is_it) {
            queue.delivered.remove(at);
        }
        Ok(())
    }

    fn noticed(&self) -> Vec<Noticed> {
        self.noticed.take()
    }
}

/// What the handlers answer, through everything that stands behind API Gateway.
pub async fn ask(handlers: &Handlers, credential: &str, asked: Asked<'_>) -> Outcome<Answer> {
    let event = event(credential, &asked)?;
    let response = answer(event, async |asked| handlers.answer(&asked).await).await;
    let text = response.body.as_ref().map(|body| body.to_vec());
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    Ok(Answer {
        status: u16::try_from(response.status_code).unwrap_or_default(),
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    })
}

/// The event as API Gateway sends it.
fn event(
    credential: &str,
    asked: &Asked<'_>,
) -> Outcome<aws_lambda_events::apigw::ApiGatewayV2httpRequest> {
    let mut headers = json!({
        "content-type": "application/json", "authorization": format!("Bearer {credential}"),
    });
    if let Some(headers) = headers.as_object_mut()
        && !asked.idempotency_key.is_empty()
    {
        let key = Value::from(asked.idempotency_key);
        headers.insert("idempotency-key".to_owned(), key);
    }
    let query: HashMap<&str, &str> = asked
        .query
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let body = (!asked.body.is_null()).then(|| asked.body.to_string());
    let event = json!({
        "version": "2.0", "rawPath": asked.path, "headers": headers, "queryStringParameters": query,
        "requestContext": { "http": { "method": asked.method, "path": asked.path } },
        "body": body, "isBase64Encoded": false,
    });
    serde_json::from_value(event).map_err(|error| Failure::new(error.to_string()))
}
