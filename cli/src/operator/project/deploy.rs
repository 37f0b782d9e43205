//! `sealfleet project deploy`: deploys a project's queues, roles and log group by CloudFormation
//! with the operator's own AWS credentials, then registers the project through the API. The control
//! plane cannot do this, because it has no permission to create roles.
//!
//! Both halves are repeatable: the command updates an existing stack, and compares an existing
//! registration with the options. So it can be run again after any failure.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use sealfleet_client::types::{CreatePool, CreateProject, FargateSpec, PoolView, ProjectView};
use sealfleet_client::{Client, Code};
use sealfleet_domain::{NamePrefix, PoolName, ProjectId};
use serde_json::json;

use super::{Fargate, PullPool, text};
use crate::cloudformation::{Change, Deployment, Outputs, PROJECT, Stacks, Template};
use crate::operator::aws;
use crate::operator::connection::Connection;
use crate::operator::failure::Failure;
use crate::operator::input::pair;
use crate::operator::output::{answer, lines, note};

/// How often to ask CloudFormation for the stack's status.
const POLL: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct Deploy {
    /// Id of the project
    project: ProjectId,
    /// Pool for the customer's own workers
    #[arg(long, value_name = "POOL", required_unless_present = "fargate_pool")]
    pull_pool: Option<PoolName>,
    #[command(flatten)]
    fargate: Fargate,
    /// CloudFormation stack of the project [default: PREFIX-project-PROJECT, with the control
    /// plane's NamePrefix]
    #[arg(long, value_name = "NAME")]
    stack_name: Option<String>,
    /// CloudFormation stack of the control plane, whose outputs are read
    #[arg(long, value_name = "NAME", default_value = "sealfleet")]
    control_stack: String,
    /// Days to keep the output of the project's sandboxes [default: unchanged; 90 at first]
    #[arg(long, value_name = "DAYS")]
    log_retention_days: Option<u32>,
    /// Age of a waiting message, in seconds, that raises an alarm of the project's own; 0 for no
    /// alarms of its own [default: unchanged; 0 at first]
    #[arg(long, value_name = "SECONDS")]
    queue_age_seconds: Option<u32>,
    /// Make the role by which the project's own workers read its secrets in AWS Secrets Manager,
    /// with tokens of their steps [default: unchanged; no role at first]
    #[arg(long, requires = "pull_pool")]
    secret_reader: bool,
    /// KMS key of the project's secrets, which its execution role may then use through Secrets
    /// Manager [default: unchanged; at first the account's key for Secrets Manager]
    #[arg(long, value_name = "ARN")]
    secrets_kms_key_arn: Option<String>,
    /// Tag of every resource of the project that can have tags, beside `sealfleet:project`; may be
    /// repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// SNS topic for the project's own alarms [default: the control plane's]
    #[arg(long, value_name = "ARN")]
    alarm_topic_arn: Option<String>,
}

/// A project that is deployed and registered.
pub(in crate::operator) struct Deployed {
    pub stack: String,
    change: Change,
    pub outputs: Outputs,
    registration: Change,
    view: ProjectView,
}

pub(super) async fn run(deploy: Deploy, connection: &Connection) -> Result<(), Failure> {
    let config = aws::config().await?;
    let stacks = stacks(&config);
    let control = control(&stacks, &deploy.control_stack).await?;
    let client = connection.client_at(control.find("ApiUrl"))?;
    let Deployed {
        stack,
        change,
        outputs,
        registration,
        view,
    } = deploy.deployed(&stacks, &control, &client).await?;
    let told = json!({
        "project": view,
        "registration": registration,
        "stack": { "name": stack, "change": change, "outputs": outputs },
    });
    answer(connection.output, &told, || {
        text(&view)
            + &lines([
                ("stack", format!("{stack} ({})", word(change))),
                ("registration", word(registration)),
            ])
    })
}

/// CloudFormation, with the operator's own AWS credentials.
pub(in crate::operator) fn stacks(config: &aws_config::SdkConfig) -> Stacks {
    Stacks::new(aws_sdk_cloudformation::Client::new(config), POLL)
}

/// The outputs of the control plane's stack.
pub(in crate::operator) async fn control(stacks: &Stacks, name: &str) -> Result<Outputs, Failure> {
    let control = stacks.outputs(name).await;
    control.map_err(|error| Failure::other(error).about("the control plane"))
}

/// How the control plane's names begin.
pub(in crate::operator) fn prefix(control: &Outputs) -> String {
    let prefix = control.find("NamePrefix").map(str::to_owned);
    prefix.unwrap_or_else(|| NamePrefix::default().to_string())
}

/// The stack of a project, unless it is named otherwise.
pub(in crate::operator) fn stack_of(project: &ProjectId, control: &Outputs) -> String {
    format!("{}-project-{project}", prefix(control))
}

impl Deploy {
    /// A project that is soon removed again: one pull pool and one Fargate pool.
    pub(in crate::operator) fn throwaway(
        project: ProjectId,
        pull_pool: PoolName,
        fargate_pool: PoolName,
        image: String,
    ) -> Self {
        Self {
            project,
            pull_pool: Some(pull_pool),
            fargate: Fargate::of(fargate_pool, image),
            stack_name: None,
            // `deployed` is given its outputs.
            control_stack: String::new(),
            log_retention_days: Some(1),
            queue_age_seconds: None,
            secret_reader: false,
            secrets_kms_key_arn: None,
            tags: Vec::new(),
            alarm_topic_arn: None,
        }
    }

    /// Deploys the stack and registers the project, both if they differ from what is asked for.
    pub(in crate::operator) async fn deployed(
        self,
        stacks: &Stacks,
        control: &Outputs,
        client: &Client,
    ) -> Result<Deployed, Failure> {
        let named = self.stack_name.clone();
        let stack = named.unwrap_or_else(|| stack_of(&self.project, control));
        let parameters = self.parameters(control)?;
        let tags = self.tags();
        let wanted = self.request()?;

        // Check everything that can be refused before deploying anything.
        let registered = find(client, &wanted).await?;
        note(&format!("deploying stack `{stack}`\n"));
        let deployment = Deployment {
            stack: &stack,
            template: Template::Body(PROJECT),
            parameters,
            tags,
        };
        let (change, outputs) = stacks
            .deploy(deployment, |line| note(&format!("{line}\n")))
            .await
            .map_err(Failure::other)?;
        let (registration, view) = match registered {
            Some(view) => (Change::Unchanged, view),
            None => (Change::Created, register(client, &wanted).await?),
        };
        Ok(Deployed {
            stack,
            change,
            outputs,
            registration,
            view,
        })
    }

    /// Parameters of infra/sam/project.yaml. Omitted parameters keep their value in the stack.
    fn parameters(&self, control: &Outputs) -> Result<Vec<(String, String)>, Failure> {
        let pool =
            |pool: Option<&PoolName>| Some(pool.map(ToString::to_string).unwrap_or_default());
        let parameters = [
            ("NamePrefix", control.find("NamePrefix").map(str::to_owned)),
            ("Project", Some(self.project.to_string())),
            ("PullPool", pool(self.pull_pool.as_ref())),
            ("FargatePool", pool(self.fargate.fargate_pool.as_ref())),
            (
                "KmsKeyArn",
                Some(control.find("KmsKeyArn").unwrap_or_default().to_owned()),
            ),
            (
                "AlarmTopicArn",
                self.alarm_topic_arn
                    .clone()
                    .or_else(|| control.find("AlarmTopicArn").map(str::to_owned)),
            ),
            (
                "Issuer",
                control
                    .find("Issuer")
                    .filter(|_| self.secret_reader)
                    .map(str::to_owned),
            ),
            ("SecretsKmsKeyArn", self.secrets_kms_key_arn.clone()),
            (
                "PermissionsBoundaryArn",
                control.find("PermissionsBoundaryArn").map(str::to_owned),
            ),
            (
                "LogRetentionDays",
                self.log_retention_days.map(|days| days.to_string()),
            ),
            (
                "QueueAgeSeconds",
                self.queue_age_seconds.map(|seconds| seconds.to_string()),
            ),
            (
                "LocalEndpoint",
                control.find("LocalEndpoint").map(str::to_owned),
            ),
        ];
        Ok(parameters
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect())
    }

    /// Tags of the stack: the project's, and those asked for.
    fn tags(&self) -> Vec<(String, String)> {
        let project = ("sealfleet:project".to_owned(), self.project.to_string());
        [project].into_iter().chain(self.tags.clone()).collect()
    }

    fn request(self) -> Result<CreateProject, Failure> {
        let pools = self.fargate.pools(self.pull_pool.map(PullPool::from))?;
        Ok(CreateProject {
            project: self.project,
            pools,
        })
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let tag = pair(text).ok().filter(|(key, _)| !key.is_empty());
    tag.ok_or_else(|| "write a tag as KEY=VALUE".to_owned())
}

/// The registered project, if there is one. Fails if it differs from the options.
async fn find(client: &Client, wanted: &CreateProject) -> Result<Option<ProjectView>, Failure> {
    let view = match client.get_project(&wanted.project).await {
        Ok(view) => view,
        Err(error) if error.status() == Some(404) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match difference(&view.pools, &wanted.pools) {
        None => Ok(Some(view)),
        Some(difference) => Err(Failure::Refused(format!(
            "the project `{}` is registered already, and {difference}; nothing was deployed. Repeat the command with \
             the pools that are registered, or change them first: `sealfleet project update`",
            wanted.project
        ))),
    }
}

async fn register(client: &Client, wanted: &CreateProject) -> Result<ProjectView, Failure> {
    match client.create_project(wanted).await {
        Ok(view) => Ok(view),
        // Either somebody else registered it at the same time, or our first request succeeded and
        // its answer was lost.
        Err(error)
            if error
                .problem()
                .is_some_and(|problem| problem.code == Code::AlreadyExists) =>
        {
            find(client, wanted).await?.ok_or_else(|| error.into())
        }
        Err(error) => {
            Err(Failure::from(error)
                .about("the stack is deployed, but the project is not registered"))
        }
    }
}

/// Describes the first difference between the registered pools and the requested ones.
fn difference(
    registered: &BTreeMap<PoolName, PoolView>,
    wanted: &BTreeMap<PoolName, CreatePool>,
) -> Option<String> {
    if let Some(pool) = registered.keys().find(|pool| !wanted.contains_key(*pool)) {
        return Some(format!("it also has the pool `{pool}`"));
    }
    wanted
        .iter()
        .find_map(|(pool, wanted)| match (registered.get(pool), wanted) {
            (None, _) => Some(format!("it has no pool `{pool}`")),
            (Some(PoolView::Pull { backend: there }), CreatePool::Pull { backend: wanted }) => {
                (there != wanted).then(|| {
                    let there = there.as_deref().unwrap_or("any");
                    format!("the sandbox backend of its pool `{pool}` is `{there}`")
                })
            }
            (Some(PoolView::Fargate(there)), CreatePool::Fargate(wanted)) => {
                let (there, wanted) = (in_order(&there.spec), in_order(wanted));
                (there != wanted)
                    .then(|| format!("its pool `{pool}` is {}", json!(CreatePool::Fargate(there))))
            }
            (Some(_), _) => Some(format!("its pool `{pool}` is of the other kind")),
        })
}

/// Sorts the models, because their order does not matter.
fn in_order(spec: &FargateSpec) -> FargateSpec {
    let mut spec = spec.clone();
    spec.models.sort();
    spec
}

fn word(change: Change) -> String {
    crate::operator::output::word(&change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealfleet_client::types::FargatePoolView;
    use sealfleet_domain::{Line, WorkerId};

    fn fargate(image: &str, at_once: u32, region: &str, models: &[&str]) -> FargateSpec {
        let labels = BTreeMap::from([("region".to_owned(), region.to_owned())]);
        let models = models.iter().map(|model| Line::escaped(model)).collect();
        FargateSpec {
            image: image.to_owned(),
            cpu: 256,
            memory_mib: 512,
            max_concurrent: at_once,
            labels,
            models,
        }
    }

    #[test]
    fn a_registered_project_is_compared_pool_by_pool() {
        let name = |pool: &str| pool.parse::<PoolName>().unwrap();
        let worker_id = "wrk_0198c0de-0000-7000-8000-00000000000a"
            .parse::<WorkerId>()
            .unwrap();
        let registered = BTreeMap::from([
            (name("workers"), PoolView::Pull { backend: None }),
            (
                name("tasks"),
                PoolView::Fargate(FargatePoolView {
                    worker_id,
                    spec: fargate("a", 1, "eu", &["m", "n"]),
                }),
            ),
        ]);
        let told = |pools: &[(&str, CreatePool)]| {
            let wanted = pools
                .iter()
                .map(|(pool, wanted)| (name(pool), wanted.clone()))
                .collect();
            difference(&registered, &wanted).unwrap_or_default()
        };
        let pull = CreatePool::Pull { backend: None };
        let same = CreatePool::Fargate(fargate("a", 1, "eu", &["n", "m"]));
        assert_eq!(
            told(&[("workers", pull.clone()), ("tasks", same.clone())]),
            ""
        );
        assert!(told(&[("workers", pull.clone())]).contains("also has the pool `tasks`"));
        for other in [
            fargate("b", 1, "eu", &["m", "n"]),
            fargate("a", 2, "eu", &["m", "n"]),
            fargate("a", 1, "us", &["m", "n"]),
            fargate("a", 1, "eu", &["m"]),
        ] {
            let other = CreatePool::Fargate(other);
            let told = told(&[("workers", pull.clone()), ("tasks", other)]);
            assert!(
                told.contains(r#"its pool `tasks` is {"cpu":256,"image":"a""#),
                "{told}"
            );
        }
        assert!(told(&[("workers", pull.clone()), ("tasks", pull.clone())]).contains("other kind"));
        let more = [("workers", pull.clone()), ("tasks", same), ("gpu", pull)];
        assert!(told(&more).contains("no pool `gpu`"));
    }

    #[test]
    fn every_parameter_of_the_template_is_given_or_kept() {
        let section = PROJECT
            .split("\nParameters:\n")
            .nth(1)
            .unwrap()
            .split("\nRules:")
            .next()
            .unwrap();
        let own =
            |line: &&str| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
        let template: Vec<&str> = section
            .lines()
            .filter(own)
            .map(|line| line.trim().trim_end_matches(':'))
            .collect();
        let source: String = include_str!("deploy.rs").split_whitespace().collect();
        let missing: Vec<&&str> = template
            .iter()
            .filter(|name| !source.contains(&format!("(\"{name}\",")))
            .collect();
        assert!(
            template.len() > 5 && missing.is_empty(),
            "`Deploy::parameters` leaves out {missing:?}"
        );
    }
}
