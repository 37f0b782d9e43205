//! The binary of all functions. Lambda's `Handler` property, which it passes as `_HANDLER`, picks
//! one; this file gives each the ports that its role allows, and no others.

use std::cell::OnceCell;
use std::sync::Arc;

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::event::dynamodb;
use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request, answer};
use sealfleet_api::rest;
use sealfleet_aws::bus::EventBridge;
use sealfleet_aws::inputs::{InputReaders, UploadSlots};
use sealfleet_aws::objects::S3;
use sealfleet_aws::outputs::{OutputReaders, OutputWriters};
use sealfleet_aws::queue_access::Sts;
use sealfleet_aws::queues::Sqs;
use sealfleet_aws::signing::{Kms, TokenKeys};
use sealfleet_aws::trust::Roots;
use sealfleet_domain::oidc::{BadIssuers, Issuers};
use sealfleet_domain::{Clock, NamePrefix};
use sealfleet_fargate::{Fargate, TaskChange};
use sealfleet_functions::shared::auth::{Door, Oidc, WorkerDoor};
use sealfleet_functions::shared::deadline;
use sealfleet_functions::shared::logs;
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_functions::shared::settings::{self, MissingSetting, setting};
use sealfleet_functions::{
    audit, cancel, claim, dispatch, enqueue, export, fleet, identity, notify, observe, openapi,
    profile, report, revoke, runs, sandbox, sweep, trail, witness,
};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Dynamo, Ledger};
use sealfleet_oidc::Verifier;
use sealfleet_system::{SystemClock, SystemIds, names};
use sealfleet_versions::{SecretsManager, Versions};

/// What the ports of all functions are made from.
struct Wiring {
    config: aws_config::SdkConfig,
    /// What the names of this installation begin with.
    prefix: NamePrefix,
    metrics: Metrics,
    /// Made when it is first asked for, and shared: making a client is work.
    ledger: OnceCell<Ledger>,
}

impl Wiring {
    fn ledger(&self) -> Result<Ledger, MissingSetting> {
        if let Some(ledger) = self.ledger.get() {
            return Ok(ledger.clone());
        }
        let store = Dynamo::new(
            aws_sdk_dynamodb::Client::new(&self.config),
            settings::tables()?,
        );
        let ledger = Ledger::new(Arc::new(store), Arc::new(SystemClock), Arc::new(SystemIds));
        let ledger = ledger.watched(Arc::new(self.metrics.clone())).keeping(
            settings::run_retention_days(),
            settings::trail_retention_days(),
        );
        let ledger = match settings::prices() {
            Ok(prices) => ledger.charging(prices),
            Err(error) => {
                tracing::error!(%error, "list prices are charged: correct the parameter Prices");
                ledger
            }
        };
        Ok(self.ledger.get_or_init(|| ledger).clone())
    }

    fn door(&self) -> Result<Door, MissingSetting> {
        let oidc = match issuers() {
            Ok(issuers) if issuers.is_empty() => Oidc::Off,
            Ok(issuers) => Oidc::On(Verifier::new(issuers, Arc::new(SystemClock))),
            Err(error) => {
                tracing::error!(%error, "JWTs are refused: correct the parameter OidcIssuers");
                Oidc::Unusable
            }
        };
        Ok(Door::new(
            self.ledger()?,
            settings::limits(),
            oidc,
            self.metrics(),
        ))
    }

    fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    fn queues(&self) -> Result<Box<Sqs>, MissingSetting> {
        let urls = setting("SEALFLEET_QUEUE_URL_PREFIX")?;
        Ok(Box::new(Sqs::new(&self.config, urls, self.prefix.clone())))
    }

    /// The queue of what an invocation has no time for. Its own name ties it to its own permission
    /// in `tests/proofs/iam/matrix.yaml`.
    fn continuations(&self) -> Result<Box<Sqs>, MissingSetting> {
        self.queues()
    }

    fn secrets(&self) -> Versions {
        let seconds = settings::secret_version_seconds();
        let manager = SecretsManager::new(&self.config, self.prefix.clone());
        Versions::of(manager).kept_for(seconds, Arc::new(SystemClock))
    }

    fn fargate(&self) -> Result<Fargate, MissingSetting> {
        Ok(Fargate::new(&self.config, settings::fargate()?))
    }

    fn hosts(&self) -> Result<Hosts, MissingSetting> {
        Ok(Hosts::of(self.fargate()?))
    }
}

/// The issuers that the deployment trusts.
fn issuers() -> Result<Issuers, BadIssuers> {
    Issuers::parse(&setting("SEALFLEET_OIDC").unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    logs::init();
    names::resolve_without_modules();
    let name = setting("_HANDLER")?;
    let prefix = settings::name_prefix()?;
    let with = Wiring {
        config: sealfleet_aws::config::load(Roots::Amazon).await?,
        metrics: Metrics::new(prefix.clone(), &name, settings::project_metrics()),
        prefix,
        ledger: OnceCell::new(),
    };
    let pace = settings::pace();
    match name.as_str() {
        "fleet" => {
            let ports = fleet::Ports {
                ledger: with.ledger()?,
                door: with.door()?,
                queues: with.queues()?,
                pace,
            };
            serve(&ports, fleet::handle).await
        }
        "profile" => {
            let ports = profile::Ports {
                ledger: with.ledger()?,
                door: with.door()?,
            };
            serve(&ports, profile::handle).await
        }
        "enqueue" => {
            let secrets = with.secrets();
            let ports = enqueue::Ports {
                ledger: with.ledger()?,
                door: with.door()?,
                queues: with.queues()?,
                secrets,
                pace,
                cascades: enqueue::Cascades::default(),
                uploads: Box::new(UploadSlots::new(&with.config, settings::outputs()?)),
                retention_days: settings::output_retention_days(),
            };
            serve(&ports, enqueue::handle).await
        }
        "runs" => {
            let ports = runs::Ports {
                ledger: with.ledger()?,
                door: with.door()?,
                outputs: Box::new(OutputReaders::new(&with.config, settings::outputs()?)),
            };
            serve(&ports, runs::handle).await
        }
        "claim" => {
            let access = Box::new(Sts::new(&with.config, settings::account()?));
            let ports = claim::Ports {
                ledger: with.ledger()?,
                door: WorkerDoor::new(with.ledger()?),
                access,
                secrets: with.secrets(),
                outputs: Box::new(OutputWriters::new(&with.config, settings::outputs()?)),
                inputs: Box::new(InputReaders::new(&with.config, settings::outputs()?)),
                queues: with.queues()?,
                pace,
                seen: claim::Seen::default(),
            };
            serve(&ports, claim::handle).await
        }
        "report" => {
            let ports = report::Ports {
                ledger: with.ledger()?,
                door: WorkerDoor::new(with.ledger()?),
                queues: with.queues()?,
                pace,
            };
            serve(&ports, report::handle).await
        }
        "sandbox" => {
            let ports = sandbox::Ports {
                ledger: with.ledger()?,
                outputs: Box::new(OutputWriters::new(&with.config, settings::outputs()?)),
                inputs: Box::new(InputReaders::new(&with.config, settings::outputs()?)),
                prefix: with.prefix.clone(),
            };
            let ports = &ports;
            // The private REST API calls it, too.
            let handler = |event: LambdaEvent<rest::Event>| async move {
                let LambdaEvent { payload, context } = event;
                let answer = async |event| answered(ports, &sandbox::handle, &context, event).await;
                Ok::<_, Error>(payload.answer(answer).await)
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        "identity" => {
            let keys = setting("SEALFLEET_IDENTITY_KEYS")?;
            let ports = identity::Ports {
                ledger: with.ledger()?,
                door: WorkerDoor::new(with.ledger()?),
                prefix: with.prefix.clone(),
                signer: Box::new(TokenKeys::new(&with.config, &keys)),
                issuer: setting("SEALFLEET_ISSUER")?,
                keys: identity::Published::default(),
            };
            let ports = &ports;
            // The private REST API calls it, too.
            let handler = |event: LambdaEvent<rest::Event>| async move {
                let LambdaEvent { payload, context } = event;
                let answer =
                    async |event| answered(ports, &identity::handle, &context, event).await;
                Ok::<_, Error>(payload.answer(answer).await)
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        "cancel" => {
            let ports = cancel::Ports {
                ledger: with.ledger()?,
                door: with.door()?,
                hosts: with.hosts()?,
            };
            serve(&ports, cancel::handle).await
        }
        "revoke" => {
            let ports = revoke::Ports {
                ledger: with.ledger()?,
                door: with.door()?,
                hosts: with.hosts()?,
                continuations: with.continuations()?,
            };
            serve(&ports, revoke::handle).await
        }
        "audit" => {
            let ports = audit::Ports {
                ledger: with.ledger()?,
                door: with.door()?,
            };
            serve(&ports, audit::handle).await
        }
        "openapi" => {
            let document = async |(): &(), request: &Request| openapi::handle(request).await;
            let document = &document;
            // What is wrong with the issuers is told by the functions that need them.
            let issuers = issuers().unwrap_or_default();
            let console = &openapi::console::Console::of(&issuers);
            let handler = |event: LambdaEvent<ApiGatewayV2httpRequest>| async move {
                let LambdaEvent { payload, context } = event;
                Ok::<_, Error>(match console.answer(&payload) {
                    Some(file) => file,
                    None => answered(&(), document, &context, payload).await,
                })
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        "dispatch" => {
            let secrets = with.secrets();
            let (ledger, metrics) = (with.ledger()?, with.metrics());
            let ports = &dispatch::Ports {
                ledger,
                hosts: with.hosts()?,
                secrets,
                pace,
                metrics,
                runners: dispatch::Runners::default(),
            };
            let handler = |event: LambdaEvent<SqsEvent>| async move {
                Ok::<_, Error>(dispatch::handle(ports, event.payload).await)
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        "observe" => {
            let (ledger, metrics) = (with.ledger()?, with.metrics());
            let ports = &observe::Ports {
                ledger,
                queues: with.queues()?,
                hosts: with.hosts()?,
                pace,
                metrics,
            };
            let handler = |event: LambdaEvent<EventBridgeEvent<TaskChange>>| async move {
                observe::handle(ports, event.payload)
                    .await
                    .map_err(Error::from)
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        "sweep" => {
            let (ledger, metrics) = (with.ledger()?, with.metrics());
            let ports = &sweep::Ports {
                ledger,
                queues: with.queues()?,
                hosts: with.hosts()?,
                pace,
                metrics,
                continuations: with.continuations()?,
                at_once: sweep::AT_ONCE,
            };
            let handler = |event: LambdaEvent<serde_json::Value>| async move {
                let until = deadline::last_work(&event.context, SystemClock.now());
                sweep::invoked(ports, event.payload, until)
                    .await
                    .map_err(Error::from)
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        "trail" => {
            let ports = &trail::Ports {
                ledger: with.ledger()?,
                metrics: with.metrics(),
            };
            let handler = |event: LambdaEvent<dynamodb::Event>| async move {
                trail::handle(ports, event.payload)
                    .await
                    .map_err(Error::from)
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        "notify" => {
            let ports = &notify::Ports {
                bus: Box::new(EventBridge::new(&with.config)),
                prefix: with.prefix.clone(),
            };
            let handler = |event: LambdaEvent<dynamodb::Event>| async move {
                notify::handle(ports, event.payload)
                    .await
                    .map_err(Error::from)
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        "export" => {
            let objects = Box::new(S3::new(&with.config, setting("SEALFLEET_AUDIT_BUCKET")?));
            let signer = Box::new(Kms::new(&with.config, setting("SEALFLEET_DIGEST_KEY")?));
            let ports = &export::Ports {
                objects,
                signer,
                ledger: with.ledger()?,
                metrics: with.metrics(),
                version: settings::ocsf_version()?,
            };
            let handler = |event: LambdaEvent<serde_json::Value>| async move {
                let until = deadline::last_work(&event.context, SystemClock.now());
                export::handle(ports, event.payload, until)
                    .await
                    .map_err(Error::from)
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        "witness" => {
            let ports = &witness::Ports {
                ledger: with.ledger()?,
                fargate: Box::new(with.fargate()?),
                metrics: with.metrics(),
                prefix: with.prefix.clone(),
            };
            let handler = |event: LambdaEvent<EventBridgeEvent<witness::ApiCall>>| async move {
                witness::handle(ports, event.payload)
                    .await
                    .map_err(Error::from)
            };
            lambda_runtime::run(service_fn(handler)).await
        }
        other => Err(format!(
            "there is no function `{other}`; set the Lambda's handler to a folder of functions/"
        )
        .into()),
    }
}

/// Serves an HTTP function.
async fn serve<P>(
    ports: &P,
    handler: impl AsyncFn(&P, &Request) -> Result<Answer, Problem>,
) -> Result<(), Error> {
    let handler = &handler;
    let answer = |event: LambdaEvent<ApiGatewayV2httpRequest>| async move {
        Ok::<ApiGatewayV2httpResponse, Error>(
            answered(ports, handler, &event.context, event.payload).await,
        )
    };
    lambda_runtime::run(service_fn(answer)).await
}

async fn answered<P>(
    ports: &P,
    handler: &impl AsyncFn(&P, &Request) -> Result<Answer, Problem>,
    invocation: &Context,
    event: ApiGatewayV2httpRequest,
) -> ApiGatewayV2httpResponse {
    let left = deadline::left(invocation, SystemClock.now());
    answer(event, async |request| {
        deadline::in_time(left, handler(ports, &request)).await
    })
    .await
}
