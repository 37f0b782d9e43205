//! The real handlers over the simulated ports, and how each is invoked.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_lambda_events::http::{HeaderName, HeaderValue, Method};
use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_domain::rate::Limits;
use sealfleet_domain::run::Pace;
use sealfleet_functions::shared::auth::{Door, Oidc};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_functions::{
    cancel, claim, dispatch, enqueue, fleet, observe, profile, report, revoke, sandbox, sweep,
};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Error, Ledger};
use sealfleet_versions::Versions;
use serde_json::Value;

use crate::ecs::Task;
use crate::ports::Ports;
use crate::queues::Message;
use crate::stage::Stage;
use crate::time::{SeededIds, WorldClock};

/// The pace of the templates' defaults.
pub const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};

/// A function that answers HTTP requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `enqueue`.
    Enqueue,
    /// `claim`.
    Claim,
    /// `report`.
    Report,
    /// `cancel`.
    Cancel,
    /// `sandbox`.
    Sandbox,
    /// `fleet`.
    Fleet,
    /// `profile`.
    Profile,
    /// `revoke`.
    Revoke,
}

impl Function {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Claim => "claim",
            Self::Report => "report",
            Self::Cancel => "cancel",
            Self::Sandbox => "sandbox",
            Self::Fleet => "fleet",
            Self::Profile => "profile",
            Self::Revoke => "revoke",
        }
    }
}

/// What a function is invoked with.
#[derive(Clone)]
pub enum Invoke {
    /// A request.
    Http(Function, Request),
    /// A batch of one queue's messages.
    Batch(Vec<Message>),
    /// A task's event.
    Event(Box<Task>),
    /// The schedule of `sweep`.
    Sweep,
}

impl Invoke {
    /// The function's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Http(function, _) => function.name(),
            Self::Batch(_) => "dispatch",
            Self::Event(_) => "observe",
            Self::Sweep => "sweep",
        }
    }

    /// Milliseconds after which Lambda ends it, as the template says.
    #[must_use]
    pub const fn timeout(&self) -> i64 {
        match self {
            Self::Http(Function::Cancel, _) => 20_000,
            Self::Http(Function::Revoke, _) | Self::Batch(_) | Self::Event(_) => 30_000,
            Self::Sweep => 50_000,
            Self::Http(..) => 10_000,
        }
    }
}

/// What an invocation came to.
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
}

/// An invocation on its way.
pub type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// All handlers.
pub struct Handlers {
    enqueue: enqueue::Ports,
    claim: claim::Ports,
    report: report::Ports,
    cancel: cancel::Ports,
    sandbox: sandbox::Ports,
    fleet: fleet::Ports,
    profile: profile::Ports,
    revoke: revoke::Ports,
    dispatch: dispatch::Ports,
    observe: observe::Ports,
    sweep: sweep::Ports,
}

impl Handlers {
    /// The handlers on a stage, with the ids of a seed.
    #[must_use]
    pub fn new(stage: &Stage, seed: u64) -> Self {
        let ports = || Ports(stage.clone());
        let ledger = ledger(stage, seed);
        Self {
            enqueue: enqueue::Ports {
                ledger: ledger.clone(),
                door: door(&ledger, "enqueue"),
                queues: Box::new(ports()),
                secrets: Versions::of(ports()),
                pace: PACE,
            },
            claim: claim::Ports {
                ledger: ledger.clone(),
                access: Box::new(ports()),
                pace: PACE,
            },
            report: report::Ports {
                ledger: ledger.clone(),
                queues: Box::new(ports()),
                pace: PACE,
            },
            cancel: cancel::Ports {
                ledger: ledger.clone(),
                door: door(&ledger, "cancel"),
                hosts: Hosts::of(ports()),
            },
            sandbox: sandbox::Ports {
                ledger: ledger.clone(),
            },
            fleet: fleet::Ports {
                ledger: ledger.clone(),
                door: door(&ledger, "fleet"),
                queues: Box::new(ports()),
                pace: PACE,
            },
            profile: profile::Ports {
                ledger: ledger.clone(),
                door: door(&ledger, "profile"),
            },
            revoke: revoke::Ports {
                ledger: ledger.clone(),
                door: door(&ledger, "revoke"),
                hosts: Hosts::of(ports()),
            },
            dispatch: dispatch::Ports {
                ledger: ledger.clone(),
                hosts: Hosts::of(ports()),
                secrets: Versions::of(ports()),
                pace: PACE,
                metrics: metrics("dispatch"),
            },
            observe: observe::Ports {
                ledger: ledger.clone(),
                queues: Box::new(ports()),
                hosts: Hosts::of(ports()),
                pace: PACE,
                metrics: metrics("observe"),
            },
            sweep: sweep::Ports {
                ledger,
                queues: Box::new(ports()),
                hosts: Hosts::of(ports()),
                pace: PACE,
                metrics: metrics("sweep"),
            },
        }
    }

    /// Begins an invocation.
    #[must_use]
    pub fn invoke(self: &Arc<Self>, invoke: Invoke) -> Running {
        let handlers = Arc::clone(self);
        Box::pin(async move { handlers.run(invoke).await })
    }

    async fn run(&self, invoke: Invoke) -> Outcome {
        match invoke {
            Invoke::Http(function, request) => Outcome::Http(self.answer(function, &request).await),
            Invoke::Batch(messages) => {
                Outcome::Batch(dispatch::handle(&self.dispatch, sqs_event(messages)).await)
            }
            Invoke::Event(task) => match serde_json::from_value(event_of(&task)) {
                Ok(event) => Outcome::Event(observe::handle(&self.observe, event).await),
                Err(error) => Outcome::Event(Err(Error::Unreadable(error.to_string()))),
            },
            Invoke::Sweep => Outcome::Sweep(sweep::handle(&self.sweep).await),
        }
    }

    async fn answer(&self, function: Function, request: &Request) -> Result<Answer, Problem> {
        match function {
            Function::Enqueue => enqueue::handle(&self.enqueue, request).await,
            Function::Claim => claim::handle(&self.claim, request).await,
            Function::Report => report::handle(&self.report, request).await,
            Function::Cancel => cancel::handle(&self.cancel, request).await,
            Function::Sandbox => sandbox::handle(&self.sandbox, request).await,
            Function::Fleet => fleet::handle(&self.fleet, request).await,
            Function::Profile => profile::handle(&self.profile, request).await,
            Function::Revoke => revoke::handle(&self.revoke, request).await,
        }
    }
}

/// Metrics that nobody reads.
fn metrics(function: &str) -> Metrics {
    Metrics::to(function, Arc::new(Mutex::new(Vec::new())))
}

/// A door that no rate of these few callers closes.
fn door(ledger: &Ledger, function: &str) -> Door {
    let limits = Limits {
        requests_per_second: Limits::MOST,
        burst: Limits::MOST,
    };
    Door::new(ledger.clone(), limits, Oidc::Off, metrics(function))
}

/// A ledger on a stage, with the ids of a seed.
#[must_use]
pub fn ledger(stage: &Stage, seed: u64) -> Ledger {
    Ledger::new(
        Arc::new(Ports(stage.clone())),
        Arc::new(WorldClock(stage.clone())),
        Arc::new(SeededIds::new(seed)),
    )
}

/// A request as API Gateway passes it on.
///
/// # Errors
/// When a header cannot be one.
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

fn event_of(task: &Task) -> Value {
    serde_json::json!({
        "version": "0", "id": "1", "detail-type": "ECS Task State Change", "source": "aws.ecs", "account": "1",
        "time": "2026-01-31T08:00:00Z", "region": "r", "resources": [],
        "detail": task.detail(),
    })
}
