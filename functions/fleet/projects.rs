//! Projects and their pools.

use std::collections::BTreeMap;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{CreatePool, CreateProject, FargateSpec, ProjectSummary, SetLimits};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::access::{Action, Principal, Resource};
use sealfleet_domain::capability::FARGATE;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::fleet::{HostedPool, Pool, Project, Worker, WorkerStatus};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{PoolName, ProjectScope, WorkerId, limits};

use super::Ports;
use crate::shared::auth::{authorise, path_id, token_principal};
use crate::shared::{pages, problems, views};

pub(super) async fn create(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let principal = token_principal(&ports.door, request, Action::CreateProject).await?;
    authorise(&principal, Action::CreateProject, Resource::Platform)?;
    let Principal::Operator(operator) = &principal else {
        return Err(Problem::not_found());
    };
    let wanted: CreateProject = request.json()?;
    if wanted.pools.is_empty() || wanted.pools.len() > limits::POOLS {
        return Err(Problem::invalid(
            "pools",
            format!("a project has 1 to {} pools", limits::POOLS),
        ));
    }
    let scope = ProjectScope::entered_by(operator, wanted.project.clone());
    let now = ports.ledger.now();
    let mut pools = BTreeMap::new();
    let mut workers = Vec::new();
    for (name, pool) in wanted.pools {
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
        project: wanted.project,
        pools,
        cascade: Bindings::default(),
        created_at: now,
    };
    ports
        .ledger
        .create_project(&scope, &project, &workers, &principal.actor())
        .await
        .map_err(problems::of_ledger)?;
    let limits = views::limits(None, ports.door.default_limits());
    Answer::json(
        201,
        &views::project(project, &workers, limits).map_err(problems::of_ledger)?,
    )
}

fn check_fargate(pool: &PoolName, spec: &FargateSpec) -> Result<(), Problem> {
    let digest = spec.image.split_once("@sha256:").map(|(_, digest)| digest);
    let pinned = digest.is_some_and(|digest| {
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    if !pinned || spec.image.len() > limits::IMAGE_BYTES {
        return Err(Problem::invalid(
            format!("pools.{pool}.image"),
            "name the image by its digest, `REPOSITORY@sha256:DIGEST`: a tag could change under a running project",
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

pub(super) async fn list(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    let principal = token_principal(&ports.door, request, Action::ListProjects).await?;
    authorise(&principal, Action::ListProjects, Resource::Platform)?;
    let fetch = async |after: Option<&str>, limit| ports.ledger.projects(after, limit).await;
    pages::answer(request, OPERATOR_SCOPE, "projects", fetch, |project| {
        ProjectSummary { project }
    })
    .await
}

pub(super) async fn show(
    ports: &Ports,
    request: &Request,
    project: &str,
) -> Result<Answer, Problem> {
    let principal = token_principal(&ports.door, request, Action::ReadProject).await?;
    let project = path_id(project)?;
    authorise(&principal, Action::ReadProject, Resource::Project(&project))?;
    let scope = match &principal {
        Principal::Operator(operator) => ProjectScope::entered_by(operator, project),
        other => other
            .scope()
            .cloned()
            .ok_or_else(|| Problem::new(Code::Forbidden, "no project"))?,
    };
    let project = ports
        .ledger
        .project(&scope)
        .await
        .map_err(problems::of_ledger)?;
    let limits = ports
        .ledger
        .limits(&scope)
        .await
        .map_err(problems::of_ledger)?;
    let mut workers = Vec::new();
    for pool in project.pools.values() {
        if let Pool::Hosted(HostedPool { worker_id, .. }) = pool {
            workers.extend(
                ports
                    .ledger
                    .worker(scope.project(), *worker_id)
                    .await
                    .map_err(problems::of_ledger)?,
            );
        }
    }
    let limits = views::limits(limits, ports.door.default_limits());
    Answer::json(
        200,
        &views::project(project, &workers, limits).map_err(problems::of_ledger)?,
    )
}

pub(super) async fn set_limits(
    ports: &Ports,
    request: &Request,
    project: &str,
) -> Result<Answer, Problem> {
    let principal = token_principal(&ports.door, request, Action::SetLimits).await?;
    let project = path_id(project)?;
    authorise(&principal, Action::SetLimits, Resource::Project(&project))?;
    let Principal::Operator(operator) = &principal else {
        return Err(Problem::not_found());
    };
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
    let scope = ProjectScope::entered_by(operator, project);
    ports
        .ledger
        .set_limits(&scope, limits, &principal.actor())
        .await
        .map_err(problems::of_ledger)?;
    Answer::json(200, &views::limits(limits, ports.door.default_limits()))
}
