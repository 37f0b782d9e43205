//! Where what comes out of a step goes from a worker: to the project's outputs in S3.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealfleet_client::types::{Claim, LeaseRef};
use sealfleet_domain::Clock;
use sealfleet_domain::cause::chain;
use sealfleet_domain::hash::ContentHash;
use sealfleet_outputs::{FileStore, Store, StoreError};
use tokio::time::Instant;

use crate::control::ControlPlane;
use crate::queue::{endpoint_of, http};

/// How long a file may take at once, beside its bytes at the least rate of 64 KiB a second.
const FIRST_BYTE: Duration = Duration::from_secs(30);
const SLOWEST: u64 = 64 * 1024;

/// The stores of claims.
pub trait Stores: Send + Sync {
    fn of(&self, claim: &Claim) -> Arc<dyn FileStore>;
}

/// The project's outputs in S3, by a key for each claim that the control plane gives.
pub struct Bucket {
    pub control: Arc<dyn ControlPlane>,
    pub clock: Arc<dyn Clock>,
}

impl Stores for Bucket {
    fn of(&self, claim: &Claim) -> Arc<dyn FileStore> {
        Arc::new(BucketStore {
            control: Arc::clone(&self.control),
            clock: Arc::clone(&self.clock),
            lease: LeaseRef {
                run_id: claim.run_id,
                step_id: claim.step_id.clone(),
                fence: claim.fence,
            },
            session: tokio::sync::Mutex::new(None),
        })
    }
}

struct BucketStore {
    control: Arc<dyn ControlPlane>,
    clock: Arc<dyn Clock>,
    lease: LeaseRef,
    session: tokio::sync::Mutex<Option<Session>>,
}

#[derive(Clone)]
struct Session {
    client: aws_sdk_s3::Client,
    bucket: String,
    prefix: String,
    fresh_until: Instant,
}

impl BucketStore {
    /// The current session, or a new one once three quarters of its life have passed. A step that
    /// puts nothing out asks for none.
    async fn session(&self) -> Result<Session, StoreError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held
            .as_ref()
            .filter(|session| Instant::now() < session.fresh_until)
        {
            return Ok(session.clone());
        }
        let key = self.control.output_credentials(&self.lease).await;
        let key = key.map_err(|error| match error.is_passing() {
            true => StoreError::Passing(error.to_string()),
            false => StoreError::Refused(error.to_string()),
        })?;
        let endpoint = endpoint_of(&format!("{}/", key.endpoint)).ok_or_else(|| {
            let address = &key.endpoint;
            StoreError::Refused(format!("the outputs' address `{address}` cannot be used"))
        })?;
        let life = u64::try_from(key.expires_at.millis_since(self.clock.now())).unwrap_or_default();
        let fresh_until = Instant::now() + Duration::from_millis(life) * 3 / 4;
        let credentials = Credentials::new(
            key.access_key_id,
            key.secret_access_key,
            Some(key.session_token),
            None,
            "sealfleet",
        );
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_attempt_timeout(Duration::from_secs(10))
            .operation_timeout(Duration::from_secs(25))
            .build();
        // Path style: one address for all objects, which a firewall can name.
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(key.region))
            .credentials_provider(credentials)
            .http_client(http(endpoint.starts_with("http://")))
            .endpoint_url(&endpoint)
            .force_path_style(true)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(timeouts);
        let session = Session {
            client: aws_sdk_s3::Client::from_conf(config.build()),
            bucket: key.bucket,
            prefix: key.prefix,
            fresh_until,
        };
        *held = Some(session.clone());
        Ok(session)
    }
}

#[async_trait]
impl Store for BucketStore {
    /// By a conditional write. Nobody else holds a key for this claim, so an object that is there
    /// already is this one, whose answer was lost.
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let put = self.object(name).await?;
        let put = put.content_type("application/json");
        self.stored(put.body(ByteStream::from(bytes)).send().await)
            .await
    }
}

#[async_trait]
impl FileStore for BucketStore {
    /// S3 checks the SHA-256.
    async fn put_file(
        &self,
        name: &str,
        path: &Path,
        sha256: ContentHash,
    ) -> Result<(), StoreError> {
        let unreadable = |error: &dyn std::fmt::Display| {
            StoreError::Refused(format!("the worker cannot read its copy: {error}"))
        };
        let bytes = std::fs::metadata(path)
            .map_err(|error| unreadable(&error))?
            .len();
        let body = ByteStream::from_path(path).await;
        let body = body.map_err(|error| unreadable(&error))?;
        let put = self.object(name).await?;
        let patience = FIRST_BYTE + Duration::from_secs(bytes / SLOWEST);
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(patience)
            .operation_timeout(patience * 3);
        let slower = aws_sdk_s3::Config::builder().timeout_config(timeouts.build());
        let put = put
            .content_type("application/octet-stream")
            .checksum_sha256(STANDARD.encode(sha256.digest()))
            .body(body)
            .customize()
            .config_override(slower);
        self.stored(put.send().await).await
    }
}

impl BucketStore {
    /// A new object of the claim.
    async fn object(&self, name: &str) -> Result<PutObjectFluentBuilder, StoreError> {
        let session = self.session().await?;
        let put = session.client.put_object().bucket(session.bucket);
        let key = format!("{}{name}", session.prefix);
        Ok(put.key(key).if_none_match("*"))
    }

    async fn stored<T>(
        &self,
        answer: Result<T, SdkError<PutObjectError>>,
    ) -> Result<(), StoreError> {
        match answer {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("PreconditionFailed") => Ok(()),
            Err(error) => {
                // Its credentials may be the cause.
                self.session.lock().await.take();
                Err(StoreError::Passing(chain(&error)))
            }
        }
    }
}
