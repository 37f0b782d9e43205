//! The deployment that is looked at, by the operator's own credentials, and what that costs.

use aws_config::SdkConfig;
use sealfleet_aws_json::ecs::Ecs;
use sealfleet_aws_json::iam::Iam;
use sealfleet_aws_json::logs::Logs;
use sealfleet_client::{Client, PageQuery};
use sealfleet_domain::NamePrefix;
use sealfleet_domain::cause::chain;
use sealfleet_versions::SecretsManager;

use super::report::Why;
use crate::cloudformation::{Outputs, Stacks};
use crate::operator::aws;
use crate::operator::connection::Connection;
use crate::operator::failure::Failure;
use crate::operator::project::deploy;

/// A deployed control plane and the AWS account around it.
pub struct Ground {
    pub config: SdkConfig,
    pub stacks: Stacks,
    /// Outputs of the control plane's stack.
    pub control: Outputs,
    pub api_url: String,
    /// With the operator's token.
    pub operator: Client,
    pub prefix: NamePrefix,
    pub account: String,
    pub partition: String,
    pub region: String,
    /// ARN of the AWS principal that calls.
    pub caller: String,
    pub secrets: SecretsManager,
    pub sqs: aws_sdk_sqs::Client,
    pub dynamo: aws_sdk_dynamodb::Client,
    pub logs: Logs,
    pub ecs: Ecs,
    pub iam: Iam,
}

/// The AWS principal that calls.
pub struct Caller {
    pub arn: String,
    pub account: String,
}

impl Ground {
    /// Reaches the account, the control plane's stack and its API. Changes nothing.
    pub async fn reached(connection: &Connection, control_stack: &str) -> Result<Self, Failure> {
        let config = aws::config().await?;
        let identity = aws_sdk_sts::Client::new(&config);
        let identity = identity.get_caller_identity().send().await;
        let identity = identity
            .map_err(|error| Failure::Other(format!("your AWS credentials: {}", chain(&error))))?;
        let stacks = deploy::stacks(&config);
        let control = deploy::control(&stacks, control_stack).await?;
        let api_url = connection.address(control.find("ApiUrl")).ok_or_else(|| {
            Failure::Usage(
                "name the control plane by `--api-url` or `SEALFLEET_API_URL`".to_owned(),
            )
        })?;
        let api_url = api_url.to_owned();
        let operator = connection.client_at(Some(&api_url))?;
        let asked = operator.list_projects(&PageQuery::default()).await;
        asked.map_err(|error| {
            Failure::from(error).about("your token, which must be an operator's")
        })?;
        let caller = Caller {
            arn: identity.arn.unwrap_or_default(),
            account: identity.account.unwrap_or_default(),
        };
        Self::at(config, control, caller, api_url, operator)
    }

    /// What `config` reaches. Calls nobody.
    pub fn at(
        config: SdkConfig,
        control: Outputs,
        caller: Caller,
        api_url: String,
        operator: Client,
    ) -> Result<Self, Failure> {
        let prefix = deploy::prefix(&control)
            .parse::<NamePrefix>()
            .map_err(|error| Failure::other(error).about("the stack's output NamePrefix"))?;
        let partition = caller.arn.split(':').nth(1).unwrap_or("aws").to_owned();
        let region = config.region().map(ToString::to_string);
        let cannot = |error: Box<sealfleet_aws_json::CallError>| Failure::other(chain(&error));
        Ok(Self {
            stacks: deploy::stacks(&config),
            secrets: SecretsManager::new(&config, prefix.clone()),
            sqs: aws_sdk_sqs::Client::new(&config),
            dynamo: aws_sdk_dynamodb::Client::new(&config),
            logs: Logs::new(&config).map_err(cannot)?,
            ecs: Ecs::new(&config).map_err(cannot)?,
            iam: Iam::new(&config).map_err(cannot)?,
            account: caller.account,
            region: region.unwrap_or_default(),
            config,
            control,
            api_url,
            operator,
            prefix,
            partition,
            caller: caller.arn,
        })
    }

    /// An output of the control plane's stack.
    pub fn output(&self, name: &'static str) -> Result<&str, Why> {
        let found = self.control.get(name);
        found.map_err(|error| Why::NotTried(error.to_string()))
    }

    /// The endpoint of an emulator, if that is where AWS is called.
    pub fn emulator(&self) -> Option<&str> {
        self.config
            .endpoint_url()
            .or_else(|| self.control.find("LocalEndpoint"))
    }

    /// Bytes of both tables, as DynamoDB counts them every six hours.
    pub async fn table_bytes(&self) -> Option<u64> {
        let mut bytes = 0;
        for output in ["LedgerTableName", "AuditTableName"] {
            let described = self.dynamo.describe_table();
            let described = described.table_name(self.control.find(output)?);
            let table = described.send().await.ok()?.table?;
            bytes += u64::try_from(table.table_size_bytes?).ok()?;
        }
        Some(bytes)
    }
}

/// US dollars, from docs/cost.md: five tasks of the least time and size, each with one read of a
/// secret; three secrets for an hour; requests and logs; and a consistent read of each 4 KiB of the
/// tables.
pub fn dollars(table_bytes: u64) -> f64 {
    const TASK: f64 = 205.71e-6;
    const SECRET_HOUR: f64 = 0.40 / 730.0;
    const REQUESTS: f64 = 0.005;
    const READ_UNIT: f64 = 0.125e-6;
    #[expect(
        clippy::cast_precision_loss,
        reason = "an estimate needs no more than 52 bits"
    )]
    let read = table_bytes.div_ceil(4096) as f64 * READ_UNIT;
    5.0 * TASK + 3.0 * SECRET_HOUR + REQUESTS + read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_cost_cents_and_large_ones_are_told() {
        assert!(dollars(0) < 0.02);
        let of_a_terabyte = dollars(1 << 40);
        assert!((33.0..34.0).contains(&of_a_terabyte), "{of_a_terabyte}");
    }
}
