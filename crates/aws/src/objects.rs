//! Objects of the audit bucket.

use async_trait::async_trait;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use sealfleet_domain::Timestamp;
use sealfleet_domain::cause::chain;

use crate::Unavailable;

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was written, by the clock of the store, to the second.
    pub written_at: Timestamp,
}

/// Reads objects of one bucket, and writes new ones. Nothing here replaces or deletes one.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Writes an object unless there is one of this key. Tells whether it did.
    async fn create(
        &self,
        key: &str,
        content_type: &str,
        bytes: Vec<u8>,
    ) -> Result<bool, Unavailable>;
    /// Reads an object, if it is there.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;
    /// The objects below `prefix` whose keys come after `after`, in order of their keys.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Unavailable>;
    /// What stands directly below `prefix`, up to the next `/` and with it, in order.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Unavailable>;
}

/// Amazon S3.
#[derive(Clone, Debug)]
pub struct S3 {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl S3 {
    /// Objects of `bucket`.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, bucket: String) -> Self {
        // Path style, since names below one endpoint are what a local stack serves.
        let local = config.endpoint_url().is_some();
        let config = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(local)
            .build();
        Self {
            client: aws_sdk_s3::Client::from_conf(config),
            bucket,
        }
    }
}

#[async_trait]
impl Objects for S3 {
    /// By a conditional write (`If-None-Match: *`, S3 user guide, "Conditional writes").
    async fn create(
        &self,
        key: &str,
        content_type: &str,
        bytes: Vec<u8>,
    ) -> Result<bool, Unavailable> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .if_none_match("*");
        // Object Lock requires a checksum of what is put.
        let put = put
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .body(ByteStream::from(bytes));
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("PreconditionFailed") => Ok(false),
            Err(error) => Err(unavailable(chain(&error))),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let got = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await;
        match got {
            Ok(object) => {
                let bytes = object.body.collect().await.map_err(unavailable)?;
                Ok(Some(bytes.to_vec()))
            }
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), GetObjectError::NoSuchKey(_)) =>
            {
                Ok(None)
            }
            Err(error) => Err(unavailable(chain(&error))),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Unavailable> {
        let mut listed = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(prefix);
            let page = page
                .set_start_after(after.map(str::to_owned))
                .set_continuation_token(token);
            let page = page
                .send()
                .await
                .map_err(|error| unavailable(chain(&error)))?;
            listed.extend(page.contents().iter().filter_map(|object| {
                let written_at = object.last_modified().and_then(|at| at.to_millis().ok())?;
                Some(Listed {
                    key: object.key()?.to_owned(),
                    written_at: Timestamp::from_millis(written_at),
                })
            }));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(listed);
            }
        }
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Unavailable> {
        let mut folders = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(prefix)
                .delimiter("/");
            let page = page.set_continuation_token(token).send().await;
            let page = page.map_err(|error| unavailable(chain(&error)))?;
            folders.extend(
                page.common_prefixes()
                    .iter()
                    .filter_map(|folder| folder.prefix().map(str::to_owned)),
            );
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(folders);
            }
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable {
        service: "S3",
        detail: error.to_string(),
    }
}
