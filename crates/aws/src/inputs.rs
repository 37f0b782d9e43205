//! What goes into steps: uploads, and URLs to read them and what earlier steps have left.
//!
//! A URL is signed by a session of the role of outputs, and is good for one object and as long as
//! that session: minutes. The session's credentials stay in the function.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::presigning::PresigningConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealfleet_domain::cause::chain;
use sealfleet_domain::output::Outputs;
use sealfleet_domain::upload::{self, Promise};
use sealfleet_domain::{ProjectScope, RunId, Timestamp, UploadId};

use crate::outputs::{
    Clients, OutputAccount, OutputRole, URL_SECONDS, Use, get, list, unavailable,
};
use crate::queue_access::NoKey;

/// Where to put an upload.
pub struct Slot {
    pub url: String,
    /// What the request must say, as the signature covers it.
    pub headers: BTreeMap<String, String>,
    /// Until when the URL can be used.
    pub expires_at: Timestamp,
}

/// An upload that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it was promised to be.
    pub promise: Promise,
    /// How large it is.
    pub bytes: u64,
}

impl Stored {
    /// Whether it is what it was promised to be, as far as its size tells.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.bytes == self.promise.bytes
    }
}

/// Takes uploads in, and reads none.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Where to put an upload: once, and nothing but what is promised.
    async fn slot(
        &self,
        scope: &ProjectScope,
        upload_id: UploadId,
        promise: Promise,
    ) -> Result<Slot, NoKey>;
    /// What is in the place of an upload of this project.
    async fn look(
        &self,
        scope: &ProjectScope,
        upload_id: UploadId,
    ) -> Result<Option<Stored>, NoKey>;
}

/// Opens what the steps of a run work with.
#[async_trait]
pub trait InputAccess: Send + Sync {
    /// For minutes, in the name of `reader`.
    async fn open(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        reader: String,
    ) -> Result<Box<dyn InputObjects>, NoKey>;
}

/// What the steps of one run work with.
#[async_trait]
pub trait InputObjects: Send + Sync {
    /// What is in the place of an upload.
    async fn upload(&self, upload_id: UploadId) -> Result<Option<Stored>, NoKey>;
    /// The beginning of what a step of the run has left: `most` bytes.
    async fn left(&self, of: &Outputs, name: &str, most: usize) -> Result<Option<Vec<u8>>, NoKey>;
    /// A URL to read an object.
    async fn url(&self, key: &str) -> Result<String, NoKey>;
    /// Until when the URLs can be used.
    fn expires_at(&self) -> Timestamp;
}

/// Uploads as objects in S3.
pub struct UploadSlots(Clients);

impl UploadSlots {
    /// Beside the outputs of `account`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, account: OutputAccount) -> Self {
        Self(Clients::new(config, account))
    }
}

#[async_trait]
impl Uploads for UploadSlots {
    /// The signature covers the length, the SHA-256, which S3 checks, and that nothing may be there
    /// yet.
    async fn slot(
        &self,
        scope: &ProjectScope,
        upload_id: UploadId,
        promise: Promise,
    ) -> Result<Slot, NoKey> {
        let Clients { role, config, .. } = &self.0;
        let to = Use::Upload(scope, upload_id);
        let session = role.assume(to, upload_id.to_string(), URL_SECONDS).await?;
        let key = format!("{}{}", upload::prefix(scope, upload_id), promise.name());
        let put = session
            .signer(config, &role.account)
            .put_object()
            .bucket(&role.account.bucket)
            .key(key)
            .content_length(promise.bytes.cast_signed())
            .content_type("application/octet-stream")
            .checksum_sha256(STANDARD.encode(promise.sha256.digest()))
            .if_none_match("*");
        let signed = put.presigned(for_minutes()?).await.map_err(|error| {
            NoKey::Refused(unavailable("the signature of a URL", chain(&error)))
        })?;
        let headers = signed.headers();
        Ok(Slot {
            url: signed.uri().to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            expires_at: session.expires_at,
        })
    }

    async fn look(
        &self,
        scope: &ProjectScope,
        upload_id: UploadId,
    ) -> Result<Option<Stored>, NoKey> {
        let client = self.0.client(Use::Look(scope), "uploads".to_owned());
        let bucket = &self.0.role.account.bucket;
        stored(client.await?.as_ref(), bucket, scope, upload_id).await
    }
}

/// Inputs as objects in S3.
pub struct InputReaders {
    role: OutputRole,
    config: aws_config::SdkConfig,
}

impl InputReaders {
    /// Beside the outputs of `account`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, account: OutputAccount) -> Self {
        Self {
            role: OutputRole::new(config, account),
            config: config.clone(),
        }
    }
}

struct OpenInputs {
    client: aws_sdk_s3::Client,
    signer: aws_sdk_s3::Client,
    bucket: String,
    scope: ProjectScope,
    expires_at: Timestamp,
}

#[async_trait]
impl InputAccess for InputReaders {
    async fn open(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        reader: String,
    ) -> Result<Box<dyn InputObjects>, NoKey> {
        let to = Use::Inputs(scope, run_id);
        let session = self.role.assume(to, reader, URL_SECONDS).await?;
        Ok(Box::new(OpenInputs {
            client: session.s3(&self.config),
            signer: session.signer(&self.config, &self.role.account),
            bucket: self.role.account.bucket.clone(),
            scope: scope.clone(),
            expires_at: session.expires_at,
        }))
    }
}

#[async_trait]
impl InputObjects for OpenInputs {
    async fn upload(&self, upload_id: UploadId) -> Result<Option<Stored>, NoKey> {
        stored(&self.client, &self.bucket, &self.scope, upload_id).await
    }

    async fn left(&self, of: &Outputs, name: &str, most: usize) -> Result<Option<Vec<u8>>, NoKey> {
        let key = format!("{}{name}", of.prefix());
        get(&self.client, &self.bucket, &key, most).await
    }

    async fn url(&self, key: &str) -> Result<String, NoKey> {
        signed_get(&self.signer, &self.bucket, key).await
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// What is in the place of an upload: the one object there whose name states a promise.
async fn stored(
    client: &aws_sdk_s3::Client,
    bucket: &str,
    scope: &ProjectScope,
    upload_id: UploadId,
) -> Result<Option<Stored>, NoKey> {
    let prefix = upload::prefix(scope, upload_id);
    let page = list(client, bucket, &prefix, None).await?;
    let stored = page.contents().iter().find_map(|object| {
        let promise = Promise::of_name(object.key()?.strip_prefix(&prefix)?)?;
        let bytes = u64::try_from(object.size()?).ok()?;
        Some(Stored { promise, bytes })
    });
    Ok(stored)
}

/// A URL to read an object. A browser saves what it gets, and shows nothing of it.
pub(crate) async fn signed_get(
    signer: &aws_sdk_s3::Client,
    bucket: &str,
    key: &str,
) -> Result<String, NoKey> {
    let get = signer
        .get_object()
        .bucket(bucket)
        .key(key)
        .response_content_disposition("attachment");
    let signed = get.presigned(for_minutes()?).await;
    let signed = signed
        .map_err(|error| NoKey::Refused(unavailable("the signature of a URL", chain(&error))))?;
    Ok(signed.uri().to_owned())
}

fn for_minutes() -> Result<PresigningConfig, NoKey> {
    let seconds = u64::from(URL_SECONDS.unsigned_abs());
    PresigningConfig::expires_in(Duration::from_secs(seconds))
        .map_err(|error| NoKey::Refused(unavailable("the signature of a URL", error.to_string())))
}
