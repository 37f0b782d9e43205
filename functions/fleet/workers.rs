//! Enrolment keys and workers: register, approve, reject, drain, revoke.
//!
//! A worker with an enrolment key is approved for exactly what the key covers. One without waits
//! for an admin, and gets the same answer whether the project exists or not. Revoking a worker ends
//! its claims at once: its steps go back in the queue, and its next heartbeat is refused.

use futures_util::future::try_join;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{
    CreateEnrolmentKey, EnrolmentKeyCreated, HeldStep, RegisterWorker, WorkerDetail,
    WorkerRegistered, WorkerSummary,
};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::approval::{Decision, Undecided, Verdict};
use sealfleet_domain::credential::{enrolment_key_text, worker_text};
use sealfleet_domain::fleet::{
    EnrolmentKey, EnrolmentRefusal, Pool, Sandboxes, Worker, WorkerStatus,
};
use sealfleet_domain::hash::SecretHash;
use sealfleet_domain::labels::Labels;
use sealfleet_domain::run::RequeueReason;
use sealfleet_domain::{ApprovalId, EnrolmentKeyId, Line, ProjectScope, WorkerId, limits};
use sealfleet_ledger::{Error, Ledger, Page, Registration};

use super::Ports;
use crate::shared::auth::{ProjectCaller, Registrant};
use crate::shared::fault::Answered;
use crate::shared::{effects, pages, views};

/// Workers of a list that are looked up at once.
const AT_ONCE: usize = 8;

pub(super) fn checked_models(field: &str, models: Vec<Line>) -> Result<Vec<String>, Problem> {
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
    Ok(models.into_iter().map(String::from).collect())
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

pub(super) async fn create_key(
    ports: &Ports,
    caller: ProjectCaller,
    request: &Request,
) -> Answered {
    let new: CreateEnrolmentKey = request.json()?;
    if !(1..=limits::ENROLMENT_KEY_USES).contains(&new.max_uses) {
        let detail = format!("use a number from 1 to {}", limits::ENROLMENT_KEY_USES);
        return Err(Problem::invalid("max_uses", detail).into());
    }
    if !(1..=limits::ENROLMENT_KEY_SECONDS).contains(&new.expires_in_seconds) {
        let detail = format!("a key lasts 1 to {} seconds", limits::ENROLMENT_KEY_SECONDS);
        return Err(Problem::invalid("expires_in_seconds", detail).into());
    }
    let project = ports.ledger.open_project(&caller.scope).await?;
    if !matches!(project.pools.get(&new.pool), Some(Pool::Pull { .. })) {
        let detail = "name a pool of kind `pull` of this project: workers register with no other";
        return Err(Problem::invalid("pool", detail).into());
    }
    let now = ports.ledger.now();
    let secret = ports.ledger.ids().secret();
    let row = EnrolmentKey {
        enrolment_key_id: EnrolmentKeyId::new(ports.ledger.ids(), now),
        pool: new.pool,
        labels: checked_labels(new.labels)?,
        models: checked_models("models", new.models)?,
        max_uses: new.max_uses,
        uses: 0,
        hash: SecretHash::of(&secret),
        created_at: now,
        expires_at: now.plus_seconds(i64::from(new.expires_in_seconds)),
        revoked_at: None,
    };
    ports
        .ledger
        .create_enrolment_key(&caller.scope, &row, &caller.actor)
        .await?;
    Answer::json(
        201,
        &EnrolmentKeyCreated {
            enrolment_key: enrolment_key_text(&caller.scope, row.enrolment_key_id, &secret),
            view: views::enrolment_key(row),
        },
    )
}

pub(super) async fn list_keys(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let fetch = async |after: Option<&str>, limit| {
        ports
            .ledger
            .enrolment_keys(&caller.scope, after, limit)
            .await
    };
    let project = caller.scope.project().as_str();
    pages::answer(
        request,
        project,
        "enrolment-keys",
        fetch,
        views::enrolment_key,
    )
    .await
}

pub(super) async fn revoke_key(
    ports: &Ports,
    caller: ProjectCaller,
    id: EnrolmentKeyId,
) -> Answered {
    let row = ports
        .ledger
        .revoke_enrolment_key(&caller.scope, id, &caller.actor)
        .await?;
    Answer::json(200, &views::enrolment_key(row))
}

pub(super) async fn register(ports: &Ports, registrant: Registrant, request: &Request) -> Answered {
    let new: RegisterWorker = request.json()?;
    let project = new.project.clone();
    let secret = ports.ledger.ids().secret();
    let worker = checked_worker(ports, new, SecretHash::of(&secret))?;
    let holder = match registrant {
        Registrant::KeyHolder(holder) => holder,
        Registrant::Unknown => {
            let scope = ProjectScope::of_pending_registration(project);
            let actor = format!("worker:{}", worker.worker_id);
            ports.door.admit_registration(&scope).await?;
            ports
                .ledger
                .register_worker(&scope, &worker, Registration::Pending, &actor)
                .await?;
            return registered(202, &scope, &worker, &secret);
        }
    };
    // The key is read again when another registration used it at the same moment: only one of them
    // gets its last use.
    for _ in 0..10 {
        let (caller, key) = holder.verify(&ports.ledger).await?;
        if project != *caller.scope.project() {
            return Err(uncovered(&EnrolmentRefusal::Project).into());
        }
        key.covers(&worker.pool, &worker.labels, &worker.models)
            .map_err(|refusal| uncovered(&refusal))?;
        let approved = Worker {
            status: WorkerStatus::Approved,
            enrolled_by: Some(key.enrolment_key_id),
            ..worker.clone()
        };
        let registration = Registration::ByKey(key);
        let stored = ports
            .ledger
            .register_worker(&caller.scope, &approved, registration, &caller.actor)
            .await;
        match stored {
            Ok(()) => return registered(201, &caller.scope, &approved, &secret),
            Err(Error::Contended) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended.into())
}

fn checked_worker(ports: &Ports, new: RegisterWorker, hash: SecretHash) -> Result<Worker, Problem> {
    if new.name.is_empty() || new.name.len() > limits::NAME_BYTES {
        return Err(Problem::invalid(
            "name",
            format!("a name has 1 to {} bytes", limits::NAME_BYTES),
        ));
    }
    if new.modes.is_empty() {
        return Err(Problem::invalid(
            "modes",
            "name at least one of `bare`, `sandboxed`, `identity` and `full`",
        ));
    }
    checked_concurrency("max_concurrent", new.max_concurrent)?;
    let now = ports.ledger.now();
    Ok(Worker {
        worker_id: WorkerId::new(ports.ledger.ids(), now),
        name: new.name.into(),
        pool: new.pool,
        status: WorkerStatus::Pending,
        labels: checked_labels(new.labels)?,
        models: checked_models("models", new.models)?,
        modes: new.modes.into_iter().collect(),
        sandboxes: Sandboxes::default(),
        max_concurrent: new.max_concurrent,
        hash: Some(hash),
        enrolled_by: None,
        registered_at: now,
        draining_since: None,
    })
}

fn uncovered(refusal: &EnrolmentRefusal) -> Problem {
    Problem::new(Code::EnrolmentRefused, refusal.to_string())
}

fn registered(status: u16, scope: &ProjectScope, worker: &Worker, secret: &[u8; 32]) -> Answered {
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

pub(super) async fn list(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let scope = &caller.scope;
    let fetch = async |after: Option<&str>, limit| {
        let Page { items, more_after } = ports.ledger.workers(scope, after, limit).await?;
        let known = stream::iter(items)
            .map(|worker| known(&ports.ledger, scope, worker))
            .buffered(AT_ONCE);
        let items: Vec<WorkerDetail> = known.try_collect().await?;
        Ok(Page { items, more_after })
    };
    let project = scope.project().as_str();
    pages::answer(request, project, "workers", fetch, |known| known.worker).await
}

pub(super) async fn show(ports: &Ports, caller: ProjectCaller, id: WorkerId) -> Answered {
    let worker = worker(&ports.ledger, &caller.scope, id).await?;
    Answer::json(200, &known(&ports.ledger, &caller.scope, worker).await?)
}

/// A worker with its last heartbeat and the steps that it holds.
async fn known(
    ledger: &Ledger,
    scope: &ProjectScope,
    worker: Worker,
) -> Result<WorkerDetail, Error> {
    let (seen, leases) = try_join(
        ledger.heartbeat_of(scope, worker.worker_id),
        ledger.leases_of(scope, worker.worker_id),
    )
    .await?;
    let (at, version) = seen.map(|seen| (seen.at, seen.version)).unzip();
    let steps: Vec<HeldStep> = leases
        .into_iter()
        .map(|lease| HeldStep {
            run_id: lease.run_id,
            step_id: lease.step_id,
            fence: lease.fence,
        })
        .collect();
    let worker = WorkerSummary {
        registered: views::worker(worker),
        last_seen_at: at,
        version: version.flatten(),
        held: u32::try_from(steps.len()).unwrap_or(u32::MAX),
    };
    Ok(WorkerDetail { worker, steps })
}

pub(super) async fn approve(ports: &Ports, caller: ProjectCaller, id: WorkerId) -> Answered {
    ports.ledger.open_project(&caller.scope).await?;
    decide(ports, caller, id, Verdict::Approve).await
}

pub(super) async fn reject(ports: &Ports, caller: ProjectCaller, id: WorkerId) -> Answered {
    decide(ports, caller, id, Verdict::Deny).await
}

/// Decides on a worker's approval without a review token and without a reason. Nothing of the
/// request changes while it waits, so whoever names the worker has seen what it is.
async fn decide(ports: &Ports, caller: ProjectCaller, id: WorkerId, verdict: Verdict) -> Answered {
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let status = worker(ledger, scope, id).await?.status;
    if status != WorkerStatus::Pending {
        return Err(Error::WrongState(status.name()).into());
    }
    let decision = Decision {
        verdict,
        by: caller.actor,
        login: caller.login,
        reason: (verdict == Verdict::Deny).then(|| "rejected".into()),
        at: ledger.now(),
    };
    let approval = ApprovalId::Worker { worker_id: id };
    match ledger.decide(scope, &approval, decision, true).await {
        // Somebody else was faster.
        Err(Error::Undecided(Undecided::Over { state, .. })) => {
            return Err(Error::WrongState(state.name()).into());
        }
        other => other?,
    };
    Answer::json(200, &views::worker(worker(ledger, scope, id).await?))
}

async fn worker(ledger: &Ledger, scope: &ProjectScope, id: WorkerId) -> Result<Worker, Error> {
    let worker = ledger.worker(scope.project(), id).await?;
    worker.ok_or(Error::NotFound)
}

/// Begins to give a worker no new steps.
pub(super) async fn drain(ports: &Ports, caller: ProjectCaller, id: WorkerId) -> Answered {
    let worker = ports
        .ledger
        .drain_worker(&caller.scope, id, true, &caller.actor)
        .await?;
    Answer::json(200, &views::worker(worker))
}

/// Lets a draining worker take steps again.
pub(super) async fn resume(ports: &Ports, caller: ProjectCaller, id: WorkerId) -> Answered {
    let worker = ports
        .ledger
        .drain_worker(&caller.scope, id, false, &caller.actor)
        .await?;
    Answer::json(200, &views::worker(worker))
}

pub(super) async fn revoke(ports: &Ports, caller: ProjectCaller, id: WorkerId) -> Answered {
    let (ledger, scope, actor) = (&ports.ledger, &caller.scope, &caller.actor);
    if worker(ledger, scope, id).await?.hash.is_none() {
        let detail = "no process has this worker's credential: it stands for a pool whose sandboxes the control plane launches. Drain it (`sealfleet worker drain`), and it launches no more";
        return Err(Problem::new(Code::Conflict, detail).into());
    }
    let revoked = ledger.revoke_worker(scope, id, actor).await;
    let worker = match revoked {
        Ok(worker) => worker,
        // Repeated after a lost answer: go on with the steps that it may still hold.
        Err(Error::WrongState("revoked")) => worker(ledger, scope, id).await?,
        Err(error) => return Err(error.into()),
    };
    requeue(ports, scope, id, actor).await?;
    Answer::json(200, &views::worker(worker))
}

/// Puts the steps that a revoked worker held back in their queues. `sweep` finds what is missed
/// here when the lease expires.
async fn requeue(
    ports: &Ports,
    scope: &ProjectScope,
    worker_id: WorkerId,
    actor: &str,
) -> Result<(), Error> {
    let ledger = &ports.ledger;
    for lease in ledger.leases_of(scope, worker_id).await? {
        let reason = RequeueReason::WorkerRevoked;
        let lost = ledger
            .transition(scope, lease.run_id, actor, |run, now| {
                run.lose(&lease.step_id, lease.fence, reason, ports.pace, now)
            })
            .await;
        match lost {
            Ok(done) => {
                let ready = &done.change.ready;
                effects::tell(ports.queues.as_ref(), scope, lease.run_id, ready).await;
            }
            // It has ended by itself meanwhile.
            Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
