//! `dispatch`: turns the queue messages of hosted pools into sandboxes.
//!
//! The cascade is resolved again at the claim, so the sandbox gets what has been rotated since the
//! enqueue. A message is a hint; its queue's ARN, which Lambda vouches for, names the project and
//! the pool. The pool claims the step as any worker would, then its host launches a sandbox for
//! exactly this claim, then its handle is stored. Death at any point ends at the same sandbox: a
//! message that comes again finds the pool's own claim and goes on with its fence. A claim that was
//! lost in the meantime (cancelled, expired) refuses the handle, and the launcher stops what it
//! started.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join;
use sealfleet_api::types::QueueMessage;
use sealfleet_aws::queues::scope_of_queue;
use sealfleet_domain::audit::Event;
use sealfleet_domain::capability::Host;
use sealfleet_domain::egress::Policy;
use sealfleet_domain::fleet::{HostedPool, Pool, Worker};
use sealfleet_domain::run::{
    Change, Executor, Failure, Handle, Outcome, Pace, Refusal, RequeueReason, Run, StartCause,
};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::usage::Size;
use sealfleet_domain::{PoolName, ProjectScope, RunId, StepId, Timestamp, WorkerId};
use sealfleet_hosts::{Error as HostError, Hosts, Launched, SandboxHost, Template};
use sealfleet_ledger::{Claimed, Error, Ledger, NewClaim, StoredRun};
use sealfleet_versions::Versions;

use crate::shared::cascade::at_start;
use crate::shared::metrics::{Metric, Metrics};

/// Tries to launch: of what this instance remembers, of what the ledger does, and of what is
/// prepared anew.
const LAUNCHES: usize = 3;
/// Queues whose pool's worker an instance remembers.
const RUNNERS: usize = 1000;
/// Seconds after a launch when `sweep` first asks the host about it.
const LOOK_AGAIN_SECONDS: i64 = 60;

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// Where sandboxes run.
    pub hosts: Hosts,
    /// The versions of secrets; never their values.
    pub secrets: Versions,
    /// How long leases last.
    pub pace: Pace,
    /// What is counted.
    pub metrics: Metrics,
    pub runners: Runners,
}

/// The workers that stand for pools, by the ARN of the pool's queue, as this instance read them
/// last. So a worker can be read together with its project, which says whether it is still the one.
#[derive(Default)]
pub struct Runners(Mutex<HashMap<String, WorkerId>>);

impl Runners {
    fn of(&self, queue: &str) -> Option<WorkerId> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(queue).copied()
    }

    fn note(&self, queue: &str, worker_id: WorkerId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= RUNNERS {
            known.clear();
        }
        known.insert(queue.to_owned(), worker_id);
    }
}

/// Why a message must come again.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error(transparent)]
    Ledger(#[from] Error),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("the pool holds as many steps as it may")]
    PoolFull,
}

/// One claim of a hosted pool, about to be launched.
struct Launch<'a> {
    host: &'a dyn SandboxHost,
    pool: &'a HostedPool,
    claimed: &'a Claimed,
    claim: ClaimTag,
    actor: String,
}

/// Handles a batch; only the messages that must come again are answered as failed.
pub async fn handle(ports: &Ports, batch: SqsEvent) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let id = message.message_id.clone().unwrap_or_default();
        if let Err(error) = dispatch(ports, message).await {
            tracing::warn!(%error, message_id = %id, "the message goes back to its queue");
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            response.batch_item_failures.push(failure);
        }
    }
    response
}

async fn dispatch(ports: &Ports, message: SqsMessage) -> Result<(), NotDone> {
    let arn = message.event_source_arn.unwrap_or_default();
    let hint: Option<QueueMessage> = message
        .body
        .as_deref()
        .and_then(|body| serde_json::from_str(body).ok());
    let (Ok((scope, pool)), Some(hint)) = (scope_of_queue(&arn), hint) else {
        tracing::error!(arn, "a message that is not one of ours is dropped");
        return Ok(());
    };
    let run = ports.ledger.glimpsed_run(&scope, hint.run_id);
    let (found, run) = join(pool_worker(ports, &scope, &pool, &arn), run).await;
    let Some((pool_row, worker)) = found? else {
        tracing::error!(arn, "a message for a pool that is not hosted is dropped");
        return Ok(());
    };
    let Some(host) = ports.hosts.of_kind(&pool_row.host) else {
        let kind = pool_row.host;
        tracing::error!(
            arn,
            kind,
            "a message for a pool whose host this deployment does not have is dropped"
        );
        return Ok(());
    };
    match claim(
        ports,
        &pool_row,
        &scope,
        &worker,
        run,
        (hint.run_id, &hint.step_id),
    )
    .await
    {
        Ok(Some(claimed)) => {
            let launched = launch(
                ports,
                Launch {
                    host,
                    pool: &pool_row,
                    claimed: &claimed,
                    claim: ClaimTag {
                        scope: scope.clone(),
                        run_id: hint.run_id,
                        step_id: hint.step_id,
                        fence: claimed.fence,
                    },
                    actor: format!("worker:{}", worker.worker_id),
                },
            )
            .await;
            if matches!(launched, Err(NotDone::Host(HostError::NotNow { .. }))) {
                refused(ports, &scope);
            }
            launched
        }
        Ok(None) => Ok(()),
        Err(Error::AtCapacity(_)) => {
            refused(ports, &scope);
            Err(NotDone::PoolFull)
        }
        // `sweep` sends another message; once the pool is resumed, the step starts by one.
        Err(Error::Refused(Refusal::Draining)) => {
            tracing::info!(pool = %pool, run_id = %hint.run_id, step_id = %hint.step_id, "the pool drains");
            Ok(())
        }
        Err(Error::NotFound | Error::Refused(Refusal::NoSuchStep(_) | Refusal::Mismatch(_))) => {
            let actor = format!("worker:{}", worker.worker_id);
            let event = |count| Event::ClaimRefused {
                step_id: hint.step_id.clone(),
                code: "not_found_or_mismatch".into(),
                count,
            };
            ports
                .ledger
                .refused(&scope, worker.worker_id, &actor, hint.run_id, event)
                .await?;
            Ok(())
        }
        // The step has failed for what it would have started with, and says so.
        Err(Error::StartRefused(failure)) => {
            tracing::warn!(run_id = %hint.run_id, step_id = %hint.step_id, ?failure, "the step may not start");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn refused(ports: &Ports, scope: &ProjectScope) {
    ports.metrics.of_project(
        scope.project().as_str(),
        ports.ledger.now(),
        &[(Metric::DispatchRefusals, 1.0)],
    );
}

async fn pool_worker(
    ports: &Ports,
    scope: &ProjectScope,
    pool: &PoolName,
    arn: &str,
) -> Result<Option<(HostedPool, Worker)>, Error> {
    let last = async {
        let worker_id = ports.runners.of(arn)?;
        let worker = ports.ledger.worker(scope.project(), worker_id).await;
        worker.ok().flatten()
    };
    let (project, last) = join(ports.ledger.project(scope), last).await;
    let project = match project {
        Ok(project) => project,
        Err(Error::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(Pool::Hosted(row)) = project.pools.get(pool) else {
        return Ok(None);
    };
    let worker = match last.filter(|last| last.worker_id == row.worker_id) {
        Some(worker) => Some(worker),
        None => ports.ledger.worker(scope.project(), row.worker_id).await?,
    };
    ports.runners.note(arn, row.worker_id);
    Ok(worker.map(|worker| (row.clone(), worker)))
}

/// The pool's claim of the step: a new one, or its own of before that has no sandbox yet. `None`:
/// nothing is to be done.
async fn claim(
    ports: &Ports,
    pool: &HostedPool,
    scope: &ProjectScope,
    worker: &Worker,
    run: Result<StoredRun, Error>,
    (run_id, step_id): (RunId, &StepId),
) -> Result<Option<Claimed>, Error> {
    let wanted = NewClaim {
        scope,
        worker,
        run_id,
        step_id,
        executor: Executor::Host,
        pace: ports.pace,
    };
    let host = Host::of_kind(&pool.host);
    let fresh =
        async |run: &Run| at_start(&ports.ledger, host, &ports.secrets, scope, run, step_id).await;
    match ports.ledger.claim_of(&wanted, run?, fresh).await {
        Ok(claimed) => return Ok(Some(claimed)),
        Err(Error::Refused(Refusal::NotQueued(_))) => {}
        Err(error) => return Err(error),
    }
    let stored = ports.ledger.stored_run(scope, run_id).await?;
    let own = stored
        .run()
        .step(step_id)?
        .state
        .hold()
        .filter(|hold| hold.holder == worker.worker_id && hold.handle.is_none());
    let Some(fence) = own.map(|hold| hold.fence) else {
        return Ok(None);
    };
    // Whoever made the claim may have died before it looked at the revocations.
    let claimed = ports
        .ledger
        .unless_revoked(&wanted, Claimed { stored, fence })
        .await?;
    Ok(Some(claimed))
}

async fn launch(ports: &Ports, launch: Launch<'_>) -> Result<(), NotDone> {
    let (pace, step_id, fence) = (ports.pace, &launch.claim.step_id, launch.claim.fence);
    match launched(ports, &launch).await {
        Ok(handle) => attach(ports, &launch, handle).await,
        // Nothing was launched: the claim makes room for others until it is tried again.
        Err(NotDone::Host(HostError::NotNow { reason, detail })) => {
            let run_id = launch.claim.run_id;
            tracing::warn!(%run_id, %step_id, ?reason, detail, "the host does not launch now");
            unless_launched(ports, &launch, |run, now| {
                run.lose(step_id, fence, reason, pace, now)
            })
            .await?;
            Err(HostError::NotNow { reason, detail }.into())
        }
        // It would be refused again and again: the step cannot start, and its caller learns why.
        Err(NotDone::Host(HostError::Refused(detail))) => {
            refused(ports, &launch.claim.scope);
            let failure = Failure::CannotStart {
                cause: Some(StartCause::Configuration),
                detail: Failure::detail(&detail),
            };
            let outcome = Outcome::Failed { failure };
            unless_launched(ports, &launch, |run, now| {
                run.finish(step_id, None, fence, &outcome, pace, now)
            })
            .await
        }
        Err(error) => Err(error),
    }
}

/// Ends or loses the claim, unless another delivery of it has launched its sandbox.
async fn unless_launched(
    ports: &Ports,
    launch: &Launch<'_>,
    mut rule: impl FnMut(&mut Run, Timestamp) -> Result<Change, Refusal> + Send,
) -> Result<(), NotDone> {
    let ClaimTag {
        scope,
        run_id,
        step_id,
        fence,
    } = &launch.claim;
    let done = ports
        .ledger
        .transition(scope, *run_id, &launch.actor, |run, now| {
            if run.held(step_id, None, *fence)?.handle.is_some() {
                return Ok(Change::default());
            }
            rule(run, now)
        })
        .await;
    settled(done.map(drop))
}

/// Launches a sandbox of what the host has prepared for this content: once, and again when the host
/// no longer has what the ledger remembers.
async fn launched(ports: &Ports, launch: &Launch<'_>) -> Result<Handle, NotDone> {
    let Launch { host, claim, .. } = launch;
    let template = template(launch)?;
    let key = host.template_key(&template);
    let prepare = async |gone: Option<&str>| -> Result<String, NotDone> {
        let name = host.prepare(&claim.scope, &template).await?;
        ports
            .ledger
            .remember_task_definition(&claim.scope, &key, &name, gone)
            .await?;
        Ok(name)
    };
    let mut gone: Option<String> = None;
    for _ in 0..LAUNCHES {
        let (ledger, without) = (&ports.ledger, gone.as_deref());
        let remembered = ledger.task_definition(&claim.scope, &key, without);
        let prepared = match remembered.await? {
            Some(name) => name,
            None => prepare(without).await?,
        };
        if let Launched::Sandbox(handle) = host.launch(claim, &prepared).await? {
            return Ok(handle);
        }
        tracing::info!(prepared, "the host no longer has what it prepared");
        gone = Some(prepared);
    }
    Err(NotDone::Host(HostError::NotNow {
        reason: RequeueReason::HostFailed,
        detail: "the host does not have what it has just prepared".to_owned(),
    }))
}

fn template(launch: &Launch<'_>) -> Result<Template, Error> {
    let Launch {
        pool,
        claimed,
        claim,
        ..
    } = launch;
    let run = claimed.stored.run();
    let step = run.step(&claim.step_id)?;
    let identity = run.identity_of(step).unwrap_or_default();
    let reaches = |policy: &Policy| *policy != Policy::None;
    Ok(Template {
        image: pool.image.clone(),
        cpu: pool.cpu,
        memory_mib: pool.memory_mib,
        proxy: identity.egress.as_ref().is_some_and(reaches),
        secrets: identity.secrets,
    })
}

async fn attach(ports: &Ports, launch: &Launch<'_>, handle: Handle) -> Result<(), NotDone> {
    let ClaimTag {
        scope,
        run_id,
        step_id,
        fence,
    } = &launch.claim;
    let size = Size {
        cpu: launch.pool.cpu,
        memory_mib: launch.pool.memory_mib,
    };
    let stored = launch.claimed.stored.clone();
    let attached = ports
        .ledger
        .transition_of(scope, stored, &launch.actor, |run, now| {
            let due = now.plus_seconds(LOOK_AGAIN_SECONDS);
            let attached = run.attach(step_id, *fence, handle.clone(), due)?;
            if attached.quiet {
                run.sized(step_id, size)?;
            }
            Ok(attached)
        })
        .await;
    match attached {
        Ok(_) => Ok(()),
        Err(Error::Refused(refusal)) => {
            // The claim was lost during the launch: the sandbox must not run.
            tracing::info!(%run_id, %step_id, %refusal, "the launch is taken back");
            launch.host.stop(&handle, "the claim was lost").await?;
            let event = Event::SandboxReset {
                step_id: step_id.clone(),
                fence: *fence,
            };
            ports
                .ledger
                .record(scope, &launch.actor, Some(*run_id), vec![event])
                .await?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// A transition that came too late has nothing left to do.
fn settled(result: Result<(), Error>) -> Result<(), NotDone> {
    match result {
        Ok(()) | Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
