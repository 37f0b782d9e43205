//! Projects and their pools.

use std::collections::BTreeMap;

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{CreatePool, CreateProject, FargateSpec, ProjectSummary, SetLimits};
use sealfleet_domain::capability::FARGATE;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::fleet::{HostedPool, Pool, Project, Worker, WorkerStatus};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{PoolName, ProjectScope, WorkerId, limits};

use super::Ports;
use crate::shared::auth::{InPath, OperatorCaller};
use crate::shared::fault::Answered;
use crate::shared::{pages, views};

pub(super) async fn create(ports: &Ports, caller: OperatorCaller, request: &Request) -> Answered {
    let new: CreateProject = request.json()?;
    if new.pools.is_empty() || new.pools.len() > limits::POOLS {
        let detail = format!("a project has 1 to {} pools", limits::POOLS);
        return Err(Problem::invalid("pools", detail).into());
    }
    let scope = ProjectScope::entered_by(&caller.operator, new.project.clone());
    let now = ports.ledger.now();
    let mut pools = BTreeMap::new();
    let mut workers = Vec::new();
    for (name, pool) in new.pools {
        let pool = match pool {
            CreatePool::Pull {} => Pool::Pull,
            CreatePool::Fargate(spec) => {
                check_fargate(&name, &spec)?;
                let worker_id = WorkerId::new(ports.ledger.ids(), now);
                workers.push(Worker {
                    worker_id,
                    name: format!("Fargate pool {name}"),
                    pool: name.clone(),
                    status: WorkerStatus::Approved,
                    labels: Labels::checked(spec.labels).map_err(|error| {
                        Problem::invalid(format!("pools.{name}.labels"), error.to_string())
                    })?,
                    models: super::workers::checked_models(
                        &format!("pools.{name}.models"),
                        spec.models,
                    )?,
                    modes: FARGATE.modes.to_vec(),
                    max_concurrent: spec.max_concurrent,
                    hash: None,
                    enrolled_by: None,
                    registered_at: now,
                });
                Pool::Hosted(HostedPool {
                    host: FARGATE.kind.to_owned(),
                    worker_id,
                    image: spec.image,
                    cpu: spec.cpu,
                    memory_mib: spec.memory_mib,
                })
            }
        };
        pools.insert(name, pool);
    }
    let project = Project {
        project: new.project,
        pools,
        cascade: Bindings::default(),
        created_at: now,
    };
    ports
        .ledger
        .create_project(&scope, &project, &workers, &caller.actor)
        .await?;
    let limits = views::limits(None, ports.door.default_limits());
    Answer::json(201, &views::project(project, &workers, limits)?)
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

pub(super) async fn show(ports: &Ports, InPath(caller): InPath) -> Answered {
    let scope = &caller.scope;
    let project = ports.ledger.project(scope).await?;
    let limits = ports.ledger.limits(scope).await?;
    let mut workers = Vec::new();
    for pool in project.pools.values() {
        if let Pool::Hosted(HostedPool { worker_id, .. }) = pool {
            workers.extend(ports.ledger.worker(scope.project(), *worker_id).await?);
        }
    }
    let limits = views::limits(limits, ports.door.default_limits());
    Answer::json(200, &views::project(project, &workers, limits)?)
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
