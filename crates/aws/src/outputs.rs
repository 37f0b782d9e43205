//! What comes out of steps: sessions of one role, each for the outputs of one claim.
//!
//! No function can reach the outputs bucket. The role's policy allows what lies below
//! `PROJECT/RUN/`, by the session's tags `project` and `run`. The session policy allows one claim
//! of a step: to write below its prefix, or to read there. So each alone keeps a session to one
//! run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use aws_sdk_sts::types::Tag;
use sealfleet_domain::cause::{chain, repeats};
use sealfleet_domain::output::Outputs;
use sealfleet_domain::{NamePrefix, Timestamp};

use crate::Unavailable;
use crate::queue_access::NoKey;

/// Seconds that a session lasts that writes: the longest that STS gives to who has assumed a role.
const WRITES_SECONDS: i32 = 3600;
/// Seconds that a session lasts that reads: the shortest.
const READS_SECONDS: i32 = 900;
/// How long a process uses a session that reads.
const READS_KEPT: Duration = Duration::from_secs(600);
/// Sessions that a process keeps.
const KEPT: usize = 64;

/// Credentials to write what one claim puts out.
#[derive(Clone)]
pub struct OutputKey {
    /// The address of S3.
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    /// What keys must begin with.
    pub prefix: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    /// When they stop working.
    pub expires_at: Timestamp,
}

/// Gives out credentials to write.
#[async_trait]
pub trait OutputKeys: Send + Sync {
    /// Credentials to write what a claim puts out, in the name of `holder`: a worker or a task.
    async fn output_key(&self, of: &Outputs, holder: &str) -> Result<OutputKey, NoKey>;
}

/// Reads what claims have put out.
#[async_trait]
pub trait OutputObjects: Send + Sync {
    /// The names below `folder` of a claim's prefix that come after `after`, in order; a page of
    /// them at most.
    async fn list(
        &self,
        of: &Outputs,
        folder: &str,
        after: Option<&str>,
    ) -> Result<Vec<String>, NoKey>;
    /// Reads the beginning of an object, if it is there: `most` bytes, whatever a worker has put
    /// there.
    async fn get(&self, of: &Outputs, name: &str, most: usize) -> Result<Option<Vec<u8>>, NoKey>;
}

/// Where outputs and their role are.
#[derive(Clone, Debug)]
pub struct OutputAccount {
    /// AWS partition, `aws` nearly everywhere.
    pub partition: String,
    pub region: String,
    pub account_id: String,
    pub bucket: String,
    /// The address of S3 for workers.
    pub endpoint: String,
    /// What the names of roles begin with.
    pub name_prefix: NamePrefix,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Write,
    Read,
}

/// What the session may do: the intersection of this and the role's own policy.
#[must_use]
pub fn session_policy(account: &OutputAccount, of: &Outputs, to: Use) -> String {
    let OutputAccount {
        partition,
        region,
        bucket,
        ..
    } = account;
    let prefix = of.prefix();
    let suffix = if partition == "aws-cn" {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    let bucket = format!("arn:{partition}:s3:::{bucket}");
    let objects = format!("{bucket}/{prefix}*");
    // For a bucket with the operator's own key. The role's policy names the key, where there is
    // one.
    let key = |actions: &[&str]| {
        serde_json::json!({
            "Effect": "Allow",
            "Action": actions,
            "Resource": "*",
            "Condition": {"StringEquals": {"kms:ViaService": format!("s3.{region}.{suffix}")}},
        })
    };
    let statements = match to {
        Use::Write => vec![
            serde_json::json!({"Effect": "Allow", "Action": "s3:PutObject", "Resource": objects}),
            key(&["kms:GenerateDataKey"]),
        ],
        Use::Read => vec![
            serde_json::json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": objects}),
            serde_json::json!({
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": bucket,
                "Condition": {"StringLike": {"s3:prefix": format!("{prefix}*")}},
            }),
            key(&["kms:Decrypt"]),
        ],
    };
    serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// The role of outputs, assumed for one claim.
#[derive(Clone, Debug)]
struct OutputRole {
    client: aws_sdk_sts::Client,
    account: OutputAccount,
}

struct Session {
    credentials: Credentials,
    expires_at: Timestamp,
}

impl OutputRole {
    async fn assume(
        &self,
        of: &Outputs,
        to: Use,
        name: String,
        seconds: i32,
    ) -> Result<Session, NoKey> {
        let OutputAccount {
            partition,
            account_id,
            name_prefix,
            ..
        } = &self.account;
        let role = format!(
            "arn:{partition}:iam::{account_id}:role/sealfleet/shared/{name_prefix}-outputs"
        );
        let tag = |key: &str, value: &str| {
            let tag = Tag::builder().key(key).value(value).build();
            tag.map_err(|error| NoKey::Refused(unavailable("STS", chain(&error))))
        };
        let answer = self
            .client
            .assume_role()
            .role_arn(role)
            .role_session_name(name)
            .duration_seconds(seconds)
            .tags(tag("project", of.scope().project().as_str())?)
            .tags(tag("run", &of.run_id().to_string())?)
            .policy(session_policy(&self.account, of, to))
            .send()
            .await
            .map_err(|error| {
                let status = error.raw_response().map(|answer| answer.status().as_u16());
                no_key("STS", error.code(), status, chain(&error))
            })?;
        let given = answer.credentials.ok_or_else(|| {
            let detail = "an answer without credentials".to_owned();
            NoKey::Unavailable(unavailable("STS", detail))
        })?;
        let expires_at = Timestamp::from_millis(given.expiration.secs().saturating_mul(1000));
        Ok(Session {
            credentials: Credentials::new(
                given.access_key_id,
                given.secret_access_key,
                Some(given.session_token),
                None,
                "sealfleet-outputs",
            ),
            expires_at,
        })
    }
}

/// Makes credentials for whoever runs a step.
#[derive(Clone, Debug)]
pub struct OutputWriters(OutputRole);

impl OutputWriters {
    /// The outputs of `account`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, account: OutputAccount) -> Self {
        Self(OutputRole {
            client: aws_sdk_sts::Client::new(config),
            account,
        })
    }
}

#[async_trait]
impl OutputKeys for OutputWriters {
    async fn output_key(&self, of: &Outputs, holder: &str) -> Result<OutputKey, NoKey> {
        let name = holder.to_owned();
        let session = self.0.assume(of, Use::Write, name, WRITES_SECONDS).await?;
        let (account, credentials) = (&self.0.account, session.credentials);
        Ok(OutputKey {
            endpoint: account.endpoint.clone(),
            region: account.region.clone(),
            bucket: account.bucket.clone(),
            prefix: of.prefix(),
            access_key_id: credentials.access_key_id().to_owned(),
            secret_access_key: credentials.secret_access_key().to_owned(),
            session_token: credentials.session_token().unwrap_or_default().to_owned(),
            expires_at: session.expires_at,
        })
    }
}

/// Reads objects by a session for each claim, which it keeps for some minutes.
pub struct OutputReaders {
    role: OutputRole,
    config: aws_config::SdkConfig,
    /// By the claim's prefix.
    kept: Mutex<BTreeMap<String, (Instant, Arc<aws_sdk_s3::Client>)>>,
}

impl OutputReaders {
    /// The outputs of `account`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, account: OutputAccount) -> Self {
        Self {
            role: OutputRole {
                client: aws_sdk_sts::Client::new(config),
                account,
            },
            config: config.clone(),
            kept: Mutex::default(),
        }
    }

    async fn client(&self, of: &Outputs) -> Result<Arc<aws_sdk_s3::Client>, NoKey> {
        if let Some(client) = self.kept(of) {
            return Ok(client);
        }
        let name = of.run_id().to_string();
        let session = self.role.assume(of, Use::Read, name, READS_SECONDS).await?;
        // Path style, since names below one endpoint are what a local stack serves.
        let local = self.config.endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(&self.config)
            .force_path_style(local)
            .credentials_provider(session.credentials)
            .build();
        let client = Arc::new(aws_sdk_s3::Client::from_conf(config));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (since, _)| since.elapsed() < READS_KEPT);
        if kept.len() < KEPT {
            kept.insert(of.prefix(), (Instant::now(), Arc::clone(&client)));
        }
        Ok(client)
    }

    fn kept(&self, of: &Outputs) -> Option<Arc<aws_sdk_s3::Client>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, client) = kept.get(&of.prefix())?;
        (since.elapsed() < READS_KEPT).then(|| Arc::clone(client))
    }
}

#[async_trait]
impl OutputObjects for OutputReaders {
    async fn list(
        &self,
        of: &Outputs,
        folder: &str,
        after: Option<&str>,
    ) -> Result<Vec<String>, NoKey> {
        let (client, prefix) = (self.client(of).await?, of.prefix());
        let page = client
            .list_objects_v2()
            .bucket(&self.role.account.bucket)
            .prefix(format!("{prefix}{folder}"))
            .set_start_after(after.map(|name| format!("{prefix}{name}")))
            .send()
            .await
            .map_err(|error| {
                let status = error.raw_response().map(|answer| answer.status().as_u16());
                no_key("S3", error.code(), status, chain(&error))
            })?;
        let names = page.contents().iter().filter_map(|object| object.key());
        Ok(names
            .filter_map(|key| key.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect())
    }

    async fn get(&self, of: &Outputs, name: &str, most: usize) -> Result<Option<Vec<u8>>, NoKey> {
        let client = self.client(of).await?;
        let got = client
            .get_object()
            .bucket(&self.role.account.bucket)
            .key(format!("{}{name}", of.prefix()))
            .range(format!("bytes=0-{}", most.saturating_sub(1)))
            .send()
            .await;
        match got {
            Ok(object) => {
                let bytes = object.body.collect().await;
                let bytes = bytes
                    .map_err(|error| NoKey::Unavailable(unavailable("S3", error.to_string())))?;
                Ok(Some(bytes.to_vec()))
            }
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), GetObjectError::NoSuchKey(_)) =>
            {
                Ok(None)
            }
            // An empty object has no first byte.
            Err(error) if error.code() == Some("InvalidRange") => Ok(Some(Vec::new())),
            Err(error) => {
                let status = error.raw_response().map(|answer| answer.status().as_u16());
                Err(no_key("S3", error.code(), status, chain(&error)))
            }
        }
    }
}

fn no_key(service: &'static str, code: Option<&str>, status: Option<u16>, detail: String) -> NoKey {
    let detail = unavailable(service, detail);
    if repeats(code, status) {
        NoKey::Refused(detail)
    } else {
        NoKey::Unavailable(detail)
    }
}

const fn unavailable(service: &'static str, detail: String) -> Unavailable {
    Unavailable { service, detail }
}
