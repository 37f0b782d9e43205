//! Projects and their pools.

use std::collections::BTreeMap;

use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{CreatePool, CreateProject, ProjectSummary, SetLimits};
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::fleet::{FargatePool, Pool, Project, Worker, WorkerStatus};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::run::Mode;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{PoolName, ProjectScope, WorkerId, limits};

use super::Ports;
use crate::shared::auth::{InPath, OperatorCaller};
use crate::shared::fault::Answered;
use crate::shared::{pages, views};

/// CPU units and MiB that Fargate offers together (ECS Developer Guide, "Task CPU and memory").
const SIZES: [(u32, u32, u32); 5] = [
    (256, 512, 2048),
    (512, 1024, 4096),
    (1024, 2048, 8192),
    (2048, 4096, 16384),
    (4096, 8192, 30720),
];

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
            CreatePool::Fargate {
                image,
                cpu,
                memory_mib,
                max_concurrent,
                labels,
                models,
            } => {
                check_fargate(&name, &image, cpu, memory_mib, max_concurrent)?;
                let worker_id = WorkerId::new(ports.ledger.ids(), now);
                workers.push(Worker {
                    worker_id,
                    name: format!("Fargate pool {name}"),
                    pool: name.clone(),
                    status: WorkerStatus::Approved,
                    labels: Labels::checked(labels).map_err(|error| {
                        Problem::invalid(format!("pools.{name}.labels"), error.to_string())
                    })?,
                    models: super::workers::checked_models(
                        &format!("pools.{name}.models"),
                        models,
                    )?,
                    modes: vec![Mode::Sandboxed, Mode::Identity],
                    max_concurrent,
                    hash: None,
                    enrolled_by: None,
                    registered_at: now,
                });
                Pool::Fargate(FargatePool {
                    worker_id,
                    image,
                    cpu,
                    memory_mib,
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

fn check_fargate(
    pool: &PoolName,
    image: &str,
    cpu: u32,
    memory_mib: u32,
    at_once: u32,
) -> Result<(), Problem> {
    let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
    let pinned = digest.is_some_and(|digest| {
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    if !pinned || image.len() > limits::IMAGE_BYTES {
        return Err(Problem::invalid(
            format!("pools.{pool}.image"),
            "name the image by its digest, `REPOSITORY@sha256:DIGEST`: a tag could change while the \
             project runs",
        ));
    }
    if !SIZES
        .iter()
        .any(|(size, least, most)| *size == cpu && (*least..=*most).contains(&memory_mib))
    {
        return Err(Problem::invalid(
            format!("pools.{pool}.cpu"),
            "Fargate offers 256 CPU units with 512 to 2048 MiB, 512 with 1024 to 4096, 1024 with \
             2048 to 8192, 2048 with 4096 to 16384, 4096 with 8192 to 30720",
        ));
    }
    super::workers::checked_concurrency(&format!("pools.{pool}.max_concurrent"), at_once)
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
        if let Pool::Fargate(FargatePool { worker_id, .. }) = pool {
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
