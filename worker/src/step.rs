//! One claimed step, from its lease to its report.
//!
//! ```text
//! prepare (secrets resolved inside, nothing runs) -> POST /v1/starts -> go -> wait | time-out -> POST /v1/reports
//! ```
//!
//! The loss of the lease always wins: the worker kills the sandbox and reports nothing, because
//! somebody else has decided about the step. If the start is refused, nothing runs. If the sandbox
//! is lost, or none can be started here, the worker reports that alone, and the step is tried
//! again.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sealfleet_client::Error;
use sealfleet_client::types::{Claim, OutputsKept, ReportStep, StartStep, WaitingStep};
use sealfleet_domain::run::{CameOut, Failure, Outcome, Told};
use sealfleet_domain::{Line, limits};

use crate::control::ControlPlane;
use crate::executor::{Ended, Executor, Running, short};
use crate::lease::{Lease, Loss};
use crate::random::Backoff;

/// Time between SIGTERM and SIGKILL for a step that timed out, was cancelled, or whose worker
/// stops.
const GRACE: Duration = Duration::from_secs(5);

/// How often a step that runs is asked what its next heartbeat has to tell.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct StepRunner {
    pub control: Arc<dyn ControlPlane>,
    pub executor: Arc<dyn Executor>,
}

/// Why there is no end to report.
enum Endless {
    Lost(Loss),
    StartRefused(Error),
    SandboxLost,
}

impl StepRunner {
    /// Runs one step to its reported end, or to the loss of its lease. Answers the steps that wait
    /// for this worker.
    pub async fn run(&self, claim: Claim, mut lease: Lease) -> Vec<WaitingStep> {
        let (run_id, step_id, fence) = (claim.run_id, claim.step_id.clone(), claim.fence);
        tracing::info!(%run_id, %step_id, %fence, mode = %claim.mode, attempt = claim.attempt, "step claimed");
        match self.execute(&claim, &mut lease).await {
            Ok(end) => {
                let (outcome, out) = (&end.outcome, &end.out);
                tracing::info!(%run_id, %step_id, %fence, ?outcome, ?out, "step ended");
                return self.report(&report(&claim, end), &mut lease).await;
            }
            Err(Endless::SandboxLost) => {
                tracing::warn!(%run_id, %step_id, %fence, "the sandbox is lost, giving the step back");
                return self.report(&lost(&claim), &mut lease).await;
            }
            Err(Endless::Lost(loss)) => {
                tracing::warn!(%run_id, %step_id, %fence, ?loss, "lost the lease, killed the step");
            }
            Err(Endless::StartRefused(error)) => {
                tracing::warn!(%run_id, %step_id, %fence, %error, "start refused, ran nothing");
            }
        }
        Vec::new()
    }

    async fn execute(&self, claim: &Claim, lease: &mut Lease) -> Result<Told, Endless> {
        let prepared = tokio::select! {
            biased;
            loss = lease.lost() => return Err(Endless::Lost(loss)),
            prepared = self.executor.prepare(claim) => prepared,
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            // It is not the step's fault: another worker can start it.
            Err(failure) => match self.executor.ready().await {
                Ok(()) => return Ok(Told::only(Outcome::Failed { failure })),
                Err(reason) => {
                    tracing::warn!(%reason, "this worker can start no sandboxes");
                    return Err(Endless::SandboxLost);
                }
            },
        };
        let start = StartStep {
            run_id: claim.run_id,
            step_id: claim.step_id.clone(),
            fence: claim.fence,
            sandbox: Line::escaped(prepared.sandbox()),
            output: prepared.output().and_then(|path| place_of(&path)),
            outputs: match prepared.uploads() {
                true => OutputsKept::Project,
                false => OutputsKept::Local,
            },
            resolved: prepared.resolved().clone(),
            store_request_ids: prepared.store_request_ids(),
        };
        tokio::select! {
            biased;
            loss = lease.lost() => return Err(Endless::Lost(loss)),
            started = insist(|| self.control.start(&start)) => started.map_err(Endless::StartRefused)?,
        };
        tracing::info!(run_id = %claim.run_id, step_id = %claim.step_id, fence = %claim.fence, sandbox = %start.sandbox, "step started");
        let running = match prepared.go().await {
            Ok(running) => running,
            Err(failure) => return Ok(Told::only(Outcome::Failed { failure })),
        };
        let outcome = self.watch(claim, &*running, lease).await?;
        let agent = running.agent();
        let outcome = match &agent {
            Some(agent) => agent.judge(outcome, claim.agent.as_ref()),
            None => outcome,
        };
        let result = tokio::select! {
            biased;
            loss = lease.taken() => return Err(Endless::Lost(loss)),
            result = running.keep_result() => result,
        };
        let (result_bytes, outcome) = match (result, outcome) {
            (None, outcome) => (None, outcome),
            (Some(Ok(bytes)), outcome) => (Some(bytes), outcome),
            (Some(Err(detail)), Outcome::Succeeded) => {
                let detail = short(&detail);
                let failure = Failure::BadResult { detail };
                (None, Outcome::Failed { failure })
            }
            // How the command failed says more.
            (Some(Err(_)), failed) => (None, failed),
        };
        let left = tokio::select! {
            biased;
            loss = lease.taken() => return Err(Endless::Lost(loss)),
            left = running.keep_artifacts() => left,
        };
        let (left, outcome) = match (left, outcome) {
            (None, outcome) => (None, outcome),
            (Some(Ok(left)), outcome) => (Some(left), outcome),
            (Some(Err(detail)), Outcome::Succeeded) => {
                let detail = short(&detail);
                let failure = Failure::BadArtifacts { detail };
                (None, Outcome::Failed { failure })
            }
            (Some(Err(error)), failed) => {
                tracing::warn!(%error, "a failed step's artifacts are not kept");
                (None, failed)
            }
        };
        let out = CameOut {
            artifacts: left.as_ref().map(|left| left.total),
            cut_bytes: running.output_cut_bytes(),
            missing_bytes: running.output_missing_bytes(),
            result_bytes,
        };
        Ok(Told {
            out,
            artifact_secrets: left.map(|left| left.found).unwrap_or_default(),
            redactions: running.redactions(),
            egress_denied: lease.take_denied().with(running.take_denied()),
            egress_reached: running.egress_reached(),
            models_used: running.models_used(),
            agent: agent.map(|agent| agent.report),
            ..Told::only(outcome)
        })
    }

    /// Waits until the command ends, times out, or loses its lease.
    async fn watch(
        &self,
        claim: &Claim,
        running: &dyn Running,
        lease: &mut Lease,
    ) -> Result<Outcome, Endless> {
        let timeout = Duration::from_secs(u64::from(claim.timeout_seconds));
        let end = async {
            match tokio::time::timeout(timeout, running.wait()).await {
                Ok(ended) => outcome(ended).ok_or(Endless::SandboxLost),
                Err(_) => {
                    running.stop(GRACE).await;
                    Ok(Outcome::Failed {
                        failure: Failure::TimedOut {
                            after_seconds: claim.timeout_seconds,
                        },
                    })
                }
            }
        };
        let mut end = pin!(end);
        let mut revoked = lease.revoked();
        // It may have happened before the command ran.
        revoked.mark_changed();
        loop {
            tokio::select! {
                biased;
                loss = lease.lost() => {
                    running.stop(lease.grace(loss, GRACE)).await;
                    return Err(Endless::Lost(loss));
                }
                outcome = &mut end => return outcome,
                Ok(()) = revoked.changed() => {
                    let keys = revoked.borrow_and_update().clone();
                    if !keys.is_empty() {
                        running.withdraw(keys).await;
                    }
                }
                () = tokio::time::sleep(LOOK) => lease.denied(running.take_denied()),
            }
        }
    }

    async fn report(&self, report: &ReportStep, lease: &mut Lease) -> Vec<WaitingStep> {
        let (run_id, step_id, fence) = (report.run_id, &report.step_id, report.fence);
        tokio::select! {
            // First, so that an answer that has arrived is not lost.
            biased;
            reported = insist(|| self.control.report(report)) => match reported {
                Ok(answer) => {
                    tracing::info!(%run_id, %step_id, %fence, state = answer.state, "step reported");
                    return answer.waiting;
                }
                Err(error) => tracing::warn!(%run_id, %step_id, %fence, %error, "report refused"),
            },
            loss = lease.taken() => tracing::warn!(%run_id, %step_id, %fence, ?loss, "lost the lease before the report"),
        }
        Vec::new()
    }
}

/// What is reported of an end.
fn report(claim: &Claim, end: Told) -> ReportStep {
    let (state, failure) = match end.outcome {
        Outcome::Succeeded => ("succeeded", None),
        Outcome::Failed { failure } => ("failed", Some(failure)),
    };
    ReportStep {
        failure,
        output_cut_bytes: end.out.cut_bytes,
        output_missing_bytes: end.out.missing_bytes,
        result_bytes: end.out.result_bytes,
        artifacts: end.out.artifacts,
        artifact_secrets: end.artifact_secrets,
        redactions: end.redactions,
        egress_denied: end.egress_denied,
        egress_reached: end.egress_reached,
        agent: end.agent,
        models_used: end.models_used,
        ..ReportStep::of(claim.run_id, claim.step_id.clone(), claim.fence, state)
    }
}

/// What is reported of a sandbox that is lost.
fn lost(claim: &Claim) -> ReportStep {
    ReportStep::of(claim.run_id, claim.step_id.clone(), claim.fence, "lost")
}

/// How the step ended. `None`: its sandbox is lost.
fn outcome(ended: Ended) -> Option<Outcome> {
    let failure = match ended {
        Ended::Code(0) => return Some(Outcome::Succeeded),
        Ended::Lost => return None,
        Ended::Code(code) => Failure::Exit { code },
        Ended::Signal(signal) => Failure::Signal { signal },
        Ended::CannotExecute { errno, detail } => Failure::CannotExecute { errno, detail },
        Ended::OutOfMemory => Failure::OutOfMemory,
    };
    Some(Outcome::Failed { failure })
}

/// Retries an idempotent request until it is accepted or refused.
async fn insist<T, F: Future<Output = Result<T, Error>>>(send: impl Fn() -> F) -> Result<T, Error> {
    let mut backoff = Backoff::default();
    loop {
        match send().await {
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "cannot reach the control plane, retrying");
                tokio::time::sleep(backoff.pause()).await;
            }
            answer => return answer,
        }
    }
}

/// A file of this host for people elsewhere: `HOST:PATH`. None if the control plane would not take
/// a name of this length.
fn place_of(path: &Path) -> Option<Line> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let place = Line::escaped(&format!("{}:{}", host.trim(), path.display()));
    (place.len() <= limits::DETAIL_BYTES).then_some(place)
}
