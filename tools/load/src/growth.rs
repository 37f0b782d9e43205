//! What one operation costs beside 10, 100, 1,000 and 10,000 of what could make it dearer: units
//! and requests, and its time as a ratio to the first row.
//!
//! The tables are dynoxide's, which counts capacity units as DynamoDB does. The archive is a bucket
//! in memory; a list is a request for each thousand keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use sealfleet_archive::digest::Signature;
use sealfleet_archive::objects::{self, ObjectName};
use sealfleet_aws::Unavailable;
use sealfleet_aws::objects::{Listed, Objects};
use sealfleet_aws::signing::Signer;
use sealfleet_domain::audit::Event;
use sealfleet_domain::{Clock, Timestamp};
use sealfleet_functions::export::{self, digest};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_ledger::store::{
    Consistency, DueRow, DueRows, Item, Key, Query, ReadError, Rows, Store, Table, Write,
    WriteError,
};
use sealfleet_ledger::{Dynamo, Ledger};
use sealfleet_test_fakes::archive::{Archive, signature_of};
use sealfleet_test_fakes::time::SeededIds;
use sealfleet_test_stack::{Failure, Outcome, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::field::{Field, PROFILE, scope, step_id};
use crate::judge::text;
use crate::memory::{BEGINNING, locked};
use crate::world::Asked;

/// Measured operations of a row, where they do not change what is measured.
const TIMES: u32 = 10;
/// The tenant with many, and the one beside it.
const NOISY: &str = "noisy";
const QUIET: &str = "quiet";

/// A row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Of what there are many, and what is done beside them.
    pub of: &'static str,
    pub operation: &'static str,
    pub size: usize,
    pub write_units: f64,
    pub read_units: f64,
    pub requests: f64,
    /// Of the operation, to that of the first size.
    pub time_ratio: f64,
}

/// What something has used.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    write_units: f64,
    read_units: f64,
    requests: f64,
    seconds: f64,
}

impl Cost {
    fn over(self, times: f64) -> Self {
        Self {
            write_units: self.write_units / times,
            read_units: self.read_units / times,
            requests: self.requests / times,
            seconds: self.seconds / times,
        }
    }
}

/// A clock that is set, in tenths of a millisecond. Each look moves it by one: ids of one instant
/// would all stand in one place of the trail.
#[derive(Clone, Default)]
struct Set(Arc<AtomicI64>);

impl Set {
    fn goes_on(&self, seconds: i64) {
        self.0.fetch_add(seconds * 10_000, Ordering::Relaxed);
    }
}

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(BEGINNING + self.0.fetch_add(1, Ordering::Relaxed) / 10)
    }
}

/// Counts the requests of the tables, and notes when a tenant's run was first written.
struct Counted {
    store: Arc<Dynamo>,
    requests: AtomicU64,
    watched: Mutex<Option<Cost>>,
    begun: Mutex<(Cost, Instant)>,
}

impl Counted {
    fn used(&self) -> Cost {
        let (write_units, read_units) = self.store.meter().units();
        let requests = u32::try_from(self.requests.load(Ordering::Relaxed));
        Cost {
            write_units,
            read_units,
            requests: f64::from(requests.unwrap_or(u32::MAX)),
            seconds: 0.0,
        }
    }

    fn begin(&self) {
        *locked(&self.watched) = None;
        *locked(&self.begun) = (self.used(), Instant::now());
    }

    /// What was used since [`Self::begin`].
    fn since(&self) -> Cost {
        let (before, begun) = *locked(&self.begun);
        let now = self.used();
        Cost {
            write_units: now.write_units - before.write_units,
            read_units: now.read_units - before.read_units,
            requests: now.requests - before.requests,
            seconds: begun.elapsed().as_secs_f64(),
        }
    }

    fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Store for Counted {
    async fn get(
        &self,
        table: Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, ReadError> {
        self.count();
        self.store.get(table, key, consistency).await
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError> {
        self.count();
        self.store.query(query, after).await
    }

    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, ReadError> {
        self.count();
        self.store.due(shard, until, after, limit).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.count();
        let quiet = |write: &Write| {
            let (_, key) = write.target();
            key.is_some_and(|key| key.pk.starts_with(&format!("PRJ#{QUIET}#RUNS#")))
        };
        let is_quiet = writes.iter().any(quiet);
        let written = self.store.write(writes).await;
        if is_quiet {
            locked(&self.watched).get_or_insert_with(|| self.since());
        }
        written
    }
}

struct Bench {
    field: Field,
    store: Arc<Counted>,
    clock: Set,
    token: String,
    rows: Vec<Row>,
    first: BTreeMap<(&'static str, &'static str), f64>,
    /// The database's own server.
    _client: aws_sdk_dynamodb::Client,
}

impl Bench {
    async fn new() -> Outcome<Self> {
        let (store, client) = sealfleet_test_dynamo::start()
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        let clock = Set::default();
        let store = Arc::new(Counted {
            store,
            requests: AtomicU64::new(0),
            watched: Mutex::new(None),
            begun: Mutex::new((Cost::default(), Instant::now())),
        });
        let field = Field::new(store.clone(), Arc::new(clock.clone()), 1);
        let token = field.project(NOISY).await?;
        field.project(QUIET).await?;
        Ok(Self {
            field,
            store,
            clock,
            token,
            rows: Vec::new(),
            first: BTreeMap::new(),
            _client: client,
        })
    }

    fn add(&mut self, of: &'static str, operation: &'static str, size: usize, cost: Cost) {
        let first = self.first.entry((of, operation)).or_insert(cost.seconds);
        let row = Row {
            of,
            operation,
            size,
            write_units: cost.write_units,
            read_units: cost.read_units,
            requests: cost.requests,
            time_ratio: cost.seconds / *first,
        };
        eprintln!("load: {}", row.line());
        self.rows.push(row);
    }

    /// What an operation costs, as the mean of several.
    async fn cost(&self, mut operation: impl AsyncFnMut() -> Outcome) -> Outcome<Cost> {
        // The first one fills what the handlers remember.
        operation().await?;
        self.store.begin();
        for _ in 0..TIMES {
            operation().await?;
        }
        Ok(self.store.since().over(f64::from(TIMES)))
    }

    async fn asked(&self, asked: Asked<'_>) -> Outcome<Value> {
        let answer = self.field.ask(&self.token, asked).await?;
        answer.accepted(asked.path)
    }

    /// An expired lease of one tenant is found while another has `size` due rows.
    async fn due_rows(&mut self, sizes: &[usize]) -> Outcome {
        const OF: &str = "due rows of another tenant";
        let (worker, _) = self.field.worker(QUIET).await?;
        let mut there = 0;
        for size in sizes {
            while there < *size {
                self.field.enqueue(NOISY, 1, false).await?;
                there += 1;
            }
            let run = self.field.enqueue(QUIET, 1, true).await?;
            self.field.claim(QUIET, &worker, run).await?;
            // Later than any message is sent again.
            self.clock.goes_on(24 * 60);
            self.store.begin();
            let swept = self.field.sweep().await?;
            let all = self.store.since();
            let found = locked(&self.store.watched).take();
            let found = found.ok_or_else(|| Failure::new("the expired lease was not found"))?;
            ensure!(
                swept.visited > *size as u64 && swept.left == 0,
                "not all was visited: {swept:?}"
            );
            self.add(
                OF,
                "sweep, until an expired lease is dealt with",
                *size,
                found,
            );
            let visited = u32::try_from(swept.visited).map_or(1.0, f64::from);
            self.add(OF, "sweep, one visit", *size, all.over(visited));
        }
        Ok(())
    }

    /// A claim, and a heartbeat, of one worker while others hold `size` leases.
    async fn leases(&mut self, sizes: &[usize]) -> Outcome {
        const OF: &str = "leases of other workers";
        let (own, credential) = self.field.worker(NOISY).await?;
        let (mut there, mut other) = (0, self.field.worker(NOISY).await?.0);
        for size in sizes {
            while there < *size {
                if there % 900 == 899 {
                    other = self.field.worker(NOISY).await?.0;
                }
                let run = self.field.enqueue(NOISY, 1, true).await?;
                self.field.claim(NOISY, &other, run).await?;
                there += 1;
            }
            let mut runs = Vec::new();
            for _ in 0..=TIMES {
                runs.push(self.field.enqueue(NOISY, 1, true).await?);
            }
            let mut held = Vec::new();
            let mut rest = runs.clone();
            let cost = self.cost(async || {
                let run = rest.pop().ok_or_else(|| Failure::new("no run"))?;
                let body = json!({ "run_id": run, "step_id": step_id(0)? });
                let asked = Asked::post("/v1/claims", &body);
                let answer = self.field.ask(&credential, asked).await?;
                held.push(answer.accepted("a claim")?);
                Ok(())
            });
            let cost = cost.await?;
            self.add(OF, "claim, with a secret", *size, cost);
            let lease = |claim: &Value| {
                json!({
                    "run_id": claim.get("run_id"), "step_id": claim.get("step_id"), "fence": claim.get("fence"),
                })
            };
            let body = json!({ "leases": [held.first().map(lease)] });
            let cost = self.cost(async || {
                let asked = Asked::post("/v1/heartbeats", &body);
                let answer = self.field.ask(&credential, asked).await?;
                answer.accepted("a heartbeat").map(drop)
            });
            let cost = cost.await?;
            self.add(OF, "heartbeat of one lease", *size, cost);
            // It holds nothing any more when the next size is measured.
            for claim in &held {
                let mut body = lease(claim);
                if let Some(body) = body.as_object_mut() {
                    body.insert("state".to_owned(), json!("succeeded"));
                }
                let asked = Asked::post("/v1/reports", &body);
                self.field
                    .ask(&credential, asked)
                    .await?
                    .accepted("a report")?;
            }
        }
        drop(own);
        Ok(())
    }

    /// An enqueue, a claim, a run and a page of runs in a project of `size` runs.
    async fn runs(&mut self, sizes: &[usize]) -> Outcome {
        const OF: &str = "runs of the project";
        let (_, credential) = self.field.worker(NOISY).await?;
        let mut there = 0;
        for size in sizes {
            while there < *size {
                self.field.enqueue(NOISY, 1, true).await?;
                there += 1;
            }
            let body = json!({
                "workflow": "w", "profile": PROFILE,
                "steps": [{ "id": "s0", "pool": "workers", "mode": "identity", "command": ["true"] }],
            });
            let mut runs = Vec::new();
            let cost = self.cost(async || {
                let run = self.asked(Asked::post("/v1/runs", &body)).await?;
                runs.push(text(&run, "run_id"));
                Ok(())
            });
            let cost = cost.await?;
            self.add(OF, "enqueue", *size, cost);
            let cost = self.cost(async || {
                let body = json!({ "run_id": runs.pop(), "step_id": "s0" });
                let asked = Asked::post("/v1/claims", &body);
                let answer = self.field.ask(&credential, asked).await?;
                answer.accepted("a claim").map(drop)
            });
            let cost = cost.await?;
            self.add(OF, "claim", *size, cost);
            let query = [("limit", "50".to_owned())];
            let page = async || self.asked(Asked::get("/v1/runs", &query)).await.map(drop);
            let cost = self.cost(page).await?;
            self.add(OF, "page of 50 runs", *size, cost);
        }
        Ok(())
    }

    /// The cascade of a run in a project of `size` profiles.
    async fn profiles(&mut self, sizes: &[usize]) -> Outcome {
        const OF: &str = "profiles of the project";
        let mut there = 0;
        for size in sizes {
            while there < *size {
                self.field.profile(NOISY, &format!("p{there}")).await?;
                there += 1;
            }
            let body = json!({ "workflow": "w", "profile": PROFILE });
            let resolve = async || {
                let asked = Asked::post("/v1/cascade/resolve", &body);
                self.asked(asked).await.map(drop)
            };
            let cost = self.cost(resolve).await?;
            self.add(OF, "cascade resolved", *size, cost);
        }
        Ok(())
    }

    /// A page of a trail of `size` entries: the first, and one from the middle.
    async fn entries(&mut self, sizes: &[usize]) -> Outcome {
        const OF: &str = "entries of the trail";
        let (scope, mut there) = (scope(NOISY)?, 0);
        let event = Event::StepQueued {
            step_id: step_id(0)?,
        };
        let began = self.field.ledger.now();
        let first = self.field.enqueue(NOISY, 1, false).await?;
        for size in sizes {
            while there < *size {
                let events = vec![event.clone()];
                self.field
                    .ledger
                    .record(&scope, "system:load", None, events)
                    .await?;
                there += 1;
            }
            let from = ("from", began.to_string());
            let query = [from.clone(), ("limit", "50".to_owned())];
            let page = async || self.asked(Asked::get("/v1/audit", &query)).await.map(drop);
            let cost = self.cost(page).await?;
            self.add(OF, "first page of 50 entries", *size, cost);
            let since = self.field.ledger.now().millis_since(began) / 2;
            let middle = Timestamp::from_millis(began.millis() + since);
            let query = [("from", middle.to_string()), ("limit", "50".to_owned())];
            let page = async || self.asked(Asked::get("/v1/audit", &query)).await.map(drop);
            let cost = self.cost(page).await?;
            self.add(OF, "page of 50 entries from the middle", *size, cost);
            let query = [("run", first.to_string())];
            let whole = async || self.asked(Asked::get("/v1/audit", &query)).await.map(drop);
            let cost = self.cost(whole).await?;
            self.add(OF, "first page of the trail of the oldest run", *size, cost);
        }
        Ok(())
    }

    /// The hour's digest of ten new objects in an archive of `size` others.
    async fn objects(&mut self, sizes: &[usize]) -> Outcome {
        let days = [
            ("archive objects of earlier days", 10 * 24 * 3600),
            ("archive objects of today, digested", 0),
        ];
        for (of, old) in days {
            let bucket = Bucket::new(self.clock.clone());
            let ports = export::Ports {
                objects: Box::new(bucket.clone()),
                signer: Box::new(Ink),
                ledger: Ledger::new(
                    self.store.clone(),
                    Arc::new(self.clock.clone()),
                    Arc::new(SeededIds::new(9)),
                ),
                metrics: Metrics::to("export", Arc::<Mutex<Vec<String>>>::default()),
                version: export::ocsf::Version::default(),
            };
            let mut there = 0;
            for size in sizes {
                while there < *size {
                    bucket.put(there, -old)?;
                    there += 1;
                }
                // A digest of all that is there, and two of nothing, so that it lies behind.
                let until = || self.clock.now().plus_seconds(3600);
                while digest::make(&ports, until()).await.map_err(failed)?.left > 0 {}
                for _ in 0..2 {
                    self.clock.goes_on(3600);
                    digest::make(&ports, until()).await.map_err(failed)?;
                }
                self.clock.goes_on(3600);
                for _ in 0..10 {
                    bucket.put(there, 0)?;
                    there += 1;
                }
                let before = bucket.requests();
                let begun = Instant::now();
                let made = digest::make(&ports, until()).await.map_err(failed)?;
                let seconds = begun.elapsed().as_secs_f64();
                ensure!(made.objects == 10, "not all is digested: {made:?}");
                let cost = Cost {
                    requests: f64::from(bucket.requests() - before),
                    seconds,
                    ..Cost::default()
                };
                self.add(of, "digest of 10 new objects", *size, cost);
            }
        }
        Ok(())
    }
}

fn failed(error: export::Error) -> Failure {
    Failure::new(error.to_string())
}

/// Measures all operations beside these sizes.
pub async fn measure(sizes: &[usize]) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for topic in 0..6 {
        // Each in tables of its own.
        let mut bench = Bench::new().await?;
        match topic {
            0 => bench.due_rows(sizes).await?,
            1 => bench.leases(sizes).await?,
            2 => bench.runs(sizes).await?,
            3 => bench.profiles(sizes).await?,
            4 => bench.entries(sizes).await?,
            _ => bench.objects(sizes).await?,
        }
        rows.append(&mut bench.rows);
    }
    Ok(rows)
}

impl Row {
    fn line(&self) -> String {
        format!(
            "{}, {} beside {}: {:.1} WRU, {:.1} RRU, {:.1} requests, {:.2} times the time",
            self.of,
            self.operation,
            self.size,
            self.write_units,
            self.read_units,
            self.requests,
            self.time_ratio
        )
    }
}

/// The rows as a table of a document: each operation once, with a column for each size.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let sizes: BTreeSet<usize> = rows.iter().map(|row| row.size).collect();
    let mut table = String::from("| many | operation |");
    for size in &sizes {
        let _ = write!(table, " {size} |");
    }
    table.push_str("\n|---|---|");
    table.push_str(&"---|".repeat(sizes.len()));
    let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
    for row in rows {
        if !told.insert((row.of, row.operation)) {
            continue;
        }
        let _ = write!(table, "\n| {} | {} |", row.of, row.operation);
        let own = rows
            .iter()
            .filter(|other| (other.of, other.operation) == (row.of, row.operation));
        for row in own {
            let _ = write!(
                table,
                " {:.1} / {:.1} / {:.1}; {:.2} |",
                row.write_units, row.read_units, row.requests, row.time_ratio
            );
        }
    }
    table.push('\n');
    table
}

/// A bucket in memory that counts its requests.
#[derive(Clone)]
struct Bucket {
    objects: Arc<Mutex<Archive>>,
    requests: Arc<AtomicU64>,
    clock: Set,
}

impl Bucket {
    fn new(clock: Set) -> Self {
        Self {
            objects: Arc::default(),
            requests: Arc::default(),
            clock,
        }
    }

    fn requests(&self) -> u32 {
        u32::try_from(self.requests.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    /// Puts an object of a trail's day, which is so many seconds from now.
    fn put(&self, number: usize, seconds: i64) -> Outcome {
        let now = self.clock.now();
        let day = now.plus_seconds(seconds).day();
        let name = format!("shard=0-{number:021}-{number:021}.jsonl.gz");
        let key = format!("{}{name}", ObjectName::of_day(NOISY, &day));
        let bytes = objects::pack(b"{}\n")?;
        locked(&self.objects).create(&key, bytes, now);
        Ok(())
    }

    fn count(&self, requests: usize) {
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
    }
}

#[async_trait]
impl Objects for Bucket {
    async fn create(&self, key: &str, _: &str, bytes: Vec<u8>) -> Result<bool, Unavailable> {
        self.count(1);
        Ok(locked(&self.objects).create(key, bytes, self.clock.now()))
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.count(1);
        Ok(locked(&self.objects).get(key))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Unavailable> {
        let listed = locked(&self.objects).list(prefix, after);
        self.count(1 + listed.len().saturating_sub(1) / 1000);
        Ok(listed)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Unavailable> {
        self.count(1);
        Ok(locked(&self.objects).folders(prefix))
    }
}

struct Ink;

#[async_trait]
impl Signer for Ink {
    async fn sign(&self, sha256: [u8; 32]) -> Result<Signature, Unavailable> {
        Ok(signature_of(sha256))
    }
}
