//! The control plane as a worker uses it.

use std::fs::File;

use async_trait::async_trait;
use sealfleet_client::types::{
    AskIdentityToken, Claim, ClaimStep, FetchInputs, Heartbeat, HeartbeatAnswer, IdentityToken,
    LeaseRef, OutputCredentials, QueueCredentials, ReportStep, StartStep, StepAnswer, StepInput,
    StepInputs,
};
use sealfleet_client::{Client, Code, Error, TransferError};

/// The operations of a worker.
#[async_trait]
pub trait ControlPlane: Send + Sync {
    /// Claims a step.
    async fn claim(&self, request: &ClaimStep) -> Result<Claim, Error>;
    /// Renews leases.
    async fn heartbeat(&self, request: &Heartbeat) -> Result<HeartbeatAnswer, Error>;
    /// Records a start.
    async fn start(&self, request: &StartStep) -> Result<StepAnswer, Error>;
    /// Records an end.
    async fn report(&self, request: &ReportStep) -> Result<StepAnswer, Error>;
    /// Short-lived credentials for the worker's own queue.
    async fn queue_credentials(&self) -> Result<QueueCredentials, Error>;
    /// Short-lived credentials to write what a claim puts out.
    async fn output_credentials(&self, claim: &LeaseRef) -> Result<OutputCredentials, Error>;
    /// Where to get what goes into a step.
    async fn step_inputs(&self, request: &FetchInputs) -> Result<StepInputs, Error>;
    /// A token that names a step which the worker holds.
    async fn identity_token(&self, request: &AskIdentityToken) -> Result<IdentityToken, Error>;
    /// Gets one input, and checks that it is what is meant.
    async fn fetch(&self, input: &StepInput, into: &mut File) -> Result<(), TransferError>;
}

#[async_trait]
impl ControlPlane for Client {
    async fn claim(&self, request: &ClaimStep) -> Result<Claim, Error> {
        Self::claim_step(self, request).await
    }

    async fn heartbeat(&self, request: &Heartbeat) -> Result<HeartbeatAnswer, Error> {
        Self::send_heartbeat(self, request).await
    }

    async fn start(&self, request: &StartStep) -> Result<StepAnswer, Error> {
        Self::start_step(self, request).await
    }

    async fn report(&self, request: &ReportStep) -> Result<StepAnswer, Error> {
        Self::report_step(self, request).await
    }

    async fn queue_credentials(&self) -> Result<QueueCredentials, Error> {
        Self::get_queue_credentials(self).await
    }

    async fn output_credentials(&self, claim: &LeaseRef) -> Result<OutputCredentials, Error> {
        Self::get_output_credentials(self, claim).await
    }

    async fn step_inputs(&self, request: &FetchInputs) -> Result<StepInputs, Error> {
        Self::get_step_inputs(self, request).await
    }

    async fn identity_token(&self, request: &AskIdentityToken) -> Result<IdentityToken, Error> {
        Self::get_identity_token(self, request).await
    }

    async fn fetch(&self, input: &StepInput, into: &mut File) -> Result<(), TransferError> {
        Self::fetch(self, &input.url, input.bytes, input.sha256, into).await
    }
}

/// What an error means for the worker as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: the error is about one request.
    Unchanged,
    /// An admin must approve the registration.
    Pending,
    /// An admin wants it to take no steps.
    Draining,
    /// The worker was rejected or revoked, or its credential is unknown.
    Ended,
}

/// Whether the worker deletes the hint of a refused claim: the ledger has decided about the step,
/// or the control plane sees to it that a worker that can run the step learns of it. If a step
/// becomes claimable again, `sweep` sends another hint.
#[must_use]
pub fn settles_the_hint(error: &Error) -> bool {
    let Some(problem) = error.problem() else {
        return false;
    };
    match problem.code {
        // Another worker, or this one later, may claim it.
        Code::AtCapacity
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::WorkerPending
        | Code::WorkerDraining
        | Code::WorkerRejected
        | Code::WorkerRevoked => false,
        _ => (400..500).contains(&problem.status) && !error.is_passing(),
    }
}

/// What `error` says about the worker's registration.
#[must_use]
pub fn standing(error: &Error) -> Standing {
    match error.problem().map(|problem| problem.code) {
        Some(Code::WorkerPending) => Standing::Pending,
        Some(Code::WorkerDraining) => Standing::Draining,
        Some(Code::WorkerRevoked | Code::WorkerRejected | Code::Unauthenticated) => Standing::Ended,
        _ => Standing::Unchanged,
    }
}
