//! A throwaway project: its stack, its admin, its secret, its profiles.

use std::sync::Arc;

use sealfleet_client::types::{
    CreateEnrolmentKey, CreateProfile, CreateToken, EnqueueRun, RegisterWorker, WorkerRegistered,
};
use sealfleet_client::{Client, Credential};
use sealfleet_domain::{PoolName, ProfileName, ProjectId, RunId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::canary::{Canary, Ear};
use super::ground::Ground;
use super::made::{List, Made};
use crate::operator::failure::Failure;
use crate::operator::project::deploy::{self, Deploy};

/// The pool of its workers.
pub const PULL: &str = "workers";
/// The pool of its Fargate tasks.
pub const FARGATE: &str = "fargate";
/// The tool that its profiles let see secrets.
pub const TOOL: &str = "prove";
/// The environment variable with the secret of its Fargate pool.
pub const KEY: &str = "CANARY";
/// The environment variable with the secret beside its worker.
pub const KEY_BESIDE: &str = "CANARY_BESIDE";
/// Seconds that its credentials are valid, should their removal fail.
const SECONDS: u32 = 3 * 3600;

/// A project with an admin.
pub struct Tenant {
    pub id: ProjectId,
    pub admin: Client,
    /// ARN of the role with which ECS starts its tasks.
    pub execution_role: String,
    /// ARN of its secret.
    pub secret_arn: String,
    /// The profile with the secret of its Fargate pool.
    pub profile: ProfileName,
    pub pull_queue: String,
    pub fargate_queue: String,
    ear: Arc<Ear>,
    api_url: String,
}

/// A new project's id.
pub fn new_id(side: char) -> Result<ProjectId, Failure> {
    let random = Uuid::new_v4().simple().to_string();
    let random = random.get(..8).unwrap_or_default();
    format!("prove-{side}-{random}")
        .parse()
        .map_err(Failure::other)
}

/// A request of the API, from JSON.
pub fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(Failure::other)
}

fn name<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(Failure::other)
}

impl Tenant {
    /// Deploys and registers it, makes an admin's token, stores `canary` and a profile with it.
    pub async fn made(
        ground: &Ground,
        list: &List,
        ear: &Arc<Ear>,
        id: ProjectId,
        image: &str,
        canary: &Canary,
    ) -> Result<Self, Failure> {
        let (pull, fargate): (PoolName, PoolName) = (name(PULL)?, name(FARGATE)?);
        let stack = deploy::stack_of(&id, &ground.control);
        list.add(Made::Stack(stack));
        list.add(Made::Project(id.clone()));
        let deploy = Deploy::throwaway(id.clone(), pull, fargate, image.to_owned());
        let deployed = deploy
            .deployed(&ground.stacks, &ground.control, &ground.operator)
            .await?;
        let output = |name: &'static str| {
            let found = deployed.outputs.get(name).map(str::to_owned);
            found.map_err(Failure::other)
        };

        let wanted: CreateToken = typed(json!({
            "project": id, "role": "admin", "note": "sealfleet prove", "expires_in_seconds": SECONDS,
        }))?;
        let token = ground.operator.create_token(&wanted).await?;
        list.add(Made::Token(id.clone(), token.view.token_id));
        let admin = client(ground.api_url.as_str(), token.token, ear)?;

        let secret = format!("sealfleet/{id}/canary");
        list.add(Made::Secret(secret.clone()));
        // A canary holds nothing that JSON escapes.
        let document = Zeroizing::new(format!(r#"{{"value":"{}"}}"#, canary.value()));
        let put = ground
            .secrets
            .put(id.as_str(), &secret, &document, None)
            .await;
        put.map_err(Failure::other)?;
        let pin = sealfleet_versions::SecretVersions::describe(&ground.secrets, &secret).await;
        let tenant = Self {
            execution_role: output("ExecutionRoleArn")?,
            pull_queue: output("PullQueueUrl")?,
            fargate_queue: output("FargateQueueUrl")?,
            secret_arn: pin.map_err(Failure::other)?.arn.unwrap_or_default(),
            profile: name(&format!("{id}-aws"))?,
            admin,
            id,
            ear: Arc::clone(ear),
            api_url: ground.api_url.clone(),
        };
        tenant
            .profile(list, &tenant.profile, KEY, &tenant.reference())
            .await?;
        Ok(tenant)
    }

    /// How a profile names its secret.
    pub fn reference(&self) -> String {
        format!("aws-sm://sealfleet/{}/canary#value", self.id)
    }

    /// Makes a profile with one secret, which the tool [`TOOL`] sees and no other.
    pub async fn profile(
        &self,
        list: &List,
        name: &ProfileName,
        key: &str,
        reference: &str,
    ) -> Result<(), Failure> {
        let wanted: CreateProfile = typed(json!({
            "name": name, "secrets": { key: reference }, "tools": { TOOL: [key] },
        }))?;
        self.admin.create_profile(&wanted).await?;
        list.add(Made::Profile(self.admin.clone(), name.clone()));
        Ok(())
    }

    pub async fn enqueue(
        &self,
        list: &List,
        profile: &ProfileName,
        steps: Value,
    ) -> Result<RunId, Failure> {
        let wanted: EnqueueRun =
            typed(json!({ "workflow": "prove", "profile": profile, "steps": steps }))?;
        let key = Uuid::new_v4().to_string();
        let run = self.admin.enqueue_run(&wanted, Some(&key)).await?;
        list.add(Made::Run(self.admin.clone(), run.run_id));
        Ok(run.run_id)
    }

    /// An enrolment key of its pull pool, for one worker with these labels.
    pub async fn enrolment_key(
        &self,
        list: &List,
        labels: &Value,
    ) -> Result<Zeroizing<String>, Failure> {
        let wanted: CreateEnrolmentKey =
            typed(json!({ "pool": PULL, "labels": labels, "expires_in_seconds": 600 }))?;
        let made = self.admin.create_enrolment_key(&wanted).await?;
        list.add(Made::EnrolmentKey(
            self.admin.clone(),
            made.view.enrolment_key_id,
        ));
        Ok(Zeroizing::new(made.enrolment_key))
    }

    /// A worker that this program plays: a client with the worker's credential.
    pub async fn played_worker(
        &self,
        list: &List,
        labels: &Value,
    ) -> Result<(Client, WorkerRegistered), Failure> {
        let key = self.enrolment_key(list, labels).await?;
        let wanted: RegisterWorker = typed(json!({
            "project": self.id, "pool": PULL, "name": "sealfleet prove", "labels": labels,
            "modes": ["sandboxed", "identity"],
        }))?;
        let enrolling = client(&self.api_url, String::clone(&key), &self.ear)?;
        let registered = enrolling.register_worker(&wanted).await?;
        list.add(Made::Worker(self.admin.clone(), registered.worker_id));
        let worker = client(&self.api_url, registered.credential.clone(), &self.ear)?;
        Ok((worker, registered))
    }
}

/// A client with a credential, whose answers are all searched.
fn client(api_url: &str, credential: String, ear: &Arc<Ear>) -> Result<Client, Failure> {
    let client = Client::new(api_url, Some(Credential::new(credential)))?;
    let ear = Arc::clone(ear);
    Ok(client.heard_by(move |asked, answer| ear.hear(asked, answer)))
}
