//! What comes out of steps, and what goes into them: sessions of one role, each for one use.
//!
//! No function can reach the outputs bucket. The role's policy allows what lies below
//! `PROJECT/RUN/`, by the session's tags `project` and `run`, and reading the uploads of that
//! project. The session policy allows one [`Use`]. So each alone keeps a session to one project,
//! and what is written to one run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use aws_sdk_sts::types::Tag;
use sealfleet_domain::cause::{chain, repeats};
use sealfleet_domain::output::{Outputs, run_prefix};
use sealfleet_domain::upload;
use sealfleet_domain::{NamePrefix, ProjectScope, RunId, Timestamp, UploadId};

use crate::Unavailable;
use crate::inputs::signed_get;
use crate::queue_access::NoKey;

/// Seconds that a session lasts that writes: the longest that STS gives to who has assumed a role.
const WRITES_SECONDS: i32 = 3600;
/// Seconds that a session lasts that reads: the shortest.
const READS_SECONDS: i32 = 900;
/// How long a URL can be used: as long as the session that signs it.
pub(crate) const URL_SECONDS: i32 = READS_SECONDS;
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
    /// URLs to read these objects, and until when they can be used.
    async fn urls(&self, of: &Outputs, names: &[String])
    -> Result<(Vec<String>, Timestamp), NoKey>;
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
#[derive(Clone, Copy, Debug)]
pub enum Use<'a> {
    /// To write what one claim puts out.
    Write(&'a Outputs),
    /// To read what one claim has put out.
    Read(&'a Outputs),
    /// To put one upload in its place.
    Upload(&'a ProjectScope, UploadId),
    /// To see which uploads of a project are there, and to read none.
    Look(&'a ProjectScope),
    /// To read what a step works with: uploads of its project, and what came out of its run.
    Inputs(&'a ProjectScope, RunId),
}

impl Use<'_> {
    const fn scope(&self) -> &ProjectScope {
        match self {
            Self::Write(of) | Self::Read(of) => of.scope(),
            Self::Upload(scope, _) | Self::Look(scope) | Self::Inputs(scope, _) => scope,
        }
    }

    /// The tag `run` of the session. Uploads are of no run.
    fn run(&self) -> String {
        match self {
            Self::Write(of) | Self::Read(of) => of.run_id().to_string(),
            Self::Inputs(_, run_id) => run_id.to_string(),
            Self::Upload(..) | Self::Look(_) => upload::FOLDER.to_owned(),
        }
    }
}

/// What the session may do: the intersection of this and the role's own policy.
#[must_use]
pub fn session_policy(account: &OutputAccount, to: Use<'_>) -> String {
    let OutputAccount {
        partition,
        region,
        bucket,
        ..
    } = account;
    let suffix = if partition == "aws-cn" {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    let bucket = format!("arn:{partition}:s3:::{bucket}");
    let may = |action: &str, prefixes: &[&str]| {
        let objects = prefixes.iter().map(|prefix| format!("{bucket}/{prefix}*"));
        let objects: Vec<String> = objects.collect();
        serde_json::json!({"Effect": "Allow", "Action": action, "Resource": objects})
    };
    let list = |prefix: &str| {
        serde_json::json!({
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket,
            "Condition": {"StringLike": {"s3:prefix": format!("{prefix}*")}},
        })
    };
    // For a bucket with the operator's own key. The role's policy names the key, where there is
    // one.
    let key = |action: &str| {
        serde_json::json!({
            "Effect": "Allow",
            "Action": action,
            "Resource": "*",
            "Condition": {"StringEquals": {"kms:ViaService": format!("s3.{region}.{suffix}")}},
        })
    };
    let statements = match to {
        Use::Write(of) => vec![
            may("s3:PutObject", &[&of.prefix()]),
            key("kms:GenerateDataKey"),
        ],
        Use::Read(of) => {
            let prefix = of.prefix();
            vec![
                may("s3:GetObject", &[&prefix]),
                list(&prefix),
                key("kms:Decrypt"),
            ]
        }
        Use::Upload(scope, upload_id) => vec![
            may("s3:PutObject", &[&upload::prefix(scope, upload_id)]),
            key("kms:GenerateDataKey"),
        ],
        Use::Look(scope) => vec![list(&upload::all_prefix(scope))],
        Use::Inputs(scope, run_id) => {
            let (uploads, run) = (upload::all_prefix(scope), run_prefix(scope, run_id));
            vec![
                may("s3:GetObject", &[&uploads, &run]),
                list(&uploads),
                key("kms:Decrypt"),
            ]
        }
    };
    serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// The role of outputs and uploads, assumed for one use.
#[derive(Clone, Debug)]
pub(crate) struct OutputRole {
    client: aws_sdk_sts::Client,
    pub(crate) account: OutputAccount,
}

pub(crate) struct Session {
    credentials: Credentials,
    pub(crate) expires_at: Timestamp,
}

impl OutputRole {
    pub(crate) fn new(config: &aws_config::SdkConfig, account: OutputAccount) -> Self {
        Self {
            client: aws_sdk_sts::Client::new(config),
            account,
        }
    }

    pub(crate) async fn assume(
        &self,
        to: Use<'_>,
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
            .tags(tag("project", to.scope().project().as_str())?)
            .tags(tag("run", &to.run())?)
            .policy(session_policy(&self.account, to))
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

impl Session {
    /// S3 with this session's credentials, where this function reaches it.
    pub(crate) fn s3(&self, config: &aws_config::SdkConfig) -> aws_sdk_s3::Client {
        aws_sdk_s3::Client::from_conf(self.with(config).build())
    }

    /// The same, at the address that others reach it by: to sign URLs for them.
    pub(crate) fn signer(
        &self,
        config: &aws_config::SdkConfig,
        account: &OutputAccount,
    ) -> aws_sdk_s3::Client {
        let config = self.with(config).endpoint_url(&account.endpoint);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    fn with(&self, config: &aws_config::SdkConfig) -> aws_sdk_s3::config::Builder {
        aws_sdk_s3::config::Builder::from(config)
            .credentials_provider(self.credentials.clone())
            .force_path_style(true)
    }
}

/// Makes credentials for whoever runs a step.
#[derive(Clone, Debug)]
pub struct OutputWriters(OutputRole);

impl OutputWriters {
    /// The outputs of `account`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, account: OutputAccount) -> Self {
        Self(OutputRole::new(config, account))
    }
}

#[async_trait]
impl OutputKeys for OutputWriters {
    async fn output_key(&self, of: &Outputs, holder: &str) -> Result<OutputKey, NoKey> {
        let name = holder.to_owned();
        let session = self.0.assume(Use::Write(of), name, WRITES_SECONDS).await?;
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

/// Clients by a session for each use, kept for some minutes.
pub(crate) struct Clients {
    pub(crate) role: OutputRole,
    pub(crate) config: aws_config::SdkConfig,
    /// By the session's policy.
    kept: Mutex<BTreeMap<String, (Instant, Arc<aws_sdk_s3::Client>)>>,
}

impl Clients {
    pub(crate) fn new(config: &aws_config::SdkConfig, account: OutputAccount) -> Self {
        Self {
            role: OutputRole::new(config, account),
            config: config.clone(),
            kept: Mutex::default(),
        }
    }

    pub(crate) async fn client(
        &self,
        to: Use<'_>,
        name: String,
    ) -> Result<Arc<aws_sdk_s3::Client>, NoKey> {
        let policy = session_policy(&self.role.account, to);
        if let Some(client) = self.kept(&policy) {
            return Ok(client);
        }
        let session = self.role.assume(to, name, READS_SECONDS).await?;
        let client = Arc::new(session.s3(&self.config));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (since, _)| since.elapsed() < READS_KEPT);
        if kept.len() < KEPT {
            kept.insert(policy, (Instant::now(), Arc::clone(&client)));
        }
        Ok(client)
    }

    fn kept(&self, policy: &str) -> Option<Arc<aws_sdk_s3::Client>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, client) = kept.get(policy)?;
        (since.elapsed() < READS_KEPT).then(|| Arc::clone(client))
    }
}

/// Reads objects by a session for each claim.
pub struct OutputReaders(Clients);

impl OutputReaders {
    /// The outputs of `account`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, account: OutputAccount) -> Self {
        Self(Clients::new(config, account))
    }

    async fn client(&self, of: &Outputs) -> Result<Arc<aws_sdk_s3::Client>, NoKey> {
        let name = of.run_id().to_string();
        self.0.client(Use::Read(of), name).await
    }

    fn bucket(&self) -> &str {
        &self.0.role.account.bucket
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
        let below = format!("{prefix}{folder}");
        let after = after.map(|name| format!("{prefix}{name}"));
        let page = list(&client, self.bucket(), &below, after).await?;
        let names = page.contents().iter().filter_map(|object| object.key());
        Ok(names
            .filter_map(|key| key.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect())
    }

    async fn get(&self, of: &Outputs, name: &str, most: usize) -> Result<Option<Vec<u8>>, NoKey> {
        let client = self.client(of).await?;
        let key = format!("{}{name}", of.prefix());
        get(&client, self.bucket(), &key, most).await
    }

    /// By a session of their own, which lasts as long as they do.
    async fn urls(
        &self,
        of: &Outputs,
        names: &[String],
    ) -> Result<(Vec<String>, Timestamp), NoKey> {
        let Clients { role, config, .. } = &self.0;
        let name = of.run_id().to_string();
        let session = role.assume(Use::Read(of), name, URL_SECONDS).await?;
        let signer = session.signer(config, &role.account);
        let mut urls = Vec::with_capacity(names.len());
        for name in names {
            let key = format!("{}{name}", of.prefix());
            urls.push(signed_get(&signer, self.bucket(), &key).await?);
        }
        Ok((urls, session.expires_at))
    }
}

/// A page of what lies below a prefix.
pub(crate) async fn list(
    client: &aws_sdk_s3::Client,
    bucket: &str,
    prefix: &str,
    after: Option<String>,
) -> Result<ListObjectsV2Output, NoKey> {
    let list = client.list_objects_v2().bucket(bucket).prefix(prefix);
    list.set_start_after(after).send().await.map_err(|error| {
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        no_key("S3", error.code(), status, chain(&error))
    })
}

/// The beginning of an object, if it is there.
pub(crate) async fn get(
    client: &aws_sdk_s3::Client,
    bucket: &str,
    key: &str,
    most: usize,
) -> Result<Option<Vec<u8>>, NoKey> {
    let got = client
        .get_object()
        .bucket(bucket)
        .key(key)
        .range(format!("bytes=0-{}", most.saturating_sub(1)))
        .send()
        .await;
    match got {
        Ok(object) => {
            let bytes = object.body.collect().await;
            let bytes =
                bytes.map_err(|error| NoKey::Unavailable(unavailable("S3", error.to_string())))?;
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

pub(crate) fn no_key(
    service: &'static str,
    code: Option<&str>,
    status: Option<u16>,
    detail: String,
) -> NoKey {
    let detail = unavailable(service, detail);
    if repeats(code, status) {
        NoKey::Refused(detail)
    } else {
        NoKey::Unavailable(detail)
    }
}

pub(crate) const fn unavailable(service: &'static str, detail: String) -> Unavailable {
    Unavailable { service, detail }
}
