//! Profiles, cascades, revocations and the secrets behind them, as their owners handle them: an
//! admin of a project, or an operator for the system scope, at the same paths.

use std::time::Duration;

use sealfleet_client::types::{FanOutView, RevocationsCreated};
use sealfleet_client::{RevocationState, all_pages};
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::revocation::Revocation;
use serde_json::{Value, json};

use crate::api::{text, typed};
use crate::project::merged;
use crate::{Caller, Outcome, Reply, Stack, ensure, eventually};

/// A version that no store has: for profiles whose secret nobody resolves.
pub const NOWHERE: &str = "builtin://nowhere@00000000-0000-7000-8000-000000000000";

/// A version of a secret that was stored, as its owner knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its address: `builtin://NAME`, or `aws-sm://NAME#key`, which follows the newest version.
    pub uri: String,
    pub version: String,
    /// The ARN of a secret in AWS Secrets Manager.
    pub arn: Option<String>,
}

/// The outcome of a revocation.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// One id for each key, in their order.
    pub ids: Vec<String>,
    /// The fan-out of a hard one.
    pub fan_out: Option<String>,
    pub answer: RevocationsCreated,
}

impl Stored {
    /// The reference to exactly this version, `URI@VERSION`.
    pub fn pinned(&self) -> String {
        format!("{}@{}", self.uri, self.version)
    }
}

/// A profile of these secrets, `(KEY, REFERENCE)`, and nothing else.
pub fn secrets(keys: &[(&str, &str)]) -> Value {
    let keys: serde_json::Map<String, Value> = keys
        .iter()
        .map(|(key, uri)| ((*key).to_owned(), json!(uri)))
        .collect();
    json!({ "secrets": keys })
}

/// A request to revoke keys, `(PROFILE, KEY)`, or to preview that.
pub fn revocation(keys: &[(&str, &str)], hard: bool) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(profile, key)| json!({ "profile": profile, "key": key }))
        .collect();
    json!({ "keys": keys, "hard": hard, "reason": "a test" })
}

/// Profiles and the cascade.
impl Caller {
    /// Makes a profile that says `content`; its first version.
    pub async fn create_profile(&self, name: &str, content: &Value) -> Outcome<Profile> {
        let request = typed(&merged(content.clone(), &json!({ "name": name })))?;
        Ok(self.client().create_profile(&request).await?)
    }

    /// Makes a profile, or puts `content` in place of all that it says; its newest version.
    pub async fn save_profile(&self, name: &str, content: &Value) -> Outcome<Profile> {
        match self.client().get_profile(&name.parse()?).await {
            Ok(shown) => Ok(self
                .client()
                .put_profile(&shown.name, &typed(content)?, shown.version)
                .await?),
            Err(error) if error.status() == Some(404) => self.create_profile(name, content).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Asks to replace this version of a profile.
    pub async fn try_put_profile(
        &self,
        name: &str,
        version: u64,
        content: &Value,
    ) -> Outcome<Reply> {
        self.put(
            &format!("/v1/profiles/{name}"),
            Some(&format!("\"{version}\"")),
            content,
        )
        .await
    }

    /// A profile as it is now.
    pub async fn profile(&self, name: &str) -> Outcome<Profile> {
        Ok(self.client().get_profile(&name.parse()?).await?)
    }

    /// Binds the profiles below each run's own, `{"system": .., "project": .., "workflows": {..}}`,
    /// in place of those before.
    pub async fn bind(&self, cascade: &Value) -> Outcome<Bindings> {
        Ok(self.client().put_cascade(&typed(cascade)?).await?)
    }

    /// What a run would start with: `{"workflow": .., "profile"?, "overrides"?, "tool"?}`.
    pub async fn resolve(&self, request: &Value) -> Outcome<Value> {
        Ok(json!(
            self.client().resolve_cascade(&typed(request)?).await?
        ))
    }

    /// One key of a resolved cascade; null if it is not there.
    pub async fn resolved_key(&self, request: &Value, key: &str) -> Outcome<Value> {
        let resolved = self.resolve(request).await?;
        let mut keys = resolved["keys"].as_array().into_iter().flatten();
        Ok(keys
            .find(|entry| entry["key"] == key)
            .cloned()
            .unwrap_or_default())
    }
}

impl Caller {
    /// Asks to revoke keys, `(PROFILE, KEY)`, where `system/NAME` is an operators' profile.
    pub async fn try_revoke(&self, keys: &[(&str, &str)], hard: bool) -> Outcome<Reply> {
        self.post("/v1/revocations", &revocation(keys, hard)).await
    }

    pub async fn revoke(&self, keys: &[(&str, &str)], hard: bool) -> Outcome<Revoked> {
        let answer = self
            .client()
            .create_revocations(&typed(&revocation(keys, hard))?)
            .await?;
        let ids: Vec<String> = answer
            .revocations
            .iter()
            .map(|made| made.revocation_id.to_string())
            .collect();
        ensure!(
            ids.len() == keys.len(),
            "{} keys were to be revoked: {answer:?}",
            keys.len()
        );
        let fan_out = answer
            .fan_out
            .as_ref()
            .map(|fan_out| fan_out.fan_out_id.to_string());
        Ok(Revoked {
            ids,
            fan_out,
            answer,
        })
    }

    /// The runs that a hard revocation would abort.
    pub async fn preview(&self, keys: &[(&str, &str)]) -> Outcome<Vec<String>> {
        let previewed = self
            .client()
            .preview_revocation(&typed(&revocation(keys, true))?)
            .await?;
        ensure!(
            !previewed.more,
            "a test previews fewer runs than that: {previewed:?}"
        );
        Ok(previewed
            .runs
            .iter()
            .map(|run| run.run_id.to_string())
            .collect())
    }

    pub async fn lift(&self, revocation: &str) -> Outcome<Revocation> {
        Ok(self.client().lift_revocation(revocation.parse()?).await?)
    }

    pub async fn revocation(&self, id: &str) -> Outcome<Revocation> {
        Ok(self.client().get_revocation(id.parse()?).await?)
    }

    /// All revocations in a state.
    pub async fn revocations(&self, state: RevocationState) -> Outcome<Vec<Revocation>> {
        Ok(all_pages(async |page| self.client().list_revocations(state, page).await).await?)
    }

    /// How far a fan-out has come.
    pub async fn fan_out(&self, id: &str) -> Outcome<FanOutView> {
        Ok(self.client().get_fan_out(id.parse()?).await?)
    }

    /// Waits until a fan-out is finished, and has `sweep` go on with it meanwhile; its counts.
    pub async fn fanned_out(
        &self,
        stack: &Stack,
        id: &str,
        limit: Duration,
    ) -> Outcome<FanOutView> {
        eventually(&format!("the end of the fan-out {id}"), limit, async || {
            let shown = self.fan_out(id).await?;
            if shown.finished_at.is_none() {
                stack.sweep().await?;
                return Ok(None);
            }
            Ok(Some(shown))
        })
        .await
    }
}

/// Secrets of AWS Secrets Manager.
impl Stack {
    /// Stores a value for all projects as the operators do, `{"key": VALUE}` under
    /// `sealfleet/system/NAME`.
    pub async fn system_secret(&self, name: &str, value: &str) -> Outcome<Stored> {
        self.create_secret("system", name, value).await
    }

    pub(crate) async fn create_secret(
        &self,
        owner: &str,
        name: &str,
        value: &str,
    ) -> Outcome<Stored> {
        let body = json!({
            "Name": format!("sealfleet/{owner}/{name}"), "SecretString": json!({ "key": value }).to_string(),
            "Tags": [{ "Key": "sealfleet:project", "Value": owner }],
        });
        self.store_secret("CreateSecret", &body).await
    }

    pub(crate) async fn rotate_secret(
        &self,
        owner: &str,
        name: &str,
        value: &str,
    ) -> Outcome<Stored> {
        let body = json!({
            "SecretId": format!("sealfleet/{owner}/{name}"), "SecretString": json!({ "key": value }).to_string(),
        });
        self.store_secret("PutSecretValue", &body).await
    }

    async fn store_secret(&self, operation: &str, body: &Value) -> Outcome<Stored> {
        let stored = self
            .aws
            .call(crate::aws::Service::SecretsManager, operation, body.clone())
            .await?;
        Ok(Stored {
            uri: format!("aws-sm://{}#key", text(&stored, "Name")?),
            version: text(&stored, "VersionId")?,
            arn: Some(text(&stored, "ARN")?),
        })
    }
}
