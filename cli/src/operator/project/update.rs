//! Changing a project's pools, and going back to what they were.

use std::collections::BTreeMap;

use clap::Args;
use sealfleet_client::types::{
    CreatePool, FargatePoolView, FargateSpec, PoolView, ProjectView, UpdateProject,
};
use sealfleet_client::{AuditQuery, Client};
use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::PoolSettings;
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{Line, PoolName, ProjectId};

use super::{PullPool, text};
use crate::operator::connection::Connection;
use crate::operator::failure::Failure;
use crate::operator::input::{pair, unique};
use crate::operator::output::{Table, answer, list, or_dash};
use crate::operator::trail;

type Pools = BTreeMap<PoolName, CreatePool>;

#[derive(Args)]
pub struct Update {
    /// Id of the project
    project: ProjectId,
    /// Pool to add for the customer's own workers, whose queue is deployed already; may be repeated
    #[arg(long = "pull-pool", value_name = "POOL[=BACKEND]")]
    pull_pools: Vec<PullPool>,
    #[command(flatten)]
    tasks: Tasks,
    /// Give the pools the content that they had in this version (`project show --versions`)
    #[arg(
        long,
        value_name = "VERSION",
        conflicts_with_all = ["pull_pools", "fargate_pool", "image", "cpu", "memory_mib", "max_concurrent", "labels", "models"]
    )]
    to_version: Option<u32>,
}

/// What changes in one Fargate pool. The rest stays.
#[derive(Args)]
struct Tasks {
    /// Fargate pool to change or to add; needed unless the project has exactly one
    #[arg(long, value_name = "POOL")]
    fargate_pool: Option<PoolName>,
    /// Sandbox image of the Fargate pool, by digest: `REPOSITORY@sha256:…`
    #[arg(long)]
    image: Option<String>,
    /// CPU units of each task
    #[arg(long)]
    cpu: Option<u32>,
    /// Memory of each task, in MiB
    #[arg(long)]
    memory_mib: Option<u32>,
    /// Most tasks that run at once
    #[arg(long)]
    max_concurrent: Option<u32>,
    /// Label of the pool's tasks, as KEY=VALUE, in the place of all that it has; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Model that the pool's tasks can reach, in the place of all that it has; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<Line>,
}

pub(super) async fn run(update: Update, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let view = client.get_project(&update.project).await?;
    let mut pools = content(&view);
    if let Some(version) = update.to_version {
        pools = former(&client, &view, version).await?;
    }
    for PullPool { pool, backend } in update.pull_pools {
        let unchanged = CreatePool::Pull { backend: None };
        let pull = pools.entry(pool).or_insert(unchanged);
        if let (CreatePool::Pull { backend: now }, Some(backend)) = (pull, backend) {
            *now = PullPool::chosen(backend);
        }
    }
    update.tasks.change(&mut pools)?;
    let request = UpdateProject { pools };
    let view = client
        .update_project(&update.project, &request, view.version)
        .await?;
    answer(connection.output, &view, || text(&view))
}

/// Shows the versions, oldest first.
pub(super) async fn versions(project: &ProjectId, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let view = client.get_project(project).await?;
    let versions = known(&client, &view).await?;
    let rows: Vec<_> = versions.iter().collect();
    list(connection.output, &rows, || {
        let mut table = Table::new(["VERSION", "POOL", "KIND", "CPU", "MIB", "AT ONCE", "IMAGE"]);
        for (version, pools) in &versions {
            for (name, pool) in pools {
                table.row([
                    version.to_string(),
                    name.to_string(),
                    pool.kind.clone(),
                    or_dash(pool.cpu),
                    or_dash(pool.memory_mib),
                    or_dash(pool.max_concurrent),
                    or_dash(pool.image.as_ref()),
                ]);
            }
        }
        table
    })
}

/// The pools of each version that the operators' trail still tells of.
async fn known(
    client: &Client,
    view: &ProjectView,
) -> Result<BTreeMap<u32, BTreeMap<PoolName, PoolSettings>>, Failure> {
    let query = AuditQuery {
        types: vec!["project.updated".to_owned()],
        project: Some(OPERATOR_SCOPE.to_owned()),
        from: Some(view.created_at),
        ..AuditQuery::default()
    };
    let entries = trail::all(client, &query).await?;
    let mut versions = BTreeMap::new();
    for event in entries.into_iter().flat_map(|entry| entry.events) {
        if let Event::ProjectUpdated {
            project,
            version,
            pools,
            replaced,
        } = event
            && project == view.project
        {
            versions.insert(version.saturating_sub(1), replaced);
            versions.insert(version, pools);
        }
    }
    Ok(versions)
}

async fn former(client: &Client, view: &ProjectView, version: u32) -> Result<Pools, Failure> {
    let pools = known(client, view).await?.remove(&version);
    let pools = pools.ok_or_else(|| {
        Failure::Usage(format!(
            "the trail tells nothing of version {version}; see `project show {} --versions`",
            view.project
        ))
    })?;
    let pool = |pool: PoolSettings| match pool.image {
        None => CreatePool::Pull {
            backend: pool.backend,
        },
        Some(image) => CreatePool::Fargate(FargateSpec {
            image,
            cpu: pool.cpu.unwrap_or_default(),
            memory_mib: pool.memory_mib.unwrap_or_default(),
            max_concurrent: pool.max_concurrent.unwrap_or_default(),
            labels: pool
                .labels
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            models: pool
                .models
                .iter()
                .map(|model| Line::escaped(model))
                .collect(),
        }),
    };
    let mut former: Pools = pools
        .into_iter()
        .map(|(name, settings)| (name, pool(settings)))
        .collect();
    // A pool that was added since stays as it is: pools are never removed.
    for (name, now) in content(view) {
        former.entry(name).or_insert(now);
    }
    Ok(former)
}

/// The project's pools as a request to the API.
fn content(view: &ProjectView) -> Pools {
    let pool = |pool: &PoolView| match pool {
        PoolView::Pull { backend } => CreatePool::Pull {
            backend: backend.clone(),
        },
        PoolView::Fargate(FargatePoolView { spec, .. }) => CreatePool::Fargate(spec.clone()),
    };
    let pools = view.pools.iter();
    pools
        .map(|(name, view)| (name.clone(), pool(view)))
        .collect()
}

impl Tasks {
    fn change(self, pools: &mut Pools) -> Result<(), Failure> {
        let Self {
            fargate_pool,
            image,
            cpu,
            memory_mib,
            max_concurrent,
            labels,
            models,
        } = self;
        let hosted: Vec<&PoolName> = pools
            .iter()
            .filter(|(_, pool)| matches!(pool, CreatePool::Fargate(_)))
            .map(|(name, _)| name)
            .collect();
        let name = match (fargate_pool, hosted.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => (*only).clone(),
            (None, _) => {
                let asked = image.is_some() || cpu.is_some() || memory_mib.is_some();
                let more = max_concurrent.is_some() || !labels.is_empty() || !models.is_empty();
                if asked || more {
                    return Err(Failure::Usage(
                        "name the Fargate pool to change with --fargate-pool".to_owned(),
                    ));
                }
                return Ok(());
            }
        };
        let mut spec = match (pools.get(&name), &image) {
            (Some(CreatePool::Fargate(spec)), _) => spec.clone(),
            (None, Some(image)) => FargateSpec::of(image.clone()),
            (Some(CreatePool::Pull { .. }), _) => {
                return Err(Failure::Usage(format!(
                    "the pool `{name}` is for the customer's own workers; a pool keeps its kind"
                )));
            }
            (None, None) => {
                return Err(Failure::Usage(format!(
                    "the project has no pool `{name}`; give --image to add it"
                )));
            }
        };
        spec.image = image.unwrap_or(spec.image);
        spec.cpu = cpu.unwrap_or(spec.cpu);
        spec.memory_mib = memory_mib.unwrap_or(spec.memory_mib);
        spec.max_concurrent = max_concurrent.unwrap_or(spec.max_concurrent);
        if !labels.is_empty() {
            spec.labels = unique("label", labels)?;
        }
        if !models.is_empty() {
            spec.models = models;
        }
        pools.insert(name, CreatePool::Fargate(spec));
        Ok(())
    }
}
