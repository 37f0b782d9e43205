//! `claim`: gives pull workers the key to their queue, a step, more time, what goes into the step,
//! and the key to what comes out of it.
//!
//! The ledger is asked for the step in the worker's own scope, whatever the queue message says.
//! Labels, model, mode, pool, approval and `max_concurrent` come from the stored worker, whatever
//! the process says about itself.

mod hints;
mod seen;

pub use seen::Seen;

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{
    Claim, ClaimStep, FetchInputs, Heartbeat, HeartbeatAnswer, LeaseRef, LeaseVerdict,
    QueueCredentials, StepDenials,
};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::inputs::InputAccess;
use sealfleet_aws::outputs::OutputKeys;
use sealfleet_aws::queue_access::{NoKey, QueueAccess};
use sealfleet_aws::queues::Queues;
use sealfleet_domain::audit::Event;
use sealfleet_domain::capability::PULL;
use sealfleet_domain::labels::{BACKEND, IMAGE};
use sealfleet_domain::output::Outputs;
use sealfleet_domain::run::{Executor, Failure, Fence, Fresh, Pace, Run, egress_events};
use sealfleet_domain::{Line, ProjectScope, RunId, StepId, limits};
use sealfleet_ledger::{Claimed, Error, Ledger, NewClaim, OfHolder, StoredRun};
use sealfleet_versions::Versions;

use crate::shared::auth::{WorkerCaller, WorkerDoor};
use crate::shared::cascade::at_start;
use crate::shared::fault::{Answered, Fault};
use crate::shared::inputs;
use crate::shared::route::route;
use crate::shared::views;

/// Rows of one heartbeat that are read or written at once.
const AT_ONCE: usize = 16;

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    pub door: WorkerDoor,
    pub access: Box<dyn QueueAccess>,
    /// What the versions of secrets are asked of; no value can be read.
    pub secrets: Versions,
    pub outputs: Box<dyn OutputKeys>,
    /// What steps work with.
    pub inputs: Box<dyn InputAccess>,
    /// The queues, for hints that are passed on.
    pub queues: Box<dyn Queues>,
    /// How long leases last.
    pub pace: Pace,
    /// When each worker was seen last.
    pub seen: Seen,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    route! { request, &ports.door;
        CLAIM_STEP reading async |scope: &ProjectScope| asked(ports, scope, request).await
            => |admitted, ()| claim(ports, admitted);
        SEND_HEARTBEAT => |caller, ()| heartbeat(ports, caller, request);
        GET_QUEUE_CREDENTIALS => |caller, ()| queue_credentials(ports, caller);
        GET_OUTPUT_CREDENTIALS => |caller, ()| output_credentials(ports, caller, request);
        GET_STEP_INPUTS => |caller, ()| step_inputs(ports, caller, request);
    }
}

/// What is asked for, and the run that it is of.
type Asked = (ClaimStep, Result<StoredRun, Error>);

async fn asked(ports: &Ports, scope: &ProjectScope, request: &Request) -> Result<Asked, Problem> {
    let asked: ClaimStep = request.json()?;
    let run = ports.ledger.glimpsed_run(scope, asked.run_id).await;
    Ok((asked, run))
}

async fn claim(ports: &Ports, (caller, asked): (WorkerCaller, Result<Asked, Problem>)) -> Answered {
    let (asked, run) = asked?;
    let claim = NewClaim {
        scope: &caller.scope,
        worker: &caller.worker,
        run_id: asked.run_id,
        step_id: &asked.step_id,
        executor: Executor::Worker,
        pace: ports.pace,
    };
    let (ledger, step_id, secrets) = (&ports.ledger, &asked.step_id, &ports.secrets);
    let fresh = async |run: &Run| {
        let fresh = at_start(ledger, &PULL, secrets, &caller.scope, run, step_id).await?;
        Ok(match fresh {
            // Since its enqueue: no label has kept the step from this worker.
            Fresh::Identity(now) if !caller.worker.sandboxes.delivers(now.delivery()) => {
                let kind = now.delivery().text();
                let detail = format!(
                    "a secret is now delivered by `{kind}`, which this worker cannot do; enqueue the run again"
                );
                let detail = Failure::detail(&detail);
                Fresh::Refused(Failure::ProfileRefused { detail })
            }
            fresh => fresh,
        })
    };
    let claimed = match run {
        Ok(run) => ledger.claim_of(&claim, run, fresh).await,
        Err(error) => Err(error),
    };
    match claimed {
        Ok(claimed) => Answer::json(200, &granted(ports, &caller, claimed, &asked)?),
        Err(error) => Err(refused(ports, &caller, &asked, error.into()).await),
    }
}

fn granted(
    ports: &Ports,
    caller: &WorkerCaller,
    claimed: Claimed,
    asked: &ClaimStep,
) -> Result<Claim, Fault> {
    let run = claimed.stored.run();
    let step = run.step(&asked.step_id)?;
    let identity = run.identity_of(step).unwrap_or_default();
    Ok(Claim {
        project: caller.scope.project().clone(),
        run_id: asked.run_id,
        step_id: asked.step_id.clone(),
        fence: claimed.fence,
        attempt: step.attempt,
        lease_seconds: ports.pace.lease_seconds,
        mode: step.spec.mode,
        command: step.spec.command.clone(),
        agent: step.spec.agent.clone(),
        env: run.env_of(step),
        secrets: identity.secrets,
        tool: step.spec.tool.clone(),
        tools: identity.tools,
        inputs: step.spec.inputs.clone(),
        tty: step.spec.tty,
        artifacts: step.spec.artifacts.clone(),
        fetches: inputs::are_there(&step.spec),
        timeout_seconds: step.spec.timeout_seconds,
        backend: step.spec.requires.get(BACKEND).map(str::to_owned),
        image: step.spec.requires.get(IMAGE).map(str::to_owned),
        egress: identity.egress,
        audiences: identity.workload.unwrap_or_default().audiences,
    })
}

/// Records a refusal that somebody may want to know of. Three are everyday, and are not recorded:
/// another worker was faster, the worker is full, or the hint was passed on already.
async fn refused(ports: &Ports, caller: &WorkerCaller, asked: &ClaimStep, fault: Fault) -> Fault {
    let code = fault.code();
    if code == Code::StepMismatch {
        let passed_on = hints::pass_on(ports, caller, asked).await;
        if let Err(error) = passed_on {
            tracing::warn!(%error, "a hint was not passed on; `sweep` sends it again");
        }
    }
    let is_everyday = match code {
        Code::NotFound => false,
        Code::StepMismatch => asked.passed_on_until.is_some(),
        _ => true,
    };
    if is_everyday {
        return fault;
    }
    let event = |count| Event::ClaimRefused {
        step_id: asked.step_id.clone(),
        code: code.text().into(),
        count,
    };
    let (scope, worker_id) = (&caller.scope, caller.worker.worker_id);
    let recorded = ports
        .ledger
        .refused(scope, worker_id, &caller.actor, asked.run_id, event)
        .await;
    recorded.map_or_else(Fault::from, |()| fault)
}

async fn heartbeat(ports: &Ports, caller: WorkerCaller, request: &Request) -> Answered {
    let beat: Heartbeat = request.json()?;
    if beat.leases.len() > limits::MAX_CONCURRENT as usize {
        let detail = format!("{} leases at most", limits::MAX_CONCURRENT);
        return Err(Problem::invalid("leases", detail).into());
    }
    let named: BTreeSet<_> = beat
        .leases
        .iter()
        .map(|lease| (lease.run_id, &lease.step_id, lease.fence))
        .collect();
    if named.len() < beat.leases.len() {
        let detail = "a lease is named twice; name each once";
        return Err(Problem::invalid("leases", detail).into());
    }
    if beat.egress_denied.len() > limits::MAX_CONCURRENT as usize
        || beat
            .egress_denied
            .iter()
            .any(|step| step.hosts.rows.len() > limits::EGRESS_ROWS)
    {
        let (steps, rows) = (limits::MAX_CONCURRENT, limits::EGRESS_ROWS);
        let detail = format!("{steps} steps at most, with {rows} rows each");
        return Err(Problem::invalid("egress_denied", detail).into());
    }
    let long = |version: &Line| version.is_empty() || version.len() > limits::NAME_BYTES;
    if beat.version.as_ref().is_some_and(long) {
        let detail = format!("a version has 1 to {} bytes", limits::NAME_BYTES);
        return Err(Problem::invalid("version", detail).into());
    }
    let mut worker = caller.worker.clone();
    if let Some(sandboxes) = beat.sandboxes {
        let wrong = |(field, message)| Problem::invalid(format!("sandboxes.{field}"), message);
        sandboxes.check().map_err(wrong)?;
        if sandboxes != worker.sandboxes {
            let (ledger, id) = (&ports.ledger, worker.worker_id);
            let told = ledger.note_sandboxes(&caller.scope, id, sandboxes, &caller.actor);
            worker = told.await?;
        }
    }
    let (scope, worker_id) = (&caller.scope, worker.worker_id);
    let runs: BTreeSet<RunId> = beat.leases.iter().map(|lease| lease.run_id).collect();
    let holds = stream::iter(runs)
        .map(|run_id| ports.ledger.holds_of(scope, worker_id, run_id))
        .buffer_unordered(AT_ONCE);
    let of_runs: Vec<OfHolder> = holds.try_collect().await?;
    let leases = stream::iter(beat.leases)
        .map(|lease| verdict(ports, scope, &of_runs, lease))
        .buffered(AT_ONCE);
    let mut leases: Vec<LeaseVerdict> = leases.try_collect().await?;
    tell_revoked(ports, scope, &of_runs, &mut leases).await?;
    // Afterwards: leases do not wait for it.
    record_denials(ports, &caller, beat.egress_denied, &mut leases).await;
    ports.seen.note(&ports.ledger, &caller, beat.version).await;
    Answer::json(
        200,
        &HeartbeatAnswer {
            status: worker.status,
            draining: worker.draining_since.is_some(),
            leases,
        },
    )
}

/// Extends the lease of a claim that is held. The run alone says whether it is: a lease may be
/// there without its hold, put by another attempt at the same claim.
async fn verdict(
    ports: &Ports,
    scope: &ProjectScope,
    of_runs: &[OfHolder],
    lease: LeaseRef,
) -> Result<LeaseVerdict, Error> {
    let hold = of_runs.iter().flat_map(|run| &run.holds).find(|hold| {
        hold.run_id == lease.run_id && hold.step_id == lease.step_id && hold.fence == lease.fence
    });
    let held = match hold {
        Some(hold) => {
            let until = ports.ledger.now().plus_seconds(ports.pace.lease_seconds);
            ports.ledger.renew(scope, hold, until).await?
        }
        None => false,
    };
    let mut cancelled = of_runs.iter().flat_map(|run| &run.cancelled);
    let cancelled = cancelled.any(|(run_id, step_id, fence)| {
        *run_id == lease.run_id && *step_id == lease.step_id && *fence == lease.fence
    });
    Ok(LeaseVerdict {
        run_id: lease.run_id,
        step_id: lease.step_id,
        fence: lease.fence,
        held,
        cancelled,
        revoked: Vec::new(),
        denials_recorded: false,
    })
}

/// Tells which keys of held steps are revoked, where an egress proxy delivers them: it can take
/// them back while the step runs.
async fn tell_revoked(
    ports: &Ports,
    scope: &ProjectScope,
    of_runs: &[OfHolder],
    leases: &mut [LeaseVerdict],
) -> Result<(), Error> {
    let held = |run_id: RunId, step_id: &StepId, fence: Fence| {
        let this = move |lease: &&LeaseVerdict| {
            lease.held && (lease.run_id, &lease.step_id, lease.fence) == (run_id, step_id, fence)
        };
        leases.iter().find(this).is_some()
    };
    let delivering = of_runs.iter().flat_map(|run| &run.delivering);
    let delivering: Vec<_> = delivering
        .filter(|(run_id, step_id, fence)| held(*run_id, step_id, *fence))
        .cloned()
        .collect();
    for ((run_id, step_id, fence), keys) in ports.ledger.withdrawn(scope, &delivering).await? {
        let this = |lease: &&mut LeaseVerdict| {
            (lease.run_id, &lease.step_id, lease.fence) == (run_id, &step_id, fence)
        };
        if let Some(lease) = leases.iter_mut().find(this) {
            lease.revoked = keys;
        }
    }
    Ok(())
}

/// Records which hosts the steps of held leases were kept from. The verdicts say what is on record;
/// the rest is told again.
async fn record_denials(
    ports: &Ports,
    caller: &WorkerCaller,
    told: Vec<StepDenials>,
    leases: &mut [LeaseVerdict],
) {
    for step in told {
        let is_its = |lease: &&mut LeaseVerdict| {
            (lease.run_id, lease.fence) == (step.run_id, step.fence)
                && lease.step_id == step.step_id
        };
        let lease = leases.iter_mut().filter(|lease| lease.held).find(is_its);
        let Some(lease) = lease.filter(|lease| !lease.denials_recorded) else {
            continue;
        };
        let events = egress_events(&step.step_id, step.fence, step.hosts);
        if events.is_empty() {
            continue;
        }
        let (scope, actor) = (&caller.scope, &caller.actor);
        let recorded = ports
            .ledger
            .record(scope, actor, Some(step.run_id), events)
            .await;
        match recorded {
            Ok(()) => lease.denials_recorded = true,
            Err(error) => tracing::warn!(%error, "denied hosts are not on record yet"),
        }
    }
}

async fn queue_credentials(ports: &Ports, caller: WorkerCaller) -> Answered {
    let key = ports
        .access
        .queue_key(&caller.scope, &caller.worker.pool, caller.worker.worker_id)
        .await
        .map_err(no_key)?;
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

/// For whoever holds the claim now. The key goes on for a while when the claim is over, and reaches
/// nothing but what this claim puts out.
async fn output_credentials(ports: &Ports, caller: WorkerCaller, request: &Request) -> Answered {
    let lease: LeaseRef = request.json()?;
    let (scope, worker_id) = (&caller.scope, caller.worker.worker_id);
    let run = ports.ledger.run(scope, lease.run_id).await?;
    run.held(&lease.step_id, Some(worker_id), lease.fence)?;
    let of = Outputs::of(scope, lease.run_id, &lease.step_id, lease.fence);
    let key = ports.outputs.output_key(&of, &worker_id.to_string()).await;
    Answer::json(200, &views::output_credentials(key.map_err(no_key)?))
}

/// For whoever holds the claim now: URLs that are good for minutes, each for one object.
async fn step_inputs(ports: &Ports, caller: WorkerCaller, request: &Request) -> Answered {
    let of: FetchInputs = request.json()?;
    let (scope, worker_id) = (&caller.scope, caller.worker.worker_id);
    let run = ports.ledger.run(scope, of.run_id).await?;
    run.held(&of.step_id, Some(worker_id), of.fence)?;
    let (step, reader) = ((&run, &of.step_id), worker_id.to_string());
    let page = inputs::page(&*ports.inputs, scope, step, reader, of.from).await?;
    Answer::json(200, &page)
}

fn no_key(error: NoKey) -> Fault {
    Fault::of_key(error, "AWS STS")
}
