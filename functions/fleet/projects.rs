//! Projects and their pools.

use std::collections::BTreeMap;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{
    ActivityView, CreatePool, CreateProject, EgressCeiling, FargateSpec, ProjectActivity,
    ProjectSummary, SetEgressCeiling, SetLimits, UpdateProject,
};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::capability::{Backend, FARGATE};
use sealfleet_domain::fleet::{HostedPool, Pool, Project, Sandboxes, Worker, WorkerStatus};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{PoolName, ProjectScope, WorkerId, limits};
use sealfleet_ledger::{Activity, Error, Looked};

use super::Ports;
use crate::shared::auth::{InPath, OperatorCaller};
use crate::shared::fault::{Answered, Fault};
use crate::shared::{pages, views};

pub(super) async fn create(ports: &Ports, caller: OperatorCaller, request: &Request) -> Answered {
    let new: CreateProject = request.json()?;
    let scope = ProjectScope::entered_by(&caller.operator, new.project.clone());
    let Made { pools, workers } = made(ports, new.pools, &BTreeMap::new(), &[])?;
    check_deployed(ports, &scope, &pools, &BTreeMap::new()).await?;
    let workers: Vec<Worker> = workers.into_iter().map(|(worker, _)| worker).collect();
    let project = Project::new(new.project, pools, ports.ledger.now());
    ports
        .ledger
        .create_project(&scope, &project, &workers, &caller.actor)
        .await?;
    let limits = views::limits(None, ports.door.default_limits());
    Answer::json(201, &views::project(project, &workers, limits)?)
}

pub(super) async fn update(ports: &Ports, InPath(caller): InPath, request: &Request) -> Answered {
    let UpdateProject { pools } = request.json()?;
    let replaces = request.if_match()?.ok_or_else(|| {
        Problem::new(
            Code::PreconditionRequired,
            "read the project and send its `ETag` back as `If-Match`, so that nobody's change is lost",
        )
    })?;
    let scope = &caller.scope;
    let before = ports.ledger.project(scope).await?;
    if before.version != replaces {
        return Err(Error::VersionConflict(before.version).into());
    }
    let stored = workers_of(ports, scope, &before).await?;
    let replaced = before.settings(&stored);
    let Made { pools, workers } = made(ports, pools, &before.pools, &stored)?;
    check_deployed(ports, scope, &pools, &before.pools).await?;
    let project = Project { pools, ..before };
    let updated = ports
        .ledger
        .update_project(scope, project, &workers, replaced, &caller.actor)
        .await?;
    let workers: Vec<Worker> = workers.into_iter().map(|(worker, _)| worker).collect();
    shown(ports, scope, updated, &workers).await
}

/// Pools, and the workers that represent those that are hosted.
struct Made {
    pools: BTreeMap<PoolName, Pool>,
    /// Each with the status of the one that is stored already, if it is.
    workers: Vec<(Worker, Option<WorkerStatus>)>,
}

/// The pools that were asked for, in the place of those `before`. A pool that exists stays what it
/// is, because its queue, its workers and waiting steps name it.
fn made(
    ports: &Ports,
    asked: BTreeMap<PoolName, CreatePool>,
    before: &BTreeMap<PoolName, Pool>,
    stored: &[Worker],
) -> Result<Made, Fault> {
    if asked.is_empty() || asked.len() > limits::POOLS {
        let detail = format!("a project has 1 to {} pools", limits::POOLS);
        return Err(Problem::invalid("pools", detail).into());
    }
    for (name, pool) in before {
        let same = matches!(
            (pool, asked.get(name)),
            (Pool::Pull { .. }, Some(CreatePool::Pull { .. }))
                | (Pool::Hosted(_), Some(CreatePool::Fargate(_)))
        );
        if !same {
            return Err(Problem::invalid(
                format!("pools.{name}"),
                "name this pool with the kind that it has: steps and workers may be in it",
            )
            .into());
        }
    }
    let now = ports.ledger.now();
    let mut made = Made {
        pools: BTreeMap::new(),
        workers: Vec::new(),
    };
    for (name, pool) in asked {
        let pool = match pool {
            CreatePool::Pull { backend } => {
                if let Some(backend) = &backend {
                    Backend::named(backend).map_err(|message| {
                        Problem::invalid(format!("pools.{name}.backend"), message)
                    })?;
                }
                Pool::Pull { backend }
            }
            CreatePool::Fargate(spec) => {
                check_fargate(&name, &spec)?;
                let known = stored.iter().find(|worker| match before.get(&name) {
                    Some(Pool::Hosted(pool)) => pool.worker_id == worker.worker_id,
                    _ => false,
                });
                let worker = known.cloned().unwrap_or_else(|| Worker {
                    worker_id: WorkerId::new(ports.ledger.ids(), now),
                    name: format!("Fargate pool {name}"),
                    pool: name.clone(),
                    status: WorkerStatus::Approved,
                    labels: Labels::default(),
                    models: Vec::new(),
                    modes: FARGATE.modes.to_vec(),
                    sandboxes: Sandboxes::default(),
                    max_concurrent: 0,
                    hash: None,
                    enrolled_by: None,
                    draining_since: None,
                    registered_at: now,
                });
                let worker_id = worker.worker_id;
                let worker = Worker {
                    labels: Labels::checked(spec.labels).map_err(|error| {
                        Problem::invalid(format!("pools.{name}.labels"), error.to_string())
                    })?,
                    models: super::workers::checked_models(
                        &format!("pools.{name}.models"),
                        spec.models,
                    )?,
                    max_concurrent: spec.max_concurrent,
                    ..worker
                };
                made.workers
                    .push((worker, known.map(|worker| worker.status)));
                Pool::Hosted(HostedPool {
                    host: FARGATE.kind.to_owned(),
                    worker_id,
                    image: spec.image,
                    cpu: spec.cpu,
                    memory_mib: spec.memory_mib,
                })
            }
        };
        made.pools.insert(name, pool);
    }
    Ok(made)
}

/// Refuses a new hosted pool whose queue is not there: nobody would ever hear of its steps. A pull
/// pool may come before its queue; its workers say so.
async fn check_deployed(
    ports: &Ports,
    scope: &ProjectScope,
    pools: &BTreeMap<PoolName, Pool>,
    before: &BTreeMap<PoolName, Pool>,
) -> Result<(), Fault> {
    let hosted = pools
        .iter()
        .filter(|(_, pool)| matches!(pool, Pool::Hosted(_)));
    for (name, _) in hosted.filter(|(name, _)| !before.contains_key(*name)) {
        let deployed = ports.queues.is_deployed(scope, name).await;
        if !deployed.map_err(|error| Fault::unavailable(&error, "Amazon SQS"))? {
            return Err(Problem::invalid(
                format!("pools.{name}"),
                "the project's stack has no such pool, and its steps would wait for ever: deploy it first, as \
                 `FargatePool` of infra/sam/project.yaml or by `sealfleet project deploy`",
            )
            .into());
        }
    }
    Ok(())
}

fn check_fargate(pool: &PoolName, spec: &FargateSpec) -> Result<(), Problem> {
    let digest = spec.image.split_once("@sha256:").map(|(_, digest)| digest);
    let pinned = digest.is_some_and(|digest| {
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    let printable = spec.image.bytes().all(|byte| byte.is_ascii_graphic());
    if !pinned || !printable || spec.image.len() > limits::IMAGE_BYTES {
        return Err(Problem::invalid(
            format!("pools.{pool}.image"),
            "name the image by its digest, `REPOSITORY@sha256:DIGEST`: a tag could change while the \
             project runs",
        ));
    }
    FARGATE
        .check_size(spec.cpu, spec.memory_mib)
        .map_err(|message| Problem::invalid(format!("pools.{pool}.cpu"), message))?;
    super::workers::checked_concurrency(
        &format!("pools.{pool}.max_concurrent"),
        spec.max_concurrent,
    )
}

pub(super) async fn list(ports: &Ports, _: OperatorCaller, request: &Request) -> Answered {
    let fetch = async |after: Option<&str>, limit| ports.ledger.projects(after, limit).await;
    let view = |project| ProjectSummary { project };
    pages::answer(request, OPERATOR_SCOPE, "projects", fetch, view).await
}

/// What one request looks at, so that it ends within seconds beside 100,000 runs.
const LOOKED: Looked = Looked {
    rows: 10_000,
    each: 20,
    all: 200,
};

pub(super) async fn activity(ports: &Ports, _: OperatorCaller) -> Answered {
    let (projects, complete) = ports.ledger.activity(LOOKED).await?;
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let view = |found: Activity| ProjectActivity {
        project: found.project,
        unfinished: count(found.unfinished),
        oldest_created_at: found.oldest,
        waiting: count(found.waiting),
        overdue: count(found.overdue),
    };
    Answer::json(
        200,
        &ActivityView {
            projects: projects.into_iter().map(view).collect(),
            complete,
        },
    )
}

pub(super) async fn show(ports: &Ports, InPath(caller): InPath) -> Answered {
    let scope = &caller.scope;
    let project = ports.ledger.project(scope).await?;
    let workers = workers_of(ports, scope, &project).await?;
    shown(ports, scope, project, &workers).await
}

async fn workers_of(
    ports: &Ports,
    scope: &ProjectScope,
    project: &Project,
) -> Result<Vec<Worker>, Fault> {
    let mut workers = Vec::new();
    for pool in project.pools.values() {
        if let Pool::Hosted(HostedPool { worker_id, .. }) = pool {
            workers.extend(ports.ledger.worker(scope.project(), *worker_id).await?);
        }
    }
    Ok(workers)
}

async fn shown(
    ports: &Ports,
    scope: &ProjectScope,
    project: Project,
    workers: &[Worker],
) -> Answered {
    let limits = ports.ledger.limits(scope).await?;
    let limits = views::limits(limits, ports.door.default_limits());
    let version = project.version;
    Answer::json(200, &views::project(project, workers, limits)?)
        .map(|answer| answer.with_version(version))
}

pub(super) async fn set_egress_ceiling(
    ports: &Ports,
    InPath(caller): InPath,
    request: &Request,
) -> Answered {
    let SetEgressCeiling { ceiling } = request.json()?;
    if let Some(ceiling) = &ceiling {
        ceiling
            .check()
            .map_err(|detail| Problem::invalid("ceiling", detail))?;
    }
    let project = ports
        .ledger
        .set_egress_ceiling(&caller.scope, ceiling, &caller.actor)
        .await?;
    let ceiling = project.egress_ceiling;
    Answer::json(200, &EgressCeiling { ceiling })
}

pub(super) async fn set_limits(
    ports: &Ports,
    InPath(caller): InPath,
    request: &Request,
) -> Answered {
    let SetLimits { limits } = request.json()?;
    if let Some(limits) = limits {
        let within = |field: &'static str| {
            Problem::invalid(
                format!("limits.{field}"),
                format!("use a number from 1 to {}", Limits::MOST),
            )
        };
        limits.check().map_err(within)?;
    }
    ports
        .ledger
        .set_limits(&caller.scope, limits, &caller.actor)
        .await?;
    Answer::json(200, &views::limits(limits, ports.door.default_limits()))
}
