//! The audit trail, and its archive: what `export` wrote to S3, verified as an auditor would.

use std::collections::BTreeMap;
use std::time::Duration;

use sealfleet_domain::digest::{Verified, verify};
use serde_json::Value;

use crate::project::named;
use crate::{Caller, Outcome, Stack, eventually};

impl Caller {
    /// The events of one name in the caller's own trail (an operator's is the operators'), oldest first. `query` narrows it, as `run=ID` does; it may be empty.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn events(&self, query: &str, name: &str) -> Outcome<Vec<Value>> {
        let joint = if query.is_empty() { "" } else { "&" };
        Ok(named(&self.list(&format!("/v1/audit?limit=100{joint}{query}")).await?, name))
    }

    /// Waits for the first such event that `matches`.
    ///
    /// # Errors
    /// When the time ends before.
    pub async fn event(
        &self,
        query: &str,
        name: &str,
        limit: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Outcome<Value> {
        eventually(&format!("an audited `{name}`"), limit, async || {
            Ok(self.events(query, name).await?.into_iter().find(&matches))
        })
        .await
    }
}

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

    /// The exported lines: one for each event of each entry, with the entry's id and the event's place in it.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.objects.values().flat_map(|bytes| bytes.split(|byte| *byte == b'\n'));
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// The events of an audit entry that do not stand in the archive exactly once, as the trail shows them.
    #[must_use]
    pub fn missing(&self, entries: &[Value]) -> Vec<String> {
        let mut exported: BTreeMap<(String, u64), Vec<Value>> = BTreeMap::new();
        for line in self.lines() {
            let place =
                (line["event_id"].as_str().unwrap_or_default().to_owned(), line["index"].as_u64().unwrap_or_default());
            exported.entry(place).or_default().push(line);
        }
        let mut missing = Vec::new();
        for entry in entries {
            let id = entry["event_id"].as_str().unwrap_or_default();
            for (index, event) in (0..).zip(entry["events"].as_array().into_iter().flatten()) {
                let lines = exported.get(&(id.to_owned(), index)).map(Vec::as_slice).unwrap_or_default();
                let same = |line: &Value| {
                    line["event"] == *event
                        && ["at", "project", "actor", "run_id"].iter().all(|member| line[*member] == entry[*member])
                };
                if lines.len() != 1 || !lines.iter().all(same) {
                    missing.push(format!("{id} {index}: {event} against {lines:?}"));
                }
            }
        }
        missing
    }
}
