//! The key to one queue: short-lived credentials for a worker's own pool, and for nothing else.
//!
//! One role serves all projects. Its policy allows the queue that the session's tags `project` and
//! `pool` name, and the session policy names the same queue again: each alone keeps a session to
//! that queue. Another project's queue, or another pool's, is refused by IAM, whatever the worker
//! asks.

use async_trait::async_trait;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use aws_sdk_sts::types::Tag;
use sealfleet_domain::cause::{chain, repeats};
use sealfleet_domain::{NamePrefix, PoolName, ProjectScope, Timestamp, WorkerId};

use crate::Unavailable;
use crate::queues::queue_name;

/// Seconds that queue credentials last: the shortest that STS gives.
const SECONDS: i32 = 900;

/// Credentials for one queue.
#[derive(Clone)]
pub struct QueueKey {
    /// The queue.
    pub queue_url: String,
    /// Its region.
    pub region: String,
    /// Access key.
    pub access_key_id: String,
    /// Secret key.
    pub secret_access_key: String,
    /// Session token.
    pub session_token: String,
    /// When they stop working.
    pub expires_at: Timestamp,
}

/// Gives out queue credentials.
#[async_trait]
pub trait QueueAccess: Send + Sync {
    /// Credentials for the queue of `pool`, in the name of `worker`.
    async fn queue_key(
        &self,
        scope: &ProjectScope,
        pool: &PoolName,
        worker: WorkerId,
    ) -> Result<QueueKey, NoKey>;
}

/// Why there are no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The service does not answer.
    #[error(transparent)]
    Unavailable(Unavailable),
    /// The service refuses, and would refuse the same again.
    #[error(transparent)]
    Refused(Unavailable),
}

/// Where queues and roles are.
#[derive(Clone, Debug)]
pub struct Account {
    /// AWS partition, `aws` nearly everywhere.
    pub partition: String,
    /// Region.
    pub region: String,
    /// Account id.
    pub account_id: String,
    /// Queue URLs up to the queue's name.
    pub queue_url_prefix: String,
    /// What the names of queues and roles begin with.
    pub name_prefix: NamePrefix,
}

/// AWS STS.
#[derive(Clone, Debug)]
pub struct Sts {
    client: aws_sdk_sts::Client,
    account: Account,
}

impl Sts {
    /// Roles and queues of `account`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, account: Account) -> Self {
        Self {
            client: aws_sdk_sts::Client::new(config),
            account,
        }
    }
}

/// What the session may do: the intersection of this and the role's own policy.
#[must_use]
pub fn session_policy(account: &Account, queue: &str) -> String {
    let Account {
        partition,
        region,
        account_id,
        ..
    } = account;
    let suffix = if partition == "aws-cn" {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    let via = format!("sqs.{region}.{suffix}");
    serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"],
            "Resource": format!("arn:{partition}:sqs:{region}:{account_id}:{queue}"),
        }, {
            // For a queue with the operator's own key. The role's policy names the key, where there
            // is one.
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": "*",
            "Condition": {"StringEquals": {"kms:ViaService": via}},
        }],
    })
    .to_string()
}

#[async_trait]
impl QueueAccess for Sts {
    async fn queue_key(
        &self,
        scope: &ProjectScope,
        pool: &PoolName,
        worker: WorkerId,
    ) -> Result<QueueKey, NoKey> {
        let Account {
            partition,
            account_id,
            name_prefix,
            ..
        } = &self.account;
        let queue = queue_name(name_prefix, scope, pool);
        let role =
            format!("arn:{partition}:iam::{account_id}:role/sealfleet/shared/{name_prefix}-queues");
        let tag = |key: &str, value: &str| {
            let tag = Tag::builder().key(key).value(value).build();
            tag.map_err(|error| NoKey::Refused(unavailable(chain(&error))))
        };
        let answer = self
            .client
            .assume_role()
            .role_arn(role)
            .role_session_name(worker.to_string())
            .duration_seconds(SECONDS)
            .tags(tag("project", scope.project().as_str())?)
            .tags(tag("pool", pool.as_str())?)
            .policy(session_policy(&self.account, &queue))
            .send()
            .await
            .map_err(|error| {
                let status = error.raw_response().map(|answer| answer.status().as_u16());
                let detail = unavailable(chain(&error));
                if repeats(error.code(), status) {
                    NoKey::Refused(detail)
                } else {
                    NoKey::Unavailable(detail)
                }
            })?;
        let credentials = answer.credentials.ok_or_else(|| {
            NoKey::Unavailable(unavailable("an answer without credentials".to_owned()))
        })?;
        Ok(QueueKey {
            queue_url: format!("{}{queue}", self.account.queue_url_prefix),
            region: self.account.region.clone(),
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            session_token: credentials.session_token,
            expires_at: Timestamp::from_millis(credentials.expiration.secs().saturating_mul(1000)),
        })
    }
}

const fn unavailable(detail: String) -> Unavailable {
    Unavailable {
        service: "STS",
        detail,
    }
}
