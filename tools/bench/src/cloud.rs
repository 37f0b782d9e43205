//! AWS as the functions see it: tables with their capacity units, a bucket, and other services that
//! answer and are counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use sealfleet_test_stack::{Failure, Outcome, ensure};
use serde_json::{Value, json};

use crate::store::Store;

/// Consumption so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consumed {
    pub write_units: f64,
    pub read_units: f64,
    /// Requests, where those that are under way at the same time count as one.
    pub round_trips: f64,
    pub queue_requests: f64,
}

impl std::ops::Add for Consumed {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            write_units: self.write_units + more.write_units,
            read_units: self.read_units + more.read_units,
            round_trips: self.round_trips + more.round_trips,
            queue_requests: self.queue_requests + more.queue_requests,
        }
    }
}

impl std::ops::Sub for Consumed {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            write_units: self.write_units - before.write_units,
            read_units: self.read_units - before.read_units,
            round_trips: self.round_trips - before.round_trips,
            queue_requests: self.queue_requests - before.queue_requests,
        }
    }
}

/// The effect of a hard revocation, as the tables and ECS see it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aborted {
    /// Transactions that aborted a run because of a revocation.
    pub runs: usize,
    /// When the last of them was committed.
    pub last_run: Option<Instant>,
    /// Tasks that ECS was told to stop.
    pub tasks: usize,
}

pub struct Cloud {
    /// The endpoint of every service.
    pub url: String,
    played: Arc<Played>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

struct Played {
    http: reqwest::Client,
    tables: String,
    store: Store,
    consumed: Mutex<Consumed>,
    aborted: Mutex<Aborted>,
    under_way: AtomicUsize,
    /// The ledger's stream, while it is read.
    stream: Mutex<Option<Stream>>,
}

/// What the ledger's stream shows of runs.
#[derive(Default)]
struct Stream {
    /// The newest image of each run.
    images: HashMap<String, Value>,
    records: Vec<Value>,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Cloud {
    /// Starts one with both tables, empty.
    pub async fn start() -> Outcome<Self> {
        let database =
            dynoxide::Database::memory().map_err(|error| Failure::new(error.to_string()))?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let tables = format!("http://{}/", listener.local_addr()?);
        let database = tokio::spawn(dynoxide::server::serve_on(listener, database));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let played = Arc::new(Played {
            http: reqwest::Client::new(),
            tables,
            store: Store::default(),
            consumed: Mutex::default(),
            aborted: Mutex::default(),
            under_way: AtomicUsize::new(0),
            stream: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&played));
        let server = tokio::spawn(async move {
            // It ends with the task that it runs in.
            let _ = axum::serve(listener, router).await;
        });
        let cloud = Self {
            url,
            played,
            servers: vec![database, server],
        };
        cloud.make_tables().await?;
        Ok(cloud)
    }

    /// The objects in the bucket.
    pub fn objects(&self) -> usize {
        self.played.store.objects()
    }

    pub fn consumed(&self) -> Consumed {
        *self
            .played
            .consumed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the ledger's stream from now on, or no longer.
    pub fn reads_stream(&self, reads: bool) {
        *self.played.stream() = reads.then(Stream::default);
    }

    /// Records of runs since they were last asked for.
    pub fn take_records(&self) -> Vec<Value> {
        let mut stream = self.played.stream();
        let records = stream.as_mut().map(|stream| &mut stream.records);
        records.map(std::mem::take).unwrap_or_default()
    }

    /// The aborts since they were last asked for.
    pub fn take_aborted(&self) -> Aborted {
        std::mem::take(
            &mut *self
                .played
                .aborted
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// As infra/sam/template.yaml makes them.
    async fn make_tables(&self) -> Outcome {
        let key = |hash: &str, range: &str| json!([{ "AttributeName": hash, "KeyType": "HASH" }, { "AttributeName": range, "KeyType": "RANGE" }]);
        let attribute =
            |name: &str, kind: &str| json!({ "AttributeName": name, "AttributeType": kind });
        let (pk, sk) = (attribute("pk", "S"), attribute("sk", "S"));
        let ledger = json!({
            "TableName": "sealfleet-ledger", "BillingMode": "PAY_PER_REQUEST", "KeySchema": key("pk", "sk"),
            "AttributeDefinitions": [pk, sk, attribute("due_shard", "S"), attribute("due_at", "N")],
            "GlobalSecondaryIndexes": [{
                "IndexName": "due", "KeySchema": key("due_shard", "due_at"), "Projection": { "ProjectionType": "KEYS_ONLY" },
            }],
        });
        let audit = json!({
            "TableName": "sealfleet-audit", "BillingMode": "PAY_PER_REQUEST", "KeySchema": key("pk", "sk"),
            "AttributeDefinitions": [pk, sk],
        });
        for table in [ledger, audit] {
            let answer = self
                .played
                .forward("DynamoDB_20120810.CreateTable", table.to_string().into())
                .await?;
            ensure!(
                answer.0.is_success(),
                "CreateTable: {}",
                String::from_utf8_lossy(&answer.1)
            );
        }
        Ok(())
    }
}

impl Played {
    async fn forward(&self, target: &str, body: Bytes) -> Outcome<(StatusCode, Bytes)> {
        // Only the form of the credentials is looked at.
        let authorization = "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
        let request = self
            .http
            .post(&self.tables)
            .header("x-amz-target", target)
            .header("authorization", authorization);
        let request = request
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-date", "20260101T000000Z");
        let answer = request.body(body).send().await?;
        Ok((answer.status(), answer.bytes().await?))
    }

    fn count(&self, change: impl FnOnce(&mut Consumed)) {
        change(&mut self.consumed.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn note(&self, change: impl FnOnce(&mut Aborted)) {
        change(&mut self.aborted.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn stream(&self) -> MutexGuard<'_, Option<Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record for each run that a write has changed. Reading the rows for it counts nothing.
    async fn follow(&self, written: &[u8]) -> Outcome {
        for keys in runs_in(&serde_json::from_slice(written)?) {
            let get =
                json!({ "TableName": "sealfleet-ledger", "Key": keys, "ConsistentRead": true });
            let target = "DynamoDB_20120810.GetItem";
            let (_, read) = self.forward(target, get.to_string().into()).await?;
            let after = serde_json::from_slice::<Value>(&read)?["Item"].take();
            if let Some(stream) = self.stream().as_mut() {
                let before = stream.images.insert(keys.to_string(), after.clone());
                stream.records.push(record(&keys, before, after));
            }
        }
        Ok(())
    }

    async fn tables(&self, target: &str, body: Bytes) -> Outcome<(StatusCode, Bytes)> {
        // An abort's transaction has the row by which the fan-out counts it.
        let aborts = target.ends_with(".TransactWriteItems")
            && std::str::from_utf8(&body).is_ok_and(|text| text.contains("#FAN_OUT#fan_"));
        let follows = self.stream().is_some().then(|| body.clone());
        let (status, bytes) = self.forward(target, body).await?;
        if let Some(written) = follows.filter(|_| status.is_success()) {
            self.follow(&written).await?;
        }
        if aborts && status.is_success() {
            self.note(|aborted| {
                aborted.runs += 1;
                aborted.last_run = Some(Instant::now());
            });
        }
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        // One object for a single call, a list of them for a transaction.
        let capacity = &answer["ConsumedCapacity"];
        let listed = capacity
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![capacity.clone()]);
        let units: f64 = listed
            .iter()
            .filter_map(|one| one["CapacityUnits"].as_f64())
            .sum();
        let reads = [
            "GetItem",
            "BatchGetItem",
            "Query",
            "Scan",
            "TransactGetItems",
        ]
        .iter()
        .any(|read| target.ends_with(&format!(".{read}")));
        self.count(|consumed| {
            if reads {
                consumed.read_units += units
            } else {
                consumed.write_units += units
            }
        });
        Ok((status, bytes))
    }
}

/// The keys of the runs that a write changes.
fn runs_in(written: &Value) -> Vec<Value> {
    let mut writes = vec![written];
    for one in written["TransactItems"].as_array().into_iter().flatten() {
        writes.extend(
            one.as_object()
                .into_iter()
                .flat_map(serde_json::Map::values),
        );
    }
    let mut runs = Vec::new();
    for write in writes {
        let row = write.get("Key").or_else(|| write.get("Item"));
        let Some(row) = row.filter(|row| text(&row["pk"]).contains("#RUNS#")) else {
            continue;
        };
        runs.push(json!({ "pk": row["pk"], "sk": row["sk"] }));
    }
    runs
}

/// A text in DynamoDB's typed JSON.
fn text(attribute: &Value) -> &str {
    attribute["S"].as_str().unwrap_or_default()
}

/// A record of the stream: a run's row before and after a write.
fn record(keys: &Value, before: Option<Value>, after: Value) -> Value {
    let mut change = json!({
        "ApproximateCreationDateTime": 1_769_846_400, "Keys": keys, "NewImage": after,
        "SequenceNumber": "1", "SizeBytes": 400, "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    let name = if before.is_some() { "MODIFY" } else { "INSERT" };
    if let Some(before) = before {
        change["OldImage"] = before;
    }
    json!({
        "eventID": "bench", "eventName": name, "eventVersion": "1.1", "awsRegion": "us-east-1",
        "eventSource": "aws:dynamodb", "dynamodb": change,
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/sealfleet-ledger/stream/x",
    })
}

async fn serve(
    State(played): State<Arc<Played>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if played.under_way.fetch_add(1, Ordering::SeqCst) == 0 {
        played.count(|consumed| consumed.round_trips += 1.0);
    }
    let response = answered(&played, &method, &uri, &headers, body).await;
    played.under_way.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn answered(
    played: &Played,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    let signed = headers.get("authorization");
    let service = signed.and_then(|value| value.to_str().ok());
    if service.is_some_and(|authorization| authorization.contains("/s3/")) {
        return played.store.serve(method, uri, body);
    }
    let target = headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (service, operation) = target.split_once('.').unwrap_or_default();
    if service.starts_with("DynamoDB") {
        return match played.tables(target, body).await {
            Ok((status, bytes)) => (
                status,
                [("content-type", "application/x-amz-json-1.0")],
                bytes,
            )
                .into_response(),
            Err(failure) => (StatusCode::BAD_GATEWAY, failure.to_string()).into_response(),
        };
    }
    if service == "AmazonSQS" {
        played.count(|consumed| consumed.queue_requests += 1.0);
    }
    if operation == "StopTask" {
        played.note(|aborted| aborted.tasks += 1);
    }
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    match answer(operation, &asked) {
        Some(answer) => (
            [("content-type", "application/x-amz-json-1.1")],
            answer.to_string(),
        )
            .into_response(),
        None => (
            StatusCode::NOT_IMPLEMENTED,
            format!("`{target}` is not played"),
        )
            .into_response(),
    }
}

fn answer(operation: &str, asked: &Value) -> Option<Value> {
    let arn = |kind: &str, id: &str| format!("arn:aws:{kind}:us-east-1:000000000000:{id}");
    Some(match operation {
        "SendMessage" => {
            json!({ "MessageId": uuid::Uuid::new_v4(), "MD5OfMessageBody": "00000000000000000000000000000000" })
        }
        "DescribeSecret" => {
            let name = asked["SecretId"].as_str().unwrap_or_default();
            let version = "11111111-1111-4111-8111-111111111111";
            // `sealfleet/OWNER/...`, and tagged with its owner.
            let owner = name.split('/').nth(1).unwrap_or_default();
            json!({
                "ARN": format!("{}-AbCdEf", arn("secretsmanager", &format!("secret:{name}"))), "Name": name,
                "VersionIdsToStages": { version: ["AWSCURRENT"] },
                "Tags": [{ "Key": "sealfleet:project", "Value": owner }],
            })
        }
        "RegisterTaskDefinition" => {
            let family = asked["family"].as_str().unwrap_or_default();
            json!({ "taskDefinition": { "taskDefinitionArn": arn("ecs", &format!("task-definition/{family}:1")) } })
        }
        "RunTask" => {
            let task = arn(
                "ecs",
                &format!("task/sealfleet/{}", uuid::Uuid::new_v4().simple()),
            );
            json!({ "tasks": [{ "taskArn": task, "lastStatus": "PROVISIONING" }], "failures": [] })
        }
        // Nobody verifies it here.
        "Sign" => json!({
            "KeyId": arn("kms", "key/bench"), "SigningAlgorithm": "ECDSA_SHA_256", "Signature": "c2lnbmVk",
        }),
        "StopTask" => json!({ "task": { "taskArn": asked["task"], "desiredStatus": "STOPPED" } }),
        _ => return None,
    })
}
