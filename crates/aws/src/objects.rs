//! Objects of the audit bucket.

use async_trait::async_trait;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use sealfleet_domain::cause::chain;

use crate::Unavailable;

/// Reads and writes objects of one bucket.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Writes an object; the same key and bytes again change nothing that a reader sees.
    async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), Unavailable>;
    /// Reads an object, if it is there.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;
    /// The keys below `prefix` that come after `after`, in order.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Unavailable>;
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
        let config = aws_sdk_s3::config::Builder::from(config).force_path_style(local).build();
        Self { client: aws_sdk_s3::Client::from_conf(config), bucket }
    }
}

#[async_trait]
impl Objects for S3 {
    async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<(), Unavailable> {
        let put = self.client.put_object().bucket(&self.bucket).key(key).content_type(content_type);
        // Object Lock requires a checksum of what is put.
        let put = put.checksum_algorithm(ChecksumAlgorithm::Sha256).body(ByteStream::from(bytes));
        put.send().await.map(|_| ()).map_err(|error| unavailable(chain(&error)))
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let got = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        match got {
            Ok(object) => {
                let bytes = object.body.collect().await.map_err(unavailable)?;
                Ok(Some(bytes.to_vec()))
            }
            Err(SdkError::ServiceError(error)) if matches!(error.err(), GetObjectError::NoSuchKey(_)) => Ok(None),
            Err(error) => Err(unavailable(chain(&error))),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Unavailable> {
        let mut keys = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(prefix)
                .set_start_after(after.map(str::to_owned))
                .set_continuation_token(token)
                .send()
                .await
                .map_err(|error| unavailable(chain(&error)))?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(keys);
            }
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable { service: "S3", detail: error.to_string() }
}
