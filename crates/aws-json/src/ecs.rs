//! Amazon ECS: `DescribeTasks`, `DeregisterTaskDefinition`.

use aws_config::SdkConfig;
use serde_json::json;

use crate::CallError;
use crate::call::Service;

const DESCRIBE: &str = "AmazonEC2ContainerServiceV20141113.DescribeTasks";
const DEREGISTER: &str = "AmazonEC2ContainerServiceV20141113.DeregisterTaskDefinition";

/// The clusters of an account and region.
#[derive(Clone, Debug)]
pub struct Ecs(Service);

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// `RUNNING`, `STOPPED` and others.
    pub last_status: String,
    pub definition_arn: String,
}

impl Ecs {
    /// # Errors
    /// When the configuration lacks a region, credentials or an HTTP client.
    pub fn new(config: &SdkConfig) -> Result<Self, Box<CallError>> {
        Service::new(config, "ecs", "ECS").map(Self)
    }

    /// A task of a cluster by its ARN. `None` when ECS knows no such task: it forgets one about an
    /// hour after its end.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub async fn task(&self, cluster: &str, arn: &str) -> Result<Option<Task>, CallError> {
        let body = json!({ "cluster": cluster, "tasks": [arn] });
        let answer = self.0.json(DESCRIBE, &body).await?;
        if answer.pointer("/failures/0/reason") == Some(&json!("MISSING")) {
            return Ok(None);
        }
        let text = |name: &str| {
            Some(
                answer
                    .pointer(&format!("/tasks/0/{name}"))?
                    .as_str()?
                    .to_owned(),
            )
        };
        let task = || {
            Some(Task {
                last_status: text("lastStatus")?,
                definition_arn: text("taskDefinitionArn")?,
            })
        };
        let unclear = || {
            CallError::construction_failure(format!(
                "DescribeTasks shows no task and misses none: {answer}"
            ))
        };
        task().map(Some).ok_or_else(unclear)
    }

    /// Makes a task definition inactive: no task starts from it any more.
    ///
    /// # Errors
    /// When the service refuses or does not answer.
    pub async fn deregister(&self, definition_arn: &str) -> Result<(), CallError> {
        let body = json!({ "taskDefinition": definition_arn });
        self.0.json(DEREGISTER, &body).await.map(drop)
    }
}
