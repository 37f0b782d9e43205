//! Enrolment keys and workers: register, approve, reject, revoke.
//!
//! A worker with an enrolment key is approved for exactly what the key carries; one without waits
//! for an admin, and is answered alike whether the project exists or not. Revoking a worker ends
//! its claims at once: its steps are queued again, and its next heartbeat is refused.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{
    CreateEnrolmentKey, EnrolmentKeyCreated, RegisterWorker, WorkerRegistered,
};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::access::{Action, Principal, Resource};
use sealfleet_domain::credential::{Credential, enrolment_key_text, worker_text};
use sealfleet_domain::fleet::{EnrolmentKey, EnrolmentRefusal, Worker, WorkerStatus};
use sealfleet_domain::hash::SecretHash;
use sealfleet_domain::labels::Labels;
use sealfleet_domain::run::RequeueReason;
use sealfleet_domain::{EnrolmentKeyId, ProjectScope, WorkerId, limits};
use sealfleet_ledger::{Error, Registration};

use super::Ports;
use crate::shared::auth::{authorise, caller, credential, path_id};
use crate::shared::{effects, pages, problems, views};

pub(super) fn checked_models(field: &str, models: Vec<String>) -> Result<Vec<String>, Problem> {
    if models.len() > limits::MODELS {
        return Err(Problem::invalid(
            field,
            format!("{} models at most", limits::MODELS),
        ));
    }
    if models
        .iter()
        .any(|model| model.is_empty() || model.len() > limits::MODEL_BYTES)
    {
        return Err(Problem::invalid(
            field,
            format!("a model's name has 1 to {} bytes", limits::MODEL_BYTES),
        ));
    }
    Ok(models)
}

pub(super) fn checked_concurrency(field: &str, at_once: u32) -> Result<(), Problem> {
    if (1..=limits::MAX_CONCURRENT).contains(&at_once) {
        Ok(())
    } else {
        Err(Problem::invalid(
            field,
            format!("use a number from 1 to {}", limits::MAX_CONCURRENT),
        ))
    }
}

fn checked_labels(labels: std::collections::BTreeMap<String, String>) -> Result<Labels, Problem> {
    Labels::checked(labels).map_err(|error| Problem::invalid("labels", error.to_string()))
}

pub(super) async fn create_key(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ManageEnrolmentKeys).await?;
    let wanted: CreateEnrolmentKey = request.json()?;
    if !(1..=limits::ENROLMENT_KEY_USES).contains(&wanted.max_uses) {
        return Err(Problem::invalid(
            "max_uses",
            format!("use a number from 1 to {}", limits::ENROLMENT_KEY_USES),
        ));
    }
    if !(1..=limits::ENROLMENT_KEY_SECONDS).contains(&wanted.expires_in_seconds) {
        return Err(Problem::invalid(
            "expires_in_seconds",
            format!("a key lasts 1 to {} seconds", limits::ENROLMENT_KEY_SECONDS),
        ));
    }
    let project = ports
        .ledger
        .project(&caller.scope)
        .await
        .map_err(problems::of_ledger)?;
    if !matches!(
        project.pools.get(&wanted.pool),
        Some(sealfleet_domain::fleet::Pool::Pull)
    ) {
        return Err(Problem::invalid(
            "pool",
            "name a pool of kind `pull` of this project: workers register with no other",
        ));
    }
    let now = ports.ledger.now();
    let secret = ports.ledger.ids().secret();
    let row = EnrolmentKey {
        enrolment_key_id: EnrolmentKeyId::new(ports.ledger.ids(), now),
        pool: wanted.pool,
        labels: checked_labels(wanted.labels)?,
        models: checked_models("models", wanted.models)?,
        max_uses: wanted.max_uses,
        uses: 0,
        hash: SecretHash::of(&secret),
        created_at: now,
        expires_at: now.plus_seconds(i64::from(wanted.expires_in_seconds)),
        revoked_at: None,
    };
    ports
        .ledger
        .create_enrolment_key(&caller.scope, &row, &caller.actor)
        .await
        .map_err(problems::of_ledger)?;
    let enrolment_key = enrolment_key_text(&caller.scope, row.enrolment_key_id, &secret);
    Answer::json(
        201,
        &EnrolmentKeyCreated {
            enrolment_key,
            view: views::enrolment_key(row),
        },
    )
}

pub(super) async fn list_keys(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ManageEnrolmentKeys).await?;
    let fetch = async |after: Option<&str>, limit| {
        ports
            .ledger
            .enrolment_keys(&caller.scope, after, limit)
            .await
    };
    pages::answer(
        request,
        caller.scope.project().as_str(),
        "enrolment-keys",
        fetch,
        views::enrolment_key,
    )
    .await
}

pub(super) async fn revoke_key(
    ports: &Ports,
    request: &Request,
    id: &str,
) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ManageEnrolmentKeys).await?;
    let row = ports
        .ledger
        .revoke_enrolment_key(&caller.scope, path_id(id)?, &caller.actor)
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &views::enrolment_key(row))
}

pub(super) async fn register(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let key = match request.header("authorization") {
        None => None,
        Some(_) => match credential(request)? {
            Credential::EnrolmentKey(presented) => Some(presented),
            Credential::Token(_) | Credential::Worker(_) => return Err(Problem::unauthenticated()),
        },
    };
    let wanted: RegisterWorker = request.json()?;
    let secret = ports.ledger.ids().secret();
    let worker = checked_worker(ports, wanted.clone(), SecretHash::of(&secret))?;
    let Some(presented) = key else {
        let scope = ProjectScope::of_pending_registration(wanted.project);
        let actor = format!("worker:{}", worker.worker_id);
        ports.door.admit_registration(&scope).await?;
        ports
            .ledger
            .register_worker(&scope, &worker, Registration::Pending, &actor)
            .await
            .map_err(problems::of_ledger)?;
        return registered(202, &scope, &worker, &secret);
    };
    let sealfleet_domain::credential::Home::Project(home) = presented.home.clone() else {
        return Err(Problem::unauthenticated());
    };
    // The key is read again when another used it at the same moment: its last use goes to one of
    // them.
    for _ in 0..10 {
        let stored = ports
            .ledger
            .enrolment_key(&home, presented.id)
            .await
            .map_err(problems::of_ledger)?;
        let scope = presented
            .verify(stored.as_ref(), ports.ledger.now())
            .map_err(|_| Problem::unauthenticated())?;
        let row = stored.ok_or_else(Problem::unauthenticated)?;
        let principal = Principal::Enrolment {
            scope: scope.clone(),
            key_id: presented.id,
        };
        authorise(
            &principal,
            Action::RegisterWorker,
            Resource::Project(scope.project()),
        )?;
        if wanted.project != *scope.project() {
            return Err(uncovered(&EnrolmentRefusal::Project));
        }
        row.covers(&worker.pool, &worker.labels, &worker.models)
            .map_err(|refusal| uncovered(&refusal))?;
        let approved = Worker {
            status: WorkerStatus::Approved,
            enrolled_by: Some(presented.id),
            ..worker.clone()
        };
        let stored = ports
            .ledger
            .register_worker(
                &scope,
                &approved,
                Registration::ByKey(row),
                &principal.actor(),
            )
            .await;
        match stored {
            Ok(()) => return registered(201, &scope, &approved, &secret),
            Err(Error::Contended) => {}
            Err(error) => return Err(problems::of_ledger(error)),
        }
    }
    Err(problems::of_ledger(Error::Contended))
}

fn checked_worker(
    ports: &Ports,
    wanted: RegisterWorker,
    hash: SecretHash,
) -> Result<Worker, Problem> {
    let printable = wanted.name.chars().all(|letter| !letter.is_control());
    if wanted.name.is_empty() || wanted.name.len() > limits::NAME_BYTES || !printable {
        return Err(Problem::invalid(
            "name",
            format!("a name has 1 to {} printable bytes", limits::NAME_BYTES),
        ));
    }
    if wanted.modes.is_empty() {
        return Err(Problem::invalid(
            "modes",
            "name at least one of `bare`, `sandboxed` and `identity`",
        ));
    }
    checked_concurrency("max_concurrent", wanted.max_concurrent)?;
    let now = ports.ledger.now();
    Ok(Worker {
        worker_id: WorkerId::new(ports.ledger.ids(), now),
        name: wanted.name,
        pool: wanted.pool,
        status: WorkerStatus::Pending,
        labels: checked_labels(wanted.labels)?,
        models: checked_models("models", wanted.models)?,
        modes: wanted.modes.into_iter().collect(),
        max_concurrent: wanted.max_concurrent,
        hash: Some(hash),
        enrolled_by: None,
        registered_at: now,
    })
}

fn uncovered(refusal: &EnrolmentRefusal) -> Problem {
    Problem::new(Code::EnrolmentRefused, refusal.to_string())
}

fn registered(
    status: u16,
    scope: &ProjectScope,
    worker: &Worker,
    secret: &[u8; 32],
) -> Result<Answer, Problem> {
    let credential = worker_text(scope, worker.worker_id, secret);
    Answer::json(
        status,
        &WorkerRegistered {
            worker_id: worker.worker_id,
            credential,
            status: worker.status,
        },
    )
}

pub(super) async fn list(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ReadWorkers).await?;
    let fetch =
        async |after: Option<&str>, limit| ports.ledger.workers(&caller.scope, after, limit).await;
    pages::answer(
        request,
        caller.scope.project().as_str(),
        "workers",
        fetch,
        views::worker,
    )
    .await
}

pub(super) async fn show(ports: &Ports, request: &Request, id: &str) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ReadWorkers).await?;
    let worker = ports
        .ledger
        .worker(caller.scope.project(), path_id(id)?)
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &views::worker(worker.ok_or_else(Problem::not_found)?))
}

pub(super) async fn approve(ports: &Ports, request: &Request, id: &str) -> Result<Answer, Problem> {
    decide(ports, request, id, WorkerStatus::Approved).await
}

pub(super) async fn reject(ports: &Ports, request: &Request, id: &str) -> Result<Answer, Problem> {
    decide(ports, request, id, WorkerStatus::Rejected).await
}

async fn decide(
    ports: &Ports,
    request: &Request,
    id: &str,
    to: WorkerStatus,
) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ManageWorkers).await?;
    let worker = ports
        .ledger
        .set_worker_status(
            &caller.scope,
            path_id(id)?,
            &[WorkerStatus::Pending],
            to,
            &caller.actor,
        )
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &views::worker(worker))
}

pub(super) async fn revoke(ports: &Ports, request: &Request, id: &str) -> Result<Answer, Problem> {
    let caller = caller(&ports.door, request, Action::ManageWorkers).await?;
    let worker_id: WorkerId = path_id(id)?;
    let revoked = ports
        .ledger
        .set_worker_status(
            &caller.scope,
            worker_id,
            &[WorkerStatus::Pending, WorkerStatus::Approved],
            WorkerStatus::Revoked,
            &caller.actor,
        )
        .await;
    let worker = match revoked {
        Ok(worker) => worker,
        // Asked again after an answer that was lost: go on with what may still be held.
        Err(Error::WrongState("revoked")) => ports
            .ledger
            .worker(caller.scope.project(), worker_id)
            .await
            .map_err(problems::of_ledger)?
            .ok_or_else(Problem::not_found)?,
        Err(error) => return Err(problems::of_ledger(error)),
    };
    requeue(ports, &caller.scope, worker_id, &caller.actor).await?;
    Answer::json(200, &views::worker(worker))
}

/// Queues again what a revoked worker held. What is missed here, `sweep` finds when the lease runs
/// out.
async fn requeue(
    ports: &Ports,
    scope: &ProjectScope,
    worker_id: WorkerId,
    actor: &str,
) -> Result<(), Problem> {
    let held = ports
        .ledger
        .leases_of(scope, worker_id)
        .await
        .map_err(problems::of_ledger)?;
    for lease in held {
        let lost = ports
            .ledger
            .transition(scope, lease.run_id, actor, |run, now| {
                run.lose(
                    &lease.step_id,
                    lease.fence,
                    RequeueReason::WorkerRevoked,
                    ports.pace,
                    now,
                )
            })
            .await;
        match lost {
            Ok(done) => {
                effects::tell(
                    ports.queues.as_ref(),
                    scope,
                    lease.run_id,
                    &done.change.ready,
                )
                .await
            }
            // It ended by itself in the meantime.
            Err(Error::Refused(_)) => {}
            Err(error) => return Err(problems::of_ledger(error)),
        }
    }
    Ok(())
}
