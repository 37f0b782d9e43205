//! The real handlers over the fake ports, and how each is invoked.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::event::dynamodb;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_lambda_events::http::{HeaderName, HeaderValue, Method};
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::rate::Limits;
use sealfleet_domain::run::Pace;
use sealfleet_domain::{Clock, NamePrefix};
use sealfleet_functions::shared::auth::{Door, Oidc, WorkerDoor};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_functions::{
    audit, cancel, claim, dispatch, enqueue, export, fleet, identity, observe, openapi, profile,
    report, revoke, runs, sandbox, sweep, trail,
};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::store::Item;
use sealfleet_ledger::{Error, Ledger};
use sealfleet_versions::Versions;
use serde_json::{Value, json};

use crate::ecs::Task;
use crate::memory::Changed;
use crate::ports::Ports;
use crate::queues::Message;
use crate::stage::{Judge, Record, Stage};
use crate::time::{SeededIds, WorldClock};

/// The pace of the templates' defaults.
pub const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};

/// The issuer of identity tokens.
pub const ISSUER: &str = "https://sealfleet.example";

/// Days for which uploads and outputs are kept.
const RETENTION_DAYS: i64 = 30;
/// Seconds for which a process uses what it was told of a secret's version, as the templates say.
pub const VERSION_SECONDS: i64 = 60;

/// Pieces of work of a sweep at once: few, since here calls take their time one after the other.
const SWEPT_AT_ONCE: usize = 4;

/// The payload of an invocation.
#[derive(Clone)]
pub enum Invoke {
    Http(Request),
    /// A batch of one queue's messages.
    Batch(Vec<Message>),
    Event(Box<Task>),
    /// The schedule of `sweep`.
    Sweep,
    /// Changes of rows of runs, from the ledger's stream.
    Stream(Vec<Changed>),
    /// New rows of the audit table, from its stream.
    Records(Vec<Record>),
    /// The schedule of digests.
    Digest,
}

impl Invoke {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(request) => function_of(request),
            Self::Batch(_) => "dispatch",
            Self::Event(_) => "observe",
            Self::Sweep => "sweep",
            Self::Stream(_) => "trail",
            Self::Records(_) | Self::Digest => "export",
        }
    }

    /// Milliseconds after which Lambda ends it, as the template says.
    pub fn timeout(&self) -> i64 {
        match self.name() {
            "cancel" => 20_000,
            "revoke" | "dispatch" | "observe" => 30_000,
            "sweep" => 50_000,
            "trail" => 60_000,
            "export" => 120_000,
            _ => 10_000,
        }
    }
}

/// The function that answers a request; nothing for a route that does not exist.
pub const fn function_of(request: &Request) -> &'static str {
    request.operation.function
}

/// The outcome of an invocation.
#[derive(Debug)]
pub enum Outcome {
    /// An answer or a problem.
    Http(Result<Answer, Problem>),
    /// The messages that must come again.
    Batch(SqsBatchResponse),
    /// Whether the event was dealt with.
    Event(Result<(), Error>),
    /// What a sweep did.
    Sweep(Result<sweep::Swept, Error>),
    /// Whether all of the stream's records were dealt with.
    Stream(bool),
    /// Whether the records are in the archive, or the digest was made.
    Exported(bool),
}

/// An invocation on its way.
pub type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// The lines of all metrics.
pub type Lines = Arc<Mutex<Vec<String>>>;

pub struct Handlers {
    /// The ledger that they share.
    pub ledger: Ledger,
    lines: Lines,
    audit: audit::Ports,
    cancel: cancel::Ports,
    claim: claim::Ports,
    dispatch: dispatch::Ports,
    enqueue: enqueue::Ports,
    export: export::Ports,
    fleet: fleet::Ports,
    identity: identity::Ports,
    observe: observe::Ports,
    profile: profile::Ports,
    report: report::Ports,
    revoke: revoke::Ports,
    runs: runs::Ports,
    sandbox: sandbox::Ports,
    sweep: sweep::Ports,
    trail: trail::Ports,
}

impl Handlers {
    /// The handlers on a stage, with the ids of a seed. They know no OIDC issuer.
    pub fn new<J: Judge>(stage: &Stage<J>, seed: u64) -> Self {
        Self::with_oidc(stage, seed, |_| Oidc::Off)
    }

    /// The handlers with the OIDC issuers that `oidc` trusts by the stage's clock.
    pub fn with_oidc<J: Judge>(
        stage: &Stage<J>,
        seed: u64,
        oidc: impl Fn(Arc<dyn Clock>) -> Oidc,
    ) -> Self {
        Self::over(ledger(stage, seed), stage, oidc)
    }

    /// The handlers over this ledger. All else is the stage's.
    pub fn over<J: Judge>(
        ledger: Ledger,
        stage: &Stage<J>,
        oidc: impl Fn(Arc<dyn Clock>) -> Oidc,
    ) -> Self {
        let lines = Lines::default();
        let metrics = |function: &str| Metrics::to(function, lines.clone());
        let ledger = ledger.watched(Arc::new(metrics("any")));
        let queues = || Box::new(Ports(stage.clone()));
        let hosts = || Hosts::of(Ports(stage.clone()));
        // Each function is a process with a memory of its own.
        let clock = Arc::new(WorldClock(stage.clone()));
        let secrets =
            || Versions::of(Ports(stage.clone())).kept_for(VERSION_SECONDS, clock.clone());
        // No rate of these few callers closes the door.
        let limits = Limits {
            requests_per_second: Limits::MOST,
            burst: Limits::MOST,
        };
        let door = |function: &str| {
            let oidc = oidc(Arc::new(WorldClock(stage.clone())));
            Door::new(ledger.clone(), limits, oidc, metrics(function))
        };
        let of = || ledger.clone();
        Self {
            audit: audit::Ports {
                ledger: of(),
                door: door("audit"),
            },
            cancel: cancel::Ports {
                ledger: of(),
                door: door("cancel"),
                hosts: hosts(),
            },
            claim: claim::Ports {
                ledger: of(),
                door: WorkerDoor::new(of()),
                access: Box::new(Ports(stage.clone())),
                secrets: secrets(),
                outputs: Box::new(Ports(stage.clone())),
                inputs: Box::new(Ports(stage.clone())),
                queues: queues(),
                pace: PACE,
                seen: claim::Seen::default(),
            },
            dispatch: dispatch::Ports {
                ledger: of(),
                hosts: hosts(),
                secrets: secrets(),
                pace: PACE,
                metrics: metrics("dispatch"),
                runners: dispatch::Runners::default(),
            },
            enqueue: enqueue::Ports {
                ledger: of(),
                door: door("enqueue"),
                queues: queues(),
                secrets: secrets(),
                pace: PACE,
                cascades: enqueue::Cascades::default(),
                uploads: Box::new(Ports(stage.clone())),
                retention_days: RETENTION_DAYS,
            },
            export: export::Ports {
                objects: Box::new(Ports(stage.clone())),
                signer: Box::new(Ports(stage.clone())),
                ledger: of(),
                metrics: metrics("export"),
                version: export::ocsf::Version::default(),
            },
            fleet: fleet::Ports {
                ledger: of(),
                door: door("fleet"),
                queues: queues(),
                pace: PACE,
            },
            identity: identity::Ports {
                ledger: of(),
                door: WorkerDoor::new(of()),
                prefix: NamePrefix::default(),
                signer: Box::new(Ports(stage.clone())),
                issuer: ISSUER.to_owned(),
                keys: identity::Published::default(),
            },
            observe: observe::Ports {
                ledger: of(),
                queues: queues(),
                hosts: hosts(),
                pace: PACE,
                metrics: metrics("observe"),
            },
            profile: profile::Ports {
                ledger: of(),
                door: door("profile"),
            },
            report: report::Ports {
                ledger: of(),
                door: WorkerDoor::new(of()),
                queues: queues(),
                pace: PACE,
            },
            revoke: revoke::Ports {
                ledger: of(),
                door: door("revoke"),
                hosts: hosts(),
                continuations: Box::new(Ports(stage.clone())),
            },
            runs: runs::Ports {
                ledger: of(),
                door: door("runs"),
                outputs: Box::new(Ports(stage.clone())),
            },
            sandbox: sandbox::Ports {
                ledger: of(),
                outputs: Box::new(Ports(stage.clone())),
                inputs: Box::new(Ports(stage.clone())),
                prefix: NamePrefix::default(),
            },
            sweep: sweep::Ports {
                ledger: of(),
                queues: queues(),
                hosts: hosts(),
                pace: PACE,
                metrics: metrics("sweep"),
                continuations: Box::new(Ports(stage.clone())),
                at_once: SWEPT_AT_ONCE,
            },
            trail: trail::Ports {
                ledger: of(),
                metrics: metrics("trail"),
            },
            ledger,
            lines,
        }
    }

    /// The sum of a metric so far.
    pub fn metric(&self, name: &str) -> f64 {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter_map(|line| line.get(name).and_then(Value::as_f64))
            .sum()
    }

    pub fn invoke(self: &Arc<Self>, invoke: Invoke) -> Running {
        let handlers = Arc::clone(self);
        Box::pin(async move { handlers.run(invoke).await })
    }

    async fn run(&self, invoke: Invoke) -> Outcome {
        match invoke {
            Invoke::Http(request) => Outcome::Http(self.answer(&request).await),
            Invoke::Batch(messages) => {
                Outcome::Batch(dispatch::handle(&self.dispatch, sqs_event(messages)).await)
            }
            Invoke::Event(task) => match serde_json::from_value(event_of(&task)) {
                Ok(event) => Outcome::Event(observe::handle(&self.observe, event).await),
                Err(error) => Outcome::Event(Err(Error::Unreadable(error.to_string()))),
            },
            Invoke::Sweep => {
                let until = self.ledger.now().plus_seconds(40);
                Outcome::Sweep(sweep::handle(&self.sweep, until).await)
            }
            Invoke::Stream(changed) => {
                let answer = trail::handle(&self.trail, stream_event(changed)).await;
                Outcome::Stream(answer.is_ok())
            }
            Invoke::Records(records) => Outcome::Exported(self.export(record_event(records)).await),
            Invoke::Digest => Outcome::Exported(self.export(json!({ "digest": "due" })).await),
        }
    }

    async fn export(&self, event: Value) -> bool {
        let until = self.ledger.now().plus_seconds(100);
        match export::handle(&self.export, event, until).await {
            Ok(export::Done::Batch(again)) => again.batch_item_failures.is_empty(),
            done => done.is_ok(),
        }
    }

    /// The answer of the function that a request is routed to.
    pub async fn answer(&self, request: &Request) -> Result<Answer, Problem> {
        match function_of(request) {
            "audit" => audit::handle(&self.audit, request).await,
            "cancel" => cancel::handle(&self.cancel, request).await,
            "claim" => claim::handle(&self.claim, request).await,
            "enqueue" => enqueue::handle(&self.enqueue, request).await,
            "fleet" => fleet::handle(&self.fleet, request).await,
            "identity" => identity::handle(&self.identity, request).await,
            "openapi" => openapi::handle(request).await,
            "profile" => profile::handle(&self.profile, request).await,
            "report" => report::handle(&self.report, request).await,
            "revoke" => revoke::handle(&self.revoke, request).await,
            "runs" => runs::handle(&self.runs, request).await,
            "sandbox" => sandbox::handle(&self.sandbox, request).await,
            // A function that is not listed here answers nothing, and its tests fail.
            other => Err(Problem::new(
                Code::NotFound,
                format!("no fake serves `{other}`"),
            )),
        }
    }
}

/// A ledger on a stage, with the ids of a seed.
pub fn ledger<J: Judge>(stage: &Stage<J>, seed: u64) -> Ledger {
    Ledger::new(
        Arc::new(Ports(stage.clone())),
        Arc::new(WorldClock(stage.clone())),
        Arc::new(SeededIds::new(seed)),
    )
}

/// A request as API Gateway passes it on.
pub fn request(
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: Option<&Value>,
) -> Result<Request, String> {
    let mut event = ApiGatewayV2httpRequest::default();
    event.raw_path = Some(path.to_owned());
    event.request_context.http.method = method;
    event.body = body.map(Value::to_string);
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
        event.headers.insert(HeaderName::from_static(name), value);
    }
    Request::from_event(event).map_err(|problem| problem.to_string())
}

fn sqs_event(messages: Vec<Message>) -> SqsEvent {
    let mut event = SqsEvent::default();
    for message in messages {
        let mut record = SqsMessage::default();
        record.message_id = Some(message.id.to_string());
        record.event_source_arn = Some(format!("arn:aws:sqs:r:1:{}", message.queue));
        record.body = Some(message.body);
        event.records.push(record);
    }
    event
}

/// Changes as the stream of the table tells them.
fn stream_event(changed: Vec<Changed>) -> dynamodb::Event {
    let mut event = dynamodb::Event::default();
    let numbered = (0..).zip(changed);
    event.records = numbered
        .map(|(number, change)| stream_record(number, change))
        .collect();
    event
}

fn stream_record(sequence: u64, change: Changed) -> dynamodb::EventRecord {
    let image = |item: Option<Arc<Item>>| {
        item.map(|item| serde_dynamo::Item::from(item.as_ref().clone()))
            .unwrap_or_default()
    };
    let mut record = dynamodb::EventRecord::default();
    record.event_name = if change.before.is_none() {
        "INSERT".to_owned()
    } else {
        "MODIFY".to_owned()
    };
    record.change.sequence_number = Some(format!("{sequence:021}"));
    record.change.old_image = image(change.before);
    record.change.new_image = image(change.after);
    record
}

/// Rows as the audit table's stream tells them.
fn record_event(records: Vec<Record>) -> Value {
    let records = records
        .into_iter()
        .map(|record| stream_record(record.sequence, record.changed));
    json!({ "Records": records.collect::<Vec<_>>() })
}

fn event_of(task: &Task) -> Value {
    serde_json::json!({
        "version": "0", "id": "1", "detail-type": "ECS Task State Change", "source": "aws.ecs", "account": "1",
        "time": "2026-01-31T08:00:00Z", "region": "r", "resources": [],
        "detail": task.detail(),
    })
}
