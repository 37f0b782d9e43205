//! `observe`: is told by ECS what becomes of its tasks, as it happens. (`sweep` asks instead; the
//! ledger's `Watch` counts what was stored; `witness` holds reads of secrets against releases.)
//!
//! Events come at least once and in any order; `shared::task` says what follows from each.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use sealfleet_aws::queues::Queues;
use sealfleet_domain::run::Pace;
use sealfleet_fargate::TaskChange;
use sealfleet_hosts::{Hosts, Sandbox};
use sealfleet_ledger::{Error, Ledger};

use crate::shared::metrics::Metrics;
use crate::shared::task::{Context, follow};

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// The queues, for steps that become ready.
    pub queues: Box<dyn Queues>,
    /// Where sandboxes run.
    pub hosts: Hosts,
    /// When a message is sent again.
    pub pace: Pace,
    /// What is counted.
    pub metrics: Metrics,
}

/// Handles one event.
///
/// # Errors
/// When the tables or ECS do not answer; the event then comes again.
pub async fn handle(ports: &Ports, event: EventBridgeEvent<TaskChange>) -> Result<(), Error> {
    let sandbox = Sandbox::from(event.detail);
    let claim = sandbox.claim.as_ref();
    let Some(claim) = claim.filter(|_| ports.hosts.own(&sandbox.handle)) else {
        let task = sandbox.handle.as_str();
        tracing::info!(
            task,
            "a task that Sealfleet did not start, or of another cluster"
        );
        return Ok(());
    };
    let with = Context {
        ledger: &ports.ledger,
        queues: ports.queues.as_ref(),
        hosts: &ports.hosts,
        pace: ports.pace,
        metrics: &ports.metrics,
    };
    follow(&with, claim, &sandbox).await
}
