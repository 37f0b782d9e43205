//! `claim`: what pull workers ask for: the key to their queue, a step, and more time.
//!
//! The step's key is built from the worker's own scope, never from the message it took from the
//! queue. Labels, model, mode, pool, approval and `max_concurrent` are those of the stored worker,
//! whatever the process says of itself.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{
    Claim, ClaimStep, Heartbeat, HeartbeatAnswer, LeaseVerdict, QueueCredentials,
};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::queue_access::QueueAccess;
use sealfleet_domain::capability::PULL;
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::limits;
use sealfleet_domain::run::{Executor, Pace};
use sealfleet_ledger::{Claimed, Ledger, Wanted};
use sealfleet_versions::Versions;

use crate::shared::auth::{WorkerCaller, approved_worker, revoked, worker};
use crate::shared::cascade::at_start;
use crate::shared::problems;

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// Queue credentials.
    pub access: Box<dyn QueueAccess>,
    /// How long leases last.
    pub pace: Pace,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("POST", ["v1", "claims"]) => claim(ports, request).await,
        ("POST", ["v1", "heartbeats"]) => heartbeat(ports, request).await,
        ("POST", ["v1", "queue-credentials"]) => queue_credentials(ports, request).await,
        _ => Err(Problem::not_found()),
    }
}

async fn claim(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = approved_worker(&ports.ledger, request).await?;
    let wanted: ClaimStep = request.json()?;
    let asked = Wanted {
        scope: &caller.scope,
        worker: &caller.worker,
        run_id: wanted.run_id,
        step_id: &wanted.step_id,
        executor: Executor::Worker,
        pace: ports.pace,
    };
    let claimed = ports
        .ledger
        .claim(&asked, async |run| {
            at_start(
                &ports.ledger,
                &PULL,
                &Versions::default(),
                &caller.scope,
                run,
                &wanted.step_id,
            )
            .await
        })
        .await;
    match claimed {
        Ok(claimed) => Answer::json(200, &granted(ports, &caller, claimed, &wanted)?),
        Err(error) => Err(refused(ports, &caller, &wanted, problems::of_ledger(error)).await),
    }
}

fn granted(
    ports: &Ports,
    caller: &WorkerCaller,
    claimed: Claimed,
    wanted: &ClaimStep,
) -> Result<Claim, Problem> {
    let step = claimed
        .run
        .step(&wanted.step_id)
        .map_err(|refusal| problems::of_refusal(&refusal))?;
    let identity = claimed.run.identity_of(step).unwrap_or_default();
    Ok(Claim {
        project: caller.scope.project().clone(),
        run_id: wanted.run_id,
        step_id: wanted.step_id.clone(),
        fence: claimed.fence,
        attempt: step.attempt,
        lease_seconds: ports.pace.lease_seconds,
        mode: step.spec.mode,
        command: step.spec.command.clone(),
        env: claimed.run.env_of(step),
        secrets: identity.secrets,
        tool: step.spec.tool.clone(),
        tools: identity.tools,
        timeout_seconds: step.spec.timeout_seconds,
    })
}

/// Notes a refusal that somebody may want to know of. A step that another worker was faster to
/// claim is not one, nor is a worker that is full: both are everyday.
async fn refused(
    ports: &Ports,
    caller: &WorkerCaller,
    wanted: &ClaimStep,
    problem: Problem,
) -> Problem {
    if !matches!(problem.code, Code::NotFound | Code::StepMismatch) {
        return problem;
    }
    let noted = ports
        .ledger
        .refused_claim(
            &caller.scope,
            &caller.actor,
            wanted.run_id,
            &wanted.step_id,
            problem.code.text(),
        )
        .await;
    match noted {
        Ok(()) => problem,
        Err(error) => problems::of_ledger(error),
    }
}

async fn heartbeat(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = worker(&ports.ledger, request).await?;
    match caller.worker.status {
        WorkerStatus::Approved | WorkerStatus::Pending => {}
        WorkerStatus::Rejected => {
            return Err(Problem::new(
                Code::WorkerRejected,
                "an admin rejected this worker",
            ));
        }
        WorkerStatus::Revoked => return Err(revoked()),
    }
    let told: Heartbeat = request.json()?;
    if told.leases.len() > limits::MAX_CONCURRENT as usize {
        return Err(Problem::invalid(
            "leases",
            format!("{} leases at most", limits::MAX_CONCURRENT),
        ));
    }
    let held = if told.leases.is_empty() {
        Vec::new()
    } else {
        ports
            .ledger
            .leases_of(&caller.scope, caller.worker.worker_id)
            .await
            .map_err(problems::of_ledger)?
    };
    let until = ports.ledger.now().plus_seconds(ports.pace.lease_seconds);
    let mut leases = Vec::new();
    for lease in told.leases {
        let row = held.iter().find(|row| {
            row.run_id == lease.run_id && row.step_id == lease.step_id && row.fence == lease.fence
        });
        let held = match row {
            None => false,
            Some(row) => ports
                .ledger
                .heartbeat(&caller.scope, caller.worker.worker_id, row, until)
                .await
                .map_err(problems::of_ledger)?,
        };
        leases.push(LeaseVerdict {
            run_id: lease.run_id,
            step_id: lease.step_id,
            fence: lease.fence,
            held,
        });
    }
    Answer::json(
        200,
        &HeartbeatAnswer {
            status: caller.worker.status,
            leases,
        },
    )
}

async fn queue_credentials(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = approved_worker(&ports.ledger, request).await?;
    let key = ports
        .access
        .queue_key(&caller.scope, &caller.worker.pool, caller.worker.worker_id)
        .await
        .map_err(|error| problems::unavailable(&error, "AWS STS"))?;
    Answer::json(
        200,
        &QueueCredentials {
            queue_url: key.queue_url,
            region: key.region,
            access_key_id: key.access_key_id,
            secret_access_key: key.secret_access_key,
            session_token: key.session_token,
            expires_at: key.expires_at,
        },
    )
}
