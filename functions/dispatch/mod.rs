//! `dispatch`: turns the queue messages of Fargate pools into sandboxes.
//!
//! The cascade is resolved again at the claim, so what has been rotated since the enqueue is what
//! the task definition pins. A message is a hint; its queue's ARN, which Lambda vouches for, names
//! the project and the pool. The pool claims the step as any worker would, then the task is
//! launched with a client token made of run, step and fence, then its handle is stored. Death at
//! any point ends at the same task: a message that comes again finds the pool's own claim and goes
//! on with its fence. A claim that was lost in the meantime (cancelled, expired) refuses the
//! handle, and the launcher stops what it started.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use sealfleet_api::types::QueueMessage;
use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::{FargatePool, Pool, Worker};
use sealfleet_domain::run::{
    Change, Executor, Failure, Fence, Handle, Outcome, Pace, Refusal, RequeueReason, Run,
};
use sealfleet_domain::{PoolName, ProjectScope, RunId, StepId};
use sealfleet_fargate::{Definition, Error as EcsError, Launch, Launched, Tasks};
use sealfleet_ledger::{Claimed, Error, Ledger, NewClaim};
use sealfleet_versions::SecretVersions;

use crate::shared::cascade::at_start;
use crate::shared::metrics::{Metric, Metrics};

/// Seconds after a launch when `sweep` first asks ECS about it.
const LOOK_AGAIN_SECONDS: i64 = 60;

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// ECS.
    pub tasks: Box<dyn Tasks>,
    /// The versions of secrets; never their values.
    pub secrets: Box<dyn SecretVersions>,
    /// What makes two equal definitions at two places different.
    pub place_key: String,
    /// How long leases last.
    pub pace: Pace,
    /// What is counted.
    pub metrics: Metrics,
}

/// Why a message must come again.
#[derive(Debug, thiserror::Error)]
enum Again {
    #[error(transparent)]
    Ledger(#[from] Error),
    #[error(transparent)]
    Ecs(#[from] EcsError),
    #[error("the pool holds as many steps as it may")]
    Full,
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

async fn dispatch(ports: &Ports, message: SqsMessage) -> Result<(), Again> {
    let arn = message.event_source_arn.unwrap_or_default();
    let hint: Option<QueueMessage> = message
        .body
        .as_deref()
        .and_then(|body| serde_json::from_str(body).ok());
    let (Ok((scope, pool)), Some(hint)) = (ProjectScope::of_queue_arn(&arn), hint) else {
        tracing::error!(arn, "a message that is not one of ours is dropped");
        return Ok(());
    };
    let Some((pool_row, worker)) = pool_worker(ports, &scope, &pool).await? else {
        tracing::error!(
            arn,
            "a message for a pool that is not a Fargate pool is dropped"
        );
        return Ok(());
    };
    match claim(ports, &scope, &worker, hint.run_id, &hint.step_id).await {
        Ok(Some((run, fence))) => {
            let launched = launch(
                ports,
                &scope,
                &pool_row,
                &worker,
                &run,
                &hint.step_id,
                fence,
            )
            .await;
            if matches!(launched, Err(Again::Ecs(EcsError::Throttled))) {
                refused(ports, &scope);
            }
            launched
        }
        Ok(None) => Ok(()),
        Err(Error::AtCapacity(_)) => {
            refused(ports, &scope);
            Err(Again::Full)
        }
        Err(Error::NotFound | Error::Refused(Refusal::NoSuchStep(_) | Refusal::Mismatch(_))) => {
            let actor = format!("worker:{}", worker.worker_id);
            ports
                .ledger
                .refused_claim(
                    &scope,
                    &actor,
                    hint.run_id,
                    &hint.step_id,
                    "not_found_or_mismatch",
                )
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
) -> Result<Option<(FargatePool, Worker)>, Error> {
    let project = match ports.ledger.project(scope).await {
        Ok(project) => project,
        Err(Error::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(Pool::Fargate(row)) = project.pools.get(pool) else {
        return Ok(None);
    };
    let worker = ports.ledger.worker(scope.project(), row.worker_id).await?;
    Ok(worker.map(|worker| (row.clone(), worker)))
}

/// The pool's claim of the step: a new one, or its own of before that has no task yet. `None`:
/// nothing is to be done.
async fn claim(
    ports: &Ports,
    scope: &ProjectScope,
    worker: &Worker,
    run_id: RunId,
    step_id: &StepId,
) -> Result<Option<(Run, Fence)>, Error> {
    let wanted = NewClaim {
        scope,
        worker,
        run_id,
        step_id,
        executor: Executor::Ecs,
        pace: ports.pace,
    };
    let secrets = Some(ports.secrets.as_ref());
    let fresh = async |run: &Run| at_start(&ports.ledger, secrets, scope, run, step_id).await;
    match ports.ledger.claim(&wanted, fresh).await {
        Ok(claimed) => return Ok(Some((claimed.run, claimed.fence))),
        Err(Error::Refused(Refusal::NotQueued(_))) => {}
        Err(error) => return Err(error),
    }
    let run = ports.ledger.run(scope, run_id).await?;
    let own = run
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
        .unless_revoked(&wanted, Claimed { run, fence })
        .await?;
    Ok(Some((claimed.run, claimed.fence)))
}

async fn launch(
    ports: &Ports,
    scope: &ProjectScope,
    pool: &FargatePool,
    worker: &Worker,
    run: &Run,
    step_id: &StepId,
    fence: Fence,
) -> Result<(), Again> {
    let run_id = run.run_id;
    let actor = format!("worker:{}", worker.worker_id);
    let launched = match definition(ports, scope, pool, run, step_id).await {
        Ok(definition) => {
            let launch = Launch {
                run_id,
                step_id,
                fence,
                definition: &definition,
            };
            ports.tasks.run(scope, &launch).await.map_err(Again::from)
        }
        Err(error) => Err(error),
    };
    match launched {
        Ok(Launched::Task(arn)) => attach(ports, scope, run_id, step_id, fence, arn, &actor).await,
        Ok(Launched::NoCapacity(reason)) => {
            tracing::warn!(%run_id, %step_id, reason, "ECS has no capacity");
            let lost = ports
                .ledger
                .transition(scope, run_id, &actor, |run, now| {
                    // Another delivery of the same claim has launched it.
                    if run.held(step_id, None, fence)?.handle.is_some() {
                        return Ok(Change::default());
                    }
                    run.lose(step_id, fence, RequeueReason::NoCapacity, ports.pace, now)
                })
                .await;
            settled(lost.map(|_| ()))?;
            Err(Again::Ecs(EcsError::Throttled))
        }
        // It would be refused again and again: the step cannot start, and its caller learns why.
        Err(Again::Ecs(EcsError::Refused(detail))) => {
            refused(ports, scope);
            let failure = Failure::CannotStart {
                detail: Failure::detail(&detail),
            };
            let outcome = Outcome::Failed { failure };
            let ended = ports
                .ledger
                .transition(scope, run_id, &actor, |run, now| {
                    // Another delivery of the same claim has launched it.
                    if run.held(step_id, None, fence)?.handle.is_some() {
                        return Ok(Change::default());
                    }
                    run.finish(step_id, None, fence, &outcome, ports.pace, now)
                })
                .await;
            settled(ended.map(|_| ()))
        }
        Err(error) => Err(error),
    }
}

/// The task definition of this content: registered once, then remembered.
async fn definition(
    ports: &Ports,
    scope: &ProjectScope,
    pool: &FargatePool,
    run: &Run,
    step_id: &StepId,
) -> Result<String, Again> {
    let step = run.step(step_id).map_err(Error::from)?;
    let secrets = run.identity_of(step).map(|identity| identity.secrets);
    let definition = Definition {
        image: pool.image.clone(),
        cpu: pool.cpu,
        memory_mib: pool.memory_mib,
        secrets: secrets.unwrap_or_default(),
    };
    let hash = definition.hash(&ports.place_key);
    if let Some(arn) = ports.ledger.task_definition(scope, &hash).await? {
        return Ok(arn);
    }
    let arn = ports.tasks.register(scope, &definition).await?;
    ports
        .ledger
        .remember_task_definition(scope, &hash, &arn)
        .await?;
    Ok(arn)
}

async fn attach(
    ports: &Ports,
    scope: &ProjectScope,
    run_id: RunId,
    step_id: &StepId,
    fence: Fence,
    arn: String,
    actor: &str,
) -> Result<(), Again> {
    let handle = Handle::new(arn.clone());
    let attached = ports
        .ledger
        .transition(scope, run_id, actor, |run, now| {
            run.attach(
                step_id,
                fence,
                handle.clone(),
                now.plus_seconds(LOOK_AGAIN_SECONDS),
            )
        })
        .await;
    match attached {
        Ok(_) => Ok(()),
        Err(Error::Refused(refusal)) => {
            // The claim was lost while the task was being launched: what was started must not run.
            tracing::info!(%run_id, %step_id, %refusal, "the launch is taken back");
            ports.tasks.stop(&arn, "the claim was lost").await?;
            let event = Event::SandboxReset {
                step_id: step_id.clone(),
                fence,
            };
            ports
                .ledger
                .record(scope, actor, Some(run_id), vec![event])
                .await?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// A transition that came too late has nothing left to do.
fn settled(result: Result<(), Error>) -> Result<(), Again> {
    match result {
        Ok(()) | Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
