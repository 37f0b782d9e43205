//! The project's outputs, for one step.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sealfleet_domain::Timestamp;
use sealfleet_domain::hash::ContentHash;
use sealfleet_outputs::{FileStore, Store, StoreError};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::api::{Api, Content};

/// Milliseconds before its end in which a key is no longer used.
const MARGIN_MILLIS: i64 = 5 * 60 * 1000;

/// Temporary credentials for what one claim puts out.
#[derive(Clone, Deserialize)]
pub(super) struct OutputKey {
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: String,
    pub(super) expires_at: Timestamp,
}

pub(super) struct Bucket {
    api: Arc<Api>,
    key: Mutex<Option<OutputKey>>,
}

impl Bucket {
    /// Begins with the key that came with the step, if there was one.
    pub(super) fn new(api: Arc<Api>, key: Option<OutputKey>) -> Self {
        Self {
            api,
            key: Mutex::new(key),
        }
    }

    async fn put_content(&self, name: &str, content: Content<'_>) -> Result<(), StoreError> {
        let key = self.key().await?;
        let put = self.api.put(&key, name, content).await;
        if put.is_err() {
            // The key may be the cause.
            self.key.lock().await.take();
        }
        put
    }

    async fn key(&self) -> Result<OutputKey, StoreError> {
        let mut held = self.key.lock().await;
        let fresh = |key: &&OutputKey| key.expires_at.millis_since(self.api.now()) > MARGIN_MILLIS;
        if let Some(key) = held.as_ref().filter(fresh) {
            return Ok(key.clone());
        }
        let key = self.api.output_key().await?;
        *held = Some(key.clone());
        Ok(key)
    }
}

#[async_trait]
impl Store for Bucket {
    /// By a conditional write. An object that is there already is this one, whose answer was lost.
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.put_content(name, Content::Json(bytes)).await
    }
}

#[async_trait]
impl FileStore for Bucket {
    async fn put_file(
        &self,
        name: &str,
        path: &Path,
        sha256: ContentHash,
    ) -> Result<(), StoreError> {
        self.put_content(name, Content::File(path, sha256)).await
    }
}
