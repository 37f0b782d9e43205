//! Projects and their pools.

pub(super) mod delete;
pub(super) mod deploy;
mod update;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use sealfleet_client::types::{
    CreatePool, CreateProject, EgressCeiling, FargatePoolView, FargateSpec, LimitsView, PoolView,
    ProjectView,
};
use sealfleet_domain::egress::{self, Policy, Rule, Rules};
use sealfleet_domain::rate::Limits;
use sealfleet_domain::{Line, PoolName, ProjectId};

use super::connection::Connection;
use super::failure::Failure;
use super::input::{pair, unique};
use super::listing::Listing;
use super::output::{Table, answer, joined, lines, moment, or_dash, page, pairs};

#[derive(Subcommand)]
pub enum Command {
    /// Onboard a project: deploy its queues, roles and log group with your own AWS credentials,
    /// then register it
    Deploy(Box<deploy::Deploy>),
    /// Register a project whose queues and roles are deployed already (infra/sam/project.yaml)
    Create {
        /// Id of the project
        project: ProjectId,
        /// Pool for the customer's own workers; may be repeated
        #[arg(long = "pull-pool", value_name = "POOL[=BACKEND]")]
        pull_pools: Vec<PullPool>,
        #[command(flatten)]
        fargate: Fargate,
    },
    /// List projects; for operators
    List(Listing),
    /// Show one project
    Show {
        /// Id of the project
        project: ProjectId,
        /// Show the versions that its pools have had instead, from the operators' trail
        #[arg(long)]
        versions: bool,
    },
    /// Change a project's pools; steps that start from now on get the change; only operators can do
    /// it
    Update(Box<update::Update>),
    /// Delete a project whose runs have ended; only operators can do it
    ///
    /// Closes it first: it takes no runs, tokens and keys any more. A minute later, and when its
    /// runs have ended, its tokens, enrolment keys and workers are revoked and it is gone. Its
    /// trail and its archive stay, and nobody gets its name again. Its stack and its secrets are
    /// yours to delete.
    Delete(delete::Delete),
    /// Show or set what a project's steps may reach at most, whatever its profiles allow; only
    /// operators can set it; it holds for steps that start from now on
    EgressCeiling {
        /// Id of the project
        project: ProjectId,
        /// Host that its steps may reach, `HOST[:PORT]`; may be repeated
        #[arg(long = "allow", value_name = "HOST[:PORT]", value_parser = rule)]
        allow: Vec<Rule>,
        /// Let its steps reach nothing
        #[arg(long, conflicts_with_all = ["allow", "open", "unset"])]
        none: bool,
        /// Let its profiles open everything
        #[arg(long, conflicts_with_all = ["allow", "unset"])]
        open: bool,
        /// Let its profiles allow anything but `open`
        #[arg(long, conflicts_with = "allow")]
        unset: bool,
    },
    /// Show or set a project's request rate limit; only operators can set it
    Limits {
        /// Id of the project
        project: ProjectId,
        /// Requests allowed each second, sustained
        #[arg(long, requires = "burst")]
        requests_per_second: Option<u32>,
        /// Requests allowed at once
        #[arg(long, requires = "requests_per_second")]
        burst: Option<u32>,
        /// Restore the deployment's default
        #[arg(long, conflicts_with = "requests_per_second")]
        default: bool,
    },
}

/// A pool whose steps run on the customer's own workers, as `POOL` or `POOL=BACKEND`.
#[derive(Clone)]
pub struct PullPool {
    pool: PoolName,
    /// The sandbox backend of its steps, or [`ANY`].
    backend: Option<String>,
}

/// In the place of a sandbox backend: what each worker has.
const ANY: &str = "any";

impl PullPool {
    fn chosen(backend: String) -> Option<String> {
        (backend != ANY).then_some(backend)
    }
}

impl From<PoolName> for PullPool {
    fn from(pool: PoolName) -> Self {
        Self {
            pool,
            backend: None,
        }
    }
}

impl std::str::FromStr for PullPool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pool, backend) = match text.split_once('=') {
            Some((pool, backend)) => (pool, Some(backend.to_owned())),
            None => (text, None),
        };
        if backend.as_deref() == Some("") {
            return Err(format!(
                "write it as `POOL` or `POOL=BACKEND`, where the backend is `{ANY}` for what each worker has"
            ));
        }
        let pool = pool
            .parse::<PoolName>()
            .map_err(|error| error.to_string())?;
        Ok(Self { pool, backend })
    }
}

/// Options of the project's Fargate pool.
#[derive(Args)]
pub struct Fargate {
    /// Pool whose steps run as Fargate tasks
    #[arg(long, value_name = "POOL", requires = "image")]
    fargate_pool: Option<PoolName>,
    /// Sandbox image of the Fargate pool, by digest: `REPOSITORY@sha256:…`
    #[arg(long, requires = "fargate_pool")]
    image: Option<String>,
    /// CPU units of each task
    #[arg(long, default_value_t = 256)]
    cpu: u32,
    /// Memory of each task, in MiB
    #[arg(long, default_value_t = 512)]
    memory_mib: u32,
    /// Most tasks that run at once
    #[arg(long, default_value_t = 100)]
    max_concurrent: u32,
    /// Label of the Fargate pool's tasks, as KEY=VALUE; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Model that the Fargate pool's tasks can reach; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<Line>,
}

impl Fargate {
    /// The smallest tasks of this image, a few at once.
    const fn of(pool: PoolName, image: String) -> Self {
        Self {
            fargate_pool: Some(pool),
            image: Some(image),
            cpu: 256,
            memory_mib: 512,
            max_concurrent: 4,
            labels: Vec::new(),
            models: Vec::new(),
        }
    }

    /// These pools as a request to the API. Refuses a name given twice.
    fn pools(
        self,
        pull: impl IntoIterator<Item = PullPool>,
    ) -> Result<BTreeMap<PoolName, CreatePool>, Failure> {
        let Self {
            fargate_pool,
            image,
            cpu,
            memory_mib,
            max_concurrent,
            labels,
            models,
        } = self;
        let mut pools: BTreeMap<PoolName, CreatePool> = pull
            .into_iter()
            .map(|pull| {
                let backend = pull.backend.and_then(PullPool::chosen);
                (pull.pool, CreatePool::Pull { backend })
            })
            .collect();
        if let (Some(pool), Some(image)) = (fargate_pool, image) {
            let labels = unique("label", labels)?;
            let fargate = CreatePool::Fargate(FargateSpec {
                image,
                cpu,
                memory_mib,
                max_concurrent,
                labels,
                models,
            });
            if pools.insert(pool.clone(), fargate).is_some() {
                return Err(Failure::Usage(format!(
                    "the pool `{pool}` is named twice; give each pool its own name"
                )));
            }
        }
        Ok(pools)
    }
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::Deploy(deploy) => deploy::run(*deploy, connection).await,
        Command::Create {
            project,
            pull_pools,
            fargate,
        } => {
            let pools = fargate.pools(pull_pools)?;
            let view = connection
                .client()?
                .create_project(&CreateProject { project, pools })
                .await?;
            answer(connection.output, &view, || text(&view))
        }
        Command::List(listing) => {
            let client = connection.client()?;
            let projects = listing.read(async |page| client.list_projects(page).await);
            page(connection.output, &projects.await?, |projects| {
                let mut table = Table::new(["PROJECT"]);
                for listed in projects {
                    table.row([listed.project.to_string()]);
                }
                table
            })
        }
        Command::Delete(delete) => delete::run(delete, connection).await,
        Command::Update(update) => update::run(*update, connection).await,
        Command::Show {
            project,
            versions: true,
        } => update::versions(&project, connection).await,
        Command::Show { project, .. } => {
            let view = connection.client()?.get_project(&project).await?;
            answer(connection.output, &view, || text(&view))
        }
        Command::EgressCeiling {
            project,
            allow,
            none,
            open,
            unset,
        } => {
            let client = connection.client()?;
            let wanted = match (none, open, unset) {
                (true, ..) => Some(Some(Policy::None)),
                (_, true, _) => Some(Some(Policy::Open)),
                (.., true) => Some(None),
                _ if allow.is_empty() => None,
                _ => Some(Some(Policy::Allow(Rules::of(allow)))),
            };
            let ceiling = match wanted {
                None => {
                    let ceiling = client.get_project(&project).await?.egress_ceiling;
                    EgressCeiling { ceiling }
                }
                Some(wanted) => client.set_egress_ceiling(&project, wanted).await?,
            };
            answer(connection.output, &ceiling, || {
                lines([
                    ("project", project.to_string()),
                    ("egress ceiling", or_dash(ceiling.ceiling.as_ref())),
                ])
            })
        }
        Command::Limits {
            project,
            requests_per_second,
            burst,
            default,
        } => {
            let client = connection.client()?;
            let wanted = requests_per_second.zip(burst);
            let limits = match wanted.map(|(requests_per_second, burst)| Limits {
                requests_per_second,
                burst,
            }) {
                None if !default => client.get_project(&project).await?.limits,
                wanted => client.set_limits(&project, wanted).await?,
            };
            answer(connection.output, &limits, || {
                lines([
                    ("project", project.to_string()),
                    ("limits", in_words(limits)),
                ])
            })
        }
    }
}

/// Parses `HOST` or `HOST:PORT`, as policies print them.
fn rule(text: &str) -> Result<Rule, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            let port = port
                .parse()
                .map_err(|_| "a port is a number from 1 to 65535".to_owned())?;
            (host.trim_start_matches('[').trim_end_matches(']'), port)
        }
        _ => (text, egress::HTTPS),
    };
    let document = serde_json::json!({ "host": host, "port": port });
    serde_json::from_value(document).map_err(|error| error.to_string())
}

fn in_words(limits: LimitsView) -> String {
    let whose = if limits.own {
        "its own"
    } else {
        "the deployment's default"
    };
    format!(
        "{} requests a second, {} at once ({whose})",
        limits.requests_per_second, limits.burst
    )
}

fn text(view: &ProjectView) -> String {
    let pool = |(name, pool): (&PoolName, &PoolView)| match pool {
        PoolView::Pull { backend: None } => format!("{name} (pull)"),
        PoolView::Pull {
            backend: Some(backend),
        } => format!("{name} (pull, in {backend})"),
        PoolView::Fargate(FargatePoolView { worker_id, spec }) => format!(
            "{name} (fargate, {worker_id}, {} CPU units, {} MiB, {} at once, labels {}, models {}, {})",
            spec.cpu,
            spec.memory_mib,
            spec.max_concurrent,
            pairs(&spec.labels),
            joined(&spec.models),
            spec.image
        ),
    };
    let pools: Vec<String> = view.pools.iter().map(pool).collect();
    lines([
        ("project", view.project.to_string()),
        ("version", view.version.to_string()),
        ("pools", pools.join("\n                ")),
        ("limits", in_words(view.limits)),
        ("egress ceiling", or_dash(view.egress_ceiling.as_ref())),
        ("created", moment(view.created_at)),
    ])
}
