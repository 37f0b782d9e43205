//! The audit archive: what `export` wrote to S3, verified as an auditor would.

use std::collections::BTreeMap;

use sealfleet_domain::digest::{Verified, verify};
use serde_json::Value;

use crate::{Outcome, Stack};

/// The archive as it is now.
pub struct Archive {
    /// Exported objects by key.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Digests, oldest first.
    pub digests: Vec<Vec<u8>>,
}

impl Archive {
    /// Reads all of it.
    ///
    /// # Errors
    /// When S3 refuses it.
    pub async fn read(stack: &Stack) -> Outcome<Self> {
        let bucket = &stack.parts.audit_bucket;
        let mut archive = Self { objects: BTreeMap::new(), digests: Vec::new() };
        for key in stack.aws.keys(bucket, "audit/").await? {
            if let Some(bytes) = stack.aws.object(bucket, &key).await? {
                archive.objects.insert(key, bytes);
            }
        }
        for key in stack.aws.keys(bucket, "digests/").await? {
            archive.digests.extend(stack.aws.object(bucket, &key).await?);
        }
        Ok(archive)
    }

    /// What the digests say of the objects.
    #[must_use]
    pub fn verified(&self) -> Verified {
        verify(&self.digests, |key| self.objects.get(key).cloned())
    }

    /// The exported audit entries.
    #[must_use]
    pub fn entries(&self) -> Vec<Value> {
        let lines = self.objects.values().flat_map(|bytes| bytes.split(|byte| *byte == b'\n'));
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}
